//! Signs and checks one message, for tests against other people's programs (`tests/interop/dkim.py`). The message comes on standard input;
//! lines end with CRLF. Keys and records are arguments, so nothing is asked of DNS.
//!
//! ```text
//! dkim sign NOW_SECS LOCALPART utf8|ascii [DOMAIN SELECTOR CANONICALIZATIONS PEM]..   the signed message
//! dkim verify NOW_SECS [NAME RECORD]..                                                a line for each signature
//! dkim record PEM                                                                     the key record
//! dkim keys                                                                           an RSA and an Ed25519 key
//! ```

use std::collections::HashMap;
use std::error::Error;
use std::io::{Read, Write};
use std::sync::Arc;

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use ringmail_dkim::{
    Canonicalization, Canonicalizations, Check, KeyAnswer, KeyRecord, MessageHasher, Name,
    Occasion, Rules, Selector, SigningKey, Verifier, generate, prepare,
};

fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let output = match words[..] {
        ["sign", now_secs, localpart, form, ref selectors @ ..] => {
            let occasion = Occasion {
                now_secs: now_secs.parse()?,
                localpart: Some(localpart),
                internationalized: form == "utf8",
                needed_until_secs: 0,
            };
            sign(&occasion, selectors)?
        }
        ["verify", now_secs, ref records @ ..] => verify(now_secs.parse()?, records)?.into_bytes(),
        ["record", pem] => KeyRecord::of_key(&SigningKey::from_pem(pem)?)
            .to_string()
            .into_bytes(),
        ["keys"] => {
            let random = SystemRandom::new();
            let mut fill =
                |octets: &mut [u8]| random.fill(octets).expect("the system has random numbers");
            let rsa = generate::rsa_key(2048, &mut fill)?;
            (rsa.to_string() + &generate::ed25519_key(&mut fill)).into_bytes()
        }
        _ => return Err("see the head of protocols/dkim/examples/dkim.rs".into()),
    };
    Ok(std::io::stdout().write_all(&output)?)
}

fn message() -> std::io::Result<Vec<u8>> {
    let mut message = Vec::new();
    std::io::stdin().read_to_end(&mut message)?;
    Ok(message)
}

fn sign(occasion: &Occasion<'_>, words: &[&str]) -> Result<Vec<u8>, Box<dyn Error>> {
    let selector = |words: &[&str]| -> Result<Selector, Box<dyn Error>> {
        let key = Arc::new(SigningKey::from_pem(words[3])?);
        let mut selector = Selector::new(Name::parse(words[0])?, Name::parse(words[1])?, key);
        let algorithm = |relaxed| {
            if relaxed {
                Canonicalization::Relaxed
            } else {
                Canonicalization::Simple
            }
        };
        selector.canonicalizations = Canonicalizations {
            header: algorithm(words[2].starts_with("relaxed/")),
            body: algorithm(words[2].ends_with("/relaxed")),
        };
        Ok(selector)
    };
    let selectors = words
        .chunks_exact(4)
        .map(selector)
        .collect::<Result<Vec<_>, _>>()?;
    let message = message()?;
    let mut hasher = MessageHasher::new(&selectors);
    message.chunks(CHUNK).for_each(|chunk| hasher.update(chunk));
    let (header, body) = hasher.finish()?;
    let mut signed = Vec::new();
    for unsigned in prepare(&selectors, &header, &body, occasion)? {
        signed.extend(unsigned.sign()?.into_bytes());
    }
    signed.extend(message);
    Ok(signed)
}

fn verify(received_at_secs: u64, words: &[&str]) -> Result<String, Box<dyn Error>> {
    let records: HashMap<&str, &str> = words
        .chunks_exact(2)
        .map(|pair| (pair[0], pair[1]))
        .collect();
    let mut verifier = Verifier::new(Rules {
        received_at_secs,
        is_public_suffix: Box::new(|domain| !domain.contains('.')),
        service: "email",
    });
    message()?
        .chunks(CHUNK)
        .for_each(|chunk| verifier.update(chunk));
    let mut lines = String::new();
    for check in verifier.finish() {
        let evaluation = match check {
            Check::Settled(evaluation) => evaluation,
            Check::Open(question) => {
                let answer = match records.get(question.query()) {
                    Some(record) => KeyAnswer::Records(vec![record.as_bytes().to_vec()]),
                    None => KeyAnswer::Missing,
                };
                question.evaluate(&answer)
            }
        };
        let selector = evaluation
            .signature
            .as_ref()
            .map_or("?", |signature| signature.selector.ascii());
        let reason = evaluation
            .reason
            .map_or(String::new(), |reason| reason.to_string());
        lines += &format!("{} {selector} {reason}\n", evaluation.status);
    }
    Ok(lines)
}

/// Small, so that chunks end everywhere.
const CHUNK: usize = 61;

//! Real mail of others: every message is signed and verifies, and none does once an octet of it is another; published signatures have the
//! bodies that they say. Runs only when RINGMAIL_CORPORA names the folder that holds them; then a missing file is a failure.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ringmail_dkim::{
    Canonicalization, Canonicalizations, Check, KeyAnswer, KeyRecord, MessageHasher, Name,
    Occasion, Reason, Rules, Selector, SignError, SigningKey, Status, Verifier, generate, prepare,
};

fn corpora() -> Option<PathBuf> {
    std::env::var_os("RINGMAIL_CORPORA").map(PathBuf::from)
}

/// All files with CRLF wherever a line ends; some are no messages, which is as good for this.
fn messages(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in
        fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
    {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(messages(&path));
        } else {
            let text = fs::read(&path).unwrap();
            found.push((path, crlf(&text)));
        }
    }
    found.sort();
    found
}

fn crlf(text: &[u8]) -> Vec<u8> {
    let mut output = Vec::with_capacity(text.len() + text.len() / 20);
    let mut octets = text.iter().copied().peekable();
    while let Some(octet) = octets.next() {
        match octet {
            b'\r' | b'\n' => {
                if octet == b'\r' {
                    octets.next_if_eq(&b'\n');
                }
                output.extend_from_slice(b"\r\n");
            }
            _ => output.push(octet),
        }
    }
    output
}

fn other(octet: u8) -> u8 {
    if octet == b'x' { b'y' } else { b'x' }
}

fn evaluate(message: &[u8], record: &str) -> Vec<(Status, Option<Reason>)> {
    let mut verifier = Verifier::new(Rules {
        received_at_secs: 1_244_419_300,
        is_public_suffix: Box::new(|_| false),
        service: "email",
    });
    message
        .chunks(1000)
        .for_each(|chunk| verifier.update(chunk));
    let answer = KeyAnswer::Records(vec![record.as_bytes().to_vec()]);
    let result = |check| {
        let evaluation = match check {
            Check::Settled(evaluation) => evaluation,
            Check::Open(question) => question.evaluate(&answer),
        };
        (evaluation.status, evaluation.reason)
    };
    verifier.finish().into_iter().map(result).collect()
}

#[test]
fn corpora_are_signed_and_verify_until_an_octet_changes() {
    let Some(corpora) = corpora() else { return };
    let pem = generate::ed25519_key(&mut |octets| octets.fill(5));
    let key = Arc::new(SigningKey::from_pem(&pem).unwrap());
    let record = KeyRecord::of_key(&key).to_string();
    let all = [Canonicalization::Simple, Canonicalization::Relaxed];
    let (mut signed, mut octets_changed) = (0, 0);
    for folder in ["mime", "spam", "bounces", "reports"] {
        for (number, (path, message)) in messages(&corpora.join(folder)).into_iter().enumerate() {
            let mut selector = Selector::new(
                Name::parse("example.org").unwrap(),
                Name::parse("x").unwrap(),
                key.clone(),
            );
            let (header, body) = (all[number % 2], all[number / 2 % 2]);
            selector.canonicalizations = Canonicalizations { header, body };
            let selectors = [selector];
            let mut hasher = MessageHasher::new(&selectors);
            message.chunks(777).for_each(|chunk| hasher.update(chunk));
            let (header, body) = match hasher.finish() {
                Ok(both) => both,
                Err(SignError::HeaderTooLong) => continue,
                Err(error) => panic!("{}: {error}", path.display()),
            };
            let occasion = Occasion {
                now_secs: 1_244_419_200,
                localpart: Some("x"),
                internationalized: !header.is_ascii(),
                needed_until_secs: 0,
            };
            let unsigned = match prepare(&selectors, &header, &body, &occasion) {
                Ok(unsigned) => unsigned,
                Err(SignError::From(count)) => {
                    assert_ne!(count, 1);
                    continue;
                }
                Err(error) => panic!("{}: {error}", path.display()),
            };
            let field: String = unsigned
                .into_iter()
                .map(|unsigned| unsigned.sign().unwrap())
                .collect();
            let sent = [field.as_bytes(), &message].concat();
            let first = evaluate(&sent, &record)[0];
            assert_eq!(first, (Status::Pass, None), "{}", path.display());
            signed += 1;
            // Some octets of the body, spread over it.
            let body = field.len() + header.len();
            for part in 0..4 {
                let at = body + (sent.len() - body) * part / 4;
                let Some(at) = (at..sent.len()).find(|at| sent[*at].is_ascii_graphic()) else {
                    continue;
                };
                let mut changed = sent.clone();
                changed[at] = other(changed[at]);
                assert_eq!(
                    evaluate(&changed, &record)[0],
                    (Status::Fail, Some(Reason::BodyHash)),
                    "{} {at}",
                    path.display()
                );
                octets_changed += 1;
            }
            // The first letter of the author.
            let lower = header.to_ascii_lowercase();
            let from = lower
                .windows(7)
                .position(|seven| seven == b"\r\nfrom:")
                .map_or(5, |at| at + 7);
            let at = (field.len() + from..sent.len())
                .find(|at| sent[*at].is_ascii_graphic())
                .unwrap();
            if at < body {
                let mut changed = sent.clone();
                changed[at] = other(changed[at]);
                assert_eq!(
                    evaluate(&changed, &record)[0],
                    (Status::Fail, Some(Reason::Signature)),
                    "{} {at}",
                    path.display()
                );
            }
        }
    }
    println!("{signed} messages signed, {octets_changed} octets changed");
    assert!(
        signed > 700 && octets_changed > 2000,
        "{signed} {octets_changed}"
    );
}

/// SpamAssassin's test messages. Their keys are not to be had without DNS; ours in their place show whether the bodies are as they were hashed.
#[test]
fn corpora_of_published_signatures_have_their_bodies() {
    let Some(corpora) = corpora() else { return };
    let key = SigningKey::from_pem(include_str!("keys/rsa2048.pem")).unwrap();
    let record = KeyRecord::of_key(&key).to_string();
    let mut bodies = 0;
    for (path, message) in messages(&corpora.join("spam/dkim")) {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let results = evaluate(&message, &record);
        match name.as_str() {
            // No signature in any of these.
            name if name.starts_with("test-adsp") || name == "test-fail-01.msg" => {
                assert_eq!(results, [], "{name}")
            }
            "test-pass-01.msg" => assert_eq!(results, [(Status::PermError, Some(Reason::Sha1))]),
            _ => {
                assert_eq!(results, [(Status::Fail, Some(Reason::Signature))], "{name}");
                bodies += 1;
            }
        }
        let place = message
            .windows(4)
            .position(|four| four == b"\r\n\r\n")
            .unwrap()
            + 4;
        let changed = [&message[..place], b"x", &message[place..]].concat();
        if results == [(Status::Fail, Some(Reason::Signature))] {
            assert_eq!(
                evaluate(&changed, &record),
                [(Status::Fail, Some(Reason::BodyHash))],
                "{name}"
            );
        }
    }
    assert_eq!(bodies, 32);
}

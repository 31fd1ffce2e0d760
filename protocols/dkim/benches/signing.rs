//! What signing costs, in CPU time: `cargo bench -p ringmail-dkim`. First the canonical form and the hash of bodies, then whole messages, then
//! verifying them.

use std::hint::black_box;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use ringmail_dkim::{
    BodyHasher, Canonicalization, Check, KeyAnswer, KeyRecord, MessageHasher, Name, Occasion,
    Rules, Selector, SigningKey, Status, Unsigned, Verifier, generate, prepare,
};
use rustix::time::{ClockId, clock_gettime};

fn main() {
    for (kind, line) in [("prose", PROSE), ("base64", BASE64), ("spaces", SPACES)] {
        let body = lines(line, MIB);
        let per_octet = |name: &str, nanos: f64| {
            println!("{:9.3} ns/octet  {kind}, {name}", nanos / MIB as f64)
        };
        per_octet(
            "SHA-256 alone",
            nanos(50, || digest(&SHA256, black_box(&body))),
        );
        for canonicalization in [Canonicalization::Simple, Canonicalization::Relaxed] {
            let nanos = nanos(50, || {
                let mut hasher = BodyHasher::new(canonicalization);
                body.chunks(CHUNK)
                    .for_each(|chunk| hasher.update(black_box(chunk)));
                hasher.finish()
            });
            per_octet(&format!("{} and SHA-256", canonicalization.word()), nanos);
        }
    }
    let ed25519 = generate::ed25519_key(&mut |octets| octets.fill(7));
    let [ed25519, rsa] = [&ed25519, RSA].map(selector);
    let both = [ed25519, rsa];
    for (size, message) in [("2 KiB", 2048), ("10 KiB", 10 * 1024), ("1 MiB", MIB)]
        .map(|(size, octets)| (size, message(octets)))
    {
        for (keys, selectors) in [
            ("Ed25519", &both[..1]),
            ("RSA-2048", &both[1..]),
            ("both", &both[..]),
        ] {
            let rounds = if message.len() == MIB { 50 } else { 500 };
            let prepared = nanos(rounds, || prepared(&message, selectors));
            let signed = nanos(rounds, || sign(&message, selectors));
            println!(
                "{:9.1} us, before the keys {:9.1} us  {size}, {keys}",
                signed / 1e3,
                prepared / 1e3
            );
            let sent = [sign(&message, selectors).concat().as_bytes(), &message].concat();
            let checks = nanos(rounds, || checks(&sent));
            let answers: Vec<KeyAnswer> = selectors.iter().map(answer).collect();
            let verified = nanos(rounds, || {
                let evaluate = |(check, answer): (Check, &KeyAnswer)| match check {
                    Check::Open(question) => {
                        assert_eq!(question.evaluate(answer).status, Status::Pass)
                    }
                    Check::Settled(evaluation) => panic!("{evaluation:?}"),
                };
                self::checks(&sent)
                    .into_iter()
                    .zip(&answers)
                    .for_each(evaluate);
            });
            println!(
                "{:9.1} us, before the keys {:9.1} us  {size}, {keys}, verified",
                verified / 1e3,
                checks / 1e3
            );
        }
    }
}

fn prepared(message: &[u8], selectors: &[Selector]) -> Vec<Unsigned> {
    let mut hasher = MessageHasher::new(selectors);
    message
        .chunks(CHUNK)
        .for_each(|chunk| hasher.update(black_box(chunk)));
    let (header, body) = hasher.finish().expect("a short header");
    let occasion = Occasion {
        now_secs: 1_800_000_000,
        localpart: Some("a"),
        internationalized: false,
        needed_until_secs: 0,
    };
    prepare(selectors, &header, &body, &occasion).expect("a From field")
}

fn sign(message: &[u8], selectors: &[Selector]) -> Vec<String> {
    let sign = |unsigned: Unsigned| unsigned.sign().expect("a good key");
    prepared(message, selectors).into_iter().map(sign).collect()
}

fn checks(message: &[u8]) -> Vec<Check> {
    let mut verifier = Verifier::new(Rules {
        received_at_secs: 1_800_000_000,
        is_public_suffix: Box::new(|_| false),
        service: "email",
    });
    message
        .chunks(CHUNK)
        .for_each(|chunk| verifier.update(black_box(chunk)));
    verifier.finish()
}

fn answer(selector: &Selector) -> KeyAnswer {
    let record = KeyRecord::of_key(&selector.key).to_string();
    KeyAnswer::Records(vec![record.into_bytes()])
}

/// Of one call, in the fastest of five series: the others were disturbed.
fn nanos<T>(rounds: u32, mut call: impl FnMut() -> T) -> f64 {
    let mut best = f64::INFINITY;
    for _ in 0..5 {
        let start = cpu_nanos();
        for _ in 0..rounds {
            black_box(call());
        }
        best = best.min((cpu_nanos() - start) / f64::from(rounds));
    }
    best
}

/// Of this thread.
fn cpu_nanos() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 * 1e9 + time.tv_nsec as f64
}

fn selector(pem: &str) -> Selector {
    let name = |text| Name::parse(text).expect("a name");
    let key = SigningKey::from_pem(pem).expect("a key");
    Selector::new(name("example.org"), name("2026a"), Arc::new(key))
}

fn message(octets: usize) -> Vec<u8> {
    let mut message = HEADER.to_vec();
    message.extend(lines(PROSE, octets - HEADER.len()));
    message
}

fn lines(line: &[u8], octets: usize) -> Vec<u8> {
    line.iter().copied().cycle().take(octets).collect()
}

const RSA: &str = include_str!("../tests/keys/rsa2048.pem");
const HEADER: &[u8] = b"Received: from client.example.org (client.example.org [192.0.2.1])\r\n\tby mx.example.org (ringmail) with ESMTPSA id 1234567890\r\n\
    \tfor <b@example.net>; Thu, 01 Jan 2026 12:00:00 +0000\r\nFrom: A Somebody <a@example.org>\r\nTo: B Somebody <b@example.net>\r\n\
    Cc: C <c@example.net>\r\nSubject: minutes of the last meeting\r\nDate: Thu, 01 Jan 2026 12:00:00 +0000\r\nMessage-ID: <1@example.org>\r\n\
    In-Reply-To: <0@example.net>\r\nReferences: <0@example.net>\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\
    Content-Transfer-Encoding: 8bit\r\nUser-Agent: bench\r\n\r\n";
const PROSE: &[u8] = b"A line of a letter, as people write them, with words and single spaces\r\nand an empty line now and then.\r\n\r\n";
const BASE64: &[u8] =
    b"QSBsaW5lIG9mIHNldmVudHktdHdvIGxldHRlcnMgYXMgdGhleSBhcmUgaW4gbW9zdCBvZg==\r\n";
/// What relaxed canonicalization likes least.
const SPACES: &[u8] = b"a  b \tc \r\n";
const MIB: usize = 1 << 20;
const CHUNK: usize = 64 * 1024;

//! Random messages, fields and records against both sides: no panic, the same result in whatever chunks, and no changed message that passes.
//! Seeds are fixed, so a failure repeats; `RINGMAIL_FUZZ_SECS` runs longer with new seeds and prints them.

use std::sync::Arc;

use crate::{
    Canonicalization, Canonicalizations, Check, KeyAnswer, KeyError, KeyRecord, MessageHasher,
    Name, Occasion, Rules, Selector, SigningKey, Status, Verifier, generate, limits, prepare,
};

struct Random(u64);

impl Random {
    fn seeded(seed: u64) -> Self {
        Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    fn of<'a, T: ?Sized>(&mut self, choices: &[&'a T]) -> &'a T {
        choices[self.below(choices.len())]
    }

    fn text(&mut self, pieces: &[&[u8]], count: usize) -> Vec<u8> {
        let count = self.below(count + 1);
        (0..count).flat_map(|_| self.of(pieces).to_vec()).collect()
    }
}

/// Runs a round for each seed, for longer if the environment says so.
fn rounds(count: u64, mut round: impl FnMut(&mut Random)) {
    for seed in 0..count {
        round(&mut Random::seeded(seed));
    }
    let Some(secs) = std::env::var("RINGMAIL_FUZZ_SECS")
        .ok()
        .and_then(|secs| secs.parse().ok())
    else {
        return;
    };
    let start = std::time::Instant::now();
    let mut seed = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_nanos() as u64;
    println!("first seed {seed}");
    // Some tests share the time.
    while start.elapsed() < std::time::Duration::from_secs(secs) / 4 {
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            round(&mut Random::seeded(seed))
        }));
        assert!(result.is_ok(), "seed {seed}");
        seed += 1;
    }
}

fn key() -> Arc<SigningKey> {
    let pem = generate::ed25519_key(&mut |octets| octets.fill(9));
    Arc::new(SigningKey::from_pem(&pem).unwrap())
}

fn selectors(random: &mut Random, key: &Arc<SigningKey>) -> Vec<Selector> {
    let name = |text: &str| Name::parse(text).unwrap();
    let count = 1 + random.below(2);
    let one = |number: usize, random: &mut Random| {
        let mut selector = Selector::new(
            name("example.org"),
            name(&format!("s{number}")),
            key.clone(),
        );
        let mut either = || *random.of(&[&Canonicalization::Simple, &Canonicalization::Relaxed]);
        selector.canonicalizations = Canonicalizations {
            header: either(),
            body: either(),
        };
        selector
    };
    (0..count).map(|number| one(number, random)).collect()
}

const HEADER: &[&[u8]] = &[
    b"From: a@example.org\r\n",
    b"To: b\r\n",
    b"to:c\r\n",
    b"Subject: x  y\r\n\tz \r\n",
    b"X-A: 1\r\n",
    b"no field\r\n",
    b" fold\r\n",
    b"Date :\r\n",
    b":\r\n",
    b"Cc:\r\n \r\n",
];
const BODY: &[&[u8]] = &[
    b"word",
    b" ",
    b"\r\n",
    b"\t",
    b"\r",
    b"\n",
    b"\r\n\r\n",
    b"  \r\n",
    b"\xff\0",
];
const TAGS: &[&[u8]] = &[
    b"v=1;",
    b"a=rsa-sha256;",
    b"a=ed25519-sha256;",
    b"c=relaxed/relaxed;",
    b"c=simple;",
    b"d=example.org;",
    b"s=s0;",
    b"h=from:subject;",
    b"h=subject;",
    b"bh=",
    b"b=",
    b"AAAA",
    b"frcCV1k9oG9oKj3dpUqdJg1PxRT2RSN/XKdLCPjaYaY=",
    b";",
    b"=",
    b"\r\n ",
    b" ",
    b"l=1;",
    b"l=99999999999999999999999;",
    b"t=1;",
    b"x=2;",
    b"i=@example.org;",
    b"q=dns/txt;",
    b"\xc3\xbc",
    b"\xff",
    b"=3D",
];

fn message(random: &mut Random) -> Vec<u8> {
    let mut message = b"From: a@example.org\r\n".to_vec();
    message.extend(random.text(HEADER, 8));
    message.extend_from_slice(b"\r\n");
    message.extend(random.text(BODY, 30));
    message
}

fn rules() -> Rules {
    Rules {
        received_at_secs: 1_800_000_000,
        is_public_suffix: Box::new(|domain| !domain.contains('.')),
        service: "email",
    }
}

/// Statuses of all signatures if each query has this answer.
fn statuses(message: &[u8], answer: &KeyAnswer, random: &mut Random) -> Vec<Status> {
    let mut verifier = Verifier::new(rules());
    let mut rest = message;
    while !rest.is_empty() {
        let (chunk, after) = rest.split_at(1 + random.below(rest.len()));
        verifier.update(chunk);
        rest = after;
    }
    let status = |check| match check {
        Check::Settled(evaluation) => evaluation.status,
        Check::Open(question) => question.evaluate(answer).status,
    };
    verifier.finish().into_iter().map(status).collect()
}

#[test]
fn random_messages_are_signed_the_same_in_all_chunks_and_changed_ones_fail() {
    let key = key();
    let answer = KeyAnswer::Records(vec![KeyRecord::of_key(&key).to_string().into_bytes()]);
    rounds(400, |random| {
        let (message, selectors) = (message(random), selectors(random, &key));
        let mut signed = Vec::new();
        for chunks in 0..2 {
            let mut hasher = MessageHasher::new(&selectors);
            let mut rest = &message[..];
            while !rest.is_empty() {
                let (chunk, after) = rest.split_at(if chunks == 0 {
                    rest.len()
                } else {
                    1 + random.below(rest.len())
                });
                hasher.update(chunk);
                rest = after;
            }
            let (header, body) = hasher.finish().unwrap();
            let occasion = Occasion {
                now_secs: 1_700_000_000,
                ..Occasion::default()
            };
            let Ok(unsigned) = prepare(&selectors, &header, &body, &occasion) else {
                return;
            };
            let fields: Vec<String> = unsigned
                .into_iter()
                .map(|unsigned| unsigned.sign().unwrap())
                .collect();
            signed.push(fields.concat());
        }
        assert_eq!(signed[0], signed[1]);
        let mut sent = [signed[0].as_bytes(), &message].concat();
        // A line that is no field joins what is before it, and that would be our field.
        assert_eq!(
            statuses(&sent, &answer, random),
            vec![Status::Pass; selectors.len()],
            "{}",
            String::from_utf8_lossy(&sent)
        );
        // Any printable octet of From or of the body is signed.
        let body = signed[0].len()
            + message
                .windows(4)
                .position(|four| four == b"\r\n\r\n")
                .unwrap()
            + 4;
        let places: Vec<usize> = (body..sent.len())
            .filter(|at| sent[*at].is_ascii_graphic())
            .chain([signed[0].len() + 7])
            .collect();
        let at = places[random.below(places.len())];
        sent[at] = sent[at].wrapping_add(1);
        assert_eq!(
            statuses(&sent, &answer, random),
            vec![Status::Fail; selectors.len()],
            "{at} of {}",
            String::from_utf8_lossy(&sent)
        );
    });
}

#[test]
fn random_signature_fields_and_records_never_pass() {
    rounds(3000, |random| {
        let mut message = Vec::new();
        for _ in 0..random.below(4) {
            message.extend_from_slice(b"DKIM-Signature:");
            message.extend(random.text(TAGS, 20));
            message.extend_from_slice(b"\r\n");
        }
        message.extend(self::message(random));
        let record = random.text(
            &[
                b"v=DKIM1;",
                b"k=rsa;",
                b"k=ed25519;",
                b"p=",
                b"AAAA",
                b"11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=",
                b";",
                b"t=y;",
                b"h=sha256;",
                b"\xff",
                b"MIGf",
            ],
            8,
        );
        let answer = KeyAnswer::Records(vec![record]);
        let statuses = statuses(&message, &answer, random);
        assert!(
            !statuses.contains(&Status::Pass),
            "{}",
            String::from_utf8_lossy(&message)
        );
    });
}

#[test]
fn random_changes_of_keys_and_names() {
    let pem = include_str!("../tests/keys/rsa2048.pem");
    rounds(60, |random| {
        let mut octets = pem.as_bytes().to_vec();
        for _ in 0..1 + random.below(3) {
            let at = random.below(octets.len());
            octets[at] = random.next() as u8 & 0x7F;
        }
        // Few changes leave a key that works; what matters is that there is an answer.
        let _: Result<SigningKey, KeyError> =
            SigningKey::from_pem(&String::from_utf8(octets).unwrap());
        let text = random.text(
            &[
                b"a",
                b".",
                b"-",
                b"xn--",
                b"\xc3\xbc",
                b"_",
                b"\xe2\x80\x8b",
                b"..",
                b"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
            ],
            12,
        );
        if let Some(name) = std::str::from_utf8(&text)
            .ok()
            .and_then(|text| Name::parse(text).ok())
        {
            assert!(name.ascii().is_ascii() && name.ascii().len() <= limits::DOMAIN_MAX);
            assert_eq!(
                Name::parse(name.ascii()).as_ref().map(Name::ascii),
                Ok(name.ascii())
            );
        }
    });
}

#[test]
fn hostile_headers_cost_no_more_than_their_length() {
    // The bounds hold at once: a full header, eight signatures, each with the most names, of which none is there often enough.
    let names = vec!["from"; limits::SIGNED_NAMES_MAX].join(":");
    let signature = format!(
        "DKIM-Signature: v=1; a=ed25519-sha256; c=relaxed/relaxed; d=a.example; s=x; h={names};\r\n\tbh=frcCV1k9oG9oKj3dpUqdJg1PxRT2RSN/XKdLCPjaYaY=; b=AAAA\r\n"
    );
    let mut message = signature.repeat(limits::SIGNATURES_MAX).into_bytes();
    while message.len() < limits::HEADER_SIZE_MAX - 20 {
        message.extend_from_slice(b"F:\r\nFrom:\r\n");
    }
    message.extend_from_slice(b"\r\n");
    let mut verifier = Verifier::new(rules());
    message.chunks(1).for_each(|octet| verifier.update(octet));
    assert_eq!(verifier.queries(), ["x._domainkey.a.example"]);
    let checks = verifier.finish();
    assert_eq!(checks.len(), limits::SIGNATURES_MAX);
    assert!(checks.iter().all(|check| matches!(check, Check::Open(_))));
}

use super::*;
use crate::{Check, KeyAnswer, KeyRecord, Rules, Status, Verifier, generate};

const MESSAGE: &[u8] = b"Received: by mx.example.org; Thu, 1 Jan 2026 00:00:00 +0000\r\nFrom: A <a@example.org>\r\nTo: b@example.net\r\n\
    Subject:  hello\t you\r\nDate: Thu, 1 Jan 2026 00:00:00 +0000\r\nMessage-ID: <1@example.org>\r\nMIME-Version: 1.0\r\n\r\nHi  there \r\n\r\n\r\n";

fn ed25519() -> Arc<SigningKey> {
    let pem = generate::ed25519_key(&mut |octets| octets.fill(7));
    Arc::new(SigningKey::from_pem(&pem).unwrap())
}

/// `openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048`
fn rsa() -> Arc<SigningKey> {
    Arc::new(SigningKey::from_pem(include_str!("../../tests/keys/rsa2048.pem")).unwrap())
}

fn selector(domain: &str, selector: &str, key: &Arc<SigningKey>) -> Selector {
    Selector::new(
        Name::parse(domain).unwrap(),
        Name::parse(selector).unwrap(),
        key.clone(),
    )
}

const OCCASION: Occasion<'static> = Occasion {
    now_secs: 1_800_000_000,
    localpart: Some("a"),
    internationalized: false,
    needed_until_secs: 0,
};

fn unsigned(
    selectors: &[Selector],
    message: &[u8],
    occasion: &Occasion<'_>,
    chunk: usize,
) -> Result<Vec<Unsigned>, SignError> {
    let mut hasher = MessageHasher::new(selectors);
    message.chunks(chunk).for_each(|chunk| hasher.update(chunk));
    let (header, body) = hasher.finish()?;
    prepare(selectors, &header, &body, occasion)
}

fn sign(
    selectors: &[Selector],
    message: &[u8],
    occasion: &Occasion<'_>,
    chunk: usize,
) -> Vec<String> {
    let unsigned = unsigned(selectors, message, occasion, chunk).unwrap();
    unsigned
        .into_iter()
        .map(|unsigned| unsigned.sign().unwrap())
        .collect()
}

fn statuses(fields: &[String], message: &[u8], selectors: &[Selector]) -> Vec<Status> {
    let mut verifier = Verifier::new(Rules {
        received_at_secs: OCCASION.now_secs + 1,
        is_public_suffix: Box::new(|_| false),
        service: "email",
    });
    verifier.update(fields.concat().as_bytes());
    verifier.update(message);
    let checks = verifier.finish().into_iter().zip(selectors);
    let status = |(check, selector): (Check, &Selector)| match check {
        Check::Settled(evaluation) => evaluation.status,
        Check::Open(question) => {
            assert_eq!(
                question.query(),
                crate::query_name(&selector.selector, &selector.domain)
            );
            let record = KeyRecord::of_key(&selector.key).to_string();
            question
                .evaluate(&KeyAnswer::Records(vec![record.into_bytes()]))
                .status
        }
    };
    checks.map(status).collect()
}

#[test]
fn the_field_as_it_is_written() {
    let mut selector = selector("example.org", "2026a", &ed25519());
    selector.expiration_secs = Some(72 * 3600);
    let fields = sign(&[selector], MESSAGE, &OCCASION, MESSAGE.len());
    assert_eq!(
        fields[0],
        "DKIM-Signature: v=1; a=ed25519-sha256; c=relaxed/relaxed; d=example.org;\r\n\
         \ts=2026a; i=a@example.org; t=1800000000; x=1800259200; h=From:From:To:To:Cc:\r\n\
         \tBcc:Reply-To:Subject:Subject:Date:Date:Message-ID:Message-ID:In-Reply-To:\r\n\
         \tReferences:Content-Type:List-Unsubscribe:List-Unsubscribe-Post:\r\n\
         \tMIME-Version; bh=LaegeaE4sWd4l9K7YWNlAinmqUePEZwKG9dMjiYmLn8=; b=DNWEhNQa+c\r\n\
         \tXGv5u4R1Jfn62gOgchvg6/LHEd+hk1TUYxERSIdQU6fRewnRLn7e2Rktoz2pN4DY3Web+hwOA/D\r\n\
         \tQ==\r\n"
    );
}

#[test]
fn a_signature_holds_as_long_as_its_message_is_on_its_way() {
    let mut selector = selector("example.org", "2026a", &ed25519());
    let end = |selector: &Selector, needed_until_secs| {
        let occasion = Occasion {
            needed_until_secs,
            ..OCCASION
        };
        let fields = sign(std::slice::from_ref(selector), MESSAGE, &occasion, 7);
        let (_, rest) = fields[0].split_once("x=")?;
        rest.split_once(';')?.0.parse::<u64>().ok()
    };
    // No x= is for ever.
    assert_eq!(end(&selector, 1_900_000_000), None);
    selector.expiration_secs = Some(100);
    assert_eq!(end(&selector, 1_800_000_050), Some(1_800_000_100));
    assert_eq!(end(&selector, 1_800_000_200), Some(1_800_000_200));
}

#[test]
fn bodies_are_hashed_before_it_is_known_who_signs() {
    let selectors = [selector("example.org", "2026a", &ed25519())];
    let hashed = |mut hasher: MessageHasher| {
        MESSAGE.chunks(9).for_each(|chunk| hasher.update(chunk));
        hasher.finish().unwrap()
    };
    let both = [Canonicalization::Simple, Canonicalization::Relaxed];
    let (header, body) = hashed(MessageHasher::of_bodies(&both));
    let (known_header, known) = hashed(MessageHasher::new(&selectors));
    assert_eq!((&header, body.relaxed), (&known_header, known.relaxed));
    assert!(body.simple.is_some() && known.simple.is_none());
    let (_, simple) = hashed(MessageHasher::of_bodies(&both[..1]));
    let missing = prepare(&selectors, &header, &simple, &OCCASION);
    assert_eq!(missing.err(), Some(SignError::BodyNotHashed));
}

#[test]
fn several_selectors_and_canonicalizations_over_one_message() {
    let (ed25519, rsa) = (ed25519(), rsa());
    let all = [Canonicalization::Simple, Canonicalization::Relaxed];
    let mut selectors = Vec::new();
    for (header, body) in all
        .iter()
        .flat_map(|header| all.map(|body| (*header, body)))
    {
        let key = if header == body { &rsa } else { &ed25519 };
        let mut one = selector("example.org", &format!("s{}", selectors.len()), key);
        one.canonicalizations = Canonicalizations { header, body };
        selectors.push(one);
    }
    let fields = sign(&selectors, MESSAGE, &OCCASION, MESSAGE.len());
    assert!(
        !fields[0].contains(" c="),
        "RFC 6376 3.5: simple/simple is the default"
    );
    assert_eq!(statuses(&fields, MESSAGE, &selectors), [Status::Pass; 4]);
    for chunk in 1..MESSAGE.len() {
        // Whatever the chunks, the same octets.
        assert_eq!(
            sign(&selectors[1..3], MESSAGE, &OCCASION, chunk),
            fields[1..3]
        );
    }
}

#[test]
fn lines_stay_within_78_columns() {
    let rsa = rsa();
    let long = ["a-rather-long-label"; 3].join(".");
    for length in 1..60 {
        let localpart = "l".repeat(length);
        let occasion = Occasion {
            localpart: Some(&localpart),
            ..OCCASION
        };
        let selectors = [
            selector(&format!("{}.example.org", "d".repeat(length)), "s", &rsa),
            selector("example.org", &long, &rsa),
        ];
        for field in sign(&selectors, MESSAGE, &occasion, MESSAGE.len()) {
            for line in field.lines() {
                let unfoldable = line.trim_start().starts_with("i=");
                assert!(
                    line.len() <= 76 || unfoldable && line.len() <= 998,
                    "{line}"
                );
                assert!(!line.trim().is_empty());
            }
        }
    }
}

#[test]
fn nobody_can_add_a_sealed_field() {
    let selectors = [selector("example.org", "s", &ed25519())];
    let fields = sign(&selectors, MESSAGE, &OCCASION, MESSAGE.len());
    for added in [
        "From: eve@example.org",
        "to: x",
        "Subject:",
        "Cc: x",
        "List-Unsubscribe: <https://x.example/>",
        "Content-Type: text/html",
    ] {
        let more = [added.as_bytes(), b"\r\n", MESSAGE].concat();
        assert_eq!(
            statuses(&fields, &more, &selectors),
            [Status::Fail],
            "{added}"
        );
    }
    for added in [
        "Received: x",
        "List-Id: x",
        "X-Spam: no",
        "Return-Path: <a@example.org>",
    ] {
        let more = [added.as_bytes(), b"\r\n", MESSAGE].concat();
        assert_eq!(
            statuses(&fields, &more, &selectors),
            [Status::Pass],
            "{added}"
        );
    }
}

#[test]
fn fields_that_occur_twice_are_signed_twice() {
    let mut one = selector("example.org", "s", &ed25519());
    one.fields = Arc::new(SignedFields::new(&["From"], &["Subject", "X-A"]).unwrap());
    let selectors = [one];
    let message = [b"X-A: 1\r\nX-A: 2\r\n", MESSAGE].concat();
    let fields = sign(&selectors, &message, &OCCASION, message.len());
    assert!(
        fields[0].contains("h=From:From:Subject:X-A:X-A;"),
        "{}",
        fields[0]
    );
    assert_eq!(statuses(&fields, &message, &selectors), [Status::Pass]);
    let more = [b"X-A: 0\r\n", &message[..]].concat();
    assert_eq!(
        statuses(&fields, &more, &selectors),
        [Status::Pass],
        "not sealed"
    );
    let swapped = [b"X-A: 2\r\nX-A: 1\r\n", MESSAGE].concat();
    assert_eq!(statuses(&fields, &swapped, &selectors), [Status::Fail]);
}

#[test]
fn internationalized_messages_have_u_labels() {
    // RFC 8616 5
    let selectors = [selector("b\u{fc}cher.example", "s\u{fc}d", &ed25519())];
    let message = [
        b"From: J\xc3\xb6rg <j\xc3\xb6rg@b\xc3\xbccher.example>\r\nSubject: \xc3\xa4\r\n\r\nx",
        &[][..],
    ]
    .concat();
    let mut occasion = Occasion {
        localpart: Some("j\u{f6}rg"),
        ..OCCASION
    };
    let ascii = sign(&selectors, &message, &occasion, message.len());
    assert!(ascii[0].is_ascii());
    assert!(
        ascii[0].contains("d=xn--bcher-kva.example;")
            && ascii[0].contains("i=j=C3=B6rg@xn--bcher-kva.example;"),
        "{}",
        ascii[0]
    );
    occasion.internationalized = true;
    let unicode = sign(&selectors, &message, &occasion, message.len());
    assert!(
        unicode[0].contains("d=b\u{fc}cher.example;")
            && unicode[0].contains("s=s\u{fc}d;")
            && unicode[0].contains("i=j\u{f6}rg@b\u{fc}cher.example;")
    );
    for fields in [ascii, unicode] {
        assert_eq!(statuses(&fields, &message, &selectors), [Status::Pass]);
    }
}

#[test]
fn messages_that_cannot_be_signed() {
    let selectors = vec![selector("example.org", "s", &ed25519())];
    let of = |selectors: &[Selector], message: &[u8]| {
        unsigned(selectors, message, &OCCASION, message.len())
            .map(|_| ())
            .unwrap_err()
    };
    assert_eq!(of(&selectors, b"To: x\r\n\r\n"), SignError::From(0));
    assert_eq!(
        of(&selectors, b"From: x\r\nFROM: y\r\n\r\n"),
        SignError::From(2)
    );
    let long = [b"X: ", &vec![b'x'; HEADER_SIZE_MAX][..]].concat();
    assert_eq!(of(&selectors, &long), SignError::HeaderTooLong);
    let many = [b"From: x\r\n", &b"To: x\r\n".repeat(SIGNED_NAMES_MAX)[..]].concat();
    assert_eq!(of(&selectors, &many), SignError::TooManyFields);
    let selectors = vec![selectors[0].clone(); SELECTORS_MAX + 1];
    assert_eq!(of(&selectors, MESSAGE), SignError::TooManySelectors);
    let unhashed = prepare(&selectors[..1], MESSAGE, &BodyHashes::default(), &OCCASION);
    assert_eq!(unhashed.map(|_| ()).unwrap_err(), SignError::BodyNotHashed);
}

#[test]
fn an_unsigned_message_may_go_to_another_thread() {
    fn travels<T: Send + Sync + 'static>() {}
    travels::<Unsigned>();
    travels::<SigningKey>();
    travels::<Selector>();
    assert!(rsa().is_heavy() && !ed25519().is_heavy());
}

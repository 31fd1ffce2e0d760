use super::*;
use crate::TagListError;

const RFC_8463: &str = "DKIM-Signature: v=1; a=ed25519-sha256; c=relaxed/relaxed;
 d=football.example.com; i=@football.example.com;
 q=dns/txt; s=brisbane; t=1528637909; h=from : to :
 subject : date : message-id : from : subject : date;
 bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;
 b=/gCrinpcQOoIfuHNQIbq4pgh9kyIK3AQUdt9OdqQehSwhEIug4D11Bus
 Fa3bT3FY5OsU7ZbnKELq+eXdp1Q1Dw==
DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed;
 d=football.example.com; i=@football.example.com;
 q=dns/txt; s=test; t=1528637909; h=from : to : subject :
 date : message-id : from : subject : date;
 bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;
 b=F45dVWDfMbQDGHJFlXUNB2HKfbCeLRyhDXgFpEL8GwpsRe0IeIixNTe3
 DhCVlUrSjV4BwcVcOF6+FF3Zo9Rpo1tFOeS9mPYQTnGdaSGsgeefOsk2Jz
 dA+L10TeYt9BgDfQNZtKdN1WO//KgIqXP7OdEFE4LjFYNcUxZQ4FADY+8=
From: Joe SixPack <joe@football.example.com>
To: Suzie Q <suzie@shopping.example.net>
Subject: Is dinner ready?
Date: Fri, 11 Jul 2003 21:00:37 -0700 (PDT)
Message-ID: <20030712040037.46341.5F8J@football.example.com>

Hi.

We lost the game.  Are you hungry yet?

Joe.
";

const ED25519_RECORD: &str = "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";
const RSA_RECORD: &str = "v=DKIM1; k=rsa; p=MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDkHlOQoBTzWR\
    iGs5V6NpP3idY6Wk08a5qhdR6wy5bdOKb2jLQiY/J16JYi0Qvx/byYzCNb3W91y3FutAC\
    DfzwQ/BC/e/8uBsCR+yz1Lxj+PL6lHvqMKrM3rG4hstT5QjvHO9PzoxZyVYLzBfO2EeC3\
    Ip3G+2kryOTIKT+l/K4w3QIDAQAB";

/// RFC 6376 A.2 with what was lost in its printing, which simple canonicalization sees: RFC 4871 folds by six spaces, and a sentence ended
/// before one space.
const RFC_6376: &str = "DKIM-Signature: v=1; a=rsa-sha256; s=brisbane; d=example.com;
      c=simple/simple; q=dns/txt; i=joe@football.example.com;
      h=Received : From : To : Subject : Date : Message-ID;
      bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;
      b=AuUoFEfDxTDkHlLXSZEpZj79LICEps6eda7W3deTVFOk4yAUoqOB
      4nujc7YopdG5dWLSdNg6xNAZpOPr+kHxt1IrE+NahM6L/LbvaHut
      KVdkLLkpVaVVQPzeRDI009SO2Il5Lu7rDNH6mZckBdrIx0orEtZV
      4bmp/YzhwvcubU4=;
Received: from client1.football.example.com  [192.0.2.1]
      by submitserver.example.com with SUBMISSION;
      Fri, 11 Jul 2003 21:01:54 -0700 (PDT)
From: Joe SixPack <joe@football.example.com>
To: Suzie Q <suzie@shopping.example.net>
Subject: Is dinner ready?
Date: Fri, 11 Jul 2003 21:00:37 -0700 (PDT)
Message-ID: <20030712040037.46341.5F8J@football.example.com>

Hi.

We lost the game. Are you hungry yet?

Joe.
";

const RFC_6376_RECORD: &str = "v=DKIM1; p=MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQ\
    KBgQDwIRP/UC3SBsEmGqZ9ZJW3/DkMoGeLnQg1fWn7/zYt\
    IxN2SnFCjxOCKG9v3b4jYfcTNh5ijSsq631uBItLa7od+v\
    /RtdC2UzJ1lWT947qR+Rcac2gbto/NMqJ0fzfVjH4OuKhi\
    tdY9tf6mcwGjaNBcWToIMmPSPDdQPNUYckcQ2QIDAQAB";

fn crlf(text: &str) -> Vec<u8> {
    text.replace('\n', "\r\n").into_bytes()
}

fn rules() -> Rules {
    Rules {
        received_at_secs: 1_528_637_999,
        is_public_suffix: Box::new(|domain| matches!(domain, "com" | "example")),
        service: "email",
    }
}

fn checks(message: &str) -> Vec<Check> {
    let mut verifier = Verifier::new(rules());
    verifier.update(&crlf(message));
    verifier.finish()
}

fn records(texts: &[&str]) -> KeyAnswer {
    KeyAnswer::Records(texts.iter().map(|text| text.as_bytes().to_vec()).collect())
}

/// What comes of the first signature if the answer is this.
fn first(message: &str, answer: &KeyAnswer) -> Evaluation {
    match checks(message).into_iter().next().unwrap() {
        Check::Settled(evaluation) => evaluation,
        Check::Open(question) => question.evaluate(answer),
    }
}

fn reason(message: &str, record: &str) -> (Status, Option<Reason>) {
    let evaluation = first(message, &records(&[record]));
    (evaluation.status, evaluation.reason)
}

#[test]
fn both_signatures_of_rfc_8463_appendix_a() {
    let mut verifier = Verifier::new(rules());
    let names = [
        "brisbane._domainkey.football.example.com",
        "test._domainkey.football.example.com",
    ];
    for octet in crlf(RFC_8463) {
        verifier.update(&[octet]);
    }
    assert_eq!(verifier.queries(), names);
    let checks = verifier.finish();
    assert_eq!(checks.len(), 2);
    for ((check, record), bits) in checks
        .into_iter()
        .zip([ED25519_RECORD, RSA_RECORD])
        .zip([256, 1024])
    {
        let Check::Open(question) = check else {
            panic!("{check:?}")
        };
        let evaluation = question.evaluate(&records(&[record]));
        assert_eq!((evaluation.status, evaluation.reason), (Status::Pass, None));
        assert_eq!(evaluation.key_bits, Some(bits));
    }
}

#[test]
fn our_key_makes_the_signature_of_rfc_8463_appendix_a() {
    let seed = "nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=";
    let seed = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, seed).unwrap();
    let pem = crate::generate::ed25519_key(&mut |octets| octets.copy_from_slice(&seed));
    let key = crate::SigningKey::from_pem(&pem).unwrap();
    let Check::Open(question) = checks(RFC_8463).swap_remove(0) else {
        unreachable!()
    };
    assert_eq!(
        key.sign(&question.input).unwrap(),
        question.signature.signature
    );
    assert_eq!(
        KeyRecord::of_key(&key).to_string(),
        ED25519_RECORD.replace("k=", "h=sha256; k=")
    );
}

#[test]
fn the_signature_of_rfc_6376_appendix_a() {
    let evaluation = first(RFC_6376, &records(&[RFC_6376_RECORD]));
    assert_eq!((evaluation.status, evaluation.reason), (Status::Pass, None));
    let signature = evaluation.signature.unwrap();
    assert_eq!(signature.identity.0, "joe");
    assert_eq!(evaluation.key_bits, Some(1024));
}

#[test]
fn what_is_changed_fails() {
    let of = |old, new| reason(&RFC_8463.replacen(old, new, 1), ED25519_RECORD);
    let (signature, body) = (
        (Status::Fail, Some(Reason::Signature)),
        (Status::Fail, Some(Reason::BodyHash)),
    );
    assert_eq!(of("dinner ready", "dinner  ready"), (Status::Pass, None));
    assert_eq!(of("We lost the", "We  lost the"), (Status::Pass, None));
    assert_eq!(of("Joe.\n", "Joe.  \n\n\n"), (Status::Pass, None));
    assert_eq!(of("\nTo:", "\nCc: x\nTO :"), (Status::Pass, None));
    assert_eq!(of("dinner", "lunch"), signature);
    assert_eq!(of("t=1528637909", "t=1528637908"), signature);
    assert_eq!(of("b=/gC", "b=/gD"), signature);
    assert_eq!(
        of("From: Joe", "From: Eve <eve@example.org>\nFrom: Joe"),
        signature
    );
    assert_eq!(of("Date: ", "Subject: more\nDate: "), signature);
    assert_eq!(of("We lost", "We won"), body);
    assert_eq!(of("Joe.\n", "Joe.\nP.S.\n"), body);
    assert_eq!(of("Are you", " Are you"), (Status::Pass, None));
    assert_eq!(reason(RFC_8463, RFC_6376_RECORD).1, Some(Reason::KeyType));
    let other = ED25519_RECORD.replace("p=11q", "p=22q");
    assert_eq!(reason(RFC_8463, &other), signature);
    assert_eq!(
        reason(
            &RFC_6376.replace("Received: from ", "Received:  from "),
            RFC_6376_RECORD
        ),
        signature
    );
}

#[test]
fn signatures_that_need_no_key() {
    for (old, new, expected) in [
        ("v=1", "v=2", Reason::Version),
        ("ed25519-sha256", "rsa-sha1", Reason::Sha1),
        ("ed25519-sha256", "ed25519-sha512", Reason::Algorithm),
        ("relaxed/relaxed", "relaxed/nofws", Reason::Canonicalization),
        ("q=dns/txt", "q=http", Reason::QueryMethod),
        ("i=@football", "i=@basketball", Reason::DomainMismatch),
        ("i=@football", "i=@xfootball", Reason::DomainMismatch),
        ("h=from : to", "h=frum : to", Reason::DomainMismatch),
        (
            "t=1528637909",
            "t=1528637909; x=1528637998",
            Reason::Expired,
        ),
        ("d=football.example.com", "d=com", Reason::PublicSuffix),
        ("v=1;", "v=1; v=1;", Reason::Syntax(TagListError::Duplicate)),
        ("v=1; ", "", Reason::MissingTag("v")),
    ] {
        let message = RFC_8463.replacen(old, new, 1);
        let expected = if new.starts_with("h=frum") {
            Reason::FromNotSigned
        } else {
            expected
        };
        let message = if expected == Reason::FromNotSigned {
            message.replacen("message-id : from", "message-id", 1)
        } else {
            message
        };
        let checks = checks(&message);
        let Check::Settled(evaluation) = &checks[0] else {
            panic!("{new}: {:?}", checks[0])
        };
        assert_eq!(
            (evaluation.reason, evaluation.status),
            (Some(expected), expected.status()),
            "{new}"
        );
        // The other one is judged on its own.
        assert!(matches!(checks[1], Check::Open(_)));
    }
    assert_eq!(Reason::Expired.status(), Status::PermError);
    let just_in_time = RFC_8463.replacen("t=1528637909", "t=1528637909; x=1528637999", 1);
    assert!(matches!(checks(&just_in_time)[0], Check::Open(_)));
    let long = format!(
        "s={}.{}",
        ["a".repeat(60), "b".repeat(60), "c".repeat(60)].join("."),
        "d".repeat(60)
    );
    let message = RFC_8463.replacen("s=brisbane", &long, 1);
    assert_eq!(
        first(&message, &KeyAnswer::Unavailable).reason,
        Some(Reason::NoKey)
    );
}

#[test]
fn keys_that_do_not_fit() {
    let of = |old, new| reason(RFC_8463, &ED25519_RECORD.replacen(old, new, 1));
    let permanent = |reason| (Status::PermError, Some(reason));
    assert_eq!(of("k=", "h=sha1; k="), permanent(Reason::HashNotAllowed));
    assert_eq!(of("k=", "h=sha1 : sha256; k="), (Status::Pass, None));
    assert_eq!(
        of("11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=", ""),
        permanent(Reason::Revoked)
    );
    assert_eq!(of("k=ed25519; ", ""), permanent(Reason::KeyType));
    assert_eq!(of("k=", "s=tlsrpt; k="), permanent(Reason::Service));
    assert_eq!(of("k=", "s=tlsrpt:email; k="), (Status::Pass, None));
    assert_eq!(of("k=", "t=s; k="), (Status::Pass, None));
    assert_eq!(
        reason(RFC_6376, &format!("{RFC_6376_RECORD}; t=s")),
        permanent(Reason::Strict)
    );
    assert_eq!(of("HURo=", "HURoAAAA"), permanent(Reason::KeySyntax));
    assert_eq!(of("11qY", "AAAA11qY"), permanent(Reason::PublicKeySyntax));
    assert_eq!(of("v=DKIM1", "v=spf1"), permanent(Reason::NoKeyRecord));
    let rsa = RFC_6376_RECORD.replace("AQAB", "");
    assert_eq!(reason(RFC_6376, &rsa), permanent(Reason::PublicKeySyntax));
    let long = "v=DKIM1; k=rsa; p=".to_string() + &rsa_key_of(513);
    assert_eq!(reason(RFC_6376, &long), permanent(Reason::RsaKeySize(4104)));
    let short = "v=DKIM1; k=rsa; p=".to_string() + &rsa_key_of(96);
    assert_eq!(reason(RFC_6376, &short), permanent(Reason::RsaKeySize(768)));
}

/// RSAPublicKey alone, with a modulus of so many octets.
fn rsa_key_of(octets: usize) -> String {
    let modulus = [vec![0], vec![0xFF; octets]].concat();
    let modulus = crate::der::value(crate::der::INTEGER, &[&modulus]);
    let exponent = crate::der::value(crate::der::INTEGER, &[&[1, 0, 1]]);
    let key = crate::der::value(crate::der::SEQUENCE, &[&modulus, &exponent]);
    base64::Engine::encode(&base64::engine::general_purpose::STANDARD, key)
}

#[test]
fn a_bare_rsa_public_key_verifies_too() {
    // RFC 6376 3.6.1 asks for this form.
    let (start, text) = RFC_6376_RECORD.split_once("p=").unwrap();
    let engine = base64::engine::general_purpose::STANDARD;
    let key = base64::Engine::decode(&engine, text).unwrap();
    let bare = base64::Engine::encode(&engine, &key[22..]);
    assert_eq!(
        reason(RFC_6376, &format!("{start}p={bare}")),
        (Status::Pass, None)
    );
}

#[test]
fn answers_of_dns() {
    let of = |answer: &KeyAnswer| {
        let evaluation = first(RFC_8463, answer);
        (evaluation.status, evaluation.reason)
    };
    assert_eq!(
        of(&KeyAnswer::Unavailable),
        (Status::TempError, Some(Reason::KeyUnavailable))
    );
    assert_eq!(
        of(&KeyAnswer::Missing),
        (Status::PermError, Some(Reason::NoKey))
    );
    assert_eq!(of(&records(&[])), (Status::PermError, Some(Reason::NoKey)));
    // Records beside the key are not ours to judge.
    assert_eq!(
        of(&records(&["v=spf1 -all", ED25519_RECORD])),
        (Status::Pass, None)
    );
    let old = ED25519_RECORD.replace("p=11q", "p=22q");
    assert_eq!(of(&records(&[&old, ED25519_RECORD])), (Status::Pass, None));
    assert_eq!(of(&records(&[ED25519_RECORD, &old])), (Status::Pass, None));
    assert_eq!(
        of(&records(&[&old, &old])),
        (Status::Fail, Some(Reason::Signature))
    );
    assert_eq!(
        of(&records(&[&old, &old, &old, ED25519_RECORD])),
        (Status::Fail, Some(Reason::Signature))
    );
    assert_eq!(
        of(&records(&["v=DKIM1; p=%"])),
        (Status::PermError, Some(Reason::KeySyntax))
    );
}

#[test]
fn testing_domains_do_not_fail() {
    let record = format!("{ED25519_RECORD}; t=y");
    assert_eq!(reason(RFC_8463, &record), (Status::Pass, None));
    let changed = RFC_8463.replace("dinner", "lunch");
    let evaluation = first(&changed, &records(&[&record]));
    assert_eq!(
        (evaluation.status, evaluation.reason),
        (Status::None, Some(Reason::Signature))
    );
    assert!(evaluation.testing);
}

#[test]
fn a_message_without_signature_has_no_checks() {
    assert!(checks("From: a@example.org\n\nHi\n").is_empty());
    assert!(checks("").is_empty());
    let evaluation = first(
        "DKIM-Signature: x\nFrom: a@example.org\n",
        &KeyAnswer::Missing,
    );
    assert_eq!(
        (evaluation.status, evaluation.signature),
        (Status::Neutral, None)
    );
}

#[test]
fn signatures_and_headers_beyond_the_bounds() {
    let (signature, rest) = RFC_8463.split_at(RFC_8463.find("DKIM-Signature: v=1; a=rsa").unwrap());
    let message = signature.repeat(SIGNATURES_MAX + 5) + rest;
    let checks = checks(&message);
    assert_eq!(checks.len(), SIGNATURES_MAX + 1);
    let Some(Check::Settled(evaluation)) = checks.last() else {
        panic!("{checks:?}")
    };
    assert_eq!(
        (evaluation.status, evaluation.reason),
        (Status::Neutral, Some(Reason::TooManySignatures))
    );
    let long = format!("X: {}\n", "x".repeat(70)).repeat(5000) + RFC_8463;
    assert_eq!(
        first(&long, &KeyAnswer::Missing).reason,
        Some(Reason::HeaderTooLong)
    );
}

#[test]
fn each_signature_has_its_own_part_of_the_body() {
    // Three of the first signature, over the whole body and parts of it: the hash of the body alone tells them apart.
    let hash = |text: &str| {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes());
        base64::Engine::encode(&base64::engine::general_purpose::STANDARD, digest)
    };
    let signature = |tags: &str, body: &str| {
        format!(
            "DKIM-Signature: v=1; a=ed25519-sha256; d=a.example; s=x; h=from; b=AAAA; c=relaxed/relaxed; {tags}bh={}\n",
            hash(body)
        )
    };
    let message = [
        signature("l=3; ", "Hi."),
        signature("", "Hi.\r\n"),
        signature("l=3; ", "Hi."),
        signature("l=0; ", ""),
        signature("l=6; ", "Hi.\r\n"),
        signature("l=4; ", "Hi."),
    ];
    let message = message.concat() + "From: a@a.example\n\nHi.\n\n";
    let of = |check| match check {
        Check::Open(question) => Question::evaluate(question, &records(&[ED25519_RECORD])).reason,
        Check::Settled(evaluation) => panic!("{evaluation:?}"),
    };
    let reasons: Vec<_> = checks(&message).into_iter().map(of).collect();
    let (good_body, too_short, other) = (
        Some(Reason::Signature),
        Some(Reason::BodyTooShort),
        Some(Reason::BodyHash),
    );
    assert_eq!(
        reasons,
        [good_body, good_body, good_body, good_body, too_short, other]
    );
}

/// A message with a good signature that has these tags too, over the body `Hi.` and what `h=` in them names.
fn signed_with(tags: &str) -> (String, KeyAnswer) {
    let pem = crate::generate::ed25519_key(&mut |octets| octets.fill(3));
    let key = crate::SigningKey::from_pem(&pem).unwrap();
    let engine = base64::engine::general_purpose::STANDARD;
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, b"Hi.\r\n");
    let hash = base64::Engine::encode(&engine, hash);
    let rest = "From: a@a.example\nSubject: x\n\nHi.\n";
    let field = |signature: &str| {
        format!(
            "DKIM-Signature: v=1; a=ed25519-sha256; d=a.example; s=x; c=relaxed/relaxed; bh={hash}; {tags} b={signature}\n"
        )
    };
    let Check::Open(question) = checks(&(field("AAAA") + rest)).swap_remove(0) else {
        panic!("{tags}")
    };
    let signature = base64::Engine::encode(&engine, key.sign(&question.input).unwrap());
    let record = KeyRecord::of_key(&key).to_string();
    (field(&signature) + rest, records(&[&record]))
}

#[test]
fn good_signatures_that_cover_too_little() {
    let of = |tags: &str, added: &str| {
        let (message, answer) = signed_with(tags);
        let evaluation = first(&(message + added), &answer);
        (evaluation.status, evaluation.reason)
    };
    assert_eq!(of("h=from:subject;", ""), (Status::Pass, None));
    assert_eq!(
        of("h=from;", ""),
        (Status::Policy, Some(Reason::SubjectNotSigned))
    );
    let limited = (Status::Policy, Some(Reason::BodyLength));
    assert_eq!(of("h=from:subject; l=5;", ""), limited);
    assert_eq!(of("h=from:subject; l=5;", "More.\n"), limited);
    assert_eq!(
        of("h=from:subject; l=6;", ""),
        (Status::PermError, Some(Reason::BodyTooShort))
    );
    assert_eq!(
        of("h=from:subject; i=@b.a.example;", ""),
        (Status::Pass, None)
    );
}

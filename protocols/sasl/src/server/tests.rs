//! Whole exchanges from the server's side, right and wrong. The grammar of each message has its tests beside its parser.

use std::num::NonZeroU32;

use super::*;
use crate::{ClientKeys, Credentials, Failure, ScramHash};

const SALT: &[u8] = b"sixteen octets..";

/// A connection with TLS 1.3, on which -PLUS was announced.
fn tls() -> Context {
    Context {
        bindings: ChannelBindings {
            exporter: Some(vec![7; 32]),
            server_end_point: Some(vec![9; 32]),
        },
        offers_plus: true,
        random: [3; 32],
        hostname: "mail.example".into(),
        now_secs: 1_700_000_000,
    }
}

fn begin(mechanism: Mechanism) -> Exchange {
    Exchange::new(mechanism, tls())
}

fn iterations() -> NonZeroU32 {
    NonZeroU32::new(2).unwrap()
}

fn keys(hash: ScramHash, password: &str) -> ClientKeys {
    ClientKeys::derive(hash, password.as_bytes(), SALT, iterations())
}

#[track_caller]
fn challenge(step: Result<Step, SaslError>) -> String {
    match step {
        Ok(Step::Challenge(challenge)) => String::from_utf8(challenge).unwrap(),
        other => panic!("no challenge: {other:?}"),
    }
}

#[track_caller]
fn question(step: Result<Step, SaslError>) -> Question {
    match step {
        Ok(Step::Ask(question)) => question,
        other => panic!("no question: {other:?}"),
    }
}

fn plain(message: &[u8]) -> Result<Credentials, SaslError> {
    match begin(Mechanism::Plain).step(Some(message))? {
        Step::Ask(Question::Password(credentials)) => Ok(credentials),
        other => panic!("{other:?}"),
    }
}

#[test]
fn plain_examples() {
    // RFC 4616 4, both examples.
    let tim = plain(b"\0tim\0tanstaaftanstaaf").unwrap();
    assert_eq!(
        (&*tim.authzid, &*tim.authcid, &*tim.password),
        ("", "tim", &b"tanstaaftanstaaf"[..])
    );
    assert!(tim.acts_as_itself());
    let ursel = plain(b"Ursel\0Kurt\0xipj3plmq").unwrap();
    assert_eq!((&*ursel.authzid, &*ursel.authcid), ("Ursel", "Kurt"));
    assert!(!ursel.acts_as_itself());
    // Both names are normalized before they are compared.
    assert!(
        plain("u\u{308}\0\u{fc}\0x".as_bytes())
            .unwrap()
            .acts_as_itself()
    );
}

#[test]
fn plain_hostile() {
    for (message, error) in [
        (&b""[..], SaslError::Malformed),
        (b"tim", SaslError::Malformed),
        (b"\0tim", SaslError::Malformed),
        (b"\0tim\0pass\0", SaslError::Malformed),
        (b"\0tim\0pa\0ss", SaslError::Malformed),
        (b"\0\0pass", SaslError::EmptyField),
        (b"\0tim\0", SaslError::EmptyField),
        (b"\0tim\0\xff", SaslError::NotUtf8),
        (b"\xc0\0tim\0pass", SaslError::NotUtf8),
        (b"\0t\nm\0pass", SaslError::BadName),
        (b"\r\0tim\0pass", SaslError::BadName),
    ] {
        assert_eq!(plain(message), Err(error), "{message:?}");
    }
    let mut long = b"\0tim\0".to_vec();
    long.resize(long.len() + crate::FIELD_MAX, b'x');
    assert!(plain(&long).is_ok());
    long.push(b'x');
    assert_eq!(plain(&long), Err(SaslError::FieldTooLong));
}

#[test]
fn client_first_mechanisms_without_initial_response() {
    for mechanism in Mechanism::ALL {
        if matches!(mechanism, Mechanism::Login | Mechanism::CramMd5) {
            continue;
        }
        let mut exchange = begin(mechanism);
        assert_eq!(challenge(exchange.step(None)), "", "{mechanism}");
        // An empty message is one of EXTERNAL alone.
        let step = exchange.step(Some(b""));
        if mechanism == Mechanism::External {
            assert_eq!(question(step), Question::Certificate { authzid: None });
        } else {
            assert_eq!(step, Err(SaslError::Malformed), "{mechanism}");
            assert_eq!(exchange.step(Some(b"")), Err(SaslError::Finished));
        }
    }
}

#[test]
fn login() {
    for initial in [false, true] {
        let mut exchange = begin(Mechanism::Login);
        if !initial {
            assert_eq!(challenge(exchange.step(None)), "Username:");
        }
        assert_eq!(challenge(exchange.step(Some(b"tim"))), "Password:");
        let Question::Password(credentials) = question(exchange.step(Some(b"secret"))) else {
            panic!("no credentials")
        };
        assert_eq!(
            (&*credentials.authcid, &*credentials.password),
            ("tim", &b"secret"[..])
        );
        assert_eq!(exchange.resume(Verdict::Accepted), Ok(Step::Success));
        assert_eq!(exchange.step(None), Err(SaslError::Finished));
    }
    let mut exchange = begin(Mechanism::Login);
    assert_eq!(exchange.step(Some(b"t\0m")), Err(SaslError::Malformed));
    assert_eq!(exchange.step(Some(b"tim")), Err(SaslError::Finished));
    assert_eq!(
        begin(Mechanism::Login).step(Some(b"")),
        Err(SaslError::EmptyField)
    );
    let mut exchange = begin(Mechanism::Login);
    challenge(exchange.step(Some(b"tim")));
    assert_eq!(exchange.step(Some(b"")), Err(SaslError::EmptyField));
}

#[test]
fn refusals_and_turns() {
    let ask = || {
        let mut exchange = begin(Mechanism::Plain);
        question(exchange.step(Some(b"\0tim\0x")));
        exchange
    };
    assert_eq!(ask().resume(Verdict::Refused), Err(SaslError::Refused));
    // What does not answer the question is our own fault, and never a success.
    let salt = Verdict::Salt {
        salt: SALT.to_vec(),
        iterations: iterations(),
    };
    assert_eq!(ask().resume(salt), Err(SaslError::OutOfTurn));
    let mut exchange = ask();
    assert_eq!(exchange.step(Some(b"\0tim\0x")), Err(SaslError::OutOfTurn));
    assert_eq!(
        exchange.resume(Verdict::Accepted),
        Err(SaslError::OutOfTurn)
    );
    assert_eq!(
        begin(Mechanism::Plain).resume(Verdict::Accepted),
        Err(SaslError::OutOfTurn)
    );
    assert_eq!(SaslError::OutOfTurn.failure(), Failure::Internal);
    assert_eq!(ask().end(SaslError::Cancelled), SaslError::Cancelled);
    assert_eq!(ask().end(SaslError::Cancelled).failure().word(), "aborted");
    assert_eq!(ask().end(SaslError::Malformed), SaslError::Malformed);
}

#[test]
fn cram_md5() {
    let mut exchange = begin(Mechanism::CramMd5);
    let sent = challenge(exchange.step(None));
    assert_eq!(
        sent,
        format!("<{}.1700000000@mail.example>", "03".repeat(16))
    );
    let state = cram::CramState::derive(b"geheim");
    let digest = cram::hexadecimal(state.digest(sent.as_bytes()));
    let response = [b"tim ", &digest[..]].concat();
    let Question::Digest(digest) = question(exchange.step(Some(&response))) else {
        panic!("no digest")
    };
    assert_eq!(digest.username, "tim");
    assert!(digest.verify(&state));
    assert!(!digest.verify(&cram::CramState::derive(b"geheimer")));
    assert_eq!(exchange.resume(Verdict::Accepted), Ok(Step::Success));
    // RFC 4954 4: the server speaks first, so there is no initial response, not even an empty one.
    for initial in [&response[..], b"", b"\0tim\0geheim"] {
        assert_eq!(
            begin(Mechanism::CramMd5).step(Some(initial)),
            Err(SaslError::Malformed)
        );
    }
}

#[test]
fn external() {
    let mut exchange = begin(Mechanism::External);
    let authzid = Some("tim@x.example".to_owned());
    assert_eq!(
        question(exchange.step(Some(b"tim@x.example"))),
        Question::Certificate { authzid }
    );
    assert_eq!(exchange.resume(Verdict::Accepted), Ok(Step::Success));
    let mut exchange = begin(Mechanism::External);
    question(exchange.step(Some(b"")));
    assert_eq!(exchange.resume(Verdict::Refused), Err(SaslError::Refused));
}

#[test]
fn tokens() {
    for (mechanism, message, json) in [
        (
            Mechanism::OauthBearer,
            &b"n,a=tim,\x01auth=Bearer t\x01\x01"[..],
            r#"{"status":"invalid_token"}"#,
        ),
        (
            Mechanism::Xoauth2,
            b"user=tim\x01auth=Bearer t\x01\x01",
            r#"{"status":"401","schemes":"bearer"}"#,
        ),
    ] {
        let ask = || {
            let mut exchange = begin(mechanism);
            let Question::Token(token) = question(exchange.step(Some(message))) else {
                panic!("no token")
            };
            assert_eq!(
                (token.authzid.as_deref(), &*token.token),
                (Some("tim"), &b"t"[..])
            );
            exchange
        };
        assert_eq!(ask().resume(Verdict::Accepted), Ok(Step::Success));
        let mut exchange = ask();
        assert_eq!(challenge(exchange.resume(Verdict::Refused)), json);
        assert_eq!(exchange.step(Some(b"\x01")), Err(SaslError::Refused));
        let mut exchange = ask();
        let error = TokenError {
            scope: Some("mail".into()),
            ..TokenError::default()
        };
        assert!(
            challenge(exchange.resume(Verdict::TokenRefused(error))).contains(r#""scope":"mail""#)
        );
        // RFC 7628 4.3: cancelling instead of the dummy response changes nothing.
        assert_eq!(exchange.end(SaslError::Cancelled), SaslError::Refused);
    }
}

/// The first two messages of SCRAM, up to the server's.
fn scram_offer(exchange: &mut Exchange, first: &str) -> String {
    let step = exchange.step(Some(first.as_bytes()));
    assert!(matches!(question(step), Question::Salt { .. }));
    challenge(exchange.resume(Verdict::Salt {
        salt: SALT.to_vec(),
        iterations: iterations(),
    }))
}

/// The final message that proves `password`, with `binding` as the octets of `c=`.
fn scram_final(hash: ScramHash, bare: &str, offer: &str, binding: &[u8], password: &str) -> String {
    let nonce = offer.split(',').next().unwrap();
    let without_proof = format!("c={},{nonce},x=ignored", base64::encode(binding));
    let auth_message = format!("{bare},{offer},{without_proof}");
    let proof = keys(hash, password).proof(auth_message.as_bytes());
    format!("{without_proof},p={}", base64::encode(&proof))
}

/// A whole exchange with the password "geheim" on the server: the last error, or none.
fn scram(mechanism: Mechanism, header: &str, data: &[u8], password: &str) -> Result<(), SaslError> {
    let hash = mechanism.scram_hash().unwrap();
    let bare = "n=tim,r=0123456789";
    let mut exchange = begin(mechanism);
    let offer = scram_offer(&mut exchange, &format!("{header}{bare}"));
    let binding = [header.as_bytes(), data].concat();
    let last = scram_final(hash, bare, &offer, &binding, password);
    match exchange.step(Some(last.as_bytes()))? {
        Step::Ask(Question::Proof(proof)) => {
            assert_eq!((&*proof.username, proof.hash), ("tim", hash));
            let keys = keys(hash, "geheim").server_side();
            let verdict = match proof.verify(&keys.stored_key, &keys.server_key) {
                Some(signature) => Verdict::Signed(signature),
                None => Verdict::Refused,
            };
            let last = challenge(exchange.resume(verdict));
            let step = exchange.step(None)?;
            assert!(last.starts_with("v="));
            assert_eq!(step, Step::Success);
            Ok(())
        }
        Step::Challenge(told) => {
            assert!(told.starts_with(b"e="), "{told:?}");
            Err(exchange.step(None).unwrap_err())
        }
        Step::Success => panic!("success without a question"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn scram_with_and_without_binding() {
    for (plain, plus) in [
        (Mechanism::ScramSha256, Mechanism::ScramSha256Plus),
        (Mechanism::ScramSha1, Mechanism::ScramSha1Plus),
    ] {
        assert_eq!(scram(plain, "n,,", b"", "geheim"), Ok(()));
        assert_eq!(scram(plain, "n,a=tim,", b"", "geheim"), Ok(()));
        assert_eq!(scram(plus, "p=tls-exporter,,", &[7; 32], "geheim"), Ok(()));
        assert_eq!(
            scram(plus, "p=tls-server-end-point,a=tim,", &[9; 32], "geheim"),
            Ok(())
        );
        for (mechanism, header, data, password, error) in [
            (plain, "n,,", &[][..], "falsch", SaslError::Refused),
            (
                plus,
                "p=tls-exporter,,",
                &[7; 32],
                "falsch",
                SaslError::Refused,
            ),
            (plain, "n,,", &[1], "geheim", SaslError::BindingMismatch),
            (
                plus,
                "p=tls-exporter,,",
                &[9; 32],
                "geheim",
                SaslError::BindingMismatch,
            ),
            (
                plus,
                "p=tls-exporter,,",
                &[7; 31],
                "geheim",
                SaslError::BindingMismatch,
            ),
            (
                plus,
                "p=tls-exporter,,",
                &[],
                "geheim",
                SaslError::BindingMismatch,
            ),
        ] {
            assert_eq!(scram(mechanism, header, data, password), Err(error));
        }
    }
}

#[test]
fn scram_first_messages_that_are_refused_at_once() {
    let (plain, plus) = (Mechanism::ScramSha256, Mechanism::ScramSha256Plus);
    for (mechanism, message, error) in [
        (plain, "y,,n=tim,r=0123456789", SaslError::Downgrade),
        (
            plain,
            "p=tls-exporter,,n=tim,r=0123456789",
            SaslError::BindingUnasked,
        ),
        (plus, "n,,n=tim,r=0123456789", SaslError::BindingMissing),
        (plus, "y,,n=tim,r=0123456789", SaslError::BindingMissing),
        (
            plus,
            "p=tls-unique,,n=tim,r=0123456789",
            SaslError::BindingUnsupported,
        ),
        (
            plus,
            "p=TLS-EXPORTER,,n=tim,r=0123456789",
            SaslError::BindingUnsupported,
        ),
        (
            plain,
            "n,a=tom,n=tim,r=0123456789",
            SaslError::NotAuthorized,
        ),
        (
            plain,
            "n,,m=x,n=tim,r=0123456789",
            SaslError::UnknownExtension,
        ),
        (plain, "n,,n=tim,r=0123456", SaslError::Malformed),
        (plain, "n,,n=t\tm,r=0123456789", SaslError::BadName),
    ] {
        let mut exchange = begin(mechanism);
        assert_eq!(
            exchange.step(Some(message.as_bytes())),
            Err(error),
            "{message}"
        );
        assert_eq!(
            exchange.step(Some(message.as_bytes())),
            Err(SaslError::Finished)
        );
    }
    // Without TLS there is nothing to bind to, and `y` is the truth.
    let mut exchange = Exchange::new(plus, Context::default());
    assert_eq!(
        exchange.step(Some(b"p=tls-exporter,,n=tim,r=0123456789")),
        Err(SaslError::BindingUnsupported)
    );
    let mut exchange = Exchange::new(plain, Context::default());
    question(exchange.step(Some(b"y,,n=tim,r=01234567")));
    assert_eq!(exchange.resume(Verdict::Refused), Err(SaslError::Refused));
}

#[test]
fn scram_names_are_normalized_and_proven_as_sent() {
    let bare = "n=ju\u{308}rgen=2Cx=3D,r=0123456789";
    let mut exchange = begin(Mechanism::ScramSha256);
    let Question::Salt { username, hash } =
        question(exchange.step(Some(format!("n,a=j\u{fc}rgen=2Cx=3D,{bare}").as_bytes())))
    else {
        panic!("no salt wanted")
    };
    assert_eq!((&*username, hash), ("j\u{fc}rgen,x=", ScramHash::Sha256));
    let offer = challenge(exchange.resume(Verdict::Salt {
        salt: SALT.to_vec(),
        iterations: iterations(),
    }));
    assert_eq!(
        offer,
        format!(
            "r=0123456789{},s={},i=2",
            base64::encode(&[3; 18]),
            base64::encode(SALT)
        )
    );
    let binding = "n,a=j\u{fc}rgen=2Cx=3D,";
    let last = scram_final(hash, bare, &offer, binding.as_bytes(), "geheim");
    let Question::Proof(proof) = question(exchange.step(Some(last.as_bytes()))) else {
        panic!("no proof")
    };
    let keys = keys(hash, "geheim").server_side();
    // An account may have several passwords: each key is tried.
    let others = super::tests::keys(hash, "falsch").server_side();
    assert_eq!(proof.verify(&others.stored_key, &others.server_key), None);
    assert!(proof.verify(&keys.stored_key, &keys.server_key).is_some());
}

#[test]
fn scram_final_messages_that_are_answered() {
    let bare = "n=tim,r=0123456789";
    let good = |offer: &str| scram_final(ScramHash::Sha256, bare, offer, b"n,,", "geheim");
    type Bend = fn(&str) -> String;
    let bends: [(Bend, &str, SaslError); 10] = [
        (
            |_| String::new(),
            "e=invalid-encoding",
            SaslError::Malformed,
        ),
        (|_| "*".into(), "e=invalid-encoding", SaslError::Malformed),
        (
            |_| "n,,n=tim,r=0123456789".into(),
            "e=invalid-encoding",
            SaslError::Malformed,
        ),
        (
            |good| good.replace(",r=0", ",r=1"),
            "e=other-error",
            SaslError::WrongNonce,
        ),
        (
            |good| good.replace(",x=", "x,x="),
            "e=other-error",
            SaslError::WrongNonce,
        ),
        (
            |good| good.replace(",x=", ",m="),
            "e=extensions-not-supported",
            SaslError::UnknownExtension,
        ),
        (
            |good| good.replace("c=biws", "c=eSws"),
            "e=channel-bindings-dont-match",
            SaslError::BindingMismatch,
        ),
        (
            |good| good.replace("c=biws", "c=biw"),
            "e=invalid-encoding",
            SaslError::Malformed,
        ),
        // The length of a SHA-1.
        (
            |good| {
                format!(
                    "{},p={}",
                    good.rsplit_once(',').unwrap().0,
                    base64::encode(&[0; 20])
                )
            },
            "e=invalid-encoding",
            SaslError::Malformed,
        ),
        (
            |good| format!("{good}{}", "x".repeat(7000)),
            "e=invalid-encoding",
            SaslError::FieldTooLong,
        ),
    ];
    for (bend, told, error) in bends {
        let mut exchange = begin(Mechanism::ScramSha256);
        let offer = scram_offer(&mut exchange, &format!("n,,{bare}"));
        let message = bend(&good(&offer));
        assert_eq!(
            challenge(exchange.step(Some(message.as_bytes()))),
            told,
            "{message}"
        );
        // Whatever the client says to that.
        assert_eq!(exchange.step(Some(b"c=biws")), Err(error));
        assert_eq!(exchange.step(None), Err(SaslError::Finished));
    }
    let mut exchange = begin(Mechanism::ScramSha256);
    let offer = scram_offer(&mut exchange, &format!("n,,{bare}"));
    question(exchange.step(Some(good(&offer).as_bytes())));
    assert_eq!(
        challenge(exchange.resume(Verdict::Refused)),
        "e=invalid-proof"
    );
    assert_eq!(exchange.end(SaslError::Malformed), SaslError::Refused);
    // A proof is answered with a signature, not with a mere yes.
    let mut exchange = begin(Mechanism::ScramSha256);
    let offer = scram_offer(&mut exchange, &format!("n,,{bare}"));
    question(exchange.step(Some(good(&offer).as_bytes())));
    assert_eq!(
        exchange.resume(Verdict::Accepted),
        Err(SaslError::OutOfTurn)
    );
}

#[test]
fn nothing_secret_in_debug() {
    let exchange = begin(Mechanism::ScramSha256Plus);
    assert_eq!(format!("{exchange:?}"), "Exchange(SCRAM-SHA-256-PLUS)");
    let mut exchange = begin(Mechanism::Plain);
    let step = exchange.step(Some(b"\0tim\0geheim")).unwrap();
    assert!(!format!("{step:?}").contains("geheim"));
    let mut exchange = begin(Mechanism::Xoauth2);
    let step = exchange.step(Some(b"user=tim\x01auth=Bearer geheim\x01\x01"));
    assert!(!format!("{:?}", step.unwrap()).contains("geheim"));
    let keys = keys(ScramHash::Sha1, "geheim");
    assert!(format!("{keys:?}").contains("Secret(20 octets)"));
    // Passwords could be tried against these at leisure.
    let signature = keys.server_signature(b"x");
    assert_eq!(
        format!("{signature:?}"),
        "ServerSignature(Secret(20 octets))"
    );
    let mut exchange = begin(Mechanism::CramMd5);
    challenge(exchange.step(None));
    let digest = exchange.step(Some(b"tim b913a602c7eda7a495b4e6e7334d3890"));
    assert!(format!("{digest:?}").contains("digest: Secret(32 octets)"));
    let mut exchange = begin(Mechanism::ScramSha256);
    let offer = scram_offer(&mut exchange, "n,,n=tim,r=0123456789");
    let last = scram_final(
        ScramHash::Sha256,
        "n=tim,r=0123456789",
        &offer,
        b"n,,",
        "geheim",
    );
    let proof = exchange.step(Some(last.as_bytes()));
    assert!(format!("{proof:?}").contains("proof: Secret(32 octets)"));
}

#[test]
fn questions_can_travel() {
    fn travels<T: Send + 'static>() {}
    travels::<Question>();
    travels::<Verdict>();
}

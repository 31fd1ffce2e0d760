//! Both sides against each other for every mechanism, and the client against servers that lie.

use std::num::NonZeroU32;

use super::*;
use crate::{
    BearerToken, Exchange, Question, ScramHash, ScramKeys, Step, TokenError, Verdict, base64,
};

const SALT: &[u8] = b"sixteen octets..";
const ITERATIONS: u32 = 2048;

fn credentials() -> Credentials {
    Credentials {
        authzid: String::new(),
        authcid: "J\u{fc}rgen=,@x.example".into(),
        password: Secret::from(&b"geheim"[..]),
    }
}

fn bindings() -> ChannelBindings {
    ChannelBindings {
        exporter: Some(vec![7; 32]),
        server_end_point: None,
    }
}

fn client_context(bindings: ChannelBindings, server_offers_plus: bool) -> Context {
    Context {
        bindings,
        server_offers_plus,
        random: [1; 32],
        server: Some(("mail.example".into(), 993)),
        ..Context::default()
    }
}

fn server(mechanism: Mechanism, bindings: ChannelBindings, offers_plus: bool) -> Exchange {
    let context = crate::Context {
        bindings,
        offers_plus,
        random: [2; 32],
        hostname: "mail.example".into(),
        now_secs: 1,
    };
    Exchange::new(mechanism, context)
}

/// Knows one account with the password "geheim" (or the token "geheim"), and who it is.
fn answer(question: Question) -> Verdict {
    let iterations = NonZeroU32::new(ITERATIONS).unwrap();
    let right = |yes| match yes {
        true => Verdict::Accepted,
        false => Verdict::Refused,
    };
    match question {
        Question::Password(given) => right(given == credentials()),
        Question::Salt { username, .. } => {
            assert_eq!(username, credentials().authcid);
            Verdict::Salt {
                salt: SALT.to_vec(),
                iterations,
            }
        }
        Question::Proof(proof) => {
            let keys = ScramKeys::derive(proof.hash, b"geheim", SALT, iterations);
            match proof.verify(&keys.stored_key, &keys.server_key) {
                Some(signature) => Verdict::Signed(signature),
                None => Verdict::Refused,
            }
        }
        Question::Digest(digest) => {
            assert_eq!(digest.username, credentials().authcid);
            right(digest.verify(&CramState::derive(b"geheim")))
        }
        Question::Certificate { authzid } => right(authzid.is_none()),
        Question::Token(BearerToken { authzid, token, .. }) => {
            assert_eq!(authzid.as_deref(), Some(&*credentials().authcid));
            match &*token == b"geheim" {
                true => Verdict::Accepted,
                false => Verdict::TokenRefused(TokenError::default()),
            }
        }
    }
}

/// Runs both until one ends it: the server's last word, and the client's.
fn talk(
    client: &mut Client,
    server: &mut Exchange,
    initial: bool,
) -> (Result<(), SaslError>, Result<(), ClientError>) {
    let mut response = if initial { client.initial() } else { None };
    loop {
        let mut step = server.step(response.as_deref());
        while let Ok(Step::Ask(question)) = step {
            step = server.resume(answer(question));
        }
        let challenge = match step {
            Ok(Step::Challenge(challenge)) => challenge,
            Ok(_) => return (Ok(()), client.finish()),
            Err(error) => return (Err(error), client.finish()),
        };
        let action = client.respond(&challenge).and_then(|action| match action {
            Action::Respond(response) => Ok(response),
            Action::Derive(derivation) => client.derived(&derivation.run()),
        });
        match action {
            Ok(next) => response = Some(next),
            Err(error) => return (server.step(None).map(drop), Err(error)),
        }
    }
}

#[test]
fn both_sides_agree() {
    for mechanism in Mechanism::ALL {
        for initial in [true, false] {
            let context = client_context(bindings(), true);
            let mut client = Client::new(mechanism, credentials(), context).unwrap();
            assert_eq!(client.finish(), Err(ClientError::Unproven));
            let mut server = server(mechanism, bindings(), true);
            let ends = talk(&mut client, &mut server, initial);
            assert_eq!(ends, (Ok(()), Ok(())), "{mechanism}");
            // Whatever comes after the end.
            assert!(client.respond(b"").is_err(), "{mechanism}");
        }
    }
}

#[test]
fn wrong_passwords() {
    for mechanism in Mechanism::ALL {
        if mechanism == Mechanism::External {
            continue;
        }
        let wrong = Credentials {
            password: Secret::from(&b"falsch"[..]),
            ..credentials()
        };
        let context = client_context(bindings(), true);
        let mut client = Client::new(mechanism, wrong, context).unwrap();
        let mut server = server(mechanism, bindings(), true);
        let (server, client) = talk(&mut client, &mut server, true);
        assert_eq!(server, Err(SaslError::Refused), "{mechanism}");
        match mechanism {
            Mechanism::OauthBearer | Mechanism::Xoauth2 => {
                assert!(
                    matches!(client, Err(ClientError::Refused(json)) if json.contains("status"))
                );
            }
            _ if mechanism.scram_hash().is_some() => {
                assert_eq!(client, Err(ClientError::Refused("invalid-proof".into())));
            }
            // Only the protocol's NO tells it.
            _ => assert_eq!(client, Ok(())),
        }
    }
}

#[test]
fn someone_between() {
    // Another TLS connection on each side.
    let other = ChannelBindings {
        exporter: Some(vec![8; 32]),
        server_end_point: None,
    };
    let mechanism = Mechanism::ScramSha256Plus;
    let mut client = Client::new(
        mechanism,
        credentials(),
        client_context(other.clone(), true),
    )
    .unwrap();
    let ends = talk(&mut client, &mut server(mechanism, bindings(), true), true);
    let told = ClientError::Refused("channel-bindings-dont-match".into());
    assert_eq!(ends, (Err(SaslError::BindingMismatch), Err(told)));
    // -PLUS removed from the list.
    let mechanism = Mechanism::ScramSha256;
    let mut client = Client::new(mechanism, credentials(), client_context(other, false)).unwrap();
    let ends = talk(&mut client, &mut server(mechanism, bindings(), true), true);
    assert_eq!(ends.0, Err(SaslError::Downgrade));
    assert!(ends.1.is_err());
    // A server that cannot bind, with and without TLS.
    for bindings in [bindings(), ChannelBindings::default()] {
        let mut client =
            Client::new(mechanism, credentials(), client_context(bindings, false)).unwrap();
        let mut server = server(mechanism, ChannelBindings::default(), false);
        assert_eq!(talk(&mut client, &mut server, true), (Ok(()), Ok(())));
    }
}

#[test]
fn flags() {
    let first = |mechanism, bindings, plus| {
        let mut client =
            Client::new(mechanism, credentials(), client_context(bindings, plus)).unwrap();
        let first = client.initial().unwrap();
        first
            .as_str()
            .unwrap()
            .split(',')
            .next()
            .unwrap()
            .to_owned()
    };
    let (plain, plus) = (Mechanism::ScramSha256, Mechanism::ScramSha256Plus);
    assert_eq!(first(plus, bindings(), true), "p=tls-exporter");
    assert_eq!(first(plain, bindings(), false), "y");
    assert_eq!(first(plain, bindings(), true), "n");
    assert_eq!(first(plain, ChannelBindings::default(), false), "n");
    let end_point = ChannelBindings {
        exporter: None,
        server_end_point: Some(vec![1]),
    };
    assert_eq!(first(plus, end_point, true), "p=tls-server-end-point");
    assert_eq!(
        Client::new(plus, credentials(), Context::default()).err(),
        Some(ClientError::NothingToBind)
    );
}

#[test]
fn keys_are_derived_once() {
    let mechanism = Mechanism::ScramSha1;
    let new = || Client::new(mechanism, credentials(), Context::default()).unwrap();
    let offer = |client: &mut Client| {
        client.initial().unwrap();
        let nonce = base64::encode(&[0; 18]);
        let offer = format!(
            "r={nonce}12345678,s={},i={ITERATIONS}",
            base64::encode(SALT)
        );
        client.respond(offer.as_bytes())
    };
    let mut client = new();
    let Ok(Action::Derive(derivation)) = offer(&mut client) else {
        panic!("nothing to derive")
    };
    assert!(!format!("{derivation:?}").contains("geheim"));
    let keys = derivation.run();
    let response = client.derived(&keys).unwrap();
    assert_eq!(client.derived(&keys), Err(ClientError::Finished));
    let mut client = new().with_keys(keys);
    assert_eq!(offer(&mut client), Ok(Action::Respond(response)));
    // Keys for something else are not used.
    let iterations = NonZeroU32::new(ITERATIONS).unwrap();
    for keys in [
        ClientKeys::derive(ScramHash::Sha1, b"geheim", b"another salt", iterations),
        ClientKeys::derive(ScramHash::Sha256, b"geheim", SALT, iterations),
        ClientKeys::derive(ScramHash::Sha1, b"geheim", SALT, NonZeroU32::MIN),
    ] {
        let mut client = new().with_keys(keys.clone());
        assert!(matches!(offer(&mut client), Ok(Action::Derive(_))));
        assert_eq!(client.derived(&keys), Err(ClientError::Keys));
    }
}

#[test]
fn published() {
    // RFC 7677 3, with the nonce of the RFC.
    let mut client = Client::new(
        Mechanism::ScramSha256,
        Credentials {
            authzid: String::new(),
            authcid: "user".into(),
            password: Secret::from(&b"pencil"[..]),
        },
        Context::default(),
    )
    .unwrap();
    client.initial().unwrap();
    let State::Scram(state) = std::mem::replace(&mut client.state, State::Over) else {
        panic!()
    };
    client.state = State::Scram(state.with_nonce("rOprNGfwEbeRWgbNEkqO"));
    let offer =
        "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
    let Ok(Action::Derive(derivation)) = client.respond(offer.as_bytes()) else {
        panic!()
    };
    let last = client.derived(&derivation.run()).unwrap();
    assert_eq!(
        last.as_str(),
        Some(
            "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
        )
    );
    assert_eq!(client.finish(), Err(ClientError::Unproven));
    let end = client.respond(b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
    assert_eq!(end, Ok(Action::Respond(Secret::default())));
    assert_eq!(client.finish(), Ok(()));
}

#[test]
fn servers_that_lie() {
    let nonce = base64::encode(&[0; 18]);
    let salt = base64::encode(SALT);
    let respond = |offer: &str| {
        let mut client =
            Client::new(Mechanism::ScramSha256, credentials(), Context::default()).unwrap();
        client.initial().unwrap();
        client.respond(offer.as_bytes()).map(drop)
    };
    for (offer, error) in [
        (String::new(), ClientError::Malformed),
        (
            "e=other-error".into(),
            ClientError::Refused("other-error".into()),
        ),
        ("v=AAAA".into(), ClientError::Malformed),
        (format!("r={nonce},s={salt},i=4096"), ClientError::Nonce),
        (
            format!("r={nonce}1234567,s={salt},i=4096"),
            ClientError::Nonce,
        ),
        (
            format!("r=x{nonce}12345678,s={salt},i=4096"),
            ClientError::Nonce,
        ),
        (
            format!("r={nonce}12345678,s=AAAAAAAA,i=4096"),
            ClientError::Salt,
        ),
        (
            format!("r={nonce}12345678,s={salt},i=2047"),
            ClientError::Iterations(2047),
        ),
        (
            format!("r={nonce}12345678,s={salt},i=5000001"),
            ClientError::Iterations(5_000_001),
        ),
        (
            format!("r={nonce}12345678,s={salt},i=0"),
            ClientError::Malformed,
        ),
        (
            format!("m=x,r={nonce}12345678,s={salt},i=4096"),
            ClientError::Malformed,
        ),
    ] {
        assert_eq!(respond(&offer), Err(error), "{offer}");
    }
    assert_eq!(
        respond(&format!("r={nonce}12345678,s={salt},i=2048")),
        Ok(())
    );
    // A server that does not know the password, and one that skips its proof.
    for last in [
        "v=AAAA",
        "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
        "",
        "x",
    ] {
        let mut client =
            Client::new(Mechanism::ScramSha256, credentials(), Context::default()).unwrap();
        client.initial().unwrap();
        let offer = format!("r={nonce}12345678,s={salt},i=2048");
        let Ok(Action::Derive(derivation)) = client.respond(offer.as_bytes()) else {
            panic!()
        };
        assert_eq!(client.finish(), Err(ClientError::Unproven));
        client.derived(&derivation.run()).unwrap();
        assert_eq!(client.finish(), Err(ClientError::Unproven));
        let error = if last.len() > 1 {
            ClientError::Signature
        } else {
            ClientError::Malformed
        };
        assert_eq!(client.respond(last.as_bytes()), Err(error));
        assert_eq!(client.finish(), Err(ClientError::Unproven));
    }
}

#[test]
fn what_cannot_be_said() {
    let new = |mechanism, authcid: &str, password: &[u8]| {
        let credentials = Credentials {
            authzid: String::new(),
            authcid: authcid.into(),
            password: Secret::from(password),
        };
        Client::new(mechanism, credentials, client_context(bindings(), true)).err()
    };
    for (mechanism, authcid, password, error) in [
        (Mechanism::Plain, "", &b"x"[..], ClientError::Unsayable),
        (Mechanism::Plain, "a\0b", b"x", ClientError::Unsayable),
        (Mechanism::Plain, "a", b"", ClientError::Unsayable),
        (Mechanism::Plain, "a", b"\0", ClientError::Unsayable),
        (Mechanism::Login, "", b"x", ClientError::Unsayable),
        (Mechanism::CramMd5, "a", b"", ClientError::Unsayable),
        (
            Mechanism::OauthBearer,
            "a\x01",
            b"x",
            ClientError::Unsayable,
        ),
        (Mechanism::Xoauth2, "a", b"x\x01y", ClientError::Unsayable),
        (Mechanism::Xoauth2, "a", b"x y", ClientError::Unsayable),
        (Mechanism::ScramSha1, "a", b"\xff", ClientError::Unsayable),
        (
            Mechanism::ScramSha1,
            "a",
            b"\t",
            ClientError::Password(PasswordError::Character),
        ),
        (
            Mechanism::ScramSha1,
            "a",
            b"",
            ClientError::Password(PasswordError::Empty),
        ),
        (
            Mechanism::ScramSha1,
            "a\n",
            b"x",
            ClientError::Name(SaslError::BadName),
        ),
        (
            Mechanism::ScramSha1,
            "",
            b"x",
            ClientError::Name(SaslError::EmptyField),
        ),
    ] {
        assert_eq!(
            new(mechanism, authcid, password),
            Some(error),
            "{mechanism} {authcid:?}"
        );
    }
}

#[test]
fn examples() {
    let new = |mechanism, authcid: &str, password: &str| {
        let credentials = Credentials {
            authzid: String::new(),
            authcid: authcid.into(),
            password: Secret::from(password.as_bytes()),
        };
        let context = Context {
            server: Some(("server.example.com".into(), 143)),
            ..Context::default()
        };
        Client::new(mechanism, credentials, context).unwrap()
    };
    // RFC 2195 2.
    let mut client = new(Mechanism::CramMd5, "tim", "tanstaaftanstaaf");
    assert_eq!(client.initial(), None);
    let response = Secret::from(&b"tim b913a602c7eda7a495b4e6e7334d3890"[..]);
    assert_eq!(
        client.respond(b"<1896.697170952@postoffice.reston.mci.net>"),
        Ok(Action::Respond(response))
    );
    // RFC 7628 4.1.
    let token = "vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==";
    let message = new(Mechanism::OauthBearer, "user@example.com", token).initial();
    assert_eq!(
        base64::encode(&message.unwrap()),
        concat!(
            "bixhPXVzZXJAZXhhbXBsZS5jb20sAWhvc3Q9c2VydmVyLmV4YW1wbGUuY29tAXBvcnQ9MTQzAWF1dGg9QmVhcmVyI",
            "HZGOWRmdDRxbVRjMk52YjNSbGNrQmhiSFJoZG1semRHRXVZMjl0Q2c9PQEB"
        )
    );
    // RFC 4616 4.
    let message = new(Mechanism::Plain, "tim", "tanstaaftanstaaf").initial();
    assert_eq!(&*message.unwrap(), b"\0tim\0tanstaaftanstaaf");
    // Google's documentation of XOAUTH2.
    let message = new(Mechanism::Xoauth2, "someuser@example.com", "ya29.vF9d").initial();
    assert_eq!(
        &*message.unwrap(),
        b"user=someuser@example.com\x01auth=Bearer ya29.vF9d\x01\x01"
    );
    assert!(!format!("{:?}", new(Mechanism::Plain, "tim", "geheim")).contains("geheim"));
}

#[test]
fn the_servers_words_are_bounded() {
    let mut client = Client::new(Mechanism::Xoauth2, credentials(), Context::default()).unwrap();
    client.initial().unwrap();
    let words = "a\r\nb\u{9b}".repeat(1000);
    let Err(ClientError::Refused(text)) = client.respond(words.as_bytes()) else {
        panic!()
    };
    assert!(text.len() < 2 * PRINTABLE_MAX && !text.contains(char::is_control));
}

//! The server's side of an exchange: bytes of the client in, challenge or credentials out.
//! Called by a door for each AUTH response. Input is untrusted, already free of base64.
//! RFC 4422 3 (initial responses, empty challenges), RFC 4616, draft-murchison-sasl-login.

use crate::{Credentials, Mechanism, login, plain};

/// What the server has to do after a response.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// Send this challenge (not yet base64; may be empty) and wait for the next response.
    Challenge(&'static [u8]),
    /// The client has said all; the caller checks it.
    Credentials(Credentials),
}

/// Why an exchange ends without credentials. All are the peer's fault; none says whether an account exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SaslError {
    /// Not the mechanism's grammar, for example a wrong number of NULs.
    #[error("malformed response")]
    Malformed,
    /// A name or password is empty. RFC 4616 2.
    #[error("empty name or password")]
    EmptyField,
    /// A name or password is over [`crate::FIELD_MAX`] octets.
    #[error("name or password too long")]
    FieldTooLong,
    /// RFC 4616 2: all fields are UTF-8.
    #[error("response is not UTF-8")]
    NotUtf8,
    /// A response came after the end of the exchange.
    #[error("the exchange is over")]
    Finished,
}

/// One authentication exchange. Dropping it cancels it.
#[derive(Debug)]
pub struct Exchange(State);

#[derive(Debug)]
enum State {
    Start(Mechanism),
    Plain,
    LoginUsername,
    LoginPassword { username: String },
    Finished,
}

impl Exchange {
    /// Begins an exchange; nothing is sent yet.
    pub fn new(mechanism: Mechanism) -> Self {
        Exchange(State::Start(mechanism))
    }

    /// Takes the client's next response. The first call gets the initial response, or `None` if the client sent none
    /// (an empty one, `=` in SMTP, is `Some(b"")`); later calls treat `None` as empty.
    pub fn step(&mut self, response: Option<&[u8]>) -> Result<Step, SaslError> {
        let (next, step) = match (std::mem::replace(&mut self.0, State::Finished), response) {
            // RFC 4422 5.1: without an initial response the server sends an empty challenge.
            (State::Start(Mechanism::Plain), None) => (State::Plain, Step::Challenge(b"")),
            (State::Start(Mechanism::Login), None) => {
                (State::LoginUsername, Step::Challenge(login::USERNAME))
            }
            (State::Start(Mechanism::Plain) | State::Plain, response) => (
                State::Finished,
                Step::Credentials(plain::parse(response.unwrap_or_default())?),
            ),
            // An initial response to LOGIN is the user name: Outlook sends one.
            (State::Start(Mechanism::Login) | State::LoginUsername, response) => {
                let username = login::field(response.unwrap_or_default())?.to_owned();
                (
                    State::LoginPassword { username },
                    Step::Challenge(login::PASSWORD),
                )
            }
            (State::LoginPassword { username }, response) => {
                let password = login::field(response.unwrap_or_default())?;
                (
                    State::Finished,
                    Step::Credentials(login::credentials(username, password)),
                )
            }
            (State::Finished, _) => return Err(SaslError::Finished),
        };
        self.0 = next;
        Ok(step)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(message: &[u8]) -> Result<Credentials, SaslError> {
        match Exchange::new(Mechanism::Plain).step(Some(message))? {
            Step::Credentials(credentials) => Ok(credentials),
            Step::Challenge(_) => panic!("PLAIN asks nothing after a response"),
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
    fn plain_without_initial_response() {
        let mut exchange = Exchange::new(Mechanism::Plain);
        assert_eq!(exchange.step(None), Ok(Step::Challenge(b"")));
        assert!(matches!(
            exchange.step(Some(b"\0a\0b")),
            Ok(Step::Credentials(_))
        ));
        assert_eq!(exchange.step(Some(b"\0a\0b")), Err(SaslError::Finished));
    }

    #[test]
    fn login() {
        for initial in [false, true] {
            let mut exchange = Exchange::new(Mechanism::Login);
            if !initial {
                assert_eq!(exchange.step(None), Ok(Step::Challenge(b"Username:")));
            }
            assert_eq!(
                exchange.step(Some(b"tim")),
                Ok(Step::Challenge(b"Password:"))
            );
            let Ok(Step::Credentials(credentials)) = exchange.step(Some(b"secret")) else {
                panic!("no credentials")
            };
            assert_eq!(
                (&*credentials.authcid, &*credentials.password),
                ("tim", &b"secret"[..])
            );
        }
        let mut exchange = Exchange::new(Mechanism::Login);
        assert_eq!(exchange.step(Some(b"t\0m")), Err(SaslError::Malformed));
        assert_eq!(exchange.step(Some(b"tim")), Err(SaslError::Finished));
        assert_eq!(
            Exchange::new(Mechanism::Login).step(Some(b"")),
            Err(SaslError::EmptyField)
        );
    }

    #[test]
    fn names() {
        assert_eq!(Mechanism::parse("plain"), Some(Mechanism::Plain));
        assert_eq!(Mechanism::parse("LOGIN"), Some(Mechanism::Login));
        assert_eq!(Mechanism::parse("SCRAM-SHA-1"), None);
        assert_eq!(
            format!("{:?}", crate::Secret::from(&b"abc"[..])),
            "Secret(3 octets)"
        );
    }
}

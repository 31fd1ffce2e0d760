//! The server's side of an exchange: bytes of the client in; challenges and questions out.
//! Called by a door for each AUTH response. Input is untrusted, already free of base64.
//! RFC 4422 3 (initial responses, empty challenges); the mechanisms' own are in their files.
//! Not here: what is right. Whoever answers a [`Question`] decides that; an exchange holds no stored secret.

use std::fmt;

use crate::scram::server::{First, Offer};
use crate::{
    ChannelBindings, Mechanism, Question, SaslError, ScramHash, TokenError, Verdict, base64, cram,
    external, login, oauth, plain,
};

/// What an exchange must know of its connection. No clock and no randomness here: both are given.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Context {
    /// What TLS can be bound to; nothing without TLS.
    pub bindings: ChannelBindings,
    /// Whether a -PLUS mechanism was announced on this connection: then a client that can bind but does not has been deceived.
    pub offers_plus: bool,
    /// Fresh for each exchange, from a generator for secrets: nonces and challenges are made of it.
    pub random: [u8; 32],
    /// The server's name, for the challenge of CRAM-MD5.
    pub hostname: String,
    /// The time, for the challenge of CRAM-MD5.
    pub now_secs: u64,
}

/// What the server has to do after a response or a verdict.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// Send this challenge (not yet base64; may be empty) and wait for the next response.
    Challenge(Vec<u8>),
    /// Find the answer and call [`Exchange::resume`].
    Ask(Question),
    /// The client is who it claims to be in the last question. Say OK.
    Success,
}

/// One authentication exchange. Dropping it ends it; [`Exchange::end`] also says what to record.
pub struct Exchange {
    mechanism: Mechanism,
    context: Context,
    state: State,
}

enum State {
    /// Nothing was said.
    Start,
    /// The empty challenge was sent; the client's first message comes now.
    ClientFirst,
    LoginUsername,
    LoginPassword {
        username: String,
    },
    CramDigest {
        challenge: Vec<u8>,
    },
    ScramFinal(Offer),
    /// A question is open.
    Asked(Open),
    /// The client proved itself and was sent our signature; whatever it answers, that was all.
    Proven,
    /// The client was told of an error; whatever it answers, the exchange has failed.
    Told(SaslError),
    Finished,
}

/// Which verdicts fit.
enum Open {
    /// Yes or no.
    YesOrNo,
    Salt(First),
    Proof,
    Token,
}

impl Exchange {
    /// Begins an exchange; nothing is sent yet.
    pub fn new(mechanism: Mechanism, context: Context) -> Self {
        Exchange {
            mechanism,
            context,
            state: State::Start,
        }
    }

    /// The mechanism.
    pub fn mechanism(&self) -> Mechanism {
        self.mechanism
    }

    /// Takes the client's next response. The first call gets the initial response, or `None` if the client sent none
    /// (an empty one, `=` in SMTP, is `Some(b"")`); later calls treat `None` as empty. After an error the exchange is over.
    pub fn step(&mut self, response: Option<&[u8]>) -> Result<Step, SaslError> {
        let state = std::mem::replace(&mut self.state, State::Finished);
        let message = response.unwrap_or_default();
        match state {
            State::Start if response.is_none() => Ok(self.speak_first()),
            State::Start | State::ClientFirst => self.client_first(message),
            State::LoginUsername => self.login_username(message),
            State::LoginPassword { username } => {
                let credentials = login::credentials(username, message)?;
                Ok(self.ask(Open::YesOrNo, Question::Password(credentials)))
            }
            State::CramDigest { challenge } => {
                let digest = cram::CramDigest::parse(challenge, message)?;
                Ok(self.ask(Open::YesOrNo, Question::Digest(digest)))
            }
            State::ScramFinal(offer) => Ok(match offer.proof(message) {
                Ok(proof) => self.ask(Open::Proof, Question::Proof(proof)),
                Err(error) => self.tell_scram(error),
            }),
            State::Proven => Ok(Step::Success),
            State::Told(error) => Err(error),
            State::Asked(_) => Err(SaslError::OutOfTurn),
            State::Finished => Err(SaslError::Finished),
        }
    }

    /// Takes the answer to the question that is open. After an error the exchange is over.
    pub fn resume(&mut self, verdict: Verdict) -> Result<Step, SaslError> {
        let State::Asked(open) = std::mem::replace(&mut self.state, State::Finished) else {
            return Err(SaslError::OutOfTurn);
        };
        match (open, verdict) {
            (Open::YesOrNo | Open::Token, Verdict::Accepted) => Ok(Step::Success),
            (Open::Salt(first), Verdict::Salt { salt, iterations }) => {
                let offer = first.offer(&salt, iterations);
                let message = offer.message().as_bytes().to_vec();
                Ok(self.challenge(State::ScramFinal(offer), message))
            }
            (Open::Proof, Verdict::Signed(signature)) => {
                let message = format!("v={}", base64::encode(signature.octets()));
                Ok(self.challenge(State::Proven, message.into_bytes()))
            }
            (Open::Proof, Verdict::Refused) => Ok(self.tell_scram(SaslError::Refused)),
            (Open::Token, Verdict::Refused) => Ok(self.tell_token(&TokenError::default())),
            (Open::Token, Verdict::TokenRefused(error)) => Ok(self.tell_token(&error)),
            (Open::YesOrNo | Open::Salt(_), Verdict::Refused) => Err(SaslError::Refused),
            _ => Err(SaslError::OutOfTurn),
        }
    }

    /// The exchange ends before its time: what to record, and to count. The client cancelled with `*` or is gone
    /// ([`SaslError::Cancelled`]), or sent what is not base64 ([`SaslError::Malformed`]). A failure that it was already told of
    /// remains that failure, so nobody hides a wrong password by hanging up.
    pub fn end(self, cause: SaslError) -> SaslError {
        match self.state {
            State::Told(error) => error,
            _ => cause,
        }
    }

    /// RFC 4422 3.3: without an initial response the server sends its challenge, or an empty one.
    fn speak_first(&mut self) -> Step {
        match self.mechanism {
            Mechanism::Login => self.challenge(State::LoginUsername, login::USERNAME.to_vec()),
            Mechanism::CramMd5 => {
                let challenge = cram::challenge(&self.context);
                let state = State::CramDigest {
                    challenge: challenge.clone(),
                };
                self.challenge(state, challenge)
            }
            _ => self.challenge(State::ClientFirst, Vec::new()),
        }
    }

    /// A bad first message is refused at once: nobody waits for a server-final-message yet (RFC 5802 5.1, `e`).
    fn client_first(&mut self, message: &[u8]) -> Result<Step, SaslError> {
        let (open, question) = match self.mechanism {
            Mechanism::ScramSha256Plus | Mechanism::ScramSha256 => {
                return self.scram_first(ScramHash::Sha256, message);
            }
            Mechanism::ScramSha1Plus | Mechanism::ScramSha1 => {
                return self.scram_first(ScramHash::Sha1, message);
            }
            // RFC 4954 4: no initial response where the server speaks first.
            Mechanism::CramMd5 => return Err(SaslError::Malformed),
            Mechanism::Plain => (Open::YesOrNo, Question::Password(plain::parse(message)?)),
            // An initial response to LOGIN is the user name: Outlook sends one.
            Mechanism::Login => return self.login_username(message),
            Mechanism::External => (
                Open::YesOrNo,
                Question::Certificate {
                    authzid: external::parse(message)?,
                },
            ),
            Mechanism::OauthBearer => (
                Open::Token,
                Question::Token(oauth::parse_oauthbearer(message)?),
            ),
            Mechanism::Xoauth2 => (Open::Token, Question::Token(oauth::parse_xoauth2(message)?)),
        };
        Ok(self.ask(open, question))
    }

    fn scram_first(&mut self, hash: ScramHash, message: &[u8]) -> Result<Step, SaslError> {
        let plus = self.mechanism.needs_channel_binding();
        let first = First::new(hash, plus, &self.context, message)?;
        let question = Question::Salt {
            username: first.username().to_owned(),
            hash,
        };
        Ok(self.ask(Open::Salt(first), question))
    }

    fn login_username(&mut self, message: &[u8]) -> Result<Step, SaslError> {
        let username = login::username(message)?;
        Ok(self.challenge(State::LoginPassword { username }, login::PASSWORD.to_vec()))
    }

    fn challenge(&mut self, state: State, challenge: Vec<u8>) -> Step {
        self.state = state;
        Step::Challenge(challenge)
    }

    fn ask(&mut self, open: Open, question: Question) -> Step {
        self.state = State::Asked(open);
        Step::Ask(question)
    }

    /// RFC 5802 7: the server-error, and one more response from the client.
    fn tell_scram(&mut self, error: SaslError) -> Step {
        let message = format!("e={}", error.scram_value());
        self.challenge(State::Told(error), message.into_bytes())
    }

    /// RFC 7628 3.2.2, 3.2.3.
    fn tell_token(&mut self, error: &TokenError) -> Step {
        let message = match self.mechanism {
            Mechanism::Xoauth2 => error.xoauth2(),
            _ => error.oauthbearer(),
        };
        self.challenge(State::Told(SaslError::Refused), message)
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Context")
    }
}

impl fmt::Debug for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Exchange({})", self.mechanism)
    }
}

#[cfg(test)]
mod tests;

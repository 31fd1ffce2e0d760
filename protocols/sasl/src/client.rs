//! The client's side: what to answer to each challenge. For outbound with a smarthost, the sendmail command and loadtest.
//! RFC 4422 3; the mechanisms' own RFCs. Challenges come from the server and are not trusted.
//!
//! Ask [`Client::initial`] first, then answer each challenge with [`Client::respond`]; at the server's OK, and before believing it,
//! [`Client::finish`]. After an error: cancel with `*`. SCRAM's key derivation is slow, so it is handed out as [`Derivation`], to be
//! run in a thread and given back with [`Client::derived`].
//! Not here: which mechanism to choose, and whether the connection is safe enough for [`Mechanism::reveals_password`].

use std::fmt;
use std::ops::RangeInclusive;

use crate::cram::{CramState, hexadecimal};
use crate::gs2::escape;
use crate::{
    ChannelBindings, ClientKeys, Credentials, Mechanism, PasswordError, SaslError, Secret, oauth,
};

mod scram;

pub use scram::Derivation;

/// Fewest iterations of SCRAM that a client accepts. RFC 5802 9.1: a hostile server could learn the password from fewer.
pub const ITERATIONS_MIN: u32 = 2048;
/// Most iterations of SCRAM that a client accepts: some seconds of a core.
pub const ITERATIONS_MAX: u32 = 5_000_000;
/// Shortest salt that a client accepts, in octets.
pub const SALT_MIN: usize = 8;

/// What a client must know beside its credentials. No randomness here: it is given.
#[derive(Clone)]
pub struct Context {
    /// What TLS can be bound to; nothing without TLS.
    pub bindings: ChannelBindings,
    /// Whether the server announced a -PLUS mechanism for this hash.
    pub server_offers_plus: bool,
    /// Fresh for each exchange, from a generator for secrets: SCRAM's nonce.
    pub random: [u8; 32],
    /// The server's name and port as the client knows them, for OAUTHBEARER.
    pub server: Option<(String, u16)>,
    /// How many iterations of SCRAM the server may ask for.
    pub iterations: RangeInclusive<u32>,
}

impl Default for Context {
    fn default() -> Self {
        Context {
            bindings: ChannelBindings::default(),
            server_offers_plus: false,
            random: [0; 32],
            server: None,
            iterations: ITERATIONS_MIN..=ITERATIONS_MAX,
        }
    }
}

/// What a client does after a challenge.
#[derive(Debug, PartialEq, Eq)]
pub enum Action {
    /// Send this response (not yet base64; may be empty).
    Respond(Secret),
    /// Run this, slowly, and call [`Client::derived`].
    Derive(Derivation),
}

/// Why a client ends the exchange.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    /// A -PLUS mechanism without TLS.
    #[error("the connection has nothing to bind to")]
    NothingToBind,
    /// The user name cannot be one.
    #[error("user name: {0}")]
    Name(SaslError),
    /// The password cannot be one. RFC 5802 2.2: the client should not go on.
    #[error("{0}")]
    Password(PasswordError),
    /// A name, password or token that the mechanism's grammar cannot express, or an empty one.
    #[error("name, password or token cannot be sent with this mechanism")]
    Unsayable,
    /// The server's message is not the mechanism's grammar.
    #[error("malformed challenge")]
    Malformed,
    /// The server's nonce does not begin with ours, or adds nothing of its own to it.
    #[error("wrong nonce of the server")]
    Nonce,
    /// The salt is shorter than [`SALT_MIN`].
    #[error("the server's salt is too short")]
    Salt,
    /// Out of [`Context::iterations`].
    #[error("the server asks for {0} iterations")]
    Iterations(u32),
    /// The keys given back are not those asked for.
    #[error("keys for another salt")]
    Keys,
    /// The server does not know the password: someone else is on the line.
    #[error("the server's signature is wrong")]
    Signature,
    /// The server said OK without having proven itself.
    #[error("the server did not prove that it knows the password")]
    Unproven,
    /// The server says why it refuses: SCRAM's `e=` or the JSON of a token mechanism, made printable.
    #[error("refused: {0}")]
    Refused(String),
    /// A challenge where nothing is left to say.
    #[error("the exchange is over")]
    Finished,
}

/// A client's exchange.
pub struct Client {
    mechanism: Mechanism,
    credentials: Credentials,
    context: Context,
    keys: Option<ClientKeys>,
    state: State,
}

enum State {
    /// Nothing was sent.
    Start,
    /// LOGIN: the name was sent.
    Named,
    /// SCRAM.
    Scram(scram::State),
    /// All was said.
    Said,
    /// An error ended it.
    Over,
}

impl Client {
    /// Begins an exchange with these credentials: `password` is the token for the token mechanisms, and unused for EXTERNAL, which
    /// sends `authzid` alone. SCRAM prepares name and password by RFC 8265; the other mechanisms send them as they are.
    pub fn new(
        mechanism: Mechanism,
        credentials: Credentials,
        context: Context,
    ) -> Result<Self, ClientError> {
        if mechanism.needs_channel_binding() && context.bindings.is_empty() {
            return Err(ClientError::NothingToBind);
        }
        let credentials = match mechanism.scram_hash() {
            Some(_) => scram::prepare(&credentials)?,
            None => sayable(mechanism, credentials)?,
        };
        Ok(Client {
            mechanism,
            credentials,
            context,
            keys: None,
            state: State::Start,
        })
    }

    /// Gives keys from an earlier exchange, that spare the derivation if the server still has the same salt.
    pub fn with_keys(mut self, keys: ClientKeys) -> Self {
        self.keys = Some(keys);
        self
    }

    /// The name to put after `AUTH` or `AUTHENTICATE`.
    pub fn mechanism(&self) -> Mechanism {
        self.mechanism
    }

    /// The initial response, if the mechanism has one. Where the protocol has no room for it, do not ask: it is the answer to the
    /// server's empty challenge then.
    pub fn initial(&mut self) -> Option<Secret> {
        match self.mechanism {
            // Not all servers take the name of LOGIN at once; waiting for the challenge always works.
            Mechanism::Login | Mechanism::CramMd5 => None,
            _ => match self.respond(b"") {
                Ok(Action::Respond(response)) => Some(response),
                _ => None,
            },
        }
    }

    /// The answer to a challenge (base64 already removed). After an error: cancel.
    pub fn respond(&mut self, challenge: &[u8]) -> Result<Action, ClientError> {
        let (state, action) = match std::mem::replace(&mut self.state, State::Over) {
            State::Start => self.first(challenge)?,
            // What LOGIN's challenges say differs between servers; their order does not.
            State::Named => (
                State::Said,
                Action::Respond(self.credentials.password.clone()),
            ),
            State::Scram(state) => {
                let (state, action) = self.scram(state, challenge)?;
                (State::Scram(state), action)
            }
            State::Said if self.is_token() => {
                return Err(ClientError::Refused(printable(challenge)));
            }
            State::Said | State::Over => return Err(ClientError::Finished),
        };
        self.state = state;
        Ok(action)
    }

    /// The server said OK: whether to believe it. SCRAM's server must have proven that it knows the password.
    pub fn finish(&self) -> Result<(), ClientError> {
        match &self.state {
            State::Said => Ok(()),
            State::Scram(state) if state.is_proven() => Ok(()),
            _ => Err(ClientError::Unproven),
        }
    }

    fn first(&self, challenge: &[u8]) -> Result<(State, Action), ClientError> {
        let Credentials {
            authzid,
            authcid,
            password,
        } = &self.credentials;
        let respond = |state, parts: &[&[u8]]| Ok((state, Action::Respond(Secret::concat(parts))));
        match self.mechanism {
            Mechanism::Plain => respond(
                State::Said,
                &[
                    authzid.as_bytes(),
                    b"\0",
                    authcid.as_bytes(),
                    b"\0",
                    password,
                ],
            ),
            Mechanism::Login => respond(State::Named, &[authcid.as_bytes()]),
            Mechanism::CramMd5 => {
                let digest = hexadecimal(CramState::derive(password).digest(challenge));
                respond(State::Said, &[authcid.as_bytes(), b" ", &digest])
            }
            Mechanism::External => respond(State::Said, &[authzid.as_bytes()]),
            Mechanism::OauthBearer => {
                let user = match &**authzid {
                    "" => escape(authcid),
                    authzid => escape(authzid),
                };
                let server = match &self.context.server {
                    Some((host, port)) => format!("host={host}\x01port={port}\x01"),
                    None => String::new(),
                };
                let before = format!("n,a={user},\x01{server}auth=Bearer ");
                respond(State::Said, &[before.as_bytes(), password, b"\x01\x01"])
            }
            Mechanism::Xoauth2 => {
                let before = format!("user={authcid}\x01auth=Bearer ");
                respond(State::Said, &[before.as_bytes(), password, b"\x01\x01"])
            }
            Mechanism::ScramSha256Plus
            | Mechanism::ScramSha256
            | Mechanism::ScramSha1Plus
            | Mechanism::ScramSha1 => {
                let (state, message) = self.scram_first();
                respond(State::Scram(state), &[message.as_bytes()])
            }
        }
    }

    fn is_token(&self) -> bool {
        matches!(self.mechanism, Mechanism::OauthBearer | Mechanism::Xoauth2)
    }
}

/// Whether the mechanism's grammar can carry the credentials: what cannot be said is never sent in part.
fn sayable(mechanism: Mechanism, credentials: Credentials) -> Result<Credentials, ClientError> {
    let Credentials {
        authzid,
        authcid,
        password,
    } = &credentials;
    let named = !authcid.is_empty();
    let text = |text: &str| !text.contains('\0');
    let no_separator = |text: &str| !text.contains(['\0', oauth::SEPARATOR]);
    let said = match mechanism {
        Mechanism::Plain => {
            named
                && text(authzid)
                && text(authcid)
                && !password.is_empty()
                && !password.contains(&0)
        }
        Mechanism::External => text(authzid),
        Mechanism::OauthBearer | Mechanism::Xoauth2 => {
            named
                && no_separator(authzid)
                && no_separator(authcid)
                && !password.is_empty()
                && password.iter().all(u8::is_ascii_graphic)
        }
        _ => named && !password.is_empty(),
    };
    match said {
        true => Ok(credentials),
        false => Err(ClientError::Unsayable),
    }
}

/// The server's words, for a log line or a user: bounded, without control characters.
fn printable(text: &[u8]) -> String {
    String::from_utf8_lossy(&text[..text.len().min(PRINTABLE_MAX)])
        .chars()
        .map(|c| match c {
            c if c.is_control() => ' ',
            c => c,
        })
        .collect()
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Client({})", self.mechanism)
    }
}

/// How many octets of a server's error are kept.
const PRINTABLE_MAX: usize = 400;

#[cfg(test)]
mod tests;

//! The client's steps of SCRAM. RFC 5802, RFC 7677. The server is not trusted: it may be hostile, or someone else.

use std::num::NonZeroU32;

use crate::client::{Action, Client, ClientError, SALT_MIN, printable};
use crate::gs2::escape;
use crate::scram::NONCE_MIN;
use crate::scram::message::{ServerFinal, server_final, server_first};
use crate::{
    ClientKeys, Credentials, ScramHash, Secret, ServerSignature, base64, prepare_name,
    prepare_password,
};

/// How far the exchange is.
pub(crate) enum State {
    /// The first message was sent.
    First(First),
    /// Keys are being derived.
    Deriving(Offered),
    /// The final message was sent; this must come back.
    Final(ServerSignature),
    /// It came back.
    Proven,
}

impl State {
    pub(crate) fn is_proven(&self) -> bool {
        matches!(self, State::Proven)
    }

    /// For published examples.
    #[cfg(test)]
    pub(crate) fn with_nonce(self, nonce: &str) -> Self {
        let State::First(first) = self else {
            panic!("the nonce was sent already")
        };
        State::First(First {
            bare: first.bare.replace(&first.nonce, nonce),
            nonce: nonce.to_owned(),
            ..first
        })
    }
}

/// What the first message said.
pub(crate) struct First {
    header: String,
    bare: String,
    nonce: String,
}

/// What the server's first message said, with what went before.
pub(crate) struct Offered {
    /// client-first-message-bare "," server-first-message ","
    said: String,
    without_proof: String,
    salt: Secret,
    iterations: NonZeroU32,
}

/// The slow part of a login with SCRAM; plain data for a thread.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Derivation {
    hash: ScramHash,
    password: Secret,
    salt: Secret,
    iterations: NonZeroU32,
}

impl Derivation {
    /// Does it: as many HMACs as the server asked for. Never on an executor.
    pub fn run(self) -> ClientKeys {
        ClientKeys::derive(self.hash, &self.password, &self.salt, self.iterations)
    }
}

/// Name and password as SCRAM wants them.
pub(crate) fn prepare(credentials: &Credentials) -> Result<Credentials, ClientError> {
    let password = credentials
        .password
        .as_str()
        .ok_or(ClientError::Unsayable)?;
    Ok(Credentials {
        authzid: match &*credentials.authzid {
            "" => String::new(),
            authzid => prepare_name(authzid).map_err(ClientError::Name)?,
        },
        authcid: prepare_name(&credentials.authcid).map_err(ClientError::Name)?,
        password: prepare_password(password).map_err(ClientError::Password)?,
    })
}

impl Client {
    pub(super) fn scram_first(&self) -> (State, String) {
        let flag = match self.context.bindings.best() {
            Some(name) if self.mechanism.needs_channel_binding() => format!("p={name}"),
            // RFC 5802 6: we could have bound, and the server does not seem to know how. If that is a lie it will notice.
            Some(_) if !self.context.server_offers_plus => "y".to_owned(),
            _ => "n".to_owned(),
        };
        let authzid = match &*self.credentials.authzid {
            "" => String::new(),
            authzid => format!("a={}", escape(authzid)),
        };
        let header = format!("{flag},{authzid},");
        let nonce = base64::encode(&self.context.random[..18]);
        let bare = format!("n={},r={nonce}", escape(&self.credentials.authcid));
        let message = format!("{header}{bare}");
        let first = First {
            header,
            bare,
            nonce,
        };
        (State::First(first), message)
    }

    pub(super) fn scram(
        &self,
        state: State,
        challenge: &[u8],
    ) -> Result<(State, Action), ClientError> {
        match state {
            State::First(first) => self.offered(first, challenge),
            State::Final(signature) => match server_final(challenge) {
                Ok(ServerFinal::Signature(octets)) if signature.is(&octets) => {
                    // RFC 4422 3.6: an empty response to additional data.
                    Ok((State::Proven, Action::Respond(Secret::default())))
                }
                Ok(ServerFinal::Signature(_)) => Err(ClientError::Signature),
                Ok(ServerFinal::Error(error)) => {
                    Err(ClientError::Refused(printable(error.as_bytes())))
                }
                Err(_) => Err(ClientError::Malformed),
            },
            State::Deriving(_) | State::Proven => Err(ClientError::Finished),
        }
    }

    fn offered(&self, first: First, challenge: &[u8]) -> Result<(State, Action), ClientError> {
        if let Ok(ServerFinal::Error(error)) = server_final(challenge) {
            return Err(ClientError::Refused(printable(error.as_bytes())));
        }
        let server = server_first(challenge).map_err(|_| ClientError::Malformed)?;
        match server.nonce.strip_prefix(&first.nonce) {
            Some(added) if added.len() >= NONCE_MIN => {}
            _ => return Err(ClientError::Nonce),
        }
        if server.salt.len() < SALT_MIN {
            return Err(ClientError::Salt);
        }
        if !self.context.iterations.contains(&server.iterations.get()) {
            return Err(ClientError::Iterations(server.iterations.get()));
        }
        let offer = std::str::from_utf8(challenge).map_err(|_| ClientError::Malformed)?;
        let offered = Offered {
            said: format!("{},{offer},", first.bare),
            without_proof: format!(
                "c={},r={}",
                base64::encode(&self.binding(&first.header)),
                server.nonce
            ),
            salt: server.salt,
            iterations: server.iterations,
        };
        if let Some(keys) = &self.keys
            && self.fits(keys, &offered)
        {
            let (state, response) = prove(keys, &offered);
            return Ok((state, Action::Respond(response)));
        }
        let derivation = Derivation {
            hash: self.hash(),
            password: self.credentials.password.clone(),
            salt: offered.salt.clone(),
            iterations: offered.iterations,
        };
        Ok((State::Deriving(offered), Action::Derive(derivation)))
    }

    /// Takes the keys that [`Derivation::run`] gave: what to send now. Keep the keys for the next exchange, [`Client::with_keys`].
    pub fn derived(&mut self, keys: &ClientKeys) -> Result<Secret, ClientError> {
        let state = std::mem::replace(&mut self.state, super::State::Over);
        let super::State::Scram(State::Deriving(offered)) = state else {
            return Err(ClientError::Finished);
        };
        if !self.fits(keys, &offered) {
            return Err(ClientError::Keys);
        }
        let (state, response) = prove(keys, &offered);
        self.state = super::State::Scram(state);
        Ok(response)
    }

    /// What `c=` says: the header, and what TLS has to say. RFC 5802 7, cbind-input.
    fn binding(&self, header: &str) -> Vec<u8> {
        let data = match self.context.bindings.best() {
            Some(name) if self.mechanism.needs_channel_binding() => {
                self.context.bindings.data(name)
            }
            _ => None,
        };
        [header.as_bytes(), data.unwrap_or_default()].concat()
    }

    fn fits(&self, keys: &ClientKeys, offered: &Offered) -> bool {
        keys.fit(self.hash(), &offered.salt, offered.iterations)
    }

    fn hash(&self) -> ScramHash {
        // Only SCRAM mechanisms get here.
        self.mechanism.scram_hash().unwrap_or(ScramHash::Sha256)
    }
}

fn prove(keys: &ClientKeys, offered: &Offered) -> (State, Secret) {
    let auth_message = format!("{}{}", offered.said, offered.without_proof);
    let proof = keys.proof(auth_message.as_bytes());
    let message = format!("{},p={}", offered.without_proof, base64::encode(&proof));
    let signature = keys.server_signature(auth_message.as_bytes());
    (State::Final(signature), Secret::new(message.into_bytes()))
}

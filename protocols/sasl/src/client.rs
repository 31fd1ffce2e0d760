//! The client's side: what to answer to each challenge. Used by loadtest and by outbound with a smarthost.
//! RFC 4616, draft-murchison-sasl-login. Challenges come from the server and are not trusted.

use crate::{Credentials, Mechanism, SaslError, Secret};

/// A client's exchange. Ask [`Client::initial`] first, then answer each challenge with [`Client::respond`].
#[derive(Debug)]
pub struct Client {
    mechanism: Mechanism,
    credentials: Credentials,
    sent: u8,
}

impl Client {
    /// Begins an exchange with these credentials.
    pub fn new(mechanism: Mechanism, credentials: Credentials) -> Self {
        Client {
            mechanism,
            credentials,
            sent: 0,
        }
    }

    /// The name to put after `AUTH` or `AUTHENTICATE`.
    pub fn mechanism(&self) -> Mechanism {
        self.mechanism
    }

    /// The initial response, if the mechanism has one.
    pub fn initial(&mut self) -> Option<Secret> {
        match self.mechanism {
            Mechanism::Plain => self.respond(b"").ok(),
            // Not all servers take the name at once; waiting for the challenge always works.
            _ => None,
        }
    }

    /// The response to a challenge (base64 already removed). [`SaslError::Finished`] if nothing is left to say: cancel.
    pub fn respond(&mut self, _challenge: &[u8]) -> Result<Secret, SaslError> {
        let response = match (self.mechanism, self.sent) {
            (Mechanism::Plain, 0) => self.plain(),
            // What the challenges say differs between servers; their order does not.
            (Mechanism::Login, 0) => Secret::from(self.credentials.authcid.as_bytes()),
            (Mechanism::Login, 1) => self.credentials.password.clone(),
            _ => return Err(SaslError::Finished),
        };
        self.sent += 1;
        Ok(response)
    }

    fn plain(&self) -> Secret {
        let Credentials {
            authzid,
            authcid,
            password,
        } = &self.credentials;
        let mut message = Vec::with_capacity(authzid.len() + authcid.len() + password.len() + 2);
        message.extend_from_slice(authzid.as_bytes());
        message.push(0);
        message.extend_from_slice(authcid.as_bytes());
        message.push(0);
        message.extend_from_slice(password);
        Secret::new(message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Context, Exchange, Question, Step};

    #[test]
    fn both_sides_agree() {
        let credentials = Credentials {
            authzid: String::new(),
            authcid: "tim".into(),
            password: Secret::from(&b"geheim"[..]),
        };
        for mechanism in [Mechanism::Plain, Mechanism::Login] {
            let mut client = Client::new(mechanism, credentials.clone());
            let mut server = Exchange::new(mechanism, Context::default());
            let mut response = client.initial();
            let received = loop {
                match server.step(response.as_deref()).unwrap() {
                    Step::Challenge(challenge) => {
                        response = Some(client.respond(&challenge).unwrap())
                    }
                    Step::Ask(Question::Password(received)) => break received,
                    other => panic!("{other:?}"),
                }
            };
            assert_eq!(received, credentials);
            assert_eq!(client.respond(b""), Err(SaslError::Finished));
        }
    }
}

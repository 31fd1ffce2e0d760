//! LOGIN, draft-murchison-sasl-login-00: the server asks for the name, then for the password.
//! The draft writes `User Name` and `Password` with a NUL; servers in the field say `Username:` and `Password:`, and so do we.

use crate::plain::filled;
use crate::server::SaslError;
use crate::{Credentials, Secret};

pub(crate) const USERNAME: &[u8] = b"Username:";
pub(crate) const PASSWORD: &[u8] = b"Password:";

/// A field of LOGIN: not empty, UTF-8, without NUL (so that what LOGIN accepts could be said with PLAIN too).
pub(crate) fn field(response: &[u8]) -> Result<&str, SaslError> {
    if response.contains(&0) {
        return Err(SaslError::Malformed);
    }
    filled(response)
}

/// Joins both fields.
pub(crate) fn credentials(username: String, password: &str) -> Credentials {
    Credentials {
        authzid: String::new(),
        authcid: username,
        password: Secret::from(password.as_bytes()),
    }
}

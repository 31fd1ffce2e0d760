//! LOGIN, draft-murchison-sasl-login-00: the server asks for the name, then for the password.
//! The draft writes `User Name` and `Password` with a NUL; servers in the field say `Username:` and `Password:`, and so do we.

use crate::plain::filled;
use crate::{Credentials, SaslError, Secret, prepare_name};

pub(crate) const USERNAME: &[u8] = b"Username:";
pub(crate) const PASSWORD: &[u8] = b"Password:";

/// The answer to [`USERNAME`].
pub(crate) fn username(response: &[u8]) -> Result<String, SaslError> {
    prepare_name(field(response)?)
}

/// The answer to [`PASSWORD`], joined with the name.
pub(crate) fn credentials(username: String, response: &[u8]) -> Result<Credentials, SaslError> {
    Ok(Credentials {
        authzid: String::new(),
        authcid: username,
        password: Secret::from(field(response)?.as_bytes()),
    })
}

/// A field of LOGIN: not empty, UTF-8, without NUL (so that what LOGIN accepts could be said with PLAIN too).
fn field(response: &[u8]) -> Result<&str, SaslError> {
    if response.contains(&0) {
        return Err(SaslError::Malformed);
    }
    filled(response)
}

//! PLAIN, RFC 4616: one message from the client.
//!
//! ```text
//! message   = [authzid] UTF8NUL authcid UTF8NUL passwd
//! authcid   = 1*SAFE ; MUST accept up to 255 octets
//! authzid   = 1*SAFE ; MUST accept up to 255 octets
//! passwd    = 1*SAFE ; MUST accept up to 255 octets
//! ```

use crate::SaslError;
use crate::{Credentials, FIELD_MAX, Secret, prepare_name};

/// Parses the message. Exactly two NULs; authcid and password not empty; all of it UTF-8.
pub(crate) fn parse(message: &[u8]) -> Result<Credentials, SaslError> {
    let mut fields = message.split(|&octet| octet == 0);
    let (Some(authzid), Some(authcid), Some(password), None) =
        (fields.next(), fields.next(), fields.next(), fields.next())
    else {
        return Err(SaslError::Malformed);
    };
    Ok(Credentials {
        authzid: match text(authzid)? {
            "" => String::new(),
            authzid => prepare_name(authzid)?,
        },
        authcid: prepare_name(filled(authcid)?)?,
        password: Secret::from(filled(password)?.as_bytes()),
    })
}

/// A field that must not be empty. RFC 4616 2: 1*SAFE.
pub(crate) fn filled(field: &[u8]) -> Result<&str, SaslError> {
    if field.is_empty() {
        return Err(SaslError::EmptyField);
    }
    text(field)
}

fn text(field: &[u8]) -> Result<&str, SaslError> {
    if field.len() > FIELD_MAX {
        return Err(SaslError::FieldTooLong);
    }
    std::str::from_utf8(field).map_err(|_| SaslError::NotUtf8)
}

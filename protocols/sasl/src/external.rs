//! EXTERNAL, RFC 4422 appendix A: the TLS client certificate proves who it is; the one message says whom to act as.
//!
//! ```text
//! external-initial-response = authz-id-string
//! authz-id-string           = *( UTF8-char-no-nul )
//! ```

use crate::{SaslError, prepare_name};

/// Parses the message: an identity, or nothing.
pub(crate) fn parse(message: &[u8]) -> Result<Option<String>, SaslError> {
    let text = std::str::from_utf8(message).map_err(|_| SaslError::NotUtf8)?;
    match text {
        "" => Ok(None),
        _ => prepare_name(text).map(Some),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages() {
        assert_eq!(parse(b""), Ok(None));
        assert_eq!(parse(b"tim@x.example"), Ok(Some("tim@x.example".into())));
        assert_eq!(parse(b"a\0b"), Err(SaslError::BadName));
        assert_eq!(parse(b"\xff"), Err(SaslError::NotUtf8));
        assert_eq!(
            parse(&[b'x'; crate::FIELD_MAX + 1]),
            Err(SaslError::FieldTooLong)
        );
    }
}

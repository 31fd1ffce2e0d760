//! The header that SCRAM and OAUTHBEARER share. Input is untrusted.
//! RFC 5801 4, RFC 5802 7:
//!
//! ```text
//! gs2-header     = gs2-cbind-flag "," [ authzid ] ","
//! gs2-cbind-flag = ("p=" cb-name) / "n" / "y"
//! cb-name        = 1*(ALPHA / DIGIT / "." / "-")
//! authzid        = "a=" saslname
//! saslname       = 1*(value-safe-char / "=2C" / "=3D") ; UTF-8 without NUL, "=" and ","
//! ```

use std::borrow::Cow;

use crate::{FIELD_MAX, SaslError};

/// Whether the client binds to the channel. RFC 5802 6.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flag<'a> {
    /// `n`: it cannot.
    Unable,
    /// `y`: it could, and thinks that the server cannot.
    Able,
    /// `p=`: it does, with this type.
    Bound(&'a str),
}

/// A parsed header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Gs2Header<'a> {
    /// All octets of it, with the last comma. The client repeats them in `c=`.
    pub(crate) text: &'a str,
    pub(crate) flag: Flag<'a>,
    /// Unescaped; never empty.
    pub(crate) authzid: Option<String>,
}

impl<'a> Gs2Header<'a> {
    /// Splits `message` after the header.
    pub(crate) fn parse(message: &'a str) -> Result<(Self, &'a str), SaslError> {
        let (flag, after_flag) = message.split_once(',').ok_or(SaslError::Malformed)?;
        let (authzid, rest) = after_flag.split_once(',').ok_or(SaslError::Malformed)?;
        let header = Gs2Header {
            text: &message[..message.len() - rest.len()],
            flag: parse_flag(flag)?,
            authzid: match authzid.strip_prefix("a=") {
                Some(name) => Some(unescape(name)?),
                None if authzid.is_empty() => None,
                None => return Err(SaslError::Malformed),
            },
        };
        Ok((header, rest))
    }
}

fn parse_flag(flag: &str) -> Result<Flag<'_>, SaslError> {
    match flag {
        "n" => Ok(Flag::Unable),
        "y" => Ok(Flag::Able),
        _ => flag
            .strip_prefix("p=")
            .filter(|name| !name.is_empty() && name.bytes().all(is_binding_name))
            .map(Flag::Bound)
            .ok_or(SaslError::Malformed),
    }
}

fn is_binding_name(octet: u8) -> bool {
    octet.is_ascii_alphanumeric() || matches!(octet, b'.' | b'-')
}

/// Reads a saslname. RFC 5802 5.1: "=" that is not followed by 2C or 3D must fail the authentication.
pub(crate) fn unescape(name: &str) -> Result<String, SaslError> {
    if name.is_empty() {
        return Err(SaslError::EmptyField);
    }
    if name.len() > FIELD_MAX {
        return Err(SaslError::FieldTooLong);
    }
    let mut parts = name.split('=');
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        // ABNF strings know no case.
        let (code, rest) = part.split_at_checked(2).ok_or(SaslError::Malformed)?;
        text.push(match code {
            "2C" | "2c" => ',',
            "3D" | "3d" => '=',
            _ => return Err(SaslError::Malformed),
        });
        text.push_str(rest);
    }
    if text.contains('\0') {
        return Err(SaslError::Malformed);
    }
    Ok(text)
}

/// Writes a saslname.
pub(crate) fn escape(name: &str) -> Cow<'_, str> {
    if name.contains([',', '=']) {
        Cow::Owned(name.replace('=', "=3D").replace(',', "=2C"))
    } else {
        Cow::Borrowed(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers() {
        let (header, rest) = Gs2Header::parse("p=tls-exporter,a=x=2Cy=3Dz,n=u,r=1").unwrap();
        assert_eq!(header.text, "p=tls-exporter,a=x=2Cy=3Dz,");
        assert_eq!(header.flag, Flag::Bound("tls-exporter"));
        assert_eq!(header.authzid.as_deref(), Some("x,y=z"));
        assert_eq!(rest, "n=u,r=1");
        let (header, rest) = Gs2Header::parse("n,,").unwrap();
        assert_eq!(
            (header.flag, header.authzid, rest),
            (Flag::Unable, None, "")
        );
        assert_eq!(Gs2Header::parse("y,,").unwrap().0.flag, Flag::Able);
        for bad in [
            "",
            "n",
            "n,",
            ",,",
            "N,,",
            "x,,",
            "F,n,,",
            "p=,,",
            "p,,",
            "p=a_b,,",
            "p=\u{e4},,",
            "n,x,",
            "n,b=x,",
            "n,A=x,",
            "nn,,",
            " n,,",
        ] {
            assert_eq!(Gs2Header::parse(bad), Err(SaslError::Malformed), "{bad:?}");
        }
        assert_eq!(Gs2Header::parse("n,a=,"), Err(SaslError::EmptyField));
    }

    #[test]
    fn names() {
        for name in ["tim", "a,b", "=", ",=,=2C", "\u{e4}=\u{1F40B}"] {
            assert_eq!(unescape(&escape(name)).unwrap(), name);
        }
        assert_eq!(escape("a,b=c"), "a=2Cb=3Dc");
        assert_eq!(unescape("a=2cb=3dc").unwrap(), "a,b=c");
        for bad in ["=", "a=", "=2", "=2D", "=\u{e4}", "==2C", "=3", "a\0b"] {
            assert_eq!(unescape(bad), Err(SaslError::Malformed), "{bad:?}");
        }
        assert_eq!(unescape(""), Err(SaslError::EmptyField));
        assert!(unescape(&"x".repeat(FIELD_MAX)).is_ok());
        assert_eq!(
            unescape(&"x".repeat(FIELD_MAX + 1)),
            Err(SaslError::FieldTooLong)
        );
    }
}

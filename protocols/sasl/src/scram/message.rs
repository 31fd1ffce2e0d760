//! The messages of SCRAM. Input of both directions is untrusted. RFC 5802 7:
//!
//! ```text
//! client-first-message = gs2-header [reserved-mext ","] "n=" saslname "," "r=" c-nonce ["," extensions]
//! server-first-message = [reserved-mext ","] "r=" nonce "," "s=" base64 "," "i=" posit-number ["," extensions]
//! client-final-message = "c=" base64 "," "r=" nonce ["," extensions] "," "p=" base64
//! server-final-message = ("e=" server-error-value / "v=" base64) ["," extensions]
//! extensions           = attr-val *("," attr-val)       attr-val = ALPHA "=" 1*value-char
//! nonce                = 1*(%x21-2B / %x2D-7E)          value-char = UTF-8 without NUL and ","
//! ```
//!
//! The order is fixed and names are case-sensitive (5.1). Unknown extensions are ignored; `m=` fails; one of the known letters where
//! only extensions may stand is a duplicate or out of order.

use std::num::NonZeroU32;

use crate::gs2::{Gs2Header, unescape};
use crate::{FIELD_MAX, SaslError, Secret, base64};

/// The client's first message.
#[derive(Debug)]
pub(crate) struct ClientFirst<'a> {
    pub(crate) header: Gs2Header<'a>,
    /// client-first-message-bare: part of what is proven.
    pub(crate) bare: &'a str,
    /// Unescaped, not yet prepared.
    pub(crate) username: String,
    pub(crate) nonce: &'a str,
}

/// Parses the client's first message.
pub(crate) fn client_first(message: &[u8]) -> Result<ClientFirst<'_>, SaslError> {
    let (header, bare) = Gs2Header::parse(text(message)?)?;
    let mut attributes = Attributes::new(bare);
    let username = unescape(attributes.next('n')?)?;
    let nonce = nonce(attributes.next('r')?)?;
    attributes.extensions()?;
    Ok(ClientFirst {
        header,
        bare,
        username,
        nonce,
    })
}

/// The client's final message.
#[derive(Debug)]
pub(crate) struct ClientFinal<'a> {
    /// client-final-message-without-proof: part of what is proven.
    pub(crate) without_proof: &'a str,
    /// GS2 header and channel binding data.
    pub(crate) binding: Secret,
    pub(crate) nonce: &'a str,
    pub(crate) proof: Secret,
}

/// Parses the client's final message.
pub(crate) fn client_final(message: &[u8]) -> Result<ClientFinal<'_>, SaslError> {
    let message = text(message)?;
    // The proof is over all that stands before it, so it is the last attribute.
    let (without_proof, last) = message.rsplit_once(',').ok_or(SaslError::Malformed)?;
    let mut attributes = Attributes::new(without_proof);
    let binding = decode(attributes.next('c')?)?;
    let nonce = nonce(attributes.next('r')?)?;
    attributes.extensions()?;
    Ok(ClientFinal {
        without_proof,
        binding,
        nonce,
        proof: decode(Attributes::new(last).next('p')?)?,
    })
}

/// The server's first message.
#[derive(Debug)]
pub(crate) struct ServerFirst<'a> {
    pub(crate) nonce: &'a str,
    pub(crate) salt: Secret,
    pub(crate) iterations: NonZeroU32,
}

/// Parses the server's first message.
pub(crate) fn server_first(message: &[u8]) -> Result<ServerFirst<'_>, SaslError> {
    let mut attributes = Attributes::new(text(message)?);
    let first = ServerFirst {
        nonce: nonce(attributes.next('r')?)?,
        salt: decode(attributes.next('s')?)?,
        iterations: positive(attributes.next('i')?)?,
    };
    attributes.extensions()?;
    Ok(first)
}

/// The server's final message.
#[derive(Debug)]
pub(crate) enum ServerFinal<'a> {
    Signature(Secret),
    Error(&'a str),
}

/// Parses the server's final message.
pub(crate) fn server_final(message: &[u8]) -> Result<ServerFinal<'_>, SaslError> {
    let text = text(message)?;
    let mut attributes = Attributes::new(text);
    let outcome = if text.starts_with("e=") {
        ServerFinal::Error(attributes.next('e')?)
    } else {
        ServerFinal::Signature(decode(attributes.next('v')?)?)
    };
    attributes.extensions()?;
    Ok(outcome)
}

/// The attributes of a message, from left to right.
struct Attributes<'a>(std::str::Split<'a, char>);

impl<'a> Attributes<'a> {
    fn new(text: &'a str) -> Self {
        Attributes(text.split(','))
    }

    /// The value of the attribute that must stand here.
    fn next(&mut self, name: char) -> Result<&'a str, SaslError> {
        let (found, value) = attribute(self.0.next().ok_or(SaslError::Malformed)?)?;
        match found {
            _ if found == name => Ok(value),
            'm' => Err(SaslError::UnknownExtension),
            _ => Err(SaslError::Malformed),
        }
    }

    /// Whatever is left may only be unknown.
    fn extensions(self) -> Result<(), SaslError> {
        for extension in self.0 {
            match attribute(extension)? {
                ('m', _) => return Err(SaslError::UnknownExtension),
                ('a' | 'n' | 'r' | 'c' | 's' | 'i' | 'p' | 'v' | 'e', _) | (_, "") => {
                    return Err(SaslError::Malformed);
                }
                _ => {}
            }
        }
        Ok(())
    }
}

fn attribute(text: &str) -> Result<(char, &str), SaslError> {
    let name = text.chars().next().filter(char::is_ascii_alphabetic);
    match (name, text.get(1..2)) {
        (Some(name), Some("=")) => Ok((name, &text[2..])),
        _ => Err(SaslError::Malformed),
    }
}

fn text(message: &[u8]) -> Result<&str, SaslError> {
    if message.len() > MESSAGE_MAX {
        return Err(SaslError::FieldTooLong);
    }
    if message.contains(&0) {
        return Err(SaslError::Malformed);
    }
    std::str::from_utf8(message).map_err(|_| SaslError::NotUtf8)
}

fn nonce(value: &str) -> Result<&str, SaslError> {
    if value.len() > FIELD_MAX {
        return Err(SaslError::FieldTooLong);
    }
    if value.is_empty() || !value.bytes().all(|octet| octet.is_ascii_graphic()) {
        return Err(SaslError::Malformed);
    }
    Ok(value)
}

fn decode(value: &str) -> Result<Secret, SaslError> {
    let octets = base64::decode(value.as_bytes()).map_err(|_| SaslError::Malformed)?;
    if octets.is_empty() {
        return Err(SaslError::Malformed);
    }
    Ok(octets)
}

fn positive(value: &str) -> Result<NonZeroU32, SaslError> {
    // `parse` would take a sign, and zeros before.
    if value.starts_with(['+', '0']) {
        return Err(SaslError::Malformed);
    }
    value.parse().map_err(|_| SaslError::Malformed)
}

/// Longest message, in octets: two names, a nonce, and a binding that repeats one of the names in base64, with some room.
const MESSAGE_MAX: usize = 6 * FIELD_MAX;

#[cfg(test)]
mod tests {
    use super::*;

    fn first(message: &str) -> Result<(String, String), SaslError> {
        client_first(message.as_bytes()).map(|m| (m.username, m.nonce.to_owned()))
    }

    #[test]
    fn client_first_messages() {
        let message = client_first(b"n,a=x,n=u=2Cs,r=fyko+d2lbbFgONRv,x=1,y=a=b").unwrap();
        assert_eq!(message.bare, "n=u=2Cs,r=fyko+d2lbbFgONRv,x=1,y=a=b");
        assert_eq!(message.header.text, "n,a=x,");
        assert_eq!(
            (&*message.username, message.nonce),
            ("u,s", "fyko+d2lbbFgONRv")
        );
        for (bad, error) in [
            ("", SaslError::Malformed),
            ("n,,", SaslError::Malformed),
            ("n,,n=u", SaslError::Malformed),
            ("n,,r=abcdefgh", SaslError::Malformed),
            ("n,,r=abcdefgh,n=u", SaslError::Malformed),
            ("n,,n=u,n=u,r=abcdefgh", SaslError::Malformed),
            ("n,,n=u,r=abcdefgh,r=abcdefgh", SaslError::Malformed),
            ("n,,n=u,r=abcdefgh,n=v", SaslError::Malformed),
            ("n,,n=u,r=abcdefgh,p=AAAA", SaslError::Malformed),
            ("n,,n=u,r=abcdefgh,", SaslError::Malformed),
            ("n,,n=u,r=abcdefgh,x", SaslError::Malformed),
            ("n,,n=u,r=abcdefgh,x=", SaslError::Malformed),
            ("n,,n=u,r=abcdefgh,1=x", SaslError::Malformed),
            ("n,,n=u,r=abcdefgh,xx=x", SaslError::Malformed),
            ("n,,n=u,r=abcdefgh,\u{e4}=x", SaslError::Malformed),
            ("n,,n=u,r=abc,defgh", SaslError::Malformed),
            ("n,,n=u,r=abcdefg h", SaslError::Malformed),
            ("n,,n=u,r=abcdefgh\u{7f}", SaslError::Malformed),
            ("n,,n=u,r=abcdefg\u{e4}", SaslError::Malformed),
            ("n,,n=u,r=", SaslError::Malformed),
            ("n,,N=u,r=abcdefgh", SaslError::Malformed),
            ("n,,n=u\0,r=abcdefgh", SaslError::Malformed),
            ("n,,n=u,r=abcdefgh,x=a\0", SaslError::Malformed),
            ("n,,n=a=b,r=abcdefgh", SaslError::Malformed),
            ("n,,n=,r=abcdefgh", SaslError::EmptyField),
            ("n,a=,n=u,r=abcdefgh", SaslError::EmptyField),
            ("n,,m=x,n=u,r=abcdefgh", SaslError::UnknownExtension),
            ("n,,n=u,r=abcdefgh,m=x", SaslError::UnknownExtension),
        ] {
            assert_eq!(first(bad), Err(error), "{bad:?}");
        }
        assert_eq!(
            client_first(b"n,,n=\xff,r=abcdefgh").unwrap_err(),
            SaslError::NotUtf8
        );
    }

    #[test]
    fn sizes() {
        let long = "x".repeat(FIELD_MAX);
        assert!(first(&format!("n,a={long},n={long},r={long}")).is_ok());
        for bad in [
            format!("n,,n={long}x,r=abcdefgh"),
            format!("n,a={long}x,n=u,r=abcdefgh"),
            format!("n,,n=u,r={long}x"),
            format!("n,,n=u,r=abcdefgh,x={}", "x".repeat(MESSAGE_MAX)),
        ] {
            assert_eq!(first(&bad), Err(SaslError::FieldTooLong));
        }
    }

    #[test]
    fn client_final_messages() {
        let message = client_final(b"c=biws,r=abcdefgh,x=1,p=AAAA").unwrap();
        assert_eq!(message.without_proof, "c=biws,r=abcdefgh,x=1");
        assert_eq!(
            (&*message.binding, message.nonce),
            (&b"n,,"[..], "abcdefgh")
        );
        assert_eq!(&*message.proof, &[0; 3]);
        for (bad, error) in [
            ("", SaslError::Malformed),
            ("c=biws", SaslError::Malformed),
            ("c=biws,r=abcdefgh", SaslError::Malformed),
            ("c=biws,p=AAAA", SaslError::Malformed),
            ("r=abcdefgh,p=AAAA", SaslError::Malformed),
            ("r=abcdefgh,c=biws,p=AAAA", SaslError::Malformed),
            ("c=biws,r=abcdefgh,p=AAAA,x=1", SaslError::Malformed),
            ("c=biws,r=abcdefgh,p=AAAA,p=AAAA", SaslError::Malformed),
            ("c=biws,c=biws,r=abcdefgh,p=AAAA", SaslError::Malformed),
            ("c=biws,r=abcdefgh,c=biws,p=AAAA", SaslError::Malformed),
            ("c=biws,r=abcdefgh,p=", SaslError::Malformed),
            ("c=biws,r=abcdefgh,p=AAA", SaslError::Malformed),
            ("c=biws,r=abcdefgh,p=AA==", SaslError::Malformed),
            ("c=biws=,r=abcdefgh,p=AAAA", SaslError::Malformed),
            ("c=,r=abcdefgh,p=AAAA", SaslError::Malformed),
            ("c=biws,r=,p=AAAA", SaslError::Malformed),
            ("c=biws,r=abcdefgh,p=AAAA\0", SaslError::Malformed),
            ("m=1,c=biws,r=abcdefgh,p=AAAA", SaslError::UnknownExtension),
            ("c=biws,r=abcdefgh,m=1,p=AAAA", SaslError::UnknownExtension),
            ("c=biws,r=abcdefgh,m=1", SaslError::UnknownExtension),
        ] {
            // "AA==" is the encoding of one octet: grammar, but no proof.
            if bad.ends_with("p=AA==") {
                assert!(client_final(bad.as_bytes()).is_ok());
            } else {
                assert_eq!(client_final(bad.as_bytes()).unwrap_err(), error, "{bad:?}");
            }
        }
        assert_eq!(
            client_final(b"c=biws,r=\xff,p=AAAA").unwrap_err(),
            SaslError::NotUtf8
        );
    }

    #[test]
    fn server_messages() {
        let message = server_first(b"r=abcdefgh,s=AAAA,i=4096,x=1").unwrap();
        assert_eq!(
            (message.nonce, message.iterations.get()),
            ("abcdefgh", 4096)
        );
        for bad in [
            "r=abcdefgh,s=AAAA",
            "r=abcdefgh,i=1,s=AAAA",
            "r=abcdefgh,s=,i=1",
            "r=abcdefgh,s=AAAA,i=",
            "r=abcdefgh,s=AAAA,i=0",
            "r=abcdefgh,s=AAAA,i=01",
            "r=abcdefgh,s=AAAA,i=+1",
            "r=abcdefgh,s=AAAA,i=-1",
            "r=abcdefgh,s=AAAA,i=4294967296",
            "r=abcdefgh,s=AAAA,i=1,i=2",
        ] {
            assert!(
                matches!(server_first(bad.as_bytes()), Err(SaslError::Malformed)),
                "{bad}"
            );
        }
        assert!(matches!(
            server_first(b"m=x,r=abcdefgh,s=AAAA,i=1"),
            Err(SaslError::UnknownExtension)
        ));
        assert!(matches!(
            server_final(b"v=AAAA,x=1"),
            Ok(ServerFinal::Signature(_))
        ));
        assert!(matches!(
            server_final(b"e=invalid-proof"),
            Ok(ServerFinal::Error("invalid-proof"))
        ));
        for bad in [
            &b""[..],
            b"v=",
            b"v=A",
            b"x=1",
            b"v=AAAA,v=AAAA",
            b"v=AAAA,e=x",
        ] {
            assert!(server_final(bad).is_err(), "{bad:?}");
        }
    }
}

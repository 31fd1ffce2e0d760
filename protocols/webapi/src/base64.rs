//! Octets that stand in JSON as base64: decoded as they are read, so that of a large file there is nothing else in memory. What can't be decoded is
//! told where the file is used, by its place. RFC 4648 4; lines, as MIME has them, are taken too.

use std::fmt;

use base64::display::Base64Display;
use base64::engine::general_purpose::STANDARD;
use base64::{DecodeError, Engine};
use serde::de::{Deserialize, Deserializer, Visitor};
use serde::ser::{Error as _, Serialize, Serializer};

/// Some of them, or why there are none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Base64(Result<Vec<u8>, DecodeError>);

impl Base64 {
    /// The octets.
    pub fn octets(&self) -> Result<&[u8], &DecodeError> {
        self.0.as_deref()
    }

    /// How many there are.
    pub fn length(&self) -> usize {
        self.0.as_ref().map_or(0, Vec::len)
    }
}

impl Default for Base64 {
    fn default() -> Base64 {
        Base64(Ok(Vec::new()))
    }
}

impl From<&str> for Base64 {
    fn from(text: &str) -> Base64 {
        Base64(match text.contains(['\r', '\n']) {
            true => STANDARD.decode(text.replace(['\r', '\n'], "")),
            false => STANDARD.decode(text),
        })
    }
}

impl<'de> Deserialize<'de> for Base64 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Base64, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = Base64;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Base64, E> {
                Ok(text.into())
            }
        }
        deserializer.deserialize_str(Text)
    }
}

impl Serialize for Base64 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let octets = self.octets().map_err(S::Error::custom)?;
        serializer.collect_str(&Base64Display::new(octets, &STANDARD))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn octets_come_and_go_as_base64() {
        let read = |json: &str| serde_json::from_str::<Base64>(json).unwrap();
        for (json, octets) in [
            (r#""aGk=""#, &b"hi"[..]),
            (r#""aG\r\nk=""#, b"hi"),
            (r#""""#, b""),
            (r#""\/\/\/\/""#, b"\xff\xff\xff"),
        ] {
            assert_eq!(read(json).octets(), Ok(octets), "{json}");
            assert_eq!(read(json).length(), octets.len());
        }
        assert_eq!(
            serde_json::to_string(&read(r#""aG\nk=""#)).unwrap(),
            r#""aGk=""#
        );
        for wrong in [r#""aGk""#, r#""a k=""#, r#""aGk=aGk=""#] {
            assert!(read(wrong).octets().is_err(), "{wrong}");
            assert!(serde_json::to_string(&read(wrong)).is_err(), "{wrong}");
        }
        assert!(serde_json::from_str::<Base64>("7").is_err());
    }
}

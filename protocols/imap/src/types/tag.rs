//! The tag of a command, repeated in its last response. RFC 9051 2.2.1.

use std::fmt;

use crate::grammar::chars;
use crate::limits::TAG_MAX;

/// `tag = 1*<any ASTRING-CHAR except "+">`, at most [`TAG_MAX`] octets of ASCII.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Tag(Box<str>);

impl Tag {
    /// The tag, if the octets are one.
    pub fn new(octets: &[u8]) -> Option<Self> {
        if octets.is_empty()
            || octets.len() > TAG_MAX
            || !octets.iter().all(|&octet| chars::is_tag(octet))
        {
            return None;
        }
        // Tag characters are ASCII, so this never fails.
        std::str::from_utf8(octets)
            .ok()
            .map(|text| Self(text.into()))
    }

    /// The tag as the client wrote it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

//! Message data on its way out: dots are stuffed, and nothing but CRLF ends a line.
//! RFC 5321 4.5.2 (dots), 2.3.8 (no bare CR or LF leaves us: a server that takes them for line ends could be deceived).

use memchr::memchr2;

/// The message holds a CR or LF that is not part of a CRLF; it cannot be sent with DATA.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("bare CR or LF in message")]
pub struct BareCrOrLf;

/// State of one message between its pieces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stuffing {
    LineStart,
    Middle,
    /// After a CR: only LF may come.
    Cr,
}

impl Stuffing {
    /// Appends `content` with its dots doubled. On an error, part of it may be written: the connection must be dropped,
    /// not the data ended.
    pub fn write(&mut self, content: &[u8], output: &mut Vec<u8>) -> Result<(), BareCrOrLf> {
        output.reserve(content.len());
        let mut copied = 0;
        let mut at = 0;
        if *self == Stuffing::Cr && !content.is_empty() {
            if content[0] != b'\n' {
                return Err(BareCrOrLf);
            }
            at = 1;
            *self = Stuffing::LineStart;
        }
        loop {
            let rest = &content[at..];
            let Some(&first) = rest.first() else { break };
            if *self == Stuffing::LineStart && first == b'.' {
                output.extend_from_slice(&content[copied..at]);
                output.push(b'.');
                copied = at;
            }
            *self = Stuffing::Middle;
            let Some(found) = memchr2(b'\r', b'\n', rest) else {
                break;
            };
            match (rest[found], rest.get(found + 1)) {
                (b'\r', Some(b'\n')) => {
                    *self = Stuffing::LineStart;
                    at += found + 2;
                }
                (b'\r', None) => {
                    *self = Stuffing::Cr;
                    break;
                }
                _ => return Err(BareCrOrLf),
            }
        }
        output.extend_from_slice(&content[copied..]);
        Ok(())
    }

    /// Appends the end of data, completing a last line that has no CRLF.
    pub fn end(self, output: &mut Vec<u8>) -> Result<(), BareCrOrLf> {
        match self {
            Stuffing::LineStart => output.extend_from_slice(b".\r\n"),
            Stuffing::Middle => output.extend_from_slice(b"\r\n.\r\n"),
            Stuffing::Cr => return Err(BareCrOrLf),
        }
        Ok(())
    }
}

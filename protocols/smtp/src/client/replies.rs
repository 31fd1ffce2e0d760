//! Replies of a server, read line by line across any cut. Input is not trusted.
//!
//! ```text
//! Reply-line = *( Reply-code "-" [ textstring ] CRLF ) Reply-code [ SP textstring ] CRLF
//! Reply-code = %x32-35 %x30-35 %x30-39
//! ```
//! RFC 5321 4.2. Leniency: a line may end in LF alone; nothing of a reply is passed on as a line of another protocol.

use std::borrow::Cow;

use memchr::memchr;

use crate::limits::{REPLY_LINE_READ_MAX, REPLY_LINES_READ_MAX, REPLY_TEXT_READ_MAX};
use crate::reply::{Code, EnhancedStatus, Reply};

/// Why what the server sends is no reply. The connection cannot be used any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReplyError {
    /// No code, or not the one of the lines before.
    #[error("malformed reply")]
    Malformed,
    /// A line over [`REPLY_LINE_READ_MAX`] octets.
    #[error("reply line too long")]
    LineTooLong,
    /// More than [`REPLY_LINES_READ_MAX`] lines.
    #[error("reply with too many lines")]
    TooManyLines,
}

/// Collects one reply after the other.
#[derive(Debug, Default)]
pub(super) struct ReplyReader {
    /// Beginning of a line whose end is not there yet.
    line: Vec<u8>,
    /// Code and text of the lines before, of a reply that is not complete.
    lines: usize,
    code: Option<Code>,
    enhanced: Option<EnhancedStatus>,
    text: String,
}

impl ReplyReader {
    /// Takes input up to the end of a reply; says how much of it is used up.
    pub fn receive(&mut self, input: &[u8]) -> (usize, Result<Option<Reply>, ReplyError>) {
        let mut used = 0;
        while let Some(end) = memchr(b'\n', &input[used..]) {
            let piece = &input[used..used + end];
            used += end + 1;
            let complete = if self.line.is_empty() {
                self.take_line(piece)
            } else {
                self.line.extend_from_slice(piece);
                let line = std::mem::take(&mut self.line);
                self.take_line(&line)
            };
            match complete {
                Ok(false) => {}
                Ok(true) => return (used, Ok(self.finish())),
                Err(error) => return (used, Err(error)),
            }
        }
        self.line.extend_from_slice(&input[used..]);
        let result = if self.line.len() > REPLY_LINE_READ_MAX {
            Err(ReplyError::LineTooLong)
        } else {
            Ok(None)
        };
        (input.len(), result)
    }

    /// Whether a reply has begun whose end is not there yet.
    pub fn has_begun(&self) -> bool {
        !self.line.is_empty() || self.code.is_some()
    }

    /// Takes a line without LF; says whether the reply is complete.
    fn take_line(&mut self, line: &[u8]) -> Result<bool, ReplyError> {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.len() > REPLY_LINE_READ_MAX {
            return Err(ReplyError::LineTooLong);
        }
        let code = line.get(..3).and_then(code).ok_or(ReplyError::Malformed)?;
        let last = match line.get(3) {
            None | Some(b' ') => true,
            Some(b'-') => false,
            Some(_) => return Err(ReplyError::Malformed),
        };
        if self.code.is_some_and(|before| before != code) {
            return Err(ReplyError::Malformed);
        }
        self.lines += 1;
        if self.lines > REPLY_LINES_READ_MAX {
            return Err(ReplyError::TooManyLines);
        }
        let text = String::from_utf8_lossy(line.get(4..).unwrap_or_default());
        self.take_text(code, &text);
        self.code = Some(code);
        Ok(last)
    }

    /// RFC 2034 4: the status stands on each line; it is kept once. Its class must be that of the code.
    fn take_text(&mut self, code: Code, text: &str) {
        let status = EnhancedStatus::split(text)
            .filter(|(status, _)| u16::from(status.class) == code.number() / 100);
        let rest = status.map_or(text, |(_, rest)| rest);
        if self.code.is_none() {
            self.enhanced = status.map(|(status, _)| status);
        }
        let rest = if self.enhanced.is_some() { rest } else { text };
        if self.text.len() + rest.len() < REPLY_TEXT_READ_MAX {
            if self.code.is_some() {
                self.text.push('\n');
            }
            self.text.push_str(rest);
        }
    }

    fn finish(&mut self) -> Option<Reply> {
        self.lines = 0;
        let text = Cow::Owned(std::mem::take(&mut self.text));
        Some(Reply {
            code: self.code.take()?,
            enhanced: self.enhanced.take(),
            text,
        })
    }
}

fn code(digits: &[u8]) -> Option<Code> {
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Code::new(
        digits
            .iter()
            .fold(0, |number, &octet| number * 10 + u16::from(octet - b'0')),
    )
}

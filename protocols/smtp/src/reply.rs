//! Replies: what they are and how they are written.
//!
//! The replies that the server can give are named constructors in `reply_table.rs`.
//! RFC 5321 4.2, RFC 3463 (enhanced status), RFC 2034 (where they stand).
//! Not here: which of them answers what (`server`, and the doors above).

use std::borrow::Cow;
use std::fmt;

use crate::limits::{REPLY_LINE_MAX, REPLY_SPLIT_COLUMN};

/// A reply code of three digits, RFC 5321 4.2.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Code(u16);

impl Code {
    /// Makes a code of 200 to 599.
    pub const fn new(number: u16) -> Option<Self> {
        if number >= 200 && number <= 599 {
            Some(Code(number))
        } else {
            None
        }
    }

    /// The number.
    pub const fn number(self) -> u16 {
        self.0
    }

    /// 2yz: done.
    pub const fn is_positive(self) -> bool {
        self.0 / 100 == 2
    }

    /// 3yz: go on.
    pub const fn is_intermediate(self) -> bool {
        self.0 / 100 == 3
    }

    /// 4yz: try again later.
    pub const fn is_transient(self) -> bool {
        self.0 / 100 == 4
    }

    /// 5yz: do not try again.
    pub const fn is_permanent(self) -> bool {
        self.0 / 100 == 5
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:03}", self.0)
    }
}

/// An enhanced status code, RFC 3463 2: `class "." subject "." detail`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct EnhancedStatus {
    /// 2, 4 or 5.
    pub class: u8,
    /// 0 to 999.
    pub subject: u16,
    /// 0 to 999.
    pub detail: u16,
}

impl EnhancedStatus {
    /// Puts the parts together.
    pub const fn new(class: u8, subject: u16, detail: u16) -> Self {
        EnhancedStatus {
            class,
            subject,
            detail,
        }
    }

    /// Parses the start of a reply text: the status, and what follows it.
    pub fn split(text: &str) -> Option<(Self, &str)> {
        let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
        let mut parts = word.split('.');
        let (class, subject, detail) = (
            parts.next()?,
            number(parts.next()?)?,
            number(parts.next()?)?,
        );
        let class = match class {
            "2" => 2,
            "4" => 4,
            "5" => 5,
            _ => return None,
        };
        if parts.next().is_some() {
            return None;
        }
        Some((
            EnhancedStatus {
                class,
                subject,
                detail,
            },
            rest,
        ))
    }
}

/// RFC 3463 2: 1*3DIGIT.
fn number(digits: &str) -> Option<u16> {
    if digits.is_empty() || digits.len() > 3 || !digits.bytes().all(|octet| octet.is_ascii_digit())
    {
        return None;
    }
    digits.parse().ok()
}

impl fmt::Display for EnhancedStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.class, self.subject, self.detail)
    }
}

/// One reply, of one or more lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The three digits.
    pub code: Code,
    /// Written after the code on each line. RFC 2034 4: not on 3yz, the banner, and the answer to EHLO.
    pub enhanced: Option<EnhancedStatus>,
    /// For humans; `\n` begins a new line. Anything but printable ASCII is written as `?`.
    pub text: Cow<'static, str>,
}

impl Reply {
    /// A reply with an enhanced status. For what has no constructor here, as the texts that an administrator sets.
    ///
    /// Panics if `code` is not 200 to 599: codes are constants of the program.
    pub fn new(
        code: u16,
        (class, subject, detail): (u8, u16, u16),
        text: impl Into<Cow<'static, str>>,
    ) -> Self {
        let code = Code::new(code).expect("reply codes are constants between 200 and 599");
        Reply {
            code,
            enhanced: Some(EnhancedStatus::new(class, subject, detail)),
            text: text.into(),
        }
    }

    pub(crate) fn plain(code: u16, text: impl Into<Cow<'static, str>>) -> Self {
        let code = Code::new(code).expect("reply codes are constants between 200 and 599");
        Reply {
            code,
            enhanced: None,
            text: text.into(),
        }
    }

    /// The same reply with another text.
    pub fn with_text(mut self, text: impl Into<Cow<'static, str>>) -> Self {
        self.text = text.into();
        self
    }

    /// 2yz.
    pub fn is_positive(&self) -> bool {
        self.code.is_positive()
    }

    /// Appends the reply with CRLF. On errors (4yz, 5yz) a `connection_id` that is not empty ends the text in
    /// parentheses, so that users can quote it. No line is longer than 512 octets (RFC 5321 4.5.3.1.5).
    pub fn write_to(&self, connection_id: &str, output: &mut Vec<u8>) {
        let id = if self.code.number() >= 400 {
            connection_id
        } else {
            ""
        };
        let prefix = "250-5.123.123 ".len();
        if self.text.len() + id.len() + 3 + prefix <= REPLY_LINE_MAX && !self.text.contains('\n') {
            self.write_line(&[&self.text], id, b' ', output);
            return;
        }
        let text = if id.is_empty() {
            self.text.clone()
        } else {
            format!("{} ({id})", self.text).into()
        };
        let text = printable(&text);
        let mut lines = text
            .split('\n')
            .map(|line| line.trim_end_matches('\r'))
            .flat_map(split_line)
            .peekable();
        while let Some(line) = lines.next() {
            let separator = if lines.peek().is_some() { b'-' } else { b' ' };
            self.write_line(&[line], "", separator, output);
        }
    }

    fn write_line(&self, parts: &[&str], id: &str, separator: u8, output: &mut Vec<u8>) {
        let code = self.code.number();
        output.extend_from_slice(&[digit(code / 100), digit(code / 10), digit(code), separator]);
        if let Some(EnhancedStatus {
            class,
            subject,
            detail,
        }) = self.enhanced
        {
            output.extend_from_slice(&[digit(class.into()), b'.']);
            write_number(subject, output);
            output.push(b'.');
            write_number(detail, output);
            output.push(b' ');
        }
        for part in parts {
            output.extend(part.bytes().map(printable_octet));
        }
        if !id.is_empty() {
            output.extend_from_slice(b" (");
            output.extend(id.bytes().map(printable_octet));
            output.push(b')');
        }
        output.extend_from_slice(b"\r\n");
    }
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.enhanced {
            Some(enhanced) => write!(f, "{} {enhanced} {}", self.code, self.text),
            None => write!(f, "{} {}", self.code, self.text),
        }
    }
}

fn digit(number: u16) -> u8 {
    b'0' + (number % 10) as u8
}

fn write_number(number: u16, output: &mut Vec<u8>) {
    let number = number.min(999);
    if number >= 100 {
        output.push(digit(number / 100));
    }
    if number >= 10 {
        output.push(digit(number / 10));
    }
    output.push(digit(number));
}

/// RFC 5321 4.2: `textstring = 1*(%d09 / %d32-126)`.
fn printable_octet(octet: u8) -> u8 {
    if matches!(octet, b'\t' | b' '..=b'~') {
        octet
    } else {
        b'?'
    }
}

fn printable(text: &str) -> String {
    text.chars()
        .map(|c| {
            if matches!(c, '\t' | '\n' | '\r' | ' '..='~') {
                c
            } else {
                '?'
            }
        })
        .collect()
}

/// Cuts a line of ASCII at a space after column [`REPLY_SPLIT_COLUMN`], or where it must end.
fn split_line(line: &str) -> impl Iterator<Item = &str> {
    // Room for "250-5.123.123 " before the text.
    let text_max = REPLY_LINE_MAX - 14;
    let mut rest = Some(line);
    std::iter::from_fn(move || {
        let line = rest?;
        if line.len() <= text_max {
            rest = None;
            return Some(line);
        }
        let space = line[REPLY_SPLIT_COLUMN..text_max]
            .find(' ')
            .map(|at| REPLY_SPLIT_COLUMN + at);
        let (head, tail) = line.split_at(space.unwrap_or(text_max));
        rest = Some(tail.trim_start_matches(' '));
        Some(head)
    })
}

#[cfg(test)]
#[path = "reply_tests.rs"]
mod tests;

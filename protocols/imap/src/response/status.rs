//! Status responses and continuations, RFC 9051 7.1 and 7.6.

use super::Code;
use crate::types::Tag;

/// The word of a status response.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Condition {
    /// OK
    Ok,
    /// NO
    No,
    /// BAD
    Bad,
    /// PREAUTH, only as a greeting
    PreAuth,
    /// BYE, only untagged
    Bye,
}

impl Condition {
    /// The word itself.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::No => "NO",
            Self::Bad => "BAD",
            Self::PreAuth => "PREAUTH",
            Self::Bye => "BYE",
        }
    }
}

/// response-tagged = tag SP resp-cond-state CRLF
pub fn tagged(
    out: &mut Vec<u8>,
    tag: &Tag,
    condition: Condition,
    code: Option<&Code<'_>>,
    text: &str,
) {
    out.extend_from_slice(tag.as_str().as_bytes());
    status(out, condition, code, text);
}

/// `"*" SP (resp-cond-state / resp-cond-bye / resp-cond-auth) CRLF`
pub fn untagged(out: &mut Vec<u8>, condition: Condition, code: Option<&Code<'_>>, text: &str) {
    out.push(b'*');
    status(out, condition, code, text);
}

/// NO, BAD or BYE; untagged without a tag. The number of the connection ends the text in parentheses, unless it is empty: whoever runs
/// the server finds the lines of the log by it.
pub fn refusal(
    out: &mut Vec<u8>,
    tag: Option<&Tag>,
    condition: Condition,
    code: Option<&Code<'_>>,
    text: &str,
    connection_id: &str,
) {
    out.extend_from_slice(tag.map_or("*", Tag::as_str).as_bytes());
    if connection_id.is_empty() {
        status(out, condition, code, text);
    } else {
        status(out, condition, code, &format!("{text} ({connection_id})"));
    }
}

/// continue-req = "+" SP resp-text CRLF
pub fn continuation(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(b"+ ");
    push_text(out, text);
    out.extend_from_slice(b"\r\n");
}

/// continue-req = "+" SP base64 CRLF
pub fn challenge(out: &mut Vec<u8>, octets: &[u8]) {
    out.extend_from_slice(b"+ ");
    super::strings::push_base64(out, octets);
    out.extend_from_slice(b"\r\n");
}

/// resp-text = ["[" resp-text-code "]" SP] [text]
fn status(out: &mut Vec<u8>, condition: Condition, code: Option<&Code<'_>>, text: &str) {
    out.push(b' ');
    out.extend_from_slice(condition.as_str().as_bytes());
    out.push(b' ');
    if let Some(code) = code {
        out.push(b'[');
        code.write_to(out);
        out.extend_from_slice(b"] ");
    }
    // RFC 3501 9: text has at least one character.
    push_text(out, if text.is_empty() { "done" } else { text });
    out.extend_from_slice(b"\r\n");
}

/// Text cannot hold line ends or NUL: they become spaces. What is not ASCII becomes `?`, as not every client has enabled UTF-8.
/// Braces become parentheses: clients take `{5}` at the end of any line for the head of a literal, and would wait for it.
fn push_text(out: &mut Vec<u8>, text: &str) {
    let safe = |character: char| match character {
        '{' => b'(',
        '}' => b')',
        ' '..='~' => character as u8,
        character if character.is_control() => b' ',
        _ => b'?',
    };
    out.extend(text.chars().map(safe));
}

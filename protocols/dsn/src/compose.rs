//! Writing a report: multipart/report with a text for people, the status for programs, and the original or its header.
//! Called by the queue when mail failed, is late or arrived. What servers said and the original are untrusted: nothing of them can begin a line or
//! a field, and every length is bounded. The original's body never passes through here: the caller puts it between `head` and `tail`.
//! RFC 3464, RFC 6522, RFC 3461 4.3 and 6 (RET, the parts), RFC 6533 4 (UTF-8), RFC 3834 5 (Auto-Submitted).
//! Not here: whether a report is due (`envelope.rs`), the envelope it travels in, signatures.

mod original;
mod status;
mod text;

use std::net::IpAddr;

use message::compose::FieldWriter;
use message::{Header, MessageDate};
use smtp::{Address, EnhancedStatus, EnvelopeId, OriginalRecipient, Reply, Return};

use crate::action::Action;
use crate::class::Bounce;
use crate::limits;
pub use original::{BodyKind, Original, Wanted};

/// A report to be written, about one message and at least one recipient.
#[derive(Clone, Copy, Debug)]
pub struct Report<'a> {
    /// Who writes it, with a name for people: `Mail Delivery System`, `mailer-daemon@our.host`.
    pub from: (&'a str, &'a Address),
    /// The reverse-path of the original.
    pub to: &'a Address,
    /// Now.
    pub date: MessageDate,
    /// Message-ID of the report, with its brackets.
    pub message_id: &'a str,
    /// For the boundary. Nobody can foresee it, so no original can hold it.
    pub random: [u8; 16],
    /// Our host.
    pub reporting_mta: &'a str,
    /// The host we have the message from.
    pub received_from: Option<&'a str>,
    /// When we got it.
    pub arrival: Option<MessageDate>,
    /// ENVID.
    pub envelope_id: Option<&'a EnvelopeId>,
    /// HOLDFOR or HOLDUNTIL, as `for;3600` or `until;2026-01-01T00:00:00Z` (RFC 4865 5.1).
    pub future_release: Option<&'a str>,
    /// What became of the recipients.
    pub outcomes: &'a [Outcome<'a>],
    /// The message.
    pub original: Original<'a>,
    /// RET; always [`Return::Headers`] for a message with REQUIRETLS (RFC 8689 5).
    pub returning: Option<Return>,
    /// What the way to the sender carries.
    pub way: Way,
}

/// What the way to the sender carries; a local mailbox carries everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// ASCII alone.
    SevenBit,
    /// Bodies with 8 bits (RFC 6152).
    EightBit,
    /// Headers in UTF-8, too (RFC 6531).
    Utf8,
}

/// What became of one recipient.
#[derive(Clone, Copy, Debug)]
pub struct Outcome<'a> {
    /// The address we tried.
    pub recipient: &'a Address,
    /// ORCPT.
    pub original: Option<&'a OriginalRecipient>,
    /// What happened.
    pub action: Action,
    /// Why, as a number.
    pub status: EnhancedStatus,
    /// The host that said it.
    pub remote: Option<RemoteMta<'a>>,
    /// What it said, or what we found.
    pub diagnostic: Option<Diagnostic<'a>>,
    /// When we last tried.
    pub last_attempt: Option<MessageDate>,
    /// How long we go on trying; only with [`Action::Delayed`].
    pub retry_until: Option<MessageDate>,
    /// Our name for it in the log.
    pub log_id: Option<&'a str>,
}

/// A host that took part.
#[derive(Clone, Copy, Debug)]
pub struct RemoteMta<'a> {
    /// Its name.
    pub name: &'a str,
    /// The address we spoke to.
    pub address: Option<IpAddr>,
}

/// Why, in words.
#[derive(Clone, Copy, Debug)]
pub enum Diagnostic<'a> {
    /// The reply of the remote server.
    Reply(&'a Reply),
    /// Our own words, where no server replied.
    Own(&'a str),
}

/// A written report: `head`, the body of the original if it is wanted, `tail`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Composed {
    /// All up to the body of the original.
    pub head: Vec<u8>,
    /// Whether that body follows, every octet of it, with CRLF line ends.
    pub wanted: Wanted,
    /// What comes last.
    pub tail: Vec<u8>,
    /// True if the whole has octets above 127: it needs 8BITMIME.
    pub is_eight_bit: bool,
    /// True if its header or that of a part has: it needs SMTPUTF8.
    pub is_internationalized: bool,
}

/// Why no report can be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ComposeError {
    /// Nothing to report.
    #[error("a report needs at least one recipient")]
    NoRecipient,
    /// The sender has an address in UTF-8 and the way carries none.
    #[error("the sender's address needs SMTPUTF8")]
    NeedsSmtputf8,
}

impl Report<'_> {
    /// Writes it. Of more than [`limits::RECIPIENTS_MAX`] outcomes the first are reported.
    pub fn compose(&self) -> Result<Composed, ComposeError> {
        let outcomes = &self.outcomes[..self.outcomes.len().min(limits::RECIPIENTS_MAX)];
        if outcomes.is_empty() {
            return Err(ComposeError::NoRecipient);
        }
        if self.needs_smtputf8() && self.way != Way::Utf8 {
            return Err(ComposeError::NeedsSmtputf8);
        }
        let boundary = boundary(self.random);
        let text = text::part(self, outcomes);
        let status = status::part(self, outcomes);
        let has_failed = outcomes.iter().any(|o| o.action == Action::Failed);
        let returned = original::part(&self.original, self.returning, has_failed, self.way);
        let is_eight_bit = status.is_eight_bit || returned.is_eight_bit || text.is_eight_bit;
        let mut head = self.header(&boundary, outcomes, is_eight_bit).into_bytes();
        let is_internationalized = !head.is_ascii() || returned.is_internationalized;
        head.extend_from_slice(
            b"This is a report about a message, for people and for programs.\r\n",
        );
        for piece in [&text, &status, &returned] {
            head.extend_from_slice(format!("\r\n--{boundary}\r\n").as_bytes());
            head.extend_from_slice(piece.fields.as_bytes());
            head.extend_from_slice(b"\r\n");
            head.extend_from_slice(&piece.body);
        }
        Ok(Composed {
            is_eight_bit: is_eight_bit || is_internationalized,
            is_internationalized,
            head,
            wanted: returned.wanted,
            tail: format!("\r\n--{boundary}--\r\n").into_bytes(),
        })
    }

    fn needs_smtputf8(&self) -> bool {
        self.to.needs_smtputf8() || self.from.1.needs_smtputf8()
    }

    /// The header of the report, with its empty line.
    fn header(&self, boundary: &str, outcomes: &[Outcome<'_>], is_eight_bit: bool) -> String {
        let mut header = message::compose::date_field(self.date);
        let mut from = FieldWriter::new("From");
        from.word(&quoted(&clean(self.from.0, Charset::Ascii)));
        from.word(&format!("<{}>", self.from.1));
        header += &from.end();
        header += &format!("To: <{}>\r\n", self.to);
        header += &self.subject(outcomes);
        header += &message::compose::message_id_field(self.message_id);
        if let Some(id) = original_message_id(self.original.header) {
            header += &format!("In-Reply-To: {id}\r\nReferences: {id}\r\n");
        }
        // RFC 3834 5; RFC 3464 2: a report must not be answered by another.
        header += "Auto-Submitted: auto-replied\r\nMIME-Version: 1.0\r\n";
        header += &format!(
            "Content-Type: multipart/report; report-type=delivery-status;\r\n\tboundary=\"{boundary}\"\r\n"
        );
        if is_eight_bit {
            header += "Content-Transfer-Encoding: 8bit\r\n";
        }
        header + "\r\n"
    }

    fn subject(&self, outcomes: &[Outcome<'_>]) -> String {
        let any = |action| outcomes.iter().any(|o| o.action == action);
        let what = if any(Action::Failed) {
            "Mail could not be delivered to"
        } else if any(Action::Delayed) {
            "Mail is not delivered yet to"
        } else if any(Action::Delivered) {
            "Mail was delivered to"
        } else {
            "Mail was passed on to"
        };
        let mut field = FieldWriter::new("Subject");
        field.words(what);
        match outcomes {
            [one] if self.may_show(one.recipient) => field.word(&one.recipient.to_string()),
            [_] => field.words("one recipient"),
            several => field.words(&format!("{} recipients", several.len())),
        }
        field.end()
    }

    /// Whether an address may stand in the header as it is.
    fn may_show(&self, address: &Address) -> bool {
        let text = address.to_string();
        (text.is_ascii() || self.way == Way::Utf8) && !text.contains(char::is_whitespace)
    }
}

/// A part of the report.
pub(crate) struct Piece {
    /// Its header fields, each with CRLF.
    fields: String,
    body: Vec<u8>,
    is_eight_bit: bool,
    is_internationalized: bool,
    wanted: Wanted,
}

impl Piece {
    fn new(fields: String, body: Vec<u8>) -> Self {
        Self {
            fields,
            is_eight_bit: !body.is_ascii(),
            body,
            is_internationalized: false,
            wanted: Wanted::Nothing,
        }
    }
}

impl Outcome<'_> {
    /// The judgement of what was said.
    fn bounce(&self) -> Bounce {
        match self.diagnostic {
            Some(Diagnostic::Reply(reply)) => Bounce::of(
                Some(reply.code),
                reply.enhanced.or(Some(self.status)),
                &reply.text,
            ),
            Some(Diagnostic::Own(text)) => Bounce::of(None, Some(self.status), text),
            None => Bounce::of(None, Some(self.status), ""),
        }
    }
}

/// What a piece of text may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Charset {
    /// Others become `?`.
    Ascii,
    Utf8,
}

/// Text from outside in one line: no control characters, single spaces, words that fit a line, bounded.
pub(crate) fn clean(text: &str, charset: Charset) -> String {
    let mut line = String::new();
    let words = text.split(|c: char| c.is_whitespace() || c.is_control());
    for word in words.filter(|word| !word.is_empty()) {
        let letters: Vec<char> = word.chars().map(|c| letter(c, charset)).collect();
        for piece in letters.chunks(limits::WORD_MAX) {
            if line.len() >= limits::DIAGNOSTIC_MAX {
                return line;
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line.extend(piece);
        }
    }
    line
}

fn letter(letter: char, charset: Charset) -> char {
    // Marks that turn the direction of writing could show one address as another.
    let turns = matches!(letter, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    if turns || charset == Charset::Ascii && !letter.is_ascii() {
        '?'
    } else {
        letter
    }
}

/// RFC 5322 3.2.4: quoted-string.
fn quoted(text: &str) -> String {
    let inner: String = text.chars().filter(|c| !matches!(c, '"' | '\\')).collect();
    format!("\"{inner}\"")
}

/// RFC 2046 5.1.1: at most 70 characters of a small set.
fn boundary(random: [u8; 16]) -> String {
    let digits: String = random.iter().map(|octet| format!("{octet:02x}")).collect();
    format!("=_report_{digits}")
}

/// The Message-ID of the original, if it can be referred to: RFC 5322 3.6.4.
fn original_message_id(header: &[u8]) -> Option<String> {
    let header = &header[..header.len().min(limits::RETURNED_HEADER_MAX)];
    let value = Header::of_section(header).first("Message-ID")?;
    let value = value.unfolded();
    let start = value.iter().position(|b| *b == b'<')?;
    let end = start + value[start..].iter().position(|b| *b == b'>')?;
    let id = &value[start..=end];
    let fits = id.len() <= limits::MESSAGE_ID_MAX
        && id.contains(&b'@')
        && id.iter().all(u8::is_ascii_graphic);
    fits.then(|| String::from_utf8_lossy(id).into_owned())
}

#[cfg(test)]
mod tests;

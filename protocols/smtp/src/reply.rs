//! Replies: what they are, how they are written, and by which rule each is sent.
//!
//! Every code and text that the server can say is a named constructor here, with its source. Text is for humans and never
//! tells paths, internals, or whether an account exists beyond what its code says.
//! RFC 5321 4.2, RFC 3463 (enhanced status), RFC 2034 (where they stand), RFC 4954 6, RFC 3207 4, RFC 6531 3.5.
//! Not here: which of them answers what (`server`, and the doors above).

use std::borrow::Cow;
use std::fmt;

use crate::address::PathError;
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

    fn plain(code: u16, text: impl Into<Cow<'static, str>>) -> Self {
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

/// What the session says by itself, and what doors say most.
impl Reply {
    /// The greeting. RFC 5321 4.2: the host name comes first; monitoring looks for ESMTP; no version number.
    pub fn banner(hostname: &str) -> Self {
        Reply::plain(220, format!("{hostname} ESMTP ringmail"))
    }

    /// RFC 5321 4.1.1.10: answer to QUIT.
    pub fn closing() -> Self {
        Reply::new(221, (2, 0, 0), "goodbye")
    }

    /// RFC 5321 4.2.3: done, nothing more to say.
    pub fn ok() -> Self {
        Reply::new(250, (2, 0, 0), "ok")
    }

    /// Accepts EHLO or HELO; the session writes the extension list itself.
    pub fn hello_accepted() -> Self {
        Reply::plain(250, "hello")
    }

    /// RFC 5321 4.1.1.2, RFC 3463 3.2: X.1.0.
    pub fn sender_ok() -> Self {
        Reply::new(250, (2, 1, 0), "sender ok")
    }

    /// RFC 5321 4.1.1.3, RFC 3463 3.2: X.1.5, destination address valid.
    pub fn recipient_ok() -> Self {
        Reply::new(250, (2, 1, 5), "recipient ok")
    }

    /// RFC 5321 4.1.1.4: responsibility for the message is taken. Never before it is durable.
    pub fn message_accepted() -> Self {
        Reply::new(250, (2, 0, 0), "message accepted")
    }

    /// RFC 3030 2: each chunk gets its 250.
    pub fn chunk_received() -> Self {
        Reply::new(250, (2, 0, 0), "chunk received")
    }

    /// RFC 5321 4.1.1.4.
    pub fn start_mail_input() -> Self {
        Reply::plain(354, "end data with <CRLF>.<CRLF>")
    }

    /// RFC 5321 3.5.3: 252 for VRFY and EXPN of those who do not tell.
    pub fn cannot_verify() -> Self {
        Reply::new(252, (2, 7, 0), "cannot verify, send some mail and see")
    }

    /// RFC 5321 4.1.1.8.
    pub fn help() -> Self {
        Reply::new(214, (2, 0, 0), "see RFC 5321 (SMTP)")
    }

    /// RFC 3207 4.
    pub fn ready_to_start_tls() -> Self {
        Reply::new(220, (2, 0, 0), "ready to start TLS")
    }

    /// RFC 4954 4: a challenge is base64 alone; an empty one is `334 `.
    pub fn challenge(challenge: &[u8]) -> Self {
        Reply::plain(334, sasl::base64::encode(challenge))
    }

    /// RFC 4954 6.
    pub fn authenticated() -> Self {
        Reply::new(235, (2, 7, 0), "authenticated")
    }

    /// RFC 4954 6: the same for an unknown account and for a wrong password.
    pub fn authentication_failed() -> Self {
        Reply::new(535, (5, 7, 8), "authentication credentials invalid")
    }

    /// RFC 4954 6: trouble on our side.
    pub fn authentication_unavailable() -> Self {
        Reply::new(454, (4, 7, 0), "temporary authentication failure")
    }

    /// RFC 4954 6, RFC 5248 2.4: X.7.13, account disabled.
    pub fn login_disabled(text: impl Into<Cow<'static, str>>) -> Self {
        Reply::new(525, (5, 7, 13), text)
    }

    /// RFC 4954 6.
    pub fn encryption_needed_for_mechanism() -> Self {
        Reply::new(
            538,
            (5, 7, 11),
            "encryption required for this authentication mechanism",
        )
    }

    /// RFC 4954 4: 504 with 5.5.4.
    pub fn mechanism_unknown() -> Self {
        Reply::new(504, (5, 5, 4), "authentication mechanism not supported")
    }

    /// RFC 4954 4: `*`.
    pub fn authentication_cancelled() -> Self {
        Reply::new(501, (5, 5, 0), "authentication cancelled")
    }

    /// RFC 4954 4: 501 with 5.5.2.
    pub fn bad_base64(text: &'static str) -> Self {
        Reply::new(501, (5, 5, 2), text)
    }

    /// RFC 4954 4: the response is what the mechanism does not allow.
    pub fn bad_authentication_response() -> Self {
        Reply::new(501, (5, 5, 2), "malformed authentication response")
    }

    /// RFC 4954 4: 500 with 5.5.6.
    pub fn authentication_line_too_long() -> Self {
        Reply::new(500, (5, 5, 6), "authentication line too long")
    }

    /// RFC 4954 6: 530 with 5.7.0.
    pub fn authentication_required() -> Self {
        Reply::new(530, (5, 7, 0), "authentication required")
    }

    /// RFC 3207 4: 530 with 5.7.0.
    pub fn start_tls_required() -> Self {
        Reply::new(530, (5, 7, 0), "must issue a STARTTLS command first")
    }

    /// RFC 3207 4: 454.
    pub fn tls_not_available() -> Self {
        Reply::new(454, (4, 7, 0), "TLS not available due to temporary reason")
    }

    /// The first command says that the peer speaks something else.
    pub fn not_smtp() -> Self {
        Reply::new(500, (5, 5, 2), "please try again speaking smtp")
    }

    /// RFC 5321 4.2.4.
    pub fn unknown_command() -> Self {
        Reply::new(500, (5, 5, 1), "unknown command")
    }

    /// RFC 5321 4.2.4: 502 for what we know and do not do here.
    pub fn command_not_implemented() -> Self {
        Reply::new(502, (5, 5, 1), "command not implemented")
    }

    /// RFC 5321 4.2.2: 500, syntax error.
    pub fn bad_syntax(text: &'static str) -> Self {
        Reply::new(500, (5, 5, 2), text)
    }

    /// RFC 5321 2.3.8: a line ends in CRLF and in nothing else.
    pub fn bare_line_feed() -> Self {
        Reply::new(500, (5, 5, 2), "line must end in CRLF")
    }

    /// RFC 5321 4.5.3.1.9: 500, line too long.
    pub fn line_too_long() -> Self {
        Reply::new(500, (5, 5, 2), "line too long")
    }

    /// RFC 5321 4.2.2: 501; RFC 3463 3.6: X.5.4, invalid command arguments.
    pub fn bad_arguments(text: &'static str) -> Self {
        Reply::new(501, (5, 5, 4), text)
    }

    /// RFC 3463 3.2: X.1.7, bad sender's mailbox address syntax.
    pub fn bad_reverse_path(error: PathError) -> Self {
        Reply::new(501, (5, 1, 7), error.to_string())
    }

    /// RFC 3463 3.2: X.1.3, bad destination mailbox address syntax.
    pub fn bad_forward_path(error: PathError) -> Self {
        Reply::new(501, (5, 1, 3), error.to_string())
    }

    /// RFC 5321 4.1.1.11.
    pub fn parameter_not_recognized(text: &'static str) -> Self {
        Reply::new(555, (5, 5, 4), text)
    }

    /// RFC 5321 4.1.4.
    pub fn bad_sequence(text: &'static str) -> Self {
        Reply::new(503, (5, 5, 1), text)
    }

    /// RFC 5321 3.3: DATA without an accepted recipient may get 554.
    pub fn no_valid_recipients() -> Self {
        Reply::new(554, (5, 5, 1), "no valid recipients")
    }

    /// RFC 2920 3.1: some commands must be the last of a group; what follows may be smuggled.
    pub fn synchronization_error() -> Self {
        Reply::new(
            554,
            (5, 5, 0),
            "input before the reply, protocol synchronization lost",
        )
    }

    /// RFC 6531 3.5: 550 with 5.6.7 for the sender.
    pub fn sender_needs_smtputf8() -> Self {
        Reply::new(550, (5, 6, 7), "address needs SMTPUTF8")
    }

    /// RFC 6531 3.5: 553 with 5.6.7 for a recipient.
    pub fn recipient_needs_smtputf8() -> Self {
        Reply::new(553, (5, 6, 7), "address needs SMTPUTF8")
    }

    /// RFC 1870 6.1 and 6.3: 552; RFC 3463 3.4: X.3.4, message too big for system.
    pub fn message_too_big() -> Self {
        Reply::new(552, (5, 3, 4), "message too big")
    }

    /// RFC 5321 4.5.3.1.10: 452; RFC 3463 3.6: X.5.3.
    pub fn too_many_recipients() -> Self {
        Reply::new(452, (4, 5, 3), "too many recipients")
    }

    /// A notification goes to one recipient: RFC 5321 6.1 and 4.5.5.
    pub fn one_recipient_for_notification() -> Self {
        Reply::new(452, (4, 5, 3), "one recipient only with null reverse-path")
    }

    /// RFC 5321 2.3.8 and 4.1.1.4.
    pub fn bare_cr_or_lf() -> Self {
        Reply::new(550, (5, 5, 2), "bare CR or LF in message")
    }

    /// RFC 5321 3.8: 421, the channel closes.
    pub fn too_many_errors() -> Self {
        Reply::new(421, (4, 7, 0), "too many errors")
    }

    /// RFC 5321 3.8, RFC 3463 3.4: X.3.2.
    pub fn shutting_down() -> Self {
        Reply::new(421, (4, 3, 2), "shutting down")
    }

    /// RFC 5321 4.5.3.2.7, RFC 3463 3.5: X.4.2.
    pub fn timeout() -> Self {
        Reply::new(421, (4, 4, 2), "timeout")
    }

    /// RFC 5321 3.8: rate or number of connections; `text` asks to slow down.
    pub fn try_later(text: &'static str) -> Self {
        Reply::new(421, (4, 7, 0), text)
    }

    /// RFC 5321 3.8: trouble on our side from which the session cannot go on.
    pub fn internal_error_closing() -> Self {
        Reply::new(421, (4, 3, 0), "internal error")
    }
}

/// What policy says about senders, recipients and messages.
impl Reply {
    /// RFC 3463 3.2: X.1.1, the mailbox does not exist.
    pub fn no_such_user() -> Self {
        Reply::new(550, (5, 1, 1), "no such user")
    }

    /// No relaying for strangers. RFC 5321 7.8, spec 1.8.
    pub fn domain_not_local() -> Self {
        Reply::new(550, (5, 1, 1), "not accepting email for domain")
    }

    /// An address literal is no local address.
    pub fn literal_not_accepted() -> Self {
        Reply::new(550, (5, 1, 1), "not accepting email for address literal")
    }

    /// RFC 3463 3.8: X.7.1, the account may not send as this.
    pub fn sender_not_allowed() -> Self {
        Reply::new(550, (5, 7, 1), "address does not belong to account")
    }

    /// RFC 3463 3.8: X.7.1; address literals as senders.
    pub fn sender_refused() -> Self {
        Reply::new(550, (5, 7, 0), "sender address not accepted")
    }

    /// RFC 5321 3.6.2 and 6.3, RFC 3463 3.5: X.4.6.
    pub fn loop_detected() -> Self {
        Reply::new(550, (5, 4, 6), "loop detected, too many Received fields")
    }

    /// RFC 5321 4.1.1.4: 451; our trouble.
    pub fn local_error() -> Self {
        Reply::new(451, (4, 3, 0), "error processing, try again later")
    }

    /// RFC 5321 4.1.1.4: 452; RFC 3463 3.4: X.3.1, mail system full.
    pub fn system_full() -> Self {
        Reply::new(452, (4, 3, 1), "system full")
    }

    /// RFC 3463 3.3: X.2.2, mailbox full.
    pub fn mailbox_full() -> Self {
        Reply::new(452, (4, 2, 2), "mailbox full")
    }

    /// RFC 3463 3.3: X.2.1, mailbox disabled for now.
    pub fn recipient_disabled() -> Self {
        Reply::new(450, (4, 2, 1), "recipient temporarily disabled")
    }

    /// RFC 3463 3.7: X.6.0, the message is malformed.
    pub fn bad_message(text: impl Into<Cow<'static, str>>) -> Self {
        Reply::new(554, (5, 6, 0), text)
    }

    /// RFC 3463 3.8: X.7.1, a sending limit of the account.
    pub fn sending_limit() -> Self {
        Reply::new(451, (4, 7, 1), "sending limit reached")
    }

    /// Spec 1.3: a peer that only fails.
    pub fn too_many_failures() -> Self {
        Reply::new(550, (5, 1, 0), "too many failures")
    }

    /// HELO with a name that does not exist, spec 1.4.
    pub fn hello_name_unknown() -> Self {
        Reply::new(550, (5, 5, 0), "your HELO name does not exist")
    }
}

#[cfg(test)]
#[path = "reply_tests.rs"]
mod tests;

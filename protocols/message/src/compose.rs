//! Header fields that a server adds: Received, Return-Path, Delivered-To, Message-ID, Date. And counting them, against loops.
//! Lines are folded at 76 columns with CRLF TAB. Time and randomness are arguments. What a peer said (EHLO name, reverse name) is cleaned
//! before it is written, so that it cannot end a field or a comment.
//! RFC 5321 4.4 (trace), RFC 3848 and RFC 6531 3.7.3 (with types), RFC 8314 7.4 (tls comment), RFC 9228 (Delivered-To), RFC 5322 3.6.
//! Not here: Authentication-Results (`protocols/dkim` and its neighbours), whole messages.

use std::fmt::Write;
use std::net::IpAddr;

use crate::date::MessageDate;
use crate::header::Header;
use crate::limits;

/// The trace field of one hop.
#[derive(Clone, Debug)]
pub struct Received<'a> {
    /// Who handed over the message.
    pub source: ReceivedFrom<'a>,
    /// Our host name.
    pub by_host: &'a str,
    /// The local address of the connection.
    pub by_address: Option<IpAddr>,
    /// How it was handed over.
    pub with: WithProtocol,
    /// True if MAIL asked for REQUIRETLS (RFC 8689).
    pub require_tls: bool,
    /// The id of the transaction, as the logs name it.
    pub id: &'a str,
    /// Set if the connection was encrypted.
    pub tls: Option<TlsNames<'a>>,
    /// The recipient, as `localpart@domain`; left out when one copy serves several recipients.
    pub for_recipient: Option<&'a str>,
    /// When it was received.
    pub date: MessageDate,
}

/// The from clause.
#[derive(Clone, Debug)]
pub enum ReceivedFrom<'a> {
    /// A host that is not one of our users.
    Peer {
        /// What EHLO or HELO said.
        ehlo_name: &'a str,
        /// Its verified reverse name; written if it differs from the EHLO name.
        reverse_name: Option<&'a str>,
        /// Its address.
        address: IpAddr,
    },
    /// A submission: where our user was is nobody's business, so our own name stands there.
    Submission,
}

/// The with clause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WithProtocol {
    /// HELO, EHLO, or MAIL with SMTPUTF8.
    pub greeting: Greeting,
    /// The connection was encrypted.
    pub tls: bool,
    /// The client had authenticated.
    pub authenticated: bool,
}

/// Which SMTP was spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Greeting {
    /// After HELO.
    Smtp,
    /// After EHLO.
    Esmtp,
    /// With the SMTPUTF8 parameter.
    Utf8Smtp,
    /// None: it came by a web API.
    Http,
}

/// Names of the TLS session, e.g. `TLS1.3` and `TLS_AES_128_GCM_SHA256`.
#[derive(Clone, Copy, Debug)]
pub struct TlsNames<'a> {
    /// Protocol version.
    pub version: &'a str,
    /// Cipher suite.
    pub cipher: &'a str,
}

impl WithProtocol {
    /// The registered word: `ESMTPSA` and its kin.
    pub fn word(self) -> &'static str {
        // RFC 3848 registers no SMTPS or SMTPA: both need EHLO.
        match (self.greeting, self.tls, self.authenticated) {
            (Greeting::Smtp, ..) => "SMTP",
            (Greeting::Esmtp, false, false) => "ESMTP",
            (Greeting::Esmtp, false, true) => "ESMTPA",
            (Greeting::Esmtp, true, false) => "ESMTPS",
            (Greeting::Esmtp, true, true) => "ESMTPSA",
            (Greeting::Utf8Smtp, false, false) => "UTF8SMTP",
            (Greeting::Utf8Smtp, false, true) => "UTF8SMTPA",
            (Greeting::Utf8Smtp, true, false) => "UTF8SMTPS",
            (Greeting::Utf8Smtp, true, true) => "UTF8SMTPSA",
            // RFC 5321 4.4: Attdl-Protocol.
            (Greeting::Http, ..) => "HTTP",
        }
    }
}

impl Received<'_> {
    /// The whole field with its line end.
    // RFC 5321 4.4: Time-stamp-line = "Received:" FWS From-domain By-domain Opt-info [CFWS] ";" FWS date-time CRLF
    pub fn to_field(&self) -> String {
        let mut field = FieldWriter::new("Received");
        field.word("from");
        match &self.source {
            ReceivedFrom::Submission => field.word(&format!("({})", cleaned(self.by_host))),
            ReceivedFrom::Peer {
                ehlo_name,
                reverse_name,
                address,
            } => {
                field.word(&cleaned(ehlo_name));
                let differs = |name: &&&str| !name.eq_ignore_ascii_case(ehlo_name);
                match reverse_name.as_ref().filter(differs) {
                    Some(name) => {
                        field.word(&format!("({}", cleaned(name)));
                        field.word(&format!("{})", address_literal(*address)));
                    }
                    None => field.word(&format!("({})", address_literal(*address))),
                }
            }
        }
        field.word("by");
        field.word(&cleaned(self.by_host));
        if let Some(address) = self.by_address {
            field.word(&format!("({})", address_literal(address)));
        }
        for word in ["via", "tcp", "with", self.with.word()] {
            field.word(word);
        }
        if self.require_tls {
            field.word("(requiretls)");
        }
        field.word("id");
        field.word(&cleaned(self.id));
        if let Some(tls) = self.tls {
            field.word(&format!("({}", cleaned(tls.version)));
            field.word(&format!("{})", cleaned(tls.cipher)));
        }
        if let Some(recipient) = self.for_recipient {
            field.word("for");
            field.word(&format!("<{}>", one_line(recipient)));
        }
        field.text.push(';');
        field.words(&self.date.to_string());
        field.end()
    }
}

/// `Return-Path: <reverse-path>`, with an empty reverse-path for reports (RFC 5321 4.4).
pub fn return_path_field(reverse_path: &str) -> String {
    format!("Return-Path: <{}>\r\n", one_line(reverse_path))
}

/// `Delivered-To: address` (RFC 9228 3).
pub fn delivered_to_field(address: &str) -> String {
    format!("Delivered-To: {}\r\n", one_line(address))
}

/// `Date: ...` for a message that came without.
pub fn date_field(date: MessageDate) -> String {
    format!("Date: {date}\r\n")
}

/// A Message-ID with its brackets from 16 random octets, as base64url, and our host name (RFC 5322 3.6.4).
pub fn message_id(random: [u8; 16], host: &str) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let number = u128::from_be_bytes(random);
    // 21 digits of 6 bits, and the last 2 bits.
    let digits = (0..22).map(|place| {
        if place < 21 {
            number >> (122 - 6 * place)
        } else {
            number << 4
        }
    });
    let digits = digits.map(|digit| char::from(ALPHABET[(digit & 63) as usize]));
    format!("<{}@{}>", digits.collect::<String>(), cleaned(host))
}

/// `Message-ID: ...` for a message that came without.
pub fn message_id_field(message_id: &str) -> String {
    format!("Message-ID: {}\r\n", one_line(message_id))
}

/// How many hosts have handled the message (RFC 5321 6.3: a loop is suspected above 100).
pub fn received_count(header: Header<'_>) -> usize {
    header.all("Received").count()
}

/// True if the message was already delivered to that address: RFC 9228 4, a loop. ASCII case is ignored.
pub fn has_delivered_to(header: Header<'_>, address: &str) -> bool {
    header.all("Delivered-To").any(|field| {
        let value = field.unfolded();
        let value = value
            .strip_prefix(b"<")
            .and_then(|value| value.strip_suffix(b">"))
            .unwrap_or(&value);
        value.eq_ignore_ascii_case(address.as_bytes())
    })
}

/// Writes a field word by word and folds before a word that would pass column 76 (RFC 5322 2.2.3).
#[derive(Clone, Debug)]
pub struct FieldWriter {
    text: String,
    line_start: usize,
}

impl FieldWriter {
    /// A field of that name, without a value yet.
    pub fn new(name: &str) -> Self {
        Self {
            text: format!("{name}:"),
            line_start: 0,
        }
    }

    /// Adds a word after a space or a fold. A word longer than a line stays whole. The word must hold no line end.
    pub fn word(&mut self, word: &str) {
        let columns = self.text[self.line_start..].chars().count();
        // One column more is kept for a `;` after the word.
        if columns + 1 + word.chars().count() < limits::FOLD_COLUMN_MAX {
            self.text.push(' ');
        } else {
            self.text.push_str("\r\n\t");
            self.line_start = self.text.len() - 1;
        }
        self.text.push_str(word);
    }

    /// Adds each word of a text.
    pub fn words(&mut self, text: &str) {
        text.split_ascii_whitespace()
            .for_each(|word| self.word(word));
    }

    /// The field with its line end.
    pub fn end(mut self) -> String {
        self.text.push_str("\r\n");
        self.text
    }
}

// RFC 5321 4.1.3: "[" IPv4-address-literal / "IPv6:" IPv6-addr "]"
fn address_literal(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(address) => format!("[{address}]"),
        IpAddr::V6(address) => format!("[IPv6:{address}]"),
    }
}

/// A name from outside, fit to stand as a word in a field or comment.
fn cleaned(name: &str) -> String {
    let mut clean = String::with_capacity(name.len());
    for letter in name.chars().take(NAME_MAX) {
        let unfit = letter.is_control() || letter.is_whitespace() || "()<>\\;\",".contains(letter);
        // Writing to a String cannot fail.
        let _ = clean.write_char(if unfit { '?' } else { letter });
    }
    if clean.is_empty() {
        "unknown".into()
    } else {
        clean
    }
}

/// A path that the SMTP parser has checked; line ends are still never let through.
fn one_line(text: &str) -> String {
    text.chars().filter(|letter| !letter.is_control()).collect()
}

/// RFC 1035 2.3.4: a domain has at most 255 octets.
const NAME_MAX: usize = 255;

#[cfg(test)]
mod tests {
    use super::*;

    fn received() -> Received<'static> {
        Received {
            source: ReceivedFrom::Peer {
                ehlo_name: "mx.example.org",
                reverse_name: Some("host.example.net"),
                address: "192.0.2.1".parse().unwrap(),
            },
            by_host: "mail.example.com",
            by_address: Some("2001:db8::1".parse().unwrap()),
            with: WithProtocol {
                greeting: Greeting::Esmtp,
                tls: true,
                authenticated: false,
            },
            require_tls: true,
            id: "abc123",
            tls: Some(TlsNames {
                version: "TLS1.3",
                cipher: "TLS_AES_128_GCM_SHA256",
            }),
            for_recipient: Some("me@example.com"),
            date: MessageDate {
                unix_secs: 880_127_706,
                offset_minutes: -360,
            },
        }
    }

    #[test]
    fn received_in_full() {
        let expected = concat!(
            "Received: from mx.example.org (host.example.net [192.0.2.1]) by\r\n",
            "\tmail.example.com ([IPv6:2001:db8::1]) via tcp with ESMTPS (requiretls) id\r\n",
            "\tabc123 (TLS1.3 TLS_AES_128_GCM_SHA256) for <me@example.com>; Fri, 21 Nov\r\n",
            "\t1997 09:55:06 -0600\r\n",
        );
        assert_eq!(received().to_field(), expected);
        let header = Header::of_section(expected.as_bytes());
        assert_eq!(received_count(header), 1);
        assert_eq!(
            MessageDate::parse(header.first("Received").unwrap().value),
            Some(received().date)
        );
    }

    #[test]
    fn received_of_a_submission() {
        let with = WithProtocol {
            greeting: Greeting::Utf8Smtp,
            tls: true,
            authenticated: true,
        };
        let (tls, for_recipient, by_address) = (None, None, None);
        let submitted = Received {
            source: ReceivedFrom::Submission,
            with,
            tls,
            for_recipient,
            by_address,
            require_tls: false,
            ..received()
        };
        let expected = concat!(
            "Received: from (mail.example.com) by mail.example.com via tcp with\r\n",
            "\tUTF8SMTPSA id abc123; Fri, 21 Nov 1997 09:55:06 -0600\r\n",
        );
        assert_eq!(submitted.to_field(), expected);
    }

    #[test]
    fn received_from_a_liar() {
        let address = "::ffff:192.0.2.1".parse().unwrap();
        let source = ReceivedFrom::Peer {
            ehlo_name: "x) by\r\nBcc: <y>",
            reverse_name: Some("X) BY\r\nbcc: <Y>"),
            address,
        };
        let field = Received {
            source,
            ..received()
        }
        .to_field();
        assert!(
            field.starts_with("Received: from x??by??Bcc:??y? ([192.0.2.1]) by"),
            "{field}"
        );
        let long = "é".repeat(4000);
        let source = ReceivedFrom::Peer {
            ehlo_name: &long,
            reverse_name: None,
            address,
        };
        assert!(
            Received {
                source,
                ..received()
            }
            .to_field()
            .lines()
            .all(|line| line.len() < 998)
        );
    }

    #[test]
    fn small_fields() {
        assert_eq!(return_path_field(""), "Return-Path: <>\r\n");
        assert_eq!(
            delivered_to_field("a@b\r\nX: y"),
            "Delivered-To: a@bX: y\r\n"
        );
        assert_eq!(
            date_field(MessageDate::utc(0)),
            "Date: Thu, 1 Jan 1970 00:00:00 +0000\r\n"
        );
        assert_eq!(message_id([0xff; 16], "x"), "<_____________________w@x>");
        assert_eq!(message_id([0; 16], "x"), "<AAAAAAAAAAAAAAAAAAAAAA@x>");
        assert_eq!(message_id([0x12; 16], "x"), "<EhISEhISEhISEhISEhISEg@x>");
    }

    #[test]
    fn loops() {
        let header = Header::of_message(b"Delivered-To: <A@b>\r\nDelivered-To: c@d\r\n\r\n");
        assert!(
            has_delivered_to(header, "a@B")
                && has_delivered_to(header, "c@d")
                && !has_delivered_to(header, "e@f")
        );
    }
}

//! A message as a program wrote it, made fit to be submitted: line ends, the header's end, missing fields, Bcc, who it is from and to.
//! Pure: time and randomness are arguments. The text is the caller's: taken as it comes, and refused where it could not be sent as meant.
//! RFC 5322 3.6 (fields), 3.6.3 (Bcc), 3.6.6 (Resent fields), RFC 6409 8 (what may be added), RFC 5321 2.3.8 (bare CR), RFC 2047 (names).
//! Not here: SMTP (`submission.rs`), reading standard input (`input.rs`).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use message::MessageDate;
use message::address::{AddressItem, MailboxAddress, parse_list};
use message::compose::{FieldWriter, date_field, message_id, message_id_field};
use message::limits::ADDRESSES_MAX;
use smtp::{Address, ReversePath};

use crate::settings::Sendmail;
use crate::settings::sendmail::Decides;

/// Why a message can't be sent as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// Not an octet, or nothing but line ends.
    #[error("the message is empty")]
    Empty,
    /// RFC 5321 2.3.8.
    #[error("the message has a CR without LF, which no mail server takes")]
    BareCr,
    /// RFC 5322 4: no NUL.
    #[error("the message has a NUL octet, which no mail server takes")]
    Nul,
    /// Some would be forgotten.
    #[error("a field with {ADDRESSES_MAX} addresses or more")]
    TooManyAddresses,
}

/// What a message is made fit with.
pub struct Making<'a> {
    /// The settings.
    pub settings: &'a Sendmail,
    /// The settings' sender, which they always have.
    pub default_sender: &'a Address,
    /// What `-f` said.
    pub sender: Option<&'a str>,
    /// What `-F` said.
    pub full_name: Option<&'a str>,
    /// `-t`.
    pub from_header: bool,
    /// The time, seconds since 1970.
    pub now_secs: i64,
    /// For the Message-ID.
    pub random: [u8; 16],
}

/// A message that can be sent.
#[derive(Debug, PartialEq, Eq)]
pub struct Message {
    /// With CRLF at each line's end.
    pub octets: Vec<u8>,
    /// MAIL.
    pub reverse_path: ReversePath,
    /// From the header, if asked for.
    pub recipients: Vec<Recipient>,
    /// RFC 6152.
    pub eight_bit: bool,
    /// Its header has UTF-8, RFC 6531 3.5: it needs SMTPUTF8.
    pub utf8_header: bool,
}

/// A recipient as somebody wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Recipient {
    /// With a domain.
    Address(Address),
    /// A name alone, or no address at all: how it was written.
    Local(String),
    /// No address that all readers would understand alike.
    Malformed(String),
}

impl Making<'_> {
    /// Makes it fit.
    pub fn make(&self, raw: &[u8]) -> Result<Message, MessageError> {
        let text =
            message::normalise_crlf(without_mbox_line(raw)).map_err(|_| MessageError::BareCr)?;
        if text.contains(&0) {
            return Err(MessageError::Nul);
        }
        let (fields, body) = split(&text);
        if fields.is_empty() && body.iter().all(u8::is_ascii_whitespace) {
            return Err(MessageError::Empty);
        }
        let recipients = match self.from_header {
            true => recipients_in(&fields)?,
            false => Vec::new(),
        };
        let reverse_path = self.reverse_path();
        let mut octets = self.header(&fields, &reverse_path);
        let utf8_header = !octets.is_ascii() && std::str::from_utf8(&octets).is_ok();
        octets.extend_from_slice(b"\r\n");
        octets.extend_from_slice(body);
        if !octets.ends_with(b"\r\n") {
            octets.extend_from_slice(b"\r\n");
        }
        Ok(Message {
            eight_bit: !octets.is_ascii(),
            octets,
            reverse_path,
            recipients,
            utf8_header,
        })
    }

    fn reverse_path(&self) -> ReversePath {
        let default = || ReversePath::Address(self.default_sender.clone());
        if self.settings.envelope_from == Decides::Sender {
            return default();
        }
        match self.sender {
            Some(written) if written.contains(char::is_control) => default(),
            // RFC 5321 4.5.5: reports have no sender.
            Some("" | "<>") => ReversePath::Null,
            Some(written) => match read_addresses(written.as_bytes()).as_slice() {
                [Recipient::Address(address)] => ReversePath::Address(address.clone()),
                _ => default(),
            },
            None => default(),
        }
    }

    /// The header without its last line.
    fn header(&self, fields: &[Field<'_>], reverse_path: &ReversePath) -> Vec<u8> {
        let has = |name: &str| fields.iter().any(|field| field.is(name));
        let mut header = Vec::new();
        let author = self.author(reverse_path);
        if !has("From") {
            header.extend_from_slice(from_field(self.full_name.unwrap_or(""), author).as_bytes());
        }
        if !has("Date") {
            header.extend_from_slice(date_field(MessageDate::utc(self.now_secs)).as_bytes());
        }
        if !has("Message-ID") {
            let host = author.host.to_string();
            let id = message_id(self.random, &host);
            header.extend_from_slice(message_id_field(&id).as_bytes());
        }
        let mut from_written = false;
        for field in fields {
            // RFC 5322 3.6.3: who is in Bcc is not told to the others.
            if field.is("Bcc") || field.is("Resent-Bcc") {
                continue;
            }
            match field
                .is("From")
                .then(|| self.replaced_from(field))
                .flatten()
            {
                Some(_) if from_written => continue,
                Some(replaced) => {
                    header.extend_from_slice(replaced.as_bytes());
                    from_written = true;
                }
                None => header.extend_from_slice(field.raw),
            }
            if !header.ends_with(b"\r\n") {
                header.extend_from_slice(b"\r\n");
            }
        }
        header
    }

    /// Who stands in a From field that has to be made.
    fn author<'r>(&'r self, reverse_path: &'r ReversePath) -> &'r Address {
        match (self.settings.from_field, reverse_path) {
            (Decides::Given, ReversePath::Address(address)) => address,
            _ => self.default_sender,
        }
    }

    /// What a From field becomes that can't stay.
    fn replaced_from(&self, field: &Field<'_>) -> Option<String> {
        let mut mailboxes = parse_list(field.value()).into_iter().filter_map(mailbox);
        let first = mailboxes.next();
        let whole = first.as_ref().is_some_and(|m| m.domain.is_some())
            && mailboxes.all(|m| m.domain.is_some());
        if self.settings.from_field == Decides::Given && whole {
            return None;
        }
        let name = first.and_then(|m| m.name).unwrap_or_default();
        let name = String::from_utf8_lossy(&name);
        Some(from_field(&name, self.default_sender))
    }
}

/// Whether there is nothing to send.
pub fn is_empty(raw: &[u8]) -> bool {
    without_mbox_line(raw).iter().all(u8::is_ascii_whitespace)
}

/// One field with its folds and line end.
struct Field<'a> {
    raw: &'a [u8],
}

impl<'a> Field<'a> {
    fn colon(&self) -> usize {
        let colon = self.raw.iter().position(|octet| *octet == b':');
        colon.unwrap_or(self.raw.len())
    }

    fn is(&self, name: &str) -> bool {
        let written = self.raw[..self.colon()].trim_ascii_end();
        written.eq_ignore_ascii_case(name.as_bytes())
    }

    fn value(&self) -> &'a [u8] {
        self.raw.get(self.colon() + 1..).unwrap_or_default()
    }
}

/// The fields of the header, and the body. A line that is no field ends the header, as if an empty line stood before it: programs write
/// texts without any header.
fn split(text: &[u8]) -> (Vec<Field<'_>>, &[u8]) {
    let mut fields: Vec<Field<'_>> = Vec::new();
    let mut at = 0;
    let mut field_start = 0;
    loop {
        let rest = &text[at..];
        if rest.is_empty() || rest.starts_with(b"\r\n") {
            return (fields, rest.get(2..).unwrap_or_default());
        }
        let end = rest.iter().position(|octet| *octet == b'\n');
        let line = &rest[..end.map_or(rest.len(), |newline| newline + 1)];
        match fields.last_mut() {
            Some(field) if matches!(line[0], b' ' | b'\t') => {
                field.raw = &text[field_start..at + line.len()];
            }
            _ if begins_field(line) => {
                fields.push(Field { raw: line });
                field_start = at;
            }
            _ => return (fields, rest),
        }
        at += line.len();
    }
}

/// RFC 5322 3.6.8: `field-name = 1*ftext`; white space before the colon is obsolete, 4.5.
fn begins_field(line: &[u8]) -> bool {
    let Some(colon) = line.iter().position(|octet| *octet == b':') else {
        return false;
    };
    let name = line[..colon].trim_ascii_end();
    !name.is_empty() && name.iter().all(u8::is_ascii_graphic)
}

/// `From sender date`, the line between messages in mbox files: what reads messages from there passes it on.
fn without_mbox_line(raw: &[u8]) -> &[u8] {
    if !raw.starts_with(b"From ") && !raw.starts_with(b">From ") {
        return raw;
    }
    let newline = raw.iter().position(|octet| *octet == b'\n');
    newline.map_or(&[], |at| &raw[at + 1..])
}

/// RFC 5322 3.6.6: a message that is sent on goes to whom the Resent fields name, those of the latest time, which stand first.
fn recipients_in(fields: &[Field<'_>]) -> Result<Vec<Recipient>, MessageError> {
    let is_resent =
        |field: &Field<'_>| field.raw.len() >= 7 && field.raw[..7].eq_ignore_ascii_case(b"Resent-");
    let names_resent = |field: &&Field<'_>| {
        ["Resent-To", "Resent-Cc", "Resent-Bcc"]
            .iter()
            .any(|n| field.is(n))
    };
    let resent = fields.iter().position(|field| names_resent(&field));
    let named: Vec<&Field<'_>> = match resent {
        Some(_) => {
            let first = fields.iter().position(&is_resent).unwrap_or(0);
            let block = fields[first..].iter().take_while(|field| is_resent(field));
            block.filter(names_resent).collect()
        }
        None => {
            let names = ["To", "Cc", "Bcc"];
            let named = |field: &&Field<'_>| names.iter().any(|name| field.is(name));
            fields.iter().filter(named).collect()
        }
    };
    let mut recipients = Vec::new();
    for field in named {
        // One field with that many is not read to its end.
        if parse_list(field.value()).len() >= ADDRESSES_MAX {
            return Err(MessageError::TooManyAddresses);
        }
        recipients.extend(read_addresses(field.value()));
    }
    Ok(recipients)
}

/// The addresses of a field's value, or of an argument.
pub fn read_addresses(value: &[u8]) -> Vec<Recipient> {
    let mailboxes = parse_list(value).into_iter().filter_map(mailbox);
    mailboxes.map(recipient).collect()
}

fn mailbox(item: AddressItem) -> Option<MailboxAddress> {
    match item {
        AddressItem::Mailbox(mailbox) => Some(mailbox),
        AddressItem::GroupStart(_) | AddressItem::GroupEnd => None,
    }
}

fn recipient(mailbox: MailboxAddress) -> Recipient {
    let localpart = String::from_utf8_lossy(&mailbox.localpart);
    let Some(domain) = &mailbox.domain else {
        return match mailbox.ambiguous || localpart.is_empty() {
            true => Recipient::Malformed(localpart.into_owned()),
            false => Recipient::Local(localpart.into_owned()),
        };
    };
    let domain = String::from_utf8_lossy(domain);
    let address = smtp::Localpart::new(&localpart)
        .ok()
        // `Display` of a localpart quotes where it must.
        .and_then(|quoted| format!("{quoted}@{domain}").parse::<Address>().ok());
    match address {
        Some(address) if !mailbox.ambiguous && !localpart.is_empty() => Recipient::Address(address),
        _ => Recipient::Malformed(format!("{localpart}@{domain}")),
    }
}

fn from_field(name: &str, address: &Address) -> String {
    let mut field = FieldWriter::new("From");
    if name.trim().is_empty() {
        field.word(&address.to_string());
        return field.end();
    }
    for word in phrase(name) {
        field.word(&word);
    }
    field.word(&format!("<{address}>"));
    field.end()
}

/// A display name as a header may have it. RFC 5322 3.2.5, RFC 2047 5 (3).
fn phrase(name: &str) -> Vec<String> {
    let name: String = name
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    let words: Vec<&str> = name.split_ascii_whitespace().collect();
    let is_encoded = |word: &str| word.starts_with("=?") && word.ends_with("?=");
    let is_plain = |word: &&str| {
        is_encoded(word)
            || word
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-/^_`{|}~".contains(&b))
    };
    if words.iter().all(is_plain) {
        return words.iter().map(|word| (*word).to_owned()).collect();
    }
    if name.is_ascii() {
        let escaped = words.join(" ").replace('\\', "\\\\").replace('"', "\\\"");
        return vec![format!("\"{escaped}\"")];
    }
    encoded_words(&words.join(" "))
}

/// RFC 2047 2: at most 75 characters each; 5: no character is cut in two.
fn encoded_words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let (word, after) = rest.split_at(rest.floor_char_boundary(ENCODED_OCTETS_MAX));
        words.push(format!("=?utf-8?b?{}?=", STANDARD.encode(word)));
        rest = after;
    }
    words
}

/// 60 characters of base64, and 12 around them.
const ENCODED_OCTETS_MAX: usize = 45;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Text;

    fn settings(more: &str) -> Sendmail {
        let content = format!("host = \"mail.example\"\nsender = \"me@mail.example\"\n{more}");
        Sendmail::parse_and_check(&Text::new("f", content)).unwrap()
    }

    fn making<'a>(settings: &'a Sendmail, sender: &'a Address) -> Making<'a> {
        Making {
            settings,
            default_sender: sender,
            sender: None,
            full_name: None,
            from_header: true,
            now_secs: 0,
            random: [0; 16],
        }
    }

    fn made_with(more: &str, raw: &str) -> Message {
        let (settings, sender) = (settings(more), "me@mail.example".parse().unwrap());
        making(&settings, &sender).make(raw.as_bytes()).unwrap()
    }

    fn made(raw: &str) -> Message {
        made_with("", raw)
    }

    fn octets(raw: &str) -> String {
        String::from_utf8(made(raw).octets).unwrap()
    }

    fn names(recipients: &[Recipient]) -> Vec<String> {
        let shown = |recipient: &Recipient| match recipient {
            Recipient::Address(address) => address.to_string(),
            Recipient::Local(name) => format!("local {name}"),
            Recipient::Malformed(text) => format!("malformed {text}"),
        };
        recipients.iter().map(shown).collect()
    }

    const ADDED: &str = "From: me@mail.example\r\nDate: Thu, 1 Jan 1970 00:00:00 +0000\r\nMessage-ID: <AAAAAAAAAAAAAAAAAAAAAA@mail.example>\r\n";
    const WHOLE: &str = "From: a@b.c\nDate: Thu, 1 Jan 1970 00:00:00 +0000\nMessage-ID: <x@y>\n";

    #[test]
    fn what_is_missing_is_added_and_nothing_else() {
        assert_eq!(
            octets("Subject: x\n\nhello\n"),
            format!("{ADDED}Subject: x\r\n\r\nhello\r\n")
        );
        let whole = format!("{WHOLE}To: x@y\n\n.\n..\n.dot\n\n \n");
        assert_eq!(octets(&whole), whole.replace('\n', "\r\n"));
        assert_eq!(
            octets(&whole.replace('\n', "\r\n")),
            whole.replace('\n', "\r\n")
        );
    }

    #[test]
    fn a_text_without_header_is_a_body() {
        for (raw, body) in [
            ("hello", "\r\nhello\r\n"),
            ("\nhello: x\n", "\r\nhello: x\r\n"),
            ("see http://x.y: z\n", "\r\nsee http://x.y: z\r\n"),
            (" indented\nA: b\n", "\r\n indented\r\nA: b\r\n"),
            ("A: b\nhello\nC: d\n", "A: b\r\n\r\nhello\r\nC: d\r\n"),
            ("A: b", "A: b\r\n\r\n"),
            (
                "A: b\n folded\n\tmore\n\nhello",
                "A: b\r\n folded\r\n\tmore\r\n\r\nhello\r\n",
            ),
            (
                "From anna Thu Jan  1 00:00:00 1970\nA: b\n\nhello\n",
                "A: b\r\n\r\nhello\r\n",
            ),
        ] {
            assert_eq!(octets(raw), format!("{ADDED}{body}"), "{raw}");
        }
    }

    #[test]
    fn what_cannot_be_sent_is_refused() {
        let (settings, sender) = (settings(""), "me@mail.example".parse().unwrap());
        let error = |raw: &[u8]| making(&settings, &sender).make(raw).unwrap_err();
        assert_eq!(error(b"A: b\r\rC: d\n\n"), MessageError::BareCr);
        assert_eq!(error(b"A: b\n\nx\ry\n"), MessageError::BareCr);
        assert_eq!(error(b"A: b\n\nx\r"), MessageError::BareCr);
        assert_eq!(error(b"A: b\n\nx\0y\n"), MessageError::Nul);
        for empty in ["", "\n", "\r\n\n", "From anna today\n", "From anna"] {
            assert_eq!(error(empty.as_bytes()), MessageError::Empty);
        }
        let many = format!("To: {}\n\nx", "a@b,".repeat(ADDRESSES_MAX));
        assert_eq!(error(many.as_bytes()), MessageError::TooManyAddresses);
    }

    #[test]
    fn recipients_stand_in_to_cc_and_bcc_and_bcc_goes() {
        let message = made(
            "To: Anna <anna@a.example>,\n \"x, y\" <\"odd one\"@a.example>\nBCC : secret@a.example\n (and)\nCc: team: u1@a.example, u2@A.Example;, root\nSubject: bcc: no@a.example\n\nTo: no@a.example\n",
        );
        let expected = [
            "anna@a.example",
            "\"odd one\"@a.example",
            "secret@a.example",
            "u1@a.example",
            "u2@a.example",
            "local root",
        ];
        assert_eq!(names(&message.recipients), expected);
        let text = String::from_utf8(message.octets).unwrap();
        assert!(
            !text.contains("secret") && !text.contains("(and)"),
            "{text}"
        );
        assert!(text.contains("\r\nCc: team: u1@a.example, u2@A.Example;, root\r\nSubject: bcc: no@a.example\r\n\r\nTo: no@"));
        assert_eq!(
            names(&made("To: undisclosed-recipients:;\n\nx").recipients),
            [""; 0]
        );
        let wrong = made("To: a@b@c, <d@e, f@.g, jürgen@bücher.example\n\nx");
        assert_eq!(names(&wrong.recipients)[3], "jürgen@bücher.example");
        assert!(
            names(&wrong.recipients)[..3]
                .iter()
                .all(|n| n.starts_with("malformed ")),
            "{:?}",
            wrong.recipients
        );
    }

    #[test]
    fn a_message_sent_on_goes_to_the_latest_resent_fields() {
        let message = made(
            "Resent-From: me@b.c\nResent-To: new@b.c\nResent-Bcc: hidden@b.c\nReceived: x\nResent-To: old@b.c\nTo: first@b.c\n\nx",
        );
        assert_eq!(names(&message.recipients), ["new@b.c", "hidden@b.c"]);
        assert!(
            !String::from_utf8(message.octets)
                .unwrap()
                .contains("hidden")
        );
    }

    #[test]
    fn without_t_the_header_names_nobody() {
        let (settings, sender) = (settings(""), "me@mail.example".parse().unwrap());
        let mut making = making(&settings, &sender);
        making.from_header = false;
        let message = making.make(b"To: a@b.c\nBcc: d@e.f\n\nx").unwrap();
        assert_eq!(message.recipients, []);
        assert!(!message.octets.windows(3).any(|w| w == b"d@e"));
    }

    #[test]
    fn the_sender_is_who_the_settings_let_it_be() {
        let sender: Address = "me@mail.example".parse().unwrap();
        for (more, given, expected) in [
            ("", None, "<me@mail.example>"),
            ("", Some("a@b.c"), "<a@b.c>"),
            ("", Some("Anna <a@b.c>"), "<a@b.c>"),
            ("", Some("<>"), "<>"),
            ("", Some(""), "<>"),
            ("", Some("root"), "<me@mail.example>"),
            ("", Some("a@b@c"), "<me@mail.example>"),
            ("", Some("a@b\r\nRCPT TO:<x@y>"), "<me@mail.example>"),
            (
                "envelope_from = \"sender\"",
                Some("a@b.c"),
                "<me@mail.example>",
            ),
            (
                "envelope_from = \"sender\"",
                Some("<>"),
                "<me@mail.example>",
            ),
        ] {
            let settings = settings(more);
            let mut making = making(&settings, &sender);
            making.sender = given;
            let message = making.make(b"A: b\n\nx").unwrap();
            assert_eq!(message.reverse_path.to_string(), expected, "{given:?}");
        }
    }

    #[test]
    fn the_from_field_is_kept_made_or_replaced() {
        for (more, from, expected) in [
            ("", "From: Anna <a@b.c>\r\n", "From: Anna <a@b.c>\r\n"),
            (
                "",
                "From: root (Cron Daemon)\r\n",
                "From: Cron Daemon <me@mail.example>\r\n",
            ),
            ("", "From: root\r\n", "From: me@mail.example\r\n"),
            ("", "From: a@b.c, root\r\n", "From: me@mail.example\r\n"),
            ("", "From:\r\n", "From: me@mail.example\r\n"),
            (
                "",
                "from: \"Doe, J.\" <root>\r\n",
                "From: \"Doe, J.\" <me@mail.example>\r\n",
            ),
            (
                "from_field = \"sender\"",
                "From: \"A \\\"B\\\\\" <a@b.c>\r\nFrom: x@y.z\r\n",
                "From: \"A \\\"B\\\\\" <me@mail.example>\r\n",
            ),
            (
                "from_field = \"sender\"",
                "From: =?utf-8?q?J=C3=BCrgen?= X <a@b.c>\r\n",
                "From: =?utf-8?q?J=C3=BCrgen?= X <me@mail.example>\r\n",
            ),
            (
                "from_field = \"sender\"",
                "From: Jürgen <a@b.c>\r\n",
                "From: =?utf-8?b?SsO8cmdlbg==?= <me@mail.example>\r\n",
            ),
        ] {
            let text = String::from_utf8(made_with(more, &format!("{from}\r\nx")).octets).unwrap();
            let fields: String = text
                .split_inclusive("\r\n")
                .filter(|l| l.to_ascii_lowercase().starts_with("from:"))
                .collect();
            assert_eq!(fields, expected, "{from}");
        }
    }

    #[test]
    fn a_made_from_field_has_the_name_of_the_command_line() {
        let (settings, sender) = (settings(""), "me@mail.example".parse().unwrap());
        let mut making = making(&settings, &sender);
        let mut first = |name, sender| {
            (making.full_name, making.sender) = (Some(name), sender);
            let text = String::from_utf8(making.make(b"A: b\n\nx").unwrap().octets).unwrap();
            text.split_once("Date").unwrap().0.to_owned()
        };
        assert_eq!(
            first("Anna B.", Some("a@b.c")),
            "From: \"Anna B.\" <a@b.c>\r\n"
        );
        assert_eq!(
            first("x\r\nBcc: y", None),
            "From: \"x Bcc: y\" <me@mail.example>\r\n"
        );
        assert_eq!(first("  ", Some("<>")), "From: me@mail.example\r\n");
        let long = first(&"ü".repeat(60), None);
        assert!(long.lines().all(|line| line.len() <= 78), "{long}");
        let value = long.strip_prefix("From:").unwrap().as_bytes();
        let decoded = message::encoded_word::decode_text(&message::header::unfold(value));
        assert_eq!(decoded, format!("{} <me@mail.example>", "ü".repeat(60)));
    }

    #[test]
    fn what_a_message_needs_of_the_server_is_seen() {
        let needs = |raw: &[u8]| {
            let (settings, sender) = (settings(""), "me@mail.example".parse().unwrap());
            let message = making(&settings, &sender).make(raw).unwrap();
            (message.eight_bit, message.utf8_header)
        };
        assert_eq!(needs(b"A: b\n\nx"), (false, false));
        assert_eq!(needs("A: b\n\nü".as_bytes()), (true, false));
        assert_eq!(needs("A: ü\n\nx".as_bytes()), (true, true));
        // Latin-1 is not what SMTPUTF8 announces.
        assert_eq!(needs(b"A: \xfc\n\nx"), (true, false));
    }
}

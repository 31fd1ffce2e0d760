//! Address lists of From, To and their kin, as octets: ENVELOPE shows them undecoded, submission checks them.
//! mail-parser decodes names and loses octets and group ends, so the reader is our own. Lenient, linear, 8-bit clean.
//! RFC 5322 3.4 and 4.4, RFC 6854 (groups in From), RFC 6532. Not here: SMTP paths (`protocols/smtp`).

use crate::content_type::comment_len;
use crate::limits;

/// One element of an address list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AddressItem {
    /// `[display-name] addr-spec`
    Mailbox(MailboxAddress),
    /// `display-name ":"`
    GroupStart(Vec<u8>),
    /// `";"`
    GroupEnd,
}

/// A mailbox of a header field, undecoded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MailboxAddress {
    /// Display name, quotes removed, encoded words as they are; or a comment in its place.
    pub name: Option<Vec<u8>>,
    /// Source route, `@a,@b` (obsolete, RFC 5322 4.4).
    pub route: Option<Vec<u8>>,
    /// Quotes removed.
    pub localpart: Vec<u8>,
    /// `None` if there was no `@`.
    pub domain: Option<Vec<u8>>,
    /// Octets were skipped to read this, or the name holds an unquoted `@`: other readers may see another address.
    pub ambiguous: bool,
}

/// Reads the value of an address field, folded or not, up to [`limits::ADDRESSES_MAX`] items.
pub fn parse_list(value: &[u8]) -> Vec<AddressItem> {
    let mut list = ListReader {
        rest: value,
        items: Vec::new(),
        phrase: Phrase::default(),
        angle: None,
        in_group: false,
    };
    while !list.rest.is_empty() && list.items.len() < limits::ADDRESSES_MAX {
        list.step();
    }
    list.end_mailbox();
    if list.in_group {
        list.items.push(AddressItem::GroupEnd);
    }
    list.items
}

// RFC 5322 3.4:
// address-list = (address *("," address)) ; address = mailbox / group
// mailbox = ([display-name] "<" addr-spec ">") / addr-spec ; group = display-name ":" [group-list] ";"
struct ListReader<'a> {
    rest: &'a [u8],
    items: Vec<AddressItem>,
    phrase: Phrase,
    angle: Option<MailboxAddress>,
    in_group: bool,
}

impl ListReader<'_> {
    fn step(&mut self) {
        self.rest = self.phrase.skip_blanks(self.rest);
        let Some(first) = self.rest.first() else {
            return;
        };
        match first {
            b',' => {
                self.rest = &self.rest[1..];
                self.end_mailbox();
            }
            b';' => {
                self.rest = &self.rest[1..];
                self.end_mailbox();
                if std::mem::take(&mut self.in_group) {
                    self.items.push(AddressItem::GroupEnd);
                }
            }
            b':' if !self.in_group && self.angle.is_none() && !self.phrase.is_empty() => {
                self.rest = &self.rest[1..];
                let phrase = std::mem::take(&mut self.phrase);
                self.items.push(AddressItem::GroupStart(phrase.text()));
                self.in_group = true;
            }
            b'<' if self.angle.is_none() => {
                let (mailbox, rest) = angle_addr(&self.rest[1..]);
                self.rest = rest;
                self.angle = Some(mailbox);
            }
            _ => self.rest = self.phrase.read(self.rest),
        }
    }

    fn end_mailbox(&mut self) {
        let phrase = std::mem::take(&mut self.phrase);
        let mailbox = match self.angle.take() {
            Some(mailbox) => MailboxAddress {
                ambiguous: mailbox.ambiguous || phrase.has_at() || phrase.rubbish,
                name: phrase.name(),
                ..mailbox
            },
            None if phrase.is_empty() => return,
            None => phrase.addr_spec(),
        };
        self.items.push(AddressItem::Mailbox(mailbox));
    }
}

/// `"<" [obs-route] addr-spec ">"` without the opening bracket; without a closing one it ends before the next comma.
fn angle_addr(octets: &[u8]) -> (MailboxAddress, &[u8]) {
    let mut phrase = Phrase::default();
    let mut rest = octets;
    let mut route = None;
    loop {
        rest = phrase.skip_blanks(rest);
        match rest.first() {
            None => break,
            Some(b'>') => {
                let mailbox = MailboxAddress {
                    route,
                    name: None,
                    ..phrase.addr_spec()
                };
                return (mailbox, &rest[1..]);
            }
            Some(b':') if route.is_none() && phrase.begins_with_at() => {
                route = Some(std::mem::take(&mut phrase).text());
                rest = &rest[1..];
            }
            Some(b',') if !phrase.begins_with_at() => break,
            Some(_) => rest = phrase.read(rest),
        }
    }
    (
        MailboxAddress {
            route,
            name: None,
            ambiguous: true,
            ..phrase.addr_spec()
        },
        rest,
    )
}

/// Words read so far: a display name or an addr-spec, which only what follows tells.
#[derive(Default)]
struct Phrase {
    words: Vec<Word>,
    comment: Option<Vec<u8>>,
    rubbish: bool,
    blank_before: bool,
}

struct Word {
    text: Vec<u8>,
    quoted: bool,
    blank_before: bool,
}

impl Phrase {
    fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    fn skip_blanks<'a>(&mut self, octets: &'a [u8]) -> &'a [u8] {
        let blanks = octets.iter().take_while(|octet| is_blank(octet)).count();
        self.blank_before |= blanks > 0;
        &octets[blanks..]
    }

    fn push(&mut self, text: Vec<u8>, quoted: bool) {
        let blank_before = std::mem::take(&mut self.blank_before);
        self.words.push(Word {
            text,
            quoted,
            blank_before,
        });
    }

    /// Takes one token at the front, at least one octet, and gives back what follows. Blanks have been skipped.
    fn read<'a>(&mut self, rest: &'a [u8]) -> &'a [u8] {
        match rest.first() {
            None => rest,
            Some(b'(') => {
                let (comment, after) = rest.split_at(comment_len(rest));
                let text = comment[1..].strip_suffix(b")").unwrap_or(&comment[1..]);
                self.comment = Some(unquote(text));
                after
            }
            Some(b'"') => {
                let len = quoted_len(rest);
                let inner = rest[1..len].strip_suffix(b"\"").unwrap_or(&rest[1..len]);
                self.push(unquote(inner), true);
                &rest[len..]
            }
            Some(b'@') => {
                self.push(b"@".to_vec(), false);
                &rest[1..]
            }
            Some(b'<' | b'>' | b')' | b':') => {
                self.rubbish = true;
                &rest[1..]
            }
            Some(b',') => {
                self.push(b",".to_vec(), false); // inside a source route
                &rest[1..]
            }
            Some(b'[') => {
                // RFC 5322 3.4.1: domain-literal
                let len = memchr::memchr2(b']', b'>', rest)
                    .map_or(rest.len(), |end| end + usize::from(rest[end] == b']'));
                self.push(unquote(&rest[..len]), false);
                &rest[len..]
            }
            Some(_) => {
                let ends = |octet: &u8| is_blank(octet) || b"()<>@,;:\"[".contains(octet);
                let len = rest
                    .iter()
                    .skip(1)
                    .position(ends)
                    .map_or(rest.len(), |end| end + 1);
                self.push(rest[..len].to_vec(), false);
                &rest[len..]
            }
        }
    }

    fn begins_with_at(&self) -> bool {
        self.words.first().is_some_and(Word::is_at)
    }

    fn has_at(&self) -> bool {
        self.words.iter().any(Word::is_at)
    }

    fn text(self) -> Vec<u8> {
        let mut text = Vec::new();
        for word in self.words {
            if word.blank_before && !text.is_empty() {
                text.push(b' ');
            }
            text.extend(word.text);
        }
        text
    }

    fn name(mut self) -> Option<Vec<u8>> {
        let comment = self.comment.take();
        let name = self.text();
        if name.is_empty() { comment } else { Some(name) }
    }

    // RFC 5322 3.4.1: addr-spec = local-part "@" domain. The last "@" counts; blanks between (RFC 5322 4.4) go.
    fn addr_spec(self) -> MailboxAddress {
        let split = self.words.iter().rposition(Word::is_at);
        // Two atoms with only a blank between them, or two "@", are no addr-spec.
        let blanks = self
            .words
            .windows(2)
            .any(|pair| pair[1].blank_before && !pair[0].joins() && !pair[1].joins());
        let ambiguous =
            self.rubbish || blanks || self.words.iter().filter(|word| word.is_at()).count() > 1;
        let joined = |words: &[Word]| {
            words
                .iter()
                .flat_map(|word| word.text.iter().copied())
                .collect::<Vec<u8>>()
        };
        let (localpart, domain) = match split {
            Some(at) => (
                joined(&self.words[..at]),
                Some(joined(&self.words[at + 1..])),
            ),
            None => (
                Phrase {
                    words: self.words,
                    ..Self::default()
                }
                .text(),
                None,
            ),
        };
        MailboxAddress {
            name: self.comment,
            route: None,
            localpart,
            domain,
            ambiguous,
        }
    }
}

impl Word {
    fn is_at(&self) -> bool {
        !self.quoted && self.text == b"@"
    }

    fn joins(&self) -> bool {
        self.is_at() || !self.quoted && (self.text.starts_with(b".") || self.text.ends_with(b"."))
    }
}

fn is_blank(octet: &u8) -> bool {
    octet.is_ascii_whitespace() || *octet == 0
}

/// Length of the quoted-string at the front; an open one reaches to the end.
fn quoted_len(octets: &[u8]) -> usize {
    let mut at = 1;
    while at < octets.len() {
        match octets[at] {
            b'\\' => at += 1,
            b'"' => return at + 1,
            _ => {}
        }
        at += 1;
    }
    octets.len()
}

/// Removes line ends, NUL and the backslash of quoted pairs.
fn unquote(text: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(text.len());
    let mut octets = text.iter();
    while let Some(octet) = octets.next() {
        let octet = if *octet == b'\\' {
            octets.next().unwrap_or(octet)
        } else {
            octet
        };
        if !matches!(octet, b'\r' | b'\n' | 0) {
            plain.push(*octet);
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes a list back in a short form: `name|localpart|domain`.
    fn shown(value: &[u8]) -> Vec<String> {
        let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
        let optional = |octets: &Option<Vec<u8>>| octets.as_deref().map_or("-".into(), text);
        let show = |item| match item {
            AddressItem::Mailbox(mailbox) => {
                format!(
                    "{}|{}|{}",
                    optional(&mailbox.name),
                    text(&mailbox.localpart),
                    optional(&mailbox.domain)
                )
            }
            AddressItem::GroupStart(name) => format!("{}:", text(&name)),
            AddressItem::GroupEnd => ";".into(),
        };
        parse_list(value).into_iter().map(show).collect()
    }

    #[test]
    fn rfc_5322_appendix_a() {
        for (value, expected) in [
            (
                "John Doe <jdoe@machine.example>",
                vec!["John Doe|jdoe|machine.example"],
            ),
            (
                "\"Joe Q. Public\" <john.q.public@example.com>",
                vec!["Joe Q. Public|john.q.public|example.com"],
            ),
            (
                "Mary Smith <mary@x.test>, jdoe@example.org, Who? <one@y.test>",
                vec![
                    "Mary Smith|mary|x.test",
                    "-|jdoe|example.org",
                    "Who?|one|y.test",
                ],
            ),
            (
                "<boss@nil.test>, \"Giant; \\\"Big\\\" Box\" <sysservices@example.net>",
                vec![
                    "-|boss|nil.test",
                    "Giant; \"Big\" Box|sysservices|example.net",
                ],
            ),
            (
                "A Group:Ed Jones <c@a.test>,joe@where.test,John <jdoe@one.test>;",
                vec![
                    "A Group:",
                    "Ed Jones|c|a.test",
                    "-|joe|where.test",
                    "John|jdoe|one.test",
                    ";",
                ],
            ),
            (
                "Undisclosed recipients:;",
                vec!["Undisclosed recipients:", ";"],
            ),
            (
                "Pete(A nice \\) chap) <pete(his account)@silly.test(his host)>",
                vec!["Pete|pete|silly.test"],
            ),
            (
                "Joe Q. Public <john.q.public@example.com>",
                vec!["Joe Q. Public|john.q.public|example.com"],
            ),
            (
                "Mary Smith <@node.test:mary@example.net>, , jdoe@test  . example",
                vec!["Mary Smith|mary|example.net", "-|jdoe|test.example"],
            ),
        ] {
            assert_eq!(shown(value.as_bytes()), expected, "{value}");
        }
    }

    #[test]
    fn broken_lists() {
        for (value, expected) in [
            ("", vec![]),
            (", ;,", vec![]),
            ("a@b (Name Here)", vec!["Name Here|a|b"]),
            ("postmaster", vec!["-|postmaster|-"]),
            ("two words", vec!["-|two words|-"]),
            ("x <a@b, c@d", vec!["x|a|b", "-|c|d"]),
            ("<>", vec!["-||-"]),
            ("\"open <a@b>", vec!["-|open <a@b>|-"]),
            ("g: a@b", vec!["g:", "-|a|b", ";"]),
            ("a@[1.2.3.4]", vec!["-|a|[1.2.3.4]"]),
            ("\"a b\"@c", vec!["-|a b|c"]),
            (
                "=?utf-8?q?caf=C3=A9?= <a@b>",
                vec!["=?utf-8?q?caf=C3=A9?=|a|b"],
            ),
            ("a\r\n b <c@d>", vec!["a b|c|d"]),
            ("a@b>, c@d", vec!["-|a|b", "-|c|d"]),
        ] {
            assert_eq!(shown(value.as_bytes()), expected, "{value}");
        }
    }

    #[test]
    fn ambiguity_is_noticed() {
        for (value, ambiguous) in [
            ("A <a@b>", false),
            ("a . b @ c", false),
            ("\"x@y\" <a@b>", false),
            ("x@y <a@b>", true),
            ("<a@b> <c@d>", true),
            ("a@b c@d", true),
            ("<a@b", true),
        ] {
            let items = parse_list(value.as_bytes());
            assert!(
                matches!(&items[..], [AddressItem::Mailbox(mailbox)] if mailbox.ambiguous == ambiguous),
                "{value} {items:?}"
            );
        }
    }

    #[test]
    fn hostile_input_is_linear() {
        for piece in [
            "(", "\"", "<", "a,", ":", "g:;", "@", "<@a,", "[", "\\", "a ", "()",
        ] {
            parse_list(piece.repeat((1 << 20) / piece.len()).as_bytes());
        }
    }
}

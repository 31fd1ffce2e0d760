//! Torture messages of others as judges: mime4j's expected structures, mail-parser's expected addresses and dates.
//! Runs only when RINGMAIL_CORPORA names the folder that holds them; then a missing file is a failure.

use std::fs;
use std::path::{Path, PathBuf};

use mail_parser::MessageParser;
use ringmail_message::address::{AddressItem, parse_list};
use ringmail_message::{
    Content, Header, MessageDate, Part, SearchString, SearchedMessage, Structure, ThreadFields,
    normalise_crlf,
};

fn corpora() -> Option<PathBuf> {
    std::env::var_os("RINGMAIL_CORPORA").map(PathBuf::from)
}

fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in
        fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
    {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path, ending));
        } else if path.to_string_lossy().ends_with(ending) {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// `b` a leaf, `[..]` a multipart, `m(..)` an embedded message; and the bodies of the leaves.
#[derive(Default, PartialEq)]
struct Outline {
    tree: String,
    bodies: Vec<Vec<u8>>,
}

impl Outline {
    fn add(&mut self, part: &Part, message: &[u8]) {
        match &part.content {
            Content::Leaf => {
                self.tree.push('b');
                self.bodies.push(text(part.body_octets(message)));
            }
            Content::Multipart(parts) => {
                self.tree.push('[');
                parts.iter().for_each(|part| self.add(part, message));
                self.tree.push(']');
            }
            Content::Message(embedded) => {
                self.tree.push_str("m(");
                self.add(embedded, message);
                self.tree.push(')');
            }
        }
    }

    /// Reads mime4j's XML, in which `<` only begins a tag.
    fn of_xml(xml: &[u8]) -> Self {
        let mut outline = Self::default();
        let mut depth = 0;
        for piece in xml.split(|octet| *octet == b'<').skip(1) {
            let (tag, content) =
                piece.split_at(piece.iter().position(|octet| *octet == b'>').unwrap());
            match tag {
                b"message" => {
                    if depth > 0 {
                        outline.tree.push_str("m(");
                    }
                    depth += 1;
                }
                b"/message" => {
                    depth -= 1;
                    if depth > 0 {
                        outline.tree.push(')');
                    }
                }
                b"multipart" => outline.tree.push('['),
                b"/multipart" => outline.tree.push(']'),
                b"body" => {
                    outline.tree.push('b');
                    let content = content[1..].strip_prefix(b"\r").unwrap_or(&content[1..]);
                    outline.bodies.push(text(&unescape(
                        content.strip_prefix(b"\n").unwrap_or(content),
                    )));
                }
                _ => {}
            }
        }
        outline
    }
}

fn unescape(xml: &[u8]) -> Vec<u8> {
    let mut plain = xml.to_vec();
    for (entity, octet) in [(&b"&lt;"[..], b'<'), (b"&gt;", b'>'), (b"&amp;", b'&')] {
        while let Some(at) = plain
            .windows(entity.len())
            .position(|window| window == entity)
        {
            plain.splice(
                at..at + entity.len(),
                [if octet == b'&' { 1 } else { octet }],
            );
        }
    }
    plain
        .iter()
        .map(|octet| if *octet == 1 { b'&' } else { *octet })
        .collect()
}

/// Without CR, and ASCII only: the XML files are in several charsets.
fn text(octets: &[u8]) -> Vec<u8> {
    octets
        .iter()
        .copied()
        .filter(|octet| *octet != b'\r' && octet.is_ascii())
        .collect()
}

/// Where we differ on purpose.
const MIME4J_DIFFERENCES: [(&str, &str); 14] = [
    // IMAP has no multipart without parts; without parts it is shown as one of unknown content.
    ("badbound", "multipart without parts"),
    ("missing-boundary", "multipart without parts"),
    ("missing-inner-boundary", "multipart without parts"),
    ("missing-inner-start-boundary", "multipart without parts"),
    ("multipartnopart", "multipart without parts"),
    // Ranges name octets of the stored message, so an encoded message (RFC 2046 5.2.1 forbids it) is not taken apart.
    ("multi-2gifs-base64", "encoded message"),
    ("bad-newlines-multiple-parts-base64", "encoded message"),
    ("base64encoded-rfc822message-nested", "encoded message"),
    ("base64encoded-rfc822message", "encoded message"),
    // BODY[HEADER] reaches to the empty line (RFC 9051 6.4.5), whatever stands in between.
    ("malformedHeaderStartsBody-nocrlfcrlf", "text in the header"),
    ("malformedHeaderStartsBody-noheader", "text in the header"),
    // A boundary cannot end with a space (RFC 2046 5.1.1); gateways add and remove them.
    ("very-long-boundary", "space at the end of a boundary"),
    ("weird-boundary", "space at the end of a boundary"),
    // Beyond BOUNDARY_MAX.
    ("very-very-long-boundary", "boundary of 7000 octets"),
];

#[test]
fn mime4j_structures() {
    let Some(corpora) = corpora() else { return };
    let messages = files(&corpora.join("mime/mime4j"), ".msg");
    assert!(messages.len() >= 80);
    let mut differing = Vec::new();
    for path in &messages {
        let message = fs::read(path).unwrap();
        let expected = Outline::of_xml(&fs::read(path.with_extension("xml")).unwrap());
        let mut found = Outline::default();
        found.add(&Structure::of_message(&message).root, &message);
        if found != expected {
            differing.push(path.file_stem().unwrap().to_str().unwrap());
        }
    }
    let mut allowed = MIME4J_DIFFERENCES.map(|(name, _)| name);
    allowed.sort_unstable();
    differing.sort_unstable();
    assert_eq!(differing, allowed);
}

/// The other reader drops addresses without a domain, reads 8-bit text as broken UTF-8, takes a zone of three digits as hours of two, and
/// does not know dates without seconds; where both read something, it must be the same.
#[test]
fn mail_parser_headers() {
    let Some(corpora) = corpora() else { return };
    let parser = MessageParser::new()
        .with_date_headers()
        .with_address_headers()
        .header_text("subject");
    let mut compared = 0;
    for path in mails(&corpora) {
        let message = fs::read(&path).unwrap();
        let header = Header::of_message(&message);
        let Some(theirs) = parser.parse_headers(header.octets()) else {
            continue;
        };
        let name = path.display();
        let subject = header
            .all("Subject")
            .last()
            .filter(|field| field.value.is_ascii());
        if let (Some(ours), Some(theirs)) = (subject, theirs.subject()) {
            assert_eq!(solid(&ours.text()), solid(theirs), "{name}");
        }
        let date = header
            .all("Date")
            .last()
            .filter(|field| !has_short_zone(field.value));
        if let (Some(ours), Some(theirs)) = (
            date.and_then(|date| MessageDate::parse(date.value)),
            theirs.date(),
        ) {
            assert_eq!(ours.unix_secs, theirs.to_timestamp(), "{name}");
        }
        for (field, theirs) in [
            ("From", theirs.from()),
            ("To", theirs.to()),
            ("Cc", theirs.cc()),
        ] {
            let Some(ours) = header.all(field).last() else {
                continue;
            };
            let theirs = theirs
                .into_iter()
                .flat_map(|list| list.iter())
                .filter_map(|address| address.address());
            let theirs: Vec<_> = theirs
                .filter(|address| address.contains('@'))
                .map(String::from)
                .collect();
            if !theirs.is_empty() {
                assert_eq!(full_addresses(ours.value), theirs, "{name} {field}");
                compared += 1;
            }
        }
    }
    assert!(compared > 500, "{compared}");
}

fn full_addresses(value: &[u8]) -> Vec<String> {
    let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
    let full = parse_list(value).into_iter().filter_map(|item| match item {
        AddressItem::Mailbox(mailbox) => {
            let domain = mailbox.domain.filter(|domain| !domain.is_empty())?;
            Some(format!("{}@{}", text(&mailbox.localpart), text(&domain)))
        }
        _ => None,
    });
    full.collect()
}

/// Spaces next to encoded words are a matter of taste.
fn solid(subject: &str) -> String {
    subject.split_whitespace().collect()
}

fn has_short_zone(value: &[u8]) -> bool {
    let word = value
        .trim_ascii()
        .rsplit(|octet| *octet == b' ')
        .next()
        .unwrap_or_default();
    !(word.len() == 5 && matches!(word[0], b'+' | b'-'))
}

/// Every mail at hand, as it is and with CRLF: nothing panics, ranges hold together, the stored form reads back, searching finds.
#[test]
fn all_mails_hold_together() {
    let Some(corpora) = corpora() else { return };
    let paths = mails(&corpora);
    assert!(paths.len() > 600);
    for path in paths {
        let raw = fs::read(&path).unwrap();
        let name = path.display().to_string();
        holds_together(&raw, &name);
        if let Ok(message) = normalise_crlf(&raw) {
            holds_together(&message, &name);
        }
    }
}

fn holds_together(message: &[u8], name: &str) {
    let structure = Structure::of_message(message);
    let root = &structure.root;
    assert_eq!(
        (root.header.start, root.header.end, root.body.end),
        (0, root.body.start, message.len()),
        "{name}"
    );
    nests(root);
    assert_eq!(
        Structure::from_bytes(&structure.to_bytes()).as_ref(),
        Some(&structure),
        "{name}"
    );
    ThreadFields::of_message(message, &structure);
    let mut searched = SearchedMessage::new(message, &structure);
    assert!(!searched.text_contains(&SearchString::new("no such text anywhere 1234567890")));
    if let Some(field) = Header::of_message(message).first("Subject") {
        assert!(
            searched.text_contains(&SearchString::new(&field.text())),
            "{name}"
        );
    }
}

/// Children lie inside the body, one after the other.
fn nests(part: &Part) {
    assert!(
        part.header.start <= part.header.end
            && part.header.end == part.body.start
            && part.body.start <= part.body.end
    );
    let mut position = part.body.start;
    for child in part.children() {
        assert!(position <= child.header.start && child.body.end <= part.body.end);
        position = child.body.end;
        nests(child);
    }
}

fn mails(corpora: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for folder in ["mime", "spam", "bounces", "reports"] {
        for ending in [".eml", ".msg", ".txt"] {
            all.extend(files(&corpora.join(folder), ending));
        }
    }
    all
}

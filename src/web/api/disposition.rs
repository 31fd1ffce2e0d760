//! The Content-Disposition of a form's part: how its field and its file are called, as browsers and programs write it. RFC 7578 4.2, and what that forbids
//! and widespread clients write all the same: RFC 2231 3 and 4, RFC 8187 3.2.1 (`filename*`), octets of any charset.
//! Not here: what a name means (`form`).

use message::charset::{to_utf8, unlabelled};
use percent_encoding::percent_decode;

use super::multipart::Broken;

/// What it says.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Disposition {
    /// Of the field; empty: it has none.
    pub name: String,
    /// Of the file that it is, maybe an empty one.
    pub file_name: Option<String>,
}

impl Disposition {
    /// Reads an unfolded value.
    pub fn parse(value: &[u8]) -> Result<Disposition, Broken> {
        let attributes = attributes(value)?;
        Ok(Disposition {
            name: text(&attributes, b"name").unwrap_or_default(),
            file_name: text(&attributes, b"filename").map(|path| last_component(&path).to_string()),
        })
    }
}

/// RFC 7578 4.2, RFC 2183 2.3: of a path only that counts, on whichever system it is one; browsers of old send all of it. What leads elsewhere is no name.
fn last_component(path: &str) -> &str {
    const SEPARATORS: [char; 2] = ['/', '\\'];
    let path = path.trim_end_matches(SEPARATORS);
    match path.rsplit(SEPARATORS).next().unwrap_or_default() {
        "." | ".." => "",
        last => last,
    }
}

/// An attribute as written. RFC 2231 3: `name*0`, `name*1*`; 4: `name*` with charset and language.
struct Attribute<'a> {
    name: &'a [u8],
    /// Of a value in several pieces.
    index: Option<usize>,
    is_extended: bool,
    value: Vec<u8>,
}

impl<'a> Attribute<'a> {
    fn new(written: &'a [u8], value: Vec<u8>) -> Attribute<'a> {
        let is_extended = written.ends_with(b"*");
        let name = written.strip_suffix(b"*").unwrap_or(written);
        let mut of_star = name.splitn(2, |octet| *octet == b'*');
        Attribute {
            name: of_star.next().unwrap_or_default(),
            index: of_star
                .next()
                .and_then(|index| str::from_utf8(index).ok()?.parse().ok()),
            is_extended,
            value,
        }
    }
}

/// The value of the attribute with that name: the extended form comes first, if it can be read, then pieces (by their numbers, whichever are missing).
/// RFC 8187 4.2 does the same.
fn text(attributes: &[Attribute<'_>], wanted: &[u8]) -> Option<String> {
    let is_wanted = |a: &&Attribute<'_>| a.name.eq_ignore_ascii_case(wanted);
    let whole = |is_extended: bool| {
        let whole = |a: &&Attribute<'_>| a.index.is_none() && a.is_extended == is_extended;
        attributes.iter().filter(is_wanted).find(whole)
    };
    let extended = whole(true);
    if let Some((charset, encoded)) = extended.and_then(|e| charset_and_rest(&e.value)) {
        let octets: Vec<u8> = percent_decode(encoded).collect();
        return Some(to_utf8(charset, &octets).into_owned());
    }
    let pieces = attributes.iter().filter(is_wanted);
    let mut pieces: Vec<_> = pieces.filter(|a| a.index.is_some()).collect();
    if !pieces.is_empty() {
        pieces.sort_by_key(|a| a.index);
        return Some(joined(&pieces));
    }
    let plain = whole(false).or(extended)?;
    Some(unlabelled(&plain.value).into_owned())
}

/// RFC 2231 4.1: the first piece names the charset; escapes count in those that say so.
fn joined(pieces: &[&Attribute<'_>]) -> String {
    let (mut charset, mut octets) = (&b""[..], Vec::new());
    for (number, piece) in pieces.iter().enumerate() {
        let mut value = &piece.value[..];
        if !piece.is_extended {
            octets.extend_from_slice(value);
            continue;
        }
        if number == 0
            && let Some(named) = charset_and_rest(value)
        {
            (charset, value) = named;
        }
        octets.extend(percent_decode(value));
    }
    to_utf8(charset, &octets).into_owned()
}

/// RFC 8187 3.2.1: `charset "'" [ language ] "'" value-chars`.
fn charset_and_rest(value: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut fields = value.splitn(3, |octet| *octet == b'\'');
    let charset = fields.next()?;
    let _language = fields.next()?;
    Some((charset, fields.next()?))
}

/// All that have a value. What is not in quotes reaches to the semicolon.
fn attributes(value: &[u8]) -> Result<Vec<Attribute<'_>>, Broken> {
    let is_end = |octet: &u8| *octet == b';';
    let mut attributes = Vec::new();
    let mut rest = behind(value, value.iter().position(is_end));
    while !rest.is_empty() {
        let end = rest.iter().position(|octet| matches!(octet, b'=' | b';'));
        let Some(end) = end else { break };
        let name = rest[..end].trim_ascii();
        if rest[end] == b';' {
            rest = &rest[end + 1..];
            continue;
        }
        rest = rest[end + 1..].trim_ascii_start();
        let value = if let Some(quoted) = rest.strip_prefix(b"\"") {
            let (text, length) = unquoted(quoted)?;
            rest = &quoted[length..];
            text
        } else {
            let word = rest.split(is_end).next().unwrap_or_default();
            rest = &rest[word.len()..];
            word.trim_ascii().to_vec()
        };
        attributes.push(Attribute::new(name, value));
        rest = behind(rest, rest.iter().position(is_end));
    }
    Ok(attributes)
}

fn behind(octets: &[u8], at: Option<usize>) -> &[u8] {
    at.map_or(b"", |at| &octets[at + 1..])
}

/// Up to the closing quote, and with it how long that was. A quote has a backslash before it, and a backslash may have; others stand for themselves, as
/// browsers of old send whole paths.
fn unquoted(quoted: &[u8]) -> Result<(Vec<u8>, usize), Broken> {
    let (mut text, mut at) = (Vec::new(), 0);
    while let Some(octet) = quoted.get(at) {
        match (octet, quoted.get(at + 1)) {
            (b'\\', Some(escaped @ (b'\\' | b'"'))) => {
                text.push(*escaped);
                at += 2;
            }
            (b'"', _) if is_last(&quoted[at + 1..]) => return Ok((text, at + 1)),
            (b'"', _) => break,
            _ => {
                text.push(*octet);
                at += 1;
            }
        }
    }
    // A backslash that is one stands before the closing quote (`C:\dir\`, Shift-JIS), or quotes in the text have none: the first quote that can close does.
    let mut quotes = memchr::memchr_iter(b'"', quoted);
    let end = quotes.find(|at| is_last(&quoted[at + 1..]));
    let text = &quoted[..end.ok_or(NO_END)?];
    match memchr::memmem::find(text, b"=\"") {
        // The beginning of another attribute, which would be lost.
        Some(_) => Err(NO_END),
        None => Ok((text.to_vec(), text.len() + 1)),
    }
}

/// Whether an attribute can end before it.
fn is_last(rest: &[u8]) -> bool {
    matches!(rest.trim_ascii_start().first(), None | Some(b';'))
}

const NO_END: Broken = "a Content-Disposition has a quote that is not closed";

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(value: &[u8]) -> (String, Option<String>) {
        let said = Disposition::parse(value).unwrap();
        (said.name, said.file_name)
    }

    #[track_caller]
    fn check(value: &[u8], name: &str, file_name: Option<&str>) {
        let expected = (name.to_string(), file_name.map(str::to_string));
        assert_eq!(parsed(value), expected, "{}", value.escape_ascii());
    }

    #[test]
    fn attributes_are_read_as_they_are_written() {
        check(b"form-data; name=\"a\"; filename=\"b\"", "a", Some("b"));
        check(b"form-data; filename=b c ;name=a", "a", Some("b c"));
        check(b"form-data;NAME=\"\"", "", None);
        check(b"form-data; name = \"a\" ; FileName = b", "a", Some("b"));
        check(b"form-data; flag; name=a; ;; filename=b;", "a", Some("b"));
        check(
            b"form-data; flag; filename=\"; name=\\\"no\\\"\"",
            "",
            Some("; name=\"no\""),
        );
        check(
            b"form-data; name=\"a\"; filename=\"x\"; filename=y",
            "a",
            Some("x"),
        );
        for none in [&b"form-data; name"[..], b"form-data", b"", b";", b"=;="] {
            check(none, "", None);
        }
    }

    #[test]
    fn names_are_of_any_octets() {
        check(
            b"form-data; name=\"a\"; filename=\"r\xe9.pdf\"",
            "a",
            Some("r\u{e9}.pdf"),
        );
        check(
            "form-data; name=a; filename=\"r\u{e9}.pdf\"".as_bytes(),
            "a",
            Some("r\u{e9}.pdf"),
        );
        check(b"form-data; name=a; filename=\xe9", "a", Some("\u{e9}"));
        // Shift-JIS: octets that can't be told from letters, a backslash and a quote among them.
        check(
            b"form-data; filename=\"\x83\x65\x95\x5c\"; name=\"a\"",
            "a",
            Some("\u{192}e\u{2022}"),
        );
    }

    #[test]
    fn extended_names_and_such_in_pieces() {
        check(
            b"form-data; filename*=UTF-8''x; xname=\"y\"; name=a",
            "a",
            Some("x"),
        );
        check(
            b"form-data; name=\"a\"; filename=\"r.pdf\"; filename*=utf-8'en'r%C3%A9sum%C3%A9%20.pdf",
            "a",
            Some("r\u{e9}sum\u{e9} .pdf"),
        );
        check(
            b"form-data; name*=utf-8''a; filename*=\"iso-8859-1''%E9\"; filename=b",
            "a",
            Some("\u{e9}"),
        );
        check(
            b"form-data; name=a; filename*=Shift_JIS''%83%65%95%5C.pdf",
            "a",
            Some("\u{30c6}\u{8868}.pdf"),
        );
        check(
            b"form-data; name=a; filename*=utf-8''r\xe9%E9",
            "a",
            Some("r\u{e9}\u{e9}"),
        );
        check(
            b"form-data; name=a; filename*=x; filename=b",
            "a",
            Some("b"),
        );
        check(b"form-data; name=a; filename*=x'", "a", Some("x'"));
        check(
            b"form-data; name=a; filename*0=\"ab\"; filename*1=\"c.pdf\"",
            "a",
            Some("abc.pdf"),
        );
        check(
            b"form-data; name=a; filename*2=\".p%64f\"; filename*0*=iso-8859-1''%E9; filename*10=x; FILENAME*1*=%E8; filename=b",
            "a",
            Some("\u{e9}\u{e8}.p%64fx"),
        );
        check(b"form-data; name=a; filename*3=b", "a", Some("b"));
        check(b"form-data; name=a; filename*x=b", "a", Some("b"));
    }

    #[test]
    fn backslashes_and_quotes() {
        check(b"form-data; name=\"x\\\"y\\z\"", "x\"y\\z", None);
        check(b"form-data; filename=a; name=\"a\\\\b\"", "a\\b", Some("a"));
        check(b"form-data; name=\"a\\\\\"; filename=a", "a\\", Some("a"));
        check(
            b"form-data; name=\"C:\\dir\\\" ; filename=a",
            "C:\\dir\\",
            Some("a"),
        );
        for name in [&b"name=\"a\""[..], b"name=a"] {
            let value = [b"form-data; filename=\"C:\\dir\\\" ; ", name].concat();
            check(&value, "a", Some("dir"));
        }
        check(
            b"form-data; name=\"a\"; filename=\"C:\\dir\\\"",
            "a",
            Some("dir"),
        );
        check(
            b"form-data; filename=\"the \"best\".pdf\"; name=\"a\"",
            "a",
            Some("the \"best\".pdf"),
        );
        for open in [
            &b"form-data; name=\"a"[..],
            b"form-data; name=\"a; filename=\"b\"",
            b"form-data; name=\"a\" filename=\"b\"",
            b"form-data; name=\"a\"b",
        ] {
            assert!(Disposition::parse(open).is_err(), "{}", open.escape_ascii());
        }
    }

    #[test]
    fn of_a_path_the_last_component_counts() {
        for (path, name) in [
            ("../../etc/passwd", "passwd"),
            ("a/b/", "b"),
            (r"C:\dir\x.txt", "x.txt"),
            (r"\\host\share\\", "share"),
            (r"..\x/y\z", "z"),
            ("/", ""),
            ("..", ""),
            ("a/.", ""),
            ("...", "..."),
            (".profile", ".profile"),
            ("", ""),
        ] {
            assert_eq!(last_component(path), name, "{path}");
        }
        check(
            b"form-data; name=\"../a/b\"; filename*=utf-8''..%2F..%5C%C3%A9",
            "../a/b",
            Some("\u{e9}"),
        );
    }
}

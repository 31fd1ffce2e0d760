//! The parts of a form: slices of the body that came, so that a large file is not in memory twice. RFC 7578 (multipart/form-data), RFC 2046 5.1.1; lines that
//! end with LF alone, and headers as mail has them (RFC 5322 2.2.3), are read too.
//! Not here: how a part says what it is called (`disposition`), what the parts are called, and how many there may be (`form`).

use std::borrow::Cow;

use hyper::body::Bytes;
use memchr::memmem::Finder;
use message::header::has_separator;
use message::{Header, TransferEncoding};

use super::disposition::Disposition;

/// A part.
#[derive(Debug, PartialEq)]
pub(super) struct Part {
    /// Of its field; empty: it has none.
    pub name: String,
    /// Of the file that it is, maybe an empty one.
    pub file_name: Option<String>,
    /// Empty: it has none.
    pub content_type: String,
    /// Empty: it has none.
    pub content_id: String,
    /// Its octets.
    pub content: Bytes,
}

/// Those that are left of a body.
pub(super) struct Parts {
    /// Behind a delimiter.
    rest: Bytes,
    delimiter: Delimiter,
}

/// Why it can't be read.
pub(super) type Broken = &'static str;

/// What stands between parts: a line's end, hyphens, the boundary.
struct Delimiter(Finder<'static>);

impl Delimiter {
    fn new(line_end: &str, boundary: &[u8]) -> Delimiter {
        let needle = [line_end.as_bytes(), b"--", boundary].concat();
        Delimiter(Finder::new(&needle).into_owned())
    }

    /// Where the first one begins, and ends.
    fn find(&self, octets: &[u8]) -> Option<(usize, usize)> {
        let length = self.0.needle().len();
        let mut found = self.0.find_iter(octets).map(|at| (at, at + length));
        found.find(|(_, end)| is_whole(&octets[*end..]))
    }

    /// Its length without the line's end, if one stands at the front.
    fn at_front(&self, octets: &[u8]) -> Option<usize> {
        let line = self.0.needle().trim_ascii_start();
        let rest = octets.strip_prefix(line)?;
        is_whole(rest).then_some(line.len())
    }
}

/// Whether a boundary ends before it. RFC 2046 5.1.1: it may be the beginning of another one.
fn is_whole(rest: &[u8]) -> bool {
    matches!(rest.first(), None | Some(b' ' | b'\t' | b'\r' | b'\n')) || rest.starts_with(b"--")
}

impl Parts {
    /// Of a body.
    pub fn of(octets: Bytes, boundary: &[u8]) -> Result<Parts, Broken> {
        let with_lf = Delimiter::new("\n", boundary);
        // A line, maybe the first.
        let first = with_lf.at_front(&octets);
        let first = first.or_else(|| Some(with_lf.find(&octets)?.1));
        let rest = octets.slice(first.ok_or("no part begins")?..);
        // As the first line ends, so do all delimiters: an LF within a file is its own.
        let is_lf = matches!(after_padding(&rest), [b'\n', ..]);
        Ok(Parts {
            rest,
            delimiter: match is_lf {
                true => with_lf,
                false => Delimiter::new("\r\n", boundary),
            },
        })
    }

    /// The next one; none: that was the last.
    pub fn next(&mut self) -> Result<Option<Part>, Broken> {
        if self.rest.starts_with(b"--") {
            return Ok(None);
        }
        let line = after_padding(&self.rest);
        let line = line.strip_prefix(b"\r").unwrap_or(line);
        let lines = line.strip_prefix(b"\n");
        let lines = lines.ok_or("a delimiter does not end its line")?;
        let lines = self.rest.slice_ref(lines);
        let header = Header::of_message(&lines[..lines.len().min(HEADER_MAX)]).octets();
        if !has_separator(header) {
            return Err("a header has no end, or more than 16384 octets");
        }
        let content = lines.slice(header.len()..);
        // Without content the empty line may be the delimiter's.
        let (length, end) = match self.delimiter.at_front(&content) {
            Some(end) => (0, end),
            None => self.delimiter.find(&content).ok_or("a part has no end")?,
        };
        self.rest = content.slice(end..);
        part(header, content.slice(..length)).map(Some)
    }
}

/// RFC 2046 5.1.1: transport-padding.
fn after_padding(rest: &[u8]) -> &[u8] {
    let padding = rest.iter().take_while(|o| matches!(o, b' ' | b'\t'));
    &rest[padding.count()..]
}

fn part(octets: &[u8], content: Bytes) -> Result<Part, Broken> {
    let header = Header::of_section(octets);
    let read: usize = header.fields().map(|field| field.raw.len()).sum();
    let is_all = matches!(octets.get(read..), Some(b"\n" | b"\r\n"));
    if !is_all || has_rubbish(octets) {
        return Err("a header can't be read");
    }
    let value = |wanted: &str| {
        let field = header.first(wanted);
        field.map_or(Cow::Borrowed(&b""[..]), |field| field.unfolded())
    };
    let text = |wanted: &str| String::from_utf8_lossy(&value(wanted)).into_owned();
    let disposition = Disposition::parse(&value("Content-Disposition"))?;
    // RFC 7578 4.7: nobody should write it, other values say nothing about octets in HTTP, and base64 was never undone by the first such API.
    let encoding = value("Content-Transfer-Encoding");
    let content = match encoding.eq_ignore_ascii_case(b"quoted-printable") {
        true => TransferEncoding::QuotedPrintable
            .decode(&content)
            .into_owned()
            .into(),
        false => content,
    };
    Ok(Part {
        name: disposition.name,
        file_name: disposition.file_name,
        content_type: text("Content-Type"),
        content_id: text("Content-ID"),
        content,
    })
}

/// NUL, or a CR that ends no line: unfolding would drop them without a word.
fn has_rubbish(header: &[u8]) -> bool {
    let is_rubbish = |(octet, next): (&u8, Option<&u8>)| match octet {
        0 => true,
        b'\r' => next != Some(&b'\n'),
        _ => false,
    };
    let next = header.iter().skip(1).map(Some).chain([None]);
    header.iter().zip(next).any(is_rubbish)
}

/// Octets of a part's header: what is made of it is up to three times as long, for each of the parts.
const HEADER_MAX: usize = 16 << 10;

#[cfg(test)]
#[path = "multipart_tests.rs"]
mod tests;

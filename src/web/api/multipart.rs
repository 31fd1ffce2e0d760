//! The parts of a form: slices of the body that came, so that a large file is not in memory twice. RFC 7578 (multipart/form-data), RFC 2046 5.1.1.
//! Not here: how a part says what it is called (`disposition`), what the parts are called, and how many there may be (`form`).

use httparse::{EMPTY_HEADER, Status, parse_headers};
use hyper::body::Bytes;
use memchr::memmem::{Finder, find};

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
    delimiter: Finder<'static>,
}

/// Why it can't be read.
pub(super) type Broken = &'static str;

impl Parts {
    /// Of a body.
    pub fn of(octets: Bytes, boundary: &[u8]) -> Result<Parts, Broken> {
        let delimiter = [b"\r\n--", boundary].concat();
        let finder = Finder::new(&delimiter).into_owned();
        // A line, maybe the first.
        let first = match octets.starts_with(&delimiter[2..]) {
            true => delimiter.len() - 2,
            false => {
                let at = finder.find(&octets).ok_or("no part begins")?;
                at + delimiter.len()
            }
        };
        Ok(Parts {
            rest: octets.slice(first..),
            delimiter: finder,
        })
    }

    /// The next one; none: that was the last.
    pub fn next(&mut self) -> Result<Option<Part>, Broken> {
        if self.rest.starts_with(b"--") {
            return Ok(None);
        }
        let is_padding = |octet: &&u8| matches!(octet, b' ' | b'\t');
        let padding = self.rest.iter().take_while(is_padding).count();
        let line = self.rest.slice(padding..);
        if !line.starts_with(b"\r\n") {
            return Err("a delimiter does not end its line");
        }
        let lines = line.slice(2..);
        let head_length = match lines.starts_with(b"\r\n") {
            true => 0,
            false => 2 + find(&lines, b"\r\n\r\n").ok_or("a header has no end")?,
        };
        let head = lines.slice(..head_length + 2);
        let content = lines.slice(head_length + 2..);
        let end = self.delimiter.find(&content).ok_or("a part has no end")?;
        self.rest = content.slice(end + self.delimiter.needle().len()..);
        part(&head, content.slice(..end)).map(Some)
    }
}

fn part(head: &[u8], content: Bytes) -> Result<Part, Broken> {
    let mut fields = [EMPTY_HEADER; FIELDS_MAX];
    let Ok(Status::Complete((_, fields))) = parse_headers(head, &mut fields) else {
        return Err("a header can't be read");
    };
    let value = |wanted: &str| {
        let field = fields.iter().find(|f| f.name.eq_ignore_ascii_case(wanted));
        field.map_or(&b""[..], |field| field.value)
    };
    let text = |wanted: &str| String::from_utf8_lossy(value(wanted)).into_owned();
    let disposition = Disposition::parse(value("Content-Disposition"))?;
    Ok(Part {
        name: disposition.name,
        file_name: disposition.file_name,
        content_type: text("Content-Type"),
        content_id: text("Content-ID"),
        content,
    })
}

/// Fields of a part's header.
const FIELDS_MAX: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    fn all(body: &str) -> Result<Vec<Part>, Broken> {
        let mut parts = Parts::of(Bytes::copy_from_slice(body.as_bytes()), b"b")?;
        let mut all = Vec::new();
        while let Some(part) = parts.next()? {
            all.push(part);
        }
        Ok(all)
    }

    #[test]
    fn parts_are_what_stands_between_delimiters() {
        let body = "before\r\n--b \t\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\none\r\n--\r\ntwo\r\n--b\r\n\r\nno header\r\n--b\r\n\
            content-disposition: form-data; filename=\"x\\\"y\\z;\u{e4}\" ; name = f\r\nContent-Type: text/x\r\nCONTENT-ID: <1>\r\n\r\n\r\n--b--\r\n--b\r\nafter";
        let parts = all(body).unwrap();
        let contents: Vec<&[u8]> = parts.iter().map(|part| &part.content[..]).collect();
        assert_eq!(contents, [&b"one\r\n--\r\ntwo"[..], b"no header", b""]);
        assert_eq!((parts[0].name.as_str(), &parts[0].file_name), ("a", &None));
        assert_eq!((parts[1].name.as_str(), &parts[1].file_name), ("", &None));
        let last = &parts[2];
        assert_eq!(last.file_name.as_deref(), Some("x\"y\\z;\u{e4}"));
        let said = (&*last.name, &*last.content_type, &*last.content_id);
        assert_eq!(said, ("f", "text/x", "<1>"));
        assert_eq!(all("--b--").unwrap(), []);
        assert_eq!(all("--b\r\n\r\nx\r\n--b--").unwrap().len(), 1);
    }

    #[test]
    fn what_breaks_off_is_no_form() {
        for body in [
            "",
            "--c\r\n\r\nx\r\n--c--",
            "--b",
            "--b\r\n",
            "--b\r\n\r\n",
            "--b\r\n\r\nx",
            "--b\r\nA: b\r\nx\r\n--b--",
            "--b x\r\n\r\nx\r\n--b--",
            "--b\r\n\r\nx\r\n--b",
            "--b\r\nno field\r\n\r\nx\r\n--b--",
        ] {
            assert!(all(body).is_err(), "{body:?}");
        }
    }
}

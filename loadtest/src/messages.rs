//! The messages that are sent, and the check of those that come back.
//!
//! All messages of a run share one body; only the Message-ID differs, and the author where each connection has its own. A field of the header tells octets and CRC-32 of the
//! body, so whoever fetches a message can check it without knowing who sent it. RFC 5322.

use memchr::memmem;

/// Makes messages of one size.
pub struct Messages {
    run: String,
    fixed: String,
    body: Vec<u8>,
}

impl Messages {
    /// Messages of `size` octets, but at least of the header and one line. `run` makes tokens unique.
    pub fn new(size: usize, run: &str) -> Self {
        let mut messages = Self {
            run: run.to_owned(),
            fixed: String::new(),
            body: Vec::new(),
        };
        // The number of octets is written at a fixed width: the header's length is known before the body's.
        messages.fixed = fixed_header(0, 0);
        let header = messages.header(0).len();
        messages.body = body(size.saturating_sub(header).max(LINE_MIN));
        messages.fixed = fixed_header(messages.body.len(), crc32fast::hash(&messages.body));
        messages
    }

    /// The header of message number `sequence`, with the empty line that ends it.
    pub fn header(&self, sequence: u64) -> String {
        self.header_by(sequence, AUTHOR)
    }

    /// The same with another author: who submits may only write as himself.
    pub fn header_by(&self, sequence: u64, author: &str) -> String {
        let token = self.token(sequence);
        format!(
            "Message-ID: <{token}{TOKEN_HOST}>\r\nFrom: Load Test <{author}>\r\n{}",
            self.fixed
        )
    }

    /// What makes the message known again: the left side of its Message-ID.
    pub fn token(&self, sequence: u64) -> String {
        format!("{}.{sequence:012}", self.run)
    }

    /// The body all share: CRLF lines, none of which begins with a dot, so that it needs no stuffing.
    pub fn body(&self) -> &[u8] {
        &self.body
    }
}

/// Checks a message as it comes, in pieces.
#[derive(Default)]
pub struct BodyCheck {
    header: Vec<u8>,
    body: Option<crc32fast::Hasher>,
    body_size: u64,
}

impl BodyCheck {
    /// Takes the next octets.
    pub fn receive(&mut self, octets: &[u8]) {
        if let Some(body) = &mut self.body {
            body.update(octets);
            self.body_size += octets.len() as u64;
            return;
        }
        // The end of the header may be cut: look again at the last three octets.
        let from = self.header.len().saturating_sub(3);
        self.header.extend_from_slice(octets);
        if let Some(at) = memmem::find(&self.header[from..], b"\r\n\r\n") {
            let body = self.header.split_off(from + at + 4);
            let hasher = self.body.insert(crc32fast::Hasher::new());
            hasher.update(&body);
            self.body_size = body.len() as u64;
        }
    }

    /// The message's token, if it is one of ours and its header was seen.
    pub fn token(&self) -> Option<&str> {
        token_of(&self.header)
    }

    /// The message is whole: compares, and is ready for the next. Messages of others pass.
    pub fn finish(&mut self) -> Result<(), String> {
        let check = std::mem::take(self);
        let Some((size, crc)) = promised(&check.header) else {
            return Ok(());
        };
        let found = check.body.map_or(0, crc32fast::Hasher::finalize);
        if check.body_size != size {
            return Err(format!(
                "body of {} octets, {size} were sent",
                check.body_size
            ));
        }
        if found != crc {
            return Err(format!("body has CRC {found:08x}, sent was {crc:08x}"));
        }
        Ok(())
    }
}

/// The token in a Message-ID field, if the message is one of ours.
pub fn token_of(header: &[u8]) -> Option<&str> {
    let end = memmem::find(header, TOKEN_HOST.as_bytes())?;
    let start = memchr::memrchr(b'<', &header[..end])? + 1;
    std::str::from_utf8(&header[start..end]).ok()
}

fn fixed_header(size: usize, crc: u32) -> String {
    format!(
        "Date: Thu, 01 Jan 2026 12:00:00 +0000\r\n\
         To: undisclosed-recipients:;\r\n\
         Subject: loadtest of a mail server\r\n\
         MIME-Version: 1.0\r\n\
         Content-Type: text/plain; charset=us-ascii\r\n\
         {CHECK_FIELD}{size:012} {crc:08x}\r\n\r\n"
    )
}

/// Size and CRC that the header promises.
fn promised(header: &[u8]) -> Option<(u64, u32)> {
    let at = memmem::find(header, CHECK_FIELD.as_bytes())? + CHECK_FIELD.len();
    let value = std::str::from_utf8(header.get(at..at + 21)?).ok()?;
    let (size, crc) = value.split_once(' ')?;
    Some((size.parse().ok()?, u32::from_str_radix(crc, 16).ok()?))
}

/// Lines of words with a xorshift generator: the same for each run, and not compressible to nothing.
fn body(size: usize) -> Vec<u8> {
    let mut body = Vec::with_capacity(size);
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    while body.len() < size {
        let left = size - body.len();
        // A last line of less than its CRLF and a letter cannot be: the one before takes it along.
        let line = if left < LINE + LINE_MIN { left } else { LINE };
        for column in 0..line - 2 {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let letter = b'a' + (state % 26) as u8;
            body.push(if column % 7 == 6 { b' ' } else { letter });
        }
        body.extend_from_slice(b"\r\n");
    }
    body
}

/// Of messages that nobody in particular sends.
pub const AUTHOR: &str = "load@example.org";
const TOKEN_HOST: &str = "@loadtest.invalid";
const CHECK_FIELD: &str = "X-Loadtest: ";
const LINE: usize = 74;
const LINE_MIN: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_have_the_size_asked_for_and_no_dots_at_line_starts() {
        for size in [1000, 1001, 1073, 1074, 1075, 1076, 10_240] {
            let messages = Messages::new(size, "run");
            let text = messages.header(7) + std::str::from_utf8(messages.body()).unwrap();
            assert_eq!(text.len(), size);
            assert!(text.ends_with("\r\n") && !text.contains("\n."));
            assert!(text.split("\r\n").all(|line| line.len() <= 78));
        }
    }

    #[test]
    fn a_message_cut_anywhere_is_checked() {
        let messages = Messages::new(700, "run");
        let mut text = messages.header(7).into_bytes();
        text.extend_from_slice(messages.body());
        let mut check = BodyCheck::default();
        for cut in 0..text.len() {
            check.receive(&text[..cut]);
            check.receive(&text[cut..]);
            assert_eq!(check.finish(), Ok(()));
        }
        text[690] ^= 1;
        check.receive(&text);
        assert!(check.finish().unwrap_err().contains("CRC"));
        check.receive(&text[..690]);
        assert!(check.finish().unwrap_err().contains("octets"));
        check.receive(b"Subject: of others\r\n\r\nx");
        assert_eq!(check.finish(), Ok(()));
    }

    #[test]
    fn tokens_are_found_in_a_header() {
        let messages = Messages::new(700, "run");
        let header = messages.header(7);
        assert_eq!(
            token_of(header.as_bytes()),
            Some(messages.token(7).as_str())
        );
        assert_eq!(token_of(b"Message-ID: <a@b>"), None);
    }
}

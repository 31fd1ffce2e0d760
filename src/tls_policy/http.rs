//! The answer of a policy host, read as it comes: HTTP/1.1 as far as one GET needs it. No socket here; what comes is anybody's, and bounded.
//! RFC 9112 6 (how long a body is), RFC 9110 15.2 (interim answers).

/// An answer that is being read.
pub(super) struct Answer {
    /// The status code; 0 before it is known.
    pub status: u16,
    /// The value of Content-Type.
    pub content_type: Option<String>,
    /// As much of the body as is wanted.
    pub body: Vec<u8>,
    unread: Vec<u8>,
    state: State,
    body_max: usize,
}

enum State {
    Head,
    /// So many octets are left.
    Length(u64),
    Chunks,
    /// Of a chunk so many octets are left, its end line not counted.
    Chunk(u64),
    Done,
}

/// Why it cannot be read. In words for operators.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unreadable {
    #[error("the answer is no HTTP")]
    NoHttp,
    #[error("the head of the answer has more than {HEAD_MAX} octets")]
    Head,
    #[error("the answer is packed, which nobody asked for")]
    Packed,
    /// RFC 9112 6.3: such a body ends with the connection. Whoever can cut that could shorten a policy.
    #[error("the answer does not say where it ends")]
    Endless,
}

impl Answer {
    /// Of whose body at most so many octets are wanted.
    pub fn new(body_max: usize) -> Answer {
        Answer {
            status: 0,
            content_type: None,
            body: Vec::new(),
            unread: Vec::new(),
            state: State::Head,
            body_max,
        }
    }

    /// Takes octets; true once there is all that is wanted.
    pub fn receive(&mut self, octets: &[u8]) -> Result<bool, Unreadable> {
        self.unread.extend_from_slice(octets);
        while self.step()? {}
        Ok(matches!(self.state, State::Done))
    }

    /// Whether there may be more to do with what is unread.
    fn step(&mut self) -> Result<bool, Unreadable> {
        match self.state {
            State::Head => self.head(),
            State::Length(left) => Ok(self.take(left, State::Length, State::Done)),
            State::Chunks => self.chunk_size(),
            State::Chunk(left) => Ok(self.take(left, State::Chunk, State::Chunks)),
            State::Done => Ok(false),
        }
    }

    fn head(&mut self) -> Result<bool, Unreadable> {
        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut response = httparse::Response::new(&mut headers);
        let length = match response.parse(&self.unread) {
            Ok(httparse::Status::Complete(length)) if length <= HEAD_MAX => length,
            Ok(httparse::Status::Partial) if self.unread.len() <= HEAD_MAX => return Ok(false),
            Ok(_) | Err(httparse::Error::TooManyHeaders) => return Err(Unreadable::Head),
            Err(_) => return Err(Unreadable::NoHttp),
        };
        let value = |name: &str| {
            let found = response
                .headers
                .iter()
                .find(|h| h.name.eq_ignore_ascii_case(name));
            found.map(|h| String::from_utf8_lossy(h.value).trim().to_string())
        };
        let status = response.code.unwrap_or_default();
        let (content_type, packed) = (value("content-type"), value("content-encoding"));
        let (coding, size) = (value("transfer-encoding"), value("content-length"));
        self.unread.drain(..length);
        if (100..200).contains(&status) {
            return Ok(true);
        }
        (self.status, self.content_type) = (status, content_type);
        self.state = match (coding, size) {
            // Its status says all.
            _ if status != 200 => State::Done,
            _ if packed.is_some_and(|c| !c.eq_ignore_ascii_case("identity")) => {
                return Err(Unreadable::Packed);
            }
            (Some(coding), _) if coding.eq_ignore_ascii_case("chunked") => State::Chunks,
            (Some(_), _) => return Err(Unreadable::Packed),
            (None, Some(size)) => match size.parse() {
                Ok(0) => State::Done,
                Ok(size) => State::Length(size),
                Err(_) => return Err(Unreadable::NoHttp),
            },
            (None, None) => return Err(Unreadable::Endless),
        };
        Ok(true)
    }

    fn chunk_size(&mut self) -> Result<bool, Unreadable> {
        // The end of the chunk before.
        let line = self.unread.strip_prefix(b"\r\n".as_slice());
        let skipped = if line.is_some() { 2 } else { 0 };
        match httparse::parse_chunk_size(line.unwrap_or(&self.unread)) {
            Ok(httparse::Status::Complete((length, size))) => {
                self.unread.drain(..skipped + length);
                self.state = match size {
                    0 => State::Done,
                    size => State::Chunk(size),
                };
                Ok(true)
            }
            Ok(httparse::Status::Partial) if self.unread.len() <= HEAD_MAX => Ok(false),
            Ok(_) => Err(Unreadable::Head),
            Err(_) => Err(Unreadable::NoHttp),
        }
    }

    /// Takes what is there of the body; then it is `more` of it, or `after`.
    fn take(&mut self, left: u64, more: fn(u64) -> State, after: State) -> bool {
        let here = usize::try_from(left)
            .unwrap_or(usize::MAX)
            .min(self.unread.len());
        let wanted = here.min(self.body_max - self.body.len());
        self.body.extend(&self.unread[..wanted]);
        self.unread.drain(..here);
        let left = left - here as u64;
        self.state = match left {
            _ if self.body.len() == self.body_max => State::Done,
            0 => after,
            left => more(left),
        };
        left == 0
    }
}

/// Octets of a head; those in use have a few hundred.
const HEAD_MAX: usize = 16 << 10;
const HEADERS_MAX: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;

    /// The same however it is cut: whole, and octet by octet.
    fn read(text: &str) -> Result<(u16, String, Option<String>), Unreadable> {
        let mut results = Vec::new();
        for size in [text.len(), 1, 3] {
            let mut answer = Answer::new(20);
            let mut done = false;
            let mut failed = None;
            for piece in text.as_bytes().chunks(size) {
                match answer.receive(piece) {
                    Ok(true) => done = true,
                    Ok(false) => (),
                    Err(error) => {
                        failed = Some(error);
                        break;
                    }
                }
            }
            results.push(match failed {
                Some(error) => Err(error),
                None => {
                    assert!(done, "{text:?} has an end");
                    let body = String::from_utf8(answer.body).unwrap();
                    Ok((answer.status, body, answer.content_type))
                }
            });
        }
        let last = results.pop().unwrap();
        assert!(
            results.iter().all(|result| *result == last),
            "{results:?} {last:?}"
        );
        last
    }

    #[test]
    fn bodies_of_each_kind() {
        let plain = || Some("text/plain".to_string());
        let head = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n";
        let sized = format!("{head}Content-Length: 5\r\n\r\nhello more");
        assert_eq!(read(&sized), Ok((200, "hello".into(), plain())));
        let empty = format!("{head}content-length: 0\r\n\r\n");
        assert_eq!(read(&empty), Ok((200, String::new(), plain())));
        let chunks = "5\r\nhello\r\n6;x=y\r\n, you!\r\n0\r\n\r\n";
        let chunked = format!("{head}Transfer-Encoding: Chunked\r\n\r\n{chunks}");
        assert_eq!(read(&chunked), Ok((200, "hello, you!".into(), plain())));
        let early = format!("HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n{sized}");
        assert_eq!(read(&early), Ok((200, "hello".into(), plain())));
        // Of a longer one, as much as is wanted.
        let long = format!(
            "{head}Content-Length: 99999999999\r\n\r\n{}",
            "a".repeat(30)
        );
        assert_eq!(read(&long), Ok((200, "a".repeat(20), plain())));
    }

    /// Whatever comes, it is read within bounds, and the same however it is cut.
    #[test]
    fn hostile_answers() {
        let seeds = [
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n5;a\r\nhello\r\n0\r\n\r\n",
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 18446744073709551615\r\n\r\nhello",
        ];
        let mut random = 1u64;
        let mut next = move |below: usize| {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (random >> 33) as usize % below
        };
        for round in 0..20_000 {
            let mut octets = seeds[round % seeds.len()].as_bytes().to_vec();
            for _ in 0..next(4) {
                let at = next(octets.len());
                match next(3) {
                    0 => octets[at] = next(256) as u8,
                    1 => drop(octets.remove(at)),
                    _ => octets.insert(at, b"0f\r\n:;"[next(6)]),
                }
            }
            let mut results = Vec::new();
            for size in [octets.len(), 1 + next(9)] {
                let mut answer = Answer::new(20);
                let mut result = Ok(false);
                for piece in octets.chunks(size) {
                    result = answer.receive(piece);
                    if result != Ok(false) {
                        break;
                    }
                }
                assert!(answer.body.len() <= 20);
                results.push((result, answer.status, answer.body));
            }
            assert_eq!(results[0], results[1], "{}", octets.escape_ascii());
        }
    }

    #[test]
    fn what_is_not_read() {
        let moved = "HTTP/1.1 301 Moved\r\nLocation: https://a.example/\r\n\r\n";
        assert_eq!(read(moved), Ok((301, String::new(), None)));
        let none = "HTTP/1.0 404 Not Found\r\n\r\nsorry";
        assert_eq!(read(none), Ok((404, String::new(), None)));
        let head = "HTTP/1.1 200 OK\r\n";
        assert_eq!(read("SSH-2.0-x\r\n\r\n"), Err(Unreadable::NoHttp));
        assert_eq!(read(&format!("{head}\r\nhello")), Err(Unreadable::Endless));
        for coding in ["gzip, chunked", "gzip"] {
            let text = format!("{head}Transfer-Encoding: {coding}\r\n\r\n");
            assert_eq!(read(&text), Err(Unreadable::Packed));
        }
        let packed = format!("{head}Content-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc");
        assert_eq!(read(&packed), Err(Unreadable::Packed));
        for size in ["-1", "1, 1", "x"] {
            let text = format!("{head}Content-Length: {size}\r\n\r\nx");
            assert_eq!(read(&text), Err(Unreadable::NoHttp));
        }
        let text = format!("{head}Transfer-Encoding: chunked\r\n\r\nxyz\r\n");
        assert_eq!(read(&text), Err(Unreadable::NoHttp));
        let long = format!("{head}A: {}", "x".repeat(HEAD_MAX));
        assert_eq!(read(&long), Err(Unreadable::Head));
        let many = format!("{head}{}\r\n", "A: x\r\n".repeat(HEADERS_MAX + 1));
        assert_eq!(read(&many), Err(Unreadable::Head));
    }
}

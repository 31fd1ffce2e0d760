//! Divides a stream of chunks into the header section and the body.
//! Used by signing and verification. Input is untrusted; what is kept is bounded by [`HEADER_SIZE_MAX`]. RFC 5322 2.1.
//! The header ends where `message::header::header_end` says. Not here: fields (`fields.rs`).

use memchr::memchr_iter;

use crate::limits::HEADER_SIZE_MAX;

/// Collects the header section; the rest is handed on.
#[derive(Clone, Default)]
pub(crate) struct HeaderCollector {
    header: Vec<u8>,
    /// Octets in which no end was found.
    searched: usize,
    state: State,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum State {
    #[default]
    Header,
    Body,
    TooLong,
}

impl HeaderCollector {
    /// Takes the next octets, answers those that belong to the body.
    pub(crate) fn update<'a>(&mut self, chunk: &'a [u8]) -> &'a [u8] {
        match self.state {
            State::Header => {}
            State::Body => return chunk,
            State::TooLong => return &[],
        }
        let before = self.header.len();
        let room = HEADER_SIZE_MAX - before;
        self.header
            .extend_from_slice(&chunk[..chunk.len().min(room)]);
        match self.end() {
            Some(end) => {
                self.header.truncate(end);
                self.state = State::Body;
                &chunk[end - before..]
            }
            None => {
                if chunk.len() > room {
                    self.header = Vec::new();
                    self.state = State::TooLong;
                }
                &[]
            }
        }
    }

    /// Whether all of the header has come, which is sure before the end of the message only if a body follows.
    pub(crate) fn is_complete(&self) -> bool {
        self.state == State::Body
    }

    /// The header section with its empty line; none if it is too long.
    pub(crate) fn header(&self) -> Option<&[u8]> {
        (self.state != State::TooLong).then_some(&self.header)
    }

    /// Octets that are kept.
    pub(crate) fn held(&self) -> usize {
        self.header.capacity()
    }

    /// As [`Self::header`], without a copy.
    pub(crate) fn into_header(self) -> Option<Vec<u8>> {
        (self.state != State::TooLong).then_some(self.header)
    }

    /// Where the body begins, if that is known.
    fn end(&mut self) -> Option<usize> {
        if self.searched == 0 {
            match empty_line(&self.header) {
                Line::Empty(len) => return Some(len),
                Line::Unknown => return None,
                Line::Text => {}
            }
        }
        for newline in memchr_iter(b'\n', &self.header[self.searched..]) {
            let next = self.searched + newline + 1;
            match empty_line(&self.header[next..]) {
                Line::Empty(len) => return Some(next + len),
                Line::Unknown => {
                    self.searched = next - 1;
                    return None;
                }
                Line::Text => {}
            }
        }
        self.searched = self.header.len();
        None
    }
}

enum Line {
    Empty(usize),
    Text,
    /// More octets are needed to tell.
    Unknown,
}

fn empty_line(octets: &[u8]) -> Line {
    match octets {
        [b'\n', ..] => Line::Empty(1),
        [b'\r', b'\n', ..] => Line::Empty(2),
        [] | [b'\r'] => Line::Unknown,
        _ => Line::Text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use message::header::header_end;

    #[test]
    fn the_end_is_where_the_message_crate_sees_it_in_all_cuts() {
        for message in [
            "A: b\r\nC: d\r\n\r\nbody\r\n",
            "A: b\n\nbody\n",
            "A: b\r\n\nbody\r\n",
            "\r\nbody\r\n\r\n",
            "\nbody\n\n",
            "A: b\r\n\r\n",
            "A: b\r\n",
            "A: b\r\n\r",
            "A: b",
            "\r",
            "\r\r\n\r\nx",
            "",
        ] {
            let message = message.as_bytes();
            for size in 1..=message.len().max(1) {
                let mut collector = HeaderCollector::default();
                let mut body = Vec::new();
                for chunk in message.chunks(size) {
                    body.extend_from_slice(collector.update(chunk));
                }
                let (header, expected) = message.split_at(header_end(message));
                assert_eq!(collector.header(), Some(header), "{message:?} by {size}");
                assert_eq!(body, expected, "{message:?} by {size}");
            }
        }
    }

    #[test]
    fn a_header_that_is_too_long_is_not_kept() {
        let mut collector = HeaderCollector::default();
        let line = [&[b'x'; 998][..], b"\r\n"].concat();
        for _ in 0..=HEADER_SIZE_MAX / line.len() {
            assert_eq!(collector.update(&line), b"");
        }
        assert_eq!(collector.header(), None);
        assert_eq!(collector.update(b"\r\n\r\nbody"), b"");
        assert_eq!(collector.into_header(), None);
    }
}

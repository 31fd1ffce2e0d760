//! Sends commands, and tells what came back.

use std::collections::VecDeque;
use std::ops::Range;

use super::parse;
use super::reader::{Found, Reader};
use super::response::Response;
use crate::grammar::chars;
use crate::response::push_number;
use crate::response::push_quoted;
use crate::types::Tag;

/// One connection as a client sees it.
pub struct Client {
    reader: Reader,
    output: Vec<u8>,
    /// What waits for continuations, piece by piece, and commands given meanwhile.
    held: VecDeque<Piece>,
    event: Option<Event>,
    commands: u64,
    literal_plus: bool,
    failed: bool,
}

/// A part of a command up to a literal that must wait, or to its end.
struct Piece {
    tag: Tag,
    octets: Vec<u8>,
    last: bool,
}

/// What a server sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Octets of a large literal: this range of the input last given to `receive`. Its response follows, with a
    /// [`super::Value::Streamed`] in the literal's place.
    Literal(Range<usize>),
    /// A whole response.
    Response(Response),
    /// A response that cannot be read: its text. After an endless line, nothing more is read.
    Malformed(String),
}

/// A piece of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part<'a> {
    /// Written as it is.
    Text(&'a str),
    /// An astring: as an atom, quoted, or as a literal.
    String(&'a [u8]),
    /// A literal.
    Literal(&'a [u8]),
    /// A literal8, RFC 3516.
    Literal8(&'a [u8]),
}

impl Default for Client {
    fn default() -> Self {
        Self::new()
    }
}

impl Client {
    /// Literals up to this size stay within their response.
    const INLINE_MAX: u64 = 4096;

    /// A client that waits for a continuation before each literal.
    pub fn new() -> Self {
        Self::with_inline_max(Self::INLINE_MAX)
    }

    /// Alike; literals of more octets than that are streamed as [`Event::Literal`].
    pub fn with_inline_max(inline_max: u64) -> Self {
        Self {
            reader: Reader::new(inline_max.min(crate::limits::CLIENT_LINE_MAX as u64)),
            output: Vec::new(),
            held: VecDeque::new(),
            event: None,
            commands: 0,
            literal_plus: false,
            failed: false,
        }
    }

    /// Whether literals are sent without waiting: once the server has announced LITERAL+ (RFC 7888).
    pub fn literal_plus(&mut self, announced: bool) {
        self.literal_plus = announced;
    }

    /// Sends a command without literals.
    pub fn command(&mut self, text: &str) -> Tag {
        self.send(&[Part::Text(text)])
    }

    /// Sends a command in pieces; what follows a literal's announcement waits for the continuation if it must.
    pub fn send(&mut self, parts: &[Part<'_>]) -> Tag {
        let tag = self.next_tag();
        let mut pieces = vec![format!("{tag} ").into_bytes()];
        for part in parts {
            match *part {
                Part::Text(text) => last(&mut pieces).extend_from_slice(text.as_bytes()),
                Part::String(octets) if is_plain(octets) => {
                    last(&mut pieces).extend_from_slice(octets)
                }
                Part::String(octets) if is_quotable(octets) => {
                    push_quoted(last(&mut pieces), octets)
                }
                Part::String(octets) | Part::Literal(octets) => {
                    self.literal(&mut pieces, octets, "{")
                }
                Part::Literal8(octets) => self.literal(&mut pieces, octets, "~{"),
            }
        }
        last(&mut pieces).extend_from_slice(b"\r\n");
        let waiting = !self.held.is_empty();
        let count = pieces.len();
        let pieces = pieces.into_iter().enumerate();
        self.held.extend(pieces.map(|(index, octets)| Piece {
            tag: tag.clone(),
            octets,
            last: index + 1 == count,
        }));
        if !waiting {
            self.release();
        }
        tag
    }

    /// Sends what is held up to the next literal that must wait, or all of it.
    fn release(&mut self) {
        while let Some(piece) = self.held.pop_front() {
            self.output.extend_from_slice(&piece.octets);
            if !piece.last {
                return;
            }
        }
    }

    fn literal(&self, pieces: &mut Vec<Vec<u8>>, octets: &[u8], open: &str) {
        let piece = last(pieces);
        piece.extend_from_slice(open.as_bytes());
        push_number(piece, octets.len() as u64);
        piece.extend_from_slice(if self.literal_plus {
            b"+}\r\n"
        } else {
            b"}\r\n"
        });
        if !self.literal_plus {
            pieces.push(Vec::new());
        }
        last(pieces).extend_from_slice(octets);
    }

    /// Begins a command that ends in a literal of so many octets, such as `APPEND INBOX (\Seen) `. With LITERAL+ the
    /// caller sends the octets and then CRLF at once; otherwise after the [`Response::Continuation`].
    pub fn begin(&mut self, text: &str, octets: u64) -> Tag {
        let tag = self.next_tag();
        let plus = if self.literal_plus { "+" } else { "" };
        self.output
            .extend_from_slice(format!("{tag} {text}{{{octets}{plus}}}\r\n").as_bytes());
        tag
    }

    /// Sends a line without a tag: DONE, or the answer to a challenge in base64.
    pub fn line(&mut self, text: &str) {
        self.output.extend_from_slice(text.as_bytes());
        self.output.extend_from_slice(b"\r\n");
    }

    /// Reads input up to the next event and says how many octets it used; 0 while an event waits.
    pub fn receive(&mut self, input: &[u8]) -> usize {
        let mut used = 0;
        while used < input.len() && self.event.is_none() {
            if self.failed {
                return input.len();
            }
            let (taken, found) = self.reader.step(&input[used..]);
            match found {
                Found::Nothing => {}
                Found::Literal(range) => {
                    self.event = Some(Event::Literal(used + range.start..used + range.end))
                }
                Found::Response(octets) => self.response(&octets),
                Found::TooLong => {
                    self.failed = true;
                    self.event = Some(Event::Malformed("response too long".into()));
                }
            }
            used += taken;
        }
        used
    }

    fn response(&mut self, octets: &[u8]) {
        match parse::response(octets) {
            Some(Response::Continuation(_)) if !self.held.is_empty() => {
                self.release();
            }
            Some(response) => {
                if let Response::Tagged(tag, _) = &response {
                    self.answered(tag);
                }
                self.event = Some(Event::Response(response));
            }
            None => {
                self.event = Some(Event::Malformed(
                    String::from_utf8_lossy(octets).into_owned(),
                ))
            }
        }
    }

    /// A command that was refused before its literal: the rest of it is not wanted, and the next one may go.
    fn answered(&mut self, tag: &Tag) {
        if self.held.front().is_some_and(|piece| piece.tag == *tag) {
            self.held.retain(|piece| piece.tag != *tag);
            self.release();
        }
    }

    /// What came.
    pub fn event(&mut self) -> Option<Event> {
        self.event.take()
    }

    /// Appends what is to be sent.
    pub fn transmit(&mut self, output: &mut Vec<u8>) {
        output.append(&mut self.output);
    }

    fn next_tag(&mut self) -> Tag {
        self.commands += 1;
        Tag::new(format!("c{}", self.commands).as_bytes()).expect("a letter and digits are a tag")
    }
}

fn last(pieces: &mut [Vec<u8>]) -> &mut Vec<u8> {
    pieces.last_mut().expect("a command has a first piece")
}

fn is_plain(octets: &[u8]) -> bool {
    !octets.is_empty() && octets.iter().all(|&octet| chars::is_astring(octet))
}

fn is_quotable(octets: &[u8]) -> bool {
    octets.iter().all(|octet| (b' '..=b'~').contains(octet))
}

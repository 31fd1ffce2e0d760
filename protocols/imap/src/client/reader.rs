//! Finds the responses in what a server sends: lines, with literals in them. Small literals stay in the response,
//! large ones are handed on as ranges of the input.

use std::ops::Range;

use crate::framing::{LiteralHeader, strip_line_end};
use crate::limits::CLIENT_LINE_MAX;

/// What the reader found.
pub(super) enum Found {
    /// The input is used up, nothing is whole yet.
    Nothing,
    /// Octets of a large literal, as a range of the step's input.
    Literal(Range<usize>),
    /// A whole response without its last CRLF.
    Response(Vec<u8>),
    /// A line without end.
    TooLong,
}

enum Phase {
    Line,
    Inline(usize),
    Stream(u64),
}

/// The reader's state: the response so far.
pub(super) struct Reader {
    phase: Phase,
    buffer: Vec<u8>,
    line_start: usize,
    inline_max: u64,
}

impl Reader {
    pub(super) fn new(inline_max: u64) -> Self {
        Self {
            phase: Phase::Line,
            buffer: Vec::new(),
            line_start: 0,
            inline_max,
        }
    }

    /// Uses input up to the next thing found. Says how much was used.
    pub(super) fn step(&mut self, input: &[u8]) -> (usize, Found) {
        match &mut self.phase {
            Phase::Inline(remaining) => {
                let taken = (*remaining).min(input.len());
                *remaining -= taken;
                self.buffer.extend_from_slice(&input[..taken]);
                if *remaining == 0 {
                    self.next_line();
                }
                (taken, Found::Nothing)
            }
            Phase::Stream(remaining) => {
                let taken = usize::try_from(*remaining)
                    .unwrap_or(usize::MAX)
                    .min(input.len());
                *remaining -= taken as u64;
                if *remaining == 0 {
                    self.next_line();
                }
                (taken, Found::Literal(0..taken))
            }
            Phase::Line => self.line(input),
        }
    }

    fn next_line(&mut self) {
        self.phase = Phase::Line;
        self.line_start = self.buffer.len();
    }

    fn line(&mut self, input: &[u8]) -> (usize, Found) {
        let end = memchr::memchr(b'\n', input).map(|at| at + 1);
        let taken = end.unwrap_or(input.len());
        if self.buffer.len() + taken > CLIENT_LINE_MAX {
            return (input.len(), Found::TooLong);
        }
        self.buffer.extend_from_slice(&input[..taken]);
        if end.is_none() {
            return (taken, Found::Nothing);
        }
        let whole = strip_line_end(&self.buffer[self.line_start..]).len();
        self.buffer.truncate(self.line_start + whole);
        match LiteralHeader::at_end_of(&self.buffer[self.line_start..]) {
            Some(header) => {
                self.literal(header.size);
                (taken, Found::Nothing)
            }
            None => {
                self.line_start = 0;
                (taken, Found::Response(std::mem::take(&mut self.buffer)))
            }
        }
    }

    fn literal(&mut self, size: u64) {
        if size > self.inline_max {
            // A mark that never ends a line on the wire; `value.rs` reads it.
            self.buffer.pop();
            self.buffer.extend_from_slice(b"~}\r\n");
            self.phase = Phase::Stream(size);
        } else {
            self.buffer.extend_from_slice(b"\r\n");
            // At most inline_max, which fits.
            self.phase = Phase::Inline(size as usize);
        }
        self.line_start = self.buffer.len();
        if size == 0 {
            self.next_line();
        }
    }
}

//! Message data on its way in: dots, end of data, bare CR and LF, NUL, size.
//!
//! Called by `session.rs` with what the peer sent after 354 or BDAT. This is the hot path: content is handed on as slices
//! of the input, found with memchr. The result does not depend on where reads cut the input.
//! RFC 5321 4.1.1.4 (only CRLF.CRLF ends data), 4.5.2 (dots), 2.3.8 (bare CR and LF); RFC 2045 2.7 and 2.8 (no NUL in 7bit and 8bit
//! data); RFC 3030 (chunks).

use memchr::memchr3;

use super::config::{Config, Kind};
use crate::parameters::BodyKind;
use crate::reply::Reply;

/// Why a message must be refused although it was received to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Defect {
    /// A CR without LF. RFC 5321 2.3.8.
    BareCr,
    /// A LF without CR, on delivery. RFC 5321 2.3.8, 4.1.1.4.
    BareLf,
    /// A NUL without BODY=BINARYMIME. RFC 5321 4.5.2 would carry it, but RFC 5322 4 has taken it out of messages, and neither 7BIT nor
    /// 8BITMIME data may have it (RFC 2045 2.7 and 2.8): filters and readers disagree on what follows it.
    Nul,
    /// More than the size announced. RFC 1870 6.1.
    TooBig,
}

impl Defect {
    /// What to tell the peer.
    pub fn reply(self) -> Reply {
        match self {
            Defect::BareCr | Defect::BareLf => Reply::bare_cr_or_lf(),
            Defect::Nul => Reply::nul_in_message(),
            Defect::TooBig => Reply::message_too_big(),
        }
    }
}

/// How the end of the message is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Framing {
    /// DATA: dots are unstuffed, CRLF.CRLF ends.
    Dots,
    /// BDAT with text: octets are counted elsewhere, lines are checked.
    Counted,
    /// BDAT with BODY=BINARYMIME: octets are kept.
    Binary,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Position {
    /// After CRLF, or at the beginning: the CRLF of the DATA line counts.
    LineStart,
    /// Within a line.
    Middle,
    /// After a CR of which nobody knows yet whether it is bare.
    Cr,
    /// After CRLF and a dot; the dot is not content.
    Dot,
    /// After CRLF, a dot, and CR.
    DotCr,
}

/// What one step found.
pub(super) struct Step<'i> {
    /// Octets of the input that are done with; at least one.
    pub used: usize,
    /// Content among them; may be empty.
    pub content: &'i [u8],
    /// The end of data was reached (never with `Framing::Counted`).
    pub end: bool,
}

/// State of one message between reads.
#[derive(Debug, Clone, Copy)]
pub(super) struct Decoder {
    framing: Framing,
    position: Position,
    normalize_lf: bool,
    size_max: u64,
    octets: u64,
    /// The first flaw of its octets.
    flaw: Option<Defect>,
}

impl Decoder {
    pub fn data(config: &Config) -> Self {
        Self::new(config, Framing::Dots)
    }

    pub fn chunks(config: &Config, body: Option<BodyKind>) -> Self {
        let binary = body == Some(BodyKind::BinaryMime);
        Self::new(
            config,
            if binary {
                Framing::Binary
            } else {
                Framing::Counted
            },
        )
    }

    fn new(config: &Config, framing: Framing) -> Self {
        Decoder {
            framing,
            position: Position::LineStart,
            normalize_lf: config.kind == Kind::Submission,
            size_max: config.size_max,
            octets: 0,
            flaw: None,
        }
    }

    pub fn octets(&self) -> u64 {
        self.octets
    }

    /// The size wins, so that the answer does not depend on where reads cut the input.
    pub fn defect(&self) -> Option<Defect> {
        if self.octets > self.size_max {
            Some(Defect::TooBig)
        } else {
            self.flaw
        }
    }

    /// Called once all octets of a message sent in chunks are there.
    pub fn finish_chunks(&mut self) {
        if self.position == Position::Cr {
            self.flaw(Defect::BareCr);
        }
    }

    /// Takes a first part of `input`, which must not be empty.
    pub fn step<'i>(&mut self, input: &'i [u8]) -> Step<'i> {
        debug_assert!(!input.is_empty(), "a step needs input");
        if self.framing == Framing::Binary {
            return self.content(input, input.len());
        }
        let mut start = 0;
        match (self.position, input[0]) {
            (Position::LineStart, b'.') if self.framing == Framing::Dots => {
                return self.skip(Position::Dot);
            }
            (Position::Dot, b'\r') => return self.skip(Position::DotCr),
            (Position::DotCr, b'\n') => {
                return Step {
                    used: 1,
                    content: &[],
                    end: true,
                };
            }
            (Position::DotCr, _) => self.flaw(Defect::BareCr),
            (Position::Cr, b'\n') => {
                start = 1;
                if let Some(step) = self.after_crlf(input, start) {
                    return step;
                }
            }
            (Position::Cr, _) => self.flaw(Defect::BareCr),
            (Position::LineStart | Position::Middle | Position::Dot, _) => {}
        }
        self.lines(input, start)
    }

    /// Content from the beginning of `input`, of which lines end before `at`.
    fn lines<'i>(&mut self, input: &'i [u8], mut at: usize) -> Step<'i> {
        while let Some(found) = memchr3(b'\r', b'\n', 0, &input[at..]) {
            let line_end = at + found;
            if input[line_end] == 0 {
                self.flaw(Defect::Nul);
                at = line_end + 1;
                continue;
            }
            if input[line_end] == b'\n' {
                if self.normalize_lf {
                    return self.bare_lf(input, line_end);
                }
                self.flaw(Defect::BareLf);
                at = line_end + 1;
                continue;
            }
            match input.get(line_end + 1) {
                Some(b'\n') => {
                    at = line_end + 2;
                    if let Some(step) = self.after_crlf(input, at) {
                        return step;
                    }
                }
                Some(_) => {
                    self.flaw(Defect::BareCr);
                    at = line_end + 1;
                }
                None => {
                    self.position = Position::Cr;
                    return self.content(input, input.len());
                }
            }
        }
        self.position = Position::Middle;
        self.content(input, input.len())
    }

    /// A CRLF ends before `at`: is it the last octet, or does a dot follow?
    fn after_crlf<'i>(&mut self, input: &'i [u8], at: usize) -> Option<Step<'i>> {
        match input.get(at) {
            None => {
                self.position = Position::LineStart;
                Some(self.content(input, at))
            }
            Some(b'.') if self.framing == Framing::Dots => {
                self.position = Position::Dot;
                let step = self.content(input, at);
                Some(Step {
                    used: at + 1,
                    ..step
                })
            }
            Some(_) => None,
        }
    }

    /// Submission: a bare LF becomes CRLF. It ends a line of the message, but it is no CRLF for what follows: neither the
    /// end of data nor a stuffed dot is looked for after it.
    fn bare_lf<'i>(&mut self, input: &'i [u8], line_end: usize) -> Step<'i> {
        self.position = Position::Middle;
        if line_end > 0 {
            return self.content(input, line_end);
        }
        let step = self.content(b"\r\n", 2);
        Step { used: 1, ..step }
    }

    fn content<'i>(&mut self, input: &'i [u8], length: usize) -> Step<'i> {
        self.octets = self.octets.saturating_add(length as u64);
        let content = if self.defect().is_none() {
            &input[..length]
        } else {
            &[]
        };
        Step {
            used: length,
            content,
            end: false,
        }
    }

    fn skip(&mut self, position: Position) -> Step<'static> {
        self.position = position;
        Step {
            used: 1,
            content: &[],
            end: false,
        }
    }

    fn flaw(&mut self, flaw: Defect) {
        self.flaw.get_or_insert(flaw);
    }
}

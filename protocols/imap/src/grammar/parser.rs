//! The cursor that all grammar rules share, and the smallest rules: SP, words, numbers, lists in parentheses.

use crate::command::CommandError;
use crate::grammar::chars;
use crate::limits::NUMBER64_MAX;
use crate::types::{NameSyntax, Tag};

pub(crate) type PResult<T> = Result<T, CommandError>;

/// A place in a command.
pub(crate) struct Parser<'a> {
    octets: &'a [u8],
    at: usize,
    pub(crate) syntax: NameSyntax,
}

impl<'a> Parser<'a> {
    pub(crate) fn new(octets: &'a [u8], syntax: NameSyntax) -> Self {
        Self {
            octets,
            at: 0,
            syntax,
        }
    }

    /// The error that something else should stand here.
    pub(crate) fn expected<T>(&self, expected: &'static str) -> PResult<T> {
        Err(CommandError::Syntax {
            expected,
            at: self.at,
        })
    }

    pub(crate) fn rest(&self) -> &'a [u8] {
        &self.octets[self.at..]
    }

    pub(crate) fn at_end(&self) -> bool {
        self.at == self.octets.len()
    }

    pub(crate) fn peek(&self) -> Option<u8> {
        self.octets.get(self.at).copied()
    }

    /// Moves on; never past the end.
    pub(crate) fn advance(&mut self, count: usize) -> &'a [u8] {
        let end = self.at.saturating_add(count).min(self.octets.len());
        let taken = &self.octets[self.at..end];
        self.at = end;
        taken
    }

    /// Takes the octet if it is next.
    pub(crate) fn eat(&mut self, octet: u8) -> bool {
        let next = self.peek() == Some(octet);
        self.at += usize::from(next);
        next
    }

    pub(crate) fn expect(&mut self, octet: u8, expected: &'static str) -> PResult<()> {
        if self.eat(octet) {
            Ok(())
        } else {
            self.expected(expected)
        }
    }

    /// SP: exactly one space, RFC 9051 9 (2).
    pub(crate) fn space(&mut self) -> PResult<()> {
        self.expect(b' ', "a space")
    }

    /// The end of the command. Quirk: spaces before it are taken, some old clients send one.
    pub(crate) fn end(&mut self) -> PResult<()> {
        while self.eat(b' ') {}
        if self.at_end() {
            Ok(())
        } else {
            self.expected("the end of the command")
        }
    }

    pub(crate) fn take_while(&mut self, class: impl Fn(u8) -> bool) -> &'a [u8] {
        let rest = self.rest();
        let length = rest
            .iter()
            .position(|&octet| !class(octet))
            .unwrap_or(rest.len());
        self.advance(length)
    }

    /// A name of the grammar, compared without case.
    pub(crate) fn word(&mut self) -> Word {
        Word::new(self.take_while(chars::is_word))
    }

    /// Takes the word if it is next and nothing like a word follows it.
    pub(crate) fn eat_word(&mut self, word: &str) -> bool {
        let before = self.at;
        let next = self
            .take_while(chars::is_word)
            .eq_ignore_ascii_case(word.as_bytes());
        if !next {
            self.at = before;
        }
        next
    }

    /// `tag SP`
    pub(crate) fn tag(&mut self) -> PResult<Tag> {
        let Some(tag) = Tag::new(self.take_while(chars::is_tag)) else {
            return self.expected("a tag");
        };
        self.space()?;
        Ok(tag)
    }

    /// number64 = 1*DIGIT, at most 63 bits
    pub(crate) fn number64(&mut self) -> PResult<u64> {
        let start = self.at;
        let mut number = 0u64;
        while let Some(octet @ b'0'..=b'9') = self.peek() {
            number = match number
                .checked_mul(10)
                .and_then(|number| number.checked_add(u64::from(octet - b'0')))
            {
                Some(number) if number <= NUMBER64_MAX => number,
                _ => {
                    return Err(CommandError::Syntax {
                        expected: "a number of 63 bits",
                        at: start,
                    });
                }
            };
            self.at += 1;
        }
        if self.at == start {
            self.expected("a number")
        } else {
            Ok(number)
        }
    }

    /// number = 1*DIGIT, 32 bits
    pub(crate) fn number(&mut self) -> PResult<u32> {
        let start = self.at;
        let number = self.number64()?;
        u32::try_from(number).map_err(|_| CommandError::Syntax {
            expected: "a number of 32 bits",
            at: start,
        })
    }

    /// nz-number = digit-nz *DIGIT
    pub(crate) fn nz_number(&mut self) -> PResult<u32> {
        if self.peek() == Some(b'0') {
            return self.expected("a number above 0");
        }
        self.number()
    }

    /// `"(" item *(SP item) ")"`, at most `max` items. With `empty` also `"()"`.
    pub(crate) fn list(
        &mut self,
        (what, max): (&'static str, usize),
        empty: Empty,
        mut item: impl FnMut(&mut Self) -> PResult<()>,
    ) -> PResult<()> {
        self.expect(b'(', "a list in parentheses")?;
        if empty == Empty::Allowed && self.eat(b')') {
            return Ok(());
        }
        for _ in 0..max {
            item(self)?;
            if self.eat(b')') {
                return Ok(());
            }
            self.space()?;
        }
        Err(CommandError::Limit(what))
    }
}

/// Whether a list may have no item.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Empty {
    Allowed,
    Refused,
}

/// A word in upper case, in place. Words longer than any of ours come out empty.
pub(crate) struct Word {
    octets: [u8; Self::MAX],
    length: usize,
}

impl Word {
    const MAX: usize = 24;

    fn new(octets: &[u8]) -> Self {
        let mut word = Self {
            octets: [0; Self::MAX],
            length: 0,
        };
        if octets.len() <= Self::MAX {
            word.octets[..octets.len()].copy_from_slice(octets);
            word.octets.make_ascii_uppercase();
            word.length = octets.len();
        }
        word
    }

    pub(crate) fn as_str(&self) -> &str {
        // Word characters are ASCII.
        std::str::from_utf8(&self.octets[..self.length]).unwrap_or_default()
    }
}

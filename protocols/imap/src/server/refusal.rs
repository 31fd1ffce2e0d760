//! What the session itself answers to input it cannot take.

use super::Event;
use super::appending::Skip;
use super::session::{Phase, Session};
use super::state::State;
use crate::command::{CommandError, Rejected};
use crate::framing::LiteralHeader;
use crate::limits::ECHO_MAX;
use crate::response::{Code, Condition};
use crate::types::Tag;

impl Session {
    /// A command line that does not parse.
    pub(super) fn reject(&mut self, text: &[u8], rejected: &Rejected) {
        self.count_refusal();
        // A tag and the name of a command are IMAP, whatever is wrong behind them.
        if !matches!(rejected.error, CommandError::Tag | CommandError::Unknown) {
            self.introduce();
        }
        if !self.introduced() {
            // Whoever begins like this speaks another protocol, perhaps on behalf of a browser it was tricked through.
            self.say_bye(None, "please try again speaking imap");
            return;
        }
        if let CommandError::Charset { save: true } = rejected.error
            && matches!(self.state(), State::Selected { .. })
        {
            self.push(Event::SavedResultLost);
        }
        let reply = self.rejection(text, rejected);
        self.output.extend_from_slice(&reply);
    }

    /// The response to a command line that does not parse.
    pub(super) fn rejection(&self, text: &[u8], rejected: &Rejected) -> Vec<u8> {
        let words = self.describe(text, rejected.error);
        let (condition, code) = match rejected.error {
            CommandError::Charset { .. } => (
                Condition::No,
                Some(Code::BadCharset(&["US-ASCII", "UTF-8"])),
            ),
            CommandError::SpecialUse => (Condition::No, Some(Code::UseAttr)),
            CommandError::Limit(_) => (Condition::Bad, Some(Code::Limit)),
            CommandError::Tag | CommandError::Unknown | CommandError::Syntax { .. } => {
                (Condition::Bad, None)
            }
        };
        self.refusal(rejected.tag.as_ref(), condition, code.as_ref(), &words)
    }

    /// What is wrong and, after login, where. Before login nothing of the input comes back: it may be a password, or
    /// meant for a third party that reads our answer.
    fn describe(&self, text: &[u8], error: CommandError) -> String {
        let mut words = error.to_string();
        if let (CommandError::Syntax { at, .. }, true) =
            (error, self.state() != State::NotAuthenticated)
        {
            let rest = text.get(at..).unwrap_or_default();
            let shown = &rest[..rest.len().min(ECHO_MAX)];
            let line = shown
                .split(|&octet| octet == b'\r' || octet == b'\n')
                .next()
                .unwrap_or_default();
            words.push_str(if line.is_empty() {
                ", not the end"
            } else {
                ", not: "
            });
            words.extend(line.iter().map(|&octet| {
                if matches!(octet, b' '..=b'~') {
                    char::from(octet)
                } else {
                    '?'
                }
            }));
        }
        words
    }

    /// A literal that is not wanted, in a command that is thereby over.
    pub(super) fn refuse_literal(
        &mut self,
        text: &[u8],
        header: LiteralHeader,
        code: Option<&Code<'_>>,
        words: &str,
    ) {
        self.count_refusal();
        let end = text
            .iter()
            .position(|&octet| octet == b' ')
            .unwrap_or(text.len());
        let tag = Tag::new(&text[..end]);
        let reply = self.refusal(tag.as_ref(), Condition::Bad, code, words);
        self.refuse_rest(reply, header.size, header.synchronizing);
    }

    /// Ends a command that announced a literal. RFC 9051 4.3: a client that waits learns it at once and sends nothing;
    /// one that does not wait (RFC 7888 4) is read on for a while, or gets BYE.
    pub(super) fn refuse_rest(&mut self, reply: Vec<u8>, size: u64, synchronizing: bool) {
        self.forget_literals();
        if synchronizing {
            self.output.extend_from_slice(&reply);
            self.phase = Phase::Line;
        } else if size > u64::from(self.config.discard_max) {
            self.bye(&Code::TooBig, "literal too large");
        } else {
            self.phase = Phase::Skip(Box::new(Skip {
                remaining: size,
                swallowed: size,
                reply,
            }));
        }
    }

    /// A line of a refused command is over.
    pub(super) fn skipped_line(&mut self, mut skip: Skip, header: Option<LiteralHeader>) {
        match header.filter(|header| !header.synchronizing) {
            Some(header) => {
                skip.swallowed = skip.swallowed.saturating_add(header.size);
                skip.remaining = header.size;
                if skip.swallowed > u64::from(self.config.discard_max) {
                    self.bye(&Code::TooBig, "literals too large");
                } else {
                    self.phase = Phase::Skip(Box::new(skip));
                }
            }
            // A client that waits for a continuation gets the answer instead.
            None => self.output.extend_from_slice(&skip.reply),
        }
    }

    /// Says BYE and closes.
    pub(super) fn bye(&mut self, code: &Code<'_>, words: &str) {
        self.say_bye(Some(code), words);
    }

    fn say_bye(&mut self, code: Option<&Code<'_>>, words: &str) {
        let reply = self.refusal(None, Condition::Bye, code, words);
        self.output.extend_from_slice(&reply);
        self.close();
        self.push(Event::Close);
    }
}

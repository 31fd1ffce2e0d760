//! The messages of APPEND: announced, decided upon, streamed. RFC 9051 6.3.12, RFC 3502, RFC 7888 4 and 7.

use super::Event;
use super::session::{Phase, Session};
use super::state::NonSynchronizing;
use crate::command::{CommandError, Rejected};
use crate::framing::LiteralHeader;
use crate::grammar::append;
use crate::limits::{APPEND_MESSAGES_MAX, LITERAL_MINUS_MAX, NUMBER64_MAX};
use crate::response::{self, Code, Condition};
use crate::types::{AppendMessage, MessageForm, Tag};

/// An APPEND under way.
#[derive(Debug)]
pub(super) struct Append {
    tag: Tag,
    form: MessageForm,
    synchronizing: bool,
    /// Octets of the current message still to come.
    pub(super) remaining: u64,
    messages: u32,
}

/// The rest of a refused command.
#[derive(Debug)]
pub(super) struct Skip {
    /// Octets of the current literal still to come; then a line follows.
    pub(super) remaining: u64,
    /// Octets of all its literals.
    pub(super) swallowed: u64,
    /// The response, given at the end.
    pub(super) reply: Vec<u8>,
}

impl Session {
    /// `text` is an APPEND up to its first message literal.
    pub(super) fn append_command(&mut self, text: &[u8], header: LiteralHeader) {
        self.forget_literals();
        let announced = &text[..header.start + header.opening_len()];
        match append::first_message(announced, self.syntax(), header.size) {
            Ok((tag, mailbox, message)) => {
                self.introduce();
                let append = Append {
                    tag: tag.clone(),
                    form: message.form,
                    synchronizing: header.synchronizing,
                    remaining: header.size,
                    messages: 1,
                };
                if let Some((condition, code, words)) = self.unwanted(header) {
                    self.count_refusal();
                    self.refuse_append(&append, condition, code.as_ref(), words);
                } else {
                    self.push(Event::AppendBegin { tag, mailbox });
                    self.announce(append, message);
                }
            }
            Err(error) => self.reject_append(None, text, header, error),
        }
    }

    /// A line after a message's octets.
    pub(super) fn append_line(
        &mut self,
        append: Append,
        text: &[u8],
        header: Option<LiteralHeader>,
    ) {
        let Some(header) = header else {
            match append::last_line(text, append.form) {
                Ok(()) => {
                    self.phase = Phase::Busy;
                    self.push(Event::AppendEnd);
                }
                Err(error) => {
                    self.count_refusal();
                    let reply = self.rejection(
                        text,
                        &Rejected {
                            tag: Some(append.tag),
                            error,
                        },
                    );
                    self.output.extend_from_slice(&reply);
                    self.push(Event::AppendAbort);
                }
            }
            return;
        };
        let announced = &text[..header.start + header.opening_len()];
        match append::next_message(announced, append.form, header.size) {
            Ok(message) => {
                let append = Append {
                    form: message.form,
                    synchronizing: header.synchronizing,
                    remaining: header.size,
                    messages: append.messages + 1,
                    ..append
                };
                if let Some((condition, code, words)) = self.unwanted(header) {
                    self.count_refusal();
                    self.push(Event::AppendAbort);
                    self.refuse_append(&append, condition, code.as_ref(), words);
                } else if append.messages > APPEND_MESSAGES_MAX {
                    self.push(Event::AppendAbort);
                    self.refuse_append(
                        &append,
                        Condition::No,
                        Some(&Code::Limit),
                        "too many messages in one APPEND",
                    );
                } else {
                    self.announce(append, message);
                }
            }
            Err(error) => {
                self.push(Event::AppendAbort);
                self.reject_append(Some(append.tag), text, header, error);
            }
        }
    }

    /// Messages that the session refuses without asking.
    fn unwanted(
        &self,
        header: LiteralHeader,
    ) -> Option<(Condition, Option<Code<'static>>, &'static str)> {
        let minus = self.config.non_synchronizing == NonSynchronizing::Minus;
        if header.size == 0 {
            // RFC 3502: a message of no octets cancels the whole APPEND.
            Some((
                Condition::No,
                None,
                "message of no octets, APPEND cancelled",
            ))
        } else if header.size > NUMBER64_MAX {
            Some((
                Condition::Bad,
                Some(Code::TooBig),
                "literal length is not a number of 63 bits",
            ))
        } else if minus && !header.synchronizing && header.size > LITERAL_MINUS_MAX {
            // RFC 7888 5: the tagged BAD has TOOBIG.
            Some((
                Condition::Bad,
                Some(Code::TooBig),
                "non-synchronizing literal above 4096 octets",
            ))
        } else {
            None
        }
    }

    fn announce(&mut self, append: Append, message: AppendMessage) {
        self.push(Event::AppendMessage(message));
        self.phase = Phase::AppendDecision(Box::new(append));
    }

    /// The announced message is wanted; its octets follow as [`Event::AppendData`].
    pub fn accept_message(&mut self) {
        match std::mem::replace(&mut self.phase, Phase::Line) {
            Phase::AppendDecision(append) => {
                if append.synchronizing {
                    response::continuation(&mut self.output, "ready for message");
                }
                self.phase = Phase::AppendData(append);
            }
            other => self.phase = other,
        }
    }

    /// The announced message is not wanted, or cannot be kept after all while its octets come: the whole APPEND fails with
    /// this tagged response (`NO [TRYCREATE]`, `NO [OVERQUOTA]`, `NO [TOOBIG]` ..), which the session writes as soon as the client
    /// can read it. The rest of the command is thrown away; no further event of it comes, and `answered` is not to be called.
    pub fn refuse_message(&mut self, condition: Condition, code: Option<&Code<'_>>, words: &str) {
        match std::mem::replace(&mut self.phase, Phase::Line) {
            Phase::AppendDecision(append) => self.refuse_append(&append, condition, code, words),
            Phase::AppendData(append) | Phase::AppendBetween(append) => {
                self.forget_events();
                // The client has been told to send: all of it must be read, whatever its size.
                let reply = self.refusal(Some(&append.tag), condition, code, words);
                self.phase = Phase::Skip(Box::new(Skip {
                    remaining: append.remaining,
                    swallowed: 0,
                    reply,
                }));
            }
            other => self.phase = other,
        }
    }

    pub(super) fn message_complete(&mut self) {
        match std::mem::replace(&mut self.phase, Phase::Line) {
            Phase::AppendData(append) => {
                self.push(Event::AppendMessageEnd);
                self.phase = Phase::AppendBetween(append);
            }
            other => self.phase = other,
        }
    }

    fn refuse_append(
        &mut self,
        append: &Append,
        condition: Condition,
        code: Option<&Code<'_>>,
        words: &str,
    ) {
        let reply = self.refusal(Some(&append.tag), condition, code, words);
        self.refuse_rest(reply, append.remaining, append.synchronizing);
    }

    fn reject_append(
        &mut self,
        tag: Option<Tag>,
        text: &[u8],
        header: LiteralHeader,
        error: CommandError,
    ) {
        self.count_refusal();
        let end = text
            .iter()
            .position(|&octet| octet == b' ')
            .unwrap_or(text.len());
        let tag = tag.or_else(|| Tag::new(&text[..end]));
        let reply = self.rejection(text, &Rejected { tag, error });
        self.refuse_rest(reply, header.size, header.synchronizing);
    }
}

//! Stored messages of this core's accounts, read and changed by their numbers for the API: the same store functions that IMAP's commands
//! use, so that sessions see what changes. What is read counts in the core's budget as what FETCH reads does.
//! Not here: HTTP; what a message says ([`TakenApart`]).

use imap::types::Keyword;
use webapi::{ApiError, Code, MessageMeta, MsgGetResult, TakenApart};

use crate::calls::{MessageAsk, MessageCall, MessageSaid, OCTETS_MAX};
use crate::percore::PerCore;
use crate::store::{
    self, Entry, FlagAction, Numbered, Selected, StoreError, mailbox_name, remote_ip, system,
};

impl PerCore {
    /// Answers a question about a message, or changes it.
    pub(super) async fn message(&self, call: MessageCall) -> Result<MessageSaid, ApiError> {
        let changes = matches!(
            call.ask,
            MessageAsk::Delete | MessageAsk::Flags { .. } | MessageAsk::Move(_)
        );
        if call.number == 0 && changes {
            return Err(user("MsgID: there is no message 0"));
        }
        let account = self.account(call.account).await.map_err(refusal)?;
        let number = u64::try_from(call.number).ok().filter(|n| *n > 0);
        let found = match number {
            Some(number) => account.numbered(number, call.hint).await.map_err(refusal)?,
            None => Numbered::Unknown,
        };
        let (selected, entry) = match found {
            Numbered::Message(found) => *found,
            Numbered::Removed if changes => return Err(removed()),
            Numbered::Removed | Numbered::Unknown => return Err(not_found()),
        };
        match call.ask {
            MessageAsk::Find => Ok(MessageSaid::Found(selected.place(&entry), entry.size)),
            MessageAsk::Get => self.get_message(&selected, &entry).await,
            MessageAsk::Part(path) => self.message_part(&selected, &entry, path).await,
            MessageAsk::Octets(range) => {
                let range = range.start..range.end.min(range.start.saturating_add(OCTETS_MAX));
                // With what is read along.
                let _share = self.share(2 * OCTETS_MAX + entry.size.min(1 << 20)).await?;
                let octets = selected.octets(&entry, range).await;
                octets.map(MessageSaid::Octets).map_err(refusal)
            }
            MessageAsk::Delete => match selected.remove(entry.uid).await.map_err(refusal)? {
                true => Ok(MessageSaid::Done),
                false => Err(removed()),
            },
            MessageAsk::Flags { add, flags } => {
                let action = if add {
                    FlagAction::Add
                } else {
                    FlagAction::Remove
                };
                let (bits, keywords) = read_flags(&flags)?;
                let stored = selected
                    .store_flags(&[entry.uid], action, bits, &keywords, None)
                    .await;
                match stored.map_err(refusal)?.stored.is_empty() {
                    false => Ok(MessageSaid::Done),
                    true => Err(removed()),
                }
            }
            MessageAsk::Move(to) => {
                let to = match to.eq_ignore_ascii_case(store::INBOX) {
                    true => store::INBOX,
                    false => &to,
                };
                if account.mailbox(to).is_none() {
                    return Err(user("DestMailboxName: there is no such mailbox"));
                }
                if selected.info().is_some_and(|info| info.name == to) {
                    return Err(user("the message is in that mailbox already"));
                }
                let moved = selected.move_to(&[entry.uid], to).await.map_err(refusal)?;
                match moved.uids.is_empty() {
                    false => Ok(MessageSaid::Done),
                    true => Err(removed()),
                }
            }
        }
    }

    async fn get_message(
        &self,
        selected: &Selected,
        entry: &Entry,
    ) -> Result<MessageSaid, ApiError> {
        // Read, its parts, what is said of it, and that as JSON.
        let beside = (3 * entry.size).min(TAKEN_APART_MAX);
        let _share = self.share(entry.size + beside).await?;
        let body = selected.body(entry).await.map_err(refusal)?;
        let info = selected.info();
        let (reverse_path, recipient) = body.envelope().unwrap_or_default();
        let meta = MessageMeta {
            size: entry.size as i64,
            flags: flag_words(selected, entry),
            mail_from: reverse_path,
            rcpt_to: recipient,
            mailbox_name: info.map_or(String::new(), |info| mailbox_name(&info.name)),
            ..MessageMeta::default()
        };
        let prefix = entry.prefix_length() as usize;
        let job = move || {
            let octets = body.octets();
            let taken = TakenApart::new(octets);
            let message = taken.message();
            let result = MsgGetResult {
                meta: MessageMeta {
                    dsn: taken.is_delivery_report(),
                    msg_from: message
                        .from
                        .first()
                        .map_or(String::new(), |f| f.address.clone()),
                    remote_ip: remote_ip(&octets[..prefix.min(octets.len())]),
                    ..meta
                },
                structure: taken.structure(),
                message,
            };
            serde_json::to_vec(&result)
        };
        let json = if entry.size > PARSED_HERE_MAX {
            let made = self.composing.run(&selected.account().name, job);
            made.await.map_err(ours)?
        } else {
            job()
        };
        Ok(MessageSaid::Got(json.map_err(ours)?))
    }

    async fn message_part(
        &self,
        selected: &Selected,
        entry: &Entry,
        path: Vec<i64>,
    ) -> Result<MessageSaid, ApiError> {
        let _share = self
            .share(entry.size + entry.size.min(TAKEN_APART_MAX))
            .await?;
        let body = selected.body(entry).await.map_err(refusal)?;
        let job = move || TakenApart::new(body.octets()).part_place(&path);
        let place = if entry.size > PARSED_HERE_MAX {
            let made = self.composing.run(&selected.account().name, job);
            made.await.map_err(ours)?
        } else {
            job()
        };
        let missing = || ApiError::new(Code::PartNotFound, "the message has no such part");
        place.map(MessageSaid::Part).ok_or_else(missing)
    }

    /// A share of the memory for messages. Who asks for more than there is gets all of it, alone.
    async fn share(&self, octets: u64) -> Result<shards::rt::Share, ApiError> {
        let most = self
            .live()
            .settings
            .server
            .limits
            .imap
            .message_memory_max_bytes;
        let share = self.message_share(octets.min(most.get())).await;
        share.ok_or_else(|| ours("there is too little memory for the message"))
    }
}

/// System flags in the order of the alphabet, then keywords; all in lower case.
fn flag_words(selected: &Selected, entry: &Entry) -> Vec<String> {
    let lower = |words: Vec<std::rc::Rc<str>>| {
        let mut words: Vec<String> = words.iter().map(|word| word.to_ascii_lowercase()).collect();
        words.sort_unstable();
        words
    };
    let mut words = lower(selected.flag_words(entry.flags, 0));
    words.extend(lower(selected.flag_words(0, entry.keywords)));
    words
}

/// Bits and keywords.
fn read_flags(flags: &[String]) -> Result<(u16, Vec<String>), ApiError> {
    if flags.len() > FLAGS_MAX {
        return Err(user(format!("Flags: more than {FLAGS_MAX}")));
    }
    let (mut bits, mut keywords) = (0, Vec::new());
    for flag in flags {
        let mut known = system::WORDS.iter();
        match known.find(|(_, word)| word.eq_ignore_ascii_case(flag)) {
            Some((bit, _)) => bits |= bit,
            None if Keyword::new(flag.as_bytes()).is_some() => {
                keywords.push(flag.to_ascii_lowercase())
            }
            None => return Err(user(format!("Flags: {flag:?} is no flag"))),
        }
    }
    Ok((bits, keywords))
}

fn refusal(error: StoreError) -> ApiError {
    match error {
        StoreError::MessageGone => not_found(),
        StoreError::NoMailbox | StoreError::Limit(_) | StoreError::NotAllowed(_) => {
            user(error.to_string())
        }
        error => ours(error),
    }
}

fn ours(error: impl std::fmt::Display) -> ApiError {
    ApiError::new(Code::Server, format!("{error}; try again later"))
}

fn user(message: impl Into<String>) -> ApiError {
    ApiError::new(Code::User, message)
}

fn not_found() -> ApiError {
    ApiError::new(Code::MessageNotFound, "message not found")
}

fn removed() -> ApiError {
    user("message was removed")
}

/// Messages above this many octets are taken apart by another thread.
const PARSED_HERE_MAX: u64 = 64 << 10;
/// Octets that what is said of a message takes, with the tree of its parts.
const TAKEN_APART_MAX: u64 = 24 << 20;
/// Flags that a request names.
const FLAGS_MAX: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_of_requests() {
        let read = |flags: &[&str]| {
            let flags: Vec<String> = flags.iter().map(|f| f.to_string()).collect();
            read_flags(&flags).map_err(|e| e.code)
        };
        let (seen, junk) = (system::SEEN, system::JUNK);
        assert_eq!(
            read(&["\\SEEN", "$junk", "Label"]),
            Ok((seen | junk, vec!["label".into()]))
        );
        for wrong in ["", "\\Recent", "two words", "a(b", "\u{e4}", "\\*"] {
            assert_eq!(read(&[wrong]), Err(Code::User), "{wrong}");
        }
    }
}

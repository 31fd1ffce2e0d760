//! APPEND: messages taken while they come in, added all or none. RFC 9051 6.3.12, RFC 3502 (MULTIAPPEND), RFC 3516 4.4 (literal8),
//! RFC 7889. Line ends as at submission: a bare LF becomes CRLF, a bare CR is refused; a literal8 keeps its octets.
//! Small messages wait in memory under the core's budget, others in a file of the spool.

use std::rc::Rc;

use imap::response::Code;
use imap::types::{AppendMessage, MailboxName, MessageForm, NumberSet, Tag, UidValidity};
use message::{CrlfNormaliser, Header};

use super::client::Client;
use super::flags;
use super::responses::{Done, DoneCode, Refusal, Trouble};
use super::talk::End;
use shards::storage::External;

use crate::inbound::{BodyMemory, Finished, Spool, SpoolError, may_begin, remove_unused};
use crate::percore::PerCore;
use crate::store::{Added, NewMessage, StoreError, thread_row};

/// An APPEND under way.
pub(super) struct Appending {
    core: Rc<PerCore>,
    tag: Tag,
    mailbox: MailboxName,
    messages: Vec<NewMessage>,
    incoming: Option<Incoming>,
    /// What complete messages take of memory.
    memory: Vec<BodyMemory>,
    /// Octets of all complete messages.
    total: u64,
    /// Files of complete messages, to be removed at the end.
    files: Vec<External>,
}

/// The message that is coming in.
struct Incoming {
    announced: AppendMessage,
    /// None: the octets are kept as they are.
    normaliser: Option<CrlfNormaliser>,
    spool: Spool,
    /// Why it is not wanted after all.
    refusal: Option<Refusal>,
}

impl Appending {
    /// Takes octets of the current message.
    pub fn push(&mut self, octets: &[u8]) {
        let Some(incoming) = &mut self.incoming else {
            return;
        };
        if incoming.refusal.is_some() {
            return;
        }
        let Some(normaliser) = &mut incoming.normaliser else {
            incoming.spool.push(octets);
            return;
        };
        let pushed = incoming.spool.push_with(|all| normaliser.push(octets, all));
        if pushed.is_err() {
            incoming.refusal = Some(bare_cr());
        } else if normaliser.has_nul() {
            // RFC 9051 4.3: no NUL in a literal.
            incoming.refusal = Some(Refusal::no(
                Some(Code::UnknownCte),
                "the message has a NUL; send it as literal8",
            ));
        }
    }

    /// Whether [`Client::settle_append`] has something to do before more is read.
    pub fn needs_settling(&self) -> bool {
        self.incoming
            .as_ref()
            .is_some_and(|i| i.refusal.is_some() || i.spool.needs_settling())
    }

    fn begin(&mut self, announced: AppendMessage) {
        self.incoming = Some(Incoming {
            normaliser: (announced.form != MessageForm::Literal8).then(CrlfNormaliser::new),
            spool: Spool::new(&self.core, announced.size),
            refusal: None,
            announced,
        });
    }

    async fn settle(&mut self) -> Result<(), Refusal> {
        let Some(incoming) = &mut self.incoming else {
            return Ok(());
        };
        match incoming.refusal.take() {
            Some(refusal) => Err(refusal),
            None => incoming.spool.settle().await.map_err(not_written),
        }
    }

    /// The current message is complete.
    async fn end_message(&mut self) -> Result<(), Refusal> {
        self.settle().await?;
        let Some(incoming) = self.incoming.take() else {
            return Ok(());
        };
        if let Some(normaliser) = &incoming.normaliser {
            normaliser.finish().map_err(|_| bare_cr())?;
        }
        let thread = thread_row(Header::of_message(incoming.spool.head()));
        let Finished {
            content,
            file,
            memory,
            ..
        } = incoming.spool.finish().await.map_err(not_written)?;
        self.files.extend(file);
        self.total += content.length();
        self.memory.push(memory);
        if self.memory.iter().map(BodyMemory::octets).sum::<usize>() > TOGETHER_MAX {
            return Err(Refusal::no(Some(Code::Limit), "too much for one APPEND"));
        }
        let now = self.core.wall_clock();
        let (flags, keywords) = flags::to_store(&incoming.announced.flags);
        self.messages.push(NewMessage {
            prefix: Vec::new(),
            content,
            flags,
            keywords,
            received: incoming.announced.date.map_or(now, |d| d.to_unix_secs()),
            saved: now,
            reverse_path: String::new(),
            recipient: String::new(),
            thread,
            is_incoming: false,
        });
        Ok(())
    }
}

impl Drop for Appending {
    fn drop(&mut self) {
        // Also when the messages were added: then the files have moved on and there is nothing to remove.
        for file in self.files.drain(..) {
            remove_unused(&self.core, file);
        }
    }
}

impl Client {
    pub(super) fn append_begin(&mut self, tag: Tag, mailbox: MailboxName) {
        self.appending = Some(Box::new(Appending {
            core: self.core.clone(),
            tag,
            mailbox,
            messages: Vec::new(),
            incoming: None,
            memory: Vec::new(),
            total: 0,
            files: Vec::new(),
        }));
    }

    /// Decides on an announced message before its octets are sent.
    pub(super) fn append_message(&mut self, announced: AppendMessage) {
        let limit = self.append_limit();
        let (used, quota) = self.account.quota();
        let Some(appending) = &mut self.appending else {
            return;
        };
        let all = used
            .saturating_add(appending.total)
            .saturating_add(announced.size);
        let refusal = if self.account.mailbox(appending.mailbox.as_str()).is_none() {
            // RFC 9051 6.3.12.
            Refusal::no(Some(Code::TryCreate), "no such mailbox")
        } else if announced.size > limit {
            Refusal::no(
                Some(Code::TooBig),
                format!("messages may have {limit} octets"),
            )
        } else if quota.is_some_and(|quota| all > quota) {
            Refusal::no(Some(Code::OverQuota), "over quota")
        } else if let Err(error) = may_begin(&self.core) {
            not_written(error)
        } else {
            appending.begin(announced);
            self.talk.session.accept_message();
            return;
        };
        self.refuse_append(refusal);
    }

    /// The whole APPEND fails; the session swallows what is still to come.
    fn refuse_append(&mut self, refusal: Refusal) {
        self.appending = None;
        self.core.imap_command("APPEND", "usererror", self.began);
        self.talk
            .session
            .refuse_message(refusal.condition, refusal.code.as_ref(), &refusal.text);
    }

    /// Makes room while octets come in, or gives up on them.
    pub(super) async fn settle_append(&mut self) {
        if let Some(appending) = &mut self.appending
            && let Err(refusal) = appending.settle().await
        {
            self.refuse_append(refusal);
        }
    }

    pub(super) async fn append_message_end(&mut self) {
        if let Some(appending) = &mut self.appending
            && let Err(refusal) = appending.end_message().await
        {
            self.refuse_append(refusal);
        }
    }

    pub(super) async fn append_end(&mut self) -> Result<(), End> {
        let Some(mut appending) = self.appending.take() else {
            return Ok(());
        };
        let messages = std::mem::take(&mut appending.messages);
        let added = self
            .account
            .add(appending.mailbox.as_str(), messages, None)
            .await;
        // A client that is slow to read the answer keeps no message in memory.
        appending.memory.clear();
        let result = appended(added);
        self.answer(&appending.tag, "APPEND", true, result).await
    }
}

fn appended(added: Result<Option<Added>, StoreError>) -> Result<Done, Trouble> {
    let added = match added {
        Ok(added) => added,
        // RFC 9051 6.3.12: the mailbox was deleted meanwhile.
        Err(StoreError::NoMailbox) => {
            return Err(Refusal::no(Some(Code::TryCreate), "no such mailbox").into());
        }
        Err(error) => return Err(error.into()),
    };
    let code = added.and_then(|added| {
        let uids: NumberSet = added.uids.iter().copied().collect();
        UidValidity::new(added.uid_validity).map(|validity| DoneCode::AppendUid(validity, uids))
    });
    Ok(Done::with(code.unwrap_or(DoneCode::None), "APPEND done"))
}

fn bare_cr() -> Refusal {
    Refusal::no(None, "the message has a CR without LF")
}

fn not_written(error: SpoolError) -> Refusal {
    tracing::warn!(%error, "a message could not be written to the spool");
    match error {
        SpoolError::Io(error) if error.kind() == std::io::ErrorKind::StorageFull => Refusal::no(
            Some(Code::OverQuota),
            "the server has too little space on its disk",
        ),
        _ => Refusal::no(
            Some(Code::Unavailable),
            "the message can not be taken now, try again",
        ),
    }
}

/// Octets of complete messages of one APPEND in memory; they become one batch.
const TOGETHER_MAX: usize = 32 << 20;

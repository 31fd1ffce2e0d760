//! SELECT, EXAMINE, CLOSE, UNSELECT. RFC 9051 6.3.2, 6.3.3, 6.4.1, 6.4.2; RFC 3501 6.3.1 (RECENT, UNSEEN); RFC 7162 3.1.8.

use std::rc::Rc;

use imap::command::Select;
use imap::response::{Code, Condition, ListItem};
use imap::types::{ModSeq, NumberSet, SequenceNumber, SystemFlags, Uid, UidValidity};
use shards::rt;

use super::client::Client;
use super::flags;
use super::responses::{Done, DoneCode, Refusal, Trouble};
use crate::store::{MailboxInfo, Selected, system};

impl Client {
    /// A failed SELECT leaves no mailbox selected.
    pub(super) async fn select(&mut self, select: Select) -> Result<Done, Trouble> {
        if select.qresync.is_some() {
            // RFC 7162 3.2.5: BAD without ENABLE QRESYNC, which is not announced.
            return Err(Refusal::bad("QRESYNC is not enabled").into());
        }
        let before = self.selected.take();
        self.saved = NumberSet::new();
        self.talk.session.unselected();
        if before.is_some() {
            drop(before);
            // RFC 9051 7.1: from here on responses are about the new mailbox.
            self.encoder().untagged(
                Condition::Ok,
                Some(&Code::Closed),
                "previous mailbox closed",
            );
        }
        self.enabled.condstore |= select.condstore;
        let name = select.mailbox.as_str();
        let selected = self.account.select(name, select.read_only).await?;
        let info = selected.info().ok_or(crate::store::StoreError::NoMailbox)?;
        self.describe(&selected, &info).await;
        self.talk.session.selected(select.read_only);
        self.keywords_told = info.keywords.len();
        self.selected = Some(Rc::new(selected));
        Ok(match select.read_only {
            true => Done::with(DoneCode::ReadOnly, "EXAMINE done"),
            false => Done::with(DoneCode::ReadWrite, "SELECT done"),
        })
    }

    async fn describe(&mut self, selected: &Selected, info: &MailboxInfo) {
        let count = selected.uids().len() as u32;
        let rev2 = self.enabled.rev2;
        let unseen = match rev2 || info.counts.unseen == 0 {
            true => None,
            false => first_unseen(selected).await,
        };
        let mut encoder = self.encoder();
        let keywords = flags::all_keywords(&info.keywords);
        encoder.flags(SystemFlags::EVERY, keywords.iter().copied());
        // RFC 9051 7.1: of a mailbox opened read-only nothing can be changed.
        let permanent = match selected.read_only() {
            true => Code::PermanentFlags {
                system: SystemFlags::NONE,
                keywords: &[],
                new_keywords: false,
            },
            false => Code::PermanentFlags {
                system: SystemFlags::EVERY,
                keywords: &keywords,
                new_keywords: info.keywords.len() < crate::store::KEYWORDS_MAX,
            },
        };
        encoder.untagged(Condition::Ok, Some(&permanent), "flags that stay");
        encoder.exists(count);
        if !rev2 {
            encoder.recent(selected.recent_count());
        }
        if let Some(number) = unseen {
            encoder.untagged(Condition::Ok, Some(&Code::Unseen(number)), "first unseen");
        }
        if let Some(validity) = UidValidity::new(info.uid_validity) {
            encoder.untagged(
                Condition::Ok,
                Some(&Code::UidValidity(validity)),
                "UIDs valid",
            );
        }
        // The view may be ahead of what the numbers say.
        let above = selected
            .uids()
            .last()
            .map_or(1, |uid| uid.saturating_add(1));
        if let Some(uid) = Uid::new(info.uid_next.max(above)) {
            encoder.untagged(
                Condition::Ok,
                Some(&Code::UidNext(uid)),
                "predicted next UID",
            );
        }
        if let Some(mod_seq) = ModSeq::new(info.modseq) {
            encoder.untagged(
                Condition::Ok,
                Some(&Code::HighestModSeq(mod_seq)),
                "highest",
            );
        }
        if rev2 {
            // RFC 9051 6.3.2: the mailbox's name as the server writes it. Older clients would not expect it.
            encoder.list(&ListItem {
                attributes: &[],
                delimiter: Some(b'/'),
                name: &info.name,
                child_info: &[],
                old_name: None,
            });
        }
    }

    /// RFC 9051 6.4.1: expunges without telling, then unselects.
    pub(super) async fn close(&mut self) -> Result<Done, Trouble> {
        let result = match &self.selected {
            Some(selected) if !selected.read_only() && selected.info().is_some() => {
                let view = selected.uids();
                selected.expunge(Some(&view)).await.map(|_| ())
            }
            _ => Ok(()),
        };
        // The mailbox is closed whatever came of it.
        self.unselect();
        result?;
        Ok(Done::ok("CLOSE done"))
    }

    /// RFC 9051 6.4.2.
    pub(super) fn unselect(&mut self) -> Done {
        self.selected = None;
        self.saved = NumberSet::new();
        self.talk.session.unselected();
        Done::ok("UNSELECT done")
    }
}

/// Looks at the messages in slices, for the mailbox may be large.
async fn first_unseen(selected: &Selected) -> Option<SequenceNumber> {
    let view = selected.uids();
    for slice in view.chunks(SLICE) {
        let mut found = None;
        selected.for_entries(slice, |entry| {
            if found.is_none() && entry.flags & system::SEEN == 0 {
                found = Some(entry.uid);
            }
        });
        if let Some(uid) = found {
            return selected.sequence(uid).and_then(SequenceNumber::new);
        }
        rt::yield_if_needed().await;
    }
    None
}

const SLICE: usize = 4096;

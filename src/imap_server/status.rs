//! STATUS, RFC 9051 6.3.11; RFC 8438 (SIZE), RFC 7162 (HIGHESTMODSEQ), RFC 7889 (APPENDLIMIT). From the mailbox's row alone.

use imap::types::{MailboxName, StatusItem};

use super::client::Client;
use super::responses::{Done, Trouble};
use crate::store::{MailboxInfo, StoreError};

impl Client {
    pub(super) fn status(
        &mut self,
        mailbox: &MailboxName,
        items: &[StatusItem],
    ) -> Result<Done, Trouble> {
        let info = self
            .account
            .mailbox(mailbox.as_str())
            .ok_or(StoreError::NoMailbox)?;
        if items.contains(&StatusItem::HighestModSeq) {
            self.use_condstore();
        }
        self.write_status(&info, items);
        Ok(Done::ok("STATUS done"))
    }

    /// One STATUS response.
    pub(super) fn write_status(&mut self, info: &MailboxInfo, items: &[StatusItem]) {
        let limit = self.append_limit();
        let values = items
            .iter()
            .map(|item| (*item, Some(value(info, *item, limit))));
        self.encoder().status(&info.name, values);
    }
}

fn value(info: &MailboxInfo, item: StatusItem, append_limit: u64) -> u64 {
    let counts = &info.counts;
    match item {
        StatusItem::Messages => counts.messages.into(),
        // Those that no session was told of; expunged ones among them make it a little too high at times.
        StatusItem::Recent => info
            .uid_next
            .saturating_sub(info.recent_from)
            .min(counts.messages)
            .into(),
        StatusItem::UidNext => info.uid_next.into(),
        StatusItem::UidValidity => info.uid_validity.into(),
        StatusItem::Unseen => counts.unseen.into(),
        StatusItem::Deleted => counts.deleted.into(),
        StatusItem::Size => counts.size,
        StatusItem::HighestModSeq => info.modseq,
        StatusItem::AppendLimit => append_limit,
    }
}

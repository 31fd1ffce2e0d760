//! COPY and MOVE. A copy shares the body: both messages get a row that says so, and the body dies with the last of them.

use super::account::{Changes, Effect};
use super::add::count;
use super::flags::{SLICE, add_keywords_that_fit, ascending, keyword_bits};
use super::rows::{MailboxId, encode};
use super::selected::Selected;
use super::table::Entry;
use super::{StoreError, keys};

/// What COPY or MOVE did: pairs of source and destination UID.
#[derive(Clone, Debug, Default)]
pub struct Copied {
    /// UIDVALIDITY of the destination.
    pub uid_validity: u32,
    /// (source UID, new UID), ascending.
    pub uids: Vec<(u32, u32)>,
}

impl Selected {
    /// Copies messages to a mailbox; those that are gone are passed over. Each slice of 1,000 is atomic; durable when it returns.
    pub async fn copy(&self, uids: &[u32], to: &str) -> Result<Copied, StoreError> {
        self.transfer(uids, to, false).await
    }

    /// Moves messages to a mailbox (RFC 6851): none is ever in both or neither.
    pub async fn move_to(&self, uids: &[u32], to: &str) -> Result<Copied, StoreError> {
        self.transfer(uids, to, true).await
    }

    async fn transfer(&self, uids: &[u32], to: &str, moving: bool) -> Result<Copied, StoreError> {
        let target = self.account.pending_id(to)?;
        let mut copied = Copied {
            uid_validity: self
                .account
                .state
                .borrow_mut()
                .mailbox(target)?
                .row
                .uid_validity,
            uids: Vec::new(),
        };
        for slice in ascending(uids).chunks(SLICE) {
            let permit = self.account.permit(slice.len() * 300, false).await?;
            let mut changes = Changes::default();
            let pairs = self.plan_copy(slice, target, moving, &mut changes)?;
            if pairs.is_empty() {
                continue;
            }
            if moving {
                let sources: Vec<u32> = pairs.iter().map(|(from, _)| *from).collect();
                self.account
                    .plan_expunge(self.mailbox, &sources, false, false, &mut changes)?;
            }
            self.account.commit(permit, changes).await?;
            copied.uids.extend(pairs);
        }
        Ok(copied)
    }

    fn plan_copy(
        &self,
        uids: &[u32],
        target: MailboxId,
        moving: bool,
        changes: &mut Changes,
    ) -> Result<Vec<(u32, u32)>, StoreError> {
        let account = &self.account;
        let mut guard = account.state.borrow_mut();
        let state = &mut *guard;
        let source_keywords = state.mailbox(self.mailbox)?.row.keywords.clone();
        let sources: Vec<Entry> = {
            let table = state.table(self.mailbox)?;
            uids.iter()
                .filter_map(|uid| table.pending(*uid).cloned())
                .collect()
        };
        if sources.is_empty() {
            return Ok(Vec::new());
        }
        let total: u64 = sources.iter().map(|e| e.size).sum();
        if !moving
            && account
                .quota
                .get()
                .is_some_and(|quota| state.row.used_bytes.saturating_add(total) > quota)
        {
            return Err(StoreError::OverQuota);
        }
        let used: Vec<Vec<String>> = sources
            .iter()
            .map(|e| words(&source_keywords, e.keywords))
            .collect();
        let modseq = state.row.next_modseq;
        let row = &mut state.mailbox(target)?.row;
        if u64::from(row.uid_next) + sources.len() as u64 > u64::from(u32::MAX) {
            return Err(StoreError::Limit("the mailbox has no more UIDs"));
        }
        add_keywords_that_fit(&mut row.keywords, used.iter().flatten().map(String::as_str));
        row.modseq = modseq;
        let mut pairs = Vec::with_capacity(sources.len());
        let mut rewritten = Vec::new();
        for (source, words) in sources.into_iter().zip(&used) {
            let mut copy = Entry {
                uid: row.uid_next,
                modseq,
                create_seq: modseq,
                keywords: keyword_bits(&row.keywords, words),
                saved: self.now(),
                ..source.clone()
            };
            row.uid_next += 1;
            count(&mut row.counts, copy.flags, copy.size);
            pairs.push((source.uid, copy.uid));
            if !moving {
                copy.shares_body = true;
                if !source.shares_body {
                    rewritten.push(Entry {
                        shares_body: true,
                        ..source
                    });
                }
            }
            if copy.shares_body {
                changes.batch.put(
                    keys::shared(account.id, copy.body.0, target, copy.uid),
                    encode(&()),
                );
            }
            if copy.thread.message_id != 0 {
                changes.batch.put(
                    keys::thread(account.id, copy.thread.message_id, target, copy.uid),
                    encode(&()),
                );
            }
            changes.put_message(account.id, target, &copy);
            changes.effects.push(Effect::Added(target, Box::new(copy)));
        }
        let row = row.clone();
        changes.put_mailbox(account.id, target, &row);
        state.row.next_modseq += 1;
        if !moving {
            state.row.used_bytes += total;
        }
        let table = state.table(self.mailbox)?;
        for source in rewritten {
            changes.batch.put(
                keys::shared(account.id, source.body.0, self.mailbox, source.uid),
                encode(&()),
            );
            changes.put_message(account.id, self.mailbox, &source);
            table.submit(source.uid, Some(source.clone()));
            changes
                .effects
                .push(Effect::Rewritten(self.mailbox, Box::new(source)));
        }
        Ok(pairs)
    }
}

fn words(keywords: &[String], bits: u64) -> Vec<String> {
    keywords
        .iter()
        .enumerate()
        .filter(|(n, _)| bits & (1 << n) != 0)
        .map(|(_, word)| word.clone())
        .collect()
}

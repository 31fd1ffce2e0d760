//! STORE, RFC 9051 6.4.6, RFC 7162 3.1.3.

use imap::response::Code;
use imap::types::{NumberSet, Numbering, Store, StoreAction};

use super::client::Client;
use super::flags;
use super::responses::{Done, DoneCode, Refusal, Trouble};
use super::updates::{Shown, write_flags};
use crate::store::{FlagAction, Selected};

impl Client {
    pub(super) async fn store(&mut self, store: Store) -> Result<Done, Trouble> {
        let selected = self.selected_to_write()?;
        if store.unchanged_since.is_some() {
            self.use_condstore();
        }
        let uids = self.targets(&selected, store.numbering, &store.set)?.uids();
        let action = match store.action {
            StoreAction::Replace => FlagAction::Replace,
            StoreAction::Add => FlagAction::Add,
            StoreAction::Remove => FlagAction::Remove,
        };
        let (bits, keywords) = flags::to_store(&store.flags);
        let since = store.unchanged_since.map(|m| m.value());
        let stored = selected
            .store_flags(&uids, action, bits, &keywords, since)
            .await?;
        self.tell_keywords(&selected);
        self.tell_stored(&selected, &stored.stored, !store.silent)
            .await?;
        // RFC 7162 3.1.3: the client needs the new MODSEQ of what it failed to change.
        self.tell_stored(&selected, &stored.modified, true).await?;
        if !stored.modified.is_empty() {
            let numbers: NumberSet = match store.numbering {
                Numbering::Uid => stored.modified.iter().copied().collect(),
                Numbering::Sequence => stored
                    .modified
                    .iter()
                    .filter_map(|uid| selected.sequence(*uid))
                    .collect(),
            };
            return Ok(Done::with(
                DoneCode::Modified(numbers),
                "not all were changed",
            ));
        }
        if store.numbering == Numbering::Sequence && stored.stored.len() < uids.len() {
            // RFC 2180 4.2.
            return Err(Refusal::no(Some(Code::ExpungeIssued), "some messages are gone").into());
        }
        Ok(Done::ok("STORE done"))
    }

    async fn tell_stored(
        &mut self,
        selected: &Selected,
        uids: &[u32],
        flags: bool,
    ) -> Result<(), Trouble> {
        let mod_seq = self.enabled.condstore;
        if !flags && !mod_seq {
            return Ok(());
        }
        let view = selected.uids();
        let known = selected.keywords();
        for slice in uids.chunks(SLICE) {
            let mut at = 0;
            let rev1 = !self.enabled.rev2;
            let mut encoder = self.encoder();
            selected.for_entries(slice, |entry| {
                // Both ascend, so the search goes on from where it was.
                at += view[at..].partition_point(|uid| *uid < entry.uid);
                let shown = Shown {
                    flags,
                    mod_seq,
                    recent: rev1 && selected.is_recent(entry.uid),
                };
                if view.get(at) == Some(&entry.uid) {
                    write_flags(&mut encoder, at as u32 + 1, entry, &known, &shown);
                }
            });
            let mut out = std::mem::take(&mut self.talk.wire.out);
            self.talk.wire.relieve(&mut out).await?;
            self.talk.wire.out = out;
        }
        Ok(())
    }
}

const SLICE: usize = 256;

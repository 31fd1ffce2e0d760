//! COPY, MOVE, EXPUNGE. RFC 9051 6.4.3, 6.4.7, 6.4.8, 6.4.9; RFC 4315; RFC 6851.

use imap::command::Transfer;
use imap::response::{Code, Condition};
use imap::types::{ModSeq, NumberSet, Numbering, SequenceSet, UidValidity};

use super::client::Client;
use super::responses::{Done, DoneCode, Refusal, Trouble};
use crate::store::{Copied, Selected, StoreError};

impl Client {
    pub(super) async fn copy(&mut self, transfer: Transfer) -> Result<Done, Trouble> {
        let selected = self.selected()?;
        let uids = self.transferred(&selected, &transfer)?;
        let copied = selected
            .copy(&uids, transfer.mailbox.as_str())
            .await
            .map_err(no_target)?;
        Ok(match code_of(&copied) {
            Some((validity, from, to)) => {
                Done::with(DoneCode::CopyUid(validity, from, to), "COPY done")
            }
            None => Done::ok("nothing to copy"),
        })
    }

    pub(super) async fn move_messages(&mut self, transfer: Transfer) -> Result<Done, Trouble> {
        let selected = self.selected_to_write()?;
        let uids = self.transferred(&selected, &transfer)?;
        let copied = selected
            .move_to(&uids, transfer.mailbox.as_str())
            .await
            .map_err(no_target)?;
        if let Some((validity, from, to)) = code_of(&copied) {
            // RFC 6851 4.3: COPYUID before the EXPUNGEs, untagged.
            self.encoder().untagged(
                Condition::Ok,
                Some(&Code::CopyUid(validity, &from, &to)),
                "moved",
            );
        }
        Ok(Done::ok("MOVE done"))
    }

    fn transferred(&self, selected: &Selected, transfer: &Transfer) -> Result<Vec<u32>, Trouble> {
        if self.account.mailbox(transfer.mailbox.as_str()).is_none() {
            return Err(no_target(StoreError::NoMailbox));
        }
        let uids = self
            .targets(selected, transfer.numbering, &transfer.set)?
            .uids();
        // RFC 9051 6.4.7: all or nothing, so messages that are gone unbeknownst to the client are no silent gap.
        let by_sequence = transfer.numbering == Numbering::Sequence;
        if by_sequence && uids.iter().any(|uid| selected.is_expunged(*uid)) {
            return Err(Refusal::no(Some(Code::ExpungeIssued), "some messages are gone").into());
        }
        Ok(uids)
    }

    /// EXPUNGE, and UID EXPUNGE with a set. The client learns by the updates that follow.
    pub(super) async fn expunge(&mut self, set: Option<SequenceSet>) -> Result<Done, Trouble> {
        let selected = self.selected_to_write()?;
        let among = match set {
            Some(set) => self.targets(&selected, Numbering::Uid, &set)?.uids(),
            // Only what the client knows of: a message that came a moment ago may have been marked by another.
            None => selected.uids().to_vec(),
        };
        let removed = selected.expunge(Some(&among)).await?;
        let mod_seq = selected.info().and_then(|info| ModSeq::new(info.modseq));
        Ok(match mod_seq {
            // RFC 7162 3.1.2.1 and 3.2.10.
            Some(mod_seq) if self.enabled.condstore && !removed.is_empty() => {
                Done::with(DoneCode::HighestModSeq(mod_seq), "EXPUNGE done")
            }
            _ => Done::ok("EXPUNGE done"),
        })
    }
}

/// RFC 9051 6.4.7: the client may create the mailbox and try again.
fn no_target(error: StoreError) -> Trouble {
    match error {
        StoreError::NoMailbox => Refusal::no(Some(Code::TryCreate), "no such mailbox").into(),
        error => error.into(),
    }
}

fn code_of(copied: &Copied) -> Option<(UidValidity, NumberSet, NumberSet)> {
    let validity = UidValidity::new(copied.uid_validity)?;
    let from: NumberSet = copied.uids.iter().map(|(from, _)| *from).collect();
    let to: NumberSet = copied.uids.iter().map(|(_, to)| *to).collect();
    (!from.is_empty()).then_some((validity, from, to))
}

//! What is new in the selected mailbox, as untagged responses. RFC 9051 7.4.1 and 7.5.1, RFC 7162 3.2.4.

use imap::response::{Code, Condition, Encoder, refusal};
use imap::types::{ModSeq, SequenceNumber, SystemFlags, Uid};

use super::client::Client;
use super::flags;
use super::talk::End;
use crate::store::{Entry, KEYWORDS_MAX, Selected, Update};

impl Client {
    /// Tells what became durable since the client was last told; without `expunges` only up to the first removal. Others may have
    /// changed all of a large mailbox, so it is done in slices.
    pub(super) async fn tell_updates(&mut self, expunges: bool) -> Result<(), End> {
        let Some(selected) = self.selected.clone() else {
            return Ok(());
        };
        loop {
            let (updates, more) = selected.some_updates(expunges, SLICE);
            self.tell(&selected, updates)?;
            if !more {
                return Ok(());
            }
            let mut out = std::mem::take(&mut self.talk.wire.out);
            self.talk.wire.relieve(&mut out).await?;
            self.talk.wire.out = out;
        }
    }

    fn tell(&mut self, selected: &Selected, mut updates: Vec<Update>) -> Result<(), End> {
        if updates.is_empty() {
            return Ok(());
        }
        self.tell_keywords(selected);
        let keywords = selected.keywords();
        let is_exists = |update: &Update| matches!(update, Update::Exists(_));
        let last_exists = updates.iter().rposition(is_exists);
        for (at, update) in updates.drain(..).enumerate() {
            match update {
                Update::Exists(count) => {
                    self.encoder().exists(count);
                    // The count of what is recent at the end: an EXISTS before may be of fewer messages. RFC 3501 7.3.2.
                    if last_exists == Some(at) && !self.enabled.rev2 {
                        let recent = selected.recent_count();
                        self.encoder().recent(recent);
                    }
                }
                Update::Expunge { sequence, .. } => {
                    if let Some(number) = SequenceNumber::new(sequence) {
                        self.encoder().expunge(number);
                    }
                }
                Update::Flags { sequence, uid } => {
                    if let Some(entry) = selected.entry(uid) {
                        self.tell_flags(selected, sequence, &entry, &keywords);
                    }
                }
                // Commands on it get NO [NONEXISTENT] from now on; RFC 2180 3.
                Update::MailboxGone => {
                    let text = "the selected mailbox was deleted";
                    let out = &mut self.talk.wire.out;
                    refusal(out, None, Condition::No, None, text, &self.facts.id);
                }
                Update::Overrun => {
                    return Err(End::Bye(
                        Some(Code::Limit),
                        "too many changes that were not asked for; connect again".into(),
                    ));
                }
            }
        }
        Ok(())
    }

    /// FETCH with the flags of one message.
    pub(super) fn tell_flags(
        &mut self,
        selected: &Selected,
        sequence: u32,
        entry: &Entry,
        known: &[String],
    ) {
        let shown = Shown {
            flags: true,
            mod_seq: self.enabled.condstore,
            recent: !self.enabled.rev2 && selected.is_recent(entry.uid),
        };
        write_flags(&mut self.encoder(), sequence, entry, known, &shown);
    }

    /// FLAGS, if the mailbox has keywords that the client has not heard of.
    pub(super) fn tell_keywords(&mut self, selected: &Selected) {
        let known = selected.keywords();
        if known.len() > self.keywords_told {
            self.keywords_told = known.len();
            let keywords = flags::all_keywords(&known);
            let mut encoder = self.encoder();
            encoder.flags(SystemFlags::EVERY, keywords.iter().copied());
            // RFC 9051 7.1: at the limit `\*` must be taken back.
            if known.len() >= KEYWORDS_MAX && !selected.read_only() {
                let permanent = Code::PermanentFlags {
                    system: SystemFlags::EVERY,
                    keywords: &keywords,
                    new_keywords: false,
                };
                encoder.untagged(Condition::Ok, Some(&permanent), "no room for more keywords");
            }
        }
    }
}

/// What a FETCH response about flags shows beside the UID.
pub(super) struct Shown {
    pub flags: bool,
    pub mod_seq: bool,
    /// With `\Recent`.
    pub recent: bool,
}

/// FETCH with UID, and flags and MODSEQ as asked.
pub(super) fn write_flags(
    encoder: &mut Encoder<'_>,
    sequence: u32,
    entry: &Entry,
    known: &[String],
    shown: &Shown,
) {
    let (Some(number), Some(uid)) = (SequenceNumber::new(sequence), Uid::new(entry.uid)) else {
        return;
    };
    let mut writer = encoder.fetch(number);
    writer.uid(uid);
    if shown.flags {
        writer.flags(
            flags::system_flags(entry.flags),
            flags::keywords(entry, known, shown.recent),
        );
    }
    if let (true, Some(mod_seq)) = (shown.mod_seq, ModSeq::new(entry.modseq)) {
        writer.mod_seq(mod_seq);
    }
    writer.end();
}

/// Changes told before others may run.
const SLICE: usize = 1_000;

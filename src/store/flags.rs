//! Flags and keywords: their bits, and STORE.

use std::rc::Rc;

use super::account::{Changes, Effect};
use super::add::{count, uncount};
use super::selected::Selected;
use super::{StoreError, rows::ModSeq};

/// Bits of system flags (RFC 9051 2.3.2) and of the keywords that have a meaning for the server.
pub mod system {
    /// `\Seen`
    pub const SEEN: u16 = 1;
    /// `\Answered`
    pub const ANSWERED: u16 = 1 << 1;
    /// `\Flagged`
    pub const FLAGGED: u16 = 1 << 2;
    /// `\Deleted`
    pub const DELETED: u16 = 1 << 3;
    /// `\Draft`
    pub const DRAFT: u16 = 1 << 4;
    /// `$Forwarded`
    pub const FORWARDED: u16 = 1 << 5;
    /// `$Junk`
    pub const JUNK: u16 = 1 << 6;
    /// `$NotJunk`
    pub const NOT_JUNK: u16 = 1 << 7;
    /// `$Phishing`
    pub const PHISHING: u16 = 1 << 8;
    /// `$MDNSent`
    pub const MDN_SENT: u16 = 1 << 9;
    /// All of them, with the words clients use.
    pub const WORDS: [(u16, &str); 10] = [
        (SEEN, "\\Seen"),
        (ANSWERED, "\\Answered"),
        (FLAGGED, "\\Flagged"),
        (DELETED, "\\Deleted"),
        (DRAFT, "\\Draft"),
        (FORWARDED, "$Forwarded"),
        (JUNK, "$Junk"),
        (NOT_JUNK, "$NotJunk"),
        (PHISHING, "$Phishing"),
        (MDN_SENT, "$MDNSent"),
    ];
}

/// What STORE does with the flags it names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlagAction {
    /// `FLAGS`
    Replace,
    /// `+FLAGS`
    Add,
    /// `-FLAGS`
    Remove,
}

/// What STORE did.
#[derive(Clone, Debug, Default)]
pub struct FlagsStored {
    /// UIDs whose flags are now as asked, changed or not; ascending.
    pub stored: Vec<u32>,
    /// UIDs left alone because they changed since UNCHANGEDSINCE (RFC 7162 3.1.3).
    pub modified: Vec<u32>,
}

impl Selected {
    /// Changes flags of messages; durable when it returns. Messages that are gone are passed over. `flags` are system bits.
    pub async fn store_flags(
        &self,
        uids: &[u32],
        action: FlagAction,
        flags: u16,
        keywords: &[String],
        unchanged_since: Option<ModSeq>,
    ) -> Result<FlagsStored, StoreError> {
        let mut result = FlagsStored::default();
        let uids = &ascending(uids);
        for slice in uids.chunks(SLICE) {
            let permit = self.account.permit(slice.len() * 150, false).await?;
            let mut changes = Changes::default();
            self.plan_flags(
                slice,
                action,
                flags,
                keywords,
                unchanged_since,
                &mut changes,
                &mut result,
            )?;
            if changes.batch.is_empty() {
                continue;
            }
            self.account.commit(permit, changes).await?;
        }
        Ok(result)
    }

    #[allow(clippy::too_many_arguments)] // The words of the command, and where its outcome goes.
    fn plan_flags(
        &self,
        uids: &[u32],
        action: FlagAction,
        flags: u16,
        keywords: &[String],
        unchanged_since: Option<ModSeq>,
        changes: &mut Changes,
        result: &mut FlagsStored,
    ) -> Result<(), StoreError> {
        let account = &self.account;
        let mut guard = account.state.borrow_mut();
        let state = &mut *guard;
        // What changes no message makes no keyword known.
        let table = state.table(self.mailbox)?;
        let affects_some = uids.iter().any(|uid| {
            table
                .pending(*uid)
                .is_some_and(|entry| unchanged_since.is_none_or(|since| entry.modseq <= since))
        });
        let row = &mut state.mailbox(self.mailbox)?.row;
        let known = row.keywords.len();
        if affects_some && action != FlagAction::Remove {
            add_keywords(
                &mut row.keywords,
                &keywords.iter().map(String::as_str).collect::<Vec<_>>(),
            )?;
        }
        let bits = keyword_bits(&row.keywords, keywords);
        let mut changed = row.keywords.len() > known;
        let mut counts = row.counts;
        let modseq = state.row.next_modseq;
        let table = state.table(self.mailbox)?;
        let mut touched = false;
        for uid in uids {
            let Some(entry) = table.pending(*uid) else {
                continue;
            };
            if unchanged_since.is_some_and(|since| entry.modseq > since) {
                result.modified.push(*uid);
                continue;
            }
            result.stored.push(*uid);
            let (new_flags, new_keywords) = match action {
                FlagAction::Replace => (flags, bits),
                FlagAction::Add => (entry.flags | flags, entry.keywords | bits),
                FlagAction::Remove => (entry.flags & !flags, entry.keywords & !bits),
            };
            if (new_flags, new_keywords) == (entry.flags, entry.keywords) {
                continue;
            }
            let mut entry = entry.clone();
            uncount(&mut counts, entry.flags, entry.size);
            (entry.flags, entry.keywords, entry.modseq) = (new_flags, new_keywords, modseq);
            count(&mut counts, entry.flags, entry.size);
            table.submit(*uid, Some(entry.clone()));
            changes.put_message(account.id, self.mailbox, &entry);
            changes
                .effects
                .push(Effect::Flagged(self.mailbox, Box::new(entry), self.session));
            touched = true;
        }
        if touched {
            state.row.next_modseq += 1;
            changed = true;
        }
        if changed {
            let row = &mut state.mailbox(self.mailbox)?.row;
            row.counts = counts;
            if touched {
                row.modseq = modseq;
            }
            let row = row.clone();
            changes.put_mailbox(account.id, self.mailbox, &row);
        }
        Ok(())
    }

    /// Words of an entry's flags and keywords, system flags first.
    pub fn flag_words(&self, flags: u16, keywords: u64) -> Vec<Rc<str>> {
        let mut words: Vec<Rc<str>> = system::WORDS
            .iter()
            .filter(|(bit, _)| flags & bit != 0)
            .map(|(_, word)| Rc::from(*word))
            .collect();
        let known = self.keywords();
        words.extend(
            known
                .iter()
                .enumerate()
                .filter(|(n, _)| keywords & (1 << n) != 0)
                .map(|(_, word)| Rc::from(word.as_str())),
        );
        words
    }
}

/// Gives new keywords their bits. Refused as a whole when there are too many.
pub(super) fn add_keywords(known: &mut Vec<String>, wanted: &[&str]) -> Result<(), StoreError> {
    let mut new: Vec<String> = Vec::new();
    for word in wanted {
        // They go into the description of each body, which is bounded.
        if word.len() > KEYWORD_LENGTH_MAX {
            return Err(StoreError::Limit("a keyword has at most 200 octets"));
        }
        let is = |k: &String| k.eq_ignore_ascii_case(word);
        if !known.iter().any(is) && !new.iter().any(is) {
            new.push((*word).to_string());
        }
    }
    if known.len() + new.len() > KEYWORDS_MAX {
        return Err(StoreError::Limit("a mailbox has at most 64 keywords"));
    }
    known.extend(new);
    Ok(())
}

/// The same for messages that are copied and moved: what is too much is left out. RFC 9051 6.4.7: flags SHOULD be preserved; a message
/// that could never be moved away would be worse.
pub(super) fn add_keywords_that_fit<'w>(
    known: &mut Vec<String>,
    wanted: impl Iterator<Item = &'w str>,
) {
    for word in wanted {
        let _ = add_keywords(known, &[word]);
    }
}

/// Bits of those keywords that the mailbox knows.
pub(super) fn keyword_bits(known: &[String], wanted: &[String]) -> u64 {
    let bit = |word: &String| {
        known
            .iter()
            .position(|k| k.eq_ignore_ascii_case(word))
            .map_or(0, |n| 1 << n)
    };
    wanted.iter().map(bit).fold(0, |all, bit: u64| all | bit)
}

/// Each UID once: a second look at one would take this command's own change for another's.
pub(super) fn ascending(uids: &[u32]) -> Vec<u32> {
    let mut uids = uids.to_vec();
    uids.sort_unstable();
    uids.dedup();
    uids
}

/// Different keywords in one mailbox.
pub const KEYWORDS_MAX: usize = 64;
const KEYWORD_LENGTH_MAX: usize = 200;
/// Messages changed by one batch: a command over a whole mailbox must not hold the core or the group for long.
pub(super) const SLICE: usize = 1_000;

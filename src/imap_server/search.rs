//! SEARCH and its results. RFC 9051 6.4.4 and 7.3.4, RFC 4731 (ESEARCH), RFC 5182 (SEARCHRES), RFC 7162 3.1.5.
//! Keys that the table can decide are decided there; a body is read only for messages that this leaves open.

use std::rc::Rc;
use std::sync::Arc;

use imap::response::{Condition, SearchResult};
use imap::types::{ModSeq, NumberSet, Numbering, Search, SearchKey, SearchReturn, Tag};
use shards::rt;
use shards::storage::StorageError;

use super::client::Client;
use super::fetch::LARGE;
use super::fetch_large::{HEAD_MAX, header_octets, message_share, whole_header};
use super::responses::{Done, Refusal, Trouble};
use super::search_key::{Facts, Key, Mailbox};
use crate::percore::PerCore;
use crate::store::{Entry, Selected, StoreError};

/// What was found.
#[derive(Default)]
struct Found {
    /// Sequence numbers or UIDs, as asked, ascending.
    numbers: Vec<u32>,
    uids: Vec<u32>,
    /// The highest MODSEQ of them.
    mod_seq: u64,
    /// The lowest and highest MODSEQ of the first and last of them, for MIN and MAX.
    first_mod_seq: u64,
    last_mod_seq: u64,
}

impl Client {
    pub(super) async fn search(&mut self, tag: &Tag, search: Search) -> Result<Done, Trouble> {
        let save = search.options.is_some_and(|options| options.save);
        let result = self.run_search(tag, &search).await;
        let is_no = |refusal: &Refusal| matches!(refusal.condition, Condition::No);
        if save && matches!(&result, Err(Trouble::Refused(refusal)) if is_no(refusal)) {
            // RFC 5182 2.1: a search that fails with NO empties the result, BAD leaves it. The session knows of a charset that is not ours.
            self.saved = NumberSet::new();
        }
        result
    }

    async fn run_search(&mut self, tag: &Tag, search: &Search) -> Result<Done, Trouble> {
        let selected = self.selected()?;
        let by_mod_seq = search
            .key
            .any(&mut |key| matches!(key, SearchKey::ModSeq(_)));
        if by_mod_seq {
            self.use_condstore();
        }
        self.check_numbers(&selected, &search.key)?;
        let keywords = selected.keywords();
        let key = Key::of(
            &search.key,
            &Mailbox {
                selected: &selected,
                saved: &self.saved,
                keywords: &keywords,
                now: self.core.wall_clock(),
            },
        );
        // Shared with the threads that look into long messages.
        let key = Arc::new(key);
        let found = find(&self.core, &selected, &key, search.numbering).await?;
        let mod_seq = by_mod_seq.then_some(());
        match search.options {
            // RFC 9051 6.4.4: rev2 has no other form of result.
            options if options.is_some() || self.enabled.rev2 => {
                let options = options.unwrap_or_default();
                self.esearch(tag, search.numbering, options, found, mod_seq.is_some());
            }
            _ => {
                let mod_seq = mod_seq.and_then(|()| ModSeq::new(found.mod_seq));
                self.encoder().search(found.numbers, mod_seq);
            }
        }
        Ok(Done::ok("SEARCH done"))
    }

    /// A sequence number that does not exist is BAD, like in other commands.
    fn check_numbers(&self, selected: &Rc<Selected>, key: &SearchKey) -> Result<(), Trouble> {
        let count = selected.uids().len() as u32;
        let outside = key.any(&mut |key| match key {
            SearchKey::Sequence(set) => !set.fits(count) && count > 0,
            _ => false,
        });
        match outside {
            true => Err(Refusal::bad("no message has that sequence number").into()),
            false => Ok(()),
        }
    }

    fn esearch(
        &mut self,
        tag: &Tag,
        numbering: Numbering,
        options: SearchReturn,
        found: Found,
        mod_seq: bool,
    ) {
        let SearchReturn {
            min,
            max,
            all,
            count,
            save,
        } = options;
        if save {
            self.saved = saved(&found.uids, options);
        }
        // RFC 5182 2.1: SAVE alone says nothing but the tag; RFC 4731 3.1: no option at all means ALL.
        let all = all || !(min || max || count || save);
        let numbers: NumberSet = match all {
            true => found.numbers.iter().copied().collect(),
            false => NumberSet::new(),
        };
        // RFC 7162 3.1.5: with MIN or MAX alone the MODSEQ of that message, else the highest of all.
        let shown_mod_seq = match (min, max) {
            _ if found.numbers.is_empty() => None,
            (true, false) if !all && !count => Some(found.first_mod_seq),
            (false, true) if !all && !count => Some(found.last_mod_seq),
            (true, true) if !all && !count => Some(found.first_mod_seq.max(found.last_mod_seq)),
            _ => Some(found.mod_seq),
        };
        let result = SearchResult {
            tag,
            numbering,
            min: found.numbers.first().copied().filter(|_| min),
            max: found.numbers.last().copied().filter(|_| max),
            all: all.then_some(&numbers),
            count: count.then_some(found.numbers.len() as u32),
            mod_seq: shown_mod_seq.and_then(ModSeq::new).filter(|_| mod_seq),
        };
        if save && !(min || max || all || count) {
            return;
        }
        self.encoder().esearch(&result);
    }
}

/// RFC 5182 2.4: with MIN or MAX but not ALL or COUNT only those are saved.
fn saved(uids: &[u32], options: SearchReturn) -> NumberSet {
    if options.all || options.count || !(options.min || options.max) {
        return uids.iter().copied().collect();
    }
    let first = uids.first().filter(|_| options.min);
    let last = uids.last().filter(|_| options.max);
    first.into_iter().chain(last).copied().collect()
}

async fn find(
    core: &PerCore,
    selected: &Rc<Selected>,
    key: &Arc<Key>,
    numbering: Numbering,
) -> Result<Found, Trouble> {
    let view = selected.uids();
    let mut found = Found::default();
    let mut open: Vec<Entry> = Vec::new();
    for (slice_number, slice) in view.chunks(SLICE).enumerate() {
        let mut hits: Vec<(u32, u64)> = Vec::new();
        selected.for_entries(slice, |entry| {
            match key.by_table(&Facts::of(entry, selected.is_recent(entry.uid))) {
                Some(true) => hits.push((entry.uid, entry.modseq)),
                Some(false) => (),
                None => open.push(entry.clone()),
            }
        });
        for entry in open.drain(..) {
            if matches(core, selected, key, &entry).await? {
                hits.push((entry.uid, entry.modseq));
            }
            rt::yield_if_needed().await;
        }
        hits.sort_unstable();
        let base = slice_number * SLICE;
        let mut at = 0;
        for (uid, mod_seq) in hits {
            at += slice[at..].partition_point(|u| *u < uid);
            found.add((base + at) as u32 + 1, uid, mod_seq, numbering);
        }
        rt::yield_if_needed().await;
    }
    Ok(found)
}

impl Found {
    fn add(&mut self, sequence: u32, uid: u32, mod_seq: u64, numbering: Numbering) {
        if self.uids.is_empty() {
            self.first_mod_seq = mod_seq;
        }
        self.last_mod_seq = mod_seq;
        self.mod_seq = self.mod_seq.max(mod_seq);
        self.uids.push(uid);
        self.numbers.push(match numbering {
            Numbering::Sequence => sequence,
            Numbering::Uid => uid,
        });
    }
}

/// Looks into the message. One that is gone or damaged does not match: it costs itself alone, not the search.
async fn matches(
    core: &PerCore,
    selected: &Selected,
    key: &Arc<Key>,
    entry: &Entry,
) -> Result<bool, Trouble> {
    match look_into(core, selected, key, entry).await {
        Ok(matches) => Ok(matches),
        Err(error) => unreadable(selected, entry, error),
    }
}

async fn look_into(
    core: &PerCore,
    selected: &Selected,
    key: &Arc<Key>,
    entry: &Entry,
) -> Result<bool, StoreError> {
    let facts = Facts::of(entry, selected.is_recent(entry.uid));
    if entry.size > LARGE && !key.needs_structure() {
        let mut _share = message_share(core, HEAD_MAX).await?;
        let octets = match header_octets(selected, entry, HEAD_MAX).await? {
            Some(octets) => octets,
            None => {
                drop(_share);
                _share = message_share(core, entry.size).await?;
                whole_header(selected, entry).await?
            }
        };
        return Ok(key.looks_at(&facts, &octets));
    }
    // With what is decoded of it, if there can be so much.
    let _share = match core.message_share(2 * entry.size).await {
        Some(share) => share,
        None => message_share(core, entry.size).await?,
    };
    let body = selected.body(entry).await?;
    if entry.size <= SEARCHED_HERE_MAX {
        return Ok(key.looks_at(&facts, body.octets()));
    }
    let key = key.clone();
    let looking = core
        .parsing
        .run(move || key.looks_at(&facts, body.octets()));
    Ok(looking.await.map_err(|_| StorageError::Busy)?)
}

fn unreadable(selected: &Selected, entry: &Entry, error: StoreError) -> Result<bool, Trouble> {
    match error {
        StoreError::MessageGone | StoreError::Storage(StorageError::Gone(..)) => Ok(false),
        StoreError::Storage(StorageError::Damaged { .. }) => {
            tracing::error!(account = selected.account().name, uid = entry.uid, %error, "a message is damaged");
            Ok(false)
        }
        error => Err(error.into()),
    }
}

/// Messages above this many octets are looked into by another thread.
const SEARCHED_HERE_MAX: u64 = 64 << 10;
/// Messages looked at before others may run.
const SLICE: usize = 512;

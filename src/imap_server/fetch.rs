//! FETCH: which messages, what they need to be read for, in which order it is written. RFC 9051 6.4.5, RFC 7162 3.1.4.
//! What the mailbox's table knows is answered from it alone. Bodies pass with one copy; those over 1 MiB in slices (`fetch_large.rs`).
//! What is held of them counts in the core's budget, so a client that asks and does not read keeps others waiting, not the server full.

use std::ops::Range;
use std::rc::Rc;

use imap::response::{Code, Encoder};
use imap::types::{Fetch, FetchItem, ModSeq, NameSyntax, SequenceNumber, Uid};
use message::Structure;
use shards::rt;
use shards::storage::StorageError;

use super::client::Client;
use super::fetch_item::{Needs, Shown, needs};
use super::fetch_large::{Large, message_share};
use super::responses::{Done, Refusal, Trouble};
use super::talk::{End, Wire};
use super::targets::Targets;
use crate::percore::PerCore;
use crate::store::{Entry, FlagAction, MessageBody, Selected, StoreError, system};

/// A FETCH under way.
struct Fetching {
    core: Rc<PerCore>,
    selected: Rc<Selected>,
    targets: Targets,
    /// Without UID, which always comes first.
    items: Vec<FetchItem>,
    needs: Needs,
    changed_since: Option<ModSeq>,
    /// RFC 3501: show `\Recent`.
    rev1: bool,
    syntax: NameSyntax,
    /// UIDs that this command made `\Seen`: their FLAGS are shown.
    seen_now: Vec<u32>,
    /// The first thing that went wrong; the rest is answered all the same.
    refusal: Option<Refusal>,
}

impl Client {
    pub(super) async fn fetch(&mut self, fetch: Fetch) -> Result<Done, Trouble> {
        let selected = self.selected()?;
        if fetch.vanished {
            return Err(Refusal::bad("VANISHED needs QRESYNC").into());
        }
        if fetch.changed_since.is_some() || fetch.items.contains(&FetchItem::ModSeq) {
            self.use_condstore();
        }
        let targets = self.targets(&selected, fetch.numbering, &fetch.set)?;
        let mut items = fetch.items;
        items.retain(|item| *item != FetchItem::Uid);
        if fetch.changed_since.is_some() && !items.contains(&FetchItem::ModSeq) {
            items.push(FetchItem::ModSeq);
        }
        let mut fetching = Fetching {
            core: self.core.clone(),
            needs: items.iter().map(needs).max().unwrap_or(Needs::Table),
            targets,
            items,
            changed_since: fetch.changed_since,
            rev1: !self.enabled.rev2,
            syntax: self.talk.session.syntax(),
            seen_now: Vec::new(),
            refusal: None,
            selected,
        };
        if !fetching.selected.read_only() && fetching.items.iter().any(FetchItem::sets_seen) {
            fetching.mark_seen().await?;
            self.tell_keywords(&fetching.selected);
        }
        let mut out = std::mem::take(&mut self.talk.wire.out);
        fetching.run(&mut self.talk.wire, &mut out).await?;
        self.talk.wire.out = out;
        match fetching.refusal {
            Some(refusal) => Err(refusal.into()),
            None => Ok(Done::ok("FETCH done")),
        }
    }
}

impl Fetching {
    /// Sets `\Seen` first, so that the responses already show it.
    async fn mark_seen(&mut self) -> Result<(), StoreError> {
        let mut unseen = Vec::new();
        for slice in self.targets.slices(SLICE) {
            self.selected
                .for_entries(&self.targets.view[slice], |entry| {
                    if entry.flags & system::SEEN == 0 && self.is_wanted(entry) {
                        unseen.push(entry.uid);
                    }
                });
            rt::yield_if_needed().await;
        }
        if unseen.is_empty() {
            return Ok(());
        }
        let stored = self
            .selected
            .store_flags(&unseen, FlagAction::Add, system::SEEN, &[], None)
            .await?;
        self.seen_now = stored.stored;
        Ok(())
    }

    fn is_wanted(&self, entry: &Entry) -> bool {
        self.changed_since
            .is_none_or(|since| entry.modseq > since.value())
    }

    async fn run(&mut self, wire: &mut Wire, out: &mut Vec<u8>) -> Result<(), End> {
        let slices: Vec<Range<usize>> = self.targets.slices(SLICE).collect();
        for slice in slices {
            match self.needs {
                Needs::Table => self.rows(slice, out),
                _ => self.messages(slice, wire, out).await?,
            }
            wire.relieve(out).await?;
        }
        Ok(())
    }

    fn rows(&mut self, slice: Range<usize>, out: &mut Vec<u8>) {
        let view = self.targets.view.clone();
        let known = self.selected.keywords();
        let mut at = slice.start;
        let mut missing = 0;
        self.selected.for_entries(&view[slice.clone()], |entry| {
            while view[at] != entry.uid {
                at += 1;
                missing += 1;
            }
            at += 1;
            if !self.is_wanted(entry) {
                return;
            }
            let recent = self.rev1 && self.selected.is_recent(entry.uid);
            let mut shown = Shown::new(entry, &known, recent, &[]);
            write_row(out, self.syntax, at, &mut shown, &self.items);
        });
        if missing > 0 || at < slice.end {
            self.refuse(gone());
        }
    }

    async fn messages(
        &mut self,
        slice: Range<usize>,
        wire: &mut Wire,
        out: &mut Vec<u8>,
    ) -> Result<(), End> {
        let known = self.selected.keywords();
        for at in slice {
            let uid = self.targets.view[at];
            let Some(entry) = self.selected.entry(uid) else {
                self.refuse(gone());
                continue;
            };
            if !self.is_wanted(&entry) {
                continue;
            }
            if let Err(error) = self.one_message(at + 1, &entry, &known, wire, out).await? {
                self.refuse_message(error, at + 1, uid);
            }
            wire.relieve(out).await?;
        }
        Ok(())
    }

    /// One message whose octets are needed. The inner error costs this message alone.
    async fn one_message(
        &mut self,
        sequence: usize,
        entry: &Entry,
        known: &[String],
        wire: &mut Wire,
        out: &mut Vec<u8>,
    ) -> Result<Result<(), StoreError>, End> {
        let recent = self.rev1 && self.selected.is_recent(entry.uid);
        let (core, selected) = (self.core.clone(), self.selected.clone());
        if entry.size > LARGE {
            // Boxed: few messages are, and the others should not carry it along.
            return Box::pin(async {
                let mut large = match Large::open(&core, &selected, entry, &self.items).await {
                    Ok(large) => large,
                    Err(error) => return Ok(Err(error)),
                };
                let head = std::mem::take(&mut large.head);
                let shown =
                    Shown::new(entry, known, recent, &head).with_structure(large.structure());
                self.write(sequence, shown, Some(&mut large), wire, out)
                    .await?;
                Ok(Ok(()))
            })
            .await;
        }
        // As read, and as it waits for the client; what is found in it may weigh as much again.
        let held = match self.needs {
            Needs::Message => 4 * entry.size,
            _ => 2 * entry.size,
        };
        let _share = match message_share(&core, held).await {
            Ok(share) => share,
            Err(error) => return Ok(Err(error)),
        };
        let (body, structure) = match self.read(entry).await {
            Ok(read) => read,
            Err(error) => return Ok(Err(error)),
        };
        let shown = Shown::new(entry, known, recent, body.octets()).with_structure(structure);
        self.write(sequence, shown, None, wire, out).await?;
        Ok(Ok(()))
    }

    /// The message, and its structure if it takes long to find and is needed.
    async fn read(
        &self,
        entry: &Entry,
    ) -> Result<(MessageBody, Option<Rc<Structure>>), StoreError> {
        let body = self.selected.body(entry).await?;
        if self.needs < Needs::Message || entry.size <= PARSED_HERE_MAX {
            return Ok((body, None));
        }
        let parsing = self.core.parsing.run(move || {
            let structure = Structure::of_message(body.octets());
            (body, structure)
        });
        let (body, structure) = parsing.await.map_err(|_| StorageError::Busy)?;
        Ok((body, Some(Rc::new(structure))))
    }

    /// The FETCH response of one message, item by item, for the client may be slower than we are; an item that can't be made is left out.
    async fn write(
        &mut self,
        sequence: usize,
        mut shown: Shown<'_>,
        mut large: Option<&mut Large<'_>>,
        wire: &mut Wire,
        out: &mut Vec<u8>,
    ) -> Result<(), End> {
        let numbers = (
            SequenceNumber::new(sequence as u32),
            Uid::new(shown.entry.uid),
        );
        let (Some(number), Some(uid)) = numbers else {
            return Ok(());
        };
        let mut encoder = Encoder::new(out, self.syntax);
        let mut writer = encoder.fetch(number);
        writer.uid(uid);
        for item in &self.items {
            let written = match &mut large {
                Some(large) => large.write(&mut writer, item, &mut shown, wire).await?,
                None => shown.write(&mut writer, item),
            };
            if let Err(refusal) = written {
                self.refusal.get_or_insert(refusal);
            }
            wire.relieve(writer.out()).await?;
        }
        if self.shows_seen(shown.entry.uid) {
            let _ = shown.write(&mut writer, &FetchItem::Flags);
        }
        writer.end();
        Ok(())
    }

    fn shows_seen(&self, uid: u32) -> bool {
        !self.items.contains(&FetchItem::Flags) && self.seen_now.binary_search(&uid).is_ok()
    }

    fn refuse(&mut self, refusal: Refusal) {
        self.refusal.get_or_insert(refusal);
    }

    fn refuse_message(&mut self, error: StoreError, sequence: usize, uid: u32) {
        let refusal = match error {
            StoreError::MessageGone | StoreError::Storage(StorageError::Gone(..)) => gone(),
            StoreError::Storage(error @ StorageError::Damaged { .. }) => {
                tracing::error!(account = self.selected.account().name, uid, %error, "a message is damaged");
                Refusal::no(
                    Some(Code::Corruption),
                    format!("message {sequence} (UID {uid}) is damaged; all others were sent"),
                )
            }
            error => match Trouble::from(error) {
                Trouble::Refused(refusal) => refusal,
                Trouble::End(_) => Refusal::no(None, "the account was removed"),
            },
        };
        self.refuse(refusal);
    }
}

/// RFC 2180 4.1: an expunge that this session has not been told of.
fn gone() -> Refusal {
    Refusal::no(Some(Code::ExpungeIssued), "some messages are gone")
}

/// The FETCH response of one message, of items that the table knows.
fn write_row(
    out: &mut Vec<u8>,
    syntax: NameSyntax,
    sequence: usize,
    shown: &mut Shown<'_>,
    items: &[FetchItem],
) -> Option<()> {
    let number = SequenceNumber::new(sequence as u32)?;
    let uid = Uid::new(shown.entry.uid)?;
    let mut encoder = Encoder::new(out, syntax);
    let mut writer = encoder.fetch(number);
    writer.uid(uid);
    for item in items {
        // None of them can fail.
        let _ = shown.write(&mut writer, item);
    }
    writer.end();
    Some(())
}

/// Messages looked up in the table in one go.
const SLICE: usize = 256;
/// Messages above this many octets are not read as a whole unless an item needs it.
pub(super) const LARGE: u64 = 1 << 20;
/// Messages above this many octets are taken apart by another thread.
const PARSED_HERE_MAX: u64 = 64 << 10;

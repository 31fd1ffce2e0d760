//! FETCH: which messages, what they need to be read for, in which order it is written. RFC 9051 6.4.5, RFC 7162 3.1.4.
//! What the mailbox's table knows is answered from it alone. Bodies pass with one copy; those over 1 MiB in slices.

use std::ops::Range;
use std::rc::Rc;

use imap::response::{Code, Encoder};
use imap::types::{Fetch, FetchItem, ModSeq, NameSyntax, Partial, Section, SequenceNumber, Uid};
use shards::rt;
use shards::storage::StorageError;

use super::client::Client;
use super::fetch_item::{Needs, Shown, needs, push_text};
use super::responses::{Done, Refusal, Trouble};
use super::talk::{End, Wire};
use super::targets::Targets;
use crate::store::{Entry, FlagAction, Selected, StoreError, system};

/// A FETCH under way.
struct Fetching {
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
            write_message(out, self.syntax, at, &mut shown, &self.items, false);
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
        let large = entry.size > LARGE;
        if large && self.needs == Needs::Octets {
            return Box::pin(self.stream(sequence, entry, known, wire, out)).await;
        }
        let (body, head);
        let octets = match large && self.needs == Needs::Header {
            true => match header_octets(&self.selected, entry).await {
                Ok(octets) => {
                    head = octets;
                    head.as_slice()
                }
                Err(error) => return Ok(Err(error)),
            },
            false => match self.selected.body(entry).await {
                Ok(octets) => {
                    body = octets;
                    body.octets()
                }
                Err(error) => return Ok(Err(error)),
            },
        };
        let recent = self.rev1 && self.selected.is_recent(entry.uid);
        let mut shown = Shown::new(entry, known, recent, octets);
        let add_flags = self.shows_seen(entry.uid);
        let refusal = write_message(
            out,
            self.syntax,
            sequence,
            &mut shown,
            &self.items,
            add_flags,
        );
        if let Some(refusal) = refusal {
            self.refuse(refusal);
        }
        Ok(Ok(()))
    }

    /// A large message, of which whole octets and what the table knows are asked.
    async fn stream(
        &mut self,
        sequence: usize,
        entry: &Entry,
        known: &[String],
        wire: &mut Wire,
        out: &mut Vec<u8>,
    ) -> Result<Result<(), StoreError>, End> {
        let head = match header_octets(&self.selected, entry).await {
            Ok(head) => head,
            Err(error) => return Ok(Err(error)),
        };
        let recent = self.rev1 && self.selected.is_recent(entry.uid);
        let mut shown = Shown::new(entry, known, recent, &head);
        let (Some(number), Some(uid)) = (SequenceNumber::new(sequence as u32), Uid::new(entry.uid))
        else {
            return Ok(Ok(()));
        };
        let add_flags = self.shows_seen(entry.uid);
        let mut encoder = Encoder::new(out, self.syntax);
        let mut writer = encoder.fetch(number);
        writer.uid(uid);
        for item in &self.items {
            let range = match item {
                FetchItem::Rfc822 => {
                    writer.rfc822(entry.size);
                    0..entry.size
                }
                FetchItem::BodySection {
                    section, partial, ..
                } if *section == Section::default() => {
                    let range = partial.map_or(0..entry.size, |p: Partial| p.clip(entry.size));
                    writer.body_section(
                        section,
                        partial.map(|p| p.offset),
                        range.end - range.start,
                    );
                    range
                }
                item => {
                    // Nothing but BINARY can fail, and that needs the message as a whole.
                    let _ = shown.write(&mut writer, item);
                    continue;
                }
            };
            let mut at = range.start;
            while at < range.end {
                let end = (at + STREAM_SLICE).min(range.end);
                match self.selected.octets(entry, at..end).await {
                    Ok(octets) => push_text(writer.out(), &octets),
                    // The length has been announced: there is no way back.
                    Err(error) => {
                        tracing::error!(%error, "a message broke off while it was sent");
                        return Err(End::Gone);
                    }
                }
                wire.relieve(writer.out()).await?;
                at = end;
            }
        }
        if add_flags {
            let _ = shown.write(&mut writer, &FetchItem::Flags);
        }
        writer.end();
        Ok(Ok(()))
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

/// The first octets of a large message: more is read until its header is whole.
pub(super) async fn header_octets(
    selected: &Selected,
    entry: &Entry,
) -> Result<Vec<u8>, StoreError> {
    let mut most = HEADER_FIRST;
    loop {
        let octets = selected.octets(entry, 0..most).await?;
        if most >= entry.size || message::header::has_separator(&octets) {
            return Ok(octets);
        }
        most *= 4;
    }
}

/// RFC 2180 4.1: an expunge that this session has not been told of.
fn gone() -> Refusal {
    Refusal::no(Some(Code::ExpungeIssued), "some messages are gone")
}

/// The FETCH response of one message; an item that can't be made is left out.
fn write_message(
    out: &mut Vec<u8>,
    syntax: NameSyntax,
    sequence: usize,
    shown: &mut Shown<'_>,
    items: &[FetchItem],
    add_flags: bool,
) -> Option<Refusal> {
    let number = SequenceNumber::new(sequence as u32)?;
    let uid = Uid::new(shown.entry.uid)?;
    let mut refusal = None;
    let mut encoder = Encoder::new(out, syntax);
    let mut writer = encoder.fetch(number);
    writer.uid(uid);
    for item in items {
        if let Err(error) = shown.write(&mut writer, item) {
            refusal.get_or_insert(error);
        }
    }
    if add_flags {
        let _ = shown.write(&mut writer, &FetchItem::Flags);
    }
    writer.end();
    refusal
}

/// Messages looked up in the table in one go.
const SLICE: usize = 256;
/// Messages above this many octets are not read as a whole unless an item needs it.
pub(super) const LARGE: u64 = 1 << 20;
/// Octets of a large message read at a time.
const STREAM_SLICE: u64 = 1 << 20;
/// Octets read of a large message for its header at first.
const HEADER_FIRST: u64 = 64 << 10;

//! FETCH of one message over 1 MiB: its octets are never held as a whole while the client takes them. The structure is found once, by a
//! thread for that; contents pass in slices from where they lie, decoded on their way for BINARY. RFC 9051 6.4.5, RFC 3516.
//! Memory is taken from the core's budget first: [`Large::open`] for the time of parsing, then a window for what passes.

use std::ops::Range;
use std::rc::Rc;

use imap::response::FetchWriter;
use imap::types::{FetchItem, Partial, Section, SectionText};
use message::{BinaryError, BinaryPlace, Decoder, SectionPlace, Structure};
use shards::rt;
use shards::rt::Share;
use shards::storage::StorageError;

use super::fetch_item::{Needs, Shown, needs, not_binary, push_text, section_text, write_section};
use super::responses::{Refusal, Trouble};
use super::talk::{End, Wire};
use crate::percore::PerCore;
use crate::store::{Entry, Selected, StoreError};

/// A large message that is shown.
pub(super) struct Large<'a> {
    core: &'a PerCore,
    selected: &'a Selected,
    entry: &'a Entry,
    structure: Option<Rc<Structure>>,
    /// Its header section, if an item needs it.
    pub head: Vec<u8>,
    /// None only while another is waited for.
    share: Option<Share>,
}

/// Content that is decoded slice by slice.
struct Decoding {
    /// Comes first; taken by the first step.
    prefix: Option<Vec<u8>>,
    decoder: Option<Decoder>,
    rest: Range<u64>,
}

impl<'a> Large<'a> {
    /// Reads what the items need to be found.
    pub async fn open(
        core: &'a PerCore,
        selected: &'a Selected,
        entry: &'a Entry,
        items: &[FetchItem],
    ) -> Result<Large<'a>, StoreError> {
        // Known from an earlier try, which broke off: that costs the message alone now, and no connection.
        if let Some(error) = core.damaged.borrow().get(&selected.body_key(entry)) {
            return Err(error.clone());
        }
        let mut large = Large {
            core,
            selected,
            entry,
            structure: None,
            head: Vec::new(),
            share: None,
        };
        if items.iter().any(|item| needs(item) == Needs::Message) {
            large.find_structure().await?;
        } else {
            large.reserve(0).await?;
        }
        if items.iter().any(|item| needs(item) == Needs::Header) {
            large.head = match header_octets(selected, entry, HEAD_MAX).await? {
                Some(head) => head,
                None => {
                    large.reserve(entry.size).await?;
                    whole_header(selected, entry).await?
                }
            };
        }
        Ok(large)
    }

    /// The structure, for items that are shown from it.
    pub fn structure(&self) -> Option<Rc<Structure>> {
        self.structure.clone()
    }

    /// Takes a window for what passes and so many octets that are held beside.
    async fn reserve(&mut self, held: u64) -> Result<(), StoreError> {
        self.share = None;
        let weight = self.structure.as_ref().map_or(0, |s| s.weight() as u64);
        self.share = Some(message_share(self.core, held + weight + WINDOW).await?);
        Ok(())
    }

    async fn find_structure(&mut self) -> Result<(), StoreError> {
        let key = self.selected.body_key(self.entry);
        if let Some(known) = self.core.structures.get(key) {
            self.structure = Some(known);
            return self.reserve(0).await;
        }
        let mut share = message_share(self.core, self.entry.size).await?;
        if let Some(found_meanwhile) = self.core.structures.get(key) {
            self.structure = Some(found_meanwhile);
            share.shrink_to(0);
            return self.reserve(0).await;
        }
        let body = self.selected.body(self.entry).await?;
        let parsing = self.core.parsing.run(move || {
            let structure = Structure::of_message(body.octets());
            let weight = structure.weight();
            (structure, weight)
        });
        let (structure, weight) = parsing.await.map_err(|_| StorageError::Busy)?;
        let structure = Rc::new(structure);
        self.core.structures.put(key, &structure, weight);
        share.shrink_to(weight + WINDOW as usize);
        self.share = Some(share);
        self.structure = Some(structure);
        Ok(())
    }

    /// Writes one item. `shown` has the head and the structure.
    pub async fn write(
        &mut self,
        writer: &mut FetchWriter<'_>,
        item: &FetchItem,
        shown: &mut Shown<'_>,
        wire: &mut Wire,
    ) -> Result<Result<(), Refusal>, End> {
        let all = 0..self.entry.size;
        let text = Section {
            part: Vec::new(),
            text: Some(SectionText::Text),
        };
        match item {
            FetchItem::Rfc822 => {
                let first = match self.first(&all).await {
                    Ok(first) => first,
                    Err(error) => return refused(error),
                };
                writer.rfc822(self.entry.size);
                self.stream(writer, first, all, wire).await?;
            }
            FetchItem::Rfc822Text => {
                if let Some(SectionPlace::Range(range)) = self.place(&text) {
                    let range = octets(range);
                    let first = match self.first(&range).await {
                        Ok(first) => first,
                        Err(error) => return refused(error),
                    };
                    writer.rfc822_text(range.end - range.start);
                    self.stream(writer, first, range, wire).await?;
                }
            }
            FetchItem::BodySection {
                section, partial, ..
            } if *section == Section::default() => {
                return self.section(writer, section, *partial, all, wire).await;
            }
            FetchItem::BodySection {
                section, partial, ..
            } if needs(item) == Needs::Message => match self.place(section) {
                Some(SectionPlace::Range(range)) => {
                    let range = octets(range);
                    return self.section(writer, section, *partial, range, wire).await;
                }
                Some(SectionPlace::Fields(range)) => {
                    let header = match self.held(octets(range)).await {
                        Ok(header) => header,
                        Err(error) => return refused(error),
                    };
                    let picked = SectionPlace::pick(&header, section_text(section));
                    write_section(writer, section, *partial, &picked);
                }
                None => writer.body_section_nil(section, partial.map(|p| p.offset)),
            },
            FetchItem::Binary { part, partial, .. } => {
                return self.binary(writer, part, *partial, wire).await;
            }
            FetchItem::BinarySize { part } => match self.decoded(part, None).await {
                Ok(Some((size, _))) => writer.binary_size(part, size),
                Ok(None) => writer.binary_size(part, 0),
                Err(trouble) => return refused(trouble),
            },
            item => return Ok(shown.write(writer, item)),
        }
        Ok(Ok(()))
    }

    fn place(&self, section: &Section) -> Option<SectionPlace> {
        let structure = self.structure.as_ref()?;
        structure.section_place(&section.part, section_text(section))
    }

    async fn section(
        &self,
        writer: &mut FetchWriter<'_>,
        section: &Section,
        partial: Option<Partial>,
        whole: Range<u64>,
        wire: &mut Wire,
    ) -> Result<Result<(), Refusal>, End> {
        let length = whole.end - whole.start;
        let shown = partial.map_or(0..length, |p| p.clip(length));
        let origin = partial.map(|p| p.offset);
        let range = whole.start + shown.start..whole.start + shown.end;
        let first = match self.first(&range).await {
            Ok(first) => first,
            Err(error) => return refused(error),
        };
        writer.body_section(section, origin, shown.end - shown.start);
        self.stream(writer, first, range, wire).await.map(Ok)
    }

    /// The first slice of what will be shown. Read before its length is announced: what is damaged there, or gone, costs the item alone.
    async fn first(&self, range: &Range<u64>) -> Result<Vec<u8>, StoreError> {
        let end = (range.start + SLICE).min(range.end);
        let first = self.selected.octets(self.entry, range.start..end).await;
        first.inspect_err(|error| self.remember(error))
    }

    /// The content of a literal whose length has been announced.
    async fn stream(
        &self,
        writer: &mut FetchWriter<'_>,
        first: Vec<u8>,
        range: Range<u64>,
        wire: &mut Wire,
    ) -> Result<(), End> {
        let mut at = range.start + first.len() as u64;
        push_text(writer.out(), &first);
        drop(first);
        wire.relieve(writer.out()).await?;
        while at < range.end {
            let end = (at + SLICE).min(range.end);
            let octets = self.selected.octets(self.entry, at..end).await;
            let octets = octets.map_err(|error| self.broken_off(&error))?;
            push_text(writer.out(), &octets);
            wire.relieve(writer.out()).await?;
            at = end;
        }
        Ok(())
    }

    /// The length has been announced: there is no way back. The client comes again, and is told then.
    fn broken_off(&self, error: &StoreError) -> End {
        self.remember(error);
        End::Gone
    }

    fn remember(&self, error: &StoreError) {
        if !matches!(error, StoreError::Storage(StorageError::Damaged { .. })) {
            return;
        }
        let (account, uid) = (&self.selected.account().name, self.entry.uid);
        tracing::error!(account, uid, %error, "a message is damaged");
        let mut damaged = self.core.damaged.borrow_mut();
        if damaged.len() < DAMAGED_MAX {
            damaged.insert(self.selected.body_key(self.entry), error.clone());
        }
    }

    async fn binary(
        &mut self,
        writer: &mut FetchWriter<'_>,
        part: &[u32],
        partial: Option<Partial>,
        wire: &mut Wire,
    ) -> Result<Result<(), Refusal>, End> {
        let origin = partial.map(|p| p.offset);
        let (size, has_nul) = match self.decoded(part, partial).await {
            Ok(Some(found)) => found,
            Ok(None) => {
                writer.binary_nil(part, origin);
                return Ok(Ok(()));
            }
            Err(trouble) => return refused(trouble),
        };
        let shown = partial.map_or(0..size, |p| p.clip(size));
        writer.binary(part, origin, shown.end - shown.start, has_nul);
        let Ok(Some(mut decoding)) = self.decoding(part).await else {
            return Err(End::Gone);
        };
        let mut at = 0;
        while at < shown.end {
            let piece = decoding.next(self).await;
            let piece = piece.map_err(|error| self.broken_off(&error))?;
            let Some(piece) = piece else {
                break;
            };
            writer.out().extend_from_slice(common(&piece, at, &shown));
            at += piece.len() as u64;
            wire.relieve(writer.out()).await?;
        }
        Ok(Ok(()))
    }

    /// Size of the decoded content, and whether what is shown of it has a NUL. None if there is no such part.
    async fn decoded(
        &mut self,
        part: &[u32],
        partial: Option<Partial>,
    ) -> Result<Option<(u64, bool)>, Trouble> {
        let Some(mut decoding) = self.decoding(part).await? else {
            return Ok(None);
        };
        let shown = partial.map_or(0..u64::MAX, |p| p.clip(u64::MAX));
        let (mut size, mut has_nul) = (0, false);
        while let Some(piece) = decoding.next(self).await? {
            has_nul |= common(&piece, size, &shown).contains(&0);
            size += piece.len() as u64;
            rt::yield_if_needed().await;
        }
        Ok(Some((size, has_nul)))
    }

    async fn decoding(&mut self, part: &[u32]) -> Result<Option<Decoding>, Trouble> {
        let Some(structure) = self.structure.clone() else {
            return Ok(None);
        };
        let place = match structure.binary_place(part) {
            Ok(place) => place,
            Err(BinaryError::NoSuchPart) => return Ok(None),
            Err(error) => return Err(not_binary(error).into()),
        };
        let prefix = match place.header {
            Some(header) => BinaryPlace::pick(&self.held(octets(header)).await?),
            None => Vec::new(),
        };
        Ok(Some(Decoding {
            prefix: Some(prefix),
            decoder: Some(Decoder::new(place.encoding)),
            rest: octets(place.body),
        }))
    }

    /// Octets that are needed at once: header sections, mostly small.
    async fn held(&mut self, range: Range<u64>) -> Result<Vec<u8>, StoreError> {
        if range.end - range.start > HEAD_MAX {
            // What they are picked from, what is picked, and what is written of it.
            self.reserve(3 * (range.end - range.start)).await?;
        }
        self.selected.octets(self.entry, range).await
    }
}

impl Decoding {
    /// The next decoded octets, maybe none of them; None at the end.
    async fn next(&mut self, large: &Large<'_>) -> Result<Option<Vec<u8>>, StoreError> {
        if let Some(prefix) = self.prefix.take() {
            return Ok(Some(prefix));
        }
        let mut decoded = Vec::new();
        let mut sink = |octets: &[u8]| decoded.extend_from_slice(octets);
        if self.rest.is_empty() {
            let Some(decoder) = self.decoder.take() else {
                return Ok(None);
            };
            decoder.finish(&mut sink);
        } else if let Some(decoder) = &mut self.decoder {
            let end = (self.rest.start + SLICE).min(self.rest.end);
            let read = large
                .selected
                .octets(large.entry, self.rest.start..end)
                .await?;
            decoder.push(&read, &mut sink);
            self.rest.start = end;
        }
        Ok(Some(decoded))
    }
}

/// Of octets that stand from `at` on those within a range.
fn common<'p>(piece: &'p [u8], at: u64, range: &Range<u64>) -> &'p [u8] {
    let length = piece.len() as u64;
    let start = range.start.saturating_sub(at).min(length);
    let end = range.end.saturating_sub(at).min(length);
    &piece[start as usize..end.max(start) as usize]
}

fn octets(range: Range<usize>) -> Range<u64> {
    range.start as u64..range.end as u64
}

/// The item is left out.
fn refused(trouble: impl Into<Trouble>) -> Result<Result<(), Refusal>, End> {
    match trouble.into() {
        Trouble::Refused(refusal) => Ok(Err(refusal)),
        Trouble::End(end) => Err(end),
    }
}

/// Waits for memory to hold this much of messages.
pub(super) async fn message_share(core: &PerCore, octets: u64) -> Result<Share, StoreError> {
    core.message_share(octets)
        .await
        .ok_or(StoreError::Limit("the message is too large to be read"))
}

/// The first octets of a large message, its header among them; None if that has more than so many.
pub(super) async fn header_octets(
    selected: &Selected,
    entry: &Entry,
    max: u64,
) -> Result<Option<Vec<u8>>, StoreError> {
    let mut most = HEADER_FIRST;
    loop {
        let octets = selected.octets(entry, 0..most).await?;
        if most >= entry.size || message::header::has_separator(&octets) {
            return Ok(Some(octets));
        }
        if most >= max {
            return Ok(None);
        }
        most = (most * 4).min(max);
    }
}

/// The same however long it is, for who has the memory.
pub(super) async fn whole_header(
    selected: &Selected,
    entry: &Entry,
) -> Result<Vec<u8>, StoreError> {
    let header = header_octets(selected, entry, u64::MAX).await?;
    Ok(header.unwrap_or_default())
}

/// Damaged messages that a core remembers.
const DAMAGED_MAX: usize = 10_000;
/// Octets of a large message read at a time: two of the chunks that have a checksum.
const SLICE: u64 = 128 << 10;
/// What one slice takes on its way: as read, as decoded, as it waits for the client.
const WINDOW: u64 = 512 << 10;
/// Octets read of a large message for its header at first.
const HEADER_FIRST: u64 = 64 << 10;
/// Longest header section that is held without asking for more memory.
pub(super) const HEAD_MAX: u64 = 256 << 10;

//! One FETCH data item of one message, written straight into the output. RFC 9051 6.4.5 and 7.5.2, RFC 3516, RFC 7162, RFC 8514.
//! Not here: which messages, and reading their octets (`fetch.rs`).

use std::rc::Rc;

use imap::response::{Code, FetchWriter};
use imap::types::{DateTime, FetchItem, ModSeq, Partial, Section, SectionText};
use message::{BinaryError, EnvelopeFields, Header, SectionPlace, Structure};

use super::flags;
use super::message_view::{body_structure, envelope};
use super::responses::Refusal;
use crate::store::Entry;

/// What an item needs beside the mailbox's table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Needs {
    /// Nothing.
    Table,
    /// The first octets of the message, as far as its header goes.
    Header,
    /// All octets, which pass through.
    Octets,
    /// All octets at once.
    Message,
}

/// A message of which items are shown.
pub(super) struct Shown<'m> {
    pub entry: &'m Entry,
    /// Keywords of the mailbox.
    pub known: &'m [String],
    /// Show `\Recent`.
    pub recent: bool,
    /// Its octets, as far as the items need them.
    pub octets: &'m [u8],
    structure: Option<Rc<Structure>>,
}

/// What this item needs.
pub(super) fn needs(item: &FetchItem) -> Needs {
    match item {
        FetchItem::Flags
        | FetchItem::InternalDate
        | FetchItem::Rfc822Size
        | FetchItem::Uid
        | FetchItem::ModSeq
        | FetchItem::SaveDate => Needs::Table,
        FetchItem::Envelope | FetchItem::Rfc822Header => Needs::Header,
        FetchItem::BodySection { section, .. } if section.part.is_empty() => match section.text {
            None => Needs::Octets,
            Some(SectionText::Text) => Needs::Message,
            Some(_) => Needs::Header,
        },
        FetchItem::Rfc822 => Needs::Octets,
        _ => Needs::Message,
    }
}

impl<'m> Shown<'m> {
    pub fn new(entry: &'m Entry, known: &'m [String], recent: bool, octets: &'m [u8]) -> Shown<'m> {
        Shown {
            entry,
            known,
            recent,
            octets,
            structure: None,
        }
    }

    /// With the structure, if it is known already.
    pub fn with_structure(self, structure: Option<Rc<Structure>>) -> Shown<'m> {
        Shown { structure, ..self }
    }

    /// Writes one item; UID is the caller's. An item that can't be made is left out and the reason returned.
    pub fn write(&mut self, writer: &mut FetchWriter<'_>, item: &FetchItem) -> Result<(), Refusal> {
        match item {
            FetchItem::Uid => (),
            FetchItem::Flags => writer.flags(
                flags::system_flags(self.entry.flags),
                flags::keywords(self.entry, self.known, self.recent),
            ),
            FetchItem::InternalDate => {
                writer.internal_date(DateTime::from_unix_secs(self.entry.received, 0))
            }
            FetchItem::SaveDate => {
                writer.save_date(Some(DateTime::from_unix_secs(self.entry.saved, 0)))
            }
            FetchItem::Rfc822Size => writer.rfc822_size(self.entry.size),
            FetchItem::ModSeq => {
                if let Some(mod_seq) = ModSeq::new(self.entry.modseq) {
                    writer.mod_seq(mod_seq);
                }
            }
            FetchItem::Envelope => {
                let fields = EnvelopeFields::of_header(Header::of_message(self.octets));
                writer.envelope(&envelope(&fields));
            }
            FetchItem::Body => writer.body(&body_structure(&self.structure().root)),
            FetchItem::BodyStructure => {
                writer.body_structure(&body_structure(&self.structure().root))
            }
            FetchItem::Rfc822 => {
                writer.rfc822(self.octets.len() as u64);
                push_text(writer.out(), self.octets);
            }
            FetchItem::Rfc822Header => {
                let header = Header::of_message(self.octets).octets();
                writer.rfc822_header(header.len() as u64);
                push_text(writer.out(), header);
            }
            FetchItem::Rfc822Text => {
                let header = Header::of_message(self.octets).octets().len();
                let text = &self.octets[header..];
                writer.rfc822_text(text.len() as u64);
                push_text(writer.out(), text);
            }
            FetchItem::BodySection {
                section, partial, ..
            } => self.section(writer, section, *partial),
            FetchItem::Binary { part, partial, .. } => self.binary(writer, part, *partial)?,
            FetchItem::BinarySize { part } => self.binary_size(writer, part)?,
        }
        Ok(())
    }

    fn structure(&mut self) -> &Structure {
        let octets = self.octets;
        self.structure
            .get_or_insert_with(|| Rc::new(Structure::of_message(octets)))
    }

    fn section(
        &mut self,
        writer: &mut FetchWriter<'_>,
        section: &Section,
        partial: Option<Partial>,
    ) {
        let octets = self.octets;
        let origin = partial.map(|p| p.offset);
        if section.part.is_empty() {
            let header = || Header::of_message(octets).octets();
            match &section.text {
                None => return write_section(writer, section, partial, octets),
                Some(SectionText::Header) => {
                    return write_section(writer, section, partial, header());
                }
                Some(SectionText::Text) => {
                    let text = &octets[header().len()..];
                    return write_section(writer, section, partial, text);
                }
                Some(SectionText::HeaderFields(_) | SectionText::HeaderFieldsNot(_)) => {
                    let picked = SectionPlace::pick(header(), section_text(section));
                    return write_section(writer, section, partial, &picked);
                }
                // The grammar allows MIME behind part numbers alone.
                Some(SectionText::Mime) => return writer.body_section_nil(section, origin),
            }
        }
        let found = self
            .structure()
            .section(octets, &section.part, section_text(section));
        match found {
            Some(found) => write_section(writer, section, partial, &found),
            // RFC 9051 6.4.5.1 asks for nothing in particular; NIL lets the other items through.
            None => writer.body_section_nil(section, origin),
        }
    }

    fn binary(
        &mut self,
        writer: &mut FetchWriter<'_>,
        part: &[u32],
        partial: Option<Partial>,
    ) -> Result<(), Refusal> {
        let octets = self.octets;
        let origin = partial.map(|p| p.offset);
        match self.structure().binary(octets, part) {
            Ok(decoded) => {
                let shown = clip(&decoded, partial);
                // RFC 3516 4.3: literal8 if there is a NUL.
                writer.binary(part, origin, shown.len() as u64, shown.contains(&0));
                writer.out().extend_from_slice(shown);
                Ok(())
            }
            Err(BinaryError::NoSuchPart) => {
                writer.binary_nil(part, origin);
                Ok(())
            }
            Err(error) => Err(not_binary(error)),
        }
    }

    fn binary_size(&mut self, writer: &mut FetchWriter<'_>, part: &[u32]) -> Result<(), Refusal> {
        let octets = self.octets;
        match self.structure().binary_size(octets, part) {
            Ok(size) => writer.binary_size(part, size),
            Err(BinaryError::NoSuchPart) => writer.binary_size(part, 0),
            Err(error) => return Err(not_binary(error)),
        }
        Ok(())
    }
}

/// RFC 3516 4.3.
pub(super) fn not_binary(error: BinaryError) -> Refusal {
    match error {
        BinaryError::UnknownTransferEncoding(_) => Refusal::no(
            Some(Code::UnknownCte),
            "the part's transfer encoding is unknown",
        ),
        _ => Refusal::no(Some(Code::Cannot), "the part has no binary form"),
    }
}

pub(super) fn write_section(
    writer: &mut FetchWriter<'_>,
    section: &Section,
    partial: Option<Partial>,
    octets: &[u8],
) {
    let shown = clip(octets, partial);
    writer.body_section(section, partial.map(|p| p.offset), shown.len() as u64);
    push_text(writer.out(), shown);
}

/// Octets of a literal that is no literal8, which may have no NUL: each is shown as 0x80, so that sizes, partials and the parts of
/// BODYSTRUCTURE stay what they are.
// RFC 9051 4.3.1 would have base64 instead, which makes another message of it; BINARY[..] has the octets as they are.
pub(super) fn push_text(out: &mut Vec<u8>, octets: &[u8]) {
    let start = out.len();
    out.extend_from_slice(octets);
    // Looked for first: that is fast, and nearly always all there is to do.
    if out[start..].contains(&0) {
        for octet in out[start..].iter_mut().filter(|octet| **octet == 0) {
            *octet = 0x80;
        }
    }
}

fn clip(octets: &[u8], partial: Option<Partial>) -> &[u8] {
    match partial {
        Some(partial) => {
            let range = partial.clip(octets.len() as u64);
            &octets[range.start as usize..range.end as usize]
        }
        None => octets,
    }
}

pub(super) fn section_text(section: &Section) -> Option<message::SectionText<'_>> {
    section.text.as_ref().map(|text| match text {
        SectionText::Header => message::SectionText::Header,
        SectionText::HeaderFields(names) => message::SectionText::HeaderFields(names),
        SectionText::HeaderFieldsNot(names) => message::SectionText::HeaderFieldsNot(names),
        SectionText::Text => message::SectionText::Text,
        SectionText::Mime => message::SectionText::Mime,
    })
}

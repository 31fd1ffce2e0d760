//! FETCH responses, item after item. RFC 9051 7.5.2, RFC 3516 4.2, RFC 7162 3.1.4, RFC 8514 4.2.

use super::code::push_flags;
use super::strings::{push_astring, push_literal_header, push_number};
use super::{BodyStructure, EnvelopeFields};
use crate::types::{
    DateTime, ModSeq, NameSyntax, Section, SectionText, SequenceNumber, SystemFlags, Uid,
};

/// One FETCH response that is being written. [`FetchWriter::end`] must be called; before it the output is not whole.
///
/// Items with content write the head of a literal: the caller then appends exactly that many octets to
/// [`FetchWriter::out`], and may send and clear the output between, so a large body is never held twice.
#[derive(Debug)]
#[must_use = "a FETCH response needs its end"]
pub struct FetchWriter<'a> {
    out: &'a mut Vec<u8>,
    syntax: NameSyntax,
    first: bool,
}

impl<'a> FetchWriter<'a> {
    pub(super) fn new(out: &'a mut Vec<u8>, syntax: NameSyntax, number: SequenceNumber) -> Self {
        out.extend_from_slice(b"* ");
        push_number(out, u64::from(number.value()));
        out.extend_from_slice(b" FETCH (");
        Self {
            out,
            syntax,
            first: true,
        }
    }

    /// The output itself, for the content of a literal.
    pub fn out(&mut self) -> &mut Vec<u8> {
        self.out
    }

    /// Ends the response.
    pub fn end(self) {
        self.out.extend_from_slice(b")\r\n");
    }

    fn item(&mut self, name: &str) -> &mut Vec<u8> {
        if !self.first {
            self.out.push(b' ');
        }
        self.first = false;
        self.out.extend_from_slice(name.as_bytes());
        self.out
    }

    /// UID
    pub fn uid(&mut self, uid: Uid) {
        push_number(self.item("UID "), u64::from(uid.value()));
    }

    /// FLAGS; keywords in the spelling of [`crate::types::Keyword`], and `\Recent` among them if need be.
    pub fn flags<'k>(&mut self, system: SystemFlags, keywords: impl IntoIterator<Item = &'k str>) {
        push_flags(self.item("FLAGS "), system, keywords.into_iter());
    }

    /// MODSEQ
    pub fn mod_seq(&mut self, mod_seq: ModSeq) {
        let out = self.item("MODSEQ (");
        push_number(out, mod_seq.value());
        out.push(b')');
    }

    /// RFC822.SIZE
    pub fn rfc822_size(&mut self, octets: u64) {
        push_number(self.item("RFC822.SIZE "), octets);
    }

    /// INTERNALDATE
    pub fn internal_date(&mut self, date: DateTime) {
        let out = self.item("INTERNALDATE \"");
        date.write_to(out);
        out.push(b'"');
    }

    /// SAVEDATE; `None` is NIL.
    pub fn save_date(&mut self, date: Option<DateTime>) {
        let out = self.item("SAVEDATE ");
        match date {
            Some(date) => {
                out.push(b'"');
                date.write_to(out);
                out.push(b'"');
            }
            None => out.extend_from_slice(b"NIL"),
        }
    }

    /// ENVELOPE
    pub fn envelope(&mut self, envelope: &EnvelopeFields<'_>) {
        let syntax = self.syntax;
        envelope.write_to(self.item("ENVELOPE "), syntax);
    }

    /// BODYSTRUCTURE
    pub fn body_structure(&mut self, structure: &BodyStructure<'_>) {
        let syntax = self.syntax;
        structure.write_to(self.item("BODYSTRUCTURE "), syntax, true);
    }

    /// BODY: the structure without extension data
    pub fn body(&mut self, structure: &BodyStructure<'_>) {
        let syntax = self.syntax;
        structure.write_to(self.item("BODY "), syntax, false);
    }

    /// Begins BODY[..] of so many octets, which the caller appends; `origin` is the offset of a partial.
    pub fn body_section(&mut self, section: &Section, origin: Option<u64>, octets: u64) {
        self.section_name(section, origin);
        self.out.push(b' ');
        push_literal_header(self.out, octets);
    }

    /// BODY[..] NIL: there is no such part.
    pub fn body_section_nil(&mut self, section: &Section, origin: Option<u64>) {
        self.section_name(section, origin);
        self.out.extend_from_slice(b" NIL");
    }

    /// Begins BINARY[..] of so many decoded octets, which the caller appends; `origin` is the offset of a partial. With `has_nul`
    /// they go as a literal8, RFC 3516 4.3.
    pub fn binary(&mut self, part: &[u32], origin: Option<u64>, octets: u64, has_nul: bool) {
        self.binary_name(part, origin);
        self.out
            .extend_from_slice(if has_nul { b" ~" } else { b" " });
        push_literal_header(self.out, octets);
    }

    /// BINARY[..] NIL: there is no such part.
    pub fn binary_nil(&mut self, part: &[u32], origin: Option<u64>) {
        self.binary_name(part, origin);
        self.out.extend_from_slice(b" NIL");
    }

    /// BINARY.SIZE[..]
    pub fn binary_size(&mut self, part: &[u32], octets: u64) {
        let out = self.item("BINARY.SIZE[");
        push_part(out, part);
        out.extend_from_slice(b"] ");
        push_number(out, octets);
    }

    /// Begins RFC822 of so many octets, which the caller appends (RFC 3501).
    pub fn rfc822(&mut self, octets: u64) {
        push_literal_header(self.item("RFC822 "), octets);
    }

    /// Begins RFC822.HEADER, alike.
    pub fn rfc822_header(&mut self, octets: u64) {
        push_literal_header(self.item("RFC822.HEADER "), octets);
    }

    /// Begins RFC822.TEXT, alike.
    pub fn rfc822_text(&mut self, octets: u64) {
        push_literal_header(self.item("RFC822.TEXT "), octets);
    }

    /// `"BINARY" section-binary ["<" number ">"]`
    // RFC 9051 7.5.2 and RFC 3516 4.3 have the number in their prose; the grammar of both forgot it.
    fn binary_name(&mut self, part: &[u32], origin: Option<u64>) {
        let out = self.item("BINARY[");
        push_part(out, part);
        out.push(b']');
        push_origin(out, origin);
    }

    /// `"BODY" section ["<" number ">"]`
    fn section_name(&mut self, section: &Section, origin: Option<u64>) {
        let syntax = self.syntax;
        let out = self.item("BODY[");
        push_part(out, &section.part);
        if let Some(text) = &section.text {
            if !section.part.is_empty() {
                out.push(b'.');
            }
            push_section_text(out, text, syntax);
        }
        out.push(b']');
        push_origin(out, origin);
    }
}

fn push_origin(out: &mut Vec<u8>, origin: Option<u64>) {
    if let Some(origin) = origin {
        out.push(b'<');
        push_number(out, origin);
        out.push(b'>');
    }
}

fn push_section_text(out: &mut Vec<u8>, text: &SectionText, syntax: NameSyntax) {
    let (name, fields) = match text {
        SectionText::Header => ("HEADER", None),
        SectionText::Text => ("TEXT", None),
        SectionText::Mime => ("MIME", None),
        SectionText::HeaderFields(fields) => ("HEADER.FIELDS", Some(fields)),
        SectionText::HeaderFieldsNot(fields) => ("HEADER.FIELDS.NOT", Some(fields)),
    };
    out.extend_from_slice(name.as_bytes());
    if let Some(fields) = fields {
        for (index, field) in fields.iter().enumerate() {
            out.extend_from_slice(if index == 0 { b" (" } else { b" " });
            push_astring(out, field.as_bytes(), syntax);
        }
        out.push(b')');
    }
}

fn push_part(out: &mut Vec<u8>, part: &[u32]) {
    for (index, &number) in part.iter().enumerate() {
        if index > 0 {
            out.push(b'.');
        }
        push_number(out, u64::from(number));
    }
}

//! ESEARCH, RFC 9051 7.3.4, RFC 4731, RFC 7162 3.1.10.

use super::strings::push_number;
use crate::types::{ModSeq, NumberSet, Numbering, Tag};

/// What an ESEARCH response says; only what is `Some` is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SearchResult<'a> {
    /// Tag of the SEARCH.
    pub tag: &'a Tag,
    /// What the numbers are.
    pub numbering: Numbering,
    /// MIN
    pub min: Option<u32>,
    /// MAX
    pub max: Option<u32>,
    /// ALL; an empty set is left out (RFC 4731 3.1).
    pub all: Option<&'a NumberSet>,
    /// COUNT
    pub count: Option<u32>,
    /// MODSEQ
    pub mod_seq: Option<ModSeq>,
}

impl SearchResult<'_> {
    /// esearch-response = "ESEARCH" [search-correlator] [SP "UID"] *(SP search-return-data)
    pub(super) fn write_to(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"* ESEARCH (TAG ");
        super::push_quoted(out, self.tag.as_str().as_bytes());
        out.push(b')');
        if self.numbering == Numbering::Uid {
            out.extend_from_slice(b" UID");
        }
        let mut item = |name: &str, number: Option<u64>| {
            if let Some(number) = number {
                out.extend_from_slice(name.as_bytes());
                push_number(out, number);
            }
        };
        item(" MIN ", self.min.map(u64::from));
        item(" MAX ", self.max.map(u64::from));
        item(" COUNT ", self.count.map(u64::from));
        if let Some(all) = self.all.filter(|all| !all.is_empty()) {
            out.extend_from_slice(b" ALL ");
            all.write_to(out);
        }
        // Last, as in the examples of RFC 7162 3.1.5: some readers know no other order.
        if let Some(mod_seq) = self.mod_seq {
            out.extend_from_slice(b" MODSEQ ");
            push_number(out, mod_seq.value());
        }
        out.extend_from_slice(b"\r\n");
    }
}

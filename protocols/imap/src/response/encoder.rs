//! The responses of one line. Each method writes one whole response into the output.

use super::code::push_flags;
use super::strings::{push_mailbox, push_nstring, push_number, push_quoted, push_string};
use super::{Code, Condition, FetchWriter, ListItem, SearchResult};
use crate::types::{ModSeq, NameSyntax, NumberSet, SequenceNumber, StatusItem, SystemFlags, Tag};

/// Writes responses into an output, in the syntax of a connection.
#[derive(Debug)]
pub struct Encoder<'a> {
    out: &'a mut Vec<u8>,
    syntax: NameSyntax,
}

/// One namespace: prefix and hierarchy delimiter, RFC 2342 5.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NamespaceEntry<'a> {
    /// Prefix of all its names.
    pub prefix: &'a str,
    /// Hierarchy delimiter.
    pub delimiter: Option<u8>,
}

impl<'a> Encoder<'a> {
    /// An encoder that appends to `out`; `syntax` is that of [`crate::server::Session::syntax`].
    pub fn new(out: &'a mut Vec<u8>, syntax: NameSyntax) -> Self {
        Self { out, syntax }
    }

    /// The output itself.
    pub fn out(&mut self) -> &mut Vec<u8> {
        self.out
    }

    /// The tagged response that ends a command.
    pub fn tagged(&mut self, tag: &Tag, condition: Condition, code: Option<&Code<'_>>, text: &str) {
        super::tagged(self.out, tag, condition, code, text);
    }

    /// An untagged status response.
    pub fn untagged(&mut self, condition: Condition, code: Option<&Code<'_>>, text: &str) {
        super::untagged(self.out, condition, code, text);
    }

    /// `* CAPABILITY ..`
    pub fn capability(&mut self, capabilities: &[&str]) {
        self.words("* CAPABILITY", capabilities);
    }

    /// `* ENABLED ..`, RFC 5161 4
    pub fn enabled(&mut self, capabilities: &[&str]) {
        self.words("* ENABLED", capabilities);
    }

    fn words(&mut self, start: &str, words: &[&str]) {
        self.out.extend_from_slice(start.as_bytes());
        for word in words {
            self.out.push(b' ');
            self.out.extend_from_slice(word.as_bytes());
        }
        self.line_end();
    }

    /// `* FLAGS (..)`
    pub fn flags<'k>(&mut self, system: SystemFlags, keywords: impl IntoIterator<Item = &'k str>) {
        self.out.extend_from_slice(b"* FLAGS ");
        push_flags(self.out, system, keywords.into_iter());
        self.line_end();
    }

    /// `* n EXISTS`
    pub fn exists(&mut self, count: u32) {
        self.numbered(count, " EXISTS");
    }

    /// `* n RECENT`, RFC 3501 7.3.2
    pub fn recent(&mut self, count: u32) {
        self.numbered(count, " RECENT");
    }

    /// `* n EXPUNGE`
    pub fn expunge(&mut self, number: SequenceNumber) {
        self.numbered(number.value(), " EXPUNGE");
    }

    fn numbered(&mut self, number: u32, word: &str) {
        self.out.extend_from_slice(b"* ");
        push_number(self.out, u64::from(number));
        self.out.extend_from_slice(word.as_bytes());
        self.line_end();
    }

    /// `* VANISHED [(EARLIER)] uids`, RFC 7162 3.2.10, in lines of less than 4 KiB; nothing for the empty set.
    pub fn vanished(&mut self, uids: &NumberSet, earlier: bool) {
        let start: &[u8] = if earlier {
            b"* VANISHED (EARLIER) "
        } else {
            b"* VANISHED "
        };
        uids.write_pieces(self.out, 4096 - 32, start, b"\r\n");
    }

    /// `* LIST ..`
    pub fn list(&mut self, item: &ListItem<'_>) {
        self.out.extend_from_slice(b"* LIST ");
        item.write_to(self.out, self.syntax);
        self.line_end();
    }

    /// `* LSUB ..`, RFC 3501 7.2.3
    pub fn lsub(&mut self, item: &ListItem<'_>) {
        self.out.extend_from_slice(b"* LSUB ");
        item.write_to(self.out, self.syntax);
        self.line_end();
    }

    /// `* STATUS mailbox (..)`; a value of `None` is NIL, which only APPENDLIMIT may have (RFC 7889 4).
    pub fn status(
        &mut self,
        mailbox: &str,
        items: impl IntoIterator<Item = (StatusItem, Option<u64>)>,
    ) {
        self.out.extend_from_slice(b"* STATUS ");
        push_mailbox(self.out, mailbox, self.syntax);
        self.out.extend_from_slice(b" (");
        for (index, (item, value)) in items.into_iter().enumerate() {
            if index > 0 {
                self.out.push(b' ');
            }
            self.out.extend_from_slice(item.as_str().as_bytes());
            self.out.push(b' ');
            match value {
                Some(value) => push_number(self.out, value),
                None => self.out.extend_from_slice(b"NIL"),
            }
        }
        self.out.extend_from_slice(b")\r\n");
    }

    /// `* SEARCH ..`, RFC 3501 7.2.5; with a mod-sequence RFC 7162 3.1.6 (only when something was found).
    pub fn search(&mut self, numbers: impl IntoIterator<Item = u32>, mod_seq: Option<ModSeq>) {
        self.out.extend_from_slice(b"* SEARCH");
        let mut found = false;
        for number in numbers {
            self.out.push(b' ');
            push_number(self.out, u64::from(number));
            found = true;
        }
        if let (true, Some(mod_seq)) = (found, mod_seq) {
            self.out.extend_from_slice(b" (MODSEQ ");
            push_number(self.out, mod_seq.value());
            self.out.push(b')');
        }
        self.line_end();
    }

    /// `* ESEARCH ..`
    pub fn esearch(&mut self, result: &SearchResult<'_>) {
        result.write_to(self.out);
    }

    /// `* NAMESPACE personal other shared`, RFC 9051 7.3.2; an empty list is NIL.
    pub fn namespace(
        &mut self,
        personal: &[NamespaceEntry<'_>],
        other: &[NamespaceEntry<'_>],
        shared: &[NamespaceEntry<'_>],
    ) {
        self.out.extend_from_slice(b"* NAMESPACE");
        for entries in [personal, other, shared] {
            self.out.push(b' ');
            self.namespace_entries(entries);
        }
        self.line_end();
    }

    fn namespace_entries(&mut self, entries: &[NamespaceEntry<'_>]) {
        if entries.is_empty() {
            self.out.extend_from_slice(b"NIL");
            return;
        }
        self.out.push(b'(');
        for entry in entries {
            self.out.push(b'(');
            let mut prefix = Vec::new();
            crate::types::encode_name_text(entry.prefix, self.syntax, &mut prefix);
            push_string(self.out, &prefix, self.syntax);
            self.out.push(b' ');
            match entry.delimiter {
                Some(delimiter) => push_quoted(self.out, &[delimiter]),
                None => self.out.extend_from_slice(b"NIL"),
            }
            self.out.push(b')');
        }
        self.out.push(b')');
    }

    /// `* ID (..)`, RFC 2971 3.2; NIL for no pair.
    pub fn id(&mut self, pairs: &[(&str, Option<&str>)]) {
        self.out.extend_from_slice(b"* ID ");
        if pairs.is_empty() {
            self.out.extend_from_slice(b"NIL\r\n");
            return;
        }
        self.out.push(b'(');
        for (index, (name, value)) in pairs.iter().enumerate() {
            if index > 0 {
                self.out.push(b' ');
            }
            push_string(self.out, name.as_bytes(), self.syntax);
            self.out.push(b' ');
            push_nstring(self.out, value.map(str::as_bytes), self.syntax);
        }
        self.out.extend_from_slice(b")\r\n");
    }

    /// Begins `* n FETCH (`.
    pub fn fetch(&mut self, number: SequenceNumber) -> FetchWriter<'_> {
        FetchWriter::new(self.out, self.syntax, number)
    }

    fn line_end(&mut self) {
        self.out.extend_from_slice(b"\r\n");
    }
}

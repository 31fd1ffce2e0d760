//! BODYSTRUCTURE and BODY, RFC 9051 7.5.2.
//! Not here: finding the parts of a message.

use std::borrow::Cow;

use super::EnvelopeFields;
use super::strings::{push_nstring, push_number, push_string};
use crate::limits::BODY_STRUCTURE_DEPTH_MAX;
use crate::types::NameSyntax;

/// Names and values of parameters, in order.
pub type BodyParameters<'a> = Vec<(Cow<'a, [u8]>, Cow<'a, [u8]>)>;

/// `body`
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BodyStructure<'a> {
    /// body-type-text: `TEXT`, with its number of lines.
    Text {
        /// Subtype, `PLAIN` for instance.
        subtype: Cow<'a, [u8]>,
        /// Fields.
        fields: BodyFields<'a>,
        /// Lines of the encoded content.
        lines: u64,
        /// Extension data.
        extension: PartExtension<'a>,
    },
    /// body-type-msg: `MESSAGE/RFC822` or `MESSAGE/GLOBAL`, with what is in it.
    Message {
        /// `RFC822` or `GLOBAL`.
        subtype: Cow<'a, [u8]>,
        /// Fields.
        fields: BodyFields<'a>,
        /// Envelope of the message within.
        envelope: Box<EnvelopeFields<'a>>,
        /// Structure of the message within.
        body: Box<BodyStructure<'a>>,
        /// Lines of the encoded content.
        lines: u64,
        /// Extension data.
        extension: PartExtension<'a>,
    },
    /// body-type-basic: anything else.
    Basic {
        /// Type, `IMAGE` for instance.
        media_type: Cow<'a, [u8]>,
        /// Subtype.
        subtype: Cow<'a, [u8]>,
        /// Fields.
        fields: BodyFields<'a>,
        /// Extension data.
        extension: PartExtension<'a>,
    },
    /// body-type-mpart. RFC 9051 9: it has at least one part; an empty one is written with an empty text part.
    Multipart {
        /// Parts.
        parts: Vec<BodyStructure<'a>>,
        /// Subtype, `MIXED` for instance.
        subtype: Cow<'a, [u8]>,
        /// Parameters of the type.
        parameters: BodyParameters<'a>,
        /// Extension data; `md5` is not written.
        extension: PartExtension<'a>,
    },
}

/// `body-fields`
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BodyFields<'a> {
    /// Parameters of the type.
    pub parameters: BodyParameters<'a>,
    /// Content-ID
    pub id: Option<Cow<'a, [u8]>>,
    /// Content-Description
    pub description: Option<Cow<'a, [u8]>>,
    /// Content-Transfer-Encoding; `7BIT` when empty (RFC 2045 6.1).
    pub encoding: Cow<'a, [u8]>,
    /// Octets of the encoded content.
    pub octets: u64,
}

/// `body-ext-1part` and `body-ext-mpart`
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PartExtension<'a> {
    /// Content-MD5
    pub md5: Option<Cow<'a, [u8]>>,
    /// Content-Disposition
    pub disposition: Option<Disposition<'a>>,
    /// Content-Language, tag by tag
    pub languages: Vec<Cow<'a, [u8]>>,
    /// Content-Location
    pub location: Option<Cow<'a, [u8]>>,
}

/// `body-fld-dsp`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disposition<'a> {
    /// `ATTACHMENT` for instance.
    pub kind: Cow<'a, [u8]>,
    /// Parameters; may be none.
    pub parameters: BodyParameters<'a>,
}

impl BodyStructure<'_> {
    /// Appends the structure, with extension data (BODYSTRUCTURE) or without (BODY).
    /// Below [`BODY_STRUCTURE_DEPTH_MAX`] levels an empty text part stands for what is there.
    pub fn write_to(&self, out: &mut Vec<u8>, syntax: NameSyntax, extended: bool) {
        Writer {
            out,
            syntax,
            extended,
        }
        .body(self, BODY_STRUCTURE_DEPTH_MAX);
    }
}

struct Writer<'o> {
    out: &'o mut Vec<u8>,
    syntax: NameSyntax,
    extended: bool,
}

impl Writer<'_> {
    /// body = "(" (body-type-1part / body-type-mpart) ")"
    fn body(&mut self, body: &BodyStructure<'_>, depth: usize) {
        if depth == 0 {
            self.raw(EMPTY_PART);
            return;
        }
        self.raw("(");
        match body {
            BodyStructure::Text {
                subtype,
                fields,
                lines,
                extension,
            } => {
                self.media(b"TEXT", subtype);
                self.fields(fields);
                self.number(*lines);
                self.part_extension(extension);
            }
            BodyStructure::Message {
                subtype,
                fields,
                envelope,
                body,
                lines,
                extension,
            } => {
                self.media(b"MESSAGE", subtype);
                self.fields(fields);
                self.raw(" ");
                envelope.write_to(self.out, self.syntax);
                self.raw(" ");
                self.body(body, depth - 1);
                self.number(*lines);
                self.part_extension(extension);
            }
            BodyStructure::Basic {
                media_type,
                subtype,
                fields,
                extension,
            } => {
                self.media(media_type, subtype);
                self.fields(fields);
                self.part_extension(extension);
            }
            BodyStructure::Multipart {
                parts,
                subtype,
                parameters,
                extension,
            } => {
                for part in parts {
                    self.body(part, depth - 1);
                }
                if parts.is_empty() {
                    self.raw(EMPTY_PART);
                }
                self.raw(" ");
                self.string(subtype);
                if self.extended {
                    self.raw(" ");
                    self.parameters(parameters);
                    self.common_extension(extension);
                }
            }
        }
        self.raw(")");
    }

    fn media(&mut self, media_type: &[u8], subtype: &[u8]) {
        self.string(media_type);
        self.raw(" ");
        self.string(subtype);
    }

    /// body-fields = body-fld-param SP body-fld-id SP body-fld-desc SP body-fld-enc SP body-fld-octets
    fn fields(&mut self, fields: &BodyFields<'_>) {
        self.raw(" ");
        self.parameters(&fields.parameters);
        self.nstring(fields.id.as_deref());
        self.nstring(fields.description.as_deref());
        self.raw(" ");
        self.string(if fields.encoding.is_empty() {
            b"7BIT"
        } else {
            &fields.encoding
        });
        self.number(fields.octets);
    }

    /// body-ext-1part = body-fld-md5 [SP body-fld-dsp [SP body-fld-lang [SP body-fld-loc]]]
    fn part_extension(&mut self, extension: &PartExtension<'_>) {
        if self.extended {
            self.nstring(extension.md5.as_deref());
            self.common_extension(extension);
        }
    }

    fn common_extension(&mut self, extension: &PartExtension<'_>) {
        self.raw(" ");
        match &extension.disposition {
            Some(disposition) => {
                self.raw("(");
                self.string(&disposition.kind);
                self.raw(" ");
                self.parameters(&disposition.parameters);
                self.raw(")");
            }
            None => self.raw("NIL"),
        }
        match extension.languages.as_slice() {
            [] => self.raw(" NIL"),
            [language] => self.nstring(Some(language)),
            languages => {
                for (index, language) in languages.iter().enumerate() {
                    self.raw(if index == 0 { " (" } else { " " });
                    self.string(language);
                }
                self.raw(")");
            }
        }
        self.nstring(extension.location.as_deref());
    }

    /// body-fld-param = "(" string SP string *(SP string SP string) ")" / nil
    fn parameters(&mut self, parameters: &BodyParameters<'_>) {
        if parameters.is_empty() {
            self.raw("NIL");
            return;
        }
        for (index, (name, value)) in parameters.iter().enumerate() {
            self.raw(if index == 0 { "(" } else { " " });
            self.string(name);
            self.raw(" ");
            self.string(value);
        }
        self.raw(")");
    }

    fn raw(&mut self, text: &str) {
        self.out.extend_from_slice(text.as_bytes());
    }

    fn number(&mut self, number: u64) {
        self.out.push(b' ');
        push_number(self.out, number);
    }

    fn string(&mut self, octets: &[u8]) {
        push_string(self.out, octets, self.syntax);
    }

    fn nstring(&mut self, octets: Option<&[u8]>) {
        self.out.push(b' ');
        push_nstring(self.out, octets, self.syntax);
    }
}

/// An empty text part, for a multipart without parts.
const EMPTY_PART: &str = "(\"TEXT\" \"PLAIN\" NIL NIL NIL \"7BIT\" 0 0)";

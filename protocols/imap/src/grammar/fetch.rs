//! FETCH, RFC 9051 6.4.5, RFC 3516, RFC 7162 3.1.4 and 3.2.6, RFC 8514.

use crate::command::CommandError;
use crate::grammar::parser::Empty;
use crate::grammar::{PResult, Parser};
use crate::limits::{FETCH_ITEMS_MAX, HEADER_FIELDS_MAX, SECTION_DEPTH_MAX};
use crate::types::{Fetch, FetchItem, Numbering, Partial, Section, SectionText};

/// ```abnf
/// fetch           = "FETCH" SP sequence-set SP ("ALL" / "FULL" / "FAST" / fetch-att /
///                   "(" fetch-att *(SP fetch-att) ")") [SP fetch-modifiers]
/// fetch-modifiers = "(" fetch-modifier *(SP fetch-modifier) ")"
/// fetch-modifier  = "CHANGEDSINCE" SP mod-sequence-value / "VANISHED"
/// ```
pub(super) fn fetch(parser: &mut Parser<'_>, numbering: Numbering) -> PResult<Fetch> {
    parser.space()?;
    let set = parser.sequence_set()?;
    parser.space()?;
    let mut items = Vec::new();
    if parser.peek() == Some(b'(') {
        // Quirk: macros inside the parentheses are taken too; RFC 9051 6.4.5 wants them alone.
        parser.list(("fetch items", FETCH_ITEMS_MAX), Empty::Refused, |parser| {
            item(parser, &mut items)
        })?;
    } else {
        item(parser, &mut items)?;
    }
    let mut fetch = Fetch {
        numbering,
        set,
        items,
        changed_since: None,
        vanished: false,
    };
    if parser.rest().starts_with(b" (") {
        parser.space()?;
        parser.list(("fetch modifiers", 2), Empty::Refused, |parser| {
            modifier(parser, &mut fetch)
        })?;
    }
    if fetch.vanished && (fetch.changed_since.is_none() || numbering == Numbering::Sequence) {
        return parser.expected("VANISHED only with UID FETCH and CHANGEDSINCE");
    }
    Ok(fetch)
}

fn modifier(parser: &mut Parser<'_>, fetch: &mut Fetch) -> PResult<()> {
    match parser.word().as_str() {
        "CHANGEDSINCE" => {
            parser.space()?;
            fetch.changed_since = Some(parser.mod_seq()?);
        }
        "VANISHED" => fetch.vanished = true,
        _ => return parser.expected("CHANGEDSINCE or VANISHED"),
    }
    Ok(())
}

/// ```abnf
/// fetch-att = "ENVELOPE" / "FLAGS" / "INTERNALDATE" / "RFC822" [".HEADER" / ".SIZE" / ".TEXT"] / "BODY" ["STRUCTURE"] /
///             "UID" / "BODY" [".PEEK"] section [partial] / "BINARY" [".PEEK"] section-binary [partial] /
///             "BINARY.SIZE" section-binary / "MODSEQ" / "SAVEDATE"
/// ```
fn item(parser: &mut Parser<'_>, items: &mut Vec<FetchItem>) -> PResult<()> {
    use FetchItem::{Body, BodyStructure, Envelope, Flags, InternalDate, Rfc822Size};
    let word = parser.word();
    let bracket = parser.peek() == Some(b'[');
    let item = match (word.as_str(), bracket) {
        // RFC 9051 6.4.5: the three macros.
        ("ALL", false) => return add_all(items, [Flags, InternalDate, Rfc822Size, Envelope]),
        ("FAST", false) => return add_all(items, [Flags, InternalDate, Rfc822Size]),
        ("FULL", false) => {
            return add_all(items, [Flags, InternalDate, Rfc822Size, Envelope, Body]);
        }
        ("ENVELOPE", false) => Envelope,
        ("FLAGS", false) => Flags,
        ("INTERNALDATE", false) => InternalDate,
        ("RFC822", false) => FetchItem::Rfc822,
        ("RFC822.HEADER", false) => FetchItem::Rfc822Header,
        ("RFC822.TEXT", false) => FetchItem::Rfc822Text,
        ("RFC822.SIZE", false) => Rfc822Size,
        ("UID", false) => FetchItem::Uid,
        ("MODSEQ", false) => FetchItem::ModSeq,
        ("SAVEDATE", false) => FetchItem::SaveDate,
        ("BODYSTRUCTURE", false) => BodyStructure,
        ("BODY", false) => Body,
        ("BODY", true) => body_section(parser, false)?,
        ("BODY.PEEK", true) => body_section(parser, true)?,
        ("BINARY", true) => binary(parser, false)?,
        ("BINARY.PEEK", true) => binary(parser, true)?,
        ("BINARY.SIZE", true) => FetchItem::BinarySize {
            part: section_binary(parser)?,
        },
        _ => return parser.expected("a fetch item"),
    };
    add_all(items, [item])
}

fn add_all<const N: usize>(items: &mut Vec<FetchItem>, more: [FetchItem; N]) -> PResult<()> {
    for item in more {
        if !items.contains(&item) {
            items.push(item);
        }
    }
    Ok(())
}

fn body_section(parser: &mut Parser<'_>, peek: bool) -> PResult<FetchItem> {
    Ok(FetchItem::BodySection {
        section: section(parser)?,
        partial: partial(parser)?,
        peek,
    })
}

fn binary(parser: &mut Parser<'_>, peek: bool) -> PResult<FetchItem> {
    Ok(FetchItem::Binary {
        part: section_binary(parser)?,
        partial: partial(parser)?,
        peek,
    })
}

/// ```abnf
/// section      = "[" [section-spec] "]"
/// section-spec = section-msgtext / (section-part ["." section-text])
/// section-text = section-msgtext / "MIME"
/// ```
fn section(parser: &mut Parser<'_>) -> PResult<Section> {
    parser.expect(b'[', "a section")?;
    let mut section = Section::default();
    if parser.peek().is_some_and(|octet| octet.is_ascii_digit()) {
        section.part.push(parser.nz_number()?);
        while parser.eat(b'.') {
            if !parser.peek().is_some_and(|octet| octet.is_ascii_digit()) {
                section.text = Some(section_text(parser)?);
                break;
            }
            push_part(&mut section.part, parser.nz_number()?)?;
        }
    } else if parser.peek() != Some(b']') {
        section.text = Some(section_text(parser)?);
    }
    if section.part.is_empty() && section.text == Some(SectionText::Mime) {
        return parser.expected("a part number before MIME");
    }
    parser.expect(b']', "] after a section")?;
    Ok(section)
}

/// section-msgtext = "HEADER" / "HEADER.FIELDS" [".NOT"] SP header-list / "TEXT"
fn section_text(parser: &mut Parser<'_>) -> PResult<SectionText> {
    Ok(match parser.word().as_str() {
        "HEADER" => SectionText::Header,
        "HEADER.FIELDS" => SectionText::HeaderFields(header_list(parser)?),
        "HEADER.FIELDS.NOT" => SectionText::HeaderFieldsNot(header_list(parser)?),
        "TEXT" => SectionText::Text,
        "MIME" => SectionText::Mime,
        _ => return parser.expected("HEADER, TEXT or MIME"),
    })
}

/// header-list = "(" header-fld-name *(SP header-fld-name) ")"
fn header_list(parser: &mut Parser<'_>) -> PResult<Vec<String>> {
    parser.space()?;
    let mut names = Vec::new();
    parser.list(
        ("header field names", HEADER_FIELDS_MAX),
        Empty::Refused,
        |parser| {
            names.push(parser.text("a header field name")?);
            Ok(())
        },
    )?;
    Ok(names)
}

/// section-binary = "[" [section-part] "]"; section-part = nz-number *("." nz-number)
fn section_binary(parser: &mut Parser<'_>) -> PResult<Vec<u32>> {
    parser.expect(b'[', "a section")?;
    let mut part = Vec::new();
    if !parser.eat(b']') {
        part.push(parser.nz_number()?);
        while parser.eat(b'.') {
            push_part(&mut part, parser.nz_number()?)?;
        }
        parser.expect(b']', "] after a part number")?;
    }
    Ok(part)
}

fn push_part(part: &mut Vec<u32>, number: u32) -> PResult<()> {
    if part.len() == SECTION_DEPTH_MAX {
        return Err(CommandError::Limit("depth of a part number"));
    }
    part.push(number);
    Ok(())
}

/// partial = "<" number64 "." nz-number64 ">"
fn partial(parser: &mut Parser<'_>) -> PResult<Option<Partial>> {
    if !parser.eat(b'<') {
        return Ok(None);
    }
    let offset = parser.number64()?;
    parser.expect(b'.', ". in a partial")?;
    let count = parser.number64()?;
    if count == 0 {
        return parser.expected("a number above 0");
    }
    parser.expect(b'>', "> after a partial")?;
    Ok(Some(Partial { offset, count }))
}

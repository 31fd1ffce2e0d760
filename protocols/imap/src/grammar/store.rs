//! STORE, RFC 9051 6.4.6, RFC 7162 3.1.3.

use crate::grammar::{PResult, Parser};
use crate::types::{Flags, ModSeq, Numbering, Store, StoreAction};

/// ```abnf
/// store           = "STORE" SP sequence-set [SP store-modifiers] SP store-att-flags
/// store-att-flags = (["+" / "-"] "FLAGS" [".SILENT"]) SP (flag-list / (flag *(SP flag)))
/// store-modifiers = "(" "UNCHANGEDSINCE" SP mod-sequence-valzer ")"
/// ```
pub(super) fn store(parser: &mut Parser<'_>, numbering: Numbering) -> PResult<Store> {
    parser.space()?;
    let set = parser.sequence_set()?;
    parser.space()?;
    let unchanged_since = if parser.peek() == Some(b'(') {
        Some(unchanged_since(parser)?)
    } else {
        None
    };
    let (action, silent) = match parser.word().as_str() {
        "FLAGS" => (StoreAction::Replace, false),
        "FLAGS.SILENT" => (StoreAction::Replace, true),
        "+FLAGS" => (StoreAction::Add, false),
        "+FLAGS.SILENT" => (StoreAction::Add, true),
        "-FLAGS" => (StoreAction::Remove, false),
        "-FLAGS.SILENT" => (StoreAction::Remove, true),
        _ => return parser.expected("FLAGS, +FLAGS or -FLAGS"),
    };
    parser.space()?;
    let flags = flags(parser)?;
    Ok(Store {
        numbering,
        set,
        action,
        silent,
        unchanged_since,
        flags,
    })
}

fn unchanged_since(parser: &mut Parser<'_>) -> PResult<ModSeq> {
    parser.expect(b'(', "store modifiers")?;
    if !parser.eat_word("UNCHANGEDSINCE") {
        return parser.expected("UNCHANGEDSINCE");
    }
    parser.space()?;
    let mod_seq = parser.mod_seq()?;
    parser.expect(b')', "a closing parenthesis")?;
    parser.space()?;
    Ok(mod_seq)
}

fn flags(parser: &mut Parser<'_>) -> PResult<Flags> {
    if parser.peek() == Some(b'(') {
        return parser.flag_list();
    }
    let mut flags = Flags::default();
    parser.flag(&mut flags)?;
    while parser.eat(b' ') && !parser.at_end() {
        parser.flag(&mut flags)?;
    }
    Ok(flags)
}

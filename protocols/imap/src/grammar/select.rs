//! SELECT, EXAMINE and CREATE with their parameters: RFC 9051 6.3.2 to 6.3.4, RFC 7162 3.1.8 and 3.2.5, RFC 6154 3.

use crate::command::{Command, CommandError, Qresync, Select};
use crate::grammar::parser::Empty;
use crate::grammar::{PResult, Parser, chars};
use crate::types::{ModSeq, SpecialUse, UidValidity};

/// ```abnf
/// select        = "SELECT" SP mailbox [SP select-params]
/// select-params = "(" select-param *(SP select-param) ")"
/// select-param  = "CONDSTORE" / "QRESYNC" SP "(" ... ")"
/// ```
pub(super) fn select(parser: &mut Parser<'_>, read_only: bool) -> PResult<Command> {
    parser.space()?;
    let mut select = Select {
        mailbox: parser.mailbox()?,
        read_only,
        condstore: false,
        qresync: None,
    };
    if parser.rest().starts_with(b" (") {
        parser.space()?;
        parser.list(("select parameters", 4), Empty::Refused, |parser| {
            match parser.word().as_str() {
                "CONDSTORE" => select.condstore = true,
                "QRESYNC" => {
                    parser.space()?;
                    select.qresync = Some(qresync(parser)?);
                }
                _ => return parser.expected("CONDSTORE or QRESYNC"),
            }
            Ok(())
        })?;
    }
    Ok(Command::Select(select))
}

/// ```abnf
/// "(" uidvalidity SP mod-sequence-value [SP known-uids] [SP seq-match-data] ")"
/// seq-match-data = "(" known-sequence-set SP known-uid-set ")"
/// ```
fn qresync(parser: &mut Parser<'_>) -> PResult<Qresync> {
    parser.expect(b'(', "QRESYNC arguments in parentheses")?;
    let Some(uid_validity) = UidValidity::new(parser.nz_number()?) else {
        return parser.expected("a UIDVALIDITY");
    };
    parser.space()?;
    let mod_seq = parser.mod_seq()?;
    if mod_seq == ModSeq::default() {
        return parser.expected("a mod-sequence above 0");
    }
    let mut qresync = Qresync {
        uid_validity,
        mod_seq,
        known_uids: None,
        sequence_match: None,
    };
    let mut more = parser.eat(b' ');
    if more && parser.peek() != Some(b'(') {
        qresync.known_uids = Some(parser.known_set()?);
        more = parser.eat(b' ');
    }
    if more {
        parser.expect(b'(', "sequence match data")?;
        let sequence = parser.known_set()?;
        parser.space()?;
        qresync.sequence_match = Some((sequence, parser.known_set()?));
        parser.expect(b')', "a closing parenthesis")?;
    }
    parser.expect(b')', "a closing parenthesis")?;
    Ok(qresync)
}

/// ```abnf
/// create       = "CREATE" SP mailbox [SP create-params]
/// create-param = "USE" SP "(" [use-attr *(SP use-attr)] ")"
/// ```
pub(super) fn create(parser: &mut Parser<'_>) -> PResult<Command> {
    parser.space()?;
    let mailbox = parser.mailbox()?;
    let mut special_use = Vec::new();
    if parser.rest().starts_with(b" (") {
        parser.space()?;
        parser.list(("create parameters", 1), Empty::Refused, |parser| {
            if !parser.eat_word("USE") {
                return parser.expected("USE");
            }
            parser.space()?;
            parser.list(("special uses", 16), Empty::Allowed, |parser| {
                use_attribute(parser, &mut special_use)
            })
        })?;
    }
    Ok(Command::Create {
        mailbox,
        special_use,
    })
}

/// use-attr = "\All" / "\Archive" / "\Drafts" / "\Flagged" / "\Junk" / "\Sent" / "\Trash" / use-attr-ext
fn use_attribute(parser: &mut Parser<'_>, special_use: &mut Vec<SpecialUse>) -> PResult<()> {
    parser.expect(b'\\', "a special-use attribute")?;
    let name = parser.take_while(chars::is_atom);
    let attribute = SpecialUse::from_name(name).ok_or(CommandError::SpecialUse)?;
    if !special_use.contains(&attribute) {
        special_use.push(attribute);
    }
    Ok(())
}

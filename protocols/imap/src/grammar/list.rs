//! LIST and LSUB, RFC 9051 6.3.9, RFC 5258, RFC 5819, RFC 6154.

use crate::command::Command;
use crate::grammar::parser::Empty;
use crate::grammar::{PResult, Parser};
use crate::limits::{LIST_PATTERNS_MAX, MAILBOX_NAME_MAX};
use crate::types::{ListCommand, ListPattern, ListReturn, ListSelection};

/// ```abnf
/// list        = "LIST" [SP list-select-opts] SP mailbox SP mbox-or-pat [SP list-return-opts]
/// mbox-or-pat = list-mailbox / patterns
/// patterns    = "(" list-mailbox *(SP list-mailbox) ")"
/// ```
pub(super) fn list(parser: &mut Parser<'_>) -> PResult<ListCommand> {
    parser.space()?;
    let mut extended = false;
    let mut selection = ListSelection::default();
    if parser.peek() == Some(b'(') {
        extended = true;
        selection = select_options(parser)?;
        parser.space()?;
    }
    let reference = reference(parser)?;
    parser.space()?;
    let mut patterns = Vec::new();
    if parser.peek() == Some(b'(') {
        extended = true;
        parser.list(
            ("list patterns", LIST_PATTERNS_MAX),
            Empty::Refused,
            |parser| {
                patterns.push(pattern(parser)?);
                Ok(())
            },
        )?;
    } else {
        patterns.push(pattern(parser)?);
    }
    let mut returns = ListReturn::default();
    if parser.peek() == Some(b' ') && parser.rest().len() > 1 {
        extended = true;
        parser.space()?;
        returns = return_options(parser)?;
    }
    Ok(ListCommand {
        selection,
        reference,
        patterns,
        returns,
        extended,
    })
}

/// lsub = "LSUB" SP mailbox SP list-mailbox
pub(super) fn lsub(parser: &mut Parser<'_>) -> PResult<Command> {
    parser.space()?;
    let reference = reference(parser)?;
    parser.space()?;
    Ok(Command::Lsub {
        reference,
        pattern: pattern(parser)?,
    })
}

fn reference(parser: &mut Parser<'_>) -> PResult<String> {
    let octets = parser.astring("a reference name")?;
    match crate::types::decode_name_text(&octets, parser.syntax) {
        Some(text) if text.len() <= MAILBOX_NAME_MAX => Ok(text),
        _ => parser.expected("a valid reference name"),
    }
}

fn pattern(parser: &mut Parser<'_>) -> PResult<ListPattern> {
    let octets = parser.list_mailbox()?;
    match crate::types::decode_name_text(&octets, parser.syntax)
        .and_then(|text| ListPattern::new(&text))
    {
        Some(pattern) => Ok(pattern),
        None => parser.expected("a valid pattern"),
    }
}

/// ```abnf
/// list-select-opt = "SUBSCRIBED" / "SPECIAL-USE" / "REMOTE" / "RECURSIVEMATCH"
/// ```
/// RFC 5258 3.1: RECURSIVEMATCH needs a base option beside it; anything unknown is BAD.
fn select_options(parser: &mut Parser<'_>) -> PResult<ListSelection> {
    let mut selection = ListSelection::default();
    parser.list(("list selection options", 16), Empty::Allowed, |parser| {
        match parser.word().as_str() {
            "SUBSCRIBED" => selection.subscribed = true,
            "SPECIAL-USE" => selection.special_use = true,
            "REMOTE" => selection.remote = true,
            "RECURSIVEMATCH" => selection.recursive_match = true,
            _ => return parser.expected("a known selection option"),
        }
        Ok(())
    })?;
    if selection.recursive_match && !(selection.subscribed || selection.special_use) {
        return parser.expected("SUBSCRIBED or SPECIAL-USE with RECURSIVEMATCH");
    }
    Ok(selection)
}

/// ```abnf
/// list-return-opts = "RETURN" SP "(" [return-option *(SP return-option)] ")"
/// return-option    = "SUBSCRIBED" / "CHILDREN" / "SPECIAL-USE" / "STATUS" SP "(" status-att *(SP status-att) ")"
/// ```
fn return_options(parser: &mut Parser<'_>) -> PResult<ListReturn> {
    if !parser.eat_word("RETURN") {
        return parser.expected("RETURN");
    }
    parser.space()?;
    let mut returns = ListReturn::default();
    parser.list(("list return options", 16), Empty::Allowed, |parser| {
        match parser.word().as_str() {
            "SUBSCRIBED" => returns.subscribed = true,
            "CHILDREN" => returns.children = true,
            "SPECIAL-USE" => returns.special_use = true,
            "STATUS" => {
                parser.space()?;
                returns.status = parser.status_items()?;
            }
            _ => return parser.expected("a known return option"),
        }
        Ok(())
    })?;
    Ok(returns)
}

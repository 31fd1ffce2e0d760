//! APPEND up to the octets of a message: RFC 9051 6.3.12, RFC 3502, RFC 3516 4.4, RFC 6855 4.

use crate::grammar::{PResult, Parser};
use crate::types::{AppendMessage, Flags, MailboxName, MessageForm, NameSyntax, Tag};

/// ```abnf
/// append         = "APPEND" SP mailbox 1*append-message
/// append-message = [SP flag-list] [SP date-time] SP append-data
/// append-data    = literal / literal8 / "UTF8" SP "(" literal8 ")"
/// ```
/// Reads `tag SP "APPEND" SP mailbox` and the first message up to the `{` or `~{` of its literal, where the text ends.
pub(crate) fn first_message(
    text: &[u8],
    syntax: NameSyntax,
    size: u64,
) -> PResult<(Tag, MailboxName, AppendMessage)> {
    let mut parser = Parser::new(text, syntax);
    let tag = parser.tag()?;
    if !parser.eat_word("APPEND") {
        return parser.expected("APPEND");
    }
    parser.space()?;
    let mailbox = parser.mailbox()?;
    let message = message(&mut parser, size)?;
    Ok((tag, mailbox, message))
}

/// Reads what stands between two messages of one APPEND, from the end of a literal to the `{` of the next.
pub(crate) fn next_message(text: &[u8], before: MessageForm, size: u64) -> PResult<AppendMessage> {
    let mut parser = Parser::new(text, NameSyntax::Utf8);
    close(&mut parser, before)?;
    message(&mut parser, size)
}

/// Reads what stands between the last message and the end of the command.
pub(crate) fn last_line(text: &[u8], before: MessageForm) -> PResult<()> {
    let mut parser = Parser::new(text, NameSyntax::Utf8);
    close(&mut parser, before)?;
    parser.end()
}

fn close(parser: &mut Parser<'_>, before: MessageForm) -> PResult<()> {
    match before {
        MessageForm::Utf8 => parser.expect(b')', ") after a UTF8 literal"),
        MessageForm::Literal | MessageForm::Literal8 => Ok(()),
    }
}

fn message(parser: &mut Parser<'_>, size: u64) -> PResult<AppendMessage> {
    parser.space()?;
    let mut message = AppendMessage {
        flags: Flags::default(),
        date: None,
        size,
        form: MessageForm::Literal,
    };
    if parser.peek() == Some(b'(') {
        message.flags = parser.flag_list()?;
        parser.space()?;
    }
    if parser.peek() == Some(b'"') {
        message.date = Some(parser.date_time()?);
        parser.space()?;
    }
    if parser.eat_word("UTF8") {
        parser.space()?;
        parser.expect(b'(', "( after UTF8")?;
        message.form = MessageForm::Utf8;
    }
    match (parser.rest(), message.form) {
        (b"~{", MessageForm::Utf8) => {}
        (b"~{", _) => message.form = MessageForm::Literal8,
        (b"{", MessageForm::Literal) => {}
        _ => return parser.expected("a message literal"),
    }
    Ok(message)
}

//! From the name of a command to its rule, RFC 9051 9 `command`, and the rules of commands with few arguments.

use crate::command::{Command, CommandError, InitialResponse, Password, Request, Transfer};
use crate::grammar::parser::Empty;
use crate::grammar::{PResult, Parser, decode_base64, fetch, list, search, select, store};
use crate::limits::{ENABLE_MAX, ID_NAME_MAX, ID_PAIRS_MAX, ID_VALUE_MAX};
use crate::types::Numbering;

/// ```abnf
/// command = tag SP (command-any / command-auth / command-nonauth / command-select) CRLF
/// ```
/// The tag and its space have been read.
pub(super) fn command(parser: &mut Parser<'_>) -> PResult<Request> {
    let word = parser.word();
    let request = match word.as_str() {
        "STARTTLS" => Request::StartTls,
        "IDLE" => Request::Idle,
        "AUTHENTICATE" => authenticate(parser)?,
        "APPEND" => return parser.expected("a message literal"),
        "UID" => Request::Command(uid(parser)?),
        name => Request::Command(plain(parser, name)?),
    };
    parser.end()?;
    Ok(request)
}

fn plain(parser: &mut Parser<'_>, name: &str) -> PResult<Command> {
    Ok(match name {
        "CAPABILITY" => Command::Capability,
        "NOOP" => Command::Noop,
        "LOGOUT" => Command::Logout,
        "ID" => id(parser)?,
        "LOGIN" => login(parser)?,
        "ENABLE" => enable(parser)?,
        "SELECT" => select::select(parser, false)?,
        "EXAMINE" => select::select(parser, true)?,
        "CREATE" => select::create(parser)?,
        "DELETE" => Command::Delete(mailbox(parser)?),
        "RENAME" => Command::Rename {
            mailbox: mailbox(parser)?,
            new_name: mailbox(parser)?,
        },
        "SUBSCRIBE" => Command::Subscribe(mailbox(parser)?),
        "UNSUBSCRIBE" => Command::Unsubscribe(mailbox(parser)?),
        "LIST" => Command::List(list::list(parser)?),
        "LSUB" => list::lsub(parser)?,
        "NAMESPACE" => Command::Namespace,
        "STATUS" => status(parser)?,
        "CHECK" => Command::Check,
        "CLOSE" => Command::Close,
        "UNSELECT" => Command::Unselect,
        "EXPUNGE" => Command::Expunge(None),
        "SEARCH" => Command::Search(search::search(parser, Numbering::Sequence)?),
        "FETCH" => Command::Fetch(fetch::fetch(parser, Numbering::Sequence)?),
        "STORE" => Command::Store(store::store(parser, Numbering::Sequence)?),
        "COPY" => Command::Copy(transfer(parser, Numbering::Sequence)?),
        "MOVE" => Command::Move(transfer(parser, Numbering::Sequence)?),
        _ => return Err(CommandError::Unknown),
    })
}

/// ```abnf
/// uid = "UID" SP (copy / move / fetch / search / store / uid-expunge)
/// uid-expunge = "EXPUNGE" SP sequence-set
/// ```
fn uid(parser: &mut Parser<'_>) -> PResult<Command> {
    parser.space()?;
    Ok(match parser.word().as_str() {
        "COPY" => Command::Copy(transfer(parser, Numbering::Uid)?),
        "MOVE" => Command::Move(transfer(parser, Numbering::Uid)?),
        "FETCH" => Command::Fetch(fetch::fetch(parser, Numbering::Uid)?),
        "SEARCH" => Command::Search(search::search(parser, Numbering::Uid)?),
        "STORE" => Command::Store(store::store(parser, Numbering::Uid)?),
        "EXPUNGE" => {
            parser.space()?;
            Command::Expunge(Some(parser.sequence_set()?))
        }
        _ => return Err(CommandError::Unknown),
    })
}

/// SP mailbox
fn mailbox(parser: &mut Parser<'_>) -> PResult<crate::types::MailboxName> {
    parser.space()?;
    parser.mailbox()
}

/// copy = "COPY" SP sequence-set SP mailbox; move alike
fn transfer(parser: &mut Parser<'_>, numbering: Numbering) -> PResult<Transfer> {
    parser.space()?;
    let set = parser.sequence_set()?;
    Ok(Transfer {
        numbering,
        set,
        mailbox: mailbox(parser)?,
    })
}

/// login = "LOGIN" SP userid SP password
fn login(parser: &mut Parser<'_>) -> PResult<Command> {
    parser.space()?;
    let user = parser.text("a user name")?;
    parser.space()?;
    let password = Password::new(parser.text("a password")?);
    Ok(Command::Login { user, password })
}

/// ```abnf
/// authenticate = "AUTHENTICATE" SP auth-type [SP initial-resp] *(CRLF base64)
/// initial-resp = (base64 / "=")
/// ```
/// From the mechanism on it is an attempt to log in, whatever follows.
fn authenticate(parser: &mut Parser<'_>) -> PResult<Request> {
    parser.space()?;
    let mechanism = parser.atom("a mechanism")?.to_ascii_uppercase();
    let rest = parser.take_while(|_| true).trim_ascii_end();
    let initial_response = match rest.split_first() {
        None => None,
        Some((b' ', b"=")) => Some(InitialResponse::Octets(Vec::new())),
        Some((b' ', text)) => Some(match decode_base64(text) {
            Some(octets) => InitialResponse::Octets(octets),
            None => InitialResponse::BadBase64,
        }),
        Some(_) => Some(InitialResponse::BadBase64),
    };
    Ok(Request::Authenticate {
        mechanism,
        initial_response,
    })
}

/// enable = "ENABLE" 1*(SP capability)
fn enable(parser: &mut Parser<'_>) -> PResult<Command> {
    parser.space()?;
    let mut capabilities = vec![parser.atom("a capability")?.to_owned()];
    while parser.eat(b' ') && !parser.at_end() {
        if capabilities.len() == ENABLE_MAX {
            return Err(CommandError::Limit("capabilities to enable"));
        }
        capabilities.push(parser.atom("a capability")?.to_owned());
    }
    Ok(Command::Enable(capabilities))
}

/// status = "STATUS" SP mailbox SP "(" status-att *(SP status-att) ")"
fn status(parser: &mut Parser<'_>) -> PResult<Command> {
    let mailbox = mailbox(parser)?;
    parser.space()?;
    Ok(Command::Status {
        mailbox,
        items: parser.status_items()?,
    })
}

/// ```abnf
/// id             = "ID" SP id-params-list
/// id-params-list = "(" [string SP nstring *(SP string SP nstring)] ")" / nil
/// ```
/// RFC 2971 3.3: a field name occurs once.
fn id(parser: &mut Parser<'_>) -> PResult<Command> {
    parser.space()?;
    let mut pairs: Vec<(String, Option<String>)> = Vec::new();
    if parser.eat_word("NIL") {
        return Ok(Command::Id(pairs));
    }
    parser.list(("ID pairs", ID_PAIRS_MAX), Empty::Allowed, |parser| {
        let name = bounded(parser.string("a field name")?.into_owned(), ID_NAME_MAX)?;
        parser.space()?;
        let value = match parser.nstring("a value or NIL")? {
            Some(value) => Some(bounded(value.into_owned(), ID_VALUE_MAX)?),
            None => None,
        };
        if pairs.iter().any(|pair| pair.0.eq_ignore_ascii_case(&name)) {
            return parser.expected("each field name once");
        }
        pairs.push((name, value));
        Ok(())
    })?;
    Ok(Command::Id(pairs))
}

fn bounded(octets: Vec<u8>, max: usize) -> PResult<String> {
    if octets.len() > max {
        return Err(CommandError::Limit("ID field"));
    }
    // What a client says of itself is for logs: octets outside UTF-8 are replaced, not refused.
    Ok(String::from_utf8(octets)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()))
}

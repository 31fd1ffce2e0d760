//! Commands of the client, parsed once into types.
//!
//! Called by `server::Session` with one line, CRLF removed. Input is not trusted. What a command means in the state of
//! the session is decided there; the replies to errors are in [`CommandError::reply`].
//! RFC 5321 4.1.1, RFC 1870, 3030, 3207, 3461, 4865, 4954, 6152, 6531, 8689.
//!
//! ```text
//! ehlo = "EHLO" SP ( Domain / address-literal )      helo = "HELO" SP Domain
//! mail = "MAIL FROM:" Reverse-path [SP Mail-parameters]
//! rcpt = "RCPT TO:" ( "<Postmaster@" Domain ">" / "<Postmaster>" / Forward-path ) [SP Rcpt-parameters]
//! data = "DATA"   rset = "RSET"   quit = "QUIT"   starttls = "STARTTLS"
//! vrfy = "VRFY" SP String   expn = "EXPN" SP String   help = "HELP" [ SP String ]   noop = "NOOP" [ SP String ]
//! bdat = "BDAT" SP chunk-size [ SP "LAST" ]
//! auth = "AUTH" SP sasl-mech [SP initial-response]
//! ```

use crate::address::{
    AddressLiteral, Domain, ForwardPath, PathError, ReversePath, forward_path, reverse_path,
};
use crate::grammar::{Cursor, is_atext};
use crate::limits::HELLO_TEXT_MAX;
use crate::parameters::{
    MailParameters, RecipientParameters, mail_parameters, recipient_parameters,
};
use crate::reply::Reply;

/// One command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command<'l> {
    /// EHLO or HELO.
    Hello(HelloKind, HelloName),
    /// MAIL.
    Mail(ReversePath, MailParameters),
    /// RCPT.
    Recipient(ForwardPath, RecipientParameters),
    /// DATA.
    Data,
    /// BDAT, RFC 3030.
    Chunk {
        /// Octets that follow the line.
        size: u64,
        /// Whether the message ends with them.
        last: bool,
    },
    /// BDAT with a size but with something wrong after it: the octets follow all the same.
    MalformedChunk {
        /// Octets that follow the line.
        size: u64,
    },
    /// RSET.
    Reset,
    /// NOOP.
    Noop,
    /// VRFY.
    Verify,
    /// EXPN.
    Expand,
    /// HELP.
    Help,
    /// QUIT.
    Quit,
    /// STARTTLS, RFC 3207.
    StartTls,
    /// AUTH, RFC 4954.
    Auth {
        /// Name of the mechanism, as written.
        mechanism: &'l str,
        /// Still base64, or `=` for an empty one.
        initial: Option<&'l str>,
    },
}

/// Which greeting the client used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HelloKind {
    /// EHLO: extensions may be used.
    Extended,
    /// HELO.
    Plain,
}

/// Who the client says it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HelloName {
    /// A domain.
    Domain(Domain),
    /// An address literal.
    Literal(AddressLiteral),
    /// Anything else, printable, cut to [`HELLO_TEXT_MAX`] octets. Only on submission: its clients send garbage.
    Text(Box<str>),
}

impl std::fmt::Display for HelloName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            HelloName::Domain(domain) => domain.fmt(f),
            HelloName::Literal(literal) => literal.fmt(f),
            HelloName::Text(text) => f.write_str(text),
        }
    }
}

/// Which departures from the grammar are let through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Grammar {
    /// No leniency at all: no space after `FROM:`, no trailing space, local-parts up to 64 octets.
    pub pedantic: bool,
    /// EHLO may say anything (unless pedantic).
    pub hello_any: bool,
}

/// Why a line is no command. All are the peer's fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// RFC 5321 4.2.4: 500.
    #[error("unknown command")]
    Unknown,
    /// A control character or a broken UTF-8 sequence. RFC 5321 4.1.2, last paragraph.
    #[error("control character or broken UTF-8 in command")]
    NotText,
    /// An argument is missing, malformed or too many.
    #[error("malformed arguments")]
    Arguments,
    /// RFC 5321 4.1.1.2.
    #[error("reverse-path: {0}")]
    ReversePath(PathError),
    /// RFC 5321 4.1.1.3.
    #[error("forward-path: {0}")]
    ForwardPath(PathError),
    /// RFC 5321 4.1.1.11: 555.
    #[error("unknown parameter")]
    ParameterUnknown,
    /// A parameter is known, its value is not. RFC 5321 4.1.1.11: 555.
    #[error("parameter value not supported")]
    ParameterUnsupported,
    /// RFC 1870 3 and others: each at most once.
    #[error("repeated parameter")]
    ParameterRepeated,
    /// Its value is malformed.
    #[error("malformed parameter")]
    ParameterSyntax,
    /// BDAT without a size that we understand: nobody knows where the next command begins.
    #[error("malformed chunk size")]
    ChunkSize,
    /// `AUTH mechanism` and a space with nothing after it.
    #[error("empty initial response, write =")]
    InitialResponse,
}

impl CommandError {
    /// What to tell the peer.
    pub fn reply(self) -> Reply {
        match self {
            CommandError::Unknown => Reply::unknown_command(),
            CommandError::NotText => {
                Reply::bad_syntax("control character or broken UTF-8 in command")
            }
            CommandError::Arguments => Reply::bad_arguments("malformed arguments"),
            CommandError::ReversePath(error) => Reply::bad_reverse_path(error),
            CommandError::ForwardPath(error) => Reply::bad_forward_path(error),
            CommandError::ParameterUnknown => Reply::parameter_not_recognized("unknown parameter"),
            CommandError::ParameterUnsupported => {
                Reply::parameter_not_recognized("parameter value not supported")
            }
            CommandError::ParameterRepeated => Reply::bad_arguments("repeated parameter"),
            CommandError::ParameterSyntax => Reply::bad_arguments("malformed parameter"),
            CommandError::ChunkSize => Reply::bad_arguments("malformed chunk size"),
            CommandError::InitialResponse => {
                Reply::bad_base64("empty initial response is written =")
            }
        }
    }
}

impl<'l> Command<'l> {
    /// Parses a line without its CRLF.
    pub fn parse(line: &'l [u8], grammar: Grammar) -> Result<Self, CommandError> {
        let end = line
            .iter()
            .position(|&octet| octet == b' ')
            .unwrap_or(line.len());
        let verb = Verb::parse(&line[..end]).ok_or(CommandError::Unknown)?;
        if line
            .iter()
            .any(|&octet| octet < b' ' && octet != b'\t' || octet == 0x7f)
        {
            return Err(verb.garbled());
        }
        let arguments = std::str::from_utf8(&line[end..]).map_err(|_| verb.garbled())?;
        verb.command(arguments, grammar)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verb {
    Ehlo,
    Helo,
    Mail,
    Rcpt,
    Data,
    Bdat,
    Rset,
    Noop,
    Vrfy,
    Expn,
    Help,
    Quit,
    StartTls,
    Auth,
}

impl Verb {
    fn parse(word: &[u8]) -> Option<Verb> {
        if word.eq_ignore_ascii_case(b"STARTTLS") {
            return Some(Verb::StartTls);
        }
        let mut upper: [u8; 4] = word.try_into().ok()?;
        upper.make_ascii_uppercase();
        Some(match &upper {
            b"EHLO" => Verb::Ehlo,
            b"HELO" => Verb::Helo,
            b"MAIL" => Verb::Mail,
            b"RCPT" => Verb::Rcpt,
            b"DATA" => Verb::Data,
            b"BDAT" => Verb::Bdat,
            b"RSET" => Verb::Rset,
            b"NOOP" => Verb::Noop,
            b"VRFY" => Verb::Vrfy,
            b"EXPN" => Verb::Expn,
            b"HELP" => Verb::Help,
            b"QUIT" => Verb::Quit,
            b"AUTH" => Verb::Auth,
            _ => return None,
        })
    }

    /// A line of this verb cannot be read. For BDAT that also loses the place of the next command.
    fn garbled(self) -> CommandError {
        if self == Verb::Bdat {
            CommandError::ChunkSize
        } else {
            CommandError::NotText
        }
    }

    /// `arguments` begins with the space after the verb, if there is one.
    fn command(self, arguments: &str, grammar: Grammar) -> Result<Command<'_>, CommandError> {
        // RFC 5321 4.1.1: receivers SHOULD tolerate trailing white space. AUTH gives it a meaning of its own.
        let trimmed = if grammar.pedantic {
            arguments
        } else {
            arguments.trim_end_matches([' ', '\t'])
        };
        let bare = |command| {
            if trimmed.is_empty() {
                Ok(command)
            } else {
                Err(CommandError::Arguments)
            }
        };
        match self {
            Verb::Ehlo => hello(HelloKind::Extended, trimmed, grammar),
            Verb::Helo => hello(HelloKind::Plain, trimmed, grammar),
            Verb::Mail => mail(trimmed, grammar),
            Verb::Rcpt => recipient(trimmed, grammar),
            Verb::Data => bare(Command::Data),
            Verb::Bdat => chunk(trimmed),
            Verb::Rset => bare(Command::Reset),
            Verb::Noop => string(trimmed, true, grammar).map(|()| Command::Noop),
            Verb::Vrfy => string(trimmed, false, grammar).map(|()| Command::Verify),
            Verb::Expn => string(trimmed, false, grammar).map(|()| Command::Expand),
            Verb::Help => Ok(Command::Help),
            Verb::Quit => bare(Command::Quit),
            Verb::StartTls => bare(Command::StartTls),
            Verb::Auth => auth(arguments, grammar),
        }
    }
}

fn hello(kind: HelloKind, arguments: &str, grammar: Grammar) -> Result<Command<'_>, CommandError> {
    let text = if grammar.pedantic {
        arguments.strip_prefix(' ').unwrap_or("")
    } else {
        arguments.trim_start()
    };
    let any = grammar.hello_any && !grammar.pedantic;
    let name = match hello_name(kind, text, grammar) {
        Ok(name) => name,
        Err(_) if any => HelloName::Text(cut(text).into()),
        Err(_) => return Err(CommandError::Arguments),
    };
    Ok(Command::Hello(kind, name))
}

fn hello_name(kind: HelloKind, text: &str, grammar: Grammar) -> Result<HelloName, PathError> {
    // HELO takes a Domain alone (RFC 5321 4.1.1.1); submission takes anything.
    if let Some(rest) = text.strip_prefix('[')
        && (kind == HelloKind::Extended || grammar.hello_any)
    {
        let (inner, after) = rest.split_once(']').ok_or(PathError::Syntax)?;
        // Text after the literal is seen in the field and says nothing.
        if grammar.pedantic && !after.is_empty() {
            return Err(PathError::Syntax);
        }
        let untagged_v6 = grammar.hello_any && !grammar.pedantic;
        return AddressLiteral::parse_inner(inner, untagged_v6).map(HelloName::Literal);
    }
    let domain = if grammar.pedantic {
        text.parse()
    } else {
        Domain::parse_hello(text)
    };
    domain.map(HelloName::Domain)
}

fn cut(text: &str) -> &str {
    let mut end = text.len().min(HELLO_TEXT_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

fn mail(arguments: &str, grammar: Grammar) -> Result<Command<'_>, CommandError> {
    let mut cursor = after_keyword(arguments, " FROM:", grammar)?;
    let path = reverse_path(&mut cursor, grammar.pedantic).map_err(CommandError::ReversePath)?;
    let parameters = mail_parameters(&mut cursor)?;
    Ok(Command::Mail(path, parameters))
}

fn recipient(arguments: &str, grammar: Grammar) -> Result<Command<'_>, CommandError> {
    let mut cursor = after_keyword(arguments, " TO:", grammar)?;
    let path = forward_path(&mut cursor, grammar.pedantic).map_err(CommandError::ForwardPath)?;
    let parameters = recipient_parameters(&mut cursor)?;
    Ok(Command::Recipient(path, parameters))
}

fn after_keyword<'a>(
    arguments: &'a str,
    keyword: &str,
    grammar: Grammar,
) -> Result<Cursor<'a>, CommandError> {
    let mut cursor = Cursor(arguments);
    if !cursor.word(keyword) {
        return Err(CommandError::Arguments);
    }
    // RFC 5321 3.3: no space after the colon, but old clients send one.
    if !grammar.pedantic {
        cursor.spaces();
    }
    Ok(cursor)
}

/// RFC 3030 2: `bdat-cmd = "BDAT" SP chunk-size [ SP end-marker ]`.
fn chunk(arguments: &str) -> Result<Command<'_>, CommandError> {
    let mut words = arguments.split(' ').filter(|word| !word.is_empty());
    let digits = words.next().ok_or(CommandError::ChunkSize)?;
    if !digits.bytes().all(|octet| octet.is_ascii_digit()) {
        return Err(CommandError::ChunkSize);
    }
    let size = digits.parse().map_err(|_| CommandError::ChunkSize)?;
    match (words.next(), words.next()) {
        (None, _) => Ok(Command::Chunk { size, last: false }),
        (Some(marker), None) if marker.eq_ignore_ascii_case("LAST") => {
            Ok(Command::Chunk { size, last: true })
        }
        _ => Ok(Command::MalformedChunk { size }),
    }
}

/// The argument of NOOP, VRFY, EXPN: `String = Atom / Quoted-string`. Only pedantic mode looks closer: VRFY is asked with
/// whole addresses, and the answer is the same for all.
fn string(arguments: &str, optional: bool, grammar: Grammar) -> Result<(), CommandError> {
    let Some(text) = arguments.strip_prefix(' ') else {
        return if optional {
            Ok(())
        } else {
            Err(CommandError::Arguments)
        };
    };
    let atom = || !text.is_empty() && text.chars().all(is_atext);
    let quoted = || text.len() >= 2 && text.starts_with('"') && text.ends_with('"');
    if grammar.pedantic && !atom() && !quoted() {
        Err(CommandError::Arguments)
    } else {
        Ok(())
    }
}

/// RFC 4954 4. Between mechanism and response some clients (Windows Mail) write several spaces.
fn auth(arguments: &str, grammar: Grammar) -> Result<Command<'_>, CommandError> {
    let arguments = arguments.strip_prefix(' ').ok_or(CommandError::Arguments)?;
    let arguments = if grammar.pedantic {
        arguments
    } else {
        arguments.trim_start_matches(' ')
    };
    let (mechanism, response) = match arguments.split_once(' ') {
        Some((mechanism, response)) => (mechanism, Some(response)),
        None => (arguments, None),
    };
    // RFC 4422 3.1: 1*20mech-char.
    let mech_char = |octet: u8| octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'_');
    if mechanism.is_empty() || mechanism.len() > 20 || !mechanism.bytes().all(mech_char) {
        return Err(CommandError::Arguments);
    }
    let initial = match response {
        Some(response) if grammar.pedantic => Some(response),
        other => other.map(|response| response.trim_matches(' ')),
    };
    if initial == Some("") {
        return Err(CommandError::InitialResponse);
    }
    Ok(Command::Auth { mechanism, initial })
}

#[cfg(test)]
#[path = "command_tests.rs"]
mod tests;

//! Reads a command line by the table. lexopt splits it; which option fits where is the table's to say.

use std::ffi::{OsStr, OsString};
use std::fmt::Display;
use std::path::PathBuf;
use std::str::FromStr;

use dkim::limits::RSA_BITS_MAX;
use lexopt::Arg::{Long, Short, Value};

use super::options::{Opt, TEXTS};
use super::table::{ROWS, Row, begins, overview};
use crate::control::protocol::LOGINS_MAX;
use crate::settings::local::{ACCOUNTS_MAX, PORT_OFFSET_MAX};

/// The options and arguments of a command.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Arguments {
    pub(super) config: Option<PathBuf>,
    pub(super) dir: Option<PathBuf>,
    pub(super) json: bool,
    pub(super) generate: bool,
    pub(super) keep: bool,
    pub(super) drop_queued: bool,
    pub(super) numbers: bool,
    pub(super) all: bool,
    pub(super) make_missing: bool,
    pub(super) no_imap_preauth: bool,
    pub(super) failed: bool,
    pub(super) rsa: bool,
    pub(super) ed25519: bool,
    pub(super) bits: Option<u32>,
    pub(super) limit: Option<u32>,
    pub(super) day: Option<tls_rpt::Day>,
    pub(super) port_offset: Option<u16>,
    pub(super) accounts: Option<u32>,
    pub(super) shift: bool,
    pub(super) paused: bool,
    /// Values of options that are texts.
    texts: Vec<(Opt, String)>,
    /// After the command's words.
    pub(super) rest: Vec<String>,
}

/// What a command line asks for.
#[derive(Debug)]
pub(super) enum Parsed {
    /// A help or a version.
    Print(String),
    /// A command.
    Run(&'static Row, Arguments),
}

/// Parses, program name first. The error says what is wrong and where help is.
pub(super) fn parse(words: impl IntoIterator<Item = OsString>) -> Result<Parsed, String> {
    let mut parser = lexopt::Parser::from_iter(words);
    let mut arguments = Arguments::default();
    let mut given = Vec::new();
    let mut help = false;
    // The first one is told, once all words are read: only then is it known which command's help to name.
    let mut wrong = Ok(());
    loop {
        if let Some(word) = no_option(&mut parser) {
            arguments.rest.push(word);
            continue;
        }
        let argument = match parser.next() {
            Ok(Some(argument)) => argument,
            Ok(None) => return fit(arguments, &given, wrong, help),
            Err(error) => {
                wrong = wrong.and(Err(error.to_string()));
                continue;
            }
        };
        let option = match argument {
            Value(word) => {
                match word.into_string() {
                    Ok(word) => arguments.rest.push(word),
                    Err(word) => wrong = wrong.and(Err(format!("{word:?} is not UTF-8"))),
                }
                continue;
            }
            Short('h') | Long("help") => {
                help = true;
                continue;
            }
            Short('V') | Long("version") => {
                return Ok(Parsed::Print(format!(
                    "ringmail {}\n",
                    env!("CARGO_PKG_VERSION")
                )));
            }
            Long("config") => Opt::Config,
            Long("dir") => Opt::Dir,
            Long("json") => Opt::Json,
            Long("generate") => Opt::Generate,
            Long("keep") => Opt::Keep,
            Long("drop-queued") => Opt::DropQueued,
            Long("numbers") => Opt::Numbers,
            Long("all") => Opt::All,
            Long("make-missing") => Opt::MakeMissing,
            Long("no-imap-preauth") => Opt::NoImapPreauth,
            Long("failed") => Opt::Failed,
            Long("rsa") => Opt::Rsa,
            Long("ed25519") => Opt::Ed25519,
            Long("bits") => Opt::Bits,
            Long("limit") => Opt::Limit,
            Long("day") => Opt::Day,
            Long("port-offset") => Opt::PortOffset,
            Long("accounts") => Opt::Accounts,
            Long("shift") => Opt::Shift,
            Long("paused") => Opt::Paused,
            Long(other) if TEXTS.iter().any(|option| option.is_called(other)) => {
                let called = TEXTS.iter().find(|option| option.is_called(other));
                called.copied().unwrap_or(Opt::Why)
            }
            other => {
                wrong = wrong.and(Err(other.unexpected().to_string()));
                continue;
            }
        };
        let taken = arguments.take(option, &mut parser);
        wrong = wrong.and(taken);
        if given.contains(&option) {
            wrong = wrong.and(Err(format!("{} is there twice", option.written())));
        }
        given.push(option);
    }
}

/// A word that is no option though it begins with a hyphen: one such as -1h, for none of them begins with a digit; and the fingerprint of a key, of which one in
/// 64 does, and which would be taken for -h by chance.
fn no_option(parser: &mut lexopt::Parser) -> Option<String> {
    let is_none = |word: &OsStr| {
        let rest = word.to_str().and_then(|word| word.strip_prefix('-'));
        rest.is_some_and(|rest| {
            rest.starts_with(|c: char| c.is_ascii_digit()) || is_fingerprint(&format!("-{rest}"))
        })
    };
    let word = parser.try_raw_args()?.next_if(is_none)?;
    word.into_string().ok()
}

/// SHA-256 in base64url without padding. A long option with as many letters has another hyphen in front, and none has.
fn is_fingerprint(word: &str) -> bool {
    let is_letter = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    word.len() == 43 && word.chars().all(is_letter)
}

impl Arguments {
    /// The value of an option that is a text.
    pub(super) fn text(&self, option: Opt) -> Option<&str> {
        let given = self.texts.iter().find(|(given, _)| *given == option);
        given.map(|(_, text)| text.as_str())
    }

    fn take(&mut self, option: Opt, parser: &mut lexopt::Parser) -> Result<(), String> {
        let mut value = || {
            let value = parser.value().ok().filter(|value| !value.is_empty());
            value.ok_or_else(|| format!("{} needs a value", option.written()))
        };
        match option {
            Opt::Config => self.config = Some(value()?.into()),
            Opt::Dir => self.dir = Some(value()?.into()),
            Opt::Json => self.json = true,
            Opt::Generate => self.generate = true,
            Opt::Keep => self.keep = true,
            Opt::DropQueued => self.drop_queued = true,
            Opt::Numbers => self.numbers = true,
            Opt::All => self.all = true,
            Opt::MakeMissing => self.make_missing = true,
            Opt::NoImapPreauth => self.no_imap_preauth = true,
            Opt::Failed => self.failed = true,
            Opt::Rsa => self.rsa = true,
            Opt::Ed25519 => self.ed25519 = true,
            Opt::Bits => self.bits = Some(number(option, &value()?, RSA_BITS_MAX as u32)?),
            Opt::Limit => self.limit = Some(number(option, &value()?, LOGINS_MAX as u32)?),
            Opt::Day => {
                let value = value()?;
                let day = value.to_str().and_then(|text| text.parse().ok());
                let wrong = || format!("{}: {value:?} is no day", option.written());
                self.day = Some(day.ok_or_else(wrong)?);
            }
            Opt::PortOffset => {
                self.port_offset = Some(number(option, &value()?, PORT_OFFSET_MAX)?);
            }
            Opt::Accounts => self.accounts = Some(number(option, &value()?, ACCOUNTS_MAX)?),
            Opt::Shift => self.shift = true,
            Opt::Paused => self.paused = true,
            text => {
                let value = value()?.into_string();
                let value = value.map_err(|value| format!("{value:?} is not UTF-8"))?;
                self.texts.push((text, value));
            }
        }
        Ok(())
    }
}

/// The value of an option, from 0 to `most`.
fn number<N>(option: Opt, value: &OsStr, most: N) -> Result<N, String>
where
    N: FromStr + PartialOrd + Display,
{
    let number = value.to_str().and_then(|text| text.parse().ok());
    number.filter(|number| *number <= most).ok_or_else(|| {
        format!(
            "{}: {value:?} is no number from 0 to {most}",
            option.written()
        )
    })
}

/// Finds the command the words name, and holds its row against what was given. `wrong` is what made no sense by itself.
fn fit(
    mut arguments: Arguments,
    given: &[Opt],
    wrong: Result<(), String>,
    help: bool,
) -> Result<Parsed, String> {
    // `ringmail help account add` as well.
    let help = help || arguments.rest.first().is_some_and(|word| word == "help");
    if arguments.rest.first().is_some_and(|word| word == "help") {
        arguments.rest.remove(0);
    }
    let words = &arguments.rest;
    let named = |row: &&Row| {
        row.words.len() <= words.len() && row.words.iter().zip(words).all(|(a, b)| a == b)
    };
    // Of `queue sites` and `queue sites pause` the one that says more.
    let Some(row) = ROWS.iter().filter(named).max_by_key(|row| row.words.len()) else {
        let some = |words: &[String]| ROWS.iter().any(|row| begins(row, words));
        let wrong = match wrong {
            Err(wrong) => wrong,
            Ok(()) if help && some(words) => return Ok(Parsed::Print(overview(words))),
            Ok(()) if some(words) => "a command is missing".into(),
            Ok(()) => format!("no command {:?}", words.join(" ")),
        };
        // What there is of the kind that was meant.
        let family = &words[..words.len().min(1)];
        if !some(family) {
            return Err(format!("{wrong}; see ringmail --help"));
        }
        return Err(format!("{wrong}\n\n{}", overview(family)));
    };
    if help {
        return Ok(Parsed::Print(row.help()));
    }
    arguments.rest.drain(..row.words.len());
    wrong
        .and_then(|()| fit_row(row, &arguments.rest, given))
        .map_err(|wrong| row.see_help(&wrong))?;
    Ok(Parsed::Run(row, arguments))
}

fn fit_row(row: &Row, rest: &[String], given: &[Opt]) -> Result<(), String> {
    let name = row.name();
    if let Some(wrong) = given.iter().find(|option| !row.options.contains(option)) {
        return Err(format!("{name} takes no {}", wrong.written()));
    }
    let (least, most) = row.argument_range();
    match rest.len() {
        n if n < least => Err(format!("{name} needs {}", row.arguments[n..].join(" "))),
        n if n > most => Err(format!("{name} takes no {:?}", rest[most])),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::table::Command;
    use super::*;

    fn parsed(line: &str) -> Result<Parsed, String> {
        parse(
            std::iter::once("ringmail")
                .chain(line.split_whitespace())
                .map(OsString::from),
        )
    }

    fn ran(line: &str) -> (Command, Arguments) {
        match parsed(line) {
            Ok(Parsed::Run(row, arguments)) => (row.command, arguments),
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn options_stand_anywhere() {
        for line in [
            "account add --config f anna a@b c@d",
            "account --config=f add anna a@b c@d",
            "--config f account add anna a@b c@d",
            "account add anna a@b c@d --config f",
        ] {
            let (command, arguments) = ran(line);
            assert_eq!(command, Command::AccountAdd);
            assert_eq!(arguments.config, Some("f".into()));
            assert_eq!(arguments.rest, ["anna", "a@b", "c@d"]);
        }
        let (command, arguments) = ran("localserve --dir d --port-offset 2000 --accounts 7");
        assert_eq!(command, Command::Localserve);
        assert_eq!(
            (arguments.port_offset, arguments.accounts),
            (Some(2000), Some(7))
        );
        // A fingerprint is no -h.
        for first in ["-h", "-V", "-Z", "--"] {
            let fingerprint = format!("{first}{}", "fAzlEQgS4BNmeUC9TECJL8nnq6Do_PWK1NT8gQaYU");
            let line = format!("config tlspubkey remove {fingerprint} --dir d");
            let (command, arguments) = ran(&line);
            assert_eq!(command, Command::TlsPubKeyRemove);
            assert_eq!(arguments.rest, [fingerprint]);
        }
        let line = "queue hold 7 --accepted-before -2h --dir d --to=@one.example 8";
        let (command, arguments) = ran(line);
        assert_eq!(command, Command::QueueHold);
        assert_eq!(arguments.rest, ["7", "8"]);
        assert_eq!(arguments.text(Opt::AcceptedBefore), Some("-2h"));
        assert_eq!(arguments.text(Opt::To), Some("@one.example"));
        assert_eq!(arguments.text(Opt::From), None);
        let (command, arguments) = ran("queue schedule -1h 7 --shift --dir d");
        assert_eq!(command, Command::QueueSchedule);
        assert_eq!(arguments.rest, ["-1h", "7"]);
        let (_, arguments) = ran("account remove --dir d -- --odd");
        assert_eq!(arguments.rest, ["--odd"]);
    }

    #[test]
    fn what_makes_no_sense_is_said() {
        for (line, expected) in [
            ("", "a command is missing"),
            ("account", "a command is missing"),
            ("dance", "no command \"dance\"; see ringmail --help"),
            (
                "account dance",
                "no command \"account dance\"\n\nringmail, a mail server",
            ),
            ("stop now --dir d", "stop takes no \"now\""),
            ("account add anna --dir d", "account add needs ADDRESS..."),
            ("serve --dir d", "serve takes no --dir DIR"),
            ("stop --json --dir d", "stop takes no --json"),
            (
                "--wrong",
                "invalid option '--wrong'\n\nringmail, a mail server",
            ),
        ] {
            let error = parsed(line).unwrap_err();
            assert!(error.starts_with(expected), "{line}: {error}");
        }
        for (line, expected) in [
            ("stop --dir", "--dir DIR needs a value; see ringmail stop"),
            (
                "check --config=",
                "--config FILE needs a value; see ringmail check",
            ),
            (
                "--dir a stop --dir b",
                "--dir DIR is there twice; see ringmail stop",
            ),
            (
                "--wrong stop now",
                "invalid option '--wrong'; see ringmail stop",
            ),
            (
                "queue -x list",
                "invalid option '-x'; see ringmail queue list",
            ),
            (
                "account list --wrong=7",
                "invalid option '--wrong'; see ringmail account list",
            ),
            (
                "stop --json --dir d",
                "stop takes no --json; see ringmail stop",
            ),
            (
                "status --json=yes --dir d",
                "unexpected argument for option '--json': \"yes\"; see ringmail status",
            ),
            (
                "localserve --accounts many",
                "--accounts N: \"many\" is no number from 0 to 100000; see ringmail localserve",
            ),
            (
                "localserve --accounts 100001",
                "--accounts N: \"100001\" is no number from 0 to 100000; see ringmail localserve",
            ),
            (
                "queue drop --account",
                "--account NAME needs a value; see ringmail queue drop",
            ),
            (
                "queue dump 7 --account a",
                "queue dump takes no --account NAME; see ringmail queue dump",
            ),
            (
                "--port-offset=-1 localserve",
                "--port-offset N: \"-1\" is no number from 0 to 64542; see ringmail localserve",
            ),
            (
                "localserve --port-offset 70000",
                "--port-offset N: \"70000\" is no number from 0 to 64542; see ringmail localserve",
            ),
        ] {
            let expected = format!("{expected} --help");
            assert_eq!(parsed(line).unwrap_err(), expected, "{line}");
        }
    }

    #[test]
    fn help_is_everywhere() {
        let printed = |line| match parsed(line) {
            Ok(Parsed::Print(text)) => text,
            other => panic!("{line}: {other:?}"),
        };
        assert!(printed("--help").contains("localserve"));
        assert!(printed("help").contains("localserve"));
        assert!(printed("account --help").contains("account add"));
        assert!(!printed("account --help").contains("localserve "));
        // Whatever else is wrong.
        assert!(printed("account add --wrong -h").contains("Usage: ringmail account add"));
        assert!(printed("account add -h").contains("Usage: ringmail account add"));
        assert!(printed("help account add").contains("Usage: ringmail account add"));
        assert!(printed("--version").starts_with("ringmail 0."));
    }
}

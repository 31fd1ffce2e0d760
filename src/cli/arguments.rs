//! Reads a command line by the table. lexopt splits it; which option fits where is the table's to say.

use std::ffi::OsString;
use std::path::PathBuf;

use lexopt::prelude::*;

use super::table::{Command, Opt, ROWS, Row, begins, overview};

/// The options and arguments of a command.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Arguments {
    pub(super) config: Option<PathBuf>,
    pub(super) dir: Option<PathBuf>,
    pub(super) json: bool,
    pub(super) generate: bool,
    pub(super) keep: bool,
    pub(super) numbers: bool,
    pub(super) all: bool,
    pub(super) make_missing: bool,
    pub(super) port_offset: Option<u16>,
    pub(super) accounts: Option<u32>,
    /// After the command's words.
    pub(super) rest: Vec<String>,
}

/// What a command line asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Parsed {
    /// A help or a version.
    Print(String),
    /// A command.
    Run(Command, Arguments),
}

/// Parses, program name first. The error says what is wrong and where help is.
pub(super) fn parse(words: impl IntoIterator<Item = OsString>) -> Result<Parsed, String> {
    let mut parser = lexopt::Parser::from_iter(words);
    let mut arguments = Arguments::default();
    let mut given = Vec::new();
    let mut help = false;
    while let Some(argument) = parser.next().map_err(text)? {
        let option = match argument {
            Value(word) => {
                let word = word.into_string();
                arguments
                    .rest
                    .push(word.map_err(|w| format!("{w:?} is not UTF-8"))?);
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
            Long("numbers") => Opt::Numbers,
            Long("all") => Opt::All,
            Long("make-missing") => Opt::MakeMissing,
            Long("port-offset") => Opt::PortOffset,
            Long("accounts") => Opt::Accounts,
            other => return Err(format!("{}; {SEE_HELP}", other.unexpected())),
        };
        if given.contains(&option) {
            return Err(format!("{} is there twice", option.written()));
        }
        given.push(option);
        arguments.take(option, &mut parser).map_err(text)?;
    }
    fit(arguments, &given, help)
}

impl Arguments {
    fn take(&mut self, option: Opt, parser: &mut lexopt::Parser) -> Result<(), lexopt::Error> {
        match option {
            Opt::Config => self.config = Some(parser.value()?.into()),
            Opt::Dir => self.dir = Some(parser.value()?.into()),
            Opt::Json => self.json = true,
            Opt::Generate => self.generate = true,
            Opt::Keep => self.keep = true,
            Opt::Numbers => self.numbers = true,
            Opt::All => self.all = true,
            Opt::MakeMissing => self.make_missing = true,
            Opt::PortOffset => self.port_offset = Some(parser.value()?.parse()?),
            Opt::Accounts => self.accounts = Some(parser.value()?.parse()?),
        }
        Ok(())
    }
}

/// Finds the command the words name, and holds its row against what was given.
fn fit(mut arguments: Arguments, given: &[Opt], help: bool) -> Result<Parsed, String> {
    // `ringmail help account add` as well.
    let help = help || arguments.rest.first().is_some_and(|word| word == "help");
    if arguments.rest.first().is_some_and(|word| word == "help") {
        arguments.rest.remove(0);
    }
    let words = &arguments.rest;
    let named = |row: &&Row| {
        row.words.len() <= words.len() && row.words.iter().zip(words).all(|(a, b)| a == b)
    };
    let Some(row) = ROWS.iter().find(named) else {
        let some = ROWS.iter().any(|row| begins(row, words));
        return match (help, some) {
            (true, true) => Ok(Parsed::Print(overview(words))),
            (false, true) => Err(format!("a command is missing\n\n{}", overview(words))),
            _ => Err(format!("no command {:?}; {SEE_HELP}", words.join(" "))),
        };
    };
    if help {
        return Ok(Parsed::Print(row.help()));
    }
    let name = row.name();
    if let Some(wrong) = given.iter().find(|option| !row.options.contains(option)) {
        return Err(format!(
            "{name} takes no {}; see ringmail {name} --help",
            wrong.written()
        ));
    }
    arguments.rest.drain(..row.words.len());
    let (least, most) = row.argument_range();
    match arguments.rest.len() {
        n if n < least => Err(format!(
            "{name} needs {}; see ringmail {name} --help",
            row.arguments[n..].join(" ")
        )),
        n if n > most => Err(format!(
            "{name} takes no {:?}; see ringmail {name} --help",
            arguments.rest[most]
        )),
        _ => Ok(Parsed::Run(row.command, arguments)),
    }
}

fn text(error: lexopt::Error) -> String {
    format!("{error}; {SEE_HELP}")
}

const SEE_HELP: &str = "see ringmail --help";

#[cfg(test)]
mod tests {
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
            Ok(Parsed::Run(command, arguments)) => (command, arguments),
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
        let (_, arguments) = ran("account remove --dir d -- --odd");
        assert_eq!(arguments.rest, ["--odd"]);
    }

    #[test]
    fn what_makes_no_sense_is_said() {
        for (line, expected) in [
            ("", "a command is missing"),
            ("account", "a command is missing"),
            ("dance", "no command \"dance\""),
            ("account dance", "no command \"account dance\""),
            ("stop now --dir d", "stop takes no \"now\""),
            ("account add anna --dir d", "account add needs ADDRESS..."),
            ("serve --dir d", "serve takes no --dir DIR"),
            ("stop --json --dir d", "stop takes no --json"),
            ("stop --dir", "missing argument for option '--dir'"),
            ("stop --dir a --dir b", "--dir DIR is there twice"),
            ("stop --wrong", "invalid option '--wrong'"),
            ("stop -x", "invalid option '-x'"),
            (
                "status --json=yes --dir d",
                "unexpected argument for option '--json'",
            ),
            (
                "localserve --accounts many",
                "cannot parse argument \"many\"",
            ),
            (
                "localserve --port-offset 70000",
                "cannot parse argument \"70000\"",
            ),
        ] {
            let error = parsed(line).unwrap_err();
            assert!(error.starts_with(expected), "{line}: {error}");
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
        assert!(printed("account add -h").contains("Usage: ringmail account add"));
        assert!(printed("help account add").contains("Usage: ringmail account add"));
        assert!(printed("--version").starts_with("ringmail 0."));
    }
}

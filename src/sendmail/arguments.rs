//! The command line, as programs have passed it to sendmail for decades. lexopt splits it.
//! What only concerns a queue or a daemon of sendmail's own is taken and ignored where nothing is lost by it, and refused where the caller
//! would wait for something that never happens.
//! Not here: what an address is (`message.rs`).

use std::ffi::OsString;
use std::path::PathBuf;

use lexopt::Arg::{Long, Short, Value};

/// What is to be sent and how.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// `--config`, `-C`: another file than the default.
    pub config: Option<PathBuf>,
    /// `--again`: a file of mail that was kept.
    pub again: Option<PathBuf>,
    /// `-t`: recipients stand in the header.
    pub from_header: bool,
    /// `-i`, `-oi`: a line with a dot alone is text.
    pub dots_are_text: bool,
    /// `-f`, `-r`.
    pub sender: Option<String>,
    /// `-F`.
    pub full_name: Option<String>,
    /// The rest.
    pub recipients: Vec<String>,
}

/// What a command line asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// To send a message.
    Send(Options),
    /// `--check`: whether the settings have mistakes.
    Check(Option<PathBuf>),
    /// `--example`: the sample of the settings.
    Example,
    /// `--help`.
    Help,
    /// `--version`.
    Version,
}

/// Parses the words after the command's name.
pub fn parse(words: impl IntoIterator<Item = OsString>) -> Result<Asked, String> {
    let mut parser = lexopt::Parser::from_args(words);
    let mut options = Options::default();
    let mut check = false;
    while let Some(argument) = parser.next().map_err(|e| e.to_string())? {
        match argument {
            Value(word) => options.recipients.push(text(word)?),
            Long("help") => return Ok(Asked::Help),
            Long("version") => return Ok(Asked::Version),
            Long("example") => return Ok(Asked::Example),
            Long("check") => check = true,
            Long("config") | Short('C') => options.config = Some(value(&mut parser)?.into()),
            Long("again") => options.again = Some(value(&mut parser)?.into()),
            Short('t') => options.from_header = true,
            Short('i') => options.dots_are_text = true,
            Short('f' | 'r') => options.sender = Some(text(anything(&mut parser)?)?),
            Short('F') => options.full_name = Some(text(anything(&mut parser)?)?),
            Short('b') => mode(parser.optional_value())?,
            Short('o') => options.set(&text(value(&mut parser)?)?),
            // Values that nothing here depends on: body type, hop count, log id, delivery reports, other options, protocol, what a report
            // returns, envelope id, a log of the traffic.
            Short('B' | 'h' | 'L' | 'N' | 'O' | 'p' | 'R' | 'V' | 'X') => {
                value(&mut parser)?;
            }
            // How errors are reported (they go to standard error and the exit code), debugging, which of sendmail's two queues.
            Short('e' | 'd' | 'A') => {
                parser.optional_value();
            }
            // Send to oneself too, no aliases, verbose, gateway, initial submission.
            Short('m' | 'n' | 'v' | 'G' | 'U') => (),
            Short('q') => {
                return Err(
                    "-q: there is no queue to run here; --again FILE sends what was kept".into(),
                );
            }
            other => return Err(other.unexpected().to_string()),
        }
    }
    if check {
        return Ok(Asked::Check(options.config));
    }
    options.sensible()?;
    Ok(Asked::Send(options))
}

impl Options {
    /// `-oX...`: of sendmail's options, the one that changes what is sent.
    fn set(&mut self, option: &str) {
        if option == "i" {
            self.dots_are_text = true;
        }
    }

    fn sensible(&self) -> Result<(), String> {
        let more = self.from_header || self.sender.is_some() || !self.recipients.is_empty();
        match &self.again {
            Some(_) if more => {
                Err("--again FILE takes no recipients and no sender: they are in the file".into())
            }
            None if !self.from_header && self.recipients.is_empty() => {
                Err("no recipient: name some, or -t for those in the header".into())
            }
            _ => Ok(()),
        }
    }
}

/// `-bm` is what this is; the other modes are other programs.
fn mode(value: Option<OsString>) -> Result<(), String> {
    match value.as_deref().and_then(|mode| mode.to_str()) {
        Some("m") => Ok(()),
        Some("p") => Err(
            "-bp: there is no queue to list here; what could not be sent is kept in files".into(),
        ),
        mode => Err(format!(
            "-b{}: this command sends a message from standard input (-bm) and does nothing else",
            mode.unwrap_or("")
        )),
    }
}

fn value(parser: &mut lexopt::Parser) -> Result<OsString, String> {
    match anything(parser)? {
        empty if empty.is_empty() => Err("an option needs a value that is not empty".into()),
        value => Ok(value),
    }
}

/// The value, which may be empty: `-f ''` is the sender of error reports.
fn anything(parser: &mut lexopt::Parser) -> Result<OsString, String> {
    parser.value().map_err(|e| e.to_string())
}

fn text(word: OsString) -> Result<String, String> {
    word.into_string()
        .map_err(|word| format!("{word:?} is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Asked, String> {
        parse(line.split(' ').filter(|w| !w.is_empty()).map(|w| match w {
            "''" => OsString::new(),
            word => OsString::from(word),
        }))
    }

    fn sent(line: &str) -> Options {
        match parsed(line) {
            Ok(Asked::Send(options)) => options,
            other => panic!("{line}: {other:?}"),
        }
    }

    fn options(from_header: bool, dots: bool, sender: &str, recipients: &[&str]) -> Options {
        Options {
            from_header,
            dots_are_text: dots,
            sender: Some(sender.to_owned()).filter(|s| !s.is_empty()),
            recipients: recipients.iter().map(|r| (*r).to_owned()).collect(),
            ..Options::default()
        }
    }

    #[test]
    fn the_lines_that_programs_pass() {
        for (line, expected) in [
            // PHP, cron (vixie), cron (Debian), git, mutt, mailx, monit, smartd, logcheck.
            ("-t -i", options(true, true, "", &[])),
            (
                "-FCronDaemon -i -odi -oem -oi -t -f root",
                Options {
                    full_name: Some("CronDaemon".into()),
                    ..options(true, true, "root", &[])
                },
            ),
            (
                "-i -FCronDaemon -B8BITMIME -oem root",
                Options {
                    full_name: Some("CronDaemon".into()),
                    ..options(false, true, "", &["root"])
                },
            ),
            (
                "-f a@b.c -i x@y.z w@y.z",
                options(false, true, "a@b.c", &["x@y.z", "w@y.z"]),
            ),
            (
                "-oem -oi -fa@b.c -- x@y.z -odd",
                options(false, true, "a@b.c", &["x@y.z", "-odd"]),
            ),
            ("-ti", options(true, true, "", &[])),
            ("-it -r a@b.c", options(true, true, "a@b.c", &[])),
            (
                "-bm -ep -O DeliveryMode=b -N never -R hdrs -V id -h 3 x",
                options(false, false, "", &["x"]),
            ),
            ("x -o i", options(false, true, "", &["x"])),
            (
                "-em -m -n -v -U -G -Am -oQ/tmp -X /dev/null -p ESMTP:h -L tag x",
                options(false, false, "", &["x"]),
            ),
        ] {
            assert_eq!(sent(line), expected, "{line}");
        }
        assert_eq!(sent("-f '' x").sender.as_deref(), Some(""));
        assert_eq!(sent("--config f x").config, Some("f".into()));
        assert_eq!(sent("-C f x").config, Some("f".into()));
        assert_eq!(sent("--again f").again, Some("f".into()));
        assert_eq!(
            parsed("--check --config f"),
            Ok(Asked::Check(Some("f".into())))
        );
        assert_eq!(parsed("--example"), Ok(Asked::Example));
        assert_eq!(parsed("-t --help"), Ok(Asked::Help));
    }

    #[test]
    fn what_is_not_done_is_not_taken() {
        for (line, expected) in [
            ("", "no recipient"),
            ("-i", "no recipient"),
            ("-bp", "no queue to list"),
            ("-bd -q15m", "does nothing else"),
            ("-bs", "does nothing else"),
            ("-b x", "does nothing else"),
            ("-q", "no queue to run"),
            ("-q30m x", "no queue to run"),
            ("-Z x", "invalid option '-Z'"),
            ("--wrong x", "invalid option '--wrong'"),
            ("-t -f", "missing argument"),
            ("x --config=", "not empty"),
            ("--again f x", "takes no recipients"),
            ("--again f -t", "takes no recipients"),
        ] {
            let error = parsed(line).unwrap_err();
            assert!(error.contains(expected), "{line}: {error}");
        }
        use std::os::unix::ffi::OsStringExt;
        let error = parse([OsString::from_vec(b"a\xff@b".to_vec())]).unwrap_err();
        assert!(error.contains("is not UTF-8"), "{error}");
    }
}

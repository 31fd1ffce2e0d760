//! `ringmail sendmail`: hands one message from standard input to a submission server, as programs expect of a command named sendmail.
//! Called by `cli`. The command line and the message are a local user's; the settings are the administrator's, and where the command is
//! installed with a group of its own (setgid) the user must not learn what they hold. The server is untrusted until TLS has verified it.
//! No mail is lost silently: exit code 0 follows the server's 250 for every recipient; anything else is said on standard error, and what was
//! not sent is kept in a file, synced, whose path is said (`kept.rs`).
//! RFC 5321, 6409, 4954, 8314. A command with blocking sockets on a thread of its own: nothing here may be called on an executor.
//!
//! `arguments` reads the command line, `input` standard input, `message` makes the message fit, `submission` talks to the server over
//! `socket` and `tls`, `kept` writes what is left, `exit` is how it ends.

mod arguments;
mod exit;
mod input;
mod kept;
mod message;
mod socket;
mod submission;
mod tls;

use std::ffi::OsString;
use std::io::{self, IsTerminal, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use ring::rand::{SecureRandom, SystemRandom};
use rustix::process::{getegid, geteuid, getgid, getuid};
use sasl::Secret;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use smtp::Address;

use crate::settings::Sendmail;
use crate::settings::sendmail::{SENDMAIL_EXAMPLE, SENDMAIL_FILE, SubmissionTls};

use arguments::{Asked, Options};
pub use exit::Exit;
use exit::Failure;
use input::Ending;
use kept::Mail;
use message::{Making, MessageError, Recipient};
use submission::Refused;

/// Runs a command line, without the command's name, which is `called`: as the caller would write it. `help` is what `--help` prints.
pub fn run(words: impl IntoIterator<Item = OsString>, called: &str, help: &str) -> Exit {
    match arguments::parse(words) {
        Err(text) => {
            say(&format!("{text}; see {called} --help"));
            Exit::Usage
        }
        Ok(Asked::Help) => print(help),
        Ok(Asked::Version) => print(&format!("ringmail {}\n", env!("CARGO_PKG_VERSION"))),
        Ok(Asked::Example) => print(SENDMAIL_EXAMPLE),
        Ok(Asked::Check(config)) => check(config.as_deref()),
        Ok(Asked::Send(options)) => send(&options, called),
    }
}

/// Standard error; when that is gone too, the exit code says it.
fn say(text: &str) {
    let _ = writeln!(io::stderr(), "sendmail: {text}");
}

fn print(text: &str) -> Exit {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Exit::Ok,
        Err(_) => Exit::IoErr,
    }
}

/// Installed with rights that its caller does not have.
fn is_privileged() -> bool {
    getuid() != geteuid() || getgid() != getegid()
}

fn load(config: Option<&Path>) -> Result<Sendmail, Failure> {
    let path = config.unwrap_or(Path::new(SENDMAIL_FILE));
    if is_privileged() && config.is_some() {
        let text = "--config is not for a command that is installed with rights of its own (setgid): it could read others' files";
        return Err(Failure::new(Exit::NoPerm, text));
    }
    Sendmail::load(path).map_err(|problems| {
        let text = match is_privileged() {
            // The lines shown could be others' secrets.
            true => format!("the settings in {} are missing or have a mistake; the administrator sees it with --check", path.display()),
            false => problems.to_string(),
        };
        Failure::new(Exit::Config, text)
    })
}

fn check(config: Option<&Path>) -> Exit {
    let path = config.unwrap_or(Path::new(SENDMAIL_FILE));
    let checked = load(config).and_then(|settings| {
        password(&settings)?;
        if settings.tls != SubmissionTls::None {
            tls::Tls::new(&settings)?;
        }
        Ok(settings)
    });
    let settings = match checked {
        Ok(settings) => settings,
        Err(failure) => {
            say(&failure.text);
            return failure.exit;
        }
    };
    let mut text = format!("{}: no mistake\n", path.display());
    let secrets = [
        settings.password.as_ref().map(|_| path),
        settings.password_file.as_deref(),
        settings.client_key.as_deref(),
    ];
    for secret in secrets.into_iter().flatten() {
        let open = std::fs::metadata(secret).is_ok_and(|m| m.mode() & 0o004 != 0);
        if open {
            text.push_str(&format!(
                "Note: every user of this machine can read the secret in {}\n",
                secret.display()
            ));
        }
    }
    print(&text)
}

/// The first line of the file, or what the settings say.
fn password(settings: &Sendmail) -> Result<Option<Secret>, Failure> {
    let Some(path) = &settings.password_file else {
        return Ok(settings
            .password
            .as_ref()
            .map(|password| password.0.clone()));
    };
    let wrong = |what: &str| Failure::new(Exit::Config, format!("{}: {what}", path.display()));
    let content = std::fs::read(path)
        .map(Secret::new)
        .map_err(|e| wrong(&e.to_string()))?;
    let line = content
        .split(|octet| *octet == b'\n')
        .next()
        .unwrap_or_default();
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    match line {
        b"" => Err(wrong("its first line, the password, is empty")),
        line => Ok(Some(Secret::from(line))),
    }
}

/// What must not be lost, seen by the thread that waits for signals too.
#[derive(Default)]
struct State {
    /// The message with those recipients it was not delivered to, once it is read as a whole.
    mail: Option<Mail>,
    /// The file it was read from, with `--again`.
    again: Option<PathBuf>,
    /// Whether somebody has it already.
    begun: bool,
    /// Where it may be kept.
    places: Vec<PathBuf>,
    /// The settings' file, if it is not the usual one.
    config: Option<PathBuf>,
    /// How the command is called.
    called: String,
    /// Nothing is left to be kept.
    done: bool,
}

type Shared = Arc<Mutex<State>>;

fn send(options: &Options, called: &str) -> Exit {
    let settings = load(options.config.as_deref());
    let state = Shared::default();
    change(&state, |state| {
        state.places = places(settings.as_ref().ok());
        state.config = options.config.clone();
        state.called = called.to_owned();
        state.again = options.again.clone();
    });
    watch_signals(&state);
    let size_max = match &settings {
        Ok(settings) => settings.message_size_max_bytes.get(),
        Err(_) => Sendmail::default().message_size_max_bytes.get(),
    };
    let mail = match read(options, size_max) {
        Ok(mail) => mail,
        Err(failure) => {
            say(&failure.text);
            return failure.exit;
        }
    };
    if options.again.is_none() && message::is_empty(&mail.octets) {
        say("the message is empty: nothing was sent, and nothing is kept");
        return Exit::NoInput;
    }
    change(&state, |state| state.mail = Some(mail.clone()));
    let ended = settings.map_or_else(Ended::failed, |settings| attempt(&settings, &mail, &state));
    change(&state, |state| finish(state, &ended))
}

fn change<T>(state: &Shared, change: impl FnOnce(&mut State) -> T) -> T {
    change(&mut state.lock().unwrap_or_else(PoisonError::into_inner))
}

fn read(options: &Options, size_max: u64) -> Result<Mail, Failure> {
    if let Some(file) = &options.again {
        return Mail::read(file, size_max, getuid().as_raw())
            .map_err(|text| Failure::new(Exit::NoInput, text));
    }
    let stdin = io::stdin().lock();
    let ending = match options.dots_are_text {
        true => Ending::Input,
        false if stdin.is_terminal() => Ending::DotAtOnce,
        false => Ending::Dot,
    };
    Ok(Mail {
        octets: input::read(stdin, ending, size_max)?,
        sender: options.sender.clone(),
        full_name: options.full_name.clone(),
        from_header: options.from_header,
        recipients: options.recipients.clone(),
    })
}

/// How an attempt ended; nothing in it means that everybody has the message.
#[derive(Default)]
struct Ended {
    refused: Vec<Refused>,
    failure: Option<Failure>,
}

impl Ended {
    fn failed(failure: Failure) -> Ended {
        Ended {
            failure: Some(failure),
            ..Ended::default()
        }
    }

    fn exit(&self) -> Exit {
        match (&self.failure, self.refused.first()) {
            (Some(failure), _) => failure.exit,
            (None, Some(_)) if self.refused.iter().any(|r| r.exit == Exit::TempFail) => {
                Exit::TempFail
            }
            (None, Some(refused)) => refused.exit,
            (None, None) => Exit::Ok,
        }
    }

    /// What is said of it.
    fn lines(&self) -> Vec<String> {
        let refused = |r: &Refused| match r.recipient.trim() {
            "" => format!("\"{}\" was refused: {}", r.recipient, r.text),
            recipient => format!("{recipient} was refused: {}", r.text),
        };
        let failure = self.failure.iter().map(|failure| failure.text.clone());
        self.refused.iter().map(refused).chain(failure).collect()
    }
}

fn attempt(settings: &Sendmail, mail: &Mail, state: &Shared) -> Ended {
    match prepare(settings, mail) {
        Err(failure) => Ended::failed(failure),
        Ok(Prepared {
            message,
            addresses,
            refused,
            password,
        }) => {
            change(state, |state| {
                if let Some(mail) = &mut state.mail {
                    // They are all known now, and Bcc is gone from the message.
                    mail.from_header = false;
                    mail.octets.clone_from(&message.octets);
                    mail.recipients = addresses.iter().map(Address::to_string).collect();
                    // Who names nobody is told now, and can't be sent to later either.
                    let names =
                        |r: &&Refused| !message::read_addresses(r.recipient.as_bytes()).is_empty();
                    let named = refused.iter().filter(names);
                    mail.recipients.extend(named.map(|r| r.recipient.clone()));
                }
            });
            if addresses.is_empty() {
                return Ended {
                    refused,
                    failure: None,
                };
            }
            let mut delivered = |addresses: &[Address]| {
                change(state, |state| state.delivered(addresses));
            };
            let outcome = submission::submit(
                settings,
                password.as_ref(),
                &message,
                &addresses,
                &mut delivered,
            );
            Ended {
                refused: refused.into_iter().chain(outcome.refused).collect(),
                failure: outcome.failure,
            }
        }
    }
}

struct Prepared {
    message: message::Message,
    addresses: Vec<Address>,
    /// By us: these are no addresses.
    refused: Vec<Refused>,
    password: Option<Secret>,
}

fn prepare(settings: &Sendmail, mail: &Mail) -> Result<Prepared, Failure> {
    let password = password(settings)?;
    let mut random = [0; 16];
    let filled = SystemRandom::new().fill(&mut random);
    filled.map_err(|_| Failure::new(Exit::TempFail, "no randomness for a Message-ID"))?;
    let sender = settings
        .sender()
        .ok_or_else(|| Failure::new(Exit::Config, "the settings name no sender"))?;
    let making = Making {
        settings,
        default_sender: &sender,
        sender: mail.sender.as_deref(),
        full_name: mail.full_name.as_deref(),
        from_header: mail.from_header,
        now_secs: now_secs() as i64,
        random,
    };
    let message = making.make(&mail.octets).map_err(|error| {
        let exit = match error {
            MessageError::Empty => Exit::NoInput,
            _ => Exit::DataErr,
        };
        Failure::new(exit, error.to_string())
    })?;
    let (mut written, mut nobody) = (Vec::new(), Vec::new());
    for argument in &mail.recipients {
        let named = message::read_addresses(argument.as_bytes());
        if named.is_empty() {
            // A variable that was never set, perhaps: somebody was meant.
            nobody.push(Refused {
                recipient: argument.clone(),
                exit: Exit::DataErr,
                text: "it names nobody".to_owned(),
            });
        }
        written.extend(named);
    }
    written.extend(message.recipients.iter().cloned());
    if written.is_empty() && nobody.is_empty() {
        let text = "no recipient: neither To, Cc nor Bcc of the message names one";
        return Err(Failure::new(Exit::DataErr, text));
    }
    if written.len() > RECIPIENTS_MAX {
        let text = format!("more than {RECIPIENTS_MAX} recipients");
        return Err(Failure::new(Exit::DataErr, text));
    }
    let (addresses, others) = resolve(settings, written);
    let refused = nobody.into_iter().chain(others).collect();
    Ok(Prepared {
        message,
        addresses,
        refused,
        password,
    })
}

/// Each address once, and what is none.
fn resolve(settings: &Sendmail, written: Vec<Recipient>) -> (Vec<Address>, Vec<Refused>) {
    let mut seen = std::collections::BTreeSet::new();
    let (mut addresses, mut refused) = (Vec::new(), Vec::new());
    for recipient in written {
        let (recipient, text) = match (recipient, &settings.local_recipient) {
            (Recipient::Address(address), _) => {
                if seen.insert(address.clone()) {
                    addresses.push(address);
                }
                continue;
            }
            (Recipient::Local(_), Some(local)) => {
                if seen.insert(local.0.clone()) {
                    addresses.push(local.0.clone());
                }
                continue;
            }
            (Recipient::Local(name), None) => (
                name,
                "it has no domain, and the settings no local_recipient",
            ),
            (Recipient::Malformed(text), _) => (text, "it is not an address"),
        };
        refused.push(Refused {
            recipient,
            exit: Exit::NoUser,
            text: text.to_owned(),
        });
    }
    (addresses, refused)
}

impl State {
    fn delivered(&mut self, addresses: &[Address]) {
        self.begun |= !addresses.is_empty();
        if let Some(mail) = &mut self.mail {
            let names: Vec<String> = addresses.iter().map(Address::to_string).collect();
            mail.recipients
                .retain(|recipient| !names.contains(recipient));
        }
    }

    /// Keeps what is left, and says where.
    fn keep(&mut self, reason: &str) {
        self.done = true;
        let Some(mail) = &self.mail else { return };
        if let (Some(file), false) = (&self.again, self.begun) {
            say(&format!("the message is still in {}", file.display()));
            return;
        }
        let is_for_nobody = mail.recipients.is_empty() && !mail.from_header;
        if self.begun && is_for_nobody {
            say("everybody else has the message; it is not kept");
            self.remove_old();
            return;
        }
        match mail.keep(reason, &self.places, now_secs()) {
            Ok(path) if is_for_nobody => {
                say(&format!(
                    "the message is kept in {}; to send it again, write a line \"Recipient: ADDRESS\" below the first",
                    path.display()
                ));
                self.remove_old();
            }
            Ok(path) => {
                let config = match &self.config {
                    Some(config) => format!("--config {} ", config.display()),
                    None => String::new(),
                };
                say(&format!(
                    "the message is kept in {}; to send it again: {} {config}--again {}",
                    path.display(),
                    self.called,
                    path.display()
                ));
                self.remove_old();
            }
            Err(error) => say(&format!("THE MESSAGE IS NOT KEPT: {error}")),
        }
    }

    /// The file of `--again`, once nothing needs it.
    fn remove_old(&self) {
        if let Some(file) = &self.again
            && let Err(error) = std::fs::remove_file(file)
        {
            say(&format!(
                "{}: {error}; remove it, or it is sent twice",
                file.display()
            ));
        }
    }
}

fn finish(state: &mut State, ended: &Ended) -> Exit {
    let lines = ended.lines();
    lines.iter().for_each(|line| say(line));
    match lines.is_empty() {
        true => {
            state.done = true;
            state.remove_old();
        }
        false => state.keep(&lines.join("; ")),
    }
    ended.exit()
}

/// Where mail may be kept: the first place that works is taken.
fn places(settings: Option<&Sendmail>) -> Vec<PathBuf> {
    let spool = settings.and_then(|settings| settings.spool_dir.clone());
    let home = std::env::home_dir().filter(|home| home.is_absolute());
    let home = home.map(|home| home.join("ringmail-unsent"));
    // Files there survive a restart of the machine, those in /tmp do not.
    let last = Some(PathBuf::from("/var/tmp"));
    [spool, home, last].into_iter().flatten().collect()
}

/// Who is told to end while it has a message keeps it first.
fn watch_signals(state: &Shared) {
    let ignored = ignored_signals();
    let minded = [SIGHUP, SIGINT, SIGTERM];
    let minded = minded
        .into_iter()
        .filter(|signal| ignored & 1 << (signal - 1) == 0);
    let Ok(mut signals) = Signals::new(minded) else {
        // Then a signal ends the command as it ends any other, which its caller sees.
        return;
    };
    let state = state.clone();
    std::thread::spawn(move || {
        for _ in signals.forever() {
            change(&state, |state| {
                if state.done {
                    return;
                }
                match state.mail {
                    None => say("stopped before the message was whole; nothing was sent"),
                    Some(_) => {
                        say("stopped; the server may have the message already");
                        state.keep("stopped by a signal");
                    }
                }
                // With the state locked: nothing else can say how it ended.
                std::process::exit(Exit::TempFail as i32);
            });
        }
    });
}

/// A caller that had them ignored (nohup, a shell's background) wants the message sent: one bit for each signal, from signal 1 on.
fn ignored_signals() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .unwrap_or(0)
}

fn now_secs() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.unwrap_or_default().as_secs()
}

/// Recipients of one message: enough for a list, too few for a flood by mistake.
const RECIPIENTS_MAX: usize = 10_000;

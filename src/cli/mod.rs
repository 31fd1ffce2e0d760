//! The command line: one file for each command or family. Commands call the running server through its control socket, or rooms directly
//! when none runs. Input is the operator's: trusted. Not here: rules of mail.
//!
//! `table` lists every command with its options and help; `arguments` reads a command line by that table; `which` finds the server that
//! `--config` or `--dir` means and runs a request there.

mod account;
mod apikey;
mod app_password;
mod arguments;
mod batch;
mod certificate;
mod check;
mod client;
mod config;
mod dkim;
mod dns;
mod hold_rules;
mod limits;
mod localserve;
mod logins;
mod mtasts;
mod options;
mod password;
mod queue;
mod retired;
mod running;
mod salvage;
mod selection;
mod serve;
mod sites;
mod suppression;
mod table;
mod tlspubkey;
mod tlsresults;
mod warm_up;
mod webhook;
mod which;

use std::ffi::OsString;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::ExitCode;

use shards::storage::DirectoryError;

use arguments::{Arguments, Parsed};
use table::Command;

/// Runs a command line, program name first. Exit codes: 0 done, 1 failed or something found, 2 not understood; those of sendmail are its own.
pub fn main(words: impl IntoIterator<Item = OsString>) -> ExitCode {
    let words: Vec<OsString> = words.into_iter().collect();
    if let Some((called, rest)) = sendmail_words(&words) {
        keep_files_private();
        let rows = table::ROWS.iter();
        let row = rows.filter(|row| row.command == Command::Sendmail);
        let help: String = row.map(table::Row::help).collect();
        return crate::sendmail::run(rest.to_vec(), &called, &help).into();
    }
    let result = match arguments::parse(words) {
        Ok(Parsed::Print(text)) => print(&text),
        Ok(Parsed::Run(row, arguments)) => {
            run(row.command, &arguments).map_err(|failure| match failure {
                Failure::Usage(text) => Failure::Usage(row.see_help(&text)),
                other => other,
            })
        }
        Err(text) => Err(Failure::Usage(text)),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => report(failure),
    }
}

/// The name and the rest of a command line that is sendmail's: programs call it by that name, and its options are read by other rules than
/// ours.
fn sendmail_words(words: &[OsString]) -> Option<(String, &[OsString])> {
    let (program, rest) = words.split_first()?;
    let path = Path::new(program);
    if path.file_name().is_some_and(|name| name == "sendmail") {
        return Some((path.display().to_string(), rest));
    }
    let (first, rest) = rest.split_first()?;
    (first == "sendmail").then(|| ("ringmail sendmail".to_owned(), rest))
}

fn run(command: Command, arguments: &Arguments) -> Result<(), Failure> {
    keep_files_private();
    match command {
        Command::Localserve => localserve::run(arguments),
        Command::Serve => serve::run(arguments),
        Command::ConfigCheck => config::check(arguments),
        Command::ConfigExample => config::example(arguments),
        Command::AccountAdd => account::add(arguments),
        Command::AccountRemove => account::remove(arguments),
        Command::AccountList => account::list(arguments),
        Command::AccountPassword => account::password(arguments),
        Command::AccountLimits => limits::show(arguments),
        Command::AccountLogins => logins::list(arguments),
        Command::AppPasswordAdd => app_password::add(arguments),
        Command::AppPasswordRemove => app_password::remove(arguments),
        Command::AppPasswordList => app_password::list(arguments),
        Command::ApiKeyAdd => apikey::add(arguments),
        Command::ApiKeyList => apikey::list(arguments),
        Command::ApiKeyRemove => apikey::remove(arguments),
        Command::TlsPubKeyList => tlspubkey::list(arguments),
        Command::TlsPubKeyGet => tlspubkey::get(arguments),
        Command::TlsPubKeyAdd => tlspubkey::add(arguments),
        Command::TlsPubKeyRemove => tlspubkey::remove(arguments),
        Command::TlsPubKeyGen => tlspubkey::generate(arguments),
        Command::QueueList => queue::list(arguments),
        Command::QueueHold
        | Command::QueueRelease
        | Command::QueueKick
        | Command::QueueSchedule
        | Command::QueueDrop
        | Command::QueueFail
        | Command::QueueTransport
        | Command::QueueRequireTls
        | Command::QueueRetries => queue::change(command, arguments),
        Command::SiteList => sites::list(arguments),
        Command::SitePause => sites::pause(arguments),
        Command::SiteResume => sites::resume(arguments),
        Command::HoldRuleList => hold_rules::list(arguments),
        Command::HoldRuleAdd => hold_rules::add(arguments),
        Command::HoldRuleRemove => hold_rules::remove(arguments),
        Command::SuppressionList => suppression::list(arguments),
        Command::SuppressionAdd => suppression::add(arguments),
        Command::BatchList => batch::list(arguments),
        Command::BatchShow => batch::show(arguments),
        Command::BatchCancel => batch::cancel(arguments),
        Command::SuppressionRemove => suppression::remove(arguments),
        Command::SuppressionLookup => suppression::look_up(arguments),
        Command::WebhookList => webhook::list(arguments),
        Command::WebhookAdd => webhook::put(arguments, true),
        Command::WebhookSet => webhook::put(arguments, false),
        Command::WebhookRemove
        | Command::WebhookEnable
        | Command::WebhookDisable
        | Command::WebhookRotate => webhook::change(command, arguments),
        Command::WebhookTest => webhook::test(arguments),
        Command::WebhookQueue | Command::WebhookHistory => webhook::page(command, arguments),
        Command::WebhookPayload => webhook::payload(arguments),
        Command::WebhookRedeliver | Command::WebhookCancel => webhook::each(command, arguments),
        Command::QueueRetired => retired::list(arguments),
        Command::QueueDump => queue::dump(arguments),
        Command::DkimGen => dkim::generate(arguments),
        Command::DkimRecord => dkim::record(arguments),
        Command::DkimCheck => dkim::check(arguments),
        Command::DkimVerify => dkim::verify(arguments),
        Command::DnsLookup => dns::lookup(arguments),
        Command::DnsMx => dns::mx(arguments),
        Command::DnsTls => dns::tls(arguments),
        Command::MtaStsShow => mtasts::show(arguments),
        Command::MtaStsList => mtasts::list(arguments),
        Command::MtaStsRemove => mtasts::remove(arguments),
        Command::QueueWarmUp => warm_up::list(arguments),
        Command::TlsResults => tlsresults::list(arguments),
        Command::Check => check::run(arguments),
        Command::Salvage => salvage::run(arguments),
        Command::Reload => running::reload(arguments),
        Command::Stop => running::stop(arguments),
        Command::Status => running::status(arguments),
        Command::Sendmail => Err(Failure::Usage("sendmail must be the first word".into())),
    }
}

/// Why a command did not do what was asked. The text says what to do next.
#[derive(Debug)]
enum Failure {
    /// The command line makes no sense.
    Usage(String),
    /// It could not be done.
    Failed(String),
    /// It was done and found something wrong; all is said already.
    Found,
    /// Nobody reads our output any more.
    OutputGone,
}

impl Failure {
    /// This user may not have a file or directory.
    fn denied(path: &Path) -> Failure {
        // It can be seen, or the nearest above it that can may not be passed.
        let mut seen = path.ancestors().map(|at| (at, fs::metadata(at)));
        let text = match seen.find_map(|(at, metadata)| Some((at, metadata.ok()?.uid()))) {
            Some((at, owner)) => format!(
                "{}: permission denied. It belongs to user {owner}; run this as that user (sudo -u '#{owner}' ringmail ...), or as root while the server runs",
                at.display()
            ),
            None => format!("{}: permission denied", path.display()),
        };
        Failure::Failed(text)
    }
}

impl From<DirectoryError> for Failure {
    fn from(error: DirectoryError) -> Failure {
        match error {
            DirectoryError::Io { path, source }
                if source.kind() == io::ErrorKind::PermissionDenied =>
            {
                Failure::denied(&path)
            }
            error => Failure::Failed(error.to_string()),
        }
    }
}

impl From<String> for Failure {
    fn from(text: String) -> Failure {
        Failure::Failed(text)
    }
}

impl From<io::Error> for Failure {
    /// Only of writing to standard output: other errors of files carry a path and become texts where they happen.
    fn from(error: io::Error) -> Failure {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Failure::OutputGone,
            _ => Failure::Failed(format!("standard output: {error}")),
        }
    }
}

fn report(failure: Failure) -> ExitCode {
    // When standard error is gone too, the exit code says it.
    let say = |text: &str| drop(writeln!(io::stderr(), "ringmail: {text}"));
    match failure {
        Failure::Usage(text) => {
            say(&text);
            ExitCode::from(2)
        }
        Failure::Failed(text) => {
            say(&text);
            ExitCode::FAILURE
        }
        Failure::Found => ExitCode::FAILURE,
        Failure::OutputGone => ExitCode::SUCCESS,
    }
}

/// What a server makes is for its user alone, and what a command makes in its place. Once at the start: the umask is the whole process's,
/// and other threads make files.
fn keep_files_private() {
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
}

/// Writes to standard output, with an error instead of a panic when it is gone.
/// Seconds since 1970, in UTC.
fn date(secs: &serde_json::Value) -> String {
    message::MessageDate::utc(secs.as_i64().unwrap_or(0)).to_string()
}

/// What a command was answered beside its result, line by line.
fn notes(done: &serde_json::Value) -> String {
    let messages = done["messages"].as_array().into_iter().flatten();
    let note = |m: &serde_json::Value| format!("Note: {}\n", m.as_str().unwrap_or_default());
    messages.map(note).collect()
}

fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()?;
    Ok(())
}

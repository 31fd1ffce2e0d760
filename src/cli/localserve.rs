//! `ringmail localserve`: a whole server in one directory on loopback.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs::DirBuilder;
use std::io::ErrorKind;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use shards::CoreId;

use super::arguments::Arguments;
use super::{Failure, certificate, print};
use crate::calls::{Answer, Call, ControlCall};
use crate::control::{Control, Source, supervise};
use crate::login::Secrets;
use crate::serve::Server;
use crate::settings::local::{
    LOCAL_ACCOUNT, LOCAL_CERT, LOCAL_DKIM_KEY, LOCAL_KEY, LOCAL_PASSWORD, PORT_OFFSET,
};
use crate::settings::{AccountName, Door, Local, Settings};
use crate::telemetry;

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let dir = match &arguments.dir {
        Some(dir) => dir.clone(),
        None => default_directory()?,
    };
    let local = Local {
        dir,
        port_offset: arguments.port_offset.unwrap_or(PORT_OFFSET),
    };
    super::client::must_not_run(&local.dir)?;
    prepare(&local.dir)?;
    local
        .make_accounts(arguments.accounts.unwrap_or(0))
        .map_err(|e| format!("{}: {e}", local.accounts_dir().display()))?;
    let settings = local.load().map_err(|e| e.to_string())?;
    telemetry::start(&settings.server.log)?;
    let ready = |control: &Control| {
        // A shard out of service is no reason to keep the others' mail from everybody.
        if let Err(error) = set_passwords(control.server()) {
            tracing::warn!(%error, "some accounts may have no password yet; start the server again when the reason is gone");
        }
        control.server().serving()?;
        // Somebody may have closed standard output; the server serves all the same.
        let _ = print(&welcome(&local, &control.server().live().settings));
        Ok(())
    };
    let source = Source::Local(local.clone());
    let result = Server::start(settings).and_then(|server| supervise(server, source, ready));
    telemetry::flush();
    Ok(result?)
}

/// XDG Base Directory Specification: data of the user.
fn default_directory() -> Result<PathBuf, Failure> {
    let variable = |name: &str| std::env::var_os(name).map(PathBuf::from);
    // A relative path there is to be ignored, says the specification.
    let absolute = |name: &str| variable(name).filter(|path| path.is_absolute());
    let data = absolute("XDG_DATA_HOME");
    let data = data.or_else(|| Some(absolute("HOME")?.join(".local/share")));
    data.map(|data| data.join("ringmail/localserve"))
        .ok_or_else(|| {
            Failure::Usage("neither XDG_DATA_HOME nor HOME names a directory; use --dir DIR".into())
        })
}

fn prepare(dir: &Path) -> Result<(), Failure> {
    if dir.join("format").exists() {
        return Err(Failure::Failed(format!(
            "{} is a data directory; give localserve a directory of its own with --dir",
            dir.display()
        )));
    }
    let mut builder = DirBuilder::new();
    let made = builder.recursive(true).mode(0o700).create(dir);
    made.map_err(|error| {
        let why = match error.kind() {
            ErrorKind::PermissionDenied => "permission denied".to_string(),
            _ => error.to_string(),
        };
        Failure::Failed(format!(
            "the directory {} cannot be made: {why}; name another with --dir DIR",
            dir.display()
        ))
    })?;
    let (cert, key) = (dir.join(LOCAL_CERT), dir.join(LOCAL_KEY));
    if certificate::must_be_made(&cert) || certificate::must_be_made(&key) {
        certificate::write_self_signed(&cert, &key)?;
    }
    let dkim = dir.join(LOCAL_DKIM_KEY);
    if certificate::must_be_made(&dkim) {
        super::dkim::write_ed25519(&dkim)?;
    }
    Ok(())
}

/// Gives each account of ours that has no password the one that is printed. Hashed once for all: it is no secret.
fn set_passwords(server: &Server) -> Result<(), String> {
    let settings = &server.live().settings;
    let mut secrets = Secrets::default();
    secrets.set_password(LOCAL_PASSWORD.as_bytes(), &server.scheme())?;
    let mut by_core: Vec<Vec<AccountName>> = vec![Vec::new(); usize::from(server.cores())];
    let ours = |name: &&AccountName| {
        name.as_str() == LOCAL_ACCOUNT || Local::number_of(name.as_str()).is_some()
    };
    for name in settings.accounts.keys().filter(ours) {
        by_core[usize::from(server.owner_of(name.as_str()).0)].push(*name);
    }
    std::thread::scope(|scope| {
        let set = |(core, names): (usize, Vec<AccountName>)| {
            let secrets = &secrets;
            scope.spawn(move || {
                let set = |names: &[AccountName]| {
                    let call = ControlCall::SetMissingSecrets {
                        accounts: names.to_vec(),
                        secrets: Box::new(secrets.clone()),
                    };
                    match server.call(CoreId(core as u16), Call::Control(Box::new(call))) {
                        Ok(Answer::Control(Ok(_))) => Ok(()),
                        Ok(Answer::Control(Err(e))) => Err(e.to_string()),
                        Ok(_) => Err("a core gave an answer to another question".to_string()),
                        Err(e) => Err(e.to_string()),
                    }
                };
                // All of them, whatever becomes of some; the first error is told.
                names.chunks(AT_ONCE).map(set).fold(Ok(()), Result::and)
            })
        };
        let threads: Vec<_> = by_core.into_iter().enumerate().map(set).collect();
        threads.into_iter().try_for_each(|thread| {
            let result = thread
                .join()
                .unwrap_or_else(|_| Err("a thread panicked".into()));
            result.map_err(|e| format!("the passwords could not be set: {e}"))
        })
    })
}

fn welcome(local: &Local, settings: &Settings) -> String {
    let mut text = format!(
        "ringmail localserve is ready; its directory is {}\n\n",
        local.dir.display()
    );
    for (door, scheme, note) in [
        (Door::Smtp, "smtp", "receives mail, STARTTLS"),
        (Door::Submission, "smtp", "sends mail after login, STARTTLS"),
        (Door::Submissions, "smtps", "the same with TLS"),
        (Door::Imap, "imap", "reads mail, STARTTLS"),
        (Door::Imaps, "imaps", "the same with TLS"),
        (Door::Http, "http", "/webapi/ /metrics /healthz /readyz"),
        (Door::Https, "https", "the same with TLS, but /metrics"),
    ] {
        let url = format!("{scheme}://localhost:{}", local.port(door));
        // Writing to a String cannot fail.
        let _ = writeln!(text, "  {:<12} {url:<24} {note}", door.as_str());
    }
    let names = settings.accounts.keys();
    let numbers: BTreeSet<u32> = names.filter_map(|n| Local::number_of(n.as_str())).collect();
    let others = match (numbers.first(), numbers.last()) {
        (Some(first), Some(last)) if first == last => format!(" and u{first}@localhost"),
        (Some(first), Some(last)) => format!(
            " and {} accounts u{first}@localhost to u{last}@localhost",
            numbers.len()
        ),
        _ => String::new(),
    };
    let _ = write!(
        text,
        "
Login {LOCAL_ACCOUNT}@localhost{others}, password {LOCAL_PASSWORD}
Mail to any other address goes to {LOCAL_ACCOUNT}@localhost; no mail leaves this machine.
The certificate is {cert}

Send a message:
  swaks --server 127.0.0.1:{smtp} --from you@example.org --to {LOCAL_ACCOUNT}@localhost
  printf 'Subject: hello\\r\\n\\r\\nFirst mail.\\r\\n' | curl smtp://localhost:{smtp} --mail-from you@example.org --mail-rcpt {LOCAL_ACCOUNT}@localhost -T -
Submit one:
  swaks --server 127.0.0.1:{submission} --auth PLAIN --auth-user {LOCAL_ACCOUNT}@localhost --auth-password {LOCAL_PASSWORD} --from {LOCAL_ACCOUNT}@localhost --to friend@example.org
Send one by the API:
  curl -u {LOCAL_ACCOUNT}@localhost:{LOCAL_PASSWORD} http://localhost:{http}/webapi/v0/Send --data-urlencode 'request={{\"To\": [{{\"Address\": \"friend@example.org\"}}], \"Subject\": \"hello\", \"Text\": \"Hi!\"}}'
  curl -u {LOCAL_ACCOUNT}@localhost:{LOCAL_PASSWORD} http://localhost:{http}/webapi/v1/messages --json '{{\"from\": {{\"address\": \"{LOCAL_ACCOUNT}@localhost\"}}, \"to\": [{{\"address\": \"friend@example.org\"}}], \"subject\": \"hello\", \"text\": \"Hi!\"}}'
Hear what becomes of it (http://localhost:{http}/webapi/v1/ is the documentation):
  ringmail webhook add {LOCAL_ACCOUNT} http://127.0.0.1:8000/ --dir {dir}
Read the first:
  curl 'imap://localhost:{imap}/INBOX;MAILINDEX=1' -u {LOCAL_ACCOUNT}@localhost:{LOCAL_PASSWORD}
Stop: Ctrl-C, or ringmail stop --dir {dir}
",
        cert = local.dir.join(LOCAL_CERT).display(),
        smtp = local.port(Door::Smtp),
        submission = local.port(Door::Submission),
        imap = local.port(Door::Imap),
        http = local.port(Door::Http),
        dir = local.dir.display(),
    );
    text
}

/// Accounts in one call: a call has a deadline.
const AT_ONCE: usize = 256;

//! The settings of `localserve`: a whole server in one directory on loopback, nothing to write first.
//! They are texts like the operator's own, so they take the same way through parser and check. Files that `account add --dir` left in
//! `DIR/accounts` are read beside them, those of `--accounts` too, and `DIR/domains.toml`, when it exists, stands in for the built-in domain.
//! Not here: the certificate, the key for DKIM and the passwords (made by `serve.rs` and `cli/` at the first start).

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::account_name::AccountName;
use super::check::parse_and_check_unfinished;
use super::listener::Door;
use super::load::{read_accounts, read_text};
use super::model::Settings;
use super::problem::{Problem, Problems, Unfinished};
use super::replace;
use super::text::{Text, Texts};

/// What `localserve` is told on its command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Local {
    /// Its directory.
    pub dir: PathBuf,
    /// What is added to each standard port.
    pub port_offset: u16,
}

impl Local {
    /// With the documented offset.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            port_offset: PORT_OFFSET,
        }
    }

    /// The port of a door.
    pub fn port(&self, door: Door) -> u16 {
        door.standard_port().saturating_add(self.port_offset)
    }

    /// The settings: the built-in texts and the files of the directory, checked together.
    pub fn load(&self) -> Result<Settings, Problems> {
        self.load_unfinished()?.finished()
    }

    /// The same for those who add accounts: that some are missing is no error yet.
    pub fn load_unfinished(&self) -> Result<Unfinished, Problems> {
        self.check_range()?;
        let texts = self.read()?;
        let mut unfinished = parse_and_check_unfinished(&texts)?;
        let settings = &mut unfinished.settings;
        settings.everything_to = Some(local_account());
        // A built-in text is no file that an edit could find changed.
        let has_text = |path: &Path| fs::metadata(path).is_ok_and(|m| m.len() > 0);
        settings.fingerprints.retain(|path, _| has_text(path));
        Ok(unfinished)
    }

    /// Makes the files of accounts `u1` to this number that are not there: from then on they are accounts like any other.
    pub fn make_accounts(&self, count: u32) -> io::Result<()> {
        if count == 0 {
            return Ok(());
        }
        let folder = self.accounts_dir();
        replace::create_folder(&folder)?;
        for n in 1..=count {
            let text = account_text(&folder, &format!("u{n}"));
            if !fs::metadata(&text.path).is_ok_and(|m| m.len() > 0) {
                fs::write(&text.path, text.content)?;
            }
        }
        // The names once for all, and not each content: a power failure leaves what is read as if it were whole.
        replace::sync_folder(&folder.join("u1.toml"))
    }

    /// The folder of the accounts' files.
    pub fn accounts_dir(&self) -> PathBuf {
        self.dir.join("accounts")
    }

    /// The number of an account that `--accounts` makes.
    pub fn number_of(name: &str) -> Option<u32> {
        let number = name.strip_prefix('u')?.parse().ok()?;
        (name == format!("u{number}")).then_some(number)
    }

    fn check_range(&self) -> Result<(), Problem> {
        if self.port_offset > PORT_OFFSET_MAX {
            return Err(Problem::of_file(
                &self.dir,
                format!(
                    "the port offset {} is too large: at most {PORT_OFFSET_MAX}",
                    self.port_offset
                ),
            ));
        }
        Ok(())
    }

    fn read(&self) -> Result<Texts, Problems> {
        let mut problems = Vec::new();
        let folder = self.accounts_dir();
        let mut accounts = if folder.exists() {
            read_accounts(&folder, &mut problems)
        } else {
            Vec::new()
        };
        let domains_file = self.dir.join("domains.toml");
        let domains = if domains_file.exists() {
            read_text(&domains_file)
        } else {
            Ok(Text::new(domains_file, DOMAINS))
        };
        let domains = domains
            .map_err(|problem| problems.push(problem))
            .unwrap_or_else(|()| Text::new("", DOMAINS));
        if !problems.is_empty() {
            return Err(Problems(problems));
        }
        // What a start that was killed, or a power failure, left of a file of ours: there is one thing only it can have been.
        for text in accounts.iter_mut().filter(|t| t.content.is_empty()) {
            if let Some(name) = text.path.file_stem().and_then(|stem| stem.to_str())
                && (name == LOCAL_ACCOUNT || Self::number_of(name).is_some())
            {
                *text = account_text(&folder, name);
            }
        }
        let built_in = account_text(&folder, LOCAL_ACCOUNT);
        if !accounts.iter().any(|text| text.path == built_in.path) {
            accounts.push(built_in);
        }
        Ok(Texts {
            server: Text::new(self.dir.join("localserve.toml"), self.server_text()),
            domains,
            accounts,
        })
    }

    fn server_text(&self) -> String {
        let mut text = format!(
            "public_url = \"http://localhost:{}\"\n{SERVER}",
            self.port(Door::Http)
        );
        for door in [
            Door::Smtp,
            Door::Submission,
            Door::Submissions,
            Door::Imap,
            Door::Imaps,
            Door::Http,
            Door::Https,
        ] {
            let extra = match door {
                Door::Submission | Door::Imap => "allow_plain_auth = true\n",
                Door::Http => "metrics = true\nwebapi = true\nallow_plain_auth = true\n",
                Door::Https => "webapi = true\n",
                Door::Smtp => "dsn = true\n",
                _ => "",
            };
            // Writing to a String cannot fail.
            let _ = write!(
                text,
                "[listener.{}]\nport = {}\n{extra}",
                door.as_str(),
                self.port(door)
            );
        }
        text
    }
}

/// The account that gets whatever no other account has.
pub fn local_account() -> AccountName {
    LOCAL_ACCOUNT
        .parse()
        .expect("an account name in the source")
}

fn account_text(folder: &Path, name: &str) -> Text {
    Text::new(
        folder.join(format!("{name}.toml")),
        format!("addresses = [\"{name}@localhost\"]\n"),
    )
}

/// Name of the built-in account; its address is this at `localhost`.
pub const LOCAL_ACCOUNT: &str = "ringmail";
/// Password of the built-in account and the numbered ones.
pub const LOCAL_PASSWORD: &str = "ringmailringmail";
/// Added to each standard port unless the command line says otherwise.
pub const PORT_OFFSET: u16 = 1000;
/// Certificate chain of the directory.
pub const LOCAL_CERT: &str = "localhost.crt";
/// Where its mail lies in the directory.
pub const LOCAL_DATA: &str = "data";
/// Key of that certificate.
pub const LOCAL_KEY: &str = "localhost.key";
/// Key that signs mail of the built-in domain; its selector is `localserve`.
pub const LOCAL_DKIM_KEY: &str = "localhost.dkim.key";
/// Leaves room for the highest standard port, that of IMAPS.
pub const PORT_OFFSET_MAX: u16 = u16::MAX - 993;
/// Most accounts of `--accounts`: what one server is built for.
pub const ACCOUNTS_MAX: u32 = 100_000;

/// The static file without its services, whose ports depend on the offset. Limits are wide: load tests come from one address.
const SERVER: &str = r#"
data_dir = "data"
hostname = "localhost"
shutdown_grace_secs = "3s"

[queue]
keep_retired_secs = "72h"

[webhooks]
keep_webhooks_secs = "72h"
allow_networks = ["127.0.0.0/8", "::1/128"]

[storage]
segment_size_bytes = "16MiB"
disk_reserve_bytes = "64MiB"

[limits.smtp]
connections_per_minute_max = [100000000, 100000000, 100000000]
connections_open_max = [100000, 100000, 100000]
connections_per_core_max = 100000
bad_transactions_max = 1000000
unknown_recipients_max = 1000000
unknown_recipient_delay_secs = 0
auth_failures_slow_after = 1000
auth_failures_max = 1000
slow_delay_secs = 0

[limits.imap]
connections_per_minute_max = [100000000, 100000000, 100000000]
connections_open_max = [100000, 100000, 100000]
connections_per_core_max = 100000
auth_failures_slow_after = 1000
auth_failures_max = 1000
slow_delay_secs = 0

[limits.http]
connections_open_max = [100000, 100000, 100000]
requests_per_minute_max = [100000000, 100000000, 100000000]
requests_per_hour_max = [1000000000, 1000000000, 1000000000]

[limits.auth]
account_failures_per_hour_max = 1000000000
scram_sha256_iterations = 4096
scram_sha1_iterations = 4096
cram_md5 = true
failures_per_minute_max = [100000, 100000, 100000]
failures_per_day_max = [1000000, 1000000, 1000000]
cache_entries_max = 100000

[[listener]]
name = "local"
addresses = ["127.0.0.1"]
tls = { certificates = [{ cert = "localhost.crt", key = "localhost.key" }] }
"#;

/// The domains file.
const DOMAINS: &str = r#"
[postmaster]
account = "ringmail"

[domain.localhost]
separators = ["+"]
dkim.localserve.key = "localhost.dkim.key"
"#;

#[cfg(test)]
mod tests {
    use super::super::units::Bytes;
    use super::super::{Endpoint, StartTls};
    use super::*;

    fn empty_dir(name: &str) -> PathBuf {
        let dir =
            std::env::temp_dir().join(format!("ringmail-local-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        std::fs::create_dir_all(&dir).unwrap();
        dir
    }

    #[test]
    fn every_standard_port_is_there_plus_the_offset() {
        let settings = Local::new("/nowhere")
            .load()
            .unwrap_or_else(|problems| panic!("{problems}"));
        let endpoints: Vec<Endpoint> = settings.server.listener[0].endpoints();
        let ports: Vec<(&str, u16)> = endpoints
            .iter()
            .map(|e| (e.door.as_str(), e.address.port()))
            .collect();
        assert_eq!(
            ports,
            [
                ("smtp", 1025),
                ("submission", 1587),
                ("submissions", 1465),
                ("imap", 1143),
                ("imaps", 1993),
                ("http", 1080),
                ("https", 1443)
            ]
        );
        assert!(endpoints.iter().all(|e| e.address.ip().is_loopback()));
        assert!(
            endpoints
                .iter()
                .filter(|e| matches!(e.door, Door::Submission | Door::Imap))
                .all(|e| e.allow_plain_auth && e.starttls == StartTls::Offer)
        );
        assert_eq!(settings.server.data_dir, Path::new("/nowhere/data"));
        assert_eq!(settings.server.storage.segment_size_bytes, Bytes::mib(16));
        assert_eq!(settings.everything_to.unwrap().as_str(), "ringmail");
        assert!(settings.fingerprints.is_empty());
    }

    #[test]
    fn accounts_are_numbered_from_one_and_stay() {
        let dir = empty_dir("numbered");
        let local = Local::new(&dir);
        let names = || {
            let accounts = local.load().unwrap().accounts;
            accounts.keys().map(|n| n.to_string()).collect::<Vec<_>>()
        };
        local.make_accounts(3).unwrap();
        assert_eq!(names(), ["ringmail", "u1", "u2", "u3"]);
        // What is there is left alone, but for what a kill left.
        let own = "addresses = [\"one@localhost\"]\n";
        fs::write(dir.join("accounts/u1.toml"), own).unwrap();
        fs::write(dir.join("accounts/u2.toml"), "").unwrap();
        local.make_accounts(0).unwrap();
        local.make_accounts(2).unwrap();
        assert_eq!(names(), ["ringmail", "u1", "u2", "u3"]);
        let settings = local.load().unwrap();
        let address = |name: &str| settings.accounts[name].addresses[0].address.to_string();
        assert_eq!(address("u1"), "one@localhost");
        assert_eq!(address("u2"), "u2@localhost");
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn an_empty_file_of_a_built_in_account_is_what_it_was_to_be() {
        let dir = empty_dir("torn");
        let local = Local::new(&dir);
        local.make_accounts(2).unwrap();
        for name in ["ringmail", "u2"] {
            fs::write(dir.join(format!("accounts/{name}.toml")), "").unwrap();
        }
        let settings = local.load().unwrap_or_else(|problems| panic!("{problems}"));
        let address = |name: &str| settings.accounts[name].addresses[0].address.to_string();
        assert_eq!(address("ringmail"), "ringmail@localhost");
        assert_eq!(address("u2"), "u2@localhost");
        // Somebody's own file means what it says.
        fs::write(dir.join("accounts/anna.toml"), "").unwrap();
        assert!(local.load().is_err());
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn numbers_are_told_from_names() {
        assert_eq!(Local::number_of("u17"), Some(17));
        for other in ["u", "u017", "u1x", "v1", "u+1", "u99999999999"] {
            assert_eq!(Local::number_of(other), None, "{other}");
        }
    }

    #[test]
    fn files_of_the_directory_are_read_beside_the_built_in() {
        let dir = empty_dir("files");
        std::fs::create_dir(dir.join("accounts")).unwrap();
        std::fs::write(
            dir.join("accounts/anna.toml"),
            "addresses = [\"anna@localhost\"]\n",
        )
        .unwrap();
        std::fs::write(
            dir.join("accounts/u1.toml"),
            "full_name = \"One\"\naddresses = [\"u1@localhost\"]\n",
        )
        .unwrap();
        let settings = Local::new(&dir).load().unwrap();
        assert_eq!(settings.accounts.len(), 3);
        assert_eq!(settings.accounts["u1"].full_name, "One");
        assert_eq!(settings.fingerprints.len(), 2);
        std::fs::write(dir.join("domains.toml"), "nonsense = 1\n").unwrap();
        assert!(
            Local::new(&dir)
                .load()
                .unwrap_err()
                .to_string()
                .contains("domains.toml:1:1: unknown field")
        );
        std::fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn an_offset_beyond_the_last_port_is_refused() {
        assert!(
            Local {
                port_offset: 64_542,
                ..Local::new("/nowhere")
            }
            .load()
            .is_ok()
        );
        assert!(
            Local {
                port_offset: 64_543,
                ..Local::new("/nowhere")
            }
            .load()
            .is_err()
        );
    }
}

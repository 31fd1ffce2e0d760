//! The settings of `ringmail sendmail`: a small file of its own, for a machine that hands its mail to a submission server.
//! Called by `sendmail/`. The file is the administrator's: trusted, but checked as a whole before use. RFC 8314 3 (TLS unless said otherwise).
//! Not here: what a message needs (`sendmail/message.rs`), the certificates and keys that the file names (`sendmail/tls.rs`).

use std::path::{Path, PathBuf};
use std::str::FromStr;

use sasl::Mechanism;
use serde::Deserialize;

use super::load::read_text;
use super::names::DomainName;
use super::parse::{locate, parse};
use super::problem::{Problem, Problems};
pub use super::remote::{CertificateFingerprint, HostName, MechanismName};
use super::text::Text;
use super::units::{Bytes, Secs};

/// Where the file is unless `--config` says otherwise.
pub const SENDMAIL_FILE: &str = "/etc/ringmail/sendmail.toml";

/// The sample, in which every field is explained.
pub const SENDMAIL_EXAMPLE: &str = include_str!("../../config/sendmail.toml");

/// What the file says.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Sendmail {
    /// The submission server.
    pub host: HostName,
    /// Its port; see [`Sendmail::port`].
    pub port: Option<u16>,
    /// How the connection is protected.
    pub tls: SubmissionTls,
    /// Certificates (PEM) to trust instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// The one certificate to trust, whoever signed it.
    pub fingerprint: Option<CertificateFingerprint>,
    /// What EHLO says; the machine's own name or address without it.
    pub ehlo_name: Option<DomainName>,
    /// The name to log in with. None: no login by password.
    pub user: String,
    /// Its password.
    pub password: Option<Password>,
    /// A file whose first line is the password.
    pub password_file: Option<PathBuf>,
    /// Mechanisms that may be used, the best first.
    pub mechanisms: Vec<MechanismName>,
    /// A certificate (PEM) to show the server.
    pub client_cert: Option<PathBuf>,
    /// Its private key (PEM); without a certificate, one is made of it.
    pub client_key: Option<PathBuf>,
    /// Who mail is from that does not say so.
    pub sender: Option<MailAddress>,
    /// Who decides about MAIL FROM.
    pub envelope_from: Decides,
    /// Who decides about the From field.
    pub from_field: Decides,
    /// Where mail for names without a domain goes.
    pub local_recipient: Option<MailAddress>,
    /// Where mail is kept that was not sent.
    pub spool_dir: Option<PathBuf>,
    /// For one address of the server.
    pub connect_timeout_secs: Secs,
    /// For all of it.
    pub timeout_secs: Secs,
    /// Larger messages are refused.
    pub message_size_max_bytes: Bytes,
}

impl Default for Sendmail {
    fn default() -> Self {
        let mechanisms = [
            Mechanism::External,
            Mechanism::ScramSha256Plus,
            Mechanism::ScramSha256,
            Mechanism::ScramSha1Plus,
            Mechanism::ScramSha1,
            Mechanism::Plain,
        ];
        Self {
            host: HostName::default(),
            port: None,
            tls: SubmissionTls::default(),
            ca_file: None,
            fingerprint: None,
            ehlo_name: None,
            user: String::new(),
            password: None,
            password_file: None,
            mechanisms: mechanisms.map(MechanismName).to_vec(),
            client_cert: None,
            client_key: None,
            sender: None,
            envelope_from: Decides::default(),
            from_field: Decides::default(),
            local_recipient: None,
            spool_dir: None,
            connect_timeout_secs: Secs::new(30),
            timeout_secs: Secs::minutes(5),
            message_size_max_bytes: Bytes::mib(100),
        }
    }
}

impl Sendmail {
    /// Reads and checks a file. All its mistakes come back together.
    pub fn load(path: &Path) -> Result<Sendmail, Problems> {
        let text = read_text(path).map_err(|problem| match path.exists() {
            true => problem,
            false => problem.hint("ringmail sendmail --example prints a file to begin with"),
        })?;
        Sendmail::parse_and_check(&text)
    }

    /// Checks a text.
    pub fn parse_and_check(text: &Text) -> Result<Sendmail, Problems> {
        let mut problems = Vec::new();
        let model: Option<Sendmail> = parse(text, &mut problems);
        if let Some(model) = &model {
            Check {
                text,
                model,
                problems: &mut problems,
            }
            .all();
        }
        for problem in &mut problems {
            hide_password(problem);
        }
        match model {
            Some(mut model) if problems.is_empty() => {
                model.resolve_paths(&text.path);
                Ok(model)
            }
            _ => Err(Problems(problems)),
        }
    }

    /// RFC 8314 3.3 (465), RFC 6409 3.1 (587).
    pub fn port(&self) -> u16 {
        self.port.unwrap_or(match self.tls {
            SubmissionTls::Implicit => 465,
            SubmissionTls::Starttls | SubmissionTls::None => 587,
        })
    }

    /// The sender: as written, else the user's name where that is an address.
    pub fn sender(&self) -> Option<smtp::Address> {
        match &self.sender {
            Some(sender) => Some(sender.0.clone()),
            None => self.user.parse().ok(),
        }
    }

    fn resolve_paths(&mut self, file: &Path) {
        let folder = file.parent().unwrap_or(Path::new(""));
        let paths = [
            &mut self.ca_file,
            &mut self.password_file,
            &mut self.client_cert,
            &mut self.client_key,
            &mut self.spool_dir,
        ];
        for path in paths.into_iter().flatten() {
            *path = folder.join(&*path);
        }
    }
}

/// How the connection is protected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SubmissionTls {
    /// TLS from the first octet, RFC 8314 3.3.
    #[default]
    Implicit,
    /// RFC 3207; never without it.
    Starttls,
    /// Not at all: on this machine alone.
    None,
}

/// Who decides about an address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Decides {
    /// The caller; the settings only where it says nothing that can be used.
    #[default]
    Given,
    /// Always the settings.
    Sender,
}

/// A password; never shown.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "String")]
pub struct Password(pub sasl::Secret);

impl TryFrom<String> for Password {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        if text.is_empty() {
            return Err("an empty password; leave the field out to log in without one");
        }
        Ok(Self(sasl::Secret::new(text.into_bytes())))
    }
}

/// An address as SMTP writes it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct MailAddress(pub smtp::Address);

impl TryFrom<String> for MailAddress {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match smtp::Address::from_str(&text) {
            Ok(address) => Ok(Self(address)),
            Err(_) => Err(format!(
                "{text:?} is not an address: expected localpart@domain"
            )),
        }
    }
}

/// A line that may hold the password is not shown: what is printed may end in a log or a mail.
fn hide_password(problem: &mut Problem) {
    if let Some(place) = &mut problem.place
        && place.text.contains("password")
    {
        place.text = "password...".to_owned();
    }
}

struct Check<'a> {
    text: &'a Text,
    model: &'a Sendmail,
    problems: &'a mut Vec<Problem>,
}

impl Check<'_> {
    fn report(&mut self, field: &str, message: &str, hint: &str) {
        let place = locate(&self.text.content, &[field.to_owned()]).0;
        self.problems.push(Problem {
            place,
            ..Problem::of_file(&self.text.path, message).hint(hint)
        });
    }

    /// Whether a field is written, rightly or wrongly.
    fn is_written(&self, field: &str) -> bool {
        locate(&self.text.content, &[field.to_owned()]).1
    }

    fn all(&mut self) {
        if self.model.host.as_str().is_empty() && !self.is_written("host") {
            let hint = "the submission server, as in host = \"mail.example.org\"";
            self.report("host", "missing field \"host\"", hint);
        }
        self.tls();
        self.login();
        if self.model.sender().is_none() && !self.is_written("sender") {
            let hint = "the address mail is from, as in sender = \"host7@example.org\"; not needed where user is an address";
            self.report("sender", "missing field \"sender\"", hint);
        }
        self.bounds();
    }

    fn tls(&mut self) {
        let model = self.model;
        if model.ca_file.is_some() && model.fingerprint.is_some() {
            let hint =
                "a fingerprint names the one certificate that is taken; remove one of the two";
            self.report("fingerprint", "ca_file and fingerprint at once", hint);
        }
        if model.tls != SubmissionTls::None {
            return;
        }
        if !model.host.is_loopback() && !model.host.as_str().is_empty() {
            let hint = "only for localhost, 127.0.0.1 or ::1; \"implicit\" or \"starttls\" for any other host";
            self.report("tls", "mail and password would go unprotected", hint);
        }
        for (field, there) in [
            ("ca_file", model.ca_file.is_some()),
            ("fingerprint", model.fingerprint.is_some()),
            ("client_cert", model.client_cert.is_some()),
            ("client_key", model.client_key.is_some()),
        ] {
            if there {
                self.report(
                    field,
                    "of no use with tls = \"none\"",
                    "remove it, or choose \"implicit\" or \"starttls\"",
                );
            }
        }
        let hidden = |name: &MechanismName| {
            !name.0.reveals_password()
                && !name.0.needs_channel_binding()
                && name.0 != Mechanism::External
        };
        if !model.user.is_empty() && !model.mechanisms.iter().any(hidden) {
            let hint = "without TLS there are SCRAM-SHA-256, SCRAM-SHA-1 and CRAM-MD5";
            self.report("mechanisms", "none of these works without TLS", hint);
        }
    }

    fn login(&mut self) {
        let model = self.model;
        let has_password = model.password.is_some() || model.password_file.is_some();
        if model.password.is_some() && model.password_file.is_some() {
            let hint = "remove one of the two";
            self.report("password_file", "password and password_file at once", hint);
        }
        let written = self.is_written("password") || self.is_written("password_file");
        if has_password && model.user.is_empty() && !self.is_written("user") {
            let hint = "the name to log in with, usually the address";
            self.report("user", "missing field \"user\"", hint);
        }
        if !model.user.is_empty() && !written && model.client_key.is_none() {
            let hint = "password, password_file, or client_key";
            self.report("user", "a user without a password", hint);
        }
        if model.user.chars().any(char::is_control) {
            self.report("user", "a control character in it", "remove it");
        }
        if model.client_cert.is_some() && model.client_key.is_none() {
            let hint = "its private key; a key alone is enough, a certificate alone is not";
            self.report("client_cert", "a certificate without client_key", hint);
        }
        if model.mechanisms.is_empty() && !model.user.is_empty() {
            let hint = "remove the field for the default";
            self.report("mechanisms", "no mechanism at all", hint);
        }
    }

    fn bounds(&mut self) {
        let model = self.model;
        for (field, secs) in [
            ("connect_timeout_secs", model.connect_timeout_secs),
            ("timeout_secs", model.timeout_secs),
        ] {
            if secs < Secs::new(1) || secs > Secs::minutes(60) {
                self.report(field, "out of bounds", "from \"1s\" to \"1h\"");
            }
        }
        let size = model.message_size_max_bytes;
        if size < Bytes::kib(1) || size > Bytes::gib(1) {
            let hint = "from \"1KiB\" to \"1GiB\": a message is held in memory";
            self.report("message_size_max_bytes", "out of bounds", hint);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(content: &str) -> Result<Sendmail, Problems> {
        Sendmail::parse_and_check(&Text::new("/etc/s/sendmail.toml", content))
    }

    fn uncommented() -> String {
        let lines = SENDMAIL_EXAMPLE.lines().map(|line| {
            let shown = line
                .strip_prefix('#')
                .filter(|rest| rest.starts_with(|c: char| c.is_ascii_lowercase()));
            shown.unwrap_or(line).to_owned() + "\n"
        });
        lines.collect()
    }

    /// What the whole sample shows beside each other does not go together.
    fn without(content: &str, fields: &[&str]) -> String {
        let lines = content.lines().filter(|line| {
            !fields
                .iter()
                .any(|field| line.starts_with(&format!("{field} = ")))
        });
        lines.map(|line| format!("{line}\n")).collect()
    }

    #[test]
    fn the_sample_is_right_and_shows_every_field() {
        parsed(SENDMAIL_EXAMPLE).unwrap_or_else(|e| panic!("{e}"));
        let all = uncommented();
        let whole = without(&all, &["fingerprint", "password_file"]);
        parsed(&whole).unwrap_or_else(|e| panic!("{e}"));
        // serde names all fields when one is unknown.
        let error = toml::from_str::<Sendmail>("nonsense = 1").unwrap_err();
        let fields: Vec<&str> = error.message().split('`').skip(3).step_by(2).collect();
        assert_eq!(fields.len(), 20);
        let written: toml::Table = all.parse().unwrap();
        for field in fields {
            assert!(written.contains_key(field), "{field} is not shown");
        }
    }

    #[test]
    fn the_sample_shows_the_defaults() {
        let shown: Sendmail = toml::from_str(&uncommented()).unwrap();
        let default = Sendmail::default();
        assert_eq!(shown.tls, default.tls);
        assert_eq!(shown.port(), default.port());
        assert_eq!(shown.mechanisms, default.mechanisms);
        assert_eq!(shown.envelope_from, default.envelope_from);
        assert_eq!(shown.from_field, default.from_field);
        assert_eq!(shown.connect_timeout_secs, default.connect_timeout_secs);
        assert_eq!(shown.timeout_secs, default.timeout_secs);
        assert_eq!(shown.message_size_max_bytes, default.message_size_max_bytes);
    }

    #[test]
    fn paths_begin_at_the_file_and_ports_follow_tls() {
        let model = parsed(
            "host = \"A.Example\"\nuser = \"u@a.example\"\npassword_file = \"secret\"\ntls = \"starttls\"\n",
        )
        .unwrap();
        assert_eq!(model.host.as_str(), "a.example");
        assert_eq!(model.port(), 587);
        assert_eq!(model.password_file, Some("/etc/s/secret".into()));
        assert_eq!(model.sender().unwrap().to_string(), "u@a.example");
        assert_eq!(
            parsed("host = \"::1\"\nsender = \"a@b\"").unwrap().port(),
            465
        );
    }

    #[test]
    fn mistakes_are_named_with_their_line() {
        for (content, expected) in [
            ("sender = \"a@b\"", "missing field \"host\""),
            (
                "host = \"a_b-\"\nsender = \"a@b\"",
                "sendmail.toml:1:8: \"a_b-\" is neither",
            ),
            (
                "host = \"a.b\"\nsendr = \"a@b\"\nuser = \"a@b\"\npassword = \"x\"",
                "did you mean sender?",
            ),
            ("host = \"a.b\"", "missing field \"sender\""),
            (
                "host = \"a.b\"\nsender = \"anna\"",
                "sendmail.toml:2:10: \"anna\" is not an address",
            ),
            (
                "host = \"a.b\"\nsender = \"a@b\"\ntls = \"none\"",
                "sendmail.toml:3:1: mail and password would go unprotected",
            ),
            (
                "host = \"a.b\"\nsender = \"a@b\"\ntls = \"start\"",
                "allowed here: implicit, starttls, none",
            ),
            (
                "host = \"::1\"\ntls = \"none\"\nca_file = \"x\"\nsender = \"a@b\"",
                "of no use",
            ),
            (
                "host = \"::1\"\ntls = \"none\"\nuser = \"a@b\"\npassword = \"x\"\nmechanisms = [\"PLAIN\"]",
                "none of these works without TLS",
            ),
            (
                "host = \"a.b\"\nuser = \"a@b\"",
                "a user without a password",
            ),
            (
                "host = \"a.b\"\nsender = \"a@b\"\npassword = \"x\"",
                "missing field \"user\"",
            ),
            (
                "host = \"a.b\"\nuser = \"a@b\"\npassword = \"\"",
                "an empty password",
            ),
            (
                "host = \"a.b\"\nuser = \"a@b\"\npassword = \"x\"\npassword_file = \"y\"",
                "at once",
            ),
            (
                "host = \"a.b\"\nsender = \"a@b\"\nclient_cert = \"y\"",
                "without client_key",
            ),
            (
                "host = \"a.b\"\nsender = \"a@b\"\nfingerprint = \"aa:bb\"",
                "no SHA-256 fingerprint",
            ),
            (
                "host = \"a.b\"\nsender = \"a@b\"\nmechanisms = [\"XOAUTH2\"]",
                "there are SCRAM-SHA-256-PLUS",
            ),
            (
                "host = \"a.b\"\nsender = \"a@b\"\ntimeout_secs = \"0s\"",
                "from \"1s\" to \"1h\"",
            ),
            (
                "host = \"a.b\"\nsender = \"a@b\"\nmessage_size_max_bytes = \"2GiB\"",
                "from \"1KiB\" to \"1GiB\"",
            ),
            (
                "host = \"a.b\"\nsender = \"a@b\"\nport = 70000",
                "a number from 0 to 65535",
            ),
        ] {
            let problems = parsed(content).unwrap_err();
            assert_eq!(problems.0.len(), 1, "{content}: {problems}");
            assert!(
                problems.to_string().contains(expected),
                "{content}: {problems}"
            );
        }
    }

    #[test]
    fn a_password_is_in_no_message() {
        for content in [
            "host = \"a.b\"\nuser = \"a@b\"\npassword = \"geheim\"\npassword_file = \"geheim\"",
            "host = \"a.b\"\nuser = \"a@b\"\npassword = \"geheim",
            "host = \"a.b\"\nuser = \"a@b\"\npasswort = \"geheim\"\npassword = [\"geheim\"]",
        ] {
            let problems = parsed(content).unwrap_err();
            let shown = problems.to_string().replace("passwort = \"geheim\"", "");
            assert!(!shown.contains("geheim"), "{shown}");
        }
        let model = parsed("host = \"a.b\"\nuser = \"a@b\"\npassword = \"geheim\"").unwrap();
        assert!(!format!("{model:?}").contains("geheim"));
    }

    #[test]
    fn a_fingerprint_is_read_as_openssl_writes_it() {
        let written: Vec<String> = (0..32).map(|n| format!("{n:02X}")).collect();
        let with = CertificateFingerprint::try_from(written.join(":")).unwrap();
        let bare = CertificateFingerprint::try_from(written.concat().to_lowercase()).unwrap();
        assert_eq!(with, bare);
        assert_eq!(with.to_string(), written.join(":"));
        assert!(CertificateFingerprint::try_from("é".repeat(32)).is_err());
    }
}

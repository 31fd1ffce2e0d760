//! What texts alone cannot tell: whether this machine has the CPUs and the files they name. Asked by `serve` before it starts and by
//! `config check`, which may run elsewhere than the server will: the hints say so. A reload does not ask: it keeps what it has.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use sasl::Secret;
use shards::tls::{OldestTls, TlsError, load_tls};

use super::dkim::read_key;
use super::listener::Listener;
use super::load::read_text;
use super::model::Settings;
use super::oauth::Oauth;
use super::parse::locate;
use super::problem::{PROBLEMS_SHOWN_MAX, Problem, Problems};
use super::server::{HttpCore, Server, ShardCores};
use super::text::Text;

/// Compares settings, just loaded from this static file, with the machine. Reads certificates and keys (blocking).
pub fn check_machine(settings: &Settings, server_file: &Path) -> Result<(), Problems> {
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    let mut problems = problems(settings, &read_text(server_file)?, cpus);
    problems.extend(dkim_keys(settings, || {
        read_text(&settings.server.domains_file)
    }));
    if problems.is_empty() {
        return Ok(());
    }
    Err(Problems(problems))
}

fn problems(settings: &Settings, text: &Text, cpus: usize) -> Vec<Problem> {
    let server = &settings.server;
    let mut problems = Vec::new();
    let missing = |cpu: u32| cpu as usize >= cpus;
    let range = match cpus {
        1 => "this machine has CPU 0 alone".to_owned(),
        n => format!("this machine has CPUs 0 to {}", n - 1),
    };
    let cpus_hint = "the machine that the server runs on must have it; \"auto\" fits any";
    match &server.cores.shards {
        ShardCores::Count(count) if *count as usize > cpus => problems.push(at(
            text,
            &["cores", "shards"],
            format!("{count} cores are more than this machine has CPUs ({cpus})"),
            "the machine that the server runs on must have as many; \"auto\" fits any",
        )),
        ShardCores::Cpus(list) => {
            let beyond = list.iter().enumerate().filter(|(_, cpu)| missing(**cpu));
            problems.extend(beyond.map(|(n, cpu)| {
                let message = format!("there is no CPU {cpu}: {range}");
                at(
                    text,
                    &["cores", "shards", &n.to_string()],
                    message,
                    cpus_hint,
                )
            }));
        }
        _ => (),
    }
    if let HttpCore::Cpu(cpu) = server.cores.http
        && missing(cpu)
    {
        let message = format!("there is no CPU {cpu}: {range}");
        problems.push(at(text, &["cores", "http"], message, cpus_hint));
    }
    for (n, listener) in server.listener.iter().enumerate() {
        problems.extend(certificates(text, &n.to_string(), listener));
    }
    if let Some(file) = &server.tls_policy.ca_file
        && let Err(error) = read_authorities(Some(file))
    {
        let hint = "the server does not start without it: a PEM file of authorities, on the machine and for the user that the server runs as";
        problems.push(at(text, &["tls_policy", "ca_file"], error, hint));
    }
    if let Some(oauth) = &server.oauth {
        problems.extend(provider_files(text, oauth));
    }
    problems.extend(outbound_files(text, server));
    problems
}

fn certificates(text: &Text, listener_at: &str, listener: &Listener) -> Vec<Problem> {
    let pairs = listener.tls.iter().flat_map(|tls| &tls.certificates);
    let wrong = pairs.enumerate().filter_map(|(n, pair)| {
        let files = [(pair.cert.clone(), pair.key.clone())];
        let error = load_tls(&files, OldestTls::V1_2).err()?;
        let (field, hint) = match &error {
            // Both may lie in one file.
            TlsError::File { path, what }
                if *path == pair.cert && !what.contains("private key") =>
            {
                ("cert", CERT_HINT)
            }
            TlsError::File { .. } => ("key", KEY_HINT),
            TlsError::Pair { .. } => ("key", PAIR_HINT),
        };
        let place = [
            "listener",
            listener_at,
            "tls",
            "certificates",
            &n.to_string(),
            field,
        ];
        Some(at(text, &place, error.to_string(), hint))
    });
    wrong.collect()
}

/// The keys that sign mail. The text of the domains file is asked for only where something is wrong.
fn dkim_keys(settings: &Settings, text: impl Fn() -> Result<Text, Problem>) -> Vec<Problem> {
    let domains = settings.domains.domain.iter();
    let selectors =
        domains.flat_map(|(name, d)| d.dkim.iter().map(move |(s, table)| (name, s, table)));
    let mut problems = Vec::new();
    let mut found = None;
    for (domain, selector, table) in selectors {
        let Err(error) = read_key(&table.key) else {
            continue;
        };
        let path = ["domain", domain.as_str(), "dkim", selector.as_str(), "key"];
        problems.push(match found.get_or_insert_with(&text) {
            // Finding a place parses the file again: done for as many as are shown.
            Ok(text) if problems.len() < PROBLEMS_SHOWN_MAX => at(text, &path, error, SIGNER_HINT),
            _ => Problem::of_file(&settings.server.domains_file, error),
        });
    }
    problems
}

fn provider_files(text: &Text, oauth: &Oauth) -> Vec<Problem> {
    let secret = oauth.client_secret_file.as_deref().map(read_client_secret);
    let secret = secret.and_then(Result::err).map(|error| {
        let hint = "the server does not start without it: a file with the secret alone, on the machine and for the user that the server runs as";
        at(text, &["oauth", "client_secret_file"], error, hint)
    });
    let open = oauth.client_secret_file.as_deref().and_then(open_to_others);
    let open = open.map(|what| at(text, &["oauth", "client_secret_file"], what, SECRET_HINT));
    let secret = secret.or(open);
    let authorities = read_authorities(oauth.ca_file.as_deref()).err();
    let authorities = authorities.map(|error| {
        let hint = "the server does not start without it: a PEM file of authorities, on the machine and for the user that the server runs as";
        at(text, &["oauth", "ca_file"], error, hint)
    });
    secret.into_iter().chain(authorities).collect()
}

/// Files of transports.
fn outbound_files(text: &Text, server: &Server) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (name, transport) in &server.transport {
        let mut check = |field, result: Option<Result<(), String>>| {
            if let Some(Err(error)) = result {
                let path = ["transport", name, field];
                problems.push(at(text, &path, error, TRANSPORT_HINT));
            }
        };
        for (field, path) in [
            ("password_file", &transport.password_file),
            ("proxy_password_file", &transport.proxy_password_file),
        ] {
            let path = path.as_deref();
            check(field, path.map(|p| read_client_secret(p).map(|_| ())));
        }
        for (field, path) in [
            ("ca_file", &transport.ca_file),
            ("client_cert", &transport.client_cert),
        ] {
            let path = path.as_deref();
            check(field, path.map(|p| read_authorities(Some(p)).map(|_| ())));
        }
        let key = transport.client_key.as_deref().map(|path| {
            let key = PrivateKeyDer::from_pem_file(path);
            key.map(|_| ())
                .map_err(|e| format!("{}: {e}", path.display()))
        });
        let key_is_read = matches!(key, Some(Ok(())));
        check("client_key", key);
        for (field, path) in [
            ("password_file", &transport.password_file),
            ("client_key", &transport.client_key),
        ] {
            if let Some(what) = path.as_deref().and_then(open_to_others) {
                problems.push(at(text, &["transport", name, field], what, SECRET_HINT));
            }
        }
        if let (Some(cert), Some(key)) = (&transport.client_cert, &transport.client_key)
            && key_is_read
            && let Err(error @ TlsError::Pair { .. }) =
                load_tls(&[(cert.clone(), key.clone())], OldestTls::V1_2)
        {
            let path = ["transport", name, "client_key"];
            problems.push(at(text, &path, error.to_string(), CLIENT_PAIR_HINT));
        }
    }
    problems
}

/// What is wrong with the mode of a file with a secret. That it is not there is said elsewhere.
fn open_to_others(path: &Path) -> Option<String> {
    let metadata = std::fs::metadata(path).ok()?;
    (metadata.mode() & 0o077 != 0).then(|| {
        format!(
            "{}: others than its owner may read or write it",
            path.display()
        )
    })
}

/// The secret in a file, without the end of its line (blocking).
pub fn read_client_secret(path: &Path) -> Result<Secret, String> {
    let told = |what: String| format!("{}: {what}", path.display());
    let length = std::fs::metadata(path).map_err(|e| told(e.to_string()))?;
    if length.len() > SECRET_MAX {
        return Err(told(format!("more than {SECRET_MAX} octets")));
    }
    let octets = Secret::new(std::fs::read(path).map_err(|e| told(e.to_string()))?);
    let text = octets
        .as_str()
        .unwrap_or_default()
        .trim_end_matches(['\r', '\n']);
    match text.is_empty() || text.contains(char::is_control) {
        true => Err(told("not one line of text".to_owned())),
        false => Ok(Secret::from(text.as_bytes())),
    }
}

/// The certificates of authorities in a file, or of those that the machine trusts (blocking).
pub fn read_authorities(path: Option<&Path>) -> Result<Vec<CertificateDer<'static>>, String> {
    let known = || SYSTEM_BUNDLES.iter().map(Path::new).find(|p| p.exists());
    let path = path.or_else(known).ok_or(
        "this machine has no list of certificate authorities: install ca-certificates, or set ca_file",
    )?;
    let found = CertificateDer::pem_file_iter(path)
        .and_then(|certificates| certificates.collect::<Result<Vec<_>, _>>())
        .map_err(|e| format!("{}: {e}", path.display()))?;
    match found.is_empty() {
        true => Err(format!("{}: no certificate in it", path.display())),
        false => Ok(found),
    }
}

fn at(text: &Text, path: &[&str], message: String, hint: &str) -> Problem {
    let path: Vec<String> = path.iter().map(|step| (*step).to_owned()).collect();
    Problem {
        place: locate(&text.content, &path).0,
        ..Problem::of_file(&text.path, message).hint(hint)
    }
}

/// Where distributions keep the authorities that the machine trusts: Debian and its kin, Fedora and its kin, SUSE, Alpine.
pub const SYSTEM_BUNDLES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];
/// Octets of a file with a secret.
const SECRET_MAX: u64 = 4096;
const TRANSPORT_HINT: &str = "the server does not start without it: a file on the machine, for the user that the server runs as";
const CERT_HINT: &str = "the server does not start without it: a PEM file with the certificate and its chain, on the machine and for the user that the server runs as";
const KEY_HINT: &str = "the server does not start without it: a PEM file with the certificate's private key, on the machine and for the user that the server runs as";
const SIGNER_HINT: &str = "the server does not start without it: a PEM file with an RSA key of 2048 bits or more, or an Ed25519 key, mode 0600, of the user that the server runs as; ringmail dkim gen makes one";
const SECRET_HINT: &str = "give it to the user that the server runs as, with mode 0600";
const CLIENT_PAIR_HINT: &str = "the server does not start with them: client_cert and client_key of one transport belong together; client_key alone does without a certificate";
const PAIR_HINT: &str =
    "the server does not start with them: cert and key of one pair belong together";

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    use super::super::check::parse_and_check;
    use super::super::text::Texts;
    use super::*;

    const LISTENER: &str = "[[listener]]\nname = \"a\"\naddresses = [\"127.0.0.1\"]\nsmtp = {}\n";

    /// Line and message of each problem on a machine with two CPUs.
    fn found(server: &str, folder: &Path) -> Vec<String> {
        let texts = Texts {
            server: Text::new(
                folder.join("ringmail.toml"),
                format!("data_dir = \"d\"\nhostname = \"a.example\"\n{server}"),
            ),
            domains: Text::new(
                "d",
                "[postmaster]\naccount = \"a\"\n[domain.\"b.example\"]\n",
            ),
            accounts: vec![Text::new("a.toml", "addresses = [\"a@b.example\"]\n")],
        };
        let settings = parse_and_check(&texts).unwrap_or_else(|p| panic!("{p}"));
        problems(&settings, &texts.server, 2)
            .iter()
            .map(|p| {
                format!(
                    "{}: {}",
                    p.place.as_ref().map_or(0, |at| at.line),
                    p.message
                )
            })
            .collect()
    }

    #[test]
    fn cpus_that_are_not_there_are_found() {
        let cores = |text: &str| found(&format!("[cores]\n{text}\n{LISTENER}"), Path::new("/"));
        for right in [
            "shards = 2",
            "shards = [1, 0]",
            "http = 1",
            "http = \"auto\"",
        ] {
            assert_eq!(cores(right), [""; 0], "{right}");
        }
        assert_eq!(
            cores("shards = 99"),
            ["4: 99 cores are more than this machine has CPUs (2)"]
        );
        assert_eq!(
            cores("shards = [0, 77]\nhttp = 64"),
            [
                "4: there is no CPU 77: this machine has CPUs 0 to 1",
                "5: there is no CPU 64: this machine has CPUs 0 to 1"
            ]
        );
    }

    /// `name.crt` and `name.key`, which belong together.
    fn make_pair(dir: &Path, name: &str) {
        let made = rcgen::generate_simple_self_signed(["a.example".to_owned()]).unwrap();
        let pem = |label: &str, der: &[u8]| {
            use base64::Engine as _;
            let text = base64::engine::general_purpose::STANDARD.encode(der);
            format!("-----BEGIN {label}-----\n{text}\n-----END {label}-----\n")
        };
        let (cert, key) = (made.cert.der(), made.signing_key.serialize_der());
        fs::write(dir.join(format!("{name}.crt")), pem("CERTIFICATE", cert)).unwrap();
        fs::write(dir.join(format!("{name}.key")), pem("PRIVATE KEY", &key)).unwrap();
        fs::set_permissions(
            dir.join(format!("{name}.key")),
            Permissions::from_mode(0o600),
        )
        .unwrap();
    }

    #[test]
    fn files_of_a_transport_are_read() {
        let dir = std::env::temp_dir().join(format!("ringmail-transport-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        make_pair(&dir, "a");
        make_pair(&dir, "b");
        fs::write(dir.join("word"), "word\n").unwrap();
        let told = |fields: &str| {
            let transport = format!(
                "{LISTENER}[transport.out]\nkind = \"smarthost\"\nhost = \"mx.example\"\n{fields}"
            );
            found(&transport, &dir)
        };
        let mode = |name: &str, mode| {
            fs::set_permissions(dir.join(name), Permissions::from_mode(mode)).unwrap();
        };
        let password = "user = \"a\"\npassword_file = \"word\"\n";
        let key = "client_cert = \"a.crt\"\nclient_key = \"a.key\"\n";
        for (fields, name, line) in [(password, "word", 11), (key, "a.key", 11)] {
            for open in [0o644, 0o640, 0o604, 0o620] {
                mode(name, open);
                let expected = format!(
                    "{line}: {}: others than its owner may read or write it",
                    dir.join(name).display()
                );
                assert_eq!(told(fields), [expected], "{open:o}");
            }
            mode(name, 0o600);
            assert_eq!(told(fields), [""; 0]);
        }
        let problems = told("client_cert = \"a.crt\"\nclient_key = \"b.key\"\n");
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(problems[0].starts_with("11: "), "{problems:?}");
        assert!(
            problems[0].ends_with("b.key: the key is not that of the certificate"),
            "{problems:?}"
        );
        assert_eq!(told("client_key = \"b.key\"\n"), [""; 0]);
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn certificates_are_read_with_their_keys() {
        let dir = std::env::temp_dir().join(format!("ringmail-machine-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        make_pair(&dir, "a");
        make_pair(&dir, "b");
        let tls = |cert: &str, key: &str| {
            let text = format!(
                "{LISTENER}[listener.tls]\ncertificates = [\n  {{ cert = \"{cert}\", key = \"{key}\" }},\n]\n"
            );
            found(&text, &dir)
        };
        assert_eq!(tls("a.crt", "a.key"), [""; 0]);
        for (cert, key, words) in [
            ("none.crt", "a.key", "none.crt: No such file"),
            ("a.crt", "none.key", "none.key: No such file"),
            ("a.key", "a.key", "a.key: no certificate in it"),
            ("a.crt", "a.crt", "a.crt: no private key in it"),
            (
                "a.crt",
                "b.key",
                "b.key: the key is not that of the certificate",
            ),
        ] {
            let problems = tls(cert, key);
            assert_eq!(problems.len(), 1, "{problems:?}");
            assert!(problems[0].starts_with("9: "), "{problems:?}");
            assert!(problems[0].contains(words), "{problems:?}");
        }
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn authorities_of_other_servers_are_read() {
        let with = |file: &str| {
            let table = format!("{LISTENER}[tls_policy]\nca_file = \"{file}\"\n");
            found(&table, Path::new("/"))
        };
        let problems = with("none.pem");
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(problems[0].starts_with("8: ") && problems[0].contains("none.pem: "));
    }

    #[test]
    fn keys_that_sign_mail_are_read() {
        let dir = std::env::temp_dir().join(format!("ringmail-signers-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let key = dkim::generate::ed25519_key(&mut |octets| octets.fill(7));
        let small = "-----BEGIN PRIVATE KEY-----\nMIIB\n-----END PRIVATE KEY-----\n";
        let told = |name: &str, content: &str, mode| {
            let path = dir.join(name);
            fs::write(&path, content).unwrap();
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            let text = format!(
                "[postmaster]\naccount = \"a\"\n[domain.\"b.example\".dkim.s1]\nkey = \"{name}\"\n[domain.\"b.example\".dkim.s2]\nkey = \"none\"\nsign = false\n"
            );
            let texts = Texts {
                server: Text::new(
                    "r",
                    format!("data_dir = \"d\"\nhostname = \"a.example\"\n{LISTENER}"),
                ),
                domains: Text::new(dir.join("domains.toml"), text),
                accounts: vec![Text::new("a.toml", "addresses = [\"a@b.example\"]\n")],
            };
            let settings = parse_and_check(&texts).unwrap_or_else(|p| panic!("{p}"));
            let problems = dkim_keys(&settings, || Ok(texts.domains.clone()));
            let line = |p: &Problem| format!("{}: {}", p.place.as_ref().unwrap().line, p.message);
            problems.iter().map(line).collect::<Vec<_>>()
        };
        let none = format!(
            "6: {}: No such file or directory (os error 2)",
            dir.join("none").display()
        );
        assert_eq!(told("good", &key, 0o600), std::slice::from_ref(&none));
        for (content, mode, words) in [
            (
                key.as_str(),
                0o640,
                "others than its owner may read or write it",
            ),
            ("word", 0o600, "not a private key in PEM"),
            (small, 0o600, "the private key is damaged"),
        ] {
            let problems = told("bad", content, mode);
            let expected = format!("4: {}: {words}", dir.join("bad").display());
            assert_eq!(problems, [expected, none.clone()]);
        }
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn files_about_a_provider_are_read() {
        let dir = std::env::temp_dir().join(format!("ringmail-provider-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let with = |name: &str, content: &str| {
            fs::write(dir.join("secret"), content).unwrap();
            let oauth = format!(
                "{LISTENER}[oauth]\nissuer = \"https://a.example\"\naudiences = [\"a\"]\n{name} = \"secret\"\n"
            );
            found(&oauth, &dir)
        };
        let told = |mode| {
            fs::write(dir.join("secret"), "").unwrap();
            fs::set_permissions(dir.join("secret"), Permissions::from_mode(mode)).unwrap();
            with("client_secret_file", "word\r\n")
        };
        for mode in [0o644, 0o640, 0o604] {
            let problems = told(mode);
            assert_eq!(problems.len(), 1, "{mode:o} {problems:?}");
            assert!(problems[0].ends_with("others than its owner may read or write it"));
        }
        assert_eq!(told(0o600), [""; 0]);
        let long = "x".repeat(5000);
        for (content, words) in [
            ("", "secret: not one line of text"),
            ("\n", "secret: not one line of text"),
            ("two\nlines\n", "secret: not one line of text"),
            (long.as_str(), "secret: more than 4096 octets"),
        ] {
            let problems = with("client_secret_file", content);
            assert_eq!(problems.len(), 1, "{problems:?}");
            assert!(problems[0].starts_with("10: "), "{problems:?}");
            assert!(problems[0].ends_with(words), "{problems:?}");
        }
        let problems = with("ca_file", "word\n");
        assert!(
            problems[0].starts_with("10: ")
                && problems[0].ends_with("secret: no certificate in it")
        );
        fs::remove_dir_all(&dir).unwrap();
        assert!(found(&format!("{LISTENER}[oauth]\nissuer = \"https://a.example\"\naudiences = [\"a\"]\nclient_secret_file = \"none\"\n"), &dir)[0]
            .contains("none: No such file"));
    }
}

//! DKIM: keys are made, checked and reloaded.

use std::net::UdpSocket;
use std::os::unix::fs::PermissionsExt;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ::dkim::{KeyRecord, SigningKey, generate};

use crate::folder::Folder;
use crate::program::Ran;

fn ed25519(seed: u8) -> String {
    generate::ed25519_key(&mut |octets| octets.fill(seed)).to_string()
}

const DOMAINS: &str = "
[postmaster]
account = \"anna\"
[domain.\"example.test\"]
";

/// Says these strings to each question for TXT.
struct Zone {
    port: u16,
    text: Arc<Mutex<Option<String>>>,
}

impl Zone {
    fn new() -> Zone {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let port = socket.local_addr().unwrap().port();
        let text = Arc::new(Mutex::new(None::<String>));
        let said = text.clone();
        std::thread::spawn(move || {
            let mut query = [0; 600];
            while let Ok((length, peer)) = socket.recv_from(&mut query) {
                let text = said.lock().unwrap().clone();
                let (rcode, count) = if text.is_some() { (0, 1) } else { (3, 0) };
                let end = 12 + query[12..length].iter().position(|o| *o == 0).unwrap() + 5;
                let mut message = query[..2].to_vec();
                message.extend([0x81, 0xa0 | rcode, 0, 1, 0, count, 0, 0, 0, 0]);
                message.extend(&query[12..end]);
                if let Some(text) = text {
                    let strings = text.as_bytes().chunks(255);
                    let data: Vec<u8> = strings
                        .flat_map(|s| [&[s.len() as u8], s].concat())
                        .collect();
                    message.extend([0xc0, 12, 0, 16, 0, 1, 0, 0, 0, 60]);
                    message.extend((data.len() as u16).to_be_bytes());
                    message.extend(data);
                }
                socket.send_to(&message, peer).unwrap();
            }
        });
        Zone { port, text }
    }

    fn say(&self, text: &str) {
        *self.text.lock().unwrap() = Some(text.to_string());
    }
}

/// The strings of a zone file's record, joined.
fn joined(zone_text: &str) -> String {
    zone_text.split('"').skip(1).step_by(2).collect()
}

#[test]
fn a_key_is_made_published_and_put_in_force() {
    let zone = Zone::new();
    let dns = format!(
        "[dns]\nservers = [\"127.0.0.1:{}\"]\nnegative_ttl_max_secs = 0\nttl_max_secs = 0\n",
        zone.port
    );
    let folder = Folder::new(DOMAINS, &dns);
    std::fs::create_dir(folder.at("accounts")).unwrap();
    std::fs::write(
        folder.at("accounts/anna.toml"),
        "addresses = [\"anna@example.test\"]\n",
    )
    .unwrap();
    let done = |ran: Ran| {
        assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
        ran.out
    };
    let refused = folder.run(&["dkim", "record", "example.test"]);
    assert!(
        refused.err.contains("example.test has no DKIM selector"),
        "{}",
        refused.err
    );
    let mut domains = DOMAINS.to_string();
    for (words, described) in [
        (&["2026a"][..], "RSA, 2048 bits"),
        (&["2026b", "--ed25519"], "Ed25519"),
    ] {
        let words = [&["dkim", "gen", "Example.TEST"], words].concat();
        let told = done(folder.run(&words));
        assert!(
            told.starts_with(&format!("The key ({described}) is ")),
            "{told}"
        );
        let path = folder.at(&format!("dkim/{}._domainkey.example.test.pem", words[3]));
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        let before = std::fs::read(&path).unwrap();
        let again = folder.run(&words);
        assert_eq!(again.code, 1);
        assert!(
            again.err.contains("is there already and is left as it is"),
            "{}",
            again.err
        );
        assert_eq!(std::fs::read(&path).unwrap(), before);
        let lines: Vec<&str> = told.lines().collect();
        let table = lines
            .iter()
            .position(|line| line.starts_with("[domain."))
            .unwrap();
        domains += &format!("{}\n{}\n", lines[table], lines[table + 1]);
    }
    for wrong in [
        &["--rsa", "--ed25519"][..],
        &["--ed25519", "--bits", "2048"],
        &["--bits", "1024"],
    ] {
        let words = [&["dkim", "gen", "example.test", "x"], wrong].concat();
        assert_ne!(folder.run(&words).code, 0, "{wrong:?}");
    }
    std::fs::write(folder.at("domains.toml"), &domains).unwrap();
    done(folder.run(&["config", "check"]));
    let again = folder.run(&["dkim", "gen", "example.test", "2026a"]);
    assert!(
        again.err.contains("a new key needs a new selector"),
        "{}",
        again.err
    );

    let record = done(folder.run(&["dkim", "record", "example.test", "2026a"]));
    assert!(
        record.starts_with(
            "2026a._domainkey.example.test. IN TXT (\n\t\"v=DKIM1; h=sha256; k=rsa; p=MII"
        ),
        "{record}"
    );
    let other = joined(&done(folder.run(&[
        "dkim",
        "record",
        "sub.example.test",
        "2026b",
    ])));
    let check = |selector: &str| folder.run(&["dkim", "check", "example.test", selector]);
    let missing = check("2026a");
    assert_eq!(missing.code, 1);
    let told = "2026a._domainkey.example.test (RSA, 2048 bits, signs): there is no such name\n  it should be: \"v=DKIM1; ";
    assert!(missing.out.starts_with(told), "{}", missing.out);
    zone.say(&joined(&record));
    assert!(done(check("2026a")).contains(": the record fits the key (DNSSEC proves it; holds "));
    let differs = check("2026b");
    assert_eq!(differs.code, 1);
    assert!(
        differs
            .out
            .contains("(Ed25519, signs): inappropriate key algorithm\n  in DNS: \"v=DKIM1; "),
        "{}",
        differs.out
    );
    zone.say(&other);
    let all = folder.run(&["dkim", "check", "--json", "example.test"]);
    let fits: Vec<bool> = all
        .out
        .lines()
        .map(|line| {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            line["fits"].as_bool().unwrap()
        })
        .collect();
    assert_eq!((all.code, fits), (1, vec![false, true]), "{}", all.err);

    // In force; a key that is bad at a reload keeps the one before, and keeps a server from starting.
    let key = folder.at("dkim/2026b._domainkey.example.test.pem");
    {
        let _serving = folder.serve();
        done(folder.run(&["reload"]));
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
        let kept = folder.run(&["reload"]);
        assert_eq!(kept.code, 1);
        let said = "others than its owner may read or write it; the key in use is kept";
        assert!(
            kept.out
                .contains("Failed: DKIM selector 2026b of example.test: ")
                && kept.out.contains(said),
            "{}",
            kept.out
        );
        std::fs::write(
            folder.at("domains.toml"),
            domains.replace("2026b]", "2026c]"),
        )
        .unwrap();
        let refused = folder.run(&["reload"]);
        assert_eq!(refused.code, 1);
        assert!(
            refused
                .err
                .contains("DKIM selector 2026c of example.test: "),
            "{}",
            refused.err
        );
        std::fs::write(folder.at("domains.toml"), &domains).unwrap();
        done(folder.run(&["stop"]));
    }
    let refused = folder.run(&["config", "check"]);
    let line = domains
        .lines()
        .position(|line| line.contains("2026b._domainkey"))
        .unwrap()
        + 1;
    assert!(
        refused.err.contains(&format!("domains.toml:{line}:1: ")),
        "{}",
        refused.err
    );
    assert_eq!(folder.run(&["serve"]).code, 1);
    // Commands on a stopped directory need no key.
    done(folder.run(&["account", "list", "--numbers"]));
}

#[test]
fn signatures_of_a_message_in_a_file_are_checked() {
    let zone = Zone::new();
    let folder = Folder::new(
        DOMAINS,
        &format!("[dns]\nservers = [\"127.0.0.1:{}\"]\n", zone.port),
    );
    std::fs::create_dir(folder.at("accounts")).unwrap();
    std::fs::write(
        folder.at("accounts/anna.toml"),
        "addresses = [\"anna@example.test\"]\n",
    )
    .unwrap();
    let key = Arc::new(SigningKey::from_pem(&ed25519(9)).unwrap());
    let name = |text| ::dkim::Name::parse(text).unwrap();
    let selectors = [::dkim::Selector::new(
        name("example.org"),
        name("s"),
        key.clone(),
    )];
    let message = "From: a@example.org\r\nSubject: x\r\n\r\nhello\r\n";
    let mut hasher = ::dkim::MessageHasher::new(&selectors);
    hasher.update(message.as_bytes());
    let (header, body) = hasher.finish().unwrap();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap() - Duration::from_secs(60);
    let occasion = ::dkim::Occasion {
        now_secs: now.as_secs(),
        ..Default::default()
    };
    let unsigned = ::dkim::prepare(&selectors, &header, &body, &occasion).unwrap();
    let field = unsigned.into_iter().next().unwrap().sign().unwrap();
    zone.say(&KeyRecord::of_key(&key).to_string());
    let verify = |text: &str| {
        std::fs::write(folder.at("message"), text).unwrap();
        let path = folder.at("message");
        let ran = folder.run(&["dkim", "verify", path.to_str().unwrap()]);
        (ran.code, ran.out)
    };
    // As a mail program saves it.
    let saved = (field.clone() + message).replace("\r\n", "\n");
    assert_eq!(
        verify(&saved),
        (
            0,
            "pass d=example.org s=s a=ed25519-sha256 (256 bits)\n".into()
        )
    );
    let (code, told) = verify(&saved.replace("hello", "hallo"));
    assert_eq!(code, 1);
    assert!(told.ends_with(": body hash did not verify\n"), "{told}");
    let (code, told) = verify(message);
    assert!(code == 1 && told.ends_with(": no signature\n"), "{told}");
}

//! `ringmail config tlspubkey` and `ringmail account app-password`, with a server and without.

use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;

use serde_json::Value;

use crate::program::{Localserve, ringmail, ringmail_with_input};

/// What IMAP says to a LOGIN of the local account.
fn imap_login(server: &Localserve, password: &str) -> String {
    let mut stream = server.connect(143);
    let text = format!("a LOGIN ringmail@localhost {password}\r\nb LOGOUT\r\n");
    stream.write_all(text.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let line = answer.lines().find(|l| l.starts_with("a ")).unwrap();
    line.to_string()
}

#[test]
fn keys_are_made_registered_listed_and_removed() {
    let directory = tempfile::tempdir().unwrap();
    let stem = directory.path().join("laptop");
    let stem = stem.to_str().unwrap();
    let made = ringmail(&["config", "tlspubkey", "gen", stem]);
    assert_eq!((made.code, made.err.as_str()), (0, ""));
    let fingerprint = made
        .out
        .lines()
        .next()
        .unwrap()
        .strip_prefix("Fingerprint ")
        .unwrap();
    for (end, mode) in [("key.pem", 0o600), ("pem", 0o600), ("p12", 0o600)] {
        let file = std::fs::metadata(format!("{stem}.{end}")).unwrap();
        assert_eq!(file.permissions().mode() & 0o777, mode, "{end}");
    }
    let again = ringmail(&["config", "tlspubkey", "gen", stem]);
    assert_eq!(again.code, 1);
    assert!(again.err.contains("is there already"), "{}", again.err);
    let certificate = std::fs::read_to_string(format!("{stem}.cert.pem")).unwrap();

    let home = directory.path().join("local");
    let server = Localserve::start(&home, &["--accounts", "1"]);
    let path = server.dir().to_string();
    let dir = ["--dir", &path];
    let run = |words: &[&str], input: &str| {
        let words = [&["config", "tlspubkey"], words, &dir].concat();
        ringmail_with_input(&words, input)
    };
    let added = run(&["add", "ringmail@localhost"], &certificate);
    assert_eq!((added.code, added.err.as_str()), (0, ""));
    assert!(
        added.out.starts_with(&format!("{fingerprint} ecdsa-p256 ")),
        "{}",
        added.out
    );
    assert!(
        added.out.contains(" ringmail@localhost laptop "),
        "{}",
        added.out
    );
    for (words, input, error) in [
        (
            &["add", "u1@localhost", "mine"][..],
            &*certificate,
            "is registered already",
        ),
        (
            &["add", "nobody@localhost"],
            &certificate,
            "is no address of an account",
        ),
        (
            &["add", "u1@localhost"],
            "no certificate",
            "no certificate (PEM) on standard input",
        ),
        (&["get", "x"], "", "is no fingerprint"),
        (&["remove", &"A".repeat(43)], "", "there is no key"),
    ] {
        let ran = run(words, input);
        assert_eq!((ran.code, ran.out.as_str()), (1, ""), "{words:?}");
        assert!(ran.err.contains(error), "{words:?}: {}", ran.err);
    }
    let list = run(&["list", "--json"], "");
    let item: Value = serde_json::from_str(list.out.trim()).unwrap();
    assert_eq!(item["fingerprint"], fingerprint);
    assert_eq!(item["last_used"], Value::Null);
    assert_eq!(run(&["list", "u1"], "").out, "");
    assert!(run(&["list", "ringmail"], "").out.contains(fingerprint));
    assert!(run(&["get", fingerprint], "").out.ends_with(&certificate));
    assert_eq!(ringmail(&["stop", "--dir", &path]).code, 0);
    drop(server);

    // On a stopped directory too; and with its account a key goes.
    let stopped = [&["config", "tlspubkey", "list", "--dir"], &dir[1..]].concat();
    assert!(ringmail(&stopped).out.contains(fingerprint));
    let server = Localserve::start(&home, &[]);
    let removed = run(&["remove", fingerprint], "");
    assert_eq!(
        removed.out,
        "The key laptop of ringmail@localhost is gone.\n"
    );
    assert_eq!(
        run(&["add", "u1@localhost", "a word"], &certificate).code,
        0
    );
    assert!(
        run(&["list", "u1"], "")
            .out
            .contains("u1@localhost a word ")
    );
    assert_eq!(
        ringmail(&["account", "remove", "u1", "--dir", dir[1]]).code,
        0
    );
    assert_eq!(run(&["list"], "").out, "");
    // A certificate without a name.
    let mut params = rcgen::CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.serial_number = Some(vec![0x0a, 0xbc, 0x01].into());
    let nameless = params.self_signed(&rcgen::KeyPair::generate().unwrap());
    let pem = format!(
        "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n",
        sasl::base64::encode(nameless.unwrap().der())
    );
    let added = run(&["add", "ringmail@localhost"], &pem);
    assert!(
        added.out.contains(" serial 0abc01 "),
        "{} {}",
        added.out,
        added.err
    );
    drop(server);
}

#[test]
fn secrets_that_are_changed_at_once_are_all_stored() {
    let directory = tempfile::tempdir().unwrap();
    let server = Localserve::start(directory.path(), &[]);
    let run = |words: &[&str]| ringmail(&[words, &["--dir", server.dir()]].concat());
    let add = |label: &str| run(&["account", "app-password", "add", "ringmail", label]);
    std::thread::scope(|scope| {
        let all: Vec<_> = (0..12)
            .map(|n| scope.spawn(move || add(&format!("device {n}"))))
            .collect();
        for added in all {
            let added = added.join().unwrap();
            assert_eq!((added.code, added.err.as_str()), (0, ""));
        }
    });
    let list = run(&["account", "app-password", "list", "ringmail"]).out;
    assert_eq!(list.lines().count(), 12, "{list}");
}

#[test]
fn app_passwords_are_shown_once_and_can_be_taken_back() {
    let directory = tempfile::tempdir().unwrap();
    let server = Localserve::start(directory.path(), &[]);
    let run = |words: &[&str]| {
        ringmail(
            &[
                &["account", "app-password"],
                words,
                &["--dir", server.dir()],
            ]
            .concat(),
        )
    };
    let phone = run(&["add", "ringmail", "phone", "imap"]);
    assert_eq!((phone.code, phone.err.as_str()), (0, ""));
    let phone = phone.out.trim();
    let sender = run(&["add", "ringmail", "sender", "submission"]).out;
    assert!(imap_login(&server, phone).starts_with("a OK"));
    assert!(imap_login(&server, sender.trim()).starts_with("a NO"));
    let list = run(&["list", "ringmail"]).out;
    assert!(
        list.starts_with("phone ") && list.contains("\nsender "),
        "{list}"
    );
    assert!(!list.contains(phone), "{list}");
    for (words, error) in [
        (
            &["add", "ringmail", "phone"][..],
            "has an app password \"phone\" already",
        ),
        (&["add", "nobody", "phone"], "there is no account nobody"),
        (&["add", "ringmail", "x", "ftp"], "\"ftp\" is no service"),
        (&["remove", "ringmail", "y"], "has no app password \"y\""),
    ] {
        let ran = run(words);
        assert_eq!((ran.code, ran.out.as_str()), (1, ""), "{words:?}");
        assert!(ran.err.contains(error), "{words:?}: {}", ran.err);
    }
    assert_eq!(run(&["remove", "ringmail", "phone"]).code, 0);
    assert!(imap_login(&server, phone).starts_with("a NO"));
    assert!(imap_login(&server, "ringmailringmail").starts_with("a OK"));
}

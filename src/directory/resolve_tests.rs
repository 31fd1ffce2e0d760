//! What addresses lead to: the rules one by one, their order, and the addresses strangers send.

use super::*;
use crate::settings::{Text, Texts, parse_and_check};

const SERVER: &str = "
data_dir = \"/d\"
hostname = \"mx.example.org\"
[[listener]]
name = \"public\"
addresses = [\"192.0.2.1\"]
hostname = \"mx2.example.org\"
smtp = {}
";

const DOMAINS: &str = "
[postmaster]
account = \"root\"
mailbox = \"Postmaster\"
[domain.\"example.org\"]
separators = [\"+\", \"--\"]
aliases.team = { members = [\"anna@example.org\", \"bob@example.net\"], post = \"public\", allow_from = true }
aliases.quiet = { members = [\"anna@example.org\"] }
[domain.\"example.net\"]
localpart_case_sensitive = true
catchall = \"bob\"
[domain.\"own.example\"]
catchall = \"bob\"
postmaster = \"anna\"
[domain.\"off.example\"]
disabled = true
[domain.\"bücher.example\"]
";

fn directory() -> Directory {
    Directory::new(&settings(&[
        (
            "anna",
            "addresses = [\"Anna@example.org\", { address = \"sales@example.org\", mailbox = \"Sales\" }, \"anna@off.example\", \"jürgen@bücher.example\"]",
        ),
        ("bob", "addresses = [\"bob@example.net\"]"),
        ("root", "addresses = [\"root@example.org\"]"),
    ]))
}

fn settings(accounts: &[(&str, &str)]) -> Settings {
    let accounts = accounts
        .iter()
        .map(|(name, content)| Text::new(format!("accounts/{name}.toml"), *content))
        .collect();
    let texts = Texts {
        server: Text::new("ringmail.toml", SERVER),
        domains: Text::new("domains.toml", DOMAINS),
        accounts,
    };
    parse_and_check(&texts).unwrap_or_else(|problems| panic!("{problems}"))
}

fn account(name: &str) -> AccountName {
    name.parse().unwrap()
}

/// The account, mailbox and rule in one word, or what else came out.
fn found(directory: &Directory, localpart: &str, domain: &str) -> String {
    match directory.resolve(localpart, domain) {
        Resolution::Account(d) => format!("{} {} {:?}", d.account, d.mailbox, d.reason),
        Resolution::Alias(alias) => format!("alias {}", alias.address),
        other => format!("{other:?}"),
    }
}

#[test]
fn an_address_leads_to_its_account_and_mailbox() {
    let directory = directory();
    assert_eq!(
        found(&directory, "anna", "example.org"),
        "anna INBOX Address"
    );
    assert_eq!(
        found(&directory, "sales", "example.org"),
        "anna Sales Address"
    );
    let Resolution::Account(destination) = directory.resolve("ANNA+x", "Example.Org.") else {
        panic!("no account")
    };
    assert_eq!(
        (destination.account, destination.address),
        (account("anna"), "Anna@example.org")
    );
}

#[test]
fn case_is_folded_unless_the_domain_distinguishes() {
    let directory = directory();
    assert_eq!(
        found(&directory, "ANNA", "EXAMPLE.ORG"),
        "anna INBOX Address"
    );
    assert_eq!(found(&directory, "bob", "example.net"), "bob INBOX Address");
    assert_eq!(
        found(&directory, "Bob", "example.net"),
        "bob INBOX Catchall"
    );
}

#[test]
fn detail_after_a_separator_is_dropped() {
    let directory = directory();
    for localpart in [
        "anna+",
        "anna+lists",
        "anna+a+b",
        "anna--x",
        "anna+a--b",
        "anna--a+b",
    ] {
        assert_eq!(
            found(&directory, localpart, "example.org"),
            "anna INBOX Address",
            "{localpart}"
        );
    }
    for localpart in ["+anna", "anna-x", "--anna", "+"] {
        assert_eq!(
            found(&directory, localpart, "example.org"),
            "Unknown",
            "{localpart}"
        );
    }
    assert_eq!(
        found(&directory, "bob+x", "example.net"),
        "bob INBOX Catchall"
    );
}

#[test]
fn unicode_addresses_meet_in_every_form() {
    let directory = directory();
    for (localpart, domain) in [
        ("jürgen", "bücher.example"),
        ("JU\u{308}RGEN", "xn--bcher-kva.example"),
        ("Jürgen", "BÜCHER.example"),
    ] {
        assert_eq!(
            found(&directory, localpart, domain),
            "anna INBOX Address",
            "{localpart}@{domain}"
        );
    }
}

#[test]
fn an_alias_brings_its_members_with_their_mailboxes() {
    let directory = directory();
    let Resolution::Alias(alias) = directory.resolve("Team+x", "example.org") else {
        panic!("no alias")
    };
    let members: Vec<_> = alias
        .members
        .iter()
        .map(|m| (m.account.as_str(), m.mailbox.as_str(), &*m.address))
        .collect();
    assert_eq!(
        members,
        [
            ("anna", "INBOX", "Anna@example.org"),
            ("bob", "INBOX", "bob@example.net")
        ]
    );
    assert_eq!(&*alias.address, "team@example.org");
}

#[test]
fn postmaster_is_reached_everywhere() {
    let directory = directory();
    for domain in ["", "mx.example.org", "MX2.example.org", "example.org"] {
        assert_eq!(
            found(&directory, "PostMaster", domain),
            "root Postmaster Postmaster",
            "{domain}"
        );
    }
    // A domain's own postmaster beats its catchall, its catchall beats the host's postmaster.
    assert_eq!(
        found(&directory, "postmaster", "own.example"),
        "anna INBOX Postmaster"
    );
    assert_eq!(
        found(&directory, "postmaster", "example.net"),
        "bob INBOX Catchall"
    );
    assert_eq!(
        found(&directory, "postmaster", "elsewhere.example"),
        "NotLocal"
    );
    assert_eq!(found(&directory, "root", "mx.example.org"), "NotLocal");
    assert_eq!(found(&directory, "root", ""), "NotLocal");
}

#[test]
fn nobody_is_nobody() {
    let directory = directory();
    assert_eq!(found(&directory, "carl", "example.org"), "Unknown");
    assert_eq!(
        found(&directory, "carl", "own.example"),
        "bob INBOX Catchall"
    );
    assert_eq!(found(&directory, "anna", "off.example"), "Disabled");
    for (localpart, domain) in [
        ("anna", "example.com"),
        ("anna", "sub.example.org"),
        ("anna", "[192.0.2.1]"),
        ("", ""),
        ("a", "..."),
        ("a\0", "\u{1f4a9}.\u{202e}"),
    ] {
        assert_eq!(
            found(&directory, localpart, domain),
            "NotLocal",
            "{localpart}@{domain}"
        );
    }
    assert_eq!(found(&directory, "", "example.org"), "Unknown");
}

#[test]
fn login_is_by_own_address_only() {
    let directory = directory();
    for address in [
        "anna@example.org",
        "ANNA+phone@example.org",
        "anna@off.example",
        "sales@example.org",
    ] {
        assert_eq!(directory.login(address), Some(account("anna")), "{address}");
    }
    for address in [
        "",
        "anna",
        "@",
        "anna@",
        "@example.org",
        "team@example.org",
        "carl@example.net",
        "postmaster@example.org",
        "anna@example.com",
    ] {
        assert_eq!(directory.login(address), None, "{address}");
    }
}

#[test]
fn an_account_sends_only_as_itself() {
    let directory = directory();
    let may = |name, localpart, domain| directory.may_send_as(account(name), localpart, domain);
    assert_eq!(may("anna", "Anna+x", "example.org"), MaySend::Yes);
    assert_eq!(may("anna", "team", "example.org"), MaySend::Yes);
    assert_eq!(may("bob", "anything", "example.net"), MaySend::Yes);
    assert_eq!(may("root", "team", "example.org"), MaySend::No);
    assert_eq!(may("anna", "quiet", "example.org"), MaySend::No);
    assert_eq!(may("bob", "anna", "example.org"), MaySend::No);
    assert_eq!(may("anna", "anna", "example.com"), MaySend::No);
    assert_eq!(may("anna", "anna", "off.example"), MaySend::Disabled);
}

#[test]
fn everything_can_go_to_one_account() {
    let mut settings = settings(&[
        ("anna", "addresses = [\"anna@example.org\"]"),
        ("bob", "addresses = [\"bob@example.net\"]"),
        ("root", "addresses = [\"r@example.org\"]"),
    ]);
    settings.everything_to = Some(account("root"));
    let directory = Directory::new(&settings);
    assert_eq!(
        found(&directory, "anna", "example.org"),
        "anna INBOX Address"
    );
    for (localpart, domain) in [
        ("who", "example.org"),
        ("who", "example.com"),
        ("who", "[127.0.0.1]"),
        ("who", ""),
    ] {
        assert_eq!(
            found(&directory, localpart, domain),
            "root INBOX Everything"
        );
    }
    assert_eq!(directory.login("who@example.com"), None);
}

#[test]
fn a_hundred_thousand_accounts_are_found() {
    let contents: Vec<(String, String)> = (0..100_000)
        .map(|n| {
            (
                format!("u{n}"),
                format!("addresses = [\"u{n}@own.example\"]"),
            )
        })
        .collect();
    let mut accounts: Vec<(&str, &str)> = contents
        .iter()
        .map(|(name, content)| (name.as_str(), content.as_str()))
        .collect();
    accounts.extend([
        ("anna", "addresses = [\"anna@example.org\"]"),
        ("bob", "addresses = [\"bob@example.net\"]"),
        ("root", "addresses = [\"r@example.org\"]"),
    ]);
    let begin = std::time::Instant::now();
    let settings = settings(&accounts);
    let checked = begin.elapsed();
    let directory = Directory::new(&settings);
    println!(
        "read and checked in {checked:?}, prepared in {:?}",
        begin.elapsed() - checked
    );
    assert_eq!(
        found(&directory, "U99999", "own.example"),
        "u99999 INBOX Address"
    );
    assert_eq!(
        directory.login("u12345@own.example"),
        Some(account("u12345"))
    );
}

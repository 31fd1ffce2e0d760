//! Real bounces of many servers: all are read, and docs/bounces.md says what became of each. Other mail is taken for none.
//! Runs only when RINGMAIL_CORPORA names the folder that holds them; then a missing file is a failure. With RINGMAIL_WRITE_DOCS the table is
//! written instead of compared.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use ringmail_dsn::{Action, BounceClass, Hardness, Incoming, Kind, Suppression, parse};

const DOCUMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/bounces.md");
const START: &str = "<!-- The table is written by protocols/dsn/tests/corpora.rs. -->\n";

/// Each file's name and what was read.
fn bounces() -> Option<Vec<(String, Incoming)>> {
    let folder = PathBuf::from(std::env::var_os("RINGMAIL_CORPORA")?).join("bounces");
    let entries =
        fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|ending| ending == "eml"));
    paths.sort();
    assert_eq!(paths.len(), 314);
    let read = |path: PathBuf| {
        let name = path.file_stem().unwrap().to_str().unwrap().to_string();
        (name, parse(&fs::read(&path).unwrap()))
    };
    Some(paths.into_iter().map(read).collect())
}

#[test]
fn corpora_every_bounce_is_read() {
    let Some(bounces) = bounces() else { return };
    for (name, incoming) in &bounces {
        let expected = match name.as_str() {
            // Amazon's notifications of complaints and deliveries came with its bounces.
            "lhost-amazonses-11" => Some(Kind::Complaint),
            "lhost-amazonses-13" => Some(Kind::Delivered),
            _ if name.starts_with("arf-") => Some(Kind::Complaint),
            _ if name.starts_with("rfc3834-") => Some(Kind::AutoReply),
            _ => None,
        };
        match expected {
            Some(kind) => assert_eq!(incoming.kind, kind, "{name}"),
            None => assert!(
                matches!(
                    incoming.kind,
                    Kind::Failed | Kind::Delayed | Kind::Delivered
                ),
                "{name}: {:?}",
                incoming.kind
            ),
        }
        let has_recipient = !incoming.recipients.is_empty() || incoming.kind == Kind::AutoReply;
        // Its recipient was taken out by who reports.
        assert!(has_recipient || name == "arf-15", "{name} has no recipient");
        for recipient in &incoming.recipients {
            let is_trouble = matches!(recipient.action, Action::Failed | Action::Delayed);
            assert_eq!(recipient.bounce.is_some(), is_trouble, "{name}");
        }
    }
}

#[test]
fn corpora_unknown_reasons_are_few() {
    let Some(bounces) = bounces() else { return };
    let unknown: Vec<&str> = bounces
        .iter()
        .filter(|(_, incoming)| classes(incoming).any(|class| class == BounceClass::Unknown))
        .map(|(name, _)| name.as_str())
        .collect();
    // "Rejected by a remote mail server", and "554 Transaction failed": no more is said.
    assert_eq!(unknown, ["lhost-ezweb-01", "lhost-postfix-47"]);
}

#[test]
fn corpora_table_in_the_documents() {
    let Some(bounces) = bounces() else { return };
    let table = table(&bounces);
    let document = fs::read_to_string(DOCUMENT).unwrap();
    let (prose, written) = document
        .split_once(START)
        .expect("the line before the table");
    if std::env::var_os("RINGMAIL_WRITE_DOCS").is_some() {
        fs::write(DOCUMENT, [prose, START, &table].concat()).unwrap();
        return;
    }
    for (written, expected) in written.lines().zip(table.lines()) {
        assert_eq!(
            written, expected,
            "docs/bounces.md is not up to date: run with RINGMAIL_WRITE_DOCS=1"
        );
    }
    assert_eq!(written.len(), table.len());
}

#[test]
fn corpora_other_mail_is_no_report() {
    let Some(corpora) = std::env::var_os("RINGMAIL_CORPORA") else {
        return;
    };
    let mut messages = 0;
    for kind in ["ham", "spam"] {
        let folder = PathBuf::from(&corpora).join("spam").join(kind);
        for entry in
            fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        {
            let path = entry.unwrap().path();
            if path.is_dir() {
                continue;
            }
            let read = parse(&fs::read(&path).unwrap());
            assert_eq!(read.kind, Kind::NotAReport, "{}", path.display());
            messages += 1;
        }
    }
    assert!(messages > 50, "{messages}");
}

fn classes(incoming: &Incoming) -> impl Iterator<Item = BounceClass> {
    incoming
        .recipients
        .iter()
        .filter_map(|r| r.bounce)
        .map(|bounce| bounce.class)
}

fn table(bounces: &[(String, Incoming)]) -> String {
    let mut counts = BTreeMap::new();
    for class in bounces.iter().flat_map(|(_, incoming)| classes(incoming)) {
        *counts.entry(class).or_insert(0) += 1;
    }
    let mut table = "\n| class | recipients |\n|---|---|\n".to_string();
    for (class, count) in counts {
        table += &format!("| {class} | {count} |\n");
    }
    table += "\n| file | kind | recipient | code | status | class | what follows |\n|---|---|---|---|---|---|---|\n";
    for (name, incoming) in bounces {
        table += &rows(name, incoming);
    }
    table
}

fn rows(name: &str, incoming: &Incoming) -> String {
    let kind = incoming.kind.as_str();
    if incoming.recipients.is_empty() {
        return format!("| {name} | {kind} | | | | | |\n");
    }
    let row = |recipient: &ringmail_dsn::ReportedRecipient| {
        let code = recipient
            .code
            .map_or(String::new(), |code| code.to_string());
        let status = recipient
            .status
            .map_or(String::new(), |status| status.to_string());
        let class = recipient.bounce.map_or("", |bounce| bounce.class.as_str());
        let follows =
            recipient
                .bounce
                .map_or("", |bounce| match (bounce.hardness, bounce.suppression) {
                    (Hardness::Hard, Suppression::AtOnce) => "hard, suppress",
                    (Hardness::Hard, _) => "hard",
                    (Hardness::Soft, Suppression::AtOnce) => "soft, suppress",
                    (Hardness::Soft, Suppression::AfterRepeats) => "soft, counts",
                    (Hardness::Soft, Suppression::Never) => "soft",
                });
        let address = recipient.address.replace('|', "\\|");
        format!("| {name} | {kind} | {address} | {code} | {status} | {class} | {follows} |\n")
    };
    incoming.recipients.iter().map(row).collect()
}

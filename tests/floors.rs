//! The three laws of the house (docs/ARCHITECTURE.md), as a test: who may import whom.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Floors of `src`, from the ground. A room imports only from floors below it, or from itself.
const ROOMS: &[&[&str]] = &[
    &["settings", "metrics"],
    &["client_tls"],
    &["directory", "telemetry", "sendmail", "lookup"],
    &["login"],
    &["live"],
    &["store"],
    &["queue", "tls_policy"],
    &["calls"],
    &["percore"],
    &["signing"],
    &["recipes"],
    &["handle", "hooks", "inbound", "outbound"],
    &["smtp_server", "imap_server", "web"],
    &["serve"],
    &["control"],
    &["cli"],
];

/// Floors of `protocols`.
const PROTOCOLS: &[&[&str]] = &[
    &["dns", "sasl", "imap"],
    &["smtp", "mta-sts", "dane", "tls-rpt", "socks"],
    &["message"],
    &["dsn", "dkim", "webapi"],
];

fn rust_files(directory: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(rust_files(&path.display().to_string()));
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
    found
}

fn floor(floors: &[&[&str]], name: &str) -> Option<usize> {
    floors.iter().position(|floor| floor.contains(&name))
}

/// The file's code without comment lines.
fn code(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    let lines: Vec<&str> = text
        .lines()
        .filter(|l| !l.trim_start().starts_with("//"))
        .collect();
    lines.join("\n")
}

/// Words after `start`, as in `crate::store::Account`.
fn words_after<'a>(text: &'a str, start: &'a str) -> impl Iterator<Item = &'a str> {
    text.match_indices(start).map(move |(at, _)| {
        let rest = &text[at + start.len()..];
        let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_');
        &rest[..end.unwrap_or(rest.len())]
    })
}

#[test]
fn rooms_of_src_import_only_from_lower_floors() {
    let mut wrong = Vec::new();
    for path in rust_files("src") {
        let inner = path.strip_prefix("src").unwrap();
        let room = inner
            .iter()
            .next()
            .unwrap()
            .to_str()
            .unwrap()
            .trim_end_matches(".rs");
        let Some(own) = floor(ROOMS, room) else {
            if !matches!(room, "lib" | "main") {
                wrong.push(format!("{}: room {room} has no floor here", path.display()));
            }
            continue;
        };
        for other in words_after(&code(&path), "crate::") {
            let Some(theirs) = floor(ROOMS, other) else {
                continue;
            };
            if other != room && theirs >= own {
                wrong.push(format!(
                    "{}: {room} imports {other}, not below it",
                    path.display()
                ));
            }
        }
    }
    wrong.dedup();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn own_dependencies(manifest: &str) -> BTreeSet<String> {
    let table: toml::Table = fs::read_to_string(manifest).unwrap().parse().unwrap();
    let dependencies = table.get("dependencies").and_then(|d| d.as_table());
    let ours = [
        "shards", "smtp", "imap", "message", "sasl", "dsn", "dkim", "dns", "mta-sts", "dane",
        "tls-rpt", "socks",
    ];
    let names = dependencies.into_iter().flat_map(|d| d.keys().cloned());
    names.filter(|k| ours.contains(&k.as_str())).collect()
}

#[test]
fn crates_depend_only_downwards() {
    assert!(
        own_dependencies("shards/Cargo.toml").is_empty(),
        "shards knows no mail"
    );
    let loadtest = own_dependencies("loadtest/Cargo.toml");
    assert!(!loadtest.contains("shards"), "loadtest is a mail client");
    let mut graph = BTreeMap::new();
    for protocol in PROTOCOLS.iter().flat_map(|floor| floor.iter()) {
        graph.insert(
            *protocol,
            own_dependencies(&format!("protocols/{protocol}/Cargo.toml")),
        );
    }
    for (protocol, uses) in graph {
        let own = floor(PROTOCOLS, protocol).unwrap();
        for other in uses {
            let theirs = floor(PROTOCOLS, &other);
            assert!(
                theirs.is_some_and(|t| t < own),
                "{protocol} depends on {other}"
            );
        }
    }
}

#[test]
fn only_the_seams_name_the_runtime_and_the_database() {
    let mut wrong = Vec::new();
    for path in ["src", "shards/src", "protocols", "loadtest"]
        .iter()
        .flat_map(|d| rust_files(d))
    {
        let (code, shown) = (code(&path), path.display().to_string());
        if code.contains("glommio::") && !shown.starts_with("shards/src/rt") {
            wrong.push(format!("{shown} names glommio; only shards/src/rt may"));
        }
        if code.contains("fjall::") && shown != "shards/src/index.rs" {
            wrong.push(format!("{shown} names fjall; only shards/src/index.rs may"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn protocols_do_no_input_or_output() {
    let words = [
        "std::net::Tcp",
        "std::net::Udp",
        "std::fs",
        "std::thread",
        "SystemTime::now",
        "Instant::now",
    ];
    let mut wrong = Vec::new();
    for path in rust_files("protocols") {
        let shown = path.display().to_string();
        if shown.contains("test") || shown.contains("/benches/") {
            continue;
        }
        let code = code(&path);
        let before_tests = code.split("#[cfg(test)]").next().unwrap_or_default();
        wrong.extend(
            words
                .iter()
                .filter(|w| before_tests.contains(**w))
                .map(|w| format!("{shown} uses {w}")),
        );
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

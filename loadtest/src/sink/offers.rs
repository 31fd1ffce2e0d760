//! What EHLO offers, and which parameters may come then. RFC 5321 4.1.1.11: no others.

use super::script::{Rules, Tls};

/// The lines of the reply to EHLO.
pub fn lines(rules: &Rules, secure: bool) -> Vec<String> {
    let mut lines = vec!["sink.invalid".to_owned()];
    let offered = EXTENSIONS.iter().filter(|it| has(rules, it));
    lines.extend(offered.map(|it| (*it).to_owned()));
    if has(rules, "SIZE") {
        lines.push(format!("SIZE {}", rules.size));
    }
    if rules.tls != Tls::No && !secure {
        lines.push("STARTTLS".into());
    }
    if rules.auth {
        lines.push("AUTH PLAIN".into());
    }
    lines
}

/// Whether each parameter's extension was offered.
pub fn allows(rules: &Rules, parameters: &str, known: &[(&str, &str)]) -> bool {
    parameters.split_ascii_whitespace().all(|parameter| {
        let keyword = parameter.split('=').next().unwrap_or_default();
        let found = known.iter().find(|it| it.0.eq_ignore_ascii_case(keyword));
        found.is_some_and(|(_, extension)| match *extension {
            "AUTH" => rules.auth,
            extension => has(rules, extension),
        })
    })
}

/// Whether an extension is offered.
pub fn has(rules: &Rules, extension: &str) -> bool {
    let is = |it: &String| it.eq_ignore_ascii_case(extension);
    !rules.without.iter().any(is)
}

const EXTENSIONS: &[&str] = &[
    "PIPELINING",
    "8BITMIME",
    "CHUNKING",
    "SMTPUTF8",
    "DSN",
    "ENHANCEDSTATUSCODES",
];
/// Parameters of MAIL, each with its extension.
pub const MAIL: &[(&str, &str)] = &[
    ("SIZE", "SIZE"),
    ("BODY", "8BITMIME"),
    ("SMTPUTF8", "SMTPUTF8"),
    ("RET", "DSN"),
    ("ENVID", "DSN"),
    ("AUTH", "AUTH"),
];
/// Parameters of RCPT.
pub const RCPT: &[(&str, &str)] = &[("NOTIFY", "DSN"), ("ORCPT", "DSN")];

//! The example in docs/WEBHOOKS.md is signed as the server signs.

use ringmail_webapi::hook::{Secret, signatures};

const DOCS: &str = include_str!("../../../docs/WEBHOOKS.md");

/// What stands behind a word at the beginning of a line of the example.
fn value(name: &str) -> &'static str {
    let (_, example) = DOCS.split_once("behind the body):\n\n```\n").unwrap();
    let mut lines = example.lines().take_while(|line| *line != "```");
    let found = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    found.unwrap_or_else(|| panic!("no {name}")).trim_start()
}

#[test]
fn the_example_is_signed_as_it_says() {
    let secret = Secret::parse(value("secret")).unwrap();
    let (id, body) = (value("webhook-id"), value("body"));
    let at = value("webhook-timestamp");
    let signed = signatures(
        std::slice::from_ref(&secret),
        id,
        at.parse().unwrap(),
        body.as_bytes(),
    );
    assert_eq!(signed, value("webhook-signature"));
    let key = String::from_utf8(secret.octets().to_vec()).unwrap();
    assert!(DOCS.contains(&format!("the {} octets `{key}`", key.len())));
    assert!(DOCS.contains(&format!("`{id}.{at}.{body}`")));
}

//! ValiMail's ARC test suite as a judge of canonicalization: an ARC-Message-Signature is computed as a DKIM-Signature is (RFC 8617 4.1.2), with
//! keys that the suite publishes. Runs only when RINGMAIL_CORPORA names the folder of the corpora; then a missing file is a failure.

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use message::HeaderField;

use crate::body::BodyHasher;
use crate::canonical::Canonicalizations;
use crate::fields::Fields;
use crate::header_end::HeaderCollector;
use crate::key::Algorithm;
use crate::public_key::PublicKey;
use crate::record::KeyRecord;
use crate::signature::without_signature;
use crate::tag_list::{TagList, members, without_white};

/// A message and what the suite says of its chain.
struct Case<'a> {
    name: &'a str,
    message: Vec<u8>,
    passes: bool,
}

fn cases(suite: &str) -> Vec<Case<'_>> {
    let (mut found, mut name, mut message) = (Vec::new(), "", None::<Vec<&str>>);
    for line in suite.lines() {
        if let Some(rest) = line.strip_prefix("    cv:") {
            let message = message.take().expect("a message before cv:");
            // YAML: what follows | ends with one line end.
            let message = message.join("\r\n").trim_end_matches("\r\n").to_string() + "\r\n";
            found.push(Case {
                name,
                message: message.into_bytes(),
                passes: rest.trim() == "Pass",
            });
        } else if let Some(message) = &mut message {
            message.push(line.strip_prefix("      ").unwrap_or(line.trim_start()));
        } else if line.starts_with("    message:") {
            message = Some(Vec::new());
        } else if let Some(rest) = line
            .strip_prefix("  ")
            .filter(|rest| !rest.starts_with(' '))
        {
            name = rest.trim_end_matches(':');
        }
    }
    found
}

/// All keys, whatever case they are for; RSA of 512 bits is not taken.
fn keys(suite: &str) -> Vec<Vec<u8>> {
    let mut keys: Vec<Vec<u8>> = Vec::new();
    for part in suite.split("_domainkey.").skip(1) {
        let lines = part.lines().skip(1);
        let text: Vec<&str> = lines.map_while(|line| line.strip_prefix("    ")).collect();
        let record = KeyRecord::parse(text.join(" ").as_bytes()).map(|record| record.public_key);
        keys.extend(record.ok().filter(|key| {
            PublicKey::parse(Algorithm::RsaSha256, key).is_ok() && !keys.contains(key)
        }));
    }
    keys
}

/// Whether the newest ARC-Message-Signature is good with one of the keys.
fn newest_is_good(message: &[u8], keys: &[Vec<u8>]) -> Option<bool> {
    let mut collector = HeaderCollector::default();
    let body = collector.update(message);
    let header = collector.header()?;
    let fields = Fields::of(header);
    let instance = |field: &HeaderField| -> Option<u32> {
        TagList::parse(std::str::from_utf8(field.value).ok()?)
            .ok()?
            .value("i")?
            .parse()
            .ok()
    };
    let named = fields
        .all()
        .iter()
        .enumerate()
        .filter(|(_, field)| field.is("ARC-Message-Signature"));
    let (place, field) = named.max_by_key(|(_, field)| instance(field))?;
    let list = TagList::parse(std::str::from_utf8(field.value).ok()?).ok()?;
    // The suite takes a missing c= for this; RFC 8617 does not say.
    let canonicalizations = Canonicalizations::parse(list.value("c").unwrap_or("relaxed/relaxed"))?;
    let mut input = Vec::new();
    fields.canonicalize(
        members(list.value("h")?),
        Some(place),
        canonicalizations.header,
        &mut input,
    );
    canonicalizations
        .header
        .field(&without_signature(field).ok()?, &mut input);
    let mut hasher = BodyHasher::new(canonicalizations.body);
    hasher.update(body);
    let value = |name| STANDARD.decode(without_white(list.value(name)?)).ok();
    let verifies = |key: &Vec<u8>| {
        let key = PublicKey::parse(Algorithm::RsaSha256, key).expect("a key that was looked at");
        value("b").is_some_and(|signature| key.verifies(&input, &signature))
    };
    Some(value("bh")? == hasher.finish() && keys.iter().any(verifies))
}

#[test]
fn corpora_of_arc_chains_that_pass_have_good_signatures() {
    let Some(corpora) = std::env::var_os("RINGMAIL_CORPORA") else {
        return;
    };
    let path = Path::new(&corpora).join("arc/arc-validation.yml");
    let suite = std::fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let (cases, keys) = (cases(&suite), keys(&suite));
    assert!(keys.len() >= 3, "{}", keys.len());
    let mut passing = 0;
    for case in cases.iter().filter(|case| case.passes) {
        assert_eq!(
            newest_is_good(&case.message, &keys),
            Some(true),
            "{}",
            case.name
        );
        passing += 1;
    }
    assert_eq!(passing, 58);
    let bad = cases
        .iter()
        .find(|case| case.name == "cv_fail_i1_ams_invalid");
    let bad = bad.expect("a case of the suite");
    assert_eq!(newest_is_good(&bad.message, &keys), Some(false));
}

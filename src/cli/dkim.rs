//! `ringmail dkim`: gen, record, check, verify. Keys that sign mail and their records in DNS. RFC 6376 3.6, RFC 8301 3.2, RFC 8463.

use std::fs;
use std::io::ErrorKind;
use std::ops::Deref;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use dkim::{
    Algorithm, Check, Evaluation, KeyAnswer, KeyRecord, MessageHasher, Name, Occasion, Reason,
    Rules, Selector, SigningKey, Status, Verifier, generate, prepare, query_name,
};
use serde_json::{Value, json};

use super::arguments::Arguments;
use super::dns::look_up;
use super::which::Which;
use super::{Failure, print};
use crate::login::random;
use crate::percore::wall_clock;
use crate::settings::dkim::read_key;
use crate::settings::{DkimSelector, DomainName, Settings, replace};

/// Makes a key beside the domains file, and says what to write where.
pub(super) fn generate(arguments: &Arguments) -> Result<(), Failure> {
    let [domain, selector] = arguments.rest.as_slice() else {
        return Err(Failure::Usage("DOMAIN and SELECTOR are needed".into()));
    };
    let bits = match (arguments.rsa, arguments.ed25519, arguments.bits) {
        (true, true, _) => return Err(Failure::Usage("--rsa or --ed25519, not both".into())),
        (_, true, Some(_)) => return Err(Failure::Usage("--bits is for RSA".into())),
        (_, true, None) => None,
        (_, false, bits) => Some(bits.unwrap_or(RSA_BITS) as usize),
    };
    let (domain, selector) = (parse(domain)?, parse(selector)?);
    let which = Which::of(arguments)?;
    let settings = which.unfinished()?.settings;
    let domains_file = &settings.server.domains_file;
    let own = settings.domains.domain.get(domain.ascii());
    if own.is_some_and(|d| d.dkim.iter().any(|(s, _)| s.as_str() == selector.ascii())) {
        return Err(Failure::Failed(format!(
            "{} has the selector {} of {} already; a new key needs a new selector, for receivers may know the record of the old one still",
            domains_file.display(),
            selector.ascii(),
            domain.ascii()
        )));
    }
    let text = new_key(bits)?;
    let key = SigningKey::from_pem(&text).map_err(|e| e.to_string())?;
    let relative = format!("{KEYS_FOLDER}/{}.pem", query_name(&selector, &domain));
    let path = domains_file.with_file_name(&relative);
    let failed = |error: std::io::Error| match error.kind() {
        ErrorKind::PermissionDenied => Failure::denied(&path),
        ErrorKind::AlreadyExists => Failure::Failed(format!(
            "{} is there already and is left as it is; take another SELECTOR",
            path.display()
        )),
        _ => Failure::Failed(format!("{}: {error}", path.display())),
    };
    replace::create_secret(&path, &text, &which.data_dir).map_err(failed)?;
    let is_toml_word = selector
        .ascii()
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    let table = match is_toml_word {
        true => selector.ascii().to_owned(),
        false => format!("{:?}", selector.ascii()),
    };
    let mut told = format!(
        "The key ({}) is {}\n\nFor DNS:\n\n{}\nFor {}:\n\n[domain.\"{domain}\".dkim.{table}]\nkey = \"{relative}\"\n\nWrite both, see that ringmail dkim check {} {domain} finds the record, then have\nthe server reload.\n",
        described(&key),
        path.display(),
        KeyRecord::of_key(&key).zone_text(&selector, &domain),
        domains_file.display(),
        which.named,
        domain = domain.ascii(),
    );
    if own.is_none() {
        told.push_str(&format!(
            "Note: {} is no domain of this server yet\n",
            domain.ascii()
        ));
    }
    if rustix::process::geteuid().is_root() && fs::metadata(&path).is_ok_and(|m| m.uid() == 0) {
        told.push_str(
            "Note: the key belongs to root; if the server runs as another user, give it to that user\n",
        );
    }
    print(&told)
}

/// The record of each selector, or of one.
pub(super) fn record(arguments: &Arguments) -> Result<(), Failure> {
    let which = Which::of(arguments)?;
    let settings = which.unfinished()?.settings;
    let mut text = String::new();
    for selector in chosen(&settings, &arguments.rest)? {
        text.push_str(
            &selector
                .record()
                .zone_text(&selector.name, &selector.domain),
        );
    }
    print(&text)
}

/// Compares the records in DNS with the keys, as a receiver would.
pub(super) fn check(arguments: &Arguments) -> Result<(), Failure> {
    let which = Which::of(arguments)?;
    let settings = which.unfinished()?.settings;
    let mut fits = true;
    for selector in chosen(&settings, &arguments.rest)? {
        let query = query_name(&selector.name, &selector.domain);
        let answer = look_up(arguments, "TXT", &query)?;
        let judged = judge(&selector, &answer);
        // One that does not sign may be in DNS or not.
        fits &= judged.is_ok() || !selector.signs;
        let text = match arguments.json {
            true => format!("{}\n", as_json(&selector, &answer, &judged)),
            false => told(&selector, &answer, &judged),
        };
        print(&text)?;
    }
    match fits {
        true => Ok(()),
        false => Err(Failure::Found),
    }
}

/// Checks the signatures of a message in a file.
pub(super) fn verify(arguments: &Arguments) -> Result<(), Failure> {
    let path = Path::new(&arguments.rest[0]);
    let failed = |what: String| Failure::Failed(format!("{}: {what}", path.display()));
    let octets = fs::read(path).map_err(|e| failed(e.to_string()))?;
    let message = message::normalise_crlf(&octets)
        .map_err(|_| failed("a CR without LF: this is not the message as it was sent".into()))?;
    let mut verifier = Verifier::new(rules());
    verifier.update(&message);
    let (mut text, mut passed) = (String::new(), false);
    for check in verifier.finish() {
        let evaluation = match check {
            Check::Settled(evaluation) => evaluation,
            Check::Open(question) => {
                let answer = look_up(arguments, "TXT", question.query())?;
                question.evaluate(&key_answer(&answer))
            }
        };
        passed |= evaluation.status == Status::Pass;
        text.push_str(&told_of_signature(&evaluation));
    }
    if text.is_empty() {
        text = format!("{}: no signature\n", path.display());
    }
    print(&text)?;
    match passed {
        true => Ok(()),
        false => Err(Failure::Found),
    }
}

/// Makes the key of `localserve`, mode 0600.
pub(super) fn write_ed25519(path: &Path) -> Result<(), String> {
    let text = new_key(None)?;
    replace::put(path, &text, 0o600).map_err(|e| format!("{}: {e}", path.display()))
}

/// PKCS#8 in PEM; Ed25519 without bits.
fn new_key(bits: Option<usize>) -> Result<impl Deref<Target = String>, String> {
    let mut without_randomness = Ok(());
    let mut fill = |octets: &mut [u8]| {
        let filled = random(octets);
        without_randomness = std::mem::replace(&mut without_randomness, Ok(())).and(filled);
    };
    let made = match bits {
        Some(bits) => generate::rsa_key(bits, &mut fill).map_err(|e| e.to_string()),
        None => Ok(generate::ed25519_key(&mut fill)),
    };
    without_randomness?;
    made
}

/// A selector of the settings with its key.
struct Chosen {
    domain: Name,
    name: Name,
    key: Arc<SigningKey>,
    signs: bool,
}

impl Chosen {
    fn record(&self) -> KeyRecord {
        KeyRecord::of_key(&self.key)
    }
}

/// Those of a domain, which may be signed for by one above it; or the one that is named.
fn chosen(settings: &Settings, words: &[String]) -> Result<Vec<Chosen>, Failure> {
    let asked = parse(&words[0])?;
    let wanted = words.get(1).map(|word| parse(word)).transpose()?;
    let mut rest = asked.ascii();
    let (domain, selectors) = loop {
        let found = settings.domains.domain.get_key_value(rest);
        if let Some((domain, table)) = found.filter(|(_, table)| !table.dkim.is_empty()) {
            break (domain, &table.dkim);
        }
        rest = match rest.split_once('.') {
            Some((_, above)) => above,
            None => {
                return Err(Failure::Failed(format!(
                    "{} has no DKIM selector in {}; ringmail dkim gen makes a key",
                    asked.ascii(),
                    settings.server.domains_file.display()
                )));
            }
        }
    };
    let is_wanted = |name: &str| wanted.as_ref().is_none_or(|wanted| wanted.ascii() == name);
    let chosen = selectors
        .iter()
        .filter(|(name, _)| is_wanted(name.as_str()));
    let chosen: Vec<Chosen> = chosen
        .map(|(name, table)| read(domain, name.as_str(), table))
        .collect::<Result<_, _>>()?;
    match (chosen.is_empty(), wanted) {
        (true, Some(wanted)) => Err(Failure::Failed(format!(
            "{domain} has no selector {}",
            wanted.ascii()
        ))),
        _ => Ok(chosen),
    }
}

fn read(domain: &DomainName, name: &str, table: &DkimSelector) -> Result<Chosen, Failure> {
    let is_denied = |e: std::io::Error| e.kind() == ErrorKind::PermissionDenied;
    if fs::File::open(&table.key).err().is_some_and(is_denied) {
        return Err(Failure::denied(&table.key));
    }
    Ok(Chosen {
        domain: parse(domain.as_str())?,
        name: parse(name)?,
        key: Arc::new(read_key(&table.key)?),
        signs: table.sign,
    })
}

/// Whether a receiver who is given these records takes a signature of the key; why not, or what there is to note.
fn judge(selector: &Chosen, answer: &Value) -> Result<Option<&'static str>, String> {
    match (answer["result"].as_str(), answer["error"].as_str()) {
        (Some("ok"), _) => (),
        (_, Some(error)) => return Err(error.to_owned()),
        (Some("nxdomain"), _) => return Err("there is no such name".to_owned()),
        _ => return Err("the name has no TXT record".to_owned()),
    }
    let signed = signed(selector)?;
    let mut verifier = Verifier::new(rules());
    verifier.update(&signed);
    let evaluation = match verifier.finish().pop() {
        Some(Check::Open(question)) => question.evaluate(&key_answer(answer)),
        Some(Check::Settled(evaluation)) => evaluation,
        None => return Err("nothing was signed".to_owned()),
    };
    match (evaluation.status, evaluation.reason) {
        (Status::Pass, _) if evaluation.testing => Ok(Some(
            "it has t=y: receivers pass over signatures that fail while you are testing",
        )),
        (Status::Pass, _) => Ok(None),
        (_, Some(Reason::Signature)) => Err("it is the record of another key".to_owned()),
        (_, Some(reason)) => Err(reason.to_string()),
        (status, None) => Err(status.to_string()),
    }
}

/// A message signed with the key.
fn signed(selector: &Chosen) -> Result<Vec<u8>, String> {
    let message = format!(
        "From: a@{}\r\nSubject: check\r\n\r\ncheck\r\n",
        selector.domain.ascii()
    );
    let (domain, name) = (selector.domain.clone(), selector.name.clone());
    let selectors = [Selector::new(domain, name, selector.key.clone())];
    let mut hasher = MessageHasher::new(&selectors);
    hasher.update(message.as_bytes());
    let (header, body) = hasher.finish().map_err(|e| e.to_string())?;
    let occasion = Occasion {
        now_secs: now(),
        ..Occasion::default()
    };
    let unsigned = prepare(&selectors, &header, &body, &occasion).map_err(|e| e.to_string())?;
    let fields = unsigned.into_iter().map(|unsigned| unsigned.sign());
    let fields = fields.collect::<Result<Vec<_>, _>>();
    Ok((fields.map_err(|e| e.to_string())?.concat() + &message).into_bytes())
}

fn rules() -> Rules {
    Rules {
        received_at_secs: now(),
        is_public_suffix: Box::new(|_| false),
        service: "email",
    }
}

fn now() -> u64 {
    u64::try_from(wall_clock()).unwrap_or_default()
}

/// The records of an answer as `dns lookup` has it.
fn key_answer(answer: &Value) -> KeyAnswer {
    let records = answer["records"].as_array().into_iter().flatten();
    let records = records.filter_map(Value::as_str).map(unescaped);
    match answer["result"].as_str() {
        Some("ok") => KeyAnswer::Records(records.collect()),
        Some("error") => KeyAnswer::Unavailable,
        _ => KeyAnswer::Missing,
    }
}

/// The octets of a text in quotes, as [`slice::escape_ascii`] writes it.
fn unescaped(text: &str) -> Vec<u8> {
    let text = text.strip_prefix('"').and_then(|t| t.strip_suffix('"'));
    let mut rest = text.unwrap_or_default().as_bytes();
    let mut octets = Vec::new();
    loop {
        rest = match rest {
            [] => return octets,
            [b'\\', b'x', high, low, rest @ ..] => {
                let digits = [*high, *low];
                let number = std::str::from_utf8(&digits).ok();
                octets.extend(number.and_then(|n| u8::from_str_radix(n, 16).ok()));
                rest
            }
            [b'\\', octet, rest @ ..] => {
                octets.push(match octet {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    other => *other,
                });
                rest
            }
            [octet, rest @ ..] => {
                octets.push(*octet);
                rest
            }
        }
    }
}

fn described(key: &SigningKey) -> String {
    match key.algorithm() {
        Algorithm::RsaSha256 => format!("RSA, {} bits", key.bits()),
        Algorithm::Ed25519Sha256 => "Ed25519".to_owned(),
    }
}

fn told(selector: &Chosen, answer: &Value, judged: &Result<Option<&str>, String>) -> String {
    let query = query_name(&selector.name, &selector.domain);
    let signs = match selector.signs {
        true => "signs",
        false => "does not sign",
    };
    let mut told = format!("{query} ({}, {signs}): ", described(&selector.key));
    match judged {
        Ok(note) => {
            let proved = match answer["authentic"].as_bool() {
                Some(true) => "DNSSEC proves it",
                _ => "not proved by DNSSEC",
            };
            told.push_str(&format!(
                "the record fits the key ({proved}; holds {} s)\n",
                answer["ttl"]
            ));
            if let Some(note) = note {
                told.push_str(&format!("  note: {note}\n"));
            }
        }
        Err(reason) => {
            told.push_str(&format!("{reason}\n"));
            for record in answer["records"].as_array().into_iter().flatten() {
                told.push_str(&format!("  in DNS: {}\n", record.as_str().unwrap_or("")));
            }
            told.push_str(&format!("  it should be: \"{}\"\n", selector.record()));
        }
    }
    told
}

fn as_json(selector: &Chosen, answer: &Value, judged: &Result<Option<&str>, String>) -> Value {
    let (fits, reason) = match judged {
        Ok(note) => (true, note.map(str::to_owned)),
        Err(reason) => (false, Some(reason.clone())),
    };
    json!({
        "domain": selector.domain.ascii(),
        "selector": selector.name.ascii(),
        "algorithm": selector.key.algorithm().word(),
        "bits": selector.key.bits(),
        "signs": selector.signs,
        "fits": fits,
        "reason": reason,
        "record": selector.record().to_string(),
        "found": answer["records"],
        "authentic": answer["authentic"],
    })
}

fn told_of_signature(evaluation: &Evaluation) -> String {
    let mut told = evaluation.status.to_string();
    if let Some(signature) = &evaluation.signature {
        let (domain, selector) = (signature.domain.ascii(), signature.selector.ascii());
        told.push_str(&format!(
            " d={domain} s={selector} a={}",
            signature.algorithm
        ));
    }
    if let Some(bits) = evaluation.key_bits {
        told.push_str(&format!(" ({bits} bits)"));
    }
    if let Some(reason) = evaluation.reason {
        told.push_str(&format!(": {reason}"));
    }
    told + "\n"
}

fn parse(name: &str) -> Result<Name, Failure> {
    Name::parse(name).map_err(|e| Failure::Usage(format!("{name:?}: {e}")))
}

/// Folder of the keys that `gen` makes, beside the domains file.
const KEYS_FOLDER: &str = "dkim";
/// Every receiver verifies these, and their record still fits any zone editor.
const RSA_BITS: u32 = 2048;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_read_as_they_are_shown() {
        let all: Vec<u8> = (0..=255).collect();
        for octets in [&all[..], b"v=DKIM1; p=AA==", b"", b"\\x41\"'"] {
            let shown = format!("{:?}", dns::Text(octets.to_vec()));
            assert_eq!(unescaped(&shown), octets, "{shown}");
        }
    }

    #[test]
    fn a_record_fits_its_key_alone() {
        let key = |seed: u8| {
            let text = generate::ed25519_key(&mut |octets| octets.fill(seed));
            Arc::new(SigningKey::from_pem(&text).unwrap())
        };
        let selector = Chosen {
            domain: parse("example.org").unwrap(),
            name: parse("2026a").unwrap(),
            key: key(1),
            signs: true,
        };
        let judged = |records: &[String]| {
            let shown = records
                .iter()
                .map(|r| format!("\"{}\"", r.escape_default()));
            let answer = json!({"result": "ok", "records": shown.collect::<Vec<_>>()});
            judge(&selector, &answer).map(|note| note.is_some())
        };
        let own = KeyRecord::of_key(&selector.key).to_string();
        assert_eq!(judged(std::slice::from_ref(&own)), Ok(false));
        assert_eq!(judged(&[own.replace("k=", "t=y; k=")]), Ok(true));
        for (record, reason) in [
            (
                KeyRecord::of_key(&key(2)).to_string(),
                "it is the record of another key",
            ),
            ("v=DKIM1; k=ed25519; p=".to_owned(), "key revoked"),
            (
                own.replace("k=ed25519", "k=rsa"),
                "inappropriate key algorithm",
            ),
            (
                own.replace("h=sha256", "h=sha1"),
                "inappropriate hash algorithm",
            ),
            ("v=spf1 -all".to_owned(), "not a DKIM key record"),
            ("v=DKIM1; p=A".to_owned(), "key syntax error"),
        ] {
            assert_eq!(
                judged(std::slice::from_ref(&record)),
                Err(reason.to_owned()),
                "{record}"
            );
        }
        for (answer, reason) in [
            (json!({"result": "nxdomain"}), "there is no such name"),
            (json!({"result": "nodata"}), "the name has no TXT record"),
            (json!({"result": "error", "error": "timeout"}), "timeout"),
        ] {
            assert_eq!(judge(&selector, &answer), Err(reason.to_owned()));
        }
    }
}

//! `ringmail config tlspubkey`: keys of TLS client certificates; list, get, add, remove, gen.

use std::fs::OpenOptions;
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use p12_keystore::{Certificate, KeyStore, KeyStoreEntry, PrivateKey, PrivateKeyChain};
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, date_time_ymd};
use serde_json::Value;
use shards::tls::{ClientKey, certificate_from_pem, common_name, serial_number};

use super::arguments::Arguments;
use super::certificate::pem;
use super::which::Which;
use super::{Failure, notes, password, print};
use crate::control::protocol::{KeyPosition, PAGE_MAX, Request};

pub(super) fn list(arguments: &Arguments) -> Result<(), Failure> {
    let mut open = Which::of(arguments)?.open_to_read()?;
    let mut after: Option<KeyPosition> = None;
    loop {
        let request = Request::ClientKeyList {
            account: arguments.rest.first().cloned(),
            after,
            limit: PAGE_MAX,
        };
        let mut page = String::new();
        let done = open.request(&request, &mut |item| {
            page.push_str(&line(&item, arguments.json));
            Ok(())
        })?;
        print(&page)?;
        // The position is the server's: handed back as it came.
        after = serde_json::from_value(done["next"].clone()).unwrap_or(None);
        if after.is_none() {
            return Ok(());
        }
    }
}

fn line(item: &Value, json: bool) -> String {
    if json {
        return format!("{item}\n");
    }
    let text = |field: &str| item[field].as_str().unwrap_or_default().to_string();
    let used = match item["last_used"].is_null() {
        true => "never used".to_string(),
        false => format!("used {}", super::date(&item["last_used"])),
    };
    let preauth = match item["no_imap_preauth"].as_bool() {
        Some(true) => "  no IMAP preauth",
        _ => "",
    };
    format!(
        "{} {:<12} {} {}  since {}, {used}{preauth}\n",
        text("fingerprint"),
        text("kind"),
        text("address"),
        text("name"),
        super::date(&item["added"]),
    )
}

pub(super) fn get(arguments: &Arguments) -> Result<(), Failure> {
    let request = Request::ClientKeyGet {
        fingerprint: arguments.rest[0].clone(),
    };
    let mut open = Which::of(arguments)?.open_to_read()?;
    let found = open.request(&request, &mut |_| Ok(()))?;
    if arguments.json {
        return print(&line(&found, true));
    }
    let certificate = found["certificate"].as_str().unwrap_or_default();
    let der = STANDARD.decode(certificate).unwrap_or_default();
    print(&(line(&found, false) + &pem("CERTIFICATE", &der)))
}

pub(super) fn add(arguments: &Arguments) -> Result<(), Failure> {
    let mut which = Which::of(arguments)?.open()?;
    let mut text = Vec::new();
    std::io::stdin()
        .take(PEM_MAX)
        .read_to_end(&mut text)
        .map_err(|e| Failure::Failed(format!("standard input: {e}")))?;
    let certificate = certificate_from_pem(&text)
        .ok_or_else(|| Failure::Failed("there is no certificate (PEM) on standard input".into()))?;
    let name = match arguments.rest.get(1) {
        Some(name) => name.clone(),
        None => {
            let serial = || Some(format!("serial {}", serial_number(&certificate)?));
            let named = common_name(&certificate).filter(|name| !name.is_empty());
            named.or_else(serial).ok_or_else(|| {
                Failure::Failed("the certificate can't be read; give a LABEL for the device".into())
            })?
        }
    };
    let request = Request::ClientKeyAdd {
        address: arguments.rest[0].clone(),
        name,
        certificate: STANDARD.encode(&certificate),
        no_imap_preauth: arguments.no_imap_preauth,
    };
    let added = which.request(&request, &mut |_| Ok(()))?;
    print(&line(&added, false))
}

pub(super) fn remove(arguments: &Arguments) -> Result<(), Failure> {
    let request = Request::ClientKeyRemove {
        fingerprint: arguments.rest[0].clone(),
    };
    let mut open = Which::of(arguments)?.open()?;
    let removed = open.request(&request, &mut |_| Ok(()))?;
    let text = |field: &str| removed[field].as_str().unwrap_or_default().to_string();
    print(&format!(
        "The key {} of {} is gone.\n{}",
        text("name"),
        text("address"),
        notes(&removed)
    ))
}

pub(super) fn generate(arguments: &Arguments) -> Result<(), Failure> {
    let stem = &arguments.rest[0];
    let failed = |e: rcgen::Error| Failure::Failed(format!("no certificate could be made: {e}"));
    let label = Path::new(stem).file_name().unwrap_or_default();
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    let common_name = label.to_string_lossy();
    params
        .distinguished_name
        .push(DnType::CommonName, &*common_name);
    // Nobody looks at the dates.
    params.not_before = date_time_ymd(2000, 1, 1);
    params.not_after = date_time_ymd(2999, 12, 31);
    let pair = KeyPair::generate().map_err(failed)?;
    let certificate = params.self_signed(&pair).map_err(failed)?;
    let key = ClientKey::of(certificate.der()).map_err(|e| Failure::Failed(e.to_string()))?;
    let p12_password = password::generate()?;
    let p12 = pkcs12(
        &common_name,
        &pair.serialize_der(),
        certificate.der(),
        &p12_password,
    )
    .map_err(|e| Failure::Failed(format!("no .p12 could be made: {e}")))?;
    let (private, public) = (
        pem("PRIVATE KEY", &pair.serialize_der()),
        pem("CERTIFICATE", certificate.der()),
    );
    let both = format!("{private}{public}");
    let files = [
        ("key.pem", private.as_bytes(), 0o600),
        ("cert.pem", public.as_bytes(), 0o644),
        ("pem", both.as_bytes(), 0o600),
        ("p12", &p12, 0o600),
    ];
    let path = |end: &str| PathBuf::from(format!("{stem}.{end}"));
    for (end, _, _) in &files {
        if path(end).exists() {
            return Err(Failure::Failed(format!(
                "{} is there already; take another STEM",
                path(end).display()
            )));
        }
    }
    for (end, content, mode) in files {
        write_new(&path(end), content, mode)?;
    }
    print(&format!(
        "Fingerprint {}\nPassword of {stem}.p12: {p12_password}\n\
         Register it: ringmail config tlspubkey add (--config FILE | --dir DIR) ADDRESS < {stem}.cert.pem\n",
        URL_SAFE_NO_PAD.encode(key.fingerprint)
    ))
}

/// RFC 7292.
fn pkcs12(
    name: &str,
    key: &[u8],
    certificate: &[u8],
    password: &str,
) -> Result<Vec<u8>, p12_keystore::error::Error> {
    let chain = PrivateKeyChain::new(
        name.as_bytes(),
        PrivateKey::from_der(key)?,
        [Certificate::from_der(certificate)?],
    );
    let mut store = KeyStore::new();
    store.add_entry(name, KeyStoreEntry::PrivateKeyChain(chain));
    store.writer(password).write()
}

fn write_new(path: &Path, content: &[u8], mode: u32) -> Result<(), Failure> {
    let mut options = OpenOptions::new();
    let opened = options.write(true).create_new(true).mode(mode).open(path);
    opened
        .and_then(|mut file| file.write_all(content))
        .map_err(|e| Failure::Failed(format!("{}: {e}", path.display())))
}

/// Octets of standard input that are looked at.
const PEM_MAX: u64 = 1 << 20;

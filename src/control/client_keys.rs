//! Keys of TLS client certificates: registered, listed, shown, removed.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use shards::tls::ClientKey;

use super::commands::{BROKEN, Control, OTHER_ANSWER, sessions_left};
use super::protocol::{KeyPosition, PAGE_MAX};
use crate::calls::{ControlAnswer, ControlCall};
use crate::percore::wall_clock;
use crate::store::{ClientKeyRow, Fingerprint};

/// A key to be registered.
pub(super) struct NewKey<'a> {
    pub address: &'a str,
    pub name: &'a str,
    /// DER, base64.
    pub certificate: &'a str,
    pub no_imap_preauth: bool,
}

pub(super) fn add(control: &Control, new: &NewKey<'_>) -> Result<Value, String> {
    let _one = control.edits.lock().map_err(|_| BROKEN)?;
    let certificate = STANDARD
        .decode(new.certificate)
        .map_err(|_| "the certificate is not base64")?;
    let key = ClientKey::of(&certificate).map_err(|e| e.to_string())?;
    let live = control.server.live();
    let account = live.directory.login(new.address).ok_or_else(|| {
        format!(
            "{} is no address of an account; ringmail account list names those there are",
            new.address
        )
    })?;
    if new.name.is_empty() || new.name.len() > NAME_MAX || new.name.chars().any(char::is_control) {
        return Err(format!(
            "a key's name has 1 to {NAME_MAX} octets and no control characters"
        ));
    }
    let row = ClientKeyRow {
        account: account.to_string(),
        address: new.address.to_string(),
        name: new.name.to_string(),
        kind: key.kind,
        no_imap_preauth: new.no_imap_preauth,
        added: wall_clock(),
        last_used: None,
        certificate,
    };
    let told = describe(&key.fingerprint, &row);
    let call = ControlCall::AddClientKey {
        fingerprint: key.fingerprint,
        row: Box::new(row),
    };
    match control.ask(owner(control, &key.fingerprint), call)? {
        ControlAnswer::Found(false) => Ok(told),
        _ => Err(format!(
            "the key {} is registered already; ringmail config tlspubkey list tells for whom",
            written(&key.fingerprint)
        )),
    }
}

pub(super) fn remove(control: &Control, fingerprint: &str) -> Result<Value, String> {
    let _one = control.edits.lock().map_err(|_| BROKEN)?;
    let fingerprint = parse(fingerprint)?;
    let call = ControlCall::RemoveClientKey { fingerprint };
    match control.ask(owner(control, &fingerprint), call)? {
        ControlAnswer::ClientKeys(keys) if !keys.is_empty() => {
            let row = &keys[0].1;
            let account = row.account.parse();
            let silent = account.map_or(0, |account| control.server.end_sessions(account));
            let mut told = describe(&fingerprint, row);
            told["messages"] = sessions_left(silent).into();
            Ok(told)
        }
        _ => Err(unknown(&fingerprint)),
    }
}

/// One, with its certificate.
pub(super) fn get(control: &Control, fingerprint: &str) -> Result<Value, String> {
    let fingerprint = parse(fingerprint)?;
    let shard = shards::shard_of(&fingerprint, control.server.shards());
    // The one that comes after all smaller ones.
    let mut before = fingerprint;
    let borrowed = before.iter_mut().rev().try_for_each(|octet| {
        let (less, borrow) = octet.overflowing_sub(1);
        *octet = less;
        if borrow { Ok(()) } else { Err(()) }
    });
    let after = borrowed.is_err().then_some(before);
    match page(control, shard.0, after, 1)?.as_slice() {
        [(found, row)] if *found == fingerprint => {
            let mut told = describe(found, row);
            told["certificate"] = STANDARD.encode(&row.certificate).into();
            Ok(told)
        }
        _ => Err(unknown(&fingerprint)),
    }
}

pub(super) fn list(
    control: &Control,
    account: Option<&str>,
    after: Option<KeyPosition>,
    limit: usize,
    item: &mut dyn FnMut(Value) -> Result<(), String>,
) -> Result<Value, String> {
    let limit = limit.clamp(1, PAGE_MAX);
    let mut position = after.unwrap_or_default();
    let mut read = 0;
    while position.shard < control.server.shards() {
        let last = position.key.as_deref().map(parse).transpose()?;
        let keys = page(control, position.shard, last, limit - read)?;
        read += keys.len();
        for (fingerprint, row) in &keys {
            if account.is_none_or(|account| account == row.account) {
                item(describe(fingerprint, row))?;
            }
        }
        if read >= limit {
            position.key = keys.last().map(|(fingerprint, _)| written(fingerprint));
            return Ok(json!({"next": position}));
        }
        position = KeyPosition {
            shard: position.shard + 1,
            key: None,
        };
    }
    Ok(json!({"next": null}))
}

/// Removes the keys of an account that goes.
pub(super) fn remove_all_of(control: &Control, account: &str) -> Result<(), String> {
    for shard in 0..control.server.shards() {
        let mut after = None;
        loop {
            let keys = page(control, shard, after, PAGE_MAX)?;
            let Some((last, _)) = keys.last() else {
                break;
            };
            after = Some(*last);
            for (fingerprint, _) in keys.iter().filter(|(_, row)| row.account == account) {
                let fingerprint = *fingerprint;
                let call = ControlCall::RemoveClientKey { fingerprint };
                control.ask(owner(control, &fingerprint), call)?;
            }
        }
    }
    Ok(())
}

fn page(
    control: &Control,
    shard: u16,
    after: Option<Fingerprint>,
    limit: usize,
) -> Result<Vec<(Fingerprint, ClientKeyRow)>, String> {
    let call = ControlCall::ClientKeys {
        shard,
        after,
        limit,
    };
    match control.ask(control.server.owner_of_shard(shard), call)? {
        ControlAnswer::ClientKeys(keys) => Ok(keys),
        _ => Err(OTHER_ANSWER.into()),
    }
}

fn owner(control: &Control, fingerprint: &Fingerprint) -> shards::CoreId {
    let shard = shards::shard_of(fingerprint, control.server.shards());
    control.server.owner_of_shard(shard.0)
}

fn describe(fingerprint: &Fingerprint, row: &ClientKeyRow) -> Value {
    json!({
        "fingerprint": written(fingerprint),
        "account": row.account,
        "address": row.address,
        "name": row.name,
        "kind": row.kind,
        "no_imap_preauth": row.no_imap_preauth,
        "added": row.added,
        "last_used": row.last_used,
    })
}

/// Base64 for URLs, without padding.
fn written(fingerprint: &Fingerprint) -> String {
    URL_SAFE_NO_PAD.encode(fingerprint)
}

fn parse(text: &str) -> Result<Fingerprint, String> {
    let octets = URL_SAFE_NO_PAD.decode(text).ok();
    octets
        .and_then(|o| o.try_into().ok())
        .ok_or_else(|| format!("{text:?} is no fingerprint: 43 letters, digits, - and _, as ringmail config tlspubkey list shows them"))
}

fn unknown(fingerprint: &Fingerprint) -> String {
    format!(
        "there is no key {}; ringmail config tlspubkey list names those there are",
        written(fingerprint)
    )
}

/// Octets of a name.
const NAME_MAX: usize = 100;

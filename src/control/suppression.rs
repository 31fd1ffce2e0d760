//! Suppression lists: what accounts send nothing to.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::commands::{Control, OTHER_ANSWER};
use super::protocol::{PAGE_MAX, RowPosition};
use super::secrets::configured;
use crate::calls::{ControlAnswer, ControlCall};
use crate::percore::wall_clock;
use crate::queue::suppression::{AddressRow, Suppressed, base};
use crate::settings::AccountName;

/// One item for each address.
pub(super) fn list(
    control: &Control,
    account: Option<&str>,
    after: Option<RowPosition>,
    limit: usize,
    item: &mut dyn FnMut(Value) -> Result<(), String>,
) -> Result<Value, String> {
    let shards = match account {
        Some(name) => {
            let name = configured(control, name)?;
            let shard = shards::shard_of(name.as_str().as_bytes(), control.server.shards()).0;
            shard..shard + 1
        }
        None => 0..control.server.shards(),
    };
    let limit = limit.clamp(1, PAGE_MAX);
    let mut position = after.unwrap_or_default();
    position.shard = position.shard.max(shards.start);
    let mut told = 0;
    while position.shard < shards.end {
        control.goes_on()?;
        let key = position.key.as_ref().map(|key| STANDARD.decode(key));
        let after = key.transpose().map_err(|_| "no position of a page")?;
        let call = ControlCall::Suppressions {
            shard: position.shard,
            account: account.map(str::to_string),
            after,
            limit: limit - told,
        };
        let owner = control.server.owner_of_shard(position.shard);
        let ControlAnswer::Suppressions(rows) = control.ask(owner, call)? else {
            return Err(OTHER_ANSWER.into());
        };
        for (_, account, row) in &rows {
            item(describe(account, row))?;
        }
        told += rows.len();
        match rows.last() {
            Some((key, ..)) => position.key = Some(STANDARD.encode(key)),
            None => {
                position = RowPosition {
                    shard: position.shard + 1,
                    key: None,
                }
            }
        }
        if told >= limit {
            return Ok(json!({"next": position}));
        }
    }
    Ok(json!({"next": null}))
}

/// In force on every core that answers when it returns.
pub(super) fn add(
    control: &Control,
    account: &str,
    address: &str,
    (reason, expires): (String, Option<i64>),
) -> Result<Value, String> {
    let name = configured(control, account)?;
    let address = parse(address)?;
    let now = wall_clock();
    if reason.len() > REASON_MAX || reason.chars().any(char::is_control) {
        return Err(format!(
            "a reason has at most {REASON_MAX} octets, and no control characters"
        ));
    }
    if expires.is_some_and(|expires| expires <= now) {
        return Err("that time is over".into());
    }
    let suppressed = Suppressed {
        reason: match reason.as_str() {
            "" => "added by hand".into(),
            _ => reason,
        },
        manual: true,
        created: now,
        expires,
    };
    let (was, silent) = change(control, name, &address, Some(suppressed))?;
    if was {
        return Err(format!(
            "{} is on the suppression list of {account} already",
            base(&address)
        ));
    }
    tracing::info!(account, address, "an operator suppressed an address");
    Ok(json!({"address": base(&address), "messages": silence(silent)}))
}

pub(super) fn remove(control: &Control, account: &str, address: &str) -> Result<Value, String> {
    let name = configured(control, account)?;
    let address = parse(address)?;
    if stored(control, name, &address)?.is_none() {
        return Err(format!(
            "{} is not on the suppression list of {account}",
            base(&address)
        ));
    }
    let (_, silent) = change(control, name, &address, None)?;
    tracing::info!(
        account,
        address,
        "an operator took an address off a suppression list"
    );
    Ok(json!({"address": base(&address), "messages": silence(silent)}))
}

pub(super) fn look_up(control: &Control, account: &str, address: &str) -> Result<Value, String> {
    let name = configured(control, account)?;
    let address = parse(address)?;
    Ok(match stored(control, name, &address)? {
        Some(row) => describe(account, &row),
        None => describe(
            account,
            &AddressRow {
                address,
                ..AddressRow::default()
            },
        ),
    })
}

fn parse(address: &str) -> Result<String, String> {
    let is_odd = |c: char| c.is_control() || c.is_whitespace();
    match address.rsplit_once('@') {
        Some((localpart, domain))
            if !localpart.is_empty()
                && !domain.is_empty()
                && address.len() <= ADDRESS_MAX
                && !address.contains(is_odd) =>
        {
            Ok(address.to_string())
        }
        _ => Err(format!("{address:?} is no address")),
    }
}

fn stored(
    control: &Control,
    account: AccountName,
    address: &str,
) -> Result<Option<AddressRow>, String> {
    let owner = owner(control, account);
    let call = ControlCall::Suppression {
        account,
        address: address.to_string(),
    };
    match control.ask(owner, call)? {
        ControlAnswer::Suppression(row) => Ok(row),
        _ => Err(OTHER_ANSWER.into()),
    }
}

fn change(
    control: &Control,
    account: AccountName,
    address: &str,
    to: Option<Suppressed>,
) -> Result<(bool, u16), String> {
    let owner = owner(control, account);
    let call = ControlCall::ChangeSuppression {
        account,
        address: address.to_string(),
        to,
        replaces: false,
    };
    match control.ask(owner, call)? {
        ControlAnswer::SuppressionChanged(was, silent) => Ok((was, silent)),
        _ => Err(OTHER_ANSWER.into()),
    }
}

fn owner(control: &Control, account: AccountName) -> shards::CoreId {
    let shard = shards::shard_of(account.as_str().as_bytes(), control.server.shards());
    control.server.owner_of_shard(shard.0)
}

fn silence(silent: u16) -> Vec<String> {
    let note = format!(
        "{silent} cores gave no answer: they may go by the old list for ten minutes, or until the server is restarted"
    );
    (silent > 0).then_some(note).into_iter().collect()
}

fn describe(account: &str, row: &AddressRow) -> Value {
    let suppressed = row.in_force(wall_clock());
    json!({
        "account": account,
        "address": base(&row.address),
        "named": row.address,
        "suppressed": suppressed.is_some(),
        "reason": suppressed.map(|s| &s.reason),
        "manual": suppressed.map(|s| s.manual),
        "created": suppressed.map(|s| s.created),
        "expires": suppressed.and_then(|s| s.expires),
        "failures": row.failures.len(),
    })
}

/// RFC 5321 4.5.3.1: a localpart, an "@", a domain.
const ADDRESS_MAX: usize = 64 + 1 + 255;
/// Octets of a reason.
const REASON_MAX: usize = 500;

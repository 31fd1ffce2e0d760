//! The record of login attempts, as operators see it.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use shards::CoreId;

use super::commands::{Control, OTHER_ANSWER};
use super::protocol::{LOGINS_MAX, PAGE_MAX};
use super::secrets::configured;
use crate::calls::{ControlAnswer, ControlCall};
use crate::login::LoginRecord;

/// The latest records, the latest first: of an account, of nobody (`-`), or of all.
pub(super) fn list(
    control: &Control,
    account: Option<&str>,
    failed: bool,
    limit: usize,
    item: &mut dyn FnMut(Value) -> Result<(), String>,
) -> Result<Value, String> {
    let account = match account {
        Some("-") => Some(""),
        other => other,
    };
    if let Some(name) = account.filter(|name| !name.is_empty()) {
        configured(control, name)?;
    }
    for core in 0..control.server.cores() {
        // What somebody asks for right after a login is there. The executor without shards has logins too, one day.
        control.ask(CoreId(core), ControlCall::WriteLogins)?;
    }
    let limit = limit.clamp(1, LOGINS_MAX);
    let mut latest: BinaryHeap<Reverse<ByTime>> = BinaryHeap::new();
    for shard in shards_of(control, account) {
        let mut after = None;
        loop {
            if control.is_stopping() {
                return Err("the server is stopping".into());
            }
            let call = ControlCall::Logins {
                shard,
                account: account.map(str::to_string),
                after,
                limit: PAGE_MAX,
            };
            let answer = control.ask(control.server.owner_of_shard(shard), call)?;
            let ControlAnswer::Logins(records) = answer else {
                return Err(OTHER_ANSWER.into());
            };
            let Some((last, _)) = records.last() else {
                break;
            };
            after = Some(last.clone());
            for (_, record) in records {
                if failed && record.attempted.is_ok() {
                    continue;
                }
                latest.push(Reverse(ByTime(record)));
                if latest.len() > limit {
                    latest.pop();
                }
            }
        }
    }
    for Reverse(ByTime(record)) in latest.into_sorted_vec() {
        item(describe(&record))?;
    }
    Ok(json!({}))
}

fn shards_of(control: &Control, account: Option<&str>) -> Vec<u16> {
    match account {
        Some(name) if !name.is_empty() => {
            vec![shards::shard_of(name.as_bytes(), control.server.shards()).0]
        }
        _ => (0..control.server.shards()).collect(),
    }
}

fn describe(record: &LoginRecord) -> Value {
    let LoginRecord { attempted, times } = record;
    json!({
        "account": attempted.account,
        "login": attempted.login,
        "result": attempted.result,
        "protocol": attempted.protocol,
        "mechanism": attempted.mechanism,
        "peer": attempted.peer,
        "local": attempted.local,
        "tls": attempted.tls,
        "key": attempted.key.map(|key| URL_SAFE_NO_PAD.encode(key)),
        "client": attempted.client,
        "first": times.first,
        "last": times.last,
        "count": times.count,
    })
}

/// By the time of its last attempt.
struct ByTime(LoginRecord);

impl ByTime {
    fn key(&self) -> (i64, i64, u64) {
        (self.0.times.last, self.0.times.first, self.0.times.count)
    }
}

impl Ord for ByTime {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.key().cmp(&other.key())
    }
}

impl PartialOrd for ByTime {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for ByTime {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for ByTime {}

//! Keys of the API: made, listed, removed.

use serde_json::{Value, json};
use webapi::v1::key::NewKey;
use webapi::v1::{Scope, Scopes};

use super::commands::{BROKEN, Control, OTHER_ANSWER};
use super::secrets::configured;
use crate::calls::{ControlAnswer, ControlCall};
use crate::login::api_key::{self, KeyId};
use crate::percore::wall_clock;
use crate::settings::AccountName;
use crate::store::ApiKeyRow;

/// A key to be made.
pub(super) struct Wanted {
    pub name: String,
    pub scopes: Vec<String>,
    pub from: Vec<String>,
    pub per_minute: Option<u32>,
    pub expires: Option<i64>,
}

pub(super) fn add(control: &Control, account: &str, wanted: Wanted) -> Result<Value, String> {
    let _one = control.edits.lock().map_err(|_| BROKEN)?;
    let account = configured(control, account)?;
    let scopes = wanted.scopes.iter().map(|word| {
        Scope::of_word(word).ok_or_else(|| {
            let all: Vec<&str> = Scope::ALL.iter().map(|scope| scope.as_str()).collect();
            format!("there is no scope {word:?}, but {}", all.join(", "))
        })
    });
    let now = wall_clock();
    let new = NewKey {
        name: wanted.name,
        scopes: scopes.collect::<Result<Vec<Scope>, String>>()?,
        from: wanted.from,
        per_minute: wanted.per_minute,
        expires: None,
    };
    if let Some(fault) = new.check(now).first() {
        let field = fault.pointer.as_deref().unwrap_or_default();
        return Err(format!(
            "{}: {}",
            field.trim_start_matches('/'),
            fault.detail
        ));
    }
    if wanted.expires.is_some_and(|expires| expires <= now) {
        return Err("that time is over".into());
    }
    let (id, secret, digest) = api_key::make()?;
    let row = ApiKeyRow {
        account: account.to_string(),
        name: new.name,
        digest,
        scopes: Scopes::of(&new.scopes).bits(),
        from: new.from,
        per_minute: new.per_minute.unwrap_or(0),
        created: now,
        expires: wanted.expires,
        last_used: None,
    };
    let mut told = describe(&id, &row);
    told["secret"] = secret.into();
    let call = ControlCall::AddApiKey {
        account,
        id,
        row: Box::new(row),
    };
    control.ask(control.server.owner_of(account.as_str()), call)?;
    Ok(told)
}

/// One item for each key.
pub(super) fn list(
    control: &Control,
    account: &str,
    item: &mut dyn FnMut(Value) -> Result<(), String>,
) -> Result<Value, String> {
    let account = configured(control, account)?;
    for (id, row) in all_of(control, account)? {
        item(describe(&id, &row))?;
    }
    Ok(json!({}))
}

pub(super) fn remove(control: &Control, account: &str, id: &str) -> Result<Value, String> {
    let _one = control.edits.lock().map_err(|_| BROKEN)?;
    let account = configured(control, account)?;
    let gone = || {
        format!("{account} has no key {id:?}; ringmail apikey list {account} shows those there are")
    };
    let number = api_key::parse_id(id).ok_or_else(gone)?;
    let (row, silent) = drop_one(control, account, number)?;
    let row = row.ok_or_else(gone)?;
    let mut told = describe(&number, &row);
    let note = format!(
        "{silent} cores gave no answer: they may take the key for some minutes yet, or until the server is restarted"
    );
    let notes: Vec<String> = (silent > 0).then_some(note).into_iter().collect();
    told["messages"] = notes.into();
    Ok(told)
}

/// Removes the keys of an account that goes.
pub(super) fn remove_all_of(control: &Control, account: AccountName) -> Result<(), String> {
    for (id, _) in all_of(control, account)? {
        drop_one(control, account, id)?;
    }
    Ok(())
}

fn all_of(control: &Control, account: AccountName) -> Result<Vec<(KeyId, ApiKeyRow)>, String> {
    let owner = control.server.owner_of(account.as_str());
    match control.ask(owner, ControlCall::ApiKeys { account })? {
        ControlAnswer::ApiKeys(keys) => Ok(keys),
        _ => Err(OTHER_ANSWER.into()),
    }
}

fn drop_one(
    control: &Control,
    account: AccountName,
    id: KeyId,
) -> Result<(Option<Box<ApiKeyRow>>, u16), String> {
    let owner = control.server.owner_of(account.as_str());
    match control.ask(owner, ControlCall::RemoveApiKey { account, id })? {
        ControlAnswer::ApiKeyRemoved(row, silent) => Ok((row, silent)),
        _ => Err(OTHER_ANSWER.into()),
    }
}

fn describe(id: &KeyId, row: &ApiKeyRow) -> Value {
    json!({
        "id": api_key::written(id),
        "account": row.account,
        "name": row.name,
        "scopes": Scopes::of_bits(row.scopes).list(),
        "from": row.from,
        "per_minute": Some(row.per_minute).filter(|rate| *rate > 0),
        "created": row.created,
        "expires": row.expires,
        "last_used": row.last_used,
    })
}

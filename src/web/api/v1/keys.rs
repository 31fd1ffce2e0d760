//! Keys of the account.

use hyper::StatusCode;
use webapi::Time;
use webapi::v1::key::{Key, Keys, MadeKey, NewKey};
use webapi::v1::{Fault, Kind, Problem, Scopes, read};

use super::auth::may_write_as;
use super::{Asked, Said, other_answer, reply, unavailable};
use crate::calls::{ControlAnswer, ControlCall};
use crate::login::api_key::{self, KeyId};
use crate::store::ApiKeyRow;

/// All of them.
pub(super) async fn list(asked: &Asked) -> Said {
    let account = asked.login()?.account;
    match asked.ask_owner(ControlCall::ApiKeys { account }).await? {
        ControlAnswer::ApiKeys(keys) => {
            let keys = keys.iter().map(|(id, row)| describe(id, row)).collect();
            reply::json(StatusCode::OK, &Keys { keys })
        }
        _ => Err(other_answer()),
    }
}

/// Makes one.
pub(super) async fn make(asked: &Asked) -> Said {
    let login = asked.login()?;
    let new: NewKey = read::body(&asked.body)?;
    let now = asked.core.wall_clock();
    let mut faults = new.check(now);
    let more = |(_, scope): &(usize, &_)| !login.scopes.has(**scope);
    for (at, scope) in new.scopes.iter().enumerate().filter(more) {
        let detail = format!("the key that asks has not the scope {}", scope.as_str());
        faults.push(Fault::at(format!("/scopes/{at}"), detail));
    }
    let own = login.key.as_ref().map_or(&[][..], |key| &key.from);
    if !own.is_empty() {
        if new.from.is_empty() {
            let detail = "the key that asks may not write as everybody the account may";
            faults.push(Fault::at("/from", detail));
        }
        for (at, entry) in new.from.iter().enumerate() {
            // A domain is part of a list only as itself.
            let has = own.iter().any(|one| one.eq_ignore_ascii_case(entry));
            let may = has || entry.contains('@') && may_write_as(own, entry);
            if !may {
                let detail = format!("the key that asks may not write as {entry}");
                faults.push(Fault::at(format!("/from/{at}"), detail));
            }
        }
    }
    if let Some(key) = &login.key {
        let per_minute = new.per_minute.unwrap_or(0);
        if key.per_minute != 0 && (per_minute == 0 || per_minute > key.per_minute) {
            let detail = format!("the key that asks has {} a minute", key.per_minute);
            faults.push(Fault::at("/per_minute", detail));
        }
        let expires = new.expires.map(Time::unix);
        if let Some(own) = key.expires
            && expires.is_none_or(|expires| expires > own)
        {
            faults.push(Fault::at("/expires", "the key that asks ends before"));
        }
    }
    if !faults.is_empty() {
        return Err(Problem::of_faults(Kind::Invalid, faults));
    }
    let (id, secret, digest) = api_key::make().map_err(unavailable)?;
    let row = ApiKeyRow {
        account: login.account.to_string(),
        name: new.name,
        digest,
        scopes: Scopes::of(&new.scopes).bits(),
        from: new.from,
        per_minute: new.per_minute.unwrap_or(0),
        created: now,
        expires: new.expires.map(Time::unix),
        last_used: None,
    };
    let key = describe(&id, &row);
    let call = ControlCall::AddApiKey {
        account: login.account,
        id,
        row: Box::new(row),
    };
    asked.ask_owner(call).await?;
    reply::json(StatusCode::CREATED, &MadeKey { secret, key })
}

/// Removes one: it logs nobody in when this is answered.
pub(super) async fn delete(asked: &Asked) -> Said {
    let gone = || Problem::new(Kind::NotFound, "the account has no such key");
    let id = api_key::parse_id(asked.parameter()).ok_or_else(gone)?;
    let account = asked.login()?.account;
    match asked
        .ask_owner(ControlCall::RemoveApiKey { account, id })
        .await?
    {
        ControlAnswer::ApiKeyRemoved(Some(_), _) => Ok(reply::nothing()),
        ControlAnswer::ApiKeyRemoved(None, _) => Err(gone()),
        _ => Err(other_answer()),
    }
}

fn describe(id: &KeyId, row: &ApiKeyRow) -> Key {
    Key {
        id: api_key::written(id),
        name: row.name.clone(),
        scopes: Scopes::of_bits(row.scopes).list(),
        from: row.from.clone(),
        per_minute: Some(row.per_minute).filter(|rate| *rate > 0),
        created: Time::of_unix(row.created),
        expires: row.expires.and_then(Time::of_unix),
        last_used: row.last_used.and_then(Time::of_unix),
    }
}

//! The suppression list, as the account's owner has it.

use hyper::StatusCode;
use webapi::Time;
use webapi::v1::suppression::{Page, PutSuppression, Suppression, Suppressions};
use webapi::v1::{Fault, Kind, Problem, read};

use super::paging::Cursors;
use super::{Asked, Said, other_answer, paging, reply};
use crate::calls::{ControlAnswer, ControlCall};
use crate::queue::suppression::{AddressRow, Suppressed, base};

/// A page of it.
pub(super) async fn list(asked: &Asked) -> Said {
    let page: Page = read::query(&asked.query)?;
    let limit = paging::bounds(asked, page.limit)?.entries;
    let account = asked.login()?.account;
    let cursors = Cursors::of(asked, "suppressions")?;
    let core = &asked.core;
    let call = ControlCall::Suppressions {
        shard: shards::shard_of(account.as_str().as_bytes(), core.shard_count).0,
        account: Some(account.to_string()),
        after: cursors.place(page.cursor.as_deref())?,
        limit,
    };
    let ControlAnswer::Suppressions(rows) = asked.ask_owner(call).await? else {
        return Err(other_answer());
    };
    let next_cursor = match rows.last() {
        Some((key, ..)) if rows.len() == limit => Some(cursors.written(key)),
        _ => None,
    };
    let now = core.wall_clock();
    let told = rows.iter().filter_map(|(.., row)| describe(row, now));
    let page = Suppressions {
        suppressions: told.collect(),
        next_cursor,
    };
    reply::long(asked, rows.len() * paging::ENTRY, page).await
}

/// One of it.
pub(super) async fn get(asked: &Asked) -> Said {
    match found(asked, &address(asked)?).await? {
        Some(suppression) => reply::json(StatusCode::OK, &suppression),
        None => Err(not_there()),
    }
}

/// It is there from now on.
pub(super) async fn put(asked: &Asked) -> Said {
    let address = address(asked)?;
    let wanted: PutSuppression = read::body(&asked.body)?;
    let now = asked.core.wall_clock();
    if wanted.reason.len() > REASON_MAX || wanted.reason.chars().any(char::is_control) {
        let detail = format!("at most {REASON_MAX} octets, and no control characters");
        return Err(Fault::at("/reason", detail).into());
    }
    if wanted.expires.is_some_and(|time| time.unix() <= now) {
        return Err(Fault::at("/expires", "that time is over").into());
    }
    let suppressed = Suppressed {
        reason: match wanted.reason.as_str() {
            "" => "added through the API".into(),
            reason => reason.into(),
        },
        manual: wanted.manual,
        created: now,
        expires: wanted.expires.map(Time::unix),
    };
    let row = AddressRow {
        address: address.clone(),
        suppressed: Some(suppressed.clone()),
        failures: Vec::new(),
    };
    change(asked, address, Some(suppressed)).await?;
    match describe(&row, now) {
        Some(suppression) => reply::json(StatusCode::OK, &suppression),
        None => Err(not_there()),
    }
}

/// It is not there any more.
pub(super) async fn delete(asked: &Asked) -> Said {
    match change(asked, address(asked)?, None).await? {
        true => Ok(reply::nothing()),
        false => Err(not_there()),
    }
}

/// Whether it was there before.
async fn change(asked: &Asked, address: String, to: Option<Suppressed>) -> Result<bool, Problem> {
    let call = ControlCall::ChangeSuppression {
        account: asked.login()?.account,
        address,
        to,
        replaces: true,
    };
    match asked.ask_owner(call).await? {
        ControlAnswer::SuppressionChanged(was, _) => Ok(was),
        _ => Err(other_answer()),
    }
}

async fn found(asked: &Asked, address: &str) -> Result<Option<Suppression>, Problem> {
    let call = ControlCall::Suppression {
        account: asked.login()?.account,
        address: address.to_string(),
    };
    match asked.ask_owner(call).await? {
        ControlAnswer::Suppression(row) => {
            let now = asked.core.wall_clock();
            Ok(row.and_then(|row| describe(&row, now)))
        }
        _ => Err(other_answer()),
    }
}

/// None: it is not in force.
fn describe(row: &AddressRow, now: i64) -> Option<Suppression> {
    let suppressed = row.in_force(now)?;
    Some(Suppression {
        address: base(&row.address),
        named: row.address.clone(),
        reason: suppressed.reason.clone(),
        manual: suppressed.manual,
        created: Time::of_unix(suppressed.created),
        expires: suppressed.expires.and_then(Time::of_unix),
    })
}

fn address(asked: &Asked) -> Result<String, Problem> {
    let text = asked.parameter();
    let address: Result<smtp::Address, _> = text.parse();
    match address {
        Ok(address) => Ok(address.to_string()),
        Err(error) => Err(Fault::of_parameter("address", format!("{text:?}: {error}")).into()),
    }
}

fn not_there() -> Problem {
    Problem::new(Kind::NotFound, "the address is not on the list")
}

/// Octets of a reason.
const REASON_MAX: usize = 200;

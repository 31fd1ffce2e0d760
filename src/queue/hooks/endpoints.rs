//! Endpoints: added, changed, switched on and off, given other secrets, removed. Each change is durable when it returns; the caller
//! tells all cores of which events anybody is told then.

use std::rc::Rc;

use shards::storage::Shard;
use webapi::hook::HookEvents;

use super::{
    Book, CONCURRENCY_MAX, ENDPOINTS_MAX, EndpointRow, HooksTurn, LineRow, SecretRow, Target, what,
};
use crate::queue::events::Writing;
use crate::settings::Webhooks;
use crate::store::{StoreError, rows};

/// What an owner says of an endpoint.
#[derive(Clone, PartialEq, Eq)]
pub struct EndpointSpec {
    /// Where calls go.
    pub url: String,
    /// The value of Authorization.
    pub authorization: Option<String>,
    /// Of what it is told.
    pub events: HookEvents,
    /// Calls at once.
    pub concurrency: u8,
}

/// Without what it authorizes with.
impl std::fmt::Debug for EndpointSpec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EndpointSpec")
            .field("url", &self.url)
            .finish_non_exhaustive()
    }
}

impl EndpointSpec {
    /// Whether a URL leads to the same server: what it authorizes with is not for others.
    pub fn is_same_server(&self, url: &str) -> bool {
        let (own, other) = (Target::parse(&self.url), Target::parse(url));
        matches!((own, other), (Ok(own), Ok(other)) if own.is_same_server(&other))
    }

    /// What is wrong with it, in words for its owner.
    pub fn check(&self, settings: &Webhooks) -> Result<(), String> {
        match self.faults(settings).into_iter().next() {
            Some((_, fault)) => Err(fault),
            None => Ok(()),
        }
    }

    /// The same, all of it, each with the name of its field.
    pub fn faults(&self, settings: &Webhooks) -> Vec<(&'static str, String)> {
        let mut faults = Vec::new();
        if let Err(fault) = Target::of_endpoint(&self.url, settings) {
            faults.push(("url", fault));
        }
        if self.events.is_empty() {
            let fault = "an endpoint is told of one event at least";
            faults.push(("events", fault.into()));
        }
        if !(1..=CONCURRENCY_MAX).contains(&self.concurrency) {
            let fault = format!("1 to {CONCURRENCY_MAX} calls at once");
            faults.push(("concurrency", fault));
        }
        let authorization = self.authorization.as_deref().unwrap_or("x");
        let is_plain = authorization.bytes().all(|b| (b' '..=b'~').contains(&b));
        if authorization.is_empty() || authorization.len() > AUTHORIZATION_MAX || !is_plain {
            let fault = format!(
                "the value of Authorization has 1 to {AUTHORIZATION_MAX} characters of ASCII"
            );
            faults.push(("authorization", fault));
        }
        faults
    }
}

/// Of which events of the account anybody is told, and the version of that.
pub type Told = (u64, HookEvents);

/// Endpoints of an account, each with how many hooks wait for it, and how many were not made for want of room.
pub async fn endpoints(
    shard: &Rc<Shard>,
    account: &str,
) -> Result<(Vec<(EndpointRow, u64)>, u64, Told), StoreError> {
    let book = Book::look(shard, account).await?;
    let told = book.told();
    let open = book.endpoints.iter().filter(|endpoint| !endpoint.removed);
    let all = open.map(|endpoint| {
        let line = book.lines.get(&endpoint.id);
        (endpoint.clone(), line.map_or(0, |line| line.count))
    });
    Ok((all.collect(), book.row.dropped, told))
}

/// Endpoints of an account with hooks that wait, or of which it has still to be told or forgotten something: for the flow, at its start.
pub async fn lines(
    shard: &Rc<Shard>,
    account: &str,
) -> Result<Vec<(EndpointRow, LineRow)>, StoreError> {
    let book = Book::look(shard, account).await?;
    let line = |endpoint: &EndpointRow| {
        let line = book.lines.get(&endpoint.id).cloned();
        (endpoint.clone(), line.unwrap_or_default())
    };
    Ok(book.endpoints.iter().map(line).collect())
}

/// One of them.
pub async fn endpoint(
    shard: &Rc<Shard>,
    account: &str,
    id: u32,
) -> Result<Option<EndpointRow>, StoreError> {
    let row = shard.get(super::endpoint_key(account, id)).await?;
    let row: Option<EndpointRow> = row.map(|row| rows::decode(&row, what)).transpose()?;
    Ok(row.filter(|row| !row.removed))
}

/// Adds an endpoint, or says something else of one, which the caller has checked; none: there is none of that number. A new one begins with the
/// secret.
pub async fn put(
    shard: &Rc<Shard>,
    turn: &HooksTurn,
    (id, spec): (Option<u32>, &EndpointSpec),
    secret: Vec<u8>,
    now: i64,
) -> Result<(Option<EndpointRow>, Told), StoreError> {
    change(shard, turn, now, |book| {
        let id = match id {
            Some(id) => id,
            None => {
                let open = book.endpoints.iter().filter(|e| !e.removed);
                // Those that are being erased have rows, too.
                if open.count() >= ENDPOINTS_MAX || book.endpoints.len() >= 3 * ENDPOINTS_MAX {
                    return Err(StoreError::Limit("an account has at most 20 endpoints"));
                }
                book.row.last_endpoint += 1;
                book.endpoints.push(EndpointRow {
                    id: book.row.last_endpoint,
                    url: String::new(),
                    authorization: None,
                    event_bits: 0,
                    secrets: vec![SecretRow {
                        octets: secret,
                        until: None,
                    }],
                    concurrency: 1,
                    created: now,
                    failing_since: None,
                    disabled: None,
                    mail_owed: None,
                    removed: false,
                });
                book.row.last_endpoint
            }
        };
        if of(book, id).is_some_and(|endpoint| endpoint.url != spec.url) {
            book.end_pause(id);
        }
        Ok(of(book, id).map(|endpoint| {
            endpoint.url.clone_from(&spec.url);
            endpoint.authorization.clone_from(&spec.authorization);
            endpoint.event_bits = spec.events.to_bits();
            endpoint.concurrency = spec.concurrency;
            endpoint.clone()
        }))
    })
    .await
}

/// Whether an endpoint is on; if not, why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Enabled {
    /// It is told of events.
    Yes,
    /// It is not.
    No(String),
}

/// Switches an endpoint on or off; none: there is none of that number.
pub async fn set_enabled(
    shard: &Rc<Shard>,
    turn: &HooksTurn,
    id: u32,
    enabled: &Enabled,
    now: i64,
) -> Result<(Option<EndpointRow>, Told), StoreError> {
    change(shard, turn, now, |book| {
        if *enabled == Enabled::Yes {
            book.end_pause(id);
        }
        Ok(of(book, id).map(|endpoint| {
            match enabled {
                Enabled::Yes => {
                    endpoint.disabled = None;
                    // It begins anew.
                    endpoint.failing_since = None;
                    endpoint.mail_owed = None;
                }
                Enabled::No(why) => endpoint.disabled = Some(why.clone()),
            }
            endpoint.clone()
        }))
    })
    .await
}

/// Gives an endpoint another secret; the one before signs beside it until then.
pub async fn rotate(
    shard: &Rc<Shard>,
    turn: &HooksTurn,
    id: u32,
    (secret, until): (Vec<u8>, i64),
    now: i64,
) -> Result<(Option<EndpointRow>, Told), StoreError> {
    change(shard, turn, now, |book| {
        Ok(of(book, id).map(|endpoint| {
            let mut secrets = vec![SecretRow {
                octets: secret,
                until: None,
            }];
            // Two at a time: whoever changes twice within the time does not need the first any more.
            let before = endpoint.secrets.first().filter(|_| until > now);
            secrets.extend(before.map(|before| SecretRow {
                octets: before.octets.clone(),
                until: Some(until),
            }));
            endpoint.secrets = secrets;
            endpoint.clone()
        }))
    })
    .await
}

/// Takes an endpoint out; what waits for it is erased by and by ([`super::purge`]). None: there is none of that number.
pub async fn remove(
    shard: &Rc<Shard>,
    turn: &HooksTurn,
    id: u32,
    now: i64,
) -> Result<(Option<EndpointRow>, Told), StoreError> {
    change(shard, turn, now, |book| {
        Ok(of(book, id).map(|endpoint| {
            endpoint.removed = true;
            endpoint.secrets.clear();
            endpoint.authorization = None;
            endpoint.clone()
        }))
    })
    .await
}

/// The account was told that an endpoint was switched off.
pub async fn mail_paid(
    shard: &Rc<Shard>,
    turn: &HooksTurn,
    id: u32,
    now: i64,
) -> Result<(), StoreError> {
    let paid = change(shard, turn, now, |book| {
        Ok(of(book, id).map(|endpoint| {
            endpoint.mail_owed = None;
            endpoint.clone()
        }))
    });
    paid.await.map(|_| ())
}

fn of(book: &mut Book, id: u32) -> Option<&mut EndpointRow> {
    book.endpoint_mut(id).filter(|endpoint| !endpoint.removed)
}

async fn change(
    shard: &Rc<Shard>,
    turn: &HooksTurn,
    now: i64,
    change: impl FnOnce(&mut Book) -> Result<Option<EndpointRow>, StoreError>,
) -> Result<(Option<EndpointRow>, Told), StoreError> {
    let mut writing = Writing::new(shard, turn, now);
    let mut book = Book::open(&mut writing).await?;
    let changed = change(&mut book)?;
    if changed.is_some() {
        book.endpoints_changed(now);
    }
    let told = book.told();
    book.close(&mut writing);
    writing.commit().await?;
    Ok((changed, told))
}

/// Octets of a value of Authorization.
const AUTHORIZATION_MAX: usize = 1000;

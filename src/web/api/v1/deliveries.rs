//! Deliveries to webhooks: those that wait, and those that are over, as far as they are kept.

use hyper::StatusCode;
use serde::{Deserialize, Serialize};
use webapi::Time;
use webapi::v1::webhook::{
    CallResult, Deliveries, Delivery, DeliverySelection, DeliveryState, DeliveryWithPayload,
};
use webapi::v1::{Kind, Problem, read};

use super::paging::Cursors;
use super::webhooks::ask_hooks;
use super::{Asked, Said, other_answer, paging, reply};
use crate::queue::Most;
use crate::queue::hooks::{
    HookAnswer, HookAsk, HookFilter, HookResult, HookRow, Redelivered, RetiredHook,
};

/// A page of all: first those that wait, then those that are over.
pub(super) async fn list(asked: &Asked) -> Said {
    let selection: DeliverySelection = read::query(&asked.query)?;
    let most = paging::bounds(asked, selection.limit)?;
    let cursors = Cursors::of(asked, "deliveries")?;
    let place = cursors.place(selection.cursor.as_deref())?;
    let mut place = match selection.state {
        None | Some(DeliveryState::Waiting) => Some(place.unwrap_or(Place::Waiting(None))),
        Some(_) => Some(place.unwrap_or(Place::Over(None))),
    };
    let filter = filter(&selection);
    let mut deliveries = Vec::new();
    let mut left = most;
    for _ in 0..PAGES_MAX {
        let Some(from) = place.take_if(|_| !left.is_used_up()) else {
            break;
        };
        let (found, next) = page(asked, &filter, from, left).await?;
        for (octets, one) in found {
            if fits(&one, selection.state) {
                left.take(octets);
                deliveries.push(one);
            }
        }
        place = match (next, selection.state) {
            // Nothing that is over fits.
            (Some(Place::Over(_)), Some(DeliveryState::Waiting)) => None,
            (next, _) => next,
        };
    }
    let page = Deliveries {
        deliveries,
        next_cursor: place.map(|place| cursors.written(&place)),
    };
    reply::long(asked, most.octets - left.octets, page).await
}

/// One, wherever it is, with its payload.
pub(super) async fn get(asked: &Asked) -> Said {
    let id = id(asked)?;
    let delivery = found(asked, id).await?;
    asked.reserve(MADE_OF_PAYLOAD * delivery.size as usize)?;
    let payload = match ask_hooks(asked, HookAsk::Payload { id }).await? {
        HookAnswer::Payload(Some(octets)) => String::from_utf8_lossy(&octets).into_owned(),
        HookAnswer::Payload(None) => return Err(not_there()),
        _ => return Err(other_answer()),
    };
    let octets = payload.len();
    let whole = DeliveryWithPayload { delivery, payload };
    reply::long(asked, octets, whole).await
}

/// One that is over waits again. One that waits already stays so: a repeat after a lost answer finds it done.
pub(super) async fn redeliver(asked: &Asked) -> Said {
    let id = id(asked)?;
    let HookAnswer::Redelivered(done) = ask_hooks(asked, HookAsk::Redeliver { id }).await? else {
        return Err(other_answer());
    };
    if let Redelivered::NoRoom(why) = done {
        let words = format!("{why}; let the receivers take what waits, or cancel some of it");
        return Err(Problem::new(Kind::LimitReached, words));
    }
    let is_done = done != Redelivered::Missing;
    let delivery = found(asked, id).await;
    match delivery {
        Ok(delivery) if is_done || delivery.state == DeliveryState::Waiting => {
            reply::json(StatusCode::OK, &delivery)
        }
        Ok(_) => Err(Problem::new(Kind::NotFound, "its webhook is gone")),
        Err(problem) => Err(problem),
    }
}

/// One that waits is given up.
pub(super) async fn cancel(asked: &Asked) -> Said {
    let hooks = vec![id(asked)?];
    match ask_hooks(asked, HookAsk::Cancel { hooks }).await? {
        HookAnswer::Canceled(0) => Err(Problem::new(
            Kind::NotFound,
            "there is no such delivery that waits",
        )),
        HookAnswer::Canceled(_) => Ok(reply::nothing()),
        _ => Err(other_answer()),
    }
}

/// Where a page ended.
#[derive(Clone, Debug, Serialize, Deserialize)]
enum Place {
    Waiting(Option<Vec<u8>>),
    Over(Option<Vec<u8>>),
}

/// Those that fit, up to the bounds of a page, each with the octets it comes to; and where to go on.
async fn page(
    asked: &Asked,
    filter: &HookFilter,
    from: Place,
    most: Most,
) -> Result<(Vec<(usize, Delivery)>, Option<Place>), Problem> {
    let filter = Box::new(filter.clone());
    let ask = match from {
        Place::Waiting(after) => HookAsk::Pending {
            filter,
            after,
            most,
        },
        Place::Over(after) => HookAsk::Retired {
            filter,
            after,
            most,
        },
    };
    match ask_hooks(asked, ask).await? {
        HookAnswer::Pending((hooks, next), pauses) => {
            let next = match next {
                Some(key) => Place::Waiting(Some(key)),
                None => Place::Over(None),
            };
            let waiting = |hook: &HookRow| {
                let until = pauses.get(&hook.endpoint).copied();
                let delivery = Delivery {
                    next_attempt: Time::of_unix(hook.due.max(until.unwrap_or(0))),
                    paused_until: until.and_then(Time::of_unix),
                    ..waiting(hook)
                };
                (hook.octets(), delivery)
            };
            Ok((hooks.iter().map(waiting).collect(), Some(next)))
        }
        HookAnswer::Retired((hooks, next)) => {
            let next = next.map(|key| Place::Over(Some(key)));
            let over = |retired: &RetiredHook| (retired.hook.octets(), over(retired));
            Ok((hooks.iter().map(over).collect(), next))
        }
        _ => Err(other_answer()),
    }
}

/// It waits, or else it is over: on its way it goes from here to there.
async fn found(asked: &Asked, id: u64) -> Result<Delivery, Problem> {
    let filter = HookFilter {
        id: Some(id),
        ..HookFilter::default()
    };
    for from in [Place::Waiting(None), Place::Over(None)] {
        let (found, _) = page(asked, &filter, from, Most::entries(1)).await?;
        if let Some((_, delivery)) = found.into_iter().next() {
            return Ok(delivery);
        }
    }
    Err(not_there())
}

fn filter(selection: &DeliverySelection) -> HookFilter {
    HookFilter {
        id: None,
        endpoint: selection.webhook,
        event: selection.event.map(|event| event.word().to_string()),
        recipient: selection.recipient,
        success: match selection.state {
            None | Some(DeliveryState::Waiting) => None,
            Some(state) => Some(state == DeliveryState::Delivered),
        },
        created_before: selection.created_before.map(Time::unix),
        created_after: selection.created_after.map(Time::unix),
    }
}

fn fits(delivery: &Delivery, state: Option<DeliveryState>) -> bool {
    state.is_none_or(|state| state == delivery.state)
}

fn id(asked: &Asked) -> Result<u64, Problem> {
    let text = asked.parameter();
    let is_number = text.bytes().all(|b| b.is_ascii_digit());
    let id = text.parse().ok().filter(|_| is_number);
    id.ok_or_else(not_there)
}

fn waiting(hook: &HookRow) -> Delivery {
    Delivery {
        id: hook.id,
        webhook: hook.endpoint,
        state: DeliveryState::Waiting,
        event: hook.event.clone(),
        recipient: Some(hook.recipient).filter(|id| *id > 0),
        message_id: hook.message_id.clone(),
        subject: hook.subject.clone(),
        size: hook.size,
        created: Time::of_unix(hook.created),
        next_attempt: Time::of_unix(hook.due),
        paused_until: None,
        ended: None,
        superseded_by: None,
        attempts: hook.attempts,
        results: hook.results.iter().map(result_of).collect(),
    }
}

fn over(retired: &RetiredHook) -> Delivery {
    Delivery {
        state: match (retired.success, retired.superseded_by) {
            (true, _) => DeliveryState::Delivered,
            (false, Some(_)) => DeliveryState::Superseded,
            (false, None) => DeliveryState::Failed,
        },
        next_attempt: None,
        ended: Time::of_unix(retired.at),
        superseded_by: retired.superseded_by,
        ..waiting(&retired.hook)
    }
}

pub(super) fn result_of(result: &HookResult) -> CallResult {
    CallResult {
        at: Time::of_unix(result.at),
        took_ms: result.took_ms,
        url: result.url.clone(),
        success: result.success,
        code: Some(result.code).filter(|code| *code > 0),
        error: result.error.clone(),
        response: result.response.clone(),
    }
}

fn not_there() -> Problem {
    Problem::new(
        Kind::NotFound,
        "there is no such delivery: it does not wait, and is not among those that are kept",
    )
}

/// So many octets of memory an octet of a payload comes to while it is told: as it is, as text, and as JSON with its quotes escaped.
const MADE_OF_PAYLOAD: usize = 4;
/// Pages of rows that one request looks at, at most: each is a call to a core.
const PAGES_MAX: usize = 32;

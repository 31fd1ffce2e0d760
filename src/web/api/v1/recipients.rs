//! Recipients of messages: those in the queue, and those that are over, as far as they are kept.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use shards::faults::point;
use shards::rt;
use shards::shard_of;
use webapi::Time;
use webapi::v1::recipient::{
    Action, ActionDone, Attempt, QueueAction, Recipient, Recipients, Report, Selection, State,
};
use webapi::v1::{Fault, Kind, Problem, read};

use super::paging::{Cursors, WRONG_CURSOR};
use super::{Asked, Said, other_answer, paging, reply};
use crate::calls::{ControlAnswer, ControlCall};
use crate::percore::monotonic;
use crate::queue::events::{Event, EventKind};
use crate::queue::id::QueueId;
use crate::queue::retired::{RetiredFilter, RetiredRow};
use crate::queue::rows::{Attempt as AttemptRow, State as StateRow, Stored};
use crate::queue::{Deed, Filter, Most, Place, Standing};

/// One, wherever it is.
pub(super) async fn get(asked: &Asked) -> Said {
    let found = find(asked).await?;
    reply::json(hyper::StatusCode::OK, &found.recipient)
}

/// One in the queue, to which something is done; answers what is there afterwards.
pub(super) async fn change(asked: &Asked, action: Action) -> Said {
    let id = id(asked)?;
    let found = queued(asked, id).await?;
    let not_queued = || Problem::new(Kind::NotFound, "there is no such recipient in the queue");
    let found = found.ok_or_else(not_queued)?;
    asked.login()?.must_be_of(Some(&found.recipient.sender))?;
    let filter = Filter {
        ids: vec![id.get()],
        account: Some(asked.login()?.account.to_string()),
        ..Filter::default()
    };
    operate(asked, id.shard(), &filter, action, None).await?;
    match action {
        Action::Drop => Ok(reply::nothing()),
        _ => get(asked).await,
    }
}

/// Something is done to all that fit.
pub(super) async fn change_all(asked: &Asked) -> Said {
    let wanted: QueueAction = read::body(&asked.body)?;
    asked.login()?.must_be_of(None)?;
    let filter = Filter {
        ids: wanted.ids.unwrap_or_default(),
        account: Some(asked.login()?.account.to_string()),
        from: wanted.from,
        to: wanted.to,
        domain: wanted.domain,
        state: wanted
            .state
            .map(|state| queue_state(state, "/state"))
            .transpose()?,
        ..Filter::default()
    };
    let cursors = Cursors::of(asked, "queue actions")?;
    let mut position: QueuePosition = match wanted.cursor {
        Some(cursor) => cursors
            .read(&cursor)
            .ok_or_else(|| Fault::at("/cursor", WRONG_CURSOR))?,
        None => QueuePosition::default(),
    };
    let began = monotonic();
    let (mut looked_at, mut changed) = (0, 0);
    for page in 0..PAGES_MAX {
        let is_late =
            page > 0 && (began.elapsed() >= WORKS_FOR || point("webapi.queue_action").is_err());
        if position.shard >= asked.core.shard_count || is_late {
            break;
        }
        let after = position.place();
        let done = operate(asked, position.shard, &filter, wanted.action, after).await?;
        looked_at += done.looked_at;
        changed += done.changed;
        position = position.next(done.next);
    }
    let is_over = position.shard >= asked.core.shard_count;
    let done = ActionDone {
        looked_at,
        changed,
        next_cursor: (!is_over).then(|| cursors.written(&position)),
    };
    reply::json(hyper::StatusCode::OK, &done)
}

/// A page of those in the queue.
pub(super) async fn list_queue(asked: &Asked) -> Said {
    let selection: Selection = read::query(&asked.query)?;
    let most = paging::bounds(asked, selection.limit)?;
    let cursors = Cursors::of(asked, "queue")?;
    let position = cursors.place(selection.cursor.as_deref())?;
    let filter = filter(asked, &selection)?;
    let filter = filter.ok_or_else(|| {
        Fault::of_parameter("state", "only waiting and held ones are in the queue")
    })?;
    let mut left = most;
    let position = position.unwrap_or_default();
    let (found, next) = in_queue(asked, &filter, position, &mut left).await?;
    let page = Recipients {
        recipients: found.into_iter().map(|one| one.recipient).collect(),
        next_cursor: next.map(|next| cursors.written(&next)),
    };
    reply::long(asked, most.octets - left.octets, page).await
}

/// A page of all: first those in the queue, then those that are over. One that is both, for it is over and its message still there, comes with those
/// that are kept; one that is about to be kept is told of from the queue, and remembered until the others have been told of.
pub(super) async fn list(asked: &Asked) -> Said {
    let selection: Selection = read::query(&asked.query)?;
    let most = paging::bounds(asked, selection.limit)?;
    let cursors = Cursors::of(asked, "messages")?;
    let place = cursors.place(selection.cursor.as_deref())?;
    let AnyPlace {
        section,
        mut ending,
    } = place.unwrap_or_default();
    let mut recipients = Vec::new();
    let mut left = most;
    let after = match section {
        Section::Over(after) => after,
        Section::Queue(position) => {
            let (found, next) = match filter(asked, &selection)? {
                Some(filter) => in_queue(asked, &filter, position, &mut left).await?,
                // None in the queue can fit.
                None => Default::default(),
            };
            let found = without_kept(asked, found).await?;
            ending.extend(
                found
                    .iter()
                    .filter(|one| one.is_ending)
                    .map(|one| one.recipient.id),
            );
            recipients.extend(found.into_iter().map(|one| one.recipient));
            if let Some(next) = next {
                let section = Section::Queue(next);
                let next = Some(AnyPlace { section, ending });
                return listed(asked, (most, left), recipients, next).await;
            }
            None
        }
    };
    let Some(result) = results(selection.state) else {
        return listed(asked, (most, left), recipients, None).await;
    };
    if left.is_used_up() {
        let section = Section::Over(after);
        let next = Some(AnyPlace { section, ending });
        return listed(asked, (most, left), recipients, next).await;
    }
    let account = asked.login()?.account;
    let filter = RetiredFilter {
        account: Some(account.to_string()),
        from: selection.from,
        to: selection.to,
        domain: selection.domain,
        result,
        ..RetiredFilter::default()
    };
    let call = ControlCall::Retired {
        shard: shard_of(account.as_str().as_bytes(), asked.core.shard_count).0,
        filter: Box::new(filter),
        after,
        most: left,
    };
    let ControlAnswer::Retired(rows, next) = asked.ask_owner(call).await? else {
        return Err(other_answer());
    };
    // One that waited a moment ago may be over by now.
    let mut told: BTreeSet<u64> = recipients.iter().map(|one| one.id).collect();
    told.extend(&ending);
    let rows = rows.into_iter().map(|(_, row)| row);
    for row in rows.filter(|row| !told.contains(&row.id)) {
        left.take(row.octets());
        recipients.push(over(row));
    }
    let next = next.map(|next| AnyPlace {
        section: Section::Over(Some(next)),
        ending,
    });
    listed(asked, (most, left), recipients, next).await
}

async fn listed(
    asked: &Asked,
    (most, left): (Most, Most),
    recipients: Vec<Recipient>,
    next: Option<AnyPlace>,
) -> Said {
    let cursors = Cursors::of(asked, "messages")?;
    let next = next.map(|mut next| {
        let surplus = next.ending.len().saturating_sub(ENDING_MAX);
        next.ending.drain(..surplus);
        next
    });
    let page = Recipients {
        recipients,
        next_cursor: next.map(|next| cursors.written(&next)),
    };
    reply::long(asked, most.octets - left.octets, page).await
}

/// Those of a page of the queue that are not kept as over.
async fn without_kept(asked: &Asked, mut found: Vec<InQueue>) -> Result<Vec<InQueue>, Problem> {
    let over = found.iter().filter(|one| one.is_over);
    let ids: Vec<u64> = over.map(|one| one.recipient.id).collect();
    if ids.is_empty() {
        return Ok(found);
    }
    let account = asked.login()?.account;
    let call = ControlCall::RetiredAmong { account, ids };
    let ControlAnswer::RetiredAmong(kept) = asked.ask_owner(call).await? else {
        return Err(other_answer());
    };
    found.retain(|one| !kept.contains(&one.recipient.id));
    Ok(found)
}

/// Where a page of the queue ended.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
struct QueuePosition {
    shard: u16,
    after: Option<(u64, u32)>,
}

impl QueuePosition {
    fn place(self) -> Option<Place> {
        self.after.map(|(body, index)| Place { body, index })
    }

    fn next(self, place: Option<Place>) -> QueuePosition {
        match place {
            Some(place) => QueuePosition {
                shard: self.shard,
                after: Some((place.body, place.index)),
            },
            None => QueuePosition {
                shard: self.shard.saturating_add(1),
                after: None,
            },
        }
    }
}

/// Where a page of all ended.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct AnyPlace {
    section: Section,
    /// Those that were told of from the queue as they were over and not kept yet.
    ending: Vec<u64>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
enum Section {
    Queue(QueuePosition),
    Over(Option<Vec<u8>>),
}

impl Default for Section {
    fn default() -> Section {
        Section::Queue(QueuePosition::default())
    }
}

/// One that was found in the queue.
struct InQueue {
    recipient: Recipient,
    is_over: bool,
    /// Of one that was named and is over: as it will be kept, if its row says how it ended.
    ended: Option<Box<Recipient>>,
    /// Somebody works on it: what was dropped or given up by hand may be delivered all the same.
    is_under_way: bool,
    /// Its account has still to hear that.
    is_ending: bool,
}

/// One that was found.
pub(super) struct Found {
    pub recipient: Recipient,
    /// Nothing will become of it any more.
    pub is_over: bool,
}

/// One, wherever it is: told in the same words from when it is over on, though it stays in the queue with others of its message.
pub(super) async fn find(asked: &Asked) -> Result<Found, Problem> {
    let id = id(asked)?;
    let found = |recipient, is_over| Found { recipient, is_over };
    let mut is_at_rest = false;
    loop {
        let queued = queued(asked, id).await?;
        if let Some(one) = queued.as_ref().filter(|one| !one.is_over) {
            return Ok(found(one.recipient.clone(), false));
        }
        if let Some(kept) = kept(asked, id).await? {
            return Ok(found(kept, true));
        }
        let one = queued.ok_or_else(not_there)?;
        if one.is_under_way {
            return Ok(found(one.recipient, false));
        }
        if is_at_rest {
            return Ok(found(one.ended.map_or(one.recipient, |end| *end), true));
        }
        // It was read before it was known that nobody works on it. Nobody begins to.
        is_at_rest = true;
    }
}

async fn kept(asked: &Asked, id: QueueId) -> Result<Option<Recipient>, Problem> {
    let account = asked.login()?.account;
    let call = ControlCall::RetiredOne {
        account,
        id: id.get(),
    };
    match asked.ask_owner(call).await? {
        ControlAnswer::Retired(rows, _) => Ok(rows.into_iter().next().map(|(_, row)| over(row))),
        _ => Err(other_answer()),
    }
}

fn id(asked: &Asked) -> Result<QueueId, Problem> {
    let text = asked.parameter();
    let is_number = text.bytes().all(|b| b.is_ascii_digit());
    let id = text.parse::<QueueId>().ok().filter(|_| is_number);
    id.filter(|id| id.shard() < asked.core.shard_count)
        .ok_or_else(not_there)
}

async fn queued(asked: &Asked, id: QueueId) -> Result<Option<InQueue>, Problem> {
    first_of(asked, id.shard(), vec![id.get()]).await
}

/// The first of some that is in the queue.
pub(super) async fn first_queued(
    asked: &Asked,
    shard: u16,
    ids: Vec<u64>,
) -> Result<Option<Recipient>, Problem> {
    let first = first_of(asked, shard, ids).await?;
    Ok(first.map(|one| one.recipient))
}

async fn first_of(asked: &Asked, shard: u16, ids: Vec<u64>) -> Result<Option<InQueue>, Problem> {
    let filter = Filter {
        ids,
        account: Some(asked.login()?.account.to_string()),
        ..Filter::default()
    };
    let (found, _) = page(asked, shard, &filter, None, &mut Most::entries(1)).await?;
    Ok(found.into_iter().next())
}

/// Those of a selection in the queue, and where to go on.
async fn in_queue(
    asked: &Asked,
    filter: &Filter,
    mut position: QueuePosition,
    left: &mut Most,
) -> Result<(Vec<InQueue>, Option<QueuePosition>), Problem> {
    let mut found = Vec::new();
    for _ in 0..PAGES_MAX {
        if position.shard >= asked.core.shard_count || left.is_used_up() {
            break;
        }
        let (more, next) = page(asked, position.shard, filter, position.place(), left).await?;
        found.extend(more);
        position = position.next(next);
    }
    let is_over = position.shard >= asked.core.shard_count;
    Ok((found, (!is_over).then_some(position)))
}

async fn page(
    asked: &Asked,
    shard: u16,
    filter: &Filter,
    after: Option<Place>,
    left: &mut Most,
) -> Result<(Vec<InQueue>, Option<Place>), Problem> {
    let call = ControlCall::Queue {
        shard,
        filter: Box::new(filter.clone()),
        after,
        most: *left,
    };
    let owner = asked.core.owner_of_shard(shard);
    let ControlAnswer::Queue(found, next) = asked.ask(owner, call).await? else {
        return Err(other_answer());
    };
    let is_named = !filter.ids.is_empty();
    let mut recipients = Vec::new();
    for (stored, standings) in found {
        for (index, standing) in standings {
            left.take(stored.octets_of(index));
            let mut one = on_its_way(shard, &stored, index, standing);
            if is_named && let Some(one) = &mut one {
                one.ended = ended(&stored, index, one.recipient.id);
            }
            recipients.extend(one);
        }
        rt::yield_if_needed().await;
    }
    Ok((recipients, next))
}

async fn operate(
    asked: &Asked,
    shard: u16,
    filter: &Filter,
    action: Action,
    after: Option<Place>,
) -> Result<crate::queue::Done, Problem> {
    let deed = match action {
        Action::Hold => Deed::Hold {
            why: "held through the API".into(),
        },
        Action::Release => Deed::Release {},
        Action::Kick => Deed::Kick {},
        Action::Drop => Deed::Drop {},
    };
    let call = ControlCall::QueueChange {
        shard,
        filter: Box::new(filter.clone()),
        deed: Box::new(deed),
        after,
    };
    let owner = asked.core.owner_of_shard(shard);
    match asked.ask(owner, call).await? {
        ControlAnswer::QueueDone(done) => Ok(done),
        _ => Err(other_answer()),
    }
}

/// None: what is in the queue can't fit.
fn filter(asked: &Asked, selection: &Selection) -> Result<Option<Filter>, Problem> {
    let state = match selection.state {
        None => None,
        Some(State::Relayed | State::Suppressed) => return Ok(None),
        Some(state) => Some(queue_state(state, "state")?),
    };
    Ok(Some(Filter {
        account: Some(asked.login()?.account.to_string()),
        from: selection.from.clone(),
        to: selection.to.clone(),
        domain: selection.domain.clone(),
        state,
        ..Filter::default()
    }))
}

fn queue_state(state: State, field: &str) -> Result<StateRow, Problem> {
    Ok(match state {
        State::Waiting => StateRow::Waiting,
        State::Held => StateRow::Held,
        State::Delivered => StateRow::Delivered,
        State::Failed => StateRow::Failed,
        State::Dropped => StateRow::Dropped,
        State::Relayed | State::Suppressed => {
            let detail = "nothing in the queue is in this state";
            return Err(match field.starts_with('/') {
                true => Fault::at(field, detail).into(),
                false => Fault::of_parameter(field, detail).into(),
            });
        }
    })
}

/// How those ended that fit; none: none can fit.
fn results(state: Option<State>) -> Option<Option<EventKind>> {
    Some(match state {
        None => None,
        Some(State::Waiting | State::Held) => return None,
        Some(State::Delivered) => Some(EventKind::Delivered),
        Some(State::Relayed) => Some(EventKind::Relayed),
        Some(State::Failed) => Some(EventKind::Failed),
        Some(State::Dropped) => Some(EventKind::Dropped),
        Some(State::Suppressed) => Some(EventKind::Suppressed),
    })
}

fn on_its_way(shard: u16, stored: &Stored, index: u32, standing: Standing) -> Option<InQueue> {
    let message = &stored.message;
    let row = stored.recipient(index);
    let recipient = message.recipients.get(index as usize)?;
    let is_over = row.state.is_over();
    let id = stored.id(shard, index)?.get();
    let recipient = Recipient {
        id,
        address: recipient.address.clone(),
        message_id: message.message_id_of(id),
        sender: message.reverse_path.clone(),
        state: match row.state {
            StateRow::Waiting => State::Waiting,
            StateRow::Held => State::Held,
            StateRow::Delivered => State::Delivered,
            StateRow::Failed => State::Failed,
            StateRow::Dropped => State::Dropped,
        },
        reason: standing.why,
        accepted: Time::of_unix(message.accepted),
        next_attempt: match row.state {
            StateRow::Waiting => Time::of_unix(standing.next),
            _ => None,
        },
        expires: match is_over {
            true => None,
            false => Time::of_unix(row.expires(message)),
        },
        ended: None,
        size: message.size,
        attempts: row.attempts,
        history: row.history.iter().map(attempt).collect(),
        class: None,
        reports: Vec::new(),
        metadata: message.extra.clone(),
    };
    Some(InQueue {
        recipient,
        is_over,
        ended: None,
        is_under_way: standing.is_under_way,
        is_ending: row.events.iter().any(|owed| owed.kind.is_final()),
    })
}

/// One that is over, as it will be kept, if its row says how it ended.
fn ended(stored: &Stored, index: u32, id: u64) -> Option<Box<Recipient>> {
    let row = stored.recipient(index);
    let ended = row.ended.filter(|_| row.state.is_over())?;
    let event = Event::of(&stored.message, index, id, &row, ended);
    Some(Box::new(over(RetiredRow::of(&event))))
}

fn over(row: RetiredRow) -> Recipient {
    Recipient {
        id: row.id,
        address: row.recipient,
        message_id: row.message_id,
        sender: row.reverse_path,
        state: match row.result {
            EventKind::Delivered | EventKind::Expanded => State::Delivered,
            EventKind::Relayed => State::Relayed,
            EventKind::Dropped => State::Dropped,
            EventKind::Suppressed => State::Suppressed,
            _ => State::Failed,
        },
        reason: row.text,
        accepted: Time::of_unix(row.accepted),
        next_attempt: None,
        expires: None,
        ended: Time::of_unix(row.at),
        size: row.size,
        attempts: row.attempts,
        history: row.history.iter().map(attempt).collect(),
        class: said(&row.class),
        reports: row
            .returned
            .iter()
            .zip(&row.returned_numbers)
            .map(|(report, number)| Report {
                number: *number,
                at: Time::of_unix(report.at),
                kind: report.kind.word().to_string(),
                code: Some(report.code).filter(|code| *code > 0),
                enhanced: report.enhanced.map(enhanced),
                text: report.text.clone(),
                class: said(&report.class),
            })
            .collect(),
        metadata: row.extra,
    }
}

fn attempt(attempt: &AttemptRow) -> Attempt {
    Attempt {
        at: Time::of_unix(attempt.at),
        took_ms: attempt.took_ms,
        remote: said(&attempt.remote),
        code: Some(attempt.code).filter(|code| *code > 0),
        enhanced: attempt.enhanced.map(enhanced),
        text: attempt.text.clone(),
        stage: attempt.stage.map(|stage| stage.word().to_string()),
    }
}

fn enhanced((class, subject, detail): (u8, u16, u16)) -> String {
    format!("{class}.{subject}.{detail}")
}

fn said(text: &str) -> Option<String> {
    Some(text.to_string()).filter(|text| !text.is_empty())
}

fn not_there() -> Problem {
    Problem::new(
        Kind::NotFound,
        "there is no such recipient, or it is over and not kept (keep_retired_secs)",
    )
}

/// So long one request changes what is in the queue; then it tells how far it is.
const WORKS_FOR: Duration = Duration::from_secs(2);
/// Recipients that are about to be kept, of which a cursor knows that they were told of: it has 2,000 characters at most.
const ENDING_MAX: usize = 100;
/// Pages of the queue's rows that one request looks at, at most: each is a call to a core.
const PAGES_MAX: usize = 32;

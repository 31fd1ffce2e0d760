//! What came of an attempt, recorded; and what the sender is told of it.

use std::collections::HashMap;
use std::rc::Rc;

use shards::faults::point;

use super::notice;
use crate::percore::PerCore;
use crate::queue::events::{EventKind, OwedEvent};
use crate::queue::retry::{Schedule, Verdict, after, give_up, group, kept_back};
use crate::queue::rows::Attempt;
use crate::queue::warm_up::WarmUpKey;
use crate::queue::{Message, Work};
use crate::store::StoreError;

/// What came of one recipient.
#[derive(Clone)]
pub(super) struct Outcome {
    pub index: u32,
    pub attempt: Attempt,
    pub verdict: Verdict,
}

/// Records outcomes, and tells senders what they have to hear.
pub(super) async fn record(core: &Rc<PerCore>, work: Work, outcomes: Vec<Outcome>) {
    record_of(core, work, outcomes, None).await;
}

/// The same of what was sent from an address that counts what comes of it.
pub(super) async fn record_of(
    core: &Rc<PerCore>,
    work: Work,
    outcomes: Vec<Outcome>,
    warm_up: Option<WarmUpKey>,
) {
    let (message, now) = (work.message.clone(), core.wall_clock());
    let schedule = schedule(core);
    for outcome in &outcomes {
        log(core, &message, outcome, result(outcome.verdict));
    }
    let recorded = work.record(|message| {
        let row = |outcome: &Outcome| {
            let Outcome {
                index,
                attempt,
                verdict,
            } = outcome.clone();
            let parts = (&schedule, message.number(index), now);
            let row = message.recipient(index);
            let mut row = after(&message.row, index, row, attempt, verdict, parts);
            if verdict.is_success() {
                row.warm_up = warm_up.clone();
            }
            if verdict == Verdict::Relayed {
                row.events
                    .push(OwedEvent::new(EventKind::Relayed, &row, now));
            }
            (index, row)
        };
        let mut rows: Vec<_> = outcomes.iter().map(row).collect();
        group(&message.row, |index| message.recipient(index), &mut rows);
        rows
    });
    follow(core, &message, recorded.await).await;
}

/// Gives up recipients whose time is over; others are left as they are.
pub(super) async fn expire(core: &Rc<PerCore>, work: Work) {
    let message = work.message.clone();
    let recipients = work.recipients.clone();
    let now = core.wall_clock();
    let recorded = work.record(|message| {
        let look = |index| {
            let mut row = message.recipient(index);
            let is_left = row.state.is_over() || now < row.expires(&message.row);
            let row = match is_left {
                true => row,
                false => {
                    row.given_up = kept_back(&message.row, &row, now);
                    give_up(&message.row, index, row)
                }
            };
            (index, row)
        };
        let mut rows: Vec<_> = recipients.iter().copied().map(look).collect();
        group(&message.row, |index| message.recipient(index), &mut rows);
        rows
    });
    follow(core, &message, recorded.await).await;
}

/// Gives up recipients on the account's suppression list, each with the reason that stands there.
pub(super) async fn suppress(core: &Rc<PerCore>, work: Work, reasons: HashMap<u32, String>) {
    let (message, now) = (work.message.clone(), core.wall_clock());
    let outcomes: Vec<Outcome> = work
        .recipients
        .iter()
        .filter_map(|index| {
            let reason = reasons.get(index)?;
            Some(Outcome {
                index: *index,
                verdict: Verdict::Permanent,
                attempt: Attempt {
                    at: now,
                    took_ms: 0,
                    remote: String::new(),
                    code: 0,
                    // RFC 3463 3.8: not authorized, by us.
                    enhanced: Some((5, 7, 1)),
                    text: format!(
                        "not sent: the address is on your account's suppression list ({reason})"
                    ),
                    stage: None,
                },
            })
        })
        .collect();
    for outcome in &outcomes {
        log(core, &message, outcome, "suppressed");
    }
    let schedule = schedule(core);
    let recorded = work.record(|message| {
        let row = |outcome: &Outcome| {
            let index = outcome.index;
            let parts = (&schedule, message.number(index), now);
            let (row, attempt) = (message.recipient(index), outcome.attempt.clone());
            // Dropped or given up by hand meanwhile: that stays.
            let is_over = row.state.is_over();
            let mut row = after(&message.row, index, row, attempt, outcome.verdict, parts);
            if !is_over {
                row.events
                    .push(OwedEvent::new(EventKind::Suppressed, &row, now));
            }
            (index, row)
        };
        let mut rows: Vec<_> = outcomes.iter().map(row).collect();
        group(&message.row, |index| message.recipient(index), &mut rows);
        rows
    });
    follow(core, &message, recorded.await).await;
}

async fn follow(core: &Rc<PerCore>, message: &Rc<Message>, recorded: Result<(), StoreError>) {
    match recorded {
        Ok(()) => {
            let _ = point("outbound.recorded");
            notice::tell(core, message).await
        }
        Err(error) => {
            tracing::error!(shard = %message.shard().id(), message = message.body.0, %error, "what came of a queued message could not be recorded; it is sent again after the next start");
        }
    }
}

fn schedule(core: &PerCore) -> Schedule {
    let live = core.live();
    let queue = &live.settings.server.queue;
    Schedule {
        waits: queue
            .retry_secs
            .iter()
            .map(|wait| wait.duration().as_secs())
            .collect(),
        delay_notice: queue.delay_notice_after_secs.duration().as_secs(),
    }
}

fn result(verdict: Verdict) -> &'static str {
    match verdict {
        verdict if verdict.is_success() => "delivered",
        Verdict::Permanent => "failed",
        _ => "deferred",
    }
}

fn log(core: &PerCore, message: &Message, outcome: &Outcome, result: &'static str) {
    core.metrics.count(
        "ringmail_queue_attempts_total",
        crate::metrics::label("result", result),
    );
    let to = message
        .row
        .recipients
        .get(outcome.index as usize)
        .map_or("", |r| &r.address);
    let Attempt {
        took_ms,
        remote,
        code,
        text,
        ..
    } = &outcome.attempt;
    tracing::info!(
        id = message.id(outcome.index),
        from = message.row.reverse_path,
        to,
        result,
        remote,
        code,
        text,
        took_ms,
        "message sent on"
    );
}

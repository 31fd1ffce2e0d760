//! How far the addresses of pools are with the sites they send to, as operators see it.

use serde_json::{Value, json};

use super::commands::{Control, OTHER_ANSWER};
use super::protocol::PAGE_MAX;
use crate::calls::{ControlAnswer, ControlCall};
use crate::percore::wall_clock;
use crate::queue::warm_up::{Counts, State, WarmUpKey, day_of};

/// One item for each address and site; of the member of this name alone, if one is given.
pub(super) fn list(
    control: &Control,
    member: Option<&str>,
    item: &mut dyn FnMut(Value) -> Result<(), String>,
) -> Result<Value, String> {
    let today = day_of(wall_clock());
    for shard in 0..control.server.shards() {
        let mut after = None;
        loop {
            if control.is_stopping() {
                return Err("the server is stopping".into());
            }
            let call = ControlCall::WarmUps {
                shard,
                after,
                limit: PAGE_MAX,
            };
            let owner = control.server.owner_of_shard(shard);
            let ControlAnswer::WarmUps((found, next)) = control.ask(owner, call)? else {
                return Err(OTHER_ANSWER.into());
            };
            for (key, state) in &found {
                if member.is_none_or(|member| member == key.member) {
                    item(describe(key, state, today))?;
                }
            }
            after = next;
            if after.is_none() {
                break;
            }
        }
    }
    Ok(json!({}))
}

fn describe(key: &WarmUpKey, state: &State, today: u32) -> Value {
    let judgements = state.judgements.iter().map(|judged| {
        json!({
            "day": tls_rpt::Day(judged.day).to_string(),
            "counts": counts(&judged.counts),
            "before": judged.before,
            "after": judged.after,
            "verdict": judged.verdict.to_string(),
        })
    });
    json!({
        "pool": key.pool,
        "member": key.member,
        "site": key.site,
        "day": tls_rpt::Day(state.day).to_string(),
        "is_today": state.day == today,
        "cap": state.cap,
        "given": state.given,
        "counts": counts(&state.counts),
        "judgements": judgements.collect::<Vec<_>>(),
    })
}

fn counts(counts: &Counts) -> Value {
    json!({
        "accepted": counts.accepted,
        "deferred": counts.deferred,
        "refused": counts.refused,
        "complaints": counts.complaints,
    })
}

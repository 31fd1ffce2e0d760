//! Sites that mail goes to: what each core that owns some has to say of them, and what operators do to them.

use std::time::Duration;

use serde_json::{Value, json};
use shards::CoreId;

use super::commands::{Control, OTHER_ANSWER};
use super::protocol::PAGE_MAX;
use crate::calls::{ControlAnswer, ControlCall, SiteDeed};
use crate::percore::wall_clock;
use crate::queue::sites::{ActionState, SiteState, member_of_key};

/// One item for each site.
pub(super) fn list(
    control: &Control,
    wanted: Option<&str>,
    restrained: bool,
    item: &mut dyn FnMut(Value) -> Result<(), String>,
) -> Result<Value, String> {
    for core in 0..control.server.cores() {
        let mut after = None;
        loop {
            control.goes_on()?;
            let call = ControlCall::Sites {
                wanted: wanted.map(str::to_owned),
                restrained,
                after,
                limit: PAGE_MAX,
            };
            let ControlAnswer::Sites(sites, next) = control.ask(CoreId(core), call)? else {
                return Err(OTHER_ANSWER.into());
            };
            for site in &sites {
                item(describe(site, wall_clock()))?;
            }
            after = next;
            if after.is_none() {
                break;
            }
        }
    }
    Ok(json!({}))
}

/// Leaves a site alone for a time.
pub(super) fn pause(
    control: &Control,
    site: &str,
    secs: u64,
    why: String,
) -> Result<Value, String> {
    if !(1..=PAUSE_MAX).contains(&secs) {
        return Err(format!("a site is paused for 1 to {PAUSE_MAX} seconds"));
    }
    if why.chars().count() > WHY_MAX || why.chars().any(char::is_control) {
        return Err(format!(
            "the reason has at most {WHY_MAX} characters, none of them a control character"
        ));
    }
    let length = Duration::from_secs(secs);
    change(control, Some(site), &SiteDeed::Pause { length, why })
}

/// Ends what is in force.
pub(super) fn resume(control: &Control, site: Option<&str>) -> Result<Value, String> {
    change(control, site, &SiteDeed::Resume)
}

fn change(control: &Control, wanted: Option<&str>, deed: &SiteDeed) -> Result<Value, String> {
    let mut changed = 0;
    for core in 0..control.server.cores() {
        let call = ControlCall::ChangeSites {
            wanted: wanted.map(str::to_owned),
            deed: deed.clone(),
        };
        let ControlAnswer::Count(count) = control.ask(CoreId(core), call)? else {
            return Err(OTHER_ANSWER.into());
        };
        changed += count;
    }
    // Once all know it: those who send ask them.
    for core in 0..control.server.cores() {
        control.ask(CoreId(core), ControlCall::SitesChanged)?;
    }
    tracing::info!(?deed, site = wanted, changed, "an operator changed sites");
    Ok(json!({"changed": changed}))
}

fn describe(site: &SiteState, now: i64) -> Value {
    let measure = |measure: &Option<(Duration, String)>| {
        let (left, reason) = measure.as_ref()?;
        Some(json!({"until": now + rounded(*left), "reason": reason}))
    };
    let rate = site.rate.map(|(rate, part)| {
        json!({"messages": rate.messages, "per_secs": rate.per.as_secs(), "part": part, "words": rate.words()})
    });
    let of_pool = member_of_key(&site.site);
    json!({
        "site": site.site,
        "pool": of_pool.map(|(pool, _)| pool),
        "member": of_pool.map(|(_, member)| member),
        "window": site.window,
        "lent": site.lent,
        "rate": rate,
        "failures": site.failures,
        "pause": measure(&site.pause),
        "slow": measure(&site.slow),
        "actions": site.actions.iter().map(|done| action(done, now)).collect::<Vec<_>>(),
    })
}

fn action(done: &ActionState, now: i64) -> Value {
    let at = now - rounded(done.ago);
    json!({
        "kind": done.kind.word(),
        "at": at,
        "until": done.length.map(|length| at + rounded(length)),
        "ended": done.ended.map(|ago| now - rounded(ago)),
        "cause": done.cause,
    })
}

fn rounded(length: Duration) -> i64 {
    length.as_secs_f64().round() as i64
}

const PAUSE_MAX: u64 = 30 * 86_400;
const WHY_MAX: usize = 256;

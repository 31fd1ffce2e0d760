//! Checking what a running server has stored, slice by slice, so that mail flows on meanwhile.

use serde_json::{Value, json};

use super::commands::Control;
use crate::calls::{ControlAnswer, ControlCall};

pub(super) fn check(
    control: &Control,
    item: &mut dyn FnMut(Value) -> Result<(), String>,
) -> Result<Value, String> {
    let (mut all_checked, mut all_found) = (0, 0);
    for shard in 0..control.server.shards() {
        let owner = control.server.owner_of_shard(shard);
        let mut from = Vec::new();
        let mut told = 0;
        let mut shard_checked = 0;
        loop {
            if control.is_stopping() {
                return Err("the server is stopping; the check was not finished".into());
            }
            let answer = control.ask(owner, ControlCall::Check { shard, from })?;
            let ControlAnswer::Check(slice) = answer else {
                return Err("a core gave an answer to another question; this is a bug".into());
            };
            shard_checked += slice.checked;
            all_checked += slice.checked;
            all_found += slice.findings.len();
            for finding in slice.findings {
                item(json!({"shard": shard, "finding": finding}))?;
            }
            let Some(next) = slice.next else { break };
            from = next;
            if shard_checked >= told + PROGRESS_EVERY {
                told = shard_checked;
                item(json!({"shard": shard, "checked": shard_checked}))?;
            }
        }
        item(json!({"shard": shard, "checked": shard_checked, "end": true}))?;
    }
    Ok(json!({"checked": all_checked, "findings": all_found}))
}

/// Things checked between two lines of progress.
const PROGRESS_EVERY: u64 = 10_000;

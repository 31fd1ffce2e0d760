//! Checking what a running server has stored, slice by slice, so that mail flows on meanwhile.

use serde_json::{Value, json};

use super::commands::{Control, OTHER_ANSWER, lost};
use crate::calls::{Answer, Call, ControlAnswer, ControlCall};
use crate::store::{Delivered, ENTRY_KEYS, Notes};

pub(super) fn check(
    control: &Control,
    item: &mut dyn FnMut(Value) -> Result<(), String>,
) -> Result<Value, String> {
    let (mut all_checked, mut all_found) = (0, 0);
    let mut notes = Notes::default();
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
                return Err(OTHER_ANSWER.into());
            };
            shard_checked += slice.checked;
            all_checked += slice.checked;
            all_found += slice.findings.len();
            for finding in slice.findings {
                item(json!({"shard": shard, "finding": finding}))?;
            }
            let settings = &control.server.live().settings;
            let orphans = slice.names.iter();
            for name in orphans.filter(|name| !settings.accounts.contains_key(name.as_str())) {
                if let Some(note) = notes.orphan(name) {
                    item(json!({"shard": shard, "note": note}))?;
                }
            }
            notes.delivered(shard, slice.delivered);
            let Some(next) = slice.next else { break };
            from = next;
            if shard_checked >= told + PROGRESS_EVERY {
                told = shard_checked;
                item(json!({"shard": shard, "checked": shard_checked}))?;
            }
        }
        item(json!({"shard": shard, "checked": shard_checked, "end": true}))?;
    }
    left_over(control, &mut notes)?;
    for note in notes.end() {
        item(json!({"note": note}))?;
    }
    Ok(json!({"checked": all_checked, "findings": all_found}))
}

/// Counts rows of deliveries whose entry is gone.
fn left_over(control: &Control, notes: &mut Notes) -> Result<(), String> {
    for (shard, rows) in notes.take_delivered() {
        for rows in rows.chunks(ROWS_AT_ONCE) {
            let entries = rows.iter().flat_map(|(_, row)| row.entry_keys()).collect();
            let there = exist(control, shard, entries)?;
            let there = there.chunks(ENTRY_KEYS);
            let gone = rows
                .iter()
                .zip(there)
                .filter(|(_, there)| !there.contains(&true));
            // An entry that ended meanwhile: its transactions have been forgotten by now.
            for ((owner, row), _) in gone {
                let Delivered { key, .. } = row.clone();
                let still = exist(control, *owner, vec![key])?;
                notes.left_over(still.iter().filter(|there| **there).count() as u64);
            }
        }
    }
    Ok(())
}

fn exist(control: &Control, shard: u16, keys: Vec<Vec<u8>>) -> Result<Vec<bool>, String> {
    let owner = control.server.owner_of_shard(shard);
    match control.server.call(owner, Call::RowsExist { shard, keys }) {
        Ok(Answer::Exist(result)) => result.map_err(|e| e.to_string()),
        Ok(_) => Err(OTHER_ANSWER.into()),
        Err(error) => Err(lost(owner, error)),
    }
}

/// Rows in one question.
const ROWS_AT_ONCE: usize = 500;
/// Things checked between two lines of progress.
const PROGRESS_EVERY: u64 = 10_000;

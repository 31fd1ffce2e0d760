//! Checking what is stored against itself: a running shard slice by slice, each one job of the worker pool; a stopped directory on
//! copies of its indexes. Finds, never repairs; each finding says what to do.
//!
//! Order: stored bodies (checksums; `shards` does that), names of accounts, each account (its own rows in [`Step::Start`], its
//! messages, the rows that lead to messages), then bodies that no row names. What changes while a running shard is checked is
//! looked at again before it is called wrong. Spec B7.

mod account;
mod bodies;
mod notes;
mod position;

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::rc::Rc;

use shards::index::{Index, IndexError};
use shards::segments::BodyId;
use shards::storage::{DirectoryError, Finding, SLICE_BODIES, Shard, check_stopped_with};

use super::{Delivered, StoreError, keys};
pub use notes::Notes;
use position::{Kind, Position, Stage};

/// What a check found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// What is wrong, in words, with the remedy; at most 20 of each kind are spelled out.
    pub findings: Vec<String>,
    /// Worth to know, though nothing is wrong.
    pub notes: Vec<String>,
    /// Rows and bodies looked at.
    pub checked: u64,
}

/// What was seen of some rows.
#[derive(Default)]
pub(super) struct Seen {
    pub findings: Vec<String>,
    pub checked: u64,
    /// Accounts that have rows.
    names: Vec<String>,
    /// Rows that say a delivery of a fan-out entry was made.
    pub delivered: Vec<Delivered>,
}

/// What one slice of a check found.
#[derive(Clone, Debug, Default)]
pub struct CheckSlice {
    /// In words, with the remedy.
    pub findings: Vec<String>,
    /// Things checked.
    pub checked: u64,
    /// Accounts that have rows.
    pub names: Vec<String>,
    /// Rows that say a delivery of a fan-out entry was made.
    pub delivered: Vec<Delivered>,
    /// Where to go on; none when the shard is done.
    pub next: Option<Vec<u8>>,
}

/// Checks a slice of a shard from a position on (empty: from its start); answers findings and the next position. Positions are
/// for the caller to hand back, within one run of the server.
pub async fn check_slice(shard: &Rc<Shard>, from: Vec<u8>) -> Result<CheckSlice, StoreError> {
    let mut position = Position::from_bytes(&from)?;
    let mut report = Seen::default();
    let next = if let Stage::Bodies(body) = position.stage {
        let (found, next) = shard.check_slice(BodyId(body), SLICE_BODIES).await?;
        report.checked = found.bodies;
        for finding in found.list {
            match finding.body {
                Some(body) => position.damage(body, finding.what),
                None => position.tell(Kind::Body, || finding.what, &mut report),
            }
        }
        position.stage = next.map_or(Stage::names(), |body| Stage::Bodies(body.0));
        Some(position)
    } else {
        let (found, next) = shard.read(move |index| slice(index, position)).await?;
        report = found;
        next
    };
    let shard = shard.id();
    Ok(CheckSlice {
        findings: report
            .findings
            .iter()
            .map(|f| format!("{shard}: {f}"))
            .collect(),
        checked: report.checked,
        names: report.names,
        delivered: report.delivered,
        next: next.map(|p| p.to_bytes()),
    })
}

/// Checks a directory that no process has open, bodies included. `configured` says whether there is an account of a name, `progress` is
/// told how many rows and bodies were looked at.
pub fn check_stopped(
    directory: &Path,
    configured: &dyn Fn(&str) -> bool,
    progress: &mut dyn FnMut(u64),
) -> Result<Report, DirectoryError> {
    let mut report = Report::default();
    let mut rows = 0;
    let mut notes = Notes::default();
    // Fan-out entries of each shard whose rows could be read.
    let mut entries: HashMap<u16, HashSet<u64>> = HashMap::new();
    // Shards whose damaged bodies were told of with their messages.
    let mut told = HashSet::new();
    let below = check_stopped_with(directory, &mut |_, _| (), &mut |shard, index, below| {
        let mut position = Position::at(Stage::names());
        for finding in &below.list {
            if let Some(body) = finding.body {
                position.damage(body, finding.what.clone());
            }
        }
        match check_rows_from(index, position) {
            Ok(found) => {
                told.insert(shard);
                rows += found.checked;
                let named = found.findings.into_iter().map(|f| format!("{shard}: {f}"));
                report.findings.extend(named);
                let orphans = found.names.iter().filter(|name| !configured(name));
                let told = orphans.filter_map(|name| notes.orphan(name));
                report.notes.extend(told);
                notes.delivered(shard.0, found.delivered);
                if let Ok(numbers) = fan_out_entries(index) {
                    entries.insert(shard.0, numbers);
                }
            }
            Err(error) => report.findings.push(format!("{shard}: {error}")),
        }
        progress(rows);
    })?;
    for (shard, found) in below {
        report.checked += found.bodies;
        let below = found.notes.iter().map(|note| format!("{shard}: {note}"));
        report.notes.extend(below);
        let untold = |f: &&Finding| f.body.is_none() || !told.contains(&shard);
        let list = found.list.iter().filter(untold);
        for finding in list.take(position::TOLD_MAX as usize) {
            let body = finding
                .body
                .map_or(String::new(), |b| format!("body {b}: "));
            report
                .findings
                .push(format!("{shard}: {body}{}", finding.what));
        }
        if found.total > u64::from(position::TOLD_MAX) {
            report.findings.push(format!(
                "{shard}: {} findings about bodies in all",
                found.total
            ));
        }
    }
    report.checked += rows;
    for (shard, rows) in notes.take_delivered() {
        if let Some(entries) = entries.get(&shard) {
            let gone = rows.iter().filter(|(_, row)| !entries.contains(&row.entry));
            notes.left_over(gone.count() as u64);
        }
    }
    report.notes.extend(notes.end());
    Ok(report)
}

/// Numbers of a shard's fan-out entries.
pub(super) fn fan_out_entries(index: &Index) -> Result<HashSet<u64>, IndexError> {
    let mut numbers = HashSet::new();
    let mut from = keys::FAN_OUT.to_vec();
    loop {
        let rows = index.scan(keys::FAN_OUT, &from, ENTRIES)?;
        numbers.extend(rows.iter().filter_map(|(key, _)| account::number(key, 1)));
        match account::after(&rows, ENTRIES) {
            Some(next) => from = next,
            None => return Ok(numbers),
        }
    }
}

pub(super) fn check_rows(index: &Index) -> Result<Seen, IndexError> {
    check_rows_from(index, Position::at(Stage::names()))
}

fn check_rows_from(index: &Index, position: Position) -> Result<Seen, IndexError> {
    let mut report = Seen::default();
    let mut position = Some(position);
    while let Some(at) = position {
        let (found, next) = slice(index, at)?;
        report.findings.extend(found.findings);
        report.checked += found.checked;
        report.names.extend(found.names);
        report.delivered.extend(found.delivered);
        position = next;
    }
    Ok(report)
}

/// One slice of the rows: a few thousand of them at most.
fn slice(index: &Index, mut position: Position) -> Result<(Seen, Option<Position>), IndexError> {
    let mut report = Seen::default();
    let stage = std::mem::replace(&mut position.stage, Stage::End);
    position.stage = match stage {
        Stage::Bodies(_) | Stage::End => Stage::End,
        Stage::Names(names) => account::names(index, names, &mut position, &mut report)?,
        Stage::Account(step) => account::step(index, step, &mut position, &mut report)?,
        Stage::Damaged => bodies::damaged(index, &mut position, &mut report)?,
        Stage::Naming(naming) => bodies::naming(index, naming, &mut report)?,
        Stage::Unnamed(unnamed) => bodies::unnamed(index, unnamed, &mut position, &mut report)?,
    };
    if matches!(position.stage, Stage::End) {
        position.tell_rest(&mut report);
        return Ok((report, None));
    }
    Ok((report, Some(position)))
}

/// Entries read at once.
const ENTRIES: usize = 1_000;

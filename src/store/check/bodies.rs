//! Bodies that no row names: left over by a bug, or by a row that can't be read. Looked for by ranges of body numbers: all rows are
//! walked through once for each range, and once more for what was not found, as a message may have moved meanwhile.

use shards::index::{Index, IndexError, Row};
use shards::segments::BodyId;

use super::super::keys;
use super::super::rows::{EraseRow, MessageRow, decode};
use super::Seen;
use super::account::{after, number};
use super::position::{Kind, Naming, Position, Stage, Unnamed};

/// Tells of the damaged bodies that no message has.
pub(super) fn damaged(
    index: &Index,
    position: &mut Position,
    report: &mut Seen,
) -> Result<Stage, IndexError> {
    for damaged in std::mem::take(&mut position.damaged) {
        let body = damaged.body;
        // Some went while the rows were walked through.
        if damaged.named || index.location(BodyId(body))?.is_none() {
            continue;
        }
        let whose = if index.get_whole(&keys::fan_out(body))?.is_some() {
            "it is a message for several accounts that not all have yet"
        } else if index.get_whole(&keys::queue(body))?.is_some() {
            "it is a message in the queue"
        } else {
            "it is no message of an account any more; one that was expunged goes by itself"
        };
        let what = damaged.what;
        // Counted when it was found.
        report.findings.push(format!(
            "body {body}: {what}; {whose}. Restore the file from a backup with the server stopped"
        ));
    }
    Ok(Stage::Naming(Naming::start(index)?))
}

impl Naming {
    pub(super) fn start(index: &Index) -> Result<Naming, IndexError> {
        // Bodies are numbered in the order they are submitted, so those below are durable or were given up.
        let end = index.progress()?.next_body;
        Ok(Naming::range(0, end))
    }

    fn range(base: u64, end: u64) -> Naming {
        Naming {
            base,
            end,
            bits: vec![0; (RANGE / 8) as usize],
            from: Vec::new(),
        }
    }
}

/// Notes the bodies of the range that rows name; at the end of the rows, which are named by none.
pub(super) fn naming(
    index: &Index,
    mut at: Naming,
    report: &mut Seen,
) -> Result<Stage, IndexError> {
    let (rows, next) = walk(index, &at.from)?;
    for (key, value) in &rows {
        report.checked += 1;
        named_by(key, value, &mut |body| {
            if let Some(bit) = body.checked_sub(at.base).filter(|bit| *bit < RANGE) {
                at.bits[(bit / 8) as usize] |= 1 << (bit % 8);
            }
        });
    }
    if let Some(from) = next {
        at.from = from;
        return Ok(Stage::Naming(at));
    }
    let mut bodies = Vec::new();
    let mut from = at.base;
    loop {
        let found = index.locations(BodyId(from), WALK)?;
        for (body, _) in &found {
            from = body.0 + 1;
            let bit = body.0 - at.base;
            if bit >= RANGE || body.0 >= at.end {
                break;
            }
            if at.bits[(bit / 8) as usize] & (1 << (bit % 8)) == 0 && bodies.len() < UNNAMED_MAX {
                bodies.push(body.0);
            }
        }
        if found.len() < WALK || from >= at.end.min(at.base + RANGE) {
            break;
        }
    }
    let (base, end, from) = (at.base, at.end, Vec::new());
    Ok(Stage::Unnamed(Unnamed {
        base,
        end,
        bodies,
        from,
    }))
}

pub(super) fn unnamed(
    index: &Index,
    mut at: Unnamed,
    position: &mut Position,
    report: &mut Seen,
) -> Result<Stage, IndexError> {
    if !at.bodies.is_empty() {
        let (rows, next) = walk(index, &at.from)?;
        for (key, value) in &rows {
            named_by(key, value, &mut |body| at.bodies.retain(|b| *b != body));
        }
        if let Some(from) = next {
            at.from = from;
            return Ok(Stage::Unnamed(at));
        }
    }
    for body in at.bodies {
        if index.location(BodyId(body))?.is_some() {
            position.tell(Kind::Dangling, || format!("body {body}: no message, queue entry or anything else names it; it takes up space only, or belongs to a row that was lost: `ringmail salvage` brings it back as a message"), report);
        }
    }
    let base = at.base + RANGE;
    Ok(if base < at.end {
        Stage::Naming(Naming::range(base, at.end))
    } else {
        Stage::End
    })
}

/// A slice of all rows.
fn walk(index: &Index, from: &[u8]) -> Result<(Vec<Row>, Option<Vec<u8>>), IndexError> {
    let rows = index.scan(&[], from, WALK)?;
    let next = after(&rows, WALK);
    Ok((rows, next))
}

/// Bodies that a row names. Entries of the queue and of fan-out are numbered like their bodies.
fn named_by(key: &[u8], value: &[u8], each: &mut dyn FnMut(u64)) {
    match (key.first(), key.get(9)) {
        (Some(b'a'), Some(b'u')) => {
            if let Ok(row) = decode::<MessageRow>(value, String::new) {
                each(row.body);
            }
        }
        (Some(b'a'), Some(b'e')) => {
            if let Ok(row) = decode::<EraseRow>(value, String::new) {
                row.bodies.iter().for_each(|(body, ..)| each(*body));
            }
        }
        (Some(b'f' | b'q'), _) => number(key, 1).into_iter().for_each(each),
        _ => (),
    }
}

/// Bodies looked for at once: 32 KiB of bits.
const RANGE: u64 = 256 << 10;
/// Rows in one slice.
const WALK: usize = 2_000;
/// Unnamed bodies of one range that are looked for again.
const UNNAMED_MAX: usize = 100;

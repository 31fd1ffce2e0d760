//! Compaction: a segment that is mostly dead is copied to the current one, bit by bit, between the groups of the commit thread. docs/STORAGE.md lists
//! its steps. Not here: when it may run (`commit`).

use std::sync::atomic::Ordering;

use super::commit::{CommitThread, GroupError};
use crate::faults::shard_point;
use crate::index::Progress;
use crate::rt::sync_directory;
use crate::segments::{BodyId, Damage, NewRecord, Scanned, SegmentScan, segment_name};

/// One segment on its way out.
pub(crate) struct Compaction {
    number: u32,
    /// Some place in it could not be read: only the index can say that nothing named lies there.
    damaged: bool,
    stage: Stage,
}

enum Stage {
    /// Copying what lives, record by record.
    Copy(Box<SegmentScan>),
    /// Looking through all locations, from this body on, for one that still names the segment.
    Verify(BodyId),
}

/// A record to be copied: header, meta, body.
type Moved = (crate::segments::RecordHeader, Vec<u8>, Vec<u8>);

impl CommitThread {
    pub(super) fn compact_slice(&mut self) -> Result<(), GroupError> {
        // Copying takes space before it frees any: on a full disk it would poison the shard.
        if self.free < COMPACTION_HEADROOM {
            return Ok(());
        }
        let Some(mut compaction) = self.compaction.take().or_else(|| self.begin_compaction())
        else {
            return Ok(());
        };
        let done = match &mut compaction.stage {
            Stage::Copy(scan) => {
                let (moved, ended, damaged) = match self.read_slice(compaction.number, scan) {
                    Ok(read) => read,
                    // Nothing was written and nothing is lost: mail must not stop because garbage cannot be collected.
                    Err(GroupError::Io(error)) => {
                        tracing::error!(shard = %self.shard, segment = compaction.number, %error, "a segment cannot be read to compact it; it is kept until the next start. Check the disk");
                        self.compaction_keep(compaction.number);
                        return Ok(());
                    }
                    Err(error) => return Err(error),
                };
                compaction.damaged |= damaged;
                self.move_bodies(compaction.number, &moved)?;
                if ended && (compaction.damaged || self.live(compaction.number) > 0) {
                    compaction.stage = Stage::Verify(BodyId(0));
                    false
                } else {
                    ended
                }
            }
            Stage::Verify(from) => {
                let found = self.index.locations(*from, VERIFY_SLICE)?;
                if found.iter().any(|(_, l)| l.segment == compaction.number) {
                    tracing::error!(shard = %self.shard, segment = compaction.number, "a segment holds damaged bodies that are still named; it is kept. `ringmail check` lists them");
                    self.compaction_keep(compaction.number);
                    return Ok(());
                }
                *from = found.last().map_or(*from, |(body, _)| BodyId(body.0 + 1));
                found.len() < VERIFY_SLICE
            }
        };
        if done {
            self.remove_segment(compaction.number)?;
        } else {
            self.compaction = Some(compaction);
        }
        Ok(())
    }

    fn live(&self, number: u32) -> u64 {
        self.uses.get(&number).map_or(0, |used| used.live)
    }

    /// Reads on in the segment: what lives there, whether its end was reached, whether a place was damaged.
    fn read_slice(
        &self,
        number: u32,
        scan: &mut SegmentScan,
    ) -> Result<(Vec<Moved>, bool, bool), GroupError> {
        shard_point(self.shard, "compaction.read")?;
        let mut moved = Vec::new();
        let mut bytes = 0;
        let mut damaged = false;
        while bytes < COMPACTION_SLICE {
            match scan.next_record()? {
                None => return Ok((moved, true, damaged)),
                Some(Scanned::Damaged { offset, damage }) => {
                    // A torn end after a crash looks like this too, and is harmless: Stage::Verify tells them apart.
                    tracing::debug!(shard = %self.shard, segment = number, offset, %damage, "compaction passes over a damaged place");
                    damaged = true;
                    bytes += DAMAGE_COST;
                }
                Some(Scanned::Record {
                    header,
                    offset,
                    meta,
                    body,
                }) => {
                    bytes += header.record_length();
                    let here = self.index.location(header.body)?;
                    if here.is_some_and(|l| l.segment == number && u64::from(l.offset) == offset) {
                        moved.push((header, meta, body));
                    }
                }
            }
        }
        Ok((moved, false, damaged))
    }

    fn begin_compaction(&mut self) -> Option<Compaction> {
        let current = self.writer.number();
        let threshold = self.options.compaction_dead_percent.clamp(1, 100);
        let (number, _) = self.uses.iter().find(|(number, used)| {
            **number != current
                && !self.kept.contains(number)
                && used.live.saturating_mul(2) < self.free
                && (used.written - used.live.min(used.written)) * 100 >= used.written * threshold
        })?;
        let number = *number;
        let (scan, damage) =
            SegmentScan::open(&self.path.join("segments"), number, self.shard, self.seed)
                .map_err(|error| tracing::warn!(shard = %self.shard, segment = number, %error, "compaction cannot open a segment"))
                .ok()
                .unzip();
        match (scan, damage.flatten()) {
            // Cut off: a crash while the file was made. It holds nothing, which Stage::Verify makes sure of.
            (Some(scan), damage) if damage.as_ref().is_none_or(|d| *d == CUT_OFF) => {
                Some(Compaction {
                    number,
                    damaged: damage.is_some(),
                    stage: Stage::Copy(Box::new(scan)),
                })
            }
            _ => {
                self.compaction_keep(number);
                None
            }
        }
    }

    /// A segment that is damaged or cannot be read stays as it is, for salvage; it is not looked at again before the next start.
    fn compaction_keep(&mut self, number: u32) {
        self.kept.insert(number);
    }

    fn move_bodies(&mut self, from: u32, moved: &[Moved]) -> Result<(), GroupError> {
        if moved.is_empty() {
            return Ok(());
        }
        let records: Vec<NewRecord<'_>> = moved
            .iter()
            .map(|(header, meta, body)| NewRecord {
                body: header.body,
                kind: header.kind,
                meta,
                parts: vec![body],
                external_length: header.external_length,
                external_id: header.external_id,
            })
            .collect();
        let group = self.progress.last_group + 1;
        let locations = self.writer.append(group, &records)?;
        self.writer.sync()?;
        shard_point(self.shard, "compaction.copied")?;
        let mut batch = self.index.batch();
        for ((header, _, _), location) in moved.iter().zip(&locations) {
            batch.put_location(&self.index, header.body, *location);
            let used = self.uses.entry(location.segment).or_default();
            used.live += location.record_length();
            used.written += location.record_length();
            let old = self.uses.entry(from).or_default();
            old.live = old.live.saturating_sub(location.record_length());
        }
        let mut touched: Vec<u32> = locations.iter().map(|l| l.segment).collect();
        touched.dedup();
        touched.push(from);
        for number in touched {
            batch.put_segment(
                &self.index,
                number,
                self.uses.get(&number).copied().unwrap_or_default(),
            );
        }
        let progress = Progress {
            last_group: group,
            ..self.progress
        };
        batch.put_progress(&self.index, progress);
        self.index.commit(batch)?;
        self.progress = progress;
        self.shared
            .compacted
            .fetch_add(records.len() as u64, Ordering::Relaxed);
        shard_point(self.shard, "compaction.moved")?;
        Ok(())
    }

    fn remove_segment(&mut self, number: u32) -> Result<(), GroupError> {
        let mut batch = self.index.batch();
        batch.delete_segment(&self.index, number);
        self.index.commit(batch)?;
        shard_point(self.shard, "compaction.forgotten")?;
        self.uses.remove(&number);
        std::fs::remove_file(self.path.join("segments").join(segment_name(number)))?;
        sync_directory(&self.path.join("segments"))?;
        shard_point(self.shard, "compaction.removed")?;
        tracing::info!(shard = %self.shard, segment = number, "compacted");
        Ok(())
    }
}

/// What one step of a compaction reads, in bytes; the pause after it is the rate limit.
pub(super) const COMPACTION_SLICE: u64 = 256 << 10;
/// What one damaged place counts for in a slice, so that a segment full of them does not hold the thread.
const DAMAGE_COST: u64 = 16 << 10;
/// Locations looked at in one slice.
const VERIFY_SLICE: usize = 4096;
/// Compaction pauses below this much free space.
const COMPACTION_HEADROOM: u64 = 8 << 20;
const CUT_OFF: Damage = Damage::SegmentHeader("cut off");

//! What a check tells beside what is wrong: nothing is lost or broken by it.

use std::collections::HashMap;

use super::super::Delivered;
use super::position::TOLD_MAX;

/// Things worth to know, counted.
#[derive(Default)]
pub struct Notes {
    orphans: u64,
    /// Rows of deliveries, by the shard of their entry; at most [`DELIVERED_MAX`].
    delivered: HashMap<u16, Vec<(u16, Delivered)>>,
    delivered_count: usize,
    left_over: u64,
}

impl Notes {
    /// Mail of a name that is not configured; the text if it is to be told.
    pub fn orphan(&mut self, name: &str) -> Option<String> {
        self.orphans += 1;
        (self.orphans <= u64::from(TOLD_MAX)).then(|| {
            format!(
                "mail of {name} is stored, but no account of that name is configured; take it into use again (ringmail account add {name} ADDRESS... --keep) or remove it (ringmail account remove {name})"
            )
        })
    }

    /// Rows of a shard that say a delivery was made; whether they are left over is seen at the end.
    pub fn delivered(&mut self, shard: u16, rows: Vec<Delivered>) {
        for row in rows {
            if self.delivered_count < DELIVERED_MAX {
                self.delivered_count += 1;
                self.delivered
                    .entry(row.shard)
                    .or_default()
                    .push((shard, row));
            }
        }
    }

    /// Those that wait to be looked at: the shard of the entries, the rows each with its own shard.
    pub fn take_delivered(&mut self) -> HashMap<u16, Vec<(u16, Delivered)>> {
        std::mem::take(&mut self.delivered)
    }

    /// So many of them have no entry any more.
    pub fn left_over(&mut self, count: u64) {
        self.left_over += count;
    }

    /// What is told at the end.
    pub fn end(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if let Some(more) = self
            .orphans
            .checked_sub(u64::from(TOLD_MAX))
            .filter(|m| *m > 0)
        {
            notes.push(format!("mail of {more} more names that are not configured"));
        }
        if self.left_over > 0 {
            notes.push(format!(
                "{} rows say that a message for several accounts was delivered to one of them, and its entry is gone; they do no harm, the next start of the server removes them",
                self.left_over
            ));
        }
        notes
    }
}

/// Rows of deliveries looked at in one check.
const DELIVERED_MAX: usize = 100_000;

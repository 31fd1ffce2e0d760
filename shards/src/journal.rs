//! What fjall's own recovery does not check in its journals, checked before it opens them. Written for the journal format of the
//! pinned fjall (see Cargo.toml); whatever is not understood here is left for fjall to judge.
//!
//! A batch is `Start(1) items u32, sequence u64 | items | End(3) xxh3 u64, "FJL" 3`, little-endian. The checksum covers the items
//! and not the start, so one flipped bit in a sequence number is replayed in silence: raised, it hides what later batches wrote to
//! the same keys; lowered, its own rows stay hidden behind older ones. Batches are written under one lock with rising numbers, so
//! order shows both. (A flip in the number of items fails fjall's own count.)

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

/// The first batch out of order, if there is one: the journal and the offset in it.
pub(crate) fn out_of_order(rows: &Path) -> io::Result<Option<(PathBuf, u64)>> {
    let mut last = None;
    for path in journals(rows)? {
        let mut journal = Reader {
            bytes: BufReader::with_capacity(64 << 10, File::open(&path)?),
            at: 0,
        };
        loop {
            let offset = journal.at;
            // The end, a torn batch, or something of fjall's that we do not know.
            let Ok(Some(sequence)) = journal.batch() else {
                break;
            };
            if last.is_some_and(|last| sequence <= last) {
                return Ok(Some((path, offset)));
            }
            last = Some(sequence);
        }
    }
    Ok(None)
}

fn journals(rows: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let entries = match fs::read_dir(rows) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    for entry in entries {
        let path = entry?.path();
        let number = path
            .file_name()
            .and_then(|n| n.to_str())
            .and_then(|n| n.strip_suffix(".jnl"))
            .and_then(|n| n.parse::<u64>().ok());
        found.extend(number.map(|number| (number, path)));
    }
    found.sort_unstable();
    Ok(found.into_iter().map(|(_, path)| path).collect())
}

struct Reader {
    bytes: BufReader<File>,
    at: u64,
}

impl Reader {
    /// Passes one batch and answers its sequence number; none where no batch begins.
    fn batch(&mut self) -> io::Result<Option<u64>> {
        let [START] = self.take::<1>()? else {
            return Ok(None);
        };
        let items = u32::from_le_bytes(self.take()?);
        let sequence = u64::from_le_bytes(self.take()?);
        for _ in 0..items {
            if !self.item()? {
                return Ok(None);
            }
        }
        let end = self.take::<13>()?;
        Ok((end[0] == END && end[9..] == *b"FJL\x03").then_some(sequence))
    }

    fn item(&mut self) -> io::Result<bool> {
        // Tag, value type, compression (none), keyspace u64, key length u16, value length u32 twice.
        let head = self.take::<21>()?;
        if head[0] != ITEM || head[2] != 0 {
            return Ok(false);
        }
        let key = crate::segments::u16_at(&head, 11);
        let value = crate::segments::u32_at(&head, 17);
        self.skip(u64::from(key) + u64::from(value))?;
        Ok(true)
    }

    fn take<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let mut bytes = [0; N];
        self.bytes.read_exact(&mut bytes)?;
        self.at += N as u64;
        Ok(bytes)
    }

    fn skip(&mut self, mut length: u64) -> io::Result<()> {
        self.at += length;
        while length > 0 {
            let here = self.bytes.fill_buf()?.len();
            if here == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let now = here.min(usize::try_from(length).unwrap_or(usize::MAX));
            self.bytes.consume(now);
            length -= now as u64;
        }
        Ok(())
    }
}

const START: u8 = 1;
const ITEM: u8 = 2;
const END: u8 = 3;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::{Index, RowChange};

    #[test]
    fn every_bit_of_every_sequence_number_counts() {
        let dir = tempfile::tempdir().unwrap();
        let rows = dir.path().join("rows");
        let index = Index::open(&rows, 1 << 20).unwrap();
        for n in 0..5u8 {
            let mut batch = index.batch();
            batch.row(&index, RowChange::Put(vec![n; 3], vec![n; 300]));
            index.commit(batch).unwrap();
        }
        drop(index);
        assert_eq!(out_of_order(&rows).unwrap(), None);
        let path = journals(&rows).unwrap().remove(0);
        let mut sound = fs::read(&path).unwrap();
        // fjall makes it 64 MiB long ahead.
        sound.truncate(1 << 14);
        let mut reader = Reader {
            bytes: BufReader::new(File::open(&path).unwrap()),
            at: 0,
        };
        let mut starts = Vec::new();
        loop {
            starts.push(reader.at as usize);
            if reader.batch().unwrap().is_none() {
                break;
            }
        }
        starts.pop();
        assert_eq!(starts.len(), 5, "this fjall's journals are understood");
        // The first may be lowered and the last raised without harm: no older and no newer batch is there.
        for start in &starts[1..4] {
            for bit in 0..64 {
                let mut bytes = sound.clone();
                bytes[start + 5 + bit / 8] ^= 1 << (bit % 8);
                fs::write(&path, bytes).unwrap();
                let found = out_of_order(&rows).unwrap();
                assert!(found.is_some(), "batch at {start}, bit {bit}");
                let refused = Index::open(&rows, 1 << 20).err().unwrap().to_string();
                assert!(refused.contains("out of order"), "{refused}");
            }
        }
    }
}

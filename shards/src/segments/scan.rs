//! Reading a segment from its beginning, without an index: for opening, compaction, the check and salvage.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::{
    Damage, RECORD_HEADER, RECORD_MAGIC, RecordHeader, SEGMENT_HEADER, SEGMENT_MAGIC, open_record,
    padded, segment_name, u16_at, u32_at,
};
use crate::ShardId;

/// Reads a segment record by record, checking all of them.
pub struct SegmentScan {
    file: File,
    length: u64,
    at: u64,
    seed: u32,
}

/// One step of a scan.
pub enum Scanned {
    /// A sound record.
    Record {
        /// Its header.
        header: RecordHeader,
        /// Where it lies.
        offset: u64,
        /// Its self-description.
        meta: Vec<u8>,
        /// Its body within the segment.
        body: Vec<u8>,
    },
    /// A damaged place; the scan goes on at the next record it finds.
    Damaged {
        /// Where.
        offset: u64,
        /// What is wrong.
        damage: Damage,
    },
}

impl SegmentScan {
    /// Opens a segment and checks its header. `Ok(.., Some(damage))` when the header is bad: its records may still be scanned.
    pub fn open(
        directory: &Path,
        number: u32,
        shard: ShardId,
        seed: u32,
    ) -> io::Result<(SegmentScan, Option<Damage>)> {
        let file = File::open(directory.join(segment_name(number)))?;
        let length = file.metadata()?.len();
        let mut header = [0; SEGMENT_HEADER];
        let damage = match file.read_exact_at(&mut header, 0) {
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => Some("cut off"),
            Err(e) => return Err(e),
            Ok(()) => segment_header_damage(&header, shard, number, seed),
        };
        let scan = SegmentScan {
            file,
            length,
            at: SEGMENT_HEADER as u64,
            seed,
        };
        Ok((scan, damage.map(Damage::SegmentHeader)))
    }

    /// The next record, or none at the end of what was written.
    pub fn next_record(&mut self) -> io::Result<Option<Scanned>> {
        let Some(header) = self.read_header()? else {
            return self.skip_damage(Damage::NoRecord);
        };
        let header = match header {
            Ok(header) => header,
            Err(damage) => return self.skip_damage(damage),
        };
        let length = RECORD_HEADER + usize::from(header.meta_length) + header.body_length as usize;
        if self.at + length as u64 > self.length {
            return self.skip_damage(Damage::Short);
        }
        let mut bytes = vec![0; length];
        self.file.read_exact_at(&mut bytes, self.at)?;
        match open_record(&bytes, self.seed, header.body) {
            Ok((header, meta, body)) => {
                let offset = self.at;
                self.at += header.record_length();
                Ok(Some(Scanned::Record {
                    header,
                    offset,
                    meta: meta.to_vec(),
                    body: body.to_vec(),
                }))
            }
            Err(damage) => self.skip_damage(damage),
        }
    }

    /// The next record's group, hopping over bodies; whether it is sound is only checked for groups after `unless_after`.
    pub fn next_group(&mut self, unless_after: u64) -> io::Result<Option<(u64, bool)>> {
        loop {
            let header = match self.read_header()? {
                Some(Ok(header)) if self.at + header.record_length() <= padded(self.length) => {
                    header
                }
                Some(Ok(_)) => match self.skip_damage(Damage::Short)? {
                    Some(_) if self.at < self.length => continue,
                    _ => return Ok(None),
                },
                Some(Err(damage)) => match self.skip_damage(damage)? {
                    Some(_) if self.at < self.length => continue,
                    _ => return Ok(None),
                },
                None => return Ok(None),
            };
            if header.group > unless_after && !self.is_sound(&header)? {
                // Its length may be wrong too: the next record is looked for, not hopped to.
                self.skip_damage(Damage::Checksum)?;
                return Ok(Some((header.group, false)));
            }
            self.at += header.record_length();
            return Ok(Some((header.group, true)));
        }
    }

    fn is_sound(&self, header: &RecordHeader) -> io::Result<bool> {
        let length = RECORD_HEADER + usize::from(header.meta_length) + header.body_length as usize;
        if self.at + length as u64 > self.length {
            return Ok(false);
        }
        let mut bytes = vec![0; length];
        self.file.read_exact_at(&mut bytes, self.at)?;
        Ok(open_record(&bytes, self.seed, header.body).is_ok())
    }

    fn read_header(&mut self) -> io::Result<Option<Result<RecordHeader, Damage>>> {
        if self.at + RECORD_HEADER as u64 > self.length {
            return Ok(None);
        }
        let mut bytes = [0; RECORD_HEADER];
        self.file.read_exact_at(&mut bytes, self.at)?;
        Ok(Some(RecordHeader::from_bytes(&bytes)))
    }

    /// Looks for the next record's magic on 8-byte boundaries. Nothing but zeros means the end, which is no damage.
    fn skip_damage(&mut self, damage: Damage) -> io::Result<Option<Scanned>> {
        let start = self.at;
        let mut zeros_only = true;
        let mut at = if damage == Damage::NoRecord {
            start
        } else {
            start + 8
        };
        zeros_only &= damage == Damage::NoRecord;
        // Small at first: content full of false magics must not cost 64 KiB for each.
        let mut buffer = vec![0; 512];
        while at < self.length {
            let want = buffer.len().min((self.length - at) as usize);
            self.file.read_exact_at(&mut buffer[..want], at)?;
            let magic = RECORD_MAGIC.to_le_bytes();
            for (n, word) in buffer[..want].chunks(8).enumerate() {
                if word.len() >= 4 && word[..4] == magic && at + (n as u64) * 8 > start {
                    self.at = at + (n as u64) * 8;
                    return Ok(Some(Scanned::Damaged {
                        offset: start,
                        damage,
                    }));
                }
                zeros_only &= word.iter().all(|b| *b == 0);
            }
            at += want as u64;
            buffer.resize(64 << 10, 0);
        }
        self.at = self.length;
        Ok(if zeros_only {
            None
        } else {
            Some(Scanned::Damaged {
                offset: start,
                damage,
            })
        })
    }
}

pub(super) fn segment_header_damage(
    header: &[u8],
    shard: ShardId,
    number: u32,
    seed: u32,
) -> Option<&'static str> {
    if &header[..8] != SEGMENT_MAGIC {
        return Some("not a segment of this version");
    }
    if u32_at(header, 36) != crc32c::crc32c(&header[..36]) {
        return Some("checksum does not match");
    }
    if u16_at(header, 8) != shard.0 || u32_at(header, 12) != number {
        return Some("belongs to another shard or number: was it renamed?");
    }
    (u32_at(header, 24) != seed).then_some("belongs to another data directory")
}

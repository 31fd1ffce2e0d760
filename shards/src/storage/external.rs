//! Content of large bodies in files of their own: chunks of 64 KiB, each followed by its CRC-32C. Blocking: called through the pool.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::batch::External;

/// Octets of content in one chunk.
pub const CHUNK: usize = 64 << 10;

/// Writes one file of external content, piece by piece. Dropping it unfinished leaves the file to the sweep at opening.
pub struct ExternalWriter {
    file: File,
    path: PathBuf,
    pending: Vec<u8>,
    length: u64,
}

impl ExternalWriter {
    /// Creates the file, which must not exist.
    pub fn create(path: PathBuf) -> io::Result<ExternalWriter> {
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&path)?;
        Ok(ExternalWriter {
            file,
            path,
            pending: Vec::with_capacity(CHUNK + 4),
            length: 0,
        })
    }

    /// Appends content.
    pub fn write(&mut self, mut content: &[u8]) -> io::Result<()> {
        self.length += content.len() as u64;
        while !content.is_empty() {
            let room = CHUNK - self.pending.len();
            let (now, rest) = content.split_at(room.min(content.len()));
            self.pending.extend_from_slice(now);
            content = rest;
            if self.pending.len() == CHUNK {
                self.flush()?;
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        let crc = crc32c::crc32c(&self.pending);
        self.pending.extend_from_slice(&crc.to_le_bytes());
        self.file.write_all(&self.pending)?;
        self.pending.clear();
        Ok(())
    }

    /// Syncs the content; it is ready to be committed.
    pub fn finish(mut self) -> io::Result<External> {
        if !self.pending.is_empty() {
            self.flush()?;
        }
        crate::faults::point("large.sync")?;
        self.file.sync_data()?;
        Ok(External {
            path: self.path.into(),
            length: self.length,
        })
    }
}

/// Reads `length` octets of content at `offset` and checks the chunks they lie in.
pub fn read_external_file(
    path: &Path,
    total: u64,
    offset: u64,
    length: usize,
) -> io::Result<Vec<u8>> {
    let file = File::open(path)?;
    let end = (offset + length as u64).min(total);
    let mut content = Vec::with_capacity(length);
    let mut at = offset;
    let mut buffer = vec![0; CHUNK + 4];
    while at < end {
        let chunk = at / CHUNK as u64;
        let chunk_start = chunk * CHUNK as u64;
        let chunk_length = (total - chunk_start).min(CHUNK as u64) as usize;
        file.read_exact_at(&mut buffer[..chunk_length + 4], chunk * (CHUNK as u64 + 4))?;
        if crc32c::crc32c(&buffer[..chunk_length]) != crate::segments::u32_at(&buffer, chunk_length)
        {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "checksum does not match",
            ));
        }
        let from = (at - chunk_start) as usize;
        let to = chunk_length.min((end - chunk_start) as usize);
        content.extend_from_slice(&buffer[from..to]);
        at = chunk_start + to as u64;
    }
    Ok(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_range_is_read_back_and_a_flipped_bit_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        let content: Vec<u8> = (0..200_000u32).map(|n| (n * 7 % 251) as u8).collect();
        let mut writer = ExternalWriter::create(path.clone()).unwrap();
        for part in content.chunks(999) {
            writer.write(part).unwrap();
        }
        assert_eq!(writer.finish().unwrap().length, 200_000);
        for (offset, length) in [
            (0, 10),
            (65_530, 20),
            (0, 200_000),
            (199_990, 100),
            (131_072, 1),
        ] {
            let end = (offset + length).min(content.len());
            assert_eq!(
                read_external_file(&path, 200_000, offset as u64, length).unwrap(),
                content[offset..end]
            );
        }
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[70_000] ^= 4;
        std::fs::write(&path, bytes).unwrap();
        assert!(read_external_file(&path, 200_000, 70_000, 1).is_err());
        assert!(read_external_file(&path, 200_000, 0, 10).is_ok());
    }
}

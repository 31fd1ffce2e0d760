//! Content of large bodies in files of their own: chunks of 64 KiB, each followed by its CRC-32C. Blocking: called through the pool.
//!
//! Each content has a random id, which is not in its file: the body's record and location have it. The checksums start with it and the
//! chunk's number. So a file in another's place is not read, and whose file it is needs not be known when it is written.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ring::rand::SecureRandom;

use super::batch::External;
use crate::segments::Location;

/// Octets of content in one chunk.
pub const CHUNK: usize = 64 << 10;

/// Writes one file of external content, piece by piece; it holds no content itself. Dropping it unfinished leaves the file to the sweep
/// at opening.
pub struct ExternalWriter {
    file: File,
    path: PathBuf,
    reserve: u64,
    id: u32,
    /// Of the chunk that is being written.
    crc: u32,
    length: u64,
}

impl ExternalWriter {
    /// Creates the file, which must not exist. `reserve`: free octets of the disk that are for others.
    pub fn create(path: PathBuf, reserve: u64) -> io::Result<ExternalWriter> {
        // Asked before there is anything: a full disk is left as it is.
        let folder = path.parent().unwrap_or(Path::new("."));
        let disk = rustix::fs::statvfs(folder)?;
        if disk.f_bavail * disk.f_frsize < reserve {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&path)?;
        let id = random_id()?;
        Ok(ExternalWriter {
            file,
            path,
            reserve,
            id,
            crc: first_checksum(id, 0),
            length: 0,
        })
    }

    /// Appends content; `StorageFull` if that would take of the reserve.
    pub fn write(&mut self, mut content: &[u8]) -> io::Result<()> {
        crate::faults::point("large.write")?;
        // Asked each time (1 us): many files grow at once, by far more than the reserve between two looks of a shard's own.
        let disk = rustix::fs::fstatvfs(&self.file)?;
        let free = disk.f_bavail * disk.f_frsize;
        if free < self.reserve.saturating_add(content.len() as u64) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let mut framed = Vec::with_capacity(content.len() + (content.len() / CHUNK + 1) * 4);
        while !content.is_empty() {
            let room = CHUNK - (self.length % CHUNK as u64) as usize;
            let (now, rest) = content.split_at(room.min(content.len()));
            self.crc = crc32c::crc32c_append(self.crc, now);
            self.length += now.len() as u64;
            framed.extend_from_slice(now);
            if now.len() == room {
                framed.extend_from_slice(&self.end_of_chunk());
            }
            content = rest;
        }
        self.file.write_all(&framed)
    }

    fn end_of_chunk(&mut self) -> [u8; 4] {
        let next = first_checksum(self.id, self.length / CHUNK as u64);
        std::mem::replace(&mut self.crc, next).to_le_bytes()
    }

    /// Syncs the content; it is ready to be committed.
    pub fn finish(mut self) -> io::Result<External> {
        if !self.length.is_multiple_of(CHUNK as u64) {
            let end = self.end_of_chunk();
            self.file.write_all(&end)?;
        }
        crate::faults::point("large.sync")?;
        self.file.sync_data()?;
        Ok(External {
            path: self.path.into(),
            length: self.length,
            id: self.id,
        })
    }
}

fn random_id() -> io::Result<u32> {
    let mut id = [0; 4];
    ring::rand::SystemRandom::new()
        .fill(&mut id)
        .map_err(|_| io::Error::other("the system has no random numbers"))?;
    // 0 is for content without an id.
    Ok(u32::from_le_bytes(id).max(1))
}

/// What a chunk's checksum starts with. Of a version that gave no ids: nothing.
fn first_checksum(id: u32, chunk: u64) -> u32 {
    match id {
        0 => 0,
        _ => crc32c::crc32c_append(crc32c::crc32c(&id.to_le_bytes()), &chunk.to_le_bytes()),
    }
}

/// Gives files of the spool their names in a shard's `large`. A file can have so many names only (65,000 on ext4, of all shards
/// together): beyond, a copy is made, and linked for the recipients that follow.
#[derive(Default)]
pub(crate) struct Links {
    /// The file whose names ran out last, and its copy.
    copy: Option<(Arc<Path>, PathBuf)>,
}

impl Links {
    /// Names `source` `target`. Contents are durable when this returns, the name is not.
    pub fn link(&mut self, source: &Arc<Path>, target: &Path) -> io::Result<()> {
        self.link_by(source, target, |from, to| {
            crate::faults::point("large.link")?;
            std::fs::hard_link(from, to)
        })
    }

    fn link_by(
        &mut self,
        source: &Arc<Path>,
        target: &Path,
        link: impl Fn(&Path, &Path) -> io::Result<()>,
    ) -> io::Result<()> {
        match link(source, target) {
            Err(e) if e.kind() == io::ErrorKind::TooManyLinks => (),
            done => return done,
        }
        let copy = self.copy.take().filter(|(of, _)| of == source);
        if let Some((_, copy)) = copy
            // Gone with its message, or its names ran out too: then there is a newer one.
            && std::fs::hard_link(&copy, target).is_ok()
        {
            self.copy = Some((source.clone(), copy));
            return Ok(());
        }
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(target)?;
        io::copy(&mut File::open(source)?, &mut file)?;
        file.sync_all()?;
        crate::faults::point("large.copied")?;
        self.copy = Some((source.clone(), target.to_path_buf()));
        Ok(())
    }
}

/// Reads `length` octets of the content that a location names, at `offset`, and checks the chunks they lie in.
pub fn read_external_file(
    path: &Path,
    location: &Location,
    offset: u64,
    length: usize,
) -> io::Result<Vec<u8>> {
    let file = File::open(path)?;
    let total = location.external_length;
    let end = (offset + length as u64).min(total);
    let mut content = Vec::with_capacity(length);
    let mut at = offset;
    let mut buffer = vec![0; CHUNK + 4];
    while at < end {
        let chunk = at / CHUNK as u64;
        let chunk_start = chunk * CHUNK as u64;
        let chunk_length = (total - chunk_start).min(CHUNK as u64) as usize;
        file.read_exact_at(&mut buffer[..chunk_length + 4], chunk * (CHUNK as u64 + 4))?;
        let start = first_checksum(location.external_id, chunk);
        if crc32c::crc32c_append(start, &buffer[..chunk_length])
            != crate::segments::u32_at(&buffer, chunk_length)
        {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "checksum does not match: it is damaged, or another body's",
            ));
        }
        let from = (at - chunk_start) as usize;
        let to = chunk_length.min((end - chunk_start) as usize);
        content.extend_from_slice(&buffer[from..to]);
        at = chunk_start + to as u64;
    }
    Ok(content)
}

impl External {
    /// Reads of the content, at `offset`. Blocking.
    pub fn read(&self, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        let location = Location {
            segment: 0,
            offset: 0,
            meta_length: 0,
            body_length: 0,
            external_length: self.length,
            external_id: self.id,
        };
        read_external_file(&self.path, &location, offset, length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn names_that_ran_out_are_made_of_a_copy() {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str| -> Arc<Path> { dir.path().join(name).into() };
        let write = |name: &str| std::fs::write(file(name), name.repeat(100_000)).unwrap();
        write("one");
        write("two");
        let full = |_: &Path, _: &Path| {
            Err(io::Error::from_raw_os_error(
                rustix::io::Errno::MLINK.raw_os_error(),
            ))
        };
        let mut links = Links::default();
        links.link(&file("one"), &file("1")).unwrap();
        for name in ["2", "3"] {
            links.link_by(&file("one"), &file(name), full).unwrap();
        }
        links.link_by(&file("two"), &file("4"), full).unwrap();
        // The copy's message was removed: another one is made.
        std::fs::remove_file(file("4")).unwrap();
        links.link_by(&file("two"), &file("5"), full).unwrap();
        let names = |name: &str| std::fs::metadata(file(name)).unwrap().nlink();
        assert_eq!(["1", "2", "3", "5"].map(names), [2, 2, 2, 1]);
        for (name, of) in [("1", "one"), ("2", "one"), ("3", "one"), ("5", "two")] {
            assert_eq!(
                std::fs::read(file(name)).unwrap(),
                std::fs::read(file(of)).unwrap()
            );
        }
        // Any other error is one.
        let fails = |_: &Path, _: &Path| Err(io::Error::other("disk"));
        assert!(links.link_by(&file("one"), &file("6"), fails).is_err());
        assert!(!file("6").exists());
    }

    #[test]
    fn the_reserve_of_the_disk_is_not_written_into() {
        let dir = tempfile::tempdir().unwrap();
        let disk = rustix::fs::statvfs(dir.path()).unwrap();
        let free = disk.f_bavail * disk.f_frsize;
        let full = ExternalWriter::create(dir.path().join("y"), free * 2);
        assert_eq!(
            full.err().map(|e| e.kind()),
            Some(io::ErrorKind::StorageFull)
        );
        assert!(!dir.path().join("y").exists());
        // It has filled since.
        let mut writer = ExternalWriter::create(dir.path().join("x"), 0).unwrap();
        writer.reserve = free * 2;
        let full = writer.write(b"one").unwrap_err();
        assert_eq!(full.kind(), io::ErrorKind::StorageFull);
        assert_eq!(std::fs::read(dir.path().join("x")).unwrap(), b"");
    }

    #[test]
    fn any_range_is_read_back_and_a_flipped_bit_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        let content: Vec<u8> = (0..200_000u32).map(|n| (n * 7 % 251) as u8).collect();
        let mut writer = ExternalWriter::create(path.clone(), 0).unwrap();
        for part in content.chunks(999) {
            writer.write(part).unwrap();
        }
        let external = writer.finish().unwrap();
        assert_eq!(external.length, 200_000);
        let location = named(external.id);
        for (offset, length) in [
            (0, 10),
            (65_530, 20),
            (0, 200_000),
            (199_990, 100),
            (131_072, 1),
        ] {
            let end = (offset + length).min(content.len());
            assert_eq!(
                read_external_file(&path, &location, offset as u64, length).unwrap(),
                content[offset..end]
            );
        }
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[70_000] ^= 4;
        std::fs::write(&path, bytes).unwrap();
        assert!(read_external_file(&path, &location, 70_000, 1).is_err());
        assert!(read_external_file(&path, &location, 0, 10).is_ok());
    }

    /// The location of 200,000 octets.
    fn named(external_id: u32) -> Location {
        Location {
            segment: 1,
            offset: 40,
            meta_length: 0,
            body_length: 0,
            external_length: 200_000,
            external_id,
        }
    }

    #[test]
    fn another_content_of_the_same_length_is_not_read_nor_are_chunks_in_each_others_place() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        let mut writer = ExternalWriter::create(path.clone(), 0).unwrap();
        writer.write(&[7; 200_000]).unwrap();
        let ours = named(writer.finish().unwrap().id);
        for chunk in 0..4 {
            let read = |location: Location| read_external_file(&path, &location, chunk << 16, 1);
            assert_eq!(read(ours).unwrap(), [7]);
            for other in [0, 1, ours.external_id ^ 1] {
                assert!(read(named(other)).is_err());
            }
        }
        let mut bytes = std::fs::read(&path).unwrap();
        let (first, second) = bytes.split_at_mut(CHUNK + 4);
        first.swap_with_slice(&mut second[..CHUNK + 4]);
        std::fs::write(&path, bytes).unwrap();
        for (offset, sound) in [(0, false), (1 << 16, false), (2 << 16, true)] {
            assert_eq!(read_external_file(&path, &ours, offset, 1).is_ok(), sound);
        }
    }

    #[test]
    fn a_file_of_a_version_that_gave_no_ids_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        let content = [7; 200_000];
        let chunks = content.chunks(CHUNK);
        let framed: Vec<u8> = chunks
            .flat_map(|c| [c, &crc32c::crc32c(c).to_le_bytes()].concat())
            .collect();
        std::fs::write(&path, framed).unwrap();
        let read = read_external_file(&path, &named(0), 0, 200_000);
        assert_eq!(read.unwrap(), content);
    }
}

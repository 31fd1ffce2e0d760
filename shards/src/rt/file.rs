//! Reading files without blocking the executor: from the page cache at once, from the disk by io_uring.

use std::fs;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::path::Path;

use rustix::io::ReadWriteFlags;

/// A file open for reading.
pub struct File(glommio::io::BufferedFile);

impl File {
    /// Opens by io_uring; no blocking call.
    pub async fn open(path: &Path) -> io::Result<File> {
        glommio::io::BufferedFile::open(path)
            .await
            .map(File)
            .map_err(io_error)
    }

    /// Reads exactly `length` bytes at `offset`; an earlier end of the file is an error.
    pub async fn read_exact_at(&self, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        let mut buffer = vec![0; length];
        let mut done = self.read_cached(offset, &mut buffer);
        while done < length {
            let part = self
                .0
                .read_at(offset + done as u64, length - done)
                .await
                .map_err(io_error)?;
            if part.is_empty() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            buffer[done..done + part.len()].copy_from_slice(&part);
            done += part.len();
        }
        Ok(buffer)
    }

    /// What the page cache holds of it, without waiting (RWF_NOWAIT): saves a trip through the ring for warm files.
    fn read_cached(&self, offset: u64, buffer: &mut [u8]) -> usize {
        // Safe because the descriptor lives as long as `self.0`.
        let fd = unsafe { BorrowedFd::borrow_raw(self.0.as_raw_fd()) };
        let mut done = 0;
        while done < buffer.len() {
            let mut parts = [io::IoSliceMut::new(&mut buffer[done..])];
            match rustix::io::preadv2(fd, &mut parts, offset + done as u64, ReadWriteFlags::NOWAIT)
            {
                Ok(0) | Err(_) => break,
                Ok(read) => done += read,
            }
        }
        done
    }

    /// Closes by io_uring. Dropping a file closes it too, by a blocking call that is short for files only read.
    pub async fn close(self) {
        let _ = self.0.close().await;
    }
}

fn io_error(error: glommio::GlommioError<()>) -> io::Error {
    error.into()
}

/// Syncs a directory, so that names made or removed in it survive power loss. Blocking: commit threads and commands only.
pub(crate) fn sync_directory(path: &Path) -> io::Result<()> {
    fs::File::open(path)?.sync_all()
}

//! The thread that writes lines to standard error.

use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

/// The way to the thread.
pub(super) struct Writer {
    lines: SyncSender<Work>,
    /// Atomic: written by every core that finds the channel full, which is rare, and read at scrapes.
    dropped: AtomicU64,
}

enum Work {
    Line(String),
    /// Everything sent before is written once this is answered.
    Flush(SyncSender<()>),
}

impl Writer {
    pub(super) fn start(out: impl Write + Send + 'static) -> io::Result<Writer> {
        let (lines, work) = sync_channel(LINES_MAX);
        thread::Builder::new()
            .name("log".into())
            .spawn(move || write_all(&work, out))?;
        Ok(Writer {
            lines,
            dropped: AtomicU64::new(0),
        })
    }

    /// Hands a line over, or drops and counts it. Never waits.
    pub(super) fn line(&self, line: String) {
        if self.lines.try_send(Work::Line(line)).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Waits until what was handed over is written, at most [`FLUSH_LIMIT`].
    pub(super) fn flush(&self) {
        let (done, written) = sync_channel(1);
        // Waits for room: only a thread that is about to end calls this.
        if self.lines.send(Work::Flush(done)).is_ok() {
            let _ = written.recv_timeout(FLUSH_LIMIT);
        }
    }
}

/// Takes what waits and writes it at once, so that a burst costs few calls. A log that can't be written stops nothing.
fn write_all(work: &Receiver<Work>, mut out: impl Write) {
    let mut buffer = Vec::with_capacity(BUFFER_USUAL);
    while let Ok(first) = work.recv() {
        if matches!(first, Work::Line(_)) {
            // While it sleeps nobody has to wake it: at 10,000 lines a second each wake-up would cost the core that logs more than the line.
            thread::sleep(LINGER);
        }
        let mut next = Some(first);
        while let Some(item) = next {
            match item {
                Work::Line(line) => buffer.extend_from_slice(line.as_bytes()),
                Work::Flush(done) => {
                    let _ = out.write_all(&buffer);
                    buffer.clear();
                    let _ = done.try_send(());
                }
            }
            next = if buffer.len() < BUFFER_USUAL {
                work.try_recv().ok()
            } else {
                None
            };
        }
        let _ = out.write_all(&buffer);
        buffer.clear();
    }
}

/// Lines that may wait: some 2 MiB of them.
const LINES_MAX: usize = 8192;
/// How long a line may wait for others.
const LINGER: Duration = Duration::from_millis(5);
const BUFFER_USUAL: usize = 64 << 10;
const FLUSH_LIMIT: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Out(Arc<Mutex<Vec<u8>>>);

    impl Write for Out {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_flush_comes_after_all_lines_before_it() {
        let out = Out::default();
        let writer = Writer::start(out.clone()).unwrap();
        for n in 0..100 {
            writer.line(format!("{n}\n"));
        }
        writer.flush();
        let text = String::from_utf8(out.0.lock().unwrap().clone()).unwrap();
        assert_eq!(text.lines().count(), 100);
        assert_eq!(writer.dropped(), 0);
    }

    #[test]
    fn a_stuck_reader_costs_lines_and_not_time() {
        let out = Out::default();
        let stuck = out.0.clone();
        let held = stuck.lock().unwrap();
        let writer = Writer::start(out).unwrap();
        // The thread holds at most what fits its buffer beside the channel.
        for _ in 0..LINES_MAX + BUFFER_USUAL + 10 {
            writer.line("x".into());
        }
        assert!(writer.dropped() > 0);
        drop(held);
    }
}

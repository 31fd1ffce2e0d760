//! Named points where tests make the process die or a call fail. Compiled to nothing in release builds.
//!
//! `RINGMAIL_FAULTS=body.synced=kill@3,rows.commit=fail` kills the process (SIGKILL, as power loss would leave the page cache)
//! the third time it passes `body.synced`, and makes every `rows.commit` fail with an I/O error (`panic` panics there,
//! `emlink` fails as a file does that has all the names it can have, `stall:FILE` waits there while the file exists, `fail:FILE` fails so
//! long). `shard-001/rows.commit` means that shard alone. docs/STORAGE.md lists the points of the storage; `smtp.message` is passed at the end of each message received,
//! `inbound.sign` before one is signed, `http.request` when the head of a request is there.

use std::io;

/// Passes a point: dies, fails or goes on.
#[cfg(not(debug_assertions))]
#[inline(always)]
pub fn point(_name: &'static str) -> io::Result<()> {
    Ok(())
}

/// Passes a point of one shard.
#[cfg(not(debug_assertions))]
#[inline(always)]
pub fn shard_point(_shard: crate::ShardId, _name: &'static str) -> io::Result<()> {
    Ok(())
}

#[cfg(debug_assertions)]
pub use armed::{point, shard_point};

#[cfg(debug_assertions)]
mod armed {
    use super::io;
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    enum Deed {
        Kill,
        Fail,
        Emlink,
        Panic,
        Stall(std::path::PathBuf),
        FailWhile(std::path::PathBuf),
    }

    struct Fault {
        name: String,
        deed: Deed,
        /// Acts from this passing on; a kill acts once anyway.
        at: u64,
        passed: AtomicU64,
    }

    static FAULTS: OnceLock<Vec<Fault>> = OnceLock::new();

    fn faults() -> &'static [Fault] {
        FAULTS.get_or_init(|| {
            let text = std::env::var("RINGMAIL_FAULTS").unwrap_or_default();
            text.split(',')
                .filter(|part| !part.is_empty())
                .map(parse)
                .collect()
        })
    }

    fn parse(text: &str) -> Fault {
        let (name, deed) = text.split_once('=').unwrap_or((text, "fail"));
        let (deed, at) = deed.split_once('@').unwrap_or((deed, "1"));
        Fault {
            name: name.to_string(),
            deed: match deed {
                "kill" => Deed::Kill,
                "panic" => Deed::Panic,
                "emlink" => Deed::Emlink,
                other => match other.split_once(':') {
                    Some(("stall", file)) => Deed::Stall(file.into()),
                    Some(("fail", file)) => Deed::FailWhile(file.into()),
                    _ => Deed::Fail,
                },
            },
            at: at.parse().unwrap_or(1),
            passed: AtomicU64::new(0),
        }
    }

    /// Passes a point: dies, fails or goes on.
    pub fn point(name: &'static str) -> io::Result<()> {
        pass(|fault| fault.name == name)
    }

    /// Passes a point of one shard: matches `name` and `shard-nnn/name`.
    pub fn shard_point(shard: crate::ShardId, name: &'static str) -> io::Result<()> {
        if faults().is_empty() {
            return Ok(());
        }
        let full = format!("{shard}/{name}");
        pass(|fault| fault.name == name || fault.name == full)
    }

    fn pass(matches: impl Fn(&Fault) -> bool) -> io::Result<()> {
        for fault in faults().iter().filter(|f| matches(f)) {
            if fault.passed.fetch_add(1, Ordering::Relaxed) + 1 >= fault.at {
                match &fault.deed {
                    Deed::Kill => {
                        let _ = rustix::process::kill_process(
                            rustix::process::getpid(),
                            rustix::process::Signal::KILL,
                        );
                        std::thread::sleep(std::time::Duration::from_secs(60));
                    }
                    Deed::Panic => panic!("fault injected at {}", fault.name),
                    Deed::Stall(file) => {
                        while file.exists() {
                            std::thread::sleep(std::time::Duration::from_millis(10));
                        }
                    }
                    Deed::Emlink => return Err(rustix::io::Errno::MLINK.into()),
                    Deed::FailWhile(file) if !file.exists() => (),
                    Deed::Fail | Deed::FailWhile(_) => {
                        return Err(io::Error::other(format!(
                            "fault injected at {}",
                            fault.name
                        )));
                    }
                }
            }
        }
        Ok(())
    }
}

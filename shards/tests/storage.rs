//! The store from outside: what is committed is read back, while it is compacted and after reopening too; what a full disk does.

mod support;

use std::cell::Cell;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use ringmail_shards::rt;
use ringmail_shards::segments::{BodyId, list_segments};
use ringmail_shards::storage::{Batch, ExternalWriter, NewBody, StorageError, StorageOptions};
use support::{Core0, Key, Store, fill, findings, key, options, read, remove, survey, walk, write};

#[test]
fn what_was_committed_is_there_after_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let open = || Store::open_with(dir.path(), &options(), 2).unwrap();
    // Each core has one of the two shards, and its bodies fill more than a segment.
    let store = open();
    for core in 0..2 {
        store.run_on(core, |core| async move {
            for n in 0..200 {
                write(&core, key(0, n)).await.unwrap();
            }
        });
    }
    store.close();
    let store = open();
    for core in 0..2 {
        store.run_on(core, |core| async move {
            for n in 0..200 {
                assert_eq!(read(&core, key(0, n)).await, Ok(true));
            }
        });
    }
    store.close();
}

/// Its commit thread looks each second.
async fn until_disk_low(core: &Core0, low: bool) {
    let is_so = async {
        while core.shards[0].status().disk_low != low {
            rt::sleep(Duration::from_millis(5)).await;
        }
    };
    let looked = rt::timeout(Duration::from_secs(60), is_so).await;
    looked.expect("it looks at the disk");
}

#[test]
fn below_the_reserve_bodies_are_refused_and_rows_are_not() {
    let dir = tempfile::tempdir().unwrap();
    fill(dir.path(), 3);
    let full = StorageOptions {
        disk_reserve_bytes: u64::MAX,
        ..options()
    };
    let store = Store::open_with(dir.path(), &full, 1).unwrap();
    store.run(|core| async move {
        // The first look at the disk is the commit thread's first act.
        until_disk_low(&core, true).await;
        let refused = write(&core, key(0, 50)).await.err().unwrap();
        assert!(matches!(refused, StorageError::DiskFull), "{refused}");
        let row = core.shards[0]
            .get(key(0, 1).row("a"))
            .await
            .unwrap()
            .unwrap();
        let body = BodyId(u64::from_le_bytes(row.try_into().unwrap()));
        remove(&core, key(0, 1), body).await.unwrap();
    });
    store.close();
    let store = Store::open(dir.path());
    assert_eq!(survey(&store, 0, 60), (vec![0, 2], vec![]));
    store.run(|core| async move { write(&core, key(0, 50)).await.unwrap() });
    store.close();
}

/// A small file system of its own, if this process may mount one.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount(size: &str) -> Option<SmallDisk> {
        let dir = tempfile::tempdir().unwrap();
        let done = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"])
            .arg(dir.path())
            .stderr(Stdio::null())
            .status();
        done.is_ok_and(|s| s.success()).then_some(SmallDisk(dir))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

#[test]
fn a_full_disk_freed_again_takes_mail_again() {
    let Some(disk) = SmallDisk::mount("48m") else {
        println!("skipped: mounting a tmpfs needs root");
        return;
    };
    let dir = disk.0.path().join("data");
    fill(&dir, 3);
    let options = StorageOptions {
        disk_reserve_bytes: 8 << 20,
        ..options()
    };
    let store = Store::open_with(&dir, &options, 1).unwrap();
    let ballast = disk.0.path().join("ballast");
    let bytes = rustix::fs::statvfs(disk.0.path())
        .map(|s| s.f_bavail * s.f_frsize)
        .unwrap();
    fs::write(&ballast, vec![1; (bytes - (4 << 20)) as usize]).unwrap();
    store.run(|core| async move {
        until_disk_low(&core, true).await;
        let refused = write(&core, key(0, 50)).await.err().unwrap();
        assert!(matches!(refused, StorageError::DiskFull), "{refused}");
    });
    fs::remove_file(&ballast).unwrap();
    store.run(|core| async move {
        until_disk_low(&core, false).await;
        write(&core, key(0, 50)).await.unwrap();
    });
    store.close();
    // Without a reserve the shard fails at the very end, and what it acknowledged is there when there is space again.
    let store = Store::open(&dir);
    let bytes = rustix::fs::statvfs(disk.0.path())
        .map(|s| s.f_bavail * s.f_frsize)
        .unwrap();
    fs::write(&ballast, vec![1; (bytes - (256 << 10)) as usize]).unwrap();
    let acknowledged = store.run(|core| async move {
        let mut acknowledged = Vec::new();
        for n in 100..400 {
            // 300 x 10 KiB do not fit; large content would fail in the spool already.
            if key(0, n).external() > 0 {
                continue;
            }
            match write(&core, key(0, n)).await {
                Ok(_) => acknowledged.push(n),
                Err(StorageError::Poisoned(..)) => {
                    // What comes later is not begun.
                    let later = write(&core, key(0, 401)).await.err().unwrap();
                    assert!(matches!(later, StorageError::OutOfService(..)), "{later}");
                    return acknowledged;
                }
                Err(other) => panic!("{other}"),
            }
        }
        panic!("the disk never filled")
    });
    store.close();
    fs::remove_file(&ballast).unwrap();
    let store = Store::open(&dir);
    let (sound, errors) = survey(&store, 0, 400);
    assert_eq!(errors, Vec::<String>::new());
    assert!(acknowledged.iter().all(|n| sound.contains(n)));
    store.run(|core| async move { write(&core, key(0, 500)).await.unwrap() });
    store.close();
    assert_eq!(findings(&dir), Vec::<String>::new());
}

#[test]
fn bodies_stay_readable_through_compaction_under_load() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path());
    let (moved, read_back) = store.run(|core| async move {
        let mut kept = Vec::new();
        let mut last = None;
        let shard = core.shards[0].clone();
        let mut read_back = 0;
        // At least 600; more on a machine that is done with them before compaction looks for the first time.
        for n in 0..20_000 {
            if n >= 600 && shard.status().compacted > 0 {
                break;
            }
            let key = Key {
                writer: 1,
                ..key(0, n)
            };
            let body = write(&core, key).await.unwrap();
            if n % 4 == 0 {
                let location = shard.read_body(body, None).await.unwrap().location();
                kept.push((key, body, location));
            } else if let Some((key, body)) = last.replace((key, body)) {
                remove(&core, key, body).await.unwrap();
            }
            // Readers that keep the place they saw first.
            let (key, body, location) = &kept[(n as usize * 7) % kept.len()];
            let found = shard.read_body(*body, Some(*location)).await.unwrap();
            assert_eq!(found.bytes(), key.body());
            read_back += 1;
        }
        for (key, body, location) in &kept {
            let found = shard.read_body(*body, Some(*location)).await.unwrap();
            assert_eq!(found.bytes(), key.body());
        }
        (shard.status().compacted, read_back)
    });
    println!("{moved} bodies moved under {read_back} reads");
    assert!(moved > 0, "load must not starve compaction");
    store.close();
    assert_eq!(findings(dir.path()), Vec::<String>::new());
}

#[test]
fn a_large_file_is_somebodys_until_its_batch_is_answered() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path());
    store.run(|core| async move {
        let path = core.spool.join("large");
        let write = move || {
            let mut writer = ExternalWriter::create(path, 0)?;
            writer.write(&[7; 100_000])?;
            writer.finish()
        };
        let external = core.pool.run(write).await.unwrap().unwrap();
        assert!(external.is_the_last());
        let shard = &core.shards[0];
        let permit = shard
            .permit(10, true, Duration::from_secs(20))
            .await
            .unwrap();
        let mut batch = Batch::default();
        batch.bodies.push(NewBody {
            id: shard.next_body(),
            kind: 1,
            meta: Vec::new(),
            parts: Vec::new(),
            external: Some(external.clone()),
        });
        let answered = Rc::new(Cell::new(false));
        let then = answered.clone();
        // Nobody waits for the answer, as after a call that timed out.
        shard.submit(permit, batch, move |result| then.set(result.is_ok()));
        assert!(!external.is_the_last());
        while !external.is_the_last() {
            rt::sleep(Duration::from_millis(1)).await;
        }
        fs::remove_file(&external.path).unwrap();
        while !answered.get() {
            rt::sleep(Duration::from_millis(1)).await;
        }
    });
    store.close();
}

#[test]
fn a_body_born_and_dead_in_one_batch_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path());
    store.run(|core| async move {
        let shard = &core.shards[0];
        let id = shard.next_body();
        let mut batch = Batch::default();
        batch.bodies.push(NewBody {
            id,
            kind: 1,
            meta: Vec::new(),
            parts: vec![Arc::new(vec![1; 1000])],
            external: None,
        });
        batch.dead = vec![id, id];
        let permit = shard
            .permit(1000, true, Duration::from_secs(9))
            .await
            .unwrap();
        shard.commit(permit, batch).await.unwrap();
        assert!(matches!(
            shard.read_body(id, None).await,
            Err(StorageError::Gone(..))
        ));
    });
    store.close();
    assert_eq!(findings(dir.path()), Vec::<String>::new());
}

#[test]
fn storage_reads_no_wall_clock() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = walk(&source.join("storage"));
    files.extend(["segments.rs", "index.rs", "faults.rs"].map(|n| source.join(n)));
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        for word in [
            "SystemTime",
            "UNIX_EPOCH",
            "chrono",
            "modified()",
            "clock_gettime",
        ] {
            assert!(!text.contains(word), "{}: {word}", file.display());
        }
    }
    assert!(list_segments(&source).unwrap().is_empty());
}

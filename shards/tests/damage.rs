//! Damage, shortage and misuse: what is detected, how it is named, what else goes on living, and how an index is built again.

mod support;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use ringmail_shards::index::RowChange;
use ringmail_shards::segments::{BodyId, Location, list_segments, segment_name};
use ringmail_shards::storage::{
    Batch, DirectoryError, ExternalWriter, IndexBuilder, Lock, NewBody, StorageError,
    StorageOptions, check_stopped, open, read_format, restore_format, scan_places, shard_path,
};
use ringmail_shards::{ShardId, rt};
use support::{Key, SEED, SHARDS, Store, keys, options, read, remove, write};

fn key(shard: u16, n: u32) -> Key {
    Key {
        shard,
        run: 0,
        writer: 0,
        n,
    }
}

/// Writes `count` keys to each shard, one group each.
fn fill(directory: &Path, count: u32) {
    let store = Store::open(directory);
    store.run(move |core| async move {
        for n in 0..count {
            for shard in 0..SHARDS {
                write(&core, key(shard, n)).await.unwrap();
            }
        }
    });
    store.close();
}

/// Which of the keys of a shard are there, and what was said of the others.
fn survey(store: &Store, shard: u16, count: u32) -> (Vec<u32>, Vec<String>) {
    store.run(move |core| async move {
        let (mut sound, mut errors) = (Vec::new(), Vec::new());
        for n in 0..count {
            match read(&core, key(shard, n)).await {
                Ok(true) => sound.push(n),
                Ok(false) => (),
                Err(e) => errors.push(e),
            }
        }
        (sound, errors)
    })
}

fn location(directory: &Path, n: u32) -> Location {
    let mut found = None;
    let each = |location, header: ringmail_shards::segments::RecordHeader, meta: Vec<u8>, _| {
        if meta == key(0, n).row("a") {
            found = Some((header, location));
        }
    };
    scan_places(directory, ShardId(0), SEED, each, |_, _, _| ()).unwrap();
    found.unwrap().1
}

fn flip(path: &Path, at: u64) {
    let file = fs::File::options()
        .read(true)
        .write(true)
        .open(path)
        .unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 0x20], at).unwrap();
}

fn segment_path(directory: &Path, number: u32) -> PathBuf {
    shard_path(directory, ShardId(0))
        .join("segments")
        .join(segment_name(number))
}

fn findings(directory: &Path) -> Vec<String> {
    let mut all = Vec::new();
    for (shard, findings) in check_stopped(directory, &mut |_, _| ()).unwrap() {
        assert!(shard == ShardId(0) || findings.total == 0, "{findings:?}");
        assert_eq!(findings.total as usize, findings.list.len());
        all.extend(findings.list.into_iter().map(|f| f.what));
    }
    all
}

/// What salvage does, in small: rows from the records' self-descriptions.
fn rebuild(directory: &Path) -> u64 {
    let _lock = Lock::take(directory).unwrap();
    let mut builder = IndexBuilder::start(directory, (ShardId(0), SEED)).unwrap();
    let mut places = BTreeMap::new();
    let each = |location, header, meta, _| {
        builder.saw(&header);
        places.insert(header.body, (location, meta));
    };
    scan_places(directory, ShardId(0), SEED, each, |_, _, _| ()).unwrap();
    for (body, (location, meta)) in places {
        builder.put_body(body, location).unwrap();
        let other = [b"b", &meta[1..]].concat();
        for row in [meta, other] {
            let change = RowChange::Put(row, body.0.to_le_bytes().to_vec());
            builder.row(change).unwrap();
        }
    }
    builder.finish().unwrap().bodies
}

fn assert_whole(directory: &Path, count: u32) {
    let store = Store::open(directory);
    for shard in 0..SHARDS {
        let all: Vec<u32> = (0..count).collect();
        assert_eq!(survey(&store, shard, count), (all, vec![]));
    }
    store.run(move |core| async move { write(&core, key(0, 900)).await.unwrap() });
    store.close();
    assert_eq!(findings(directory), Vec::<String>::new());
}

#[test]
fn a_bit_flipped_in_a_body_costs_that_body_alone() {
    let dir = tempfile::tempdir().unwrap();
    fill(dir.path(), 20);
    assert_eq!(findings(dir.path()), Vec::<String>::new());
    let victim = (0..20).find(|n| key(0, *n).body().len() > 100).unwrap();
    let place = location(dir.path(), victim);
    let path = segment_path(dir.path(), place.segment);
    flip(&path, u64::from(place.offset) + 48 + 60);
    let found = findings(dir.path());
    assert_eq!(found.len(), 1);
    assert!(found[0].contains("checksum does not match"), "{found:?}");
    let store = Store::open(dir.path());
    let (sound, errors) = survey(&store, 0, 20);
    assert_eq!(sound.len(), 19);
    assert_eq!(errors.len(), 1);
    assert!(errors[0].starts_with("shard-000: body "), "{errors:?}");
    assert!(errors[0].contains("is damaged (checksum does not match)"));
    assert_eq!(survey(&store, 1, 20).0.len(), 20);
    // Compaction of that segment must not throw the damaged body away while a row names it.
    store.run(move |core| async move {
        for n in (0..20).filter(|n| *n != victim) {
            let shard = &core.shards[0];
            let row = shard.get(key(0, n).row("a")).await.unwrap().unwrap();
            let body = BodyId(u64::from_le_bytes(row.try_into().unwrap()));
            remove(&core, key(0, n), body).await.unwrap();
        }
        rt::sleep(Duration::from_millis(1500)).await;
    });
    store.close();
    assert!(path.exists(), "the segment is kept for salvage");
    flip(&path, u64::from(place.offset) + 48 + 60);
    let store = Store::open(dir.path());
    assert_eq!(survey(&store, 0, 20), (vec![victim], vec![]));
    store.close();
}

#[test]
fn a_bit_flipped_in_a_segment_header_is_named_and_harms_no_body() {
    let dir = tempfile::tempdir().unwrap();
    fill(dir.path(), 20);
    flip(&segment_path(dir.path(), 1), 13);
    let mut named = Vec::new();
    scan_places(
        dir.path(),
        ShardId(0),
        SEED,
        |_, _, _, _| (),
        |segment, offset, what| named.push(format!("{segment} {offset} {what}")),
    )
    .unwrap();
    assert_eq!(named, ["1 0 segment header: checksum does not match"]);
    assert_whole(dir.path(), 20);
}

/// fjall's active journal of shard 0 and where its data ends.
fn journal(directory: &Path) -> (PathBuf, u64) {
    let rows = shard_path(directory, ShardId(0)).join("rows");
    let path = fs::read_dir(rows)
        .unwrap()
        .map(|e| e.unwrap().path())
        .find(|p| p.extension().is_some_and(|e| e == "jnl"))
        .unwrap();
    let bytes = fs::read(&path).unwrap();
    let end = bytes.iter().rposition(|b| *b != 0).unwrap() as u64;
    (path, end)
}

#[test]
fn a_bit_flipped_in_the_journal_is_noticed_and_the_index_is_rebuilt() {
    for part in [3, 5, 7] {
        let dir = tempfile::tempdir().unwrap();
        fill(dir.path(), 40);
        let (path, end) = journal(dir.path());
        flip(&path, end * part / 10);
        // A flipped sequence number hides what was written after it, the progress row too; the check then finds more than one thing.
        let found = findings(dir.path());
        assert!(
            found.iter().any(|f| f.contains("ringmail salvage")),
            "{found:?}"
        );
        // fjall says so itself, or drops the rest in silence and the mark tells: then it is a loss.
        let error = match open(dir.path(), &options(), SEED) {
            Err(error) => error,
            Ok(_) => panic!("opened"),
        };
        assert!(
            matches!(&error, DirectoryError::Lost { shard, .. } | DirectoryError::Index { shard, .. } if *shard == ShardId(0)),
            "{error}"
        );
        assert!(error.to_string().contains("ringmail salvage"), "{error}");
        // It stays so, however often one tries.
        assert!(open(dir.path(), &options(), SEED).is_err());
        assert_eq!(rebuild(dir.path()), 40);
        assert_whole(dir.path(), 40);
    }
}

#[test]
fn a_journal_cut_short_is_noticed_without_the_mark_too() {
    let dir = tempfile::tempdir().unwrap();
    fill(dir.path(), 40);
    let (path, end) = journal(dir.path());
    fs::File::options()
        .write(true)
        .open(&path)
        .unwrap()
        .set_len(end / 2)
        .unwrap();
    fs::remove_file(shard_path(dir.path(), ShardId(0)).join("mark")).unwrap();
    let error = open(dir.path(), &options(), SEED).err().unwrap();
    assert!(matches!(error, DirectoryError::Lost { .. }), "{error}");
    assert!(error.to_string().contains("bodies of group"), "{error}");
    assert_eq!(rebuild(dir.path()), 40);
    assert_whole(dir.path(), 40);
}

/// As after a crash in the middle of the last group's journal write: that group was never acknowledged.
#[test]
fn a_torn_end_of_the_journal_is_cut_and_written_over() {
    for tear in 0..3u64 {
        let dir = tempfile::tempdir().unwrap();
        fill(dir.path(), 12);
        fs::remove_file(shard_path(dir.path(), ShardId(0)).join("mark")).unwrap();
        let (path, end) = journal(dir.path());
        let file = fs::File::options().write(true).open(&path).unwrap();
        match tear {
            0 => file.set_len(end - 40).unwrap(),
            1 => file.write_all_at(&[0; 60], end - 60).unwrap(),
            _ => file.write_all_at(&[0xee; 4], end - 3).unwrap(),
        }
        for round in 0..3 {
            let store = Store::open(dir.path());
            let (sound, errors) = survey(&store, 0, 12);
            assert_eq!((sound.len(), errors.len()), (11, 0), "tear {tear}");
            store.run(move |core| async move {
                for earlier in 0..round {
                    assert_eq!(read(&core, key(0, 100 + earlier)).await, Ok(true));
                }
                write(&core, key(0, 100 + round)).await.unwrap();
            });
            store.close();
        }
        assert_eq!(findings(dir.path()), Vec::<String>::new());
    }
}

#[test]
fn a_bit_flipped_in_a_table_is_noticed_and_the_index_is_rebuilt() {
    let dir = tempfile::tempdir().unwrap();
    fill(dir.path(), 20);
    // Row-only batches until a memtable was flushed to a table.
    let store = Store::open(dir.path());
    store.run(|core| async move {
        let shard = &core.shards[0];
        for n in 0..40u32 {
            let permit = shard
                .permit(0, false, Duration::from_secs(20))
                .await
                .unwrap();
            let mut batch = ringmail_shards::storage::Batch::default();
            let mut random = support::Random(u64::from(n));
            let value = (0..64 << 10).flat_map(|_| random.next().to_le_bytes());
            batch.put(format!("filler/{n}").into_bytes(), value.collect());
            shard.commit(permit, batch).await.unwrap();
        }
        rt::sleep(Duration::from_millis(600)).await;
    });
    store.close();
    let tables: Vec<PathBuf> = walk(&shard_path(dir.path(), ShardId(0)).join("rows"))
        .into_iter()
        .filter(|p| {
            p.to_string_lossy().contains("tables") && fs::metadata(p).unwrap().len() > 1 << 20
        })
        .collect();
    assert!(!tables.is_empty(), "a memtable was flushed");
    for table in &tables {
        // The first block holds the first keys, which are ours: "a/..." and "b/...".
        flip(table, 300);
    }
    let found = findings(dir.path());
    let noticed = match Store::open_with(dir.path(), &options(), 1) {
        Err(error) => vec![error.to_string()],
        Ok(store) => {
            let (_, errors) = survey(&store, 0, 20);
            store.close();
            errors
        }
    };
    assert!(
        !noticed.is_empty(),
        "the damage is noticed; check said {found:?}"
    );
    assert!(noticed[0].contains("shard-000"), "{noticed:?}");
    assert_eq!(rebuild(dir.path()), 20);
    assert_whole(dir.path(), 20);
}

fn walk(path: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(path).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(walk(&path));
        } else {
            found.push(path);
        }
    }
    found
}

#[test]
fn an_index_set_aside_is_not_replaced_by_an_empty_one() {
    let dir = tempfile::tempdir().unwrap();
    fill(dir.path(), 20);
    let path = shard_path(dir.path(), ShardId(0));
    fs::rename(path.join("rows"), path.join("rows.damaged.77")).unwrap();
    let error = open(dir.path(), &options(), SEED).err().unwrap();
    assert!(
        error.to_string().contains("the index is missing"),
        "{error}"
    );
    assert_eq!(rebuild(dir.path()), 20);
    assert_whole(dir.path(), 20);
}

#[test]
fn a_rebuild_gives_no_number_twice_and_puts_unnamed_content_aside() {
    let dir = tempfile::tempdir().unwrap();
    fill(dir.path(), 20);
    let large = shard_path(dir.path(), ShardId(0)).join("large");
    fs::write(large.join("00000000000fffff.large"), b"left over").unwrap();
    rebuild(dir.path());
    assert!(!large.join("00000000000fffff.large").exists());
    let aside = shard_path(dir.path(), ShardId(0)).join("large.unnamed");
    assert!(aside.join("00000000000fffff.large").exists());
    let store = Store::open(dir.path());
    let next = store.run(|core| async move { core.shards[0].next_body() });
    assert_eq!(next, BodyId(20));
    store.close();
}

#[test]
fn large_content_without_a_name_is_swept_and_a_flipped_bit_in_it_is_found() {
    let dir = tempfile::tempdir().unwrap();
    fill(dir.path(), 22);
    let large = shard_path(dir.path(), ShardId(0)).join("large");
    let files = || fs::read_dir(&large).unwrap().count();
    assert_eq!(files(), 2);
    let stray = large.join("00000000000fffff.large");
    fs::write(&stray, b"left by a crash").unwrap();
    fs::write(dir.path().join("spool").join("half"), b"half").unwrap();
    let store = Store::open(dir.path());
    assert!(!stray.exists());
    assert!(!dir.path().join("spool").join("half").exists());
    // Death takes the file along.
    store.run(|core| async move {
        let row = core.shards[0]
            .get(key(0, 5).row("a"))
            .await
            .unwrap()
            .unwrap();
        let body = BodyId(u64::from_le_bytes(row.try_into().unwrap()));
        remove(&core, key(0, 5), body).await.unwrap();
    });
    store.close();
    assert_eq!(files(), 1);
    let left = fs::read_dir(&large)
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    flip(&left, 70_000);
    let found = findings(dir.path());
    assert_eq!(found.len(), 1);
    assert!(found[0].starts_with("large/"), "{found:?}");
    let store = Store::open(dir.path());
    let (sound, errors) = survey(&store, 0, 22);
    assert_eq!((sound.len(), errors.len()), (20, 1), "{errors:?}");
    store.close();
}

#[test]
fn a_missing_segment_is_named_body_by_body() {
    let dir = tempfile::tempdir().unwrap();
    fill(dir.path(), 20);
    let number = location(dir.path(), 0).segment;
    fs::remove_file(segment_path(dir.path(), number)).unwrap();
    let found = findings(dir.path());
    assert!(
        found.len() > 20 && found.iter().any(|f| f.contains("seg: missing, with")),
        "{found:?}"
    );
    let store = Store::open(dir.path());
    assert_eq!(survey(&store, 0, 20).1.len(), 20);
    assert_eq!(survey(&store, 1, 20).0.len(), 20);
    store.close();
}

#[test]
fn a_second_process_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path());
    // flock holds between open files, so that one process can play both.
    let error = open(dir.path(), &options(), SEED).err().unwrap();
    assert!(matches!(error, DirectoryError::Locked(_)));
    assert!(check_stopped(dir.path(), &mut |_, _| ()).is_err());
    store.close();
    Store::open(dir.path()).close();
}

#[test]
fn the_format_file_is_believed_only_when_whole() {
    let dir = tempfile::tempdir().unwrap();
    fill(dir.path(), 3);
    let path = dir.path().join("format");
    let text = fs::read_to_string(&path).unwrap();
    let refused = |text: &str, with: &str| {
        fs::write(&path, text).unwrap();
        let error = open(dir.path(), &options(), SEED)
            .err()
            .unwrap()
            .to_string();
        assert!(error.contains(with), "{error}");
    };
    refused(
        &text.replace("version = 1", "version = 2"),
        "format version 2, this program knows 1",
    );
    refused(&text.replace("shards = 2", "shards = 3"), "checksum");
    refused(&text.replace("shards = 2", "shards = x"), "not a number");
    refused(&text.replace("seed = 7\n", ""), "checksum");
    refused("", "version is missing; run `ringmail salvage");
    fs::remove_file(&path).unwrap();
    let error = open(dir.path(), &options(), SEED)
        .err()
        .unwrap()
        .to_string();
    assert!(error.contains("missing, though there is mail"), "{error}");
    fs::write(&path, &text).unwrap();
    let shard = shard_path(dir.path(), ShardId(1));
    fs::rename(&shard, dir.path().join("away")).unwrap();
    let error = open(dir.path(), &options(), SEED)
        .err()
        .unwrap()
        .to_string();
    assert!(error.contains("shard-001: missing, though"), "{error}");
    fs::rename(dir.path().join("away"), &shard).unwrap();
    assert_whole(dir.path(), 3);
}

#[test]
fn a_lost_or_damaged_format_file_is_made_anew_from_the_copies() {
    let dir = tempfile::tempdir().unwrap();
    for _ in 0..3 {
        Store::open(dir.path()).close();
    }
    fill(dir.path(), 3);
    let before = read_format(dir.path()).unwrap().unwrap();
    let path = dir.path().join("format");
    let copy = |shard: u16| shard_path(dir.path(), ShardId(shard)).join("format");
    let spoils: [&dyn Fn(); 4] = [
        &|| fs::remove_file(&path).unwrap(),
        &|| fs::write(&path, [0xff; 80]).unwrap(),
        &|| {
            fs::write(&path, "").unwrap();
            fs::remove_file(copy(0)).unwrap();
        },
        &|| {
            flip(&path, 70);
            fs::write(copy(1), "version = 1\n").unwrap();
        },
    ];
    let mut epoch = before.epoch;
    for spoil in spoils {
        spoil();
        let refused = open(dir.path(), &options(), SEED)
            .err()
            .unwrap()
            .to_string();
        assert!(refused.contains("run `ringmail salvage"), "{refused}");
        let checked = check_stopped(dir.path(), &mut |_, _| ())
            .unwrap_err()
            .to_string();
        assert!(checked.contains("run `ringmail salvage"), "{checked}");
        let lock = Lock::take(dir.path()).unwrap();
        let (format, anew) = restore_format(dir.path(), &lock).unwrap();
        assert!(anew && format.epoch > epoch, "{format:?}");
        assert_eq!((format.shards, format.seed), (before.shards, before.seed));
        assert_eq!(restore_format(dir.path(), &lock).unwrap(), (format, false));
        drop(lock);
        let store = Store::open(dir.path());
        epoch = store.epoch;
        assert_eq!(epoch, format.epoch + 1);
        store.close();
        assert_whole(dir.path(), 3);
        epoch = read_format(dir.path()).unwrap().unwrap().epoch;
    }
    fs::remove_file(&path).unwrap();
    fs::remove_file(copy(0)).unwrap();
    fs::remove_file(copy(1)).unwrap();
    let lock = Lock::take(dir.path()).unwrap();
    let none = restore_format(dir.path(), &lock).unwrap_err().to_string();
    assert!(none.contains("from a backup"), "{none}");
    assert!(!path.exists());
}

#[test]
fn a_shard_that_is_not_mounted_or_of_another_directory_is_refused_and_found() {
    let dir = tempfile::tempdir().unwrap();
    fill(dir.path(), 3);
    let (shard, away) = (shard_path(dir.path(), ShardId(1)), dir.path().join("away"));
    fs::rename(&shard, &away).unwrap();
    for mounted in [false, true] {
        if mounted {
            fs::create_dir(&shard).unwrap();
        }
        let error = open(dir.path(), &options(), SEED)
            .err()
            .unwrap()
            .to_string();
        assert!(error.contains("shard-001: missing, though"), "{error}");
        let found = check_stopped(dir.path(), &mut |_, _| ()).unwrap();
        assert_eq!(found[1].1.total, 1);
        assert!(found[1].1.list[0].what.starts_with("missing, though"));
    }
    fs::remove_dir(&shard).unwrap();
    fs::rename(&away, &shard).unwrap();
    assert_whole(dir.path(), 3);
    let other = tempfile::tempdir().unwrap();
    open(other.path(), &options(), SEED + 1).unwrap().close();
    let copy = fs::read(shard_path(other.path(), ShardId(1)).join("format")).unwrap();
    let kept = fs::read(shard.join("format")).unwrap();
    fs::write(shard.join("format"), copy).unwrap();
    let error = open(dir.path(), &options(), SEED)
        .err()
        .unwrap()
        .to_string();
    assert!(error.contains("of another directory"), "{error}");
    let found = check_stopped(dir.path(), &mut |_, _| ()).unwrap();
    assert!(
        found[1].1.list[0]
            .what
            .starts_with("copy of the format file: this shard is of another")
    );
    fs::write(shard.join("format"), kept).unwrap();
    assert_whole(dir.path(), 3);
}

#[test]
fn epochs_grow_and_the_number_of_cores_may_change() {
    let dir = tempfile::tempdir().unwrap();
    for (epoch, cores) in [(1, 1), (2, 2), (3, 3), (4, 1)] {
        let options = StorageOptions {
            shards: if epoch == 1 { 2 } else { 5 },
            ..options()
        };
        let store = Store::open_with(dir.path(), &options, cores).unwrap();
        assert_eq!(store.epoch, epoch);
        for shard in 0..SHARDS {
            let core = shard % cores as u16;
            store.run_on(core, move |core| async move {
                let at = core
                    .shards
                    .iter()
                    .position(|s| s.id() == ShardId(shard))
                    .unwrap();
                let mine = Key {
                    shard: at as u16,
                    ..key(0, 0)
                };
                let before = keys(&core, at as u16).await.unwrap();
                assert_eq!(before.len(), epoch as usize - 1);
                write(
                    &core,
                    Key {
                        run: epoch as u32,
                        ..mine
                    },
                )
                .await
                .unwrap();
            });
        }
        store.close();
    }
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
        rt::sleep(Duration::from_millis(100)).await;
        assert!(core.shards[0].status().disk_low);
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
        let done = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"])
            .arg(dir.path())
            .stderr(std::process::Stdio::null())
            .status();
        done.is_ok_and(|s| s.success()).then_some(SmallDisk(dir))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount")
            .arg("-l")
            .arg(self.0.path())
            .status();
    }
}

#[test]
fn shards_in_each_others_place_are_refused_and_changed_by_nobody() {
    let dir = tempfile::tempdir().unwrap();
    fill(dir.path(), 3);
    let exchange = || {
        let [a, b] = [0, 1].map(|n| shard_path(dir.path(), ShardId(n)));
        let aside = dir.path().join("aside");
        fs::rename(&a, &aside).unwrap();
        fs::rename(&b, &a).unwrap();
        fs::rename(&aside, &b).unwrap();
    };
    exchange();
    let error = open(dir.path(), &options(), SEED).err().unwrap();
    let error = error.to_string();
    assert!(
        error.contains("this is the directory of shard-001"),
        "{error}"
    );
    let found = check_stopped(dir.path(), &mut |_, _| ()).unwrap();
    for (shard, findings) in &found {
        let other = ShardId(1 - shard.0);
        let what = format!("this is the directory of {other}");
        assert!(findings.list.iter().any(|f| f.what.starts_with(&what)));
    }
    exchange();
    assert_whole(dir.path(), 3);
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
        rt::sleep(Duration::from_millis(1200)).await;
        let refused = write(&core, key(0, 50)).await.err().unwrap();
        assert!(matches!(refused, StorageError::DiskFull), "{refused}");
    });
    fs::remove_file(&ballast).unwrap();
    store.run(|core| async move {
        rt::sleep(Duration::from_millis(1200)).await;
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
                Err(StorageError::Poisoned(..)) => return acknowledged,
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
        std::fs::remove_file(&external.path).unwrap();
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
        let mut batch = ringmail_shards::storage::Batch::default();
        batch.bodies.push(ringmail_shards::storage::NewBody {
            id,
            kind: 1,
            meta: Vec::new(),
            parts: vec![std::sync::Arc::new(vec![1; 1000])],
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

//! Whose a directory is and what belongs to it: the lock, the format file and its copies, shards that are missing or another's.

mod support;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use ringmail_shards::ShardId;
use ringmail_shards::segments::BodyId;
use ringmail_shards::storage::{
    DirectoryError, Lock, StorageOptions, check_stopped, open, read_format, restore_format,
    shard_path,
};
use support::{
    Key, SEED, SHARDS, Store, assert_whole, fill, flip, key, keys, options, remove, walk, write,
};

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

/// Exchanges the indexes of the first two shards.
fn exchange_indexes(directory: &Path) {
    let [a, b] = [0, 1].map(|n| shard_path(directory, ShardId(n)).join("rows"));
    let aside = directory.join("aside");
    fs::rename(&a, &aside).unwrap();
    fs::rename(&b, &a).unwrap();
    fs::rename(&aside, &b).unwrap();
}

/// As in a directory of a version that wrote no identities.
fn forget_identities(directory: &Path) {
    for shard in 0..SHARDS {
        let path = shard_path(directory, ShardId(shard)).join("rows");
        let index = fjall::Database::builder(path).open().unwrap();
        let row = index.keyspace("shard", Default::default).unwrap();
        row.remove("identity").unwrap();
        index.persist(fjall::PersistMode::SyncAll).unwrap();
    }
}

fn large_files(directory: &Path) -> usize {
    let large = |n| shard_path(directory, ShardId(n)).join("large");
    (0..SHARDS).map(|n| walk(&large(n)).len()).sum()
}

#[test]
fn indexes_in_each_others_place_are_refused_before_anything_is_removed() {
    let dir = tempfile::tempdir().unwrap();
    fill(dir.path(), 22);
    // So that an index that is further on lies where one is expected that is not, and names none of the large files there.
    let store = Store::open(dir.path());
    store.run(|core| async move {
        for n in [5, 21] {
            let row = core.shards[1].get(key(1, n).row("a")).await.unwrap();
            let body = BodyId(u64::from_le_bytes(row.unwrap().try_into().unwrap()));
            remove(&core, key(1, n), body).await.unwrap();
            write(&core, key(1, n)).await.unwrap();
        }
    });
    store.close();
    assert_eq!(large_files(dir.path()), 4);
    for known in [true, false] {
        if !known {
            forget_identities(dir.path());
        }
        exchange_indexes(dir.path());
        let error = open(dir.path(), &options(), SEED).err().unwrap();
        assert!(matches!(error, DirectoryError::Foreign { .. }), "{error}");
        let error = error.to_string();
        let whose = match known {
            true => "this is the index of shard-001 of the directory with seed 7, not of shard-000",
            false => {
                "this is the index of another shard (most of the first bodies it names are not here)"
            }
        };
        for part in [whose, "Put each in its place", "ringmail salvage", "rows: "] {
            assert!(error.contains(part), "{error}");
        }
        for (shard, found) in check_stopped(dir.path(), &mut |_, _| ()).unwrap() {
            assert_eq!(found.list.len(), 1, "{found:?}");
            let what = &found.list[0].what;
            assert!(what.starts_with("this is the index of "), "{what}");
            assert!(what.contains(&format!("not of {shard}")), "{what}");
            assert!(what.contains("ringmail salvage"), "{what}");
        }
        assert_eq!(large_files(dir.path()), 4);
        exchange_indexes(dir.path());
    }
    assert_whole(dir.path(), 22);
}

#[test]
fn an_index_without_an_identity_gets_one_and_nothing_is_swept_before() {
    let dir = tempfile::tempdir().unwrap();
    fill(dir.path(), 6);
    forget_identities(dir.path());
    let stray = shard_path(dir.path(), ShardId(0)).join("large/00000000000fffff.large");
    fs::write(&stray, b"left by a crash").unwrap();
    Store::open(dir.path()).close();
    assert!(stray.exists());
    Store::open(dir.path()).close();
    assert!(!stray.exists());
    exchange_indexes(dir.path());
    let error = open(dir.path(), &options(), SEED).err().unwrap();
    assert!(matches!(error, DirectoryError::Foreign { .. }), "{error}");
    exchange_indexes(dir.path());
    assert_whole(dir.path(), 6);
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

/// A child that another thread starts holds copies of all descriptors until its exec; a lock that was just let go must not seem taken.
#[test]
fn a_lock_just_let_go_is_free_while_children_start() {
    let directory = tempfile::tempdir().unwrap();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    assert!(Command::new("true").status().unwrap().success());
                }
            });
        }
        for n in 0..2000 {
            let taken = Lock::take(directory.path());
            if taken.is_err() {
                stop.store(true, Ordering::Relaxed);
            }
            assert!(taken.is_ok(), "at {n}");
        }
        stop.store(true, Ordering::Relaxed);
    });
}

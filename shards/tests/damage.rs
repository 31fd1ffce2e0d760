//! Damage: what is detected, how it is named, what else goes on living, and how an index is built again.

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ringmail_shards::index::RowChange;
use ringmail_shards::segments::{BodyId, Location, external_name, segment_name};
use ringmail_shards::storage::{DirectoryError, IndexBuilder, Lock, open, scan_places, shard_path};
use ringmail_shards::{ShardId, rt};
use support::{
    SEED, Store, assert_whole, fill, findings, flip, key, options, read, remove, survey, walk,
    write,
};

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

fn segment_path(directory: &Path, number: u32) -> PathBuf {
    shard_path(directory, ShardId(0))
        .join("segments")
        .join(segment_name(number))
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
    let path = shard_path(dir.path(), ShardId(0)).join("rows");
    let tables = move || -> Vec<PathBuf> {
        let is_large = |p: &PathBuf| fs::metadata(p).is_ok_and(|m| m.len() > 1 << 20);
        let is_table = |p: &PathBuf| p.to_string_lossy().contains("tables") && is_large(p);
        walk(&path).into_iter().filter(is_table).collect()
    };
    let flushed = tables.clone();
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
        // A memtable is flushed beside them.
        let is_flushed = async {
            while flushed().is_empty() {
                rt::sleep(Duration::from_millis(20)).await;
            }
        };
        let limit = Duration::from_secs(60);
        assert_eq!(rt::timeout(limit, is_flushed).await, Ok(()));
        rt::sleep(Duration::from_millis(600)).await;
    });
    store.close();
    let tables = tables();
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
fn an_index_of_another_shard_is_replaced_by_a_rebuild_and_the_new_one_says_whose_it_is() {
    let dir = tempfile::tempdir().unwrap();
    fill(dir.path(), 6);
    let [rows, other] = [0, 1].map(|n| shard_path(dir.path(), ShardId(n)).join("rows"));
    let away = dir.path().join("away");
    let exchange = || {
        fs::rename(&rows, &away).unwrap();
        fs::rename(&other, &rows).unwrap();
        fs::rename(&away, &other).unwrap();
    };
    exchange();
    assert_eq!(rebuild(dir.path()), 6);
    fs::remove_dir_all(&other).unwrap();
    fs::rename(rows.with_file_name("rows.damaged.1"), &other).unwrap();
    assert_whole(dir.path(), 6);
    exchange();
    let error = open(dir.path(), &options(), SEED).err().unwrap();
    assert!(matches!(error, DirectoryError::Foreign { .. }), "{error}");
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
    assert_eq!(next, BodyId(21));
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
fn large_files_in_each_others_place_are_found_and_not_read() {
    let dir = tempfile::tempdir().unwrap();
    fill(dir.path(), 40);
    let large = shard_path(dir.path(), ShardId(0)).join("large");
    // 6, 22 and 38, of the same length: the last two exchanged.
    let files: Vec<PathBuf> = [22, 38]
        .map(|body| large.join(external_name(BodyId(body))))
        .into();
    let away = dir.path().join("away");
    fs::rename(&files[0], &away).unwrap();
    fs::rename(&files[1], &files[0]).unwrap();
    fs::rename(&away, &files[1]).unwrap();
    let found = findings(dir.path());
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found.iter().all(|f| f.contains("another body's")));
    let store = Store::open(dir.path());
    let (sound, errors) = survey(&store, 0, 40);
    assert_eq!((sound.len(), errors.len()), (38, 2), "{errors:?}");
    assert!(errors.iter().all(|e| e.contains("is damaged")));
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

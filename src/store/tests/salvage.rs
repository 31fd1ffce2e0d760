//! An index that is gone, damaged or sound is built anew from the stored bodies.

use std::fs;

use shards::index::Row;
use shards::segments::BodyId;
use shards::storage::{Batch, NewBody};

use super::super::rows;
use super::whole::settle;
use super::*;

fn secrets(name: &str) -> crate::login::Secrets {
    crate::login::Secrets {
        password: Some(crate::login::Password {
            argon2id: name.into(),
            ..Default::default()
        }),
        ..Default::default()
    }
}

async fn fill(context: &Context, name: &str) {
    let account = context.account(name).await;
    let scheme = || {
        let few = std::num::NonZeroU32::MIN;
        let iterations = crate::login::Iterations {
            sha256: few,
            sha1: few,
        };
        crate::login::Scheme::new(&crate::settings::AuthLimits::default(), iterations)
    };
    let set = account.change_secrets(None, &secrets(name), scheme).await;
    assert!(set.unwrap());
    for n in 0..4 {
        add(&account, "INBOX", &format!("{name} {n}")).await;
    }
    account.create("a/b", SpecialUse::default()).await.unwrap();
    let mut new = message("flagged");
    new.flags = system::FLAGGED | system::SEEN;
    new.keywords = vec!["Blue".into()];
    account.add("a/b", vec![new], None).await.unwrap();
    account.create("Old", SpecialUse::default()).await.unwrap();
    add(&account, "Old", "in an old mailbox").await;
    account.delete("Old").await.unwrap();
    account.create("Old", SpecialUse::default()).await.unwrap();
    add(&account, "Old", "in its namesake").await;
    let inbox = account.select("INBOX", false).await.unwrap();
    inbox
        .store_flags(&[1], FlagAction::Add, system::DELETED, &[], None)
        .await
        .unwrap();
    inbox.expunge(None).await.unwrap();
    inbox.copy(&[2], "Sent").await.unwrap();
    inbox.updates(true);
    drop(inbox);
    settle(&account).await;
}

fn filled() -> tempfile::TempDir {
    let (directory, store) = store();
    store.run(|context| async move {
        for name in ["u", "v", "w"] {
            fill(&context, name).await;
        }
        context.account("empty").await;
    });
    store.close();
    directory
}

/// What must be there whatever was left of the index.
fn judge(directory: &Path) {
    assert_eq!(findings(directory), Vec::<String>::new());
    let store = Store::open(directory);
    store.run(|context| async move {
        for name in ["u", "v", "w"] {
            let account = context.account(name).await;
            let inbox = account.select("INBOX", false).await.unwrap();
            for uid in 2..=4 {
                assert_eq!(
                    content(&inbox, uid).await.unwrap(),
                    format!("{name} {}", uid - 1)
                );
            }
            let ab = account.select("a/b", true).await.unwrap();
            let entry = ab.entry(1).unwrap();
            assert_eq!(ab.flag_words(entry.flags, entry.keywords).len(), 3);
            let old = account.select("Old", true).await.unwrap();
            assert_eq!(content(&old, 1).await.unwrap(), "in its namesake");
            // It goes on as any account does.
            let next = account.mailbox("INBOX").unwrap();
            let uid = add(&account, "INBOX", "new").await;
            assert!(uid == next.uid_next && uid > 4);
            assert!(account.mailbox("INBOX").unwrap().modseq > next.modseq);
            account.ensure("another").await.unwrap();
        }
    });
    store.close();
}

#[test]
fn an_index_that_is_gone_is_built_from_the_bodies() {
    let directory = filled();
    for shard in 0..SHARDS {
        fs::remove_dir_all(directory.path().join(format!("shard-{shard:03}/rows"))).unwrap();
    }
    assert_eq!(findings(directory.path()).len(), usize::from(SHARDS));
    let salvaged = rebuilt(&directory, Scope::Damaged);
    assert_eq!((salvaged.accounts, salvaged.shards), (3, u64::from(SHARDS)));
    assert_eq!(salvaged.without_password, ["u", "v", "w"]);
    assert_eq!(salvaged.lost, Vec::<String>::new());
    // The expunged come back, and those of the deleted mailbox.
    assert_eq!((salvaged.messages, salvaged.renumbered), (3 * 7, 3));
    judge(directory.path());
}

#[test]
fn a_sound_index_gives_passwords_names_and_numbers_and_stays_unless_all_is_asked() {
    let directory = filled();
    let none = rebuilt(&directory, Scope::Damaged);
    assert_eq!(none, Salvaged::default());
    let (mut steps, mut told) = (0, 0);
    let first = salvage(
        directory.path(),
        (Scope::All, Missing::Leave),
        &nobody,
        &mut |progress| {
            if let Progress::Rebuilt(_, salvaged) = progress {
                told += salvaged.messages;
            } else {
                steps += 1;
            }
        },
    )
    .unwrap();
    assert!(steps >= first.messages && told == first.messages);
    assert_eq!(first.without_password, ["empty"]);
    assert_eq!(first.accounts, 4);
    // A stop in between, or a second thought: it may be repeated.
    let second = rebuilt(&directory, Scope::All);
    assert_eq!((first.kept.len(), second.kept.len()), (2, 2));
    let kept = first.kept.clone();
    assert_eq!(first, Salvaged { kept, ..second });
    judge(directory.path());
    let third = rebuilt(&directory, Scope::All);
    assert_eq!(third.messages, first.messages + 3);
    judge(directory.path());
}

#[test]
fn indexes_in_each_others_place_are_rebuilt_and_tell_nothing() {
    let directory = filled();
    let rows = |shard: u16| directory.path().join(format!("shard-{shard:03}/rows"));
    let away = directory.path().join("away");
    fs::rename(rows(0), &away).unwrap();
    fs::rename(rows(1), rows(0)).unwrap();
    fs::rename(&away, rows(1)).unwrap();
    let found = findings(directory.path());
    assert_eq!(found.len(), usize::from(SHARDS), "{found:?}");
    for scope in [Scope::Damaged, Scope::All] {
        let salvaged = rebuilt(&directory, scope);
        // An account without a message is nowhere but in the index.
        assert_eq!((salvaged.accounts, salvaged.shards), (3, u64::from(SHARDS)));
        assert_eq!(salvaged.without_password, ["u", "v", "w"]);
        assert_eq!((salvaged.messages, salvaged.lost_total), (3 * 7, 0));
        assert_eq!(salvaged.kept.len(), usize::from(SHARDS));
    }
    judge(directory.path());
}

#[test]
fn a_damaged_record_is_listed_and_costs_that_message_alone() {
    let directory = filled();
    let needle = b"in its namesake";
    let files = (0..SHARDS).flat_map(|shard| {
        let segments = directory.path().join(format!("shard-{shard:03}/segments"));
        fs::read_dir(segments).unwrap().map(|f| f.unwrap().path())
    });
    let place = |path: std::path::PathBuf| {
        let bytes = fs::read(&path).unwrap();
        let at = bytes.windows(needle.len()).position(|w| w == needle)?;
        Some((path, bytes, at))
    };
    let (path, mut bytes, at) = files.filter_map(place).next().unwrap();
    bytes[at] ^= 1;
    fs::write(path, bytes).unwrap();
    assert_eq!(findings(directory.path()).len(), 1);
    let salvaged = rebuilt(&directory, Scope::All);
    assert_eq!(
        (salvaged.lost.len(), salvaged.messages),
        (1, 3 * 7 - 1),
        "{salvaged:?}"
    );
    assert_eq!(findings(directory.path()), Vec::<String>::new());
}

#[test]
fn a_missing_segment_is_listed() {
    let directory = filled();
    for shard in 0..SHARDS {
        let segments = directory.path().join(format!("shard-{shard:03}/segments"));
        for file in fs::read_dir(segments).unwrap() {
            fs::remove_file(file.unwrap().path()).unwrap();
        }
    }
    let salvaged = rebuilt(&directory, Scope::All);
    assert!(
        salvaged.lost.iter().any(|l| l.contains(".seg is missing")),
        "{:?}",
        salvaged.lost
    );
    assert_eq!(findings(directory.path()), Vec::<String>::new());
}

#[test]
fn an_entry_that_is_over_is_not_told_as_lost() {
    let (directory, store) = store();
    let large = store.run(|context| async move {
        let path = context.spool.join("large");
        let write = move || {
            let mut writer = shards::storage::ExternalWriter::create(path, 0).unwrap();
            writer.write(&[b'x'; 2000]).unwrap();
            writer.finish().unwrap()
        };
        let external = context.pool.run(write).await.unwrap();
        let shard = context.shards[0].clone();
        let entry = |recipient: Option<&str>, external| {
            let id = shard.next_body();
            let row = rows::FanOutRow {
                body: id.0,
                recipients: vec![rows::FanOutRecipient {
                    account: recipient.unwrap_or("u").into(),
                    mailbox: "INBOX".into(),
                    address: "u@example.org".into(),
                }],
                prefix: Vec::new(),
                reverse_path: String::new(),
                received: 0,
                thread: ThreadRow::default(),
                is_report: false,
            };
            let row = row.encode();
            let mut batch = Batch::default();
            batch.bodies.push(NewBody {
                id,
                kind: rows::BODY_FAN_OUT,
                // With very many recipients only the row says who they are.
                meta: recipient.map_or(Vec::new(), |_| row.clone()),
                parts: vec![Arc::new(b"Subject: x\r\n\r\n".to_vec())],
                external,
            });
            batch.put(rows::fan_out_key(id.0), row);
            (id, batch)
        };
        let long = entry(None, None);
        let over = entry(Some("u"), Some(external.clone()));
        let alive = entry(Some("u"), Some(external));
        let ended = [long.0, over.0];
        let mut end = Batch::default();
        for id in ended {
            end.delete(rows::fan_out_key(id.0));
            end.dead.push(id);
        }
        for batch in [long.1, over.1, alive.1, end] {
            let permit = shard
                .permit(0, false, Duration::from_secs(1))
                .await
                .unwrap();
            shard.commit(permit, batch).await.unwrap();
        }
        alive.0
    });
    store.close();
    let salvaged = rebuilt(&directory, Scope::All);
    assert_eq!(salvaged.lost, Vec::<String>::new());
    assert_eq!((salvaged.entries, salvaged.without_content), (1, 1));
    assert_eq!(findings(directory.path()), Vec::<String>::new());
    // One whose content is gone before it was over is lost.
    let large = format!("shard-000/large/{}", shards::segments::external_name(large));
    fs::remove_file(directory.path().join(large)).unwrap();
    let salvaged = rebuilt(&directory, Scope::All);
    assert_eq!(salvaged.lost_total, 1, "{:?}", salvaged.lost);
}

fn rebuilt(directory: &tempfile::TempDir, scope: Scope) -> Salvaged {
    let about = (scope, Missing::Leave);
    salvage(directory.path(), about, &nobody, &mut |_| ()).unwrap()
}

/// What the queue holds its own tests look at.
fn nobody(_: BodyId, _: &[u8]) -> (Vec<Row>, u64) {
    (Vec::new(), 0)
}

//! The check finds what is wrong, of each kind, in a stopped directory and in a running shard; and nothing where nothing is.

use shards::index::RowChange;
use shards::storage::{Batch, NewBody};

use super::super::keys;
use super::super::rows::{AccountRow, MailboxRow, MessageRow, TombstoneRow, decode, encode};
use super::whole::settle;
use super::*;

type Spoil = fn(&mut Batch, &Rows);

/// Rows of the account that a spoiler may want.
struct Rows {
    id: AccountId,
    account: AccountRow,
    inbox: MailboxRow,
    first: MessageRow,
}

const INBOX_ID: MailboxId = MailboxId(1);

impl Rows {
    fn inbox(&self, batch: &mut Batch, change: impl FnOnce(&mut MailboxRow)) {
        let mut row = self.inbox.clone();
        change(&mut row);
        batch.put(keys::mailbox(self.id, INBOX_ID), encode(&row));
    }

    fn first(&self, batch: &mut Batch, change: impl FnOnce(&mut MessageRow)) {
        let mut row = self.first.clone();
        change(&mut row);
        batch.put(keys::message(self.id, INBOX_ID, 1), encode(&row));
    }
}

async fn prepare(context: &Context) -> Rows {
    let account = context.account("u").await;
    for n in 0..3 {
        add(&account, "INBOX", &format!("message {n}")).await;
    }
    let inbox = account.select("INBOX", false).await.unwrap();
    inbox.copy(&[2], "Sent").await.unwrap();
    inbox
        .store_flags(&[3], FlagAction::Add, system::DELETED, &[], None)
        .await
        .unwrap();
    inbox.expunge(None).await.unwrap();
    inbox.updates(true);
    drop(inbox);
    settle(&account).await;
    let id = account.id;
    let row = |key| {
        let shard = account.shard().clone();
        async move { shard.get(key).await.unwrap().unwrap() }
    };
    Rows {
        id,
        account: decode(&row(keys::account(id)).await, String::new).unwrap(),
        inbox: decode(&row(keys::mailbox(id, INBOX_ID)).await, String::new).unwrap(),
        first: decode(&row(keys::message(id, INBOX_ID, 1)).await, String::new).unwrap(),
    }
}

async fn check_running(context: &Context) -> Vec<String> {
    let mut all = Vec::new();
    for shard in &context.shards {
        let mut from = Vec::new();
        loop {
            let found = check_slice(shard, from).await.unwrap();
            all.extend(found.findings);
            match found.next {
                Some(next) => from = next,
                None => break,
            }
        }
    }
    all
}

fn spoiled(spoil: Spoil) -> Vec<String> {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path());
    let running = store.run(move |context| async move {
        let rows = prepare(&context).await;
        assert_eq!(check_running(&context).await, Vec::<String>::new());
        let account = context.account("u").await;
        let shard = account.shard().clone();
        let mut batch = Batch::default();
        spoil(&mut batch, &rows);
        for body in &mut batch.bodies {
            body.id = shard.next_body();
        }
        let permit = shard
            .permit(0, false, Duration::from_secs(1))
            .await
            .unwrap();
        shard.commit(permit, batch).await.unwrap();
        check_running(&context).await
    });
    store.engine.stop(Duration::from_secs(1));
    assert_eq!(findings(directory.path()), running);
    running
}

#[test]
fn each_kind_of_wrong_is_found() {
    let cases: &[(&str, Spoil)] = &[
        ("the name u leads to account", |b, r| {
            b.changes.push(RowChange::Delete(keys::account(r.id)))
        }),
        ("no name leads to its rows", |b, _| {
            b.delete(keys::account_name("u"))
        }),
        ("has an unknown format", |b, r| {
            let mut row = encode(&r.first);
            row[0] = 9;
            b.put(keys::message(r.id, INBOX_ID, 1), row);
        }),
        ("octets are used", |b, r| {
            let used_bytes = r.account.used_bytes + 1;
            b.put(
                keys::account(r.id),
                encode(&AccountRow {
                    used_bytes,
                    ..r.account.clone()
                }),
            );
        }),
        ("would be given out again", |b, r| {
            let row = AccountRow {
                next_uid_validity: 5,
                ..r.account.clone()
            };
            b.put(keys::account(r.id), encode(&row));
        }),
        ("two mailboxes are named Sent", |b, r| {
            r.inbox(b, |m| m.name = "Sent".into())
        }),
        ("has no parent", |b, r| {
            r.inbox(b, |m| m.name = "a/b".into())
        }),
        ("was made at MODSEQ", |b, r| {
            r.inbox(b, |m| m.modseq = 1_000)
        }),
        ("says MailboxCounts", |b, r| {
            r.inbox(b, |m| m.counts.unseen += 1)
        }),
        ("not below UIDNEXT 2", |b, r| r.inbox(b, |m| m.uid_next = 2)),
        ("it came at MODSEQ", |b, r| r.first(b, |m| m.modseq = 900)),
        ("a keyword its mailbox does not know", |b, r| {
            r.first(b, |m| m.keywords = 1)
        }),
        ("is not there; restore", |b, r| r.first(b, |m| m.body = 999)),
        ("clients can't read it whole", |b, r| {
            r.first(b, |m| m.size += 1)
        }),
        ("and no row says so", |b, r| {
            r.first(b, |m| m.shares_body = true)
        }),
        ("no row leads from its Message-ID", |b, r| {
            b.delete(keys::thread(r.id, r.first.thread.message_id, INBOX_ID, 1))
        }),
        ("which is not there", |b, r| {
            b.delete(keys::mailbox(r.id, INBOX_ID))
        }),
        ("was expunged at MODSEQ 77 and is there", |b, r| {
            let row = TombstoneRow { uids: vec![1] };
            b.put(keys::tombstone(r.id, INBOX_ID, 77), encode(&row));
        }),
        ("and it does not: the body", |b, r| {
            b.put(keys::shared(r.id, r.first.body, INBOX_ID, 1), encode(&()))
        }),
        ("which has another or is gone", |b, r| {
            b.put(keys::thread(r.id, 4711, INBOX_ID, 1), encode(&()))
        }),
        ("nothing", |b, _| {
            b.bodies.push(NewBody {
                id: shards::segments::BodyId(0),
                kind: 1,
                meta: Vec::new(),
                parts: vec![Arc::new(b"lost".to_vec())],
                external: None,
            })
        }),
    ];
    for (expected, spoil) in cases {
        let found = spoiled(*spoil);
        let expected = if *expected == "nothing" {
            "anything else names it"
        } else {
            expected
        };
        assert!(
            found.iter().any(|f| f.contains(expected)),
            "{expected}: {found:#?}"
        );
    }
}

#[test]
fn a_row_of_an_unknown_version_is_named_and_nothing_else_fails() {
    let (directory, store) = store();
    store.run(|context| async move {
        let rows = prepare(&context).await;
        let account = context.account("u").await;
        let mut row = encode(&rows.first);
        row[0] = 2;
        let mut batch = Batch::default();
        batch.put(keys::message(rows.id, INBOX_ID, 1), row);
        let permit = account
            .shard()
            .permit(0, false, Duration::from_secs(1))
            .await
            .unwrap();
        account.shard().commit(permit, batch).await.unwrap();
    });
    store.engine.stop(Duration::from_secs(1));
    let store = Store::open(directory.path());
    store.run(|context| async move {
        let account = context.account("u").await;
        let Err(error) = account.select("INBOX", true).await else {
            panic!()
        };
        let text = error.to_string();
        assert!(
            text.contains("message 1 of mailbox 1 of account u") && text.contains("ringmail check"),
            "{text}"
        );
        assert_eq!(account.select("Sent", true).await.unwrap().uids().len(), 1);
        add(&account, "INBOX", "still received").await;
    });
    store.engine.stop(Duration::from_secs(1));
    let found = findings(directory.path());
    assert!(
        found[0].contains("message 1 of mailbox INBOX of account 1 has an unknown format"),
        "{found:#?}"
    );
}

#[test]
fn a_running_server_under_load_has_no_findings() {
    let (_directory, store) = store();
    store.run(|context| async move {
        let ended = Rc::new(std::cell::Cell::new(false));
        let writers = Rc::new(std::cell::Cell::new(3));
        for n in 0..3 {
            let (context, ended, writers) = (context.clone(), ended.clone(), writers.clone());
            shards::rt::spawn(&TEST, async move {
                let account = context.account(&format!("u{n}")).await;
                let mut random = Random(n);
                let _ = account.create("Other", SpecialUse::default()).await;
                while !ended.get() {
                    let inbox = account
                        .select(["INBOX", "Other"][random.below(2)], false)
                        .await
                        .unwrap();
                    let uids = inbox.uids();
                    let picked: Vec<u32> = random.pick(&uids).into_iter().copied().collect();
                    match random.below(6) {
                        0..2 => drop(add(&account, "INBOX", "x").await),
                        2 => drop(inbox.copy(&picked, "Other").await.unwrap()),
                        3 => drop(inbox.move_to(&picked, "INBOX").await.unwrap()),
                        4 => drop(
                            inbox
                                .store_flags(&picked, FlagAction::Add, system::DELETED, &[], None)
                                .await
                                .unwrap(),
                        ),
                        _ => drop(inbox.expunge(None).await.unwrap()),
                    }
                }
                writers.set(writers.get() - 1);
            });
        }
        for _ in 0..15 {
            assert_eq!(check_running(&context).await, Vec::<String>::new());
        }
        ended.set(true);
        while writers.get() > 0 {
            shards::rt::sleep(Duration::from_millis(1)).await;
        }
    });
    store.close();
}

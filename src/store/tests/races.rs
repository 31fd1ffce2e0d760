//! What is under way at the same time, and what is dropped half way.

use super::whole::settle;
use super::*;

/// Runs futures side by side to their ends.
async fn together<T>(futures: Vec<Pin<Box<dyn Future<Output = T>>>>) -> Vec<T> {
    let mut results: Vec<Option<T>> = futures.iter().map(|_| None).collect();
    let mut futures = futures;
    std::future::poll_fn(|cx| {
        let mut waiting = false;
        for (future, result) in futures.iter_mut().zip(&mut results) {
            if result.is_none() {
                match future.as_mut().poll(cx) {
                    std::task::Poll::Ready(done) => *result = Some(done),
                    std::task::Poll::Pending => waiting = true,
                }
            }
        }
        if waiting {
            std::task::Poll::Pending
        } else {
            std::task::Poll::Ready(())
        }
    })
    .await;
    results.into_iter().flatten().collect()
}

fn boxed<T>(future: impl Future<Output = T> + 'static) -> Pin<Box<dyn Future<Output = T>>> {
    Box::pin(future)
}

#[test]
fn a_transaction_that_comes_twice_at_once_adds_once() {
    let (_directory, store) = store();
    store.run(|context| async move {
        let account = context.account("u").await;
        let deliver = |account: Rc<Account>| {
            boxed(async move {
                account
                    .add("INBOX", vec![message("once")], Some(b"transaction"))
                    .await
                    .unwrap()
                    .is_some()
            })
        };
        let added = together((0..5).map(|_| deliver(account.clone())).collect()).await;
        assert_eq!(added.iter().filter(|a| **a).count(), 1);
        assert!(!deliver(account.clone()).await);
        assert_eq!(account.mailbox("INBOX").unwrap().counts.messages, 1);
        // One that is refused does not stand in the way of its repeat.
        account
            .add("nowhere", vec![message("x")], Some(b"other"))
            .await
            .unwrap_err();
        assert!(
            account
                .add("INBOX", vec![message("x")], Some(b"other"))
                .await
                .unwrap()
                .is_some()
        );
        account.forget_delivered(&[]).await.unwrap();
    });
    store.close();
}

#[test]
fn a_mailbox_being_deleted_gives_its_use_to_a_new_one_and_stays_deleted() {
    let (directory, store) = store();
    let junk = junk_use();
    store.run(move |context| async move {
        let account = context.account("u").await;
        account.create("old", junk).await.unwrap();
        add(&account, "old", "1").await;
        let (deleting, creating) = (account.clone(), account.clone());
        let both = together(vec![
            boxed(async move { deleting.delete("old").await }),
            boxed(async move { creating.create("new", junk).await.map(drop) }),
        ]);
        assert!(both.await.iter().all(Result::is_ok));
        settle(&account).await;
    });
    // What is on disk, not what is in memory: a row written again would bring it back.
    store.close();
    let store = Store::open(directory.path());
    store.run(|context| async move {
        let account = context.account("u").await;
        assert!(account.mailbox("old").is_none());
        assert_eq!(account.mailbox("new").unwrap().special_use, junk_use());
    });
    store.close();
}

fn junk_use() -> SpecialUse {
    SpecialUse {
        junk: true,
        ..SpecialUse::default()
    }
}

#[test]
fn of_two_stores_in_flight_only_the_first_finds_the_message_unchanged() {
    let (_directory, store) = store();
    store.run(|context| async move {
        let account = context.account("u").await;
        add(&account, "INBOX", "1").await;
        let inbox = Rc::new(account.select("INBOX", false).await.unwrap());
        let since = inbox.entry(1).unwrap().modseq;
        let store_flags = |flags| {
            let inbox = inbox.clone();
            boxed(async move {
                inbox
                    .store_flags(&[1], FlagAction::Add, flags, &[], Some(since))
                    .await
                    .unwrap()
            })
        };
        let both = together(vec![
            store_flags(system::SEEN),
            store_flags(system::FLAGGED),
        ])
        .await;
        assert_eq!(
            (both[0].stored.as_slice(), both[1].modified.as_slice()),
            (&[1][..], &[1][..])
        );
        assert_eq!(inbox.entry(1).unwrap().flags, system::SEEN);
        // Without the condition two changes compose.
        let add = |flags| {
            let inbox = inbox.clone();
            boxed(async move {
                inbox
                    .store_flags(&[1], FlagAction::Add, flags, &[], None)
                    .await
                    .unwrap()
            })
        };
        together(vec![add(system::DRAFT), add(system::ANSWERED)]).await;
        assert_eq!(
            inbox.entry(1).unwrap().flags,
            system::SEEN | system::DRAFT | system::ANSWERED
        );
    });
    store.close();
}

async fn location(context: &Context, account: &Rc<Account>, entry: &Entry) -> bool {
    let body = entry.body;
    let id = account.shard().id();
    let shard = context.shards.iter().find(|s| s.id() == id).unwrap();
    shard
        .read(move |index| index.location(body))
        .await
        .unwrap()
        .is_some()
}

#[test]
fn an_expunged_body_lives_until_all_were_told() {
    let (_directory, store) = store();
    store.run(|context| async move {
        let account = context.account("u").await;
        add(&account, "INBOX", "one").await;
        add(&account, "INBOX", "two").await;
        let (slow, busy) = (
            account.select("INBOX", false).await.unwrap(),
            account.select("INBOX", false).await.unwrap(),
        );
        let entry = slow.entry(1).unwrap();
        busy.store_flags(&[1], FlagAction::Add, system::DELETED, &[], None)
            .await
            .unwrap();
        busy.expunge(None).await.unwrap();
        busy.updates(true);
        assert!(slow.is_expunged(1));
        slow.updates(false);
        shards::rt::sleep(Duration::from_millis(30)).await;
        assert_eq!(content(&slow, 1).await.unwrap(), "one");
        assert!(busy.entry(1).is_some() && busy.sequence(1).is_none());
        slow.updates(true);
        settle(&account).await;
        assert!(!location(&context, &account, &entry).await);
        assert!(matches!(
            slow.body(&entry).await,
            Err(StoreError::MessageGone)
        ));
    });
    store.close();
}

#[test]
fn a_moved_body_stays_readable_where_it_was_whatever_becomes_of_it() {
    for delete in [false, true] {
        let (_directory, store) = store();
        store.run(move |context| async move {
            let account = context.account("u").await;
            add(&account, "INBOX", "one").await;
            let slow = account.select("INBOX", false).await.unwrap();
            let busy = account.select("INBOX", false).await.unwrap();
            account
                .create("Other", SpecialUse::default())
                .await
                .unwrap();
            let entry = slow.entry(1).unwrap();
            busy.move_to(&[1], "Other").await.unwrap();
            busy.updates(true);
            if delete {
                account.delete("Other").await.unwrap();
            } else {
                let other = account.select("Other", false).await.unwrap();
                other
                    .store_flags(&[1], FlagAction::Add, system::DELETED, &[], None)
                    .await
                    .unwrap();
                other.expunge(None).await.unwrap();
                other.updates(true);
            }
            shards::rt::sleep(Duration::from_millis(30)).await;
            assert_eq!(content(&slow, 1).await.unwrap(), "one");
            drop(slow);
            settle(&account).await;
            assert!(!location(&context, &account, &entry).await);
            assert_eq!(account.quota().0, 0);
        });
        store.close();
    }
}

#[test]
fn copies_keep_a_body_until_the_last_is_gone() {
    let (_directory, store) = store();
    store.run(|context| async move {
        let account = context.account("u").await;
        add(&account, "INBOX", "one").await;
        let inbox = account.select("INBOX", false).await.unwrap();
        let sent = account.select("Sent", false).await.unwrap();
        let entry = inbox.entry(1).unwrap();
        inbox.copy(&[1], "Sent").await.unwrap();
        sent.updates(true);
        sent.move_to(&[1], "INBOX").await.unwrap();
        sent.updates(true);
        inbox.updates(true);
        inbox
            .store_flags(&[1], FlagAction::Add, system::DELETED, &[], None)
            .await
            .unwrap();
        inbox.expunge(None).await.unwrap();
        inbox.updates(true);
        settle(&account).await;
        assert_eq!(content(&inbox, 2).await.unwrap(), "one");
        inbox
            .store_flags(&[2], FlagAction::Add, system::DELETED, &[], None)
            .await
            .unwrap();
        inbox.expunge(None).await.unwrap();
        inbox.updates(true);
        settle(&account).await;
        assert!(!location(&context, &account, &entry).await);
    });
    store.close();
}

#[test]
fn nothing_is_lost_when_a_mailbox_is_deleted_under_its_users() {
    let (directory, store) = store();
    store.run(|context| async move {
        let account = context.account("u").await;
        for round in 0..20 {
            account.create("Busy", SpecialUse::default()).await.unwrap();
            for n in 0..6 {
                add(&account, "Busy", &format!("{round} {n}")).await;
            }
            let busy = Rc::new(account.select("Busy", false).await.unwrap());
            let (a, b, c, d, e) = (
                account.clone(),
                busy.clone(),
                busy.clone(),
                busy.clone(),
                account.clone(),
            );
            // Each may win or lose; none may leave something half.
            let results = together(vec![
                boxed(async move {
                    b.store_flags(&[1, 2], FlagAction::Add, system::DELETED, &[], None)
                        .await
                        .map(drop)
                }),
                boxed(async move { c.copy(&[1, 3], "Sent").await.map(drop) }),
                boxed(async move { a.delete("Busy").await }),
                boxed(async move { d.move_to(&[4, 5], "INBOX").await.map(drop) }),
                boxed(async move { e.add("Busy", vec![message("late")], None).await.map(drop) }),
            ])
            .await;
            assert!(results[2].is_ok());
            assert!(account.mailbox("Busy").is_none());
            assert_eq!(busy.updates(false), [Update::MailboxGone]);
            assert!(busy.is_gone() && busy.entry(1).is_none());
            assert!(
                busy.store_flags(&[1], FlagAction::Add, 1, &[], None)
                    .await
                    .is_err()
            );
        }
        settle(&account).await;
        // Everything that reached the others is whole.
        picture(&account).await;
    });
    store.close();
    let store = Store::open(directory.path());
    store.run(|context| async move {
        let account = context.account("u").await;
        assert!(account.mailbox("Busy").is_none());
        picture(&account).await;
    });
    store.close();
}

#[test]
fn a_table_loaded_while_mail_comes_has_each_message_once() {
    let (directory, first) = store();
    first.run(|context| async move {
        let account = context.account("u").await;
        let batch = (0..4_000).map(|_| message("x")).collect();
        account.add("INBOX", batch, None).await.unwrap();
    });
    first.close();
    for _ in 0..10 {
        let store = Store::open(directory.path());
        store.run(|context| async move {
            let account = context.account("u").await;
            let mut jobs: Vec<Pin<Box<dyn Future<Output = ()>>>> = Vec::new();
            for n in 0..30 {
                let account = account.clone();
                jobs.push(boxed(async move {
                    if n % 3 == 0 {
                        let inbox = account.select("INBOX", true).await.unwrap();
                        assert!(inbox.uids().is_sorted_by(|a, b| a < b));
                        shards::rt::sleep(Duration::from_millis(n)).await;
                        inbox.updates(true);
                        assert!(inbox.uids().is_sorted_by(|a, b| a < b));
                        let counts = inbox.info().unwrap().counts;
                        assert_eq!(inbox.uids().len(), counts.messages as usize);
                    } else {
                        add(&account, "INBOX", "new").await;
                    }
                }));
            }
            together(jobs).await;
        });
        store.close();
    }
}

#[test]
fn a_removed_account_is_gone_at_once_and_its_name_may_be_used_again() {
    let (directory, store) = store();
    store.run(|context| async move {
        let old = context.account("u").await;
        let old_validity = old.mailbox("INBOX").unwrap().uid_validity;
        for n in 0..2_500 {
            old.create(&format!("m{n}"), SpecialUse::default())
                .await
                .unwrap();
            if n % 10 == 0 {
                add(&old, "INBOX", "x").await;
            }
        }
        let inbox = old.select("INBOX", false).await.unwrap();
        inbox
            .store_flags(&[1, 2], FlagAction::Add, system::DELETED, &[], None)
            .await
            .unwrap();
        inbox.expunge(None).await.unwrap();
        // The clock is set back, and mail comes for the same name while the old rows go.
        CLOCK.fetch_sub(1_000_000, Ordering::Relaxed);
        let (a, b) = (context.accounts.clone(), context.accounts.clone());
        let results = together(vec![
            boxed(async move { a.remove("u").await.map(|_| ()) }),
            boxed(async move {
                let new = b.open("u").await?;
                new.add("INBOX", vec![message("new")], None).await.map(drop)
            }),
        ])
        .await;
        CLOCK.fetch_add(1_000_000, Ordering::Relaxed);
        results.into_iter().for_each(|r| r.unwrap());
        assert!(inbox.account().is_gone() && old.is_gone());
        assert!(matches!(
            old.add("INBOX", vec![message("x")], None).await,
            Err(StoreError::AccountGone)
        ));
        assert!(matches!(
            inbox.store_flags(&[3], FlagAction::Add, 1, &[], None).await,
            Err(StoreError::AccountGone)
        ));
        assert!(old.select("INBOX", true).await.is_err());
        let new = context.account("u").await;
        assert!(new.mailbox("INBOX").unwrap().uid_validity > old_validity + 2_500);
        assert_eq!(new.mailbox("INBOX").unwrap().counts.messages, 1);
        assert!(!context.accounts.remove("nobody").await.unwrap());
    });
    store.close();
    let store = Store::open(directory.path());
    store.run(|context| async move {
        let new = context.account("u").await;
        let inbox = new.select("INBOX", true).await.unwrap();
        assert_eq!(content(&inbox, 1).await.unwrap(), "new");
    });
    store.close();
}

#[test]
fn an_account_that_left_the_configuration_and_came_back_is_whole() {
    let (_directory, store) = store();
    store.run(|context| async move {
        let old = context.account("u").await;
        let (account, other) = (old.clone(), old.clone());
        let accounts = context.accounts.clone();
        let results = together(vec![
            boxed(async move {
                account
                    .add("INBOX", vec![message("one")], None)
                    .await
                    .map(drop)
            }),
            boxed(async move {
                other.set_gone();
                let new = accounts.open("u").await?;
                new.add("INBOX", vec![message("two")], None).await.map(drop)
            }),
        ])
        .await;
        results.into_iter().for_each(|r| r.unwrap());
        let new = context.account("u").await;
        assert!(!Rc::ptr_eq(&old, &new));
        assert_eq!(
            new.select("INBOX", true).await.unwrap().uids().to_vec(),
            [1, 2]
        );
    });
    store.close();
}

#[test]
fn a_small_cache_keeps_what_is_used_and_loses_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open_with(directory.path(), 20_000);
    store.run(|context| async move {
        let used = context.account("used").await;
        add(&used, "INBOX", "one").await;
        let inbox = used.select("INBOX", false).await.unwrap();
        for round in 0..4 {
            for n in 0..60 {
                let account = context.account(&format!("u{n}")).await;
                add(&account, "INBOX", &format!("{round}")).await;
            }
        }
        assert!(context.accounts.open_accounts().len() < 70);
        assert!(Rc::ptr_eq(&used, &context.account("used").await));
        add(&used, "INBOX", "two").await;
        assert_eq!(inbox.updates(true), [Update::Exists(2)]);
        for n in 0..60 {
            let account = context.account(&format!("u{n}")).await;
            assert_eq!(account.mailbox("INBOX").unwrap().counts.messages, 4);
        }
    });
    store.close();
}

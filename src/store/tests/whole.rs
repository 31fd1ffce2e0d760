//! Every operation, its rules, and that a restart changes nothing.

use super::*;

#[test]
fn an_account_after_a_restart_is_as_before() {
    let (directory, store) = store();
    let before = store.run(|context| async move {
        let account = context.account("u").await;
        for n in 0..5 {
            add(&account, "INBOX", &format!("message {n}")).await;
        }
        account
            .create("a/b/c", SpecialUse::default())
            .await
            .unwrap();
        account.create("Gone", SpecialUse::default()).await.unwrap();
        add(&account, "Gone", "lost").await;
        let inbox = account.select("INBOX", false).await.unwrap();
        let words = ["Blue".to_string(), "red".to_string()];
        let stored = inbox
            .store_flags(&[1, 2, 2], FlagAction::Add, system::SEEN, &words, None)
            .await;
        assert_eq!(stored.unwrap().stored, [1, 2]);
        let copied = inbox.copy(&[1, 3], "a/b").await.unwrap();
        assert_eq!(copied.uids, [(1, 1), (3, 2)]);
        let moved = inbox.move_to(&[4, 4, 2], "a/b/c").await.unwrap();
        assert_eq!(moved.uids, [(2, 1), (4, 2)]);
        inbox
            .store_flags(&[3], FlagAction::Replace, system::DELETED, &[], None)
            .await
            .unwrap();
        assert_eq!(inbox.expunge(None).await.unwrap(), [3]);
        account.rename("a", "z/a").await.unwrap();
        account.delete("Gone").await.unwrap();
        account.subscribe("nowhere", true).await.unwrap();
        account.subscribe("Sent", false).await.unwrap();
        inbox.updates(true);
        drop(inbox);
        settle(&account).await;
        let names: Vec<String> = account.mailboxes().into_iter().map(|m| m.name).collect();
        assert_eq!(names, ["INBOX", "Sent", "z", "z/a", "z/a/b", "z/a/b/c"]);
        // RFC 9051 6.3.9: a deleted mailbox stays subscribed.
        let subscribed = ["Gone", "INBOX", "nowhere", "z", "z/a", "z/a/b", "z/a/b/c"];
        assert_eq!(account.subscriptions(), subscribed);
        picture(&account).await
    });
    store.close();
    let store = Store::open(directory.path());
    let after = store.run(|context| async move { picture(&context.account("u").await).await });
    assert_eq!(before, after);
    store.close();
}

/// Waits until no body waits to be buried.
pub async fn settle(account: &Rc<Account>) {
    for _ in 0..20_000 {
        if account.is_settled() {
            return;
        }
        shards::rt::sleep(Duration::from_millis(1)).await;
    }
    panic!("bodies are never buried");
}

#[test]
fn names_are_refused_as_they_should_be() {
    let (_directory, store) = store();
    store.run(|context| async move {
        let account = context.account("u").await;
        let none = SpecialUse::default();
        for bad in ["", "a//b", "/a", "a/", "a/../b", "a\u{7}", "a*", "%"] {
            assert!(
                matches!(account.create(bad, none).await, Err(StoreError::BadName(_))),
                "{bad}"
            );
        }
        account.create("a/b", none).await.unwrap();
        assert!(matches!(
            account.create("a", none).await,
            Err(StoreError::MailboxExists)
        ));
        assert!(matches!(
            account.delete("a").await,
            Err(StoreError::NotAllowed(_))
        ));
        assert!(matches!(
            account.delete("INBOX").await,
            Err(StoreError::NotAllowed(_))
        ));
        assert!(matches!(
            account.delete("nothing").await,
            Err(StoreError::NoMailbox)
        ));
        assert!(matches!(
            account.rename("a", "a/x").await,
            Err(StoreError::NotAllowed(_))
        ));
        assert!(matches!(
            account.rename("a", "a").await,
            Err(StoreError::MailboxExists)
        ));
        assert!(matches!(
            account.rename("a", "Sent").await,
            Err(StoreError::MailboxExists)
        ));
        assert!(matches!(
            account.rename("x", "y").await,
            Err(StoreError::NoMailbox)
        ));
        assert!(account.select("nothing", true).await.is_err());
    });
    store.close();
}

#[test]
fn renaming_inbox_moves_its_messages() {
    let (_directory, store) = store();
    store.run(|context| async move {
        let account = context.account("u").await;
        add(&account, "INBOX", "one").await;
        add(&account, "INBOX", "two").await;
        account.rename("INBOX", "old/mail").await.unwrap();
        assert_eq!(account.mailbox("INBOX").unwrap().counts.messages, 0);
        let old = account.select("old/mail", true).await.unwrap();
        assert_eq!(content(&old, 2).await.unwrap(), "two");
    });
    store.close();
}

#[test]
fn the_quota_counts_copies_and_gives_back_what_is_buried() {
    let (_directory, store) = store();
    store.run(|context| async move {
        let account = context.account("u").await;
        let size = message("12345").prefix.len() as u64 + 5;
        account.set_quota(Some(size * 3));
        add(&account, "INBOX", "12345").await;
        let inbox = account.select("INBOX", false).await.unwrap();
        inbox.copy(&[1], "Sent").await.unwrap();
        inbox.copy(&[1], "INBOX").await.unwrap();
        assert_eq!(account.quota().0, size * 3);
        assert!(matches!(
            inbox.copy(&[1], "Sent").await,
            Err(StoreError::OverQuota)
        ));
        let more = account.add("INBOX", vec![message("1")], None).await;
        assert!(matches!(more, Err(StoreError::OverQuota)));
        // Accepted before: the quota does not hold it back.
        assert!(
            account
                .add("INBOX", vec![message("1")], Some(b"t"))
                .await
                .unwrap()
                .is_some()
        );
        inbox.updates(true);
        inbox
            .store_flags(&[1, 2, 3], FlagAction::Add, system::DELETED, &[], None)
            .await
            .unwrap();
        inbox.expunge(Some(&[1, 2])).await.unwrap();
        inbox.updates(true);
        settle(&account).await;
        assert_eq!(account.quota().0, size * 2 - 4);
        let sent = account.select("Sent", true).await.unwrap();
        assert_eq!(content(&sent, 1).await.unwrap(), "12345");
        drop(sent);
        account.delete("Sent").await.unwrap();
        settle(&account).await;
        assert_eq!(account.quota().0, size - 4);
    });
    store.close();
}

#[test]
fn keywords_have_a_limit_and_a_length() {
    let (_directory, store) = store();
    store.run(|context| async move {
        let account = context.account("u").await;
        add(&account, "INBOX", "one").await;
        let inbox = account.select("INBOX", false).await.unwrap();
        let words: Vec<String> = (0..64).map(|n| format!("word{n}")).collect();
        inbox
            .store_flags(&[1], FlagAction::Add, 0, &words, None)
            .await
            .unwrap();
        assert_eq!(inbox.entry(1).unwrap().keywords, u64::MAX);
        assert_eq!(inbox.flag_words(0, u64::MAX).len(), 64);
        let more = ["another".to_string(), "WORD3".to_string()];
        let result = inbox
            .store_flags(&[1], FlagAction::Add, 0, &more, None)
            .await;
        assert!(matches!(result, Err(StoreError::Limit(_))));
        inbox
            .store_flags(&[1], FlagAction::Remove, 0, &more, None)
            .await
            .unwrap();
        assert_eq!(inbox.entry(1).unwrap().keywords, !8);
        let mut long = message("two");
        long.keywords = vec!["x".repeat(100_000)];
        assert!(matches!(
            account.add("Sent", vec![long], None).await,
            Err(StoreError::Limit(_))
        ));
        assert_eq!(add(&account, "INBOX", "the shard still serves").await, 2);
    });
    store.close();
}

#[test]
fn recent_is_told_to_one_session_only() {
    let (_directory, store) = store();
    store.run(|context| async move {
        let account = context.account("u").await;
        add(&account, "INBOX", "1").await;
        let reader = account.select("INBOX", true).await.unwrap();
        let first = account.select("INBOX", false).await.unwrap();
        let second = account.select("INBOX", false).await.unwrap();
        let recent = |s: &Selected| {
            (
                s.recent_count(),
                (1..=4).filter(|uid| s.is_recent(*uid)).collect::<Vec<_>>(),
            )
        };
        assert_eq!(recent(&reader), (1, vec![1]));
        assert_eq!(recent(&first), (1, vec![1]));
        assert_eq!(recent(&second), (0, vec![]));
        add(&account, "INBOX", "2").await;
        second.updates(true);
        first.updates(true);
        add(&account, "INBOX", "3").await;
        first.updates(true);
        second.updates(true);
        assert_eq!(recent(&first), (2, vec![1, 3]));
        assert_eq!(recent(&second), (1, vec![2]));
    });
    store.close();
}

#[test]
fn large_content_is_read_whole_and_in_parts() {
    let (_directory, store) = store();
    store.run(|context| async move {
        let account = context.account("u").await;
        let path = context.spool.join("large");
        let large: Vec<u8> = (0..3_000_000u32).map(|n| (n % 251) as u8).collect();
        let tail = large[1000..].to_vec();
        let external = context
            .pool
            .run(move || {
                let mut writer = shards::storage::ExternalWriter::create(path, 0).unwrap();
                writer.write(&tail).unwrap();
                writer.finish().unwrap()
            })
            .await
            .unwrap();
        let mut new = message("");
        new.content = NewContent {
            bytes: Arc::new(large[..1000].to_vec()),
            external: Some(external),
        };
        new.prefix.clear();
        account.add("INBOX", vec![new], None).await.unwrap();
        let inbox = account.select("INBOX", true).await.unwrap();
        let entry = inbox.entry(1).unwrap();
        assert_eq!(entry.size, 3_000_000);
        assert_eq!(inbox.body(&entry).await.unwrap().octets(), large);
        for range in [
            0..10,
            990..1010,
            999..1000,
            1000..1001,
            2_999_990..4_000_000,
            5_000_000..5_000_001,
        ] {
            let end = (range.end as usize).min(large.len());
            let start = (range.start as usize).min(end);
            assert_eq!(
                inbox.octets(&entry, range).await.unwrap(),
                large[start..end]
            );
        }
    });
    store.close();
}

#[test]
fn a_mailbox_of_a_hundred_thousand_messages_loads() {
    let (directory, store) = store();
    store.run(|context| async move {
        let account = context.account("u").await;
        for _ in 0..100 {
            let batch = (0..1_000).map(|_| message("x")).collect();
            account.add("INBOX", batch, None).await.unwrap();
        }
    });
    store.close();
    let store = Store::open(directory.path());
    store.run(|context| async move {
        let account = context.account("u").await;
        let start = std::time::Instant::now();
        let inbox = account.select("INBOX", false).await.unwrap();
        let (took, bytes) = (start.elapsed(), account.bytes());
        println!("100,000 messages: loaded in {took:?}, about {bytes} bytes");
        assert_eq!(inbox.uids().len(), 100_000);
        assert!(bytes < 32 << 20);
        let all = inbox.uids();
        let start = std::time::Instant::now();
        inbox
            .store_flags(&all, FlagAction::Add, system::DELETED, &[], None)
            .await
            .unwrap();
        println!("flags of all: {:?}", start.elapsed());
        let start = std::time::Instant::now();
        assert_eq!(inbox.expunge(None).await.unwrap().len(), 100_000);
        println!("expunged all: {:?}", start.elapsed());
        let start = std::time::Instant::now();
        assert_eq!(inbox.updates(true).len(), 100_000);
        println!("told all: {:?}", start.elapsed());
        settle(&account).await;
        assert_eq!(account.quota().0, 0);
    });
    store.close();
}

//! A deleted mailbox of several slices: its messages go in the background, and a kill in between leaves nothing behind.
//!
//! The child is this test binary itself, run again with `RINGMAIL_DELETING` set.

use std::process::{Command, Stdio};

use super::whole::settle;
use super::*;

const MANY: u32 = 2_400;

/// Messages in "Big", some of them copied to INBOX and within it, moved from INBOX, expunged.
async fn fill(account: &Rc<Account>) {
    account.create("Big", SpecialUse::default()).await.unwrap();
    for start in (0..MANY).step_by(400) {
        let messages = (start..start + 400).map(|n| message(&format!("big {n}")));
        account.add("Big", messages.collect(), None).await.unwrap();
    }
    let big = account.select("Big", false).await.unwrap();
    big.copy(&[1, 2, 1_500, 2_399], "INBOX").await.unwrap();
    big.copy(&[3, 2_398], "Big").await.unwrap();
    for uids in [[10, 11], [1_700, 1_701]] {
        big.store_flags(&uids, FlagAction::Add, system::DELETED, &[], None)
            .await
            .unwrap();
        big.expunge(None).await.unwrap();
    }
    add(account, "INBOX", "stays").await;
    let moved = add(account, "INBOX", "moved there").await;
    let inbox = account.select("INBOX", false).await.unwrap();
    inbox.move_to(&[moved], "Big").await.unwrap();
}

/// What must be there when all is settled. `moved`: moves out of INBOX, which left a tombstone each.
async fn judge(context: &Context, account: &Rc<Account>, moved: usize) {
    settle(account).await;
    assert!(account.mailbox("Big").is_none());
    let inbox = account.select("INBOX", true).await.unwrap();
    let mut octets = 0;
    let mut texts = Vec::new();
    for uid in inbox.uids().iter() {
        octets += inbox.entry(*uid).unwrap().size;
        texts.push(content(&inbox, *uid).await.unwrap());
    }
    assert_eq!(texts, ["big 0", "big 1", "big 1499", "big 2398", "stays"]);
    assert_eq!(account.quota().0, octets);
    for shard in &context.shards {
        let rows = shard.scan(b"a".to_vec(), Vec::new(), 1_000).await.unwrap();
        let of_kind = |kind: u8| rows.iter().filter(|(k, _)| k.get(9) == Some(&kind)).count();
        let own = shard.id() == account.shard().id();
        let expected = if own { [5, moved, 0, 0] } else { [0; 4] };
        assert_eq!([b'u', b'x', b'e', b'g'].map(of_kind), expected);
    }
}

#[test]
fn a_deleted_mailbox_is_gone_at_once_and_its_messages_soon() {
    let (_directory, store) = store();
    store.run(|context| async move {
        let account = context.account("u").await;
        fill(&account).await;
        // A session that has not been told of the move, and one that has the mailbox selected.
        let inbox = account.select("INBOX", true).await.unwrap();
        let moving = add(&account, "INBOX", "seen still").await;
        inbox.updates(true);
        let other = account.select("INBOX", false).await.unwrap();
        other.move_to(&[moving], "Big").await.unwrap();
        let big = account.select("Big", true).await.unwrap();
        account.delete("Big").await.unwrap();
        assert!(account.mailbox("Big").is_none());
        assert!(account.delete("Big").await.is_err());
        // Its name is free, while its messages are still being removed.
        account.create("Big", SpecialUse::default()).await.unwrap();
        assert_eq!(add(&account, "Big", "of the new one").await, 1);
        let new = account.select("Big", true).await.unwrap();
        assert_eq!(new.uids().len(), 1);
        assert_eq!(content(&inbox, moving).await.unwrap(), "seen still");
        drop((big, new));
        inbox.updates(true);
        drop((inbox, other));
        account.delete("Big").await.unwrap();
        judge(&context, &account, 2).await;
    });
    store.close();
}

/// Not a test: the process that is killed.
#[test]
fn deleting_child() {
    let Ok(directory) = std::env::var("RINGMAIL_DELETING") else {
        return;
    };
    let store = Store::open(Path::new(&directory));
    store.run(|context| async move {
        let account = context.account("u").await;
        if account.mailbox("Big").is_none() && account.mailbox("INBOX").unwrap().uid_next == 1 {
            fill(&account).await;
            account.delete("Big").await.unwrap();
        }
        judge(&context, &account, 1).await;
    });
    store.close();
}

#[test]
fn a_kill_while_a_deleted_mailbox_is_cleared_leaves_nothing_behind() {
    for faults in [
        &["mailbox.deleted=kill"][..],
        // Again, where the next start went on.
        &["mailbox.slice=kill@1", "mailbox.slice=kill@1"],
        &["mailbox.slice=kill@2"],
        &["mailbox.slice=kill@4", "mailbox.cleared=kill"],
        &["mailbox.cleared=kill"],
    ] {
        let directory = tempfile::tempdir().unwrap();
        for (life, fault) in faults.iter().chain(&[""]).enumerate() {
            let status = Command::new(std::env::current_exe().unwrap())
                .args([
                    "store::tests::deleting::deleting_child",
                    "--exact",
                    "--test-threads=1",
                ])
                .env("RINGMAIL_DELETING", directory.path())
                .env("RINGMAIL_FAULTS", fault)
                .stdout(Stdio::null())
                .status()
                .unwrap();
            use std::os::unix::process::ExitStatusExt;
            let killed = status.signal() == Some(9);
            assert!(
                killed != fault.is_empty() && (killed || status.success()),
                "{faults:?} {life}: {status}"
            );
            assert_eq!(findings(directory.path()), Vec::<String>::new());
        }
    }
}

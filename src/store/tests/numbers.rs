//! A message's number leads to it wherever it is moved, and to nothing of others.

use super::whole::settle;
use super::*;

fn place(found: &Numbered) -> Option<(u32, u32)> {
    match found {
        Numbered::Message(found) => {
            let place = found.0.place(&found.1);
            Some((place.mailbox.0, place.uid))
        }
        _ => None,
    }
}

async fn number(account: &Rc<Account>, mailbox: &str, uid: u32) -> u64 {
    let selected = account.select(mailbox, true).await.unwrap();
    selected.entry(uid).unwrap().number()
}

async fn find(account: &Rc<Account>, number: u64) -> Numbered {
    account.numbered(number, None).await.unwrap()
}

#[test]
fn a_number_leads_to_its_message_after_moves_and_copies() {
    let (directory, store) = store();
    let numbers = store.run(|context| async move {
        let account = context.account("u").await;
        account.create("A", SpecialUse::default()).await.unwrap();
        account.create("B", SpecialUse::default()).await.unwrap();
        let mut numbers = Vec::new();
        for n in 0..50 {
            let uid = add(&account, "A", &format!("message {n}")).await;
            numbers.push(number(&account, "A", uid).await);
        }
        let id = |name: &str| account.mailbox(name).unwrap().id.0;
        let (inbox, a, b) = (id("INBOX"), id("A"), id("B"));
        assert!(inbox < a && a < b);
        let at = async |n: usize| place(&find(&account, numbers[n]).await);
        assert_eq!(at(7).await, Some((a, 8)));
        // Moved in another order than they came, so that numbers do not ascend in B.
        let selected = account.select("A", false).await.unwrap();
        for uid in [30, 8, 20, 9] {
            selected.move_to(&[uid], "B").await.unwrap();
        }
        assert_eq!(at(29).await, Some((b, 1)));
        assert_eq!(at(7).await, Some((b, 2)));
        assert_eq!(at(8).await, Some((b, 4)));
        // Of copies the first mailbox's, and there the first.
        selected.copy(&[1], "B").await.unwrap();
        assert_eq!(at(0).await, Some((a, 1)));
        selected.copy(&[1], "INBOX").await.unwrap();
        selected.copy(&[1], "INBOX").await.unwrap();
        assert_eq!(at(0).await, Some((inbox, 1)));
        let hint = MessagePlace {
            mailbox: MailboxId(b),
            uid: 2,
        };
        let hinted = account.numbered(numbers[7], Some(hint)).await.unwrap();
        assert_eq!(place(&hinted), Some((b, 2)));
        let wrong = account.numbered(numbers[6], Some(hint)).await.unwrap();
        assert_eq!(place(&wrong), Some((a, 7)));
        numbers
    });
    store.close();
    // Nothing of it is only in memory.
    let store = Store::open(directory.path());
    store.run(|context| async move {
        let account = context.account("u").await;
        let id = |name: &str| account.mailbox(name).unwrap().id.0;
        for (n, expected) in [
            (29, (id("B"), 1)),
            (7, (id("B"), 2)),
            (0, (id("INBOX"), 1)),
            (40, (id("A"), 41)),
        ] {
            assert_eq!(
                place(&find(&account, numbers[n]).await),
                Some(expected),
                "{n}"
            );
        }
        // A renamed mailbox, and one of the same name as the one it came to.
        account.rename("A", "C").await.unwrap();
        account.create("A", SpecialUse::default()).await.unwrap();
        add(&account, "A", "another").await;
        assert_eq!(
            place(&find(&account, numbers[40]).await),
            Some((id("C"), 41))
        );
    });
    store.close();
}

#[test]
fn others_and_those_that_are_gone_are_not_found() {
    let (_directory, store) = store();
    store.run(|context| async move {
        let account = context.account("u").await;
        // In both shards.
        let others = [
            context.account("v").await,
            context.account("w").await,
            context.account("x").await,
        ];
        for other in &others {
            add(other, "INBOX", "theirs").await;
            let theirs = number(other, "INBOX", 1).await;
            if let Numbered::Message(found) = find(&account, theirs).await {
                assert_eq!(found.0.account().name, "u");
            }
        }
        let uid = add(&account, "INBOX", "mine").await;
        let mine = number(&account, "INBOX", uid).await;
        let Numbered::Message(found) = find(&account, mine).await else {
            panic!("it is there");
        };
        let (selected, entry) = *found;
        let body = selected.body(&entry).await.unwrap();
        assert!(body.octets().ends_with(b"mine"));
        assert!(selected.remove(entry.uid).await.unwrap());
        assert!(!selected.remove(entry.uid).await.unwrap());
        // Whoever reads it goes on.
        assert!(
            selected
                .body(&entry)
                .await
                .unwrap()
                .octets()
                .ends_with(b"mine")
        );
        assert!(matches!(find(&account, mine).await, Numbered::Removed));
        drop((selected, body));
        settle(&account).await;
        assert!(matches!(find(&account, mine).await, Numbered::Unknown));
        for nobody in [0, u64::MAX, mine + 1000] {
            assert!(
                matches!(find(&account, nobody).await, Numbered::Unknown),
                "{nobody}"
            );
        }
    });
    store.close();
}

//! Several sessions on one mailbox: what each is told must turn its old list into its new one, in the order things became durable.

use std::cell::RefCell;
use std::collections::BTreeMap;

use super::whole::settle;
use super::*;

/// What a client knows: its numbered list, and what it last heard of each message's flags.
struct Client {
    selected: Selected,
    list: Vec<u32>,
    flags: BTreeMap<u32, (u16, u64)>,
    told_any_order: Vec<u32>,
}

impl Client {
    async fn select(account: &Rc<Account>) -> Client {
        let selected = account.select("INBOX", false).await.unwrap();
        let list = selected.uids().to_vec();
        let mut client = Client {
            selected,
            flags: BTreeMap::new(),
            told_any_order: Vec::new(),
            list,
        };
        for uid in client.list.clone() {
            client.learn(uid);
        }
        client
    }

    fn learn(&mut self, uid: u32) {
        let entry = self
            .selected
            .entry(uid)
            .expect("what is in the list can be read");
        self.flags.insert(uid, (entry.flags, entry.modseq));
    }

    /// Applies untagged responses as a strict client would.
    fn hear(&mut self, expunges: bool) {
        let before = self.list.len();
        let mut more = true;
        while more {
            let updates;
            // In slices, as a client is told of much.
            let most = [1, 2, 5, 30, 1_000][self.told_any_order.len() % 5];
            (updates, more) = self.selected.some_updates(expunges, most);
            for update in updates {
                self.hear_one(update, expunges);
            }
        }
        self.learn_all(before, expunges);
    }

    fn hear_one(&mut self, update: Update, expunges: bool) {
        match update {
            Update::Exists(count) => {
                assert!(count as usize > self.list.len(), "EXISTS never shrinks");
                // Their UIDs are learnt below.
                while self.list.len() < count as usize {
                    self.list.push(0);
                }
            }
            Update::Expunge { sequence, uid } => {
                assert!(expunges);
                let at = sequence as usize - 1;
                let had = self.list.remove(at);
                assert!(
                    had == uid || had == 0,
                    "sequence {sequence} is {had}, not {uid}"
                );
                self.told_any_order.push(uid);
                self.flags.remove(&uid);
            }
            Update::Flags { sequence, uid } => {
                let had = self.list[sequence as usize - 1];
                assert!(
                    had == uid || had == 0,
                    "sequence {sequence} is {had}, not {uid}"
                );
            }
            Update::MailboxGone | Update::Overrun => panic!("{update:?}"),
        }
    }

    fn learn_all(&mut self, before: usize, expunges: bool) {
        // What it did not know the UID of, it learns now.
        let now = self.selected.uids();
        assert_eq!(self.list.len(), now.len());
        for (known, uid) in self.list.iter_mut().zip(now.iter()) {
            assert!(*known == *uid || *known == 0, "{known} became {uid}");
            *known = *uid;
        }
        assert!(expunges || self.list.len() >= before);
        assert!(self.list.is_sorted_by(|a, b| a < b));
        for (at, uid) in self.list.iter().enumerate() {
            assert_eq!(self.selected.sequence(*uid), Some(at as u32 + 1));
        }
        for uid in self.list.clone() {
            self.learn(uid);
        }
    }
}

/// What must be in the mailbox once all is answered: text by UID, and flags.
type Model = Rc<RefCell<BTreeMap<u32, String>>>;

async fn client_task(account: Rc<Account>, model: Model, seed: u64, steps: usize) -> Vec<u32> {
    let mut random = Random(seed);
    let mut client = Client::select(&account).await;
    for step in 0..steps {
        let some = |random: &mut Random, list: &[u32]| -> Vec<u32> {
            let count = 1 + random.below(4);
            let picked = (0..count).filter_map(|_| random.pick(list).copied());
            let mut uids: Vec<u32> = picked.collect();
            uids.sort_unstable();
            uids
        };
        match random.below(12) {
            0..3 => {
                let text = format!("{seed} {step}");
                let uid = add(&account, "INBOX", &text).await;
                assert!(model.borrow_mut().insert(uid, text).is_none());
            }
            3..6 => {
                let uids = some(&mut random, &client.list);
                let flags = 1 << random.below(5);
                let action = [FlagAction::Add, FlagAction::Remove, FlagAction::Replace];
                let action = action[random.below(3)];
                let words = [format!("w{}", random.below(5))];
                let stored = client
                    .selected
                    .store_flags(&uids, action, flags, &words, None)
                    .await;
                for uid in stored.unwrap().stored {
                    client.selected.entry(uid).unwrap();
                }
            }
            6 => {
                let gone = client.selected.expunge(None).await.unwrap();
                for uid in gone {
                    model.borrow_mut().remove(&uid).expect("expunged once only");
                }
            }
            7 => {
                let uids = some(&mut random, &client.list);
                let mut texts = BTreeMap::new();
                for uid in &uids {
                    texts.insert(*uid, content(&client.selected, *uid).await.unwrap());
                }
                let copied = client.selected.copy(&uids, "INBOX").await.unwrap();
                // Without a wait: another session may expunge a copy at once.
                for (from, to) in copied.uids {
                    let text = texts[&from].clone();
                    assert!(model.borrow_mut().insert(to, text).is_none());
                }
            }
            8 => {
                let uids = some(&mut random, &client.list);
                let moved = client.selected.move_to(&uids, "INBOX").await.unwrap();
                for (from, to) in moved.uids {
                    let text = model.borrow_mut().remove(&from).expect("moved once only");
                    assert!(model.borrow_mut().insert(to, text).is_none());
                }
            }
            9 => client.hear(false),
            10 => client.hear(true),
            _ => {
                // Whatever it was not told of can still be read.
                if let Some(uid) = random.pick(&client.list).copied() {
                    content(&client.selected, uid).await.unwrap();
                }
            }
        }
        if random.below(40) == 0 {
            client.hear(true);
            client = Client::select(&account).await;
        }
    }
    client.hear(true);
    client.list
}

fn random_sessions(seed: u64) {
    let (directory, store) = store();
    let before = store.run(move |context| async move {
        let account = context.account("u").await;
        let model: Model = Rc::default();
        let ended = Rc::new(RefCell::new(Vec::new()));
        for n in 0..5 {
            let (account, model, ended) = (account.clone(), model.clone(), ended.clone());
            shards::rt::spawn(&TEST, async move {
                let list = client_task(account, model, seed ^ (n << 40), 250).await;
                ended.borrow_mut().push(list);
            });
        }
        let start = std::time::Instant::now();
        while ended.borrow().len() < 5 {
            assert!(
                start.elapsed() < Duration::from_secs(300),
                "a session ended badly"
            );
            shards::rt::sleep(Duration::from_millis(1)).await;
        }
        let client = Client::select(&account).await;
        let expected: Vec<u32> = model.borrow().keys().copied().collect();
        assert_eq!(client.list, expected);
        let all = model.borrow().clone();
        for (uid, text) in &all {
            assert_eq!(content(&client.selected, *uid).await.unwrap(), *text);
        }
        drop(client);
        settle(&account).await;
        picture(&account).await
    });
    store.close();
    let store = Store::open(directory.path());
    let after = store.run(|context| async move { picture(&context.account("u").await).await });
    assert_eq!(before, after);
    store.close();
}

#[test]
fn sequence_numbers_never_slip() {
    let seed = seed();
    for n in 0..environment("RINGMAIL_ROUNDS").unwrap_or(4) {
        random_sessions(seed.wrapping_add(n));
    }
}

#[test]
fn all_sessions_are_told_removals_in_one_order() {
    let (_directory, store) = store();
    store.run(|context| async move {
        let account = context.account("u").await;
        for n in 0..40 {
            add(&account, "INBOX", &format!("{n}")).await;
        }
        let mut clients = Vec::new();
        for _ in 0..3 {
            clients.push(Client::select(&account).await);
        }
        let mut random = Random(5);
        for _ in 0..15 {
            let by = random.below(3);
            let uids: Vec<u32> = random
                .pick(&clients[by].list)
                .into_iter()
                .copied()
                .collect();
            let selected = &clients[by].selected;
            selected
                .store_flags(&uids, FlagAction::Add, system::DELETED, &[], None)
                .await
                .unwrap();
            selected.expunge(Some(&uids)).await.unwrap();
            clients[random.below(3)].hear(true);
        }
        clients.iter_mut().for_each(|c| c.hear(true));
        assert_eq!(clients[0].told_any_order, clients[1].told_any_order);
        assert_eq!(clients[0].told_any_order, clients[2].told_any_order);
    });
    store.close();
}

#[test]
fn a_session_is_told_of_others_flags_once_and_not_of_its_own() {
    let (_directory, store) = store();
    store.run(|context| async move {
        let account = context.account("u").await;
        add(&account, "INBOX", "1").await;
        let (a, b) = (
            account.select("INBOX", false).await.unwrap(),
            account.select("INBOX", false).await.unwrap(),
        );
        for flags in [system::SEEN, system::FLAGGED] {
            a.store_flags(&[1], FlagAction::Add, flags, &[], None)
                .await
                .unwrap();
        }
        add(&account, "INBOX", "2").await;
        b.updates(true);
        b.store_flags(&[2], FlagAction::Add, system::SEEN, &[], None)
            .await
            .unwrap();
        assert_eq!(
            a.updates(false),
            // The message is known before something is said of it.
            [
                Update::Exists(2),
                Update::Flags {
                    sequence: 2,
                    uid: 2
                }
            ]
        );
        assert_eq!(b.updates(false), []);
        b.store_flags(&[1], FlagAction::Remove, system::SEEN, &[], None)
            .await
            .unwrap();
        assert_eq!(
            a.updates(false),
            [Update::Flags {
                sequence: 1,
                uid: 1
            }]
        );
        assert!(!a.has_updates());
    });
    store.close();
}

/// Adds `count` messages to INBOX, flags them `\\Deleted` and expunges them; answers the mailbox.
async fn add_and_expunge(account: &Rc<Account>, by: &Selected, count: usize) -> MailboxId {
    let batch = (0..count).map(|_| message("x")).collect();
    let added = account.add("INBOX", batch, None).await.unwrap().unwrap();
    by.store_flags(&added.uids, FlagAction::Add, system::DELETED, &[], None)
        .await
        .unwrap();
    assert_eq!(by.expunge(None).await.unwrap().len(), count);
    account.mailbox("INBOX").unwrap().id
}

/// Removed messages that some session may still see.
fn ghosts(account: &Rc<Account>, id: MailboxId) -> usize {
    account.state.borrow_mut().table(id).unwrap().ghosts()
}

#[test]
fn removals_out_of_order_among_other_changes_are_told_in_one_go() {
    let (_directory, store) = store();
    store.run(|context| async move {
        let account = context.account("u").await;
        for n in 1..=6 {
            add(&account, "INBOX", &format!("{n}")).await;
        }
        let (busy, slow) = (
            account.select("INBOX", false).await.unwrap(),
            account.select("INBOX", false).await.unwrap(),
        );
        for uid in [5, 2] {
            expunge_one(&busy, uid).await;
        }
        seen(&busy, 4).await;
        add(&account, "INBOX", "7").await;
        seen(&busy, 7).await;
        expunge_one(&busy, 6).await;
        let flags = |sequence, uid| Update::Flags { sequence, uid };
        let expunge = |sequence, uid| Update::Expunge { sequence, uid };
        assert_eq!(
            slow.updates(true),
            [
                flags(5, 5),
                expunge(5, 5),
                flags(2, 2),
                expunge(2, 2),
                flags(3, 4),
                Update::Exists(5),
                flags(5, 7),
                flags(4, 6),
                expunge(4, 6),
            ]
        );
        assert_eq!(slow.uids().to_vec(), [1, 3, 4, 7]);
    });
    store.close();
}

async fn expunge_one(by: &Selected, uid: u32) {
    by.store_flags(&[uid], FlagAction::Add, system::DELETED, &[], None)
        .await
        .unwrap();
    by.expunge(Some(&[uid])).await.unwrap();
}

async fn seen(by: &Selected, uid: u32) {
    by.store_flags(&[uid], FlagAction::Add, system::SEEN, &[], None)
        .await
        .unwrap();
}

#[test]
fn a_session_that_is_told_in_slices_lets_go_in_slices() {
    let (_directory, store) = store();
    store.run(|context| async move {
        let account = context.account("u").await;
        let busy = account.select("INBOX", false).await.unwrap();
        let slow = account.select("INBOX", false).await.unwrap();
        let inbox = add_and_expunge(&account, &busy, 500).await;
        busy.updates(true);
        assert_eq!(ghosts(&account, inbox), 500);
        // Additions and flags.
        let (updates, more) = slow.some_updates(true, 1_000);
        assert!(more && updates.len() == 501, "{}", updates.len());
        for left in [400, 300] {
            let (updates, more) = slow.some_updates(true, 100);
            assert_eq!((updates.len(), more), (100, true));
            assert_eq!(ghosts(&account, inbox), left);
        }
        assert!(!slow.some_updates(true, 300).1);
        assert_eq!(ghosts(&account, inbox), 0);
        settle(&account).await;
        assert_eq!(account.quota().0, 0);
    });
    store.close();
}

#[test]
fn what_the_last_session_held_is_let_go_in_slices() {
    let (_directory, store) = store();
    store.run(|context| async move {
        let account = context.account("u").await;
        let busy = account.select("INBOX", false).await.unwrap();
        let slow = account.select("INBOX", false).await.unwrap();
        let inbox = add_and_expunge(&account, &busy, 3_500).await;
        busy.updates(true);
        assert_eq!(ghosts(&account, inbox), 3_500);
        drop(slow);
        assert_eq!(ghosts(&account, inbox), 3_500 - table::TRIM_MAX);
        settle(&account).await;
        assert_eq!(ghosts(&account, inbox), 0);
        assert_eq!(account.quota().0, 0);
    });
    store.close();
}

#[test]
fn a_table_nobody_has_any_more_is_taken_apart_in_slices() {
    let (_directory, store) = store();
    store.run(|context| async move {
        let account = context.account("u").await;
        account.create("Old", SpecialUse::default()).await.unwrap();
        let batch = (0..2_500).map(|_| message("x")).collect();
        account.add("Old", batch, None).await.unwrap();
        let (busy, slow) = (
            account.select("Old", false).await.unwrap(),
            account.select("Old", false).await.unwrap(),
        );
        let uids: Vec<u32> = (1..=1_200).collect();
        busy.move_to(&uids, "INBOX").await.unwrap();
        let id = account.mailbox("Old").unwrap().id;
        assert_eq!(ghosts(&account, id), 1_200);
        account.delete("Old").await.unwrap();
        settle(&account).await;
        while !account.state.borrow().left.is_empty() {
            shards::rt::sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(slow.updates(true), [Update::MailboxGone]);
        assert_eq!(account.state.borrow().burials.holds(), 0);
        // One more, in the hand.
        let inbox = account.select("INBOX", false).await.unwrap();
        let uids = inbox.uids();
        let entries = uids.iter().map(|uid| inbox.entry(*uid).unwrap());
        let mut table = table::Table::new(entries.map(|e| (e.uid, Box::new(e))).collect());
        let reader = table.reader();
        table.removed(&(1..=100).collect::<Vec<_>>());
        let (freed, more) = table.take_apart();
        assert_eq!((freed.len(), more), (100, true));
        assert!(!table.take_apart().1);
        drop(reader);
    });
    store.close();
}

#[test]
fn a_large_table_out_of_use_is_dropped_in_the_background() {
    let (_directory, store) = store();
    store.run(|context| async move {
        let account = context.account("u").await;
        let batch = (0..=table::TRIM_MAX).map(|_| message("x")).collect();
        account.add("INBOX", batch, None).await.unwrap();
        add(&account, "Sent", "x").await;
        drop(account.select("INBOX", false).await.unwrap());
        drop(account.select("Sent", false).await.unwrap());
        account.drop_unused_tables();
        assert_eq!(account.state.borrow().left.len(), 1);
        // It may be used again meanwhile.
        let inbox = account.select("INBOX", false).await.unwrap();
        assert_eq!(inbox.uids().len(), table::TRIM_MAX + 1);
        while !account.state.borrow().left.is_empty() {
            shards::rt::sleep(Duration::from_millis(1)).await;
        }
    });
    store.close();
}

#[test]
fn a_session_too_far_behind_is_cut_off_and_holds_nothing() {
    let (_directory, store) = store();
    store.run(|context| async move {
        let account = context.account("u").await;
        let uids: Vec<u32> = account
            .add("INBOX", (0..1_000).map(|_| message("x")).collect(), None)
            .await
            .unwrap()
            .unwrap()
            .uids;
        let slow = account.select("INBOX", false).await.unwrap();
        let busy = account.select("INBOX", false).await.unwrap();
        for n in 0..102 {
            let action = if n % 2 == 0 {
                FlagAction::Add
            } else {
                FlagAction::Remove
            };
            busy.store_flags(&uids, action, system::SEEN, &[], None)
                .await
                .unwrap();
            busy.updates(true);
        }
        assert!(slow.has_updates());
        assert_eq!(slow.updates(false), [Update::Overrun]);
        assert_eq!(slow.updates(true), []);
        assert!(slow.is_gone() && !slow.has_updates());
        busy.store_flags(&[5], FlagAction::Add, system::DELETED, &[], None)
            .await
            .unwrap();
        busy.expunge(None).await.unwrap();
        busy.updates(true);
        // Nothing waits for the slow one.
        settle(&account).await;
    });
    store.close();
}

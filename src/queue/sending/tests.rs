//! What counts and for how long; and on a real shard, what is on disk of it when it is answered.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use shards::rt;
use shards::storage::Shard;

use super::*;
use crate::settings::AccountName;
use crate::store::rows;
use crate::store::tests::store;

const NOW: i64 = 500_000 * HOUR + 1_800;

fn limits(messages: u32, new_recipients: u32) -> Sending {
    Sending {
        messages_per_day: Some(messages),
        new_recipients_per_day: Some(new_recipients),
    }
    .or(Sending::default())
}

#[test]
fn nothing_is_wanted_of_accounts_without_limits() {
    let addresses = || ["a@x.example", "b@x.example", "A+1@X.example"].into_iter();
    assert_eq!(Wanted::of(limits(0, 0), addresses()), None);
    let messages = Wanted::of(limits(1, 0), addresses()).unwrap();
    assert_eq!((messages.messages, messages.recipients.len()), (3, 0));
    let both = Wanted::of(limits(0, 1), addresses()).unwrap();
    assert_eq!((both.messages, both.recipients.len()), (3, 2));
    // They are on disk: no version of the program may make others.
    assert_eq!(hash_of("a@x.example"), 0xcbfa_c866_46b3_5646);
}

#[test]
fn a_limit_is_reached_and_not_passed() {
    let limits = limits(3, 2);
    let mut counts = Counts::default();
    assert_eq!(counts.check(limits, 2, 1), Ok(()));
    counts.take(NOW, 2, 1);
    let refusal = counts.check(limits, 2, 0).unwrap_err();
    assert_eq!((refusal.limit, refusal.used), (Limit::Messages, 2));
    assert_eq!(refusal.room_at, Some(500_025 * HOUR));
    // Asking costs nothing.
    assert_eq!(counts.check(limits, 1, 1), Ok(()));
    counts.take(NOW, 1, 1);
    assert_eq!(counts.check(limits, 0, 0), Ok(()));
    let refusal = counts.check(
        Sending {
            messages_per_day: None,
            ..limits
        },
        1,
        1,
    );
    assert_eq!(refusal.unwrap_err().limit, Limit::NewRecipients);
    assert_eq!(counts.check(limits, 4, 0).unwrap_err().room_at, None);
}

#[test]
fn in_no_24_hours_more_is_sent_than_may() {
    let limits = limits(100, 0);
    let mut counts = Counts::default();
    let (mut sent, mut now, mut random) = (Vec::new(), NOW, 7_u64);
    for _ in 0..5_000 {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        now += i64::try_from(random >> 33).unwrap() % 1_500;
        let wanted = u32::try_from(random >> 60).unwrap();
        counts.advance(now);
        match counts.check(limits, wanted, 0) {
            Ok(()) => {
                counts.take(now, wanted, 0);
                sent.push((now, wanted));
            }
            Err(refusal) => {
                // Then it fits, if nothing else comes; and not a moment before.
                let at = refusal.room_at.unwrap();
                assert!(at > now && at <= now + 25 * HOUR);
                let then = |at| {
                    let mut counts = counts.clone();
                    counts.advance(at);
                    counts.check(limits, wanted, 0)
                };
                assert_eq!(then(at), Ok(()));
                assert!(then(at - 1).is_err());
            }
        }
        assert!(counts.hours.len() <= 25);
    }
    for (at, _) in &sent {
        let day = sent
            .iter()
            .filter(|(t, _)| (at - 24 * HOUR + 1..=*at).contains(t));
        assert!(day.map(|(_, count)| count).sum::<u32>() <= 100);
    }
    assert!(sent.iter().map(|(_, count)| count).sum::<u32>() > 1_000);
}

#[test]
fn what_is_given_back_is_free_and_its_recipients_are_not_new() {
    let limits = limits(2, 2);
    let mut counts = Counts::default();
    let taken = counts.take(NOW, 2, 2);
    assert!(counts.check(limits, 1, 0).is_err());
    counts.give_back(taken);
    assert_eq!(counts.check(limits, 2, 0), Ok(()));
    assert!(counts.check(limits, 2, 1).is_err());
    // Of an hour that is over: nothing.
    let mut later = counts.clone();
    later.advance(NOW + 26 * HOUR);
    later.give_back(taken);
    assert!(later.is_empty());
}

#[test]
fn a_clock_that_was_set_back_locks_out_nobody_for_long() {
    let limits = limits(2, 0);
    let mut counts = Counts::default();
    counts.take(NOW + 100_000 * HOUR, 1, 0);
    counts.take(NOW + 50_000 * HOUR, 1, 0);
    counts.advance(NOW);
    let refusal = counts.check(limits, 1, 0).unwrap_err();
    assert_eq!(refusal.room_at, Some(500_049 * HOUR));
    counts.advance(NOW + 10 * HOUR);
    assert_eq!(counts.check(limits, 1, 0), Err(refusal));
    counts.advance(500_049 * HOUR);
    assert_eq!(counts.check(limits, 2, 0), Ok(()));
}

#[test]
fn words_say_which_limit_and_when_there_is_room() {
    let mut refusal = Refusal {
        limit: Limit::Messages,
        most: 100,
        used: 99,
        wanted: 2,
        room_at: Some(0),
    };
    let expected = "the account may send 100 messages in 24 hours and has sent 99; there is room for 2 more from Thu, 1 Jan 1970 00:00:00 +0000 on";
    assert_eq!(refusal.to_string(), expected);
    refusal.limit = Limit::NewRecipients;
    refusal.room_at = None;
    let expected = "the account may write to 100 new recipients in 24 hours, and here are 2";
    assert_eq!(refusal.to_string(), expected);
}

#[test]
fn what_is_shown_says_what_is_left() {
    let mut counts = Counts::default();
    counts.take(NOW, 2, 1);
    let shown = counts.show(limits(2, 2));
    assert_eq!((shown.messages, shown.new_recipients), (2, 1));
    assert_eq!(shown.messages_at, Some(500_025 * HOUR));
    assert_eq!(shown.new_recipients_at, None);
    assert_eq!(counts.show(limits(0, 0)).messages_at, None);
}

#[test]
fn a_recipient_is_remembered_for_90_days() {
    assert!(is_remembered(100, 190));
    assert!(!is_remembered(100, 191));
    assert!(is_remembered(100, 7));
}

#[test]
fn no_more_are_remembered_than_there_is_room_for() {
    let mut counts = Counts {
        remembered: REMEMBERED_MAX - 1,
        ..Counts::default()
    };
    assert!(!counts.remember(2));
    assert!(counts.remember(1));
    assert!(!counts.remember(1));
    assert_eq!(counts.remembered, REMEMBERED_MAX);
}

thread_local! {
    static CLOCK: Cell<i64> = const { Cell::new(NOW) };
}

fn tallies() -> SendingTallies {
    SendingTallies::new(|| CLOCK.get())
}

/// An account of a shard, for a core that has just started or that goes on.
struct Sender<'a> {
    tallies: SendingTallies,
    shard: &'a Rc<Shard>,
    limits: Sending,
}

impl Sender<'_> {
    async fn sends(&self, addresses: &[&str]) -> Result<Taken, Refusal> {
        let wanted = Wanted::of(self.limits, addresses.iter()).unwrap();
        let reserved = self
            .tallies
            .reserve(self.shard, anna(), (self.limits, wanted));
        reserved.await.unwrap()
    }

    async fn used(&self) -> (u64, u64, u32) {
        let shown = self.tallies.show(self.shard, anna(), self.limits).await;
        let shown = shown.unwrap();
        (shown.messages, shown.new_recipients, shown.remembered)
    }

    async fn rows(&self) -> usize {
        let found = self.shard.scan(rows::SENDING.to_vec(), Vec::new(), 1_000);
        found.await.unwrap().len()
    }
}

fn anna() -> AccountName {
    "anna".parse().unwrap()
}

#[test]
fn what_was_answered_is_there_after_a_start() {
    let (_directory, store) = store();
    store.run(|context| async move {
        let mut anna = Sender {
            tallies: tallies(),
            shard: &context.shards[0],
            limits: limits(4, 3),
        };
        let [a, b, c, d] = ["a@x.example", "b@x.example", "c@x.example", "d@x.example"];
        anna.sends(&[a, b]).await.unwrap();
        // Refused: for its messages, for its recipients. Nothing is remembered of it.
        let refused = anna.sends(&[a, b, c]).await.unwrap_err();
        assert_eq!(refused.limit, Limit::Messages);
        let refused = anna.sends(&[c, d]).await.unwrap_err();
        assert_eq!((refused.limit, refused.wanted), (Limit::NewRecipients, 2));
        assert_eq!((anna.used().await, anna.rows().await), ((2, 2, 2), 3));
        anna.tallies = tallies();
        assert_eq!(anna.used().await, (2, 2, 2));
        let taken = anna.sends(&["B+2@X.example", c]).await.unwrap();
        assert_eq!(anna.used().await, (4, 3, 3));
        // It could not be stored: its messages are free again, its recipients are no new ones.
        let back = anna.tallies.give_back(anna.shard, self::anna(), taken);
        back.await.unwrap();
        anna.tallies = tallies();
        assert_eq!(anna.used().await, (2, 3, 3));
        anna.sends(&[b, c]).await.unwrap();
        assert!(anna.sends(&[a]).await.is_err());
    });
    store.close();
}

#[test]
fn many_at_once_get_what_there_is_and_no_more() {
    let (_directory, store) = store();
    store.run(|context| async move {
        let shard = context.shards[0].clone();
        let tallies = Rc::new(tallies());
        let results = Rc::new(RefCell::new(Vec::new()));
        // Two of each; so there are 20 new ones, and nobody is new twice.
        let limits = limits(30, 16);
        for at in 0..40 {
            let (tallies, shard, results) = (tallies.clone(), shard.clone(), results.clone());
            rt::spawn(&TEST, async move {
                let address = format!("r{}@x.example", at / 2);
                let wanted = Wanted::of(limits, [address].iter()).unwrap();
                let reserved = tallies.reserve(&shard, anna(), (limits, wanted)).await;
                results.borrow_mut().push(reserved.unwrap().is_ok());
            });
        }
        while results.borrow().len() < 40 {
            rt::sleep(Duration::from_millis(1)).await;
        }
        let sent = results.borrow().iter().filter(|is_sent| **is_sent).count();
        assert_eq!(sent, 30, "whoever comes first");
        let shown = tallies.show(&shard, anna(), limits).await.unwrap();
        assert_eq!((shown.messages, shown.new_recipients), (30, 15));
        assert_eq!(shown.remembered, 15);
    });
    store.close();
}

#[test]
fn who_is_not_written_to_for_long_is_forgotten_and_erased() {
    let (_directory, store) = store();
    store.run(|context| async move {
        let anna = Sender {
            tallies: tallies(),
            shard: &context.shards[0],
            limits: limits(0, 100),
        };
        let later = |days: i64| CLOCK.set(NOW + days * 24 * HOUR);
        anna.sends(&["a@x.example", "b@x.example", "c@x.example"])
            .await
            .unwrap();
        later(50);
        anna.sends(&["a@x.example"]).await.unwrap();
        assert_eq!(anna.used().await, (1, 0, 3));
        later(91);
        // New, though its row is there still.
        anna.sends(&["a@x.example", "b@x.example"]).await.unwrap();
        assert_eq!(anna.used().await, (2, 1, 3));
        anna.tallies.prune(anna.shard).await.unwrap();
        assert_eq!((anna.used().await, anna.rows().await), ((2, 1, 2), 3));
        later(181);
        anna.tallies.prune(anna.shard).await.unwrap();
        assert_eq!((anna.used().await, anna.rows().await), ((0, 0, 2), 3));
        later(182);
        anna.tallies.prune(anna.shard).await.unwrap();
        assert_eq!((anna.used().await, anna.rows().await), ((0, 0, 0), 0));
        anna.sends(&["a@x.example"]).await.unwrap();
        assert_eq!(anna.used().await, (1, 1, 1));
    });
    store.close();
}

#[test]
fn a_long_list_is_looked_up_and_erased_slice_by_slice() {
    let (_directory, store) = store();
    store.run(|context| async move {
        let anna = Sender {
            tallies: tallies(),
            shard: &context.shards[0],
            limits: limits(0, 2_000),
        };
        let all: Vec<String> = (0..1_300).map(|at| format!("r{at}@x.example")).collect();
        let all: Vec<&str> = all.iter().map(String::as_str).collect();
        anna.sends(&all[..700]).await.unwrap();
        anna.sends(&all).await.unwrap();
        assert_eq!(anna.used().await, (2_000, 1_300, 1_300));
        CLOCK.set(NOW + 100 * 24 * HOUR);
        // Another account of the shard, which keeps what it has.
        let ben: AccountName = "anna.b".parse().unwrap();
        let wanted = Wanted::of(anna.limits, all.iter().take(3)).unwrap();
        let reserved = anna.tallies.reserve(anna.shard, ben, (anna.limits, wanted));
        reserved.await.unwrap().unwrap();
        anna.tallies.prune(anna.shard).await.unwrap();
        assert_eq!((anna.used().await, anna.rows().await), ((0, 0, 0), 4));
    });
    store.close();
}

static TEST: rt::Room = rt::Room::new("test");

#[test]
fn counts_that_cant_be_read_hold_up_no_other_account() {
    let (_directory, store) = store();
    store.run(|context| async move {
        let anna = Sender {
            tallies: tallies(),
            shard: &context.shards[0],
            limits: limits(0, 100),
        };
        anna.sends(&["a@x.example"]).await.unwrap();
        let permit = anna
            .shard
            .permit(100, false, std::time::Duration::from_secs(30));
        let permit = permit.await.unwrap();
        let mut batch = shards::storage::Batch::default();
        let row = rows::sending_counts_key("aaron");
        batch.put(row.clone(), vec![0xff]);
        anna.shard.commit(permit, batch).await.unwrap();
        CLOCK.set(NOW + 182 * 24 * HOUR);
        anna.tallies.prune(anna.shard).await.unwrap();
        assert_eq!(anna.rows().await, 1);
        assert!(anna.shard.get(row).await.unwrap().is_some());
    });
    store.close();
}

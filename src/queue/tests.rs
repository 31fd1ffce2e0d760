//! The queue on real shards: what operators do while nobody works on a message, while somebody does, and between its commit and its
//! acceptance. Each closing checks what is stored.

mod returned;

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use shards::segments::BodyId;
use shards::storage::{Batch, Shard};

use super::events::{EventKind, OwedEvent};
use super::messages::LOOKS;
use super::retired::RetiredFilter;
use super::retry::{Schedule, Verdict, after, group};
use super::rows::{Attempt, Notice, Recipient, RecipientRow, State};
use super::*;
use crate::settings::Bounds;
use crate::store::StoreError;
use crate::store::tests::{Context, store};

thread_local! {
    static NOW: Cell<i64> = const { Cell::new(1_000) };
}

pub(crate) fn queue(context: &Context) -> Rc<Queue> {
    NOW.set(1_000);
    let queue = Queue::new(&context.shards, 1 << 20, || NOW.get());
    // No endpoint is told of anything.
    queue.hooks.know("anna", 0, webapi::hook::HookEvents::NONE);
    queue
}

pub(crate) fn row(addresses: &[&str]) -> MessageRow {
    MessageRow {
        size: 0,
        prefix_length: 0,
        account: "anna".into(),
        reverse_path: "anna@example.org".into(),
        message_id: String::new(),
        smtputf8: false,
        eight_bit: false,
        binary: false,
        accepted: NOW.get(),
        not_before: 0,
        expires: 100_000,
        require_tls: None,
        ret: None,
        envid: None,
        recipients: addresses.iter().map(|a| Recipient::new(*a)).collect(),
        held_for: None,
        unique_mail_from: None,
        extra: Default::default(),
        batch: None,
    }
}

/// Commits a message; it is not in line yet.
async fn coming(queue: &Rc<Queue>, shard: &Rc<Shard>, addresses: &[&str]) -> Rc<Message> {
    coming_as(queue, shard, row(addresses)).await
}

async fn coming_as(queue: &Rc<Queue>, shard: &Rc<Shard>, mut row: MessageRow) -> Rc<Message> {
    let mut batch = Batch::default();
    let content = NewContent {
        bytes: Arc::new(b"hello\r\n".to_vec()),
        external: None,
    };
    let id = next_id(shard, row.recipients.len());
    plan(&mut batch, id, &mut row, b"X: y\r\n".to_vec(), &content);
    let message = queue.coming(shard, &mut batch, id, row);
    let permit = shard.permit(1_000, true, std::time::Duration::from_secs(10));
    shard.commit(permit.await.unwrap(), batch).await.unwrap();
    message
}

async fn accept(queue: &Rc<Queue>, shard: &Rc<Shard>, addresses: &[&str]) -> BodyId {
    let message = coming(queue, shard, addresses).await;
    let body = message.body;
    queue.accepted(message, octets());
    body
}

fn octets() -> Content {
    Content {
        bytes: Arc::new(b"X: y\r\nhello\r\n".to_vec()),
        external: None,
        files: None,
    }
}

async fn operate(queue: &Rc<Queue>, shard: &Rc<Shard>, filter: Filter, deed: Deed) -> u64 {
    let (filter, deed) = (Rc::new(filter), Rc::new(deed));
    let done = queue.operate(shard, &filter, &deed, None).await.unwrap();
    assert_eq!(done.next, None);
    done.changed
}

#[test]
fn how_a_recipient_ended_is_noted_though_nobody_is_told() {
    let before = RecipientRow::fresh(&row(&["a@one.example"]));
    let end = |row: &RecipientRow| row.ended.map(|end| (end.kind, end.at));
    let mut failed = RecipientRow {
        state: State::Failed,
        ..before.clone()
    };
    events::owe(&before, &mut failed, 5, |_, _| false);
    assert_eq!(end(&failed), Some((EventKind::Failed, 5)));
    // By hand, during the attempt that delivered it.
    let mut relayed = RecipientRow {
        state: State::Delivered,
        attempts: 1,
        ..failed.clone()
    };
    let owed = OwedEvent::new(EventKind::Relayed, &relayed, 6);
    relayed.events.push(owed);
    events::owe(&failed, &mut relayed, 7, |_, _| false);
    assert_eq!(end(&relayed), Some((EventKind::Relayed, 6)));
    assert!(relayed.events.is_empty());
}

/// Adds a message of an account, whose recipient is given up by hand.
pub(crate) async fn failed(queue: &Rc<Queue>, shard: &Rc<Shard>, account: &str) {
    let account = account.to_owned();
    let row = MessageRow {
        account: account.clone(),
        ..row(&["a@one.example"])
    };
    let message = coming_as(queue, shard, row).await;
    queue.accepted(message, octets());
    let filter = Filter {
        account: Some(account),
        ..Filter::default()
    };
    let fail = Deed::Fail { why: String::new() };
    assert_eq!(operate(queue, shard, filter, fail).await, 1);
}

/// What came of an attempt for all recipients of a work, as `outbound` records it.
async fn record(work: Work, verdict: Verdict) {
    let schedule = Schedule {
        // Without jitter.
        waits: vec![1],
        delay_notice: 14_400,
    };
    let indexes = work.recipients.clone();
    let recorded = work.record(|message| {
        let outcome = |index: &u32| {
            let attempt = Attempt {
                at: NOW.get(),
                took_ms: 1,
                remote: "mx".into(),
                code: 451,
                enhanced: None,
                text: "later".into(),
                stage: None,
            };
            let parts = (&schedule, 7, NOW.get());
            let row = message.recipient(*index);
            let row = after(&message.row, *index, row, attempt, verdict, parts);
            (*index, row)
        };
        let mut rows: Vec<_> = indexes.iter().map(outcome).collect();
        group(&message.row, |index| message.recipient(index), &mut rows);
        rows
    });
    recorded.await.unwrap();
}

async fn stored(shard: &Rc<Shard>) -> Vec<(State, i64)> {
    let page = select(None, shard, &Filter::default(), None, Most::entries(1_000))
        .await
        .unwrap();
    let all = page.found.iter().flat_map(|(stored, indexes)| {
        indexes.iter().map(|index| {
            let row = stored.recipient(*index);
            (row.state, row.next)
        })
    });
    all.collect()
}

fn hold() -> Deed {
    Deed::Hold { why: String::new() }
}

fn fail() -> Deed {
    Deed::Fail { why: String::new() }
}

#[test]
fn a_report_goes_out_once_about_all_that_it_is_about() {
    let (_directory, store) = store();
    store.run(|context| async move {
        let (queue, shard) = (queue(&context), &context.shards[0]);
        let told = |message: &Message| {
            let reports = message.owing().into_values();
            let indexes =
                reports.map(|(_, about)| about.into_iter().map(|(index, _)| index).collect());
            indexes.collect::<Vec<Vec<u32>>>()
        };
        // One of those who are given up is under way; that comes to nothing, and nobody records it.
        accept(&queue, shard, &["a@one.example", "b@two.example"]).await;
        let work = queue.take_line("one.example", 10).await.unwrap();
        let message = work.message.clone();
        assert_eq!(operate(&queue, shard, Filter::default(), fail()).await, 2);
        let telling = queue.take_owing(10, |_| 0).unwrap();
        assert!(told(&message).is_empty());
        drop(telling);
        drop(work);
        assert_eq!(told(&message), [[0, 1]]);
        let telling = queue.take_owing(10, |_| 0).unwrap();
        assert!(Rc::ptr_eq(&telling.message().await.unwrap(), &message));
        drop(telling);
        // Who is refused after somebody was given up by hand has a report of his own: that one's may be on its way.
        accept(&queue, shard, &["c@three.example", "d@three.example"]).await;
        let work = queue.take_line("three.example", 10).await.unwrap();
        let message = work.message.clone();
        let c = Filter {
            to: Some("c@".into()),
            ..Filter::default()
        };
        assert_eq!(operate(&queue, shard, c, fail()).await, 1);
        record(work, Verdict::Permanent).await;
        assert_eq!(told(&message), [[0], [1]]);
    });
    store.close();
}

#[test]
fn what_is_done_during_an_attempt_is_kept_by_its_outcome() {
    let (_directory, store) = store();
    for (deed, verdict, expected) in [
        (hold(), Verdict::Temporary, Some((State::Held, 1_001))),
        (hold(), Verdict::Permanent, Some((State::Failed, 1_000))),
        (hold(), Verdict::Delivered, None),
        (
            Deed::Kick {},
            Verdict::Temporary,
            Some((State::Waiting, 1_100)),
        ),
        (
            Deed::Schedule { at: 9_000 },
            Verdict::Temporary,
            Some((State::Waiting, 9_000)),
        ),
        (Deed::Schedule { at: 9_000 }, Verdict::Delivered, None),
        (Deed::Drop {}, Verdict::Temporary, None),
        (Deed::Drop {}, Verdict::Permanent, None),
        (Deed::Drop {}, Verdict::Delivered, None),
        (fail(), Verdict::Temporary, Some((State::Failed, 1_000))),
        (fail(), Verdict::Delivered, None),
    ] {
        store.run(move |context| async move {
            let (queue, shard) = (queue(&context), &context.shards[0]);
            let body = accept(&queue, shard, &["a@one.example"]).await;
            let work = queue.take_line("one.example", 10).await.unwrap();
            NOW.set(1_100);
            let what = format!("{deed:?} {verdict:?}");
            assert_eq!(operate(&queue, shard, Filter::default(), deed).await, 1);
            // What it reads is there until it is over, and nobody is told of what may turn out otherwise.
            let message = work.message.clone();
            assert!(message.content().await.is_ok(), "{what}");
            assert_eq!(stored(shard).await.len(), 1, "{what}");
            assert!(message.owing().is_empty(), "{what}");
            NOW.set(1_000);
            record(work, verdict).await;
            let left: Vec<_> = expected.into_iter().collect();
            assert_eq!(stored(shard).await, left, "{what}");
            let owing = message.owing();
            let owed = owing.into_values().next().map(|(owed, _)| owed);
            let is_failed = expected.is_some_and(|(state, _)| state == State::Failed);
            assert_eq!(
                owed.is_some_and(|o| o.notice == Notice::Failed),
                is_failed,
                "{what}"
            );
            let is_held = usize::from(expected.is_some_and(|(state, _)| state == State::Held));
            assert_eq!(queue.held(), is_held, "{what}");
            let waits = expected.filter(|(state, _)| !state.is_over());
            assert_eq!(queue.count(), usize::from(waits.is_some()), "{what}");
            // In line for its new time.
            if let Some((State::Waiting, next)) = expected {
                NOW.set(next - 1);
                queue.advance();
                assert!(queue.take_line("one.example", 1).await.is_none(), "{what}");
                NOW.set(next);
                queue.advance();
                let work = queue.take_line("one.example", 1).await.unwrap();
                drop(work);
            }
            // For the next round.
            let paid = |message: &Message| {
                let mut row = message.recipient(0);
                row.owes = None;
                row.state = State::Dropped;
                vec![(0, row)]
            };
            let message = queue.message(shard.id().0, body).await.unwrap();
            if let Some(message) = message {
                queue.change(&message, paid).await.unwrap();
            }
            assert!(stored(shard).await.is_empty(), "{what}");
        });
    }
    store.close();
}

#[test]
fn an_operator_may_be_faster_than_the_acceptance() {
    let (_directory, store) = store();
    store.run(|context| async move {
        let (queue, shard) = (queue(&context), &context.shards[0]);
        let content = || Content {
            bytes: Arc::new(Vec::new()),
            external: None,
            files: None,
        };
        let message = coming(&queue, shard, &["a@one.example"]).await;
        assert_eq!(
            operate(&queue, shard, Filter::default(), Deed::Drop {}).await,
            1
        );
        queue.accepted(message, content());
        assert_eq!(queue.count(), 0);
        assert!(queue.take_line("one.example", 1).await.is_none());
        assert!(stored(shard).await.is_empty());

        let message = coming(&queue, shard, &["a@one.example", "b@one.example"]).await;
        let filter = Filter {
            to: Some("a@".into()),
            ..Filter::default()
        };
        assert_eq!(operate(&queue, shard, filter.clone(), hold()).await, 1);
        queue.accepted(message, content());
        assert_eq!((queue.count(), queue.held()), (2, 1));
        let work = queue.take_line("one.example", 10).await.unwrap();
        assert_eq!(work.recipients, [1]);
        assert!(queue.take_line("one.example", 10).await.is_none());
        drop(work);
        assert_eq!(operate(&queue, shard, filter, Deed::Release {}).await, 1);
        queue.advance();
        let work = queue.take_line("one.example", 10).await.unwrap();
        assert_eq!(work.recipients, [0]);
        record(work, Verdict::Delivered).await;
        assert_eq!((queue.count(), queue.held()), (1, 0));
        assert_eq!(
            operate(&queue, shard, Filter::default(), Deed::Drop {}).await,
            1
        );
        assert_eq!(queue.count(), 0);
    });
    store.close();
}

#[test]
fn who_is_held_is_not_sent_when_his_time_is_over() {
    let (_directory, store) = store();
    store.run(|context| async move {
        let (queue, shard) = (queue(&context), &context.shards[0]);
        accept(&queue, shard, &["a@one.example", "b@one.example"]).await;
        let filter = Filter {
            to: Some("a@".into()),
            ..Filter::default()
        };
        operate(&queue, shard, filter, hold()).await;
        operate(
            &queue,
            shard,
            Filter::default(),
            Deed::Schedule { at: 1 << 40 },
        )
        .await;
        NOW.set(100_000);
        queue.advance();
        let mut work = queue.take_line("one.example", 10).await.unwrap();
        assert_eq!(work.recipients, [0, 1]);
        let held = work.take_held().unwrap();
        assert_eq!(
            (held.recipients.as_slice(), work.recipients.as_slice()),
            (&[0][..], &[1][..])
        );
        assert!(work.take_held().is_none());
        record(work, Verdict::Delivered).await;
        record(held, Verdict::Temporary).await;
        assert_eq!(stored(shard).await[0].0, State::Failed);
        operate(&queue, shard, Filter::default(), Deed::Drop {}).await;
    });
    // What is left is one who is owed a report.
    store.close();
}

#[test]
fn a_stop_between_drop_and_removal_leaves_nothing() {
    let (_directory, store) = store();
    store.run(|context| async move {
        let (queue, shard) = (queue(&context), &context.shards[0]);
        accept(&queue, shard, &["a@one.example"]).await;
        let work = queue.take_line("one.example", 10).await.unwrap();
        operate(&queue, shard, Filter::default(), Deed::Drop {}).await;
        // As a kill would: nothing is recorded, and a new queue begins.
        std::mem::forget(work);
    });
    store.run(|context| async move {
        let (queue, shard) = (queue(&context), &context.shards[0]);
        assert_eq!(stored(shard).await, [(State::Dropped, 1_000)]);
        resume(&queue, shard).await.unwrap();
        queue.advance();
        assert!(queue.take_line("one.example", 1).await.is_none());
        assert!(stored(shard).await.is_empty());
        assert_eq!(queue.count(), 0);
    });
    store.close();
}

#[test]
fn what_was_changed_stands_where_it_should_and_the_counts_are_right() {
    let (_directory, store) = store();
    store.run(|context| async move {
        let (queue, shard) = (queue(&context), &context.shards[0]);
        for number in 0..40 {
            let address = format!("r{number}@d{}.example", number % 4);
            accept(&queue, shard, &[&address, "x@x.example"]).await;
        }
        let domain = |domain: &str| Filter {
            domain: Some(domain.into()),
            ..Filter::default()
        };
        assert_eq!(
            operate(&queue, shard, domain("x.example"), hold()).await,
            40
        );
        assert_eq!(
            operate(&queue, shard, domain("d0.example"), Deed::Drop {}).await,
            10
        );
        let later = Deed::PutOff { by: 500 };
        assert_eq!(
            operate(&queue, shard, domain("d1.example"), later).await,
            10
        );
        assert_eq!((queue.count(), queue.held()), (70, 40));
        // The lines of these have entries still, of which none is right.
        for domain in ["x.example", "d0.example", "d1.example"] {
            assert!(queue.take_line(domain, 1).await.is_none(), "{domain}");
        }
        assert_eq!((queue.count(), queue.held()), (70, 40));
        NOW.set(1_500);
        queue.advance();
        let mut taken = 0;
        while let Some(work) = queue.take_line("d1.example", 1).await {
            record(work, Verdict::Delivered).await;
            taken += 1;
        }
        assert_eq!(taken, 10);
        assert_eq!(
            operate(&queue, shard, Filter::default(), Deed::Drop {}).await,
            60
        );
        assert_eq!((queue.count(), queue.held()), (0, 0));
        assert!(stored(shard).await.is_empty());
    });
    store.close();
}

#[test]
fn pages_of_a_selection_tell_each_recipient_once() {
    let (_directory, store) = store();
    store.run(|context| async move {
        let (queue, shard) = (queue(&context), &context.shards[0]);
        let mut ids = Vec::new();
        for _ in 0..30 {
            let message = coming(
                &queue,
                shard,
                &["a@a.example", "b@b.example", "c@a.example"],
            );
            let message = message.await;
            ids.extend((0..3).map(|index| message.id(index)));
        }
        let pages = async |filter: Filter, most: usize, octets: usize| {
            let (mut found, mut after) = (Vec::new(), None);
            loop {
                let bounds = Most {
                    entries: most,
                    octets,
                };
                let page = select(None, shard, &filter, after, bounds).await.unwrap();
                let of_page = page.found.iter().flat_map(|(stored, indexes)| {
                    let id = |index: &u32| stored.id(shard.id().0, *index).unwrap().get();
                    indexes.iter().map(id)
                });
                let of_page: Vec<u64> = of_page.collect();
                assert!(of_page.len() <= most);
                found.extend(of_page);
                match page.next {
                    Some(next) => {
                        assert!(after.is_none_or(|after| next > after));
                        after = Some(next);
                    }
                    None => return found,
                }
            }
        };
        let domain = Filter {
            domain: Some("a.example".into()),
            ..Filter::default()
        };
        let of_domain: Vec<u64> = (0..90).filter(|n| n % 3 != 1).map(|n| ids[n]).collect();
        for most in [1, 2, 3, 4, 7, 20, 100] {
            let octets = usize::MAX;
            assert_eq!(pages(Filter::default(), most, octets).await, ids, "{most}");
            assert_eq!(
                pages(domain.clone(), most, octets).await,
                of_domain,
                "{most}"
            );
            let some = Filter {
                ids: vec![
                    ids[7],
                    ids[0],
                    ids[2],
                    ids[14],
                    ids[7],
                    ids[89] + 1,
                    1 << 50,
                ],
                ..Filter::default()
            };
            let expected = [ids[0], ids[2], ids[7], ids[14]];
            assert_eq!(pages(some.clone(), most, octets).await, expected, "{most}");
            let both = Filter {
                domain: Some("b.example".into()),
                ..some
            };
            assert_eq!(pages(both, most, octets).await, [ids[7]], "{most}");
        }
        // Three come to more than 1,200 octets.
        for octets in [1, 1_200, 10_000] {
            let filter = Filter::default();
            let most = if octets == 1 { 1 } else { octets / 400 };
            assert_eq!(pages(filter, 1_000, octets).await, ids, "{octets}");
            let bounds = Most {
                entries: 1_000,
                octets,
            };
            let page = select(None, shard, &domain, None, bounds).await.unwrap();
            let found: usize = page.found.iter().map(|(_, indexes)| indexes.len()).sum();
            assert!(found <= most && page.next.is_some(), "{octets}: {found}");
        }
    });
    store.close();
}

#[test]
fn recipients_named_by_number_are_each_as_they_are() {
    let (_directory, store) = store();
    store.run(|context| async move {
        let (queue, shard) = (queue(&context), &context.shards[0]);
        accept(
            &queue,
            shard,
            &["a@one.example", "b@one.example", "c@one.example"],
        )
        .await;
        let of_b = Filter {
            to: Some("b@one".into()),
            ..Filter::default()
        };
        let deed = Deed::Hold { why: String::new() };
        operate(&queue, shard, of_b, deed).await;
        let all = select(None, shard, &Filter::default(), None, Most::entries(10))
            .await
            .unwrap();
        let stored = &all.found[0].0;
        let id = |index| stored.id(shard.id().0, index).unwrap().get();
        let named = Filter {
            ids: vec![id(0), id(1)],
            ..Filter::default()
        };
        let page = select(None, shard, &named, None, Most::entries(10))
            .await
            .unwrap();
        let [(found, indexes)] = page.found.as_slice() else {
            panic!("it is one message");
        };
        assert_eq!(indexes, &[0, 1]);
        let states = indexes.iter().map(|index| found.recipient(*index).state);
        assert_eq!(states.collect::<Vec<_>>(), [State::Waiting, State::Held]);
    });
    store.close();
}

#[test]
fn an_account_finds_its_own_and_has_a_share() {
    let (_directory, store) = store();
    store.run(|context| async move {
        let shard = &context.shards[0];
        let queue = queue(&context);
        let anna = |most: usize| Bounds {
            all: 1_000,
            of_account: most,
            octets_of_account: u64::MAX,
        };
        let mut own = Vec::new();
        for n in 0..20 {
            let mut row = row(&["a@a.example", "b@b.example"]);
            row.account = if n % 4 == 1 { "ben" } else { "anna" }.into();
            let message = coming_as(&queue, shard, row).await;
            if n % 4 == 1 {
                own.extend((0..2).map(|index| message.id(index)));
            }
            queue.accepted(message, octets());
        }
        let of_ben = Filter {
            account: Some("ben".into()),
            state: Some(State::Waiting),
            ..Filter::default()
        };
        let pages = async |queue: Option<&Queue>, most: usize| {
            let (mut found, mut after, mut looked_at) = (Vec::new(), None, 0);
            loop {
                let page = select(queue, shard, &of_ben, after, Most::entries(most))
                    .await
                    .unwrap();
                for (stored, indexes) in &page.found {
                    let id = |index: &u32| stored.id(shard.id().0, *index).unwrap().get();
                    found.extend(indexes.iter().map(id));
                }
                looked_at += page.looked_at;
                match page.next {
                    Some(next) => after = Some(next),
                    None => return (found, looked_at),
                }
            }
        };
        for most in [1, 2, 3, 5, 100] {
            for queue in [None, Some(&*queue)] {
                assert_eq!(pages(queue, most).await, (own.clone(), 10), "{most}");
            }
        }
        let room = |queue: &Queue, account: &str, most| queue.has_room(account, (1, 1), anna(most));
        assert!(room(&queue, "ben", 11).is_ok() && room(&queue, "ben", 10).is_err());
        // Nor does it fill the disk; one that has nothing there may have a large one.
        let few = Bounds {
            octets_of_account: 3,
            ..anna(100)
        };
        let large = |account: &str| queue.has_room(account, (1, 9), few);
        assert!(large("ben").is_err() && large("carl").is_ok() && large("").is_ok());
        // One that comes takes room, until it is not accepted after all.
        let more = MessageRow {
            account: "ben".into(),
            ..row(&["x@x.example", "y@x.example"])
        };
        let mut writes = Batch::default();
        let message = queue.coming(shard, &mut writes, next_id(shard, 2), more);
        assert!(room(&queue, "ben", 13).is_ok() && room(&queue, "ben", 12).is_err());
        assert!(room(&queue, "anna", 31).is_ok() && room(&queue, "anna", 30).is_err());
        drop(message);
        assert!(room(&queue, "ben", 11).is_ok() && room(&queue, "ben", 10).is_err());
        assert!(room(&queue, "anna", 31).is_ok() && room(&queue, "anna", 30).is_err());
        assert!(room(&queue, "", 0).is_ok() && room(&queue, "carl", 1).is_ok());
        // Each that is over makes room, and a message goes with its last one.
        let one = Filter {
            ids: vec![own[1]],
            ..Filter::default()
        };
        assert_eq!(operate(&queue, shard, one, Deed::Drop {}).await, 1);
        assert!(room(&queue, "ben", 10).is_ok() && room(&queue, "ben", 9).is_err());
        let domain = Filter {
            domain: Some("a.example".into()),
            ..of_ben.clone()
        };
        assert_eq!(operate(&queue, shard, domain, Deed::Drop {}).await, 5);
        let left: Vec<u64> = own[2..].iter().copied().skip(1).step_by(2).collect();
        for queue in [None, Some(&*queue)] {
            assert_eq!(pages(queue, 3).await.0, left);
        }
        assert!(room(&queue, "ben", 5).is_ok() && room(&queue, "ben", 4).is_err());
        // The same after a start, and while it goes on nobody else's are told.
        let again = Queue::new(&context.shards, 1 << 20, || NOW.get());
        let resuming = again.resuming();
        assert_eq!(pages(Some(&again), 3).await.0, left);
        drop(resuming);
        resume(&again, shard).await.unwrap();
        assert_eq!(pages(Some(&again), 3).await, (left, 8));
        assert!(room(&again, "ben", 5).is_ok() && room(&again, "ben", 4).is_err());
    });
    store.close();
}

#[test]
fn a_rule_holds_new_mail_in_the_batch_that_accepts_it() {
    let (_directory, store) = store();
    store.run(|context| async move {
        let (queue, shard) = (queue(&context), &context.shards[0]);
        let mut rules = HoldRules::default();
        let rule = HoldRule {
            recipient_domain: "one.example".into(),
            ..HoldRule::default()
        };
        rules.add(rule);
        rules.write(shard).await.unwrap();
        assert_eq!(HoldRules::read(shard).await.unwrap(), rules);
        // Another shard has none.
        let other = HoldRules::read(&context.shards[1]).await.unwrap();
        assert!(other.all().is_empty());
        // What is on its way to the disk when rules change is found once they are in force.
        let before = coming(&queue, shard, &["b@one.example"]);
        let rules_change = async {
            queue.use_hold_rules(rules.clone());
            queue.settled().await;
        };
        let (message, ()) = futures_lite::future::zip(before, rules_change).await;
        assert_eq!(stored(shard).await, [(State::Waiting, 1_000)]);
        drop(message);
        let message = coming(&queue, shard, &["a@one.example", "a@two.example"]).await;
        // As a kill before the acceptance would leave it.
        assert_eq!(stored(shard).await[1], (State::Held, 1_000));
        let content = Content {
            bytes: Arc::new(Vec::new()),
            external: None,
            files: None,
        };
        queue.accepted(message, content);
        assert_eq!((queue.count(), queue.held()), (2, 1));
        assert!(queue.take_line("one.example", 1).await.is_none());
        let work = queue.take_line("two.example", 1).await.unwrap();
        record(work, Verdict::Delivered).await;
        let by_rule = Filter {
            rule: Some(1),
            ..Filter::default()
        };
        let released = operate(&queue, shard, by_rule, Deed::Release {}).await;
        assert_eq!((released, queue.held()), (1, 0));
        operate(&queue, shard, Filter::default(), Deed::Drop {}).await;
        assert!(stored(shard).await.is_empty());
    });
    store.close();
}

/// What a server says of all recipients of a work.
async fn answered(work: Work, verdict: Verdict, code: u16) {
    let schedule = Schedule {
        waits: vec![1],
        delay_notice: 14_400,
    };
    let indexes = work.recipients.clone();
    let recorded = work.record(|message| {
        let outcome = |index: &u32| {
            let attempt = Attempt {
                at: NOW.get(),
                took_ms: 1,
                remote: "mx".into(),
                code,
                enhanced: None,
                text: "so it is".into(),
                stage: None,
            };
            let parts = (&schedule, 7, NOW.get());
            let row = message.recipient(*index);
            (
                *index,
                after(&message.row, *index, row, attempt, verdict, parts),
            )
        };
        indexes.iter().map(outcome).collect()
    });
    recorded.await.unwrap();
}

/// The right to write what may make hooks; nobody else has it here.
fn all_taken(
    (done, taken): (events::Consequences, Result<(), StoreError>),
) -> events::Consequences {
    taken.unwrap();
    done
}

async fn turn(account: &str) -> hooks::HooksTurn {
    hooks::Hooks::default().turn(account).await
}

const INTERESTED: events::Interest = events::Interest {
    suppresses: true,
    keeps_retired_secs: 0,
    keeps_webhooks_secs: 0,
    pending_webhooks_max: 1000,
    pending_webhook_octets_max: 1 << 30,
};

/// The events of a message to an address that ended so; the account's list has what is said.
async fn told(
    queue: &Rc<Queue>,
    shard: &Rc<Shard>,
    address: &str,
    (verdict, code): (Verdict, u16),
) -> Vec<events::Event> {
    accept(queue, shard, &[address]).await;
    let (_, domain) = address.rsplit_once('@').unwrap();
    let work = queue.take_line(domain, 10).await.unwrap();
    let message = work.message.clone();
    answered(work, verdict, code).await;
    let owed = message.events(100).into_iter();
    owed.map(|(index, row, owed)| {
        events::Event::of(&message.row, index, message.id(index), &row, owed)
    })
    .collect()
}

#[test]
fn an_event_is_owed_if_somebody_wants_it_and_holds_its_message() {
    let (_directory, store) = store();
    store.run(|context| async move {
        let (queue, shard) = (queue(&context), &context.shards[0]);
        let refused = (Verdict::Permanent, 550);
        // Of an account that is not there nothing is owed.
        assert_eq!(told(&queue, shard, "a@a.example", refused).await, []);
        queue.use_interests(|account| (account == "anna").then_some(INTERESTED));
        // What is known of a list says that a success matters to nobody; a failure for now never does.
        let empty = async { Ok::<_, StoreError>(Vec::new()) };
        queue.lists.load("anna", NOW.get(), empty).await.unwrap();
        let taken = (Verdict::Delivered, 250);
        assert_eq!(told(&queue, shard, "b@b.example", taken).await, []);
        let later = (Verdict::Temporary, 451);
        assert_eq!(told(&queue, shard, "c@c.example", later).await, []);
        operate(&queue, shard, Filter::default(), Deed::Drop {}).await;

        accept(&queue, shard, &["d@d.example"]).await;
        let work = queue.take_line("d.example", 10).await.unwrap();
        let message = work.message.clone();
        answered(work, Verdict::Permanent, 550).await;
        let owed = message.events(100);
        assert_eq!(owed.len(), 1);
        let (index, row, event) = &owed[0];
        let event = events::Event::of(&message.row, *index, message.id(0), row, *event);
        assert_eq!(event.id.kind, events::EventKind::Failed);
        assert_eq!((event.id.attempt, event.code), (1, 550));
        assert_eq!(event.recipient, "d@d.example");
        // Its sender was told; the message stays until the event is crossed out.
        let paid = |message: &Message| {
            let mut row = message.recipient(0);
            row.owes = None;
            vec![(0, row)]
        };
        queue.change(&message, paid).await.unwrap();
        let failed = [(State::Failed, 1_000)];
        assert_eq!(stored(shard).await.last(), failed.last());
        // The start finds it.
        drop(message);
        let queue = self::queue(&context);
        resume(&queue, shard).await.unwrap();
        let message = loop {
            let message = owing(&queue).await.unwrap();
            if message.owes_events() {
                break message;
            }
        };
        let paid = |message: &Message| {
            let mut row = message.recipient(0);
            row.events.clear();
            vec![(0, row)]
        };
        queue.change(&message, paid).await.unwrap();
        let body = message.body;
        drop(message);
        let found = queue.message(shard.id().0, body).await.unwrap();
        assert!(found.is_none());
    });
    store.close();
}

#[test]
fn a_failure_by_hand_that_came_too_late_is_no_event() {
    let (_directory, store) = store();
    store.run(|context| async move {
        let (queue, shard) = (queue(&context), &context.shards[0]);
        // The list is not known: all successes are told.
        queue.use_interests(|_| Some(INTERESTED));
        for deed in [fail(), Deed::Drop {}] {
            accept(&queue, shard, &["a@one.example"]).await;
            let work = queue.take_line("one.example", 10).await.unwrap();
            let message = work.message.clone();
            operate(&queue, shard, Filter::default(), deed).await;
            assert!(message.events(100).is_empty());
            answered(work, Verdict::Delivered, 250).await;
            let kinds = message.events(100).into_iter().map(|(.., owed)| owed.kind);
            assert_eq!(kinds.collect::<Vec<_>>(), [events::EventKind::Delivered]);
            let paid = |message: &Message| {
                let mut row = message.recipient(0);
                row.events.clear();
                vec![(0, row)]
            };
            queue.change(&message, paid).await.unwrap();
        }
    });
    store.close();
}

#[test]
fn events_with_much_to_say_are_taken_in_several_commits() {
    let (_directory, store) = store();
    store.run(|context| async move {
        let shard = &context.shards[0];
        let interest = events::Interest {
            pending_webhooks_max: 1_000,
            pending_webhook_octets_max: 1 << 30,
            ..events::Interest::default()
        };
        let spec = hooks::EndpointSpec {
            url: "https://a.example/hook".into(),
            authorization: None,
            events: webapi::hook::HookEvents::FIRST,
            concurrency: 1,
        };
        let turn = turn("anna").await;
        for _ in 0..3 {
            let made = hooks::put(shard, &turn, (None, &spec), vec![7; 32], 1_000).await;
            assert!(made.unwrap().0.is_some());
        }
        let event = |id| {
            let mut event = returned::sent();
            event.id.id = id;
            event.extra.insert("x".into(), "y".repeat(20_000));
            event
        };
        let told = events::Told {
            events: (1..=100).map(event).collect(),
            over: Vec::new(),
        };
        let before = shard.status();
        let (done, taken) = events::take(shard, &turn, interest, &told, 1_000).await;
        taken.unwrap();
        assert_eq!(done.hooked.len(), 3);
        let (batches, bytes) = {
            let now = shard.status();
            (now.batches - before.batches, now.bytes - before.bytes)
        };
        assert_eq!(batches, 2);
        // Each is stored once.
        assert!(bytes < 100 * 30_000, "{bytes}");
        let (all, dropped, _) = hooks::endpoints(shard, "anna").await.unwrap();
        assert_eq!((all[2].1, dropped), (100, 0));
        let (done, taken) = events::take(shard, &turn, interest, &told, 1_000).await;
        taken.unwrap();
        assert_eq!(done, events::Consequences::default());
    });
    store.close();
}

/// What the list of anna says of an address: whether it is suppressed, and how many failures count.
async fn listed(shard: &Rc<Shard>, address: &str) -> (bool, usize) {
    let row = suppression::find(shard, "anna", address).await.unwrap();
    let row = row.unwrap_or_default();
    (row.in_force(NOW.get()).is_some(), row.failures.len())
}

#[test]
fn events_are_taken_once_and_make_the_list() {
    let (_directory, store) = store();
    store.run(|context| async move {
        let (queue, shard) = (queue(&context), &context.shards[0]);
        queue.use_interests(|_| Some(INTERESTED));
        let take = async |events: Vec<events::Event>, over: Vec<events::EventId>| {
            let told = events::Told { events, over };
            let turn = turn("anna").await;
            let taken = events::take(shard, &turn, INTERESTED, &told, NOW.get());
            all_taken(taken.await).listed.len()
        };
        // At once.
        let refused = told(&queue, shard, "Gone+x@a.example", (Verdict::Permanent, 550)).await;
        assert_eq!(take(refused.clone(), Vec::new()).await, 1);
        assert_eq!(listed(shard, "gone@A.example").await, (true, 0));
        let row = suppression::find(shard, "anna", "gone@a.example").await;
        let reason = row.unwrap().unwrap().suppressed.unwrap().reason;
        assert!(reason.ends_with(": 550 so it is"), "{reason}");
        // Somebody removes it, and then the event comes again, also beside itself: nothing is made of it.
        let turn = self::turn("anna").await;
        suppression::change(shard, &turn, "gone@a.example", (None, false), NOW.get())
            .await
            .unwrap();
        drop(turn);
        let twice = [refused.clone(), refused.clone()].concat();
        assert_eq!(take(twice, Vec::new()).await, 0);
        assert_eq!(listed(shard, "gone@a.example").await, (false, 0));

        // After three, one after the other; repeated events count once, and a delivery begins anew.
        let failing = "full@b.example";
        let failed = async || told(&queue, shard, failing, (Verdict::Permanent, 554)).await;
        let first = failed().await;
        take(first.clone(), Vec::new()).await;
        take(first, Vec::new()).await;
        take(failed().await, Vec::new()).await;
        assert_eq!(listed(shard, failing).await, (false, 2));
        let delivered = told(&queue, shard, failing, (Verdict::Delivered, 250)).await;
        assert_eq!(take(delivered, Vec::new()).await, 1);
        assert_eq!(listed(shard, failing).await, (false, 0));
        let mut three = Vec::new();
        for _ in 0..3 {
            three.extend(failed().await);
        }
        take(three.clone(), Vec::new()).await;
        assert_eq!(listed(shard, failing).await, (true, 0));
        assert_eq!(suppression::hashes(shard, "anna").await.unwrap().len(), 1);

        // Numbers are forgotten once they are crossed out, or when they are old.
        let count = async || {
            let prefix = crate::store::rows::EVENTS.to_vec();
            shard.scan(prefix.clone(), prefix, 100).await.unwrap().len()
        };
        assert_eq!(count().await, 7);
        let over = three.iter().map(|event| event.id).collect();
        take(Vec::new(), over).await;
        assert_eq!(count().await, 4);
        assert_eq!(events::prune(shard, NOW.get()).await.unwrap(), 0);
        assert_eq!(events::prune(shard, NOW.get() + 1).await.unwrap(), 4);
        assert_eq!(count().await, 0);
    });
    store.close();
}

#[test]
fn a_suppression_that_has_expired_is_none_and_goes() {
    let (_directory, store) = store();
    store.run(|context| async move {
        let shard = &context.shards[0];
        let by_hand = |expires| suppression::Suppressed {
            reason: "by hand".into(),
            manual: true,
            created: 1_000,
            expires,
        };
        let turn = turn("anna").await;
        for (address, expires) in [("a@a.example", Some(2_000)), ("b@a.example", None)] {
            let to = Some(by_hand(expires));
            let added =
                suppression::change(shard, &turn, address, (to.clone(), false), 1_000).await;
            assert!(!added.unwrap().0);
            let again = suppression::change(shard, &turn, address, (to, false), 1_000).await;
            assert_eq!(again.unwrap(), (true, Vec::new()));
        }
        let both = suppression::page(shard, Some("anna"), None, 10)
            .await
            .unwrap();
        assert_eq!(both.len(), 2);
        assert_eq!(both[0].1, "anna");
        let second = suppression::page(shard, None, Some(both[0].0.clone()), 10).await;
        assert_eq!(second.unwrap().len(), 1);
        assert_eq!(
            suppression::page(shard, Some("an"), None, 10)
                .await
                .unwrap(),
            []
        );
        assert_eq!(
            suppression::prune(shard, &hooks::Hooks::default(), 1_999)
                .await
                .unwrap(),
            0
        );
        assert!(both[0].2.in_force(1_999).is_some() && both[0].2.in_force(2_000).is_none());
        assert_eq!(
            suppression::prune(shard, &hooks::Hooks::default(), 2_000)
                .await
                .unwrap(),
            1
        );
        assert_eq!(suppression::hashes(shard, "anna").await.unwrap().len(), 1);
    });
    store.close();
}

#[test]
fn what_is_told_of_lines_that_nobody_stands_in_is_forgotten() {
    let (_directory, store) = store();
    store.run(|context| async move {
        let queue = queue(&context);
        accept(&queue, &context.shards[0], &["a@one.example"]).await;
        for name in ["one.example", "two.example", "three.example"] {
            queue.set_reason(&name.into(), Some(super::Pause::because("why")));
        }
        assert_eq!(queue.paused(), [("line", 3), ("site", 0)]);
        queue.forget_reasons(|name| name == "two.example", |_| false);
        assert_eq!(queue.paused()[0].1, 2);
        let told = |name| queue.reason(name).is_some();
        assert!(told("one.example") && told("two.example") && !told("three.example"));
    });
    store.close();
}

/// The next message whose sender has still to be told something.
async fn owing(queue: &Rc<Queue>) -> Option<Rc<Message>> {
    queue.take_owing(1, |_| 0)?.message().await
}

#[test]
fn who_could_not_be_told_is_told_once_more() {
    let (_directory, store) = store();
    store.run(|context| async move {
        let queue = queue(&context);
        let shard = &context.shards[0];
        accept(&queue, shard, &["a@one.example"]).await;
        let fail = Deed::Fail { why: String::new() };
        assert_eq!(operate(&queue, shard, Filter::default(), fail).await, 1);
        let message = owing(&queue).await.unwrap();
        assert!(!queue.owes_later());
        queue.owe_later(&message);
        queue.owe_later(&message);
        drop(message);
        assert!(queue.owes_later() && owing(&queue).await.is_none());
        queue.owe_again();
        assert!(!queue.owes_later() && owing(&queue).await.is_some());
        assert!(owing(&queue).await.is_none());
    });
    store.close();
}

#[test]
fn what_cannot_be_told_is_not_looked_at_with_each_outcome() {
    let (_directory, store) = store();
    store.run(|context| async move {
        let (queue, shard) = (queue(&context), &context.shards[0]);
        let addresses: Vec<String> = (0..200).map(|n| format!("a@{n}.example")).collect();
        let all: Vec<&str> = addresses.iter().map(String::as_str).collect();
        let message = coming(&queue, shard, &all).await;
        queue.accepted(message.clone(), octets());
        let (tries, refuses) = (Cell::new(0), Cell::new(true));
        let tell = async || {
            let told = async |owed, recipients: &[(u32, RecipientRow)]| {
                tries.set(tries.get() + 1);
                if refuses.get() {
                    return Err(StoreError::Limit("full"));
                }
                let paid = |message: &Message| {
                    let paid = |(index, _): &(u32, RecipientRow)| {
                        let mut row = message.recipient(*index);
                        row.owes = row.owes.filter(|o| *o != owed);
                        (*index, row)
                    };
                    recipients.iter().map(paid).collect()
                };
                queue.change(&message, paid).await
            };
            queue.tell(&message, told).await;
        };
        let before = LOOKS.get();
        // As of a batch: each recipient has an outcome, and a report, of his own.
        for address in &all {
            let domain = address.split_once('@').unwrap().1;
            let work = queue.take_line(domain, 1).await.unwrap();
            answered(work, Verdict::Permanent, 550).await;
            tell().await;
        }
        assert_eq!((LOOKS.get() - before, tries.get()), (1, 1));
        // A pause later all are looked at, and one is tried.
        queue.owe_again();
        let telling = queue.take_owing(1, |_| 0).unwrap();
        tell().await;
        assert_eq!((LOOKS.get() - before, tries.get()), (201, 2));
        refuses.set(false);
        drop(telling);
        queue.owe_again();
        tell().await;
        assert!(message.owing().is_empty());
        tell().await;
    });
    store.close();
}

#[test]
fn what_is_over_is_kept_once_and_goes_at_its_time() {
    let (_directory, store) = store();
    store.run(|context| async move {
        let (queue, shard) = (queue(&context), &context.shards[0]);
        let interest = events::Interest {
            suppresses: false,
            keeps_retired_secs: 100,
            ..events::Interest::default()
        };
        queue.use_interests(move |_| Some(interest));
        let mut numbers = Vec::new();
        for (n, (address, answer)) in [
            ("a@one.example", (Verdict::Delivered, 250)),
            ("b@two.example", (Verdict::Permanent, 550)),
            ("c@one.example", (Verdict::Delivered, 250)),
            ("d@one.example", (Verdict::Temporary, 451)),
        ]
        .into_iter()
        .enumerate()
        {
            NOW.set(1_000 + n as i64);
            let events = told(&queue, shard, address, answer).await;
            assert_eq!(events.len(), usize::from(n < 3), "{address}");
            numbers.extend(events.iter().map(|event| event.id.id));
            for account in ["anna", "ann"] {
                let told = events::Told {
                    events: events.clone(),
                    over: Vec::new(),
                };
                for _ in 0..2 {
                    let turn = turn(account).await;
                    let taken = events::take(shard, &turn, interest, &told, NOW.get());
                    assert_eq!(all_taken(taken.await), events::Consequences::default());
                }
            }
        }
        let all = RetiredFilter::default();
        let (found, next) = retired::page(shard, &all, None, Most::entries(100))
            .await
            .unwrap();
        assert_eq!((found.len(), next), (6, None));
        let anna = RetiredFilter {
            account: Some("anna".into()),
            ..all.clone()
        };
        // Page by page, in the order in which they ended.
        let expected = numbers.iter().map(|id| ("anna".to_string(), *id));
        let expected: Vec<_> = expected.collect();
        for bounds in [(1, usize::MAX), (100, 1), (100, 600), (100, usize::MAX)] {
            let (entries, octets) = bounds;
            let (mut after, mut seen) = (None, Vec::new());
            loop {
                let most = Most { entries, octets };
                let page = retired::page(shard, &anna, after, most).await;
                let (found, next) = page.unwrap();
                let most = if octets <= 600 { 1 } else { entries };
                assert!(found.len() <= most, "{bounds:?}");
                seen.extend(found.iter().map(|(account, row)| (account.clone(), row.id)));
                after = next;
                if after.is_none() {
                    break;
                }
            }
            assert_eq!(seen, expected, "{bounds:?}");
        }
        let failed = RetiredFilter {
            result: Some(events::EventKind::Failed),
            to: Some("@TWO.example".into()),
            ..anna.clone()
        };
        let (found, _) = retired::page(shard, &failed, None, Most::entries(100))
            .await
            .unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].1.attempts, found[0].1.history[0].code), (1, 550));
        assert_eq!(found[0].1.text, "so it is");

        let count = async |account: &str| {
            let filter = RetiredFilter {
                account: Some(account.into()),
                ..RetiredFilter::default()
            };
            let (found, _) = retired::page(shard, &filter, None, Most::entries(100))
                .await
                .unwrap();
            found.len()
        };
        let kept = |account: &str| if account == "anna" { 100 } else { 10_000 };
        assert_eq!(
            retired::prune(shard, &hooks::Hooks::default(), (1_100, 100), kept)
                .await
                .unwrap(),
            0
        );
        assert_eq!(
            retired::prune(shard, &hooks::Hooks::default(), (1_101, 100), kept)
                .await
                .unwrap(),
            1
        );
        assert_eq!((count("anna").await, count("ann").await), (2, 3));
        // Too many, and of an account that keeps none.
        assert_eq!(
            retired::prune(shard, &hooks::Hooks::default(), (1_101, 2), kept)
                .await
                .unwrap(),
            1
        );
        let kept = |account: &str| if account == "anna" { 0 } else { 10_000 };
        assert_eq!(
            retired::prune(shard, &hooks::Hooks::default(), (1_101, 100), kept)
                .await
                .unwrap(),
            2
        );
        assert_eq!((count("anna").await, count("ann").await), (0, 2));
        let nobody = |_: &str| 0;
        assert_eq!(
            retired::prune(shard, &hooks::Hooks::default(), (1_101, 100), nobody)
                .await
                .unwrap(),
            2
        );
        // Nothing is left, not even of the counts.
        assert_eq!(kept_rows(shard).await, 0);
    });
    store.close();
}

/// Rows about recipients that are over.
async fn kept_rows(shard: &Rc<Shard>) -> usize {
    let prefix = crate::store::rows::RETIRED.to_vec();
    let rows = shard.scan(prefix.clone(), prefix, 100_000).await.unwrap();
    rows.len()
}

#[test]
fn many_that_are_over_go_slice_by_slice_and_a_late_one_is_found() {
    let (_directory, store) = store();
    store.run(|context| async move {
        let (queue, shard) = (queue(&context), &context.shards[0]);
        let interest = events::Interest {
            suppresses: false,
            keeps_retired_secs: 100,
            ..events::Interest::default()
        };
        queue.use_interests(move |_| Some(interest));
        let taken = (Verdict::Delivered, 250);
        let one = told(&queue, shard, "a@one.example", taken).await.remove(0);
        let take = async |range: std::ops::Range<u64>, at: i64| {
            let event = |id| {
                let mut event = one.clone();
                event.id.id = id;
                event.at = at;
                event
            };
            let told = events::Told {
                events: range.map(event).collect(),
                over: Vec::new(),
            };
            let turn = turn("anna").await;
            let changes = events::take(shard, &turn, interest, &told, 5_000);
            assert_eq!(all_taken(changes.await), events::Consequences::default());
        };
        for slice in 0..13 {
            take(slice * 100..(slice + 1) * 100, 1_000 + slice as i64).await;
        }
        // Two of each, and the count.
        assert_eq!(kept_rows(shard).await, 1_300 * 2 + 1);
        let all = |_: &str| 10_000;
        let prune = async |now, most| {
            retired::prune(shard, &hooks::Hooks::default(), (now, most), all)
                .await
                .unwrap()
        };
        assert_eq!(prune(5_000, 100).await, 1_200);
        assert_eq!(prune(5_000, 100).await, 0);
        // One that is told late lies before all that is left.
        take(5_000..5_001, 900).await;
        let listed = async || {
            let filter = RetiredFilter::default();
            let (found, next) = retired::page(shard, &filter, None, Most::entries(1_000))
                .await
                .unwrap();
            assert_eq!(next, None);
            found.iter().map(|(_, row)| row.id).collect::<Vec<_>>()
        };
        let found = listed().await;
        assert_eq!((found.len(), found[0], found[1]), (101, 5_000, 1_200));
        assert_eq!(prune(5_000, 100).await, 1);
        assert_eq!(listed().await[0], 1_200);
        // Under the same number there is one row, whatever it said before.
        take(1_200..1_201, 2_000).await;
        assert_eq!(listed().await.len(), 100);
        assert_eq!(prune(20_000, 100).await, 100);
        assert_eq!(kept_rows(shard).await, 0);
    });
    store.close();
}

/// Something that can't be read in place of a row, or as one.
async fn damage(shard: &Rc<Shard>, key: Vec<u8>) {
    let permit = shard.permit(1_000, false, std::time::Duration::from_secs(30));
    let permit = permit.await.unwrap();
    let mut batch = Batch::default();
    batch.put(key, vec![0xff, 1]);
    shard.commit(permit, batch).await.unwrap();
}

#[test]
fn what_is_old_goes_around_rows_that_cant_be_read() {
    let (_directory, store) = store();
    store.run(|context| async move {
        let shard = &context.shards[0];
        let hooks = hooks::Hooks::default();
        let interest = events::Interest {
            keeps_retired_secs: 100,
            ..events::Interest::default()
        };
        let event = returned::sent();
        let (id, at) = (event.id, event.at);
        let told = events::Told {
            events: vec![event],
            over: Vec::new(),
        };
        let ben = turn("ben").await;
        let (_, taken) = events::take(shard, &ben, interest, &told, 1_000).await;
        taken.unwrap();
        let manual = suppression::Suppressed {
            reason: "r".into(),
            manual: true,
            created: 0,
            expires: Some(1_000),
        };
        for address in ["a@a.example", "b@b.example"] {
            let to = (Some(manual.clone()), false);
            suppression::change(shard, &ben, address, to, 0)
                .await
                .unwrap();
        }
        // In front of all others, and of an account in front.
        let key = |kind: Vec<u8>, rest: &[u8]| [kind.as_slice(), rest].concat();
        let rows = [
            key(stored::events_key("anna"), &[0; 13]),
            key(stored::suppressions_key("anna"), b"x@x.example"),
            key(stored::suppressions_key("ben"), b"a"),
            key(stored::retired_key("anna"), b"a"),
            key(stored::retired_key("anna"), b"w12345678x"),
            key(stored::batches_key("anna"), b"n12345678"),
        ];
        for row in &rows {
            damage(shard, row.clone()).await;
        }
        let before = crate::store::unreadable_rows();
        for pruned in [[1, 1, 2], [0; 3]] {
            let found = [
                events::prune(shard, 1_001).await.unwrap(),
                retired::prune(shard, &hooks, (at + 200, 100), |_| 100)
                    .await
                    .unwrap(),
                suppression::prune(shard, &hooks, 2_000).await.unwrap(),
            ];
            assert_eq!(found, pruned, "{id:?}");
            assert_eq!(batch::prune(shard, 9_000, |_| Some(0)).await.unwrap(), 0);
        }
        for row in &rows {
            assert!(shard.get(row.clone()).await.unwrap().is_some());
        }
        assert_eq!(crate::store::unreadable_rows() - before, rows.len());
    });
    store.close();
}

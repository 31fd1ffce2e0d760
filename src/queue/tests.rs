//! The queue on real shards: what operators do while nobody works on a message, while somebody does, and between its commit and its
//! acceptance. Each closing checks what is stored.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use shards::segments::BodyId;
use shards::storage::{Batch, Shard};

use super::retry::{Schedule, Verdict, after, group};
use super::rows::{Attempt, Notice, Recipient, State};
use super::*;
use crate::store::tests::{Context, store};

thread_local! {
    static NOW: Cell<i64> = const { Cell::new(1_000) };
}

fn queue(context: &Context) -> Rc<Queue> {
    NOW.set(1_000);
    Queue::new(&context.shards, 1 << 20, || NOW.get())
}

fn row(addresses: &[&str]) -> MessageRow {
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
    }
}

/// Commits a message; it is not in line yet.
async fn coming(queue: &Rc<Queue>, shard: &Rc<Shard>, addresses: &[&str]) -> Rc<Message> {
    let mut batch = Batch::default();
    let mut row = row(addresses);
    let content = NewContent {
        bytes: Arc::new(b"hello\r\n".to_vec()),
        external: None,
    };
    let id = plan(shard, &mut batch, &mut row, b"X: y\r\n".to_vec(), &content);
    let message = queue.coming(shard, &mut batch, id, row);
    let permit = shard.permit(1_000, true, std::time::Duration::from_secs(10));
    shard.commit(permit.await.unwrap(), batch).await.unwrap();
    message
}

async fn accept(queue: &Rc<Queue>, shard: &Rc<Shard>, addresses: &[&str]) -> BodyId {
    let message = coming(queue, shard, addresses).await;
    let body = message.body;
    let content = Content {
        bytes: Arc::new(b"X: y\r\nhello\r\n".to_vec()),
        external: None,
    };
    queue.accepted(message, content);
    body
}

async fn operate(queue: &Rc<Queue>, shard: &Rc<Shard>, filter: Filter, deed: Deed) -> u64 {
    let (filter, deed) = (Rc::new(filter), Rc::new(deed));
    let done = queue.operate(shard, &filter, &deed, None).await.unwrap();
    assert_eq!(done.next, None);
    done.changed
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
            };
            let parts = (&schedule, 7, NOW.get());
            let row = message.recipient(*index);
            let row = after(&message.row, *index, row, attempt, verdict, parts);
            (*index, row)
        };
        let mut rows: Vec<_> = indexes.iter().map(outcome).collect();
        group(&mut rows);
        rows
    });
    recorded.await.unwrap();
}

async fn stored(shard: &Rc<Shard>) -> Vec<(State, i64)> {
    let page = select(shard, &Filter::default(), None, 1_000)
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
            let owed = owing.first().and_then(|(_, row)| row.owes);
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
        let pages = async |filter: Filter, most: usize| {
            let (mut found, mut after) = (Vec::new(), None);
            loop {
                let page = select(shard, &filter, after, most).await.unwrap();
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
            assert_eq!(pages(Filter::default(), most).await, ids, "{most}");
            assert_eq!(pages(domain.clone(), most).await, of_domain, "{most}");
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
            assert_eq!(pages(some.clone(), most).await, expected, "{most}");
            let both = Filter {
                domain: Some("b.example".into()),
                ..some
            };
            assert_eq!(pages(both, most).await, [ids[7]], "{most}");
        }
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

//! Rows of webhooks: what is made of events, the way of a hook, what goes with time.

use std::collections::HashMap;
use std::rc::Rc;

use shards::storage::Shard;
use webapi::hook::{HookEvent, HookEvents};

use super::*;
use crate::queue::Most;
use crate::queue::events::Interest;
use crate::store::tests::store;

const KEEPS: Interest = Interest {
    suppresses: false,
    keeps_retired_secs: 0,
    keeps_webhooks_secs: 100,
    pending_webhooks_max: 5,
    pending_webhook_octets_max: 12_000,
};

fn terms() -> Terms {
    Terms {
        waits: vec![10, 20],
        timeout_secs: 60,
        keeps_secs: 100,
        disable_after_secs: 1_000,
    }
}

/// The right to change hooks; nobody else wants it here.
async fn turn() -> HooksTurn {
    Hooks::default().turn("anna").await
}

async fn endpoint_for(shard: &Rc<Shard>, events: HookEvents) -> u32 {
    let spec = EndpointSpec {
        url: "https://a.example/hook".into(),
        authorization: None,
        events,
        concurrency: 1,
    };
    let turn = turn().await;
    let put = put(shard, &turn, (None, &spec), vec![7; 32], 1_000).await;
    let (endpoint, (_, told)) = put.unwrap();
    assert!(events.iter().all(|event| told.has(event)));
    endpoint.unwrap().id
}

async fn tell(shard: &Rc<Shard>, event: HookEvent, recipient: u64, now: i64) {
    tell_with(shard, event, recipient, format!("{event} {recipient}"), now).await;
}

async fn tell_with(shard: &Rc<Shard>, event: HookEvent, recipient: u64, payload: String, now: i64) {
    tell_of(shard, KEEPS, (event, recipient, payload), now).await;
}

async fn tell_of(
    shard: &Rc<Shard>,
    interest: Interest,
    (event, recipient, payload): (HookEvent, u64, String),
    now: i64,
) {
    let turn = turn().await;
    let mut writing = Writing::new(shard, &turn, now);
    let hook = OutgoingHook {
        event,
        recipient,
        from_id: String::new(),
        message_id: "<m@a.example>".into(),
        subject: "m".into(),
        payload,
    };
    super::plan::plan(&mut writing, interest, &hook)
        .await
        .unwrap();
    writing.commit().await.unwrap();
}

async fn waiting(shard: &Rc<Shard>) -> Vec<HookRow> {
    let all = pending(
        shard,
        &turn().await,
        &HookFilter::default(),
        None,
        Most::entries(100),
    )
    .await;
    all.unwrap().0
}

async fn over(shard: &Rc<Shard>) -> Vec<RetiredHook> {
    let all = retired(
        shard,
        &turn().await,
        &HookFilter::default(),
        None,
        Most::entries(100),
    )
    .await;
    all.unwrap().0
}

/// Sends one that is over once more.
async fn once_more(shard: &Rc<Shard>, id: u64) -> Redelivered {
    let turn = turn().await;
    redeliver(shard, &turn, KEEPS, id, 1_100).await.unwrap()
}

/// Takes the next hook, with what came of the one before.
async fn next(shard: &Rc<Shard>, endpoint: u32, finished: Option<(u64, bool)>, now: i64) -> Step {
    let result = |success| HookResult {
        at: now,
        success,
        code: if success { 200 } else { 500 },
        error: if success { "" } else { "no" }.into(),
        ..HookResult::default()
    };
    let outcome = |result| Outcome {
        result,
        follows: Follows::Another,
    };
    let wish = Wish {
        endpoint,
        finished: finished.map(|(id, success)| (id, outcome(result(success)))),
        claims: true,
    };
    together(shard, &[wish], now).await.remove(0)
}

/// What several wish, in one commit.
async fn together(shard: &Rc<Shard>, wishes: &[Wish], now: i64) -> Vec<Step> {
    let (turn, terms, under_way) = (turn().await, terms(), HashMap::new());
    let all = steps(shard, &turn, &terms, wishes, &under_way, (now, 0));
    all.await.unwrap()
}

#[test]
fn what_is_wished_together_is_done_together_in_order() {
    let (_directory, store) = store();
    store.run(|context| async move {
        let shard = &context.shards[0];
        let endpoint = endpoint_for(shard, HookEvents::FIRST).await;
        let other = endpoint_for(shard, HookEvents::NONE.with(HookEvent::Failed)).await;
        for recipient in 1..=3 {
            tell(shard, HookEvent::Delivered, recipient, 1_000).await;
        }
        tell(shard, HookEvent::Failed, 4, 1_000).await;
        let wish = |endpoint, finished, claims| Wish {
            endpoint,
            finished,
            claims,
        };
        let wishes = [
            wish(endpoint, None, true),
            wish(other, None, true),
            wish(endpoint, None, false),
            wish(endpoint, None, true),
        ];
        let done = together(shard, &wishes, 1_000).await;
        let about = |step: &Step| {
            step.claimed
                .as_ref()
                .map(|c| (c.endpoint.id, c.hook.recipient))
        };
        let abouts: Vec<_> = done.iter().map(about).collect();
        let expected = [
            Some((endpoint, 1)),
            Some((other, 4)),
            None,
            Some((endpoint, 2)),
        ];
        assert_eq!(abouts, expected);
        let next = |step: &Step| (step.next_due, step.pending);
        assert_eq!(next(&done[0]), (Some(1_000), 5));
        // None but the one that is under way: when it would be due again.
        assert_eq!(next(&done[1]), (Some(1_070), 5));
        // One is there, one is not and one can't be sent; and the rest is taken meanwhile.
        let result = |success| HookResult {
            at: 1_001,
            success,
            ..HookResult::default()
        };
        let ended = |at: usize, success, follows| {
            let result = result(success);
            let id = done[at].claimed.as_ref().unwrap().hook.id;
            Some((id, Outcome { result, follows }))
        };
        let wishes = [
            wish(endpoint, ended(0, true, Follows::Another), true),
            wish(other, ended(1, false, Follows::Nothing), false),
            wish(endpoint, ended(3, false, Follows::Another), true),
            wish(endpoint, None, true),
        ];
        let done = together(shard, &wishes, 1_001).await;
        let abouts: Vec<_> = done.iter().map(about).collect();
        assert_eq!(
            abouts,
            [Some((endpoint, 3)), None, Some((endpoint, 4)), None]
        );
        // The second comes again before those that are under way.
        assert_eq!(done[0].next_due, Some(1_011));
        assert!(done[0].is_failing && !done[1].is_failing);
        assert_eq!(next(&done[1]), (None, 3));
        let kept = over(shard).await;
        let kept: Vec<(u32, bool)> = kept.iter().map(|k| (k.hook.endpoint, k.success)).collect();
        assert_eq!(kept, [(endpoint, true), (other, false)]);
    });
    store.close();
}

#[test]
fn pages_end_by_octets_too_and_tell_each_once() {
    let (_directory, store) = store();
    store.run(|context| async move {
        let shard = &context.shards[0];
        let endpoint = endpoint_for(shard, HookEvents::FIRST).await;
        for recipient in 1..=5 {
            tell(shard, HookEvent::Delivered, recipient, 1_000).await;
        }
        let filter = HookFilter::default();
        // Two come to more than 600 octets.
        let bounds = [(1, 1), (600, 2), (usize::MAX, 5)];
        for (octets, on_a_page) in bounds {
            let (mut found, mut after) = (Vec::new(), None);
            loop {
                let entries = 100;
                let most = Most { entries, octets };
                let page = pending(shard, &turn().await, &filter, after, most).await;
                let (hooks, next) = page.unwrap();
                assert!(hooks.len() <= on_a_page, "{octets}");
                found.extend(hooks.iter().map(|hook| hook.recipient));
                after = next;
                if after.is_none() {
                    break;
                }
            }
            assert_eq!(found, [1, 2, 3, 4, 5], "{octets}");
        }
        let mut finished = None;
        for _ in 0..6 {
            let step = next(shard, endpoint, finished, 1_001).await;
            finished = step.claimed.map(|claimed| (claimed.hook.id, true));
        }
        for (octets, on_a_page) in bounds {
            let (mut found, mut after) = (Vec::new(), None);
            loop {
                let entries = 100;
                let most = Most { entries, octets };
                let page = retired(shard, &turn().await, &filter, after, most).await;
                let (hooks, next) = page.unwrap();
                assert!(hooks.len() <= on_a_page, "{octets}");
                found.extend(hooks.iter().map(|kept| kept.hook.recipient));
                after = next;
                if after.is_none() {
                    break;
                }
            }
            assert_eq!(found, [1, 2, 3, 4, 5], "{octets}");
        }
    });
    store.close();
}

#[test]
fn a_newer_event_of_a_recipient_makes_an_older_one_needless() {
    let (_directory, store) = store();
    store.run(|context| async move {
        let shard = &context.shards[0];
        let all: HookEvents = HookEvent::ALL.into_iter().collect();
        let endpoint = endpoint_for(shard, all).await;
        // Of an endpoint that is not told of such there is none.
        let other = endpoint_for(shard, HookEvents::NONE.with(HookEvent::Failed)).await;
        tell(shard, HookEvent::Delayed, 5, 1_000).await;
        tell(shard, HookEvent::Complaint, 5, 1_001).await;
        tell(shard, HookEvent::Delivered, 6, 1_002).await;
        tell(shard, HookEvent::Delivered, 5, 1_003).await;
        let found = waiting(shard).await;
        let words: Vec<(&str, u64)> = found.iter().map(|h| (&*h.event, h.recipient)).collect();
        assert_eq!(
            words,
            [("complaint", 5), ("delivered", 6), ("delivered", 5)]
        );
        assert!(found.iter().all(|hook| hook.endpoint == endpoint));
        let kept = over(shard).await;
        assert_eq!(kept.len(), 1);
        assert_eq!(kept[0].superseded_by, Some(found[2].id));
        // One whose call is under way is noted and not repeated.
        let claimed = next(shard, endpoint, None, 1_010).await.claimed.unwrap();
        assert_eq!(claimed.hook.event, "complaint");
        let after = Some((claimed.hook.id, true));
        let claimed = next(shard, endpoint, after, 1_010).await.claimed.unwrap();
        let said = payload(shard, "anna", claimed.hook.id).await.unwrap();
        assert_eq!(said.as_deref(), Some(&b"delivered 6"[..]));
        tell(shard, HookEvent::Failed, 6, 1_011).await;
        next(shard, endpoint, Some((claimed.hook.id, false)), 1_012).await;
        let kept = over(shard).await;
        let last = kept.iter().find(|k| k.hook.id == claimed.hook.id).unwrap();
        assert_eq!(last.hook.results[0].error, "no (superseded)");
        assert!(last.superseded_by.is_some());
        assert_eq!(
            waiting(shard)
                .await
                .iter()
                .filter(|h| h.endpoint == other)
                .count(),
            1
        );
    });
    store.close();
}

#[test]
fn a_hook_is_tried_at_its_times_and_then_given_up() {
    let (_directory, store) = store();
    store.run(|context| async move {
        let shard = &context.shards[0];
        let endpoint = endpoint_for(shard, HookEvents::FIRST).await;
        assert!(next(shard, endpoint, None, 1_000).await.claimed.is_none());
        tell(shard, HookEvent::Delivered, 5, 1_000).await;
        let step = next(shard, endpoint, None, 1_000).await;
        let id = step.claimed.unwrap().hook.id;
        // It is under way: nobody takes it, and after a stop it is due at once.
        assert!(next(shard, endpoint, None, 1_069).await.claimed.is_none());
        resume(shard, &turn().await, 1_069).await.unwrap();
        let again = next(shard, endpoint, None, 1_069).await.claimed.unwrap();
        assert_eq!((again.hook.id, again.hook.attempts), (id, 2));
        let step = next(shard, endpoint, Some((id, false)), 1_070).await;
        assert!(step.claimed.is_none() && step.is_failing);
        assert_eq!(step.next_due, Some(1_090));
        assert!(next(shard, endpoint, None, 1_089).await.claimed.is_none());
        let last = next(shard, endpoint, None, 1_090).await.claimed.unwrap();
        assert_eq!(last.hook.attempts, 3);
        let step = next(shard, endpoint, Some((id, false)), 1_091).await;
        assert_eq!((step.next_due, step.pending), (None, 0));
        let kept = over(shard).await.remove(0);
        assert!(!kept.success && kept.hook.results.len() == 2);
        // Once more, by hand: its success ends the failing.
        assert_eq!(once_more(shard, id).await, Redelivered::For(endpoint));
        assert_eq!(over(shard).await, []);
        let claimed = next(shard, endpoint, None, 1_100).await.claimed.unwrap();
        assert_eq!((claimed.hook.id, claimed.hook.attempts), (id, 4));
        let step = next(shard, endpoint, Some((id, true)), 1_101).await;
        assert!(!step.is_failing);
        assert!(over(shard).await[0].success);
        assert_eq!(once_more(shard, 77).await, Redelivered::Missing);
    });
    store.close();
}

#[test]
fn who_fails_for_long_is_switched_off_and_what_waits_goes_after_a_time() {
    let (_directory, store) = store();
    store.run(|context| async move {
        let shard = &context.shards[0];
        let endpoint = endpoint_for(shard, HookEvents::FIRST).await;
        tell(shard, HookEvent::Delivered, 5, 1_000).await;
        let id = next(shard, endpoint, None, 1_000)
            .await
            .claimed
            .unwrap()
            .hook
            .id;
        next(shard, endpoint, Some((id, false)), 1_001).await;
        let id = next(shard, endpoint, None, 1_500)
            .await
            .claimed
            .unwrap()
            .hook
            .id;
        tell(shard, HookEvent::Delivered, 6, 2_000).await;
        let step = next(shard, endpoint, Some((id, false)), 2_001).await;
        assert!(step.owes_mail && step.claimed.is_none());
        let (all, _, (_, told)) = endpoints(shard, "anna").await.unwrap();
        assert!(told.is_empty());
        assert_eq!(all[0].0.mail_owed, Some(id));
        assert_eq!(all[0].1, 2);
        // It is told of nothing new.
        tell(shard, HookEvent::Delivered, 7, 2_002).await;
        assert_eq!(waiting(shard).await.len(), 2);
        let row = all[0].0.clone();
        purge(shard, &turn().await, &row, (1_500, KEEPS), 2_003)
            .await
            .unwrap();
        assert_eq!(waiting(shard).await.len(), 1);
        // What is gone leaves no rows of what waited.
        let (row, _) = remove(shard, &turn().await, endpoint, 2_004).await.unwrap();
        purge(shard, &turn().await, &row.unwrap(), (0, KEEPS), 2_005)
            .await
            .unwrap();
        prune(shard, &turn().await, (i64::MAX, 0), 2_006)
            .await
            .unwrap();
        let prefix = crate::store::rows::webhooks_key("anna");
        let left = shard
            .scan(prefix.clone(), prefix.clone(), 100)
            .await
            .unwrap();
        let left: Vec<u8> = left.iter().map(|(key, _)| key[prefix.len()]).collect();
        assert_eq!(left, b"a");
    });
    store.close();
}

#[test]
fn a_pause_lasts_until_the_endpoint_is_another_or_begins_anew() {
    let (_directory, store) = store();
    store.run(|context| async move {
        let shard = &context.shards[0];
        let endpoint = endpoint_for(shard, HookEvents::FIRST).await;
        let until = async || lines(shard, "anna").await.unwrap().remove(0).1.paused_until;
        let mut recipient = 0;
        let mut pause = async |now, secs| {
            recipient += 1;
            tell(shard, HookEvent::Delivered, recipient, now).await;
            let step = next(shard, endpoint, None, now).await;
            let outcome = Outcome {
                result: HookResult {
                    at: now,
                    ..HookResult::default()
                },
                follows: Follows::NotBefore(secs),
            };
            let wish = Wish {
                endpoint,
                finished: Some((step.claimed.unwrap().hook.id, outcome)),
                claims: false,
            };
            together(shard, &[wish], now).await;
        };
        pause(1_000, 300).await;
        assert_eq!(until().await, Some(1_300));
        pause(1_001, 100).await;
        assert_eq!(until().await, Some(1_300));
        let named = async |url: &str| {
            let spec = EndpointSpec {
                url: url.into(),
                authorization: None,
                events: HookEvents::FIRST,
                concurrency: 2,
            };
            let put = put(shard, &turn().await, (Some(endpoint), &spec), vec![], 1_002).await;
            put.unwrap();
        };
        named("https://a.example/hook").await;
        assert_eq!(until().await, Some(1_300));
        named("https://a.example/other").await;
        assert_eq!(until().await, None);
        // Nor do those wait for it that heard of it: they are due by their own schedule.
        let due = waiting(shard).await.iter().map(|hook| hook.due).max();
        assert!(due.unwrap() < 1_050, "{due:?}");
        pause(1_003, 300).await;
        let off = Enabled::No("no".into());
        for (enabled, expected) in [(off, Some(1_303)), (Enabled::Yes, None)] {
            let set = set_enabled(shard, &turn().await, endpoint, &enabled, 1_004).await;
            set.unwrap();
            assert_eq!(until().await, expected);
        }
    });
    store.close();
}

#[test]
fn a_line_begins_with_its_first_hook() {
    let earlier = rows::encode(&(5_u64, 77_i64, vec![1_u64, 2]));
    let row = LineRow::decode(&earlier).unwrap();
    assert_eq!(
        (row.count, row.from, row.under_way),
        (5, (77, 0), vec![1, 2])
    );
    let second = rows::encode_version(2, &(5_u64, (77_i64, 3_u64), vec![1_u64, 2]));
    let row = LineRow::decode(&second).unwrap();
    assert_eq!((row.from, row.under_way), ((77, 3), vec![1, 2]));
    assert_eq!((row.count, row.octets, row.paused_until), (5, None, None));
    let (_directory, store) = store();
    store.run(|context| async move {
        let shard = &context.shards[0];
        let endpoint = endpoint_for(shard, HookEvents::FIRST).await;
        for recipient in 1..=3 {
            tell(shard, HookEvent::Delivered, recipient, 1_000).await;
        }
        let from = async || lines(shard, "anna").await.unwrap().remove(0).1.from;
        let claim = async |finished, now| {
            let step = next(shard, endpoint, finished, now).await;
            step.claimed.map(|claimed| claimed.hook.id)
        };
        let first = claim(None, 1_000).await.unwrap();
        let second = claim(Some((first, true)), 1_000).await.unwrap();
        assert_eq!(from().await, (1_000, second));
        // One with a lower number comes back in the second in which another one comes.
        let third = claim(Some((second, false)), 1_001).await.unwrap();
        tell(shard, HookEvent::Delivered, 4, 1_011).await;
        let again = claim(Some((third, true)), 1_011).await;
        assert_eq!(again, Some(second));
        assert_eq!(from().await, (1_011, second));
        let fourth = claim(Some((second, true)), 1_011).await.unwrap();
        assert!(fourth > third);
        assert_eq!(claim(Some((fourth, true)), 1_011).await, None);
    });
    store.close();
}

/// How many rows of a kind there are.
async fn rows_of(shard: &Rc<Shard>, kind: u8) -> usize {
    let prefix = key_of("anna", kind);
    shard.scan(prefix.clone(), prefix, 100).await.unwrap().len()
}

#[test]
fn a_long_payload_is_stored_once_and_goes_with_the_last_that_has_it() {
    let (_directory, store) = store();
    store.run(|context| async move {
        let shard = &context.shards[0];
        let rows = async || {
            let (payloads, sharing) = (rows_of(shard, b'b').await, rows_of(shard, b's').await);
            (payloads, sharing, rows_of(shard, b'c').await)
        };
        for _ in 0..3 {
            endpoint_for(shard, HookEvents::FIRST).await;
        }
        let long = |recipient: u64| format!("{recipient}{}", "x".repeat(SHARED_FROM));
        for recipient in [1, 2] {
            let room = Interest {
                pending_webhook_octets_max: 20_000,
                ..KEEPS
            };
            let event = (HookEvent::Delayed, recipient, long(recipient));
            tell_of(shard, room, event, 1_000).await;
            let ids: Vec<u64> = waiting(shard).await.iter().map(|hook| hook.id).collect();
            // As many as may wait of an account: the second event has two.
            assert_eq!(ids.len(), [0, 3, 5][recipient as usize]);
        }
        assert_eq!(rows().await, (2, 5, 2));
        let hooks = waiting(shard).await;
        for hook in &hooks {
            let said = payload(shard, "anna", hook.id).await.unwrap().unwrap();
            assert_eq!(said, long(hook.recipient).as_bytes());
        }
        // The one that has it is over and kept, then erased: the others still have theirs.
        let first: Vec<u64> = hooks
            .iter()
            .filter(|h| h.recipient == 1)
            .map(|h| h.id)
            .collect();
        cancel(shard, &turn().await, KEEPS, &first[..1], 1_100)
            .await
            .unwrap();
        assert_eq!(rows().await, (2, 5, 2));
        prune(shard, &turn().await, (i64::MAX, 0), 1_200)
            .await
            .unwrap();
        assert_eq!(rows().await, (2, 4, 2));
        assert_eq!(payload(shard, "anna", first[0]).await.unwrap(), None);
        for id in &first[1..] {
            let said = payload(shard, "anna", *id).await.unwrap().unwrap();
            assert_eq!(said, long(1).as_bytes());
        }
        // A newer event makes them needless, in one commit.
        let nothing = Interest {
            keeps_webhooks_secs: 0,
            ..KEEPS
        };
        cancel(shard, &turn().await, nothing, &first[1..], 1_300)
            .await
            .unwrap();
        assert_eq!(rows().await, (1, 2, 1));
        tell_with(shard, HookEvent::Delivered, 2, "short".into(), 1_400).await;
        prune(shard, &turn().await, (i64::MAX, 0), 1_500)
            .await
            .unwrap();
        assert_eq!(rows().await, (3, 0, 0));
    });
    store.close();
}

#[test]
fn an_endpoint_that_is_broken_leaves_room_to_the_others() {
    let (_directory, store) = store();
    store.run(|context| async move {
        let shard = &context.shards[0];
        let broken = endpoint_for(shard, HookEvents::NONE.with(HookEvent::Delivered)).await;
        let other = endpoint_for(shard, HookEvents::NONE.with(HookEvent::Failed)).await;
        let many = Interest {
            pending_webhooks_max: 400,
            ..KEEPS
        };
        let mut told = 0;
        let mut tell_all = async |event, count| {
            for _ in 0..count {
                told += 1;
                tell_of(shard, many, (event, told, "x".into()), 1_000).await;
            }
            let all = lines(shard, "anna").await.unwrap();
            let of = |id| {
                all.iter()
                    .find(|(e, _)| e.id == id)
                    .map_or(0, |(_, line)| line.count)
            };
            (of(broken), of(other))
        };
        assert_eq!(tell_all(HookEvent::Delivered, 300).await, (200, 0));
        assert_eq!(tell_all(HookEvent::Failed, 90).await, (200, 90));
        // They share what is left.
        assert_eq!(tell_all(HookEvent::Failed, 300).await, (200, 100));
        // Alone it may have all.
        remove(shard, &turn().await, other, 1_100).await.unwrap();
        assert_eq!(tell_all(HookEvent::Delivered, 300).await, (300, 100));
    });
    store.close();
}

/// What waits for an endpoint.
async fn line_of(shard: &Rc<Shard>, endpoint: u32) -> LineRow {
    let all = lines(shard, "anna").await.unwrap();
    let own = all.into_iter().find(|(e, _)| e.id == endpoint);
    own.unwrap().1
}

#[test]
fn an_endpoint_that_is_broken_leaves_room_to_the_others_by_octets_too() {
    let (_directory, store) = store();
    store.run(|context| async move {
        let shard = &context.shards[0];
        let broken = endpoint_for(shard, HookEvents::NONE.with(HookEvent::Incoming)).await;
        let other = endpoint_for(shard, HookEvents::NONE.with(HookEvent::Delivered)).await;
        let room = Interest {
            pending_webhooks_max: 10_000,
            pending_webhook_octets_max: 1_600_000,
            ..KEEPS
        };
        let mut told = 0;
        let mut tell_all = async |event, octets, count| {
            for _ in 0..count {
                told += 1;
                let hook = (event, told, "x".repeat(octets));
                tell_of(shard, room, hook, 1_000).await;
            }
            let counts = async |id| {
                let line = line_of(shard, id).await;
                (line.count, line.octets())
            };
            (counts(broken).await, counts(other).await)
        };
        // Few that say much are not few.
        let (own, _) = tell_all(HookEvent::Incoming, 100_000, 12).await;
        assert_eq!(own, (8, Some(800_000)));
        // Many that say little are not much, however much the others say.
        let (_, own) = tell_all(HookEvent::Delivered, 300, 400).await;
        assert_eq!(own, (400, Some(120_000)));
        assert_eq!(Book::look(shard, "anna").await.unwrap().row.dropped, 4);
        // What is over counts no more.
        let first = next(shard, other, None, 1_000).await.claimed.unwrap();
        next(shard, other, Some((first.hook.id, true)), 1_001).await;
        let line = line_of(shard, other).await;
        assert_eq!((line.count, line.octets()), (399, Some(119_700)));
        let (row, _) = remove(shard, &turn().await, broken, 1_002).await.unwrap();
        purge(shard, &turn().await, &row.unwrap(), (0, room), 1_003)
            .await
            .unwrap();
        let row = Book::look(shard, "anna").await.unwrap().row;
        assert_eq!((row.pending, row.pending_octets), (399, Some(119_700)));
    });
    store.close();
}

#[test]
fn no_more_wait_than_may_and_what_is_old_goes() {
    let (_directory, store) = store();
    store.run(|context| async move {
        let shard = &context.shards[0];
        let endpoint = endpoint_for(shard, HookEvents::FIRST).await;
        for recipient in 1..=7 {
            tell(shard, HookEvent::Delivered, recipient, 1_000).await;
        }
        let (all, dropped, _) = endpoints(shard, "anna").await.unwrap();
        assert_eq!((all[0].1, dropped), (5, 2));
        // What takes the place of another needs no room, or what is stale would be told.
        let first = waiting(shard).await[0].id;
        tell(shard, HookEvent::Failed, 1, 1_000).await;
        let left = waiting(shard).await;
        assert_eq!(left.len(), 5);
        assert!(left.iter().all(|hook| hook.id != first));
        let failed = left.iter().position(|hook| hook.recipient == 1).unwrap();
        assert_eq!(left[failed].event, "failed");
        tell(shard, HookEvent::Delivered, 1, 1_000).await;
        let (all, dropped, _) = endpoints(shard, "anna").await.unwrap();
        assert_eq!((all[0].1, dropped), (5, 2));
        let ids: Vec<u64> = waiting(shard).await.iter().map(|hook| hook.id).collect();
        assert_eq!(
            cancel(shard, &turn().await, KEEPS, &ids[..2], 1_100)
                .await
                .unwrap(),
            2
        );
        assert_eq!(
            cancel(shard, &turn().await, KEEPS, &ids[2..], 1_200)
                .await
                .unwrap(),
            3
        );
        assert_eq!(over(shard).await.len(), 7);
        assert!(
            !prune(shard, &turn().await, (1_150, 100), 1_300)
                .await
                .unwrap()
        );
        assert_eq!(over(shard).await.len(), 3);
        prune(shard, &turn().await, (1_150, 1), 1_300)
            .await
            .unwrap();
        let kept = over(shard).await;
        assert_eq!(kept.len(), 1);
        let said = payload(shard, "anna", kept[0].hook.id).await.unwrap();
        assert_eq!(said.as_deref(), Some(&b"delivered 1"[..]));
        assert_eq!(payload(shard, "anna", ids[0]).await.unwrap(), None);
        let _ = endpoint;
    });
    store.close();
}

#[test]
fn what_waits_says_no_more_than_may_and_nothing_comes_back_beyond_that() {
    let (_directory, store) = store();
    store.run(|context| async move {
        let shard = &context.shards[0];
        let endpoint = endpoint_for(shard, HookEvents::FIRST).await;
        let long = async |recipient| {
            let payload = "x".repeat(5_000);
            tell_with(shard, HookEvent::Delivered, recipient, payload, 1_000).await;
        };
        for recipient in 1..=3 {
            long(recipient).await;
        }
        // A short one fits still.
        tell(shard, HookEvent::Delivered, 4, 1_000).await;
        let (all, dropped, _) = endpoints(shard, "anna").await.unwrap();
        assert_eq!((all[0].1, dropped), (3, 1));
        let ids: Vec<u64> = waiting(shard).await.iter().map(|hook| hook.id).collect();
        let cancel = async |ids: &[u64]| {
            let turn = turn().await;
            cancel(shard, &turn, KEEPS, ids, 1_100).await.unwrap()
        };
        assert_eq!(cancel(&ids[..1]).await, 1);
        long(5).await;
        let refused = Redelivered::NoRoom(NoRoom::Octets(12_000));
        assert_eq!(once_more(shard, ids[0]).await, refused);
        assert_eq!(
            (waiting(shard).await.len(), over(shard).await.len()),
            (3, 1)
        );
        assert_eq!(cancel(&ids[1..2]).await, 1);
        assert_eq!(once_more(shard, ids[0]).await, Redelivered::For(endpoint));
        // By number it is the same.
        for recipient in 6..=7 {
            tell(shard, HookEvent::Delivered, recipient, 1_000).await;
        }
        let refused = Redelivered::NoRoom(NoRoom::Hooks(5));
        assert_eq!(once_more(shard, ids[1]).await, refused);
        // Nothing is left of what is over.
        let ids: Vec<u64> = waiting(shard).await.iter().map(|hook| hook.id).collect();
        assert_eq!(cancel(&ids).await, 5);
        let row = Book::look(shard, "anna").await.unwrap().row;
        assert_eq!((row.pending, row.pending_octets), (0, Some(0)));
    });
    store.close();
}

#[test]
fn what_waited_before_octets_were_counted_is_counted_at_the_start() {
    let (_directory, store) = store();
    store.run(|context| async move {
        let shard = &context.shards[0];
        let endpoint = endpoint_for(shard, HookEvents::FIRST).await;
        let long = async |recipient| {
            let payload = "x".repeat(5_000);
            tell_with(shard, HookEvent::Delivered, recipient, payload, 1_000).await;
        };
        long(1).await;
        long(2).await;
        let row = Book::look(shard, "anna").await.unwrap().row;
        assert_eq!(row.pending_octets, Some(10_000));
        let first = rows::encode(&(
            (row.version, row.last_endpoint, row.last_hook),
            (row.pending, row.retired, row.retired_from, row.dropped),
        ));
        put_row(shard, account_key("anna"), first).await;
        let earlier = Book::look(shard, "anna").await.unwrap().row;
        let expected = AccountRow {
            pending_octets: None,
            ..row
        };
        assert_eq!(earlier, expected);
        resume(shard, &turn().await, 1_001).await.unwrap();
        assert_eq!(Book::look(shard, "anna").await.unwrap().row, row);
        // The same of a line by itself, and of one that can't be read.
        let line = line_of(shard, endpoint).await;
        assert_eq!((line.count, line.octets), (2, Some(10_000)));
        let second = (line.count, line.from, &line.under_way);
        let second = rows::encode_version(2, &second);
        for earlier in [second, vec![0xff, 1]] {
            put_row(shard, line_key("anna", endpoint), earlier).await;
            assert_eq!(line_of(shard, endpoint).await.octets, None);
            resume(shard, &turn().await, 1_001).await.unwrap();
            let counted = line_of(shard, endpoint).await;
            assert_eq!((counted.count, counted.octets), (2, Some(10_000)));
            assert_eq!(Book::look(shard, "anna").await.unwrap().row, row);
        }
        long(3).await;
        assert_eq!(waiting(shard).await.len(), 2);
    });
    store.close();
}

async fn put_row(shard: &Rc<Shard>, key: Vec<u8>, row: Vec<u8>) {
    let permit = shard.permit(1_000, false, std::time::Duration::from_secs(30));
    let permit = permit.await.unwrap();
    let mut batch = shards::storage::Batch::default();
    batch.put(key, row);
    shard.commit(permit, batch).await.unwrap();
}

/// Something that can't be read in place of a row.
async fn damage(shard: &Rc<Shard>, key: Vec<u8>) {
    assert!(shard.get(key.clone()).await.unwrap().is_some());
    put_row(shard, key, vec![0xff, 1]).await;
}

#[test]
fn a_hook_that_cant_be_read_holds_up_no_other_and_goes_with_its_endpoint() {
    let (_directory, store) = store();
    store.run(|context| async move {
        let shard = &context.shards[0];
        let endpoint = endpoint_for(shard, HookEvents::FIRST).await;
        let other = endpoint_for(shard, HookEvents::FIRST).await;
        tell_with(shard, HookEvent::Delayed, 1, "x".repeat(3_000), 1_000).await;
        tell(shard, HookEvent::Delivered, 2, 1_000).await;
        let ids: Vec<u64> = waiting(shard).await.iter().map(|hook| hook.id).collect();
        let (first, second) = (ids[0], ids[1]);
        // A call of the first is under way when its row breaks, and then comes a stop.
        let claimed = next(shard, endpoint, None, 1_000).await.claimed.unwrap();
        assert_eq!(claimed.hook.id, first);
        let before = crate::store::unreadable_rows();
        damage(shard, hook_key("anna", first)).await;
        for _ in 0..2 {
            resume(shard, &turn().await, 1_001).await.unwrap();
        }
        assert_eq!(crate::store::unreadable_rows(), before + 1, "told of once");
        let claimed = next(shard, endpoint, None, 1_001).await.claimed.unwrap();
        assert_eq!(claimed.hook.id, second);
        // It is first in line, and lets the others go before it.
        next(shard, endpoint, Some((second, true)), 1_080).await;
        tell(shard, HookEvent::Delivered, 3, 1_080).await;
        let claimed = next(shard, endpoint, None, 1_080).await.claimed.unwrap();
        assert_eq!(claimed.hook.recipient, 3);
        next(shard, endpoint, Some((claimed.hook.id, true)), 1_081).await;
        // What is newer about the recipient comes all the same.
        tell(shard, HookEvent::Delivered, 1, 1_081).await;
        let of_endpoint = async || {
            let all = waiting(shard).await;
            all.iter().filter(|hook| hook.endpoint == endpoint).count()
        };
        assert_eq!(of_endpoint().await, 1);
        for id in [endpoint, other] {
            let (row, _) = remove(shard, &turn().await, id, 1_090).await.unwrap();
            let row = row.unwrap();
            let turn = turn().await;
            let purged = purge(shard, &turn, &row, (0, KEEPS), 1_091).await;
            assert!(!purged.unwrap());
        }
        prune(shard, &turn().await, (i64::MAX, 0), 1_092)
            .await
            .unwrap();
        let prefix = crate::store::rows::webhooks_key("anna");
        let left = shard.scan(prefix.clone(), prefix.clone(), 100).await;
        let left: Vec<u8> = left.unwrap().iter().map(|(k, _)| k[prefix.len()]).collect();
        // What the newest hook about the recipient was is all that is left of it.
        assert_eq!(left, b"a");
        let row = Book::look(shard, "anna").await.unwrap().row;
        assert_eq!((row.pending, row.pending_octets), (0, Some(0)));
    });
    store.close();
}

#[test]
fn what_waits_for_an_endpoint_that_is_off_goes_in_time_though_one_cant_be_read() {
    let (_directory, store) = store();
    store.run(|context| async move {
        let shard = &context.shards[0];
        let endpoint = endpoint_for(shard, HookEvents::FIRST).await;
        for (recipient, at) in [(1, 1_000), (2, 1_000), (3, 2_000)] {
            tell(shard, HookEvent::Delivered, recipient, at).await;
        }
        let ids: Vec<u64> = waiting(shard).await.iter().map(|hook| hook.id).collect();
        damage(shard, hook_key("anna", ids[0])).await;
        let off = Enabled::No("so".into());
        let off = set_enabled(shard, &turn().await, endpoint, &off, 2_000).await;
        let row = off.unwrap().0.unwrap();
        for (before, left) in [(1_000, 3), (1_500, 1)] {
            purge(shard, &turn().await, &row, (before, KEEPS), 2_001)
                .await
                .unwrap();
            let row = Book::look(shard, "anna").await.unwrap().row;
            assert_eq!(row.pending, left);
        }
        assert_eq!(waiting(shard).await[0].recipient, 3);
    });
    store.close();
}

#[test]
fn what_is_kept_and_cant_be_read_goes_when_its_time_has_come() {
    let (_directory, store) = store();
    store.run(|context| async move {
        let shard = &context.shards[0];
        endpoint_for(shard, HookEvents::FIRST).await;
        for recipient in 1..=4 {
            tell(shard, HookEvent::Delivered, recipient, 1_000).await;
        }
        let ids: Vec<u64> = waiting(shard).await.iter().map(|hook| hook.id).collect();
        for (id, at) in ids.iter().zip([1_100, 1_101, 1_200, 1_201]) {
            cancel(shard, &turn().await, KEEPS, &[*id], at)
                .await
                .unwrap();
        }
        for (id, at) in [(ids[0], 1_100), (ids[2], 1_200)] {
            damage(shard, retired_key("anna", at, id)).await;
        }
        assert_eq!(over(shard).await.len(), 2);
        for (end, left, kept) in [(1_150, 2, 1), (1_250, 0, 0)] {
            prune(shard, &turn().await, (end, 100), 1_300)
                .await
                .unwrap();
            let rows = [rows_of(shard, b'r').await, rows_of(shard, b'n').await];
            assert_eq!((rows, rows_of(shard, b'b').await), ([left; 2], left));
            assert_eq!(over(shard).await.len(), kept);
        }
    });
    store.close();
}

#[test]
fn other_endpoints_and_accounts_go_on_where_a_row_cant_be_read() {
    let (_directory, store) = store();
    store.run(|context| async move {
        let shard = &context.shards[0];
        let endpoint = endpoint_for(shard, HookEvents::FIRST).await;
        let other = endpoint_for(shard, HookEvents::FIRST).await;
        damage(shard, endpoint_key("anna", other)).await;
        tell(shard, HookEvent::Delivered, 1, 1_000).await;
        damage(shard, line_key("anna", endpoint)).await;
        let found = lines(shard, "anna").await.unwrap();
        assert!(found.len() == 1 && found[0].1.count > 0, "it is looked at");
        tell(shard, HookEvent::Delivered, 2, 1_001).await;
        let claimed = next(shard, endpoint, None, 1_001).await.claimed.unwrap();
        assert_eq!(claimed.hook.recipient, 1);
        let after = Some((claimed.hook.id, true));
        let claimed = next(shard, endpoint, after, 1_001).await.claimed.unwrap();
        assert_eq!(claimed.hook.recipient, 2);
        // The next account has a call under way, too.
        let (hooks, spec) = (
            Hooks::default(),
            EndpointSpec {
                url: "https://b.example/hook".into(),
                authorization: None,
                events: HookEvents::FIRST,
                concurrency: 1,
            },
        );
        let ben = hooks.turn("ben").await;
        put(shard, &ben, (None, &spec), vec![7; 32], 1_000)
            .await
            .unwrap();
        damage(shard, account_key("anna")).await;
        let mut seen = Vec::new();
        each_account(shard, async |account| {
            seen.push(account.to_string());
            let turn = Hooks::default().turn(account).await;
            resume(shard, &turn, 1_002).await
        })
        .await
        .unwrap();
        assert_eq!(seen, ["anna", "ben"]);
    });
    store.close();
}

//! The record of logins: bounded by number and by age.

use std::net::Ipv4Addr;

use super::*;
use crate::login::{Attempted, LoginRecord, Times};

fn record(account: &str, result: &'static str, number: u32, at: i64) -> LoginRecord {
    let attempted = Attempted {
        account: account.into(),
        login: "x".into(),
        peer: Ipv4Addr::from(number).into(),
        local: Ipv4Addr::LOCALHOST.into(),
        tls: String::new(),
        key: None,
        protocol: "imap".into(),
        mechanism: "PLAIN".into(),
        client: String::new(),
        result: result.into(),
    };
    LoginRecord {
        attempted,
        times: Times::once(at),
    }
}

async fn times(shard: &Rc<Shard>, account: &str) -> Vec<(bool, Times)> {
    let found = login_records(shard, Some(account), None, 10_000).await;
    let mut all: Vec<_> = found
        .unwrap()
        .into_iter()
        .map(|(_, r)| (r.attempted.is_ok(), r.times))
        .collect();
    all.sort_by_key(|(ok, times)| (*ok, times.last));
    all
}

#[test]
fn the_latest_of_each_kind_are_kept() {
    let (_directory, store) = store();
    store.run(|context| async move {
        let shard = &context.shards[0];
        let at = |range: std::ops::Range<i64>, result| {
            range
                .map(|n| record("anna", result, n as u32, n))
                .collect::<Vec<_>>()
        };
        // What was there before counts too, though nobody has counted it.
        record_logins(shard, at(0..30, "badcreds"), 1_000)
            .await
            .unwrap();
        record_logins(shard, at(0..15, "ok"), 40).await.unwrap();
        record_logins(shard, vec![record("annab", "badcreds", 1, 1)], 40)
            .await
            .unwrap();
        for n in 30..200 {
            record_logins(shard, at(n..n + 1, "badcreds"), 40)
                .await
                .unwrap();
            let failed = times(shard, "anna").await;
            let failed: Vec<i64> = failed
                .iter()
                .filter(|(ok, _)| !ok)
                .map(|(_, t)| t.last)
                .collect();
            assert!(
                (38..=40).contains(&failed.len()) || n < 40,
                "{n}: {}",
                failed.len()
            );
            let first = n + 1 - failed.len() as i64;
            assert!(failed.iter().copied().eq(first..n + 1), "{n}: {failed:?}");
        }
        assert_eq!(
            times(shard, "anna")
                .await
                .iter()
                .filter(|(ok, _)| *ok)
                .count(),
            15
        );
        assert_eq!(times(shard, "annab").await.len(), 1);
        // The same again is no new record.
        record_logins(shard, at(199..200, "badcreds"), 40)
            .await
            .unwrap();
        let last = times(shard, "anna").await.into_iter().rfind(|(ok, _)| !ok);
        assert_eq!(last.unwrap().1.count, 2);
    });
    store.close();
}

#[test]
fn what_guesses_at_no_secret_pushes_out_no_guesses() {
    let (_directory, store) = store();
    store.run(|context| async move {
        let shard = &context.shards[0];
        let guesses = (0..10).map(|n| record("anna", "badpassword", n, 1));
        record_logins(shard, guesses.collect(), 40).await.unwrap();
        for n in 0..5 {
            for (result, last) in [("aborted", 2), ("nokeys", 3)] {
                let others = (0..100).map(|m| record("anna", result, n * 100 + m, last));
                record_logins(shard, others.collect(), 40).await.unwrap();
            }
        }
        let all = times(shard, "anna").await;
        let of = |last| all.iter().filter(|(_, t)| t.last == last).count();
        assert_eq!(of(1), 10);
        for others in [of(2), of(3)] {
            assert!((38..=40).contains(&others), "{others}");
        }
    });
    store.close();
}

#[test]
fn what_was_last_seen_long_ago_goes() {
    let (_directory, store) = store();
    store.run(|context| async move {
        let shard = &context.shards[0];
        let all = (0..1_200).map(|n| record(["anna", "", "ben"][n % 3], "ok", n as u32, n as i64));
        for slice in all.collect::<Vec<_>>().chunks(500) {
            record_logins(shard, slice.to_vec(), 10_000).await.unwrap();
        }
        // Once more, so that it is not old.
        record_logins(shard, vec![record("anna", "ok", 0, 2_000)], 10_000)
            .await
            .unwrap();
        assert_eq!(prune_logins(shard, 600).await.unwrap(), 599);
        assert_eq!(prune_logins(shard, 600).await.unwrap(), 0);
        let anna = times(shard, "anna").await;
        assert_eq!(anna.len(), 201);
        assert_eq!(
            anna[200].1,
            Times {
                first: 0,
                last: 2_000,
                count: 2
            }
        );
        assert_eq!(times(shard, "").await.len(), 200);
        assert_eq!(times(shard, "ben").await.len(), 200);
    });
    store.close();
}

#[test]
fn what_is_old_goes_around_a_record_that_cant_be_read() {
    let (_directory, store) = store();
    store.run(|context| async move {
        let shard = &context.shards[0];
        record_logins(shard, vec![record("ben", "ok", 1, 1)], 40)
            .await
            .unwrap();
        let mut batch = shards::storage::Batch::default();
        let row = [keys::logins("anna").as_slice(), &[0; 16]].concat();
        batch.put(row.clone(), vec![0xff]);
        let permit = shard.permit(100, false, std::time::Duration::from_secs(30));
        let permit = permit.await.unwrap();
        shard.commit(permit, batch).await.unwrap();
        assert_eq!(prune_logins(shard, 600).await.unwrap(), 1);
        assert!(shard.get(row).await.unwrap().is_some());
    });
    store.close();
}

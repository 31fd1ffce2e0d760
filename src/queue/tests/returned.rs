//! What comes back finds its recipient, once, and what follows from it depends on how it was found.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use super::super::returned::{
    self, Clue, FoundBy, RESULTS_MAX, Returned, ReturnedKind, TakenReturned,
};
use super::super::suppression;
use super::super::warm_up::WarmUpKey;
use super::*;
use crate::store::tests::Store;

const KEEPS: events::Interest = events::Interest {
    suppresses: true,
    keeps_retired_secs: 100_000,
    keeps_webhooks_secs: 0,
    pending_webhooks_max: 1000,
    pending_webhook_octets_max: 1 << 30,
};

/// Someone to whom mail went out, as the account's shard hears of it.
struct Sent<'a> {
    shard: &'a Rc<Shard>,
    event: events::Event,
}

impl Sent<'_> {
    /// Ends a recipient.
    async fn ends(&self, change: impl Fn(&mut events::Event)) {
        let mut event = self.event.clone();
        change(&mut event);
        let told = events::Told {
            events: vec![event],
            over: Vec::new(),
        };
        all_taken(events::take(self.shard, &turn("anna").await, KEEPS, &told, 2_000).await);
    }

    async fn takes(&self, returned: &Returned) -> TakenReturned {
        let all = std::slice::from_ref(returned);
        let turn = turn("anna").await;
        let taken = returned::take(self.shard, &turn, KEEPS, all, 2_000).await;
        taken.unwrap().found[0].taken
    }

    async fn row(&self, id: u64) -> retired::RetiredRow {
        let filter = RetiredFilter::default();
        let (found, _) = retired::page(self.shard, &filter, None, Most::entries(1_000))
            .await
            .unwrap();
        let mut rows = found.into_iter().map(|(_, row)| row);
        rows.find(|row| row.id == id).unwrap()
    }

    /// Why an address is suppressed, and how many failures count.
    async fn listed(&self, address: &str) -> (Option<String>, usize) {
        let row = suppression::find(self.shard, "anna", address).await;
        let row = row.unwrap().unwrap_or_default();
        (row.suppressed.map(|s| s.reason), row.failures.len())
    }
}

/// A message to bob and carol was taken by the next hop.
pub(super) fn sent() -> events::Event {
    events::Event {
        id: events::EventId {
            id: 7,
            attempt: 1,
            kind: events::EventKind::Delivered,
        },
        at: 1_000,
        account: "anna".into(),
        message_id: "<1@example.org>".into(),
        subject: String::new(),
        from_id: String::new(),
        envid: None,
        reverse_path: "anna@example.org".into(),
        recipient: "bob@one.example".into(),
        orcpt: None,
        recipients: 2,
        numbers: 7..9,
        accepted: 990,
        size: 10,
        remote: "mx.one.example".into(),
        code: 250,
        enhanced: None,
        text: "taken".into(),
        class: None,
        history: Vec::new(),
        extra: BTreeMap::new(),
        warm_up: None,
        by_report: None,
    }
}

fn with_sent(job: impl AsyncFnOnce(Sent<'_>) + Send + 'static) {
    let (_directory, store) = store();
    store.run(|context| async move {
        let shard = &context.shards[0];
        job(Sent {
            shard,
            event: sent(),
        })
        .await;
    });
    store.close();
}

fn failed(clue: Clue) -> Returned {
    Returned {
        clues: vec![clue],
        recipients: vec!["bob@one.example".into()],
        kind: ReturnedKind::Failed,
        code: 550,
        enhanced: Some((5, 1, 1)),
        text: "no such user".into(),
        class: None,
        reporting_mta: "mx.one.example".into(),
        digest: [1; 16],
        index: 0,
        at: 1_500,
    }
}

fn by_id() -> Clue {
    Clue::MessageId("<1@example.org>".into())
}

const FOUND: TakenReturned = TakenReturned::Found { id: 7 };

#[test]
fn a_report_by_number_is_taken_once_and_one_alone_suppresses_nobody() {
    with_sent(async |sent| {
        sent.ends(|_| ()).await;
        let mut report = failed(Clue::Number(7));
        for _ in 0..2 {
            assert_eq!(sent.takes(&report).await, FOUND);
        }
        let row = sent.row(7).await;
        assert_eq!(row.result, events::EventKind::Delivered);
        assert_eq!(row.returned.len(), 1);
        let result = &row.returned[0];
        assert_eq!(
            (result.by, result.code, result.at),
            (FoundBy::Fromid, 550, 1_500)
        );
        // The next hop had taken it, and who got it by an alias knows the number too.
        assert_eq!(sent.listed("bob@one.example").await, (None, 1));
        // Another recipient of the same message is another result, and no other failure.
        report.index = 1;
        assert_eq!(sent.takes(&report).await, FOUND);
        assert_eq!(sent.row(7).await.returned.len(), 2);
        assert_eq!(sent.listed("bob@one.example").await, (None, 1));
        assert_eq!(
            sent.takes(&failed(Clue::Number(8))).await,
            TakenReturned::Waiting
        );
        // Three messages, one of them by a report that names nobody.
        sent.ends(|event| event.id.id = 8).await;
        assert_eq!(sent.listed("bob@one.example").await, (None, 2));
        sent.ends(|event| event.id.id = 9).await;
        let mut report = failed(Clue::Number(9));
        report.recipients.clear();
        sent.takes(&report).await;
        let (reason, _) = sent.listed("bob@one.example").await;
        let reason = reason.unwrap();
        assert!(
            reason.starts_with("invalid-mailbox: 550 5.1.1 no such user"),
            "{reason}"
        );
    });
}

#[test]
fn what_is_said_of_a_lists_member_is_told_and_does_not_count_against_the_list() {
    with_sent(async |sent| {
        let member = |clue, digest: u8| Returned {
            recipients: vec!["member@else.example".into()],
            digest: [digest; 16],
            ..failed(clue)
        };
        for id in 20..24 {
            // The first one before its recipient's end.
            if id == 20 {
                let early = sent.takes(&member(Clue::Number(id), 1)).await;
                assert_eq!(early, TakenReturned::Waiting);
            }
            sent.ends(|event| {
                event.id.id = id;
                event.recipients = 1;
                event.numbers = id..id + 1;
                event.orcpt = Some("rfc822;list@three.example".into());
            })
            .await;
            sent.takes(&member(Clue::Number(id), 1)).await;
            sent.takes(&member(Clue::Message(id), 2)).await;
            let row = sent.row(id).await;
            let by: Vec<_> = row.returned.iter().map(|r| r.by).collect();
            assert_eq!(by, [FoundBy::FromidOther, FoundBy::TokenOther], "{id}");
            assert_eq!(row.returned[0].class, "invalid-mailbox");
            // That it has come to a member says nothing of the list.
            let arrived = Returned {
                kind: ReturnedKind::Delivered,
                ..member(Clue::Number(id), 3)
            };
            sent.takes(&arrived).await;
            assert_eq!(sent.listed("bob@one.example").await, (None, 0));
        }
        // Either name is the recipient's.
        for (id, name) in [(20, "Bob@One.example"), (21, "list@three.example")] {
            let mut report = failed(Clue::Number(id));
            report.digest = [9; 16];
            report.recipients = vec!["member@else.example".into(), name.into()];
            sent.takes(&report).await;
        }
        assert_eq!(sent.listed("bob@one.example").await, (None, 2));
        let arrived = Returned {
            kind: ReturnedKind::Delivered,
            ..member(Clue::Number(22), 4)
        };
        sent.takes(&arrived).await;
        assert_eq!(sent.listed("bob@one.example").await, (None, 2));
    });
}

#[test]
fn the_number_in_the_header_finds_the_one_that_is_spoken_of() {
    with_sent(async |sent| {
        sent.ends(|_| ()).await;
        let carol = |event: &mut events::Event| {
            event.id.id = 8;
            event.recipient = "carol@two.example".into();
        };
        sent.ends(carol).await;
        let alone = |event: &mut events::Event| {
            (event.id.id, event.recipients, event.numbers) = (20, 1, 20..21);
        };
        sent.ends(alone).await;
        let report = |first, recipient: &str, digest: u8| Returned {
            recipients: vec![recipient.into()],
            digest: [digest; 16],
            ..failed(Clue::Message(first))
        };
        let found = |id| TakenReturned::Found { id };
        // All recipients of a message can have read it.
        let taken = sent.takes(&report(7, "Carol@two.example", 1)).await;
        assert_eq!(taken, found(8));
        assert_eq!(sent.row(8).await.returned[0].by, FoundBy::SharedToken);
        assert_eq!(sent.listed("carol@two.example").await, (None, 1));
        let taken = sent.takes(&report(7, "dave@two.example", 2)).await;
        assert_eq!(taken, TakenReturned::Nothing);
        assert_eq!(
            sent.takes(&report(9, "x@y.example", 3)).await,
            TakenReturned::Nothing
        );
        // Of one that went to one alone it is found, whoever is named: a member of a list, whom the message came to by it.
        let taken = sent.takes(&report(20, "member@else.example", 4)).await;
        assert_eq!(taken, found(20));
        assert_eq!(sent.row(20).await.returned[0].by, FoundBy::TokenOther);
        assert_eq!(sent.listed("bob@one.example").await, (None, 0));
        // A member can name the list as well.
        let taken = sent.takes(&report(20, "Bob@One.example", 5)).await;
        assert_eq!(taken, found(20));
        assert_eq!(sent.row(20).await.returned[1].by, FoundBy::Token);
        assert_eq!(sent.listed("bob@one.example").await, (None, 1));
    });
}

#[test]
fn a_complaint_by_the_header_is_no_proof_and_one_of_another_counts_for_nothing() {
    with_sent(async |sent| {
        let complaint = |recipients: &[&str], digest: u8| Returned {
            kind: ReturnedKind::Complaint,
            recipients: recipients.iter().map(|r| r.to_string()).collect(),
            digest: [digest; 16],
            ..failed(Clue::Message(20))
        };
        sent.ends(|event| {
            (event.id.id, event.recipients, event.numbers) = (20, 1, 20..21);
            event.orcpt = Some("rfc822;robert@three.example".into());
        })
        .await;
        // As the sender had named him; and nobody: of one message, so one of several.
        let cases: [(&[&str], usize); 3] = [
            (&["member@else.example"], 0),
            (&["Robert@three.example"], 1),
            (&[], 1),
        ];
        for (digest, (recipients, count)) in (0..).zip(cases) {
            let taken = sent.takes(&complaint(recipients, digest)).await;
            assert_eq!(taken, TakenReturned::Found { id: 20 });
            let listed = sent.listed("bob@one.example").await;
            assert_eq!(listed, (None, count), "{recipients:?}");
        }
        // RFC 6590: one by number may hide whom it speaks of.
        let hidden = Returned {
            clues: vec![Clue::Number(20)],
            ..complaint(&["0f3a@three.example"], 9)
        };
        sent.takes(&hidden).await;
        assert!(sent.listed("bob@one.example").await.0.is_some());
    });
}

#[test]
fn a_row_that_cant_be_read_goes_like_the_others() {
    with_sent(async |sent| {
        for id in 7..10 {
            sent.ends(|event| event.id.id = id).await;
        }
        let mut batch = Batch::default();
        let prefix = crate::store::rows::RETIRED.to_vec();
        let rows = sent.shard.scan(prefix.clone(), prefix.clone(), 100).await;
        let is_second = |key: &[u8]| key.starts_with(b"Hanna\0t") && key.ends_with(&[8]);
        let mut rows = rows.unwrap().into_iter();
        let (second, _) = rows.find(|(key, _)| is_second(key)).unwrap();
        batch.put(second, vec![77]);
        let permit = sent
            .shard
            .permit(100, false, std::time::Duration::from_secs(10));
        sent.shard
            .commit(permit.await.unwrap(), batch)
            .await
            .unwrap();
        let hooks = super::hooks::Hooks::default();
        let prune = |now| retired::prune(sent.shard, &hooks, (now, 100), |_| 500);
        assert_eq!(prune(1_400).await.unwrap(), 0);
        assert_eq!(prune(1_600).await.unwrap(), 3);
        let left = sent.shard.scan(prefix.clone(), prefix, 100).await.unwrap();
        let is_row = |(key, _): &(Vec<u8>, Vec<u8>)| !key.starts_with(b"Hanna\0c");
        assert!(!left.iter().any(is_row), "{left:?}");
    });
}

#[test]
fn what_others_can_guess_must_name_the_recipient_and_never_suppresses_at_once() {
    with_sent(async |sent| {
        for (id, n) in [(7, "1"), (8, "2"), (9, "3")] {
            sent.ends(|event| {
                event.id.id = id;
                event.message_id = format!("<{n}@example.org>");
                event.envid = Some(format!("id{n}+2B"));
                event.orcpt = Some("rfc822;List@Two.example".into());
            })
            .await;
        }
        let mut report = failed(by_id());
        report.recipients = vec!["else@one.example".into()];
        assert_eq!(sent.takes(&report).await, TakenReturned::Nothing);
        report.recipients.clear();
        assert_eq!(sent.takes(&report).await, TakenReturned::Nothing);
        // As addresses, and as the sender named it.
        report.recipients = vec!["BOB@One.Example".into()];
        assert_eq!(sent.takes(&report).await, FOUND);
        assert_eq!(sent.row(7).await.returned[0].by, FoundBy::MessageId);
        assert_eq!(sent.listed("bob@one.example").await, (None, 1));
        // The same message again, by another report: no more than one message has failed.
        report.digest = [2; 16];
        assert_eq!(sent.takes(&report).await, FOUND);
        assert_eq!(sent.listed("bob@one.example").await, (None, 1));
        let mut report = failed(Clue::Envid("id2+".into()));
        report.recipients = vec!["list@two.example".into()];
        assert_eq!(sent.takes(&report).await, TakenReturned::Found { id: 8 });
        // That the next hop takes more says nothing of the mailbox behind it.
        sent.ends(|event| event.id.id = 10).await;
        assert_eq!(sent.listed("bob@one.example").await, (None, 2));
        // The first clue that finds one counts.
        let mut report = failed(Clue::Envid("unknown".into()));
        report.clues.push(Clue::MessageId("<3@example.org>".into()));
        assert_eq!(sent.takes(&report).await, TakenReturned::Found { id: 9 });
        let (reason, failures) = sent.listed("bob@one.example").await;
        assert_eq!(failures, 0);
        assert!(reason.unwrap().ends_with("3 messages one after the other"));
    });
}

#[test]
fn a_report_of_delivery_begins_the_count_anew_if_it_is_proof() {
    with_sent(async |sent| {
        sent.ends(|_| ()).await;
        assert_eq!(sent.takes(&failed(by_id())).await, FOUND);
        let mut arrived = Returned {
            kind: ReturnedKind::Delivered,
            code: 0,
            enhanced: Some((2, 0, 0)),
            digest: [2; 16],
            ..failed(by_id())
        };
        assert_eq!(sent.takes(&arrived).await, FOUND);
        assert_eq!(sent.listed("bob@one.example").await, (None, 1));
        arrived.clues = vec![Clue::Number(7)];
        arrived.digest = [3; 16];
        assert_eq!(sent.takes(&arrived).await, FOUND);
        assert_eq!(sent.listed("bob@one.example").await, (None, 0));
    });
}

#[test]
fn a_clients_own_id_means_the_latest_message_with_that_recipient() {
    with_sent(async |sent| {
        for (id, at, recipient) in [
            (7, 1_003, "bob@one.example"),
            (8, 1_001, "bob@one.example"),
            (9, 1_005, "carol@one.example"),
        ] {
            sent.ends(|event| {
                event.id.id = id;
                event.at = at;
                event.reverse_path = "Anna+Batch@example.org".into();
                event.recipient = recipient.into();
                event.recipients = 1;
            })
            .await;
        }
        let own = Clue::OwnId("anna+batch@Example.org".into());
        assert_eq!(sent.takes(&failed(own)).await, FOUND);
        assert_eq!(sent.row(7).await.returned[0].by, FoundBy::OwnId);
        let other = Clue::OwnId("anna+other@example.org".into());
        assert_eq!(sent.takes(&failed(other)).await, TakenReturned::Nothing);
    });
}

#[test]
fn a_complaint_suppresses_if_it_is_known_who_complains() {
    with_sent(async |sent| {
        let complaint = |clue| Returned {
            kind: ReturnedKind::Complaint,
            code: 0,
            enhanced: None,
            text: String::new(),
            reporting_mta: "fbl.one.example".into(),
            ..failed(clue)
        };
        sent.ends(|_| ()).await;
        // It went to two.
        assert_eq!(
            sent.takes(&complaint(by_id())).await,
            TakenReturned::Nothing
        );
        let mut unnamed = complaint(Clue::MessageId("<2@example.org>".into()));
        unnamed.recipients.clear();
        sent.ends(|event| {
            event.id.id = 8;
            event.message_id = "<2@example.org>".into();
            event.recipient = "dora@one.example".into();
            event.recipients = 1;
        })
        .await;
        assert_eq!(sent.takes(&unnamed).await, TakenReturned::Found { id: 8 });
        // Her alone it went to, but others may know its Message-ID.
        assert_eq!(sent.listed("dora@one.example").await, (None, 1));
        let expected = Some("complaint: reported by fbl.one.example".to_string());
        assert_eq!(sent.listed("bob@one.example").await, (None, 0));
        assert_eq!(sent.takes(&complaint(Clue::Number(7))).await, FOUND);
        assert_eq!(sent.listed("bob@one.example").await, (expected, 0));
    });
}

#[test]
fn a_complaint_counts_once_at_the_address_that_delivered() {
    with_sent(async |sent| {
        let key = WarmUpKey {
            pool: "bulk".into(),
            member: "one".into(),
            site: "mx.one.example".into(),
        };
        let take = async |id, kind, digest| {
            let complaint = [Returned {
                kind,
                digest: [digest; 16],
                ..failed(Clue::Number(id))
            }];
            let turn = turn("anna").await;
            let taken = returned::take(sent.shard, &turn, KEEPS, &complaint, 2_000);
            taken.await.unwrap().done.complaints
        };
        sent.ends(|event| event.warm_up = Some(key.clone())).await;
        assert_eq!(take(7, ReturnedKind::Failed, 1).await, []);
        let one = [key.clone()];
        assert_eq!(take(7, ReturnedKind::Complaint, 2).await, one);
        assert_eq!(take(7, ReturnedKind::Complaint, 2).await, []);
        // Said again in other words, also when others have come meanwhile than are kept.
        for digest in 3..30 {
            let kind = match digest % 3 {
                0 => ReturnedKind::Complaint,
                _ => ReturnedKind::Unrecognized,
            };
            assert_eq!(take(7, kind, digest).await, [], "{digest}");
        }
        // Each keeps its number.
        let row = sent.row(7).await;
        assert_eq!(row.returned.len(), RESULTS_MAX);
        assert_eq!(row.returned_numbers, [1, 2, 24, 25, 26, 27, 28, 29]);
        // One that waits counts when its recipient ends.
        assert_eq!(take(8, ReturnedKind::Complaint, 1).await, []);
        let mut event = sent.event.clone();
        event.id.id = 8;
        event.warm_up = Some(key.clone());
        let told = events::Told {
            events: vec![event],
            over: Vec::new(),
        };
        let turn = turn("anna").await;
        let done = events::take(sent.shard, &turn, KEEPS, &told, 2_000).await;
        assert_eq!(all_taken(done).complaints, one);
    });
}

#[test]
fn what_comes_back_before_the_end_is_told_waits_for_it() {
    with_sent(async |sent| {
        let mut report = failed(Clue::Number(7));
        for _ in 0..2 {
            assert_eq!(sent.takes(&report).await, TakenReturned::Waiting);
        }
        assert_eq!(kept_rows(sent.shard).await, 1);
        for n in 2..12 {
            report.digest = [n; 16];
            let expected = match n {
                2..=8 => TakenReturned::Waiting,
                _ => TakenReturned::Nothing,
            };
            assert_eq!(sent.takes(&report).await, expected, "{n}");
        }
        sent.ends(|_| ()).await;
        let row = sent.row(7).await;
        assert_eq!(row.returned.len(), 8);
        // The end itself says nothing of the address: the report does.
        assert_eq!(sent.listed("bob@one.example").await, (None, 1));
        // Taken already.
        report.digest = [1; 16];
        assert_eq!(sent.takes(&report).await, FOUND);
        assert_eq!(sent.row(7).await.returned.len(), 8);
        // Nobody ends under this number: erased after an hour. Nor is anything guessed before its time.
        assert_eq!(
            sent.takes(&failed(Clue::Number(9))).await,
            TakenReturned::Waiting
        );
        let early = failed(Clue::MessageId("<9@example.org>".into()));
        assert_eq!(sent.takes(&early).await, TakenReturned::Nothing);
        let prune = async |now| {
            let kept = |_: &str| 1_000_000;
            retired::prune(
                sent.shard,
                &super::hooks::Hooks::default(),
                (now, 100),
                kept,
            )
            .await
            .unwrap()
        };
        let before = kept_rows(sent.shard).await;
        prune(2_000 + 3_600).await;
        assert_eq!(kept_rows(sent.shard).await, before);
        prune(2_001 + 3_600).await;
        assert_eq!(kept_rows(sent.shard).await, before - 1);
        // With its recipient all goes that leads to it.
        prune(2_000_000).await;
        assert_eq!(kept_rows(sent.shard).await, 0);
    });
}

#[test]
fn of_many_results_the_first_and_the_latest_are_kept() {
    with_sent(async |sent| {
        sent.ends(|_| ()).await;
        let mut report = failed(Clue::Number(7));
        report.kind = ReturnedKind::Unrecognized;
        for n in 0..20 {
            report.index = n;
            report.text = "x".repeat(5_000);
            assert_eq!(sent.takes(&report).await, FOUND);
        }
        let kept = sent.row(7).await.returned;
        let indices: Vec<u32> = kept.iter().map(|result| result.index).collect();
        assert_eq!(indices, [0, 13, 14, 15, 16, 17, 18, 19]);
        assert_eq!(kept.len(), RESULTS_MAX);
        assert_eq!(kept[1].text.len(), 500);
        assert_eq!(sent.listed("bob@one.example").await, (None, 0));
        // What is no report says nothing by what anybody can guess.
        report.clues = vec![by_id()];
        assert_eq!(sent.takes(&report).await, TakenReturned::Nothing);
    });
}

/// A report before the end of its recipient is told, the end, that of another one, and a report about that.
fn story(directory: &Path) -> Store {
    let store = Store::open(directory);
    store.run(|context| async move {
        let shard = &context.shards[0];
        let sent = Sent {
            shard,
            event: sent(),
        };
        let full = |clue, digest| Returned {
            code: 552,
            enhanced: Some((5, 2, 2)),
            text: "mailbox full".into(),
            digest: [digest; 16],
            ..failed(clue)
        };
        let early = sent.takes(&full(Clue::Number(7), 1)).await;
        assert_ne!(early, TakenReturned::Nothing);
        sent.ends(|_| ()).await;
        sent.ends(|event| {
            event.id.id = 8;
            event.message_id = "<2@example.org>".into();
        })
        .await;
        let second = full(Clue::MessageId("<2@example.org>".into()), 2);
        let found = sent.takes(&second).await;
        assert_eq!(found, TakenReturned::Found { id: 8 });
    });
    store
}

/// Not a test: the process that is killed.
#[test]
fn child() {
    if let Ok(directory) = std::env::var("RINGMAIL_CHILD_RETURNED") {
        story(Path::new(&directory)).close();
    }
}

#[test]
fn a_kill_beside_each_commit_neither_loses_nor_doubles_what_came_back() {
    for point in ["rows.commit", "rows.synced"] {
        for pass in 1.. {
            assert!(pass < 100, "it is killed whatever comes");
            let directory = tempfile::tempdir().unwrap();
            let mut child = Command::new(std::env::current_exe().unwrap());
            child.args(["queue::tests::returned::child", "--exact"]);
            child.env("RINGMAIL_CHILD_RETURNED", directory.path());
            child.env("RINGMAIL_FAULTS", format!("{point}=kill@{pass}"));
            let is_whole = child.output().unwrap().status.success();
            // The sender repeats the report, the queue the event.
            let store = story(directory.path());
            store.run(|context| async move {
                let sent = Sent {
                    shard: &context.shards[0],
                    event: sent(),
                };
                for id in [7, 8] {
                    assert_eq!(sent.row(id).await.returned.len(), 1, "{id}");
                }
                assert_eq!(sent.listed("bob@one.example").await, (None, 2));
                // The first row; of each its row and its number; and what each is found by.
                assert_eq!(kept_rows(sent.shard).await, 1 + 2 * 3);
            });
            store.close();
            if is_whole {
                // Each of the story's commits has been the last one.
                assert!(pass > 4, "{point}");
                break;
            }
        }
    }
}

#[test]
fn spellings_of_one_address_in_a_message_are_one_failure() {
    with_sent(async |sent| {
        let refused = |id: u64, at: i64| {
            move |event: &mut events::Event| {
                event.id.id = id;
                event.id.kind = events::EventKind::Failed;
                event.numbers = id / 10 * 10..id / 10 * 10 + 3;
                event.recipient = format!("bob+{id}@one.example");
                event.at = at;
                event.code = 554;
                event.history = vec![Attempt {
                    at,
                    took_ms: 1,
                    remote: "mx.one.example".into(),
                    code: 554,
                    enhanced: None,
                    text: "no".into(),
                    stage: None,
                }];
            }
        };
        for id in 20..23 {
            sent.ends(refused(id, 1_500)).await;
        }
        assert_eq!(sent.listed("bob@one.example").await, (None, 1));
        sent.ends(refused(30, 1_600)).await;
        sent.ends(refused(40, 1_700)).await;
        assert!(sent.listed("bob@one.example").await.0.is_some());
    });
}

#[test]
fn rows_of_earlier_versions_are_read() {
    with_sent(async |sent| {
        let told = |event: &mut events::Event| {
            event.history = vec![Attempt {
                at: 1_000,
                took_ms: 1,
                remote: "mx.one.example".into(),
                code: 451,
                enhanced: None,
                text: "come again later".into(),
                stage: None,
            }];
        };
        sent.ends(told).await;
        assert_eq!(sent.takes(&failed(Clue::Number(7))).await, FOUND);
        let now = sent.row(7).await;
        assert_eq!(now.returned_numbers, [1]);
        let prefix = b"Hanna\0t".to_vec();
        let rows = sent.shard.scan(prefix.clone(), prefix, 2).await.unwrap();
        let (key, row) = &rows[0];
        assert_eq!(row[0], 4);
        // The numbers of what came back were last.
        let (row, numbers) = row.split_at(row.len() - 2);
        assert_eq!(numbers, [1, 1]);
        let third = [&[3], &row[1..]].concat();
        // The attempt ended with its text.
        let words = b"come again later";
        let at = row.windows(words.len()).position(|w| w == words).unwrap() + words.len();
        assert_eq!(row[at], 0);
        let second = [&[2], &row[1..at], &row[at + 1..]].concat();
        // Subject and fromid, both empty, came last.
        let (end, before) = second.split_at(second.len() - 2);
        assert_eq!(before, [0, 0]);
        let first = [&[1], &end[1..]].concat();
        for row in [third, second, first] {
            let mut batch = Batch::default();
            batch.put(key.clone(), row);
            let permit = sent
                .shard
                .permit(100, false, std::time::Duration::from_secs(10));
            let committed = sent.shard.commit(permit.await.unwrap(), batch).await;
            committed.unwrap();
            assert_eq!(sent.row(7).await, now);
        }
    });
}

//! Accounts take turns where messages of batches are made: one that has many heavy ones holds up nobody else.

use std::sync::{Arc, Mutex};

use ringmail::calls::{AcceptedBatch, Answer, Call, ControlAnswer, ControlCall, SubmitBatch};
use ringmail::calls::{BatchError, Submitted};
use ringmail::queue::QueueId;
use ringmail::queue::batch::Cancelled;
use shards::CoreId;
use webapi::batch::{BatchRecipient, BatchRequest};
use webapi::template::Parts;

use crate::outbound::{free_port, server};
use crate::patience::until;
use crate::receiver::Receiver;
use crate::server::TestServer;

fn submit(
    server: &TestServer,
    account: &str,
    text: &str,
    addresses: impl Iterator<Item = String>,
) -> Result<AcceptedBatch, BatchError> {
    let recipient = |address| BatchRecipient {
        address,
        ..BatchRecipient::default()
    };
    let request = BatchRequest {
        template: Parts {
            subject: account.into(),
            text: text.into(),
            ..Parts::default()
        },
        recipients: addresses.map(recipient).collect(),
        ..BatchRequest::default()
    };
    let submit = SubmitBatch {
        account: account.parse().unwrap(),
        login: format!("{account}@example.test"),
        id: "test".into(),
        request,
        uploads: Vec::new(),
        once: None,
    };
    match server
        .server()
        .call(CoreId(0), Call::SubmitBatch(Box::new(submit)))
    {
        Ok(Answer::SubmittedBatch(said)) => match said? {
            Submitted::Now(accepted) => Ok(accepted),
            other => panic!("{other:?}"),
        },
        _ => panic!("no answer"),
    }
}

fn cancel(server: &TestServer, account: &str, id: u64) -> Cancelled {
    let id = QueueId::from_u64(id).unwrap();
    let call = ControlCall::CancelBatch {
        shard: id.shard(),
        account: account.parse().unwrap(),
        number: id.number(),
    };
    let owner = server.server().owner_of_shard(id.shard());
    match server.server().call(owner, Call::Control(Box::new(call))) {
        Ok(Answer::Control(Ok(ControlAnswer::BatchCancelled(Some(cancelled))))) => cancelled,
        _ => panic!("no answer"),
    }
}

#[test]
fn one_message_is_sent_beside_two_thousand_heavy_ones() {
    let directory = tempfile::tempdir().unwrap();
    let port = free_port();
    // Whose each message is, in their order.
    let came: Arc<Mutex<Vec<&str>>> = Arc::default();
    let heard = came.clone();
    let _receiver = Receiver::start([127, 0, 0, 11], port, None, move |line| {
        let whose = ["anna", "bert"].into_iter();
        let is_it = |name: &&str| line.contains(&format!("\r\nSubject: {name}\r\n"));
        heard.lock().unwrap().extend(whose.filter(is_it));
        None
    });
    let count = || came.lock().unwrap().len();
    let connections = "connections_at_first = 600\nconnections_per_site_max = 600\n";
    let server = server(directory.path(), port, connections);
    // Nearly all that a message may take; twice that is too much.
    let heavy = |rounds| format!("{{% for i in range({rounds}) %}}{{% endfor %}}x");
    let one = || ["c@one.test".to_owned()].into_iter();
    assert!(submit(&server, "anna", &heavy(2 * HEAVY), one()).is_err());
    let many = (0..2_000).map(|at| format!("r{at}@{}.test", ["one", "two"][at % 2]));
    let batch = submit(&server, "anna", &heavy(HEAVY), many).unwrap();
    until(|| count() > 0);
    let before = count();
    submit(&server, "bert", "{{ recipient.address }}", one()).unwrap();
    let place = || came.lock().unwrap().iter().position(|name| *name == "bert");
    until(|| place().is_some());
    // It waited twice, while it was accepted and for its template, each time for one of the others; those that were made before arrive meanwhile. In one line it
    // waited for as many as there are connections.
    let meanwhile = place().unwrap() - before;
    assert!(meanwhile < 300, "{meanwhile}");
    // A light one is not even ahead of them all.
    let cancelled = cancel(&server, "anna", batch.id);
    assert!(
        cancelled.dropped > 0 && cancelled.under_way > 0,
        "{cancelled:?}"
    );
}

/// Rounds of a loop for which one message has fuel, but not for twice as many.
const HEAVY: u32 = 20_000;

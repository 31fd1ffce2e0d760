//! Accounts take turns where messages of batches are made: one that has many heavy ones holds up nobody else.

use ringmail::calls::{AcceptedBatch, Answer, Call, ControlAnswer, ControlCall, SubmitBatch};
use ringmail::calls::{BatchError, Submitted};
use ringmail::queue::QueueId;
use ringmail::queue::batch::Cancelled;
use shards::CoreId;
use webapi::batch::{BatchRecipient, BatchRequest};
use webapi::template::Parts;

use crate::outbound::{free_port, server};
use crate::pools::patiently;
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

/// Messages with this subject.
fn messages(receiver: &Receiver, subject: &str) -> usize {
    let field = format!("\r\nSubject: {subject}\r\n");
    let heard = receiver.heard.lock().unwrap();
    let all = heard.iter().flat_map(|h| &h.messages);
    all.filter(|message| message.contains(&field)).count()
}

#[test]
fn one_message_is_sent_beside_two_thousand_heavy_ones() {
    let directory = tempfile::tempdir().unwrap();
    let port = free_port();
    let receiver = Receiver::start([127, 0, 0, 11], port, None, |_| None);
    let connections = "connections_at_first = 150\nconnections_per_site_max = 150\n";
    let server = server(directory.path(), port, connections);
    // Nearly all that a message may take; twice that is too much.
    let heavy = |rounds| format!("{{% for i in range({rounds}) %}}{{% endfor %}}x");
    let one = || ["c@one.test".to_owned()].into_iter();
    assert!(submit(&server, "anna", &heavy(2 * HEAVY), one()).is_err());
    let many = (0..2_000).map(|at| format!("r{at}@{}.test", ["one", "two"][at % 2]));
    let batch = submit(&server, "anna", &heavy(HEAVY), many).unwrap();
    patiently(|| messages(&receiver, "anna") > 0, String::new);
    let before = messages(&receiver, "anna");
    submit(&server, "bert", "{{ recipient.address }}", one()).unwrap();
    patiently(|| messages(&receiver, "bert") > 0, String::new);
    // It waited twice, while it was accepted and for its template, each time for one of the others. In one line it waited for as many as there are connections.
    let meanwhile = messages(&receiver, "anna") - before;
    assert!(meanwhile < 75, "{meanwhile}");
    // A light one is not even ahead of them all.
    let cancelled = cancel(&server, "anna", batch.id);
    assert!(
        cancelled.dropped > 0 && cancelled.under_way > 0,
        "{cancelled:?}"
    );
}

/// Rounds of a loop for which one message has fuel, but not for twice as many.
const HEAVY: u32 = 20_000;

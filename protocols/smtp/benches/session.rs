//! Nanoseconds per message of 10 KiB through the server's session: `cargo bench -p ringmail-smtp`.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use ringmail_smtp::server::{Config, Kind, Link, Session};

fn main() {
    let mut message = b"MAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.net>\r\nDATA\r\n".to_vec();
    let commands = message.len();
    message.extend_from_slice(b"Subject: bench\r\n\r\n");
    while message.len() < 10 * 1024 {
        message.extend_from_slice(
            b"A line of seventy-two letters, as they are in most of the mail we see.\r\n",
        );
    }
    message.extend_from_slice(b".\r\n");
    let config = Config {
        refuse_early_input: false,
        ..Config::new("mx.example", Kind::Delivery)
    };
    let mut session = Session::new(Arc::new(config), Link::Plain, "");
    session.greet();
    let mut output = Vec::new();
    feed(&mut session, b"EHLO client.example\r\n", &mut output);
    for round in 0..=ROUNDS_WARM {
        let start = Instant::now();
        for _ in 0..MESSAGES {
            feed(&mut session, black_box(&message[..commands]), &mut output);
            feed(&mut session, black_box(&message[commands..]), &mut output);
        }
        if round == ROUNDS_WARM {
            let nanos = start.elapsed().as_nanos() / MESSAGES;
            println!("session, message of 10 KiB: {nanos} ns");
        }
    }
    assert!(output.ends_with(b"\r\n"));
}

/// Accepts whatever is asked.
fn feed(session: &mut Session, mut input: &[u8], output: &mut Vec<u8>) {
    loop {
        let (used, event) = session.receive(input);
        input = &input[used..];
        match event {
            Some(event) if event.needs_decision() => session.accept(),
            Some(event) => {
                black_box(event);
            }
            None => break,
        }
    }
    output.clear();
    session.transmit(output);
}

const MESSAGES: u128 = 20_000;
const ROUNDS_WARM: u32 = 2;

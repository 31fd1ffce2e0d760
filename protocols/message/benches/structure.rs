//! Nanoseconds per message whose structure is read: `cargo bench -p ringmail-message`.

use std::hint::black_box;
use std::time::Instant;

use ringmail_message::Structure;

fn main() {
    for (name, message) in [
        ("plain text, 10 KiB", plain(10 * 1024)),
        ("three parts, 100 KiB", multipart(100 * 1024)),
    ] {
        let mut nanos = 0;
        for _ in 0..ROUNDS {
            let start = Instant::now();
            for _ in 0..MESSAGES {
                black_box(Structure::of_message(black_box(&message)));
            }
            nanos = start.elapsed().as_nanos() / MESSAGES;
        }
        println!("{nanos:8} ns  {name}");
    }
}

fn plain(size: usize) -> Vec<u8> {
    let mut message = HEADER.to_vec();
    message.extend_from_slice(b"Content-Type: text/plain; charset=utf-8\r\n\r\n");
    lines(&mut message, size);
    message
}

fn multipart(size: usize) -> Vec<u8> {
    let mut message = HEADER.to_vec();
    message.extend_from_slice(b"Content-Type: multipart/mixed; boundary=\"next\"\r\n\r\n");
    for part in [
        "text/plain",
        "text/html",
        "application/octet-stream; name=\"a.bin\"",
    ] {
        message.extend_from_slice(format!("--next\r\nContent-Type: {part}\r\n\r\n").as_bytes());
        let end = message.len() + size / 3;
        lines(&mut message, end);
    }
    message.extend_from_slice(b"--next--\r\n");
    message
}

fn lines(message: &mut Vec<u8>, size: usize) {
    while message.len() < size {
        message.extend_from_slice(
            b"QSBsaW5lIG9mIHNldmVudHktdHdvIGxldHRlcnMgYXMgdGhleSBhcmUgaW4gbW9zdCBvZg==\r\n",
        );
    }
}

const HEADER: &[u8] = b"From: A <a@example.org>\r\nTo: B <b@example.net>\r\nSubject: bench\r\n\
    Date: Thu, 01 Jan 2026 12:00:00 +0000\r\nMessage-ID: <1@example.org>\r\nMIME-Version: 1.0\r\n";
const MESSAGES: u128 = 5_000;
/// The last is told; those before warm up.
const ROUNDS: u32 = 3;

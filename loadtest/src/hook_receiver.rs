//! An endpoint of webhooks: takes each call, answers 204, and notes of which message it tells and when it came. RFC 9112.
//! A thread for each connection: a server has few to one endpoint. Callers are the server under test; whatever is no such call ends its connection.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::error::Failure;
use crate::messages::token_of;

/// Of which message a call tells.
#[derive(Debug, PartialEq, Eq)]
pub struct Told {
    /// Its run.
    pub run: String,
    /// Its number in it.
    pub number: u64,
    /// The number that the server gave its recipient.
    pub recipient: u64,
}

/// What came.
#[derive(Default)]
pub struct Heard {
    /// What was told, and when.
    pub calls: Vec<(Told, Instant)>,
    /// Connections.
    pub connections: u64,
    /// Calls under way.
    at_once: u64,
    /// Most of them.
    pub most_at_once: u64,
    /// Calls that are not of messages of ours.
    pub others: u64,
}

/// The running endpoint. A lock, because whoever waits reads while connections note: nobody holds it for long.
#[derive(Clone)]
pub struct HookReceiver {
    heard: Arc<Mutex<Heard>>,
    /// How long it takes to answer.
    pause: Duration,
}

impl HookReceiver {
    /// Listens on 127.0.0.1, as long as the process lives.
    pub fn start(port: u16, pause: Duration) -> Result<Self, Failure> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))
            .map_err(Failure::io(format!("receiver of webhooks at port {port}")))?;
        let receiver = Self {
            heard: Arc::default(),
            pause,
        };
        let all = receiver.clone();
        let accept = move || {
            for stream in listener.incoming().flatten() {
                let one = all.clone();
                one.heard().connections += 1;
                // The end of a connection, whatever it is, is the server's to tell.
                thread::spawn(move || one.serve(stream));
            }
        };
        let thread = thread::Builder::new().name("webhooks".into()).spawn(accept);
        thread.map_err(Failure::io("thread"))?;
        Ok(receiver)
    }

    /// What came so far.
    pub fn heard(&self) -> MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// None: it has ended.
    fn serve(&self, stream: TcpStream) -> Option<()> {
        stream.set_nodelay(true).ok()?;
        let mut stream = BufReader::with_capacity(READ_BUFFER, stream);
        loop {
            let length = head(&mut stream)?;
            let mut body = vec![0; length];
            stream.read_exact(&mut body).ok()?;
            self.note(&body);
            if !self.pause.is_zero() {
                thread::sleep(self.pause);
            }
            self.heard().at_once -= 1;
            stream.get_mut().write_all(ANSWER).ok()?;
        }
    }

    fn note(&self, body: &[u8]) {
        let now = Instant::now();
        let told = Told::of(body);
        let mut heard = self.heard();
        heard.at_once += 1;
        heard.most_at_once = heard.most_at_once.max(heard.at_once);
        match told {
            Some(told) => heard.calls.push((told, now)),
            None => heard.others += 1,
        }
    }
}

impl Told {
    fn of(body: &[u8]) -> Option<Told> {
        let told: Value = serde_json::from_slice(body).ok()?;
        let token = token_of(told["MessageID"].as_str()?.as_bytes())?;
        let (run, number) = token.rsplit_once('.')?;
        Some(Told {
            run: run.to_owned(),
            number: number.parse().ok()?,
            recipient: told["QueueMsgID"].as_u64()?,
        })
    }
}

/// Reads the head of a request; answers the length of its body.
fn head(stream: &mut impl BufRead) -> Option<usize> {
    let mut length = None;
    let mut left = HEAD_MAX;
    loop {
        let mut line = String::new();
        let read = stream.by_ref().take(left).read_line(&mut line).ok()?;
        left -= read as u64;
        match line.trim_end() {
            "" if read == 0 || !line.ends_with('\n') => return None,
            "" => return length,
            line => {
                if let Some((name, value)) = line.split_once(':')
                    && name.eq_ignore_ascii_case("content-length")
                {
                    length = value.trim().parse().ok().filter(|size| *size <= BODY_MAX);
                }
            }
        }
    }
}

const ANSWER: &[u8] = b"HTTP/1.1 204 No Content\r\n\r\n";
const READ_BUFFER: usize = 16 << 10;
const HEAD_MAX: u64 = 64 << 10;
const BODY_MAX: usize = 16 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_tell_of_a_message() {
        let told =
            br#"{"QueueMsgID":9,"MessageID":"\u003crun.000000000012@loadtest.invalid\u003e"}"#;
        let expected = Told {
            run: "run".into(),
            number: 12,
            recipient: 9,
        };
        assert_eq!(Told::of(told), Some(expected));
        assert_eq!(Told::of(br#"{"QueueMsgID":9,"MessageID":"<a@b>"}"#), None);
    }

    #[test]
    fn heads_are_read_to_their_end() {
        let mut whole = &b"POST / HTTP/1.1\r\nHost: x\r\ncontent-length: 2\r\n\r\n{}"[..];
        assert_eq!(head(&mut whole), Some(2));
        assert_eq!(whole, b"{}");
        for broken in [
            &b""[..],
            b"POST / HTTP/1.1\r\nHost",
            b"GET / HTTP/1.1\r\n\r\n",
        ] {
            assert_eq!(head(&mut &broken[..]), None);
        }
    }
}

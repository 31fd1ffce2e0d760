//! Requests of the sending API over kept connections: one at a time on each, the next when the last is answered.
//! RFC 9112; only a 200 with a Message-ID counts, of a batch one with its id.
//! Not here: sockets (`engine.rs`), rounds and figures (`scenarios/`).

use std::net::SocketAddr;
use std::ops::Range;
use std::time::Instant;

use hdrhistogram::Histogram;
use serde_json::Value;

use crate::engine::{Opening, Traffic, Turn};
use crate::report::latencies;
use crate::target::Security;

/// What is to be sent.
pub struct Plan {
    /// The server.
    pub to: SocketAddr,
    /// TLS.
    pub security: Security,
    /// `Authorization` of each login, in turn over the slots.
    pub logins: Vec<String>,
    /// Recipients, in turn.
    pub recipients: Vec<String>,
    /// Messages in all.
    pub messages: u64,
    /// Octets of a message's text, or of a batch's.
    pub size: usize,
    /// In batches of so many; none: each by itself.
    pub batch: Option<u64>,
}

/// State over all connections.
pub struct HttpTraffic {
    plan: Plan,
    text: String,
    begun: u64,
    /// Messages that were accepted.
    pub accepted: u64,
    /// From the request to the end of its answer.
    pub latency: Histogram<u64>,
}

/// One connection.
pub struct HttpDialog {
    login: usize,
    begun: Instant,
    received: Vec<u8>,
    is_waiting: bool,
    /// Messages that the request is about.
    count: u64,
}

impl HttpTraffic {
    /// Nothing sent yet.
    pub fn new(plan: Plan) -> Self {
        let line = "All work and no play makes a dull message. 0123456789 abcdefgh\\n";
        let mut text = line.repeat(plan.size.div_ceil(line.len() - 1));
        text.truncate(plan.size.min(text.len()));
        // No half of an escape at the end.
        let text = text.trim_end_matches('\\').to_owned();
        Self {
            plan,
            text,
            begun: 0,
            accepted: 0,
            latency: latencies(),
        }
    }

    /// False: all are begun.
    fn begin(&mut self, dialog: &mut HttpDialog, output: &mut Vec<u8>, now: Instant) -> bool {
        if self.begun == self.plan.messages {
            return false;
        }
        let number = self.begun;
        if let Some(count) = self.plan.batch {
            let count = count.min(self.plan.messages - number);
            self.begun += count;
            self.batch(dialog, output, number..number + count);
            dialog.begun = now;
            dialog.is_waiting = true;
            return true;
        }
        self.begun += 1;
        let recipients = &self.plan.recipients;
        let recipient = &recipients[number as usize % recipients.len()];
        let json = format!(
            "{{\"To\":[{{\"Name\":\"Recipient {number}\",\"Address\":\"{recipient}\"}}],\"Subject\":\"Message {number}\",\"Text\":\"{}\"}}",
            self.text
        );
        let body = format!("request={}", encoded(&json));
        let login = &self.plan.logins[dialog.login];
        output.extend_from_slice(
            format!(
                "POST /webapi/v0/Send HTTP/1.1\r\nHost: localhost\r\nAuthorization: {login}\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n",
                body.len()
            )
            .as_bytes(),
        );
        output.extend_from_slice(body.as_bytes());
        dialog.begun = now;
        dialog.is_waiting = true;
        dialog.count = 1;
        true
    }

    /// One template for many, each with data of his own.
    fn batch(&self, dialog: &mut HttpDialog, output: &mut Vec<u8>, numbers: Range<u64>) {
        dialog.count = numbers.end - numbers.start;
        let mut body = format!(
            "{{\"template\":{{\"subject\":\"Message {{{{ number }}}}\",\"text\":\"Dear {{{{ first }}}} {{{{ last }}}}, {{{{ number }}}}\\n{}\"}},\"recipients\":[",
            self.text
        );
        let recipients = &self.plan.recipients;
        for number in numbers {
            let recipient = &recipients[number as usize % recipients.len()];
            let comma = if body.ends_with('[') { "" } else { "," };
            body.push_str(&format!(
                "{comma}{{\"address\":\"{recipient}\",\"data\":{{\"number\":{number},\"first\":\"First {number}\",\"last\":\"Last\"}}}}"
            ));
        }
        body.push_str("]}");
        let login = &self.plan.logins[dialog.login];
        let head = format!(
            "POST /webapi/v1/batches HTTP/1.1\r\nHost: localhost\r\nAuthorization: {login}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        output.extend_from_slice(head.as_bytes());
        output.extend_from_slice(body.as_bytes());
    }
}

/// As a form wants it: RFC 1866 8.2.1.
fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len() * 2);
    for octet in text.bytes() {
        match octet {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' => {
                encoded.push(char::from(octet));
            }
            b' ' => encoded.push('+'),
            octet => encoded.push_str(&format!("%{octet:02X}")),
        }
    }
    encoded
}

/// The status and the body of an answer, and its octets in all.
type Answer<'a> = (u16, &'a [u8], usize);

/// None: it is not whole yet.
fn answer(received: &[u8]) -> Result<Option<Answer<'_>>, String> {
    let Some(end) = memchr::memmem::find(received, b"\r\n\r\n") else {
        return Ok(None);
    };
    let head = std::str::from_utf8(&received[..end]).map_err(|e| e.to_string())?;
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap_or_default();
    let code = status.split(' ').nth(1).and_then(|code| code.parse().ok());
    let code = code.ok_or_else(|| status.to_owned())?;
    let length = lines.find_map(|line| {
        let (name, value) = line.split_once(':')?;
        let is_length = name.eq_ignore_ascii_case("content-length");
        is_length.then(|| value.trim().parse::<usize>().ok())?
    });
    let length = length.ok_or("an answer without Content-Length")?;
    let whole = end + 4 + length;
    let body = received.get(end + 4..whole);
    Ok(body.map(|body| (code, body, whole)))
}

impl Traffic for HttpTraffic {
    type Dialog = HttpDialog;

    fn open(&mut self, slot: usize, now: Instant) -> Option<Opening<HttpDialog>> {
        (self.begun < self.plan.messages).then(|| Opening {
            dialog: HttpDialog {
                login: slot % self.plan.logins.len(),
                begun: now,
                received: Vec::new(),
                is_waiting: false,
                count: 0,
            },
            to: self.plan.to,
            source: None,
            tls: self.plan.security == Security::Tls,
        })
    }

    fn receive(
        &mut self,
        dialog: &mut HttpDialog,
        input: &[u8],
        output: &mut Vec<u8>,
        now: Instant,
    ) -> Result<Turn, String> {
        dialog.received.extend_from_slice(input);
        let Some((code, body, whole)) = answer(&dialog.received)? else {
            return Ok(Turn::Stay);
        };
        let said: Value = serde_json::from_slice(body).unwrap_or_default();
        let has_id = match self.plan.batch {
            Some(_) => said["id"].is_u64(),
            None => said["MessageID"].as_str().is_some_and(|id| id.len() > 2),
        };
        if !matches!(code, 200 | 201) || !has_id {
            return Err(format!("{code} {}", String::from_utf8_lossy(body)));
        }
        dialog.received.drain(..whole);
        dialog.is_waiting = false;
        self.accepted += dialog.count;
        let took = now.saturating_duration_since(dialog.begun);
        self.latency
            .saturating_record(took.as_micros().try_into().unwrap_or(u64::MAX));
        Ok(match self.begin(dialog, output, now) {
            true => Turn::Stay,
            false => Turn::Close,
        })
    }

    fn connected(&mut self, dialog: &mut HttpDialog, output: &mut Vec<u8>, now: Instant) {
        self.begin(dialog, output, now);
    }

    fn waits_for(&self, dialog: &HttpDialog) -> String {
        let what = if dialog.is_waiting {
            "an answer"
        } else {
            "nothing"
        };
        what.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_taken_whole() {
        let whole = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}HTTP";
        for cut in 0..whole.len() - 4 {
            assert!(answer(&whole[..cut.min(39)]).unwrap().is_none(), "{cut}");
        }
        assert_eq!(answer(whole).unwrap(), Some((200, b"{}".as_slice(), 40)));
        assert!(answer(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
    }

    #[test]
    fn forms_are_encoded() {
        assert_eq!(encoded("a {\"b\"}\n"), "a+%7B%22b%22%7D%0A");
    }
}

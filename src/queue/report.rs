//! A report to a sender: what became of his message for some of its recipients, as a message of its own.
//!
//! Called by who tells senders: `outbound` of what was queued, `inbound` of what was delivered here. What servers said and the original are not
//! trusted; `dsn` writes them so that they do no harm. [`compose`] is pure: time and randomness are arguments.
//! RFC 3464, RFC 3461 4.3 (RET) and 6, RFC 4865 5.1 (Future-Release-Request), RFC 6533 (UTF-8), RFC 8689 5 (REQUIRETLS).
//! Not here: whether a report is due (`retry`), how it gets to the sender.

use dsn::{Action, Diagnostic, Way};
use message::MessageDate;
use smtp::{Address, EnhancedStatus, Reply};

use super::retry::TOO_LATE;
use super::rows::{Attempt, MessageRow, Notice, RecipientRow, Ret};
use crate::store::StoreError;

/// What a report is about.
pub struct Subject<'a> {
    /// The message.
    pub message: &'a MessageRow,
    /// What happened.
    pub notice: Notice,
    /// To whom, at least one.
    pub told: &'a [Told],
    /// The message's octets: all, or the first of them with its header at least.
    pub content: &'a [u8],
    /// How many it has in all.
    pub size: u64,
}

/// A recipient in a report.
pub struct Told {
    /// Its place in the message.
    pub index: u32,
    /// What became of it.
    pub row: RecipientRow,
    /// Our name for it.
    pub id: String,
}

/// What else a report needs.
pub struct Facts<'a> {
    /// Our name.
    pub hostname: &'a str,
    /// Seconds since 1970.
    pub now: i64,
    /// For the Message-ID, and for the boundary, which the original must not foresee.
    pub random: [[u8; 16]; 2],
    /// What the way to the sender carries.
    pub way: Way,
}

/// A report.
pub struct Composed {
    /// The message.
    pub octets: Vec<u8>,
    /// Its Message-ID, with brackets.
    pub message_id: String,
    /// It has octets beyond ASCII: 8BITMIME is needed. RFC 6152.
    pub is_eight_bit: bool,
    /// Its header or the sender's address has them: SMTPUTF8 is needed. RFC 6531.
    pub is_internationalized: bool,
}

/// Writes a report. None if there is nobody to tell, or nothing.
pub fn compose(subject: &Subject<'_>, facts: &Facts<'_>) -> Option<Composed> {
    let Subject {
        message, content, ..
    } = subject;
    let hostname = facts.hostname;
    let to = address(&message.reverse_path)?;
    let from = address(&format!("{AUTHOR}@{hostname}"))?;
    let parts: Vec<Part<'_>> = subject
        .told
        .iter()
        .filter_map(|told| Part::of(message, told))
        .collect();
    let outcomes: Vec<dsn::Outcome<'_>> = parts.iter().map(|p| p.outcome(subject.notice)).collect();
    let header_end = message::header::header_end(content);
    let envelope_id = message.envid.as_deref().and_then(|e| e.parse().ok());
    // RFC 4865 5.1.2: what MAIL asked for.
    let until = || {
        let is_held = message.not_before > message.accepted;
        is_held.then(|| format!("until;{}", smtp::timestamp::format(message.not_before)))
    };
    let asked = message.held_for.map(|secs| format!("for;{secs}"));
    let held = asked.or_else(until);
    let message_id = message::compose::message_id(facts.random[0], hostname);
    let body = match (message.binary, message.eight_bit) {
        (true, _) => dsn::BodyKind::Binary,
        (false, true) => dsn::BodyKind::EightBit,
        (false, false) => dsn::BodyKind::SevenBit,
    };
    let is_whole = subject.size <= content.len() as u64;
    let report = dsn::Report {
        from: ("Mail Delivery System", &from),
        to: &to,
        date: MessageDate::utc(facts.now),
        message_id: &message_id,
        random: facts.random[1],
        reporting_mta: hostname,
        received_from: None,
        arrival: Some(MessageDate::utc(message.accepted)),
        envelope_id: envelope_id.as_ref(),
        future_release: held.as_deref(),
        outcomes: &outcomes,
        original: dsn::Original {
            header: &content[..header_end],
            body_size: subject.size.saturating_sub(header_end as u64),
            body,
            returned_size_max: RETURNED_MAX,
        },
        returning: match message.ret {
            // What lies in a file is not read for a report. RFC 8689 5: as if RET=HDRS were there.
            _ if !is_whole || message.require_tls == Some(true) => Some(dsn::Return::Headers),
            Some(Ret::Full) => Some(dsn::Return::Full),
            Some(Ret::Headers) => Some(dsn::Return::Headers),
            None => None,
        },
        way: facts.way,
    };
    let composed = report.compose().ok()?;
    let mut octets = composed.head;
    if composed.wanted == dsn::Wanted::Body {
        octets.extend_from_slice(&content[header_end..]);
    }
    octets.extend_from_slice(&composed.tail);
    Some(Composed {
        message_id,
        is_eight_bit: !octets.is_ascii(),
        octets,
        is_internationalized: composed.is_internationalized || to.needs_smtputf8(),
    })
}

/// For [`Facts::random`].
pub fn randomness() -> Result<[[u8; 16]; 2], StoreError> {
    let mut random = [[0; 16]; 2];
    for octets in &mut random {
        crate::login::random(octets).map_err(|_| StoreError::Limit("no randomness"))?;
    }
    Ok(random)
}

/// The number of a report among the transactions of a message, with the position of the first it is about: told apart from deliveries and from
/// other reports.
pub fn transaction_number(notice: Notice, first: u32) -> u32 {
    let kind = match notice {
        Notice::Delayed => 0b010,
        Notice::Failed => 0b100,
        Notice::Relayed => 0b110,
        Notice::Delivered => 0b001,
        Notice::Expanded => 0b101,
    };
    kind << 29 | first
}

fn address(text: &str) -> Option<Address> {
    text.parse().ok()
}

/// A recipient as `dsn` has it.
struct Part<'a> {
    address: Address,
    original: Option<dsn::OriginalRecipient>,
    reply: Option<Reply>,
    last: Option<&'a Attempt>,
    /// Why, if that was by hand, or it was kept back.
    given_up: Option<String>,
    /// It was kept back until its time was over.
    is_too_late: bool,
    expires: i64,
    id: &'a str,
}

impl<'a> Part<'a> {
    fn of(message: &MessageRow, told: &'a Told) -> Option<Part<'a>> {
        let recipient = message.recipients.get(told.index as usize)?;
        let last = told.row.history.last();
        Some(Part {
            address: address(&recipient.address)?,
            original: recipient.orcpt.as_deref().and_then(|o| o.parse().ok()),
            // Our own words are no server's.
            reply: last.filter(|a| !a.remote.is_empty()).and_then(reply),
            last,
            is_too_late: (told.row.given_up.as_ref()).is_some_and(|why| why.starts_with(TOO_LATE)),
            given_up: (told.row.given_up.as_ref()).map(|why| format!("given up {why}")),
            expires: told.row.expires(message),
            id: &told.id,
        })
    }

    fn outcome(&self, notice: Notice) -> dsn::Outcome<'_> {
        let action = match notice {
            Notice::Delayed => Action::Delayed,
            Notice::Failed => Action::Failed,
            Notice::Relayed => Action::Relayed,
            Notice::Delivered => Action::Delivered,
            Notice::Expanded => Action::Expanded,
        };
        let told = self.last.and_then(|a| a.enhanced);
        let was_refused = self.last.is_some_and(|a| a.code >= 500);
        // RFC 3463 3.1 and 3.5: what the server said, or undefined; late, or given up because it was too late.
        let (class, subject, detail) = match (notice, told) {
            (Notice::Delayed, Some((4, subject, detail))) => (4, subject, detail),
            (Notice::Delayed, _) => (4, 4, 7),
            (Notice::Failed, _) if self.is_too_late => (5, 4, 7),
            (Notice::Failed, _) if self.given_up.is_some() => (5, 0, 0),
            (Notice::Failed, Some((5, subject, detail))) => (5, subject, detail),
            (Notice::Failed, _) if was_refused => (5, 0, 0),
            (Notice::Failed, _) => (5, 4, 7),
            (_, Some((2, subject, detail))) => (2, subject, detail),
            (_, _) => (2, 0, 0),
        };
        let status = EnhancedStatus::new(class, subject, detail);
        let words = self.last.map_or("", |a| &a.text);
        dsn::Outcome {
            recipient: &self.address,
            original: self.original.as_ref(),
            action,
            status,
            remote: self
                .last
                .filter(|a| !a.remote.is_empty())
                .map(|a| remote(&a.remote)),
            diagnostic: match &self.reply {
                _ if self.given_up.is_some() => self.given_up.as_deref().map(Diagnostic::Own),
                Some(reply) => Some(Diagnostic::Reply(reply)),
                // Why it went well needs no words.
                None if words.is_empty() || class == 2 => None,
                None => Some(Diagnostic::Own(words)),
            },
            last_attempt: self.last.map(|a| MessageDate::utc(a.at)),
            retry_until: (notice == Notice::Delayed).then(|| MessageDate::utc(self.expires)),
            log_id: Some(self.id),
        }
    }
}

/// A server by its name, and its address if that follows, in whatever brackets, with or without a port.
fn remote(text: &str) -> dsn::RemoteMta<'_> {
    let mut words = text.split_ascii_whitespace();
    let name = words.next().unwrap_or_default();
    let address = words.next().and_then(|word| {
        let bare = word.trim_start_matches(['(', '[']);
        let bare = bare.split([')', ']']).next()?;
        let with_port = || word.parse().map(|to: std::net::SocketAddr| to.ip());
        bare.parse().or_else(|_| with_port()).ok()
    });
    dsn::RemoteMta { name, address }
}

/// What a server replied, as a reply.
fn reply(attempt: &Attempt) -> Option<Reply> {
    Some(Reply {
        code: smtp::Code::new(attempt.code)?,
        enhanced: attempt
            .enhanced
            .map(|(class, subject, detail)| EnhancedStatus {
                class,
                subject,
                detail,
            }),
        text: attempt.text.clone().into(),
    })
}

/// The localpart from which reports come.
pub const AUTHOR: &str = "mailer-daemon";
/// Octets of a message's body that a report returns at most.
const RETURNED_MAX: u64 = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::rows::Recipient;

    const ORIGINAL: &[u8] =
        b"Received: x\r\nFrom: anna@example.org\r\nSubject: lunch\r\nMessage-ID: <1@example.org>\r\n\r\nhello\r\n";

    fn message() -> MessageRow {
        MessageRow {
            size: ORIGINAL.len() as u64,
            prefix_length: 13,
            account: "anna".into(),
            reverse_path: "anna@example.org".into(),
            message_id: "<1@example.org>".into(),
            smtputf8: false,
            eight_bit: false,
            binary: false,
            accepted: 1_767_268_800, // 2026-01-01 12:00:00
            not_before: 0,
            expires: 1_767_355_200,
            require_tls: None,
            ret: None,
            envid: Some("QQ+2B1".into()),
            recipients: vec![Recipient {
                orcpt: Some("rfc822;Bob+2Bx@Example.net".into()),
                ..Recipient::new("bob@example.net")
            }],
            held_for: None,
            unique_mail_from: None,
            extra: Default::default(),
            batch: None,
        }
    }

    fn attempt(code: u16, enhanced: Option<(u8, u16, u16)>) -> Attempt {
        Attempt {
            at: 1_767_272_400,
            took_ms: 1,
            remote: "mx.example.net [2001:db8::1]".into(),
            code,
            enhanced,
            text: "as it is".into(),
            stage: None,
        }
    }

    fn report(message: &MessageRow, notice: Notice, attempt: Option<Attempt>) -> String {
        let mut row = RecipientRow::fresh(message);
        row.history.extend(attempt);
        let told = [Told {
            index: 0,
            row,
            id: "4711".into(),
        }];
        let subject = Subject {
            message,
            notice,
            told: &told,
            content: ORIGINAL,
            size: message.size,
        };
        let facts = Facts {
            hostname: "mail.example.org",
            now: 1_767_276_000,
            random: [[1; 16], [2; 16]],
            way: Way::SevenBit,
        };
        let composed = compose(&subject, &facts).unwrap();
        assert!(!composed.is_eight_bit && !composed.is_internationalized);
        String::from_utf8(composed.octets).unwrap()
    }

    fn has(report: &str, lines: &[&str]) {
        for line in lines {
            assert!(report.lines().any(|l| l == *line), "{line}: {report}");
        }
    }

    #[test]
    fn a_failure_has_all_fields_and_returns_the_message() {
        let failed = report(
            &message(),
            Notice::Failed,
            Some(attempt(550, Some((5, 1, 1)))),
        );
        has(
            &failed,
            &[
                "Reporting-MTA: dns; mail.example.org",
                "Original-Envelope-Id: QQ+1",
                "Arrival-Date: Thu, 1 Jan 2026 12:00:00 +0000",
                "Original-Recipient: rfc822; Bob+x@Example.net",
                "Final-Recipient: rfc822; bob@example.net",
                "Action: failed",
                "Status: 5.1.1",
                "Remote-MTA: dns; mx.example.net (2001:db8::1)",
                "Diagnostic-Code: smtp; 550 5.1.1 as it is",
                "Last-Attempt-Date: Thu, 1 Jan 2026 13:00:00 +0000",
                "Final-Log-ID: 4711",
                "Content-Type: message/rfc822",
                "hello",
            ],
        );
        assert!(!failed.contains("Will-Retry-Until") && !failed.contains("Future-Release"));
    }

    #[test]
    fn how_much_comes_back_is_the_senders_choice() {
        let returns = |ret, require_tls, notice| {
            let message = MessageRow {
                ret,
                require_tls,
                ..message()
            };
            let report = report(&message, notice, Some(attempt(550, None)));
            let whole = report.contains("\r\nhello\r\n");
            assert_eq!(whole, report.contains("Content-Type: message/rfc822\r\n"));
            assert_ne!(
                whole,
                report.contains("Content-Type: text/rfc822-headers\r\n")
            );
            whole
        };
        assert!(returns(None, None, Notice::Failed));
        assert!(returns(Some(Ret::Full), Some(false), Notice::Failed));
        assert!(!returns(Some(Ret::Headers), None, Notice::Failed));
        // RFC 8689 5.
        assert!(!returns(Some(Ret::Full), Some(true), Notice::Failed));
        // RFC 3461 4.3: of anything but failure the header alone.
        for notice in [Notice::Delayed, Notice::Relayed, Notice::Delivered] {
            assert!(!returns(Some(Ret::Full), None, notice));
        }
    }

    #[test]
    fn what_happened_is_said_in_a_word_and_a_number() {
        let held = MessageRow {
            not_before: 1_767_270_000,
            ..message()
        };
        for (notice, attempt, lines) in [
            (
                Notice::Delayed,
                Some(attempt(451, None)),
                [
                    "Action: delayed",
                    "Status: 4.4.7",
                    "Will-Retry-Until: Fri, 2 Jan 2026 12:00:00 +0000",
                ],
            ),
            (
                Notice::Relayed,
                Some(attempt(250, Some((2, 1, 5)))),
                [
                    "Action: relayed",
                    "Status: 2.1.5",
                    "Remote-MTA: dns; mx.example.net (2001:db8::1)",
                ],
            ),
            (
                Notice::Delivered,
                None,
                [
                    "Action: delivered",
                    "Status: 2.0.0",
                    // RFC 4865 5.1.2.
                    "Future-Release-Request: until;2026-01-01T12:20:00Z",
                ],
            ),
            (
                Notice::Expanded,
                None,
                [
                    "Action: expanded",
                    "Status: 2.0.0",
                    "Original-Envelope-Id: QQ+1",
                ],
            ),
        ] {
            has(&report(&held, notice, attempt), &lines);
        }
    }

    #[test]
    fn what_was_asked_of_a_release_is_said_again() {
        let held = MessageRow {
            not_before: 1_767_270_000,
            ..message()
        };
        for (held_for, line) in [
            (Some(1_200), "Future-Release-Request: for;1200"),
            (None, "Future-Release-Request: until;2026-01-01T12:20:00Z"),
        ] {
            let held = MessageRow {
                held_for,
                ..held.clone()
            };
            let said = report(&held, Notice::Failed, Some(attempt(550, None)));
            has(
                &said,
                &[line, "Arrival-Date: Thu, 1 Jan 2026 12:00:00 +0000"],
            );
        }
    }

    #[test]
    fn reports_have_numbers_of_their_own() {
        let all = [
            Notice::Delayed,
            Notice::Failed,
            Notice::Relayed,
            Notice::Delivered,
            Notice::Expanded,
        ];
        let mut numbers: Vec<u32> = all.iter().map(|n| transaction_number(*n, 5)).collect();
        numbers.extend([0, 5]);
        numbers.sort();
        numbers.dedup();
        assert_eq!(numbers.len(), 7);
    }

    #[test]
    fn a_server_has_a_name_and_perhaps_an_address() {
        for (text, name, address) in [
            ("mx.example.net", "mx.example.net", None),
            ("mx [192.0.2.1]:25", "mx", Some("192.0.2.1")),
            ("mx [2001:db8::1]:25", "mx", Some("2001:db8::1")),
            ("mx (192.0.2.1)", "mx", Some("192.0.2.1")),
            ("mx 192.0.2.1:25", "mx", Some("192.0.2.1")),
            ("mx [x]:25", "mx", None),
        ] {
            let remote = remote(text);
            assert_eq!(remote.name, name);
            assert_eq!(remote.address, address.map(|a| a.parse().unwrap()));
        }
    }
}

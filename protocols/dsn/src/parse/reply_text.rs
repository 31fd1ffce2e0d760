//! Finds what an SMTP server replied in a text that quotes it.
//! `550 5.1.1 <a@x>... User unknown`, `said: 550-5.1.1 ...`, `(#5.1.1)`. The text is untrusted; one pass.
//! RFC 5321 4.2 (codes), RFC 3463 2 (enhanced status).
//! Not here: what a code means (`class`).

use smtp::{Code, EnhancedStatus};

/// A reply in a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FoundReply {
    pub code: Option<Code>,
    pub status: Option<EnhancedStatus>,
    /// Where it begins.
    pub at: usize,
}

/// The reply that looks most like one: a code with an enhanced status before a bare code before a bare status; the first of those.
pub(super) fn find(text: &str) -> Option<FoundReply> {
    let mut best: Option<(u8, FoundReply)> = None;
    let bytes = text.as_bytes();
    for at in 0..bytes.len() {
        if !matches!(bytes[at], b'2' | b'4' | b'5') || !starts_word(bytes, at) {
            continue;
        }
        let Some((rank, found)) = reply_at(bytes, at) else {
            continue;
        };
        if best.is_none_or(|(most, _)| rank > most) {
            best = Some((rank, found));
        }
        if rank == RANK_MAX {
            break;
        }
    }
    best.map(|(_, found)| found)
}

const RANK_MAX: u8 = 3;
/// Octets after a code in which a marked status belongs to it.
const STATUS_WITHIN: usize = 160;

fn reply_at(bytes: &[u8], at: usize) -> Option<(u8, FoundReply)> {
    if let Some((status, _)) = status_at(bytes, at) {
        let found = FoundReply {
            code: None,
            status: Some(status),
            at,
        };
        return Some((1, found));
    }
    let code = code_at(bytes, at)?;
    let after = bytes.get(at + 3).copied();
    if !matches!(
        after,
        None | Some(b' ' | b'-' | b':' | b'\n' | b',' | b'_' | b'\'')
    ) {
        return None;
    }
    let next = (at + 3..bytes.len().min(at + 8)).find(|i| !b" -:\n#".contains(&bytes[*i]));
    let status = next
        .and_then(|next| status_at(bytes, next))
        .map(|found| found.0);
    let status = status.or_else(|| marked_status(bytes, at + 3));
    let status = status
        .filter(|status| u16::from(status.class) == code.number() / 100 || code.number() >= 400);
    let is_reply = status.is_some() || begins_line(bytes, at) || !counts_something(bytes, at + 3);
    is_reply.then_some((
        if status.is_some() { RANK_MAX } else { 2 },
        FoundReply {
            code: Some(code),
            status,
            at,
        },
    ))
}

/// Later in the line, with a mark: `550 no mailbox (#5.1.1)`, `550, ERROR_CODE :5.1.1`.
fn marked_status(bytes: &[u8], at: usize) -> Option<EnhancedStatus> {
    let line = &bytes[at..bytes.len().min(at + STATUS_WITHIN)];
    let end = line.iter().position(|b| *b == b'\n').unwrap_or(line.len());
    let marks = (at + 1..at + end).filter(|i| matches!(bytes[i - 1], b'#' | b':'));
    marks
        .filter_map(|i| status_at(bytes, i))
        .map(|found| found.0)
        .next()
}

/// 250 and the like only where a line begins with it; of 4yz and 5yz those that servers use.
fn code_at(bytes: &[u8], at: usize) -> Option<Code> {
    let digits = bytes.get(at..at + 3)?;
    if !digits.iter().all(u8::is_ascii_digit)
        || bytes.get(at + 3).is_some_and(u8::is_ascii_alphanumeric)
    {
        return None;
    }
    let number = digits.iter().fold(0, |n, d| n * 10 + u16::from(d - b'0'));
    let fits = match number {
        400..=459 | 470..=479 | 500..=559 | 570..=579 => true,
        200..=299 => begins_line(bytes, at),
        _ => false,
    };
    Code::new(number).filter(|_| fits)
}

/// `4.2.2`, not as a part of an address `4.2.2.1` or of a longer number.
fn status_at(bytes: &[u8], at: usize) -> Option<(EnhancedStatus, usize)> {
    let class = bytes.get(at).filter(|c| matches!(c, b'2' | b'4' | b'5'))? - b'0';
    let (subject, at) = dotted_number(bytes, at + 1)?;
    let (detail, at) = dotted_number(bytes, at)?;
    let ends = match bytes.get(at) {
        Some(b'.') => !bytes.get(at + 1).is_some_and(u8::is_ascii_alphanumeric),
        Some(octet) => !octet.is_ascii_alphanumeric(),
        None => true,
    };
    // The registry has subjects up to 7.
    (ends && subject <= 7).then(|| (EnhancedStatus::new(class, subject, detail), at))
}

fn dotted_number(bytes: &[u8], at: usize) -> Option<(u16, usize)> {
    if bytes.get(at) != Some(&b'.') {
        return None;
    }
    let digits = bytes[at + 1..]
        .iter()
        .take(4)
        .take_while(|b| b.is_ascii_digit())
        .count();
    if !(1..=3).contains(&digits) {
        return None;
    }
    let number = bytes[at + 1..at + 1 + digits].iter();
    Some((
        number.fold(0, |n, d| n * 10 + u16::from(d - b'0')),
        at + 1 + digits,
    ))
}

fn starts_word(bytes: &[u8], at: usize) -> bool {
    at == 0 || b" \t\n<>'\"[](#:;,".contains(&bytes[at - 1])
}

fn begins_line(bytes: &[u8], at: usize) -> bool {
    let before = bytes[..at].iter().rev();
    let last = before.copied().find(|b| !b" \t<>".contains(b));
    last.is_none_or(|b| b == b'\n')
}

/// `after 500 messages`: a number of things.
fn counts_something(bytes: &[u8], at: usize) -> bool {
    const THINGS: [&[u8]; 8] = [
        b"byte",
        b"octet",
        b"kb",
        b"second",
        b"minute",
        b"hour",
        b"messages",
        b"recipients",
    ];
    let rest = bytes[at..].trim_ascii_start();
    THINGS
        .iter()
        .any(|thing| rest.len() >= thing.len() && rest[..thing.len()].eq_ignore_ascii_case(thing))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn finds(text: &str, code: u16, status: &str) {
        let found = find(text);
        let shown = found.map(|f| {
            let status = f.status.map(|s| s.to_string()).unwrap_or_default();
            (f.code.map_or(0, Code::number), status)
        });
        let expected = (code > 0 || !status.is_empty()).then(|| (code, status.to_string()));
        assert_eq!(shown, expected, "{text}");
    }

    #[test]
    fn replies_in_texts() {
        finds("550 5.1.1 <a@x>... User unknown", 550, "5.1.1");
        finds(
            "host mx [192.0.2.153]: 550-5.7.26 Unauthenticated",
            550,
            "5.7.26",
        );
        finds("<<< 421 dns.example.org Sorry", 421, "");
        finds("no mailbox here (#5.1.1 - chkusr)", 0, "5.1.1");
        finds(
            "550 sorry, no mailbox here by that name (#5.1.1)",
            550,
            "5.1.1",
        );
        finds(
            "ERROR_CODE :550, ERROR_CODE :5.1.1 <a@x>... User",
            550,
            "5.1.1",
        );
        finds("550 no\n(#5.1.1)", 550, "");
        finds("500 Line limit exceeded", 500, "");
        finds("550: 5.2.2 <a@x>... Mailbox Full", 550, "5.2.2");
        finds(
            "Delivery failed 20 attempts, after 432000 seconds on port 587",
            0,
            "",
        );
        finds("connected to 4.2.2.1 and 192.5.1.1.5", 0, "");
        finds("the 500 messages of 552 bytes", 0, "");
        finds("250 2.1.5 Ok", 250, "2.1.5");
        finds("said: 550 4.4.7 QUEUE.Expired", 550, "4.4.7");
        finds("", 0, "");
        finds("5", 0, "");
        finds("5.", 0, "");
        finds("550", 550, "");
    }
}

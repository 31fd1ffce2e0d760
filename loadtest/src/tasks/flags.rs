//! FETCH of all flags; every message must be told once. An operation is a message.

use std::time::Instant;

use imap::client::{Client, Response};
use imap::types::Tag;

use super::{Seen, Task};

#[derive(Default)]
pub struct Flags {
    seen: Seen,
}

impl Task for Flags {
    fn name(&self) -> String {
        COMMAND.to_owned()
    }

    fn begin(&mut self, client: &mut Client, _literal_plus: bool, _output: &mut Vec<u8>) -> Tag {
        client.command(COMMAND)
    }

    fn skim(&mut self, input: &[u8]) -> usize {
        let mut used = 0;
        for end in memchr::memchr_iter(b'\n', input) {
            let Some(number) = fetched(&input[used..=end]) else {
                break;
            };
            self.seen.add(number);
            used = end + 1;
        }
        used
    }

    fn response(&mut self, response: &Response, _: &mut Vec<u8>, _: Instant) -> Result<(), String> {
        if let Response::Fetch(fetch) = response {
            if fetch.flags.is_none() || fetch.uid.is_none() {
                return Err(format!("FETCH {}: UID or FLAGS is missing", fetch.number));
            }
            self.seen.add(fetch.number);
        }
        Ok(())
    }

    fn end(&mut self, exists: u32) -> Result<u64, String> {
        self.seen.all_of(exists)
    }
}

/// The number of a plain `* 12 FETCH (UID 34 FLAGS (\Seen))` CRLF, in either order of the items.
fn fetched(line: &[u8]) -> Option<u32> {
    let (number, rest) = number(line.strip_prefix(b"* ")?)?;
    let rest = rest.strip_prefix(b" FETCH (")?;
    let rest = match rest.strip_prefix(b"UID ") {
        Some(rest) => flags(self::number(rest)?.1.strip_prefix(b" ")?)?,
        None => self::number(flags(rest)?.strip_prefix(b" UID ")?)?.1,
    };
    (rest == b")\r\n").then_some(number)
}

fn flags(text: &[u8]) -> Option<&[u8]> {
    let rest = text.strip_prefix(b"FLAGS (")?;
    let end = rest.iter().position(|octet| *octet == b')')?;
    Some(&rest[end + 1..])
}

fn number(text: &[u8]) -> Option<(u32, &[u8])> {
    let digits = text
        .iter()
        .take_while(|octet| octet.is_ascii_digit())
        .count();
    let (number, rest) = text.split_at(digits);
    let value = number.iter().try_fold(0_u32, |value, digit| {
        value.checked_mul(10)?.checked_add(u32::from(digit - b'0'))
    });
    value.filter(|value| *value > 0).map(|value| (value, rest))
}

const COMMAND: &str = "FETCH 1:* (UID FLAGS)";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_responses_are_skimmed_and_others_left() {
        assert_eq!(
            fetched(b"* 12 FETCH (UID 34 FLAGS (\\Seen a))\r\n"),
            Some(12)
        );
        assert_eq!(fetched(b"* 12 FETCH (FLAGS () UID 34)\r\n"), Some(12));
        for other in [
            "* 12 FETCH (FLAGS ())\r\n",
            "* 12 FETCH (UID 34 FLAGS () MODSEQ (5))\r\n",
            "* 0 FETCH (UID 34 FLAGS ())\r\n",
            "* 99999999999 FETCH (UID 34 FLAGS ())\r\n",
            "c1 OK done\r\n",
        ] {
            assert_eq!(fetched(other.as_bytes()), None, "{other}");
        }
        let mut task = Flags::default();
        let first = b"* 1 FETCH (UID 5 FLAGS ())\r\n";
        let input = [first.as_slice(), b"* 2 FETCH (UID 6 FL"].concat();
        assert_eq!(task.skim(&input), first.len());
        assert_eq!(task.seen.count, 1);
    }
}

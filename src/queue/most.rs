//! How long a page of a list may be: entries, and octets of what is told of them, for some have sixteen KiB of what their submitter said. Here is how much
//! an entry comes to as JSON, about; whoever tells it otherwise has less. Pure.

use std::collections::BTreeMap;

use super::hooks::{HookResult, HookRow};
use super::retired::RetiredRow;
use super::rows::{Attempt, Stored};

/// What is left of a page. It ends once one of them is used up, so that its last entry, as long as that may be, is there whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Most {
    /// Entries.
    pub entries: usize,
    /// Octets of them.
    pub octets: usize,
}

impl Most {
    /// So many entries, as far as their octets are a sane answer to another core.
    pub fn entries(entries: usize) -> Most {
        Most {
            entries,
            octets: OCTETS_MAX,
        }
    }

    /// One more is on the page.
    pub fn take(&mut self, octets: usize) {
        self.entries = self.entries.saturating_sub(1);
        self.octets = self.octets.saturating_sub(octets);
    }

    /// The page is full.
    pub fn is_used_up(self) -> bool {
        self.entries == 0 || self.octets == 0
    }
}

impl Stored {
    /// What a recipient of it comes to.
    pub fn octets_of(&self, index: u32) -> usize {
        let message = &self.message;
        let address = message.recipients.get(index as usize);
        let row = self.recipient(index);
        ENTRY
            + [&message.reverse_path, &message.message_id]
                .into_iter()
                .chain(address.map(|recipient| &recipient.address))
                .map(|text| in_json(text))
                .sum::<usize>()
            + of_map(&message.extra)
            + of_attempts(&row.history)
    }
}

impl RetiredRow {
    /// What it comes to.
    pub fn octets(&self) -> usize {
        let texts = [
            &self.reverse_path,
            &self.recipient,
            &self.message_id,
            &self.text,
        ];
        let returned = self.returned.iter();
        ENTRY
            + texts.into_iter().map(|text| in_json(text)).sum::<usize>()
            + of_map(&self.extra)
            + of_attempts(&self.history)
            + returned.map(|r| PART + in_json(&r.text)).sum::<usize>()
    }
}

impl HookRow {
    /// What it comes to, without its payload.
    pub fn octets(&self) -> usize {
        let result =
            |r: &HookResult| PART + in_json(&r.url) + in_json(&r.error) + in_json(&r.response);
        ENTRY
            + in_json(&self.message_id)
            + in_json(&self.subject)
            + self.results.iter().map(result).sum::<usize>()
    }
}

fn of_map(map: &BTreeMap<String, String>) -> usize {
    map.iter()
        .map(|(key, text)| in_json(key) + in_json(text) + 6)
        .sum()
}

fn of_attempts(attempts: &[Attempt]) -> usize {
    attempts
        .iter()
        .map(|attempt| PART + in_json(&attempt.remote) + in_json(&attempt.text))
        .sum()
}

/// RFC 8259 7.
fn in_json(text: &str) -> usize {
    let octets = |octet: u8| match octet {
        b'"' | b'\\' => 2,
        0..0x20 => 6,
        _ => 1,
    };
    text.bytes().map(octets).sum()
}

/// What an entry has beside its texts: names of fields, numbers, times.
const ENTRY: usize = 500;
/// The same of an attempt, or a report.
const PART: usize = 180;
/// Octets of a page for operators.
const OCTETS_MAX: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_reckoned_as_json_has_it() {
        for text in ["", "plain", "\"a\\b\"", "\u{1}\u{1f}\u{7f}", "ä\u{2028}"] {
            let json = serde_json::to_string(text).unwrap();
            assert_eq!(in_json(text) + 2, json.len(), "{text:?}");
        }
        // Some have a shorter escape.
        assert_eq!(in_json("\n"), 6);
    }
}

//! What a submitter says of a message for himself: fields `Ringmail-Extra-<Key>` (and `X-Mox-Extra-<Key>`, as it is called elsewhere). They are
//! taken out of the header as it comes, before it is signed or written anywhere, for they are no business of the recipients; with events and
//! what is kept of recipients the submitter gets them back.
//!
//! Octets pass in pieces cut anywhere. Input is our own user's, of any content. Not here: whether somebody submits (`smtp_server`).

use std::collections::BTreeMap;

/// Takes the fields out of one message.
#[derive(Debug, Default)]
pub struct ExtraFields {
    state: State,
    /// The field that is taken out, as far as it has come.
    field: Option<Vec<u8>>,
    found: BTreeMap<String, String>,
    error: Option<ExtraError>,
}

#[derive(Debug)]
enum State {
    /// A line's first octets, of which it is not known yet what they begin.
    Begin(Vec<u8>),
    /// In a line that stays.
    Stays,
    /// In a line that goes.
    Goes,
    /// Behind the header.
    Body,
}

impl Default for State {
    fn default() -> State {
        State::Begin(Vec::new())
    }
}

/// Why a message is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExtraError {
    /// Two with one key.
    #[error("two fields have the same key")]
    Twice,
    /// More than [`KEYS_MAX`].
    #[error("more than {KEYS_MAX} keys")]
    TooMany,
    /// A key that is none, or is too long.
    #[error("a key is not 1 to {KEY_MAX} printable ASCII characters")]
    Key,
    /// More in a request than [`REQUEST_KEYS_MAX`], or [`REQUEST_OCTETS_MAX`].
    #[error(
        "more than {REQUEST_KEYS_MAX} keys, or more than {REQUEST_OCTETS_MAX} octets of keys and values together"
    )]
    TooMuch,
    /// A value that is too long.
    #[error("a value has more than {VALUE_MAX} octets")]
    Value,
}

impl ExtraFields {
    /// Takes a piece of the message; `out` gets what stays.
    pub fn push(&mut self, mut piece: &[u8], mut out: impl FnMut(&[u8])) {
        while let Some(octet) = piece.first() {
            match &mut self.state {
                State::Body => return out(piece),
                State::Stays | State::Goes => {
                    let end = piece.iter().position(|octet| *octet == b'\n');
                    let (line, rest) = piece.split_at(end.map_or(piece.len(), |end| end + 1));
                    piece = rest;
                    match (&self.state, &mut self.field) {
                        (State::Goes, Some(field)) => {
                            let room = FIELD_MAX.saturating_sub(field.len());
                            field.extend_from_slice(&line[..line.len().min(room)]);
                        }
                        _ => out(line),
                    }
                    if end.is_some() {
                        self.state = State::default();
                    }
                }
                State::Begin(held) => {
                    held.push(*octet);
                    let held = std::mem::take(held);
                    piece = &piece[1..];
                    self.begin(held, &mut out);
                }
            }
        }
    }

    /// Decides about a line by its first octets, once they are enough.
    fn begin(&mut self, held: Vec<u8>, out: &mut impl FnMut(&[u8])) {
        // RFC 5322 2.2.3: it goes on.
        if let ([b' ' | b'\t'], Some(field)) = (held.as_slice(), &mut self.field) {
            if field.len() < FIELD_MAX {
                field.extend_from_slice(&held);
            }
            self.state = State::Goes;
            return;
        }
        self.end_field();
        let lower = held.to_ascii_lowercase();
        self.state = match held.as_slice() {
            b"\n" | b"\r\n" => State::Body,
            b"\r" => State::Begin(held.clone()),
            _ => match NAMES.iter().find(|name| name.starts_with(&lower)) {
                Some(name) if name.len() == held.len() => {
                    self.field = Some(held);
                    self.state = State::Goes;
                    return;
                }
                Some(_) => State::Begin(held.clone()),
                None if held.ends_with(b"\n") => State::default(),
                None => State::Stays,
            },
        };
        if !matches!(&self.state, State::Begin(held) if !held.is_empty()) {
            out(&held);
        }
    }

    /// The message is whole: `out` gets what was held back of it. What was found, by key.
    pub fn finish(
        mut self,
        out: impl FnOnce(&[u8]),
    ) -> Result<BTreeMap<String, String>, ExtraError> {
        if let State::Begin(held) = &self.state
            && !held.is_empty()
        {
            out(held);
        }
        self.end_field();
        match self.error {
            Some(error) => Err(error),
            None => Ok(self.found),
        }
    }

    fn end_field(&mut self) {
        if let Some(field) = self.field.take()
            && self.error.is_none()
        {
            self.error = self.add(&field).err();
        }
    }

    fn add(&mut self, field: &[u8]) -> Result<(), ExtraError> {
        let name = NAMES.iter().find(|name| {
            let start = field.get(..name.len());
            start.is_some_and(|start| start.eq_ignore_ascii_case(name))
        });
        let rest = &field[name.map_or(0, |name| name.len())..];
        let colon = rest.iter().position(|octet| *octet == b':');
        let (key, value) = rest.split_at(colon.ok_or(ExtraError::Key)?);
        let key = key.trim_ascii_end();
        if !(1..=KEY_MAX).contains(&key.len()) || !key.iter().all(u8::is_ascii_graphic) {
            return Err(ExtraError::Key);
        }
        let value = message::header::unfold(&value[1..]);
        if value.len() > VALUE_MAX || field.len() >= FIELD_MAX {
            return Err(ExtraError::Value);
        }
        let key = canonical(&String::from_utf8_lossy(key));
        if self.found.contains_key(&key) {
            return Err(ExtraError::Twice);
        }
        if self.found.len() >= KEYS_MAX {
            return Err(ExtraError::TooMany);
        }
        let value = String::from_utf8_lossy(&value).into_owned();
        self.found.insert(key, value);
        Ok(())
    }
}

/// Whether what came otherwise than in a header is within the bounds. Keys are what they are.
pub(super) fn check(extra: &BTreeMap<String, String>) -> Result<(), ExtraError> {
    let octets = extra.iter().map(|(key, value)| key.len() + value.len());
    match extra.len() > REQUEST_KEYS_MAX || octets.sum::<usize>() > REQUEST_OCTETS_MAX {
        true => Err(ExtraError::TooMuch),
        false => Ok(()),
    }
}

/// `some-key` is `Some-Key`: names of fields have no case.
fn canonical(key: &str) -> String {
    let mut begins = true;
    let letters = key.chars().map(|letter| {
        let letter = match begins {
            true => letter.to_ascii_uppercase(),
            false => letter.to_ascii_lowercase(),
        };
        begins = letter == '-';
        letter
    });
    letters.collect()
}

/// In lower case, up to the key.
const NAMES: [&[u8]; 2] = [b"ringmail-extra-", b"x-mox-extra-"];
/// Fields of a message.
const KEYS_MAX: usize = 20;
/// Octets of a key.
const KEY_MAX: usize = 64;
/// Octets of a value, unfolded.
const VALUE_MAX: usize = 1024;
/// Octets of a field with its folds: lines of two octets at the shortest.
const FIELD_MAX: usize = 8 << 10;
/// Keys of a request of the API.
const REQUEST_KEYS_MAX: usize = 1_000;
/// Octets of its keys and values together.
const REQUEST_OCTETS_MAX: usize = 16 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    type Taken = (String, Result<Vec<(String, String)>, ExtraError>);

    fn in_pieces(message: &[u8], cut: usize) -> Taken {
        let mut fields = ExtraFields::default();
        let mut kept = Vec::new();
        for piece in message.chunks(cut) {
            fields.push(piece, |octets| kept.extend_from_slice(octets));
        }
        let found = fields.finish(|octets| kept.extend_from_slice(octets));
        let kept = String::from_utf8_lossy(&kept).into_owned();
        (kept, found.map(|found| found.into_iter().collect()))
    }

    /// What is kept and found is the same wherever the octets are cut.
    fn taken(message: &str) -> Taken {
        let whole = in_pieces(message.as_bytes(), message.len().max(1));
        for cut in 1..message.len().min(40) {
            assert_eq!(
                in_pieces(message.as_bytes(), cut),
                whole,
                "{cut}: {message}"
            );
        }
        whole
    }

    fn pairs(pairs: &[(&str, &str)]) -> Result<Vec<(String, String)>, ExtraError> {
        Ok(pairs
            .iter()
            .map(|(k, v)| (k.to_string(), v.to_string()))
            .collect())
    }

    #[test]
    fn the_fields_are_taken_out_of_the_header_and_of_nothing_else() {
        let (kept, found) = taken(
            "X-MOX-extra-order: 17\r\nFrom: a@b.example\r\nRingmail-Extra-some-kEY:\r\n folded\r\n\tvalue \r\nSubject: x\r\n y\r\n\r\nRingmail-Extra-A: b\r\n",
        );
        assert_eq!(
            kept,
            "From: a@b.example\r\nSubject: x\r\n y\r\n\r\nRingmail-Extra-A: b\r\n"
        );
        assert_eq!(
            found,
            pairs(&[("Order", "17"), ("Some-Key", "folded\tvalue")])
        );
    }

    #[test]
    fn what_only_looks_like_one_stays() {
        for message in [
            "",
            "X",
            "X-Mox",
            "\r\n",
            "\n\nX-Mox-Extra-A: b\n",
            "\r\r\n",
            "From: a\r\nX-Mox-Extr: a\r\nRingmail-Extras: b\r\n X-Mox-Extra-A: b\r\n\r\n",
            " X-Mox-Extra-A: b\r\n\r\n",
            "From: a\r\n\r\n",
            "From: a\nSubject: x-mox-extra-\n\nbody",
            "x-mox\r\n\r\n",
        ] {
            assert_eq!(taken(message), (message.into(), pairs(&[])), "{message:?}");
        }
    }

    #[test]
    fn a_field_may_end_with_the_message_or_have_bare_line_ends() {
        let (kept, found) = taken("A: b\nX-Mox-Extra-A:1\n 2\nX-Mox-Extra-B :");
        assert_eq!(kept, "A: b\n");
        assert_eq!(found, pairs(&[("A", "1 2"), ("B", "")]));
    }

    #[test]
    fn what_comes_otherwise_may_have_any_keys_and_is_bounded_in_all() {
        let with = |count: usize, key: &str, value: usize| {
            let one = (key.to_owned(), "v".repeat(value));
            let others = (1..count).map(|n| (n.to_string(), String::new()));
            check(&others.chain([one]).collect())
        };
        assert_eq!(with(1_000, "", 1), Ok(()));
        assert_eq!(with(1_001, "", 1), Err(ExtraError::TooMuch));
        for key in ["a b", "\u{e9}", &"k".repeat(65)] {
            assert_eq!(with(1, key, 10_000), Ok(()), "{key}");
        }
        assert_eq!(with(1, "k", (16 << 10) - 1), Ok(()));
        assert_eq!(with(1, "k", 16 << 10), Err(ExtraError::TooMuch));
    }

    #[test]
    fn there_are_bounds() {
        let field = |key: &str, value: &str| format!("X-Mox-Extra-{key}: {value}\r\n");
        let error = |header: &str| taken(&format!("{header}From: a\r\n\r\nb")).1.unwrap_err();
        assert_eq!(
            error(&(field("a", "1") + "ringmail-extra-A: 2\r\n")),
            ExtraError::Twice
        );
        for wrong in [
            "X-Mox-Extra-\r\n",
            "X-Mox-Extra-: x\r\n",
            "X-Mox-Extra-a b: x\r\n",
            "x-mox-extra-a\r\n",
        ] {
            assert_eq!(error(wrong), ExtraError::Key, "{wrong}");
        }
        assert_eq!(error(&field(&"k".repeat(65), "1")), ExtraError::Key);
        assert_eq!(error(&field("a", &"v".repeat(1025))), ExtraError::Value);
        let folded = "x\r\n ".repeat(4000);
        assert_eq!(error(&field("a", &folded)), ExtraError::Value);
        let many = |count: usize| {
            (0..count)
                .map(|n| field(&n.to_string(), ""))
                .collect::<String>()
        };
        assert_eq!(error(&many(21)), ExtraError::TooMany);
        let fine = many(19) + &field(&"k".repeat(64), &"v".repeat(1024));
        let (kept, found) = taken(&format!("{fine}\r\n"));
        assert_eq!((kept.as_str(), found.unwrap().len()), ("\r\n", 20));
    }
}

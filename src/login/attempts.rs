//! The record of login attempts: what one was, and those that a core has not written yet. Attempts that differ in nothing but their time
//! are one record with a count, so that a program that logs in each minute, or guesses without end, fills no disk.
//!
//! Kept for those who look after an account; no limit is decided from it (`limiter.rs`). What clients say of themselves is untrusted: it is
//! cut, and shown without control characters. Not here: the rows (`store`), when they are written (`percore`).

use std::borrow::Cow;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// All of an attempt but its time.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Attempted {
    /// Whose login it was; empty: nobody has the name.
    pub account: String,
    /// The name that was given.
    pub login: String,
    /// The client's address.
    pub peer: IpAddr,
    /// Ours.
    pub local: IpAddr,
    /// Version, cipher and what else was agreed on; empty without TLS.
    pub tls: String,
    /// The registered key of the TLS client certificate.
    pub key: Option<[u8; 32]>,
    /// `imap`, `submission`.
    pub protocol: Cow<'static, str>,
    /// `SCRAM-SHA-256`, `login-command`, `tls-client-key` and so on.
    pub mechanism: Cow<'static, str>,
    /// What the client says it is: IMAP's ID, SMTP's EHLO. Empty if it said nothing.
    pub client: String,
    /// `ok`, `baduser`, `badpassword`, `badcreds`, `nokeys`, `badchanbind`, `badprotocol`, `logindisabled`, `error`, `aborted`.
    pub result: Cow<'static, str>,
}

impl Attempted {
    /// Whether the client is in.
    pub fn is_ok(&self) -> bool {
        self.kind() == AttemptKind::Login
    }

    /// What kind of attempt it was.
    pub fn kind(&self) -> AttemptKind {
        match &*self.result {
            "ok" => AttemptKind::Login,
            "baduser" | "badpassword" | "badcreds" | "logindisabled" => AttemptKind::Guess,
            "nokeys" => AttemptKind::NoKeys,
            _ => AttemptKind::Other,
        }
    }
}

/// Attempts whose records are kept apart, so that those of one kind push out none of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AttemptKind {
    /// The client got in.
    Login,
    /// It tried a secret.
    Guess,
    /// It tried one by a mechanism for which the account has none.
    NoKeys,
    /// It tried none: it gave up, or does not speak its mechanism.
    Other,
}

/// When the attempts of a record were made, seconds since 1970, and how many.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Times {
    /// The first.
    pub first: i64,
    /// The last.
    pub last: i64,
    /// All of them.
    pub count: u64,
}

impl Times {
    /// One attempt.
    pub fn once(now: i64) -> Times {
        Times {
            first: now,
            last: now,
            count: 1,
        }
    }

    /// Adds others of the same record.
    pub fn add(&mut self, other: Times) {
        self.first = self.first.min(other.first);
        self.last = self.last.max(other.last);
        self.count = self.count.saturating_add(other.count);
    }
}

/// A record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoginRecord {
    /// What was tried.
    pub attempted: Attempted,
    /// When.
    pub times: Times,
}

/// Attempts that are not written yet.
#[derive(Default)]
pub struct Unwritten {
    records: HashMap<Attempted, Times>,
    /// By connection: logins whose program may say its name in a moment.
    unnamed: HashMap<String, Unnamed>,
    round: u64,
}

struct Unnamed {
    attempted: Attempted,
    at: i64,
    round: u64,
}

impl Unwritten {
    /// Adds one; false if there are too many, and it is not recorded.
    pub fn add(&mut self, attempted: Attempted, times: Times) -> bool {
        let is_full = self.records.len() >= UNWRITTEN_MAX;
        match self.records.entry(attempted) {
            Entry::Occupied(mut found) => found.get_mut().add(times),
            Entry::Vacant(_) if is_full => return false,
            Entry::Vacant(new) => drop(new.insert(times)),
        }
        true
    }

    /// Adds one whose client may say soon what it is: it is kept back for one whole round of writing. Answers as `add` does.
    pub fn add_unnamed(&mut self, connection: &str, attempted: Attempted, now: i64) -> bool {
        if self.unnamed.len() >= UNWRITTEN_MAX {
            return self.add(attempted, Times::once(now));
        }
        let unnamed = Unnamed {
            attempted,
            at: now,
            round: self.round,
        };
        self.unnamed.insert(connection.to_string(), unnamed);
        true
    }

    /// The client of a connection says what it is. Nothing happens if its login was written before.
    pub fn client_named(&mut self, connection: &str, client: &str) {
        if let Some(unnamed) = self.unnamed.get_mut(connection) {
            unnamed.attempted.client = client.to_string();
        }
    }

    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty() && self.unnamed.is_empty()
    }

    /// Takes out what is to be written in this round; `all`: those too whose clients may still say what they are.
    pub fn take(&mut self, all: bool) -> Vec<LoginRecord> {
        let round = self.round;
        let due = self
            .unnamed
            .extract_if(|_, unnamed| all || unnamed.round < round);
        let due: Vec<Unnamed> = due.map(|(_, unnamed)| unnamed).collect();
        for unnamed in due {
            // Bounded by both maps' bounds.
            let times = self.records.entry(unnamed.attempted).or_insert(Times {
                count: 0,
                ..Times::once(unnamed.at)
            });
            times.add(Times::once(unnamed.at));
        }
        self.round += 1;
        let records = std::mem::take(&mut self.records).into_iter();
        records
            .map(|(attempted, times)| LoginRecord { attempted, times })
            .collect()
    }
}

/// What a client says of itself, fit to be stored and shown: cut, and without control characters.
pub fn told(text: &str) -> String {
    let clean = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    let mut clean: String = clean.collect();
    clean.truncate(clean.floor_char_boundary(TOLD_MAX));
    clean
}

/// Records that a core holds, of each kind; a second's worth.
const UNWRITTEN_MAX: usize = 10_000;
/// Octets of a name or a client's words. RFC 5321 4.5.3.1.3: a path has at most 256.
const TOLD_MAX: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    fn attempted(login: &str) -> Attempted {
        Attempted {
            account: "anna".into(),
            login: login.into(),
            peer: [192, 0, 2, 1].into(),
            local: [192, 0, 2, 2].into(),
            tls: String::new(),
            key: None,
            protocol: "imap".into(),
            mechanism: "PLAIN".into(),
            client: String::new(),
            result: "ok".into(),
        }
    }

    #[test]
    fn equal_attempts_are_one_record() {
        let mut unwritten = Unwritten::default();
        for now in [7, 5, 9] {
            assert!(unwritten.add(attempted("a"), Times::once(now)));
        }
        assert!(unwritten.add(attempted("b"), Times::once(6)));
        let mut records = unwritten.take(false);
        records.sort_by_key(|r| r.attempted.login.clone());
        let times = Times {
            first: 5,
            last: 9,
            count: 3,
        };
        assert_eq!(records[0].times, times);
        assert_eq!(records[1].times, Times::once(6));
        assert!(unwritten.is_empty());
    }

    #[test]
    fn a_login_waits_one_round_for_its_clients_name() {
        let mut unwritten = Unwritten::default();
        assert!(unwritten.take(false).is_empty());
        unwritten.add_unnamed("1", attempted("a"), 5);
        unwritten.add_unnamed("2", attempted("a"), 6);
        assert!(unwritten.take(false).is_empty());
        unwritten.client_named("2", "Mail 7");
        unwritten.client_named("3", "nobody's");
        let mut records = unwritten.take(false);
        records.sort_by_key(|r| r.attempted.client.clone());
        let told = records
            .iter()
            .map(|r| (r.attempted.client.as_str(), r.times));
        let expected = [("", Times::once(5)), ("Mail 7", Times::once(6))];
        assert!(told.eq(expected));
        unwritten.add_unnamed("4", attempted("a"), 7);
        assert_eq!(unwritten.take(true).len(), 1);
        assert!(unwritten.is_empty());
    }

    #[test]
    fn names_without_end_fill_no_memory() {
        let mut unwritten = Unwritten::default();
        let all = (0..UNWRITTEN_MAX * 2)
            .filter(|n| unwritten.add(attempted(&n.to_string()), Times::once(0)));
        assert_eq!(all.count(), UNWRITTEN_MAX);
        // Those that are there still count.
        assert!(unwritten.add(attempted("0"), Times::once(1)));
        for n in 0..UNWRITTEN_MAX * 2 {
            unwritten.add_unnamed(&n.to_string(), attempted("x"), 0);
        }
        assert!(unwritten.unnamed.len() <= UNWRITTEN_MAX);
    }

    #[test]
    fn what_clients_say_is_cut_and_has_no_control_characters() {
        assert_eq!(told("a\r\n\x1b[31mb"), "a   [31mb");
        assert!(told(&"ä".repeat(1000)).len() <= TOLD_MAX);
    }
}

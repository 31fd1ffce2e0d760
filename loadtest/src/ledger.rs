//! What a server has accepted, message by message, and the check that all of it is there exactly once.
//! The only words a load test may never bend: no accepted message is lost, none is there twice.

use std::collections::HashMap;
use std::fs;

use imap::client::{Part, Response};

use crate::control::Control;
use crate::error::Failure;
use crate::messages::token_of;
use crate::progress::Progress;
use crate::smtp_traffic::SmtpTraffic;
use crate::target::Target;

/// Tokens by recipient.
#[derive(Default)]
pub struct Ledger {
    accepted: HashMap<String, HashMap<String, u32>>,
    total: u64,
}

impl Ledger {
    /// Adds all that was accepted in a run.
    pub fn add(&mut self, traffic: &SmtpTraffic) {
        for accepted in &traffic.accepted {
            let token = traffic.plan().content.token(accepted.message);
            for recipient in traffic.recipients_of(accepted.recipient) {
                self.insert(recipient.to_string(), token.clone());
            }
        }
    }

    fn insert(&mut self, recipient: String, token: String) {
        self.total += 1;
        self.accepted.entry(recipient).or_default().insert(token, 0);
    }

    /// Reads a file of lines `token recipient`.
    pub fn read(path: &str) -> Result<Self, Failure> {
        let text = fs::read_to_string(path).map_err(Failure::io(path))?;
        let mut ledger = Self::default();
        for line in text.lines() {
            let (token, recipient) = line
                .split_once(' ')
                .ok_or_else(|| Failure::Usage(format!("{path}: not a ledger: {line}")))?;
            ledger.insert(recipient.to_owned(), token.to_owned());
        }
        Ok(ledger)
    }

    /// Writes such a file.
    pub fn write(&self, path: &str) -> Result<(), Failure> {
        let mut text = String::new();
        for (recipient, tokens) in &self.accepted {
            for token in tokens.keys() {
                text += &format!("{token} {recipient}\n");
            }
        }
        fs::write(path, text).map_err(Failure::io(path))
    }

    /// Looks into the INBOX of each recipient, who logs in with the address, and says how many messages were looked for.
    pub fn verify(mut self, target: &Target) -> Result<u64, Failure> {
        let password = target.password.clone().unwrap_or_default();
        let mut progress = Progress::new("verify: mailboxes", self.accepted.len() as u64);
        let mut wrong = Wrong::default();
        for (done, (recipient, tokens)) in self.accepted.iter_mut().enumerate() {
            let login = (recipient.clone(), password.clone());
            count(target, &login, tokens)?;
            wrong.add(recipient, tokens);
            progress.at(done as u64);
        }
        wrong.result(self.total)
    }
}

/// Counts each token in a mailbox.
fn count(
    target: &Target,
    login: &(String, String),
    tokens: &mut HashMap<String, u32>,
) -> Result<(), Failure> {
    let mut control = Control::open(target, login)?;
    let mut exists = 0;
    control.run_ok(&[Part::Text("EXAMINE INBOX")], |response| {
        if let Response::Exists(count) = response {
            exists = *count;
        }
    })?;
    if exists == 0 {
        return Ok(());
    }
    control.run_ok(&[Part::Text(FETCH)], |response| {
        let Response::Fetch(fetch) = response else {
            return;
        };
        for (_, value) in &fetch.items {
            let token = value.octets().and_then(token_of);
            if let Some(count) = token.and_then(|token| tokens.get_mut(token)) {
                *count += 1;
            }
        }
    })
}

#[derive(Default)]
struct Wrong {
    lost: u64,
    doubled: u64,
    first: Option<String>,
}

impl Wrong {
    fn add(&mut self, recipient: &str, tokens: &HashMap<String, u32>) {
        for (token, &count) in tokens.iter().filter(|(_, count)| **count != 1) {
            self.lost += u64::from(count == 0);
            self.doubled += u64::from(count > 1);
            self.first
                .get_or_insert_with(|| format!("{token} for {recipient}: {count} times"));
        }
    }

    fn result(self, total: u64) -> Result<u64, Failure> {
        match self.first {
            None => Ok(total),
            Some(first) => Err(Failure::Verify(format!(
                "of {total} accepted messages {} are lost and {} are there more than once; one of them: {first}",
                self.lost, self.doubled
            ))),
        }
    }
}

const FETCH: &str = "FETCH 1:* BODY.PEEK[HEADER.FIELDS (Message-ID)]";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lost_and_doubled_messages_are_told() {
        let tokens = |counts: &[(&str, u32)]| -> HashMap<String, u32> {
            counts
                .iter()
                .map(|(token, n)| ((*token).to_owned(), *n))
                .collect()
        };
        let mut wrong = Wrong::default();
        wrong.add("a", &tokens(&[("x", 1)]));
        assert!(wrong.first.is_none());
        wrong.add("b", &tokens(&[("y", 0)]));
        wrong.add("c", &tokens(&[("z", 2)]));
        let text = wrong.result(3).unwrap_err().to_string();
        assert!(text.contains("1 are lost and 1 are there more") && text.contains("y for b"));
    }
}

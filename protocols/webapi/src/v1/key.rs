//! Keys of the API.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::problem::Fault;
use super::read::{list, whole_or_none};
use super::schema;
use super::scope::Scope;
use crate::time::Time;

/// A key that is to be made.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewKey {
    /// A word for who has it: 1 to 100 octets, without control characters.
    #[schemars(length(min = 1, max = 100), regex(pattern = schema::ONE_LINE))]
    pub name: String,
    /// What it may do. No more than whoever asks may.
    #[serde(deserialize_with = "list::<5, _, _>")]
    #[schemars(length(min = 1, max = 5))]
    pub scopes: Vec<Scope>,
    /// Addresses (`news@example.org`) and domains (`example.org`) that it may write as; empty: all that the account may. A key with such a list
    /// makes only keys with one that is part of its own.
    #[serde(default, deserialize_with = "list::<100, _, _>")]
    #[schemars(schema_with = "schema::senders")]
    pub from: Vec<String>,
    /// Requests in a minute; left out or `null`: no bound.
    #[serde(default, deserialize_with = "whole_or_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub per_minute: Option<u32>,
    /// Until when it works; left out or `null`: until it is removed.
    #[serde(default)]
    pub expires: Option<Time>,
}

impl NewKey {
    /// What is wrong with it, whoever asks; `now` in seconds since 1970.
    pub fn check(&self, now: i64) -> Vec<Fault> {
        let mut faults = Vec::new();
        let name = &self.name;
        if name.is_empty() || name.len() > NAME_MAX || name.chars().any(char::is_control) {
            let detail = format!("1 to {NAME_MAX} octets, and no control characters");
            faults.push(Fault::at("/name", detail));
        }
        if self.scopes.is_empty() {
            faults.push(Fault::at("/scopes", "at least one"));
        }
        for (at, entry) in self.from.iter().enumerate() {
            if !is_sender(entry) {
                let detail = format!("{entry:?} is no address and no domain");
                faults.push(Fault::at(format!("/from/{at}"), detail));
            }
        }
        if self
            .per_minute
            .is_some_and(|rate| rate == 0 || rate > RATE_MAX)
        {
            faults.push(Fault::at("/per_minute", format!("1 to {RATE_MAX}")));
        }
        if self.expires.is_some_and(|time| time.unix() <= now) {
            faults.push(Fault::at("/expires", "that time is over"));
        }
        faults
    }
}

/// Whether a text is an address, or a domain, that a key may have in its list.
fn is_sender(entry: &str) -> bool {
    let address = match entry.contains('@') {
        true => entry.to_string(),
        false => format!("a@{entry}"),
    };
    address.parse::<smtp::Address>().is_ok()
}

/// A key.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[schemars(rename = "Key")]
pub struct Key {
    /// Which: 16 hexadecimal digits, the middle part of its text.
    pub id: String,
    /// A word for who has it.
    pub name: String,
    /// What it may do.
    pub scopes: Vec<Scope>,
    /// Addresses and domains that it may write as; empty: all that the account may.
    pub from: Vec<String>,
    /// Requests in a minute; `null`: no bound.
    pub per_minute: Option<u32>,
    /// Since when it is there.
    pub created: Option<Time>,
    /// Until when it works; `null`: until it is removed.
    pub expires: Option<Time>,
    /// When it was used last; up to ten minutes late. `null`: never.
    pub last_used: Option<Time>,
}

/// A key that was made.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct MadeKey {
    /// Its text, for the only time: what is stored can't be turned back into it.
    pub secret: String,
    /// The key.
    pub key: Key,
}

/// The keys of an account.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Keys {
    /// At most 100.
    pub keys: Vec<Key>,
}

/// Octets of a name.
const NAME_MAX: usize = 100;
/// Requests in a minute.
const RATE_MAX: u32 = 1_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_with_a_new_key_is_named() {
        let json = r#"{"name":"","scopes":[],"from":["a@x.example","x.example","@","a b","a@"],"per_minute":0,"expires":"2001-01-01T00:00:00Z"}"#;
        let key: NewKey = crate::v1::read::body(json.as_bytes()).unwrap();
        let faults = key.check(1_700_000_000);
        let named: Vec<&str> = faults.iter().filter_map(|f| f.pointer.as_deref()).collect();
        let expected = [
            "/name",
            "/scopes",
            "/from/2",
            "/from/3",
            "/from/4",
            "/per_minute",
            "/expires",
        ];
        assert_eq!(named, expected);
    }
}

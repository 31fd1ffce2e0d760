//! What a key may do.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a key may do.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Send messages, and change what is in the queue.
    Send,
    /// Read what became of messages.
    Read,
    /// Read and change the suppression list.
    Suppression,
    /// Read and change webhooks.
    Webhooks,
    /// Make and remove keys.
    Admin,
}

impl Scope {
    /// All there are.
    pub const ALL: [Scope; 5] = [
        Scope::Send,
        Scope::Read,
        Scope::Suppression,
        Scope::Webhooks,
        Scope::Admin,
    ];

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Scope::Send => "send",
            Scope::Read => "read",
            Scope::Suppression => "suppression",
            Scope::Webhooks => "webhooks",
            Scope::Admin => "admin",
        }
    }

    /// By its word.
    pub fn of_word(word: &str) -> Option<Scope> {
        Scope::ALL.into_iter().find(|scope| scope.as_str() == word)
    }
}

/// A set of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scopes(u8);

impl Scopes {
    /// All there are.
    pub fn all() -> Scopes {
        Scopes::of(&Scope::ALL)
    }

    /// These.
    pub fn of(scopes: &[Scope]) -> Scopes {
        Scopes(scopes.iter().fold(0, |set, scope| set | bit(*scope)))
    }

    /// As bits, in which it is stored.
    pub fn bits(self) -> u8 {
        self.0
    }

    /// From bits; those that mean nothing are none.
    pub fn of_bits(bits: u8) -> Scopes {
        Scopes(bits & Scopes::all().0)
    }

    /// Whether one is in it.
    pub fn has(self, scope: Scope) -> bool {
        self.0 & bit(scope) != 0
    }

    /// In their order.
    pub fn list(self) -> Vec<Scope> {
        let all = Scope::ALL.into_iter();
        all.filter(|scope| self.has(*scope)).collect()
    }
}

fn bit(scope: Scope) -> u8 {
    1 << scope as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_have_what_is_put_into_them() {
        let set = Scopes::of(&[Scope::Admin, Scope::Send]);
        assert!(set.has(Scope::Send) && set.has(Scope::Admin) && !set.has(Scope::Read));
        assert_eq!(set.list(), [Scope::Send, Scope::Admin]);
        assert_eq!(Scopes::all().list(), Scope::ALL);
        for scope in Scope::ALL {
            assert_eq!(Scope::of_word(scope.as_str()), Some(scope));
            let json = serde_json::to_string(&scope).unwrap();
            assert_eq!(json, format!("{:?}", scope.as_str()));
        }
        assert_eq!(Scope::of_word("all"), None);
    }
}

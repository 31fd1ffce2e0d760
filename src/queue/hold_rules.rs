//! Rules that hold new mail before it is sent for the first time. They lie in one row, the same in every shard, changed by operators; each
//! core has them in memory and applies them where a message is committed: held recipients are written so in the same batch.

use std::collections::HashMap;
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use shards::storage::{Batch, Shard};

use super::rows::{HeldBy, MessageRow, Recipient, RecipientRow, State};
use super::select::{domain_of, same_domain};
use crate::settings::names::canonical_domain;
use crate::store::{StoreError, rows};

/// Holds what has all of its fields. An empty one fits anything; without any it holds all new mail.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HoldRule {
    /// Never used again.
    pub id: u32,
    /// Who submits.
    pub account: String,
    /// Of the reverse-path, in the form of `settings::DomainName`.
    pub sender_domain: String,
    /// Of the recipient, in the same form.
    pub recipient_domain: String,
    /// When it was added, seconds since 1970.
    pub added: i64,
}

impl HoldRule {
    /// Whether it holds a recipient. Mail of the server itself is held by none.
    pub fn holds(&self, message: &MessageRow, recipient: &Recipient) -> bool {
        self.may_hold(message) && fits(&self.recipient_domain, domain_of(&recipient.address))
    }

    /// Whether it holds some recipients of a message, or would if they were others.
    fn may_hold(&self, message: &MessageRow) -> bool {
        !message.account.is_empty()
            && (self.account.is_empty() || self.account == message.account)
            && fits(&self.sender_domain, domain_of(&message.reverse_path))
    }

    /// For the row of a recipient that it holds.
    pub fn held_by(&self) -> HeldBy {
        HeldBy {
            rule: Some(self.id),
            words: match self.id {
                0 => "since the hold rules can't be read".into(),
                _ => format!("by hold rule {self}"),
            },
        }
    }
}

fn fits(field: &str, domain: &str) -> bool {
    field.is_empty() || same_domain(field, domain)
}

impl fmt::Display for HoldRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fields = [
            ("account", &self.account),
            ("from", &self.sender_domain),
            ("to", &self.recipient_domain),
        ];
        let fields = fields.iter().filter(|(_, value)| !value.is_empty());
        let fields: Vec<String> = fields
            .map(|(name, value)| format!("{name} {value}"))
            .collect();
        match fields.is_empty() {
            true => write!(f, "{} (everything)", self.id),
            false => write!(f, "{} ({})", self.id, fields.join(", ")),
        }
    }
}

/// All rules.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HoldRules {
    /// How often they were changed: of two rows the later one counts.
    changes: u64,
    /// The number of the last one that was added.
    last: u32,
    /// In the order of their numbers.
    rules: Vec<HoldRule>,
}

impl HoldRules {
    /// What is in force while nobody can say what the rules are: all new mail is kept, and none is sent that should not be.
    pub fn unknown() -> HoldRules {
        HoldRules {
            rules: vec![HoldRule::default()],
            ..HoldRules::default()
        }
    }

    /// How often they were changed.
    pub fn changes(&self) -> u64 {
        self.changes
    }

    /// In the order of their numbers.
    pub fn all(&self) -> &[HoldRule] {
        &self.rules
    }

    /// With one more, which gets its number; none if there are too many.
    pub fn add(&mut self, mut rule: HoldRule) -> Option<HoldRule> {
        if self.rules.len() >= RULES_MAX {
            return None;
        }
        self.changes += 1;
        self.last += 1;
        rule.id = self.last;
        self.rules.push(rule.clone());
        Some(rule)
    }

    /// Without one; answers what it was.
    pub fn remove(&mut self, id: u32) -> Option<HoldRule> {
        let at = self.rules.iter().position(|rule| rule.id == id)?;
        self.changes += 1;
        Some(self.rules.remove(at))
    }

    /// The rows of those recipients of a new message that a rule holds.
    pub fn hold(&self, message: &MessageRow) -> Vec<(u32, RecipientRow)> {
        // Each rule is held against the message once, and each recipient against the few that are left: both may be a thousand.
        let mut of_all: Option<&HoldRule> = None;
        let mut of_domain: HashMap<&str, &HoldRule> = HashMap::new();
        for rule in self.rules.iter().filter(|rule| rule.may_hold(message)) {
            match rule.recipient_domain.as_str() {
                "" => of_all = of_all.or(Some(rule)),
                domain => {
                    of_domain.entry(domain).or_insert(rule);
                }
            }
        }
        if of_all.is_none() && of_domain.is_empty() {
            return Vec::new();
        }
        let held = |(index, recipient): (u32, &Recipient)| {
            let domain = canonical_domain(domain_of(&recipient.address));
            let by_domain = domain.and_then(|domain| of_domain.get(&*domain).copied());
            // The earliest, if there are several.
            let rule = [of_all, by_domain]
                .into_iter()
                .flatten()
                .min_by_key(|r| r.id)?;
            let row = RecipientRow {
                state: State::Held,
                held_by: Some(rule.held_by()),
                ..RecipientRow::fresh(message)
            };
            Some((index, row))
        };
        (0u32..).zip(&message.recipients).filter_map(held).collect()
    }

    /// Reads them from a shard; those of one that has none are none.
    pub async fn read(shard: &Rc<Shard>) -> Result<HoldRules, StoreError> {
        match shard.get(rows::HOLD_RULES.to_vec()).await? {
            Some(row) => rows::decode(&row, || "the hold rules".into()),
            None => Ok(HoldRules::default()),
        }
    }

    /// Writes them; durable when it returns.
    pub async fn write(&self, shard: &Rc<Shard>) -> Result<(), StoreError> {
        let row = rows::encode(self);
        let permit = shard.permit(row.len() + 64, false, PATIENCE).await?;
        let mut batch = Batch::default();
        batch.put(rows::HOLD_RULES.to_vec(), row);
        Ok(shard.commit(permit, batch).await.map(|_| ())?)
    }
}

/// Rules there are at most: each message is held against all of them.
pub const RULES_MAX: usize = 1_000;
const PATIENCE: Duration = Duration::from_secs(20);

#[cfg(test)]
mod tests {
    use super::*;

    fn message(account: &str, reverse_path: &str) -> MessageRow {
        MessageRow {
            size: 1,
            prefix_length: 0,
            account: account.into(),
            reverse_path: reverse_path.into(),
            message_id: String::new(),
            smtputf8: false,
            eight_bit: false,
            binary: false,
            accepted: 1_000,
            not_before: 0,
            expires: 10_000,
            require_tls: None,
            ret: None,
            envid: None,
            recipients: vec![
                Recipient::new("a@one.example"),
                Recipient::new("b@Two.example"),
            ],
            held_for: None,
            unique_mail_from: None,
            extra: Default::default(),
            batch: None,
        }
    }

    fn rule(account: &str, sender_domain: &str, recipient_domain: &str) -> HoldRule {
        HoldRule {
            account: account.into(),
            sender_domain: sender_domain.into(),
            recipient_domain: recipient_domain.into(),
            ..HoldRule::default()
        }
    }

    /// Which recipients of a message of anna's are held.
    fn held(rules: &[HoldRule], message: &MessageRow) -> Vec<u32> {
        let mut all = HoldRules::default();
        for rule in rules {
            all.add(rule.clone()).unwrap();
        }
        all.hold(message)
            .into_iter()
            .map(|(index, _)| index)
            .collect()
    }

    #[test]
    fn all_fields_must_fit_and_an_empty_one_does() {
        let anna = message("anna", "anna@Example.org");
        for (rule, expected) in [
            (rule("", "", ""), &[0, 1][..]),
            (rule("anna", "", ""), &[0, 1]),
            (rule("ben", "", ""), &[]),
            (rule("", "example.org", ""), &[0, 1]),
            (rule("", "", "two.example"), &[1]),
            (rule("anna", "example.org", "one.example"), &[0]),
            (rule("ben", "example.org", "one.example"), &[]),
            (rule("anna", "example.com", "one.example"), &[]),
            (rule("anna", "example.org", "three.example"), &[]),
        ] {
            assert_eq!(held(std::slice::from_ref(&rule), &anna), expected, "{rule}");
        }
        // Of several that fit, the earliest holds.
        let mut several = HoldRules::default();
        for rule in [
            rule("", "", "two.example"),
            rule("", "", ""),
            rule("anna", "", "one.example"),
        ] {
            several.add(rule);
        }
        let by = several
            .hold(&anna)
            .into_iter()
            .map(|(_, row)| row.held_by.unwrap().rule);
        assert_eq!(by.collect::<Vec<_>>(), [Some(2), Some(1)]);
        let two = [rule("ben", "", ""), rule("", "", "two.example")];
        assert_eq!(held(&two, &anna), [1]);
        assert_eq!(held(&[], &anna), [0u32; 0]);
        // A domain is not that of the null path, and what is the server's own is held by nobody.
        let null = message("anna", "");
        assert_eq!(held(&[rule("anna", "example.org", "")], &null), [0u32; 0]);
        assert_eq!(held(&[rule("anna", "", "")], &null), [0, 1]);
        assert_eq!(held(&[rule("", "", "")], &message("", "")), [0u32; 0]);
    }

    #[test]
    fn rules_have_numbers_that_are_not_given_again() {
        let mut rules = HoldRules::default();
        assert_eq!(rules.add(rule("anna", "", "")).unwrap().id, 1);
        assert_eq!(rules.add(rule("", "a.example", "b.example")).unwrap().id, 2);
        assert_eq!(
            rules.remove(2).unwrap().to_string(),
            "2 (from a.example, to b.example)"
        );
        assert_eq!(rules.remove(2), None);
        let all = rules.add(rule("", "", "")).unwrap();
        assert_eq!(all.to_string(), "3 (everything)");
        assert_eq!(all.held_by().words, "by hold rule 3 (everything)");
        assert_eq!((rules.all().len(), rules.changes()), (2, 4));
        let row = rows::encode(&rules);
        assert_eq!(rows::decode::<HoldRules>(&row, String::new).unwrap(), rules);
        for _ in 2..RULES_MAX {
            assert!(rules.add(HoldRule::default()).is_some());
        }
        assert!(rules.add(HoldRule::default()).is_none());
        let (_, held) = HoldRules::unknown().hold(&message("anna", "")).remove(0);
        assert_eq!(held.state, State::Held);
    }
}

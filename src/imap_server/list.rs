//! LIST and LSUB. RFC 9051 6.3.9, RFC 5258 (LIST-EXTENDED), RFC 5819 (STATUS), RFC 6154 (special use), RFC 3501 6.3.9 (LSUB).
//! `Listing` is pure: names in, lines out.

use std::collections::{BTreeMap, BTreeSet};

use imap::response::{ListItem, MailboxAttribute};
use imap::types::{ListCommand, ListPattern, ListReturn, ListSelection, SpecialUse as Use};
use shards::rt;

use super::client::Client;
use super::responses::{Done, Trouble};
use crate::store::{MailboxInfo, SpecialUse};

/// A line of LIST.
#[derive(Debug, PartialEq, Eq)]
struct Line {
    name: String,
    attributes: Vec<MailboxAttribute>,
    /// RFC 5258 4: it has children that are subscribed.
    child_info: bool,
}

/// What there is to be listed.
struct Listing {
    mailboxes: BTreeMap<String, SpecialUse>,
    subscriptions: BTreeSet<String>,
}

impl Client {
    pub(super) async fn list(&mut self, list: &ListCommand) -> Result<Done, Trouble> {
        if !list.extended && list.patterns.iter().all(|p| p.as_str().is_empty()) {
            // RFC 9051 6.3.9: an empty pattern asks for the delimiter alone.
            self.write_line("LIST", "", &[MailboxAttribute::NoSelect], false);
            return Ok(Done::ok("LIST done"));
        }
        let infos: BTreeMap<String, MailboxInfo> = self
            .account
            .mailboxes()
            .into_iter()
            .map(|info| (info.name.clone(), info))
            .collect();
        let listing = self.listing(&infos);
        let patterns = within(&list.reference, &list.patterns);
        for (number, name) in listing.candidates(&list.selection).into_iter().enumerate() {
            if number % SLICE == 0 {
                self.relieve().await?;
            }
            if !patterns.iter().any(|p| p.matches(&name, DELIMITER)) {
                continue;
            }
            let Some(line) = listing.line(name, &list.selection, &list.returns) else {
                continue;
            };
            self.write_line("LIST", &line.name, &line.attributes, line.child_info);
            // RFC 5819 2: no STATUS of what can't be selected.
            if let (false, Some(info)) = (list.returns.status.is_empty(), infos.get(&line.name)) {
                self.write_status(info, &list.returns.status);
            }
        }
        Ok(Done::ok("LIST done"))
    }

    pub(super) async fn lsub(
        &mut self,
        reference: &str,
        pattern: &ListPattern,
    ) -> Result<Done, Trouble> {
        let subscriptions = self.account.subscriptions();
        let Some(pattern) = pattern.within(reference, DELIMITER) else {
            return Ok(Done::ok("LSUB done"));
        };
        for (name, selectable) in lsub_lines(&subscriptions, &pattern) {
            let attributes: &[MailboxAttribute] = match selectable {
                true => &[],
                false => &[MailboxAttribute::NoSelect],
            };
            self.write_line("LSUB", &name, attributes, false);
        }
        self.relieve().await?;
        Ok(Done::ok("LSUB done"))
    }

    fn listing(&self, infos: &BTreeMap<String, MailboxInfo>) -> Listing {
        Listing {
            mailboxes: infos
                .iter()
                .map(|(name, info)| (name.clone(), info.special_use))
                .collect(),
            subscriptions: self.account.subscriptions().into_iter().collect(),
        }
    }

    fn write_line(
        &mut self,
        word: &str,
        name: &str,
        attributes: &[MailboxAttribute],
        child_info: bool,
    ) {
        let item = ListItem {
            attributes,
            delimiter: Some(DELIMITER),
            name,
            child_info: if child_info { &["SUBSCRIBED"] } else { &[] },
            old_name: None,
        };
        match word {
            "LSUB" => self.encoder().lsub(&item),
            _ => self.encoder().list(&item),
        }
    }

    /// Writes what has gathered, if much, and lets others run.
    pub(super) async fn relieve(&mut self) -> Result<(), Trouble> {
        let mut out = std::mem::take(&mut self.talk.wire.out);
        self.talk.wire.relieve(&mut out).await?;
        self.talk.wire.out = out;
        rt::yield_if_needed().await;
        Ok(())
    }
}

impl Listing {
    /// Names that may be listed, in order, before patterns are looked at.
    fn candidates(&self, selection: &ListSelection) -> Vec<String> {
        let mut names: BTreeSet<&str> = BTreeSet::new();
        if !selection.subscribed || selection.recursive_match {
            names.extend(self.mailboxes.keys().map(String::as_str));
        }
        if selection.subscribed {
            names.extend(self.subscriptions.iter().map(String::as_str));
        }
        if selection.subscribed && selection.recursive_match {
            // Parents of subscribed names need not exist.
            let parents = self.subscriptions.iter().flat_map(|name| parents(name));
            names.extend(parents);
        }
        names.into_iter().map(str::to_string).collect()
    }

    /// The line of a name that matches a pattern; none if it is not selected.
    fn line(&self, name: String, selection: &ListSelection, returns: &ListReturn) -> Option<Line> {
        let special_use = self.mailboxes.get(&name);
        let subscribed = self.subscriptions.contains(&name);
        let uses = special_use.map(uses).unwrap_or_default();
        let child_info = selection.recursive_match
            && selection.subscribed
            && has_child(&self.subscriptions, &name);
        let selected = (!selection.subscribed || subscribed || child_info)
            && (!selection.special_use || !uses.is_empty());
        if !selected {
            return None;
        }
        let mut attributes = Vec::new();
        if special_use.is_none() {
            // RFC 9051 7.3.1: implies \Noselect.
            attributes.push(MailboxAttribute::NonExistent);
        }
        if subscribed && (selection.subscribed || returns.subscribed) {
            attributes.push(MailboxAttribute::Subscribed);
        }
        let range = format!("{name}/")..format!("{name}0");
        let has_children = self.mailboxes.range(range).next().is_some();
        attributes.push(match has_children {
            true => MailboxAttribute::HasChildren,
            false => MailboxAttribute::HasNoChildren,
        });
        // Always shown: some clients use them and do not ask.
        attributes.extend(uses.into_iter().map(MailboxAttribute::SpecialUse));
        Some(Line {
            name,
            attributes,
            child_info,
        })
    }
}

fn has_child(names: &BTreeSet<String>, name: &str) -> bool {
    // `0` follows `/` in ASCII, so this range holds the children and nothing else.
    names
        .range(format!("{name}/")..format!("{name}0"))
        .next()
        .is_some()
}

fn parents(name: &str) -> impl Iterator<Item = &str> {
    name.match_indices('/').map(|(at, _)| &name[..at])
}

fn uses(special_use: &SpecialUse) -> Vec<Use> {
    [
        (special_use.archive, Use::Archive),
        (special_use.drafts, Use::Drafts),
        (special_use.junk, Use::Junk),
        (special_use.sent, Use::Sent),
        (special_use.trash, Use::Trash),
    ]
    .into_iter()
    .filter_map(|(is, word)| is.then_some(word))
    .collect()
}

fn within(reference: &str, patterns: &[ListPattern]) -> Vec<ListPattern> {
    patterns
        .iter()
        .filter_map(|pattern| pattern.within(reference, DELIMITER))
        .collect()
}

/// RFC 3501 6.3.9: with `%` at the end, parents of subscribed names are shown as not selectable.
fn lsub_lines(subscriptions: &[String], pattern: &ListPattern) -> BTreeMap<String, bool> {
    let mut lines = BTreeMap::new();
    for name in subscriptions {
        if pattern.matches(name, DELIMITER) {
            lines.insert(name.clone(), true);
        } else if pattern.ends_with_percent() {
            for parent in parents(name).filter(|p| pattern.matches(p, DELIMITER)) {
                lines.entry(parent.to_string()).or_insert(false);
            }
        }
    }
    lines
}

/// Between the levels of names.
const DELIMITER: u8 = b'/';
/// Names looked at before others may run.
const SLICE: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    fn listing() -> Listing {
        let plain = SpecialUse::default();
        let sent = SpecialUse {
            sent: true,
            ..plain
        };
        Listing {
            mailboxes: [
                ("INBOX", plain),
                ("Sent", sent),
                ("a", plain),
                ("a/b", plain),
            ]
            .map(|(name, special_use)| (name.to_string(), special_use))
            .into(),
            subscriptions: ["INBOX", "a/b", "gone/x"].map(String::from).into(),
        }
    }

    fn names(selection: ListSelection, pattern: &str) -> Vec<String> {
        let listing = listing();
        let pattern = ListPattern::new(pattern).unwrap();
        let returns = ListReturn::default();
        listing
            .candidates(&selection)
            .into_iter()
            .filter(|name| pattern.matches(name, DELIMITER))
            .filter_map(|name| listing.line(name, &selection, &returns))
            .map(|line| format!("{}{}", line.name, if line.child_info { "+" } else { "" }))
            .collect()
    }

    #[test]
    fn selections() {
        let all = ListSelection::default();
        let subscribed = ListSelection {
            subscribed: true,
            ..all
        };
        let recursive = ListSelection {
            recursive_match: true,
            ..subscribed
        };
        let special = ListSelection {
            special_use: true,
            ..all
        };
        assert_eq!(names(all, "*"), ["INBOX", "Sent", "a", "a/b"]);
        assert_eq!(names(all, "%"), ["INBOX", "Sent", "a"]);
        assert_eq!(names(subscribed, "*"), ["INBOX", "a/b", "gone/x"]);
        assert_eq!(names(recursive, "%"), ["INBOX", "a+", "gone+"]);
        assert_eq!(names(special, "*"), ["Sent"]);
    }

    #[test]
    fn attributes() {
        let listing = listing();
        let returns = ListReturn {
            subscribed: true,
            ..ListReturn::default()
        };
        let of = |name: &str| {
            listing
                .line(name.into(), &ListSelection::default(), &returns)
                .map(|line| line.attributes)
        };
        assert_eq!(of("a"), Some(vec![MailboxAttribute::HasChildren]));
        assert_eq!(
            of("a/b"),
            Some(vec![
                MailboxAttribute::Subscribed,
                MailboxAttribute::HasNoChildren
            ])
        );
        assert_eq!(
            of("Sent"),
            Some(vec![
                MailboxAttribute::HasNoChildren,
                MailboxAttribute::SpecialUse(Use::Sent)
            ])
        );
        assert!(of("gone/x").is_some_and(|a| a[0] == MailboxAttribute::NonExistent));
    }

    #[test]
    fn lsub_shows_parents_for_percent() {
        let subscriptions = ["INBOX".to_string(), "a/b".into()];
        let lines = |pattern: &str| {
            lsub_lines(&subscriptions, &ListPattern::new(pattern).unwrap())
                .into_iter()
                .collect::<Vec<_>>()
        };
        assert_eq!(
            lines("%"),
            [("INBOX".to_string(), true), ("a".to_string(), false)]
        );
        assert_eq!(
            lines("*"),
            [("INBOX".to_string(), true), ("a/b".to_string(), true)]
        );
    }
}

//! Consistency of an open account in memory: what is pending against what is durable, tables against counts. Cheap enough for every
//! closing of an account in tests and debug builds. What is stored is checked by `check`.

use std::collections::HashSet;

use super::account::{Account, Mailbox, State, TableState, info};
use super::add::count;
use super::rows::{MailboxCounts, MailboxId};
use super::table::Table;

impl Account {
    /// Panics, naming what is wrong, if the account contradicts itself. A bug of ours, whatever clients or disks did.
    pub fn assert_consistent(&self) {
        let problems = self.problems();
        assert!(problems.is_empty(), "account {}: {problems:#?}", self.name);
    }

    /// What contradicts itself; empty if all is well.
    pub fn problems(&self) -> Vec<String> {
        let state = self.state.borrow();
        // After a failed write, or a removal, the pending view is never caught up with.
        let settles = self.shard.status().poisoned.is_none() && !self.gone.get();
        let quiet = settles && state.changes_under_way == 0;
        let mut problems = state.list_problems(quiet);
        for (id, mailbox) in &state.mailboxes {
            let found = mailbox.problems(*id, &state, quiet);
            problems.extend(
                found
                    .into_iter()
                    .map(|p| format!("{}: {p}", mailbox.row.name)),
            );
        }
        problems
    }
}

impl State {
    fn list_problems(&self, quiet: bool) -> Vec<String> {
        let mut problems = Vec::new();
        let mut validities = HashSet::new();
        for (name, id) in &self.by_name {
            match self.mailboxes.get(id) {
                Some(mailbox) if mailbox.row.name == *name => (),
                _ => problems.push(format!("the name {name} leads nowhere")),
            }
            if let Some((parent, _)) = name.rsplit_once('/')
                && !self.by_name.contains_key(parent)
            {
                problems.push(format!("{name} has no parent"));
            }
        }
        for mailbox in self.mailboxes.values() {
            if !validities.insert(mailbox.row.uid_validity) {
                problems.push(format!(
                    "UIDVALIDITY of {} is not its own",
                    mailbox.row.name
                ));
            }
        }
        if self
            .mailboxes
            .keys()
            .any(|id| id.0 >= self.row.next_mailbox)
            || validities.iter().any(|v| *v >= self.row.next_uid_validity)
        {
            problems.push("a number of a mailbox would be given out again".into());
        }
        let tables = self.mailboxes.values().filter_map(|m| match &m.table {
            TableState::Loaded(table) => Some(table),
            _ => None,
        });
        let ghosts: usize = tables.chain(&self.left).map(Table::ghosts).sum();
        if quiet && self.burials.holds() != ghosts {
            problems.push(format!(
                "{} bodies are held for {ghosts} removed messages",
                self.burials.holds()
            ));
        }
        if quiet && self.by_name.len() != self.mailboxes.len() {
            problems.push("a mailbox has no name".into());
        }
        problems
    }
}

impl Mailbox {
    fn problems(&self, id: MailboxId, state: &State, quiet: bool) -> Vec<String> {
        let mut problems = Vec::new();
        let (row, next_modseq) = (&self.row, state.row.next_modseq);
        if row.create_seq > row.modseq || row.modseq >= next_modseq {
            problems.push(format!("MODSEQ {} of {next_modseq}", row.modseq));
        }
        if quiet {
            let mut pending = info(id, row);
            let seen = self.seen.clone();
            // Taken by a session; written with the next change.
            pending.recent_from = seen.as_ref().map_or(0, |s| s.recent_from);
            if seen.as_ref() != Some(&pending) {
                problems.push(format!("durable {seen:?}, pending {pending:?}"));
            }
        }
        if let (TableState::Loaded(table), Some(seen)) = (&self.table, &self.seen) {
            problems.extend(table.problems(quiet));
            let mut counts = MailboxCounts::default();
            for entry in table.entries(0) {
                count(&mut counts, entry.flags, entry.size);
                let keywords = 64 - entry.keywords.leading_zeros() as usize;
                if entry.uid >= seen.uid_next
                    || entry.create_seq > entry.modseq
                    || entry.modseq > seen.modseq
                    || keywords > seen.keywords.len()
                {
                    problems.push(format!("{entry:?} does not fit {seen:?}"));
                }
            }
            if counts != seen.counts {
                problems.push(format!("counted {counts:?}, durable {:?}", seen.counts));
            }
        }
        problems
    }
}

#[cfg(debug_assertions)]
impl Drop for Account {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.assert_consistent();
        }
    }
}

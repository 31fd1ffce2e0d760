//! Making, renaming, deleting and subscribing mailboxes. Names are UTF-8 with `/` between levels; INBOX is in capitals already.

use std::rc::Rc;

use shards::faults::point;

use super::account::{Account, Changes, Effect, Mailbox};
use super::rows::{MailboxCounts, MailboxId, MailboxRow, SpecialUse, encode};
use super::{StoreError, keys};

impl Account {
    /// Makes a mailbox and its missing parents, and subscribes them; answers the names made. RFC 9051 6.3.4, RFC 6154 3.
    pub async fn create(
        self: &Rc<Self>,
        name: &str,
        special_use: SpecialUse,
    ) -> Result<Vec<String>, StoreError> {
        check_name(name)?;
        let permit = self.permit(1024, false).await?;
        let mut changes = Changes::default();
        let made = self.plan_create(name, special_use, &mut changes)?;
        self.commit(permit, changes).await?;
        Ok(made)
    }

    fn plan_create(
        &self,
        name: &str,
        special_use: SpecialUse,
        changes: &mut Changes,
    ) -> Result<Vec<String>, StoreError> {
        let mut guard = self.state.borrow_mut();
        let state = &mut *guard;
        if state.by_name.contains_key(name) {
            return Err(StoreError::MailboxExists);
        }
        let mut missing: Vec<String> = parents(name)
            .filter(|p| !state.by_name.contains_key(*p))
            .map(str::to_string)
            .collect();
        missing.push(name.to_string());
        if state.mailboxes.len() + missing.len() > MAILBOXES_MAX {
            return Err(StoreError::Limit("an account has at most 10,000 mailboxes"));
        }
        let modseq = state.row.next_modseq;
        state.row.next_modseq += 1;
        // Spec A7.2: each use is that of one mailbox at most; the new one takes it over.
        // One being deleted has no row any more; to write it would bring it back.
        let stay = state.mailboxes.iter_mut().filter(|(_, m)| !m.deleting);
        for (id, mailbox) in stay {
            let rest = mailbox.row.special_use.without(special_use);
            if rest != mailbox.row.special_use {
                (mailbox.row.special_use, mailbox.row.modseq) = (rest, modseq);
                changes.put_mailbox(self.id, *id, &mailbox.row);
            }
        }
        for new in &missing {
            let id = MailboxId(state.row.next_mailbox);
            let row = MailboxRow {
                name: new.clone(),
                uid_validity: state.row.next_uid_validity,
                uid_next: 1,
                modseq,
                create_seq: modseq,
                special_use: if new == name {
                    special_use
                } else {
                    SpecialUse::default()
                },
                counts: MailboxCounts::default(),
                keywords: Vec::new(),
                recent_from: 1,
            };
            state.row.next_mailbox += 1;
            state.row.next_uid_validity += 1;
            state.by_name.insert(new.clone(), id);
            changes.put_mailbox(self.id, id, &row);
            changes
                .batch
                .put(keys::subscription(self.id, new), encode(&()));
            changes.effects.push(Effect::Subscribed(new.clone(), true));
            // `seen` stays empty until the effect above: nobody sees the mailbox before it is durable.
            state.mailboxes.insert(id, Mailbox::new(id, row, false));
        }
        Ok(missing)
    }

    /// Deletes a mailbox with its messages. RFC 9051 6.3.5: not INBOX; one with children is refused. Sessions that have it
    /// selected are told; their messages are gone at once. The rows of the messages go later, see `clear.rs`.
    pub async fn delete(self: &Rc<Self>, name: &str) -> Result<(), StoreError> {
        if name == INBOX {
            return Err(StoreError::NotAllowed("INBOX can't be deleted"));
        }
        let permit = self.permit(1024, false).await?;
        self.refuse_children(name)?;
        if self.gone.get() {
            return Err(StoreError::AccountGone);
        }
        let id = self.pending_id(name)?;
        let mut changes = Changes::default();
        {
            let mut guard = self.state.borrow_mut();
            let state = &mut *guard;
            let mailbox = state.mailbox(id)?;
            // From here on nothing new is planned for it. What is under way is durable before this is.
            mailbox.deleting = true;
            let octets = mailbox.row.counts.size;
            state.row.next_modseq += 1;
            state.row.used_bytes = state.row.used_bytes.saturating_sub(octets);
            state.by_name.remove(name);
        }
        changes.batch.delete(keys::mailbox(self.id, id));
        changes.batch.put(keys::cleared(self.id, id), encode(&name));
        changes.effects.push(Effect::MailboxGone(id));
        self.commit(permit, changes).await?;
        let _ = point("mailbox.deleted");
        Ok(())
    }

    fn refuse_children(&self, name: &str) -> Result<(), StoreError> {
        let child = format!("{name}/");
        let state = self.state.borrow();
        if state.by_name.keys().any(|n| n.starts_with(&child)) {
            return Err(StoreError::NotAllowed(
                "the mailbox has children; delete them first",
            ));
        }
        Ok(())
    }

    /// Renames a mailbox and those below it. RFC 9051 6.3.6: of INBOX the messages move to a new mailbox and INBOX stays.
    pub async fn rename(self: &Rc<Self>, from: &str, to: &str) -> Result<(), StoreError> {
        check_name(to)?;
        if from == INBOX {
            return self.rename_inbox(to).await;
        }
        if to
            .strip_prefix(from)
            .is_some_and(|rest| rest.starts_with('/'))
        {
            return Err(StoreError::NotAllowed(
                "a mailbox can't be moved below itself",
            ));
        }
        let permit = self.permit(4096, false).await?;
        let mut changes = Changes::default();
        self.plan_rename(from, to, &mut changes)?;
        self.commit(permit, changes).await
    }

    fn plan_rename(&self, from: &str, to: &str, changes: &mut Changes) -> Result<(), StoreError> {
        let below = format!("{from}/");
        let moving: Vec<(String, String, MailboxId)> = {
            let state = self.state.borrow();
            if !state.by_name.contains_key(from) {
                return Err(StoreError::NoMailbox);
            }
            if from == to {
                return Err(StoreError::MailboxExists);
            }
            let renamed = |old: &str| format!("{to}{}", &old[from.len()..]);
            let all = state
                .by_name
                .iter()
                .filter(|(n, _)| *n == from || n.starts_with(&below));
            all.map(|(old, id)| (old.clone(), renamed(old), *id))
                .collect()
        };
        {
            let state = self.state.borrow();
            let taken = |name: &String| {
                state.by_name.contains_key(name) && !moving.iter().any(|(old, _, _)| old == name)
            };
            if moving.iter().any(|(_, new, _)| taken(new)) {
                return Err(StoreError::MailboxExists);
            }
        }
        for (_, new, id) in &moving {
            check_name(new)?;
            self.state.borrow_mut().mailbox(*id)?;
        }
        let missing: Vec<String> = {
            let state = self.state.borrow();
            parents(to)
                .filter(|p| !state.by_name.contains_key(*p))
                .map(str::to_string)
                .collect()
        };
        if let Some(parent) = missing.last() {
            self.plan_create(parent, SpecialUse::default(), changes)?;
        }
        let mut guard = self.state.borrow_mut();
        let state = &mut *guard;
        let modseq = state.row.next_modseq;
        state.row.next_modseq += 1;
        for (old, _, _) in &moving {
            state.by_name.remove(old);
        }
        for (old, new, id) in moving {
            state.by_name.insert(new.clone(), id);
            let row = &mut state.mailbox(id)?.row;
            row.name = new.clone();
            row.modseq = modseq;
            let row = row.clone();
            changes.put_mailbox(self.id, id, &row);
            if state.subscriptions.contains(&old) {
                changes.batch.delete(keys::subscription(self.id, &old));
                changes
                    .batch
                    .put(keys::subscription(self.id, &new), encode(&()));
                changes.effects.push(Effect::Subscribed(old, false));
                changes.effects.push(Effect::Subscribed(new, true));
            }
        }
        Ok(())
    }

    async fn rename_inbox(self: &Rc<Self>, to: &str) -> Result<(), StoreError> {
        self.create(to, SpecialUse::default()).await?;
        let inbox = self.select(INBOX, true).await?;
        let uids = inbox.uids().to_vec();
        inbox.move_to(&uids, to).await?;
        Ok(())
    }

    /// Subscribes or unsubscribes a name, which need not exist. RFC 9051 6.3.7.
    pub async fn subscribe(self: &Rc<Self>, name: &str, on: bool) -> Result<(), StoreError> {
        check_name(name)?;
        if on && self.state.borrow().subscriptions.len() >= MAILBOXES_MAX {
            return Err(StoreError::Limit(
                "an account has at most 10,000 subscriptions",
            ));
        }
        let permit = self.permit(256, false).await?;
        let mut changes = Changes::default();
        let key = keys::subscription(self.id, name);
        if on {
            changes.batch.put(key, encode(&()));
        } else {
            changes.batch.delete(key);
        }
        changes
            .effects
            .push(Effect::Subscribed(name.to_string(), on));
        self.commit(permit, changes).await
    }

    /// Makes a mailbox unless it is there: for deliveries to a configured mailbox.
    pub async fn ensure(self: &Rc<Self>, name: &str) -> Result<(), StoreError> {
        match self.create(name, SpecialUse::default()).await {
            Ok(_) | Err(StoreError::MailboxExists) => Ok(()),
            Err(e) => Err(e),
        }
    }
}

pub(super) fn parents(name: &str) -> impl Iterator<Item = &str> {
    name.match_indices('/').map(|(at, _)| &name[..at])
}

/// Spec A7.1: no empty level, no control characters, no leading or trailing separator, bounded.
pub fn check_name(name: &str) -> Result<(), StoreError> {
    if name.is_empty() || name.len() > NAME_MAX {
        return Err(StoreError::BadName(
            "it is empty or longer than 1,000 octets",
        ));
    }
    if name.split('/').any(str::is_empty) {
        return Err(StoreError::BadName("a level is empty"));
    }
    if name.split('/').count() > LEVELS_MAX {
        return Err(StoreError::BadName("it has more than 50 levels"));
    }
    if name.split('/').any(|level| level == "." || level == "..") {
        return Err(StoreError::BadName("a level is . or .."));
    }
    if name
        .chars()
        .any(|c| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '*' | '%'))
    {
        return Err(StoreError::BadName(
            "it has a control character or a wildcard",
        ));
    }
    Ok(())
}

/// Stands for the mailbox of an account's sent mail, whatever its name: RFC 6154. The delivery is a copy of what it sent, to no address.
pub const SENT_COPY: &str = "\\Sent";
/// The mailbox every account has.
pub const INBOX: &str = "INBOX";
const NAME_MAX: usize = 1_000;
const LEVELS_MAX: usize = 50;
const MAILBOXES_MAX: usize = 10_000;

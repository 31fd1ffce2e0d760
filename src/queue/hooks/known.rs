//! What a core knows of webhooks: whether anybody is told of an account's events (every core that sends its mail), and whose change it is,
//! and whom the flow has to look after (the owner).

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};
use std::rc::Rc;

use shards::rt::{Event, Turn, Turns};
use webapi::hook::{HookEvent, HookEvents};

/// One core's part.
#[derive(Default)]
pub struct Hooks {
    known: RefCell<HashMap<String, (u64, HookEvents)>>,
    turns: RefCell<HashMap<String, Rc<Turns>>>,
    woken: RefCell<BTreeSet<(String, u32)>>,
    waiting: RefCell<HashMap<String, u64>>,
    /// Notified when there is something in [`Hooks::take_woken`].
    pub waking: Event,
}

impl Hooks {
    /// The owner says of which events of an account anybody is told; what is older than what is known says nothing.
    pub fn know(&self, account: &str, version: u64, events: HookEvents) {
        let mut known = self.known.borrow_mut();
        if known.len() >= ACCOUNTS_MAX && !known.contains_key(account) {
            // Their events are owed until it is known anew, and the owner makes nothing of them.
            known.clear();
        }
        let entry = known.entry(account.to_string()).or_default();
        if version >= entry.0 {
            *entry = (version, events);
        }
    }

    /// Whether anybody is told of an event, or that is not known.
    pub fn may_want(&self, account: &str, event: HookEvent) -> bool {
        let known = self.known.borrow();
        known
            .get(account)
            .is_none_or(|(_, events)| events.has(event))
    }

    /// Changes of an account's hooks come one after the other, for each is made from what was read before.
    pub async fn turn(&self, account: &str) -> Turn {
        let turns = {
            let mut all = self.turns.borrow_mut();
            if all.len() >= TURNS_MAX {
                all.retain(|_, turns| Rc::strong_count(turns) > 1);
            }
            all.entry(account.to_string()).or_default().clone()
        };
        turns.take(1).await
    }

    /// Something is to be sent to an endpoint of an account of this core.
    pub fn wake(&self, account: &str, endpoint: u32) {
        self.woken
            .borrow_mut()
            .insert((account.to_string(), endpoint));
        self.waking.notify();
    }

    /// So many hooks of an account of this core wait.
    pub fn waiting(&self, account: &str, count: u64) {
        let mut waiting = self.waiting.borrow_mut();
        match count {
            0 => waiting.remove(account),
            count => waiting.insert(account.to_string(), count),
        };
    }

    /// Hooks of all accounts of this core that wait, as far as they were looked at.
    pub fn all_waiting(&self) -> u64 {
        self.waiting.borrow().values().sum()
    }

    /// Endpoints that were woken since.
    pub fn take_woken(&self) -> BTreeSet<(String, u32)> {
        self.woken.take()
    }
}

/// Accounts of which it is known.
const ACCOUNTS_MAX: usize = 1_000_000;
/// Accounts whose turns are remembered, about.
const TURNS_MAX: usize = 1_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_older_says_nothing() {
        let hooks = Hooks::default();
        let failed = HookEvent::Failed;
        assert!(hooks.may_want("anna", failed), "it is not known");
        hooks.know("anna", 0, HookEvents::NONE);
        assert!(!hooks.may_want("anna", failed));
        hooks.know("anna", 2, HookEvents::NONE.with(failed));
        hooks.know("anna", 1, HookEvents::NONE);
        assert!(hooks.may_want("anna", failed) && !hooks.may_want("anna", HookEvent::Delivered));
    }
}

//! What a core knows of webhooks: whether anybody is told of an account's events (every core that sends its mail), and whose change it is,
//! and whom the flow has to look after (the owner).

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};
use std::rc::Rc;

use shards::rt::{Event, Turn, Turns};
use webapi::hook::{HookEvent, HookEvents};

use super::conduct::Conduct;
use super::incoming::Untold;

/// One core's part.
#[derive(Default)]
pub struct Hooks {
    known: RefCell<HashMap<String, (u64, HookEvents)>>,
    turns: RefCell<HashMap<String, Rc<Turns>>>,
    woken: RefCell<BTreeSet<(String, u32)>>,
    waiting: RefCell<HashMap<String, u64>>,
    tests: Rc<RefCell<HashMap<String, usize>>>,
    /// How endpoints behaved.
    pub conduct: Conduct,
    /// Messages that came, of which webhooks have still to tell.
    pub untold: Untold,
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
        self.wants(account, event).unwrap_or(true)
    }

    /// Whether anybody is told of an event; none: that is not known.
    pub fn wants(&self, account: &str, event: HookEvent) -> Option<bool> {
        let known = self.known.borrow();
        known.get(account).map(|(_, events)| events.has(event))
    }

    /// Whether anybody is told of what becomes of an account's mail, now or by a report later on; or that is not known.
    pub fn may_tell(&self, account: &str) -> bool {
        let known = self.known.borrow();
        let is_told = |events: &HookEvents| events.iter().any(|e| e != HookEvent::Incoming);
        known.get(account).is_none_or(|(_, events)| is_told(events))
    }

    /// Changes of an account come one after the other, for each is made from what was read before; those of different accounts don't wait for each
    /// other.
    pub async fn turn(&self, account: &str) -> HooksTurn {
        let turns = {
            let mut all = self.turns.borrow_mut();
            if all.len() >= TURNS_MAX {
                all.retain(|_, turns| Rc::strong_count(turns) > 1);
            }
            all.entry(account.to_string()).or_default().clone()
        };
        HooksTurn {
            account: account.to_string(),
            _turn: turns.take(1).await,
        }
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

    /// A call is about to be made for an account that only tests an endpoint; none: enough of these are under way. They have none of the places
    /// of other calls, so they have a bound of their own.
    pub fn begin_test(&self, account: &str) -> Option<Testing> {
        let mut tests = self.tests.borrow_mut();
        let own = tests.get(account).copied().unwrap_or(0);
        let has_room = own < TESTS_OF_ACCOUNT_MAX && tests.values().sum::<usize>() < TESTS_MAX;
        if has_room {
            tests.insert(account.to_string(), own + 1);
        }
        has_room.then(|| Testing {
            tests: self.tests.clone(),
            account: account.to_string(),
        })
    }

    /// Endpoints that were woken since.
    pub fn take_woken(&self) -> BTreeSet<(String, u32)> {
        self.woken.take()
    }
}

/// The right to change what events change of an account: its hooks, its suppression list, what is kept of recipients that are over. Who writes shows it
/// ([`Writing`](crate::queue::events::Writing)), and whoever removes the account takes it once: so who has it looks whether the account is still there.
/// Dropped, it goes to the next in line.
pub struct HooksTurn {
    account: String,
    _turn: Turn,
}

impl HooksTurn {
    /// Whose hooks.
    pub fn account(&self) -> &str {
        &self.account
    }
}

/// A test under way; it is over when this is dropped, however it ends.
pub struct Testing {
    tests: Rc<RefCell<HashMap<String, usize>>>,
    account: String,
}

impl Drop for Testing {
    fn drop(&mut self) {
        let mut tests = self.tests.borrow_mut();
        match tests.get_mut(&self.account) {
            Some(own) if *own > 1 => *own -= 1,
            _ => {
                tests.remove(&self.account);
            }
        }
    }
}

/// Accounts of which it is known.
const ACCOUNTS_MAX: usize = 1_000_000;
/// Calls of a core at once that only test endpoints.
const TESTS_MAX: usize = 32;
/// The same of one account.
const TESTS_OF_ACCOUNT_MAX: usize = 2;
/// Accounts whose turns are remembered, about.
const TURNS_MAX: usize = 1_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_of_an_account_leave_room_for_others() {
        let hooks = Hooks::default();
        let begin = |account: &str| hooks.begin_test(account);
        let (first, second) = (begin("anna"), begin("anna"));
        let other = begin("ben");
        assert!(first.is_some() && second.is_some() && other.is_some());
        assert!(begin("anna").is_none());
        drop(first);
        let third = begin("anna");
        assert!(third.is_some() && begin("anna").is_none());
        let more: Vec<_> = (0..TESTS_MAX - 3).map(|n| begin(&n.to_string())).collect();
        assert!(more.iter().all(Option::is_some) && begin("carl").is_none());
        drop((second, third, other, more));
        assert!(hooks.tests.borrow().is_empty());
    }

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
        assert!(hooks.may_tell("anna") && hooks.may_tell("ben"));
        hooks.know("anna", 3, HookEvents::NONE.with(HookEvent::Incoming));
        assert!(!hooks.may_tell("anna"));
    }
}

//! Connections of this core to receivers: those that calls use, and idle ones that are kept for the next. Of an account as many are open as it may
//! have calls, and of all accounts as many as the core may: an idle one more closes the one that is idle longest. Calls beyond that (docs/WEBHOOKS.md,
//! "Bounds") keep none.
//!
//! Not here: how they are made and used (`client`), who may call (`dispatch`).

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;
use std::time::{Duration, Instant};

use shards::rt;

use super::ROOM;
use crate::percore::monotonic;
use crate::queue::hooks::Target;

/// A connection that may be over without having been told.
pub(super) trait Line {
    /// The other side has ended it.
    fn is_closed(&self) -> bool;
}

/// How many may be open.
#[derive(Clone, Copy)]
pub(super) struct Most {
    pub of_account: usize,
    pub of_core: usize,
}

/// Those of all accounts.
pub(super) struct Connections<C>(RefCell<State<C>>);

struct State<C> {
    /// Of each account.
    in_use: HashMap<String, usize>,
    /// The one that is idle longest comes first.
    idle: VecDeque<Idle<C>>,
    is_swept: bool,
}

struct Idle<C> {
    account: String,
    to: Target,
    since: Instant,
    connection: C,
}

impl<C> Default for Connections<C> {
    fn default() -> Connections<C> {
        Connections(RefCell::new(State {
            in_use: HashMap::new(),
            idle: VecDeque::new(),
            is_swept: false,
        }))
    }
}

impl<C: Line + 'static> Connections<C> {
    /// The right to one connection of an account, which counts until it is dropped; with it comes an idle one to there, if there is any and `reuses`.
    pub fn take(
        self: &Rc<Self>,
        account: &str,
        (to, reuses): (&Target, bool),
        most: Most,
    ) -> (Used<C>, Option<C>) {
        let mut state = self.0.borrow_mut();
        state.end_old(monotonic());
        let leads_there = |idle: &Idle<C>| idle.account == account && idle.to.is_same_server(to);
        let found = match reuses {
            true => state.idle.iter().rposition(leads_there),
            false => None,
        };
        let found = found.and_then(|at| state.idle.remove(at));
        *state.in_use.entry(account.to_string()).or_default() += 1;
        state.make_room(account, most);
        let used = Used {
            of: self.clone(),
            account: account.to_string(),
        };
        (used, found.map(|idle| idle.connection))
    }

    /// Ends those that are idle for long, until there is none.
    fn sweep_later(self: &Rc<Self>) {
        if std::mem::replace(&mut self.0.borrow_mut().is_swept, true) {
            return;
        }
        let all = Rc::downgrade(self);
        rt::spawn(&ROOM, async move {
            loop {
                rt::sleep(KEPT_FOR).await;
                let Some(all) = all.upgrade() else {
                    return;
                };
                let mut state = all.0.borrow_mut();
                state.end_old(monotonic());
                if state.idle.is_empty() {
                    state.is_swept = false;
                    return;
                }
            }
        });
    }
}

impl<C: Line> State<C> {
    fn end_old(&mut self, now: Instant) {
        let is_kept = |idle: &Idle<C>| {
            let age = now.saturating_duration_since(idle.since);
            age < KEPT_FOR && !idle.connection.is_closed()
        };
        self.idle.retain(is_kept);
    }

    fn make_room(&mut self, account: &str, most: Most) {
        let in_use = self.in_use.get(account).copied().unwrap_or(0);
        let own = self.idle.iter().filter(|idle| idle.account == account);
        let mut surplus = (in_use + own.count()).saturating_sub(most.of_account);
        self.idle.retain(|idle| {
            let goes = surplus > 0 && idle.account == account;
            surplus -= usize::from(goes);
            !goes
        });
        let in_use: usize = self.in_use.values().sum();
        let surplus = (in_use + self.idle.len()).saturating_sub(most.of_core);
        self.idle.drain(..surplus.min(self.idle.len()));
    }
}

/// A connection in use, or that is being made. When it is dropped it counts no more.
pub(super) struct Used<C> {
    of: Rc<Connections<C>>,
    account: String,
}

impl<C: Line + 'static> Used<C> {
    /// It is idle from now on, and kept for a while.
    pub fn keep(self, (to, connection): (Target, C), most: Most) {
        let (of, account) = (self.of.clone(), self.account.clone());
        drop(self);
        let mut state = of.0.borrow_mut();
        state.idle.push_back(Idle {
            account: account.clone(),
            to,
            since: monotonic(),
            connection,
        });
        state.make_room(&account, most);
        drop(state);
        of.sweep_later();
    }
}

impl<C> Drop for Used<C> {
    fn drop(&mut self) {
        let mut state = self.of.0.borrow_mut();
        match state.in_use.get_mut(&self.account) {
            Some(own) if *own > 1 => *own -= 1,
            _ => {
                state.in_use.remove(&self.account);
            }
        }
    }
}

/// How long an idle connection is kept for the next call.
const KEPT_FOR: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    /// Says when it is dropped.
    struct Open(Rc<Cell<usize>>);

    impl Line for Open {
        fn is_closed(&self) -> bool {
            false
        }
    }

    impl Drop for Open {
        fn drop(&mut self) {
            self.0.set(self.0.get() - 1);
        }
    }

    const MOST: Most = Most {
        of_account: 3,
        of_core: 4,
    };

    fn to(host: &str) -> Target {
        Target::parse(&format!("https://{host}/")).unwrap()
    }

    #[test]
    fn as_many_are_open_as_may_and_the_one_idle_longest_goes() {
        rt::block_on(async {
            let all: Rc<Connections<Open>> = Rc::default();
            let open = Rc::new(Cell::new(0));
            let connect = || {
                open.set(open.get() + 1);
                Open(open.clone())
            };
            for host in ["a", "b", "c"] {
                let (used, found) = all.take("anna", (&to(host), true), MOST);
                assert!(found.is_none(), "{host}");
                used.keep((to(host), connect()), MOST);
            }
            assert_eq!(open.get(), 3);
            // A fourth of the account closes the first; the others are found.
            let (fourth, found) = all.take("anna", (&to("d"), true), MOST);
            assert!(found.is_none() && open.get() == 2);
            fourth.keep((to("d"), connect()), MOST);
            let (_, found) = all.take("anna", (&to("b"), false), MOST);
            assert!(found.is_none());
            let hosts = || -> Vec<String> {
                let state = all.0.borrow();
                state.idle.iter().map(|idle| idle.to.host.clone()).collect()
            };
            assert_eq!(hosts(), ["c", "d"]);
            // Nobody else finds them, and what others use counts for the core.
            let others: Vec<_> = (0..3)
                .map(|_| all.take("ben", (&to("c"), true), MOST))
                .collect();
            assert!(others.iter().all(|(_, found)| found.is_none()));
            assert_eq!(hosts(), ["d"]);
            let (used, found) = all.take("anna", (&to("d"), true), MOST);
            used.keep((to("d"), found.unwrap()), MOST);
            assert_eq!((hosts().len(), open.get()), (1, 1));
            // Where calls alone are as many as may, none is kept.
            let few = Most {
                of_account: 1,
                of_core: 4,
            };
            let (first, second) = (
                all.take("anna", (&to("d"), false), few),
                all.take("anna", (&to("e"), false), few),
            );
            assert_eq!(open.get(), 0);
            first.0.keep((to("d"), connect()), few);
            assert_eq!(open.get(), 0);
            drop(second);
            drop(others);
            assert!(all.0.borrow().in_use.is_empty());
        })
        .unwrap();
    }
}

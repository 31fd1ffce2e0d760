//! Forgetting what no session sees any more: removed messages whose removal all were told of, and tables nobody has. There may be very
//! many, so it is done in slices; what is left over goes on in the background.
//!
//! Not here: which bodies may go then (`burials.rs`), and their removal (`expunge.rs`).

use std::rc::Rc;

use shards::rt;

use super::account::{Account, State, TableState};
use super::accounts::ROOM;
use super::rows::MailboxId;

impl Account {
    /// Drops tables no session uses; large ones bit by bit.
    pub(super) fn drop_unused_tables(self: &Rc<Self>) {
        let mut guard = self.state.borrow_mut();
        let state = &mut *guard;
        for mailbox in state.mailboxes.values_mut() {
            if let TableState::Loaded(table) = &mut mailbox.table
                && table.is_unused()
            {
                if table.is_large() {
                    state.left.push(std::mem::take(table));
                }
                mailbox.table = TableState::Unloaded;
            }
        }
        drop(guard);
        self.take_apart();
    }

    /// Forgets what every session was told, and buries the bodies that nobody can see any more.
    pub(super) fn trim(self: &Rc<Self>, id: MailboxId) {
        // Also called when a session is dropped, which may be while a panic unwinds.
        let Ok(mut state) = self.state.try_borrow_mut() else {
            return;
        };
        let trim_on = state.trim(id)
            && state
                .table(id)
                .is_ok_and(|table| !std::mem::replace(&mut table.trims, true));
        drop(state);
        if trim_on {
            self.trim_on(id);
        }
        self.bury_ready();
    }

    /// Goes on with it in the background: a session that goes may be the last that saw very many removed messages.
    fn trim_on(self: &Rc<Self>, id: MailboxId) {
        let account = self.clone();
        rt::spawn(&ROOM, async move {
            // A task begins at once, within what spawns it.
            rt::yield_now().await;
            loop {
                let more = {
                    let mut state = account.state.borrow_mut();
                    let more = state.trim(id);
                    if let (false, Ok(table)) = (more, state.table(id)) {
                        table.trims = false;
                    }
                    more
                };
                account.bury_ready();
                if !more {
                    return;
                }
                rt::yield_if_needed().await;
            }
        });
    }

    /// Takes the tables that nobody has any more apart, in the background.
    pub(super) fn take_apart(self: &Rc<Self>) {
        if self.state.borrow().left.is_empty() {
            return;
        }
        let account = self.clone();
        rt::spawn(&ROOM, async move {
            rt::yield_now().await;
            while account.state.borrow_mut().take_apart() {
                account.bury_ready();
                rt::yield_if_needed().await;
            }
            account.bury_ready();
        });
    }
}

impl State {
    /// Forgets what all sessions were told; answers whether there is more of it.
    fn trim(&mut self, id: MailboxId) -> bool {
        let Ok(table) = self.table(id) else {
            return false;
        };
        let (freed, more) = table.trim();
        freed
            .into_iter()
            .for_each(|body| self.burials.release(body));
        more
    }

    /// Takes a part of what mailboxes left in memory; answers whether there is more.
    fn take_apart(&mut self) -> bool {
        let Some(table) = self.left.last_mut() else {
            return false;
        };
        let (freed, more) = table.take_apart();
        freed
            .into_iter()
            .for_each(|body| self.burials.release(body));
        if !more {
            self.left.pop();
        }
        !self.left.is_empty()
    }
}

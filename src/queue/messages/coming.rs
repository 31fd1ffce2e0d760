//! Recipients that are on their way into the queue: from when their message is decided about until they stand there, or it is not accepted after all.
//! They take room like those that are there, so that messages that come at once do not all fit into the same room.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

/// By account; nothing is kept of one of which none comes.
#[derive(Default)]
pub struct Coming(Rc<RefCell<HashMap<String, usize>>>);

impl Coming {
    /// So many more of an account come.
    pub fn promise(&self, account: &str, count: usize) -> Promise {
        let mut all = self.0.borrow_mut();
        *all.entry(account.to_string()).or_default() += count;
        Promise {
            all: self.0.clone(),
            account: account.to_string(),
            count,
        }
    }

    /// Of all accounts.
    pub fn all(&self) -> usize {
        self.0.borrow().values().sum()
    }

    /// Of one.
    pub fn of(&self, account: &str) -> usize {
        self.0.borrow().get(account).copied().unwrap_or(0)
    }
}

/// Room for recipients that come; given back when it is dropped.
pub struct Promise {
    all: Rc<RefCell<HashMap<String, usize>>>,
    account: String,
    count: usize,
}

impl Drop for Promise {
    fn drop(&mut self) {
        let mut all = self.all.borrow_mut();
        if let Some(own) = all.get_mut(&self.account) {
            *own = own.saturating_sub(self.count);
            if *own == 0 {
                all.remove(&self.account);
            }
        }
    }
}

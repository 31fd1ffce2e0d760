//! How endpoints of this core's accounts behaved when they were called: which fail. In memory alone: after a start the first call tells it again.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};

/// By account, and there by endpoint. What is not here is well.
#[derive(Default)]
pub struct Conduct {
    failing: RefCell<HashMap<String, BTreeSet<u32>>>,
}

impl Conduct {
    /// Whether an endpoint failed when it was called last.
    pub fn note(&self, account: &str, endpoint: u32, is_failing: bool) {
        let mut all = self.failing.borrow_mut();
        if is_failing {
            let own = all.entry(account.to_string()).or_default();
            own.insert(endpoint);
        } else if let Some(own) = all.get_mut(account) {
            own.remove(&endpoint);
            if own.is_empty() {
                all.remove(account);
            }
        }
    }

    /// As it was noted.
    pub fn is_failing(&self, account: &str, endpoint: u32) -> bool {
        let all = self.failing.borrow();
        all.get(account).is_some_and(|own| own.contains(&endpoint))
    }

    /// An account is gone: another one of its name begins with endpoint 1.
    pub fn forget(&self, account: &str) {
        self.failing.borrow_mut().remove(account);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_left_of_who_is_well_or_gone() {
        let conduct = Conduct::default();
        conduct.note("anna", 1, true);
        conduct.note("ben", 1, true);
        assert!(conduct.is_failing("anna", 1) && !conduct.is_failing("anna", 2));
        conduct.note("anna", 1, false);
        conduct.forget("ben");
        assert!(!conduct.is_failing("anna", 1) && !conduct.is_failing("ben", 1));
        assert!(conduct.failing.borrow().is_empty());
    }
}

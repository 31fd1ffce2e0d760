//! How endpoints of this core's accounts behaved when they were called: which fail, and which have asked for a pause. Pauses are read from the rows of
//! lines at a start; which fail the first call tells again.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// By account, and there by endpoint. What is not here is well.
#[derive(Default)]
pub struct Conduct {
    failing: RefCell<HashMap<String, BTreeSet<u32>>>,
    /// Until when, seconds since 1970.
    pauses: RefCell<HashMap<String, BTreeMap<u32, i64>>>,
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

    /// An endpoint asks not to be called before then, about whatever (RFC 9110 10.2.3). A shorter pause does not end a longer one.
    pub fn pause(&self, account: &str, endpoint: u32, until: i64) {
        let mut all = self.pauses.borrow_mut();
        let own = all.entry(account.to_string()).or_default();
        let before = own.entry(endpoint).or_insert(until);
        *before = until.max(*before);
    }

    /// The end of its pause; none: it may be called.
    pub fn paused_until(&self, account: &str, endpoint: u32, now: i64) -> Option<i64> {
        let mut all = self.pauses.borrow_mut();
        let own = all.get_mut(account)?;
        own.retain(|_, until| *until > now);
        let until = own.get(&endpoint).copied();
        if own.is_empty() {
            all.remove(account);
        }
        until
    }

    /// All pauses of an account.
    pub fn pauses(&self, account: &str, now: i64) -> BTreeMap<u32, i64> {
        let mut own = self.pauses.borrow().get(account).cloned();
        if let Some(own) = &mut own {
            own.retain(|_, until| *until > now);
        }
        own.unwrap_or_default()
    }

    /// An endpoint is another, or is to be called all the same.
    pub fn end_pause(&self, account: &str, endpoint: u32) {
        let mut all = self.pauses.borrow_mut();
        if let Some(own) = all.get_mut(account) {
            own.remove(&endpoint);
            if own.is_empty() {
                all.remove(account);
            }
        }
    }

    /// An account is gone: another one of its name begins with endpoint 1.
    pub fn forget(&self, account: &str) {
        self.failing.borrow_mut().remove(account);
        self.pauses.borrow_mut().remove(account);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_holds_until_its_end_and_the_longer_one_counts() {
        let conduct = Conduct::default();
        conduct.pause("anna", 1, 200);
        conduct.pause("anna", 1, 150);
        conduct.pause("anna", 2, 160);
        let until = |endpoint, now| conduct.paused_until("anna", endpoint, now);
        assert_eq!((until(1, 100), until(2, 100)), (Some(200), Some(160)));
        assert_eq!((until(3, 100), until(2, 160)), (None, None));
        assert_eq!(conduct.paused_until("ben", 1, 100), None);
        assert_eq!(conduct.pauses("anna", 160), BTreeMap::from([(1, 200)]));
        conduct.end_pause("anna", 1);
        assert_eq!(until(1, 100), None);
        assert!(conduct.pauses.borrow().is_empty());
    }

    #[test]
    fn nothing_is_left_of_who_is_well_or_gone() {
        let conduct = Conduct::default();
        conduct.note("anna", 1, true);
        conduct.note("ben", 1, true);
        conduct.pause("ben", 1, 200);
        assert!(conduct.is_failing("anna", 1) && !conduct.is_failing("anna", 2));
        conduct.note("anna", 1, false);
        conduct.forget("ben");
        assert!(!conduct.is_failing("anna", 1) && !conduct.is_failing("ben", 1));
        assert_eq!(conduct.paused_until("ben", 1, 100), None);
        assert!(conduct.failing.borrow().is_empty());
    }
}

//! How far an attempt is, for operators: kept while it is under way, in memory alone.

use std::cell::RefCell;
use std::rc::Rc;

/// What an attempt is at, and with whom. Shared by whoever works on it.
#[derive(Clone, Debug, Default)]
pub struct Phase(Rc<RefCell<Step>>);

#[derive(Debug, Default)]
struct Step {
    what: &'static str,
    whom: Option<Rc<str>>,
}

impl Phase {
    /// It comes to this: `"connects to"`, and with whom.
    pub fn comes_to(&self, what: &'static str, whom: &str) {
        let mut step = self.0.borrow_mut();
        step.what = what;
        // With the same one, most of the time.
        if step.whom.as_deref() != Some(whom) {
            step.whom = Some(whom.into());
        }
    }

    /// It comes to something else, with the same one.
    pub fn goes_on(&self, what: &'static str) {
        self.0.borrow_mut().what = what;
    }

    /// It comes to something that is nobody else's.
    pub fn comes_to_ours(&self, what: &'static str) {
        let step = Step { what, whom: None };
        *self.0.borrow_mut() = step;
    }

    /// In words; none: it has only begun.
    pub fn words(&self) -> Option<String> {
        let step = self.0.borrow();
        match (step.what, &step.whom) {
            ("", _) => None,
            (what, None) => Some(what.to_owned()),
            (what, Some(whom)) => Some(format!("{what} {whom}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_what_and_with_whom() {
        let phase = Phase::default();
        let same = phase.clone();
        assert_eq!(phase.words(), None);
        phase.comes_to("connects to", "mx.example [192.0.2.1]:25");
        let words = same.words();
        assert_eq!(
            words.as_deref(),
            Some("connects to mx.example [192.0.2.1]:25")
        );
        phase.goes_on("waits for the greeting of");
        let words = same.words();
        assert_eq!(
            words.as_deref(),
            Some("waits for the greeting of mx.example [192.0.2.1]:25")
        );
        phase.comes_to_ours("is being recorded");
        assert_eq!(same.words().as_deref(), Some("is being recorded"));
    }
}

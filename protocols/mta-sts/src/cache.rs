//! What is remembered of a domain, and what to do next: look at the record, fetch, use what is there. RFC 8461 3.3, 5.1.
//! Pure: the caller looks up, fetches, keeps [`Entry`] and passes the time, in seconds since 1970.
//!
//! The rule that makes a policy worth something: whoever can suppress DNS or HTTPS answers must not get rid of a policy in force. So a valid
//! policy is used whatever fails, until its max_age is over; and only a fetched policy replaces it.

use crate::error::Problem;
use crate::fetch::FetchError;
use crate::limits::{
    FETCH_RETRY_SECS, LOOKUP_RETRY_SECS, RECORD_FRESH_SECS, RECORD_STALE_SECS, REFRESH_SECS,
    UNUSED_SECS,
};
use crate::policy::{Mode, Policy};
use crate::record::{Record, RecordError, RecordId};

/// What is remembered of a domain. The default knows nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Entry {
    /// The last policy that was fetched, of any mode, perhaps expired.
    pub fetched: Option<Fetched>,
    /// The last fetch, if it failed.
    pub failed: Option<Failed>,
    /// When the record was last looked at, and the policy fetched if need be; a lookup that failed does not count.
    pub looked_up_secs: Option<u64>,
    /// When the record was last looked at in vain: nobody can say what it is.
    pub lookup_failed_secs: Option<u64>,
    /// When a message last asked.
    pub used_secs: u64,
}

/// A policy and where it comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// To keep it, keep [`Policy::text`].
    pub policy: Policy,
    /// The version that the record named when it was fetched.
    pub record_id: RecordId,
    /// When.
    pub fetched_secs: u64,
}

impl Fetched {
    /// The last second at which it holds. RFC 8461 5.1.
    pub fn valid_until_secs(&self) -> u64 {
        self.fetched_secs.saturating_add(self.policy.max_age_secs())
    }
}

/// A fetch without result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failed {
    /// The version that was wanted.
    pub record_id: RecordId,
    /// When.
    pub failed_secs: u64,
}

/// What the caller does next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Look up the TXT records ([`crate::record_name`]), then [`Entry::record`].
    LookUp,
    /// Fetch the policy of this version, then [`Entry::fetch`].
    Fetch(RecordId),
    /// [`Entry::in_force`] is the policy. With `refresh` it is to be fetched again, as its present version; no message need wait for it.
    Apply {
        /// Fetch it again, and tell [`Entry::fetch`].
        refresh: bool,
    },
    /// Deliver as if the domain had no MTA-STS.
    NoPolicy,
    /// None is in force, and whether there is a new one cannot be known now. RFC 8461 10.2: that makes the domain appear not to have one. A message that
    /// needs one (RFC 8689) waits.
    Unknown,
}

/// The next step, and what a TLS report should say of how it came to that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// What to do.
    pub step: Step,
    /// What went wrong, if anything did.
    pub problem: Option<Problem>,
}

impl Entry {
    /// The policy that binds now: fetched, not expired, and its mode is not none.
    pub fn in_force(&self, now_secs: u64) -> Option<&Policy> {
        let policy = &self.valid(now_secs)?.policy;
        (policy.mode() != Mode::None).then_some(policy)
    }

    /// A message for the domain is about to be delivered.
    pub fn begin(&mut self, now_secs: u64) -> Step {
        self.used_secs = self.used_secs.max(now_secs);
        match self.looked_up_secs {
            // A policy that expired since the lookup is fetched again only after another.
            Some(at) if now_secs.abs_diff(at) < RECORD_FRESH_SECS && !self.is_expired(now_secs) => {
                self.use_what_is_there(now_secs, false)
            }
            _ => match self.lookup_failed_secs {
                Some(at) if now_secs.abs_diff(at) < LOOKUP_RETRY_SECS => self.use_unseen(now_secs),
                _ => Step::LookUp,
            },
        }
    }

    /// What held when the record was last looked at, if that is not long ago: it is to be looked at again, and a message that would hold up others
    /// need not wait for it. A policy that has expired is waited for.
    pub fn lately(&self, now_secs: u64) -> Option<Step> {
        let is_lately = |at: u64| now_secs.abs_diff(at) < RECORD_STALE_SECS;
        if self.is_expired(now_secs) {
            return None;
        }
        match (self.looked_up_secs, self.lookup_failed_secs) {
            (Some(at), _) if is_lately(at) => Some(self.use_what_is_there(now_secs, false)),
            (_, Some(at)) if is_lately(at) => Some(self.use_unseen(now_secs)),
            _ => None,
        }
    }

    /// RFC 8461 5.1: a delivery is not failed for good because of the policy before a newer one was looked for. False: look up the record again,
    /// whatever [`Entry::begin`] says.
    pub fn was_looked_up_since(&self, failure_secs: u64) -> bool {
        self.looked_up_secs.is_some_and(|at| at >= failure_secs)
    }

    /// The record was looked up: the result of [`Record::select`], or [`RecordError::Lookup`].
    pub fn record(&mut self, result: Result<Record, RecordError>, now_secs: u64) -> Answer {
        let was_found_out = result != Err(RecordError::Lookup);
        let answer = match result {
            Ok(record) => self.known_version(record.id, now_secs),
            Err(error) => self.no_version(error, now_secs),
        };
        self.lookup_failed_secs = (!was_found_out).then_some(now_secs);
        // While a fetch is under way other messages must not take what is there for the present state.
        if was_found_out && !matches!(answer.step, Step::Fetch(_)) {
            self.looked_up_secs = Some(now_secs);
        }
        answer
    }

    /// The policy of a version was fetched, or not.
    pub fn fetch(
        &mut self,
        record_id: RecordId,
        result: Result<Policy, FetchError>,
        now_secs: u64,
    ) -> Answer {
        let problem = match result {
            Ok(policy) => {
                self.fetched = Some(Fetched {
                    policy,
                    record_id,
                    fetched_secs: now_secs,
                });
                self.failed = None;
                None
            }
            Err(error) => {
                self.failed = Some(Failed {
                    record_id,
                    failed_secs: now_secs,
                });
                Some(self.problem(Problem::from(&error), now_secs))
            }
        };
        self.looked_up_secs = Some(now_secs);
        let step = self.use_what_is_there(now_secs, false);
        Answer { step, problem }
    }

    /// Time to look up the record and fetch the policy again, used or not, so that it does not expire. A policy that lives less than two days is
    /// fetched again at half its life.
    pub fn is_refresh_due(&self, now_secs: u64) -> bool {
        self.valid(now_secs).is_some_and(|fetched| {
            let after_secs = REFRESH_SECS.min(fetched.policy.max_age_secs() / 2);
            now_secs.saturating_sub(fetched.fetched_secs) >= after_secs
                && !self.is_backing_off(None, now_secs)
        })
    }

    /// Nothing here is worth keeping: no valid policy and no fetch to hold back, or no message for half a year.
    pub fn is_removable(&self, now_secs: u64) -> bool {
        let is_unused = now_secs.saturating_sub(self.used_secs) >= UNUSED_SECS;
        is_unused || (self.valid(now_secs).is_none() && !self.is_backing_off(None, now_secs))
    }

    fn known_version(&mut self, id: RecordId, now_secs: u64) -> Answer {
        let is_present = self
            .valid(now_secs)
            .is_some_and(|fetched| fetched.record_id == id);
        if is_present {
            let refresh = self.is_refresh_due(now_secs);
            let step = self.use_what_is_there(now_secs, refresh);
            return Answer {
                step,
                problem: None,
            };
        }
        // RFC 8461 3.3: at most one attempt in five minutes for each version.
        if self.is_backing_off(Some(&id), now_secs) {
            let problem = Problem::back_off();
            return Answer {
                problem: Some(self.problem(problem, now_secs)),
                step: self.use_what_is_there(now_secs, false),
            };
        }
        Answer {
            step: Step::Fetch(id),
            problem: None,
        }
    }

    fn no_version(&mut self, error: RecordError, now_secs: u64) -> Answer {
        let mode = self.valid(now_secs).map(|fetched| fetched.policy.mode());
        // RFC 8461 8.3: who leaves serves mode none and takes the record away later.
        if mode == Some(Mode::None) && error == RecordError::NotFound {
            self.fetched = None;
            self.failed = None;
        }
        let is_worth_telling = match mode {
            // RFC 8461 6.
            Some(Mode::None) => false,
            Some(_) => true,
            None => error != RecordError::NotFound,
        };
        let step = match (mode, error) {
            (None, RecordError::Lookup) => Step::Unknown,
            _ => self.use_what_is_there(now_secs, false),
        };
        let problem = is_worth_telling.then(|| self.problem(Problem::from(error), now_secs));
        Answer { step, problem }
    }

    /// The record could not be looked at.
    fn use_unseen(&self, now_secs: u64) -> Step {
        match self.valid(now_secs) {
            Some(_) => self.use_what_is_there(now_secs, false),
            None => Step::Unknown,
        }
    }

    fn use_what_is_there(&self, now_secs: u64, refresh: bool) -> Step {
        match self.valid(now_secs) {
            Some(fetched) if fetched.policy.mode() != Mode::None => Step::Apply { refresh },
            _ => Step::NoPolicy,
        }
    }

    fn problem(&self, problem: Problem, now_secs: u64) -> Problem {
        match self.in_force(now_secs) {
            Some(_) => problem.with_fallback(),
            None => problem,
        }
    }

    fn valid(&self, now_secs: u64) -> Option<&Fetched> {
        let fetched = self.fetched.as_ref()?;
        (now_secs <= fetched.valid_until_secs()).then_some(fetched)
    }

    fn is_expired(&self, now_secs: u64) -> bool {
        self.fetched.is_some() && self.valid(now_secs).is_none()
    }

    fn is_backing_off(&self, id: Option<&RecordId>, now_secs: u64) -> bool {
        self.failed.as_ref().is_some_and(|failed| {
            id.is_none_or(|id| failed.record_id == *id)
                && now_secs.abs_diff(failed.failed_secs) < FETCH_RETRY_SECS
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: u64 = 86_400;

    fn policy(mode: &str, max_age_secs: u64) -> Policy {
        let text =
            format!("version: STSv1\nmode: {mode}\nmx: a.example\nmax_age: {max_age_secs}\n");
        Policy::parse(text.as_bytes()).unwrap()
    }

    fn id(text: &str) -> RecordId {
        RecordId::new(text).unwrap()
    }

    fn record(text: &str) -> Result<Record, RecordError> {
        Ok(Record { id: id(text) })
    }

    fn words(answer: &Answer) -> Option<(&str, &str)> {
        let problem = answer.problem.as_ref()?;
        Some((problem.result_type, problem.reason.as_str()))
    }

    /// An entry with a policy of a week, fetched at the time 0 as version `v1`.
    fn entry(mode: &str) -> Entry {
        let mut entry = Entry::default();
        assert_eq!(entry.begin(0), Step::LookUp);
        let answer = entry.record(record("v1"), 0);
        assert_eq!(answer.step, Step::Fetch(id("v1")));
        entry.fetch(id("v1"), Ok(policy(mode, 7 * DAY)), 0);
        entry
    }

    const APPLY: Step = Step::Apply { refresh: false };

    #[test]
    fn a_policy_is_fetched_once_and_its_record_looked_at_again() {
        let mut entry = entry("enforce");
        assert_eq!(entry.in_force(0).unwrap().mode(), Mode::Enforce);
        assert_eq!(entry.begin(10), APPLY);
        assert_eq!(entry.begin(RECORD_FRESH_SECS), Step::LookUp);
        let answer = entry.record(record("v1"), 400);
        assert_eq!(
            answer,
            Answer {
                step: APPLY,
                problem: None
            }
        );
        // Another id is another policy.
        let answer = entry.record(record("v2"), 800);
        assert_eq!(answer.step, Step::Fetch(id("v2")));
        let answer = entry.fetch(id("v2"), Ok(policy("testing", DAY)), 801);
        assert_eq!(
            answer,
            Answer {
                step: APPLY,
                problem: None
            }
        );
        assert_eq!(entry.in_force(801).unwrap().mode(), Mode::Testing);
        assert!(entry.was_looked_up_since(801) && !entry.was_looked_up_since(802));
    }

    #[test]
    fn during_a_fetch_other_messages_ask_too() {
        let mut entry = entry("testing");
        assert_eq!(entry.record(record("v2"), 500).step, Step::Fetch(id("v2")));
        assert_eq!(entry.begin(501), Step::LookUp);
        entry.fetch(id("v2"), Err(FetchError::Timeout), 560);
        assert_eq!(entry.begin(561), APPLY);
    }

    #[test]
    fn a_domain_without_a_record_has_no_policy() {
        let mut entry = Entry::default();
        entry.begin(5);
        let answer = entry.record(Err(RecordError::NotFound), 5);
        assert_eq!(
            answer,
            Answer {
                step: Step::NoPolicy,
                problem: None
            }
        );
        assert_eq!(entry.begin(6), Step::NoPolicy);
        assert!(entry.is_removable(6));
        // More than one, or a malformed one: none, but the domain may want to know.
        let answer = entry.record(Err(RecordError::Multiple(2)), 5);
        assert_eq!(answer.step, Step::NoPolicy);
        assert_eq!(
            words(&answer),
            Some(("sts-policy-invalid", "multiple-records"))
        );
    }

    #[test]
    fn what_cannot_be_known_is_asked_again_after_a_while() {
        let mut unknown = Entry::default();
        let step = unknown.record(Err(RecordError::Lookup), 5).step;
        assert_eq!(step, Step::Unknown);
        assert_eq!(unknown.begin(4 + LOOKUP_RETRY_SECS), Step::Unknown);
        assert_eq!(unknown.begin(5 + LOOKUP_RETRY_SECS), Step::LookUp);
        assert_eq!(
            unknown.record(Err(RecordError::NotFound), 90).step,
            Step::NoPolicy
        );
        assert_eq!(unknown.begin(91), Step::NoPolicy);
        // What is in force stays so.
        let mut entry = entry("enforce");
        entry.record(Err(RecordError::Lookup), DAY);
        assert_eq!(entry.begin(DAY + 1), APPLY);
        assert_eq!(entry.begin(DAY + LOOKUP_RETRY_SECS), Step::LookUp);
    }

    #[test]
    fn what_held_lately_is_at_hand_until_a_policy_expires() {
        let mut known = entry("enforce");
        assert_eq!(known.lately(RECORD_STALE_SECS - 1), Some(APPLY));
        assert_eq!(known.lately(RECORD_STALE_SECS), None);
        known.record(record("v1"), 7 * DAY);
        assert_eq!(known.lately(7 * DAY), Some(APPLY));
        assert_eq!(known.lately(7 * DAY + 1), None);
        let mut none = Entry::default();
        assert_eq!(none.lately(0), None);
        none.record(Err(RecordError::NotFound), 5);
        assert_eq!(none.lately(RECORD_STALE_SECS), Some(Step::NoPolicy));
        let mut unknown = Entry::default();
        unknown.record(Err(RecordError::Lookup), 5);
        assert_eq!(unknown.lately(RECORD_STALE_SECS), Some(Step::Unknown));
    }

    #[test]
    fn nothing_that_fails_takes_a_policy_away() {
        for (error, word, reason) in [
            (RecordError::NotFound, "sts-policy-fetch-error", "no-record"),
            (
                RecordError::Lookup,
                "sts-policy-fetch-error",
                "record-lookup-failed",
            ),
            (
                RecordError::Multiple(3),
                "sts-policy-invalid",
                "multiple-records",
            ),
            (
                RecordError::Syntax,
                "sts-policy-invalid",
                "malformed-record",
            ),
            (RecordError::Id, "sts-policy-invalid", "record-without-id"),
        ] {
            let mut entry = entry("enforce");
            let answer = entry.record(Err(error), 7 * DAY);
            assert_eq!(answer.step, APPLY);
            let reason = format!("{reason}+fallback-to-cached-policy");
            assert_eq!(words(&answer), Some((word, reason.as_str())));
            assert!(entry.in_force(7 * DAY).is_some());
            assert_eq!(entry.in_force(7 * DAY + 1), None);
        }
        for (error, word, reason) in [
            (FetchError::Timeout, "sts-policy-fetch-error", "timeout"),
            (
                FetchError::Certificate,
                "sts-webpki-invalid",
                "policy-host-certificate",
            ),
            (
                FetchError::Status(404),
                "sts-policy-fetch-error",
                "https-status-404",
            ),
            (
                FetchError::Policy(crate::PolicyError::Missing("mode")),
                "sts-policy-invalid",
                "policy-without-mode",
            ),
        ] {
            let mut entry = entry("enforce");
            let answer = entry.fetch(id("v2"), Err(error), DAY);
            assert_eq!(answer.step, APPLY);
            let reason = format!("{reason}+fallback-to-cached-policy");
            assert_eq!(words(&answer), Some((word, reason.as_str())));
            assert_eq!(entry.fetched.as_ref().unwrap().record_id, id("v1"));
        }
    }

    #[test]
    fn a_failed_fetch_is_not_repeated_at_once() {
        let mut entry = Entry::default();
        entry.record(record("v1"), 0);
        let answer = entry.fetch(id("v1"), Err(FetchError::Unreachable), 10);
        assert_eq!(answer.step, Step::NoPolicy);
        assert_eq!(
            words(&answer),
            Some(("sts-policy-fetch-error", "unreachable"))
        );
        assert!(!entry.is_removable(11));
        let answer = entry.record(record("v1"), 309);
        assert_eq!(answer.step, Step::NoPolicy);
        assert_eq!(
            words(&answer),
            Some((
                "sts-policy-fetch-error",
                "back-off-after-recent-fetch-error"
            ))
        );
        // RFC 8461 3.3: "per version ID".
        assert_eq!(entry.record(record("v2"), 309).step, Step::Fetch(id("v2")));
        assert_eq!(entry.record(record("v1"), 310).step, Step::Fetch(id("v1")));
        assert!(entry.is_removable(310));
    }

    #[test]
    fn a_policy_is_refreshed_before_it_expires() {
        let mut entry = entry("testing");
        assert!(!entry.is_refresh_due(DAY - 1));
        assert!(entry.is_refresh_due(DAY));
        let answer = entry.record(record("v1"), DAY);
        assert_eq!(answer.step, Step::Apply { refresh: true });
        entry.fetch(id("v1"), Err(FetchError::Timeout), DAY);
        assert!(!entry.is_refresh_due(DAY + 1));
        assert_eq!(entry.record(record("v1"), DAY + 1).step, APPLY);
        assert!(entry.is_refresh_due(DAY + FETCH_RETRY_SECS));
        entry.fetch(id("v1"), Ok(policy("testing", 3600)), 2 * DAY);
        assert_eq!(
            entry.fetched.as_ref().unwrap().valid_until_secs(),
            2 * DAY + 3600
        );
        assert!(!entry.is_refresh_due(2 * DAY + 1799));
        assert!(entry.is_refresh_due(2 * DAY + 1800));
        // Expired: the same version is fetched again, and messages wait for it.
        assert_eq!(entry.begin(2 * DAY + 3601), Step::LookUp);
        let answer = entry.record(record("v1"), 2 * DAY + 3601);
        assert_eq!(answer.step, Step::Fetch(id("v1")));
    }

    #[test]
    fn mode_none_takes_the_policy_away() {
        let mut entry = entry("enforce");
        entry.record(record("v2"), DAY);
        let answer = entry.fetch(id("v2"), Ok(policy("none", DAY)), DAY);
        assert_eq!(
            answer,
            Answer {
                step: Step::NoPolicy,
                problem: None
            }
        );
        assert_eq!(entry.in_force(DAY), None);
        assert!(!entry.is_removable(DAY));
        // RFC 8461 6: failures are not reported then.
        let answer = entry.record(Err(RecordError::Lookup), DAY + 1);
        assert_eq!(
            answer,
            Answer {
                step: Step::NoPolicy,
                problem: None
            }
        );
        let answer = entry.record(Err(RecordError::NotFound), DAY + 1);
        assert_eq!(
            answer,
            Answer {
                step: Step::NoPolicy,
                problem: None
            }
        );
        assert_eq!(entry.fetched, None);
        assert!(entry.is_removable(DAY + 1));
    }

    #[test]
    fn what_nobody_uses_is_forgotten() {
        let mut entry = entry("enforce");
        entry.fetch(id("v1"), Ok(policy("enforce", 31_557_600)), 0);
        assert!(!entry.is_removable(UNUSED_SECS - 1));
        assert!(entry.is_removable(UNUSED_SECS));
        entry.begin(UNUSED_SECS);
        assert!(!entry.is_removable(UNUSED_SECS));
    }
}

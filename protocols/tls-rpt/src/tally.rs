//! What is collected of one policy domain in one UTC day, until it is reported. RFC 8460 4.1, 4.2. Bounded, whatever happens in a day.

use crate::day::Day;
use crate::limits::{COLLECTED_DETAILS_MAX, COLLECTED_POLICIES_MAX, COLLECTED_TEXT_MAX};
use crate::report::{FailureDetail, Policy, PolicyResult, Report};
use crate::result_type::ResultType;
use crate::text::{bounded_lines, cut};

/// The results of a day about a policy domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tally {
    policy_domain: String,
    day: Day,
    policies: Vec<PolicyResult>,
}

/// The day has seen as many different policies as are kept; the result was not added.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{COLLECTED_POLICIES_MAX} policies of one domain are collected already")]
pub struct Full;

impl Tally {
    /// Nothing yet.
    pub fn new(policy_domain: &str, day: Day) -> Self {
        Tally {
            policy_domain: policy_domain.to_owned(),
            day,
            policies: Vec::new(),
        }
    }

    /// About whom.
    pub fn policy_domain(&self) -> &str {
        &self.policy_domain
    }

    /// When.
    pub fn day(&self) -> Day {
        self.day
    }

    /// What was collected.
    pub fn policies(&self) -> &[PolicyResult] {
        &self.policies
    }

    /// Adds the result of a session, or of many. Equal policies are one, and so are details that differ only in their number.
    pub fn add(&mut self, result: PolicyResult) -> Result<(), Full> {
        let policy = bounded_policy(result.policy);
        let at = self.policies.iter().position(|p| p.policy == policy);
        let at = match at {
            Some(at) => at,
            None if self.policies.len() == COLLECTED_POLICIES_MAX => return Err(Full),
            None => {
                self.policies.push(PolicyResult {
                    policy,
                    successful_sessions: 0,
                    failed_sessions: 0,
                    failure_details: Vec::new(),
                });
                self.policies.len() - 1
            }
        };
        let known = &mut self.policies[at];
        add_to(&mut known.successful_sessions, result.successful_sessions);
        add_to(&mut known.failed_sessions, result.failed_sessions);
        add_details(&mut known.failure_details, result.failure_details);
        Ok(())
    }

    /// Adds all that another core collected of the same domain and day. The first of its policies that has no room any more ends it.
    pub fn merge(&mut self, other: Tally) -> Result<(), Full> {
        other
            .policies
            .into_iter()
            .try_for_each(|result| self.add(result))
    }

    /// The report, for whom `from` is the address of who reports (RFC 8460 4.4, 5.3).
    pub fn into_report(self, organization_name: &str, from: &str) -> Report {
        let submitter = from.rsplit_once('@').map_or(from, |(_, domain)| domain);
        Report {
            organization_name: organization_name.to_owned(),
            contact_info: from.to_owned(),
            report_id: format!("{}.{}@{submitter}", self.day, self.policy_domain),
            ..Report::of_day(self.day, self.policies)
        }
    }
}

fn add_details(known: &mut Vec<FailureDetail>, details: Vec<FailureDetail>) {
    for detail in details {
        let count = detail.failed_sessions;
        let mut detail = bounded_detail(detail);
        let mut at = known.iter().position(|d| is_same(d, &detail));
        // Room for all types is kept, so that each has a place in the end.
        if at.is_none() && known.len() >= COLLECTED_DETAILS_MAX - ResultType::ALL.len() {
            detail = by_type_alone(detail.result_type);
            at = known.iter().position(|d| is_same(d, &detail));
        }
        match at {
            Some(at) => add_to(&mut known[at].failed_sessions, count),
            None => {
                detail.failed_sessions = count;
                known.push(detail);
            }
        }
    }
}

/// All but the number.
fn is_same(one: &FailureDetail, other: &FailureDetail) -> bool {
    one.result_type == other.result_type
        && one.sending_mta_ip == other.sending_mta_ip
        && one.receiving_ip == other.receiving_ip
        && one.receiving_mx_hostname == other.receiving_mx_hostname
        && one.receiving_mx_helo == other.receiving_mx_helo
        && one.additional_information == other.additional_information
        && one.failure_reason_code == other.failure_reason_code
}

/// Where there is no room for more details, only types are told apart. There are few, as words that nobody knows become the general one
/// (RFC 8460 4.3.3).
fn by_type_alone(result_type: ResultType) -> FailureDetail {
    let result_type = match result_type {
        ResultType::Other(_) => ResultType::ValidationFailure,
        known => known,
    };
    FailureDetail::new(result_type).reason("further-details-omitted")
}

fn bounded_policy(policy: Policy) -> Policy {
    Policy {
        policy_string: bounded_lines(&policy.policy_string),
        policy_domain: cut(&policy.policy_domain, COLLECTED_TEXT_MAX),
        mx_host: bounded_lines(&policy.mx_host),
        policy_type: policy.policy_type,
    }
}

fn bounded_detail(detail: FailureDetail) -> FailureDetail {
    let optional = |text: Option<String>| text.map(|text| cut(&text, COLLECTED_TEXT_MAX));
    FailureDetail {
        receiving_mx_hostname: optional(detail.receiving_mx_hostname),
        receiving_mx_helo: optional(detail.receiving_mx_helo),
        additional_information: optional(detail.additional_information),
        failure_reason_code: optional(detail.failure_reason_code),
        ..detail
    }
}

fn add_to(sum: &mut u64, count: u64) {
    *sum = sum.saturating_add(count);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally() -> Tally {
        Tally::new("example.com", Day(20_454))
    }

    fn detail(result_type: ResultType, reason: &str) -> FailureDetail {
        FailureDetail::new(result_type).reason(reason)
    }

    fn failure(details: Vec<FailureDetail>) -> PolicyResult {
        PolicyResult::failure(Policy::none("example.com"), details)
    }

    #[test]
    fn equal_results_are_one() {
        let mut day = tally();
        let expired = || detail(ResultType::CertificateExpired, "a");
        day.add(PolicyResult::success(Policy::none("example.com")))
            .unwrap();
        day.add(failure(vec![expired()])).unwrap();
        day.add(failure(vec![
            expired(),
            detail(ResultType::CertificateExpired, "b"),
        ]))
        .unwrap();
        let [result] = day.policies() else { panic!() };
        assert_eq!((result.successful_sessions, result.failed_sessions), (1, 2));
        let counts = |day: &Tally| -> Vec<u64> {
            let details = day.policies()[0].failure_details.iter();
            details.map(|d| d.failed_sessions).collect()
        };
        assert_eq!(counts(&day), [2, 1]);
        let other = day.clone();
        day.merge(other).unwrap();
        assert_eq!(counts(&day), [4, 2]);
        assert_eq!(day.policies()[0].failed_sessions, 4);
        // Whatever differs makes another.
        let mut differing = expired();
        differing.receiving_ip = Some("192.0.2.1".parse().unwrap());
        day.add(failure(vec![differing])).unwrap();
        assert_eq!(counts(&day), [4, 2, 1]);
    }

    #[test]
    fn one_set_of_records_is_one_policy() {
        let mut day = tally();
        let records = ["3 1 1 02".to_owned(), "3 1 1 01".to_owned()];
        let reversed = [records[1].clone(), records[0].clone()];
        for records in [records, reversed] {
            let policy = Policy::tlsa("mx.example.com", records.to_vec());
            day.add(PolicyResult::success(policy)).unwrap();
        }
        assert_eq!(day.policies().len(), 1);
        let lines = vec!["version: STSv1".to_owned()];
        let policy = Policy::sts("example.com", lines, vec!["*.example.com".into()]);
        day.add(PolicyResult::success(policy)).unwrap();
        assert_eq!(day.policies().len(), 2);
    }

    #[test]
    fn a_day_is_bounded() {
        let mut day = tally();
        for number in 0..1000 {
            let types = ResultType::ALL
                .iter()
                .cloned()
                .map(|t| detail(t, &number.to_string()));
            let other = ResultType::Other(format!("new-{number}"));
            day.add(failure(types.chain([detail(other, "x")]).collect()))
                .unwrap();
        }
        let result = &day.policies()[0];
        assert_eq!(result.failed_sessions, 1000);
        assert_eq!(result.failure_details.len(), COLLECTED_DETAILS_MAX);
        let sum: u64 = result
            .failure_details
            .iter()
            .map(|d| d.failed_sessions)
            .sum();
        assert_eq!(sum, 12_000);
        for number in 1..COLLECTED_POLICIES_MAX {
            let policy = Policy::none(&format!("{number}.example"));
            day.add(PolicyResult::success(policy)).unwrap();
        }
        let one_more = PolicyResult::success(Policy::none("z.example"));
        assert_eq!(day.add(one_more), Err(Full));
        assert_eq!(day.add(failure(Vec::new())), Ok(()));
        let mut long = tally();
        long.add(failure(vec![detail(
            ResultType::DaneRequired,
            &"\u{e9}\n".repeat(9999),
        )]))
        .unwrap();
        let reason = long.policies()[0].failure_details[0]
            .failure_reason_code
            .as_ref();
        assert!(reason.unwrap().len() <= COLLECTED_TEXT_MAX && !reason.unwrap().contains('\n'));
    }

    #[test]
    fn counts_do_not_wrap() {
        let mut day = tally();
        let mut many = failure(vec![detail(ResultType::DaneRequired, "x")]);
        many.failed_sessions = u64::MAX;
        many.failure_details[0].failed_sessions = u64::MAX;
        day.add(many.clone()).unwrap();
        day.add(many.clone()).unwrap();
        assert_eq!(day.policies(), [many]);
    }

    #[test]
    fn the_report_of_a_day() {
        let mut day = tally();
        day.add(failure(vec![detail(ResultType::DaneRequired, "x")]))
            .unwrap();
        let report = day.into_report("Example", "tls@mail.sender.example");
        assert!(report.has_failures());
        assert_eq!(report.report_id, "20260101.example.com@mail.sender.example");
        assert_eq!(report.start_secs, 1_767_225_600);
        assert_eq!(report.end_secs, 1_767_311_999);
        assert_eq!(
            report.file_name("example.com"),
            "mail.sender.example!example.com!1767225600!1767311999.json.gz"
        );
        assert_eq!(
            report.subject("example.com"),
            "Report Domain: example.com Submitter: mail.sender.example \
             Report-ID: <20260101.example.com@mail.sender.example>"
        );
        let mut well = tally();
        well.add(PolicyResult::success(Policy::none("example.com")))
            .unwrap();
        assert!(!well.into_report("Example", "a@b.example").has_failures());
    }
}

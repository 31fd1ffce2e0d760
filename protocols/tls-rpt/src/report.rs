//! What a report says. RFC 8460 4. Its JSON is in `json.rs`, what is collected for one in `tally.rs`.

use std::net::IpAddr;

use crate::day::Day;
use crate::result_type::{PolicyType, ResultType};

/// A report of one sender about one policy domain and day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Who reports.
    pub organization_name: String,
    /// An address of theirs.
    pub contact_info: String,
    /// Unique among their reports.
    pub report_id: String,
    /// First second of what it covers, since 1970.
    pub start_secs: u64,
    /// Last second.
    pub end_secs: u64,
    /// What was found, by policy.
    pub policies: Vec<PolicyResult>,
}

/// A policy that was applied. Two results belong together if all of this is equal.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Policy {
    /// Its kind.
    pub policy_type: PolicyType,
    /// Its lines or records. RFC 8460 4.5.
    pub policy_string: Vec<String>,
    /// Whose it is: the domain of recipients for MTA-STS, the TLSA base domain for DANE. A-labels.
    pub policy_domain: String,
    /// The patterns of a policy of MTA-STS. A-labels.
    pub mx_host: Vec<String>,
}

impl Policy {
    /// Of MTA-STS: its lines as the domain serves them, with all errors, and its patterns.
    pub fn sts(policy_domain: &str, lines: Vec<String>, mx_host: Vec<String>) -> Self {
        Policy {
            policy_type: PolicyType::Sts,
            policy_string: lines,
            policy_domain: policy_domain.to_owned(),
            mx_host,
        }
    }

    /// Of DANE: the records as text. They come from DNS in any order and are sorted, so that one set is one policy.
    pub fn tlsa(base_domain: &str, mut records: Vec<String>) -> Self {
        records.sort_unstable();
        Policy {
            policy_type: PolicyType::Tlsa,
            policy_string: records,
            policy_domain: base_domain.to_owned(),
            mx_host: Vec::new(),
        }
    }

    /// Of a domain without any.
    pub fn none(policy_domain: &str) -> Self {
        Policy {
            policy_type: PolicyType::NoPolicyFound,
            policy_string: Vec::new(),
            policy_domain: policy_domain.to_owned(),
            mx_host: Vec::new(),
        }
    }
}

/// What came of one policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyResult {
    /// The policy.
    pub policy: Policy,
    /// Sessions that it was kept in.
    pub successful_sessions: u64,
    /// Sessions that it was not.
    pub failed_sessions: u64,
    /// Why. A session may fail for several reasons, so the numbers need not add up (RFC 8460 4).
    pub failure_details: Vec<FailureDetail>,
}

impl PolicyResult {
    /// One session that went well.
    pub fn success(policy: Policy) -> Self {
        PolicyResult {
            policy,
            successful_sessions: 1,
            failed_sessions: 0,
            failure_details: Vec::new(),
        }
    }

    /// One session that failed. Details whose failure the policy allows (MTA-STS in testing) belong here too.
    pub fn failure(policy: Policy, failure_details: Vec<FailureDetail>) -> Self {
        PolicyResult {
            policy,
            successful_sessions: 0,
            failed_sessions: 1,
            failure_details,
        }
    }
}

/// A reason, and how often.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct FailureDetail {
    /// What went wrong.
    pub result_type: ResultType,
    /// From where. None where no connection was made, as when a policy cannot be fetched.
    pub sending_mta_ip: Option<IpAddr>,
    /// The name in the MX record.
    pub receiving_mx_hostname: Option<String>,
    /// What the host called itself.
    pub receiving_mx_helo: Option<String>,
    /// The address.
    pub receiving_ip: Option<IpAddr>,
    /// How often.
    pub failed_sessions: u64,
    /// A URI.
    pub additional_information: Option<String>,
    /// An error code, or a text.
    pub failure_reason_code: Option<String>,
}

impl FailureDetail {
    /// One session; the rest is to be filled in.
    pub fn new(result_type: ResultType) -> Self {
        FailureDetail {
            result_type,
            sending_mta_ip: None,
            receiving_mx_hostname: None,
            receiving_mx_helo: None,
            receiving_ip: None,
            failed_sessions: 1,
            additional_information: None,
            failure_reason_code: None,
        }
    }

    /// With a reason.
    pub fn reason(mut self, code: &str) -> Self {
        self.failure_reason_code = Some(code.to_owned());
        self
    }
}

impl Report {
    /// Our own report about a day.
    pub fn of_day(day: Day, policies: Vec<PolicyResult>) -> Self {
        Report {
            organization_name: String::new(),
            contact_info: String::new(),
            report_id: String::new(),
            start_secs: day.start_secs(),
            end_secs: day.end_secs(),
            policies,
        }
    }

    /// Is there anything in it that is not well?
    pub fn has_failures(&self) -> bool {
        let has_failed = |p: &PolicyResult| p.failed_sessions > 0 || !p.failure_details.is_empty();
        self.policies.iter().any(has_failed)
    }

    /// The domain of who reports, which stands in TLS-Report-Submitter and the file's name (RFC 8460 5.1, 5.3): that of `contact_info`.
    pub fn submitter(&self) -> &str {
        self.contact_info
            .rsplit_once('@')
            .map_or("", |(_, domain)| domain)
    }

    /// The file's name, packed. RFC 8460 5.1.
    pub fn file_name(&self, policy_domain: &str) -> String {
        let (submitter, start, end) = (self.submitter(), self.start_secs, self.end_secs);
        format!("{submitter}!{policy_domain}!{start}!{end}.json.gz")
    }

    /// The Subject, unfolded. RFC 8460 5.3.
    pub fn subject(&self, policy_domain: &str) -> String {
        let (submitter, id) = (self.submitter(), &self.report_id);
        format!("Report Domain: {policy_domain} Submitter: {submitter} Report-ID: <{id}>")
    }
}

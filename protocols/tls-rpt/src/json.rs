//! Reports as JSON. RFC 8460 4.4. What comes in is of anybody and bounded (`limits.rs`); what senders get wrong and can be understood is
//! read: single texts for lists, numbers as text, null for nothing, times without a zone.

use std::fmt;
use std::marker::PhantomData;
use std::net::IpAddr;

use serde::de::{Deserializer, Error as _, IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};

use crate::day::{from_date_time, to_date_time};
use crate::limits::{DETAILS_MAX, POLICIES_MAX, POLICY_LINES_MAX, REPORT_SIZE_MAX};
use crate::report::{FailureDetail, Policy, PolicyResult, Report};
use crate::result_type::{PolicyType, ResultType};
use crate::text::{bounded, bounded_lines};

/// Why a text is no report.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// Octets beyond [`REPORT_SIZE_MAX`].
    #[error("the report has more than {REPORT_SIZE_MAX} octets")]
    TooLarge,
    /// No JSON, or not that of a report.
    #[error("the report is malformed: {0}")]
    Syntax(#[from] serde_json::Error),
    /// The date range is none.
    #[error("the report has no valid {0}")]
    DateTime(&'static str),
}

impl Report {
    /// Reads the JSON, unpacked.
    pub fn parse(octets: &[u8]) -> Result<Self, ReportError> {
        if octets.len() > REPORT_SIZE_MAX {
            return Err(ReportError::TooLarge);
        }
        // A byte order mark is no JSON (RFC 8259 8.1), but some write it.
        let octets = octets.strip_prefix(b"\xef\xbb\xbf").unwrap_or(octets);
        let wire: WireReport = serde_json::from_slice(octets)?;
        let time = |text: &str, which| from_date_time(text).ok_or(ReportError::DateTime(which));
        Ok(Report {
            start_secs: time(&wire.date_range.start_datetime, "start-datetime")?,
            end_secs: time(&wire.date_range.end_datetime, "end-datetime")?,
            organization_name: text(wire.organization_name),
            contact_info: text(wire.contact_info),
            report_id: text(wire.report_id),
            policies: wire.policies.0.into_iter().map(from_wire).collect(),
        })
    }

    /// Writes the JSON, not packed.
    pub fn to_json(&self) -> Vec<u8> {
        let wire = WireReport {
            organization_name: Some(self.organization_name.clone()),
            date_range: WireRange {
                start_datetime: to_date_time(self.start_secs),
                end_datetime: to_date_time(self.end_secs),
            },
            contact_info: Some(self.contact_info.clone()),
            report_id: Some(self.report_id.clone()),
            policies: Some(self.policies.iter().map(to_wire).collect()).into(),
        };
        serde_json::to_vec(&wire).expect("texts and numbers are JSON")
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct WireReport {
    organization_name: Option<String>,
    date_range: WireRange,
    contact_info: Option<String>,
    report_id: Option<String>,
    #[serde(default)]
    policies: List<WirePolicyResult, POLICIES_MAX>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct WireRange {
    start_datetime: String,
    end_datetime: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct WirePolicyResult {
    policy: WirePolicy,
    #[serde(default)]
    summary: WireSummary,
    #[serde(default, skip_serializing_if = "List::is_empty")]
    failure_details: List<WireDetail, DETAILS_MAX>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct WirePolicy {
    policy_type: String,
    #[serde(default, skip_serializing_if = "List::is_empty")]
    policy_string: List<String, POLICY_LINES_MAX>,
    #[serde(default)]
    policy_domain: Option<String>,
    #[serde(default, skip_serializing_if = "List::is_empty")]
    mx_host: List<String, POLICY_LINES_MAX>,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
struct WireSummary {
    total_successful_session_count: Count,
    total_failure_session_count: Count,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct WireDetail {
    result_type: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    sending_mta_ip: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    receiving_mx_hostname: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    receiving_mx_helo: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    receiving_ip: Option<String>,
    #[serde(default)]
    failed_session_count: Count,
    #[serde(skip_serializing_if = "Option::is_none")]
    additional_information: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure_reason_code: Option<String>,
}

fn from_wire(wire: WirePolicyResult) -> PolicyResult {
    PolicyResult {
        policy: Policy {
            policy_type: PolicyType::from_word(&wire.policy.policy_type),
            policy_string: bounded_lines(&wire.policy.policy_string.0),
            policy_domain: text(wire.policy.policy_domain),
            mx_host: bounded_lines(&wire.policy.mx_host.0),
        },
        successful_sessions: wire.summary.total_successful_session_count.0,
        failed_sessions: wire.summary.total_failure_session_count.0,
        failure_details: wire.failure_details.0.into_iter().map(detail).collect(),
    }
}

fn detail(wire: WireDetail) -> FailureDetail {
    let optional = |text: Option<String>| text.map(|text| bounded(&text));
    // What is no address is as good as none.
    let address = |text: Option<String>| text.and_then(|t| t.trim().parse::<IpAddr>().ok());
    FailureDetail {
        result_type: ResultType::from_word(&wire.result_type),
        sending_mta_ip: address(wire.sending_mta_ip),
        receiving_mx_hostname: optional(wire.receiving_mx_hostname),
        receiving_mx_helo: optional(wire.receiving_mx_helo),
        receiving_ip: address(wire.receiving_ip),
        failed_sessions: wire.failed_session_count.0,
        additional_information: optional(wire.additional_information),
        failure_reason_code: optional(wire.failure_reason_code),
    }
}

fn to_wire(result: &PolicyResult) -> WirePolicyResult {
    let policy = &result.policy;
    WirePolicyResult {
        policy: WirePolicy {
            policy_type: policy.policy_type.as_str().to_owned(),
            policy_string: Some(policy.policy_string.clone()).into(),
            policy_domain: Some(policy.policy_domain.clone()),
            mx_host: Some(policy.mx_host.clone()).into(),
        },
        summary: WireSummary {
            total_successful_session_count: Count(result.successful_sessions),
            total_failure_session_count: Count(result.failed_sessions),
        },
        failure_details: Some(result.failure_details.iter().map(wire_detail).collect()).into(),
    }
}

fn wire_detail(detail: &FailureDetail) -> WireDetail {
    WireDetail {
        result_type: detail.result_type.as_str().to_owned(),
        sending_mta_ip: detail.sending_mta_ip.map(|ip| ip.to_string()),
        receiving_mx_hostname: detail.receiving_mx_hostname.clone(),
        receiving_mx_helo: detail.receiving_mx_helo.clone(),
        receiving_ip: detail.receiving_ip.map(|ip| ip.to_string()),
        failed_session_count: Count(detail.failed_sessions),
        additional_information: detail.additional_information.clone(),
        failure_reason_code: detail.failure_reason_code.clone(),
    }
}

fn text(text: Option<String>) -> String {
    bounded(&text.unwrap_or_default())
}

/// A list that is read up to a bound: what follows is passed over without being kept. One item may stand for a list.
#[derive(Serialize)]
#[serde(transparent)]
struct List<T, const MAX: usize>(Vec<T>);

impl<T, const MAX: usize> List<T, MAX> {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<T, const MAX: usize> Default for List<T, MAX> {
    fn default() -> Self {
        List(Vec::new())
    }
}

impl<T, const MAX: usize> From<Option<Vec<T>>> for List<T, MAX> {
    fn from(items: Option<Vec<T>>) -> Self {
        List(items.unwrap_or_default())
    }
}

impl<'de, T: Item<'de>, const MAX: usize> Deserialize<'de> for List<T, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ListVisitor(PhantomData))
    }
}

/// What a list may hold, and what a text that stands in its place makes.
trait Item<'de>: Deserialize<'de> {
    fn from_text(text: &str) -> Option<Self>;
}

impl Item<'_> for String {
    fn from_text(text: &str) -> Option<Self> {
        Some(text.to_owned())
    }
}

impl Item<'_> for WirePolicyResult {
    fn from_text(_: &str) -> Option<Self> {
        None
    }
}

impl Item<'_> for WireDetail {
    fn from_text(_: &str) -> Option<Self> {
        None
    }
}

struct ListVisitor<T, const MAX: usize>(PhantomData<T>);

impl<'de, T: Item<'de>, const MAX: usize> Visitor<'de> for ListVisitor<T, MAX> {
    type Value = List<T, MAX>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(List::default())
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Self::Value, E> {
        let item = T::from_text(text).ok_or_else(|| E::custom("a text is no such list"))?;
        Ok(List(vec![item]))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        let mut kept = Vec::new();
        while kept.len() < MAX {
            match items.next_element()? {
                Some(item) => kept.push(item),
                None => return Ok(List(kept)),
            }
        }
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(List(kept))
    }
}

/// A number of sessions.
#[derive(Debug, Clone, Copy, Default, Serialize)]
#[serde(transparent)]
struct Count(u64);

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Form {
            Number(u64),
            Text(String),
            Nothing(()),
        }
        match Form::deserialize(deserializer)? {
            Form::Number(number) => Ok(Count(number)),
            Form::Text(text) => text.trim().parse().map(Count).map_err(D::Error::custom),
            Form::Nothing(()) => Ok(Count(0)),
        }
    }
}

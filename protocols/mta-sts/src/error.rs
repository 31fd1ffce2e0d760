//! What went wrong, in the words of TLS reports: the result types of RFC 8460 4.3.2.2, and short reasons of our own.

use crate::fetch::FetchError;
use crate::policy::PolicyError;
use crate::record::RecordError;

/// A failure for a TLS report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The `result-type`.
    pub result_type: &'static str,
    /// The `failure-reason-code`.
    pub reason: String,
}

impl Problem {
    fn new(result_type: &'static str, reason: impl Into<String>) -> Self {
        let reason = reason.into();
        Problem {
            result_type,
            reason,
        }
    }

    pub(crate) fn back_off() -> Self {
        Problem::new(FETCH_ERROR, "back-off-after-recent-fetch-error")
    }

    /// The cached policy is used instead.
    pub(crate) fn with_fallback(mut self) -> Self {
        self.reason.push_str("+fallback-to-cached-policy");
        self
    }
}

impl From<RecordError> for Problem {
    fn from(error: RecordError) -> Self {
        match error {
            RecordError::NotFound => Problem::new(FETCH_ERROR, "no-record"),
            RecordError::Lookup => Problem::new(FETCH_ERROR, "record-lookup-failed"),
            RecordError::Multiple(_) => Problem::new(INVALID, "multiple-records"),
            RecordError::Syntax => Problem::new(INVALID, "malformed-record"),
            RecordError::Id => Problem::new(INVALID, "record-without-id"),
        }
    }
}

impl From<&FetchError> for Problem {
    fn from(error: &FetchError) -> Self {
        match error {
            FetchError::Unreachable => Problem::new(FETCH_ERROR, "unreachable"),
            FetchError::Timeout => Problem::new(FETCH_ERROR, "timeout"),
            FetchError::Certificate => Problem::new(WEBPKI_INVALID, "policy-host-certificate"),
            FetchError::Redirect(status) | FetchError::Status(status) => {
                Problem::new(FETCH_ERROR, format!("https-status-{status}"))
            }
            FetchError::MediaType => Problem::new(FETCH_ERROR, "not-text-plain"),
            FetchError::Policy(error) => Problem::from(error),
        }
    }
}

impl From<&PolicyError> for Problem {
    fn from(error: &PolicyError) -> Self {
        match error {
            PolicyError::TooLarge => Problem::new(INVALID, "policy-too-large"),
            PolicyError::Utf8 => Problem::new(INVALID, "policy-not-utf8"),
            PolicyError::Syntax(line) => Problem::new(INVALID, format!("malformed-line-{line}")),
            PolicyError::Missing(field) => Problem::new(INVALID, format!("policy-without-{field}")),
            PolicyError::Invalid(field) => Problem::new(INVALID, format!("invalid-{field}")),
            PolicyError::TooManyPatterns => Problem::new(INVALID, "too-many-mx"),
        }
    }
}

const FETCH_ERROR: &str = "sts-policy-fetch-error";
const INVALID: &str = "sts-policy-invalid";
const WEBPKI_INVALID: &str = "sts-webpki-invalid";

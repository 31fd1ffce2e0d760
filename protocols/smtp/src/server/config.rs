//! What a listener offers and bears. Immutable, shared by all its sessions.

use crate::command::Grammar;
use crate::limits::{
    AUTH_LINE_MAX, COMMAND_LINE_MAX, ERRORS_MAX, MESSAGE_SIZE_MAX, RECIPIENTS_MAX,
};

/// Who is expected at the door.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Anyone on port 25. Bare CR and LF in messages are defects.
    Delivery,
    /// Our own users (RFC 6409): MAIL needs authentication, a bare LF becomes CRLF, a bare CR is a defect.
    Submission,
}

/// Whether the bytes come through TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Link {
    /// No TLS (yet).
    Plain,
    /// Inside TLS.
    Tls,
}

/// Settings of a listener. Begin with [`Config::new`] and change what differs.
#[derive(Debug, Clone)]
pub struct Config {
    /// Name in the banner and in the answer to EHLO.
    pub hostname: String,
    /// Delivery or submission.
    pub kind: Kind,
    /// Offer STARTTLS while the link is plain.
    pub offer_starttls: bool,
    /// Names of the SASL mechanisms that may be offered at some time: [`super::Session::offer_mechanisms`] says when. Empty: AUTH is refused.
    pub auth_mechanisms: Vec<&'static str>,
    /// MAIL needs authentication. On for submission.
    pub auth_required: bool,
    /// Largest message, in octets after dot-unstuffing; announced with SIZE.
    pub size_max: u64,
    /// Accepted recipients per transaction; announced with LIMITS RCPTMAX.
    pub recipients_max: u32,
    /// Longest command line, in octets with CRLF. Longer ones close the session.
    pub command_line_max: usize,
    /// Longest AUTH command or response, in octets with CRLF.
    pub auth_line_max: usize,
    /// Bad commands since the last accepted message; one more closes the session with 421.
    pub errors_max: u32,
    /// No leniency.
    pub pedantic: bool,
    /// Announce and accept SMTPUTF8 (RFC 6531).
    pub offer_smtputf8: bool,
    /// Announce and accept DSN (RFC 3461).
    pub offer_dsn: bool,
    /// Announce and accept REQUIRETLS within TLS (RFC 8689).
    pub offer_require_tls: bool,
    /// Announce and accept CHUNKING (RFC 3030).
    pub offer_chunking: bool,
    /// Announce and accept BINARYMIME (RFC 3030 3); needs `offer_chunking`.
    pub offer_binarymime: bool,
    /// Input that came with EHLO, HELO or DATA before their reply closes the session with 554 5.5.0 (RFC 2920 3.1 makes
    /// them last in a group). On for delivery. STARTTLS always does so.
    pub refuse_early_input: bool,
}

impl Config {
    /// The defaults of a kind: no STARTTLS, no mechanism, everything else offered.
    pub fn new(hostname: impl Into<String>, kind: Kind) -> Self {
        Config {
            hostname: hostname.into(),
            kind,
            offer_starttls: false,
            auth_mechanisms: Vec::new(),
            auth_required: kind == Kind::Submission,
            size_max: MESSAGE_SIZE_MAX,
            recipients_max: RECIPIENTS_MAX,
            command_line_max: COMMAND_LINE_MAX,
            auth_line_max: AUTH_LINE_MAX,
            errors_max: ERRORS_MAX,
            pedantic: false,
            offer_smtputf8: true,
            offer_dsn: true,
            offer_require_tls: true,
            offer_chunking: true,
            offer_binarymime: true,
            refuse_early_input: kind == Kind::Delivery,
        }
    }

    pub(super) fn grammar(&self) -> Grammar {
        Grammar {
            pedantic: self.pedantic,
            hello_any: self.kind == Kind::Submission,
        }
    }

    pub(super) fn binarymime(&self) -> bool {
        self.offer_chunking && self.offer_binarymime
    }
}

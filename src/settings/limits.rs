//! Bounds against peers: sizes, counts, timeouts, slow-downs. Take effect at reload, for new connections.
//! RFC 5321 4.5.3.1 (sizes), 4.5.3.2 (timeouts); RFC 4954 4 (AUTH lines); RFC 9051 5.4 (autologout), RFC 7888 4 (literals).
//! `_secs`, `_bytes` and `_max` at the end of a name say what it counts.

use serde::{Deserialize, Serialize};

use super::units::{Bytes, PerNetwork, Secs};

/// All bounds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// SMTP and submission.
    pub smtp: SmtpLimits,
    /// IMAP.
    pub imap: ImapLimits,
    /// HTTP.
    pub http: HttpLimits,
    /// Logins, over all protocols.
    pub auth: AuthLimits,
    /// TLS handshakes, over all protocols.
    pub tls: TlsLimits,
}

/// Bounds of SMTP and submission.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SmtpLimits {
    /// Largest message, announced with SIZE (RFC 1870).
    pub message_size_max_bytes: Bytes,
    /// Recipients of one transaction.
    pub recipients_max: u32,
    /// Longest command line with its CRLF.
    pub command_line_max_bytes: Bytes,
    /// Longest line of an AUTH exchange with its CRLF.
    pub auth_line_max_bytes: Bytes,
    /// Received fields of a message; one more is a loop.
    pub received_fields_max: u32,
    /// Wait for the next command.
    pub command_timeout_secs: Secs,
    /// Wait for the next octets of a message.
    pub data_block_timeout_secs: Secs,
    /// From DATA or the first BDAT to the end of the message.
    pub data_timeout_secs: Secs,
    /// Wait for the peer to take our octets.
    pub write_timeout_secs: Secs,
    /// New connections per minute and network.
    pub connections_per_minute_max: PerNetwork,
    /// Open connections per network.
    pub connections_open_max: PerNetwork,
    /// Open connections of a core, whatever their network.
    pub connections_per_core_max: u32,
    /// Transactions that failed, without one that did not, before the connection is refused more.
    pub bad_transactions_max: u32,
    /// Unknown recipients on a connection before it is closed.
    pub unknown_recipients_max: u32,
    /// Unknown recipients on a connection after which each is answered late.
    pub unknown_recipients_slow_after: u32,
    /// Wait before the reply to an unknown recipient then.
    pub unknown_recipient_delay_secs: Secs,
    /// Failed logins on a connection after which it is slowed.
    pub auth_failures_slow_after: u32,
    /// Failed logins on a connection before it is closed.
    pub auth_failures_max: u32,
    /// A slowed connection waits so long before each read, and writes one octet in that time.
    pub slow_delay_secs: Secs,
    /// Syntax errors and unknown commands on a connection before it is closed.
    pub bad_commands_max: u32,
}

impl Default for SmtpLimits {
    fn default() -> Self {
        Self {
            message_size_max_bytes: Bytes::mib(100),
            // RFC 5321 4.5.3.1.8: at least 100 recipients must be accepted.
            recipients_max: 1000,
            // RFC 5321 4.5.3.1.4: at least 512 octets; extensions of MAIL and RCPT add to it.
            command_line_max_bytes: Bytes::kib(2),
            // RFC 4954 4: 12288 octets.
            auth_line_max_bytes: Bytes::kib(12),
            // RFC 5321 6.3: the threshold for loops is at least 100.
            received_fields_max: 100,
            // RFC 5321 4.5.3.2.7: at least 5 minutes for the next command.
            command_timeout_secs: Secs::minutes(5),
            // RFC 5321 4.5.3.2.5: at least 3 minutes for a block of data.
            data_block_timeout_secs: Secs::minutes(3),
            data_timeout_secs: Secs::minutes(30),
            write_timeout_secs: Secs::minutes(5),
            connections_per_minute_max: PerNetwork::new(300, 900, 2700),
            connections_open_max: PerNetwork::new(30, 90, 270),
            connections_per_core_max: 10_000,
            bad_transactions_max: 10,
            unknown_recipients_max: 100,
            // The first ones are typing errors.
            unknown_recipients_slow_after: 2,
            unknown_recipient_delay_secs: Secs::new(1),
            auth_failures_slow_after: 3,
            auth_failures_max: 10,
            slow_delay_secs: Secs::new(1),
            bad_commands_max: 50,
        }
    }
}

/// Bounds of IMAP.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ImapLimits {
    /// Wait for the next command after login, also while idling.
    pub inactive_timeout_secs: Secs,
    /// Wait for the next command before login.
    pub login_timeout_secs: Secs,
    /// Wait for the next octets of a literal.
    pub literal_timeout_secs: Secs,
    /// Wait for the client to take our octets after login.
    pub write_timeout_secs: Secs,
    /// Wait for the client to take our octets before login.
    pub login_write_timeout_secs: Secs,
    /// Wait for the client to take a BYE.
    pub bye_timeout_secs: Secs,
    /// Period of TCP keep-alive.
    pub keepalive_secs: Secs,
    /// Longest command line.
    pub line_max_bytes: Bytes,
    /// Largest literal that is not a message.
    pub literal_max_bytes: Bytes,
    /// All literals of a command that are not messages.
    pub literals_max_bytes: Bytes,
    /// Literals of a command.
    pub literals_max: u32,
    /// Largest message that APPEND takes, announced with APPENDLIMIT (RFC 7889).
    pub message_size_max_bytes: Bytes,
    /// Octets of stored messages that a core holds at once for FETCH and SEARCH; others wait for their turn.
    pub message_memory_max_bytes: Bytes,
    /// Octets of a refused literal that are read and thrown away to keep the connection.
    pub discard_max_bytes: Bytes,
    /// New connections per minute and network.
    pub connections_per_minute_max: PerNetwork,
    /// Open connections per network.
    pub connections_open_max: PerNetwork,
    /// Open connections of a core, whatever their network.
    pub connections_per_core_max: u32,
    /// Failed logins on a connection after which it is slowed.
    pub auth_failures_slow_after: u32,
    /// Failed logins on a connection before it is closed.
    pub auth_failures_max: u32,
    /// A slowed connection waits so long before each read, and writes one octet in that time.
    pub slow_delay_secs: Secs,
    /// Bad commands on a connection before it is closed.
    pub bad_commands_max: u32,
}

impl Default for ImapLimits {
    fn default() -> Self {
        Self {
            // RFC 9051 5.4: at least 30 minutes after login.
            inactive_timeout_secs: Secs::minutes(30),
            login_timeout_secs: Secs::new(30),
            literal_timeout_secs: Secs::new(30),
            write_timeout_secs: Secs::minutes(5),
            login_write_timeout_secs: Secs::new(30),
            bye_timeout_secs: Secs::new(10),
            keepalive_secs: Secs::minutes(5),
            // RFC 7162 4: at least 8192 octets.
            line_max_bytes: Bytes::kib(16),
            literal_max_bytes: Bytes::kib(100),
            literals_max_bytes: Bytes::kib(1000),
            literals_max: 1000,
            message_size_max_bytes: Bytes::mib(256),
            // The largest message of APPEND, and some.
            message_memory_max_bytes: Bytes::mib(320),
            discard_max_bytes: Bytes::kib(1000),
            connections_per_minute_max: PerNetwork::new(300, 900, 2700),
            connections_open_max: PerNetwork::new(30, 90, 270),
            connections_per_core_max: 20_000,
            auth_failures_slow_after: 3,
            auth_failures_max: 10,
            slow_delay_secs: Secs::new(1),
            bad_commands_max: 50,
        }
    }
}

/// Bounds of HTTP.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HttpLimits {
    /// Wait for the head of a request.
    pub header_timeout_secs: Secs,
    /// Wait for the next request on a connection.
    pub idle_timeout_secs: Secs,
    /// From the end of a request, with its body, to the beginning of its response, and for each piece of one that is made in pieces.
    pub request_timeout_secs: Secs,
    /// Wait for the next 128 KiB of a request's body, or for its end.
    pub body_timeout_secs: Secs,
    /// Wait until the client takes the next 64 KiB of a response, or its end.
    pub response_timeout_secs: Secs,
    /// Largest head of a request.
    pub header_max_bytes: Bytes,
    /// Largest body of a request.
    pub request_max_bytes: Bytes,
    /// Memory for all requests together: their bodies, and what is made of them while they are answered, three times as much as the bodies; twice their
    /// heads; responses that clients have not taken.
    pub requests_memory_max_bytes: Bytes,
    /// How long the answer to a request of the API is kept that names a key of its own.
    pub idempotency_secs: Secs,
    /// Requests per minute and network.
    pub requests_per_minute_max: PerNetwork,
    /// Requests per hour and network.
    pub requests_per_hour_max: PerNetwork,
    /// Open connections per network.
    pub connections_open_max: PerNetwork,
    /// Open connections, whatever their network.
    pub connections_max: u32,
    /// Recipients of a batch.
    pub batch_recipients_max: u32,
}

impl Default for HttpLimits {
    fn default() -> Self {
        Self {
            header_timeout_secs: Secs::new(30),
            idle_timeout_secs: Secs::new(65),
            request_timeout_secs: Secs::minutes(5),
            body_timeout_secs: Secs::new(30),
            response_timeout_secs: Secs::new(30),
            header_max_bytes: Bytes::kib(64),
            request_max_bytes: Bytes::mib(64),
            requests_memory_max_bytes: Bytes::mib(768),
            idempotency_secs: Secs::minutes(24 * 60),
            requests_per_minute_max: PerNetwork::new(1000, 3000, 9000),
            requests_per_hour_max: PerNetwork::new(5000, 15_000, 45_000),
            connections_open_max: PerNetwork::new(100, 300, 900),
            connections_max: 1000,
            batch_recipients_max: 10_000,
        }
    }
}

/// Bounds of logins, shared by all protocols.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AuthLimits {
    /// Failed logins per minute and network.
    pub failures_per_minute_max: PerNetwork,
    /// Failed logins per 24 hours and network.
    pub failures_per_day_max: PerNetwork,
    /// Failed logins per hour and account, from addresses that did not log in to it lately.
    pub account_failures_per_hour_max: u32,
    /// Failed logins a core answers in a second; the answers to more wait, up to 5 seconds.
    pub refusals_per_second_max: u32,
    /// Verified credentials that a core remembers, as a keyed digest.
    pub cache_entries_max: u32,
    /// How long it remembers them.
    pub cache_secs: Secs,
    /// Password checks that may wait on a core; the next is refused for the time being.
    pub checks_waiting_max: u32,
    /// Memory of one argon2id computation (RFC 9106).
    pub argon2_memory_bytes: Bytes,
    /// Passes of argon2id.
    pub argon2_passes: u32,
    /// PBKDF2 iterations of SCRAM-SHA-256 in a new data directory.
    pub scram_sha256_iterations: u32,
    /// Whether there is SCRAM-SHA-1.
    pub scram_sha1: bool,
    /// PBKDF2 iterations of SCRAM-SHA-1 in a new data directory.
    pub scram_sha1_iterations: u32,
    /// Whether there is CRAM-MD5.
    pub cram_md5: bool,
    /// Days a record of login attempts is kept after the last of them.
    pub records_kept_days: u32,
    /// Records kept of an account: of logins, of wrong passwords and of other failures each so many; the oldest go.
    pub records_max: u32,
}

impl Default for AuthLimits {
    fn default() -> Self {
        Self {
            failures_per_minute_max: PerNetwork::new(10, 30, 90),
            failures_per_day_max: PerNetwork::new(50, 150, 450),
            account_failures_per_hour_max: 100,
            refusals_per_second_max: 200,
            cache_entries_max: 10_000,
            cache_secs: Secs::minutes(15),
            checks_waiting_max: 4096,
            argon2_memory_bytes: Bytes::mib(19),
            argon2_passes: 2,
            // OWASP Password Storage Cheat Sheet: about as hard to guess as argon2id with 19 MiB and two passes.
            scram_sha256_iterations: 600_000,
            scram_sha1: true,
            scram_sha1_iterations: 1_300_000,
            cram_md5: false,
            records_kept_days: 30,
            records_max: 10_000,
        }
    }
}

/// Bounds of TLS handshakes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TlsLimits {
    /// How long a handshake may take.
    pub handshake_timeout_secs: Secs,
    /// Handshakes under way on a core; others wait.
    pub handshakes_per_core_max: u32,
}

impl Default for TlsLimits {
    fn default() -> Self {
        Self {
            handshake_timeout_secs: Secs::minutes(1),
            handshakes_per_core_max: 256,
        }
    }
}

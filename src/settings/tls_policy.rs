//! The table `[tls_policy]` of the static file: what outgoing connections must hold to, and how long it is remembered how they went. Takes
//! effect at reload. RFC 8461 (MTA-STS), RFC 7672 (DANE), RFC 8460 (reports).

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::units::Secs;

/// How policies of other domains are found and kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TlsPolicy {
    /// The authorities of other servers' certificates. `None`: those of the machine.
    pub ca_file: Option<PathBuf>,
    /// Whether TLSA records are looked for.
    pub dane: bool,
    /// Whether policies of MTA-STS are.
    pub mta_sts: bool,
    /// Where policies are fetched. RFC 8461 3.3: 443; any other is for tests.
    pub mta_sts_port: u16,
    /// How long the fetch of a policy may take.
    pub fetch_timeout_secs: Secs,
    /// Fetches that a core has under way; the others wait.
    pub fetches_per_core_max: u32,
    /// Policies kept on disk, for each shard. What is more is fetched, but not kept.
    pub policies_per_shard_max: u32,
    /// Days for which results of TLS are kept.
    pub results_kept_days: u32,
    /// Domains of which results are kept, for each shard and day.
    pub results_domains_per_day_max: u32,
}

impl Default for TlsPolicy {
    fn default() -> Self {
        Self {
            ca_file: None,
            dane: true,
            mta_sts: true,
            mta_sts_port: 443,
            // RFC 8461 3.3: one minute is suggested.
            fetch_timeout_secs: Secs::minutes(1),
            fetches_per_core_max: 100,
            policies_per_shard_max: 50_000,
            results_kept_days: 14,
            results_domains_per_day_max: 20_000,
        }
    }
}

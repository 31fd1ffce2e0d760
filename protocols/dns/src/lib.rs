//! What a mail server asks the DNS: names, records, questions and answers, a cache, and the ways from a domain to its mail hosts. No
//! socket and no clock: who resolves implements [`Lookup`], and time and randomness are arguments.
//!
//! RFC 1035 (messages), RFC 2308 (negative answers), RFC 3597 (unknown types are passed over), RFC 4035 3.2.3 and RFC 6840 5.7 (AD),
//! RFC 6891 (EDNS), RFC 8914 (why a lookup failed), RFC 9520 (failures are remembered); RFC 5321 5.1 and RFC 7505 (MX), RFC 7672 2.2
//! (what must be known to be authentic for DANE). Input is whatever comes from the network: hostile.
//!
//! Not here: sockets and servers (`shards::dns`), what to do with the answers (SPF, DKIM, DANE and delivery have rooms of their own).
//!
//! ```
//! use dns::{Lookup, Name, mock::Mock};
//! use ringmail_dns as dns;
//!
//! let zone = Mock::new().with_mx("example.org", 10, "mx.example.org");
//! let domain = Name::parse("EXAMPLE.org.").unwrap();
//! let answer = futures_lite::future::block_on(zone.mx(&domain)).unwrap();
//! assert_eq!(answer.records[0].exchange.as_str(), "mx.example.org");
//! ```

mod cache;
mod error;
mod host;
mod limits;
mod lookup;
pub mod mock;
mod mx;
mod name;
mod record;
mod wire;

pub use cache::{Cache, CacheLimits};
pub use error::{Cause, ExtendedError, LookupError};
pub use host::{HostAddresses, TlsaRecords, host_addresses, tlsa_records};
pub use limits::*;
pub use lookup::{Answer, Lookup, Outcome, Resolved};
pub use mx::{MxGroup, MxHosts, MxOutcome, mx_hosts};
pub use name::{Name, NameError};
pub use record::{Data, Mx, Record, RecordType, Text, Tlsa};
pub use wire::{Reading, plain_query, query, read};

#[cfg(test)]
mod fuzz_tests;

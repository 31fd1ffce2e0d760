//! What the operator decided, as immutable values.
//! Called by `serve.rs`, `cli/` and every room above; input is the operator's files: trusted, but checked as a whole before use.
//! RFC 5321 4.5.3 (minimum limits and timeouts), RFC 9051 5.4 (autologout).
//! Not here: secrets (rows of the account's shard), address resolution (`directory/`), anything that changes while mail flows.
//!
//! `model` is the whole: `server`, `listener`, `limits`, `queue`, `dns`, `oauth`, `outbound`, `pool`, `sending`, `tls_policy`, `webhooks` model the static file, `shaping` the file of rules beside it, `domains` the domains file with `dkim`, `account` one account's file.
//! `load` reads the files, `parse` turns a text into a model and finds all its errors, `check` looks at everything together,
//! `problem` is how an error reads. `reload` says what a new version changes, `edit` writes the server's own changes,
//! `example` prints every field, `local` is built in for `localserve`. `sendmail` is a file apart, of the command of that name.
//! `example` prints every field, `local` is built in for `localserve`, `machine` compares what was loaded with the machine.

pub mod account;
pub mod account_name;
pub mod check;
pub mod dkim;
pub mod dns;
pub mod domains;
pub mod edit;
pub mod example;
pub mod limits;
pub mod listener;
pub mod load;
pub mod local;
pub mod machine;
pub mod model;
pub mod names;
pub mod network;
pub mod oauth;
pub mod outbound;
pub mod parse;
pub mod pool;
pub mod problem;
pub mod queue;
pub mod reload;
pub mod remote;
pub mod replace;
pub mod sending;
pub mod sendmail;
pub mod server;
pub mod shaping;
pub mod text;
pub mod tls_policy;
pub mod units;
pub mod webhooks;

pub use self::dkim::{DkimCanonicalization, DkimSelector, SelectorName};
pub use account::{Account, AccountAddress, LoginDisabled};
pub use account_name::AccountName;
pub use check::{parse_and_check, parse_and_check_unfinished};
pub use dns::{Dns, DnsServer};
pub use domains::{Alias, Domain, Domains, Post, Postmaster, Separator};
pub use limits::{AuthLimits, HttpLimits, ImapLimits, Limits, SmtpLimits, TlsLimits};
pub use listener::{
    Certificate, Door, Endpoint, HttpService, ImplicitTlsService, Listener, SmtpService, StartTls,
    StartTlsService, Tls, TlsVersion,
};
pub use load::{load, load_data_dir, load_unfinished};
pub use local::Local;
pub use machine::check_machine;
pub use model::Settings;
pub use names::{AddressText, DomainName, LocalpartText, MailboxName};
pub use oauth::{Oauth, ProviderUrl, TokenAlgorithm, TokenCheck};
pub use outbound::{Outbound, Route, SmarthostTls, Transport, TransportKind};
pub use pool::{Pool, PoolMember, WarmUp};
pub use problem::{Place, Problem, Problems, Unfinished};
pub use queue::{Bounds, Queue};
pub use sending::Sending;
pub use sendmail::Sendmail;
pub use server::{
    Cores, HttpCore, InitialMailboxes, Log, LogFormat, LogLevel, Server, ShardCores, Storage,
};
pub use shaping::{ReplyAction, ReplyStage, Shaping, SiteShape};
pub use text::{Fingerprint, Fingerprints, Text, Texts};
pub use tls_policy::TlsPolicy;
pub use units::{Bytes, PerNetwork, Secs};
pub use webhooks::Webhooks;

//! The static file, `ringmail.toml`: where things lie, how the machine is used. Most of it takes effect at a restart (`reload.rs` says which).
//! Every struct's `Default` is the documented default; `config/ringmail.toml` explains each field.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::dns::Dns;
use super::limits::Limits;
use super::listener::Listener;
use super::names::{DomainName, MailboxName};
use super::oauth::Oauth;
use super::outbound::{Outbound, Route, Transport};
use super::pool::{Pool, WarmUp};
use super::queue::Queue;
use super::sending::Sending;
use super::tls_policy::TlsPolicy;
use super::units::{Bytes, Secs};
use super::webhooks::Webhooks;

/// The static file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Server {
    /// Directory of all data. After loading: absolute or relative to the working directory.
    pub data_dir: PathBuf,
    /// The domains file.
    pub domains_file: PathBuf,
    /// The folder with one file per account.
    pub accounts_dir: PathBuf,
    /// Name of this host, in greetings and Received fields.
    pub hostname: Option<DomainName>,
    /// Where readers of our mail find the HTTPS port, without a slash at the end. `None`: the hostname, port 443.
    pub public_url: Option<String>,
    /// How long connections and transactions may take to finish when the server stops.
    pub shutdown_grace_secs: Secs,
    /// What is logged and how.
    pub log: Log,
    /// What is said of requests.
    pub http: Http,
    /// How the machine's cores are used.
    pub cores: Cores,
    /// How mail is kept on disk.
    pub storage: Storage,
    /// Bounds against peers.
    pub limits: Limits,
    /// How mail on its way out is tried.
    pub queue: Queue,
    /// How it is sent.
    pub outbound: Outbound,
    /// Ways to send it, by name.
    #[serde(deserialize_with = "super::parse::unique_map")]
    pub transport: BTreeMap<String, Transport>,
    /// Addresses that direct mail leaves from, by the name of their pool.
    #[serde(deserialize_with = "super::parse::unique_map")]
    pub pool: BTreeMap<String, Pool>,
    /// How much a new one of them may send.
    pub warm_up: WarmUp,
    /// Which mail goes by which way.
    pub route: Vec<Route>,
    /// Octets all messages of an account may have together, unless its file says otherwise. `None`: no bound.
    pub quota_bytes: Option<Bytes>,
    /// How much an account may send, unless its file says otherwise.
    pub sending: Sending,
    /// Whose tokens log in. `None`: nobody's.
    pub oauth: Option<Oauth>,
    /// Mailboxes of a new account.
    pub initial_mailboxes: InitialMailboxes,
    /// How names are resolved.
    pub dns: Dns,
    /// What outgoing connections must hold to.
    pub tls_policy: TlsPolicy,
    /// How receivers of webhooks are called.
    pub webhooks: Webhooks,
    /// Where the server listens.
    pub listener: Vec<Listener>,
}

impl Server {
    /// The hostname, which the check has made sure of.
    pub fn hostname(&self) -> &str {
        self.hostname
            .as_ref()
            .map_or("localhost", DomainName::as_str)
    }

    /// Where readers of our mail find the HTTPS port.
    pub fn public_url(&self) -> String {
        let of_host = || format!("https://{}", self.hostname());
        self.public_url.clone().unwrap_or_else(of_host)
    }

    /// Makes each relative path relative to the directory of the static file.
    pub(super) fn resolve_paths(&mut self, server_file: &Path) {
        let base = server_file.parent().unwrap_or(Path::new(""));
        let certificates = self
            .listener
            .iter_mut()
            .filter_map(|l| l.tls.as_mut())
            .flat_map(|tls| &mut tls.certificates);
        let files = certificates.flat_map(|pair| [&mut pair.cert, &mut pair.key]);
        let oauth = self.oauth.iter_mut();
        let oauth = oauth.flat_map(|o| [&mut o.client_secret_file, &mut o.ca_file]);
        let transports = self.transport.values_mut().flat_map(Transport::paths);
        let others = transports.chain([&mut self.tls_policy.ca_file]);
        let others = others.chain([&mut self.outbound.shaping_file]);
        for path in [
            &mut self.data_dir,
            &mut self.domains_file,
            &mut self.accounts_dir,
        ]
        .into_iter()
        .chain(files)
        .chain(oauth.flatten())
        .chain(others.flatten())
        {
            if !path.as_os_str().is_empty() {
                *path = base.join(&*path);
            }
        }
    }
}

impl Default for Server {
    fn default() -> Self {
        Self {
            data_dir: PathBuf::new(),
            domains_file: "domains.toml".into(),
            accounts_dir: "accounts".into(),
            hostname: None,
            public_url: None,
            shutdown_grace_secs: Secs::new(10),
            log: Log::default(),
            http: Http::default(),
            cores: Cores::default(),
            storage: Storage::default(),
            limits: Limits::default(),
            queue: Queue::default(),
            outbound: Outbound::default(),
            transport: BTreeMap::new(),
            pool: BTreeMap::new(),
            warm_up: WarmUp::default(),
            route: Vec::new(),
            quota_bytes: None,
            sending: Sending::default(),
            oauth: None,
            initial_mailboxes: InitialMailboxes::default(),
            dns: Dns::default(),
            tls_policy: TlsPolicy::default(),
            webhooks: Webhooks::default(),
            listener: Vec::new(),
        }
    }
}

/// What is said of requests by HTTP. Takes effect at reload.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Http {
    /// A line of the log at info for each request.
    pub access_log: bool,
}

/// What is logged and how. Takes effect at reload.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// Least severe level that is logged.
    pub level: LogLevel,
    /// Another level for a module and what lies in it, such as `smtp_server` or `store::add`.
    pub modules: BTreeMap<String, LogLevel>,
    /// Form of a line.
    pub format: LogFormat,
}

/// Severity of a log line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// Something needs the operator.
    Error,
    /// Something may need the operator.
    Warn,
    /// What happened: one line per message, per failed login, per change of settings.
    #[default]
    Info,
    /// How it happened.
    Debug,
    /// What libraries tell, where `modules` names them.
    Trace,
}

/// Form of a log line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// `level=info msg="..." key=value`.
    #[default]
    Logfmt,
    /// One JSON object per line.
    Json,
}

/// How the machine's cores are used.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Cores {
    /// The cores that own shards.
    pub shards: ShardCores,
    /// The core of HTTP.
    pub http: HttpCore,
    /// Microseconds an executor spins before it sleeps. 0 where cores are shared, 20 to 50 where they are ours alone.
    pub spin_before_park_us: u32,
    /// Entries of each io_uring.
    pub ring_depth: u32,
    /// Registered I/O memory of each executor; it is locked memory.
    pub io_memory_bytes: Bytes,
    /// Threads for what blocks. `None`: half of the cores, at least 1.
    pub pool_threads: Option<u32>,
    /// Jobs that may wait for the pool; the next is refused.
    pub pool_jobs_max: u32,
    /// Threads that render templates.
    pub render_threads: u32,
    /// Calls that may wait on a lane from one core to another.
    pub lane_calls_max: u32,
    /// How long a call to another core may take.
    pub call_timeout_secs: Secs,
}

impl Default for Cores {
    fn default() -> Self {
        Self {
            shards: ShardCores::Auto,
            http: HttpCore::Auto,
            spin_before_park_us: 0,
            ring_depth: 1024,
            io_memory_bytes: Bytes::kib(64),
            pool_threads: None,
            pool_jobs_max: 1024,
            render_threads: 1,
            lane_calls_max: 1024,
            call_timeout_secs: Secs::new(30),
        }
    }
}

/// The cores that own shards: `"auto"`, a count, or a list of CPU numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ShardCores {
    /// All but the last, which is for HTTP and for the threads that block.
    #[default]
    Auto,
    /// So many, from CPU 0 on.
    Count(u32),
    /// These CPUs.
    Cpus(Vec<u32>),
}

/// The core of HTTP: `"auto"` or a CPU number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HttpCore {
    /// The last.
    #[default]
    Auto,
    /// This CPU.
    Cpu(u32),
}

/// How mail is kept on disk.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Storage {
    /// Shards of a new data directory; an existing one keeps its count. `None`: the larger of 2 and the cores that own shards.
    pub shards: Option<u32>,
    /// Size of a segment file.
    pub segment_size_bytes: Bytes,
    /// How far ahead a segment file is zeroed: overwriting syncs faster than growing.
    pub zero_ahead_bytes: Bytes,
    /// Cache of the row index, for all shards together.
    pub index_cache_bytes: Bytes,
    /// Cache of mailbox tables, for all cores together.
    pub mailbox_cache_bytes: Bytes,
    /// Batches that may share one sync.
    pub group_batches_max: u32,
    /// Octets that may share one sync.
    pub group_bytes_max: Bytes,
    /// How long a sender waits at most until its message is on disk.
    pub commit_timeout_secs: Secs,
    /// Free space of the disk below which new mail is refused (452) while deleting goes on.
    pub disk_reserve_bytes: Bytes,
    /// Largest body held in memory; a larger one streams to a file of its own.
    pub body_in_memory_max_bytes: Bytes,
    /// Octets of bodies each core may hold in memory at once; beyond that they stream to files, and by half more new mail is refused.
    pub body_memory_budget_bytes: Bytes,
    /// A segment is compacted when more of its octets are dead than this, in percent.
    pub compaction_dead_percent: u8,
    /// Octets per second that compaction may copy, for each shard.
    pub compaction_rate_bytes: Bytes,
}

impl Default for Storage {
    fn default() -> Self {
        Self {
            shards: None,
            segment_size_bytes: Bytes::mib(256),
            zero_ahead_bytes: Bytes::mib(4),
            index_cache_bytes: Bytes::mib(64),
            mailbox_cache_bytes: Bytes::mib(32),
            group_batches_max: 256,
            group_bytes_max: Bytes::mib(1),
            commit_timeout_secs: Secs::new(300),
            disk_reserve_bytes: Bytes::mib(256),
            body_in_memory_max_bytes: Bytes::mib(1),
            body_memory_budget_bytes: Bytes::mib(64),
            compaction_dead_percent: 50,
            compaction_rate_bytes: Bytes::mib(16),
        }
    }
}

/// Mailboxes of a new account beside INBOX, all subscribed. RFC 6154 2: the special uses. An empty name leaves that mailbox out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct InitialMailboxes {
    /// `\Sent`.
    #[serde(with = "maybe_mailbox")]
    pub sent: Option<MailboxName>,
    /// `\Archive`.
    #[serde(with = "maybe_mailbox")]
    pub archive: Option<MailboxName>,
    /// `\Trash`.
    #[serde(with = "maybe_mailbox")]
    pub trash: Option<MailboxName>,
    /// `\Drafts`.
    #[serde(with = "maybe_mailbox")]
    pub drafts: Option<MailboxName>,
    /// `\Junk`.
    #[serde(with = "maybe_mailbox")]
    pub junk: Option<MailboxName>,
    /// Others, without a special use.
    pub regular: Vec<MailboxName>,
}

impl Default for InitialMailboxes {
    fn default() -> Self {
        let named = |name: &str| Some(name.parse().expect("a mailbox name in the source"));
        Self {
            sent: named("Sent"),
            archive: named("Archive"),
            trash: named("Trash"),
            drafts: named("Drafts"),
            junk: named("Junk"),
            regular: Vec::new(),
        }
    }
}

/// A mailbox name, or `""` for none.
mod maybe_mailbox {
    use super::{Deserialize, Deserializer, MailboxName, Serializer, de};

    pub(super) fn serialize<S: Serializer>(
        name: &Option<MailboxName>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(name.as_ref().map_or("", MailboxName::as_str))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<MailboxName>, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text.is_empty() {
            return Ok(None);
        }
        text.try_into().map(Some).map_err(de::Error::custom)
    }
}

impl Serialize for ShardCores {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Auto => serializer.serialize_str("auto"),
            Self::Count(count) => serializer.serialize_u32(*count),
            Self::Cpus(cpus) => cpus.serialize(serializer),
        }
    }
}

impl Serialize for HttpCore {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Auto => serializer.serialize_str("auto"),
            Self::Cpu(cpu) => serializer.serialize_u32(*cpu),
        }
    }
}

impl<'de> Deserialize<'de> for ShardCores {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match deserializer.deserialize_any(CoresVisitor(
            "\"auto\", a number of cores, or a list of CPU numbers",
        ))? {
            Self::Count(0) => Err(de::Error::custom("at least one core must own shards")),
            Self::Cpus(cpus) if cpus.is_empty() => {
                Err(de::Error::custom("the list of CPUs is empty"))
            }
            Self::Cpus(cpus) if (1..cpus.len()).any(|i| cpus[..i].contains(&cpus[i])) => {
                Err(de::Error::custom("a CPU is named twice"))
            }
            cores => Ok(cores),
        }
    }
}

impl<'de> Deserialize<'de> for HttpCore {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match deserializer.deserialize_any(CoresVisitor("\"auto\" or a CPU number"))? {
            ShardCores::Auto => Ok(Self::Auto),
            ShardCores::Count(cpu) => Ok(Self::Cpu(cpu)),
            ShardCores::Cpus(_) => Err(de::Error::custom(
                "HTTP has one core: expected \"auto\" or a CPU number",
            )),
        }
    }
}

struct CoresVisitor(&'static str);

impl<'de> de::Visitor<'de> for CoresVisitor {
    type Value = ShardCores;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<ShardCores, E> {
        match text {
            "auto" => Ok(ShardCores::Auto),
            _ => Err(E::invalid_value(de::Unexpected::Str(text), &self)),
        }
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<ShardCores, E> {
        match u32::try_from(number) {
            Ok(number) if number < CPUS_MAX => Ok(ShardCores::Count(number)),
            _ => Err(E::invalid_value(de::Unexpected::Signed(number), &self)),
        }
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<ShardCores, E> {
        self.visit_i64(i64::try_from(number).unwrap_or(-1))
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, mut seq: A) -> Result<ShardCores, A::Error> {
        let mut cpus = Vec::new();
        while let Some(cpu) = seq.next_element::<u32>()? {
            cpus.push(cpu);
        }
        Ok(ShardCores::Cpus(cpus))
    }
}

/// More than any machine has (Linux: NR_CPUS is at most 8192).
const CPUS_MAX: u32 = 8192;

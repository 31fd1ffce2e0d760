//! What one core has: its accounts, lanes, configuration and counters, and the calls the doors make through it.
//!
//! Doors get an `Rc<PerCore>`; it knows no protocol. Handling of calls that other cores send is in `handle.rs`.

mod attempts;
mod events;
mod login;
mod promised;
mod request_memory;
mod sending;
mod smarthost_keys;
mod tls_policy;
mod tls_results;
mod warm_up;

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use futures_channel::oneshot;
use shards::engine::Core;
use shards::lanes::{CallError, Lanes};
use shards::net::Connection;
use shards::pool::{Bounds, Gather, Pool, Shares};
use shards::rt::{self, Budget, Event, Share, Turn, Turns};
use shards::storage::{Shard, Watch};
use shards::tls::ServerConfig;
use shards::{CoreId, ShardId, owner_of, shard_of};

use crate::calls::{Answer, Call, Deliver, LimitedDoor, Room};
use crate::live::Live;
use crate::login::api_key::ApiKeys;
use crate::login::limiter::{
    ConnectionLimiter, FailureLimiter, May, Networks, OpenLimiter, Refused, RequestLimiter,
};
use crate::login::{AccountLimiter, Pace, Recent, Secrets, Unknown, Unwritten, Verifier};
use crate::lookup::Resolver;
use crate::metrics::{Durations, Metrics, label, labels};
use crate::queue::Queue;
use crate::queue::from_id::FromIds;
use crate::queue::route::Routes;
use crate::queue::sending::SendingTallies;
use crate::queue::sites::{SiteLimits, Sites, hosts};
use crate::settings::{AccountName, SiteShape};
use crate::store::{Accounts, BodyKey, StoreError, StoreOptions, Structures};
pub use login::{Attempt, Ends, KeyHolder, Later, Login, LoginFlow, Next, Offer};
use promised::Promised;
pub use request_memory::{Holder, MADE_OF_BODY, MemoryBounds, RequestMemory};
pub use sending::{MayNotSend, Reserved};
use smarthost_keys::SmarthostKeys;
pub use tls_policy::TlsPolicies;
pub(crate) use tls_results::LOST as TLS_RESULTS_LOST;
pub use tls_results::TlsResults;
use warm_up::WarmUps;

/// One core's state, shared by its tasks.
pub struct PerCore {
    /// This core.
    pub id: CoreId,
    /// Cores that own shards; the one for HTTP comes after them.
    pub shard_cores: u16,
    /// Shards in the directory.
    pub shard_count: u16,
    /// Shards of this core.
    pub shards: Vec<Rc<Shard>>,
    /// All shards, by number.
    pub watches: Arc<[Watch]>,
    /// To all cores.
    pub lanes: Rc<Lanes<Call, Answer>>,
    /// For what blocks or is heavy.
    pub pool: Pool,
    /// Signatures that are too heavy for this core, on their way to the pool.
    pub signatures: Rc<Gather>,
    /// Accounts of this core's shards.
    pub accounts: Accounts,
    /// Password checks for accounts of this core.
    pub verifier: Verifier,
    /// Answers for names that nobody has.
    pub(crate) unknown: Unknown,
    /// What tells messages' reverse-paths apart.
    pub from_ids: FromIds,
    /// Secrets that fit nothing.
    pub(crate) nobody: Secrets,
    /// Looks names up.
    pub resolver: Resolver,
    /// What other domains' mail hosts must be spoken to like.
    pub(crate) tls_policies: TlsPolicies,
    /// How it went.
    pub(crate) tls_results: TlsResults,
    /// What addresses of pools may send to the sites whose rows this core owns.
    warm_ups: WarmUps,
    /// How much accounts of this core have sent, of those that have limits.
    pub(crate) sending_tallies: SendingTallies,
    /// Counters.
    pub metrics: Metrics,
    /// How long commands took.
    pub durations: Durations,
    /// Where large content is written before it is committed.
    pub spool: PathBuf,
    /// Set once all is prepared, such as the passwords of a first `localserve`: mail doors accept from then on.
    pub serving: Cell<bool>,
    pub(crate) prepared: Event,
    /// Set once the core is to stop: doors end what they do and say goodbye.
    pub draining: Cell<bool>,
    /// Notified when `draining` is set.
    pub drain: Event,
    /// When what is under way must come to its end: set with `draining`.
    pub drain_end: Cell<Option<Instant>>,
    /// Connections of all doors on this core.
    pub connections: Cell<usize>,
    /// Attempts to send that are under way.
    pub sending: Cell<usize>,
    /// The same, door by door: each has a maximum of its own, so that none shuts out another.
    pub door_connections: [Cell<usize>; 3],
    /// TLS handshakes under way.
    handshakes: Rc<Turns>,
    handshakes_by_network: RefCell<HashMap<(u8, u128), Rc<Turns>>>,
    /// Logins of this core that are asked about. They wait in here, not as calls: a core may have `cores.lane_calls_max` calls out, and
    /// most of them are mail's.
    pub logins: Rc<Turns>,
    logins_max: usize,
    /// Octets in memory of messages that are being received, or were and are not on disk yet.
    pub body_memory: Cell<usize>,
    /// Octets on their way to accounts of this core.
    pub(crate) promised: RefCell<Promised>,
    /// For logins at smarthosts.
    pub(crate) smarthost_keys: SmarthostKeys,
    /// Octets of stored messages that are read and shown.
    pub message_memory: Rc<Budget>,
    /// Messages on their way out, of this core's shards.
    pub queue: Rc<Queue>,
    /// Sites whose limits this core owns.
    pub(crate) sites: RefCell<Sites>,
    /// Operators have changed something about sites: whoever looks after one asks its owner.
    pub sites_changed: Event,
    /// What the rules of traffic shaping say of sites that were asked about.
    pub(crate) shapes: RefCell<HashMap<String, Rc<SiteShape>>>,
    /// For taking long messages apart: other threads than `pool` has, so that nobody waits who only reads.
    pub parsing: Pool,
    /// The same threads, for what the API is sent: each account in its turn.
    pub composing: Rc<Shares>,
    /// Templates are looked at and rendered by threads of their own, each account's in its turn.
    pub rendering: Rc<Shares>,
    /// Bodies that were found damaged while they were sent.
    pub damaged: RefCell<HashMap<BodyKey, StoreError>>,
    /// For writing large content on its way in: other threads than `pool` has, so that a disk that takes nothing lets people read.
    pub spooling: Pool,
    /// Structures of large messages.
    pub structures: Structures,
    /// When the sessions of an account were last ended, as far as they were since the start.
    pub(crate) sessions_ended: RefCell<HashMap<AccountName, Instant>>,
    /// Octets of requests that this core holds.
    pub request_memory: RefCell<RequestMemory>,
    /// Logins of requests that were found right lately. None: without randomness nothing is remembered.
    pub recent: RefCell<Option<Recent>>,
    /// Keys of the API that were looked up lately.
    pub api_keys: RefCell<ApiKeys>,
    pub(crate) live: RefCell<Arc<Live>>,
    pub(crate) limiters: RefCell<Limiters>,
    /// Of failed logins.
    refusals: RefCell<Pace>,
    unwritten: RefCell<Unwritten>,
    /// Somebody writes what is in `unwritten`.
    is_recording: Cell<bool>,
    pub(crate) epoch: u64,
    pub(crate) connection_number: Cell<u64>,
    pub(crate) round: Cell<usize>,
}

/// Threads that all cores share.
#[derive(Clone)]
pub struct Pools {
    /// See [`PerCore::parsing`].
    pub parsing: Pool,
    /// See [`PerCore::rendering`].
    pub rendering: Pool,
    /// See [`PerCore::spooling`].
    pub spooling: Pool,
}

/// Limiters of the networks this core owns.
#[derive(Default)]
pub(crate) struct Limiters {
    pub connections: HashMap<LimitedDoor, ConnectionLimiter>,
    pub failures: FailureLimiter,
    /// Of accounts this core owns.
    pub accounts: AccountLimiter,
    /// Accounts and mechanisms of which the log has said that nothing is stored for them.
    pub told_without_keys: HashSet<(AccountName, &'static str)>,
    /// Logins whose networks have as many under way as may still fail.
    pub waiting_logins: HashMap<Networks, VecDeque<oneshot::Sender<May>>>,
    /// Of HTTP, whose connections all come to one core.
    pub requests: RequestLimiter,
    pub http_connections: OpenLimiter,
}

impl PerCore {
    /// Takes over what the engine gives a core.
    pub fn new(
        core: Core<Call, Answer>,
        store: StoreOptions,
        (verifier, unknown, nobody, from_ids): (Verifier, Unknown, Secrets, FromIds),
        live: Arc<Live>,
        spool: PathBuf,
        epoch: u64,
        Pools {
            parsing,
            rendering,
            spooling,
        }: Pools,
    ) -> Rc<PerCore> {
        let core = Rc::new(PerCore {
            id: core.id,
            shard_cores: core.shard_cores,
            shard_count: core.shard_count,
            accounts: Accounts::new(store, &core.shards, core.shard_count),
            queue: Queue::new(
                &core.shards,
                live.settings.server.queue.fresh_memory_bytes.as_usize(),
                wall_clock,
            ),
            shards: core.shards,
            watches: core.watches,
            lanes: core.lanes,
            signatures: Gather::new(
                core.pool.clone(),
                SIGNATURES_TOGETHER,
                SIGNATURES_WAITING_MAX,
            ),
            pool: core.pool,
            verifier,
            unknown,
            from_ids,
            nobody,
            resolver: Resolver::new(live.resolver.clone()),
            tls_policies: TlsPolicies::default(),
            tls_results: TlsResults::default(),
            warm_ups: WarmUps::default(),
            sending_tallies: SendingTallies::new(wall_clock),
            metrics: Metrics::default(),
            durations: Durations::default(),
            spool,
            serving: Cell::new(false),
            prepared: Event::new(),
            draining: Cell::new(false),
            drain: Event::new(),
            drain_end: Cell::new(None),
            connections: Cell::new(0),
            sending: Cell::new(0),
            door_connections: Default::default(),
            handshakes: Rc::default(),
            handshakes_by_network: RefCell::default(),
            logins: Rc::default(),
            logins_max: live.settings.server.cores.lane_calls_max as usize / LOGINS_SHARE,
            body_memory: Cell::new(0),
            promised: RefCell::new(Promised::new(monotonic())),
            smarthost_keys: SmarthostKeys::default(),
            message_memory: Rc::default(),
            damaged: RefCell::default(),
            spooling,
            sites: RefCell::default(),
            sites_changed: Event::new(),
            shapes: RefCell::default(),
            composing: Shares::new(parsing.clone(), OF_ACCOUNTS),
            rendering: Shares::new(rendering, OF_ACCOUNTS),
            parsing,
            structures: Structures::default(),
            sessions_ended: RefCell::default(),
            request_memory: RefCell::default(),
            recent: RefCell::new(Recent::new()),
            api_keys: RefCell::default(),
            live: RefCell::new(live),
            limiters: RefCell::default(),
            refusals: RefCell::new(Pace::new(monotonic())),
            unwritten: RefCell::default(),
            is_recording: Cell::new(false),
            epoch,
            connection_number: Cell::new(0),
            round: Cell::new(usize::from(core.id.0)),
        });
        core.queue.configure(Routes::of(&core.live().settings));
        core.use_interests(&core.live());
        core
    }

    /// The configuration in force now.
    pub fn live(&self) -> Arc<Live> {
        self.live.borrow().clone()
    }

    /// Waits until so many octets of stored messages may be held beside what others hold; None if never.
    pub async fn message_share(&self, octets: u64) -> Option<Share> {
        let most = self
            .live()
            .settings
            .server
            .limits
            .imap
            .message_memory_max_bytes;
        let octets = usize::try_from(octets).unwrap_or(usize::MAX);
        self.message_memory.take(octets, most.as_usize()).await
    }

    /// Seconds since 1970.
    pub fn wall_clock(&self) -> i64 {
        wall_clock()
    }

    /// The core that owns an account.
    pub fn owner_of(&self, account: &str) -> CoreId {
        owner_of(
            shard_of(account.as_bytes(), self.shard_count),
            self.shard_cores,
        )
    }

    /// The core that owns a shard.
    pub fn owner_of_shard(&self, shard: u16) -> CoreId {
        owner_of(ShardId(shard), self.shard_cores)
    }

    fn owner_of_network(&self, networks: &Networks) -> CoreId {
        owner_of(
            shard_of(&networks.widest(), self.shard_count),
            self.shard_cores,
        )
    }

    /// What the rules of traffic shaping say of a site that a transport leads to.
    pub fn shape(&self, site: &str, transport: Option<&str>) -> Rc<SiteShape> {
        if let Some(shape) = self.shapes.borrow().get(site) {
            return shape.clone();
        }
        let live = self.live.borrow();
        let settings = &live.settings;
        let transport = transport.and_then(|name| settings.server.transport.get(name));
        let smarthost = transport.filter(|t| !t.is_by_domain());
        let smarthost = smarthost.and_then(|t| t.host.as_ref());
        let hosts: Vec<&str> = match smarthost {
            Some(host) => vec![host.as_str()],
            None => hosts(site).collect(),
        };
        let shape = Rc::new(settings.shaping.of_site(&hosts));
        let mut shapes = self.shapes.borrow_mut();
        if shapes.len() >= SHAPES_MAX {
            shapes.clear();
        }
        shapes.insert(site.to_owned(), shape.clone());
        shape
    }

    /// Bounds of a site that a transport leads to. A transport may have fewer connections than a rule says, not more.
    pub(crate) fn site_limits(&self, site: &str, transport: Option<&str>) -> SiteLimits {
        let shape = self.shape(site, transport);
        let rule = &shape.rule;
        let live = self.live.borrow();
        let server = &live.settings.server;
        let outbound = &server.outbound;
        let transport = transport.and_then(|name| server.transport.get(name));
        let most = transport.and_then(|t| t.connections_max);
        let pause_first = rule.pause_first_secs.unwrap_or(outbound.pause_first_secs);
        let pause_max = rule.pause_max_secs.unwrap_or(outbound.pause_max_secs);
        SiteLimits {
            at_first: rule
                .connections_at_first
                .unwrap_or(outbound.connections_at_first),
            most: match (most, rule.connections_max) {
                (Some(one), Some(other)) => one.min(other),
                (one, other) => one.or(other).unwrap_or(outbound.connections_per_site_max),
            },
            pause_first: pause_first.duration(),
            pause_max: pause_max.duration(),
            rate: shape.rate(),
        }
    }

    /// Calls another core (or this one) with the configured deadline.
    pub async fn call(&self, to: CoreId, call: Call) -> Result<Answer, CallError> {
        self.lanes.call(to, call, self.call_limit()).await
    }

    pub(crate) fn call_limit(&self) -> Duration {
        let live = self.live.borrow();
        live.settings.server.cores.call_timeout_secs.duration()
    }

    fn commit_limit(&self) -> Duration {
        let live = self.live.borrow();
        live.settings.server.storage.commit_timeout_secs.duration()
    }

    /// A number for a new connection: the opening, the core, a counter. The same in replies and in the log.
    pub fn connection_id(&self) -> String {
        let number = self.connection_number.get() + 1;
        self.connection_number.set(number);
        format!("{:x}-{}-{number:x}", self.epoch, self.id.0)
    }

    /// The core whose turn it is to take a message, of those with a shard that can store it.
    pub fn next_core(&self) -> CoreId {
        let turn = self.round.get();
        self.round.set(turn.wrapping_add(1));
        let count = usize::from(self.shard_cores.max(1));
        let core = |ahead: usize| CoreId(((turn % count + ahead) % count) as u16);
        let is_sound = |core: &CoreId| {
            let mut watches = self.watches.iter();
            watches.any(|watch| self.owner_of_shard(watch.id.0) == *core && watch.takes_new())
        };
        // If none is sound, any says why not.
        (0..count).map(core).find(is_sound).unwrap_or(core(0))
    }

    /// A shard of this core for work that belongs to no account; they take turns. None on the HTTP core.
    pub fn next_shard(&self) -> Option<Rc<Shard>> {
        let sound = |shard: &&Rc<Shard>| shard.takes_new();
        let turn = self.round.get();
        self.round.set(turn.wrapping_add(1));
        let count = self.shards.len().max(1);
        let in_turn = self.shards.iter().cycle().skip(turn % count).take(count);
        // If none is sound, any says why not.
        in_turn.clone().find(sound).or(self.shards.first()).cloned()
    }

    /// Counts a connection in, or says why it is turned away. A limiter that does not answer lets it in.
    pub async fn admit(&self, networks: Networks, door: LimitedDoor) -> Result<(), Refused> {
        match self
            .call(
                self.owner_of_network(&networks),
                Call::Admit { networks, door },
            )
            .await
        {
            Ok(Answer::Admitted(result)) => result,
            _ => Ok(()),
        }
    }

    /// Counts an admitted connection out. Does not wait.
    pub fn release(self: &Rc<Self>, networks: Networks, door: LimitedDoor) {
        self.tell(
            self.owner_of_network(&networks),
            Call::Release { networks, door },
        );
    }

    fn tell(self: &Rc<Self>, to: CoreId, call: Call) {
        let core = self.clone();
        shards::rt::spawn(&ROOM, async move {
            let _ = core.call(to, call).await;
        });
    }

    /// The server's side of a TLS handshake. A peer that says nothing takes no turn from others; one that begins and then rests gives its turn
    /// back and goes on without (how many there are is bounded by the connections); and one that will be turned away has little time.
    pub async fn start_tls(
        &self,
        connection: &mut Connection,
        config: Arc<ServerConfig>,
        is_refused: bool,
    ) -> io::Result<()> {
        let (limit, most) = {
            let live = self.live.borrow();
            let tls = &live.settings.server.limits.tls;
            let limit = tls.handshake_timeout_secs.duration();
            let limit = if is_refused {
                limit.min(FAREWELL)
            } else {
                limit
            };
            (limit, tls.handshakes_per_core_max as usize)
        };
        let began = monotonic();
        connection.await_octets(limit).await?;
        let turns = rt::timeout(limit, self.handshake_turns(connection.peer().ip(), most))
            .await
            .map_err(|_| io::ErrorKind::TimedOut)?;
        let left = limit.saturating_sub(began.elapsed());
        let mut handshake = pin!(connection.start_tls(config, left));
        match rt::timeout(TURN_HELD_MAX, handshake.as_mut()).await {
            Ok(done) => done,
            Err(rt::Elapsed) => {
                drop(turns);
                handshake.await
            }
        }
    }

    /// Waits for a turn at a handshake. An address and the wider networks around it have a part of them each, so that who lets handshakes
    /// rest holds up nobody far away.
    async fn handshake_turns(&self, peer: IpAddr, most: usize) -> [Turn; 4] {
        let networks = Networks::of(peer);
        let [address, neighbourhood, provider] = networks.each().map(|network| {
            let mut all = self.handshakes_by_network.borrow_mut();
            if all.len() >= NETWORKS_MAX {
                all.retain(|_, turns| Rc::strong_count(turns) > 1);
            }
            all.entry(network).or_default().clone()
        });
        // Always from the narrowest to the widest: whoever waits holds only what nobody wider holds while waiting for it.
        [
            address.take(most / 8).await,
            neighbourhood.take(most / 2).await,
            provider.take(most / 4 * 3).await,
            self.handshakes.take(most).await,
        ]
    }

    /// Whether any of these accounts has room for so many octets more. Nobody is asked if one of them has no quota, else each core once.
    pub async fn any_has_room<W>(&self, wanted: W) -> bool
    where
        W: Iterator<Item = (AccountName, u64)> + Clone,
    {
        let with_quota = self.with_quota(wanted.clone());
        if with_quota.len() < wanted.count() {
            return true;
        }
        let rooms = self.ask_for_room(with_quota, false).await;
        rooms.is_empty() || rooms.values().any(|room| *room == Room::Enough)
    }

    /// Promises room to all of these accounts at the acceptance of a message, whose octets count from then on. Answers what room
    /// those that have a quota had before.
    pub async fn promise_room(
        &self,
        wanted: impl Iterator<Item = (AccountName, u64)>,
    ) -> HashMap<AccountName, Room> {
        self.ask_for_room(self.with_quota(wanted), true).await
    }

    /// The message was not accepted after all: nothing is promised any more. Does not wait.
    pub fn take_back(self: &Rc<Self>, wanted: impl Iterator<Item = (AccountName, u64)>) {
        for (owner, promised) in self.by_owner(self.with_quota(wanted)) {
            self.tell(owner, Call::TakeBack { promised });
        }
    }

    fn with_quota(
        &self,
        wanted: impl Iterator<Item = (AccountName, u64)>,
    ) -> Vec<(AccountName, u64)> {
        let live = self.live.borrow();
        wanted
            .filter(|(name, _)| live.quota(*name).is_some())
            .collect()
    }

    fn by_owner(
        &self,
        wanted: Vec<(AccountName, u64)>,
    ) -> BTreeMap<CoreId, Vec<(AccountName, u64)>> {
        let mut by_owner: BTreeMap<CoreId, Vec<_>> = BTreeMap::new();
        for (name, octets) in wanted {
            let owner = self.owner_of(name.as_str());
            by_owner.entry(owner).or_default().push((name, octets));
        }
        by_owner
    }

    async fn ask_for_room(
        &self,
        wanted: Vec<(AccountName, u64)>,
        promise: bool,
    ) -> HashMap<AccountName, Room> {
        let mut all = HashMap::new();
        for (owner, wanted) in self.by_owner(wanted) {
            let names: Vec<AccountName> = wanted.iter().map(|(name, _)| *name).collect();
            let call = match promise {
                true => Call::Promise { wanted },
                false => Call::HasRoom { wanted },
            };
            let rooms = match self.call(owner, call).await {
                Ok(Answer::HasRoom(rooms)) => rooms,
                _ => vec![Room::Enough; names.len()],
            };
            all.extend(names.into_iter().zip(rooms));
        }
        all
    }

    /// Delivers to one account, wherever it lives. True: added; false: this transaction was added before.
    pub async fn deliver(&self, deliver: Deliver) -> Result<bool, StoreError> {
        let shard = shard_of(deliver.account.as_str().as_bytes(), self.shard_count);
        let owner = owner_of(shard, self.shard_cores);
        // Who is told to come again finds the message twice if the disk took it after all. A transaction's repeat adds nothing.
        let patience = match deliver.transaction {
            Some(_) => self.call_limit(),
            None => self.commit_limit(),
        };
        let limits = (self.call_limit(), patience);
        let call = Call::Deliver(Box::new(deliver));
        // While the owner's shard commits, this batch can only come into the next group, and the end of this one wakes the owner.
        // Measured with two cores: 79 us of CPU a message with a wake-up for each call, 71 without those.
        let is_seen_to = || owner != self.id && self.watches[usize::from(shard.0)].is_committing();
        match self
            .lanes
            .call_at_leisure(owner, call, limits, is_seen_to)
            .await
        {
            Ok(Answer::Delivered(result)) => result,
            Ok(_) => Err(StoreError::Open("another answer came".into())),
            Err(error) => Err(error.into()),
        }
    }

    /// Why a session must end whose login was looked at after `checked`, in words for its user. Another password was durable before
    /// the sessions of the account were ended, so a later look saw that one. An account that may not log in has none at all.
    pub fn session_end(&self, account: AccountName, checked: Instant) -> Option<Cow<'static, str>> {
        let live = self.live.borrow();
        let configured = live.settings.accounts.get(&account);
        if let Some(text) = configured.and_then(|a| a.login_disabled.as_ref()) {
            return Some(Cow::Owned(text.as_str().to_string()));
        }
        let all = self.sessions_ended.borrow();
        let gone = all.get(&account).is_some_and(|ended| *ended >= checked);
        gone.then_some(Cow::Borrowed(LOGIN_GONE))
    }

    /// Ends the sessions of an account on all cores. One that does not answer may have them still: these are counted.
    pub(crate) async fn end_sessions(&self, account: AccountName) -> u16 {
        let mut silent = 0;
        for core in 0..=self.shard_cores {
            let answer = self.call(CoreId(core), Call::EndSessions(account)).await;
            silent += u16::from(answer.is_err());
        }
        silent
    }

    /// Waits until all is prepared.
    pub async fn prepared(&self) {
        while !self.serving.get() {
            self.prepared.wait(self.prepared.count()).await;
        }
    }

    /// Waits until the core is to stop.
    pub async fn drained(&self) {
        while !self.draining.get() {
            self.drain.wait(self.drain.count()).await;
        }
    }

    /// Waits until the core is to stop and the time of what is under way is nearly up: what remains is for a goodbye.
    pub async fn drain_ends(&self) {
        self.drained().await;
        if let Some(end) = self.drain_end.get() {
            rt::sleep(end.saturating_duration_since(monotonic())).await;
        }
    }

    /// Tells all tasks that the core is to stop within `limit`.
    pub fn begin_drain(&self, limit: Duration) {
        let goodbye = (limit / 8).min(GOODBYE_MAX);
        self.drain_end.set(Some(monotonic() + limit - goodbye));
        self.draining.set(true);
        self.drain.notify();
    }

    /// Counts an IMAP command with what came of it, and how long it took since `began`.
    pub fn imap_command(&self, command: &'static str, result: &'static str, began: Instant) {
        let labels = labels(("cmd", command), ("result", result));
        self.metrics.count("ringmail_imap_commands_total", labels);
        self.durations.observe(
            ("ringmail_imap_command_duration_seconds", labels),
            began.elapsed(),
        );
    }

    /// Counts a panic-free end of something; shorthand for doors.
    pub fn count(&self, name: &'static str, kind: &'static str) {
        self.metrics.count(name, label("kind", kind));
    }
}

/// Shards whose disk does not answer, in the operator's words.
pub fn stalls(watches: &[Watch]) -> Vec<String> {
    let stalled = |watch: &Watch| Some((watch.id, watch.status().stalled()?.as_secs()));
    watches
        .iter()
        .filter_map(stalled)
        .map(|(shard, secs)| {
            format!("{shard}: a write has been under way for {secs} s: the disk does not answer")
        })
        .collect()
}

/// Seconds since 1970; before that, 0.
pub fn wall_clock() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| d.as_secs() as i64)
}

/// The monotonic clock.
pub fn monotonic() -> Instant {
    Instant::now()
}

/// The part of a stop that is kept for saying goodbye, at most.
const GOODBYE_MAX: Duration = Duration::from_secs(2);
/// How often a stop looks whether all connections have ended.
pub const DRAIN_STEP: Duration = Duration::from_millis(10);

/// How long a handshake has its turn at most: one that needs longer waits for its peer.
const TURN_HELD_MAX: Duration = Duration::from_secs(1);
/// Networks whose turns are remembered, about.
const NETWORKS_MAX: usize = 10_000;
/// The time a connection has for its handshake that is to be told why it is turned away.
const FAREWELL: Duration = Duration::from_secs(5);
/// Whatever it was: the password, an app password, a client's key.
const LOGIN_GONE: &str = "your login was changed or removed, log in again";

/// Signatures that go to the pool together: some milliseconds of a thread.
const SIGNATURES_TOGETHER: usize = 8;
/// Signatures that wait on a core.
const SIGNATURES_WAITING_MAX: usize = 10_000;
/// What may wait for a thread on a core. Who sends waits there with a connection to the receiver, which others could use.
const OF_ACCOUNTS: Bounds = Bounds {
    each_max: 256,
    all_max: 4096,
};
/// Sites whose rules are remembered.
const SHAPES_MAX: usize = 10_000;
/// One in so many of a core's calls may be a login's.
const LOGINS_SHARE: usize = 4;

/// Panics of tasks that carry calls.
pub static ROOM: shards::rt::Room = shards::rt::Room::new("percore");

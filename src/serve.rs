//! Composition: settings, storage, executors, rooms, listeners. The only file that knows all rooms; it decides nothing about mail.
//!
//! [`Server`] is the whole running program as the control thread sees it: start, calls, reload, stop. `sockets` binds what the listeners
//! say, `accept` takes connections from there to their doors, `hold_rules` keeps the queue's rules on all shards.

mod accept;
mod hold_rules;
mod sockets;

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::os::unix::fs::DirBuilderExt;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use shards::CoreId;
use shards::engine::{Core, Engine, EngineOptions, Service};
use shards::lanes::{CallError, Incoming, Network};
use shards::pool::{Place, Pool};
use shards::rt;
use shards::storage::{StorageOptions, Watch};

use crate::calls::{Answer, Call, ControlAnswer, ControlCall};
use crate::inbound::fan_out;
use crate::live::Live;
use crate::login::{Iterations, Scheme, Secrets, Unknown, Verifier, hashing_place, hashing_pool};
use crate::percore::{PerCore, Pools, wall_clock};
use crate::queue::from_id::FromIds;
use crate::queue::hooks::HookAsk;
use crate::settings::{AccountName, Door, HttpCore, InitialMailboxes, Settings, ShardCores};
use crate::store::{SpecialUse, StoreOptions};
use crate::{hooks, imap_server, inbound, outbound, smtp_server, web};
use accept::{IMAP, accept, count};
use sockets::{Bound, bind};

/// The running server.
pub struct Server {
    /// None once it has stopped.
    engine: Mutex<Option<Engine<Call, Answer>>>,
    network: Network<Call, Answer>,
    // Plain threads alone take it: the cores have their own copy of the Arc.
    live: Mutex<Arc<Live>>,
    watches: Vec<Watch>,
    shard_count: u16,
    shard_cores: u16,
    addresses: Vec<(Door, SocketAddr)>,
    pool: Pool,
    unknown: Unknown,
    from_ids: FromIds,
    deriving: Place,
    /// Transports of the settings that were left out.
    transports_left_out: Vec<String>,
}

impl Server {
    /// Opens the storage, binds all ports and starts the executors; an error says what to do. The mail doors accept after
    /// [`Server::serving`].
    pub fn start(settings: Settings) -> Result<Server, String> {
        let (live, warnings) = Live::new(settings, None)?;
        for warning in warnings {
            tracing::warn!("{warning}");
        }
        let live = Arc::new(live);
        live.resolver.tell();
        let server = &live.settings.server;
        let options = engine_options(&live.settings)?;
        let (sockets, addresses) = bind(&live.settings, options.cores.len())?;
        // Mail and password hashes: nobody else's to read. A directory the operator made keeps the mode it has.
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&server.data_dir)
            .map_err(|e| format!("{}: {e}", server.data_dir.display()))?;
        let seed = random_seed()?;
        let opened = shards::storage::open(
            &server.data_dir,
            &storage_options(&live.settings, options.cores.len()),
            seed,
        )
        .map_err(|e| e.to_string())?;
        let threads = server
            .cores
            .pool_threads
            .map_or_else(default_pool_threads, |n| n as usize);
        let pool = Pool::start("pool", threads, server.cores.pool_jobs_max as usize)
            .map_err(|e| format!("worker pool: {e}"))?;
        let (watches, shard_count, epoch, spool) = (
            opened.watches(),
            opened.format.shards,
            opened.format.epoch,
            opened.spool.clone(),
        );
        let unknown = Unknown::open(&server.data_dir, iterations(&live.settings))?;
        let cost = Scheme::new(&server.limits.auth, unknown.iterations).cost;
        let decoy = Verifier::decoy(cost)?;
        let nobody = Secrets::nobody()?;
        let from_ids = FromIds::open(&server.data_dir)?;
        let for_reports = from_ids.clone();
        let for_all = unknown.clone();
        let hashing_threads = default_pool_threads();
        let hashing = hashing_pool(hashing_threads, options.cores.len(), free_cpus(&options))
            .map_err(|e| format!("threads for passwords: {e}"))?;
        let parsing = Pool::start("parse", default_pool_threads(), PARSING_WAITING_MAX)
            .map_err(|e| format!("threads for long messages: {e}"))?;
        // Each core hands it as many jobs as it has threads (`Shares`).
        let rendering_threads = server.cores.render_threads as usize;
        let rendering_waiting = rendering_threads * (options.cores.len() + 1);
        let rendering = Pool::start("render", rendering_threads, rendering_waiting)
            .map_err(|e| format!("threads for templates: {e}"))?;
        let spooling = Pool::start("spool", threads.max(2), server.cores.pool_jobs_max as usize)
            .map_err(|e| format!("threads for large messages: {e}"))?;
        let pools = Pools {
            parsing,
            rendering,
            spooling,
        };
        rt::warm_up();
        let (for_cores, shard_cores) = (live.clone(), options.cores.len() as u16);
        // Only while starting: each core takes its own sockets out of it.
        let sockets = Mutex::new(sockets);
        let engine = Engine::start(&options, opened, &pool, move |core| {
            let mine = sockets
                .lock()
                .map_err(|_| "another core failed to start")?
                .remove(&core.id.0)
                .unwrap_or_default();
            let auth = &for_cores.settings.server.limits.auth;
            let verifier = Verifier::new(
                auth.cache_entries_max as usize,
                auth.cache_secs.duration(),
                cost,
                decoy.clone(),
                hashing.clone(),
                hashing_threads,
            )?;
            Rooms::start(
                core,
                for_cores.clone(),
                (
                    verifier,
                    for_all.clone(),
                    nobody.clone(),
                    for_reports.clone(),
                ),
                mine,
                spool.clone(),
                epoch,
                pools.clone(),
            )
        })?;
        rt::allow_huge_pages(true);
        let network = engine.network();
        Ok(Server {
            network,
            engine: Mutex::new(Some(engine)),
            live: Mutex::new(live),
            watches,
            shard_count,
            shard_cores,
            addresses,
            pool,
            unknown,
            from_ids,
            deriving: hashing_place(free_cpus(&options)),
            transports_left_out: Vec::new(),
        })
    }

    /// For a command on a stopped directory: no listeners, no tokens, no keys, no mail to others, one core.
    pub fn start_alone(mut settings: Settings) -> Result<Server, String> {
        // A directory that is made now gets the shards the server would give it.
        let cores = engine_options(&settings)?.cores.len();
        let server = &mut settings.server;
        server.storage.shards.get_or_insert(cores.max(4) as u32);
        server.cores.shards = ShardCores::Count(1);
        server.listener.clear();
        server.oauth = None;
        server.tls_policy.ca_file = None;
        // Their names are known all the same: recipients may be given to them.
        let transports = std::mem::take(&mut server.transport);
        server.route.clear();
        let domains = settings.domains.domain.values_mut();
        domains.for_each(|domain| domain.dkim.clear());
        Ok(Server {
            transports_left_out: transports.into_keys().collect(),
            ..Server::start(settings)?
        })
    }

    /// Names of the transports in the settings.
    pub fn transports(&self) -> Vec<String> {
        let live = self.live();
        let in_force = live.settings.server.transport.keys().cloned();
        in_force
            .chain(self.transports_left_out.iter().cloned())
            .collect()
    }

    /// The configuration in force.
    pub fn live(&self) -> Arc<Live> {
        self.live
            .lock()
            .map(|live| live.clone())
            .unwrap_or_else(|poisoned| poisoned.into_inner().clone())
    }

    /// What is listened on.
    pub fn addresses(&self) -> &[(Door, SocketAddr)] {
        &self.addresses
    }

    /// Executors, the one for HTTP included: cores 0 to this number less one can be called.
    pub fn cores(&self) -> u16 {
        self.shard_cores + 1
    }

    /// Shards of the directory.
    pub fn shards(&self) -> u16 {
        self.shard_count
    }

    /// Views of the shards.
    pub fn watches(&self) -> &[Watch] {
        &self.watches
    }

    /// How secrets are made now.
    pub fn scheme(&self) -> Scheme {
        let live = self.live();
        Scheme::new(&live.settings.server.limits.auth, self.unknown.iterations)
    }

    /// What tells messages' reverse-paths apart.
    pub fn from_ids(&self) -> &FromIds {
        &self.from_ids
    }

    /// For heavy work of the control thread.
    pub fn pool(&self) -> &Pool {
        &self.pool
    }

    /// Where what is stored of passwords is derived: that holds no core up.
    pub fn deriving(&self) -> &Place {
        &self.deriving
    }

    /// The core that owns an account.
    pub fn owner_of(&self, account: &str) -> CoreId {
        shards::owner_of(
            shards::shard_of(account.as_bytes(), self.shard_count),
            self.shard_cores,
        )
    }

    /// Ends the sessions of an account. A core that does not answer may have them still, until the connections end: these are counted.
    pub fn end_sessions(&self, account: AccountName) -> u16 {
        let cores = (0..=self.shard_cores).map(CoreId);
        let silent = cores.filter(|core| self.call(*core, Call::EndSessions(account)).is_err());
        silent.count() as u16
    }

    /// The core that owns a shard.
    pub fn owner_of_shard(&self, shard: u16) -> CoreId {
        shards::owner_of(shards::ShardId(shard), self.shard_cores)
    }

    /// Calls a core; blocks the calling thread until the answer.
    pub fn call(&self, core: CoreId, call: Call) -> Result<Answer, CallError> {
        self.network.call_blocking(core, call, CALL_LIMIT)
    }

    /// All is prepared: the mail doors accept from now on, and `/readyz`, which the last core answers, says so. Until then clients wait in
    /// the sockets' backlogs; a login that came before its password would be refused, and counted as a guess.
    pub fn serving(&self) -> Result<(), String> {
        self.begin_to_hold()?;
        for core in 0..self.cores() {
            self.call(CoreId(core), Call::Serving)
                .map_err(|error| format!("core {core} does not start to serve: {error}"))?;
        }
        Ok(())
    }

    /// Puts new settings in force on all cores; certificates are read again. Answers what was kept as it was, in words.
    pub fn reload(&self, settings: Settings) -> Result<Vec<String>, String> {
        let before = self.live();
        let (live, kept) = Live::new(settings, Some(&before))?;
        let live = Arc::new(live);
        if live.resolver != before.resolver {
            live.resolver.tell();
        }
        if let Ok(mut current) = self.live.lock() {
            *current = live.clone();
        }
        // All are asked, whatever one answers: the fewer that go on with the old ones the better.
        let failed: Vec<String> = (0..self.cores())
            .filter_map(|core| {
                let taken = self.call(CoreId(core), Call::Live(live.clone()));
                let error = taken.err()?;
                Some(format!(
                    "core {core} did not take the new settings: {error}"
                ))
            })
            .collect();
        if !live.transports.is_empty() {
            // Once all know it: those who send ask the owners of sites.
            for core in 0..self.cores() {
                let call = Call::Control(Box::new(ControlCall::SitesChanged));
                // Who does not hear of it asks within a minute.
                let _ = self.call(CoreId(core), call);
            }
        }
        if failed.is_empty() {
            return Ok(kept);
        }
        Err(format!("{}; reload again", failed.join("; ")))
    }

    /// Reads the certificates again; for when their files changed.
    pub fn reload_certificates(&self) -> Result<Vec<String>, String> {
        self.reload(self.live().settings.clone())
    }

    /// Stops accepting, lets transactions end within the configured time, syncs, stops. Calls made later time out.
    pub fn stop(&self) {
        let grace = self.live().settings.server.shutdown_grace_secs.duration();
        let engine = self.engine.lock().ok().and_then(|mut engine| engine.take());
        if let Some(engine) = engine {
            engine.stop(grace);
        }
    }
}

/// The rooms on one core.
struct Rooms {
    core: Rc<PerCore>,
}

impl Rooms {
    fn start(
        core: Core<Call, Answer>,
        live: Arc<Live>,
        keys: (Verifier, Unknown, Secrets, FromIds),
        sockets: Vec<Bound>,
        spool: std::path::PathBuf,
        epoch: u64,
        pools: Pools,
    ) -> Result<Rc<Rooms>, String> {
        let server = &live.settings.server;
        let options = StoreOptions {
            cache_bytes: server.storage.mailbox_cache_bytes.as_usize()
                / usize::from(core.shard_cores.max(1)),
            initial_mailboxes: initial_mailboxes(&server.initial_mailboxes),
            wall_clock,
        };
        let live = live.clone();
        let core = PerCore::new(core, options, keys, live, spool, epoch, pools);
        for bound in sockets {
            accept(&core, bound);
        }
        for shard in &core.shards {
            let (core, shard) = (core.clone(), shard.clone());
            rt::spawn(&fan_out::ROOM, async move {
                let id = shard.id();
                if let Err(error) = fan_out::resume(core.clone(), shard.clone()).await {
                    tracing::error!(shard = %id, %error, "fan-out entries could not be resumed");
                }
                if let Err(error) = fan_out::forget_left_over(&core, &shard).await {
                    tracing::warn!(shard = %id, %error, "rows of deliveries stay until the next start");
                }
            });
        }
        if !core.shards.is_empty() {
            outbound::start(&core);
            hooks::start(&core);
            hooks::start_incoming(&core);
        }
        Ok(Rc::new(Rooms { core }))
    }
}

impl Service for Rooms {
    type Call = Call;
    type Answer = Answer;

    fn handle(self: &Rc<Self>, incoming: Incoming<Call, Answer>) {
        match incoming.call {
            Call::Connection(moved) => {
                let (core, responder) = (self.core.clone(), incoming.responder);
                count(&core, &imap_server::ROOM, IMAP, async move |core| {
                    imap_server::resume(core, moved, responder).await
                });
            }
            Call::Submit(submit) => {
                let (core, responder) = (self.core.clone(), incoming.responder);
                rt::spawn(&inbound::ROOM, async move {
                    let submitted = inbound::submit(&core, *submit).await;
                    responder.answer(Answer::Submitted(submitted));
                });
            }
            Call::Control(control) => match *control {
                ControlCall::Webhooks { account, ask } if matches!(*ask, HookAsk::Test { .. }) => {
                    let (core, responder) = (self.core.clone(), incoming.responder);
                    rt::spawn(&hooks::ROOM, async move {
                        let HookAsk::Test { id } = *ask else {
                            return;
                        };
                        let tested = hooks::test(&core, account, id).await;
                        let answer = tested.map(|a| ControlAnswer::Webhooks(Box::new(a)));
                        responder.answer(Answer::Control(answer));
                    });
                }
                control => self.core.handle(Incoming {
                    call: Call::Control(Box::new(control)),
                    responder: incoming.responder,
                }),
            },
            Call::SubmitBatch(submit) => {
                let (core, responder) = (self.core.clone(), incoming.responder);
                rt::spawn(&inbound::ROOM, async move {
                    let submitted = inbound::submit_batch(&core, *submit).await;
                    responder.answer(Answer::SubmittedBatch(submitted));
                });
            }
            call => self.core.handle(Incoming {
                call,
                responder: incoming.responder,
            }),
        }
    }

    async fn drain(self: Rc<Self>, limit: Duration) {
        self.core.begin_drain(limit);
        let mut waited = Duration::ZERO;
        let is_busy = || self.core.connections.get() + self.core.sending.get() > 0;
        while is_busy() && waited < limit {
            rt::sleep(crate::percore::DRAIN_STEP).await;
            waited += crate::percore::DRAIN_STEP;
        }
        self.core.write_attempts(true).await;
        self.core.write_tls_results().await;
    }
}

fn engine_options(settings: &Settings) -> Result<EngineOptions, String> {
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    let cores = &settings.server.cores;
    let shard_cpus: Vec<Option<usize>> = match &cores.shards {
        // The last is for HTTP, for threads that block, and for the kernel. Measured with 2 CPUs: with one shard core 17,700 messages
        // a second accepted for 58 us of CPU each, with two 15,100/s for 74 us.
        ShardCores::Auto => (0..(cpus - 1).max(1)).map(Some).collect(),
        ShardCores::Count(count) => (0..(*count).max(1) as usize)
            .map(|n| (n < cpus).then_some(n))
            .collect(),
        ShardCores::Cpus(list) => list.iter().map(|cpu| Some(*cpu as usize)).collect(),
    };
    if let Some(Some(beyond)) = shard_cpus.iter().find(|cpu| cpu.is_some_and(|c| c >= cpus)) {
        return Err(format!(
            "cores.shards names CPU {beyond}, but this machine has CPUs 0 to {}",
            cpus - 1
        ));
    }
    let http_cpu = match cores.http {
        HttpCore::Auto => Some(cpus - 1),
        HttpCore::Cpu(cpu) => Some(cpu as usize),
    };
    if let Some(beyond) = http_cpu.filter(|cpu| *cpu >= cpus) {
        return Err(format!(
            "cores.http names CPU {beyond}, but this machine has CPUs 0 to {}",
            cpus - 1
        ));
    }
    Ok(EngineOptions {
        cores: shard_cpus,
        http_cpu,
        ring_depth: cores.ring_depth as usize,
        spin_before_park: Duration::from_micros(u64::from(cores.spin_before_park_us)),
        lane_capacity: cores.lane_calls_max as usize,
        io_memory: cores.io_memory_bytes.as_usize(),
    })
}

/// CPUs without an executor that owns shards; none if they all have one.
fn free_cpus(options: &EngineOptions) -> Vec<usize> {
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    let is_free = |cpu: &usize| !options.cores.contains(&Some(*cpu));
    match options.cores.contains(&None) {
        // An executor that runs anywhere.
        true => Vec::new(),
        false => (0..cpus).filter(is_free).collect(),
    }
}

fn storage_options(settings: &Settings, shard_cores: usize) -> StorageOptions {
    let storage = &settings.server.storage;
    let shards = storage.shards.map_or(shard_cores.max(2), |n| n as usize);
    StorageOptions {
        shards: shards.min(usize::from(u16::MAX)) as u16,
        segment_size: storage.segment_size_bytes.get(),
        zero_ahead: storage.zero_ahead_bytes.get(),
        cache_bytes: storage.index_cache_bytes.get() / shards as u64,
        group_batches_max: storage.group_batches_max as usize,
        group_bytes_max: storage.group_bytes_max.as_usize(),
        disk_reserve_bytes: storage.disk_reserve_bytes.get(),
        compaction_dead_percent: u64::from(storage.compaction_dead_percent),
        compaction_bytes_per_sec: storage.compaction_rate_bytes.get(),
        ..StorageOptions::default()
    }
}

fn iterations(settings: &Settings) -> Iterations {
    let auth = &settings.server.limits.auth;
    let number = |n| NonZeroU32::new(n).unwrap_or(NonZeroU32::MIN);
    Iterations {
        sha256: number(auth.scram_sha256_iterations),
        sha1: number(auth.scram_sha1_iterations),
    }
}

fn initial_mailboxes(initial: &InitialMailboxes) -> Vec<(String, SpecialUse)> {
    let none = SpecialUse::default();
    let special = [
        (&initial.sent, SpecialUse { sent: true, ..none }),
        (
            &initial.archive,
            SpecialUse {
                archive: true,
                ..none
            },
        ),
        (
            &initial.trash,
            SpecialUse {
                trash: true,
                ..none
            },
        ),
        (
            &initial.drafts,
            SpecialUse {
                drafts: true,
                ..none
            },
        ),
        (&initial.junk, SpecialUse { junk: true, ..none }),
    ];
    let special = special
        .into_iter()
        .filter_map(|(name, special)| Some((name.as_ref()?.as_str().to_string(), special)));
    special
        .chain(
            initial
                .regular
                .iter()
                .map(|name| (name.as_str().to_string(), none)),
        )
        .collect()
}

fn random_seed() -> Result<u32, String> {
    let mut seed = [0; 4];
    crate::login::random(&mut seed)?;
    Ok(u32::from_le_bytes(seed))
}

fn default_pool_threads() -> usize {
    // On 2 cores one thread at lower priority: they must not starve the executors.
    (std::thread::available_parallelism().map_or(1, usize::from) / 2).max(1)
}

/// Every part of the program whose panics are caught and counted.
static ROOMS: [&rt::Room; 16] = [
    &shards::pool::ROOM,
    &shards::engine::ROOM,
    &shards::storage::ROOM,
    &crate::login::oauth::ROOM,
    &crate::percore::ROOM,
    &crate::handle::ROOM,
    &crate::lookup::ROOM,
    &crate::store::ROOM,
    &crate::queue::ROOM,
    &crate::tls_policy::ROOM,
    &fan_out::ROOM,
    &outbound::ROOM,
    &hooks::ROOM,
    &smtp_server::ROOM,
    &imap_server::ROOM,
    &web::ROOM,
];

const CALL_LIMIT: Duration = Duration::from_secs(30);
/// Long messages that wait to be taken apart. Each holds its share of a budget of memory, so this is not what bounds them.
const PARSING_WAITING_MAX: usize = 4096;

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// A room of the source that is not in the list would be missing from `/metrics`.
    #[test]
    fn every_room_of_the_source_is_listed() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut found = Vec::new();
        for folder in ["src", "shards/src"] {
            rooms_below(&root.join(folder), &mut found);
        }
        found.sort();
        let mut listed: Vec<String> = ROOMS.iter().map(|r| r.name.to_string()).collect();
        listed.sort();
        assert_eq!(found, listed);
    }

    fn rooms_below(folder: &Path, found: &mut Vec<String>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                rooms_below(&path, found);
            } else if path.extension().is_some_and(|e| e == "rs") {
                // Those of tests are not public.
                let text = std::fs::read_to_string(&path).unwrap();
                let lines = text.lines().filter(|l| l.starts_with("pub static"));
                found.extend(lines.filter_map(|l| {
                    Some(
                        l.split_once("Room::new(\"")?
                            .1
                            .split_once('"')?
                            .0
                            .to_string(),
                    )
                }));
            }
        }
    }
}

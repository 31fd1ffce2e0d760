//! Starting, draining and stopping the executors, in order. One instance of a [`Service`] lives on each core.
//!
//! Start: the directory is open; one executor per shard core (it owns its shards) and one without shards for HTTP; each builds its
//! service, which opens its listeners. Drain: each service stops accepting and lets transactions end, within a limit; lanes still
//! work, for a transaction may need another core. Stop: executors end, then commit threads, which sync what was submitted.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use atomic_waker::AtomicWaker;

use crate::lanes::{Incoming, Lanes, Network};
use crate::pool::Pool;
use crate::routing::{CoreId, ShardId, owner_of};
use crate::rt::{self, ExecutorHandle, ExecutorOptions};
use crate::storage::{Opened, Shard, Watch};

/// What runs on a core: the layer above.
pub trait Service: 'static {
    /// What other cores may ask.
    type Call: Send + 'static;
    /// What they get.
    type Answer: Send + 'static;

    /// Handles one call. Must not wait: it spawns a task for what takes time.
    fn handle(self: &Rc<Self>, incoming: Incoming<Self::Call, Self::Answer>);

    /// Stops accepting and waits until nothing is under way, at most `limit`.
    fn drain(self: Rc<Self>, limit: Duration) -> impl Future<Output = ()>;
}

/// What a service is built from.
pub struct Core<C, A> {
    /// This core.
    pub id: CoreId,
    /// How many cores own shards; cores from this number on own none.
    pub shard_cores: u16,
    /// Lanes to all cores.
    pub lanes: Rc<Lanes<C, A>>,
    /// The shards this core owns.
    pub shards: Vec<Rc<Shard>>,
    /// All shards, by number, as any core may see them.
    pub watches: Arc<[Watch]>,
    /// Number of shards in the directory.
    pub shard_count: u16,
    /// For what blocks.
    pub pool: Pool,
}

/// Numbers of the engine.
#[derive(Clone, Debug)]
pub struct EngineOptions {
    /// CPUs of the shard cores; none leaves the placement to the kernel.
    pub cores: Vec<Option<usize>>,
    /// CPU of the executor for HTTP.
    pub http_cpu: Option<usize>,
    /// See [`ExecutorOptions`].
    pub ring_depth: usize,
    /// See [`ExecutorOptions`].
    pub spin_before_park: Duration,
    /// Calls a core may have waiting, and may have under way.
    pub lane_capacity: usize,
    /// See [`ExecutorOptions`].
    pub io_memory: usize,
}

/// A running engine.
pub struct Engine<C, A> {
    network: Network<C, A>,
    executors: Vec<ExecutorHandle>,
    stop: Arc<StopState>,
    opened: Opened,
    shard_cores: u16,
}

struct StopState {
    level: AtomicU8,
    grace_ms: AtomicUsize,
    started: AtomicUsize,
    drained: AtomicUsize,
    wakers: Vec<AtomicWaker>,
}

impl StopState {
    async fn reached(&self, core: CoreId, level: u8) {
        std::future::poll_fn(|cx| {
            self.wakers[usize::from(core.0)].register(cx.waker());
            if self.level.load(Ordering::Acquire) >= level {
                std::task::Poll::Ready(())
            } else {
                std::task::Poll::Pending
            }
        })
        .await
    }

    fn raise(&self, level: u8) {
        self.level.store(level, Ordering::Release);
        self.wakers.iter().for_each(AtomicWaker::wake);
    }
}

impl<C: Send + 'static, A: Send + 'static> Engine<C, A> {
    /// Starts the executors. `build` runs on each core; an error of one stops the start.
    pub fn start<S, B>(
        options: &EngineOptions,
        mut opened: Opened,
        pool: &Pool,
        build: B,
    ) -> Result<Self, String>
    where
        S: Service<Call = C, Answer = A>,
        B: Fn(Core<C, A>) -> Result<Rc<S>, String> + Send + Sync + 'static,
    {
        let shard_cores = options.cores.len().max(1) as u16;
        let all = shard_cores + 1;
        let network = Network::new(all, options.lane_capacity);
        let stop = Arc::new(StopState {
            level: AtomicU8::new(0),
            grace_ms: AtomicUsize::new(0),
            started: AtomicUsize::new(0),
            drained: AtomicUsize::new(0),
            wakers: (0..all).map(|_| AtomicWaker::new()).collect(),
        });
        let build = Arc::new(build);
        let watches: Arc<[Watch]> = opened.watches().into();
        let (report, reports) = crossbeam_channel::bounded(usize::from(all));
        let mut executors = Vec::new();
        for core in (0..all).map(CoreId) {
            let parts: Vec<_> = opened
                .shards
                .iter_mut()
                .filter(|_| core.0 < shard_cores)
                .filter_map(|slot| {
                    let mine = slot
                        .as_ref()
                        .is_some_and(|p| owner_of(p.id, shard_cores) == core);
                    if mine { slot.take() } else { None }
                })
                .collect();
            let cpu = options
                .cores
                .get(usize::from(core.0))
                .copied()
                .unwrap_or(options.http_cpu);
            let executor = ExecutorOptions {
                name: if core.0 < shard_cores {
                    format!("core-{}", core.0)
                } else {
                    "http".into()
                },
                cpu,
                ring_depth: options.ring_depth,
                io_memory: options.io_memory,
                spin_before_park: options.spin_before_park,
            };
            let (network, pool, stop, build, report, watches) = (
                network.clone(),
                pool.clone(),
                stop.clone(),
                build.clone(),
                Report(Some(report.clone())),
                watches.clone(),
            );
            let shard_count = opened.format.shards;
            executors.push(rt::run(&executor, move || async move {
                let shards: Vec<Rc<Shard>> = parts
                    .into_iter()
                    .map(|p| Shard::new(p, pool.clone()))
                    .collect();
                let own_shards = shards.clone();
                let lanes = Lanes::new(network, core);
                for shard in &own_shards {
                    let lanes = lanes.clone();
                    shard.after_group(move || lanes.look());
                }
                let built = build(Core {
                    id: core,
                    shard_cores,
                    lanes: lanes.clone(),
                    shards,
                    watches,
                    shard_count,
                    pool,
                });
                let service = match built {
                    Ok(service) => service,
                    Err(e) => return report.tell(Err(e)),
                };
                serve(core, lanes, service, &stop, report).await;
                own_shards.iter().for_each(|shard| shard.close());
            })?);
        }
        let engine = Engine {
            network,
            executors,
            stop,
            opened,
            shard_cores,
        };
        for _ in 0..all {
            let Ok(result) = reports.recv_timeout(START_LIMIT) else {
                // Not joined: what does not begin may not end either. The process does.
                return Err("an executor did not start in time".into());
            };
            if let Err(e) = result {
                // What an executor died of is known when it is joined.
                let causes = engine.end(Duration::ZERO);
                return Err(causes.into_iter().next().unwrap_or(e));
            }
        }
        Ok(engine)
    }

    /// Lanes, for calls from plain threads.
    pub fn network(&self) -> Network<C, A> {
        self.network.clone()
    }

    /// The core that owns a shard.
    pub fn owner_of(&self, shard: ShardId) -> CoreId {
        owner_of(shard, self.shard_cores)
    }

    /// Number of executors, the one for HTTP included.
    pub fn cores(&self) -> u16 {
        self.shard_cores + 1
    }

    /// Drains within `grace`, then stops executors and commit threads. What was accepted is durable when it returns.
    pub fn stop(self, grace: Duration) {
        for error in self.end(grace) {
            tracing::error!(error, "an executor ended badly");
        }
    }

    /// Answers what executors died of.
    fn end(self, grace: Duration) -> Vec<String> {
        self.stop
            .grace_ms
            .store(grace.as_millis() as usize, Ordering::Relaxed);
        self.stop.raise(DRAIN);
        let deadline = Instant::now() + grace + Duration::from_secs(5);
        while self.stop.drained.load(Ordering::Acquire) < self.stop.started.load(Ordering::Acquire)
            && Instant::now() < deadline
        {
            std::thread::sleep(Duration::from_millis(2));
        }
        self.stop.raise(EXIT);
        let ends = self.executors.into_iter().map(ExecutorHandle::join);
        let errors = ends.filter_map(Result::err).collect();
        self.opened.close();
        errors
    }
}

/// How a core's start went. Dropped untold, as when there is no memory for its rings, it says that it failed.
struct Report(Option<crossbeam_channel::Sender<Result<(), String>>>);

impl Report {
    fn tell(mut self, result: Result<(), String>) {
        if let Some(sender) = self.0.take() {
            let _ = sender.send(result);
        }
    }
}

impl Drop for Report {
    fn drop(&mut self) {
        if let Some(sender) = self.0.take() {
            let _ = sender.try_send(Err("an executor did not start".into()));
        }
    }
}

async fn serve<S: Service>(
    core: CoreId,
    lanes: Rc<Lanes<S::Call, S::Answer>>,
    service: Rc<S>,
    stop: &StopState,
    report: Report,
) {
    let handler = service.clone();
    let serving = lanes.serve(move |incoming| handler.handle(incoming));
    rt::spawn(&ROOM, serving);
    stop.started.fetch_add(1, Ordering::AcqRel);
    report.tell(Ok(()));
    stop.reached(core, DRAIN).await;
    let grace = Duration::from_millis(stop.grace_ms.load(Ordering::Relaxed) as u64);
    let _ = rt::timeout(grace + Duration::from_secs(1), service.drain(grace)).await;
    stop.drained.fetch_add(1, Ordering::AcqRel);
    stop.reached(core, EXIT).await;
}

const DRAIN: u8 = 1;
const EXIT: u8 = 2;
const START_LIMIT: Duration = Duration::from_secs(60);
/// Panics in the lanes' handlers.
pub static ROOM: rt::Room = rt::Room::new("engine");

//! Whose turn it is. Every endpoint with something due has a worker, more of them if it may be called several times at once; a worker takes one
//! hook after the other, and its result goes into the commit that takes the next. All hooks lie in rows: here are only endpoints, and when the
//! next hook of each is due.
//!
//! What the workers of an account wish written gathers on its desk (`desk.rs`) while a commit of the account is under way, and then is one commit.
//!
//! Calls of a core have a bound, those of an account a smaller one, and those to endpoints that fail have at most half of all together: so who is
//! slow or silent takes no place from who answers. Of all of these an account may have as many as are free beside it, and whoever has least comes first
//! (`rt::FairTurns`): some are left however many accounts have slow endpoints. Places are given back after each call.
//!
//! What a call says is read once it has its part of the core's memory for that, which is shared in the same way; endpoints that fail have half of it.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::rc::Rc;
use std::time::Duration;

use futures_lite::future::{or, poll_once};
use hyper::body::Bytes;
use shards::faults::point;
use shards::rt::{self, FairMemory, FairShare, FairTurn, FairTurns, Turn, Turns};
use shards::shard_of;
use shards::storage::Shard;

use super::client::{Client, Message, Sender};
use super::connections::Connections;
use super::desk::{Desks, Unwritten};
use super::timers::Timers;
use super::{ROOM, notice};
use crate::login;
use crate::metrics::{NONE, label};
use crate::percore::{PerCore, monotonic};
use crate::queue::hooks::{self, Claimed, Follows, HookResult, Outcome, Step, Terms, Wish};
use crate::store::StoreError;

/// An endpoint: whose, and its number.
pub(super) type Key = (String, u32);

pub(super) struct Dispatch {
    pub(super) core: Rc<PerCore>,
    /// When the next hook of an endpoint is due; not of those where a worker looks at that, or that have as many as they may.
    timers: RefCell<Timers>,
    lanes: RefCell<HashMap<Key, Lane>>,
    calls: Rc<FairTurns<String>>,
    failing: Rc<FairTurns<String>>,
    memory: Rc<FairMemory<String>>,
    memory_of_failing: Rc<FairMemory<String>>,
    /// The calls of each account.
    accounts: RefCell<HashMap<String, Rc<Turns>>>,
    connections: Rc<Connections<Sender>>,
    /// What is to be written of accounts, of each in one commit.
    pub(super) desks: Desks,
}

/// An endpoint with workers.
#[derive(Default)]
struct Lane {
    workers: u8,
    concurrency: u8,
    under_way: HashSet<u64>,
}

/// The right to make a call: of those to endpoints that fail, of the account's, of the core's.
type Place = (Option<FairTurn<String>>, Option<Turn>, FairTurn<String>);

/// Room in memory: of that of endpoints that fail, of the core's.
type Memory = (Option<FairShare<String>>, FairShare<String>);

/// Begins to call the endpoints of this core's accounts.
pub fn start(core: &Rc<PerCore>) {
    let dispatch = Rc::new(Dispatch {
        core: core.clone(),
        timers: RefCell::default(),
        lanes: RefCell::default(),
        calls: Rc::default(),
        failing: Rc::default(),
        memory: Rc::default(),
        memory_of_failing: Rc::default(),
        accounts: RefCell::default(),
        connections: Rc::default(),
        desks: Desks::default(),
    });
    rt::spawn(&ROOM, async move {
        // Not for a command that opened a stopped directory.
        or(dispatch.core.prepared(), dispatch.core.drained()).await;
        if dispatch.core.draining.get() {
            return;
        }
        dispatch.resume().await;
        dispatch.run().await;
    });
}

impl Dispatch {
    /// Finds what waited before the start.
    async fn resume(self: &Rc<Self>) {
        for shard in &self.core.shards {
            if let Err(error) = self.resume_shard(shard).await {
                tracing::error!(shard = %shard.id(), %error, "webhooks could not be read; those of accounts without new events wait for the next start");
            }
        }
    }

    async fn resume_shard(self: &Rc<Self>, shard: &Rc<Shard>) -> Result<(), StoreError> {
        hooks::each_account(shard, async |account| {
            let turn = self.core.queue.hooks.turn(account).await;
            // The rows of one that is gone go with it.
            if self.core.queue.interest(account).is_none() {
                return Ok(());
            }
            hooks::resume(shard, &turn, self.core.wall_clock()).await?;
            drop(turn);
            for (endpoint, line) in hooks::lines(shard, account).await? {
                let key = (account.to_string(), endpoint.id);
                if endpoint.mail_owed.is_some() {
                    self.tell_owner(&key);
                }
                if let Some(until) = line.paused_until {
                    let conduct = &self.core.queue.hooks.conduct;
                    conduct.pause(account, endpoint.id, until);
                }
                let waits = line.count > 0 && endpoint.disabled.is_none();
                if waits && !endpoint.removed {
                    self.timers.borrow_mut().set(&key, line.from.0);
                }
            }
            Ok(())
        })
        .await
    }

    async fn run(self: &Rc<Self>) {
        let hooks = &self.core.queue.hooks;
        while !self.core.draining.get() {
            let seen = hooks.waking.count();
            for key in hooks.take_woken() {
                self.begin(&key);
            }
            let now = self.core.wall_clock();
            loop {
                let due = self.timers.borrow_mut().take_due(now);
                let Some(key) = due else {
                    break;
                };
                self.begin(&key);
                rt::yield_if_needed().await;
            }
            let first = self.timers.borrow().first();
            let wait = first.map_or(LONGEST_WAIT, |at| {
                let secs = at.saturating_sub(self.core.wall_clock()).max(0) as u64;
                Duration::from_secs(secs).clamp(SHORTEST_WAIT, LONGEST_WAIT)
            });
            let woken = async {
                hooks.waking.wait(seen).await;
            };
            or(woken, or(rt::sleep(wait), self.core.drained())).await;
        }
    }

    /// Sees to it that an endpoint has a worker that looks at its line, if it may have one more.
    fn begin(self: &Rc<Self>, key: &Key) {
        let (conduct, now) = (&self.core.queue.hooks.conduct, self.core.wall_clock());
        if let Some(until) = conduct.paused_until(&key.0, key.1, now) {
            self.timers.borrow_mut().set_earliest(key, until);
            return;
        }
        let needs_one = self.lanes.borrow().get(key).is_none_or(|lane| {
            let all_call = lane.under_way.len() >= usize::from(lane.workers);
            all_call && lane.workers < lane.concurrency
        });
        if needs_one {
            self.work(key);
        }
    }

    fn work(self: &Rc<Self>, key: &Key) {
        let worker = Worker::new(self, key);
        rt::spawn(&ROOM, async move { worker.run().await });
    }

    pub(super) fn terms(&self, account: &str) -> Option<Terms> {
        let interest = self.core.queue.interest(account)?;
        let live = self.core.live();
        let settings = &live.settings.server.webhooks;
        let waits = settings.retry_secs.iter();
        Some(Terms {
            waits: waits.map(|wait| wait.duration().as_secs()).collect(),
            timeout_secs: settings.timeout_secs.duration().as_secs(),
            keeps_secs: interest.keeps_webhooks_secs,
            disable_after_secs: settings.disable_after_secs.duration().as_secs(),
        })
    }

    /// Waits for the right to make a call. One at a time every endpoint has, however many of the account's calls others keep.
    async fn place(&self, key: &Key, is_first: bool) -> Place {
        let (most, of_account) = {
            let live = self.core.live();
            let settings = &live.settings.server.webhooks;
            (
                settings.calls_per_core_max as usize,
                settings.calls_per_account_max as usize,
            )
        };
        let failing = match self.is_failing(key) {
            true => Some(self.failing.take(&key.0, most / 2).await),
            false => None,
        };
        let of_account = match is_first {
            true => None,
            false => Some(self.calls_of(&key.0).take(of_account).await),
        };
        (failing, of_account, self.calls.take(&key.0, most).await)
    }

    /// Waits for room for what a call says. Whoever has it needs no more of it to come to his end.
    async fn memory(&self, key: &Key, octets: usize) -> Memory {
        let most = {
            let live = self.core.live();
            let settings = &live.settings.server.webhooks;
            settings.payload_memory_max_bytes.as_usize()
        };
        // Who asks for more than there is gets all of it, alone.
        let of_failing = match self.is_failing(key) {
            true => Some(self.memory_of_failing.take(&key.0, octets, most / 2).await),
            false => None,
        };
        (of_failing, self.memory.take(&key.0, octets, most).await)
    }

    fn is_failing(&self, key: &Key) -> bool {
        let conduct = &self.core.queue.hooks.conduct;
        conduct.is_failing(&key.0, key.1)
    }

    fn calls_of(&self, account: &str) -> Rc<Turns> {
        let mut accounts = self.accounts.borrow_mut();
        if accounts.len() >= TURNS_MAX {
            accounts.retain(|_, calls| Rc::strong_count(calls) > 1);
        }
        accounts.entry(account.to_string()).or_default().clone()
    }

    /// Hooks of an account that are under way, by endpoint.
    pub(super) fn under_way(&self, account: &str, wishes: &[Wish]) -> HashMap<u32, HashSet<u64>> {
        let lanes = self.lanes.borrow();
        let of = |wish: &Wish| {
            let lane = lanes.get(&(account.to_string(), wish.endpoint))?;
            Some((wish.endpoint, lane.under_way.clone()))
        };
        wishes.iter().filter_map(of).collect()
    }

    /// A wish was written: what it tells of the endpoint. Begins another worker where there is more to be sent, at once or when it is due.
    pub(super) fn written(self: &Rc<Self>, key: &Key, step: &Step, now: i64) {
        let hooks = &self.core.queue.hooks;
        hooks.waiting(&key.0, step.pending);
        hooks.conduct.note(&key.0, key.1, step.is_failing);
        let mut has_room = false;
        if let Some(lane) = self.lanes.borrow_mut().get_mut(key) {
            lane.concurrency = step.concurrency;
            has_room = lane.workers < step.concurrency;
            lane.under_way
                .extend(step.claimed.iter().map(|claimed| claimed.hook.id));
        }
        // Who has taken none looks at the rest himself, or says when that is due as he ends.
        let next = step.next_due.filter(|_| step.claimed.is_some() && has_room);
        match next {
            Some(due) if due <= now => self.work(key),
            Some(due) => self.look_at(key, due),
            None => (),
        }
    }

    /// Has an endpoint looked at then, or before.
    fn look_at(&self, key: &Key, at: i64) {
        self.timers.borrow_mut().set_earliest(key, at);
        // Whoever looks at the time knows of no such.
        self.core.queue.hooks.waking.notify();
    }

    pub(super) fn shard(&self, account: &str) -> Option<Rc<Shard>> {
        let number = shard_of(account.as_bytes(), self.core.shard_count);
        let mut shards = self.core.shards.iter();
        shards.find(|shard| shard.id() == number).cloned()
    }

    /// Tells an account that an endpoint was switched off, and crosses that out. Does not wait.
    pub(super) fn tell_owner(self: &Rc<Self>, key: &Key) {
        let (dispatch, (account, endpoint)) = (self.clone(), key.clone());
        rt::spawn(&ROOM, async move {
            let Some(shard) = dispatch.shard(&account) else {
                return;
            };
            if let Err(error) = notice::tell(&dispatch.core, &shard, &account, endpoint).await {
                tracing::warn!(account, endpoint, %error, "an account can't be told that an endpoint was switched off; it is tried again at the next start");
            }
        });
    }
}

/// Works on the hooks of one endpoint. When it is dropped, after a panic too, the next thing due begins another one.
struct Worker {
    dispatch: Rc<Dispatch>,
    key: Key,
    next_due: Option<i64>,
    /// It was alone when it began.
    is_first: bool,
    /// The hook it is calling about.
    under_way: Option<u64>,
}

impl Worker {
    fn new(dispatch: &Rc<Dispatch>, key: &Key) -> Worker {
        dispatch.timers.borrow_mut().remove(key);
        let mut lanes = dispatch.lanes.borrow_mut();
        let lane = lanes.entry(key.clone()).or_default();
        lane.workers += 1;
        let is_first = lane.workers == 1;
        Worker {
            dispatch: dispatch.clone(),
            key: key.clone(),
            next_due: None,
            is_first,
            under_way: None,
        }
    }

    async fn run(mut self) {
        let dispatch = &self.dispatch;
        let client = Client::new(&dispatch.core, &self.key.0, &dispatch.connections);
        let mut finished = None;
        while let Some(place) = self.place(&mut finished).await {
            let Some(step) = self.step(finished.take(), true).await else {
                return;
            };
            let Some(claimed) = step.claimed else {
                return;
            };
            let _ = point("hooks.claimed");
            finished = self.call(&client, claimed).await;
            drop(place);
            if finished.is_none() {
                return;
            }
            let _ = point("hooks.called");
        }
        if finished.is_some() {
            self.step(finished, false).await;
        }
    }

    /// Waits for a place; none: the server stops. Who has one at once writes what came of one call and takes the next hook in one commit; who has
    /// to wait writes first.
    async fn place(&mut self, finished: &mut Option<(u64, Outcome)>) -> Option<Place> {
        let dispatch = self.dispatch.clone();
        if dispatch.core.draining.get() {
            return None;
        }
        let at_once = poll_once(dispatch.place(&self.key, self.is_first)).await;
        if at_once.is_some() {
            return at_once;
        }
        if finished.is_some() {
            self.step(finished.take(), false).await?;
        }
        let place = async { Some(dispatch.place(&self.key, self.is_first).await) };
        let stopped = async {
            dispatch.core.drained().await;
            None
        };
        or(place, stopped).await
    }

    /// Has written what came of a call, and takes the next hook, if that is wished. None: that can't be done now, or the account is gone.
    async fn step(&mut self, finished: Option<(u64, Outcome)>, claims: bool) -> Option<Step> {
        let wish = Wish {
            endpoint: self.key.1,
            finished,
            claims,
        };
        match self.dispatch.write(&self.key.0, wish).await {
            Ok(step) => {
                self.next_due = step.next_due;
                self.under_way = step.claimed.as_ref().map(|claimed| claimed.hook.id);
                Some(step)
            }
            Err(Unwritten::Gone) => {
                let hooks = &self.dispatch.core.queue.hooks;
                hooks.conduct.forget(&self.key.0);
                None
            }
            Err(Unwritten::Now) => {
                self.next_due = Some(self.dispatch.core.wall_clock() + PAUSE_SECS);
                None
            }
        }
    }

    /// Calls the endpoint. None: the server stops before there is an answer; the call is made again later.
    async fn call(&mut self, client: &Client, claimed: Claimed) -> Option<(u64, Outcome)> {
        let core = self.dispatch.core.clone();
        let id = claimed.hook.id;
        let size = usize::try_from(claimed.hook.size).unwrap_or(usize::MAX);
        let memory = async { Some(self.dispatch.memory(&self.key, size).await) };
        let stopped = async {
            core.drained().await;
            None
        };
        let _memory = or(memory, stopped).await?;
        let Some(payload) = self.payload(id).await? else {
            self.ended();
            return Some((id, nothing(core.wall_clock())));
        };
        let _calling = Calling::new(&core);
        let message = Message {
            endpoint: &claimed.endpoint,
            id,
            webhook_id: format!("msg_{id}"),
            attempt: claimed.hook.attempts,
            payload,
        };
        let limit = core.live().settings.server.webhooks.timeout_secs.duration();
        let began = monotonic();
        let call = async { Some(client.call(&message, limit).await) };
        let stopped = async {
            core.drain_ends().await;
            None
        };
        let outcome = or(call, stopped).await;
        self.ended();
        let outcome = outcome?;
        let result = &outcome.result;
        core.metrics.count(
            "ringmail_webhook_results_total",
            label("code", code(result)),
        );
        let key = ("ringmail_webhook_seconds", NONE);
        core.durations.observe(key, began.elapsed());
        if !result.success {
            tracing::debug!(
                account = self.key.0,
                endpoint = self.key.1,
                hook = id,
                code = result.code,
                error = result.error,
                "an endpoint did not take a webhook"
            );
        }
        Some((id, outcome))
    }

    /// What a hook says; within none: it is gone. None: that can't be known now, and the hook is taken again when it is due.
    async fn payload(&mut self, id: u64) -> Option<Option<Bytes>> {
        let account = &self.key.0;
        let shard = self.dispatch.shard(account)?;
        match hooks::payload(&shard, account, id).await {
            Ok(payload) => Some(payload.map(Bytes::from)),
            Err(error) => {
                tracing::warn!(account, endpoint = self.key.1, hook = id, %error, "what a webhook says can't be read now; that is tried again");
                self.next_due = Some(self.dispatch.core.wall_clock() + PAUSE_SECS);
                None
            }
        }
    }

    /// The call is over.
    fn ended(&mut self) {
        if let Some(id) = self.under_way.take()
            && let Some(lane) = self.dispatch.lanes.borrow_mut().get_mut(&self.key)
        {
            lane.under_way.remove(&id);
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.ended();
        let mut lanes = self.dispatch.lanes.borrow_mut();
        if let Some(lane) = lanes.get_mut(&self.key) {
            lane.workers -= 1;
            if lane.workers == 0 {
                lanes.remove(&self.key);
            }
        }
        // Others may be at calls that last.
        if let Some(due) = self.next_due {
            self.dispatch.look_at(&self.key, due);
        }
    }
}

/// A call that a stop waits for, within its grace; after a panic too it is counted out.
struct Calling(Rc<PerCore>);

impl Calling {
    fn new(core: &Rc<PerCore>) -> Calling {
        core.sending.set(core.sending.get() + 1);
        Calling(core.clone())
    }
}

impl Drop for Calling {
    fn drop(&mut self) {
        self.0.sending.set(self.0.sending.get() - 1);
    }
}

/// A hook whose payload is gone.
fn nothing(at: i64) -> Outcome {
    Outcome {
        result: HookResult {
            at,
            error: "there is nothing to be sent".into(),
            ..HookResult::default()
        },
        follows: Follows::Nothing,
    }
}

pub(super) fn random() -> u64 {
    let mut octets = [0; 8];
    // Without any, what failed together comes back together.
    let _ = login::random(&mut octets);
    u64::from_be_bytes(octets)
}

/// The status, for counters.
fn code(result: &HookResult) -> &'static str {
    match result.code {
        0 => "error",
        200 => "200",
        201 => "201",
        202 => "202",
        204 => "204",
        301 => "301",
        302 => "302",
        307 => "307",
        308 => "308",
        400 => "400",
        401 => "401",
        403 => "403",
        404 => "404",
        405 => "405",
        408 => "408",
        410 => "410",
        413 => "413",
        422 => "422",
        429 => "429",
        500 => "500",
        501 => "501",
        502 => "502",
        503 => "503",
        504 => "504",
        other => match other / 100 {
            2 => "2xx",
            3 => "3xx",
            4 => "4xx",
            5 => "5xx",
            _ => "other",
        },
    }
}

/// Accounts whose turns are remembered, about.
const TURNS_MAX: usize = 1_000;
/// Seconds until rows are looked at again that could not be read or written.
const PAUSE_SECS: i64 = 10;
/// Between two looks at the time.
const SHORTEST_WAIT: Duration = Duration::from_millis(200);
const LONGEST_WAIT: Duration = Duration::from_secs(30);

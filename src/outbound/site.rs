//! A site as one core sees it: what the owner of its limits lends this core, its connections here, what is reported back.
//! Called by `staffing` and `carry`. Not here: the limits (`queue::sites`), who waits (`queue`).

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;
use std::time::{Duration, Instant};

use futures_channel::oneshot;
use shards::rt::{self, Event};

use crate::percore::monotonic;
use crate::queue::sites::{Asked, Kind, Messages, SiteReport};

/// A site.
pub(super) struct Site {
    pub name: Rc<str>,
    /// The transport that leads to it, for its limits.
    pub transport: Option<String>,
    /// Whether its limits are this core's alone, with nobody to ask.
    pub is_local: bool,
    /// Connections this core may have.
    pub lent: Cell<u32>,
    /// Others than this core get through, or somebody did lately.
    pub gets_through: Cell<bool>,
    /// It has refused a connection beside others: no new one until then.
    full_until: Cell<Option<Instant>>,
    /// Tasks that have one or are about to make it.
    pub tasks: Cell<u32>,
    /// Those of them whose connection a server has let in.
    pub links: Cell<u32>,
    /// For how many messages of each account they work.
    pub serving: RefCell<HashMap<u32, u32>>,
    /// Those of them that wait for a message.
    idle: RefCell<VecDeque<oneshot::Sender<()>>>,
    report: RefCell<SiteReport>,
    /// Messages this core may begin; none: as many as there are.
    pub messages: Cell<Option<u32>>,
    /// Left alone until then, and why.
    pub paused: RefCell<Option<(Instant, String)>>,
    /// Those of them that have not looked for a message yet.
    pub coming: Cell<u32>,
    /// A server has let in a connection of this core, and none has failed since.
    pub answers: Cell<bool>,
    /// Why nobody was reached there at last, until somebody is.
    pub trouble: RefCell<Option<String>>,
    /// Accounts for whose mail it stands in line for a connection of this core.
    pub wanted_by: RefCell<Vec<u32>>,
    /// No more connections are made until then, for want of an address of ours to begin at, and why.
    held: RefCell<Option<(Instant, String)>>,
    /// Tasks that wait for a connection from an address of a pool, and why.
    waits: RefCell<(u32, String)>,
    /// Somebody looks after it.
    pub is_managed: Cell<bool>,
    /// The owner of its limits counts this core among those who want connections.
    pub is_borrower: Cell<bool>,
    /// Nobody looks after it until then.
    pub rests_until: Cell<Option<Instant>>,
    /// It has to be looked at now.
    pub wake: Event,
}

impl Site {
    pub fn new(name: Rc<str>, transport: Option<String>, is_local: bool) -> Site {
        Site {
            name,
            transport,
            is_local,
            lent: Cell::new(0),
            gets_through: Cell::new(false),
            full_until: Cell::new(None),
            tasks: Cell::new(0),
            links: Cell::new(0),
            serving: RefCell::default(),
            idle: RefCell::default(),
            report: RefCell::default(),
            messages: Cell::new(None),
            paused: RefCell::default(),
            coming: Cell::new(0),
            answers: Cell::new(is_local),
            trouble: RefCell::default(),
            wanted_by: RefCell::default(),
            held: RefCell::default(),
            waits: RefCell::default(),
            is_managed: Cell::new(false),
            is_borrower: Cell::new(false),
            rests_until: Cell::new(None),
            wake: Event::new(),
        }
    }

    /// Why nothing is sent to it now.
    pub fn pause(&self) -> Option<(Duration, String)> {
        let paused = self.paused.borrow();
        let (until, reason) = paused.as_ref()?;
        let left = until.checked_duration_since(monotonic())?;
        (!left.is_zero()).then(|| (left, reason.clone()))
    }

    /// For how long nobody needs to look after it, if it has no connections: nothing is sent to it, and there is nothing to tell.
    pub fn rest(&self) -> Option<Duration> {
        if *self.report.borrow() != SiteReport::default() {
            return None;
        }
        let held = || {
            let held = self.held.borrow();
            held.as_ref()
                .and_then(|(until, _)| until.checked_duration_since(monotonic()))
        };
        let pause = self.pause().map(|(left, _)| left).or_else(held)?;
        Some(pause.clamp(REST_MIN, REST_MAX))
    }

    /// Makes no more connections for a while; those that there are go on.
    pub fn hold(&self, wait: Duration, reason: String) {
        *self.held.borrow_mut() = Some((monotonic() + wait, reason));
    }

    /// A task waits for a connection from an address of a pool.
    pub fn waits_for_address(&self, reason: String) {
        let mut waits = self.waits.borrow_mut();
        *waits = (waits.0 + 1, reason);
        self.wake.notify();
    }

    /// It waits no more.
    pub fn waits_no_more(&self) {
        let mut waits = self.waits.borrow_mut();
        waits.0 = waits.0.saturating_sub(1);
    }

    /// Why tasks have no connection, if they wait for an address.
    pub fn waits(&self) -> Option<String> {
        let waits = self.waits.borrow();
        (waits.0 > 0).then(|| waits.1.clone())
    }

    /// Whether connections may be made now.
    pub fn may_connect(&self) -> bool {
        self.pause().is_none() && self.held().is_none() && !self.is_full()
    }

    /// Why no connection is made now, for want of an address of ours.
    pub fn held(&self) -> Option<String> {
        let held = self.held.borrow();
        let (until, reason) = held.as_ref()?;
        (*until > monotonic()).then(|| reason.clone())
    }

    /// Wakes one who waits for a message; false: nobody does.
    pub fn wake_one(&self) -> bool {
        loop {
            let Some(next) = self.idle.borrow_mut().pop_front() else {
                return false;
            };
            // One that gave up is passed over.
            if next.send(()).is_ok() {
                return true;
            }
        }
    }

    fn idle_count(&self) -> u32 {
        let idle = self.idle.borrow();
        idle.iter().filter(|waits| !waits.is_canceled()).count() as u32
    }

    /// Wakes all who wait: they are not needed, or shall look.
    pub fn wake_all(&self) {
        while self.wake_one() {}
    }

    /// Waits for a message; false: none came in time.
    pub async fn wait(&self, limit: Duration) -> bool {
        let (sender, receiver) = oneshot::channel();
        self.idle.borrow_mut().push_back(sender);
        let woken = rt::timeout(limit, receiver).await;
        matches!(woken, Ok(Ok(())))
    }

    pub fn accepted(&self, messages: u32) {
        self.report.borrow_mut().accepted += messages;
    }

    /// Whether another message may be begun; it counts as begun then.
    pub fn begin_message(&self) -> bool {
        let Some(left) = self.messages.get() else {
            return true;
        };
        self.messages.set(Some(left.saturating_sub(1)));
        left > 0
    }

    /// One that was begun did not come to the site.
    pub fn give_back(&self) {
        let left = self.messages.get();
        self.messages.set(left.map(|left| left.saturating_add(1)));
    }

    /// What may be begun while the owner of the limits does not answer.
    pub fn nothing(&self) -> Option<Messages> {
        self.messages.get().map(|_| Messages {
            count: 0,
            reason: "nobody answers who knows the site's rate".to_owned(),
        })
    }

    pub fn overloaded(&self, said: String) {
        let mut report = self.report.borrow_mut();
        report.overloads += 1;
        report.overload = Some(said);
    }

    /// A rule asks for something; told at once.
    pub fn ask(&self, asked: Asked) {
        if asked.kind == Kind::Pause {
            // Its tasks here stop before the owner has answered.
            let reason = asked.kind.reason(&asked.cause);
            *self.paused.borrow_mut() = Some((monotonic() + asked.length, reason));
        }
        let all = &mut self.report.borrow_mut().asked;
        if all.len() < ASKED_MAX {
            all.push(asked);
            self.wake.notify();
        }
    }

    /// A connection was refused for now, by one that says there is too much for it. True: it has others, so that says nothing of the
    /// message, which goes over one of them; or it is to go on for one (`is_anew`) that the site has just ended, and may count still.
    pub fn is_refused_beside_others(&self, reason: &str, is_anew: bool) -> bool {
        // The caller's own task is one of them. With all refused, the last one finds itself alone.
        let here = self.tasks.get() > 1;
        if !here && !self.gets_through.get() && !is_anew {
            return false;
        }
        self.full_until.set(Some(monotonic() + FULL_FOR));
        match here {
            true => self.overloaded(reason.to_owned()),
            // Whether the others get through the owner of the site knows.
            false => self.unreachable(reason),
        }
        // How many it bears, too.
        self.report.borrow_mut().refused = Some(reason.to_owned());
        self.wake.notify();
        true
    }

    /// Whether it has as many connections as it bears.
    pub fn is_full(&self) -> bool {
        self.full_until
            .get()
            .is_some_and(|until| until > monotonic())
    }

    /// It could not be reached; told at once.
    pub fn unreachable(&self, reason: &str) {
        *self.trouble.borrow_mut() = Some(reason.to_owned());
        self.report.borrow_mut().unreachable = Some(reason.to_owned());
        self.wake.notify();
    }

    /// What the owner is to know. Until it answers nothing is begun where there is a rate.
    pub fn take_report(&self, ready: usize) -> SiteReport {
        let unused = self.messages.get().unwrap_or(0);
        self.messages.set(self.messages.get().map(|_| 0));
        SiteReport {
            ready: u32::try_from(ready).unwrap_or(u32::MAX),
            open: self.tasks.get(),
            links: self.links.get(),
            idle: self.idle_count(),
            unused,
            ..self.report.take()
        }
    }
}

/// How long a site is asked for no more connections when it has refused one.
const FULL_FOR: Duration = Duration::from_secs(1);
/// One that rests is looked after again after so long: others may have found that it is there again.
const REST_MAX: Duration = Duration::from_secs(60);
/// Shorter ones are not worth it.
const REST_MIN: Duration = Duration::from_millis(100);
/// Of one report: what they ask for is the same, most of the time.
const ASKED_MAX: usize = 4;

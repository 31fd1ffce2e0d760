//! A site as one core sees it: what the owner of its limits lends this core, its connections here, what is reported back.
//! Called by `dispatch` and `carry`. Not here: the limits (`queue::sites`), who waits (`queue`).

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::{Duration, Instant};

use futures_channel::oneshot;
use shards::rt::{self, Event};

use crate::percore::monotonic;
use crate::queue::sites::SiteReport;

/// A site.
pub(super) struct Site {
    pub name: Rc<str>,
    /// The transport that leads to it, for its limits.
    pub transport: Option<String>,
    /// Whether its limits are this core's alone, with nobody to ask.
    pub is_local: bool,
    /// Connections this core may have.
    pub lent: Cell<u32>,
    /// Tasks that have one or are about to make it.
    pub tasks: Cell<u32>,
    /// Those of them that wait for a message.
    idle: RefCell<VecDeque<oneshot::Sender<()>>>,
    report: RefCell<SiteReport>,
    /// Left alone until then, and why.
    pub paused: RefCell<Option<(Instant, String)>>,
    /// It stands in line for connections of this core.
    pub is_starving: Cell<bool>,
    /// Somebody looks after it.
    pub is_managed: Cell<bool>,
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
            tasks: Cell::new(0),
            idle: RefCell::default(),
            report: RefCell::default(),
            paused: RefCell::default(),
            is_starving: Cell::new(false),
            is_managed: Cell::new(false),
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

    pub fn overloaded(&self) {
        self.report.borrow_mut().overloads += 1;
    }

    /// It could not be reached; told at once.
    pub fn unreachable(&self, reason: &str) {
        self.report.borrow_mut().unreachable = Some(reason.to_owned());
        self.wake.notify();
    }

    /// What the owner is to know.
    pub fn take_report(&self, ready: usize) -> SiteReport {
        SiteReport {
            ready: u32::try_from(ready).unwrap_or(u32::MAX),
            open: self.tasks.get(),
            idle: self.idle_count(),
            ..self.report.take()
        }
    }
}

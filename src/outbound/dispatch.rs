//! Who works on what: looks at the time and at who has come in line, and has a few tasks for each domain that take what is due.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use shards::faults::point;
use shards::rt;

use super::{ROOM, local, notice, outcome};
use crate::percore::PerCore;
use crate::queue::{self, Work};

/// Begins to send what is in the queue of this core.
pub fn start(core: &Rc<PerCore>) {
    for shard in core.shards.clone() {
        let core = core.clone();
        rt::spawn(&ROOM, async move {
            match queue::resume(&core.queue, &shard).await {
                Ok(0) => (),
                Ok(recipients) => {
                    tracing::info!(shard = %shard.id(), recipients, "the queue goes on where it was");
                }
                Err(error) => {
                    tracing::error!(shard = %shard.id(), %error, "the queue could not be read; what is not read waits for the next start");
                }
            }
            while let Some(message) = core.queue.take_owing().await {
                notice::tell(&core, &message).await;
            }
        });
    }
    let dispatch = Rc::new(Dispatch {
        core: core.clone(),
        tasks: RefCell::default(),
    });
    rt::spawn(&ROOM, async move { dispatch.run().await });
}

struct Dispatch {
    core: Rc<PerCore>,
    /// By domain.
    tasks: RefCell<HashMap<Box<str>, usize>>,
}

impl Dispatch {
    async fn run(self: Rc<Self>) {
        let queue = self.core.queue.clone();
        // Nothing goes out before the server serves: a delivery may be to an account of ours.
        self.core.prepared().await;
        let mut swept = crate::percore::monotonic();
        while !self.core.draining.get() {
            let seen = queue.changed.count();
            let (domains, next) = queue.advance();
            for domain in domains {
                self.rouse(domain);
            }
            let wait = next.unwrap_or(SWEEP_EVERY).clamp(LEAST_WAIT, SWEEP_EVERY);
            let _ = rt::timeout(wait, queue.changed.wait(seen)).await;
            if swept.elapsed() >= SWEEP_EVERY {
                swept = crate::percore::monotonic();
                self.sweep().await;
            }
        }
    }

    /// Has tasks work on a domain.
    fn rouse(self: &Rc<Self>, domain: Box<str>) {
        let ready = self.core.queue.ready_for(&domain);
        let more = {
            let mut tasks = self.tasks.borrow_mut();
            let working = tasks.get(&domain).copied().unwrap_or(0);
            let more = ready.min(TASKS_MAX).saturating_sub(working);
            if more > 0 {
                tasks.insert(domain.clone(), working + more);
            }
            more
        };
        // A task begins at once, within what spawns it, and may end so.
        for _ in 0..more {
            let (dispatch, domain) = (self.clone(), domain.clone());
            rt::spawn(&ROOM, async move { dispatch.serve(domain).await });
        }
    }

    /// Takes one after the other.
    async fn serve(self: Rc<Self>, domain: Box<str>) {
        let _task = Task(&self, &domain);
        while !self.core.draining.get() {
            let Some(work) = self.core.queue.take(&domain, RECIPIENTS_MAX).await else {
                return;
            };
            self.attempt(work).await;
        }
    }

    async fn attempt(&self, work: Work) {
        let _sending = Sending::new(&self.core);
        let (outcomes, delivered) = local::attempt(&self.core, &work).await;
        let _ = point("outbound.attempted");
        outcome::record(&self.core, work, outcomes).await;
        local::forget(&self.core, delivered).await;
    }

    /// Gives up those who stood in line too long.
    async fn sweep(&self) {
        for domain in self.core.queue.domains_in_line() {
            for work in self.core.queue.take_expired(&domain).await {
                outcome::expire(&self.core, work).await;
            }
            rt::yield_if_needed().await;
        }
    }
}

/// An attempt under way: a stop waits for it, for what was sent and not recorded is sent again.
struct Sending<'a>(&'a PerCore);

impl<'a> Sending<'a> {
    fn new(core: &'a PerCore) -> Sending<'a> {
        core.sending.set(core.sending.get() + 1);
        Sending(core)
    }
}

impl Drop for Sending<'_> {
    fn drop(&mut self) {
        self.0.sending.set(self.0.sending.get() - 1);
    }
}

/// A task of a domain; after a panic too it is counted out.
struct Task<'a>(&'a Dispatch, &'a str);

impl Drop for Task<'_> {
    fn drop(&mut self) {
        let mut tasks = self.0.tasks.borrow_mut();
        if let Some(working) = tasks.get_mut(self.1) {
            *working -= 1;
            if *working == 0 {
                tasks.remove(self.1);
            }
        }
    }
}

/// Tasks that work on one domain.
const TASKS_MAX: usize = 8;
/// Recipients of a message in one work.
const RECIPIENTS_MAX: usize = 100;
/// How often those are looked for who stand in line too long.
const SWEEP_EVERY: Duration = Duration::from_secs(60);
/// Between two looks at the time: due times are whole seconds.
const LEAST_WAIT: Duration = Duration::from_millis(200);

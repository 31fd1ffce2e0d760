//! Who comes in line and where a line leads: looks at the time, finds out about lines, and gives up those who stand there for too long.
//! Not here: who works for a site (`staffing`), what a connection does (`carry`).

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::future::Future;
use std::rc::Rc;
use std::time::{Duration, Instant};

use dns::Name;
use futures_lite::future::or;
use message::MessageDate;
use shards::rt::{self, FairMemory, FairTurns};

use super::crowded::Crowded;
use super::destination::{Ended, Hop, find};
use super::lookups::{Lookup, Lookups};

use super::outcome::Outcome;
use super::places::Places;
use super::pool::Pools;
use super::resting::Resting;
use super::site::Site;
use super::{ROOM, outcome, tellers};
use crate::percore::{PerCore, monotonic};
use crate::queue::retry::Verdict;
use crate::queue::rows::{Attempt, AttemptStage};
use crate::queue::{self, Operation, Pause, Work, all};
use crate::tls_policy::StsAnswer;

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
        });
    }
    let teller = core.clone();
    rt::spawn(&ROOM, async move { tellers::serve(&teller).await });
    let dispatch = Rc::new(Dispatch {
        resting: Resting::default(),
        core: core.clone(),
        sites: RefCell::default(),
        lines: RefCell::default(),
        policies_anew: RefCell::default(),
        reroutings: Cell::new(0),
        places: Rc::default(),
        strikes: RefCell::default(),
        memory: Rc::default(),
        crowded: RefCell::default(),
        pools: Rc::default(),
        is_sweeping: Cell::new(false),
        looking_again: RefCell::default(),
        again: Rc::default(),
        lookups: Rc::default(),
    });
    let rested = dispatch.clone();
    rt::spawn(&ROOM, async move { rested.wake_the_rested().await });
    rt::spawn(&ROOM, async move { dispatch.run().await });
}

pub(super) struct Dispatch {
    pub core: Rc<PerCore>,
    pub sites: RefCell<HashMap<Rc<str>, Rc<Site>>>,
    /// Those of them that nobody looks after for a while.
    pub resting: Resting,
    pub lines: RefCell<HashMap<Rc<str>, Known>>,
    /// Lines whose domain's policy of MTA-STS has to be looked at again before their mail is failed because of it. RFC 8461 5.1.
    policies_anew: RefCell<HashSet<Rc<str>>>,
    /// How often routes have changed.
    pub reroutings: Cell<u64>,
    /// Connections of all sites, on this core.
    pub places: Rc<Places>,
    /// How often in a row a line had to be left alone, though its site is there.
    strikes: RefCell<HashMap<Rc<str>, u32>>,
    /// Messages in memory while servers take them.
    pub memory: Rc<FairMemory<u32>>,
    /// Who has too many messages in line that are to be made.
    pub crowded: RefCell<Crowded>,
    /// Addresses of ours.
    pub pools: Rc<Pools>,
    /// Somebody looks for those who stand in line too long.
    is_sweeping: Cell<bool>,
    /// Lines that are found out about anew while their mail goes where it went.
    looking_again: RefCell<HashSet<Rc<str>>>,
    /// Accounts share that: names that nobody answers for keep others waiting for long.
    again: Rc<FairTurns<u32>>,
    /// Lines that wait to be found out about.
    lookups: Rc<Lookups>,
}

/// What is known of a line.
pub(super) enum Known {
    /// It waits to be looked for, after so many failures.
    Waiting(u32),
    /// It is being looked for.
    Looking,
    Found(Hop, Instant),
    /// It could not be found out; not again before then.
    Failed {
        until: Instant,
        failures: u32,
    },
}

impl Known {
    fn is_left_alone(&self, now: Instant) -> bool {
        matches!(self, Known::Failed { until, .. } if *until > now)
    }
}

impl Dispatch {
    async fn run(self: Rc<Self>) {
        let queue = self.core.queue.clone();
        // Nothing goes out before the server serves: a delivery may be to an account of ours.
        self.core.prepared().await;
        let mut swept = monotonic();
        while !self.core.draining.get() {
            let seen = queue.changed.count();
            let (lines, next) = queue.advance();
            for line in lines {
                self.rouse(line);
            }
            if queue.take_rerouted() {
                self.reroute();
            }
            for line in queue.take_kicked() {
                self.resume(line.into());
            }
            let wait = next.unwrap_or(SWEEP_EVERY).clamp(LEAST_WAIT, SWEEP_EVERY);
            let changed = async {
                queue.changed.wait(seen).await;
            };
            let happened = or(changed, self.core.drained());
            let _ = rt::timeout(wait, happened).await;
            if swept.elapsed() >= SWEEP_EVERY {
                swept = monotonic();
                self.sweep_later();
            }
        }
        let sites: Vec<Rc<Site>> = self.sites.borrow().values().cloned().collect();
        for site in sites {
            site.wake_all();
            site.wake.notify();
        }
    }

    /// Has somebody work on a line.
    fn rouse(self: &Rc<Self>, line: Rc<str>) {
        let known = {
            let lines = self.lines.borrow();
            match lines.get(&line) {
                None => None,
                Some(Known::Looking) => return,
                Some(Known::Waiting(_)) => {
                    drop(lines);
                    // For another account's mail, too.
                    self.enlist_line(&line);
                    return self.serve_lookups();
                }
                Some(known) if known.is_left_alone(monotonic()) => return,
                Some(Known::Failed { .. }) => None,
                Some(Known::Found(hop, _)) => Some(hop.clone()),
            }
        };
        match known {
            Some(hop @ Hop::Local) => self.join(&line, &hop),
            Some(Hop::Server(destination)) if destination.is_in_force(&self.core) => {
                self.join(&line, &Hop::Server(destination));
                self.look_anew(&line);
            }
            _ => self.look_for(line),
        }
    }

    /// Has a line that is left alone looked for at once: somebody wants its mail to be tried.
    fn resume(self: &Rc<Self>, line: Rc<str>) {
        let is_failed = matches!(self.lines.borrow().get(&line), Some(Known::Failed { .. }));
        if is_failed {
            self.lines.borrow_mut().remove(&line);
            self.strikes.borrow_mut().remove(&line);
            self.core.queue.set_reason(&line, None);
            self.policies_anew.borrow_mut().insert(line.clone());
            self.rouse(line);
        }
    }

    fn look_for(self: &Rc<Self>, line: Rc<str>) {
        let failures = match self.lines.borrow().get(&line) {
            Some(Known::Failed { failures, .. }) => *failures,
            _ => 0,
        };
        self.remember(&line, Known::Waiting(failures));
        // The connections of the site where its mail went would take it, and not know where it goes.
        self.core.queue.part(&line);
        let reason = "where its domain's mail goes waits to be looked up: others are before it";
        self.core
            .queue
            .set_reason(&line, Some(Pause::because(reason)));
        self.enlist_line(&line);
        self.serve_lookups();
    }

    /// Has a line looked for, and its domain's policy of MTA-STS.
    pub fn look_for_policy(self: &Rc<Self>, line: &Rc<str>) {
        self.policies_anew.borrow_mut().insert(line.clone());
        self.look_for(line.clone());
    }

    /// Puts a line in line to be looked for.
    fn enlist_line(&self, line: &Rc<str>) {
        let mut accounts = self.core.queue.accounts_in(line, ACCOUNTS_MAX);
        if accounts.is_empty() {
            // Somebody stood there just now.
            accounts.push(self.core.queue.account(""));
        }
        for account in accounts {
            self.lookups.wait(account, line);
        }
    }

    /// Has lines looked for, as many as may be at once: the other questions of the core have the rest.
    fn serve_lookups(self: &Rc<Self>) {
        let most = {
            let live = self.core.live();
            let most = live.settings.server.dns.questions_per_core_max as usize;
            (most - most / LOOKUPS_REST).max(1)
        };
        while !self.core.draining.get() {
            let Some((lookup, line)) = self.lookups.next(most) else {
                return;
            };
            let failures = match self.lines.borrow().get(&line) {
                Some(Known::Waiting(failures)) => *failures,
                // It was another account's turn before.
                _ => continue,
            };
            self.remember(&line, Known::Looking);
            let reason = Pause::because("where its domain's mail goes is being looked up");
            self.core.queue.set_reason(&line, Some(reason));
            let dispatch = self.clone();
            start_later(async move { dispatch.find_out(line, failures, lookup).await });
        }
    }

    /// Finds out where a line leads. Where it leads nowhere, all who stand there hear it; if that can't be found out now, the first one does, and
    /// the others wait in line.
    async fn find_out(self: Rc<Self>, line: Rc<str>, failures: u32, lookup: Lookup) {
        let _looking = Looking(&self, &line);
        let is_anew = self.policies_anew.borrow_mut().remove(&line);
        let mut found = find(&self.core, &line).await;
        let domain = match &found {
            Ok(Hop::Server(destination)) => destination.domain.clone(),
            _ => None,
        };
        if let Some(domain) = domain {
            // Whoever sends has it at hand then: a connection that others share is not there to wait for one domain's servers.
            let account = self.core.queue.account_name(lookup.account());
            let reason = Pause::because("what its domain demands of TLS is being looked up");
            self.core.queue.set_reason(&line, Some(reason));
            if let Some(words) = self.policy_is_missing(&domain, &account, is_anew).await {
                found = Err(Ended {
                    verdict: Verdict::Temporary,
                    code: 0,
                    enhanced: (4, 7, 5),
                    text: words,
                });
            }
        }
        drop(lookup);
        self.serve_lookups();
        let end = match found {
            Ok(hop @ (Hop::Local | Hop::Server(_))) => {
                self.core.queue.set_reason(&line, None);
                self.remember(&line, Known::Found(hop.clone(), monotonic()));
                self.join(&line, &hop);
                return;
            }
            Ok(Hop::End(end)) | Err(end) => end,
        };
        let queue = &self.core.queue;
        queue.part(&line);
        if end.verdict == Verdict::Temporary {
            self.leave_alone(&line, failures, &end.text);
            if let Some(work) = queue.take_line(&line, RECIPIENTS_MAX).await {
                self.ended(work, &end).await;
            }
            return;
        }
        self.lines.borrow_mut().remove(&line);
        queue.set_reason(&line, None);
        while let Some(work) = queue.take_line(&line, RECIPIENTS_MAX).await {
            self.ended(work, &end).await;
            if self.core.draining.get() {
                return;
            }
        }
    }

    /// Finds out what a domain says by MTA-STS; answers in words why whoever sends would have to wait for that. A fetch may take longer than a core
    /// answers. What can't be read at all nobody waits for: messages that need no policy go without.
    async fn policy_is_missing(
        &self,
        domain: &Name,
        account: &str,
        is_anew: bool,
    ) -> Option<String> {
        let begun = monotonic();
        let mut answer = match is_anew {
            true => self.core.sts_anew(domain, account).await,
            false => self.core.sts(domain, account).await,
        };
        if matches!(answer, StsAnswer::Wait(_)) {
            answer = self.core.sts(domain, account).await;
        }
        match answer {
            StsAnswer::Wait(words) if begun.elapsed() >= self.core.call_limit() => Some(words),
            _ => None,
        }
    }

    /// Leaves a line alone for a while, longer each time; then it is looked for again.
    fn leave_alone(self: &Rc<Self>, line: &Rc<str>, failures: u32, reason: &str) {
        let pause = {
            let live = self.core.live();
            let outbound = &live.settings.server.outbound;
            let pause = outbound.pause_first_secs.duration() * 2u32.pow(failures.min(16));
            pause.min(outbound.pause_max_secs.duration())
        };
        let until = monotonic() + pause;
        let failures = failures + 1;
        self.remember(line, Known::Failed { until, failures });
        let reason = self.until(pause, reason);
        self.core.queue.set_reason(line, Some(reason));
        let (dispatch, line) = (self.clone(), line.clone());
        rt::spawn(&ROOM, async move {
            let over = async { rt::sleep(pause).await };
            or(over, dispatch.core.drained()).await;
            if dispatch.core.queue.ready_in(&line) > 0 && !dispatch.core.draining.get() {
                dispatch.rouse(line);
            }
        });
    }

    /// Why mail waits, and until when at least.
    pub fn until(&self, pause: Duration, reason: &str) -> Pause {
        let secs = i64::try_from(pause.as_secs()).unwrap_or(i64::MAX);
        let at = self.core.wall_clock().saturating_add(secs);
        let date = MessageDate::utc(at);
        Pause {
            words: format!("{reason}; nothing goes there before {date}").into(),
            until: Some(at),
        }
    }

    /// What a line's domain demands is not met, though others may send to the site. All who find that out at once count as one.
    pub fn strike(self: &Rc<Self>, line: &Rc<str>, reason: &str) {
        let is_known = {
            let lines = self.lines.borrow();
            lines
                .get(line)
                .is_some_and(|known| known.is_left_alone(monotonic()))
        };
        if is_known {
            return;
        }
        let strikes = self.strikes.borrow().get(line).copied().unwrap_or(0);
        self.strikes.borrow_mut().insert(line.clone(), strikes + 1);
        self.core.queue.part(line);
        self.leave_alone(line, strikes, reason);
    }

    /// Mail of a line was taken.
    pub fn forgive(&self, line: &str) {
        if !self.strikes.borrow().is_empty() {
            self.strikes.borrow_mut().remove(line);
        }
    }

    fn remember(&self, line: &Rc<str>, known: Known) {
        self.lines.borrow_mut().insert(line.clone(), known);
    }

    /// Where a line leads, as it was last found out; anew if the settings have changed since.
    pub async fn hop(&self, line: &Rc<str>) -> Option<Hop> {
        let known = match self.lines.borrow().get(line) {
            Some(Known::Found(hop, _)) => hop.clone(),
            _ => return None,
        };
        match &known {
            Hop::Server(destination) if !destination.is_in_force(&self.core) => (),
            _ => return Some(known),
        }
        let found = find(&self.core, line).await.ok()?;
        self.remember(line, Known::Found(found.clone(), monotonic()));
        Some(found)
    }

    /// Records what came of recipients without asking anybody.
    async fn ended(&self, work: Work, end: &Ended) {
        self.ended_at(work, end, None).await;
    }

    async fn ended_at(&self, mut work: Work, end: &Ended, stage: Option<AttemptStage>) {
        if let Some(held) = work.take_held() {
            outcome::expire(&self.core, held).await;
        }
        if work.recipients.is_empty() {
            return;
        }
        let outcome = |index: &u32| Outcome {
            index: *index,
            verdict: end.verdict,
            attempt: Attempt {
                at: self.core.wall_clock(),
                took_ms: 0,
                remote: String::new(),
                code: end.code,
                enhanced: Some(end.enhanced),
                text: end.text.clone(),
                stage,
            },
        };
        let outcomes = work.recipients.iter().map(outcome).collect();
        outcome::record(&self.core, work, outcomes).await;
    }

    fn join(self: &Rc<Self>, line: &Rc<str>, hop: &Hop) {
        let (name, transport, is_local) = match hop {
            Hop::Server(destination) => (
                destination.site.clone(),
                destination.transport.clone(),
                false,
            ),
            _ => (line.clone(), None, true),
        };
        self.core.queue.join(line, &name);
        let site = self.sites.borrow().get(&name).cloned();
        let site = site.unwrap_or_else(|| {
            let site = Rc::new(Site::new(name.clone(), transport, is_local));
            self.sites.borrow_mut().insert(name, site.clone());
            site
        });
        self.rouse_site(&site);
    }

    /// Begins a sweep, unless one is under way. Nobody waits for it: it may have a million to tell of.
    fn sweep_later(self: &Rc<Self>) {
        if self.is_sweeping.replace(true) {
            return;
        }
        let dispatch = self.clone();
        rt::spawn(&ROOM, async move {
            let _sweeping = Sweeping(&dispatch);
            dispatch.sweep().await;
        });
    }

    /// Gives up those whose time is over while they stood in line, and sees to it that senders hear of mail that waits there; finds out anew about
    /// lines.
    async fn sweep(self: &Rc<Self>) {
        self.look_again();
        let queue = &self.core.queue;
        let patience = {
            let live = self.core.live();
            let queue = &live.settings.server.queue;
            queue.delay_notice_after_secs.duration().as_secs() as i64
        };
        for line in queue.lines_in_use() {
            loop {
                let mut late = queue.take_late(&line, patience).await.into_iter();
                let mut is_none = true;
                // Some together: they share syncs.
                loop {
                    let some = late.by_ref().take(LATE_AT_ONCE).map(|work| {
                        let (dispatch, line) = (self.clone(), line.clone());
                        Box::pin(async move {
                            dispatch.late(&line, work).await;
                            Ok(())
                        }) as Operation
                    });
                    let some: Vec<_> = some.collect();
                    if some.is_empty() {
                        break;
                    }
                    is_none = false;
                    let _ = all(some).await;
                }
                if is_none || self.core.draining.get() {
                    break;
                }
            }
            rt::yield_if_needed().await;
        }
        // Lines that nobody stands in are found out about again.
        let is_used = |line: &Rc<str>, known: &Known| match known {
            Known::Waiting(_) | Known::Looking => true,
            Known::Found(_, at) => at.elapsed() < FORGET_AFTER || queue.ready_in(line) > 0,
            Known::Failed { until, .. } => *until + FORGET_AFTER > monotonic(),
        };
        let mut lines = self.lines.borrow_mut();
        lines.retain(|line, known| is_used(line, known));
        let mut strikes = self.strikes.borrow_mut();
        strikes.retain(|line, _| lines.contains_key(line));
        let mut anew = self.policies_anew.borrow_mut();
        anew.retain(|line| lines.contains_key(line));
        let sites = self.sites.borrow();
        queue.forget_reasons(
            |line| lines.contains_key(line),
            |site| sites.contains_key(site),
        );
    }

    /// Finds out anew where lines lead that somebody stands in all the time, once DNS says that what was found no longer holds. Does not wait.
    fn look_again(self: &Rc<Self>) {
        for line in self.core.queue.lines_in_use() {
            self.look_anew(&line);
        }
    }

    /// The same of one line, also if somebody comes to stand in it now.
    fn look_anew(self: &Rc<Self>, line: &Rc<str>) {
        if !self.is_stale(line) || !self.looking_again.borrow_mut().insert(line.clone()) {
            return;
        }
        let (dispatch, line) = (self.clone(), line.clone());
        rt::spawn(&ROOM, async move {
            let _again = LookingAgain(&dispatch, &line);
            let account = dispatch.core.queue.accounts_in(&line, 1).pop().unwrap_or(0);
            let _turn = dispatch.again.take(&account, STALE_AT_ONCE).await;
            if !dispatch.core.draining.get() {
                dispatch.find_anew(&line).await;
            }
        });
    }

    fn is_stale(&self, line: &Rc<str>) -> bool {
        let lines = self.lines.borrow();
        matches!(lines.get(line), Some(Known::Found(Hop::Server(found), _)) if !found.is_fresh())
    }

    /// Meanwhile its mail goes where it went, and if DNS does not answer now, longer.
    async fn find_anew(self: &Rc<Self>, line: &Rc<str>) {
        let found = find(&self.core, line).await;
        if !self.is_stale(line) {
            return;
        }
        match found {
            Ok(hop @ (Hop::Local | Hop::Server(_))) => {
                self.remember(line, Known::Found(hop.clone(), monotonic()));
                self.join(line, &hop);
            }
            Ok(Hop::End(end)) | Err(end) if end.verdict != Verdict::Temporary => {
                self.look_for(line.clone());
            }
            Ok(Hop::End(_)) | Err(_) => (),
        }
    }

    /// Why nobody was reached where a line leads.
    fn trouble(&self, line: &Rc<str>) -> Option<String> {
        let site = match self.lines.borrow().get(line) {
            Some(Known::Found(Hop::Server(destination), _)) => destination.site.clone(),
            _ => return None,
        };
        let site = self.sites.borrow().get(&site).cloned();
        site?.trouble.borrow().clone()
    }

    /// Gives up one who stood in line for too long, or puts on record that he waits there.
    async fn late(&self, line: &Rc<str>, work: Work) {
        let now = self.core.wall_clock();
        if work.message.are_late(&work.recipients, now) {
            return outcome::expire(&self.core, work).await;
        }
        let reason = self.core.queue.reason(line).map(|pause| pause.words);
        let reason = reason.or_else(|| Some(self.trouble(line)?.into()));
        let reason = reason.unwrap_or_else(|| "many wait before it".into());
        let end = Ended {
            verdict: Verdict::Temporary,
            code: 0,
            enhanced: (4, 4, 7),
            text: format!("not tried: {reason}"),
        };
        self.ended_at(work, &end, Some(AttemptStage::Line)).await;
    }
}

/// A task begins within what spawns it, and may end so, and then start others: thousands of them would lie on one stack. These begin in
/// turns of their own.
pub(super) fn start_later(task: impl Future<Output = ()> + 'static) {
    rt::spawn(&ROOM, async move {
        rt::yield_now().await;
        task.await;
    });
}

/// Ends the search for a line, after a panic too, when the next may begin.
struct Looking<'a>(&'a Rc<Dispatch>, &'a Rc<str>);

impl Drop for Looking<'_> {
    fn drop(&mut self) {
        let mut lines = self.0.lines.borrow_mut();
        if matches!(lines.get(self.1), Some(Known::Looking)) {
            lines.remove(self.1);
        }
        drop(lines);
        self.0.serve_lookups();
    }
}

/// Ends a sweep, after a panic too.
struct Sweeping<'a>(&'a Dispatch);

impl Drop for Sweeping<'_> {
    fn drop(&mut self) {
        self.0.is_sweeping.set(false);
    }
}

/// Ends a search, after a panic too.
struct LookingAgain<'a>(&'a Dispatch, &'a Rc<str>);

impl Drop for LookingAgain<'_> {
    fn drop(&mut self) {
        self.0.looking_again.borrow_mut().remove(self.1);
    }
}

/// Accounts for whose mail a site or a line waits at once; the others have their turn there later.
pub(super) const ACCOUNTS_MAX: usize = 16;
/// One in so many of a core's questions is left to others than those for lines that nothing is known of.
const LOOKUPS_REST: usize = 4;
/// Recipients of a message that are taken at once where nobody is asked.
const RECIPIENTS_MAX: usize = 100;
/// How often those are looked for who stand in line too long.
const SWEEP_EVERY: Duration = Duration::from_secs(60);
/// Messages that are recorded at once of those that stand in line too long.
const LATE_AT_ONCE: usize = 32;
/// Of those lines at once.
const STALE_AT_ONCE: usize = 32;
/// Between two looks at the time: due times are whole seconds.
const LEAST_WAIT: Duration = Duration::from_millis(200);
/// How long something is known of a line that nobody stands in.
const FORGET_AFTER: Duration = Duration::from_secs(600);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_left_alone_until_its_pause_is_over() {
        let until = monotonic();
        let failed = Known::Failed { until, failures: 1 };
        assert!(!failed.is_left_alone(until) && !Known::Looking.is_left_alone(until));
        // Whoever fails meanwhile makes no longer pause of it.
        assert!(failed.is_left_alone(until - Duration::from_millis(1)));
    }
}

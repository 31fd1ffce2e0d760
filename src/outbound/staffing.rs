//! Who works where: sees to it that a site has as many connections as its limits allow, as long as somebody waits there. A site has to have a place
//! for one of the core's connections before anybody looks after it: of a hundred thousand, those that are not served ask nobody.
//! Not here: where a line leads (`dispatch`), what a connection does (`carry`), what a site bears (`queue::sites`).

use std::rc::Rc;
use std::time::Duration;

use futures_lite::future::or;
use shards::rt;

use super::dispatch::{ACCOUNTS_MAX, Dispatch, start_later};
use super::places::Place;
use super::site::Site;
use crate::calls::{Answer, Call};
use crate::percore::monotonic;
use crate::queue::Pause;
use crate::queue::sites::{Lent, SiteReport};

impl Dispatch {
    /// Has somebody look after a site.
    pub(super) fn rouse_site(self: &Rc<Self>, site: &Rc<Site>) {
        if site.wake_one() {
            return;
        }
        match site.is_local && !site.is_managed.get() {
            // It has nobody to ask.
            true => self.look_after(site, None),
            false => self.staff(site),
        }
        if !site.is_managed.get() {
            self.say_why_not(site);
        }
    }

    fn look_after(self: &Rc<Self>, site: &Rc<Site>, place: Option<Place>) {
        site.is_managed.set(true);
        let (dispatch, site) = (self.clone(), site.clone());
        start_later(async move { dispatch.manage(site, place).await });
    }

    /// Looks after a site as long as anybody waits there who may be served, or is connected. `place`: for its first connection.
    async fn manage(self: Rc<Self>, site: Rc<Site>, mut place: Option<Place>) {
        let _managed = Managed(&self, &site);
        loop {
            let seen = site.wake.count();
            let changes = self.core.sites_changed.count();
            let waits = self.core.queue.ready_for(&site.name);
            let is_idle = site.tasks.get() == 0 && place.is_none();
            // Without a place it asks for nothing.
            let stands_in_line = is_idle && !site.wanted_by.borrow().is_empty();
            let ready = if stands_in_line { 0 } else { waits };
            let report = site.take_report(ready);
            let is_over = is_idle && ready == 0 && report == SiteReport::default();
            if is_over && !site.is_borrower.get() {
                return;
            }
            site.is_borrower.set(report.ready + report.open > 0);
            let lent = self.borrow(&site, report).await;
            let again = lent.again;
            let reason = self.apply(&site, lent);
            self.core
                .queue
                .set_reason_of_site(&site.name, reason.clone());
            if let Some(place) = place.take() {
                match self.wants(&site) {
                    true => self.begin(&site, place),
                    false => {
                        drop(place);
                        self.serve();
                    }
                }
            }
            let is_idle = || site.tasks.get() == 0;
            if is_idle() && (stands_in_line || self.core.queue.ready_for(&site.name) == 0) {
                continue;
            }
            let is_asked_anew = self.core.sites_changed.count() != changes;
            if let Some(rest) = site.rest().filter(|_| is_idle() && !is_asked_anew) {
                return self.rest(&site, rest);
            }
            self.staff(&site);
            if reason.is_none() {
                self.say_why_not(&site);
            }
            if is_idle() && !site.wanted_by.borrow().is_empty() {
                continue;
            }
            rt::sleep(LEAST_PAUSE).await;
            let changed = self.core.sites_changed.wait(changes);
            let woken = or(site.wake.wait(seen), changed);
            let _ = rt::timeout(again, woken).await;
            if self.core.draining.get() && site.tasks.get() == 0 {
                return;
            }
        }
    }

    /// Nobody looks after it for so long.
    fn rest(&self, site: &Site, rest: Duration) {
        let until = monotonic() + rest;
        site.rests_until.set(Some(until));
        self.resting.add(until, site.name.clone());
    }

    /// Has sites looked after again that have rested: when their time has come, or when somebody has changed what is done about sites.
    pub(super) async fn wake_the_rested(self: Rc<Self>) {
        let mut changes = self.core.sites_changed.count();
        while !self.core.draining.get() {
            let seen = self.resting.changed.count();
            if self.core.sites_changed.count() != changes {
                changes = self.core.sites_changed.count();
                for site in self.resting.take() {
                    self.wake_rested(&site);
                    rt::yield_if_needed().await;
                }
            }
            let wait = loop {
                match self.resting.next(monotonic()) {
                    Ok(site) => self.wake_rested(&site),
                    Err(wait) => break wait.unwrap_or(REST_MAX),
                }
                rt::yield_if_needed().await;
            };
            let changed = async {
                self.core.sites_changed.wait(changes).await;
            };
            let added = async {
                self.resting.changed.wait(seen).await;
            };
            let happened = or(or(changed, added), self.core.drained());
            let _ = rt::timeout(wait, happened).await;
        }
    }

    fn wake_rested(self: &Rc<Self>, name: &str) {
        let site = self.sites.borrow().get(name).cloned();
        let Some(site) = site else { return };
        site.rests_until.set(None);
        match self.core.queue.ready_for(name) {
            0 => self.forget(&site),
            _ => self.rouse_site(&site),
        }
    }

    /// Forgets a site that nobody needs.
    fn forget(&self, site: &Site) {
        let is_used = site.is_managed.get()
            || site.tasks.get() > 0
            || !site.wanted_by.borrow().is_empty()
            || site.rests_until.get().is_some()
            || self.core.queue.ready_for(&site.name) > 0;
        if !is_used {
            self.sites.borrow_mut().remove(&site.name);
        }
    }

    fn begin(self: &Rc<Self>, site: &Rc<Site>, place: Place) {
        site.tasks.set(site.tasks.get() + 1);
        site.coming.set(site.coming.get() + 1);
        let (dispatch, site) = (self.clone(), site.clone());
        start_later(async move { dispatch.carry(site, place).await });
    }

    async fn borrow(&self, site: &Site, report: SiteReport) -> Lent {
        if site.is_local {
            return Lent {
                connections: LOCAL_TASKS,
                gets_through: false,
                pause: None,
                messages: None,
                again: LENT_AGAIN,
            };
        }
        let call = Call::Borrow {
            site: site.name.to_string(),
            transport: site.transport.clone(),
            core: self.core.id,
            report,
        };
        let owner = self.core.owner_of(&site.name);
        match self.core.call(owner, call).await {
            Ok(Answer::Lent(lent)) => lent,
            // What was lent holds until something else is heard.
            _ => Lent {
                connections: site.lent.get(),
                gets_through: site.gets_through.get(),
                pause: site.pause(),
                messages: site.nothing(),
                again: LENT_AGAIN,
            },
        }
    }

    /// Answers why those that wait there do, if the owner of the limits says so.
    fn apply(&self, site: &Site, lent: Lent) -> Option<Pause> {
        site.lent.set(lent.connections);
        site.gets_through.set(lent.gets_through);
        let ready = self.core.queue.ready_for(&site.name);
        let reason = match (&lent.pause, &lent.messages) {
            (Some((pause, reason)), _) => Some(self.until(*pause, reason)),
            (None, Some(messages)) if (messages.count as usize) < ready => {
                Some(Pause::because(messages.reason.clone()))
            }
            _ => site.held().map(Pause::because),
        };
        // What is there was given back since it asked.
        let back = site.messages.get().unwrap_or(0);
        let count = lent.messages.map(|messages| messages.count);
        let count = count.map(|count| count.saturating_add(back));
        site.messages.set(count);
        for _ in 0..count.unwrap_or(0) {
            // One that waits for it; if nobody does, tasks are begun.
            if !site.wake_one() {
                break;
            }
        }
        *site.paused.borrow_mut() = lent
            .pause
            .map(|(pause, reason)| (monotonic() + pause, reason));
        if site.tasks.get() > lent.connections {
            site.wake_all();
        }
        reason
    }

    /// Starts tasks for those that wait, as many as may be.
    pub fn staff(self: &Rc<Self>, site: &Rc<Site>) {
        if self.wants(site) {
            self.enlist(site);
            self.serve();
        }
    }

    /// Whether a site is to have one more connection.
    fn wants(&self, site: &Site) -> bool {
        let ready = self.core.queue.ready_for(&site.name);
        if !site.is_managed.get() && !site.is_local {
            // One, with which the owner of its limits is asked.
            return ready > 0 && site.tasks.get() == 0 && site.rests_until.get().is_none();
        }
        let may_begin = site.messages.get().map_or(usize::MAX, |m| m as usize);
        // One that nobody has reached yet is tried with one.
        let most = match site.answers.get() {
            true => site.lent.get(),
            false => site.lent.get().min(1),
        };
        ready.min(may_begin) > site.coming.get() as usize
            && site.tasks.get() < most
            && site.may_connect()
    }

    /// Puts a site in line for connections of this core.
    fn enlist(&self, site: &Rc<Site>) {
        let accounts = self.core.queue.accounts_at(&site.name, ACCOUNTS_MAX);
        for account in accounts {
            self.places.wait(account, site);
        }
    }

    /// Gives out connections that are free.
    pub fn serve(self: &Rc<Self>) {
        let most = self.connections_max();
        while !self.core.draining.get() {
            let Some((place, site)) = self.places.next(most) else {
                return;
            };
            if !self.wants(&site) {
                drop(place);
                self.forget(&site);
                continue;
            }
            if self.core.queue.stands_at(&site.name, place.account()) {
                if site.is_local {
                    place.prove(true);
                }
                match site.is_managed.get() {
                    true => self.begin(&site, place),
                    false => self.look_after(&site, Some(place)),
                }
            }
            if self.wants(&site) {
                self.enlist(&site);
            }
        }
    }

    fn connections_max(&self) -> u32 {
        let live = self.core.live();
        live.settings.server.outbound.connections_per_core_max
    }

    /// Whether a connection that has nothing to do is needed elsewhere.
    pub fn are_connections_short(&self) -> bool {
        self.places.are_short(self.connections_max())
    }

    /// Says why a site has not more connections, if that is not its own doing.
    fn say_why_not(&self, site: &Site) {
        let is_tried = !site.answers.get() && site.tasks.get() > 0;
        let reason = match (site.waits(), site.wanted_by.borrow().is_empty()) {
            (Some(waits), _) => Pause::because(waits),
            (None, false) => Pause::because(self.places.reason(self.connections_max())),
            (None, true) if is_tried => Pause::because("a first connection there is being tried"),
            (None, true) => return,
        };
        self.core.queue.set_reason_of_site(&site.name, Some(reason));
    }

    /// A task of a site has ended, and given back its place.
    pub fn task_ended(self: &Rc<Self>, site: &Site) {
        site.tasks.set(site.tasks.get() - 1);
        site.wake.notify();
        self.serve();
    }
}

/// Ends the care for a site, after a panic too.
struct Managed<'a>(&'a Dispatch, &'a Rc<Site>);

impl Drop for Managed<'_> {
    fn drop(&mut self) {
        self.1.is_managed.set(false);
        self.1.lent.set(0);
        self.0.forget(self.1);
    }
}

/// Tasks of a line in `localserve`.
const LOCAL_TASKS: u32 = 8;
/// Between two questions to the owner of a site.
const LEAST_PAUSE: Duration = Duration::from_millis(10);
const LENT_AGAIN: Duration = Duration::from_secs(1);
/// Between two looks at those that rest, where none does.
const REST_MAX: Duration = Duration::from_secs(60);

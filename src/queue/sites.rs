//! How many connections each core may have to a site: the site's owner core lends them out. Pure: times are arguments.
//!
//! A site begins with few connections. While it takes what it is sent it gets more, up to its limit; when it says that there is too much for it
//! (421, 450, no answer in time), half. One that cannot be reached at all is left alone for a while, longer each time, and then tried
//! with one connection. What is lent to all cores together is never more than the site's: a core gets what another has given back.
//!
//! Where the rules of traffic shaping set a rate, messages are lent like connections; what is not used comes back with the next report. Rules about
//! replies have a site left alone, or given half, for a time. What was done is remembered, and operators can end it (`actions`).

mod actions;
mod bucket;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::ops::Bound;
use std::time::{Duration, Instant};

use shards::CoreId;

use crate::settings::shaping::Rate;
use actions::Actions;
pub use actions::{ActionState, Asked, Kind, News};
use bucket::Bucket;

/// What a core has to say about a site, and what it wants.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SiteReport {
    /// Messages that wait there.
    pub ready: u32,
    /// Connections that it has, or is about to make.
    pub open: u32,
    /// Those of them that the site has let in.
    pub links: u32,
    /// Those of them that have nothing to do: they are given up for another core.
    pub idle: u32,
    /// Messages the site has taken since the last report.
    pub accepted: u32,
    /// Times it said that there is too much.
    pub overloads: u32,
    /// Why it could not be reached, if nothing else was heard of it.
    pub unreachable: Option<String>,
    /// What it said when it said that there is too much.
    pub overload: Option<String>,
    /// What it said when it let in no other connection beside those that it has; it is among the overloads, or else `unreachable` says so too.
    pub refused: Option<String>,
    /// What its replies ask for by the rules.
    pub asked: Vec<Asked>,
    /// Messages that were lent and not begun.
    pub unused: u32,
}

/// Bounds of a site.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SiteLimits {
    /// Connections at first.
    pub at_first: u32,
    /// Connections at most.
    pub most: u32,
    /// The first pause of one that cannot be reached.
    pub pause_first: Duration,
    /// Its longest.
    pub pause_max: Duration,
    /// Messages in a time.
    pub rate: Option<Rate>,
}

/// What a core may have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lent {
    /// Connections.
    pub connections: u32,
    /// Other cores have connections, or it took something lately: a refusal of one is about their number.
    pub gets_through: bool,
    /// None before this is over; and why.
    pub pause: Option<(Duration, String)>,
    /// Messages, if there is a rate.
    pub messages: Option<Messages>,
    /// When to ask again.
    pub again: Duration,
}

/// What a core may send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Messages {
    /// Messages that may be begun.
    pub count: u32,
    /// Why no more, if more are ready.
    pub reason: String,
}

/// A site, for operators.
#[derive(Clone, Debug, PartialEq)]
pub struct SiteState {
    /// Its name.
    pub site: String,
    /// Connections that it may have now.
    pub window: u32,
    /// Connections that are lent.
    pub lent: u32,
    /// Messages in a time, and which part of them it gets now.
    pub rate: Option<(Rate, f64)>,
    /// Times in a row that it could not be reached.
    pub failures: u32,
    /// Left alone for so long still, and why.
    pub pause: Option<(Duration, String)>,
    /// Given less for so long still, and why.
    pub slow: Option<(Duration, String)>,
    /// What was done about it, the latest last.
    pub actions: Vec<ActionState>,
}

/// The sites a core owns.
#[derive(Debug, Default)]
pub struct Sites {
    sites: BTreeMap<String, Site>,
    news: Vec<News>,
    /// Which was looked at last when room was made.
    looked_at: String,
}

#[derive(Debug)]
struct Site {
    /// Connections that it bears.
    window: f64,
    /// It has said once that there is too much: from then on the window grows slowly.
    has_slowed: bool,
    slowed: Option<Instant>,
    /// Connections that it bore when it let in no other, until that is tried again.
    bears: Option<(u32, Instant)>,
    accepted: Option<Instant>,
    failures: u32,
    pause: Option<Measure>,
    slow: Option<Slow>,
    rate: Option<Rate>,
    bucket: Bucket,
    actions: Actions,
    borrowers: Vec<Borrower>,
    began: Instant,
    asked: Instant,
}

/// Something in force until then.
#[derive(Debug)]
struct Measure {
    kind: Kind,
    until: Instant,
    cause: String,
}

#[derive(Debug)]
struct Slow {
    measure: Measure,
    began: Instant,
    /// Connections it bears at most.
    most: f64,
    /// Of its rate.
    part: f64,
}

#[derive(Debug)]
struct Borrower {
    core: CoreId,
    wants: u32,
    idle: u32,
    has: u32,
    /// Those of them that the site has let in.
    links: u32,
    /// Messages that wait there.
    ready: u32,
    asked: Instant,
    /// When it got messages last.
    got: Option<Instant>,
}

impl Sites {
    /// A core reports and asks.
    pub fn lend(
        &mut self,
        name: &str,
        core: CoreId,
        report: SiteReport,
        limits: SiteLimits,
        now: Instant,
    ) -> Lent {
        if !self.sites.contains_key(name) && self.make_room(SITES_MAX, now) {
            self.sites.insert(name.to_owned(), Site::new(limits, now));
        }
        match self.sites.get_mut(name) {
            Some(site) => {
                let lent = site.lend(core, report, limits, now);
                site.actions.take_news(name, &mut self.news);
                lent
            }
            None => Lent {
                connections: 0,
                gets_through: false,
                pause: Some((AGAIN_MAX, "too many other sites are sent to now".into())),
                messages: None,
                again: AGAIN_MAX,
            },
        }
    }

    /// What was done since this was asked last.
    pub fn take_news(&mut self) -> Vec<News> {
        std::mem::take(&mut self.news)
    }

    /// Ends what is done about a site, or about all: somebody knows that it is over. Answers about how many.
    pub fn resume(&mut self, wanted: Option<&str>, now: Instant) -> usize {
        let meant = |(name, _): &(&String, &mut Site)| wanted.is_none_or(|w| is_meant(name, w));
        let sites = self.sites.iter_mut().filter(meant);
        sites.filter_map(|(_, site)| site.resume(now)).count()
    }

    /// A transport is another one now: what could not be reached by it may be there.
    pub fn transport_changed(&mut self, name: &str, now: Instant) {
        let prefix = format!("{name}>");
        let sites = self
            .sites
            .range_mut::<str, _>((Bound::Included(prefix.as_str()), Bound::Unbounded));
        for (_, site) in sites.take_while(|(name, _)| name.starts_with(&prefix)) {
            site.failures = 0;
            site.reached(now);
        }
    }

    /// Leaves a site alone for a time. Answers how many are meant.
    pub fn pause(&mut self, wanted: &str, length: Duration, why: &str, now: Instant) -> usize {
        let mut paused = 0;
        for (name, site) in &mut self.sites {
            if member_of_key(name).is_none() && is_meant(name, wanted) {
                // Instead of what was in force.
                site.pause = None;
                site.actions
                    .end(&[Kind::Unreachable, Kind::Pause, Kind::ByHand], now);
                site.pause_for(Kind::ByHand, length, why, now);
                site.actions.take_news(name, &mut self.news);
                paused += 1;
            }
        }
        paused
    }

    /// Those that are left alone, those that are given less, and addresses of ours that rest.
    pub fn restrained(&self, now: Instant) -> (usize, usize, usize) {
        let (mut paused, mut slowed, mut resting) = (0, 0, 0);
        for (name, site) in &self.sites {
            let is_paused = site.paused(now).is_some();
            match member_of_key(name) {
                Some(_) => resting += usize::from(is_paused),
                None => {
                    paused += usize::from(is_paused);
                    slowed += usize::from(site.slow(now).is_some());
                }
            }
        }
        (paused, slowed, resting)
    }

    /// Those that are known, in order of their names: of those after one, at most so many are looked at. Answers which was the last one, if there are
    /// more.
    pub fn states(
        &self,
        (wanted, restrained): (Option<&str>, bool),
        after: Option<&str>,
        limit: usize,
        now: Instant,
    ) -> (Vec<SiteState>, Option<String>) {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut rest = self.sites.range::<str, _>((from, Bound::Unbounded));
        let looked_at: Vec<_> = rest.by_ref().take(limit).collect();
        let last = looked_at.last().map(|(name, _)| (*name).clone());
        let fits = |(name, site): &(&String, &Site)| {
            // Those of our own addresses are lent in the same way, and are no sites; they are told while they rest.
            (member_of_key(name).is_none() || site.paused(now).is_some())
                && wanted.is_none_or(|wanted| is_meant(name, wanted))
                && (!restrained || site.paused(now).is_some() || site.slow(now).is_some())
        };
        let found = looked_at.into_iter().filter(fits);
        let found = found.map(|(name, site)| site.state(name, now)).collect();
        (found, last.filter(|_| rest.next().is_some()))
    }

    /// Sees to it that there is room for one more, if need be; false: there is none. A few are looked at, each time the next ones, and those that nobody uses
    /// now have to be learned again: all that are not left alone, or of those the one whose time is over first.
    fn make_room(&mut self, most: usize, now: Instant) -> bool {
        if self.sites.len() < most {
            return true;
        }
        let from = Bound::Excluded(self.looked_at.as_str());
        let behind = self.sites.range::<str, _>((from, Bound::Unbounded));
        let all: Vec<_> = behind.chain(&self.sites).take(LOOKED_AT_MAX).collect();
        let unused = || all.iter().filter(|(_, site)| !site.is_used(now));
        let mut gone: Vec<String> = unused()
            .filter(|(_, site)| site.paused(now).is_none())
            .map(|(name, _)| (*name).clone())
            .collect();
        if gone.is_empty() {
            let until = |(_, site): &&(&String, &Site)| site.pause.as_ref().map(|p| p.until);
            gone.extend(unused().min_by_key(until).map(|(name, _)| (*name).clone()));
        }
        self.looked_at = all.last().map_or_else(String::new, |(n, _)| (*n).clone());
        for name in gone {
            self.sites.remove(&name);
        }
        self.sites.len() < most
    }
}

/// Whether a site is meant: by its name, or by that of one of its hosts.
fn is_meant(name: &str, wanted: &str) -> bool {
    let is = |host: &str| host.eq_ignore_ascii_case(wanted);
    is(name) || hosts(name).any(is)
}

/// The hosts that a site's name names.
pub fn hosts(site: &str) -> impl Iterator<Item = &str> {
    let hosts = site.rsplit_once('>').map_or(site, |(_, hosts)| hosts);
    hosts.split(',').filter(|host| !host.is_empty())
}

impl Measure {
    fn left(&self, now: Instant) -> Option<(Duration, String)> {
        let left = self.until.checked_duration_since(now)?;
        (!left.is_zero()).then(|| (left, self.kind.reason(&self.cause)))
    }
}

impl Site {
    fn new(limits: SiteLimits, now: Instant) -> Site {
        Site {
            window: f64::from(limits.at_first.min(limits.most)),
            has_slowed: false,
            slowed: None,
            bears: None,
            accepted: None,
            failures: 0,
            pause: None,
            slow: None,
            rate: limits.rate,
            bucket: Bucket::new(now),
            actions: Actions::default(),
            borrowers: Vec::new(),
            began: now,
            asked: now,
        }
    }

    fn lend(&mut self, core: CoreId, report: SiteReport, limits: SiteLimits, now: Instant) -> Lent {
        self.asked = now;
        self.rate = limits.rate;
        self.learn(core, &report, limits, now);
        let before = self.borrowers.iter().find(|b| b.core == core);
        let got = before.and_then(|b| b.got);
        self.borrowers
            .retain(|b| b.core != core && now.duration_since(b.asked) < SILENT_AFTER);
        if report.ready + report.open > 0 {
            self.borrowers.push(Borrower {
                core,
                wants: (report.ready).saturating_add(report.open.saturating_sub(report.idle)),
                idle: report.idle,
                has: report.open,
                links: report.links,
                ready: report.ready,
                asked: now,
                got,
            });
            self.borrowers.sort_by_key(|b| b.core);
        }
        if let Some(pause) = self.paused(now) {
            self.bucket.put_back(report.unused);
            return Lent {
                connections: 0,
                gets_through: false,
                again: pause.0.clamp(SOON, AGAIN_MAX),
                messages: self.rate.map(|_| Messages {
                    count: 0,
                    reason: pause.1.clone(),
                }),
                pause: Some(pause),
            };
        }
        let messages = self.lend_messages(core, &report, now);
        let share = self.share(core, now);
        let others: u32 = self
            .borrowers
            .iter()
            .filter(|b| b.core != core)
            .map(|b| b.has)
            .sum();
        let free = self.capacity().saturating_sub(others);
        let connections = share.min(free);
        let mut wants_more = false;
        if let Some(borrower) = self.borrowers.iter_mut().find(|b| b.core == core) {
            // What it still has is its until it reports less.
            borrower.has = borrower.has.max(connections);
            wants_more = borrower.wants > connections;
        }
        let next_message = match &messages {
            Some(lent) if lent.count >= report.ready.max(1) => Some(SOON),
            Some(_) if report.ready > 0 => Some(self.bucket.next().clamp(SOON, AGAIN)),
            _ => None,
        };
        Lent {
            connections,
            gets_through: others > 0 || is_alive(self.accepted, now),
            pause: None,
            messages,
            again: match (wants_more, report.idle) {
                _ if next_message.is_some() => next_message.unwrap_or(SOON),
                (true, _) => SOON,
                (false, 1..) => AGAIN_IDLE,
                _ => AGAIN,
            },
        }
    }

    /// What the rate lets through. Where that is not enough for all, whoever has waited longest comes first.
    fn lend_messages(
        &mut self,
        core: CoreId,
        report: &SiteReport,
        now: Instant,
    ) -> Option<Messages> {
        let rate = self.rate?;
        let slow = self.slow.as_ref().filter(|slow| slow.measure.until > now);
        let part = slow.map_or(1.0, |slow| slow.part);
        self.bucket.put_back(report.unused);
        let whole = self.bucket.fill(rate.per_second() * part, now);
        let wanting = self.borrowers.iter().filter(|b| b.ready > 0);
        let mut wanting: Vec<_> = wanting.map(|b| (b.got, b.core)).collect();
        wanting.sort_unstable();
        let place = wanting.iter().position(|(_, other)| *other == core);
        let count = wanting.len() as u32;
        let share = place.map_or(0, |place| {
            whole / count + u32::from((place as u32) < whole % count)
        });
        let count = share.min(report.ready);
        self.bucket.take(count);
        if let Some(borrower) = self.borrowers.iter_mut().find(|b| b.core == core)
            && count > 0
        {
            borrower.got = Some(now);
        }
        let mut reason = format!("{} to this site", rate.words());
        if let Some(slow) = slow {
            let part = (1.0 / slow.part).round();
            reason.push_str(&format!(
                ", and 1/{part} of that now: {}",
                slow.measure.cause
            ));
        }
        Some(Messages { count, reason })
    }

    fn learn(&mut self, core: CoreId, report: &SiteReport, limits: SiteLimits, now: Instant) {
        let most = f64::from(limits.most.max(1));
        if report.accepted > 0 {
            self.accepted = Some(now);
            self.failures = 0;
            self.reached(now);
            let accepted = f64::from(report.accepted);
            // Each connection that took a message lets in another one at first; later each full window does.
            self.window += match self.has_slowed {
                false => accepted,
                true => accepted / self.window,
            };
            self.window = self.window.min(most);
        }
        for asked in &report.asked {
            match asked.kind {
                Kind::Slow => self.slow_for(asked.length, &asked.cause, now),
                kind => self.pause_for(kind, asked.length, &asked.cause, now),
            }
        }
        let said = report.overload.as_deref().unwrap_or_default();
        let others = self.heard_of(now).filter(|b| b.core != core);
        let links = report.links + others.map(|b| b.links).sum::<u32>();
        match &report.unreachable {
            _ if links > 0 && report.refused.is_some() => {
                let cause = report.refused.as_deref().unwrap_or_default();
                self.is_full(links, cause, now);
            }
            // Others get through: it is too much for it.
            Some(reason) if report.accepted > 0 || is_alive(self.accepted, now) => {
                self.slow_down(reason, now);
            }
            Some(reason) if self.paused(now).is_none() => {
                self.failures += 1;
                let doublings = (self.failures - 1).min(16);
                let pause = limits.pause_first * 2u32.pow(doublings);
                let pause = pause.min(limits.pause_max);
                self.pause_for(Kind::Unreachable, pause, reason, now);
                self.window = f64::from(limits.at_first);
            }
            _ if report.overloads > 0 => self.slow_down(said, now),
            _ => (),
        }
        let slow = self.slow.as_ref().filter(|slow| slow.measure.until > now);
        let mut most = slow.map_or(most, |slow| most.min(slow.most));
        if let Some((bears, until)) = self.bears
            && until > now
        {
            most = most.min(f64::from(bears));
        }
        self.window = self.window.clamp(1.0, most.max(1.0));
    }

    /// It is there again.
    fn reached(&mut self, now: Instant) {
        if self
            .pause
            .as_ref()
            .is_some_and(|p| p.kind == Kind::Unreachable)
        {
            self.pause = None;
            self.actions.end(&[Kind::Unreachable], now);
        }
    }

    fn slow_down(&mut self, cause: &str, now: Instant) {
        self.has_slowed = true;
        if self.slowed.is_none_or(|at| now.duration_since(at) >= SLOWS) {
            self.slowed = Some(now);
            if self.window > 1.0 {
                self.actions.add(Kind::Overload, None, cause, now);
            }
            self.window /= 2.0;
        }
    }

    /// It bears so many and no more, for a while; then one more is tried.
    fn is_full(&mut self, links: u32, cause: &str, now: Instant) {
        self.has_slowed = true;
        self.bears = Some((links, now + BEARS_FOR));
        if self.slowed.is_none_or(|at| now.duration_since(at) >= SLOWS) {
            self.slowed = Some(now);
            if self.window > f64::from(links) {
                self.actions.add(Kind::Overload, None, cause, now);
            }
        }
    }

    /// Half of what it has, until then.
    fn slow_for(&mut self, length: Duration, cause: &str, now: Instant) {
        let before = self.slow.as_ref().filter(|slow| slow.measure.until > now);
        if before.is_some_and(|slow| now.duration_since(slow.began) < SLOWS) {
            // Said before the first had its effect.
            return;
        }
        let part = before.map_or(1.0, |slow| slow.part) / 2.0;
        self.has_slowed = true;
        self.slowed = Some(now);
        self.window = (self.window / 2.0).max(1.0);
        self.slow = Some(Slow {
            measure: Measure {
                kind: Kind::Slow,
                until: now + length,
                cause: cause.to_owned(),
            },
            began: now,
            most: self.window,
            part: part.max(PART_MIN),
        });
        self.actions.add(Kind::Slow, Some(length), cause, now);
    }

    fn pause_for(&mut self, kind: Kind, length: Duration, cause: &str, now: Instant) {
        let until = now + length;
        // Others were told the same at the same time.
        if self.paused(now).is_some()
            && self.pause.as_ref().is_some_and(|p| p.until + SLOWS > until)
        {
            return;
        }
        self.pause = Some(Measure {
            kind,
            until,
            cause: cause.to_owned(),
        });
        self.actions.add(kind, Some(length), cause, now);
    }

    /// Ends what is in force.
    fn resume(&mut self, now: Instant) -> Option<()> {
        let is_restrained = self.paused(now).is_some() || self.slow(now).is_some();
        (self.pause, self.slow) = (None, None);
        let all = [
            Kind::Unreachable,
            Kind::Pause,
            Kind::Slow,
            Kind::ByHand,
            Kind::NoAddress,
        ];
        self.actions.end(&all, now);
        is_restrained.then_some(())
    }

    /// Connections of all cores.
    fn capacity(&self) -> u32 {
        match self.failures {
            0 => self.window as u32,
            // One, to see.
            _ => 1,
        }
    }

    /// Whether a core has connections there, or wants some.
    fn is_used(&self, now: Instant) -> bool {
        self.heard_of(now).next().is_some()
    }

    /// Those that have not gone silent.
    fn heard_of(&self, now: Instant) -> impl Iterator<Item = &Borrower> {
        let is_heard_of = move |b: &&Borrower| now.duration_since(b.asked) < SILENT_AFTER;
        self.borrowers.iter().filter(is_heard_of)
    }

    fn paused(&self, now: Instant) -> Option<(Duration, String)> {
        self.pause.as_ref()?.left(now)
    }

    fn slow(&self, now: Instant) -> Option<(Duration, String)> {
        self.slow.as_ref()?.measure.left(now)
    }

    fn state(&self, name: &str, now: Instant) -> SiteState {
        let slow = self.slow.as_ref().filter(|slow| slow.measure.until > now);
        SiteState {
            site: name.to_owned(),
            window: self.capacity(),
            lent: self.heard_of(now).map(|b| b.has).sum(),
            rate: self.rate.map(|rate| (rate, slow.map_or(1.0, |s| s.part))),
            failures: self.failures,
            pause: self.paused(now),
            slow: self.slow(now),
            actions: self.actions.states(now),
        }
    }

    /// What a core is to have when all have what they are to have: one after the other gets one more while it wants it. Who begins
    /// changes, so that a site with fewer connections than cores serves all.
    fn share(&self, core: CoreId, now: Instant) -> u32 {
        let count = self.borrowers.len();
        if count == 0 {
            return 0;
        }
        let turn = now.duration_since(self.began).as_secs() / TURN.as_secs();
        let first = (turn % count as u64) as usize;
        let mut left = self.capacity();
        let mut shares = vec![0u32; count];
        let most = |n: usize, idle: bool| match idle {
            false => self.borrowers[n].wants,
            true => self.borrowers[n]
                .wants
                .saturating_add(self.borrowers[n].idle),
        };
        for idle in [false, true] {
            let mut before = 0;
            while left > 0 && left != before {
                before = left;
                for n in (0..count).map(|n| (first + n) % count) {
                    if left > 0 && shares[n] < most(n, idle) {
                        shares[n] += 1;
                        left -= 1;
                    }
                }
            }
        }
        let place = self.borrowers.iter().position(|b| b.core == core);
        place.map_or(0, |place| shares[place])
    }
}

fn is_alive(accepted: Option<Instant>, now: Instant) -> bool {
    accepted.is_some_and(|at| now.duration_since(at) < ALIVE)
}

/// The name under which the connections of an address of a pool are lent, as those of a site are. No site has it: `pool` would be its
/// transport, and no domain has a `>`.
pub fn member_key(pool: &str, member: &str) -> String {
    format!("{MEMBER_KEY}{pool}>{member}")
}

/// Pool and address of such a name.
pub fn member_of_key(name: &str) -> Option<(&str, &str)> {
    name.strip_prefix(MEMBER_KEY)?.split_once('>')
}

const MEMBER_KEY: &str = "pool>";
/// Sites a core remembers.
const SITES_MAX: usize = 100_000;
/// Of them, when room is made for one.
const LOOKED_AT_MAX: usize = 64;
/// A core that says nothing for so long has no connections any more.
const SILENT_AFTER: Duration = Duration::from_secs(10);
/// Between two reports of a core that has what it wants; and of one that wants more.
const AGAIN: Duration = Duration::from_secs(1);
const SOON: Duration = Duration::from_millis(100);
/// Of one that has connections it does not need.
const AGAIN_IDLE: Duration = Duration::from_millis(250);
const AGAIN_MAX: Duration = Duration::from_secs(5);
/// A site that took something so recently is not gone.
const ALIVE: Duration = Duration::from_secs(10);
/// Between two times that a window is halved: the first must have had its effect.
const SLOWS: Duration = Duration::from_secs(5);
/// How long a site gets no more connections than it had when it let in no other.
const BEARS_FOR: Duration = Duration::from_secs(15);
/// Of its rate a site keeps at least this.
const PART_MIN: f64 = 1.0 / 64.0;
/// How long one core may have what is not enough for all.
const TURN: Duration = Duration::from_secs(2);

//! How many connections each core may have to a site: the site's owner core lends them out. Pure: times are arguments.
//!
//! A site begins with few connections. While it takes what it is sent it gets more, up to its limit; when it says that there is too much for it
//! (421, 450, no answer in time), half. One that cannot be reached at all is left alone for a while, longer each time, and then tried
//! with one connection. What is lent to all cores together is never more than the site's: a core gets what another has given back.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use shards::CoreId;

/// What a core has to say about a site, and what it wants.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SiteReport {
    /// Messages that wait there.
    pub ready: u32,
    /// Connections that it has, or is about to make.
    pub open: u32,
    /// Those of them that have nothing to do: they are given up for another core.
    pub idle: u32,
    /// Messages the site has taken since the last report.
    pub accepted: u32,
    /// Times it said that there is too much.
    pub overloads: u32,
    /// Why it could not be reached, if nothing else was heard of it.
    pub unreachable: Option<String>,
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
    /// When to ask again.
    pub again: Duration,
}

/// A site, for operators.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SiteState {
    /// Its name.
    pub site: String,
    /// Connections that it may have now.
    pub window: u32,
    /// Connections that are lent.
    pub lent: u32,
    /// Times in a row that it could not be reached.
    pub failures: u32,
    /// Left alone for so long still, and why.
    pub pause: Option<(Duration, String)>,
}

/// The sites a core owns.
#[derive(Debug, Default)]
pub struct Sites {
    sites: HashMap<String, Site>,
}

#[derive(Debug)]
struct Site {
    /// Connections that it bears.
    window: f64,
    /// It has said once that there is too much: from then on the window grows slowly.
    has_slowed: bool,
    slowed: Option<Instant>,
    accepted: Option<Instant>,
    failures: u32,
    paused_until: Option<Instant>,
    reason: String,
    borrowers: Vec<Borrower>,
    began: Instant,
    asked: Instant,
}

#[derive(Debug)]
struct Borrower {
    core: CoreId,
    wants: u32,
    idle: u32,
    has: u32,
    asked: Instant,
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
        if !self.sites.contains_key(name) {
            self.make_room(now);
            self.sites.insert(name.to_owned(), Site::new(limits, now));
        }
        match self.sites.get_mut(name) {
            Some(site) => site.lend(core, report, limits, now),
            None => Lent {
                connections: 0,
                gets_through: false,
                pause: None,
                again: AGAIN,
            },
        }
    }

    /// Ends the pause of a site, or of all: somebody knows that it is over.
    pub fn resume(&mut self, name: Option<&str>) -> usize {
        let mut resumed = 0;
        for (known, site) in &mut self.sites {
            if name.is_none_or(|name| name == known) && site.paused_until.take().is_some() {
                resumed += 1;
            }
        }
        resumed
    }

    /// All that are known.
    pub fn states(&self, now: Instant) -> Vec<SiteState> {
        let state = |(name, site): (&String, &Site)| SiteState {
            site: name.clone(),
            window: site.capacity(),
            lent: site.borrowers.iter().map(|b| b.has).sum(),
            failures: site.failures,
            pause: site.pause(now),
        };
        self.sites.iter().map(state).collect()
    }

    /// Sites that nobody has asked about for long are forgotten.
    fn make_room(&mut self, now: Instant) {
        if self.sites.len() < SITES_MAX {
            return;
        }
        self.sites
            .retain(|_, site| now.duration_since(site.asked) < FORGOTTEN_AFTER);
        if self.sites.len() >= SITES_MAX {
            // Those that nobody uses now have to be learned again.
            self.sites.retain(|_, site| !site.borrowers.is_empty());
        }
    }
}

impl Site {
    fn new(limits: SiteLimits, now: Instant) -> Site {
        Site {
            window: f64::from(limits.at_first.min(limits.most)),
            has_slowed: false,
            slowed: None,
            accepted: None,
            failures: 0,
            paused_until: None,
            reason: String::new(),
            borrowers: Vec::new(),
            began: now,
            asked: now,
        }
    }

    fn lend(&mut self, core: CoreId, report: SiteReport, limits: SiteLimits, now: Instant) -> Lent {
        self.asked = now;
        self.learn(&report, limits, now);
        self.borrowers
            .retain(|b| b.core != core && now.duration_since(b.asked) < SILENT_AFTER);
        if report.ready + report.open > 0 {
            self.borrowers.push(Borrower {
                core,
                wants: (report.ready).saturating_add(report.open.saturating_sub(report.idle)),
                idle: report.idle,
                has: report.open,
                asked: now,
            });
            self.borrowers.sort_by_key(|b| b.core);
        }
        if let Some(pause) = self.pause(now) {
            return Lent {
                connections: 0,
                gets_through: false,
                again: pause.0.clamp(SOON, AGAIN_MAX),
                pause: Some(pause),
            };
        }
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
        Lent {
            connections,
            gets_through: others > 0 || is_alive(self.accepted, now),
            pause: None,
            again: match (wants_more, report.idle) {
                (true, _) => SOON,
                (false, 1..) => AGAIN_IDLE,
                _ => AGAIN,
            },
        }
    }

    fn learn(&mut self, report: &SiteReport, limits: SiteLimits, now: Instant) {
        let most = f64::from(limits.most.max(1));
        if report.accepted > 0 {
            self.accepted = Some(now);
            self.failures = 0;
            self.paused_until = None;
            let accepted = f64::from(report.accepted);
            // Each connection that took a message lets in another one at first; later each full window does.
            self.window += match self.has_slowed {
                false => accepted,
                true => accepted / self.window,
            };
        }
        match &report.unreachable {
            // Others get through: it is too much for it.
            Some(_) if report.accepted > 0 || is_alive(self.accepted, now) => self.slow_down(now),
            Some(reason) if self.pause(now).is_none() => {
                self.failures += 1;
                let doublings = (self.failures - 1).min(16);
                let pause = limits.pause_first * 2u32.pow(doublings);
                self.paused_until = Some(now + pause.min(limits.pause_max));
                self.reason = reason.clone();
                self.window = f64::from(limits.at_first);
            }
            _ if report.overloads > 0 => self.slow_down(now),
            _ => (),
        }
        self.window = self.window.clamp(1.0, most);
    }

    fn slow_down(&mut self, now: Instant) {
        self.has_slowed = true;
        if self.slowed.is_none_or(|at| now.duration_since(at) >= SLOWS) {
            self.slowed = Some(now);
            self.window /= 2.0;
        }
    }

    /// Connections of all cores.
    fn capacity(&self) -> u32 {
        match self.failures {
            0 => self.window as u32,
            // One, to see.
            _ => 1,
        }
    }

    fn pause(&self, now: Instant) -> Option<(Duration, String)> {
        let until = self.paused_until.filter(|until| *until > now)?;
        Some((until - now, self.reason.clone()))
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

/// Sites a core remembers.
const SITES_MAX: usize = 100_000;
const FORGOTTEN_AFTER: Duration = Duration::from_secs(3600);
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
/// How long one core may have what is not enough for all.
const TURN: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;

    const A: CoreId = CoreId(0);
    const B: CoreId = CoreId(1);

    fn limits() -> SiteLimits {
        SiteLimits {
            at_first: 4,
            most: 20,
            pause_first: Duration::from_secs(30),
            pause_max: Duration::from_secs(120),
        }
    }

    fn report(ready: u32, open: u32, accepted: u32) -> SiteReport {
        SiteReport {
            ready,
            open,
            accepted,
            ..SiteReport::default()
        }
    }

    struct Owner(Sites, Instant);

    impl Owner {
        fn new() -> Owner {
            Owner(Sites::default(), Instant::now())
        }

        fn lend(&mut self, core: CoreId, report: SiteReport) -> u32 {
            self.0
                .lend("mx", core, report, limits(), self.1)
                .connections
        }

        fn after(&mut self, secs: u64) -> &mut Owner {
            self.1 += Duration::from_secs(secs);
            self
        }
    }

    #[test]
    fn a_site_gets_more_connections_while_it_takes_mail_up_to_its_limit() {
        let mut owner = Owner::new();
        assert_eq!(owner.lend(A, report(100, 0, 0)), 4);
        assert_eq!(owner.lend(A, report(96, 4, 4)), 8);
        assert_eq!(owner.lend(A, report(88, 8, 8)), 16);
        assert_eq!(owner.lend(A, report(80, 16, 16)), 20);
        // No more than there is mail for.
        assert_eq!(owner.lend(A, report(1, 2, 5)), 3);
    }

    #[test]
    fn a_core_hears_whether_others_get_through() {
        let mut owner = Owner::new();
        let hears = |owner: &mut Owner, core, report| {
            let lent = owner.0.lend("mx", core, report, limits(), owner.1);
            lent.gets_through
        };
        assert!(!hears(&mut owner, A, report(100, 0, 0)));
        // A has been lent connections.
        assert!(hears(&mut owner, B, report(100, 0, 0)));
        assert!(!hears(&mut owner, A, report(100, 4, 0)));
        assert!(hears(&mut owner, A, report(100, 4, 1)));
        assert!(hears(owner.after(9), A, report(100, 4, 0)));
        assert!(!hears(owner.after(2), A, report(100, 4, 0)));
    }

    #[test]
    fn what_is_lent_is_never_more_than_there_is() {
        let mut owner = Owner::new();
        assert_eq!(owner.lend(A, report(100, 0, 0)), 4);
        // The other gets nothing before something is given back, then half.
        assert_eq!(owner.lend(B, report(100, 0, 0)), 0);
        assert_eq!(owner.lend(A, report(100, 4, 0)), 2);
        assert_eq!(owner.lend(B, report(100, 0, 0)), 0);
        assert_eq!(owner.lend(A, report(100, 2, 0)), 2);
        assert_eq!(owner.lend(B, report(100, 0, 0)), 2);
        // Connections without work go to those who have some.
        let idle = SiteReport {
            idle: 2,
            ..report(0, 2, 0)
        };
        assert_eq!(owner.lend(A, idle.clone()), 0);
        assert_eq!(owner.lend(B, report(100, 2, 0)), 2);
        assert_eq!(owner.lend(B, report(1, 1, 0)), 2);
        assert_eq!(owner.lend(A, idle), 2);
        // A core that is gone holds nothing for ever.
        assert_eq!(owner.after(11).lend(A, report(100, 2, 0)), 4);
    }

    #[test]
    fn too_much_halves_the_connections_once_and_they_grow_slowly_then() {
        let mut owner = Owner::new();
        owner.lend(A, report(100, 4, 100));
        let slow = |accepted| SiteReport {
            overloads: 3,
            ..report(100, 10, accepted)
        };
        assert_eq!(owner.lend(A, slow(0)), 10);
        assert_eq!(owner.after(1).lend(A, slow(0)), 10);
        assert_eq!(owner.after(5).lend(A, slow(0)), 5);
        assert_eq!(owner.lend(A, report(100, 5, 5)), 6);
        for _ in 0..20 {
            owner.after(6).lend(A, slow(0));
        }
        assert_eq!(owner.lend(A, slow(0)), 1);
    }

    #[test]
    fn a_site_that_is_not_there_is_left_alone_longer_each_time() {
        let mut owner = Owner::new();
        owner.lend(A, report(9, 0, 0));
        let gone = || SiteReport {
            unreachable: Some("connection refused".into()),
            ..report(9, 4, 0)
        };
        let mut pauses = Vec::new();
        for _ in 0..4 {
            let lent = owner.0.lend("mx", A, gone(), limits(), owner.1);
            let (pause, reason) = lent.pause.unwrap();
            assert_eq!(
                (lent.connections, reason.as_str()),
                (0, "connection refused")
            );
            pauses.push(pause.as_secs());
            // The others that failed at the same time make it no longer.
            assert_eq!(owner.lend(B, gone()), 0);
            owner.1 += pause;
            owner.lend(B, report(0, 0, 0));
            // One to see.
            assert_eq!(owner.lend(A, report(9, 0, 0)), 1);
        }
        assert_eq!(pauses, [30, 60, 120, 120]);
        assert_eq!(owner.lend(A, report(9, 1, 1)), 5);
        owner.lend(A, gone());
        assert_eq!(owner.0.states(owner.1)[0].pause, None);
        assert_eq!(owner.after(20).lend(A, gone()), 0);
        assert_eq!(owner.0.resume(Some("other")), 0);
        assert_eq!(owner.0.resume(None), 1);
        assert_eq!(owner.lend(A, report(9, 0, 0)), 1);
    }

    #[test]
    fn one_connection_serves_all_cores_in_turn() {
        let mut owner = Owner::new();
        let mut held = [0, 0];
        let mut turns = [0, 0];
        let one = SiteLimits {
            most: 1,
            ..limits()
        };
        for _ in 0..200 {
            for (n, core) in [A, B].into_iter().enumerate() {
                let asks = report(10, held[n], 0);
                held[n] = owner.0.lend("mx", core, asks, one, owner.1).connections;
                turns[n] += held[n];
                assert!(held[0] + held[1] <= 1);
            }
            owner.1 += Duration::from_millis(100);
        }
        assert!(turns[0] > 50 && turns[1] > 50, "{turns:?}");
    }
}

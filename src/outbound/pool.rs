//! Which of the addresses of a pool a connection is made from: by weight, among those that may make one more. One for each core.
//! Called by `carry`. An address with `warm_up` sends to a site only what the owner of its row gives out (`percore/warm_up.rs`). How many
//! connections an address may have on this core is lent by the owner of `pool>NAME>MEMBER`, as those of a site are (`queue::sites`), so that all
//! cores together never have more. Not here: sockets (`start.rs`).

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use shards::rt::{self, Event};

use super::ROOM;
use super::outcome::Outcome;
use super::pool_turns::PoolTurns;
use super::site::Site;
use super::start::Start;
use crate::calls::{Answer, Call};
use crate::percore::{PerCore, monotonic};
use crate::queue::retry::Verdict;
use crate::queue::sites::{Asked, Kind, Lent, SiteReport, member_key};
use crate::queue::warm_up::{Counts, WarmUpAsk, WarmUpKey, day_of};
use crate::settings::PoolMember;

/// The addresses of all pools, as this core uses them.
#[derive(Default)]
pub(super) struct Pools {
    members: RefCell<HashMap<String, Rc<Member>>>,
    /// A connection has ended, or more were lent.
    changed: Event,
    /// Who waits for one.
    turns: RefCell<PoolTurns>,
    /// Addresses that have sent to a site what they may for now, until when they are not asked about again; and whether that is known, or nobody
    /// could say what they may.
    spent: RefCell<HashMap<WarmUpKey, (Instant, bool)>>,
}

struct Member {
    key: String,
    /// See [`next`].
    turn: Cell<i64>,
    /// Its number among those of the core.
    number: u32,
    /// Connections of this core, or about to be made.
    open: Cell<u32>,
    /// Those it may have.
    lent: Cell<u32>,
    /// Tasks that wait for one.
    waiting: Cell<u32>,
    is_managed: Cell<bool>,
    /// This machine does not have it: not chosen until then, and why.
    resting: RefCell<Option<(Instant, String)>>,
    /// What its owner has still to be told of that.
    asked: RefCell<Option<Asked>>,
    wake: Event,
}

/// The right to have a connection that begins here.
pub(super) struct Seat {
    pools: Rc<Pools>,
    /// None: not of a pool.
    member: Option<Rc<Member>>,
    is_limited: bool,
    /// For whose mail it was given, and where that goes.
    account: u32,
    site: Rc<str>,
    since: Instant,
    warm: Option<Warm>,
    pub start: Start,
}

/// What may be sent from an address to a site, and what came of what was.
struct Warm {
    core: Rc<PerCore>,
    key: WarmUpKey,
    given: Cell<u32>,
    /// When that was asked for.
    day: Cell<u32>,
    counts: Cell<Counts>,
}

/// Why there is no seat, and when to look again.
pub(super) struct NoSeat {
    pub reason: String,
    pub again: Duration,
}

impl Seat {
    /// Whether the address has a connection too many: another core wants it.
    pub fn is_surplus(&self) -> bool {
        let member = self.member.as_ref().filter(|_| self.is_limited);
        member.is_some_and(|m| m.open.get() > m.lent.get())
    }

    /// Whether another site has waited long enough for the connection, which goes to who is next. Mail of the same one has its turns on it.
    pub fn is_due_to_others(&self) -> bool {
        let member = self.member.as_ref().filter(|_| self.is_limited);
        let wait = |m: &Rc<Member>| {
            let turns = self.pools.turns.borrow();
            m.waiting.get() > 0 && turns.others_wait(m.number, &self.site)
        };
        self.since.elapsed() >= TURN && member.is_some_and(wait)
    }

    /// Whether somebody may wait for its connection to end: of those there are so many and no more.
    pub fn is_limited(&self) -> bool {
        self.is_limited
    }

    /// Whether something may be sent, after asking for more if need be.
    pub async fn may_send(&self, wanted: usize) -> bool {
        let Some(warm) = &self.warm else { return true };
        let mut is_known = true;
        if warm.given.get() == 0 || warm.day.get() != warm.today() {
            let wanted = u32::try_from(wanted).unwrap_or(u32::MAX).max(1);
            is_known = warm.settle(wanted).await;
        }
        if warm.given.get() > 0 {
            return true;
        }
        let mut spent = self.pools.spent.borrow_mut();
        if spent.len() >= SPENT_MAX {
            // They are asked about once more.
            spent.clear();
        }
        spent.insert(warm.key.clone(), (monotonic() + SPENT_FOR, is_known));
        false
    }

    /// Recipients of the next transaction.
    pub fn most(&self, most: usize) -> usize {
        let given = self.warm.as_ref().map(|warm| warm.given.get() as usize);
        given.map_or(most, |given| most.min(given))
    }

    /// Notes what came of recipients: of those that a server has said something of.
    pub fn note(&self, outcomes: &[Outcome]) {
        let Some(warm) = &self.warm else { return };
        let mut counts = Counts::default();
        for outcome in outcomes.iter().filter(|o| o.attempt.code > 0) {
            let count = match outcome.verdict {
                Verdict::Temporary => &mut counts.deferred,
                Verdict::Permanent => &mut counts.refused,
                _ => &mut counts.accepted,
            };
            *count += 1;
        }
        let mut all = warm.counts.get();
        all.add(counts);
        warm.counts.set(all);
        let left = warm.given.get().saturating_sub(counts.sent());
        warm.given.set(left);
    }

    /// The machine does not have the address: it is left alone for a while, and everybody is told why. False: it is not one of a pool.
    pub fn rest(&self, core: &Rc<PerCore>, reason: &str) -> bool {
        let Some(member) = &self.member else {
            return false;
        };
        *member.resting.borrow_mut() = Some((monotonic() + REST, reason.to_owned()));
        *member.asked.borrow_mut() = Some(Asked {
            kind: Kind::NoAddress,
            length: REST,
            cause: reason.to_owned(),
        });
        self.pools.look_after(core, member, self.is_limited);
        true
    }

    /// What counts what comes of mail that is sent, complaints too.
    pub fn warm_up(&self) -> Option<WarmUpKey> {
        self.warm.as_ref().map(|warm| warm.key.clone())
    }

    /// Gives back what was not used.
    pub async fn end(self) {
        if let Some(warm) = &self.warm {
            warm.settle(0).await;
        }
    }
}

impl Warm {
    fn today(&self) -> u32 {
        day_of(self.core.wall_clock())
    }

    /// Gives back, and asks for more; false: nobody can say now what may be sent.
    async fn settle(&self, wanted: u32) -> bool {
        let ask = WarmUpAsk {
            key: self.key.clone(),
            wanted,
            unused: self.given.take(),
            day: self.day.replace(self.today()),
            counts: self.counts.take(),
        };
        if wanted > 0 || ask.unused > 0 || ask.counts != Counts::default() {
            let given = self.core.warm_up(ask).await;
            self.given.set(given.unwrap_or(0));
            return given.is_some();
        }
        true
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if let Some(Warm {
            core,
            key,
            given,
            day,
            counts,
        }) = self.warm.take()
            && (given.get() > 0 || counts.get() != Counts::default())
        {
            let ask = WarmUpAsk {
                key,
                wanted: 0,
                unused: given.get(),
                day: day.get(),
                counts: counts.get(),
            };
            rt::spawn(&ROOM, async move {
                core.warm_up(ask).await;
            });
        }
        if let Some(member) = &self.member {
            if self.is_limited {
                self.pools.turns.borrow_mut().give_back(self.account);
            }
            member.open.set(member.open.get() - 1);
            member.wake.notify();
            self.pools.changed.notify();
        }
    }
}

impl Member {
    /// For how long it is not chosen still, and why.
    fn rests(&self) -> Option<(Duration, String)> {
        let resting = self.resting.borrow();
        let (until, reason) = resting.as_ref()?;
        let left = until.checked_duration_since(monotonic())?;
        (!left.is_zero()).then(|| (left, reason.clone()))
    }
}

impl Pools {
    /// Where the next connection to a site begins. None is to be had now: why.
    pub async fn seat(
        self: &Rc<Self>,
        core: &Rc<PerCore>,
        site: &Site,
        account: u32,
    ) -> Result<Seat, NoSeat> {
        let live = core.live();
        let server = &live.settings.server;
        let transport = site.transport.as_ref();
        let transport = transport.and_then(|name| server.transport.get(name));
        let start = Start::of(transport);
        let Some(name) = transport.and_then(|t| t.pool.as_deref()) else {
            return Ok(Seat {
                pools: self.clone(),
                member: None,
                is_limited: false,
                account,
                site: site.name.clone(),
                since: monotonic(),
                warm: None,
                start,
            });
        };
        let members = server.pool.get(name).map(|pool| &pool.member);
        let members = members.into_iter().flatten().filter(|(_, m)| m.weight > 0);
        // The receiver, whichever transport leads there; of a smarthost it is that.
        let receiver = match site.name.rsplit_once('>') {
            Some((_, hosts)) if !hosts.is_empty() => hosts,
            _ => &site.name,
        };
        let key = |member: &str| WarmUpKey {
            pool: name.to_owned(),
            member: member.to_owned(),
            site: receiver.to_owned(),
        };
        let mut candidates: Vec<Candidate<'_>> = members
            .map(|(member, settings)| Candidate {
                name: member,
                member: self.member(&member_key(name, member)),
                settings,
            })
            .collect();
        if candidates.is_empty() {
            let reason = format!("no address of pool {name} has a weight");
            return Err(NoSeat::new(reason, AGAIN));
        }
        let until = monotonic() + PATIENCE;
        let mut waiting = None;
        let mut left_out = LeftOut::default();
        loop {
            let seen = self.changed.count();
            candidates.retain(|candidate| {
                if let Some(rests) = candidate.member.rests() {
                    left_out.rests(rests);
                    return false;
                }
                let spent = candidate.settings.warm_up.then(|| key(candidate.name));
                match spent.and_then(|key| self.spent(&key)) {
                    Some(is_known) => {
                        left_out.is_spent(is_known);
                        false
                    }
                    None => true,
                }
            });
            if candidates.is_empty() {
                return Err(left_out.reason(name));
            }
            if let Some(Candidate {
                name,
                member,
                settings,
            }) = self.choose(&candidates, (account, &site.name), waiting.as_ref())
            {
                member.open.set(member.open.get() + 1);
                let is_limited = settings.connections_max.is_some();
                if is_limited {
                    self.turns.borrow_mut().take(account, &site.name);
                }
                let warm = settings.warm_up.then(|| Warm {
                    core: core.clone(),
                    key: key(name),
                    given: Cell::default(),
                    day: Cell::default(),
                    counts: Cell::default(),
                });
                let seat = Seat {
                    pools: self.clone(),
                    start: start.of_member(settings),
                    member: Some(member.clone()),
                    is_limited,
                    account,
                    site: site.name.clone(),
                    since: monotonic(),
                    warm,
                };
                if seat.may_send(core.queue.ready_for(&site.name)).await {
                    return Ok(seat);
                }
                continue;
            }
            let reason =
                || format!("the addresses of pool {name} have all the connections they may have");
            if waiting.is_none() {
                // Who waits has one of the core's connections, and others than the pool's need those.
                let is_full = |c: &Candidate<'_>| c.member.waiting.get() >= WAITING_MAX;
                if candidates.iter().all(is_full) && self.turns.borrow().waits(account) {
                    return Err(NoSeat::new(reason(), AGAIN));
                }
                let members = candidates.iter().map(|c| c.member.clone()).collect();
                waiting = Some(Waiting::new(self, site, account, members, reason()));
                for candidate in &candidates {
                    let is_limited = candidate.settings.connections_max.is_some();
                    self.look_after(core, &candidate.member, is_limited);
                }
            }
            let left = until.saturating_duration_since(monotonic());
            if left.is_zero() || core.draining.get() {
                return Err(NoSeat::new(reason(), AGAIN));
            }
            let _ = rt::timeout(left, self.changed.wait(seen)).await;
        }
    }

    /// Whether an address has sent to a site what it may; and if so, whether that is known.
    fn spent(&self, key: &WarmUpKey) -> Option<bool> {
        let mut spent = self.spent.borrow_mut();
        match spent.get(key) {
            Some((until, is_known)) if *until > monotonic() => Some(*is_known),
            Some(_) => {
                spent.remove(key);
                None
            }
            None => None,
        }
    }

    fn member(&self, key: &str) -> Rc<Member> {
        let mut members = self.members.borrow_mut();
        if let Some(member) = members.get(key) {
            return member.clone();
        }
        // What the settings do not name any more, and nobody uses.
        members.retain(|_, m| m.open.get() > 0 || m.is_managed.get() || Rc::strong_count(m) > 1);
        let number = self.turns.borrow_mut().number();
        let member = Rc::new(Member {
            key: key.to_owned(),
            number,
            turn: Cell::new(0),
            open: Cell::new(0),
            lent: Cell::new(0),
            waiting: Cell::new(0),
            is_managed: Cell::new(false),
            resting: RefCell::default(),
            asked: RefCell::default(),
            wake: Event::new(),
        });
        members.insert(key.to_owned(), member.clone());
        member
    }

    /// Borrows connections for an address as long as it has one, or somebody wants one; of one without a limit only tells what there is to tell.
    fn look_after(self: &Rc<Self>, core: &Rc<PerCore>, member: &Rc<Member>, is_limited: bool) {
        if member.is_managed.replace(true) {
            member.wake.notify();
            return;
        }
        let (pools, core, member) = (self.clone(), core.clone(), member.clone());
        rt::spawn(&ROOM, async move {
            let _managed = Managed(&member);
            loop {
                let seen = member.wake.count();
                let (ready, open) = (member.waiting.get(), member.open.get());
                let is_over = ready == 0 && open == 0;
                let report = SiteReport {
                    ready,
                    open,
                    // There is nothing to learn: all that may be is lent, also if that is more than before.
                    accepted: if is_over { 0 } else { ACCEPTED },
                    asked: member.asked.take().into_iter().collect(),
                    ..SiteReport::default()
                };
                let lent = borrow(&core, &member, report).await;
                if let Some((left, reason)) = lent.pause {
                    *member.resting.borrow_mut() = Some((monotonic() + left, reason));
                }
                let is_told = member.asked.borrow().is_none();
                if !is_limited && is_told {
                    return;
                }
                if member.lent.replace(lent.connections) != lent.connections {
                    pools.changed.notify();
                }
                if is_over && is_told && member.open.get() == 0 && member.waiting.get() == 0 {
                    return;
                }
                rt::sleep(LEAST_PAUSE).await;
                let _ = rt::timeout(lent.again, member.wake.wait(seen)).await;
            }
        });
    }
}

async fn borrow(core: &PerCore, member: &Member, report: SiteReport) -> Lent {
    let call = Call::Borrow {
        site: member.key.clone(),
        transport: None,
        core: core.id,
        report,
    };
    match core.call(core.owner_of(&member.key), call).await {
        Ok(Answer::Lent(lent)) => lent,
        // What was lent holds until something else is heard.
        _ => Lent {
            connections: member.lent.get(),
            gets_through: false,
            messages: None,
            pause: None,
            again: LENT_AGAIN,
        },
    }
}

impl Pools {
    /// The next in turn among those that may have one more, if it is this one's turn to have it.
    fn choose<'a, 'b>(
        &self,
        candidates: &'b [Candidate<'a>],
        who: (u32, &str),
        waiting: Option<&Waiting<'_>>,
    ) -> Option<&'b Candidate<'a>> {
        let turns = self.turns.borrow();
        let place = waiting.map(|waiting| waiting.place);
        let has_room = |c: &&Candidate<'_>| {
            c.settings.connections_max.is_none()
                || c.member.open.get() < c.member.lent.get()
                    && turns.is_next(c.member.number, who, place)
        };
        choose(candidates.iter().filter(has_room).collect())
    }
}

/// The next in turn.
fn choose<'a, 'b>(free: Vec<&'b Candidate<'a>>) -> Option<&'b Candidate<'a>> {
    let turn = |c: &&Candidate<'_>| (c.member.turn.get(), c.settings.weight);
    let mut turns: Vec<(i64, u32)> = free.iter().map(turn).collect();
    let chosen = next(&mut turns)?;
    for (candidate, (turn, _)) in free.iter().zip(&turns) {
        candidate.member.turn.set(*turn);
    }
    Some(free[chosen])
}

/// Who is next: each gains its weight, the one that has most is taken and pays the weights of all. So of any number of turns in a row each
/// has its share but for one, and those of one do not come in a heap.
fn next(turns: &mut [(i64, u32)]) -> Option<usize> {
    let all: i64 = turns.iter().map(|(_, weight)| i64::from(*weight)).sum();
    for (turn, weight) in turns.iter_mut() {
        // Who could not be taken for long does not have all turns afterwards.
        *turn = (*turn).clamp(-all, all) + i64::from(*weight);
    }
    let most = turns.iter().map(|(turn, _)| *turn).max()?;
    let chosen = turns.iter().position(|(turn, _)| *turn == most)?;
    turns[chosen].0 -= all;
    Some(chosen)
}

/// An address that may be chosen.
struct Candidate<'a> {
    name: &'a str,
    member: Rc<Member>,
    settings: &'a PoolMember,
}

impl NoSeat {
    fn new(reason: String, again: Duration) -> NoSeat {
        NoSeat { reason, again }
    }
}

/// Addresses of a pool that are not to be had now, and why.
#[derive(Default)]
struct LeftOut {
    /// The one that is back first of those that this machine does not have.
    resting: Option<(Duration, String)>,
    /// Some have sent what they may; and whether that is known of all of them.
    spent: Option<bool>,
}

impl LeftOut {
    fn rests(&mut self, rests: (Duration, String)) {
        self.resting = self.resting.take().into_iter().chain([rests]).min();
    }

    fn is_spent(&mut self, is_known: bool) {
        self.spent = Some(is_known && self.spent != Some(false));
    }

    /// Why none of the pool's is left.
    fn reason(self, pool: &str) -> NoSeat {
        let others = match self.resting {
            Some(_) => "other ",
            None => "",
        };
        let spent = self.spent.map(|is_known| match is_known {
            true => format!(
                "the {others}addresses of pool {pool} have sent to this receiver what they may today while they are new to it"
            ),
            false => format!(
                "what the {others}addresses of pool {pool} may send to this receiver today, while they are new to it, can't be found out now"
            ),
        });
        match (self.resting, spent) {
            (Some((left, missing)), Some(spent)) => {
                NoSeat::new(format!("{missing}; {spent}"), left.min(SPENT_FOR))
            }
            (Some((left, missing)), None) => NoSeat::new(missing, left),
            (None, spent) => NoSeat::new(spent.unwrap_or_default(), SPENT_FOR),
        }
    }
}

/// Somebody waits for a connection from any of these.
struct Waiting<'a> {
    pools: &'a Pools,
    site: &'a Site,
    place: u64,
    members: Vec<Rc<Member>>,
}

impl<'a> Waiting<'a> {
    fn new(
        pools: &'a Pools,
        site: &'a Site,
        account: u32,
        members: Vec<Rc<Member>>,
        reason: String,
    ) -> Waiting<'a> {
        for member in &members {
            member.waiting.set(member.waiting.get() + 1);
        }
        let numbers = members.iter().map(|m| m.number).collect();
        let mut turns = pools.turns.borrow_mut();
        let place = turns.wait((account, &site.name), numbers);
        drop(turns);
        site.waits_for_address(reason);
        Waiting {
            pools,
            site,
            place,
            members,
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.site.waits_no_more();
        self.pools.turns.borrow_mut().leave(self.place);
        for member in &self.members {
            member.waiting.set(member.waiting.get() - 1);
            member.wake.notify();
        }
        // Whoever was behind may be the next now.
        self.pools.changed.notify();
    }
}

/// Ends the care for an address, after a panic too.
struct Managed<'a>(&'a Member);

impl Drop for Managed<'_> {
    fn drop(&mut self) {
        self.0.is_managed.set(false);
        self.0.lent.set(0);
    }
}

/// Tasks of a core that wait for a connection of an address; of an account that has none among them one more may.
const WAITING_MAX: u32 = 32;
/// How long a connection of an address is kept that others wait for.
const TURN: Duration = Duration::from_secs(2);
/// How long an address is left alone that this machine does not have.
const REST: Duration = Duration::from_secs(60);
/// How long a task waits for a connection to be lent.
const PATIENCE: Duration = Duration::from_secs(5);
/// Until a site is looked at again for which nobody had a connection left.
const AGAIN: Duration = Duration::from_secs(1);
/// Until an address is asked about again that has sent what it may; a new day is noticed no later.
const SPENT_FOR: Duration = Duration::from_secs(60);
/// Addresses and sites of which that is remembered.
const SPENT_MAX: usize = 10_000;
/// More than an address may have connections.
const ACCEPTED: u32 = 10_000;
/// Between two questions to the owner.
const LEAST_PAUSE: Duration = Duration::from_millis(10);
const LENT_AGAIN: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    /// Who is taken, turn by turn.
    fn taken(weights: &[u32], turns: usize) -> String {
        let mut state: Vec<(i64, u32)> = weights.iter().map(|w| (0, *w)).collect();
        let name = |n: usize| char::from(b'a' + n as u8);
        (0..turns)
            .map(|_| name(next(&mut state).unwrap()))
            .collect()
    }

    #[test]
    fn each_has_its_share_and_no_heap() {
        assert_eq!(taken(&[1], 3), "aaa");
        assert_eq!(taken(&[1, 1, 1], 6), "abcabc");
        assert_eq!(taken(&[5, 1, 1], 14), "aabacaaaabacaa");
        let many = taken(&[60, 30, 10], 1000);
        assert_eq!(many.matches('a').count(), 600);
        assert_eq!(many.matches('b').count(), 300);
        // Of any ten in a row too, but for one.
        for start in 0..990 {
            let few = many[start..start + 10].matches('a').count();
            assert!((5..=7).contains(&few), "{start}: {few}");
        }
        assert_eq!(next(&mut []), None);
    }

    #[test]
    fn all_reasons_why_no_address_is_left_are_told() {
        let secs = Duration::from_secs;
        let why = |resting: &[(u64, &str)], spent: &[bool]| {
            let mut left_out = LeftOut::default();
            for (left, reason) in resting {
                left_out.rests((secs(*left), (*reason).to_owned()));
            }
            spent.iter().for_each(|known| left_out.is_spent(*known));
            let none = left_out.reason("p");
            (none.reason, none.again)
        };
        let spent = "addresses of pool p have sent to this receiver what they may today while they are new to it";
        let unknown = "addresses of pool p may send to this receiver today, while they are new to it, can't be found out now";
        assert_eq!(why(&[], &[true]), (format!("the {spent}"), SPENT_FOR));
        for some in [[true, false], [false, true]] {
            assert_eq!(why(&[], &some), (format!("what the {unknown}"), SPENT_FOR));
        }
        let missing = [(50, "no one"), (40, "no two")];
        assert_eq!(why(&missing, &[]), ("no two".to_owned(), secs(40)));
        assert_eq!(
            why(&missing, &[true]),
            (format!("no two; the other {spent}"), secs(40))
        );
        assert_eq!(
            why(&missing, &[false]),
            (format!("no two; what the other {unknown}"), secs(40))
        );
    }

    #[test]
    fn who_could_not_be_taken_for_long_does_not_make_up_for_it() {
        let mut state = [(1_000_000, 1), (-1_000_000, 1)];
        let turns: Vec<usize> = (0..10).map(|_| next(&mut state).unwrap()).collect();
        assert_eq!(turns, [0, 0, 0, 1, 0, 1, 0, 1, 0, 1]);
    }
}

//! Tests of what sites are lent.

use super::*;

const A: CoreId = CoreId(0);
const B: CoreId = CoreId(1);

fn limits() -> SiteLimits {
    SiteLimits {
        at_first: 4,
        most: 20,
        pause_first: Duration::from_secs(30),
        pause_max: Duration::from_secs(120),
        rate: None,
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

    fn lent(&mut self, report: SiteReport, limits: SiteLimits) -> Lent {
        self.0.lend("mx", A, report, limits, self.1)
    }

    fn state(&self) -> SiteState {
        let (mut states, next) = self.0.states((None, false), None, 9, self.1);
        assert_eq!((states.len(), next), (1, None));
        states.remove(0)
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
fn a_site_that_lets_in_one_connection_has_that_and_all_cores_have_it_in_turn() {
    let mut owner = Owner::new();
    owner.lend(A, report(100, 0, 0));
    owner.lend(A, report(100, 9, 100));
    // The other core has mail for it too, and is let in by none.
    let refused = || SiteReport {
        unreachable: Some("421".into()),
        refused: Some("421".into()),
        ..report(9, 0, 0)
    };
    let busy = |has| SiteReport {
        links: has,
        ..report(100, has, 5)
    };
    owner.lend(A, busy(1));
    owner.lend(B, refused());
    let mut held = [1, 0];
    let mut turns = [0, 0];
    for _ in 0..100 {
        held[0] = owner.lend(A, busy(held[0]));
        held[1] = owner.lend(B, report(9, held[1], 0));
        assert!(held[0] + held[1] <= 1, "{held:?}");
        (turns[0], turns[1]) = (turns[0] + held[0], turns[1] + held[1]);
        owner.1 += Duration::from_millis(100);
    }
    assert!(turns[0] > 20 && turns[1] > 20, "{turns:?}");
    // Later one more is tried.
    owner.after(6);
    let lent: u32 = (0..9)
        .map(|_| owner.after(1).lend(A, busy(1)))
        .max()
        .unwrap();
    assert!(lent > 1);
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
    assert_eq!(owner.state().pause, None);
    assert_eq!(owner.after(20).lend(A, gone()), 0);
    assert_eq!(owner.0.resume(Some("other"), owner.1), 0);
    assert_eq!(owner.0.resume(None, owner.1), 1);
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

fn asks(kind: Kind, secs: u64) -> SiteReport {
    SiteReport {
        asked: vec![Asked {
            kind,
            length: Duration::from_secs(secs),
            cause: "421 4.7.28 slower".into(),
        }],
        overloads: 1,
        ..report(100, 4, 0)
    }
}

#[test]
fn no_more_messages_are_lent_than_the_rate_lets_through() {
    let mut owner = Owner::new();
    let limits = SiteLimits {
        rate: Some("120/minute".parse().unwrap()),
        ..limits()
    };
    let mut got = [0, 0];
    let mut unused = [0, 0];
    for step in 0..1_000 {
        for (n, core) in [A, B].into_iter().enumerate() {
            let asks = SiteReport {
                unused: unused[n],
                ..report(10, 1, 0)
            };
            let lent = owner.0.lend("mx", core, asks, limits, owner.1);
            let messages = lent.messages.unwrap();
            assert_eq!(messages.reason, "120 messages per minute to this site");
            assert!(lent.again <= Duration::from_millis(500));
            // Now and then one is given back.
            unused[n] = u32::from(step % 7 == 0).min(messages.count);
            got[n] += messages.count - unused[n];
        }
        owner.1 += Duration::from_millis(100);
    }
    // 100 s at 2 a second.
    assert!((195..=202).contains(&(got[0] + got[1])), "{got:?}");
    assert!(got[0] > 80 && got[1] > 80, "{got:?}");
    // Nothing is saved up but a second's.
    owner.after(3600);
    let lent = owner.0.lend("mx", A, report(10, 1, 0), limits, owner.1);
    assert_eq!(lent.messages.map(|m| m.count), Some(2));
    // Those who have nothing to send get none.
    let lent = owner.after(9).lent(report(0, 1, 0), limits);
    assert_eq!(lent.messages.map(|m| m.count), Some(0));
}

#[test]
fn a_reply_pauses_a_site_for_as_long_as_its_rule_says() {
    let mut owner = Owner::new();
    owner.lend(A, report(100, 0, 0));
    assert_eq!(owner.lend(A, asks(Kind::Pause, 60)), 0);
    // What others took meanwhile ends no such pause, and the same reply makes it no longer.
    assert_eq!(owner.lend(B, report(100, 4, 5)), 0);
    assert_eq!(owner.after(1).lend(A, asks(Kind::Pause, 60)), 0);
    let state = owner.state();
    let reason = "the site is paused by a rule: 421 4.7.28 slower".to_owned();
    assert_eq!(state.pause, Some((Duration::from_secs(59), reason)));
    let news = owner.0.take_news();
    let pauses = news.iter().filter(|n| n.kind == Kind::Pause);
    assert_eq!(pauses.count(), 1, "{news:?}");
    assert_eq!(owner.0.restrained(owner.1), (1, 0, 0));
    assert!(owner.after(60).lend(A, report(100, 0, 0)) > 0);
    let done = owner.state().actions;
    let pause = done.iter().find(|a| a.kind == Kind::Pause).unwrap();
    assert_eq!(
        (pause.length, pause.ended, pause.cause.as_str()),
        (Some(Duration::from_secs(60)), None, "421 4.7.28 slower")
    );
}

#[test]
fn an_address_of_ours_rests_whatever_it_had_and_is_told_as_long() {
    let mut owner = Owner::new();
    let key = member_key("bulk", "one");
    let states = |owner: &Owner| owner.0.states((None, false), None, 9, owner.1).0;
    let lend = |owner: &mut Owner, report| owner.0.lend(&key, A, report, limits(), owner.1);
    assert!(lend(&mut owner, report(1, 1, 10_000)).connections > 0);
    assert!(states(&owner).is_empty());
    let gone = SiteReport {
        accepted: 10_000,
        ..asks(Kind::NoAddress, 60)
    };
    let lent = lend(&mut owner, gone);
    let reason = "421 4.7.28 slower".to_owned();
    assert_eq!(lent.pause, Some((Duration::from_secs(60), reason)));
    let told = states(&owner);
    assert_eq!((told.len(), told[0].site.as_str()), (1, key.as_str()));
    assert_eq!(owner.0.restrained(owner.1), (0, 0, 1));
    // That others have connections does not end it.
    assert!(lend(owner.after(1), report(1, 1, 10_000)).pause.is_some());
    assert!(lend(owner.after(60), report(1, 1, 10_000)).pause.is_none());
    assert!(states(&owner).is_empty());
}

#[test]
fn a_reply_slows_a_site_down_for_a_time() {
    let mut owner = Owner::new();
    let limits = SiteLimits {
        rate: Some("100/second".parse().unwrap()),
        ..limits()
    };
    owner.0.lend("mx", A, report(500, 4, 100), limits, owner.1);
    let slow = |owner: &mut Owner| {
        let asks = asks(Kind::Slow, 600);
        owner.0.lend("mx", A, asks, limits, owner.1).connections
    };
    assert_eq!(slow(&mut owner), 10);
    // Once, though others are told the same.
    assert_eq!(slow(owner.after(1)), 10);
    let lent = owner.after(2).lent(report(500, 4, 100), limits);
    // It takes what it is sent, and gets no more for that.
    assert_eq!(lent.connections, 10);
    let messages = lent.messages.unwrap();
    assert_eq!(messages.count, 50);
    assert_eq!(
        messages.reason,
        "100 messages per second to this site, and 1/2 of that now: 421 4.7.28 slower"
    );
    assert_eq!(slow(owner.after(10)), 5);
    assert_eq!(owner.state().rate.unwrap().1, 0.25);
    assert_eq!(owner.0.restrained(owner.1), (0, 1, 0));
    let lent = owner.after(600).lent(report(500, 4, 100), limits);
    assert_eq!(lent.connections, 20);
    assert_eq!(lent.messages.unwrap().count, 100);
}

#[test]
fn room_is_made_at_the_cost_of_those_that_nobody_uses() {
    let mut owner = Owner::new();
    let most = 2 * LOOKED_AT_MAX;
    let add = |owner: &mut Owner, n: usize, report| {
        // Those of the other half are looked at the second time.
        let room = (0..2).any(|_| owner.0.make_room(most, owner.1));
        if room {
            let name = format!("{n:04}");
            owner.0.lend(&name, A, report, limits(), owner.1);
        }
        room
    };
    let gone = || SiteReport {
        unreachable: Some("connection refused".into()),
        ..report(9, 1, 0)
    };
    for n in 0..most {
        assert!(add(&mut owner, n, gone()));
    }
    // All are in use.
    assert!(!add(&mut owner, 9_999, report(1, 0, 0)));
    owner.after(11);
    for n in most..2 * most {
        // They are left alone: one goes for each.
        assert!(add(&mut owner, n, report(1, 0, 0)), "{n}");
        assert_eq!(owner.0.sites.len(), most);
    }
    assert_eq!(owner.0.restrained(owner.1).0, 0);
    assert!(!add(&mut owner, 9_999, report(1, 0, 0)));
    owner.after(11);
    assert!(add(&mut owner, 9_999, report(1, 0, 0)));
    assert_eq!(owner.0.sites.len(), most - LOOKED_AT_MAX + 1);
}

#[test]
fn operators_pause_and_resume_by_name_or_host() {
    let mut owner = Owner::new();
    let name = "relay>mx1.example,mx2.example";
    owner.0.lend(name, A, report(9, 0, 0), limits(), owner.1);
    owner
        .0
        .lend("mx3.example", A, report(9, 0, 0), limits(), owner.1);
    let hour = Duration::from_secs(3600);
    assert_eq!(owner.0.pause("mx9.example", hour, "", owner.1), 0);
    assert_eq!(owner.0.pause("MX2.example", hour, "moving", owner.1), 1);
    let lent = owner.0.lend(name, A, report(9, 0, 1), limits(), owner.1);
    let reason = "the site is paused by hand: moving".to_owned();
    assert_eq!(lent.pause, Some((hour, reason)));
    let (found, next) = owner.0.states((None, true), None, 1, owner.1);
    assert_eq!((found.len(), next.as_deref()), (0, Some("mx3.example")));
    let (found, next) = owner.0.states((None, true), next.as_deref(), 1, owner.1);
    assert_eq!((found[0].site.as_str(), next), (name, None));
    owner.after(60);
    assert_eq!(owner.0.resume(Some("mx1.example"), owner.1), 1);
    let (found, _) = owner.0.states((Some(name), false), None, 9, owner.1);
    let done = &found[0].actions[0];
    assert_eq!(
        (done.kind, done.ago, done.ended),
        (Kind::ByHand, Duration::from_secs(60), Some(Duration::ZERO))
    );
    assert_eq!(owner.0.resume(None, owner.1), 0);
}

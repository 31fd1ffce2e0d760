//! Who comes too often: connections and failed logins by address and by two wider networks, in fixed windows.
//!
//! One limiter for each network lives on the core its hash names; other cores ask over lanes. Pure: time is an argument.
//! A count is all or nothing: an attempt that would exceed any class is refused and not counted.

use std::collections::HashMap;
use std::net::IpAddr;

use crate::settings::PerNetwork;

/// The three networks of an address: itself, and two wider ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Networks([(u8, u128); 3]);

impl Networks {
    /// /32, /26, /21 for IPv4; /64, /48, /32 for IPv6.
    pub fn of(address: IpAddr) -> Networks {
        match address.to_canonical() {
            IpAddr::V4(v4) => {
                let bits = u128::from(u32::from(v4));
                Networks([(0, bits), (1, bits >> 6), (2, bits >> 11)])
            }
            IpAddr::V6(v6) => {
                let bits = u128::from(v6);
                Networks([(3, bits >> 64), (4, bits >> 80), (5, bits >> 96)])
            }
        }
    }

    /// All three, the narrowest first.
    pub fn each(&self) -> [(u8, u128); 3] {
        self.0
    }

    /// The network of the address alone.
    pub fn narrowest(&self) -> (u8, u128) {
        self.0[0]
    }

    /// A stable number of the widest network: who owns its limiter.
    pub fn widest(&self) -> [u8; 16] {
        self.0[2].1.to_be_bytes()
    }
}

/// Counts in windows of a fixed length.
#[derive(Debug, Default)]
pub struct Window {
    number: u64,
    counts: HashMap<(u8, u128), u32>,
}

impl Window {
    fn turn(&mut self, now_secs: u64, length_secs: u64) {
        let number = now_secs / length_secs.max(1);
        // A clock set back starts a new window as well: counts of the future help nobody.
        if number != self.number {
            self.number = number;
            self.counts.clear();
        }
    }

    fn has_room(&self, networks: &Networks, limit: &PerNetwork) -> bool {
        Window::have_room(&[self], networks, limit)
    }

    /// Whether they have counted less than the limit together.
    fn have_room(windows: &[&Window], networks: &Networks, limit: &PerNetwork) -> bool {
        let limits = [limit.address, limit.neighbourhood, limit.provider];
        networks.0.iter().zip(limits).all(|(network, limit)| {
            let count = |window: &&Window| window.counts.get(network).copied().unwrap_or(0);
            windows.iter().map(count).fold(0, u32::saturating_add) < limit
        })
    }

    fn add(&mut self, networks: &Networks) {
        for network in &networks.0 {
            // The table is bounded: past it, new networks are not counted rather than old ones forgotten.
            if self.counts.len() < NETWORKS_MAX || self.counts.contains_key(network) {
                *self.counts.entry(*network).or_insert(0) += 1;
            }
        }
    }

    fn subtract(&mut self, networks: &Networks, amount: u32) {
        for network in &networks.0 {
            if let Some(count) = self.counts.get_mut(network) {
                *count = count.saturating_sub(amount);
                if *count == 0 {
                    self.counts.remove(network);
                }
            }
        }
    }

    /// A successful login forgives the address its failures, and the wider networks as many.
    fn forgive(&mut self, networks: &Networks) {
        let own = self.counts.get(&networks.0[0]).copied().unwrap_or(0);
        self.subtract(networks, own);
    }
}

/// Connections: how many open now, how many in this minute.
#[derive(Debug, Default)]
pub struct ConnectionLimiter {
    minute: Window,
    open: Window,
}

/// Why a connection is turned away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// Too many connections in this minute.
    Rate,
    /// Too many connections are open.
    Open,
    /// Too many failed logins.
    Failures,
}

impl ConnectionLimiter {
    /// Counts a new connection in, or says why not.
    pub fn admit(
        &mut self,
        networks: &Networks,
        now_secs: u64,
        per_minute: &PerNetwork,
        open: &PerNetwork,
    ) -> Result<(), Refused> {
        self.minute.turn(now_secs, 60);
        if !self.minute.has_room(networks, per_minute) {
            return Err(Refused::Rate);
        }
        if !self.open.has_room(networks, open) {
            return Err(Refused::Open);
        }
        self.minute.add(networks);
        self.open.add(networks);
        Ok(())
    }

    /// The connection has ended.
    pub fn release(&mut self, networks: &Networks) {
        self.open.subtract(networks, 1);
    }
}

/// Connections that are open now.
#[derive(Debug, Default)]
pub struct OpenLimiter(Window);

impl OpenLimiter {
    /// Counts a new connection in, if there is room.
    pub fn admit(&mut self, networks: &Networks, open: &PerNetwork) -> bool {
        let has_room = self.0.has_room(networks, open);
        if has_room {
            self.0.add(networks);
        }
        has_room
    }

    /// The connection has ended.
    pub fn release(&mut self, networks: &Networks) {
        self.0.subtract(networks, 1);
    }
}

/// Failed logins in this minute and this day, and attempts under way, which may fail.
#[derive(Debug, Default)]
pub struct FailureLimiter {
    minute: Window,
    day: Window,
    under_way: UnderWay,
}

/// Attempts begun in this minute and before it. One whose end is never told is forgotten after the next turn or the one after.
#[derive(Debug, Default)]
struct UnderWay {
    now: Window,
    before: Window,
}

impl UnderWay {
    fn turn(&mut self, now_secs: u64) {
        let number = now_secs / 60;
        if number != self.now.number {
            self.before.counts = std::mem::take(&mut self.now.counts);
            self.now.number = number;
        }
    }

    fn subtract(&mut self, networks: &Networks) {
        let before = self.before.counts.contains_key(&networks.0[0]);
        let window = if before {
            &mut self.before
        } else {
            &mut self.now
        };
        window.subtract(networks, 1);
    }
}

/// Whether a login may be tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum May {
    /// It is counted as under way now.
    Try,
    /// If those under way all fail there is no room for it.
    Wait,
    /// Too many have failed.
    Refused,
}

impl FailureLimiter {
    /// Counts an attempt as under way, unless those under way and failed are as many as may fail.
    pub fn begin(
        &mut self,
        networks: &Networks,
        now_secs: u64,
        per_minute: &PerNetwork,
        per_day: &PerNetwork,
    ) -> May {
        if !self.has_room(networks, now_secs, per_minute, per_day) {
            return May::Refused;
        }
        self.under_way.turn(now_secs);
        let windows = [(&self.minute, per_minute), (&self.day, per_day)];
        if !windows.iter().all(|(failed, limit)| {
            let all = [*failed, &self.under_way.now, &self.under_way.before];
            Window::have_room(&all, networks, limit)
        }) {
            return May::Wait;
        }
        self.under_way.now.add(networks);
        May::Try
    }

    /// An attempt is over, whatever came of it.
    pub fn ended(&mut self, networks: &Networks) {
        self.under_way.subtract(networks);
    }

    /// Whether another attempt may be made.
    pub fn has_room(
        &mut self,
        networks: &Networks,
        now_secs: u64,
        per_minute: &PerNetwork,
        per_day: &PerNetwork,
    ) -> bool {
        self.minute.turn(now_secs, 60);
        self.day.turn(now_secs, 86_400);
        self.minute.has_room(networks, per_minute) && self.day.has_room(networks, per_day)
    }

    /// An attempt failed.
    pub fn failed(&mut self, networks: &Networks, now_secs: u64) {
        self.minute.turn(now_secs, 60);
        self.day.turn(now_secs, 86_400);
        self.minute.add(networks);
        self.day.add(networks);
    }

    /// An attempt succeeded.
    pub fn succeeded(&mut self, networks: &Networks) {
        self.minute.forgive(networks);
        self.day.forgive(networks);
    }
}

/// Requests: how many in this minute and in this hour.
#[derive(Debug, Default)]
pub struct RequestLimiter {
    minute: Window,
    hour: Window,
}

impl RequestLimiter {
    /// Counts a request in, or refuses it.
    pub fn admit(
        &mut self,
        networks: &Networks,
        now_secs: u64,
        per_minute: &PerNetwork,
        per_hour: &PerNetwork,
    ) -> bool {
        self.minute.turn(now_secs, 60);
        self.hour.turn(now_secs, 3600);
        let room =
            self.minute.has_room(networks, per_minute) && self.hour.has_room(networks, per_hour);
        if room {
            self.minute.add(networks);
            self.hour.add(networks);
        }
        room
    }
}

/// Networks counted in one window, at most: a flood from all of IPv6 must not fill the memory.
const NETWORKS_MAX: usize = 200_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(ip1: u32, ip2: u32, ip3: u32) -> PerNetwork {
        PerNetwork {
            address: ip1,
            neighbourhood: ip2,
            provider: ip3,
        }
    }

    fn networks(text: &str) -> Networks {
        Networks::of(text.parse().unwrap())
    }

    #[test]
    fn requests_are_counted_by_minute_and_hour() {
        let mut limiter = RequestLimiter::default();
        let (minute, hour) = (limit(2, 9, 9), limit(3, 9, 9));
        let one = networks("192.0.2.1");
        let mut admit = |now| limiter.admit(&one, now, &minute, &hour);
        assert_eq!([admit(0), admit(1), admit(2)], [true, true, false]);
        assert_eq!([admit(60), admit(61), admit(3600)], [true, false, true]);
    }

    #[test]
    fn open_connections_of_one_network_leave_room_for_others() {
        let mut limiter = OpenLimiter::default();
        let open = limit(2, 3, 9);
        let [one, near, far] = ["192.0.2.1", "192.0.2.2", "203.0.113.1"].map(networks);
        let mut admit = |who| limiter.admit(who, &open);
        assert_eq!([admit(&one), admit(&one), admit(&one)], [true, true, false]);
        assert_eq!(
            [admit(&near), admit(&near), admit(&far)],
            [true, false, true]
        );
        limiter.release(&one);
        assert!(limiter.admit(&near, &open));
        assert!(!limiter.admit(&one, &open));
    }

    #[test]
    fn a_window_ends() {
        let mut limiter = ConnectionLimiter::default();
        let (rate, open) = (limit(1, 10, 10), limit(9, 9, 9));
        assert_eq!(
            limiter.admit(&networks("192.0.2.1"), 59, &rate, &open),
            Ok(())
        );
        assert_eq!(
            limiter.admit(&networks("192.0.2.1"), 59, &rate, &open),
            Err(Refused::Rate)
        );
        assert_eq!(
            limiter.admit(&networks("192.0.2.1"), 60, &rate, &open),
            Ok(())
        );
    }

    #[test]
    fn wider_networks_count_their_addresses_together() {
        let mut limiter = ConnectionLimiter::default();
        let (rate, open) = (limit(9, 2, 9), limit(9, 9, 9));
        assert_eq!(
            limiter.admit(&networks("192.0.2.1"), 0, &rate, &open),
            Ok(())
        );
        assert_eq!(
            limiter.admit(&networks("192.0.2.2"), 0, &rate, &open),
            Ok(())
        );
        assert_eq!(
            limiter.admit(&networks("192.0.2.3"), 0, &rate, &open),
            Err(Refused::Rate)
        );
        assert_eq!(
            limiter.admit(&networks("192.0.2.65"), 0, &rate, &open),
            Ok(()),
            "another /26"
        );
    }

    #[test]
    fn a_mapped_address_is_the_ipv4_address() {
        assert_eq!(networks("::ffff:192.0.2.1"), networks("192.0.2.1"));
        assert_eq!(
            networks("2001:db8::1"),
            networks("2001:db8::ffff"),
            "one /64"
        );
    }

    #[test]
    fn ended_connections_make_room() {
        let mut limiter = ConnectionLimiter::default();
        let (rate, open) = (limit(9, 9, 9), limit(1, 9, 9));
        let peer = networks("192.0.2.1");
        assert_eq!(limiter.admit(&peer, 0, &rate, &open), Ok(()));
        assert_eq!(limiter.admit(&peer, 0, &rate, &open), Err(Refused::Open));
        limiter.release(&peer);
        assert_eq!(limiter.admit(&peer, 0, &rate, &open), Ok(()));
    }

    #[test]
    fn attempts_under_way_count_like_failures_until_they_end() {
        let mut limiter = FailureLimiter::default();
        let (minute, day) = (limit(2, 3, 9), limit(9, 9, 9));
        let (one, two) = (networks("192.0.2.1"), networks("192.0.2.2"));
        let begin = |limiter: &mut FailureLimiter, networks, now| {
            limiter.begin(networks, now, &minute, &day)
        };
        assert_eq!(begin(&mut limiter, &one, 0), May::Try);
        assert_eq!(begin(&mut limiter, &one, 0), May::Try);
        assert_eq!(begin(&mut limiter, &one, 0), May::Wait);
        assert_eq!(begin(&mut limiter, &two, 0), May::Try);
        assert_eq!(begin(&mut limiter, &two, 0), May::Wait, "the /26");
        limiter.ended(&one);
        assert_eq!(begin(&mut limiter, &one, 0), May::Try);
        for _ in 0..2 {
            limiter.ended(&one);
            limiter.failed(&one, 0);
        }
        assert_eq!(begin(&mut limiter, &one, 0), May::Refused);
        // Whose end was never told is forgotten, but not at the next turn of the minute: it may be going on.
        let (minute, day) = (limit(9, 9, 1), limit(9, 9, 9));
        let mut begin = |now| limiter.begin(&two, now, &minute, &day);
        assert_eq!(
            [begin(60), begin(119), begin(120)],
            [May::Wait, May::Wait, May::Try]
        );
    }

    #[test]
    fn success_forgives_the_address_and_as_much_of_its_networks() {
        let mut limiter = FailureLimiter::default();
        let (minute, day) = (limit(2, 3, 9), limit(9, 9, 9));
        let (one, two) = (networks("192.0.2.1"), networks("192.0.2.2"));
        limiter.failed(&one, 0);
        limiter.failed(&one, 0);
        limiter.failed(&two, 0);
        assert!(!limiter.has_room(&one, 0, &minute, &day));
        assert!(!limiter.has_room(&two, 0, &minute, &day));
        limiter.succeeded(&one);
        assert!(limiter.has_room(&one, 0, &minute, &day));
        assert!(limiter.has_room(&two, 0, &minute, &day));
    }
}

//! Answers for as long as they hold. Bounded by their number and by octets; what has not been asked for lately goes first.
//! RFC 1035 7.4, RFC 2308 5 (negative answers), RFC 9520 3.2 (failures). Not here: waiting for an answer that is under way.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::Name;
use crate::error::LookupError;
use crate::lookup::{Outcome, Resolved};
use crate::record::RecordType;

/// Bounds of a cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheLimits {
    /// Answers.
    pub entries_max: usize,
    /// Octets of all of them, about.
    pub bytes_max: usize,
    /// An answer is kept at least so long, whatever it says.
    pub ttl_min: Duration,
    /// And at most.
    pub ttl_max: Duration,
    /// That there are no records is kept at most so long.
    pub negative_ttl_max: Duration,
    /// So long nobody is asked again after a failure.
    pub failure_ttl: Duration,
}

impl Default for CacheLimits {
    fn default() -> CacheLimits {
        CacheLimits {
            entries_max: 10_000,
            bytes_max: 8 << 20,
            ttl_min: Duration::ZERO,
            ttl_max: Duration::from_secs(24 * 3600),
            // RFC 2308 5: one to three hours work well.
            negative_ttl_max: Duration::from_secs(3600),
            // RFC 9520 3.2: at least 1 second, at most 5 minutes.
            failure_ttl: Duration::from_secs(5),
        }
    }
}

/// A cache of one core.
pub struct Cache {
    limits: CacheLimits,
    entries: HashMap<(Name, RecordType), Entry>,
    bytes: usize,
    /// Keys in the order in which they come up for removal, as a clock hand goes round.
    ring: Vec<(Name, RecordType)>,
    hand: usize,
}

struct Entry {
    answer: Result<Resolved, LookupError>,
    until: Instant,
    bytes: usize,
    /// Asked for since the hand came by.
    is_used: bool,
    /// Its place in the ring.
    place: usize,
}

impl Cache {
    /// An empty one.
    pub fn new(limits: CacheLimits) -> Cache {
        Cache {
            limits,
            entries: HashMap::new(),
            bytes: 0,
            ring: Vec::new(),
            hand: 0,
        }
    }

    /// The answer, if one is known that still holds, with the seconds that are left of it.
    pub fn get(
        &mut self,
        name: &Name,
        record_type: RecordType,
        now: Instant,
    ) -> Option<Result<Resolved, LookupError>> {
        let key = (name.clone(), record_type);
        let entry = self.entries.get_mut(&key)?;
        let left = entry.until.saturating_duration_since(now);
        if left.is_zero() {
            self.remove(&key);
            return None;
        }
        entry.is_used = true;
        let mut answer = entry.answer.clone();
        if let Ok(resolved) = &mut answer {
            resolved.ttl = u32::try_from(left.as_secs()).unwrap_or(u32::MAX);
        }
        Some(answer)
    }

    /// Keeps an answer or a failure, for as long as it holds and the limits allow. Answers it with that time.
    pub fn insert(
        &mut self,
        name: &Name,
        record_type: RecordType,
        mut answer: Result<Resolved, LookupError>,
        now: Instant,
    ) -> Result<Resolved, LookupError> {
        let ttl = self.ttl(&answer);
        if let Ok(resolved) = &mut answer {
            resolved.ttl = u32::try_from(ttl.as_secs()).unwrap_or(u32::MAX);
        }
        let key = (name.clone(), record_type);
        self.remove(&key);
        let bytes = size_of::<Entry>()
            + 2 * (size_of::<(Name, RecordType)>() + name.as_str().len())
            + answer.as_ref().map_or(FAILURE, Resolved::size);
        if ttl.is_zero() || self.limits.entries_max == 0 || bytes > self.limits.bytes_max {
            return answer;
        }
        let is_full = |cache: &Cache| {
            cache.entries.len() >= cache.limits.entries_max
                || cache.bytes + bytes > cache.limits.bytes_max
        };
        while is_full(self) {
            self.evict(now);
        }
        self.bytes += bytes;
        self.ring.push(key.clone());
        let entry = Entry {
            answer: answer.clone(),
            until: now + ttl,
            bytes,
            is_used: false,
            place: self.ring.len() - 1,
        };
        self.entries.insert(key, entry);
        answer
    }

    /// Forgets all, for other limits from now on: the servers may be others too.
    pub fn reset(&mut self, limits: CacheLimits) {
        *self = Cache::new(limits);
    }

    /// How many answers there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Octets of all of them, about.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    fn ttl(&self, answer: &Result<Resolved, LookupError>) -> Duration {
        let limits = &self.limits;
        let Ok(resolved) = answer else {
            return limits.failure_ttl;
        };
        let most = match resolved.outcome {
            Outcome::Records(_) => limits.ttl_max,
            Outcome::NoData | Outcome::NxDomain => limits.negative_ttl_max.min(limits.ttl_max),
        };
        let least = limits.ttl_min.min(most);
        Duration::from_secs(resolved.ttl.into()).clamp(least, most)
    }

    /// Second chance: what was used since the hand last came by is left for another round, which is one round at most.
    fn evict(&mut self, now: Instant) {
        loop {
            if self.hand >= self.ring.len() {
                self.hand = 0;
            }
            let Some(key) = self.ring.get(self.hand).cloned() else {
                return;
            };
            match self.entries.get_mut(&key) {
                Some(entry) if entry.is_used && entry.until > now => entry.is_used = false,
                _ => {
                    self.remove(&key);
                    // The newest has come into its place, and is not the next to go.
                    self.hand += 1;
                    return;
                }
            }
            self.hand += 1;
        }
    }

    fn remove(&mut self, key: &(Name, RecordType)) {
        let Some(entry) = self.entries.remove(key) else {
            return;
        };
        self.bytes -= entry.bytes;
        self.ring.swap_remove(entry.place);
        // The last one has its place now.
        if let Some(moved) = self.ring.get(entry.place)
            && let Some(moved) = self.entries.get_mut(moved)
        {
            moved.place = entry.place;
        }
    }
}

/// Octets of the words about a failure, at most, or nearly so.
const FAILURE: usize = 512;

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;
    use crate::error::Cause;
    use crate::record::{Record, Text};

    const TYPE: RecordType = RecordType::Txt;

    fn name(n: usize) -> Name {
        Name::parse(&format!("n{n}.example")).unwrap()
    }

    fn text(ttl: u32, octets: usize) -> Result<Resolved, LookupError> {
        Ok(Resolved {
            outcome: Outcome::Records(Rc::new([Record::Txt(Text(vec![b'x'; octets]))])),
            aliases: Rc::new([]),
            authentic: true,
            ttl,
        })
    }

    fn none(ttl: u32) -> Result<Resolved, LookupError> {
        Ok(Resolved {
            outcome: Outcome::NxDomain,
            aliases: Rc::new([]),
            authentic: false,
            ttl,
        })
    }

    fn secs(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[test]
    fn an_answer_holds_for_its_time_and_says_what_is_left() {
        let (mut cache, now) = (Cache::new(CacheLimits::default()), Instant::now());
        cache.insert(&name(1), TYPE, text(10, 1), now).unwrap();
        let later = cache.get(&name(1), TYPE, now + secs(4)).unwrap().unwrap();
        assert_eq!((later.ttl, later.authentic), (6, true));
        assert!(cache.get(&name(1), RecordType::Mx, now).is_none());
        assert!(cache.get(&name(1), TYPE, now + secs(10)).is_none());
        assert_eq!((cache.len(), cache.bytes()), (0, 0));
    }

    #[test]
    fn times_are_clamped() {
        let limits = CacheLimits {
            ttl_min: secs(5),
            ttl_max: secs(100),
            negative_ttl_max: secs(20),
            ..CacheLimits::default()
        };
        let (mut cache, now) = (Cache::new(limits), Instant::now());
        let mut kept = |answer| cache.insert(&name(1), TYPE, answer, now).unwrap().ttl;
        assert_eq!(kept(text(0, 1)), 5);
        assert_eq!(kept(text(1000, 1)), 100);
        assert_eq!(kept(none(1000)), 20);
        assert_eq!(kept(none(0)), 5);
    }

    #[test]
    fn without_a_time_nothing_is_kept() {
        let (mut cache, now) = (Cache::new(CacheLimits::default()), Instant::now());
        cache.insert(&name(1), TYPE, text(60, 1), now).unwrap();
        // A newer answer replaces the older one also where it is not to be kept.
        cache.insert(&name(1), TYPE, none(0), now).unwrap();
        assert!(cache.get(&name(1), TYPE, now).is_none());
    }

    #[test]
    fn failures_are_remembered_for_a_moment() {
        let (mut cache, now) = (Cache::new(CacheLimits::default()), Instant::now());
        let failure = LookupError {
            name: name(1),
            record_type: TYPE,
            cause: Cause::ServFail(None),
        };
        let kept = cache.insert(&name(1), TYPE, Err(failure.clone()), now);
        assert_eq!(kept, Err(failure.clone()));
        assert_eq!(cache.get(&name(1), TYPE, now + secs(4)), Some(Err(failure)));
        assert_eq!(cache.get(&name(1), TYPE, now + secs(5)), None);
    }

    #[test]
    fn the_number_is_bounded_and_what_is_used_stays() {
        let limits = CacheLimits {
            entries_max: 10,
            ..CacheLimits::default()
        };
        let (mut cache, now) = (Cache::new(limits), Instant::now());
        for n in 0..1000 {
            cache.insert(&name(n), TYPE, text(60, 1), now).unwrap();
            assert!(cache.get(&name(0), TYPE, now).is_some(), "{n}");
            assert!(cache.len() <= 10 && cache.ring.len() == cache.len());
        }
        assert!(cache.get(&name(999), TYPE, now).is_some());
        assert!(cache.get(&name(500), TYPE, now).is_none());
    }

    #[test]
    fn the_octets_are_bounded() {
        let limits = CacheLimits {
            bytes_max: 100_000,
            ..CacheLimits::default()
        };
        let (mut cache, now) = (Cache::new(limits), Instant::now());
        for n in 0..200 {
            cache
                .insert(&name(n), TYPE, text(60, n * 100), now)
                .unwrap();
            assert!(cache.bytes() <= 100_000);
            assert!(cache.get(&name(n), TYPE, now).is_some(), "{n}");
            assert!(
                n == 0 || cache.get(&name(n - 1), TYPE, now).is_some(),
                "{n}"
            );
        }
        assert!(cache.get(&name(100), TYPE, now).is_none());
        cache
            .insert(&name(7), TYPE, text(60, 100_000), now)
            .unwrap();
        assert!(cache.get(&name(7), TYPE, now).is_none());
        cache.reset(limits);
        assert_eq!((cache.len(), cache.bytes()), (0, 0));
    }

    #[test]
    fn random_use_keeps_the_books() {
        let limits = CacheLimits {
            entries_max: 50,
            bytes_max: 30_000,
            ..CacheLimits::default()
        };
        let (mut cache, start) = (Cache::new(limits), Instant::now());
        let mut state = 7_u64;
        let mut random = |n: u64| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state % n
        };
        for round in 0..20_000 {
            let now = start + Duration::from_millis(round * 100);
            let (which, octets, ttl) = (random(100) as usize, random(2000), random(30));
            match random(2) {
                0 => drop(cache.get(&name(which), TYPE, now)),
                _ => drop(cache.insert(&name(which), TYPE, text(ttl as u32, octets as usize), now)),
            }
            assert!(cache.len() <= 50 && cache.bytes() <= 30_000);
            assert_eq!(cache.ring.len(), cache.len());
        }
        let sum: usize = cache.entries.values().map(|e| e.bytes).sum();
        assert_eq!(sum, cache.bytes());
        for (place, key) in cache.ring.iter().enumerate() {
            assert_eq!(cache.entries[key].place, place);
        }
    }
}

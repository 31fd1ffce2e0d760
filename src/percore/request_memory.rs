//! Octets that requests, and their responses, take of a core's memory, and whose they are. Called by `web/api/body`, and by `web/heads` for the network of a
//! client, before its account is known; what is counted is what
//! has come, however much was announced, and what is made of it ([`MADE_OF_BODY`]). Pure.
//!
//! How much one account may have depends on how much is free, so that those who come find some, however many have taken theirs: as much as is left
//! after it, alone half. Small ones and large ones are counted apart, and an eighth is for small ones alone: who holds large ones does not
//! keep anybody from sending small ones. While nobody else has large ones, an account may have one of the largest size.
//! Not here: waiting, as for messages on their way out (`rt::FairMemory`): who asks is told to come again.

use std::collections::HashMap;

use crate::settings::{AccountName, HttpLimits};

/// The memory of a core.
#[derive(Default)]
pub struct RequestMemory {
    small: Class,
    large: Class,
}

#[derive(Default)]
struct Class {
    taken: usize,
    holders: HashMap<Holder, usize>,
}

/// Who has some. What is said of accounts holds for each.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub enum Holder {
    /// An account.
    Account(AccountName),
    /// The network of a client whose account is not known yet.
    Network((u8, u128)),
}

impl From<AccountName> for Holder {
    fn from(account: AccountName) -> Holder {
        Holder::Account(account)
    }
}

/// How much there is.
#[derive(Clone, Copy)]
pub struct MemoryBounds {
    /// For all.
    all: usize,
    /// Of it, for small ones alone.
    aside: usize,
    /// For a request.
    largest: usize,
}

impl MemoryBounds {
    /// As the settings have it; one of the largest requests and some small ones find room in any case.
    pub fn new(limits: &HttpLimits) -> MemoryBounds {
        let (all, largest) = (
            limits.requests_memory_max_bytes.as_usize(),
            limits
                .request_max_bytes
                .as_usize()
                .saturating_mul(MADE_OF_BODY),
        );
        let aside = (all / RESERVE).max(2 * SMALL_MAX);
        MemoryBounds {
            all: all.max(largest.saturating_add(aside)),
            aside,
            largest,
        }
    }
}

impl RequestMemory {
    /// Octets that are taken.
    pub fn taken(&self) -> usize {
        self.small.taken + self.large.taken
    }

    /// Something of a holder has another size from now on, if that is not more than that may have.
    pub fn resize(
        &mut self,
        holder: impl Into<Holder>,
        (from, to): (usize, usize),
        bounds: MemoryBounds,
    ) -> bool {
        let holder = holder.into();
        self.class(from).remove(holder, from);
        let fits = to <= from || self.fits(holder, to, bounds);
        let size = if fits { to } else { from };
        self.class(size).add(holder, size);
        fits
    }

    /// The same of what is there already, and can't be refused any more.
    pub fn resize_anyway(&mut self, holder: impl Into<Holder>, (from, to): (usize, usize)) {
        let holder = holder.into();
        self.class(from).remove(holder, from);
        self.class(to).add(holder, to);
    }

    fn class(&mut self, octets: usize) -> &mut Class {
        match octets > SMALL_MAX {
            true => &mut self.large,
            false => &mut self.small,
        }
    }

    fn fits(&self, holder: Holder, octets: usize, bounds: MemoryBounds) -> bool {
        let is_large = octets > SMALL_MAX;
        let mut free = bounds.all.saturating_sub(self.taken());
        if is_large {
            let for_large = bounds.all - bounds.aside;
            free = free.min(for_large.saturating_sub(self.large.taken));
        }
        let Some(left) = free.checked_sub(octets) else {
            return false;
        };
        let class = if is_large { &self.large } else { &self.small };
        let held = class.holders.get(&holder).copied().unwrap_or(0);
        let own = held + octets;
        let is_alone = is_large && held == class.taken;
        own <= left || (is_alone && own <= bounds.largest)
    }
}

impl Class {
    fn add(&mut self, holder: Holder, octets: usize) {
        if octets > 0 {
            self.taken += octets;
            *self.holders.entry(holder).or_default() += octets;
        }
    }

    fn remove(&mut self, holder: Holder, octets: usize) {
        self.taken -= octets;
        if let Some(own) = self.holders.get_mut(&holder) {
            *own -= octets;
            if *own == 0 {
                self.holders.remove(&holder);
            }
        }
    }
}

/// So many octets of memory an octet of a body comes to, while it is read and a message is made of it: measured are 1.8 of files in base64, 2.5 of files
/// in forms, 2.2 of batches with much data; for a moment 3.9 of one long text whose JSON has escapes.
pub const MADE_OF_BODY: usize = 3;
/// Octets of a small one: of a body up to 64 KiB.
const SMALL_MAX: usize = MADE_OF_BODY * (64 << 10);
/// One in so many is for small ones alone.
const RESERVE: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Bytes;

    // Of bodies, as they count.
    const KIB: usize = MADE_OF_BODY << 10;
    const MIB: usize = MADE_OF_BODY << 20;

    fn bounds(all: u64, largest: u64) -> MemoryBounds {
        MemoryBounds::new(&HttpLimits {
            requests_memory_max_bytes: Bytes::mib(MADE_OF_BODY as u64 * all),
            request_max_bytes: Bytes::mib(largest),
            ..HttpLimits::default()
        })
    }

    fn account(number: usize) -> AccountName {
        format!("a{number}").parse().unwrap()
    }

    /// Takes pieces of this size for something new until there are no more; answers how much that is.
    fn grow(memory: &mut RequestMemory, who: usize, piece: usize, bounds: MemoryBounds) -> usize {
        let mut size = 0;
        while memory.resize(account(who), (size, size + piece), bounds) {
            size += piece;
        }
        size
    }

    #[test]
    fn each_leaves_as_much_as_it_has_to_those_who_come() {
        let (bounds, mut memory) = (bounds(256, 64), RequestMemory::default());
        let got: Vec<usize> = (0..5)
            .map(|who| grow(&mut memory, who, MIB, bounds) / MIB)
            .collect();
        assert_eq!(got, [112, 56, 28, 14, 7]);
        // By more of them nobody gets more.
        assert!(!memory.resize(account(0), (0, 4 * MIB), bounds));
        // What goes back is there for others.
        assert!(memory.resize(account(0), (112 * MIB, 0), bounds));
        assert_eq!(grow(&mut memory, 5, MIB, bounds), 59 * MIB);
    }

    #[test]
    fn two_have_the_largest_requests_at_once_and_one_has_in_any_case() {
        let (plenty, mut memory) = (bounds(256, 64), RequestMemory::default());
        for who in 0..2 {
            assert!(memory.resize(account(who), (0, 64 * MIB), plenty));
        }
        assert!(!memory.resize(account(2), (0, 64 * MIB), plenty));
        assert!(memory.resize(account(2), (0, 48 * MIB), plenty));
        for narrow in [bounds(64, 64), bounds(1, 64)] {
            let mut memory = RequestMemory::default();
            assert!(memory.resize(account(1), (0, SMALL_MAX), narrow));
            assert_eq!(grow(&mut memory, 0, MIB, narrow), 64 * MIB);
            assert!(!memory.resize(account(1), (0, MIB), narrow));
            assert!(memory.resize(account(2), (0, KIB), narrow));
        }
    }

    #[test]
    fn large_ones_leave_an_eighth_to_small_ones_and_small_ones_may_have_all() {
        let (bounds, mut memory) = (bounds(8, 8), RequestMemory::default());
        assert_eq!(bounds.all, 9 * MIB);
        let large = grow(&mut memory, 0, SMALL_MAX + 1, bounds);
        assert!(large > 7 * MIB && large <= 8 * MIB, "{large}");
        // Also to those of the same account.
        assert!(memory.resize(account(0), (0, SMALL_MAX), bounds));
        assert!(memory.resize(account(1), (0, SMALL_MAX), bounds));
        // One that grows is large then.
        let grown = (SMALL_MAX, SMALL_MAX + large);
        assert!(!memory.resize(account(1), grown, bounds));
        for (who, size) in [(0, large), (0, SMALL_MAX), (1, SMALL_MAX)] {
            assert!(memory.resize(account(who), (size, 0), bounds));
        }
        assert_eq!(memory.taken(), 0);
        // Networks have shares as accounts do.
        let network = Holder::Network((0, 1));
        assert!(memory.resize(network, (0, 3 * MIB), bounds));
        assert!(!memory.resize(account(0), (0, 4 * MIB), bounds));
        assert!(memory.resize(network, (3 * MIB, 0), bounds));
        // What can't be refused counts too, and leaves nothing to others.
        memory.resize_anyway(account(0), (0, 10 * MIB));
        assert!(!memory.resize(account(1), (0, KIB), bounds));
        memory.resize_anyway(account(0), (10 * MIB, 0));
        assert_eq!(memory.taken(), 0);
        assert!(memory.small.holders.is_empty() && memory.large.holders.is_empty());
        let mut who = 0;
        while memory.resize(account(who), (0, SMALL_MAX), bounds) {
            who += 1;
        }
        assert!(memory.taken() > bounds.all - 2 * SMALL_MAX);
        assert!(!memory.resize(account(who), (0, MIB), bounds));
    }
}

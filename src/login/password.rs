//! Stored passwords (argon2id) and the cache of successful checks.
//!
//! The cache holds no password: a keyed digest (HMAC-SHA-256 under a key of this process) of account and password. Changing the password
//! changes the stored hash, and an entry is only good for the hash it was checked against.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use argon2::password_hash::{PasswordHash, PasswordHasher, PasswordVerifier, SaltString};
use argon2::{Algorithm, Argon2, Params, Version};
use sasl::Secret;
use shards::pool::{Place, Pool, PoolError};
use shards::rt::{self, Event, Lines};

use super::limiter::Networks;

/// What hashing costs an attacker, and us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HashCost {
    /// Memory in KiB.
    pub memory_kib: u32,
    /// Passes over it.
    pub passes: u32,
}

impl HashCost {
    fn argon2(self) -> Argon2<'static> {
        let params =
            Params::new(self.memory_kib.max(8), self.passes.max(1), 1, None).unwrap_or_default();
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
    }
}

/// A new password's PHC string. Heavy: never on an executor. An error is the operating system's randomness failing.
pub fn hash_password(password: &[u8], cost: HashCost) -> Result<String, String> {
    let mut salt = [0; 16];
    random(&mut salt)?;
    let salt = SaltString::encode_b64(&salt).map_err(|e| e.to_string())?;
    let hash = cost
        .argon2()
        .hash_password(password, &salt)
        .map_err(|e| e.to_string())?;
    Ok(hash.to_string())
}

/// Fills `octets` from the operating system.
pub fn random(octets: &mut [u8]) -> Result<(), String> {
    use ring::rand::SecureRandom;
    ring::rand::SystemRandom::new()
        .fill(octets)
        .map_err(|_| "no randomness from the operating system".to_string())
}

/// What a stored hash cost; none if it is no hash of ours.
fn cost_of(stored: &str) -> Option<HashCost> {
    let hash = PasswordHash::new(stored).ok()?;
    let params = Params::try_from(&hash).ok()?;
    Some(HashCost {
        memory_kib: params.m_cost(),
        passes: params.t_cost(),
    })
}

fn matches(stored: &str, password: &[u8]) -> bool {
    PasswordHash::new(stored)
        .is_ok_and(|hash| Argon2::default().verify_password(password, &hash).is_ok())
}

/// The threads that check passwords. They are not those of storage, and less urgent: whoever guesses passwords waits for himself and
/// for other logins, never does mail wait for him. Who waits does so in the lines of his core, which hands `threads` checks at a time to
/// the pool; `cores` share it.
///
/// An executor that wakes does not interrupt a thread like these, however low its priority (see `shards::rt`): it waits to the end of that
/// one's slice, some milliseconds. So the first thread runs on `free` CPUs, which have no executor of a shard, and the others on what
/// everybody leaves. Not the first as well: on a machine without a moment's rest nobody could log in.
pub fn hashing_pool(threads: usize, cores: usize, free: Vec<usize>) -> std::io::Result<Pool> {
    let first = hashing_place(free);
    let other = Place {
        leftovers: true,
        cpus: Vec::new(),
        ..first.clone()
    };
    let mut places = vec![other; threads.max(1)];
    places[0] = first;
    Pool::start_each("hash", places, threads * cores.max(1))
}

/// Where a password is hashed without hurry, though not without end: the place of the pool's first thread.
pub fn hashing_place(free: Vec<usize>) -> Place {
    Place {
        nice: HASHING_NICE,
        leftovers: false,
        cpus: free,
    }
}

/// A password to be checked.
#[derive(Clone, Copy)]
pub struct Check<'a> {
    /// What the client gave as name. Checks of one name and password that come together share a hash; by the name as given, so that an
    /// unknown one behaves like a known one.
    pub address: &'a str,
    /// Whose it is; empty for unknown names.
    pub account: &'a str,
    /// What is stored; none for an unknown or passwordless account.
    pub stored: Option<&'a str>,
    /// What the client said.
    pub password: &'a [u8],
    /// Where it comes from.
    pub networks: Networks,
}

/// How much waiting there may be.
#[derive(Clone, Copy)]
pub struct Patience {
    /// Checks that wait on this core, at most.
    pub waiting_max: usize,
    /// How long one waits for its turn.
    pub limit: Duration,
}

/// Checks passwords on one core.
pub struct Verifier {
    key: ring::hmac::Key,
    cache: RefCell<HashMap<String, Cached>>,
    entries_max: usize,
    keep: Duration,
    cost: HashCost,
    decoy: String,
    pool: Pool,
    /// Checks of this core that the pool may have at a time.
    at_once: usize,
    /// Of networks.
    lines: Rc<Lines<[u8; 16]>>,
    waiting: Cell<usize>,
    hashes_anew: Cell<bool>,
    under_way: RefCell<HashMap<[u8; 32], Rc<UnderWay>>>,
}

/// A check that others may wait for.
struct UnderWay {
    stored: String,
    /// None when it is over: who had it checked has given up.
    result: Cell<Option<bool>>,
    over: Event,
}

/// The right and duty to have a check made.
struct Leads<'a> {
    verifier: &'a Verifier,
    digest: [u8; 32],
    under_way: Rc<UnderWay>,
}

impl Drop for Leads<'_> {
    fn drop(&mut self) {
        let mut all = self.verifier.under_way.borrow_mut();
        // Another hash may have been stored meanwhile, and be checked now.
        if all
            .get(&self.digest)
            .is_some_and(|u| Rc::ptr_eq(u, &self.under_way))
        {
            all.remove(&self.digest);
        }
        drop(all);
        self.under_way.over.notify();
    }
}

struct Counted<'a>(&'a Cell<usize>);

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

struct Resets<'a>(&'a Cell<bool>);

impl Drop for Resets<'_> {
    fn drop(&mut self) {
        self.0.set(false);
    }
}

struct Cached {
    digest: [u8; 32],
    stored: String,
    until: Instant,
}

impl Verifier {
    /// A verifier with an empty cache. An error is the operating system's randomness failing. `decoy` is a hash of
    /// [`Verifier::decoy`], made once for all cores; `pool` is [`hashing_pool`]'s, shared by them; it has `at_once` threads.
    pub fn new(
        entries_max: usize,
        keep: Duration,
        cost: HashCost,
        decoy: String,
        pool: Pool,
        at_once: usize,
    ) -> Result<Verifier, String> {
        let key =
            ring::hmac::Key::generate(ring::hmac::HMAC_SHA256, &ring::rand::SystemRandom::new())
                .map_err(|_| "no randomness from the operating system".to_string())?;
        Ok(Verifier {
            key,
            cache: RefCell::default(),
            entries_max,
            keep,
            cost,
            decoy,
            pool,
            at_once,
            lines: Rc::default(),
            waiting: Cell::new(0),
            hashes_anew: Cell::new(false),
            under_way: RefCell::default(),
        })
    }

    /// A hash that no password fits, checked for unknown names so that they take as long as known ones.
    pub fn decoy(cost: HashCost) -> Result<String, String> {
        let mut password = [0; 32];
        random(&mut password)?;
        hash_password(&password, cost)
    }

    /// The cost new passwords are hashed at.
    pub fn cost(&self) -> HashCost {
        self.cost
    }

    /// Whether the password is right for what is stored. Hashes in the pool, in its network's turn; [`PoolError::Full`] if too many wait
    /// already, or it waited too long.
    pub async fn verify(
        &self,
        check: Check<'_>,
        now: Instant,
        patience: Patience,
    ) -> Result<bool, PoolError> {
        let Check {
            account, stored, ..
        } = check;
        let hash = stored.unwrap_or(&self.decoy);
        let digest = self.digest(account, check.password);
        if stored.is_some() && self.is_cached(account, hash, &digest, now) {
            return Ok(true);
        }
        let right = self.check(check, hash, patience).await?;
        if right && stored.is_some() {
            self.remember(account, hash.to_string(), digest, now);
        }
        Ok(right && stored.is_some())
    }

    /// A password that was just found right, hashed at today's cost, where what is stored has another: as long as it has, the time of a check
    /// tells it from a made-up one's. In its network's turn, one at a time on this core.
    pub async fn hash_anew(
        &self,
        stored: &str,
        password: &Secret,
        networks: &Networks,
    ) -> Option<String> {
        let cost = self.cost;
        if cost_of(stored).is_none_or(|of| of == cost) || self.hashes_anew.replace(true) {
            return None;
        }
        let _one = Resets(&self.hashes_anew);
        let _turn = self.lines.take(&networks.widest(), self.at_once).await;
        let password = password.clone();
        let job = move || hash_password(password.as_ref(), cost);
        self.pool.run(job).await.ok()?.ok()
    }

    /// Derives something that takes long, in the pool where passwords are hashed; none: too many wait there.
    pub async fn derive<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        self.pool.run(job).await.ok()
    }

    async fn check(
        &self,
        check: Check<'_>,
        hash: &str,
        patience: Patience,
    ) -> Result<bool, PoolError> {
        if self.waiting.get() >= patience.waiting_max {
            return Err(PoolError::Full);
        }
        self.waiting.set(self.waiting.get() + 1);
        let _counted = Counted(&self.waiting);
        let begun = Instant::now();
        let left = || patience.limit.saturating_sub(begun.elapsed());
        let digest = self.digest(check.address, check.password);
        let leads = loop {
            let same = self.under_way.borrow().get(&digest).cloned();
            let Some(same) = same.filter(|s| s.stored == hash) else {
                break self.lead(digest, hash);
            };
            rt::timeout(left(), same.over.wait(0))
                .await
                .map_err(|_| PoolError::Full)?;
            if let Some(right) = same.result.get() {
                return Ok(right);
            }
        };
        let network = check.networks.widest();
        let turn = self.lines.take(&network, self.at_once);
        let _place = rt::timeout(left(), turn)
            .await
            .map_err(|_| PoolError::Full)?;
        let (hash, secret) = (hash.to_string(), Secret::new(check.password.to_vec()));
        let job = move || matches(&hash, secret.as_ref());
        let right = self.pool.run(job).await?;
        leads.under_way.result.set(Some(right));
        Ok(right)
    }

    fn lead(&self, digest: [u8; 32], hash: &str) -> Leads<'_> {
        let under_way = Rc::new(UnderWay {
            stored: hash.to_string(),
            result: Cell::new(None),
            over: Event::new(),
        });
        let mut all = self.under_way.borrow_mut();
        all.insert(digest, under_way.clone());
        Leads {
            verifier: self,
            digest,
            under_way,
        }
    }

    fn digest(&self, name: &str, password: &[u8]) -> [u8; 32] {
        let mut context = ring::hmac::Context::with_key(&self.key);
        context.update(&(name.len() as u64).to_le_bytes());
        context.update(name.as_bytes());
        context.update(password);
        let tag = context.sign();
        let mut digest = [0; 32];
        digest.copy_from_slice(tag.as_ref());
        digest
    }

    fn is_cached(&self, account: &str, hash: &str, digest: &[u8; 32], now: Instant) -> bool {
        let cache = self.cache.borrow();
        // Both sides are digests under a secret key, so the time of the comparison tells nothing.
        cache
            .get(account)
            .is_some_and(|c| c.stored == hash && c.until > now && c.digest == *digest)
    }

    fn remember(&self, account: &str, stored: String, digest: [u8; 32], now: Instant) {
        let mut cache = self.cache.borrow_mut();
        if cache.len() >= self.entries_max {
            cache.retain(|_, c| c.until > now);
            if cache.len() >= self.entries_max {
                cache.clear();
            }
        }
        if self.entries_max > 0 {
            cache.insert(
                account.to_string(),
                Cached {
                    digest,
                    stored,
                    until: now + self.keep,
                },
            );
        }
    }
}

/// Below the pool of storage, which has 5.
const HASHING_NICE: i32 = 10;

#[cfg(test)]
mod tests {
    use super::*;
    use futures_lite::future::poll_once;

    const CHEAP: HashCost = HashCost {
        memory_kib: 64,
        passes: 1,
    };

    fn verifier(pool: Pool) -> Verifier {
        let decoy = Verifier::decoy(CHEAP).unwrap();
        Verifier::new(10, Duration::from_secs(60), CHEAP, decoy, pool, 1).unwrap()
    }

    const PATIENT: Patience = Patience {
        waiting_max: 3,
        limit: Duration::from_secs(600),
    };

    fn check<'a>(account: &'a str, stored: Option<&'a str>, password: &'a [u8]) -> Check<'a> {
        Check {
            address: account,
            account,
            stored,
            password,
            networks: Networks::of("192.0.2.1".parse().unwrap()),
        }
    }

    /// Holds the pool's one thread up until the sender is dropped.
    async fn hold(pool: &Pool) -> std::sync::mpsc::Sender<()> {
        let (hold, held) = std::sync::mpsc::channel::<()>();
        let (began, begun) = std::sync::mpsc::channel();
        let pool = pool.clone();
        rt::spawn(&ROOM, async move {
            let held = move || {
                let _ = began.send(());
                let _ = held.recv();
            };
            let _ = pool.run(held).await;
        });
        while begun.try_recv().is_err() {
            rt::sleep(Duration::from_millis(1)).await;
        }
        hold
    }

    static ROOM: rt::Room = rt::Room::new("test");

    #[test]
    fn what_waits_for_a_check_is_bounded_and_the_cache_needs_no_turn() {
        let pool = hashing_pool(1, 2, Vec::new()).unwrap();
        let verifier = verifier(pool.clone());
        let stored = hash_password(b"right", CHEAP).unwrap();
        let now = Instant::now();
        rt::block_on(async {
            let check = |password: &'static [u8]| {
                verifier.verify(check("a", Some(stored.as_str()), password), now, PATIENT)
            };
            assert_eq!(check(b"right").await, Ok(true));
            let held = hold(&pool).await;
            let mut waiting: Vec<_> = [b"wrong1", b"wrong2", b"wrong3"]
                .into_iter()
                .map(|password| Box::pin(check(password)))
                .collect();
            for waiting in &mut waiting {
                assert!(poll_once(waiting).await.is_none());
            }
            assert_eq!(check(b"wrong4").await, Err(PoolError::Full));
            assert_eq!(check(b"right").await, Ok(true));
            drop(waiting.pop());
            let mut again = Box::pin(check(b"wrong4"));
            assert!(poll_once(&mut again).await.is_none(), "there is room");
            drop(held);
            for waiting in waiting {
                assert_eq!(waiting.await, Ok(false));
            }
            assert_eq!(again.await, Ok(false));
            assert_eq!(verifier.waiting.get(), 0);
        })
        .unwrap();
    }

    #[test]
    fn a_right_password_is_hashed_anew_where_the_cost_is_another() {
        let verifier = verifier(hashing_pool(1, 2, Vec::new()).unwrap());
        let old = HashCost { passes: 2, ..CHEAP };
        rt::block_on(async {
            let password = Secret::from(&b"right"[..]);
            let networks = Networks::of("192.0.2.1".parse().unwrap());
            let stored = hash_password(b"right", old).unwrap();
            let anew = verifier
                .hash_anew(&stored, &password, &networks)
                .await
                .unwrap();
            assert_eq!(cost_of(&anew), Some(CHEAP));
            assert!(matches(&anew, b"right"));
            assert_eq!(verifier.hash_anew(&anew, &password, &networks).await, None);
            assert_eq!(
                verifier.hash_anew("no hash", &password, &networks).await,
                None
            );
            // And once more, when it is wanted.
            assert!(
                verifier
                    .hash_anew(&stored, &password, &networks)
                    .await
                    .is_some()
            );
        })
        .unwrap();
    }

    #[test]
    fn who_waits_too_long_is_told() {
        let pool = hashing_pool(1, 2, Vec::new()).unwrap();
        let verifier = verifier(pool.clone());
        let stored = hash_password(b"right", CHEAP).unwrap();
        let short = Patience {
            limit: Duration::from_millis(5),
            ..PATIENT
        };
        rt::block_on(async {
            let held = hold(&pool).await;
            let now = Instant::now();
            let mut first = Box::pin(verifier.verify(check("a", None, b"x"), now, PATIENT));
            assert!(poll_once(&mut first).await.is_none());
            let second = verifier.verify(check("a", Some(stored.as_str()), b"right"), now, short);
            assert_eq!(second.await, Err(PoolError::Full));
            drop(held);
            assert_eq!(first.await, Ok(false));
            assert!(verifier.under_way.borrow().is_empty());
        })
        .unwrap();
    }

    #[test]
    fn equal_checks_share_one_hash_also_of_unknown_names_and_when_the_first_gives_up() {
        let pool = hashing_pool(1, 2, Vec::new()).unwrap();
        let verifier = verifier(pool.clone());
        let stored = hash_password(b"right", CHEAP).unwrap();
        let now = Instant::now();
        rt::block_on(async {
            for (stored, right) in [(Some(stored.as_str()), true), (None, false)] {
                let held = hold(&pool).await;
                let begin = || {
                    let check = check("a", stored, b"right");
                    Box::pin(verifier.verify(check, now, PATIENT))
                };
                let (mut first, mut second, mut third) = (begin(), begin(), begin());
                for waiting in [&mut first, &mut second, &mut third] {
                    assert!(poll_once(waiting).await.is_none());
                }
                assert_eq!(verifier.under_way.borrow().len(), 1);
                // The first alone has a job in the pool.
                assert_eq!(pool.backlog(), 1);
                drop(first);
                assert!(poll_once(&mut second).await.is_none());
                assert!(poll_once(&mut third).await.is_none());
                // One of the others has it checked now.
                assert_eq!(pool.backlog(), 2);
                drop(held);
                assert_eq!((second.await, third.await), (Ok(right), Ok(right)));
                assert!(verifier.under_way.borrow().is_empty());
            }
        })
        .unwrap();
    }

    #[test]
    fn only_the_right_password_fits_and_the_cache_forgets_a_changed_one() {
        let verifier = verifier(hashing_pool(1, 8, Vec::new()).unwrap());
        let old = hash_password(b"old password", CHEAP).unwrap();
        let new = hash_password(b"new password", CHEAP).unwrap();
        shards::rt::block_on(async {
            let now = Instant::now();
            for _ in 0..2 {
                assert_eq!(
                    verifier
                        .verify(
                            check("a", Some(old.as_str()), b"old password"),
                            now,
                            PATIENT
                        )
                        .await,
                    Ok(true)
                );
                assert_eq!(
                    verifier
                        .verify(
                            check("a", Some(old.as_str()), b"new password"),
                            now,
                            PATIENT
                        )
                        .await,
                    Ok(false)
                );
            }
            assert_eq!(
                verifier
                    .verify(
                        check("a", Some(new.as_str()), b"old password"),
                        now,
                        PATIENT
                    )
                    .await,
                Ok(false)
            );
            assert_eq!(
                verifier
                    .verify(check("b", None, b"old password"), now, PATIENT)
                    .await,
                Ok(false)
            );
            assert_eq!(verifier.cache.borrow().len(), 1);
        })
        .unwrap();
    }
}

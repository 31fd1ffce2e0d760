//! Stored passwords (argon2id) and the cache of successful checks.
//!
//! The cache holds no password: a keyed digest (HMAC-SHA-256 under a key of this process) of account and password. Changing the password
//! changes the stored hash, and an entry is only good for the hash it was checked against.

use std::cell::RefCell;
use std::collections::HashMap;
use std::time::{Duration, Instant};

use argon2::password_hash::{PasswordHash, PasswordHasher, PasswordVerifier, SaltString};
use argon2::{Algorithm, Argon2, Params, Version};
use serde::{Deserialize, Serialize};
use shards::pool::{Pool, PoolError};

/// What is stored of an account's secrets.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Credentials {
    /// PHC string of argon2id.
    pub argon2id: String,
}

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

/// Hashes a new password. Heavy: worker pool or commands only. An error is the operating system's randomness failing.
pub fn hash_password(password: &[u8], cost: HashCost) -> Result<Credentials, String> {
    let mut salt = [0; 16];
    random(&mut salt)?;
    let salt = SaltString::encode_b64(&salt).map_err(|e| e.to_string())?;
    let hash = cost
        .argon2()
        .hash_password(password, &salt)
        .map_err(|e| e.to_string())?;
    Ok(Credentials {
        argon2id: hash.to_string(),
    })
}

/// Fills `octets` from the operating system.
pub fn random(octets: &mut [u8]) -> Result<(), String> {
    use ring::rand::SecureRandom;
    ring::rand::SystemRandom::new()
        .fill(octets)
        .map_err(|_| "no randomness from the operating system".to_string())
}

fn matches(stored: &str, password: &[u8]) -> bool {
    PasswordHash::new(stored)
        .is_ok_and(|hash| Argon2::default().verify_password(password, &hash).is_ok())
}

/// The threads that check passwords. They are not those of storage, and less urgent: whoever guesses passwords waits for himself and
/// for other logins, never does mail wait for him. `waiting_max` checks may wait; the next is refused at once.
pub fn hashing_pool(threads: usize, waiting_max: usize) -> std::io::Result<Pool> {
    Pool::start_at(HASHING_NICE, "hash", threads, waiting_max)
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
}

struct Cached {
    digest: [u8; 32],
    stored: String,
    until: Instant,
}

impl Verifier {
    /// A verifier with an empty cache. An error is the operating system's randomness failing. `decoy` is a hash of
    /// [`Verifier::decoy`], made once for all cores; `pool` is [`hashing_pool`]'s, shared by them.
    pub fn new(
        entries_max: usize,
        keep: Duration,
        cost: HashCost,
        decoy: String,
        pool: Pool,
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
        })
    }

    /// A hash that no password fits, checked for unknown names so that they take as long as known ones.
    pub fn decoy(cost: HashCost) -> Result<String, String> {
        let mut password = [0; 32];
        random(&mut password)?;
        Ok(hash_password(&password, cost)?.argon2id)
    }

    /// The cost new passwords are hashed at.
    pub fn cost(&self) -> HashCost {
        self.cost
    }

    /// Whether the password is right for what is stored (none: an unknown or passwordless account). Hashes in the pool;
    /// [`PoolError::Full`] if too many wait for that already.
    pub async fn verify(
        &self,
        account: &str,
        stored: Option<&Credentials>,
        password: &[u8],
        now: Instant,
    ) -> Result<bool, PoolError> {
        let hash = stored.map_or(&self.decoy, |c| &c.argon2id);
        let digest = self.digest(account, password);
        if stored.is_some() && self.is_cached(account, hash, &digest, now) {
            return Ok(true);
        }
        let (hash, secret) = (hash.clone(), sasl::Secret::new(password.to_vec()));
        let to_check = hash.clone();
        let right = self
            .pool
            .run(move || matches(&to_check, secret.as_ref()))
            .await?;
        if right && stored.is_some() {
            self.remember(account, hash, digest, now);
        }
        Ok(right && stored.is_some())
    }

    fn digest(&self, account: &str, password: &[u8]) -> [u8; 32] {
        let mut context = ring::hmac::Context::with_key(&self.key);
        context.update(&(account.len() as u64).to_le_bytes());
        context.update(account.as_bytes());
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

/// Checks that may wait, for all cores: at 25 ms each, the last of them waits about 3 s with one thread.
pub const HASHES_WAITING_MAX: usize = 128;

/// Below the pool of storage, which has 5.
const HASHING_NICE: i32 = 10;

#[cfg(test)]
mod tests {
    use super::*;

    const CHEAP: HashCost = HashCost {
        memory_kib: 64,
        passes: 1,
    };

    fn verifier(pool: Pool) -> Verifier {
        let decoy = Verifier::decoy(CHEAP).unwrap();
        Verifier::new(10, Duration::from_secs(60), CHEAP, decoy, pool).unwrap()
    }

    #[test]
    fn what_waits_for_a_check_is_bounded_and_the_cache_needs_no_turn() {
        let pool = hashing_pool(1, 1).unwrap();
        let verifier = verifier(pool.clone());
        let stored = hash_password(b"right", CHEAP).unwrap();
        let now = Instant::now();
        shards::rt::block_on(async {
            let check =
                |password: &'static [u8]| verifier.verify("a", Some(&stored), password, now);
            assert_eq!(check(b"right").await, Ok(true));
            // The one thread is held up, and the one place to wait is taken.
            let (hold, held) = std::sync::mpsc::channel::<()>();
            let (began, begun) = std::sync::mpsc::channel();
            let mut busy = Box::pin(pool.run(move || {
                let _ = began.send(());
                let _ = held.recv();
            }));
            assert!(futures_lite::future::poll_once(&mut busy).await.is_none());
            begun.recv().unwrap();
            let mut waiting = Box::pin(pool.run(|| ()));
            assert!(
                futures_lite::future::poll_once(&mut waiting)
                    .await
                    .is_none()
            );
            assert_eq!(check(b"wrong").await, Err(PoolError::Full));
            assert_eq!(check(b"right").await, Ok(true));
            drop(hold);
            assert_eq!((busy.await, waiting.await), (Ok(()), Ok(())));
            assert_eq!(check(b"wrong").await, Ok(false));
        })
        .unwrap();
    }

    #[test]
    fn only_the_right_password_fits_and_the_cache_forgets_a_changed_one() {
        let verifier = verifier(hashing_pool(1, 8).unwrap());
        let old = hash_password(b"old password", CHEAP).unwrap();
        let new = hash_password(b"new password", CHEAP).unwrap();
        shards::rt::block_on(async {
            let now = Instant::now();
            for _ in 0..2 {
                assert_eq!(
                    verifier.verify("a", Some(&old), b"old password", now).await,
                    Ok(true)
                );
                assert_eq!(
                    verifier.verify("a", Some(&old), b"new password", now).await,
                    Ok(false)
                );
            }
            assert_eq!(
                verifier.verify("a", Some(&new), b"old password", now).await,
                Ok(false)
            );
            assert_eq!(
                verifier.verify("b", None, b"old password", now).await,
                Ok(false)
            );
            assert_eq!(verifier.cache.borrow().len(), 1);
        })
        .unwrap();
    }
}

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

/// Checks passwords on one core.
pub struct Verifier {
    key: ring::hmac::Key,
    cache: RefCell<HashMap<String, Cached>>,
    entries_max: usize,
    keep: Duration,
    cost: HashCost,
    decoy: String,
}

struct Cached {
    digest: [u8; 32],
    stored: String,
    until: Instant,
}

impl Verifier {
    /// A verifier with an empty cache. An error is the operating system's randomness failing. `decoy` is a hash of
    /// [`Verifier::decoy`], made once for all cores.
    pub fn new(
        entries_max: usize,
        keep: Duration,
        cost: HashCost,
        decoy: String,
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

    /// Whether the password is right for what is stored (none: an unknown or passwordless account). Hashes in the pool.
    pub async fn verify(
        &self,
        account: &str,
        stored: Option<&Credentials>,
        password: &[u8],
        pool: &shards::pool::Pool,
        now: Instant,
    ) -> Result<bool, shards::pool::PoolError> {
        let hash = stored.map_or(&self.decoy, |c| &c.argon2id);
        let digest = self.digest(account, password);
        if stored.is_some() && self.is_cached(account, hash, &digest, now) {
            return Ok(true);
        }
        let (hash, secret) = (hash.clone(), sasl::Secret::new(password.to_vec()));
        let to_check = hash.clone();
        let right = pool
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

#[cfg(test)]
mod tests {
    use super::*;
    use shards::pool::Pool;

    const CHEAP: HashCost = HashCost {
        memory_kib: 64,
        passes: 1,
    };

    #[test]
    fn only_the_right_password_fits_and_the_cache_forgets_a_changed_one() {
        let pool = Pool::start("test", 1, 8).unwrap();
        let verifier = Verifier::new(
            10,
            Duration::from_secs(60),
            CHEAP,
            Verifier::decoy(CHEAP).unwrap(),
        )
        .unwrap();
        let old = hash_password(b"old password", CHEAP).unwrap();
        let new = hash_password(b"new password", CHEAP).unwrap();
        shards::rt::block_on(async {
            let now = Instant::now();
            for _ in 0..2 {
                assert_eq!(
                    verifier
                        .verify("a", Some(&old), b"old password", &pool, now)
                        .await,
                    Ok(true)
                );
                assert_eq!(
                    verifier
                        .verify("a", Some(&old), b"new password", &pool, now)
                        .await,
                    Ok(false)
                );
            }
            assert_eq!(
                verifier
                    .verify("a", Some(&new), b"old password", &pool, now)
                    .await,
                Ok(false)
            );
            assert_eq!(
                verifier
                    .verify("b", None, b"old password", &pool, now)
                    .await,
                Ok(false)
            );
            assert_eq!(verifier.cache.borrow().len(), 1);
        })
        .unwrap();
    }
}

//! Keys of the API: `rmk_`, which it is in 16 hexadecimal digits, `_`, and its secret, 32 random octets in base64 for URLs. What is stored of a
//! secret is its SHA-256: it has too much chance in it to be guessed, so nothing slower is needed. And what the core for HTTP remembers of keys.
//! RFC 6750 (how they come), RFC 4648 5.

use std::collections::HashMap;
use std::hint::black_box;
use std::rc::Rc;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest::{SHA256, digest};

use crate::settings::AccountName;

/// Which key.
pub type KeyId = [u8; 8];

/// Of a secret.
pub type SecretDigest = [u8; 32];

/// A new key: which it is, its text, and what is stored of the secret. An error: there is no randomness.
pub fn make() -> Result<(KeyId, String, SecretDigest), String> {
    let (mut id, mut secret) = ([0; 8], [0; 32]);
    super::random(&mut id).map_err(|e| e.to_string())?;
    super::random(&mut secret).map_err(|e| e.to_string())?;
    let text = format!(
        "{PREFIX}{}_{}",
        written(&id),
        URL_SAFE_NO_PAD.encode(secret)
    );
    Ok((id, text, digest_of(&secret)))
}

/// What a text says it is; none: it is no key.
pub fn parse(text: &str) -> Option<(KeyId, SecretDigest)> {
    let (id, secret) = text.strip_prefix(PREFIX)?.split_once('_')?;
    let secret: [u8; 32] = URL_SAFE_NO_PAD.decode(secret).ok()?.try_into().ok()?;
    Some((parse_id(id)?, digest_of(&secret)))
}

/// Of 16 hexadecimal digits, in lower case.
pub fn parse_id(text: &str) -> Option<KeyId> {
    let is_digit = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    if text.len() != 16 || !text.bytes().all(is_digit) {
        return None;
    }
    Some(u64::from_str_radix(text, 16).ok()?.to_be_bytes())
}

/// As 16 hexadecimal digits.
pub fn written(id: &KeyId) -> String {
    format!("{:016x}", u64::from_be_bytes(*id))
}

fn digest_of(secret: &[u8]) -> SecretDigest {
    let mut octets = [0; 32];
    octets.copy_from_slice(digest(&SHA256, secret).as_ref());
    octets
}

/// Whether two are the same, in a time that says nothing of where they differ.
fn is_same(one: &SecretDigest, other: &SecretDigest) -> bool {
    let different = one.iter().zip(other).fold(0, |all, (a, b)| all | (a ^ b));
    black_box(different) == 0
}

/// A key that is right, as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiKey {
    /// Which.
    pub id: KeyId,
    /// Whose.
    pub account: AccountName,
    /// Bits of `webapi::v1::Scopes`.
    pub scopes: u8,
    /// Addresses and domains that it may write as; none: all that the account may.
    pub from: Vec<String>,
    /// Requests in a minute; 0: no bound.
    pub per_minute: u32,
    /// Seconds since 1970.
    pub expires: Option<i64>,
    /// The stored digest.
    pub digest: SecretDigest,
}

impl ApiKey {
    /// Whether a secret is the key's.
    pub fn is_right(&self, digest: &SecretDigest) -> bool {
        is_same(&self.digest, digest)
    }

    /// Whether its time is over.
    pub fn is_over(&self, now: i64) -> bool {
        self.expires.is_some_and(|expires| expires <= now)
    }
}

/// What a core remembers of keys.
#[derive(Default)]
pub struct ApiKeys {
    known: HashMap<KeyId, Known>,
    buckets: HashMap<KeyId, Bucket>,
    changes: u64,
}

struct Known {
    key: Rc<ApiKey>,
    since: Instant,
    /// When it was noted last that the key is used, seconds since 1970.
    noted: i64,
}

/// Of requests: as many as a minute has, and as much again as time goes by.
struct Bucket {
    tokens: f64,
    at: Instant,
}

impl ApiKeys {
    /// A key that was looked up no longer ago than `most`, and when that was.
    pub fn find(&self, id: &KeyId, now: Instant, most: Duration) -> Option<(Rc<ApiKey>, Instant)> {
        let known = self.known.get(id)?;
        let is_fresh = now.saturating_duration_since(known.since) < most;
        is_fresh.then(|| (known.key.clone(), known.since))
    }

    /// How many keys have changed: what is looked up while one does is not kept.
    pub fn changes(&self) -> u64 {
        self.changes
    }

    /// Remembers one that was looked up, at most so many in all.
    pub fn add(
        &mut self,
        key: Rc<ApiKey>,
        (since, noted): (Instant, i64),
        (entries_max, kept): (usize, Duration),
        changes: u64,
    ) {
        if changes != self.changes {
            return;
        }
        if self.known.len() >= entries_max {
            self.known
                .retain(|_, known| since.saturating_duration_since(known.since) < kept);
        }
        if self.known.len() < entries_max {
            self.known.insert(key.id, Known { key, since, noted });
        }
    }

    /// It is not any more what it was.
    pub fn forget(&mut self, id: &KeyId) {
        self.changes += 1;
        self.known.remove(id);
    }

    /// Whether it is to be noted that a key is used now; it counts as noted then.
    pub fn is_to_be_noted(&mut self, id: &KeyId, now: i64) -> bool {
        match self.known.get_mut(id) {
            Some(known) if now - known.noted >= NOTED_EVERY => {
                known.noted = now;
                true
            }
            _ => false,
        }
    }

    /// Counts a request; an error: so long until the next may be made.
    pub fn admit(&mut self, id: KeyId, per_minute: u32, now: Instant) -> Result<(), Duration> {
        if per_minute == 0 {
            return Ok(());
        }
        if self.buckets.len() >= BUCKETS_MAX {
            // After a minute they are full again, as one that is not there.
            self.buckets
                .retain(|_, bucket| now.saturating_duration_since(bucket.at) < MINUTE);
        }
        let most = f64::from(per_minute);
        let per_second = most / 60.0;
        let bucket = self.buckets.entry(id).or_insert(Bucket {
            tokens: most,
            at: now,
        });
        let more = now.saturating_duration_since(bucket.at).as_secs_f64() * per_second;
        bucket.tokens = (bucket.tokens + more).min(most);
        bucket.at = now;
        if bucket.tokens >= 1.0 {
            bucket.tokens -= 1.0;
            return Ok(());
        }
        Err(Duration::from_secs_f64((1.0 - bucket.tokens) / per_second))
    }
}

const PREFIX: &str = "rmk_";
/// Seconds between two notes that a key was used.
pub const NOTED_EVERY: i64 = 600;
/// Keys with a rate, used within the last minute or not looked at since.
const BUCKETS_MAX: usize = 10_000;
const MINUTE: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    fn key(id: KeyId) -> Rc<ApiKey> {
        Rc::new(ApiKey {
            id,
            account: "a".parse().unwrap(),
            scopes: 0,
            from: Vec::new(),
            per_minute: 0,
            expires: Some(100),
            digest: [1; 32],
        })
    }

    #[test]
    fn keys_are_read_as_they_are_made() {
        let (id, text, digest) = make().unwrap();
        assert_eq!(text.len(), 4 + 16 + 1 + 43);
        assert_eq!(parse(&text), Some((id, digest)));
        assert_eq!(parse_id(&written(&id)), Some(id));
        let wrong = [
            "",
            "rmk_",
            &text[1..],
            &text[..text.len() - 1],
            &text.to_uppercase(),
            &text.replacen("rmk_", "rmk_+", 1),
            &format!("{text}="),
            "rmk_00000000000000000_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        ];
        for text in wrong {
            assert_eq!(parse(text), None, "{text}");
        }
        assert!(key(id).is_right(&[1; 32]));
        let mut other = [1; 32];
        other[31] = 0;
        assert!(!key(id).is_right(&other));
        assert!(!key(id).is_over(99) && key(id).is_over(100));
    }

    #[test]
    fn what_was_looked_up_is_known_until_it_changes() {
        let (start, minute) = (Instant::now(), Duration::from_secs(60));
        let mut keys = ApiKeys::default();
        let changes = keys.changes();
        keys.add(key([1; 8]), (start, 0), (2, minute), changes);
        assert!(keys.find(&[1; 8], start, minute).is_some());
        assert!(keys.find(&[1; 8], start + minute, minute).is_none());
        assert!(keys.is_to_be_noted(&[1; 8], 600));
        assert!(!keys.is_to_be_noted(&[1; 8], 601));
        keys.forget(&[1; 8]);
        assert!(keys.find(&[1; 8], start, minute).is_none());
        // Read before it changed.
        keys.add(key([1; 8]), (start, 0), (2, minute), changes);
        assert!(keys.find(&[1; 8], start, minute).is_none());
        // No more than there may be.
        let changes = keys.changes();
        for id in [[1; 8], [2; 8], [3; 8]] {
            keys.add(key(id), (start, 0), (2, minute), changes);
        }
        assert!(keys.find(&[3; 8], start, minute).is_none());
    }

    #[test]
    fn a_key_has_so_many_requests_in_a_minute() {
        let start = Instant::now();
        let mut keys = ApiKeys::default();
        for _ in 0..1000 {
            assert_eq!(keys.admit([0; 8], 0, start), Ok(()));
        }
        assert_eq!(keys.admit([1; 8], 2, start), Ok(()));
        assert_eq!(keys.admit([1; 8], 2, start), Ok(()));
        let wait = keys.admit([1; 8], 2, start).unwrap_err();
        assert!((29..=30).contains(&wait.as_secs()), "{wait:?}");
        assert_eq!(keys.admit([2; 8], 2, start), Ok(()));
        let later = start + Duration::from_secs(31);
        assert_eq!(keys.admit([1; 8], 2, later), Ok(()));
        assert!(keys.admit([1; 8], 2, later).is_err());
    }
}

//! Which shard a key belongs to, and which core owns a shard. Pure functions; no sending, no state.

/// One partition of the data; owned by one core at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ShardId(pub u16);

/// One pinned executor, numbered from zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CoreId(pub u16);

impl std::fmt::Display for ShardId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "shard-{:03}", self.0)
    }
}

/// The shard of a key. Stable for ever: it decides where data lies on disk (FNV-1a 64, finished with a multiply-xor mix).
pub fn shard_of(key: &[u8], shards: u16) -> ShardId {
    assert!(shards > 0, "a directory has at least one shard");
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    for byte in key {
        hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash ^= hash >> 33;
    ShardId((hash % u64::from(shards)) as u16)
}

/// The core that owns a shard: round robin, decided at start, so that a directory moves between machines.
pub fn owner_of(shard: ShardId, cores: u16) -> CoreId {
    CoreId(shard.0 % cores.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shard_of_a_name_never_changes() {
        // These are on people's disks.
        let fixed: Vec<u16> = ["ringmail", "u1", "u2", "u3", ""]
            .iter()
            .map(|n| shard_of(n.as_bytes(), 4).0)
            .collect();
        assert_eq!(fixed, FIXED);
    }
    const FIXED: [u16; 5] = [1, 1, 2, 2, 2];

    #[test]
    fn names_spread_evenly() {
        let mut counts = [0u32; 4];
        for n in 0..10_000 {
            counts[usize::from(shard_of(format!("u{n}").as_bytes(), 4).0)] += 1;
        }
        assert!(
            counts.iter().all(|c| (2_300..2_700).contains(c)),
            "{counts:?}"
        );
    }

    #[test]
    fn every_shard_has_one_owner_whatever_the_cores() {
        for cores in 1..9 {
            for shard in 0..16 {
                assert!(owner_of(ShardId(shard), cores).0 < cores);
            }
        }
    }
}

//! The number of a recipient of a queued message: which shard keeps it, and which it is there. Never used again.

use std::fmt;
use std::str::FromStr;

use shards::segments::BodyId;

/// 53 bits, so that programs whose numbers are floating point keep it whole: ten for the shard, the others for its counter. The recipients of
/// a message have consecutive numbers; the last of them is the number of its body too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct QueueId(u64);

impl QueueId {
    /// Of a recipient; none if the shard or the number is too large.
    pub fn new(shard: u16, number: u64) -> Option<QueueId> {
        (shard < SHARDS_MAX && number < 1 << NUMBER_BITS)
            .then(|| QueueId(u64::from(shard) << NUMBER_BITS | number))
    }

    /// The shard that keeps it.
    pub fn shard(self) -> u16 {
        (self.0 >> NUMBER_BITS) as u16
    }

    /// Which it is there.
    pub fn number(self) -> u64 {
        self.0 & ((1 << NUMBER_BITS) - 1)
    }

    /// As a number, for programs.
    pub fn get(self) -> u64 {
        self.0
    }

    /// From a number; none if it has more than 53 bits.
    pub fn from_u64(number: u64) -> Option<QueueId> {
        (number < 1 << (SHARD_BITS + NUMBER_BITS)).then_some(QueueId(number))
    }
}

impl fmt::Display for QueueId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for QueueId {
    type Err = String;

    fn from_str(text: &str) -> Result<QueueId, String> {
        let number = text.parse().ok().and_then(QueueId::from_u64);
        number.ok_or_else(|| {
            format!(
                "{text:?} is no number of a queued recipient, as ringmail queue list shows them"
            )
        })
    }
}

/// The number of the first of a message's recipients, from that of its body.
pub fn first_of(body: BodyId, recipients: usize) -> u64 {
    (body.0 + 1).saturating_sub(recipients as u64)
}

const SHARD_BITS: u32 = 10;
const NUMBER_BITS: u32 = 43;
/// Shards that a queue id can name.
pub const SHARDS_MAX: u16 = 1 << SHARD_BITS;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_its_shard_and_number() {
        for (shard, number) in [(0, 0), (0, 1), (1023, (1 << 43) - 1), (7, 123_456)] {
            let id = QueueId::new(shard, number).unwrap();
            assert_eq!((id.shard(), id.number()), (shard, number));
            assert!(id.get() < 1 << 53);
            assert_eq!(id.to_string().parse(), Ok(id));
            assert_eq!(QueueId::from_u64(id.get()), Some(id));
        }
        assert_eq!(QueueId::new(1024, 0), None);
        assert_eq!(QueueId::new(0, 1 << 43), None);
        for wrong in ["", "x", "-1", "9007199254740992", "1.5"] {
            assert!(wrong.parse::<QueueId>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn recipients_are_numbered_up_to_their_body() {
        assert_eq!(first_of(BodyId(10), 1), 10);
        assert_eq!(first_of(BodyId(10), 4), 7);
    }
}

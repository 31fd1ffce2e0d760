//! The numbers of RFC 9051 2.3.1 and RFC 7162 3.1.1, each a type of its own so that one is never taken for the other.

use std::fmt;
use std::num::NonZeroU32;

use crate::limits::NUMBER64_MAX;

macro_rules! nz_number {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(NonZeroU32);

        impl $name {
            /// The number, or `None` for 0, which RFC 9051 does not allow.
            pub const fn new(number: u32) -> Option<Self> {
                match NonZeroU32::new(number) {
                    Some(number) => Some(Self(number)),
                    None => None,
                }
            }

            /// The plain number, 1 or more.
            pub const fn value(self) -> u32 {
                self.0.get()
            }
        }

        impl From<$name> for u32 {
            fn from(number: $name) -> u32 {
                number.value()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

nz_number! {
    /// Unique identifier of a message in its mailbox, RFC 9051 2.3.1.1.
    Uid
}
nz_number! {
    /// The validity of a mailbox's unique identifiers, RFC 9051 2.3.1.1.
    UidValidity
}
nz_number! {
    /// Position of a message in the selected mailbox, from 1, RFC 9051 2.3.1.2.
    SequenceNumber
}

/// Mod-sequence, RFC 7162 3.1.1: 63 bits. 0 appears where the grammar says mod-sequence-valzer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ModSeq(u64);

impl ModSeq {
    /// The mod-sequence, or `None` above 63 bits.
    pub const fn new(number: u64) -> Option<Self> {
        if number <= NUMBER64_MAX {
            Some(Self(number))
        } else {
            None
        }
    }

    /// The plain number.
    pub const fn value(self) -> u64 {
        self.0
    }
}

impl fmt::Display for ModSeq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

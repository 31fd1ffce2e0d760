//! Records, of the types that mail asks for.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use crate::Name;

/// The type of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RecordType {
    /// An IPv4 address.
    A,
    /// An IPv6 address.
    Aaaa,
    /// What the name is an alias of.
    Cname,
    /// Where mail for the name goes.
    Mx,
    /// The name of an address.
    Ptr,
    /// Certificates of a service.
    Tlsa,
    /// Text.
    Txt,
}

impl RecordType {
    /// All of them.
    pub const ALL: [RecordType; 7] = [
        RecordType::A,
        RecordType::Aaaa,
        RecordType::Cname,
        RecordType::Mx,
        RecordType::Ptr,
        RecordType::Tlsa,
        RecordType::Txt,
    ];

    /// As written.
    pub const fn as_str(self) -> &'static str {
        match self {
            RecordType::A => "A",
            RecordType::Aaaa => "AAAA",
            RecordType::Cname => "CNAME",
            RecordType::Mx => "MX",
            RecordType::Ptr => "PTR",
            RecordType::Tlsa => "TLSA",
            RecordType::Txt => "TXT",
        }
    }
}

impl fmt::Display for RecordType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A word that is none of the types.
#[derive(Debug, thiserror::Error, Clone, Copy, PartialEq, Eq)]
#[error("no type of record that is asked for: A, AAAA, CNAME, MX, PTR, TLSA, TXT")]
pub struct NoSuchType;

impl FromStr for RecordType {
    type Err = NoSuchType;

    fn from_str(word: &str) -> Result<RecordType, NoSuchType> {
        let mut all = RecordType::ALL.into_iter();
        all.find(|t| t.as_str().eq_ignore_ascii_case(word))
            .ok_or(NoSuchType)
    }
}

/// A record of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// RFC 1035 3.4.1.
    A(Ipv4Addr),
    /// RFC 3596.
    Aaaa(Ipv6Addr),
    /// RFC 1035 3.3.1.
    Cname(Name),
    /// RFC 1035 3.3.9.
    Mx(Mx),
    /// RFC 1035 3.3.12.
    Ptr(Name),
    /// RFC 6698 2.1.
    Tlsa(Tlsa),
    /// RFC 1035 3.3.14.
    Txt(Text),
}

impl Record {
    /// Octets it holds, about.
    pub(crate) fn size(&self) -> usize {
        let held = match self {
            Record::A(_) | Record::Aaaa(_) => 0,
            Record::Cname(name) | Record::Ptr(name) => name.as_str().len(),
            Record::Mx(mx) => mx.exchange.as_str().len(),
            Record::Tlsa(tlsa) => tlsa.data.len(),
            Record::Txt(text) => text.0.len(),
        };
        held + size_of::<Record>()
    }
}

/// A host that takes mail.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mx {
    /// The lower, the sooner.
    pub preference: u16,
    /// The host; the root says that no mail is taken (RFC 7505).
    pub exchange: Name,
}

/// What the certificate of a service must match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tlsa {
    /// RFC 7218 2.1: PKIX-TA 0, PKIX-EE 1, DANE-TA 2, DANE-EE 3.
    pub usage: u8,
    /// Cert 0, SPKI 1.
    pub selector: u8,
    /// Full 0, SHA2-256 1, SHA2-512 2.
    pub matching: u8,
    /// What to match.
    pub data: Vec<u8>,
}

/// Text: the strings of one record, joined (RFC 7208 3.3, RFC 6376 3.6.2.2: without anything between them). Any octets.
#[derive(Clone, PartialEq, Eq)]
pub struct Text(pub Vec<u8>);

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0.escape_ascii())
    }
}

/// As in a zone file.
impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Record::A(address) => address.fmt(f),
            Record::Aaaa(address) => address.fmt(f),
            Record::Cname(name) | Record::Ptr(name) => name.fmt(f),
            Record::Mx(mx) => write!(f, "{} {}", mx.preference, mx.exchange),
            Record::Tlsa(tlsa) => {
                write!(f, "{} {} {} ", tlsa.usage, tlsa.selector, tlsa.matching)?;
                tlsa.data.iter().try_for_each(|o| write!(f, "{o:02x}"))
            }
            Record::Txt(text) => fmt::Debug::fmt(text, f),
        }
    }
}

/// What records of one type say.
pub trait Data: Sized {
    /// The type.
    const TYPE: RecordType;

    /// Out of a record, if it is of the type.
    fn of(record: &Record) -> Option<Self>;
}

macro_rules! data {
    ($type:ty, $variant:ident) => {
        impl Data for $type {
            const TYPE: RecordType = RecordType::$variant;

            fn of(record: &Record) -> Option<Self> {
                match record {
                    Record::$variant(data) => Some(data.clone()),
                    _ => None,
                }
            }
        }
    };
}

data!(Ipv4Addr, A);
data!(Ipv6Addr, Aaaa);
data!(Mx, Mx);
data!(Tlsa, Tlsa);
data!(Text, Txt);

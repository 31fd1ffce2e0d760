//! TLSA records: as they travel, as they stand in zone files, and those of our own. RFC 6698 2.1, 2.2; RFC 7218 (names).
//! Records of others are authentic (the caller looked at DNSSEC), but their content is whatever the owner wrote.
//!
//! ```text
//! RFC 6698 2.1   usage octet, selector octet, matching type octet, certificate association data
//! RFC 6698 2.2   "3 1 1 8cb0fc6c..." numbers, then hexadecimal with or without white space
//! ```

use std::fmt;
use std::str::FromStr;

use ring::digest::{SHA256, SHA512, digest};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, SubjectPublicKeyInfoDer};

use crate::certificate::{Certificate, is_public_key};
use crate::limits::DATA_MAX;

/// What a record says of the certificate. RFC 6698 2.1.1, RFC 7218 2.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Usage {
    /// 0: a CA in a chain that is valid by the roots of the client.
    PkixTa,
    /// 1: the server's certificate, valid by the roots of the client.
    PkixEe,
    /// 2: a CA that is trusted for this server by this record.
    DaneTa,
    /// 3: the server's certificate or key.
    DaneEe,
    /// Nobody knows.
    Unassigned(u8),
}

/// Which part of the certificate. RFC 6698 2.1.2, RFC 7218 2.2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Selector {
    /// 0: all of it.
    Certificate,
    /// 1: its SubjectPublicKeyInfo.
    PublicKey,
    /// Nobody knows.
    Unassigned(u8),
}

/// How the part is given. RFC 6698 2.1.3, RFC 7218 2.3.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Matching {
    /// 0: in full.
    Full,
    /// 1.
    Sha256,
    /// 2.
    Sha512,
    /// Nobody knows.
    Unassigned(u8),
}

/// The numbers and names of a field.
macro_rules! registry {
    ($kind:ident, $($number:literal $variant:ident $name:literal),+) => {
        impl From<u8> for $kind {
            fn from(number: u8) -> Self {
                match number {
                    $($number => $kind::$variant,)+
                    _ => $kind::Unassigned(number),
                }
            }
        }

        impl From<$kind> for u8 {
            fn from(kind: $kind) -> u8 {
                match kind {
                    $($kind::$variant => $number,)+
                    $kind::Unassigned(number) => number,
                }
            }
        }

        impl $kind {
            /// A number, or the name that RFC 7218 gives it.
            fn parse(text: &str) -> Option<Self> {
                $(if text.eq_ignore_ascii_case($name) {
                    return Some($kind::$variant);
                })+
                let is_number = text.bytes().all(|o| o.is_ascii_digit());
                is_number.then(|| text.parse::<u8>().ok().map(Self::from))?
            }
        }
    };
}

registry!(Usage, 0 PkixTa "PKIX-TA", 1 PkixEe "PKIX-EE", 2 DaneTa "DANE-TA", 3 DaneEe "DANE-EE");
registry!(Selector, 0 Certificate "Cert", 1 PublicKey "SPKI");
registry!(Matching, 0 Full "Full", 1 Sha256 "SHA2-256", 2 Sha512 "SHA2-512");

/// A TLSA record.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Record {
    /// What it says.
    pub usage: Usage,
    /// Of which part.
    pub selector: Selector,
    /// In which form.
    pub matching: Matching,
    /// The certificate association data.
    pub data: Vec<u8>,
}

/// What is no record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// Fewer octets than the three fields take.
    #[error("the TLSA record is shorter than its fields")]
    Short,
    /// No association data.
    #[error("the TLSA record has no association data")]
    Empty,
    /// More than [`DATA_MAX`].
    #[error("the TLSA record has more than {DATA_MAX} octets of data")]
    Large,
    /// A field of the text is no number and no name.
    #[error("the TLSA record is not three numbers and hexadecimal data")]
    Syntax,
    /// The record would be about a certificate that cannot be read.
    #[error("the certificate cannot be read")]
    Certificate,
    /// The record would be about a key that cannot be read, or of a kind we do not know.
    #[error("the private key cannot be read")]
    PrivateKey,
    /// A record cannot be made for fields that nobody knows.
    #[error("the TLSA record has unassigned fields")]
    Unassigned,
}

impl Record {
    /// The RDATA as it travels.
    pub fn parse(rdata: &[u8]) -> Result<Self, RecordError> {
        let Some((&[usage, selector, matching], data)) = rdata.split_first_chunk() else {
            return Err(RecordError::Short);
        };
        Record {
            usage: usage.into(),
            selector: selector.into(),
            matching: matching.into(),
            data: data.to_vec(),
        }
        .checked()
    }

    /// The RDATA as it travels.
    pub fn rdata(&self) -> Vec<u8> {
        let fields = [
            self.usage.into(),
            self.selector.into(),
            self.matching.into(),
        ];
        [fields.as_slice(), &self.data].concat()
    }

    /// Our own record for a server's certificate: `3 1 1`, as RFC 7672 3.1 recommends. It holds for every certificate with the same key.
    pub fn for_certificate(certificate: &CertificateDer<'_>) -> Result<Self, RecordError> {
        Record::of(
            Usage::DaneEe,
            Selector::PublicKey,
            Matching::Sha256,
            certificate,
        )
    }

    /// Our own record, `3 1 1`, for a public key. It can be published before there is a certificate.
    pub fn for_public_key(key: &SubjectPublicKeyInfoDer<'_>) -> Self {
        Record {
            usage: Usage::DaneEe,
            selector: Selector::PublicKey,
            matching: Matching::Sha256,
            data: digest(&SHA256, key).as_ref().to_vec(),
        }
    }

    /// The same for a private key.
    pub fn for_private_key(key: &PrivateKeyDer<'_>) -> Result<Self, RecordError> {
        let key = rustls::crypto::ring::sign::any_supported_type(key)
            .map_err(|_| RecordError::PrivateKey)?;
        let public = key.public_key().ok_or(RecordError::PrivateKey)?;
        Ok(Record::for_public_key(&public))
    }

    /// Any record about a certificate.
    pub fn of(
        usage: Usage,
        selector: Selector,
        matching: Matching,
        certificate: &CertificateDer<'_>,
    ) -> Result<Self, RecordError> {
        let parsed = Certificate::parse(certificate).ok_or(RecordError::Certificate)?;
        let part = selected(selector, certificate, parsed.public_key);
        let data = part.and_then(|part| associated(matching, part));
        Record {
            usage,
            selector,
            matching,
            data: data.ok_or(RecordError::Unassigned)?,
        }
        .checked()
    }

    /// Does the record mean this certificate? Its usage is not looked at.
    pub fn matches(&self, certificate: &CertificateDer<'_>) -> bool {
        Certificate::parse(certificate)
            .is_some_and(|parsed| self.matches_parts(certificate, parsed.public_key))
    }

    pub(crate) fn matches_parts(&self, certificate: &[u8], public_key: &[u8]) -> bool {
        selected(self.selector, certificate, public_key)
            .and_then(|part| associated(self.matching, part))
            .is_some_and(|data| data == self.data)
    }

    /// Can the record be used by who knows all that is standardised? Digests have their size, and what is there in full can be read (RFC 7671
    /// 9: malformed records are discarded).
    pub(crate) fn is_well_formed(&self) -> bool {
        let is_assigned = !matches!(self.usage, Usage::Unassigned(_));
        let has_data = match (self.matching, self.selector) {
            (_, Selector::Unassigned(_)) | (Matching::Unassigned(_), _) => false,
            (Matching::Sha256, _) => self.data.len() == SHA256.output_len(),
            (Matching::Sha512, _) => self.data.len() == SHA512.output_len(),
            (Matching::Full, Selector::Certificate) => Certificate::parse(&self.data).is_some(),
            (Matching::Full, Selector::PublicKey) => is_public_key(&self.data),
        };
        is_assigned && has_data
    }

    fn checked(self) -> Result<Self, RecordError> {
        match self.data.len() {
            0 => Err(RecordError::Empty),
            1..=DATA_MAX => Ok(self),
            _ => Err(RecordError::Large),
        }
    }
}

/// RFC 6698 2.2, also with the names of RFC 7218.
impl FromStr for Record {
    type Err = RecordError;

    fn from_str(text: &str) -> Result<Self, RecordError> {
        let mut words = text.split_ascii_whitespace();
        let mut word = || words.next().ok_or(RecordError::Syntax);
        let usage = Usage::parse(word()?).ok_or(RecordError::Syntax)?;
        let selector = Selector::parse(word()?).ok_or(RecordError::Syntax)?;
        let matching = Matching::parse(word()?).ok_or(RecordError::Syntax)?;
        let mut data = Vec::new();
        let mut high = None;
        for octet in words.flat_map(str::bytes) {
            let digit = (octet as char).to_digit(16).ok_or(RecordError::Syntax)? as u8;
            match high.take() {
                None => high = Some(digit << 4),
                Some(_) if data.len() == DATA_MAX => return Err(RecordError::Large),
                Some(high) => data.push(high | digit),
            }
        }
        if high.is_some() {
            return Err(RecordError::Syntax);
        }
        Record {
            usage,
            selector,
            matching,
            data,
        }
        .checked()
    }
}

/// The text for zone files, and for the `policy-string` of TLS reports (RFC 8460 4.5).
impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [usage, selector, matching]: [u8; 3] = [
            self.usage.into(),
            self.selector.into(),
            self.matching.into(),
        ];
        write!(f, "{usage} {selector} {matching} ")?;
        self.data
            .iter()
            .try_for_each(|octet| write!(f, "{octet:02x}"))
    }
}

/// Where the records of a TCP server are. RFC 6698 3.
pub fn record_name(host: &str, port: u16) -> String {
    format!("_{port}._tcp.{}", host.trim_end_matches('.'))
}

fn selected<'a>(selector: Selector, certificate: &'a [u8], key: &'a [u8]) -> Option<&'a [u8]> {
    match selector {
        Selector::Certificate => Some(certificate),
        Selector::PublicKey => Some(key),
        Selector::Unassigned(_) => None,
    }
}

fn associated(matching: Matching, part: &[u8]) -> Option<Vec<u8>> {
    match matching {
        Matching::Full => Some(part.to_vec()),
        Matching::Sha256 => Some(digest(&SHA256, part).as_ref().to_vec()),
        Matching::Sha512 => Some(digest(&SHA512, part).as_ref().to_vec()),
        Matching::Unassigned(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_of_the_rfcs() {
        // RFC 6698 2.3.
        let text = "1 1 2 92003ba34942dc74152e2f2c408d29ec\n  a5a520e7f2e06bb944f4dca346baf63c\n\
            1b177615d466f6c4b71c216a50292bd5\n  8c9ebdd2f74e38fe51ffd48c43326cbc";
        let record: Record = text.parse().unwrap();
        assert_eq!(record.usage, Usage::PkixEe);
        assert_eq!(record.selector, Selector::PublicKey);
        assert_eq!(record.matching, Matching::Sha512);
        assert_eq!(record.data.len(), 64);
        assert!(record.is_well_formed());
        let joined = text.replace("\n  ", "").replace('\n', "");
        assert_eq!(record.to_string(), joined);
        assert_eq!(Record::parse(&record.rdata()), Ok(record));
        // RFC 7671 9, with the names of RFC 7218.
        let text = "DANE-EE spki Sha2-256 3FE246A848798236DD2AB78D39F0651D6B6E7CA8E2984012EB0A2E1AC8A87B72";
        let record: Record = text.parse().unwrap();
        assert!(record.to_string().starts_with("3 1 1 3fe246a8"));
        // RFC 7672 3.1.2.
        assert_eq!(
            record_name("mx1.example.com.", 25),
            "_25._tcp.mx1.example.com"
        );
    }

    #[test]
    fn numbers_are_kept_though_nobody_knows_them() {
        for octet in 0..=255u8 {
            let record = Record::parse(&[octet, octet, octet, 7]).unwrap();
            assert_eq!(record.rdata(), [octet, octet, octet, 7]);
            assert_eq!(record.to_string(), format!("{octet} {octet} {octet} 07"));
            assert_eq!(record.to_string().parse(), Ok(record));
        }
    }

    #[test]
    fn what_is_no_record() {
        assert_eq!(Record::parse(b""), Err(RecordError::Short));
        assert_eq!(Record::parse(b"\x03\x01"), Err(RecordError::Short));
        assert_eq!(Record::parse(b"\x03\x01\x01"), Err(RecordError::Empty));
        assert_eq!(Record::parse(&[1; 4 + DATA_MAX]), Err(RecordError::Large));
        for text in [
            "",
            "3",
            "3 1",
            "3 1 1 a",
            "3 1 1 xy",
            "256 1 1 00",
            "-1 1 1 00",
            "+3 1 1 00",
            "3,1,1 00",
            "DANE 1 1 00",
            "3 1 1 ( 00 )",
            "3 1 1 \u{e9}",
        ] {
            assert_eq!(text.parse::<Record>(), Err(RecordError::Syntax), "{text}");
        }
        assert_eq!("3 1 1".parse::<Record>(), Err(RecordError::Empty));
        let large = format!("3 1 1 {}", "00".repeat(DATA_MAX + 1));
        assert_eq!(large.parse::<Record>(), Err(RecordError::Large));
    }

    #[test]
    fn sizes_of_digests() {
        for (fields, sizes) in [
            ([3, 1, 1], 32..=32),
            ([3, 0, 2], 64..=64),
            ([3, 0, 0], 0..=0),
        ] {
            for size in 1..=70 {
                let record = Record::parse(&[&fields[..], &vec![9; size]].concat()).unwrap();
                assert_eq!(record.is_well_formed(), sizes.contains(&size), "{record}");
            }
        }
        for fields in [[4, 1, 1], [3, 2, 1], [3, 1, 3], [255, 255, 255]] {
            let record = Record::parse(&[&fields[..], &[9; 32]].concat()).unwrap();
            assert!(!record.is_well_formed());
        }
    }
}

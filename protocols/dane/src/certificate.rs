//! What the rules of DANE need of a certificate that webpki does not tell: the key also of certificates that it refuses (version 1, critical
//! extensions it does not know), and times and constraints of a trust anchor. DER (X.690). Certificates are untrusted.
//!
//! ```text
//! RFC 5280 4.1   Certificate      ::= SEQUENCE { tbsCertificate, signatureAlgorithm, signatureValue }
//!                TBSCertificate   ::= SEQUENCE { version [0] DEFAULT v1, serialNumber, signature, issuer, validity, subject,
//!                                                subjectPublicKeyInfo, issuerUniqueID [1], subjectUniqueID [2], extensions [3] }
//! 4.1.2.5        Validity         ::= SEQUENCE { notBefore Time, notAfter Time }
//! 4.1.2.7        SubjectPublicKeyInfo ::= SEQUENCE { algorithm SEQUENCE, subjectPublicKey BIT STRING }
//! 4.2            Extension        ::= SEQUENCE { extnID OBJECT IDENTIFIER, critical BOOLEAN DEFAULT FALSE, extnValue OCTET STRING }
//! 4.2.1.9        BasicConstraints ::= SEQUENCE { cA BOOLEAN DEFAULT FALSE, pathLenConstraint INTEGER OPTIONAL }
//! ```

use std::time::Duration;

use rustls::pki_types::UnixTime;

/// A certificate's parts. Times and extensions are read only where they matter: a key is a key, whatever else is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Certificate<'a> {
    /// Content of the Name, as webpki wants it in trust anchors.
    pub(crate) issuer: &'a [u8],
    validity: &'a [u8],
    subject: &'a [u8],
    /// The whole SubjectPublicKeyInfo.
    pub(crate) public_key: &'a [u8],
    /// What follows it. None in version 1, which has nothing there.
    extensions: Option<&'a [u8]>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Constraints {
    NoAuthority,
    Authority { path_length_max: Option<usize> },
}

impl<'a> Certificate<'a> {
    /// None for what is no certificate.
    pub(crate) fn parse(octets: &'a [u8]) -> Option<Self> {
        let (certificate, rest) = element(octets, SEQUENCE)?;
        if !rest.is_empty() {
            return None;
        }
        let (tbs, _) = element(certificate, SEQUENCE)?;
        let (has_version, tbs) = match element(tbs, CONTEXT_0) {
            Some((_, rest)) => (true, rest),
            None => (false, tbs),
        };
        let (_serial, tbs) = element(tbs, INTEGER)?;
        let (_signature, tbs) = element(tbs, SEQUENCE)?;
        let (issuer, tbs) = element(tbs, SEQUENCE)?;
        let (validity, tbs) = element(tbs, SEQUENCE)?;
        let (subject, tbs) = element(tbs, SEQUENCE)?;
        let (_, extensions) = element(tbs, SEQUENCE)?;
        let public_key = &tbs[..tbs.len() - extensions.len()];
        is_public_key(public_key).then_some(Certificate {
            issuer,
            validity,
            subject,
            public_key,
            extensions: has_version.then_some(extensions),
        })
    }

    /// May a path with this many certificates between the server's and this one end here? RFC 7671 5.2.1 wants its constraints applied.
    pub(crate) fn check_as_anchor(
        &self,
        between: usize,
        now: UnixTime,
    ) -> Result<(), webpki::Error> {
        self.check_times(now)?;
        let Some(extensions) = self.extensions else {
            // Roots of version 1 say nothing of it.
            let is_root = self.issuer == self.subject;
            return is_root
                .then_some(())
                .ok_or(webpki::Error::EndEntityUsedAsCa);
        };
        match constraints(extensions).ok_or(webpki::Error::BadDer)? {
            Constraints::NoAuthority => Err(webpki::Error::EndEntityUsedAsCa),
            Constraints::Authority {
                path_length_max: Some(max),
            } if between > max => Err(webpki::Error::PathLenConstraintViolated),
            Constraints::Authority { .. } => Ok(()),
        }
    }

    fn check_times(&self, now: UnixTime) -> Result<(), webpki::Error> {
        let times = || {
            let (not_before, rest) = time(self.validity)?;
            Some((not_before, time(rest)?.0))
        };
        let (not_before, not_after) = times().ok_or(webpki::Error::BadDerTime)?;
        if now < not_before {
            let time = now;
            return Err(webpki::Error::CertNotValidYet { time, not_before });
        }
        if now > not_after {
            let time = now;
            return Err(webpki::Error::CertExpired { time, not_after });
        }
        Ok(())
    }
}

/// A SubjectPublicKeyInfo and nothing behind it.
pub(crate) fn is_public_key(octets: &[u8]) -> bool {
    let parts = || {
        let (key, rest) = element(octets, SEQUENCE)?;
        let (_algorithm, bits) = element(key, SEQUENCE)?;
        let (bits, behind) = element(bits, BIT_STRING)?;
        Some(rest.is_empty() && behind.is_empty() && bits.len() > 1)
    };
    parts().unwrap_or(false)
}

/// The content of a SubjectPublicKeyInfo, as webpki wants it in trust anchors.
pub(crate) fn public_key_content(key: &[u8]) -> Option<&[u8]> {
    Some(element(key, SEQUENCE)?.0)
}

fn constraints(mut rest: &[u8]) -> Option<Constraints> {
    for unique_id in [CONTEXT_1, CONTEXT_2] {
        if let Some((_, after)) = element(rest, unique_id) {
            rest = after;
        }
    }
    let Some((wrapped, _)) = element(rest, CONTEXT_3) else {
        return Some(Constraints::NoAuthority);
    };
    let (mut extensions, _) = element(wrapped, SEQUENCE)?;
    while !extensions.is_empty() {
        let (extension, after) = element(extensions, SEQUENCE)?;
        extensions = after;
        let (identifier, value) = element(extension, OBJECT_IDENTIFIER)?;
        if identifier == BASIC_CONSTRAINTS {
            let value = element(value, BOOLEAN).map_or(value, |(_, value)| value);
            let (value, _) = element(value, OCTET_STRING)?;
            return basic_constraints(element(value, SEQUENCE)?.0);
        }
    }
    Some(Constraints::NoAuthority)
}

fn basic_constraints(content: &[u8]) -> Option<Constraints> {
    let (is_authority, rest) = match element(content, BOOLEAN) {
        Some((value, rest)) => (value == [0xff], rest),
        None => (false, content),
    };
    if !is_authority {
        return Some(Constraints::NoAuthority);
    }
    let path_length_max = match element(rest, INTEGER) {
        Some(([length], _)) => Some(usize::from(*length)),
        // Longer than any path.
        Some(_) | None => None,
    };
    Some(Constraints::Authority { path_length_max })
}

/// Times before 1970 count as its first second. RFC 5280 4.1.2.5: always UTC, with seconds.
fn time(octets: &[u8]) -> Option<(UnixTime, &[u8])> {
    let (digits, year, rest) = match element(octets, UTC_TIME) {
        Some((text, rest)) => {
            let (year, digits) = text.split_at_checked(2)?;
            let year = number(year)?;
            // RFC 5280 4.1.2.5.1.
            (
                digits,
                if year < 50 { 2000 + year } else { 1900 + year },
                rest,
            )
        }
        None => {
            let (text, rest) = element(octets, GENERALIZED_TIME)?;
            let (year, digits) = text.split_at_checked(4)?;
            (digits, number(year)?, rest)
        }
    };
    let (digits, zone) = digits.split_at_checked(10)?;
    if zone != b"Z" {
        return None;
    }
    let part = |at: usize| number(&digits[at..at + 2]);
    let (month, day, hour, minute, second) = (part(0)?, part(2)?, part(4)?, part(6)?, part(8)?);
    let is_time = (1..=12).contains(&month)
        && (1..=31).contains(&day)
        && hour < 24
        && minute < 60
        && second < 61;
    if !is_time {
        return None;
    }
    let secs = days_since_1970(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second;
    let since_1970 = Duration::from_secs(u64::try_from(secs).unwrap_or(0));
    Some((UnixTime::since_unix_epoch(since_1970), rest))
}

fn number(digits: &[u8]) -> Option<i64> {
    digits.iter().try_fold(0, |sum, octet| {
        octet
            .is_ascii_digit()
            .then(|| sum * 10 + i64::from(octet - b'0'))
    })
}

/// Of the Gregorian calendar; the year begins in March here, so that the leap day is its last.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month > 2 { year } else { year - 1 };
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    365 * year + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + day_of_year
        - 719_468
}

/// The content of the element at the start, and what follows it.
fn element(octets: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&[found, first], rest) = octets.split_first_chunk()?;
    if found != tag {
        return None;
    }
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        // A certificate of more than 64 KiB is none.
        0x81 => (usize::from(*rest.first()?), &rest[1..]),
        0x82 => {
            let (length, rest) = rest.split_first_chunk()?;
            (usize::from(u16::from_be_bytes(*length)), rest)
        }
        _ => return None,
    };
    rest.split_at_checked(length)
}

const BOOLEAN: u8 = 0x01;
const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const OCTET_STRING: u8 = 0x04;
const OBJECT_IDENTIFIER: u8 = 0x06;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
const CONTEXT_0: u8 = 0xa0;
const CONTEXT_1: u8 = 0x81;
const CONTEXT_2: u8 = 0x82;
const CONTEXT_3: u8 = 0xa3;

/// 2.5.29.19.
const BASIC_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 0x13];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        let parse = |tag, text: &[u8]| {
            let octets = [&[tag, text.len() as u8], text].concat();
            time(&octets).map(|(time, _)| time.as_secs())
        };
        for (tag, text, secs) in [
            (UTC_TIME, "700101000000Z", Some(0)),
            (UTC_TIME, "000229235959Z", Some(951_868_799)),
            (UTC_TIME, "491231235959Z", Some(2_524_607_999)),
            (UTC_TIME, "500101000000Z", Some(0)),
            (GENERALIZED_TIME, "20500101000000Z", Some(2_524_608_000)),
            (GENERALIZED_TIME, "99991231235959Z", Some(253_402_300_799)),
            (GENERALIZED_TIME, "00000101000000Z", Some(0)),
            (UTC_TIME, "7001010000Z", None),
            (UTC_TIME, "700101000000+0000", None),
            (UTC_TIME, "701301000000Z", None),
            (UTC_TIME, "70010100000xZ", None),
            (GENERALIZED_TIME, "20500101000000.5Z", None),
        ] {
            assert_eq!(parse(tag, text.as_bytes()), secs, "{text}");
        }
    }

    #[test]
    fn basic_constraints_of_anchors() {
        let parse = |octets: &[u8]| basic_constraints(octets);
        assert_eq!(parse(&[]), Some(Constraints::NoAuthority));
        assert_eq!(parse(&[1, 1, 0]), Some(Constraints::NoAuthority));
        let any = Constraints::Authority {
            path_length_max: None,
        };
        assert_eq!(parse(&[1, 1, 0xff]), Some(any));
        let one = Constraints::Authority {
            path_length_max: Some(1),
        };
        assert_eq!(parse(&[1, 1, 0xff, 2, 1, 1]), Some(one));
    }
}

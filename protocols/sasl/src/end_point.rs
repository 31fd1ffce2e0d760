//! The channel binding tls-server-end-point: a hash of the server's certificate. RFC 5929 4.1.
//! The certificate is our own, or what a server sent: untrusted, read with bounds. DER (X.690), only as far as the signature algorithm.
//!
//! ```text
//! RFC 5280 4.1   Certificate          ::= SEQUENCE { tbsCertificate, signatureAlgorithm AlgorithmIdentifier, signatureValue }
//!                AlgorithmIdentifier  ::= SEQUENCE { algorithm OBJECT IDENTIFIER, parameters ANY OPTIONAL }
//! RFC 4055 3.1   RSASSA-PSS-params    ::= SEQUENCE { hashAlgorithm [0] AlgorithmIdentifier DEFAULT sha1, .. }
//! ```

use ring::digest::{self, Algorithm, SHA256, SHA384, SHA512};

/// The binding data for the certificate that the server showed first. None where RFC 5929 leaves it undefined (Ed25519 has no hash of its
/// own), and for what is no certificate.
pub fn server_end_point(certificate: &[u8]) -> Option<Vec<u8>> {
    let algorithm = hash_of_signature(certificate)?;
    Some(digest::digest(algorithm, certificate).as_ref().to_vec())
}

fn hash_of_signature(certificate: &[u8]) -> Option<&'static Algorithm> {
    let (certificate, _) = element(certificate, SEQUENCE)?;
    let (_, after_tbs) = element(certificate, SEQUENCE)?;
    let (identifier, _) = element(after_tbs, SEQUENCE)?;
    let (algorithm, parameters) = element(identifier, OBJECT_IDENTIFIER)?;
    match algorithm {
        RSASSA_PSS => hash_of_pss(parameters),
        _ => lookup(SIGNATURES, algorithm),
    }
}

fn hash_of_pss(parameters: &[u8]) -> Option<&'static Algorithm> {
    let (parameters, _) = element(parameters, SEQUENCE)?;
    let Some((explicit, _)) = element(parameters, CONTEXT_0) else {
        // The default is SHA-1, for which RFC 5929 wants SHA-256.
        return Some(&SHA256);
    };
    let (identifier, _) = element(explicit, SEQUENCE)?;
    let (hash, _) = element(identifier, OBJECT_IDENTIFIER)?;
    lookup(HASHES, hash)
}

fn lookup(table: Table, identifier: &[u8]) -> Option<&'static Algorithm> {
    table
        .iter()
        .find(|(known, _)| *known == identifier)
        .map(|(_, algorithm)| *algorithm)
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

type Table = &'static [(&'static [u8], &'static Algorithm)];

const SEQUENCE: u8 = 0x30;
const OBJECT_IDENTIFIER: u8 = 0x06;
const CONTEXT_0: u8 = 0xa0;

/// 1.2.840.113549.1.1.10.
const RSASSA_PSS: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 10];

/// Signature algorithms and the hash of RFC 5929: the signature's own, but SHA-256 instead of MD5 and SHA-1.
const SIGNATURES: Table = &[
    // RSA with MD5, SHA-1, SHA-256, SHA-384, SHA-512: 1.2.840.113549.1.1.
    (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 4], &SHA256),
    (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 5], &SHA256),
    (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 11], &SHA256),
    (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 12], &SHA384),
    (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 13], &SHA512),
    // ECDSA with SHA-1, SHA-256, SHA-384, SHA-512: 1.2.840.10045.4.
    (&[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 1], &SHA256),
    (&[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2], &SHA256),
    (&[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 3], &SHA384),
    (&[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 4], &SHA512),
];

/// Hashes by themselves: MD5, SHA-1, SHA-256, SHA-384, SHA-512.
const HASHES: Table = &[
    (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 2, 5], &SHA256),
    (&[0x2b, 0x0e, 3, 2, 0x1a], &SHA256),
    (&[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 1], &SHA256),
    (&[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 2], &SHA384),
    (&[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 3], &SHA512),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn der(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
        let content = parts.concat();
        let mut octets = vec![tag];
        match content.len() {
            length @ 0..=0x7f => octets.push(length as u8),
            length @ 0x80..=0xff => octets.extend([0x81, length as u8]),
            length => octets.extend([0x82, (length >> 8) as u8, length as u8]),
        }
        octets.extend(content);
        octets
    }

    fn certificate(identifier: &[u8], parameters: &[u8], size: usize) -> Vec<u8> {
        let tbs = der(SEQUENCE, &[&vec![0; size]]);
        let identifier = der(OBJECT_IDENTIFIER, &[identifier]);
        let algorithm = der(SEQUENCE, &[&identifier, parameters]);
        der(SEQUENCE, &[&tbs, &algorithm, &der(3, &[b"\0signature"])])
    }

    fn hash(algorithm: &'static Algorithm, octets: &[u8]) -> Option<Vec<u8>> {
        Some(digest::digest(algorithm, octets).as_ref().to_vec())
    }

    #[test]
    fn the_hash_is_the_signatures() {
        for (identifier, algorithm) in SIGNATURES {
            for size in [0, 100, 200, 1000] {
                let certificate = certificate(identifier, &[5, 0], size);
                assert_eq!(
                    server_end_point(&certificate),
                    hash(algorithm, &certificate)
                );
            }
        }
        for (identifier, algorithm) in HASHES {
            let identifier = der(SEQUENCE, &[&der(OBJECT_IDENTIFIER, &[identifier])]);
            let parameters = der(SEQUENCE, &[&der(CONTEXT_0, &[&identifier])]);
            let certificate = certificate(RSASSA_PSS, &parameters, 300);
            assert_eq!(
                server_end_point(&certificate),
                hash(algorithm, &certificate)
            );
        }
        let default = certificate(RSASSA_PSS, &der(SEQUENCE, &[]), 300);
        assert_eq!(server_end_point(&default), hash(&SHA256, &default));
        // Ed25519: undefined.
        assert_eq!(
            server_end_point(&certificate(&[0x2b, 0x65, 0x70], &[], 300)),
            None
        );
    }

    #[test]
    fn hostile_certificates() {
        let good = certificate(RSASSA_PSS, &der(SEQUENCE, &[]), 300);
        for length in 0..good.len() {
            assert_eq!(server_end_point(&good[..length]), None, "{length}");
        }
        for at in 0..good.len() {
            for octet in [0, 0x30, 0x7f, 0x80, 0x81, 0x82, 0x84, 0xff] {
                let mut bad = good.clone();
                bad[at] = octet;
                let _ = server_end_point(&bad);
            }
        }
        assert_eq!(server_end_point(&[SEQUENCE, 0x80]), None);
        assert_eq!(server_end_point(&[SEQUENCE, 0x81]), None);
    }
}

//! As much of DER as public keys need.
//! Used by `public_key` with keys out of DNS, which are untrusted, and by `key` with the operator's. RFC 3279 2.3.1, RFC 8017 A.1.1, RFC 5958.
//! Not here: private keys, which `ring` reads.

/// The parts of a constructed value, one after the other.
#[derive(Clone, Copy)]
pub(crate) struct Reader<'a>(&'a [u8]);

pub(crate) const INTEGER: u8 = 0x02;
pub(crate) const BIT_STRING: u8 = 0x03;
pub(crate) const OBJECT_IDENTIFIER: u8 = 0x06;
pub(crate) const SEQUENCE: u8 = 0x30;

/// 1.2.840.113549.1.1.1
pub(crate) const RSA_ENCRYPTION: &[u8] = &[0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 1, 1, 1];
/// 1.3.101.112, RFC 8410 3.
pub(crate) const ED25519: &[u8] = &[0x2B, 0x65, 0x70];

impl<'a> Reader<'a> {
    pub(crate) fn new(octets: &'a [u8]) -> Self {
        Self(octets)
    }

    pub(crate) fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    /// The content of the next value if it has the tag.
    pub(crate) fn next(&mut self, tag: u8) -> Option<&'a [u8]> {
        let (&found, rest) = self.0.split_first()?;
        let (&first, mut rest) = rest.split_first()?;
        let length = match first {
            0..=0x7F => usize::from(first),
            // Two octets of length are enough for any key here; the shortest form is the only one.
            0x81 | 0x82 => {
                let (octets, after) = rest.split_at_checked(usize::from(first & 0x7F))?;
                rest = after;
                let length = octets
                    .iter()
                    .fold(0, |length, octet| length << 8 | usize::from(*octet));
                if length < if first == 0x81 { 0x80 } else { 0x100 } {
                    return None;
                }
                length
            }
            _ => return None,
        };
        let (content, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        (found == tag).then_some(content)
    }
}

/// One value.
pub(crate) fn value(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    let mut value = vec![tag];
    match content.len() {
        length @ 0..=0x7F => value.push(length as u8),
        length @ 0x80..=0xFF => value.extend([0x81, length as u8]),
        length => {
            let length = u16::try_from(length).expect("keys are far below 64 KiB");
            value.push(0x82);
            value.extend(length.to_be_bytes());
        }
    }
    value.extend(content);
    value
}

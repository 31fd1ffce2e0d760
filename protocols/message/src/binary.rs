//! BINARY: a part without its transfer encoding.
//! RFC 3516 4, RFC 9051 6.4.5. Not here: the encodings (`decode.rs`), numbering (`section.rs`).

use std::borrow::Cow;
use std::ops::Range;

use crate::decode::{TransferEncoding, UnknownTransferEncoding};
use crate::header::{Header, subset};
use crate::structure::{Content, Structure};

/// Why a part has no binary form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BinaryError {
    /// The message has no part of these numbers.
    #[error("no such part")]
    NoSuchPart,
    /// RFC 3516 4.3 leaves multiparts and messages out: decoding would change what is inside.
    #[error("part holds other parts")]
    NotALeaf,
    /// `NO [UNKNOWN-CTE]`.
    #[error(transparent)]
    UnknownTransferEncoding(#[from] UnknownTransferEncoding),
}

/// Where the octets of `BINARY[numbers]` are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BinaryPlace {
    /// A header section that comes first, see [`BinaryPlace::pick`].
    pub header: Option<Range<usize>>,
    /// What is decoded.
    pub body: Range<usize>,
    /// How.
    pub encoding: TransferEncoding,
}

impl Structure {
    /// Where `BINARY[numbers]` is. Without numbers: the message with its body decoded and Content-Transfer-Encoding left out; a
    /// message of several parts comes as it is.
    pub fn binary_place(&self, numbers: &[u32]) -> Result<BinaryPlace, BinaryError> {
        let part = match numbers {
            [] => &self.root,
            _ => self.part(numbers).ok_or(BinaryError::NoSuchPart)?.part,
        };
        let encoding = match part.content {
            Content::Leaf => part.decoder()?,
            _ if numbers.is_empty() => TransferEncoding::Identity,
            Content::Multipart(_) | Content::Message(_) => return Err(BinaryError::NotALeaf),
        };
        Ok(match numbers {
            [] if encoding == TransferEncoding::Identity => BinaryPlace {
                header: None,
                body: part.header.start..part.body.end,
                encoding,
            },
            _ => BinaryPlace {
                header: numbers.is_empty().then(|| part.header.clone()),
                body: part.body.clone(),
                encoding,
            },
        })
    }

    /// The octets of `BINARY[numbers]`, see [`Structure::binary_place`].
    pub fn binary<'m>(
        &self,
        message: &'m [u8],
        numbers: &[u32],
    ) -> Result<Cow<'m, [u8]>, BinaryError> {
        let place = self.binary_place(numbers)?;
        let body = message.get(place.body).unwrap_or_default();
        let Some(header) = place.header else {
            return Ok(place.encoding.decode(body));
        };
        let mut decoded = BinaryPlace::pick(message.get(header).unwrap_or_default());
        place
            .encoding
            .decode_to(body, |octets| decoded.extend_from_slice(octets));
        Ok(Cow::Owned(decoded))
    }

    /// The length of [`Structure::binary`], without making it: `BINARY.SIZE[numbers]`.
    pub fn binary_size(&self, message: &[u8], numbers: &[u32]) -> Result<u64, BinaryError> {
        let place = self.binary_place(numbers)?;
        let header = place.header.map_or(0, |header| {
            BinaryPlace::pick(message.get(header).unwrap_or_default()).len()
        });
        let body = message.get(place.body).unwrap_or_default();
        Ok(header as u64 + place.encoding.decoded_size(body))
    }
}

impl BinaryPlace {
    /// The header section as it stands before a decoded body.
    pub fn pick(header: &[u8]) -> Vec<u8> {
        subset(Header::of_section(header), |name| {
            !name.eq_ignore_ascii_case(b"Content-Transfer-Encoding")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn binary(message: &str, numbers: &[u32]) -> Result<String, BinaryError> {
        let structure = Structure::of_message(message.as_bytes());
        let octets = structure.binary(message.as_bytes(), numbers);
        assert_eq!(
            structure.binary_size(message.as_bytes(), numbers),
            octets
                .as_ref()
                .map(|octets| octets.len() as u64)
                .map_err(|error| *error)
        );
        octets.map(|octets| String::from_utf8_lossy(&octets).into_owned())
    }

    #[test]
    fn single_part() {
        let message = "A: b\r\nContent-Transfer-Encoding: base64\r\n\r\nQUJD\r\n";
        assert_eq!(binary(message, &[1]).as_deref(), Ok("ABC"));
        assert_eq!(binary(message, &[]).as_deref(), Ok("A: b\r\n\r\nABC"));
        assert_eq!(binary(message, &[2]), Err(BinaryError::NoSuchPart));
        assert_eq!(binary("\r\nplain", &[]).as_deref(), Ok("\r\nplain"));
        let unknown = message.replace("base64", "x-uuencode");
        let unknown_encoding = Err(BinaryError::UnknownTransferEncoding(
            UnknownTransferEncoding,
        ));
        assert_eq!(
            (binary(&unknown, &[1]), binary(&unknown, &[])),
            (unknown_encoding.clone(), unknown_encoding)
        );
    }

    #[test]
    fn inner_parts() {
        let message = concat!(
            "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n=41\r\n",
            "--b\r\nContent-Type: message/rfc822\r\n\r\nContent-Transfer-Encoding: base64\r\n\r\nQQ==\r\n--b--\r\n",
        );
        assert_eq!(binary(message, &[1]).as_deref(), Ok("A"));
        assert_eq!(binary(message, &[2]), Err(BinaryError::NotALeaf));
        assert_eq!(binary(message, &[2, 1]).as_deref(), Ok("A"));
        assert_eq!(binary(message, &[]).as_deref(), Ok(message));
    }
}

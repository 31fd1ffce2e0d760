//! BINARY: a part without its transfer encoding.
//! RFC 3516 4, RFC 9051 6.4.5. Not here: the encodings (`decode.rs`), numbering (`section.rs`).

use std::borrow::Cow;

use crate::decode::{TransferEncoding, UnknownTransferEncoding};
use crate::header::{Header, subset};
use crate::structure::{Content, Part, Structure};

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

impl Structure {
    /// The octets of `BINARY[numbers]`. Without numbers: the message with its body decoded and Content-Transfer-Encoding left out; a
    /// message of several parts comes as it is.
    pub fn binary<'m>(
        &self,
        message: &'m [u8],
        numbers: &[u32],
    ) -> Result<Cow<'m, [u8]>, BinaryError> {
        if !numbers.is_empty() {
            let (part, decoder) = self.binary_part(numbers)?;
            return Ok(decoder.decode(part.body_octets(message)));
        }
        let decoder = self.root_decoder()?;
        if decoder == TransferEncoding::Identity {
            return Ok(Cow::Borrowed(message));
        }
        let mut decoded = self.header_without_encoding(message);
        decoder.decode_to(self.root.body_octets(message), |octets| {
            decoded.extend_from_slice(octets)
        });
        Ok(Cow::Owned(decoded))
    }

    /// The length of [`Structure::binary`], without making it: `BINARY.SIZE[numbers]`.
    pub fn binary_size(&self, message: &[u8], numbers: &[u32]) -> Result<u64, BinaryError> {
        if !numbers.is_empty() {
            let (part, decoder) = self.binary_part(numbers)?;
            return Ok(decoder.decoded_size(part.body_octets(message)));
        }
        let decoder = self.root_decoder()?;
        if decoder == TransferEncoding::Identity {
            return Ok(message.len() as u64);
        }
        let header_size = self.header_without_encoding(message).len() as u64;
        Ok(header_size + decoder.decoded_size(self.root.body_octets(message)))
    }

    fn binary_part(&self, numbers: &[u32]) -> Result<(&Part, TransferEncoding), BinaryError> {
        let part = self.part(numbers).ok_or(BinaryError::NoSuchPart)?.part;
        match part.content {
            Content::Leaf => Ok((part, part.decoder()?)),
            Content::Multipart(_) | Content::Message(_) => Err(BinaryError::NotALeaf),
        }
    }

    fn root_decoder(&self) -> Result<TransferEncoding, BinaryError> {
        match self.root.content {
            Content::Leaf => Ok(self.root.decoder()?),
            Content::Multipart(_) | Content::Message(_) => Ok(TransferEncoding::Identity),
        }
    }

    fn header_without_encoding(&self, message: &[u8]) -> Vec<u8> {
        let header = Header::of_section(self.root.header_octets(message));
        subset(header, |name| {
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

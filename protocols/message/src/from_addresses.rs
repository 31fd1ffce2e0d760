//! The author of a message: who the From field names, for submission checks and DMARC.
//! Strict where readers could see different authors: several From fields, addresses that need guessing. RFC 5322 3.6.2, RFC 6854,
//! RFC 9989 (DMARC wants exactly one author domain). Not here: whether the account may use the address (`src/submission`).

use crate::address::{AddressItem, MailboxAddress, parse_list};
use crate::encoded_word::decode_text;
use crate::header::Header;

/// An author.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FromAddress {
    /// Display name, decoded; empty if there is none.
    pub name: String,
    /// Quotes removed, case kept.
    pub localpart: String,
    /// As written, not in canonical form; a domain literal has its brackets.
    pub domain: String,
}

/// Why a header has no usable author. All are the sender's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FromError {
    /// RFC 5322 3.6: From is required.
    #[error("no From field")]
    Missing,
    /// RFC 5322 3.6: at most once.
    #[error("more than one From field")]
    SeveralFields,
    /// Empty, or a group without members.
    #[error("no address in From")]
    NoAddress,
    /// Asked for one author, found more.
    #[error("more than one address in From")]
    SeveralAddresses,
    /// Not an address, or one that readers may understand differently.
    #[error("malformed address in From")]
    Malformed,
}

/// All addresses of the only From field; members of groups count like others.
pub fn from_addresses(header: Header<'_>) -> Result<Vec<FromAddress>, FromError> {
    let mut fields = header.all("From");
    let field = fields.next().ok_or(FromError::Missing)?;
    if fields.next().is_some() {
        return Err(FromError::SeveralFields);
    }
    let mut authors = Vec::new();
    for item in parse_list(field.value) {
        if let AddressItem::Mailbox(mailbox) = item {
            authors.push(author(mailbox)?);
        }
    }
    if authors.is_empty() {
        Err(FromError::NoAddress)
    } else {
        Ok(authors)
    }
}

/// The only address of the only From field.
pub fn single_from_address(header: Header<'_>) -> Result<FromAddress, FromError> {
    let mut authors = from_addresses(header)?;
    match authors.pop() {
        Some(author) if authors.is_empty() => Ok(author),
        Some(_) => Err(FromError::SeveralAddresses),
        None => Err(FromError::NoAddress),
    }
}

fn author(mailbox: MailboxAddress) -> Result<FromAddress, FromError> {
    let text = |octets: Vec<u8>| String::from_utf8(octets).map_err(|_| FromError::Malformed);
    if mailbox.ambiguous || mailbox.route.is_some() {
        return Err(FromError::Malformed);
    }
    let localpart = text(mailbox.localpart)?;
    let domain = text(mailbox.domain.ok_or(FromError::Malformed)?)?;
    let unfit = |letter: char| letter.is_control() || letter.is_whitespace();
    if localpart.is_empty()
        || localpart.contains(char::is_control)
        || domain.is_empty()
        || domain.contains(unfit)
    {
        return Err(FromError::Malformed);
    }
    let name = mailbox.name.as_deref().map(decode_text).unwrap_or_default();
    Ok(FromAddress {
        name,
        localpart,
        domain,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn single(header: &str) -> Result<String, FromError> {
        let author = single_from_address(Header::of_message(header.as_bytes()))?;
        Ok(format!(
            "{}|{}|{}",
            author.name, author.localpart, author.domain
        ))
    }

    #[test]
    fn usable() {
        for (header, expected) in [
            ("From: a@b\r\n", "|a|b"),
            (
                "from:\r\n =?utf-8?q?caf=C3=A9?=\r\n <A.b@Example.org>\r\n",
                "café|A.b|Example.org",
            ),
            ("From: \"x@evil\" <a@b> (c)\r\n", "x@evil|a|b"),
            ("From: \"a b\"@c\r\n", "|a b|c"),
            ("From: us: a@b;\r\n", "|a|b"),
            ("From: é@é.example\r\n", "|é|é.example"),
        ] {
            assert_eq!(single(header).as_deref(), Ok(expected), "{header}");
        }
    }

    #[test]
    fn unusable() {
        for (header, error) in [
            ("To: a@b\r\n", FromError::Missing),
            ("From: a@b\r\nFROM: c@d\r\n", FromError::SeveralFields),
            ("From: \r\n", FromError::NoAddress),
            ("From: nobody:;\r\n", FromError::NoAddress),
            ("From: a@b, c@d\r\n", FromError::SeveralAddresses),
            ("From: a@b <c@d>\r\n", FromError::Malformed),
            ("From: a\r\n", FromError::Malformed),
            ("From: <@b>\r\n", FromError::Malformed),
            ("From: <a@>\r\n", FromError::Malformed),
            ("From: <a@b> <c@d>\r\n", FromError::Malformed),
            ("From: <@x:a@b>\r\n", FromError::Malformed),
            ("From: <a@b\r\n", FromError::Malformed),
        ] {
            assert_eq!(single(header), Err(error), "{header}");
        }
    }
}

//! The fields of a header that IMAP's ENVELOPE shows, undecoded and unfolded.
//! RFC 3501 7.4.2, RFC 9051 7.5.2. Octets stay as they are: encoded words are for the client to decode.
//! Not here: the SMTP envelope (`protocols/smtp`), IMAP syntax (`protocols/imap`).

use crate::address::{AddressItem, parse_list};
use crate::header::{Header, HeaderField};
use crate::limits;

/// What ENVELOPE shows. An absent field is `None` or an empty list, both NIL on the wire.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EnvelopeFields {
    /// Date as written.
    pub date: Option<Vec<u8>>,
    /// Subject as written.
    pub subject: Option<Vec<u8>>,
    /// From.
    pub from_header: Vec<EnvelopeAddress>,
    /// Sender, or From if there is none.
    pub sender: Vec<EnvelopeAddress>,
    /// Reply-To, or From if there is none.
    pub reply_to: Vec<EnvelopeAddress>,
    /// To.
    pub to_header: Vec<EnvelopeAddress>,
    /// Cc.
    pub cc: Vec<EnvelopeAddress>,
    /// Bcc.
    pub bcc: Vec<EnvelopeAddress>,
    /// In-Reply-To as written.
    pub in_reply_to: Option<Vec<u8>>,
    /// Message-ID as written.
    pub message_id: Option<Vec<u8>>,
}

/// An address structure. RFC 9051 7.5.2: `host` NIL marks a group: with `mailbox` its start and name, without its end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EnvelopeAddress {
    /// Display name, undecoded.
    pub name: Option<Vec<u8>>,
    /// Source route (at-domain-list).
    pub route: Option<Vec<u8>>,
    /// Localpart, or the name of a group.
    pub mailbox: Option<Vec<u8>>,
    /// Domain.
    pub host: Option<Vec<u8>>,
}

impl EnvelopeFields {
    /// Reads them from a header section.
    pub fn of_header(header: Header<'_>) -> Self {
        let mut envelope = Self::default();
        for field in header.fields() {
            envelope.take(field);
        }
        // RFC 9051 7.5.2: the server defaults Sender and Reply-To to From, also when they hold no address.
        if envelope.sender.is_empty() {
            envelope.sender.clone_from(&envelope.from_header);
        }
        if envelope.reply_to.is_empty() {
            envelope.reply_to.clone_from(&envelope.from_header);
        }
        envelope
    }

    /// About how many octets of memory they take.
    pub(crate) fn weight(&self) -> usize {
        let texts = [
            &self.date,
            &self.subject,
            &self.in_reply_to,
            &self.message_id,
        ];
        let lists = [
            &self.from_header,
            &self.sender,
            &self.reply_to,
            &self.to_header,
            &self.cc,
            &self.bcc,
        ];
        let address = |a: &EnvelopeAddress| {
            let texts = [&a.name, &a.route, &a.mailbox, &a.host];
            size_of_val(a) + texts.into_iter().flatten().map(Vec::len).sum::<usize>()
        };
        size_of_val(self)
            + texts.into_iter().flatten().map(Vec::len).sum::<usize>()
            + lists.into_iter().flatten().map(address).sum::<usize>()
    }

    /// Of a text given twice the first counts; addresses given twice are joined (RFC 5322 3.6 allows neither).
    fn take(&mut self, field: HeaderField<'_>) {
        let lists: [(&str, &mut Vec<EnvelopeAddress>); 6] = [
            ("From", &mut self.from_header),
            ("Sender", &mut self.sender),
            ("Reply-To", &mut self.reply_to),
            ("To", &mut self.to_header),
            ("Cc", &mut self.cc),
            ("Bcc", &mut self.bcc),
        ];
        if let Some((_, list)) = lists.into_iter().find(|(name, _)| field.is(name)) {
            return add_addresses(list, field);
        }
        let texts: [(&str, &mut Option<Vec<u8>>); 4] = [
            ("Date", &mut self.date),
            ("Subject", &mut self.subject),
            ("In-Reply-To", &mut self.in_reply_to),
            ("Message-ID", &mut self.message_id),
        ];
        let Some((_, text)) = texts.into_iter().find(|(name, _)| field.is(name)) else {
            return;
        };
        if text.is_none() {
            *text = Some(bounded_text(field));
        }
    }
}

/// The unfolded value, cut at [`limits::STRING_MAX`].
pub(crate) fn bounded_text(field: HeaderField<'_>) -> Vec<u8> {
    let mut text = field.unfolded().into_owned();
    text.truncate(limits::STRING_MAX);
    text
}

fn add_addresses(list: &mut Vec<EnvelopeAddress>, field: HeaderField<'_>) {
    let room = limits::ADDRESSES_MAX.saturating_sub(list.len());
    list.extend(
        parse_list(field.value)
            .into_iter()
            .take(room)
            .map(EnvelopeAddress::from),
    );
}

impl From<AddressItem> for EnvelopeAddress {
    fn from(item: AddressItem) -> Self {
        match item {
            AddressItem::Mailbox(mailbox) => Self {
                name: mailbox.name,
                route: mailbox.route,
                mailbox: Some(mailbox.localpart),
                // NIL would make it a group, so a missing domain is the empty string.
                host: Some(mailbox.domain.unwrap_or_default()),
            },
            AddressItem::GroupStart(name) => Self {
                mailbox: Some(name),
                ..Self::default()
            },
            AddressItem::GroupEnd => Self::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(name: Option<&str>, mailbox: Option<&str>, host: Option<&str>) -> EnvelopeAddress {
        let octets = |text: Option<&str>| text.map(|text| text.as_bytes().to_vec());
        EnvelopeAddress {
            name: octets(name),
            route: None,
            mailbox: octets(mailbox),
            host: octets(host),
        }
    }

    #[test]
    fn defaults_groups_and_octets() {
        let header = b"From: A <a@b>\r\nSubject: =?utf-8?q?x?=\r\n caf\xe9\r\nReply-To: \r\nTo: g: c@d, e;\r\nsubject: second\r\n\r\n";
        let envelope = EnvelopeFields::of_header(Header::of_message(header));
        let from_header = vec![address(Some("A"), Some("a"), Some("b"))];
        assert_eq!(
            envelope.subject.as_deref(),
            Some(b"=?utf-8?q?x?= caf\xe9".as_slice())
        );
        assert_eq!(
            (&envelope.sender, &envelope.reply_to),
            (&from_header, &from_header)
        );
        let group = [
            address(None, Some("g"), None),
            address(None, Some("c"), Some("d")),
            address(None, Some("e"), Some("")),
            address(None, None, None),
        ];
        assert_eq!(envelope.to_header, group);
        assert_eq!((envelope.date, envelope.cc), (None, vec![]));
    }
}

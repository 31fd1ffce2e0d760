//! ENVELOPE, RFC 9051 7.5.2. The name `EnvelopeFields` leaves `Envelope` to SMTP.
//! Not here: reading the fields from a message.

use std::borrow::Cow;

use super::strings::push_nstring;
use crate::types::NameSyntax;

/// The fields of ENVELOPE. RFC 9051 7.5.2: whoever fills them lets `sender` and `reply_to` default to `from`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EnvelopeFields<'a> {
    /// Date
    pub date: Option<Cow<'a, [u8]>>,
    /// Subject
    pub subject: Option<Cow<'a, [u8]>>,
    /// From
    pub from: Vec<Address<'a>>,
    /// Sender
    pub sender: Vec<Address<'a>>,
    /// Reply-To
    pub reply_to: Vec<Address<'a>>,
    /// To
    pub to: Vec<Address<'a>>,
    /// Cc
    pub cc: Vec<Address<'a>>,
    /// Bcc
    pub bcc: Vec<Address<'a>>,
    /// In-Reply-To
    pub in_reply_to: Option<Cow<'a, [u8]>>,
    /// Message-ID
    pub message_id: Option<Cow<'a, [u8]>>,
}

/// `address`. A group is an address with a mailbox and no host, its members, and an address with neither.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Address<'a> {
    /// Display name.
    pub name: Option<Cow<'a, [u8]>>,
    /// Source route (obsolete).
    pub route: Option<Cow<'a, [u8]>>,
    /// Local part, or a group's name.
    pub mailbox: Option<Cow<'a, [u8]>>,
    /// Domain.
    pub host: Option<Cow<'a, [u8]>>,
}

impl EnvelopeFields<'_> {
    /// ```abnf
    /// envelope = "(" env-date SP env-subject SP env-from SP env-sender SP env-reply-to SP env-to SP env-cc SP
    ///            env-bcc SP env-in-reply-to SP env-message-id ")"
    /// ```
    pub fn write_to(&self, out: &mut Vec<u8>, syntax: NameSyntax) {
        out.push(b'(');
        push_nstring(out, self.date.as_deref(), syntax);
        out.push(b' ');
        push_nstring(out, self.subject.as_deref(), syntax);
        for addresses in [
            &self.from,
            &self.sender,
            &self.reply_to,
            &self.to,
            &self.cc,
            &self.bcc,
        ] {
            out.push(b' ');
            push_addresses(out, addresses, syntax);
        }
        out.push(b' ');
        push_nstring(out, self.in_reply_to.as_deref(), syntax);
        out.push(b' ');
        push_nstring(out, self.message_id.as_deref(), syntax);
        out.push(b')');
    }
}

/// env-from = "(" 1*address ")" / nil, and the others alike
fn push_addresses(out: &mut Vec<u8>, addresses: &[Address<'_>], syntax: NameSyntax) {
    if addresses.is_empty() {
        out.extend_from_slice(b"NIL");
        return;
    }
    out.push(b'(');
    for address in addresses {
        // address = "(" addr-name SP addr-adl SP addr-mailbox SP addr-host ")"
        for (index, field) in [
            &address.name,
            &address.route,
            &address.mailbox,
            &address.host,
        ]
        .into_iter()
        .enumerate()
        {
            out.push(if index == 0 { b'(' } else { b' ' });
            push_nstring(out, field.as_deref(), syntax);
        }
        out.push(b')');
    }
    out.push(b')');
}

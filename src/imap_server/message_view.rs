//! What `protocols/message` found in a message, as the types that `protocols/imap` writes: envelope and body structure.
//! Nothing is decided here; octets are shown as they stand in the message. RFC 9051 7.5.2.

use std::borrow::Cow;

use imap::response::{
    Address, BodyFields, BodyParameters, BodyStructure, Disposition, EnvelopeFields, PartExtension,
};
use message::{Content, EnvelopeAddress, Parameter, Part};

/// ENVELOPE.
pub(super) fn envelope(fields: &message::EnvelopeFields) -> EnvelopeFields<'_> {
    EnvelopeFields {
        date: borrowed(&fields.date),
        subject: borrowed(&fields.subject),
        from: addresses(&fields.from_header),
        sender: addresses(&fields.sender),
        reply_to: addresses(&fields.reply_to),
        to: addresses(&fields.to_header),
        cc: addresses(&fields.cc),
        bcc: addresses(&fields.bcc),
        in_reply_to: borrowed(&fields.in_reply_to),
        message_id: borrowed(&fields.message_id),
    }
}

/// BODYSTRUCTURE, and BODY without its extension fields. `message` limits the depth.
pub(super) fn body_structure(part: &Part) -> BodyStructure<'_> {
    let content_type = &part.content_type;
    let subtype = Cow::Borrowed(content_type.subtype.as_slice());
    match &part.content {
        Content::Multipart(parts) => BodyStructure::Multipart {
            parts: parts.iter().map(body_structure).collect(),
            subtype,
            parameters: parameters(&content_type.parameters),
            extension: extension(part),
        },
        Content::Message(inner) => BodyStructure::Message {
            subtype,
            fields: body_fields(part),
            envelope: Box::new(inner.envelope.as_deref().map(envelope).unwrap_or_default()),
            body: Box::new(body_structure(inner)),
            lines: part.body_lines,
            extension: extension(part),
        },
        Content::Leaf if content_type.is_media("TEXT") => BodyStructure::Text {
            subtype,
            fields: body_fields(part),
            lines: part.body_lines,
            extension: extension(part),
        },
        Content::Leaf => BodyStructure::Basic {
            media_type: Cow::Borrowed(&content_type.media),
            subtype,
            fields: body_fields(part),
            extension: extension(part),
        },
    }
}

fn body_fields(part: &Part) -> BodyFields<'_> {
    BodyFields {
        parameters: parameters(&part.content_type.parameters),
        id: borrowed(&part.content_id),
        description: borrowed(&part.description),
        encoding: Cow::Borrowed(&part.transfer_encoding),
        octets: part.body.len() as u64,
    }
}

fn extension(part: &Part) -> PartExtension<'_> {
    PartExtension {
        md5: borrowed(&part.md5),
        disposition: part.disposition.as_ref().map(|d| Disposition {
            kind: Cow::Borrowed(&d.kind),
            parameters: parameters(&d.parameters),
        }),
        languages: part
            .languages
            .iter()
            .map(|l| Cow::Borrowed(l.as_slice()))
            .collect(),
        location: borrowed(&part.location),
    }
}

fn parameters(parameters: &[Parameter]) -> BodyParameters<'_> {
    parameters
        .iter()
        .map(|p| {
            (
                Cow::Borrowed(p.name.as_slice()),
                Cow::Borrowed(p.value.as_slice()),
            )
        })
        .collect()
}

fn addresses(addresses: &[EnvelopeAddress]) -> Vec<Address<'_>> {
    addresses
        .iter()
        .map(|a| Address {
            name: borrowed(&a.name),
            route: borrowed(&a.route),
            mailbox: borrowed(&a.mailbox),
            host: borrowed(&a.host),
        })
        .collect()
}

fn borrowed(octets: &Option<Vec<u8>>) -> Option<Cow<'_, [u8]>> {
    octets.as_deref().map(Cow::Borrowed)
}

#[cfg(test)]
mod tests {
    use imap::types::NameSyntax;
    use message::Structure;

    use super::*;

    fn shown(message: &str) -> String {
        let structure = Structure::of_message(message.as_bytes());
        let mut out = Vec::new();
        body_structure(&structure.root).write_to(&mut out, NameSyntax::ModifiedUtf7, true);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_message_in_a_multipart() {
        let text = shown(concat!(
            "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nhi\r\n",
            "--b\r\nContent-Type: message/rfc822\r\nContent-Disposition: attachment\r\n\r\nSubject: in\r\n\r\nx\r\n--b--\r\n",
        ));
        assert_eq!(
            text,
            concat!(
                "((\"TEXT\" \"PLAIN\" (\"CHARSET\" \"us-ascii\") NIL NIL \"7BIT\" 2 0 NIL NIL NIL NIL)",
                "(\"MESSAGE\" \"RFC822\" NIL NIL NIL \"7BIT\" 16 (NIL \"in\" NIL NIL NIL NIL NIL NIL NIL NIL) ",
                "(\"TEXT\" \"PLAIN\" (\"CHARSET\" \"us-ascii\") NIL NIL \"7BIT\" 1 0 NIL NIL NIL NIL) 2 NIL (\"ATTACHMENT\" NIL) NIL NIL)",
                " \"MIXED\" (\"BOUNDARY\" \"b\") NIL NIL NIL)"
            )
        );
    }
}

//! What the help pages of version 0 show: of each method what it takes and what it answers, each field filled, with one element of each list.

use std::collections::BTreeMap;

use serde::Serialize;
use webapi::{
    Empty, File, MessageMeta, MsgFlags, MsgGetResult, MsgId, MsgMove, MsgPart, NameAddress,
    Present, SendRequest, SendResult, Submission, Suppression, SuppressionAdd, SuppressionAddress,
    Suppressions, TakenApart, Time,
};

/// What a method takes, and what it answers; none: octets.
pub(super) fn of(name: &str) -> (String, Option<String>) {
    let empty = || Some(shown(&Empty {}));
    let address = || {
        shown(&SuppressionAddress {
            email_address: address("ben"),
        })
    };
    match name {
        "Send" => (shown(&request()), Some(shown(&result()))),
        "SuppressionList" => {
            let suppressions = vec![suppression()];
            (
                shown(&Empty {}),
                Some(shown(&Suppressions { suppressions })),
            )
        }
        "SuppressionAdd" => (shown(&added()), empty()),
        "SuppressionRemove" => (address(), empty()),
        "SuppressionPresent" => (address(), Some(shown(&Present { present: true }))),
        "MessageGet" => (shown(&ONE), Some(shown(&got()))),
        "MessageRawGet" => (shown(&ONE), None),
        "MessagePartGet" => (shown(&part()), None),
        "MessageFlagsAdd" | "MessageFlagsRemove" => (shown(&flags()), empty()),
        "MessageMove" => (shown(&moved()), empty()),
        _ => (shown(&ONE), empty()),
    }
}

const ONE: MsgId = MsgId { msg_id: 1 };

fn shown(value: &impl Serialize) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default()
}

fn address(name: &str) -> String {
    format!("{name}@example.org")
}

fn named(name: &str) -> Vec<NameAddress> {
    vec![NameAddress {
        name: name.into(),
        address: address(&name.to_lowercase()),
    }]
}

fn file(name: &str, content_type: &str, data: &str) -> Vec<File> {
    vec![File {
        name: name.into(),
        content_type: content_type.into(),
        content_id: format!("<{name}@example.org>"),
        data: data.into(),
    }]
}

fn some(key: &str) -> BTreeMap<String, String> {
    BTreeMap::from([(key.to_string(), "value".to_string())])
}

/// 2026-01-02 03:04:05 UTC.
fn time() -> Option<Time> {
    Time::of_unix(1_767_323_045)
}

fn request() -> SendRequest {
    SendRequest {
        from: named("Ann"),
        to: named("Ben"),
        cc: named("Cleo"),
        bcc: named("Dora"),
        reply_to: named("Erik"),
        message_id: "<2@example.org>".into(),
        references: vec!["<1@example.org>".into()],
        date: time(),
        subject: "Hello".into(),
        text: "Hello\n".into(),
        html: "<p>Hello</p>\n".into(),
        extra: some("example"),
        headers: vec![("X-Example".into(), "value".into())],
        alternative_files: file("hello.md", "text/markdown", "SGVsbG8K"),
        inline_files: file("hello.svg", "image/svg+xml", "PHN2Zy8+"),
        attached_files: file("hello.txt", "text/plain", "SGVsbG8K"),
        require_tls: Some(false),
        future_release: time(),
        save_sent: true,
    }
}

fn result() -> SendResult {
    SendResult {
        message_id: "<2@example.org>".into(),
        submissions: vec![Submission {
            address: address("ben"),
            queue_msg_id: 1,
            from_id: "aebagbafaydqqcikbmga2dqpca".into(),
        }],
    }
}

fn suppression() -> Suppression {
    Suppression {
        id: 1,
        created: time(),
        account: "ann".into(),
        base_address: address("ben"),
        original_address: address("ben+shop"),
        manual: true,
        reason: "asked by telephone".into(),
    }
}

fn added() -> SuppressionAdd {
    SuppressionAdd {
        email_address: address("ben"),
        manual: true,
        reason: "asked by telephone".into(),
    }
}

fn part() -> MsgPart {
    MsgPart {
        msg_id: 1,
        part_path: vec![0],
    }
}

fn flags() -> MsgFlags {
    MsgFlags {
        msg_id: 1,
        flags: vec!["\\flagged".into()],
    }
}

fn moved() -> MsgMove {
    MsgMove {
        msg_id: 1,
        dest_mailbox_name: "Archive".into(),
    }
}

fn got() -> MsgGetResult {
    let taken = TakenApart::new(MESSAGE);
    MsgGetResult {
        message: taken.message(),
        structure: taken.structure(),
        meta: MessageMeta {
            size: MESSAGE.len() as i64,
            dsn: false,
            flags: vec!["\\seen".into()],
            mail_from: address("ann"),
            mail_from_validated: true,
            rcpt_to: address("ben"),
            msg_from: address("ann"),
            msg_from_validated: true,
            dkim_verified_domains: vec!["example.org".into()],
            remote_ip: "192.0.2.1".into(),
            mailbox_name: "Inbox".into(),
        },
    }
}

const MESSAGE: &[u8] = b"From: Ann <ann@example.org>\r\nReply-To: Erik <erik@example.org>\r\nTo: Ben <ben@example.org>\r\nCc: Cleo <cleo@example.org>\r\n\
Bcc: Dora <dora@example.org>\r\nSubject: Hello\r\nDate: Fri, 02 Jan 2026 03:04:05 +0000\r\nMessage-ID: <2@example.org>\r\nReferences: <1@example.org>\r\n\
MIME-Version: 1.0\r\nContent-Type: multipart/alternative; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nHello\r\n--b\r\n\
Content-Type: text/html; charset=utf-8\r\nContent-ID: <hello@example.org>\r\nContent-Disposition: inline; filename=hello.html\r\n\r\n<p>Hello</p>\r\n--b--\r\n";

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::web::api::methods::names;

    fn has_all(value: &Value) -> bool {
        match value {
            Value::Null => false,
            Value::String(text) => !text.is_empty(),
            Value::Array(all) => !all.is_empty() && all.iter().all(has_all),
            Value::Object(fields) => fields.values().all(has_all),
            _ => true,
        }
    }

    #[test]
    fn examples_have_all_fields_and_can_be_sent() {
        for name in names() {
            let (takes, answers) = of(name);
            let takes: Value = serde_json::from_str(&takes).unwrap();
            assert!(has_all(&takes), "{name}: {takes}");
            assert_eq!(
                answers.is_none(),
                name.ends_with("RawGet") || name.ends_with("PartGet")
            );
            let answers = answers.map_or(Value::Bool(true), |json| {
                serde_json::from_str(&json).unwrap()
            });
            // A part within has no parts, and what surrounds it no content of its own.
            assert!(
                name == "MessageGet" && has_all(&answers["Message"]) || has_all(&answers),
                "{name}: {answers}"
            );
        }
        let (request, _) = of("Send");
        assert_eq!(
            webapi::read::<SendRequest>(request.as_bytes()).unwrap(),
            super::request()
        );
    }
}

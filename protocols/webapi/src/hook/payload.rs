//! The objects that receivers are sent.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::json::{object, plain};
use crate::time::Time;
use crate::types::{NameAddress, Structure};

plain!(IncomingMeta);

object! {
    /// What became of a message for a recipient.
    Outgoing {
        /// 0.
        version: i64 = "Version",
        /// A word of [`HookEvent`](super::HookEvent).
        event: String = "Event",
        /// A report that came back says so.
        dsn: bool = "DSN",
        /// The address is on the suppression list from now on.
        suppressing: bool = "Suppressing",
        /// The recipient's number, as `Send` answered it.
        queue_msg_id: i64 = "QueueMsgID",
        /// What made its MAIL FROM unique; empty: it was not.
        from_id: String = "FromID",
        /// With its angle brackets.
        message_id: String = "MessageID",
        /// Of the message.
        subject: String = "Subject",
        /// When this was written.
        webhook_queued: Option<Time> = "WebhookQueued",
        /// Of the server's reply; 0: there was none.
        smtp_code: i64 = "SMTPCode",
        /// RFC 3463; empty: none.
        smtp_enhanced_code: String = "SMTPEnhancedCode",
        /// The server's words, or ours.
        error: String = "Error",
        /// What the submitter said of the message for himself.
        extra: BTreeMap<String, String> = "Extra",
    }
}

object! {
    /// A message that came for the account.
    Incoming {
        /// 0.
        version: i64 = "Version",
        /// Its authors.
        from: Vec<NameAddress> = "From",
        /// Its recipients.
        to: Vec<NameAddress> = "To",
        /// Those of copies.
        cc: Vec<NameAddress> = "CC",
        /// Those whom only our copy names.
        bcc: Vec<NameAddress> = "BCC",
        /// Where answers go.
        reply_to: Vec<NameAddress> = "ReplyTo",
        /// Decoded.
        subject: String = "Subject",
        /// With its angle brackets.
        message_id: String = "MessageID",
        /// The same of the message it answers.
        in_reply_to: String = "InReplyTo",
        /// The messages before it, the oldest first.
        references: Vec<String> = "References",
        /// Its Date field.
        date: Option<Time> = "Date",
        /// The first plain text, with LF.
        text: String = "Text",
        /// The first HTML.
        html: String = "HTML",
        /// Its parts.
        structure: Structure = "Structure",
        /// How it came.
        meta: IncomingMeta = "Meta",
    }
}

object! {
    /// How a message came.
    IncomingMeta {
        /// Its number, for other calls.
        msg_id: i64 = "MsgID",
        /// Of its transaction.
        mail_from: String = "MailFrom",
        /// By SPF.
        mail_from_validated: bool = "MailFromValidated",
        /// By DMARC.
        msg_from_validated: bool = "MsgFromValidated",
        /// Of its transaction.
        rcpt_to: String = "RcptTo",
        /// Domains whose signatures hold.
        dkim_verified_domains: Vec<String> = "DKIMVerifiedDomains",
        /// Where it came from.
        remote_ip: String = "RemoteIP",
        /// When.
        received: Option<Time> = "Received",
        /// Where it is.
        mailbox_name: String = "MailboxName",
        /// Written by a program, or for many.
        automated: bool = "Automated",
    }
}

/// The body of a call: JSON in which nothing means anything to who puts it into HTML by mistake.
pub fn to_json<T: Serialize>(payload: &T) -> Result<String, serde_json::Error> {
    let json = serde_json::to_string(payload)?;
    let mut escaped = String::with_capacity(json.len() + json.len() / 16);
    for c in json.chars() {
        match c {
            // They stand in strings alone.
            '<' => escaped.push_str("\\u003c"),
            '>' => escaped.push_str("\\u003e"),
            '&' => escaped.push_str("\\u0026"),
            c => escaped.push(c),
        }
    }
    Ok(escaped)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::read;

    #[test]
    fn an_outgoing_payload_is_written_field_by_field() {
        let payload = Outgoing {
            event: "failed".into(),
            suppressing: true,
            queue_msg_id: 4711,
            from_id: "0Zb2k5yJmQ3V7cTtV1p8Qw".into(),
            message_id: "<a@b.example>".into(),
            subject: "Q&A".into(),
            webhook_queued: Time::of_unix(1_785_571_200),
            smtp_code: 550,
            smtp_enhanced_code: "5.1.1".into(),
            error: "no".into(),
            extra: [("order".to_string(), "77".to_string())].into(),
            ..Outgoing::default()
        };
        let json = to_json(&payload).unwrap();
        assert_eq!(
            json,
            concat!(
                r#"{"Version":0,"Event":"failed","DSN":false,"Suppressing":true,"QueueMsgID":4711,"#,
                r#""FromID":"0Zb2k5yJmQ3V7cTtV1p8Qw","MessageID":"\u003ca@b.example\u003e","Subject":"Q\u0026A","#,
                r#""WebhookQueued":"2026-08-01T08:00:00Z","SMTPCode":550,"SMTPEnhancedCode":"5.1.1","Error":"no","#,
                r#""Extra":{"order":"77"}}"#
            )
        );
        assert_eq!(read::<Outgoing>(json.as_bytes()).unwrap(), payload);
    }

    #[test]
    fn an_incoming_payload_has_lists_and_objects_even_if_they_are_empty() {
        let json = to_json(&Incoming::default()).unwrap();
        let value: serde_json::Value = serde_json::from_str(&json).unwrap();
        for list in ["From", "To", "CC", "BCC", "ReplyTo", "References"] {
            assert_eq!(value[list], serde_json::json!([]), "{list}");
        }
        assert_eq!(value["Date"], serde_json::Value::Null);
        assert_eq!(
            value["Structure"]["ContentTypeParams"],
            serde_json::json!({})
        );
        assert_eq!(value["Meta"]["DKIMVerifiedDomains"], serde_json::json!([]));
        assert_eq!(value["Meta"]["Automated"], false);
    }
}

//! The objects that receivers are sent.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::json::{object, plain};
use crate::structure::TakenApart;
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

impl Incoming {
    /// A message, and how it came; none: its octets are gone.
    pub fn of(taken: Option<&TakenApart<'_>>, meta: IncomingMeta) -> Incoming {
        let is_null = meta.mail_from.is_empty();
        let Some(taken) = taken else {
            let meta = IncomingMeta {
                automated: is_null,
                ..meta
            };
            return Incoming {
                meta,
                ..Incoming::default()
            };
        };
        let (text, html) = taken.texts();
        Incoming {
            version: 0,
            from: taken.addresses("From"),
            to: taken.addresses("To"),
            cc: taken.addresses("Cc"),
            bcc: taken.addresses("Bcc"),
            reply_to: taken.addresses("Reply-To"),
            subject: taken.subject(),
            message_id: taken.message_id(),
            in_reply_to: taken.in_reply_to(),
            references: taken.references(),
            date: taken.date(),
            text,
            html,
            structure: taken.structure(),
            meta: IncomingMeta {
                automated: is_null || taken.is_automated(),
                ..meta
            },
        }
    }

    /// JSON of at most so many octets: where that is not enough, first without its texts, then without all but how it came.
    pub fn to_json_within(mut self, most: usize) -> Result<String, serde_json::Error> {
        let json = to_json(&self)?;
        if json.len() <= most {
            return Ok(json);
        }
        (self.text, self.html) = Default::default();
        let json = to_json(&self)?;
        if json.len() <= most {
            return Ok(json);
        }
        to_json(&Incoming {
            meta: self.meta,
            ..Incoming::default()
        })
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

    const REPLY: &str = concat!(
        "From: =?utf-8?q?J=C3=BCrg?= <j@a.example>\r\nTo: app@b.example\r\nSubject: Re: <x>\r\nMessage-ID: <2@a.example>\r\n",
        "In-Reply-To: <1@b.example>\r\nReferences: <0@b.example>\r\nAuto-Submitted: auto-replied\r\n\r\nHi & bye\r\n"
    );

    #[test]
    fn an_incoming_payload_is_made_of_the_message_and_how_it_came() {
        let meta = IncomingMeta {
            msg_id: 99,
            mail_from: "j@a.example".into(),
            ..IncomingMeta::default()
        };
        let taken = TakenApart::new(REPLY.as_bytes());
        let payload = Incoming::of(Some(&taken), meta.clone());
        assert_eq!(payload.from[0].name, "J\u{fc}rg");
        assert_eq!(payload.in_reply_to, "<1@b.example>");
        assert_eq!(payload.references, ["<0@b.example>"]);
        assert_eq!(
            (payload.text.as_str(), payload.meta.msg_id),
            ("Hi & bye\n", 99)
        );
        assert!(payload.meta.automated, "it says so");
        let gone = Incoming::of(None, meta.clone());
        assert_eq!((gone.text.as_str(), gone.meta.msg_id), ("", 99));
        assert!(!gone.meta.automated);
        assert!(Incoming::of(None, IncomingMeta::default()).meta.automated);
        // What is too long leaves out what is longest.
        let all = payload.clone().to_json_within(1 << 20).unwrap();
        let short = payload.clone().to_json_within(all.len() - 1).unwrap();
        assert!(all.contains("bye") && !short.contains("bye") && short.contains("2@a.example"));
        let least = payload.to_json_within(10).unwrap();
        assert!(!least.contains("2@a.example") && least.contains(r#""MsgID":99"#));
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

//! Messages: what is sent, and what became of it.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use smtp::Address;

use super::problem::{Fault, Kind, Problem};
use super::read::{list, texts};
use super::schema;
use crate::base64::Base64;
use crate::code::{ApiError, Code};
use crate::time::Time;
use crate::types::{File, NameAddress, SendRequest};

/// A name and an address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Mailbox {
    /// The address.
    #[schemars(schema_with = "schema::address")]
    pub address: String,
    /// Of a person; left out: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = schema::ONE_LINE))]
    pub name: Option<String>,
}

/// A field of the message's header.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Header {
    /// Its name.
    #[schemars(length(min = 1, max = 76), regex(pattern = schema::FIELD_NAME))]
    pub name: String,
    /// Its value: text; what is beyond ASCII is encoded.
    #[schemars(regex(pattern = schema::ONE_LINE))]
    pub value: String,
}

/// A file that goes with a message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Attachment {
    /// Its octets, in base64.
    #[schemars(with = "String", regex(pattern = schema::BASE64), extend("contentEncoding" = "base64"))]
    pub content: Base64,
    /// Its name; left out: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = schema::ONE_LINE))]
    pub filename: Option<String>,
    /// Its media type (`application/pdf`); left out: it is guessed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 900), regex(pattern = schema::ASCII))]
    pub content_type: Option<String>,
    /// With its angle brackets (`<logo@example.org>`): by which the HTML shows it (`cid:logo@example.org`). It is part of the text then; left out: it is
    /// attached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 900), regex(pattern = schema::ASCII))]
    pub content_id: Option<String>,
}

/// A message that is to be sent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("allOf" = [
    {"anyOf": [
        {"required": ["to"], "properties": {"to": {"minItems": 1}}},
        {"required": ["cc"], "properties": {"cc": {"minItems": 1}}},
        {"required": ["bcc"], "properties": {"bcc": {"minItems": 1}}},
    ]},
    {"anyOf": [
        {"required": ["text"], "properties": {"text": {"type": "string", "minLength": 1}}},
        {"required": ["html"], "properties": {"html": {"type": "string", "minLength": 1}}},
    ]},
]))]
pub struct NewMessage {
    /// Its author: an address of the account, and one that the key allows.
    pub from: Mailbox,
    /// Recipients. Of `to`, `cc` and `bcc` one at least has an entry; all of them, with `reply_to`, have `limits.smtp.recipients_max` (1,000) at most.
    #[serde(default, deserialize_with = "list::<10_000, _, _>")]
    #[schemars(length(max = 10_000))]
    pub to: Vec<Mailbox>,
    /// Recipients of copies.
    #[serde(default, deserialize_with = "list::<10_000, _, _>")]
    #[schemars(length(max = 10_000))]
    pub cc: Vec<Mailbox>,
    /// Recipients whom the message does not name.
    #[serde(default, deserialize_with = "list::<10_000, _, _>")]
    #[schemars(length(max = 10_000))]
    pub bcc: Vec<Mailbox>,
    /// Where answers go.
    #[serde(default, deserialize_with = "list::<10_000, _, _>")]
    #[schemars(length(max = 10_000))]
    pub reply_to: Vec<Mailbox>,
    /// Its subject.
    #[serde(default)]
    #[schemars(regex(pattern = schema::ONE_LINE))]
    pub subject: String,
    /// As plain text. This or `html` must be there.
    #[serde(default)]
    #[schemars(regex(pattern = schema::NO_NUL))]
    pub text: Option<String>,
    /// As HTML.
    #[serde(default)]
    #[schemars(regex(pattern = schema::NO_NUL))]
    pub html: Option<String>,
    /// More header fields, in this order. None that the server writes (`Bcc`, `Received`, `DKIM-Signature`, `Content-Type` and so on), nor one a second time
    /// of which there is one at most (RFC 5322 3.6).
    #[serde(default, deserialize_with = "list::<1_000, _, _>")]
    #[schemars(length(max = 1_000))]
    pub headers: Vec<Header>,
    /// Files that go with it.
    #[serde(default, deserialize_with = "list::<1_000, _, _>")]
    #[schemars(length(max = 1_000))]
    pub attachments: Vec<Attachment>,
    /// Its Message-ID, with angle brackets; left out: it gets one.
    #[serde(default)]
    #[schemars(length(max = 900), regex(pattern = schema::MESSAGE_ID))]
    pub message_id: Option<String>,
    /// Message-IDs of what it answers, with their angle brackets, the oldest first.
    #[serde(default, deserialize_with = "list::<1_000, _, _>")]
    #[schemars(length(max = 1_000), inner(length(max = 900), regex(pattern = schema::ASCII)))]
    pub references: Vec<String>,
    /// Its Date, of a year from 1900 on; left out: now.
    #[serde(default)]
    #[schemars(schema_with = "schema::date")]
    pub date: Option<Time>,
    /// It is sent then, and not before; up to 60 days ahead.
    #[serde(default)]
    pub send_at: Option<Time>,
    /// What is kept with it for you, and told with its state and its events: 1,000 names at most, and with their texts together 16 KiB, counted in
    /// octets of UTF-8.
    #[serde(default, deserialize_with = "texts::<1_000, _>")]
    #[schemars(schema_with = "schema::metadata")]
    pub metadata: BTreeMap<String, String>,
    /// True: only by hosts that keep to REQUIRETLS (RFC 8689); false: whatever the receiver demands of TLS.
    #[serde(default)]
    pub require_tls: Option<bool>,
    /// Whether a copy goes to the mailbox for sent mail.
    #[serde(default)]
    pub save_sent: bool,
    /// Whether its one recipient gets a link by which to unsubscribe with one click (RFC 8058): whoever uses it is put on the suppression list.
    #[serde(default)]
    pub unsubscribe: bool,
}

impl NewMessage {
    /// What is wrong with its addresses, and what it lacks.
    pub fn check(&self) -> Vec<Fault> {
        let mut faults = Vec::new();
        let mut look = |pointer: String, mailbox: &Mailbox| {
            let address: Result<Address, _> = mailbox.address.parse();
            if let Err(error) = address
                && faults.len() < FAULTS_MAX
            {
                let detail = format!("{:?}: {error}", mailbox.address);
                faults.push(Fault::at(format!("{pointer}/address"), detail));
            }
        };
        look("/from".into(), &self.from);
        let lists = [
            ("to", &self.to),
            ("cc", &self.cc),
            ("bcc", &self.bcc),
            ("reply_to", &self.reply_to),
        ];
        for (name, list) in lists {
            for (at, mailbox) in list.iter().enumerate() {
                look(format!("/{name}/{at}"), mailbox);
            }
        }
        if self.to.is_empty() && self.cc.is_empty() && self.bcc.is_empty() {
            faults.push(Fault::at(
                "/to",
                "there is no recipient: to, cc and bcc are empty",
            ));
        }
        faults.extend(wrong_files(&self.attachments));
        let is_empty = |text: &Option<String>| text.as_ref().is_none_or(String::is_empty);
        if is_empty(&self.text) && is_empty(&self.html) {
            faults.push(Fault::at("/text", "text or html must be there"));
        }
        faults
    }

    /// As the one request that messages are made from.
    pub fn into_request(self) -> SendRequest {
        let all = |list: Vec<Mailbox>| list.into_iter().map(named).collect();
        let (inline_files, attached_files) = files(self.attachments);
        let headers = self.headers.into_iter();
        SendRequest {
            from: vec![named(self.from)],
            to: all(self.to),
            cc: all(self.cc),
            bcc: all(self.bcc),
            reply_to: all(self.reply_to),
            message_id: self.message_id.unwrap_or_default(),
            references: self.references,
            date: self.date,
            subject: self.subject,
            text: self.text.unwrap_or_default(),
            html: self.html.unwrap_or_default(),
            extra: self.metadata,
            headers: headers.map(|field| (field.name, field.value)).collect(),
            alternative_files: Vec::new(),
            inline_files,
            attached_files,
            require_tls: self.require_tls,
            future_release: self.send_at,
            save_sent: self.save_sent,
        }
    }
}

/// Files whose content is no base64: the first ones.
pub(super) fn wrong_files(attachments: &[Attachment]) -> impl Iterator<Item = Fault> {
    let wrong = attachments.iter().enumerate().filter_map(|(at, file)| {
        let error = file.content.octets().err()?;
        let pointer = format!("/attachments/{at}/content");
        Some(Fault::at(pointer, format!("no base64: {error}")))
    });
    wrong.take(FAULTS_MAX)
}

/// Those that the HTML shows, and the others.
pub(super) fn files(attachments: Vec<Attachment>) -> (Vec<File>, Vec<File>) {
    let (mut inline_files, mut attached_files) = (Vec::new(), Vec::new());
    for attachment in attachments {
        let list = match attachment.content_id.is_some() {
            true => &mut inline_files,
            false => &mut attached_files,
        };
        list.push(File {
            name: attachment.filename.unwrap_or_default(),
            content_type: attachment.content_type.unwrap_or_default(),
            content_id: attachment.content_id.unwrap_or_default(),
            data: attachment.content,
        });
    }
    (inline_files, attached_files)
}

fn named(mailbox: Mailbox) -> NameAddress {
    NameAddress {
        name: mailbox.name.unwrap_or_default(),
        address: mailbox.address,
    }
}

/// What is wrong with a message, where it was made: the words of version 0 are about its fields.
pub fn problem(error: &ApiError) -> Problem {
    let words = error.message.as_str();
    match error.code {
        Code::Server => Problem::new(Kind::Unavailable, words),
        Code::OutcomeUnknown => Problem::new(Kind::OutcomeUnknown, words),
        Code::BadFrom | Code::DomainDisabled => {
            let fault = Fault::at("/from/address", words);
            Problem::of_faults(Kind::SenderNotAllowed, vec![fault])
        }
        Code::MessageTooLarge => Problem::new(Kind::TooLarge, words),
        Code::SentOverQuota => Problem::new(Kind::NoRoom, words),
        Code::MessageLimitReached | Code::RecipientLimitReached => limit_problem(error),
        Code::QueueFull => Problem::new(Kind::QueueFull, words),
        _ => {
            let (field, detail) = words.split_once(": ").unwrap_or(("", words));
            let pointer = match field {
                "From" => "/from",
                "To" => "/to",
                "CC" => "/cc",
                "BCC" => "/bcc",
                "ReplyTo" => "/reply_to",
                "Subject" => "/subject",
                "Text" => "/text",
                "HTML" => "/html",
                "Headers" => "/headers",
                "MessageID" => "/message_id",
                "References" => "/references",
                "Date" => "/date",
                "FutureRelease" => "/send_at",
                "Extra" => "/metadata",
                "Unsubscribe" => "/unsubscribe",
                "To, CC, BCC and ReplyTo" => "/to",
                file if file.starts_with("file") || file.starts_with("upload") => "/attachments",
                _ => return Fault::at("", words).into(),
            };
            Fault::at(pointer, detail).into()
        }
    }
}

/// The account may not send so much: now, or at all.
pub fn limit_problem(error: &ApiError) -> Problem {
    let kind = match (error.retry_after, error.code) {
        (None, _) => Kind::AboveLimit,
        (Some(_), Code::RecipientLimitReached) => Kind::RecipientLimit,
        (Some(_), _) => Kind::MessageLimit,
    };
    Problem {
        retry_after: error.retry_after,
        ..Problem::new(kind, error.message.as_str())
    }
}

/// A message that is on its way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct SentMessage {
    /// With its angle brackets.
    pub message_id: String,
    /// In the order to, cc, bcc. An address that is named twice gets one copy, and has the same number twice.
    pub recipients: Vec<SentTo>,
}

/// A recipient that it is on its way to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct SentTo {
    /// As the request has it.
    pub address: String,
    /// Its number, by which it is asked for.
    pub id: i64,
    /// What makes its MAIL FROM unique; left out: it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from_id: Option<String>,
}

/// Faults of addresses that are told.
const FAULTS_MAX: usize = 100;

#[cfg(test)]
mod tests {
    use super::super::read::body;
    use super::*;

    #[test]
    fn limits_say_whether_waiting_helps() {
        for (code, retry_after, kind) in [
            (Code::MessageLimitReached, Some(7), Kind::MessageLimit),
            (Code::RecipientLimitReached, Some(7), Kind::RecipientLimit),
            (Code::MessageLimitReached, None, Kind::AboveLimit),
            (Code::RecipientLimitReached, None, Kind::AboveLimit),
        ] {
            let error = ApiError {
                retry_after,
                ..ApiError::new(code, "so much")
            };
            let said = problem(&error);
            assert_eq!((said.kind, said.retry_after), (kind, retry_after));
        }
    }

    #[test]
    fn messages_become_requests_and_what_is_wrong_is_named() {
        let json = r#"{"from":{"address":"a@x.example","name":"Ann"},"to":[{"address":"b@y.example"}],"text":"Hi","headers":[{"name":"X-A","value":"1"}],
            "attachments":[{"content":"aGk=","filename":"a.txt"},{"content":"aGk=","content_id":"1@x"}],"metadata":{"k":"v"},"send_at":"2030-01-01T00:00:00Z"}"#;
        let message: NewMessage = body(json.as_bytes()).unwrap();
        assert!(message.check().is_empty());
        let request = message.into_request();
        assert_eq!(request.from[0].name, "Ann");
        assert_eq!(request.headers, [("X-A".to_string(), "1".to_string())]);
        assert_eq!(
            (request.inline_files.len(), request.attached_files.len()),
            (1, 1)
        );
        assert_eq!(request.extra["k"], "v");
        assert!(request.future_release.is_some());
        let json = r#"{"from":{"address":"a"},"cc":[{"address":"b@y.example"},{"address":"@"}],"html":"","attachments":[{"content":"aGk="},{"content":"aGk"}]}"#;
        let message: NewMessage = body(json.as_bytes()).unwrap();
        let faults = message.check();
        let named: Vec<&str> = faults.iter().filter_map(|f| f.pointer.as_deref()).collect();
        assert_eq!(
            named,
            [
                "/from/address",
                "/cc/1/address",
                "/attachments/1/content",
                "/text"
            ]
        );
        // Not even with all fields in their order.
        let json = r#"{"from":["a@x.example",null],"to":[{"address":"b@y.example"}],"text":"Hi"}"#;
        let problem = body::<NewMessage>(json.as_bytes()).unwrap_err();
        assert_eq!(problem.errors[0].pointer.as_deref(), Some("/from"));
        assert_eq!(problem.errors[0].detail, "it must be an object");
    }

    #[test]
    fn what_the_maker_of_messages_says_leads_to_a_field() {
        let of = |code, words: &str| problem(&ApiError::new(code, words));
        let told = of(Code::User, "Headers: \"a b\" is no name of a field");
        assert_eq!(told.errors[0].pointer.as_deref(), Some("/headers"));
        assert_eq!(told.errors[0].detail, "\"a b\" is no name of a field");
        let told = of(Code::User, "Unsubscribe: a link is one recipient's");
        assert_eq!(told.errors[0].pointer.as_deref(), Some("/unsubscribe"));
        assert_eq!(
            of(Code::User, "DKIM: no").errors[0].pointer.as_deref(),
            Some("")
        );
        assert_eq!(of(Code::BadFrom, "no").status, 403);
        assert_eq!(of(Code::Server, "later").status, 503);
        let full = of(Code::QueueFull, "later");
        assert_eq!((full.status, full.retry_after), (429, Some(60)));
    }
}

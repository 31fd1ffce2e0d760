//! Batches: one template for many recipients.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::message::{Attachment, files, wrong_files};
use super::problem::Fault;
use super::{read, schema};
use crate::batch::{BatchRecipient, BatchRequest};
use crate::template::Parts;
use crate::time::Time;
use crate::types::NameAddress;

/// What to send to whom.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("oneOf" = [
    {"required": ["template"], "properties": {"template": {"type": "object"}, "template_name": {"type": "null"}}},
    {"required": ["template_name"], "properties": {"template_name": {"type": "string"}, "template": {"type": "null"}}},
]))]
pub struct NewBatch {
    /// What you call it. At most 500 octets, without control characters.
    #[serde(default)]
    #[schemars(length(max = 500), regex(pattern = schema::ONE_LINE))]
    pub name: String,
    /// The author; left out or `null`: the account, with the address of the login.
    #[serde(default)]
    pub from: Option<Named>,
    /// Where answers go.
    #[serde(default, deserialize_with = "read::list::<100, _, _>")]
    #[schemars(length(max = 100))]
    pub reply_to: Vec<Named>,
    /// The texts. These or `template_name` must be there.
    #[serde(default)]
    pub template: Option<Texts>,
    /// A template of the account, as it is now, in place of `template`.
    #[serde(default)]
    #[schemars(length(max = 100), regex(pattern = schema::TEMPLATE_NAME))]
    pub template_name: Option<String>,
    /// Variables of recipients who have none of their own.
    #[serde(default)]
    #[schemars(with = "Option<serde_json::Map<String, serde_json::Value>>")]
    pub defaults: Option<Box<RawValue>>,
    /// To whom, each with a text of its own. At most `limits.http.batch_recipients_max` (10,000).
    #[serde(deserialize_with = "read::list::<16384, _, _>")]
    #[schemars(length(min = 1, max = 16384))]
    pub recipients: Vec<Recipient>,
    /// Not before this; left out or `null`: now. At most 60 days ahead.
    #[serde(default)]
    pub send_at: Option<Time>,
    /// `true`: only by hosts that keep to REQUIRETLS (RFC 8689); `false`: whatever the receiver demands of TLS.
    #[serde(default)]
    pub require_tls: Option<bool>,
    /// What is kept with each message for you, and told with its state and its events: 1,000 names at most, and with their texts together 16 KiB,
    /// counted in octets of UTF-8.
    #[serde(default, deserialize_with = "read::texts::<1_000, _>")]
    #[schemars(schema_with = "schema::metadata")]
    pub metadata: BTreeMap<String, String>,
    /// Whether each recipient gets a link by which to unsubscribe with one click (RFC 8058): whoever uses it is put on the suppression list.
    #[serde(default)]
    pub unsubscribe: bool,
    /// Files that go with each message, the same for all. They are kept once.
    #[serde(
        default,
        deserialize_with = "read::list::<1_000, _, _>",
        skip_serializing_if = "Vec::is_empty"
    )]
    #[schemars(length(max = 1_000))]
    pub attachments: Vec<Attachment>,
}

/// A name and an address.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Named")]
pub struct Named {
    /// Of a person; left out: none.
    #[serde(default)]
    #[schemars(regex(pattern = schema::ONE_LINE))]
    pub name: String,
    /// The address.
    #[schemars(schema_with = "schema::address")]
    pub address: String,
}

/// Templates: `{{ name }}` is replaced by a recipient's data; `{% if %}` and `{% for %}` work as in Jinja.
#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "TemplateTexts", extend("anyOf" = [
    {"required": ["text"], "properties": {"text": {"minLength": 1}}},
    {"required": ["html"], "properties": {"html": {"minLength": 1}}},
]))]
pub struct Texts {
    /// The subject.
    #[serde(default)]
    #[schemars(length(max = 4096))]
    pub subject: String,
    /// As plain text. This or `html` must be there.
    #[serde(default)]
    #[schemars(length(max = 204800))]
    pub text: String,
    /// As HTML: what is put in is escaped.
    #[serde(default)]
    #[schemars(length(max = 204800))]
    pub html: String,
    /// The name of recipients that have none of their own.
    #[serde(default)]
    #[schemars(length(max = 4096))]
    pub to_name: String,
    /// More header fields, in this order.
    #[serde(default, deserialize_with = "read::list::<20, _, _>")]
    #[schemars(length(max = 20))]
    pub headers: Vec<HeaderField>,
}

/// A header field whose value is a template.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "TemplateHeaderField")]
pub struct HeaderField {
    /// Its name.
    #[schemars(length(min = 1, max = 76), regex(pattern = schema::FIELD_NAME))]
    pub name: String,
    /// Its value.
    #[schemars(length(max = 4096))]
    pub value: String,
}

/// A recipient of a batch.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "BatchRecipient")]
pub struct Recipient {
    /// The address.
    #[schemars(schema_with = "schema::address")]
    pub address: String,
    /// The name; left out: as the template says. At most 500 octets.
    #[serde(default)]
    #[schemars(length(max = 500), regex(pattern = schema::ONE_LINE))]
    pub name: String,
    /// Variables for the template. At most 64 KiB.
    #[serde(default)]
    #[schemars(with = "Option<serde_json::Map<String, serde_json::Value>>")]
    pub data: Option<Box<RawValue>>,
}

impl NewBatch {
    /// What is wrong with its files. The rest is looked at with all it needs ([`BatchRequest::check`]).
    pub fn check(&self) -> Vec<Fault> {
        wrong_files(&self.attachments).collect()
    }

    /// As it is accepted; a template that is named has still to be put in.
    pub fn into_request(self) -> BatchRequest {
        let named = |named: Named| NameAddress {
            name: named.name,
            address: named.address,
        };
        // `null` is none, as if it were left out.
        let json = |json: Option<Box<RawValue>>| match json {
            Some(json) if json.get() != "null" => Box::<str>::from(json).into(),
            _ => String::new(),
        };
        let recipient = |recipient: Recipient| BatchRecipient {
            address: recipient.address,
            name: recipient.name,
            data: json(recipient.data),
        };
        let (inline_files, attached_files) = files(self.attachments);
        let texts = self.template.unwrap_or_default();
        let headers = texts.headers.into_iter();
        BatchRequest {
            name: self.name,
            from: self.from.map(named),
            reply_to: self.reply_to.into_iter().map(named).collect(),
            template: Parts {
                subject: texts.subject,
                text: texts.text,
                html: texts.html,
                to_name: texts.to_name,
                headers: headers.map(|h| (h.name, h.value)).collect(),
            },
            defaults: json(self.defaults),
            recipients: self.recipients.into_iter().map(recipient).collect(),
            not_before: self.send_at.map(Time::unix),
            require_tls: self.require_tls,
            extra: self.metadata,
            unsubscribe: self.unsubscribe,
            inline_files,
            attached_files,
        }
    }
}

/// A batch that is on disk.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct BatchAccepted {
    /// Its number, which is that of its first recipient. The others follow, in the order of the request: that of the recipient at position `n` is `id + n`.
    pub id: u64,
    /// How many recipients it has.
    pub recipients: u32,
}

/// How far a batch is.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(rename = "Batch")]
pub struct BatchState {
    /// Its number.
    pub id: u64,
    /// What you called it.
    pub name: String,
    /// When it was accepted.
    pub accepted: Option<Time>,
    /// Not before this; `null`: at once.
    pub send_at: Option<Time>,
    /// How many recipients it has.
    pub recipients: u32,
    /// Of these, who wait, are held, or are being sent to.
    pub waiting: u32,
    /// The next host has their message, or their mailbox.
    pub delivered: u32,
    /// Given up.
    pub failed: u32,
    /// Not sent to, for they are on the suppression list.
    pub suppressed: u32,
    /// Taken out, with the batch or by hand.
    pub dropped: u32,
    /// When it was cancelled.
    pub cancelled: Option<Time>,
    /// Since when nothing of it is left to do.
    pub ended: Option<Time>,
}

/// A page of batches.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Batches {
    /// The latest first.
    pub batches: Vec<BatchState>,
    /// For the next page; `null`: this was the last.
    pub next_cursor: Option<String>,
}

/// What a cancellation did.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct BatchCancelled {
    /// How many recipients were dropped and get nothing.
    pub dropped: u64,
    /// How many others were being sent to at that moment: each of them may have the message still, and counts as delivered then, or else as dropped.
    pub under_way: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_are_taken_as_they_are_written() {
        let json = br#"{"template": {"text": "{{ a }}"}, "defaults": {"b": [1, 2.50]}, "recipients": [
            {"address": "a@b.example", "data": {"a": "\u00e4"}}, {"address": "c@b.example", "data": null}, {"address": "d@b.example"}]}"#;
        let request = read::body::<NewBatch>(json).unwrap().into_request();
        assert_eq!(request.defaults, r#"{"b": [1, 2.50]}"#);
        let data: Vec<&str> = request.recipients.iter().map(|r| r.data.as_str()).collect();
        assert_eq!(data, [r#"{"a": "\u00e4"}"#, "", ""]);
        let problem = read::body::<NewBatch>(
            br#"{"template": {"text": ""}, "recipients": [{"adress": ""}]}"#,
        );
        let problem = problem.unwrap_err();
        assert_eq!(
            problem.errors[0].pointer.as_deref(),
            Some("/recipients/0/adress")
        );
    }
}

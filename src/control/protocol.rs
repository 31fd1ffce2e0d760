//! Lines on the control socket, one JSON object each. The client sends a request; the server answers any number of items and then how
//! it ended. Several requests may follow each other on one connection.
//!
//! ```text
//! > {"command":"account-list","after":null,"limit":2}
//! < {"item":{"name":"anna","addresses":["anna@example.org"]}}
//! < {"item":{"name":"ben","addresses":["ben@example.org"]}}
//! < {"done":{"next":"ben"}}
//! > {"command":"account-remove","name":"nobody"}
//! < {"error":"there is no account nobody"}
//! ```

use std::io::{self, BufRead, Read, Write};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::queue::batch::BatchPlace;
use crate::queue::hooks::HookFilter;
use crate::queue::retired::RetiredFilter;
use crate::queue::{Deed, Filter};

/// What may be asked.
#[derive(Clone, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Request {
    /// Is somebody there?
    Ping {},
    /// How it is.
    Status {},
    /// Read the settings again.
    Reload {},
    /// End. The connection closes when the process does.
    Stop {},
    /// Write an account's file and take it into service.
    AccountAdd {
        /// Its name.
        name: String,
        /// Its addresses, at least one.
        addresses: Vec<String>,
        /// Takes over mail and password of an earlier account of the name; else they are a reason to refuse.
        #[serde(default)]
        keep: bool,
    },
    /// Remove an account's file and its mail. Refused while mail of its is in the queue.
    AccountRemove {
        /// Whose.
        name: String,
        /// Its mail in the queue goes too, and nobody is told.
        #[serde(default)]
        drop_queued: bool,
    },
    /// A page of the accounts, by name.
    AccountList {
        /// The last name of the page before.
        #[serde(default)]
        after: Option<String>,
        /// Length of the page; at most [`PAGE_MAX`].
        #[serde(default = "page_max")]
        limit: usize,
        /// With mailboxes, messages and octets of each: opens each account.
        #[serde(default)]
        numbers: bool,
    },
    /// How much an account may send, and how much it has.
    AccountLimits {
        /// Whose.
        name: String,
    },
    /// Set an account's password.
    AccountPassword {
        /// Whose.
        name: String,
        /// The new one.
        password: String,
    },
    /// Make an app password. The answer has it, for the only time.
    AppPasswordAdd {
        /// Whose.
        account: String,
        /// The owner's word for it.
        name: String,
        /// `imap`, `submission`; none: all.
        #[serde(default)]
        services: Vec<String>,
    },
    /// Remove an app password.
    AppPasswordRemove {
        /// Whose.
        account: String,
        /// Its name.
        name: String,
    },
    /// The app passwords of an account: names, not the passwords.
    AppPasswordList {
        /// Whose.
        account: String,
    },
    /// Make a key of the API. The answer has it, for the only time.
    ApiKeyAdd {
        /// Whose.
        account: String,
        /// The owner's word for it.
        name: String,
        /// What it may do.
        scopes: Vec<String>,
        /// Addresses and domains that it may write as; none: all of the account's.
        #[serde(default)]
        from: Vec<String>,
        /// Requests in a minute; none: no bound.
        #[serde(default)]
        per_minute: Option<u32>,
        /// Until when, seconds since 1970; none: until it is removed.
        #[serde(default)]
        expires: Option<i64>,
    },
    /// The keys of an account: not their secrets.
    ApiKeyList {
        /// Whose.
        account: String,
    },
    /// Remove a key of the API.
    ApiKeyRemove {
        /// Whose.
        account: String,
        /// As listed.
        id: String,
    },
    /// Register the key of a TLS client certificate.
    ClientKeyAdd {
        /// Which address it logs in; its account is that address's.
        address: String,
        /// The owner's word for the device.
        name: String,
        /// DER in base64.
        certificate: String,
        /// Greet IMAP as always; the program logs in with EXTERNAL.
        #[serde(default)]
        no_imap_preauth: bool,
    },
    /// Remove a key; its account's sessions end.
    ClientKeyRemove {
        /// As listed.
        fingerprint: String,
    },
    /// A key with its certificate.
    ClientKeyGet {
        /// As listed.
        fingerprint: String,
    },
    /// A page of the keys, of all accounts or one.
    ClientKeyList {
        /// Whose; none: all.
        #[serde(default)]
        account: Option<String>,
        /// `next` of the page before.
        #[serde(default)]
        after: Option<KeyPosition>,
        /// How many are looked at; at most [`PAGE_MAX`].
        #[serde(default = "page_max")]
        limit: usize,
    },
    /// Attempts to log in, the latest first.
    AccountLogins {
        /// Whose; `-`: of names that nobody has; none: all.
        #[serde(default)]
        account: Option<String>,
        /// Only failed ones.
        #[serde(default)]
        failed: bool,
        /// How many records; at most [`LOGINS_MAX`].
        limit: usize,
    },
    /// Look a name up in the DNS.
    DnsLookup {
        /// As in `MX`.
        record_type: String,
        /// A name, or for PTR an address.
        name: String,
    },
    /// Find where mail for a domain would go.
    DnsMx {
        /// Which.
        domain: String,
    },
    /// What would be demanded of connections to a domain's hosts.
    DnsTls {
        /// Which.
        domain: String,
    },
    /// What a domain says by MTA-STS now, whatever is kept of it.
    MtaStsShow {
        /// Which.
        domain: String,
    },
    /// A page of the policies of MTA-STS that are kept.
    MtaStsList {
        /// `next` of the page before.
        #[serde(default)]
        after: Option<PolicyPosition>,
        /// Length of the page; at most [`PAGE_MAX`].
        #[serde(default = "page_max")]
        limit: usize,
    },
    /// Forget a policy of MTA-STS.
    MtaStsRemove {
        /// Whose.
        domain: String,
    },
    /// How TLS went with other domains.
    TlsResults {
        /// With which; none: all.
        #[serde(default)]
        domain: Option<String>,
        /// On which day since 1970 (UTC); none: all that are kept.
        #[serde(default)]
        day: Option<u32>,
    },
    /// A page of the queue. The end has `next`, and `missing`: why shards could not be looked at, each in words.
    QueueList {
        /// `next` of the page before.
        #[serde(default)]
        after: Option<QueuePosition>,
        /// Length of the page; at most [`PAGE_MAX`].
        #[serde(default = "page_max")]
        limit: usize,
        /// Which recipients.
        #[serde(default)]
        filter: Box<Filter>,
    },
    /// Do something to recipients in the queue. Items tell how far it is. Shards that can't do it keep no other from it; they are the error in the end.
    QueueChange {
        /// To which.
        filter: Box<Filter>,
        /// What.
        deed: Deed,
    },
    /// The octets of a queued message, in base64, as items.
    QueueDump {
        /// The number of one of its recipients.
        id: u64,
    },
    /// The sites that mail goes to, and what was done about them.
    SiteList {
        /// By its name or that of one of its hosts; none: all.
        #[serde(default)]
        site: Option<String>,
        /// Only those that are left alone or given less.
        #[serde(default)]
        restrained: bool,
    },
    /// Leave a site alone for a time.
    SitePause {
        /// By its name or that of one of its hosts.
        site: String,
        /// For how long.
        secs: u64,
        /// In words.
        #[serde(default)]
        why: String,
    },
    /// End the pause of a site, and what it is given less.
    SiteResume {
        /// By its name or that of one of its hosts; none: all.
        #[serde(default)]
        site: Option<String>,
    },
    /// The rules that hold new mail.
    HoldRuleList {},
    /// Hold what has all of these from now on, and what waits already. Empty ones fit anything.
    HoldRuleAdd {
        /// Who submits.
        #[serde(default)]
        account: String,
        /// Of the reverse-path.
        #[serde(default)]
        sender_domain: String,
        /// Of the recipient.
        #[serde(default)]
        recipient_domain: String,
    },
    /// Remove a hold rule; what it holds stays held.
    HoldRuleRemove {
        /// Its number.
        id: u32,
    },
    /// A page of the recipients that are over and kept. It may be short before the last.
    RetiredList {
        /// `next` of the page before.
        #[serde(default)]
        after: Option<RowPosition>,
        /// How many are looked at; at most [`PAGE_MAX`].
        #[serde(default = "page_max")]
        limit: usize,
        /// Which.
        #[serde(default)]
        filter: Box<RetiredFilter>,
    },
    /// What addresses of pools may send to sites, and what was made of each day.
    QueueWarmUp {
        /// Of the addresses of this name alone.
        #[serde(default)]
        member: Option<String>,
    },
    /// A page of the suppression lists, of all accounts or one.
    SuppressionList {
        /// Whose; none: all.
        #[serde(default)]
        account: Option<String>,
        /// `next` of the page before.
        #[serde(default)]
        after: Option<RowPosition>,
        /// Length of the page; at most [`PAGE_MAX`].
        #[serde(default = "page_max")]
        limit: usize,
    },
    /// Have an account send nothing to an address.
    SuppressionAdd {
        /// Whose list.
        account: String,
        /// Which.
        address: String,
        /// Why; may be empty.
        #[serde(default)]
        reason: String,
        /// Until then, seconds since 1970; none: until it is removed.
        #[serde(default)]
        expires: Option<i64>,
    },
    /// Let an account send to an address again. What failed there before is forgotten.
    SuppressionRemove {
        /// Whose list.
        account: String,
        /// Which.
        address: String,
    },
    /// What an account's list says of an address.
    SuppressionLookup {
        /// Whose list.
        account: String,
        /// Which.
        address: String,
    },
    /// The endpoints of an account's webhooks.
    WebhookList {
        /// Whose.
        account: String,
    },
    /// Add an endpoint, or say something else of one.
    WebhookPut {
        /// Whose.
        account: String,
        /// None: a new one.
        #[serde(default)]
        id: Option<u32>,
        /// Where calls go; none: as before.
        #[serde(default)]
        url: Option<String>,
        /// The value of Authorization; empty: none; not there: as before.
        #[serde(default)]
        authorization: Option<String>,
        /// Of what it is told; none: as before, or what receivers of the first version know.
        #[serde(default)]
        events: Option<Vec<String>>,
        /// Calls at once; none: as before, or 1.
        #[serde(default)]
        concurrency: Option<u8>,
    },
    /// Do something to an endpoint.
    WebhookChange {
        /// Whose.
        account: String,
        /// Which.
        id: u32,
        /// What.
        deed: WebhookDeed,
    },
    /// Make a call with an event that did not happen.
    WebhookTest {
        /// Whose.
        account: String,
        /// To which endpoint.
        id: u32,
    },
    /// A page of an account's webhooks that wait. It may be short before the last.
    WebhookQueue {
        /// Whose.
        account: String,
        /// `next` of the page before.
        #[serde(default)]
        after: Option<String>,
        /// Which.
        #[serde(default)]
        filter: Box<HookFilter>,
    },
    /// A page of those that are over and kept.
    WebhookHistory {
        /// Whose.
        account: String,
        /// `next` of the page before.
        #[serde(default)]
        after: Option<String>,
        /// Which.
        #[serde(default)]
        filter: Box<HookFilter>,
    },
    /// What a webhook says, or said.
    WebhookPayload {
        /// Whose.
        account: String,
        /// Which.
        id: u64,
    },
    /// Put webhooks that are over in line again.
    WebhookRedeliver {
        /// Whose.
        account: String,
        /// Which.
        ids: Vec<u64>,
    },
    /// Give webhooks up that wait.
    WebhookCancel {
        /// Whose.
        account: String,
        /// Which.
        ids: Vec<u64>,
    },
    /// A page of an account's batches, the latest first.
    BatchList {
        /// Whose.
        account: String,
        /// `next` of the page before.
        #[serde(default)]
        after: Option<BatchPlace>,
        /// Length of the page; at most [`PAGE_MAX`].
        #[serde(default = "page_max")]
        limit: usize,
    },
    /// How far a batch is.
    BatchShow {
        /// Whose.
        account: String,
        /// Its id.
        id: u64,
    },
    /// Drop all recipients of a batch that still wait.
    BatchCancel {
        /// Whose.
        account: String,
        /// Its id.
        id: u64,
    },
    /// Check everything that is stored. Items tell progress, findings, and notes on what is not wrong.
    Check {},
}

/// What is done to an endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum WebhookDeed {
    /// It is taken out.
    Remove {},
    /// It is told of events again.
    Enable {},
    /// It is told of none.
    Disable {
        /// Why; may be empty.
        why: String,
    },
    /// It gets another secret.
    Rotate {
        /// For how long the one before is valid too.
        overlap_secs: u64,
    },
}

/// A place between two pages of keys.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyPosition {
    /// The shard whose keys were told last.
    pub shard: u16,
    /// The last one's fingerprint; none: that shard's first is next.
    pub key: Option<String>,
}

/// A place between two pages of policies.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyPosition {
    /// The shard whose policies were told last.
    pub shard: u16,
    /// The last one's domain; none: that shard's first is next.
    pub domain: Option<String>,
}

/// A place between two pages of the queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueuePosition {
    /// The shard whose messages were told last.
    pub shard: u16,
    /// The last one's number; none: that shard's first is next.
    pub message: Option<u64>,
    /// The last of its recipients; none: all of them.
    #[serde(default)]
    pub index: Option<u32>,
}

/// A place between two pages of rows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowPosition {
    /// The shard whose rows were told last.
    pub shard: u16,
    /// The last one's key, in base64; none: that shard's first is next.
    pub key: Option<String>,
}

/// A line of an answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Response {
    /// One of several.
    Item(Value),
    /// The end, and what there is to say in all.
    Done(Value),
    /// It could not be done, or not be finished; what to do about it.
    Error(String),
}

/// Writes a line.
pub fn write_line(out: &mut impl Write, line: &impl Serialize) -> io::Result<()> {
    let mut text = serde_json::to_vec(line)?;
    text.push(b'\n');
    out.write_all(&text)
}

/// Reads a line; none at the end. A line longer than [`LINE_MAX`], or one that is not what is expected, is an error that says so.
pub fn read_line<T: DeserializeOwned>(input: &mut impl BufRead) -> io::Result<Option<T>> {
    let mut line = Vec::new();
    let mut bounded = Read::take(&mut *input, LINE_MAX as u64 + 1);
    bounded.read_until(b'\n', &mut line)?;
    if line.is_empty() {
        return Ok(None);
    }
    if line.len() > LINE_MAX {
        return Err(invalid(format!("a line has more than {LINE_MAX} octets")));
    }
    serde_json::from_slice(&line)
        .map(Some)
        .map_err(|e| invalid(format!("not a line of this protocol: {e}")))
}

fn invalid(text: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text)
}

fn page_max() -> usize {
    PAGE_MAX
}

/// Name of the socket in the directory.
pub const SOCKET: &str = "ctl";
/// Longest line, in octets: a queue entry with a thousand recipients fits.
pub const LINE_MAX: usize = 1 << 20;
/// Records of logins in an answer, at most: they are sorted in memory.
pub const LOGINS_MAX: usize = 100_000;
/// Items on a page, at most.
pub const PAGE_MAX: usize = 500;

#[cfg(test)]
mod tests {
    use super::*;

    fn request(text: &str) -> io::Result<Option<Request>> {
        read_line(&mut text.as_bytes())
    }

    #[test]
    fn requests_read_as_documented() {
        assert!(matches!(
            request("{\"command\":\"ping\"}\n"),
            Ok(Some(Request::Ping {}))
        ));
        match request("{\"command\":\"account-list\",\"limit\":2}\n") {
            Ok(Some(Request::AccountList {
                after: None,
                limit: 2,
                numbers: false,
            })) => (),
            _ => panic!("account-list"),
        }
        match request("{\"command\":\"queue-list\",\"after\":{\"shard\":1,\"message\":7}}") {
            Ok(Some(Request::QueueList {
                after: Some(after),
                limit: PAGE_MAX,
                filter,
            })) => {
                assert_eq!(
                    (after.shard, after.message, after.index),
                    (1, Some(7), None)
                );
                assert!(filter.is_empty());
            }
            _ => panic!("queue-list"),
        }
        match request(
            "{\"command\":\"queue-change\",\"filter\":{\"account\":\"anna\"},\"deed\":{\"put-off\":{\"by\":60}}}",
        ) {
            Ok(Some(Request::QueueChange { filter, deed })) => {
                assert_eq!(filter.account.as_deref(), Some("anna"));
                assert_eq!(deed, Deed::PutOff { by: 60 });
            }
            _ => panic!("queue-change"),
        }
        assert!(matches!(request(""), Ok(None)));
    }

    #[test]
    fn what_is_not_a_request_is_an_error_in_words() {
        for wrong in [
            "x\n",
            "{}\n",
            "\n",
            "{\"command\":\"dance\"}\n",
            "{\"command\":\"account-remove\"}\n",
            "{\"command\":\"stop\",\"now\":true}\n",
            "[1,2]\n",
            "{\"command\":\"queue-change\",\"deed\":{\"drop\":{}}}\n",
        ] {
            let error = request(wrong).err().map(|e| e.to_string());
            assert!(
                error.is_some_and(|e| e.starts_with("not a line of this protocol: ")),
                "{wrong}"
            );
        }
        let long = format!("{{\"command\":\"{}\"}}\n", "x".repeat(LINE_MAX));
        let error = request(&long).err().unwrap().to_string();
        assert!(error.contains("more than 1048576 octets"), "{error}");
    }

    #[test]
    fn answers_survive_the_way() {
        for line in [
            Response::Item(serde_json::json!({"name": "a\nb"})),
            Response::Done(serde_json::json!({})),
            Response::Error("no".into()),
        ] {
            let mut bytes = Vec::new();
            write_line(&mut bytes, &line).unwrap();
            assert_eq!(bytes.iter().filter(|b| **b == b'\n').count(), 1);
            assert_eq!(read_line(&mut &bytes[..]).unwrap(), Some(line));
        }
    }
}

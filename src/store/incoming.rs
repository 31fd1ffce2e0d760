//! Messages that came and of which webhooks have still to tell: a row for each, written in the commit of the message. Whoever makes the webhooks
//! reads it, and the message by it, and erases it (`queue/hooks/incoming.rs`). docs/WEBHOOKS.md.
//!
//! Numbers of bodies rise, so the rows of an account lie in the order in which its messages came.

use std::net::IpAddr;
use std::rc::Rc;

use message::Header;
use serde::{Deserialize, Serialize};
use shards::segments::BodyId;
use shards::storage::{Shard, StorageError};

use super::add::NewMessage;
use super::body::{MessageBody, whole};
use super::{INBOX, StoreError, rows};

/// What is known of a message that came, besides its octets: they may be gone when it is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IncomingRow {
    /// Its number: that of its body.
    pub body: u64,
    /// Where it was delivered.
    pub mailbox: String,
    /// Of its transaction; empty: the null path.
    pub reverse_path: String,
    /// Of its transaction.
    pub recipient: String,
    /// Where it came from; empty: nobody is told.
    pub remote_ip: String,
    /// When, seconds since 1970.
    pub received: i64,
    /// Octets.
    pub size: u64,
}

impl IncomingRow {
    pub(super) fn of(message: &NewMessage, body: BodyId, mailbox: &str) -> IncomingRow {
        IncomingRow {
            body: body.0,
            mailbox: mailbox.to_string(),
            reverse_path: message.reverse_path.clone(),
            recipient: message.recipient.clone(),
            remote_ip: remote_ip(&message.prefix),
            received: message.received,
            size: message.length(),
        }
    }
}

/// Key of the row of a message.
pub fn incoming_key(account: &str, body: u64) -> Vec<u8> {
    let mut key = incoming_prefix(account);
    key.extend_from_slice(&body.to_be_bytes());
    key
}

/// The beginning of those of an account.
fn incoming_prefix(account: &str) -> Vec<u8> {
    let mut key = rows::webhooks_key(account);
    key.push(b'i');
    key
}

/// The first message of an account from a number on of which webhooks have still to tell. Rows that can't be read stay, and the others go on.
pub async fn first_incoming(
    shard: &Rc<Shard>,
    account: &str,
    from: u64,
) -> Result<Option<IncomingRow>, StoreError> {
    let mut from = incoming_key(account, from);
    loop {
        let found = shard.scan(incoming_prefix(account), from, 1).await?;
        let Some((key, row)) = found.into_iter().next() else {
            return Ok(None);
        };
        let name = || format!("a message of {account} that webhooks are to tell of, {key:02x?}");
        match rows::decode(&row, name) {
            Ok(row) => return Ok(Some(row)),
            Err(error) => {
                tracing::error!(shard = %shard.id(), %error, "webhooks tell nothing of a message")
            }
        }
        from = [key.as_slice(), &[0]].concat();
    }
}

/// All octets of a message by its number; none: they are gone, or damaged.
pub async fn stored_octets(
    shard: &Rc<Shard>,
    number: u64,
) -> Result<Option<MessageBody>, StoreError> {
    let id = BodyId(number);
    let read = async { whole(shard, id, shard.read_body(id, None).await?).await };
    match read.await {
        Ok(body) => Ok(Some(body)),
        Err(StoreError::Storage(StorageError::Gone(..))) => Ok(None),
        Err(StoreError::Storage(error @ StorageError::Damaged { .. })) => {
            tracing::error!(shard = %shard.id(), number, %error, "webhooks tell nothing of a message's content");
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// RFC 9051 5.1: INBOX in any case. Clients of the first such API know it by this one.
pub fn mailbox_name(name: &str) -> String {
    match name {
        INBOX => "Inbox".into(),
        name => name.into(),
    }
}

/// Where the message came from, by the Received field that we wrote. Of a submission nobody is told.
pub fn remote_ip(prefix: &[u8]) -> String {
    let field = Header::of_section(prefix).first("Received");
    let value = field.map(|field| field.unfolded()).unwrap_or_default();
    let value = String::from_utf8_lossy(&value).replace('\t', " ");
    let from = value.split(" by ").next().unwrap_or_default();
    // RFC 5321 4.1.3. What the peer said of itself stands before it.
    let literal = from
        .rsplit_once('[')
        .and_then(|(_, rest)| rest.split_once(']'));
    let text = literal.map_or("", |(text, _)| text);
    let text = text.strip_prefix("IPv6:").unwrap_or(text);
    text.parse::<IpAddr>()
        .map_or(String::new(), |ip| ip.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_a_message_came_from() {
        for (prefix, expected) in [
            ("", ""),
            (
                "Received: from (mx.example.org) by mx.example.org via tcp with HTTP id 1; date\r\n",
                "",
            ),
            (
                "Return-Path: <a@b>\r\nReceived: from x ([192.0.2.1])\r\n\tby mx ([192.0.2.9]) via tcp\r\n",
                "192.0.2.1",
            ),
            (
                "Received: from x (y.example [IPv6:2001:db8::1]) by mx via tcp\r\n",
                "2001:db8::1",
            ),
        ] {
            assert_eq!(remote_ip(prefix.as_bytes()), expected, "{prefix}");
        }
    }
}

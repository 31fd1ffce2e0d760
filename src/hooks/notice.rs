//! The message that says that an endpoint was switched off, into the account's INBOX. RFC 3834 5 (Auto-Submitted).
//!
//! The order: the endpoint is off, and that is owed; then the message is delivered, under the number of the hook that failed last, which the
//! account takes once; then it is crossed out. A stop in between repeats the delivery.

use std::rc::Rc;
use std::sync::Arc;

use message::compose::{
    date_field, delivered_to_field, message_id, message_id_field, return_path_field,
};
use message::{Header, MessageDate};
use shards::storage::Shard;

use crate::calls::{Call, Deliver, Transaction};
use crate::percore::PerCore;
use crate::queue::hooks::{self, EndpointRow};
use crate::queue::report::randomness;
use crate::settings::AccountName;
use crate::store::{INBOX, NewContent, NewMessage, StoreError, thread_row};

/// Tells it, if it is owed, and all cores that the endpoint is told of nothing.
pub(super) async fn tell(
    core: &Rc<PerCore>,
    shard: &Rc<Shard>,
    account: &str,
    endpoint: u32,
) -> Result<(), StoreError> {
    let name: AccountName = account
        .parse()
        .map_err(|_| StoreError::NotAllowed("no account has such a name"))?;
    let (.., told) = hooks::endpoints(shard, account).await?;
    core.tell_hooks(name, told).await;
    let Some(row) = hooks::endpoint(shard, account, endpoint).await? else {
        return Ok(());
    };
    let Some(hook) = row.mail_owed else {
        return Ok(());
    };
    tracing::info!(
        account,
        endpoint,
        url = row.url,
        "an endpoint of webhooks was switched off"
    );
    let transaction = Transaction {
        shard: shard.id().0,
        entry: hook,
        recipient: TRANSACTION,
    };
    let live = core.live();
    let own = live.settings.accounts.get(&name);
    let address = own
        .and_then(|own| own.addresses.first())
        .map_or_else(String::new, |first| first.address.to_string());
    let now = core.wall_clock();
    let octets = compose(&row, &address, live.settings.server.hostname(), now)?;
    let delivered = core.deliver(Deliver {
        account: name,
        mailbox: INBOX.to_string(),
        message: NewMessage {
            prefix: (return_path_field("") + &delivered_to_field(&address)).into_bytes(),
            thread: thread_row(Header::of_message(octets.as_bytes())),
            content: NewContent {
                bytes: Arc::new(octets.into_bytes()),
                external: None,
            },
            flags: 0,
            keywords: Vec::new(),
            received: now,
            saved: now,
            reverse_path: String::new(),
            recipient: address,
            is_incoming: false,
        },
        transaction: Some(transaction),
    });
    delivered.await?;
    let turn = core.queue.hooks.turn(account).await;
    if core.queue.interest(account).is_some() {
        hooks::mail_paid(shard, &turn, endpoint, now).await?;
    }
    drop(turn);
    let call = Call::ForgetDelivered {
        account: name,
        transactions: vec![transaction],
    };
    let _ = core.call(core.owner_of(account), call).await;
    Ok(())
}

fn compose(
    endpoint: &EndpointRow,
    address: &str,
    host: &str,
    now: i64,
) -> Result<String, StoreError> {
    let why = endpoint.disabled.as_deref().unwrap_or("it failed");
    let [random, _] = randomness()?;
    let mut text = format!("From: Webhooks <postmaster@{host}>\r\n");
    if !address.is_empty() {
        text.push_str(&format!("To: <{address}>\r\n"));
    }
    text.push_str(&format!(
        "Subject: Endpoint {} of your webhooks was switched off\r\n",
        endpoint.id
    ));
    text.push_str(&date_field(MessageDate::utc(now)));
    text.push_str(&message_id_field(&message_id(random, host)));
    text.push_str("Auto-Submitted: auto-generated\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n");
    text.push_str(&format!(
        "Endpoint {} of your webhooks was switched off, for {why}.\r\n\r\n{}\r\n\r\n",
        endpoint.id,
        // RFC 5322 2.1.1: 998 octets in a line.
        endpoint.url.get(..900).unwrap_or(&endpoint.url),
    ));
    text.push_str("It is told of no new events. What waits for it is sent once it is switched on again:\r\nringmail webhook enable does that, or whoever runs this server.\r\n");
    Ok(text)
}

/// Tells these deliveries apart from others under the same number.
const TRANSACTION: u32 = u32::MAX - 1;

//! A call that only tries an endpoint.

use std::rc::Rc;
use std::time::Duration;

use shards::shard_of;
use webapi::Time;
use webapi::hook::{Outgoing, to_json};

use super::client::{Client, Message};
use super::dispatch::random;
use crate::percore::PerCore;
use crate::queue::hooks::{self, HookAnswer};
use crate::settings::AccountName;
use crate::store::StoreError;

/// Calls an endpoint with an event that did not happen; nothing is stored of it.
pub async fn test(
    core: &Rc<PerCore>,
    account: AccountName,
    id: u32,
) -> Result<HookAnswer, StoreError> {
    let number = shard_of(account.as_str().as_bytes(), core.shard_count);
    let shard = core.shards.iter().find(|shard| shard.id() == number);
    let shard = shard.ok_or(StoreError::NotAllowed("this core does not own the shard"))?;
    let Some(endpoint) = hooks::endpoint(shard, account.as_str(), id).await? else {
        return Ok(HookAnswer::Tested(None));
    };
    let payload = Outgoing {
        event: "delivered".into(),
        queue_msg_id: 1,
        message_id: "<test@ringmail.invalid>".into(),
        subject: "A test of this endpoint".into(),
        webhook_queued: Time::of_unix(core.wall_clock()),
        smtp_code: 250,
        ..Outgoing::default()
    };
    let payload = to_json(&payload).map_err(|_| StoreError::Limit("no payload"))?;
    let number = random() >> (u64::BITS - NUMBER_BITS);
    let message = Message {
        endpoint: &endpoint,
        id: number,
        webhook_id: format!("msg_test_{number}"),
        attempt: 1,
        payload: payload.into(),
    };
    let limit = core.live().settings.server.webhooks.timeout_secs.duration();
    let testing = core.queue.hooks.begin_test(account.as_str());
    let _testing = testing.ok_or(StoreError::Limit("as many tests as may be are under way"))?;
    let outcome = Client::new(core, account.as_str(), &Rc::default())
        .call(&message, limit.min(TEST_MAX))
        .await;
    Ok(HookAnswer::Tested(Some(Box::new(outcome.result))))
}

/// Bits of the number of a test: another one each time, for receivers that take nothing twice, and less than that of any hook, which is made from the time.
const NUMBER_BITS: u32 = 40;
/// A test is an answer that somebody waits for, by way of a call between cores.
const TEST_MAX: Duration = Duration::from_secs(20);

//! Webhooks of accounts: endpoints, what waits for them, what was sent.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use webapi::hook::{HookEvent, HookEvents, Secret};

use super::commands::{Control, OTHER_ANSWER};
use super::protocol::WebhookDeed;
use super::secrets::configured;
use crate::calls::{ControlAnswer, ControlCall};
use crate::queue::Most;
use crate::queue::hooks::{
    Enabled, EndpointRow, EndpointSpec, HookAnswer, HookAsk, HookFilter, HookResult, HookRow,
    PAGE_MAX, Redelivered, RetiredHook,
};

/// One item for each endpoint.
pub(super) fn list(
    control: &Control,
    account: &str,
    item: &mut dyn FnMut(Value) -> Result<(), String>,
) -> Result<Value, String> {
    let HookAnswer::List { endpoints, dropped } = ask(control, account, HookAsk::List)? else {
        return Err(OTHER_ANSWER.into());
    };
    for (endpoint, pending) in &endpoints {
        let mut told = describe(endpoint);
        told["pending"] = (*pending).into();
        item(told)?;
    }
    Ok(json!({"dropped": dropped}))
}

/// What is said of an endpoint; none: as before.
pub(super) struct Said {
    pub url: Option<String>,
    pub authorization: Option<String>,
    pub events: Option<Vec<String>>,
    pub concurrency: Option<u8>,
}

/// A new endpoint is told with its secret, and that only now.
pub(super) fn put(
    control: &Control,
    account: &str,
    id: Option<u32>,
    said: Said,
) -> Result<Value, String> {
    let _one = control.edits.lock().map_err(|_| super::commands::BROKEN)?;
    let before = match id {
        Some(id) => Some(found(control, account, id)?),
        None => None,
    };
    let events = match said.events {
        Some(words) => {
            let events: Result<HookEvents, String> =
                words.iter().map(|word| word.parse::<HookEvent>()).collect();
            events?
        }
        None => before
            .as_ref()
            .map_or(HookEvents::FIRST, EndpointRow::events),
    };
    let authorization = match said.authorization {
        Some(text) => Some(text).filter(|text| !text.is_empty()),
        None => before.as_ref().and_then(|b| b.authorization.clone()),
    };
    let url = said.url.or(before.as_ref().map(|b| b.url.clone()));
    let spec = EndpointSpec {
        url: url.ok_or("an endpoint has a URL")?,
        authorization,
        events,
        concurrency: said
            .concurrency
            .or(before.as_ref().map(|b| b.concurrency))
            .unwrap_or(1),
    };
    let live = control.server.live();
    spec.check(&live.settings.server.webhooks)?;
    let wanted = HookAsk::Put {
        id,
        spec,
        keeps_authorization: false,
    };
    let (endpoint, silent) = changed(control, account, (id, wanted))?;
    let mut told = describe(&endpoint);
    if id.is_none() {
        told["secret"] = secret(&endpoint).into();
        tracing::info!(
            account,
            endpoint = endpoint.id,
            url = endpoint.url,
            "an endpoint of webhooks was added"
        );
    }
    told["messages"] = silence(silent).into();
    Ok(told)
}

pub(super) fn change(
    control: &Control,
    account: &str,
    id: u32,
    deed: WebhookDeed,
) -> Result<Value, String> {
    let _one = control.edits.lock().map_err(|_| super::commands::BROKEN)?;
    let is_rotation = matches!(deed, WebhookDeed::Rotate { .. });
    let ask = match deed {
        WebhookDeed::Remove {} => HookAsk::Remove { id },
        WebhookDeed::Enable {} => HookAsk::Enable {
            id,
            enabled: Enabled::Yes,
        },
        WebhookDeed::Disable { why } => {
            if why.len() > WHY_MAX || why.chars().any(char::is_control) {
                return Err(format!(
                    "a reason has at most {WHY_MAX} octets, and no control characters"
                ));
            }
            let why = match why.as_str() {
                "" => "by hand".to_string(),
                _ => why,
            };
            HookAsk::Enable {
                id,
                enabled: Enabled::No(why),
            }
        }
        WebhookDeed::Rotate { overlap_secs } => HookAsk::Rotate {
            id,
            overlap_secs: overlap_secs.min(OVERLAP_MAX_SECS),
        },
    };
    let (endpoint, silent) = changed(control, account, (Some(id), ask))?;
    let mut told = describe(&endpoint);
    if is_rotation {
        told["secret"] = secret(&endpoint).into();
    }
    told["messages"] = silence(silent).into();
    Ok(told)
}

pub(super) fn test(control: &Control, account: &str, id: u32) -> Result<Value, String> {
    match ask(control, account, HookAsk::Test { id })? {
        HookAnswer::Tested(Some(result)) => Ok(result_of(&result)),
        HookAnswer::Tested(None) => Err(unknown(account, id)),
        _ => Err(OTHER_ANSWER.into()),
    }
}

/// One item for each that fits. A page ends after so many were looked at.
pub(super) fn queue(
    control: &Control,
    account: &str,
    after: Option<String>,
    filter: HookFilter,
    item: &mut dyn FnMut(Value) -> Result<(), String>,
) -> Result<Value, String> {
    control.goes_on()?;
    let wanted = HookAsk::Pending {
        filter: Box::new(filter),
        after: position(after)?,
        most: Most::entries(PAGE_MAX),
    };
    let HookAnswer::Pending((hooks, next), pauses) = ask(control, account, wanted)? else {
        return Err(OTHER_ANSWER.into());
    };
    for hook in &hooks {
        let mut told = hook_of(hook);
        if let Some(until) = pauses.get(&hook.endpoint) {
            told["due"] = hook.due.max(*until).into();
            told["paused_until"] = (*until).into();
        }
        item(told)?;
    }
    Ok(json!({"next": next.map(|key| STANDARD.encode(key))}))
}

/// The same of those that are over.
pub(super) fn history(
    control: &Control,
    account: &str,
    after: Option<String>,
    filter: HookFilter,
    item: &mut dyn FnMut(Value) -> Result<(), String>,
) -> Result<Value, String> {
    control.goes_on()?;
    let wanted = HookAsk::Retired {
        filter: Box::new(filter),
        after: position(after)?,
        most: Most::entries(PAGE_MAX),
    };
    let HookAnswer::Retired((hooks, next)) = ask(control, account, wanted)? else {
        return Err(OTHER_ANSWER.into());
    };
    for retired in &hooks {
        item(retired_of(retired))?;
    }
    Ok(json!({"next": next.map(|key| STANDARD.encode(key))}))
}

pub(super) fn payload(control: &Control, account: &str, id: u64) -> Result<Value, String> {
    match ask(control, account, HookAsk::Payload { id })? {
        HookAnswer::Payload(Some(octets)) => {
            Ok(json!({"payload": String::from_utf8_lossy(&octets)}))
        }
        HookAnswer::Payload(None) => Err(format!(
            "{account} has no webhook {id} that waits or is kept"
        )),
        _ => Err(OTHER_ANSWER.into()),
    }
}

pub(super) fn redeliver(control: &Control, account: &str, ids: &[u64]) -> Result<Value, String> {
    let mut count = 0;
    for id in ids {
        match ask(control, account, HookAsk::Redeliver { id: *id })? {
            HookAnswer::Redelivered(Redelivered::For(_)) => count += 1,
            HookAnswer::Redelivered(Redelivered::Missing) => {
                return Err(format!(
                    "{account} keeps no webhook {id} that is over, or its endpoint is gone; {count} before it are in line again"
                ));
            }
            HookAnswer::Redelivered(Redelivered::NoRoom(why)) => {
                return Err(format!(
                    "webhook {id} is not sent once more: {why}. Let its receivers take what waits, cancel some of that (ringmail webhook cancel {account} ID...) or raise the limit in [webhooks], then repeat this; {count} before it are in line again"
                ));
            }
            _ => return Err(OTHER_ANSWER.into()),
        }
    }
    Ok(json!({"count": count}))
}

pub(super) fn cancel(control: &Control, account: &str, ids: &[u64]) -> Result<Value, String> {
    let mut count = 0;
    for hooks in ids.chunks(PAGE_MAX) {
        let hooks = hooks.to_vec();
        match ask(control, account, HookAsk::Cancel { hooks })? {
            HookAnswer::Canceled(canceled) => count += canceled,
            _ => return Err(OTHER_ANSWER.into()),
        }
    }
    Ok(json!({"count": count}))
}

fn ask(control: &Control, account: &str, ask: HookAsk) -> Result<HookAnswer, String> {
    let account = configured(control, account)?;
    let owner = control.server.owner_of(account.as_str());
    let ask = Box::new(ask);
    match control.ask(owner, ControlCall::Webhooks { account, ask })? {
        ControlAnswer::Webhooks(answer) => Ok(*answer),
        _ => Err(OTHER_ANSWER.into()),
    }
}

fn changed(
    control: &Control,
    account: &str,
    (id, wanted): (Option<u32>, HookAsk),
) -> Result<(EndpointRow, u16), String> {
    match ask(control, account, wanted)? {
        HookAnswer::Endpoint(Some(endpoint), silent) => Ok((*endpoint, silent)),
        HookAnswer::Endpoint(None, _) => Err(unknown(account, id.unwrap_or_default())),
        _ => Err(OTHER_ANSWER.into()),
    }
}

fn found(control: &Control, account: &str, id: u32) -> Result<EndpointRow, String> {
    let HookAnswer::List { endpoints, .. } = ask(control, account, HookAsk::List)? else {
        return Err(OTHER_ANSWER.into());
    };
    let found = endpoints.into_iter().find(|(e, _)| e.id == id);
    found
        .map(|(endpoint, _)| endpoint)
        .ok_or_else(|| unknown(account, id))
}

fn unknown(account: &str, id: u32) -> String {
    format!("{account} has no endpoint {id}; ringmail webhook list {account} names those there are")
}

fn position(after: Option<String>) -> Result<Option<Vec<u8>>, String> {
    let key = after.map(|key| STANDARD.decode(key)).transpose();
    key.map_err(|_| "no position of a page".into())
}

fn secret(endpoint: &EndpointRow) -> String {
    let current = endpoint.secrets.first();
    let secret = current.and_then(|secret| Secret::of(secret.octets.clone()).ok());
    secret.map_or_else(String::new, |secret| secret.to_text())
}

fn silence(silent: u16) -> Vec<String> {
    let note = format!(
        "{silent} cores gave no answer: they may go by what they knew for ten minutes, or until the server is restarted"
    );
    (silent > 0).then_some(note).into_iter().collect()
}

/// Without what nobody has to see again.
fn describe(endpoint: &EndpointRow) -> Value {
    let events: Vec<&str> = endpoint.events().iter().map(HookEvent::word).collect();
    json!({
        "id": endpoint.id,
        "url": endpoint.url,
        "authorization": endpoint.authorization.is_some(),
        "events": events,
        "concurrency": endpoint.concurrency,
        "created": endpoint.created,
        "failing_since": endpoint.failing_since,
        "disabled": endpoint.disabled,
        "second_secret_until": endpoint.secrets.get(1).and_then(|secret| secret.until),
    })
}

fn hook_of(hook: &HookRow) -> Value {
    json!({
        "id": hook.id,
        "endpoint": hook.endpoint,
        "event": hook.event,
        "recipient": hook.recipient,
        "from_id": hook.from_id,
        "message_id": hook.message_id,
        "subject": hook.subject,
        "size": hook.size,
        "created": hook.created,
        "attempts": hook.attempts,
        "due": hook.due,
        "results": hook.results.iter().map(result_of).collect::<Vec<_>>(),
    })
}

fn retired_of(retired: &RetiredHook) -> Value {
    let mut told = hook_of(&retired.hook);
    told["at"] = retired.at.into();
    told["success"] = retired.success.into();
    told["superseded_by"] = retired.superseded_by.into();
    told
}

fn result_of(result: &HookResult) -> Value {
    json!({
        "at": result.at,
        "took_ms": result.took_ms,
        "url": result.url,
        "success": result.success,
        "code": result.code,
        "error": result.error,
        "response": result.response,
    })
}

/// Octets of a reason.
const WHY_MAX: usize = 500;
/// How long two secrets may be valid at most.
const OVERLAP_MAX_SECS: u64 = 366 * 86_400;

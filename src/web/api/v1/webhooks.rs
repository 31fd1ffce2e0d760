//! Webhooks, as the account's owner has them.

use hyper::StatusCode;
use webapi::Time;
use webapi::hook::Secret;
use webapi::v1::webhook::{PutWebhook, RotateSecret, Webhook, WebhookWithSecret, Webhooks};
use webapi::v1::{Fault, Kind, Problem, read};

use super::{Asked, Said, deliveries, other_answer, reply};
use crate::calls::{ControlAnswer, ControlCall};
use crate::queue::hooks::{Enabled, EndpointRow, EndpointSpec, HookAnswer, HookAsk};

/// All of them.
pub(super) async fn list(asked: &Asked) -> Said {
    let (endpoints, dropped) = endpoints(asked).await?;
    let all = endpoints
        .iter()
        .map(|(row, waiting)| describe(row, *waiting));
    let webhooks = all.collect();
    reply::json(StatusCode::OK, &Webhooks { webhooks, dropped })
}

/// One.
pub(super) async fn get(asked: &Asked) -> Said {
    let webhook = found(asked, id(asked)?).await?;
    reply::json(StatusCode::OK, &webhook)
}

/// A new one: its secret is told now, and never again.
pub(super) async fn make(asked: &Asked) -> Said {
    let wanted = wanted(asked, None)?;
    let row = changed(asked, wanted).await?;
    let made = WebhookWithSecret {
        secret: secret(&row),
        webhook: describe(&row, 0),
    };
    let account = asked.login()?.account;
    tracing::info!(
        account = account.as_str(),
        endpoint = row.id,
        url = row.url,
        "an endpoint of webhooks was added"
    );
    reply::json(StatusCode::CREATED, &made)
}

/// It is this from now on.
pub(super) async fn put(asked: &Asked) -> Said {
    let id = id(asked)?;
    changed(asked, wanted(asked, Some(id))?).await?;
    get(asked).await
}

/// It is there no longer.
pub(super) async fn delete(asked: &Asked) -> Said {
    let id = id(asked)?;
    changed(asked, HookAsk::Remove { id }).await?;
    Ok(reply::nothing())
}

/// It is told of events from now on, or not any more.
pub(super) async fn enable(asked: &Asked, is_on: bool) -> Said {
    let enabled = match is_on {
        true => Enabled::Yes,
        false => Enabled::No("switched off through the API".into()),
    };
    let id = id(asked)?;
    changed(asked, HookAsk::Enable { id, enabled }).await?;
    get(asked).await
}

/// It has another secret, which is told now, and never again.
pub(super) async fn rotate(asked: &Asked) -> Said {
    let id = id(asked)?;
    let wanted: RotateSecret = read::body(&asked.body)?;
    let most = RotateSecret::OVERLAP_MAX_SECS;
    if wanted.overlap_secs > most {
        return Err(Fault::at("/overlap_secs", format!("0 to {most}")).into());
    }
    let ask = HookAsk::Rotate {
        id,
        overlap_secs: wanted.overlap_secs.into(),
    };
    let row = changed(asked, ask).await?;
    let webhook = found(asked, id).await?;
    let secret = secret(&row);
    reply::json(StatusCode::OK, &WebhookWithSecret { secret, webhook })
}

/// It is called with an event that did not happen.
pub(super) async fn test(asked: &Asked) -> Said {
    let ask = HookAsk::Test { id: id(asked)? };
    let tested = ask_hooks(asked, ask).await;
    let told = |problem: Problem| match problem.kind {
        // Those under way end soon.
        Kind::LimitReached => Problem::new(Kind::TooMany, problem.detail),
        _ => problem,
    };
    match tested.map_err(told)? {
        HookAnswer::Tested(Some(result)) => {
            reply::json(StatusCode::OK, &deliveries::result_of(&result))
        }
        HookAnswer::Tested(None) => Err(not_there()),
        _ => Err(other_answer()),
    }
}

/// Asks the owner of the caller's account about its hooks.
pub(super) async fn ask_hooks(asked: &Asked, ask: HookAsk) -> Result<HookAnswer, Problem> {
    let account = asked.login()?.account;
    let ask = Box::new(ask);
    match asked
        .ask_owner(ControlCall::Webhooks { account, ask })
        .await?
    {
        ControlAnswer::Webhooks(answer) => Ok(*answer),
        _ => Err(other_answer()),
    }
}

/// What a body says of one; what is wrong is named.
fn wanted(asked: &Asked, id: Option<u32>) -> Result<HookAsk, Problem> {
    let wanted: PutWebhook = read::body(&asked.body)?;
    let keeps_authorization = wanted.authorization.is_none();
    let spec = EndpointSpec {
        url: wanted.url,
        authorization: wanted.authorization.filter(|value| !value.is_empty()),
        events: wanted.events.into_iter().collect(),
        concurrency: wanted.concurrency,
    };
    let live = asked.core.live();
    let faults = spec.faults(&live.settings.server.webhooks).into_iter();
    let faults: Vec<Fault> = faults
        .map(|(field, words)| Fault::at(format!("/{field}"), words))
        .collect();
    match faults.is_empty() {
        true => Ok(HookAsk::Put {
            id,
            spec,
            keeps_authorization,
        }),
        false => Err(Problem::of_faults(Kind::Invalid, faults)),
    }
}

async fn changed(asked: &Asked, ask: HookAsk) -> Result<EndpointRow, Problem> {
    match ask_hooks(asked, ask).await? {
        HookAnswer::Endpoint(Some(row), _) => Ok(*row),
        HookAnswer::Endpoint(None, _) => Err(not_there()),
        _ => Err(other_answer()),
    }
}

async fn endpoints(asked: &Asked) -> Result<(Vec<(EndpointRow, u64)>, u64), Problem> {
    match ask_hooks(asked, HookAsk::List).await? {
        HookAnswer::List { endpoints, dropped } => Ok((endpoints, dropped)),
        _ => Err(other_answer()),
    }
}

async fn found(asked: &Asked, id: u32) -> Result<Webhook, Problem> {
    let (endpoints, _) = endpoints(asked).await?;
    let found = endpoints.iter().find(|(row, _)| row.id == id);
    found
        .map(|(row, waiting)| describe(row, *waiting))
        .ok_or_else(not_there)
}

fn id(asked: &Asked) -> Result<u32, Problem> {
    let text = asked.parameter();
    let is_number = text.bytes().all(|b| b.is_ascii_digit());
    let id = text.parse().ok().filter(|_| is_number);
    id.ok_or_else(not_there)
}

fn secret(row: &EndpointRow) -> String {
    let current = row.secrets.first();
    let secret = current.and_then(|secret| Secret::of(secret.octets.clone()).ok());
    secret.map_or_else(String::new, |secret| secret.to_text())
}

/// Without what nobody has to see again.
fn describe(row: &EndpointRow, waiting: u64) -> Webhook {
    let previous = row.secrets.get(1).and_then(|secret| secret.until);
    Webhook {
        id: row.id,
        url: row.url.clone(),
        events: row.events().iter().collect(),
        has_authorization: row.authorization.is_some(),
        concurrency: row.concurrency,
        created: Time::of_unix(row.created),
        enabled: row.disabled.is_none(),
        disabled_reason: row.disabled.clone(),
        failing_since: row.failing_since.and_then(Time::of_unix),
        previous_secret_until: previous.and_then(Time::of_unix),
        waiting,
    }
}

fn not_there() -> Problem {
    Problem::new(Kind::NotFound, "the account has no such webhook")
}

//! The API about itself.

use std::sync::OnceLock;

use hyper::StatusCode;
use hyper::body::Bytes;
use webapi::Time;
use webapi::v1::account::{Account, Sending, SendingLimit};
use webapi::v1::operation::JSON;
use webapi::v1::{Kind, MOUNT, Problem, openapi, page as pages};

use super::{Asked, Said, other_answer, reply, unavailable};
use crate::calls::{ControlAnswer, ControlCall};
use crate::login::api_key;
use crate::queue::sending::SendingUse;

/// The documentation.
pub(super) async fn page(asked: &Asked) -> Said {
    let (_, page) = made(asked).await?;
    let html = "text/html; charset=utf-8";
    Ok(reply::with_type(StatusCode::OK, page, html))
}

/// The document.
pub(super) async fn document(asked: &Asked) -> Said {
    let (document, _) = made(asked).await?;
    Ok(reply::with_type(StatusCode::OK, document, JSON))
}

/// Both, made once by the pool: they are long.
async fn made(asked: &Asked) -> Result<(Bytes, Bytes), Problem> {
    // Threads of the pool fill it: the one place where they and the core meet.
    static MADE: OnceLock<(Bytes, Bytes)> = OnceLock::new();
    if let Some(made) = MADE.get() {
        return Ok(made.clone());
    }
    let make = || {
        let both = || {
            let document = openapi::document();
            let json = serde_json::to_vec_pretty(&document).unwrap_or_default();
            (json.into(), pages::page(&document).into())
        };
        MADE.get_or_init(both).clone()
    };
    asked.core.parsing.run(make).await.map_err(unavailable)
}

/// To its place in the documentation.
pub(super) fn problem(asked: &Asked) -> Said {
    let word = asked.parameters.first().map_or("", String::as_str);
    match Kind::ALL.into_iter().find(|kind| kind.word() == word) {
        Some(kind) => Ok(reply::see_other(&format!("{MOUNT}/#{}", kind.word()))),
        None => Err(Problem::new(
            Kind::NotFound,
            "there is no such kind of problem",
        )),
    }
}

/// Who asks.
pub(super) async fn account(asked: &Asked) -> Said {
    let login = asked.login()?;
    // Nobody is asked about accounts without limits.
    let sending = match asked.core.live().sending(login.account).is_limited() {
        false => Sending::default(),
        true => match asked
            .ask_owner(ControlCall::SendingUse(login.account))
            .await?
        {
            ControlAnswer::SendingUse(used) => describe(&used),
            _ => return Err(other_answer()),
        },
    };
    let account = Account {
        account: login.account.to_string(),
        address: login.address.clone(),
        key: login.key.as_ref().map(|key| api_key::written(&key.id)),
        scopes: login.scopes.list(),
        sending,
    };
    reply::json(StatusCode::OK, &account)
}

fn describe(used: &SendingUse) -> Sending {
    let limit = |most: Option<u32>, used: u64, at: Option<i64>| {
        most.map(|most| SendingLimit {
            per_day: most,
            used,
            left: u64::from(most).saturating_sub(used),
            more_at: at.and_then(Time::of_unix),
        })
    };
    let SendingUse { limits, .. } = used;
    Sending {
        messages: limit(limits.messages_per_day, used.messages, used.messages_at),
        new_recipients: limit(
            limits.new_recipients_per_day,
            used.new_recipients,
            used.new_recipients_at,
        ),
    }
}

//! The API about itself.

use std::sync::OnceLock;

use hyper::StatusCode;
use hyper::body::Bytes;
use webapi::v1::account::Account;
use webapi::v1::operation::JSON;
use webapi::v1::{Kind, MOUNT, Problem, openapi, page as pages};

use super::{Asked, Said, reply, unavailable};
use crate::login::api_key;

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
pub(super) fn account(asked: &Asked) -> Said {
    let login = asked.login()?;
    let account = Account {
        account: login.account.to_string(),
        address: login.address.clone(),
        key: login.key.as_ref().map(|key| api_key::written(&key.id)),
        scopes: login.scopes.list(),
    };
    reply::json(StatusCode::OK, &account)
}

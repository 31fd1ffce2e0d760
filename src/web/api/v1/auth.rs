//! Who asks: by HTTP Basic, with a login address and its password, or by a key.

use std::rc::Rc;

use hyper::HeaderMap;
use webapi::v1::{Kind, Problem, Scope, Scopes};

use crate::percore::PerCore;
use crate::settings::AccountName;
use crate::web::api::login::{Refusal, caller};
use crate::web::connection::Facing;

/// Who asks.
pub(super) struct Login {
    /// The account.
    pub account: AccountName,
    /// The address that logged in; none: a key did.
    pub address: Option<String>,
    /// What it may do.
    pub scopes: Scopes,
}

impl Login {
    /// Or it is told that it may not.
    pub(super) fn must_have(&self, scope: Scope) -> Result<(), Problem> {
        match self.scopes.has(scope) {
            true => Ok(()),
            false => Err(Problem::new(
                Kind::MissingScope,
                format!("this needs a key with the scope {}", scope.as_str()),
            )),
        }
    }
}

/// Of a request.
pub(super) async fn login(
    core: &Rc<PerCore>,
    headers: &HeaderMap,
    facing: &Rc<Facing>,
) -> Result<Login, Problem> {
    let caller = caller(core, headers, facing).await.map_err(told)?;
    Ok(Login {
        account: caller.account,
        address: Some(caller.address),
        scopes: Scopes::all(),
    })
}

fn told(refusal: Refusal) -> Problem {
    let unauthorized = |words: &str| Problem::new(Kind::Unauthorized, words);
    match refusal {
        Refusal::TooMany => super::too_many(),
        Refusal::NoLogin => unauthorized(
            "this needs an API key (Bearer), or a login address and its password (Basic)",
        ),
        Refusal::Wrong => unauthorized("the key, or the name or the password, is wrong"),
        Refusal::Disabled(why) => {
            unauthorized(&format!("login is disabled for this account: {why}"))
        }
        Refusal::Limited => Problem::new(
            Kind::TooMany,
            "too many logins from your network have failed",
        ),
        Refusal::Unavailable => Problem::new(Kind::Unavailable, "the login can't be looked at now"),
    }
}

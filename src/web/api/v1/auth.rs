//! Who asks: by a key (RFC 6750), or by HTTP Basic with a login address and its password.

use std::rc::Rc;
use std::time::Duration;

use futures_channel::oneshot;
use hyper::HeaderMap;
use hyper::header::AUTHORIZATION;
use shards::rt;
use webapi::v1::{Kind, Problem, Scope, Scopes, TokenFault};

use crate::login::Service;
use crate::login::api_key::ApiKey;
use crate::percore::{Attempt, Login as Outcome, PerCore, monotonic};
use crate::queue::same_domain;
use crate::settings::AccountName;
use crate::web::api::login::{Caller, Refusal, caller, client};
use crate::web::connection::Facing;
use crate::web::http::has_room;

/// Who asks.
pub(super) struct Login {
    /// The account.
    pub account: AccountName,
    /// The address that logged in; none: a key did.
    pub address: Option<String>,
    /// The key; none: a password did.
    pub key: Option<Rc<ApiKey>>,
    /// Whose password it was.
    caller: Option<Caller>,
    /// What it may do.
    pub scopes: Scopes,
}

impl Login {
    /// Or it is told that it may not.
    pub(super) fn must_have(&self, scope: Scope) -> Result<(), Problem> {
        match self.scopes.has(scope) {
            true => Ok(()),
            false => Err(Problem {
                token: Some(TokenFault::InsufficientScope(scope)),
                ..Problem::new(
                    Kind::MissingScope,
                    format!("this needs a key with the scope {}", scope.as_str()),
                )
            }),
        }
    }
}

impl Login {
    /// Whether it may write as all addresses of the account.
    pub(super) fn may_write_as_all(&self) -> bool {
        self.key.as_ref().is_none_or(|key| key.from.is_empty())
    }

    /// A key that may write as some alone changes nothing of what others wrote. `author`: who did; none: anybody may have.
    pub(super) fn must_be_of(&self, author: Option<&str>) -> Result<(), Problem> {
        let own = self.key.as_ref().map_or(&[][..], |key| &key.from);
        let is_own = |author: &str| !author.is_empty() && may_write_as(own, author);
        match own.is_empty() || author.is_some_and(is_own) {
            true => Ok(()),
            false => Err(Problem::new(
                Kind::SenderNotAllowed,
                "the key may write as some addresses alone, and this is not theirs alone",
            )),
        }
    }
}

/// Whether a list of addresses and domains has an author; an empty one has all.
pub(super) fn may_write_as(list: &[String], author: &str) -> bool {
    let (localpart, domain) = author.rsplit_once('@').unwrap_or(("", author));
    list.is_empty()
        || list.iter().any(|entry| match entry.rsplit_once('@') {
            Some((own, of)) => own.eq_ignore_ascii_case(localpart) && same_domain(of, domain),
            None => same_domain(entry, domain),
        })
}

/// Of a request.
pub(super) async fn login(
    core: &Rc<PerCore>,
    headers: &HeaderMap,
    facing: &Rc<Facing>,
) -> Result<Login, Problem> {
    let Some(text) = bearer(headers) else {
        let caller = caller(core, headers, facing).await.map_err(told)?;
        return Ok(Login {
            account: caller.account,
            address: Some(caller.address.clone()),
            key: None,
            caller: Some(caller),
            scopes: Scopes::all(),
        });
    };
    let key = match core.known_api_key(text) {
        Some(key) => key,
        None if !has_room(core, &facing.networks) => return Err(told(Refusal::TooMany)),
        None => look_up(core, text, headers, facing)
            .await
            .map_err(told_of_token)?,
    };
    let admitted = core
        .api_keys
        .borrow_mut()
        .admit(key.id, key.per_minute, monotonic());
    if let Err(wait) = admitted {
        return Err(Problem {
            retry_after: Some(whole_secs(wait)),
            ..Problem::new(
                Kind::TooMany,
                format!("the key may be used {} times a minute", key.per_minute),
            )
        });
    }
    Ok(Login {
        account: key.account,
        address: None,
        scopes: Scopes::of_bits(key.scopes),
        key: Some(key),
        caller: None,
    })
}

/// Whether it is so still, once the body is there: that may have been hours on its way, and the key was removed, or the password changed.
pub(super) async fn holds(
    core: &Rc<PerCore>,
    login: &Login,
    headers: &HeaderMap,
    facing: &Rc<Facing>,
) -> Result<(), Problem> {
    if let Some(caller) = &login.caller {
        return caller.must_be_known_still(core).map_err(told);
    }
    match bearer(headers) {
        Some(text) if core.known_api_key(text).is_none() => {
            let found = look_up(core, text, headers, facing).await;
            found.map(drop).map_err(told_of_token)
        }
        _ => Ok(()),
    }
}

/// Not less than it takes.
fn whole_secs(wait: Duration) -> u32 {
    wait.as_secs_f64().ceil() as u32
}

/// In a task of its own: a client that goes away in the middle takes nothing of it along, for what was counted as under way has to be counted as
/// over.
async fn look_up(
    core: &Rc<PerCore>,
    text: &str,
    headers: &HeaderMap,
    facing: &Rc<Facing>,
) -> Result<Rc<ApiKey>, Refusal> {
    let (sender, receiver) = oneshot::channel();
    let (core, facing) = (core.clone(), facing.clone());
    let (text, client) = (text.to_string(), client(headers));
    rt::spawn(&crate::web::ROOM, async move {
        let attempt = Attempt {
            connection: &facing.id,
            socket: &*facing,
            networks: facing.networks,
            service: Service::WebApi,
            client: &client,
            later: None,
        };
        let _ = sender.send(core.login_by_api_key(&text, attempt).await);
    });
    let found = receiver.await.unwrap_or(Err(Outcome::Unavailable));
    found.map_err(|outcome| match outcome {
        Outcome::Disabled(why) => Refusal::Disabled(why),
        Outcome::Limited => Refusal::Limited,
        Outcome::Unavailable | Outcome::Ok(_) => Refusal::Unavailable,
        Outcome::Failed | Outcome::NotAuthorized | Outcome::OtherKey => Refusal::Wrong,
    })
}

/// RFC 6750 2.1: `Bearer`, in any case, and the token.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, rest) = value.split_at_checked(7)?;
    scheme
        .eq_ignore_ascii_case("Bearer ")
        .then(|| rest.trim_ascii())
}

fn told_of_token(refusal: Refusal) -> Problem {
    let problem = told(refusal);
    let token = (problem.kind == Kind::Unauthorized).then_some(TokenFault::Invalid);
    Problem { token, ..problem }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_as_bearer_tokens() {
        let read = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(AUTHORIZATION, value.parse().unwrap());
            bearer(&headers).map(str::to_string)
        };
        assert_eq!(read("Bearer rmk_1"), Some("rmk_1".into()));
        assert_eq!(read("bearer  rmk_1 "), Some("rmk_1".into()));
        for other in ["Basic YUB4OnB3", "Bearer", "Bearerrmk_1"] {
            assert_eq!(read(other), None, "{other}");
        }
    }

    #[test]
    fn lists_have_addresses_and_domains() {
        let list: Vec<String> = vec!["News@a.example".into(), "b.example".into()];
        let has = |author: &str| may_write_as(&list, author);
        assert!(has("news@A.example") && has("any@b.example"));
        assert!(!has("other@a.example") && !has("a@sub.b.example") && !has("a@xb.example"));
        assert!(may_write_as(&[], "any@where.example"));
    }
}

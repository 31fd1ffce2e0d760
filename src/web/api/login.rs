//! Who calls: HTTP Basic with a login address and its password. A login that was found right is remembered for a while as a keyed digest
//! (`login/recent.rs`), so that a request costs no hash. RFC 7617.

use std::rc::Rc;
use std::time::Instant;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures_channel::oneshot;
use hyper::header::{AUTHORIZATION, USER_AGENT};
use hyper::{HeaderMap, Response, StatusCode};
use sasl::Secret;
use shards::rt;

use super::{text, unauthorized};
use crate::login::Service;
use crate::percore::{Attempt, Login, PerCore, monotonic};
use crate::settings::AccountName;
use crate::web::connection::Facing;
use crate::web::http::{has_room, too_many};
use crate::web::payload::Payload;

/// Who calls.
#[derive(Clone)]
pub(in crate::web) struct Caller {
    /// The account.
    pub account: AccountName,
    /// The address it logged in with.
    pub address: String,
    /// Since when the password is known to be right.
    since: Instant,
}

impl Caller {
    /// Or it is told that it may not, any more: a body may be hours on its way.
    pub(super) fn must_be_known_still(&self, core: &PerCore) -> Result<(), Refusal> {
        match holds(core, &self.address, self.account, self.since) {
            true => Ok(()),
            false => Err(Refusal::Wrong),
        }
    }
}

/// Why nobody does.
#[derive(Debug)]
pub(super) enum Refusal {
    /// Requests without a valid login, from these networks.
    TooMany,
    /// There is none in the request.
    NoLogin,
    /// It is wrong.
    Wrong,
    /// The account may not log in; the operator's words.
    Disabled(String),
    /// Failed logins, from these networks.
    Limited,
    /// It can't be looked at now.
    Unavailable,
}

/// As the first such API says it.
pub(super) fn told(refusal: Refusal) -> Response<Payload> {
    match refusal {
        Refusal::TooMany => too_many().map(Payload::from),
        Refusal::NoLogin => unauthorized(
            "This needs HTTP Basic authentication with a login address and its password.\n",
        ),
        Refusal::Wrong => unauthorized("Name or password is wrong.\n"),
        Refusal::Disabled(why) => {
            unauthorized(&format!("Login is disabled for this account: {why}\n"))
        }
        Refusal::Limited => text(StatusCode::TOO_MANY_REQUESTS, "Too many auth attempts.\n"),
        Refusal::Unavailable => super::error_response(&super::ours("error verifying credentials")),
    }
}

/// By name and password.
pub(super) async fn caller(
    core: &Rc<PerCore>,
    headers: &HeaderMap,
    facing: &Rc<Facing>,
) -> Result<Caller, Refusal> {
    let login = headers.get(AUTHORIZATION);
    let login = login.and_then(|value| basic(value.as_bytes()));
    let of_known = login
        .as_ref()
        .and_then(|(name, password)| known(core, name, password));
    // Whoever is known may ask as often as he likes: what he does has limits of its own.
    if of_known.is_none() && !has_room(core, &facing.networks) {
        return Err(Refusal::TooMany);
    }
    let (name, password) = login.ok_or(Refusal::NoLogin)?;
    if let Some((account, since)) = of_known {
        return Ok(Caller {
            account,
            address: name,
            since,
        });
    }
    let asked = monotonic();
    let client = client(headers);
    let login = check(core, (&name, password.clone()), facing, client);
    match login.await {
        Login::Ok(account) => {
            let (entries_max, kept) = patience(core);
            if let Some(recent) = &mut *core.recent.borrow_mut() {
                let login: (&str, &[u8]) = (&name, &password);
                recent.add(login, (account, asked), (entries_max, kept));
            }
            Ok(Caller {
                account,
                address: name,
                since: asked,
            })
        }
        Login::Disabled(why) => Err(Refusal::Disabled(why)),
        Login::Limited => Err(Refusal::Limited),
        Login::Unavailable => Err(Refusal::Unavailable),
        Login::Failed | Login::NotAuthorized | Login::OtherKey => Err(Refusal::Wrong),
    }
}

/// What the client says it is.
pub(super) fn client(headers: &HeaderMap) -> String {
    let client = headers.get(USER_AGENT);
    let client = client.and_then(|value| value.to_str().ok());
    client.unwrap_or("").to_string()
}

/// In a task of its own: a client that goes away in the middle takes nothing of it along, for what was counted as under way has to be counted as
/// over.
async fn check(
    core: &Rc<PerCore>,
    (name, password): (&str, Secret),
    facing: &Rc<Facing>,
    client: String,
) -> Login {
    let (sender, receiver) = oneshot::channel();
    let (core, facing, name) = (core.clone(), facing.clone(), name.to_string());
    rt::spawn(&crate::web::ROOM, async move {
        let attempt = Attempt {
            connection: &facing.id,
            socket: &*facing,
            networks: facing.networks,
            service: Service::WebApi,
            client: &client,
            later: None,
        };
        let login = core.login(&name, password, "httpbasic", None, attempt);
        let _ = sender.send(login.await);
    });
    receiver.await.unwrap_or(Login::Unavailable)
}

/// Remembered, and still so.
fn known(core: &PerCore, name: &str, password: &[u8]) -> Option<(AccountName, Instant)> {
    let (_, kept) = patience(core);
    let recent = core.recent.borrow();
    let (account, since) = recent.as_ref()?.find(name, password, monotonic(), kept)?;
    holds(core, name, account, since).then_some((account, since))
}

fn holds(core: &PerCore, name: &str, account: AccountName, since: Instant) -> bool {
    core.session_end(account, since).is_none() && core.live().directory.login(name) == Some(account)
}

pub(super) fn patience(core: &PerCore) -> (usize, std::time::Duration) {
    let live = core.live();
    let auth = &live.settings.server.limits.auth;
    (auth.cache_entries_max as usize, auth.cache_secs.duration())
}

fn basic(value: &[u8]) -> Option<(String, Secret)> {
    let (scheme, rest) = value.split_at_checked(6)?;
    if !scheme.eq_ignore_ascii_case(b"Basic ") {
        return None;
    }
    let octets = STANDARD.decode(rest.trim_ascii()).ok()?;
    let pair = Secret::new(octets);
    let (name, password) = pair.as_str()?.split_once(':')?;
    Some((name.to_string(), Secret::new(password.as_bytes().to_vec())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_passwords() {
        let read = |value: &str| {
            basic(value.as_bytes())
                .map(|(name, password)| (name, password.as_str().unwrap().to_string()))
        };
        let pair = |name: &str, password: &str| Some((name.to_string(), password.to_string()));
        assert_eq!(read("Basic YUB4OnB3"), pair("a@x", "pw"));
        assert_eq!(read("basic  YUB4OnA6dw=="), pair("a@x", "p:w"));
        for wrong in [
            "",
            "Basic",
            "Bearer YUB4OnB3",
            "Basic ?",
            "Basic YUB4",
            "Basic /w==",
        ] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}

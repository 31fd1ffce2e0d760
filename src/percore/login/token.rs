//! Logins by a token of a provider: OAUTHBEARER and XOAUTH2. A part of `login.rs`.
//! RFC 7628 3.2. `login::oauth` says whether a token is good; here it is whose account it opens, and what a failure costs: as much as a
//! wrong password does. `host` and `port` of RFC 7628 3.1 are not looked at: what is between a client and us may change both.

use std::rc::Rc;
use std::sync::Arc;

use sasl::{BearerToken, Verdict};
use shards::rt;

use super::{Attempt, LOGGED_NAME_MAX, Login, LoginFlow, of_holder};
use crate::calls::Call;
use crate::login::limiter::May;
use crate::login::oauth::{Refusal, Tokens};
use crate::percore::{PerCore, wall_clock};

/// What came of a look at a token.
struct Seen {
    login: Login,
    /// Why it failed, in the operator's words.
    reason: &'static str,
    /// RFC 7628 3.2.2.
    status: &'static str,
    /// The address in the token, once that is known to be good.
    address: Option<String>,
}

impl Seen {
    fn new(login: Login, reason: &'static str) -> Seen {
        Seen {
            login,
            reason,
            status: "invalid_token",
            address: None,
        }
    }
}

impl PerCore {
    pub(super) async fn answer_token(
        self: &Rc<Self>,
        flow: &mut LoginFlow,
        attempt: Attempt<'_>,
        token: BearerToken,
    ) -> Verdict {
        let mechanism = flow.mechanism.name();
        let Some(tokens) = self.live().tokens.clone() else {
            // Switched off since the exchange began.
            flow.result = Some(Login::Unavailable);
            let who = self.known(&flow.name, flow.holder.as_ref());
            self.over(attempt, mechanism, who, Login::Unavailable.word());
            return Verdict::Refused;
        };
        if token.token.is_empty() {
            // RFC 7628 4.3: a client asks what it needs. It has tried nothing.
            flow.result = Some(Login::Failed);
            let who = self.known(&flow.name, flow.holder.as_ref());
            self.over(attempt, mechanism, who, "aborted");
            return Verdict::TokenRefused(tokens.error("invalid_token"));
        }
        let turn = rt::timeout(self.call_limit(), self.logins.take(self.logins_max)).await;
        // Asked at each attempt, as for a password.
        let may = match turn {
            Ok(_) => self.may_log_in(attempt.networks).await,
            Err(rt::Elapsed) => May::Wait,
        };
        // What follows waits for no core, but maybe for the provider: others may go on meanwhile.
        drop(turn);
        let mut seen = match may {
            May::Try => self.look_at_token(&tokens, &token).await,
            May::Wait => Seen::new(Login::Unavailable, ""),
            May::Refused => Seen::new(Login::Limited, "too many failures"),
        };
        seen.login = of_holder(seen.login, flow.holder.as_ref());
        if seen.login == Login::OtherKey {
            seen.reason = "the client certificate is another account's";
            seen.status = "invalid_request";
        }
        flow.name = seen.address.clone().or(token.authzid).unwrap_or_default();
        self.token_seen(attempt, flow, may, &seen);
        let is_ok = matches!(seen.login, Login::Ok(_));
        flow.result = Some(seen.login);
        match is_ok {
            true => Verdict::Accepted,
            false => Verdict::TokenRefused(tokens.error(seen.status)),
        }
    }

    async fn look_at_token(&self, tokens: &Arc<Tokens>, token: &BearerToken) -> Seen {
        let check = tokens.check(&token.token, wall_clock());
        let address = match rt::timeout(self.call_limit() / 8 * 7, check).await {
            Ok(Ok(holder)) => holder.address,
            Ok(Err(Refusal::Invalid(reason))) => return Seen::new(Login::Failed, reason),
            Ok(Err(Refusal::Scope)) => {
                return Seen {
                    status: "insufficient_scope",
                    ..Seen::new(Login::Failed, "does not have the scope")
                };
            }
            Ok(Err(Refusal::Unavailable)) | Err(rt::Elapsed) => {
                return Seen::new(Login::Unavailable, "");
            }
        };
        let live = self.live();
        let name = sasl::prepare_name(&address).ok();
        let account = name.and_then(|name| live.directory.login(&name));
        let configured = account.and_then(|name| Some((name, live.settings.accounts.get(&name)?)));
        let Some((account, configured)) = configured else {
            return Seen {
                address: Some(address),
                ..Seen::new(Login::Failed, "its address is not that of an account")
            };
        };
        // RFC 4422 3.4.1: an identity to act as, here another address of the same account.
        let other = |name: &str| live.directory.login(name) != Some(account);
        let mut seen = match &configured.login_disabled {
            _ if token.authzid.as_deref().is_some_and(other) => Seen {
                status: "invalid_request",
                ..Seen::new(Login::NotAuthorized, "it is another account's")
            },
            Some(text) => Seen::new(Login::Disabled(text.as_str().to_string()), ""),
            None => Seen::new(Login::Ok(account), ""),
        };
        seen.address = Some(address);
        seen
    }

    /// Logs, counts and records what came of it.
    fn token_seen(self: &Rc<Self>, attempt: Attempt<'_>, flow: &LoginFlow, may: May, seen: &Seen) {
        let mechanism = flow.mechanism.name();
        let name = &flow.name[..flow.name.floor_char_boundary(LOGGED_NAME_MAX)];
        if !matches!(seen.login, Login::Ok(_) | Login::Unavailable) {
            // The line of `check`, with the reason at its end. The token is not in it.
            tracing::info!(
                target: LOG_TARGET,
                peer = %attempt.socket.peer().ip(),
                protocol = attempt.service.as_str(),
                mechanism,
                result = seen.login.word(),
                login = name,
                connection = attempt.connection,
                reason = seen.reason,
                "login failed"
            );
        }
        self.count_login(attempt, mechanism, seen.login.word());
        if seen.login != Login::Limited {
            let who = self.known(&flow.name, flow.holder.as_ref());
            self.note(attempt, mechanism, who, seen.login.word());
        }
        if may != May::Try {
            return;
        }
        let succeeded = match seen.login {
            Login::Ok(_) => Some(true),
            Login::Failed => Some(false),
            _ => None,
        };
        let networks = attempt.networks;
        let call = Call::LoginResult {
            networks,
            succeeded,
        };
        self.tell(self.owner_of_network(&networks), call);
    }
}

/// The module that tools know these lines by.
const LOG_TARGET: &str = "ringmail::percore::login";

//! AUTH on a connection: the exchange, and what a failure costs. RFC 4954.

use sasl::{Mechanism, SaslError, Secret};
use shards::rt;
use smtp::Reply;
use smtp::server::{AuthAbort, Link};

use super::Door;
use crate::login::Service;
use crate::percore::{Attempt, Login, LoginFlow, Next, Offer, monotonic};
use crate::smtp_server::login;

impl Door<'_> {
    fn offer(&self) -> Offer {
        let passwords = self.session.link() == Link::Tls || self.endpoint.allow_plain_auth;
        Offer::of(&self.connection, self.holder.as_ref(), passwords)
    }

    /// After a handshake: who shows a registered key needs no AUTH.
    pub(super) async fn look_at_key(&mut self) {
        if self.endpoint.delivery {
            return;
        }
        self.checked = monotonic();
        self.holder = self.core.key_holder(&self.connection).await;
        let Some(holder) = &self.holder else {
            return;
        };
        let address = holder.address.clone();
        if let Some(account) = self.core.enter_by_key(holder, self.attempt()) {
            self.log_in(account, address);
            self.session.set_identified();
        }
    }

    /// Says what AUTH takes on this connection as it is now. RFC 4954 4: nothing before TLS where that is required.
    pub(super) fn offer_mechanisms(&mut self) {
        let needs_tls = self.endpoint.starttls == crate::settings::StartTls::Required;
        if self.endpoint.delivery || (needs_tls && self.session.link() == Link::Plain) {
            return;
        }
        let offered = self.core.mechanisms(&self.offer());
        let names = offered.into_iter().map(Mechanism::name).collect();
        self.session.offer_mechanisms(names);
    }

    pub(super) async fn begin_authentication(&mut self, mechanism: &str, initial: Option<Secret>) {
        self.delay_login().await;
        match self.begin_exchange(mechanism) {
            Some(flow) => self.authenticate(flow, initial).await,
            None => self.session.decide(Reply::mechanism_unknown()),
        }
    }

    fn begin_exchange(&self, mechanism: &str) -> Option<LoginFlow> {
        let mechanism = Mechanism::parse(mechanism)?;
        let hostname = &self.endpoint.hostname;
        self.core.begin_exchange(mechanism, self.offer(), hostname)
    }

    /// Over before it began, and a failure like others; the session has answered.
    pub(super) fn malformed_authentication(&mut self, mechanism: &str) {
        self.authentication = self.begin_exchange(mechanism);
        self.abandon_authentication(AuthAbort::Malformed);
    }

    async fn delay_login(&self) {
        // Spec 1.3: the further beyond 3 failures, the longer until the next is looked at.
        let wait = self.limits(|l| {
            let over = self
                .failed_logins
                .saturating_sub(l.auth_failures_slow_after);
            l.slow_delay_secs.duration() * over
        });
        if !wait.is_zero() {
            rt::sleep(wait).await;
        }
    }

    pub(super) async fn authenticate(&mut self, mut flow: LoginFlow, response: Option<Secret>) {
        let response = response.as_deref();
        self.checked = monotonic();
        match self.core.advance(&mut flow, self.attempt(), response).await {
            Next::Challenge(challenge) => {
                self.authentication = Some(flow);
                self.session.decide(Reply::challenge(&challenge));
            }
            Next::Done(result) => {
                let reply = login::reply(&result);
                match result {
                    Login::Ok(account) => {
                        self.log_in(account, flow.address().to_string());
                        self.session.decide(reply);
                    }
                    _ => self.refuse_login(reply),
                }
            }
            // RFC 4954 4: 501 for a response that the mechanism's grammar does not know.
            Next::Malformed(_) => self.refuse_login(Reply::bad_authentication_response()),
        }
    }

    fn attempt(&self) -> Attempt<'_> {
        Attempt {
            connection: &self.id,
            socket: &self.connection,
            networks: self.networks,
            service: Service::Submission,
            client: &self.hello.1,
            later: None,
        }
    }

    /// The session has answered.
    pub(super) fn abandon_authentication(&mut self, why: AuthAbort) {
        self.abandon(match why {
            AuthAbort::Cancelled => SaslError::Cancelled,
            AuthAbort::Malformed => SaslError::Malformed,
        });
        self.count_failure();
    }

    /// The connection has ended, perhaps in the middle of an exchange.
    pub(super) fn end_authentication(&mut self) {
        self.abandon(SaslError::Cancelled);
    }

    fn abandon(&mut self, cause: SaslError) {
        if let Some(flow) = self.authentication.take() {
            self.core.abandon(flow, self.attempt(), cause);
        }
    }

    fn log_in(&mut self, account: crate::settings::AccountName, address: String) {
        self.submitter = Some(account);
        self.login = address;
        self.failed_logins = 0;
        self.slow = false;
    }

    fn refuse_login(&mut self, reply: Reply) {
        self.count_failure();
        if !self.session.is_closed() {
            self.session.decide(reply);
        }
    }

    fn count_failure(&mut self) {
        self.failed_logins += 1;
        let (slow_after, most) = self.limits(|l| (l.auth_failures_slow_after, l.auth_failures_max));
        self.slow = self.failed_logins >= slow_after;
        if self.failed_logins >= most {
            self.session.close(Reply::too_many_failures());
        }
    }

    /// What tells whoever logged in here that the login is good no more: the password was changed, the key removed, the account closed.
    pub(super) fn login_ended(&self) -> Option<Reply> {
        let text = self.core.session_end(self.submitter?, self.checked)?;
        Some(Reply::login_ended(text))
    }
}

//! AUTH on a connection: what a failure costs it. RFC 4954.

use shards::rt;
use smtp::Reply;

use super::Door;
use crate::percore::Attempt;
use crate::smtp_server::login::{Authentication, Outcome};

impl Door<'_> {
    pub(super) async fn delay_login(&self) {
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

    pub(super) async fn authenticate(
        &mut self,
        mut authentication: Authentication,
        response: Option<sasl::Secret>,
    ) {
        let attempt = Attempt {
            connection: &self.id,
            peer: self.connection.peer().ip(),
            networks: self.networks,
            protocol: "submission",
            mechanism: authentication.mechanism(),
        };
        match authentication
            .step(self.core, attempt, response.as_ref())
            .await
        {
            Outcome::Challenge(reply) => {
                self.authentication = Some(authentication);
                self.session.decide(reply);
            }
            Outcome::Done(reply, account) => {
                if account.is_some() {
                    self.submitter = account;
                    self.failed_logins = 0;
                    self.slow = false;
                } else {
                    self.failed_logins += 1;
                    let (slow_after, most) =
                        self.limits(|l| (l.auth_failures_slow_after, l.auth_failures_max));
                    self.slow = self.failed_logins >= slow_after;
                    if self.failed_logins >= most {
                        self.session.close(Reply::too_many_failures());
                        return;
                    }
                }
                self.session.decide(reply);
            }
        }
    }
}

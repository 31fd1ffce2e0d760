//! One AUTH exchange: SASL steps until there are credentials, then their check. RFC 4954.

use std::rc::Rc;

use sasl::{Context, Credentials, Exchange, Mechanism, Question, Secret, Step};
use smtp::Reply;

use super::replies::turned_away;
use crate::login::MECHANISMS;
use crate::login::limiter::Refused;
use crate::percore::{Attempt, Login, PerCore};
use crate::settings::AccountName;

/// An exchange under way.
pub struct Authentication {
    exchange: Exchange,
    mechanism: &'static str,
}

/// What to do after a step.
pub enum Outcome {
    /// Ask on.
    Challenge(Reply),
    /// Over, with this reply; the account that is logged in now.
    Done(Reply, Option<AccountName>),
}

impl Authentication {
    /// Begins; none if we do not know the mechanism.
    pub fn begin(mechanism: &str) -> Option<Authentication> {
        let mechanism = Mechanism::parse(mechanism).filter(|m| MECHANISMS.contains(m))?;
        Some(Authentication {
            exchange: Exchange::new(mechanism, Context::default()),
            mechanism: mechanism.name(),
        })
    }

    /// The mechanism's registered name.
    pub fn mechanism(&self) -> &'static str {
        self.mechanism
    }

    /// Takes what the client said.
    pub async fn step(
        &mut self,
        core: &Rc<PerCore>,
        attempt: Attempt<'_>,
        response: Option<&Secret>,
    ) -> Outcome {
        let step = self.exchange.step(response.map(|s| s.as_ref()));
        match step {
            Ok(Step::Challenge(challenge)) => Outcome::Challenge(Reply::challenge(&challenge)),
            Ok(Step::Ask(Question::Password(credentials))) => {
                self.check(core, attempt, credentials).await
            }
            // RFC 4954 4: 501 for a response that the mechanism's grammar does not know.
            Ok(_) | Err(_) => Outcome::Done(Reply::bad_authentication_response(), None),
        }
    }

    async fn check(
        &self,
        core: &Rc<PerCore>,
        attempt: Attempt<'_>,
        credentials: Credentials,
    ) -> Outcome {
        if !credentials.acts_as_itself() {
            return Outcome::Done(Reply::authentication_failed(), None);
        }
        let Credentials {
            authcid, password, ..
        } = credentials;
        match core.login(&authcid, password, attempt).await {
            Login::Ok(account) => Outcome::Done(Reply::authenticated(), Some(account)),
            Login::Failed => Outcome::Done(Reply::authentication_failed(), None),
            Login::Disabled(text) => Outcome::Done(Reply::login_disabled(text), None),
            // 421: whoever is over the limit must come back later, and finds the door closed until then.
            Login::Limited => Outcome::Done(turned_away(Refused::Failures), None),
            Login::Unavailable => Outcome::Done(Reply::authentication_unavailable(), None),
        }
    }
}

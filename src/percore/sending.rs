//! How much an account may send: asked of the account's owner before a message is accepted. What it allows is durable as counted by then, so that a stop
//! leads to less than may be sent, never to more. Nobody is asked for an account without limits. docs/QUEUE.md, "What an account may send".
//! Called by `inbound` and the door of submission. Not here: what counts, for how long, and what is on disk of it (`queue::sending`).

use std::rc::Rc;
use std::time::Duration;

use shards::storage::Shard;
use shards::{rt, shard_of};
use webapi::{ApiError, Code};

use super::{PerCore, ROOM, wall_clock};
use crate::calls::{Answer, Call};
use crate::metrics::label;
use crate::queue::sending::{Limit, Refusal, SendingUse, Taken, Wanted};
use crate::settings::AccountName;
use crate::store::StoreError;

/// A message that is counted and not accepted yet. Dropped, it counts.
#[derive(Debug, Default)]
#[must_use]
pub struct Reserved(Option<(AccountName, Taken)>);

/// Why an account may not send a message.
#[derive(Clone, Debug)]
pub enum MayNotSend {
    /// It has sent as much as it may, or the message is more than that.
    Limit(Refusal),
    /// That can't be told now.
    Unknown(String),
}

impl PerCore {
    /// Counts a message that is about to be accepted for an account, if it has limits.
    pub async fn reserve(
        &self,
        account: AccountName,
        wanted: Option<Wanted>,
    ) -> Result<Reserved, MayNotSend> {
        let Some(wanted) = wanted else {
            return Ok(Reserved(None));
        };
        let call = Call::Reserve {
            account,
            wanted: Box::new(wanted),
        };
        let why = match self.call(self.owner_of(account.as_str()), call).await {
            Ok(Answer::Reserved(Ok(Ok(taken)))) => {
                return Ok(Reserved(taken.map(|taken| (account, taken))));
            }
            Ok(Answer::Reserved(Ok(Err(refusal)))) => {
                let limit = refusal.limit.word();
                self.metrics
                    .count("ringmail_sending_refused_total", label("limit", limit));
                tracing::info!(%account, limit, "a message was refused: {refusal}");
                return Err(MayNotSend::Limit(refusal));
            }
            Ok(Answer::Reserved(Err(error))) => error.to_string(),
            Ok(_) => "another answer came".into(),
            Err(error) => error.to_string(),
        };
        tracing::info!(%account, why, "whether an account may send is not known: the message is to come again");
        Err(MayNotSend::Unknown(why))
    }

    /// A message that was counted was not accepted. Does not wait.
    pub fn give_back(self: &Rc<Self>, reserved: Reserved) {
        if let Reserved(Some((account, taken))) = reserved {
            let owner = self.owner_of(account.as_str());
            self.tell(owner, Call::GiveBack { account, taken });
        }
    }

    /// The same, if what went wrong says that it was not accepted; else it counts.
    pub fn not_accepted(self: &Rc<Self>, reserved: Reserved, error: &StoreError) {
        if error.is_certain() {
            self.give_back(reserved);
        }
    }
}

impl PerCore {
    fn sending_shard(&self, account: AccountName) -> Result<&Rc<Shard>, StoreError> {
        let id = shard_of(account.as_str().as_bytes(), self.shard_count);
        let found = self.shards.iter().find(|shard| shard.id() == id);
        found.ok_or(StoreError::NotAllowed("this core does not own the shard"))
    }

    /// Serves `Call::Reserve`. None: the account has no limits.
    pub(crate) async fn own_reserve(
        &self,
        account: AccountName,
        wanted: Wanted,
    ) -> Result<Result<Option<Taken>, Refusal>, StoreError> {
        let live = self.live();
        if !live.settings.accounts.contains_key(&account) {
            return Err(StoreError::AccountGone);
        }
        let limits = live.sending(account);
        if !limits.is_limited() {
            return Ok(Ok(None));
        }
        let shard = self.sending_shard(account)?;
        let reserved = self
            .sending_tallies
            .reserve(shard, account, (limits, wanted));
        Ok(reserved.await?.map(Some))
    }

    /// Serves `Call::GiveBack`.
    pub(crate) async fn own_give_back(
        &self,
        account: AccountName,
        taken: Taken,
    ) -> Result<(), StoreError> {
        if !self.live().settings.accounts.contains_key(&account) {
            return Err(StoreError::AccountGone);
        }
        let shard = self.sending_shard(account)?;
        self.sending_tallies.give_back(shard, account, taken).await
    }

    /// How much of its limits an account of this core has used.
    pub(crate) async fn own_sending_use(
        &self,
        account: AccountName,
    ) -> Result<SendingUse, StoreError> {
        let shard = self.sending_shard(account)?;
        let limits = self.live().sending(account);
        self.sending_tallies.show(shard, account, limits).await
    }

    /// Erases what counts no more, now and every day.
    pub(crate) fn prune_sending(self: &Rc<Self>) {
        let core = self.clone();
        rt::spawn(&ROOM, async move {
            loop {
                for shard in &core.shards {
                    if let Err(error) = core.sending_tallies.prune(shard).await {
                        tracing::warn!(shard = %shard.id(), %error, "old counts of sent messages stay for another day");
                    }
                }
                rt::sleep(PRUNE_EVERY).await;
            }
        });
    }
}

impl From<MayNotSend> for ApiError {
    fn from(why: MayNotSend) -> ApiError {
        let refusal = match why {
            MayNotSend::Limit(refusal) => refusal,
            MayNotSend::Unknown(why) => {
                let message = format!("{why}; nothing was sent, try again later");
                return ApiError::new(Code::Server, message);
            }
        };
        let code = match refusal.limit {
            Limit::Messages => Code::MessageLimitReached,
            Limit::NewRecipients => Code::RecipientLimitReached,
        };
        let wait = |at: i64| u32::try_from((at - wall_clock()).max(1)).unwrap_or(u32::MAX);
        ApiError {
            retry_after: refusal.room_at.map(wait),
            ..ApiError::new(code, format!("{refusal}; nothing was sent"))
        }
    }
}

const PRUNE_EVERY: Duration = Duration::from_secs(24 * 3600);

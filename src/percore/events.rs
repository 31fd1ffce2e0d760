//! What this core knows of accounts' suppression lists, and how all cores hear of changes. docs/QUEUE.md.

use std::sync::Arc;

use shards::CoreId;
use shards::lanes::CallError;
use shards::storage::StorageError;

use super::PerCore;
use crate::calls::{Answer, Call};
use crate::live::Live;
use crate::queue::events::Interest;
use crate::queue::hooks::Told;
use crate::settings::AccountName;
use crate::store::StoreError;

impl PerCore {
    /// Puts in force what accounts want of the events of their mail.
    pub(crate) fn use_interests(&self, live: &Arc<Live>) {
        let live = live.clone();
        let interest = move |account: &str| Interest::of(&live.settings, account);
        self.queue.use_interests(interest);
    }

    /// Sees to it that the suppression list of an account is known here: who has it asks nobody.
    pub async fn know_suppressions(&self, account: AccountName) -> Result<(), StoreError> {
        let (lists, now) = (&self.queue.lists, self.wall_clock());
        if lists.is_fresh(account.as_str(), now) {
            return Ok(());
        }
        let load = async {
            let owner = self.owner_of(account.as_str());
            match self.call(owner, Call::SuppressionHashes { account }).await {
                Ok(Answer::Hashes(Ok((hashes, (version, events))))) => {
                    self.queue.hooks.know(account.as_str(), version, events);
                    Ok(hashes)
                }
                Ok(Answer::Hashes(Err(error))) => Err(error),
                _ => Err(StoreError::Storage(StorageError::Busy)),
            }
        };
        lists.load(account.as_str(), now, load).await
    }

    /// The mark of an account's life, for links by which readers unsubscribe; who has it asks nobody.
    pub async fn life_of(&self, account: AccountName) -> Result<u64, StoreError> {
        let lives = &self.queue.lives;
        if let Some(life) = lives.of(account) {
            return Ok(life);
        }
        let owner = self.owner_of(account.as_str());
        let life = match self.call(owner, Call::Life { account }).await {
            Ok(Answer::Life(life)) => life?,
            _ => return Err(StoreError::Storage(StorageError::Busy)),
        };
        lives.know(account, life);
        Ok(life)
    }

    /// Why an account sends nothing to these addresses, as its owner says.
    pub async fn ask_suppressed(
        &self,
        account: AccountName,
        addresses: Vec<String>,
    ) -> Result<Vec<Option<String>>, StoreError> {
        let owner = self.owner_of(account.as_str());
        let call = Call::Suppressed { account, addresses };
        match self.call(owner, call).await {
            Ok(Answer::Suppressed(reasons)) => reasons,
            _ => Err(StoreError::Storage(StorageError::Busy)),
        }
    }

    /// Tells all cores of which events of an account anybody is told; answers how many gave no answer: they hear it some minutes later.
    pub(crate) async fn tell_hooks(&self, account: AccountName, told: Told) -> u16 {
        let mut silent = 0;
        for core in 0..self.shard_cores {
            let call = Call::HooksChanged { account, told };
            silent += u16::from(self.call(CoreId(core), call).await.is_err());
        }
        silent
    }

    /// Tells all cores of a change of a list; answers how many gave no answer: they load it anew some minutes later.
    pub(crate) async fn tell_suppressions(
        &self,
        account: AccountName,
        changes: Vec<(u64, bool)>,
    ) -> u16 {
        let mut silent = 0;
        for core in (0..self.shard_cores).filter(|_| !changes.is_empty()) {
            let answer: Result<Answer, CallError> = self
                .call(
                    CoreId(core),
                    Call::SuppressionChanged {
                        account,
                        changes: changes.clone(),
                    },
                )
                .await;
            silent += u16::from(answer.is_err());
        }
        silent
    }
}

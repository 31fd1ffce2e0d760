//! Keys of the API: the owner of the account sees to what becomes of them, whoever asks.

use std::rc::Rc;

use shards::shard_of;
use shards::storage::{Shard, StorageError};

use crate::calls::{Answer, Call, ControlAnswer};
use crate::login::api_key::KeyId;
use crate::percore::PerCore;
use crate::settings::AccountName;
use crate::store::{self, ApiKeyRow, StoreError};

impl PerCore {
    pub(super) fn shard_of_api_key(&self, id: &KeyId) -> Result<&Rc<Shard>, StoreError> {
        self.own_shard(shard_of(id, self.shard_count).0)
    }

    /// Durable when it returns.
    pub(super) async fn add_api_key(
        self: &Rc<Self>,
        account: AccountName,
        id: KeyId,
        row: Box<ApiKeyRow>,
    ) -> Result<ControlAnswer, StoreError> {
        let shard = self.shard_of_account(account)?;
        if !store::own_api_key(shard, account.as_str(), &id).await? {
            return Err(StoreError::Limit("the account has as many keys as it may"));
        }
        if let Err(error) = self.put_api_key(id, Some(row)).await {
            // It may have been stored all the same: then nobody has its secret.
            store::disown_api_key(shard, account.as_str(), &id).await?;
            return Err(error);
        }
        Ok(ControlAnswer::Done)
    }

    /// All of an account.
    pub(super) async fn api_keys_of(
        self: &Rc<Self>,
        account: AccountName,
    ) -> Result<ControlAnswer, StoreError> {
        let shard = self.shard_of_account(account)?;
        let mut keys = Vec::new();
        for id in store::own_api_keys(shard, account.as_str()).await? {
            if let Some(row) = self.ask_api_key(id).await? {
                keys.push((id, *row));
            }
        }
        Ok(ControlAnswer::ApiKeys(keys))
    }

    /// The key first: from when that is durable it logs nobody in, once the cores have heard of it.
    pub(super) async fn remove_api_key(
        self: &Rc<Self>,
        account: AccountName,
        id: KeyId,
    ) -> Result<ControlAnswer, StoreError> {
        let shard = self.shard_of_account(account)?;
        let row = self.ask_api_key(id).await?;
        let Some(row) = row.filter(|row| row.account == account.as_str()) else {
            // One that leads nowhere.
            store::disown_api_key(shard, account.as_str(), &id).await?;
            return Ok(ControlAnswer::ApiKeyRemoved(None, 0));
        };
        self.put_api_key(id, None).await?;
        let silent = self.forget_api_key(id).await;
        let disowned = store::disown_api_key(shard, account.as_str(), &id).await;
        disowned.map_err(StoreError::in_part)?;
        Ok(ControlAnswer::ApiKeyRemoved(Some(row), silent))
    }

    async fn ask_api_key(&self, id: KeyId) -> Result<Option<Box<ApiKeyRow>>, StoreError> {
        let owner = self.owner_of_shard(shard_of(&id, self.shard_count).0);
        match self.call(owner, Call::ApiKey { id }).await {
            Ok(Answer::ApiKey(row)) => row,
            _ => Err(StoreError::Storage(StorageError::Busy)),
        }
    }

    async fn put_api_key(&self, id: KeyId, row: Option<Box<ApiKeyRow>>) -> Result<(), StoreError> {
        let owner = self.owner_of_shard(shard_of(&id, self.shard_count).0);
        match self.call(owner, Call::PutApiKey { id, row }).await {
            Ok(Answer::Done(done)) => done,
            Ok(_) => Err(StoreError::Open("another answer came".into())),
            Err(error) => Err(error.into()),
        }
    }
}

//! The account's secrets and delivery marks: rows that are read when needed, not kept.

use std::rc::Rc;

use super::account::{Account, Changes};
use super::rows::{TRANSACTION, decode, encode};
use super::{StoreError, keys};
use crate::login::Credentials;

impl Account {
    /// What is stored to check passwords; none if no password was ever set.
    pub async fn credentials(&self) -> Result<Option<Credentials>, StoreError> {
        match self.shard.get(keys::credentials(self.id)).await? {
            Some(bytes) => {
                decode(&bytes, || format!("credentials of account {}", self.name)).map(Some)
            }
            None => Ok(None),
        }
    }

    /// Replaces them; durable when it returns.
    pub async fn set_credentials(
        self: &Rc<Self>,
        credentials: &Credentials,
    ) -> Result<(), StoreError> {
        let permit = self.permit(512, false).await?;
        let mut changes = Changes::default();
        changes
            .batch
            .put(keys::credentials(self.id), encode(credentials));
        self.commit(permit, changes).await
    }

    /// Forgets that fan-out transactions were delivered: their entries are gone, so nobody repeats them.
    pub async fn forget_delivered(
        self: &Rc<Self>,
        transactions: &[[u8; TRANSACTION]],
    ) -> Result<(), StoreError> {
        let permit = self.permit(transactions.len() * 32, false).await?;
        let mut changes = Changes::default();
        for transaction in transactions {
            changes.batch.delete(keys::delivered(self.id, transaction));
        }
        self.commit(permit, changes).await
    }
}

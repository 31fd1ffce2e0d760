//! Batches of this core's shards: how far they are, and their end by hand.

use std::rc::Rc;

use crate::calls::ControlAnswer;
use crate::percore::PerCore;
use crate::queue::batch::{self, BatchPlace};
use crate::settings::AccountName;
use crate::store::StoreError;

impl PerCore {
    pub(super) async fn batch(
        &self,
        shard: u16,
        account: AccountName,
        number: u64,
    ) -> Result<ControlAnswer, StoreError> {
        let row = batch::find(self.own_shard(shard)?, account.as_str(), number).await?;
        Ok(ControlAnswer::Batch(row))
    }

    pub(super) async fn batches(
        &self,
        shard: u16,
        account: AccountName,
        after: Option<BatchPlace>,
        limit: usize,
    ) -> Result<ControlAnswer, StoreError> {
        let shard = self.own_shard(shard)?;
        let page = batch::page(shard, account.as_str(), after, limit).await?;
        Ok(ControlAnswer::Batches(page))
    }

    pub(super) async fn cancel_batch(
        self: &Rc<Self>,
        shard: u16,
        account: AccountName,
        number: u64,
    ) -> Result<ControlAnswer, StoreError> {
        let shard = self.own_shard(shard)?;
        let done = self.queue.cancel(shard, account.as_str(), number).await?;
        Ok(ControlAnswer::BatchCancelled(done))
    }
}

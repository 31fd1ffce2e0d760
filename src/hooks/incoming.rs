//! Tells endpoints of messages that came: reads each as it is stored and makes its webhooks, a few accounts at a time and of each one message.
//! docs/WEBHOOKS.md has the order, and what a kill between the steps leaves.
//!
//! Messages are untrusted: what is said of them is bounded (`webapi`), and what they take of memory counts in the core's budget for stored
//! messages. Not here: the calls (`dispatch.rs`), rows (`queue::hooks`).

use std::rc::Rc;
use std::time::Duration;

use futures_lite::future::or;
use shards::faults::point;
use shards::rt;
use shards::shard_of;
use shards::storage::{Shard, StorageError};

use super::ROOM;
use crate::percore::PerCore;
use crate::queue::hooks::{self, OutgoingHook, PAYLOAD_MAX};
use crate::store::{self, IncomingRow, StoreError};

/// Begins to tell of messages that come for this core's accounts, and of those that came before the start.
pub fn start(core: &Rc<PerCore>) {
    let core = core.clone();
    rt::spawn(&ROOM, async move {
        // Not for a command that opened a stopped directory.
        or(core.prepared(), core.drained()).await;
        if core.draining.get() {
            return;
        }
        for shard in &core.shards {
            if let Err(error) = resume(&core, shard).await {
                tracing::error!(shard = %shard.id(), %error, "messages of which webhooks have to tell could not be looked for; those that came before wait for the next start");
            }
        }
        run(&core).await;
    });
}

/// Finds what was to be told before the start.
async fn resume(core: &Rc<PerCore>, shard: &Rc<Shard>) -> Result<(), StoreError> {
    hooks::each_account(shard, async |account| {
        if let Some(row) = store::first_incoming(shard, account, 0).await? {
            core.queue.hooks.untold.came(account, row.body);
        }
        Ok(())
    })
    .await
}

async fn run(core: &Rc<PerCore>) {
    let untold = &core.queue.hooks.untold;
    // Each holds one while it tells.
    let places = Rc::new(());
    while !core.draining.get() {
        let seen = untold.waking.count();
        while Rc::strong_count(&places) <= AT_ONCE
            && let Some((account, from)) = untold.take()
        {
            let turn = AccountTurn {
                core: core.clone(),
                account,
                next: None,
                place: Some(places.clone()),
            };
            rt::spawn(&ROOM, turn.run(from));
        }
        let woken = async {
            untold.waking.wait(seen).await;
        };
        or(woken, core.drained()).await;
    }
}

/// One message of an account is told. When it is dropped, after a panic too, it is another's turn.
struct AccountTurn {
    core: Rc<PerCore>,
    account: String,
    /// Where the account goes on.
    next: Option<u64>,
    place: Option<Rc<()>>,
}

impl Drop for AccountTurn {
    fn drop(&mut self) {
        self.place = None;
        let untold = &self.core.queue.hooks.untold;
        untold.is_done(&self.account, self.next);
    }
}

impl AccountTurn {
    async fn run(mut self, from: u64) {
        if let Err(error) = self.tell(from).await {
            tracing::warn!(account = self.account, %error, "webhooks can't tell of a message now; that is tried again");
            self.next = Some(from);
            // Others go on meanwhile.
            self.place = None;
            self.core.queue.hooks.untold.waking.notify();
            or(rt::sleep(PAUSE), self.core.drained()).await;
        }
    }

    async fn tell(&mut self, from: u64) -> Result<(), StoreError> {
        let (core, account) = (self.core.clone(), self.account.clone());
        let number = shard_of(account.as_bytes(), core.shard_count);
        let shard = core.shards.iter().find(|shard| shard.id() == number);
        let shard = shard.ok_or(StoreError::NotAllowed("this core does not own the shard"))?;
        // The rows of one that is gone go with it.
        if core.queue.interest(&account).is_none() {
            return Ok(());
        }
        let Some(row) = store::first_incoming(shard, &account, from).await? else {
            return Ok(());
        };
        // Should it panic: the others are told, and this one at the next start.
        self.next = Some(row.body + 1);
        let endpoints = hooks::told_of_incoming(shard, &account).await?;
        let hook = match endpoints {
            0 => None,
            _ => Some(payload(&core, shard, &row).await?),
        };
        let octets = hook.as_ref().map_or(0, |hook| hook.payload.len());
        let octets = hooks::payload_octets(octets, endpoints);
        let _share = share(&core, octets as u64).await?;
        let turn = core.queue.hooks.turn(&account).await;
        let Some(interest) = core.queue.interest(&account) else {
            return Ok(());
        };
        let told = (row.body, hook.as_ref());
        let now = core.wall_clock();
        let done = hooks::tell_incoming(shard, &turn, interest, told, now).await?;
        drop(turn);
        let _ = point("hooks.incoming_told");
        for endpoint in done.hooked {
            core.queue.hooks.wake(&account, endpoint);
        }
        Ok(())
    }
}

/// What is told of a message, made by another thread if it is long.
async fn payload(
    core: &Rc<PerCore>,
    shard: &Rc<Shard>,
    row: &IncomingRow,
) -> Result<OutgoingHook, StoreError> {
    // Read, its parts, what is said of it, and that as JSON.
    let beside = (3 * row.size).min(TAKEN_APART_MAX + PAYLOAD_MAX as u64);
    let _share = share(core, row.size + beside).await?;
    let body = store::stored_octets(shard, row.body).await?;
    let is_long = row.size > PARSED_HERE_MAX;
    let row = row.clone();
    let job = move || hooks::payload_of(&row, body.as_ref().map(|body| body.octets()));
    match is_long {
        true => {
            let made = core.parsing.run(job).await;
            made.map_err(|_| StoreError::Storage(StorageError::Busy))?
        }
        false => job(),
    }
}

/// A share of the memory for messages. Who asks for more than there is gets all of it, alone.
async fn share(core: &PerCore, octets: u64) -> Result<rt::Share, StoreError> {
    let most = {
        let live = core.live();
        live.settings.server.limits.imap.message_memory_max_bytes
    };
    let share = core.message_share(octets.min(most.get())).await;
    share.ok_or(StoreError::Limit("too little memory for the message"))
}

/// Accounts of a core that are told something at once.
const AT_ONCE: usize = 4;
/// Messages above this many octets are taken apart by another thread.
const PARSED_HERE_MAX: u64 = 16 << 10;
/// Octets that what is said of a message takes, with the tree of its parts.
const TAKEN_APART_MAX: u64 = 24 << 20;
/// Until what went wrong is tried again.
const PAUSE: Duration = Duration::from_secs(10);

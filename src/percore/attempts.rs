//! The record of login attempts on its way to the accounts' shards: gathered for a second, then written together. Nobody waits for it.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use shards::rt;
use shards::shard_of;

use super::{PerCore, ROOM, wall_clock};
use crate::calls::{Answer, Call};
use crate::login::{Attempted, LoginRecord, Times, told};
use crate::metrics::NONE;

impl PerCore {
    /// Records an attempt that was made now.
    pub fn record(self: &Rc<Self>, attempted: Attempted) {
        let times = Times::once(wall_clock());
        let added = self.unwritten.borrow_mut().add(attempted, times);
        self.recorded(added);
    }

    /// Records a login whose client says in a moment, perhaps, what it is.
    pub fn record_unnamed(self: &Rc<Self>, connection: &str, attempted: Attempted) {
        let mut unwritten = self.unwritten.borrow_mut();
        let added = unwritten.add_unnamed(connection, attempted, wall_clock());
        drop(unwritten);
        self.recorded(added);
    }

    /// The client of a connection says what it is.
    pub fn client_named(&self, connection: &str, client: &str) {
        let mut unwritten = self.unwritten.borrow_mut();
        unwritten.client_named(connection, &told(client));
    }

    fn recorded(self: &Rc<Self>, added: bool) {
        if !added {
            self.metrics.count(LOST, NONE);
        }
        if self.is_recording.replace(true) {
            return;
        }
        let core = self.clone();
        rt::spawn(&ROOM, async move {
            while core.is_recording.get() {
                rt::sleep(EVERY).await;
                core.write_attempts(false).await;
                core.is_recording.set(!core.unwritten.borrow().is_empty());
            }
        });
    }

    /// Writes what was gathered; `all`: logins too whose clients may still say what they are.
    pub async fn write_attempts(self: &Rc<Self>, all: bool) {
        let records = self.unwritten.borrow_mut().take(all);
        let mut by_shard: BTreeMap<u16, Vec<LoginRecord>> = BTreeMap::new();
        for record in records {
            let attempted = &record.attempted;
            let name = match attempted.account.as_str() {
                "" => &attempted.login,
                account => account,
            };
            let shard = shard_of(name.as_bytes(), self.shard_count);
            by_shard.entry(shard.0).or_default().push(record);
        }
        for (shard, mut records) in by_shard {
            let owner = self.owner_of_shard(shard);
            while !records.is_empty() {
                let rest = records.split_off(records.len().min(AT_ONCE));
                let count = records.len();
                let call = Call::RecordLogins { shard, records };
                match self.call(owner, call).await {
                    Ok(Answer::Done(Ok(()))) => (),
                    _ => (0..count).for_each(|_| self.metrics.count(LOST, NONE)),
                }
                records = rest;
            }
        }
    }
}

/// Attempts that could not be recorded.
const LOST: &str = "ringmail_login_records_lost_total";
/// How long attempts are gathered.
const EVERY: Duration = Duration::from_secs(1);
/// Records in one call.
const AT_ONCE: usize = 500;

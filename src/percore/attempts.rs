//! Attempts to log in that are over: counted, and recorded. The record is gathered for a second on its way to the accounts' shards, then written
//! together; nobody waits for it.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use shards::rt;
use shards::shard_of;

use super::{Attempt, KeyHolder, PerCore, ROOM, wall_clock};
use crate::calls::{Answer, Call};
use crate::login::{Attempted, LoginRecord, Times, told};
use crate::metrics::NONE;
use crate::settings::AccountName;

/// Whose login an attempt is.
pub(super) struct Who<'a> {
    /// The name that was given; empty: none yet.
    pub login: &'a str,
    /// Who has it.
    pub account: Option<AccountName>,
    /// Of the connection's certificate.
    pub holder: Option<&'a KeyHolder>,
}

impl PerCore {
    /// Who has a name, as far as anybody has it.
    pub(super) fn known<'a>(&self, login: &'a str, holder: Option<&'a KeyHolder>) -> Who<'a> {
        Who {
            login,
            account: self.live().directory.login(login),
            holder,
        }
    }

    /// An attempt is over: it is counted and recorded.
    pub(super) fn over(
        self: &Rc<Self>,
        attempt: Attempt<'_>,
        mechanism: &'static str,
        who: Who<'_>,
        result: &'static str,
    ) {
        self.count_login(attempt, mechanism, result);
        self.note(attempt, mechanism, who, result);
    }

    pub(super) fn note(
        self: &Rc<Self>,
        attempt: Attempt<'_>,
        mechanism: &'static str,
        who: Who<'_>,
        result: &'static str,
    ) {
        let attempted = Attempted {
            account: who.account.map_or(String::new(), |a| a.to_string()),
            login: told(who.login),
            peer: attempt.socket.peer().ip(),
            local: attempt.socket.local().ip(),
            tls: told(&attempt.socket.tls_in_words()),
            key: who.holder.map(|holder| holder.fingerprint),
            protocol: Cow::Borrowed(attempt.service.as_str()),
            mechanism: Cow::Borrowed(mechanism),
            client: told(attempt.client),
            result: Cow::Borrowed(result),
        };
        match attempt.later {
            Some(later) if attempted.is_ok() => *later.borrow_mut() = Some(Box::new(attempted)),
            _ => self.record(attempted),
        }
    }

    pub(super) fn count_login(
        &self,
        attempt: Attempt<'_>,
        mechanism: &'static str,
        result: &'static str,
    ) {
        let labels = [
            ("protocol", attempt.service.as_str()),
            ("mechanism", mechanism),
            ("result", result),
        ];
        self.metrics.count("ringmail_authentication_total", labels);
    }

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

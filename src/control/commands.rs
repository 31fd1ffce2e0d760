//! What the commands do. The same code serves the control socket of a running server and a command that opened a stopped directory.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Mutex, TryLockError};
use std::time::Instant;

use serde_json::{Value, json};
use shards::CoreId;
use shards::lanes::CallError;

use super::protocol::Request;
use super::source::Source;
use super::supervise::Wish;
use super::{
    accounts, api_keys, batch, check, client_keys, hold_rules, limits, logins, lookup, mtasts,
    queue, retired, secrets, sites, suppression, tlsresults, warm_up, webhooks,
};
use crate::calls::{Answer, Call, ControlAnswer, ControlCall};
use crate::serve::Server;
use crate::settings::reload::compare;
use crate::settings::{AccountName, Settings};
use crate::telemetry;

/// A server and what commands need beside it.
pub struct Control {
    pub(super) server: Server,
    pub(super) source: Source,
    pub(super) started: Instant,
    /// Edits and reloads come one after the other: each begins with the settings the one before left.
    pub(super) edits: Mutex<()>,
    /// Changes of secrets come one after the other: each derives for some tenths of a second.
    pub(super) secrets: Mutex<()>,
    /// Long commands look here between their steps. An atomic: told by the main thread to those of clients.
    pub(super) stopping: AtomicBool,
    pub(super) wishes: Option<Sender<Wish>>,
}

/// What the operator should know of settings that are in force now.
pub struct InForce {
    /// Could not be read, and stayed as it was.
    pub kept: Vec<String>,
    /// Waits for a restart.
    pub notes: Vec<String>,
}

impl InForce {
    /// Everything.
    pub(super) fn messages(self) -> Vec<String> {
        [self.kept, self.notes].concat()
    }
}

impl Control {
    /// For a command that opened the directory itself.
    pub fn direct(server: Server, source: Source) -> Control {
        Control::new(server, source, None)
    }

    pub(super) fn new(server: Server, source: Source, wishes: Option<Sender<Wish>>) -> Control {
        Control {
            server,
            source,
            started: Instant::now(),
            edits: Mutex::new(()),
            secrets: Mutex::new(()),
            stopping: AtomicBool::new(false),
            wishes,
        }
    }

    /// The server.
    pub fn server(&self) -> &Server {
        &self.server
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    /// An error once the server is to stop.
    pub(super) fn goes_on(&self) -> Result<(), String> {
        match self.is_stopping() {
            true => Err("the server is stopping".into()),
            false => Ok(()),
        }
    }

    /// A control call to a core, with errors in words.
    pub(super) fn ask(&self, core: CoreId, call: ControlCall) -> Result<ControlAnswer, String> {
        match self.server.call(core, Call::Control(Box::new(call))) {
            Ok(Answer::Control(result)) => result.map_err(|e| e.to_string()),
            Ok(_) => Err(OTHER_ANSWER.into()),
            Err(error) => Err(lost(core, error)),
        }
    }

    /// Reads the settings again and puts them in force; answers what the operator should know.
    pub fn reload(&self) -> Result<InForce, String> {
        let _one = self.edits.lock().map_err(|_| BROKEN)?;
        let next = self.source.load().map_err(|e| e.to_string())?;
        self.put_in_force(next)
    }

    /// Reads certificates and keys again. None: the settings are being changed just now, and what is in force would be put back over it.
    pub(super) fn reload_certificates(&self) -> Option<Result<Vec<String>, String>> {
        let _one = match self.edits.try_lock() {
            Err(TryLockError::WouldBlock) => return None,
            Err(TryLockError::Poisoned(one)) => one.into_inner(),
            Ok(one) => one,
        };
        Some(self.server.reload_certificates())
    }

    /// Puts settings in force. The caller holds `edits`.
    pub(super) fn put_in_force(&self, mut next: Settings) -> Result<InForce, String> {
        let live = self.server.live();
        let change = compare(&live.settings, &mut next);
        keep_until_restart(&mut next, &live.settings);
        telemetry::reload(&next.server.log);
        let kept = self.server.reload(next)?;
        let restart =
            |field| format!("{field} changed; that takes effect when the server is started again");
        let mut notes: Vec<String> = change.restart_needed.iter().map(restart).collect();
        // What was right for one that is gone is not right for the next of its name: open sessions, and passwords that were looked at.
        for account in &change.accounts_removed {
            let silent = self.server.end_sessions(*account);
            if silent > 0 {
                notes.push(format!("{silent} cores gave no answer: sessions of {account}, which is gone, may go on there until they end by themselves"));
            }
        }
        // Some may have been away: what they were to be told is still there.
        let mut back: BTreeMap<CoreId, Vec<AccountName>> = BTreeMap::new();
        for account in &change.accounts_added {
            let owner = self.server.owner_of(account.as_str());
            back.entry(owner).or_default().push(*account);
        }
        for (owner, accounts) in back {
            if let Err(error) = self.ask(owner, ControlCall::AccountsAreBack(accounts)) {
                tracing::warn!(%error, "webhooks of accounts that are back wait for new events");
            }
        }
        for word in kept.iter().chain(&notes) {
            tracing::warn!("reload: {word}");
        }
        tracing::info!(
            accounts_added = change.accounts_added.len(),
            accounts_removed = change.accounts_removed.len(),
            accounts_changed = change.accounts_changed.len(),
            domains_changed = change.domains_changed,
            server_changed = ?change.server_changed,
            "settings are in force"
        );
        Ok(InForce { kept, notes })
    }

    fn status(&self) -> Value {
        let live = self.server.live();
        let addresses = self.server.addresses().iter();
        let listening: Vec<Value> = addresses
            .map(|(door, address)| json!({"door": door.as_str(), "address": address.to_string()}))
            .collect();
        let states = self
            .server
            .watches()
            .iter()
            .map(|watch| (watch.id, watch.status()));
        let mut troubles = Vec::new();
        for (shard, state) in states {
            if let Some(why) = state.poisoned {
                troubles.push(format!("{shard} is out of service: {why}"));
            }
            if state.disk_low {
                troubles.push(format!(
                    "{shard} takes no new mail: the disk is nearly full"
                ));
            }
        }
        troubles.extend(crate::percore::stalls(self.server.watches()));
        let connections: i64 = (0..self.server.cores())
            .filter_map(|core| match self.server.call(CoreId(core), Call::Scrape) {
                Ok(Answer::Samples(samples, _)) => Some(samples),
                _ => {
                    troubles.push(format!("core {core} does not answer"));
                    None
                }
            })
            .flatten()
            .filter(|((name, _), _)| *name == "ringmail_connections_open")
            .map(|(_, value)| value)
            .sum();
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "pid": std::process::id(),
            "uptime_secs": self.started.elapsed().as_secs(),
            "data_dir": live.settings.server.data_dir.display().to_string(),
            // Without the executor for HTTP, which owns nothing.
            "cores": self.server.cores() - 1,
            "shards": self.server.shards(),
            "accounts": live.settings.accounts.len(),
            "connections": connections,
            "listening": listening,
            "troubles": troubles,
            "stopping": self.is_stopping(),
        })
    }
}

/// Carries out a request; items go to `item` as they come. An error of `item` (the client is gone) ends it.
pub fn run(
    control: &Control,
    request: Request,
    item: &mut dyn FnMut(Value) -> Result<(), String>,
) -> Result<Value, String> {
    match request {
        Request::Ping {} => Ok(json!({})),
        Request::Status {} => Ok(control.status()),
        Request::Reload {} => {
            let InForce { kept, notes } = control.reload()?;
            Ok(json!({"messages": notes, "failed": kept}))
        }
        Request::Stop {} => {
            let wishes = control.wishes.as_ref().ok_or("no server is running here")?;
            wishes
                .send(Wish::Stop)
                .map_err(|_| "it is stopping already")?;
            Ok(json!({"pid": std::process::id()}))
        }
        Request::AccountAdd {
            name,
            addresses,
            keep,
        } => accounts::add(control, &name, &addresses, keep),
        Request::AccountRemove { name, drop_queued } => {
            accounts::remove(control, &name, drop_queued)
        }
        Request::AccountList {
            after,
            limit,
            numbers,
        } => accounts::list(control, after.as_deref(), limit, numbers, item),
        Request::AccountLimits { name } => limits::show(control, &name),
        Request::AccountPassword { name, password } => {
            secrets::set_password(control, &name, &password)
        }
        Request::AppPasswordAdd {
            account,
            name,
            services,
        } => secrets::add_app_password(control, &account, &name, &services),
        Request::AppPasswordRemove { account, name } => {
            secrets::remove_app_password(control, &account, &name)
        }
        Request::AppPasswordList { account } => {
            secrets::list_app_passwords(control, &account, item)
        }
        Request::ApiKeyAdd {
            account,
            name,
            scopes,
            from,
            per_minute,
            expires,
        } => {
            let wanted = api_keys::Wanted {
                name,
                scopes,
                from,
                per_minute,
                expires,
            };
            api_keys::add(control, &account, wanted)
        }
        Request::ApiKeyList { account } => api_keys::list(control, &account, item),
        Request::ApiKeyRemove { account, id } => api_keys::remove(control, &account, &id),
        Request::ClientKeyAdd {
            address,
            name,
            certificate,
            no_imap_preauth,
        } => client_keys::add(
            control,
            &client_keys::NewKey {
                address: &address,
                name: &name,
                certificate: &certificate,
                no_imap_preauth,
            },
        ),
        Request::AccountLogins {
            account,
            failed,
            limit,
        } => logins::list(control, account.as_deref(), failed, limit, item),
        Request::ClientKeyRemove { fingerprint } => client_keys::remove(control, &fingerprint),
        Request::ClientKeyGet { fingerprint } => client_keys::get(control, &fingerprint),
        Request::ClientKeyList {
            account,
            after,
            limit,
        } => client_keys::list(control, account.as_deref(), after, limit, item),
        Request::DnsLookup { record_type, name } => lookup::lookup(control, &record_type, &name),
        Request::DnsMx { domain } => lookup::mail_hosts(control, &domain),
        Request::DnsTls { domain } => lookup::demands(control, &domain),
        Request::MtaStsShow { domain } => mtasts::show(control, &domain),
        Request::MtaStsList { after, limit } => mtasts::list(control, after, limit, item),
        Request::MtaStsRemove { domain } => mtasts::remove(control, &domain),
        Request::TlsResults { domain, day } => {
            tlsresults::list(control, domain.as_deref(), day, item)
        }
        Request::QueueList {
            after,
            limit,
            filter,
        } => queue::list(control, after, limit, &filter, item),
        Request::QueueChange { filter, deed } => queue::change(control, &filter, &deed, item),
        Request::SiteList { site, restrained } => {
            sites::list(control, site.as_deref(), restrained, item)
        }
        Request::SitePause { site, secs, why } => sites::pause(control, &site, secs, why),
        Request::SiteResume { site } => sites::resume(control, site.as_deref()),
        Request::HoldRuleList {} => hold_rules::list(control, item),
        Request::HoldRuleAdd {
            account,
            sender_domain,
            recipient_domain,
        } => hold_rules::add(control, (account, &sender_domain, &recipient_domain), item),
        Request::HoldRuleRemove { id } => hold_rules::remove(control, id),
        Request::QueueDump { id } => queue::dump(control, id, item),
        Request::QueueWarmUp { member } => warm_up::list(control, member.as_deref(), item),
        Request::RetiredList {
            after,
            limit,
            filter,
        } => retired::list(control, after, limit, &filter, item),
        Request::SuppressionList {
            account,
            after,
            limit,
        } => suppression::list(control, account.as_deref(), after, limit, item),
        Request::SuppressionAdd {
            account,
            address,
            reason,
            expires,
        } => suppression::add(control, &account, &address, (reason, expires)),
        Request::SuppressionRemove { account, address } => {
            suppression::remove(control, &account, &address)
        }
        Request::SuppressionLookup { account, address } => {
            suppression::look_up(control, &account, &address)
        }
        Request::WebhookList { account } => webhooks::list(control, &account, item),
        Request::WebhookPut {
            account,
            id,
            url,
            authorization,
            events,
            concurrency,
        } => {
            let new = webhooks::Said {
                url,
                authorization,
                events,
                concurrency,
            };
            webhooks::put(control, &account, id, new)
        }
        Request::WebhookChange { account, id, deed } => {
            webhooks::change(control, &account, id, deed)
        }
        Request::WebhookTest { account, id } => webhooks::test(control, &account, id),
        Request::WebhookQueue {
            account,
            after,
            filter,
        } => webhooks::queue(control, &account, after, *filter, item),
        Request::WebhookHistory {
            account,
            after,
            filter,
        } => webhooks::history(control, &account, after, *filter, item),
        Request::WebhookPayload { account, id } => webhooks::payload(control, &account, id),
        Request::WebhookRedeliver { account, ids } => webhooks::redeliver(control, &account, &ids),
        Request::WebhookCancel { account, ids } => webhooks::cancel(control, &account, &ids),
        Request::BatchList {
            account,
            after,
            limit,
        } => batch::list(control, &account, after, limit, item),
        Request::BatchShow { account, id } => batch::show(control, &account, id),
        Request::BatchCancel { account, id } => batch::cancel(control, &account, id),
        Request::Check {} => check::check(control, item),
    }
}

/// What takes a restart stays as it is until then: sockets, for one, are where the old listeners said.
fn keep_until_restart(next: &mut Settings, old: &Settings) {
    let (next, old) = (&mut next.server, &old.server);
    next.data_dir.clone_from(&old.data_dir);
    next.hostname.clone_from(&old.hostname);
    next.cores = old.cores.clone();
    next.storage = old.storage.clone();
    next.listener.clone_from(&old.listener);
}

/// What the operator is told after sessions were ended: nothing, unless cores did not answer.
pub(super) fn sessions_left(silent: u16) -> Vec<String> {
    let note = format!(
        "{silent} cores did not answer: sessions of the account may go on there until their connections end, or the server is restarted"
    );
    (silent > 0).then_some(note).into_iter().collect()
}

/// A call without an answer, in words.
pub(super) fn lost(core: CoreId, error: CallError) -> String {
    match error {
        CallError::Full => format!("core {} is too busy; try again", core.0),
        CallError::TimedOut => format!(
            "core {} gave no answer in time; it may still carry it out. Look before you repeat it",
            core.0
        ),
        CallError::Dropped => format!("core {} dropped the call; the log says why", core.0),
    }
}

/// A call was answered by what belongs to another.
pub(super) const OTHER_ANSWER: &str = "a core gave an answer to another question; this is a bug";
/// A thread panicked while it edited.
pub(super) const BROKEN: &str = "an edit before broke off; restart the server, then try again";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silent_cores_are_told_of() {
        assert!(sessions_left(0).is_empty());
        assert!(sessions_left(2)[0].starts_with("2 cores did not answer"));
    }
}

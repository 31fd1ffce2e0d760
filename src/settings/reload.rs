//! What a new version of the settings changes, and what of it a running server cannot take without a restart. Pure.
//! Called by the control thread after `load` has found the new version without a mistake; a version with mistakes changes nothing.

use std::sync::Arc;

use super::account_name::AccountName;
use super::model::Settings;
use super::server::Server;

/// The difference between two versions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// Accounts that are new.
    pub accounts_added: Vec<AccountName>,
    /// Accounts that are gone.
    pub accounts_removed: Vec<AccountName>,
    /// Accounts whose file says something else.
    pub accounts_changed: Vec<AccountName>,
    /// Whether the domains file says something else.
    pub domains_changed: bool,
    /// Fields of the static file that changed and take effect now.
    pub server_changed: Vec<&'static str>,
    /// Fields of the static file that changed and take effect at the next start only.
    pub restart_needed: Vec<&'static str>,
}

impl Change {
    /// Whether nothing changed.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Compares two versions, and lets the new one share each account that stayed the same.
pub fn compare(old: &Settings, new: &mut Settings) -> Change {
    let mut change = Change {
        domains_changed: old.domains != new.domains,
        ..Change::default()
    };
    for (name, account) in &mut new.accounts {
        match old.accounts.get(name) {
            None => change.accounts_added.push(*name),
            Some(before) if before == account => *account = Arc::clone(before),
            Some(_) => change.accounts_changed.push(*name),
        }
    }
    change.accounts_removed = old
        .accounts
        .keys()
        .filter(|name| !new.accounts.contains_key(*name))
        .copied()
        .collect();
    for (field, needs_restart, same) in fields(&old.server, &new.server) {
        match (same, needs_restart) {
            (true, _) => (),
            (false, false) => change.server_changed.push(field),
            (false, true) => change.restart_needed.push(field),
        }
    }
    if old.shaping != new.shaping {
        change.server_changed.push("outbound.shaping_file");
    }
    change
}

/// Each field of the static file: whether a change needs a restart, and whether the two versions agree.
fn fields(old: &Server, new: &Server) -> [(&'static str, bool, bool); 25] {
    // Taken apart without `..`, so that a new field must be placed here.
    let Server {
        data_dir,
        domains_file,
        accounts_dir,
        hostname,
        public_url,
        shutdown_grace_secs,
        log,
        http,
        cores,
        storage,
        limits,
        quota_bytes,
        sending,
        oauth,
        queue,
        outbound,
        transport,
        pool,
        warm_up,
        route,
        initial_mailboxes,
        dns,
        tls_policy,
        webhooks,
        listener,
    } = new;
    [
        ("data_dir", true, *data_dir == old.data_dir),
        ("domains_file", false, *domains_file == old.domains_file),
        ("accounts_dir", false, *accounts_dir == old.accounts_dir),
        ("hostname", true, *hostname == old.hostname),
        ("public_url", false, *public_url == old.public_url),
        (
            "shutdown_grace_secs",
            false,
            *shutdown_grace_secs == old.shutdown_grace_secs,
        ),
        ("log", false, *log == old.log),
        ("http", false, *http == old.http),
        ("dns", false, *dns == old.dns),
        ("tls_policy", false, *tls_policy == old.tls_policy),
        ("webhooks", false, *webhooks == old.webhooks),
        ("cores", true, *cores == old.cores),
        ("storage", true, *storage == old.storage),
        ("limits", false, *limits == old.limits),
        ("quota_bytes", false, *quota_bytes == old.quota_bytes),
        ("sending", false, *sending == old.sending),
        ("oauth", false, *oauth == old.oauth),
        ("queue", false, *queue == old.queue),
        ("outbound", false, *outbound == old.outbound),
        ("transport", false, *transport == old.transport),
        ("pool", false, *pool == old.pool),
        ("warm_up", false, *warm_up == old.warm_up),
        ("route", false, *route == old.route),
        (
            "initial_mailboxes",
            false,
            *initial_mailboxes == old.initial_mailboxes,
        ),
        // Certificates are re-read in place; another file, address or port is another socket.
        ("listener", true, *listener == old.listener),
    ]
}

#[cfg(test)]
mod tests {
    use super::super::local::Local;
    use super::super::units::Secs;
    use super::*;

    fn settings(accounts: u32) -> Settings {
        let mut settings = Local::new("/nowhere").load().unwrap();
        for n in 1..=accounts {
            let account = settings.accounts["ringmail"].clone();
            let name = format!("u{n}").parse().unwrap();
            settings.accounts.insert(name, account);
        }
        settings
    }

    #[test]
    fn the_same_settings_are_no_change_and_share_their_accounts() {
        let (old, mut new) = (settings(2), settings(2));
        assert!(compare(&old, &mut new).is_empty());
        assert!(
            old.accounts
                .iter()
                .all(|(name, account)| Arc::ptr_eq(account, &new.accounts[name]))
        );
    }

    #[test]
    fn accounts_come_go_and_change() {
        let (old, mut new) = (settings(2), settings(3));
        new.accounts.remove("u1");
        Arc::make_mut(new.accounts.get_mut("u2").unwrap()).full_name = "Two".to_owned();
        let change = compare(&old, &mut new);
        let names = |list: &[AccountName]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(names(&change.accounts_added), ["u3"]);
        assert_eq!(names(&change.accounts_removed), ["u1"]);
        assert_eq!(names(&change.accounts_changed), ["u2"]);
    }

    #[test]
    fn what_needs_a_restart_is_said() {
        let (old, mut new) = (settings(0), settings(0));
        new.server.cores.ring_depth = 4096;
        new.server.listener[0].name = "other".to_owned();
        new.server.limits.smtp.command_timeout_secs = Secs::new(600);
        new.domains.postmaster = None;
        let change = compare(&old, &mut new);
        assert_eq!(change.restart_needed, ["cores", "listener"]);
        assert_eq!(change.server_changed, ["limits"]);
        assert!(change.domains_changed);
    }
}

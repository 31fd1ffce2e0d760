//! Accounts: added, removed, listed.

use std::ops::Bound;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::commands::{BROKEN, Control, OTHER_ANSWER};
use super::protocol::PAGE_MAX;
use super::{api_keys, client_keys, queue};
use crate::calls::{ControlAnswer, ControlCall};
use crate::queue::rows::State;
use crate::queue::{Deed, Filter, OfAccount};
use crate::settings::{Account, AccountAddress, AccountName, MailboxName, Settings, edit};

/// `keep`: mail and password stored under the name before are taken over. Else they are a reason to refuse: whoever gets the name would
/// get another's mail, and another would log in with the old password.
pub(super) fn add(
    control: &Control,
    name: &str,
    addresses: &[String],
    keep: bool,
) -> Result<Value, String> {
    let _one = control.edits.lock().map_err(|_| BROKEN)?;
    let live = control.server.live();
    if !live.settings.accounts.contains_key(name) {
        may_be_added(control, parse_name(name)?, keep)?;
    }
    let next = add_to(&live.settings, name, addresses)?;
    let messages = control.put_in_force(next)?.messages();
    Ok(json!({"name": name, "messages": messages}))
}

/// Looks for what an earlier account of the name has left, and forgets what is of no use to anybody.
fn may_be_added(control: &Control, name: AccountName, keep: bool) -> Result<(), String> {
    let owner = control.server.owner_of(name.as_str());
    control.ask(owner, ControlCall::FinishRemoval(name))?;
    if keep {
        return Ok(());
    }
    if is_stored(control, name)? {
        return Err(format!(
            "mail of an earlier account {name} is still stored, and its password. Add it with --keep to take them over, or remove them first: ringmail account remove {name}"
        ));
    }
    let mut of = queued(control, name)?;
    let patience = Instant::now() + PATIENCE;
    while of != OfAccount::default() && Instant::now() < patience && !waits(control, name)? {
        // What is over goes in a moment.
        control.goes_on()?;
        std::thread::sleep(LOOK_AGAIN);
        of = queued(control, name)?;
    }
    if of != OfAccount::default() {
        let waiting = of.waiting;
        return Err(format!(
            "mail of an earlier account {name} is still being sent (recipients that wait: {waiting}): what becomes of it would be told to the new one. Wait until it is gone (ringmail queue list --account {name}), drop it (ringmail queue drop --account {name}), or add it with --keep to take it over"
        ));
    }
    // One of its requests may have been under way when the earlier account was removed.
    forget(control, name)
}

/// Writes the file of a new account; answers the next version of the settings. For commands too, when no server runs.
pub fn add_to(settings: &Settings, name: &str, addresses: &[String]) -> Result<Settings, String> {
    let name = parse_name(name)?;
    let addresses = addresses
        .iter()
        .map(|text| parse_address(text))
        .collect::<Result<Vec<_>, _>>()?;
    edit::add_account(settings, name, &addresses).map_err(|e| e.to_string())
}

/// Removes the file of an account; answers the next version of the settings. For commands too, when there is no mail yet.
pub fn remove_from(settings: &Settings, name: &str) -> Result<Settings, String> {
    edit::remove_account(settings, parse_name(name)?).map_err(|e| e.to_string())
}

fn is_stored(control: &Control, name: AccountName) -> Result<bool, String> {
    let owner = control.server.owner_of(name.as_str());
    let answer = control.ask(owner, ControlCall::AccountIsStored(name))?;
    Ok(matches!(answer, ControlAnswer::Found(true)))
}

/// The file first, then the mail: a crash between leaves mail nobody can reach, never an account without its mail. Mail without a file,
/// from such a crash or a file removed by hand, is removed too. What is in the queue goes only if that is said: it was accepted to be sent.
pub(super) fn remove(control: &Control, name: &str, drops_queued: bool) -> Result<Value, String> {
    let name = parse_name(name)?;
    let _one = control.edits.lock().map_err(|_| BROKEN)?;
    let live = control.server.live();
    let waiting = match waits(control, name)? {
        true => queued(control, name)?.waiting,
        false => 0,
    };
    if waiting > 0 && !drops_queued {
        return Err(format!(
            "mail that {name} sent is still in the queue; recipients that wait for it: {waiting}. Let it be delivered first, or have it dropped: ringmail account remove --drop-queued {name}"
        ));
    }
    let is_left = waiting > 0 || is_stored(control, name)?;
    if live.settings.accounts.contains_key(&name) || !is_left {
        let next = remove_from(&live.settings, name.as_str())?;
        control.put_in_force(next)?;
    }
    // Before the mail: as long as there is some, a removal that was cut short can be repeated.
    client_keys::remove_all_of(control, name.as_str())?;
    api_keys::remove_all_of(control, name)?;
    let dropped = match drops_queued {
        true => drop_queued(control, name)?,
        false => 0,
    };
    forget(control, name)?;
    let owner = control.server.owner_of(name.as_str());
    control.ask(owner, ControlCall::RemoveAccount(name))?;
    Ok(json!({"name": name.as_str(), "dropped": dropped}))
}

/// Whether anything that it sent still waits or is held; what is over may be in the queue until that is told.
fn waits(control: &Control, account: AccountName) -> Result<bool, String> {
    let mut waits = false;
    for state in [State::Waiting, State::Held] {
        let filter = Filter {
            account: Some(account.to_string()),
            state: Some(state),
            ..Filter::default()
        };
        queue::list(control, None, 1, &filter, &mut |_| {
            waits = true;
            Ok(())
        })?;
    }
    Ok(waits)
}

fn drop_queued(control: &Control, account: AccountName) -> Result<u64, String> {
    let filter = Filter {
        account: Some(account.to_string()),
        ..Filter::default()
    };
    let done = queue::change(control, &filter, &Deed::Drop {}, &mut |_| Ok(()))?;
    Ok(done["changed"].as_u64().unwrap_or(0))
}

/// What of the queue is an account's, in all shards.
fn queued(control: &Control, account: AccountName) -> Result<OfAccount, String> {
    let mut all = OfAccount::default();
    for shard in 0..control.server.shards() {
        let call = ControlCall::QueueOfAccount { shard, account };
        let owner = control.server.owner_of_shard(shard);
        let ControlAnswer::QueueOfAccount(of) = control.ask(owner, call)? else {
            return Err(OTHER_ANSWER.into());
        };
        all.waiting += of.waiting;
        all.in_hand += of.in_hand;
    }
    Ok(all)
}

/// What was answered to its requests that had keys of their own, and its batches: each shard may have some.
fn forget(control: &Control, account: AccountName) -> Result<(), String> {
    for shard in 0..control.server.shards() {
        let call = ControlCall::ForgetAccount { shard, account };
        control.ask(control.server.owner_of_shard(shard), call)?;
    }
    Ok(())
}

pub(super) fn list(
    control: &Control,
    after: Option<&str>,
    limit: usize,
    numbers: bool,
    item: &mut dyn FnMut(Value) -> Result<(), String>,
) -> Result<Value, String> {
    let live = control.server.live();
    let (page, next) = page(&live.settings, after, limit);
    for (name, account) in page {
        let mut line = describe(name, account);
        if numbers {
            let owner = control.server.owner_of(name.as_str());
            if let ControlAnswer::Numbers {
                mailboxes,
                messages,
                octets,
            } = control.ask(owner, ControlCall::AccountNumbers(*name))?
            {
                line["mailboxes"] = mailboxes.into();
                line["messages"] = messages.into();
                line["octets"] = octets.into();
            }
        }
        item(line)?;
    }
    Ok(json!({"next": next}))
}

type Page<'s> = (Vec<(&'s AccountName, &'s Account)>, Option<&'s str>);

/// The accounts after a name, and where the page after this one begins.
fn page<'s>(settings: &'s Settings, after: Option<&str>, limit: usize) -> Page<'s> {
    let from = after.map_or(Bound::Unbounded, Bound::Excluded);
    let mut rest = settings.accounts.range::<str, _>((from, Bound::Unbounded));
    let page: Vec<_> = rest
        .by_ref()
        .take(limit.clamp(1, PAGE_MAX))
        .map(|(name, account)| (name, &**account))
        .collect();
    let next = rest.next().and(page.last()).map(|(name, _)| name.as_str());
    (page, next)
}

/// An account as it is listed.
pub fn describe(name: &AccountName, account: &Account) -> Value {
    let addresses: Vec<String> = account
        .addresses
        .iter()
        .map(|held| held.address.to_string())
        .collect();
    json!({
        "name": name.as_str(),
        "addresses": addresses,
        "full_name": account.full_name,
        "login_disabled": account.login_disabled.as_ref().map(|text| text.as_str()),
    })
}

pub(super) fn parse_name(text: &str) -> Result<AccountName, String> {
    text.parse()
        .map_err(|e| format!("{text:?} is no account name: {e}"))
}

fn parse_address(text: &str) -> Result<AccountAddress, String> {
    Ok(AccountAddress {
        address: text
            .parse()
            .map_err(|e| format!("{text:?} is no address: {e}"))?,
        mailbox: MailboxName::inbox(),
    })
}

/// How long a new account waits for what is over of an earlier one.
const PATIENCE: Duration = Duration::from_secs(5);
const LOOK_AGAIN: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Local;

    #[test]
    fn pages_join_without_gap_or_overlap() {
        let mut settings = Local::new("/nowhere").load().unwrap();
        for n in 1..=6 {
            let account = settings.accounts["ringmail"].clone();
            let name = format!("u{n}").parse().unwrap();
            settings.accounts.insert(name, account);
        }
        let mut names = Vec::new();
        let mut after: Option<String> = None;
        loop {
            let (accounts, next) = page(&settings, after.as_deref(), 3);
            names.extend(accounts.iter().map(|(name, _)| name.to_string()));
            match next {
                Some(next) => after = Some(next.to_string()),
                None => break,
            }
        }
        assert_eq!(names, ["ringmail", "u1", "u2", "u3", "u4", "u5", "u6"]);
        assert_eq!(page(&settings, Some("u6"), 3).0.len(), 0);
        assert_eq!(page(&settings, None, 0).0.len(), 1);
        assert!(page(&settings, None, 7).1.is_none());
    }
}

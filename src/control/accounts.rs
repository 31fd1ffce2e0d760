//! Accounts: added, removed, listed.

use std::ops::Bound;

use serde_json::{Value, json};

use super::commands::{BROKEN, Control};
use super::protocol::PAGE_MAX;
use super::{api_keys, client_keys};
use crate::calls::{ControlAnswer, ControlCall};
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
    if !keep && !live.settings.accounts.contains_key(name) && is_stored(control, parse_name(name)?)?
    {
        return Err(format!(
            "mail of an earlier account {name} is still stored, and its password. Add it with --keep to take them over, or remove them first: ringmail account remove {name}"
        ));
    }
    let next = add_to(&live.settings, name, addresses)?;
    if !keep {
        // One of its requests may have been under way when an earlier account of the name was removed.
        forget_answered(control, parse_name(name)?)?;
    }
    let messages = control.put_in_force(next)?.messages();
    Ok(json!({"name": name, "messages": messages}))
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
/// from such a crash or a file removed by hand, is removed too.
pub(super) fn remove(control: &Control, name: &str) -> Result<Value, String> {
    let name = parse_name(name)?;
    let _one = control.edits.lock().map_err(|_| BROKEN)?;
    let live = control.server.live();
    if live.settings.accounts.contains_key(&name) || !is_stored(control, name)? {
        let next = remove_from(&live.settings, name.as_str())?;
        control.put_in_force(next)?;
    }
    // Before the mail: as long as there is some, a removal that was cut short can be repeated.
    client_keys::remove_all_of(control, name.as_str())?;
    api_keys::remove_all_of(control, name)?;
    forget_answered(control, name)?;
    let owner = control.server.owner_of(name.as_str());
    control.ask(owner, ControlCall::RemoveAccount(name))?;
    Ok(json!({"name": name.as_str()}))
}

/// What was answered to its requests that had keys of their own: each shard may have some.
fn forget_answered(control: &Control, account: AccountName) -> Result<(), String> {
    for shard in 0..control.server.shards() {
        let call = ControlCall::ForgetAnswered { shard, account };
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

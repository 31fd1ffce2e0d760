//! Accounts: added, removed, listed, given a password.

use std::ops::Bound;

use sasl::Secret;
use serde_json::{Value, json};

use super::commands::{BROKEN, Control, lost};
use super::protocol::PAGE_MAX;
use crate::calls::{Answer, Call, ControlAnswer, ControlCall};
use crate::login::{Scheme, Secrets};
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
    let owner = control.server.owner_of(name.as_str());
    control.ask(owner, ControlCall::RemoveAccount(name))?;
    Ok(json!({"name": name.as_str()}))
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

pub(super) fn password(control: &Control, name: &str, password: &str) -> Result<Value, String> {
    let name = parse_name(name)?;
    let live = control.server.live();
    if !live.settings.accounts.contains_key(&name) {
        return Err(format!(
            "there is no account {name}; ringmail account list names those there are"
        ));
    }
    let prepared = prepare(password)?;
    change_secrets(control, name, true, &mut |secrets, scheme| {
        secrets.set_password(&prepared, scheme)
    })?;
    Ok(json!({"name": name.as_str()}))
}

/// RFC 8265 4.2: all spellings of a password that look alike are one.
fn prepare(password: &str) -> Result<Secret, String> {
    check_password(password)?;
    let prepared = sasl::prepare_password(password);
    prepared.map_err(|e| format!("the password can't be typed everywhere: {e} (RFC 8265)"))
}

/// Reads an account's secrets, has them changed on this plain thread (it is heavy), and stores them.
fn change_secrets(
    control: &Control,
    name: AccountName,
    ends_sessions: bool,
    change: &mut dyn FnMut(&mut Secrets, &Scheme) -> Result<(), String>,
) -> Result<(), String> {
    let server = &control.server;
    let owner = server.owner_of(name.as_str());
    let call = |call| match server.call(owner, call) {
        Ok(answer) => Ok(answer),
        Err(error) => Err(lost(owner, error)),
    };
    for _ in 0..CHANGES_MAX {
        let from = match call(Call::Secrets { account: name })? {
            Answer::Secrets(result) => result.map_err(|e| e.to_string())?,
            _ => return Err(OTHER_ANSWER.into()),
        };
        let mut to = from.clone().unwrap_or_default();
        change(&mut to, &server.scheme())?;
        let stored = call(Call::ChangeSecrets {
            account: name,
            from,
            to,
            ends_sessions,
        })?;
        let Answer::Changed(changed) = stored else {
            return Err(OTHER_ANSWER.into());
        };
        if changed.map_err(|e| e.to_string())? {
            return Ok(());
        }
    }
    Err(format!(
        "the secrets of {name} were changed by somebody else at the same time; try again"
    ))
}

const OTHER_ANSWER: &str = "a core gave an answer to another question; this is a bug";
const CHANGES_MAX: u32 = 3;

/// RFC 4616 2: no NUL. NIST SP 800-63B 3.1.1.2 asks for at least 8 characters and no rule about kinds of them.
fn check_password(password: &str) -> Result<(), String> {
    let length = password.chars().count();
    if length < PASSWORD_MIN {
        return Err(format!(
            "the password has {length} characters; it needs at least {PASSWORD_MIN}"
        ));
    }
    if password.len() > PASSWORD_MAX {
        return Err(format!("the password has more than {PASSWORD_MAX} octets"));
    }
    if password.chars().any(char::is_control) {
        return Err("the password has a control character in it".into());
    }
    Ok(())
}

fn parse_name(text: &str) -> Result<AccountName, String> {
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

const PASSWORD_MIN: usize = 8;
/// The login of every protocol has room for it.
const PASSWORD_MAX: usize = 512;

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

    #[test]
    fn passwords_that_no_client_could_send_are_refused() {
        assert!(check_password("ringmailringmail").is_ok());
        assert!(check_password("pässwörd").is_ok());
        for wrong in [
            "",
            "short12",
            "with\0nul-in-it",
            "line\nbreak",
            &"x".repeat(513),
        ] {
            assert!(check_password(wrong).is_err(), "{wrong:?}");
        }
    }
}

//! The server's own edits: accounts and their addresses. Comments and layout of a file stay; a file is replaced as a whole; a file that
//! somebody edited since it was loaded is never overwritten. One edit touches one account's file and gives the next version of the settings.
//! Called by the control thread and, when no server runs, by `cli/`; one at a time. Not here: passwords, the account's mail.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::slice;
use std::sync::Arc;

use toml_edit::{Array, ArrayOfTables, DocumentMut, InlineTable, Item, Table, Value};

use super::account::{Account, AccountAddress};
use super::account_name::AccountName;
use super::load::{account_paths, read_text};
use super::model::Settings;
use super::names::{AddressText, MailboxName, canonical_localpart};
use super::parse::parse;
use super::problem::Problems;
use super::replace;
use super::text::{Fingerprint, Text};

/// Why an edit was not made. Nothing has changed then.
#[derive(Debug, thiserror::Error)]
pub enum EditError {
    /// It would make the settings wrong.
    #[error("{0}")]
    Refused(String),
    /// The file is not what was loaded.
    #[error("{}: edited by hand since it was loaded; it is left as it is. Run `ringmail reload`, then try again", .0.display())]
    EditedByHand(PathBuf),
    /// The file would not be read again.
    #[error(transparent)]
    Wrong(#[from] Problems),
    /// The disk refused.
    #[error("{}: {source}", path.display())]
    Disk {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Adds an account with its addresses. It has no password yet.
pub fn add_account(
    settings: &Settings,
    name: AccountName,
    addresses: &[AccountAddress],
) -> Result<Settings, EditError> {
    if settings.accounts.contains_key(&name) {
        return Err(EditError::Refused(format!(
            "there is an account {name} already"
        )));
    }
    if addresses.is_empty() {
        return Err(EditError::Refused(
            "an account needs at least one address".to_owned(),
        ));
    }
    for (at, held) in addresses.iter().enumerate() {
        check_free(settings, &held.address)?;
        if addresses[..at]
            .iter()
            .any(|other| same_address(settings, &other.address, &held.address))
        {
            return Err(EditError::Refused(format!(
                "{} is there twice",
                held.address
            )));
        }
    }
    check_free_on_disk(settings, addresses)?;
    let mut document = DocumentMut::new();
    document["addresses"] =
        Item::Value(Value::Array(addresses.iter().map(address_value).collect()));
    let path = account_path(settings, name);
    let text = Text::new(&path, document.to_string());
    let account = read_account(&text)?;
    replace::create_folder(&settings.server.accounts_dir)
        .map_err(|e| disk(&settings.server.accounts_dir, e))?;
    replace::create(&path, &text.content).map_err(|e| match e.kind() {
        // Somebody put the file there: it is theirs.
        io::ErrorKind::AlreadyExists => EditError::EditedByHand(path.clone()),
        _ => disk(&path, e),
    })?;
    Ok(with_account(settings, name, account, &text))
}

/// Removes an account's file. Refused while the domains file names the account. Its mail is the caller's to remove.
pub fn remove_account(settings: &Settings, name: AccountName) -> Result<Settings, EditError> {
    let account = known(settings, name)?;
    if let Some(user) = user_of_account(settings, name) {
        return Err(EditError::Refused(format!(
            "account {name} is {user}; change the domains file and run `ringmail reload` first"
        )));
    }
    for held in &account.addresses {
        check_no_member(settings, &held.address)?;
    }
    let text = as_loaded(settings, name)?;
    replace::remove(&text.path).map_err(|e| disk(&text.path, e))?;
    let mut next = settings.clone();
    next.accounts.remove(&name);
    next.fingerprints.remove(&text.path);
    Ok(next)
}

/// Adds an address to an account.
pub fn add_address(
    settings: &Settings,
    name: AccountName,
    added: &AccountAddress,
) -> Result<Settings, EditError> {
    known(settings, name)?;
    check_free(settings, &added.address)?;
    check_free_on_disk(settings, slice::from_ref(added))?;
    edit_account(settings, name, |document| {
        let addresses = document
            .entry("addresses")
            .or_insert(Item::Value(Value::Array(Array::new())));
        match addresses {
            Item::Value(Value::Array(array)) => array.push(address_value(added)),
            Item::ArrayOfTables(tables) => tables.push(address_table(added)),
            _ => (),
        }
    })
}

/// Removes an address from an account. Refused for the last one, and while an alias has it as a member.
pub fn remove_address(
    settings: &Settings,
    name: AccountName,
    address: &AddressText,
) -> Result<Settings, EditError> {
    let account = known(settings, name)?;
    let Some(at) = account
        .addresses
        .iter()
        .position(|held| same_address(settings, &held.address, address))
    else {
        return Err(EditError::Refused(format!(
            "{address} is not an address of account {name}"
        )));
    };
    if account.addresses.len() == 1 {
        return Err(EditError::Refused(format!(
            "{address} is the only address of account {name}"
        )));
    }
    check_no_member(settings, address)?;
    edit_account(settings, name, |document| {
        match document.get_mut("addresses") {
            Some(Item::Value(Value::Array(array))) => drop(array.remove(at)),
            Some(Item::ArrayOfTables(tables)) => drop_table(tables, at),
            _ => (),
        }
    })
}

fn edit_account(
    settings: &Settings,
    name: AccountName,
    edit: impl FnOnce(&mut DocumentMut),
) -> Result<Settings, EditError> {
    let before = as_loaded(settings, name)?;
    let mut document: DocumentMut = before
        .content
        .parse()
        .map_err(|e| EditError::Refused(format!("{}: {e}", before.path.display())))?;
    edit(&mut document);
    let text = Text::new(&before.path, document.to_string());
    let account = read_account(&text)?;
    // Looked at once more, so that the window in which an edit by hand could be lost is that of one rename.
    as_loaded(settings, name)?;
    replace::replace(&text.path, &text.content).map_err(|e| disk(&text.path, e))?;
    Ok(with_account(settings, name, account, &text))
}

fn with_account(settings: &Settings, name: AccountName, account: Account, text: &Text) -> Settings {
    let mut next = settings.clone();
    next.accounts.insert(name, Arc::new(account));
    next.fingerprints
        .insert(text.path.clone(), Fingerprint::of(&text.content));
    next
}

fn read_account(text: &Text) -> Result<Account, EditError> {
    let mut problems = Vec::new();
    match parse(text, &mut problems) {
        Some(account) if problems.is_empty() => Ok(account),
        _ => Err(EditError::Wrong(Problems(problems))),
    }
}

/// The account's file, if it still is what was loaded.
fn as_loaded(settings: &Settings, name: AccountName) -> Result<Text, EditError> {
    let path = account_path(settings, name);
    let Some(loaded) = settings.fingerprints.get(&path) else {
        return Err(EditError::Refused(format!(
            "account {name} is built in: it has no file to edit"
        )));
    };
    match fs::read_to_string(&path) {
        Ok(content) if Fingerprint::of(&content) == *loaded => Ok(Text { path, content }),
        Ok(_) => Err(EditError::EditedByHand(path)),
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::InvalidData
            ) =>
        {
            Err(EditError::EditedByHand(path))
        }
        Err(error) => Err(disk(&path, error)),
    }
}

fn known(settings: &Settings, name: AccountName) -> Result<&Account, EditError> {
    settings
        .accounts
        .get(&name)
        .map(|account| &**account)
        .ok_or_else(|| EditError::Refused(format!("there is no account {name}")))
}

/// That the address is in a domain of ours, without detail, and nobody's.
fn check_free(settings: &Settings, address: &AddressText) -> Result<(), EditError> {
    let Some(domain) = settings.domains.domain.get(&address.domain) else {
        return Err(EditError::Refused(format!(
            "{address}: the domain {} is not ours; add it to the domains file",
            address.domain
        )));
    };
    if let Some(separator) = domain
        .separators
        .iter()
        .find(|s| address.localpart.as_str().contains(s.as_str()))
    {
        return Err(EditError::Refused(format!(
            "{address} has the separator {:?} of its domain in it",
            separator.as_str()
        )));
    }
    let holds = |account: &Account| {
        account
            .addresses
            .iter()
            .any(|held| same_address(settings, &held.address, address))
    };
    if let Some((name, _)) = settings.accounts.iter().find(|(_, account)| holds(account)) {
        return Err(EditError::Refused(format!(
            "{address} belongs to account {name} already"
        )));
    }
    let fold = |localpart| canonical_localpart(localpart, domain.localpart_case_sensitive);
    if domain
        .aliases
        .keys()
        .any(|alias| fold(alias.as_str()) == fold(address.localpart.as_str()))
    {
        return Err(EditError::Refused(format!("{address} is an alias already")));
    }
    Ok(())
}

/// That no file which somebody put there, and which is not loaded yet, has one of the addresses: with both no reload would succeed.
/// A file that cannot be read is its author's to correct.
fn check_free_on_disk(settings: &Settings, addresses: &[AccountAddress]) -> Result<(), EditError> {
    // Without the folder there is no file.
    let paths = account_paths(&settings.server.accounts_dir).unwrap_or_default();
    let new = |path: &&PathBuf| !settings.fingerprints.contains_key(*path);
    for path in paths.iter().filter(new) {
        let Some(account) = read_text(path)
            .ok()
            .and_then(|text| read_account(&text).ok())
        else {
            continue;
        };
        for AccountAddress { address, .. } in addresses {
            let same = |held: &AccountAddress| same_address(settings, &held.address, address);
            if account.addresses.iter().any(same) {
                return Err(EditError::Refused(format!(
                    "{address} is in {} already, which is not loaded yet; `ringmail reload` loads it",
                    path.display()
                )));
            }
        }
    }
    Ok(())
}

fn check_no_member(settings: &Settings, address: &AddressText) -> Result<(), EditError> {
    for (name, domain) in &settings.domains.domain {
        for (localpart, alias) in &domain.aliases {
            if alias
                .members
                .iter()
                .any(|member| same_address(settings, member, address))
            {
                return Err(EditError::Refused(format!(
                    "{address} is a member of the alias {localpart}@{name}; change the domains file and run `ringmail reload` first"
                )));
            }
        }
    }
    Ok(())
}

/// As what the domains file names the account.
fn user_of_account(settings: &Settings, name: AccountName) -> Option<String> {
    if settings
        .domains
        .postmaster
        .as_ref()
        .is_some_and(|p| p.account == Some(name))
    {
        return Some("the postmaster of this host".to_owned());
    }
    settings
        .domains
        .domain
        .iter()
        .find_map(
            |(domain_name, domain)| match (domain.catchall, domain.postmaster) {
                (Some(catchall), _) if catchall == name => {
                    Some(format!("the catchall of {domain_name}"))
                }
                (_, Some(postmaster)) if postmaster == name => {
                    Some(format!("the postmaster of {domain_name}"))
                }
                _ => None,
            },
        )
}

fn same_address(settings: &Settings, a: &AddressText, b: &AddressText) -> bool {
    let case_sensitive = settings
        .domains
        .domain
        .get(&a.domain)
        .is_some_and(|d| d.localpart_case_sensitive);
    a.domain == b.domain
        && canonical_localpart(a.localpart.as_str(), case_sensitive)
            == canonical_localpart(b.localpart.as_str(), case_sensitive)
}

fn account_path(settings: &Settings, name: AccountName) -> PathBuf {
    settings.server.accounts_dir.join(format!("{name}.toml"))
}

fn address_value(held: &AccountAddress) -> Value {
    if held.mailbox == MailboxName::inbox() {
        return Value::from(held.address.to_string());
    }
    let mut table = InlineTable::new();
    table.insert("address", held.address.to_string().into());
    table.insert("mailbox", held.mailbox.as_str().into());
    Value::InlineTable(table)
}

fn address_table(held: &AccountAddress) -> Table {
    let mut table = Table::new();
    table["address"] = toml_edit::value(held.address.to_string());
    if held.mailbox != MailboxName::inbox() {
        table["mailbox"] = toml_edit::value(held.mailbox.as_str());
    }
    table
}

fn drop_table(tables: &mut ArrayOfTables, at: usize) {
    tables.remove(at);
}

fn disk(path: &Path, source: io::Error) -> EditError {
    EditError::Disk {
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
#[path = "edit_tests.rs"]
mod tests;

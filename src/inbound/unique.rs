//! Whose mail gets a reverse-path of its own for each recipient. Called for what our own users submit; the reverse-path is one they may use.

use crate::live::Live;
use crate::queue::from_id;
use crate::queue::rows::UniqueMailFrom;
use crate::settings::AccountName;
use crate::settings::names::AddressText;

/// Where the account asks for it, for the address with which it logged in, and reports to the reverse-path come to it. One that says something
/// behind the separator stays as it is.
pub fn unique_mail_from(
    live: &Live,
    (account, login): (AccountName, &str),
    (localpart, domain): (&str, &str),
) -> Option<UniqueMailFrom> {
    let wanted = &live.settings.accounts.get(&account)?.unique_mail_from;
    if wanted.is_empty() {
        return None;
    }
    let directory = &live.directory;
    let login = directory.login_name(login);
    let is_this = |address: &AddressText| directory.login_name(&address.to_string()) == login;
    if !wanted.iter().any(is_this) {
        return None;
    }
    let separator = directory.unique_separator(account, localpart, domain)?;
    match localpart.find(separator).filter(|at| *at > 0) {
        Some(at) => (localpart.len() > at + separator.len()).then_some(UniqueMailFrom::Own),
        None => from_id::has_room(localpart, separator).then(|| UniqueMailFrom::FromId {
            separator: separator.to_string(),
        }),
    }
}

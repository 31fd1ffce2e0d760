//! Who may get mail through this door, decided at RCPT; who may send, decided at MAIL and at the end of the message.

use smtp::{Address, ForwardPath, Host, Reply, ReversePath};

use crate::directory::{Destination, MaySend, Reason, Resolution};
use crate::inbound::Recipient;
use crate::live::Live;
use crate::settings::{AccountName, Post};

/// What one RCPT leads to.
#[derive(Debug, PartialEq, Eq)]
pub enum Target {
    /// Accounts of ours, without those that have it already. For an alias only members may post to: its address.
    Local(Vec<Recipient>, Option<String>),
    /// Somewhere else; only our own users get that far.
    Remote(String),
}

/// Decides about a recipient. `submitter`: the account that is logged in, on submission.
pub fn resolve(
    live: &Live,
    path: &ForwardPath,
    submitter: Option<AccountName>,
) -> Result<Target, Reply> {
    let (localpart, domain) = match path {
        // RFC 5321 4.5.1: postmaster without a domain is always accepted.
        ForwardPath::Postmaster => ("postmaster", ""),
        ForwardPath::Address(address) => match &address.host {
            Host::Domain(domain) => (address.localpart.as_str(), domain.as_str()),
            Host::Literal(_) if submitter.is_some() => {
                return Ok(Target::Remote(address.to_string()));
            }
            Host::Literal(_) => return Err(Reply::literal_not_accepted()),
        },
    };
    match live.directory.resolve(localpart, domain) {
        // Of our own users: elsewhere, as it would be in earnest.
        Resolution::Account(Destination {
            reason: Reason::Everything,
            ..
        }) if submitter.is_some() => Ok(Target::Remote(bare(path))),
        Resolution::Account(found) => Ok(Target::Local(
            vec![Recipient {
                account: found.account.as_str().to_string(),
                mailbox: found.mailbox.to_string(),
                // Delivered-To names the address that was asked for, detail included (RFC 9228).
                address: bare(path),
            }],
            None,
        )),
        Resolution::Alias(alias) => {
            let members = alias.members.iter().map(|m| Recipient {
                account: m.account.as_str().to_string(),
                mailbox: m.mailbox.as_str().to_string(),
                address: m.address.to_string(),
            });
            let closed = (alias.post == Post::Members).then(|| alias.address.to_string());
            Ok(Target::Local(members.collect(), closed))
        }
        Resolution::Disabled => Err(Reply::recipient_disabled()),
        Resolution::Unknown => Err(Reply::no_such_user()),
        Resolution::NotLocal => match (submitter, path) {
            (Some(_), ForwardPath::Address(address)) => Ok(Target::Remote(address.to_string())),
            // RFC 5321 3.6.1: no relaying for strangers.
            _ => Err(Reply::domain_not_local()),
        },
    }
}

/// A path without its brackets.
fn bare(path: &ForwardPath) -> String {
    let text = path.to_string();
    text.trim_start_matches('<')
        .trim_end_matches('>')
        .to_string()
}

/// Whether a reverse-path may be used by the account that is logged in. The null path may.
pub fn check_reverse_path(
    live: &Live,
    account: AccountName,
    path: &ReversePath,
) -> Result<(), Reply> {
    match path {
        ReversePath::Null => Ok(()),
        ReversePath::Address(Address {
            localpart,
            host: Host::Domain(domain),
        }) => check_sender(live, account, localpart.as_str(), domain.as_str()),
        ReversePath::Address(_) => Err(Reply::sender_not_allowed()),
    }
}

/// Whether an address in From may be used by the account.
pub fn check_sender(
    live: &Live,
    account: AccountName,
    localpart: &str,
    domain: &str,
) -> Result<(), Reply> {
    match live.directory.may_send_as(account, localpart, domain) {
        MaySend::Yes => Ok(()),
        MaySend::No => Err(Reply::sender_not_allowed()),
        MaySend::Disabled => Err(Reply::new(
            451,
            (4, 3, 0),
            "the sender's domain is disabled here",
        )),
    }
}

/// Whether an author may post to an alias that is for members (or the alias itself, if it lets them).
pub fn may_post(live: &Live, alias: &str, localpart: &str, domain: &str) -> bool {
    let Some((alias_localpart, alias_domain)) = alias.rsplit_once('@') else {
        return false;
    };
    let Resolution::Alias(entry) = live.directory.resolve(alias_localpart, alias_domain) else {
        return false;
    };
    match live.directory.resolve(localpart, domain) {
        Resolution::Account(found) => entry.has_member(found.account),
        Resolution::Alias(author) => entry.allow_from && author.address == entry.address,
        _ => false,
    }
}

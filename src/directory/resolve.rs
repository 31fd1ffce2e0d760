//! The maps, and the order in which the rules are tried. Pure; a lookup allocates only for addresses that are not yet in canonical form.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use super::alias::{AliasEntry, Member};
use crate::settings::names::{AddressText, canonical_domain, canonical_localpart};
use crate::settings::{AccountName, Alias, Domain, MailboxName, Settings};

/// All addresses of this server, prepared for lookups. Built from the settings at start and at each reload, then immutable.
#[derive(Clone, Debug, Default)]
pub struct Directory {
    domains: HashMap<Box<str>, DomainEntry>,
    /// Names of this host: its own, and those of its listeners for SMTP.
    hosts: HashSet<Box<str>>,
    postmaster: Option<Place>,
    everything_to: Option<Place>,
}

#[derive(Clone, Debug, Default)]
struct DomainEntry {
    disabled: bool,
    case_sensitive: bool,
    separators: Vec<Box<str>>,
    catchall: Option<Place>,
    postmaster: Option<Place>,
    localparts: HashMap<Box<str>, Entry>,
}

#[derive(Clone, Debug)]
enum Entry {
    Account(Place),
    Alias(Box<AliasEntry>),
}

#[derive(Clone, Debug)]
struct Place {
    account: AccountName,
    mailbox: MailboxName,
    address: Box<str>,
}

/// What an address leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resolution<'d> {
    /// An account.
    Account(Destination<'d>),
    /// An alias.
    Alias(&'d AliasEntry),
    /// A domain of ours, but nobody there. RFC 5321 4.2.3: 550, with 5.1.1.
    Unknown,
    /// Not a domain of ours.
    NotLocal,
    /// A domain of ours that is switched off: later, perhaps.
    Disabled,
}

/// An account that an address leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Destination<'d> {
    /// The account.
    pub account: AccountName,
    /// The mailbox into which its mail goes.
    pub mailbox: &'d str,
    /// The address in the settings that led here, without detail; empty when no single address did (catchall, postmaster).
    pub address: &'d str,
    /// By which rule.
    pub reason: Reason,
}

/// The rule by which an address led to an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It is an address of the account, a detail after a separator dropped.
    Address,
    /// It is a postmaster's.
    Postmaster,
    /// Nobody has it, and the domain has a catchall.
    Catchall,
    /// Nobody has it, and one account gets everything (`localserve`).
    Everything,
}

/// Whether an account may have an address as its From or reverse-path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MaySend {
    /// The address is its own.
    Yes,
    /// The address is not its own.
    No,
    /// Its domain is switched off: later, perhaps.
    Disabled,
}

impl Directory {
    /// Prepares the lookups. The settings have been checked: what does not fit together in them leads nowhere.
    pub fn new(settings: &Settings) -> Self {
        let smtp = settings
            .server
            .listener
            .iter()
            .filter(|l| l.smtp.as_ref().is_some_and(|s| s.enabled));
        let listener_hosts = smtp.filter_map(|l| l.hostname.as_ref());
        let host_postmaster = settings.domains.postmaster.as_ref();
        let mut directory = Self {
            domains: settings
                .domains
                .domain
                .iter()
                .map(|(name, domain)| (name.as_str().into(), DomainEntry::new(domain)))
                .collect(),
            hosts: settings
                .server
                .hostname
                .iter()
                .chain(listener_hosts)
                .map(|name| name.as_str().into())
                .collect(),
            postmaster: host_postmaster.and_then(|p| {
                Some(Place {
                    mailbox: p.mailbox.clone(),
                    ..Place::inbox(p.account?)
                })
            }),
            everything_to: settings.everything_to.map(Place::inbox),
        };
        for (name, account) in &settings.accounts {
            for held in &account.addresses {
                directory.add_address(*name, &held.address, held.mailbox.clone());
            }
        }
        for (name, domain) in &settings.domains.domain {
            for (localpart, alias) in &domain.aliases {
                directory.add_alias(name.as_str(), localpart.as_str(), alias);
            }
        }
        directory
    }

    fn add_address(&mut self, account: AccountName, address: &AddressText, mailbox: MailboxName) {
        if let Some(domain) = self.domains.get_mut(address.domain.as_str()) {
            let localpart = canonical_localpart(address.localpart.as_str(), domain.case_sensitive);
            let place = Place {
                account,
                mailbox,
                address: address.to_string().into(),
            };
            domain
                .localparts
                .insert(localpart.into(), Entry::Account(place));
        }
    }

    fn add_alias(&mut self, domain_name: &str, localpart: &str, alias: &Alias) {
        let entry = AliasEntry {
            address: format!("{localpart}@{domain_name}").into(),
            members: alias
                .members
                .iter()
                .filter_map(|member| self.member(member))
                .collect(),
            post: alias.post,
            list_members: alias.list_members,
            allow_from: alias.allow_from,
        };
        if let Some(domain) = self.domains.get_mut(domain_name) {
            let localpart = canonical_localpart(localpart, domain.case_sensitive);
            domain
                .localparts
                .insert(localpart.into(), Entry::Alias(Box::new(entry)));
        }
    }

    fn member(&self, address: &AddressText) -> Option<Member> {
        let domain = self.domains.get(address.domain.as_str())?;
        match domain.localparts.get(&*canonical_localpart(
            address.localpart.as_str(),
            domain.case_sensitive,
        ))? {
            Entry::Account(Place {
                account,
                mailbox,
                address,
            }) => Some(Member {
                account: *account,
                mailbox: mailbox.clone(),
                address: address.clone(),
            }),
            Entry::Alias(_) => None,
        }
    }

    /// What an address leads to. The localpart is unquoted; an empty domain means `<postmaster>` without one.
    ///
    /// The order: the host's postmaster; the domain; the address or alias with case folded and detail dropped; the domain's own
    /// postmaster; its catchall; the host's postmaster for the domain.
    pub fn resolve(&self, localpart: &str, domain: &str) -> Resolution<'_> {
        // RFC 5321 4.5.1: postmaster in any case; 2.3.5: also without a domain.
        let to_postmaster = localpart.eq_ignore_ascii_case(POSTMASTER);
        let name = canonical_domain(domain);
        let to_host = domain.is_empty()
            || name
                .as_ref()
                .is_some_and(|name| self.hosts.contains(&**name));
        if to_postmaster
            && to_host
            && let Some(place) = &self.postmaster
        {
            return place.found(Reason::Postmaster);
        }
        let Some(entry) = name.and_then(|name| self.domains.get(&*name)) else {
            return self.otherwise(Resolution::NotLocal);
        };
        if entry.disabled {
            return Resolution::Disabled;
        }
        match entry.exact(localpart) {
            Some(Entry::Account(place)) => return place.found(Reason::Address),
            Some(Entry::Alias(alias)) => return Resolution::Alias(alias),
            None => (),
        }
        // A postmaster that the domain names comes before its catchall: it was named for just this. RFC 5321 4.5.1: there is always one.
        let own_postmaster = entry.postmaster.as_ref().filter(|_| to_postmaster);
        let catchall = entry.catchall.as_ref();
        let host_postmaster = self.postmaster.as_ref().filter(|_| to_postmaster);
        match (own_postmaster, catchall, host_postmaster) {
            (Some(place), _, _) => place.found(Reason::Postmaster),
            (None, Some(place), _) => place.found(Reason::Catchall),
            (None, None, Some(place)) => place.found(Reason::Postmaster),
            (None, None, None) => self.otherwise(Resolution::Unknown),
        }
    }

    fn otherwise(&self, nobody: Resolution<'static>) -> Resolution<'_> {
        self.everything_to
            .as_ref()
            .map_or(nobody, |place| place.found(Reason::Everything))
    }

    /// The account that logs in with an address: one of its own, in any case the domain allows, with any detail. Aliases and catchalls
    /// name nobody. A disabled domain does not hinder a login.
    pub fn login(&self, address: &str) -> Option<AccountName> {
        let (localpart, domain) = address.rsplit_once('@')?;
        let entry = self.domains.get(&*canonical_domain(domain)?)?;
        match entry.exact(localpart)? {
            Entry::Account(place) => Some(place.account),
            Entry::Alias(_) => None,
        }
    }

    /// An address in the one form that stands for all its spellings, whether somebody has it or not.
    pub fn login_name(&self, address: &str) -> String {
        let Some((localpart, domain)) = address.rsplit_once('@') else {
            return canonical_localpart(address, false).into_owned();
        };
        let name = canonical_domain(domain).unwrap_or(Cow::Borrowed(domain));
        match self.domains.get(&*name) {
            Some(entry) => format!("{}@{name}", entry.canonical(localpart)),
            None => format!("{}@{name}", canonical_localpart(localpart, false)),
        }
    }

    /// Whether an account may have the address as its From or reverse-path: when it receives mail there, or when the address is an
    /// alias that lets its members.
    pub fn may_send_as(&self, account: AccountName, localpart: &str, domain: &str) -> MaySend {
        let own = match self.resolve(localpart, domain) {
            Resolution::Account(destination) => destination.account == account,
            Resolution::Alias(alias) => alias.allow_from && alias.has_member(account),
            Resolution::Disabled => return MaySend::Disabled,
            Resolution::Unknown | Resolution::NotLocal => false,
        };
        if own { MaySend::Yes } else { MaySend::No }
    }

    /// The first separator of an address's domain, if mail to any detail behind it comes to the account.
    pub fn unique_separator(
        &self,
        account: AccountName,
        localpart: &str,
        domain: &str,
    ) -> Option<&str> {
        let found = match self.resolve(localpart, domain) {
            Resolution::Account(found) => found,
            _ => return None,
        };
        // A postmaster's localpart is told apart before a detail is dropped.
        let is_own =
            found.account == account && matches!(found.reason, Reason::Address | Reason::Catchall);
        let entry = self.domains.get(&*canonical_domain(domain)?)?;
        entry.separators.first().filter(|_| is_own).map(|s| &**s)
    }

    /// Localpart and detail of an address of ours, divided by the first separator of its domain.
    pub fn divided<'l>(&self, localpart: &'l str, domain: &str) -> Option<(&'l str, &'l str)> {
        let entry = self.domains.get(&*canonical_domain(domain)?)?;
        let separator = entry.separators.first()?;
        let at = localpart.find(&**separator).filter(|at| *at > 0)?;
        Some((&localpart[..at], &localpart[at + separator.len()..]))
    }

    /// Whether the domain is one of ours, disabled or not.
    pub fn is_local(&self, domain: &str) -> bool {
        canonical_domain(domain).is_some_and(|name| self.domains.contains_key(&*name))
    }
}

impl DomainEntry {
    fn new(domain: &Domain) -> Self {
        Self {
            disabled: domain.disabled,
            case_sensitive: domain.localpart_case_sensitive,
            separators: domain
                .separators
                .iter()
                .map(|s| s.as_str().into())
                .collect(),
            catchall: domain.catchall.map(Place::inbox),
            postmaster: domain.postmaster.map(Place::inbox),
            localparts: HashMap::new(),
        }
    }

    /// The address or alias of a localpart.
    fn exact(&self, localpart: &str) -> Option<&Entry> {
        self.localparts.get(&*self.canonical(localpart))
    }

    /// Case folded and detail dropped.
    fn canonical(&self, localpart: &str) -> String {
        let canonical = if localpart.eq_ignore_ascii_case(POSTMASTER) {
            Cow::Borrowed(POSTMASTER)
        } else {
            canonical_localpart(localpart, self.case_sensitive)
        };
        self.without_detail(&canonical).to_string()
    }

    /// Drops, for each separator in order, what begins with it; a separator at the very beginning divides nothing.
    fn without_detail<'l>(&self, mut localpart: &'l str) -> &'l str {
        for separator in &self.separators {
            if let Some(at) = localpart.find(&**separator).filter(|at| *at > 0) {
                localpart = &localpart[..at];
            }
        }
        localpart
    }
}

impl Place {
    fn inbox(account: AccountName) -> Self {
        Self {
            account,
            mailbox: MailboxName::inbox(),
            address: "".into(),
        }
    }

    fn found(&self, reason: Reason) -> Resolution<'_> {
        Resolution::Account(Destination {
            account: self.account,
            mailbox: self.mailbox.as_str(),
            address: &self.address,
            reason,
        })
    }
}

/// RFC 5321 4.5.1: the reserved localpart.
const POSTMASTER: &str = "postmaster";

#[cfg(test)]
#[path = "resolve_tests.rs"]
mod tests;

//! Looks at all files together and finds every mistake before anything starts. Pure: texts in, settings or mistakes out.
//! RFC 5321 4.5.1 (postmaster is always reachable). The rules of the static file are in `check/`.

mod dkim;
mod oauth;
mod outbound;
mod pool;
mod server;

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;

use super::account::Account;
use super::account_name::AccountName;
use super::domains::{Domain, Domains};
use super::model::Settings;
use super::names::{AddressText, canonical_localpart};
use super::parse::{locate, parse};
use super::problem::{PROBLEMS_SHOWN_MAX, Problem, Problems, Unfinished};
use super::server::Server;
use super::shaping::Shaping;
use super::text::{Fingerprint, Text, Texts};

/// Reads all texts and checks them together.
pub fn parse_and_check(texts: &Texts) -> Result<Settings, Problems> {
    parse_and_check_unfinished(texts)?.finished()
}

/// The same for those who add accounts: that some are missing is no error yet.
pub fn parse_and_check_unfinished(texts: &Texts) -> Result<Unfinished, Problems> {
    let mut problems = Vec::new();
    let server: Option<Server> = parse(&texts.server, &mut problems);
    let domains: Option<Domains> = parse(&texts.domains, &mut problems);
    let (accounts, accounts_whole) = parse_accounts(&texts.accounts, &mut problems);
    let mut settings = Settings {
        accounts,
        ..Settings::default()
    };
    settings.shaping = Arc::new(Shaping::built_in());
    settings.server = server.clone().unwrap_or_default();
    settings.domains = domains.clone().unwrap_or_default();
    let mut check = Check {
        texts,
        settings: &settings,
        accounts_whole,
        problems,
    };
    if server.is_some() {
        check.server();
    }
    if domains.is_some() {
        check.domains();
        check.accounts();
    }
    let problems = check.problems;
    if !problems.iter().all(|p| p.awaits_account) {
        return Err(Problems(problems));
    }
    settings.server.resolve_paths(&texts.server.path);
    settings.domains.resolve_paths(&texts.domains.path);
    settings.fingerprints = [&texts.server, &texts.domains]
        .into_iter()
        .chain(&texts.accounts)
        .map(|t| (t.path.clone(), Fingerprint::of(&t.content)))
        .collect();
    Ok(Unfinished {
        settings,
        missing: problems,
    })
}

/// The accounts by name, and whether every file could be read as a whole.
fn parse_accounts(
    texts: &[Text],
    problems: &mut Vec<Problem>,
) -> (BTreeMap<AccountName, Arc<Account>>, bool) {
    let before = problems.len();
    let mut accounts = BTreeMap::new();
    for text in texts {
        let name = match account_name(&text.path) {
            Ok(name) => name,
            Err(problem) => {
                problems.push(problem);
                continue;
            }
        };
        let account: Account = parse(text, problems).unwrap_or_default();
        accounts.insert(name, Arc::new(account));
    }
    (accounts, problems.len() == before)
}

/// The account whose file this is.
pub(super) fn account_name(path: &Path) -> Result<AccountName, Problem> {
    let stem = path
        .file_stem()
        .and_then(|stem| stem.to_str())
        .unwrap_or("");
    stem.parse().map_err(|e| {
        Problem::of_file(path, format!("{e}"))
            .hint("the file's name, without .toml, is the account's name")
    })
}

struct Check<'a> {
    texts: &'a Texts,
    settings: &'a Settings,
    accounts_whole: bool,
    problems: Vec<Problem>,
}

/// Who holds an address, in words for a message.
type Holders = HashMap<(String, String), String>;

impl Check<'_> {
    fn report(&mut self, text: &Text, path: &[&str], message: String, hint: &str) {
        let problem = self.problem(text, path, message, hint);
        self.problems.push(problem);
    }

    fn problem(&self, text: &Text, path: &[&str], message: String, hint: &str) -> Problem {
        let path: Vec<String> = path.iter().map(|step| (*step).to_owned()).collect();
        // Finding a place parses the file again: done for as many as are shown.
        let shown = self.problems.len() < PROBLEMS_SHOWN_MAX;
        let place = shown.then(|| locate(&text.content, &path).0).flatten();
        let hint = (!hint.is_empty()).then(|| hint.to_owned());
        Problem {
            file: text.path.clone(),
            place,
            message,
            hint,
            awaits_account: false,
        }
    }

    /// Reports a field that is not there, unless it is there and was wrong, which has been said.
    fn missing(&mut self, text: &Text, path: &[&str], hint: &str) {
        let steps: Vec<String> = path.iter().map(|step| (*step).to_owned()).collect();
        if !locate(&text.content, &steps).1 {
            self.report(
                text,
                path,
                format!("missing field {:?}", path.last().unwrap_or(&"")),
                hint,
            );
        }
    }

    fn domains(&mut self) {
        let (domains, text) = (&self.settings.domains, &self.texts.domains);
        // RFC 5321 4.5.1: postmaster is supported wherever mail is received.
        match domains.postmaster.as_ref().map(|p| p.account) {
            None => self.missing(
                text,
                &["postmaster"],
                "[postmaster] with account = \"NAME\" says who gets mail to postmaster",
            ),
            Some(None) => self.missing(text, &["postmaster", "account"], "the name of an account"),
            Some(Some(account)) => self.known_account(&["postmaster", "account"], account),
        }
        for (name, domain) in &domains.domain {
            for (field, account) in [
                ("catchall", domain.catchall),
                ("postmaster", domain.postmaster),
            ] {
                if let Some(account) = account {
                    self.known_account(&["domain", name.as_str(), field], account);
                }
            }
            self.dkim(name.as_str(), domain);
        }
    }

    fn known_account(&mut self, path: &[&str], account: AccountName) {
        if self.settings.accounts.contains_key(&account) {
            return;
        }
        let names: Vec<&str> = self
            .settings
            .accounts
            .keys()
            .map(AccountName::as_str)
            .collect();
        let hint = match super::parse::nearest(account.as_str(), &names) {
            Some(near) => format!("did you mean {near}?"),
            None => format!(
                "ringmail account add {account} ADDRESS adds it, as a file {account}.toml in accounts_dir"
            ),
        };
        let message = format!("there is no account {:?}", account.as_str());
        let problem = self.problem(&self.texts.domains, path, message, &hint);
        self.problems.push(problem.awaits_account());
    }

    fn accounts(&mut self) {
        let mut holders = Holders::new();
        let by_name: HashMap<AccountName, &Text> = self
            .texts
            .accounts
            .iter()
            .filter_map(|t| Some((account_name(&t.path).ok()?, t)))
            .collect();
        for (name, account) in &self.settings.accounts {
            let Some(text) = by_name.get(name) else {
                continue;
            };
            if account.addresses.is_empty() {
                self.missing(text, &["addresses"], "without an address nobody can log in or get mail: addresses = [\"you@example.org\"]");
            }
            for (at, held) in account.addresses.iter().enumerate() {
                self.account_address(text, *name, (at, &held.address), &mut holders);
            }
            for (at, address) in account.unique_mail_from.iter().enumerate() {
                self.unique_mail_from(text, account, (at, address));
            }
        }
        let addresses = holders.clone();
        for (name, domain) in &self.settings.domains.domain {
            self.aliases(name.as_str(), domain, &addresses, &mut holders);
        }
    }

    fn account_address(
        &mut self,
        text: &Text,
        name: AccountName,
        (at, address): (usize, &AddressText),
        holders: &mut Holders,
    ) {
        let at = at.to_string();
        let path = ["addresses", at.as_str()];
        let Some(domain) = self.settings.domains.domain.get(&address.domain) else {
            let hint = format!(
                "[domain.{:?}] in the domains file makes it ours",
                address.domain.as_str()
            );
            self.report(
                text,
                &path,
                format!("{address}: the domain {} is not ours", address.domain),
                &hint,
            );
            return;
        };
        if let Some(separator) = held_separator(domain, address.localpart.as_str()) {
            let message = format!("{address} has the separator {separator:?} of its domain in it");
            self.report(
                text,
                &path,
                message,
                "the account gets mail to every detail after the separator anyway",
            );
        }
        let key = canonical(domain, address);
        if let Some(holder) = holders.get(&key) {
            let message = format!("{address} belongs to {holder} already");
            self.report(
                text,
                &path,
                message,
                "an address belongs to one account; an alias leads to several",
            );
        } else {
            holders.insert(key, format!("account {name}"));
        }
    }

    /// Reports must come back to the account: behind a separator, to an address of its own.
    fn unique_mail_from(
        &mut self,
        text: &Text,
        account: &Account,
        (at, address): (usize, &AddressText),
    ) {
        let at = at.to_string();
        let path = ["unique_mail_from", at.as_str()];
        let Some(domain) = self.settings.domains.domain.get(&address.domain) else {
            let message = format!("{address}: the domain {} is not ours", address.domain);
            return self.report(text, &path, message, NAMES_OWN);
        };
        let key = canonical(domain, address);
        let is_own =
            |held: &AddressText| held.domain == address.domain && canonical(domain, held) == key;
        if !account.addresses.iter().any(|held| is_own(&held.address)) {
            let message = format!("{address} is not an address of the account");
            self.report(text, &path, message, NAMES_OWN);
        } else if domain.separators.is_empty() {
            let message = format!("{address}: its domain has no separator");
            let hint = format!(
                "separators = [\"+\"] in [domain.{:?}] of the domains file: what tells messages apart stands behind it",
                address.domain.as_str()
            );
            self.report(text, &path, message, &hint);
        } else {
            let kept = account.keep_retired_secs;
            let kept = kept.unwrap_or(self.settings.server.queue.keep_retired_secs);
            if kept.duration().as_secs() == 0 {
                let message = format!(
                    "{address}: reports would find nothing, for the account keeps no recipients that are over"
                );
                self.report(text, &path, message, KEEP);
            }
        }
    }

    fn aliases(&mut self, name: &str, domain: &Domain, addresses: &Holders, holders: &mut Holders) {
        let text = &self.texts.domains;
        for (localpart, alias) in &domain.aliases {
            let path = ["domain", name, "aliases", localpart.as_str()];
            if let Some(separator) = held_separator(domain, localpart.as_str()) {
                self.report(
                    text,
                    &path,
                    format!("the alias has the separator {separator:?} of its domain in it"),
                    "",
                );
            }
            let key = (
                canonical_localpart(localpart.as_str(), domain.localpart_case_sensitive)
                    .into_owned(),
                name.to_owned(),
            );
            match holders.get(&key) {
                Some(holder) => {
                    let message = format!("{localpart}@{name} belongs to {holder} already");
                    self.report(text, &path, message, "an alias needs an address of its own");
                }
                None => drop(holders.insert(key, "another alias".to_owned())),
            }
            if alias.members.is_empty() {
                self.missing(
                    text,
                    &[&path[..], &["members"]].concat(),
                    "an alias has at least one member",
                );
            }
            let mut seen = Vec::new();
            for (at, member) in alias.members.iter().enumerate() {
                let at = at.to_string();
                let path = [&path[..], &["members", at.as_str()]].concat();
                let key = self
                    .settings
                    .domains
                    .domain
                    .get(&member.domain)
                    .map(|domain| canonical(domain, member));
                if !key.as_ref().is_some_and(|key| addresses.contains_key(key))
                    && self.accounts_whole
                {
                    let message = format!("{member} is not an address of any account");
                    let hint =
                        "members are addresses of accounts here, not aliases and not elsewhere";
                    let problem = self.problem(text, &path, message, hint);
                    // An address elsewhere is one no account can have.
                    let problem = match key {
                        Some(_) => problem.awaits_account(),
                        None => problem,
                    };
                    self.problems.push(problem);
                }
                if seen.contains(&key) && key.is_some() {
                    self.report(text, &path, format!("{member} is a member twice"), "");
                }
                seen.push(key);
            }
        }
    }
}

const KEEP: &str =
    "keep_retired_secs = \"7d\" here, or in [queue] of the static file, keeps them for a week";
const NAMES_OWN: &str =
    "unique_mail_from names addresses with which the account logs in, out of its addresses";

/// Localpart and domain in the form in which addresses are compared.
fn canonical(domain: &Domain, address: &AddressText) -> (String, String) {
    let localpart =
        canonical_localpart(address.localpart.as_str(), domain.localpart_case_sensitive);
    (localpart.into_owned(), address.domain.as_str().to_owned())
}

fn held_separator<'d>(domain: &'d Domain, localpart: &str) -> Option<&'d str> {
    domain
        .separators
        .iter()
        .map(|s| s.as_str())
        .find(|separator| localpart.contains(separator))
}

#[cfg(test)]
#[path = "check/tests.rs"]
mod tests;

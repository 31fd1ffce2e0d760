//! The domains file: which domains are ours, and what their localparts mean.
//! RFC 5321 2.4 (case of localparts), 4.5.1 (postmaster), 3.9.1 (aliases); RFC 5233 (subaddresses, the separators).

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::account_name::AccountName;
use super::dkim::{DkimSelector, SelectorName};
use super::names::{AddressText, DomainName, LocalpartText, MailboxName};

/// The domains file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Domains {
    /// Who gets mail to `postmaster` of this host, and of each domain that names no other.
    pub postmaster: Option<Postmaster>,
    /// Our domains, by name.
    #[serde(deserialize_with = "super::parse::unique_map")]
    pub domain: BTreeMap<DomainName, Domain>,
}

impl Domains {
    /// Makes each relative path relative to the directory of the domains file.
    pub(super) fn resolve_paths(&mut self, domains_file: &Path) {
        let base = domains_file.parent().unwrap_or(Path::new(""));
        let selectors = self.domain.values_mut().flat_map(|d| d.dkim.values_mut());
        for selector in selectors.filter(|s| !s.key.as_os_str().is_empty()) {
            selector.key = base.join(&selector.key);
        }
    }
}

/// Where mail to `postmaster` goes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Postmaster {
    /// The account.
    pub account: Option<AccountName>,
    /// The mailbox in it.
    pub mailbox: MailboxName,
}

/// One of our domains.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Domain {
    /// Mail is deferred (450 4.2.1), submission too; logins go on.
    pub disabled: bool,
    /// For the operator's eyes.
    pub description: String,
    /// Whether `Anna` and `anna` differ.
    pub localpart_case_sensitive: bool,
    /// What divides a localpart from a detail that is dropped: `anna+lists` is `anna`. Tried in order.
    pub separators: Vec<Separator>,
    /// Account that receives mail to localparts nobody has.
    pub catchall: Option<AccountName>,
    /// Account that receives mail to `postmaster` here, instead of the host's.
    pub postmaster: Option<AccountName>,
    /// Localparts that stand for several addresses.
    #[serde(deserialize_with = "super::parse::unique_map")]
    pub aliases: BTreeMap<LocalpartText, Alias>,
    /// Keys that sign its mail, by selector.
    #[serde(deserialize_with = "super::parse::unique_map")]
    pub dkim: BTreeMap<SelectorName, DkimSelector>,
}

/// A localpart that stands for several addresses of ours.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Alias {
    /// Addresses of accounts here, at least one.
    pub members: Vec<AddressText>,
    /// Who may write to it.
    pub post: Post,
    /// Members may see each other.
    pub list_members: bool,
    /// Members may send with the alias as their From.
    pub allow_from: bool,
}

/// Who may write to an alias.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Post {
    /// Anyone.
    Public,
    /// Its members.
    #[default]
    Members,
}

/// What divides a localpart from its detail: punctuation that an address may hold, one to four octets.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Separator(Box<str>);

impl Separator {
    /// The separator as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Separator {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let good = |b: u8| {
            b.is_ascii_punctuation()
                && !matches!(
                    b,
                    b'@' | b'"'
                        | b'\\'
                        | b'('
                        | b')'
                        | b'<'
                        | b'>'
                        | b'['
                        | b']'
                        | b':'
                        | b';'
                        | b','
                )
        };
        if (1..=4).contains(&text.len()) && text.bytes().all(good) {
            Ok(Self(text.into()))
        } else {
            Err(format!(
                "{text:?} is not a separator: one to four characters such as + - = # . _"
            ))
        }
    }
}

impl From<Separator> for String {
    fn from(separator: Separator) -> Self {
        separator.0.into()
    }
}

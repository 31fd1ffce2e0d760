//! One account's file, `accounts/NAME.toml`: its addresses and what is particular to it. No secret is in it.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, de};

use super::names::{AddressText, MailboxName};
use super::sending::Sending;
use super::server::InitialMailboxes;
use super::units::{Bytes, Secs};

/// One account.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Account {
    /// The addresses it receives at and may send from; the first is its own name for itself.
    pub addresses: Vec<AccountAddress>,
    /// Name of its owner.
    pub full_name: String,
    /// For the operator's eyes.
    pub description: String,
    /// When set, every login is refused with this text, after the password was found right. Mail keeps arriving.
    pub login_disabled: Option<LoginDisabled>,
    /// Octets all messages may have together, instead of the server's default; 0: no bound.
    pub quota_bytes: Option<Bytes>,
    /// Whether addresses that fail for good are put on its suppression list, instead of the server's default.
    pub suppress_on_failure: Option<bool>,
    /// How long recipients of its mail that are over are kept, instead of the server's default; 0: they are not.
    pub keep_retired_secs: Option<Secs>,
    /// How long webhooks of its own that are over are kept, instead of the server's default; 0: they are not.
    pub keep_webhooks_secs: Option<Secs>,
    /// Addresses of its own: what it submits when it has logged in with one of them gets a MAIL FROM of its own for each recipient.
    pub unique_mail_from: Vec<AddressText>,
    /// How much it may send, instead of what holds for all.
    pub sending: Sending,
    /// Mailboxes it begins with, instead of the server's default. Read once, when the account is first opened.
    pub initial_mailboxes: Option<InitialMailboxes>,
}

/// An address of an account. Written as text, or as a table when there is more to say.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct AccountAddress {
    /// The address, without a separator in its localpart.
    pub address: AddressText,
    /// Mailbox into which its mail goes.
    pub mailbox: MailboxName,
}

/// The text that refuses a login: printable ASCII, at most 256 octets, since it goes into an IMAP `NO`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct LoginDisabled(Box<str>);

impl LoginDisabled {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for LoginDisabled {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        // RFC 9051 9: resp-text holds no control characters; ASCII, since not every session has UTF8=ACCEPT.
        if text.is_empty()
            || text.len() > LOGIN_DISABLED_MAX
            || !text.bytes().all(|b| (b' '..=b'~').contains(&b))
        {
            return Err(
                "login_disabled is a text of 1 to 256 printable ASCII characters; leave the field out to allow logins",
            );
        }
        Ok(Self(text.into()))
    }
}

impl From<LoginDisabled> for String {
    fn from(text: LoginDisabled) -> Self {
        text.0.into()
    }
}

impl<'de> Deserialize<'de> for AccountAddress {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AddressVisitor)
    }
}

struct AddressVisitor;

impl<'de> de::Visitor<'de> for AddressVisitor {
    type Value = AccountAddress;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an address, or a table such as { address = \"sales@example.org\", mailbox = \"Sales\" }")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<AccountAddress, E> {
        Ok(AccountAddress {
            address: text.parse().map_err(E::custom)?,
            mailbox: MailboxName::inbox(),
        })
    }

    fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<AccountAddress, A::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Written {
            address: AddressText,
            #[serde(default)]
            mailbox: MailboxName,
        }
        let written = Written::deserialize(de::value::MapAccessDeserializer::new(map))?;
        Ok(AccountAddress {
            address: written.address,
            mailbox: written.mailbox,
        })
    }
}

/// Longest text of `login_disabled` in octets.
const LOGIN_DISABLED_MAX: usize = 256;

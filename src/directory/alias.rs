//! What an alias leads to, its members already resolved.

use crate::settings::{AccountName, MailboxName, Post};

/// An alias with its members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AliasEntry {
    /// The alias's own address.
    pub address: Box<str>,
    /// Its members, each account's address once.
    pub members: Vec<Member>,
    /// Who may write to it.
    pub post: Post,
    /// Members may see each other.
    pub list_members: bool,
    /// Members may send with the alias as their From.
    pub allow_from: bool,
}

/// A member of an alias.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Whose address it is.
    pub account: AccountName,
    /// Mailbox into which mail for that address goes.
    pub mailbox: MailboxName,
    /// The address.
    pub address: Box<str>,
}

impl AliasEntry {
    /// Whether the account has an address among the members.
    pub fn has_member(&self, account: AccountName) -> bool {
        self.members.iter().any(|member| member.account == account)
    }
}

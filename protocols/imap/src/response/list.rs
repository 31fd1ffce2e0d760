//! LIST and LSUB responses, RFC 9051 7.3.1, RFC 5258, RFC 6154.

use super::strings::{push_mailbox, push_quoted};
use crate::types::{NameSyntax, SpecialUse};

/// `mbx-list-oflag / mbx-list-sflag`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MailboxAttribute {
    /// `\NoInferiors`
    NoInferiors,
    /// `\NonExistent`
    NonExistent,
    /// `\Noselect`
    NoSelect,
    /// `\HasChildren`
    HasChildren,
    /// `\HasNoChildren`
    HasNoChildren,
    /// `\Marked`
    Marked,
    /// `\Unmarked`
    Unmarked,
    /// `\Subscribed`
    Subscribed,
    /// `\Remote`
    Remote,
    /// RFC 6154
    SpecialUse(SpecialUse),
}

impl MailboxAttribute {
    /// The attribute with its backslash.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoInferiors => "\\NoInferiors",
            Self::NonExistent => "\\NonExistent",
            Self::NoSelect => "\\Noselect",
            Self::HasChildren => "\\HasChildren",
            Self::HasNoChildren => "\\HasNoChildren",
            Self::Marked => "\\Marked",
            Self::Unmarked => "\\Unmarked",
            Self::Subscribed => "\\Subscribed",
            Self::Remote => "\\Remote",
            Self::SpecialUse(special_use) => special_use.as_str(),
        }
    }
}

/// One LIST or LSUB response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListItem<'a> {
    /// Attributes.
    pub attributes: &'a [MailboxAttribute],
    /// Hierarchy delimiter; `None` for a flat name.
    pub delimiter: Option<u8>,
    /// Name in UTF-8; empty for the root (RFC 9051 6.3.9: `LIST "" ""`).
    pub name: &'a str,
    /// RFC 5258 3.5 CHILDINFO: selection options that children meet, such as `SUBSCRIBED`.
    pub child_info: &'a [&'a str],
    /// RFC 9051 6.3.9.7 OLDNAME.
    pub old_name: Option<&'a str>,
}

impl ListItem<'_> {
    /// mailbox-list = "(" [mbx-list-flags] ")" SP (DQUOTE QUOTED-CHAR DQUOTE / nil) SP mailbox [SP mbox-list-extended]
    pub(super) fn write_to(&self, out: &mut Vec<u8>, syntax: NameSyntax) {
        out.push(b'(');
        for (index, attribute) in self.attributes.iter().enumerate() {
            if index > 0 {
                out.push(b' ');
            }
            out.extend_from_slice(attribute.as_str().as_bytes());
        }
        out.extend_from_slice(b") ");
        match self.delimiter {
            Some(delimiter) => push_quoted(out, &[delimiter]),
            None => out.extend_from_slice(b"NIL"),
        }
        out.push(b' ');
        push_mailbox(out, self.name, syntax);
        self.write_extended(out, syntax);
    }

    fn write_extended(&self, out: &mut Vec<u8>, syntax: NameSyntax) {
        if self.child_info.is_empty() && self.old_name.is_none() {
            return;
        }
        out.extend_from_slice(b" (");
        if !self.child_info.is_empty() {
            out.extend_from_slice(b"\"CHILDINFO\" (");
            for (index, option) in self.child_info.iter().enumerate() {
                if index > 0 {
                    out.push(b' ');
                }
                push_quoted(out, option.as_bytes());
            }
            out.push(b')');
        }
        if let Some(old_name) = self.old_name {
            if !self.child_info.is_empty() {
                out.push(b' ');
            }
            out.extend_from_slice(b"\"OLDNAME\" (");
            push_mailbox(out, old_name, syntax);
            out.push(b')');
        }
        out.push(b')');
    }
}

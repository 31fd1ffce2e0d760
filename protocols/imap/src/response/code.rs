//! Response codes, RFC 9051 7.1, with those of RFC 4315, 5464, 5465, 5466, 6154, 7162, 9585 and 9586.

use super::strings::push_number;
use crate::types::{ModSeq, NumberSet, SequenceNumber, SystemFlags, Uid, UidValidity};

/// `resp-text-code`
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Code<'a> {
    /// Text that the user must see.
    Alert,
    /// CREATE or RENAME to a mailbox that exists.
    AlreadyExists,
    /// RFC 4315 3: the UIDs of appended messages, ascending.
    AppendUid(UidValidity, &'a NumberSet),
    /// Wrong credentials.
    AuthenticationFailed,
    /// Right credentials, wrong identity to act as.
    AuthorizationFailed,
    /// The charsets that SEARCH knows.
    BadCharset(&'a [&'a str]),
    /// RFC 5465 5: the events that NOTIFY knows.
    BadEvent(&'a [&'a str]),
    /// Never possible on this server.
    Cannot,
    /// The capabilities.
    Capability(&'a [&'a str]),
    /// The client does something it should not.
    ClientBug,
    /// The mailbox selected before is closed.
    Closed,
    /// RFC 4978: compression is on already.
    CompressionActive,
    /// An administrator can help.
    ContactAdmin,
    /// RFC 4315 3: UIDVALIDITY of the destination, source UIDs and their copies, both ascending and of one length.
    CopyUid(UidValidity, &'a NumberSet, &'a NumberSet),
    /// Stored data is damaged.
    Corruption,
    /// The password has expired.
    Expired,
    /// A message that was asked for is gone.
    ExpungeIssued,
    /// DELETE of a mailbox with children.
    HasChildren,
    /// RFC 7162 3.1.2.1
    HighestModSeq(ModSeq),
    /// RFC 9585: tag, progress, goal.
    InProgress(Option<(&'a str, u64, Option<u64>)>),
    /// In use by another.
    InUse,
    /// A limit of the server.
    Limit,
    /// RFC 5464: size of the largest entry left out.
    MetadataLongEntries(u64),
    /// RFC 5464: largest size of an entry.
    MetadataMaxSize(u64),
    /// RFC 5464: no more entries.
    MetadataTooMany,
    /// RFC 7162 3.1.3: messages that STORE left alone.
    Modified(&'a NumberSet),
    /// RFC 7162 3.1.2.2
    NoModSeq,
    /// No such mailbox.
    NonExistent,
    /// Not permitted.
    NoPerm,
    /// The search result was not saved.
    NotSaved,
    /// RFC 5465 5.8: notifications stop.
    NotificationOverflow,
    /// The quota is used up.
    OverQuota,
    /// A message cannot be parsed.
    Parse,
    /// Flags that can be changed for good.
    PermanentFlags {
        /// System flags.
        system: SystemFlags,
        /// Keywords.
        keywords: &'a [&'a str],
        /// `\*`: new keywords can be made.
        new_keywords: bool,
    },
    /// Only over TLS.
    PrivacyRequired,
    /// The mailbox cannot be written.
    ReadOnly,
    /// The mailbox can be written.
    ReadWrite,
    /// Our own bug.
    ServerBug,
    /// RFC 7888 5, RFC 7889: too large.
    TooBig,
    /// CREATE would help.
    TryCreate,
    /// The next UID, as far as known.
    UidNext(Uid),
    /// RFC 4315 3
    UidNotSticky,
    /// RFC 9586: no sequence numbers here.
    UidRequired,
    /// The mailbox's UIDVALIDITY.
    UidValidity(UidValidity),
    /// For a while; try again.
    Unavailable,
    /// RFC 3516 4.3: unknown Content-Transfer-Encoding.
    UnknownCte,
    /// RFC 3501 7.1: the first message without `\Seen`.
    Unseen(SequenceNumber),
    /// RFC 6154 3: the special use cannot be given.
    UseAttr,
}

impl Code<'_> {
    /// Appends the code without its brackets.
    pub fn write_to(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.word().as_bytes());
        match self {
            Self::AppendUid(validity, uids) => {
                spaced_number(out, u64::from(validity.value()));
                spaced_set(out, uids);
            }
            Self::CopyUid(validity, source, copies) => {
                spaced_number(out, u64::from(validity.value()));
                spaced_set(out, source);
                spaced_set(out, copies);
            }
            Self::BadCharset(words) | Self::BadEvent(words) if !words.is_empty() => {
                out.extend_from_slice(b" (");
                out.extend_from_slice(words.join(" ").as_bytes());
                out.push(b')');
            }
            Self::Capability(capabilities) => {
                for capability in *capabilities {
                    out.push(b' ');
                    out.extend_from_slice(capability.as_bytes());
                }
            }
            Self::HighestModSeq(mod_seq) => spaced_number(out, mod_seq.value()),
            Self::InProgress(Some(progress)) => in_progress(out, *progress),
            Self::MetadataLongEntries(octets) | Self::MetadataMaxSize(octets) => {
                spaced_number(out, *octets)
            }
            Self::Modified(set) => spaced_set(out, set),
            Self::PermanentFlags {
                system,
                keywords,
                new_keywords,
            } => {
                out.push(b' ');
                let star = new_keywords.then_some("\\*");
                push_flags(out, *system, keywords.iter().copied().chain(star));
            }
            Self::UidNext(uid) => spaced_number(out, u64::from(uid.value())),
            Self::UidValidity(validity) => spaced_number(out, u64::from(validity.value())),
            Self::Unseen(number) => spaced_number(out, u64::from(number.value())),
            _ => {}
        }
    }

    const fn word(&self) -> &'static str {
        match self {
            Self::Alert => "ALERT",
            Self::AlreadyExists => "ALREADYEXISTS",
            Self::AppendUid(..) => "APPENDUID",
            Self::AuthenticationFailed => "AUTHENTICATIONFAILED",
            Self::AuthorizationFailed => "AUTHORIZATIONFAILED",
            Self::BadCharset(_) => "BADCHARSET",
            Self::BadEvent(_) => "BADEVENT",
            Self::Cannot => "CANNOT",
            Self::Capability(_) => "CAPABILITY",
            Self::ClientBug => "CLIENTBUG",
            Self::Closed => "CLOSED",
            Self::CompressionActive => "COMPRESSIONACTIVE",
            Self::ContactAdmin => "CONTACTADMIN",
            Self::CopyUid(..) => "COPYUID",
            Self::Corruption => "CORRUPTION",
            Self::Expired => "EXPIRED",
            Self::ExpungeIssued => "EXPUNGEISSUED",
            Self::HasChildren => "HASCHILDREN",
            Self::HighestModSeq(_) => "HIGHESTMODSEQ",
            Self::InProgress(_) => "INPROGRESS",
            Self::InUse => "INUSE",
            Self::Limit => "LIMIT",
            Self::MetadataLongEntries(_) => "METADATA LONGENTRIES",
            Self::MetadataMaxSize(_) => "METADATA MAXSIZE",
            Self::MetadataTooMany => "METADATA TOOMANY",
            Self::Modified(_) => "MODIFIED",
            Self::NoModSeq => "NOMODSEQ",
            Self::NonExistent => "NONEXISTENT",
            Self::NoPerm => "NOPERM",
            Self::NotSaved => "NOTSAVED",
            Self::NotificationOverflow => "NOTIFICATIONOVERFLOW",
            Self::OverQuota => "OVERQUOTA",
            Self::Parse => "PARSE",
            Self::PermanentFlags { .. } => "PERMANENTFLAGS",
            Self::PrivacyRequired => "PRIVACYREQUIRED",
            Self::ReadOnly => "READ-ONLY",
            Self::ReadWrite => "READ-WRITE",
            Self::ServerBug => "SERVERBUG",
            Self::TooBig => "TOOBIG",
            Self::TryCreate => "TRYCREATE",
            Self::UidNext(_) => "UIDNEXT",
            Self::UidNotSticky => "UIDNOTSTICKY",
            Self::UidRequired => "UIDREQUIRED",
            Self::UidValidity(_) => "UIDVALIDITY",
            Self::Unavailable => "UNAVAILABLE",
            Self::UnknownCte => "UNKNOWN-CTE",
            Self::Unseen(_) => "UNSEEN",
            Self::UseAttr => "USEATTR",
        }
    }
}

/// RFC 9585 4: `(tag progress goal)`. A tag with `]` would end the code: NIL stands for it.
fn in_progress(out: &mut Vec<u8>, (tag, progress, goal): (&str, u64, Option<u64>)) {
    out.extend_from_slice(b" (");
    if tag.contains(']') {
        out.extend_from_slice(b"NIL");
    } else {
        super::push_quoted(out, tag.as_bytes());
    }
    spaced_number(out, progress);
    match goal {
        Some(goal) => spaced_number(out, goal),
        None => out.extend_from_slice(b" NIL"),
    }
    out.push(b')');
}

fn spaced_number(out: &mut Vec<u8>, number: u64) {
    out.push(b' ');
    push_number(out, number);
}

fn spaced_set(out: &mut Vec<u8>, set: &NumberSet) {
    out.push(b' ');
    set.write_to(out);
}

/// `"(" [flag *(SP flag)] ")"`
pub(super) fn push_flags<'k>(
    out: &mut Vec<u8>,
    system: SystemFlags,
    keywords: impl Iterator<Item = &'k str>,
) {
    out.push(b'(');
    let start = out.len();
    for flag in system.iter() {
        if out.len() > start {
            out.push(b' ');
        }
        out.extend_from_slice(flag.as_str().as_bytes());
    }
    for keyword in keywords {
        if out.len() > start {
            out.push(b' ');
        }
        out.extend_from_slice(keyword.as_bytes());
    }
    out.push(b')');
}

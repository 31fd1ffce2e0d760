//! Why mail did not arrive: one class for each SMTP reply and each bounce, and what follows from it.
//! Called by the queue (for replies), by `parse` (for reports that came in) and by `compose` (for the words to the sender). The text is untrusted.
//! The enhanced status decides (`class/status.rs`); where it is vague or absent, the text (`class/texts.txt`, the rows are data); then the code.
//! RFC 5321 4.2.3 (codes), RFC 3463 and its registry (enhanced status).
//! Not here: whom to suppress (the caller keeps that list), when to try again (the queue).

mod status;
mod texts;
mod words;

use std::fmt;

use smtp::{Code, EnhancedStatus, Reply};

/// Why. The words of [`BounceClass::as_str`] are stable: they stand in events and in stored rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum BounceClass {
    /// No such recipient.
    InvalidMailbox,
    /// No such domain, or it takes no mail.
    InvalidDomain,
    /// The recipient exists but is switched off.
    MailboxDisabled,
    /// Over quota.
    MailboxFull,
    /// The message is larger than this recipient or server takes.
    MessageTooLarge,
    /// The content looks like spam to them.
    SpamRejected,
    /// The content looks like malware, or has an attachment they take for dangerous.
    VirusRejected,
    /// Something else about the content: its form, its headers, its charset.
    ContentRejected,
    /// A rule of theirs that they do not explain.
    PolicyRejected,
    /// Our address, network or domain has a bad name with them, or no proper reverse name.
    Blocked,
    /// Too much mail, connections or recipients at once.
    RateLimited,
    /// SPF, DKIM, DMARC or ARC did not pass.
    AuthenticationFailed,
    /// TLS is asked for and was not there, or failed.
    TlsRequired,
    /// Refused once, as all strangers are; a second attempt will do.
    Greylisted,
    /// This sender may not write there, or the sender's address is not believed.
    SenderRejected,
    /// They are not responsible for the recipient, or want a login.
    RelayingDenied,
    /// The message goes in circles.
    RoutingLoop,
    /// The DNS did not answer, or with nonsense.
    DnsFailure,
    /// No connection, or it broke.
    ConnectionFailure,
    /// A command or its answer was not understood.
    ProtocolError,
    /// Their server has trouble of its own.
    SystemFailure,
    /// Given up after trying for a long time, without a better reason.
    Expired,
    /// Nothing is known.
    Unknown,
}

/// Whether the address itself is at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Hardness {
    /// No message will ever arrive there.
    Hard,
    /// Another message, or the same one later, may arrive.
    Soft,
}

/// What a bounce says about writing to the address again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Suppression {
    /// Do not write there again.
    AtOnce,
    /// Not if it happens again and again.
    AfterRepeats,
    /// It says nothing about the address.
    Never,
}

/// A reply or a bounce, judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounce {
    /// Why.
    pub class: BounceClass,
    /// Whether the address itself is at fault.
    pub hardness: Hardness,
    /// Whether it counts for suppression.
    pub suppression: Suppression,
}

impl Bounce {
    /// Judges what a server said to us.
    pub fn of_reply(reply: &Reply) -> Self {
        Self::of(Some(reply.code), reply.enhanced, &reply.text)
    }

    /// Judges whatever is known; all of it may be absent.
    pub fn of(code: Option<Code>, status: Option<EnhancedStatus>, text: &str) -> Self {
        Self::new(class_of(code, status, text), code, status)
    }

    /// Judges one whose class is known; the rest may be absent.
    pub fn new(class: BounceClass, code: Option<Code>, status: Option<EnhancedStatus>) -> Self {
        let hardness = match is_transient(code, status) {
            false => class.hardness(),
            true => Hardness::Soft,
        };
        // A transient failure of a class that is final otherwise (450 user unknown) may be a server in trouble.
        let suppression = match (class.suppression(), hardness) {
            (Suppression::AtOnce, Hardness::Soft) => Suppression::AfterRepeats,
            (Suppression::AfterRepeats, _)
                if class == BounceClass::Unknown && is_about_address(code) =>
            {
                Suppression::AtOnce
            }
            (suppression, _) => suppression,
        };
        Self {
            class,
            hardness,
            suppression,
        }
    }
}

impl BounceClass {
    /// All of them, in the order of their definition.
    pub const ALL: [BounceClass; 23] = [
        BounceClass::InvalidMailbox,
        BounceClass::InvalidDomain,
        BounceClass::MailboxDisabled,
        BounceClass::MailboxFull,
        BounceClass::MessageTooLarge,
        BounceClass::SpamRejected,
        BounceClass::VirusRejected,
        BounceClass::ContentRejected,
        BounceClass::PolicyRejected,
        BounceClass::Blocked,
        BounceClass::RateLimited,
        BounceClass::AuthenticationFailed,
        BounceClass::TlsRequired,
        BounceClass::Greylisted,
        BounceClass::SenderRejected,
        BounceClass::RelayingDenied,
        BounceClass::RoutingLoop,
        BounceClass::DnsFailure,
        BounceClass::ConnectionFailure,
        BounceClass::ProtocolError,
        BounceClass::SystemFailure,
        BounceClass::Expired,
        BounceClass::Unknown,
    ];

    /// A word that does not change between versions.
    pub fn as_str(self) -> &'static str {
        words::of(self).0
    }

    /// What happened, for people who know nothing of mail servers. A sentence.
    pub fn description(self) -> &'static str {
        words::of(self).1
    }

    /// What the sender can do. A sentence or two.
    pub fn advice(self) -> &'static str {
        words::of(self).2
    }

    /// The class of that word.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|class| class.as_str() == word)
    }

    fn hardness(self) -> Hardness {
        match self {
            Self::InvalidMailbox | Self::InvalidDomain | Self::MailboxDisabled => Hardness::Hard,
            _ => Hardness::Soft,
        }
    }

    fn suppression(self) -> Suppression {
        match self {
            Self::InvalidMailbox | Self::InvalidDomain | Self::MailboxDisabled => {
                Suppression::AtOnce
            }
            Self::MailboxFull
            | Self::Expired
            | Self::DnsFailure
            | Self::ConnectionFailure
            | Self::SystemFailure
            | Self::Unknown => Suppression::AfterRepeats,
            // The message or the sending host is at fault: another message may arrive.
            _ => Suppression::Never,
        }
    }
}

impl fmt::Display for BounceClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

fn class_of(code: Option<Code>, status: Option<EnhancedStatus>, text: &str) -> BounceClass {
    let text = texts::normalised(text);
    texts::overriding(&text)
        .or_else(|| status.and_then(status::class_of_status))
        .or_else(|| texts::class_of_text(&text))
        .or_else(|| status.and_then(status::class_of_vague_status))
        .or_else(|| code.and_then(status::class_of_code))
        .unwrap_or(BounceClass::Unknown)
}

fn is_transient(code: Option<Code>, status: Option<EnhancedStatus>) -> bool {
    match (code, status) {
        // The code counts: it is what decides whether a client tries again (RFC 5321 4.2.1).
        (Some(code), _) => code.is_transient(),
        (None, Some(status)) => status.class == 4,
        (None, None) => false,
    }
}

/// Codes that speak of the recipient alone, so that even without a reason the address is not worth another message.
// RFC 5321 4.2.3: 551, 553; RFC 7504: 521, 556. 550 is used for much else, but mostly for this.
fn is_about_address(code: Option<Code>) -> bool {
    matches!(code.map(Code::number), Some(521 | 550 | 551 | 553 | 556))
}

#[cfg(test)]
mod tests;

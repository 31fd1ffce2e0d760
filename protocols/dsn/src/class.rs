//! Why mail did not arrive: one class for each SMTP reply and each bounce, and what follows from it.
//! Called by the queue (for replies), by `parse` (for reports that came in) and by `compose` (for the words to the sender). The text is untrusted.
//! The enhanced status decides (`class/status.rs`); where it is vague or absent, the text (`class/texts.txt`, the rows are data); then the code.
//! RFC 5321 4.2.3 (codes), RFC 3463 and its registry (enhanced status).
//! Not here: whom to suppress (the caller keeps that list), when to try again (the queue).

mod status;
mod texts;

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

    pub(crate) fn new(
        class: BounceClass,
        code: Option<Code>,
        status: Option<EnhancedStatus>,
    ) -> Self {
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
        self.row().0
    }

    /// What happened, for people who know nothing of mail servers. A sentence.
    pub fn description(self) -> &'static str {
        self.row().1
    }

    /// What the sender can do. A sentence or two.
    pub fn advice(self) -> &'static str {
        self.row().2
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

    fn row(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::InvalidMailbox => (
                "invalid-mailbox",
                "The recipient's server says that this address does not exist.",
                "Check the address for typing mistakes. If it is right, ask the recipient for a new one in another way.",
            ),
            Self::InvalidDomain => (
                "invalid-domain",
                "The part of the address after the @ does not exist, or takes no mail.",
                "Check the address for typing mistakes.",
            ),
            Self::MailboxDisabled => (
                "mailbox-disabled",
                "The recipient's mailbox is switched off.",
                "Ask the recipient for another address.",
            ),
            Self::MailboxFull => (
                "mailbox-full",
                "The recipient's mailbox is full.",
                "Send the message again later, or tell the recipient in another way.",
            ),
            Self::MessageTooLarge => (
                "message-too-large",
                "The message is larger than the recipient's server takes.",
                "Send less at once, or send a link to large files.",
            ),
            Self::SpamRejected => (
                "spam-rejected",
                "The recipient's server takes the message for spam.",
                "Change the text or leave out links and attachments, or tell the recipient in another way.",
            ),
            Self::VirusRejected => (
                "virus-rejected",
                "The recipient's server takes an attachment of the message for dangerous.",
                "Check your computer for viruses. Send attachments in another form, or a link.",
            ),
            Self::ContentRejected => (
                "content-rejected",
                "The recipient's server does not accept the form or content of the message.",
                "Send it in another form, for example as plain text.",
            ),
            Self::PolicyRejected => (
                "policy-rejected",
                "The recipient's server refused the message by a rule of its own.",
                "Ask the recipient or the people who run that server why, and show them what it said.",
            ),
            Self::Blocked => (
                "blocked",
                "The recipient's server takes no mail from our server at present.",
                "Show this message to the people who run your mail server.",
            ),
            Self::RateLimited => (
                "rate-limited",
                "The recipient's server takes no more mail from us for now.",
                "Send the message again later, to fewer recipients at once.",
            ),
            Self::AuthenticationFailed => (
                "authentication-failed",
                "The recipient's server could not verify that the message comes from your domain (SPF, DKIM, DMARC).",
                "Show this message to the people who run your mail server or your domain.",
            ),
            Self::TlsRequired => (
                "tls-required",
                "The message could not be handed over on an encrypted connection, as one of both sides demands.",
                "Show this message to the people who run your mail server.",
            ),
            Self::Greylisted => (
                "greylisted",
                "The recipient's server asks to try again later, as it does with all new senders.",
                "Nothing, usually: a later attempt succeeds.",
            ),
            Self::SenderRejected => (
                "sender-rejected",
                "The recipient's server does not accept mail from your address.",
                "Ask the recipient to allow mail from you.",
            ),
            Self::RelayingDenied => (
                "relaying-denied",
                "The server says that it is not responsible for this recipient.",
                "Check the address for typing mistakes. If it is right, show this message to the recipient's mail administrator.",
            ),
            Self::RoutingLoop => (
                "routing-loop",
                "The message went in circles between servers.",
                "Show this message to the recipient's mail administrator.",
            ),
            Self::DnsFailure => (
                "dns-failure",
                "The recipient's server could not be looked up.",
                "Check the address for typing mistakes, or send the message again later.",
            ),
            Self::ConnectionFailure => (
                "connection-failure",
                "The recipient's server could not be reached.",
                "Send the message again later.",
            ),
            Self::ProtocolError => (
                "protocol-error",
                "Our server and the recipient's did not understand each other.",
                "Show this message to the people who run your mail server.",
            ),
            Self::SystemFailure => (
                "system-failure",
                "The recipient's server has trouble.",
                "Send the message again later.",
            ),
            Self::Expired => (
                "expired",
                "The message could not be delivered in the time we try.",
                "Send the message again later, or tell the recipient in another way.",
            ),
            Self::Unknown => (
                "unknown",
                "The message could not be delivered, and the reason was not given clearly.",
                "What the server said may help its administrator.",
            ),
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
mod tests {
    use super::*;

    fn judged(text: &str) -> Bounce {
        let code = text
            .get(..3)
            .and_then(|c| c.parse().ok())
            .and_then(Code::new);
        let rest = if code.is_some() { &text[4..] } else { text };
        let (status, rest) = match EnhancedStatus::split(rest) {
            Some((status, rest)) => (Some(status), rest),
            None => (None, rest),
        };
        Bounce::of(code, status, rest)
    }

    #[track_caller]
    fn is(text: &str, class: BounceClass) {
        assert_eq!(judged(text).class, class, "{text}");
    }

    #[test]
    fn words_are_one_for_each_class() {
        for (index, class) in BounceClass::ALL.into_iter().enumerate() {
            assert_eq!(class as usize, index);
            assert_eq!(BounceClass::from_word(class.as_str()), Some(class));
            assert!(class.description().ends_with('.') && class.advice().ends_with('.'));
        }
    }

    #[test]
    fn enhanced_status_before_text() {
        is("550 5.1.1 is spam to us", BounceClass::InvalidMailbox);
        is("550 5.7.26 user unknown", BounceClass::AuthenticationFailed);
        is("452 4.2.2 try later", BounceClass::MailboxFull);
        is("550 5.1.10 NullMX", BounceClass::InvalidDomain);
        is("550 5.7.30 REQUIRETLS", BounceClass::TlsRequired);
    }

    #[test]
    fn text_where_the_status_is_vague() {
        is(
            "550 5.7.1 Client host rejected: blocked using zen.spamhaus.org",
            BounceClass::Blocked,
        );
        is(
            "554 5.7.1 <a@x>: Relay access denied",
            BounceClass::RelayingDenied,
        );
        is(
            "450 4.7.1 Greylisted, try again in 5 minutes",
            BounceClass::Greylisted,
        );
        is("550 No such user here", BounceClass::InvalidMailbox);
        is("550 5.0.0 Mailbox   FULL", BounceClass::MailboxFull);
    }

    #[test]
    fn replies_of_common_servers() {
        use BounceClass::*;
        for (text, class) in [
            (
                "550 5.7.1 Service unavailable, Client host [192.0.2.1] blocked using Spamhaus",
                Blocked,
            ),
            (
                "550 5.7.1 Service unavailable; client [192.0.2.1] blocked using b.barracudacentral.org",
                Blocked,
            ),
            (
                "421 4.7.0 [TSS04] Messages from 192.0.2.1 temporarily deferred due to unexpected volume or user complaints",
                RateLimited,
            ),
            (
                "421-4.7.0 Our system has detected an unusual rate of unsolicited mail",
                RateLimited,
            ),
            (
                "452-4.2.2 The email account that you tried to reach is over quota",
                MailboxFull,
            ),
            (
                "450 4.2.1 The user you are trying to contact is receiving mail at a rate that",
                RateLimited,
            ),
            (
                "550-5.7.26 This mail is unauthenticated, which poses a security risk",
                AuthenticationFailed,
            ),
            (
                "550 5.7.23 The message was rejected because of Sender Policy Framework violation",
                AuthenticationFailed,
            ),
            (
                "550 5.7.708 Service unavailable. Access denied, traffic not accepted from this IP",
                Blocked,
            ),
            (
                "450 4.7.1 Client host rejected: cannot find your hostname, [192.0.2.1]",
                Blocked,
            ),
            (
                "450 4.1.8 <a@x>: Sender address rejected: Domain not found",
                SenderRejected,
            ),
            (
                "550 Sender address rejected: Domain not found",
                SenderRejected,
            ),
            ("550 Sender verify failed: no such user", SenderRejected),
            (
                "451 4.7.1 Greylisting in action, please come back later",
                Greylisted,
            ),
            (
                "450 4.2.0 <b@x>: Recipient address rejected: Greylisted, see http://postgrey",
                Greylisted,
            ),
            ("554 5.7.1 <b@x>: Relay access denied", RelayingDenied),
            (
                "550 5.7.54 SMTP; Unable to relay recipient in non-accepted domain",
                RelayingDenied,
            ),
            ("530 5.7.0 Must issue a STARTTLS command first", TlsRequired),
            ("530 5.7.1 Authentication required", RelayingDenied),
            (
                "553 sorry, that domain isn't in my list of allowed rcpthosts (#5.7.1)",
                RelayingDenied,
            ),
            (
                "550 5.1.1 <b@x>: Recipient address rejected: User unknown in local recipient table",
                InvalidMailbox,
            ),
            ("550 No Such User Here", InvalidMailbox),
            ("550 Unrouteable address", InvalidMailbox),
            (
                "550 5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient not found by SMTP address lookup",
                InvalidMailbox,
            ),
            ("556 5.1.10 Recipient address has null MX", InvalidDomain),
            (
                "552 5.3.4 Message size exceeds fixed limit",
                MessageTooLarge,
            ),
            (
                "552 Message size exceeds maximum permitted",
                MessageTooLarge,
            ),
            (
                "552 5.7.0 This message was blocked because its content presents a potential security issue",
                VirusRejected,
            ),
            (
                "554 5.7.1 Message rejected as spam by Content Filtering.",
                SpamRejected,
            ),
            ("550 High probability of spam", SpamRejected),
            ("554 5.4.0 Error: too many hops", RoutingLoop),
            (
                "550 5.7.133 RESOLVER.RST.SenderNotAuthenticatedForGroup; authentication required",
                RelayingDenied,
            ),
            (
                "552 5.2.2 The email account that you tried to reach is over quota",
                MailboxFull,
            ),
            (
                "550 5.2.1 Mailbox disabled, not accepting messages",
                MailboxDisabled,
            ),
            ("550 The account has been disabled", MailboxDisabled),
            (
                "421 4.3.2 System not accepting network messages",
                SystemFailure,
            ),
            (
                "451 Requested action aborted: local error in processing",
                SystemFailure,
            ),
            ("550 5.6.7 SMTPUTF8 not supported", ProtocolError),
            ("421 too many concurrent SMTP connections", RateLimited),
            ("452 4.5.3 Too many recipients", RateLimited),
            (
                "554 Denied. Your server is on a community.mimecast.com list",
                Unknown,
            ),
            (
                "550 The server returned an unknown error for this user",
                Unknown,
            ),
        ] {
            is(text, class);
        }
    }

    #[test]
    fn code_alone() {
        is("552 no", BounceClass::MailboxFull);
        is("556 no", BounceClass::InvalidDomain);
        is("503 no", BounceClass::ProtocolError);
        is("550 no", BounceClass::Unknown);
        is("", BounceClass::Unknown);
    }

    #[test]
    fn what_follows() {
        let gone = judged("550 5.1.1 no such user");
        assert_eq!(
            (gone.hardness, gone.suppression),
            (Hardness::Hard, Suppression::AtOnce)
        );
        let later = judged("450 4.1.1 no such user");
        assert_eq!(
            (later.hardness, later.suppression),
            (Hardness::Soft, Suppression::AfterRepeats)
        );
        let ours = judged("554 5.7.1 blocked using zen.spamhaus.org");
        assert_eq!(
            (ours.hardness, ours.suppression),
            (Hardness::Soft, Suppression::Never)
        );
        // No reason given: the code alone speaks of the address.
        assert_eq!(judged("550 no").suppression, Suppression::AtOnce);
        assert_eq!(judged("554 no").suppression, Suppression::AfterRepeats);
    }
}

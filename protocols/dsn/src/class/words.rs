//! The words for each class: one that never changes, what happened, what the sender can do.
//! For people who know nothing of mail servers. Not here: the words a server used.

use super::BounceClass::{self, *};

/// The stable word, the description and the advice; the last two are sentences.
pub(super) fn of(class: BounceClass) -> (&'static str, &'static str, &'static str) {
    match class {
        InvalidMailbox => (
            "invalid-mailbox",
            "The recipient's server says that this address does not exist.",
            "Check the address for typing mistakes. If it is right, ask the recipient for a new one in another way.",
        ),
        InvalidDomain => (
            "invalid-domain",
            "The part of the address after the @ does not exist, or takes no mail.",
            "Check the address for typing mistakes.",
        ),
        MailboxDisabled => (
            "mailbox-disabled",
            "The recipient's mailbox is switched off.",
            "Ask the recipient for another address.",
        ),
        MailboxFull => (
            "mailbox-full",
            "The recipient's mailbox is full.",
            "Send the message again later, or tell the recipient in another way.",
        ),
        MessageTooLarge => (
            "message-too-large",
            "The message is larger than the recipient's server takes.",
            "Send less at once, or send a link to large files.",
        ),
        SpamRejected => (
            "spam-rejected",
            "The recipient's server takes the message for spam.",
            "Change the text or leave out links and attachments, or tell the recipient in another way.",
        ),
        VirusRejected => (
            "virus-rejected",
            "The recipient's server takes an attachment of the message for dangerous.",
            "Check your computer for viruses. Send attachments in another form, or a link.",
        ),
        ContentRejected => (
            "content-rejected",
            "The recipient's server does not accept the form or content of the message.",
            "Send it in another form, for example as plain text.",
        ),
        PolicyRejected => (
            "policy-rejected",
            "The recipient's server refused the message by a rule of its own.",
            "Ask the recipient or the people who run that server why, and show them what it said.",
        ),
        Blocked => (
            "blocked",
            "The recipient's server takes no mail from our server at present.",
            "Show this message to the people who run your mail server.",
        ),
        RateLimited => (
            "rate-limited",
            "The recipient's server takes no more mail from us for now.",
            "Send the message again later, to fewer recipients at once.",
        ),
        AuthenticationFailed => (
            "authentication-failed",
            "The recipient's server could not verify that the message comes from your domain (SPF, DKIM, DMARC).",
            "Show this message to the people who run your mail server or your domain.",
        ),
        TlsRequired => (
            "tls-required",
            "The message could not be handed over on an encrypted connection, as one of both sides demands.",
            "Show this message to the people who run your mail server.",
        ),
        Greylisted => (
            "greylisted",
            "The recipient's server asks to try again later, as it does with all new senders.",
            "Nothing, usually: a later attempt succeeds.",
        ),
        SenderRejected => (
            "sender-rejected",
            "The recipient's server does not accept mail from your address.",
            "Ask the recipient to allow mail from you.",
        ),
        RelayingDenied => (
            "relaying-denied",
            "The server says that it is not responsible for this recipient.",
            "Check the address for typing mistakes. If it is right, show this message to the recipient's mail administrator.",
        ),
        RoutingLoop => (
            "routing-loop",
            "The message went in circles between servers.",
            "Show this message to the recipient's mail administrator.",
        ),
        DnsFailure => (
            "dns-failure",
            "The recipient's server could not be looked up.",
            "Check the address for typing mistakes, or send the message again later.",
        ),
        ConnectionFailure => (
            "connection-failure",
            "The recipient's server could not be reached.",
            "Send the message again later.",
        ),
        ProtocolError => (
            "protocol-error",
            "Our server and the recipient's did not understand each other.",
            "Show this message to the people who run your mail server.",
        ),
        SystemFailure => (
            "system-failure",
            "The recipient's server has trouble.",
            "Send the message again later.",
        ),
        Expired => (
            "expired",
            "The message could not be delivered in the time we try.",
            "Send the message again later, or tell the recipient in another way.",
        ),
        Unknown => (
            "unknown",
            "The message could not be delivered, and the reason was not given clearly.",
            "What the server said may help its administrator.",
        ),
    }
}

//! What an enhanced status, or a bare code, says of the reason.
//! RFC 3463 3 and the registry that RFC 5248 set up (RFC 7372: 7.20-7.26; RFC 7505: 1.10 and 7.27; RFC 8689: 7.30); RFC 5321 4.2.3.
//! Not here: texts (`texts.rs`).

use smtp::{Code, EnhancedStatus};

use super::BounceClass::{self, *};

/// The class of a status that is plain enough to need no text.
pub(super) fn class_of_status(status: EnhancedStatus) -> Option<BounceClass> {
    Some(match (status.subject, status.detail) {
        // 1: the address. 1.4 is an ambiguous one, 1.6 one that has moved away without a new address.
        (1, 1 | 3 | 4 | 6) => InvalidMailbox,
        (1, 2 | 10) => InvalidDomain,
        (1, 7 | 8) => SenderRejected,
        // 2: the mailbox.
        (2, 1) => MailboxDisabled,
        (2, 2) => MailboxFull,
        (2, 3) | (3, 4) => MessageTooLarge,
        // 3: the mail system. 3.1 is a full disk there.
        (3, 1 | 2 | 5) | (4, 5) => SystemFailure,
        // 4: the network and routing.
        (4, 1 | 2) => ConnectionFailure,
        (4, 3 | 4) => DnsFailure,
        (4, 6) => RoutingLoop,
        (4, 7) => Expired,
        // 5: the protocol.
        (5, 3) => RateLimited,
        (5, _) if status.detail > 0 => ProtocolError,
        // 6: the content.
        (6, 1..=6 | 8..) => ContentRejected,
        // RFC 6531 5: the server has no SMTPUTF8.
        (6, 7) => ProtocolError,
        // 7: security and policy.
        (7, 10 | 30) => TlsRequired,
        (7, 8 | 11) => RelayingDenied,
        (7, 13) => MailboxDisabled,
        (7, 20..=24 | 26 | 29) => AuthenticationFailed,
        (7, 25) => Blocked,
        (7, 27) => SenderRejected,
        (7, 28) => RateLimited,
        _ => return None,
    })
}

/// The class of a status that says little, for when the text says nothing.
pub(super) fn class_of_vague_status(status: EnhancedStatus) -> Option<BounceClass> {
    if status.class < 4 {
        return None;
    }
    Some(match (status.subject, status.detail) {
        (1, 9 | 351) => InvalidMailbox,
        (3, _) => SystemFailure,
        (4, 0) => ConnectionFailure,
        (6, 0) => ContentRejected,
        (7, _) => PolicyRejected,
        _ => return None,
    })
}

/// The class of a reply code alone.
pub(super) fn class_of_code(code: Code) -> Option<BounceClass> {
    Some(match code.number() {
        // RFC 5321 4.2.3: "user not local" and "mailbox name not allowed".
        551 | 553 => InvalidMailbox,
        // RFC 7504: a host that takes no mail, and a domain that takes none.
        521 | 556 => InvalidDomain,
        // RFC 5321 4.2.3: "exceeded storage allocation" and "insufficient system storage".
        552 => MailboxFull,
        452 => SystemFailure,
        451 => SystemFailure,
        421 => ConnectionFailure,
        // RFC 4954 6 and RFC 3207 4.
        530 | 534 | 535 | 538 => RelayingDenied,
        500..=504 | 555 => ProtocolError,
        _ => return None,
    })
}

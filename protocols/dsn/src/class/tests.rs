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
        ("550 too many invalid recipients", RateLimited),
        ("550 not accepting mail from you", Blocked),
        ("550 Your domain has no MX", SenderRejected),
        ("550 Please try again later", SystemFailure),
        (
            "550 5.1.1 no such user here, try again later",
            InvalidMailbox,
        ),
        ("550 no such user, try again later", InvalidMailbox),
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
    for at_once in ["521 no", "550 no", "551 no", "553 no", "556 no"] {
        assert_eq!(
            judged(at_once).suppression,
            Suppression::AtOnce,
            "{at_once}"
        );
    }
    assert_eq!(judged("554 no").suppression, Suppression::AfterRepeats);
}

/// Whoever blocks our host says so to every recipient.
#[test]
fn what_is_said_of_us_suppresses_nobody() {
    for text in [
        "553 sorry, your envelope sender is in my badmailfrom list",
        "550 Connection from your address is refused",
        "550 no mail from dynamic addresses",
        "550 Mail not accepted from your country",
        "550 HELO name does not resolve",
        "550 Verification failed for <us@here.example>",
        "550 Absender unbekannt",
        "550 Zugriff verweigert",
        "550 Envoi refuse",
        "550 JunkMail rejected",
        "550 Denied by user's whitelist",
        "550 RULE 7 hit",
    ] {
        assert_eq!(judged(text).suppression, Suppression::Never, "{text}");
    }
}

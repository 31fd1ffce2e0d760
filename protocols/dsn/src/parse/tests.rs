use super::*;
use crate::class::Hardness;

fn report(status: &str) -> String {
    format!(
        "From: MAILER-DAEMON@cs.utk.edu\r\nSubject: Returned mail\r\nMIME-Version: 1.0\r\n\
         Content-Type: multipart/report; report-type=delivery-status; boundary=\"b\"\r\n\r\n\
         --b\r\n\r\nsorry\r\n\r\n--b\r\nContent-Type: message/delivery-status\r\n\r\n{status}\r\n\
         --b\r\nContent-Type: message/rfc822\r\n\r\nSubject: hi\r\nMessage-ID: <199407092338.TAA23293@CS.UTK.EDU>\r\n\r\nhi\r\n--b--\r\n"
    )
}

fn read_report(status: &str) -> Incoming {
    parse(report(status).as_bytes())
}

#[test]
fn rfc_3464_multiple_recipients() {
    // RFC 3464, Appendix E.2: types of X.400 and of a mailbox of DECnet, several groups.
    let read = read_report(
        "Reporting-MTA: dns; cs.utk.edu\r\n\r\n\
         Original-Recipient: rfc822;arathib@vnet.ibm.com\r\nFinal-Recipient: rfc822;arathib@vnet.ibm.com\r\nAction: failed\r\n\
         Status: 5.0.0 (permanent failure)\r\nDiagnostic-Code: smtp;\r\n 550 'arathib@vnet.IBM.COM' is not a registered gateway user\r\n\
         Remote-MTA: dns; vnet.ibm.com\r\n\r\n\
         Original-Recipient: rfc822;johnh@hpnjld.njd.hp.com\r\nFinal-Recipient: rfc822;johnh@hpnjld.njd.hp.com\r\nAction: delayed\r\n\
         Status: 4.0.0 (hpnjld.njd.jp.com: host name lookup failure)\r\n\r\n\
         Original-Recipient: rfc822;wsnell@sdcc13.ucsd.edu\r\nFinal-Recipient: rfc822;wsnell@sdcc13.ucsd.edu\r\nAction: failed\r\n\
         Status: 5.0.0\r\nDiagnostic-Code: smtp; 550 user unknown\r\nRemote-MTA: dns; sdcc13.ucsd.edu\r\n",
    );
    assert_eq!((read.kind, read.form), (Kind::Failed, Form::Standard));
    assert_eq!(read.reporting_mta.as_deref(), Some("cs.utk.edu"));
    let addresses: Vec<&str> = read.recipients.iter().map(|r| r.address.as_str()).collect();
    assert_eq!(
        addresses,
        [
            "arathib@vnet.ibm.com",
            "johnh@hpnjld.njd.hp.com",
            "wsnell@sdcc13.ucsd.edu"
        ]
    );
    assert_eq!(
        read.recipients[0].diagnostic,
        "550 'arathib@vnet.IBM.COM' is not a registered gateway user"
    );
    assert_eq!(
        read.recipients[0].remote_mta.as_deref(),
        Some("vnet.ibm.com")
    );
    assert_eq!(read.recipients[1].action, Action::Delayed);
    assert_eq!(read.recipients[1].bounce.unwrap().hardness, Hardness::Soft);
    assert_eq!(
        read.recipients[2].bounce.unwrap().class,
        BounceClass::InvalidMailbox
    );
    assert_eq!(
        read.returned.unwrap().message_id().as_deref(),
        Some("<199407092338.TAA23293@CS.UTK.EDU>")
    );
}

#[test]
fn any_type_of_diagnostic_host_and_address() {
    let read = read_report(
        "Reporting-MTA: x-local-hostname; gate\r\n\r\nFinal-Recipient: x400; /C=de/S=x/; bob@example.org\r\nAction: FAILED (expired)\r\n\
         Status: 5.2.2\r\nDiagnostic-Code: x-unix; 17 disk full\r\nRemote-MTA: 192.0.2.1\r\n",
    );
    let bob = &read.recipients[0];
    assert_eq!(
        (bob.address.as_str(), bob.action, bob.code),
        ("bob@example.org", Action::Failed, None)
    );
    assert_eq!(
        (bob.diagnostic.as_str(), bob.remote_mta.as_deref()),
        ("17 disk full", Some("192.0.2.1"))
    );
    assert_eq!(bob.bounce.unwrap().class, BounceClass::MailboxFull);
}

#[test]
fn fields_that_are_missing_or_apart() {
    let read = read_report("Final-Recipient: rfc822; bob@example.org\r\n\r\nStatus: 4.4.1\r\n\r\n");
    assert_eq!((read.kind, read.recipients.len()), (Kind::Delayed, 1));
    let read = read_report(
        "Reporting-MTA: dns; x\r\nOriginal-Recipient: rfc822; bob+2Bx@example.org\r\nStatus: 2.1.5\r\n",
    );
    assert_eq!(
        (read.kind, read.recipients[0].address.as_str()),
        (Kind::Delivered, "bob+x@example.org")
    );
    let read = read_report(
        "Reporting-MTA: dns; x\r\nFinal-Recipient: rfc822; bob@example.org\r\nAction: failed\r\nStatus: 5.1.1\r\n\
         Final-Recipient: rfc822; carol@example.org\r\nAction: delayed\r\nStatus: 4.2.2\r\n",
    );
    let actions: Vec<Action> = read.recipients.iter().map(|r| r.action).collect();
    assert_eq!(
        (actions, read.reporting_mta.as_deref()),
        (vec![Action::Failed, Action::Delayed], Some("x"))
    );
    // No recipient, and no text to find one in.
    assert_eq!(
        read_report("Reporting-MTA: dns; x\r\n\r\nAction: failed\r\n").kind,
        Kind::Failed
    );
}

#[test]
fn the_worst_action_is_the_kind() {
    let one = |action: &str| {
        format!(
            "Final-Recipient: rfc822; {action}@example.org\r\nAction: {action}\r\nStatus: 2.0.0\r\n\r\n"
        )
    };
    let kind =
        |actions: &[&str]| read_report(&actions.iter().map(|a| one(a)).collect::<String>()).kind;
    assert_eq!(kind(&["delivered", "relayed", "expanded"]), Kind::Delivered);
    assert_eq!(kind(&["delivered", "delayed"]), Kind::Delayed);
    assert_eq!(kind(&["failed", "delayed"]), Kind::Failed);
}

#[test]
fn rfc_6533_addresses() {
    for value in [
        "utf-8; j\u{f8}rn@example.org",
        "utf-8; j\\x{F8}rn@example.org",
        "utf-8;j\\x{F8}rn\\x{40}example.org",
    ] {
        let text = report(&format!(
            "Final-Recipient: {value}\r\nAction: failed\r\nStatus: 5.1.1\r\n"
        ));
        let read = parse(
            text.replace("message/delivery-status", "message/global-delivery-status")
                .as_bytes(),
        );
        assert_eq!(
            read.recipients[0].address, "j\u{f8}rn@example.org",
            "{value}"
        );
    }
}

#[test]
fn rfc_5965_complaint() {
    // RFC 5965, Appendix B.2.
    let message = "From: <abusedesk@example.com>\r\nSubject: FW: Earn money\r\nTo: <abuse@example.net>\r\nMIME-Version: 1.0\r\n\
        Content-Type: multipart/report; report-type=feedback-report;\r\n     boundary=\"part1_13d.2e68ed54_boundary\"\r\n\r\n\
        --part1_13d.2e68ed54_boundary\r\nContent-Type: text/plain; charset=\"US-ASCII\"\r\n\r\nThis is an email abuse report.\r\n\r\n\
        --part1_13d.2e68ed54_boundary\r\nContent-Type: message/feedback-report\r\n\r\nFeedback-Type: abuse\r\nUser-Agent: SomeGenerator/1.0\r\n\
        Version: 1\r\nOriginal-Mail-From: <somespammer@example.net>\r\nOriginal-Rcpt-To: <user@example.com>\r\n\
        Arrival-Date: Thu, 8 Mar 2005 14:00:00 EDT\r\nReporting-MTA: dns; mail.example.com\r\nSource-IP: 192.0.2.1\r\n\
        Authentication-Results: mail.example.com;\r\n               spf=fail smtp.mail=somespammer@example.com\r\n\
        Reported-Domain: example.net\r\nReported-Uri: http://example.net/earn_money.html\r\nRemoval-Recipient: user@example.com\r\n\r\n\
        --part1_13d.2e68ed54_boundary\r\nContent-Type: message/rfc822\r\n\r\nFrom: <somespammer@example.net>\r\n\
        Message-ID: 8787KJKJ3K4J3K4J3K4J3.mail@example.net\r\nSubject: Earn money\r\n\r\nSpam Spam Spam\r\n--part1_13d.2e68ed54_boundary--\r\n";
    let read = parse(message.as_bytes());
    assert_eq!(
        (read.kind, read.form, read.recipients.len()),
        (Kind::Complaint, Form::Standard, 1)
    );
    assert_eq!(read.recipients[0].address, "user@example.com");
    assert_eq!(read.recipients[0].bounce, None);
    let complaint = read.complaint.unwrap();
    assert!(complaint.is_unwanted());
    let failure = parse(
        message
            .replace("Feedback-Type: abuse", "Feedback-Type: auth-failure")
            .as_bytes(),
    );
    assert!(!failure.complaint.unwrap().is_unwanted());
    assert_eq!(
        (
            complaint.feedback_type.as_str(),
            complaint.source_ip.as_deref()
        ),
        ("abuse", Some("192.0.2.1"))
    );
    assert_eq!(
        complaint.original_mail_from.as_deref(),
        Some("somespammer@example.net")
    );
    assert_eq!(complaint.reported_domains, ["example.net"]);
    assert_eq!(
        read.returned.unwrap().field("Subject").as_deref(),
        Some("Earn money")
    );
}

#[test]
fn automatic_replies_are_no_bounces() {
    let kind = |fields: &str, text: &str| parse(format!("{fields}\r\n\r\n{text}").as_bytes()).kind;
    let away = "I am away. Mail delivery to <x@example.org>: 550 no.";
    assert_eq!(
        kind(
            "From: bob@example.org\r\nAuto-Submitted: auto-replied; owner-email=\"b@x\"",
            away
        ),
        Kind::AutoReply
    );
    assert_eq!(
        kind("From: bob@example.org\r\nSubject: Out of Office: hi", away),
        Kind::AutoReply
    );
    assert_eq!(
        kind("From: bob@example.org\r\nPrecedence: auto_reply", away),
        Kind::AutoReply
    );
    // RFC 3834 5: auto-generated mail answers nothing.
    assert_eq!(
        kind(
            "From: bob@example.org\r\nAuto-Submitted: auto-generated",
            "Your invoice"
        ),
        Kind::NotAReport
    );
    let answer =
        "From: bob@example.org\r\nAuto-Submitted: auto-generated\r\nIn-Reply-To: <a@example.com>";
    assert_eq!(kind(answer, "I am away"), Kind::AutoReply);
    // Exim marks its bounces so.
    let bounce = "could not be delivered\r\n\r\n  bob@example.org\r\n    550 no such user\r\n";
    assert_eq!(
        kind(
            "From: Mailer-Daemon@x.example\r\nAuto-Submitted: auto-replied",
            bounce
        ),
        Kind::Failed
    );
}

#[test]
fn letters_are_no_bounces() {
    for message in [
        "",
        "From: bob@example.org\r\nSubject: lunch\r\n\r\nNo mailbox of mine was rejected.\r\n",
        "From: bob@example.org\r\nSubject: Delivery of your parcel\r\n\r\nThe following address is wrong: 550 Main Street\r\n",
        "From: postmaster@example.org\r\nSubject: Maintenance on Sunday\r\n\r\nWrite to admin@example.org if you have questions.\r\n",
        "Return-Path: <>\r\nFrom: shop@example.org\r\nSubject: Hello\r\n\r\nThis mailbox cannot be delivered to. Write to help@example.org\r\n",
        "From: MAILER-DAEMON@example.org\r\nSubject: Delivery failed\r\nContent-Type: multipart/report; report-type=disposition-notification; boundary=b\r\n\r\n--b\r\n\r\n<a@example.org>: displayed\r\n--b--\r\n",
        "From: postmaster@example.org\r\n\r\nYour mailbox has moved.\r\n",
        "Return-Path: <>\r\nFrom: bob@example.org\r\nSubject: read: lunch\r\n\r\nThis was displayed.\r\n",
    ] {
        assert_eq!(
            parse(message.as_bytes()).kind,
            Kind::NotAReport,
            "{message}"
        );
    }
}

#[test]
fn the_sender_is_no_recipient() {
    let message = "From: Mailer-Daemon@x.example\r\nTo: alice@example.com\r\n\r\nA message sent by\r\n\r\n  <alice@example.com>\r\n\r\n\
        could not be delivered. The following address(es) failed:\r\n\r\n  bob@example.org\r\n    retry timeout exceeded\r\n";
    let read = parse(message.as_bytes());
    let addresses: Vec<&str> = read.recipients.iter().map(|r| r.address.as_str()).collect();
    assert_eq!(addresses, ["bob@example.org"]);
    assert_eq!(
        read.recipients[0].bounce.unwrap().class,
        BounceClass::Expired
    );
}

fn addresses_and_classes(message: &str) -> Vec<(String, BounceClass)> {
    let read = parse(message.as_bytes());
    assert_eq!(read.kind, Kind::Failed, "{message}");
    let one = |r: ReportedRecipient| (r.address, r.bounce.unwrap().class);
    read.recipients.into_iter().map(one).collect()
}

fn bounce(text: &str) -> String {
    format!(
        "From: MAILER-DAEMON@x.example\r\nTo: alice@example.com\r\nSubject: Undeliverable mail\r\n\r\n{text}"
    )
}

#[test]
fn reasons_before_and_after_their_recipients() {
    let expected = [
        ("bob@example.org".to_string(), BounceClass::InvalidMailbox),
        ("carol@example.org".to_string(), BounceClass::MailboxFull),
    ];
    let before = "------- Failure Reasons  --------\n\nNo such user\nbob@example.org\n\nThis mailbox is full:\ncarol@example.org\n\n\
        ------- Returned Message --------\nReceived: x\n";
    let after = "I wasn't able to deliver your message to the following addresses.\n\n<bob@example.org>:\nNo such user\n\n\
        <carol@example.org>:\nThis mailbox\nis full\n\n--- Below this line is a copy of the message.\n\nReceived: x\n";
    let beside = "An error has occurred for the following recipients:\n\nbob@example.org: 550 5.1.1 none\ncarol@example.org: 552 5.2.2 full\n";
    let bracketed = "---The following addresses had delivery errors---\n\nbob@example.org [No such user]\ncarol@example.org [Mailbox full]\n";
    for text in [before, after, beside, bracketed] {
        assert_eq!(addresses_and_classes(&bounce(text)), expected, "{text}");
    }
}

#[test]
fn a_reason_far_from_its_only_recipient() {
    let text = "Your message:\n  From: alice@example.com\n  Subject: hi\nCould not be delivered because of\n\n550 5.7.1 Relaying denied\n\n\
        The following recipients were affected:\n    bob@example.org\n";
    let expected = [("bob@example.org".to_string(), BounceClass::RelayingDenied)];
    assert_eq!(addresses_and_classes(&bounce(text)), expected);
}

#[test]
fn the_original_in_the_text_is_no_part_of_the_report() {
    let text = "The following address failed:\n\n  bob@example.org\n    user unknown\n\n\
        ------ This is a copy of the message, including all the headers. ------\n\n\
        Message-ID: <a@example.com>\nTo: carol@example.org\nX-Token: t1\n\n<dave@example.org>:\n 552 mailbox full\n";
    let read = parse(bounce(text).as_bytes());
    assert_eq!(read.recipients.len(), 1);
    assert_eq!(read.recipients[0].address, "bob@example.org");
    let returned = read.returned.unwrap();
    assert_eq!(returned.message_id().as_deref(), Some("<a@example.com>"));
    assert_eq!(returned.field("X-Token").as_deref(), Some("t1"));
}

#[test]
fn notifications_in_json() {
    let inner = r#"{"notificationType":"Bounce","bounce":{"bouncedRecipients":[{"emailAddress":"bob@example.org","action":"failed","status":"5.1.1","diagnosticCode":"smtp; 550 5.1.1 user unknown"}]}}"#;
    let wrapped = format!(
        r#"{{ "Type" : "Notification", "Message" : "{}" }}"#,
        inner.replace('"', "\\\"")
    );
    let spaced = inner.replace("\":", "\" : ");
    for text in [inner, &wrapped, &spaced] {
        let message = format!(
            "From: no-reply@sns.amazonaws.com\r\nSubject: AWS Notification Message\r\n\r\n{text}\r\n"
        );
        assert_eq!(
            addresses_and_classes(&message),
            [("bob@example.org".to_string(), BounceClass::InvalidMailbox)]
        );
    }
}

#[test]
fn a_complaint_whose_fields_stand_in_the_text() {
    let message = "From: abuse@example.net\r\nSubject: complaint\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\n\
        An abuse report.\r\n\r\nUser-Agent: x/1\r\nFeedback-Type: Abuse\r\nVersion: 1\r\nOriginal-Rcpt-To: bob@example.net\r\n\r\n\
        --b\r\nContent-Type: message/rfc822\r\n\r\nSubject: hi\r\nMessage-ID: <a@example.com>\r\n\r\n--b--\r\n";
    let read = parse(message.as_bytes());
    assert_eq!(
        (read.kind, read.recipients[0].address.as_str()),
        (Kind::Complaint, "bob@example.net")
    );
    assert_eq!(read.complaint.unwrap().feedback_type, "abuse");
    assert_eq!(
        read.returned.unwrap().message_id().as_deref(),
        Some("<a@example.com>")
    );
    let letter = "From: bob@example.net\r\nSubject: question\r\n\r\nWhat does this mean?\r\nFeedback-Type: abuse\r\n";
    assert_eq!(parse(letter.as_bytes()).kind, Kind::NotAReport);
}

/// As servers without a status part write; one recipient, and what is said of it.
#[test]
fn forms_of_many_servers() {
    use BounceClass::*;
    for (text, class) in [
        // Postfix
        (
            "This is the mail system at host x.\n\nI'm sorry to have to inform you that your message could not\nbe delivered to one or more recipients.\n\n\
          <bob@example.org>: host mx.example.org[192.0.2.1] said: 550 5.1.1\n    <bob@example.org>: Recipient address rejected: User unknown (in reply to RCPT TO\n    command)\n",
            InvalidMailbox,
        ),
        // sendmail
        (
            "   ----- The following addresses had permanent fatal errors -----\n<bob@example.org>\n    (reason: 552 5.2.2 Mailbox full)\n    (expanded from: <team@x.example>)\n\n\
          ----- Transcript of session follows -----\n... while talking to mx.example.org.:\n>>> RCPT To:<bob@example.org>\n<<< 552 5.2.2 Mailbox full\n",
            MailboxFull,
        ),
        // Courier
        (
            "This is a delivery status notification from x.\n\nYour message could not be delivered to the following recipients:\n\n\
          <bob@example.org>:\n    mx.example.org [192.0.2.1]:\n    >>> RCPT TO:<bob@example.org>\n    <<< 550 Unknown user bob@example.org\n",
            InvalidMailbox,
        ),
        // Exchange
        (
            "Delivery has failed to these recipients or distribution lists:\n\nbob@example.org\nThe recipient's mailbox is full and can't accept messages now.\n",
            MailboxFull,
        ),
        // GroupWise
        (
            "The message that you sent was undeliverable to the following:\n\tbob@example.org (550 User unknown)\n",
            InvalidMailbox,
        ),
        // Notes
        (
            "Your document: Lunch\nwas not delivered to:\n     bob@example.org\nbecause:\n     550 User bob not listed in Domino Directory\n",
            InvalidMailbox,
        ),
        // CommuniGate
        (
            "Failed to deliver to '<bob@example.org>'\nSMTP module(domain example.org) reports:\n host mx.example.org says:\n 554 5.7.1 blocked using a blocklist\n",
            Blocked,
        ),
        // MDaemon
        (
            "The attached message had PERMANENT fatal delivery errors!\n\nSession Transcript:\n--> MAIL From:<alice@example.com>\n<-- 250 ok\n\
          --> RCPT To:<bob@example.org>\n<-- 550 5.1.1 unknown user\n--> QUIT\n",
            InvalidMailbox,
        ),
        // hMailServer
        (
            "Your message did not reach some or all of the intended recipients.\n\n   Sent: Thu, 1 Jan 2026 12:00:00 +0000\n   Subject: Lunch\n\n\
          The following recipient(s) could not be reached:\n\nbob@example.org\n   Error Type: SMTP\n   Remote server (192.0.2.1) issued an error.\n   Remote server replied: 550 5.7.1 Relaying denied\n",
            RelayingDenied,
        ),
        // XMail
        (
            "[<00>] XMail bounce: Rcpt=[bob@example.org];Error=[550 no such user]\n\n[<01>] Error sending message\n",
            InvalidMailbox,
        ),
        // Google
        (
            "** Address not found **\n\nYour message wasn't delivered to bob@example.org because the address couldn't be found, or is unable to receive mail.\n",
            InvalidMailbox,
        ),
        // a qmail of its own
        (
            "We're sorry. There's a problem with the e-mail address(es) you're trying to send to.\nThe following address is wrong.\n\n<bob@example.org>:\nThis address no longer accepts mail.\n\n\
          --- Your original message is included below.\n\nTo: carol@example.org\n",
            MailboxDisabled,
        ),
        // Verizon
        (
            "Message could not be delivered to mobile.\nError: No valid recipients for this MM\n\nMessage Details:\n   From: alice@example.com\n   To: bob@example.org\n",
            InvalidMailbox,
        ),
        // Zoho
        (
            "This message was created automatically by mail delivery software.\nA message that you sent could not be delivered to one or more of its recipients.\n\n\
          [Status: Error, Address: <bob@example.org>, ResponseCode 421, , Host not reachable.]\n",
            ConnectionFailure,
        ),
        // smail
        (
            "|------------------------- Message log follows: -------------------------|\n no valid recipients were found for this message\n\
          |------------------------- Failed addresses follow: ---------------------|\n <bob@example.org> ... unknown host\n",
            InvalidDomain,
        ),
    ] {
        let read = parse(bounce(text).as_bytes());
        assert_eq!(
            (read.kind, read.recipients.len()),
            (Kind::Failed, 1),
            "{text}\n{read:?}"
        );
        let bob = &read.recipients[0];
        assert_eq!(
            (bob.address.as_str(), bob.bounce.unwrap().class),
            ("bob@example.org", class),
            "{text}\n{bob:?}"
        );
    }
}

#[test]
fn delays_of_many_servers() {
    for text in [
        "A message that you sent has not yet been delivered to one or more of its\nrecipients after more than 24 hours on the queue on x.\n\n  bob@example.org\n    host mx.example.org: 450 try later\n",
        "THIS IS A WARNING MESSAGE ONLY.\nYOU DO NOT NEED TO RESEND YOUR MESSAGE.\n\nDelivery to the following recipient has been delayed:\n\n     bob@example.org\n",
        "A message is delayed for more than 10 minutes for the following\nlist of recipients:\n\nbob@example.org: 450 try later\n",
    ] {
        let read = parse(bounce(text).as_bytes());
        assert_eq!(
            (read.kind, read.recipients[0].action),
            (Kind::Delayed, Action::Delayed),
            "{text}"
        );
        assert_eq!(read.recipients[0].bounce.unwrap().hardness, Hardness::Soft);
    }
    let given_up =
        "Your message was delayed and is now given up.\n\n<bob@example.org>:\n450 try later\n";
    assert_eq!(parse(bounce(given_up).as_bytes()).kind, Kind::Failed);
}

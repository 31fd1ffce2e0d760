//! What the server can say: every code and text, each with the rule by which it is sent. A table, nothing else.
//! Text is for humans and never tells paths, internals, or more about an account than its code does.
//! RFC 5321 4.2.3, RFC 3463 3 (enhanced status), RFC 4954 6, RFC 3207 4, RFC 6531 3.5.

use std::borrow::Cow;

use crate::address::PathError;
use crate::reply::Reply;

/// What the session says by itself, and what doors say most.
impl Reply {
    /// The greeting. RFC 5321 4.2: the host name comes first; monitoring looks for ESMTP; no version number.
    pub fn banner(hostname: &str) -> Self {
        Reply::plain(220, format!("{hostname} ESMTP ringmail"))
    }

    /// RFC 5321 4.1.1.10: answer to QUIT.
    pub fn closing() -> Self {
        Reply::new(221, (2, 0, 0), "goodbye")
    }

    /// RFC 5321 4.2.3: done, nothing more to say.
    pub fn ok() -> Self {
        Reply::new(250, (2, 0, 0), "ok")
    }

    /// Accepts EHLO or HELO; the session writes the extension list itself.
    pub fn hello_accepted() -> Self {
        Reply::plain(250, "hello")
    }

    /// RFC 5321 4.1.1.2, RFC 3463 3.2: X.1.0.
    pub fn sender_ok() -> Self {
        Reply::new(250, (2, 1, 0), "sender ok")
    }

    /// RFC 5321 4.1.1.3, RFC 3463 3.2: X.1.5, destination address valid.
    pub fn recipient_ok() -> Self {
        Reply::new(250, (2, 1, 5), "recipient ok")
    }

    /// RFC 5321 4.1.1.4: responsibility for the message is taken. Never before it is durable.
    pub fn message_accepted() -> Self {
        Reply::new(250, (2, 0, 0), "message accepted")
    }

    /// RFC 3030 2: each chunk gets its 250.
    pub fn chunk_received() -> Self {
        Reply::new(250, (2, 0, 0), "chunk received")
    }

    /// RFC 5321 4.1.1.4.
    pub fn start_mail_input() -> Self {
        Reply::plain(354, "end data with <CRLF>.<CRLF>")
    }

    /// RFC 5321 3.5.3: 252 for VRFY and EXPN of those who do not tell.
    pub fn cannot_verify() -> Self {
        Reply::new(252, (2, 7, 0), "cannot verify, send some mail and see")
    }

    /// RFC 5321 4.1.1.8.
    pub fn help() -> Self {
        Reply::new(214, (2, 0, 0), "see RFC 5321 (SMTP)")
    }

    /// RFC 3207 4.
    pub fn ready_to_start_tls() -> Self {
        Reply::new(220, (2, 0, 0), "ready to start TLS")
    }

    /// RFC 4954 4: a challenge is base64 alone; an empty one is `334 `.
    pub fn challenge(challenge: &[u8]) -> Self {
        Reply::plain(334, sasl::base64::encode(challenge))
    }

    /// RFC 4954 6.
    pub fn authenticated() -> Self {
        Reply::new(235, (2, 7, 0), "authenticated")
    }

    /// RFC 4954 6: the same for an unknown account and for a wrong password.
    pub fn authentication_failed() -> Self {
        Reply::new(535, (5, 7, 8), "authentication credentials invalid")
    }

    /// RFC 3463 3.8: X.7.0. The credentials that were good are so no more.
    pub fn login_ended(text: impl Into<Cow<'static, str>>) -> Self {
        Reply::new(421, (4, 7, 0), text)
    }

    /// RFC 4954 6: trouble on our side.
    pub fn authentication_unavailable() -> Self {
        Reply::new(454, (4, 7, 0), "temporary authentication failure")
    }

    /// RFC 4954 6, RFC 5248 2.4: X.7.13, account disabled.
    pub fn login_disabled(text: impl Into<Cow<'static, str>>) -> Self {
        Reply::new(525, (5, 7, 13), text)
    }

    /// RFC 4954 6.
    pub fn encryption_needed_for_mechanism() -> Self {
        Reply::new(
            538,
            (5, 7, 11),
            "encryption required for this authentication mechanism",
        )
    }

    /// RFC 4954 4: 504 with 5.5.4.
    pub fn mechanism_unknown() -> Self {
        Reply::new(504, (5, 5, 4), "authentication mechanism not supported")
    }

    /// RFC 4954 4: `*`.
    pub fn authentication_cancelled() -> Self {
        Reply::new(501, (5, 5, 0), "authentication cancelled")
    }

    /// RFC 4954 4: 501 with 5.5.2.
    pub fn bad_base64(text: &'static str) -> Self {
        Reply::new(501, (5, 5, 2), text)
    }

    /// RFC 4954 4: the response is what the mechanism does not allow.
    pub fn bad_authentication_response() -> Self {
        Reply::new(501, (5, 5, 2), "malformed authentication response")
    }

    /// RFC 4954 4: 500 with 5.5.6.
    pub fn authentication_line_too_long() -> Self {
        Reply::new(500, (5, 5, 6), "authentication line too long")
    }

    /// RFC 4954 6: 530 with 5.7.0.
    pub fn authentication_required() -> Self {
        Reply::new(530, (5, 7, 0), "authentication required")
    }

    /// RFC 3207 4: 530 with 5.7.0.
    pub fn start_tls_required() -> Self {
        Reply::new(530, (5, 7, 0), "must issue a STARTTLS command first")
    }

    /// RFC 3207 4: 454.
    pub fn tls_not_available() -> Self {
        Reply::new(454, (4, 7, 0), "TLS not available due to temporary reason")
    }

    /// The first command says that the peer speaks something else.
    pub fn not_smtp() -> Self {
        Reply::new(500, (5, 5, 2), "please try again speaking smtp")
    }

    /// RFC 5321 4.2.4.
    pub fn unknown_command() -> Self {
        Reply::new(500, (5, 5, 1), "unknown command")
    }

    /// RFC 5321 4.2.4: 502 for what we know and do not do here.
    pub fn command_not_implemented() -> Self {
        Reply::new(502, (5, 5, 1), "command not implemented")
    }

    /// RFC 5321 4.2.2: 500, syntax error.
    pub fn bad_syntax(text: &'static str) -> Self {
        Reply::new(500, (5, 5, 2), text)
    }

    /// RFC 5321 2.3.8: a line ends in CRLF and in nothing else.
    pub fn bare_line_feed() -> Self {
        Reply::new(500, (5, 5, 2), "line must end in CRLF")
    }

    /// RFC 5321 4.5.3.1.9: 500, line too long.
    pub fn line_too_long() -> Self {
        Reply::new(500, (5, 5, 2), "line too long")
    }

    /// RFC 5321 4.2.2: 501; RFC 3463 3.6: X.5.4, invalid command arguments.
    pub fn bad_arguments(text: &'static str) -> Self {
        Reply::new(501, (5, 5, 4), text)
    }

    /// RFC 3463 3.2: X.1.7, bad sender's mailbox address syntax.
    pub fn bad_reverse_path(error: PathError) -> Self {
        Reply::new(501, (5, 1, 7), error.to_string())
    }

    /// RFC 3463 3.2: X.1.3, bad destination mailbox address syntax.
    pub fn bad_forward_path(error: PathError) -> Self {
        Reply::new(501, (5, 1, 3), error.to_string())
    }

    /// RFC 5321 4.1.1.11.
    pub fn parameter_not_recognized(text: &'static str) -> Self {
        Reply::new(555, (5, 5, 4), text)
    }

    /// RFC 5321 4.1.4.
    pub fn bad_sequence(text: &'static str) -> Self {
        Reply::new(503, (5, 5, 1), text)
    }

    /// RFC 5321 3.3: DATA without an accepted recipient may get 554.
    pub fn no_valid_recipients() -> Self {
        Reply::new(554, (5, 5, 1), "no valid recipients")
    }

    /// RFC 2920 3.1: some commands must be the last of a group; what follows may be smuggled.
    pub fn synchronization_error() -> Self {
        Reply::new(
            554,
            (5, 5, 0),
            "input before the reply, protocol synchronization lost",
        )
    }

    /// RFC 6531 3.5: 550 with 5.6.7 for the sender.
    pub fn sender_needs_smtputf8() -> Self {
        Reply::new(550, (5, 6, 7), "address needs SMTPUTF8")
    }

    /// RFC 6531 3.5: 553 with 5.6.7 for a recipient.
    pub fn recipient_needs_smtputf8() -> Self {
        Reply::new(553, (5, 6, 7), "address needs SMTPUTF8")
    }

    /// RFC 8689 2: REQUIRETLS only within TLS; RFC 5248: X.7.10, encryption needed, with 523.
    pub fn require_tls_needs_tls() -> Self {
        Reply::new(523, (5, 7, 10), "REQUIRETLS needs TLS")
    }

    /// RFC 4865 4.2: 501 with 5.5.4, for a time that is not offered.
    pub fn hold_not_offered() -> Self {
        Reply::new(501, (5, 5, 4), "not to be held for so long")
    }

    /// RFC 4865 4.2: 501 with 5.5.4, for a time that is over.
    pub fn hold_is_over() -> Self {
        Reply::new(501, (5, 5, 4), "HOLDUNTIL has passed")
    }

    /// RFC 1870 6.1 and 6.3: 552; RFC 3463 3.4: X.3.4, message too big for system.
    pub fn message_too_big() -> Self {
        Reply::new(552, (5, 3, 4), "message too big")
    }

    /// RFC 5321 4.5.3.1.10: 452; RFC 3463 3.6: X.5.3.
    pub fn too_many_recipients() -> Self {
        Reply::new(452, (4, 5, 3), "too many recipients")
    }

    /// A notification goes to one recipient: RFC 5321 6.1 and 4.5.5.
    pub fn one_recipient_for_notification() -> Self {
        Reply::new(452, (4, 5, 3), "one recipient only with null reverse-path")
    }

    /// RFC 5321 2.3.8 and 4.1.1.4.
    pub fn bare_cr_or_lf() -> Self {
        Reply::new(550, (5, 5, 2), "bare CR or LF in message")
    }

    /// RFC 5322 4, RFC 2045 2.7 and 2.8; RFC 3463 3.7: X.6.0, the message is malformed.
    pub fn nul_in_message() -> Self {
        Reply::new(
            550,
            (5, 6, 0),
            "NUL in message, which takes BDAT and BODY=BINARYMIME",
        )
    }

    /// RFC 5321 3.8: 421, the channel closes.
    pub fn too_many_errors() -> Self {
        Reply::new(421, (4, 7, 0), "too many errors")
    }

    /// RFC 5321 3.8, RFC 3463 3.4: X.3.2.
    pub fn shutting_down() -> Self {
        Reply::new(421, (4, 3, 2), "shutting down")
    }

    /// RFC 5321 4.5.3.2.7, RFC 3463 3.5: X.4.2.
    pub fn timeout() -> Self {
        Reply::new(421, (4, 4, 2), "timeout")
    }

    /// RFC 5321 3.8: rate or number of connections; `text` asks to slow down.
    pub fn try_later(text: &'static str) -> Self {
        Reply::new(421, (4, 7, 0), text)
    }

    /// RFC 5321 3.8: trouble on our side from which the session cannot go on.
    pub fn internal_error_closing() -> Self {
        Reply::new(421, (4, 3, 0), "internal error")
    }
}

/// What policy says about senders, recipients and messages.
impl Reply {
    /// RFC 3463 3.2: X.1.1, the mailbox does not exist.
    pub fn no_such_user() -> Self {
        Reply::new(550, (5, 1, 1), "no such user")
    }

    /// No relaying for strangers. RFC 5321 7.8, spec 1.8.
    pub fn domain_not_local() -> Self {
        Reply::new(550, (5, 1, 1), "not accepting email for domain")
    }

    /// An address literal is no local address.
    pub fn literal_not_accepted() -> Self {
        Reply::new(550, (5, 1, 1), "not accepting email for address literal")
    }

    /// RFC 3463 3.8: X.7.1, the account may not send as this.
    pub fn sender_not_allowed() -> Self {
        Reply::new(550, (5, 7, 1), "address does not belong to account")
    }

    /// RFC 3463 3.8: X.7.1; address literals as senders.
    pub fn sender_refused() -> Self {
        Reply::new(550, (5, 7, 0), "sender address not accepted")
    }

    /// RFC 5321 3.6.2 and 6.3, RFC 3463 3.5: X.4.6.
    pub fn loop_detected() -> Self {
        Reply::new(550, (5, 4, 6), "loop detected, too many Received fields")
    }

    /// RFC 5321 4.1.1.4: 451; our trouble.
    pub fn local_error() -> Self {
        Reply::new(451, (4, 3, 0), "error processing, try again later")
    }

    /// RFC 5321 4.1.1.4: 452; RFC 3463 3.4: X.3.1, mail system full.
    pub fn system_full() -> Self {
        Reply::new(452, (4, 3, 1), "system full")
    }

    /// RFC 3463 3.3: X.2.2, mailbox full.
    pub fn mailbox_full() -> Self {
        Reply::new(452, (4, 2, 2), "mailbox full")
    }

    /// RFC 3463 3.3: X.2.1, mailbox disabled for now.
    pub fn recipient_disabled() -> Self {
        Reply::new(450, (4, 2, 1), "recipient temporarily disabled")
    }

    /// RFC 3463 3.7: X.6.0, the message is malformed.
    pub fn bad_message(text: impl Into<Cow<'static, str>>) -> Self {
        Reply::new(554, (5, 6, 0), text)
    }

    /// RFC 3463 3.8: X.7.1, a sending limit of the account.
    pub fn sending_limit() -> Self {
        Reply::new(451, (4, 7, 1), "sending limit reached")
    }

    /// Spec 1.3: a peer that only fails.
    pub fn too_many_failures() -> Self {
        Reply::new(550, (5, 1, 0), "too many failures")
    }

    /// HELO with a name that does not exist, spec 1.4.
    pub fn hello_name_unknown() -> Self {
        Reply::new(550, (5, 5, 0), "your HELO name does not exist")
    }
}

//! Why an exchange fails. None of it says whether an account exists.
//! Called by the doors, which choose a reply by [`SaslError::failure`], and the record of login attempts, which writes its word.

/// Why a server's exchange ended without success.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SaslError {
    /// Not the mechanism's grammar, for example a wrong number of NULs, or an initial response where the server speaks first.
    #[error("malformed response")]
    Malformed,
    /// A name or password is empty. RFC 4616 2, RFC 5802 7.
    #[error("empty name or password")]
    EmptyField,
    /// A name, a password or a nonce is over [`crate::FIELD_MAX`] octets, or the whole response over its bound.
    #[error("response too long")]
    FieldTooLong,
    /// RFC 4616 2, RFC 5802 7: all text is UTF-8.
    #[error("response is not UTF-8")]
    NotUtf8,
    /// A name that cannot be one: [`crate::prepare_name`].
    #[error("name with control characters")]
    BadName,
    /// RFC 5802 5.1: a mandatory extension (`m=`) must fail the exchange.
    #[error("unknown mandatory extension")]
    UnknownExtension,
    /// RFC 5802 5.1: the nonce of the final message is not the one of this exchange.
    #[error("wrong nonce")]
    WrongNonce,
    /// RFC 5802 6: a -PLUS mechanism without a channel binding.
    #[error("the mechanism needs a channel binding")]
    BindingMissing,
    /// A channel binding under a name without -PLUS.
    #[error("the mechanism has no channel binding")]
    BindingUnasked,
    /// RFC 5802 6: a type of channel binding that this connection does not have.
    #[error("unsupported type of channel binding")]
    BindingUnsupported,
    /// RFC 5802 6: the client sees another TLS connection than we do, or another first message than we got.
    #[error("channel bindings do not match")]
    BindingMismatch,
    /// RFC 5802 6: the client could bind and believes that we cannot, while we offered it. Somebody changed the list.
    #[error("the server does support channel binding")]
    Downgrade,
    /// The identity to act as is not the one that authenticated. Asked before any secret is looked at.
    #[error("not authorized to act for another")]
    NotAuthorized,
    /// The caller's verdict: wrong password, proof, digest, key or token, or no such account.
    #[error("authentication failed")]
    Refused,
    /// The client cancelled.
    #[error("authentication cancelled")]
    Cancelled,
    /// A response after the end of the exchange.
    #[error("the exchange is over")]
    Finished,
    /// Our own fault: a response while a question is open, or a verdict that does not answer it.
    #[error("a step out of turn")]
    OutOfTurn,
}

/// What a failure was, in the words that the record of login attempts has for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Failure {
    /// The client does not speak the mechanism: "malformed" in the words of the protocol. No secret was tried.
    BadProtocol,
    /// Wrong, missing or downgraded channel binding: "authentication failed" in the words of the protocol.
    BadChannelBinding,
    /// "Authentication failed".
    BadCredentials,
    /// The client gave up.
    Aborted,
    /// Ours.
    Internal,
}

impl SaslError {
    /// What kind of failure it is.
    pub fn failure(self) -> Failure {
        match self {
            SaslError::Malformed
            | SaslError::EmptyField
            | SaslError::FieldTooLong
            | SaslError::NotUtf8
            | SaslError::BadName
            | SaslError::UnknownExtension
            | SaslError::WrongNonce
            | SaslError::Finished => Failure::BadProtocol,
            SaslError::BindingMissing
            | SaslError::BindingUnasked
            | SaslError::BindingUnsupported
            | SaslError::BindingMismatch
            | SaslError::Downgrade => Failure::BadChannelBinding,
            SaslError::NotAuthorized | SaslError::Refused => Failure::BadCredentials,
            SaslError::Cancelled => Failure::Aborted,
            SaslError::OutOfTurn => Failure::Internal,
        }
    }

    /// Whether the door should say "malformed" rather than "authentication failed".
    pub fn is_malformed(self) -> bool {
        self.failure() == Failure::BadProtocol
    }

    /// The value of `e=`, RFC 5802 7. Never `unknown-user`: nobody learns who exists.
    pub(crate) fn scram_value(self) -> &'static str {
        match self {
            SaslError::Malformed
            | SaslError::EmptyField
            | SaslError::FieldTooLong
            | SaslError::NotUtf8 => "invalid-encoding",
            SaslError::BadName => "invalid-username-encoding",
            SaslError::UnknownExtension => "extensions-not-supported",
            SaslError::BindingMissing | SaslError::BindingMismatch => "channel-bindings-dont-match",
            SaslError::BindingUnasked => "channel-binding-not-supported",
            SaslError::BindingUnsupported => "unsupported-channel-binding-type",
            SaslError::Downgrade => "server-does-support-channel-binding",
            SaslError::Refused => "invalid-proof",
            SaslError::WrongNonce
            | SaslError::NotAuthorized
            | SaslError::Cancelled
            | SaslError::Finished
            | SaslError::OutOfTurn => "other-error",
        }
    }
}

impl Failure {
    /// The word for logs, records and metrics.
    pub fn word(self) -> &'static str {
        match self {
            Failure::BadProtocol => "badprotocol",
            Failure::BadChannelBinding => "badchanbind",
            Failure::BadCredentials => "badcreds",
            Failure::Aborted => "aborted",
            Failure::Internal => "error",
        }
    }
}

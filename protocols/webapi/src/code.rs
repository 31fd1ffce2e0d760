//! What went wrong with a call, in the words clients know.

use std::fmt;

use serde::ser::{Serialize, SerializeStruct, Serializer};

/// Why a call failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Code {
    /// Content type, form or JSON is malformed.
    Protocol,
    /// The client's mistake, of a kind that has no code.
    User,
    /// Ours.
    Server,
    /// Anything else, as adding what is there already.
    Error,
    /// Not an address.
    BadAddress,
    /// Neither text nor HTML.
    MissingBody,
    /// More than one author.
    MultipleFrom,
    /// The account may not write as this author.
    BadFrom,
    /// The author's domain is switched off.
    DomainDisabled,
    /// To nobody.
    NoRecipients,
    /// As many messages as the account may send in a day.
    MessageLimitReached,
    /// As many new recipients as it may write to in a day.
    RecipientLimitReached,
    /// As many recipients of the account wait as may: later there is room again. Clients know it as the limit of messages, which says the same: nothing was
    /// sent, and waiting helps.
    QueueFull,
    /// Something went wrong when it may have been accepted already. Clients know it as a fault of the server.
    OutcomeUnknown,
    /// The message is larger than may be sent.
    MessageTooLarge,
    /// A Message-ID without its angle brackets.
    MalformedMessageId,
    /// The message was submitted, but there was no room for its copy.
    SentOverQuota,
    /// There is no such message.
    MessageNotFound,
    /// It has no such part.
    PartNotFound,
}

impl Code {
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Code::Protocol => "protocol",
            Code::User => "user",
            Code::Server | Code::OutcomeUnknown => "server",
            Code::Error => "error",
            Code::BadAddress => "badAddress",
            Code::MissingBody => "missingBody",
            Code::MultipleFrom => "multipleFrom",
            Code::BadFrom => "badFrom",
            Code::DomainDisabled => "domainDisabled",
            Code::NoRecipients => "noRecipients",
            Code::MessageLimitReached | Code::QueueFull => "messageLimitReached",
            Code::RecipientLimitReached => "recipientLimitReached",
            Code::MessageTooLarge => "messageTooLarge",
            Code::MalformedMessageId => "malformedMessageID",
            Code::SentOverQuota => "sentOverQuota",
            Code::MessageNotFound => "messageNotFound",
            Code::PartNotFound => "partNotFound",
        }
    }
}

/// A call's error: HTTP 400 with this as JSON.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct ApiError {
    /// For programs.
    pub code: Code,
    /// For people.
    pub message: String,
    /// Seconds after which it can be tried again, where that is known; it is not written.
    pub retry_after: Option<u32>,
}

impl ApiError {
    /// With its words.
    pub fn new(code: Code, message: impl Into<String>) -> ApiError {
        ApiError {
            code,
            message: message.into(),
            retry_after: None,
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for ApiError {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_struct("ApiError", 2)?;
        object.serialize_field("Code", self.code.as_str())?;
        object.serialize_field("Message", &self.message)?;
        object.end()
    }
}

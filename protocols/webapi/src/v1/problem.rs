//! What is wrong with a request, or with us. RFC 9457.

use schemars::JsonSchema;
use serde::{Serialize, Serializer};

use super::scope::Scope;

/// What kind of problem it is. Each has a status, and a type whose address tells about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Neither form nor JSON can be read.
    Malformed,
    /// No login, or a wrong one.
    Unauthorized,
    /// The key may not do this.
    MissingScope,
    /// A browser sent it for a page of another site.
    OtherSite,
    /// The account, or the key, may not write as this author.
    SenderNotAllowed,
    /// There is no such thing.
    NotFound,
    /// Not this way.
    MethodNotAllowed,
    /// The body came too slowly; nothing was done.
    TooSlow,
    /// The idempotency key was used for another request.
    IdempotencyConflict,
    /// As many as there may be.
    LimitReached,
    /// Larger than a request, or a message, may be.
    TooLarge,
    /// The body is of a type that is not read here.
    UnsupportedMediaType,
    /// The body is compressed, or coded in another way.
    UnsupportedCoding,
    /// It can be read, and what it says can't be done.
    Invalid,
    /// There is no room for the copy in the mailbox for sent mail.
    NoRoom,
    /// Too many requests.
    TooMany,
    /// Longer than the head of a request may be, or more fields in it.
    HeadTooLarge,
    /// The account has sent as many messages as it may.
    MessageLimit,
    /// It has written to as many new recipients as it may.
    RecipientLimit,
    /// As many of its recipients wait in the queue as may.
    QueueFull,
    /// It is more than the account may send at all.
    AboveLimit,
    /// The server has no time, or no room, at the moment; nothing was done.
    Unavailable,
    /// It is not known whether it was done.
    OutcomeUnknown,
}

impl Kind {
    /// All there are.
    pub const ALL: [Kind; 23] = [
        Kind::Malformed,
        Kind::Unauthorized,
        Kind::MissingScope,
        Kind::OtherSite,
        Kind::SenderNotAllowed,
        Kind::NotFound,
        Kind::MethodNotAllowed,
        Kind::TooSlow,
        Kind::IdempotencyConflict,
        Kind::LimitReached,
        Kind::TooLarge,
        Kind::UnsupportedMediaType,
        Kind::UnsupportedCoding,
        Kind::Invalid,
        Kind::NoRoom,
        Kind::TooMany,
        Kind::MessageLimit,
        Kind::RecipientLimit,
        Kind::QueueFull,
        Kind::HeadTooLarge,
        Kind::AboveLimit,
        Kind::Unavailable,
        Kind::OutcomeUnknown,
    ];

    /// The status of a response with it. RFC 9110 15.
    pub fn status(self) -> u16 {
        match self {
            Kind::Malformed => 400,
            Kind::Unauthorized => 401,
            Kind::MissingScope | Kind::OtherSite | Kind::SenderNotAllowed | Kind::AboveLimit => 403,
            Kind::NotFound => 404,
            Kind::MethodNotAllowed => 405,
            Kind::TooSlow => 408,
            Kind::IdempotencyConflict | Kind::LimitReached => 409,
            Kind::TooLarge => 413,
            Kind::UnsupportedMediaType | Kind::UnsupportedCoding => 415,
            Kind::Invalid | Kind::NoRoom => 422,
            // RFC 6585 4.
            Kind::TooMany | Kind::MessageLimit | Kind::RecipientLimit | Kind::QueueFull => 429,
            // RFC 6585 5.
            Kind::HeadTooLarge => 431,
            Kind::Unavailable | Kind::OutcomeUnknown => 503,
        }
    }

    /// The word at the end of its type.
    pub fn word(self) -> &'static str {
        match self {
            Kind::Malformed => "malformed",
            Kind::Unauthorized => "unauthorized",
            Kind::MissingScope => "missing-scope",
            Kind::OtherSite => "other-site",
            Kind::SenderNotAllowed => "sender-not-allowed",
            Kind::NotFound => "not-found",
            Kind::MethodNotAllowed => "method-not-allowed",
            Kind::TooSlow => "too-slow",
            Kind::IdempotencyConflict => "idempotency-conflict",
            Kind::LimitReached => "limit-reached",
            Kind::TooLarge => "too-large",
            Kind::UnsupportedMediaType => "unsupported-media-type",
            Kind::UnsupportedCoding => "unsupported-coding",
            Kind::Invalid => "invalid",
            Kind::NoRoom => "no-room",
            Kind::TooMany => "too-many-requests",
            Kind::HeadTooLarge => "head-too-large",
            Kind::MessageLimit => "message-limit-reached",
            Kind::RecipientLimit => "recipient-limit-reached",
            Kind::QueueFull => "queue-full",
            Kind::AboveLimit => "above-sending-limit",
            Kind::Unavailable => "unavailable",
            Kind::OutcomeUnknown => "outcome-unknown",
        }
    }

    /// For people.
    pub fn title(self) -> &'static str {
        match self {
            Kind::Malformed => "The request can't be read",
            Kind::Unauthorized => "A valid login is needed",
            Kind::MissingScope => "The key may not do this",
            Kind::OtherSite => "Pages of other sites may not do this",
            Kind::SenderNotAllowed => "This sender is not allowed",
            Kind::NotFound => "There is no such thing",
            Kind::MethodNotAllowed => "It can't be used this way",
            Kind::TooSlow => "The request came too slowly",
            Kind::IdempotencyConflict => "The idempotency key was used for another request",
            Kind::LimitReached => "There are as many as there may be",
            Kind::TooLarge => "It is too large",
            Kind::UnsupportedMediaType => "This content type is not read here",
            Kind::UnsupportedCoding => "This content coding is not read here",
            Kind::Invalid => "The request says what can't be done",
            Kind::NoRoom => "There is no room for the copy",
            Kind::TooMany => "Too many requests",
            Kind::HeadTooLarge => "The head of the request is too large",
            Kind::MessageLimit => "The account has sent as many messages as it may",
            Kind::RecipientLimit => "The account has written to as many new recipients as it may",
            Kind::QueueFull => "The queue has no room for more of this account",
            Kind::AboveLimit => "It is more than the account may send at all",
            Kind::Unavailable => "The server can't do it now",
            Kind::OutcomeUnknown => "It is not known whether it was done",
        }
    }

    /// What a client can do about it.
    pub fn advice(self) -> &'static str {
        match self {
            Kind::Malformed => {
                "Neither repeat it nor wait: the request has to be written otherwise."
            }
            Kind::Unauthorized => {
                "Send Authorization: Bearer with an API key, or Basic with a login address and its password."
            }
            Kind::MissingScope => "Use a key with the scope that the operation names.",
            Kind::OtherSite => "A browser sent the request for a page of another site.",
            Kind::SenderNotAllowed => {
                "Use an address of the account as author, one that the key allows, of a domain that is not disabled."
            }
            Kind::NotFound => "It is not there, not any more, or not yours.",
            Kind::MethodNotAllowed => {
                "The field Allow of the response names the methods that work."
            }
            Kind::TooSlow => "Nothing was done. Repeat it, if need be in smaller requests.",
            Kind::IdempotencyConflict => {
                "Repeat the request octet for octet to get its answer again, or use another key."
            }
            Kind::LimitReached => "Remove some first.",
            Kind::TooLarge => "The detail names the bound.",
            Kind::UnsupportedMediaType => {
                "The documentation of the operation names the types it takes."
            }
            Kind::UnsupportedCoding => "Send the body as it is, without Content-Encoding.",
            Kind::Invalid => "The list of errors names the fields.",
            Kind::NoRoom => "Nothing was sent. Make room, or send without save_sent.",
            Kind::TooMany => "Wait as long as the field Retry-After says.",
            Kind::HeadTooLarge => {
                "Send fewer or shorter header fields: the detail names the bounds."
            }
            Kind::MessageLimit | Kind::RecipientLimit => {
                "Nothing was sent, and nothing was counted. There is room again after as long as the field Retry-After says; GET /account tells what is left."
            }
            Kind::QueueFull => {
                "Nothing was sent. There is room again once some of those in the queue are over: GET /queue shows them, DELETE /queue/{id} takes one out."
            }
            Kind::AboveLimit => {
                "Nothing was sent, and waiting does not help: write to fewer recipients at a time, or ask the operator for another limit."
            }
            Kind::Unavailable => {
                "Nothing was done. Repeat it after as long as the field Retry-After says."
            }
            Kind::OutcomeUnknown => {
                "What was sent with an Idempotency-Key (messages and batches take one) is repeated with the same: it is done once. For anything else, look first whether it was done."
            }
        }
    }

    /// The address of its type, relative to the server.
    pub fn type_uri(self) -> String {
        format!("{}/problems/{}", super::MOUNT, self.word())
    }
}

impl Serialize for Kind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.type_uri())
    }
}

/// A field that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Fault {
    /// The field of the JSON, as an RFC 6901 pointer; empty: the whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pointer: Option<String>,
    /// Or the parameter in the query, the path or the header.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parameter: Option<String>,
    /// What is wrong with it.
    pub detail: String,
}

impl Fault {
    /// Of a field of the body.
    pub fn at(pointer: impl Into<String>, detail: impl Into<String>) -> Fault {
        Fault {
            pointer: Some(pointer.into()),
            parameter: None,
            detail: detail.into(),
        }
    }

    /// Of a parameter.
    pub fn of_parameter(name: impl Into<String>, detail: impl Into<String>) -> Fault {
        Fault {
            pointer: None,
            parameter: Some(name.into()),
            detail: detail.into(),
        }
    }
}

/// What is wrong with a token. RFC 6750 3.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenFault {
    /// It is none of ours, not any more, or its account may not log in.
    Invalid,
    /// It has not this scope.
    InsufficientScope(Scope),
}

impl TokenFault {
    /// As a challenge has it behind its realm.
    pub fn attributes(self) -> String {
        match self {
            TokenFault::Invalid => "error=\"invalid_token\"".into(),
            TokenFault::InsufficientScope(scope) => {
                let scope = scope.as_str();
                format!("error=\"insufficient_scope\", scope=\"{scope}\"")
            }
        }
    }
}

/// What is wrong: `application/problem+json` (RFC 9457).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Problem {
    /// What kind of problem it is: an address below `/webapi/v1/problems/`, which tells about it.
    #[serde(rename = "type")]
    #[schemars(with = "String", extend("format" = "uri-reference"))]
    pub kind: Kind,
    /// The kind in words.
    pub title: &'static str,
    /// The status of the response.
    #[schemars(range(min = 400, max = 599))]
    pub status: u16,
    /// This one, in words.
    pub detail: String,
    /// The fields that are wrong.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<Fault>,
    /// Under which number the server's log has the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// Seconds after which it can be tried again, where waiting helps.
    #[serde(skip)]
    pub retry_after: Option<u32>,
    /// What is wrong with the token that came, if one did.
    #[serde(skip)]
    pub token: Option<TokenFault>,
}

impl Problem {
    /// With its words.
    pub fn new(kind: Kind, detail: impl Into<String>) -> Problem {
        Problem {
            kind,
            title: kind.title(),
            status: kind.status(),
            detail: detail.into(),
            errors: Vec::new(),
            request_id: None,
            token: None,
            retry_after: match kind {
                Kind::TooMany | Kind::QueueFull => Some(60),
                Kind::Unavailable => Some(5),
                _ => None,
            },
        }
    }

    /// Of fields, the first of which is told in words too.
    pub fn of_faults(kind: Kind, errors: Vec<Fault>) -> Problem {
        let words = |fault: &Fault| {
            let named = fault
                .pointer
                .as_deref()
                .filter(|pointer| !pointer.is_empty());
            match named.or(fault.parameter.as_deref()) {
                Some(name) => format!("{name}: {}", fault.detail),
                None => fault.detail.clone(),
            }
        };
        let detail = errors.first().map_or_else(String::new, words);
        Problem {
            errors,
            ..Problem::new(kind, detail)
        }
    }
}

impl From<Fault> for Problem {
    fn from(fault: Fault) -> Problem {
        Problem::of_faults(Kind::Invalid, vec![fault])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn problems_are_written_as_rfc_9457_has_them() {
        let problem = Problem::from(Fault::at("/to/0/address", "no address"));
        let json = serde_json::to_value(&problem).unwrap();
        let expected = serde_json::json!({
            "type": "/webapi/v1/problems/invalid", "title": "The request says what can't be done", "status": 422,
            "detail": "/to/0/address: no address", "errors": [{"pointer": "/to/0/address", "detail": "no address"}],
        });
        assert_eq!(json, expected);
    }

    #[test]
    fn kinds_have_words_of_their_own() {
        for (at, kind) in Kind::ALL.into_iter().enumerate() {
            assert!((400..600).contains(&kind.status()));
            assert!(
                Kind::ALL[..at]
                    .iter()
                    .all(|other| other.word() != kind.word())
            );
            assert!(!kind.advice().is_empty());
        }
    }
}

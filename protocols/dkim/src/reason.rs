//! What the check of a signature came to, in the words of the standards.
//! Read by whoever writes Authentication-Results and decides. RFC 8601 2.7.1 (results), RFC 6376 6.1 (what fails and why).
//! Not here: what follows from it.

use std::fmt;

use crate::tag_list::TagListError;

/// Result of one signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Status {
    /// There is no signature, or none that counts: the domain is testing (t=y).
    None,
    /// The signature is good.
    Pass,
    /// Message or signature were changed, or the signature is another key's.
    Fail,
    /// The signature is good, but covers less than we ask for.
    Policy,
    /// The field is malformed, or was not looked at.
    Neutral,
    /// The key could not be asked for. Later it may be.
    TempError,
    /// It can never be verified.
    PermError,
}

impl Status {
    /// Its word in Authentication-Results.
    pub fn word(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::Policy => "policy",
            Self::Neutral => "neutral",
            Self::TempError => "temperror",
            Self::PermError => "permerror",
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.word())
    }
}

/// Why a signature did not pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
pub enum Reason {
    // Of the field.
    #[error("signature syntax error: {0}")]
    Syntax(#[from] TagListError),
    #[error("signature syntax error: {0}=")]
    Tag(&'static str),
    #[error("more signatures than are checked")]
    TooManySignatures,
    #[error("header too long")]
    HeaderTooLong,
    #[error("signature missing required tag {0}=")]
    MissingTag(&'static str),
    #[error("incompatible version")]
    Version,
    #[error("domain mismatch")]
    DomainMismatch,
    #[error("From field not signed")]
    FromNotSigned,
    #[error("signature expired")]
    Expired,
    #[error("the signing domain is not an organization's")]
    PublicSuffix,
    #[error("SHA-1 is no longer accepted")]
    Sha1,
    #[error("unknown algorithm")]
    Algorithm,
    #[error("unknown canonicalization")]
    Canonicalization,
    #[error("unknown query method")]
    QueryMethod,
    // Of the key.
    #[error("key unavailable")]
    KeyUnavailable,
    #[error("no key for signature")]
    NoKey,
    #[error("not a DKIM key record")]
    NoKeyRecord,
    #[error("key syntax error")]
    KeySyntax,
    #[error("inappropriate hash algorithm")]
    HashNotAllowed,
    #[error("inappropriate key algorithm")]
    KeyType,
    #[error("key revoked")]
    Revoked,
    #[error("key is not for mail")]
    Service,
    #[error("key is not for subdomains")]
    Strict,
    #[error("public key syntax error")]
    PublicKeySyntax,
    #[error("RSA key of {0} bits")]
    RsaKeySize(usize),
    // Of the message.
    #[error("signature did not verify")]
    Signature,
    #[error("body hash did not verify")]
    BodyHash,
    #[error("signed body length is longer than the body")]
    BodyTooShort,
    #[error("body length is limited")]
    BodyLength,
    #[error("Subject field not signed")]
    SubjectNotSigned,
}

impl Reason {
    /// The result that it means.
    pub fn status(self) -> Status {
        match self {
            // RFC 8601 2.7.1: neutral is for syntax errors, and for what was not processed.
            Self::Syntax(_) | Self::Tag(_) | Self::TooManySignatures | Self::HeaderTooLong => {
                Status::Neutral
            }
            Self::KeyUnavailable => Status::TempError,
            Self::Signature | Self::BodyHash => Status::Fail,
            Self::BodyLength | Self::SubjectNotSigned => Status::Policy,
            _ => Status::PermError,
        }
    }
}

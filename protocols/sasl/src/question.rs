//! What an exchange asks its caller, and what the caller may answer. All of it is plain data that can travel to another thread or core.

use std::num::NonZeroU32;

use crate::cram::CramDigest;
use crate::oauth::{BearerToken, TokenError};
use crate::{Credentials, ScramHash, ScramProof, ServerSignature};

/// Something to look up; the answer goes to [`crate::Exchange::resume`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Question {
    /// PLAIN, LOGIN: is this the password, and may the authzid be used? Answer with [`Verdict::Accepted`].
    Password(Credentials),
    /// SCRAM: which salt has this account? Answer with [`Verdict::Salt`], for a name that nobody has too: with a salt that stays the same
    /// and the usual iteration count.
    Salt {
        /// Who the client claims to be, prepared.
        username: String,
        /// For which hash.
        hash: ScramHash,
    },
    /// SCRAM: is one of the account's keys right? Answer with [`Verdict::Signed`].
    Proof(ScramProof),
    /// CRAM-MD5: is one of the account's states right? Answer with [`Verdict::Accepted`].
    Digest(CramDigest),
    /// EXTERNAL: whose is the key of the TLS client certificate, and may it act as `authzid`? Answer with [`Verdict::Accepted`].
    Certificate {
        /// The identity to act as, prepared; none to take the certificate's.
        authzid: Option<String>,
    },
    /// OAUTHBEARER, XOAUTH2: is this token good, and for whom? Answer with [`Verdict::Accepted`].
    Token(BearerToken),
}

/// The answer to a [`Question`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// To [`Question::Salt`].
    Salt {
        /// As stored, or made up from the name.
        salt: Vec<u8>,
        /// As stored, or the usual.
        iterations: NonZeroU32,
    },
    /// Yes; to all but the two questions of SCRAM.
    Accepted,
    /// Yes; to [`Question::Proof`], with what [`ScramProof::verify`] gave.
    Signed(ServerSignature),
    /// No, whatever the reason; to any question.
    Refused,
    /// No; to [`Question::Token`], with what to tell the client.
    TokenRefused(TokenError),
}

//! Words of reports: what went wrong (RFC 8460 4.3) and by which kind of policy (4.4).

use std::fmt;

use crate::text::bounded;

/// Known words, and room for those to come.
macro_rules! words {
    ($(#[$about:meta])* $kind:ident { $($(#[$meaning:meta])* $variant:ident $word:literal),+ $(,)? }) => {
        $(#[$about])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $kind {
            $($(#[$meaning])* $variant,)+
            /// Another word, from somebody else's report.
            Other(String),
        }

        impl $kind {
            /// All that RFC 8460 knows.
            pub const ALL: &'static [$kind] = &[$($kind::$variant),+];

            /// As in reports.
            pub fn as_str(&self) -> &str {
                match self {
                    $($kind::$variant => $word,)+
                    $kind::Other(word) => word,
                }
            }

            /// The meaning of a word. Words are compared without regard to case: some senders shout.
            pub fn from_word(word: &str) -> Self {
                $(if word.eq_ignore_ascii_case($word) {
                    return $kind::$variant;
                })+
                $kind::Other(bounded(word))
            }
        }

        impl fmt::Display for $kind {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

words! {
    /// What went wrong. RFC 8460 4.3.
    ResultType {
        /// 4.3.1: the host offers no STARTTLS.
        StarttlsNotSupported "starttls-not-supported",
        /// 4.3.1: the certificate is not for the host.
        CertificateHostMismatch "certificate-host-mismatch",
        /// 4.3.1.
        CertificateExpired "certificate-expired",
        /// 4.3.1: no trusted issuer, and what else can be wrong with certificates.
        CertificateNotTrusted "certificate-not-trusted",
        /// 4.3.1, 4.3.3: anything else; the reason says what.
        ValidationFailure "validation-failure",
        /// 4.3.2.1: none of the TLSA records is valid.
        TlsaInvalid "tlsa-invalid",
        /// 4.3.2.1: the resolver gave no valid records.
        DnssecInvalid "dnssec-invalid",
        /// 4.3.2.1: the sender insists on DANE, and the host has none.
        DaneRequired "dane-required",
        /// 4.3.2.2: the policy could not be fetched.
        StsPolicyFetchError "sts-policy-fetch-error",
        /// 4.3.2.2: it is malformed.
        StsPolicyInvalid "sts-policy-invalid",
        /// 4.3.2.2: its host has no valid certificate.
        StsWebpkiInvalid "sts-webpki-invalid",
    }
}

words! {
    /// Kinds of policies. RFC 8460 4.4.
    PolicyType {
        /// DANE.
        Tlsa "tlsa",
        /// MTA-STS.
        Sts "sts",
        /// Neither.
        NoPolicyFound "no-policy-found",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_meanings() {
        assert_eq!(ResultType::ALL.len(), 11);
        for result in ResultType::ALL {
            assert_eq!(&ResultType::from_word(result.as_str()), result);
            assert_eq!(
                &ResultType::from_word(&result.as_str().to_uppercase()),
                result
            );
        }
        for policy in PolicyType::ALL {
            assert_eq!(&PolicyType::from_word(policy.as_str()), policy);
        }
        let later = ResultType::from_word("quantum-failure");
        assert_eq!(later, ResultType::Other("quantum-failure".into()));
        assert_eq!(later.to_string(), "quantum-failure");
    }
}

//! DKIM selectors of a domain, in the domains file: the keys that sign its mail, and how. RFC 6376, 8301, 8463.
//! The key files are read at the start and at each reload; whoever else may read one could sign as the domain.
//! Not here: the keys in force (`live/signers.rs`), the rules for the table (`check/dkim.rs`).

use std::fmt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use dkim::limits::KEY_FILE_MAX;
use dkim::{
    Canonicalization, Canonicalizations, KeyError, Name, SignedFields, SignedFieldsError,
    SigningKey,
};
use sasl::Secret;
use serde::{Deserialize, Serialize};

use super::text::Fingerprint;
use super::units::Secs;

/// One selector.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DkimSelector {
    /// The file of the private key.
    pub key: PathBuf,
    /// Whether it signs; one that does not may be in DNS already, for later.
    pub sign: bool,
    /// Header fields that are signed once more than they occur. `None`: those of [`SignedFields::default`].
    pub sealed_fields: Option<Vec<String>>,
    /// Header fields that are signed as often as they occur. `None`: the same.
    pub signed_fields: Option<Vec<String>>,
    /// Of header and body.
    pub canonicalization: DkimCanonicalization,
    /// How long a signature holds, at least until the queue gives the message up. 0: for ever.
    pub expiration_secs: Secs,
}

impl Default for DkimSelector {
    fn default() -> Self {
        Self {
            key: PathBuf::new(),
            sign: true,
            sealed_fields: None,
            signed_fields: None,
            canonicalization: DkimCanonicalization::default(),
            expiration_secs: Secs::minutes(72 * 60),
        }
    }
}

impl DkimSelector {
    /// The fields to sign; none if they are the default ones.
    pub fn fields(&self) -> Result<Option<SignedFields>, SignedFieldsError> {
        if self.sealed_fields.is_none() && self.signed_fields.is_none() {
            return Ok(None);
        }
        let default = SignedFields::default();
        let sealed = names(self.sealed_fields.as_deref(), default.sealed());
        let signed = names(self.signed_fields.as_deref(), default.signed());
        SignedFields::new(&sealed, &signed).map(Some)
    }

    /// How long a signature holds.
    pub fn expiration(&self) -> Option<u64> {
        let secs = self.expiration_secs.duration().as_secs();
        (secs > 0).then_some(secs)
    }
}

fn names<'n>(own: Option<&'n [String]>, default: impl Iterator<Item = &'n str>) -> Vec<&'n str> {
    match own {
        Some(own) => own.iter().map(String::as_str).collect(),
        None => default.collect(),
    }
}

/// c= of a signature.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum DkimCanonicalization {
    /// White space may change on the way.
    #[default]
    #[serde(rename = "relaxed/relaxed")]
    Relaxed,
    /// That of the header may change.
    #[serde(rename = "relaxed/simple")]
    RelaxedSimple,
    /// That of the body may change.
    #[serde(rename = "simple/relaxed")]
    SimpleRelaxed,
    /// Nothing may change.
    #[serde(rename = "simple/simple")]
    Simple,
}

impl From<DkimCanonicalization> for Canonicalizations {
    fn from(both: DkimCanonicalization) -> Self {
        use DkimCanonicalization as Both;
        let of = |relaxed| match relaxed {
            true => Canonicalization::Relaxed,
            false => Canonicalization::Simple,
        };
        Self {
            header: of(matches!(both, Both::Relaxed | Both::RelaxedSimple)),
            body: of(matches!(both, Both::Relaxed | Both::SimpleRelaxed)),
        }
    }
}

/// The name of a selector, with A-labels, in lower case.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SelectorName(Box<str>);

impl SelectorName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for SelectorName {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let name = Name::parse(&text).map_err(|_| {
            format!("{text:?} is no selector: letters, digits and hyphens, as in \"2026a\"")
        })?;
        Ok(Self(name.ascii().into()))
    }
}

impl From<SelectorName> for String {
    fn from(name: SelectorName) -> Self {
        name.0.into()
    }
}

impl fmt::Display for SelectorName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// A key file's content.
pub struct KeyText(Secret);

impl KeyText {
    /// Reads it, if nobody but its owner can (blocking).
    pub fn read(path: &Path) -> Result<KeyText, String> {
        let told = |what: String| format!("{}: {what}", path.display());
        let metadata = std::fs::metadata(path).map_err(|e| told(e.to_string()))?;
        if !metadata.is_file() || metadata.len() > KEY_FILE_MAX as u64 {
            return Err(told("not the file of a key".to_owned()));
        }
        if metadata.mode() & 0o077 != 0 {
            let what = "others than its owner may read or write it";
            return Err(told(what.to_owned()));
        }
        let octets = std::fs::read(path).map_err(|e| told(e.to_string()))?;
        Ok(KeyText(Secret::new(octets)))
    }

    /// To tell whether it is still the same.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(self.text())
    }

    /// The key. The error does not name the file.
    pub fn key(&self) -> Result<SigningKey, KeyError> {
        SigningKey::from_pem(self.text())
    }

    // What is no UTF-8 is no PEM either.
    fn text(&self) -> &str {
        self.0.as_str().unwrap_or_default()
    }
}

/// The key in a file (blocking).
pub fn read_key(path: &Path) -> Result<SigningKey, String> {
    let text = KeyText::read(path)?;
    text.key().map_err(|e| format!("{}: {e}", path.display()))
}

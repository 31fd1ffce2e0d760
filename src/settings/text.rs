//! Texts of the settings as they were read, and what tells one version of a file from another.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hasher};
use std::path::PathBuf;

/// A file as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text {
    /// Where it was.
    pub path: PathBuf,
    /// What it held.
    pub content: String,
}

impl Text {
    /// A text under a path; nothing is read.
    pub fn new(path: impl Into<PathBuf>, content: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            content: content.into(),
        }
    }
}

/// All files of the settings as they were read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Texts {
    /// The static file.
    pub server: Text,
    /// The domains file.
    pub domains: Text,
    /// The accounts, in order of their names.
    pub accounts: Vec<Text>,
}

/// What a file held, reduced to a number: enough to notice an edit by hand. Not stable between versions; never stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprint(u64);

impl Fingerprint {
    /// The fingerprint of a content.
    pub fn of(content: &str) -> Self {
        let mut hasher = DefaultHasher::new();
        hasher.write(content.as_bytes());
        Self(hasher.finish())
    }
}

/// The fingerprint of each file, by path.
pub type Fingerprints = BTreeMap<PathBuf, Fingerprint>;

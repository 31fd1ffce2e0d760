//! What an unknown name is answered with, so that it looks like a known one with a wrong password: a salt that stays the same for a name,
//! and the iteration count of everybody. Both outlive restarts: they are in the file `logins` of the data directory.

use std::fs;
use std::io::Write;
use std::num::NonZeroU32;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use sasl::ScramHash;
use serde::{Deserialize, Serialize};

use super::password::random;
use super::secrets::SaltRow;

/// Iteration counts of SCRAM. A data directory keeps those it was made with: accounts with different ones would differ from names that
/// nobody has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Iterations {
    /// Of PBKDF2 with SHA-256.
    pub sha256: NonZeroU32,
    /// Of PBKDF2 with SHA-1.
    pub sha1: NonZeroU32,
}

impl Iterations {
    /// Of a hash.
    pub fn of(&self, hash: ScramHash) -> NonZeroU32 {
        match hash {
            ScramHash::Sha256 => self.sha256,
            ScramHash::Sha1 => self.sha1,
        }
    }
}

/// Makes salts for names that nobody has.
#[derive(Clone, Debug)]
pub struct Unknown {
    key: ring::hmac::Key,
    /// Those of this data directory.
    pub iterations: Iterations,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    salt_key: String,
    scram_iterations: Iterations,
}

impl Unknown {
    /// Reads the file of a data directory, or makes it. Blocking.
    pub fn open(directory: &Path, iterations: Iterations) -> Result<Unknown, String> {
        let path = directory.join("logins");
        let at = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
        match fs::read_to_string(&path) {
            Ok(text) => {
                let remedy = "restore it from a backup, or remove it: then unknown names get other salts than before, which tells them from known ones";
                let written: Written =
                    toml::from_str(&text).map_err(|e| at(&format!("{e}; {remedy}")))?;
                let key = sasl::base64::decode(written.salt_key.as_bytes())
                    .ok()
                    .filter(|key| key.len() == KEY)
                    .ok_or_else(|| at(&format!("salt_key is no key; {remedy}")))?;
                Ok(Unknown::new(&key, written.scram_iterations))
            }
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                let mut key = [0; KEY];
                random(&mut key)?;
                let written = Written {
                    salt_key: sasl::base64::encode(&key),
                    scram_iterations: iterations,
                };
                let text = toml::to_string(&written).map_err(|e| at(&e))?;
                write_secret(directory, &path, &format!("{HEAD}{text}")).map_err(|e| at(&e))?;
                Ok(Unknown::new(&key, iterations))
            }
            Err(e) => Err(at(&e)),
        }
    }

    fn new(key: &[u8], iterations: Iterations) -> Unknown {
        Unknown {
            key: ring::hmac::Key::new(ring::hmac::HMAC_SHA256, key),
            iterations,
        }
    }

    /// The salt of a name.
    pub fn salt(&self, name: &str, hash: ScramHash) -> SaltRow {
        let mut context = ring::hmac::Context::with_key(&self.key);
        context.update(&[hash as u8]);
        context.update(name.as_bytes());
        SaltRow {
            salt: context.sign().as_ref()[..SALT].to_vec(),
            iterations: self.iterations.of(hash),
        }
    }
}

/// A file for the server alone: whole or not at all, and durable.
pub fn write_secret(directory: &Path, path: &Path, text: &str) -> std::io::Result<()> {
    let new = path.with_extension("new");
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&new)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    fs::File::open(directory)?.sync_all()
}

const HEAD: &str = "# Made once, by ringmail: what names that nobody has are answered with at a login. Keep it, and keep it secret.\n";
const KEY: usize = 32;
/// Octets of a salt.
pub const SALT: usize = 16;

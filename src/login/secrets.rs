//! What is stored of an account's secrets, and how it is made of a password. No password is kept, nor anything that could stand for one
//! at another server: argon2id for PLAIN and LOGIN, StoredKey and ServerKey for SCRAM (RFC 5802 3), two MD5 states for CRAM-MD5.
//!
//! Salt and iteration count of SCRAM are an account's for life: all its passwords share them, so that a client which learns them before
//! it says which password it has can use any. An app password is made here, of 100 random bits: no dictionary has it, so one SHA-256
//! is enough to check it by.

use std::num::NonZeroU32;

use sasl::{CramDigest, CramState, ScramHash, ScramKeys, ScramProof, Secret, ServerSignature};
use serde::{Deserialize, Serialize};

use super::password::{HashCost, hash_password, random};
use super::unknown::{Iterations, SALT};
use crate::settings::AuthLimits;

/// All of an account's secrets.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Secrets {
    /// For SCRAM-SHA-256.
    pub sha256: Option<SaltRow>,
    /// For SCRAM-SHA-1.
    pub sha1: Option<SaltRow>,
    /// The password; none if none was ever set.
    pub password: Option<Password>,
    /// App passwords, in the order they were made.
    pub app_passwords: Vec<AppPassword>,
}

/// Salt and iteration count of one hash.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SaltRow {
    /// 16 random octets.
    pub salt: Vec<u8>,
    /// RFC 5802 5.1 `i=`.
    pub iterations: NonZeroU32,
}

/// What is stored of the password.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Password {
    /// PHC string.
    pub argon2id: String,
    /// For the mechanisms without the password.
    pub keys: Keys,
}

/// What SCRAM and CRAM-MD5 check; none of a mechanism that was switched off when it was made, or since.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Keys {
    /// StoredKey and ServerKey of SCRAM-SHA-256.
    pub sha256: Option<KeyPair>,
    /// Those of SCRAM-SHA-1.
    pub sha1: Option<KeyPair>,
    /// The states of MD5 after the key blocks of HMAC.
    pub cram_md5: Option<Vec<u8>>,
}

/// RFC 5802 3.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyPair {
    /// Checks the client's proof.
    pub stored: Vec<u8>,
    /// Signs our answer.
    pub server: Vec<u8>,
}

/// A password that the server made for one program or device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppPassword {
    /// The owner's word for it.
    pub name: String,
    /// Seconds since 1970.
    pub created: i64,
    /// What it opens.
    pub services: Services,
    /// SHA-256 of salt and password.
    pub digest: [u8; 32],
    /// 16 random octets.
    pub salt: [u8; 16],
    /// For the mechanisms without the password.
    pub keys: Keys,
}

/// Services that a password may be good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Services {
    /// Reading mail.
    pub imap: bool,
    /// Sending mail.
    pub submission: bool,
}

impl Services {
    /// All.
    pub const ALL: Services = Services {
        imap: true,
        submission: true,
    };

    /// Their names.
    pub fn words(self) -> Vec<&'static str> {
        let all = [Service::Imap, Service::Submission];
        let open = all.into_iter().filter(|service| self.open(*service));
        open.map(Service::as_str).collect()
    }

    fn open(self, service: Service) -> bool {
        match service {
            Service::Imap => self.imap,
            Service::Submission => self.submission,
            // It reads and sends.
            Service::WebApi => self.imap && self.submission,
        }
    }
}

/// The service that is logged in to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// IMAP.
    Imap,
    /// SMTP submission.
    Submission,
    /// The sending API, which reads mail too.
    WebApi,
}

impl Service {
    /// As in logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Service::Imap => "imap",
            Service::Submission => "submission",
            Service::WebApi => "webapi",
        }
    }
}

/// How secrets are made, and which are kept.
#[derive(Clone, Copy, Debug)]
pub struct Scheme {
    /// Of argon2id.
    pub cost: HashCost,
    /// Of SCRAM, for accounts that have none yet.
    pub iterations: Iterations,
    /// SCRAM-SHA-1 is on.
    pub sha1: bool,
    /// CRAM-MD5 is on.
    pub cram_md5: bool,
}

impl Scheme {
    /// As the settings say.
    pub fn new(auth: &AuthLimits, iterations: Iterations) -> Scheme {
        Scheme {
            cost: HashCost {
                memory_kib: (auth.argon2_memory_bytes.get() / 1024) as u32,
                passes: auth.argon2_passes,
            },
            iterations,
            sha1: auth.scram_sha1,
            cram_md5: auth.cram_md5,
        }
    }

    /// Whether keys for this hash are made and kept.
    pub fn has(&self, hash: ScramHash) -> bool {
        hash == ScramHash::Sha256 || self.sha1
    }
}

impl Secrets {
    /// Replaces the password, which is prepared already. Heavy, some tenths of a second: never on an executor. An error is the operating
    /// system's randomness failing.
    pub fn set_password(&mut self, password: &[u8], scheme: &Scheme) -> Result<(), String> {
        self.take_salts(scheme)?;
        self.password = Some(Password {
            argon2id: hash_password(password, scheme.cost)?,
            keys: self.keys_of(password, scheme),
        });
        Ok(())
    }

    /// Makes an app password and answers it; it can't be read again. As heavy as a password.
    pub fn add_app_password(
        &mut self,
        name: &str,
        services: Services,
        created: i64,
        scheme: &Scheme,
    ) -> Result<Secret, String> {
        self.take_salts(scheme)?;
        let password = app_password()?;
        let mut salt = [0; 16];
        random(&mut salt)?;
        self.app_passwords.push(AppPassword {
            name: name.to_string(),
            created,
            services,
            digest: app_digest(&salt, &password),
            salt,
            keys: self.keys_of(&password, scheme),
        });
        Ok(password)
    }

    /// Secrets that no claim fits, to spend on a name that nobody has the time a known one takes.
    pub fn nobody() -> Result<Secrets, String> {
        let pair = |length: usize| -> Result<KeyPair, String> {
            let mut pair = KeyPair {
                stored: vec![0; length],
                server: vec![0; length],
            };
            random(&mut pair.stored)?;
            random(&mut pair.server)?;
            Ok(pair)
        };
        let mut states = vec![0; CramState::LENGTH];
        random(&mut states)?;
        Ok(Secrets {
            password: Some(Password {
                argon2id: String::new(),
                keys: Keys {
                    sha256: Some(pair(ScramHash::Sha256.length())?),
                    sha1: Some(pair(ScramHash::Sha1.length())?),
                    cram_md5: Some(states),
                },
            }),
            ..Secrets::default()
        })
    }

    fn take_salts(&mut self, scheme: &Scheme) -> Result<(), String> {
        for hash in ScramHash::ALL.into_iter().filter(|h| scheme.has(*h)) {
            let row = self.salt_mut(hash);
            if row.is_none() {
                let mut salt = vec![0; SALT];
                random(&mut salt)?;
                *row = Some(SaltRow {
                    salt,
                    iterations: scheme.iterations.of(hash),
                });
            }
        }
        Ok(())
    }

    fn keys_of(&self, password: &[u8], scheme: &Scheme) -> Keys {
        let pair = |hash| {
            let SaltRow { salt, iterations } = self.salt(hash).filter(|_| scheme.has(hash))?;
            let keys = ScramKeys::derive(hash, password, salt, *iterations);
            Some(KeyPair {
                stored: keys.stored_key.to_vec(),
                server: keys.server_key.to_vec(),
            })
        };
        Keys {
            sha256: pair(ScramHash::Sha256),
            sha1: pair(ScramHash::Sha1),
            cram_md5: scheme
                .cram_md5
                .then(|| CramState::derive(password).to_bytes().to_vec()),
        }
    }

    fn salt_mut(&mut self, hash: ScramHash) -> &mut Option<SaltRow> {
        match hash {
            ScramHash::Sha256 => &mut self.sha256,
            ScramHash::Sha1 => &mut self.sha1,
        }
    }

    /// Salt and iterations that SCRAM clients are told.
    pub fn salt(&self, hash: ScramHash) -> Option<&SaltRow> {
        match hash {
            ScramHash::Sha256 => self.sha256.as_ref(),
            ScramHash::Sha1 => self.sha1.as_ref(),
        }
    }

    /// Takes out what is kept for mechanisms that are off; whether there was any. Salts stay: they are for life.
    pub fn drop_unused(&mut self, scheme: &Scheme) -> bool {
        let mut dropped = false;
        let all = self.password.iter_mut().map(|p| &mut p.keys);
        for keys in all.chain(self.app_passwords.iter_mut().map(|a| &mut a.keys)) {
            if !scheme.sha1 {
                dropped |= keys.sha1.take().is_some();
            }
            if !scheme.cram_md5 {
                dropped |= keys.cram_md5.take().is_some();
            }
        }
        dropped
    }

    /// Whether there is anything for SCRAM-SHA-1, and for CRAM-MD5: the mechanisms that can be switched off.
    pub fn switchable(&self) -> (bool, bool) {
        let all = self.password.iter().map(|p| &p.keys);
        let all = all.chain(self.app_passwords.iter().map(|a| &a.keys));
        all.fold((false, false), |(sha1, cram_md5), keys| {
            (
                sha1 | keys.sha1.is_some(),
                cram_md5 | keys.cram_md5.is_some(),
            )
        })
    }

    fn keys(&self, service: Service) -> impl Iterator<Item = &Keys> {
        let app = self.app_passwords.iter();
        let app = app
            .filter(move |a| a.services.open(service))
            .map(|a| &a.keys);
        self.password.iter().map(|p| &p.keys).chain(app)
    }

    /// Whether there are passwords for the service, and none of them can be checked by SCRAM with this hash; without one by CRAM-MD5. They
    /// were set while the mechanism was off.
    pub fn lacks_keys(&self, hash: Option<ScramHash>, service: Service) -> bool {
        let mut all = self.keys(service).peekable();
        let has = |keys: &Keys| match hash {
            Some(ScramHash::Sha256) => keys.sha256.is_some(),
            Some(ScramHash::Sha1) => keys.sha1.is_some(),
            None => keys.cram_md5.is_some(),
        };
        all.peek().is_some() && !all.any(has)
    }

    /// The signature for a SCRAM client that has proven to know one of the passwords. Two HMACs for each: fast.
    pub fn check_proof(&self, proof: &ScramProof, service: Service) -> Option<ServerSignature> {
        let pairs = self.keys(service).filter_map(|keys| match proof.hash {
            ScramHash::Sha256 => keys.sha256.as_ref(),
            ScramHash::Sha1 => keys.sha1.as_ref(),
        });
        // All of them, so that the time does not tell which it was.
        pairs.fold(None, |found, pair| {
            proof.verify(&pair.stored, &pair.server).or(found)
        })
    }

    /// Whether a CRAM-MD5 client knows one of the passwords.
    pub fn check_digest(&self, digest: &CramDigest, service: Service) -> bool {
        let states = self.keys(service).filter_map(|keys| {
            let octets = keys.cram_md5.as_deref()?.try_into().ok()?;
            Some(CramState::from_bytes(octets))
        });
        states.fold(false, |found, state| digest.verify(&state) | found)
    }

    /// Whether this is one of the app passwords for the service.
    pub fn is_app_password(&self, password: &[u8], service: Service) -> bool {
        let app = self.app_passwords.iter();
        app.filter(|a| a.services.open(service))
            .fold(false, |found, app| {
                let digest = app_digest(&app.salt, password);
                // Of a value with 100 random bits: how far two digests agree tells nothing.
                (digest == app.digest) | found
            })
    }
}

/// Four groups of five letters and digits out of 32, none of which looks like another. RFC 8265 leaves it as it is.
fn app_password() -> Result<Secret, String> {
    const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    let mut octets = [0; 20];
    random(&mut octets)?;
    let mut text = Vec::with_capacity(23);
    for (at, octet) in octets.iter().enumerate() {
        if at > 0 && at % 5 == 0 {
            text.push(b'-');
        }
        text.push(LETTERS[usize::from(octet % 32)]);
    }
    Ok(Secret::new(text))
}

fn app_digest(salt: &[u8; 16], password: &[u8]) -> [u8; 32] {
    let mut context = ring::digest::Context::new(&ring::digest::SHA256);
    context.update(salt);
    context.update(password);
    let mut digest = [0; 32];
    digest.copy_from_slice(context.finish().as_ref());
    digest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scheme() -> Scheme {
        let iterations = NonZeroU32::new(4096).unwrap();
        Scheme {
            cost: HashCost {
                memory_kib: 64,
                passes: 1,
            },
            iterations: Iterations {
                sha256: iterations,
                sha1: iterations,
            },
            sha1: true,
            cram_md5: true,
        }
    }

    #[test]
    fn salts_stay_for_life_and_app_passwords_open_what_they_are_for() {
        let mut secrets = Secrets::default();
        secrets.set_password(b"first password", &scheme()).unwrap();
        let before = secrets.clone();
        let imap = Services {
            imap: true,
            submission: false,
        };
        let app = secrets
            .add_app_password("phone", imap, 0, &scheme())
            .unwrap();
        secrets.set_password(b"second password", &scheme()).unwrap();
        assert_eq!(
            (&before.sha256, &before.sha1),
            (&secrets.sha256, &secrets.sha1)
        );
        assert_ne!(before.password, secrets.password);
        assert!(secrets.is_app_password(&app, Service::Imap));
        assert!(!secrets.is_app_password(&app, Service::Submission));
        assert!(!secrets.is_app_password(b"second password", Service::Imap));
        assert_eq!(app.len(), 23);
        assert_ne!(
            app,
            secrets
                .add_app_password("other", imap, 0, &scheme())
                .unwrap()
        );
    }

    #[test]
    fn nothing_is_kept_for_a_mechanism_that_is_off() {
        let off = Scheme {
            sha1: false,
            cram_md5: false,
            ..scheme()
        };
        let mut secrets = Secrets::default();
        secrets.set_password(b"a password", &scheme()).unwrap();
        secrets
            .add_app_password("phone", Services::ALL, 0, &scheme())
            .unwrap();
        assert!(secrets.drop_unused(&off));
        assert!(!secrets.drop_unused(&off));
        for keys in secrets.keys(Service::Imap) {
            assert!(keys.sha256.is_some() && keys.sha1.is_none() && keys.cram_md5.is_none());
        }
        let mut made = Secrets::default();
        made.set_password(b"a password", &off).unwrap();
        assert!(made.sha1.is_none() && !made.drop_unused(&off));
    }
}

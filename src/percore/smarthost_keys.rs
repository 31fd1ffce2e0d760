//! Keys of SCRAM for logins at smarthosts, derived before: the next connection costs no PBKDF2 as long as the server has the same salt
//! (RFC 5802 5.1, `i`). Each core has its own. They are as good as the password, which is in memory beside them, and go when the settings
//! or the transport's files are read anew. Not here: the exchange (`outbound/login.rs`).

use std::cell::RefCell;
use std::sync::Arc;

use sasl::{ClientKeys, ScramHash};

use super::PerCore;
use crate::client_tls::Files;

/// At most one for each transport in force and hash.
#[derive(Default)]
pub struct SmarthostKeys(RefCell<Vec<Remembered>>);

struct Remembered {
    /// One password and one server.
    files: Arc<Files>,
    hash: ScramHash,
    keys: ClientKeys,
}

impl SmarthostKeys {
    /// Those that were derived last.
    fn of(&self, files: &Arc<Files>, hash: ScramHash) -> Option<ClientKeys> {
        let all = self.0.borrow();
        let found = all.iter().find(|one| one.is(files, hash));
        found.map(|one| one.keys.clone())
    }

    fn remember(&self, files: &Arc<Files>, hash: ScramHash, keys: ClientKeys) {
        let mut all = self.0.borrow_mut();
        all.retain(|one| !one.is(files, hash));
        all.push(Remembered {
            files: files.clone(),
            hash,
            keys,
        });
    }

    pub(crate) fn forget(&self) {
        self.0.borrow_mut().clear();
    }
}

impl Remembered {
    fn is(&self, files: &Arc<Files>, hash: ScramHash) -> bool {
        self.hash == hash && Arc::ptr_eq(&self.files, files)
    }
}

impl PerCore {
    /// What the password of a transport came to at its server's salt, if that was derived before.
    pub fn smarthost_keys(&self, files: &Arc<Files>, hash: ScramHash) -> Option<ClientKeys> {
        self.smarthost_keys.of(files, hash)
    }

    /// For the next connection; not for a transport that is no longer in force.
    pub fn remember_smarthost_keys(&self, files: &Arc<Files>, hash: ScramHash, keys: ClientKeys) {
        let live = self.live.borrow();
        if live.transports.values().any(|now| Arc::ptr_eq(now, files)) {
            self.smarthost_keys.remember(files, hash, keys);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Transport;

    fn keys(salt: &[u8]) -> ClientKeys {
        let few = std::num::NonZeroU32::MIN;
        ClientKeys::derive(ScramHash::Sha256, b"word", salt, few)
    }

    #[test]
    fn the_latest_keys_of_a_transport_are_remembered_until_its_files_are_read_anew() {
        let files = || Arc::new(Files::of(&Transport::default()).unwrap());
        let (one, other, all) = (files(), files(), SmarthostKeys::default());
        assert_eq!(all.of(&one, ScramHash::Sha256), None);
        for salt in [b"first", b"newer"] {
            all.remember(&one, ScramHash::Sha256, keys(salt));
        }
        assert_eq!(all.of(&one, ScramHash::Sha256), Some(keys(b"newer")));
        assert_eq!(all.0.borrow().len(), 1);
        assert_eq!(all.of(&one, ScramHash::Sha1), None);
        assert_eq!(all.of(&other, ScramHash::Sha256), None);
        all.forget();
        assert_eq!(all.of(&one, ScramHash::Sha256), None);
    }
}

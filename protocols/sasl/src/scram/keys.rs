//! Keys, proofs and signatures. RFC 5802 3, RFC 7677 3:
//!
//! ```text
//! SaltedPassword  := Hi(Normalize(password), salt, i)      ; PBKDF2
//! ClientKey       := HMAC(SaltedPassword, "Client Key")
//! StoredKey       := H(ClientKey)
//! AuthMessage     := client-first-message-bare + "," + server-first-message + "," + client-final-message-without-proof
//! ClientSignature := HMAC(StoredKey, AuthMessage)
//! ClientProof     := ClientKey XOR ClientSignature
//! ServerKey       := HMAC(SaltedPassword, "Server Key")
//! ServerSignature := HMAC(ServerKey, AuthMessage)
//! ```

use std::num::NonZeroU32;

use ring::{digest, hmac, pbkdf2};
use zeroize::Zeroize;

use crate::Secret;
use crate::secret::same;

/// The hash of a SCRAM mechanism.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ScramHash {
    /// RFC 5802. Not broken as an HMAC; only that hardware guesses it faster.
    Sha1,
    /// RFC 7677.
    Sha256,
}

impl ScramHash {
    /// Both, the better first.
    pub const ALL: [ScramHash; 2] = [ScramHash::Sha256, ScramHash::Sha1];

    /// Octets of a key, a proof and a signature.
    pub fn length(self) -> usize {
        self.digest().output_len()
    }

    fn digest(self) -> &'static digest::Algorithm {
        match self {
            ScramHash::Sha1 => &digest::SHA1_FOR_LEGACY_USE_ONLY,
            ScramHash::Sha256 => &digest::SHA256,
        }
    }

    fn pbkdf2(self) -> pbkdf2::Algorithm {
        match self {
            ScramHash::Sha1 => pbkdf2::PBKDF2_HMAC_SHA1,
            ScramHash::Sha256 => pbkdf2::PBKDF2_HMAC_SHA256,
        }
    }

    fn hash(self, octets: &[u8]) -> Secret {
        Secret::from(digest::digest(self.digest(), octets).as_ref())
    }

    fn hmac(self, key: &[u8], message: &[u8]) -> hmac::Tag {
        let algorithm = match self {
            ScramHash::Sha1 => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
            ScramHash::Sha256 => hmac::HMAC_SHA256,
        };
        hmac::sign(&hmac::Key::new(algorithm, key), message)
    }

    /// Hi(): slow on purpose.
    fn salted_password(self, password: &[u8], salt: &[u8], iterations: NonZeroU32) -> Secret {
        let mut salted = vec![0; self.length()];
        pbkdf2::derive(self.pbkdf2(), iterations, salt, password, &mut salted);
        Secret::new(salted)
    }
}

/// What a server stores of a password. It lets check a proof and sign, but not log in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScramKeys {
    /// For which hash.
    pub hash: ScramHash,
    /// H(ClientKey).
    pub stored_key: Secret,
    /// HMAC(SaltedPassword, "Server Key").
    pub server_key: Secret,
}

impl ScramKeys {
    /// Derives both keys. Slow: `iterations` times an HMAC; never on an executor. The password is already prepared.
    pub fn derive(
        hash: ScramHash,
        password: &[u8],
        salt: &[u8],
        iterations: NonZeroU32,
    ) -> ScramKeys {
        ClientKeys::derive(hash, password, salt, iterations).server_side()
    }
}

/// What a client needs of a password for one salt and iteration count, and may keep for the next login (RFC 5802 5.1, `i`).
/// As good as the password for this server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientKeys {
    hash: ScramHash,
    salt: Secret,
    iterations: NonZeroU32,
    client_key: Secret,
    server_key: Secret,
}

impl ClientKeys {
    /// Derives both keys. Slow: `iterations` times an HMAC; never on an executor. The password is already prepared.
    pub fn derive(
        hash: ScramHash,
        password: &[u8],
        salt: &[u8],
        iterations: NonZeroU32,
    ) -> ClientKeys {
        let salted = hash.salted_password(password, salt, iterations);
        ClientKeys {
            hash,
            salt: Secret::from(salt),
            iterations,
            client_key: Secret::from(hash.hmac(&salted, b"Client Key").as_ref()),
            server_key: Secret::from(hash.hmac(&salted, b"Server Key").as_ref()),
        }
    }

    /// What the server stores of it.
    pub fn server_side(&self) -> ScramKeys {
        ScramKeys {
            hash: self.hash,
            stored_key: self.hash.hash(&self.client_key),
            server_key: self.server_key.clone(),
        }
    }

    /// Whether they were derived for this.
    pub(crate) fn fit(&self, hash: ScramHash, salt: &[u8], iterations: NonZeroU32) -> bool {
        (self.hash, &*self.salt, self.iterations) == (hash, salt, iterations)
    }

    /// The proof for this exchange.
    pub(crate) fn proof(&self, auth_message: &[u8]) -> Vec<u8> {
        let signature = self
            .hash
            .hmac(&self.hash.hash(&self.client_key), auth_message);
        xor(&self.client_key, signature.as_ref())
    }

    /// What the server must say to prove that it knows the keys.
    pub(crate) fn server_signature(&self, auth_message: &[u8]) -> ServerSignature {
        ServerSignature::new(self.hash, &self.server_key, auth_message)
    }
}

/// What proves to the client that the server knows its keys. The client gets it; a log does not, for passwords can be tried against it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ServerSignature(Secret);

impl ServerSignature {
    pub(crate) fn new(hash: ScramHash, server_key: &[u8], auth_message: &[u8]) -> Self {
        ServerSignature(Secret::from(hash.hmac(server_key, auth_message).as_ref()))
    }

    /// Whether these are the octets. Takes constant time.
    pub(crate) fn is(&self, octets: &[u8]) -> bool {
        same(&self.0, octets)
    }

    /// The octets, for `v=`.
    pub(crate) fn octets(&self) -> &[u8] {
        &self.0
    }
}

/// Whether `proof` could only be made by one who knows the ClientKey behind `stored_key`. HMAC only; the comparison takes constant time.
pub(crate) fn proof_holds(
    hash: ScramHash,
    stored_key: &[u8],
    auth_message: &[u8],
    proof: &[u8],
) -> bool {
    let signature = hash.hmac(stored_key, auth_message);
    let mut client_key = xor(proof, signature.as_ref());
    let holds = proof.len() == hash.length() && same(&hash.hash(&client_key), stored_key);
    client_key.zeroize();
    holds
}

fn xor(a: &[u8], b: &[u8]) -> Vec<u8> {
    a.iter().zip(b).map(|(a, b)| a ^ b).collect()
}

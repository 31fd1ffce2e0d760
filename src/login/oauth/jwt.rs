//! A signed token taken apart, and the keys that its signature is verified with. Pure; both texts are untrusted.
//!
//! ```text
//! RFC 7515 3.1   BASE64URL(header) "." BASE64URL(payload) "." BASE64URL(signature)
//! ```
//!
//! RFC 7515, 7517, 7518, 7519, 8037, 8725. The signatures themselves are ring's: with what it has, and no more algorithms than we take,
//! there is little left for a library of tokens to do.
//! Not here: whether what a good token says is enough (`claims.rs`), where keys come from (`provider.rs`).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{self, RsaPublicKeyComponents, UnparsedPublicKey};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::Refusal;
use crate::settings::TokenAlgorithm;

/// A token whose signature nobody has looked at yet.
#[derive(Debug)]
pub struct Jwt<'t> {
    /// How it is signed, as it says.
    pub algorithm: TokenAlgorithm,
    /// With which key.
    kid: Option<String>,
    signed: &'t str,
    signature: Vec<u8>,
    /// What it says.
    pub claims: Map<String, Value>,
}

impl<'t> Jwt<'t> {
    /// Takes a token apart.
    pub fn parse(token: &'t str) -> Result<Jwt<'t>, Refusal> {
        let not_a_jwt = Refusal::Invalid("not a signed JWT");
        let (signed, signature) = token.rsplit_once('.').ok_or(not_a_jwt)?;
        let (header, payload) = signed.split_once('.').ok_or(not_a_jwt)?;
        let decode = |text: &str| URL_SAFE_NO_PAD.decode(text).map_err(|_| not_a_jwt);
        // RFC 7515 4, RFC 7519 4: of a name that is there twice the last one counts.
        let object = |text: &str| serde_json::from_slice(&decode(text)?).map_err(|_| not_a_jwt);
        let (header, claims): (Map<String, Value>, Map<String, Value>) =
            (object(header)?, object(payload)?);
        let text = |name: &str| match header.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.as_str())),
            Some(_) => Err(not_a_jwt),
        };
        let signature = decode(signature)?;
        // RFC 7515 4.1.11: what must be understood is not.
        if header.contains_key("crit") {
            return Err(Refusal::Invalid("has a critical header that is unknown"));
        }
        // RFC 8725 3.11, RFC 9068 4: not a token of another kind. Many providers write JWT, or nothing.
        let typ = text("typ")?.unwrap_or("JWT");
        let typ = match typ.get(.."application/".len()) {
            Some(start) if start.eq_ignore_ascii_case("application/") => &typ[start.len()..],
            _ => typ,
        };
        if !["JWT", "at+jwt"]
            .iter()
            .any(|t| t.eq_ignore_ascii_case(typ))
        {
            return Err(Refusal::Invalid("not an access token by its type"));
        }
        let algorithm = match text("alg")?.ok_or(not_a_jwt)? {
            "RS256" => TokenAlgorithm::Rs256,
            "PS256" => TokenAlgorithm::Ps256,
            "ES256" => TokenAlgorithm::Es256,
            // RFC 9864 2.2: the name without a choice in it.
            "EdDSA" | "Ed25519" => TokenAlgorithm::EdDsa,
            _ => return Err(NOT_ALLOWED),
        };
        Ok(Jwt {
            algorithm,
            kid: text("kid")?.map(str::to_owned),
            signed,
            signature,
            claims,
        })
    }
}

/// What the keys say to a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signature {
    /// The provider made it.
    Good,
    /// Somebody else did.
    Wrong,
    /// None of them made it; the provider may have others by now.
    UnknownKey,
}

/// Keys of a provider. RFC 7517 5.
#[derive(Debug, Default)]
pub struct KeySet(Vec<Key>);

#[derive(Debug)]
struct Key {
    kid: Option<String>,
    /// The one algorithm it is for, in the name of the registry.
    alg: Option<String>,
    material: Material,
}

#[derive(Debug)]
enum Material {
    Rsa { n: Vec<u8>, e: Vec<u8> },
    P256(Vec<u8>),
    Ed25519(Vec<u8>),
}

impl KeySet {
    /// Reads a key set. RFC 7517 5: keys of kinds we don't use are passed over.
    pub fn parse(json: &[u8], keys_max: usize) -> Result<KeySet, String> {
        #[derive(Deserialize)]
        struct Set {
            keys: Vec<Value>,
        }
        let set: Set = serde_json::from_slice(json)
            .map_err(|_| "what lies at jwks_uri is not a JWK set".to_owned())?;
        if set.keys.len() > keys_max {
            let found = set.keys.len();
            return Err(format!("{found} keys are more than keys_max ({keys_max})"));
        }
        Ok(KeySet(set.keys.iter().filter_map(Key::parse).collect()))
    }

    /// How many of them can verify something.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// Looks at a token's signature.
    pub fn verify(&self, jwt: &Jwt<'_>) -> Signature {
        let mut fitting = self.0.iter().filter(|key| key.fits(jwt));
        let Some(first) = fitting.next() else {
            return Signature::UnknownKey;
        };
        // OpenID Connect Core 10.1: with several keys there is a kid in each token.
        let is_sure = jwt.kid.is_some();
        if !is_sure && fitting.next().is_some() {
            return Signature::Wrong;
        }
        let mut all = std::iter::once(first).chain(fitting).take(SAME_KID_MAX);
        match all.any(|key| key.material.verify(jwt)) {
            true => Signature::Good,
            false if is_sure => Signature::Wrong,
            // The only key, but maybe not the only one any more.
            false => Signature::UnknownKey,
        }
    }
}

impl Key {
    fn parse(key: &Value) -> Option<Key> {
        let text = |name: &str| key.get(name).and_then(Value::as_str);
        let octets = |name: &str| URL_SAFE_NO_PAD.decode(text(name)?).ok();
        if text("use").is_some_and(|u| u != "sig") {
            return None;
        }
        // RFC 7517 4.3.
        if let Some(operations) = key.get("key_ops") {
            let operations = operations.as_array()?;
            if !operations.iter().any(|o| o == "verify") {
                return None;
            }
        }
        let material = match (text("kty")?, text("crv")) {
            ("RSA", _) => Material::Rsa {
                n: without_zeros(octets("n")?),
                e: without_zeros(octets("e")?),
            },
            // RFC 7518 6.2.1: coordinates of full length. SEC 1 2.3.3: 4 before an uncompressed point.
            ("EC", Some("P-256")) => {
                let (x, y) = (octets("x")?, octets("y")?);
                let is_full = x.len() == 32 && y.len() == 32;
                is_full.then(|| Material::P256([&[4][..], &x, &y].concat()))?
            }
            ("OKP", Some("Ed25519")) => Material::Ed25519(octets("x")?),
            _ => return None,
        };
        Some(Key {
            kid: text("kid").map(str::to_owned),
            alg: text("alg").map(str::to_owned),
            material,
        })
    }

    fn fits(&self, jwt: &Jwt<'_>) -> bool {
        let name = match jwt.algorithm {
            TokenAlgorithm::Rs256 => &["RS256"][..],
            TokenAlgorithm::Ps256 => &["PS256"],
            TokenAlgorithm::Es256 => &["ES256"],
            TokenAlgorithm::EdDsa => &["EdDSA", "Ed25519"],
        };
        let is_kind = matches!(
            (jwt.algorithm, &self.material),
            (
                TokenAlgorithm::Rs256 | TokenAlgorithm::Ps256,
                Material::Rsa { .. }
            ) | (TokenAlgorithm::Es256, Material::P256(_))
                | (TokenAlgorithm::EdDsa, Material::Ed25519(_))
        );
        let is_named = jwt.kid.is_none() || jwt.kid == self.kid;
        // RFC 8725 3.1: a key is for one algorithm, where it says so.
        is_kind && is_named && self.alg.as_deref().is_none_or(|alg| name.contains(&alg))
    }
}

impl Material {
    fn verify(&self, jwt: &Jwt<'_>) -> bool {
        let (signed, signature) = (jwt.signed.as_bytes(), &jwt.signature);
        let result = match self {
            // RFC 7518 3.3, 3.5: a key has 2048 bits or more, which ring sees to.
            Material::Rsa { n, e } => {
                let scheme = match jwt.algorithm {
                    TokenAlgorithm::Ps256 => &signature::RSA_PSS_2048_8192_SHA256,
                    _ => &signature::RSA_PKCS1_2048_8192_SHA256,
                };
                RsaPublicKeyComponents { n, e }.verify(scheme, signed, signature)
            }
            Material::P256(point) => {
                let key = UnparsedPublicKey::new(&signature::ECDSA_P256_SHA256_FIXED, point);
                key.verify(signed, signature)
            }
            Material::Ed25519(point) => {
                UnparsedPublicKey::new(&signature::ED25519, point).verify(signed, signature)
            }
        };
        result.is_ok()
    }
}

/// RFC 7518 6.3.1.1: some write one zero too many.
fn without_zeros(mut number: Vec<u8>) -> Vec<u8> {
    let zeros = number.iter().take_while(|octet| **octet == 0).count();
    number.drain(..zeros);
    number
}

/// It says so itself, or the settings do.
pub const NOT_ALLOWED: Refusal = Refusal::Invalid("signed by an algorithm that is not allowed");
/// Keys of one kid that are tried.
const SAME_KID_MAX: usize = 4;

#[cfg(test)]
#[path = "jwt_tests.rs"]
mod tests;

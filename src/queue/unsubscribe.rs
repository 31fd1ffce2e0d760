//! The link in a message by which its recipient takes themselves off an account's mail, and what it says. RFC 2369 3.2, RFC 8058.
//!
//! Nothing is stored for it: the link holds account, recipient and Message-ID, sealed (AEAD_CHACHA20_POLY1305, RFC 8439 2.8) under a key that is
//! derived from the fromid key of the data directory. The nonce is made of what is sealed, so that the same message has the same link each time it
//! is made. Nobody else can make one, nor read which account it is. It holds for as long as the key does: a reader may find an old message.
//! Input to `read` is a stranger's. Not here: the page behind it (`web`), what is suppressed then (`suppression`).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hmac;
use serde::{Deserialize, Serialize};

/// Makes and reads the links of a data directory.
#[derive(Clone)]
pub struct Links {
    seal: LessSafeKey,
    nonces: hmac::Key,
}

/// What a link says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// Whose mail is not wanted any more.
    pub account: String,
    /// By whom.
    pub address: String,
    /// Of the message it stood in, with its angle brackets.
    pub message_id: String,
}

impl Links {
    /// From a secret of the data directory.
    pub fn new(secret: &[u8]) -> Option<Links> {
        let secret = hmac::Key::new(hmac::HMAC_SHA256, secret);
        let derived = |label: &str| hmac::sign(&secret, label.as_bytes());
        let key = UnboundKey::new(&CHACHA20_POLY1305, derived("unsubscribe seal").as_ref()).ok()?;
        let nonces = derived("unsubscribe nonce");
        Some(Links {
            seal: LessSafeKey::new(key),
            nonces: hmac::Key::new(hmac::HMAC_SHA256, nonces.as_ref()),
        })
    }

    /// The last segment of a link's path: letters, digits, `-` and `_`. None: it would be longer than [`TOKEN_MAX`].
    pub fn token(&self, link: &Link) -> Option<String> {
        let mut octets = postcard::to_allocvec(link).ok()?;
        let tag = hmac::sign(&self.nonces, &octets);
        let (nonce, _) = tag.as_ref().split_first_chunk::<NONCE_LEN>()?;
        let sealed = self.seal.seal_in_place_append_tag(
            Nonce::assume_unique_for_key(*nonce),
            Aad::empty(),
            &mut octets,
        );
        sealed.ok()?;
        let token = URL_SAFE_NO_PAD.encode([nonce.as_slice(), &octets].concat());
        (token.len() <= TOKEN_MAX).then_some(token)
    }

    /// What a link of this directory says.
    pub fn read(&self, token: &str) -> Option<Link> {
        if token.len() > TOKEN_MAX {
            return None;
        }
        let octets = URL_SAFE_NO_PAD.decode(token).ok()?;
        let (nonce, sealed) = octets.split_first_chunk::<NONCE_LEN>()?;
        let mut sealed = sealed.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let opened = self.seal.open_in_place(nonce, Aad::empty(), &mut sealed);
        postcard::from_bytes(opened.ok()?).ok()
    }
}

impl std::fmt::Debug for Links {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Links")
    }
}

/// The header fields of a message that offer a link. RFC 8058 3.1: one URI of HTTPS, and that a POST is enough.
pub fn fields(public_url: &str, token: &str) -> [(&'static str, String); 2] {
    let uri = format!("<{public_url}{MOUNT}/{token}>");
    [
        ("List-Unsubscribe", uri),
        ("List-Unsubscribe-Post", "List-Unsubscribe=One-Click".into()),
    ]
}

/// Whether a header field is one of these.
pub fn is_field(name: &str) -> bool {
    ["List-Unsubscribe", "List-Unsubscribe-Post"]
        .iter()
        .any(|field| name.eq_ignore_ascii_case(field))
}

/// Where the page is; the link's last segment follows.
pub const MOUNT: &str = "/unsubscribe";
/// Octets of a link's last segment: with its name the field stays within a line of RFC 5322 2.1.1.
pub const TOKEN_MAX: usize = 800;

#[cfg(test)]
mod tests {
    use super::*;

    fn link() -> Link {
        Link {
            account: "shop".into(),
            address: "ann@example.net".into(),
            message_id: "<1@mx.example.org>".into(),
        }
    }

    #[test]
    fn a_link_says_what_was_sealed_and_only_here() {
        let links = Links::new(&[7; 16]).unwrap();
        let token = links.token(&link()).unwrap();
        assert_eq!(links.read(&token), Some(link()));
        assert_eq!(links.token(&link()), Some(token.clone()), "the same again");
        let is_url_safe = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
        assert!(token.chars().all(is_url_safe));
        assert_eq!(Links::new(&[8; 16]).unwrap().read(&token), None);
        let mut other = link();
        other.address = "bob@example.net".into();
        assert_ne!(links.token(&other), Some(token));
        other.address = "b".repeat(TOKEN_MAX);
        assert_eq!(links.token(&other), None);
    }

    #[test]
    fn what_was_changed_says_nothing() {
        let links = Links::new(&[7; 16]).unwrap();
        let token = links.token(&link()).unwrap();
        for at in 0..token.len() {
            let mut changed = token.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            assert_eq!(links.read(&changed), None, "{changed}");
        }
        let short = &token[..token.len() - 1];
        for wrong in ["", "A", "AAAA", "=", "é", short] {
            assert_eq!(links.read(wrong), None, "{wrong}");
        }
    }
}

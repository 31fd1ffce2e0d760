//! The link in a message by which its recipient takes themselves off an account's mail, and what it says. RFC 2369 3.2, RFC 8058.
//!
//! Nothing is stored for it: the link holds account, recipient, Message-ID and the mark of the account's life, sealed (AEAD_CHACHA20_POLY1305, RFC 8439
//! 2.8) under a key that is derived from the fromid key of the data directory. The nonce is made of what is sealed, so that the same message has the same
//! link each time it is made. Nobody else can make one, nor read which account it is. It holds for as long as the key and the account do: a reader may find
//! an old message.
//! The mark is a random number in the account's shard (row `U` account), made by its owner when the first link needs it, and goes with the account: a link
//! of an account that was removed says nothing of another one of its name. Links from before there were marks hold for whoever has the name.
//! Input to `read` is a stranger's. Not here: the page behind it (`web`), what is suppressed then (`suppression`).

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hmac;
use shards::storage::{Batch, Shard};

use super::hooks::HooksTurn;
use crate::login;
use crate::settings::AccountName;
use crate::store::{StoreError, rows};

/// Makes and reads the links of a data directory.
#[derive(Clone)]
pub struct Links {
    seal: LessSafeKey,
    nonces: hmac::Key,
}

/// What a link says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Whose mail is not wanted any more.
    pub account: String,
    /// By whom.
    pub address: String,
    /// Of the message it stood in, with its angle brackets.
    pub message_id: String,
    /// The mark of the account's life; none: the link was made before there were marks.
    pub life: Option<u64>,
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
        let named = (&link.account, &link.address, &link.message_id);
        let (version, octets) = match link.life {
            None => (FIRST, postcard::to_allocvec(&named)),
            Some(life) => (MARKED, postcard::to_allocvec(&(named, life))),
        };
        let mut octets = octets.ok()?;
        // What is sealed under two versions has two nonces.
        let tag = hmac::sign(&self.nonces, &[version, &octets].concat());
        let (nonce, _) = tag.as_ref().split_first_chunk::<NONCE_LEN>()?;
        let sealed = self.seal.seal_in_place_append_tag(
            Nonce::assume_unique_for_key(*nonce),
            Aad::from(version),
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
        let open = |version: &'static [u8]| {
            let nonce = Nonce::assume_unique_for_key(*nonce);
            let mut sealed = sealed.to_vec();
            let opened = self
                .seal
                .open_in_place(nonce, Aad::from(version), &mut sealed);
            opened.ok().map(|opened| opened.to_vec())
        };
        let (named, life): (Named, _) = match open(MARKED) {
            Some(octets) => {
                let (named, life) = postcard::from_bytes(&octets).ok()?;
                (named, Some(life))
            }
            None => (postcard::from_bytes(&open(FIRST)?).ok()?, None),
        };
        let (account, address, message_id) = named;
        Some(Link {
            account,
            address,
            message_id,
            life,
        })
    }
}

/// Account, address and Message-ID of a link.
type Named = (String, String, String);

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

/// The mark of an account's life; none: nobody needed one yet.
pub async fn life(shard: &Rc<Shard>, account: &str) -> Result<Option<u64>, StoreError> {
    let row = shard.get(rows::lives_key(account)).await?;
    let name = || format!("the mark of account {account}, which links to unsubscribe have");
    row.map(|row| rows::decode(&row, name)).transpose()
}

/// The same, made if there is none; durable when it returns.
pub async fn begin_life(shard: &Rc<Shard>, turn: &HooksTurn) -> Result<u64, StoreError> {
    let account = turn.account();
    if let Some(life) = life(shard, account).await? {
        return Ok(life);
    }
    let mut octets = [0; 8];
    login::random(&mut octets).map_err(|_| StoreError::Limit("no randomness"))?;
    let life = u64::from_be_bytes(octets);
    let permit = shard.permit(ROW_OCTETS, false, PATIENCE).await?;
    let mut batch = Batch::default();
    batch.put(rows::lives_key(account), rows::encode(&life));
    shard.commit(permit, batch).await?;
    Ok(life)
}

/// The marks that a core has needed: those of accounts that write with links.
#[derive(Default)]
pub struct Lives {
    known: RefCell<HashMap<AccountName, u64>>,
}

impl Lives {
    /// As it was told.
    pub fn of(&self, account: AccountName) -> Option<u64> {
        self.known.borrow().get(&account).copied()
    }

    /// The owner says it.
    pub fn know(&self, account: AccountName, life: u64) {
        let mut known = self.known.borrow_mut();
        if known.len() >= LIVES_MAX {
            // They are asked for again.
            known.clear();
        }
        known.insert(account, life);
    }

    /// The account goes.
    pub fn forget(&self, account: AccountName) {
        self.known.borrow_mut().remove(&account);
    }
}

/// Versions of what is sealed, which are authenticated with it. The first one said nothing of itself.
const FIRST: &[u8] = b"";
const MARKED: &[u8] = b"2";
/// Accounts whose marks a core remembers.
const LIVES_MAX: usize = 10_000;
/// Octets of the row of a mark, about.
const ROW_OCTETS: usize = 256;
const PATIENCE: Duration = Duration::from_secs(30);
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
            life: Some(u64::MAX),
        }
    }

    #[test]
    fn a_link_from_before_there_were_marks_is_read_and_made_as_it_was() {
        let links = Links::new(&[7; 16]).unwrap();
        let first = "fRSdE04zV3iRSpCYwzWt8ghfUZHZhU9CDLJCUr3rLMibt8ZG4Pm6qE7k7K7KUTtbpwIRX92aN4L8f-WMw_uqQOiAwJ4";
        let link = Link {
            life: None,
            ..link()
        };
        assert_eq!(links.read(first), Some(link.clone()));
        assert_eq!(links.token(&link).as_deref(), Some(first));
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
        other.life = Some(2);
        assert_eq!(
            links.read(&links.token(&other).unwrap()),
            Some(other.clone())
        );
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

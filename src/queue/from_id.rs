//! The fromid: what tells a message's MAIL FROM apart from that of any other, so that a report that comes back to it finds its recipient.
//!
//! It is not stored: it is the recipient's number and eight octets of zero, encrypted as one block of AES-128 (FIPS 197) with a key of the data
//! directory, in the 26 letters of lower-case base32hex (RFC 4648 7, without padding). Whoever has not seen one can't make one up: of 2^64 texts
//! one decodes. Case does not matter, for there are servers that change the case of localparts, which RFC 5321 2.4 forbids.
//! The token in a message's header is made the same way, but with another mark in place of the zeros: all who get to read the message see it, and
//! none of them shall know a fromid by it.
//! Input to `decode` is a stranger's. Not here: whose mail gets one (`smtp_server`), what a report that comes to one means.

use std::fs;
use std::path::Path;

use aes::Aes128;
use aes::cipher::{BlockCipherDecrypt, BlockCipherEncrypt, KeyInit};
use ring::hmac;
use serde::{Deserialize, Serialize};

use super::id::QueueId;
use super::unsubscribe::Links;
use crate::login;

/// Makes and reads fromids of a data directory.
#[derive(Clone)]
pub struct FromIds {
    block: Aes128,
    links: Option<Links>,
    pages: hmac::Key,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    key: String,
}

impl FromIds {
    /// Reads the file of a data directory, or makes it. Blocking.
    pub fn open(directory: &Path) -> Result<FromIds, String> {
        let path = directory.join(FILE);
        let at = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
        match fs::read_to_string(&path) {
            Ok(text) => {
                let remedy = "restore it from a backup, or remove it: then reports about mail that was sent until now do not find it";
                let written: Written =
                    toml::from_str(&text).map_err(|e| at(&format!("{e}; {remedy}")))?;
                let key = sasl::base64::decode(written.key.as_bytes());
                let key = key.ok().and_then(|key| key[..].try_into().ok());
                let key = key.ok_or_else(|| at(&format!("key is no key; {remedy}")))?;
                Ok(FromIds::new(key))
            }
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                let mut key = [0; KEY];
                login::random(&mut key)?;
                let written = Written {
                    key: sasl::base64::encode(&key),
                };
                let text = toml::to_string(&written).map_err(|e| at(&e))?;
                login::write_secret(directory, &path, &format!("{HEAD}{text}"))
                    .map_err(|e| at(&e))?;
                Ok(FromIds::new(key))
            }
            Err(e) => Err(at(&e)),
        }
    }

    /// With a key.
    pub fn new(key: [u8; KEY]) -> FromIds {
        FromIds {
            block: Aes128::new(&key.into()),
            links: Links::new(&key),
            pages: {
                let secret = hmac::Key::new(hmac::HMAC_SHA256, &key);
                let derived = hmac::sign(&secret, b"page cursor");
                hmac::Key::new(hmac::HMAC_SHA256, derived.as_ref())
            },
        }
    }

    /// What makes links by which readers unsubscribe.
    pub fn links(&self) -> Option<&Links> {
        self.links.as_ref()
    }

    /// What signs the cursors of pages, so that nobody makes one up.
    pub fn pages(&self) -> &hmac::Key {
        &self.pages
    }

    /// The fromid of a recipient.
    pub fn encode(&self, id: QueueId) -> String {
        self.write(id, FROMID_MARK)
    }

    /// The token of a message, by its first recipient.
    pub fn token(&self, first: QueueId) -> String {
        self.write(first, TOKEN_MARK)
    }

    fn write(&self, id: QueueId, mark: u64) -> String {
        let mut block = [0; BLOCK];
        block[..8].copy_from_slice(&id.get().to_be_bytes());
        block[8..].copy_from_slice(&mark.to_be_bytes());
        let mut block = block.into();
        self.block.encrypt_block(&mut block);
        // 128 bits, and two of zero behind them.
        let bits = u128::from_be_bytes(block.into());
        let letter = |at: usize| match LETTERS_MAX - at {
            0 => bits << 2,
            left => bits >> (5 * left - 2),
        };
        let letters = (0..LETTERS).map(|at| LETTER[(letter(at) & 31) as usize] as char);
        letters.collect()
    }

    /// The recipient of a fromid; none: this directory has made no such one.
    pub fn decode(&self, text: &str) -> Option<QueueId> {
        let (id, mark) = self.read(text)?;
        (mark == FROMID_MARK).then_some(id)
    }

    /// The first recipient of a token's message; none: this directory has made no such one.
    pub fn decode_token(&self, text: &str) -> Option<QueueId> {
        let (id, mark) = self.read(text)?;
        // Messages of before have a fromid there.
        matches!(mark, TOKEN_MARK | FROMID_MARK).then_some(id)
    }

    fn read(&self, text: &str) -> Option<(QueueId, u64)> {
        let (last, letters) = text.as_bytes().split_last()?;
        if letters.len() != LETTERS_MAX {
            return None;
        }
        let mut bits: u128 = 0;
        for letter in letters {
            bits = bits << 5 | u128::from(value(*letter)?);
        }
        let last = value(*last)?;
        if last & 3 != 0 {
            return None;
        }
        bits = bits << 3 | u128::from(last >> 2);
        let mut block = bits.to_be_bytes().into();
        self.block.decrypt_block(&mut block);
        let block = u128::from_be_bytes(block.into());
        Some((QueueId::from_u64((block >> 64) as u64)?, block as u64))
    }

    /// The reverse-path of a recipient: the fromid behind the separator. None: there is no room for it, or the path is null.
    pub fn path(&self, reverse_path: &str, separator: &str, id: QueueId) -> Option<String> {
        let (localpart, domain) = reverse_path.rsplit_once('@')?;
        has_room(localpart, separator)
            .then(|| format!("{localpart}{separator}{}@{domain}", self.encode(id)))
    }
}

/// The header field by which a report about a message finds it, whatever became of its reverse-path.
pub fn token_field(from_ids: &FromIds, first: QueueId) -> String {
    format!("{TOKEN_FIELD}: {}\r\n", from_ids.token(first))
}

/// Whether a fromid can stand behind a localpart: it has no quotes, whose end would come before it, and stays within RFC 5321 4.5.3.1.1.
pub fn has_room(localpart: &str, separator: &str) -> bool {
    !localpart.is_empty()
        && !localpart.contains('"')
        && localpart.len() + separator.len() + LETTERS <= LOCALPART_MAX
}

impl std::fmt::Debug for FromIds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FromIds")
    }
}

/// RFC 4648 7, in either case.
fn value(letter: u8) -> Option<u8> {
    match letter.to_ascii_lowercase() {
        digit @ b'0'..=b'9' => Some(digit - b'0'),
        letter @ b'a'..=b'v' => Some(letter - b'a' + 10),
        _ => None,
    }
}

/// The header field of a message that holds its token.
pub const TOKEN_FIELD: &str = "Ringmail-Message";
/// What stands behind the number.
const FROMID_MARK: u64 = 0;
const TOKEN_MARK: u64 = 1;
const FILE: &str = "fromid";
const HEAD: &str = "# Made once, by ringmail: by it reports that come back find the mail they are about. Keep it, and keep it secret.\n";
const KEY: usize = 16;
const BLOCK: usize = 16;
/// Letters of a fromid: 130 bits.
pub const LETTERS: usize = 26;
const LETTERS_MAX: usize = LETTERS - 1;
const LETTER: &[u8; 32] = b"0123456789abcdefghijklmnopqrstuv";
/// RFC 5321 4.5.3.1.1.
const LOCALPART_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    /// The key of FIPS 197, appendix B.
    fn ids() -> FromIds {
        FromIds::new([
            0x2b, 0x7e, 0x15, 0x16, 0x28, 0xae, 0xd2, 0xa6, 0xab, 0xf7, 0x15, 0x88, 0x09, 0xcf,
            0x4f, 0x3c,
        ])
    }

    fn id(shard: u16, number: u64) -> QueueId {
        QueueId::new(shard, number).unwrap()
    }

    /// Nobody would find what was sent before, were it to change.
    #[test]
    fn fromids_stay_what_they_are() {
        assert_eq!(ids().encode(id(0, 1)), "rg53ngs61716urpacehpptveic");
        assert_eq!(
            ids().encode(id(1023, (1 << 43) - 1)),
            "r6e25meo4l67ou966mei8qlmks"
        );
    }

    #[test]
    fn a_fromid_reads_as_the_number_it_was_made_of() {
        for (shard, number) in [(0, 1), (0, 0), (3, 77), (1023, (1 << 43) - 1)] {
            let id = id(shard, number);
            let text = ids().encode(id);
            assert_eq!(text.len(), LETTERS);
            assert_eq!(ids().decode(&text), Some(id));
            assert_eq!(ids().decode(&text.to_uppercase()), Some(id));
        }
    }

    #[test]
    fn who_reads_a_message_knows_no_fromid_by_its_token() {
        let (ids, id) = (ids(), id(3, 77));
        let (fromid, token) = (ids.encode(id), ids.token(id));
        assert_eq!(token.len(), LETTERS);
        assert_eq!(ids.decode_token(&token), Some(id));
        assert_eq!(ids.decode(&token), None);
        // What went out before.
        assert_eq!(ids.decode_token(&fromid), Some(id));
        assert_eq!(ids.read(&ids.write(id, 2)), Some((id, 2)));
        assert_eq!(ids.decode_token(&ids.write(id, 2)), None);
    }

    #[test]
    fn nobody_makes_one_up() {
        let ids = ids();
        let good = ids.encode(id(2, 4_711));
        // Every other letter in every place, the two bits behind the block among them.
        for at in 0..LETTERS {
            for other in LETTER.iter().chain(b"wxyz=+-_@ \0\xff") {
                let mut text = good.clone().into_bytes();
                if text[at] == *other {
                    continue;
                }
                text[at] = *other;
                let text = String::from_utf8_lossy(&text);
                assert_eq!(ids.decode(&text), None, "{text}");
            }
        }
        for wrong in [
            "",
            "a",
            &good[1..],
            &format!("{good}0"),
            "aaaaaaaaaaaaaaaaaaaaaaaaaa",
        ] {
            assert_eq!(ids.decode(wrong), None, "{wrong}");
        }
        // Zeros that are there, before a number that has more than 53 bits.
        let mut block = [0; BLOCK];
        block[0] = 0xff;
        let mut block = block.into();
        ids.block.encrypt_block(&mut block);
        let bits = u128::from_be_bytes(block.into());
        let text: String = (0..LETTERS)
            .map(|at| match LETTERS_MAX - at {
                0 => bits << 2,
                left => bits >> (5 * left - 2),
            })
            .map(|value| LETTER[(value & 31) as usize] as char)
            .collect();
        assert_eq!(ids.decode(&text), None);
        // Another directory's.
        assert_eq!(FromIds::new([7; KEY]).decode(&good), None);
    }

    /// Whatever comes, nothing panics, and what decodes is what was encoded.
    #[test]
    fn texts_of_any_kind_are_read() {
        let ids = ids();
        let mut seed = 0x9E37_79B9_7F4A_7C15_u64;
        let mut random = || {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            seed
        };
        for _ in 0..20_000 {
            let length = match random() % 4 {
                0 => (random() % 64) as usize,
                _ => LETTERS,
            };
            let any: Vec<u8> = (0..length)
                .map(|_| match random() % 16 {
                    0 => random() as u8,
                    _ => LETTER[(random() % 32) as usize],
                })
                .collect();
            let text = String::from_utf8_lossy(&any);
            if let Some(id) = ids.decode(&text) {
                assert_eq!(ids.encode(id), text.to_lowercase());
            }
            let number = random() & ((1 << 53) - 1);
            let id = QueueId::from_u64(number).unwrap();
            assert_eq!(ids.decode(&ids.encode(id)), Some(id));
        }
    }

    #[test]
    fn it_stands_behind_the_separator_where_there_is_room() {
        let ids = ids();
        let path = ids.path("anna@example.org", "+", id(0, 1)).unwrap();
        assert_eq!(path, "anna+rg53ngs61716urpacehpptveic@example.org");
        let long = "a".repeat(64 - 1 - LETTERS);
        assert!(
            ids.path(&format!("{long}@x.example"), "+", id(0, 1))
                .is_some()
        );
        assert!(
            ids.path(&format!("{long}a@x.example"), "+", id(0, 1))
                .is_none()
        );
        for other in ["", "anna", "\"an na\"@example.org", "@example.org"] {
            assert_eq!(ids.path(other, "+", id(0, 1)), None, "{other}");
        }
    }

    #[test]
    fn the_key_is_made_once() {
        let folder = tempfile::tempdir().unwrap();
        let made = FromIds::open(folder.path()).unwrap().encode(id(0, 9));
        assert_eq!(FromIds::open(folder.path()).unwrap().encode(id(0, 9)), made);
        let file = folder.path().join(FILE);
        use std::os::unix::fs::PermissionsExt;
        let mode = fs::metadata(&file).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        fs::write(&file, "key = \"AAAA\"\n").unwrap();
        let error = FromIds::open(folder.path()).unwrap_err();
        assert!(error.contains("restore it from a backup"), "{error}");
        fs::remove_file(&file).unwrap();
        assert_ne!(FromIds::open(folder.path()).unwrap().encode(id(0, 9)), made);
    }
}

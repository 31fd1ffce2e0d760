//! Who signs mail: for each of our domains the selectors in force, with their keys.
//! Made with the configuration, from key files (blocking), then immutable and shared by all cores. RFC 6376 3.5 (d=), 5.1, 8.14.
//! Not here: what is signed and when (`inbound/signing.rs`), the settings (`settings/dkim.rs`).

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use dkim::{Canonicalization, MessageHasher, Name, Selector, SignedFields, SigningKey};

use crate::settings::dkim::{DkimSelector, KeyText};
use crate::settings::names::canonical_domain;
use crate::settings::text::Fingerprint;
use crate::settings::{Domain, Domains};

/// The selectors that sign, by domain.
#[derive(Default)]
pub struct Signers {
    by_domain: HashMap<Box<str>, Arc<[Selector]>>,
    /// Of bodies, that any selector needs.
    bodies: Vec<Canonicalization>,
    files: HashMap<PathBuf, KeyFile>,
}

/// A key file as it was read: the same octets are not taken apart again, and one file is read once for all domains.
#[derive(Clone)]
struct KeyFile {
    fingerprint: Fingerprint,
    key: Arc<SigningKey>,
}

impl Signers {
    /// Reads the keys (blocking). One that can't be read keeps that of the same selector in `before`; the texts say which. Without one it
    /// is an error.
    pub fn new(
        domains: &Domains,
        before: Option<&Signers>,
    ) -> Result<(Signers, Vec<String>), String> {
        let mut making = Making {
            before,
            made: Signers::default(),
            failed: HashMap::new(),
            kept: Vec::new(),
            fields: Arc::new(SignedFields::default()),
        };
        for (name, domain) in &domains.domain {
            if !domain.dkim.is_empty() {
                let selectors = making.selectors(name.as_str(), domain)?;
                making
                    .made
                    .by_domain
                    .insert(name.as_str().into(), selectors);
            }
        }
        Ok((making.made, making.kept))
    }

    /// The selectors that sign for an author's domain: its own, else those of the nearest domain above it. RFC 6376 8.14: that one is ours
    /// too. Empty: nobody signs.
    pub fn of(&self, domain: &str) -> Option<Arc<[Selector]>> {
        if self.by_domain.is_empty() {
            return None;
        }
        let name = canonical_domain(domain)?;
        let mut rest = &*name;
        let found = loop {
            if let Some(selectors) = self.by_domain.get(rest) {
                break selectors;
            }
            rest = rest.split_once('.')?.1;
        };
        (!found.is_empty()).then(|| found.clone())
    }

    /// For a message whose author is not known yet. None if nobody signs.
    pub fn hasher(&self) -> Option<MessageHasher> {
        (!self.bodies.is_empty()).then(|| MessageHasher::of_bodies(&self.bodies))
    }
}

struct Making<'b> {
    before: Option<&'b Signers>,
    made: Signers,
    failed: HashMap<PathBuf, String>,
    kept: Vec<String>,
    fields: Arc<SignedFields>,
}

impl Making<'_> {
    fn selectors(&mut self, name: &str, domain: &Domain) -> Result<Arc<[Selector]>, String> {
        let mut selectors = Vec::new();
        for (selector, table) in domain.dkim.iter().filter(|(_, table)| table.sign) {
            let told = |error: &str| format!("DKIM selector {selector} of {name}: {error}");
            let parse = |text| Name::parse(text).map_err(|e| told(&e.to_string()));
            let (domain, selector) = (parse(name)?, parse(selector.as_str())?);
            let key = match (self.key(table), self.key_before(name, &selector)) {
                (Ok(key), _) => key,
                (Err(error), Some(key)) => {
                    self.kept
                        .push(told(&format!("{error}; the key in use is kept")));
                    key
                }
                (Err(error), None) => return Err(told(&error)),
            };
            let fields = table.fields().map_err(|e| told(&e.to_string()))?;
            let canonicalizations: dkim::Canonicalizations = table.canonicalization.into();
            if !self.made.bodies.contains(&canonicalizations.body) {
                self.made.bodies.push(canonicalizations.body);
            }
            selectors.push(Selector {
                domain,
                selector,
                key,
                canonicalizations,
                fields: fields.map_or_else(|| self.fields.clone(), Arc::new),
                expiration_secs: table.expiration(),
            });
        }
        Ok(selectors.into())
    }

    fn key(&mut self, table: &DkimSelector) -> Result<Arc<SigningKey>, String> {
        let path = &table.key;
        if let Some(file) = self.made.files.get(path) {
            return Ok(file.key.clone());
        }
        if let Some(error) = self.failed.get(path) {
            return Err(error.clone());
        }
        match self.read(path) {
            Ok(file) => {
                let key = file.key.clone();
                self.made.files.insert(path.clone(), file);
                Ok(key)
            }
            Err(error) => {
                self.failed.insert(path.clone(), error.clone());
                Err(error)
            }
        }
    }

    fn read(&self, path: &PathBuf) -> Result<KeyFile, String> {
        let text = KeyText::read(path)?;
        let fingerprint = text.fingerprint();
        let known = self.before.and_then(|before| before.files.get(path));
        if let Some(known) = known.filter(|known| known.fingerprint == fingerprint) {
            return Ok(known.clone());
        }
        let key = text.key().map_err(|e| format!("{}: {e}", path.display()))?;
        Ok(KeyFile {
            fingerprint,
            key: Arc::new(key),
        })
    }

    fn key_before(&self, domain: &str, selector: &Name) -> Option<Arc<SigningKey>> {
        let before = self.before?.by_domain.get(domain)?;
        let found = before.iter().find(|s| s.selector == *selector)?;
        Some(found.key.clone())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;

    use super::*;

    fn put_key(path: &Path, seed: u8) {
        let key = dkim::generate::ed25519_key(&mut |octets| octets.fill(seed));
        fs::write(path, key.as_str()).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
    }

    fn domains(dir: &Path, text: &str) -> Domains {
        let text = text.replace("DIR", &dir.display().to_string());
        toml::from_str(&text).unwrap()
    }

    fn names(signers: &Signers, domain: &str) -> Vec<String> {
        let found = signers.of(domain);
        let name = |s: &Selector| format!("{}@{}", s.selector.ascii(), s.domain.ascii());
        found.iter().flat_map(|all| all.iter()).map(name).collect()
    }

    fn dir(name: &str) -> PathBuf {
        let dir = std::env::temp_dir().join(format!("ringmail-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir).unwrap();
        dir
    }

    #[test]
    fn the_nearest_domain_above_signs() {
        let dir = dir("nearest");
        put_key(&dir.join("a"), 1);
        let domains = domains(
            &dir,
            r#"
[domain."example.org".dkim]
a.key = "DIR/a"
b = { key = "DIR/a", canonicalization = "relaxed/simple" }
c = { key = "DIR/none", sign = false }
[domain."sub.example.org"]
[domain."own.example.org".dkim.d]
key = "DIR/a"
[domain."silent.example.org".dkim.e]
key = "DIR/none"
sign = false
"#,
        );
        let (signers, kept) = Signers::new(&domains, None).unwrap();
        assert_eq!(kept, [""; 0]);
        let both = ["a@example.org", "b@example.org"];
        assert_eq!(names(&signers, "Example.ORG"), both);
        assert_eq!(names(&signers, "sub.example.org"), both);
        assert_eq!(names(&signers, "x.own.example.org"), ["d@own.example.org"]);
        for nobody in ["silent.example.org", "org", "anexample.org", "[192.0.2.1]"] {
            assert_eq!(names(&signers, nobody), [""; 0], "{nobody}");
        }
        assert!(signers.hasher().is_some());
        let (nobody, _) = Signers::new(&Domains::default(), Some(&signers)).unwrap();
        assert!(nobody.hasher().is_none() && nobody.of("example.org").is_none());
        // One file, one key.
        let all = signers.of("example.org").unwrap();
        assert!(Arc::ptr_eq(&all[0].key, &all[1].key));
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn a_key_that_cannot_be_read_keeps_the_old_one() {
        let dir = dir("kept");
        let path = dir.join("a");
        put_key(&path, 1);
        let one = domains(&dir, "[domain.\"a.example\".dkim.a]\nkey = \"DIR/a\"\n");
        let (first, _) = Signers::new(&one, None).unwrap();
        let public = |signers: &Signers| signers.of("a.example").unwrap()[0].key.public_key();
        let (same, _) = Signers::new(&one, Some(&first)).unwrap();
        let key = |signers: &Signers| signers.of("a.example").unwrap()[0].key.clone();
        assert!(Arc::ptr_eq(&key(&first), &key(&same)));
        put_key(&path, 2);
        let (second, kept) = Signers::new(&one, Some(&same)).unwrap();
        assert!(kept.is_empty() && public(&first) != public(&second));
        fs::write(&path, "word").unwrap();
        let (third, kept) = Signers::new(&one, Some(&second)).unwrap();
        let expected = format!(
            "DKIM selector a of a.example: {}: not a private key in PEM; the key in use is kept",
            path.display()
        );
        assert_eq!(kept, [expected]);
        assert_eq!(public(&second), public(&third));
        // A selector that is new has none to keep.
        let two = domains(&dir, "[domain.\"a.example\".dkim.b]\nkey = \"DIR/a\"\n");
        let refused = Signers::new(&two, Some(&third)).err().unwrap();
        assert!(
            refused.starts_with("DKIM selector b of a.example: "),
            "{refused}"
        );
        put_key(&path, 3);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let refused = Signers::new(&one, None).err().unwrap();
        assert!(
            refused.ends_with("others than its owner may read or write it"),
            "{refused}"
        );
        fs::remove_dir_all(dir).unwrap();
    }
}

//! DKIM's selectors: what must be there, names of fields, how many sign. A part of `check.rs`; the key files are `machine.rs`'s to read.
//! RFC 6376 3.5, 3.6.2.1, 5.4; RFC 1035 2.3.4.

use dkim::limits::{DOMAIN_MAX, SELECTORS_MAX};
use dkim::{SignedFieldsError, query_name};

use super::Check;
use crate::settings::dkim::DkimSelector;
use crate::settings::domains::Domain;

impl Check<'_> {
    pub(super) fn dkim(&mut self, name: &str, domain: &Domain) {
        let text = &self.texts.domains;
        let signing = domain.dkim.values().filter(|s| s.sign).count();
        if signing > SELECTORS_MAX {
            self.report(
                text,
                &["domain", name, "dkim"],
                format!("{signing} selectors sign, more than {SELECTORS_MAX}"),
                "one with RSA and one with Ed25519 are usual; sign = false for the others",
            );
        }
        for (selector, table) in &domain.dkim {
            self.selector(name, selector.as_str(), table);
        }
    }

    fn selector(&mut self, domain: &str, selector: &str, table: &DkimSelector) {
        let text = &self.texts.domains;
        let at = ["domain", domain, "dkim", selector];
        if table.key.as_os_str().is_empty() {
            let path = [&at[..], &["key"]].concat();
            self.missing(
                text,
                &path,
                "the PEM file of the private key; ringmail dkim gen makes one",
            );
        }
        if let Err(error) = table.fields() {
            let own = |names: &Option<Vec<String>>| names.is_some();
            let field = match &error {
                _ if !own(&table.sealed_fields) => "signed_fields",
                _ if !own(&table.signed_fields) => "sealed_fields",
                // Of the two lists the one that names it last.
                SignedFieldsError::NotAName(name)
                | SignedFieldsError::Changes(name)
                | SignedFieldsError::Twice(name)
                    if table.signed_fields.iter().flatten().any(|n| n == name) =>
                {
                    "signed_fields"
                }
                _ => "sealed_fields",
            };
            let hint = match error {
                SignedFieldsError::FromMissing => "add \"From\" to sealed_fields",
                SignedFieldsError::Twice(_) => {
                    "a name stands in sealed_fields or in signed_fields; a list that is left out has its default names"
                }
                _ => "",
            };
            let path = [&at[..], &[field]].concat();
            self.report(text, &path, error.to_string(), hint);
        }
        let lasts = table.expiration_secs;
        if !lasts.0.is_zero() && lasts.0.as_secs() < EXPIRATION_SECS_MIN {
            let path = [&at[..], &["expiration_secs"]].concat();
            self.report(
                text,
                &path,
                format!("a signature that holds for {lasts} ends before some mail arrives"),
                "an hour at least, such as \"72h\"; 0 for signatures that hold for ever",
            );
        }
        let names = (dkim::Name::parse(selector), dkim::Name::parse(domain));
        match names {
            (Ok(selector), Ok(domain)) if query_name(&selector, &domain).len() <= DOMAIN_MAX => (),
            _ => self.report(
                text,
                &at,
                "the selector and the domain are too long for a name in DNS".to_owned(),
                "a shorter selector",
            ),
        }
    }
}

/// Shortest time of a signature.
const EXPIRATION_SECS_MIN: u64 = 3600;

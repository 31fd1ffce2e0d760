//! The table `[oauth]` of the static file. A part of `check.rs`.

use super::Check;
use crate::settings::oauth::{Oauth, TokenCheck};
use crate::settings::parse::locate;

impl Check<'_> {
    pub(super) fn oauth(&mut self) {
        let Some(oauth) = &self.settings.server.oauth else {
            return;
        };
        self.in_ranges(&ranges(oauth));
        let issuer = "the provider's URL, exactly as its tokens have it in \"iss\", such as \"https://id.example.org/realms/mail\"";
        self.needed("issuer", oauth.issuer.is_some(), issuer);
        match oauth.check {
            TokenCheck::Jwks => {
                // RFC 9068 4: without it, a token for any other service of the provider would do.
                let hint = "what tokens for this server have in \"aud\", such as [\"ringmail\"]; the provider must put it there";
                self.needed("audiences", !oauth.audiences.is_empty(), hint);
            }
            TokenCheck::Introspection => {
                let hint = "check = \"introspection\" needs it: who we are to the provider";
                self.needed("client_id", is_there(oauth.client_id.as_deref()), hint);
                let hint = "check = \"introspection\" needs it: a file with the client's secret, which nobody else can read";
                let path = &oauth.client_secret_file;
                self.needed("client_secret_file", path.is_some(), hint);
            }
        }
        let bad_audience = |a: &String| a.is_empty() || a.chars().any(char::is_control);
        if let Some(at) = oauth.audiences.iter().position(bad_audience) {
            let message = format!("{:?} cannot be an audience", oauth.audiences[at]);
            let path = ["oauth", "audiences", &at.to_string()];
            self.report(&self.texts.server, &path, message, "");
        }
        let claim = &oauth.address_claim;
        if claim.is_empty() || claim.len() > CLAIM_MAX || claim.chars().any(char::is_control) {
            let message = format!("{claim:?} cannot be the name of a claim");
            let hint = "a claim that is an address, such as \"email\" or \"preferred_username\"";
            self.report(
                &self.texts.server,
                &["oauth", "address_claim"],
                message,
                hint,
            );
        }
        let hint = "no token would be good without one of RS256, PS256, ES256, EdDSA";
        self.needed("algorithms", !oauth.algorithms.is_empty(), hint);
    }

    /// A field that must be there and not be empty.
    fn needed(&mut self, field: &str, is_there: bool, hint: &str) {
        if is_there {
            return;
        }
        let text = &self.texts.server;
        let path = ["oauth", field];
        let steps = path.map(str::to_owned);
        let (place, written) = locate(&text.content, &steps);
        let said = self.problems.iter().any(|p| {
            p.file == text.path
                && p.place.as_ref().map(|p| p.line) == place.as_ref().map(|p| p.line)
        });
        match written {
            false => self.missing(text, &path, hint),
            // One that could not be read has been reported.
            true if said => (),
            true => self.report(text, &path, format!("{field} is empty"), hint),
        }
    }
}

fn is_there(text: Option<&str>) -> bool {
    text.is_some_and(|text| !text.is_empty())
}

/// Numbers with bounds: field, value, least, most.
#[rustfmt::skip] // a table
fn ranges(oauth: &Oauth) -> [(&'static str, u64, u64, u64); 11] {
    let secs = |secs: crate::settings::Secs| secs.0.as_secs();
    [
        // RFC 7519 4.1.4: "no more than a few minutes".
        ("oauth.clock_leeway_secs", secs(oauth.clock_leeway_secs), 0, 300),
        ("oauth.timeout_secs", secs(oauth.timeout_secs), 1, 30),
        ("oauth.keys_refresh_secs", secs(oauth.keys_refresh_secs), 1, 7 * 86_400),
        ("oauth.keys_keep_secs", secs(oauth.keys_keep_secs), secs(oauth.keys_refresh_secs), 30 * 86_400),
        ("oauth.refetch_secs", secs(oauth.refetch_secs), 1, 3600),
        // RFC 7662 4: a token that was revoked is good as long as the answer is remembered.
        ("oauth.introspection_cache_secs", secs(oauth.introspection_cache_secs), 0, 3600),
        ("oauth.introspection_cache_entries_max", oauth.introspection_cache_entries_max.into(), 1, 1_000_000),
        // Each holds a token of some KiB.
        ("oauth.checks_waiting_max", oauth.checks_waiting_max.into(), 1, 1 << 16),
        ("oauth.threads", oauth.threads.into(), 1, 64),
        ("oauth.response_max_bytes", oauth.response_max_bytes.0, 4 << 10, 4 << 20),
        ("oauth.keys_max", oauth.keys_max.into(), 1, 1024),
    ]
}

/// Octets of a claim's name.
const CLAIM_MAX: usize = 256;

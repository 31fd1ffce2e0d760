//! The way a recipient goes: the name of its line. Pure; made from the settings, in force from then on.
//!
//! | line | next hop |
//! |---|---|
//! | `example.org` | the hosts of the domain, found by its MX records |
//! | `NAME>` | the transport `[transport.NAME]`, whatever the domain |
//! | `NAME>example.org` | the hosts of the domain, reached the way that transport says |
//! | `localserve>example.org` | in `localserve`: the sender's own INBOX |
//! | `own>example.org` | accounts of ours |

use crate::settings::names::canonical_domain;
pub use crate::settings::outbound::{LOCALSERVE, OWN};
use crate::settings::{Settings, Transport};

use super::rows::{MessageRow, Recipient, RecipientRow};

/// The routes of the settings.
#[derive(Debug, Default, PartialEq)]
pub struct Routes {
    rules: Vec<crate::settings::Route>,
    transports: std::collections::BTreeMap<String, Transport>,
    is_local: bool,
    /// Domains of ours.
    own: std::collections::HashSet<Box<str>>,
    hostname: String,
}

impl Routes {
    /// Of these settings.
    pub fn of(settings: &Settings) -> Routes {
        Routes {
            rules: settings.server.route.clone(),
            transports: settings.server.transport.clone(),
            is_local: settings.everything_to.is_some(),
            own: settings
                .domains
                .domain
                .keys()
                .map(|name| name.as_str().into())
                .collect(),
            hostname: settings.server.hostname().to_owned(),
        }
    }

    /// The line of a recipient.
    pub fn line(&self, message: &MessageRow, recipient: &Recipient, row: &RecipientRow) -> String {
        let domain = recipient.domain();
        if self.is_local {
            return format!("{LOCALSERVE}>{domain}");
        }
        if self.is_own(&recipient.address, &domain) {
            return format!("{OWN}>{domain}");
        }
        let from = message.reverse_path.rsplit_once('@').map_or("", |(_, d)| d);
        let rule = || {
            let fits =
                |r: &&crate::settings::Route| r.fits(&message.account, from, &domain, row.tried());
            self.rules.iter().find(fits).map(|r| r.transport.as_str())
        };
        let by_hand = row.transport.as_deref();
        match by_hand.or_else(rule) {
            None | Some("") => domain,
            Some(name) => match self.transports.get(name) {
                Some(transport) if !transport.is_by_domain() => format!("{name}>"),
                // One that is gone: whoever works on the line says so.
                _ => format!("{name}>{domain}"),
            },
        }
    }
}

impl Routes {
    fn is_own(&self, address: &str, domain: &str) -> bool {
        let name = canonical_domain(domain);
        let is_ours = name.is_some_and(|name| self.own.contains(&*name));
        // RFC 5321 4.5.1: who wrote to postmaster alone.
        let localpart = address.rsplit_once('@').map_or("", |(l, _)| l);
        is_ours || domain == self.hostname && localpart.eq_ignore_ascii_case("postmaster")
    }
}

/// Takes the name of a line apart: the transport, if one is named, and the domain, if it goes by that.
pub fn parts(line: &str) -> (Option<&str>, Option<&str>) {
    match line.split_once('>') {
        None => (None, Some(line)),
        Some((transport, "")) => (Some(transport), None),
        Some((transport, domain)) => (Some(transport), Some(domain)),
    }
}

//! The way a recipient goes: the name of its line. Pure; made from the settings, in force from then on.
//!
//! | line | next hop |
//! |---|---|
//! | `example.org` | the hosts of the domain, found by its MX records |
//! | `NAME>` | the transport `[transport.NAME]`, whatever the domain |
//! | `NAME>example.org` | the hosts of the domain, reached the way that transport says |
//! | `localserve>example.org` | in `localserve`: the sender's own INBOX |

pub use crate::settings::outbound::LOCALSERVE;
use crate::settings::{Settings, Transport};

use super::rows::{MessageRow, Recipient, RecipientRow};

/// The routes of the settings.
#[derive(Debug, Default)]
pub struct Routes {
    rules: Vec<crate::settings::Route>,
    transports: std::collections::BTreeMap<String, Transport>,
    is_local: bool,
}

impl Routes {
    /// Of these settings.
    pub fn of(settings: &Settings) -> Routes {
        Routes {
            rules: settings.server.route.clone(),
            transports: settings.server.transport.clone(),
            is_local: settings.everything_to.is_some(),
        }
    }

    /// The line of a recipient.
    pub fn line(&self, message: &MessageRow, recipient: &Recipient, row: &RecipientRow) -> String {
        let domain = recipient.domain();
        if self.is_local {
            return format!("{LOCALSERVE}>{domain}");
        }
        let from = message.reverse_path.rsplit_once('@').map_or("", |(_, d)| d);
        let rule = || {
            let fits =
                |r: &&crate::settings::Route| r.fits(&message.account, from, &domain, row.attempts);
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

/// Takes the name of a line apart: the transport, if one is named, and the domain, if it goes by that.
pub fn parts(line: &str) -> (Option<&str>, Option<&str>) {
    match line.split_once('>') {
        None => (None, Some(line)),
        Some((transport, "")) => (Some(transport), None),
        Some((transport, domain)) => (Some(transport), Some(domain)),
    }
}

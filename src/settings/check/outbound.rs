//! The tables `[outbound]`, `[transport]` and `[[route]]` of the static file. A part of `check.rs`.

use std::net::IpAddr;

use super::Check;
use crate::settings::AccountName;
use crate::settings::outbound::{
    LOCALSERVE, OWN, Outbound, SmarthostTls, Transport, TransportKind,
};
use crate::settings::parse::nearest;

impl Check<'_> {
    pub(super) fn outbound(&mut self) {
        self.in_ranges(&ranges(&self.settings.server.outbound));
        for (name, transport) in &self.settings.server.transport {
            self.transport(name, transport);
        }
        for (at, route) in self.settings.server.route.iter().enumerate() {
            let at = at.to_string();
            let known = &self.settings.server.transport;
            if !route.transport.is_empty() && !known.contains_key(&route.transport) {
                let names: Vec<&str> = known.keys().map(String::as_str).collect();
                let hint = match nearest(&route.transport, &names) {
                    Some(name) => format!("did you mean {name}?"),
                    None => format!("add a table [transport.{}]", route.transport),
                };
                let message = format!("there is no transport {:?}", route.transport);
                self.report(
                    &self.texts.server,
                    &["route", &at, "transport"],
                    message,
                    &hint,
                );
            }
            for (n, account) in route.accounts.iter().enumerate() {
                let is_known = account
                    .parse::<AccountName>()
                    .is_ok_and(|name| self.settings.accounts.contains_key(&name));
                if !is_known && self.accounts_whole {
                    let path = ["route", &at, "accounts", &n.to_string()];
                    let message = format!("there is no account {account:?}");
                    self.report(
                        &self.texts.server,
                        &path,
                        message,
                        "the name of its file, without .toml",
                    );
                }
            }
        }
    }

    fn transport(&mut self, name: &str, transport: &Transport) {
        let is_name = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_".contains(&b);
        if name.is_empty() || name.len() > NAME_MAX || !name.bytes().all(is_name) {
            let message = format!("{name:?} cannot be the name of a transport");
            self.of_transport(name, None, message, "letters from a to z, digits, - and _");
        } else if name == LOCALSERVE || name == OWN {
            let message = format!("{name:?} is taken");
            self.of_transport(name, None, message, "choose another name");
        }
        let Some(kind) = transport.kind else {
            let hint = "\"direct\", \"smarthost\", \"fail\" or \"discard\"";
            self.missing(&self.texts.server, &["transport", name, "kind"], hint);
            return;
        };
        let default = Transport::default();
        let is_smarthost = kind == TransportKind::Smarthost;
        for (field, kinds, written) in [
            ("host", "smarthost", transport.host.is_some()),
            ("port", "smarthost", transport.port.is_some()),
            ("tls", "smarthost", transport.tls != default.tls),
            ("ca_file", "smarthost", transport.ca_file.is_some()),
            ("fingerprint", "smarthost", transport.fingerprint.is_some()),
            ("user", "smarthost", transport.user.is_some()),
            (
                "password_file",
                "smarthost",
                transport.password_file.is_some(),
            ),
            ("client_cert", "smarthost", transport.client_cert.is_some()),
            ("client_key", "smarthost", transport.client_key.is_some()),
            ("proxy", "direct smarthost", transport.proxy.is_some()),
            (
                "proxy_user",
                "direct smarthost",
                transport.proxy_user.is_some(),
            ),
            (
                "proxy_password_file",
                "direct smarthost",
                transport.proxy_password_file.is_some(),
            ),
            (
                "ehlo_name",
                "direct smarthost",
                transport.ehlo_name.is_some(),
            ),
            (
                "source_addresses",
                "direct smarthost",
                !transport.source_addresses.is_empty(),
            ),
            ("pool", "direct", transport.pool.is_some()),
            (
                "connections_max",
                "direct smarthost",
                transport.connections_max.is_some(),
            ),
            ("code", "fail", transport.code != default.code),
            ("text", "fail", transport.text != default.text),
        ] {
            let word = match kind {
                TransportKind::Direct => "direct",
                TransportKind::Smarthost => "smarthost",
                TransportKind::Fail => "fail",
                TransportKind::Discard => "discard",
            };
            if written && !kinds.split(' ').any(|k| k == word) {
                let message = format!("{field} is of no use with kind = \"{word}\"");
                self.of_transport(name, Some(field), message, "remove it");
            }
        }
        if is_smarthost {
            self.smarthost(name, transport);
        }
        self.way_out(name, transport);
        self.pool_of(name, transport);
        if !transport.ipv4 && !transport.ipv6 {
            let message = "neither IPv4 nor IPv6: nothing could be reached".to_owned();
            self.of_transport(name, Some("ipv4"), message, "at least one of the two");
        }
        if transport.port == Some(0) {
            let message = "port cannot be 0".to_owned();
            self.of_transport(name, Some("port"), message, "from 1 to 65535");
        }
        if transport.user.is_some() && transport.mechanisms.is_empty() {
            let message = "without a mechanism nobody can log in".to_owned();
            let hint = "remove it for those that are used by default, or user";
            self.of_transport(name, Some("mechanisms"), message, hint);
        }
        if !(400..600).contains(&transport.code) {
            let message = format!("code cannot be {}", transport.code);
            self.of_transport(name, Some("code"), message, "from 400 to 599");
        }
        let is_text = |c: char| c.is_ascii() && !c.is_ascii_control();
        if transport.text.len() > TEXT_MAX || !transport.text.chars().all(is_text) {
            let message = "text cannot be that".to_owned();
            self.of_transport(
                name,
                Some("text"),
                message,
                "256 characters of ASCII at most",
            );
        }
        if transport
            .connections_max
            .is_some_and(|n| !(1..=CONNECTIONS_MAX).contains(&u64::from(n)))
        {
            let message = "connections_max is out of bounds".to_owned();
            self.of_transport(name, Some("connections_max"), message, "from 1 to 10000");
        }
    }

    /// From where it sends.
    fn way_out(&mut self, name: &str, transport: &Transport) {
        let addresses = &transport.source_addresses;
        if let Some((message, hint)) = wrong_addresses(addresses) {
            self.of_transport(name, Some("source_addresses"), message, hint);
        }
        let has = |v6| addresses.iter().any(|a| a.is_ipv6() == v6);
        let is_given = !addresses.is_empty();
        let is_used = transport.ipv4 && has(false) || transport.ipv6 && has(true);
        match transport.proxy {
            Some(proxy) if is_given && !has(proxy.is_ipv6()) => {
                let message = "no address of the family of the proxy".to_owned();
                let hint = "they are where connections to the proxy begin; remove them, or add one";
                self.of_transport(name, Some("source_addresses"), message, hint);
            }
            None if is_given && !is_used => {
                let message = "no address of a family that is used".to_owned();
                let hint = "a family without an address here is not used; see ipv4 and ipv6";
                self.of_transport(name, Some("source_addresses"), message, hint);
            }
            _ => (),
        }
        let (user, password) = (&transport.proxy_user, &transport.proxy_password_file);
        for (field, written) in [
            ("proxy_user", user.is_some()),
            ("proxy_password_file", password.is_some()),
        ] {
            if written && transport.proxy.is_none() {
                let message = format!("{field} without a proxy");
                let hint = "add proxy, as in proxy = \"127.0.0.1:1080\"";
                self.of_transport(name, Some(field), message, hint);
            }
        }
        if user.is_some() != password.is_some() {
            let (field, hint) = match user {
                Some(_) => ("proxy_user", "add proxy_password_file"),
                None => ("proxy_password_file", "add proxy_user"),
            };
            let message = "a login at a proxy is a user and a password".to_owned();
            self.of_transport(name, Some(field), message, hint);
        }
        // RFC 1929 2.
        if user.as_ref().is_some_and(|u| !(1..=255).contains(&u.len())) {
            let message = "proxy_user cannot be that".to_owned();
            self.of_transport(name, Some("proxy_user"), message, "1 to 255 octets");
        }
    }

    fn smarthost(&mut self, name: &str, transport: &Transport) {
        if transport.host.is_none() {
            let hint = "the server to send to, as in host = \"smtp.example.net\"";
            self.missing(&self.texts.server, &["transport", name, "host"], hint);
            return;
        }
        let has_password = transport.password_file.is_some();
        if has_password && transport.user().is_empty() {
            let message = "a password without a user".to_owned();
            let hint = "user is the name to log in with";
            self.of_transport(name, Some("password_file"), message, hint);
        }
        if transport.user.is_some() && !has_password && transport.client_key.is_none() {
            let message = "a user without a password".to_owned();
            self.of_transport(
                name,
                Some("user"),
                message,
                "add password_file, or client_key",
            );
        }
        if transport.user().chars().any(char::is_control) {
            let message = "a control character in the name".to_owned();
            self.of_transport(name, Some("user"), message, "remove it");
        }
        if transport.client_cert.is_some() && transport.client_key.is_none() {
            let message = "a certificate without client_key".to_owned();
            let hint = "its private key; a key alone is enough, a certificate alone is not";
            self.of_transport(name, Some("client_cert"), message, hint);
        }
        if transport.ca_file.is_some() && transport.fingerprint.is_some() {
            let message = "ca_file and fingerprint at once".to_owned();
            let hint =
                "a fingerprint names the one certificate that is taken; remove one of the two";
            self.of_transport(name, Some("fingerprint"), message, hint);
        }
        let is_verified = matches!(
            transport.tls,
            SmarthostTls::Implicit | SmarthostTls::Starttls
        );
        if !is_verified {
            for (field, written) in [
                ("ca_file", transport.ca_file.is_some()),
                ("fingerprint", transport.fingerprint.is_some()),
            ] {
                if written {
                    let message = format!("{field} is of no use without verified TLS");
                    let hint = "remove it, or choose tls = \"starttls\" or \"implicit\"";
                    self.of_transport(name, Some(field), message, hint);
                }
            }
            let hidden = |m: &crate::settings::remote::MechanismName| !m.0.reveals_password();
            if has_password
                && !transport.is_on_this_machine()
                && !transport.mechanisms.iter().any(hidden)
            {
                let message = "none of these works without verified TLS".to_owned();
                let hint =
                    "a password would go to whoever answers; SCRAM and CRAM-MD5 do not show it";
                self.of_transport(name, Some("mechanisms"), message, hint);
            }
        }
    }

    pub(super) fn of_transport(
        &mut self,
        name: &str,
        field: Option<&str>,
        message: String,
        hint: &str,
    ) {
        let mut path = vec!["transport", name];
        path.extend(field);
        self.report(&self.texts.server, &path, message, hint);
    }
}

/// What is wrong with a list of addresses of ours, and what to do.
pub(super) fn wrong_addresses(addresses: &[IpAddr]) -> Option<(String, &'static str)> {
    let family = |v6| addresses.iter().filter(move |a| a.is_ipv6() == v6);
    let is_one = |address: &IpAddr| !address.is_unspecified() && !address.is_multicast();
    if family(true).count() > 1 || family(false).count() > 1 {
        let message = "more than one address of a family".to_owned();
        return Some((message, "one IPv4 and one IPv6 address at most"));
    }
    let wrong = addresses.iter().find(|address| !is_one(address))?;
    let message = format!("nobody can send from {wrong}");
    Some((message, "an address of this machine"))
}

/// Path, value, least, most.
fn ranges(outbound: &Outbound) -> [(&'static str, u64, u64, u64); 15] {
    let secs = |secs: crate::settings::Secs| secs.duration().as_secs();
    [
        ("outbound.port", u64::from(outbound.port), 1, 65_535),
        (
            "outbound.connect_timeout_secs",
            secs(outbound.connect_timeout_secs),
            1,
            HOUR,
        ),
        (
            "outbound.reply_timeout_secs",
            secs(outbound.reply_timeout_secs),
            1,
            HOUR,
        ),
        (
            "outbound.final_reply_timeout_secs",
            secs(outbound.final_reply_timeout_secs),
            1,
            HOUR,
        ),
        (
            "outbound.write_timeout_secs",
            secs(outbound.write_timeout_secs),
            1,
            HOUR,
        ),
        ("outbound.idle_secs", secs(outbound.idle_secs), 0, HOUR),
        (
            "outbound.connections_per_core_max",
            u64::from(outbound.connections_per_core_max),
            1,
            CONNECTIONS_MAX,
        ),
        (
            "outbound.connections_per_site_max",
            u64::from(outbound.connections_per_site_max),
            1,
            CONNECTIONS_MAX,
        ),
        (
            "outbound.connections_at_first",
            u64::from(outbound.connections_at_first),
            1,
            CONNECTIONS_MAX,
        ),
        (
            "outbound.messages_per_connection_max",
            u64::from(outbound.messages_per_connection_max),
            1,
            1_000_000,
        ),
        (
            "outbound.recipients_per_transaction_max",
            u64::from(outbound.recipients_per_transaction_max),
            1,
            1_000,
        ),
        (
            "outbound.addresses_per_attempt_max",
            u64::from(outbound.addresses_per_attempt_max),
            1,
            100,
        ),
        (
            "outbound.pause_first_secs",
            secs(outbound.pause_first_secs),
            1,
            24 * HOUR,
        ),
        (
            "outbound.pause_max_secs",
            secs(outbound.pause_max_secs),
            1,
            24 * HOUR,
        ),
        (
            "outbound.memory_max_bytes",
            outbound.memory_max_bytes.get(),
            1 << 20,
            u64::MAX,
        ),
    ]
}

const HOUR: u64 = 3_600;
const CONNECTIONS_MAX: u64 = 10_000;
const NAME_MAX: usize = 64;
const TEXT_MAX: usize = 256;

//! The configuration in force: immutable, shared by all cores, replaced as a whole.

mod signers;

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;

use rustls::RootCertStore;
use shards::tls::{ListenerTls, OldestTls, ServerConfig, load_tls};

use crate::client_tls::Files;
use crate::directory::Directory;
use crate::login::oauth::Tokens;
use crate::lookup::{Hosts, ResolverOptions};
use crate::settings::machine::read_authorities;
use crate::settings::{AccountName, Sending, Settings, TlsPolicy, TlsVersion};
pub use signers::Signers;

/// Settings and what is derived from them.
pub struct Live {
    /// As the operator wrote them.
    pub settings: Settings,
    /// Who is who.
    pub directory: Directory,
    /// Whom names are asked of.
    pub resolver: ResolverOptions,
    /// This machine's own names, for webhooks that the operator lets call inside; else there are none.
    pub hosts: Hosts,
    /// TLS by position of the listener.
    pub tls: HashMap<usize, ListenerTls>,
    /// Transports with what their files come to, by name. Others after each change.
    pub transports: BTreeMap<String, Arc<Files>>,
    /// Whose tokens log in.
    pub tokens: Option<Arc<Tokens>>,
    /// By whom other servers' certificates may be signed.
    pub authorities: Arc<RootCertStore>,
    /// Who signs mail.
    pub signers: Signers,
}

impl Live {
    /// Octets an account may have: its own quota or the server's. None: as many as it likes.
    pub fn quota(&self, account: AccountName) -> Option<u64> {
        let own = self.settings.accounts.get(&account)?.quota_bytes;
        own.or(self.settings.server.quota_bytes).map(|b| b.get())
    }

    /// How much an account may send.
    pub fn sending(&self, account: AccountName) -> Sending {
        let own = self.settings.accounts.get(&account);
        let own = own.map_or_else(Sending::default, |account| account.sending);
        own.or(self.settings.server.sending)
    }

    /// TLS of a listener's door for our users: it asks for a certificate, unless the listener says not to.
    pub fn tls_for_users(&self, listener: usize) -> Option<Arc<ServerConfig>> {
        let tls = self.tls.get(&listener)?;
        let section = self.settings.server.listener.get(listener)?.tls.as_ref();
        let asks = section.is_some_and(|t| t.client_certificates);
        Some(if asks { &tls.asking } else { &tls.anonymous }.clone())
    }

    /// TLS of a listener's door for other servers.
    pub fn tls_for_servers(&self, listener: usize) -> Option<Arc<ServerConfig>> {
        Some(self.tls.get(&listener)?.anonymous.clone())
    }

    /// TLS of a listener's door for HTTP.
    pub fn tls_for_web(&self, listener: usize) -> Option<Arc<ServerConfig>> {
        Some(self.tls.get(&listener)?.web.clone())
    }

    /// Derives everything; reads certificates, keys, /etc/resolv.conf and /etc/hosts (blocking). With `before`, a certificate or a key that can't be read keeps the old one,
    /// and so do files of `[oauth]`; the texts say which. Without, it is an error.
    pub fn new(settings: Settings, before: Option<&Live>) -> Result<(Live, Vec<String>), String> {
        let mut tls = HashMap::new();
        let mut kept = Vec::new();
        for (position, listener) in settings.server.listener.iter().enumerate() {
            let Some(section) = listener.tls.as_ref().filter(|t| !t.certificates.is_empty()) else {
                continue;
            };
            let pairs: Vec<(PathBuf, PathBuf)> = section
                .certificates
                .iter()
                .map(|c| (c.cert.clone(), c.key.clone()))
                .collect();
            let oldest = match section.min_version {
                TlsVersion::V1_2 => OldestTls::V1_2,
                TlsVersion::V1_3 => OldestTls::V1_3,
            };
            let old = before.and_then(|b| b.tls.get(&position));
            match (load_tls(&pairs, oldest), old) {
                (Ok(config), _) => {
                    tls.insert(position, config);
                }
                (Err(error), Some(old)) => {
                    kept.push(format!("{error}; the certificate in use is kept"));
                    tls.insert(position, old.clone());
                }
                (Err(error), None) => return Err(error.to_string()),
            }
        }
        let old = before.and_then(|b| b.tokens.as_ref());
        let oauth = settings.server.oauth.as_ref();
        let tokens = match oauth.map(|oauth| Tokens::new(oauth, old)).transpose() {
            Ok(tokens) => tokens,
            Err(error) => {
                let old = old.ok_or(&error)?.clone();
                kept.push(format!("{error}; tokens are checked as before"));
                Some(old)
            }
        };
        let mut transports = BTreeMap::new();
        for (name, transport) in &settings.server.transport {
            let old = before.and_then(|b| b.transports.get(name));
            match (Files::of(transport), old) {
                (Ok(files), _) => {
                    transports.insert(name.clone(), Arc::new(files));
                }
                (Err((_, error)), Some(old)) => {
                    kept.push(format!(
                        "{error}; transport {name} goes on as it was, host and all"
                    ));
                    transports.insert(name.clone(), old.clone());
                }
                (Err((_, error)), None) => return Err(error),
            }
        }
        let authorities = match (authorities(&settings.server.tls_policy), before) {
            (Ok(found), _) => found,
            (Err(error), Some(before)) => {
                kept.push(format!(
                    "{error}; the authorities of other servers' certificates are kept"
                ));
                before.authorities.clone()
            }
            (Err(error), None) => return Err(error),
        };
        let old = before.map(|before| &before.signers);
        let (signers, old_keys) = Signers::new(&settings.domains, old)?;
        kept.extend(old_keys);
        let directory = Directory::new(&settings);
        let resolver = ResolverOptions::of(&settings.server.dns);
        let hosts = match settings.server.webhooks.allow_networks.is_empty() {
            true => Hosts::default(),
            false => Hosts::read(),
        };
        Ok((
            Live {
                settings,
                directory,
                resolver,
                hosts,
                tls,
                transports,
                tokens,
                authorities,
                signers,
            },
            kept,
        ))
    }
}

/// Those of `[tls_policy]` or of the machine (blocking). A machine without any can send, but knows no certificate that is valid.
pub fn authorities(settings: &TlsPolicy) -> Result<Arc<RootCertStore>, String> {
    let ca_file = settings.ca_file.as_deref();
    let found = match read_authorities(ca_file) {
        Err(error) if ca_file.is_none() => {
            tracing::warn!(error, "no certificate of another server is valid here");
            Vec::new()
        }
        found => found?,
    };
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found);
    Ok(Arc::new(roots))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{Local, SmarthostTls, Transport, TransportKind};

    #[test]
    fn a_transport_whose_files_cannot_be_read_goes_on_with_its_old_host() {
        let settings = |host: &str, password: &str| {
            let mut settings = Local::new("/nowhere").load().unwrap();
            settings.server.listener.clear();
            settings.domains.domain.clear();
            let transport = Transport {
                kind: Some(TransportKind::Smarthost),
                host: Some(host.to_owned().try_into().unwrap()),
                tls: SmarthostTls::None,
                user: Some("u".into()),
                password_file: Some(password.into()),
                ..Transport::default()
            };
            let transports = &mut settings.server.transport;
            transports.insert("relay".into(), transport);
            settings
        };
        let directory = std::env::temp_dir().join(format!("ringmail-live-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let file = directory.join("password");
        std::fs::write(&file, "word\n").unwrap();
        let file = file.to_str().unwrap();
        let (first, _) = Live::new(settings("old.example", file), None).unwrap();
        let missing = settings("new.example", "/nowhere/password");
        let (second, kept) = Live::new(missing, Some(&first)).unwrap();
        let relay = &second.transports["relay"];
        assert_eq!(
            relay.transport.host.as_ref().unwrap().as_str(),
            "old.example"
        );
        assert!(
            kept.iter().any(|k| k.contains("goes on as it was")),
            "{kept:?}"
        );
        let (third, _) = Live::new(settings("new.example", file), Some(&second)).unwrap();
        let relay = &third.transports["relay"];
        assert_eq!(
            relay.transport.host.as_ref().unwrap().as_str(),
            "new.example"
        );
        std::fs::remove_dir_all(directory).unwrap();
    }
}

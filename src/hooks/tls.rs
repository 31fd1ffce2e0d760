//! TLS towards endpoints: one configuration for each core and each set of authorities, so that sessions resume. RFC 8446 2.2.

use std::cell::RefCell;
use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore};

use crate::live::Live;

/// The configuration, and by whom certificates may be signed.
type Made = (Arc<RootCertStore>, Arc<ClientConfig>);

thread_local! {
    /// Of this core; another one after each change of the authorities.
    static MADE: RefCell<Option<Made>> = const { RefCell::new(None) };
}

/// The configuration in force.
pub(super) fn config(live: &Live) -> Result<Arc<ClientConfig>, String> {
    let made = MADE.with_borrow(Clone::clone);
    let made = made.filter(|(authorities, _)| Arc::ptr_eq(authorities, &live.authorities));
    if let Some((_, config)) = made {
        return Ok(config);
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(rustls::ALL_VERSIONS)
        .map_err(|e| e.to_string())?
        .with_root_certificates(live.authorities.clone())
        .with_no_client_auth();
    let mut config = config;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let config = Arc::new(config);
    MADE.set(Some((live.authorities.clone(), config.clone())));
    Ok(config)
}

//! Which addresses may be called: it is asked of the very address that is connected to, so what a name says a moment later does not matter.

use std::net::IpAddr;

use webapi::hook::is_public;

use crate::settings::Webhooks;

/// Whether it is an address of the public internet, or of a network that the operator allows.
pub(super) fn is_allowed(settings: &Webhooks, address: IpAddr) -> bool {
    is_public(address)
        || settings
            .allow_networks
            .iter()
            .any(|network| network.0.has(address))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_inside_is_closed_unless_it_is_opened() {
        let mut settings = Webhooks::default();
        let loopback = "127.0.0.1".parse().unwrap();
        let mapped = "::ffff:127.0.0.1".parse().unwrap();
        let metadata = "169.254.169.254".parse().unwrap();
        for address in [loopback, mapped, metadata] {
            assert!(!is_allowed(&settings, address), "{address}");
        }
        assert!(is_allowed(&settings, "8.8.8.8".parse().unwrap()));
        let network = "127.0.0.0/8".to_string().try_into().unwrap();
        settings.allow_networks.push(network);
        assert!(is_allowed(&settings, loopback) && is_allowed(&settings, mapped));
        assert!(!is_allowed(&settings, metadata));
    }
}

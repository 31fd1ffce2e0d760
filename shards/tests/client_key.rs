//! Certificates that OpenSSL made, and what their keys are known by.
//! `openssl req -x509 -newkey ...`; compressed: `openssl ec -conv_form compressed`; the exponent: `-pkeyopt rsa_keygen_pubexp:8589934593`.

use std::fmt::Write as _;

use ringmail_shards::tls::{ClientKey, ClientKeyError};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

macro_rules! certificate {
    ($name:literal) => {
        CertificateDer::from_pem_slice(include_bytes!(concat!("client_keys/", $name, ".pem")))
            .unwrap()
    };
}

#[test]
fn a_key_is_known_by_the_digest_that_openssl_prints() {
    // openssl x509 -noout -pubkey | openssl pkey -pubin -outform DER | sha256sum
    for (certificate, kind, fingerprint) in [
        (
            certificate!("rsa-2048"),
            "rsa-2048",
            "5a194b550d725bf1ad93c37a0ba3ac14dbf4948db00f5cc886e108597bd05f88",
        ),
        (
            certificate!("p256"),
            "ecdsa-p256",
            "dcfebdc51a289c1a890d1788a32043f962a32fdc5d7d36a5dcaa0563cd85dae2",
        ),
        (
            certificate!("p384"),
            "ecdsa-p384",
            "dafd2a1d4604419cf66b42b79bb112b22da330b3104d457193eb744aeb5d521a",
        ),
        (
            certificate!("ed25519"),
            "ed25519",
            "9cdd480ff71186304e5168778a4b2484c0bef75b3d757003a82b7d127ec88893",
        ),
        // Only the key counts.
        (
            certificate!("version-1"),
            "ecdsa-p256",
            "3f6eb76e717285e06e01b432e57f47c811532a1778c3e8119de4398da40b160e",
        ),
        (
            certificate!("critical-extension"),
            "ecdsa-p256",
            "5b7d6faa6a22c17dc343a85c7b697965940650aaedb738d070bffa04eccfb65a",
        ),
    ] {
        let key = ClientKey::of(&certificate).unwrap();
        let mut hex = String::new();
        for octet in key.fingerprint {
            write!(hex, "{octet:02x}").unwrap();
        }
        assert_eq!((key.kind.as_str(), hex.as_str()), (kind, fingerprint));
    }
    // The number of bits is that of the modulus, not of its octets.
    let key = ClientKey::of(&certificate!("rsa-2050")).unwrap();
    assert_eq!(key.kind, "rsa-2050");
}

#[test]
fn what_no_signature_can_be_checked_with_identifies_nobody() {
    for (certificate, kind) in [
        (certificate!("rsa-1024"), "rsa-1024"),
        (certificate!("rsa-2047"), "rsa-2047"),
        (certificate!("rsa-exponent-34-bits"), "rsa-2048"),
        (certificate!("p256-compressed"), "ecdsa-p256"),
        (certificate!("p384-compressed"), "ecdsa-p384"),
        (certificate!("p256-explicit"), "ecdsa-?"),
        (certificate!("p521"), "ecdsa-1.3.132.0.35"),
    ] {
        assert_eq!(
            ClientKey::of(&certificate),
            Err(ClientKeyError::Kind(kind.to_string()))
        );
    }
    let whole = certificate!("version-1");
    for end in 0..whole.len() {
        assert_eq!(
            ClientKey::of(&whole[..end]),
            Err(ClientKeyError::Certificate)
        );
    }
}

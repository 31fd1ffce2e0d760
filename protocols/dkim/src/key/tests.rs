use super::*;
use crate::generate::{self, GenerateError};
use crate::public_key::PublicKey;

const RSA: &str = include_str!("../../tests/keys/rsa2048.pem");
const RSA_PKCS1: &str = include_str!("../../tests/keys/rsa2048-pkcs1.pem");

/// RFC 8463 A.1
const RSA_1024: &str = "-----BEGIN RSA PRIVATE KEY-----
MIICXQIBAAKBgQDkHlOQoBTzWRiGs5V6NpP3idY6Wk08a5qhdR6wy5bdOKb2jLQi
Y/J16JYi0Qvx/byYzCNb3W91y3FutACDfzwQ/BC/e/8uBsCR+yz1Lxj+PL6lHvqM
KrM3rG4hstT5QjvHO9PzoxZyVYLzBfO2EeC3Ip3G+2kryOTIKT+l/K4w3QIDAQAB
AoGAH0cxOhFZDgzXWhDhnAJDw5s4roOXN4OhjiXa8W7Y3rhX3FJqmJSPuC8N9vQm
6SVbaLAE4SG5mLMueHlh4KXffEpuLEiNp9Ss3O4YfLiQpbRqE7Tm5SxKjvvQoZZe
zHorimOaChRL2it47iuWxzxSiRMv4c+j70GiWdxXnxe4UoECQQDzJB/0U58W7RZy
6enGVj2kWF732CoWFZWzi1FicudrBFoy63QwcowpoCazKtvZGMNlPWnC7x/6o8Gc
uSe0ga2xAkEA8C7PipPm1/1fTRQvj1o/dDmZp243044ZNyxjg+/OPN0oWCbXIGxy
WvmZbXriOWoSALJTjExEgraHEgnXssuk7QJBALl5ICsYMu6hMxO73gnfNayNgPxd
WFV6Z7ULnKyV7HSVYF0hgYOHjeYe9gaMtiJYoo0zGN+L3AAtNP9huqkWlzECQE1a
licIeVlo1e+qJ6Mgqr0Q7Aa7falZ448ccbSFYEPD6oFxiOl9Y9se9iYHZKKfIcst
o7DUw1/hz2Ck4N5JrgUCQQCyKveNvjzkkd8HjYs0SwM0fPjK16//5qDZ2UiDGnOe
uEzxBDAr518Z8VFbR41in3W4Y3yCDgQlLlcETrS+zYcL
-----END RSA PRIVATE KEY-----
";

fn signs_and_verifies(pem: &str, algorithm: Algorithm, bits: usize) {
    let key = SigningKey::from_pem(pem).unwrap();
    assert_eq!((key.algorithm(), key.bits()), (algorithm, bits));
    let signature = key.sign(b"input").unwrap();
    let octets = key.public_key();
    let public = PublicKey::parse(algorithm, &octets).unwrap();
    assert_eq!(public.bits, bits);
    assert!(public.verifies(b"input", &signature));
    assert!(!public.verifies(b"Input", &signature));
    assert!(!public.verifies(b"input", &signature[1..]));
}

#[test]
fn files_of_both_kinds() {
    signs_and_verifies(RSA, Algorithm::RsaSha256, 2048);
    signs_and_verifies(RSA_PKCS1, Algorithm::RsaSha256, 2048);
    let noted = format!(
        "Note: made in 2026\n-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n{}",
        RSA.replace('\n', "\r\n")
    );
    signs_and_verifies(&noted, Algorithm::RsaSha256, 2048);
    let debug = format!("{:?}", SigningKey::from_pem(RSA).unwrap());
    assert_eq!(debug, "SigningKey(rsa-sha256, 2048 bits)");
}

#[test]
fn keys_that_we_make() {
    let mut state = 1_u64;
    let mut fill = |octets: &mut [u8]| {
        for octet in octets {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            *octet = (state >> 56) as u8;
        }
    };
    let first = generate::ed25519_key(&mut fill);
    signs_and_verifies(&first, Algorithm::Ed25519Sha256, 256);
    assert_ne!(*first, *generate::ed25519_key(&mut fill));
    signs_and_verifies(
        &generate::rsa_key(2048, &mut fill).unwrap(),
        Algorithm::RsaSha256,
        2048,
    );
    for bits in [0, 1024, 2047, 2056, 2560, 8192] {
        assert_eq!(
            generate::rsa_key(bits, &mut fill),
            Err(GenerateError::RsaKeySize)
        );
    }
}

#[test]
fn files_that_are_no_keys() {
    let of = |text: &str| SigningKey::from_pem(text).unwrap_err();
    assert_eq!(of(""), KeyError::NotPem);
    assert_eq!(of(&RSA[..800]), KeyError::NotPem);
    assert_eq!(of(&RSA.replacen("MII", "M\u{e4}I", 1)), KeyError::NotPem);
    assert_eq!(
        of(&format!("{}{RSA}", " ".repeat(KEY_FILE_MAX))),
        KeyError::NotPem
    );
    assert_eq!(
        of("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"),
        KeyError::Damaged
    );
    assert_eq!(
        of(&RSA.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY")),
        KeyError::Encrypted
    );
    assert_eq!(
        of(&RSA_PKCS1.replacen("KEY-----\n", "KEY-----\nProc-Type: 4,ENCRYPTED\n", 1)),
        KeyError::Encrypted
    );
    // RFC 8301 3.2
    assert_eq!(of(RSA_1024), KeyError::RsaKeySize(1024));
    // P-256
    let elliptic = "-----BEGIN PRIVATE KEY-----\nMIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgevZzL1gdAFr88hb2\nOF/2NxApJCzGCEDdfSp6VQO30hyhRANCAAQRWz+jn65BtOMvdyHKcvjBeBSDZH2r\n1RTwjmYSi9R/zpBnuQ4EiMnCqfMPWiZqB4QdbAd0E7oH50VpuZ1P087G\n-----END PRIVATE KEY-----\n";
    assert_eq!(of(elliptic), KeyError::UnknownType);
    assert_eq!(
        of(&elliptic.replace("PRIVATE KEY", "EC PRIVATE KEY")),
        KeyError::UnknownType
    );
}

//! The certificate of `localserve`: our own, for the names of this machine's loopback.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, date_time_ymd};

use crate::settings::replace;

/// Writes a new ECDSA P-256 key and a certificate for `localhost`, `127.0.0.1` and `::1`, good for ten years.
pub(super) fn write_self_signed(cert: &Path, key: &Path) -> Result<(), String> {
    let failed = |e: rcgen::Error| format!("the certificate could not be made: {e}");
    let names = ["localhost", "127.0.0.1", "::1"].map(String::from);
    let mut params = CertificateParams::new(names).map_err(failed)?;
    params.distinguished_name = DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, "ringmail localserve");
    let year = this_year();
    params.not_before = date_time_ymd(year - 1, 1, 1);
    params.not_after = date_time_ymd(year + 10, 1, 1);
    let pair = KeyPair::generate().map_err(failed)?;
    let certificate = params.self_signed(&pair).map_err(failed)?;
    // Without a certificate the pair is made anew: wherever a crash comes, no old certificate stands beside a new key.
    match replace::remove(cert) {
        Err(e) if e.kind() != ErrorKind::NotFound => return Err(failed_at(cert, &e)),
        _ => (),
    }
    write(key, "PRIVATE KEY", &pair.serialize_der(), 0o600)?;
    write(cert, "CERTIFICATE", certificate.der(), 0o644)
}

/// Whether a file of the pair is not there, or is what a power failure leaves of one that was not synced: nothing, zeros, a beginning.
/// Anything else that is no certificate is somebody's mistake, and theirs to correct.
pub(super) fn must_be_made(path: &Path) -> bool {
    match fs::read(path) {
        Ok(content) => {
            let begun = content.starts_with(b"-----BEGIN ");
            let ended = content.windows(9).any(|at| at == b"-----END ");
            content.iter().all(|octet| *octet == 0) || begun && !ended
        }
        Err(error) => error.kind() == ErrorKind::NotFound,
    }
}

/// RFC 7468 2: base64 in lines of 64 between two labels.
pub(super) fn pem(label: &str, der: &[u8]) -> String {
    let encoded = STANDARD.encode(der);
    let mut text = format!("-----BEGIN {label}-----\n");
    for line in encoded.as_bytes().chunks(64) {
        // Base64 is ASCII.
        text.push_str(&String::from_utf8_lossy(line));
        text.push('\n');
    }
    text.push_str(&format!("-----END {label}-----\n"));
    text
}

fn write(path: &Path, label: &str, der: &[u8], mode: u32) -> Result<(), String> {
    replace::put(path, &pem(label, der), mode).map_err(|e| failed_at(path, &e))
}

fn failed_at(path: &Path, error: &io::Error) -> String {
    format!("{}: {error}", path.display())
}

fn this_year() -> i32 {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    // A day more or less at the turn of the year does not matter.
    1970 + (now.as_secs() / SECONDS_PER_YEAR) as i32
}

const SECONDS_PER_YEAR: u64 = 31_556_952;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rustls_takes_it() {
        let dir = std::env::temp_dir().join(format!("ringmail-cert-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let (cert, key) = (dir.join("c"), dir.join("k"));
        write_self_signed(&cert, &key).unwrap();
        assert!(shards::tls::load_tls(&[(cert, key)], shards::tls::OldestTls::V1_2).is_ok());
        std::fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn what_a_power_failure_leaves_is_made_anew_and_nothing_else() {
        let dir = std::env::temp_dir().join(format!("ringmail-torn-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let (cert, key) = (dir.join("c"), dir.join("k"));
        assert!(must_be_made(&cert));
        write_self_signed(&cert, &key).unwrap();
        assert!(!must_be_made(&cert) && !must_be_made(&key));
        let whole = fs::read(&cert).unwrap();
        for torn in [&[][..], &[0; 700], &whole[..300]] {
            fs::write(&cert, torn).unwrap();
            assert!(must_be_made(&cert), "{torn:?}");
        }
        write_self_signed(&cert, &key).unwrap();
        assert!(!must_be_made(&cert));
        fs::write(&cert, "a certificate, one day").unwrap();
        assert!(!must_be_made(&cert));
        // Only the two files are there: nothing temporary stays.
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 2);
        fs::remove_dir_all(dir).unwrap();
    }
}

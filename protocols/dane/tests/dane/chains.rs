//! Certificates for tests. All are valid from 2025 to 2034 unless said otherwise; [`now`] is in 2026.

use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    date_time_ymd,
};
use ringmail_dane::{Matching, Record, Selector, Usage};
use rustls::pki_types::{CertificateDer, DnsName, UnixTime};

pub const NOW_SECS: u64 = 1_767_225_600;

pub fn now() -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_secs(NOW_SECS))
}

pub fn name(text: &str) -> DnsName<'static> {
    DnsName::try_from(text.to_owned()).unwrap()
}

/// A certificate, its key, and those above it.
#[derive(Clone)]
pub struct Made {
    pub params: CertificateParams,
    pub key: std::rc::Rc<KeyPair>,
    pub der: CertificateDer<'static>,
    pub above: Vec<CertificateDer<'static>>,
}

impl Made {
    /// What a server shows: the certificate and all above it.
    pub fn chain(&self) -> Vec<CertificateDer<'static>> {
        let own = std::iter::once(self.der.clone());
        own.chain(self.above.iter().cloned()).collect()
    }

    /// The same without the last one, as many servers show it.
    pub fn chain_without_root(&self) -> Vec<CertificateDer<'static>> {
        let mut chain = self.chain();
        chain.pop();
        chain
    }
}

pub type Tune<'a> = &'a dyn Fn(&mut CertificateParams);

pub const AS_IS: Tune<'static> = &|_| {};
pub const EXPIRED: Tune<'static> = &|params| params.not_after = date_time_ymd(2025, 6, 1);
pub const EARLY: Tune<'static> = &|params| params.not_before = date_time_ymd(2027, 1, 1);

fn make(common_name: &str, names: &[&str], issuer: Option<&Made>, tune: [Tune<'_>; 2]) -> Made {
    let names: Vec<String> = names.iter().map(|n| (*n).to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.not_before = date_time_ymd(2025, 1, 1);
    params.not_after = date_time_ymd(2034, 1, 1);
    params
        .distinguished_name
        .push(DnType::CommonName, common_name);
    params.use_authority_key_identifier_extension = issuer.is_some();
    tune.iter().for_each(|tune| tune(&mut params));
    let key = KeyPair::generate().unwrap();
    let der = match issuer {
        Some(issuer) => {
            let signer = Issuer::from_params(&issuer.params, &*issuer.key);
            params.signed_by(&key, &signer).unwrap().der().clone()
        }
        None => params.self_signed(&key).unwrap().der().clone(),
    };
    Made {
        params,
        key: key.into(),
        der,
        above: issuer.map(Made::chain).unwrap_or_default(),
    }
}

pub fn authority(common_name: &str, issuer: Option<&Made>, tune: Tune<'_>) -> Made {
    let as_authority: Tune<'_> = &|params| {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    };
    make(common_name, &[], issuer, [as_authority, tune])
}

pub fn server(names: &[&str], issuer: Option<&Made>, tune: Tune<'_>) -> Made {
    make("server", names, issuer, [AS_IS, tune])
}

pub fn record(numbers: [u8; 3], certificate: &CertificateDer<'_>) -> Record {
    let [usage, selector, matching] = numbers;
    Record::of(
        Usage::from(usage),
        Selector::from(selector),
        Matching::from(matching),
        certificate,
    )
    .unwrap()
}

pub fn pem(kind: &str, der: &[u8]) -> String {
    let text = BASE64_STANDARD.encode(der);
    let lines: Vec<&str> = text
        .as_bytes()
        .chunks(64)
        .map(|line| std::str::from_utf8(line).unwrap())
        .collect();
    format!(
        "-----BEGIN {kind}-----\n{}\n-----END {kind}-----\n",
        lines.join("\n")
    )
}

//! Which records count, and whether a server's certificates are those that the records mean. RFC 6698 2.1.1, 7671 5 and 9, 7672 3.
//! Whether the records are authentic (DNSSEC) and whose they are is the caller's; so is the port and the name they stand at.

use std::ptr;

use rustls::pki_types::{CertificateDer, Der, DnsName, TrustAnchor, UnixTime};
use webpki::anchor_from_trusted_cert;

use crate::certificate::{Certificate, public_key_content};
use crate::limits::{ANCHORS_MAX, NAMES_MAX, RECORDS_MAX};
use crate::path::{self, CertificateFailure};
use crate::record::{Matching, Record, Selector, Usage};

/// Which usages count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Usages {
    /// DANE-TA and DANE-EE: servers of mail at port 25. RFC 7672 3.1.3: the others are unusable.
    Smtp,
    /// All four, for other protocols.
    All,
}

/// The records of a name that count, at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsableRecords(Vec<Record>);

/// There are records, but none counts. RFC 7672 2.2: the server must be spoken to with TLS, and its certificate is not looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("none of the TLSA records is usable")]
pub struct NoneUsable;

impl NoneUsable {
    /// The `result-type` of RFC 8460 4.3.2.1.
    pub fn result_type(self) -> &'static str {
        "tlsa-invalid"
    }

    /// The `failure-reason-code`.
    pub fn reason(self) -> &'static str {
        "all-unusable-records+ignored"
    }
}

impl UsableRecords {
    /// Malformed records, unassigned fields and, in SMTP, PKIX usages are left out. Then, for each usage and selector, of the digests only the
    /// strongest counts (RFC 7671 9), so that nobody can use a weakness of the other.
    pub fn select(records: &[Record], usages: Usages) -> Result<Self, NoneUsable> {
        let is_usable = |record: &&Record| {
            let is_pkix = matches!(record.usage, Usage::PkixTa | Usage::PkixEe);
            record.is_well_formed() && !(is_pkix && usages == Usages::Smtp)
        };
        let records: Vec<&Record> = records.iter().take(RECORDS_MAX).filter(is_usable).collect();
        let is_outdone = |record: &Record| {
            record.matching == Matching::Sha256
                && records.iter().any(|other| {
                    other.matching == Matching::Sha512
                        && (other.usage, other.selector) == (record.usage, record.selector)
                })
        };
        let mut kept: Vec<Record> = Vec::new();
        for record in &records {
            if !is_outdone(record) && !kept.contains(record) {
                kept.push((*record).clone());
            }
        }
        if kept.is_empty() {
            return Err(NoneUsable);
        }
        Ok(UsableRecords(kept))
    }

    /// Those that count.
    pub fn records(&self) -> &[Record] {
        &self.0
    }

    fn of(&self, usage: Usage) -> impl Iterator<Item = &Record> {
        self.0.iter().filter(move |record| record.usage == usage)
    }
}

/// What a server is authenticated by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Matched {
    /// The record.
    pub record: Record,
    /// The place of the certificate that it means, from the server's own, which is 0.
    pub depth: usize,
}

/// Why a server is not authenticated. RFC 7672 3.2: no mail must go there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DaneError {
    /// No record means any of the certificates.
    #[error("no TLSA record matches the certificate")]
    NoMatch,
    /// A record matches, but the certificate is wrong otherwise.
    #[error(transparent)]
    Certificate(#[from] CertificateFailure),
}

impl DaneError {
    /// The `result-type` of RFC 8460 4.3.1.
    pub fn result_type(&self) -> &'static str {
        match self {
            DaneError::NoMatch => "validation-failure",
            DaneError::Certificate(failure) => failure.result_type(),
        }
    }

    /// The `failure-reason-code`.
    pub fn reason(&self) -> String {
        match self {
            DaneError::NoMatch => "dane-no-match".into(),
            DaneError::Certificate(failure) => format!("dane-{}", failure.reason()),
        }
    }
}

/// Does `chain`, the server's own certificate first, hold by these records? `names` are the reference names, most important first, of which
/// [`NAMES_MAX`] count; usage DANE-EE has no need of them. Usages PKIX-TA and PKIX-EE never match: see [`verify_with_roots`].
pub fn verify(
    records: &UsableRecords,
    chain: &[CertificateDer<'_>],
    names: &[DnsName<'_>],
    now: UnixTime,
) -> Result<Matched, DaneError> {
    verify_with_roots(records, chain, names, now, &[])
}

/// The same, for protocols where the client has roots of its own. They are certificates, for a record may mean one in full.
pub fn verify_with_roots(
    records: &UsableRecords,
    chain: &[CertificateDer<'_>],
    names: &[DnsName<'_>],
    now: UnixTime,
    roots: &[CertificateDer<'_>],
) -> Result<Matched, DaneError> {
    let (certificate, _) = path::split(chain)?;
    let names = &names[..names.len().min(NAMES_MAX)];
    // RFC 7672 3.1.1: neither names nor times matter.
    if let Some(record) = records.of(Usage::DaneEe).find(|r| r.matches(certificate)) {
        return Ok(matched(record, 0));
    }
    // A failure behind a match says more than that nothing matches.
    let by_anchor = verify_by_anchor(records, chain, names, now);
    if by_anchor.is_ok() {
        return by_anchor;
    }
    match verify_by_roots(records, chain, names, now, roots) {
        Err(DaneError::NoMatch) => by_anchor,
        result => result,
    }
}

/// A trust anchor that a record makes.
struct Anchor<'a> {
    trust: TrustAnchor<'a>,
    record: &'a Record,
    /// None for a bare key.
    certificate: Option<Certificate<'a>>,
}

/// Usage DANE-TA. RFC 7671 5.2, 7672 3.1.2.
fn verify_by_anchor(
    records: &UsableRecords,
    chain: &[CertificateDer<'_>],
    names: &[DnsName<'_>],
    now: UnixTime,
) -> Result<Matched, DaneError> {
    // What records hold in full is copied once, so that it can stand beside what the server showed.
    let in_full: Vec<(&Record, CertificateDer<'_>)> = records
        .of(Usage::DaneTa)
        .filter(|record| record.matching == Matching::Full)
        .filter(|record| record.selector == Selector::Certificate)
        .map(|record| (record, CertificateDer::from(record.data.as_slice())))
        .collect();
    let anchors = anchors(records, chain, &in_full);
    if anchors.is_empty() {
        return Err(DaneError::NoMatch);
    }
    let trusted: Vec<TrustAnchor<'_>> = anchors.iter().map(|a| a.trust.clone()).collect();
    let made_by = |path: &webpki::VerifiedPath<'_>| {
        let at = trusted.iter().position(|t| ptr::eq(t, path.anchor()));
        &anchors[at.expect("the path ends at one of the anchors it was given")]
    };
    let between = |path: &webpki::VerifiedPath<'_>| path.intermediate_certificates().count();
    let check = |path: &webpki::VerifiedPath<'_>| match &made_by(path).certificate {
        Some(certificate) => certificate.check_as_anchor(between(path), now),
        None => Ok(()),
    };
    let found = path::find(chain, &trusted, now, Some(&check), |path| {
        matched(made_by(path).record, between(path) + 1)
    })?;
    path::check_names(chain, names)?;
    Ok(found)
}

fn anchors<'a>(
    records: &'a UsableRecords,
    chain: &'a [CertificateDer<'_>],
    in_full: &'a [(&'a Record, CertificateDer<'a>)],
) -> Vec<Anchor<'a>> {
    let Ok((own, others)) = path::split(chain) else {
        return Vec::new();
    };
    let mut anchors = Vec::new();
    for shown in others {
        let Some(certificate) = Certificate::parse(shown) else {
            continue;
        };
        let is_meant = |r: &&Record| r.matches_parts(shown, certificate.public_key);
        if let Some(record) = records.of(Usage::DaneTa).find(is_meant) {
            anchors.extend(anchor(record, shown));
        }
    }
    // RFC 7671 5.2.2: a certificate in the record need not be shown.
    anchors.extend(
        in_full
            .iter()
            .filter_map(|(record, full)| anchor(record, full)),
    );
    // RFC 7671 5.2.3: a key in the record may have signed a certificate of the chain, whoever that says its issuer is. But not if the key's
    // certificate is shown, for then its times and constraints hold.
    let is_bare = |r: &&Record| {
        let is_key = (r.selector, r.matching) == (Selector::PublicKey, Matching::Full);
        is_key && !others.iter().any(|shown| r.matches(shown))
    };
    for record in records.of(Usage::DaneTa).filter(is_bare) {
        for shown in std::iter::once(own).chain(others) {
            anchors.extend(bare_key(record, shown));
        }
    }
    anchors.truncate(ANCHORS_MAX);
    anchors
}

fn anchor<'a>(record: &'a Record, certificate: &'a CertificateDer<'_>) -> Option<Anchor<'a>> {
    Some(Anchor {
        trust: anchor_from_trusted_cert(certificate).ok()?,
        record,
        certificate: Some(Certificate::parse(certificate)?),
    })
}

fn bare_key<'a>(record: &'a Record, signed: &'a CertificateDer<'_>) -> Option<Anchor<'a>> {
    Some(Anchor {
        trust: TrustAnchor {
            subject: Der::from_slice(Certificate::parse(signed)?.issuer),
            subject_public_key_info: Der::from_slice(public_key_content(&record.data)?),
            name_constraints: None,
        },
        record,
        certificate: None,
    })
}

/// Usages PKIX-TA and PKIX-EE. RFC 7671 5.3, 5.4: valid by the client's roots, and the record means a certificate of that path.
fn verify_by_roots(
    records: &UsableRecords,
    chain: &[CertificateDer<'_>],
    names: &[DnsName<'_>],
    now: UnixTime,
    roots: &[CertificateDer<'_>],
) -> Result<Matched, DaneError> {
    let by_records: Vec<&Record> = records
        .of(Usage::PkixEe)
        .chain(records.of(Usage::PkixTa))
        .collect();
    if by_records.is_empty() || roots.is_empty() {
        return Err(DaneError::NoMatch);
    }
    let (certificate, _) = path::split(chain)?;
    let (sources, trusted): (Vec<_>, Vec<_>) = roots
        .iter()
        .filter_map(|root| Some((root, anchor_from_trusted_cert(root).ok()?)))
        .unzip();
    let meant = |path: &webpki::VerifiedPath<'_>| {
        let at = trusted.iter().position(|t| ptr::eq(t, path.anchor()))?;
        let issuers: Vec<CertificateDer<'_>> = path
            .intermediate_certificates()
            .map(|issuer| issuer.der())
            .chain(Some(sources[at].clone()))
            .collect();
        by_records.iter().find_map(|record| match record.usage {
            Usage::PkixEe => record.matches(certificate).then(|| matched(record, 0)),
            _ => {
                let at = issuers.iter().position(|issuer| record.matches(issuer))?;
                Some(matched(record, at + 1))
            }
        })
    };
    // Other paths may hold what is meant, so a path without is no path.
    let check = |path: &webpki::VerifiedPath<'_>| match meant(path) {
        Some(_) => Ok(()),
        None => Err(webpki::Error::CertDistrusted),
    };
    let found = match path::find(chain, &trusted, now, Some(&check), |path| meant(path)) {
        Err(CertificateFailure::NotTrusted(word)) if word == "CertDistrusted" => None,
        result => result?,
    };
    let found = found.ok_or(DaneError::NoMatch)?;
    path::check_names(chain, names)?;
    Ok(found)
}

fn matched(record: &Record, depth: usize) -> Matched {
    Matched {
        record: record.clone(),
        depth,
    }
}

//! The rules one by one: which records count, names, depth, words of reports, our own records.

use rcgen::{DnType, ExtendedKeyUsagePurpose, KeyPair};
use ringmail_dane::limits::{CHAIN_MAX, NAMES_MAX, RECORDS_MAX};
use ringmail_dane::{
    CertificateFailure, DaneError, NoneUsable, Record, RecordError, UsableRecords, Usages, verify,
    verify_with_roots,
};
use rustls::pki_types::{CertificateDer, DnsName, PrivateKeyDer};

use crate::chains::{AS_IS, EARLY, EXPIRED, Made, Tune, authority, name, now, record, server};

fn usable(records: &[Record]) -> UsableRecords {
    UsableRecords::select(records, Usages::Smtp).unwrap()
}

fn refusal(records: &[Record], made: &Made, names: &[DnsName<'_>]) -> (&'static str, String) {
    let error = verify(&usable(records), &made.chain(), names, now()).unwrap_err();
    (error.result_type(), error.reason())
}

const MX: &[&str] = &["mx.example.com"];

#[test]
fn usages_of_pkix_do_not_count_in_smtp() {
    let root = authority("root", None, AS_IS);
    let leaf = server(MX, Some(&root), AS_IS);
    let pkix = [record([0, 0, 1], &root.der), record([1, 1, 1], &leaf.der)];
    assert_eq!(UsableRecords::select(&pkix, Usages::Smtp), Err(NoneUsable));
    assert_eq!(NoneUsable.result_type(), "tlsa-invalid");
    assert_eq!(UsableRecords::select(&[], Usages::All), Err(NoneUsable));
    // Beside one that counts they are passed over.
    let mixed = [
        pkix[0].clone(),
        pkix[1].clone(),
        record([3, 1, 1], &root.der),
    ];
    let records = usable(&mixed);
    assert_eq!(records.records(), &mixed[2..]);
    assert_eq!(
        verify(&records, &leaf.chain(), &[name("mx.example.com")], now()),
        Err(DaneError::NoMatch)
    );
    // Elsewhere they need roots.
    let records = UsableRecords::select(&pkix, Usages::All).unwrap();
    let names = [name("mx.example.com")];
    assert_eq!(
        verify(&records, &leaf.chain(), &names, now()),
        Err(DaneError::NoMatch)
    );
    let roots = [root.der.clone()];
    let matched = verify_with_roots(&records, &leaf.chain(), &names, now(), &roots).unwrap();
    assert_eq!((matched.record, matched.depth), (pkix[1].clone(), 0));
    let only_ta = UsableRecords::select(&pkix[..1], Usages::All).unwrap();
    let matched = verify_with_roots(&only_ta, &leaf.chain(), &names, now(), &roots).unwrap();
    assert_eq!(matched.depth, 1);
}

#[test]
fn the_strongest_digest_counts_for_each_usage_and_selector() {
    let leaf = server(MX, None, AS_IS);
    let of = |numbers| record(numbers, &leaf.der);
    let published = [
        of([3, 1, 1]),
        of([3, 1, 2]),
        of([3, 1, 0]),
        of([3, 0, 1]),
        of([2, 1, 1]),
        of([3, 1, 2]),
    ];
    let records = usable(&published);
    let kept = [1, 2, 3, 4].map(|at: usize| published[at].clone());
    assert_eq!(records.records(), kept);
    // RFC 7671 9: after what is malformed was discarded.
    let malformed = Record::parse(&[3, 1, 2, 7]).unwrap();
    let records = usable(&[malformed, of([3, 1, 1])]);
    assert_eq!(records.records(), [of([3, 1, 1])]);
    let many = vec![of([3, 1, 1]); RECORDS_MAX];
    assert_eq!(usable(&many).records().len(), 1);
    let mut unusable = vec![Record::parse(&[9, 9, 9, 9]).unwrap(); RECORDS_MAX];
    unusable.push(of([3, 1, 1]));
    assert!(UsableRecords::select(&unusable, Usages::Smtp).is_err());
}

#[test]
fn any_of_four_names_will_do_for_trust_anchors() {
    let root = authority("root", None, AS_IS);
    let leaf = server(&["example.org"], Some(&root), AS_IS);
    let records = usable(&[record([2, 0, 1], &root.der)]);
    let mut names: Vec<DnsName<'_>> = ["mx.example.net", "mx1.example.net", "a.example"]
        .map(name)
        .to_vec();
    let judge = |names: &[DnsName<'_>]| verify(&records, &leaf.chain(), names, now());
    let mismatch = DaneError::Certificate(CertificateFailure::HostMismatch);
    assert_eq!(judge(&names), Err(mismatch.clone()));
    assert_eq!(judge(&[]), Err(mismatch.clone()));
    names.push(name("EXAMPLE.org"));
    assert_eq!(names.len(), NAMES_MAX);
    assert_eq!(judge(&names).unwrap().depth, 1);
    names.insert(0, name("b.example"));
    assert_eq!(judge(&names), Err(mismatch));
}

#[test]
fn the_common_name_is_no_name() {
    let root = authority("root", None, AS_IS);
    let named: Tune<'_> = &|params| {
        params
            .distinguished_name
            .push(DnType::CommonName, "mx.example.com");
    };
    let leaf = server(&[], Some(&root), named);
    let records = [record([2, 0, 1], &root.der)];
    assert_eq!(
        refusal(&records, &leaf, &[name("mx.example.com")]),
        ("certificate-host-mismatch", "dane-host-mismatch".into())
    );
}

#[test]
fn failures_in_the_words_of_reports() {
    let root = authority("root", None, AS_IS);
    let other = authority("root", None, AS_IS);
    let names = [name("mx.example.com")];
    let by_root = [record([2, 0, 1], &root.der)];
    let words = |made: &Made| {
        let (word, reason) = refusal(&by_root, made, &names);
        (word, reason)
    };
    let expired = server(MX, Some(&root), EXPIRED);
    assert_eq!(
        words(&expired),
        ("certificate-expired", "dane-expired".into())
    );
    let early = server(MX, Some(&root), EARLY);
    assert_eq!(
        words(&early),
        ("certificate-not-trusted", "dane-not-yet-valid".into())
    );
    let wrong = server(&["a.example"], Some(&root), AS_IS);
    assert_eq!(
        words(&wrong),
        ("certificate-host-mismatch", "dane-host-mismatch".into())
    );
    let strange = server(MX, Some(&other), AS_IS);
    assert_eq!(
        words(&strange),
        ("validation-failure", "dane-no-match".into())
    );
    let for_clients: Tune<'_> =
        &|params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let client = server(MX, Some(&root), for_clients);
    assert_eq!(
        words(&client),
        (
            "certificate-not-trusted",
            "dane-RequiredEkuNotFoundContext".into()
        )
    );
    let no_ca = server(MX, None, AS_IS);
    let below = server(MX, Some(&no_ca), AS_IS);
    assert_eq!(
        refusal(&[record([2, 0, 1], &no_ca.der)], &below, &names),
        ("certificate-not-trusted", "dane-EndEntityUsedAsCa".into())
    );
    assert_eq!(
        verify(&usable(&by_root), &[], &names, now()),
        Err(DaneError::Certificate(CertificateFailure::Malformed))
    );
}

#[test]
fn chains_are_looked_at_up_to_a_bound() {
    let root = authority("root", None, AS_IS);
    let leaf = server(MX, Some(&root), AS_IS);
    let records = usable(&[record([2, 0, 1], &root.der)]);
    let with_filling = |count| {
        let mut chain = vec![leaf.der.clone()];
        chain.extend(std::iter::repeat_n(leaf.der.clone(), count));
        chain.push(root.der.clone());
        verify(&records, &chain, &[name("mx.example.com")], now())
    };
    assert!(with_filling(CHAIN_MAX - 2).is_ok());
    assert_eq!(with_filling(CHAIN_MAX - 1), Err(DaneError::NoMatch));
}

#[test]
fn our_own_records() {
    let leaf = server(MX, None, AS_IS);
    let by_certificate = Record::for_certificate(&leaf.der).unwrap();
    assert!(by_certificate.to_string().starts_with("3 1 1 "));
    let der = PrivateKeyDer::try_from(leaf.key.serialize_der()).unwrap();
    assert_eq!(Record::for_private_key(&der), Ok(by_certificate.clone()));
    assert!(by_certificate.matches(&leaf.der));
    // The same key in another certificate.
    let again = leaf.params.self_signed(&*leaf.key).unwrap();
    assert!(by_certificate.matches(again.der()));
    let records = usable(std::slice::from_ref(&by_certificate));
    let matched = verify(&records, &leaf.chain(), &[], now()).unwrap();
    assert_eq!((matched.record, matched.depth), (by_certificate, 0));
    let ed25519 = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let der = PrivateKeyDer::try_from(ed25519.serialize_der()).unwrap();
    assert!(Record::for_private_key(&der).is_ok());
    let nothing = CertificateDer::from(vec![0x30, 0]);
    assert_eq!(
        Record::for_certificate(&nothing),
        Err(RecordError::Certificate)
    );
    let no_key = PrivateKeyDer::Pkcs8(vec![0x30, 0].into());
    assert_eq!(
        Record::for_private_key(&no_key),
        Err(RecordError::PrivateKey)
    );
}

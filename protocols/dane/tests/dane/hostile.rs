//! Random changes of records and certificates, and sizes at the bounds: nothing panics, nothing takes long, and no changed certificate passes
//! for the one that a record means. Seeds are fixed; `RINGMAIL_FUZZ_SECS` runs longer with new ones and prints them.

use std::time::{Duration, Instant};

use ringmail_dane::limits::{CHAIN_MAX, DATA_MAX, RECORDS_MAX};
use ringmail_dane::{Record, UsableRecords, Usages, verify, verify_with_roots};
use rustls::pki_types::CertificateDer;

use crate::chains::{AS_IS, authority, name, now, record, server};

struct Random(u64);

impl Random {
    fn seeded(seed: u64) -> Self {
        Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    /// Changes an octet, takes some away or doubles some.
    fn bend(&mut self, octets: &mut Vec<u8>) {
        let at = self.below(octets.len().max(1)).min(octets.len());
        match self.below(4) {
            0 => octets.truncate(at),
            1 if at < octets.len() => drop(octets.remove(at)),
            2 => octets.insert(at, self.next() as u8),
            _ if at < octets.len() => octets[at] ^= 1 << self.below(8),
            _ => octets.push(0),
        }
    }
}

fn with_seeds(count: u64, run: impl Fn(&mut Random)) {
    for seed in 0..count {
        run(&mut Random::seeded(seed));
    }
    let secs = std::env::var("RINGMAIL_FUZZ_SECS").ok();
    let secs: u64 = secs.and_then(|text| text.parse().ok()).unwrap_or(0);
    let until = Instant::now() + Duration::from_secs(secs.min(2));
    let mut seed = count;
    while Instant::now() < until {
        println!("seeds {seed} to {}", seed + 99);
        for seed in seed..seed + 100 {
            run(&mut Random::seeded(seed));
        }
        seed += 100;
    }
}

#[test]
fn fuzz_records() {
    let leaf = server(&["mx.example.com"], None, AS_IS);
    let whole = [record([3, 0, 0], &leaf.der), record([3, 1, 0], &leaf.der)];
    with_seeds(3_000, |random| {
        let mut rdata = whole[random.below(2)].rdata();
        for _ in 0..random.below(4) {
            random.bend(&mut rdata);
        }
        rdata.truncate([rdata.len(), 40, 3][random.below(3)]);
        let Ok(record) = Record::parse(&rdata) else {
            assert!(rdata.len() < 4);
            return;
        };
        assert_eq!(record.rdata(), rdata);
        let text = record.to_string();
        assert_eq!(text.parse(), Ok(record.clone()));
        let mut text = text.into_bytes();
        random.bend(&mut text);
        let _ = String::from_utf8_lossy(&text).parse::<Record>();
        let _ = UsableRecords::select(&[record], Usages::All);
    });
}

#[test]
fn fuzz_certificates() {
    let root = authority("root", None, AS_IS);
    let middle = authority("middle", Some(&root), AS_IS);
    let leaf = server(&["mx.example.com"], Some(&middle), AS_IS);
    let names = [name("mx.example.com")];
    let select = |records: &[Record]| UsableRecords::select(records, Usages::All).unwrap();
    let by_leaf = select(&[record([3, 0, 1], &leaf.der)]);
    let by_anchor = select(&[
        record([2, 0, 1], &root.der),
        record([2, 0, 0], &middle.der),
        record([2, 1, 0], &root.der),
    ]);
    let by_roots = select(&[record([0, 0, 1], &root.der), record([1, 1, 1], &leaf.der)]);
    let roots = [root.der.clone()];
    with_seeds(1_000, |random| {
        let mut chain = leaf.chain();
        let at = random.below(chain.len());
        let mut octets = chain[at].to_vec();
        for _ in 0..=random.below(3) {
            random.bend(&mut octets);
        }
        let is_changed = octets != chain[at].as_ref();
        chain[at] = CertificateDer::from(octets);
        let by_leaf = verify(&by_leaf, &chain, &names, now());
        assert_eq!(by_leaf.is_ok(), at != 0 || !is_changed);
        // A changed certificate of the server is signed by nobody; one above it may not be needed.
        let by_anchor = verify(&by_anchor, &chain, &names, now());
        assert_eq!(by_anchor.is_ok(), at != 0 || !is_changed, "{by_anchor:?}");
        let by_roots = verify_with_roots(&by_roots, &chain, &names, now(), &roots);
        assert!(!(by_roots.is_ok() && at == 0 && is_changed));
    });
}

#[test]
fn random_chains_are_no_chains() {
    let root = authority("root", None, AS_IS);
    let records = [
        record([3, 1, 1], &root.der),
        record([2, 0, 0], &root.der),
        record([2, 1, 0], &root.der),
    ];
    let records = UsableRecords::select(&records, Usages::Smtp).unwrap();
    with_seeds(1_000, |random| {
        let certificate = |random: &mut Random| {
            let length = random.below(60);
            let octets: Vec<u8> = (0..length)
                .map(|_| [0x30, 0x82, 0, 1, 2, random.next() as u8][random.below(6)])
                .collect();
            CertificateDer::from(octets)
        };
        let chain: Vec<_> = (0..random.below(5)).map(|_| certificate(random)).collect();
        assert!(verify(&records, &chain, &[], now()).is_err());
    });
}

/// Every certificate could have issued every other, or all of the layer below; and none is issued by what is meant.
#[test]
fn hostile_mazes_take_no_time() {
    let started = Instant::now();
    let above = |layer: &str| authority(layer, None, AS_IS);
    let top = above("same");
    let same: Vec<_> = (1..CHAIN_MAX)
        .map(|_| authority("same", Some(&top), AS_IS))
        .collect();
    let layers: Vec<_> = ["a", "b", "c", "d", "e", "f"]
        .windows(2)
        .flat_map(|names| {
            let issuer = above(names[1]);
            (0..3).map(move |_| authority(names[0], Some(&issuer), AS_IS))
        })
        .collect();
    let meant = authority("other", None, AS_IS);
    let records = [record([2, 0, 0], &meant.der), record([2, 1, 0], &meant.der)];
    let records = UsableRecords::select(&records, Usages::Smtp).unwrap();
    for issuers in [same, layers] {
        let leaf = server(&["mx.example.com"], Some(&issuers[0]), AS_IS);
        let mut chain = vec![leaf.der.clone()];
        chain.extend(issuers.iter().map(|issuer| issuer.der.clone()));
        assert_eq!(chain.len(), CHAIN_MAX);
        let roots = [meant.der.clone()];
        let names = [name("mx.example.com")];
        assert!(verify_with_roots(&records, &chain, &names, now(), &roots).is_err());
    }
    // In an unoptimised build on a busy machine.
    assert!(started.elapsed() < Duration::from_secs(60));
}

#[test]
fn hostile_sizes_take_no_time() {
    let started = Instant::now();
    let root = authority("root", None, AS_IS);
    let names = [name("mx.example.com")];
    // Many certificates with one subject, each of which could have signed the other, and no root that is meant.
    let issuers: Vec<_> = (0..CHAIN_MAX * 2)
        .map(|_| authority("same", Some(&authority("same", None, AS_IS)), AS_IS))
        .collect();
    let leaf = server(&["mx.example.com"], Some(&issuers[0]), AS_IS);
    let mut chain = vec![leaf.der.clone()];
    chain.extend(issuers.iter().map(|issuer| issuer.der.clone()));
    let mut records: Vec<Record> = (0..RECORDS_MAX / 2)
        .map(|_| record([2, 1, 0], &authority("same", None, AS_IS).der))
        .collect();
    records.extend(
        issuers[1..]
            .iter()
            .map(|issuer| record([2, 0, 0], &issuer.der)),
    );
    let records = UsableRecords::select(&records, Usages::Smtp).unwrap();
    assert!(verify(&records, &chain, &names, now()).is_err());
    // The largest that can be published and shown.
    let large = CertificateDer::from(vec![0x30; DATA_MAX]);
    assert!(verify(&records, &vec![large.clone(); 1000], &names, now()).is_err());
    let full = Record::parse(&[&[2, 0, 0], large.as_ref()].concat()).unwrap();
    assert!(UsableRecords::select(&vec![full; 1000], Usages::Smtp).is_err());
    drop(root);
    // In an unoptimised build on a busy machine.
    assert!(started.elapsed() < Duration::from_secs(60));
}

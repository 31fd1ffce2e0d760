//! Hostile input: whatever octets come, reading ends, says something, and holds its bounds.

use std::time::{Duration, Instant};

use crate::limits::{DOMAIN_ALIASES_MAX, NAME_MAX, RECORDS_MAX};
use crate::wire::READS;
use crate::wire::tests::{Bytes, wire};
use crate::{Name, Outcome, Reading, RecordType, query, read};

struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % n.max(1) as u64) as usize
    }
}

fn seconds() -> u64 {
    let given = std::env::var("RINGMAIL_FUZZ_SECS").ok();
    given.and_then(|n| n.parse().ok()).unwrap_or(1)
}

/// Runs for a while, with a seed that is shown when it fails.
fn for_a_while(mut round: impl FnMut(&mut Random)) {
    let end = Instant::now() + Duration::from_secs(seconds().min(10));
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    while Instant::now() < end {
        for _ in 0..200 {
            seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let tried = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                round(&mut Random(seed | 1));
            }));
            assert!(tried.is_ok(), "seed {seed:#x}");
        }
    }
}

fn check(octets: &[u8], record_type: RecordType) {
    let name = Name::parse("a.example").unwrap();
    if let Reading::Answered(resolved) = read(octets, 1, &name, record_type) {
        assert!(resolved.aliases.len() <= DOMAIN_ALIASES_MAX);
        for alias in resolved.aliases.iter() {
            assert!(alias.as_str().len() <= NAME_MAX);
        }
        if let Outcome::Records(records) = resolved.outcome {
            assert!(!records.is_empty() && records.len() <= RECORDS_MAX);
            for record in records.iter() {
                let text = record.to_string();
                assert!(
                    text.bytes().all(|b| b.is_ascii_graphic() || b == b' '),
                    "{text:?}"
                );
            }
        }
    }
}

#[test]
fn fuzz_answers_with_flaws() {
    for_a_while(|random| {
        let record_type = RecordType::ALL[random.below(7)];
        let number = [1, 28, 5, 15, 12, 52, 16][RecordType::ALL
            .iter()
            .position(|t| *t == record_type)
            .unwrap()];
        let answers = random.below(20);
        let mut bytes =
            Bytes::header(1, 0x8180, [1, answers as u16, 1, 1]).question("a.example", number);
        let owners = ["a.example", "b.example", "c.example", ""];
        for n in 0..=answers {
            let owner = owners[random.below(4)];
            let of = [number, 5, 6, 2, 41, 99][random.below(6)];
            let data = match random.below(4) {
                0 => wire(owners[random.below(4)]),
                1 => [vec![0, 1], wire("mx.example")].concat(),
                2 => vec![0xc0, random.below(256) as u8],
                _ => (0..random.below(40))
                    .map(|_| random.below(256) as u8)
                    .collect(),
            };
            bytes = bytes.record(owner, of, random.below(1 << 33) as u32, &data);
            if n == answers {
                bytes = bytes.opt(random.below(3) as u8, &data);
            }
        }
        check(&bytes.0, record_type);
        // The same with a few octets changed, cut, or doubled.
        for _ in 0..random.below(8) {
            let at = random.below(bytes.0.len());
            bytes.0[at] = random.below(256) as u8;
        }
        bytes.0[..2].copy_from_slice(&[0, 1]);
        check(&bytes.0, record_type);
        bytes.0.truncate(random.below(bytes.0.len()));
        check(&bytes.0, record_type);
    });
}

#[test]
fn fuzz_noise() {
    for_a_while(|random| {
        let record_type = RecordType::ALL[random.below(7)];
        let mut octets = query(1, &Name::parse("a.example").unwrap(), record_type);
        octets[2] |= 0x80;
        octets[7] = random.below(256) as u8;
        octets.truncate(octets.len() - 11);
        octets.extend((0..random.below(300)).map(|_| random.below(256) as u8));
        check(&octets, record_type);
        let noise: Vec<u8> = (0..random.below(100))
            .map(|_| random.below(256) as u8)
            .collect();
        check(&noise, record_type);
    });
}

#[test]
fn fuzz_names() {
    for_a_while(|random| {
        let letters = [
            'a',
            'Z',
            '.',
            '-',
            '_',
            '\u{fc}',
            '\u{3002}',
            '\0',
            ' ',
            '\u{1f4e7}',
            '1',
        ];
        let text: String = (0..random.below(80))
            .map(|_| letters[random.below(11)])
            .collect();
        if let Ok(name) = Name::parse(&text) {
            assert!(name.as_str().len() <= NAME_MAX && name.as_str().is_ascii());
            // One form: read again it is the same, and it survives the wire.
            assert_eq!(Name::parse(name.as_str()).as_ref(), Ok(&name));
            let mut octets = query(7, &name, RecordType::A);
            octets[2] |= 0x80;
            octets[11] = 0;
            let reading = read(&octets[..octets.len() - 11], 7, &name, RecordType::A);
            assert!(
                matches!(reading, Reading::Answered(_)),
                "{name}: {reading:?}"
            );
        }
    });
}

/// Names that point at each other must not make reading long.
#[test]
fn hostile_compression_is_bounded() {
    let mut bytes = Bytes::header(1, 0x8180, [1, 1000, 0, 1000]).question("a.example", 15);
    let at = bytes.0.len() as u16;
    // Beyond the first thousand nothing can be pointed at.
    for n in (0..1000_u16).chain([999; 1000]) {
        // Each owner is a pointer to the one before.
        let before = (0xc000 | (if n == 0 { 12_u16 } else { at + (n - 1) * 15 })).to_be_bytes();
        bytes.0.extend(before);
        bytes.0.extend([0, 15, 0, 1, 0, 0, 0, 9, 0, 3, 0, 1, 0]);
    }
    READS.set(0);
    check(&bytes.0, RecordType::Mx);
    // Each owner once, and the data of answers. A name is read in as many steps as there are pointers before it, for they all lead back.
    assert_eq!(READS.get(), 3_000);
}

//! Random records, policies, names and histories: no panic, what is read is written and read again, and no failure takes a policy away before
//! its time. Seeds are fixed, so a failure repeats; `RINGMAIL_FUZZ_SECS` runs longer with new seeds and prints them.

use std::time::{Duration, Instant};

use crate::limits::POLICY_SIZE_MAX;
use crate::{
    Entry, FetchError, FetchRequest, Mode, MxPattern, Policy, PolicyError, Record, RecordError,
    Response, Step, policy_lines, record_name,
};

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

    fn text(&mut self, fragments: &[&[u8]]) -> Vec<u8> {
        let mut text = Vec::new();
        for _ in 0..self.below(10) {
            text.extend_from_slice(fragments[self.below(fragments.len())]);
        }
        if self.below(4) == 0 {
            let at = self.below(text.len() + 1);
            text.insert(at, self.next() as u8);
        }
        text
    }
}

/// Seeds from 0 on; those of `RINGMAIL_FUZZ_SECS` are printed before use.
fn with_seeds(count: u64, run: impl Fn(&mut Random)) {
    for seed in 0..count {
        run(&mut Random::seeded(seed));
    }
    let secs = std::env::var("RINGMAIL_FUZZ_SECS").ok();
    let secs: u64 = secs.and_then(|text| text.parse().ok()).unwrap_or(0);
    let until = Instant::now() + Duration::from_secs(secs.min(2));
    let mut seed = count;
    while Instant::now() < until {
        println!("seeds {seed} to {}", seed + 999);
        for seed in seed..seed + 1000 {
            run(&mut Random::seeded(seed));
        }
        seed += 1000;
    }
}

#[test]
fn fuzz_records() {
    let fragments: [&[u8]; 14] = [
        b"v=STSv1",
        b";",
        b"; ",
        b" ",
        b"\t",
        b"id=",
        b"a1",
        b"x=y",
        b"=",
        b"id=a",
        b"\xff",
        b"-",
        b"v=STSv1; id=b;",
        b"\0",
    ];
    with_seeds(20_000, |random| {
        let mut texts = vec![random.text(&fragments)];
        if random.below(2) == 0 {
            texts.push(random.text(&fragments));
        }
        if let Ok(record) = Record::select(&texts) {
            assert_eq!(Record::parse(record.to_string().as_bytes()), Ok(record));
        }
    });
}

const LINES: [&[u8]; 22] = [
    b"version: STSv1\r\n",
    b"version: STSv1\n",
    b"mode: enforce\n",
    b"mode: testing\r\n",
    b"mode: none\n",
    b"mx: a.example\n",
    b"mx: *.b.example\r\n",
    b"max_age: 86400\n",
    b"max_age: 99999999999999999999\n",
    b"max_age: 9999999999\n",
    b"mx:",
    b"*.",
    b"a.b",
    b":",
    b" ",
    b"\t",
    b"\r",
    b"\n",
    b"x: y z\n",
    b"\xc3\xa9",
    b"\xff",
    b"\0",
];

fn policy_text(random: &mut Random) -> Vec<u8> {
    let mut text = Vec::new();
    if random.below(2) == 0 {
        for at in [0, 2 + random.below(3), 5, 7] {
            text.extend_from_slice(LINES[at]);
        }
    }
    text.extend(random.text(&LINES));
    text
}

#[test]
fn fuzz_policies() {
    with_seeds(20_000, |random| {
        let text = policy_text(random);
        policy_lines(&text, 5);
        let response = Response {
            status: 200,
            content_type: Some("text/plain"),
            body: &text,
        };
        let Ok(policy) = response.policy() else {
            return;
        };
        assert_eq!(
            Policy::parse(policy.text().as_bytes()).as_ref(),
            Ok(&policy)
        );
        let standard = Policy::parse(policy.to_string().as_bytes()).unwrap();
        assert_eq!(standard.to_string(), policy.to_string());
        assert!(!policy.mx().is_empty() || policy.mode() == Mode::None);
        for pattern in policy.mx() {
            let host = pattern.to_string().replacen('*', "x", 1);
            assert!(policy.matches(&host), "{host}");
        }
    });
}

#[test]
fn fuzz_names() {
    let fragments: [&[u8]; 10] = [
        b"a",
        b".",
        b"*",
        b"-",
        b"_",
        b"xn--x",
        b"\xc3\xa9",
        b"/",
        b"[",
        b"aaaaaaaaaaaaaaaa",
    ];
    with_seeds(20_000, |random| {
        let (name, other) = (random.text(&fragments), random.text(&fragments));
        let (name, other) = (
            String::from_utf8_lossy(&name),
            String::from_utf8_lossy(&other),
        );
        if let Some(pattern) = MxPattern::parse(&name) {
            assert_eq!(
                MxPattern::parse(&pattern.to_string()).as_ref(),
                Some(&pattern)
            );
            // One label for the star, so host and pattern have the same number of them.
            if pattern.matches(&other) {
                let labels = |name: &str| name.trim_end_matches('.').split('.').count();
                assert_eq!(
                    labels(&pattern.to_string()),
                    labels(&other),
                    "{name} {other}"
                );
            }
        }
        if let Some(request) = FetchRequest::for_domain(&name) {
            assert!(request.url().is_ascii() && !request.host.contains(['/', ':', '@']));
        }
        record_name(&name);
    });
}

/// Any history: a policy that was fetched binds until a later fetch replaces it or its time is over.
#[test]
fn random_histories_never_lose_a_policy() {
    with_seeds(5_000, |random| {
        let (mut entry, mut now) = (Entry::default(), 1_000_000_u64);
        let mut bound_until = 0;
        for _ in 0..30 {
            now += [0, 1, 100, 400, 10_000, 90_000][random.below(6)];
            let mut step = entry.begin(now);
            if step == Step::LookUp {
                let result = match random.below(8) {
                    0 => Err(RecordError::NotFound),
                    1 => Err(RecordError::Lookup),
                    2 => Err(RecordError::Multiple(2)),
                    n => Record::parse(format!("v=STSv1; id=v{}", n % 2).as_bytes()),
                };
                step = entry.record(result, now).step;
            }
            let wanted = match step.clone() {
                Step::Fetch(id) => Some(id),
                Step::Apply { refresh: true } => Some(entry.fetched.clone().unwrap().record_id),
                _ => None,
            };
            if let Some(id) = wanted {
                let text = policy_text(random);
                let result = match random.below(3) {
                    0 => Err(FetchError::Timeout),
                    _ => Policy::parse(&text).map_err(FetchError::from),
                };
                if let Ok(policy) = &result {
                    let binds = policy.mode() != Mode::None;
                    bound_until = if binds {
                        now + policy.max_age_secs()
                    } else {
                        0
                    };
                }
                step = entry.fetch(id, result, now).step;
            }
            let is_bound = now <= bound_until;
            assert_eq!(entry.in_force(now).is_some(), is_bound);
            assert_eq!(matches!(step, Step::Apply { .. }), is_bound, "{step:?}");
            assert!(!matches!(step, Step::LookUp | Step::Fetch(_)));
            assert!(!(is_bound && entry.is_removable(now)));
        }
    });
}

#[test]
fn hostile_sizes_take_no_time() {
    let started = Instant::now();
    for piece in [
        "mx: *.a.example\n",
        "\n",
        "x:y\n",
        "a",
        ":",
        ";",
        " ",
        "\r",
        "mx:a\nversion:",
        "v=STSv1;",
    ] {
        let text = piece.repeat(POLICY_SIZE_MAX / piece.len());
        let _ = Policy::parse(text.as_bytes());
        let _ = Policy::parse(format!("version: STSv1\n{text}").as_bytes());
        let _ = Record::parse(format!("v=STSv1;{text}").as_bytes());
        let _ = MxPattern::parse(&text);
        assert!(policy_lines(text.as_bytes(), 100).len() <= 100);
    }
    let huge = vec![b'a'; 10 * POLICY_SIZE_MAX];
    assert_eq!(Policy::parse(&huge), Err(PolicyError::TooLarge));
    // In an unoptimised build on a busy machine.
    assert!(started.elapsed() < Duration::from_secs(30));
}

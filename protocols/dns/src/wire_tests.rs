//! Messages as servers send them, and as they should not.

use super::*;

/// A message, put together octet by octet.
#[derive(Default)]
pub(crate) struct Bytes(pub(crate) Vec<u8>);

impl Bytes {
    pub(crate) fn header(id: u16, flags: u16, counts: [u16; 4]) -> Bytes {
        let mut all = Bytes::default();
        for word in [id, flags].into_iter().chain(counts) {
            all.0.extend(word.to_be_bytes());
        }
        all
    }

    pub(crate) fn name(mut self, name: &str) -> Bytes {
        for label in name.split('.').filter(|l| !l.is_empty()) {
            self.0.push(label.len() as u8);
            self.0.extend(label.as_bytes());
        }
        self.0.push(0);
        self
    }

    pub(crate) fn question(self, name: &str, number: u16) -> Bytes {
        let mut all = self.name(name);
        all.0.extend([number.to_be_bytes(), [0, 1]].concat());
        all
    }

    pub(crate) fn record(self, name: &str, number: u16, ttl: u32, data: &[u8]) -> Bytes {
        let mut all = self.name(name);
        all.0.extend([number.to_be_bytes(), [0, 1]].concat());
        all.0.extend(ttl.to_be_bytes());
        all.0.extend((data.len() as u16).to_be_bytes());
        all.0.extend(data);
        all
    }

    pub(crate) fn opt(mut self, high: u8, options: &[u8]) -> Bytes {
        self.0.extend([0, 0, 41, 4, 208, high, 0, 0, 0]);
        self.0.extend((options.len() as u16).to_be_bytes());
        self.0.extend(options);
        self
    }
}

pub(crate) fn wire(name: &str) -> Vec<u8> {
    Bytes::default().name(name).0
}

fn mx(preference: u8, host: &str) -> Vec<u8> {
    [vec![0, preference], wire(host)].concat()
}

fn soa(minimum: u32) -> Vec<u8> {
    let numbers = [1_u32, 2, 3, 4, minimum].map(u32::to_be_bytes).concat();
    [wire("ns.example"), wire("root.example"), numbers].concat()
}

fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

const ID: u16 = 4711;
const MX: u16 = 15;
const CNAME: u16 = 5;
/// Response, recursion desired and available.
const PLAIN: u16 = 0x8180;
const AD: u16 = 0x0020;
const AA: u16 = 0x0400;
const RA: u16 = 0x0080;

fn read_mx(bytes: Bytes) -> Reading {
    read(&bytes.0, ID, &name("example.org"), RecordType::Mx)
}

fn answered(reading: Reading) -> Resolved {
    match reading {
        Reading::Answered(resolved) => resolved,
        other => panic!("{other:?}"),
    }
}

fn asked(flags: u16, counts: [u16; 3]) -> Bytes {
    let counts = [1, counts[0], counts[1], counts[2]];
    Bytes::header(ID, flags, counts).question("EXAMPLE.org", MX)
}

#[test]
fn a_question_is_what_resolvers_expect() {
    let octets = query(0x1234, &name("example.org"), RecordType::Tlsa);
    // RD and AD; one question, one additional record: OPT with 1232, no DO.
    let expected = Bytes::header(0x1234, 0x0120, [1, 0, 0, 1]).question("example.org", 52);
    assert_eq!(
        octets,
        [expected.0, vec![0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0]].concat()
    );
    let plain = plain_query(0x1234, &name("example.org"), RecordType::Tlsa);
    let expected = Bytes::header(0x1234, 0x0120, [1, 0, 0, 0]).question("example.org", 52);
    assert_eq!(plain, expected.0);
    let root = query(1, &Name::root(), RecordType::Mx);
    assert_eq!(root[12..17], [0, 0, 15, 0, 1]);
    let long = name(
        &[
            &["a"; 63].concat()[..],
            &["b"; 63].concat(),
            &["c"; 63].concat(),
            &["d"; 61].concat(),
        ]
        .join("."),
    );
    assert_eq!(query(1, &long, RecordType::A).len(), 12 + 255 + 4 + 11);
}

#[test]
fn records_of_the_name_and_of_nobody_else() {
    let reading = read_mx(
        asked(PLAIN | AD, [4, 0, 1])
            .record("example.org", MX, 300, &mx(10, "MX.example.org"))
            .record("other.example", MX, 5, &mx(1, "evil.example"))
            .record("example.ORG", MX, 200, &mx(20, "b.example.org"))
            // RRSIG: passed over.
            .record("example.org", 46, 1, &[0; 30])
            .opt(0, &[]),
    );
    let resolved = answered(reading);
    let Outcome::Records(records) = &resolved.outcome else {
        panic!("{resolved:?}");
    };
    let texts: Vec<_> = records.iter().map(Record::to_string).collect();
    assert_eq!(texts, ["10 mx.example.org", "20 b.example.org"]);
    assert_eq!((resolved.ttl, resolved.authentic), (200, true));
}

#[test]
fn what_is_not_our_answer_is_passed_over() {
    let good = || Bytes::header(ID, PLAIN, [1, 0, 0, 0]).question("example.org", MX);
    assert!(matches!(read_mx(good()), Reading::Answered(_)));
    let of = |bytes: Bytes| assert_eq!(read_mx(bytes), Reading::NotOurs);
    // The id, the question, the type, the class, a query, another opcode, no question, two.
    of(Bytes::header(ID + 1, PLAIN, [1, 0, 0, 0]).question("example.org", MX));
    of(Bytes::header(ID, PLAIN, [1, 0, 0, 0]).question("example.net", MX));
    of(Bytes::header(ID, PLAIN, [1, 0, 0, 0]).question("example.org", 1));
    let mut chaos = good();
    *chaos.0.last_mut().unwrap() = 3;
    of(chaos);
    of(Bytes::header(ID, 0x0100, [1, 0, 0, 0]).question("example.org", MX));
    of(Bytes::header(ID, PLAIN | 0x2800, [1, 0, 0, 0]).question("example.org", MX));
    of(Bytes::header(ID, PLAIN, [0, 0, 0, 0]));
    of(Bytes::header(ID, PLAIN, [2, 0, 0, 0])
        .question("example.org", MX)
        .question("example.org", MX));
    of(Bytes::default());
    of(Bytes(good().0[..20].to_vec()));
    // A server that could not read the question has none to repeat.
    let formerr = Bytes::header(ID, PLAIN | FORMERR, [0, 0, 0, 0]);
    assert_eq!(read_mx(formerr), Reading::Failed(Cause::Rcode(FORMERR)));
}

#[test]
fn truncated_is_said_without_a_look_at_the_rest() {
    let cut = Bytes::header(ID, PLAIN | 0x0200, [1, 9, 0, 0]).question("example.org", MX);
    assert_eq!(read_mx(cut), Reading::Truncated);
}

#[test]
fn aliases_are_followed_within_the_answer() {
    let resolved = answered(read_mx(
        asked(PLAIN, [3, 0, 0])
            .record("b.example", MX, 300, &mx(10, "mx.example"))
            .record("a.example", CNAME, 60, &wire("b.example"))
            .record("example.org", CNAME, 120, &wire("A.example")),
    ));
    assert_eq!(*resolved.aliases, [name("a.example"), name("b.example")]);
    assert_eq!(
        (resolved.ttl, resolved.expanded(&name("x")).as_str()),
        (60, "b.example")
    );
    assert!(matches!(resolved.outcome, Outcome::Records(_)));
    let circle = asked(PLAIN, [2, 0, 0])
        .record("example.org", CNAME, 60, &wire("a.example"))
        .record("a.example", CNAME, 60, &wire("example.org"));
    assert_eq!(
        read_mx(circle),
        Reading::Failed(Cause::AliasLoop(name("example.org")))
    );
    let mut long = asked(PLAIN, [18, 0, 0]).record("example.org", CNAME, 60, &wire("n0.example"));
    for n in 0..17 {
        long = long.record(
            &format!("n{n}.example"),
            CNAME,
            60,
            &wire(&format!("n{}.example", n + 1)),
        );
    }
    assert_eq!(
        read_mx(long),
        Reading::Failed(Cause::TooManyAliases(name("n16.example")))
    );
    // Who asks for the alias gets it.
    let bytes = Bytes::header(ID, PLAIN, [1, 1, 0, 0])
        .question("example.org", CNAME)
        .record("example.org", CNAME, 60, &wire("a.example"));
    let resolved = answered(read(&bytes.0, ID, &name("example.org"), RecordType::Cname));
    assert_eq!(
        resolved.outcome,
        Outcome::Records([Record::Cname(name("a.example"))].into())
    );
    assert!(resolved.aliases.is_empty());
}

#[test]
fn negative_answers_hold_as_long_as_their_soa_says() {
    let negative = |rcode: u16, ttl, minimum| {
        answered(read_mx(asked(PLAIN | rcode, [0, 1, 0]).record(
            "org",
            SOA,
            ttl,
            &soa(minimum),
        )))
    };
    let resolved = negative(NXDOMAIN, 900, 300);
    assert_eq!((resolved.outcome, resolved.ttl), (Outcome::NxDomain, 300));
    let resolved = negative(NOERROR, 60, 300);
    assert_eq!((resolved.outcome, resolved.ttl), (Outcome::NoData, 60));
    // RFC 2181 8.
    assert_eq!(negative(NOERROR, 60, 0x8000_0001).ttl, 0);
    // Without a SOA it is not kept.
    let resolved = answered(read_mx(asked(PLAIN | NXDOMAIN, [0, 0, 0])));
    assert_eq!((resolved.outcome, resolved.ttl), (Outcome::NxDomain, 0));
    // An alias of nothing.
    let resolved = answered(read_mx(
        asked(PLAIN | NXDOMAIN, [1, 1, 0])
            .record("example.org", CNAME, 30, &wire("gone.example"))
            .record("example", SOA, 900, &soa(300)),
    ));
    assert_eq!((resolved.outcome, resolved.ttl), (Outcome::NxDomain, 30));
    assert_eq!(*resolved.aliases, [name("gone.example")]);
}

#[test]
fn a_referral_is_no_answer() {
    let referral =
        |flags: u16| read_mx(asked(flags, [0, 1, 0]).record("org", NS, 900, &wire("ns.example")));
    assert_eq!(referral(PLAIN & !RA), Reading::Failed(Cause::Lame));
    assert!(matches!(referral(PLAIN), Reading::Answered(_)));
    assert!(matches!(referral(PLAIN & !RA | AA), Reading::Answered(_)));
}

#[test]
fn a_record_that_makes_no_sense_harms_no_other() {
    let resolved = answered(read_mx(
        asked(PLAIN, [4, 0, 0])
            .record("example.org", MX, 300, &[0])
            .record("example.org", MX, 300, &mx(10, "mx.example.org"))
            .record("example.org", MX, 300, &[0, 10, 0xc0, 0xff])
            .record("example.org", MX, 300, &mx(10, "with blank.example.org")),
    ));
    let expected = Record::Mx(Mx {
        preference: 10,
        exchange: name("mx.example.org"),
    });
    assert_eq!(resolved.outcome, Outcome::Records([expected].into()));
    let all = asked(PLAIN, [1, 0, 0]).record("example.org", MX, 300, &[0]);
    assert!(matches!(read_mx(all), Reading::Failed(Cause::Malformed(_))));
    // But a message that breaks off is no answer: what is missing could be what matters.
    let mut cut = asked(PLAIN, [2, 0, 0]).record("example.org", MX, 300, &mx(10, "mx.example.org"));
    assert_eq!(read_mx(Bytes(cut.0.clone())), Reading::Failed(CUT));
    cut.0[7] = 1;
    assert!(matches!(read_mx(cut), Reading::Answered(_)));
    for counts in [[1025, 0, 0], [0, 1025, 0], [0, 0, 1025]] {
        let many = read_mx(asked(PLAIN, counts));
        assert_eq!(many, Reading::Failed(Cause::TooManyRecords));
    }
}

#[test]
fn texts_are_joined_and_tlsa_is_whole() {
    let txt = Bytes::header(ID, PLAIN, [1, 1, 0, 0])
        .question("t.example", 16)
        .record("t.example", 16, 60, b"\x09v=spf1 a \x04-all");
    let resolved = answered(read(&txt.0, ID, &name("t.example"), RecordType::Txt));
    let Outcome::Records(records) = resolved.outcome else {
        panic!("no records");
    };
    assert_eq!(records[0].to_string(), "\"v=spf1 a -all\"");
    let tlsa = Bytes::header(ID, PLAIN, [1, 1, 0, 0])
        .question("t.example", 52)
        .record("t.example", 52, 60, &[3, 1, 1, 0xab, 0xcd]);
    let resolved = answered(read(&tlsa.0, ID, &name("t.example"), RecordType::Tlsa));
    let Outcome::Records(records) = resolved.outcome else {
        panic!("no records");
    };
    assert_eq!(records[0].to_string(), "3 1 1 abcd");
}

#[test]
fn failures_say_why() {
    let ede = |code: u8, text: &str| {
        let length = (text.len() + 2) as u8;
        [&[0, 15, 0, length, 0, code], text.as_bytes()].concat()
    };
    let fail = |rcode: u16, high: u8, options: &[u8]| match read_mx(
        asked(PLAIN | rcode, [0, 0, 1]).opt(high, options),
    ) {
        Reading::Failed(cause) => cause.to_string(),
        other => panic!("{other:?}"),
    };
    assert_eq!(
        fail(SERVFAIL, 0, &ede(6, "no\x07keys")),
        "the DNSSEC signatures are wrong: DNSSEC bogus, \"nokeys\""
    );
    assert_eq!(
        fail(SERVFAIL, 0, &[ede(22, ""), ede(7, "")].concat()),
        "the DNSSEC signatures are wrong: signature expired"
    );
    assert_eq!(
        fail(SERVFAIL, 0, &ede(22, "")),
        "the resolver could not find out (SERVFAIL: no reachable authority)"
    );
    // An option that breaks off.
    assert_eq!(
        fail(SERVFAIL, 0, &[0, 15, 0, 200, 0]),
        "the resolver could not find out (SERVFAIL)"
    );
    assert!(fail(REFUSED, 0, &[]).contains("REFUSED"));
    // BADVERS is 16: the upper bits are in the OPT record.
    assert_eq!(
        fail(0, 1, &[]),
        "the resolver answers with error 16 (RCODE)"
    );
}

//! The same records and chains before openssl and before us: both must say the same. `openssl s_server` shows the chain, `openssl s_client`
//! checks it with the options for SMTP (no names under DANE-EE).

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use rcgen::{BasicConstraints, ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, NameConstraints};
use ringmail_dane::{Record, UsableRecords, Usages, verify, verify_with_roots};
use rustls::pki_types::CertificateDer;
use tempfile::TempDir;

use crate::chains::{
    AS_IS, EARLY, EXPIRED, Made, NOW_SECS, Tune, authority, name, now, pem, record, server,
};

/// A server of openssl that shows a chain, ended with the value.
pub struct Shown {
    child: Child,
    pub address: SocketAddr,
    _files: TempDir,
}

impl Drop for Shown {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn show(chain: &[CertificateDer<'_>], key: &[u8], options: &[&str]) -> Shown {
    let files = TempDir::new().unwrap();
    let path = |name: &str| files.path().join(name);
    fs::write(path("cert.pem"), pem("CERTIFICATE", &chain[0])).unwrap();
    fs::write(path("key.pem"), pem("PRIVATE KEY", key)).unwrap();
    let others: String = chain[1..].iter().map(|c| pem("CERTIFICATE", c)).collect();
    fs::write(path("chain.pem"), others).unwrap();
    let mut command = Command::new("openssl");
    command
        .args(["s_server", "-accept", "127.0.0.1:0", "-cert"])
        .arg(path("cert.pem"))
        .arg("-key")
        .arg(path("key.pem"));
    if chain.len() > 1 {
        command.arg("-cert_chain").arg(path("chain.pem"));
    }
    let mut child = command
        .args(options)
        // It ends when its input does.
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("openssl is there");
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let address = lines.by_ref().find_map(|line| {
        let line = line.unwrap();
        Some(line.strip_prefix("ACCEPT ")?.parse().unwrap())
    });
    // The rest must be read, or the server would wait for us.
    std::thread::spawn(move || lines.for_each(drop));
    Shown {
        child,
        address: address.expect("the server says where it listens"),
        _files: files,
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Judgement {
    Accepted,
    Refused,
    /// No record can be used.
    Unusable,
}
use Judgement::{Accepted, Refused, Unusable};

fn by_openssl(case: &Case<'_>) -> (Judgement, String) {
    let key = case.server.key.serialize_der();
    let shown = show(&case.chain, &key, &[]);
    let files = TempDir::new().unwrap();
    let roots = files.path().join("roots.pem");
    let text: String = case.roots.iter().map(|r| pem("CERTIFICATE", r)).collect();
    fs::write(&roots, text).unwrap();
    let mut command = Command::new("openssl");
    command.args(["s_client", "-connect", &shown.address.to_string()]);
    command.args([
        "-brief",
        "-no-CApath",
        "-no-CAstore",
        "-verify_return_error",
    ]);
    match case.roots.is_empty() {
        true => command.arg("-no-CAfile"),
        false => command.arg("-CAfile").arg(&roots),
    };
    command.args(["-attime", &NOW_SECS.to_string()]);
    command.args(["-dane_ee_no_namechecks", "-dane_tlsa_domain", case.name]);
    for record in &case.records {
        command.args(["-dane_tlsa_rrdata", &record.to_string()]);
    }
    let output = command.stdin(Stdio::null()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let judgement = if text.contains("Failed to import any TLSA records") {
        Unusable
    } else if text.contains("Verification: OK") && output.status.success() {
        Accepted
    } else {
        // Anything else than a refusal would be an error of this test.
        assert!(
            text.contains("certificate verify failed"),
            "{}: {text}",
            case.title
        );
        Refused
    };
    (judgement, text)
}

fn by_us(case: &Case<'_>) -> (Judgement, String) {
    let usages = match case.roots.is_empty() {
        true => Usages::Smtp,
        false => Usages::All,
    };
    let names = [name(case.name)];
    let Ok(records) = UsableRecords::select(&case.records, usages) else {
        return (Unusable, String::new());
    };
    let result = match usages {
        Usages::Smtp => verify(&records, &case.chain, &names, now()),
        Usages::All => verify_with_roots(&records, &case.chain, &names, now(), &case.roots),
    };
    let judgement = if result.is_ok() { Accepted } else { Refused };
    (judgement, format!("{result:?}"))
}

struct Case<'a> {
    title: &'a str,
    expected: Judgement,
    records: Vec<Record>,
    server: &'a Made,
    chain: Vec<CertificateDer<'static>>,
    name: &'a str,
    roots: Vec<CertificateDer<'static>>,
    /// Where openssl is known to say otherwise.
    by_openssl: Option<Judgement>,
}

impl<'a> Case<'a> {
    fn new(title: &'a str, expected: Judgement, server: &'a Made, records: Vec<Record>) -> Self {
        Case {
            title,
            expected,
            records,
            server,
            chain: server.chain(),
            name: "mx.example.com",
            roots: Vec::new(),
            by_openssl: None,
        }
    }

    fn but_openssl_says(mut self, judgement: Judgement) -> Self {
        self.by_openssl = Some(judgement);
        self
    }

    fn chain(mut self, chain: Vec<CertificateDer<'static>>) -> Self {
        self.chain = chain;
        self
    }

    fn name(mut self, name: &'a str) -> Self {
        self.name = name;
        self
    }

    fn roots(mut self, roots: &[&Made]) -> Self {
        self.roots = roots.iter().map(|root| root.der.clone()).collect();
        self
    }
}

fn judge(cases: Vec<Case<'_>>) {
    let mut wrong = Vec::new();
    for case in &cases {
        let (ours, why) = by_us(case);
        let (theirs, text) = by_openssl(case);
        if ours != case.expected || theirs != case.by_openssl.unwrap_or(case.expected) {
            wrong.push(format!(
                "{}: expected {:?}, we say {ours:?} ({why}), openssl {theirs:?}: {text}",
                case.title, case.expected
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

const MX: &[&str] = &["mx.example.com"];

#[test]
fn openssl_agrees_on_end_entities() {
    let root = authority("root", None, AS_IS);
    let middle = authority("middle", Some(&root), AS_IS);
    let leaf = server(MX, Some(&middle), AS_IS);
    let expired = server(MX, Some(&middle), EXPIRED);
    let early = server(MX, Some(&middle), EARLY);
    let other_name = server(&["other.example.net"], Some(&middle), AS_IS);
    let alone = server(MX, None, AS_IS);
    let nameless = server(&[], None, AS_IS);
    let own_ca = authority("own", None, AS_IS);
    let mut wrong = record([3, 1, 1], &leaf.der);
    wrong.data[7] ^= 1;
    let ee = |title, made, numbers: [u8; 3]| {
        let made: &Made = made;
        Case::new(title, Accepted, made, vec![record(numbers, &made.der)])
    };
    judge(vec![
        ee("key, SHA-256", &leaf, [3, 1, 1]),
        ee("key, SHA-512", &leaf, [3, 1, 2]),
        ee("key in full", &leaf, [3, 1, 0]),
        ee("certificate, SHA-256", &leaf, [3, 0, 1]),
        ee("certificate, SHA-512", &leaf, [3, 0, 2]),
        ee("certificate in full", &leaf, [3, 0, 0]),
        ee("without its chain", &leaf, [3, 1, 1]).chain(vec![leaf.der.clone()]),
        ee("self-signed", &alone, [3, 1, 1]),
        ee("self-signed CA as server", &own_ca, [3, 1, 1]),
        ee("expired", &expired, [3, 1, 1]),
        ee("not valid yet", &early, [3, 0, 1]),
        ee("another name", &other_name, [3, 1, 1]),
        ee("no name", &nameless, [3, 1, 1]),
        Case::new("wrong hash", Refused, &leaf, vec![wrong.clone()]),
        Case::new(
            "another certificate",
            Refused,
            &leaf,
            vec![record([3, 1, 1], &alone.der)],
        ),
        Case::new(
            "the issuer's",
            Refused,
            &leaf,
            vec![record([3, 1, 1], &middle.der)],
        ),
        Case::new(
            "one of two",
            Accepted,
            &leaf,
            vec![wrong.clone(), record([3, 0, 1], &leaf.der)],
        ),
        Case::new(
            "the weaker digest only",
            Refused,
            &leaf,
            vec![record([3, 1, 1], &leaf.der), record([3, 1, 2], &alone.der)],
        ),
        Case::new(
            "the stronger digest",
            Accepted,
            &leaf,
            vec![wrong, record([3, 1, 2], &leaf.der)],
        ),
        Case::new(
            "in full beside a stronger digest",
            Accepted,
            &leaf,
            vec![record([3, 1, 0], &leaf.der), record([3, 1, 2], &alone.der)],
        ),
    ]);
}

#[test]
fn openssl_agrees_on_trust_anchors() {
    let root = authority("root", None, AS_IS);
    let middle = authority("middle", Some(&root), AS_IS);
    let leaf = server(MX, Some(&middle), AS_IS);
    let wildcard = server(&["*.example.com"], Some(&middle), AS_IS);
    let expired = server(MX, Some(&middle), EXPIRED);
    let early = server(MX, Some(&middle), EARLY);
    let other_name = server(&["other.example.net"], Some(&middle), AS_IS);
    let stranger = authority("root", None, AS_IS);
    let short: Tune<'_> = &|params| params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    let short_root = authority("short", None, short);
    let below_short = authority("below", Some(&short_root), AS_IS);
    let too_deep = server(MX, Some(&below_short), AS_IS);
    let old_root = authority("old", None, EXPIRED);
    let by_old_root = server(MX, Some(&old_root), AS_IS);
    let old_middle = authority("old middle", Some(&root), EXPIRED);
    let by_old_middle = server(MX, Some(&old_middle), AS_IS);
    let ta = |title, expected, made, numbers: [u8; 3], anchor: &Made| {
        let made: &Made = made;
        Case::new(title, expected, made, vec![record(numbers, &anchor.der)])
    };
    judge(vec![
        ta("root, SHA-256", Accepted, &leaf, [2, 0, 1], &root),
        ta("root, SHA-512", Accepted, &leaf, [2, 0, 2], &root),
        ta("root's key", Accepted, &leaf, [2, 1, 1], &root),
        ta("middle", Accepted, &leaf, [2, 0, 1], &middle),
        ta("middle's key", Accepted, &leaf, [2, 1, 2], &middle),
        ta(
            "middle, root not shown",
            Accepted,
            &leaf,
            [2, 0, 1],
            &middle,
        )
        .chain(leaf.chain_without_root()),
        ta("root not shown", Refused, &leaf, [2, 0, 1], &root).chain(leaf.chain_without_root()),
        ta("root in full, not shown", Accepted, &leaf, [2, 0, 0], &root)
            .chain(leaf.chain_without_root()),
        ta("root in full, shown", Accepted, &leaf, [2, 0, 0], &root),
        ta(
            "middle in full, not shown",
            Accepted,
            &leaf,
            [2, 0, 0],
            &middle,
        )
        .chain(vec![leaf.der.clone()]),
        ta(
            "root in full, middle not shown",
            Refused,
            &leaf,
            [2, 0, 0],
            &root,
        )
        .chain(vec![leaf.der.clone()]),
        ta(
            "root's key in full, not shown",
            Accepted,
            &leaf,
            [2, 1, 0],
            &root,
        )
        .chain(leaf.chain_without_root()),
        ta("another key in full", Refused, &leaf, [2, 1, 0], &stranger)
            .chain(leaf.chain_without_root()),
        ta(
            "a stranger of that name in full",
            Refused,
            &leaf,
            [2, 0, 0],
            &stranger,
        )
        .chain(leaf.chain_without_root()),
        ta("the server's own", Refused, &leaf, [2, 0, 1], &leaf),
        ta("wildcard", Accepted, &wildcard, [2, 0, 1], &root),
        ta(
            "wildcard for two labels",
            Refused,
            &wildcard,
            [2, 0, 1],
            &root,
        )
        .name("a.mx.example.com"),
        ta("wrong name", Refused, &other_name, [2, 0, 1], &root),
        ta("expired", Refused, &expired, [2, 0, 1], &root),
        ta("not valid yet", Refused, &early, [2, 0, 1], &root),
        ta("expired root", Refused, &by_old_root, [2, 0, 1], &old_root),
        ta(
            "expired root in full",
            Refused,
            &by_old_root,
            [2, 0, 0],
            &old_root,
        )
        .chain(vec![by_old_root.der.clone()]),
        ta(
            "expired root's key in full, shown",
            Refused,
            &by_old_root,
            [2, 1, 0],
            &old_root,
        ),
        ta(
            "expired root's key in full, not shown",
            Accepted,
            &by_old_root,
            [2, 1, 0],
            &old_root,
        )
        .chain(vec![by_old_root.der.clone()]),
        ta(
            "key in full of a root that allows no such path, shown",
            Refused,
            &too_deep,
            [2, 1, 0],
            &short_root,
        ),
        ta("expired middle", Refused, &by_old_middle, [2, 0, 1], &root),
        ta(
            "expired middle as anchor",
            Refused,
            &by_old_middle,
            [2, 0, 1],
            &old_middle,
        )
        // It looks at the times of an anchor only if that is self-signed.
        .but_openssl_says(Accepted),
        ta(
            "path longer than the root allows",
            Refused,
            &too_deep,
            [2, 0, 1],
            &short_root,
        ),
        ta(
            "path as long as it allows",
            Accepted,
            &too_deep,
            [2, 0, 1],
            &below_short,
        ),
        ta(
            "a root that signed nothing",
            Refused,
            &leaf,
            [2, 0, 1],
            &stranger,
        )
        .chain([leaf.chain(), stranger.chain()].concat()),
        Case::new(
            "expired, but meant by usage 3 too",
            Accepted,
            &expired,
            vec![
                record([2, 0, 1], &root.der),
                record([3, 1, 1], &expired.der),
            ],
        ),
        ta("chain in disorder", Accepted, &leaf, [2, 0, 1], &root).chain(vec![
            leaf.der.clone(),
            root.der.clone(),
            middle.der.clone(),
        ]),
    ]);
}

#[test]
fn openssl_agrees_on_what_certificates_may_do() {
    let root = authority("root", None, AS_IS);
    let no_ca: Tune<'_> = &|params| params.is_ca = IsCa::ExplicitNoCa;
    let wrong_root = authority("wrong root", None, no_ca);
    let by_wrong_root = server(MX, Some(&wrong_root), AS_IS);
    let wrong_middle = authority("wrong middle", Some(&root), no_ca);
    let by_wrong_middle = server(MX, Some(&wrong_middle), AS_IS);
    let for_clients: Tune<'_> =
        &|params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let client = server(MX, Some(&root), for_clients);
    let for_both: Tune<'_> = &|params| {
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ClientAuth,
            ExtendedKeyUsagePurpose::ServerAuth,
        ];
    };
    let both = server(MX, Some(&root), for_both);
    let only: fn(&str) -> Option<NameConstraints> = |domain| {
        Some(NameConstraints {
            permitted_subtrees: vec![GeneralSubtree::DnsName(domain.into())],
            excluded_subtrees: Vec::new(),
        })
    };
    let elsewhere = authority("elsewhere", None, &|p| {
        p.name_constraints = only("example.net")
    });
    let by_elsewhere = server(MX, Some(&elsewhere), AS_IS);
    let here = authority("here", None, &|p| p.name_constraints = only("example.com"));
    let by_here = server(MX, Some(&here), AS_IS);
    let as_authority: Tune<'_> = &|params| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority_itself = server(MX, Some(&root), as_authority);
    let ta = |title, expected, made, anchor: &Made| {
        let made: &Made = made;
        Case::new(title, expected, made, vec![record([2, 0, 1], &anchor.der)])
    };
    judge(vec![
        ta("anchor that is no CA", Refused, &by_wrong_root, &wrong_root),
        ta(
            "middle as anchor that is no CA",
            Refused,
            &by_wrong_middle,
            &wrong_middle,
        ),
        ta("middle that is no CA", Refused, &by_wrong_middle, &root),
        ta("certificate for clients", Refused, &client, &root),
        ta("certificate for both", Accepted, &both, &root),
        ta(
            "names that the anchor does not allow",
            Refused,
            &by_elsewhere,
            &elsewhere,
        ),
        ta("names that it allows", Accepted, &by_here, &here),
        // webpki takes no CA for a server.
        ta("CA as server", Refused, &authority_itself, &root).but_openssl_says(Accepted),
    ]);
}

#[test]
fn openssl_agrees_on_usages_with_roots() {
    let root = authority("root", None, AS_IS);
    let middle = authority("middle", Some(&root), AS_IS);
    let leaf = server(MX, Some(&middle), AS_IS);
    let expired = server(MX, Some(&middle), EXPIRED);
    let stranger = authority("stranger", None, AS_IS);
    let case = |title, expected, made, numbers: [u8; 3], meant: &Made, trusted: &Made| {
        let made: &Made = made;
        Case::new(title, expected, made, vec![record(numbers, &meant.der)]).roots(&[trusted])
    };
    judge(vec![
        case("0: root", Accepted, &leaf, [0, 0, 1], &root, &root),
        case("0: root's key", Accepted, &leaf, [0, 1, 1], &root, &root),
        case(
            "0: root not shown",
            Accepted,
            &leaf,
            [0, 0, 1],
            &root,
            &root,
        )
        .chain(leaf.chain_without_root()),
        case("0: middle", Accepted, &leaf, [0, 0, 1], &middle, &root),
        case(
            "0: not trusted",
            Refused,
            &leaf,
            [0, 0, 1],
            &root,
            &stranger,
        ),
        case(
            "0: trusted, not meant",
            Refused,
            &leaf,
            [0, 0, 1],
            &stranger,
            &root,
        ),
        case(
            "0: the server's own",
            Refused,
            &leaf,
            [0, 0, 1],
            &leaf,
            &root,
        ),
        case("0: expired", Refused, &expired, [0, 0, 1], &root, &root),
        case("0: wrong name", Refused, &leaf, [0, 0, 1], &root, &root).name("b.example.com"),
        case("1: key", Accepted, &leaf, [1, 1, 1], &leaf, &root),
        case("1: certificate", Accepted, &leaf, [1, 0, 2], &leaf, &root),
        case(
            "1: not trusted",
            Refused,
            &leaf,
            [1, 1, 1],
            &leaf,
            &stranger,
        ),
        case("1: expired", Refused, &expired, [1, 1, 1], &expired, &root),
        case("1: wrong name", Refused, &leaf, [1, 1, 1], &leaf, &root).name("b.example.com"),
        case("1: the issuer's", Refused, &leaf, [1, 1, 1], &middle, &root),
        case(
            "2: needs no root",
            Accepted,
            &leaf,
            [2, 0, 1],
            &root,
            &stranger,
        ),
        case(
            "3: needs no root",
            Accepted,
            &leaf,
            [3, 1, 1],
            &leaf,
            &stranger,
        ),
    ]);
}

#[test]
fn openssl_agrees_on_what_is_unusable() {
    let leaf = server(MX, None, AS_IS);
    let with = |fields: [u8; 3], data: &[u8]| Record::parse(&[&fields, data].concat()).unwrap();
    judge(vec![
        Case::new(
            "short digest",
            Unusable,
            &leaf,
            vec![with([3, 1, 1], &[1; 31])],
        ),
        Case::new(
            "long digest",
            Unusable,
            &leaf,
            vec![with([3, 1, 2], &[1; 65])],
        ),
        Case::new(
            "unknown selector",
            Unusable,
            &leaf,
            vec![with([3, 2, 1], &[1; 32])],
        ),
        Case::new(
            "unknown matching",
            Unusable,
            &leaf,
            vec![with([3, 1, 3], &[1; 32])],
        ),
        Case::new(
            "unknown usage",
            Unusable,
            &leaf,
            vec![with([4, 1, 1], &[1; 32])],
        ),
        Case::new(
            "no certificate",
            Unusable,
            &leaf,
            vec![with([3, 0, 0], b"certificate")],
        ),
        Case::new("no key", Unusable, &leaf, vec![with([2, 1, 0], &[0x30, 0])]),
        Case::new(
            "beside a usable one",
            Refused,
            &leaf,
            vec![with([4, 1, 1], &[1; 32]), with([3, 1, 1], &[1; 32])],
        ),
    ]);
}

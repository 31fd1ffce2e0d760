//! `ringmail tlsresults`: what was noted of TLS with other domains. RFC 8460 4.

use ringmail::calls::{Answer, Call};
use ringmail::serve::Server;
use ringmail::tls_policy::ResultBatch;
use shards::shard_of;
use tls_rpt::{Day, FailureDetail, Policy, PolicyResult, ResultType, Tally};

use crate::folder::Folder;

const DOMAINS: &str = "
[postmaster]
account = \"anna\"
[domain.\"example.test\"]
";

/// What some sending has noted of a domain.
fn noted(domain: &str, day: &str) -> Tally {
    let mut tally = Tally::new(domain, day.parse::<Day>().unwrap());
    let policy = Policy::sts(
        domain,
        vec!["version: STSv1".into()],
        vec!["*.mail.test".into()],
    );
    let detail = FailureDetail {
        receiving_mx_hostname: Some("mx.mail.test".into()),
        receiving_ip: "192.0.2.1".parse().ok(),
        receiving_mx_helo: Some("mx \"x\"".into()),
        ..FailureDetail::new(ResultType::CertificateExpired).reason("expired")
    };
    for _ in 0..2 {
        tally
            .add(PolicyResult::failure(policy.clone(), vec![detail.clone()]))
            .unwrap();
    }
    tally.add(PolicyResult::success(policy)).unwrap();
    tally
        .add(PolicyResult::success(Policy::none(domain)))
        .unwrap();
    tally
}

#[test]
fn results_are_shown_by_domain_and_day() {
    let folder = Folder::new(DOMAINS, "");
    std::fs::create_dir(folder.at("accounts")).unwrap();
    std::fs::write(
        folder.at("accounts/anna.toml"),
        "addresses = [\"anna@example.test\"]\n",
    )
    .unwrap();
    let settings =
        ringmail::settings::load(folder.config.as_ref()).unwrap_or_else(|e| panic!("{e}"));
    let server = Server::start_alone(settings).unwrap_or_else(|e| panic!("{e}"));
    let domains = [
        ("mail.test", "20260101"),
        ("mail.test", "20260102"),
        ("other.test", "20260102"),
    ];
    for (number, (domain, day)) in domains.into_iter().enumerate() {
        let shard = shard_of(domain.as_bytes(), server.shards()).0;
        let batch = ResultBatch {
            shard,
            core: 0,
            number: number as u64 + 1,
            tallies: vec![noted(domain, day)],
        };
        let answer = server.call(
            server.owner_of_shard(shard),
            Call::TlsResults(Box::new(batch)),
        );
        assert!(matches!(answer, Ok(Answer::Done(Ok(())))));
    }
    server.stop();
    let run = |words: &[&str]| {
        let ran = folder.run(&[&["tlsresults"], words].concat());
        assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{words:?}");
        ran.out
    };
    let told = |domain: &str, day: &str| {
        format!(
            "{day} {domain}\n  sts: 1 sessions went well, 2 failed\n    certificate-expired: expired, host mx.mail.test, 192.0.2.1, called itself \"mx \\\"x\\\"\", 2 times\n  no-policy-found: 1 sessions went well, 0 failed\n"
        )
    };
    let both = told("mail.test", "20260101") + &told("mail.test", "20260102");
    assert_eq!(run(&["Mail.test"]), both);
    assert_eq!(
        run(&["mail.test", "--day", "2026-01-01"]),
        told("mail.test", "20260101")
    );
    assert_eq!(run(&["none.test"]), "");
    let day = run(&["--day", "20260102"]);
    assert!(
        day.contains(&told("mail.test", "20260102"))
            && day.contains(&told("other.test", "20260102")),
        "{day}"
    );
    assert!(!day.contains("20260101"), "{day}");
    let json: serde_json::Value = serde_json::from_str(&run(&["other.test", "--json"])).unwrap();
    assert_eq!(
        (&json["day"], &json["domain"]),
        (&"20260102".into(), &"other.test".into())
    );
    assert_eq!(
        json["policies"][0]["policy"]["mx-host"],
        serde_json::json!(["*.mail.test"])
    );
    let wrong = folder.run(&["tlsresults", "--day", "20260230"]);
    assert_eq!((wrong.code, wrong.out.as_str()), (2, ""));
    assert!(wrong.err.contains("is no day"), "{}", wrong.err);
}

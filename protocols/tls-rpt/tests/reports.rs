//! Reports of others: the RFC's, those that bend its rules, real ones (with RINGMAIL_CORPORA), and hostile ones.

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use ringmail_tls_rpt::limits::{
    DETAILS_MAX, POLICIES_MAX, POLICY_LINES_MAX, REPORT_SIZE_MAX, TEXT_MAX,
};
use ringmail_tls_rpt::{
    FailureDetail, Policy, PolicyResult, PolicyType, Record, Report, ReportError, ResultType,
};

/// RFC 8460 B, with the URI in one piece.
const EXAMPLE: &str = r##"{
  "organization-name": "Company-X",
  "date-range": {
    "start-datetime": "2016-04-01T00:00:00Z",
    "end-datetime": "2016-04-01T23:59:59Z"
  },
  "contact-info": "sts-reporting@company-x.example",
  "report-id": "5065427c-23d3-47ca-b6e0-946ea0e8c4be",
  "policies": [{
    "policy": {
      "policy-type": "sts",
      "policy-string": ["version: STSv1","mode: testing",
            "mx: *.mail.company-y.example","max_age: 86400"],
      "policy-domain": "company-y.example",
      "mx-host": "*.mail.company-y.example"
    },
    "summary": {
      "total-successful-session-count": 5326,
      "total-failure-session-count": 303
    },
    "failure-details": [{
      "result-type": "certificate-expired",
      "sending-mta-ip": "2001:db8:abcd:0012::1",
      "receiving-mx-hostname": "mx1.mail.company-y.example",
      "failed-session-count": 100
    }, {
      "result-type": "starttls-not-supported",
      "sending-mta-ip": "2001:db8:abcd:0013::1",
      "receiving-mx-hostname": "mx2.mail.company-y.example",
      "receiving-ip": "203.0.113.56",
      "failed-session-count": 200,
      "additional-information": "https://reports.company-x.example/report_info?id=5065427c-23d3#StarttlsNotSupported"
    }, {
      "result-type": "validation-failure",
      "sending-mta-ip": "198.51.100.62",
      "receiving-ip": "203.0.113.58",
      "receiving-mx-hostname": "mx-backup.mail.company-y.example",
      "failed-session-count": 3,
      "failure-reason-code": "X509_V_ERR_PROXY_PATH_LENGTH_EXCEEDED"
    }]
  }]
}"##;

fn example() -> Report {
    let ip = |text: &str| Some(text.parse().unwrap());
    let lines = [
        "version: STSv1",
        "mode: testing",
        "mx: *.mail.company-y.example",
        "max_age: 86400",
    ];
    Report {
        organization_name: "Company-X".into(),
        contact_info: "sts-reporting@company-x.example".into(),
        report_id: "5065427c-23d3-47ca-b6e0-946ea0e8c4be".into(),
        start_secs: 1_459_468_800,
        end_secs: 1_459_555_199,
        policies: vec![PolicyResult {
            policy: Policy::sts(
                "company-y.example",
                lines.map(String::from).to_vec(),
                vec!["*.mail.company-y.example".into()],
            ),
            successful_sessions: 5326,
            failed_sessions: 303,
            failure_details: vec![
                FailureDetail {
                    sending_mta_ip: ip("2001:db8:abcd:12::1"),
                    receiving_mx_hostname: Some("mx1.mail.company-y.example".into()),
                    failed_sessions: 100,
                    ..FailureDetail::new(ResultType::CertificateExpired)
                },
                FailureDetail {
                    sending_mta_ip: ip("2001:db8:abcd:13::1"),
                    receiving_mx_hostname: Some("mx2.mail.company-y.example".into()),
                    receiving_ip: ip("203.0.113.56"),
                    failed_sessions: 200,
                    additional_information: Some(
                        "https://reports.company-x.example/report_info?id=5065427c-23d3#StarttlsNotSupported".into(),
                    ),
                    ..FailureDetail::new(ResultType::StarttlsNotSupported)
                },
                FailureDetail {
                    sending_mta_ip: ip("198.51.100.62"),
                    receiving_ip: ip("203.0.113.58"),
                    receiving_mx_hostname: Some("mx-backup.mail.company-y.example".into()),
                    failed_sessions: 3,
                    ..FailureDetail::new(ResultType::ValidationFailure)
                        .reason("X509_V_ERR_PROXY_PATH_LENGTH_EXCEEDED")
                },
            ],
        }],
    }
}

fn parse(text: &str) -> Result<Report, ReportError> {
    Report::parse(text.as_bytes())
}

#[test]
fn the_example_of_the_rfc_is_read() {
    assert_eq!(parse(EXAMPLE).unwrap(), example());
}

/// What we write has the words and the shape of the RFC. The list of patterns is one, as its text says; its example has a single text.
#[test]
fn the_example_of_the_rfc_is_written() {
    let written: serde_json::Value = serde_json::from_slice(&example().to_json()).unwrap();
    let mut expected: serde_json::Value = serde_json::from_str(EXAMPLE).unwrap();
    let policy = &mut expected["policies"][0];
    policy["policy"]["mx-host"] = serde_json::json!(["*.mail.company-y.example"]);
    // RFC 5952 4.1.
    for (at, ip) in [(0, "2001:db8:abcd:12::1"), (1, "2001:db8:abcd:13::1")] {
        policy["failure-details"][at]["sending-mta-ip"] = ip.into();
    }
    assert_eq!(written, expected);
    let none = Report {
        policies: vec![PolicyResult::success(Policy::none("a.example"))],
        ..example()
    };
    let written: serde_json::Value = serde_json::from_slice(&none.to_json()).unwrap();
    assert_eq!(
        written["policies"][0]["policy"],
        serde_json::json!({"policy-type": "no-policy-found", "policy-domain": "a.example"})
    );
    assert_eq!(Report::parse(&none.to_json()).unwrap(), none);
}

#[test]
fn forms_that_are_read_too() {
    for (from, to) in [
        ("2016-04-01T00:00:00Z", "2016-04-01T00:00:00"),
        ("2016-04-01T23:59:59Z", "2016-04-02T01:59:59.999+02:00"),
        (
            "\"*.mail.company-y.example\"\n    }",
            "[\"*.mail.company-y.example\"]}",
        ),
        (": 5326", ": \"5326\""),
        ("\"certificate-expired\"", "\"Certificate-Expired\""),
        (
            "\"sending-mta-ip\": \"198.51.100.62\"",
            "\"later\": {\"a\": [1, null]}, \"sending-mta-ip\": \" 198.51.100.62 \"",
        ),
        (
            "{\n  \"organization-name\"",
            "\u{feff}{\n  \"organization-name\"",
        ),
    ] {
        let text = EXAMPLE.replace(from, to);
        assert_ne!(text, EXAMPLE, "{from}");
        assert_eq!(
            parse(&text).unwrap_or_else(|e| panic!("{e}: {to}")),
            example(),
            "{to}"
        );
    }
    let least = r#"{"date-range": {"start-datetime": "2016-04-01T00:00:00Z", "end-datetime": "2016-04-01T23:59:59Z"},
        "organization-name": null, "policies": [{"policy": {"policy-type": "tlsa", "policy-string": null},
        "failure-details": null, "summary": {"total-failure-session-count": null}},
        {"policy": {"policy-type": "later"}, "failure-details": [{"result-type": "x", "receiving-ip": "mx.example", "failure-reason-code": null}]}]}"#;
    let report = parse(least).unwrap();
    assert_eq!(report.policies[0].policy.policy_type, PolicyType::Tlsa);
    assert_eq!(
        report.policies[1].policy.policy_type,
        PolicyType::Other("later".into())
    );
    assert_eq!(report.policies[1].failure_details[0].receiving_ip, None);
    assert!(report.contact_info.is_empty() && report.submitter().is_empty());
}

#[test]
fn what_is_no_report() {
    for (from, to) in [
        ("{\n  \"organization-name\"", "{\n  organization-name"),
        ("\"policy-type\": \"sts\"", "\"policy-type\": 3"),
        ("2016-04-01T00:00:00Z", "yesterday"),
        ("start-datetime", "begin-datetime"),
        ("\"2016-04-01T23:59:59Z\"", "null"),
        (": 303", ": -303"),
        (": 303", ": 1e99"),
        (": 303", ": \"many\""),
        (": 303", ": 99999999999999999999999"),
        ("[{\n    \"policy\"", "\"x\", \"y\": [{\n    \"policy\""),
        ("\"contact-info\"", "\"report-id\""),
    ] {
        let text = EXAMPLE.replace(from, to);
        assert_ne!(text, EXAMPLE, "{from}");
        assert!(parse(&text).is_err(), "{to}");
    }
    for text in ["", "null", "[]", "{}", "<xml/>", "\"text\"", "\u{feff}"] {
        assert!(parse(text).is_err(), "{text}");
    }
    let more = format!("{EXAMPLE}x");
    assert!(parse(&more).is_err());
    for length in 0..EXAMPLE.len() {
        assert!(parse(&EXAMPLE[..length]).is_err());
    }
}

fn corpus() -> Option<PathBuf> {
    Some(PathBuf::from(std::env::var_os("RINGMAIL_CORPORA")?).join("reports/smtp_tls"))
}

#[test]
fn corpora_reports_are_read() {
    let Some(folder) = corpus() else { return };
    let read = |name: &str| {
        let octets = fs::read(folder.join(name)).unwrap();
        let report = Report::parse(&octets).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(Report::parse(&report.to_json()).unwrap(), report, "{name}");
        report
    };
    assert_eq!(read("rfc8460.json"), example());
    let report = read("mail.ru.json");
    assert_eq!(report.submitter(), "corp.mail.ru");
    let details = &report.policies[0].failure_details;
    assert_eq!(details.len(), 2);
    assert_eq!(details[0].result_type, ResultType::StsPolicyFetchError);
    assert_eq!(
        details[1].failure_reason_code.as_deref(),
        Some("bad https response code: 500")
    );
    let report = read("smtp_tls.json");
    assert_eq!(report.policies[0].failed_sessions, 3);
    assert_eq!(report.policies[0].failure_details.len(), 2);
}

#[test]
fn corpora_report_of_google_is_read() {
    let Some(folder) = corpus() else { return };
    let mail = fs::read_to_string(folder.join("google.com_smtp_tls_report.eml")).unwrap();
    let mail = mail.replace("\r\n", "\n");
    let (_, part) = mail
        .split_once("Content-Transfer-Encoding: base64\n\n")
        .unwrap();
    let base64: String = part.lines().take_while(|line| !line.is_empty()).collect();
    let packed = BASE64_STANDARD.decode(base64).unwrap();
    let mut gzip = Command::new("gzip")
        .arg("-dc")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    gzip.stdin.take().unwrap().write_all(&packed).unwrap();
    let unpacked = gzip.wait_with_output().unwrap().stdout;
    let report = Report::parse(&unpacked).unwrap();
    assert_eq!(report.organization_name, "Google Inc.");
    assert_eq!(report.start_secs, 1_725_321_600);
    assert_eq!(report.end_secs, 1_725_407_999);
    // As the file is called in the message.
    assert_eq!(
        report.file_name("cardinalhealth.ca"),
        "google.com!cardinalhealth.ca!1725321600!1725407999.json.gz"
    );
    assert_eq!(Report::parse(&report.to_json()).unwrap(), report);
}

#[test]
fn hostile_numbers_of_items_are_cut() {
    let many = |item: &str, count: usize| vec![item; count].join(",");
    let details = many("{\"result-type\":\"x\"}", DETAILS_MAX + 1);
    let lines = many("\"\"", POLICY_LINES_MAX + 1);
    let policy = format!(
        "{{\"policy\":{{\"policy-type\":\"sts\",\"policy-string\":[{lines}],\"mx-host\":[{lines}]}},\"failure-details\":[{details}]}}"
    );
    let small = many("{\"policy\":{\"policy-type\":\"sts\"}}", POLICIES_MAX);
    let range =
        r#"{"start-datetime": "2016-04-01T00:00:00Z", "end-datetime": "2016-04-01T23:59:59Z"}"#;
    let text = format!("{{\"date-range\":{range},\"policies\":[{policy},{small}]}}");
    let report = parse(&text).unwrap();
    assert_eq!(report.policies.len(), POLICIES_MAX);
    let first = &report.policies[0];
    assert_eq!(first.failure_details.len(), DETAILS_MAX);
    assert_eq!(first.policy.policy_string.len(), POLICY_LINES_MAX);
    assert_eq!(first.policy.mx_host.len(), POLICY_LINES_MAX);
}

#[test]
fn hostile_texts_are_cut() {
    let long = "\u{e9}".repeat(TEXT_MAX);
    let text = EXAMPLE
        .replace("Company-X", &long)
        .replace("X509_V", "\\u0000\\r\\n\\u001b[2J");
    let report = parse(&text).unwrap();
    assert_eq!(report.organization_name, "\u{e9}".repeat(TEXT_MAX / 2));
    let detail = &report.policies[0].failure_details[2];
    assert_eq!(
        detail.failure_reason_code.as_deref(),
        Some("[2J_ERR_PROXY_PATH_LENGTH_EXCEEDED")
    );
}

#[test]
fn hostile_sizes_take_no_time() {
    let started = Instant::now();
    let range =
        r#"{"start-datetime": "2016-04-01T00:00:00Z", "end-datetime": "2016-04-01T23:59:59Z"}"#;
    for piece in [
        "{},",
        "[",
        "{\"a\":",
        "\"\",",
        "{\"policy\":{\"policy-type\":\"\"}},",
        "1",
        "\\",
        " ",
    ] {
        let filling = piece.repeat((REPORT_SIZE_MAX - 200) / piece.len());
        let _ = parse(&filling);
        let _ = parse(&format!("{{\"date-range\":{range},\"x\":[{filling}"));
        let _ = parse(&format!("{{\"date-range\":{range},\"policies\":[{filling}"));
    }
    let large = vec![b' '; REPORT_SIZE_MAX + 1];
    assert!(matches!(Report::parse(&large), Err(ReportError::TooLarge)));
    // In an unoptimised build on a busy machine.
    assert!(started.elapsed() < Duration::from_secs(120));
}

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }
}

/// Changed reports and records: no panic, and what is read is written and read again. Seeds are fixed; `RINGMAIL_FUZZ_SECS` runs longer with
/// new ones and prints them.
#[test]
fn fuzz_reports_and_records() {
    let run = |seed: u64| {
        let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
        let mut text = EXAMPLE.as_bytes().to_vec();
        let mut record = b"v=TLSRPTv1; rua=mailto:a@b.example,https://c.example/; x=y".to_vec();
        for text in [&mut text, &mut record] {
            for _ in 0..random.below(5) {
                let (at, other) = (random.below(text.len()), random.below(text.len()));
                match random.below(5) {
                    0 => text[at] = random.next() as u8,
                    1 => text.insert(at, b"\"{}[],:0-.\\%;=!"[random.below(15)]),
                    2 => drop(text.drain(at.min(other)..at.max(other).min(at.min(other) + 20))),
                    3 => text.extend_from_within(at.min(other)..at.max(other)),
                    _ => text.swap(at, other),
                }
                if text.is_empty() {
                    text.push(b'v');
                }
            }
        }
        if let Ok(report) = Report::parse(&text) {
            assert_eq!(
                Report::parse(&report.to_json()).unwrap(),
                report,
                "seed {seed}"
            );
        }
        if let Ok(record) = Record::parse(&record) {
            assert!(!record.destinations.is_empty());
        }
    };
    (0..20_000).for_each(run);
    let secs = std::env::var("RINGMAIL_FUZZ_SECS").ok();
    let secs: u64 = secs.and_then(|text| text.parse().ok()).unwrap_or(0);
    let until = Instant::now() + Duration::from_secs(secs.min(2));
    let mut seed = 20_000;
    while Instant::now() < until {
        println!("seeds {seed} to {}", seed + 999);
        (seed..seed + 1000).for_each(run);
        seed += 1000;
    }
}

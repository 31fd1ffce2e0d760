//! What follows from what is known, case by case.

use std::net::IpAddr;

use dane::{CertificateFailure, DaneError, Matched};
use dns::{Cause, RecordType};

use super::*;

fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

/// A signed way to mx.mail.example, of which DANE knows nothing.
fn target() -> Target {
    let address: IpAddr = "192.0.2.1".parse().unwrap();
    Target {
        domain: name("mail.example"),
        expanded: name("mail.example"),
        way_is_authentic: true,
        is_implicit: false,
        host: HostAddresses::literal(name("mx.mail.example"), address),
        port: 25,
        require_tls: None,
    }
}

fn sts(mode: &str, mx: &str) -> StsAnswer {
    let text = format!("version: STSv1\nmode: {mode}\nmx: {mx}\nmax_age: 86400\n");
    let policy = mta_sts::Policy::parse(text.as_bytes()).unwrap();
    StsAnswer::Policy(Arc::new(policy), None)
}

fn problem() -> mta_sts::Problem {
    mta_sts::Problem::from(&mta_sts::FetchError::Timeout)
}

const NO_STS: StsAnswer = StsAnswer::None(None);

fn wait() -> StsAnswer {
    StsAnswer::Wait("nobody knows".into())
}

fn unknown() -> StsAnswer {
    StsAnswer::Unknown("nobody says".into(), None)
}

type Tlsa = Result<Option<TlsaRecords>, LookupError>;

fn tlsa(usages: &[u8]) -> Tlsa {
    let record = |usage: &u8| dns::Tlsa {
        usage: *usage,
        selector: 1,
        matching: 1,
        data: vec![7; 32],
    };
    Ok(Some(TlsaRecords {
        base: name("host.mail.example"),
        records: usages.iter().map(record).collect(),
        ttl: 60,
    }))
}

fn failing() -> Tlsa {
    Err(LookupError {
        name: name("x.example"),
        record_type: RecordType::Tlsa,
        cause: Cause::ServFail(None),
    })
}

/// In one line: policy, `must` or `may`, ground; or why the host is refused.
fn told(target: &Target, tlsa: &Tlsa, sts: &StsAnswer) -> String {
    match decide(target, tlsa, sts) {
        Ok(found) => {
            let policy = match &found.policy {
                Policy::Opportunistic => "any".to_string(),
                Policy::Pkix { name } => format!("pkix {}", name.as_ref()),
                Policy::Dane { names, .. } => {
                    let names: Vec<&str> = names.iter().map(AsRef::as_ref).collect();
                    format!("dane {}", names.join(","))
                }
            };
            let tls = if found.is_tls_mandatory {
                "must"
            } else {
                "may"
            };
            let enforced = if found.is_enforced { "" } else { " reported" };
            format!("{policy} {tls}{enforced} {}", found.ground.as_str())
        }
        Err(refusal) => format!("refused {}", refusal.cause.as_str()),
    }
}

#[test]
fn what_follows_from_what() {
    let none: Tlsa = Ok(None);
    let (ours, theirs) = ("mx.mail.example", "mx.other.example");
    let dane = "dane host.mail.example,mx.mail.example,mail.example must dane";
    // TLSA records, MTA-STS: neither asked for nor forgone, REQUIRETLS, TLS-Required: No.
    for (tlsa, sts, plain, strict, lenient) in [
        (
            &none,
            NO_STS,
            "any may opportunistic",
            "pkix mx.mail.example must requiretls",
            "any may reported opportunistic",
        ),
        // RFC 7672 2.2: DANE first, and then MTA-STS changes nothing, whatever it says.
        (
            &tlsa(&[3]),
            NO_STS,
            dane,
            dane,
            "dane host.mail.example,mx.mail.example,mail.example may reported dane",
        ),
        (
            &tlsa(&[0, 2]),
            sts("enforce", theirs),
            dane,
            dane,
            "dane host.mail.example,mx.mail.example,mail.example may reported dane",
        ),
        (
            &tlsa(&[3]),
            wait(),
            dane,
            dane,
            "dane host.mail.example,mx.mail.example,mail.example may reported dane",
        ),
        // RFC 7672 2.1.2.
        (
            &failing(),
            NO_STS,
            "refused tlsa-unknown",
            "refused tlsa-unknown",
            "any may reported opportunistic",
        ),
        (
            &failing(),
            sts("enforce", ours),
            "refused tlsa-unknown",
            "refused tlsa-unknown",
            "pkix mx.mail.example may reported mta-sts",
        ),
        // RFC 7672 2.2, 3.1.3: records that cannot be used.
        (
            &tlsa(&[0, 1, 9]),
            NO_STS,
            "any must dane-unusable",
            "pkix mx.mail.example must requiretls",
            "any may reported dane-unusable",
        ),
        (
            &tlsa(&[1]),
            sts("enforce", ours),
            "pkix mx.mail.example must mta-sts",
            "pkix mx.mail.example must mta-sts",
            "pkix mx.mail.example may reported dane-unusable",
        ),
        (
            &tlsa(&[1]),
            sts("testing", ours),
            "pkix mx.mail.example must reported dane-unusable",
            "pkix mx.mail.example must requiretls",
            "pkix mx.mail.example may reported dane-unusable",
        ),
        // RFC 8461 5.
        (
            &none,
            sts("enforce", ours),
            "pkix mx.mail.example must mta-sts",
            "pkix mx.mail.example must mta-sts",
            "pkix mx.mail.example may reported mta-sts",
        ),
        (
            &none,
            sts("enforce", "*.mail.example"),
            "pkix mx.mail.example must mta-sts",
            "pkix mx.mail.example must mta-sts",
            "pkix mx.mail.example may reported mta-sts",
        ),
        (
            &none,
            sts("enforce", theirs),
            "refused sts-mismatch",
            "refused sts-mismatch",
            "any may reported mta-sts",
        ),
        (
            &none,
            sts("testing", ours),
            "pkix mx.mail.example may reported mta-sts-testing",
            "pkix mx.mail.example must requiretls",
            "pkix mx.mail.example may reported mta-sts-testing",
        ),
        (
            &none,
            sts("testing", theirs),
            "any may mta-sts-testing",
            "pkix mx.mail.example must requiretls",
            "any may reported mta-sts-testing",
        ),
        (
            &none,
            wait(),
            "refused sts-unknown",
            "refused sts-unknown",
            "any may reported opportunistic",
        ),
        (
            &none,
            unknown(),
            "any may opportunistic",
            "pkix mx.mail.example must requiretls",
            "any may reported opportunistic",
        ),
        (
            &none,
            StsAnswer::None(Some(problem())),
            "any may opportunistic",
            "pkix mx.mail.example must requiretls",
            "any may reported opportunistic",
        ),
    ] {
        for (require_tls, expected) in [(None, plain), (Some(true), strict), (Some(false), lenient)]
        {
            let target = Target {
                require_tls,
                ..target()
            };
            assert_eq!(
                told(&target, tlsa, &sts),
                expected,
                "{tlsa:?} {sts:?} {require_tls:?}"
            );
        }
    }
}

#[test]
fn a_way_that_anybody_could_have_shown() {
    let target = |require_tls| Target {
        way_is_authentic: false,
        require_tls,
        ..target()
    };
    let none: Tlsa = Ok(None);
    // RFC 7672 2.2.1: TLSA records say nothing then, also if somebody looked for them.
    assert_eq!(
        told(&target(None), &tlsa(&[3]), &NO_STS),
        "any may opportunistic"
    );
    assert_eq!(
        told(&target(None), &failing(), &NO_STS),
        "any may opportunistic"
    );
    // RFC 8689 4.2.1 step 2.
    let strict = target(Some(true));
    assert_eq!(told(&strict, &none, &NO_STS), "refused not-proved");
    assert_eq!(told(&strict, &none, &unknown()), "refused proof-unknown");
    assert_eq!(
        told(&target(None), &none, &unknown()),
        "any may opportunistic"
    );
    assert_eq!(
        told(&strict, &none, &sts("testing", "x.example")),
        "refused not-proved"
    );
    assert_eq!(
        told(&strict, &none, &sts("testing", "mx.mail.example")),
        "pkix mx.mail.example must requiretls"
    );
    for (cause, temporary, messages) in [
        (RefusalCause::StsMismatch, true, false),
        (RefusalCause::ProofUnknown, true, true),
        (RefusalCause::NotProved, false, true),
    ] {
        assert_eq!(
            (cause.is_temporary(), cause.is_messages()),
            (temporary, messages)
        );
    }
}

#[test]
fn a_domain_without_mx() {
    let implicit = |require_tls| Target {
        domain: name("alias.example"),
        expanded: name("host.example"),
        is_implicit: true,
        way_is_authentic: false,
        host: HostAddresses::literal(name("host.example"), "192.0.2.1".parse().unwrap()),
        require_tls,
        ..target()
    };
    let none: Tlsa = Ok(None);
    // The name is the recipient's, whatever anybody says it is an alias of.
    assert_eq!(
        told(&implicit(Some(true)), &none, &NO_STS),
        "pkix alias.example must requiretls"
    );
    assert_eq!(
        told(&implicit(None), &none, &sts("enforce", "alias.example")),
        "pkix alias.example must mta-sts"
    );
    assert_eq!(
        told(&implicit(None), &none, &sts("enforce", "host.example")),
        "pkix host.example must mta-sts"
    );
    assert_eq!(
        told(&implicit(None), &none, &sts("enforce", "x.example")),
        "refused sts-mismatch"
    );
    let signed = Target {
        way_is_authentic: true,
        ..implicit(None)
    };
    assert_eq!(
        told(&signed, &tlsa(&[2]), &NO_STS),
        "dane host.mail.example,host.example,alias.example must dane"
    );
}

/// As reports have them: type of policy, domain, sessions that went well and that failed, reasons.
fn reported(results: &[PolicyResult]) -> Vec<String> {
    let line = |result: &PolicyResult| {
        let details = result.failure_details.iter().map(|d| {
            format!(
                " {}:{}",
                d.result_type,
                d.failure_reason_code.as_deref().unwrap_or_default()
            )
        });
        let policy = &result.policy;
        let counts = (result.successful_sessions, result.failed_sessions);
        format!(
            "{} {} {}/{}{}",
            policy.policy_type,
            policy.policy_domain,
            counts.0,
            counts.1,
            details.collect::<String>()
        )
    };
    results.iter().map(line).collect()
}

fn verdict(
    pkix: Result<(), CertificateFailure>,
    dane: Option<Result<Matched, DaneError>>,
) -> SessionFacts {
    SessionFacts {
        verdict: Some(Verdict { pkix, dane }),
        ..SessionFacts::default()
    }
}

#[test]
fn what_reports_say() {
    let none: Tlsa = Ok(None);
    let session = |tlsa: &Tlsa, sts: &StsAnswer, session: &SessionFacts| {
        reported(&decide(&target(), tlsa, sts).unwrap().results(session))
    };
    let good = verdict(Ok(()), None);
    let expired = verdict(Err(CertificateFailure::Expired), None);
    let plain = SessionFacts {
        failure: Some((ResultType::StarttlsNotSupported, "no-starttls".into())),
        ..SessionFacts::default()
    };
    assert_eq!(
        session(&none, &NO_STS, &good),
        ["no-policy-found mail.example 1/0"]
    );
    assert_eq!(
        session(&none, &NO_STS, &expired),
        ["no-policy-found mail.example 1/0"]
    );
    assert_eq!(
        session(&none, &NO_STS, &plain),
        ["no-policy-found mail.example 0/1 starttls-not-supported:no-starttls"]
    );
    let testing = sts("testing", "mx.mail.example");
    assert_eq!(session(&none, &testing, &good), ["sts mail.example 1/0"]);
    assert_eq!(
        session(&none, &testing, &expired),
        ["sts mail.example 0/1 certificate-expired:expired"]
    );
    assert_eq!(
        session(&none, &testing, &plain),
        ["sts mail.example 0/1 starttls-not-supported:no-starttls"]
    );
    let other = sts("testing", "x.example");
    assert_eq!(
        session(&none, &other, &good),
        ["sts mail.example 0/1 validation-failure:mtasts-policy-mx-mismatch"]
    );
    // A policy that is held to though a newer one cannot be had.
    let StsAnswer::Policy(policy, _) = &testing else {
        unreachable!()
    };
    let old = StsAnswer::Policy(policy.clone(), Some(problem()));
    assert_eq!(
        session(&none, &old, &good),
        ["sts mail.example 1/0 sts-policy-fetch-error:timeout"]
    );
    let gone = StsAnswer::None(Some(problem()));
    assert_eq!(
        session(&none, &gone, &good),
        ["sts mail.example 0/1 sts-policy-fetch-error:timeout"]
    );
    // Both kinds.
    let mismatch = verdict(Ok(()), Some(Err(DaneError::NoMatch)));
    let both = session(&tlsa(&[3]), &testing, &mismatch);
    assert_eq!(
        both,
        [
            "sts mail.example 1/0",
            "tlsa host.mail.example 0/1 validation-failure:dane-no-match"
        ]
    );
    let unusable = session(&tlsa(&[1]), &NO_STS, &good);
    assert_eq!(
        unusable,
        ["tlsa host.mail.example 0/1 tlsa-invalid:all-unusable-records+ignored"]
    );
    // Without a connection.
    let refusal =
        |tlsa: &Tlsa, sts: &StsAnswer| reported(&decide(&target(), tlsa, sts).unwrap_err().results);
    assert_eq!(
        refusal(&none, &sts("enforce", "x.example")),
        ["sts mail.example 0/1 validation-failure:mtasts-policy-mx-mismatch"]
    );
    assert_eq!(
        refusal(&failing(), &NO_STS),
        ["tlsa mx.mail.example 0/1 dnssec-invalid:tlsa-lookup-failed"]
    );
    assert_eq!(refusal(&none, &wait()), [""; 0]);
}

#[test]
fn a_session_is_told_with_its_ends() {
    let requirement = decide(&target(), &Ok(None), &NO_STS).unwrap();
    let session = SessionFacts {
        failure: Some((ResultType::StarttlsNotSupported, "x".into())),
        sending_ip: "192.0.2.9".parse().ok(),
        receiving_ip: "192.0.2.1".parse().ok(),
        helo: Some("mx".into()),
        ..SessionFacts::default()
    };
    let detail = &requirement.results(&session)[0].failure_details[0];
    assert_eq!(detail.sending_mta_ip, session.sending_ip);
    assert_eq!(detail.receiving_ip, session.receiving_ip);
    assert_eq!(
        detail.receiving_mx_hostname.as_deref(),
        Some("mx.mail.example")
    );
    assert_eq!(detail.receiving_mx_helo.as_deref(), Some("mx"));
}

#[test]
fn a_connection_that_there_is() {
    let key = rcgen::generate_simple_self_signed(["host.mail.example".to_string()]).unwrap();
    let chain = [key.cert.der().clone()];
    let record = dane::Record::of(
        dane::Usage::DaneEe,
        dane::Selector::PublicKey,
        dane::Matching::Sha256,
        &chain[0],
    )
    .unwrap();
    let by = |data: Vec<u8>| {
        Ok(Some(TlsaRecords {
            base: name("host.mail.example"),
            records: vec![dns::Tlsa {
                usage: 3,
                selector: 1,
                matching: 1,
                data,
            }],
            ttl: 60,
        }))
    };
    let now = UnixTime::now();
    let verdict = |pkix| Verdict { pkix, dane: None };
    let (good, bad) = (
        verdict(Ok(())),
        verdict(Err(CertificateFailure::UnknownIssuer)),
    );
    let held = |verdict, name| Held {
        verdict,
        name,
        chain: &chain,
    };
    let none: Tlsa = Ok(None);
    let requirement = |tlsa: &Tlsa, sts: &StsAnswer| decide(&target(), tlsa, sts).unwrap();
    let any = requirement(&none, &NO_STS);
    assert!(any.satisfied_by(None, now) && any.satisfied_by(Some(&held(&bad, "x")), now));
    let testing = requirement(&none, &sts("testing", "mx.mail.example"));
    assert!(testing.satisfied_by(None, now) && testing.satisfied_by(Some(&held(&bad, "x")), now));
    let enforced = requirement(&none, &sts("enforce", "mx.mail.example"));
    assert!(!enforced.satisfied_by(None, now));
    assert!(enforced.satisfied_by(Some(&held(&good, "MX.mail.example")), now));
    assert!(!enforced.satisfied_by(Some(&held(&bad, "mx.mail.example")), now));
    assert!(!enforced.satisfied_by(Some(&held(&good, "host.mail.example")), now));
    let ours = requirement(&by(record.data.clone()), &NO_STS);
    assert!(!ours.satisfied_by(None, now));
    assert!(ours.satisfied_by(Some(&held(&bad, "x")), now));
    assert!(ours.verdict(&held(&bad, "x"), now).failure().is_none());
    let theirs = requirement(&by(vec![7; 32]), &NO_STS);
    assert!(!theirs.satisfied_by(Some(&held(&good, "x")), now));
    let unusable = requirement(&tlsa(&[1]), &NO_STS);
    assert!(
        !unusable.satisfied_by(None, now) && unusable.satisfied_by(Some(&held(&bad, "x")), now)
    );
}

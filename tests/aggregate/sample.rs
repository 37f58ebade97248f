//! Reports to try things on: one that has everything, and random ones, hostile texts among them.

use alignd::auth::dmarc::{AlignmentMode, DiscoveryMethod, Policy, PsdFlag};
use alignd::auth::{DkimResult, SpfResult};
use alignd::domain::DomainName;
use alignd::policy::{Disposition, OverrideType, PolicyOverride};
use alignd::report::ReportId;
use alignd::report::aggregate::{
    DkimRow, Head, NormalisedPolicy, PolicyEvaluated, Reporter, Row, SpfRow,
};
use alignd::time::UtcDay;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use std::net::IpAddr;

pub fn domain(name: &str) -> DomainName {
    DomainName::parse(name).unwrap()
}

pub fn head() -> Head {
    head_of(
        "example.com",
        NormalisedPolicy {
            p: Policy::Reject,
            sp: Some(Policy::Quarantine),
            np: None,
            adkim: AlignmentMode::Strict,
            aspf: AlignmentMode::Relaxed,
            fo: "1:d".to_owned(),
            testing: true,
            psd: PsdFlag::Unknown,
            method: DiscoveryMethod::TreeWalk,
        },
        vec![
            "adkim=x is not r or s".to_owned(),
            "rua: <a@b>: no \"mailto:\" & no scheme".to_owned(),
        ],
    )
}

pub fn head_of(policy_domain: &str, policy: NormalisedPolicy, errors: Vec<String>) -> Head {
    let reporter = Reporter {
        org_name: "Müller & Söhne <GmbH>".to_owned(),
        contact: "postmaster@mx.example.org".to_owned(),
        domain: domain("mx.example.org"),
    };
    let policy_domain = domain(policy_domain);
    let day = UtcDay::parse("2026-11-21").unwrap();
    Head {
        id: ReportId::derive(&[7; 16], &reporter.domain, &policy_domain, day, &policy, 0),
        reporter,
        day,
        errors,
        policy_domain,
        policy,
    }
}

/// A pass, a failure under test mode, a failure without SPF, and one of many signatures.
pub fn rows() -> Vec<Row> {
    vec![
        Row {
            envelope_from: Some("bounce.example.com".to_owned()),
            dkim: vec![dkim("example.com", "s1", DkimResult::Pass, "")],
            spf: Some(spf("bounce.example.com", SpfResult::Pass, "")),
            ..row("192.0.2.1", 12_345, Disposition::Pass, &[])
        },
        Row {
            envelope_from: Some(String::new()),
            envelope_to: Some(domain("receiver.example.org")),
            spf: Some(spf("mail.example.net", SpfResult::Softfail, "~all matched")),
            ..row(
                "2001:db8::7",
                1,
                Disposition::None,
                &[(OverrideType::PolicyTestMode, Some("t=y"))],
            )
        },
        Row {
            header_from: domain("xn--bcher-kva.example.com"),
            ..row(
                "::ffff:198.51.100.9",
                3,
                Disposition::None,
                &[
                    (
                        OverrideType::LocalPolicy,
                        Some("arc=pass as[1].d=d1.example"),
                    ),
                    (OverrideType::MailingList, None),
                ],
            )
        },
        Row {
            envelope_from: Some("<script>&\"'\0\u{202e}".to_owned()),
            dkim: (0..120)
                .map(|n| {
                    dkim(
                        "example.net",
                        &format!("s{n}"),
                        DkimResult::Fail,
                        "body changed",
                    )
                })
                .collect(),
            spf: Some(spf("example.net", SpfResult::Temperror, "")),
            ..row(
                "203.0.113.5",
                u64::from(u32::MAX),
                Disposition::Quarantine,
                &[],
            )
        },
    ]
}

pub fn row(
    ip: &str,
    count: u64,
    disposition: Disposition,
    reasons: &[(OverrideType, Option<&str>)],
) -> Row {
    let pass = disposition == Disposition::Pass;
    let reason = |(kind, comment): &(OverrideType, Option<&str>)| PolicyOverride {
        kind: *kind,
        comment: comment.map(str::to_owned),
    };
    Row {
        source_ip: ip.parse().unwrap(),
        count,
        evaluated: PolicyEvaluated {
            disposition,
            dkim: pass,
            spf: false,
            reasons: reasons.iter().map(reason).collect(),
        },
        header_from: domain("example.com"),
        envelope_from: None,
        envelope_to: None,
        dkim: Vec::new(),
        spf: None,
    }
}

pub fn dkim(domain: &str, selector: &str, result: DkimResult, human_result: &str) -> DkimRow {
    DkimRow {
        domain: domain.to_owned(),
        selector: selector.to_owned(),
        result,
        human_result: human_result.to_owned(),
    }
}

fn spf(domain: &str, result: SpfResult, human_result: &str) -> SpfRow {
    SpfRow {
        domain: domain.to_owned(),
        result,
        human_result: human_result.to_owned(),
    }
}

/// Names of senders, as they are and as an attacker writes them.
fn names() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z]{1,12}\\.example",
        select(vec![
            "</domain><domain>evil.example",
            "]]>",
            "&amp;&#0;&lol;",
            "<!DOCTYPE a [<!ENTITY x \"y\">]>",
            "\r\nBcc: x@example",
            "\0\u{1}\u{7f}\u{fffe}\u{ffff}\u{d7ff}",
            "\u{202e}moc.elpmaxe",
            "",
        ])
        .prop_map(str::to_owned),
        any::<String>(),
        "[a-z<&]{300,400}",
    ]
}

fn hosts() -> impl Strategy<Value = DomainName> {
    "([a-z_][a-z0-9-]{0,20}\\.){1,4}[a-z]{2,10}".prop_map(|name| domain(&name))
}

fn reasons() -> impl Strategy<Value = Vec<PolicyOverride>> {
    let reason = (select(OverrideType::ALL.to_vec()), option::of(names()));
    vec(
        reason.prop_map(|(kind, comment)| PolicyOverride { kind, comment }),
        0..12,
    )
}

fn evaluations() -> impl Strategy<Value = PolicyEvaluated> {
    let disposition = select(Disposition::ALL.to_vec());
    (disposition, any::<bool>(), any::<bool>(), reasons()).prop_map(
        |(disposition, dkim, spf, reasons)| PolicyEvaluated {
            disposition,
            dkim,
            spf,
            reasons,
        },
    )
}

fn dkim_rows() -> impl Strategy<Value = Vec<DkimRow>> {
    let results = select(DkimResult::ALL.to_vec());
    let row = (names(), names(), results, names());
    let row =
        row.prop_map(|(domain, selector, result, human)| dkim(&domain, &selector, result, &human));
    vec(row, 0..5)
}

fn spf_rows() -> impl Strategy<Value = Option<SpfRow>> {
    let row = (names(), select(SpfResult::ALL.to_vec()), names());
    option::of(row.prop_map(|(domain, result, human)| spf(&domain, result, &human)))
}

pub fn random_rows() -> impl Strategy<Value = Vec<Row>> {
    let row = (
        any::<IpAddr>(),
        1..u64::from(u32::MAX),
        evaluations(),
        hosts(),
        option::of(names()),
        option::of(hosts()),
        dkim_rows(),
        spf_rows(),
    )
        .prop_map(
            |(source_ip, count, evaluated, from, mail_from, to, dkim, spf)| Row {
                source_ip,
                count,
                evaluated,
                header_from: from,
                envelope_from: mail_from,
                envelope_to: to,
                dkim,
                spf,
            },
        );
    vec(row, 1..4)
}

fn policies() -> impl Strategy<Value = NormalisedPolicy> {
    let policy = || select(Policy::ALL.to_vec());
    let mode = || select(AlignmentMode::ALL.to_vec());
    (
        (policy(), option::of(policy()), option::of(policy())),
        (mode(), mode(), select(vec!["0", "1", "d:s", "0:d:s"])),
        (
            any::<bool>(),
            select(PsdFlag::ALL.to_vec()),
            select(DiscoveryMethod::ALL.to_vec()),
        ),
    )
        .prop_map(|((p, sp, np), (adkim, aspf, fo), (testing, psd, method))| {
            NormalisedPolicy {
                p,
                sp,
                np,
                adkim,
                aspf,
                fo: fo.to_owned(),
                testing,
                psd,
                method,
            }
        })
}

pub fn random_heads() -> impl Strategy<Value = Head> {
    (hosts(), policies(), vec(names(), 0..12), names(), names()).prop_map(
        |(policy_domain, policy, errors, org_name, contact)| {
            let mut head = head_of(policy_domain.as_str(), policy, errors);
            head.reporter.org_name = org_name;
            head.reporter.contact = contact;
            head
        },
    )
}

//! Verdicts for tests and benches that look like most mail does. Any whatsoever are `verdicts`'.

use alignd::address::{Mailbox, ReversePath};
use alignd::auth::dkim::{DkimEvidence, DkimGrounds, SignatureOutcome};
use alignd::auth::dmarc::{
    Alignment, AlignmentMode, DiscoveryMethod, Evaluation, Finding, Identifier,
    IdentifierAlignment, Policy, PolicyTag, PsdFlag, PublishedPolicy, Record, Step,
};
use alignd::auth::iprev::IprevOutcome;
use alignd::auth::spf::{MatchedTerm, SpfGrounds, SpfOutcome};
use alignd::auth::{DkimResult, DmarcResult, Evidence, IprevResult, SpfEvidence, SpfResult};
use alignd::domain::DomainName;
use alignd::message::author::Author;
use alignd::policy::{Action, Cause, Decision, Disposition};
use alignd::time::Timestamp;
use alignd::verdict::{Envelope, MessageFacts, Verdict, VerdictId, Weight};
use std::net::IpAddr;

/// What most mail looks like: aligned, signed once, nothing special. `nth` tells them apart.
pub fn plain_verdict(domain: &str, received: Timestamp, nth: u32) -> Verdict {
    let domain = DomainName::parse(domain).expect("a domain");
    let mut random = [7; 10];
    random[6..].copy_from_slice(&nth.to_be_bytes());
    let policy_record = plain_record(&domain);
    let identifier = Identifier {
        domain: domain.clone(),
        organizational_domain: None,
        alignment: IdentifierAlignment::Strict,
    };
    let aligned = Alignment {
        aligned: true,
        identifiers: vec![identifier],
    };
    Verdict {
        id: VerdictId::mint(received, random),
        received,
        envelope: plain_envelope(&domain, nth),
        message: MessageFacts {
            author: Author::One(domain.clone()),
            message_id: Some(format!("20261122.{nth:08x}.4711@mail.{domain}")),
            list_id: None,
            size: 10_240 + u64::from(nth % 977),
            forged_results: 0,
        },
        evidence: plain_evidence(&domain, nth),
        evaluation: Some(Evaluation {
            author_domain: domain.clone(),
            result: DmarcResult::Pass,
            policy: Some(PublishedPolicy {
                domain: domain.clone(),
                method: DiscoveryMethod::TreeWalk,
                record: policy_record.clone(),
                tag: PolicyTag::P,
                selected: Policy::Reject,
                applied: Policy::Reject,
            }),
            discovery: vec![Step {
                name: format!("_dmarc.{domain}"),
                found: Finding::Record(Box::new(policy_record)),
            }],
            spf: aligned.clone(),
            dkim: aligned,
            organizational_domain: Some(domain.clone()),
            grounds: "DKIM and SPF pass and are aligned".to_owned(),
        }),
        decision: Decision::follow(
            Cause::Pass,
            Some(Policy::Reject),
            Disposition::Pass,
            Action::Accept,
        ),
        weight: Weight::Triggers,
        authentication_results: format!(
            "mx.receiver.example; dmarc=pass (p=reject dis=none) header.from={domain} policy.dmarc=reject; \
             spf=pass smtp.mailfrom=bounce-{nth}@{domain}; spf=none smtp.helo=mail.{domain}; \
             dkim=pass header.d={domain} header.s=s2026 header.a=rsa-sha256 header.b=b{nth:07x}; \
             iprev=pass policy.iprev=192.0.2.{} (mail.{domain})",
            nth % 200
        ),
    }
}

fn plain_record(domain: &DomainName) -> Record {
    Record {
        text: format!("v=DMARC1; p=reject; rua=mailto:dmarc-reports@{domain}; adkim=r; aspf=r"),
        p: Policy::Reject,
        sp: None,
        np: None,
        adkim: AlignmentMode::Relaxed,
        aspf: AlignmentMode::Relaxed,
        psd: PsdFlag::Unknown,
        testing: false,
        fo: "0".to_owned(),
        rua: vec![format!("mailto:dmarc-reports@{domain}")],
        ruf: Vec::new(),
        usable: true,
        problems: Vec::new(),
    }
}

fn plain_envelope(domain: &DomainName, nth: u32) -> Envelope {
    Envelope {
        queue_id: Some(format!("4Xy{nth:08X}")),
        client: Some(IpAddr::from([192, 0, 2, (nth % 200) as u8])),
        client_name: Some(format!("mail.{domain}")),
        relay: None,
        helo: Some(format!("mail.{domain}")),
        mail_from: ReversePath::Mailbox(Mailbox {
            local_part: format!("bounce-{nth}"),
            domain: domain.clone(),
        }),
        recipient_domains: vec![DomainName::parse("receiver.example").expect("a domain")],
        recipients: 1,
        recipient_addresses: vec!["someone@receiver.example".to_owned()],
        daemon_name: Some("smtpd".to_owned()),
    }
}

fn plain_evidence(domain: &DomainName, nth: u32) -> Evidence {
    let spf = |name: String, record: Option<&str>| SpfOutcome {
        domain: name.clone(),
        result: record.map_or(SpfResult::None, |_| SpfResult::Pass),
        grounds: SpfGrounds {
            matched: record.map(|_| MatchedTerm {
                term: "ip4:192.0.2.0/24".to_owned(),
                domain: name,
            }),
            problem: match record {
                Some(_) => None,
                None => Some("the domain has no SPF record".to_owned()),
            },
            explanation: None,
            record: record.map(str::to_owned),
            lookups: 1,
            void_lookups: 0,
        },
    };
    Evidence {
        spf: SpfEvidence {
            mail_from: spf(domain.to_string(), Some("v=spf1 mx ip4:192.0.2.0/24 -all")),
            helo: spf(format!("mail.{domain}"), None),
        },
        dkim: DkimEvidence {
            signatures: vec![SignatureOutcome {
                domain: domain.to_string(),
                selector: "s2026".to_owned(),
                identity: None,
                algorithm: "rsa-sha256".to_owned(),
                b_prefix: format!("b{nth:07x}"),
                result: DkimResult::Pass,
                grounds: DkimGrounds {
                    key_bits: Some(2_048),
                    may_align: true,
                    ..DkimGrounds::default()
                },
            }],
            not_tried: Vec::new(),
        },
        iprev: IprevOutcome {
            result: IprevResult::Pass,
            name: Some(format!("mail.{domain}")),
            grounds: String::new(),
        },
        arc: None,
    }
}

//! Verdicts for tests: any that the types allow, as a proptest strategy. Plain ones are `plain_verdict`'s.

use alignd::address::{Mailbox, ReversePath};
use alignd::auth::arc::{ArcEvidence, ArcResult, ArcSet};
use alignd::auth::dkim::{DkimEvidence, DkimGrounds, NotTried, SignatureOutcome};
use alignd::auth::dmarc::{
    Alignment, AlignmentMode, DiscoveryMethod, Evaluation, Finding, Identifier,
    IdentifierAlignment, Policy, PolicyTag, PsdFlag, PublishedPolicy, Record, Step,
};
use alignd::auth::iprev::IprevOutcome;
use alignd::auth::spf::{MatchedTerm, SpfGrounds, SpfOutcome};
use alignd::auth::{DkimResult, DmarcResult, Evidence, IprevResult, SpfEvidence, SpfResult};
use alignd::dns::LookupError;
use alignd::domain::DomainName;
use alignd::message::author::Author;
use alignd::policy::rules::{EvidenceKind, Met, RuleKey};
use alignd::policy::{
    Action, Cause, Decision, Disposition, OverrideType, PolicyOverride, RuleEffect, RuleUse,
};
use alignd::time::Timestamp;
use alignd::verdict::{Envelope, MessageFacts, Verdict, VerdictId, Weight};
use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;
use proptest::sample::select;
use std::net::IpAddr;

/// Any verdict that the types allow, likely or not.
pub fn any_verdict() -> impl Strategy<Value = Verdict> {
    let heads = (any::<(i64, [u8; 10])>(), envelope(), message());
    let judged = (
        evidence(),
        of(evaluation()),
        decision(),
        word(Weight::ALL),
        text(),
    );
    (heads, judged).prop_map(|((ids, envelope, message), judged)| {
        let (evidence, evaluation, decision, weight, authentication_results) = judged;
        // Within the years that a UtcDay can count.
        let received = Timestamp::from_micros(ids.0 / 4_096);
        Verdict {
            id: VerdictId::mint(received, ids.1),
            received,
            envelope,
            message,
            evidence,
            evaluation,
            decision,
            weight,
            authentication_results,
        }
    })
}

fn envelope() -> impl Strategy<Value = Envelope> {
    let client = (
        of(any::<IpAddr>()),
        of(text()),
        of(any::<IpAddr>()),
        of(text()),
    );
    let to = (vec(domain(), 0..4), any::<u32>(), vec(text(), 0..3));
    (of(text()), client, reverse_path(), to, of(text())).prop_map(
        |(queue_id, (client, client_name, relay, helo), mail_from, to, daemon_name)| Envelope {
            queue_id,
            client,
            client_name,
            relay,
            helo,
            mail_from,
            recipient_domains: to.0,
            recipients: to.1,
            recipient_addresses: to.2,
            daemon_name,
        },
    )
}

fn reverse_path() -> impl Strategy<Value = ReversePath> {
    let mailbox = (text(), domain())
        .prop_map(|(local_part, domain)| ReversePath::Mailbox(Mailbox { local_part, domain }));
    prop_oneof![
        Just(ReversePath::Null),
        mailbox,
        text().prop_map(ReversePath::Unparseable)
    ]
}

fn message() -> impl Strategy<Value = MessageFacts> {
    let author = prop_oneof![
        domain().prop_map(Author::One),
        Just(Author::Missing),
        vec(domain(), 2..5).prop_map(Author::Several),
        text().prop_map(Author::Unparseable),
    ];
    (author, of(text()), of(text()), any::<u64>(), any::<u32>()).prop_map(
        |(author, message_id, list_id, size, forged_results)| MessageFacts {
            author,
            message_id,
            list_id,
            size,
            forged_results,
        },
    )
}

fn evidence() -> impl Strategy<Value = Evidence> {
    let iprev = (word(IprevResult::ALL), of(text()), text()).prop_map(|(result, name, grounds)| {
        IprevOutcome {
            result,
            name,
            grounds,
        }
    });
    (
        spf(),
        spf(),
        vec(signature(), 0..4),
        vec((text(), text()), 0..2),
        iprev,
        of(arc()),
    )
        .prop_map(
            |(mail_from, helo, signatures, not_tried, iprev, arc)| Evidence {
                spf: SpfEvidence { mail_from, helo },
                dkim: DkimEvidence {
                    signatures,
                    not_tried: not_tried
                        .into_iter()
                        .map(|(domain, selector)| NotTried { domain, selector })
                        .collect(),
                },
                iprev,
                arc,
            },
        )
}

fn arc() -> impl Strategy<Value = ArcEvidence> {
    let set = (text(), text(), text());
    (word(ArcResult::ALL), vec(set, 0..4), text()).prop_map(|(result, sets, reason)| ArcEvidence {
        result,
        sets: (1..)
            .zip(sets)
            .map(|(instance, (sealer, selector, results))| ArcSet {
                instance,
                sealer,
                selector,
                results,
            })
            .collect(),
        reason,
    })
}

fn spf() -> impl Strategy<Value = SpfOutcome> {
    let matched = (text(), text()).prop_map(|(term, domain)| MatchedTerm { term, domain });
    let texts = (of(text()), of(text()), of(text()));
    (
        text(),
        word(SpfResult::ALL),
        of(matched),
        texts,
        any::<(u8, u8)>(),
    )
        .prop_map(
            |(domain, result, matched, (problem, explanation, record), lookups)| SpfOutcome {
                domain,
                result,
                grounds: SpfGrounds {
                    matched,
                    problem,
                    explanation,
                    record,
                    lookups: lookups.0,
                    void_lookups: lookups.1,
                },
            },
        )
}

fn signature() -> impl Strategy<Value = SignatureOutcome> {
    let names = (text(), text(), of(text()), text(), text());
    let flags = any::<(Option<u32>, bool, u64, bool, bool)>();
    (names, word(DkimResult::ALL), text(), flags).prop_map(|(names, result, reason, flags)| {
        SignatureOutcome {
            domain: names.0,
            selector: names.1,
            identity: names.2,
            algorithm: names.3,
            b_prefix: names.4,
            result,
            grounds: DkimGrounds {
                reason,
                key_bits: flags.0,
                testing: flags.1,
                unsigned_octets: flags.2,
                may_align: flags.3,
                headers_intact: flags.4,
            },
        }
    })
}

fn evaluation() -> impl Strategy<Value = Evaluation> {
    let policy = (
        domain(),
        word(DiscoveryMethod::ALL),
        record(),
        word(PolicyTag::ALL),
    )
        .prop_flat_map(|(domain, method, record, tag)| {
            (word(Policy::ALL), word(Policy::ALL)).prop_map(move |(selected, applied)| {
                PublishedPolicy {
                    domain: domain.clone(),
                    method,
                    record: record.clone(),
                    tag,
                    selected,
                    applied,
                }
            })
        });
    let step = (text(), finding()).prop_map(|(name, found)| Step { name, found });
    let found = (of(policy), vec(step, 0..4), alignment(), alignment());
    (
        domain(),
        word(DmarcResult::ALL),
        found,
        of(domain()),
        text(),
    )
        .prop_map(
            |(author_domain, result, found, organizational_domain, grounds)| Evaluation {
                author_domain,
                result,
                policy: found.0,
                discovery: found.1,
                spf: found.2,
                dkim: found.3,
                organizational_domain,
                grounds,
            },
        )
}

fn finding() -> impl Strategy<Value = Finding> {
    prop_oneof![
        record().prop_map(|record| Finding::Record(Box::new(record))),
        vec(text(), 2..4).prop_map(Finding::Several),
        select(vec![
            Finding::NotDmarc,
            Finding::NoData,
            Finding::NxDomain,
            Finding::TooLong,
            Finding::Error(LookupError::Timeout),
            Finding::Error(LookupError::ServerFailure),
            Finding::Error(LookupError::Deadline),
            Finding::Error(LookupError::BadAnswer),
            Finding::Error(LookupError::Unreachable),
        ]),
    ]
}

fn record() -> impl Strategy<Value = Record> {
    let policies = (
        word(Policy::ALL),
        of(word(Policy::ALL)),
        of(word(Policy::ALL)),
    );
    let modes = (
        word(AlignmentMode::ALL),
        word(AlignmentMode::ALL),
        word(PsdFlag::ALL),
    );
    let lists = (vec(text(), 0..3), vec(text(), 0..3), vec(text(), 0..3));
    (
        text(),
        policies,
        modes,
        any::<(bool, bool)>(),
        text(),
        lists,
    )
        .prop_map(
            |(text, (p, sp, np), (adkim, aspf, psd), flags, fo, (rua, ruf, problems))| Record {
                text,
                p,
                sp,
                np,
                adkim,
                aspf,
                psd,
                testing: flags.0,
                fo,
                rua,
                ruf,
                usable: flags.1,
                problems,
            },
        )
}

fn alignment() -> impl Strategy<Value = Alignment> {
    let identifier = (domain(), of(domain()), word(IdentifierAlignment::ALL)).prop_map(
        |(domain, organizational_domain, alignment)| Identifier {
            domain,
            organizational_domain,
            alignment,
        },
    );
    (any::<bool>(), vec(identifier, 0..3)).prop_map(|(aligned, identifiers)| Alignment {
        aligned,
        identifiers,
    })
}

fn decision() -> impl Strategy<Value = Decision> {
    let reason = (word(OverrideType::ALL), of(text()))
        .prop_map(|(kind, comment)| PolicyOverride { kind, comment });
    let words = (
        word(Cause::ALL),
        of(word(Policy::ALL)),
        word(Disposition::ALL),
    );
    (words, word(Action::ALL), vec(reason, 0..3), of(rule())).prop_map(
        |((cause, published, disposition), action, reasons, rule)| {
            let mut reasons = reasons.into_iter();
            let decision = match reasons.next() {
                None => Decision::follow(cause, published, disposition, action),
                Some(reason) => {
                    let more = reasons.collect();
                    Decision::depart(cause, published, disposition, action, reason, more)
                }
            };
            match rule {
                Some(rule) => decision.under(rule),
                None => decision,
            }
        },
    )
}

fn rule() -> impl Strategy<Value = RuleUse> {
    let met = (word(EvidenceKind::ALL), text()).prop_map(|(kind, found)| Met { kind, found });
    let key = "[a-z0-9-]{1,64}".prop_map(|key| RuleKey::parse(&key).expect("a key"));
    (key, word(RuleEffect::ALL), vec(met, 0..4)).prop_map(|(key, effect, met)| RuleUse {
        key,
        effect,
        met,
    })
}

/// One of an enum's words.
fn word<T: Copy + std::fmt::Debug + 'static>(
    all: &'static [T],
) -> impl Strategy<Value = T> + Clone {
    select(all)
}

fn domain() -> impl Strategy<Value = DomainName> {
    "[a-z0-9_]([a-z0-9-]{0,5}[a-z0-9])?(\\.[a-z]{1,6}){0,3}"
        .prop_map(|text| DomainName::parse(&text).expect("a domain"))
}

/// Short texts, most of them ordinary, some with everything that SQL, JSON and C dislike.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-zA-Z0-9 .@=;:/_-]{0,24}",
        "[a-z'\"\\\\\0\r\n\t\u{7f}\u{e9}\u{1f4ec}\u{202e}%?]{0,12}",
    ]
}

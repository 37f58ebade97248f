//! DMARC over random zones: what is left unasked changes nothing, what fails is never taken for an
//! answer, and nobody asks more than the RFC allows.

#[path = "support/candidates.rs"]
mod candidates;
#[path = "support/evidence.rs"]
mod evidence;
#[path = "support/recording.rs"]
mod recording;
#[path = "support/dmarc_world.rs"]
mod world;

use alignd::auth::DmarcResult;
use alignd::auth::dmarc::{
    AlignmentMode, DiscoveryMethod, Policy, PsdFlag, Record, discover, record,
};
use alignd::dns::zone::Zone;
use alignd::dns::{Answer, QueryName, Resolver};
use alignd::domain::DomainName;
use candidates::candidates;
use proptest::prelude::*;
use recording::Recording;
use std::collections::BTreeSet;
use world::{World, ask, domain, now, worlds};

/// Everything that a record can say of policy, alignment and the walk.
fn records() -> Vec<&'static str> {
    vec![
        "v=DMARC1; p=reject",
        "v=DMARC1; p=reject",
        "v=DMARC1; p=quarantine; sp=none; np=reject",
        "v=DMARC1; p=none; sp=reject; np=quarantine; adkim=s",
        "v=DMARC1; p=reject; aspf=s; adkim=s",
        "v=DMARC1; p=reject; psd=y; np=none",
        "v=DMARC1; p=quarantine; psd=n",
        "v=DMARC1; t=y; p=reject; sp=quarantine",
        "v=DMARC1; psd=n",
        "v=DMARC1",
        "v=spf1 -all",
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// Walking everything to its end, one domain after the other, says the same.
    #[test]
    fn what_is_not_asked_changes_nothing(world in worlds(records())) {
        let seen = world.evaluate(&world.zone());
        let expected = plain(&world);
        let policy = seen.policy.as_ref();
        let policy = policy.map(|policy| (policy.domain.to_string(), policy.selected, policy.applied));
        prop_assert_eq!(
            (seen.result, policy, seen.spf.aligned, seen.dkim.aligned),
            (expected.result, expected.policy, expected.spf, expected.dkim),
            "{}", seen.grounds
        );
    }

    /// With failures the result is temperror or what it would have been without them, and so is the
    /// policy of a message that fails.
    #[test]
    fn a_failure_is_never_taken_for_an_answer(world in worlds(records())) {
        let seen = world.evaluate(&world.failing_zone());
        let whole = world.evaluate(&world.zone());
        if seen.result != DmarcResult::Temperror {
            prop_assert_eq!(seen.result, whole.result, "{} but {}", seen.grounds, whole.grounds);
        }
        if seen.result == DmarcResult::Fail {
            prop_assert_eq!(seen.policy, whole.policy);
        }
    }

    /// No name twice, at most 8 for each domain, one more for existence; a walk shows what it asked.
    #[test]
    fn questions_have_a_bound(world in worlds(records())) {
        let resolver = Recording::new(world.failing_zone());
        world.evaluate(&resolver);
        let asked = resolver.asked();
        let each: BTreeSet<&String> = asked.iter().collect();
        prop_assert_eq!(each.len(), asked.len(), "{:?}", &asked);
        let distinct: BTreeSet<DomainName> = candidates(&world.results()).into_iter().collect();
        prop_assert!(asked.len() <= 8 + 8 * distinct.len() + 1);
        let method = DiscoveryMethod::TreeWalk;
        let author = domain(&world.author);
        let shown = now(discover::discover(&author, method, &resolver));
        let asked = resolver.asked().into_iter().filter(|name| !name.starts_with("A "));
        let steps: Vec<_> = shown.steps.into_iter().map(|step| step.name).collect();
        prop_assert!(steps.len() <= 8);
        prop_assert_eq!(asked.collect::<Vec<_>>(), steps);
    }
}

/// What the RFC says, read once more and done the long way.
struct Plain {
    result: DmarcResult,
    policy: Option<(String, Policy, Policy)>,
    spf: bool,
    dkim: bool,
}

fn plain(world: &World) -> Plain {
    let zone = world.zone();
    let author = domain(&world.author);
    let mut plain = Plain {
        result: DmarcResult::None,
        policy: None,
        spf: false,
        dkim: false,
    };
    let Some((at, record)) = policy_record(&zone, &author) else {
        return plain;
    };
    if !record.usable {
        return plain;
    }
    let missing = now(zone.a(&QueryName::from(&author))) == Ok(Answer::NxDomain);
    let selected = match (at == author, missing) {
        (true, _) => record.p,
        (false, true) => record.np.or(record.sp).unwrap_or(record.p),
        (false, false) => record.sp.unwrap_or(record.p),
    };
    let applied = match (record.testing, selected) {
        (true, Policy::Reject) => Policy::Quarantine,
        (true, Policy::Quarantine | Policy::None) => Policy::None,
        (false, policy) => policy,
    };
    plain.policy = Some((at.to_string(), selected, applied));
    let aligned = |name: &str, mode| {
        let name = domain(name);
        name == author
            || mode == AlignmentMode::Relaxed
                && organization(&zone, &name) == organization(&zone, &author)
    };
    let mut open = false;
    for word in world.results.split_whitespace() {
        let (mechanism, rest) = word.split_once('=').unwrap();
        let (result, name) = rest.split_once(':').unwrap();
        let (flag, mode) = if mechanism == "spf" {
            (&mut plain.spf, record.aspf)
        } else {
            (&mut plain.dkim, record.adkim)
        };
        match result {
            "pass" => *flag |= aligned(name, mode),
            "temperror" => open |= aligned(name, mode),
            _ => {}
        }
    }
    plain.result = if plain.spf || plain.dkim {
        DmarcResult::Pass
    } else if open {
        DmarcResult::Temperror
    } else {
        DmarcResult::Fail
    };
    plain
}

/// §4.10.1: the author's record, that of its organization, that of its public suffix, among those that
/// the walk retrieves. An Organizational Domain one label below `psd=y` can be a name that the walk of
/// a long author leaps over: its record is not asked for, "Author Domains with more than eight labels
/// do not result in more than eight DNS queries".
fn policy_record(zone: &Zone, author: &DomainName) -> Option<(DomainName, Record)> {
    let walk = walk(zone, author);
    let at = |name: &DomainName| walk.iter().find(|(found, _)| found == name);
    let suffix = || walk.iter().find(|(_, record)| record.psd == PsdFlag::Yes);
    let found = at(author).or_else(|| at(&organization(zone, author)));
    found.or_else(suffix).cloned()
}

/// §4.10.2.
fn organization(zone: &Zone, start: &DomainName) -> DomainName {
    let walk = walk(zone, start);
    for (name, record) in &walk {
        match record.psd {
            PsdFlag::No => return name.clone(),
            PsdFlag::Yes if name != start => return start.suffix(name.label_count() + 1).unwrap(),
            PsdFlag::Yes | PsdFlag::Unknown => {}
        }
    }
    walk.last().map_or(start, |(name, _)| name).clone()
}

/// §4.10: the records from `start` upwards.
fn walk(zone: &Zone, start: &DomainName) -> Vec<(DomainName, Record)> {
    let above = (1..start.label_count().min(8)).rev();
    let names = [start.clone()]
        .into_iter()
        .chain(above.map(|count| start.suffix(count).unwrap()));
    let mut found = Vec::new();
    for name in names {
        if let Some(record) = single(zone, &name) {
            let last = record.psd != PsdFlag::Unknown;
            found.push((name, record));
            if last {
                break;
            }
        }
    }
    found
}

fn single(zone: &Zone, name: &DomainName) -> Option<Record> {
    let answer = now(zone.txt(&ask(&format!("_dmarc.{name}")))).unwrap();
    let texts = answer.records().iter();
    let mut records: Vec<Record> = texts
        .filter_map(|txt| record::parse(txt.as_bytes()))
        .collect();
    if records.len() == 1 {
        records.pop()
    } else {
        None
    }
}

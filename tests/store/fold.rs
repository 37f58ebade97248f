//! What a day has to report: which messages count, once each, and what their rows say.

use crate::verdicts::any_verdict;
use crate::{NOW, outcome, plain_verdict::plain_verdict, settings};
use alignd::auth::Evidence;
use alignd::auth::dmarc::{Evaluation, Policy};
use alignd::domain::DomainName;
use alignd::outcome::{Outcome, OutcomeSource, OutcomeState};
use alignd::report::aggregate::Row;
use alignd::store::{
    Building, CoveredTo, DaySummary, Include, MAX_POLICIES, Pending, Range, Reader, Selection,
    Store,
};
use alignd::time::UtcDay;
use alignd::verdict::{Verdict, Weight};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;

const ACCEPTED: Selection = Selection {
    include: Include::Accepted,
    envelope_to: false,
};

fn store(directory: &Path) -> (Store, Reader) {
    let store = Store::open(&settings(directory), NOW).unwrap();
    (store, Reader::open(directory).unwrap())
}

async fn record(store: &Store, verdict: &Verdict, moves: &[Move]) {
    store.record(Arc::new(verdict.clone())).await.unwrap();
    for (state, source) in moves {
        store.confirm(verdict.id, outcome(*state, *source));
    }
}

async fn accept(store: &Store, verdict: &Verdict) {
    let moves = [(OutcomeState::Accepted, OutcomeSource::Reply)];
    record(store, verdict, &moves).await;
}

/// Confirmations are not waited for; a verdict recorded after them is.
async fn settle(store: &Store, nth: u32) {
    let mut last = plain_verdict("settles.example", NOW, 1_000_000 + nth);
    last.evaluation = None;
    store.record(Arc::new(last)).await.unwrap();
}

type Move = (OutcomeState, OutcomeSource);

type Rows = BTreeMap<String, (DaySummary, Vec<(usize, Row)>)>;

/// A day's rows by domain.
fn folded(reader: &Reader, pending: &Pending, selection: Selection, place: &Path) -> Rows {
    folded_beside(reader, pending, selection, &[], place)
}

/// The same, where these ranges are covered, whatever their domain.
fn folded_beside(
    reader: &Reader,
    pending: &Pending,
    selection: Selection,
    covered: &[Building],
    place: &Path,
) -> Rows {
    let covered_by = |day: UtcDay, _: &DomainName| {
        Ok(covered
            .iter()
            .filter(|past| past.day == day)
            .copied()
            .collect())
    };
    let mut folded = reader.fold(pending, selection, &covered_by, place).unwrap();
    let mut found = Rows::new();
    for summary in folded.domains().to_vec() {
        let mut rows = Vec::new();
        while let Some(row) = folded.next_row(&summary).unwrap() {
            rows.push(row);
        }
        found.insert(summary.policy_domain.to_string(), (summary, rows));
    }
    found
}

fn counts(rows: &Rows) -> String {
    let texts: Vec<String> = rows
        .iter()
        .map(|(domain, (_, rows))| {
            let count: u64 = rows.iter().map(|(_, row)| row.count).sum();
            format!("{}:{count}", domain.trim_end_matches(".example"))
        })
        .collect();
    texts.join(" ")
}

#[tokio::test]
async fn what_counts_is_what_holds_now_and_once() {
    use OutcomeSource::{Log, Operator, Queue, Reply};
    use OutcomeState::{
        Accepted, Deleted, Held, RefusedLater, Rejected, Released, Tempfailed, Unknown,
    };
    // Under accepted, accepted+held, all.
    let table: &[(&[Move], [u64; 3])] = &[
        (&[], [0, 0, 0]),
        (&[(Accepted, Reply)], [1, 1, 1]),
        (&[(Rejected, Reply)], [0, 0, 1]),
        (&[(Tempfailed, Reply)], [0, 0, 0]),
        (&[(Unknown, Reply)], [0, 0, 0]),
        (&[(Unknown, Reply), (Accepted, Log)], [1, 1, 1]),
        (&[(Unknown, Reply), (RefusedLater, Operator)], [0, 0, 1]),
        (&[(Accepted, Reply), (RefusedLater, Log)], [0, 0, 1]),
        (&[(Accepted, Reply), (Deleted, Log)], [0, 0, 1]),
        (&[(Held, Reply)], [0, 1, 1]),
        (&[(Held, Reply), (Released, Operator)], [1, 1, 1]),
        (&[(Held, Reply), (Deleted, Operator)], [0, 1, 1]),
        (&[(Held, Reply), (Unknown, Queue)], [0, 1, 1]),
        (&[(Held, Reply), (RefusedLater, Log)], [0, 1, 1]),
        (&[(Accepted, Reply), (Held, Queue)], [0, 1, 1]),
        (
            &[(Accepted, Reply), (Held, Queue), (Released, Log)],
            [1, 1, 1],
        ),
        (
            &[(Accepted, Reply), (Held, Queue), (Deleted, Log)],
            [0, 1, 1],
        ),
        (&[(Held, Reply), (Released, Log), (Deleted, Log)], [0, 1, 1]),
        (&[(Held, Reply), (Released, Log), (Held, Log)], [0, 1, 1]),
        (
            &[(Held, Reply), (Released, Log), (RefusedLater, Log)],
            [0, 1, 1],
        ),
    ];
    let directory = tempfile::tempdir().unwrap();
    let (store, reader) = store(directory.path());
    for (nth, (moves, _)) in (0..).zip(table) {
        let verdict = plain_verdict(&format!("d{nth}.example"), NOW, nth);
        record(&store, &verdict, moves).await;
    }
    store.close().await;
    let pending = reader.pending(NOW.day(), &HashMap::new()).unwrap();
    for (which, &include) in Include::ALL.iter().enumerate() {
        let selection = Selection {
            include,
            ..ACCEPTED
        };
        let found = folded(&reader, &pending, selection, directory.path());
        for (nth, (moves, expected)) in table.iter().enumerate() {
            let domain = found.get(&format!("d{nth}.example"));
            let counted = domain.map_or(0, |(summary, _)| summary.messages);
            assert_eq!(counted, expected[which], "{include}: {moves:?}");
        }
    }
}

/// How far each domain is covered, and by which ranges.
#[derive(Clone, Default)]
struct Covered {
    to: HashMap<String, CoveredTo>,
    ranges: Vec<Building>,
}

/// However often a day is reported, and whatever becomes of its mail in between.
#[tokio::test]
async fn no_message_is_counted_in_two_ranges() {
    let directory = tempfile::tempdir().unwrap();
    let (store, reader) = store(directory.path());
    let place = directory.path();
    let verdicts: Vec<Verdict> = (0..6)
        .map(|nth| plain_verdict(["a.example", "b.example"][nth as usize % 2], NOW, nth))
        .collect();
    let mut covered = Covered::default();
    let look = |covered: &mut Covered, include: Include| {
        let pending = reader.pending(NOW.day(), &covered.to).unwrap();
        let selection = Selection {
            include,
            ..ACCEPTED
        };
        let found = folded_beside(&reader, &pending, selection, &covered.ranges, place);
        for domain in &pending.domains {
            let name = domain.policy_domain.as_str();
            let to = covered.to.get(name).copied().unwrap_or_default();
            assert_eq!((domain.after, domain.reported), (to.up_to, to.reported));
            let to = CoveredTo {
                up_to: pending.up_to,
                reported: true,
            };
            covered.to.insert(name.to_owned(), to);
        }
        covered.ranges.push(Building {
            day: NOW.day(),
            range: Range {
                after: covered.ranges.last().map_or(0, |last| last.range.up_to),
                up_to: pending.up_to,
            },
            include,
        });
        counts(&found)
    };
    for verdict in &verdicts[..3] {
        accept(&store, verdict).await;
    }
    settle(&store, 0).await;
    assert_eq!(look(&mut covered, Include::Accepted), "a:2 b:1");
    assert_eq!(look(&mut covered, Include::Accepted), "");
    // One comes late; one that was reported is refused after all.
    accept(&store, &verdicts[3]).await;
    let refused = outcome(OutcomeState::RefusedLater, OutcomeSource::Log);
    store.confirm(verdicts[0].id, refused.clone());
    settle(&store, 1).await;
    let mut other = covered.clone();
    assert_eq!(look(&mut covered, Include::Accepted), "a:0 b:1");
    assert_eq!(look(&mut other, Include::All), "a:0 b:1");
    // Accepted and refused between two looks: of no interest to one, one message to the other.
    accept(&store, &verdicts[4]).await;
    store.confirm(verdicts[4].id, refused);
    settle(&store, 2).await;
    assert_eq!(look(&mut covered, Include::Accepted), "a:0");
    assert_eq!(look(&mut other, Include::All), "a:1");
    store.close().await;
}

#[tokio::test]
async fn the_day_is_that_of_the_answer() {
    let directory = tempfile::tempdir().unwrap();
    let (store, reader) = store(directory.path());
    let verdict = plain_verdict("a.example", NOW, 1);
    store.record(Arc::new(verdict.clone())).await.unwrap();
    let next_day = UtcDay::from_number(NOW.day().number() + 1);
    let accepted = Outcome {
        at: next_day.begin(),
        ..outcome(OutcomeState::Accepted, OutcomeSource::Reply)
    };
    store.confirm(verdict.id, accepted);
    store.close().await;
    for (day, domains) in [(NOW.day(), 0), (next_day, 1)] {
        let pending = reader.pending(day, &HashMap::new()).unwrap();
        assert_eq!(pending.domains.len(), domains, "{day}");
    }
    let last = reader.last_outcome().unwrap();
    assert_eq!(last, 2);
    let days = |after, up_to| reader.days_between(after, up_to).unwrap();
    assert_eq!(days(0, last), [(next_day, last)]);
    assert_eq!(days(last, last), []);
    assert_eq!(days(0, 1), []);
}

#[tokio::test]
async fn days_are_told_apart_with_the_last_of_each() {
    let directory = tempfile::tempdir().unwrap();
    let (store, reader) = store(directory.path());
    let next_day = NOW.plus_micros(86_400_000_000);
    for (at, nth) in [(NOW, 0), (next_day, 1), (NOW, 2), (next_day, 3)] {
        let verdict = plain_verdict("a.example", at, nth);
        store.record(Arc::new(verdict.clone())).await.unwrap();
        let accepted = Outcome {
            at,
            ..outcome(OutcomeState::Accepted, OutcomeSource::Reply)
        };
        store.confirm(verdict.id, accepted);
        settle(&store, nth).await;
    }
    store.close().await;
    let last = reader.last_outcome().unwrap();
    let days = reader.days_between(0, last).unwrap();
    let told: Vec<UtcDay> = days.iter().map(|(day, _)| *day).collect();
    assert_eq!(told, [NOW.day(), next_day.day()]);
    let (first, second) = (days[0].1, days[1].1);
    assert!(first < second, "the last of each: {days:?}");
    assert_eq!(
        reader.days_between(first, last).unwrap(),
        [(next_day.day(), second)]
    );
}

/// Held on one day, released on another.
#[tokio::test]
async fn a_release_says_what_was_done_in_the_end() {
    use alignd::policy::{Action, Cause, Decision, Disposition, OverrideType, PolicyOverride};
    let directory = tempfile::tempdir().unwrap();
    let (store, reader) = store(directory.path());
    let local = PolicyOverride {
        kind: OverrideType::LocalPolicy,
        comment: Some("held for review instead of rejected".to_owned()),
    };
    let mailing_list = PolicyOverride {
        kind: OverrideType::MailingList,
        comment: Some("of a list".to_owned()),
    };
    let next = UtcDay::from_number(NOW.day().number() + 1);
    let mut verdict = plain_verdict("a.example", NOW, 1);
    verdict.decision = Decision::depart(
        Cause::FailReject,
        Some(Policy::Reject),
        Disposition::Quarantine,
        Action::Hold,
        local,
        Vec::new(),
    );
    record(
        &store,
        &verdict,
        &[(OutcomeState::Held, OutcomeSource::Reply)],
    )
    .await;
    let released = Outcome {
        because: Some(mailing_list.clone()),
        ..Outcome::new(
            OutcomeState::Released,
            next.begin(),
            OutcomeSource::Operator,
        )
    };
    store.confirm(verdict.id, released);
    store.close().await;
    let said = |day, include| {
        let pending = reader.pending(day, &HashMap::new()).unwrap();
        let selection = Selection {
            include,
            ..ACCEPTED
        };
        let found = folded(&reader, &pending, selection, directory.path());
        let rows = found.into_values().flat_map(|(_, rows)| rows);
        let said = rows.map(|(_, row)| (row.evaluated.disposition, row.evaluated.reasons));
        said.collect::<Vec<_>>()
    };
    assert_eq!(said(NOW.day(), Include::Accepted), []);
    let expected = (Disposition::None, vec![mailing_list]);
    assert_eq!(said(next, Include::Accepted), [expected]);
    let [(disposition, _)] = said(NOW.day(), Include::AcceptedHeld)[..] else {
        panic!("held, and not reported")
    };
    assert_eq!(disposition, Disposition::Quarantine);
}

#[tokio::test]
async fn mail_of_an_unknown_client_is_left_out_and_counted() {
    let directory = tempfile::tempdir().unwrap();
    let (store, reader) = store(directory.path());
    for nth in 0..5 {
        let mut verdict = plain_verdict("a.example", NOW, nth);
        if nth < 2 {
            verdict.envelope.client = None;
        }
        verdict.weight = Weight::IncludedOnly;
        accept(&store, &verdict).await;
    }
    accept(&store, &plain_verdict("b.example", NOW, 9)).await;
    store.close().await;
    let pending = reader.pending(NOW.day(), &HashMap::new()).unwrap();
    let found = folded(&reader, &pending, ACCEPTED, directory.path());
    let told = |domain: &str| {
        let summary = &found[domain].0;
        (summary.messages, summary.left_out, summary.triggers)
    };
    assert_eq!(told("a.example"), (3, 2, false));
    assert_eq!(told("b.example"), (1, 0, true));
}

/// A record that changes with every query makes no more than so many reports.
#[tokio::test]
async fn policies_of_a_day_have_a_bound_and_unknown_tags_make_none() {
    let directory = tempfile::tempdir().unwrap();
    let (store, reader) = store(directory.path());
    let fo = ["0", "1", "d", "s", "0:1", "0:d", "0:s", "1:d", "1:s", "d:s"];
    for nth in 0..20 {
        let mut verdict = plain_verdict("a.example", NOW, nth);
        let evaluation = verdict.evaluation.as_mut().unwrap();
        let record = &mut evaluation.policy.as_mut().unwrap().record;
        record.fo = fo[nth as usize / 2].to_owned();
        record.text = format!("v=DMARC1; p=reject; x={nth}");
        record.problems = vec![format!("x={nth}")];
        accept(&store, &verdict).await;
    }
    store.close().await;
    let pending = reader.pending(NOW.day(), &HashMap::new()).unwrap();
    let found = folded(&reader, &pending, ACCEPTED, directory.path());
    let (summary, rows) = &found["a.example"];
    assert_eq!(summary.policies.len(), MAX_POLICIES);
    let mut messages = [0; MAX_POLICIES];
    for (policy, row) in rows {
        messages[*policy] += row.count;
    }
    assert_eq!(messages, [2, 2, 2, 2, 2, 2, 2, 6]);
    assert!(rows.is_sorted_by_key(|(policy, _)| *policy));
    let last = reader.last_record(summary).unwrap();
    assert_eq!(last.record.problems, ["x=19"]);
    let first = reader.record_of(summary, 0).unwrap();
    assert_eq!(first.record.problems, ["x=1"]);
    assert_eq!(first.record.p, Policy::Reject);
}

/// Records that come by turns, as during a change of them.
#[tokio::test]
async fn the_last_record_of_each_policy_is_told_however_they_change() {
    let directory = tempfile::tempdir().unwrap();
    let (store, reader) = store(directory.path());
    let turns = [0, 0, 1, 2, 2, 0, 1, 1, 2];
    for (nth, turn) in turns.into_iter().enumerate() {
        let mut verdict = plain_verdict("a.example", NOW, nth as u32);
        let evaluation = verdict.evaluation.as_mut().unwrap();
        let record = &mut evaluation.policy.as_mut().unwrap().record;
        // 0 and 1 say the same.
        record.fo = ["0", "0", "1"][turn].to_owned();
        record.text = format!("v=DMARC1; p=reject; x={turn}");
        record.problems = vec![format!("x={turn}")];
        accept(&store, &verdict).await;
    }
    store.close().await;
    let pending = reader.pending(NOW.day(), &HashMap::new()).unwrap();
    let found = folded(&reader, &pending, ACCEPTED, directory.path());
    let (summary, rows) = &found["a.example"];
    let under = |policy| rows.iter().filter(|(place, _)| *place == policy).count();
    assert_eq!([under(0), under(1)], [6, 3]);
    let problems = |place| reader.record_of(summary, place).unwrap().record.problems;
    assert_eq!([problems(0), problems(1)], [["x=1"], ["x=2"]]);
    assert_eq!(
        reader.last_record(summary).unwrap().record.problems,
        ["x=2"]
    );
}

/// What is gone through in one pass and what is looked up domain by domain is the same.
#[tokio::test]
async fn many_domains_at_once_give_what_each_gives_alone() {
    let directory = tempfile::tempdir().unwrap();
    let (store, reader) = store(directory.path());
    for nth in 0..400 {
        let mut verdict = plain_verdict(&format!("d{}.example", nth % 90), NOW, nth);
        verdict.envelope.recipient_domains = (0..1 + nth % 2)
            .map(|n| DomainName::parse(&format!("r{n}.example")).unwrap())
            .collect();
        accept(&store, &verdict).await;
    }
    store.close().await;
    let pending = reader.pending(NOW.day(), &HashMap::new()).unwrap();
    assert_eq!(pending.domains.len(), 90);
    for envelope_to in [false, true] {
        let selection = Selection {
            envelope_to,
            ..ACCEPTED
        };
        let all = folded(&reader, &pending, selection, directory.path());
        let rows = all.values().flat_map(|(_, rows)| rows);
        let named = rows.filter(|(_, row)| row.envelope_to.is_some()).count();
        assert_eq!(named > 0, envelope_to);
        let mut alone = Rows::new();
        for index in 0..pending.domains.len() {
            let only = Pending::only(&pending, index).unwrap();
            alone.extend(folded(&reader, &only, selection, directory.path()));
        }
        assert_eq!(all.len(), alone.len());
        for ((summary, rows), (other, others)) in all.values().zip(alone.values()) {
            assert_eq!(summary.wanted(), other.wanted());
            assert_eq!(
                (summary.messages, summary.triggers, &summary.policies, rows),
                (other.messages, other.triggers, &other.policies, others)
            );
        }
        let counted: u64 = all.values().map(|(summary, _)| summary.messages).sum();
        assert_eq!(counted, 400);
    }
}

/// Rows as the verdicts themselves give them.
#[tokio::test]
async fn rows_say_what_the_verdicts_say() {
    let directory = tempfile::tempdir().unwrap();
    let (store, reader) = store(directory.path());
    let mut runner = TestRunner::deterministic();
    let mut expected: BTreeMap<String, BTreeMap<String, u64>> = BTreeMap::new();
    for nth in 0..400 {
        let mut verdict = match nth % 3 {
            0 => any_reported(&mut runner),
            _ => plain_verdict(&format!("d{}.example", nth % 5), NOW, nth % 20),
        };
        verdict.id = plain_verdict("x.example", NOW, nth).id;
        accept(&store, &verdict).await;
        if let Some((domain, row)) = expected_row(&verdict) {
            let rows = expected.entry(domain.to_string()).or_default();
            *rows.entry(format!("{row:?}")).or_default() += 1;
        }
    }
    store.close().await;
    let pending = reader.pending(NOW.day(), &HashMap::new()).unwrap();
    let mut found: BTreeMap<String, BTreeMap<String, u64>> = BTreeMap::new();
    for (domain, (_, rows)) in folded(&reader, &pending, ACCEPTED, directory.path()) {
        for (_, mut row) in rows {
            let count = std::mem::replace(&mut row.count, 1);
            row.dkim.sort_by_key(|dkim| format!("{dkim:?}"));
            let folded = found.entry(domain.clone()).or_default();
            // Once for each policy.
            *folded.entry(format!("{row:?}")).or_default() += count;
        }
    }
    let rows: usize = expected.values().map(BTreeMap::len).sum();
    assert!(rows > 60, "{rows} different rows");
    assert_eq!(found, expected);
}

/// Most random verdicts lack something that a report needs: also tries those, but not for long.
fn any_reported(runner: &mut TestRunner) -> Verdict {
    let mut verdict = any_verdict().new_tree(runner).unwrap().current();
    for _ in 0..20 {
        if expected_row(&verdict).is_some() {
            break;
        }
        verdict = any_verdict().new_tree(runner).unwrap().current();
    }
    verdict
}

/// `None`: not to be reported.
fn expected_row(verdict: &Verdict) -> Option<(DomainName, Row)> {
    use alignd::address::ReversePath;
    use alignd::message::author::Author;
    use alignd::report::aggregate::{DkimRow, PolicyEvaluated, SpfRow};
    let evaluation: &Evaluation = verdict.evaluation.as_ref()?;
    let policy = evaluation.policy.as_ref()?;
    let Author::One(header_from) = &verdict.message.author else {
        return None;
    };
    let evidence: &Evidence = &verdict.evidence;
    let signatures = evidence.dkim.signatures.iter();
    let mut dkim: Vec<DkimRow> = signatures
        .map(|signature| DkimRow {
            domain: signature.domain.clone(),
            selector: signature.selector.clone(),
            result: signature.result,
            human_result: signature.grounds.reason.clone(),
        })
        .collect();
    dkim.sort_by_key(|dkim| format!("{dkim:?}"));
    let spf = &evidence.spf.mail_from;
    let row = Row {
        source_ip: verdict.envelope.client?,
        count: 1,
        evaluated: PolicyEvaluated {
            disposition: verdict.decision.disposition(),
            dkim: evaluation.dkim.aligned,
            spf: evaluation.spf.aligned,
            reasons: verdict.decision.overrides().to_vec(),
        },
        header_from: header_from.clone(),
        envelope_from: match &verdict.envelope.mail_from {
            ReversePath::Null => Some(String::new()),
            ReversePath::Mailbox(mailbox) => Some(mailbox.domain.to_string()),
            ReversePath::Unparseable(_) => None,
        },
        envelope_to: None,
        dkim,
        spf: (!spf.domain.is_empty()).then(|| SpfRow {
            domain: spf.domain.clone(),
            result: spf.result,
            human_result: spf.grounds.problem.clone().unwrap_or_default(),
        }),
    };
    Some((policy.domain.clone(), row))
}

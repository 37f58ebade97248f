//! Whatever becomes of mail, however often its days are reported and under whichever `report.include`: no
//! message is counted twice, and what was accepted in the end is counted.

use crate::{NOW, plain_verdict::plain_verdict, settings};
use alignd::build_report::{
    Asked, BuildSettings, Builder, Built, Destinations, Traced, Unreported, look, trace,
};
use alignd::domain::DomainName;
use alignd::outcome::{Outcome, OutcomeSource, OutcomeState};
use alignd::report::aggregate::{Format, Reporter};
use alignd::store::{Change, Destination, Include, Reader, Reports, Standing, Store};
use alignd::time::{Clock, Timestamp, UtcDay};
use alignd::verdict::Verdict;
use proptest::prelude::Rng;
use proptest::test_runner::TestRunner;
use std::path::Path;
use std::sync::Arc;
use tokio::runtime::Handle;

const DAY: i64 = 86_400_000_000;
const WORLDS: u32 = 6;
const MESSAGES: u32 = 90;
const ROUNDS: u32 = 8;

struct At(Timestamp);

impl Clock for At {
    fn now(&self) -> Timestamp {
        self.0
    }
}

struct AsPublished;

impl Destinations for AsPublished {
    async fn of(&self, _: &Asked) -> Vec<Destination> {
        vec![Destination {
            uri: "mailto:reports@example.com".to_owned(),
            address: Some("reports@example.com".to_owned()),
            standing: Standing::Verified(NOW),
        }]
    }
}

struct World<'a> {
    place: &'a Path,
    store: Store,
    reader: Reader,
    reports: Reports,
    verdicts: Vec<Verdict>,
}

impl World<'_> {
    fn build(&self, day: UtcDay, include: Include) -> Built {
        let settings = BuildSettings {
            reporter: Reporter {
                org_name: "Example".to_owned(),
                contact: "postmaster@reports.example".to_owned(),
                domain: DomainName::parse("reports.example").unwrap(),
            },
            format: Format::Rfc9990,
            include,
            envelope_to: false,
            min_messages: 1,
            skip_domains: Vec::new(),
            only_domains: Vec::new(),
            spool: self.place.to_owned(),
        };
        let builder = Builder {
            settings: &settings,
            reader: &self.reader,
            reports: &self.reports,
            destinations: &AsPublished,
            runtime: &Handle::current(),
            clock: &At(NOW.plus_micros(100 * DAY)),
        };
        tokio::task::block_in_place(|| builder.build_day(day, |_| {})).unwrap()
    }

    fn states(&self, nth: usize) -> Vec<(OutcomeState, UtcDay)> {
        let outcomes = self.reader.outcomes(self.verdicts[nth].id).unwrap();
        outcomes.iter().map(|o| (o.state, o.at.day())).collect()
    }

    /// How often a message was counted: each has a domain of its own.
    fn counted(&self, nth: usize, days: &[UtcDay]) -> u64 {
        let evaluation = self.verdicts[nth].evaluation.as_ref().unwrap();
        let domain = &evaluation.policy.as_ref().unwrap().domain;
        let covered = days.iter().map(|day| {
            let ranges = self.reports.covered(*day, domain).unwrap();
            ranges.iter().map(|range| range.messages).sum::<u64>()
        });
        covered.sum()
    }
}

/// A legal move, one of all.
fn any_move(from: OutcomeState, random: u32) -> Option<(OutcomeState, OutcomeSource)> {
    let mut legal = Vec::new();
    for &to in OutcomeState::ALL {
        for &source in OutcomeSource::ALL {
            if from.check_move(to, source) == Ok(true) {
                legal.push((to, source));
            }
        }
    }
    let place = random as usize % legal.len().max(1);
    legal.get(place).copied()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_message_counts_once_whatever_becomes_of_it() {
    let mut runner = TestRunner::deterministic();
    let mut random = || runner.rng().next_u32();
    let (mut histories, mut switched, mut long) = (0, 0, 0);
    for which in 0..WORLDS {
        let directory = tempfile::tempdir().unwrap();
        let settings = settings(directory.path());
        let store = Store::open(&settings, NOW).unwrap();
        let mut world = World {
            place: directory.path(),
            store,
            reader: Reader::open(directory.path()).unwrap(),
            reports: Reports::open(&settings, NOW).unwrap(),
            verdicts: Vec::new(),
        };
        // The operators of the first worlds never change their mind.
        let fixed = Include::ALL.get(which as usize).copied();
        let include_of = |random: u32| fixed.unwrap_or(Include::ALL[random as usize % 3]);
        for nth in 0..MESSAGES {
            let verdict = plain_verdict(&format!("d{nth}.example"), NOW, nth);
            world.store.record(Arc::new(verdict.clone())).await.unwrap();
            world.verdicts.push(verdict);
        }
        let mut days = vec![NOW.day()];
        for round in 0..ROUNDS {
            let now = NOW.plus_micros(i64::from(round / 2) * DAY + i64::from(round));
            if days.last() != Some(&now.day()) {
                days.push(now.day());
            }
            for nth in 0..world.verdicts.len() {
                if random() % 2 == 0 {
                    continue;
                }
                let from = world.states(nth).pop().unwrap().0;
                let Some((state, source)) = any_move(from, random()) else {
                    continue;
                };
                let verdict = world.verdicts[nth].id;
                let outcome = Outcome::new(state, now, source);
                let change = Change::Outcome { verdict, outcome };
                world.store.change(vec![change]).await.unwrap();
            }
            for _ in 0..random() % 3 {
                let day = days[random() as usize % days.len()];
                world.build(day, include_of(random()));
            }
        }
        look(&world.reader, &world.reports, NOW.day()).unwrap();
        let last = include_of(random());
        for day in &days {
            let built = world.build(*day, last);
            assert_eq!((built.failed, built.elsewhere), (0, 0));
        }
        for nth in 0..world.verdicts.len() {
            let states = world.states(nth);
            let counted = world.counted(nth, &days);
            let told = || format!("{states:?} under {fixed:?}");
            assert!(counted <= 1, "{counted} times: {}", told());
            let (end, _) = states.last().unwrap();
            if matches!(end, OutcomeState::Accepted | OutcomeState::Released) {
                assert_eq!(counted, 1, "{}", told());
            }
            let was = |state| states.iter().any(|(other, _)| *other == state);
            let takes_held = fixed.is_some_and(|include| include != Include::Accepted);
            if takes_held && was(OutcomeState::Held) {
                assert_eq!(counted, 1, "{}", told());
            }
            let traced = trace(
                &world.reader,
                Some(&world.reports),
                &world.verdicts[nth],
                last,
            )
            .unwrap();
            match traced {
                Traced::Reported(_) => assert_eq!(counted, 1, "{}", told()),
                Traced::Never(Unreported::Outcome) => assert_eq!(counted, 0, "{}", told()),
                other => panic!("{other:?}: {}", told()),
            }
            histories += 1;
            switched += u32::from(fixed.is_none());
            long += u32::from(states.len() > 3);
        }
        world.store.close().await;
        assert_eq!(world.reader.check().unwrap(), Vec::<String>::new());
    }
    println!(
        "histories: {histories} of {} messages counted at most once, {switched} under a changing \
         report.include, {long} with more than two moves",
        WORLDS * MESSAGES
    );
}

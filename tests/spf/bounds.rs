//! What holds for any input: an end within the limits, no panic, nothing unprintable in the grounds,
//! and temperror whenever DNS fails.

use crate::case::{Case, RECEIVER};
use crate::failing::FailingAt;
use crate::generated::{self, Style};
use crate::recording::Recording;
use crate::zone_data::{Entry, ZoneData};
use alignd::address::ReversePath;
use alignd::auth::SpfResult;
use alignd::auth::spf::eval::MAX_QUESTIONS;
use alignd::auth::spf::expand::MAX_EXPLANATION;
use alignd::auth::spf::{SpfOutcome, SpfRequest, check_helo, check_mail_from};
use alignd::dns::{LookupError, Resolver};
use alignd::time::Timestamp;
use futures_util::FutureExt;
use proptest::prelude::*;
use std::net::IpAddr;

proptest! {
    /// Any octets as record, explanation, HELO and MAIL FROM.
    #[test]
    fn any_octets_end_within_the_limits(
        record in any::<Vec<u8>>(), is_spf in any::<bool>(), explanation in any::<Vec<u8>>(),
        helo in any::<String>(), local_part in any::<String>(), client in any::<IpAddr>(),
    ) {
        let record = if is_spf { [b"v=spf1 ", &record[..]].concat() } else { record };
        let mut zone = ZoneData::default();
        zone.add("d.test", Entry::Txt(vec![record]));
        zone.add("why.test", Entry::Txt(vec![explanation]));
        for mail_from in [format!("{local_part}@d.test"), local_part, String::new()] {
            let case = Case {
                id: "any octets".to_owned(), helo: helo.clone(), client, mail_from,
                zone: zone.clone(),
            };
            is_bounded(&case)?;
        }
    }

    /// Records that come close to real ones.
    #[test]
    fn wild_records_end_within_the_limits(case in generated::case(Style::Wild)) {
        is_bounded(&case)?;
    }

    /// RFC 7208 §4.4 and §5: whichever look-up fails, the result is temperror; with the deadline even
    /// where a single failure would be forgiven (§5.5), but for the explanation, which comes later.
    #[test]
    fn a_failing_look_up_is_temperror(
        plain in generated::case(Style::Plain), wild in generated::case(Style::Wild),
        at in any::<prop::sample::Index>(),
    ) {
        for (case, error) in [
            (plain, LookupError::ServerFailure),
            (wild, LookupError::Deadline),
        ] {
            let whole = Recording::new(case.zone.zone());
            let undisturbed = asked(&case, &whole);
            let questions = whole.asked().len();
            if questions == 0 {
                continue;
            }
            let failing = FailingAt::new(case.zone.zone(), at.index(questions), error);
            let disturbed = asked(&case, &failing);
            let is_explanation_lost = undisturbed.result == SpfResult::Fail
                && disturbed.result == SpfResult::Fail
                && disturbed.grounds.explanation.is_none();
            prop_assert!(
                disturbed.result == SpfResult::Temperror || is_explanation_lost,
                "{undisturbed:?} became {disturbed:?}"
            );
        }
    }

    /// The order of records in an answer is chance.
    #[test]
    fn the_order_of_answers_does_not_matter(case in generated::case(Style::Plain)) {
        let mut turned = case.clone();
        for entries in turned.zone.0.values_mut() {
            entries.reverse();
        }
        let (one, other) = (asked(&case, &case.zone.zone()), asked(&turned, &turned.zone.zone()));
        prop_assert_eq!(one, other);
    }
}

/// The bound is reached: ten `mx` with ten exchanges, and an explanation that names the client.
#[test]
fn the_bound_is_tight() {
    let mut zone = ZoneData::default();
    let mechanisms: Vec<String> = (0..10).map(|i| format!("mx:m{i}.test")).collect();
    let record = format!("v=spf1 {} -all exp=%{{p}}.test", mechanisms.join(" "));
    zone.add("d.test", Entry::Txt(vec![record.into_bytes()]));
    for i in 0..10 {
        for j in 0..11 {
            let host = format!("h{j}.m{i}.test");
            zone.add(&host, Entry::A([198, 51, 100, 1].into()));
            zone.add("1.2.0.192.in-addr.arpa", Entry::Ptr(host.clone()));
            if j < 10 {
                zone.add(&format!("m{i}.test"), Entry::Mx(j, host));
            }
        }
    }
    assert_eq!(questions(zone), (SpfResult::Fail, MAX_QUESTIONS as usize));
}

/// Records that include and redirect to themselves end by the limit of terms.
#[test]
fn include_bombs_end() {
    let include = "include:d.test ".repeat(1_000);
    for record in [
        format!("v=spf1 {include}-all"),
        "v=spf1 redirect=d.test".to_owned(),
        "v=spf1 include:%{d} redirect=%{d}".to_owned(),
    ] {
        let mut zone = ZoneData::default();
        zone.add("d.test", Entry::Txt(vec![record.into_bytes()]));
        assert_eq!(questions(zone), (SpfResult::Permerror, 11));
    }
}

/// RFC 7208 §4.3: "Internationalized domain names MUST be encoded as A-labels": what has no A-label is
/// not asked for, and shown without what a terminal could obey.
#[test]
fn a_helo_without_a_label_is_not_asked_for() {
    for (record, expected) in [
        ("v=spf1 redirect=%{h}.test", SpfResult::Permerror),
        ("v=spf1 include:%{h}.test", SpfResult::Permerror),
        ("v=spf1 a:%{h}.test ~all", SpfResult::Softfail),
    ] {
        let mut zone = ZoneData::default();
        zone.add("d.test", Entry::Txt(vec![record.as_bytes().to_vec()]));
        let case = Case {
            helo: "\u{1b}[2J\u{fc}".to_owned(),
            ..user_of_d_test(zone)
        };
        let recording = Recording::new(case.zone.zone());
        assert_eq!(asked(&case, &recording).result, expected, "{record}");
        assert_eq!(recording.asked(), ["d.test"], "{record}");
    }
}

#[test]
fn checks_can_move_between_threads() {
    fn can_move<T: Send>(_: T) {}
    let case = &generated::cases(Style::Plain, 1)[0];
    let zone = case.zone.zone();
    let path = ReversePath::Null;
    let request = request(case, &path);
    can_move(check_helo(&request, &zone));
    can_move(check_mail_from(&request, &zone));
}

fn user_of_d_test(zone: ZoneData) -> Case {
    Case {
        id: String::new(),
        helo: "d.test".to_owned(),
        client: [192, 0, 2, 1].into(),
        mail_from: "user@d.test".to_owned(),
        zone,
    }
}

fn questions(zone: ZoneData) -> (SpfResult, usize) {
    let case = user_of_d_test(zone);
    let recording = Recording::new(case.zone.zone());
    let outcome = asked(&case, &recording);
    (outcome.result, recording.asked().len())
}

fn is_bounded(case: &Case) -> Result<(), TestCaseError> {
    let path = ReversePath::parse(&case.mail_from);
    let request = request(case, &path);
    let recording = Recording::new(case.zone.zone());
    let answers = [
        check_mail_from(&request, &recording).now_or_never(),
        check_helo(&request, &recording).now_or_never(),
    ];
    prop_assert!(recording.asked().len() <= 2 * MAX_QUESTIONS as usize);
    for outcome in answers.into_iter().flatten() {
        let grounds = outcome.grounds;
        prop_assert!(is_printable(&outcome.domain, 255));
        prop_assert!(grounds.lookups <= 10 && grounds.void_lookups <= 2);
        prop_assert!(
            grounds
                .record
                .is_none_or(|text| text.chars().count() <= 1_024)
        );
        prop_assert!(grounds.problem.is_none_or(|text| is_printable(&text, 400)));
        prop_assert!(
            grounds
                .explanation
                .is_none_or(|text| is_printable(&text, MAX_EXPLANATION))
        );
    }
    Ok(())
}

fn is_printable(text: &str, longest: usize) -> bool {
    text.len() <= longest && text.bytes().all(|b| b == b' ' || b.is_ascii_graphic())
}

fn asked(case: &Case, resolver: &impl Resolver) -> SpfOutcome {
    let answer = case.asked_of(resolver).now_or_never();
    answer.expect("data in memory lets nobody wait")
}

fn request<'a>(case: &'a Case, mail_from: &'a ReversePath) -> SpfRequest<'a> {
    SpfRequest {
        client: case.client,
        helo: Some(&case.helo),
        mail_from,
        receiver: RECEIVER,
        now: Timestamp::from_seconds(0),
    }
}

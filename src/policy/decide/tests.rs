//! The matrix as tables: what a message met, what is set, what is done and why.

use super::*;

const OBSERVE: &str = "";

fn settings(words: &str) -> PolicySettings {
    let has = |word: &str| words.split(' ').any(|w| w == word);
    let fail = |word: &str| {
        if has(&format!("hold_{word}")) {
            FailAction::Hold
        } else if has(word) {
            FailAction::Reject
        } else {
            FailAction::Accept
        }
    };
    let author = |word: &str| {
        if has(&format!("hold_{word}")) {
            AuthorAction::Hold
        } else if has(word) {
            AuthorAction::Reject
        } else {
            AuthorAction::Accept
        }
    };
    PolicySettings {
        on_reject: fail("reject"),
        on_quarantine: fail("quarantine"),
        on_temperror: if has("temperror") {
            TemperrorAction::Tempfail
        } else {
            TemperrorAction::Accept
        },
        on_missing_author: author("missing"),
        on_multiple_authors: author("several"),
        on_unparseable_author: author("unparseable"),
        marked_is_quarantine: has("marked"),
        ..PolicySettings::default()
    }
}

fn fails(selected: &str, applied: &str) -> Situation {
    Situation::Fail {
        selected: Policy::parse(selected).unwrap(),
        applied: Policy::parse(applied).unwrap(),
    }
}

fn check(situation: Situation, words: &str, expected: &str) {
    let decision = by_settings(situation, &settings(words));
    let reasons: Vec<_> = decision
        .overrides()
        .iter()
        .map(|o| o.kind.as_str())
        .collect();
    let got = format!(
        "{} {} {}",
        decision.disposition(),
        decision.action(),
        reasons.join("+")
    );
    assert_eq!(got.trim_end(), expected, "{situation:?} with {words:?}");
}

#[test]
fn the_matrix() {
    let pass = |word: &str| Situation::Pass {
        selected: Policy::parse(word).unwrap(),
    };
    for (situation, words, expected) in [
        (pass("none"), "reject quarantine", "none accept"),
        (pass("quarantine"), OBSERVE, "pass accept"),
        (pass("reject"), "reject", "pass accept"),
        (Situation::NoPolicy, "reject quarantine", "none accept"),
        (
            fails("none", "none"),
            "reject quarantine marked",
            "none accept",
        ),
        (
            fails("quarantine", "quarantine"),
            OBSERVE,
            "none accept local_policy",
        ),
        (
            fails("quarantine", "quarantine"),
            "marked",
            "quarantine accept",
        ),
        (
            fails("quarantine", "quarantine"),
            "reject",
            "none accept local_policy",
        ),
        (
            fails("quarantine", "quarantine"),
            "quarantine",
            "reject reject local_policy",
        ),
        (
            fails("reject", "reject"),
            OBSERVE,
            "none accept local_policy",
        ),
        (
            fails("reject", "reject"),
            "marked",
            "quarantine accept local_policy",
        ),
        (fails("reject", "reject"), "reject", "reject reject"),
        (
            fails("reject", "reject"),
            "hold_reject",
            "quarantine hold local_policy",
        ),
        (
            fails("quarantine", "quarantine"),
            "hold_quarantine",
            "quarantine hold",
        ),
        (
            fails("reject", "quarantine"),
            "hold_quarantine",
            "quarantine hold policy_test_mode",
        ),
        (
            fails("none", "none"),
            "hold_quarantine hold_reject",
            "none accept",
        ),
        (
            fails("reject", "quarantine"),
            "reject",
            "none accept policy_test_mode+local_policy",
        ),
        (
            fails("reject", "quarantine"),
            "marked",
            "quarantine accept policy_test_mode",
        ),
        (
            fails("reject", "quarantine"),
            "quarantine",
            "reject reject local_policy",
        ),
        (
            fails("quarantine", "none"),
            "reject quarantine",
            "none accept policy_test_mode",
        ),
    ] {
        check(situation, words, expected);
    }
}

#[test]
fn outside_the_policy() {
    let behind = Situation::FailBehindRelay {
        selected: Policy::Reject,
        applied: Policy::Reject,
    };
    for (situation, words, expected) in [
        (behind, "reject", "none accept local_policy"),
        (
            Situation::Temperror { selected: None },
            OBSERVE,
            "none accept",
        ),
        (
            Situation::Temperror {
                selected: Some(Policy::Reject),
            },
            "reject",
            "none accept other",
        ),
        (
            Situation::Temperror {
                selected: Some(Policy::None),
            },
            "reject",
            "none accept",
        ),
        (
            Situation::Temperror {
                selected: Some(Policy::Reject),
            },
            "temperror",
            "none tempfail other",
        ),
        (Situation::MissingAuthor, OBSERVE, "none accept"),
        (Situation::MissingAuthor, "missing", "reject reject"),
        (Situation::MissingAuthor, "hold_missing", "quarantine hold"),
        (Situation::MultipleAuthors, "missing", "none accept"),
        (Situation::MultipleAuthors, "several", "reject reject"),
        (Situation::UnparseableAuthor, "unparseable", "reject reject"),
        (Situation::TooLarge, "reject temperror", "none accept"),
    ] {
        check(situation, words, expected);
    }
}

#[test]
fn too_many_forged_results_are_refused_whatever_the_policy() {
    let pass = Situation::Pass {
        selected: Policy::Reject,
    };
    for (situation, forged, expected) in [
        (pass, MAX_FORGED, "pass accept"),
        (pass, MAX_FORGED + 1, "reject reject local_policy"),
        (
            fails("none", "none"),
            MAX_FORGED + 1,
            "reject reject local_policy",
        ),
        (Situation::NoPolicy, MAX_FORGED + 1, "reject reject"),
        (Situation::TooLarge, MAX_FORGED + 1, "reject reject"),
        (
            Situation::Temperror { selected: None },
            MAX_FORGED + 1,
            "reject reject",
        ),
    ] {
        let situation = situation.with_forged_results(forged);
        check(situation, "temperror", expected);
    }
}

/// RFC 9990 §3.1.6: a reason exactly where a failure's disposition differs from the policy.
#[test]
fn a_departure_has_a_reason_and_nothing_else_has() {
    for words in [
        "",
        "reject",
        "quarantine",
        "marked",
        "reject quarantine",
        "reject quarantine marked",
    ] {
        for &selected in Policy::ALL {
            let decision = by_settings(
                Situation::Fail {
                    selected,
                    applied: selected,
                },
                &settings(words),
            );
            let differs = decision.disposition().as_str() != selected.as_str();
            assert_eq!(
                differs,
                !decision.overrides().is_empty(),
                "{selected} with {words:?}"
            );
        }
    }
}

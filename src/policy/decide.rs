//! The action matrix: what a message met (`Situation`) × the operator's settings → `Decision`.
//!
//! Pure and total. RFC 9989 §5.4 leaves the handling to local policy and asks that departures be
//! reported; RFC 9990 §3.1.6 wants a reason for each. temperror is never acted on as a failure.

use super::{
    Action, AuthorAction, Cause, Decision, Disposition, FailAction, OverrideType, PolicyOverride,
    PolicySettings, TemperrorAction,
};
use crate::auth::DmarcResult;
use crate::auth::dmarc::{Evaluation, Policy};
use crate::message::author::Author;

/// What a message met, as far as a decision needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Situation {
    /// DMARC passed under this policy.
    Pass {
        selected: Policy,
    },
    /// No DMARC policy applies.
    NoPolicy,
    /// DMARC failed: the policy selected, and what `t=y` left of it.
    Fail {
        selected: Policy,
        applied: Policy,
    },
    /// Failed, but a trusted relay hid the client, so that SPF could not speak.
    FailBehindRelay {
        selected: Policy,
        applied: Policy,
    },
    /// DNS did not answer.
    Temperror {
        selected: Option<Policy>,
    },
    MissingAuthor,
    MultipleAuthors,
    UnparseableAuthor,
    /// Not evaluated: larger than `milter.max_message_bytes`.
    TooLarge,
    /// It claims so often to bear our results that some of the claims would be left in it and believed.
    ForgedResults {
        selected: Option<Policy>,
    },
}

/// Forged Authentication-Results fields that are removed from one message at most: an MTA looks for each
/// from the start of the header again, and no mail but an attack has so many. Mail with more is refused.
pub const MAX_FORGED: usize = 1_000;

/// Whether the client's address took part in the evaluation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientAddress {
    Known,
    /// A trusted relay handed the message over without naming it.
    HiddenByRelay,
}

impl Situation {
    /// Reads the situation off an evaluated message.
    pub fn of(author: &Author, evaluation: Option<&Evaluation>, client: ClientAddress) -> Self {
        match author {
            Author::Missing => Self::MissingAuthor,
            Author::Several(_) => Self::MultipleAuthors,
            Author::Unparseable(_) => Self::UnparseableAuthor,
            Author::One(_) => evaluation.map_or(Self::NoPolicy, |e| Self::of_evaluation(e, client)),
        }
    }

    /// The same for a message with so many forged results, unless they are too many.
    pub fn with_forged_results(self, forged: usize) -> Self {
        if forged <= MAX_FORGED {
            return self;
        }
        Self::ForgedResults {
            selected: match self {
                Self::Pass { selected }
                | Self::Fail { selected, .. }
                | Self::FailBehindRelay { selected, .. } => Some(selected),
                Self::Temperror { selected } | Self::ForgedResults { selected } => selected,
                Self::NoPolicy
                | Self::MissingAuthor
                | Self::MultipleAuthors
                | Self::UnparseableAuthor
                | Self::TooLarge => None,
            },
        }
    }

    fn of_evaluation(evaluation: &Evaluation, client: ClientAddress) -> Self {
        let Some(policy) = &evaluation.policy else {
            return match evaluation.result {
                DmarcResult::Temperror => Self::Temperror { selected: None },
                DmarcResult::None
                | DmarcResult::Pass
                | DmarcResult::Fail
                | DmarcResult::Permerror => Self::NoPolicy,
            };
        };
        let (selected, applied) = (policy.selected, policy.applied);
        match (evaluation.result, client) {
            (DmarcResult::Pass, _) => Self::Pass { selected },
            (DmarcResult::Fail, ClientAddress::Known) => Self::Fail { selected, applied },
            (DmarcResult::Fail, ClientAddress::HiddenByRelay) => {
                Self::FailBehindRelay { selected, applied }
            }
            (DmarcResult::Temperror, _) => Self::Temperror {
                selected: Some(selected),
            },
            (DmarcResult::None | DmarcResult::Permerror, _) => Self::NoPolicy,
        }
    }
}

/// Decides. Every situation has exactly one decision under given settings.
pub fn decide(situation: Situation, settings: &PolicySettings) -> Decision {
    match situation {
        Situation::Pass { selected } => {
            // RFC 9990 §3.1.1.10: "pass" is "no action", but "the policy" is an enforcing one.
            let disposition = match selected {
                Policy::None => Disposition::None,
                Policy::Quarantine | Policy::Reject => Disposition::Pass,
            };
            Decision::follow(Cause::Pass, Some(selected), disposition, Action::Accept)
        }
        Situation::NoPolicy => {
            Decision::follow(Cause::NoPolicy, None, Disposition::None, Action::Accept)
        }
        Situation::Fail { selected, applied } => fail(selected, applied, settings),
        Situation::FailBehindRelay { selected, applied } => explained(
            Cause::FailBehindRelay,
            selected,
            applied,
            (Disposition::None, Action::Accept),
            "client address unknown behind a trusted relay",
        ),
        Situation::Temperror { selected } => {
            let action = match settings.on_temperror {
                TemperrorAction::Accept => Action::Accept,
                TemperrorAction::Tempfail => Action::Tempfail,
            };
            temperror(selected, action)
        }
        Situation::MissingAuthor => author(Cause::MissingAuthor, settings.on_missing_author),
        Situation::MultipleAuthors => author(Cause::MultipleAuthors, settings.on_multiple_authors),
        Situation::UnparseableAuthor => {
            author(Cause::UnparseableAuthor, settings.on_unparseable_author)
        }
        Situation::TooLarge => Decision::follow(
            Cause::NotEvaluatedSize,
            None,
            Disposition::None,
            Action::Accept,
        ),
        Situation::ForgedResults { selected } => forged_results(selected),
    }
}

/// Refused whatever was published; that is a departure of ours even where the policy is reject, since the
/// message may have passed.
fn forged_results(selected: Option<Policy>) -> Decision {
    let (disposition, action) = (Disposition::Reject, Action::Reject);
    match selected {
        None => Decision::follow(Cause::ForgedResults, None, disposition, action),
        Some(_) => Decision::depart(
            Cause::ForgedResults,
            selected,
            disposition,
            action,
            PolicyOverride {
                kind: OverrideType::LocalPolicy,
                comment: Some("too many forged header fields".to_owned()),
            },
            Vec::new(),
        ),
    }
}

/// No failure, and never acted on as one; but a report says `fail` where nothing was found to pass. RFC
/// 9990 §3.1.1.9: "If alignment fails and the policy applied does not match the DMARC Policy Domain's
/// configured policy, the "reason" element MUST be included."
fn temperror(selected: Option<Policy>, action: Action) -> Decision {
    match selected {
        None | Some(Policy::None) => {
            Decision::follow(Cause::Temperror, selected, Disposition::None, action)
        }
        Some(Policy::Quarantine | Policy::Reject) => Decision::depart(
            Cause::Temperror,
            selected,
            Disposition::None,
            action,
            PolicyOverride {
                kind: OverrideType::Other,
                comment: Some("DNS failed, so alignment is not known".to_owned()),
            },
            Vec::new(),
        ),
    }
}

fn fail(selected: Policy, applied: Policy, settings: &PolicySettings) -> Decision {
    let cause = if selected != applied {
        Cause::FailTestMode
    } else {
        match applied {
            Policy::None => Cause::FailNone,
            Policy::Quarantine => Cause::FailQuarantine,
            Policy::Reject => Cause::FailReject,
        }
    };
    let wish = match applied {
        // RFC 9989 §5.4: "discovered policies of "p=none" MUST NOT modify existing mail handling".
        Policy::None => None,
        Policy::Quarantine => Some(settings.on_quarantine),
        Policy::Reject => Some(settings.on_reject),
    };
    let done = match wish {
        Some(FailAction::Reject) => (Disposition::Reject, Action::Reject),
        Some(FailAction::Hold) => (Disposition::Quarantine, Action::Hold),
        Some(FailAction::Accept) if settings.marked_is_quarantine => {
            (Disposition::Quarantine, Action::Accept)
        }
        Some(FailAction::Accept) | None => (Disposition::None, Action::Accept),
    };
    let comment = match done {
        (Disposition::Reject, _) => "stricter than the published policy",
        (Disposition::Quarantine, Action::Hold) => "held for review instead of rejected",
        (Disposition::Quarantine, _) => "marked for a later filter instead of rejected",
        (Disposition::None | Disposition::Pass, _) => "policy not enforced by this receiver",
    };
    explained(cause, selected, applied, done, comment)
}

/// Follows the policy where what is done is what was asked, else departs with every reason that holds.
fn explained(
    cause: Cause,
    selected: Policy,
    applied: Policy,
    (disposition, action): (Disposition, Action),
    comment: &str,
) -> Decision {
    let differs = |policy: Policy| policy.as_str() != disposition.as_str();
    let test_mode = (selected != applied && differs(selected)).then_some(PolicyOverride {
        kind: OverrideType::PolicyTestMode,
        comment: None,
    });
    let local = differs(applied).then_some(PolicyOverride {
        kind: OverrideType::LocalPolicy,
        comment: Some(comment.to_owned()),
    });
    match (test_mode, local) {
        (None, None) => Decision::follow(cause, Some(selected), disposition, action),
        (Some(reason), more) => Decision::depart(
            cause,
            Some(selected),
            disposition,
            action,
            reason,
            more.into_iter().collect(),
        ),
        (None, Some(reason)) => Decision::depart(
            cause,
            Some(selected),
            disposition,
            action,
            reason,
            Vec::new(),
        ),
    }
}

/// Mail outside DMARC's scope (RFC 9989 §11.5): there is no policy to follow or to depart from.
fn author(cause: Cause, wish: AuthorAction) -> Decision {
    let (disposition, action) = match wish {
        AuthorAction::Accept => (Disposition::None, Action::Accept),
        AuthorAction::Hold => (Disposition::Quarantine, Action::Hold),
        AuthorAction::Reject => (Disposition::Reject, Action::Reject),
    };
    Decision::follow(cause, None, disposition, action)
}

#[cfg(test)]
mod tests {
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
        let decision = decide(situation, &settings(words));
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
                let decision = decide(
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
}

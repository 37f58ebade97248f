//! The action matrix: what a message met (`Situation`) × the operator's settings and rules → `Decision`.
//!
//! Pure and total. RFC 9989 §5.4 leaves the handling to local policy and asks that departures be
//! reported; RFC 9990 §3.1.6 wants a reason for each. temperror is never acted on as a failure.

use super::rules::{Chosen, Effect, Facts, RuleSet, StricterAction};
use super::{
    Action, AuthorAction, Cause, Decision, Disposition, FailAction, OverrideType, PolicyOverride,
    PolicySettings, RuleUse, TemperrorAction,
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

/// Decides. Every situation has exactly one decision under given settings and rules.
///
/// Rules are for failures alone. To a message that DNS left open they do nothing: what is verified may be
/// just the part that was found out, and deferred mail comes again and is then decided in full. Mail that
/// failed behind a relay that hid the client is accepted anyway. Mail without one author domain is
/// nobody's whom a rule could name.
pub fn decide(
    situation: Situation,
    facts: Option<&Facts<'_>>,
    settings: &PolicySettings,
    rules: &RuleSet,
) -> Decision {
    let facts = facts.filter(|_| matches!(situation, Situation::Fail { .. }));
    match facts.and_then(|facts| rules.choose(facts)) {
        None => by_settings(situation, settings),
        Some(chosen) => by_rule(situation, settings, &chosen),
    }
}

/// The decision where this rule applies.
pub fn by_rule(situation: Situation, settings: &PolicySettings, chosen: &Chosen<'_>) -> Decision {
    let by_settings = by_settings(situation, settings);
    match situation {
        Situation::Fail { selected, applied } => of_failure(chosen, selected, applied, by_settings),
        Situation::Pass { .. }
        | Situation::NoPolicy
        | Situation::FailBehindRelay { .. }
        | Situation::Temperror { .. }
        | Situation::MissingAuthor
        | Situation::MultipleAuthors
        | Situation::UnparseableAuthor
        | Situation::TooLarge
        | Situation::ForgedResults { .. } => by_settings,
    }
}

/// The decision without any rule.
pub fn by_settings(situation: Situation, settings: &PolicySettings) -> Decision {
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
            local("client address unknown behind a trusted relay"),
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

/// What the rule makes of what the settings would do.
fn of_failure(
    chosen: &Chosen<'_>,
    selected: Policy,
    applied: Policy,
    by_settings: Decision,
) -> Decision {
    let cause = cause_of_fail(selected, applied);
    let decision = match &chosen.rule.effect {
        Effect::Except(_) => explained(
            cause,
            selected,
            applied,
            (Disposition::None, Action::Accept),
            excepted_because(chosen),
        ),
        Effect::Stricter(action) => {
            // RFC 9989 §5.4 keeps "p=none" from changing what is done with mail; this is not the domain
            // owner's wish but the operator's, and reported as that.
            let (done, is_stricter) = match (action, by_settings.action()) {
                (_, Action::Reject | Action::Tempfail) => (by_settings.done(), false),
                (StricterAction::Hold, Action::Hold) => (by_settings.done(), false),
                (StricterAction::Hold, Action::Accept) => {
                    ((Disposition::Quarantine, Action::Hold), true)
                }
                (StricterAction::Reject, Action::Accept | Action::Hold) => {
                    ((Disposition::Reject, Action::Reject), true)
                }
            };
            if !is_stricter {
                return by_settings;
            }
            let comment = local_comment(applied, done);
            explained(cause, selected, applied, done, local(comment))
        }
    };
    decision.under(RuleUse::of(chosen))
}

/// The reason of an exception. Nothing of what the operator wrote, and no name but those that RFC 8617
/// asks for: the domain owner will read it.
fn excepted_because(chosen: &Chosen<'_>) -> PolicyOverride {
    let comment = match &chosen.arc {
        Some(chain) => chain.clone(),
        None if !chosen.rule.asks_for_evidence() => "local exception".to_owned(),
        None => "local exception: authenticated in another way".to_owned(),
    };
    PolicyOverride {
        kind: chosen.rule.because,
        comment: Some(comment),
    }
}

fn cause_of_fail(selected: Policy, applied: Policy) -> Cause {
    if selected != applied {
        return Cause::FailTestMode;
    }
    match applied {
        Policy::None => Cause::FailNone,
        Policy::Quarantine => Cause::FailQuarantine,
        Policy::Reject => Cause::FailReject,
    }
}

fn fail(selected: Policy, applied: Policy, settings: &PolicySettings) -> Decision {
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
    let comment = local_comment(applied, done);
    explained(
        cause_of_fail(selected, applied),
        selected,
        applied,
        done,
        local(comment),
    )
}

fn local_comment(applied: Policy, (disposition, action): (Disposition, Action)) -> &'static str {
    match (disposition, action, applied) {
        (Disposition::Reject, _, _) | (Disposition::Quarantine, _, Policy::None) => {
            "stricter than the published policy"
        }
        (Disposition::Quarantine, Action::Hold, _) => "held for review instead of rejected",
        (Disposition::Quarantine, _, _) => "marked for a later filter instead of rejected",
        (Disposition::None | Disposition::Pass, _, _) => "policy not enforced by this receiver",
    }
}

fn local(comment: &str) -> PolicyOverride {
    PolicyOverride {
        kind: OverrideType::LocalPolicy,
        comment: Some(comment.to_owned()),
    }
}

/// Follows the policy where what is done is what was asked, else departs with every reason that holds.
fn explained(
    cause: Cause,
    selected: Policy,
    applied: Policy,
    (disposition, action): (Disposition, Action),
    because: PolicyOverride,
) -> Decision {
    let differs = |policy: Policy| policy.as_str() != disposition.as_str();
    let test_mode = (selected != applied && differs(selected)).then_some(PolicyOverride {
        kind: OverrideType::PolicyTestMode,
        comment: None,
    });
    let local = differs(applied).then_some(because);
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
mod tests;

//! From evaluation to decision: what to do with the message, and what to say about it.
//!
//! Owns the words of local policy and the matrix (`decide`). Pure: no DNS, no clock, no MTA words.
//! A decision that departs from the published policy cannot be written without a reason.

pub mod decide;
pub mod reply;
pub mod rules;

use crate::auth::dmarc::{DiscoveryMethod, Policy};
use crate::word::words;
use rules::{Chosen, Effect, Met, RuleKey};

words! {
    /// What the message is reported to have met, RFC 9990 §3.1.1.10 `disposition`.
    Disposition { None = "none", Pass = "pass", Quarantine = "quarantine", Reject = "reject" }
}

words! {
    /// Why the published policy was not applied, RFC 9990 §3.1.6.
    OverrideType {
        LocalPolicy = "local_policy", MailingList = "mailing_list",
        TrustedForwarder = "trusted_forwarder", PolicyTestMode = "policy_test_mode",
        Other = "other",
    }
}

words! {
    /// What the MTA is asked to do with the message.
    Action {
        Accept = "accept",
        /// Take it, and keep it in the MTA's hold queue until an operator releases or deletes it.
        Hold = "hold",
        Reject = "reject",
        Tempfail = "tempfail",
    }
}

words! {
    /// What about a message called for a decision; finer than the published policy.
    Cause {
        /// DMARC passed.
        Pass = "pass",
        /// No DMARC policy applies.
        NoPolicy = "no_policy",
        FailNone = "fail_none",
        FailQuarantine = "fail_quarantine",
        FailReject = "fail_reject",
        /// Failed, but `t=y` lowered the policy.
        FailTestMode = "fail_test_mode",
        /// Failed, but the client's address is unknown (`trust.relays`).
        FailBehindRelay = "fail_behind_relay",
        /// DNS gave no answer in time.
        Temperror = "temperror",
        MissingAuthor = "missing_author",
        MultipleAuthors = "multiple_authors",
        UnparseableAuthor = "unparseable_author",
        /// Larger than `milter.max_message_bytes`.
        NotEvaluatedSize = "not_evaluated_size",
        /// More forged Authentication-Results fields than can be removed.
        ForgedResults = "forged_results",
    }
}

words! {
    /// What is done with a failure under an applied policy of quarantine or reject.
    FailAction { Accept = "accept", Hold = "hold", Reject = "reject" }
}

words! {
    /// What is done when DNS did not answer. Never a hold: a conclusion is missing, not a virtue.
    TemperrorAction { Accept = "accept", Tempfail = "tempfail" }
}

words! {
    /// What is done with mail that has no single readable author domain.
    AuthorAction { Accept = "accept", Hold = "hold", Reject = "reject" }
}

/// The operator's `[policy]` settings. The default observes: everything is accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicySettings {
    pub discovery: DiscoveryMethod,
    pub on_reject: FailAction,
    pub on_quarantine: FailAction,
    pub on_temperror: TemperrorAction,
    pub on_missing_author: AuthorAction,
    pub on_multiple_authors: AuthorAction,
    pub on_unparseable_author: AuthorAction,
    /// A later filter files failures by our Authentication-Results: report them as `quarantine`.
    pub marked_is_quarantine: bool,
    /// The enhanced status code of a refusal (RFC 3463), `5.7.1`.
    pub reject_code: String,
}

impl PolicySettings {
    /// Whether any message may be held.
    pub fn can_hold(&self) -> bool {
        let failures = [self.on_reject, self.on_quarantine];
        let authors = [
            self.on_missing_author,
            self.on_multiple_authors,
            self.on_unparseable_author,
        ];
        failures.contains(&FailAction::Hold) || authors.contains(&AuthorAction::Hold)
    }
}

impl Default for PolicySettings {
    fn default() -> Self {
        Self {
            discovery: DiscoveryMethod::TreeWalk,
            on_reject: FailAction::Accept,
            on_quarantine: FailAction::Accept,
            on_temperror: TemperrorAction::Accept,
            on_missing_author: AuthorAction::Accept,
            on_multiple_authors: AuthorAction::Accept,
            on_unparseable_author: AuthorAction::Accept,
            marked_is_quarantine: false,
            reject_code: "5.7.1".to_owned(),
        }
    }
}

/// A reason for departing from the published policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyOverride {
    pub kind: OverrideType,
    /// Short, in fixed wording, without names or addresses: the domain owner will read it.
    pub comment: Option<String>,
}

/// What a report says of a held message that was released: nothing of holding it, since it was accepted
/// in the end, but the reason of the release where that departs from the policy, and that the domain owner
/// is testing (RFC 9990 §3.1.6). Empty where nothing was to be enforced.
pub fn reasons_of_release(
    published: Option<Policy>,
    decided: &[PolicyOverride],
    because: &PolicyOverride,
) -> Vec<PolicyOverride> {
    match published {
        None | Some(Policy::None) => Vec::new(),
        Some(Policy::Quarantine | Policy::Reject) => {
            let testing = |o: &&PolicyOverride| o.kind == OverrideType::PolicyTestMode;
            let testing = decided.iter().filter(testing).cloned();
            testing.chain([because.clone()]).collect()
        }
    }
}

/// The reason of a release that nobody gave one for, such as one in the MTA's own queue.
pub fn release_by_hand() -> PolicyOverride {
    PolicyOverride {
        kind: OverrideType::LocalPolicy,
        comment: Some("released after review by the receiver".to_owned()),
    }
}

/// The rule that decided, as it is kept with the verdict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleUse {
    pub key: RuleKey,
    pub effect: RuleEffect,
    /// What met its requirements; empty for stricter rules.
    pub met: Vec<Met>,
}

words! {
    /// Which kind of rule it was.
    RuleEffect { Exception = "exception", Stricter = "stricter" }
}

impl RuleUse {
    fn of(chosen: &Chosen<'_>) -> Self {
        Self {
            key: chosen.key.clone(),
            effect: match chosen.rule.effect {
                Effect::Except(_) => RuleEffect::Exception,
                Effect::Stricter(_) => RuleEffect::Stricter,
            },
            met: chosen.met.clone(),
        }
    }
}

/// What is done with a message. Made only by `follow` and `depart`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    cause: Cause,
    published: Option<Policy>,
    disposition: Disposition,
    action: Action,
    overrides: Vec<PolicyOverride>,
    rule: Option<RuleUse>,
}

impl Decision {
    /// Does what the published policy asks, or there is none to depart from.
    pub fn follow(
        cause: Cause,
        published: Option<Policy>,
        disposition: Disposition,
        action: Action,
    ) -> Self {
        Self {
            cause,
            published,
            disposition,
            action,
            overrides: Vec::new(),
            rule: None,
        }
    }

    /// Does something else, for at least one reason.
    pub fn depart(
        cause: Cause,
        published: Option<Policy>,
        disposition: Disposition,
        action: Action,
        reason: PolicyOverride,
        more: Vec<PolicyOverride>,
    ) -> Self {
        let mut overrides = vec![reason];
        overrides.extend(more);
        Self {
            cause,
            published,
            disposition,
            action,
            overrides,
            rule: None,
        }
    }

    /// The same, decided by this rule.
    pub fn under(mut self, rule: RuleUse) -> Self {
        self.rule = Some(rule);
        self
    }

    /// The rule that decided; `None`: the settings did.
    pub fn rule(&self) -> Option<&RuleUse> {
        self.rule.as_ref()
    }

    pub fn cause(&self) -> Cause {
        self.cause
    }

    /// The Domain Owner Assessment Policy selected for the message, before `t`; `None` without one.
    pub fn published(&self) -> Option<Policy> {
        self.published
    }

    pub fn disposition(&self) -> Disposition {
        self.disposition
    }

    pub fn action(&self) -> Action {
        self.action
    }

    fn done(&self) -> (Disposition, Action) {
        (self.disposition, self.action)
    }

    /// Empty exactly when the published policy was followed.
    pub fn overrides(&self) -> &[PolicyOverride] {
        &self.overrides
    }
}

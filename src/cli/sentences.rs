//! Grounds in plain words: the sentences that JSON, pages and listings share, so that the same fact
//! is told the same way everywhere. Pure; nothing here is made safe for a terminal yet.

use crate::auth::dkim::SignatureOutcome;
use crate::auth::dmarc::{Finding, IdentifierAlignment, Policy, PolicyTag};
use crate::auth::spf::SpfOutcome;
use crate::auth::{DkimResult, DmarcResult, SpfResult};
use crate::build_report::{Traced, Unreported};
use crate::message::author::Author;
use crate::outcome::{Outcome, OutcomeSource, OutcomeState};
use crate::policy::{Action, Cause, Decision, RuleEffect, RuleUse};
use crate::store::CameTo;
use crate::verdict::Verdict;
use crate::verdict::shape::FailureShape;

/// Why an SPF result is what it is: the term that decided, or what was wrong.
pub fn spf_grounds(outcome: &SpfOutcome) -> String {
    let grounds = &outcome.grounds;
    if let Some(problem) = &grounds.problem {
        return problem.clone();
    }
    if let Some(matched) = &grounds.matched {
        return format!(
            "{} in the record of {} matched",
            matched.term, matched.domain
        );
    }
    match outcome.result {
        SpfResult::None => "no SPF record".to_owned(),
        // RFC 7208 §4.7: "If none of the mechanisms match and there is no "redirect" modifier, then
        // the check_host() returns a result of "neutral"".
        SpfResult::Neutral => "no term of the record matched".to_owned(),
        SpfResult::Pass
        | SpfResult::Fail
        | SpfResult::Softfail
        | SpfResult::Temperror
        | SpfResult::Permerror => String::new(),
    }
}

/// What an SPF result means, RFC 7208 §2.6.
pub fn spf_meaning(result: SpfResult) -> &'static str {
    match result {
        SpfResult::None => "the domain says nothing about its senders",
        SpfResult::Neutral => "the domain takes no position on this client",
        SpfResult::Pass => "the domain lets this client send for it",
        SpfResult::Fail => "the domain says that this client may not send for it",
        SpfResult::Softfail => "the domain says that this client probably may not send for it",
        SpfResult::Temperror => "DNS failed; a later try may succeed",
        SpfResult::Permerror => "the domain's record cannot be understood; its owner must mend it",
    }
}

/// Why a signature's result is what it is.
pub fn dkim_grounds(signature: &SignatureOutcome) -> String {
    let grounds = &signature.grounds;
    let mut parts: Vec<String> = Vec::new();
    match (signature.result, grounds.reason.as_str()) {
        (DkimResult::Pass, "") => parts.push("header and body are as signed".to_owned()),
        (_, "") => {}
        (_, reason) => parts.push(reason.to_owned()),
    }
    if grounds.headers_intact {
        parts.push("the signed header fields are intact, only the body changed".to_owned());
    }
    if grounds.unsigned_octets > 0 {
        parts.push(format!(
            "l= leaves {} octets of the body unsigned",
            grounds.unsigned_octets
        ));
    }
    if signature.result == DkimResult::Pass && !grounds.may_align {
        parts.push("so it cannot align".to_owned());
    }
    if grounds.testing {
        parts.push("the key says t=y, the domain is testing".to_owned());
    }
    parts.join("; ")
}

/// What was found at a name of the discovery.
pub fn finding(found: &Finding) -> String {
    match found {
        Finding::Record(record) => record.text.clone(),
        Finding::Several(records) => {
            format!("{} DMARC records, so none counts", records.len())
        }
        Finding::NotDmarc => "TXT records, but no DMARC record".to_owned(),
        Finding::NoData => "nothing; the name exists without TXT records".to_owned(),
        Finding::NxDomain => "nothing; no such name".to_owned(),
        Finding::TooLong => "not asked; such a name is longer than DNS allows".to_owned(),
        Finding::Error(error) => format!("no answer: {error}"),
    }
}

/// Why this tag of the record was the one, RFC 9989 §4.10.1.
pub fn tag(tag: PolicyTag) -> &'static str {
    match tag {
        PolicyTag::P => "p",
        PolicyTag::Sp => "sp, for names below the record's that exist",
        PolicyTag::Np => "np, for names below the record's that do not exist",
    }
}

/// How close an identifier is to the author domain, RFC 9989 §4.4.
pub fn alignment(alignment: IdentifierAlignment) -> &'static str {
    match alignment {
        IdentifierAlignment::Strict => "aligned: the same domain",
        IdentifierAlignment::Relaxed => "aligned: the same organizational domain",
        IdentifierAlignment::RelaxedOnly => {
            "not aligned: the same organizational domain, but the policy asks for the same domain"
        }
        IdentifierAlignment::None => "not aligned: another organizational domain",
        IdentifierAlignment::Unknown => "unknown: DNS failed while its domain was looked up",
    }
}

/// The author as a person reads it.
pub fn author(author: &Author) -> String {
    match author {
        Author::One(domain) => domain.to_string(),
        Author::Missing => "none: the message has no From".to_owned(),
        Author::Several(domains) => {
            let domains: Vec<&str> = domains.iter().map(|d| d.as_str()).collect();
            format!("several: {}", domains.join(", "))
        }
        Author::Unparseable(why) => format!("unreadable: {why}"),
    }
}

/// What about the message called for a decision.
pub fn cause(cause: Cause) -> &'static str {
    match cause {
        Cause::Pass => "DMARC passed",
        Cause::NoPolicy => "no DMARC policy applies",
        Cause::FailNone => "DMARC failed, and the policy is none",
        Cause::FailQuarantine => "DMARC failed, and the policy is quarantine",
        Cause::FailReject => "DMARC failed, and the policy is reject",
        Cause::FailTestMode => "DMARC failed, and t=y takes one level off the policy",
        Cause::FailBehindRelay => {
            "DMARC failed, but a trusted relay hides the client, so the failure proves nothing"
        }
        Cause::Temperror => "DNS gave no answer, so nothing is known",
        Cause::MissingAuthor => "the message has no From, so no policy can be found",
        Cause::MultipleAuthors => {
            "the message has several author domains, so no policy can be found"
        }
        Cause::UnparseableAuthor => "the From cannot be read, so no policy can be found",
        Cause::NotEvaluatedSize => "the message is larger than milter.max_message_bytes",
        Cause::ForgedResults => {
            "more Authentication-Results fields claim to be ours than can be removed"
        }
    }
}

/// The setting that decided, with what a matching cause does there; `None` where no setting has a say.
pub fn setting(decision: &Decision) -> Option<&'static str> {
    match decision.cause() {
        Cause::FailQuarantine => Some("policy.on_quarantine"),
        Cause::FailReject => Some("policy.on_reject"),
        Cause::FailTestMode => match decision.published() {
            Some(Policy::Reject) => Some("policy.on_quarantine"),
            Some(Policy::Quarantine | Policy::None) | None => None,
        },
        Cause::FailBehindRelay => Some("trust.relays"),
        Cause::Temperror => Some("policy.on_temperror"),
        Cause::MissingAuthor => Some("policy.on_missing_author"),
        Cause::MultipleAuthors => Some("policy.on_multiple_authors"),
        Cause::UnparseableAuthor => Some("policy.on_unparseable_author"),
        Cause::NotEvaluatedSize => Some("milter.max_message_bytes"),
        Cause::Pass | Cause::NoPolicy | Cause::FailNone | Cause::ForgedResults => None,
    }
}

/// How a failure came about, as far as the evidence tells.
pub fn shape(shape: FailureShape) -> &'static str {
    match shape {
        FailureShape::MailingList => {
            "as on a mailing list: the author's signature is broken, the list is verified"
        }
        FailureShape::AlteredInTransit => {
            "as by a relay, or a forger, who changes the body: the author's signature holds for the header"
        }
        FailureShape::Forwarded => {
            "as by forwarding: the author's MAIL FROM from elsewhere, signed by another domain"
        }
        FailureShape::BrokenSignature => {
            "with a signature of the author's that doesn't verify at all: altered in its header, or forged"
        }
        FailureShape::ThirdParty => {
            "without ever a chance: nothing in it is the author's, though somebody else is verified"
        }
        FailureShape::Unauthenticated => "without ever a chance: nothing in it is verified",
    }
}

/// The rule that decided, and what met its requirements.
pub fn rule(rule: &RuleUse) -> String {
    let kind = match rule.effect {
        RuleEffect::Exception => "exception",
        RuleEffect::Stricter => "stricter rule",
    };
    let met = rule.met.iter();
    let met: Vec<String> = met
        .map(|met| format!("{} {}", met.kind, met.found))
        .collect();
    let met = match met.as_slice() {
        [] => String::new(),
        met => format!(", met by {}", met.join(" and ")),
    };
    format!("{kind} {}{met}", rule.key)
}

/// What the MTA is asked to do.
pub fn action(action: Action) -> &'static str {
    match action {
        Action::Accept => "accept",
        Action::Hold => "hold, in the MTA's hold queue",
        Action::Reject => "reject, in the SMTP session",
        Action::Tempfail => "tempfail: the client is told to try again later",
    }
}

/// The result as Authentication-Results says it, evaluated or not.
pub fn dmarc_result(verdict: &Verdict) -> DmarcResult {
    match (&verdict.evaluation, &verdict.message.author) {
        (Some(evaluation), _) => evaluation.result,
        (None, Author::One(_)) => DmarcResult::None,
        (None, Author::Missing | Author::Several(_) | Author::Unparseable(_)) => {
            DmarcResult::Permerror
        }
    }
}

/// What an entry of the history says.
pub fn outcome(outcome: &Outcome) -> String {
    let state = match outcome.state {
        OutcomeState::Answering => return "recorded, before the MTA was answered".to_owned(),
        OutcomeState::Accepted => "accepted",
        OutcomeState::Held if outcome.source == OutcomeSource::Operator => {
            "held, as another filter or a person says"
        }
        OutcomeState::Held => "held in the MTA's hold queue",
        OutcomeState::Released => "released from the hold queue",
        OutcomeState::Deleted => "deleted from the queue",
        OutcomeState::Rejected => "rejected",
        OutcomeState::Tempfailed => "deferred",
        OutcomeState::RefusedLater => "refused by another filter afterwards",
        OutcomeState::Unknown => "unknown: nothing proves what became of it",
    };
    let source = match outcome.source {
        OutcomeSource::Reply => "our answer to the MTA",
        OutcomeSource::Restart => "seen at a restart",
        OutcomeSource::Log => "from the mail log",
        OutcomeSource::Operator => "told by the operator",
        OutcomeSource::Queue => "a look into the MTA's queue",
        OutcomeSource::Expiry => "quarantine.expire_after",
        OutcomeSource::Reinjected => "it came back with its verdict header",
    };
    let by = outcome.by.as_ref().map(|by| format!(", {by}"));
    let by = by.unwrap_or_default();
    let mut text = match &outcome.detail {
        Some(detail) => format!("{state} ({source}{by}: {detail})"),
        None => format!("{state} ({source}{by})"),
    };
    if let Some(because) = &outcome.because {
        let comment = because.comment.as_ref().map(|c| format!(": {c}"));
        text += &format!(
            "; reported as {}{}",
            because.kind,
            comment.unwrap_or_default()
        );
    }
    text
}

/// Why a domain's day gets no report, or got none.
pub(super) fn no_report(came_to: CameTo) -> &'static str {
    match came_to {
        CameTo::Reported => "there is one",
        CameTo::Nothing => "none of its mail may be reported (report.include)",
        CameTo::IncludedOnly => "reports and bounces alone cause no report",
        CameTo::Few => "fewer messages than report.min_messages",
        CameTo::Skipped => "report.skip_domains or report.only_domains leaves it out",
        CameTo::NoDestination => "its record names no address that a report could be mailed to",
    }
}

/// Which report counts a message, or why none does.
pub(super) fn report(traced: &Traced) -> String {
    match traced {
        Traced::Reported(report) => format!(
            "In report {} about {} on {}: {}",
            report.number.0, report.head.policy_domain, report.head.day, report.head.id
        ),
        Traced::NotReported(day, came_to) => match came_to {
            CameTo::Reported => {
                format!("It was reported with {day}; that report is kept no longer.")
            }
            CameTo::Nothing => format!("In none: nothing of {day} was to be reported."),
            CameTo::IncludedOnly => format!(
                "In none: reports and bounces, all that came on {day}, never cause a report alone."
            ),
            CameTo::Few => format!("In none: fewer messages on {day} than report.min_messages."),
            CameTo::Skipped => {
                "In none: report.skip_domains or report.only_domains leaves its domain out."
                    .to_owned()
            }
            CameTo::NoDestination => {
                format!(
                    "In none: when the report about {day} was built, it had nowhere to go. alignd report list --not-reported --day {day} says why."
                )
            }
        },
        Traced::NotYet(day) => format!("In none yet: no report about {day} has been built."),
        Traced::Never(why) => match why {
            Unreported::NoPolicy => "In none: nobody asked for one, without a policy.".to_owned(),
            Unreported::NoClient => {
                "In none: the client's address is unknown, and every row names one.".to_owned()
            }
            Unreported::Outcome => {
                "In none: report.include does not take in what became of it.".to_owned()
            }
        },
    }
}

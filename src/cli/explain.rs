//! A verdict as a page for people: what was found, which rule decided, what was written. `check` and
//! `why` share it; `policy` shares its account of the discovery.

use super::Failure;
use super::output::Tone;
use super::page::Page;
use super::sentences;
use crate::address::ReversePath;
use crate::auth::arc::{ArcEvidence, ArcResult};
use crate::auth::dkim::{DkimEvidence, SignatureOutcome};
use crate::auth::dmarc::uri::ReportUri;
use crate::auth::dmarc::{
    Alignment, AlignmentMode, Evaluation, Finding, Policy, PsdFlag, PublishedPolicy, Record, Step,
};
use crate::auth::iprev::IprevOutcome;
use crate::auth::spf::SpfOutcome;
use crate::auth::{DkimResult, DmarcResult, IprevResult, SpfEvidence, SpfResult};
use crate::outcome::{Outcome, OutcomeState};
use crate::policy::{Action, Decision, RuleEffect, RuleUse};
use crate::store::CameBack;
use crate::verdict::shape::FailureShape;
use crate::verdict::suggest::{Suggestion, suggestions};
use crate::verdict::{Envelope, MessageFacts, Verdict};

/// Everything from the evidence to the header.
pub fn verdict(verdict: &Verdict, page: &mut Page<'_>) -> Result<(), Failure> {
    spf(&verdict.evidence.spf, page)?;
    dkim(&verdict.evidence.dkim, page)?;
    iprev(&verdict.evidence.iprev, page)?;
    if let Some(evidence) = &verdict.evidence.arc {
        arc(evidence, page)?;
    }
    dmarc(verdict, page)?;
    decision(&verdict.decision, page)?;
    suggested(verdict, page)?;
    header(&verdict.authentication_results, page)
}

/// Who sent what to whom.
pub fn envelope(envelope: &Envelope, page: &mut Page<'_>) -> Result<(), Failure> {
    let client = match (&envelope.client, &envelope.client_name) {
        (Some(address), Some(name)) => format!("{name} [{address}]"),
        (Some(address), None) => format!("[{address}]"),
        (None, _) => {
            "unknown: a trusted relay handed the message over without naming it".to_owned()
        }
    };
    page.item("client", &client)?;
    if let Some(relay) = &envelope.relay {
        page.item("relay", &format!("[{relay}], trusted to name the client"))?;
    }
    page.item("HELO", envelope.helo.as_deref().unwrap_or("none"))?;
    let local_part_kept = match &envelope.mail_from {
        ReversePath::Mailbox(mailbox) => !mailbox.local_part.is_empty(),
        ReversePath::Null | ReversePath::Unparseable(_) => true,
    };
    let remark = if local_part_kept {
        ""
    } else {
        " (store.local_parts is off: only the domain is kept)"
    };
    page.item("MAIL FROM", &format!("{}{remark}", envelope.mail_from))?;
    let domains: Vec<&str> = envelope
        .recipient_domains
        .iter()
        .map(|d| d.as_str())
        .collect();
    if !domains.is_empty() {
        let count = envelope.recipients;
        let plural = if count == 1 { "" } else { "s" };
        page.item(
            "to",
            &format!("{count} recipient{plural} in {}", domains.join(", ")),
        )?;
    }
    Ok(())
}

/// What identifies the message besides its author.
pub fn message(message: &MessageFacts, page: &mut Page<'_>) -> Result<(), Failure> {
    if let Some(id) = &message.message_id {
        page.item("Message-ID", &format!("<{id}>"))?;
    }
    if let Some(id) = &message.list_id {
        page.item("List-Id", &format!("<{id}>"))?;
    }
    page.item("size", &format!("{} octets", message.size))?;
    if message.forged_results > 0 {
        let count = message.forged_results;
        let text = format!("{count} Authentication-Results that claimed to be ours were removed");
        page.item("forged", &text)?;
    }
    Ok(())
}

/// The history, oldest first.
pub fn history(outcomes: &[Outcome], page: &mut Page<'_>) -> Result<(), Failure> {
    page.heading("What became of it")?;
    for outcome in outcomes {
        let tone = match outcome.state {
            OutcomeState::Answering => Tone::Plain,
            OutcomeState::Accepted | OutcomeState::Released => Tone::Good,
            OutcomeState::Rejected | OutcomeState::RefusedLater | OutcomeState::Deleted => {
                Tone::Bad
            }
            OutcomeState::Held | OutcomeState::Tempfailed | OutcomeState::Unknown => Tone::Doubtful,
        };
        page.item("at", &outcome.at.to_string())?;
        page.toned("", &sentences::outcome(outcome), tone)?;
    }
    if outcomes
        .last()
        .is_some_and(|o| o.state == OutcomeState::Accepted)
    {
        page.text(
            "Accepted means that alignd let it pass; a later filter may have refused it still.",
        )?;
    }
    Ok(())
}

/// That it came back with its verdict header, and was not judged again.
pub fn came_back(back: &CameBack, page: &mut Page<'_>) -> Result<(), Failure> {
    let queue_id = back.queue_id.as_deref().unwrap_or("none");
    page.item("came back", &format!("{}, queue id {queue_id}", back.at))?;
    page.more("from trust.reinject with its verdict header, which is used up: not judged again")
}

/// One name asked for a policy, with what was found and what is wrong in it.
pub fn step(number: usize, step: &Step, page: &mut Page<'_>) -> Result<(), Failure> {
    page.item(&format!("{number}. asked"), &format!("{} (TXT)", step.name))?;
    page.more(&format!("found {}", sentences::finding(&step.found)))?;
    match &step.found {
        Finding::Record(record) => problems(record, page),
        Finding::Several(records) => records
            .iter()
            .try_for_each(|record| page.more(&format!("• {record}"))),
        Finding::NotDmarc
        | Finding::NoData
        | Finding::NxDomain
        | Finding::TooLong
        | Finding::Error(_) => Ok(()),
    }
}

/// What is wrong in a record, and what to write instead.
fn problems(record: &Record, page: &mut Page<'_>) -> Result<(), Failure> {
    for problem in &record.problems {
        page.toned("", &format!("wrong: {problem}"), Tone::Doubtful)?;
    }
    if !record.problems.is_empty() {
        page.more(&format!("write instead: {}", corrected(record)))?;
    }
    Ok(())
}

/// The record written without mistakes: what of it is valid, tags with their default left out. `p`,
/// `sp` and `np` are those that were meant, not what a mistake in one of them made of all three.
fn corrected(record: &Record) -> String {
    let meant = |name: &str| {
        let tags = record.text.split(';').filter_map(|tag| tag.split_once('='));
        let mut named = tags.filter(|(tag, _)| tag.trim().eq_ignore_ascii_case(name));
        named
            .next()
            .and_then(|(_, value)| Policy::parse(value.trim()))
    };
    let p = meant("p").unwrap_or(record.p);
    let mut tags = vec!["v=DMARC1".to_owned(), format!("p={p}")];
    let below = ["sp", "np"].into_iter();
    tags.extend(below.filter_map(|tag| meant(tag).map(|policy| format!("{tag}={policy}"))));
    let modes = [("adkim", record.adkim), ("aspf", record.aspf)];
    let strict = modes
        .iter()
        .filter(|(_, mode)| *mode == AlignmentMode::Strict);
    tags.extend(strict.map(|(tag, _)| format!("{tag}=s")));
    if record.psd != PsdFlag::Unknown {
        tags.push(format!("psd={}", record.psd));
    }
    if record.testing {
        tags.push("t=y".to_owned());
    }
    for (tag, uris) in [("rua", &record.rua), ("ruf", &record.ruf)] {
        let read = uris.iter().filter_map(|uri| ReportUri::parse(uri).ok());
        let uris: Vec<String> = read.map(|read| read.uri).collect();
        if !uris.is_empty() {
            tags.push(format!("{tag}={}", uris.join(",")));
        }
    }
    if !record.ruf.is_empty() && record.fo != "0" {
        tags.push(format!("fo={}", record.fo));
    }
    tags.join("; ")
}

/// The policy that applies and how it came to be.
pub fn policy(policy: &PublishedPolicy, page: &mut Page<'_>) -> Result<(), Failure> {
    let mut text = format!(
        "{}, from the record of {}: tag {}",
        policy.selected,
        policy.domain,
        sentences::tag(policy.tag)
    );
    if policy.selected != policy.applied {
        text.push_str(&format!(
            "; t=y takes one level off, so {} is applied (RFC 9989 §4.7)",
            policy.applied
        ));
    }
    page.item("policy", &text)
}

fn spf(evidence: &SpfEvidence, page: &mut Page<'_>) -> Result<(), Failure> {
    page.heading("SPF: may this client send for the domain? (RFC 7208)")?;
    spf_identity("MAIL FROM", &evidence.mail_from, page)?;
    spf_identity("HELO", &evidence.helo, page)
}

fn spf_identity(label: &str, outcome: &SpfOutcome, page: &mut Page<'_>) -> Result<(), Failure> {
    let tone = match outcome.result {
        SpfResult::Pass => Tone::Good,
        SpfResult::Fail | SpfResult::Permerror => Tone::Bad,
        SpfResult::Softfail | SpfResult::Temperror => Tone::Doubtful,
        SpfResult::None | SpfResult::Neutral => Tone::Plain,
    };
    let of = match outcome.domain.as_str() {
        "" => String::new(),
        domain => format!(" for {domain}"),
    };
    let grounds = sentences::spf_grounds(outcome);
    let grounds = if grounds.is_empty() {
        grounds
    } else {
        format!(": {grounds}")
    };
    page.toned(label, &format!("{}{of}{grounds}", outcome.result), tone)?;
    if outcome.result != SpfResult::None {
        page.more(sentences::spf_meaning(outcome.result))?;
    }
    if let Some(record) = &outcome.grounds.record {
        page.more(&format!("record: {record}"))?;
    }
    if let Some(explanation) = &outcome.grounds.explanation {
        page.more(&format!("the domain's own explanation: {explanation}"))?;
    }
    if outcome.grounds.lookups > 0 {
        let (lookups, void) = (outcome.grounds.lookups, outcome.grounds.void_lookups);
        page.more(&format!(
            "{lookups} of 10 terms with look-ups used, {void} of 2 look-ups without result (§4.6.4)"
        ))?;
    }
    Ok(())
}

fn dkim(evidence: &DkimEvidence, page: &mut Page<'_>) -> Result<(), Failure> {
    page.heading("DKIM: who signed it, and is it unchanged? (RFC 6376)")?;
    if evidence.signatures.is_empty() {
        page.item("none", "the message has no DKIM-Signature")?;
    }
    for (at, signature) in evidence.signatures.iter().enumerate() {
        dkim_signature(at + 1, signature, page)?;
    }
    for skipped in &evidence.not_tried {
        let name = format!("d={} s={}", skipped.domain, skipped.selector);
        page.item("not tried", &format!("{name}: beyond dkim.max_signatures"))?;
    }
    Ok(())
}

fn dkim_signature(
    number: usize,
    signature: &SignatureOutcome,
    page: &mut Page<'_>,
) -> Result<(), Failure> {
    let tone = match signature.result {
        DkimResult::Pass => Tone::Good,
        DkimResult::Fail | DkimResult::Permerror => Tone::Bad,
        DkimResult::Policy | DkimResult::Temperror => Tone::Doubtful,
        DkimResult::None | DkimResult::Neutral => Tone::Plain,
    };
    let key = signature
        .grounds
        .key_bits
        .map(|bits| format!(", key of {bits} bits"));
    let text = format!(
        "{} d={} s={} ({}{})",
        signature.result,
        signature.domain,
        signature.selector,
        signature.algorithm,
        key.unwrap_or_default()
    );
    page.toned(&format!("signature {number}"), &text, tone)?;
    page.more(&sentences::dkim_grounds(signature))?;
    if signature.grounds.headers_intact {
        page.more("that is what a mailing list's footer leaves behind")?;
    }
    Ok(())
}

fn iprev(outcome: &IprevOutcome, page: &mut Page<'_>) -> Result<(), Failure> {
    page.heading("iprev: is the client's name confirmed both ways? (RFC 8601 §3)")?;
    let tone = match outcome.result {
        IprevResult::Pass => Tone::Good,
        IprevResult::Fail | IprevResult::Temperror | IprevResult::Permerror => Tone::Plain,
    };
    let more = match &outcome.name {
        Some(name) => name,
        None => &outcome.grounds,
    };
    page.toned("client", &format!("{}: {more}", outcome.result), tone)
}

fn arc(evidence: &ArcEvidence, page: &mut Page<'_>) -> Result<(), Failure> {
    page.heading("ARC: who vouches for what became of it on its way? (RFC 8617)")?;
    let tone = match evidence.result {
        ArcResult::Pass => Tone::Good,
        ArcResult::None | ArcResult::Fail => Tone::Plain,
    };
    page.toned("chain", evidence.result.as_str(), tone)?;
    page.more(&evidence.reason)?;
    for set in &evidence.sets {
        let sealer = format!("{} (selector {})", set.sealer, set.selector);
        page.item(&format!("i={}", set.instance), &sealer)?;
    }
    Ok(())
}

fn dmarc(verdict: &Verdict, page: &mut Page<'_>) -> Result<(), Failure> {
    page.heading("DMARC: is it really from the author's domain? (RFC 9989)")?;
    page.item("author", &sentences::author(&verdict.message.author))?;
    let Some(evaluation) = &verdict.evaluation else {
        let result = sentences::dmarc_result(verdict);
        let text = format!("{result}: {}", sentences::cause(verdict.decision.cause()));
        return page.toned("result", &text, Tone::Doubtful);
    };
    for (at, asked) in evaluation.discovery.iter().enumerate() {
        step(at + 1, asked, page)?;
    }
    if let Some(found) = &evaluation.policy {
        policy(found, page)?;
    }
    alignment("SPF", &evaluation.spf, page)?;
    alignment("DKIM", &evaluation.dkim, page)?;
    result(evaluation, page)?;
    match FailureShape::of(verdict) {
        Some(shape) => page.item("it failed", sentences::shape(shape)),
        None => Ok(()),
    }
}

/// The exceptions that its evidence supports, unless one of the operator's let it through already.
fn suggested(verdict: &Verdict, page: &mut Page<'_>) -> Result<(), Failure> {
    let is_exception = |rule: &RuleUse| rule.effect == RuleEffect::Exception;
    if FailureShape::of(verdict).is_none() || verdict.decision.rule().is_some_and(is_exception) {
        return Ok(());
    }
    page.heading("Exceptions that would let it through, the narrowest first")?;
    let suggestions = suggestions(verdict);
    if suggestions.is_empty() {
        return page.text("none: nothing is verified that an exception could require");
    }
    for (at, Suggestion { rule, .. }) in suggestions.iter().enumerate() {
        page.item(
            &format!("{}.", at + 1),
            &format!("{rule}, because {}", rule.because),
        )?;
    }
    Ok(())
}

fn alignment(label: &str, alignment: &Alignment, page: &mut Page<'_>) -> Result<(), Failure> {
    for identifier in &alignment.identifiers {
        let mut text = format!(
            "{}: {}",
            identifier.domain,
            sentences::alignment(identifier.alignment)
        );
        if let Some(domain) = &identifier.organizational_domain {
            text.push_str(&format!(" ({domain})"));
        }
        page.item(label, &text)?;
    }
    if alignment.identifiers.is_empty() {
        page.item(label, "nothing passed that could be aligned")?;
    }
    Ok(())
}

fn result(evaluation: &Evaluation, page: &mut Page<'_>) -> Result<(), Failure> {
    let tone = match evaluation.result {
        DmarcResult::Pass => Tone::Good,
        DmarcResult::Fail | DmarcResult::Permerror => Tone::Bad,
        DmarcResult::Temperror => Tone::Doubtful,
        DmarcResult::None => Tone::Plain,
    };
    let text = format!("{}: {}", evaluation.result, evaluation.grounds);
    page.toned("result", &text, tone)
}

fn decision(decision: &Decision, page: &mut Page<'_>) -> Result<(), Failure> {
    page.heading("The decision")?;
    page.item("because", sentences::cause(decision.cause()))?;
    match (decision.rule(), sentences::setting(decision)) {
        (Some(rule), _) => page.item("rule", &sentences::rule(rule))?,
        (None, Some(setting)) => page.item("rule", setting)?,
        (None, None) => {}
    }
    let tone = match decision.action() {
        Action::Accept => Tone::Plain,
        Action::Reject => Tone::Bad,
        Action::Hold | Action::Tempfail => Tone::Doubtful,
    };
    page.toned("action", sentences::action(decision.action()), tone)?;
    page.item("disposition", decision.disposition().as_str())?;
    for reason in decision.overrides() {
        let comment = reason.comment.as_ref().map(|c| format!(": {c}"));
        let text = format!("{}{}", reason.kind, comment.unwrap_or_default());
        page.item("reason", &text)?;
    }
    Ok(())
}

/// The field as written, one result a line.
fn header(results: &str, page: &mut Page<'_>) -> Result<(), Failure> {
    page.heading("The header")?;
    if results.is_empty() {
        return page.text("none");
    }
    let mut parts = results.split_inclusive("; ").map(str::trim_end);
    let id = parts.next().unwrap_or_default();
    page.text(&format!("Authentication-Results: {id}"))?;
    parts.try_for_each(|part| page.hanging(part))
}

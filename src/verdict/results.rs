//! What our Authentication-Results says about a message: the verdict in RFC 8601's words.
//!
//! Owns the choice of results, properties and words; the grammar is `message::authentication_results`'.
//! Of what a sender wrote only domains, plain local parts and base64 get in, always ASCII: no value
//! can hold `dmarc=pass`, so that even a rule that looks for a piece of text cannot be fooled.
//! RFC 8601 §2.7 (dkim, spf, iprev, arc), RFC 9989 §9.1 and §9.2 (dmarc).

use super::Envelope;
use crate::auth::arc::{ArcEvidence, ArcResult};
use crate::auth::dkim::{DkimEvidence, SignatureOutcome};
use crate::auth::dmarc::Evaluation;
use crate::auth::iprev::IprevOutcome;
use crate::auth::spf::SpfOutcome;
use crate::auth::{DmarcResult, Evidence, IprevResult, SpfResult};
use crate::domain::DomainName;
use crate::message::authentication_results::{Field, MethodResult};
use crate::message::author::Author;
use crate::policy::{Cause, Decision, Disposition};
use std::net::IpAddr;

/// The whole field. DMARC comes first: that is what rules look for behind the authserv-id.
pub fn results_field(
    authserv_id: &str,
    envelope: &Envelope,
    author: &Author,
    evidence: &Evidence,
    evaluation: Option<&Evaluation>,
    decision: &Decision,
) -> Field {
    let mut field = Field::new(authserv_id);
    field.results.push(dmarc(author, evaluation, decision));
    field.results.push(spf("mailfrom", &evidence.spf.mail_from));
    field.results.push(spf("helo", &evidence.spf.helo));
    field.results.extend(dkim(&evidence.dkim));
    let client = envelope.client.map(|client| client.to_canonical());
    let iprev = client.map(|client| iprev(client, &evidence.iprev));
    field.results.extend(iprev);
    field.results.extend(evidence.arc.as_ref().map(arc));
    field
}

/// RFC 9989 knows no result for mail without exactly one Author Domain ("DMARC validation is not
/// possible and the process terminates", §5.3.1). `none` would say that no policy was published, which
/// nobody looked for; `permerror` is "an error ... that is unrecoverable", and that it is.
fn dmarc(author: &Author, evaluation: Option<&Evaluation>, decision: &Decision) -> MethodResult {
    let permerror = |why: &str| result("dmarc", DmarcResult::Permerror.as_str()).reason(why);
    match (author, evaluation) {
        (Author::Missing, _) => permerror("no From field"),
        (Author::Several(_), _) => permerror("several author domains"),
        (Author::Unparseable(why), _) => permerror(&format!("From field unparseable: {why}")),
        (Author::One(_), Some(evaluation)) => evaluated(evaluation, decision),
        (Author::One(domain), None) => {
            let why = if decision.cause() == Cause::NotEvaluatedSize {
                "not evaluated: size"
            } else {
                "not evaluated"
            };
            result("dmarc", DmarcResult::None.as_str())
                .reason(why)
                .property("header", "from", domain.as_str())
        }
    }
}

/// `dmarc=fail (p=quarantine dis=none) header.from=example.com`, word for word what OpenDMARC writes and
/// what rules of SpamAssassin, Rspamd and Sieve were made for; the registered property comes behind it.
fn evaluated(evaluation: &Evaluation, decision: &Decision) -> MethodResult {
    let mut dmarc = result("dmarc", evaluation.result.as_str());
    let policy = evaluation.policy.as_ref();
    let published = match (policy, evaluation.result) {
        (Some(policy), _) => Some(policy.selected.as_str()),
        (None, DmarcResult::None) => Some("none"),
        (None, _) => None,
    };
    if let Some(published) = published {
        dmarc = dmarc.comment(format!("p={published} dis={}", disposition(decision)));
    } else if is_plain(&evaluation.grounds) {
        dmarc = dmarc.reason(&evaluation.grounds);
    }
    dmarc = dmarc.property("header", "from", evaluation.author_domain.as_str());
    match policy {
        // RFC 9989 §9.1: the policy "after policy options have been processed".
        Some(policy) => dmarc.property("policy", "dmarc", policy.applied.as_str()),
        None => dmarc,
    }
}

/// OpenDMARC knows three dispositions.
fn disposition(decision: &Decision) -> &'static str {
    match decision.disposition() {
        Disposition::None | Disposition::Pass => Disposition::None.as_str(),
        Disposition::Quarantine => Disposition::Quarantine.as_str(),
        Disposition::Reject => Disposition::Reject.as_str(),
    }
}

/// RFC 8601 §2.7.2: "the 'pvalue' reported ... SHOULD NOT include the local-part or the following '@'".
fn spf(identity: &'static str, outcome: &SpfOutcome) -> MethodResult {
    let mut spf = result("spf", outcome.result.as_str());
    if matches!(
        outcome.result,
        SpfResult::None | SpfResult::Temperror | SpfResult::Permerror
    ) && let Some(problem) = outcome.grounds.problem.as_deref().filter(|p| is_plain(p))
    {
        spf = spf.reason(problem);
    }
    match shown_domain(&outcome.domain).or_else(|| shown_literal(&outcome.domain)) {
        Some(value) => spf.property("smtp", identity, value),
        None => spf,
    }
}

fn dkim(evidence: &DkimEvidence) -> Vec<MethodResult> {
    let mut results: Vec<_> = evidence.signatures.iter().map(signature).collect();
    if !evidence.not_tried.is_empty() {
        let count = evidence.not_tried.len();
        // RFC 8601 §2.7.1 neutral: "not otherwise able to be processed".
        results
            .push(result("dkim", "neutral").reason(format!("{count} more signatures, not tried")));
    }
    if results.is_empty() {
        results.push(result("dkim", "none"));
    }
    results
}

fn signature(outcome: &SignatureOutcome) -> MethodResult {
    let mut dkim = result("dkim", outcome.result.as_str());
    if let Some(bits) = outcome.grounds.key_bits {
        dkim = dkim.comment(format!("{bits}-bit key"));
    }
    if !outcome.grounds.reason.is_empty() {
        dkim = dkim.reason(&outcome.grounds.reason);
    }
    for (property, value) in [
        ("d", shown_domain(&outcome.domain)),
        ("i", outcome.identity.as_deref().and_then(shown_identity)),
        ("s", shown_domain(&outcome.selector)),
        (
            "a",
            shown(&outcome.algorithm, |b| {
                b.is_ascii_alphanumeric() || b == b'-'
            }),
        ),
        ("b", shown(beginning(&outcome.b_prefix), is_base64)),
    ] {
        if let Some(value) = value {
            dkim = dkim.property("header", property, value);
        }
    }
    dkim
}

/// RFC 8601 §2.7.3. The name is shown only where it is confirmed.
fn iprev(client: IpAddr, outcome: &IprevOutcome) -> MethodResult {
    let mut iprev = result("iprev", outcome.result.as_str());
    let name = outcome.name.as_deref().and_then(shown_domain);
    if let (IprevResult::Pass, Some(name)) = (outcome.result, name) {
        iprev = iprev.comment(name);
    }
    iprev.property("policy", "iprev", client.to_string())
}

/// RFC 8601 §2.7 `arc`, by RFC 8617 §6. The comment names the newest custodian of a chain that passed.
fn arc(evidence: &ArcEvidence) -> MethodResult {
    let mut arc = result("arc", evidence.result.as_str());
    let newest = evidence.sets.last();
    let sealer = newest.and_then(|set| Some((set.instance, shown_domain(&set.sealer)?)));
    if let (ArcResult::Pass, Some((instance, sealer))) = (evidence.result, sealer) {
        arc = arc.comment(format!("i={instance} {sealer}"));
    }
    if !evidence.reason.is_empty() {
        arc = arc.reason(&evidence.reason);
    }
    arc
}

fn result(method: &'static str, word: &'static str) -> MethodResult {
    MethodResult::new(method, word)
}

/// A domain in A-labels; nothing if it is none.
fn shown_domain(text: &str) -> Option<String> {
    DomainName::parse(text)
        .ok()
        .map(|domain| domain.to_string())
}

/// HELO may be an address literal, RFC 5321 §4.1.3.
fn shown_literal(text: &str) -> Option<String> {
    let inside = text.strip_prefix('[')?.strip_suffix(']')?;
    let (tag, address) = match inside.split_at_checked(5) {
        Some((tag, address)) if tag.eq_ignore_ascii_case("IPv6:") => ("IPv6:", address),
        _ => ("", inside),
    };
    let address: IpAddr = address.parse().ok()?;
    Some(format!("[{tag}{address}]"))
}

/// `i=` with its local part if that is a plain one, else `@domain`.
fn shown_identity(text: &str) -> Option<String> {
    let (local, domain) = text.rsplit_once('@')?;
    let domain = shown_domain(domain)?;
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"._+-".contains(&b);
    let local = shown(local, plain).unwrap_or_default();
    Some(format!("{local}@{domain}"))
}

fn shown(text: &str, fits: impl Fn(u8) -> bool) -> Option<String> {
    let fits = !text.is_empty() && text.len() <= MAX_SHOWN && text.bytes().all(fits);
    fits.then(|| text.to_owned())
}

/// What is shown of a long `b=`, where two signatures begin alike: RFC 6008 asks for a prefix.
fn beginning(b: &str) -> &str {
    let b = b.trim_end_matches('=');
    b.get(..MAX_PREFIX).unwrap_or(b)
}

/// Base64 without its padding.
fn is_base64(octet: u8) -> bool {
    octet.is_ascii_alphanumeric() || b"+/".contains(&octet)
}

/// Text that nobody can take for a result: our own wording, perhaps with a sender's domain in it.
fn is_plain(text: &str) -> bool {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b" ,.:'_-".contains(&b);
    !text.is_empty() && text.len() <= MAX_SHOWN && text.bytes().all(fits)
}

/// Octets of a local part, algorithm or reason that are worth a place in the header.
const MAX_SHOWN: usize = 160;

/// Octets of `b=` that are shown at most; 8 tell nearly any two signatures apart.
const MAX_PREFIX: usize = 64;

#[cfg(test)]
mod tests;

//! What the owner of a domain may want to change, from what the discovery found.

use crate::auth::dmarc::discover::Discovery;
use crate::auth::dmarc::{Finding, Policy, PublishedPolicy, Record};

/// One sentence or two for each thing; none when there is nothing to say.
pub fn of(found: &Discovery) -> Vec<String> {
    let mut advice = Vec::new();
    for step in &found.steps {
        match &step.found {
            Finding::Several(records) => advice.push(format!(
                "{} has {} DMARC records, so all of them are ignored (§4.10). Keep one.",
                step.name,
                records.len()
            )),
            Finding::Record(record) => advice.extend(history(&step.name, record)),
            Finding::NotDmarc
            | Finding::NoData
            | Finding::NxDomain
            | Finding::TooLong
            | Finding::Error(_) => {}
        }
    }
    match &found.policy {
        Ok(Some(policy)) => advice.extend(on_policy(policy)),
        Ok(None) => advice.extend(to_begin(found)),
        Err(_) => {}
    }
    advice
}

/// Tags that RFC 9989 §9.3 made history and that records still have.
fn history(name: &str, record: &Record) -> Vec<String> {
    let tags = record.text.split(';').filter_map(|tag| tag.split_once('='));
    let old = tags.filter_map(|(tag, _)| match tag.trim().to_ascii_lowercase().as_str() {
        "pct" => Some("pct is ignored since RFC 9989 (App. A.6). To test a policy, write t=y."),
        "rf" => Some("rf is ignored since RFC 9989 (§9.3). Take it out."),
        "ri" => Some("ri is ignored since RFC 9989 (§9.3); reports come once a day. Take it out."),
        _ => None,
    });
    old.map(|text| format!("{name}: {text}")).collect()
}

fn to_begin(found: &Discovery) -> Vec<String> {
    let unusable = found.steps.iter().find_map(|step| {
        let record = super::record_of(step)?;
        (!record.usable).then_some(&step.name)
    });
    if let Some(name) = unusable {
        return vec![format!(
            "The record at {name} has neither a valid policy nor a valid rua, so it counts for nothing \
             (§4.10.1). Mend p, sp and np, or give it a rua."
        )];
    }
    let domain = match &found.organizational_domain {
        Ok(domain) => domain,
        Err(_) => &found.author_domain,
    };
    vec![format!(
        "To begin: _dmarc.{domain}. IN TXT \"v=DMARC1; p=none; rua=mailto:dmarc-reports@{domain}\". Nothing \
         happens to your mail, and the reports show who sends in your name."
    )]
}

fn on_policy(policy: &PublishedPolicy) -> Vec<String> {
    let record = &policy.record;
    let mut advice = Vec::new();
    if record.rua.is_empty() {
        advice.push(format!(
            "Without rua you get no reports and cannot see what the policy does: add \
             rua=mailto:dmarc-reports@{}.",
            policy.domain
        ));
    }
    if record.testing && policy.selected != Policy::None {
        advice.push(
            "t=y is for a trial. When the reports show only your own mail passing, take it out."
                .to_owned(),
        );
    }
    if record.p != Policy::None && record.sp == Some(Policy::None) {
        advice.push(
            "sp=none leaves every subdomain open to forgery while p protects the domain. Name the ones you \
             use in reports, then tighten sp."
                .to_owned(),
        );
    }
    if record.p == Policy::Reject
        && record.sp != Some(Policy::None)
        && record.np == Some(Policy::None)
    {
        advice.push(
            "np=none lets anyone invent subdomains of yours: np=reject hurts nobody.".to_owned(),
        );
    }
    if policy.selected == Policy::Reject {
        advice.push(
            "p=reject is for domains whose mail is sent by machines. Where people write to mailing lists, \
             §7.4 asks not to publish it: their mail fails through no fault of theirs."
                .to_owned(),
        );
    }
    advice
}

//! `alignd policy DOMAIN`: how the DMARC policy of a domain is found, step by step.

use super::dns::{Dns, wait};
use super::json::{Asked, discovery};
use super::output::{Screen, Tone};
use super::page::Page;
use super::{Exit, Failure, Outcome, explain, settings};
use crate::auth::dmarc::discover::{Discovery, Existence, discover};
use crate::auth::dmarc::{
    AlignmentMode, DiscoveryMethod, Finding, PsdFlag, PublishedPolicy, Record, Step,
};
use crate::config::Config;
use crate::dns::Resolver;
use crate::domain::DomainName;
use crate::policy::Action;
use crate::policy::decide::{Situation, by_settings};
use crate::report::destination::{Destination, List, MAX_DESTINATIONS, Request, Standing, verify};
use clap::Args;
use serde::Serialize;
use std::path::{Path, PathBuf};

mod advice;

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// The domain of an author: what stands behind the @ in From
    domain: String,
    /// Ask this RFC 1035 master file instead of DNS; names not in it do not exist
    #[arg(long, value_name = "FILE")]
    zone: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
Examples:
  alignd policy example.org                  each name asked, what was found, what follows
  alignd policy example.org --zone new.zone  before it is published
  alignd policy example.org --json | jq .policy

Exit codes: 0 a policy applies, 1 none does, 3 DNS failed on the way.
In a zone file, the comment lines `;servfail NAME` and `;timeout NAME` make NAME fail so.";

pub fn run(arguments: &Arguments, file: Option<&Path>) -> Outcome {
    let config = settings(file)?.config;
    let domain = DomainName::parse(&arguments.domain).map_err(|error| {
        let domain = super::output::printable(&arguments.domain);
        Failure::Usage(format!("\"{domain}\" is no domain: {error}"))
    })?;
    let (found, destinations) = wait(async {
        let dns = Dns::open(arguments.zone.as_deref(), &config.dns)?;
        let found = discover(&domain, config.policy.discovery, &dns).await;
        let destinations = destinations(&found, &dns).await;
        Ok((found, destinations))
    })?;
    let mut screen = Screen::new();
    if arguments.json {
        screen.json(&Told::of(&found, &destinations))?;
    } else {
        page(&found, &destinations, &config, &mut Page::new(&mut screen))?;
    }
    screen.finish()?;
    match found.policy {
        Ok(Some(_)) => Ok(Exit::Ok),
        Ok(None) => Ok(Exit::No),
        Err(error) => Err(Failure::Temporary(format!("{error}; try again later"))),
    }
}

/// Where reports about the domain may go, for each list of its record.
async fn destinations(found: &Discovery, dns: &impl Resolver) -> Vec<(List, Vec<Destination>)> {
    let Ok(Some(policy)) = &found.policy else {
        return Vec::new();
    };
    let mut lists = Vec::new();
    for list in List::ALL {
        let uris = match list {
            List::Rua => &policy.record.rua,
            List::Ruf => &policy.record.ruf,
        };
        let request = Request {
            policy_domain: &policy.domain,
            method: found.method,
            list: *list,
            max_destinations: MAX_DESTINATIONS,
            report_domain: None,
        };
        lists.push((*list, verify(uris, &request, dns).await));
    }
    lists
}

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct Told<'a> {
    domain: &'a str,
    discovery_method: &'static str,
    discovery: Vec<Asked<'a>>,
    organizational_domain: Option<&'a str>,
    /// Null: it made no difference and was not asked, or DNS failed.
    exists: Option<bool>,
    policy_domain: Option<&'a str>,
    /// The policy selected, before `t`.
    policy: Option<&'static str>,
    tag: Option<&'static str>,
    /// The policy after `t`.
    applied: Option<&'static str>,
    record: Option<&'a str>,
    adkim: Option<&'static str>,
    aspf: Option<&'static str>,
    psd: Option<&'static str>,
    testing: Option<bool>,
    fo: Option<&'a str>,
    rua: &'a [String],
    ruf: &'a [String],
    destinations: Vec<Sent<'a>>,
    advice: Vec<String>,
    error: Option<String>,
}

/// What becomes of one URI.
#[derive(Debug, Serialize)]
struct Sent<'a> {
    list: &'static str,
    uri: &'a str,
    /// Where reports go; none: nowhere.
    addresses: Vec<String>,
    grounds: String,
}

impl<'a> Sent<'a> {
    fn of((list, destination): (&'static str, &'a Destination)) -> Self {
        let (addresses, grounds) = match &destination.standing {
            Standing::Verified(verified) => (
                verified.iter().map(|v| v.address().to_string()).collect(),
                verified
                    .first()
                    .map_or_else(String::new, |v| v.relation().to_string()),
            ),
            Standing::Refused(refusal) => (Vec::new(), refusal.to_string()),
            Standing::Later(error) => (Vec::new(), error.to_string()),
        };
        Self {
            list,
            uri: &destination.uri,
            addresses,
            grounds,
        }
    }
}

impl<'a> Told<'a> {
    fn of(found: &'a Discovery, destinations: &'a [(List, Vec<Destination>)]) -> Self {
        let policy = found.policy.as_ref().ok().and_then(Option::as_ref);
        let record = policy.map(|policy| &policy.record);
        Self {
            domain: found.author_domain.as_str(),
            discovery_method: found.method.as_str(),
            discovery: discovery(&found.steps),
            organizational_domain: found
                .organizational_domain
                .as_ref()
                .ok()
                .map(DomainName::as_str),
            exists: match found.existence {
                Existence::Exists => Some(true),
                Existence::DoesNotExist => Some(false),
                Existence::NotAsked | Existence::Unknown(_) => None,
            },
            policy_domain: policy.map(|p| p.domain.as_str()),
            policy: policy.map(|p| p.selected.as_str()),
            tag: policy.map(|p| p.tag.as_str()),
            applied: policy.map(|p| p.applied.as_str()),
            record: record.map(|r| r.text.as_str()),
            adkim: record.map(|r| r.adkim.as_str()),
            aspf: record.map(|r| r.aspf.as_str()),
            psd: record.map(|r| r.psd.as_str()),
            testing: record.map(|r| r.testing),
            fo: record.map(|r| r.fo.as_str()),
            rua: record.map_or(&[], |r| &r.rua),
            ruf: record.map_or(&[], |r| &r.ruf),
            destinations: destinations
                .iter()
                .flat_map(|(list, all)| all.iter().map(|one| Sent::of((list.as_str(), one))))
                .collect(),
            advice: advice::of(found),
            error: found.policy.as_ref().err().map(ToString::to_string),
        }
    }
}

fn page(
    found: &Discovery,
    destinations: &[(List, Vec<Destination>)],
    config: &Config,
    page: &mut Page<'_>,
) -> Result<(), Failure> {
    walk(found, page)?;
    page.heading("The policy that applies")?;
    match &found.policy {
        Err(error) => {
            let text = format!("unknown: {error}. A failure is never taken for \"no record\".");
            page.toned("policy", &text, Tone::Doubtful)?;
        }
        Ok(None) => {
            let unusable = found
                .steps
                .iter()
                .any(|s| matches!(s.found, Finding::Record(_)));
            let why = if unusable {
                "the record found cannot be used (RFC 9989 §4.10.1)"
            } else {
                "no record was found"
            };
            page.toned("policy", &format!("none: {why}"), Tone::Doubtful)?;
            page.more(
                "DMARC says nothing about such mail: dmarc=none, and every filter is on its own.",
            )?;
        }
        Ok(Some(policy)) => {
            applies(found, policy, page)?;
            alignment(found, policy, page)?;
            handling(policy, config, page)?;
            reports(destinations, page)?;
        }
    }
    let advice = advice::of(found);
    if !advice.is_empty() {
        page.heading("For the owner of the domain")?;
        for (at, text) in advice.iter().enumerate() {
            page.item(&format!("{}.", at + 1), text)?;
        }
    }
    Ok(())
}

fn walk(found: &Discovery, page: &mut Page<'_>) -> Result<(), Failure> {
    let domain = &found.author_domain;
    match found.method {
        DiscoveryMethod::TreeWalk => {
            page.heading(&format!("The DNS Tree Walk for {domain} (RFC 9989 §4.10)"))?;
        }
        DiscoveryMethod::Psl => {
            page.heading(&format!(
                "The look-up for {domain} by the Public Suffix List (RFC 7489 §6.6.3)"
            ))?;
        }
    }
    for (at, step) in found.steps.iter().enumerate() {
        explain::step(at + 1, step, page)?;
        if let Some(why) = why_so(found, at, step) {
            page.more(&why)?;
        }
    }
    match &found.organizational_domain {
        Ok(organization) => page.item(
            "organization",
            &format!("{organization}: {}", why_organization(found, organization)),
        ),
        Err(error) => page.item("organization", &format!("unknown: {error}")),
    }
}

/// What a step is for, where that isn't told by the one before.
fn why_so(found: &Discovery, at: usize, step: &Step) -> Option<String> {
    let record = record_of(step);
    let ends = match record.map(|record| record.psd) {
        Some(PsdFlag::No) => {
            Some("psd=n: this is an organizational domain, and the walk ends (§4.10)")
        }
        Some(PsdFlag::Yes) => Some("psd=y: this is a public suffix, and the walk ends (§4.10)"),
        Some(PsdFlag::Unknown) | None => None,
    };
    if let Some(ends) = ends {
        return Some(ends.to_owned());
    }
    if at == 0 && record.is_some_and(|record| record.usable) {
        let text = "A record of the author domain itself is the policy (§4.10.1). The walk goes on only \
                    to find the organizational domain.";
        return Some(text.to_owned());
    }
    let labels = found.author_domain.label_count();
    (at == 1 && labels > 8).then(|| {
        format!(
            "{labels} labels: after the whole name the walk goes on with the last 7, so that it asks 8 \
             names at most (§4.10)"
        )
    })
}

fn why_organization(found: &Discovery, organization: &DomainName) -> &'static str {
    if found.method == DiscoveryMethod::Psl {
        return "the name below the public suffix";
    }
    let name = format!("_dmarc.{organization}");
    let own = found.steps.iter().find(|step| step.name == name);
    match own.and_then(record_of).map(|record| record.psd) {
        Some(PsdFlag::No) => "its record says psd=n (§4.10.2)",
        Some(PsdFlag::Yes | PsdFlag::Unknown) => "the shortest name with a record (§4.10.2)",
        None if found.steps.iter().any(|step| record_of(step).is_some()) => {
            "the name below the one that says psd=y (§4.10.2)"
        }
        None => "no record was found, so the domain stands for itself (§4.10.2)",
    }
}

fn record_of(step: &Step) -> Option<&Record> {
    match &step.found {
        Finding::Record(record) => Some(record),
        Finding::Several(_)
        | Finding::NotDmarc
        | Finding::NoData
        | Finding::NxDomain
        | Finding::TooLong
        | Finding::Error(_) => None,
    }
}

fn applies(
    found: &Discovery,
    policy: &PublishedPolicy,
    page: &mut Page<'_>,
) -> Result<(), Failure> {
    page.item("record", &policy.record.text)?;
    page.item("at", &format!("_dmarc.{}", policy.domain))?;
    match found.existence {
        Existence::NotAsked => {}
        Existence::Exists => page.item("exists", "yes, so sp is asked, and p without it (§4.7)")?,
        Existence::DoesNotExist => page.item(
            "exists",
            "no (NXDOMAIN), so np is asked, then sp, then p (§4.7, §3.2.13)",
        )?,
        Existence::Unknown(error) => page.item("exists", &format!("unknown: {error}"))?,
    }
    explain::policy(policy, page)
}

fn alignment(
    found: &Discovery,
    policy: &PublishedPolicy,
    page: &mut Page<'_>,
) -> Result<(), Failure> {
    let author = &found.author_domain;
    let within = match &found.organizational_domain {
        Ok(organization) => organization.to_string(),
        Err(_) => format!("the organization of {author}"),
    };
    page.heading(&format!("When mail from {author} passes (RFC 9989 §4.4)"))?;
    page.text("One of the two is enough:")?;
    let which = |mode| match mode {
        AlignmentMode::Strict => format!("{author} itself (strict)"),
        AlignmentMode::Relaxed => format!("{within} or a name below it (relaxed)"),
    };
    let spf = which(policy.record.aspf);
    page.item(
        "SPF",
        &format!(
            "passes for a MAIL FROM in {spf}, aspf={}",
            policy.record.aspf
        ),
    )?;
    let dkim = which(policy.record.adkim);
    page.item(
        "DKIM",
        &format!(
            "a good signature with d= {dkim}, adkim={}",
            policy.record.adkim
        ),
    )
}

fn handling(policy: &PublishedPolicy, config: &Config, page: &mut Page<'_>) -> Result<(), Failure> {
    use crate::auth::dmarc::Policy;
    page.heading("What a receiver does with mail that fails")?;
    let asked = match policy.applied {
        Policy::None => "nothing: the owner only wants to hear of it (§5.4)",
        Policy::Quarantine => "treat it with suspicion: a spam folder, or set aside (§4.7)",
        Policy::Reject => {
            "refuse it; but not for this alone, since mailing lists break authentication (§7.4): \
             without other knowledge, treat it as quarantine"
        }
    };
    page.item("asked for", asked)?;
    let decision = by_settings(
        Situation::Fail {
            selected: policy.selected,
            applied: policy.applied,
        },
        &config.policy,
    );
    let action = match decision.action() {
        Action::Accept => "accepts it, marked dmarc=fail",
        Action::Hold => "holds it until an operator releases or deletes it",
        Action::Reject => "rejects it in the SMTP session",
        Action::Tempfail => "defers it",
    };
    let reasons = decision.overrides().iter().map(|o| o.kind.as_str());
    let reasons: Vec<&str> = reasons.collect();
    let because = match reasons.as_slice() {
        [] => String::new(),
        reasons => format!(" ({})", reasons.join(", ")),
    };
    page.item(
        "this alignd",
        &format!("{action}; disposition {}{because}", decision.disposition()),
    )
}

fn reports(lists: &[(List, Vec<Destination>)], page: &mut Page<'_>) -> Result<(), Failure> {
    page.heading("Where reports go")?;
    for (list, destinations) in lists {
        if destinations.is_empty() {
            let none = match list {
                List::Rua => "no aggregate reports: nobody is told (RFC 9989 §4.7)",
                List::Ruf => "no failure reports",
            };
            page.item(list.as_str(), none)?;
        }
        for destination in destinations {
            page.item(list.as_str(), &destination.uri)?;
            let sent = Sent::of((list.as_str(), destination));
            match &destination.standing {
                Standing::Verified(_) => {
                    let to = sent.addresses.join(", ");
                    page.more(&format!("sent to {to}: {}", sent.grounds))?;
                }
                Standing::Refused(_) => {
                    let text = format!("not sent: {}", sent.grounds);
                    page.toned("", &text, Tone::Doubtful)?;
                }
                Standing::Later(error) => {
                    let text = format!("unknown: {error}; a receiver asks again later");
                    page.toned("", &text, Tone::Doubtful)?;
                }
            }
        }
    }
    Ok(())
}

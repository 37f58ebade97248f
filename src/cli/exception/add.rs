//! `alignd exception add`: a rule from what stands on the command line.

use crate::cli::ask::ask;
use crate::cli::output::printable;
use crate::cli::{Failure, Outcome, now, settings};
use crate::config::value::{duration, network};
use crate::control::{Request, RuleAdded};
use crate::policy::OverrideType;
use crate::policy::rules::Rule;
use crate::time::Timestamp;
use clap::Args;
use clap::builder::PossibleValuesParser;
use serde_json::{Map, Value, json};
use std::path::Path;

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// Whose mail, by the domain in From: example.org, .example.org with all below, * for anybody's
    #[arg(long, value_name = "DOMAIN")]
    author_domain: String,
    /// A signature of this domain must verify, with the selector behind a slash: lists.example/2026
    #[arg(long, value_name = "D[/S]")]
    dkim: Option<String>,
    /// SPF must pass for this domain in MAIL FROM
    #[arg(long, value_name = "DOMAIN")]
    spf: Option<String>,
    /// The client's name, confirmed in both directions, must be this or end in it: .example.net
    #[arg(long, value_name = "NAME")]
    reverse_name: Option<String>,
    /// The client's address must be in this network; several may be named
    #[arg(long, value_name = "NETWORK", value_parser = in_cidr)]
    network: Vec<String>,
    /// The List-Id must be this, and --list-domain verified
    #[arg(long, value_name = "ID")]
    list_id: Option<String>,
    /// The domain of the list, which DKIM or SPF must verify
    #[arg(long, value_name = "DOMAIN", requires = "list_id")]
    list_domain: Option<String>,
    /// A valid ARC chain with this trusted sealer
    #[arg(long, value_name = "DOMAIN")]
    arc_sealer: Option<String>,
    /// Only mail whose recipients all are these: addresses or domains
    #[arg(long, value_name = "RECIPIENT")]
    recipients: Vec<String>,
    /// The reason that the domain owner's report gives
    #[arg(long, value_name = "TYPE", default_value = "local_policy", value_parser = reasons())]
    because: String,
    /// Your own words; they stay here
    #[arg(long, value_name = "TEXT")]
    comment: Option<String>,
    /// Who answers for it; you, if nobody is named
    #[arg(long, value_name = "WHO")]
    owner: Option<String>,
    /// When it ends: 90d from now, 2027-01-31, 2027-01-31T12:00:00Z; never, if nothing is said
    #[arg(long, value_name = "TIME", value_parser = End::parse)]
    expires: Option<End>,
    /// It may require nothing that can be verified: anybody can use it
    #[arg(long = "unsafe")]
    is_unsafe: bool,
}

const EXAMPLES: &str = "\
Examples:
  alignd exception add --author-domain example.org --dkim lists.example.net --because mailing_list --expires 90d
  alignd exception add --author-domain '*' --list-id news.lists.example.net --list-domain lists.example.net
  alignd exception add --author-domain bank.example --network 192.0.2.7 --recipients accounts@example.com

All that is required must be found. It holds from the next message on. alignd exception suggest VERDICT
proposes what a message's own evidence supports.";

/// A time to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    In(std::time::Duration),
    At(Timestamp),
}

impl End {
    pub fn parse(text: &str) -> Result<Self, String> {
        let within = duration(text).map(Self::In);
        let point = || Timestamp::parse_rfc3339(text).map(Self::At);
        within
            .or_else(point)
            .ok_or_else(|| "write 90d, 2027-01-31 or 2027-01-31T12:00:00Z (UTC)".to_owned())
    }

    pub fn after(self, now: Timestamp) -> Timestamp {
        match self {
            Self::At(point) => point,
            Self::In(term) => now.plus_micros(i64::try_from(term.as_micros()).unwrap_or(i64::MAX)),
        }
    }
}

pub fn run(arguments: &Arguments, file: Option<&Path>) -> Outcome {
    let config = settings(file)?.config;
    let rule = arguments.rule(now());
    // Told here, with the words of the command line.
    if let Err(problem) = Rule::parse_json(&rule.to_string()) {
        return Err(Failure::Usage(words(&problem.to_string())));
    }
    ask(
        &config,
        Request::AddException(RuleAdded { rule }),
        |fields| {
            let word = |key| fields.get(key).and_then(Value::as_str).unwrap_or_default();
            println!("{} {}", printable(word("change")), printable(word("key")));
            Ok(())
        },
    )
}

impl Arguments {
    /// With the keys of the settings file.
    fn rule(&self, now: Timestamp) -> Value {
        let (dkim, selector) = match self.dkim.as_deref().map(|dkim| dkim.split_once('/')) {
            Some(Some((domain, selector))) => (Some(domain), Some(selector)),
            Some(None) => (self.dkim.as_deref(), None),
            None => (None, None),
        };
        let required = json!({
            "dkim": dkim,
            "dkim_selector": selector,
            "spf": self.spf,
            "reverse_name": self.reverse_name,
            "network": said(&self.network),
            "list_id": self.list_id,
            "list_domain": self.list_domain,
            "arc_sealer": self.arc_sealer,
        });
        let expires = self.expires.map(|end| end.after(now).to_string());
        without_nulls(json!({
            "author_domain": self.author_domain,
            "require": without_nulls(required),
            "recipients": said(&self.recipients),
            "because": self.because,
            "comment": self.comment,
            "owner": self.owner,
            "expires": expires,
            "unsafe": self.is_unsafe,
        }))
    }
}

/// As rules are written: a single address is a network of one.
fn in_cidr(text: &str) -> Result<String, String> {
    let read = network(text).map(|network| network.to_string());
    read.map_err(|why| why.unwrap_or_else(|| "no address and no network".to_owned()))
}

fn said(list: &[String]) -> Option<&[String]> {
    (!list.is_empty()).then_some(list)
}

fn without_nulls(object: Value) -> Value {
    match object {
        Value::Object(fields) => {
            let fields = fields.into_iter().filter(|(_, value)| !value.is_null());
            Value::Object(fields.collect::<Map<_, _>>())
        }
        other => other,
    }
}

/// The settings file's words for a fault, in those of the command line.
fn words(problem: &str) -> String {
    problem
        .replace("unsafe = true", "--unsafe")
        .replace("list_id with list_domain", "list-id with list-domain")
}

pub fn reasons() -> PossibleValuesParser {
    let all = OverrideType::ALL.iter();
    let sayable = all.filter(|because| **because != OverrideType::PolicyTestMode);
    PossibleValuesParser::new(sayable.map(|because| because.as_str()))
}

//! `alignd check MESSAGE`: evaluates a message from a file as if it came in now over SMTP, with the
//! pieces that the milter uses. Stores nothing, answers nobody.

use super::dns::{Dns, wait};
use super::json::Judged;
use super::output::{Screen, printable};
use super::page::Page;
use super::{Exit, Failure, Outcome, explain, host_name, now, settings};
use crate::address::{Mailbox, ReversePath};
use crate::auth::DmarcResult;
use crate::auth::dkim::KeyCache;
use crate::auth::inquiry::{Conclusion, EnvelopeQuestion, HeaderQuestion};
use crate::config::Config;
use crate::dns::Resolver;
use crate::domain::DomainName;
use crate::message::authentication_results::claim::places_claiming;
use crate::message::identifiers::{self, Nature};
use crate::message::parse::Message;
use crate::policy::decide::{ClientAddress, Situation, decide};
use crate::time::Timestamp;
use crate::verdict::results::results_field;
use crate::verdict::{Envelope, MessageFacts, Verdict, VerdictId, Weight};
use clap::Args;
use std::io::Read;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// The message as it came in, with its header; `-` for standard input
    message: PathBuf,
    /// The client's address: in Postfix's log, in brackets behind client=name
    #[arg(long, value_name = "IP")]
    ip: IpAddr,
    /// What the client said in HELO or EHLO
    #[arg(long, value_name = "NAME")]
    helo: Option<String>,
    /// The envelope sender; `<>` for none
    #[arg(long, value_name = "ADDR")]
    mail_from: String,
    /// A recipient; may be given several times
    #[arg(long, value_name = "ADDR")]
    rcpt: Vec<String>,
    /// Ask this RFC 1035 master file instead of DNS; names not in it do not exist
    #[arg(long, value_name = "FILE")]
    zone: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
Examples:
  alignd check spoof.eml --ip 198.51.100.251 --helo mx.evil.example \\
      --mail-from x@evil.example             each result with its grounds
  alignd check - --ip 192.0.2.1 --mail-from '<>' < bounce.eml
  alignd check new.eml --ip 192.0.2.1 --mail-from a@example.org \\
      --zone new.zone                        before it is published
  alignd check spoof.eml … --json | jq .dmarc

Exit codes: 0 DMARC passed or no policy applies, 1 it failed, 3 DNS failed on the way.
In a zone file, the comment lines `;servfail NAME` and `;timeout NAME` make NAME fail so.";

pub fn run(arguments: &Arguments, file: Option<&Path>) -> Outcome {
    let config = settings(file)?.config;
    let raw = read(&arguments.message)?;
    let envelope = envelope(arguments)?;
    let verdict = wait(async {
        let dns = Dns::open(arguments.zone.as_deref(), &config.dns)?;
        Ok(judge(&raw, envelope, &config, now(), &dns).await)
    })?;
    let mut screen = Screen::new();
    if arguments.json {
        screen.json(&Judged::of(&verdict))?;
    } else {
        let mut page = Page::new(&mut screen);
        page.heading(&format!(
            "{} as if it came in now",
            arguments.message.display()
        ))?;
        explain::envelope(&verdict.envelope, &mut page)?;
        explain::message(&verdict.message, &mut page)?;
        explain::verdict(&verdict, &mut page)?;
    }
    screen.finish()?;
    match verdict.evaluation.map(|evaluation| evaluation.result) {
        Some(DmarcResult::Pass | DmarcResult::None) => Ok(Exit::Ok),
        Some(DmarcResult::Fail | DmarcResult::Permerror) | None => Ok(Exit::No),
        Some(DmarcResult::Temperror) => {
            let text = "DNS failed on the way, so DMARC can tell nothing; try again later";
            Err(Failure::Temporary(text.to_owned()))
        }
    }
}

fn read(file: &Path) -> Result<Vec<u8>, Failure> {
    let mut raw = Vec::new();
    let read = if file == Path::new("-") {
        std::io::stdin().lock().read_to_end(&mut raw).map(drop)
    } else {
        std::fs::read(file).map(|octets| raw = octets)
    };
    let place = file.display();
    read.map_err(|error| Failure::Usage(format!("cannot read the message in {place}: {error}")))?;
    Ok(raw)
}

fn envelope(arguments: &Arguments) -> Result<Envelope, Failure> {
    let mut recipient_domains: Vec<DomainName> = Vec::new();
    for rcpt in &arguments.rcpt {
        let Some(mailbox) = Mailbox::parse(rcpt) else {
            let rcpt = printable(rcpt);
            return Err(Failure::Usage(format!("--rcpt: \"{rcpt}\" is no address")));
        };
        if !recipient_domains.contains(&mailbox.domain) {
            recipient_domains.push(mailbox.domain);
        }
    }
    Ok(Envelope {
        queue_id: None,
        client: Some(arguments.ip),
        client_name: None,
        relay: None,
        helo: arguments.helo.clone(),
        mail_from: ReversePath::parse(&arguments.mail_from),
        recipient_domains,
        recipients: u32::try_from(arguments.rcpt.len()).unwrap_or(u32::MAX),
        recipient_addresses: Vec::new(),
        daemon_name: None,
    })
}

/// Ask, conclude, decide, new: the milter's order, at once.
async fn judge(
    raw: &[u8],
    envelope: Envelope,
    config: &Config,
    now: Timestamp,
    dns: &impl Resolver,
) -> Verdict {
    let message = Message::parse(raw);
    let envelope_question = EnvelopeQuestion {
        client: envelope.client,
        helo: envelope.helo.clone(),
        mail_from: envelope.mail_from.clone(),
        receiver: host_name(),
        now,
    };
    let header_question = HeaderQuestion::read(
        &message.fields,
        envelope_question.spf_domain(),
        &config.dkim,
        config.policy.discovery,
        now,
    );
    let mut hasher = header_question.body_hasher();
    hasher.update(&message.body);
    let cache = KeyCache::new(config.dkim.max_signatures);
    let (envelope_answers, header_answers) =
        tokio::join!(envelope_question.ask(dns), header_question.ask(dns, &cache));
    let Conclusion {
        author,
        evidence,
        evaluation,
    } = header_question.conclude(envelope_answers, header_answers, hasher.finish());
    let situation = Situation::of(&author, evaluation.as_ref(), ClientAddress::Known);
    let decision = decide(situation, &config.policy);
    let ids = [&config.identity.authserv_id];
    let ids: Vec<&String> = ids
        .into_iter()
        .chain(&config.trust.strip_results_of)
        .collect();
    let forged = places_claiming(&message.fields, &ids).len();
    let null_sender = envelope.mail_from == ReversePath::Null;
    let weight = match identifiers::nature(&message.fields, null_sender) {
        Nature::Mail => Weight::Triggers,
        Nature::Report | Nature::Bounce => Weight::IncludedOnly,
    };
    let id = &config.identity.authserv_id;
    let field = results_field(
        id,
        &envelope,
        &author,
        &evidence,
        evaluation.as_ref(),
        &decision,
    );
    Verdict {
        id: VerdictId::mint(now, [0; 10]),
        received: now,
        envelope,
        message: MessageFacts {
            author,
            message_id: identifiers::message_id(&message.fields),
            list_id: identifiers::list_id(&message.fields),
            size: raw.len() as u64,
            forged_results: u32::try_from(forged).unwrap_or(u32::MAX),
        },
        evidence,
        evaluation,
        decision,
        weight,
        authentication_results: field.to_string(),
    }
}

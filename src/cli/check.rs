//! `alignd check MESSAGE`: evaluates a message from a file as if it came in now over SMTP, with the
//! pieces that the milter uses. Stores nothing, answers nobody.

use super::dns::{Dns, wait};
use super::json::Judged;
use super::output::{Screen, printable};
use super::page::Page;
use super::{Exit, Failure, Outcome, explain, now, settings};
use crate::address::{Mailbox, ReversePath};
use crate::auth::dkim::{DkimEvidence, KeyCache};

use crate::auth::inquiry::{Conclusion, EnvelopeQuestion, HeaderQuestion, HeaderSettings};
use crate::auth::{DmarcResult, Evidence};
use crate::config::Config;
use crate::dns::Resolver;
use crate::domain::DomainName;
use crate::message::HeaderField;
use crate::message::authentication_results::claim::places_claiming;
use crate::message::author::author;
use crate::message::identifiers;
use crate::message::parse::Message;
use crate::milter::TrustSettings;
use crate::policy::decide::{ClientAddress, Situation, decide};
use crate::policy::rules::{Facts, Recipients};
use crate::time::Timestamp;
use crate::verdict::header::VERDICT_HEADER;
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
    let mut recipients = Recipients::default();
    arguments.rcpt.iter().for_each(|rcpt| recipients.add(rcpt));
    let verdict = wait(async {
        let dns = Dns::open(arguments.zone.as_deref(), &config.dns)?;
        Ok(judge(&raw, envelope, &recipients, &config, now(), &dns).await)
    })?;
    let mut screen = Screen::new();
    if arguments.json {
        screen.json(&Judged::of(&verdict).with_suggestions(&verdict))?;
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
    mut envelope: Envelope,
    recipients: &Recipients,
    config: &Config,
    now: Timestamp,
    dns: &impl Resolver,
) -> Verdict {
    let message = Message::parse(raw);
    look_behind_relay(&mut envelope, &message.fields, &config.trust);
    let size = raw.len() as u64;
    let limit = config.milter.max_message_bytes;
    let (conclusion, situation) = if limit > 0 && size > limit {
        (
            not_evaluated(&message, &envelope, config, now),
            Situation::TooLarge,
        )
    } else {
        evaluate(&message, &envelope, config, now, dns).await
    };
    let Conclusion {
        author,
        evidence,
        evaluation,
    } = conclusion;
    let forged = forged(&message.fields, config);
    let headers = message.fields.iter();
    let verdict_headers = headers.filter(|field| field.is(VERDICT_HEADER)).count();
    let list_id = identifiers::list_id(&message.fields);
    let decision = {
        let known = evaluation.as_ref().map(|evaluation| Facts {
            author: &evaluation.author_domain,
            organizational_domain: evaluation.organizational_domain.as_ref(),
            client: envelope.client,
            list_id: list_id.as_deref(),
            evidence: &evidence,
            recipients,
            now,
        });
        let situation = situation.with_forged_results(forged.saturating_add(verdict_headers));
        decide(situation, known.as_ref(), &config.policy, &config.rules([]))
    };
    let id = &config.identity.authserv_id;
    let results = results_field(
        id,
        &envelope,
        &author,
        &evidence,
        evaluation.as_ref(),
        &decision,
    );
    let is_null = envelope.mail_from == ReversePath::Null;
    let nature = identifiers::nature(&message.fields, is_null);
    let weight = Weight::of(nature, evaluation.as_ref());
    Verdict {
        id: VerdictId::mint(now, [0; 10]),
        received: now,
        envelope,
        message: MessageFacts {
            author,
            message_id: identifiers::message_id(&message.fields),
            list_id,
            size,
            forged_results: u32::try_from(forged).unwrap_or(u32::MAX),
        },
        evidence,
        evaluation,
        decision,
        weight,
        authentication_results: results.to_string(),
    }
}

async fn evaluate(
    message: &Message<'_>,
    envelope: &Envelope,
    config: &Config,
    now: Timestamp,
    dns: &impl Resolver,
) -> (Conclusion, Situation) {
    let asked = question(envelope, config, now);
    let header = HeaderQuestion::read(
        &message.fields,
        asked.spf_domain(),
        HeaderSettings {
            dkim: &config.dkim,
            arc: &config.arc,
            discovery: config.policy.discovery,
        },
        now,
    );
    let mut body = header.body_hasher(None);
    body.update(&message.body);
    let keys = KeyCache::new(config.dkim.max_signatures);
    let (envelope_answers, header_answers) = tokio::join!(asked.ask(dns), header.ask(dns, &keys));
    let conclusion = header.conclude(envelope_answers, header_answers, body.finish());
    let client = match envelope.client {
        Some(_) => ClientAddress::Known,
        None => ClientAddress::HiddenByRelay,
    };
    let evaluation = conclusion.evaluation.as_ref();
    let situation = Situation::of(&conclusion.author, evaluation, client);
    (conclusion, situation)
}

fn not_evaluated(
    message: &Message<'_>,
    envelope: &Envelope,
    config: &Config,
    now: Timestamp,
) -> Conclusion {
    let answers = question(envelope, config, now).not_asked("not evaluated: size");
    Conclusion {
        author: author(&message.fields),
        evidence: Evidence {
            spf: answers.spf,
            dkim: DkimEvidence::default(),
            iprev: answers.iprev,
            arc: None,
        },
        evaluation: None,
    }
}

fn question(envelope: &Envelope, config: &Config, now: Timestamp) -> EnvelopeQuestion {
    EnvelopeQuestion {
        client: envelope.client,
        helo: envelope.helo.clone(),
        mail_from: envelope.mail_from.clone(),
        receiver: config.identity.authserv_id.clone(),
        now,
    }
}

/// The client is the one that a trusted relay names; none if it doesn't.
fn look_behind_relay(envelope: &mut Envelope, fields: &[HeaderField], trust: &TrustSettings) {
    let Some(relay) = envelope.client.filter(|client| trust.is_relay(*client)) else {
        return;
    };
    let behind = trust.client_behind(fields);
    envelope.relay = Some(relay);
    envelope.client = behind.as_ref().map(|client| client.address);
    envelope.client_name = behind.as_ref().and_then(|client| client.name.clone());
    envelope.helo = behind.and_then(|client| client.helo);
}

/// Fields that claim to be our Authentication-Results.
fn forged(fields: &[HeaderField], config: &Config) -> usize {
    let ours = [&config.identity.authserv_id].into_iter();
    let ids: Vec<&String> = ours.chain(&config.trust.strip_results_of).collect();
    places_claiming(fields, &ids).len()
}

//! From rows back to a `Verdict`, exactly as it was recorded.
//!
//! Owns the join that gathers a verdict's pieces, and their reading. What cannot be understood is an
//! error that says which piece, never a guess.

use crate::auth::dmarc::{
    AlignmentMode, DiscoveryMethod, Evaluation, Policy, PolicyTag, PsdFlag, PublishedPolicy, Record,
};
use crate::auth::{DmarcResult, Evidence, SpfEvidence};
use crate::policy::{Action, Cause, Decision, Disposition};
use crate::store::error::ReadError;
use crate::store::shared::{self, Digest};
use crate::store::wire::{
    self, ArcWire, Detail, RuleWire, read_domain, read_optional_domain, read_word,
};
use crate::time::Timestamp;
use crate::verdict::{Envelope, MessageFacts, Verdict, VerdictId, Weight};
use rusqlite::{Connection, OptionalExtension, Row};
use std::net::IpAddr;

/// A verdict's row with its dictionaries; the caller adds which.
pub(super) const SELECT: &str = "
    SELECT v.number, v.id, v.received, v.queue_id, v.source_ip, tos.text AS envelope_to,
        e.dmarc, e.tag, e.selected, e.applied, e.dkim, e.spf, e.cause, e.published, e.disposition,
        e.action, e.reasons, e.weight,
        policy_domain.name AS policy_domain, p.discovery_method, r.digest AS record,
        d.version, d.document, discovery.text AS discovery, spf_record.text AS spf_record,
        helo_record.text AS helo_record
    FROM verdict v
    JOIN detail d ON d.verdict = v.number
    JOIN policy_evaluated e ON e.id = v.policy_evaluated
    JOIN document tos ON tos.id = v.envelope_to
    LEFT JOIN policy_published p ON p.id = v.policy_published
    LEFT JOIN name policy_domain ON policy_domain.id = p.domain
    LEFT JOIN dmarc_record r ON r.id = p.record
    LEFT JOIN document discovery ON discovery.id = d.discovery
    LEFT JOIN document spf_record ON spf_record.id = d.spf_record
    LEFT JOIN document helo_record ON helo_record.id = d.helo_record
    ";

/// Why a piece could not be read: SQLite, or what it holds.
pub(super) enum Trouble {
    Sqlite(rusqlite::Error),
    Read(ReadError),
}

impl From<rusqlite::Error> for Trouble {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl From<ReadError> for Trouble {
    fn from(error: ReadError) -> Self {
        Self::Read(error)
    }
}

/// The number and the verdict of a row of `SELECT`.
pub(super) fn verdict(c: &Connection, row: &Row<'_>) -> Result<(i64, Verdict), Trouble> {
    let version: u32 = row.get("version")?;
    if version != wire::VERSION {
        return Err(ReadError::Damaged(format!("document version {version}")).into());
    }
    let document: String = row.get("document")?;
    let mut detail: Detail<'_> = wire::read("document", &document)?;
    let evaluation = match detail.dmarc.take() {
        Some(dmarc) => Some(evaluation(c, row, dmarc)?),
        None => None,
    };
    let verdict = Verdict {
        id: VerdictId::from_bytes(row.get("id")?),
        received: Timestamp::from_micros(row.get("received")?),
        evidence: Evidence {
            spf: SpfEvidence {
                mail_from: detail.spf.read(row.get("spf_record")?)?,
                helo: detail.helo.read(row.get("helo_record")?)?,
            },
            dkim: wire::read_dkim(detail.dkim, detail.dkim_not_tried)?,
            iprev: detail.iprev.read()?,
            arc: detail.arc.map(ArcWire::read).transpose()?,
        },
        envelope: envelope(row, detail.envelope)?,
        message: MessageFacts {
            author: detail.message.author.read()?,
            message_id: detail.message.message_id.map(Into::into),
            list_id: detail.message.list_id.map(Into::into),
            size: detail.message.size,
            forged_results: wire::read_count("forged results", detail.message.forged_results)?,
        },
        evaluation,
        decision: decision(row, detail.rule)?,
        weight: word(row, "weight", Weight::parse)?,
        authentication_results: detail.authentication_results.into(),
    };
    Ok((row.get("number")?, verdict))
}

fn envelope(row: &Row<'_>, wire: wire::EnvelopeWire<'_>) -> Result<Envelope, Trouble> {
    let relay = match wire.relay {
        Some(text) => Some(read_word("relay", &text, |t| t.parse().ok())?),
        None => None,
    };
    let addresses = wire.recipient_addresses.into_iter().map(Into::into);
    Ok(Envelope {
        queue_id: row.get("queue_id")?,
        client: read_address(row.get("source_ip")?)?,
        client_name: wire.client_name.map(Into::into),
        relay,
        helo: wire.helo.map(Into::into),
        mail_from: wire.mail_from.read()?,
        recipient_domains: shared::read_domains(&row.get::<_, String>("envelope_to")?)?,
        recipients: wire.recipients,
        recipient_addresses: addresses.collect(),
        daemon_name: wire.daemon_name.map(Into::into),
    })
}

fn evaluation(
    c: &Connection,
    row: &Row<'_>,
    wire: wire::DmarcWire<'_>,
) -> Result<Evaluation, Trouble> {
    let policy = match row.get::<_, Option<String>>("policy_domain")? {
        Some(domain) => Some(PublishedPolicy {
            domain: read_domain(&domain)?,
            method: word(row, "discovery_method", DiscoveryMethod::parse)?,
            record: record(c, row.get("record")?)?,
            tag: word(row, "tag", PolicyTag::parse)?,
            selected: word(row, "selected", Policy::parse)?,
            applied: word(row, "applied", Policy::parse)?,
        }),
        None => None,
    };
    let discovery = match row.get::<_, Option<String>>("discovery")? {
        Some(text) => discovery(c, &text)?,
        None => Vec::new(),
    };
    Ok(Evaluation {
        author_domain: read_domain(&wire.author_domain)?,
        result: word(row, "dmarc", DmarcResult::parse)?,
        policy,
        discovery,
        spf: wire::read_alignment(aligned(row, "spf")?, wire.spf)?,
        dkim: wire::read_alignment(aligned(row, "dkim")?, wire.dkim)?,
        organizational_domain: read_optional_domain(wire.organizational_domain.as_deref())?,
        grounds: wire.grounds.into(),
    })
}

fn discovery(c: &Connection, text: &str) -> Result<Vec<crate::auth::dmarc::Step>, Trouble> {
    let mut trouble = None;
    let steps = shared::read_discovery(text, |digest| {
        record(c, digest).map_err(|e| match e {
            Trouble::Read(error) => error,
            Trouble::Sqlite(error) => {
                let message = error.to_string();
                trouble = Some(error);
                ReadError::Damaged(message)
            }
        })
    });
    match trouble {
        Some(error) => Err(Trouble::Sqlite(error)),
        None => Ok(steps?),
    }
}

/// The DMARC record with this digest.
fn record(c: &Connection, digest: Digest) -> Result<Record, Trouble> {
    let mut statement = c.prepare_cached("SELECT * FROM dmarc_record WHERE digest = ?1")?;
    let read =
        |row: &Row<'_>| -> rusqlite::Result<Result<Record, Trouble>> { Ok(read_record(row)) };
    match statement.query_row([digest], read).optional()? {
        Some(record) => record,
        None => Err(ReadError::Damaged("a DMARC record is missing".to_owned()).into()),
    }
}

pub(super) fn read_record(row: &Row<'_>) -> Result<Record, Trouble> {
    let list = |column: &str| -> Result<Vec<String>, Trouble> {
        Ok(wire::read(column, &row.get::<_, String>(column)?)?)
    };
    Ok(Record {
        text: row.get("text")?,
        p: word(row, "p", Policy::parse)?,
        sp: optional_word(row, "sp", Policy::parse)?,
        np: optional_word(row, "np", Policy::parse)?,
        adkim: word(row, "adkim", AlignmentMode::parse)?,
        aspf: word(row, "aspf", AlignmentMode::parse)?,
        psd: word(row, "psd", PsdFlag::parse)?,
        testing: row.get("testing")?,
        fo: row.get("fo")?,
        rua: list("rua")?,
        ruf: list("ruf")?,
        usable: row.get("usable")?,
        problems: list("problems")?,
    })
}

fn decision(row: &Row<'_>, rule: Option<RuleWire<'_>>) -> Result<Decision, Trouble> {
    let cause = word(row, "cause", Cause::parse)?;
    let published = optional_word(row, "published", Policy::parse)?;
    let disposition = word(row, "disposition", Disposition::parse)?;
    let action = word(row, "action", Action::parse)?;
    let mut reasons = shared::read_reasons(&row.get::<_, String>("reasons")?)?.into_iter();
    let decision = match reasons.next() {
        None => Decision::follow(cause, published, disposition, action),
        Some(reason) => Decision::depart(
            cause,
            published,
            disposition,
            action,
            reason,
            reasons.collect(),
        ),
    };
    Ok(match rule {
        Some(rule) => decision.under(rule.read()?),
        None => decision,
    })
}

/// 4 or 16 octets.
pub(super) fn read_address(octets: Option<Vec<u8>>) -> Result<Option<IpAddr>, ReadError> {
    let Some(octets) = octets else {
        return Ok(None);
    };
    let v4 = <[u8; 4]>::try_from(octets.as_slice()).map(IpAddr::from);
    let v6 = <[u8; 16]>::try_from(octets.as_slice()).map(IpAddr::from);
    match v4.or(v6) {
        Ok(address) => Ok(Some(address)),
        Err(_) => Err(ReadError::Damaged(format!(
            "an address of {} octets",
            octets.len()
        ))),
    }
}

/// `pass` and `fail` of an alignment test.
fn aligned(row: &Row<'_>, column: &str) -> Result<bool, Trouble> {
    word(row, column, read_aligned)
}

pub(super) fn read_aligned(word: &str) -> Option<bool> {
    match word {
        "pass" => Some(true),
        "fail" => Some(false),
        _ => None,
    }
}

/// The word in a column.
pub(super) fn word<T>(
    row: &Row<'_>,
    column: &str,
    parse: impl Fn(&str) -> Option<T>,
) -> Result<T, Trouble> {
    optional_word(row, column, parse)?
        .ok_or_else(|| ReadError::Damaged(format!("no {column}")).into())
}

pub(super) fn optional_word<T>(
    row: &Row<'_>,
    column: &str,
    parse: impl Fn(&str) -> Option<T>,
) -> Result<Option<T>, Trouble> {
    let text = row
        .get_ref(column)?
        .as_str_or_null()
        .map_err(|_| ReadError::Damaged(format!("{column} is no text")))?;
    Ok(text
        .map(|text| read_word(column, text, parse))
        .transpose()?)
}

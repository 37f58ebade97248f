//! Held mail: what waits for an operator.
//!
//! Owns those queries. Goes by the table `awaiting`, which knows what is held, so that however many
//! verdicts there are only held ones are looked at.

use crate::policy::Cause;
use crate::store::error::ReadError;
use crate::store::query::{HeldCounts, HeldFilter, HeldIn, HeldMessage};
use crate::store::shared::read_domains;
use crate::store::sqlite::read::Reader;
use crate::store::sqlite::rebuild::{Trouble, word};
use crate::store::wire::read_optional_domain;
use crate::time::Timestamp;
use crate::verdict::VerdictId;
use rusqlite::{Row, params};

impl Reader {
    /// Held messages, in the order in which they came, at most 1,000: the next page is beyond the last of them.
    pub fn held(&self, filter: &HeldFilter) -> Result<Vec<HeldMessage>, ReadError> {
        let sql = format!(
            "{SELECT} WHERE a.state = 'held'
                 AND (?1 IS NULL OR a.verdict > (SELECT number FROM verdict WHERE id = ?1))
                 AND (?2 IS NULL OR v.header_from = (SELECT id FROM name WHERE name = ?2))
                 AND (?3 IS NULL OR held.at < ?3)
                 AND (?4 IS NULL OR a.announced < ?4)
                 AND (?5 OR held.source <> 'operator' OR held.at >= ?6)
                 AND (?7 OR held.source = 'operator')
                 AND (?8 OR e.action = 'hold')
             ORDER BY a.verdict LIMIT ?9"
        );
        // All that was told, what was told since then, and what lies in the queue.
        let (told, told_since, queue) = match filter.place {
            HeldIn::Anywhere => (true, None, true),
            HeldIn::Queue | HeldIn::QueueByUs => (false, None, true),
            HeldIn::Told => (true, None, false),
            HeldIn::QueueOrToldSince(since) => (false, Some(since), true),
        };
        let values = params![
            filter.beyond.as_ref().map(VerdictId::as_bytes),
            filter.author_domain.as_ref().map(|domain| domain.as_str()),
            filter.held_before.map(Timestamp::micros),
            filter.announced_before.map(Timestamp::micros),
            told,
            told_since.map(Timestamp::micros),
            queue,
            filter.place != HeldIn::QueueByUs,
            filter.limit.unwrap_or(PAGE).min(PAGE),
        ];
        self.rows(&sql, values, message)
    }

    /// How many messages are held, and since when.
    pub fn held_counts(&self) -> Result<HeldCounts, ReadError> {
        self.sql(|c| {
            c.query_row(
                "SELECT count(*) FILTER (WHERE held.source <> 'operator'),
                     min(held.at) FILTER (WHERE held.source <> 'operator'),
                     count(*) FILTER (WHERE held.source = 'operator'),
                     max(held.at) FILTER (WHERE held.source = 'operator')
                 FROM awaiting a JOIN outcome held ON held.seq =
                     (SELECT max(seq) FROM outcome WHERE verdict = a.verdict)
                 WHERE a.state = 'held'",
                [],
                |row| {
                    let time = |micros: Option<i64>| micros.map(Timestamp::from_micros);
                    Ok(HeldCounts {
                        messages: row.get::<_, i64>(0)?.unsigned_abs(),
                        since: time(row.get(1)?),
                        told: row.get::<_, i64>(2)?.unsigned_abs(),
                        last_told: time(row.get(3)?),
                    })
                },
            )
        })
    }
}

const SELECT: &str = "
    SELECT v.id, v.received, held.at, held.source = 'operator' AS told,
        e.action = 'hold' AS by_us, v.queue_id, a.announced, e.cause, tos.text AS envelope_to,
        (SELECT name FROM name WHERE id = v.header_from) AS header_from,
        (SELECT name FROM name WHERE id = v.envelope_from) AS envelope_from,
        d.document ->> '$.message.size' AS size
    FROM awaiting a CROSS JOIN verdict v ON v.number = a.verdict
    JOIN outcome held ON held.seq =
        (SELECT max(seq) FROM outcome WHERE verdict = a.verdict)
    JOIN detail d ON d.verdict = a.verdict
    JOIN policy_evaluated e ON e.id = v.policy_evaluated
    JOIN document tos ON tos.id = v.envelope_to";

fn message(row: &Row<'_>) -> Result<HeldMessage, Trouble> {
    let header_from: Option<String> = row.get("header_from")?;
    Ok(HeldMessage {
        id: VerdictId::from_bytes(row.get("id")?),
        received: Timestamp::from_micros(row.get("received")?),
        since: Timestamp::from_micros(row.get("at")?),
        queue_id: row.get("queue_id")?,
        author_domain: read_optional_domain(header_from.as_deref())?,
        envelope_from: row.get("envelope_from")?,
        recipient_domains: read_domains(&row.get::<_, String>("envelope_to")?)?,
        cause: word(row, "cause", Cause::parse)?,
        size: row.get::<_, i64>("size")?.unsigned_abs(),
        announced: row
            .get::<_, Option<i64>>("announced")?
            .map(Timestamp::from_micros),
        by_us: row.get("by_us")?,
        told: row.get("told")?,
    })
}

/// Messages in one answer.
const PAGE: u32 = 1_000;

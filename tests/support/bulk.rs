//! Days of mail by direct insertion: millions of verdicts that were accepted, without the wait for each.
//!
//! Writes what the store's writer writes, so far as reports and listings read it.

use alignd::store::{Store, StoreSettings};
use alignd::time::{Timestamp, UtcDay};
use rusqlite::{Connection, params};
use std::collections::HashMap;
use std::path::Path;

/// How much mail, of whom.
#[derive(Debug, Clone)]
pub struct Bulk {
    pub day: UtcDay,
    pub messages: u64,
    /// Domain 1 has a tenth of all mail, the others share the rest as Zipf has it.
    pub domains: u64,
    /// Addresses that domain 1's mail comes from; the others' comes from 1 in 4 of it, 500 at most.
    pub addresses: u64,
    /// Octets of a verdict's grounds; mail has 1,200.
    pub grounds: usize,
}

/// The name of the `nth` domain, from 1.
pub fn domain(nth: u64) -> String {
    format!("d{nth}.example")
}

/// Makes the store and fills it; tells how many messages each domain has, by its number.
pub fn fill(directory: &Path, bulk: &Bulk) -> HashMap<u64, u64> {
    let settings = StoreSettings {
        path: directory.to_owned(),
        ..StoreSettings::default()
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime");
    let store = Store::open(&settings, bulk.day.begin()).expect("opens");
    runtime.block_on(store.close());
    let mut connection = Connection::open(directory.join("alignd.db")).expect("opens");
    // Indexes grow at random places: what is written of them at each commit, and twice with a journal,
    // would take most of the time. A day of 10 million takes 1.5 GiB of memory so.
    connection
        .execute_batch(
            "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -2000000;",
        )
        .expect("settings");
    let mut filling = Filling::new(bulk);
    let mut counts = HashMap::new();
    let mut written = 0;
    while written < bulk.messages {
        let transaction = connection.transaction().expect("begins");
        for _ in 0..1_000_000.min(bulk.messages - written) {
            let domain = filling.message(&transaction).expect("inserts");
            *counts.entry(domain).or_default() += 1;
            written += 1;
        }
        transaction.commit().expect("commits");
    }
    connection
        .execute_batch("PRAGMA journal_mode = WAL;")
        .expect("settings");
    counts
}

struct Filling<'b> {
    bulk: &'b Bulk,
    random: u64,
    nth: u64,
    /// name, policy_published and the documents of auth_results of a domain.
    known: HashMap<u64, (i64, i64, [i64; 3])>,
    shared: Option<Shared>,
    grounds: String,
}

#[derive(Clone, Copy)]
struct Shared {
    envelope_to: i64,
    evaluated: [i64; 3],
}

/// disposition, dkim, spf, reasons; of every 10 messages 8, 1 and 1.
const EVALUATED: [(&str, &str, &str, &str); 3] = [
    ("pass", "pass", "pass", "[]"),
    ("pass", "pass", "fail", "[]"),
    (
        "none",
        "fail",
        "fail",
        r#"[{"type":"local_policy","comment":"policy not enforced by this receiver"}]"#,
    ),
];

impl<'b> Filling<'b> {
    fn new(bulk: &'b Bulk) -> Self {
        Self {
            bulk,
            random: 0x2545_f491_4f6c_dd1d,
            nth: 0,
            known: HashMap::new(),
            shared: None,
            grounds: "x".repeat(bulk.grounds),
        }
    }

    /// xorshift64*
    fn random(&mut self) -> u64 {
        self.random ^= self.random >> 12;
        self.random ^= self.random << 25;
        self.random ^= self.random >> 27;
        self.random.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// Every domain once, then domain 1 for a tenth, then Zipf's law (exponent 1) by inversion.
    fn draw(&mut self) -> u64 {
        let domains = self.bulk.domains;
        if self.nth < domains {
            return self.nth + 1;
        }
        if self.random().is_multiple_of(10) {
            return 1;
        }
        let unit = (self.random() >> 11) as f64 / (1_u64 << 53) as f64;
        let nth = ((domains as f64).ln() * unit).exp() as u64 + 1;
        nth.clamp(2.min(domains), domains)
    }

    /// Inserts one accepted message; the number of its domain.
    fn message(&mut self, c: &Connection) -> rusqlite::Result<u64> {
        let domain = self.draw();
        let shared = self.shared(c)?;
        let (name, published, results) = self.domain(c, domain)?;
        let kind = match self.random() % 10 {
            0 => 2,
            1 => 1,
            _ => 0,
        };
        let addresses = match domain {
            1 => self.bulk.addresses,
            _ => (self.bulk.addresses / 4).clamp(1, 500),
        };
        let host = (domain as u32).wrapping_mul(65_536) ^ (self.random() % addresses) as u32;
        let step = 86_399_000_000 / self.bulk.messages.max(1);
        let received = self.bulk.day.begin().plus_micros((self.nth * step) as i64);
        let mut id = [0; 16];
        id[..8].copy_from_slice(&received.micros().to_be_bytes());
        id[8..].copy_from_slice(&self.nth.to_be_bytes());
        self.nth += 1;
        c.prepare_cached(
            "INSERT INTO verdict (id, received, queue_id, source_ip, header_from, envelope_from,
                 envelope_to, policy_published, policy_evaluated, auth_results)
             VALUES (?1, ?2, ?3, ?4, ?5, ?5, ?6, ?7, ?8, ?9)",
        )?
        .execute(params![
            id,
            received.micros(),
            format!("4X{:09x}", self.nth),
            host.to_be_bytes(),
            name,
            shared.envelope_to,
            published,
            shared.evaluated[kind],
            results[kind],
        ])?;
        let number = c.last_insert_rowid();
        c.prepare_cached("INSERT INTO detail (verdict, version, document) VALUES (?1, 1, ?2)")?
            .execute(params![number, self.grounds])?;
        for (state, at) in [("answering", received), ("accepted", received)] {
            self.outcome(c, number, state, at, name)?;
        }
        Ok(domain)
    }

    fn outcome(
        &self,
        c: &Connection,
        verdict: i64,
        state: &str,
        at: Timestamp,
        name: i64,
    ) -> rusqlite::Result<()> {
        c.prepare_cached(
            "INSERT INTO outcome (verdict, state, at, day, source, policy_domain)
             VALUES (?1, ?2, ?3, ?4, 'reply', ?5)",
        )?
        .execute(params![
            verdict,
            state,
            at.micros(),
            at.day().number(),
            name
        ])?;
        Ok(())
    }

    fn shared(&mut self, c: &Connection) -> rusqlite::Result<Shared> {
        if let Some(shared) = self.shared {
            return Ok(shared);
        }
        let envelope_to = self.document(c, r#"["receiver.example"]"#)?;
        let mut evaluated = [0; 3];
        for (place, (disposition, dkim, spf, reasons)) in evaluated.iter_mut().zip(EVALUATED) {
            c.execute(
                "INSERT INTO policy_evaluated (digest, last_day, dmarc, tag, selected, applied,
                     dkim, spf, cause, published, disposition, action, reasons, weight)
                 VALUES (randomblob(32), ?1, ?2, 'p', 'reject', 'reject', ?3, ?4, 'pass', 'reject',
                     ?5, 'accept', ?6, 'triggers')",
                params![
                    self.bulk.day.number(),
                    dkim,
                    dkim,
                    spf,
                    disposition,
                    reasons
                ],
            )?;
            *place = c.last_insert_rowid();
        }
        let shared = Shared {
            envelope_to,
            evaluated,
        };
        self.shared = Some(shared);
        Ok(shared)
    }

    fn domain(&mut self, c: &Connection, nth: u64) -> rusqlite::Result<(i64, i64, [i64; 3])> {
        if let Some(known) = self.known.get(&nth) {
            return Ok(*known);
        }
        let (domain, day) = (domain(nth), self.bulk.day.number());
        c.prepare_cached("INSERT INTO name (name, last_day) VALUES (?1, ?2)")?
            .execute(params![domain, day])?;
        let name = c.last_insert_rowid();
        c.prepare_cached(
            "INSERT INTO dmarc_record (digest, last_day, text, p, adkim, aspf, psd, testing, fo,
                 rua, ruf, usable, problems)
             VALUES (randomblob(32), ?1, ?2, 'reject', 'r', 'r', 'u', 0, '0', ?3, '[]', 1, '[]')",
        )?
        .execute(params![
            day,
            format!("v=DMARC1; p=reject; rua=mailto:dmarc@{domain}"),
            format!(r#"["mailto:dmarc@{domain}"]"#),
        ])?;
        let record = c.last_insert_rowid();
        c.prepare_cached(
            "INSERT INTO policy_published (digest, last_day, domain, discovery_method, record)
             VALUES (randomblob(32), ?1, ?2, 'treewalk', ?3)",
        )?
        .execute(params![day, name, record])?;
        let published = c.last_insert_rowid();
        let mut results = [0; 3];
        for (place, (_, dkim, spf, _)) in results.iter_mut().zip(EVALUATED) {
            let text = format!(
                r#"{{"dkim":[{{"domain":"{domain}","selector":"s2026","result":"{dkim}"}}],"spf":{{"domain":"{domain}","scope":"mfrom","result":"{spf}"}}}}"#
            );
            *place = self.document(c, &text)?;
        }
        self.known.insert(nth, (name, published, results));
        Ok((name, published, results))
    }

    fn document(&self, c: &Connection, text: &str) -> rusqlite::Result<i64> {
        c.prepare_cached(
            "INSERT INTO document (digest, last_day, text) VALUES (randomblob(32), ?1, ?2)",
        )?
        .execute(params![self.bulk.day.number(), text])?;
        Ok(c.last_insert_rowid())
    }
}

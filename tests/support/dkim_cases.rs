//! The crafted mail of `tests/cases/dkim.jsonl`, made with keys of this run.
//!
//! Use from a test, beside `support/dkim_signer.rs`: `#[path = "support/dkim_cases.rs"] mod dkim_cases;`.
//!
//! Changes: `["tags", from, to]` in the template of tags, `["mail", from, to]` in the mail, both before
//! signing; `["signed", from, to]` in the signed mail; `["record", text]` instead of the key record,
//! `{p}` being the key; `["also", text]` a further record at its name; `["ed25519"]` instead of RSA.

use crate::dkim_signer::SigningKey;
use serde_json::Value;
use std::sync::LazyLock;

/// When the mail is judged. Past, so that peers which read the system's clock see the same: what has
/// expired has expired, what is to come is far away.
pub const NOW: i64 = 1_700_000_000;
/// Where the key is.
pub const NAME: &str = "sel._domainkey.example.org";

const MAIL: &str = "From: Ann <ann@example.org>\r\n\
    To: Bob <bob@example.net>\r\n\
    Subject: A  folded\r\n \tsubject\r\n\
    \r\n\
    Hello,\r\n\r\n  two  words \r\n\r\n\r\n";
const TAGS: &str = "v=1; a=rsa-sha256; c=relaxed/relaxed; d=example.org; s=sel;\r\n\t\
    t=1699999999; h=from:to:subject; bh={bh}; b={b}";

static RSA: LazyLock<SigningKey> = LazyLock::new(|| SigningKey::generate("rsa"));
static ED25519: LazyLock<SigningKey> = LazyLock::new(|| SigningKey::generate("ed25519"));

/// One line of the table.
pub struct Case {
    pub name: String,
    pub expected: String,
    pub mail: String,
    /// What is published at `NAME`.
    pub records: Vec<String>,
}

/// All lines.
pub fn all() -> Vec<Case> {
    let table = include_str!("../cases/dkim.jsonl");
    let lines = table.lines().filter(|line| line.starts_with('['));
    lines.map(read).collect()
}

/// One line.
pub fn read(line: &str) -> Case {
    let line: Vec<Value> = serde_json::from_str(line).expect("a line is an array");
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let change = |value: &Value| -> Vec<String> {
        let parts = value.as_array().expect("a change is an array");
        parts.iter().map(text).collect()
    };
    let changes: Vec<Vec<String>> = line[2..].iter().map(change).collect();
    let (mail, records) = craft(&changes);
    Case {
        name: text(&line[1]),
        expected: text(&line[0]),
        mail,
        records,
    }
}

fn craft(changes: &[Vec<String>]) -> (String, Vec<String>) {
    let (mut tags, mut mail) = (TAGS.to_owned(), MAIL.to_owned());
    let (mut key, mut record) = (&*RSA, None);
    let (mut also, mut after) = (Vec::new(), Vec::new());
    for change in changes {
        let change: Vec<&str> = change.iter().map(String::as_str).collect();
        match change[..] {
            ["tags", from, to] => tags = replaced(&tags, from, to),
            ["mail", from, to] => mail = replaced(&mail, from, to),
            ["signed", from, to] => after.push((from, to)),
            ["record", text] => record = Some(text),
            ["also", text] => also.push(text),
            ["ed25519"] => {
                key = &ED25519;
                tags = replaced(&tags, "rsa-", "ed25519-");
            }
            _ => panic!("no such change: {change:?}"),
        }
    }
    let signed = key.sign(mail.as_bytes(), &tags);
    let mut signed = String::from_utf8(signed).expect("the mail is UTF-8");
    for (from, to) in after {
        signed = replaced(&signed, from, to);
    }
    let published = key.record();
    let p = published.split("p=").nth(1).expect("a key");
    let records = [record.unwrap_or(&published)].into_iter().chain(also);
    (signed, records.map(|r| r.replace("{p}", p)).collect())
}

fn replaced(text: &str, from: &str, to: &str) -> String {
    assert!(text.contains(from), "{from:?} is not in {text:?}");
    text.replacen(from, to, 1)
}

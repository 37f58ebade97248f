//! pyspf over the same zones, all cases in one run of `tests/peers/spf_pyspf.py`.

use crate::case::{Case, PeerAnswer, RECEIVER};
use crate::python;
use crate::zone_data::Entry;
use serde_json::{Map, Value, json};
use std::io::{Seek, Write};
use std::path::Path;
use std::process::{Command, Stdio};

/// pyspf's answers in the order of the cases; `crash` as the result where it raises an exception.
pub fn answers(cases: &[Case]) -> Vec<PeerAnswer> {
    let interpreter = python::interpreter("spf", &["pyspf==2.0.14"]);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers/spf_pyspf.py");
    let mut questions = tempfile::tempfile().expect("there is room for a temporary file");
    for case in cases {
        writeln!(questions, "{}", question(case)).expect("there is room for a temporary file");
    }
    questions
        .rewind()
        .expect("a temporary file can be read again");
    let output = Command::new(interpreter)
        .arg(script)
        .stdin(Stdio::from(questions))
        .stderr(Stdio::inherit())
        .output()
        .expect("the interpreter was just made");
    let text = String::from_utf8(output.stdout).expect("the script prints JSON");
    let answers: Vec<PeerAnswer> = text.lines().map(answer).collect();
    assert_eq!(answers.len(), cases.len(), "the script answers every case");
    answers
}

fn question(case: &Case) -> Value {
    let zone: Map<String, Value> = case
        .zone
        .0
        .iter()
        .map(|(name, entries)| (name.clone(), entries.iter().map(entry).collect()))
        .collect();
    json!({
        "client": case.client, "helo": case.helo, "sender": case.mail_from,
        "receiver": RECEIVER, "zone": zone,
    })
}

fn entry(entry: &Entry) -> Value {
    match entry {
        Entry::A(address) => json!(["A", address]),
        Entry::Aaaa(address) => json!(["AAAA", address]),
        Entry::Mx(preference, exchange) => json!(["MX", [preference, exchange]]),
        Entry::Ptr(name) => json!(["PTR", name]),
        Entry::Cname(name) => json!(["CNAME", name]),
        Entry::Txt(strings) => {
            json!(["TXT", strings.iter().map(|s| latin1(s)).collect::<Vec<_>>()])
        }
        Entry::Timeout => json!(["TIMEOUT", null]),
    }
}

fn latin1(octets: &[u8]) -> String {
    octets.iter().map(|&octet| char::from(octet)).collect()
}

fn answer(line: &str) -> PeerAnswer {
    let answer: Value = serde_json::from_str(line).expect("the script prints JSON");
    let text = |key: &str| answer[key].as_str().map(str::to_owned);
    PeerAnswer::new(
        &text("result").expect("an answer has a result"),
        text("explanation"),
        &text("problem").expect("an answer has a problem"),
    )
}

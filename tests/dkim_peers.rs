//! DKIM beside others: mail-auth, viadkim and PyPI's dkimpy judge the same mail as alignd. Compared is
//! what matters to DMARC: does a signature pass? Every disagreement is listed in
//! `peers/dkim_disagreements.rs` with the RFC sentence that decides it; one that is not listed fails,
//! and so does a listed one on the crafted table that no longer occurs.

#[path = "support/dkim.rs"]
mod dkim;
#[path = "support/dkim_cases.rs"]
mod dkim_cases;
#[path = "peers/dkim_disagreements.rs"]
mod dkim_disagreements;
#[path = "support/dkim_signer.rs"]
mod dkim_signer;
#[path = "support/mail_auth_dkim.rs"]
mod mail_auth_dkim;
#[path = "support/python.rs"]
mod python;

use alignd::auth::dkim::DkimSettings;
use alignd::message::parse::Message;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use dkim_cases::{Case, NAME, NOW};
use dkim_disagreements::{DISAGREEMENTS, EXPLAINED};
use dkim_signer::SigningKey;
use mail_auth_dkim::MailAuth;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::future::{Ready, ready};
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::{Duration, UNIX_EPOCH};
use viadkim::header::HeaderFields;
use viadkim::verifier::{Config, LookupTxt, VerificationStatus};

/// A mail, and the names and texts of its keys.
struct Mail {
    octets: Vec<u8>,
    records: Vec<(String, String)>,
}

impl Mail {
    fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.records.iter().map(|(n, r)| (n.as_str(), r.as_str()))
    }

    /// mail-auth and dkimpy take one record a name.
    fn has_single_records(&self) -> bool {
        let names: BTreeSet<&str> = self.pairs().map(|(name, _)| name).collect();
        names.len() == self.records.len()
    }
}

/// Whether each mail passes; `None` where the peer cannot take it.
type Verdicts = Vec<Option<bool>>;

fn alignd(mail: &Mail) -> bool {
    let zone = dkim::zone(mail.pairs());
    let settings = DkimSettings::default();
    let evidence = dkim::judge(&mail.octets, &zone, &settings, NOW, 11);
    dkim::lines(&evidence).iter().any(|line| line == "pass")
}

fn ask(mails: &[Mail]) -> [(&'static str, Verdicts); 3] {
    [
        ("mail-auth", mails.iter().map(mail_auth).collect()),
        ("viadkim", mails.iter().map(viadkim).collect()),
        ("dkimpy", dkimpy(mails)),
    ]
}

fn mail_auth(mail: &Mail) -> Option<bool> {
    let results = MailAuth::new(mail.pairs()).judge(&mail.octets);
    let passes = results.contains(&mail_auth::DkimResult::Pass);
    mail.has_single_records().then_some(passes)
}

/// Takes header fields without control characters.
fn viadkim(mail: &Mail) -> Option<bool> {
    let message = Message::parse(&mail.octets);
    let fields = message.fields.iter().map(|field| {
        let name = String::from_utf8_lossy(&field.name).into_owned();
        (name, field.value.to_vec())
    });
    let header = HeaderFields::from_vec(fields.collect()).ok()?;
    let config = Config {
        fixed_system_time: Some(UNIX_EPOCH + Duration::from_secs(NOW as u64)),
        ..Config::default()
    };
    let zone = Zone(mail.records.clone());
    let runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = { runtime }.enable_all().build().expect("a runtime");
    let results = runtime.block_on(viadkim::verify(&zone, &header, &message.body, &config));
    let passes = |r: &viadkim::VerificationResult| r.status == VerificationStatus::Success;
    Some(results.iter().any(passes))
}

/// The key records for viadkim.
#[derive(Clone)]
struct Zone(Vec<(String, String)>);

impl LookupTxt for Zone {
    type Answer = Vec<std::io::Result<Vec<u8>>>;
    type Query<'a> = Ready<std::io::Result<Self::Answer>>;

    fn lookup_txt(&self, domain: &str) -> Self::Query<'_> {
        let domain = domain.trim_end_matches('.');
        let found = self.0.iter().filter(|(name, _)| name == domain);
        let found: Self::Answer = found.map(|(_, r)| Ok(r.clone().into_bytes())).collect();
        ready(match found[..] {
            [] => Err(std::io::ErrorKind::NotFound.into()),
            _ => Ok(found),
        })
    }
}

fn dkimpy(mails: &[Mail]) -> Verdicts {
    let python = python::interpreter("dkimpy", &["dkimpy==1.1.8", "pynacl==1.6.0"]);
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/peers/dkim_dkimpy.py");
    let mut child = Command::new(python)
        .arg(script)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("dkimpy starts");
    let mut input = String::new();
    for mail in mails {
        let line = serde_json::json!({
            "mail": STANDARD.encode(&mail.octets),
            "keys": mail.pairs().collect::<BTreeMap<_, _>>(),
            "now": NOW,
        });
        input.push_str(&format!("{line}\n"));
    }
    let mut stdin = child.stdin.take().expect("a pipe");
    let writer = std::thread::spawn(move || stdin.write_all(input.as_bytes()));
    let output = child.wait_with_output().expect("dkimpy ends");
    writer.join().expect("no panic").expect("dkimpy reads all");
    assert!(output.status.success());
    let output = String::from_utf8(output.stdout).expect("UTF-8");
    let lines: Vec<&str> = output.lines().collect();
    assert_eq!(lines.len(), mails.len(), "one line a mail");
    let verdict = |(line, mail): (&&str, &Mail)| {
        mail.has_single_records()
            .then_some(line.starts_with("pass"))
    };
    lines.iter().zip(mails).map(verdict).collect()
}

#[test]
fn crafted_mail() {
    let cases = dkim_cases::all();
    let mail = |case: &Case| Mail {
        octets: case.mail.clone().into_bytes(),
        records: case
            .records
            .iter()
            .map(|r| (NAME.to_owned(), r.clone()))
            .collect(),
    };
    let verdicts = ask(&cases.iter().map(mail).collect::<Vec<_>>());
    let mut listed: BTreeSet<(&str, &str)> = BTreeSet::new();
    for (_, peers) in DISAGREEMENTS {
        for (peer, names) in *peers {
            listed.extend(names.iter().map(|name| (*peer, *name)));
        }
    }
    let mut unexpected = Vec::new();
    for (peer, answers) in verdicts {
        let (mut agree, mut asked) = (0, 0);
        for (case, answer) in cases.iter().zip(answers) {
            let Some(passes) = answer else { continue };
            asked += 1;
            if passes == (case.expected == "pass") {
                agree += 1;
            } else if !listed.remove(&(peer, case.name.as_str())) {
                unexpected.push(format!("{peer}: {}: passes {passes}", case.name));
            }
        }
        println!("dkim crafted, {peer}: {agree} of {asked} agree, the others are explained");
    }
    assert!(unexpected.is_empty(), "\n{}", unexpected.join("\n"));
    assert!(listed.is_empty(), "no longer: {listed:?}");
}

/// The public suites' messages, all of them real or printed in an RFC.
#[test]
fn suites() {
    let mails: Vec<Mail> = SUITES
        .iter()
        .map(|(zone, file)| suite(zone, file))
        .collect();
    let ours: Vec<bool> = mails.iter().map(alignd).collect();
    for (peer, answers) in ask(&mails) {
        for (((_, file), ours), passes) in SUITES.iter().zip(&ours).zip(answers) {
            assert_eq!(passes, Some(*ours), "{peer}: {file}");
        }
        println!("dkim suites, {peer}: {0} of {0} agree", mails.len());
    }
}

/// Reads a message and its keys: lines of a name, white space and a record, in a file of their own
/// or, as mail-auth has them, above the message.
fn suite(zone: &str, file: &str) -> Mail {
    let suites = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/spec/suites/dkim/");
    let read = |file: &str| fs::read(format!("{suites}{file}")).expect("a file of the suites");
    let mut mail = String::from_utf8(read(file)).expect("UTF-8");
    let keys = if zone.is_empty() {
        let (keys, rest) = mail.split_once("\n\n").expect("keys and a message");
        let keys = keys.to_owned();
        mail = rest.to_owned();
        keys
    } else {
        String::from_utf8(read(zone)).expect("UTF-8")
    };
    if !mail.contains("\r\n") {
        mail = mail.replace('\n', "\r\n");
    }
    let record = |line: &str| {
        let (name, record) = line.split_once([' ', '\t'])?;
        Some((name.to_owned(), record.to_owned()))
    };
    Mail {
        octets: mail.into_bytes(),
        records: keys.lines().filter_map(record).collect(),
    }
}

/// Keys and message; no keys where they stand above the message.
const SUITES: &[(&str, &str)] = &[
    ("rfc8463/dns.txt", "rfc8463/message.eml"),
    ("rfc8463/dns.txt", "mailauth-ec/signed.eml"),
    ("rfc8463/dns.txt", "dkimpy/rfc6376.signed.msg"),
    ("rfc8463/dns.txt", "dkimpy/rfc6376.signed.rsa.msg"),
    ("rfc8463/dns.txt", "dkimpy/rfc6376.signed.no_t.msg"),
    ("rfc6376/dns.txt", "rfc6376/a2-signed-verifiable.eml"),
    ("rfc6376/dns.txt", "rfc6376/a2-signed.eml"),
    ("rfc6376/dns.txt", "rfc6376/a3-verified.eml"),
    ("", "mail-auth/001.txt"),
    ("", "mail-auth/002.txt"),
    ("", "mail-auth/003.txt"),
    ("", "mail-auth/004.txt"),
    ("", "mail-auth/005.txt"),
    ("", "mail-auth/006.txt"),
];

#[test]
fn mutated_mail() {
    let mut runner = TestRunner::deterministic();
    let mut draw = || strategy().new_tree(&mut runner).expect("a value").current();
    let drawn: Vec<Drawn> = (0..MUTATED).map(|_| draw()).collect();
    let key = [SigningKey::generate("rsa"), SigningKey::generate("ed25519")];
    let mails: Vec<Mail> = drawn.iter().map(|drawn| drawn.mail(&key)).collect();
    let ours: Vec<bool> = mails.iter().map(alignd).collect();
    let passing = ours.iter().filter(|passes| **passes).count();
    println!("dkim mutated: {passing} of {MUTATED} pass");
    assert!(
        (MUTATED / 4..MUTATED).contains(&passing),
        "nothing to compare"
    );
    let mut unexpected = Vec::new();
    for (peer, answers) in ask(&mails) {
        let (mut agree, mut asked) = (0, 0);
        for (((drawn, mail), ours), answer) in drawn.iter().zip(&mails).zip(&ours).zip(answers) {
            let Some(passes) = answer else { continue };
            asked += 1;
            if passes == *ours {
                agree += 1;
            } else if !drawn.is_explained(peer) {
                let mail = String::from_utf8_lossy(&mail.octets);
                unexpected.push(format!(
                    "{peer} passes {passes}: {:?}\n{mail:?}",
                    drawn.kinds()
                ));
            }
        }
        println!("dkim mutated, {peer}: {agree} of {asked} agree");
    }
    assert!(unexpected.is_empty(), "\n{}", unexpected.join("\n"));
}

/// A signed mail and what happened to it.
#[derive(Debug, Clone)]
struct Drawn {
    algorithm: usize,
    canon: &'static str,
    list: &'static str,
    template: &'static str,
    length: &'static str,
    mutations: Vec<(&'static str, prop::sample::Index)>,
}

fn strategy() -> impl Strategy<Value = Drawn> {
    let mutation = (prop::sample::select(KINDS), any::<prop::sample::Index>());
    (
        0_usize..2,
        prop::sample::select(&["simple", "relaxed", "simple/relaxed", "relaxed/relaxed"][..]),
        prop::sample::select(
            &[
                "from:to:subject",
                "From:From:To:Date",
                "subject : from : x : to",
            ][..],
        ),
        prop::sample::select(TEMPLATES),
        prop::sample::select(&["", "", "", "", "", "l=40;"][..]),
        prop::collection::vec(mutation, 0..3),
    )
        .prop_map(
            |(algorithm, canon, list, template, length, mutations)| Drawn {
                algorithm,
                canon,
                list,
                template,
                length,
                mutations,
            },
        )
}

impl Drawn {
    fn kinds(&self) -> Vec<&str> {
        let mut kinds: Vec<&str> = self.mutations.iter().map(|(kind, _)| *kind).collect();
        kinds.extend([self.canon, self.list, self.length]);
        kinds
    }

    fn is_explained(&self, peer: &str) -> bool {
        let kinds = self.kinds();
        let mut explained = EXPLAINED.iter().filter(|(p, _, _)| *p == peer);
        explained.any(|(_, kind, _)| kinds.contains(kind))
    }

    fn mail(&self, keys: &[SigningKey; 2]) -> Mail {
        let key = &keys[self.algorithm];
        let tags = self
            .template
            .replace("{a}", ["rsa-sha256", "ed25519-sha256"][self.algorithm])
            .replace("{c}", self.canon)
            .replace("{h}", self.list)
            .replace("{l}", self.length);
        let mut octets = key.sign(MAIL.as_bytes(), &tags);
        for (kind, at) in &self.mutations {
            octets = mutate(octets, kind, at);
        }
        Mail {
            octets,
            records: vec![(NAME.to_owned(), key.record())],
        }
    }
}

/// Does one thing to a mail somewhere.
fn mutate(mut mail: Vec<u8>, kind: &str, at: &prop::sample::Index) -> Vec<u8> {
    let find = |range: std::ops::Range<usize>, what: &[u8]| -> Option<usize> {
        let found = |place: &usize| mail[*place..].starts_with(what);
        let places: Vec<usize> = range.filter(found).collect();
        (!places.is_empty()).then(|| places[at.index(places.len())])
    };
    let split = |what: &[u8]| mail.windows(what.len()).position(|w| w == what);
    let body = split(b"\r\n\r\n").map_or(mail.len(), |place| place + 4);
    let fields = split(b"\r\nReceived:").map_or(0, |place| place);
    let (signature, header, body) = (15..fields, fields..body - 4, body..mail.len());
    let (place, out, with): (Option<usize>, usize, &[u8]) = match kind {
        "field name" => (find(header, b"\r\nFrom"), 6, b"\r\nfROM"),
        "fold" => (find(header, b" "), 1, b"\r\n "),
        "unfold" => (find(header, b"\r\n "), 2, b""),
        "space" => (find(header, b" "), 0, b" "),
        "tab" => (find(header, b" "), 1, b"\t"),
        "space before a line end" => (find(header, b"\r\n"), 0, b" "),
        "letter" => (find(header, b"o"), 1, b"0"),
        "added field" => (find(header, b"\r\n"), 0, b"\r\nTo: x"),
        "added date" => (find(header, b"\r\n"), 0, b"\r\nDate: x"),
        "body space" => (find(body, b" "), 0, b" "),
        "body tab" => (find(body, b" "), 1, b"\t"),
        "body space before a line end" => (find(body, b"\r\n"), 0, b" "),
        "body line" => (find(body, b"\r\n"), 0, b"\r\n"),
        "body end" => (Some(mail.len()), 0, b"\r\n\r\n"),
        "body letter" => (find(body, b"o"), 1, b"0"),
        "tag space" => (find(signature, b";"), 0, b" "),
        "tag fold" => (find(signature, b" "), 0, b"\r\n\t"),
        "tag letter" => (find(signature, b"e"), 1, b"f"),
        "tag lost" => (find(signature, b"="), 1, b""),
        other => panic!("no such kind: {other}"),
    };
    if let Some(place) = place {
        mail.splice(place..place + out, with.iter().copied());
    }
    mail
}

const KINDS: &[&str] = &[
    "field name",
    "fold",
    "unfold",
    "space",
    "tab",
    "space before a line end",
    "letter",
    "added field",
    "added date",
    "body space",
    "body tab",
    "body space before a line end",
    "body line",
    "body end",
    "body letter",
    "tag space",
    "tag fold",
    "tag letter",
    "tag lost",
];

const TEMPLATES: &[&str] = &[
    "v=1; a={a}; c={c}; d=example.org; s=sel;{l} h={h}; bh={bh}; b={b}",
    "v=1;a={a};c={c};d=example.org;s=sel;{l}h={h};bh={bh};b={b};",
    "a={a}; b={b}; bh={bh};\r\n\tc={c}; d=example.org;\r\n {l} h={h};\r\n i=@example.org; s=sel; v=1",
];

const MAIL: &str = "Received: from a.example.org by b.example.net;\r\n\
    \tSun, 22 Nov 2026 16:30:00 +0000\r\n\
    From: Ann Other <ann@example.org>\r\n\
    To: Bob <bob@example.net>,\r\n Eve <eve@example.net>\r\n\
    Subject: Another  subject\r\n\
    \r\n\
    Hello Bob,\r\n\r\n  two  words  \r\n\tfoo\r\n\r\nSo long\r\n\r\n";

const MUTATED: usize = 600;

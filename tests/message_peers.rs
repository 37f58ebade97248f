//! Outside readers of the header fields that we write and read: Python's `email` and the package
//! `authres` for Authentication-Results, Python's `email` and mail-auth (with mail-parser) for From.
//! Each disagreement about From is listed with the RFC sentence that decides it.

#[path = "support/python.rs"]
mod python;

use alignd::domain::DomainName;
use alignd::message::HeaderField;
use alignd::message::authentication_results::{Field, MethodResult, Property};
use alignd::message::author::{Author, author};
use mail_auth::AuthenticatedMessage;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

/// Asks the Python readers; one answer for each question.
fn ask(name: &str, questions: &[Value]) -> Vec<Value> {
    let input = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let lines: Vec<String> = questions.iter().map(Value::to_string).collect();
    std::fs::write(&input, lines.join("\n")).expect("target/ is writable");
    let python = python::interpreter("message", &["authres==1.2.0"]);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/message_peers.py");
    let output = Command::new(python).arg(script).arg(input).output();
    let output = output.expect("the interpreter runs");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let answers: Vec<Value> = String::from_utf8_lossy(&output.stdout)
        .lines()
        .map(|line| serde_json::from_str(line).expect("the script prints JSON"))
        .collect();
    assert_eq!(answers.len(), questions.len());
    answers
}

fn latin1(octets: &[u8]) -> String {
    octets.iter().map(|octet| char::from(*octet)).collect()
}

/// What we make of a From field: its domains, in one order.
fn ours(value: &[u8]) -> String {
    match author(&[HeaderField::new("From", value)]) {
        Author::One(domain) => domain.to_string(),
        Author::Several(domains) => shown(domains.iter().map(DomainName::to_string)),
        Author::Unparseable(_) | Author::Missing => "nobody".to_owned(),
    }
}

fn shown(domains: impl Iterator<Item = String>) -> String {
    let domains: BTreeSet<String> = domains
        .map(|domain| DomainName::parse(&domain).map_or(domain, |domain| domain.to_string()))
        .collect();
    let domains: Vec<String> = domains
        .into_iter()
        .filter(|domain| !domain.is_empty())
        .collect();
    if domains.is_empty() {
        "nobody".to_owned()
    } else {
        domains.join(" ")
    }
}

fn mail_auths(value: &[u8]) -> String {
    let mut message = b"From:".to_vec();
    message.extend_from_slice(value);
    message.extend_from_slice(b"\r\nSubject: x\r\n\r\nbody\r\n");
    let Some(message) = AuthenticatedMessage::parse(&message) else {
        return "nobody".to_owned();
    };
    let domain = |address: &String| match address.rsplit_once('@') {
        Some((_, domain)) => domain.to_owned(),
        None => String::new(),
    };
    shown(message.froms().iter().map(domain))
}

fn pythons(answer: &Value) -> String {
    match answer {
        Value::Array(domains) => shown(
            domains
                .iter()
                .map(|domain| domain.as_str().unwrap_or_default().to_owned()),
        ),
        _ => FAILS.to_owned(),
    }
}

/// Fields that all three read alike.
const AGREED: &[&str] = &[
    " a@x.example",
    "a@X.EXAMPLE",
    " A <a@x.example>",
    " \"A, B\" <a@x.example>",
    " A B. C <a@x.example> (D)",
    " (\"b@y.example\") a@x.example (b@y.example (<c@z.example>))",
    " \"b@y.example\" <a@x.example>",
    " \"\\\"<b@y.example>\" <a@x.example>",
    " =?utf-8?q?b=40y=2Eexample?= <a@x.example>",
    " =?utf-8?B?PGJAeS5leGFtcGxlPg==?= <a@x.example>",
    " \"b@y.example\"@x.example",
    " \"<b@y.example> \\\"\"@x.example",
    "\r\n A\r\n\t<a@x.example>\r\n ",
    " <@y.example,@z.example:a@x.example>",
    " G: a@x.example, <b@x.example>;",
    " G:;, a@x.example",
    " undisclosed:;",
    " \"b@y.example\":a@x.example;",
    " ,, a@x.example, ,",
    " a@x.example, b@y.example",
    " A <a@x.example>, B <b@y.example>, c@x.example",
    " a@x.example <a@x.example>",
    " a@bank.example\u{3002}evil.example",
    " \"A <a@x.example>",
    " (A <a@x.example>",
    " root",
    " <>",
    " a@b\u{fc}cher.example",
    " J\u{fc}rgen <j\u{fc}rgen@x.example>",
    "",
];

/// Fields that somebody reads otherwise: the field, what we read, Python, mail-auth, and why we do.
/// Sentences without a section are from RFC 5322 §3.4 and §3.4.1.
const DISAGREED: &[(&str, &str, &str, &str, &str)] = &[
    // Read by us, not by all others.
    (
        " .A <a@x.example>",
        "x.example",
        FAILS,
        "x.example",
        "§4.1 obs-phrase takes dots between words; one in front changes nothing",
    ),
    (
        " a@x.example.",
        "x.example",
        "nobody",
        "x.example",
        "RFC 1034 §3.1: the dot at the end is the root; same domain",
    ),
    (
        " a . \"b c\" (d) @ (e) x.example",
        "x.example",
        "x.example",
        "nobody",
        "§4.4: obs-local-part = word *(\".\" word); §3.2.3: dot-atom = [CFWS] dot-atom-text [CFWS]",
    ),
    (
        " John Doe <jdoe@x(comment).  example>",
        "x.example",
        "x.example",
        "x.  example",
        "A.6.3 has it as example; §4.4: obs-domain = atom *(\".\" atom)",
    ),
    // No addr-spec at all, or no domain in it: addr-spec = local-part \"@\" domain.
    (
        " @x.example",
        "nobody",
        "nobody",
        "x.example",
        "local-part is not optional",
    ),
    (
        " <@x.example>",
        "nobody",
        "nobody",
        "x.example",
        "local-part is not optional",
    ),
    (
        " a@x..example",
        "nobody",
        "nobody",
        "x..example",
        "§3.2.3: dot-atom-text = 1*atext *(\".\" 1*atext)",
    ),
    (
        " a@[192.0.2.1]",
        "nobody",
        "[192.0.2.1]",
        "[192.0.2.1]",
        "RFC 9989 §5.3.1 extracts a domain; a domain-literal is none",
    ),
    (
        " a@=?utf-8?q?x=2Eexample?=",
        "nobody",
        "x.example",
        "=?utf-8?q?x=2eexample?=",
        "RFC 2047 §5: an encoded-word \"MUST NOT appear in any portion of an 'addr-spec'\"",
    ),
    // Not derived by the grammar, and the readers take different authors or could: no guess.
    (
        " a@good.example <b@evil.example>",
        "nobody",
        "good.example",
        "evil.example",
        "name-addr = [display-name] angle-addr, and no display-name has an @",
    ),
    (
        " a@good.example, <b@evil.example> c",
        "nobody",
        BOTH,
        BOTH,
        "nothing follows angle-addr but a comma",
    ),
    (
        " <a@good.example> <b@evil.example>",
        "nobody",
        "good.example",
        "evil.example",
        "a comma separates mailboxes",
    ),
    (
        " a@good.example b@evil.example",
        "nobody",
        "good.example",
        "evil.example",
        "a comma separates mailboxes",
    ),
    (
        " a@good.example@evil.example",
        "nobody",
        "nobody",
        "evil.example",
        "addr-spec has one @",
    ),
    (
        " <a@good.example,b@evil.example>",
        "nobody",
        BOTH,
        "evil.example",
        "angle-addr holds one addr-spec",
    ),
    (
        " a@good.example; b@evil.example",
        "nobody",
        "good.example",
        BOTH,
        "a semicolon ends a group only",
    ),
    (
        " a@good.example .evil.example",
        "nobody",
        "good.example.evil.example",
        "good.example .evil.example",
        "obs-domain, but outside brackets the readers differ",
    ),
    (
        " a@good.example(c).evil.example",
        "nobody",
        "good.example.evil.example",
        "good.example",
        "obs-domain, but outside brackets the readers differ",
    ),
    (
        " =?utf-8?q?b@y.example?= <a@x.example>",
        "nobody",
        "x.example",
        "x.example",
        "RFC 2047 §5 (3): no @ in an encoded word within a phrase",
    ),
    (
        " <<a@good.example>>",
        "nobody",
        "nobody",
        "good.example",
        "angle-addr = [CFWS] \"<\" addr-spec \">\" [CFWS]",
    ),
    (
        " A <a@x.example",
        "nobody",
        "x.example",
        "x.example",
        "angle-addr ends with a bracket",
    ),
    (
        " A) <a@x.example>",
        "nobody",
        "nobody",
        "x.example",
        "§3.2.3: specials \"do not appear in atext\"",
    ),
    (
        " [A] <a@x.example>",
        "nobody",
        "nobody",
        "x.example",
        "§3.2.3: specials \"do not appear in atext\"",
    ),
    (
        " A: <a@x.example>",
        "nobody",
        "x.example",
        "x.example",
        "group = display-name \":\" [group-list] \";\" [CFWS]",
    ),
    (
        " A a@x.example",
        "nobody",
        "x.example",
        "x.example",
        "§4.4: obs-local-part = word *(\".\" word), a dot between the words",
    ),
    (
        " a@x.example\0.evil.example",
        "nobody",
        "x.example\0.evil.example",
        "x.example\0.evil.example",
        "§4: obs-NO-WS-CTL leaves NUL out; MTAs cut there or drop it",
    ),
    (
        " a\0b@x.example",
        "nobody",
        "x.example",
        "x.example",
        "§4: obs-NO-WS-CTL leaves NUL out; MTAs cut there or drop it",
    ),
];

const FAILS: &str = "an exception";
const BOTH: &str = "evil.example good.example";

#[test]
fn from_is_read_alike() {
    let disagreed = DISAGREED.iter().map(|(value, ..)| value);
    let questions: Vec<Value> = AGREED
        .iter()
        .chain(disagreed)
        .map(|value| from(value))
        .collect();
    let answers = ask("froms.json", &questions);
    let (agreed, disagreed) = answers.split_at(AGREED.len());
    for (value, answer) in AGREED.iter().zip(agreed) {
        let ours = ours(value.as_bytes());
        assert_eq!(pythons(answer), ours, "Python, {value:?}");
        assert_eq!(mail_auths(value.as_bytes()), ours, "mail-auth, {value:?}");
    }
    for ((value, us, python, mail_auth, why), answer) in DISAGREED.iter().zip(disagreed) {
        assert_eq!(ours(value.as_bytes()), *us, "{value:?}: {why}");
        assert_eq!(pythons(answer), *python, "Python, {value:?}");
        assert_eq!(
            mail_auths(value.as_bytes()),
            *mail_auth,
            "mail-auth, {value:?}"
        );
    }
    println!(
        "From: {} of {} read alike by us, Python and mail-auth",
        AGREED.len(),
        answers.len()
    );
}

fn from(value: &str) -> Value {
    json!({"from": latin1(value.as_bytes())})
}

/// Whom we take for the one author, no other reader takes somebody else for: over the fields above,
/// cut and glued at random.
#[test]
fn nobody_finds_another_author() {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let values: Vec<String> = (0..8_000).map(|_| mutated(&mut random)).collect();
    let questions: Vec<Value> = values.iter().map(|value| from(value)).collect();
    let answers = ask("mutated.json", &questions);
    let mut authors = 0;
    for (value, answer) in values.iter().zip(answers) {
        let Author::One(author) = author(&[HeaderField::new("From", value)]) else {
            continue;
        };
        authors += 1;
        for theirs in [pythons(&answer), mail_auths(value.as_bytes())] {
            // Some leave the spaces of obs-domain in.
            let theirs = theirs.replace(' ', "");
            let theirs = DomainName::parse(&theirs).map_or(theirs, |domain| domain.to_string());
            let found_none = theirs == "nobody" || theirs == FAILS.replace(' ', "");
            assert!(
                found_none || theirs == author.as_str(),
                "{value:?}: {author}, {theirs}"
            );
        }
    }
    println!(
        "From, mutated: {authors} authors in {} fields, and nobody finds another one",
        values.len()
    );
}

fn mutated(random: &mut Random) -> String {
    const PIECES: &[&str] = &[
        "a",
        "b@y.example",
        "<c@z.example>",
        "@",
        ".",
        "x.example",
        "\"",
        "\\",
        "(",
        ")",
        "<",
        ">",
        ",",
        ";",
        ":",
        " ",
        "\r\n ",
        "G",
        "=?utf-8?q?a?=",
        "[",
        "]",
        "\"q\"",
        "(c)",
        "\u{fc}",
    ];
    let at = random.below(AGREED.len() + DISAGREED.len());
    let odd = || DISAGREED[at - AGREED.len()].0;
    let mut value = AGREED.get(at).copied().unwrap_or_else(odd).to_owned();
    for _ in 0..random.below(4) {
        let at = value.floor_char_boundary(random.below(value.len() + 1));
        if random.below(3) == 0 && at < value.len() {
            value.remove(at);
        } else {
            value.insert_str(at, PIECES[random.below(PIECES.len())]);
        }
    }
    value
}

/// A small xorshift generator: the same numbers on every run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }

    fn text(&mut self, alphabet: &[u8], most: usize) -> String {
        let length = 1 + self.below(most);
        (0..length)
            .map(|_| char::from(alphabet[self.below(alphabet.len())]))
            .collect()
    }
}

/// `authres` takes a quoted string as a property's value only at the end of a result: RFC 8601 §2.2 has
/// `1*propspec` and `[CFWS]` behind each; an authserv-id only if it is a dot-atom; empty quoted strings
/// nowhere. Our own fields have what must be quoted last.
#[test]
fn results_are_read_alike() {
    const TOKEN: &[u8] = b"abcxyz019-._+";
    const ANY: &[u8] = b"ab \"\\();=@,:/[]?<>'.-%";
    let mut random = Random(0x2545_f491_4f6c_dd1d);
    let fields: Vec<Field> = (0..2_000)
        .map(|_| any_field(&mut random, TOKEN, ANY))
        .collect();
    let questions: Vec<Value> = fields
        .iter()
        .map(|field| json!({"results": field.write()}))
        .collect();
    let answers = ask("results.json", &questions);
    for (field, answer) in fields.iter().zip(&answers) {
        assert_eq!(*answer, as_json(&field.normal_form()), "{}", field.write());
    }
    println!(
        "Authentication-Results: {} of {} read alike by authres",
        fields.len(),
        answers.len()
    );
}

fn any_field(random: &mut Random, token: &[u8], any: &[u8]) -> Field {
    let mut field = Field::new(format!("{}.example", random.text(b"abc09-", 30)));
    for _ in 0..random.below(5) {
        let method = ["spf", "dkim", "dmarc", "iprev", "auth"][random.below(5)];
        let mut result = MethodResult::new(method, ["pass", "fail", "none"][random.below(3)]);
        if random.below(2) == 0 {
            result = result.comment(random.text(any, 60));
        }
        if random.below(2) == 0 {
            result = result.reason(random.text(any, 60));
        }
        for _ in 0..random.below(4) {
            let ptype = ["smtp", "header", "policy", "body"][random.below(4)];
            let value = match random.below(3) {
                0 => format!("@{}.example", random.text(b"abc", 50)),
                1 => format!(
                    "{}@{}.example",
                    random.text(b"abc=+/", 9),
                    random.text(b"abc", 9)
                ),
                _ => random.text(token, 20),
            };
            result = result.property(ptype, random.text(b"abc", 8), value);
        }
        if random.below(2) == 0 {
            result = result.property("header", "b", random.text(any, 90));
        }
        field.results.push(result);
    }
    field
}

fn as_json(field: &Field) -> Value {
    let property = |p: &Property| json!([p.ptype, p.property, p.value]);
    let result = |r: &MethodResult| {
        let properties: Vec<Value> = r.properties.iter().map(property).collect();
        json!({"method": r.method, "result": r.result, "reason": r.reason, "properties": properties})
    };
    let results: Vec<Value> = field.results.iter().map(result).collect();
    json!({"authserv_id": field.authserv_id, "results": results})
}

//! Domains whose day gets no report: told before it is built, and listed afterwards with the reason.

use super::manual::documented;
use super::plain_verdict::plain_verdict;
use super::ran::Place;
use super::report::{accept, filled, noon, yesterday};
use alignd::auth::dmarc::record;
use alignd::time::UtcDay;
use alignd::verdict::Verdict;
use serde_json::{Value, json};
use std::fs;
use std::process::{Command, Stdio};

/// One whose domain publishes this record.
fn under(text: &str, domain: &str, day: UtcDay, nth: u32) -> Verdict {
    let mut verdict = plain_verdict(domain, noon(day), nth);
    let evaluation = verdict.evaluation.as_mut().expect("evaluated");
    let policy = evaluation.policy.as_mut().expect("a policy");
    policy.record = record::parse(text.as_bytes()).expect("a record");
    evaluation.discovery.clear();
    verdict
}

fn not_reported(place: &Place) -> Vec<Value> {
    let rows = place
        .run(&["report", "list", "--not-reported", "--format", "json"])
        .json();
    rows.iter().for_each(documented);
    rows
}

fn comes_to(place: &Place) -> Vec<(String, String)> {
    let rows = place
        .run(&["report", "build", "--dry-run", "--format", "json"])
        .json();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    rows.iter()
        .map(|row| (text(&row["policy_domain"]), text(&row["comes_to"])))
        .collect()
}

#[test]
fn a_record_without_an_address_for_mail_gets_none() {
    let day = yesterday();
    let place = filled(day, true);
    let asks_nobody = "v=DMARC1; p=none";
    let asks_the_web = "v=DMARC1; p=none; rua=https://web.example/dmarc";
    let more = [
        under(asks_nobody, "nobody.example", day, 11),
        under(asks_the_web, "web.example", day, 12),
    ];
    accept(&place, noon(day), &more);
    let expected = [
        ("a.example", "reported"),
        ("b.example", "reported"),
        ("nobody.example", "no_destination"),
        ("web.example", "no_destination"),
    ]
    .map(|(domain, comes_to)| (domain.to_owned(), comes_to.to_owned()));
    assert_eq!(comes_to(&place), expected);
    let day = day.to_string();
    let preview = place.run(&["report", "preview", "nobody.example", "--day", &day]);
    let said = format!(
        "alignd: no report about nobody.example on {day}: its record names no address that a report could be mailed to\n"
    );
    assert_eq!((preview.code, preview.err), (1, said));
    let built = place.run(&["report", "build", "--format", "json"]).json();
    assert_eq!(
        (&built[0]["reports"], &built[0]["dropped"]),
        (&json!(2), &json!(2))
    );
    let row = |domain: &str| {
        json!({
            "day": day, "policy_domain": domain, "messages": 1, "came_to": "no_destination",
            "why": "its record names no address that a report could be mailed to",
        })
    };
    assert_eq!(
        not_reported(&place),
        [row("nobody.example"), row("web.example")]
    );
    let of = ["report", "list", "--not-reported", "--domain", "a.example"];
    assert_eq!(place.run(&of).code, 1);
}

#[test]
fn a_few_messages_more_belong_to_the_report_that_was_built() {
    let day = yesterday();
    let place = filled(day, true);
    let settings = fs::read_to_string(place.path("alignd.toml")).expect("settings");
    let settings = settings + "min_messages = 2\nsettle = \"0s\"\nsend_window = \"00:00-24:00\"\n";
    fs::write(place.path("alignd.toml"), settings).expect("written");
    assert_eq!(place.run(&["report", "build"]).code, 0);
    let few = |messages: u32, why: &str| {
        json!({
            "day": day.to_string(), "policy_domain": "b.example", "messages": messages,
            "came_to": "few", "why": why,
        })
    };
    let why = "fewer messages than report.min_messages";
    assert_eq!(not_reported(&place), [few(1, why)]);
    let late = ["a.example", "b.example"].map(|domain| plain_verdict(domain, noon(day), 21));
    for (nth, verdict) in late.into_iter().enumerate() {
        let mut verdict = verdict;
        verdict.id = plain_verdict("x.example", noon(day), 31 + nth as u32).id;
        accept(&place, noon(day), &[verdict]);
    }
    let expected = [("a.example", "reported"), ("b.example", "few")]
        .map(|(d, c)| (d.to_owned(), c.to_owned()));
    assert_eq!(comes_to(&place), expected);
    // The daemon waits with them until the window opens again.
    let due = place.run(&["report", "due", "--format", "json"]).json();
    let waits_for = due[0]["waits_for"].as_str().unwrap_or_default();
    assert!(
        waits_for.starts_with("late verdicts: reported in the next send window, from "),
        "{waits_for}"
    );
    let built = place.run(&["report", "build", "--format", "json"]).json();
    assert_eq!(
        (&built[0]["reports"], &built[0]["dropped"]),
        (&json!(1), &json!(1))
    );
    assert_eq!(not_reported(&place), [few(1, why), few(1, why)]);
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let day = yesterday();
    let place = filled(day, true);
    let many: Vec<Verdict> = (0..2_000)
        .map(|nth| plain_verdict("many.example", noon(day), 100 + nth))
        .collect();
    accept(&place, noon(day), &many);
    let mut preview = Command::new(env!("CARGO_BIN_EXE_alignd"))
        .args(["report", "preview", "many.example", "--day"])
        .arg(day.to_string())
        .arg("--config")
        .arg(place.path("alignd.toml"))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("starts");
    drop(preview.stdout.take());
    let ended = preview.wait_with_output().expect("ends");
    let said = String::from_utf8_lossy(&ended.stderr);
    assert_eq!((ended.status.code(), &*said), (Some(0), ""));
}

#[test]
fn one_report_that_cannot_be_written_hinders_no_other() {
    let day = yesterday();
    let place = filled(day, true);
    let label = "a".repeat(50);
    let long = format!("{label}.{label}.{label}.{label}.example");
    accept(&place, noon(day), &[plain_verdict(&long, noon(day), 41)]);
    assert_eq!(place.run(&["report", "build"]).code, 0);
    fs::create_dir(place.path("out")).expect("a directory");
    let list = place.run(&[
        "report",
        "list",
        "--domain",
        "a.example",
        "--format",
        "json",
    ]);
    let id = list.json()[0]["report_id"].clone();
    let unique = id.as_str().and_then(|id| id.split('@').next());
    // Where its file would be written first, there is something else.
    let in_the_way = place.path(&format!("out/.{}.part", unique.expect("an id")));
    fs::create_dir(&in_the_way).expect("a directory");
    let ran = place.run(&["report", "export", "{}/out"]);
    assert_eq!(
        (ran.code, ran.out.as_str()),
        (2, "2 written, 0 were there\n")
    );
    assert!(
        ran.err.contains("1 of 3 reports were not written to"),
        "{ran:?}"
    );
    fs::remove_dir(&in_the_way).expect("empty");
    let ran = place.run(&["report", "export", "{}/out"]);
    assert_eq!(
        (ran.code, ran.out.as_str()),
        (0, "1 written, 2 were there\n")
    );
    let names = place.names("out");
    assert_eq!(names.len(), 3, "{names:?}");
    assert!(names[0].starts_with(&format!("{}!", day.begin().seconds())));
    assert!(names[1].starts_with("mx.example.org!"));
}

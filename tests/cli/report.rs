//! `alignd report due|preview|build` on a store with mail of yesterday. DNS is a port where nobody
//! answers: what goes where stays open.

use super::manual::documented;
use super::plain_verdict::plain_verdict;
use super::ran::Place;
use alignd::outcome::{Outcome, OutcomeSource, OutcomeState};
use alignd::store::{Store, StoreSettings};
use alignd::time::{Timestamp, UtcDay};
use alignd::verdict::Verdict;
use serde_json::json;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

const SETTINGS: &str = "\
[identity]
authserv_id = \"mx.example.org\"
org_name = \"Receiver\"
report_domain = \"mx.example.org\"
contact = \"postmaster@mx.example.org\"
[milter]
listen = [\"unix:{}/milter.sock\"]
[dns]
servers = [\"127.0.0.1:9\"]
timeout = \"100ms\"
[store]
path = \"{}/store\"
[report]
enabled = ENABLED
";

pub fn yesterday() -> UtcDay {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("a time");
    let today = Timestamp::from_seconds(now.as_secs() as i64).day();
    UtcDay::from_number(today.number() - 1)
}

/// Two messages of a.example and one of b.example, accepted at noon of `day`.
pub fn filled(day: UtcDay, enabled: bool) -> Place {
    let place = Place::new();
    place.write(
        "alignd.toml",
        &SETTINGS.replace("ENABLED", &enabled.to_string()),
    );
    let mails = [(1, "a.example"), (2, "a.example"), (3, "b.example")];
    let noon = noon(day);
    let verdicts = mails.map(|(nth, domain)| plain_verdict(domain, noon, nth));
    accept(&place, noon, &verdicts);
    place
}

pub fn noon(day: UtcDay) -> Timestamp {
    day.begin().plus_micros(12 * 3_600_000_000)
}

pub fn accept(place: &Place, noon: Timestamp, verdicts: &[Verdict]) {
    let settings = StoreSettings {
        path: place.path("store"),
        ..StoreSettings::default()
    };
    let work = async {
        let store = Store::open(&settings, noon).expect("a store");
        for verdict in verdicts.iter().cloned() {
            let accepted = Outcome::new(OutcomeState::Accepted, noon, OutcomeSource::Reply);
            let id = verdict.id;
            store.record(Arc::new(verdict)).await.expect("recorded");
            store.confirm(id, accepted);
        }
        store.close().await;
    };
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(work);
}

#[test]
fn due_tells_the_days_and_what_they_wait_for() {
    let day = yesterday();
    for (enabled, waits_for) in [(true, "(report.s"), (false, "report.enabled = true")] {
        let place = filled(day, enabled);
        let ran = place.run(&["report", "due", "--format", "json"]);
        let [row] = ran.json().try_into().unwrap_or_else(|_| panic!("{ran:?}"));
        assert_eq!((ran.code, &row["day"]), (0, &json!(day.to_string())));
        assert_eq!(row["domains"], json!(2));
        let due = Timestamp::parse_rfc3339(row["due"].as_str().unwrap_or_default());
        assert!(due > Some(day.next().begin()), "{row}");
        let said = row["waits_for"].as_str().unwrap_or_default();
        let ready = said.starts_with("ready: ");
        assert!(said.contains(waits_for) || enabled && ready, "{said}");
    }
}

#[test]
fn preview_prints_what_a_domain_will_learn_and_leaves_no_trace() {
    let day = yesterday();
    let place = filled(day, false);
    let of = |domain: &str| place.run(&["report", "preview", domain, "--day", &day.to_string()]);
    for _ in 0..2 {
        let ran = of("a.example");
        assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{ran:?}");
        assert!(ran.out.starts_with("<?xml"), "{ran:?}");
        assert_eq!(ran.out.matches("<record>").count(), 2, "{ran:?}");
        assert!(ran.out.contains("<domain>a.example</domain>"));
    }
    assert!(!place.path("store/reports.db").exists());
    let ran = of("c.example");
    let said = format!("alignd: no report about c.example on {day}: no mail of that day is new\n");
    assert_eq!(
        (ran.code, ran.out.as_str(), ran.err.as_str()),
        (1, "", said.as_str())
    );
}

#[test]
fn build_lists_then_builds_and_then_has_nothing_left() {
    let day = yesterday();
    let place = filled(day, true);
    let listed = place.run(&["report", "build", "--dry-run", "--format", "csv"]);
    let expected = format!(
        "day,policy_domain,messages,left_out,policies,comes_to,rua\n\
         {day},a.example,2,0,1,reported,mailto:dmarc-reports@a.example\n\
         {day},b.example,1,0,1,reported,mailto:dmarc-reports@b.example\n"
    );
    assert_eq!((listed.code, listed.out), (0, expected));
    let built = place.run(&["report", "build", "--format", "json"]);
    let row = json!({
        "day": day.to_string(), "domains": 2, "reports": 2, "messages": 3, "left_out": 0,
        "dropped": 0, "elsewhere": 0, "failed": 0,
    });
    assert_eq!((built.code, built.json()), (0, vec![row]), "{}", built.err);
    for command in [
        &["report", "build"][..],
        &["report", "build", "--dry-run"],
        &["report", "due"],
    ] {
        assert_eq!(place.run(command).code, 1, "{command:?}");
    }
}

#[test]
fn no_report_is_about_a_day_that_is_not_over() {
    let today = yesterday().next().to_string();
    let place = filled(yesterday(), true);
    let ran = place.run(&["report", "build", "--day", &today]);
    let said = format!("alignd: {today} is not over yet: reports are about whole UTC days\n");
    assert_eq!((ran.code, ran.err), (2, said));
    place.write("alignd.toml", "[store]\npath = \"{}/store\"\n");
    let ran = place.run(&["report", "build"]);
    assert_eq!(ran.code, 2);
    assert!(
        ran.err.contains("identity.org_name is not set"),
        "{}",
        ran.err
    );
}

#[test]
fn what_was_built_is_listed_shown_exported_and_sent_again() {
    let day = yesterday();
    let place = filled(day, true);
    let ran = place.run(&["report", "list"]);
    assert_eq!(
        (ran.code, ran.err.as_str()),
        (1, "alignd: no report has been built yet\n")
    );
    let preview = place.run(&["report", "preview", "a.example", "--day", &day.to_string()]);
    assert_eq!(place.run(&["report", "build"]).code, 0);

    let ran = place.run(&["report", "list", "--format", "json"]);
    let rows = ran.json();
    assert_eq!((ran.code, rows.len()), (0, 2), "{ran:?}");
    rows.iter().for_each(documented);
    let a = rows.iter().find(|row| row["policy_domain"] == "a.example");
    let a = a.expect("a report about a.example");
    assert_eq!((&a["messages"], &a["destinations"]), (&json!(2), &json!(1)));
    assert_eq!((&a["delivered"], &a["waiting"]), (&json!(0), &json!(1)));
    let only = [
        "report",
        "list",
        "--domain",
        "b.example",
        "--format",
        "json",
    ];
    assert_eq!(place.run(&only).json().len(), 1);
    let never = ["report", "list", "--day", "2001-01-01"];
    assert_eq!(place.run(&never).code, 1);

    let number = a["number"].to_string();
    let id = a["report_id"].as_str().expect("a Report-ID");
    let unique = id.split('@').next().expect("a unique-id");
    for by in [number.as_str(), id, unique] {
        let shown = place.run(&["report", "show", by]);
        let about = format!("a.example on {day}");
        assert!(
            shown.out.contains(&about) && shown.out.contains("dmarc-reports@a.example"),
            "{shown:?}"
        );
        assert_eq!(place.run(&["report", "show", by, "--xml"]).out, preview.out);
    }
    for command in [["report", "show", "99"], ["report", "resend", "nothing"]] {
        assert_eq!(place.run(&command).code, 1, "{command:?}");
    }

    std::fs::create_dir(place.path("out")).expect("a directory");
    for says in ["2 written, 0 were there\n", "0 written, 2 were there\n"] {
        assert_eq!(place.run(&["report", "export", "{}/out"]).out, says);
    }
    let names = place.names("out");
    assert!(
        names.iter().all(|name| name.ends_with(".xml.gz")),
        "{names:?}"
    );
    assert!(
        names
            .iter()
            .any(|name| name.contains(&format!("!a.example!{}!", day.begin().seconds())))
    );

    let again = place.run(&["report", "resend", &number]);
    assert_eq!(
        again.out,
        format!("{id} is queued again; destinations: 1\n")
    );
}

#[test]
fn why_names_the_report_that_counts_a_message() {
    let day = yesterday();
    let place = filled(day, true);
    let noon = day.begin().plus_micros(12 * 3_600_000_000);
    let verdict = plain_verdict("a.example", noon, 1).id.to_string();
    let why = || place.run(&["why", &verdict, "--json"]).json().remove(0)["report"].clone();
    let before = why();
    assert_eq!(
        (&before["number"], &before["day"]),
        (&json!(null), &json!(day.to_string()))
    );
    assert_eq!(
        before["why_not"],
        format!("In none yet: no report about {day} has been built.")
    );
    assert_eq!(place.run(&["report", "build"]).code, 0);
    let after = why();
    let shown = place.run(&["report", "show", &after["number"].to_string()]);
    assert!(shown.out.contains("a.example on"), "{after}");
    assert!(
        shown
            .out
            .contains(after["report_id"].as_str().expect("an id"))
    );
    let page = place.run(&["why", &verdict]).out;
    assert!(
        page.contains(after["report_id"].as_str().expect("an id")),
        "{page}"
    );
}

//! The outbox: what a resend may queue, to whom one report goes, and whose turn it is.

use crate::NOW;
use crate::reports::{
    HOUR, addresses, claim, finished, kept, later, opened, report, take, verified,
};
use alignd::store::{
    Attempt, Destination, OutboxEntry, OutboxState, PER_HOST, ReportNumber, Reports, Standing,
};

#[test]
fn entries_are_taken_host_by_host_and_by_one_taker_only() {
    let directory = tempfile::tempdir().unwrap();
    let reports = opened(directory.path());
    for nth in 0..20 {
        let name = format!("many{nth}.example");
        kept(&reports, &name, &["d@big.example"]);
    }
    kept(&reports, "a.example", &["x@a.example", "x@z.example"]);
    let first = take(&reports, "", 7, NOW);
    assert_eq!(PER_HOST, 5);
    let big = ["d@big.example"; 5].join(" ");
    assert_eq!(addresses(&first), format!("x@a.example {big} x@z.example"));
    assert!(first.iter().all(|(_, entry)| entry.attempts == 1));
    // They are taken; from behind big.example on, around.
    let second = take(&reports, "big.example", 7, NOW);
    assert_eq!(addresses(&second), big);
    // An hour later those that nobody reported on come again.
    let third = take(&reports, "m.example", 2, later(3_600));
    assert_eq!(addresses(&third), "x@z.example x@a.example");
    assert_eq!(third[0].1.attempts, 2);
}

#[test]
fn an_attempt_is_recorded_once_and_by_its_taker() {
    let directory = tempfile::tempdir().unwrap();
    let reports = opened(directory.path());
    let number = kept(&reports, "a.example", &["x@a.example"]);
    let answer = || "250 ok".to_owned();
    let state = || {
        let entry = reports.outbox_of(number).unwrap().pop().unwrap();
        (entry.state, entry.next_try, entry.last_answer)
    };
    let early = take(&reports, "", 9, NOW).pop().unwrap().1;
    let late = take(&reports, "", 9, later(3_600)).pop().unwrap().1;
    let sent = Attempt::Sent { answer: answer() };
    assert!(!reports.record_attempt(&early, &sent).unwrap());
    let deferred = Attempt::Deferred {
        next_try: later(9_000),
        answer: "451 later".to_owned(),
    };
    assert!(reports.record_attempt(&late, &deferred).unwrap());
    assert_eq!(
        state(),
        (
            OutboxState::Queued,
            Some(later(9_000)),
            Some("451 later".to_owned())
        )
    );
    assert_eq!(take(&reports, "", 9, later(8_999)), []);
    assert_eq!(
        reports.outbox_counts().unwrap().next_try,
        Some(later(9_000))
    );
    let last = take(&reports, "", 9, later(9_000)).pop().unwrap().1;
    assert!(reports.record_attempt(&last, &sent).unwrap());
    assert!(!reports.record_attempt(&last, &sent).unwrap());
    assert_eq!(state(), (OutboxState::Sent, None, Some(answer())));
    assert_eq!(reports.resend(number, later(9_001)).unwrap(), 1);
    assert_eq!(
        addresses(&take(&reports, "", 9, later(9_001))),
        "x@a.example"
    );
}

#[test]
fn what_is_to_be_verified_is_sent_only_after_it_was() {
    let directory = tempfile::tempdir().unwrap();
    let reports = opened(directory.path());
    let lease = claim(&reports, "a.example", 0);
    let mut done = finished(lease, 10, vec![report("a.example", "u1")], &[]);
    done.destinations = vec![
        Destination {
            standing: Standing::ToVerify(later(60)),
            ..verified("d@x.example")
        },
        Destination {
            standing: Standing::Refused("not confirmed".to_owned()),
            ..verified("d@y.example")
        },
        Destination {
            uri: "https://a.example/".to_owned(),
            address: None,
            standing: Standing::Refused("https is not sent to".to_owned()),
        },
    ];
    reports.keep(&[done], NOW).unwrap();
    let number = reports.find_by_id("u1").unwrap().unwrap().number;
    let counts = reports.outbox_counts().unwrap();
    assert_eq!((counts.to_verify, counts.queued, counts.refused), (1, 0, 2));
    assert_eq!(take(&reports, "", 9, later(59)), []);
    let (_, entry) = take(&reports, "", 9, later(60)).pop().unwrap();
    assert_eq!(entry.state, OutboxState::ToVerify);
    let confirmed = Attempt::Verified {
        addresses: vec!["elsewhere@x.example".to_owned(), "too@x.example".to_owned()],
        most: 10,
        at: later(61),
    };
    assert!(reports.record_attempt(&entry, &confirmed).unwrap());
    let taken = take(&reports, "", 9, later(61));
    assert_eq!(addresses(&taken), "elsewhere@x.example too@x.example");
    let (address, entry) = taken.into_iter().next().unwrap();
    assert_eq!(
        (address.as_str(), entry.state, entry.uri.as_str()),
        (
            "elsewhere@x.example",
            OutboxState::Queued,
            "mailto:d@x.example"
        )
    );
    // Resending asks no refused destination.
    let sent = Attempt::Sent {
        answer: "250 ok".to_owned(),
    };
    assert!(reports.record_attempt(&entry, &sent).unwrap());
    assert_eq!(reports.resend(number, later(99)).unwrap(), 2);
    let found = reports.outbox_entry(entry.number).unwrap().unwrap();
    assert_eq!(found.next_try, Some(later(99)));
}

/// A report with destinations that are to be verified, and these taken.
fn unverified(reports: &Reports, name: &str, to: &[&str]) -> (ReportNumber, Vec<OutboxEntry>) {
    let lease = claim(reports, name, 0);
    let mut done = finished(lease, 10, vec![report(name, name)], &[]);
    done.destinations = to
        .iter()
        .map(|address| Destination {
            standing: Standing::ToVerify(NOW),
            ..verified(address)
        })
        .collect();
    reports.keep(&[done], NOW).unwrap();
    let number = reports.find_by_id(name).unwrap().unwrap().number;
    (number, reports.take_unverified(99, NOW, HOUR).unwrap())
}

#[test]
fn a_resend_asks_first_who_never_agreed() {
    let directory = tempfile::tempdir().unwrap();
    let reports = opened(directory.path());
    let to = ["d@dead.example", "d@no.example", "d@yes.example"];
    let (number, taken) = unverified(&reports, "a.example", &to);
    let answer = || "as it went".to_owned();
    let fates = [
        Attempt::Expired { answer: answer() },
        Attempt::Refused { answer: answer() },
        Attempt::Verified {
            addresses: vec!["d@yes.example".to_owned()],
            most: 10,
            at: NOW,
        },
    ];
    for (entry, fate) in taken.iter().zip(&fates) {
        assert!(reports.record_attempt(entry, fate).unwrap());
    }
    let (_, yes) = take(&reports, "", 9, later(1)).pop().unwrap();
    let refused = Attempt::Refused { answer: answer() };
    assert!(reports.record_attempt(&yes, &refused).unwrap());
    assert_eq!(reports.resend(number, later(100)).unwrap(), 3);
    let states: Vec<String> = reports
        .outbox_of(number)
        .unwrap()
        .iter()
        .map(|entry| format!("{} {}", entry.uri, entry.state))
        .collect();
    assert_eq!(
        states,
        [
            "mailto:d@dead.example to_verify",
            "mailto:d@no.example to_verify",
            "mailto:d@yes.example queued",
        ]
    );
}

#[test]
fn a_resend_counts_time_and_tries_anew() {
    let directory = tempfile::tempdir().unwrap();
    let reports = opened(directory.path());
    let number = kept(&reports, "a.example", &["x@a.example"]);
    let (_, entry) = take(&reports, "", 9, NOW).pop().unwrap();
    assert_eq!((entry.since, entry.tries, entry.attempts), (NOW, 1, 1));
    let expired = Attempt::Expired {
        answer: "451".to_owned(),
    };
    assert!(reports.record_attempt(&entry, &expired).unwrap());
    let resent = later(90 * 86_400);
    assert_eq!(reports.resend(number, resent).unwrap(), 1);
    let (_, entry) = take(&reports, "", 9, resent).pop().unwrap();
    assert_eq!((entry.since, entry.tries, entry.attempts), (resent, 1, 2));
    // What is in hand stays in one hand.
    assert_eq!(reports.resend(number, resent).unwrap(), 1);
    assert_eq!(take(&reports, "", 9, resent), []);
}

#[test]
fn an_address_gets_one_report_and_a_report_few_addresses() {
    for (to, most, found, expected) in [
        (
            vec!["a@x.example", "b@x.example"],
            10,
            vec!["c@x.example"],
            "c@x.example",
        ),
        (
            vec!["a@x.example", "b@x.example", "c@y.example"],
            4,
            vec![
                "d@x.example",
                "e@x.example",
                "f@x.example",
                "g@x.example",
                "h@x.example",
            ],
            "d@x.example e@x.example f@x.example g@x.example",
        ),
        (vec!["a@x.example"], 0, vec!["a@x.example"], ""),
        // It keeps its own address.
        (
            vec!["a@x.example", "b@x.example"],
            10,
            vec!["b@x.example", "a@x.example"],
            "a@x.example b@x.example",
        ),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let reports = opened(directory.path());
        let (number, taken) = unverified(&reports, "a.example", &to);
        for entry in &taken {
            let verified = Attempt::Verified {
                addresses: found.iter().map(|&address| address.to_owned()).collect(),
                most,
                at: NOW,
            };
            assert!(reports.record_attempt(entry, &verified).unwrap());
        }
        let queued = take(&reports, "", 99, NOW);
        assert_eq!(addresses(&queued), expected, "{to:?}");
        let left = reports.outbox_of(number).unwrap();
        let refused = left.iter().filter(|e| e.state == OutboxState::Refused);
        assert_eq!(refused.count() + queued.len(), left.len());
    }
}

#[test]
fn what_nobody_can_take_does_not_wait() {
    let directory = tempfile::tempdir().unwrap();
    let reports = opened(directory.path());
    let lease = claim(&reports, "a.example", 0);
    let mut done = finished(lease, 10, vec![report("a.example", "u1")], &[]);
    done.destinations = vec![Destination {
        uri: "https://a.example/".to_owned(),
        address: None,
        standing: Standing::ToVerify(NOW),
    }];
    reports.keep(&[done], NOW).unwrap();
    let counts = reports.outbox_counts().unwrap();
    assert_eq!((counts.to_verify, counts.next_try), (0, None));
}

#[test]
fn turns_are_the_same_among_few_and_among_many() {
    let directory = tempfile::tempdir().unwrap();
    let reports = opened(directory.path());
    kept(&reports, "z.example", &["d@z.example"]);
    let raw = rusqlite::Connection::open(directory.path().join("reports.db")).unwrap();
    let fill = "WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 2000)
        INSERT INTO outbox (report, position, uri, address, host, state, attempts, next_try, verified)
        SELECT 1, n, 'mailto:d@big.example', 'd@big.example', 'big.example', 'queued', 0, ?1, 1 FROM n";
    raw.execute(fill, [NOW.micros()]).unwrap();
    let hosts = |after: &str, limit| addresses(&take(&reports, after, limit, NOW));
    let big = ["d@big.example"; 5].join(" ");
    assert_eq!(hosts("", 6), format!("{big} d@z.example"));
    assert_eq!(hosts("big.example", 2), "d@big.example d@big.example");
    // Hosts whose time has not come are many, and are not walked through.
    let wait = "WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 3000)
        INSERT INTO outbox (report, position, uri, address, host, state, attempts, next_try, verified)
        SELECT 2, n, 'mailto:d@a.example', 'd@a.example', 'a' || n || '.example', 'queued', 0, ?1, 1 FROM n";
    raw.execute(wait, [later(9_000).micros()]).unwrap();
    assert_eq!(hosts("", 2), "d@big.example d@big.example");
}

//! Bounces of report mail: which have effect, and how often.

use crate::kept_reports::domain;
use crate::outbox::{Desk, key};
use crate::smtp_server::Does;
use alignd::send_report::{Bounce, Taken, take_bounce};
use alignd::site_key::SiteKey;
use alignd::store::{Noted, OutboxState};
use alignd::time::Clock;

const FAILED: &str = "Content-Type: multipart/report; report-type=delivery-status; boundary=b\n\n--b\n\nSorry.\n--b\nContent-Type: message/delivery-status\n\nReporting-MTA: dns; mx\n\nFinal-Recipient: rfc822; d@dead.example\nAction: failed\nStatus: 5.1.1\nDiagnostic-Code: smtp; 550 5.1.1 gone\n\n--b--\n";
const LATE: &str = "Content-Type: message/delivery-status\n\nAction: delayed\nStatus: 4.4.1\n";

fn take(desk: &Desk, recipients: &[&str], message: &str, key: &SiteKey) -> Taken {
    let bounce = Bounce {
        recipients: recipients.iter().map(|&to| to.to_owned()).collect(),
        message: message.as_bytes().to_vec(),
    };
    let ours = domain("reports.example");
    take_bounce(&bounce, &desk.reports, &ours, key, desk.clock.now()).expect("the store works")
}

/// The return path of the last mail that was sent.
async fn sent(desk: &mut Desk, policy_domain: &str) -> String {
    desk.keep(policy_domain, &["d@dead.example"]);
    desk.round().await;
    desk.server
        .received()
        .last()
        .expect("it was sent")
        .from
        .clone()
}

#[tokio::test]
async fn what_is_no_bounce_of_ours_does_nothing() {
    let mut desk = Desk::open(|_| Does::Well);
    let path = sent(&mut desk, "a.example").await;
    let (before, domain) = path.split_once('@').expect("an address");
    let turned = before.char_indices().last().map(|(at, last)| {
        let other = if last == '0' { '1' } else { '0' };
        format!("{}{other}@{domain}", &before[..at])
    });
    let turned = turned.expect("a seal");
    for (recipients, message, key, expected) in [
        (vec![turned.as_str()], FAILED, key(), Taken::NotOurs),
        (
            vec![path.as_str()],
            FAILED,
            SiteKey::new(&[8; 32]),
            Taken::NotOurs,
        ),
        (vec![], FAILED, key(), Taken::NotOurs),
        (
            vec!["bounce@reports.example", "x"],
            FAILED,
            key(),
            Taken::NotOurs,
        ),
        (vec![path.as_str()], LATE, key(), Taken::NoFailure),
        (
            vec![path.as_str()],
            "Subject: buy\n\nnow\n",
            key(),
            Taken::NotABounce,
        ),
    ] {
        assert_eq!(
            take(&desk, &recipients, message, &key),
            expected,
            "{recipients:?}"
        );
        assert_eq!(desk.reports.suppressions().expect("readable"), []);
    }
}

#[tokio::test]
async fn the_second_mail_that_bounces_suppresses() {
    let mut desk = Desk::open(|_| Does::Well);
    let first = sent(&mut desk, "a.example").await;
    let second = sent(&mut desk, "b.example").await;
    let failed = |noted| Taken::Failed {
        domain: domain("dead.example"),
        noted,
    };
    let others = ["postmaster@reports.example", first.as_str()];
    assert_eq!(take(&desk, &others, FAILED, &key()), failed(Noted::Counted));
    assert_eq!(take(&desk, &[&first], FAILED, &key()), Taken::KnownAlready);
    let noted = take(&desk, &[&second], FAILED, &key());
    assert!(
        matches!(&noted, Taken::Failed { noted: Noted::Address(s), .. } if s.reason == "550 5.1.1 gone"),
        "{noted:?}"
    );
    let third = desk.keep("c.example", &["d@dead.example"]);
    assert_eq!(desk.round().await.refused, 1);
    let entry = &desk.reports.outbox_of(third).expect("readable")[0];
    let words = entry.last_answer.as_deref().unwrap_or_default();
    assert!(
        words.starts_with("d@dead.example is suppressed until "),
        "{words}"
    );
    assert_eq!(desk.server.received().len(), 2);
}

#[tokio::test]
async fn a_mail_that_was_given_up_counts_for_nothing_and_can_be_sent_again() {
    let mut desk = Desk::open(|_| Does::Well);
    let path = sent(&mut desk, "a.example").await;
    let given_up = Taken::GivenUp {
        domain: domain("dead.example"),
    };
    let status = "Content-Type: message/delivery-status\n\nAction: failed\nStatus: 4.4.1\n";
    assert_eq!(take(&desk, &[&path], status, &key()), given_up);
    assert_eq!(take(&desk, &[&path], status, &key()), Taken::KnownAlready);
    assert_eq!(desk.reports.suppressions().expect("readable"), []);
    let report = desk.reports.list(&Default::default()).expect("readable")[0].number;
    let entry = desk.reports.outbox_of(report).expect("readable").remove(0);
    assert_eq!(
        (entry.state, entry.last_answer.as_deref()),
        (
            OutboxState::Expired,
            Some("given up by a mail server on the way: 4.4.1")
        )
    );
    let now = desk.clock.now();
    assert_eq!(desk.reports.resend(report, now).expect("writable"), 1);
    assert_eq!(desk.round().await.sent, 1);
}

#[tokio::test]
async fn what_was_sent_before_the_suppression_counts_no_more() {
    let mut desk = Desk::open(|_| Does::Well);
    let mut paths = Vec::new();
    for n in 0..6 {
        paths.push(sent(&mut desk, &format!("p{n}.example")).await);
    }
    let failed = |noted| Taken::Failed {
        domain: domain("dead.example"),
        noted,
    };
    for (n, path) in paths.iter().enumerate() {
        let taken = take(&desk, &[path], FAILED, &key());
        match n {
            0 => assert_eq!(taken, failed(Noted::Counted)),
            1 => assert!(matches!(
                taken,
                Taken::Failed {
                    noted: Noted::Address(_),
                    ..
                }
            )),
            _ => assert_eq!(taken, failed(Noted::Suppressed)),
        }
        desk.clock.forward(60);
    }
    let all = desk.reports.suppressions().expect("readable");
    let times: Vec<(&str, u32)> = all.iter().map(|s| (s.who.as_str(), s.times)).collect();
    assert_eq!(times, [("d@dead.example", 1), ("dead.example", 0)]);
}

#[tokio::test]
async fn a_bounce_that_cannot_be_counted_is_counted_when_it_is_brought_again() {
    let mut desk = Desk::open(|_| Does::Well);
    let path = sent(&mut desk, "a.example").await;
    let store = rusqlite::Connection::open(desk.store()).expect("opens");
    let trigger = "CREATE TRIGGER full BEFORE INSERT ON suppression
                   BEGIN SELECT RAISE(FAIL, 'no room'); END";
    store.execute(trigger, []).expect("a trigger");
    let bounce = Bounce {
        recipients: vec![path.clone()],
        message: FAILED.as_bytes().to_vec(),
    };
    let ours = domain("reports.example");
    let now = desk.clock.now();
    take_bounce(&bounce, &desk.reports, &ours, &key(), now).expect_err("no room");
    store.execute("DROP TRIGGER full", []).expect("it was made");
    let taken = take(&desk, &[&path], FAILED, &key());
    assert!(
        matches!(
            taken,
            Taken::Failed {
                noted: Noted::Counted,
                ..
            }
        ),
        "{taken:?}"
    );
}

//! Bounces of report mail: which have effect, and how often.

use crate::kept_reports::domain;
use crate::outbox::{Desk, key};
use crate::smtp_server::Does;
use alignd::send_report::{Bounce, Noted, Taken, take_bounce};
use alignd::site_key::SiteKey;
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

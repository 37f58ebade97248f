//! DNS down, slow, failing, silent, and too long for UDP: a temperror or a late answer, never a fail.

use crate::house::{House, Kind, Plan, for_both};
use crate::loopback;
use crate::world::SENDER;
use std::time::{Duration, Instant};

for_both![
    each_fault_has_its_result,
    an_answer_after_five_seconds_still_counts,
    without_any_server_mail_is_accepted_or_put_off_as_the_settings_say,
];

/// Mail from `domain`, as the MTA delivers it: our results.
#[track_caller]
fn check(house: &House, domain: &str, expected: &[&str]) {
    let from = format!("<a@{domain}>");
    let message = format!("From: {from}\r\n\r\nbody\r\n");
    let (mail, verdict) = house.deliver(&SENDER, &from, message.as_bytes());
    let results = mail.fields("Authentication-Results").join("\n");
    for part in expected {
        assert!(results.contains(part), "{domain}: {part} not in {results}");
    }
    assert_eq!(verdict["outcome"], "accepted");
}

fn each_fault_has_its_result(mta: Kind) {
    let house = House::open(&Plan {
        alignd: &[("dns.timeout", "\"1s\"")],
        ..Plan::of(mta)
    });
    let start = Instant::now();
    check(&house, "sender.example", &["dmarc=pass", "spf=pass"]);
    check(
        &house,
        "servfail.example",
        &["dmarc=temperror", "spf=temperror"],
    );
    check(
        &house,
        "dead.example",
        &["dmarc=temperror", "spf=temperror"],
    );
    check(
        &house,
        "slow.example",
        &["dmarc=temperror", "spf=temperror"],
    );
    check(&house, "truncated.example", &["dmarc=pass", "spf=pass"]);
    // Three faults of a second each, the retry included, on a busy machine.
    assert!(
        start.elapsed() < Duration::from_secs(30),
        "{:?}",
        start.elapsed()
    );
}

fn an_answer_after_five_seconds_still_counts(mta: Kind) {
    let house = House::open(&Plan {
        alignd: &[("dns.timeout", "\"15s\"")],
        ..Plan::of(mta)
    });
    check(&house, "slow.example", &["dmarc=pass", "spf=pass"]);
}

fn without_any_server_mail_is_accepted_or_put_off_as_the_settings_say(mta: Kind) {
    let nobody = Some(loopback::free_address());
    let message = b"From: <a@sender.example>\r\n\r\nbody\r\n";
    let accepting = House::open(&Plan {
        dns: nobody,
        alignd: &[("dns.timeout", "\"1s\"")],
        ..Plan::of(mta)
    });
    check(
        &accepting,
        "sender.example",
        &["dmarc=temperror", "spf=temperror"],
    );
    let waiting = House::open(&Plan {
        dns: nobody,
        alignd: &[
            ("dns.timeout", "\"1s\""),
            ("policy.on_temperror", "\"tempfail\""),
        ],
        ..Plan::of(mta)
    });
    waiting
        .send(&SENDER, "<a@sender.example>", message)
        .expect(451);
    assert_eq!(waiting.mta.mailbox().len(), 0);
}

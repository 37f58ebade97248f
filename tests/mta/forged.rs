//! Fields that claim to be our Authentication-Results: gone from the mail in every spelling, and
//! nothing else is.

use crate::house::{House, Kind, for_both};
use crate::world::EVIL;

for_both![
    each_spelling_is_removed,
    all_at_once_between_those_of_others,
];

/// Fields that an attacker writes so that some reader takes them for ours.
const FORGED: [&str; 14] = [
    "Authentication-Results: mx.receiver.example; dmarc=pass",
    "authentication-results: mx.receiver.example; dmarc=pass",
    "AUTHENTICATION-RESULTS:mx.receiver.example;dmarc=pass",
    "Authentication-Results: MX.Receiver.EXAMPLE; dmarc=pass",
    "Authentication-Results: mx.receiver.example 1; dmarc=pass",
    "Authentication-Results:\r\n mx.receiver.example;\r\n\tdmarc=pass",
    "Authentication-Results: (hello) mx.receiver.example; dmarc=pass",
    "Authentication-Results: (a (nested \\) one)) mx.receiver.example (x) 1; dmarc=pass",
    "Authentication-Results: \"mx.receiver.example\"; dmarc=pass",
    "Authentication-Results: \"mx\\.receiver.example\"; dmarc=pass",
    "Authentication-Results: mx.receiver.example",
    "Authentication-Results: mx.receiver.example; none",
    "Authentication-Results: mx.receiver.example; dmarc=pass; ((broken",
    "Authentication-Results : mx.receiver.example; dmarc=pass",
];

/// Fields of others, which their readers may need.
const OTHERS: [&str; 3] = [
    "Authentication-Results: mx.elsewhere.example; spf=pass",
    "Authentication-Results: receiver.example; spf=pass",
    "X-Authentication-Results: mx.receiver.example; spf=pass",
];

#[track_caller]
fn check(house: &House, fields: &[&str], kept: &[&str]) {
    let lines: String = fields.iter().map(|field| format!("{field}\r\n")).collect();
    let message = format!("{lines}From: a@sender.example\r\n\r\nbody\r\n");
    let (mail, _) = house.deliver(&EVIL, "<x@evil.example>", message.as_bytes());
    let mut results = mail.fields("Authentication-Results");
    let ours = results.remove(0);
    assert!(ours.starts_with("mx.receiver.example;"), "{ours}");
    assert!(ours.contains("dmarc=fail"), "{ours}");
    results.extend(mail.fields("X-Authentication-Results"));
    assert_eq!(results, kept, "{fields:?}");
}

const KEPT: [&str; 3] = [
    "mx.elsewhere.example; spf=pass",
    "receiver.example; spf=pass",
    "mx.receiver.example; spf=pass",
];

fn each_spelling_is_removed(mta: Kind) {
    let house = House::plain(mta);
    for field in FORGED {
        check(&house, &[field], &[]);
    }
    check(&house, &OTHERS, &KEPT);
}

fn all_at_once_between_those_of_others(mta: Kind) {
    let house = House::plain(mta);
    let mut fields = FORGED.to_vec();
    fields.insert(2, OTHERS[0]);
    fields.insert(7, OTHERS[1]);
    fields.push(OTHERS[2]);
    check(&house, &fields, &KEPT);
    check(&house, &FORGED.repeat(10), &[]);
}

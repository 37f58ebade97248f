//! What Postfix's commands print, read.

use super::*;

#[test]
fn a_line_of_the_queue() {
    let line = r#"{"queue_name": "hold", "queue_id": "4jXW5m5KZfz1StH0", "arrival_time": 1795356252, "message_size": 4263, "forced_expire": false, "sender": "x@evil.example", "recipients": [{"address": "user48@receiver.example"}, {"address": "b@receiver.example", "delay_reason": "x"}]}"#;
    let entry = held(line.as_bytes()).expect("it is held");
    assert_eq!(entry.queue_id.as_str(), "4jXW5m5KZfz1StH0");
    assert_eq!(entry.arrived.to_string(), "2026-11-22T14:04:12.000Z");
    assert_eq!(
        (entry.size, entry.sender.as_str()),
        (4_263, "x@evil.example")
    );
    assert_eq!(
        entry.recipients,
        ["user48@receiver.example", "b@receiver.example"]
    );
    for (other, with) in [
        ("\"hold\"", "\"deferred\""),
        ("4jXW5m5KZfz1StH0", "../x"),
        ("4jXW5m5KZfz1StH0", "6AMEJUlD010546"),
        ("1795356252", "\"now\""),
        ("}]}", "}]"),
    ] {
        assert_eq!(held(line.replace(other, with).as_bytes()), None, "{with}");
    }
    let bounce = line.replace("x@evil.example", "MAILER-DAEMON");
    assert_eq!(
        held(bounce.as_bytes()).map(|entry| entry.sender),
        Some(String::new())
    );
    let many = line.replace(
        "[{",
        &format!("[{}{{", "{\"address\": \"a@b.example\"}, ".repeat(50)),
    );
    let entry = held(many.as_bytes()).expect("it is held");
    assert_eq!(
        (entry.recipients.len(), entry.recipient_count),
        (MAX_RECIPIENTS, 52)
    );
}

#[test]
fn what_postsuper_counts() {
    for (words, expected) in [
        (
            "postsuper: 4jXW: released from hold\npostsuper: Released from hold: 1 message\n",
            Some(1),
        ),
        ("postsuper: Released from hold: 0 messages\n", Some(0)),
        ("postsuper: warning: invalid mail queue id: ../x\n", None),
        ("", None),
    ] {
        assert_eq!(count(words, "Released from hold: "), expected, "{words}");
    }
}

#[test]
fn times_as_postfix_writes_them() {
    for (text, expected) in [
        ("5d", Some(432_000)),
        ("5", Some(432_000)),
        ("0", Some(0)),
        ("90s", Some(90)),
        ("2w", Some(1_209_600)),
        ("", None),
        ("5y", None),
        ("d", None),
        ("99999999999999999999d", None),
        ("9999999999999999w", None),
    ] {
        assert_eq!(lifetime(text), expected, "{text}");
    }
    for (text, expected) in [
        ("Sun Nov 22 14:04:12 2026", Some("2026-11-22T14:04:12.000Z")),
        ("Sun Nov  1 04:04:12 2026", Some("2026-11-01T04:04:12.000Z")),
        ("Sun Nov 22 14:04:12", None),
        ("Sun Nox 22 14:04:12 2026", None),
        ("", None),
    ] {
        assert_eq!(
            ctime(text).map(|time| time.to_string()),
            expected.map(str::to_owned),
            "{text}"
        );
    }
}

#[test]
fn an_envelope() {
    let check = |text: &str, place: Place, arrived: Option<&str>| {
        let mut envelope = Envelope::NOWHERE;
        text.lines().for_each(|line| envelope.read(line.as_bytes()));
        let found = envelope.arrived.map(|time| time.to_string());
        assert_eq!(
            (envelope.place, found.as_deref()),
            (place, arrived),
            "{text}"
        );
    };
    let arrived = Some("2026-11-22T14:04:12.000Z");
    check(
        "*** ENVELOPE RECORDS hold/4jXW5m5KZfz1StH0 ***\nmessage_size: 1 2\nmessage_arrival_time: Sun Nov 22 14:04:12 2026\nsender: x",
        Place::Held,
        arrived,
    );
    check(
        "*** ENVELOPE RECORDS deferred/4/4jXW5m5KZfz1StH0 ***\n",
        Place::Queued("deferred".to_owned()),
        None,
    );
    // What a sender could put in comes later.
    check(
        "*** ENVELOPE RECORDS active/4jXW5m5KZfz1StH0 ***\nsender: *** ENVELOPE RECORDS hold/x\n*** ENVELOPE RECORDS hold/x ***",
        Place::Queued("active".to_owned()),
        None,
    );
    check("", Place::Gone, None);
}

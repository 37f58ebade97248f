//! Requests and what they come to.

use crate::Served;
use alignd::outcome::OutcomeState::{Accepted, Held, Rejected};

fn outcome(more: &str) -> String {
    format!(r#"{{"v":1,"request":"outcome",{more}}}"#)
}

#[tokio::test(flavor = "multi_thread")]
async fn outcomes_are_told_by_any_name_of_the_message() {
    let served = Served::start(&[]).await;
    let first = served.message("4jXW5m5GBtz1StgL", 1, Some(Accepted)).await;
    let again = served.message("4jXW5m5GBtz1StgL", 2, Some(Accepted)).await;
    let third = served.message("6AMEJUlD010546", 3, Some(Accepted)).await;
    let message_id = "20261122.00000003.4711@mail.a.example";
    for (question, verdict, changed) in [
        (
            r#""queue_id":"4jXW5m5GBtz1StgL","outcome":"held""#.to_owned(),
            again,
            true,
        ),
        (
            r#""queue_id":"4jXW5m5GBtz1StgL","outcome":"held""#.to_owned(),
            again,
            false,
        ),
        (
            format!(
                r#""queue_id":"4jXW5m5GBtz1StgL","message_id":"<{}>","outcome":"held""#,
                message_id.replace("03", "02")
            ),
            again,
            false,
        ),
        (
            format!(
                r#""queue_id":"4jXW5m5GBtz1StgL","message_id":"{}","outcome":"held""#,
                message_id.replace("03", "01")
            ),
            first,
            true,
        ),
        (
            format!(r#""verdict":"{first}","outcome":"refused_later","reason":"a\nvirus""#),
            first,
            true,
        ),
        (
            format!(r#""message_id":"<{message_id}>","outcome":"held""#),
            third,
            true,
        ),
        (
            format!(r#""message_id":"{message_id}","outcome":"released""#),
            third,
            true,
        ),
    ] {
        let answer = served.ask(&outcome(&question)).await;
        assert_eq!(answer["ok"], true, "{question}: {answer}");
        assert_eq!(answer["verdict"], verdict.to_string(), "{question}");
        assert_eq!(answer["changed"], changed, "{question}");
    }
    let who = "root";
    assert_eq!(
        served.history(again),
        format!("answering, accepted, held by {who}")
    );
    assert_eq!(
        served.history(first),
        format!("answering, accepted, held by {who}, refused_later by {who}")
    );
    let told = served.reader().outcomes(first).unwrap();
    assert_eq!(
        told.last().and_then(|o| o.detail.as_deref()),
        Some("a virus")
    );
    assert_eq!(
        served.history(third),
        format!("answering, accepted, held by {who}, released by {who}")
    );
    served.stop().await;
}

/// What is refused, of which kind, and a part of the sentence.
#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_is_answered_with_a_sentence_and_changes_nothing() {
    let served = Served::start(&[]).await;
    let accepted = served.message("4jXW5m5GBtz1StgL", 1, Some(Accepted)).await;
    let rejected = served.message("4jXW5m5KZfz1StH0", 2, Some(Rejected)).await;
    let held = served.message("4jXW5m5KZfz1StH1", 3, Some(Held)).await;
    let unanswered = served.message("4jXW5m5KZfz1StH2", 4, None).await;
    for (question, kind, words) in [
        (
            r#""queue_id":"x","outcome":"held""#.to_owned(),
            "no",
            "no message with the queue id x",
        ),
        (
            r#""message_id":"x@y","outcome":"held""#.to_owned(),
            "no",
            "no message with the Message-ID <x@y>",
        ),
        (
            r#""verdict":"017f22e2-79b0-7fff-bfff-ffffffffffff","outcome":"held""#.to_owned(),
            "no",
            "no verdict 017f22e2",
        ),
        (
            r#""verdict":"7","outcome":"held""#.to_owned(),
            "usage",
            "no id of a verdict",
        ),
        (
            r#""outcome":"held""#.to_owned(),
            "usage",
            "by its verdict, or by queue_id",
        ),
        (
            r#""verdict":"7","queue_id":"x","outcome":"held""#.to_owned(),
            "usage",
            "by its verdict",
        ),
        (
            r#""queue_id":"4jXW5m5GBtz1StgL","message_id":"x@y","outcome":"held""#.to_owned(),
            "no",
            "no message with the queue id 4jXW5m5GBtz1StgL and the Message-ID <x@y>",
        ),
        (
            format!(r#""verdict":"{accepted}","outcome":"deleted""#),
            "usage",
            "one of accepted, rejected",
        ),
        (
            format!(r#""verdict":"{accepted}","outcome":"gone""#),
            "usage",
            "one of accepted, rejected",
        ),
        (
            format!(r#""verdict":"{accepted}","outcome":"rejected""#),
            "no",
            "is refused_later",
        ),
        (
            format!(r#""verdict":"{accepted}","outcome":"released""#),
            "no",
            "it isn't held",
        ),
        (
            format!(r#""verdict":"{rejected}","outcome":"accepted""#),
            "no",
            "cannot become accepted",
        ),
        (
            format!(r#""verdict":"{held}","outcome":"accepted""#),
            "no",
            "ends as released",
        ),
        (
            format!(r#""verdict":"{unanswered}","outcome":"held""#),
            "no",
            "not taken alignd's answer yet",
        ),
        (
            format!(r#""store":"/nowhere","verdict":"{accepted}","outcome":"held""#),
            "usage",
            "not in /nowhere",
        ),
    ] {
        let answer = served.ask(&outcome(&question)).await;
        assert_eq!(answer["ok"], false, "{question}: {answer}");
        assert_eq!(answer["kind"], kind, "{question}: {answer}");
        let sentence = answer["error"].as_str().unwrap();
        assert!(sentence.contains(words), "{question}: {sentence}");
    }
    assert_eq!(served.history(accepted), "answering, accepted");
    assert_eq!(served.history(held), "answering, held");
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_takes_one_request_after_the_other() {
    let served = Served::start(&[]).await;
    let mut peer = served.connect().await;
    for _ in 0..3 {
        let answer = peer.ask(r#"{"v":1,"request":"ping"}"#).await;
        assert_eq!(answer["ok"], true);
        let refused = peer.ask("nonsense").await;
        assert_eq!(refused["kind"], "usage");
    }
    served.stop().await;
    assert!(peer.hear().await.is_none());
}

/// A condition that can't be read lists nothing, instead of everything.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_held_is_listed_as_asked_or_not_at_all() {
    let served = Served::start(&[]).await;
    for nth in 0..3 {
        served
            .message(&format!("4jXW5m5GBtz1Stg{nth}"), -3 - nth, Some(Held))
            .await;
    }
    let elsewhere = served.message("4jXW5m5GBtz1Stg9", -9, Some(Accepted)).await;
    let told = served
        .ask(&outcome(&format!(
            r#""verdict":"{elsewhere}","outcome":"held""#
        )))
        .await;
    assert_eq!(told["ok"], true, "{told}");
    for (asked, rows, more) in [
        ("", 3, false),
        (r#","author_domain":"A.example""#, 3, false),
        (r#","author_domain":"b.example""#, 0, false),
        (r#","older_than":5"#, 1, false),
        (r#","older_than":1000000000000"#, 0, false),
        (r#","limit":2"#, 2, true),
        (r#","limit":3"#, 3, false),
        (r#","told":true"#, 1, false),
        (r#","told":false"#, 3, false),
    ] {
        let answer = served
            .ask(&format!(r#"{{"v":1,"request":"held"{asked}}}"#))
            .await;
        let found = answer["held"].as_array().map(Vec::len);
        assert_eq!(
            (found, &answer["more"]),
            (Some(rows), &more.into()),
            "{asked}: {answer}"
        );
    }
    for (asked, says) in [
        (r#""author_domain":"bad name""#, "author_domain: "),
        (r#""author_domain":"""#, "author_domain: "),
        (r#""older_than":9223372036854775808"#, "older_than: "),
        (r#""older_than":9223372036855"#, "older_than: "),
        (r#""older_than":-1"#, "invalid value"),
    ] {
        let answer = served
            .ask(&format!(r#"{{"v":1,"request":"held",{asked}}}"#))
            .await;
        assert_eq!(answer["kind"], "usage", "{asked}: {answer}");
        let sentence = answer["error"].as_str().unwrap();
        assert!(sentence.contains(says), "{asked}: {sentence}");
    }
    served.stop().await;
}

//! Mail that comes back with its verdict header: from `trust.reinject`, as it was, once, it has its verdict;
//! any other is judged as any mail.

use crate::mta::{Answer, Mail, Mta};
use crate::running::{Running, Standing, settings, start};
use alignd::domain::DomainName;
use alignd::milter::Settings;
use alignd::outcome::{Outcome, OutcomeSource, OutcomeState};
use alignd::policy::FailAction;
use alignd::site_key::SiteKey;
use alignd::store::SkipReason;
use alignd::time::{Clock, Timestamp};
use alignd::verdict::VerdictId;
use alignd::verdict::header::{Marks, VERDICT_HEADER, VerdictHeader};

const SPOOFER: &str = "203.0.113.7:25";
const FILTER: &str = "198.51.100.25:25";
/// In `trust.networks` as well, as a filter on the same host is.
const LOCAL_FILTER: &str = "127.0.0.1:10025";
/// In `trust.networks` alone.
const FRIEND: &str = "10.0.0.1:25";

fn holding() -> Settings {
    let mut settings = settings();
    settings.policy.on_reject = FailAction::Hold;
    let trust = &mut settings.trust;
    trust.reinject = ["198.51.100.25/32", "127.0.0.1/32"]
        .map(|n| n.parse().unwrap())
        .into();
    trust.networks = ["10.0.0.0/8", "127.0.0.0/8"]
        .map(|n| n.parse().unwrap())
        .into();
    settings.site_key = Some(SiteKey::new(&KEY));
    settings
}

const KEY: [u8; 32] = [3; 32];
const RESULTS: &str = " mx.test; dmarc=fail header.from=good.example";

/// With these fields on top.
fn spoof<'a>(fields: &[(&'a str, &'a str)]) -> Mail<'a> {
    let mut mail = Mail::plain("<x@evil.example>");
    mail.fields.splice(0..0, fields.iter().copied());
    mail.field("From", " a@good.example")
        .field("Message-ID", " <m1@good.example>")
}

async fn deliver(running: &Running, client: &str, mail: &Mail<'_>) -> Answer {
    let raw = running.raw("unix").await;
    let mut session = Mta::Postfix.session(raw, "filter", client, "filter").await;
    let answer = session.deliver(mail).await;
    session.quit().await;
    answer
}

/// Has a message held; its header's value.
async fn hold(running: &Running) -> String {
    let answer = deliver(running, SPOOFER, &spoof(&[])).await;
    answer.inserted(VERDICT_HEADER).expect("it is held")
}

/// What the fields of a message that came back are.
fn came_back(header: &str) -> Mail<'_> {
    spoof(&[
        ("Authentication-Results", RESULTS),
        (VERDICT_HEADER, header),
    ])
}

const TAKEN: [&str; 2] = ["m1 X-Alignd-Verdict:", "c"];

#[tokio::test]
async fn what_comes_back_keeps_its_verdict_and_its_results() {
    for filter in [FILTER, LOCAL_FILTER] {
        let running = start(holding()).await;
        let header = hold(&running).await;
        // A filter adds fields and MTAs change white space.
        let mut back = came_back(&header).field("X-Spam-Score", " 0");
        back.body = b"Hello  \r\n\r\n";
        assert_eq!(deliver(&running, filter, &back).await.summary(), TAKEN);
        let stopped = running.stop().await;
        assert_eq!(stopped.verdicts.len(), 1);
        let stored = &stopped.verdicts[0];
        let last = stored.outcomes.last().unwrap();
        assert_eq!(last.state, OutcomeState::Released);
        assert_eq!(last.source, OutcomeSource::Reinjected);
        assert!(stored.came_back.is_some());
        let skips: Vec<_> = stopped
            .skips
            .iter()
            .map(|s| (s.reason, s.messages))
            .collect();
        assert_eq!(skips, [(SkipReason::Reinjected, 1)]);
    }
}

#[tokio::test]
async fn what_was_let_go_by_others_is_noted_without_a_move() {
    let running = start(holding()).await;
    let header = hold(&running).await;
    let id = VerdictHeader::parse(header.as_bytes()).unwrap().id();
    let released = Outcome::new(
        OutcomeState::Released,
        Standing.now(),
        OutcomeSource::Operator,
    );
    running.store.confirm(id, released);
    assert_eq!(
        deliver(&running, FILTER, &came_back(&header))
            .await
            .summary(),
        TAKEN
    );
    let stopped = running.stop().await;
    let stored = &stopped.verdicts[0];
    let last = stored.outcomes.last().unwrap();
    assert_eq!(last.source, OutcomeSource::Operator);
    assert!(stored.came_back.is_some());
}

/// Sends `mail` from `client`, which must be judged as any mail, and leave the held message as it is.
async fn check_does_nothing(what: &str, client: &str, mail: impl for<'a> Fn(&'a str) -> Mail<'a>) {
    let running = start(holding()).await;
    let header = hold(&running).await;
    let answer = deliver(&running, client, &mail(&header)).await.summary();
    assert!(answer.contains(&TAKEN[0].to_owned()), "{what}: {answer:?}");
    assert_ne!(answer, TAKEN, "{what}");
    let stripped = answer.contains(&"m1 Authentication-Results:".to_owned());
    assert!(stripped, "{what}: {answer:?}");
    let stopped = running.stop().await;
    assert_eq!(stopped.verdicts.len(), 2, "{what}");
    let first = &stopped.verdicts[0];
    assert_eq!(
        first.outcomes.last().unwrap().state,
        OutcomeState::Held,
        "{what}"
    );
    assert!(first.came_back.is_none(), "{what}");
    assert!(stopped.skips.is_empty(), "{what}");
}

#[tokio::test]
async fn a_copied_header_does_nothing() {
    fn with<'a>(header: &'a str, name: &'static str, value: &'static str) -> Mail<'a> {
        let mut mail = came_back(header);
        let field = mail.fields.iter_mut().find(|(n, _)| *n == name).unwrap();
        field.1 = value;
        mail
    }
    check_does_nothing("from elsewhere", SPOOFER, came_back).await;
    check_does_nothing("another body", FILTER, |header| {
        let mut mail = came_back(header);
        mail.body = b"Hello, visit evil.example\r\n";
        mail
    })
    .await;
    check_does_nothing("another Message-ID", FILTER, |header| {
        with(header, "Message-ID", " <m2@good.example>")
    })
    .await;
    check_does_nothing("another author", FILTER, |header| {
        with(header, "From", " a@quarantine.example")
    })
    .await;
    check_does_nothing("two authors", FILTER, |header| {
        came_back(header).field("From", " a@other.example")
    })
    .await;
    check_does_nothing("behind another header", FILTER, |header| {
        let mut mail = came_back(header);
        mail.fields.insert(0, (VERDICT_HEADER, " x"));
        mail
    })
    .await;
}

/// A header that is right for the message but for what `made` changes.
fn sealed(id: VerdictId, judged: Timestamp, key: [u8; 32]) -> String {
    let body = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, b"Hello\r\n");
    let marks = Marks {
        message_id: Some("m1@good.example".to_owned()),
        author_domain: DomainName::parse("good.example").ok(),
        body: body.as_ref().try_into().unwrap(),
    };
    VerdictHeader::new(id, judged, &marks, &SiteKey::new(&key)).folded()
}

#[tokio::test]
async fn a_header_must_be_ours_young_and_of_a_known_verdict() {
    let days = |days: i64| Timestamp::from_seconds(Standing.now().seconds() - days * 86_400);
    let nobody = VerdictId::from_bytes([9; 16]);
    for (what, age, key, known, taken) in [
        ("good", 0, KEY, true, true),
        ("of 29 days", 29, KEY, true, true),
        ("of 30 days", 30, KEY, true, false),
        ("another site's", 0, [4; 32], true, false),
        ("of nobody's verdict", 0, KEY, false, false),
    ] {
        let running = start(holding()).await;
        let held = hold(&running).await;
        let id = VerdictHeader::parse(held.as_bytes()).unwrap().id();
        let header = sealed(if known { id } else { nobody }, days(age), key);
        let answer = deliver(&running, FILTER, &came_back(&header)).await;
        assert_eq!(
            answer.summary() == TAKEN,
            taken,
            "{what}: {:?}",
            answer.summary()
        );
        let verdicts = if taken { 1 } else { 2 };
        assert_eq!(running.stop().await.verdicts.len(), verdicts, "{what}");
    }
}

#[tokio::test]
async fn a_header_is_good_for_one_time_also_when_two_come_at_once() {
    let running = start(holding()).await;
    let header = hold(&running).await;
    let back = came_back(&header);
    let sent = (0..8).map(|_| deliver(&running, FILTER, &back));
    let answers = futures_util::future::join_all(sent).await;
    let taken = answers.iter().filter(|a| a.summary() == TAKEN).count();
    assert_eq!(taken, 1);
    let again = deliver(&running, FILTER, &back).await.summary();
    assert!(
        again.last().unwrap() == "c" && again.len() == 6,
        "{again:?}"
    );
    let outcomes = running.stop().await.summary();
    let held = outcomes.iter().filter(|o| o.ends_with(" fail hold held"));
    assert_eq!((outcomes.len(), held.count()), (9, 8));
}

/// From our own networks nothing is judged, so there a header that doesn't fit is only taken away.
#[tokio::test]
async fn where_nothing_is_judged_a_header_is_taken_away() {
    let running = start(holding()).await;
    let header = hold(&running).await;
    for client in [FRIEND, LOCAL_FILTER] {
        let mut mail = came_back(&header);
        mail.body = b"something else\r\n";
        assert_eq!(deliver(&running, client, &mail).await.summary(), TAKEN);
    }
    assert_eq!(
        deliver(&running, FRIEND, &came_back(&header))
            .await
            .summary(),
        TAKEN
    );
    let stopped = running.stop().await;
    let skips: Vec<_> = stopped
        .skips
        .iter()
        .map(|s| (s.reason, s.messages))
        .collect();
    assert_eq!(skips, [(SkipReason::TrustNetworks, 3)]);
    assert_eq!(stopped.summary().len(), 1);
    assert!(stopped.verdicts[0].came_back.is_none());
}

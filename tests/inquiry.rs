//! The three questions about a message and their one conclusion, over a zone in memory.

use alignd::address::ReversePath;
use alignd::auth::arc::ArcSettings;
use alignd::auth::dkim::{DkimSettings, KeyCache};
use alignd::auth::dmarc::DiscoveryMethod;
use alignd::auth::inquiry::{Conclusion, EnvelopeQuestion, HeaderQuestion, HeaderSettings};
use alignd::dns::zone::{Zone, ZoneRecord};
use alignd::dns::{QueryName, TxtRecord};
use alignd::message::HeaderField;
use alignd::time::Timestamp;

fn zone() -> Zone {
    let mut zone = Zone::new();
    for (name, text) in [
        ("_dmarc.bank.example", "v=DMARC1; p=reject"),
        ("bank.example", "v=spf1 ip4:192.0.2.1 -all"),
        ("news.bank.example", "v=spf1 ip4:192.0.2.1 -all"),
    ] {
        let name = QueryName::parse(name).expect("a name");
        zone.add(&name, ZoneRecord::Txt(TxtRecord::from_text(text)));
    }
    zone
}

/// A message from `client` in the name of `bank.example`.
async fn judge(client: &str, helo: &str, mail_from: &str) -> Conclusion {
    let now = Timestamp::from_seconds(1_800_000_000);
    let envelope = EnvelopeQuestion {
        client: Some(client.parse().unwrap()),
        helo: Some(helo.to_owned()),
        mail_from: ReversePath::parse(mail_from),
        receiver: "mx.receiver.example".to_owned(),
        now,
    };
    let header = HeaderQuestion::read(
        &[HeaderField::new("From", " x@bank.example")],
        envelope.spf_domain(),
        HeaderSettings {
            dkim: &DkimSettings::default(),
            arc: &ArcSettings::default(),
            discovery: DiscoveryMethod::TreeWalk,
        },
        now,
    );
    let body = header.body_hasher(None).finish();
    let (zone, keys) = (zone(), KeyCache::default());
    let answers = envelope.ask(&zone).await;
    let found = header.ask(&zone, &keys).await;
    header.conclude(answers, found, body)
}

/// SPF reads a domain off paths that are no RFC 5321 mailbox; DMARC must have asked about it as well.
#[tokio::test]
async fn whatever_spf_authenticates_is_compared() {
    for (mail_from, helo, client, spf, dmarc) in [
        (
            "<a@news.bank.example>",
            "h.test",
            "192.0.2.1",
            "pass",
            "pass",
        ),
        (
            "<a b@news.bank.example>",
            "h.test",
            "192.0.2.1",
            "pass",
            "pass",
        ),
        (
            "<@news.bank.example>",
            "h.test",
            "192.0.2.1",
            "pass",
            "pass",
        ),
        ("<a b@bank.example>", "h.test", "192.0.2.1", "pass", "pass"),
        ("<>", "news.bank.example", "192.0.2.1", "pass", "pass"),
        (
            "<a b@news.bank.example>",
            "h.test",
            "192.0.2.9",
            "fail",
            "fail",
        ),
        ("<a b>", "news.bank.example", "192.0.2.1", "none", "fail"),
    ] {
        let conclusion = judge(client, helo, mail_from).await;
        let result = conclusion.evidence.spf.mail_from.result;
        assert_eq!(result.as_str(), spf, "{mail_from}");
        let evaluation = conclusion.evaluation.expect("one author");
        let grounds = &evaluation.grounds;
        assert_eq!(evaluation.result.as_str(), dmarc, "{mail_from}: {grounds}");
    }
}

//! Mail that came through a custodian with an ARC seal and fails DMARC: accepted by an exception that takes
//! the word of a trusted sealer, and only by that.

use crate::arc_sealer::{Set, seal};
use crate::dkim_signer::SigningKey;
use crate::mta::{Answer, Mail, Mta};
use crate::running::{Stopped, settings, start_with};
use alignd::auth::DmarcResult;
use alignd::config::Config;
use alignd::dns::master;
use alignd::message::parse::Message;
use alignd::milter::Settings;
use alignd::policy::OverrideType;
use std::sync::Arc;

/// Written by good.example, p=reject; the list changed its subject, and sends from its own host.
const LETTER: &[u8] = b"From: a@good.example\r\nSubject: [talk] hello\r\n\r\nHello\r\n";
const CLIENT: &str = "203.0.113.7:25";
const FOUND_GOOD: &str = "mx.list.example; dmarc=pass header.from=good.example";

const LIST: Set<'_> = Set {
    instance: 1,
    sealer: "list.example",
    selector: "s",
    status: "none",
    results: FOUND_GOOD,
};
/// Hands on what the list sent.
const RELAY: Set<'_> = Set {
    instance: 2,
    sealer: "relay.example",
    selector: "s",
    status: "pass",
    results: "mx.relay.example; arc=pass; dmarc=fail header.from=good.example",
};

fn configured(arc: &str, sealer: &str) -> Settings {
    let text = format!(
        "[policy]\non_reject = \"reject\"\n[arc]\n{arc}\n\
         [[exception]]\nauthor_domain = \"good.example\"\nrequire = {{ arc_sealer = \"{sealer}\" }}\n"
    );
    let (config, _) = Config::parse(&text, "mx.test").unwrap_or_else(|p| panic!("{p:?}: {text}"));
    let mut settings = settings();
    settings.policy = config.policy.clone();
    settings.arc = config.arc.clone();
    settings.rules = Arc::new(config.rules([]));
    settings
}

/// The keys of every sealer are one.
struct Sealers(SigningKey);

impl Sealers {
    fn sealed(&self, sets: &[Set<'_>]) -> Vec<u8> {
        let sets = sets.iter();
        sets.fold(LETTER.to_vec(), |mail, set| seal(&mail, &self.0, *set))
    }

    fn zone(&self) -> String {
        let record = self.0.record();
        let (first, rest) = record.split_at(200);
        let keys = ["list", "relay"]
            .map(|sealer| format!("s._domainkey.{sealer}.example. TXT \"{first}\" \"{rest}\"\n"));
        format!(
            "{}{};servfail silent._domainkey.list.example.\n",
            include_str!("zone.txt"),
            keys.concat()
        )
    }

    async fn deliver(&self, mta: Mta, settings: Settings, mail: &[u8]) -> (Answer, Stopped) {
        let zone = master::parse(&self.zone()).unwrap();
        let running = start_with(zone, settings).await;
        let message = Message::parse(mail);
        let text = |octets: &[u8]| String::from_utf8(octets.to_vec()).unwrap();
        let fields = message.fields.iter();
        let fields: Vec<_> = fields.map(|f| (text(&f.name), text(&f.value))).collect();
        let mail = Mail {
            from: "<talk-bounces@list.example>",
            to: vec!["<user@receiver.example>"],
            fields: fields.iter().map(|(n, v)| (&**n, &**v)).collect(),
            body: &message.body,
        };
        let raw = running.raw("unix").await;
        let mut session = mta.session(raw, "[203.0.113.7]", CLIENT, "out").await;
        let answer = session.deliver(&mail).await;
        session.quit().await;
        (answer, running.stop().await)
    }
}

const TRUSTED: &str = "enabled = true\ntrusted_sealers = [\"list.example\", \"relay.example\"]";

#[tokio::test]
async fn a_trusted_sealers_word_is_taken_and_told_to_the_domain_owner() {
    let sealers = Sealers(SigningKey::generate("rsa"));
    let with_address = Set {
        results: "mx.list.example; dkim=pass header.d=good.example; arc=none smtp.remote-ip=192.0.2.9",
        ..LIST
    };
    for (sealer, sets, comment) in [
        (
            "list.example",
            &[LIST][..],
            "arc=pass as[1].d=list.example as[1].s=s",
        ),
        ("*", &[LIST], "arc=pass as[1].d=list.example as[1].s=s"),
        (
            "list.example",
            &[with_address],
            "arc=pass as[1].d=list.example as[1].s=s remote-ip[1]=192.0.2.9",
        ),
        (
            "relay.example",
            &[LIST, RELAY],
            "arc=pass as[2].d=relay.example as[2].s=s as[1].d=list.example as[1].s=s",
        ),
    ] {
        for mta in Mta::BOTH {
            let mail = sealers.sealed(sets);
            let (answer, stopped) = sealers
                .deliver(mta, configured(TRUSTED, sealer), &mail)
                .await;
            assert_eq!(answer.last.kind, 'c', "{sealer} {sets:?}");
            let results = answer.results();
            for word in ["arc=pass ", "dmarc=fail"] {
                assert!(results.contains(word), "{word}: {results}");
            }
            let verdict = &stopped.verdicts[0].verdict;
            let evaluation = verdict.evaluation.as_ref().unwrap();
            assert_eq!(evaluation.result, DmarcResult::Fail);
            let [reason] = verdict.decision.overrides() else {
                panic!("{:?}", verdict.decision);
            };
            assert_eq!(reason.kind, OverrideType::LocalPolicy);
            assert_eq!(reason.comment.as_deref(), Some(comment));
        }
    }
}

#[tokio::test]
async fn no_other_word_is_taken() {
    let sealers = Sealers(SigningKey::generate("rsa"));
    let list = sealers.sealed(&[LIST]);
    let changed = [&list[..], b"A footer\r\n"].concat();
    let forged = String::from_utf8(list.clone())
        .unwrap()
        .replace("dmarc=pass", "dmarc=PASS");
    let of = |set: Set<'_>| sealers.sealed(&[set]);
    let found_bad = of(Set {
        results: "mx.list.example; dmarc=fail header.from=good.example",
        ..LIST
    });
    let of_another = of(Set {
        results: "mx.list.example; dmarc=pass header.from=other.example",
        ..LIST
    });
    let without_key = of(Set {
        selector: "none",
        ..LIST
    });
    let without_dns = of(Set {
        selector: "silent",
        ..LIST
    });
    let failed_later = sealers.sealed(&[
        LIST,
        Set {
            status: "fail",
            ..RELAY
        },
    ]);
    let second_alone = sealers.sealed(&[RELAY]);
    let through_relay = sealers.sealed(&[LIST, RELAY]);
    let off = "enabled = false\ntrusted_sealers = [\"list.example\"]";
    let list_alone = "enabled = true\ntrusted_sealers = [\"list.example\"]";
    let relay_alone = "enabled = true\ntrusted_sealers = [\"relay.example\"]";
    for (why, arc, sealer, mail, arc_result) in [
        ("no chain", TRUSTED, "*", LETTER, "; arc=none"),
        ("a broken body", TRUSTED, "*", &changed, "; arc=fail"),
        (
            "a broken seal",
            TRUSTED,
            "*",
            forged.as_bytes(),
            "; arc=fail",
        ),
        ("no key", TRUSTED, "*", &without_key, "; arc=fail"),
        ("no DNS", TRUSTED, "*", &without_dns, "; arc=fail"),
        (
            "sealed as failed",
            TRUSTED,
            "*",
            &failed_later,
            "; arc=fail",
        ),
        ("no first set", TRUSTED, "*", &second_alone, "; arc=fail"),
        ("found to fail", TRUSTED, "*", &found_bad, "; arc=pass"),
        ("another author", TRUSTED, "*", &of_another, "; arc=pass"),
        (
            "another sealer",
            TRUSTED,
            "relay.example",
            &list,
            "; arc=pass",
        ),
        (
            "another newest",
            TRUSTED,
            "list.example",
            &through_relay,
            "; arc=pass",
        ),
        ("nobody trusted", relay_alone, "*", &list, "; arc=pass"),
        (
            "a stranger last",
            list_alone,
            "*",
            &through_relay,
            "; arc=pass",
        ),
        (
            "a stranger first",
            relay_alone,
            "*",
            &through_relay,
            "; arc=pass",
        ),
        ("ARC is off", off, "list.example", &list, ""),
    ] {
        let (answer, stopped) = sealers
            .deliver(Mta::Postfix, configured(arc, sealer), mail)
            .await;
        assert_eq!(answer.last.kind, 'y', "{why}");
        let verdict = &stopped.verdicts[0].verdict;
        let results = &verdict.authentication_results;
        assert!(results.contains(arc_result), "{why}: {results}");
        assert_eq!(
            results.contains("; arc="),
            !arc_result.is_empty(),
            "{why}: {results}"
        );
        assert!(verdict.decision.rule().is_none(), "{why}");
        assert!(verdict.decision.overrides().is_empty(), "{why}");
    }
}

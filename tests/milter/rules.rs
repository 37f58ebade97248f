//! Mail under the rules of a settings file, from its text to the answer on the wire and the stored verdict;
//! and rules that are added to the store of a running alignd.

use crate::daemon::Daemon;
use crate::dkim_signer::SigningKey;
use crate::mta::{Mail, Mta};
use crate::running::{Running, settings, start_with};
use alignd::config::Config;
use alignd::dns::master;
use alignd::milter::Settings;
use alignd::site_key::SiteKey;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;

/// Sends for nobody whose policy matters here: SPF passes for evil.example, the name is confirmed.
const CLIENT: &str = "203.0.113.7:25";
const MORE: &str = r#"
$ORIGIN example.
evil            TXT  "v=spf1 ip4:203.0.113.7 -all"
out.mta         A    203.0.113.7
none            TXT  "v=spf1 -all"
$ORIGIN 113.0.203.in-addr.arpa.
7               PTR  out.mta.example.
"#;

fn configured(rules: &str) -> Settings {
    let text = format!(
        "[policy]\non_reject = \"reject\"\non_quarantine = \"hold\"\n[arc]\nenabled = true\n{rules}"
    );
    let (config, _) = Config::parse(&text, "mx.test").unwrap_or_else(|p| panic!("{p:?}: {rules}"));
    let mut settings = settings();
    settings.policy = config.policy.clone();
    settings.rules = Arc::new(config.rules([]));
    settings.site_key = Some(SiteKey::new(&[3; 32]));
    settings
}

async fn start(rules: &str, key: &SigningKey) -> Running {
    let key = format!(
        "$ORIGIN list.example.\ns._domainkey TXT \"{}\"\n",
        key.record()
    );
    let zone = include_str!("zone.txt").to_owned() + MORE + &key;
    start_with(master::parse(&zone).unwrap(), configured(rules)).await
}

/// What a list sends on: From this domain, signed by list.example.
fn letter(author: &str, key: &SigningKey) -> Vec<(String, String)> {
    let fields = [
        ("From", format!(" a@{author}")),
        ("Subject", " hello".to_owned()),
        ("List-Id", " Talk <talk.list.example>".to_owned()),
    ];
    let header = fields
        .iter()
        .map(|(name, value)| format!("{name}:{value}\r\n"));
    let message = header.collect::<String>() + "\r\nHello\r\n";
    let tags = "v=1; a=ed25519-sha256; c=relaxed/relaxed; d=list.example; s=s; h=from:subject:list-id; bh={bh}; b={b}";
    let signed = String::from_utf8(key.sign(message.as_bytes(), tags)).unwrap();
    let field = signed.strip_suffix(&message).unwrap();
    let (name, value) = field.trim_end().split_once(':').unwrap();
    let signature = (name.to_owned(), value.to_owned());
    let fields = fields.map(|(name, value)| (name.to_owned(), value));
    std::iter::once(signature).chain(fields).collect()
}

/// `accept`, `reject` or `hold`, as the MTA is told, and what decided, as it is stored.
async fn outcome(rules: &str, author: &str, to: &[&str]) -> String {
    let key = SigningKey::generate("ed25519");
    let running = start(rules, &key).await;
    let letter = letter(author, &key);
    let mail = Mail {
        from: "<x@evil.example>",
        to: to.to_vec(),
        fields: letter
            .iter()
            .map(|(n, v)| (n.as_str(), v.as_str()))
            .collect(),
        body: b"Hello\r\n",
    };
    let raw = running.raw("unix").await;
    let mut session = Mta::Postfix
        .session(raw, "out.mta.example", CLIENT, "out")
        .await;
    let answer = session.deliver(&mail).await;
    session.quit().await;
    let held = answer.changes.iter().any(|change| change.kind == 'q');
    let told = match (answer.last.kind, held) {
        ('c', false) => "accept",
        ('c', true) => "hold",
        ('y', false) => "reject",
        other => panic!("{other:?}"),
    };
    let stopped = running.stop().await;
    let decision = &stopped.verdicts[0].verdict.decision;
    assert_eq!(decision.action().as_str(), told);
    let reasons = decision
        .overrides()
        .iter()
        .map(|reason| reason.kind.as_str());
    let by = decision
        .rule()
        .map_or("settings", |rule| rule.effect.as_str());
    let words = [told, by].into_iter().chain(reasons);
    words.collect::<Vec<_>>().join(" ")
}

const USER: &[&str] = &["<user@receiver.example>"];

/// A requirement that this mail meets, and one beside it that it doesn't.
#[tokio::test]
async fn mail_passes_under_a_configured_exception_of_each_kind() {
    for (met, missed) in [
        (r#"dkim = "list.example""#, r#"dkim = "other.example""#),
        (
            r#"dkim = "list.example", dkim_selector = "s""#,
            r#"dkim = "list.example", dkim_selector = "t""#,
        ),
        (r#"spf = "evil.example""#, r#"spf = "good.example""#),
        (
            r#"reverse_name = ".mta.example""#,
            r#"reverse_name = "in.mta.example""#,
        ),
        (
            r#"network = ["192.0.2.0/24", "203.0.113.0/29"]"#,
            r#"network = ["203.0.113.8/29"]"#,
        ),
        (
            r#"list_id = "talk.list.example", list_domain = "list.example""#,
            r#"list_id = "news.list.example", list_domain = "list.example""#,
        ),
        (
            r#"dkim = "list.example", spf = "evil.example""#,
            r#"dkim = "list.example", spf = "good.example""#,
        ),
        (
            r#"network = ["203.0.113.7"]"#,
            r#"arc_sealer = "list.example""#,
        ),
    ] {
        for (require, expected) in [
            (met, "accept exception mailing_list"),
            (missed, "reject settings"),
        ] {
            let rules = format!(
                "[[exception]]\nauthor_domain = \"good.example\"\nbecause = \"mailing_list\"\nrequire = {{ {require} }}\n"
            );
            assert_eq!(
                outcome(&rules, "good.example", USER).await,
                expected,
                "{require}"
            );
        }
    }
}

/// Whose mail, to whom and until when; the sender's evidence is the same.
#[tokio::test]
async fn a_configured_exception_concerns_nobody_else() {
    for (author, more, to, expected) in [
        ("good.example", "", USER, "accept"),
        ("*", "", USER, "accept"),
        (".example", "", USER, "accept"),
        ("none.example", "", USER, "reject"),
        (
            "good.example",
            "recipients = [\"receiver.example\"]",
            USER,
            "accept",
        ),
        (
            "good.example",
            "recipients = [\"user@receiver.example\"]",
            USER,
            "accept",
        ),
        (
            "good.example",
            "recipients = [\"anna@receiver.example\"]",
            USER,
            "reject",
        ),
        (
            "good.example",
            "recipients = [\"user@receiver.example\"]",
            &["<user@receiver.example>", "<anna@receiver.example>"],
            "reject",
        ),
        (
            "good.example",
            "expires = 2026-11-22T12:00:01Z",
            USER,
            "accept",
        ),
        (
            "good.example",
            "expires = 2026-11-22T12:00:00Z",
            USER,
            "reject",
        ),
    ] {
        let rules = format!(
            "[[exception]]\nauthor_domain = \"{author}\"\n{more}\nrequire = {{ dkim = \"list.example\" }}\n"
        );
        let found = outcome(&rules, "good.example", to).await;
        assert!(
            found.starts_with(expected),
            "{author} {more} {to:?}: {found}"
        );
    }
}

#[tokio::test]
async fn a_configured_stricter_rule_holds_or_rejects_what_would_pass() {
    for (author, rule, of, expected) in [
        (
            "none.example",
            "action = \"hold\"",
            "none.example",
            "hold stricter local_policy",
        ),
        (
            "none.example",
            "action = \"reject\"",
            "none.example",
            "reject stricter local_policy",
        ),
        (
            "*",
            "action = \"hold\"",
            "none.example",
            "hold stricter local_policy",
        ),
        (
            "good.example",
            "action = \"hold\"",
            "none.example",
            "accept settings",
        ),
        (
            "none.example",
            "action = \"hold\"\nexpires = 2026-11-22T12:00:00Z",
            "none.example",
            "accept settings",
        ),
        (
            "none.example",
            "action = \"hold\"\nrecipients = [\"anna@receiver.example\"]",
            "none.example",
            "accept settings",
        ),
        // Nothing is softened.
        (
            "good.example",
            "action = \"hold\"",
            "good.example",
            "reject ",
        ),
        // temperror is never a hold.
        (
            "broken.example",
            "action = \"hold\"",
            "broken.example",
            "accept settings",
        ),
        (
            "*",
            "action = \"reject\"",
            "broken.example",
            "accept settings",
        ),
    ] {
        let rules = format!("[[stricter]]\nauthor_domain = \"{author}\"\n{rule}\n");
        let found = outcome(&rules, of, USER).await;
        assert!(found.starts_with(expected), "{author} {rule} {of}: {found}");
    }
}

fn ask(daemon: &Daemon, request: Value) -> Value {
    let mut stream = UnixStream::connect(daemon.home().join("control.sock")).unwrap();
    writeln!(stream, "{request}").unwrap();
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer).unwrap();
    serde_json::from_str(&answer).unwrap()
}

fn add(daemon: &Daemon, rule: Value) -> Value {
    ask(
        daemon,
        json!({"v": 1, "request": "add_exception", "rule": rule}),
    )
}

/// A rule that holds needs the key: without one it is refused, instead of being told as in force.
#[tokio::test(flavor = "multi_thread")]
async fn a_stored_rule_that_holds_has_its_key_made_or_is_refused() {
    let daemon = Daemon::start_with("").await;
    let key = daemon.home().join("store/site.key");
    let holds = json!({"author_domain": "a.example", "action": "hold"});
    // Made at the start; now there can be none.
    std::fs::remove_file(&key).unwrap();
    std::fs::create_dir(&key).unwrap();
    let refused = add(&daemon, holds.clone());
    assert_eq!(refused["kind"], "temporary", "{refused}");
    let told = refused["error"].as_str().unwrap();
    assert!(told.starts_with("identity.site_key: "), "{told}");
    assert!(told.ends_with("; nothing was changed"), "{told}");
    std::fs::remove_dir(&key).unwrap();
    let added = add(&daemon, holds);
    assert_eq!(added["key"], "stored-1", "{added}");
    assert!(key.is_file());
    assert!(daemon.stop().await.0.success());
}

/// One line each: who, what.
#[tokio::test(flavor = "multi_thread")]
async fn who_adds_and_removes_exceptions_is_logged() {
    let daemon = Daemon::start_with("").await;
    let rule = json!({"author_domain": "a.example", "recipients": ["anna@b.example"], "require": {"dkim": "b.example"}});
    add(&daemon, rule.clone());
    add(&daemon, rule);
    let misspelt = json!({"author_domain": "a.example", "require": {"dkim": "c.example"}, "expire": "2027-01-01"});
    assert_eq!(add(&daemon, misspelt)["kind"], "usage");
    for _ in 0..2 {
        ask(
            &daemon,
            json!({"v": 1, "request": "remove_exception", "key": "stored-1", "on_behalf_of": "carol"}),
        );
    }
    let log = daemon.log();
    let lines = log.lines().filter(|line| line.contains("exception"));
    let lines: Vec<&str> = lines.collect();
    let [added, unchanged, removed] = lines.as_slice() else {
        panic!("{lines:?}");
    };
    for (line, words) in [
        (
            added,
            ["by=\"root\"", "change=\"added\"", "author=\"a.example\""],
        ),
        (
            unchanged,
            ["by=\"root\"", "change=\"unchanged\"", "key=\"stored-1\""],
        ),
        (
            removed,
            [
                "by=\"carol (as root)\"",
                "change=\"removed\"",
                "key=\"stored-1\"",
            ],
        ),
    ] {
        for word in words {
            assert!(line.contains(word), "{word}: {line}");
        }
        assert!(!line.contains("anna"), "{line}");
    }
    assert!(daemon.stop().await.0.success());
}

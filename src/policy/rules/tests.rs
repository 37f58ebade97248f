//! Which terms make a rule, and that a rule is the same after it was written and read.

use super::*;

fn rule(json: &str) -> Result<Rule, RuleJsonError> {
    Rule::parse_json(json)
}

/// An exception for bank.example with these requirements.
fn except(require: &str) -> Result<Rule, RuleJsonError> {
    rule(&format!(
        r#"{{"author_domain":"bank.example","because":"local_policy","require":{{{require}}}}}"#
    ))
}

#[test]
fn an_exception_must_verify_something() {
    for (require, is_sound) in [
        ("", false),
        (r#""dkim":"list.example""#, true),
        (r#""dkim":".list.example""#, true),
        (r#""dkim":".example""#, false),
        (r#""dkim":".co.uk""#, false),
        (r#""spf":"list.example""#, true),
        (r#""spf":".com""#, false),
        (r#""reverse_name":".mta.example""#, true),
        (r#""reverse_name":"mta.example""#, true),
        (r#""reverse_name":"com""#, false),
        (r#""network":["192.0.2.0/24"]"#, true),
        (r#""network":["0.0.0.0/0"]"#, false),
        (r#""network":["0.0.0.0/1","128.0.0.0/1"]"#, false),
        (r#""network":["192.0.2.0/24","::/0"]"#, false),
        (r#""list_id":"news.list.example""#, false),
        (
            r#""list_id":"news.list.example","list_domain":"list.example""#,
            true,
        ),
        (
            r#""list_id":"news.list.example","list_domain":"com""#,
            false,
        ),
        (
            r#""list_id":"news.list.example","dkim":"list.example""#,
            true,
        ),
        (r#""arc_sealer":"*""#, true),
        (r#""arc_sealer":"sealer.example""#, true),
    ] {
        let expected = if is_sound {
            Ok(())
        } else {
            Err(RuleJsonError::Unsound(RuleError::NothingVerifiable))
        };
        assert_eq!(except(require).map(|_| ()), expected, "{require}");
        let open = format!(
            r#"{{"author_domain":"*","because":"other","unsafe":true,"require":{{{require}}}}}"#
        );
        assert!(rule(&open).is_ok(), "{open}");
    }
}

#[test]
fn what_makes_no_rule() {
    let long = "x".repeat(256);
    for (json, expected) in [
        (r#"{"author_domain":"*","because":"local_policy","require":{"dkim_selector":"s"}}"#.to_owned(),
         "dkim_selector needs dkim"),
        (r#"{"author_domain":"*","because":"local_policy","require":{"list_domain":"a.example"}}"#.to_owned(),
         "list_domain needs list_id"),
        (r#"{"author_domain":"*","because":"policy_test_mode","require":{"dkim":"a.example"}}"#.to_owned(),
         "policy_test_mode is what the domain owner says"),
        (r#"{"author_domain":"*","because":"mailing_list","action":"hold"}"#.to_owned(),
         "the reason of a stricter rule"),
        (format!(r#"{{"author_domain":"*","because":"other","require":{{"dkim":"a.example"}},"comment":"{long}"}}"#),
         "comment must be one line of at most 255"),
        (r#"{"author_domain":"*","because":"other","require":{"dkim":"a.example"},"owner":"a\nb"}"#.to_owned(),
         "owner must be one line"),
        (r#"{"author_domain":"a b","because":"other","require":{"dkim":"a.example"}}"#.to_owned(),
         "author_domain: \"a b\" is not understood"),
        (r#"{"author_domain":"*","because":"other","action":"hold","require":{}}"#.to_owned(), "action:"),
        (r#"{"author_domain":"*","because":"because","require":{"dkim":"a.example"}}"#.to_owned(), "because:"),
        (r#"{"author_domain":"*","because":"other","require":{"dkim":"a.example"},"expires":"soon"}"#.to_owned(), "expires:"),
        (r#"{"author_domain":"*","because":"other","require":{"network":["x"]}}"#.to_owned(), "network:"),
        ("".to_owned(), "no rule in JSON"),
        ("[]".to_owned(), "author_domain:"),
    ] {
        let error = rule(&json).expect_err(&json).to_string();
        assert!(error.contains(expected), "{json}: {error}");
    }
}

#[test]
fn written_and_read_again_a_rule_is_the_same() {
    for json in [
        r#"{"author_domain":"bank.example","require":{"dkim":"list.example","dkim_selector":"s1","spf":"b.list.example","reverse_name":".mta.example","network":["192.0.2.0/24","2001:db8::/32"],"list_id":"news.list.example","list_domain":"list.example","arc_sealer":"*"},"recipients":["a@example.org",".example.net"],"because":"mailing_list","comment":"Änne's list","owner":"anna","created":"2026-11-22T10:00:00.000Z","expires":"2027-01-01T00:00:00.000Z"}"#,
        r#"{"author_domain":".bank.example","require":{},"because":"trusted_forwarder","unsafe":true}"#,
        r#"{"author_domain":"*","action":"reject","recipients":["example.org"],"because":"local_policy"}"#,
    ] {
        let read = rule(json).unwrap();
        assert_eq!(read.to_json(), json);
        assert_eq!(rule(&read.to_json()), Ok(read));
    }
}

#[test]
fn a_key_tells_what_is_decided_from_what_is_said() {
    let base = r#"{"author_domain":"a.example","because":"other","require":{"dkim":"l.example"}"#;
    let key = |more: &str| RuleKey::config(&rule(&format!("{base}{more}}}")).unwrap());
    let same = [
        r#","owner":"x""#,
        r#","expires":"2030-01-01""#,
        r#","comment":"c""#,
    ];
    for more in same {
        assert_eq!(key(more), key(""), "{more}");
    }
    assert_ne!(key(r#","recipients":["example.org"]"#), key(""));
    assert!(RuleKey::parse(key("").as_str()) == Some(key("")));
    assert_eq!(RuleKey::stored(17).stored_id(), Some(17));
    assert_eq!(key("").stored_id(), None);
    for bad in ["", "A", "a b", "ä"] {
        assert_eq!(RuleKey::parse(bad), None, "{bad}");
    }
}

#[test]
fn a_rule_ends_at_its_very_second() {
    let json = r#"{"author_domain":"*","because":"other","require":{"dkim":"a.example"},"expires":"2027-01-01T00:00:00.9Z"}"#;
    let rule = rule(json).unwrap();
    let at = |text: &str| Timestamp::parse_rfc3339(text).unwrap();
    assert!(!rule.is_expired(at("2026-12-31T23:59:59.999Z")));
    assert!(rule.is_expired(at("2027-01-01T00:00:00Z")));
}

#[test]
fn patterns() {
    let domain = |text: &str| crate::domain::DomainName::parse(text).unwrap();
    for (pattern, name, covers, is_suffix) in [
        ("a.example", "a.example", true, true),
        ("a.example", "b.a.example", false, true),
        ("a.example", "ba.example", false, false),
        (".a.example", "a.example", false, false),
        (".a.example", "c.b.a.example", true, true),
    ] {
        let read = NamePattern::parse(pattern).unwrap();
        assert_eq!(read.covers(&domain(name)), covers, "{pattern} {name}");
        assert_eq!(
            read.is_suffix_of(&domain(name)),
            is_suffix,
            "{pattern} {name}"
        );
        assert_eq!(
            AuthorPattern::parse(pattern).unwrap().covers(&domain(name)),
            covers
        );
        assert_eq!(read.to_string(), pattern);
    }
    for (pattern, recipient, covers) in [
        ("Anna@example.org", "anna@example.org", true),
        ("anna@example.org", "bert@example.org", false),
        ("anna@example.org", "\"Anna\"@example.org", true),
        ("anna@example.org", "\"a\\nn\\a\"@example.org", true),
        ("anna@example.org", "\"an na\"@example.org", false),
        ("\"anna\"@example.org", "anna@example.org", true),
        ("\"a\\\"b\"@example.org", "\"a\\\"B\"@example.org", true),
        ("example.org", "anna@example.org", true),
        ("example.org", "anna@sub.example.org", false),
        (".example.org", "anna@sub.example.org", true),
    ] {
        let read = RecipientPattern::parse(pattern).unwrap();
        let recipient = crate::address::Mailbox::parse(recipient).unwrap();
        assert_eq!(read.covers(&recipient), covers, "{pattern} {recipient}");
    }
    for bad in [
        "",
        "@example.org",
        "<a@example.org>",
        "a b@example.org",
        ".",
    ] {
        assert_eq!(RecipientPattern::parse(bad), None, "{bad}");
    }
}

/// What isn't understood whole lets nothing pass.
#[test]
fn a_key_that_is_unknown_makes_no_rule() {
    for (json, key) in [
        (
            r#"{"author_domain":"a.example","require":{"dkim":"b.example"},"expire":"2027-01-01"}"#,
            "expire",
        ),
        (
            r#"{"author_domain":"a.example","require":{"dkim":"b.example","spff":"c.example"}}"#,
            "spff",
        ),
        (
            r#"{"author_domain":"a.example","action":"hold","unsave":true}"#,
            "unsave",
        ),
    ] {
        let told = rule(json).map(|_| ()).map_err(|error| error.to_string());
        let expected = format!("unknown field `{key}`");
        assert!(
            told.as_ref().is_err_and(|told| told.contains(&expected)),
            "{json}: {told:?}"
        );
    }
}

//! The author of From fields, good and bad: RFC 5322 §3.4 and §4.4, and the tricks of those who want
//! to be taken for somebody else.

use alignd::domain::DomainName;
use alignd::message::HeaderField;
use alignd::message::author::{Author, author};
use proptest::prelude::*;

fn from(values: &[&[u8]]) -> Author {
    let fields: Vec<_> = values
        .iter()
        .map(|value| HeaderField::new("From", value))
        .collect();
    author(&fields)
}

fn said(author: &Author) -> String {
    match author {
        Author::One(domain) => domain.to_string(),
        Author::Missing => "missing".to_owned(),
        Author::Several(domains) => {
            let names: Vec<_> = domains.iter().map(DomainName::as_str).collect();
            format!("several {}", names.join(" "))
        }
        Author::Unparseable(why) => why.clone(),
    }
}

fn check(value: impl AsRef<[u8]>, expected: &str) {
    let value = value.as_ref();
    let got = said(&from(&[value]));
    assert_eq!(got, expected, "{:?}", String::from_utf8_lossy(value));
}

#[test]
fn one_author() {
    for value in [
        " a@x.example",
        "a@x.example",
        " A <a@X.EXAMPLE>",
        " <a@x.example>",
        " \"A, B\" <a@x.example>",
        " A B. C <a@x.example> (D)",
        " .A <a@x.example>",
        " (\"b@y.example\") a@x.example (b@y.example (<c@z.example>))",
        " \"b@y.example\" <a@x.example>",
        " \"b@y.example,\" <a@x.example>",
        " \"\\\"<b@y.example>\" <a@x.example>",
        " =?utf-8?q?b=40y=2Eexample?= <a@x.example>",
        " =?utf-8?B?PGJAeS5leGFtcGxlPg==?= <a@x.example>",
        " =?utf-8?q?a?=@x.example",
        " \"b@y.example\"@x.example",
        " \"<b@y.example> \\\"\"@x.example",
        " a . \"b c\" (d) @ (e) x.example",
        "\r\n a\r\n\t@\r\n x.example\r\n ",
        // RFC 5322 A.6.1 and A.6.3: routes, and comments inside a domain.
        " <@y.example,@z.example:a@x.example>",
        " <,@y.example , , @z.example : a@x.example>",
        " John Doe <jdoe@x(comment).  example>",
        // Groups, RFC 6854.
        " G: a@x.example, <b@x.example>;",
        " G:a@x.example;",
        " Undisclosed:;, a@x.example",
        " \"b@y.example\":a@x.example; (c)",
        // Empty places in the list, a dot at the end, several addresses in one domain.
        " ,, a@x.example, ,",
        " a@x.example.",
        " <a@x.example.>, b@X.example, C <\"d\"@x.example>",
        " a@x.example <a@x.example>",
        " a@x.example (c) <b@X.example.>",
        " J\u{fc}rgen <j\u{fc}rgen@x.example>",
        " =?iso-8859-1?q?a?= \"b\"c <a+b=c@x.example>",
    ] {
        check(value, "x.example");
    }
    check(b" J\xfcrgen <j\xfcrgen@x.example>", "x.example");
    check(b" \"\x01\x7f\" (\x02) <a@x.example>", "x.example");
    check(" a@b\u{fc}cher.example", "xn--bcher-kva.example");
    check(" a@B\u{dc}CHER\u{3002}example", "xn--bcher-kva.example");
    check(" a@xn--bcher-kva.example", "xn--bcher-kva.example");
    check(" a@localhost", "localhost");
    check(" a@_x.example", "_x.example");
}

#[test]
fn several_authors() {
    for (value, expected) in [
        (" a@x.example, b@y.example", "several x.example y.example"),
        (
            " A <a@x.example>,B <b@y.example>,c@x.example",
            "several x.example y.example",
        ),
        (
            " G: a@x.example;, b@y.example",
            "several x.example y.example",
        ),
        (
            " G: a@x.example, b@mail.x.example;",
            "several x.example mail.x.example",
        ),
    ] {
        check(value, expected);
    }
    let many: Vec<_> = (0..10_000).map(|n| format!("a@x{n}.example")).collect();
    let Author::Several(domains) = from(&[many.join(", ").as_bytes()]) else {
        panic!("10,000 domains are several")
    };
    assert_eq!(domains.len(), 10);
    assert_eq!(domains.last().map(DomainName::as_str), Some("x9.example"));
}

#[test]
fn fields_that_are_none_or_two() {
    assert_eq!(author(&[]), Author::Missing);
    let others = [
        HeaderField::new("Sender", " a@x.example"),
        HeaderField::new("Resent-From", " a@x.example"),
    ];
    assert_eq!(author(&others), Author::Missing);
    let any_case = [HeaderField::new("fROM", " a@x.example")];
    assert_eq!(said(&author(&any_case)), "x.example");
    for (fields, expected) in [
        ([" a@x.example", " b@x.example"], "x.example"),
        (
            [" a@x.example", " b@y.example"],
            "several x.example y.example",
        ),
        (
            [" a@x.example", " "],
            "a From field without an address (octet 1)",
        ),
        (
            [" a", " a@x.example"],
            "an address without a domain (octet 2)",
        ),
    ] {
        assert_eq!(said(&from(&fields.map(str::as_bytes))), expected);
    }
}

#[test]
fn unparseable() {
    for (value, expected) in [
        ("", "a From field without an address (octet 0)"),
        (
            " (a@x.example)",
            "a From field without an address (octet 14)",
        ),
        (
            " undisclosed:;",
            "a From field without an address (octet 14)",
        ),
        (" root", "an address without a domain (octet 5)"),
        (" \"a@x.example\"", "an address without a domain (octet 14)"),
        (" <>", "an address without a domain (octet 2)"),
        (" A <root>", "an address without a domain (octet 8)"),
        (" a@", "an address without a domain (octet 3)"),
        (" a@.", "an address without a domain (octet 3)"),
        (" <a@>", "an address without a domain (octet 4)"),
        (" @x.example", "no local part before the @ (octet 1)"),
        (" <@x.example>", "a route without its colon (octet 12)"),
        (
            " <@y.example@z.example:a@x.example>",
            "a route without its colon (octet 12)",
        ),
        (" <@y.example:>", "an address without a domain (octet 13)"),
        (" A a@x.example", "no local part before the @ (octet 4)"),
        (" .a@x.example", "no local part before the @ (octet 3)"),
        (" a.@x.example", "no local part before the @ (octet 3)"),
        (" a..b@x.example", "no local part before the @ (octet 5)"),
        // Two addresses where one is expected: each reader takes another.
        (
            " a@good.example <b@evil.example>",
            "an unquoted address in another domain before this one (octet 16)",
        ),
        (
            " a@good.example, <b@evil.example> c",
            "something follows an address (octet 34)",
        ),
        (
            " <a@good.example> <b@evil.example>",
            "something follows an address (octet 18)",
        ),
        (
            " a@good.example b@evil.example",
            "something follows an address (octet 16)",
        ),
        (
            " a@good.example@evil.example",
            "something follows an address (octet 15)",
        ),
        (
            " <a@good.example,b@evil.example>",
            "an angle bracket is not closed (octet 16)",
        ),
        (
            " a@good.example; b@evil.example",
            "something follows an address (octet 15)",
        ),
        (
            " <<a@good.example>>",
            "no address in the angle brackets (octet 2)",
        ),
        (
            " a@good.example .evil.example",
            "a space or comment inside the domain (octet 15)",
        ),
        (
            " a@good.example(c).evil.example",
            "a space or comment inside the domain (octet 15)",
        ),
        (
            " a@good.example.\r\n evil.example",
            "a space or comment inside the domain (octet 16)",
        ),
        (
            " A <a@x.example",
            "an angle bracket is not closed (octet 15)",
        ),
        (
            " \"A <a@x.example>",
            "a quoted string is not closed (octet 1)",
        ),
        (" (A <a@x.example>", "a comment is not closed (octet 1)"),
        (
            " A) <a@x.example>",
            "a character that must be quoted (octet 2)",
        ),
        (
            " [A] <a@x.example>",
            "not the beginning of an address (octet 1)",
        ),
        (
            " A [B] <a@x.example>",
            "a character that must be quoted (octet 3)",
        ),
        (
            " A\\B <a@x.example>",
            "a character that must be quoted (octet 2)",
        ),
        (" A: <a@x.example>", "a group is not closed (octet 17)"),
        (" :a@x.example;", "a group without a name (octet 1)"),
        (" A: B: a@x.example;;", "a group within a group (octet 5)"),
        (" a@x.example;", "something follows an address (octet 12)"),
        (
            " a@[192.0.2.1]",
            "an address literal, which is no domain (octet 3)",
        ),
        (
            " a@[IPv6:2001:db8::1], b@x.example",
            "an address literal, which is no domain (octet 3)",
        ),
        (" a@x..example", "a domain with an empty label (octet 3)"),
        (" a@x.example..", "a domain with an empty label (octet 3)"),
        (
            " a@=?utf-8?q?x=2Eexample?=",
            "a domain with a character that no domain has (octet 3)",
        ),
        (
            " a@x\u{ff20}y.example",
            "a domain with a character that no domain has (octet 3)",
        ),
        (" a@x.example\0", "a NUL (octet 12)"),
        (" a@x.example\0.evil.example", "a NUL (octet 12)"),
        (" a\0b@x.example", "a NUL (octet 2)"),
        (" a@x.example\rb", "a bare CR (octet 12)"),
        (" a@x.example\n b@y.example", "a bare LF (octet 12)"),
        (
            " a@x.example\r\nFrom: b@y.example",
            "a line end that is no fold (octet 12)",
        ),
        (
            " a@x.example\u{1}",
            "something follows an address (octet 12)",
        ),
    ] {
        check(value, expected);
    }
    check(b" a@x\xff.example", "a domain that is not UTF-8 (octet 3)");
    let long = "x.".repeat(200) + "example";
    let why = "a domain of more than 253 octets (octet 3)";
    check(format!(" a@{long}"), why);
    check(format!(" a@{}", long.repeat(1000)), why);
}

/// Each is one MiB; quadratic work on any of them would take minutes.
#[test]
fn hostile_fields_take_linear_time() {
    const MIB: usize = 1 << 20;
    for (piece, tail) in [
        ("(", ""),
        ("(", ")"),
        ("()", "a@x.example"),
        ("\"", ""),
        ("\\", ""),
        (",", "a@x.example"),
        ("a:;,", "a@x.example"),
        ("a:", ""),
        ("<", ""),
        ("a@x.example,", ""),
        ("@a,", ":"),
        ("a.", "b@x.example"),
        ("a@x (", ""),
        ("<a@x (),", ">"),
        ("\r\n ", "a@x.example"),
        ("=?utf-8?q?a?= ", "<a@x.example>"),
    ] {
        let value = piece.repeat(MIB / piece.len()) + tail;
        std::hint::black_box(from(&[value.as_bytes()]));
    }
    let loose = format!("<a@{}example>", "x . ".repeat(MIB / 4));
    check(loose, "a domain of more than 253 octets (octet 3)");
}

proptest! {
    #[test]
    fn never_panics(octets in prop::collection::vec(any::<u8>(), 0..400)) {
        from(&[&octets]);
    }

    #[test]
    fn never_panics_on_likely_text(text in "[ab.@<>(),:;\"\\\\\\[\\] \r\n\t]{0,60}") {
        from(&[text.as_bytes()]);
    }

    /// Whatever the display name and comment hold, quoted they don't touch the author.
    #[test]
    fn display_names_are_never_read(name in "[^\0\r\n\"\\\\]{0,40}", comment in "[^\0\r\n()\\\\]{0,40}") {
        let value = format!(" \"{name}\" ({comment}) <a@x.example>");
        prop_assert_eq!(said(&from(&[value.as_bytes()])), "x.example");
    }
}

//! Master files (RFC 1035 §5): what a file says is what the zone answers, and what is wrong in one
//! is said with its line.

use alignd::dns::{Answer, LookupError, QueryName, Resolver, master};
use proptest::prelude::*;

/// One file with everything that RFC 1035 §5.1 allows. `nsd-checkzone example.com` accepts its part
/// up to the second origin.
const FILE: &str = r#"
$TTL 1h30m
$ORIGIN example.com.
@   3600 IN SOA ns hostmaster.example.com. ( 2026112201 ; serial
        7200 3600 1209600
        3600 )
    IN 3600 NS ns
        NS  ns.other.net.   ; the name above still stands
        A   192.0.2.1
        A   192.0.2.2
        MX  10 mail
        MX  20 mail.other.net.
        TXT "v=spf1 ip4:192.0.2.0/24 -all"
        TXT ( "v=verify; "   ; a comment inside parentheses
              "part two" unquoted )
        SPF "v=spf1 -all"
        CAA 0 issue "ca.example.net"
        TYPE65280 \# 2 ABCD
ns      A   192.0.2.53
mail    IN  AAAA 2001:db8::25
_dmarc  TXT "v=DMARC1; p=reject; rua=mailto:d@example.com"
quotes  TXT "say \"yes\" \\ \065\255 (no) ;not a comment"
alias   CNAME mail
a.b.c   TXT deep
*.wild  TXT "any"
UPPER   TXT "case"
odd\032label TXT "space in a name"
$ORIGIN sub.example.com.
www     A 192.0.2.80
$ORIGIN 2.0.192.in-addr.arpa.
1       PTR example.com.
$ORIGIN .
nomail.example.org MX 0 .
;servfail broken.example.com.
;timeout slow.example.com. ; never answers
$ORIGIN example.com.
 ;servfail broken2
; servfail is only a word here: @
"#;

#[tokio::test]
async fn a_file_becomes_answers() {
    let zone = master::parse(FILE).unwrap();
    let txt = async |name: &str| match zone.txt(&ask(name)).await {
        Ok(Answer::Found(records)) => records
            .iter()
            .map(|r| String::from_utf8_lossy(r.as_bytes()).into_owned())
            .collect::<Vec<_>>()
            .join(" | "),
        Ok(Answer::NoData) => "NODATA".to_owned(),
        Ok(Answer::NxDomain) => "NXDOMAIN".to_owned(),
        Err(error) => error.to_string(),
    };
    for (name, expected) in [
        (
            "example.com",
            "v=spf1 ip4:192.0.2.0/24 -all | v=verify; part twounquoted",
        ),
        (
            "_dmarc.example.com",
            "v=DMARC1; p=reject; rua=mailto:d@example.com",
        ),
        (
            "quotes.example.com",
            "say \"yes\" \\ A\u{fffd} (no) ;not a comment",
        ),
        ("a.b.c.example.com", "deep"),
        ("b.c.example.com", "NODATA"),
        ("x.wild.example.com", "any"),
        ("upper.example.com", "case"),
        ("odd label.example.com", "space in a name"),
        ("ns.example.com", "NODATA"),
        ("www.sub.example.com", "NODATA"),
        ("www.example.com", "NXDOMAIN"),
        ("ns.other.net", "NXDOMAIN"),
        ("broken.example.com", "DNS server failure"),
        ("broken2.example.com", "DNS server failure"),
        ("slow.example.com", "DNS timed out"),
    ] {
        assert_eq!(txt(name).await, expected, "{name}");
    }
    let count = |answer: Result<usize, LookupError>| answer.unwrap();
    let a = zone.a(&ask("example.com")).await;
    assert_eq!(count(a.map(|answer| answer.records().len())), 2);
    let aaaa = zone.aaaa(&ask("alias.example.com")).await.unwrap();
    assert_eq!(aaaa.records()[0].to_string(), "2001:db8::25");
    let ptr = zone.ptr("192.0.2.1".parse().unwrap()).await.unwrap();
    assert_eq!(ptr.records()[0].as_str(), "example.com");
    let mx = zone.mx(&ask("example.com")).await.unwrap();
    let mx = mx.records().iter();
    let mx: Vec<_> = mx.map(|m| (m.preference, m.exchange.as_str())).collect();
    assert_eq!(mx, [(10, "mail.example.com"), (20, "mail.other.net")]);
    let null = zone.mx(&ask("nomail.example.org")).await.unwrap();
    assert!(null.records()[0].exchange.is_root());
}

#[test]
fn what_is_wrong_is_said_with_its_line() {
    for (file, line, words) in [
        ("example.com. TXT", 1, "TXT"),
        ("\n\nexample.com. A 192.0.2.256", 3, "IPv4"),
        ("example.com. A 192.0.2.1 192.0.2.2", 1, "one IPv4"),
        ("example.com. AAAA 192.0.2.1", 1, "IPv6"),
        ("example.com. MX mail.example.com.", 1, "MX 10"),
        ("example.com. MX 70000 mail.example.com.", 1, "65535"),
        ("example.com. PTR", 1, "PTR"),
        ("example.com. CNAME a. b.", 1, "CNAME"),
        ("example.com. DNAME example.net.", 1, "DNAME"),
        ("example.com. NS", 1, "NS"),
        ("example.com. TX \"v=spf1 -all\"", 1, "`TX`"),
        ("example.com.", 1, "without a record"),
        ("example.com. 300 IN", 1, "without a record"),
        ("example.com. \"TXT\" a", 1, "without a record"),
        ("example.com. CH TXT a", 1, "class CH"),
        ("example.com. 3000000000 TXT a", 1, "`3000000000`"),
        (" TXT \"nobody's\"", 1, "without a name"),
        ("$INCLUDE other.zone", 1, "aren't read"),
        ("$GENERATE 1-4 a$ A 192.0.2.$", 1, "$ORIGIN"),
        ("$ORIGIN", 1, "$ORIGIN example.com."),
        ("$TTL soon", 1, "$TTL 3600"),
        ("a. TXT \"open\nb. TXT \"x\"", 1, "closing"),
        ("a. TXT (\n \"x\"\n", 1, "never closed"),
        ("a. TXT ( ( x ) )", 1, "inside parentheses"),
        ("a. TXT x )", 1, "without a `(`"),
        ("a. TXT \"\\256\"", 1, "escape"),
        ("a. TXT \"\\12\"", 1, "escape"),
        ("a. TXT x\\", 1, "escape"),
        ("a..b. TXT x", 1, "empty label"),
        ("a\\.b. TXT x", 1, "dot inside"),
        ("a\\046b. TXT x", 1, "dot inside"),
        ("a\\255b. TXT x", 1, "UTF-8"),
        ("bücher.example. TXT x", 1, "A-label"),
        ("\"a\" TXT x", 1, "quotes"),
        ("a. CNAME b.\na. TXT x", 2, "CNAME and another"),
        ("a. TXT x\na. CNAME b.", 2, "CNAME and another"),
        (";servfail", 1, "exactly one name"),
        ("\n;timeout a. b.", 2, "exactly one name"),
    ] {
        let error = master::parse(file).expect_err(file);
        let text = error.to_string();
        assert_eq!(error.line, line, "{file:?}: {text}");
        assert!(text.contains(words), "{file:?}: {text}");
        assert!(text.starts_with(&format!("line {line}: ")), "{text}");
    }
    let long = format!("a. TXT \"{}\"", "x".repeat(256));
    assert!(master::parse(&long).unwrap_err().advice.contains("split"));
    let label = format!("{}. TXT x", "x".repeat(64));
    assert!(master::parse(&label).unwrap_err().problem.contains("63"));
}

#[test]
fn layout_does_not_matter() {
    let same = "_dmarc.example.com. TXT \"v=DMARC1; p=none\"";
    let expected = format!("{:?}", master::parse(same).unwrap());
    for file in [
        "_dmarc.example.com TXT \"v=DMARC1; p=none\"",
        "\u{feff}_dmarc.example.com.\tIN\t300\tTXT\t\"v=DMARC1; p=none\"\r\n",
        "_DMARC.Example.COM. 300 in txt \"v=DMARC1; p=none\";",
        "$origin example.com.\n$ttl 60\n_dmarc (\n TXT\n\"v=DMARC1; \"\n \"p=none\" )",
        "$ORIGIN example.com.\n_dmarc 1w2d3h4m5s TXT v=DMARC1\\;\\032p=none",
        "$ORIGIN com\n$ORIGIN example\n_dmarc TXT \"v=DMARC1; p=none\"",
        "$ORIGIN _dmarc.example.com.\n@ TXT \"v=DMARC1;\"\" p=none\"",
    ] {
        let zone = master::parse(file).unwrap_or_else(|e| panic!("{file:?}: {e}"));
        assert_eq!(format!("{zone:?}"), expected, "{file:?}");
    }
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in "(?s).{0,300}") {
        let _ = master::parse(&text);
    }

    #[test]
    fn any_tokens_are_read_or_refused(
        words in proptest::collection::vec(
            proptest::sample::select(vec![
                "a.", "@", "IN", "60", "TXT", "A", "MX", "10", "192.0.2.1", "\"x;y\"", "\"", "(", ")",
                ";", ";servfail", "\\", "\\012", "\n", "\n ", "$ORIGIN", "$TTL", "CNAME", "..", "ü",
            ]),
            0..24,
        )
    ) {
        let _ = master::parse(&words.join(" "));
    }
}

fn ask(name: &str) -> QueryName {
    QueryName::parse(name).unwrap()
}

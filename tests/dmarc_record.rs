//! DMARC records as people write them, RFC 9989 §4.7, §4.8 and §4.10.1: what is read from each.

use alignd::auth::dmarc::{AlignmentMode, PsdFlag, Record, record};
use proptest::prelude::*;

/// `-` for no record; else p/sp/np, then everything that isn't the default, then the count of problems.
fn summary(txt: &[u8]) -> String {
    let Some(record) = record::parse(txt) else {
        return "-".to_owned();
    };
    let request = |policy: Option<_>| policy.map_or("-", alignd::auth::dmarc::Policy::as_str);
    let mut words = vec![format!(
        "{}/{}/{}",
        record.p,
        request(record.sp),
        request(record.np)
    )];
    if !record.usable {
        words = vec!["unusable".to_owned()];
    }
    for (name, mode) in [("adkim", record.adkim), ("aspf", record.aspf)] {
        if mode == AlignmentMode::Strict {
            words.push(format!("{name}=s"));
        }
    }
    if record.psd != PsdFlag::Unknown {
        words.push(format!("psd={}", record.psd));
    }
    if record.testing {
        words.push("t".to_owned());
    }
    if record.fo != "0" {
        words.push(format!("fo={}", record.fo));
    }
    for (name, uris) in [("rua", &record.rua), ("ruf", &record.ruf)] {
        if !uris.is_empty() {
            words.push(format!("{name}={}", uris.join(",")));
        }
    }
    if !record.problems.is_empty() {
        words.push(format!("!{}", record.problems.len()));
    }
    words.join(" ")
}

#[test]
fn records_as_people_write_them() {
    for (txt, expected) in [
        // What is a record at all: §4.7 "v".
        ("v=DMARC1; p=reject", "reject/-/-"),
        ("v=DMARC1;p=reject;", "reject/-/-"),
        ("V=DMARC1; p=none", "none/-/-"),
        ("v\t=  DMARC1 ;\tp =\treject\t;  ", "reject/-/-"),
        ("v=DMARC1", "unusable !1"),
        ("v=DMARC1;", "unusable !1"),
        (" v=DMARC1; p=reject", "reject/-/- !1"),
        ("v=dmarc1; p=reject", "-"),
        ("v=DMARC2; p=reject", "-"),
        ("v=DMARC1 p=reject", "-"),
        ("v=DMARC1,p=reject", "-"),
        ("v=DMARC1\n; p=reject", "-"),
        ("v=DMARC1.; p=reject", "-"),
        ("v= DMARC 1; p=reject", "-"),
        ("v=\"DMARC1\"; p=reject", "-"),
        ("p=reject; v=DMARC1", "-"),
        ("; v=DMARC1; p=reject", "-"),
        ("DMARC1; p=reject", "-"),
        ("vv=DMARC1; p=reject", "-"),
        ("v=spf1 -all", "-"),
        ("", "-"),
        // Policies: keywords in any case, everything else invalid.
        (
            "v=DMARC1; P=Reject; SP=QUARANTINE; Np=None",
            "reject/quarantine/none",
        ),
        (
            "v=DMARC1; sp=none; rua=mailto:d@e.example; p=reject",
            "reject/none/- rua=mailto:d@e.example",
        ),
        ("v=DMARC1; p=quarentine", "unusable !2"),
        ("v=DMARC1; p=", "unusable !2"),
        ("v=DMARC1; p", "unusable !2"),
        ("v=DMARC1; p=reject pct=100", "unusable !2"),
        ("v=DMARC1; p=reject rua=mailto:d@e.example", "unusable !2"),
        (
            "v=DMARC1; p=reject\u{a0}; rua=mailto:d@e.example",
            "none/-/- rua=mailto:d@e.example !2",
        ),
        (
            "v=DMARC1; p=\"reject\"; rua=mailto:d@e.example",
            "none/-/- rua=mailto:d@e.example !2",
        ),
        // §4.10.1: a bad or missing policy, with and without somebody to tell.
        (
            "v=DMARC1; rua=mailto:d@e.example",
            "none/-/- rua=mailto:d@e.example !1",
        ),
        (
            "v=DMARC1; sp=reject; rua=mailto:d@e.example",
            "none/reject/- rua=mailto:d@e.example !1",
        ),
        (
            "v=DMARC1; p=bogus; sp=reject; rua=mailto:d@e.example",
            "none/-/- rua=mailto:d@e.example !2",
        ),
        (
            "v=DMARC1; p=reject; sp=bogus; rua=mailto:d@e.example",
            "none/-/- rua=mailto:d@e.example !2",
        ),
        (
            "v=DMARC1; p=reject; sp=; rua=mailto:d@e.example",
            "none/-/- rua=mailto:d@e.example !2",
        ),
        (
            "v=DMARC1; p=reject; np=bogus; rua=mailto:d@e.example",
            "none/-/- rua=mailto:d@e.example !2",
        ),
        ("v=DMARC1; p=reject; sp=bogus", "unusable !2"),
        (
            "v=DMARC1; p=reject; np=bogus; rua=d@e.example",
            "unusable !3",
        ),
        ("v=DMARC1; rua=mailto:", "unusable !2"),
        ("v=DMARC1; psd=y", "unusable psd=y !1"),
        // Other tags: a bad value is as good as none.
        (
            "v=DMARC1; p=none; adkim=s; aspf=S; psd=n; t=y",
            "none/-/- adkim=s aspf=s psd=n t",
        ),
        (
            "v=DMARC1; p=none; adkim=strict; aspf=; psd=x; t=yes",
            "none/-/- !4",
        ),
        ("v=DMARC1; p=none; adkim=r; aspf=R; psd=u; t=N", "none/-/-"),
        ("v=DMARC1; p=none; t=\u{443}", "none/-/- !1"),
        (
            "v=DMARC1; p=none; pct=0; rf=afrf; ri=86400; foo=bar",
            "none/-/-",
        ),
        ("v=DMARC1; p=none; pct=0 ri=1; foo bar=; x", "none/-/- !2"),
        // Duplicates: the first counts.
        ("v=DMARC1; p=none; p=reject", "none/-/- !1"),
        ("v=DMARC1; p=none; P=none", "none/-/- !1"),
        ("v=DMARC1; p=reject; v=DMARC1; p=none", "reject/-/- !2"),
        (
            "v=DMARC1; p=none; rua=mailto:a@b.example; rua=mailto:c@d.example",
            "none/-/- rua=mailto:a@b.example !1",
        ),
        // Junk between semicolons.
        ("v=DMARC1;; p=reject;", "reject/-/- !1"),
        ("v=DMARC1; p=reject;;", "reject/-/- !1"),
        ("v=DMARC1; ; ;p=reject", "reject/-/- !2"),
        ("v=DMARC1; =; =reject; p=reject", "reject/-/- !2"),
        ("v=DMARC1; p-=none; p1=none; p=reject", "reject/-/- !2"),
        ("v=DMARC1; p=reject; \u{0}\u{7}", "reject/-/- !1"),
        ("v=DMARC1; p=re\\;ject", "unusable !3"),
        // fo: §4.8 dmarc-fo.
        ("v=DMARC1; p=none; fo=1", "none/-/- fo=1"),
        ("v=DMARC1; p=none; fo=s:D:1", "none/-/- fo=1:d:s"),
        ("v=DMARC1; p=none; fo=d:0", "none/-/- fo=0:d"),
        ("v=DMARC1; p=none; fo=d:s", "none/-/- fo=d:s"),
        ("v=DMARC1; p=none; fo=0:1", "none/-/- !1"),
        ("v=DMARC1; p=none; fo=1:1", "none/-/- !1"),
        ("v=DMARC1; p=none; fo=d:d", "none/-/- !1"),
        ("v=DMARC1; p=none; fo=1,d", "none/-/- !1"),
        ("v=DMARC1; p=none; fo=1:x", "none/-/- !1"),
        ("v=DMARC1; p=none; fo=", "none/-/- !1"),
        ("v=DMARC1; p=none; fo=:", "none/-/- !1"),
        // URIs.
        (
            "v=DMARC1; p=none; rua=mailto:d@e.example!10m,\tmailto:f@g.example!5; ruf=mailto:r@e.example",
            "none/-/- rua=mailto:d@e.example!10m,mailto:f@g.example!5 ruf=mailto:r@e.example",
        ),
        (
            "v=DMARC1; p=none; rua=mailto:a%2Cb%21@e.example",
            "none/-/- rua=mailto:a%2Cb%21@e.example",
        ),
        (
            "v=DMARC1; p=none; rua=mailto:b\u{fc}@e.example,mailto:d@e.example",
            "none/-/- rua=mailto:d@e.example !1",
        ),
        (
            "v=DMARC1; p=none; rua=mailto:a@e.example, ,ftp://e.example/%",
            "none/-/- rua=mailto:a@e.example !2",
        ),
        (
            "v=DMARC1; p=none; rua=mailto:d@e.example?subject=a=b",
            "none/-/- rua=mailto:d@e.example?subject=a=b",
        ),
    ] {
        assert_eq!(summary(txt.as_bytes()), expected, "{txt:?}");
    }
}

#[test]
fn problems_say_what_is_wrong() {
    for (txt, expected) in [
        (
            "v=DMARC1; p=bogus; aspf=x",
            "p=bogus is not none, quarantine or reject",
        ),
        ("v=DMARC1; p=none; aspf=x", "aspf=x is not r or s"),
        (
            "v=DMARC1; p=none; rua=d@e.example",
            "rua: d@e.example: no scheme such as mailto:",
        ),
        (
            "v=DMARC1; p=none; p=none",
            "p is there more than once, the first one counts",
        ),
        ("v=DMARC1; p=none; junk", "junk has no = sign"),
        ("v=DMARC1; p=none; t=\u{7}", "t=\u{fffd} is not y or n"),
        ("v=DMARC1; rua=mailto:d@e.example", "no p: taken as p=none"),
        (
            "v=DMARC1",
            "neither p nor a valid rua: nothing can be applied",
        ),
    ] {
        let record = record::parse(txt.as_bytes()).expect(txt);
        assert_eq!(
            record.problems.first().map(String::as_str),
            Some(expected),
            "{txt:?}"
        );
    }
}

#[test]
fn what_is_kept_has_a_bound() {
    let long = format!("v=DMARC1; p=none; rua={}", "x,".repeat(30_000));
    let record = record::parse(long.as_bytes()).unwrap();
    assert_eq!(record.text.len(), 4096);
    assert_eq!(record.problems.len(), 10);
    assert!(record.problems.iter().all(|p| p.len() < 200));
    let mut octets = b"v=DMARC1; p=none; x=".to_vec();
    octets.resize(65_535, 0xff);
    let record = record::parse(&octets).unwrap();
    assert!(record.text.len() <= 4096 && record.text.len() > 4090);
}

/// What a careful owner would have written for the same policy.
fn canonical(record: &Record) -> String {
    let mut text = format!("v=DMARC1; p={}", record.p);
    for (name, policy) in [("sp", record.sp), ("np", record.np)] {
        if let Some(policy) = policy {
            text += &format!("; {name}={policy}");
        }
    }
    text += &format!(
        "; adkim={}; aspf={}; psd={}",
        record.adkim, record.aspf, record.psd
    );
    text += &format!(
        "; t={}; fo={}",
        if record.testing { "y" } else { "n" },
        record.fo
    );
    for (name, uris) in [("rua", &record.rua), ("ruf", &record.ruf)] {
        if !uris.is_empty() {
            text += &format!("; {name}={}", uris.join(","));
        }
    }
    text
}

fn pieces() -> impl Strategy<Value = String> {
    let values = vec![
        "none",
        "reject",
        "Quarantine",
        "",
        "r",
        "s",
        "y",
        "n",
        "u",
        "0",
        "1:d",
        "d:s",
        "bogus",
        "mailto:d@e.example",
        "mailto:a@b.example!10m, mailto:c%2C@d.example",
        "d@e.example",
        "x y",
        "\u{e9}",
    ];
    let names = vec![
        "p", "sp", "np", "adkim", "aspf", "psd", "t", "fo", "rua", "ruf", "pct", "P", "", "v", "\t",
    ];
    let tag = (
        proptest::sample::select(names),
        proptest::sample::select(vec!["=", " = ", "", "=="]),
        proptest::sample::select(values),
        proptest::sample::select(vec![";", "; ", " ;\t", ""]),
    );
    proptest::collection::vec(tag, 0..12).prop_map(|tags| {
        let tags = tags.into_iter();
        let tags = tags.map(|(name, equals, value, end)| format!("{name}{equals}{value}{end}"));
        "v=DMARC1; rua=mailto:z@e.example; ".to_owned() + &tags.collect::<String>()
    })
}

proptest! {
    #[test]
    fn any_octets_are_read(txt in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = record::parse(&txt);
        let _ = record::parse(&[b"v=DMARC1;", &*txt].concat());
    }

    #[test]
    fn the_canonical_form_says_the_same(txt in pieces()) {
        let record = record::parse(txt.as_bytes()).expect("starts with v=DMARC1;");
        let text = canonical(&record);
        let again = record::parse(text.as_bytes()).expect("canonical");
        prop_assert_eq!(&again.problems, &Vec::<String>::new(), "{}", text);
        prop_assert_eq!(Record { text: String::new(), problems: vec![], ..again },
            Record { text: String::new(), problems: vec![], ..record }, "{}", text);
    }
}

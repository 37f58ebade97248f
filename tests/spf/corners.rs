//! Corners that the suite leaves out, each with what we say and why; the peers are asked them, too.

use crate::case::Case;
use crate::zone_data::{Entry, ZoneData};
use alignd::auth::spf::SpfOutcome;
use alignd::dns::QueryName;

/// One corner. `zone` has lines of name, type and value; `says` stands in the grounds.
pub struct Corner {
    id: &'static str,
    client: &'static str,
    mail_from: &'static str,
    zone: &'static str,
    result: &'static str,
    says: &'static str,
}

const fn corner(
    id: &'static str,
    client: &'static str,
    mail_from: &'static str,
    zone: &'static str,
    result: &'static str,
    says: &'static str,
) -> Corner {
    Corner {
        id,
        client,
        mail_from,
        zone,
        result,
        says,
    }
}

const V4: &str = "192.0.2.1";
const V6: &str = "2001:db8::1";
const USER: &str = "user@d.test";

#[rustfmt::skip]
const CORNERS: &[Corner] = &[
    corner("helo-of-one-label", V4, USER, "d.test TXT v=spf1 exists:%{h}.ok.test -all\nlocalhost.ok.test A 127.0.0.2", "pass", "exists:%{h}.ok.test of d.test"),
    corner("modifiers-like-mechanisms", V4, USER, "d.test TXT v=spf1 all=x A=y ptr-1=z ~all", "softfail", "~all of d.test"),
    corner("modifier-repeated", V4, USER, "d.test TXT v=spf1 x=1 x=2 -all", "fail", "-all of d.test"),
    corner("tab-in-domain", V4, USER, "d.test TXT v=spf1 a:\\tb.test all", "permerror", "control character"),
    corner("brace-not-closed", V4, USER, "d.test TXT v=spf1 exists:%{d.test all", "permerror", "no closing brace"),
    corner("explanation-macro-in-domain", V4, USER, "d.test TXT v=spf1 all a:%{c}.test", "permerror", "allowed only in explanations"),
    corner("macro-not-reached", V4, USER, "d.test TXT v=spf1 -ip4:192.0.2.1 include:%{p}.test\n* PTR n1.test\n* PTR n2.test\n* PTR n3.test", "fail", "-ip4:192.0.2.1 of d.test"),
    corner("include-malformed", V4, USER, "d.test TXT v=spf1 include:a..test ~all", "permerror", "an empty label"),
    corner("include-one-label", V4, USER, "d.test TXT v=spf1 include:%{d1} ~all\ntest TXT v=spf1 +all", "permerror", "no domain name of several labels"),
    corner("a-malformed", V4, USER, "d.test TXT v=spf1 a:a..test ~all", "softfail", "~all of d.test"),
    corner("redirect-malformed", V4, USER, "d.test TXT v=spf1 redirect=a..test", "permerror", "an empty label"),
    corner("redirect-beside-all", V4, USER, "d.test TXT v=spf1 redirect=other.test ?all\nother.test TXT v=spf1 -all", "neutral", "?all of d.test"),
    corner("redirect-tells-whose-record", V4, USER, "d.test TXT v=spf1 redirect=other.test\nother.test TXT v=spf1 -all", "fail", "-all of other.test"),
    corner("include-tells-what-let-pass", V4, USER, "d.test TXT v=spf1 include:i.test -all\ni.test TXT v=spf1 include:j.test\nj.test TXT v=spf1 ip4:192.0.2.0/24", "pass", "ip4:192.0.2.0/24 of j.test"),
    corner("include-turned-round", V4, USER, "d.test TXT v=spf1 -include:i.test ~all\ni.test TXT v=spf1 ip4:192.0.2.0/24", "fail", "-include:i.test of d.test"),
    corner("include-of-itself-behind-a-match", V4, USER, "d.test TXT v=spf1 ip4:192.0.2.1 include:d.test -all", "pass", "ip4:192.0.2.1 of d.test"),
    corner("include-temperror", V4, USER, "d.test TXT v=spf1 include:i.test +all\ni.test TIMEOUT", "temperror", "i.test: DNS timed out"),
    corner("cname-loop", V4, USER, "d.test CNAME e.test\ne.test CNAME d.test", "temperror", "unusable DNS answer"),
    corner("mx-hosts-without-aaaa-are-one-void", V6, USER, "d.test TXT v=spf1 mx ip6:2001:db8::1 -all\nd.test MX 10 mx1.test\nd.test MX 10 mx2.test\nd.test MX 10 mx3.test\nmx1.test A 192.0.2.1\nmx2.test A 192.0.2.2\nmx3.test A 192.0.2.3", "pass", "ip6:2001:db8::1 of d.test"),
    corner("two-voids", V4, USER, "d.test TXT v=spf1 a:n1.test a:n2.test -all", "fail", "-all of d.test"),
    corner("three-voids", V4, USER, "d.test TXT v=spf1 a:n1.test a:n2.test a:n3.test -all", "permerror", "n3.test is one too many"),
    corner("void-for-ip6", V6, USER, "d.test TXT v=spf1 a mx:n1.test exists:n2.test -all\nd.test A 192.0.2.1", "permerror", "more than 2 look-ups found nothing"),
    corner("ten-terms", V4, USER, "d.test TXT v=spf1 exists:y.test exists:y.test -exists:y.test\nd.test A 192.0.2.9\ny.test A 127.0.0.2", "pass", "exists:y.test of d.test"),
    corner("eleven-terms", V4, USER, "d.test TXT v=spf1 a a a a a a a a a a a +all\nd.test A 192.0.2.9", "permerror", "a of d.test is one too many"),
    corner("validated-name-counts", V4, USER, "d.test TXT v=spf1 a a a a a a a a a exists:%{p}.ok.test +all\nd.test A 192.0.2.9\n* PTR h.test\nh.test A 192.0.2.1\nh.test.ok.test A 127.0.0.2", "permerror", "%{p} of d.test is one too many"),
    corner("eleven-exchanges", V4, USER, "d.test TXT v=spf1 mx -all\nd.test A 192.0.2.1\nd.test MX 0 d.test\nd.test MX 1 d.test\nd.test MX 2 d.test\nd.test MX 3 d.test\nd.test MX 4 d.test\nd.test MX 5 d.test\nd.test MX 6 d.test\nd.test MX 7 d.test\nd.test MX 8 d.test\nd.test MX 9 d.test\nd.test MX 10 d.test", "permerror", "more than 10 MX records"),
    corner("exchange-found-before-a-timeout", V4, USER, "d.test TXT v=spf1 mx -all\nd.test A 192.0.2.1\nd.test MX 0 d.test\nd.test MX 1 slow.test\nslow.test TIMEOUT", "pass", "mx of d.test"),
    corner("exchange-behind-a-timeout", V4, USER, "d.test TXT v=spf1 mx -all\nd.test A 192.0.2.1\nd.test MX 0 slow.test\nd.test MX 1 d.test\nslow.test TIMEOUT", "temperror", "slow.test: DNS timed out"),
    corner("null-exchange", V4, USER, "d.test TXT v=spf1 mx a:n1.test a:n2.test ~all\nd.test MX 0 .", "softfail", "~all of d.test"),
    corner("reverse-names-without-address", V4, USER, "d.test TXT v=spf1 ptr -all\n* PTR n1.d.test\n* PTR n2.d.test\n* PTR n3.d.test", "fail", "-all of d.test"),
    corner("reverse-name-behind-a-timeout", V4, USER, "d.test TXT v=spf1 ptr -all\n* PTR slow.d.test\n* PTR h.d.test\nslow.d.test TIMEOUT\nh.d.test A 192.0.2.1", "pass", "ptr of d.test"),
    corner("reverse-look-up-fails", V4, USER, "d.test TXT v=spf1 ptr ~all\n* TIMEOUT", "softfail", "~all of d.test"),
    corner("reverse-name-only-looks-alike", V4, USER, "d.test TXT v=spf1 ptr -all\n* PTR bad-d.test\nbad-d.test A 192.0.2.1", "fail", "-all of d.test"),
    corner("validated-name-prefers-the-domain", V4, USER, "d.test TXT v=spf1 exists:%{p}.ok.test -all\n* PTR h.other.test\n* PTR h.d.test\n* PTR d.test\nh.other.test A 192.0.2.1\nh.d.test A 192.0.2.1\nd.test A 192.0.2.1\nd.test.ok.test A 127.0.0.2", "pass", "exists:%{p}.ok.test of d.test"),
    corner("explanation-beyond-the-limits", V4, USER, "d.test TXT v=spf1 a:n1.test a:n2.test -all exp=why.test\nwhy.test TXT %{p} may not\n* PTR n3.test", "fail", "explains unknown may not"),
    corner("explanation-of-the-redirected", V4, USER, "d.test TXT v=spf1 redirect=e.test exp=no.test\ne.test TXT v=spf1 -all exp=%{d}.why.test\ne.test.why.test TXT %{d} not %{o}\nno.test TXT no", "fail", "explains e.test not d.test"),
    corner("explanation-not-fetched-for-softfail", V4, USER, "d.test TXT v=spf1 ~all exp=why.test\nwhy.test TXT no", "softfail", "~all of d.test"),
    corner("explanation-with-control-character", V4, USER, "d.test TXT v=spf1 -all exp=why.test\nwhy.test TXT a\\tb", "fail", "-all of d.test"),
    corner("mapped-client", "::ffff:192.0.2.1", USER, "d.test TXT v=spf1 ip6:::ffff:192.0.2.1 ?ip4:192.0.2.1 -all", "neutral", "?ip4:192.0.2.1 of d.test"),
    corner("u-label-domain", V4, "user@b\u{fc}cher.test", "xn--bcher-kva.test TXT v=spf1 ip4:192.0.2.1 -all", "pass", "ip4:192.0.2.1 of xn--bcher-kva.test"),
    corner("utf8-local-part", V4, "j\u{fc}rgen@d.test", "d.test TXT v=spf1 exists:%{l}.ok.test a:%{s}.ok.test include:%{L}.ok.test ip4:192.0.2.1 -all", "pass", "ip4:192.0.2.1 of d.test"),
    corner("utf8-local-part-in-redirect", V4, "j\u{fc}rgen@d.test", "d.test TXT v=spf1 redirect=%{l}.ok.test", "permerror", "an ASCII local part"),
    corner("no-domain", V4, "user", "", "none", "MAIL FROM has no domain"),
    corner("no-such-domain", V4, USER, "", "none", "d.test does not exist"),
    corner("no-record", V4, USER, "d.test A 192.0.2.1", "none", "d.test has no SPF record"),
    corner("two-records", V4, USER, "d.test TXT v=spf1 +all\nd.test TXT v=spf1 -all", "permerror", "more than one SPF record"),
    corner("address-as-domain", V4, USER, "d.test TXT v=spf1 a:192.0.2.1 -all", "permerror", "an address stands where a domain must"),
];

/// The corners as questions.
pub fn cases() -> Vec<Case> {
    CORNERS.iter().map(Corner::case).collect()
}

#[tokio::test]
async fn corners_are_as_written() {
    for corner in CORNERS {
        let outcome = corner.case().ours().await;
        let words = words(&outcome);
        assert_eq!(
            outcome.result.as_str(),
            corner.result,
            "{}: {words}",
            corner.id
        );
        assert!(words.contains(corner.says), "{}: {words}", corner.id);
    }
}

impl Corner {
    fn case(&self) -> Case {
        let client = self.client.parse().expect("corners have addresses");
        let mut zone = ZoneData::default();
        for line in self.zone.lines() {
            let mut parts = line.splitn(3, ' ');
            let name = match parts.next().expect("a line has a name") {
                "*" => QueryName::reverse(client).as_str().to_owned(),
                name => name.to_owned(),
            };
            let kind = parts.next().expect("a line has a type");
            zone.add(&name, entry(kind, parts.next().unwrap_or_default()));
        }
        Case {
            id: self.id.to_owned(),
            helo: "localhost".to_owned(),
            client,
            mail_from: self.mail_from.to_owned(),
            zone,
        }
    }
}

fn entry(kind: &str, value: &str) -> Entry {
    match kind {
        "A" => Entry::A(value.parse().expect("an A record has an IPv4 address")),
        "CNAME" => Entry::Cname(value.to_owned()),
        "MX" => {
            let (preference, exchange) = value.split_once(' ').expect("MX records have two parts");
            let preference = preference.parse().expect("the first is a number");
            Entry::Mx(preference, exchange.to_owned())
        }
        "PTR" => Entry::Ptr(value.to_owned()),
        "TXT" => Entry::Txt(vec![value.replace("\\t", "\t").into_bytes()]),
        "TIMEOUT" => Entry::Timeout,
        other => panic!("corners have no {other} records"),
    }
}

/// Everything the grounds say.
fn words(outcome: &SpfOutcome) -> String {
    let grounds = &outcome.grounds;
    let matched = grounds.matched.as_ref();
    let matched = matched.map(|matched| format!("{} of {}", matched.term, matched.domain));
    let explained = grounds
        .explanation
        .as_ref()
        .map(|text| format!("explains {text}"));
    let parts = [matched, grounds.problem.clone(), explained];
    parts.into_iter().flatten().collect::<Vec<_>>().join("; ")
}

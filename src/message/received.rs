//! The client behind trusted relays, from the Received fields that those relays put in.
//!
//! Owns the from-clauses of Postfix, Sendmail, Exim, Exchange, qmail and IronPort, whose comments RFC 5321
//! §4.4 leaves open ("TCP-info"). A field is believed only while whoever wrote it is trusted: the top one is the
//! connecting relay's, the next one that of the client it names if that is trusted too, and so on.
//! What cannot be read ends it without an answer: never a guess, and never a field further down, which
//! a sender may have written. Linear, at most 50 hops.

use super::HeaderField;
use super::cursor::Cursor;
use std::borrow::Cow;
use std::net::IpAddr;

/// Who handed a message to the outermost trusted relay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceivedClient {
    pub address: IpAddr,
    /// What the client said in HELO or EHLO, if the relay wrote it down.
    pub helo: Option<String>,
    /// The client's name as the relay confirmed it by DNS; `None` where it had or wrote none.
    pub name: Option<String>,
}

/// The first client that is not `trusted`, following `fields` from the top. The connecting relay, which
/// wrote the top one, must be trusted already. A field of the asking MTA itself must not be among them.
pub fn client_behind(
    fields: &[HeaderField],
    trusted: impl Fn(IpAddr) -> bool,
) -> Option<ReceivedClient> {
    for field in fields
        .iter()
        .filter(|field| field.is("Received"))
        .take(MAX_HOPS)
    {
        let mut client = from_clause(&field.value)?;
        // A relay that listens on IPv6 may write IPv4 clients as `::ffff:192.0.2.1`.
        client.address = client.address.to_canonical();
        if !trusted(client.address) {
            return Some(client);
        }
    }
    None
}

/// `from WORD (COMMENT) ... by`, whatever else stands between.
fn from_clause(value: &[u8]) -> Option<ReceivedClient> {
    let mut cursor = Cursor::new(value);
    keyword(&mut cursor, "from")?;
    // Postfix writes down a HELO of up to a line of SMTP, in UTF-8 too: it must not hide the client.
    let word = cursor.take_while(|b| b > b' ' && b != b'(' && b != b')' && b != 0x7f);
    let word = String::from_utf8_lossy(word);
    // RFC 5321 §4.4: "Domain FWS "(" TCP-info ")"". Without the space the parenthesis may be the client's.
    if word.is_empty() || !skip_space(&mut cursor)? {
        return None;
    }
    let mut comments = Vec::new();
    cursor.cfws(|inside| comments.push(inside)).ok()?;
    keyword(&mut cursor, "by")?;
    let Some((comment, more)) = comments.split_first() else {
        return exim_without_helo(&word);
    };
    let comment = unfolded(comment)?;
    let parts: Vec<&str> = comment.split_ascii_whitespace().take(MAX_PARTS).collect();
    if let ["HELO" | "EHLO", helo] = parts.as_slice() {
        return said(&word, helo, more);
    }
    postfix_or_sendmail(&word, &parts)
        .or_else(|| exim_unnamed(&word, &parts))
        .or_else(|| address_first(&word, &parts))
        .or_else(|| exchange(&word, &parts))
}

/// `from NAME (HELO HELO) (192.0.2.1)`: qmail, also with `IDENT@` before the address; IronPort and James have
/// brackets around it. `from [192.0.2.1] (HELO HELO)`: CommuniGate. HELO may be an address of the client's choice.
fn said(word: &str, helo: &str, more: &[&[u8]]) -> Option<ReceivedClient> {
    let address = match more {
        [] => bracketed(word)?,
        [address] => {
            let address = unfolded(address)?;
            let address = address.rsplit('@').next().unwrap_or_default();
            bracketed(address).or_else(|| parsed(address))?
        }
        [_, _, ..] => return None,
    };
    Some(ReceivedClient {
        address,
        helo: bounded(helo),
        name: None,
    })
}

/// `from HELO (NAME [192.0.2.1])`. Sendmail writes an ident answer as `USER@NAME` and appends
/// `(may be forged)` to a name that the address does not confirm; Postfix calls such clients `unknown`.
fn postfix_or_sendmail(helo: &str, parts: &[&str]) -> Option<ReceivedClient> {
    let (name, address, forged) = match parts {
        [name, address] => (name, address, false),
        [name, address, "(may", "be", "forged)"] => (name, address, true),
        _ => return None,
    };
    let name = name.rsplit('@').next().unwrap_or_default();
    let name = Some(name).filter(|name| !forged && !name.is_empty() && *name != "unknown");
    Some(ReceivedClient {
        address: bracketed(address)?,
        helo: bounded(helo),
        name: name.and_then(bounded),
    })
}

/// `from [192.0.2.1] (helo=HELO)`, also with `port=` and `ident=`.
fn exim_unnamed(word: &str, parts: &[&str]) -> Option<ReceivedClient> {
    let address = bracketed(word).filter(|_| !parts.is_empty())?;
    let helo = exim_details(parts)?;
    Some(ReceivedClient {
        address,
        helo: helo.and_then(bounded),
        name: None,
    })
}

/// `from [192.0.2.1] by`.
fn exim_without_helo(word: &str) -> Option<ReceivedClient> {
    Some(ReceivedClient {
        address: bracketed(word)?,
        helo: None,
        name: None,
    })
}

/// `from NAME ([192.0.2.1] helo=HELO)`: Exim, the name confirmed; without `helo=` it said that name.
/// `from HELO ([192.0.2.1])`: Sendmail and Exchange, or Exim again: HELO either way.
fn address_first(word: &str, parts: &[&str]) -> Option<ReceivedClient> {
    let (address, rest) = parts.split_first()?;
    let (address, port) = match address.rsplit_once("]:") {
        Some((address, port)) => (address, Some(port)),
        None => (address.strip_suffix(']')?, None),
    };
    if port.is_some_and(|port| port.is_empty() || !port.bytes().all(|b| b.is_ascii_digit())) {
        return None;
    }
    let address = literal(address.strip_prefix('[')?)?;
    let (helo, name) = match rest {
        ["(may", "be", "forged)"] => (Some(word), None),
        _ => match exim_details(rest)? {
            Some(helo) => (Some(helo), Some(word)),
            None => (Some(word), None),
        },
    };
    // Exim names no client by its address here: two addresses are one too many.
    if name.is_some_and(|name| name.starts_with('[')) {
        return None;
    }
    Some(ReceivedClient {
        address,
        helo: helo.and_then(bounded),
        name: name.and_then(bounded),
    })
}

/// `from HELO (192.0.2.1)`.
fn exchange(helo: &str, parts: &[&str]) -> Option<ReceivedClient> {
    let [address] = parts else {
        return None;
    };
    Some(ReceivedClient {
        address: parsed(address)?,
        helo: bounded(helo),
        name: None,
    })
}

/// The `helo=` among Exim's details, if there is one; `None` if anything else is among them.
fn exim_details<'a>(parts: &[&'a str]) -> Option<Option<&'a str>> {
    let mut helo = None;
    for part in parts {
        match part.split_once('=')? {
            ("helo", said) => helo = Some(said),
            ("port" | "ident", _) => {}
            _ => return None,
        }
    }
    Some(helo)
}

fn keyword(cursor: &mut Cursor<'_>, word: &str) -> Option<()> {
    skip_space(cursor)?;
    let found = cursor.take_while(|b| b.is_ascii_alphabetic());
    let apart = skip_space(cursor)?;
    (apart && found.eq_ignore_ascii_case(word.as_bytes())).then_some(())
}

/// White space and folds, no comments. True when there was any.
fn skip_space(cursor: &mut Cursor<'_>) -> Option<bool> {
    let mut apart = false;
    while matches!(cursor.peek(), Some(b' ' | b'\t' | b'\r')) {
        apart = true;
        match cursor.peek() {
            Some(b'\r') => cursor.fold().ok()?,
            _ => cursor.step(),
        }
    }
    Some(apart)
}

/// `[192.0.2.1]`, `[2001:db8::1]`, `[IPv6:2001:db8::1]`.
fn bracketed(text: &str) -> Option<IpAddr> {
    literal(text.strip_prefix('[')?.strip_suffix(']')?)
}

fn literal(text: &str) -> Option<IpAddr> {
    let address = match text.split_at_checked(5) {
        Some((tag, address)) if tag.eq_ignore_ascii_case("IPv6:") => address,
        _ => text,
    };
    parsed(address)
}

/// Without its zone (Exchange writes `fe80::1%6`); an IPv4 address in IPv6's clothes is IPv4.
fn parsed(address: &str) -> Option<IpAddr> {
    let address = address.split('%').next()?;
    address
        .parse()
        .ok()
        .map(|address: IpAddr| address.to_canonical())
}

/// A comment's inside, folds being white space. One with an escape is none of these MTAs'. What isn't UTF-8 is
/// in the client's own words at most, and spoils nothing but those.
fn unfolded(inside: &[u8]) -> Option<Cow<'_, str>> {
    let fits = !inside.is_empty() && inside.len() <= MAX_CLAUSE && !inside.contains(&b'\\');
    fits.then(|| String::from_utf8_lossy(inside))
}

/// RFC 5321 §4.5.3.1.2: a domain has 255 octets at most. What is no text is no name.
fn bounded(text: &str) -> Option<String> {
    let fits = !text.is_empty() && text.len() <= 255;
    let odd = |c: char| c.is_control() || c == char::REPLACEMENT_CHARACTER;
    (fits && !text.contains(odd)).then(|| text.to_owned())
}

/// More hops than any mail survives in one administration.
const MAX_HOPS: usize = 50;

/// Octets of a comment of the from-clause. Exim takes lines of 16 KiB, and writes down the HELO in them.
const MAX_CLAUSE: usize = 32 * 1024;

/// No form has more than five parts; one more shows that there were too many.
const MAX_PARTS: usize = 6;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn received(value: &str) -> HeaderField {
        HeaderField::from_milter("Received", value)
    }

    fn check(value: &str, address: &str, helo: Option<&str>, name: Option<&str>) {
        let expected = ReceivedClient {
            address: address.parse().unwrap(),
            helo: helo.map(str::to_owned),
            name: name.map(str::to_owned),
        };
        let found = client_behind(&[received(value)], |_| false);
        assert_eq!(found, Some(expected), "{value:?}");
    }

    #[test]
    fn postfix() {
        let host = Some("mx.client.example");
        check(
            " from mx.client.example (mx.client.example [192.0.2.1])\n\tby relay.example (Postfix) with ESMTP id 4jXW5m5GBtz1StgL\n\tfor <a@ours.example>; Sun, 22 Nov 2026 14:04:12 +0000 (UTC)",
            "192.0.2.1",
            host,
            host,
        );
        check(
            " from localhost (unknown [IPv6:2001:db8:3::25])\n\t(using TLSv1.3 with cipher TLS_AES_256_GCM_SHA384 (256/256 bits)\n\t key-exchange X25519 server-signature RSA-PSS (2048 bits))\n\t(No client certificate requested)\n\t(Authenticated sender: a@x.example)\n\tby relay.example (Postfix) with ESMTPSA id 1;\n\tx",
            "2001:db8:3::25",
            Some("localhost"),
            None,
        );
        check(
            " from [10.0.0.1] (mx.client.example [192.0.2.1]) by relay.example (Postfix) with SMTP id 1; x",
            "192.0.2.1",
            Some("[10.0.0.1]"),
            host,
        );
    }

    #[test]
    fn sendmail() {
        check(
            " from callcc.thunk.org (guestnat-104-133-0-109.corp.google.com\n [104.133.0.109] (may be forged)) (authenticated bits=0)\n (User authenticated as tytso@ATHENA.MIT.EDU)\n by outgoing.mit.edu (8.14.7/8.12.4) with ESMTP id x5L0sK0h000800\n (version=TLSv1/SSLv3 cipher=DHE-RSA-AES256-GCM-SHA384 bits=256 verify=NOT)",
            "104.133.0.109",
            Some("callcc.thunk.org"),
            None,
        );
        let name = Some("mx.client.example");
        check(
            " from helo.example (root@mx.client.example [192.0.2.1])\n\tby relay.example (8.17.1.9/8.17.1.9) with ESMTP id 6AMEJUlD010546; x",
            "192.0.2.1",
            Some("helo.example"),
            name,
        );
        check(
            " from helo.example (IDENT:root@mx.client.example [IPv6:2001:db8:0:0:0:0:0:1])\n\tby relay.example (8.17.1.9/8.17.1.9) with ESMTP id 1; x",
            "2001:db8::1",
            Some("helo.example"),
            name,
        );
        for comment in ["[192.0.2.1]", "[192.0.2.1] (may be forged)"] {
            check(
                &format!(" from helo.example ({comment}) by relay.example (8.17.1/8.17.1) id 1; x"),
                "192.0.2.1",
                Some("helo.example"),
                None,
            );
        }
    }

    #[test]
    fn exim() {
        check(
            " from cpc102320-sgyl38-2-0-cust46.18-2.cable.virginm.net ([82.37.168.47] helo=ypsilon.sirena.org.uk)\n        by heliosphere.sirena.org.uk with esmtpsa (TLS1.3:ECDHE_RSA_AES_256_GCM_SHA384:256)\n        (Exim 4.92)\n        (envelope-from <broonie@sirena.org.uk>)\n        id 1htArA",
            "82.37.168.47",
            Some("ypsilon.sirena.org.uk"),
            Some("cpc102320-sgyl38-2-0-cust46.18-2.cable.virginm.net"),
        );
        check(
            " from ptz.office.stw.pengutronix.de ([2a0a:edc0:0:900:1d::77] helo=[127.0.0.1])\n\tby metis.whiteo.stw.pengutronix.de with esmtp (Exim 4.92)",
            "2a0a:edc0:0:900:1d::77",
            Some("[127.0.0.1]"),
            Some("ptz.office.stw.pengutronix.de"),
        );
        let helo = Some("helo.example");
        for from in [
            "[192.0.2.1] (helo=helo.example)",
            "[::ffff:192.0.2.1] (helo=helo.example)",
            "[192.0.2.1] (port=36562 helo=helo.example)",
            "[192.0.2.1] (helo=helo.example ident=root)",
            "helo.example ([192.0.2.1])",
            "helo.example ([192.0.2.1]:36562)",
            "helo.example ([192.0.2.1] ident=root)",
        ] {
            let value =
                format!(" from {from}\n\tby relay.example with esmtp (Exim 4.96)\n\tid 1; x");
            check(&value, "192.0.2.1", helo, None);
        }
        let name = Some("mx.client.example");
        let named = " from mx.client.example ([192.0.2.1]:36562 helo=helo.example) by relay.example id 1; x";
        check(named, "192.0.2.1", helo, name);
        check(
            " from [192.0.2.1] by relay.example with smtp (Exim 4.96) id 1; x",
            "192.0.2.1",
            None,
            None,
        );
    }

    #[test]
    fn exchange() {
        check(
            " from DS4PPFEAFA21C69.namprd10.prod.outlook.com\n (2603:10b6:f:fc00::d54) by DS7PR10MB5976.namprd10.prod.outlook.com\n (2603:10b6:8:9c::6) with Microsoft SMTP Server (version=TLS1_2,\n cipher=TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384) id 15.20.9700.22; Tue, 17 Mar\n 2026 12:07:43 +0000",
            "2603:10b6:f:fc00::d54",
            Some("DS4PPFEAFA21C69.namprd10.prod.outlook.com"),
            None,
        );
        check(
            " from [10.216.39.173] (10.80.80.8) by nasanex01a.na.qualcomm.com\n (10.52.223.231) with Microsoft SMTP Server (version=TLS1_2,\n cipher=TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384) id 15.2.1748.10; Tue, 15 Jul\n 2025 23:52:47 -0700",
            "10.80.80.8",
            Some("[10.216.39.173]"),
            None,
        );
        check(
            " from A.prod.outlook.com\n ([fe80::5266:1601:5598:3f0a%6]) by A.prod.outlook.com\n ([fe80::5266:1601:5598:3f0a%6]) with mapi id 15.20.9700.022; x",
            "fe80::5266:1601:5598:3f0a",
            Some("A.prod.outlook.com"),
            None,
        );
    }

    /// HELO is anything, and no address of the client's choice is its own.
    #[test]
    fn qmail_and_its_kin() {
        for from in [
            "unknown (HELO x.example) (192.0.2.1)",
            "mx.client.example (HELO x.example) (root@192.0.2.1)",
            "mx.client.example (HELO x.example)\n\t([192.0.2.1])",
            "unknown (EHLO x.example) ([IPv6:::ffff:192.0.2.1])",
            "[192.0.2.1] (HELO x.example)",
        ] {
            for helo in ["x.example", "[198.51.100.9]", "198.51.100.9"] {
                let from = from.replace("x.example", helo);
                let value = format!(" from {from}\n  by relay.example with SMTP; 22 Nov 2026");
                check(&value, "192.0.2.1", Some(helo), None);
            }
        }
    }

    /// As Postfix 3.7 writes them down.
    #[test]
    fn no_helo_hides_the_client() {
        let long = "a".repeat(1990);
        for (helo, kept) in [
            ("b\u{fc}cher.example", true),
            ("a??b?[198.51.100.9]??c", true),
            ("a&b=c%d", true),
            (&long, false),
            (&"\u{fc}".repeat(900), false),
        ] {
            let value =
                format!(" from {helo} (unknown [192.0.2.1])\n\tby r.example (Postfix) id 1; x");
            check(&value, "192.0.2.1", kept.then_some(helo), None);
        }
        let raw =
            [&b" from b\xfcch (unknown [192.0.2.1]) by r.example (Postfix) id 1; x"[..]].concat();
        let found = client_behind(&[HeaderField::from_milter("Received", raw)], |_| false);
        let found = found.map(|client| (client.address.to_string(), client.helo));
        assert_eq!(found, Some(("192.0.2.1".to_owned(), None)));
    }

    #[test]
    fn unreadable_fields_name_nobody() {
        for value in [
            "",
            " by relay.example (Postfix, from userid 1000)\n\tid 1; x",
            " (from root@localhost) by relay.example (8.17.1/8.17.1/Submit) id 1; x",
            " from mx.client.example by relay.example id 1; x",
            " from mx.client.example (mx.client.example [192.0.2.1])",
            " from mx.client.example (mx.client.example [192.0.2.1]) ; by relay.example",
            " from mx.client.example (mx.client.example [192.0.2.1]) [192.0.2.2] by relay.example; x",
            " from mx.client.example (mx.client.example [192.0.2.1] [192.0.2.2]) by relay.example; x",
            " from mx.client.example (mx.client.example [192.0.2.1] and more) by relay.example; x",
            " from mx.client.example (mx.client.example [192.0.2.1]x) by relay.example; x",
            " from mx.client.example (mx.client.example [192.0.2]) by relay.example; x",
            " from mx.client.example ([192.0.2.1]:x) by relay.example; x",
            " from mx.client.example ([192.0.2.1] foo=bar) by relay.example; x",
            " from [10.0.0.1] ([192.0.2.1] helo=x) by relay.example; x",
            " from [10.0.0.1] () by relay.example; x",
            " from mx.client.example (HELO x) (192.0.2.1) (192.0.2.2) by relay.example; x",
            " from mx.client.example (HELO x y) (192.0.2.1) by relay.example; x",
            " from mx.client.example (HELO x) by relay.example; x",
            " from mx.client.example (HELO [198.51.100.9]) by relay.example; x",
            " from a([198.51.100.9]) (mx.client.example [192.0.2.1]) by relay.example; x",
            " from a(x [198.51.100.9]) (mx.client.example [192.0.2.1]) by relay.example; x",
            " from a b (mx.client.example [192.0.2.1]) by relay.example; x",
            " from mx.client.example (mx.client.example [192.0.2.1] by relay.example; x",
            " from mx.client.example (m\\x [192.0.2.1]) by relay.example; x",
            " from mx.client.example (m\0x [192.0.2.1]) by relay.example; x",
            " frommx.client.example (mx.client.example [192.0.2.1]) by relay.example; x",
        ] {
            assert_eq!(
                client_behind(&[received(value)], |_| false),
                None,
                "{value:?}"
            );
        }
    }

    #[test]
    fn follows_trusted_hops_and_no_further() {
        let hop = |address: &str| {
            received(&format!(
                " from h.example (h.example [{address}]) by r.example (Postfix) id 1; x"
            ))
        };
        let inside = |address: IpAddr| address.to_string().starts_with("10.");
        let behind = |fields: &[HeaderField]| {
            client_behind(fields, inside).map(|client| client.address.to_string())
        };
        let client = Some("192.0.2.1".to_owned());
        // What a sender wrote below the first hop outside is not even looked at.
        assert_eq!(behind(&[hop("192.0.2.1"), hop("10.0.0.1")]), client);
        assert_eq!(
            behind(&[
                hop("10.0.0.1"),
                hop("10.0.0.2"),
                hop("192.0.2.1"),
                hop("198.51.100.1")
            ]),
            client
        );
        let mapped = [hop("IPv6:::ffff:10.0.0.1"), hop("::ffff:192.0.2.1")];
        assert_eq!(behind(&mapped), client);
        let other = HeaderField::new("Subject", " x");
        assert_eq!(behind(&[other, hop("10.0.0.1"), hop("192.0.2.1")]), client);
        // Nobody outside, or a trusted hop that cannot be read: no answer, whatever stands below.
        assert_eq!(behind(&[]), None);
        assert_eq!(behind(&[hop("10.0.0.1")]), None);
        let local = received(" by r.example (Postfix, from userid 0) id 1; x");
        assert_eq!(behind(&[hop("10.0.0.1"), local, hop("192.0.2.1")]), None);
        let many: Vec<_> = std::iter::repeat_n(hop("10.0.0.1"), 10_000)
            .chain([hop("192.0.2.1")])
            .collect();
        assert_eq!(behind(&many), None);
    }

    #[test]
    fn hostile_fields_take_linear_time() {
        const MIB: usize = 1 << 20;
        for piece in ["(", "()", " ", "a ", "[", "\n ", "(a) "] {
            for head in [" ", " from ", " from a (", " from a (b [192.0.2.1]) "] {
                let value = head.to_owned() + &piece.repeat(MIB / piece.len());
                assert_eq!(client_behind(&[received(&value)], |_| false), None);
            }
        }
    }

    proptest! {
        #[test]
        fn never_panics(value in prop::collection::vec(any::<u8>(), 0..200)) {
            client_behind(&[HeaderField::new("Received", value)], |_| false);
        }

        /// Whatever name the client gives itself, the address is the one the relay saw.
        #[test]
        fn helo_cannot_change_the_address(helo in "[!-~\u{fc}]{1,40}") {
            let value = format!(" from {helo} (mx.client.example [192.0.2.1]) by r.example (Postfix) id 1; x");
            let found = client_behind(&[received(&value)], |_| false);
            if let Some(client) = &found {
                prop_assert_eq!(client.address.to_string(), "192.0.2.1");
            }
            // Postfix and Sendmail let no parenthesis through.
            prop_assert!(found.is_some() || helo.contains(['(', ')']));
        }
    }
}

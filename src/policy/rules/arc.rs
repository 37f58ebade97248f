//! Whether a chain of custodians that is unbroken vouches for the author's domain, RFC 8617 §7.2.1: "a
//! DMARC processor MAY choose to accept the authentication assessments provided by an Authenticated
//! Received Chain when determining if a message is DMARC compliant."
//!
//! Owns which assessment counts, and the comment that reports carry (§7.2.2). Pure. An unbroken chain
//! says only who handled the message: anyone can seal what he forged, so the newest sealer must be
//! trusted, and one of the trusted ones behind it without a gap must have found the author authentic.

use crate::auth::arc::{ArcEvidence, ArcResult, ArcSet};
use crate::domain::DomainName;
use std::fmt;
use std::net::IpAddr;

/// The assessment that counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Vouched {
    pub instance: u8,
    pub sealer: DomainName,
    /// `dmarc`, `dkim` or `spf`.
    pub method: &'static str,
}

/// The newest assessment of a trusted custodian that the author is authentic. `is_meant`: the sealer who
/// must have handed the message to us.
pub(super) fn vouched(
    chain: &ArcEvidence,
    is_meant: impl Fn(&DomainName) -> bool,
    is_trusted: impl Fn(&DomainName) -> bool,
    author: &DomainName,
    organization: &DomainName,
) -> Option<Vouched> {
    if chain.result != ArcResult::Pass {
        return None;
    }
    let newest = DomainName::parse(&chain.sets.last()?.sealer).ok()?;
    if !is_meant(&newest) {
        return None;
    }
    let sets = chain.sets.iter().rev();
    let sealed = sets.map_while(|set| {
        let sealer = DomainName::parse(&set.sealer).ok()?;
        is_trusted(&sealer).then_some((set, sealer))
    });
    sealed.into_iter().find_map(|(set, sealer)| {
        let method = assessment(&set.results, author, organization)?;
        Some(Vouched {
            instance: set.instance,
            sealer,
            method,
        })
    })
}

/// RFC 8617 §7.2.2: the chain's status, "the domain and selector for each AS, and the originating IP
/// address from the first ARC Set". As many sets as fit, the newest first.
pub(super) fn comment(chain: &ArcEvidence) -> String {
    let mut comment = format!("arc={}", chain.result);
    for set in chain.sets.iter().rev() {
        let (Ok(sealer), Ok(selector)) = (
            DomainName::parse(&set.sealer),
            DomainName::parse(&set.selector),
        ) else {
            continue;
        };
        let n = set.instance;
        let seal = format!(" as[{n}].d={sealer} as[{n}].s={selector}");
        if comment.len() + seal.len() > MAX_COMMENT {
            break;
        }
        comment += &seal;
    }
    if let Some(address) = chain.sets.first().and_then(remote_ip) {
        comment += &format!(" remote-ip[1]={address}");
    }
    comment
}

impl fmt::Display for Vouched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            instance,
            sealer,
            method,
        } = self;
        write!(f, "{sealer} i={instance} {method}=pass")
    }
}

/// The method by which a custodian found the author's domain authentic: `dmarc=pass`, or a signature or an
/// envelope sender that passed in the author's organization.
fn assessment(
    results: &str,
    author: &DomainName,
    organization: &DomainName,
) -> Option<&'static str> {
    let results = read(results);
    let names = |result: &Assessed, keys: &[&str]| -> Vec<DomainName> {
        let values = result.properties.iter();
        let values = values.filter(|(key, _)| keys.contains(&key.as_str()));
        let domains = values.map(|(_, value)| value.rsplit_once('@').map_or(&**value, |v| v.1));
        domains.filter_map(|d| DomainName::parse(d).ok()).collect()
    };
    let passed = |method: &str| {
        let method = method.to_owned();
        results.iter().filter(move |r| r.is(&method, "pass"))
    };
    let in_organization = |domains: Vec<DomainName>| {
        let mut domains = domains.iter();
        domains.any(|domain| domain.is_within(organization))
    };
    // Sealers don't all say whose DMARC it was; a message has one author's.
    let dmarc = passed("dmarc").any(|r| {
        let from = names(r, &["header.from"]);
        from.is_empty() || from.contains(author)
    });
    let dkim = || passed("dkim").any(|r| in_organization(names(r, &["header.d", "header.i"])));
    let spf = || passed("spf").any(|r| in_organization(names(r, &["smtp.mailfrom", "smtp.mfrom"])));
    if dmarc {
        Some("dmarc")
    } else if dkim() {
        Some("dkim")
    } else if spf() {
        Some("spf")
    } else {
        None
    }
}

/// RFC 8617 §10.2 `smtp.remote-ip`.
fn remote_ip(set: &ArcSet) -> Option<IpAddr> {
    let results = read(&set.results);
    let mut all = results.iter().flat_map(|result| &result.properties);
    let (_, value) = all.find(|(key, _)| key == "smtp.remote-ip")?;
    value.parse().ok()
}

/// One result, its properties by `ptype.property` in lower case.
struct Assessed {
    method: String,
    result: String,
    properties: Vec<(String, String)>,
}

impl Assessed {
    fn is(&self, method: &str, result: &str) -> bool {
        self.method == method && self.result == result
    }
}

/// Reads ARC-Authentication-Results more tolerantly than RFC 8601 §2.2 has it, since big sealers write
/// `action=none` and the like among the properties. What a sender wrote stands in comments and quoted
/// strings: nothing in them is taken for a result, and what isn't closed is dropped.
fn read(results: &str) -> Vec<Assessed> {
    let mut found = Vec::new();
    for words in pieces(results) {
        let mut pairs = words.iter().filter_map(|word| word.split_once('='));
        let Some((method, result)) = pairs.next() else {
            continue;
        };
        let method = method.split('/').next().unwrap_or_default();
        found.push(Assessed {
            method: method.to_ascii_lowercase(),
            result: result.to_ascii_lowercase(),
            properties: pairs
                .map(|(key, value)| (key.to_ascii_lowercase(), value.to_owned()))
                .collect(),
        });
    }
    found
}

/// The words between semicolons, without comments; those in quotes count as one, without the quotes.
fn pieces(text: &str) -> Vec<Vec<String>> {
    let (mut pieces, mut words) = (Vec::new(), Vec::new());
    let mut word = String::new();
    let (mut depth, mut is_quoted) = (0_u32, false);
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' if depth > 0 || is_quoted => {
                let escaped = chars.next();
                word.extend(escaped.filter(|_| is_quoted));
            }
            '"' if depth == 0 => is_quoted = !is_quoted,
            c if is_quoted => word.push(c),
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ if depth > 0 => {}
            ';' => {
                words.push(std::mem::take(&mut word));
                pieces.push(std::mem::take(&mut words));
            }
            c if c.is_whitespace() => words.push(std::mem::take(&mut word)),
            c => word.push(c),
        }
    }
    if depth == 0 && !is_quoted {
        words.push(word);
        pieces.push(words);
    }
    for words in &mut pieces {
        words.retain(|word| !word.is_empty());
    }
    pieces
}

/// Octets of a report's comment.
const MAX_COMMENT: usize = 900;

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> DomainName {
        DomainName::parse(text).unwrap()
    }

    #[test]
    fn assessments() {
        for (results, expected) in [
            (
                "lists.example; spf=pass smtp.mfrom=jqd@d1.example; dkim=pass (512-bit key) header.i=@d1.example; dmarc=pass",
                "dmarc",
            ),
            ("a.example; dmarc=pass header.from=bank.example", "dmarc"),
            (
                "a.example; dmarc=pass (p=reject) action=none header.from=bank.example; dkim=pass",
                "dmarc",
            ),
            ("a.example; dmarc=pass header.from=other.example", ""),
            ("a.example; dmarc=fail header.from=bank.example", ""),
            ("a.example 1; dkim=pass header.d=mail.bank.example", "dkim"),
            ("a.example; dkim=pass header.i=\"x y\"@bank.example", "dkim"),
            ("a.example; DKIM/1=PASS header.i=@bank.example", "dkim"),
            ("a.example; dkim=pass header.d=notbank.example", ""),
            ("a.example; spf=pass smtp.mailfrom=x@bank.example", "spf"),
            (
                "a.example; spf=pass smtp.mailfrom=bank.example smtp.helo=h.example",
                "spf",
            ),
            ("a.example; spf=pass smtp.helo=bank.example", ""),
            ("a.example; arc=none", ""),
            ("a.example; none", ""),
            ("", ""),
            // What a sender wrote is nothing that a sealer found.
            ("a.example; spf=fail reason=\"; dmarc=pass\"", ""),
            ("a.example; spf=fail (; dmarc=pass)", ""),
            ("a.example; spf=fail (\\); dmarc=pass", ""),
            ("a.example; spf=fail (a (b) ; dmarc=pass", ""),
            ("a.example; spf=fail reason=\"\\\"; dmarc=pass", ""),
            ("dmarc=pass", "dmarc"),
        ] {
            let found = assessment(results, &name("bank.example"), &name("bank.example"));
            assert_eq!(found.unwrap_or_default(), expected, "{results}");
        }
    }

    fn chain(result: ArcResult, sets: &[(&str, &str)]) -> ArcEvidence {
        let sets = sets.iter().zip(1..);
        ArcEvidence {
            result,
            sets: sets
                .map(|((sealer, results), instance)| ArcSet {
                    instance,
                    sealer: (*sealer).to_owned(),
                    selector: format!("s{instance}"),
                    results: (*results).to_owned(),
                })
                .collect(),
            reason: String::new(),
        }
    }

    #[test]
    fn only_trusted_custodians_without_a_gap_are_heard() {
        let (pass, none) = ("x; dmarc=pass", "x; arc=pass");
        let trusted = ["t1.example", "t2.example"].map(name);
        for (result, sets, expected) in [
            (
                ArcResult::Pass,
                vec![("t1.example", pass)],
                "t1.example i=1 dmarc=pass",
            ),
            (ArcResult::Fail, vec![("t1.example", pass)], ""),
            (ArcResult::None, vec![], ""),
            (ArcResult::Pass, vec![("evil.example", pass)], ""),
            (
                ArcResult::Pass,
                vec![("t1.example", pass), ("evil.example", pass)],
                "",
            ),
            (
                ArcResult::Pass,
                vec![("evil.example", pass), ("t1.example", none)],
                "",
            ),
            (
                ArcResult::Pass,
                vec![("t2.example", pass), ("t1.example", none)],
                "t2.example i=1 dmarc=pass",
            ),
            (
                ArcResult::Pass,
                vec![
                    ("t2.example", pass),
                    ("evil.example", none),
                    ("t1.example", none),
                ],
                "",
            ),
        ] {
            let chain = chain(result, &sets);
            let trusts = |name: &DomainName| trusted.contains(name);
            let author = name("bank.example");
            let found = vouched(&chain, trusts, trusts, &author, &author);
            let found = found.map(|vouched| vouched.to_string());
            assert_eq!(found.unwrap_or_default(), expected, "{sets:?}");
        }
    }

    #[test]
    fn the_comment_is_rfc_8617s() {
        let first = "x; spf=pass smtp.mfrom=a@b.example smtp.remote-ip=\"2001:DB8::1A\"";
        let chain_of = chain(
            ArcResult::Pass,
            &[("d1.example", first), ("d2.example", "x; arc=pass")],
        );
        assert_eq!(
            comment(&chain_of),
            "arc=pass as[2].d=d2.example as[2].s=s2 as[1].d=d1.example as[1].s=s1 \
             remote-ip[1]=2001:db8::1a"
        );
        let long = format!("{}.example", ["x"; 100].join("."));
        let many = vec![(long.as_str(), ""); 50];
        assert!(comment(&chain(ArcResult::Pass, &many)).len() <= MAX_COMMENT + 60);
    }
}

//! What SPF macros expand to, RFC 7208 §7.2 and §7.3.
//!
//! Pure: the client's validated name (`%{p}`), which needs DNS, is handed in with `MacroValues`. Every
//! expansion is bounded: 253 characters as a domain name, `MAX_EXPLANATION` as an explanation.

use super::macros::{DomainSpec, ExplainString, MacroExpand, MacroLetter, MacroString, Segment};
use crate::time::Timestamp;
use std::net::IpAddr;

/// What the macros of one term expand to.
#[derive(Debug, Clone)]
pub struct MacroValues<'a> {
    /// The local part of `<sender>`, "postmaster" where it had none.
    pub local_part: &'a str,
    pub sender_domain: &'a str,
    /// `\<domain>`: whose record the term is in.
    pub domain: &'a str,
    pub client: IpAddr,
    pub helo: &'a str,
    pub receiver: &'a str,
    pub now: Timestamp,
    /// The validated name of the client; "unknown" where it has none or nobody asks for it.
    pub validated_name: &'a str,
}

/// Longest explanation handed out; the rest is cut. RFC 7208 §6.2 allows a limit, and an SMTP reply
/// line has 512 octets (RFC 5321 §4.5.3.1.5).
pub const MAX_EXPLANATION: usize = 500;

impl DomainSpec {
    /// The `\<target-name>` without trailing dot, cut to 253 characters from the left. Whether DNS
    /// can be asked for it is the caller's to see: RFC 7208 §7.3 allows any labels here.
    pub fn expand(&self, values: &MacroValues<'_>) -> String {
        let name = self.0.expand_end(values, 2 * MAX_NAME);
        cut_to_fit(name.strip_suffix('.').unwrap_or(&name)).to_owned()
    }
}

impl ExplainString {
    /// The explanation, at most `MAX_EXPLANATION` characters; `None` if it would not be printable.
    pub fn expand(&self, values: &MacroValues<'_>) -> Option<String> {
        let mut text = self.0.expand_start(values, MAX_EXPLANATION);
        // RFC 7208 §6.2: "the explanation string MUST be limited to [US-ASCII]." Control characters
        // can only come from the client's own HELO or local part.
        if !text.bytes().all(|b| b == b' ' || b.is_ascii_graphic()) {
            return None;
        }
        text.truncate(MAX_EXPLANATION);
        Some(text)
    }
}

impl MacroString {
    /// Expands from the left until `enough` octets are there.
    fn expand_start(&self, values: &MacroValues<'_>, enough: usize) -> String {
        let mut text = String::new();
        for segment in &self.segments {
            if text.len() > enough {
                break;
            }
            text.push_str(&segment.expand(values));
        }
        text
    }

    /// Expands from the right until `enough` octets are there, and one segment more at most.
    fn expand_end(&self, values: &MacroValues<'_>, enough: usize) -> String {
        let mut parts = Vec::new();
        let mut length = 0_usize;
        for segment in self.segments.iter().rev() {
            if length > enough {
                break;
            }
            let part = segment.expand(values);
            length = length.saturating_add(part.len());
            parts.push(part);
        }
        parts.reverse();
        parts.concat()
    }
}

impl Segment {
    fn expand(&self, values: &MacroValues<'_>) -> String {
        match self {
            Self::Literal(text) => text.clone(),
            Self::Escape(text) => (*text).to_owned(),
            Self::Expand(expand) => expand.expand(values),
        }
    }
}

impl MacroExpand {
    fn expand(&self, values: &MacroValues<'_>) -> String {
        let value = self.transform(&self.letter.value(values));
        if self.url_escaped {
            url_escape(&value)
        } else {
            value
        }
    }

    fn transform(&self, value: &str) -> String {
        if self.parts.is_none() && !self.reversed && self.delimiters.is_empty() {
            return value.to_owned();
        }
        // RFC 7208 §7.3: "By default, strings are split on "." (dots). Note that no special
        // treatment is given to leading, trailing, or consecutive delimiters in input strings, and
        // so the list of parts might contain empty strings."
        let mut parts: Vec<&str> = if self.delimiters.is_empty() {
            value.split('.').collect()
        } else {
            value.split(|c| self.delimiters.contains(c)).collect()
        };
        if self.reversed {
            parts.reverse();
        }
        // "The DIGIT transformer indicates the number of right-hand parts to use, after optional
        // reversal."
        let wanted = self.parts.unwrap_or(usize::MAX);
        let skipped = parts.len().saturating_sub(wanted);
        parts
            .into_iter()
            .skip(skipped)
            .collect::<Vec<_>>()
            .join(".")
    }
}

impl MacroLetter {
    fn value(self, values: &MacroValues<'_>) -> String {
        match self {
            Self::Sender => format!("{}@{}", values.local_part, values.sender_domain),
            Self::LocalPart => values.local_part.to_owned(),
            Self::SenderDomain => values.sender_domain.to_owned(),
            Self::Domain => values.domain.to_owned(),
            Self::Address => dotted(values.client),
            Self::ValidatedName => values.validated_name.to_owned(),
            Self::AddressFamily => match values.client {
                IpAddr::V4(_) => "in-addr".to_owned(),
                IpAddr::V6(_) => "ip6".to_owned(),
            },
            Self::Helo => values.helo.to_owned(),
            Self::ReadableAddress => values.client.to_string(),
            // RFC 7208 §7.3: "the word "unknown" SHOULD be substituted."
            Self::Receiver if values.receiver.is_empty() => "unknown".to_owned(),
            Self::Receiver => values.receiver.to_owned(),
            Self::Timestamp => values.now.seconds().to_string(),
        }
    }
}

/// RFC 7208 §7.3: "the left side is truncated to fit, by removing successive domain labels (and
/// their following dots) until the total length does not exceed 253 characters."
fn cut_to_fit(name: &str) -> &str {
    let Some(least) = name.len().checked_sub(MAX_NAME + 1) else {
        return name;
    };
    let mut dots = name.match_indices('.').map(|(at, _)| at);
    match dots.find(|&at| at >= least) {
        Some(at) if name.len() > MAX_NAME => name.get(at + 1..).unwrap_or(name),
        Some(_) | None => name,
    }
}

/// RFC 7208 §7.3: "For IPv4 addresses, both the "i" and "c" macros expand to the standard
/// dotted-quad format. For IPv6 addresses, the "i" macro expands to a dot-format address".
fn dotted(address: IpAddr) -> String {
    match address {
        IpAddr::V4(v4) => v4.to_string(),
        IpAddr::V6(v6) => {
            let nibbles = v6.octets().into_iter().flat_map(|o| [o >> 4, o & 15]);
            let digits: Vec<String> = nibbles.map(|nibble| format!("{nibble:X}")).collect();
            digits.join(".")
        }
    }
}

/// RFC 7208 §7.3: "URL escaping MUST be performed for characters not in the "unreserved" set, which
/// is defined in RFC 3986."
fn url_escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("%{byte:02X}"));
        }
    }
    escaped
}

/// "253 characters (the maximum length of a domain name in this format)" (RFC 7208 §7.3).
const MAX_NAME: usize = 253;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::spf::macros::MacroError;

    fn values() -> MacroValues<'static> {
        MacroValues {
            local_part: "strong-bad",
            sender_domain: "email.example.com",
            domain: "email.example.com",
            client: IpAddr::from([192, 0, 2, 3]),
            helo: "mail.example.org",
            receiver: "mx.example.net",
            now: Timestamp::from_seconds(1_795_000_000),
            validated_name: "mx.example.org",
        }
    }

    fn explain(text: &str, values: &MacroValues<'_>) -> Option<String> {
        ExplainString::parse(text.as_bytes())
            .unwrap()
            .expand(values)
    }

    /// RFC 7208 §7.4, all of it, and corners of §7.1 and §7.3.
    #[test]
    fn expands() {
        for (text, expected) in [
            ("%{s}", "strong-bad@email.example.com"),
            ("%{o}", "email.example.com"),
            ("%{d}", "email.example.com"),
            ("%{d4}", "email.example.com"),
            ("%{d3}", "email.example.com"),
            ("%{d2}", "example.com"),
            ("%{d1}", "com"),
            ("%{dr}", "com.example.email"),
            ("%{d2r}", "example.email"),
            ("%{l}", "strong-bad"),
            ("%{l-}", "strong.bad"),
            ("%{lr}", "strong-bad"),
            ("%{lr-}", "bad.strong"),
            ("%{l1r-}", "strong"),
            (
                "%{ir}.%{v}._spf.%{d2}",
                "3.2.0.192.in-addr._spf.example.com",
            ),
            ("%{lr-}.lp._spf.%{d2}", "bad.strong.lp._spf.example.com"),
            (
                "%{lr-}.lp.%{ir}.%{v}._spf.%{d2}",
                "bad.strong.lp.3.2.0.192.in-addr._spf.example.com",
            ),
            (
                "%{ir}.%{v}.%{l1r-}.lp._spf.%{d2}",
                "3.2.0.192.in-addr.strong.lp._spf.example.com",
            ),
            (
                "%{d2}.trusted-domains.example.net",
                "example.com.trusted-domains.example.net",
            ),
            ("%{D99999999999999999999R}", "com.example.email"),
            ("%{S}", "strong-bad%40email.example.com"),
            (
                "%{p2} %{h} %{c} %{r} %{t}",
                "example.org mail.example.org 192.0.2.3 mx.example.net 1795000000",
            ),
            ("100%%%_%-", "100% %20"),
            ("", ""),
            ("ends in a dot.", "ends in a dot."),
        ] {
            assert_eq!(
                explain(text, &values()).as_deref(),
                Some(expected),
                "{text}"
            );
        }
    }

    #[test]
    fn splits_without_special_treatment() {
        let mut values = values();
        for (local_part, text, expected) in [
            ("a--b", "%{l-}", "a..b"),
            ("-a-", "%{lr-}", ".a."),
            ("a+b=c", "%{l2+=}", "b.c"),
            ("a.b", "%{l+}", "a.b"),
        ] {
            values.local_part = local_part;
            assert_eq!(
                explain(text, &values).as_deref(),
                Some(expected),
                "{local_part} {text}"
            );
        }
        values.client = "2001:db8::cb01".parse().unwrap();
        let spec = DomainSpec::parse("%{ir}.%{v}._spf.%{d2}").unwrap();
        assert_eq!(
            spec.expand(&values).to_lowercase(),
            "1.0.b.c.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6._spf.example.com"
        );
    }

    #[test]
    fn bounds_what_it_expands() {
        let mut values = values();
        let local_part = "x.".repeat(1_000);
        values.local_part = &local_part;
        let bomb = "%{s}".repeat(4_000) + ".example.com.";
        let name = DomainSpec::parse(&bomb).unwrap().expand(&values);
        assert!(name.len() <= 253 && name.ends_with("@email.example.com.example.com"));
        assert_eq!(
            explain(&bomb, &values).map(|text| text.len()),
            Some(MAX_EXPLANATION)
        );
        let label = "y".repeat(300);
        let spec = DomainSpec::parse(&format!("%{{l}}.{label}.com")).unwrap();
        assert_eq!(spec.expand(&values), "com");
    }

    #[test]
    fn explains_in_printable_ascii_only() {
        let mut values = values();
        values.local_part = "jürgen";
        values.helo = "a\r\nb";
        for (text, expected) in [
            ("%{l}", None),
            ("%{L}", Some("j%C3%BCrgen")),
            ("%{h}", None),
            ("%{H}", Some("a%0D%0Ab")),
        ] {
            assert_eq!(explain(text, &values).as_deref(), expected, "{text}");
        }
        assert_eq!(
            ExplainString::parse("\u{feff}x".as_bytes()),
            Err(MacroError::BadCharacter)
        );
    }
}

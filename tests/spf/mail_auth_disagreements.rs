//! Where mail-auth disagrees with us, and the sentence that decides each. Over the suite by name, since
//! mail-auth does not say why.

use crate::disagreements::Disagreement;

#[rustfmt::skip]
pub const MAIL_AUTH: &[Disagreement] = &[
    Disagreement {
        what: "takes the first of several records",
        sentence: "RFC 7208 §4.5: If the resultant record set includes more than one record, check_host() produces the \"permerror\" result.",
        applies: |c| c.our_problem("more than one SPF record"),
    },
    Disagreement {
        what: "has no limit of void look-ups",
        sentence: "RFC 7208 §4.6.4: SPF implementations SHOULD limit \"void lookups\" to two.",
        applies: |c| c.our_problem("more than 2 look-ups found nothing"),
    },
    Disagreement {
        what: "forgets the qualifier of an include around an include",
        sentence: "RFC 7208 §5.2: If it returns match, then the appropriate result for the \"include\" mechanism is used",
        applies: |c| c.matched("include"),
    },
    Disagreement {
        what: "asks for malformed domains",
        sentence: "RFC 7208 §4.3: If the <domain> is malformed [...] check_host() immediately returns the result \"none\"",
        applies: |c| c.is_one_of(&["emptylabel", "helo-domain-literal", "domain-literal"]),
    },
    Disagreement {
        what: "says temperror for target names that DNS cannot be asked for",
        sentence: "RFC 7208 §4.8: Some implementations choose to treat such errors as not-match [...] while others return a \"permerror\" exception.",
        applies: |c| c.is_one_of(&["invalid-domain-empty-label", "invalid-domain-long", "invalid-domain-long-via-macro", "invalid-hello-macro", "hello-domain-literal", "macro-mania-in-domain"]),
    },
    Disagreement {
        what: "explains without a local part",
        sentence: "RFC 7208 §4.3: If the <sender> has no local-part, substitute the string \"postmaster\" for the local-part.",
        applies: |c| c.is_one_of(&["nolocalpart"]),
    },
    Disagreement {
        what: "takes other octets than visible ASCII",
        sentence: "RFC 7208 §3.1: The character content of the record is encoded as [US-ASCII]; §12: terms = *( 1*SP ( directive / modifier ) )",
        applies: |c| c.is_one_of(&["non-ascii-policy", "non-ascii-mech", "control-char-policy", "badip4"]),
    },
    Disagreement {
        what: "cannot be given a TXT record without strings by its resolver",
        sentence: "OpenSPF null-text: null text (no strings) is illegal, but SPF should not crash.",
        applies: |c| c.is_one_of(&["null-text"]),
    },
    Disagreement {
        what: "reads domain-specs and modifiers loosely, and some right ones not at all",
        sentence: "RFC 7208 §12: This section is normative, and any discrepancies with the ABNF fragments in the preceding text are to be resolved in favor of this grammar.",
        applies: |c| c.is_one_of(&[
            "modifier-charset-good", "redirect-after-mechanisms2", "invalid-domain", "a-bad-domain", "a-null", "a-numeric", "a-numeric-toplabel", "a-bad-toplabel",
            "a-only-toplabel", "a-only-toplabel-trailing-dot", "a-colon-domain", "a-colon-domain-ip4mapped", "mx-bad-domain", "mx-null", "mx-numeric-top-label",
            "mx-colon-domain", "mx-colon-domain-ip4mapped", "mx-bad-toplab", "redirect-syntax-error", "invalid-modifier", "empty-modifier-name", "exp-syntax-error",
        ]),
    },
    Disagreement {
        what: "does not check prefix lengths",
        sentence: "RFC 7208 §5.6: ip4-cidr-length = \"/\" (\"0\" / %x31-39 0*1DIGIT) ; value range 0-32; ip6-cidr-length [...] ; value range 0-128",
        applies: |c| c.is_one_of(&["a-bad-cidr4", "a-bad-cidr6", "a-dual-cidr-ip4-err", "mx-bad-cidr4", "mx-bad-cidr6", "cidr4-33", "cidr4-032", "cidr6-129"]),
    },
    Disagreement {
        what: "lets IPv4 clients match IPv6 networks",
        sentence: "RFC 7208 §5: IPv4 <ip> addresses are only listed in an SPF record using the \"ip4\" mechanism.",
        applies: |c| c.is_one_of(&["a-cidr6-0-ip4mapped", "mx-cidr6-0-ip4mapped", "cidr6-0-ip4", "cidr6-ip4"]),
    },
    Disagreement {
        what: "does not match the very name with ptr",
        sentence: "RFC 7208 §5.5: see if they either match the <target-name> domain or are a subdomain of the <target-name> domain",
        applies: |c| c.is_one_of(&["ptr-match-implicit", "ptr-match-ip6"]),
    },
    Disagreement {
        what: "looks for AAAA records with exists",
        sentence: "RFC 7208 §5.7: The resulting domain name is used for a DNS A RR lookup (even when the connection type is IPv6).",
        applies: |c| c.is_one_of(&["exists-ip6only"]),
    },
    Disagreement {
        what: "explains from the first of several texts, and in other than ASCII",
        sentence: "RFC 7208 §6.2: if more than one record is returned [...] proceed as if no \"exp\" modifier was given; the explanation string MUST be limited to [US-ASCII]",
        applies: |c| c.is_one_of(&["exp-multiple-txt", "two-exp-records", "non-ascii-exp"]),
    },
    Disagreement {
        what: "does not cut long names from the left",
        sentence: "RFC 7208 §7.3: if the expanded domain name exceeds 253 characters [...] the left side is truncated to fit",
        applies: |c| c.is_one_of(&["domain-name-truncation"]),
    },
    Disagreement {
        what: "neither validates %{p} nor expands it in explanations",
        sentence: "RFC 7208 §7.3: The \"p\" macro expands to the validated domain name of <ip>.",
        applies: |c| c.is_one_of(&["p-macro-ip4-novalid", "p-macro-ip4-valid", "p-macro-ip6-novalid", "p-macro-ip6-valid", "p-macro-multiple"]),
    },
    Disagreement {
        what: "writes hexadecimal digits in lower case",
        sentence: "OpenSPF v-macro-ip6 and upper-macro; RFC 3986 §2.1: should use uppercase hexadecimal digits for all percent-encodings",
        applies: |c| c.is_one_of(&["v-macro-ip6", "upper-macro"]),
    },
];

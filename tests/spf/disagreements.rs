//! Where the peers disagree with us, and the sentence that decides each.

use crate::case::{Case, PeerAnswer};
use alignd::auth::SpfResult;
use alignd::auth::spf::SpfOutcome;

/// A kind of disagreement that is known, and the sentence that speaks for us.
pub struct Disagreement {
    pub what: &'static str,
    pub sentence: &'static str,
    pub applies: fn(&Compared) -> bool,
}

pub struct Compared {
    pub case: Case,
    pub ours: SpfOutcome,
    pub theirs: PeerAnswer,
}

pub const VIASPF: &[Disagreement] = &[
    Disagreement {
        what: "counts every exchange without an address as a void look-up",
        sentence: VOID_TERMS,
        applies: |c| c.is_one_of(&["mx-hosts-without-aaaa-are-one-void"]),
    },
    Disagreement {
        what: "compares all bits for a prefix length of 0 (and panics under overflow checks)",
        sentence: "RFC 7208 §5: only the specified number of high-order bits of <ip> and the IP address are compared for equality",
        applies: |c| c.publishes("/0") && c.theirs.problem.is_empty(),
    },
    Disagreement {
        what: "takes no empty local part",
        sentence: "RFC 7208 §4.3: If the <sender> has no local-part, substitute the string \"postmaster\" for the local-part.",
        applies: |c| c.theirs.problem == "unusable sender" && c.case.mail_from.starts_with('@'),
    },
    Disagreement {
        what: "takes no unquoted space in a local part",
        sentence: "RFC 7208 §2.6.1: none if no syntactically valid DNS domain name was extracted; here one is",
        applies: |c| c.theirs.problem == "unusable sender" && c.case.mail_from.contains(' '),
    },
    Disagreement {
        what: "counts void addresses of the client's reverse names",
        sentence: REVERSE_OWNER,
        applies: |c| {
            c.theirs.problem == "void lookup limit exceeded"
                && c.has_reverse_names()
                && c.publishes_any(&["ptr", "%{p"])
        },
    },
    Disagreement {
        what: "writes the nibbles of an IPv6 address in lower case",
        sentence: "OpenSPF v-macro-ip6; RFC 7208 §7.3 says dot-format address only",
        applies: |c| c.both_fail() && c.explains_alike_but_for_case(),
    },
    Disagreement {
        what: "finds c, r and t outside explanations only when it expands them",
        sentence: "RFC 7208 §4.6: if there are any syntax errors anywhere in the record, check_host() returns immediately with the result \"permerror\"; §7.2: allowed only in \"exp\" text",
        applies: |c| c.our_problem("allowed only in explanations"),
    },
    Disagreement {
        what: "reads the start of a modifier's name as a mechanism",
        sentence: "RFC 7208 §4.6.1: Modifiers always contain an equals ('=') character immediately after the name",
        applies: |c| c.theirs.problem == "invalid SPF record found" && c.publishes("="),
    },
    Disagreement {
        what: "does not expand a HELO of one label",
        sentence: "RFC 7208 §7.3: The \"h\" macro expands to the parameter that was provided to the SMTP server via the HELO or EHLO SMTP verb.",
        applies: |c| !c.case.helo.contains('.') && c.publishes_any(&["%{h", "%{H"]),
    },
    Disagreement {
        what: "lets an include of a malformed name not match",
        sentence: "RFC 7208 §4.3: If the <domain> is malformed [...] check_host() immediately returns the result \"none\"; §5.2: none, return permerror",
        applies: |c| c.our_problem("is no domain name"),
    },
    Disagreement {
        what: "asks for exchanges until the eleventh",
        sentence: "RFC 7208 §4.6.4: If this limit is exceeded, the \"mx\" mechanism MUST produce a \"permerror\" result.",
        applies: |c| c.our_problem("more than 10 MX records"),
    },
    Disagreement {
        what: "counts a null MX as a void look-up",
        sentence: "RFC 7505, abstract: announces that it accepts no mail, without having to provide a mail server",
        applies: |c| {
            c.their_problem("void lookup limit exceeded") && c.case.zone.has_null_exchange()
        },
    },
    VALIDATED_NAME_COUNTS,
    UTF8_LOCAL_PART,
    LIMITED_EXPLANATION,
];

pub const PYSPF: &[Disagreement] = &[
    Disagreement {
        what: "counts every exchange without an address as a void look-up",
        sentence: VOID_TERMS,
        applies: |c| c.is_one_of(&["mx-hosts-without-aaaa-are-one-void"]),
    },
    Disagreement {
        what: "counts void addresses of the client's reverse names",
        sentence: REVERSE_OWNER,
        applies: |c| {
            c.their_problem("Void lookup limit") && c.has_reverse_names() && c.uses_reverse_names()
        },
    },
    Disagreement {
        what: "says temperror when a reverse name's address cannot be looked up",
        sentence: "RFC 7208 §5.5: If a DNS error occurs while doing an A RR lookup, then that domain name is skipped and the search continues.",
        applies: |c| {
            c.their_problem("DNS timeout") && c.has_reverse_names() && c.uses_reverse_names()
        },
    },
    Disagreement {
        what: "looks all exchanges up before it compares",
        sentence: "RFC 7208 §5.4: If any address matches, the mechanism matches.",
        applies: |c| {
            (c.their_problem("DNS timeout") || c.their_problem("Void lookup limit"))
                && c.matched("mx")
        },
    },
    Disagreement {
        what: "finds no record behind a loop of CNAMEs",
        sentence: "RFC 7208 §4.4: some other error (RCODE other than 0 or 3) [...] terminates immediately with the result \"temperror\"",
        applies: |c| c.our_problem("an unusable DNS answer"),
    },
    Disagreement {
        what: "refuses a modifier that is there twice, known or not",
        sentence: "RFC 7208 §6: Unrecognized modifiers MUST be ignored no matter where, or how often, they appear in a record.",
        applies: |c| c.their_problem("MUST appear at most once"),
    },
    Disagreement {
        what: "takes a tab inside a domain",
        sentence: "RFC 7208 §7.1: macro-literal = %x21-24 / %x26-7E",
        applies: |c| c.our_problem("control character") && c.publishes("\t"),
    },
    Disagreement {
        what: "takes a macro that is never closed",
        sentence: "RFC 7208 §7.1: macro-expand = ( \"%{\" macro-letter transformers *delimiter \"}\" )",
        applies: |c| c.our_problem("no closing brace"),
    },
    Disagreement {
        what: "refuses a record that includes itself, reached or not",
        sentence: "RFC 7208 §4.6.4: SPF implementations MUST limit the total number of those terms to 10 during SPF evaluation",
        applies: |c| c.their_problem("include has trivial recursion"),
    },
    Disagreement {
        what: "includes a name of one label",
        sentence: "RFC 7208 §4.3: If the <domain> [...] is not a multi-label domain name [...] check_host() immediately returns the result \"none\"; §5.2: none, return permerror",
        applies: |c| c.our_problem("is no domain name of several labels"),
    },
    Disagreement {
        what: "explains with control characters",
        sentence: "RFC 7208 §7.1: macro-literal = %x21-24 / %x26-7E ; visible characters except \"%\"",
        applies: |c| c.both_fail() && c.ours.grounds.explanation.is_none() && c.publishes("\t"),
    },
    Disagreement {
        what: "asks for U-labels as they are",
        sentence: "RFC 8616 §4: All U-labels MUST be converted to A-labels before being used for an SPF validation.",
        applies: |c| {
            c.case
                .sender_domain()
                .is_some_and(|domain| !domain.is_ascii())
        },
    },
    VALIDATED_NAME_COUNTS,
    UTF8_LOCAL_PART,
    LIMITED_EXPLANATION,
];

const VALIDATED_NAME_COUNTS: Disagreement = Disagreement {
    what: "does not count %{p}",
    sentence: "RFC 7208 §4.6.4: When evaluating the \"ptr\" mechanism or the %{p} macro, the number of \"PTR\" resource records queried is included in the overall limit of 10",
    applies: |c| c.our_problem("; %{p} of"),
};

const UTF8_LOCAL_PART: Disagreement = Disagreement {
    what: "asks for names made of a UTF-8 local part",
    sentence: "RFC 8616 §4: If the local part contains non-ASCII characters, terms that include %{s} or %{l} do not match anything",
    applies: |c| !c.case.mail_from.is_ascii() && c.publishes_any(&["%{l", "%{s"]),
};

const LIMITED_EXPLANATION: Disagreement = Disagreement {
    what: "applies the limits to the explanation",
    sentence: "RFC 7208 §4.6.4: the \"exp\" modifier only causes a lookup at a later time, and their use is not subject to this limit",
    applies: |c| c.both_fail() && c.theirs.answer.explanation.is_none() && c.publishes("%{p"),
};

const VOID_TERMS: &str = "RFC 7208 §4.6.4: there may be cases where it is useful to limit the number of \"terms\" for which DNS queries return either a positive answer (RCODE 0) with an answer count of 0, or a \"Name Error\"";

const REVERSE_OWNER: &str = "RFC 7208 §4.6.4: the set of and contents of PTR records are under control of the owner of the IP address actually making the connection";

impl Compared {
    pub fn is_one_of(&self, ids: &[&str]) -> bool {
        ids.contains(&self.case.id.as_str())
    }

    fn both_fail(&self) -> bool {
        self.ours.result == SpfResult::Fail && self.theirs.answer.result == "fail"
    }

    pub fn our_problem(&self, words: &str) -> bool {
        let problem = self.ours.grounds.problem.as_deref();
        problem.is_some_and(|problem| problem.contains(words))
    }

    fn their_problem(&self, words: &str) -> bool {
        self.theirs.problem.contains(words)
    }

    /// The term that decided for us is a mechanism of this name.
    pub fn matched(&self, mechanism: &str) -> bool {
        let matched = self.ours.grounds.matched.as_ref();
        matched.is_some_and(|matched| {
            let term = matched.term.to_lowercase();
            term.trim_start_matches(['+', '-', '~', '?'])
                .starts_with(mechanism)
        })
    }

    fn explains_alike_but_for_case(&self) -> bool {
        let lower = |text: &Option<String>| text.as_ref().map(|text| text.to_lowercase());
        lower(&self.ours.grounds.explanation) == lower(&self.theirs.answer.explanation)
    }

    /// Some TXT record of the case has these words.
    fn publishes(&self, words: &str) -> bool {
        self.case.zone.texts().any(|text| text.contains(words))
    }

    fn publishes_any(&self, words: &[&str]) -> bool {
        words.iter().any(|words| self.publishes(words))
    }

    fn uses_reverse_names(&self) -> bool {
        self.publishes_any(&["ptr", "%{p"])
    }

    fn has_reverse_names(&self) -> bool {
        self.case.zone.reverse_names(self.case.client) > 0
    }
}

impl std::fmt::Display for Compared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (case, ours, theirs) = (&self.case, &self.ours, &self.theirs);
        write!(f, "{}: {ours:?}\n    {theirs:?}\n", case.id)?;
        write!(f, "    {} {:?} {}", case.client, case.mail_from, case.helo)
    }
}

//! Where mail-auth 0.13.3, viadkim 0.2.0 and dkimpy 1.1.8 decide otherwise than alignd, and the RFC
//! sentence that decides. Used by `dkim_peers.rs`.

/// Why alignd decides as it does, and who decides otherwise on which line of `cases/dkim.jsonl`.
pub type Disagreement = (
    &'static str,
    &'static [(&'static str, &'static [&'static str])],
);

pub const DISAGREEMENTS: &[Disagreement] = &[
    (
        "RFC 6376 §3.5: \"The field MUST NOT include the DKIM-Signature header field that is being \
         created or verified but may include others\": its own field is not there to be taken",
        &[
            ("mail-auth", OWN_NAME),
            ("viadkim", OWN_NAME),
            ("dkimpy", OWN_NAME),
        ],
    ),
    (
        "RFC 6376 §6.1.1: \"If any tag listed as 'required' in Section 3.5 is omitted ... the Verifier \
         MUST ignore the DKIM-Signature header field\"; \"If the 'h=' tag does not include the From \
         header field, the Verifier MUST ignore\" it",
        &[
            ("mail-auth", &["no v=", "no a=", "From not in h="]),
            ("dkimpy", &["empty h=", "From not in h="]),
        ],
    ),
    (
        "RFC 6376 §6.1.1: \"any inconsistency or unexpected values MUST cause the header field to be \
         completely ignored\": not in the tag's grammar",
        &[
            (
                "mail-auth",
                &[
                    "v=01",
                    "empty tag",
                    "control character",
                    "tag without value",
                    "c=relaxed/",
                    "s= with a space",
                    "empty name in h=",
                    "space in a name in h=",
                    "l=-1",
                    "empty l=",
                    "i= with a line end",
                    "empty x=",
                ],
            ),
            (
                "dkimpy",
                &[
                    "control character",
                    "d= with a dot at the end",
                    "empty name in h=",
                    "space in a name in h=",
                    "i= badly quoted",
                    "i= with a line end",
                ],
            ),
        ],
    ),
    (
        "RFC 6376 §3.2: \"if a tag name does occur more than once, the entire tag-list is invalid\"",
        &[(
            "mail-auth",
            &["s= twice", "unknown tag twice", "key p= twice"],
        )],
    ),
    (
        "RFC 6376 §3.2: \"WSP is allowed anywhere around tags\", so also after the last semicolon",
        &[(
            "viadkim",
            &["v= last, semicolon at the end", "key with space everywhere"],
        )],
    ),
    (
        "RFC 6376 §3.5: \"Unrecognized query mechanisms MUST be ignored\": not the others, and not \
         followed alone",
        &[
            ("mail-auth", &["q=http"]),
            ("dkimpy", &["unknown query method beside dns/txt"]),
        ],
    ),
    (
        "RFC 5234 §2.3: \"ABNF strings are case insensitive\", and the tag's words are such strings",
        &[("dkimpy", &["a= in capitals", "key type in capitals"])],
    ),
    (
        "RFC 6376 §3.5, l=: \"This value MUST NOT be larger than the actual number of octets in the \
         canonicalized message body\"; else it is a signature, §8.2 leaves the rest to assessors",
        &[
            ("mail-auth", &["l= of the whole body"]),
            (
                "dkimpy",
                &["l= one more than the body", "l= beyond 64 bits"],
            ),
        ],
    ),
    (
        "RFC 6376 §3.5, x=: \"MUST be greater than the value of the 't=' tag if both are present\"",
        &[("dkimpy", &["x= equal to t="])],
    ),
    (
        "RFC 6376 §3.5, t=: \"Implementations MAY ignore signatures that have a timestamp in the future\"",
        &[("mail-auth", &["t= in the future", "t= of 13 digits"])],
    ),
    (
        "RFC 6376 §8.15: \"an agent would be incorrect to infer that all instances of a header field \
         are signed just because one is\"",
        &[(
            "mail-auth",
            &["second From on top", "second From, signed once"],
        )],
    ),
    (
        "RFC 6376 §6.1.2: \"If the 'h=' tag exists in the public-key record and the hash algorithm ... \
         is not included in the contents of the 'h=' tag, the Verifier MUST ignore the key record\"",
        &[
            ("mail-auth", &["key for sha1 only", "key with empty h="]),
            ("dkimpy", &["key for sha1 only", "key with empty h="]),
        ],
    ),
    (
        "RFC 6376 §3.6.1, s=: \"Verifiers for a given service type MUST ignore this record if the \
         appropriate type is not listed\", and must not if it is",
        &[
            ("mail-auth", &["key for tlsrpt"]),
            ("dkimpy", &["key for all services, t=s"]),
        ],
    ),
    (
        "RFC 6376 §3.6.1, v=: \"This tag MUST be the first tag in the record. Records beginning with a \
         'v=' tag with any other value MUST be discarded\"",
        &[
            ("mail-auth", &["key v= not first", "key v=dkim1"]),
            ("dkimpy", &["key v= not first"]),
        ],
    ),
    (
        "RFC 6376 §6.1.2: \"The Verifier MUST validate the key record and MUST ignore any public-key \
         records that are malformed\"",
        &[("mail-auth", &["key with an empty tag"])],
    ),
    (
        "RFC 6376 §3.6.1, t=: \"Unrecognized flags MUST be ignored\", the empty one as well",
        &[("viadkim", &["key with empty t="])],
    ),
    (
        "RFC 6376 §3.6.1, t=s: \"the 'i=' domain MUST NOT be a subdomain of 'd='\"",
        &[("dkimpy", &["key t=s, i= in a subdomain"])],
    ),
];

const OWN_NAME: &[&str] = &["its own name in h=", "its own name twice in h="];

/// Peer, kind of mail, and why alignd decides otherwise.
pub const EXPLAINED: &[(&str, &str, &str)] = &[
    (
        "mail-auth",
        "l=40;",
        "it takes no l= at all; RFC 6376 §3.5 has the tag",
    ),
    (
        "mail-auth",
        "tag lost",
        "RFC 6376 §2.10 base64string: an \"=\" of the padding of b= was lost",
    ),
    (
        "mail-auth",
        "body space before a line end",
        "RFC 6376 §3.4.4: \"MUST apply the following steps (a) and (b) in order\": a last line of \
         white space becomes empty by (a) and is ignored by (b)",
    ),
    (
        "viadkim",
        "space before a line end",
        "RFC 6376 §3.2: \"WSP is allowed anywhere around tags\", so also after the last semicolon",
    ),
    (
        "dkimpy",
        "space before a line end",
        "RFC 6376 §3.4.1: simple \"does not change header fields in any way\": a space at the end of \
         the signature's own field counts",
    ),
    (
        "dkimpy",
        "tag space",
        "RFC 6376 §3.7: \"with the value of the 'b=' tag (including all surrounding whitespace) \
         deleted\": the space before the semicolon is white space, too",
    ),
];

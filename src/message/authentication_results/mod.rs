//! Authentication-Results, RFC 8601 §2.2: the field as a value, written strictly and read back.
//!
//! Owns the field's types, what text may stand in them (`Field::normal_form`), the writer, the parser
//! and the test for fields that claim to be ours (`claim`). Knows no mechanism: `verdict::results`
//! says what goes in. Whatever is put in, what comes out is one header field: the writer replaces what
//! may not stand there and quotes what must be quoted, so nothing from a sender gets loose.
//!
//! UTF-8 (RFC 6531, 6532) is written as it is, and only where the grammar has room for it: in quoted
//! strings, comments and local parts. Who must not send it puts none in.

pub mod claim;
mod read;
mod write;

pub use write::Written;

use std::borrow::Cow;

/// A method, result, ptype or property: most are words of a standard.
pub type Keyword = Cow<'static, str>;

/// One Authentication-Results field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// Who made the checks, RFC 8601 §2.5.
    pub authserv_id: String,
    /// The version of the field's syntax; left out it is 1.
    pub version: Option<u32>,
    /// Empty: written as `none`, "no message authentication was performed".
    pub results: Vec<MethodResult>,
}

/// `method=result` and what belongs to it, RFC 8601 §2.2 `resinfo`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MethodResult {
    pub method: Keyword,
    /// The version of the method; left out it is 1.
    pub version: Option<u32>,
    pub result: Keyword,
    /// Written directly behind the result. A reader may drop them.
    pub comments: Vec<String>,
    pub reason: Option<String>,
    pub properties: Vec<Property>,
}

/// `ptype.property=value`: `header.d=example.com`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Property {
    pub ptype: Keyword,
    pub property: Keyword,
    /// An address or `@domain` is written as such, anything else as token or quoted string.
    pub value: String,
}

impl Field {
    /// A field without results.
    pub fn new(authserv_id: impl Into<String>) -> Self {
        Self {
            authserv_id: authserv_id.into(),
            version: None,
            results: Vec::new(),
        }
    }

    /// What is left of this field once written and read back.
    ///
    /// - In every text: control characters (CR, LF, NUL and TAB among them) and Unicode's line and
    ///   paragraph separators become `?`; what exceeds 400 octets is cut off.
    /// - In comments besides: `( ) \ ; "` become `[ ] / , '`, for readers that take them apart by eye.
    /// - In methods, results, ptypes and properties: what no `Keyword` (RFC 5321 §4.1.2) holds becomes
    ///   `-`; at most 63 characters, the last a letter or digit; an empty one becomes `x`.
    pub fn normal_form(&self) -> Self {
        Self {
            authserv_id: normal_text(&self.authserv_id).into_owned(),
            version: self.version,
            results: self.results.iter().map(MethodResult::normal_form).collect(),
        }
    }
}

impl MethodResult {
    pub fn new(method: impl Into<Keyword>, result: impl Into<Keyword>) -> Self {
        Self {
            method: method.into(),
            version: None,
            result: result.into(),
            comments: Vec::new(),
            reason: None,
            properties: Vec::new(),
        }
    }

    pub fn comment(mut self, text: impl Into<String>) -> Self {
        self.comments.push(text.into());
        self
    }

    pub fn reason(mut self, text: impl Into<String>) -> Self {
        self.reason = Some(text.into());
        self
    }

    pub fn property(
        mut self,
        ptype: impl Into<Keyword>,
        property: impl Into<Keyword>,
        value: impl Into<String>,
    ) -> Self {
        self.properties.push(Property {
            ptype: ptype.into(),
            property: property.into(),
            value: value.into(),
        });
        self
    }

    fn normal_form(&self) -> Self {
        let keyword = |word: &Keyword| Keyword::Owned(normal_keyword(word).into_owned());
        let text = |text: &str| normal_text(text).into_owned();
        let property = |property: &Property| Property {
            ptype: keyword(&property.ptype),
            property: keyword(&property.property),
            value: text(&property.value),
        };
        let comment = |text: &String| normal_comment(text).into_owned();
        Self {
            method: keyword(&self.method),
            version: self.version,
            result: keyword(&self.result),
            comments: self.comments.iter().map(comment).collect(),
            reason: self.reason.as_deref().map(text),
            properties: self.properties.iter().map(property).collect(),
        }
    }
}

fn normal_text(text: &str) -> Cow<'_, str> {
    let printable = |b| matches!(b, b' '..=b'~');
    if text.len() <= MAX_TEXT && text.bytes().all(printable) {
        return Cow::Borrowed(text);
    }
    cut(text, MAX_TEXT)
        .chars()
        .map(|c| if is_forbidden(c) { '?' } else { c })
        .collect()
}

fn normal_comment(text: &str) -> Cow<'_, str> {
    let replaced = |c| match c {
        '(' => '[',
        ')' => ']',
        '\\' => '/',
        ';' => ',',
        '"' => '\'',
        other => other,
    };
    let text = normal_text(text);
    if text.contains(['(', ')', '\\', ';', '"']) {
        text.chars().map(replaced).collect()
    } else {
        text
    }
}

fn normal_keyword(word: &str) -> Cow<'_, str> {
    let fits = |b: u8| b.is_ascii_alphanumeric();
    if (1..=MAX_KEYWORD).contains(&word.len()) && word.bytes().all(fits) {
        return Cow::Borrowed(word);
    }
    let mut keyword: String = word
        .chars()
        .take(MAX_KEYWORD)
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .collect();
    keyword.truncate(keyword.trim_end_matches('-').len());
    if keyword.is_empty() {
        keyword.push('x');
    }
    Cow::Owned(keyword)
}

/// The longest beginning of `text` that has at most `limit` octets.
fn cut(text: &str, limit: usize) -> &str {
    let end = text.floor_char_boundary(limit);
    text.get(..end).unwrap_or_default()
}

/// Characters that end a line for some reader, or that no reader shows.
fn is_forbidden(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}')
}

/// RFC 2045 §5.1 `token`: printable ASCII without space and `tspecials`.
fn is_token(text: &str) -> bool {
    let fits = |b: u8| b.is_ascii_graphic() && !b"()<>@,;:\\\"/[]?=".contains(&b);
    !text.is_empty() && text.bytes().all(fits)
}

/// RFC 6376 §3.5 `domain-name`: two labels or more, U-labels as RFC 6531 allows them.
fn is_domain_name(text: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '-' || !c.is_ascii();
    let is_label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.chars().all(fits)
    };
    text.contains('.') && text.split('.').all(is_label)
}

/// RFC 5322 §3.2.3 `dot-atom-text`, with RFC 6532's characters.
fn is_dot_atom(text: &str) -> bool {
    let is_atom = |atom: &str| !atom.is_empty() && atom.bytes().all(super::cursor::is_atext);
    text.split('.').all(is_atom)
}

/// Octets of a value or comment: quoted and escaped, with its property, it still fits on one line
/// of 998 (RFC 5322 §2.1.1).
const MAX_TEXT: usize = 400;

const MAX_KEYWORD: usize = 63;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn spf(result: &'static str) -> MethodResult {
        MethodResult::new("spf", result)
    }

    fn field(results: Vec<MethodResult>) -> Field {
        Field {
            results,
            ..Field::new("mx.ours.example")
        }
    }

    fn written(result: MethodResult, expected: &str) {
        let field = field(vec![result]);
        let expected = format!("mx.ours.example; {expected}");
        assert_eq!(field.to_string(), expected);
        assert_eq!(Field::parse(expected.as_bytes()), Ok(field.normal_form()));
    }

    #[test]
    fn writes_each_value_in_its_form() {
        for (value, expected) in [
            ("x.example", "x.example"),
            ("@x.example", "@x.example"),
            ("a.b=c/d@x.example", "a.b=c/d@x.example"),
            ("\"a \\\" b\"@x.example", "\"a \\\" b\"@x.example"),
            ("j\u{fc}rgen@x.example", "j\u{fc}rgen@x.example"),
            ("192.0.2.1", "192.0.2.1"),
            ("2001:db8::1", "\"2001:db8::1\""),
            ("[192.0.2.1]", "\"[192.0.2.1]\""),
            ("abc/+1", "\"abc/+1\""),
            ("rsa-sha256", "rsa-sha256"),
            ("", "\"\""),
            ("a b", "\"a b\""),
            ("a;b(c)", "\"a;b(c)\""),
            ("a\"b\\c", "\"a\\\"b\\\\c\""),
            ("a@localhost", "\"a@localhost\""),
            ("a b@x.example", "\"a b@x.example\""),
            ("a@b@x.example", "\"a@b@x.example\""),
            ("\"a\"b\"@x.example", "\"\\\"a\\\"b\\\"@x.example\""),
            ("m\u{fc}ller", "\"m\u{fc}ller\""),
            ("a\r\nb: c\0\td\u{85}\u{2028}", "\"a??b: c??d??\""),
        ] {
            let expected = format!("spf=pass smtp.mailfrom={expected}");
            written(spf("pass").property("smtp", "mailfrom", value), &expected);
        }
    }

    #[test]
    fn writes_results_as_rules_read_them() {
        let dmarc = MethodResult::new("dmarc", "fail")
            .comment("p=quarantine dis=none")
            .property("header", "from", "example.com");
        written(
            dmarc,
            "dmarc=fail (p=quarantine dis=none) header.from=example.com",
        );
        let dkim = MethodResult {
            version: Some(1),
            ..MethodResult::new("dkim", "fail")
        };
        let dkim = dkim.comment("a").comment("b").reason("no; \"really\"");
        written(dkim, "dkim/1=fail (a) (b) reason=\"no; \\\"really\\\"\"");
        written(spf("x)\r\n").comment("\\(a);\"\n"), "spf=x (/[a],'?)");
        written(MethodResult::new("", "--"), "x=x");
        assert_eq!(field(vec![]).to_string(), "mx.ours.example; none");
        let versioned = Field {
            version: Some(1),
            ..Field::new("our gateway")
        };
        assert_eq!(versioned.to_string(), "\"our gateway\" 1; none");
    }

    #[test]
    fn folds_at_78_between_pieces() {
        let results = vec![
            spf("pass").property("smtp", "mailfrom", "client.example"),
            MethodResult::new("dmarc", "fail")
                .comment("p=reject dis=none")
                .property("header", "from", "a-rather-long-name.client.example")
                .property("policy", "dmarc", "reject"),
        ];
        assert_eq!(
            field(results).write(),
            " mx.ours.example;\n\tspf=pass smtp.mailfrom=client.example;\n\t\
             dmarc=fail (p=reject dis=none) header.from=a-rather-long-name.client.example\n\t\
             policy.dmarc=reject"
        );
        assert_eq!(field(vec![]).write(), " mx.ours.example; none");
        let long = "a".repeat(5000);
        let one = MethodResult::new("spf", long.clone());
        let one = one.reason(&long).comment(&long);
        let one = one.property(long.clone(), long, "\"".repeat(5000));
        let long = field(vec![one]);
        assert!(long.write().lines().all(|line| line.len() <= 998));
    }

    fn read(value: &str) -> String {
        match Field::parse(value.as_bytes()) {
            Ok(field) => field.to_string(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn reads_the_examples_of_the_rfc() {
        for (value, expected) in [
            // RFC 8601 B.2 to B.7, folds and odd places of comments included.
            (" example.org 1; none", "example.org 1; none"),
            (
                " example.com;\r\n          spf=pass smtp.mailfrom=example.net",
                "example.com; spf=pass smtp.mailfrom=example.net",
            ),
            (
                " example.com;\r\n  auth=pass (cram-md5) smtp.auth=sender@example.net",
                "example.com; auth=pass (cram-md5) smtp.auth=sender@example.net",
            ),
            (
                " example.com; dkim=pass reason=\"good signature\"\r\n   header.i=@mail-router.example.net;\
                 \r\n dkim=fail reason=\"bad signature\"\r\n header.i=@newyork.example.com",
                "example.com; dkim=pass reason=\"good signature\" header.i=@mail-router.example.net; \
                 dkim=fail reason=\"bad signature\" header.i=@newyork.example.com",
            ),
            (
                " foo.example.net (foobar) 1 (baz);\r\n   dkim (Because I like it) / 1 (One yay) = (wait for it) fail\
                 \r\n     policy (A dot can go here) . (like that) expired\r\n     (this surprised me) = (as I wasn't expecting it) 1362471462",
                "foo.example.net 1; dkim/1=fail (Because I like it) (One yay) (wait for it) (A dot can go here) \
                 (like that) (this surprised me) (as I wasn't expecting it) policy.expired=1362471462",
            ),
            // No space is wanted after a quoted string's [CFWS].
            ("a;b=c d.e=\"f\"g.h=i", "a; b=c d.e=f g.h=i"),
            (" \"a b\" (c); NONE (d)", "\"a b\"; none"),
            (
                " a; b=c d.e=\"f g\" (h)\r\n @ x.example",
                "neither a token, a quoted string nor an address (octet 12)",
            ),
            (
                " a; b=c d.e=\"f g\"@x.example",
                "a; b=c d.e=\"f g\"@x.example",
            ),
            (" a; none=c", "a; none=c"),
        ] {
            assert_eq!(read(value), expected, "{value:?}");
        }
    }

    #[test]
    fn refuses_what_is_no_field() {
        for (value, expected) in [
            ("", "neither a token nor a quoted string (octet 0)"),
            (" ;", "neither a token nor a quoted string (octet 1)"),
            (" a", "no semicolon behind the authserv-id (octet 2)"),
            (" a;", "no method (octet 3)"),
            (" a b; c=d", "no semicolon behind the authserv-id (octet 3)"),
            (" a 99999999999; none", "no version number (octet 3)"),
            (" a; none; b=c", "no = behind the method (octet 8)"),
            (" a; b=c;", "no method (octet 8)"),
            (" a; b", "no = behind the method (octet 5)"),
            (" a; b-=c", "no method (octet 6)"),
            (" a; b=", "no result (octet 6)"),
            (" a; b=c d=e", "a property without its type (octet 10)"),
            (
                " a; b=c reason=d reason=e",
                "a property without its type (octet 24)",
            ),
            (
                " a; b=c d.e=",
                "neither a token, a quoted string nor an address (octet 12)",
            ),
            (
                " a; b=c d.e=f/g",
                "neither a token, a quoted string nor an address (octet 12)",
            ),
            (
                " a; b=c d.e=f@g",
                "neither a token, a quoted string nor an address (octet 12)",
            ),
            (" a; b=c\"d\"", "no space before a property (octet 7)"),
            (" a; b=c (d", "a comment is not closed (octet 8)"),
            (" a; b=c\r\nd.e=f", "a line end that is no fold (octet 7)"),
            (" a; b=c\n d.e=f", "a bare LF (octet 7)"),
        ] {
            assert_eq!(read(value), expected, "{value:?}");
        }
        assert!(Field::parse(b" a; b=c d.e=\"\xff\"").is_err());
        assert!(Field::parse(format!(" a{}", "; b=c".repeat(1001)).as_bytes()).is_err());
    }

    fn any_text() -> impl Strategy<Value = String> {
        prop_oneof![
            any::<String>(),
            "[a-z\"\\\\();=@. \r\n\t\0]{0,12}",
            "(\"[ -~]{0,6}\"|[a-z.]{0,5})@[a-z]{1,3}\\.example",
            "[a-z0-9.-]{1,20}",
            ".{300,500}",
        ]
    }

    prop_compose! {
        fn any_result()(
            words in prop::array::uniform2(any_text()),
            version in any::<Option<u32>>(),
            comments in prop::collection::vec(any_text(), 0..3),
            reason in prop::option::of(any_text()),
            properties in prop::collection::vec(prop::array::uniform3(any_text()), 0..4),
        ) -> MethodResult {
            let [method, result] = words;
            let [method, result] = [method, result].map(Keyword::from);
            let property = |[ptype, property, value]: [String; 3]| Property {
                ptype: ptype.into(),
                property: property.into(),
                value,
            };
            let properties = properties.into_iter().map(property).collect();
            MethodResult { method, version, result, comments, reason, properties }
        }
    }

    prop_compose! {
        fn any_field()(
            authserv_id in any_text(),
            version in any::<Option<u32>>(),
            results in prop::collection::vec(any_result(), 0..4),
        ) -> Field {
            Field { authserv_id, version, results }
        }
    }

    proptest! {
        /// Whatever goes in, one header field comes out, and what it says is what went in.
        #[test]
        fn what_is_written_is_read_back(field in any_field()) {
            let value = crate::message::HeaderField::from_milter("A", field.write()).value;
            prop_assert_eq!(Field::parse(&value), Ok(field.normal_form()));
            prop_assert_eq!(Field::parse(field.to_string().as_bytes()), Ok(field.normal_form()));
            prop_assert_eq!(field.normal_form().normal_form(), field.normal_form());
        }

        #[test]
        fn what_is_written_is_one_header_field(field in any_field()) {
            let text = field.write();
            prop_assert!(text.starts_with(' '));
            prop_assert!(!text.replace("\n\t", "").contains(char::is_control));
            for line in text.split("\n\t") {
                prop_assert!(line.len() < 998 && !line.trim().is_empty());
            }
            prop_assert!(!field.to_string().contains(char::is_control));
        }

        #[test]
        fn reading_never_panics(value in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Field::parse(&value);
        }

        #[test]
        fn likely_text_never_panics(value in "[ab;=.\"\\\\()@/1 \r\n]{0,60}") {
            let _ = Field::parse(value.as_bytes());
        }
    }

    #[test]
    fn hostile_fields_take_linear_time() {
        const MIB: usize = 1 << 20;
        for piece in [
            "(",
            "()",
            "\"",
            "a;",
            "a=b ",
            ";a=b",
            " a.b=c",
            " a.b=\"c\"",
            "a.b=c ()",
        ] {
            for head in ["", "a; a=b "] {
                let value = head.to_owned() + &piece.repeat(MIB / piece.len());
                std::hint::black_box(Field::parse(value.as_bytes()).is_ok());
            }
        }
    }
}

//! The Author Domain: the domain in RFC5322.From, RFC 9989 §4.2 and §5.3.1.
//!
//! Owns the grammar of From: RFC 5322 §3.4 with §4.4's obsolete forms, groups as RFC 6854 allows them,
//! UTF-8 as RFC 6532 does. A display name, a comment, a quoted string and an encoded word are never
//! looked into for addresses. Strict, because what one reader takes for the author another does not
//! (CVE-2021-34555 and its kin): a field has an author only if every way to read it gives the same
//! domain. Four things outside the grammar have only one reading and are taken: a dot at the end of
//! the domain, dots at the front of a display name, an empty place in the list, and an address that
//! stands unquoted before an angle address in the very same domain.
//!
//! Pure. One pass without recursion, memory for ten domains: linear in the field.

use super::HeaderField;
use super::cursor::{Cursor, SyntaxError, is_atext};
use crate::domain::{DomainError, DomainName};

/// What the From field of a message yields. Only `One` can be evaluated under DMARC.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Author {
    /// One domain; several addresses in the same domain count as one.
    One(DomainName),
    /// No From field.
    Missing,
    /// More than one domain, in one field or several; each once, in order, at most 10 of them.
    Several(Vec<DomainName>),
    /// A From field that is not RFC 5322 or holds no domain, with what is wrong with it.
    /// The words are ours; nothing of the field is in them.
    Unparseable(String),
}

/// Reads every From field among `fields`.
///
/// Two fields are read like one with all their addresses: RFC 5322 §3.6 allows one only, but as long
/// as both name the same domain no reader is misled about it.
pub fn author(fields: &[HeaderField]) -> Author {
    let mut domains = Vec::new();
    let mut seen = false;
    for field in fields.iter().filter(|field| field.is("From")) {
        seen = true;
        let mut reader = Reader {
            cursor: Cursor::new(&field.value),
            domains: &mut domains,
            addresses: 0,
        };
        if let Err(error) = reader.field() {
            return Author::Unparseable(error.to_string());
        }
    }
    if !seen {
        return Author::Missing;
    }
    if domains.len() > 1 {
        return Author::Several(domains);
    }
    match domains.pop() {
        Some(domain) => Author::One(domain),
        None => Author::Unparseable(NO_ADDRESS.to_owned()),
    }
}

/// Reads one From field, adding the domains it holds to those already found.
struct Reader<'a, 'd> {
    cursor: Cursor<'a>,
    domains: &'d mut Vec<DomainName>,
    addresses: usize,
}

/// Whether a group may begin here; groups hold no groups (RFC 5322 §3.4).
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Field,
    Group,
}

/// Whether white space and comments may stand around the dots of a domain.
///
/// RFC 5322 §4.4 `obs-domain` allows them, and its example A.6.3 has `<jdoe@machine(comment).  example>`.
/// Without the brackets, `a@bank.example .evil.example` is one domain to one reader and another to the
/// next: refused there.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Dots {
    Tight,
    Loose,
}

impl Reader<'_, '_> {
    fn field(&mut self) -> Result<(), SyntaxError> {
        self.list(Place::Field)?;
        if self.addresses == 0 {
            return Err(self.cursor.error(NO_ADDRESS));
        }
        Ok(())
    }

    /// `address-list` up to the end of the field, or `group-list` up to its semicolon.
    fn list(&mut self, place: Place) -> Result<(), SyntaxError> {
        loop {
            self.cursor.skip_cfws()?;
            match (self.cursor.peek(), place) {
                (None, Place::Field) => return Ok(()),
                (None, Place::Group) => return Err(self.cursor.error("a group is not closed")),
                // RFC 5322 §4.4 obs-addr-list and obs-group-list: places in the list may be empty.
                (Some(b','), _) => {
                    self.cursor.step();
                    continue;
                }
                (Some(b';'), Place::Group) => {
                    self.cursor.step();
                    return Ok(());
                }
                (Some(_), _) => self.address(place)?,
            }
            self.cursor.skip_cfws()?;
            match (self.cursor.peek(), place) {
                (None | Some(b','), _) | (Some(b';'), Place::Group) => {}
                (Some(_), _) => return Err(self.cursor.error("something follows an address")),
            }
        }
    }

    /// One `address`: a bare one, one in angle brackets, or a group.
    fn address(&mut self, place: Place) -> Result<(), SyntaxError> {
        let front = self.words()?;
        match self.cursor.peek() {
            Some(b'@') => self.bare_address(front),
            Some(b'<') => {
                let domain = self.angle_address()?;
                self.found(domain);
                Ok(())
            }
            Some(b':') if place == Place::Group => Err(self.cursor.error("a group within a group")),
            Some(b':') if front.words == 0 => Err(self.cursor.error("a group without a name")),
            Some(b':') => {
                self.cursor.step();
                // Not recursive beyond this: within the group, `Place::Group` refuses the next one.
                self.list(Place::Group)
            }
            _ if front.words == 0 => Err(self.cursor.error("not the beginning of an address")),
            None | Some(b',' | b';') => Err(self.cursor.error("an address without a domain")),
            Some(_) => Err(self.cursor.error("a character that must be quoted")),
        }
    }

    /// `addr-spec` outside brackets; the cursor is at its `@`.
    fn bare_address(&mut self, front: Words) -> Result<(), SyntaxError> {
        if !front.is_local_part {
            return Err(self.cursor.error("no local part before the @"));
        }
        let domain = self.domain(Dots::Tight)?;
        self.cursor.skip_cfws()?;
        // `a@x.example <b@x.example>`: an unquoted address as display name. Whichever of the two a
        // reader takes, the domain is the same, or else there are two readings.
        if self.cursor.peek() == Some(b'<') {
            let at = self
                .cursor
                .error("an unquoted address in another domain before this one");
            if self.angle_address()? != domain {
                return Err(at);
            }
        }
        self.found(domain);
        Ok(())
    }

    /// `angle-addr` and `obs-angle-addr`; the cursor is at its `<`.
    fn angle_address(&mut self) -> Result<DomainName, SyntaxError> {
        self.cursor.step();
        self.cursor.skip_cfws()?;
        if matches!(self.cursor.peek(), Some(b'@' | b',')) {
            self.route()?;
        }
        let local = self.words()?;
        match self.cursor.peek() {
            Some(b'@') if local.is_local_part => {}
            Some(b'@') => return Err(self.cursor.error("no local part before the @")),
            Some(b'>') => return Err(self.cursor.error("an address without a domain")),
            _ => return Err(self.cursor.error("no address in the angle brackets")),
        }
        let domain = self.domain(Dots::Loose)?;
        self.cursor.skip_cfws()?;
        self.cursor.expect(b'>', "an angle bracket is not closed")?;
        Ok(domain)
    }

    /// RFC 5322 §4.4: "the route portion ... SHOULD be ignored".
    /// `obs-route = obs-domain-list ":"`, `obs-domain-list = *(CFWS / ",") "@" domain *("," [CFWS] ["@" domain])`
    fn route(&mut self) -> Result<(), SyntaxError> {
        let mut apart = true;
        loop {
            self.cursor.skip_cfws()?;
            match self.cursor.peek() {
                Some(b',') => {
                    self.cursor.step();
                    apart = true;
                }
                Some(b'@') if apart => {
                    self.domain(Dots::Loose)?;
                    apart = false;
                }
                Some(b':') => {
                    self.cursor.step();
                    self.cursor.skip_cfws()?;
                    return Ok(());
                }
                _ => return Err(self.cursor.error("a route without its colon")),
            }
        }
    }

    /// Words and dots with CFWS between them: a local part or a display name; what follows tells which.
    fn words(&mut self) -> Result<Words, SyntaxError> {
        let mut found = Words {
            words: 0,
            is_local_part: false,
        };
        // RFC 5322 §4.4: "obs-local-part = word *("." word)".
        let mut expecting_word = true;
        let mut broken = false;
        loop {
            self.cursor.skip_cfws()?;
            match self.cursor.peek() {
                Some(b'"') => {
                    self.cursor.quoted_string()?;
                }
                Some(b'.') => {
                    self.cursor.step();
                    broken |= expecting_word;
                    expecting_word = true;
                    continue;
                }
                Some(octet) if is_atext(octet) => {
                    self.cursor.take_while(is_atext);
                }
                _ => break,
            }
            found.words = found.words.saturating_add(1);
            broken |= !expecting_word;
            expecting_word = false;
        }
        found.is_local_part = !broken && !expecting_word;
        Ok(found)
    }

    /// `"@" domain`; the cursor is at the `@`.
    fn domain(&mut self, dots: Dots) -> Result<DomainName, SyntaxError> {
        self.cursor.step();
        self.cursor.skip_cfws()?;
        let start = self.cursor.clone();
        if start.peek() == Some(b'[') {
            return Err(start.error("an address literal, which is no domain"));
        }
        let mut text = Vec::new();
        loop {
            let atom = self
                .cursor
                .take_while(|octet| is_atext(octet) || octet == b'.');
            if text.len().saturating_add(atom.len()) > MAX_DOMAIN {
                return Err(start.error("a domain of more than 253 octets"));
            }
            text.extend_from_slice(atom);
            let mut ahead = self.cursor.clone();
            let loose = ahead.skip_cfws()?;
            let continues = match ahead.peek() {
                Some(b'.') => true,
                Some(octet) => is_atext(octet) && text.ends_with(b"."),
                None => false,
            };
            if !loose || !continues {
                break;
            }
            if dots == Dots::Tight {
                return Err(self.cursor.error("a space or comment inside the domain"));
            }
            self.cursor = ahead;
        }
        let text =
            std::str::from_utf8(&text).map_err(|_| start.error("a domain that is not UTF-8"))?;
        DomainName::parse(text).map_err(|error| start.error(words_for(error)))
    }

    fn found(&mut self, domain: DomainName) {
        self.addresses = self.addresses.saturating_add(1);
        if self.domains.len() < MAX_DOMAINS && !self.domains.contains(&domain) {
            self.domains.push(domain);
        }
    }
}

/// What `Reader::words` passed over.
#[derive(Clone, Copy)]
struct Words {
    words: usize,
    is_local_part: bool,
}

fn words_for(error: DomainError) -> &'static str {
    match error {
        DomainError::Empty => "an address without a domain",
        DomainError::EmptyLabel => "a domain with an empty label",
        DomainError::LabelTooLong => "a domain with a label of more than 63 octets",
        DomainError::TooLong => "a domain of more than 253 octets",
        DomainError::BadCharacter => "a domain with a character that no domain has",
    }
}

const NO_ADDRESS: &str = "a From field without an address";

/// Domains kept in `Author::Several`; RFC 9989 §11.5 asks for such a limit.
const MAX_DOMAINS: usize = 10;

/// Octets of a domain as written. 253 octets of A-labels are never more than this as U-labels.
const MAX_DOMAIN: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn from(values: &[&[u8]]) -> Author {
        let fields: Vec<_> = values
            .iter()
            .map(|value| HeaderField::new("From", value))
            .collect();
        author(&fields)
    }

    fn said(author: &Author) -> String {
        match author {
            Author::One(domain) => domain.to_string(),
            Author::Missing => "missing".to_owned(),
            Author::Several(domains) => {
                let names: Vec<_> = domains.iter().map(DomainName::as_str).collect();
                format!("several {}", names.join(" "))
            }
            Author::Unparseable(why) => why.clone(),
        }
    }

    fn check(value: impl AsRef<[u8]>, expected: &str) {
        let value = value.as_ref();
        let got = said(&from(&[value]));
        assert_eq!(got, expected, "{:?}", String::from_utf8_lossy(value));
    }

    #[test]
    fn one_author() {
        for value in [
            " a@x.example",
            "a@x.example",
            " A <a@X.EXAMPLE>",
            " <a@x.example>",
            " \"A, B\" <a@x.example>",
            " A B. C <a@x.example> (D)",
            " .A <a@x.example>",
            " (\"b@y.example\") a@x.example (b@y.example (<c@z.example>))",
            " \"b@y.example\" <a@x.example>",
            " \"b@y.example,\" <a@x.example>",
            " \"\\\"<b@y.example>\" <a@x.example>",
            " =?utf-8?q?b=40y=2Eexample?= <a@x.example>",
            " =?utf-8?B?PGJAeS5leGFtcGxlPg==?= <a@x.example>",
            " =?utf-8?q?a?=@x.example",
            " \"b@y.example\"@x.example",
            " \"<b@y.example> \\\"\"@x.example",
            " a . \"b c\" (d) @ (e) x.example",
            "\r\n a\r\n\t@\r\n x.example\r\n ",
            // RFC 5322 A.6.1 and A.6.3: routes, and comments inside a domain.
            " <@y.example,@z.example:a@x.example>",
            " <,@y.example , , @z.example : a@x.example>",
            " John Doe <jdoe@x(comment).  example>",
            // Groups, RFC 6854.
            " G: a@x.example, <b@x.example>;",
            " G:a@x.example;",
            " Undisclosed:;, a@x.example",
            " \"b@y.example\":a@x.example; (c)",
            // Empty places in the list, a dot at the end, several addresses in one domain.
            " ,, a@x.example, ,",
            " a@x.example.",
            " <a@x.example.>, b@X.example, C <\"d\"@x.example>",
            " a@x.example <a@x.example>",
            " a@x.example (c) <b@X.example.>",
            " J\u{fc}rgen <j\u{fc}rgen@x.example>",
            " =?iso-8859-1?q?a?= \"b\"c <a+b=c@x.example>",
        ] {
            check(value, "x.example");
        }
        check(b" J\xfcrgen <j\xfcrgen@x.example>", "x.example");
        check(b" \"\x01\x7f\" (\x02) <a@x.example>", "x.example");
        check(" a@b\u{fc}cher.example", "xn--bcher-kva.example");
        check(" a@B\u{dc}CHER\u{3002}example", "xn--bcher-kva.example");
        check(" a@xn--bcher-kva.example", "xn--bcher-kva.example");
        check(" a@localhost", "localhost");
        check(" a@_x.example", "_x.example");
    }

    #[test]
    fn several_authors() {
        for (value, expected) in [
            (" a@x.example, b@y.example", "several x.example y.example"),
            (
                " A <a@x.example>,B <b@y.example>,c@x.example",
                "several x.example y.example",
            ),
            (
                " G: a@x.example;, b@y.example",
                "several x.example y.example",
            ),
            (
                " G: a@x.example, b@mail.x.example;",
                "several x.example mail.x.example",
            ),
        ] {
            check(value, expected);
        }
        let many: Vec<_> = (0..10_000).map(|n| format!("a@x{n}.example")).collect();
        let Author::Several(domains) = from(&[many.join(", ").as_bytes()]) else {
            panic!("10,000 domains are several")
        };
        assert_eq!(domains.len(), MAX_DOMAINS);
        assert_eq!(domains.last().map(DomainName::as_str), Some("x9.example"));
    }

    #[test]
    fn fields_that_are_none_or_two() {
        assert_eq!(author(&[]), Author::Missing);
        let others = [
            HeaderField::new("Sender", " a@x.example"),
            HeaderField::new("Resent-From", " a@x.example"),
        ];
        assert_eq!(author(&others), Author::Missing);
        let any_case = [HeaderField::new("fROM", " a@x.example")];
        assert_eq!(said(&author(&any_case)), "x.example");
        for (fields, expected) in [
            ([" a@x.example", " b@x.example"], "x.example"),
            (
                [" a@x.example", " b@y.example"],
                "several x.example y.example",
            ),
            (
                [" a@x.example", " "],
                "a From field without an address (octet 1)",
            ),
            (
                [" a", " a@x.example"],
                "an address without a domain (octet 2)",
            ),
        ] {
            assert_eq!(said(&from(&fields.map(str::as_bytes))), expected);
        }
    }

    #[test]
    fn unparseable() {
        for (value, expected) in [
            ("", "a From field without an address (octet 0)"),
            (
                " (a@x.example)",
                "a From field without an address (octet 14)",
            ),
            (
                " undisclosed:;",
                "a From field without an address (octet 14)",
            ),
            (" root", "an address without a domain (octet 5)"),
            (" \"a@x.example\"", "an address without a domain (octet 14)"),
            (" <>", "an address without a domain (octet 2)"),
            (" A <root>", "an address without a domain (octet 8)"),
            (" a@", "an address without a domain (octet 3)"),
            (" a@.", "an address without a domain (octet 3)"),
            (" <a@>", "an address without a domain (octet 4)"),
            (" @x.example", "no local part before the @ (octet 1)"),
            (" <@x.example>", "a route without its colon (octet 12)"),
            (
                " <@y.example@z.example:a@x.example>",
                "a route without its colon (octet 12)",
            ),
            (" <@y.example:>", "an address without a domain (octet 13)"),
            (" A a@x.example", "no local part before the @ (octet 4)"),
            (" .a@x.example", "no local part before the @ (octet 3)"),
            (" a.@x.example", "no local part before the @ (octet 3)"),
            (" a..b@x.example", "no local part before the @ (octet 5)"),
            // Two addresses where one is expected: each reader takes another.
            (
                " a@good.example <b@evil.example>",
                "an unquoted address in another domain before this one (octet 16)",
            ),
            (
                " a@good.example, <b@evil.example> c",
                "something follows an address (octet 34)",
            ),
            (
                " <a@good.example> <b@evil.example>",
                "something follows an address (octet 18)",
            ),
            (
                " a@good.example b@evil.example",
                "something follows an address (octet 16)",
            ),
            (
                " a@good.example@evil.example",
                "something follows an address (octet 15)",
            ),
            (
                " <a@good.example,b@evil.example>",
                "an angle bracket is not closed (octet 16)",
            ),
            (
                " a@good.example; b@evil.example",
                "something follows an address (octet 15)",
            ),
            (
                " <<a@good.example>>",
                "no address in the angle brackets (octet 2)",
            ),
            (
                " a@good.example .evil.example",
                "a space or comment inside the domain (octet 15)",
            ),
            (
                " a@good.example(c).evil.example",
                "a space or comment inside the domain (octet 15)",
            ),
            (
                " a@good.example.\r\n evil.example",
                "a space or comment inside the domain (octet 16)",
            ),
            (
                " A <a@x.example",
                "an angle bracket is not closed (octet 15)",
            ),
            (
                " \"A <a@x.example>",
                "a quoted string is not closed (octet 1)",
            ),
            (" (A <a@x.example>", "a comment is not closed (octet 1)"),
            (
                " A) <a@x.example>",
                "a character that must be quoted (octet 2)",
            ),
            (
                " [A] <a@x.example>",
                "not the beginning of an address (octet 1)",
            ),
            (
                " A [B] <a@x.example>",
                "a character that must be quoted (octet 3)",
            ),
            (
                " A\\B <a@x.example>",
                "a character that must be quoted (octet 2)",
            ),
            (" A: <a@x.example>", "a group is not closed (octet 17)"),
            (" :a@x.example;", "a group without a name (octet 1)"),
            (" A: B: a@x.example;;", "a group within a group (octet 5)"),
            (" a@x.example;", "something follows an address (octet 12)"),
            (
                " a@[192.0.2.1]",
                "an address literal, which is no domain (octet 3)",
            ),
            (
                " a@[IPv6:2001:db8::1], b@x.example",
                "an address literal, which is no domain (octet 3)",
            ),
            (" a@x..example", "a domain with an empty label (octet 3)"),
            (" a@x.example..", "a domain with an empty label (octet 3)"),
            (
                " a@=?utf-8?q?x=2Eexample?=",
                "a domain with a character that no domain has (octet 3)",
            ),
            (
                " a@x\u{ff20}y.example",
                "a domain with a character that no domain has (octet 3)",
            ),
            (" a@x.example\0", "a NUL (octet 12)"),
            (" a@x.example\0.evil.example", "a NUL (octet 12)"),
            (" a\0b@x.example", "a NUL (octet 2)"),
            (" a@x.example\rb", "a bare CR (octet 12)"),
            (" a@x.example\n b@y.example", "a bare LF (octet 12)"),
            (
                " a@x.example\r\nFrom: b@y.example",
                "a line end that is no fold (octet 12)",
            ),
            (
                " a@x.example\u{1}",
                "something follows an address (octet 12)",
            ),
        ] {
            check(value, expected);
        }
        check(b" a@x\xff.example", "a domain that is not UTF-8 (octet 3)");
        let long = "x.".repeat(200) + "example";
        let why = "a domain of more than 253 octets (octet 3)";
        check(format!(" a@{long}"), why);
        check(format!(" a@{}", long.repeat(1000)), why);
    }

    /// Each is one MiB; quadratic work on any of them would take minutes.
    #[test]
    fn hostile_fields_take_linear_time() {
        const MIB: usize = 1 << 20;
        for (piece, tail) in [
            ("(", ""),
            ("(", ")"),
            ("()", "a@x.example"),
            ("\"", ""),
            ("\\", ""),
            (",", "a@x.example"),
            ("a:;,", "a@x.example"),
            ("a:", ""),
            ("<", ""),
            ("a@x.example,", ""),
            ("@a,", ":"),
            ("a.", "b@x.example"),
            ("a@x (", ""),
            ("<a@x (),", ">"),
            ("\r\n ", "a@x.example"),
            ("=?utf-8?q?a?= ", "<a@x.example>"),
        ] {
            let value = piece.repeat(MIB / piece.len()) + tail;
            std::hint::black_box(from(&[value.as_bytes()]));
        }
        let loose = format!("<a@{}example>", "x . ".repeat(MIB / 4));
        check(loose, "a domain of more than 253 octets (octet 3)");
    }

    proptest! {
        #[test]
        fn never_panics(octets in prop::collection::vec(any::<u8>(), 0..400)) {
            from(&[&octets]);
        }

        #[test]
        fn never_panics_on_likely_text(text in "[ab.@<>(),:;\"\\\\\\[\\] \r\n\t]{0,60}") {
            from(&[text.as_bytes()]);
        }

        /// Whatever the display name and comment hold, quoted they don't touch the author.
        #[test]
        fn display_names_are_never_read(name in "[^\0\r\n\"\\\\]{0,40}", comment in "[^\0\r\n()\\\\]{0,40}") {
            let value = format!(" \"{name}\" ({comment}) <a@x.example>");
            prop_assert_eq!(said(&from(&[value.as_bytes()])), "x.example");
        }
    }
}

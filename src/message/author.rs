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

//! The grammar of SPF macros, RFC 7208 §7.1: macro-strings, domain-specs and explain-strings.
//!
//! Pure. Reading checks everything; what the macros expand to is `expand`'s.

/// `macro-string`, read and checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MacroString {
    pub(super) segments: Vec<Segment>,
}

/// `domain-spec`: a macro-string that ends in a top-level label or a macro.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DomainSpec(pub(super) MacroString);

/// `explain-string`: a macro-string with spaces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExplainString(pub(super) MacroString);

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Segment {
    Literal(String),
    /// `%%`, `%_` or `%-`, already expanded.
    Escape(&'static str),
    Expand(MacroExpand),
}

/// `%{letter transformers delimiters}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct MacroExpand {
    pub(super) letter: MacroLetter,
    pub(super) url_escaped: bool,
    /// How many right-hand parts to use; `None` for all.
    pub(super) parts: Option<usize>,
    pub(super) reversed: bool,
    pub(super) delimiters: String,
}

/// What a macro stands for, RFC 7208 §7.2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MacroLetter {
    Sender,
    LocalPart,
    SenderDomain,
    Domain,
    Address,
    ValidatedName,
    AddressFamily,
    Helo,
    /// Only in explanations.
    ReadableAddress,
    /// Only in explanations.
    Receiver,
    /// Only in explanations.
    Timestamp,
}

/// Why a text is no macro-string or domain-spec. The domain owner is to blame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MacroError {
    BadCharacter,
    BadPercent,
    Unclosed,
    BadLetter,
    ZeroParts,
    BadTransformer,
    ExplanationOnly,
    Empty,
    NoTopLevelLabel,
}

impl DomainSpec {
    /// Reads `domain-spec`. `%{c}`, `%{r}` and `%{t}` are refused: RFC 7208 §7.2, "The following
    /// macro letters are allowed only in "exp" text".
    pub fn parse(text: &str) -> Result<Self, MacroError> {
        let string = MacroString::parse(text)?;
        if string.letters().any(MacroLetter::is_explanation_only) {
            return Err(MacroError::ExplanationOnly);
        }
        match string.segments.last() {
            None => Err(MacroError::Empty),
            Some(Segment::Escape(_) | Segment::Expand(_)) => Ok(Self(string)),
            Some(Segment::Literal(end)) if ends_in_top_level_label(end) => Ok(Self(string)),
            Some(Segment::Literal(_)) => Err(MacroError::NoTopLevelLabel),
        }
    }

    pub fn uses(&self, letter: MacroLetter) -> bool {
        self.0.letters().any(|used| used == letter)
    }
}

impl ExplainString {
    /// Reads what an `exp` record holds.
    pub fn parse(text: &[u8]) -> Result<Self, MacroError> {
        let text = std::str::from_utf8(text).map_err(|_| MacroError::BadCharacter)?;
        read(text, |c| c == ' ' || c.is_ascii_graphic()).map(Self)
    }

    pub fn uses(&self, letter: MacroLetter) -> bool {
        self.0.letters().any(|used| used == letter)
    }
}

impl MacroString {
    /// Reads `macro-string`.
    pub fn parse(text: &str) -> Result<Self, MacroError> {
        read(text, |c| c.is_ascii_graphic())
    }

    fn letters(&self) -> impl Iterator<Item = MacroLetter> {
        self.segments.iter().filter_map(|segment| match segment {
            Segment::Expand(expand) => Some(expand.letter),
            Segment::Literal(_) | Segment::Escape(_) => None,
        })
    }
}

impl MacroLetter {
    fn read(letter: char) -> Option<Self> {
        Some(match letter.to_ascii_lowercase() {
            's' => Self::Sender,
            'l' => Self::LocalPart,
            'o' => Self::SenderDomain,
            'd' => Self::Domain,
            'i' => Self::Address,
            'p' => Self::ValidatedName,
            'v' => Self::AddressFamily,
            'h' => Self::Helo,
            'c' => Self::ReadableAddress,
            'r' => Self::Receiver,
            't' => Self::Timestamp,
            _ => return None,
        })
    }

    fn is_explanation_only(self) -> bool {
        matches!(
            self,
            Self::ReadableAddress | Self::Receiver | Self::Timestamp
        )
    }
}

fn read(text: &str, is_literal: impl Fn(char) -> bool) -> Result<MacroString, MacroError> {
    let mut segments = Vec::new();
    let mut rest = text;
    while let Some(percent) = rest.find('%') {
        let (literal, from_percent) = rest.split_at(percent);
        push_literal(&mut segments, literal, &is_literal)?;
        let (segment, after) = read_expand(from_percent)?;
        segments.push(segment);
        rest = after;
    }
    push_literal(&mut segments, rest, &is_literal)?;
    Ok(MacroString { segments })
}

fn push_literal(
    segments: &mut Vec<Segment>,
    text: &str,
    is_literal: impl Fn(char) -> bool,
) -> Result<(), MacroError> {
    if !text.chars().all(is_literal) {
        return Err(MacroError::BadCharacter);
    }
    if !text.is_empty() {
        segments.push(Segment::Literal(text.to_owned()));
    }
    Ok(())
}

/// Reads `macro-expand` at the start of `text`, and what follows it.
fn read_expand(text: &str) -> Result<(Segment, &str), MacroError> {
    for (written, meant) in [("%%", "%"), ("%_", " "), ("%-", "%20")] {
        if let Some(after) = text.strip_prefix(written) {
            return Ok((Segment::Escape(meant), after));
        }
    }
    // RFC 7208 §7.3: "A '%' character not followed by a '{', '%', '-', or '_' character is a syntax
    // error."
    let inner = text.strip_prefix("%{").ok_or(MacroError::BadPercent)?;
    let (inner, after) = inner.split_once('}').ok_or(MacroError::Unclosed)?;
    let mut chars = inner.chars();
    let written = chars.next().ok_or(MacroError::BadLetter)?;
    let letter = MacroLetter::read(written).ok_or(MacroError::BadLetter)?;
    let rest = chars.as_str();
    let digits = rest
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(rest.len());
    let (digits, rest) = rest.split_at(digits);
    let unreversed = rest.strip_prefix(['r', 'R']);
    let delimiters = unreversed.unwrap_or(rest);
    if !delimiters.chars().all(|c| ".-+,/_=".contains(c)) {
        return Err(MacroError::BadTransformer);
    }
    let expand = MacroExpand {
        letter,
        url_escaped: written.is_ascii_uppercase(),
        parts: read_parts(digits)?,
        reversed: unreversed.is_some(),
        delimiters: delimiters.to_owned(),
    };
    Ok((Segment::Expand(expand), after))
}

fn read_parts(digits: &str) -> Result<Option<usize>, MacroError> {
    if digits.is_empty() {
        return Ok(None);
    }
    // RFC 7208 §7.3: "If a DIGIT is specified, the value MUST be nonzero." One too large to count
    // is more than any name has parts.
    match digits.parse().unwrap_or(usize::MAX) {
        0 => Err(MacroError::ZeroParts),
        parts => Ok(Some(parts)),
    }
}

/// `"." toplabel [ "." ]` at the end of `literal`.
fn ends_in_top_level_label(literal: &str) -> bool {
    let literal = literal.strip_suffix('.').unwrap_or(literal);
    literal
        .rsplit_once('.')
        .is_some_and(|(_, label)| is_top_level_label(label))
}

/// RFC 7208 §7.1: `toplabel`, letters, digits and inner hyphens, but not digits alone.
fn is_top_level_label(label: &str) -> bool {
    !label.starts_with('-')
        && !label.ends_with('-')
        && label
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-')
        && label.bytes().any(|b| !b.is_ascii_digit())
}

impl std::fmt::Display for MacroError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::BadCharacter => "it has a character that is not allowed",
            Self::BadPercent => "a % must be followed by {, %, _ or -",
            Self::Unclosed => "a macro has no closing brace",
            Self::BadLetter => "it has a macro letter that does not exist",
            Self::ZeroParts => "a macro asks for zero parts",
            Self::BadTransformer => "a macro has an unknown transformer or delimiter",
            Self::ExplanationOnly => "the macros c, r and t are allowed only in explanations",
            Self::Empty => "the domain is empty",
            Self::NoTopLevelLabel => "the domain does not end in a top-level label",
        })
    }
}

impl std::error::Error for MacroError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_domain_specs_to_the_letter() {
        use MacroError::*;
        for (text, expected) in [
            ("example.com", None),
            ("example.com.", None),
            (".com", None),
            ("a.b/c:d.xn--zckzah", None),
            ("%{d}", None),
            ("x%%", None),
            ("%{d}.example", None),
            ("a.1-2", None),
            ("", Some(Empty)),
            ("museum", Some(NoTopLevelLabel)),
            ("museum.", Some(NoTopLevelLabel)),
            ("example..", Some(NoTopLevelLabel)),
            ("abc.123", Some(NoTopLevelLabel)),
            ("example.-com", Some(NoTopLevelLabel)),
            ("example.com-", Some(NoTopLevelLabel)),
            ("example.com:8080", Some(NoTopLevelLabel)),
            ("%{d}com", Some(NoTopLevelLabel)),
            ("%(d).com", Some(BadPercent)),
            ("x.com%", Some(BadPercent)),
            ("%{d", Some(Unclosed)),
            ("%{}", Some(BadLetter)),
            ("%{x}", Some(BadLetter)),
            ("%{d0}", Some(ZeroParts)),
            ("%{drr}", Some(BadTransformer)),
            ("%{d2!}", Some(BadTransformer)),
            ("%{r}.example.com", Some(ExplanationOnly)),
            ("%{T}", Some(ExplanationOnly)),
            ("a b.com", Some(BadCharacter)),
            ("bücher.example", Some(BadCharacter)),
            ("a.com\0", Some(BadCharacter)),
        ] {
            assert_eq!(DomainSpec::parse(text).err(), expected, "{text}");
        }
    }
}

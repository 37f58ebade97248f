//! What is written in a settings file: sections and keys with the place where each stands.
//!
//! Owns the walk over the TOML document, and the words for what is wrong in it: every complaint has
//! its line and column, all of them are collected, and an unknown name is answered with the one that
//! was probably meant. What a value means is read in `value`; which keys there are, in `mod`.
//! Opens no file.

use super::value::{Fault, Value};
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use toml::de::DeTable;

/// Something wrong in a settings file, with where it stands. The operator must act.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    pub message: String,
}

/// The lines of the settings that are written in a file; the others have their defaults.
pub type Lines = BTreeMap<(&'static str, &'static str), usize>;

/// A settings file while it is read, section by section.
pub struct Reader<'a> {
    text: &'a str,
    table: DeTable<'a>,
    known: Vec<(&'static str, &'static str)>,
    /// The names of what may stand several times, `[[name]]`.
    lists: Vec<&'static str>,
    /// As `known`, of entries.
    entry_keys: Vec<(&'static str, &'static str)>,
    unknown: Vec<(&'static str, String, Range<usize>)>,
    lines: Lines,
    problems: Vec<Problem>,
}

/// One section, or one entry of a list, while it is read, key by key.
pub struct Section<'r, 'a> {
    reader: &'r mut Reader<'a>,
    name: &'static str,
    table: DeTable<'a>,
    kind: Kind,
    /// How much was wrong before it was begun.
    wrong_before: usize,
}

enum Kind {
    Section,
    /// With where it begins.
    Entry(Range<usize>),
}

impl<'a> Reader<'a> {
    /// Parses the TOML; its syntax errors become problems, and what could be read is kept.
    pub fn new(text: &'a str) -> Self {
        let (table, errors) = DeTable::parse_recoverable(text);
        let mut reader = Self {
            text,
            table: table.into_inner(),
            known: Vec::new(),
            lists: Vec::new(),
            entry_keys: Vec::new(),
            unknown: Vec::new(),
            lines: Lines::new(),
            problems: Vec::new(),
        };
        for error in errors {
            let span = error.span().unwrap_or(0..0);
            reader.complain(span, error.message().to_owned());
        }
        reader
    }

    /// Reads the section `name`, which may be absent, with `read`.
    pub fn section<T>(
        &mut self,
        name: &'static str,
        read: impl FnOnce(&mut Section<'_, 'a>) -> T,
    ) -> T {
        let table = match self.table.remove(name) {
            None => DeTable::new(),
            Some(found) => match found.get_ref().as_table() {
                Some(table) => table.clone(),
                None => {
                    let message = format!(
                        "`{name}` is a section: write [{name}] on a line of its own, its settings below"
                    );
                    self.complain(found.span(), message);
                    DeTable::new()
                }
            },
        };
        self.read(name, table, Kind::Section, read)
    }

    /// Reads each `[[name]]` with `read`, which leaves out what is no entry; with the line it begins in.
    pub fn entries<T>(
        &mut self,
        name: &'static str,
        read: impl Fn(&mut Section<'_, 'a>) -> Option<T>,
    ) -> Vec<(T, usize)> {
        self.lists.push(name);
        let Some(found) = self.table.remove(name) else {
            return Vec::new();
        };
        let Some(elements) = found.get_ref().as_array() else {
            self.complain_of_entry(found.span(), name);
            return Vec::new();
        };
        let mut entries = Vec::new();
        for element in elements.iter() {
            let span = element.span();
            let Some(table) = element.get_ref().as_table() else {
                self.complain_of_entry(span, name);
                continue;
            };
            let (line, _) = position(self.text, span.start);
            let entry = self.read(name, table.clone(), Kind::Entry(span), &read);
            entries.extend(entry.map(|entry| (entry, line)));
        }
        entries
    }

    fn read<T>(
        &mut self,
        name: &'static str,
        table: DeTable<'a>,
        kind: Kind,
        read: impl FnOnce(&mut Section<'_, 'a>) -> T,
    ) -> T {
        let wrong_before = self.wrong();
        let mut section = Section {
            reader: self,
            name,
            table,
            kind,
            wrong_before,
        };
        let read = read(&mut section);
        let Section { table, .. } = section;
        for (key, _) in table {
            let span = key.span();
            self.unknown
                .push((name, key.into_inner().into_owned(), span));
        }
        read
    }

    /// Names what is unknown and hands out what was found: the lines of the settings that are
    /// written, or all problems in the order of the file.
    pub fn finish(mut self) -> Result<Lines, Vec<Problem>> {
        for (section, key, span) in std::mem::take(&mut self.unknown) {
            let message = self.unknown_key(section, &key);
            self.complain(span, message);
        }
        for (name, _) in std::mem::take(&mut self.table) {
            let message = self.unknown_at_top(name.get_ref());
            self.complain(name.span(), message);
        }
        if self.problems.is_empty() {
            return Ok(self.lines);
        }
        // Of several at one place the first is the cause: a syntax error, if there is one.
        self.problems.sort_by_key(Problem::place);
        self.problems.dedup_by_key(|problem| problem.place());
        Err(self.problems)
    }

    /// Every (section, key) that was asked for, in order.
    pub fn known(&self) -> &[(&'static str, &'static str)] {
        &self.known
    }

    /// The same of the entries that were read.
    pub fn known_in_entries(&self) -> &[(&'static str, &'static str)] {
        &self.entry_keys
    }

    fn unknown_key(&self, section: &str, key: &str) -> String {
        let known = self.known.iter().chain(&self.entry_keys);
        let of_section = known.filter(|(s, _)| *s == section);
        let meant = nearest(key, of_section.map(|(_, key)| *key));
        let section = self.heading(section);
        if let Some(meant) = meant {
            return format!("unknown setting `{key}` in {section}; did you mean `{meant}`?");
        }
        if let Some((other, _)) = self.known.iter().find(|(_, known)| *known == key) {
            return format!("unknown setting `{key}` in {section}; it belongs into [{other}]");
        }
        match nearest_key(key, &self.known) {
            Some((other, meant)) => {
                format!(
                    "unknown setting `{key}` in {section}; did you mean `{meant}` in [{other}]?"
                )
            }
            None => format!("unknown setting `{key}` in {section}"),
        }
    }

    fn unknown_at_top(&self, name: &str) -> String {
        if let Some((section, _)) = self.known.iter().find(|(_, key)| *key == name) {
            return format!("`{name}` stands outside any section; it belongs into [{section}]");
        }
        let sections = self.known.iter().map(|(section, _)| *section);
        if let Some(meant) = nearest(name, sections.chain(self.lists.iter().copied())) {
            let meant = self.heading(meant);
            return format!("unknown section [{name}]; did you mean {meant}?");
        }
        match nearest_key(name, &self.known) {
            Some((section, key)) => {
                format!("unknown setting `{name}`; did you mean `{key}` in [{section}]?")
            }
            None => format!("unknown section [{name}]"),
        }
    }

    /// How it is written above its settings.
    fn heading(&self, section: &str) -> String {
        if self.lists.contains(&section) {
            format!("[[{section}]]")
        } else {
            format!("[{section}]")
        }
    }

    fn wrong(&self) -> usize {
        self.problems.len() + self.unknown.len()
    }

    fn complain_of_entry(&mut self, span: Range<usize>, name: &str) {
        let message = format!(
            "`{name}` may be there several times: write [[{name}]] on a line of its own above each, its \
             settings below"
        );
        self.complain(span, message);
    }

    fn complain(&mut self, span: Range<usize>, message: String) {
        let (line, column) = position(self.text, span.start);
        self.problems.push(Problem {
            line,
            column,
            message,
        });
    }
}

impl<'a> Section<'_, 'a> {
    /// The setting `key`, read by `read`; `default` when it is not written, or is wrong, which is
    /// then a problem.
    pub fn or<T>(
        &mut self,
        key: &'static str,
        default: T,
        read: impl FnOnce(Value<'_>) -> Result<T, Fault>,
    ) -> T {
        self.note(key);
        let Some((found_key, found)) = self.table.remove_entry(key) else {
            return default;
        };
        if matches!(self.kind, Kind::Section) {
            let (line, _) = position(self.reader.text, found_key.span().start);
            self.reader.lines.insert((self.name, key), line);
        }
        match read(Value::new(&found)) {
            Ok(value) => value,
            Err(fault) => {
                let message = format!("{}.{key}: {}", self.name, fault.message);
                self.reader.complain(fault.span, message);
                default
            }
        }
    }

    /// What must be there: `None` when it isn't, or is wrong, which is then a problem.
    pub fn required<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(Value<'_>) -> Result<T, Fault>,
    ) -> Option<T> {
        if !self.table.contains_key(key) {
            self.note(key);
            self.complain(format!("`{key}` is missing"));
            return None;
        }
        self.or(key, None, |v| read(v).map(Some))
    }

    /// The settings in braces under `key`, which may be absent. `name`: theirs, `section.key`.
    pub fn inner<T>(
        &mut self,
        key: &'static str,
        name: &'static str,
        read: impl FnOnce(&mut Section<'_, 'a>) -> T,
    ) -> T {
        self.note(key);
        let (table, span) = match self.table.remove(key) {
            None => (DeTable::new(), self.place()),
            Some(found) => {
                let table = found.get_ref().as_table().cloned();
                if table.is_none() {
                    let message = format!("{name}: write it in braces, {key} = {{ … }}");
                    self.reader.complain(found.span(), message);
                }
                (table.unwrap_or_default(), found.span())
            }
        };
        self.reader.read(name, table, Kind::Entry(span), read)
    }

    /// Whether nothing has been found wrong in it so far.
    pub fn is_faultless(&self) -> bool {
        self.reader.wrong() == self.wrong_before
    }

    /// Something is wrong with the whole of it.
    pub fn complain(&mut self, message: String) {
        let message = format!("{}: {message}", self.name);
        self.reader.complain(self.place(), message);
    }

    fn place(&self) -> Range<usize> {
        match &self.kind {
            Kind::Section => 0..0,
            Kind::Entry(span) => span.clone(),
        }
    }

    fn note(&mut self, key: &'static str) {
        let keys = match self.kind {
            Kind::Section => &mut self.reader.known,
            Kind::Entry(_) => &mut self.reader.entry_keys,
        };
        if !keys.contains(&(self.name, key)) {
            keys.push((self.name, key));
        }
    }
}

impl Problem {
    fn place(&self) -> (usize, usize) {
        (self.line, self.column)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.line, self.column, self.message)
    }
}

/// Line and column, both from 1, of an offset.
fn position(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    let line = before.matches('\n').count() + 1;
    let column = before.get(line_start..).unwrap_or("").chars().count() + 1;
    (line, column)
}

fn nearest_key(
    name: &str,
    known: &[(&'static str, &'static str)],
) -> Option<(&'static str, &'static str)> {
    let key = nearest(name, known.iter().map(|(_, key)| *key))?;
    known.iter().find(|(_, known)| *known == key).copied()
}

/// The candidate that `name` is most probably a slip of, if any is near enough: a third of its
/// letters may differ. Case, `_` and `-` don't count, so that other programs' `AuthservID` is known.
fn nearest<'c>(name: &str, candidates: impl Iterator<Item = &'c str>) -> Option<&'c str> {
    let plain = |text: &str| -> Vec<char> {
        let chars = text.chars().take(64).flat_map(char::to_lowercase);
        chars.filter(|c| !matches!(c, '_' | '-')).collect()
    };
    let name = plain(name);
    candidates
        .map(|candidate| (distance(&name, &plain(candidate)), candidate))
        .filter(|(distance, candidate)| *distance * 3 <= candidate.len())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Letters to insert, drop or change to get from `a` to `b` (Levenshtein's distance).
fn distance(a: &[char], b: &[char]) -> usize {
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (done, from) in a.iter().enumerate() {
        let mut left = done + 1;
        let mut row = vec![left];
        for (to, above) in b.iter().zip(last.windows(2)) {
            if let [diagonal, up] = above {
                let changed = diagonal + usize::from(from != to);
                left = changed.min(up + 1).min(left + 1);
                row.push(left);
            }
        }
        last = row;
    }
    last.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(text: &str) -> Vec<String> {
        let mut reader = Reader::new(text);
        reader.section("dns", |s| {
            s.or("timeout", 5, |v| v.integer(1..=60));
            s.or("cache_entries", 5, |v| v.integer(1..=60));
        });
        reader.section("milter", |s| s.or("idle_timeout", true, |v| v.boolean()));
        match reader.finish() {
            Ok(_) => Vec::new(),
            Err(problems) => problems.iter().map(Problem::to_string).collect(),
        }
    }

    #[test]
    fn every_problem_has_its_place_and_a_next_step() {
        for (text, expected) in [
            ("", ""),
            ("[dns]\ntimeout = 7\n", ""),
            (
                "[dns]\ntimeuot = 7\n",
                "2:1: unknown setting `timeuot` in [dns]; did you mean `timeout`?",
            ),
            (
                "[dns]\n  TimeOut = 7\n",
                "2:3: unknown setting `TimeOut` in [dns]; did you mean `timeout`?",
            ),
            (
                "[milter]\ncache_entries = 7\n",
                "2:1: unknown setting `cache_entries` in [milter]; it belongs into [dns]",
            ),
            (
                "[milter]\ncache_entrys = 7\n",
                "2:1: unknown setting `cache_entrys` in [milter]; did you mean `cache_entries` in [dns]?",
            ),
            ("[dns]\nfoo = 7\n", "2:1: unknown setting `foo` in [dns]"),
            (
                "timeout = 7\n",
                "1:1: `timeout` stands outside any section; it belongs into [dns]",
            ),
            (
                "[dnss]\n",
                "1:2: unknown section [dnss]; did you mean [dns]?",
            ),
            ("[frobnicate]\n", "1:2: unknown section [frobnicate]"),
            (
                "dns = 7\n",
                "1:7: `dns` is a section: write [dns] on a line of its own, its settings below",
            ),
            (
                "[dns]\ntimeout = \"ä\"; # umlaut\n",
                "2:14: unexpected key or value, expected newline, `#`",
            ),
            (
                "[dns]\ntimeout = 61\n",
                "2:11: dns.timeout: expected a whole number from 1 to 60, found 61",
            ),
        ] {
            let found = problems(text);
            if expected.is_empty() {
                assert_eq!(found, Vec::<String>::new(), "{text}");
            } else {
                assert!(found.iter().any(|p| p == expected), "{text}: {found:#?}");
            }
        }
    }

    #[test]
    fn all_problems_are_told_at_once_in_the_order_of_the_file() {
        let found = problems("[milter]\nidle_timeout = 3\nx = 1\n[dns]\ntimeout = true\n");
        assert_eq!(
            found,
            [
                "2:16: milter.idle_timeout: expected true or false, found 3",
                "3:1: unknown setting `x` in [milter]",
                "5:11: dns.timeout: expected a whole number from 1 to 60, found true",
            ]
        );
    }

    proptest::proptest! {
        /// Whatever stands in a file, there are settings or there are problems with places in it.
        #[test]
        fn any_text_is_read_or_complained_about(
            text in ".{0,200}",
            at in 0..4_000_usize,
            junk in "[\\[\\]=\"\n a-z.0-9#{}é]{0,12}",
        ) {
            let sample = crate::config::sample::SAMPLE.replace("#", "");
            let cut = sample.char_indices().map(|(at, _)| at).nth(at).unwrap_or(0);
            let (before, after) = sample.split_at(cut);
            for text in [text, format!("{before}{junk}{after}")] {
                if let Err(problems) = crate::config::Config::parse(&text, "mx.example.org") {
                    let lines = text.matches('\n').count() + 1;
                    proptest::prop_assert!(!problems.is_empty());
                    for problem in problems {
                        proptest::prop_assert!((1..=lines).contains(&problem.line), "{problem}");
                    }
                }
            }
        }
    }
}

//! What is written to standard output: listings as table, JSON or CSV, and pages for people.
//!
//! Owns colours (on a terminal only, `NO_COLOR` honoured), alignment, and the rule that nothing from
//! a message, from DNS or from a file reaches a terminal with control characters in it. A reader
//! that went away (`| head`) ends the output silently.

use super::Failure;
use serde_json::{Map, Value};
use std::io::{self, BufWriter, ErrorKind, IsTerminal, Write};

/// `--format`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Format {
    /// Aligned, for people
    #[default]
    Table,
    /// One object a line
    Json,
    /// With a heading, RFC 4180
    Csv,
}

/// How something is meant, shown as a colour where there are colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    Plain,
    Good,
    Doubtful,
    Bad,
    /// Less important.
    Quiet,
    /// A heading.
    Strong,
}

/// One field of a listing.
#[derive(Debug, Clone, PartialEq)]
pub struct Cell {
    pub value: Value,
    pub tone: Tone,
}

/// A listing: each column with its stable snake_case key.
#[derive(Debug, Clone, PartialEq)]
pub struct Listing {
    pub keys: Vec<&'static str>,
    pub rows: Vec<Vec<Cell>>,
}

/// Standard output.
pub struct Screen {
    out: BufWriter<io::Stdout>,
    colours: bool,
    closed: bool,
}

impl Cell {
    pub fn new(value: impl Into<Value>) -> Self {
        Self::toned(value, Tone::Plain)
    }

    pub fn toned(value: impl Into<Value>, tone: Tone) -> Self {
        let value = value.into();
        Self { value, tone }
    }

    /// As it stands in a table or in CSV: nothing for null.
    pub fn text(&self) -> String {
        match &self.value {
            Value::Null => String::new(),
            Value::String(text) => text.clone(),
            Value::Array(items) => {
                let items = items.iter().map(|v| Cell::new(v.clone()).text());
                items.collect::<Vec<_>>().join(" ")
            }
            Value::Bool(_) | Value::Number(_) | Value::Object(_) => self.value.to_string(),
        }
    }
}

impl Screen {
    pub fn new() -> Self {
        let stdout = io::stdout();
        // https://no-color.org: "when present and not an empty string".
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let colours = stdout.is_terminal() && !refused;
        Self {
            out: BufWriter::new(stdout),
            colours,
            closed: false,
        }
    }

    /// The text in its colour.
    pub fn tone(&self, text: &str, tone: Tone) -> String {
        match (self.colours, code(tone)) {
            (true, Some(code)) => format!("\x1b[{code}m{text}\x1b[0m"),
            _ => text.to_owned(),
        }
    }

    /// Writes a line.
    pub fn line(&mut self, line: &str) -> Result<(), Failure> {
        self.write(line.as_bytes())?;
        self.write(b"\n")
    }

    /// Writes one JSON object on a line.
    pub fn json(&mut self, object: &impl serde::Serialize) -> Result<(), Failure> {
        let text = serde_json::to_string(object)
            .map_err(|error| Failure::Internal(format!("cannot write JSON: {error}")))?;
        self.line(&text)
    }

    /// Writes a listing whole.
    pub fn listing(&mut self, listing: &Listing, format: Format) -> Result<(), Failure> {
        match format {
            Format::Table => self.table(listing),
            Format::Json => {
                for row in &listing.rows {
                    let keys = listing.keys.iter().map(|key| (*key).to_owned());
                    let values = row.iter().map(|cell| cell.value.clone());
                    let object: Map<String, Value> = keys.zip(values).collect();
                    self.line(&Value::Object(object).to_string())?;
                }
                Ok(())
            }
            Format::Csv => {
                self.csv_row(listing.keys.iter().map(|key| (*key).to_owned()))?;
                for row in &listing.rows {
                    self.csv_row(row.iter().map(Cell::text))?;
                }
                Ok(())
            }
        }
    }

    /// One line of CSV, RFC 4180 but for the line end, which is the system's.
    pub fn csv_row(&mut self, fields: impl Iterator<Item = String>) -> Result<(), Failure> {
        let fields: Vec<String> = fields.map(|field| csv_field(&field)).collect();
        self.line(&fields.join(","))
    }

    fn table(&mut self, listing: &Listing) -> Result<(), Failure> {
        let headings: Vec<String> = listing.keys.iter().map(|key| heading(key)).collect();
        let rows: Vec<Vec<String>> = listing
            .rows
            .iter()
            .map(|row| row.iter().map(|cell| printable(&cell.text())).collect())
            .collect();
        let mut widths: Vec<usize> = headings.iter().map(|h| width(h)).collect();
        for row in &rows {
            for (most, text) in widths.iter_mut().zip(row) {
                *most = (*most).max(width(text));
            }
        }
        let strong = headings.iter().map(|h| (h.as_str(), Tone::Strong, false));
        self.table_row(strong, &widths)?;
        for (row, texts) in listing.rows.iter().zip(&rows) {
            let cells = row
                .iter()
                .zip(texts)
                .map(|(cell, text)| (text.as_str(), cell.tone, cell.value.is_number()));
            self.table_row(cells, &widths)?;
        }
        Ok(())
    }

    fn table_row<'t>(
        &mut self,
        cells: impl Iterator<Item = (&'t str, Tone, bool)>,
        widths: &[usize],
    ) -> Result<(), Failure> {
        let mut line = String::new();
        let mut due = 0;
        for ((text, tone, to_the_right), most) in cells.zip(widths) {
            let pad = most.saturating_sub(width(text));
            let (before, after) = if to_the_right { (pad, 0) } else { (0, pad) };
            // Padding is written before the next text only, so that no line ends in blanks.
            if !text.is_empty() {
                line.push_str(&" ".repeat(due + before));
                line.push_str(&self.tone(text, tone));
                due = 0;
            } else {
                due += before;
            }
            due += after + GAP;
        }
        self.line(&line)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        if self.closed {
            return Ok(());
        }
        self.settle(|out| out.write_all(bytes))
    }

    /// Hands out what is still held back. To be called at the end of every command.
    pub fn finish(mut self) -> Result<(), Failure> {
        self.settle(Write::flush)
    }

    fn settle(
        &mut self,
        write: impl FnOnce(&mut BufWriter<io::Stdout>) -> io::Result<()>,
    ) -> Result<(), Failure> {
        match write(&mut self.out) {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {
                self.closed = true;
                Ok(())
            }
            Err(error) => Err(Failure::Internal(format!(
                "cannot write the output: {error}"
            ))),
            Ok(()) => Ok(()),
        }
    }
}

/// The text with every control character, and every character that changes the direction or hides
/// text, replaced by its escape, so that no sender speaks to a terminal.
pub fn printable(text: &str) -> String {
    text.chars()
        .flat_map(|c| {
            let risky = c.is_control() || is_invisible(c);
            let escaped = risky.then(|| c.escape_unicode());
            let plain = (!risky).then_some(c);
            plain.into_iter().chain(escaped.into_iter().flatten())
        })
        .collect()
}

/// Bidirectional controls and zero-width characters (Unicode TR36 §2.10).
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

/// `queue_id` as a heading: `QUEUE ID`.
fn heading(key: &str) -> String {
    key.replace('_', " ").to_uppercase()
}

fn csv_field(field: &str) -> String {
    if field.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", field.replace('"', "\"\""))
    } else {
        field.to_owned()
    }
}

fn width(text: &str) -> usize {
    text.chars().count()
}

fn code(tone: Tone) -> Option<&'static str> {
    match tone {
        Tone::Plain => None,
        Tone::Good => Some("32"),
        Tone::Doubtful => Some("33"),
        Tone::Bad => Some("31"),
        Tone::Quiet => Some("2"),
        Tone::Strong => Some("1"),
    }
}

/// Blanks between two columns.
const GAP: usize = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_from_outside_speaks_to_the_terminal() {
        for (text, expected) in [
            ("plain ä", "plain ä"),
            ("\x1b[2Jgone", "\\u{1b}[2Jgone"),
            ("a\r\nb\tc\0", "a\\u{d}\\u{a}b\\u{9}c\\u{0}"),
            ("moc\u{202e}.elpmaxe", "moc\\u{202e}.elpmaxe"),
            ("\u{9b}31m", "\\u{9b}31m"),
        ] {
            assert_eq!(printable(text), expected);
        }
    }

    #[test]
    fn csv_quotes_what_needs_it() {
        for (field, expected) in [
            ("a", "a"),
            ("a,b", "\"a,b\""),
            ("say \"hi\"", "\"say \"\"hi\"\"\""),
            ("two\nlines", "\"two\nlines\""),
        ] {
            assert_eq!(csv_field(field), expected);
        }
    }
}

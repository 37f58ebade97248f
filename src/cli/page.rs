//! Pages for people: headings, labelled lines and paragraphs, wrapped with a hanging indent.
//!
//! Everything put in is made printable here; callers need not.

use super::Failure;
use super::output::{Screen, Tone, printable};

/// A page while it is written.
pub struct Page<'s> {
    screen: &'s mut Screen,
    begun: bool,
}

impl<'s> Page<'s> {
    pub fn new(screen: &'s mut Screen) -> Self {
        Self {
            screen,
            begun: false,
        }
    }

    /// A heading, with an empty line before it unless it is the first.
    pub fn heading(&mut self, text: &str) -> Result<(), Failure> {
        if std::mem::replace(&mut self.begun, true) {
            self.screen.line("")?;
        }
        let text = self.screen.tone(&printable(text), Tone::Strong);
        self.screen.line(&text)
    }

    /// A line `label  text`, the text wrapped beside its label.
    pub fn item(&mut self, label: &str, text: &str) -> Result<(), Failure> {
        self.toned(label, text, Tone::Plain)
    }

    /// The same, its first word (a result) in a colour.
    pub fn toned(&mut self, label: &str, text: &str, tone: Tone) -> Result<(), Failure> {
        self.begun = true;
        let label = format!("{:LABEL$}", printable(label));
        let indent = INDENT + LABEL;
        for (at, line) in wrap(&printable(text), WIDTH - indent).iter().enumerate() {
            let line = match at {
                0 => {
                    let (word, rest) = line.split_at(line.find(' ').unwrap_or(line.len()));
                    let label = self.screen.tone(&label, Tone::Quiet);
                    let word = self.screen.tone(word, tone);
                    format!("{:INDENT$}{label}{word}{rest}", "")
                }
                _ => format!("{:indent$}{line}", ""),
            };
            self.screen.line(line.trim_end())?;
        }
        Ok(())
    }

    /// Further text below an item.
    pub fn more(&mut self, text: &str) -> Result<(), Failure> {
        self.toned("", text, Tone::Plain)
    }

    /// An indented paragraph whose further lines stand deeper than its first.
    pub fn hanging(&mut self, text: &str) -> Result<(), Failure> {
        let mut indent = INDENT * 2;
        for line in wrap(&printable(text), WIDTH - INDENT * 4) {
            self.screen.line(&format!("{:indent$}{line}", ""))?;
            indent = INDENT * 4;
        }
        Ok(())
    }

    /// A paragraph over the whole width.
    pub fn text(&mut self, text: &str) -> Result<(), Failure> {
        self.begun = true;
        for line in wrap(&printable(text), WIDTH - INDENT) {
            self.screen.line(&format!("{:INDENT$}{line}", ""))?;
        }
        Ok(())
    }
}

/// Breaks at blanks so that no line is longer than `width`, where a word allows it.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    let mut room = width;
    for word in text.split(' ') {
        let length = word.chars().count();
        match lines.last_mut() {
            Some(line) if line.is_empty() => line.push_str(word),
            Some(line) if length < room => {
                line.push(' ');
                line.push_str(word);
                room -= 1;
            }
            _ => {
                lines.push(word.to_owned());
                room = width;
            }
        }
        room = room.saturating_sub(length);
    }
    lines
}

/// The longest line of a page.
const WIDTH: usize = 100;
const INDENT: usize = 2;
/// The column of labels.
const LABEL: usize = 14;

#[cfg(test)]
mod tests {
    use super::wrap;

    #[test]
    fn wraps_at_blanks_only() {
        for (text, expected) in [
            ("", vec![""]),
            ("one two", vec!["one two"]),
            ("one two three", vec!["one two", "three"]),
            ("averyverylongword x", vec!["averyverylongword", "x"]),
            ("ä ö ü ß é", vec!["ä ö ü ß", "é"]),
        ] {
            assert_eq!(wrap(text, 8), expected, "{text}");
        }
    }
}

//! What a server said, fit to be stored and shown.

/// One line of at most `MAX_ANSWER` characters, all of them printable; white space as single blanks.
pub(super) fn clean(text: &str) -> String {
    let words = text.split(|c: char| c.is_whitespace() || is_unprintable(c));
    let words = words.filter(|word| !word.is_empty());
    let mut line = String::new();
    for word in words {
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
        if line.len() > MAX_ANSWER * 4 {
            break;
        }
    }
    line.chars().take(MAX_ANSWER).collect()
}

/// Control characters, and those that turn the direction of a line or hide in it.
fn is_unprintable(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

const MAX_ANSWER: usize = 500;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cleans() {
        for (text, expected) in [
            ("250 2.0.0 Ok: queued as 4jX", "250 2.0.0 Ok: queued as 4jX"),
            ("550\u{1b}[31m  a\r\nb\t\u{202e}c\0", "550 [31m a b c"),
            ("", ""),
        ] {
            assert_eq!(clean(text), expected);
        }
        assert_eq!(clean(&"\u{fc}".repeat(9_999)).chars().count(), MAX_ANSWER);
        assert_eq!(clean(&"a ".repeat(9_999)).chars().count(), MAX_ANSWER);
    }
}

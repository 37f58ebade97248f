//! The commented sample: every setting with its default and the reason for it. Its bytes are those
//! of `contrib/alignd.toml.example`.

/// What `alignd config sample` prints.
pub const SAMPLE: &str = include_str!("../../contrib/alignd.toml.example");

#[cfg(test)]
mod tests {
    use super::SAMPLE;
    use crate::config::file::Reader;
    use crate::config::{Config, read};
    use std::collections::BTreeMap;

    const HOST: &str = "mx.example.org";

    /// The sample with every setting put into force. A commented setting is `#key = value`; `# ` opens prose.
    fn in_force() -> String {
        let lines = SAMPLE.lines().map(|line| match line.strip_prefix('#') {
            Some(setting) if setting.starts_with(|c: char| c.is_ascii_lowercase()) => setting,
            _ => line,
        });
        lines.map(|line| format!("{line}\n")).collect()
    }

    #[test]
    fn equals_the_defaults_as_it_is_and_with_every_setting_in_force() {
        for text in [SAMPLE.to_owned(), in_force()] {
            let (config, _) = Config::parse(&text, HOST).expect("the sample is right");
            assert_eq!(config, Config::defaults(HOST));
        }
    }

    #[test]
    fn names_every_setting_once_and_no_other() {
        let text = in_force();
        let mut reader = Reader::new(&text);
        read::config(&mut reader, Config::defaults(HOST));
        let known = reader.known().to_vec();
        let lines = reader.finish().expect("the sample is right");
        let written: Vec<_> = lines.into_keys().collect();
        let mut sorted = known.clone();
        sorted.sort();
        assert_eq!(written, sorted);
        let mut by_line: BTreeMap<usize, _> = BTreeMap::new();
        for (at, line) in text.lines().enumerate() {
            if let Some((key, _)) = line.split_once(" = ")
                && !line.starts_with('#')
            {
                by_line.insert(at, key.to_owned());
            }
        }
        let order: Vec<_> = known.iter().map(|(_, key)| (*key).to_owned()).collect();
        assert_eq!(by_line.into_values().collect::<Vec<_>>(), order);
    }

    /// The examples of rules, once they are no comments any more, are rules, and name every key of one.
    #[test]
    fn shows_every_key_of_a_rule() {
        let lines = SAMPLE.lines().map(|line| match line.strip_prefix('#') {
            Some(example) if example.starts_with("[[") || example.starts_with("   ") => example,
            _ => line,
        });
        let text: String = lines.map(|line| format!("{line}\n")).collect();
        let mut reader = Reader::new(&text);
        let config = read::config(&mut reader, Config::defaults(HOST));
        assert_eq!((config.exceptions.len(), config.stricter.len()), (1, 1));
        let known = reader.known_in_entries().to_vec();
        assert_eq!(reader.finish().map(|_| ()), Ok(()));
        let words: Vec<&str> = SAMPLE
            .split(|c: char| !c.is_ascii_lowercase() && c != '_')
            .collect();
        for (section, key) in known {
            assert!(words.contains(&key), "{section}.{key}");
        }
    }

    /// A reason, or the reason of the group it stands in, precedes every setting.
    #[test]
    fn gives_a_reason_before_every_setting() {
        let mut reason = 0;
        for line in SAMPLE.lines() {
            if line.starts_with("# ") {
                reason += line.len();
            } else if line.starts_with('#') && line.contains(" = ") {
                assert!(reason > 40, "no reason before {line}");
            } else {
                reason = 0;
            }
        }
    }
}

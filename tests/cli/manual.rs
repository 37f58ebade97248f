//! The manual says what the program does: commands, options, JSON keys, settings, in both directions.

use super::ran::alignd;
use std::collections::BTreeSet;
use std::path::Path;

/// Pages without their markup: fonts and escapes taken out, so that `\-\-zone` is `--zone`.
fn page(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("man").join(name);
    let text = std::fs::read_to_string(path).expect("a manual page");
    text.replace("\\-", "-")
}

/// The part of alignd(1) about a command: up to the next heading.
fn section<'p>(page: &'p str, command: &[String]) -> &'p str {
    let heading = match command {
        [] => ".SH COMMANDS".to_owned(),
        command => format!(".SS alignd {}", command.join(" ")),
    };
    let begins = |line: &&str| *line == heading || line.starts_with(&format!("{heading} "));
    let line = page.lines().find(begins);
    let line = line.unwrap_or_else(|| panic!("alignd(1) has no `{heading}`"));
    let after = page.split_once(line).map_or("", |(_, after)| after);
    let end = after.find("\n.S").unwrap_or(after.len());
    &after[..end]
}

/// Words of the form `--option`.
fn options(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_lowercase() && c != '-');
    let options = words.filter(|word| word.starts_with("--") && word.len() > 2);
    options.map(str::to_owned).collect()
}

/// Every command, found by walking the helps.
pub fn commands() -> Vec<Vec<String>> {
    let mut waiting: Vec<Vec<String>> = vec![Vec::new()];
    let mut found = Vec::new();
    while let Some(command) = waiting.pop() {
        let help = help(&command);
        let list = help.split("Commands:\n").nth(1).unwrap_or_default();
        let names = list.lines().map_while(|line| line.strip_prefix("  "));
        let names = names.filter_map(|line| line.split(' ').next());
        for name in names.filter(|name| !name.is_empty() && *name != "help") {
            waiting.push([command.as_slice(), &[name.to_owned()]].concat());
        }
        found.push(command);
    }
    found.sort();
    found
}

fn help(command: &[String]) -> String {
    let mut arguments = command.to_vec();
    arguments.push("--help".to_owned());
    alignd(&arguments).out
}

#[test]
fn every_command_and_option_is_in_the_manual_and_no_other() {
    let page = page("alignd.1");
    let everywhere: BTreeSet<String> = ["--config", "--help", "--version"]
        .map(str::to_owned)
        .into();
    for command in commands() {
        let help = help(&command);
        let listed = help.split("Options:\n").nth(1).unwrap_or_default();
        let defined = listed.lines().filter(|line| {
            let line = line.trim_start();
            line.starts_with('-')
        });
        let defined: BTreeSet<String> = defined.flat_map(options).collect();
        if help.contains("Commands:\n") && !command.is_empty() {
            continue;
        }
        let documented = options(section(&page, &command));
        let mut expected = defined.clone();
        if !command.is_empty() {
            expected = &defined - &everywhere;
        }
        assert_eq!(documented, expected, "{command:?}");
    }
    let headings = page
        .lines()
        .filter_map(|line| line.strip_prefix(".SS alignd "));
    let known: Vec<String> = commands().iter().map(|command| command.join(" ")).collect();
    for heading in headings {
        let is = |command: &&String| !command.is_empty() && heading.starts_with(command.as_str());
        assert!(
            known.iter().any(|command| is(&command)),
            "no command {heading}"
        );
    }
}

/// Every key of a JSON value, at any depth.
pub fn keys(value: &serde_json::Value, found: &mut BTreeSet<String>) {
    match value {
        serde_json::Value::Object(fields) => {
            for (key, value) in fields {
                found.insert(key.clone());
                keys(value, found);
            }
        }
        serde_json::Value::Array(values) => values.iter().for_each(|value| keys(value, found)),
        _ => {}
    }
}

/// Holds a printed object's keys against alignd(1).
pub fn documented(value: &serde_json::Value) {
    let page = page("alignd.1");
    let begin = page.find(".SH JSON").expect("a section JSON");
    let end = page.find(".SH ZONE FILES").expect("a section behind it");
    let words: BTreeSet<&str> = page[begin..end]
        .split(|c: char| !c.is_ascii_lowercase() && c != '_')
        .collect();
    let mut found = BTreeSet::new();
    keys(value, &mut found);
    for key in found {
        assert!(
            words.contains(key.as_str()),
            "alignd(1) doesn't name the key {key}"
        );
    }
}

/// alignd.toml(5) is the sample in another dress: written by this test, so that they cannot differ.
#[test]
fn the_settings_page_is_the_sample() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("man/alignd.toml.5");
    let expected = settings_page(alignd::config::sample::SAMPLE);
    if std::env::var_os("ALIGND_GOLDEN").is_some_and(|value| value == "write") {
        std::fs::write(&path, &expected).expect("the page can be written");
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        found == expected,
        "man/alignd.toml.5 differs from the sample; write it with ALIGND_GOLDEN=write cargo test --test cli"
    );
}

fn settings_page(sample: &str) -> String {
    let mut page = PREAMBLE.to_owned();
    let mut reason = String::new();
    let mut settings: Vec<&str> = Vec::new();
    let mut example: Vec<&str> = Vec::new();
    // The sample's first paragraph is about the sample.
    let from_second = sample.lines().skip_while(|line| *line != "#");
    for line in from_second.chain([""]) {
        if let Some(shown) = line.strip_prefix("#   ") {
            example.push(shown);
            continue;
        }
        if let Some(setting) = line.strip_prefix('#')
            && setting.starts_with(|c: char| c.is_ascii_lowercase())
        {
            settings.push(setting);
            continue;
        }
        if !settings.is_empty() || !line.starts_with("# ") {
            page.push_str(&entry(&mut settings, &mut reason));
        }
        if !example.is_empty() {
            let shown: Vec<String> = example.drain(..).map(roff).collect();
            page.push_str(&format!(".PP\n.nf\n{}\n.fi\n", shown.join("\n")));
        }
        if let Some(list) = line.strip_prefix("#[[") {
            page.push_str(&format!(".SH [[{list}\n"));
        }
        match (line.strip_prefix("# "), line.strip_prefix('[')) {
            (Some(text), _) => reason.push_str(&format!("{}\n", roff(text))),
            (None, Some(name)) => {
                page.push_str(&format!(".SH [{}]\n", name.trim_end_matches(']')));
            }
            (None, None) => {}
        }
    }
    page + ".SH SEE ALSO\n.BR alignd (1)\n"
}

/// Settings that share a reason, and the reason; prose alone when there are none.
fn entry(settings: &mut Vec<&str>, reason: &mut String) -> String {
    let mut entry = String::new();
    for (at, setting) in settings.drain(..).enumerate() {
        let tag = if at == 0 { ".TP" } else { ".TQ" };
        entry.push_str(&format!("{tag}\n\\fB{}\\fR\n", roff(setting)));
    }
    entry + &std::mem::take(reason)
}

const PREAMBLE: &str = "\
.\\\" Made from contrib/alignd.toml.example by tests/cli/manual.rs.
.TH ALIGND.TOML 5 \"\" \"alignd\" \"File Formats\"
.SH NAME
alignd.toml \\- settings of alignd
.SH DESCRIPTION
The settings of
.BR alignd (1),
in TOML: sections in brackets, settings below them.
What isn't set has the default shown here.
An unknown name is an error;
.B alignd config check
tells where it stands and what was probably meant,
.B alignd config sample
prints this page as a file to begin with.
.PP
";

/// Text as roff takes it literally.
fn roff(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-");
    if text.starts_with(['.', '\'']) {
        format!("\\&{text}")
    } else {
        text
    }
}

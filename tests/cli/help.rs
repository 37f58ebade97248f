//! `--help` teaches: what each command is for, with examples that hold.

use super::manual::commands;
use super::ran::{Place, alignd};
use std::path::Path;

/// Every command, and a word that its help must have beyond the names of its options.
const COMMANDS: &[(&[&str], &str)] = &[
    (&[], "Exit codes: 0 ok, 1 no"),
    (&["check"], "alignd check spoof.eml"),
    (&["config"], "alignd config check"),
    (&["config", "check"], "--user"),
    (&["config", "show"], "--matrix"),
    (&["config", "sample"], "reason"),
    (&["exception"], "suggest"),
    (&["exception", "list"], "--all --format json"),
    (&["exception", "show"], "stored-7"),
    (&["exception", "add"], "All that is required must be found"),
    (&["exception", "remove"], "--why moved"),
    (
        &["exception", "suggest"],
        "was verified in that very message",
    ),
    (&["messages"], "alignd messages --dmarc fail --count-by ip"),
    (&["milter"], "SIGTERM"),
    (&["mta-helper"], "quarantine.helper_socket"),
    (&["outcome"], "refused_later --reason virus"),
    (&["policy"], "alignd policy example.org"),
    (&["quarantine"], "release"),
    (
        &["quarantine", "list"],
        "alignd quarantine list --older-than 2d",
    ),
    (&["quarantine", "show"], "--message | less"),
    (
        &["quarantine", "release"],
        "can be repeated and ends the same",
    ),
    (
        &["quarantine", "delete"],
        "--all --author-domain example.org --yes",
    ),
    (&["quarantine", "digest"], "alignd quarantine digest --send"),
    (&["quarantine", "expire"], "how many would go"),
    (&["report"], "preview"),
    (&["report", "build"], "alignd report build --dry-run"),
    (&["report", "due"], "report.settle"),
    (&["report", "export"], "RECEIVER!DOMAIN!BEGIN!END!ID.xml.gz"),
    (&["report", "list"], "alignd report list --domain"),
    (&["report", "preview"], "alignd report preview example.com"),
    (&["report", "resend"], "the same Report-ID"),
    (&["report", "send"], "delivery.rate"),
    (&["report", "show"], "--xml | xmllint"),
    (&["review"], "released_before 4"),
    (&["run"], "SIGHUP reloads the settings"),
    (&["schedule"], "SIGTERM"),
    (&["status"], "Exit codes"),
    (&["inbox"], "bounce"),
    (&["inbox", "bounce"], "alignd inbox bounce"),
    (&["suppress"], "list"),
    (&["suppress", "list"], "--format"),
    (&["suppress", "add"], "alignd suppress add"),
    (&["suppress", "remove"], "ADDRESS|DOMAIN"),
    (&["what-if"], "alignd what-if --on-reject reject"),
    (&["why"], "alignd why"),
];

#[test]
fn every_command_explains_itself() {
    for (command, teaches) in COMMANDS {
        let mut arguments = command.to_vec();
        arguments.push("--help");
        let ran = alignd(&arguments);
        assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{command:?}");
        assert!(ran.out.contains(teaches), "{command:?}: {}", ran.out);
        assert!(ran.out.contains("--config <FILE>"), "{command:?}");
        let widest = ran.out.lines().map(|line| line.chars().count()).max();
        assert!(widest <= Some(100), "{command:?} is {widest:?} wide");
    }
}

#[test]
fn no_command_is_without_help_here() {
    let found = commands();
    let mut known: Vec<Vec<&str>> = COMMANDS.iter().map(|(c, _)| c.to_vec()).collect();
    known.sort();
    assert_eq!(found, known);
}

#[test]
fn wrong_usage_is_exit_code_2_with_the_way_out() {
    for (arguments, says) in [
        (vec![], "Usage: alignd"),
        (vec!["bogus"], "unrecognized subcommand 'bogus'"),
        (vec!["mesages"], "a similar subcommand exists: 'messages'"),
        (vec!["policy"], "<DOMAIN>"),
        (vec!["policy", "a b"], "\"a b\" is no domain"),
        (
            vec!["policy", "x", "--zone", "/nonexistent"],
            "cannot read the zone in /nonexistent",
        ),
        (
            vec!["check", "x", "--ip", "1.2.3", "--mail-from", "<>"],
            "invalid value '1.2.3' for '--ip <IP>'",
        ),
        (
            vec![
                "check",
                "/nonexistent",
                "--ip",
                "192.0.2.1",
                "--mail-from",
                "<>",
            ],
            "cannot read the message in /nonexistent",
        ),
        (
            vec!["messages", "--since", "yesterday"],
            "write 2h or 3d for that long ago",
        ),
        (
            vec!["messages", "--ip", "192.0.2.1/24"],
            "write \"192.0.2.0/24\" for the whole network",
        ),
        (
            vec!["messages", "--dmarc", "maybe"],
            "[possible values: none, pass, fail, temperror, permerror]",
        ),
        (
            vec!["messages", "--format", "xml"],
            "[possible values: table, json, csv]",
        ),
        (vec!["config", "show", "--format", "json"], "--matrix"),
        (
            vec!["config", "check", "--user", "no-such-user"],
            "there is no user \"no-such-user\"",
        ),
        (
            vec!["config", "show", "--config", "/nonexistent"],
            "cannot read the settings in /nonexistent",
        ),
    ] {
        let ran = alignd(&arguments);
        assert_eq!(ran.code, 2, "{arguments:?}: {}", ran.err);
        assert!(ran.err.contains(says), "{arguments:?}: {}", ran.err);
        assert_eq!(ran.out, "", "{arguments:?}");
    }
}

/// Commands that README, manual and helps show, as words: pipes, redirections and remarks cut off.
fn examples() -> Vec<Vec<String>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |name: &str| std::fs::read_to_string(root.join(name)).expect("a file of ours");
    let readme = read("README.md");
    // In the README's prose and blocks a command stands between backticks or on a line of its own.
    let inline = readme.split('`').filter(|text| text.starts_with("alignd "));
    let mut texts: Vec<String> = inline.map(|text| text.replace('\n', " ")).collect();
    for text in [&readme, &read("man/alignd.1").replace("\\-", "-")] {
        let mut verbatim = false;
        for line in text.lines() {
            let line = line.trim_start();
            verbatim ^= line.starts_with("```") || matches!(line, ".nf" | ".fi");
            if verbatim && line.starts_with("alignd ") {
                texts.push(line.to_owned());
            }
        }
    }
    for command in commands() {
        let help = alignd(&[command, vec!["--help".to_owned()]].concat()).out;
        let continued: Vec<&str> = help.split("\\\n").map(str::trim).collect();
        let help = continued.join(" ");
        let shown = help.split("Examples:\n").nth(1).unwrap_or_default();
        let lines = shown
            .lines()
            .map(str::trim)
            .filter(|line| line.starts_with("alignd "));
        texts.extend(lines.map(str::to_owned));
    }
    texts.iter().filter_map(|text| words(text)).collect()
}

fn words(text: &str) -> Option<Vec<String>> {
    let end = [" |", " <", " >", "  ", " #"]
        .iter()
        .filter_map(|mark| text.find(mark))
        .min();
    // A `<>` in quotes is an address, no redirection.
    let text = text.get(..end.unwrap_or(text.len()))?;
    let words = text.split_whitespace().skip(1);
    let words: Vec<String> = words
        .map(|word| word.trim_matches('\'').to_owned())
        .collect();
    // A command's name alone is mentioned, not shown; `…` stands for what was shown before.
    if words.len() < 2 || words.iter().any(|word| word == "…") {
        return None;
    }
    let placeholder = |word: &String| matches!(word.as_str(), "COMMAND" | "QUEUE-ID");
    (!words.iter().any(placeholder)).then_some(words)
}

/// What is shown is understood: it may find nothing here, but it is no wrong usage.
#[test]
fn every_example_is_understood() {
    let place = Place::new();
    let empty = place.write("empty.zone", "");
    let examples = examples();
    assert!(examples.len() > 25, "{examples:?}");
    for mut example in examples {
        if matches!(example.first().map(String::as_str), Some("run" | "milter")) {
            continue;
        }
        // Nothing on the network is asked.
        if matches!(
            example.first().map(String::as_str),
            Some("check" | "policy")
        ) {
            match example.iter().position(|word| word == "--zone") {
                Some(at) => example[at + 1] = empty.clone(),
                None => example.extend(["--zone".to_owned(), empty.clone()]),
            }
        }
        let shown: Vec<&str> = example.iter().map(String::as_str).collect();
        let ran = place.run(&shown);
        assert!(!ran.err.contains("Usage:"), "{shown:?}: {}", ran.err);
    }
}

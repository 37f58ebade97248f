//! `--help` teaches: what each command is for, with examples that hold.

use super::manual::commands;
use super::ran::alignd;

/// Every command, and a word that its help must have beyond the names of its options.
const COMMANDS: &[(&[&str], &str)] = &[
    (&[], "Exit codes: 0 ok, 1 no"),
    (&["check"], "alignd check spoof.eml"),
    (&["config"], "alignd config check"),
    (&["config", "check"], "--user"),
    (&["config", "show"], "--matrix"),
    (&["config", "sample"], "reason"),
    (&["messages"], "alignd messages --dmarc fail --count-by ip"),
    (&["policy"], "alignd policy example.org"),
    (&["status"], "Exit codes"),
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

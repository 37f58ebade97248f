//! Colours on a terminal only, and never against NO_COLOR; a reader that goes away ends it silently.

use super::ran::{Place, Ran, alignd, ran};
use std::process::{Command, Stdio};

/// Runs `alignd config show --matrix` on a pseudo-terminal, which script(1) of util-linux makes.
fn on_a_terminal(place: &Place, no_color: Option<&str>) -> Ran {
    let binary = env!("CARGO_BIN_EXE_alignd");
    let settings = place.path("alignd.toml");
    let line = format!(
        "'{binary}' config show --matrix --config '{}'",
        settings.display()
    );
    let mut command = Command::new("script");
    command.args(["--quiet", "--return", "--command", &line, "/dev/null"]);
    command
        .stdin(Stdio::null())
        .env_remove("NO_COLOR")
        .env("TERM", "xterm");
    if let Some(value) = no_color {
        command.env("NO_COLOR", value);
    }
    ran(command.output().expect("script(1) runs"))
}

#[test]
fn colours_are_for_terminals_that_want_them() {
    let place = Place::new();
    for (no_color, coloured) in [(None, true), (Some(""), true), (Some("1"), false)] {
        let ran = on_a_terminal(&place, no_color);
        assert_eq!(ran.code, 0, "{}", ran.out);
        assert!(ran.out.contains("DISPOSITION"), "{}", ran.out);
        assert_eq!(
            ran.out.contains('\x1b'),
            coloured,
            "NO_COLOR={no_color:?}: {}",
            ran.out
        );
    }
    let piped = place.run(&["config", "show", "--matrix"]);
    assert!(!piped.out.contains('\x1b'));
}

#[test]
fn no_line_ends_in_blanks() {
    let place = Place::new();
    for arguments in [
        &["config", "show", "--matrix"][..],
        &["config", "check"],
        &["config", "show"],
    ] {
        for line in place.run(arguments).out.lines() {
            assert_eq!(line, line.trim_end(), "{arguments:?}");
        }
    }
    assert_eq!(
        alignd(&["--version"]).out,
        concat!("alignd ", env!("CARGO_PKG_VERSION"), "\n")
    );
}

#[test]
fn a_reader_that_went_away_is_no_error() {
    let binary = env!("CARGO_BIN_EXE_alignd");
    let line = format!("'{binary}' config sample | true; exit \"${{PIPESTATUS[0]}}\"");
    let ran = ran(Command::new("bash")
        .args(["-c", &line])
        .output()
        .expect("bash runs"));
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
}

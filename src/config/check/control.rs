//! `config check`: are the users there whom the control socket is to know?

use super::{Findings, Severity};
use nix::unistd::User;

const USERS: (&str, &str) = ("control", "outcome_users");

pub fn check(findings: &mut Findings<'_>) {
    let settings = findings.loaded.config.control.clone();
    for name in &settings.outcome_users {
        if matches!(User::from_name(name), Ok(None)) {
            findings.add(
                Severity::Warning,
                USERS,
                format!("there is no user \"{name}\" on this host"),
                "name the user the filter runs as: ps -o user= -C FILTER",
            );
        }
    }
    if settings.socket.is_none() && !settings.outcome_users.is_empty() {
        findings.add(
            Severity::Warning,
            USERS,
            "control.socket is \"none\", so nobody can tell anything",
            "set control.socket, or name no users",
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Loaded};

    #[test]
    fn users_must_be_there() {
        for (settings, expected) in [
            ("outcome_users = [\"nobody\"]", 0),
            ("outcome_users = [\"no-such-user\"]", 1),
            ("outcome_users = [\"nobody\"]\nsocket = \"none\"", 1),
            ("socket = \"none\"", 0),
        ] {
            let text = format!("[control]\n{settings}\n");
            let (config, lines) = Config::parse(&text, "mx.example.org").unwrap();
            let loaded = Loaded {
                config,
                file: None,
                lines,
            };
            let mut findings = Findings {
                loaded: &loaded,
                found: Vec::new(),
            };
            check(&mut findings);
            assert_eq!(findings.found.len(), expected, "{settings}");
        }
    }
}

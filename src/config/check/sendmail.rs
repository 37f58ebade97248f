//! What Sendmail's own configuration says: which milters it calls, where, and how long it waits for them.
//!
//! Reads `sendmail.cf` as its operations guide describes it, §5 (`X` lines, `InputMailFilters`), and the
//! modes of directories. Touches nothing else.

use super::account::shown;
use super::{Findings, Severity};
use crate::milter::{PROGRESS, SocketSpec};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

const LISTEN: (&str, &str) = ("milter", "listen");

/// Where alignd and Sendmail meet by `contrib/sendmail`. `alignd.service` makes the directory.
pub const RUNTIME_DIRECTORY: &str = "/run/alignd";

/// A milter that Sendmail calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    /// The line of `sendmail.cf` that defines it.
    line: usize,
    /// As in `local:/run/alignd/milter.sock`, `inet:8893@localhost`.
    socket: String,
    /// How long it waits for the answer to a whole message.
    patience: Duration,
    /// How long for any word of it.
    silence: Duration,
}

/// Reads `sendmail.cf`: the milters in the order they are called; `None` when there is no Sendmail.
pub fn read(file: &Path) -> Option<Vec<Filter>> {
    // Sendmail's files need not be UTF-8.
    let text = std::fs::read(file).ok()?;
    Some(understand(&String::from_utf8_lossy(&text)))
}

/// What there is to say about our sockets, given the milters that Sendmail calls and how long alignd
/// may take for a message.
pub fn check(
    findings: &mut Findings<'_>,
    listen: &[SocketSpec],
    filters: &[Filter],
    longest: Duration,
) {
    let mut called = false;
    for socket in listen {
        let names = names(socket);
        let Some(filter) = filters.iter().find(|f| names.contains(&f.socket)) else {
            continue;
        };
        called = true;
        waits_long_enough(findings, filter, longest);
        if let SocketSpec::Unix(path) = socket {
            is_safe(findings, path);
        }
    }
    if let Some(name) = listen
        .first()
        .and_then(|socket| names(socket).into_iter().next())
        && !called
    {
        findings.add(
            Severity::Note,
            LISTEN,
            "Sendmail does not call alignd yet: no filter in sendmail.cf names one of these sockets",
            format!(
                "INPUT_MAIL_FILTER(`alignd', `S={name}, F=T, T=C:1m;S:30s;R:1m;E:5m') in sendmail.mc, as in contrib/sendmail"
            ),
        );
    }
}

fn waits_long_enough(findings: &mut Findings<'_>, filter: &Filter, longest: Duration) {
    if filter.silence <= PROGRESS {
        findings.add(
            Severity::Warning,
            LISTEN,
            format!(
                "Sendmail waits {} s for a word (line {} of sendmail.cf), alignd gives one every {} s",
                filter.silence.as_secs(),
                filter.line,
                PROGRESS.as_secs()
            ),
            "R:1m among the T= of its INPUT_MAIL_FILTER",
        );
    }
    if filter.patience > longest {
        return;
    }
    findings.add(
        Severity::Warning,
        LISTEN,
        format!(
            "Sendmail waits {} s for the end of a message (line {} of sendmail.cf), alignd may take {} s",
            filter.patience.as_secs(),
            filter.line,
            longest.as_secs()
        ),
        "E:5m among the T= of its INPUT_MAIL_FILTER; or smaller dns.message_deadline, store.wait",
    );
}

/// Sendmail refuses a socket when others than its owner could put one of their own in its place.
fn is_safe(findings: &mut Findings<'_>, path: &Path) {
    let mut way: Vec<&Path> = path.ancestors().skip(1).collect();
    way.reverse();
    for directory in way {
        let Ok(found) = std::fs::metadata(directory) else {
            return;
        };
        if found.permissions().mode() & 0o022 != 0 {
            let place = directory.display();
            findings.add(
                Severity::Error,
                LISTEN,
                format!(
                    "Sendmail refuses {} as unsafe: {place} is {}",
                    path.display(),
                    shown(&found)
                ),
                format!(
                    "chmod go-w {place}, or listen on \"unix:{RUNTIME_DIRECTORY}/milter.sock\""
                ),
            );
            return;
        }
    }
}

impl Filter {
    /// As its `X` line names it.
    pub fn socket(&self) -> &str {
        &self.socket
    }
}

/// The ways to name a socket in an `X` line.
pub fn names(socket: &SocketSpec) -> Vec<String> {
    match socket {
        SocketSpec::Unix(path) => {
            let path = path.display();
            vec![format!("local:{path}"), format!("unix:{path}")]
        }
        SocketSpec::Inet { host, port } if host.contains(':') => {
            vec![
                format!("inet6:{port}@{host}"),
                format!("inet6:{port}@[{host}]"),
            ]
        }
        SocketSpec::Inet { host, port } => vec![format!("inet:{port}@{host}")],
    }
}

fn understand(text: &str) -> Vec<Filter> {
    let mut defined = Vec::new();
    let mut called = Vec::new();
    for (at, line) in text.lines().enumerate() {
        if let Some(definition) = line.strip_prefix('X') {
            let (name, equates) = definition.split_once(',').unwrap_or((definition, ""));
            defined.push((name.trim(), filter(at + 1, equates)));
        } else if let Some((_, list)) = line
            .strip_prefix("O ")
            .and_then(|option| option.split_once("InputMailFilters="))
        {
            called.extend(list.split([',', ';']).map(str::trim));
        }
    }
    let definition = |name: &&str| {
        let found = defined.iter().find(|(defined, _)| defined == name);
        found.map(|(_, filter): &(&str, Filter)| filter.clone())
    };
    called.iter().filter_map(definition).collect()
}

fn filter(line: usize, equates: &str) -> Filter {
    let mut filter = Filter {
        line,
        socket: String::new(),
        patience: DEFAULT_PATIENCE,
        silence: DEFAULT_SILENCE,
    };
    for equate in equates.split(',') {
        match equate.trim().split_once('=') {
            Some(("S", socket)) => filter.socket = socket.trim().to_owned(),
            Some(("T", times)) => {
                for time in times.split(';') {
                    match time.trim().split_once(':') {
                        Some(("E", end)) => set(&mut filter.patience, end),
                        Some(("R", read)) => set(&mut filter.silence, read),
                        Some(_) | None => {}
                    }
                }
            }
            Some(_) | None => {}
        }
    }
    filter
}

/// One that Sendmail cannot read leaves the default.
fn set(duration: &mut Duration, text: &str) {
    if let Some(read) = self::duration(text) {
        *duration = read;
    }
}

/// `30s`, `5m`, `1h`.
fn duration(text: &str) -> Option<Duration> {
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        _ => return None,
    };
    let number: u64 = number.parse().ok()?;
    Some(Duration::from_secs(number.checked_mul(seconds)?))
}

/// Where an `X` line has no E: or R: of its own.
const DEFAULT_PATIENCE: Duration = Duration::from_secs(300);
const DEFAULT_SILENCE: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Loaded};
    use std::fs;

    const CF: &str = "\
#O InputMailFilters
O InputMailFilters=other, alignd, hasty
O DaemonPortOptions=Name=MTA, InputMailFilters=open
Xother, S=inet:8891@localhost, F=T
Xhasty, S=inet:8892@localhost, T=R:4s
Xalignd, S=local:{}/safe/milter.sock, F=T, T=C:1m;S:30s;R:1m;E:5m
Xunused, S=inet:8893@127.0.0.1
Xopen, S=unix:{}/open/milter.sock
Mlocal, P=/bin/x, F=X, S=EnvFromL
";

    fn check(listen: &str, longest: u64, expected: &[&str]) {
        let directory = tempfile::tempdir_in("/var").unwrap();
        let root = directory.path();
        fs::set_permissions(root, fs::Permissions::from_mode(0o755)).unwrap();
        for (name, mode) in [("safe", 0o755), ("open", 0o775)] {
            fs::create_dir(root.join(name)).unwrap();
            fs::set_permissions(root.join(name), fs::Permissions::from_mode(mode)).unwrap();
        }
        let place = root.display().to_string();
        let text = format!(
            "[milter]\nlisten = [\"{}\"]\n",
            listen.replace("{}", &place)
        );
        let (config, lines) = Config::parse(&text, "mx.example.org").unwrap();
        let listen = config.milter.listen.clone();
        let loaded = Loaded {
            config,
            file: None,
            lines,
        };
        let mut findings = Findings {
            loaded: &loaded,
            found: Vec::new(),
        };
        let filters = understand(&CF.replace("{}", &place));
        super::check(
            &mut findings,
            &listen,
            &filters,
            Duration::from_secs(longest),
        );
        let found = findings.found.iter();
        let found: Vec<String> = found
            .map(|f| format!("{:?} {}", f.severity, f.what).replace(&place, "{}"))
            .collect();
        assert_eq!(found.len(), expected.len(), "{found:#?}");
        for (found, expected) in found.iter().zip(expected) {
            assert!(found.starts_with(expected), "{found}");
        }
    }

    #[test]
    fn the_socket_must_be_called_safe_and_waited_for() {
        check("unix:{}/safe/milter.sock", 70, &[]);
        check("inet:localhost:8891", 70, &[]);
        check(
            "unix:{}/safe/milter.sock",
            300,
            &[
                "Warning Sendmail waits 300 s for the end of a message (line 6 of sendmail.cf), alignd may take 300 s",
            ],
        );
        check(
            "inet:localhost:8892",
            70,
            &[
                "Warning Sendmail waits 4 s for a word (line 5 of sendmail.cf), alignd gives one every 4 s",
            ],
        );
        check(
            "unix:{}/open/milter.sock",
            70,
            &["Error Sendmail refuses {}/open/milter.sock as unsafe: {}/open is drwxrwxr-x"],
        );
        check(
            "inet:127.0.0.1:8893",
            70,
            &["Note Sendmail does not call alignd yet"],
        );
    }

    #[test]
    fn durations_are_sendmails() {
        for (text, expected) in [
            ("30s", Some(30)),
            ("5m", Some(300)),
            ("1h", Some(3_600)),
            ("", None),
            ("5", None),
            ("5é", None),
            ("99999999999999999999m", None),
        ] {
            let expected = expected.map(Duration::from_secs);
            assert_eq!(duration(text), expected, "{text}");
        }
    }
}

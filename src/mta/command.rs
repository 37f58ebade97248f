//! Runs one of the MTA's own commands: a fixed list of arguments, no shell, a clean environment, a deadline, and
//! no more of its output than was asked for.
//!
//! Owns where commands are looked for and how a process ends that doesn't. Knows nothing of what they say.

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use std::ffi::{OsStr, OsString};
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// Where the MTA's commands are and how long each may take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commands {
    directories: Vec<PathBuf>,
    deadline: Duration,
    in_utc: bool,
    last_words: Option<&'static str>,
}

/// What a command that ended by itself said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    pub output: Vec<u8>,
    /// The output is longer than was asked for.
    pub cut: bool,
    /// Its words on standard error, the first `MAX_WORDS` octets.
    pub words: String,
    /// It ended with exit code 0, for what that is worth.
    pub succeeded: bool,
}

impl Said {
    /// The last line of what it complained of, as a reason.
    pub fn complaint(&self) -> String {
        let line = self
            .words
            .lines()
            .rev()
            .find(|line| !line.trim().is_empty());
        line.unwrap_or("it said nothing")
            .chars()
            .take(300)
            .collect()
    }
}

impl Commands {
    /// Looks in these directories, in order.
    pub fn within(directories: Vec<PathBuf>) -> Self {
        Self {
            directories,
            deadline: DEADLINE,
            in_utc: false,
            last_words: None,
        }
    }

    /// The same, ended as soon as they say this on standard error: what they do after it, nobody waits for.
    pub fn until(&self, last_words: &'static str) -> Self {
        Self {
            last_words: Some(last_words),
            ..self.clone()
        }
    }

    /// The same, for those that print times for us; what commands write into the log is the host's time.
    pub fn in_utc(&self) -> Self {
        Self {
            in_utc: true,
            ..self.clone()
        }
    }

    /// The same, with another deadline.
    pub fn for_at_most(&self, deadline: Duration) -> Self {
        Self {
            deadline,
            ..self.clone()
        }
    }

    /// Runs it to its end. `limit`: how many octets of its output are wanted. `Err`: a sentence for the operator.
    pub fn run(&self, name: &str, arguments: &[&OsStr], limit: usize) -> Result<Said, String> {
        let mut output = Vec::new();
        let mut cut = false;
        let (words, succeeded) = self.watched(name, arguments, |from| {
            let limit_and_one = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
            from.take(limit_and_one).read_to_end(&mut output)?;
            cut = output.len() > limit;
            output.truncate(limit);
            Ok(())
        })?;
        Ok(Said {
            output,
            cut,
            words,
            succeeded: succeeded || cut,
        })
    }

    /// Runs it and hands over each line of its output without its end; a line longer than `MAX_LINE` is
    /// handed over as far as that. `false` from `each` ends it.
    pub fn each_line(
        &self,
        name: &str,
        arguments: &[&OsStr],
        mut each: impl FnMut(&[u8]) -> bool,
    ) -> Result<Said, String> {
        let mut cut = false;
        let (words, succeeded) = self.watched(name, arguments, |from| {
            let mut from = BufReader::new(from);
            let mut line = Vec::new();
            while read_line(&mut from, &mut line)? {
                if !each(&line) {
                    cut = true;
                    break;
                }
            }
            Ok(())
        })?;
        Ok(Said {
            output: Vec::new(),
            cut,
            words,
            succeeded: succeeded || cut,
        })
    }

    /// Starts it and lets it run for as long as it takes: a delivery that is cut off could be made twice.
    /// Returns when it ended or after `wait`; whether it ended.
    pub fn start(&self, name: &str, arguments: &[&OsStr], wait: Duration) -> Result<bool, String> {
        let mut command = self.command(name, arguments)?;
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command
            .spawn()
            .map_err(|error| format!("{name} cannot be run: {error}"))?;
        let (ended, waiting) = mpsc::channel();
        thread::spawn(move || {
            // Only that nobody waited for it would be left of it; how it ended, the queue tells.
            let _ = child.wait();
            let _ = ended.send(());
        });
        Ok(waiting.recv_timeout(wait).is_ok())
    }

    /// The command, and what it prints given to `read`; what is left of it after that, and after the deadline, is killed.
    fn watched(
        &self,
        name: &str,
        arguments: &[&OsStr],
        read: impl FnOnce(&mut dyn Read) -> io::Result<()>,
    ) -> Result<(String, bool), String> {
        let mut command = self.command(name, arguments)?;
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let fault = |error: io::Error| format!("{name} cannot be run: {error}");
        let mut child = command.spawn().map_err(fault)?;
        let group = Group::of(&child);
        let (ended, watching) = mpsc::channel::<()>();
        let deadline = self.deadline;
        let watch = thread::spawn(move || {
            let late = watching.recv_timeout(deadline) == Err(mpsc::RecvTimeoutError::Timeout);
            if late {
                group.kill();
            }
            late
        });
        let last_words = self.last_words;
        let words = child.stderr.take();
        let words = words.map(|from| thread::spawn(move || listen(from, last_words, group)));
        let read = child
            .stdout
            .take()
            .map_or(Ok(()), |mut from| read(&mut from));
        // `from` is closed: who still writes gets SIGPIPE.
        let status = child.wait();
        let words = words
            .and_then(|words| words.join().ok())
            .unwrap_or_default();
        drop(ended);
        if watch.join().unwrap_or(true) {
            let seconds = deadline.as_secs();
            return Err(format!(
                "{name} did not end within {seconds} s and was stopped"
            ));
        }
        read.map_err(fault)?;
        Ok((words, status.map_err(fault)?.success()))
    }

    fn command(&self, name: &str, arguments: &[&OsStr]) -> Result<Command, String> {
        let paths = self
            .directories
            .iter()
            .map(|directory| directory.join(name));
        let path = paths.clone().find(|path| path.is_file()).ok_or_else(|| {
            let directories = self.directories.iter().map(|d| d.display().to_string());
            let directories: Vec<String> = directories.collect();
            format!("there is no {name} in {}", directories.join(", "))
        })?;
        let mut command = Command::new(path);
        command
            .args(arguments)
            .env_clear()
            .envs(ENVIRONMENT)
            .current_dir("/")
            .stdin(Stdio::null())
            .process_group(0);
        if self.in_utc {
            command.env("TZ", "UTC");
        }
        Ok(command)
    }
}

/// A command and all it started.
#[derive(Debug, Clone, Copy)]
struct Group(Option<Pid>);

impl Group {
    fn of(child: &Child) -> Self {
        Self(i32::try_from(child.id()).ok().map(Pid::from_raw))
    }

    fn kill(self) {
        if let Some(group) = self.0 {
            // It may have ended this very moment.
            let _ = killpg(group, Signal::SIGKILL);
        }
    }
}

/// What it says; it is ended after its last words.
fn listen(from: impl Read, last: Option<&str>, group: Group) -> String {
    let mut from = BufReader::new(from);
    let words = words(&mut from, last);
    if last.is_some_and(|last| words.contains(last)) {
        group.kill();
    }
    // Read, so that nobody waits for us.
    let _ = io::copy(&mut from, &mut io::sink());
    words
}

/// What it says, as far as `MAX_WORDS`, or as far as the line with its last words.
fn words(from: &mut impl BufRead, last: Option<&str>) -> String {
    let mut from = from.take(MAX_WORDS);
    let (mut kept, mut line) = (String::new(), Vec::new());
    // Whatever was read until an error is what it said.
    while from
        .read_until(b'\n', &mut line)
        .is_ok_and(|octets| octets > 0)
    {
        let text = String::from_utf8_lossy(&line);
        kept.push_str(&text);
        if last.is_some_and(|last| text.contains(last)) {
            break;
        }
        line.clear();
    }
    kept
}

/// Reads one line into `line`, cut at `MAX_LINE`. `false`: there is none.
fn read_line(from: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<bool> {
    line.clear();
    if from.take(MAX_LINE).read_until(b'\n', line)? == 0 {
        return Ok(false);
    }
    if line.pop_if(|last| *last == b'\n').is_none() {
        from.skip_until(b'\n')?;
    }
    Ok(true)
}

/// The MTA's configuration with its flag, if there is one, and the rest.
pub fn arguments<'a>(
    config: Option<&'a OsString>,
    flag: &'a str,
    rest: &[&'a str],
) -> Vec<&'a OsStr> {
    let config = config.map(|config| [OsStr::new(flag), config.as_os_str()]);
    let rest = rest.iter().map(|argument| OsStr::new(*argument));
    config.into_iter().flatten().chain(rest).collect()
}

const ENVIRONMENT: [(&str, &str); 2] = [("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"), ("LC_ALL", "C")];
/// For the largest queues; the client waits longer.
const DEADLINE: Duration = Duration::from_secs(60);
const MAX_WORDS: u64 = 65_536;
const MAX_LINE: u64 = 4 << 20;

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    struct Scripts(tempfile::TempDir);

    impl Scripts {
        fn with(name: &str, script: &str) -> Self {
            let home = tempfile::tempdir().expect("a directory can be made");
            let file = home.path().join(name);
            fs::write(&file, format!("#!/bin/sh\n{script}\n")).expect("our own directory");
            fs::set_permissions(&file, Permissions::from_mode(0o755)).expect("our own file");
            Self(home)
        }

        fn run(&self, name: &str, arguments: &[&str], limit: usize) -> Result<Said, String> {
            let commands = Commands {
                deadline: Duration::from_secs(30),
                ..Commands::within(vec!["/nowhere".into(), self.0.path().to_owned()])
            };
            let arguments: Vec<&OsStr> = arguments.iter().map(OsStr::new).collect();
            commands.run(name, &arguments, limit)
        }
    }

    #[test]
    fn arguments_arrive_as_they_are_in_a_clean_environment() {
        let scripts = Scripts::with(
            "say",
            "printf '<%s>' \"$@\"; /usr/bin/env | /usr/bin/sort | /usr/bin/tr '\\n' ' '",
        );
        let said = scripts
            .run("say", &["-d", "$(id) `id`;id", "a b"], 4_096)
            .expect("it runs");
        let output = String::from_utf8(said.output).expect("text");
        assert!(
            output.starts_with("<-d><$(id) `id`;id><a b>LC_ALL=C "),
            "{output}"
        );
        // What the shell itself adds, besides.
        let names = output
            .split_once('>')
            .map(|_| output.rsplit('>').next().unwrap_or_default());
        for variable in names.unwrap_or_default().split_whitespace() {
            let name = variable.split('=').next().unwrap_or_default();
            assert!(
                matches!(name, "LC_ALL" | "PATH" | "PWD" | "OLDPWD" | "SHLVL" | "_"),
                "{variable}"
            );
        }
    }

    #[test]
    fn how_a_command_ends() {
        let check = |script: &str, limit: usize, expected: (&str, &str, bool, bool)| {
            let scripts = Scripts::with("it", script);
            let said = scripts.run("it", &[], limit).expect("it ends");
            let output = String::from_utf8_lossy(&said.output).into_owned();
            let found = (
                output.as_str(),
                said.words.as_str(),
                said.cut,
                said.succeeded,
            );
            assert_eq!(found, expected, "{script}");
        };
        check(
            "echo out; echo bad >&2",
            10,
            ("out\n", "bad\n", false, true),
        );
        check("echo bad >&2; exit 3", 10, ("", "bad\n", false, false));
        check("echo 12345", 6, ("12345\n", "", false, true));
        // Nobody waits for what is too long to end.
        check("exec yes", 5, ("y\ny\ny", "", true, true));
    }

    #[test]
    fn a_command_that_hangs_is_stopped_with_all_it_started() {
        let scripts = Scripts::with("it", "echo one; sleep 1000 & sleep 1000");
        let commands = Commands {
            deadline: Duration::from_millis(200),
            ..Commands::within(vec![scripts.0.path().to_owned()])
        };
        let problem = commands.run("it", &[], 100).expect_err("it hangs");
        assert_eq!(problem, "it did not end within 0 s and was stopped");
    }

    #[test]
    fn nobody_waits_for_what_comes_after_the_last_words() {
        let scripts = Scripts::with(
            "it",
            "echo one; echo two >&2; echo 'it: gone' >&2; sleep 1000",
        );
        let commands = Commands::within(vec![scripts.0.path().to_owned()]).until("gone");
        let said = commands.run("it", &[], 100).expect("it is ended");
        assert_eq!(said.words, "two\nit: gone\n");
        assert_eq!(
            (said.output.as_slice(), said.succeeded),
            (&b"one\n"[..], false)
        );
    }

    #[test]
    fn what_is_not_there_is_named_with_where_it_was_looked_for() {
        let scripts = Scripts::with("it", "true");
        let problem = scripts.run("other", &[], 100).expect_err("there is none");
        assert!(
            problem.starts_with("there is no other in /nowhere, /"),
            "{problem}"
        );
    }

    #[test]
    fn lines_come_one_by_one_until_enough() {
        let scripts = Scripts::with("it", "echo one; echo; echo two; printf three; exec yes");
        let commands = Commands::within(vec![scripts.0.path().to_owned()]);
        let mut lines = Vec::new();
        let said = commands.each_line("it", &[], |line| {
            lines.push(String::from_utf8_lossy(line).into_owned());
            lines.len() < 5
        });
        assert!(said.expect("it ends").cut);
        assert_eq!(lines, ["one", "", "two", "threey", "y"]);
    }
}

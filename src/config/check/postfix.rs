//! What Postfix's own configuration says: who is chrooted where, and which milters it calls.
//!
//! Reads `main.cf` and `master.cf` as postconf(5) and master(5) describe them, without expanding `$`.

use std::path::{Path, PathBuf};

/// What matters for a milter's socket.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Postfix {
    /// The line of `master.cf` that runs smtpd chrooted, when one does.
    pub chrooted_at: Option<usize>,
    pub queue_directory: PathBuf,
    /// Each `smtpd_milters` with the milters that it names, in `main.cf` or by `-o` in `master.cf`.
    pub lists: Vec<Vec<String>>,
}

/// Reads the configuration directory; `None` when there is no Postfix there.
pub fn read(directory: &Path) -> Option<Postfix> {
    let main = std::fs::read_to_string(directory.join("main.cf")).ok()?;
    let master = std::fs::read_to_string(directory.join("master.cf")).ok()?;
    Some(understand(&main, &master))
}

fn understand(main: &str, master: &str) -> Postfix {
    let mut postfix = Postfix {
        queue_directory: PathBuf::from("/var/spool/postfix"),
        ..Postfix::default()
    };
    for (_, line) in logical_lines(main) {
        if let Some((name, value)) = line.split_once('=') {
            match name.trim() {
                "queue_directory" => postfix.queue_directory = PathBuf::from(value.trim()),
                "smtpd_milters" => postfix.lists.push(list(value)),
                _ => {}
            }
        }
    }
    for (number, line) in logical_lines(master) {
        let fields: Vec<&str> = line.split_whitespace().collect();
        // master(5): service type private unprivileged chroot wakeup process-limit command.
        if let [_, _, _, _, chroot, _, _, "smtpd", ..] = fields.as_slice() {
            if *chroot == "y" && postfix.chrooted_at.is_none() {
                postfix.chrooted_at = Some(number);
            }
            let given = fields
                .iter()
                .filter_map(|f| f.strip_prefix("smtpd_milters="));
            postfix.lists.extend(given.map(list));
        }
    }
    postfix
}

/// Lines joined with their continuations, which begin with white space; comments and blanks dropped.
/// Each with the number of its first line.
fn logical_lines(text: &str) -> Vec<(usize, String)> {
    let mut lines: Vec<(usize, String)> = Vec::new();
    for (at, line) in text.lines().enumerate() {
        if line.trim().is_empty() || line.trim_start().starts_with('#') {
            continue;
        }
        match lines.last_mut() {
            Some((_, last)) if line.starts_with([' ', '\t']) => last.push_str(line),
            _ => lines.push((at + 1, line.to_owned())),
        }
    }
    lines
}

/// Milters are separated by commas or white space; braces hold one with its settings.
fn list(value: &str) -> Vec<String> {
    let names = value.split([',', ' ', '\t', '{', '}']);
    let names = names.filter(|name| name.contains(':'));
    names.map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_matters() {
        let main = "# smtpd_milters = unix:no\nqueue_directory = /var/spool/postfix\n\
            smtpd_milters = inet:localhost:8891,\n    { unix:alignd/milter.sock, default_action=accept }\n";
        let master = "#service\nsmtp      inet  n       -       y       -       -       smtpd\n\
            pickup    unix  n       -       y       60      1       pickup\n\
            submission inet n       -       n       -       -       smtpd\n  -o smtpd_milters=inet:[::1]:1\n";
        let postfix = understand(main, master);
        assert_eq!(postfix.chrooted_at, Some(2));
        assert_eq!(
            postfix.lists,
            [
                vec!["inet:localhost:8891", "unix:alignd/milter.sock"],
                vec!["inet:[::1]:1"]
            ]
        );
        let plain = understand("", "smtp inet n - n - - smtpd\n");
        assert_eq!(plain.chrooted_at, None);
        assert_eq!(plain.queue_directory, Path::new("/var/spool/postfix"));
    }
}

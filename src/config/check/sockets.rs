//! `config check`: can the daemon make its sockets, and can the MTA reach them?

use super::account::{Account, Wish, is_hidden, shown};
use super::postfix::{self, Postfix};
use super::sendmail::{self, RUNTIME_DIRECTORY};
use super::{Findings, Host, Severity};
use crate::milter::SocketSpec;
use nix::unistd::Group;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

const LISTEN: (&str, &str) = ("milter", "listen");
const GROUP: (&str, &str) = ("milter", "socket_group");
const MODE: (&str, &str) = ("milter", "socket_mode");

pub fn check(findings: &mut Findings<'_>, host: &Host) {
    let milter = findings.loaded.config.milter.clone();
    let postfix = postfix::read(&host.postfix);
    let sendmail = sendmail::read(&host.sendmail);
    let place = Place {
        group: &milter.socket_group,
        for_sendmail: sendmail.is_some() && postfix.is_none(),
    };
    let mut unix = false;
    for socket in &milter.listen {
        match socket {
            SocketSpec::Unix(path) => {
                unix = true;
                can_be_made(findings, path, &host.account, &place);
                can_be_reached(findings, path, host.mta.as_ref(), postfix.as_ref());
            }
            SocketSpec::Inet { host, port } => open_to_others(findings, host, *port),
        }
    }
    if unix {
        group(findings, &milter.socket_group, milter.socket_mode, host);
    }
    if let Some(postfix) = &postfix {
        is_called(findings, &milter.listen, postfix);
    }
    if let Some(filters) = &sendmail {
        let config = &findings.loaded.config;
        // The header's look-ups begin when those of the envelope may just be ending.
        let longest = config.dns.message_deadline.saturating_mul(2) + config.store.wait;
        sendmail::check(findings, &milter.listen, filters, longest);
    }
}

/// What a socket's place should be like.
struct Place<'a> {
    /// `milter.socket_group`
    group: &'a str,
    /// Sendmail is the only MTA here.
    for_sendmail: bool,
}

impl Place<'_> {
    /// How to make the directory for the daemon's user.
    fn make(&self, directory: &Path, user: &str) -> String {
        let directory = directory.display();
        match (self.for_sendmail, self.group) {
            (true, _) => format!(
                "listen = [\"unix:{RUNTIME_DIRECTORY}/milter.sock\"], socket_group = \"\", as contrib/sendmail has it"
            ),
            (false, "") => format!("install -d -o {user} -m 0755 {directory}"),
            (false, group) => format!("install -d -o {user} -g {group} -m 0750 {directory}"),
        }
    }
}

fn can_be_made(findings: &mut Findings<'_>, path: &Path, account: &Account, wanted: &Place<'_>) {
    let user = &account.name;
    let place = path.display();
    if std::fs::symlink_metadata(path).is_ok_and(|found| !found.file_type().is_socket()) {
        let what = format!("{place} exists and is no socket: alignd won't replace it");
        findings.add(
            Severity::Error,
            LISTEN,
            what,
            "remove it, or name another path",
        );
    }
    let Some(directory) = path.parent() else {
        return;
    };
    let make = wanted.make(directory, user);
    let metadata = std::fs::metadata(directory);
    if is_hidden(&metadata) {
        return;
    }
    match metadata {
        Ok(found) if account.may(Wish::Fill, &found) => {}
        // Not there while alignd isn't running.
        Err(_) if directory == Path::new(RUNTIME_DIRECTORY) => {}
        Ok(found) => {
            let what = format!(
                "user {user} cannot make {place}: {} is {}",
                directory.display(),
                shown(&found)
            );
            findings.add(Severity::Error, LISTEN, what, make);
        }
        Err(_) => {
            let above = directory.parent().and_then(|d| std::fs::metadata(d).ok());
            if !above.is_some_and(|found| account.may(Wish::Fill, &found)) {
                let what = format!(
                    "{} does not exist and user {user} cannot make it",
                    directory.display()
                );
                findings.add(Severity::Error, LISTEN, what, make);
            }
        }
    }
}

fn can_be_reached(
    findings: &mut Findings<'_>,
    path: &Path,
    mta: Option<&Account>,
    postfix: Option<&Postfix>,
) {
    let place = path.display();
    if let Some(postfix) = postfix
        && let Some(line) = postfix.chrooted_at
        && !path.starts_with(&postfix.queue_directory)
    {
        let queue = postfix.queue_directory.display();
        findings.add(
            Severity::Error,
            LISTEN,
            format!("Postfix cannot reach {place}: its smtpd is chrooted to {queue} (master.cf line {line})"),
            format!("listen on \"unix:{queue}/alignd/milter.sock\" and name it unix:alignd/milter.sock in smtpd_milters"),
        );
    }
    if let Some(mta) = mta
        && let Some(closed) = mta.blocked_at(path)
    {
        let closed = closed.display();
        findings.add(
            Severity::Error,
            LISTEN,
            format!(
                "the MTA's user {} cannot go through {closed} to {place}",
                mta.name
            ),
            format!("chgrp {} {closed} && chmod g+x {closed}", mta.name),
        );
    }
}

fn group(findings: &mut Findings<'_>, name: &str, mode: u32, host: &Host) {
    let account = &host.account;
    let group = match name {
        "" => None,
        _ => match Group::from_name(name) {
            Ok(Some(group)) => Some(group),
            Ok(None) | Err(_) => {
                findings.add(
                    Severity::Error,
                    GROUP,
                    format!("there is no group \"{name}\" on this host"),
                    "name the group of the MTA's user; \"\", the daemon's own, for Sendmail, which connects as root",
                );
                return;
            }
        },
    };
    if let Some(group) = &group
        && !account.is_root()
        && !account.is_in(group)
    {
        findings.add(
            Severity::Error,
            GROUP,
            format!(
                "user {} is not in the group \"{name}\" and cannot give it the socket",
                account.name
            ),
            format!("usermod -aG {name} {} and start alignd again", account.name),
        );
    }
    let Some(mta) = &host.mta else {
        return;
    };
    let by_group = mode & 0o020 != 0 && group.is_some_and(|group| mta.is_in(&group));
    if !by_group && mode & 0o002 == 0 && !mta.is_root() {
        findings.add(
            Severity::Error,
            MODE,
            format!(
                "with {mode:04o} and the group \"{name}\" the MTA's user {} cannot connect",
                mta.name
            ),
            format!("\"0660\" with socket_group = \"{}\"", mta.name),
        );
    }
}

fn open_to_others(findings: &mut Findings<'_>, host: &str, port: u16) {
    let local = match host.parse::<std::net::IpAddr>() {
        Ok(address) => address.is_loopback(),
        Err(_) => host == "localhost",
    };
    if !local {
        findings.add(
            Severity::Warning,
            LISTEN,
            format!(
                "inet:{host}:{port} is open to other hosts: whoever reaches it can write verdicts"
            ),
            "listen on 127.0.0.1 or a Unix socket, or let a packet filter admit the MTAs only",
        );
    }
}

/// Whether any of our sockets stands in `smtpd_milters`, as Postfix would write it.
fn is_called(findings: &mut Findings<'_>, listen: &[SocketSpec], postfix: &Postfix) {
    let names: Vec<String> = listen.iter().flat_map(|s| names(s, postfix)).collect();
    let mut called = postfix.lists.iter().flatten();
    if called.any(|milter| names.contains(milter)) {
        return;
    }
    if let Some(name) = names.first() {
        findings.add(
            Severity::Note,
            LISTEN,
            "Postfix does not call alignd yet: smtpd_milters names none of these sockets",
            format!(
                "add {name} to smtpd_milters, behind the milters that `postconf smtpd_milters` shows, then: postfix reload"
            ),
        );
    }
}

/// The ways to name a socket in `smtpd_milters`, the best first: a path may be relative to the queue
/// directory, or absolute within the chroot.
pub fn names(socket: &SocketSpec, postfix: &Postfix) -> Vec<String> {
    let whole = socket.to_string();
    let inside = match socket {
        SocketSpec::Unix(path) => path.strip_prefix(&postfix.queue_directory).ok(),
        SocketSpec::Inet { .. } => None,
    };
    match inside.map(Path::display) {
        Some(inside) => vec![format!("unix:{inside}"), format!("unix:/{inside}"), whole],
        None => vec![whole],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::check::Finding;
    use crate::config::file::Lines;
    use crate::config::{Config, Loaded};
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    const CHROOTED: &str = "smtp inet n - y - - smtpd\n";
    const PLAIN: &str = "smtp inet n - n - - smtpd\n";

    /// Settings with `{}` for a directory of which `run` is open to all and `own` to root only;
    /// Postfix' queue directory is `{}/queue`.
    fn look(settings: &str, master: &str) -> Vec<Finding> {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        fs::set_permissions(root, fs::Permissions::from_mode(0o755)).unwrap();
        for (name, mode) in [
            ("run", 0o777),
            ("own", 0o700),
            ("queue", 0o777),
            ("etc", 0o755),
        ] {
            fs::create_dir(root.join(name)).unwrap();
            fs::set_permissions(root.join(name), fs::Permissions::from_mode(mode)).unwrap();
        }
        let place = root.display().to_string();
        let main = "queue_directory = {}/queue\nsmtpd_milters = inet:other:1 unix:/run/x.sock unix:alignd.sock\n";
        fs::write(root.join("etc/main.cf"), main.replace("{}", &place)).unwrap();
        fs::write(root.join("etc/master.cf"), master).unwrap();
        fs::write(root.join("run/file"), "").unwrap();
        let text = format!("[milter]\nsocket_group = \"root\"\nsocket_mode = \"0666\"\n{settings}");
        let (config, lines) = Config::parse(&text.replace("{}", &place), "mx.example.org").unwrap();
        let loaded = Loaded {
            config,
            file: None,
            lines,
        };
        let mut findings = Findings {
            loaded: &loaded,
            found: Vec::new(),
        };
        let host = host(&root.join("etc"));
        super::check(&mut findings, &host);
        let mut found = findings.found;
        for finding in &mut found {
            finding.what = finding.what.replace(&place, "{}");
            finding.next = finding.next.replace(&place, "{}");
        }
        found
    }

    fn check(settings: &str, master: &str, expected: &[&str]) {
        let found: Vec<String> = look(settings, master)
            .iter()
            .map(|f| format!("{:?} {}: {}", f.severity, f.setting, f.what))
            .collect();
        assert_eq!(found.len(), expected.len(), "{settings}: {found:#?}");
        for (found, expected) in found.iter().zip(expected) {
            assert!(found.starts_with(expected), "{settings}: {found}");
        }
    }

    #[test]
    fn the_mta_must_reach_the_socket() {
        check("listen = [\"unix:{}/queue/alignd.sock\"]\n", CHROOTED, &[]);
        check(
            "listen = [\"unix:{}/run/x.sock\"]\n",
            CHROOTED,
            &[
                "Error milter.listen: Postfix cannot reach {}/run/x.sock: its smtpd is chrooted to {}/queue (master.cf line 1)",
                "Note milter.listen: Postfix does not call alignd yet",
            ],
        );
        check(
            "listen = [\"inet:other:1\"]\n",
            PLAIN,
            &["Warning milter.listen: inet:other:1 is open"],
        );
        check(
            "listen = [\"unix:{}/own/x.sock\", \"unix:{}/queue/alignd.sock\"]\n",
            PLAIN,
            &["Error milter.listen: the MTA's user postfix cannot go through {}/own"],
        );
        check(
            "listen = [\"unix:{}/run/file\", \"unix:{}/queue/alignd.sock\"]\n",
            PLAIN,
            &["Error milter.listen: {}/run/file exists and is no socket"],
        );
    }

    #[test]
    fn no_milter_is_unplugged_by_what_is_advised() {
        let found = look("listen = [\"unix:{}/run/x.sock\"]\n", PLAIN);
        let [note] = found.as_slice() else {
            panic!("{found:?}");
        };
        // A whole new value would leave out what is written in words that aren't followed here.
        assert_eq!(
            note.next,
            "add unix:{}/run/x.sock to smtpd_milters, behind the milters that `postconf smtpd_milters` shows, \
             then: postfix reload"
        );
    }

    #[test]
    fn the_socket_needs_a_group_and_a_mode_that_let_the_mta_in() {
        for (name, mode, expected) in [
            ("root", 0o666, ""),
            (
                "root",
                0o660,
                "milter.socket_mode: with 0660 and the group \"root\" the MTA's user postfix cannot",
            ),
            (
                "no-such-group",
                0o666,
                "milter.socket_group: there is no group \"no-such-group\" on this host",
            ),
        ] {
            let loaded = Loaded {
                config: Config::defaults("mx.example.org"),
                file: None,
                lines: Lines::new(),
            };
            let mut findings = Findings {
                loaded: &loaded,
                found: Vec::new(),
            };
            group(&mut findings, name, mode, &host(Path::new("/nonexistent")));
            let found = findings.found.first();
            let found = found.map_or(String::new(), |f| format!("{}: {}", f.setting, f.what));
            assert_eq!(found.is_empty(), expected.is_empty(), "{found}");
            assert!(found.starts_with(expected), "{found}");
        }
    }

    /// `config check` runs outside the unit and sees only what the user database says.
    #[test]
    fn the_installed_user_is_in_every_group_that_the_unit_adds() {
        let unit = include_str!("../../../systemd/alignd.service");
        let users = include_str!("../../../systemd/sysusers.conf");
        let groups = unit
            .lines()
            .find_map(|line| line.strip_prefix("SupplementaryGroups="))
            .unwrap();
        let wanted = Config::defaults("mx.example.org").milter.socket_group;
        assert!(groups.split(' ').any(|group| group == wanted), "{groups}");
        for group in groups.split(' ') {
            let line = format!("m alignd {group}");
            assert!(users.lines().any(|found| found == line), "{line}");
        }
    }

    fn host(postfix: &Path) -> Host {
        Host {
            account: Account::of_user(0, "root"),
            mta: Some(Account::of_user(54_321, "postfix")),
            postfix: postfix.to_owned(),
            sendmail: "/nonexistent".into(),
            filters: Vec::new(),
            name: "mx.example.org".to_owned(),
        }
    }
}

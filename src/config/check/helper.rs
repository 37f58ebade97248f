//! `config check`: can held mail be listed and released? Whether the helper's socket is there, and whether it will
//! look into the queue of the MTA that this host has.

use super::holding::holds;
use super::{Findings, Host, Severity};
use crate::mta::MtaKind;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

/// Where a setting can hold mail.
pub fn check(findings: &mut Findings<'_>, host: &Host) {
    if holds(findings).is_none() {
        return;
    }
    let settings = findings.loaded.config.quarantine.queue.clone();
    let socket = &settings.helper_socket;
    let is_socket = std::fs::metadata(socket).is_ok_and(|found| found.file_type().is_socket());
    if !is_socket {
        findings.add(
            Severity::Warning,
            ("quarantine", "helper_socket"),
            format!(
                "nobody keeps the hold queue: there is no socket {}, so held mail can't be listed or released with alignd",
                socket.display()
            ),
            "systemctl enable --now alignd-mta-helper.socket",
        );
    }
    if let Some((what, next)) = another_mta(settings.mta, host) {
        findings.add(Severity::Error, ("quarantine", "mta"), what, next);
    }
    if let Some(config) = &settings.mta_config
        && let Some((what, next)) = no_config(settings.mta, config)
    {
        findings.add(Severity::Error, ("quarantine", "mta_config"), what, next);
    }
}

/// Held mail would be looked for in a queue where it can't be.
fn another_mta(named: MtaKind, host: &Host) -> Option<(String, String)> {
    let postfix = host.postfix.join("main.cf").exists();
    let sendmail = host.sendmail.exists();
    let other = match named {
        MtaKind::Postfix if sendmail && !postfix => MtaKind::Sendmail,
        MtaKind::Sendmail if postfix && !sendmail => MtaKind::Postfix,
        MtaKind::Postfix | MtaKind::Sendmail => return None,
    };
    Some((
        format!("held mail is looked for in the queue of {named}, but this host has {other}"),
        format!("mta = \"{other}\""),
    ))
}

fn no_config(mta: MtaKind, config: &Path) -> Option<(String, String)> {
    let (file, next) = match mta {
        MtaKind::Postfix => (
            config.join("main.cf"),
            "name the directory of an instance's main.cf, or \"\"",
        ),
        MtaKind::Sendmail => (config.to_owned(), "name a sendmail.cf, or \"\""),
    };
    let absent = !file.is_file();
    absent.then(|| (format!("there is no {}", file.display()), next.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::super::account::Account;
    use super::*;
    use crate::config::{Config, Loaded};
    use std::fs;
    use std::os::unix::net::UnixListener;

    /// HOME in settings and findings stands for the host's directory.
    fn check(settings: &str, files: &[&str], expected: &[&str]) {
        let directory = tempfile::tempdir().unwrap();
        let home = directory.path().display().to_string();
        for name in files {
            fs::write(directory.path().join(name), "").unwrap();
        }
        let _socket = UnixListener::bind(directory.path().join("socket")).unwrap();
        let text = format!("[policy]\non_reject = \"hold\"\n[quarantine]\n{settings}")
            .replace("HOME", &home);
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
        let host = Host {
            account: Account::of_user(0, "root"),
            mta: None,
            postfix: directory.path().to_owned(),
            sendmail: directory.path().join("sendmail.cf"),
            filters: Vec::new(),
            name: "mx.example.org".to_owned(),
        };
        super::check(&mut findings, &host);
        let found = findings.found.iter();
        let found: Vec<String> = found
            .map(|f| format!("{:?} {}: {}", f.severity, f.setting, f.what).replace(&home, "HOME"))
            .collect();
        assert_eq!(found, expected, "{settings}");
    }

    #[test]
    fn held_mail_can_be_reached() {
        let there = "helper_socket = \"HOME/socket\"\n";
        check(there, &["main.cf"], &[]);
        check(there, &[], &[]);
        check(
            &format!("{there}mta = \"sendmail\"\n"),
            &["sendmail.cf"],
            &[],
        );
        check(
            &format!("{there}mta = \"sendmail\"\n"),
            &["sendmail.cf", "main.cf"],
            &[],
        );
        check(
            &format!("{there}mta_config = \"HOME\"\n"),
            &["main.cf"],
            &[],
        );
        let absent = "Warning quarantine.helper_socket: nobody keeps the hold queue: there is no socket HOME/main.cf, \
                      so held mail can't be listed or released with alignd";
        check(
            "helper_socket = \"HOME/main.cf\"\n",
            &["main.cf"],
            &[absent],
        );
        let other = "Error quarantine.mta: held mail is looked for in the queue of postfix, but this host has sendmail";
        check(there, &["sendmail.cf"], &[other]);
        let other = "Error quarantine.mta: held mail is looked for in the queue of sendmail, but this host has postfix";
        check(
            &format!("{there}mta = \"sendmail\"\n"),
            &["main.cf"],
            &[other],
        );
        let none = "Error quarantine.mta_config: there is no HOME/none/main.cf";
        check(
            &format!("{there}mta_config = \"HOME/none\"\n"),
            &["main.cf"],
            &[none],
        );
    }
}

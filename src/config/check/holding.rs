//! What holding mail asks of the MTA and of this host: in which order the milters stand, what held mail
//! passes by, and a key to seal it with.
//!
//! Reads Postfix's and Sendmail's configuration through `postfix` and `sendmail`, and file metadata; touches
//! nothing.

use super::account::{Wish, is_hidden, shown};
use super::postfix::{self, Postfix};
use super::sendmail::{self, Filter};
use super::sockets::names;
use super::{Finding, Findings, Host, Severity};
use crate::config::rules::STRICTER;
use crate::milter::SocketSpec;
use crate::policy::rules::{Effect, StricterAction};
use crate::policy::{AuthorAction, FailAction, PolicySettings};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Everything there is to say where a setting can hold mail.
pub fn check(findings: &mut Findings<'_>, host: &Host) {
    let config = &findings.loaded.config;
    let holds = holds(findings);
    if (holds.is_some() || !config.trust.reinject.is_empty())
        && let Some((what, next)) = key_trouble(&config.identity.site_key, &config.store.path, host)
    {
        findings.add(Severity::Error, ("identity", "site_key"), what, next);
    }
    let Some((setting, line)) = holds else {
        return;
    };
    let listen = &findings.loaded.config.milter.listen;
    let told = orders(listen, host).into_iter().map(|what| Finding {
        severity: Severity::Note,
        setting: setting.clone(),
        line,
        what,
        next: ORDER.to_owned(),
    });
    let told: Vec<Finding> = told.collect();
    findings.found.extend(told);
}

/// What each MTA here does with its milters.
fn orders(listen: &[SocketSpec], host: &Host) -> Vec<String> {
    let postfix = postfix::read(&host.postfix);
    let filters = sendmail::read(&host.sendmail);
    if postfix.is_none() && filters.is_none() {
        return vec![format!(
            "mail may be held, but which milters stand before and behind alignd can't be read here: neither {}/main.cf nor {} is there",
            host.postfix.display(),
            host.sendmail.display()
        )];
    }
    let by_postfix = postfix.map(|postfix| behind_postfix(listen, &postfix));
    let by_sendmail = filters.and_then(|filters| behind_sendmail(listen, &filters));
    by_postfix
        .into_iter()
        .flatten()
        .chain(by_sendmail)
        .collect()
}

/// The first setting that can hold, with its line.
pub fn holds(findings: &Findings<'_>) -> Option<(String, Option<usize>)> {
    let loaded = findings.loaded;
    if let Some(key) = policy_holds(&loaded.config.policy) {
        let line = loaded.lines.get(&("policy", key)).copied();
        return Some((format!("policy.{key}"), line));
    }
    let mut stricter = loaded.config.stricter.iter();
    let rule =
        stricter.find(|written| written.rule.effect == Effect::Stricter(StricterAction::Hold))?;
    Some((format!("{STRICTER} {}", rule.rule.author), Some(rule.line)))
}

fn policy_holds(policy: &PolicySettings) -> Option<&'static str> {
    let failures = [
        ("on_reject", policy.on_reject),
        ("on_quarantine", policy.on_quarantine),
    ];
    let authors = [
        ("on_missing_author", policy.on_missing_author),
        ("on_multiple_authors", policy.on_multiple_authors),
        ("on_unparseable_author", policy.on_unparseable_author),
    ];
    let failure = failures.iter().find(|(_, to)| *to == FailAction::Hold);
    let author = authors.iter().find(|(_, to)| *to == AuthorAction::Hold);
    failure
        .map(|(key, _)| *key)
        .or_else(|| author.map(|(key, _)| *key))
}

/// Why the daemon's user won't get a key: what is wrong, and what to do. A directory of the store that isn't
/// there is told elsewhere.
fn key_trouble(path: &Path, store: &Path, host: &Host) -> Option<(String, String)> {
    let (account, place) = (&host.account, path.display());
    let user = &account.name;
    let metadata = std::fs::metadata(path);
    if is_hidden(&metadata) {
        return None;
    }
    if let Ok(found) = metadata {
        return if found.mode() & 0o007 != 0 {
            let what = format!("anyone can read {place} ({})", shown(&found));
            Some((what, format!("chmod o= {place}")))
        } else if !account.may(Wish::Read, &found) {
            let what = format!("user {user} cannot read {place} ({})", shown(&found));
            Some((what, format!("chown {user} {place}")))
        } else {
            None
        };
    }
    let directory = path.parent()?;
    match std::fs::metadata(directory) {
        Ok(found) if account.may(Wish::Fill, &found) => None,
        Err(_) if directory == store => None,
        Ok(found) => {
            let what = format!(
                "user {user} cannot make {place}: {} is {}",
                directory.display(),
                shown(&found)
            );
            Some((what, format!("chown {user} {}", directory.display())))
        }
        Err(_) => {
            let what = format!("{} does not exist", directory.display());
            let make = format!("install -d -o {user} -m 0750 {}", directory.display());
            Some((what, make))
        }
    }
}

/// Postfix asks no milter behind the one that holds.
fn behind_postfix(listen: &[SocketSpec], postfix: &Postfix) -> Vec<String> {
    let ours: Vec<String> = listen.iter().flat_map(|s| names(s, postfix)).collect();
    let lists = postfix.lists.iter().filter_map(|list| order(list, &ours));
    lists
        .map(|(list, behind)| match behind {
            0 => format!("Postfix asks its milters in this order: {list}; what alignd holds has passed them all"),
            _ => format!(
                "Postfix asks its milters in this order: {list}; those behind alignd see nothing of the mail it holds, and aren't asked when that is released"
            ),
        })
        .collect()
}

/// Sendmail asks the others all the same; only at the release nobody is.
fn behind_sendmail(listen: &[SocketSpec], filters: &[Filter]) -> Option<String> {
    let ours: Vec<String> = listen.iter().flat_map(sendmail::names).collect();
    let sockets: Vec<String> = filters.iter().map(|f| f.socket().to_owned()).collect();
    let (list, behind) = order(&sockets, &ours)?;
    Some(match behind {
        0 => format!(
            "Sendmail asks its milters in this order: {list}; what alignd holds has passed them all"
        ),
        _ => format!(
            "Sendmail asks its milters in this order: {list}; those behind alignd are asked about the mail it holds, and may still refuse or change it, but none is when that is released"
        ),
    })
}

/// The list with our own place in it, and how many stand behind us; `None` where we aren't called, which
/// is told elsewhere.
fn order(list: &[String], ours: &[String]) -> Option<(String, usize)> {
    let place = list.iter().position(|milter| ours.contains(milter))?;
    let names = list.iter().enumerate().map(|(at, milter)| match at {
        _ if at == place => "alignd",
        _ => milter.as_str(),
    });
    let names: Vec<&str> = names.collect();
    let behind = list.len().saturating_sub(place.saturating_add(1));
    Some((names.join(", "), behind))
}

const ORDER: &str =
    "milters that scan or refuse belong before alignd, those that sign or change mail behind it";

#[cfg(test)]
mod tests {
    use super::super::account::Account;
    use super::*;
    use crate::config::{Config, Loaded};
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    const POSTFIX: &str = "smtpd_milters = inet:scan:1, unix:alignd/milter.sock inet:sign:2\n";
    const SENDMAIL: &str = "O InputMailFilters=scan,alignd;sign\n\
        Xsign, S=inet:2@sign\nXalignd, S=local:/var/spool/postfix/alignd/milter.sock, F=T\nXscan, S=inet:1@scan\n";

    fn check(settings: &str, files: &[(&str, &str)], expected: &[&str]) {
        let directory = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(directory.path().join(name), text).unwrap();
        }
        let (config, lines) = Config::parse(settings, "mx.example.org").unwrap();
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
        let found: Vec<String> = findings
            .found
            .iter()
            .map(|f| format!("{:?} {} {:?}: {}", f.severity, f.setting, f.line, f.what))
            .collect();
        assert_eq!(found.len(), expected.len(), "{settings}: {found:#?}");
        for (found, expected) in found.iter().zip(expected) {
            assert!(found.starts_with(expected), "{settings}: {found}");
        }
    }

    #[test]
    fn the_key_must_be_to_be_had() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        fs::set_permissions(root, fs::Permissions::from_mode(0o755)).unwrap();
        let key = root.join("site.key");
        let host = |uid| Host {
            account: Account::of_user(uid, "nobody-here"),
            mta: None,
            postfix: root.to_owned(),
            sendmail: root.join("sendmail.cf"),
            filters: Vec::new(),
            name: "mx.example.org".to_owned(),
        };
        let check = |path: &Path, uid, expected: Option<&str>| {
            let found = key_trouble(path, &root.join("store"), &host(uid));
            let found = found.map(|(what, _)| what.replace(&root.display().to_string(), "{}"));
            match (&found, expected) {
                (Some(found), Some(expected)) => assert!(found.starts_with(expected), "{found}"),
                (found, expected) => assert_eq!(found.as_deref(), expected),
            }
        };
        check(&key, 0, None);
        check(
            &key,
            54_321,
            Some("user nobody-here cannot make {}/site.key: {} is drwxr-xr-x"),
        );
        check(&root.join("no/key"), 0, Some("{}/no does not exist"));
        check(&root.join("store/key"), 0, None);
        fs::write(&key, "").unwrap();
        for (mode, uid, expected) in [
            (0o600, 0, None),
            (
                0o600,
                54_321,
                Some("user nobody-here cannot read {}/site.key (-rw-------"),
            ),
            (0o604, 0, Some("anyone can read {}/site.key (-rw----r--")),
        ] {
            fs::set_permissions(&key, fs::Permissions::from_mode(mode)).unwrap();
            check(&key, uid, expected);
        }
    }

    #[test]
    fn the_order_of_milters_is_told_where_mail_may_be_held() {
        let master = "smtp inet n - n - - smtpd\n";
        let own_list = "smtp inet n - n - - smtpd\n -o smtpd_milters=unix:alignd/milter.sock\n";
        let postfix = [("main.cf", POSTFIX), ("master.cf", master)];
        let holds = "[policy]\non_quarantine = \"hold\"\n";
        check("", &postfix, &[]);
        check("[policy]\non_reject = \"reject\"\n", &postfix, &[]);
        check(
            holds,
            &postfix,
            &[
                "Note policy.on_quarantine Some(2): Postfix asks its milters in this order: \
                inet:scan:1, alignd, inet:sign:2; those behind alignd see nothing",
            ],
        );
        check(
            "[policy]\non_missing_author = \"hold\"\n",
            &[("main.cf", ""), ("master.cf", own_list)],
            &[
                "Note policy.on_missing_author Some(2): Postfix asks its milters in this order: \
                alignd; what alignd holds has passed them all",
            ],
        );
        check(
            holds,
            &[("sendmail.cf", SENDMAIL)],
            &[
                "Note policy.on_quarantine Some(2): Sendmail asks its milters in this order: \
                inet:1@scan, alignd, inet:2@sign; those behind alignd are asked",
            ],
        );
        check(
            "[[stricter]]\nauthor_domain = \"a.example\"\naction = \"hold\"\n",
            &[("sendmail.cf", SENDMAIL)],
            &["Note stricter a.example Some(1): Sendmail asks its milters in this order"],
        );
        check(
            holds,
            &[],
            &["Note policy.on_quarantine Some(2): mail may be held, but which milters stand"],
        );
    }
}

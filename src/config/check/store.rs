//! `config check`: can the daemon keep its store where `store.path` says?

use super::account::{Account, Wish, is_hidden, shown};
use super::{Findings, Host, Severity};
use crate::store::StoreSettings;
use std::path::Path;

const SETTING: (&str, &str) = ("store", "path");

pub fn check(findings: &mut Findings<'_>, host: &Host) {
    let path = findings.loaded.config.store.path.clone();
    if let Some((what, next)) = trouble(&path, &host.account) {
        findings.add(Severity::Error, SETTING, what, next);
    }
}

/// What keeps `account` from writing the store's files, and what to do.
fn trouble(path: &Path, account: &Account) -> Option<(String, String)> {
    let user = &account.name;
    let place = path.display();
    let make = format!("install -d -o {user} -m 0750 {place}");
    if let Some(closed) = account.blocked_at(path) {
        let closed = closed.display();
        return Some((
            format!("user {user} cannot go through {closed} on the way to {place}"),
            format!("chmod o+x {closed}, or keep the store elsewhere"),
        ));
    }
    let metadata = std::fs::metadata(path);
    if is_hidden(&metadata) {
        return None;
    }
    let Ok(metadata) = metadata else {
        if path == StoreSettings::default().path {
            // alignd.service's StateDirectory= makes it at the first start.
            return None;
        }
        let parent = path.parent()?;
        return match std::fs::metadata(parent) {
            Ok(found) if account.may(Wish::Fill, &found) => None,
            Ok(found) => Some((
                format!(
                    "{place} does not exist and user {user} cannot make it in {} ({})",
                    parent.display(),
                    shown(&found)
                ),
                make,
            )),
            Err(_) => Some((format!("{place} does not exist"), make)),
        };
    };
    if !metadata.is_dir() {
        let next = "name a directory; alignd keeps several files in it".to_owned();
        return Some((format!("{place} is not a directory"), next));
    }
    let own = |what: &str| format!("chown {user} {what}");
    if !account.may(Wish::Fill, &metadata) {
        let what = format!("user {user} cannot write to {place} ({})", shown(&metadata));
        return Some((what, own(&place.to_string())));
    }
    ["alignd.db", "alignd.db-wal", "alignd.db-shm"]
        .iter()
        .find_map(|name| {
            let file = path.join(name);
            let found = std::fs::metadata(&file).ok()?;
            (!account.may(Wish::Write, &found)).then(|| {
                let file = file.display();
                let what = format!("user {user} cannot write to {file} ({})", shown(&found));
                (what, own(&format!("{place}/alignd.db*")))
            })
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn says_which_file_and_which_user() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        fs::set_permissions(root, fs::Permissions::from_mode(0o755)).unwrap();
        for (name, mode) in [("open", 0o777), ("closed", 0o755), ("sealed", 0o700)] {
            fs::create_dir(root.join(name)).unwrap();
            fs::set_permissions(root.join(name), fs::Permissions::from_mode(mode)).unwrap();
        }
        fs::write(root.join("open/alignd.db"), "").unwrap();
        fs::write(root.join("file"), "").unwrap();
        let nobody = Account::of_user(54_321, "nobody-here");
        let db_mode = |mode| {
            let file = root.join("open/alignd.db");
            fs::set_permissions(file, fs::Permissions::from_mode(mode)).unwrap();
        };
        db_mode(0o666);
        for (path, expected) in [
            ("open", None),
            ("open/new", None),
            ("closed", Some("cannot write to {}/closed (drwxr-xr-x")),
            (
                "closed/new",
                Some("cannot make it in {}/closed (drwxr-xr-x"),
            ),
            ("sealed/in", Some("cannot go through {}/sealed")),
            ("no/where", Some("{}/no/where does not exist")),
            ("file", Some("{}/file is not a directory")),
        ] {
            let found = trouble(&root.join(path), &nobody).map(|(what, _)| what);
            match expected.map(|e| e.replace("{}", &root.display().to_string())) {
                None => assert_eq!(found, None, "{path}"),
                Some(expected) => assert!(found.unwrap().contains(&expected), "{path}"),
            }
        }
        db_mode(0o644);
        let (what, next) = trouble(&root.join("open"), &nobody).unwrap();
        assert!(what.contains("nobody-here cannot write to"), "{what}");
        assert!(what.contains("open/alignd.db (-rw-r--r--"), "{what}");
        assert!(next.starts_with("chown nobody-here "), "{next}");
        let us = Account::of_user(0, "root");
        assert_eq!(trouble(&root.join("sealed"), &us), None);
    }

    #[test]
    fn the_directory_that_systemd_makes_is_not_missed_before_the_first_start() {
        let path = StoreSettings::default().path;
        let unit = include_str!("../../../systemd/alignd.service");
        assert_eq!(path, Path::new("/var/lib/alignd"));
        assert!(unit.lines().any(|line| line == "StateDirectory=alignd"));
        if !path.exists() {
            let nobody = Account::of_user(54_321, "alignd");
            assert_eq!(trouble(&path, &nobody), None);
        }
    }
}

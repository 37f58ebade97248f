//! `config check`: does anybody learn of held mail, and can what is to be deleted be announced?

use super::holding::holds;
use super::{Findings, Severity};

pub fn check(findings: &mut Findings<'_>) {
    let config = &findings.loaded.config;
    let settings = config.quarantine.clone();
    let nobody = settings.notify.is_none();
    let can_be_from = config.digest_from().is_some();
    let is_reported_from = config.sending().is_ok();
    if nobody && let Some((setting, _)) = holds(findings) {
        findings.add(
            Severity::Warning,
            ("quarantine", "notify"),
            format!("nobody is told of what {setting} holds: mail may lie there unnoticed"),
            "name the address of somebody who looks at it: notify = \"postmaster@example.org\"",
        );
    }
    if nobody && settings.expire_after.is_some() {
        findings.add(
            Severity::Error,
            ("quarantine", "expire_after"),
            "nothing is ever deleted: a digest must announce it, and quarantine.notify names nobody who gets one",
            "set quarantine.notify, or expire_after = \"never\"",
        );
    }
    if nobody {
        return;
    }
    if !can_be_from {
        findings.add(
            Severity::Error,
            ("quarantine", "notify"),
            "no digest can be sent: it would have no sender",
            "set identity.report_domain or delivery.from",
        );
    } else if !is_reported_from && config_signs(findings) {
        findings.add(
            Severity::Warning,
            ("quarantine", "notify"),
            "digests are not signed: delivery.dkim_key_file signs for identity.report_domain, which is not set",
            "set identity.report_domain",
        );
    }
}

fn config_signs(findings: &Findings<'_>) -> bool {
    findings.loaded.config.delivery.dkim_key_file.is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Loaded};

    #[test]
    fn somebody_must_be_told() {
        let unnoticed = "Warning quarantine.notify: nobody is told of what";
        for (text, expected) in [
            ("", &[][..]),
            ("[quarantine]\nnotify = \"a@a.example\"", &[]),
            (
                "[quarantine]\nnotify = \"a@a.example\"\nexpire_after = \"30d\"",
                &[],
            ),
            ("[policy]\non_reject = \"hold\"", &[unnoticed]),
            ("[policy]\non_missing_author = \"hold\"", &[unnoticed]),
            (
                "[[stricter]]\nauthor_domain = \"a.example\"\naction = \"hold\"",
                &[unnoticed],
            ),
            ("[policy]\non_reject = \"reject\"", &[]),
            (
                "[policy]\non_reject = \"hold\"\n[quarantine]\nnotify = \"a@a.example\"",
                &[],
            ),
            (
                "[quarantine]\nexpire_after = \"30d\"",
                &["Error quarantine.expire_after: nothing is ever deleted"],
            ),
            (
                "[identity]\nauthserv_id = \"mx:1\"\n[quarantine]\nnotify = \"a@a.example\"",
                &["Error quarantine.notify: no digest can be sent"],
            ),
            (
                "[quarantine]\nnotify = \"a@a.example\"\n[delivery]\ndkim_key_file = \"/k\"\ndkim_selector = \"s\"",
                &["Warning quarantine.notify: digests are not signed"],
            ),
        ] {
            let (config, lines) = Config::parse(text, "mx.example.org").unwrap();
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
            let found = findings.found.iter();
            let found: Vec<String> = found
                .map(|f| format!("{:?} {}: {}", f.severity, f.setting, f.what))
                .collect();
            assert_eq!(found.len(), expected.len(), "{text}: {found:#?}");
            for (found, expected) in found.iter().zip(expected) {
                assert!(found.starts_with(expected), "{text}: {found}");
            }
        }
    }
}

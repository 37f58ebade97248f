//! `config check`: can report mail be sent with these settings, and will it be believed?

use super::{Findings, Severity};

pub fn check(findings: &mut Findings<'_>) {
    let config = &findings.loaded.config;
    let settings = config.delivery.clone();
    let domain = config.identity.report_domain.clone();
    let pairs = [
        (
            settings.username.is_some(),
            "username",
            settings.password_file.is_some(),
            "password_file",
        ),
        (
            settings.dkim_selector.is_some(),
            "dkim_selector",
            settings.dkim_key_file.is_some(),
            "dkim_key_file",
        ),
    ];
    for (has_one, one, has_other, other) in pairs {
        if has_one != has_other {
            let (set, missing) = if has_one { (one, other) } else { (other, one) };
            findings.add(
                Severity::Error,
                ("delivery", set),
                format!("it says nothing without delivery.{missing}"),
                format!("set delivery.{missing} too, or neither"),
            );
        }
    }
    if settings.username.is_some() && !settings.protects_password() {
        findings.add(
            Severity::Error,
            ("delivery", "username"),
            format!(
                "with delivery.tls = \"{}\" the password would go to whoever answers",
                settings.tls
            ),
            "set delivery.tls = \"required\" or \"implicit\"",
        );
    }
    let (Some(from), Some(domain)) = (settings.from, domain) else {
        return;
    };
    if !from.domain().is_within(&domain) && !domain.is_within(from.domain()) {
        findings.add(
            Severity::Warning,
            ("delivery", "from"),
            format!("{from} is not of identity.report_domain, {domain}, so that report mail may fail DMARC itself"),
            format!("name an address at {domain}, or none"),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Loaded};

    #[test]
    fn what_cannot_work_is_told() {
        for (text, expected) in [
            ("", ""),
            ("username = \"u\"", "Error delivery.username"),
            ("username = \"u\"\npassword_file = \"/p\"", ""),
            (
                "username = \"u\"\npassword_file = \"/p\"\nsmtp = \"smtp.example:587\"",
                "Error delivery.username",
            ),
            (
                "username = \"u\"\npassword_file = \"/p\"\nsmtp = \"smtp.example:587\"\ntls = \"required\"",
                "",
            ),
            ("dkim_key_file = \"/k\"", "Error delivery.dkim_key_file"),
            ("from = \"a@other.example\"", "Warning delivery.from"),
            ("from = \"a@mail.a.example\"", ""),
        ] {
            let text = format!("[identity]\nreport_domain = \"a.example\"\n[delivery]\n{text}\n");
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
            let found: Vec<String> = findings
                .found
                .iter()
                .map(|f| format!("{:?} {}", f.severity, f.setting))
                .collect();
            assert_eq!(found.join(" "), expected, "{text}");
        }
    }
}

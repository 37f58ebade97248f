//! What `alignd config check` says about local rules: those that don't apply any more or soon won't, that
//! can't apply, and that anyone could use.
//!
//! Pure.

use super::{Finding, Findings, Severity};
use crate::config::rules::{EXCEPTION, STRICTER, WrittenRule};
use crate::policy::rules::{ArcSealer, AuthorPattern, RecipientPattern, RuleKey};
use crate::time::Timestamp;
use std::collections::HashMap;

pub(super) fn check(findings: &mut Findings<'_>, now: Timestamp) {
    let config = &findings.loaded.config;
    let exceptions = config.exceptions.iter().map(|rule| (EXCEPTION, rule));
    let stricter = config.stricter.iter().map(|rule| (STRICTER, rule));
    let mut seen: HashMap<RuleKey, usize> = HashMap::new();
    for (list, written) in exceptions.chain(stricter) {
        let mut found = Vec::new();
        end(written, now, &mut found);
        evidence(written, findings, &mut found);
        if let Some(first) = seen.insert(RuleKey::config(&written.rule), written.line) {
            found.push((
                Severity::Warning,
                format!("it decides the same as the one in line {first}"),
                "keep one of the two".to_owned(),
            ));
        }
        let setting = format!("{list} {}", written.rule.author);
        findings
            .found
            .extend(found.into_iter().map(|(severity, what, next)| Finding {
                severity,
                setting: setting.clone(),
                line: Some(written.line),
                what,
                next,
            }));
    }
    sealers(findings);
}

type Found = Vec<(Severity, String, String)>;

fn end(written: &WrittenRule, now: Timestamp, found: &mut Found) {
    let Some(end) = written.rule.expires else {
        return;
    };
    let next = "delete it, or let it expire later".to_owned();
    if written.rule.is_expired(now) {
        let what = format!("it ended on {end}: it is as if it weren't there");
        found.push((Severity::Warning, what, next));
    } else if end < now.plus_micros(SOON) {
        found.push((Severity::Warning, format!("it ends soon, on {end}"), next));
    }
}

fn evidence(written: &WrittenRule, findings: &Findings<'_>, found: &mut Found) {
    let (config, rule) = (&findings.loaded.config, &written.rule);
    if let Some(requirements) = rule.requirements() {
        if !requirements.is_verifiable() {
            let whose = match &rule.author {
                AuthorPattern::Any => "anybody".to_owned(),
                AuthorPattern::Domain(_) | AuthorPattern::Below(_) => rule.author.to_string(),
            };
            found.push((
                Severity::Warning,
                format!("unsafe: nothing is verified, so every spoofer of {whose} may use it"),
                "require evidence: `alignd why` shows what their mail has".to_owned(),
            ));
        }
        match &requirements.arc_sealer {
            Some(_) if !config.arc.enabled => found.push((
                Severity::Warning,
                "it requires an ARC sealer, but ARC isn't evaluated: it never applies".to_owned(),
                "set arc.enabled = true".to_owned(),
            )),
            Some(ArcSealer::Named(sealer)) if !config.arc.trusted_sealers.contains(sealer) => {
                found.push((
                    Severity::Warning,
                    format!("{sealer} is not in arc.trusted_sealers: it never applies"),
                    format!("if you trust its findings, set arc.trusted_sealers = [\"{sealer}\"]"),
                ));
            }
            Some(ArcSealer::Trusted) if config.arc.trusted_sealers.is_empty() => found.push((
                Severity::Warning,
                "arc.trusted_sealers names nobody: it never applies".to_owned(),
                "name the sealers whose findings you trust".to_owned(),
            )),
            Some(ArcSealer::Named(_) | ArcSealer::Trusted) | None => {}
        }
    }
    let is_address = |to: &RecipientPattern| matches!(to, RecipientPattern::Address(_));
    if !config.store.local_parts && rule.recipients.iter().any(is_address) {
        found.push((
            Severity::Note,
            "it names addresses, but of mail that is past only the recipients' domains are known"
                .to_owned(),
            "to try such rules on stored mail, set store.local_parts = true".to_owned(),
        ));
    }
}

fn sealers(findings: &mut Findings<'_>) {
    let config = &findings.loaded.config;
    let wanted = config.exceptions.iter().any(|written| {
        let requirements = written.rule.requirements();
        requirements.is_some_and(|requirements| requirements.arc_sealer.is_some())
    });
    if config.arc.trusted_sealers.is_empty() || wanted {
        return;
    }
    findings.add(
        Severity::Note,
        ("arc", "trusted_sealers"),
        "no exception of this file requires an ARC sealer, so nobody's findings are taken",
        "add an [[exception]] with require = { arc_sealer = \"*\" }, or one to the store",
    );
}

/// Two weeks.
const SOON: i64 = 14 * 86_400 * 1_000_000;

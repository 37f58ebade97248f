//! What a verdict rests on, in as few words as a column of a listing has room for. Pure.

use super::Verdict;
use crate::auth::{DkimResult, SpfResult};

/// `spf=fail dkim=pass (list.example) p=reject`: as short as a column.
pub fn in_short(verdict: &Verdict) -> String {
    let spf = &verdict.evidence.spf.mail_from;
    let mut words = vec![match spf.result {
        SpfResult::Pass => format!("spf=pass ({})", spf.domain),
        SpfResult::None
        | SpfResult::Neutral
        | SpfResult::Fail
        | SpfResult::Softfail
        | SpfResult::Temperror
        | SpfResult::Permerror => format!("spf={}", spf.result),
    }];
    let signatures = &verdict.evidence.dkim.signatures;
    let passed = signatures.iter().find(|s| s.result == DkimResult::Pass);
    words.push(match (passed, signatures.first()) {
        (Some(passed), _) => format!("dkim=pass ({})", passed.domain),
        (None, Some(first)) => format!("dkim={}", first.result),
        (None, None) => "dkim=none".to_owned(),
    });
    let policy = verdict.evaluation.as_ref().and_then(|e| e.policy.as_ref());
    words.extend(policy.map(|policy| format!("p={}", policy.selected)));
    words.join(" ")
}

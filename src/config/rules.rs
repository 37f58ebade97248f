//! `[[exception]]` and `[[stricter]]`: a local rule as it is written in the settings file, and back.
//!
//! Owns their keys and notation. What makes a rule sound is `policy::rules`'. Pure.

use super::file::{Reader, Section};
use super::show::{list, quoted};
use super::value::{Fault, Value};
use crate::domain::DomainName;
use crate::policy::OverrideType;
use crate::policy::rules::{
    ArcSealer, AuthorPattern, Effect, KeyedRule, ListRequirement, NamePattern, RecipientPattern,
    Requirements, Rule, RuleError, RuleKey, RuleTerms, Signer, StricterAction,
};

/// A rule in the settings file.
#[derive(Debug, Clone)]
pub struct WrittenRule {
    pub rule: Rule,
    /// The line it begins in.
    pub line: usize,
}

/// Where it stands makes no other rule of it.
impl PartialEq for WrittenRule {
    fn eq(&self, other: &Self) -> bool {
        self.rule == other.rule
    }
}

impl Eq for WrittenRule {}

impl WrittenRule {
    pub fn keyed(&self) -> KeyedRule {
        KeyedRule {
            key: RuleKey::config(&self.rule),
            rule: self.rule.clone(),
        }
    }
}

/// Every `[[exception]]`.
pub fn exceptions(reader: &mut Reader<'_>) -> Vec<WrittenRule> {
    written(reader.entries(EXCEPTION, |s| {
        let author = s.required("author_domain", author);
        let requirements = s.inner("require", "exception.require", requirements);
        let because = |v: Value<'_>| v.one_of(REASONS, OverrideType::as_str);
        let recipients = s.or("recipients", Vec::new(), |v| v.list(recipient));
        let because = s.or("because", OverrideType::LocalPolicy, because);
        let (comment, owner) = (text(s, "comment"), text(s, "owner"));
        let expires = s.or("expires", None, |v| v.moment().map(Some));
        let is_unsafe = s.or("unsafe", false, |v| v.boolean());
        let terms = RuleTerms {
            recipients,
            because,
            comment,
            owner,
            expires,
            is_unsafe,
            ..RuleTerms::exception(author?, requirements?)
        };
        sound(s, terms)
    }))
}

/// Every `[[stricter]]`.
pub fn stricter(reader: &mut Reader<'_>) -> Vec<WrittenRule> {
    written(reader.entries(STRICTER, |s| {
        let author = s.required("author_domain", author);
        let action = |v: Value<'_>| v.one_of(StricterAction::ALL, StricterAction::as_str);
        let action = s.required("action", action);
        let recipients = s.or("recipients", Vec::new(), |v| v.list(recipient));
        let (comment, owner) = (text(s, "comment"), text(s, "owner"));
        let expires = s.or("expires", None, |v| v.moment().map(Some));
        let terms = RuleTerms {
            recipients,
            comment,
            owner,
            expires,
            ..RuleTerms::stricter(author?, action?)
        };
        sound(s, terms)
    }))
}

fn written(rules: Vec<(Rule, usize)>) -> Vec<WrittenRule> {
    let rules = rules.into_iter();
    rules
        .map(|(rule, line)| WrittenRule { rule, line })
        .collect()
}

/// The rule that the terms make. Where something else is wrong with them, that is enough to be told.
fn sound(s: &mut Section<'_, '_>, terms: RuleTerms) -> Option<Rule> {
    if !s.is_faultless() {
        return None;
    }
    let rule = Rule::new(terms);
    rule.map_err(|error| s.complain(error.to_string())).ok()
}

fn requirements(s: &mut Section<'_, '_>) -> Option<Requirements> {
    let signer = s.or("dkim", None, |v| name(v).map(Some));
    let selector = s.or("dkim_selector", None, |v| selector(v).map(Some));
    let spf = s.or("spf", None, |v| name(v).map(Some));
    let reverse_name = s.or("reverse_name", None, |v| name(v).map(Some));
    let networks = s.or("network", Vec::new(), |v| v.one_or_more(|v| v.network()));
    let list_id = s.or("list_id", None, |v| v.text().map(|id| Some(id.to_owned())));
    let list_domain = s.or("list_domain", None, |v| domain(v).map(Some));
    let arc_sealer = s.or("arc_sealer", None, |v| sealer(v).map(Some));
    let alone = match (&signer, &selector, &list_id, &list_domain) {
        (None, Some(_), _, _) => Some(RuleError::SelectorAlone),
        (_, _, None, Some(_)) => Some(RuleError::ListDomainAlone),
        _ => None,
    };
    if let Some(error) = alone {
        s.complain(error.to_string());
        return None;
    }
    Some(Requirements {
        dkim: signer.map(|domain| Signer { domain, selector }),
        spf,
        reverse_name,
        networks,
        list: list_id.map(|id| ListRequirement::new(&id, list_domain)),
        arc_sealer,
    })
}

fn text(s: &mut Section<'_, '_>, key: &'static str) -> Option<String> {
    s.or(key, None, |v| v.text().map(|text| Some(text.to_owned())))
}

fn author(v: Value<'_>) -> Result<AuthorPattern, Fault> {
    let read = v.text().ok().and_then(AuthorPattern::parse);
    read.ok_or_else(|| v.unlike("a domain, \".domain\" for those below it, or \"*\" for all"))
}

fn recipient(v: Value<'_>) -> Result<RecipientPattern, Fault> {
    let read = v.text().ok().and_then(RecipientPattern::parse);
    read.ok_or_else(|| v.unlike("an address such as \"anna@example.org\", a domain or \".domain\""))
}

fn name(v: Value<'_>) -> Result<NamePattern, Fault> {
    let read = v.text().ok().and_then(NamePattern::parse);
    read.ok_or_else(|| v.unlike("a domain such as \"lists.example.org\", or \".domain\""))
}

fn domain(v: Value<'_>) -> Result<DomainName, Fault> {
    let read = v.text().ok().and_then(|text| DomainName::parse(text).ok());
    read.ok_or_else(|| v.unlike("a domain such as \"example.org\""))
}

fn sealer(v: Value<'_>) -> Result<ArcSealer, Fault> {
    let read = v.text().ok().and_then(ArcSealer::parse);
    read.ok_or_else(|| v.unlike("a domain of arc.trusted_sealers, or \"*\" for any of them"))
}

fn selector(v: Value<'_>) -> Result<String, Fault> {
    let read = v.text().ok().and_then(|text| DomainName::parse(text).ok());
    read.map(|name| name.to_string())
        .ok_or_else(|| v.unlike("a selector such as \"s2026\""))
}

/// The keys that the rule has, as they are written.
pub fn keys(rule: &Rule) -> Vec<(&'static str, String)> {
    let mut keys = vec![("author_domain", quoted(rule.author.to_string()))];
    match &rule.effect {
        Effect::Except(requirements) => {
            keys.push(("require", in_braces(requirements)));
            keys.push(("because", quoted(rule.because)));
        }
        Effect::Stricter(action) => keys.push(("action", quoted(action))),
    }
    if !rule.recipients.is_empty() {
        keys.push(("recipients", list(&rule.recipients)));
    }
    let comment = rule.comment.as_ref();
    keys.extend(comment.map(|comment| ("comment", quoted(comment))));
    keys.extend(rule.owner.as_ref().map(|owner| ("owner", quoted(owner))));
    keys.extend(rule.expires.map(|end| ("expires", quoted(end))));
    if rule.is_unsafe {
        keys.push(("unsafe", "true".to_owned()));
    }
    keys
}

fn in_braces(requirements: &Requirements) -> String {
    let mut keys: Vec<String> = Vec::new();
    let mut add = |key: &str, value: Option<String>| {
        keys.extend(value.map(|value| format!("{key} = {value}")));
    };
    let signer = requirements.dkim.as_ref();
    add("dkim", signer.map(|s| quoted(&s.domain)));
    let selector = signer.and_then(|s| s.selector.as_ref());
    add("dkim_selector", selector.map(quoted));
    add("spf", requirements.spf.as_ref().map(quoted));
    add(
        "reverse_name",
        requirements.reverse_name.as_ref().map(quoted),
    );
    let networks = &requirements.networks;
    add("network", (!networks.is_empty()).then(|| list(networks)));
    let found = requirements.list.as_ref();
    add("list_id", found.map(|list| quoted(&list.id)));
    let domain = found.and_then(|list| list.domain.as_ref());
    add("list_domain", domain.map(quoted));
    add("arc_sealer", requirements.arc_sealer.as_ref().map(quoted));
    if keys.is_empty() {
        return "{}".to_owned();
    }
    format!("{{ {} }}", keys.join(", "))
}

/// The table of the file they stand in.
pub const EXCEPTION: &str = "exception";
pub const STRICTER: &str = "stricter";

/// What an operator may give as a reason.
const REASONS: &[OverrideType] = &[
    OverrideType::LocalPolicy,
    OverrideType::MailingList,
    OverrideType::TrustedForwarder,
    OverrideType::Other,
];

//! What is asked about exceptions: adding and ending those of the store, and the one that a release brings.
//!
//! Owns the way from the words of a request to a rule. What makes a rule sound is `policy::rules`'.

use super::access::Caller;
use super::answer::{Desk, of_change, of_quarantine, usage};
use super::protocol::{Answer, Refusal, RefusalKind, Release, RuleAdded, RuleRemoved};
use crate::key_file;
use crate::policy::OverrideType;
use crate::policy::rules::{Effect, Rule, RuleKey, RuleTerms, StricterAction};
use crate::quarantine::{QuarantineError, Target};
use crate::store::{Change, ChangeError, Changed, ExceptionId, NewException, Reader};
use crate::tell_outcome::one_line;
use crate::time::Timestamp;
use crate::verdict::suggest::suggestions;
use serde_json::json;
use tracing::info;

impl<Q> Desk<Q> {
    pub(super) async fn add_exception(
        &self,
        added: RuleAdded,
        caller: &Caller,
    ) -> Result<Answer, Refusal> {
        let now = self.clock.now();
        let rule = Rule::parse_json(&added.rule.to_string());
        let rule = rule.map_err(|error| usage(error.to_string()))?;
        let rule = owned(&rule, caller, now)?;
        if rule.is_expired(now) {
            return Err(usage("expires: that is past already".to_owned()));
        }
        self.check_that_it_can_hold(&rule)?;
        let author = rule.author.to_string();
        let change = Change::AddException(Box::new(NewException {
            why: rule.comment.clone(),
            rule,
            from: None,
            at: now,
            who: caller.who.clone(),
        }));
        let (change, id) = match self.change_one(change).await? {
            Changed::Added(id) => ("added", Some(id)),
            Changed::Altered(id) => ("changed", Some(id)),
            Changed::AlreadyThere(id) => ("unchanged", Some(id)),
            Changed::Moved | Changed::Removed | Changed::Noted | Changed::Unchanged => {
                ("unchanged", None)
            }
        };
        let key = id.map(|id| id.key().to_string());
        info!(by = caller.who, key, change, author, "exception");
        Ok(Answer::done(json!({"change": change, "key": key})))
    }

    pub(super) async fn remove_exception(
        &self,
        removed: RuleRemoved,
        caller: &Caller,
    ) -> Result<Answer, Refusal> {
        let key = RuleKey::parse(&removed.key);
        let id = key.as_ref().and_then(RuleKey::stored_id);
        let id = id.ok_or_else(|| usage("key: one of the store's, such as stored-7".to_owned()))?;
        let change = Change::RemoveException {
            id: ExceptionId(id),
            at: self.clock.now(),
            who: caller.who.clone(),
            why: removed.why.as_deref().map(one_line),
        };
        let changed = self.change_one(change).await? == Changed::Removed;
        if changed {
            info!(
                by = caller.who,
                key = removed.key,
                change = "removed",
                "exception"
            );
        }
        Ok(Answer::done(
            json!({"key": removed.key, "changed": changed}),
        ))
    }

    /// A rule that holds must not be told as in force while held mail can't be sealed.
    fn check_that_it_can_hold(&self, rule: &Rule) -> Result<(), Refusal> {
        match (&rule.effect, &self.site_key) {
            (Effect::Stricter(StricterAction::Hold), Some(path)) => key_file::open_or_make(path)
                .map(|_| ())
                .map_err(|error| Refusal {
                    kind: RefusalKind::Temporary,
                    error: format!("{error}; nothing was changed"),
                }),
            (Effect::Stricter(StricterAction::Hold | StricterAction::Reject), _)
            | (Effect::Except(_), _) => Ok(()),
        }
    }

    async fn change_one(&self, change: Change) -> Result<Changed, Refusal> {
        let changed = self.store.change(vec![change]).await;
        let changed = changed.map_err(|error: ChangeError| Refusal {
            kind: of_change(&error),
            error: error.to_string(),
        })?;
        Ok(changed.into_iter().next().unwrap_or(Changed::Unchanged))
    }

    /// The exception that a release brings, if it is to bring one.
    pub(super) async fn exception_of(
        &self,
        release: &Release,
        because: Option<OverrideType>,
        caller: &Caller,
    ) -> Result<Option<Rule>, Refusal> {
        let Some(number) = release.allow else {
            return match release.expires {
                None => Ok(None),
                Some(_) => Err(usage(
                    "expires: of which exception? say allow, too".to_owned(),
                )),
            };
        };
        let (directory, target) = (self.directory.clone(), Target::parse(&release.id));
        let reading = tokio::task::spawn_blocking(move || {
            let reader = Reader::open(&directory).map_err(QuarantineError::Open)?;
            target.find(&reader)
        });
        let stored = match reading.await {
            Ok(stored) => stored.map_err(of_quarantine)?,
            Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
        };
        let mut made = suggestions(&stored.verdict);
        if made.is_empty() {
            return Err(Refusal {
                kind: RefusalKind::No,
                error: format!(
                    "nothing of {} is verified that an exception could require: release it once, without allow",
                    stored.verdict.id
                ),
            });
        }
        let count = made.len();
        if !(1..=count).contains(&number) {
            return Err(usage(format!(
                "allow: there are {count} suggestions, from 1"
            )));
        }
        let chosen = made.swap_remove(number - 1).rule;
        let now = self.clock.now();
        let expires = release.expires.as_deref().map(|text| {
            let at = Timestamp::parse_rfc3339(text).filter(|at| *at > now);
            at.ok_or_else(|| usage("expires: a time to come, RFC 3339".to_owned()))
        });
        let terms = RuleTerms {
            because: because.unwrap_or(chosen.because),
            comment: release.comment.as_deref().map(shortened),
            expires: expires.transpose()?,
            ..chosen.terms().clone()
        };
        let rule = Rule::new(terms).map_err(|error| usage(error.to_string()))?;
        owned(&rule, caller, now).map(Some)
    }
}

/// The same with an owner, whoever asked if nobody is named, and its time.
fn owned(rule: &Rule, caller: &Caller, now: Timestamp) -> Result<Rule, Refusal> {
    let terms = RuleTerms {
        owner: rule.owner.clone().or_else(|| Some(caller.who.clone())),
        created: Some(now),
        ..rule.terms().clone()
    };
    Rule::new(terms).map_err(|error| usage(error.to_string()))
}

/// A rule's comment is shorter than an outcome's.
fn shortened(text: &str) -> String {
    one_line(text).chars().take(255).collect()
}

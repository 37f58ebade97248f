//! What is said on the control socket: one JSON object a line, both ways. Version 1.
//!
//! Owns the words of requests and answers, and what is wrong with a line that is neither. Read
//! strictly, since a misspelt `expires` must not make a lasting exception; answers gain fields with
//! time, so whoever reads them passes over what it doesn't know. Pure: opens no socket, does nothing
//! that is asked.

use crate::word::words;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// The only version there is. A line says it as `"v": 1`.
pub const VERSION: u64 = 1;

/// Octets of a request's line, the newline not counted.
pub const MAX_REQUEST: usize = 65_536;

/// A line from a peer.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    pub request: Request,
    /// The directory of the store that the peer means; a daemon with another one refuses.
    pub store: Option<String>,
    /// On whose behalf root asks: `sudo` hides the person.
    pub on_behalf_of: Option<String>,
}

/// What may be asked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "snake_case")]
pub enum Request {
    /// Whether anybody is there.
    Ping(Nothing),
    /// Another program or a person tells what became of a message.
    Outcome(OutcomeTold),
    /// Lets a held message go to its recipients.
    Release(Release),
    /// Deletes a held message, without a bounce.
    Delete(Named),
    /// The same for one whose time is over.
    Expire(Named),
    /// Adds an exception to those in the store.
    AddException(RuleAdded),
    /// Ends an exception of the store's; its history stays.
    RemoveException(RuleRemoved),
    /// The held messages, oldest first, with the exceptions that would have let each pass.
    Held(HeldAsked),
}

/// A message: its verdict's id, or its queue id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Named {
    pub id: String,
    /// The operator's own words, kept with the outcome.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
}

/// `release`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Release {
    pub id: String,
    /// The reason that a report gives: a type of RFC 9990 §3.1.6, `local_policy` if none is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub because: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// The number of the suggestion, from 1, that is to be an exception from now on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow: Option<usize>,
    /// When that exception ends, RFC 3339; without it, never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<String>,
}

/// `add_exception`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuleAdded {
    /// With the keys that an `[[exception]]` has in the settings file.
    pub rule: Value,
}

/// `remove_exception`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuleRemoved {
    /// `stored-7`
    pub key: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// `held`
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeldAsked {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author_domain: Option<String>,
    /// Held for at least so many seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub older_than: Option<u64>,
    /// What others said that they hold, in place of what lies in the MTA's hold queue.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub told: bool,
    /// At most so many; 1,000 if nothing is said, 10,000 at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
}

/// No more is said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Nothing {}

/// `outcome`: the first names the message, or one of the next two, or both of these.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OutcomeTold {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message_id: Option<String>,
    /// `accepted`, `rejected`, `held`, `released` or `refused_later`.
    pub outcome: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What comes back.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// It was done, or is so already; with what there is to tell.
    Done(Map<String, Value>),
    Refused(Refusal),
}

/// Why something was not done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub kind: RefusalKind,
    /// A sentence: what, why, what to do.
    pub error: String,
}

words! {
    /// Who can act on a refusal.
    RefusalKind {
        /// The request is not one.
        Usage = "usage",
        /// This user may not ask that.
        Forbidden = "forbidden",
        /// It can't be: no such message, an illegal move, another wish was first.
        No = "no",
        /// Later it may be possible: the MTA, the helper or the disk.
        Temporary = "temporary",
        /// alignd is at fault.
        Internal = "internal",
    }
}

impl Line {
    pub fn parse(line: &[u8]) -> Result<Self, Refusal> {
        let usage = |error: String| Refusal {
            kind: RefusalKind::Usage,
            error,
        };
        let mut fields: Map<String, Value> = serde_json::from_slice(line)
            .map_err(|error| usage(format!("not a JSON object on one line: {error}")))?;
        match fields.remove("v").as_ref().map(Value::as_u64) {
            Some(Some(VERSION)) => {}
            Some(_) => return Err(usage("only version 1 is spoken here: \"v\": 1".to_owned())),
            None => return Err(usage("the version is missing: \"v\": 1".to_owned())),
        }
        let store = text(&mut fields, "store").map_err(usage)?;
        let on_behalf_of = text(&mut fields, "on_behalf_of").map_err(usage)?;
        let request = serde_json::from_value(Value::Object(fields))
            .map_err(|error| usage(error.to_string()))?;
        Ok(Self {
            request,
            store,
            on_behalf_of,
        })
    }

    /// As it is sent, with its newline.
    pub fn write(&self) -> Result<String, Refusal> {
        let object = serde_json::to_value(&self.request).map_err(|error| Refusal {
            kind: RefusalKind::Internal,
            error: format!("the request cannot be written: {error}"),
        })?;
        let mut line = json!({"v": VERSION});
        if let (Value::Object(line), Value::Object(object)) = (&mut line, object) {
            line.extend(object);
            for (key, value) in [("store", &self.store), ("on_behalf_of", &self.on_behalf_of)] {
                if let Some(value) = value {
                    line.insert(key.to_owned(), Value::String(value.clone()));
                }
            }
        }
        Ok(format!("{line}\n"))
    }
}

impl Answer {
    /// Done, with these fields.
    pub fn done(fields: Value) -> Self {
        match fields {
            Value::Object(fields) => Self::Done(fields),
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Array(_) => Self::Done(Map::new()),
        }
    }

    pub fn refused(kind: RefusalKind, error: impl Into<String>) -> Self {
        Self::Refused(Refusal {
            kind,
            error: error.into(),
        })
    }

    /// As it is sent, with its newline.
    pub fn write(&self) -> String {
        let mut line = json!({"v": VERSION});
        if let Value::Object(line) = &mut line {
            match self {
                Self::Done(fields) => {
                    line.insert("ok".to_owned(), Value::Bool(true));
                    line.extend(fields.clone());
                }
                Self::Refused(Refusal { kind, error }) => {
                    line.insert("ok".to_owned(), Value::Bool(false));
                    line.insert("kind".to_owned(), Value::from(kind.as_str()));
                    line.insert("error".to_owned(), Value::from(error.as_str()));
                }
            }
        }
        format!("{line}\n")
    }

    /// Reads what the other side wrote. Err: what is wrong with it.
    pub fn parse(line: &[u8]) -> Result<Self, String> {
        let mut fields: Map<String, Value> =
            serde_json::from_slice(line).map_err(|error| error.to_string())?;
        let version = fields.remove("v");
        if version.as_ref().and_then(Value::as_u64) != Some(VERSION) {
            return Err(format!("it speaks version {version:?}, this is version 1"));
        }
        match fields.remove("ok") {
            Some(Value::Bool(true)) => Ok(Self::Done(fields)),
            Some(Value::Bool(false)) => {
                let word = |key| fields.get(key).and_then(Value::as_str);
                let kind = word("kind").and_then(RefusalKind::parse);
                Ok(Self::Refused(Refusal {
                    kind: kind.unwrap_or(RefusalKind::Internal),
                    error: word("error").unwrap_or("no reason given").to_owned(),
                }))
            }
            Some(_) | None => Err("it doesn't say whether it is ok".to_owned()),
        }
    }
}

fn text(fields: &mut Map<String, Value>, key: &str) -> Result<Option<String>, String> {
    match fields.remove(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(format!("{key} is a text")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A line, and the sentence that refuses it; "" for one that is read.
    #[test]
    fn requests_are_read_strictly() {
        for (line, refused) in [
            (r#"{"v":1,"request":"ping"}"#, ""),
            (
                r#"{"v":1,"request":"outcome","queue_id":"4jXW5m5GBtz1StgL","outcome":"held"}"#,
                "",
            ),
            (
                r#"{"v":1,"request":"outcome","verdict":"x","outcome":"held","reason":null,"store":"/s"}"#,
                "",
            ),
            ("", "not a JSON object"),
            ("[]", "not a JSON object"),
            ("{\"v\":1", "not a JSON object"),
            ("\u{ff}\0", "not a JSON object"),
            (r#"{"request":"ping"}"#, "the version is missing"),
            (r#"{"v":2,"request":"ping"}"#, "only version 1"),
            (r#"{"v":"1","request":"ping"}"#, "only version 1"),
            (r#"{"v":1}"#, "missing field `request`"),
            (
                r#"{"v":1,"request":"shutdown"}"#,
                "unknown variant `shutdown`",
            ),
            (
                r#"{"v":1,"request":"ping","extra":1}"#,
                "unknown field `extra`",
            ),
            (r#"{"v":1,"request":"outcome"}"#, "missing field `outcome`"),
            (
                r#"{"v":1,"request":"outcome","outcome":"held","queueid":"x"}"#,
                "unknown field `queueid`",
            ),
            (r#"{"v":1,"request":"ping","store":7}"#, "store is a text"),
        ] {
            match Line::parse(line.as_bytes()) {
                Ok(_) => assert_eq!(refused, "", "{line}"),
                Err(refusal) => {
                    assert_eq!(refusal.kind, RefusalKind::Usage);
                    let told = refusal.error.contains(refused) && !refused.is_empty();
                    assert!(told, "{line}: {}", refusal.error);
                }
            }
        }
    }

    #[test]
    fn what_is_written_is_read_as_it_was() {
        let line = Line {
            request: Request::Outcome(OutcomeTold {
                message_id: Some("a\n\"b\"@example.org".to_owned()),
                outcome: "refused_later".to_owned(),
                reason: Some("spam\u{202e}".to_owned()),
                ..OutcomeTold::default()
            }),
            store: Some("/var/lib/alignd".to_owned()),
            on_behalf_of: Some("alice".to_owned()),
        };
        let written = line.write().unwrap();
        assert_eq!(written.matches('\n').count(), 1, "{written}");
        assert_eq!(Line::parse(written.trim_end().as_bytes()), Ok(line));
        for answer in [
            Answer::done(json!({"outcome": "held", "changed": true})),
            Answer::refused(RefusalKind::Temporary, "the disk is full"),
        ] {
            let written = answer.write();
            assert_eq!(Answer::parse(written.trim_end().as_bytes()), Ok(answer));
        }
        assert!(Answer::parse(b"{\"v\":2,\"ok\":true}").is_err());
        assert!(Answer::parse(b"ok").is_err());
    }

    proptest::proptest! {
        #[test]
        fn any_octets_are_a_line_or_a_refusal(
            line in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200),
        ) {
            let _ = Line::parse(&line);
            let _ = Answer::parse(&line);
        }
    }
}

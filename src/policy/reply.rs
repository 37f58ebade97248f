//! What the SMTP client is told when a message is refused or deferred: RFC 9989 §7.2's wording, in
//! ASCII, with the domain named and nothing else from the sender.
//!
//! Pure text; which protocol carries it, and how it escapes it, is not decided here.

use super::{Action, Cause, Decision, PolicySettings};
use crate::domain::DomainName;

/// An SMTP reply: code, enhanced status code (RFC 3463), one line of text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    pub code: u16,
    pub enhanced: String,
    pub text: String,
}

/// The reply for a decision; `None` for mail that is accepted.
pub fn reply(
    decision: &Decision,
    author: Option<&DomainName>,
    settings: &PolicySettings,
) -> Option<Reply> {
    let domain = author.map_or("the author's domain", DomainName::as_str);
    match decision.action() {
        Action::Accept | Action::Hold => None,
        Action::Reject => Some(Reply {
            code: 550,
            enhanced: settings.reject_code.clone(),
            text: match decision.cause() {
                Cause::MissingAuthor => "Message has no From header field".to_owned(),
                Cause::MultipleAuthors => "Message has more than one domain in From".to_owned(),
                Cause::UnparseableAuthor => "From header field cannot be read".to_owned(),
                Cause::ForgedResults => {
                    return Some(too_many_forged_results(settings));
                }
                Cause::Pass
                | Cause::NoPolicy
                | Cause::FailNone
                | Cause::FailQuarantine
                | Cause::FailReject
                | Cause::FailTestMode
                | Cause::FailBehindRelay
                | Cause::Temperror
                | Cause::NotEvaluatedSize => match decision.rule() {
                    // It is not the domain owner who asked for it.
                    Some(_) => {
                        format!("Email rejected per local policy: it failed DMARC for {domain}")
                    }
                    None => format!("Email rejected per DMARC policy for {domain}"),
                },
            },
        }),
        Action::Tempfail => Some(Reply {
            code: 451,
            enhanced: "4.7.1".to_owned(),
            text: format!("DMARC policy for {domain} cannot be evaluated now, try again later"),
        }),
    }
}

/// To mail with more forged Authentication-Results fields and verdict headers than can be removed.
pub fn too_many_forged_results(settings: &PolicySettings) -> Reply {
    Reply {
        code: 550,
        enhanced: settings.reject_code.clone(),
        text: "Message carries too many forged header fields".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::decide::{Situation, by_settings};
    use super::super::{AuthorAction, FailAction, TemperrorAction};
    use super::*;
    use crate::auth::dmarc::Policy;

    #[test]
    fn words() {
        let settings = PolicySettings {
            on_reject: FailAction::Reject,
            on_temperror: TemperrorAction::Tempfail,
            on_missing_author: AuthorAction::Reject,
            ..PolicySettings::default()
        };
        let domain = DomainName::parse("example.com").unwrap();
        let refused = Situation::Fail {
            selected: Policy::Reject,
            applied: Policy::Reject,
        };
        for (situation, expected) in [
            (
                refused,
                Some("550 5.7.1 Email rejected per DMARC policy for example.com"),
            ),
            (
                Situation::MissingAuthor,
                Some("550 5.7.1 Message has no From header field"),
            ),
            (
                Situation::Temperror { selected: None },
                Some(
                    "451 4.7.1 DMARC policy for example.com cannot be evaluated now, try again later",
                ),
            ),
            (Situation::NoPolicy, None),
            (
                Situation::ForgedResults { selected: None },
                Some("550 5.7.1 Message carries too many forged header fields"),
            ),
        ] {
            let text = reply(&by_settings(situation, &settings), Some(&domain), &settings)
                .map(|r| format!("{} {} {}", r.code, r.enhanced, r.text));
            assert_eq!(text.as_deref(), expected);
        }
    }
}

//! What stored verdicts would have come to under other settings and rules, and which of them an operator
//! should look at again.
//!
//! Owns the replay of one verdict, the streams that mail is told apart by, and their sums and ranks. Pure:
//! no DNS, no clock, no store; a verdict has all that a decision needs. What was looked up with other
//! settings (`policy.discovery`, `dkim.*`, `arc.enabled`) stays as it was found.
//!
//! - `stream` how mail came · `tally` what would have been different · `review` whom to look at, ranked

mod review;
mod stream;
mod tally;

pub use review::{Candidate, Doubt, Grounds, Review};
pub use stream::{Stream, StreamKind};
pub use tally::{Changed, Tally};

use crate::auth::dmarc::Policy;
use crate::policy::decide::{Situation, decide};
use crate::policy::rules::{Facts, Recipients, RuleSet};
use crate::policy::{Cause, Decision, PolicySettings};
use crate::verdict::Verdict;
use crate::verdict::shape::FailureShape;

/// What is decided about a message under these settings and rules. Rules count as they stand, also for
/// mail from before they were made; one that ends does so for mail from after its end.
///
/// With rules that name recipients: whole addresses are known only where `store.local_parts` kept them.
pub fn replay(verdict: &Verdict, settings: &PolicySettings, rules: &RuleSet) -> Decision {
    let evaluation = verdict.evaluation.as_ref();
    let applied = evaluation
        .and_then(|e| e.policy.as_ref())
        .map(|p| p.applied);
    let situation = situation(
        verdict.decision.cause(),
        verdict.decision.published(),
        applied,
    );
    let envelope = &verdict.envelope;
    let recipients = Recipients::kept(
        &envelope.recipient_addresses,
        &envelope.recipient_domains,
        envelope.recipients,
    );
    let facts = evaluation.map(|evaluation| Facts {
        author: &evaluation.author_domain,
        organizational_domain: evaluation.organizational_domain.as_ref(),
        client: envelope.client,
        list_id: verdict.message.list_id.as_deref(),
        evidence: &verdict.evidence,
        recipients: &recipients,
        now: verdict.received,
    });
    decide(situation, facts.as_ref(), settings, rules)
}

/// What a message met, from the words that are kept of it.
pub fn situation(cause: Cause, published: Option<Policy>, applied: Option<Policy>) -> Situation {
    let selected = published.unwrap_or(Policy::None);
    let applied = applied.unwrap_or(selected);
    match cause {
        Cause::Pass => Situation::Pass { selected },
        Cause::NoPolicy => Situation::NoPolicy,
        Cause::FailNone | Cause::FailQuarantine | Cause::FailReject | Cause::FailTestMode => {
            Situation::Fail { selected, applied }
        }
        Cause::FailBehindRelay => Situation::FailBehindRelay { selected, applied },
        Cause::Temperror => Situation::Temperror {
            selected: published,
        },
        Cause::MissingAuthor => Situation::MissingAuthor,
        Cause::MultipleAuthors => Situation::MultipleAuthors,
        Cause::UnparseableAuthor => Situation::UnparseableAuthor,
        Cause::NotEvaluatedSize => Situation::TooLarge,
        Cause::ForgedResults => Situation::ForgedResults {
            selected: published,
        },
    }
}

/// Whether rules can make a difference to a message that met this.
pub fn is_for_rules(cause: Cause) -> bool {
    matches!(
        cause,
        Cause::FailNone | Cause::FailQuarantine | Cause::FailReject | Cause::FailTestMode
    )
}

/// Whether it failed as authentic mail fails when it is passed on.
fn is_forwarded(verdict: &Verdict) -> bool {
    FailureShape::of(verdict).is_some_and(FailureShape::is_forwarding)
}

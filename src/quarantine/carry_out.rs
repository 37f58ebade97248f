//! The steps from a wish to its outcome, and what an interrupted one is finished by.

use super::find::state;
use super::queue::{Found, Marks, Queue, look};
use super::{Brought, Done, Quarantine, QuarantineError, Target, What, Wish};
use crate::mta::{HelperError, Place, QueueId};
use crate::outcome::{Outcome, OutcomeState};
use crate::policy::rules::Rule;
use crate::policy::{Action, PolicyOverride, release_by_hand};
use crate::store::{Change, ChangeError, Changed, Intent, NewException, Stored};
use crate::time::Timestamp;
use crate::verdict::VerdictId;
use tracing::{info, warn};

/// A message that a wish is about, found and seen to be held.
struct Case {
    verdict: VerdictId,
    queue_id: QueueId,
    marks: Marks,
    /// What was meant to become of it, by whoever was interrupted.
    intent: Option<Intent>,
}

/// What the MTA was seen to have done.
enum Settled {
    Done { detail: Option<String> },
    StillHeld { problem: Option<String> },
}

impl<Q: Queue> Quarantine<Q> {
    /// Carries a wish out. Repeated, whatever interrupted it, it ends the same.
    pub async fn carry_out(&self, target: &Target, wish: &Wish) -> Result<Done, QuarantineError> {
        let _turn = self.turn.lock().await;
        let mut done = self.fulfil(target, wish).await?;
        if let (true, Some(rule)) = (done.was_so, wish.what.exception()) {
            // The mail has gone; what this wish was to bring may be missing still.
            let added = added(done.verdict, rule, self.clock.now(), wish);
            done.exception = match self.change(vec![added]).await {
                Ok(changed) => brought(&changed, wish),
                Err(QuarantineError::Store(ChangeError::NoRoom)) => Brought::NoRoom,
                Err(error) => return Err(error),
            };
        }
        Ok(done)
    }

    /// The six steps, or as many as are missing.
    async fn fulfil(&self, target: &Target, wish: &Wish) -> Result<Done, QuarantineError> {
        let (stored, intent, newest) = self.gather(target).await?;
        if let Some(done) = already(&stored, wish)? {
            return Ok(done);
        }
        let verdict = stored.verdict.id;
        if wish.what == What::Expire && stored.verdict.decision.action() != Action::Hold {
            return Err(QuarantineError::HeldByOthers(verdict));
        }
        let told = stored.verdict.envelope.queue_id.as_deref();
        let queue_id = told.and_then(QueueId::parse);
        let case = Case {
            verdict,
            queue_id: queue_id.ok_or(QuarantineError::NoQueueId(verdict))?,
            marks: Marks::of(&stored),
            intent,
        };
        match self.look(&case).await? {
            Found::Held => self.ask_mta(&case, wish).await,
            Found::Another(found) if case.intent.is_none() => Err(QuarantineError::AnotherMail {
                verdict,
                queue_id: case.queue_id.to_string(),
                found,
            }),
            // Ours went, and its id was given to another mail since.
            Found::Another(_) => self.make_up(&case, Place::Gone, false, wish).await,
            Found::Elsewhere(place) => {
                self.make_up(&case, place, newest == Some(verdict), wish)
                    .await
            }
        }
    }

    /// Finishes what was interrupted, and strikes out what never began. Tells how many intents are left,
    /// because the helper or the store can't be reached.
    pub async fn resume(&self) -> Result<usize, QuarantineError> {
        let intents = self
            .read(|reader| reader.intents().map_err(QuarantineError::Read))
            .await?;
        let mut left = 0;
        for intent in intents {
            let _turn = self.turn.lock().await;
            let id = intent.verdict;
            if let Err(problem) = self.resume_one(intent).await {
                warn!(verdict = %id, %problem, "quarantine: what was interrupted can't be finished yet");
                left += 1;
            }
        }
        Ok(left)
    }

    async fn resume_one(&self, intent: Intent) -> Result<(), QuarantineError> {
        let verdict = intent.verdict;
        let (stored, found, _) = self.gather(&Target::Verdict(verdict)).await?;
        let told = stored.verdict.envelope.queue_id.as_deref();
        let (Some(intent), Some(queue_id)) = (found, told.and_then(QueueId::parse)) else {
            // Somebody was faster.
            return Ok(());
        };
        let held = state(&stored) == Some(OutcomeState::Held);
        let case = Case {
            verdict,
            queue_id,
            marks: Marks::of(&stored),
            intent: None,
        };
        let place = match self.look(&case).await? {
            Found::Elsewhere(place) => Some(place),
            Found::Another(_) => Some(Place::Gone),
            Found::Held => None,
        };
        let meant = read(&intent)?;
        if held && place.is_some_and(|place| explains(&meant, &place)) {
            self.conclude(&case, &meant, intent.at, None).await?;
            info!(%verdict, by = meant.by, "quarantine: finished what was interrupted");
            return Ok(());
        }
        self.strike_out(verdict).await
    }

    /// Everything the store knows about it: the message, an intent, and whose its queue id is now.
    async fn gather(
        &self,
        target: &Target,
    ) -> Result<(Stored, Option<Intent>, Option<VerdictId>), QuarantineError> {
        let target = target.clone();
        self.read(move |reader| {
            let stored = target.find(reader)?;
            let read = QuarantineError::Read;
            let intent = reader.intent(stored.verdict.id).map_err(read)?;
            let newest = match stored.verdict.envelope.queue_id.as_deref() {
                Some(id) => reader.newest_with_queue_id(id).map_err(read)?,
                None => None,
            };
            Ok((stored, intent, newest))
        })
        .await
    }

    async fn look(&self, case: &Case) -> Result<Found, QuarantineError> {
        look(&self.queue, &case.queue_id, &case.marks)
            .await
            .map_err(QuarantineError::Helper)
    }

    /// Steps 3 to 6.
    async fn ask_mta(&self, case: &Case, wish: &Wish) -> Result<Done, QuarantineError> {
        let at = self.clock.now();
        let intent = Intent {
            verdict: case.verdict,
            at,
            by: wish.by.clone(),
            document: wish.write(),
        };
        self.change(vec![Change::Intend(intent)]).await?;
        match self.settle(case, &wish.what).await {
            Ok(Settled::Done { detail }) => self.conclude(case, wish, at, detail).await,
            Ok(Settled::StillHeld { problem }) => {
                self.strike_out(case.verdict).await?;
                Err(QuarantineError::StillHeld {
                    queue_id: case.queue_id.to_string(),
                    problem,
                })
            }
            Err(error) => Err(QuarantineError::Unsettled(error)),
        }
    }

    /// Asks the MTA, and looks what it did: it may have done it though it answered nothing, and nothing
    /// though it said it had. Err: that can't be seen now.
    async fn settle(&self, case: &Case, what: &What) -> Result<Settled, HelperError> {
        let id = &case.queue_id;
        let asked = match what {
            What::Release { .. } => {
                let released = self.queue.release(id).await;
                released.map(|released| {
                    let onward = match released.queue_id {
                        Some(new) if new != *id => Some(format!("it goes on as {new}")),
                        Some(_) => None,
                        None => Some("it went on under a new queue id".to_owned()),
                    };
                    // The MTA may be down: then it hasn't left yet.
                    let told: Vec<String> = onward.into_iter().chain(released.waits).collect();
                    (!told.is_empty()).then(|| told.join("; "))
                })
            }
            What::Delete | What::Expire => self.queue.delete(id).await.map(|()| None),
        };
        let (detail, problem) = match asked {
            Ok(detail) => (detail, None),
            Err(error) => (None, Some(error)),
        };
        match (look(&self.queue, id, &case.marks).await, problem) {
            (Ok(Found::Held), problem) => Ok(Settled::StillHeld {
                problem: problem.map(|problem| problem.to_string()),
            }),
            // The id may be another mail's by now: ours is no longer under it.
            (Ok(Found::Elsewhere(_) | Found::Another(_)), _) => Ok(Settled::Done { detail }),
            (Err(error), _) => Err(error),
        }
    }

    /// The mail isn't on hold, and the store believes it is. If an intent says by whom, its wish is what
    /// happened; else, a mail on its way was released by hand, which is what was wanted.
    async fn make_up(
        &self,
        case: &Case,
        place: Place,
        id_is_its_own: bool,
        wish: &Wish,
    ) -> Result<Done, QuarantineError> {
        let released_by_hand = matches!(place, Place::Queued(_)) && id_is_its_own;
        let meant = case
            .intent
            .as_ref()
            .map(|intent| Ok((read(intent)?, intent.at)));
        let meant = meant.transpose()?;
        let (wish_done, at) = match meant.filter(|(meant, _)| explains(meant, &place)) {
            Some(meant) => meant,
            None if released_by_hand && wish.what.state() == OutcomeState::Released => {
                (wish.clone(), self.clock.now())
            }
            None => {
                return Err(QuarantineError::NotInQueue {
                    verdict: case.verdict,
                    queue_id: case.queue_id.to_string(),
                });
            }
        };
        let done = self.conclude(case, &wish_done, at, None).await?;
        if done.state != wish.what.state() {
            return Err(QuarantineError::OtherWish {
                verdict: done.verdict,
                state: done.state,
                by: wish_done.by,
            });
        }
        Ok(Done {
            was_so: true,
            ..done
        })
    }

    /// Step 6.
    async fn conclude(
        &self,
        case: &Case,
        wish: &Wish,
        at: Timestamp,
        detail: Option<String>,
    ) -> Result<Done, QuarantineError> {
        let verdict = case.verdict;
        let moved = |outcome| {
            let strike_out = Change::StrikeOut { verdict };
            vec![Change::Outcome { verdict, outcome }, strike_out]
        };
        let mut changes = moved(outcome(wish, at, detail.as_deref(), None));
        let rule = wish.what.exception();
        changes.extend(rule.map(|rule| added(verdict, rule, at, wish)));
        let changed = match self.change(changes).await {
            // The mail must not be told as held for want of an exception.
            Err(QuarantineError::Store(ChangeError::NoRoom)) => {
                warn!(%verdict, by = wish.by, "quarantine: {NO_ROOM}");
                let outcome = outcome(wish, at, detail.as_deref(), Some(NO_ROOM));
                self.change(moved(outcome)).await.map(|_| Brought::NoRoom)
            }
            changed => changed.map(|changed| brought(&changed, wish)),
        };
        let exception = match changed {
            Ok(exception) => exception,
            // Somebody told another end, and asking again would change nothing about that.
            Err(error @ QuarantineError::Store(ChangeError::Illegal { .. })) => {
                self.strike_out(verdict).await?;
                return Err(error);
            }
            Err(error) => return Err(error),
        };
        let state = wish.what.state();
        info!(%verdict, queue_id = %case.queue_id, outcome = %state, by = wish.by, "quarantine");
        Ok(Done {
            verdict,
            state,
            at,
            by: Some(wish.by.clone()),
            was_so: false,
            detail,
            exception,
        })
    }

    async fn strike_out(&self, verdict: VerdictId) -> Result<(), QuarantineError> {
        let strike_out = Change::StrikeOut { verdict };
        self.change(vec![strike_out]).await.map(|_| ())
    }

    async fn change(&self, changes: Vec<Change>) -> Result<Vec<Changed>, QuarantineError> {
        let changed = self.store.change(changes).await;
        changed.map_err(QuarantineError::Store)
    }
}

/// How a wish ended, as it is kept; `lacks`: what of it was not done.
fn outcome(wish: &Wish, at: Timestamp, detail: Option<&str>, lacks: Option<&str>) -> Outcome {
    let words = [wish.comment.as_deref(), detail, lacks];
    let words: Vec<&str> = words.into_iter().flatten().collect();
    Outcome {
        detail: (!words.is_empty()).then(|| words.join("; ")),
        by: Some(wish.by.clone()),
        because: match &wish.what {
            What::Release { because, .. } => Some(PolicyOverride {
                kind: *because,
                // Nothing about who or why: the domain owner reads it.
                ..release_by_hand()
            }),
            What::Delete | What::Expire => None,
        },
        ..Outcome::new(wish.what.state(), at, wish.what.source())
    }
}

fn added(verdict: VerdictId, rule: &Rule, at: Timestamp, wish: &Wish) -> Change {
    Change::AddException(Box::new(NewException {
        rule: rule.clone(),
        from: Some(verdict),
        at,
        who: wish.by.clone(),
        why: wish.comment.clone(),
    }))
}

/// Tells of an exception, if one is among these.
fn brought(changed: &[Changed], wish: &Wish) -> Brought {
    let exception = changed.iter().find_map(|changed| match changed {
        Changed::Added(id) => Some((*id, "added")),
        Changed::Altered(id) => Some((*id, "changed")),
        Changed::AlreadyThere(id) => Some((*id, "unchanged")),
        Changed::Moved | Changed::Removed | Changed::Noted | Changed::Unchanged => None,
    });
    let Some((id, change)) = exception else {
        return Brought::Nothing;
    };
    let author = wish.what.exception().map(|rule| rule.author.to_string());
    info!(by = wish.by, key = %id.key(), change, author, "exception");
    Brought::Exception(id)
}

/// What to answer when it isn't held; `None`: it is.
fn already(stored: &Stored, wish: &Wish) -> Result<Option<Done>, QuarantineError> {
    let verdict = stored.verdict.id;
    let Some(last) = stored.outcomes.last() else {
        return Err(QuarantineError::NoMessage(Target::Verdict(verdict)));
    };
    match last.state {
        OutcomeState::Held => Ok(None),
        state if state == wish.what.state() => Ok(Some(Done {
            verdict,
            state,
            at: last.at,
            by: last.by.clone(),
            was_so: true,
            detail: None,
            exception: Brought::Nothing,
        })),
        state @ (OutcomeState::Released | OutcomeState::Deleted) => {
            Err(QuarantineError::OtherWish {
                verdict,
                state,
                by: last.by.clone().unwrap_or_else(|| last.source.to_string()),
            })
        }
        state @ (OutcomeState::Answering
        | OutcomeState::Accepted
        | OutcomeState::Rejected
        | OutcomeState::Tempfailed
        | OutcomeState::RefusedLater
        | OutcomeState::Unknown) => Err(QuarantineError::NotHeld(verdict, state)),
    }
}

/// Whether a mail that isn't on hold is so because of this wish: what was to be deleted is not on its way.
fn explains(meant: &Wish, place: &Place) -> bool {
    meant.what.state() == OutcomeState::Released || *place == Place::Gone
}

fn read(intent: &Intent) -> Result<Wish, QuarantineError> {
    Wish::read(&intent.document, &intent.by)
        .map_err(|problem| QuarantineError::Read(crate::store::ReadError::Damaged(problem)))
}

const NO_ROOM: &str = "no exception was made, the store has room for no more";

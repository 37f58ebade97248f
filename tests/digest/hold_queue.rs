//! An MTA's hold queue in memory, which can be made to be away, and to refuse one mail.

use alignd::mta::{HelperError, Part, Place, QueueId, Released, Shown};
use alignd::quarantine::Queue;
use alignd::site_key::SiteKey;
use alignd::time::Timestamp;
use alignd::verdict::VerdictId;
use alignd::verdict::header::{Marks, VERDICT_HEADER, VerdictHeader};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

/// Clones are the same queue.
#[derive(Clone, Default)]
pub struct HoldQueue(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    mails: BTreeMap<String, VerdictId>,
    is_down: bool,
    stuck: Option<String>,
    deleted: Vec<VerdictId>,
}

impl HoldQueue {
    pub fn hold(&self, id: &str, verdict: VerdictId) {
        self.0.lock().unwrap().mails.insert(id.to_owned(), verdict);
    }

    /// The helper is away, or back.
    pub fn goes_down(&self, down: bool) {
        self.0.lock().unwrap().is_down = down;
    }

    /// The MTA doesn't delete this one.
    pub fn is_stuck(&self, id: &str) {
        self.0.lock().unwrap().stuck = Some(id.to_owned());
    }

    pub fn deleted(&self) -> Vec<VerdictId> {
        self.0.lock().unwrap().deleted.clone()
    }

    fn find(&self, id: &QueueId) -> Result<Option<VerdictId>, HelperError> {
        let state = self.0.lock().unwrap();
        match state.is_down {
            true => Err(HelperError::Unreachable("nobody there".to_owned())),
            false => Ok(state.mails.get(id.as_str()).copied()),
        }
    }
}

impl Queue for HoldQueue {
    async fn locate(&self, id: &QueueId) -> Result<Place, HelperError> {
        Ok(self.find(id)?.map_or(Place::Gone, |_| Place::Held))
    }

    async fn show(&self, id: &QueueId, _part: Part) -> Result<Shown, HelperError> {
        let verdict = self.find(id)?.ok_or(HelperError::NotHeld(Place::Gone))?;
        let marks = Marks {
            message_id: None,
            author_domain: None,
            body: [0; 32],
        };
        let key = SiteKey::new(&[7; 32]);
        let field = VerdictHeader::new(verdict, Timestamp::from_seconds(0), &marks, &key);
        let octets = format!("{VERDICT_HEADER}:{}\n\n", field.folded()).into_bytes();
        Ok(Shown { octets, cut: false })
    }

    async fn arrived(&self, id: &QueueId) -> Result<Option<Timestamp>, HelperError> {
        Ok(self.find(id)?.map(|_| Timestamp::from_seconds(0)))
    }

    async fn release(&self, _id: &QueueId) -> Result<Released, HelperError> {
        Err(HelperError::Failed("nobody releases here".to_owned()))
    }

    async fn delete(&self, id: &QueueId) -> Result<(), HelperError> {
        self.find(id)?;
        let mut state = self.0.lock().unwrap();
        if state.stuck.as_deref() == Some(id.as_str()) {
            return Err(HelperError::Failed("it is locked".to_owned()));
        }
        let gone = state.mails.remove(id.as_str());
        state.deleted.extend(gone);
        Ok(())
    }
}

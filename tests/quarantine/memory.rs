//! An MTA's hold queue in memory, which can be made to stop at any point and to answer anything.

use crate::{ID, NOW};
use alignd::mta::{HelperError, Part, Place, QueueId, Released, Shown};
use alignd::quarantine::Queue;
use alignd::site_key::SiteKey;
use alignd::time::Timestamp;
use alignd::verdict::VerdictId;
use alignd::verdict::header::{Marks, VERDICT_HEADER, VerdictHeader};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

/// Where the process is killed: the call never returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Killed {
    AtLocate,
    AtHeader,
    /// Before the MTA does it.
    BeforeAct,
    /// After the MTA did it.
    AfterAct,
    /// At the look after that.
    AtSecondLook,
}

/// A hold queue in memory; clones are the same.
#[derive(Clone, Default)]
pub struct Mta(Arc<Mutex<State>>);

#[derive(Default)]
pub struct State {
    /// Where each mail is, and whose verdict it bears.
    pub mails: BTreeMap<String, (Place, Option<VerdictId>)>,
    /// Of mail that bears none: its header, and when it came in, if it is listed.
    pub plain: (String, Option<Timestamp>),
    pub released: u32,
    pub deleted: u32,
    pub looks: u32,
    pub kill: Option<Killed>,
    pub stands_still: bool,
    /// The helper's socket is gone, from this look or act on.
    pub down: bool,
    /// It says that it did it, and didn't.
    pub lies: bool,
    /// It did it, and couldn't say so.
    pub mute: bool,
    /// Where released mail is seen then.
    pub goes: Option<Place>,
}

impl Mta {
    pub fn holding(verdict: VerdictId) -> Self {
        let mta = Self::default();
        mta.set(|state| {
            state
                .mails
                .insert(ID.to_owned(), (Place::Held, Some(verdict)));
        });
        mta
    }

    pub fn set<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.0.lock().unwrap())
    }

    async fn stop_at(&self, point: Killed) {
        let kills = |state: &mut State| {
            state.stands_still = state.kill == Some(point);
            state.stands_still
        };
        if self.set(kills) {
            std::future::pending().await
        }
    }

    fn up(&self) -> Result<(), HelperError> {
        match self.set(|state| state.down) {
            true => Err(HelperError::Unreachable("nobody there".to_owned())),
            false => Ok(()),
        }
    }

    fn place(&self, id: &QueueId) -> Place {
        let found = self.set(|state| state.mails.get(id.as_str()).cloned());
        found.map_or(Place::Gone, |(place, _)| place)
    }

    async fn act(&self, id: &QueueId, release: bool) -> Result<(), HelperError> {
        self.stop_at(Killed::BeforeAct).await;
        self.up()?;
        match self.place(id) {
            Place::Held => {}
            place => return Err(HelperError::NotHeld(place)),
        }
        self.set(|state| {
            if state.lies {
                return;
            }
            match release {
                true => state.released += 1,
                false => state.deleted += 1,
            }
            let goes = state.goes.clone().filter(|_| release);
            match (goes, state.mails.get_mut(id.as_str())) {
                (Some(place), Some(mail)) => mail.0 = place,
                _ => _ = state.mails.remove(id.as_str()),
            }
        });
        self.stop_at(Killed::AfterAct).await;
        match self.set(|state| state.mute) {
            true => Err(HelperError::Busy("said nothing for 90 s".to_owned())),
            false => Ok(()),
        }
    }
}

impl Queue for Mta {
    async fn locate(&self, id: &QueueId) -> Result<Place, HelperError> {
        let looks = self.set(|state| {
            state.looks += 1;
            state.looks
        });
        self.stop_at(if looks == 1 {
            Killed::AtLocate
        } else {
            Killed::AtSecondLook
        })
        .await;
        self.up()?;
        Ok(self.place(id))
    }

    async fn show(&self, id: &QueueId, _part: Part) -> Result<Shown, HelperError> {
        self.stop_at(Killed::AtHeader).await;
        self.up()?;
        let mail = self.set(|state| state.mails.get(id.as_str()).cloned());
        let Some((Place::Held, verdict)) = mail else {
            return Err(HelperError::NotHeld(self.place(id)));
        };
        let plain = self.set(|state| state.plain.0.clone());
        let seal = verdict.map_or(plain, |verdict| {
            let marks = Marks {
                message_id: None,
                author_domain: None,
                body: [0; 32],
            };
            let field = VerdictHeader::new(verdict, NOW, &marks, &SiteKey::new(&[7; 32]));
            format!("{VERDICT_HEADER}:{}\n", field.folded())
        });
        let octets = format!("From: a@a.example\n{seal}Subject: x\n\n").into_bytes();
        Ok(Shown { octets, cut: false })
    }

    async fn arrived(&self, _id: &QueueId) -> Result<Option<Timestamp>, HelperError> {
        self.up()?;
        Ok(self.set(|state| state.plain.1))
    }

    async fn release(&self, id: &QueueId) -> Result<Released, HelperError> {
        self.act(id, true).await?;
        Ok(Released {
            queue_id: Some(id.clone()),
            requeued: false,
            place: self.place(id),
            waits: None,
        })
    }

    async fn delete(&self, id: &QueueId) -> Result<(), HelperError> {
        self.act(id, false).await
    }
}

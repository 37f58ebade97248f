//! A hold queue in memory.

use crate::RECEIVED;
use alignd::host::{HoldView, Listing};
use alignd::mta::{HelperError, Place, QueueId, Shown};
use alignd::time::Timestamp;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

/// A queue in memory; clones are the same.
#[derive(Clone, Default)]
pub struct Mta(Arc<Mutex<State>>);

#[derive(Default)]
pub struct State {
    pub mails: BTreeMap<QueueId, Mail>,
    /// What the helper answers to everything.
    pub down: Option<HelperError>,
    /// Of this mail the MTA can tell nothing.
    pub broken: Option<QueueId>,
    pub silent: bool,
    pub lists: u32,
    pub looks: usize,
    pub headers: u32,
}

#[derive(Clone)]
pub struct Mail {
    place: Place,
    arrived: Timestamp,
    header: String,
}

impl Mta {
    pub fn set<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.0.lock().unwrap())
    }

    fn up(&self) -> Result<(), HelperError> {
        self.set(|state| state.down.clone()).map_or(Ok(()), Err)
    }

    fn mail(&self, id: &QueueId) -> Result<Option<Mail>, HelperError> {
        self.up()?;
        if self.set(|state| state.broken.as_ref() == Some(id)) {
            return Err(HelperError::Failed("postcat: a warning".to_owned()));
        }
        Ok(self.set(|state| state.mails.get(id).cloned()))
    }

    pub fn put(&self, id: &str, place: Place, arrived: i64, header: String) {
        let mail = Mail {
            place,
            arrived: Timestamp::from_seconds(RECEIVED + arrived),
            header,
        };
        self.set(|state| state.mails.insert(id.parse().unwrap(), mail));
    }

    pub fn go(&self, id: &str, place: Place) {
        let id: QueueId = id.parse().unwrap();
        self.set(|state| match place {
            Place::Gone => _ = state.mails.remove(&id),
            place => state.mails.get_mut(&id).unwrap().place = place,
        });
    }
}

impl HoldView for Mta {
    async fn list(&self) -> Result<Listing, HelperError> {
        if self.set(|state| {
            state.lists += 1;
            state.silent
        }) {
            std::future::pending::<()>().await;
        }
        self.up()?;
        let held = |(id, mail): (&QueueId, &Mail)| {
            (mail.place == Place::Held).then(|| (id.clone(), mail.arrived))
        };
        Ok(self.set(|state| state.mails.iter().filter_map(held).collect()))
    }

    async fn find(&self, ids: &[QueueId]) -> Result<Vec<Place>, HelperError> {
        self.set(|state| state.looks += ids.len());
        let place = |id| {
            let mail = self.mail(id)?;
            Ok(mail.map_or(Place::Gone, |mail| mail.place))
        };
        ids.iter().map(place).collect()
    }

    async fn header(&self, id: &QueueId) -> Result<Shown, HelperError> {
        self.set(|state| state.headers += 1);
        match self.mail(id)? {
            Some(mail) if mail.place == Place::Held => Ok(Shown {
                octets: mail.header.into_bytes(),
                cut: false,
            }),
            other => Err(HelperError::NotHeld(
                other.map_or(Place::Gone, |mail| mail.place),
            )),
        }
    }
}

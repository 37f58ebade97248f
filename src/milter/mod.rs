//! The milter entrance: mail comes in here from Postfix or Sendmail.
//!
//! From the wire upwards: `listener` and `accept` (sockets, the loop), `packet` and `stream` (octets
//! below indymilter), `link` (what a connection's stream and callbacks share), `negotiate`, `callbacks`
//! (translation), `client` and `header` (what an MTA says), `session` (a message's stages), `asking`
//! (look-ups under way), `judge` (decide, record, answer), `reply` (the answer as milter actions), `returning` (mail that
//! comes back with its verdict).
//! `settings` is what the operator says about all of it.
//!
//! Reaches DNS through the resolver it is given and writes to the store; reads no configuration.

mod accept;
mod asking;
mod callbacks;
mod client;
mod header;
mod judge;
mod link;
mod listener;
mod negotiate;
mod overheard;
mod packet;
mod reply;
mod returning;
mod session;
pub mod settings;
mod stream;

pub use accept::{Limits, serve};
pub use link::{Fate, Link, OnAnswer, Phase, Socket};
pub use listener::{BindError, Listener, bind};
pub use settings::{
    HostPattern, MilterSettings, SenderPattern, Settings, SocketSpec, TrustSettings,
};

use crate::auth::dkim::KeyCache;
use crate::dns::Resolver;
use crate::send_report::Bounce;
use crate::store::Store;
use crate::time::Clock;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};

/// The handles that judging a message takes.
pub struct Service<R> {
    /// A message takes what is there when it begins.
    pub settings: watch::Receiver<Arc<Settings>>,
    pub resolver: Arc<R>,
    pub keys: KeyCache,
    pub store: Store,
    pub clock: Arc<dyn Clock>,
    /// Where bounces of our reports go that pass by; `None`: nobody takes them.
    pub bounces: watch::Receiver<Option<mpsc::Sender<Bounce>>>,
    /// How often an MTA that waits for an answer hears that there will be one; [`PROGRESS`] but in tests.
    pub progress: Duration,
}

/// Postfix starts `milter_content_timeout` (300 s by default) anew each time. Sendmail waits for each packet
/// as long as `R=` says, 10 s by default, and for all of them no longer than `E=`, 300 s by default.
pub const PROGRESS: Duration = Duration::from_secs(4);

/// Judges the mail of every MTA that connects, until `shutdown` turns true and the mails in hand are
/// finished, or `grace` is over. Returns how many connections were left then.
pub async fn run<R: Resolver + 'static>(
    listeners: Vec<Listener>,
    service: Arc<Service<R>>,
    shutdown: watch::Receiver<bool>,
    grace: Duration,
) -> usize {
    let settings = service.settings.clone();
    let limits = move || {
        let settings = settings.borrow();
        Limits {
            max_connections: settings.milter.max_connections,
            idle_timeout: settings.milter.idle_timeout,
        }
    };
    let make = move |link| callbacks::callbacks(&service, link);
    serve(listeners, limits, make, shutdown, grace).await
}

//! The milter's loop: connections are accepted, counted, served and, at the end, let finish.
//!
//! Owns the accept loops, the limit on connections and the drain. One connection is one
//! `indymilter::run` over a listener that yields one stream, so that each has callbacks of its own
//! that share its `Link`. Knows nothing of mail.

use super::link::{Link, Phase};
use super::listener::Listener;
use super::stream::MtaStream;
use indymilter::{Callbacks, Config};
use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, timeout};
use tracing::{debug, info, warn};

/// How many connections, and how patiently.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    pub max_connections: usize,
    pub idle_timeout: Duration,
}

/// Serves connections until `shutdown` turns true, then lets those with a message in hand finish it,
/// for `grace` at most. Returns how many were left then.
pub async fn serve<T: Send + 'static>(
    listeners: Vec<Listener>,
    limits: impl Fn() -> Limits + Send + Sync + 'static,
    callbacks: impl Fn(Arc<Link>) -> Callbacks<T> + Send + Sync + 'static,
    shutdown: watch::Receiver<bool>,
    grace: Duration,
) -> usize {
    let entrance = Arc::new(Entrance {
        limits,
        callbacks,
        connections: Arc::new(Connections::new(PATIENCE, IDLE_ENOUGH)),
        shutdown,
    });
    let loops: Vec<_> = listeners
        .into_iter()
        .map(|listener| tokio::spawn(accept_loop(listener, Arc::clone(&entrance))))
        .collect();
    for accepting in loops {
        if let Err(panicked) = accepting.await {
            tracing::error!("an accept loop died: {panicked}");
        }
    }
    drain(&entrance.connections, grace).await
}

struct Entrance<L, C> {
    limits: L,
    callbacks: C,
    connections: Arc<Connections>,
    shutdown: watch::Receiver<bool>,
}

/// The connections that are open.
struct Connections {
    open: Mutex<Table>,
    /// One was closed.
    closed: Notify,
    /// How long every place must have been taken before idle connections are asked to leave.
    patience: Duration,
    /// How long one must have been idle to be asked.
    idle_enough: Duration,
}

#[derive(Default)]
struct Table {
    next: u64,
    open: HashMap<u64, Open>,
    /// Since when there was no place to spare.
    full_since: Option<Instant>,
}

struct Open {
    phase: watch::Receiver<Phase>,
    leave: Arc<Notify>,
}

/// A place among the connections, given back when dropped.
struct Slot {
    number: u64,
    leave: Arc<Notify>,
    connections: Arc<Connections>,
}

async fn accept_loop<T, L, C>(listener: Listener, entrance: Arc<Entrance<L, C>>)
where
    T: Send + 'static,
    L: Fn() -> Limits + Send + Sync + 'static,
    C: Fn(Arc<Link>) -> Callbacks<T> + Send + Sync + 'static,
{
    info!(socket = %listener, "listening");
    let mut shutdown = entrance.shutdown.clone();
    let mut pause = SHORTEST_PAUSE;
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = shutdown.wait_for(|stop| *stop) => break,
        };
        let socket = match accepted {
            Ok(socket) => socket,
            Err(error) if is_the_peers(&error) => continue,
            Err(error) => {
                metrics::counter!("alignd_errors_total", "kind" => "accept").increment(1);
                warn!(socket = %listener, %error, "cannot accept a connection; trying again");
                sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
                continue;
            }
        };
        pause = SHORTEST_PAUSE;
        let link = Arc::new(Link::new(socket));
        let limits = &entrance.limits;
        let slot = tokio::select! {
            slot = entrance.connections.slot(link.phase(), limits) => slot,
            _ = shutdown.wait_for(|stop| *stop) => break,
        };
        tokio::spawn(serve_one(link, slot, Arc::clone(&entrance)));
    }
}

async fn serve_one<T, L, C>(link: Arc<Link>, slot: Slot, entrance: Arc<Entrance<L, C>>)
where
    T: Send + 'static,
    L: Fn() -> Limits + Send + Sync + 'static,
    C: Fn(Arc<Link>) -> Callbacks<T> + Send + Sync + 'static,
{
    let config = Config {
        max_connections: 1,
        connection_timeout: (entrance.limits)().idle_timeout,
        ..Config::default()
    };
    let callbacks = (entrance.callbacks)(Arc::clone(&link));
    let once = Once(Some(MtaStream::new(Arc::clone(&link))));
    let over = over(
        link.phase(),
        Arc::clone(&slot.leave),
        entrance.shutdown.clone(),
    );
    if let Err(error) = indymilter::run(once, callbacks, config, over).await {
        debug!(%error, "a connection ended with an error");
    }
    // The task that reads would go on reading.
    link.socket().hang_up();
    let closed = |phase: &Phase| *phase == Phase::Closed;
    let _ = link.phase().wait_for(closed).await;
}

/// Until the connection is closed, or has no message in hand and ought to leave.
async fn over(
    mut phase: watch::Receiver<Phase>,
    leave: Arc<Notify>,
    mut shutdown: watch::Receiver<bool>,
) {
    let stop = async {
        tokio::select! {
            _ = shutdown.wait_for(|stop| *stop) => {}
            () = leave.notified() => {}
        }
    };
    tokio::pin!(stop);
    let mut leaving = false;
    loop {
        match *phase.borrow_and_update() {
            Phase::Closed => return,
            Phase::Idle(_) if leaving => return,
            Phase::Idle(_) | Phase::Busy => {}
        }
        tokio::select! {
            changed = phase.changed() => if changed.is_err() { return },
            () = &mut stop, if !leaving => leaving = true,
        }
    }
}

async fn drain(connections: &Connections, grace: Duration) -> usize {
    let left = connections.count();
    if left == 0 {
        return 0;
    }
    info!(connections = left, "finishing the mails in hand");
    let until = Instant::now() + grace;
    while connections.count() > 0 {
        let closed = connections.closed.notified();
        if connections.count() == 0 {
            break;
        }
        if tokio::time::timeout_at(until, closed).await.is_err() {
            break;
        }
    }
    connections.count()
}

impl Connections {
    fn new(patience: Duration, idle_enough: Duration) -> Self {
        Self {
            open: Mutex::default(),
            closed: Notify::new(),
            patience,
            idle_enough,
        }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self) -> usize {
        self.table().open.len()
    }

    /// Waits until there is room. Once there has been none for a while, each newcomer takes the place of
    /// the connection that has had no message for longest, if that is long enough: its MTA will defer
    /// what may come on it, which beats deferring what is there.
    async fn slot(
        self: &Arc<Self>,
        phase: watch::Receiver<Phase>,
        limits: &impl Fn() -> Limits,
    ) -> Slot {
        let mut told = false;
        loop {
            let closed = self.closed.notified();
            if let Some(slot) = self.take(&phase, limits().max_connections) {
                return slot;
            }
            if !told {
                told = true;
                metrics::counter!("alignd_errors_total", "kind" => "connection_limit").increment(1);
                warn!("milter.max_connections is reached; further connections wait");
            }
            let patience = self.patience_left();
            if patience.is_zero() {
                self.send_longest_idle_away();
            }
            // One that is asked to leave has gone at once; a busy one is idle soon.
            let _ = timeout(patience.max(LOOK_AGAIN), closed).await;
        }
    }

    fn take(self: &Arc<Self>, phase: &watch::Receiver<Phase>, max: usize) -> Option<Slot> {
        let mut table = self.table();
        if table.open.len() >= max.max(1) {
            table.full_since.get_or_insert_with(Instant::now);
            return None;
        }
        let number = table.next;
        table.next += 1;
        let leave = Arc::new(Notify::new());
        let open = Open {
            phase: phase.clone(),
            leave: Arc::clone(&leave),
        };
        table.open.insert(number, open);
        if table.open.len() < max {
            table.full_since = None;
        }
        metrics::gauge!("alignd_connections").set(table.open.len() as f64);
        Some(Slot {
            number,
            leave,
            connections: Arc::clone(self),
        })
    }

    fn patience_left(&self) -> Duration {
        let since = self.table().full_since;
        since.map_or(self.patience, |since| {
            self.patience.saturating_sub(since.elapsed())
        })
    }

    fn send_longest_idle_away(&self) {
        let table = self.table();
        let idle = table
            .open
            .values()
            .filter_map(|open| match *open.phase.borrow() {
                Phase::Idle(since) if since.elapsed() >= self.idle_enough => {
                    Some((since, &open.leave))
                }
                Phase::Idle(_) | Phase::Busy | Phase::Closed => None,
            });
        if let Some((since, leave)) = idle.min_by_key(|(since, _)| *since) {
            let seconds = since.elapsed().as_secs();
            warn!(
                seconds,
                "milter.max_connections is reached; closing the longest idle one"
            );
            leave.notify_one();
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut table = self.connections.table();
        table.open.remove(&self.number);
        metrics::gauge!("alignd_connections").set(table.open.len() as f64);
        drop(table);
        self.connections.closed.notify_waiters();
    }
}

/// A listener for indymilter that has one connection and never another.
struct Once(Option<MtaStream>);

impl indymilter::Listener for Once {
    type Io = MtaStream;

    fn poll_accept(&mut self, _cx: &mut Context<'_>) -> Poll<io::Result<MtaStream>> {
        match self.0.take() {
            Some(stream) => Poll::Ready(Ok(stream)),
            None => Poll::Pending,
        }
    }
}

/// The one connection that was being accepted failed; the next may be fine at once.
fn is_the_peers(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
            | io::ErrorKind::NotConnected
            | io::ErrorKind::InvalidInput
    )
}

const SHORTEST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Postfix gives up after 30 s (`milter_connect_timeout`).
const PATIENCE: Duration = Duration::from_secs(3);

/// Idle for so long that it is no MTA about to speak.
const IDLE_ENOUGH: Duration = Duration::from_secs(5);

/// How soon a newcomer looks for an idle connection again when there was none.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_full_house_sends_the_longest_idle_guest_away_and_no_busy_one() {
        let moment = Duration::from_millis(20);
        let connections = Arc::new(Connections::new(moment / 4, moment));
        let limits = || Limits {
            max_connections: 3,
            idle_timeout: Duration::from_secs(7_200),
        };
        let busy = watch::Sender::new(Phase::Busy);
        let first = watch::Sender::new(Phase::Idle(Instant::now()));
        let second = watch::Sender::new(Phase::Idle(Instant::now() + moment));
        let mut slots = Vec::new();
        for guest in [&busy, &second, &first] {
            slots.push(connections.slot(guest.subscribe(), &limits).await);
        }
        let newcomer = watch::Sender::new(Phase::Busy);
        let waiting = connections.slot(newcomer.subscribe(), &limits);
        tokio::pin!(waiting);
        let longest_idle = slots.pop().unwrap();
        let begun = Instant::now();
        tokio::select! {
            _ = &mut waiting => panic!("there is no room"),
            () = longest_idle.leave.notified() => {}
        }
        assert!(begun.elapsed() >= moment / 2);
        drop(longest_idle);
        let taken = waiting.await;
        assert_eq!(connections.count(), 3);
        // The next one need not be patient again, and the busy one is left alone still.
        assert!(connections.patience_left().is_zero());
        let waiting = connections.slot(newcomer.subscribe(), &limits);
        tokio::pin!(waiting);
        let next_idle = slots.pop().unwrap();
        tokio::select! {
            _ = &mut waiting => panic!("there is no room"),
            () = next_idle.leave.notified() => {}
        }
        drop(next_idle);
        waiting.await;
        drop(taken);
        assert_eq!(connections.count(), 1);
    }
}

//! The daemon: settings → resolver → store and milter → schedule, started in this order.
//!
//! Owns the wiring, the signals (SIGTERM and SIGINT stop, SIGHUP reloads), what systemd is told, and the
//! hour at which old verdicts go. A reload changes what the next message is judged by; sockets, store
//! and DNS servers stay as they were at the start. Evaluates nothing.

mod bounces;
mod control;
mod error;
mod helper;
mod holding;
mod host;
mod reporting;
mod rules;
mod telemetry;

pub use error::StartError;
pub use helper::run_helper;
pub use holding::{digest_terms, holding};
pub use reporting::{build_settings, way_out};

use crate::address::Mailbox;
use crate::config::{Config, load};
use crate::control::ControlSettings;
use crate::dns::Resolver;
use crate::key_file::{self, KeyError};
use crate::milter::{self, PROGRESS, Service, Settings};
use crate::policy::rules::RuleSet;
use crate::resolver::LiveResolver;
use crate::schedule::{Holding, Reporting};
use crate::site_key::SiteKey;
use crate::store::{self, Store};
use crate::time::{Clock, Timestamp};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use rules::StoredRules;
use sd_notify::NotifyState;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use telemetry::LogLevelHandle;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::task::{JoinError, JoinHandle, JoinSet};
use tracing::{error, info, warn};

/// Where the settings come from, at the start and at each reload.
#[derive(Debug, Clone)]
pub struct Source {
    /// `None`: the usual place.
    pub file: Option<PathBuf>,
    pub host_name: String,
    /// Instead of `metrics.listen`: two processes with the same settings can't both listen there.
    pub metrics_listen: Option<SocketAddr>,
}

/// Which entrances a process has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// `alignd run`
    All,
    /// `alignd milter`
    Milter,
    /// `alignd schedule`
    Schedule,
}

/// Runs until it is told to stop. Makes the runtime.
pub fn run(source: &Source, role: Role) -> Result<(), StartError> {
    let config = load(source.file.as_deref(), &source.host_name)?.config;
    let level = telemetry::start_log(&config.log)?;
    allow_open_files();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(StartError::Runtime)?;
    let result = runtime.block_on(serve(source, config, level, role));
    // A report that is being built isn't waited for: whoever runs next builds it again.
    runtime.shutdown_timeout(LEAVE);
    result
}

/// The system's clock.
#[derive(Debug, Clone, Copy)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        let micros = since.map_or(0, |since| since.as_micros());
        Timestamp::from_micros(i64::try_from(micros).unwrap_or(i64::MAX))
    }
}

async fn serve(
    source: &Source,
    config: Config,
    level: LogLevelHandle,
    role: Role,
) -> Result<(), StartError> {
    // Before anything that takes time: a signal must not end us halfway.
    let signals = Signals::new()?;
    if let Some(address) = source.metrics_listen.or(config.metrics.listen) {
        telemetry::start_metrics(address)?;
    }
    let resolver = Arc::new(LiveResolver::new(&config.dns)?);
    // The site key may lie there, and is made before the store is opened.
    store::create_directory(&config.store.path)?;
    let no_store = StoredRules::default();
    let first = settings(&config, no_store.with(&config))?;
    let (settings, take_settings) = watch::channel(Arc::new(first));
    let (reporting, take_reporting) =
        watch::channel(reporting::reporting(&config, &source.host_name));
    let (control, take_control) = watch::channel(Arc::new(config.control.clone()));
    let (bounces, take_bounces) = watch::channel(None);
    let held = Arc::new(holding(&config, &source.host_name));
    let (holding, take_holding) = watch::channel(held);
    let (stop, stopped) = watch::channel(false);
    let mut receiving = match role {
        Role::All | Role::Milter => {
            let given = (&settings, &bounces);
            let taken = (take_settings, take_control, take_holding, take_bounces);
            Some(Receiving::start(&config, given, taken, &resolver, &stopped).await?)
        }
        Role::Schedule => None,
    };
    let scheduling = match role {
        Role::All | Role::Schedule => {
            match reporting::start(&config, take_reporting, resolver, stopped) {
                Ok(tasks) => Some(tasks),
                // Mail must not wait for what reports lack.
                Err(problem) if role == Role::All => {
                    error!(%problem, "no reports are built: mend it and restart alignd");
                    None
                }
                Err(problem) => return Err(problem),
            }
        }
        Role::Milter => None,
    };
    info!(
        version = env!("CARGO_PKG_VERSION"),
        authserv_id = config.identity.authserv_id,
        "ready"
    );
    tell(&[NotifyState::Ready]);
    let (stored, exceptions) = match &mut receiving {
        Some(receiving) => (
            std::mem::take(&mut receiving.rules),
            Some(receiving.store.exceptions_changed()),
        ),
        None => (no_store, None),
    };
    let reloading = Reloading {
        source,
        current: config.clone(),
        running: config,
        stored,
        exceptions,
        settings,
        reporting,
        control,
        bounces: receiving.is_some().then_some(bounces),
        holding,
        level,
    };
    let milter_ended = async {
        match &mut receiving {
            Some(receiving) => (&mut receiving.milter).await,
            None => std::future::pending().await,
        }
    };
    let early = tokio::select! {
        () = reloading.until_stopped(signals) => None,
        ended = milter_ended => Some(ended),
    };
    tell(&[NotifyState::Stopping]);
    stop.send_replace(true);
    let result = match receiving {
        Some(receiving) => receiving.stop(early).await,
        None => {
            info!("stopped");
            Ok(())
        }
    };
    if let Some(tasks) = scheduling {
        reporting::finish(tasks).await;
    }
    result
}

/// What a reload changes of what [`Receiving`] goes by.
type Taken = (
    watch::Receiver<Arc<Settings>>,
    watch::Receiver<Arc<ControlSettings>>,
    watch::Receiver<Arc<Holding>>,
    watch::Receiver<bounces::Taken>,
);

/// The milter with its store, while it runs.
struct Receiving {
    store: Store,
    milter: JoinHandle<usize>,
    control: JoinHandle<()>,
    /// As they were at the start.
    rules: StoredRules,
    expiry: JoinHandle<()>,
    follower: Option<JoinHandle<()>>,
    reconciler: JoinHandle<()>,
    keepers: JoinSet<()>,
}

impl Receiving {
    async fn start(
        config: &Config,
        (decided_by, bounces): (&watch::Sender<Arc<Settings>>, &bounces::Taker),
        (settings, control, holding, take_bounces): Taken,
        resolver: &Arc<LiveResolver>,
        stopped: &watch::Receiver<bool>,
    ) -> Result<Self, StartError> {
        let store = Store::open(&config.store, SystemClock.now())?;
        // Before the first message can come.
        let rules = StoredRules::read(config.store.path.clone());
        let decided = Arc::new(self::settings(config, rules.with(config))?);
        decided_by.send_replace(Arc::clone(&decided));
        let listeners = milter::bind(&config.milter).await?;
        bounces.send_replace(bounces::start(config));
        let service = service(settings, resolver.clone(), &store, take_bounces);
        let expiry = tokio::spawn(expire(store.clone()));
        let desk = Arc::new(control::desk(config, &store));
        let keepers = holding::start(holding, &desk, stopped);
        let control = control::start(config, control, desk, stopped);
        let (follower, reconciler) = host::start(config, &decided, &store, stopped);
        let milter = tokio::spawn(milter::run(listeners, service, stopped.clone(), GRACE));
        Ok(Self {
            store,
            milter,
            control,
            rules,
            expiry,
            follower,
            reconciler,
            keepers,
        })
    }

    /// Ends it in order; `early`: it ended by itself.
    async fn stop(self, early: Option<Result<usize, JoinError>>) -> Result<(), StartError> {
        self.expiry.abort();
        let result = match early {
            None => ended(self.milter.await),
            Some(early) => {
                ended(early).and(Err(StartError::Ended("it stopped by itself".to_owned())))
            }
        };
        if let Err(problem) = self.control.await {
            error!(%problem, "the control socket ended by itself; please report it");
        }
        if let Some(follower) = self.follower
            && tokio::time::timeout(LEAVE, follower).await.is_err()
        {
            warn!("stopped while the mail log was read: it is taken up again after the next start");
        }
        if let Err(problem) = self.reconciler.await {
            error!(%problem, "the look into the hold queue ended by itself; please report it");
        }
        holding::finish(self.keepers).await;
        self.store.close().await;
        result
    }
}

fn ended(milter: Result<usize, JoinError>) -> Result<(), StartError> {
    match milter {
        Ok(0) => info!("stopped"),
        Ok(left) => warn!(left, "stopped with mails in hand: they got no answer"),
        Err(problem) => return Err(StartError::Ended(problem.to_string())),
    }
    Ok(())
}

fn service<R: Resolver>(
    settings: watch::Receiver<Arc<Settings>>,
    resolver: Arc<R>,
    store: &Store,
    bounces: watch::Receiver<bounces::Taken>,
) -> Arc<Service<R>> {
    Arc::new(Service {
        settings,
        resolver,
        keys: Default::default(),
        store: store.clone(),
        clock: Arc::new(SystemClock),
        bounces,
        progress: PROGRESS,
    })
}

/// What the milter needs of the settings.
fn settings(config: &Config, rules: Arc<RuleSet>) -> Result<Settings, KeyError> {
    let site_key = site_key(config, &rules)?;
    Ok(Settings {
        authserv_id: config.identity.authserv_id.clone(),
        milter: config.milter.clone(),
        trust: config.trust.clone(),
        dkim: config.dkim.clone(),
        arc: config.arc.clone(),
        policy: config.policy.clone(),
        rules,
        dns_deadline: config.dns.message_deadline,
        on_store_failure: config.store.on_failure,
        local_parts: config.store.local_parts,
        report_from: report_from(config),
        site_key,
    })
}

/// The key for verdict headers, made at the first start. Where nothing is held and nothing comes back, it may
/// be missing; a rule in the store may still ask for it later.
fn site_key(config: &Config, rules: &RuleSet) -> Result<Option<SiteKey>, KeyError> {
    let path = &config.identity.site_key;
    let can_hold = config.policy.can_hold() || rules.can_hold();
    match key_file::open_or_make(path) {
        Err(problem) if can_hold || !config.trust.reinject.is_empty() => Err(problem),
        opened => Ok(opened.ok()),
    }
}

/// The address that report mail is from, once it can be sent.
fn report_from(config: &Config) -> Option<Mailbox> {
    Mailbox::parse(&config.sending().ok()?.from.to_string())
}

/// Deletes what is older than `store.keep_messages`, now and every hour.
async fn expire(store: Store) {
    let mut hour = tokio::time::interval(Duration::from_secs(3_600));
    loop {
        hour.tick().await;
        match store.expire(SystemClock.now()).await {
            Ok(0) => {}
            Ok(deleted) => info!(
                deleted,
                "verdicts older than store.keep_messages are deleted"
            ),
            Err(problem) => warn!(%problem, "old verdicts cannot be deleted; trying again"),
        }
    }
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

impl Signals {
    fn new() -> Result<Self, StartError> {
        let take = |kind| signal(kind).map_err(StartError::Runtime);
        Ok(Self {
            terminate: take(SignalKind::terminate())?,
            interrupt: take(SignalKind::interrupt())?,
            hang_up: take(SignalKind::hangup())?,
        })
    }

    /// Until we are told to end.
    async fn stop(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// What a reload changes.
struct Reloading<'a> {
    source: &'a Source,
    /// As it was at the start.
    running: Config,
    /// As it is now.
    current: Config,
    stored: StoredRules,
    /// Counts the changes of the store's rules; `None`: there is no store here.
    exceptions: Option<watch::Receiver<u64>>,
    settings: watch::Sender<Arc<Settings>>,
    reporting: watch::Sender<Option<Arc<Reporting>>>,
    control: watch::Sender<Arc<ControlSettings>>,
    /// `None`: no mail passes here.
    bounces: Option<bounces::Taker>,
    holding: watch::Sender<Arc<Holding>>,
    level: LogLevelHandle,
}

impl Reloading<'_> {
    async fn until_stopped(mut self, mut signals: Signals) {
        loop {
            tokio::select! {
                _ = signals.terminate.recv() => return,
                _ = signals.interrupt.recv() => return,
                Some(()) = signals.hang_up.recv() => self.reload(),
                () = changed(&mut self.exceptions) => self.exchange_rules(),
            }
        }
    }

    /// The store's rules are others than before.
    fn exchange_rules(&mut self) {
        self.stored.read_again();
        match settings(&self.current, self.stored.with(&self.current)) {
            Ok(settings) => _ = self.settings.send_replace(Arc::new(settings)),
            Err(problem) => error!(%problem, "the new exceptions don't hold yet"),
        }
    }

    fn reload(&mut self) {
        let mut told = vec![NotifyState::Reloading];
        told.extend(NotifyState::monotonic_usec_now());
        tell(&told);
        let loaded = load(self.source.file.as_deref(), &self.source.host_name);
        let loaded = loaded.map_err(StartError::from).and_then(|loaded| {
            let rules = self.stored.with(&loaded.config);
            let settings = settings(&loaded.config, rules)?;
            Ok((loaded.config, settings))
        });
        match loaded {
            Ok((config, settings)) => self.take(config, settings),
            Err(problem) => error!(%problem, "reload failed; the settings stay as they were"),
        }
        tell(&[NotifyState::Ready]);
    }

    fn take(&mut self, new: Config, settings: Settings) {
        for name in fixed_at_start(&self.running, &new) {
            warn!(setting = name, "changed, but holds only after a restart");
        }
        if let Err(problem) = self.level.set(new.log.level) {
            warn!(problem, "log.level cannot be changed");
        }
        self.settings.send_replace(Arc::new(settings));
        let reporting = reporting::reporting(&new, &self.source.host_name);
        self.reporting.send_replace(reporting);
        self.control.send_replace(Arc::new(new.control.clone()));
        let held = holding(&new, &self.source.host_name);
        self.holding.send_replace(Arc::new(held));
        if let Some(bounces) = &self.bounces
            && bounces::differ(&self.current, &new)
        {
            // Whoever took them until now takes what waits for it, and ends.
            bounces.send_replace(bounces::start(&new));
        }
        self.current = new;
        info!("reloaded: holds from the next message on");
    }
}

/// Waits for a change of the store's rules; for ever, where none can come.
async fn changed(exceptions: &mut Option<watch::Receiver<u64>>) {
    if let Some(changes) = exceptions
        && changes.changed().await.is_ok()
    {
        return;
    }
    std::future::pending().await
}

/// Settings that differ and that a reload doesn't touch.
fn fixed_at_start(running: &Config, new: &Config) -> Vec<&'static str> {
    let (milter, store) = (&running.milter, &running.store);
    let same = [
        (
            "control.socket",
            running.control.socket == new.control.socket,
        ),
        ("milter.listen", milter.listen == new.milter.listen),
        (
            "milter.socket_mode",
            milter.socket_mode == new.milter.socket_mode,
        ),
        (
            "milter.socket_group",
            milter.socket_group == new.milter.socket_group,
        ),
        ("dns.servers", running.dns.servers == new.dns.servers),
        ("dns.timeout", running.dns.timeout == new.dns.timeout),
        (
            "dns.cache_entries",
            running.dns.cache_entries == new.dns.cache_entries,
        ),
        ("store.path", store.path == new.store.path),
        ("store.durability", store.durability == new.store.durability),
        ("store.wait", store.wait == new.store.wait),
        (
            "store.keep_messages",
            store.keep_messages == new.store.keep_messages,
        ),
        (
            "store.keep_reports",
            store.keep_reports == new.store.keep_reports,
        ),
        (
            "store.local_parts",
            store.local_parts == new.store.local_parts,
        ),
        ("outcome.log", running.outcome.log == new.outcome.log),
        (
            "outcome.settle",
            running.outcome.settle == new.outcome.settle,
        ),
        (
            "quarantine.mta",
            running.quarantine.queue.mta == new.quarantine.queue.mta,
        ),
        (
            "quarantine.helper_socket",
            running.quarantine.queue.helper_socket == new.quarantine.queue.helper_socket,
        ),
        ("metrics.listen", running.metrics == new.metrics),
        ("log.format", running.log.format == new.log.format),
    ];
    let changed = same.iter().filter(|(_, same)| !same);
    changed.map(|(name, _)| *name).collect()
}

fn tell(state: &[NotifyState<'_>]) {
    // Without systemd there is nobody to tell, and that is no error.
    if let Err(problem) = sd_notify::notify(state) {
        warn!(%problem, "systemd cannot be told");
    }
}

/// A connection of the MTA takes a file descriptor: as many as the system lets us have.
fn allow_open_files() {
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
        && soft < hard
    {
        // At worst fewer connections are served at once.
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
}

/// How long the mails in hand may take after SIGTERM; systemd waits 90 s.
const GRACE: Duration = Duration::from_secs(60);

/// How long what blocks may still take when everything else has stopped.
const LEAVE: Duration = Duration::from_secs(2);

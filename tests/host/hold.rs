//! What became of held messages, by the hold queue: one in memory, on a real store. Scans are 30 s apart.

use crate::plain_verdict::plain_verdict;
use crate::queue::Mta;
use crate::{Hands, RECEIVED};
use alignd::host::{ReconcileError, Reconciler, Scanned};
use alignd::mta::{HelperError, MtaKind, Place};
use alignd::outcome::{Outcome, OutcomeSource, OutcomeState};
use alignd::site_key::SiteKey;
use alignd::store::{Change, HeldFilter, HeldIn, Intent, Reader, Store, StoreSettings};
use alignd::time::Timestamp;
use alignd::verdict::VerdictId;
use alignd::verdict::header::{Marks, VERDICT_HEADER, VerdictHeader};
use metrics_exporter_prometheus::PrometheusBuilder;
use std::io::Write;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tempfile::TempDir;
use tokio::sync::watch;

struct World {
    home: TempDir,
    store: Store,
    mta: Mta,
    clock: Arc<Hands>,
    reconciler: Reconciler<Mta>,
    messages: u32,
}

impl World {
    fn new() -> Self {
        Self::of(MtaKind::Postfix)
    }

    fn of(kind: MtaKind) -> Self {
        let home = tempfile::tempdir().unwrap();
        let store = open(&home, 0);
        let clock = Arc::new(Hands(AtomicI64::new(RECEIVED + 3_600)));
        let mta = Mta::default();
        let reconciler = reconciler(&home, &store, &mta, &clock, kind);
        Self {
            home,
            store,
            mta,
            clock,
            reconciler,
            messages: 0,
        }
    }

    /// A message under this id, `received` seconds after the first; it isn't in the queue yet.
    async fn record(&mut self, id: &str, received: i64) -> VerdictId {
        self.messages += 1;
        let at = Timestamp::from_seconds(RECEIVED + received);
        let mut verdict = plain_verdict("a.example", at, self.messages);
        verdict.envelope.queue_id = Some(id.to_owned());
        let verdict = Arc::new(verdict);
        let id = verdict.id;
        self.store.record(verdict).await.unwrap();
        id
    }

    async fn answer(&self, id: VerdictId, state: OutcomeState, at: i64) {
        let at = Timestamp::from_seconds(RECEIVED + at);
        let outcome = Outcome::new(state, at, OutcomeSource::Reply);
        self.store.confirm(id, outcome);
        self.store.change(Vec::new()).await.unwrap();
    }

    /// In the store and in the queue.
    async fn hold(&mut self, id: &str) -> VerdictId {
        let verdict = self.record(id, 0).await;
        self.answer(verdict, Held, 0).await;
        self.mta.put(id, Place::Held, -1, bearing(verdict));
        verdict
    }

    async fn hold_many(&mut self, count: u32) -> Vec<VerdictId> {
        let mut held = Vec::new();
        for nth in 0..count {
            held.push(self.hold(&crate::id(nth)).await);
        }
        held
    }

    /// The next look, 30 s later.
    async fn turn(&mut self) -> Result<Option<Scanned>, ReconcileError> {
        self.clock.0.fetch_add(30, Ordering::Relaxed);
        self.reconciler.turn().await
    }

    async fn moved(&mut self) -> u64 {
        let scanned = self.turn().await.unwrap();
        scanned.map_or(0, |scanned| scanned.moved)
    }

    /// What each of so many looks moved.
    async fn turns(&mut self, count: usize) -> Vec<u64> {
        let mut moved = Vec::new();
        for _ in 0..count {
            moved.push(self.moved().await);
        }
        moved
    }

    /// Another process, which knows only what is in the store.
    async fn restart(&mut self) {
        self.clock.0.fetch_add(30, Ordering::Relaxed);
        let now = self.clock.0.load(Ordering::Relaxed) - RECEIVED;
        let other = tempfile::tempdir().unwrap();
        let aside = std::mem::replace(&mut self.store, open(&other, now));
        self.reconciler = self.again();
        aside.close().await;
        self.store = open(&self.home, now);
        self.reconciler = self.again();
    }

    fn again(&self) -> Reconciler<Mta> {
        let kind = MtaKind::Postfix;
        reconciler(&self.home, &self.store, &self.mta, &self.clock, kind)
    }

    fn now(&self) -> Timestamp {
        Timestamp::from_seconds(self.clock.0.load(Ordering::Relaxed))
    }

    /// Another filter says now that it holds it.
    async fn tell_held(&self, verdict: VerdictId) {
        let mut outcome = Outcome::new(Held, self.now(), OutcomeSource::Operator);
        outcome.by = Some("amavis".to_owned());
        let told = Change::Outcome { verdict, outcome };
        self.store.change(vec![told]).await.unwrap();
    }

    async fn intend(&self, verdict: VerdictId) {
        let intent = Intent {
            verdict,
            at: self.now(),
            by: "anna".to_owned(),
            document: "{}".to_owned(),
        };
        let intend = Change::Intend(intent);
        self.store.change(vec![intend]).await.unwrap();
    }

    fn reader(&self) -> Reader {
        Reader::open(self.home.path()).unwrap()
    }

    fn history(&self, id: VerdictId) -> Vec<OutcomeState> {
        let outcomes = self.reader().outcomes(id).unwrap();
        outcomes.iter().skip(1).map(|o| o.state).collect()
    }

    fn last(&self, id: VerdictId) -> (OutcomeState, OutcomeSource, String) {
        let last = self.reader().outcomes(id).unwrap().pop().unwrap();
        (last.state, last.source, last.detail.unwrap_or_default())
    }
}

fn open(home: &TempDir, at: i64) -> Store {
    let settings = StoreSettings {
        path: home.path().to_owned(),
        ..StoreSettings::default()
    };
    Store::open(&settings, Timestamp::from_seconds(RECEIVED + at)).unwrap()
}

fn reconciler(
    home: &TempDir,
    store: &Store,
    mta: &Mta,
    clock: &Arc<Hands>,
    kind: MtaKind,
) -> Reconciler<Mta> {
    let settle = Duration::from_secs(120);
    let (mta, store, directory) = (mta.clone(), store.clone(), home.path().to_owned());
    Reconciler::new(mta, kind, store, directory, clock.clone(), settle)
}

/// A header as we leave it on held mail.
fn bearing(verdict: VerdictId) -> String {
    let marks = Marks {
        message_id: None,
        author_domain: None,
        body: [7; 32],
    };
    let at = Timestamp::from_seconds(RECEIVED);
    let field = VerdictHeader::new(verdict, at, &marks, &SiteKey::new(&[7; 32]));
    let field = field.folded();
    format!("From: a@a.example\n{VERDICT_HEADER}:{field}\nSubject: x\n\n")
}

/// The header of message `nth`, which we didn't hold.
fn plain(nth: u32) -> String {
    format!("From: a@a.example\nMessage-ID: <20261122.{nth:08x}.4711@mail.a.example>\n\n")
}

fn deferred() -> Place {
    Place::Queued("deferred".to_owned())
}

const ID: &str = "4jXW5m5GBtz1StgL";
const OTHER: &str = "4jXW5m5GBtz1StgM";

use OutcomeState::{Accepted, Deleted, Held, Rejected, Released, Unknown};

#[tokio::test]
async fn let_go_by_hand_it_is_released() {
    let mut world = World::new();
    let (first, second) = (world.hold(ID).await, world.hold(OTHER).await);
    assert_eq!(world.turns(2).await, [0, 0]);
    world.mta.go(ID, deferred());
    assert_eq!(world.turns(2).await, [1, 0]);
    let (state, source, detail) = world.last(first);
    assert_eq!((state, source), (Released, OutcomeSource::Queue));
    assert_eq!(detail, "it is in `deferred`, let go by hand");
    assert_eq!(world.history(second), [Held]);
}

#[tokio::test]
async fn gone_without_a_word_it_is_unknown_in_the_end() {
    let mut world = World::new();
    let (first, second) = (world.hold(ID).await, world.hold(OTHER).await);
    assert_eq!(world.turns(1).await, [0]);
    world.mta.go(ID, Place::Gone);
    assert_eq!(world.turns(4).await, [0, 0, 0, 0]);
    // The operator says it in time.
    world.mta.go(OTHER, Place::Gone);
    let outcome = Outcome::new(Deleted, world.now(), OutcomeSource::Operator);
    let verdict = second;
    let told = Change::Outcome { verdict, outcome };
    world.store.change(vec![told]).await.unwrap();
    assert_eq!(world.turns(3).await, [1, 0, 0]);
    assert_eq!(world.last(first).0, Unknown);
    assert_eq!(world.history(second), [Held, Deleted]);
    // Nothing is held any more: nobody is asked, but for an hour, in which it may be seen again.
    let lists = world.mta.set(|state| state.lists);
    assert_eq!(world.turns(200).await, [0; 200]);
    assert_eq!(world.turn().await.unwrap(), None);
    assert_eq!(world.mta.set(|state| state.lists), lists + 117);
}

/// The queue of another MTA was looked at, or none, until somebody mended that.
#[tokio::test]
async fn what_is_seen_again_is_held_again() {
    let mut world = World::new();
    let (first, second) = (world.hold(ID).await, world.hold(OTHER).await);
    let queue = world.mta.set(|state| std::mem::take(&mut state.mails));
    assert_eq!(world.turns(5).await, [0, 0, 0, 0, 2]);
    world.mta.set(|state| state.mails = queue.clone());
    assert_eq!(world.turns(2).await, [0, 2]);
    world.mta.set(|state| state.mails.clear());
    assert_eq!(world.turns(5).await, [0, 0, 0, 0, 2]);
    // Or he restarted alignd for that.
    world.restart().await;
    assert_eq!(world.turns(1).await, [0]);
    world.reconciler = world.again().looking_at_first();
    world.mta.set(|state| state.mails = queue);
    assert_eq!(world.turns(2).await, [0, 2]);
    for message in [first, second] {
        let history = world.history(message);
        assert_eq!(history, [Held, Unknown, Held, Unknown, Held]);
    }
}

#[tokio::test]
async fn what_an_operator_is_about_to_do_is_his_to_tell() {
    let mut world = World::new();
    let (first, second) = (world.hold(ID).await, world.hold(OTHER).await);
    world.intend(first).await;
    world.intend(second).await;
    world.mta.go(ID, deferred());
    world.mta.go(OTHER, Place::Gone);
    assert_eq!(world.turns(9).await, [0; 9]);
    let mut outcome = Outcome::new(Released, world.now(), OutcomeSource::Operator);
    outcome.by = Some("anna".to_owned());
    let told = Change::Outcome {
        verdict: first,
        outcome,
    };
    let done = Change::StrikeOut { verdict: first };
    world.store.change(vec![told, done]).await.unwrap();
    // It was not this that he meant.
    let void = Change::StrikeOut { verdict: second };
    world.store.change(vec![void]).await.unwrap();
    assert_eq!(world.turns(5).await, [0, 0, 0, 0, 1]);
    assert_eq!(world.last(first).1, OutcomeSource::Operator);
    assert_eq!(world.last(second).0, Unknown);
}

#[tokio::test]
async fn an_id_that_is_used_again_is_another_mails() {
    let mut world = World::new();
    let first = world.hold(ID).await;
    let younger = world.hold(OTHER).await;
    // In the hold queue, held by others; on its way, accepted by us.
    world.mta.put(ID, Place::Held, 600, plain(99));
    world.mta.put(OTHER, deferred(), 600, plain(99));
    let next = world.record(OTHER, 600).await;
    world.answer(next, Accepted, 600).await;
    assert_eq!(world.turns(5).await, [0, 0, 0, 0, 2]);
    assert_eq!(world.last(first).0, Unknown);
    assert_eq!(world.last(younger).0, Unknown);
    assert_eq!(world.history(next), [Accepted]);
}

#[tokio::test]
async fn one_that_bears_our_header_is_ours_whatever_the_clock_said() {
    let mut world = World::new();
    let message = world.hold(ID).await;
    world.mta.put(ID, Place::Held, 600, bearing(message));
    assert_eq!(world.turns(9).await, [0; 9]);
    assert_eq!(world.mta.set(|state| state.headers), 1);
    assert_eq!(world.history(message), [Held]);
}

#[tokio::test]
async fn what_others_put_on_hold_is_held() {
    let mut world = World::new();
    world.hold("4jXW5m5GBtz1StgN").await;
    let mut put = Vec::new();
    for (nth, (state, header, expected)) in [
        (Accepted, plain(2), vec![Accepted, Held]),
        // Not the message that the store knows.
        (Accepted, plain(99), vec![Accepted]),
        (
            Accepted,
            bearing(VerdictId::from_bytes([9; 16])),
            vec![Accepted],
        ),
        (Rejected, plain(5), vec![Rejected]),
    ]
    .into_iter()
    .enumerate()
    {
        let id = crate::id(nth as u32);
        let verdict = world.record(&id, 0).await;
        world.answer(verdict, state, 3_600).await;
        world.mta.put(&id, Place::Held, -1, header);
        put.push((verdict, expected));
    }
    world.mta.put("4jXW5m5GBtz1StgP", Place::Held, -1, plain(7));
    // Two minutes after its answer, and seen before.
    assert_eq!(world.turns(7).await, [0, 0, 0, 0, 1, 0, 0]);
    for (verdict, expected) in put {
        assert_eq!(world.history(verdict), expected);
    }
    assert_eq!(world.mta.set(|state| state.headers), 3);
}

#[tokio::test]
async fn what_a_crash_left_in_doubt_is_found() {
    let mut world = World::new();
    let (held, refused) = (
        world.record(ID, 3_600).await,
        world.record(OTHER, 3_600).await,
    );
    world.mta.put(ID, Place::Held, 3_599, bearing(held));
    world.restart().await;
    assert_eq!(world.last(held).0, Unknown);
    assert_eq!(world.turns(5).await, [0, 0, 0, 1, 0]);
    assert_eq!(world.history(held), [Unknown, Held]);
    assert_eq!(world.history(refused), [Unknown]);
}

#[tokio::test]
async fn after_a_restart_it_begins_anew() {
    let mut world = World::new();
    let (first, second) = (world.hold(ID).await, world.hold(OTHER).await);
    world.mta.go(ID, Place::Gone);
    assert_eq!(world.turns(4).await, [0; 4]);
    world.mta.go(OTHER, deferred());
    world.restart().await;
    assert_eq!(world.turns(6).await, [1, 0, 0, 0, 1, 0]);
    assert_eq!(world.history(first), [Held, Unknown]);
    assert_eq!(world.history(second), [Held, Released]);
}

#[tokio::test]
async fn while_the_helper_is_away_nothing_is_concluded() {
    let mut world = World::new();
    let (first, second) = (world.hold(ID).await, world.hold(OTHER).await);
    assert_eq!(world.turns(1).await, [0]);
    world.mta.go(ID, Place::Gone);
    assert_eq!(world.turns(1).await, [0]);
    for down in [
        HelperError::Unreachable("nobody there".to_owned()),
        HelperError::Refused("not you".to_owned()),
        HelperError::Busy("later".to_owned()),
    ] {
        world.mta.set(|state| state.down = Some(down));
        for _ in 0..5 {
            assert!(world.turn().await.is_err());
        }
    }
    world.mta.go(OTHER, deferred());
    world.mta.set(|state| state.down = None);
    assert_eq!(world.turns(2).await, [2, 0]);
    assert_eq!(world.last(first).0, Unknown);
    assert_eq!(world.last(second).0, Released);
}

#[tokio::test]
async fn one_mail_that_cannot_be_looked_at_keeps_none_back() {
    let mut world = World::new();
    let (first, second) = (world.hold(ID).await, world.hold(OTHER).await);
    // Under the id of the first lies another mail, as it seems.
    world.mta.put(ID, Place::Held, 600, bearing(first));
    world.mta.go(OTHER, deferred());
    world
        .mta
        .set(|state| state.broken = Some(ID.parse().unwrap()));
    for _ in 0..9 {
        let looked = world.turn().await;
        assert!(
            matches!(looked, Err(ReconcileError::Helper(_))),
            "{looked:?}"
        );
    }
    assert_eq!(world.history(first), [Held]);
    assert_eq!(world.history(second), [Held, Released]);
}

#[tokio::test]
async fn mail_of_another_mta_is_left_alone() {
    let mut world = World::of(MtaKind::Sendmail);
    let ours = world.hold("6AMEJUlD010546").await;
    let other = world.hold(ID).await;
    world.mta.go(ID, Place::Gone);
    world.mta.go(
        "6AMEJUlD010546",
        Place::Queued("/var/spool/mqueue".to_owned()),
    );
    assert_eq!(world.turns(6).await, [1, 0, 0, 0, 0, 0]);
    assert_eq!(world.last(ours).0, Released);
    assert_eq!(world.history(other), [Held]);
    assert_eq!(world.mta.set(|state| state.looks), 1);
}

/// The last line that could tell of it is not read yet, until it is.
#[tokio::test]
async fn what_the_log_may_tell_still_is_waited_for() {
    let mut world = World::new();
    let mut follower = crate::follower(&world.home, &world.store, &world.clock);
    world.reconciler = world.again().listening_to(&follower);
    let (told, untold) = (world.hold(ID).await, world.hold(OTHER).await);
    world.mta.go(ID, Place::Gone);
    world.mta.go(OTHER, Place::Gone);
    assert_eq!(world.turns(9).await, [0; 9]);
    let removed = crate::line(300, "postfix/postsuper", ID, "removed");
    std::fs::write(world.home.path().join("mail.log"), removed).unwrap();
    follower.catch_up().await.unwrap();
    assert_eq!(world.turns(2).await, [1, 0]);
    assert_eq!(world.history(told), [Held, Deleted]);
    assert_eq!(world.history(untold), [Held, Unknown]);
}

#[tokio::test]
async fn how_many_are_held_and_since_when_can_be_measured() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let _default = metrics::set_default_local_recorder(&recorder);
    let mut world = World::new();
    let shown = |number, oldest| {
        let page = recorder.handle().render();
        for (name, value) in [("messages", number), ("oldest_seconds", oldest)] {
            let line = format!("\nalignd_held_{name} {value}\n");
            assert!(page.contains(&line), "{line} in {page}");
        }
    };
    assert_eq!(world.moved().await, 0);
    shown(0, 0);
    world.hold_many(3).await;
    assert_eq!(world.moved().await, 0);
    shown(3, 3_660);
    world.mta.go(&crate::id(0), deferred());
    assert_eq!(world.turns(2).await, [1, 0]);
    shown(2, 3_720);
}

/// One listing tells of all that lie there, and each that doesn't is looked for three times at most.
#[tokio::test]
async fn a_thousand_held_let_go_and_deleted() {
    let mut world = World::new();
    let held = world.hold_many(1_000).await;
    assert_eq!(world.turns(2).await, [0, 0]);
    let asked = |world: &World| world.mta.set(|s| (s.lists, s.looks, s.headers));
    assert_eq!(asked(&world), (2, 0, 0));
    for nth in 0..1_000 {
        let place = if nth % 2 == 0 {
            deferred()
        } else {
            Place::Gone
        };
        world.mta.go(&crate::id(nth), place);
    }
    assert_eq!(world.turns(6).await, [500, 0, 0, 0, 500, 0]);
    assert_eq!(asked(&world), (8, 1_000 + 500 + 500, 0));
    for (nth, id) in held.into_iter().enumerate() {
        let expected = if nth % 2 == 0 { Released } else { Unknown };
        assert_eq!(world.history(id), [Held, expected]);
    }
}

/// Where the log goes in a test.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, octets: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend(octets);
        Ok(octets.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn trouble_is_told_when_it_begins_and_when_it_ends() {
    let lines = Lines::default();
    let writer = lines.clone();
    let log = tracing_subscriber::fmt()
        .with_writer(move || writer.clone())
        .with_ansi(false)
        .finish();
    let _default = tracing::subscriber::set_default(log);
    let mut world = World::new();
    world.hold(ID).await;
    let mta = world.mta.clone();
    let down = HelperError::Unreachable("nobody there".to_owned());
    mta.set(|state| state.down = Some(down));
    let (stop, stopped) = watch::channel(false);
    let running = tokio::spawn(world.reconciler.run(Duration::from_millis(1), stopped));
    let looked = |count: u32| {
        let mta = mta.clone();
        async move {
            let before = mta.set(|state| state.lists);
            while mta.set(|state| state.lists) < before + count {
                tokio::task::yield_now().await;
            }
        }
    };
    looked(10).await;
    mta.set(|state| state.down = None);
    looked(10).await;
    // One that says nothing doesn't keep us from stopping.
    mta.set(|state| state.silent = true);
    looked(1).await;
    stop.send_replace(true);
    running.await.unwrap();
    let log = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    let told = |words: &str| log.matches(words).count();
    assert_eq!(told("the hold queue cannot be looked at"), 1, "{log}");
    assert_eq!(told("the hold queue can be looked at again"), 1, "{log}");
    assert_eq!(told("nobody there"), 1, "{log}");
}

/// Its quarantine never tells what becomes of it: that must not keep anybody busy.
#[tokio::test]
async fn what_another_filter_keeps_itself_is_looked_for_once() {
    let mut world = World::new();
    let kept = world.record(ID, 0).await;
    world.answer(kept, Accepted, 0).await;
    world.tell_held(kept).await;
    let lists = |world: &World| world.mta.set(|state| state.lists);
    // For `outcome.settle` and 5 minutes after it was told.
    assert_eq!(world.turns(30).await, [0; 30]);
    assert_eq!((lists(&world), world.turn().await.unwrap()), (14, None));
    // It isn't even read while ours are looked for.
    world.hold(OTHER).await;
    assert_eq!(world.turns(3).await, [0; 3]);
    world.mta.go(OTHER, deferred());
    assert_eq!(world.turns(2).await, [1, 0]);
    let before = lists(&world);
    assert_eq!(world.turn().await.unwrap(), None);
    assert_eq!(lists(&world), before);
    // A start looks once more, also where the first look fails; and what lies here is followed for as long as it does.
    world.restart().await;
    world.mta.put(ID, Place::Held, -1, plain(1));
    let down = HelperError::Unreachable("nobody there".to_owned());
    world.mta.set(|state| state.down = Some(down));
    assert!(world.turn().await.is_err());
    world.mta.set(|state| state.down = None);
    assert_eq!(world.turns(99).await, [0; 99]);
    world.mta.go(ID, deferred());
    assert_eq!(world.moved().await, 1);
    assert_eq!(world.history(kept), [Accepted, Held, Released]);
    assert_eq!(world.turn().await.unwrap(), None);
}

#[tokio::test]
async fn what_another_filter_keeps_itself_is_left_alone() {
    let mut world = World::new();
    let (kept, here) = (world.record(ID, 0).await, world.record(OTHER, 0).await);
    world.mta.put(OTHER, Place::Held, -1, plain(2));
    for id in [kept, here] {
        world.answer(id, Accepted, 0).await;
        world.tell_held(id).await;
    }
    assert_eq!(world.turns(2).await, [0, 0]);
    world.mta.go(OTHER, deferred());
    assert_eq!(world.turns(6).await, [1, 0, 0, 0, 0, 0]);
    assert_eq!(world.history(kept), [Accepted, Held]);
    assert_eq!(world.history(here), [Accepted, Held, Released]);
    // Nor is it ours to delete or to remind of.
    let ours = HeldFilter {
        place: HeldIn::Queue,
        ..HeldFilter::default()
    };
    assert_eq!(
        world.reader().held(&HeldFilter::default()).unwrap().len(),
        1
    );
    assert_eq!(world.reader().held(&ours).unwrap(), []);
}

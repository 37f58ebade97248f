//! Stands between alignd and the MTA's helper, and stops what passes at the step that is named: there the
//! process that asked can be killed.

use crate::wait;
use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

/// A point between two steps of a release or a deletion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Before the first look into the queue.
    Locate,
    /// Before the look at the mail's header.
    Show,
    /// The intent is written; the MTA hasn't been asked.
    BeforeAct,
    /// The MTA did it, and alignd doesn't know it.
    AfterAct,
    /// Before the second look; the MTA did it and said so.
    SecondLocate,
}

pub const STEPS: [Step; 5] = [
    Step::Locate,
    Step::Show,
    Step::BeforeAct,
    Step::AfterAct,
    Step::SecondLocate,
];

impl Step {
    /// Whether the MTA had done it by then.
    pub fn is_done(self) -> bool {
        matches!(self, Self::AfterAct | Self::SecondLocate)
    }
}

pub struct Between {
    home: tempfile::TempDir,
    state: Arc<(Mutex<State>, Condvar)>,
}

#[derive(Default)]
struct State {
    helper: PathBuf,
    /// Where to stop, about which queue id.
    stop: Option<(Step, String)>,
    located: u32,
    is_reached: bool,
}

impl Between {
    pub fn open() -> Self {
        let home = crate::keeping::home();
        let listener = UnixListener::bind(home.path().join("between.sock"));
        let listener = listener.expect("our own directory");
        let state = Arc::new((Mutex::new(State::default()), Condvar::new()));
        let shared = state.clone();
        // It ends with the process: nobody comes any more.
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = shared.clone();
                thread::spawn(move || pass(stream, &shared));
            }
        });
        Self { home, state }
    }

    /// For `quarantine.helper_socket`, in TOML.
    pub fn setting(&self) -> String {
        format!("\"{}\"", self.home.path().join("between.sock").display())
    }

    pub fn lead_to(&self, helper: &Path) {
        self.state().helper = helper.to_owned();
    }

    pub fn stop_at(&self, step: Step, queue_id: &str) {
        let mut state = self.state();
        state.stop = Some((step, queue_id.to_owned()));
        state.located = 0;
        state.is_reached = false;
    }

    /// Until somebody stands there.
    pub fn wait_until_reached(&self) {
        wait::until("the step is reached", || {
            self.state().is_reached.then_some(())
        });
    }

    /// Whoever stands there is hung up on; nothing is stopped any more.
    pub fn clear(&self) {
        self.state().stop = None;
        self.state.1.notify_all();
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.0.lock().expect("nobody panics with it")
    }
}

/// One question and its answer.
fn pass(mut asking: UnixStream, shared: &(Mutex<State>, Condvar)) {
    let mut line = String::new();
    let read = BufReader::new(&asking).read_line(&mut line);
    let Some(question) = read.ok().and_then(|_| serde_json::from_str(&line).ok()) else {
        return;
    };
    let (before, after) = steps(&question, shared);
    if stand(before, &question, shared) {
        return;
    }
    let helper = shared
        .0
        .lock()
        .expect("nobody panics with it")
        .helper
        .clone();
    // Away or gone: the peer is hung up on, as by the helper itself.
    let Ok(mut helper) = UnixStream::connect(helper) else {
        return;
    };
    let mut answer = Vec::new();
    if helper.write_all(line.as_bytes()).is_err() || helper.read_to_end(&mut answer).is_err() {
        return;
    }
    if !stand(after, &question, shared) {
        // It may have been killed.
        let _ = asking.write_all(&answer);
        let _ = asking.shutdown(Shutdown::Both);
    }
}

/// Before and after which steps this question is.
fn steps(question: &Value, shared: &(Mutex<State>, Condvar)) -> (Option<Step>, Option<Step>) {
    let mut state = shared.0.lock().expect("nobody panics with it");
    let is_meant = state
        .stop
        .as_ref()
        .is_some_and(|(_, id)| question["queue_id"] == id.as_str());
    match question["ask"].as_str() {
        Some("locate") if is_meant => {
            state.located += 1;
            match state.located {
                1 => (Some(Step::Locate), None),
                _ => (Some(Step::SecondLocate), None),
            }
        }
        Some("show") if is_meant => (Some(Step::Show), None),
        Some("release" | "delete") if is_meant => (Some(Step::BeforeAct), Some(Step::AfterAct)),
        _ => (None, None),
    }
}

/// Waits here, if this is where to stop; whether it was.
fn stand(step: Option<Step>, question: &Value, shared: &(Mutex<State>, Condvar)) -> bool {
    let mut state = shared.0.lock().expect("nobody panics with it");
    let is_here = |state: &State| {
        let stop = state.stop.as_ref();
        stop.is_some_and(|(stop, id)| Some(*stop) == step && question["queue_id"] == id.as_str())
    };
    if !is_here(&state) {
        return false;
    }
    state.is_reached = true;
    while is_here(&state) {
        state = shared.1.wait(state).expect("nobody panics with it");
    }
    true
}

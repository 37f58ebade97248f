//! Another milter in the chain, before or after alignd: it refuses, changes, or takes its time.

use indymilter::{Actions, Callbacks, ContextActions, EomContext, Status};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::net::UnixListener;
use tokio::sync::oneshot;

/// What it does at the end of each message.
#[derive(Debug, Clone, Copy)]
pub enum Habit {
    Refuse,
    /// Puts `X-Other: was here` on top and `changed` in place of the body.
    Change,
    Wait(Duration),
    /// Has it put on hold.
    Quarantine,
}

pub struct OtherMilter {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl OtherMilter {
    /// Listens on this Unix socket, for everybody.
    pub fn start(habit: Habit, socket: &Path) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime can be made");
        let listener = runtime.block_on(async { UnixListener::bind(socket) });
        let listener = listener.expect("a socket in the MTA's directory can be made");
        let mode = fs::Permissions::from_mode(0o666);
        fs::set_permissions(socket, mode).expect("our own file");
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            let run = indymilter::run(listener, callbacks(habit), Default::default(), stopped);
            runtime.block_on(run).expect("the milter runs");
        });
        Self {
            stop: Some(stop),
            thread: Some(thread),
        }
    }
}

impl Drop for OtherMilter {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // It can only have panicked, and said so.
            let _ = thread.join();
        }
    }
}

fn callbacks(habit: Habit) -> Callbacks<()> {
    Callbacks::new()
        .on_negotiate(|cx, _, _| {
            cx.requested_actions |=
                Actions::ADD_HEADER | Actions::REPLACE_BODY | Actions::QUARANTINE;
            Box::pin(async { Status::Continue })
        })
        .on_eom(move |cx| Box::pin(end_of_message(cx, habit)))
}

async fn end_of_message(cx: &mut EomContext<()>, habit: Habit) -> Status {
    match habit {
        Habit::Refuse => return Status::Reject,
        Habit::Change => {
            let field = cx.actions.insert_header(0, c"X-Other", c"was here").await;
            let body = cx.actions.replace_body(b"changed\r\n").await;
            field.and(body).expect("the MTA takes changes");
        }
        Habit::Quarantine => {
            let held = cx.actions.quarantine(c"seen before").await;
            held.expect("the MTA puts mail on hold");
        }
        Habit::Wait(time) => tokio::time::sleep(time).await,
    }
    Status::Accept
}

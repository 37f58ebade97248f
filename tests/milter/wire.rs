//! Below the mail: when octets go out, who is told, how many connections, how they end.

use crate::raw::Raw;
use alignd::milter::{self, Fate, Limits, Link, Listener, MilterSettings, SocketSpec};
use indymilter::{Actions, Callbacks, ContextActions, Status};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

/// What a callback at the end of a message is told to do next, and what it says it did.
type Steps = (mpsc::UnboundedReceiver<Step>, mpsc::UnboundedSender<String>);

#[derive(Debug)]
enum Step {
    Insert,
    Progress,
    Answer,
    WaitForHangUp,
}

struct Server {
    path: PathBuf,
    address: SocketAddr,
    shutdown: watch::Sender<bool>,
    task: JoinHandle<usize>,
    orders: mpsc::UnboundedSender<Step>,
    done: mpsc::UnboundedReceiver<String>,
    _directory: TempDir,
}

async fn start(max_connections: usize) -> Server {
    start_with_grace(max_connections, Duration::from_secs(60)).await
}

async fn start_with_grace(max_connections: usize, grace: Duration) -> Server {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("milter.sock");
    let settings = MilterSettings {
        listen: vec![
            SocketSpec::Unix(path.clone()),
            SocketSpec::parse("inet:127.0.0.1:0").unwrap(),
        ],
        socket_group: String::new(),
        ..MilterSettings::default()
    };
    let listeners = milter::bind(&settings).await.unwrap();
    let address = listeners.iter().find_map(Listener::address).unwrap();
    let (shutdown, stop) = watch::channel(false);
    let (orders, take_orders) = mpsc::unbounded_channel();
    let (tell, done) = mpsc::unbounded_channel();
    let steps = Arc::new(tokio::sync::Mutex::new((take_orders, tell)));
    let limits = move || Limits {
        max_connections,
        idle_timeout: Duration::from_secs(600),
    };
    let make = move |link| callbacks(link, Arc::clone(&steps));
    let task = tokio::spawn(milter::serve(listeners, limits, make, stop, grace));
    Server {
        path,
        address,
        shutdown,
        task,
        orders,
        done,
        _directory: directory,
    }
}

fn callbacks(link: Arc<Link>, steps: Arc<tokio::sync::Mutex<Steps>>) -> Callbacks<()> {
    let begin = Arc::clone(&link);
    let told = Arc::clone(&steps);
    Callbacks::new()
        .on_negotiate(|cx, _, _| {
            cx.requested_actions = Actions::ADD_HEADER;
            Box::pin(async { Status::Continue })
        })
        .on_mail(move |_, _| {
            begin.begin();
            Box::pin(async { Status::Continue })
        })
        .on_body(move |_, octets| {
            let told = Arc::clone(&told);
            Box::pin(async move {
                told.lock()
                    .await
                    .1
                    .send(format!("body {}", octets.len()))
                    .unwrap();
                Status::Continue
            })
        })
        .on_eom(move |cx| {
            let (link, steps) = (Arc::clone(&link), Arc::clone(&steps));
            Box::pin(async move {
                let mut steps = steps.lock().await;
                let (orders, tell) = &mut *steps;
                let fate = tell.clone();
                link.expect_answer();
                link.on_answer(Box::new(move |f: Fate| {
                    fate.send(format!("{f:?}")).unwrap()
                }));
                loop {
                    let step = orders.recv().await.unwrap();
                    match step {
                        Step::Insert => cx.actions.insert_header(0, "X", " y").await.unwrap(),
                        Step::Progress => cx.actions.progress().await.unwrap(),
                        Step::WaitForHangUp => link.socket().peer_gone().await,
                        Step::Answer => return Status::Continue,
                    }
                    tell.send(format!("{step:?}")).unwrap();
                }
            })
        })
}

impl Server {
    async fn connect(&self, socket: &str) -> Raw {
        let mut raw = match socket {
            "tcp" => Raw::tcp(self.address).await,
            _ => Raw::unix(&self.path).await,
        };
        assert_eq!(raw.negotiate().await.kind, 'O');
        raw
    }

    /// Sends a message up to and with its end.
    async fn send_message(&self, raw: &mut Raw) {
        raw.send('M', b"<a@b.example>\0").await;
        assert_eq!(raw.read().await.kind, 'c');
        raw.send('R', b"<c@d.example>\0").await;
        assert_eq!(raw.read().await.kind, 'c');
        raw.send('N', b"").await;
        assert_eq!(raw.read().await.kind, 'c');
        raw.send('E', b"").await;
    }

    fn order(&self, step: Step) {
        self.orders.send(step).unwrap();
    }

    async fn did(&mut self) -> String {
        self.done.recv().await.unwrap()
    }
}

#[tokio::test]
async fn changes_wait_for_the_answer_and_progress_does_not() {
    let mut server = start(10).await;
    for socket in ["unix", "tcp"] {
        let mut raw = server.connect(socket).await;
        server.send_message(&mut raw).await;
        server.order(Step::Progress);
        assert_eq!(raw.read().await.kind, 'p');
        server.order(Step::Insert);
        server.order(Step::Insert);
        for expected in ["Progress", "Insert", "Insert"] {
            assert_eq!(server.did().await, expected);
        }
        assert!(raw.is_silent().await);
        server.order(Step::Answer);
        assert_eq!(server.did().await, "Written");
        for expected in ['i', 'i', 'c'] {
            assert_eq!(raw.read().await.kind, expected);
        }
    }
}

#[tokio::test]
async fn an_answer_to_nobody_is_lost() {
    let mut server = start(10).await;
    for socket in ["unix", "tcp"] {
        let mut raw = server.connect(socket).await;
        server.send_message(&mut raw).await;
        server.order(Step::Progress);
        assert_eq!(server.did().await, "Progress");
        assert_eq!(raw.read().await.kind, 'p');
        drop(raw);
        server.order(Step::Answer);
        assert_eq!(server.did().await, "Lost", "{socket}");
    }
}

#[tokio::test]
async fn a_hang_up_is_noticed_during_the_work() {
    let mut server = start(10).await;
    let mut raw = server.connect("unix").await;
    server.send_message(&mut raw).await;
    server.order(Step::Progress);
    assert_eq!(server.did().await, "Progress");
    server.order(Step::WaitForHangUp);
    drop(raw);
    assert_eq!(server.did().await, "WaitForHangUp");
    server.order(Step::Answer);
    assert_eq!(server.did().await, "Lost");
}

#[tokio::test]
async fn one_connection_carries_many_messages_in_any_pieces() {
    let mut server = start(10).await;
    for socket in ["unix", "tcp"] {
        let mut raw = server.connect(socket).await;
        for size in [0, 1, 8_187, 8_192, 65_535, 1_000_000] {
            raw.send('M', b"<a@b.example>\0").await;
            raw.send('R', b"<c@d.example>\0").await;
            raw.send('N', b"").await;
            if size > 0 {
                raw.send('B', &vec![b'x'; size]).await;
            }
            raw.send('E', b"").await;
            server.order(Step::Answer);
            let replies = 3 + usize::from(size > 0);
            for _ in 0..replies {
                assert_eq!(raw.read().await.kind, 'c');
            }
            if size > 0 {
                assert_eq!(server.did().await, format!("body {size}"));
                assert_eq!(raw.read().await.kind, 'c');
            }
            assert_eq!(server.did().await, "Written");
        }
    }
}

#[tokio::test]
async fn connections_over_the_limit_wait_for_a_place() {
    let server = start(2).await;
    let first = server.connect("unix").await;
    let mut second = server.connect("tcp").await;
    let mut third = Raw::unix(&server.path).await;
    third
        .send('O', b"\0\0\0\x06\0\0\x01\xff\0\x1f\xff\xff")
        .await;
    assert!(third.is_silent().await);
    drop(first);
    assert_eq!(third.read().await.kind, 'O');
    second.send('M', b"<a@b.example>\0").await;
    assert_eq!(second.read().await.kind, 'c');
}

#[tokio::test]
async fn a_stop_lets_the_message_in_hand_finish_and_nothing_more() {
    let mut server = start(10).await;
    let mut idle = server.connect("unix").await;
    let mut busy = server.connect("unix").await;
    server.send_message(&mut busy).await;
    server.order(Step::Progress);
    assert_eq!(server.did().await, "Progress");
    server.shutdown.send(true).unwrap();
    assert!(idle.is_hung_up_on().await);
    assert!(!server.path.exists());
    server.order(Step::Answer);
    assert_eq!(server.did().await, "Written");
    assert_eq!(busy.read().await.kind, 'p');
    assert_eq!(busy.read().await.kind, 'c');
    assert!(busy.is_hung_up_on().await);
    assert_eq!(server.task.await.unwrap(), 0);
}

#[tokio::test]
async fn a_stop_waits_no_longer_than_it_was_told() {
    let mut server = start_with_grace(10, Duration::from_millis(50)).await;
    let mut busy = server.connect("unix").await;
    server.send_message(&mut busy).await;
    server.order(Step::Progress);
    assert_eq!(server.did().await, "Progress");
    server.shutdown.send(true).unwrap();
    assert_eq!(server.task.await.unwrap(), 1);
}

#[tokio::test]
async fn a_dead_socket_is_taken_over_and_a_living_one_is_not() {
    let server = start(2).await;
    let settings = |path: PathBuf| MilterSettings {
        listen: vec![SocketSpec::Unix(path)],
        socket_group: String::new(),
        ..MilterSettings::default()
    };
    let refused = milter::bind(&settings(server.path.clone()))
        .await
        .unwrap_err();
    assert!(
        refused.to_string().contains("another process listens"),
        "{refused}"
    );
    let dead = server.path.with_file_name("dead.sock");
    drop(std::os::unix::net::UnixListener::bind(&dead).unwrap());
    assert_eq!(
        milter::bind(&settings(dead.clone())).await.unwrap().len(),
        1
    );
    std::fs::write(&dead, "a file").unwrap();
    let refused = milter::bind(&settings(dead)).await.unwrap_err();
    assert!(refused.to_string().contains("something else"), "{refused}");
    let nobody = MilterSettings {
        socket_group: "no-such-group".to_owned(),
        ..settings(server.path.with_file_name("new.sock"))
    };
    let refused = milter::bind(&nobody).await.unwrap_err();
    assert!(
        refused.to_string().contains("milter.socket_group"),
        "{refused}"
    );
}

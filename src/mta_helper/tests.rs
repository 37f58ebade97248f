//! The socket, with commands that only write down how they were called.

use super::*;
use crate::local_socket;
use crate::mta::{Commands, Helper, HelperError, MtaKind, Place, QueueSettings};
use crate::time::Timestamp;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use tokio::task::JoinHandle;

struct Never;

impl Clock for Never {
    fn now(&self) -> Timestamp {
        Timestamp::from_seconds(0)
    }
}

struct House {
    home: tempfile::TempDir,
    serving: JoinHandle<()>,
}

impl House {
    /// Commands that say `answer` to everything.
    fn open(mta: MtaKind, answer: &str) -> Self {
        let home = tempfile::tempdir().expect("a directory can be made");
        let called = home.path().join("called");
        fs::write(&called, "").expect("our own directory");
        for name in [
            "postqueue",
            "postsuper",
            "postcat",
            "postconf",
            "postkick",
            "sendmail",
        ] {
            let script = format!(
                "#!/bin/sh\necho {name} \"$@\" >>{}\n{answer}\n",
                called.display()
            );
            let file = home.path().join(name);
            fs::write(&file, script).expect("our own directory");
            fs::set_permissions(&file, Permissions::from_mode(0o755)).expect("our own file");
        }
        let queue = Queue::new(
            &QueueSettings {
                mta,
                ..QueueSettings::default()
            },
            Commands::within(vec![home.path().to_owned()]),
        );
        let keeper = Keeper::new(queue, home.path().to_owned(), Arc::new(Never));
        let listener = local_socket::bind(&home.path().join("socket"), 0o600, None);
        let serving = tokio::spawn(keeper.serve(Entrance::Own(listener.expect("it can be made"))));
        Self { home, serving }
    }

    fn socket(&self) -> std::path::PathBuf {
        self.home.path().join("socket")
    }

    fn called(&self) -> String {
        fs::read_to_string(self.home.path().join("called")).expect("it is there")
    }

    async fn connect(&self) -> BufReader<UnixStream> {
        BufReader::new(
            UnixStream::connect(self.socket())
                .await
                .expect("it listens"),
        )
    }

    /// What comes back for these octets.
    async fn say(&self, octets: &[u8]) -> String {
        let mut stream = self.connect().await;
        // It may be turned away before it has said all.
        let _ = stream.write_all(octets).await;
        let _ = stream.shutdown().await;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("an answer");
        answer
    }
}

impl Drop for House {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

#[tokio::test]
async fn what_is_no_queue_id_reaches_no_command() {
    for mta in [MtaKind::Postfix, MtaKind::Sendmail] {
        let house = House::open(mta, "");
        let other = match mta {
            MtaKind::Postfix => "6AMEJUlD010546",
            MtaKind::Sendmail => "4jXW5m5GBtz1StgL",
        };
        for id in [
            "ALL",
            "-d",
            "-",
            ";rm -rf /",
            "../x",
            "",
            "hold",
            "4jXW5m5GBtz1StgL hold",
            "$(id)",
            other,
        ] {
            for ask in ["show", "release", "requeue", "delete", "locate"] {
                let part = if ask == "show" {
                    ",\"part\":\"message\""
                } else {
                    ""
                };
                let request = format!("{{\"ask\":\"{ask}\",\"queue_id\":\"{id}\"{part}}}\n");
                let answer = house.say(request.as_bytes()).await;
                let expected = "{\"not_understood\":\"queue_id: not a queue id of this MTA's\"}\n";
                assert_eq!(answer, expected, "{request}");
            }
            let ours = match mta {
                MtaKind::Postfix => "4jXW5m5GBtz1StgL",
                MtaKind::Sendmail => "6AMEJUlD010546",
            };
            let request = format!("{{\"ask\":\"find\",\"queue_ids\":[\"{ours}\",\"{id}\"]}}\n");
            let answer = house.say(request.as_bytes()).await;
            let expected =
                "{\"not_understood\":\"queue_ids: at most 1000, each a queue id of this MTA's\"}\n";
            assert_eq!(answer, expected, "{request}");
        }
        assert_eq!(house.called(), "");
    }
}

#[tokio::test]
async fn only_whole_requests_are_taken() {
    let house = House::open(MtaKind::Postfix, "");
    let long = format!(
        "{{\"ask\":\"locate\",\"queue_id\":\"{}\"}}\n",
        "A".repeat(40_000)
    );
    for request in [
        "",
        "\n",
        "{}\n",
        "list\n",
        "{\"ask\":\"list\"}",
        "{\"ask\":\"flush\"}\n",
        "{\"ask\":\"release\"}\n",
        "{\"ask\":\"delete\",\"queue_id\":[\"ALL\"]}\n",
        "{\"ask\":\"delete\",\"queue_id\":\"A\",\"flag\":\"-f\"}\n",
        "\u{0}\u{1}\n",
        &long,
    ] {
        let answer = house.say(request.as_bytes()).await;
        assert!(
            answer.starts_with("{\"not_understood\":\""),
            "{request:?}: {answer}"
        );
    }
    assert_eq!(house.called(), "");
}

#[tokio::test]
async fn commands_get_the_id_and_fixed_words() {
    let id: QueueId = "4jXW5m5GBtz1StgL".parse().expect("it is one");
    let held = "case $0$1 in */postcat-eq) echo '*** ENVELOPE RECORDS hold/4jXW5m5GBtz1StgL ***';; \
                */postconf*) echo 5d;; */postsuper-d) echo 'postsuper: Deleted: 1 message' >&2;; \
                */postsuper-H) echo 'postsuper: Released from hold: 1 message' >&2;; esac";
    let house = House::open(MtaKind::Postfix, held);
    let helper = Helper::new(&house.socket());
    helper.delete(&id).await.expect("it is counted");
    helper.release(&id).await.expect("it is counted");
    let look = "postconf -xh queue_directory\npostcat -eq ID\n";
    let expected = format!(
        "{look}postsuper -d ID hold\n\
         postcat -eq ID\npostconf -xh maximal_queue_lifetime\npostsuper -H ID hold\npostqueue -i ID\n{look}"
    );
    assert_eq!(house.called(), expected.replace("ID", id.as_str()));
}

/// One look at the queue for all of them, however many and long they are.
#[tokio::test]
async fn many_are_found_at_once() {
    let line =
        |queue, id| format!("echo '{{\"queue_name\": \"{queue}\", \"queue_id\": \"{id}\"}}'\n");
    let id = |nth: u32| format!("4jXW5m5GBtGBtGBz{:0>12}", nth).replace('0', "B");
    let queue = line("hold", id(1)) + &line("deferred", id(2)) + &line("active", id(9_999));
    let house = House::open(MtaKind::Postfix, &queue);
    let helper = Helper::new(&house.socket());
    let ids = |count| (1..=count).map(|nth| id(nth).parse().expect("it is one"));
    let asked: Vec<QueueId> = ids(1_000).collect();
    let places = helper.find(&asked).await.expect("it looks");
    assert_eq!(places.len(), 1_000);
    let deferred = Place::Queued("deferred".to_owned());
    assert_eq!(places[..3], [Place::Held, deferred, Place::Gone]);
    assert!(places[2..].iter().all(|place| *place == Place::Gone));
    assert_eq!(helper.find(&[]).await, Ok(Vec::new()));
    assert_eq!(house.called(), "postqueue -j\n".repeat(2));
    let too_many: Vec<QueueId> = ids(1_001).collect();
    assert!(helper.find(&too_many).await.is_err());
    let house = House::open(MtaKind::Postfix, "echo 'postqueue: fatal: x' >&2; exit 1");
    let answer = Helper::new(&house.socket()).find(&asked).await;
    assert!(matches!(answer, Err(HelperError::Failed(_))), "{answer:?}");
}

/// Whoever listens in its place.
#[tokio::test]
async fn an_answer_without_an_end_has_one() {
    let home = tempfile::tempdir().expect("a directory can be made");
    let socket = home.path().join("socket");
    let listener = UnixListener::bind(&socket).expect("our own directory");
    let entry = "{\"held\":{\"queue_id\":\"4jXW5m5GBtz1StgL\",\"queue\":\"hold\",\"arrived\":0,\"size\":1,\
                 \"sender\":\"\",\"recipients\":[],\"recipient_count\":0}}\n";
    let endless = tokio::spawn(async move {
        for said in [entry, "x", "{\"found\":[]}\n", "{\"place\":\"gone\"}\n"] {
            let (mut stream, _) = listener.accept().await.expect("somebody comes");
            let said = said.repeat(1_000);
            // Until nobody listens any more.
            while stream.write_all(said.as_bytes()).await.is_ok() {}
        }
    });
    let helper = Helper::new(&socket);
    let id: QueueId = "4jXW5m5GBtz1StgL".parse().expect("it is one");
    let mut listed = 0;
    let answer = helper.list(|_| listed += 1).await;
    assert!(
        matches!(answer, Err(HelperError::Unreachable(_))),
        "{answer:?}"
    );
    assert_eq!(listed, 50_001);
    for _ in 0..3 {
        let answer = helper.find(std::slice::from_ref(&id)).await;
        assert!(
            matches!(answer, Err(HelperError::Unreachable(_))),
            "{answer:?}"
        );
    }
    endless.await.expect("it ends with us");
}

#[tokio::test]
async fn commands_that_say_nothing_are_not_believed() {
    let id: QueueId = "4jXW5m5GBtz1StgL".parse().expect("it is one");
    let held = "case $0 in */postcat) echo '*** ENVELOPE RECORDS hold/4jXW5m5GBtz1StgL ***';; */postconf) echo 5d;; esac";
    let house = House::open(MtaKind::Postfix, held);
    let helper = Helper::new(&house.socket());
    let expected = |flag| HelperError::Failed(format!("postsuper {flag}: it said nothing"));
    assert_eq!(helper.delete(&id).await, Err(expected("-d")));
    assert_eq!(helper.release(&id).await, Err(expected("-H")));
    let house = House::open(
        MtaKind::Postfix,
        "case $0 in */postconf) echo /nowhere;; \
         *) echo 'postcat: fatal: open queue file: No such file or directory' >&2; exit 1;; esac",
    );
    let helper = Helper::new(&house.socket());
    assert_eq!(
        helper.delete(&id).await,
        Err(HelperError::NotHeld(crate::mta::Place::Gone))
    );
}

#[tokio::test]
async fn a_crowd_is_turned_away_and_the_silent_do_no_harm() {
    let house = House::open(MtaKind::Postfix, "");
    let mut silent = Vec::new();
    for _ in 0..MAX_CONNECTIONS {
        silent.push(house.connect().await);
    }
    let helper = Helper::new(&house.socket());
    let nothing = |entry| panic!("{entry:?}");
    let answer = helper.list(nothing).await;
    assert!(matches!(answer, Err(HelperError::Busy(_))), "{answer:?}");
    drop(silent);
    // They are noticed one by one.
    while matches!(helper.list(nothing).await, Err(HelperError::Busy(_))) {}
    assert_eq!(helper.list(nothing).await, Ok(false));
}

#[tokio::test]
async fn one_that_systemd_started_leaves_when_nobody_comes() {
    let home = tempfile::tempdir().expect("a directory can be made");
    let listener = std::os::unix::net::UnixListener::bind(home.path().join("socket"));
    let entrance = Entrance::inherited(listener.expect("ours"), Duration::from_millis(20));
    let queue = Queue::new(&QueueSettings::default(), Commands::within(Vec::new()));
    let keeper = Keeper::new(queue, home.path().to_owned(), Arc::new(Never));
    keeper.serve(entrance.expect("it listens")).await;
}

#[tokio::test]
async fn whoever_is_not_there_is_named() {
    let helper = Helper::new(Path::new("/nowhere/helper.sock"));
    let answer = helper.list(drop).await;
    let answer = answer.map_err(|error| error.to_string());
    let expected = "quarantine.helper_socket: /nowhere/helper.sock: No such file or directory (os error 2); \
                    is alignd-mta-helper.socket started?";
    assert_eq!(answer, Err(expected.to_owned()));
}

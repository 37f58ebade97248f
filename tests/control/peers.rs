//! Who may ask what, with real users: processes that gave up being root.

use crate::Served;
use alignd::outcome::OutcomeState::Accepted;
use serde_json::Value;
use std::path::PathBuf;
use std::process::Command;

/// Asks as this user, with a process of its own.
async fn ask_as(user: &str, socket: PathBuf, line: String) -> Value {
    let user = user.to_owned();
    let asking = tokio::task::spawn_blocking(move || {
        let program = r#"
use IO::Socket::UNIX;
$SIG{PIPE} = 'IGNORE';
my $socket = IO::Socket::UNIX->new(Peer => $ARGV[0]) or die "$ARGV[0]: $!";
print $socket "$ARGV[1]\n";
$socket->flush;
print scalar <$socket>;"#;
        Command::new("setpriv")
            .args(["--reuid", &user, "--regid", "nogroup", "--clear-groups"])
            .args(["perl", "-e", program])
            .arg(socket)
            .arg(line)
            .output()
            .expect("setpriv (util-linux) can be run")
    });
    let output = asking.await.unwrap();
    let words = String::from_utf8_lossy(&output.stderr);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {words}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn users_may_what_they_are_named_for_and_no_more() {
    let served = Served::start(&["nobody"]).await;
    let id = served.message("4jXW5m5GBtz1StgL", 1, Some(Accepted)).await;
    let held = format!(r#"{{"v":1,"request":"outcome","verdict":"{id}","outcome":"held"}}"#);
    let ping = r#"{"v":1,"request":"ping"}"#.to_owned();
    for (user, line, kind) in [
        ("daemon", ping.clone(), Some("forbidden")),
        ("daemon", held.clone(), Some("forbidden")),
        ("daemon", "nonsense".to_owned(), Some("forbidden")),
        ("nobody", ping.clone(), None),
        ("nobody", "nonsense".to_owned(), Some("usage")),
        (
            "nobody",
            held.replace("\"v\"", "\"on_behalf_of\":\"root\",\"v\""),
            None,
        ),
        ("root", ping, None),
    ] {
        let answer = ask_as(user, served.socket(), line.clone()).await;
        let found = answer.get("kind").and_then(Value::as_str);
        assert_eq!(found, kind, "{user} {line}: {answer}");
    }
    assert_eq!(served.history(id), "answering, accepted, held by nobody");
    served.stop().await;
}

//! `alignd quarantine digest --send`, the real binary: it is mailed, and nothing else comes of it.

use crate::{House, LATER, NEVER, WELL};
use std::process::{Command, Output};

/// What the server says, exit code, words.
#[tokio::test(flavor = "multi_thread")]
async fn a_trial_is_mailed_and_announces_nothing() {
    for (answer, code, says) in [
        (
            WELL,
            0,
            "alignd at mx.receiver.example (trial): 1 held, 1 new, 1 to be deleted sent to postmaster@a.example: 250",
        ),
        (NEVER, 1, "refuses it: 550 5.1.1 nobody here"),
        (LATER, 3, "doesn't take it now: 451 4.3.0 later"),
    ] {
        let house = House::new(Some("1d"));
        house.hold("a.example", "2026-02-01T12:00").await;
        house.answers(answer);
        let ran = send(&house);
        let said = [ran.stdout, ran.stderr].concat();
        let said = String::from_utf8(said).unwrap();
        assert_eq!(ran.status.code(), Some(code), "{said}");
        assert!(said.contains(says), "{said}");
        let reader = alignd::store::Reader::open(house.home.path()).unwrap();
        assert_eq!(reader.digest().unwrap(), None);
        assert_eq!(reader.announced().unwrap(), 0);
        if answer == WELL {
            let (_, text) = house.mails().pop().unwrap();
            assert!(text.contains("\r\n\r\nThis is a trial:"), "{text}");
        }
    }
}

fn send(house: &House) -> Output {
    let home = tempfile::tempdir().unwrap();
    let settings = format!(
        "[identity]\nauthserv_id = \"mx.receiver.example\"\n\
         [store]\npath = \"{}\"\n\
         [quarantine]\nnotify = \"postmaster@a.example\"\nexpire_after = \"1d\"\n\
         [delivery]\nsmtp = \"127.0.0.1:{}\"\n",
        house.home.path().display(),
        house.server.port()
    );
    let file = home.path().join("alignd.toml");
    std::fs::write(&file, settings).unwrap();
    Command::new(env!("CARGO_BIN_EXE_alignd"))
        .args(["quarantine", "digest", "--send", "--config"])
        .arg(file)
        .output()
        .unwrap()
}

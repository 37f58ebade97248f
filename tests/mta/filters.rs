//! Filters behind alignd that say themselves what they did: Rspamd with the hook of contrib/.

use crate::house::{Chain, House, Kind, Plan};
use crate::mta::OTHER;
use crate::rspamd::{self, Rspamd};
use crate::wait;
use crate::world::SENDER;
use serde_json::Value;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use tempfile::TempDir;

/// A house with Rspamd as its second milter, and no mail log to learn from.
struct Filtered {
    // Dropped in this order.
    rspamd: Rspamd,
    house: House,
    _home: TempDir,
}

impl Filtered {
    /// `users`: who may tell outcomes.
    fn open(users: &str) -> Self {
        let home = tempfile::Builder::new()
            .permissions(Permissions::from_mode(0o755))
            .tempdir()
            .expect("there is room");
        let control = home.path().join("control.sock");
        let house = House::open(&Plan {
            chain: Chain::BeforeAnother,
            alignd: &[
                (
                    "control.socket",
                    &format!("{:?}", control.display().to_string()),
                ),
                ("control.outcome_users", users),
            ],
            ..Plan::of(Kind::Postfix)
        });
        let rspamd = Rspamd::start(&house.mta.sockets().join(OTHER), &control);
        Self {
            rspamd,
            house,
            _home: home,
        }
    }

    /// Sends a message with this subject and looks what it was answered, and for its verdict.
    fn send(&self, subject: &str) -> (u16, String) {
        let mail = format!("From: <a@sender.example>\r\nSubject: {subject}\r\n\r\nbody\r\n");
        let answer = self
            .house
            .send(&SENDER, "<a@sender.example>", mail.as_bytes());
        let newest = &self.house.alignd.messages(&["--limit", "1"])[0];
        (
            answer.code(),
            newest["id"].as_str().expect("an id").to_owned(),
        )
    }

    /// What became of a message, in order.
    fn outcomes(&self, id: &str) -> Vec<Value> {
        let why = self.house.alignd.run(&["why", id, "--json"]);
        let why: Value = serde_json::from_str(&why).expect("one object");
        why["outcomes"].as_array().expect("a list").clone()
    }

    #[track_caller]
    fn becomes(&self, id: &str, states: &[&str]) -> Value {
        wait::until(&format!("{id} to be {states:?}"), || {
            let outcomes = self.outcomes(id);
            let so_far: Vec<&str> = outcomes
                .iter()
                .filter_map(|o| o["state"].as_str())
                .collect();
            (so_far == states).then(|| outcomes.last().expect("there are some").clone())
        })
    }
}

#[test]
fn rspamd_tells_what_it_does_not_let_pass() {
    let filtered = Filtered::open(&format!("[{:?}]", rspamd::USER));
    for (subject, code, outcome, reason) in [
        (
            "pills",
            554,
            "refused_later",
            "rspamd: reject, score 20.00 of 15.00: SELLS_PILLS",
        ),
        (
            "later",
            451,
            "refused_later",
            "rspamd: soft reject, score 0.00 of 15.00",
        ),
        (
            "nothing",
            250,
            "refused_later",
            "rspamd: discard, score 0.00 of 15.00",
        ),
        (
            "doubtful",
            250,
            "held",
            "rspamd: quarantine, score 0.00 of 15.00",
        ),
    ] {
        let (answered, id) = filtered.send(subject);
        assert_eq!(answered, code, "{subject}");
        let last = filtered.becomes(&id, &["answering", "accepted", outcome]);
        assert_eq!(last["detail"], reason, "{subject}");
        assert_eq!(last["by"], rspamd::USER, "{subject}");
    }
    let (answered, id) = filtered.send("hello");
    assert_eq!(answered, 250);
    filtered.becomes(&id, &["answering", "accepted"]);
}

#[test]
fn a_filter_that_nobody_named_changes_nothing() {
    let filtered = Filtered::open("[]");
    let (answered, id) = filtered.send("pills");
    assert_eq!(answered, 554);
    wait::until("Rspamd says what may be wrong", || {
        filtered
            .rspamd
            .log()
            .contains("control.outcome_users")
            .then_some(())
    });
    filtered.becomes(&id, &["answering", "accepted"]);
}

//! Held mail in the operator's hands, on the real MTAs with the real helper: released and delivered once,
//! deleted, released by hand, the helper away, no daemon there.

use crate::house::{Chain, House, Kind, Plan, for_both};
use crate::keeping;
use crate::wait;
use crate::world::{EVIL, SENDER};
use serde_json::Value;
use std::fs;
use std::path::PathBuf;
use std::process::Child;

for_both![
    a_release_is_delivered_once_and_tells_who_and_why,
    what_is_deleted_is_gone,
    without_helper_or_daemon,
    the_next_one_passes_under_the_exception,
];

const MAIL: &[u8] = b"From: <a@sender.example>\r\nMessage-ID: <m1@sender.example>\r\nSubject: hello\r\n\r\nbody\r\n";

/// A house that holds what fails, and the helper of its MTA.
pub struct Kept {
    // Dropped in this order.
    helper: Child,
    pub house: House,
    home: tempfile::TempDir,
    mta: Kind,
}

impl Kept {
    pub fn open(mta: Kind) -> Self {
        Self::open_with(mta, &[])
    }

    /// With further settings of alignd.
    pub fn open_with(mta: Kind, more: &[(&str, &str)]) -> Self {
        Self::open_in(mta, Chain::Alone, more)
    }

    /// With another milter, too.
    pub fn open_in(mta: Kind, chain: Chain, more: &[(&str, &str)]) -> Self {
        let home = keeping::home();
        let socket = format!("\"{}\"", home.path().join("helper.sock").display());
        let kind = match mta {
            Kind::Postfix => "\"postfix\"",
            Kind::Sendmail => "\"sendmail\"",
        };
        let holding = [
            ("policy.on_reject", "\"hold\""),
            ("quarantine.mta", kind),
            ("quarantine.helper_socket", &socket),
        ];
        let house = House::open(&Plan {
            chain,
            alignd: &[&holding, more].concat(),
            ..Plan::of(mta)
        });
        let helper = keeping::beside(mta, home.path(), house.mta.as_ref());
        Self {
            helper,
            house,
            home,
            mta,
        }
    }

    /// Where the helper listens.
    pub fn helper_socket(&self) -> PathBuf {
        self.home.path().join("helper.sock")
    }

    /// Sends a spoofed message; its queue id, once it is held.
    #[track_caller]
    pub fn hold(&self) -> String {
        let id = self.house.send(&EVIL, "<x@evil.example>", MAIL).queue_id();
        wait::until(&format!("{id} to be held"), || self.house.mta.held(&id));
        assert_eq!(self.house.verdict(&id)["outcome"], "held");
        id
    }

    /// Waits until its file is gone, which may be after it was delivered.
    pub fn left_the_queue(&self, id: &str) {
        let sockets = self.house.mta.sockets();
        let below = sockets.parent().expect("it has one");
        let files: Vec<PathBuf> = match self.mta {
            Kind::Postfix => ["incoming", "active", "hold"]
                .map(|queue| below.join(queue).join(id))
                .into(),
            Kind::Sendmail => ["qf", "hf", "df"]
                .map(|kind| below.with_file_name("mqueue").join(format!("{kind}{id}")))
                .into(),
        };
        wait::until(&format!("{id} to leave the queue"), || {
            (!files.iter().any(|file| file.exists())).then_some(())
        });
    }

    /// Gives a held mail another queue id.
    pub fn rename(&self, from: &str, to: &str) {
        let sockets = self.house.mta.sockets();
        let below = sockets.parent().expect("it has one");
        let (queue, kinds): (_, &[&str]) = match self.mta {
            Kind::Postfix => (below.join("hold"), &[""]),
            Kind::Sendmail => (below.with_file_name("mqueue"), &["df", "hf"]),
        };
        for kind in kinds {
            let [from, to] = [from, to].map(|id| queue.join(format!("{kind}{id}")));
            fs::rename(from, to).expect("it is held");
        }
    }

    pub fn quarantine(&self, arguments: &[&str]) -> String {
        self.house
            .alignd
            .run(&[&["quarantine"], arguments].concat())
    }

    pub fn listed(&self) -> Vec<String> {
        let rows = self.quarantine(&["list", "--format", "json"]);
        let rows = rows.lines().map(|line| {
            let row: Value = serde_json::from_str(line).expect("one object a line");
            row["queue_id"].as_str().expect("an id").to_owned()
        });
        rows.collect()
    }

    /// States with who moved it there.
    pub fn history(&self, id: &str) -> String {
        let told = self.house.alignd.run(&["why", id, "--json"]);
        let told: Value = serde_json::from_str(told.trim()).expect("one object");
        let outcomes = told["outcomes"].as_array().expect("a list").iter();
        let words = outcomes.map(|o| {
            let state = o["state"].as_str().expect("a word");
            let by = o["by"]
                .as_str()
                .map_or(String::new(), |by| format!(" by {by}"));
            format!("{state}{by}")
        });
        words.collect::<Vec<_>>().join(", ")
    }

    pub fn stop_helper(&mut self) {
        self.helper.kill().expect("it runs");
        self.helper.wait().expect("it is our child");
    }

    pub fn start_helper(&mut self) {
        self.helper = keeping::again(self.mta, self.home.path(), self.house.mta.as_ref());
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.helper.kill();
        let _ = self.helper.wait();
    }
}

fn a_release_is_delivered_once_and_tells_who_and_why(mta: Kind) {
    let kept = Kept::open(mta);
    let (id, other) = (kept.hold(), kept.hold());
    assert_eq!(kept.listed(), [id.clone(), other.clone()]);
    let message = kept.quarantine(&["show", &id, "--message"]);
    assert!(
        message.contains("X-Alignd-Verdict: ") && message.contains("\nbody"),
        "{message}"
    );
    let release = [
        "release",
        &id,
        "--because",
        "mailing_list",
        "--comment",
        "ticket",
    ];
    let told = kept.quarantine(&release);
    assert!(told.starts_with("released "), "{told}");
    kept.house.mta.run_queue();
    let mail = kept.house.mta.delivered(&id);
    assert_eq!(mail.body(), b"body\n");
    let again = kept.quarantine(&release);
    assert!(again.contains(" already, by root"), "{again}");
    assert_eq!(kept.history(&id), "answering, held, released by root");
    assert_eq!(kept.listed(), [other]);
    kept.house.mta.run_queue();
    kept.house.deliver(&SENDER, "<a@sender.example>", MAIL);
    assert_eq!(kept.house.mta.mailbox().len(), 2);
    let why = kept.house.alignd.run(&["why", &id]);
    assert!(
        why.contains("mailing_list") && why.contains("ticket"),
        "{why}"
    );
}

fn what_is_deleted_is_gone(mta: Kind) {
    let kept = Kept::open(mta);
    let id = kept.hold();
    let told = kept.quarantine(&["delete", &id]);
    assert!(told.starts_with("deleted "), "{told}");
    assert!(kept.house.mta.held(&id).is_none());
    assert_eq!(kept.quarantine(&["release", &id]), "");
    assert_eq!(kept.history(&id), "answering, held, deleted by root");
    kept.house.mta.run_queue();
    kept.house.deliver(&SENDER, "<a@sender.example>", MAIL);
    assert_eq!(kept.house.mta.mailbox().len(), 1);
}

fn without_helper_or_daemon(mta: Kind) {
    let mut kept = Kept::open(mta);
    let id = kept.hold();
    kept.stop_helper();
    assert_eq!(kept.quarantine(&["release", &id]), "");
    assert_eq!(kept.history(&id), "answering, held");
    kept.start_helper();
    // Then the command does it in the store itself.
    kept.house.alignd.stop();
    let told = kept.quarantine(&["release", &id]);
    assert!(told.starts_with("released "), "{told}");
    kept.house.mta.run_queue();
    kept.house.mta.delivered(&id);
    assert_eq!(kept.history(&id), "answering, held, released by root");
}

/// From the release on, in the running daemon; and no longer once it is removed.
fn the_next_one_passes_under_the_exception(mta: Kind) {
    let kept = Kept::open(mta);
    let id = kept.hold();
    let shown = kept.quarantine(&["show", &id]);
    assert!(
        shown.contains("exception for sender.example with"),
        "{shown}"
    );
    let told = kept.quarantine(&["release", &id, "--allow", "1", "--expires", "90d"]);
    assert!(told.starts_with("released "), "{told}");
    kept.house.mta.run_queue();
    kept.house.mta.delivered(&id);
    let (_, next) = kept.house.deliver(&EVIL, "<x@evil.example>", MAIL);
    assert_eq!(next["outcome"], "accepted", "{next}");
    let exception =
        |arguments: &[&str]| kept.house.alignd.run(&[&["exception"], arguments].concat());
    let listed = exception(&["list", "--format", "json"]);
    assert!(listed.contains("\"owner\":\"root\""), "{listed}");
    assert!(listed.contains("\"hits\":1"), "{listed}");
    exception(&["remove", "stored-1", "--why", "enough"]);
    let history = exception(&["show", "stored-1"]);
    assert!(
        history.contains("added by root") && history.contains("removed by root: enough"),
        "{history}"
    );
    kept.hold();
}

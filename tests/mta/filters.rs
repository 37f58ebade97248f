//! Filters behind alignd that say themselves what they did: Rspamd and amavis with the hooks of contrib/.

use crate::amavis;
use crate::house::{Chain, House, Kind, Plan};
use crate::loopback;
use crate::mta::OTHER;
use crate::rspamd;
use crate::unprivileged::{USER, Unprivileged};
use crate::wait;
use crate::world::SENDER;
use serde_json::Value;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use tempfile::TempDir;

/// A house with a filter behind alignd, and no mail log to learn from.
struct Filtered {
    // Dropped in this order.
    filter: Unprivileged,
    house: House,
    _home: TempDir,
}

impl Filtered {
    /// By Rspamd as a milter. `users`: who may tell outcomes.
    fn by_rspamd(users: &str) -> Self {
        let home = home();
        let control = home.path().join("control.sock");
        let house = House::open(&Plan {
            chain: Chain::BeforeAnother,
            alignd: &[
                ("control.socket", &quoted(&control)),
                ("control.outcome_users", users),
            ],
            ..Plan::of(Kind::Postfix)
        });
        let rspamd = rspamd::start(&house.mta.sockets().join(OTHER), &control);
        Self {
            filter: rspamd,
            house,
            _home: home,
        }
    }

    /// By amavis as a content filter, that gives mail back to a service without milters.
    fn by_amavis() -> Self {
        let home = home();
        let control = home.path().join("control.sock");
        let (filter, back) = (loopback::free_address(), loopback::free_address());
        let master_cf = format!(
            "amavis unix - - n - 2 smtp -o smtp_send_xforward_command=yes
{back} inet n - n - - smtpd -o content_filter= -o smtpd_milters= -o mynetworks=127.0.0.0/8
"
        );
        let house = House::open(&Plan {
            alignd: &[
                ("control.socket", &quoted(&control)),
                ("control.outcome_users", &format!("[{:?}]", USER)),
            ],
            main_cf: &format!(
                "content_filter = amavis:[{}]:{}",
                filter.ip(),
                filter.port()
            ),
            master_cf: &master_cf,
            ..Plan::of(Kind::Postfix)
        });
        let amavis = amavis::start(filter, back, &control);
        Self {
            filter: amavis,
            house,
            _home: home,
        }
    }

    /// Sends a message with this subject and looks what it was answered, and for its verdict.
    fn send(&self, subject: &str) -> (u16, String) {
        self.post(&format!(
            "Date: Mon, 23 Nov 2026 09:00:00 +0000\r\nMessage-ID: <1@sender.example>\r\nSubject: {subject}\r\n\r\nbody\r\n"
        ))
    }

    /// The same with all that comes after From.
    fn post(&self, rest: &str) -> (u16, String) {
        let mail = format!("From: <a@sender.example>\r\n{rest}");
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

/// Where the filter's user gets to the control socket.
fn home() -> TempDir {
    tempfile::Builder::new()
        .permissions(Permissions::from_mode(0o755))
        .tempdir()
        .expect("there is room")
}

fn quoted(path: &Path) -> String {
    format!("{:?}", path.display().to_string())
}

#[test]
fn rspamd_tells_what_it_does_not_let_pass() {
    let filtered = Filtered::by_rspamd(&format!("[{:?}]", USER));
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
        assert_eq!(last["by"], USER, "{subject}");
    }
    let (_, id) = filtered.post("Subject: pills without an id\r\n\r\nbody\r\n");
    filtered.becomes(&id, &["answering", "accepted", "refused_later"]);
    // Of several Message-IDs alignd takes the first.
    for identified in [
        "Message-ID:\r\n <1@sender.example>\r\nMessage-ID: <2@sender.example>\r\n",
        "Message-ID: <a b@sender.example>\r\n",
        "Message-ID: <\u{fc}@sender.example>\r\n",
    ] {
        let (_, id) = filtered.post(&format!("{identified}Subject: pills\r\n\r\nbody\r\n"));
        filtered.becomes(&id, &["answering", "accepted", "refused_later"]);
    }
    // Rspamd refuses it before any of its rules runs.
    let (answered, id) = filtered.post(&format!(
        "Message-ID: <1@sender.example>\r\nSubject: test\r\n\r\n{GTUBE}\r\n"
    ));
    assert_eq!(answered, 554);
    let last = filtered.becomes(&id, &["answering", "accepted", "refused_later"]);
    assert_eq!(last["detail"], "rspamd: reject, GTUBE");
    // Rspamd tells before it answers the MTA, so what isn't told by now never is. The second is over the
    // score for greylisting, which the milter protocol lets pass; in the third nobody reads GTUBE.
    for rest in [
        "Subject: hello\r\n\r\nbody\r\n".to_owned(),
        "Subject: vitamins\r\n\r\nbody\r\n".to_owned(),
        format!("Subject: test\r\nContent-Type: application/octet-stream\r\n\r\n{GTUBE}\r\n"),
    ] {
        let (answered, id) = filtered.post(&rest);
        assert_eq!(answered, 250, "{rest}");
        filtered.becomes(&id, &["answering", "accepted"]);
    }
    let report = &["report", "preview", "sender.example"];
    let report = filtered.house.alignd.run(report);
    let counts = report.split("<count>").skip(1);
    let counts = counts.filter_map(|rest| rest.split('<').next()?.parse::<u32>().ok());
    assert_eq!(counts.sum::<u32>(), 3, "{report}");
}

const GTUBE: &str = "XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X";

#[test]
fn a_filter_that_nobody_named_changes_nothing() {
    let filtered = Filtered::by_rspamd("[]");
    let (answered, id) = filtered.send("pills");
    assert_eq!(answered, 554);
    wait::until("Rspamd says what may be wrong", || {
        filtered
            .filter
            .log()
            .contains("control.outcome_users")
            .then_some(())
    });
    filtered.becomes(&id, &["answering", "accepted"]);
}

#[test]
fn amavis_tells_what_nobody_gets() {
    let filtered = Filtered::by_amavis();
    for (mail, outcome, reason) in [
        (
            "Subject: no date\r\n\r\nhello\r\n",
            "refused_later",
            "amavis: bad header, ",
        ),
        (TOOL, "held", "amavis: banned file, quarantined, "),
    ] {
        let (answered, id) = filtered.post(mail);
        assert_eq!(answered, 250, "{mail}");
        let last = filtered.becomes(&id, &["answering", "accepted", outcome]);
        let detail = last["detail"].as_str().expect("a reason");
        assert!(detail.starts_with(reason), "{detail}");
        assert_eq!(last["by"], USER, "{mail}");
    }
    let (_, id) = filtered.send("hello");
    let mails = wait::until("the mail to arrive", || {
        let mails = filtered.house.mta.mailbox();
        (!mails.is_empty()).then_some(mails)
    });
    assert_eq!(mails.len(), 1);
    assert_eq!(mails[0].fields("Subject"), ["hello"]);
    filtered.becomes(&id, &["answering", "accepted"]);
}

/// With what amavis is told to quarantine.
const TOOL: &str = "Date: Mon, 23 Nov 2026 09:00:00 +0000\r\nSubject: tool\r\nMIME-Version: 1.0\r\nContent-Type: application/octet-stream; name=\"tool.exe\"\r\n\
    Content-Disposition: attachment; filename=\"tool.exe\"\r\nContent-Transfer-Encoding: base64\r\n\r\nTVqQAAMAAAAEAAAA\r\n";

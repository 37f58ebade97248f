//! The README's installation from scratch, line by line, on a host that never had alignd: users by the real
//! systemd-sysusers, directories by the real systemd-tmpfiles, a real Postfix as Debian sets it up.
//!
//! systemd itself doesn't run there: a stand-in for systemctl(1) does what `alignd.service` says. Needs root, for the
//! namespaces in which all of it happens; nothing of this host is changed.

use crate::aside;
use std::fs;
use std::path::Path;
use std::process::Command;

/// The blocks of commands in a section of the README, each line whole.
fn commands(section: &str) -> Vec<Vec<String>> {
    let readme = include_str!("../../README.md");
    let (_, text) = readme.split_once(section).expect("the section");
    let text = text.split("\n## ").next().unwrap_or_default();
    let blocks = text.split("```").skip(1).step_by(2);
    // Others than commands say what they are.
    let blocks = blocks.filter(|block| block.starts_with('\n'));
    let lines = |block: &str| block.lines().map(str::trim).map(str::to_owned).collect();
    let blocks = blocks.map(|block| -> Vec<String> { lines(block) });
    blocks
        .map(|block| block.into_iter().filter(|line| !line.is_empty()).collect())
        .collect()
}

/// What a script of these steps prints on such a host; each must succeed. `tree`: where Postfix is.
fn run(steps: &[String], tree: Option<&Path>) -> String {
    assert!(
        nix::unistd::geteuid().is_root(),
        "these tests install alignd in namespaces of their own: run them as root"
    );
    let file = tempfile::NamedTempFile::new().expect("a file can be made");
    let steps = steps.iter().map(|step| {
        let said = step.replace('\'', "'\\''");
        format!(
            "printf '%s\\n' '$ {said}'\n{{ {step}\n}} || {{ echo 'this step failed'; exit 1; }}\n"
        )
    });
    fs::write(&file, steps.collect::<String>()).expect("our own file");
    let source = Path::new(env!("CARGO_MANIFEST_DIR"));
    let output = Command::new("unshare")
        .args([
            "--mount",
            "--pid",
            "--net",
            "--uts",
            "--fork",
            "--kill-child",
        ])
        .args(["sh", "-c", "exec 2>&1; exec sh \"$@\"", "sh"])
        .arg(source.join("tests/mta/install/host.sh"))
        .args([source, Path::new(env!("CARGO_BIN_EXE_alignd")), file.path()])
        .args(tree)
        .output()
        .expect("unshare (util-linux) can be run");
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{told}");
    told
}

/// Its five steps, without the build, which the tests have behind them.
fn installing() -> [Vec<String>; 5] {
    let mut blocks = commands("\n## Five minutes to look on\n");
    let build = blocks[0].remove(0);
    assert!(build.starts_with("cargo build --release"), "{build}");
    blocks.try_into().expect("five steps")
}

/// What a file or directory is, and whose.
fn is_of(path: &str) -> String {
    format!("stat -c '%n is %a %U:%G' {path}")
}

fn strings(lines: &[&str]) -> Vec<String> {
    lines.iter().map(|line| (*line).to_owned()).collect()
}

#[test]
fn the_readme_installs_alignd_beside_postfix() {
    let [install, settings, start, ask, look] = installing();
    let ask = ask.iter().map(|line| {
        // The other filter of the example isn't there.
        let line = line.replace("inet:localhost:8891, ", "");
        line.split("  #").next().unwrap_or_default().to_owned()
    });
    let ask: Vec<String> = ask.collect();
    assert!(ask[1].contains("{ unix:alignd/milter.sock, default_action=accept }"));
    // A queue id of today instead of the example's.
    let look = look.iter().map(|line| match line.strip_prefix("alignd why ") {
        Some(_) => "alignd why $(sed -n 's/.*smtpd.*: \\([A-Za-z0-9]*\\): client=.*/\\1/p' /var/log/maillog)".to_owned(),
        None => line.clone(),
    });
    let mail = "smtp-source -s 1 -m 1 -f ann@sender.example -t root@receiver.example 192.0.2.9:25";
    let facts = [
        "/var/spool/postfix/alignd",
        "/var/spool/postfix/alignd/milter.sock",
        "/run/alignd/control.sock",
        "/var/lib/alignd",
        "/var/lib/alignd/alignd.db",
    ];
    let mut helper = commands("\n## The hold queue and its helper\n").concat();
    helper.retain(|line| !line.contains("Sendmail only"));
    let hold = [
        "sed -i 's/^#on_multiple_authors = .*/on_multiple_authors = \"hold\"/' /etc/alignd/alignd.toml",
        "alignd config check",
        "systemctl reload alignd",
        "mail-of-two",
        // The outcome follows the answer in the next commit.
        "for _ in $(seq 100); do ! alignd quarantine list | grep -q 'Nothing is held' || sleep 0.1; done",
        "alignd quarantine list",
        "held=$(alignd quarantine list --format json | sed 's/.*\"queue_id\":\"\\([^\"]*\\)\".*/\\1/')",
        "alignd quarantine show $held",
        "alignd quarantine release $held --comment 'the ticket says so'",
        "for _ in $(seq 100); do ! grep -q \"$held: removed\" /var/log/maillog || break; sleep 0.1; done",
        "cat /var/log/helper",
    ];
    let steps = [
        strings(&["install-postfix"]),
        install,
        settings,
        start,
        facts.map(is_of).to_vec(),
        ask,
        strings(&[mail]),
        look.collect(),
        strings(&["alignd config check", "alignd status"]),
        helper,
        strings(&hold),
        strings(&["cat /var/log/maillog"]),
    ];
    let told = run(&steps.concat(), Some(&aside::tree("postfix")));
    for fact in [
        "/var/spool/postfix/alignd is 750 alignd:postfix",
        "/var/spool/postfix/alignd/milter.sock is 660 alignd:postfix",
        "/run/alignd/control.sock is 666 alignd:alignd",
        "/var/lib/alignd is 750 alignd:alignd",
        "/var/lib/alignd/alignd.db is 640 alignd:alignd",
        // Before Postfix asks, and after.
        "0 errors, 0 warnings, 1 note (for user alignd)",
        "nothing wrong (for user alignd)",
        "sender.example",
        "deed=\"release\"",
        "status=sent (delivered to mailbox)",
    ] {
        assert!(told.contains(fact), "{fact} is missing in:\n{told}");
    }
    // It asked alignd, and was answered; and what was held is delivered, too.
    assert!(!told.contains("Milter service"), "{told}");
    let delivered = told.matches("status=sent (delivered to mailbox)");
    assert_eq!(delivered.count(), 2, "{told}");
}

#[test]
fn the_readme_installs_alignd_beside_sendmail() {
    let [mut install, _, start, ..] = installing();
    install.retain(|line| !line.contains("tmpfiles.conf"));
    install.insert(0, "sed -i '/^m /d' systemd/sysusers.conf".to_owned());
    let [more] = commands("\n## Beside Sendmail\n")
        .try_into()
        .expect("one block");
    let settings = strings(&[
        "mkdir -p /etc/alignd && cp contrib/sendmail/alignd.toml /etc/alignd/alignd.toml",
    ]);
    let facts = ["/run/alignd", "/run/alignd/milter.sock", "/var/lib/alignd"];
    let mut facts = facts.map(is_of).to_vec();
    facts.push("! getent group postfix".to_owned());
    let told = run(&[install, more, settings, start, facts].concat(), None);
    for fact in [
        "nothing wrong (for user alignd)",
        "/run/alignd is 755 alignd:alignd",
        "/run/alignd/milter.sock is 660 alignd:alignd",
        "/var/lib/alignd is 750 alignd:alignd",
    ] {
        assert!(told.contains(fact), "{fact} is missing in:\n{told}");
    }
}

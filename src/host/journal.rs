//! The mail log in systemd's journal: its entries as lines of a log, from a cursor on.
//!
//! Owns the call of journalctl, once for each look, with fixed arguments. Only what processes of the system wrote is
//! shown on: any user can log under any name, but `_UID` is journald's own word.

use serde::Deserialize;
use serde_json::Value;
use std::ffi::OsStr;
use std::io::{self, BufRead, BufReader, Read};
use std::process::{Child, ChildStdout, Command, Stdio};

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// As a syslog daemon would have written it. `None`: nothing that is believed.
    pub line: Option<String>,
    pub cursor: String,
}

/// The entries behind `cursor`, at most `MAX_ENTRIES`; without one those of the last two days.
pub fn read(program: &OsStr, cursor: Option<&str>) -> io::Result<Vec<Entry>> {
    let from = match cursor {
        Some(cursor) => format!("--after-cursor={cursor}"),
        None => "--since=-2d".to_owned(),
    };
    let mut child = Command::new(program)
        .args(["--quiet", "--no-pager", "--output=json", FIELDS])
        // syslog(3): LOG_MAIL is 2.
        .args([from.as_str(), "SYSLOG_FACILITY=2"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let entries = child.stdout.take().map(entries).transpose();
    ended(child, entries?.unwrap_or_default())
}

fn entries(output: ChildStdout) -> io::Result<Vec<Entry>> {
    let mut output = BufReader::new(output);
    let mut found = Vec::new();
    let mut line = Vec::new();
    while found.len() < MAX_ENTRIES {
        line.clear();
        if (&mut output).take(MAX_LINE).read_until(b'\n', &mut line)? == 0 {
            break;
        }
        // A piece of an entry that is too long is no entry, nor is its rest.
        if let Ok(entry) = serde_json::from_slice::<Written>(&line) {
            found.push(entry.into());
        }
    }
    Ok(found)
}

/// It is told to end when enough was read; when it said nothing at all it must have ended well.
fn ended(mut child: Child, entries: Vec<Entry>) -> io::Result<Vec<Entry>> {
    if !entries.is_empty() {
        // It may have ended by itself.
        _ = child.kill();
        child.wait()?;
        return Ok(entries);
    }
    let mut said = String::new();
    if let Some(stderr) = child.stderr.take() {
        stderr.take(1_000).read_to_string(&mut said)?;
    }
    let status = child.wait()?;
    // Nothing new is told by 1 in some versions, in silence.
    if status.success() || said.trim().is_empty() {
        return Ok(entries);
    }
    Err(io::Error::other(format!("journalctl: {}", said.trim())))
}

/// As journalctl writes it; a text that isn't UTF-8 is a list of octets.
#[derive(Deserialize)]
struct Written {
    #[serde(rename = "__CURSOR")]
    cursor: String,
    #[serde(rename = "__REALTIME_TIMESTAMP")]
    at: String,
    #[serde(rename = "MESSAGE", default)]
    message: Value,
    #[serde(rename = "SYSLOG_IDENTIFIER", default)]
    identifier: Option<String>,
    #[serde(rename = "_PID", default)]
    pid: Option<String>,
    #[serde(rename = "_UID", default)]
    uid: Option<String>,
}

impl From<Written> for Entry {
    fn from(written: Written) -> Self {
        Self {
            line: line(&written),
            cursor: written.cursor,
        }
    }
}

fn line(entry: &Written) -> Option<String> {
    let uid: u32 = entry.uid.as_ref()?.parse().ok()?;
    if uid > LAST_OF_THE_SYSTEM {
        return None;
    }
    let at = crate::time::Timestamp::from_micros(entry.at.parse().ok()?);
    let (identifier, pid) = (entry.identifier.as_ref()?, entry.pid.as_ref()?);
    let message = entry.message.as_str()?;
    Some(format!("{at} {identifier}[{pid}]: {message}"))
}

const FIELDS: &str = "--output-fields=MESSAGE,SYSLOG_IDENTIFIER,_PID,_UID";

/// Entries read in one go.
const MAX_ENTRIES: usize = 5_000;

/// Of one entry, in octets.
const MAX_LINE: u64 = 256 << 10;

/// login.defs(5), SYS_UID_MAX: people's accounts begin behind it.
const LAST_OF_THE_SYSTEM: u32 = 999;

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    /// A program that answers as journalctl does.
    fn journalctl(script: &str) -> (tempfile::TempDir, std::path::PathBuf) {
        let home = tempfile::tempdir().expect("there is room");
        let path = home.path().join("journalctl");
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).expect("it can be written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("it is ours");
        (home, path)
    }

    #[test]
    fn entries_become_lines() {
        let script = r#"case "$*" in *after-cursor=s=1*SYSLOG_FACILITY=2) ;; *) exit 3;; esac
cat <<'END'
{"__CURSOR":"s=2","__REALTIME_TIMESTAMP":"1795356252123456","MESSAGE":"4jXW5m5GBtz1StgL: released from hold","SYSLOG_IDENTIFIER":"postfix/postsuper","_PID":"17","_UID":"0"}
{"__CURSOR":"s=3","__REALTIME_TIMESTAMP":"1795356252123456","MESSAGE":"4jXW5m5GBtz1StgL: removed","SYSLOG_IDENTIFIER":"postfix/postsuper","_PID":"17","_UID":"1000"}
{"__CURSOR":"s=4","__REALTIME_TIMESTAMP":"1795356252123456","MESSAGE":[1,2],"SYSLOG_IDENTIFIER":"x","_PID":"17","_UID":"0"}
nonsense
END"#;
        let (_home, program) = journalctl(script);
        let entries = read(program.as_os_str(), Some("s=1")).expect("it can be run");
        let cursors: Vec<_> = entries.iter().map(|e| e.cursor.as_str()).collect();
        assert_eq!(cursors, ["s=2", "s=3", "s=4"]);
        let lines: Vec<_> = entries.iter().filter_map(|e| e.line.as_deref()).collect();
        let expected = "postfix/postsuper[17]: 4jXW5m5GBtz1StgL: released from hold";
        assert!(
            matches!(lines.as_slice(), [line] if line.ends_with(expected)),
            "{lines:?}"
        );
    }

    #[test]
    fn what_it_says_in_vain_is_told() {
        let (_home, program) = journalctl("echo No permission >&2; exit 1");
        let error = read(program.as_os_str(), None).expect_err("it failed");
        assert_eq!(error.to_string(), "journalctl: No permission");
        let (_home, program) = journalctl("exit 1");
        assert_eq!(read(program.as_os_str(), None).expect("no news"), []);
    }
}

//! Sendmail's quarantined mail: hf and df files in its queue directories, and sendmail(8) to release it.
//!
//! Owns where the queues are (sendmail.cf), the lock under which a mail is deleted, and the two commands of a
//! release. Sendmail has no command that deletes: hfID and dfID, exactly these, are removed while no
//! sendmail has them. Its commands say nothing and exit 0 whatever happens, so the queue is looked at again.

mod control_file;
mod queues;

use super::command::{Commands, arguments};
use super::{HeldEntry, MAX_ENTRIES, MAX_SHOWN, Part, Place, QueueError, QueueId, Released, Shown};
use control_file::ControlFile;
use nix::fcntl::{FcntlArg, Flock, FlockArg, OFlag, fcntl};
use nix::libc;
use queues::Queue;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// One Sendmail.
#[derive(Debug, Clone)]
pub struct Sendmail {
    commands: Commands,
    /// For `-C`.
    config: Option<OsString>,
}

/// A mail whose control file is there.
struct Found {
    queue: Queue,
    control: PathBuf,
}

impl Sendmail {
    pub fn new(commands: Commands, config: Option<&Path>) -> Self {
        Self {
            commands,
            config: config.map(|config| config.as_os_str().to_owned()),
        }
    }

    /// Hands over each held mail. `true`: there are more than `MAX_ENTRIES`.
    pub fn list(&self, mut each: impl FnMut(HeldEntry)) -> Result<bool, QueueError> {
        let mut left = MAX_ENTRIES;
        for queue in self.queues()? {
            for id in queue
                .held()
                .map_err(|error| unreadable(&queue.control, &error))?
            {
                // It may have been released meanwhile.
                let Some(entry) = entry(&queue, id) else {
                    continue;
                };
                if left == 0 {
                    return Ok(true);
                }
                left -= 1;
                each(entry);
            }
        }
        Ok(false)
    }

    pub fn show(&self, id: &QueueId, part: Part) -> Result<Shown, QueueError> {
        let found = self.held(id)?;
        let control = ControlFile::read(&found.control)
            .map_err(|error| unreadable(&found.control, &error))?;
        let mut octets = control.header;
        if part == Part::Message {
            octets.push(b'\n');
            let data = found.queue.data_file(id);
            let body = File::open(&data).and_then(|file| {
                let limit = u64::try_from(MAX_SHOWN).unwrap_or(u64::MAX);
                file.take(limit).read_to_end(&mut octets)
            });
            body.map_err(|error| unreadable(&data, &error))?;
        }
        let cut = octets.len() > MAX_SHOWN;
        octets.truncate(MAX_SHOWN);
        Ok(Shown { octets, cut })
    }

    /// Takes the quarantine off and has it delivered. However old it is: Sendmail returns mail only
    /// after an attempt.
    pub fn release(&self, id: &QueueId) -> Result<Released, QueueError> {
        self.held(id)?;
        self.must_be_the_only(id)?;
        let selected = format!("-qI{id}");
        let clear = arguments(self.config.as_ref(), "-C", &["-qQ", "-Q", &selected]);
        let said = self
            .commands
            .run("sendmail", &clear, 4_096)
            .map_err(QueueError::Failed)?;
        if self.locate(id)? == Place::Held {
            let complaint = said.complaint();
            return Err(QueueError::Failed(format!(
                "sendmail -qQ -Q did not release it ({complaint}); does another sendmail work on it?"
            )));
        }
        let deliver = arguments(self.config.as_ref(), "-C", &[&selected]);
        let begun = self.commands.start("sendmail", &deliver, DELIVERY);
        Ok(Released {
            queue_id: Some(id.clone()),
            requeued: false,
            place: self.locate(id)?,
            waits: begun
                .err()
                .map(|problem| format!("it leaves with Sendmail's next queue run ({problem})")),
        })
    }

    /// Removes hfID and dfID under the locks that sendmail itself takes. The data first: what is left
    /// after a crash in between is still held, and can be deleted again.
    pub fn delete(&self, id: &QueueId) -> Result<(), QueueError> {
        let found = self.held(id)?;
        let fault = |error: io::Error| unreadable(&found.control, &error);
        let locked = Locked::take(&found.control)?;
        let now = match fs::symlink_metadata(&found.control) {
            Ok(now) => now.ino(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(QueueError::NotHeld(self.locate(id)?));
            }
            Err(error) => return Err(fault(error)),
        };
        if now != locked.inode {
            return Err(busy(&found.control));
        }
        match fs::remove_file(found.queue.data_file(id)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(fault(error)),
            Ok(()) | Err(_) => fs::remove_file(&found.control).map_err(fault),
        }
    }

    /// Where each of them is.
    pub fn find(&self, ids: &[QueueId]) -> Result<Vec<Place>, QueueError> {
        let queues = self.queues()?;
        Ok(ids.iter().map(|id| place_in(&queues, id)).collect())
    }

    pub fn locate(&self, id: &QueueId) -> Result<Place, QueueError> {
        Ok(place_in(&self.queues()?, id))
    }

    fn held(&self, id: &QueueId) -> Result<Found, QueueError> {
        for queue in self.queues()? {
            let control = queue.held_file(id);
            if control.is_file() {
                return Ok(Found { queue, control });
            }
        }
        Err(QueueError::NotHeld(self.locate(id)?))
    }

    /// `-qI` takes every mail whose id has this one within.
    fn must_be_the_only(&self, id: &QueueId) -> Result<(), QueueError> {
        for queue in self.queues()? {
            let held = queue
                .held()
                .map_err(|error| unreadable(&queue.control, &error))?;
            let longer = held
                .iter()
                .find(|other| *other != id && other.as_str().contains(id.as_str()));
            if let Some(other) = longer {
                return Err(QueueError::Failed(format!(
                    "sendmail -qI{id} would release {other} as well: release or delete that first"
                )));
            }
        }
        Ok(())
    }

    fn queues(&self) -> Result<Vec<Queue>, QueueError> {
        let path = self
            .config
            .as_ref()
            .map_or(Path::new(SENDMAIL_CF), Path::new);
        let text = fs::read(path).map_err(|error| {
            let path = path.display();
            QueueError::Failed(format!(
                "quarantine.mta_config: {path} cannot be read: {error}"
            ))
        })?;
        let queues = queues::named_in(&String::from_utf8_lossy(&text));
        if queues.is_empty() {
            let path = path.display();
            return Err(QueueError::Failed(format!(
                "quarantine.mta_config: {path} names no QueueDirectory that is there"
            )));
        }
        Ok(queues)
    }
}

/// Sendmail's lock on a control file: flock(2) or fcntl(2), as it was built; taken both.
struct Locked {
    inode: u64,
    _lock: Flock<File>,
}

impl Locked {
    fn take(path: &Path) -> Result<Self, QueueError> {
        let file = File::options()
            .read(true)
            .write(true)
            .custom_flags(OFlag::O_NOFOLLOW.bits())
            .open(path)
            .map_err(|error| unreadable(path, &error))?;
        let whole = libc::flock {
            l_type: libc::F_WRLCK as libc::c_short,
            l_whence: libc::SEEK_SET as libc::c_short,
            l_start: 0,
            l_len: 0,
            l_pid: 0,
        };
        fcntl(&file, FcntlArg::F_SETLK(&whole)).map_err(|_| busy(path))?;
        let inode = file
            .metadata()
            .map_err(|error| unreadable(path, &error))?
            .ino();
        let lock = Flock::lock(file, FlockArg::LockExclusiveNonblock);
        let _lock = lock.map_err(|_| busy(path))?;
        Ok(Self { inode, _lock })
    }
}

fn place_in(queues: &[Queue], id: &QueueId) -> Place {
    if queues.iter().any(|queue| queue.held_file(id).is_file()) {
        return Place::Held;
    }
    let queued = queues.iter().find(|queue| queue.queued_file(id).is_file());
    queued.map_or(Place::Gone, |queue| Place::Queued(queue.name()))
}

fn entry(queue: &Queue, queue_id: QueueId) -> Option<HeldEntry> {
    let control = ControlFile::read(&queue.held_file(&queue_id)).ok()?;
    let size = fs::metadata(queue.data_file(&queue_id)).map_or(0, |data| data.len());
    Some(HeldEntry {
        queue_id,
        queue: queue.name(),
        arrived: control.created,
        size,
        sender: control.sender,
        recipients: control.recipients,
        recipient_count: control.recipient_count,
        reason: control.reason,
    })
}

fn unreadable(path: &Path, error: &io::Error) -> QueueError {
    QueueError::Failed(format!("{}: {error}", path.display()))
}

fn busy(path: &Path) -> QueueError {
    let path = path.display();
    QueueError::Failed(format!(
        "a sendmail is working on {path}: try again in a moment"
    ))
}

const SENDMAIL_CF: &str = "/etc/mail/sendmail.cf";
/// How long an attempt is waited for; it goes on by itself.
const DELIVERY: Duration = Duration::from_secs(5);

//! Who may do what with a file: permissions judged for a user other than the one who asks, so that
//! root can check for the daemon.
//!
//! Reads metadata, users and groups. Knows the mode bits only: ACLs and security modules may allow
//! less or more.

use nix::unistd::{Gid, Group, Uid, User, getgrouplist};
use std::ffi::CString;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// A user with all groups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    pub name: String,
    uid: u32,
    groups: Vec<u32>,
}

/// What is wanted of a file or directory: the bits of one class.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// To go through a directory.
    Pass = 0o1,
    /// To write into a file.
    Write = 0o2,
    /// To make and remove files in a directory.
    Fill = 0o3,
    /// To read a file.
    Read = 0o4,
}

impl Account {
    /// The user of this name; `None` when there is none.
    pub fn named(name: &str) -> Option<Self> {
        let user = User::from_name(name).ok()??;
        Some(Self::of(user))
    }

    /// The user of this process.
    pub fn current() -> Self {
        let uid = nix::unistd::geteuid();
        match User::from_uid(uid) {
            Ok(Some(user)) => Self::of(user),
            _ => Self::of_user(uid.as_raw(), &format!("with uid {uid}")),
        }
    }

    /// A user without groups.
    pub fn of_user(uid: u32, name: &str) -> Self {
        Self {
            name: name.to_owned(),
            uid,
            groups: Vec::new(),
        }
    }

    fn of(user: User) -> Self {
        let name = CString::new(user.name.as_str()).ok();
        let groups = name.and_then(|name| getgrouplist(&name, user.gid).ok());
        let groups = groups.unwrap_or_else(|| vec![user.gid]);
        Self {
            name: user.name,
            uid: user.uid.as_raw(),
            groups: groups.into_iter().map(Gid::as_raw).collect(),
        }
    }

    pub fn is_root(&self) -> bool {
        Uid::from_raw(self.uid).is_root()
    }

    pub fn is_in(&self, group: &Group) -> bool {
        self.groups.contains(&group.gid.as_raw())
    }

    /// Whether the mode bits allow it.
    pub fn may(&self, wish: Wish, metadata: &Metadata) -> bool {
        let mode = metadata.mode();
        let of_class = if metadata.uid() == self.uid {
            mode >> 6
        } else if self.groups.contains(&metadata.gid()) {
            mode >> 3
        } else {
            mode
        };
        self.is_root() || of_class & wish as u32 == wish as u32
    }

    /// The first directory on the way to `path` that the user cannot go through.
    pub fn blocked_at(&self, path: &Path) -> Option<PathBuf> {
        let mut way: Vec<&Path> = path.ancestors().skip(1).collect();
        way.reverse();
        let closed = way.into_iter().find(|directory| {
            std::fs::metadata(directory).is_ok_and(|found| !self.may(Wish::Pass, &found))
        });
        closed.map(Path::to_owned)
    }
}

/// Whether whoever asks may not even look there, so that nothing can be said.
pub fn is_hidden(looked: &std::io::Result<Metadata>) -> bool {
    let error = looked.as_ref().err().map(std::io::Error::kind);
    error == Some(std::io::ErrorKind::PermissionDenied)
}

/// `drwxr-x--- root:postfix`, as `ls -l` shows it.
pub fn shown(metadata: &Metadata) -> String {
    let mode = metadata.mode();
    let bits = [0o400, 0o200, 0o100, 0o40, 0o20, 0o10, 0o4, 0o2, 0o1];
    let letters = ['r', 'w', 'x', 'r', 'w', 'x', 'r', 'w', 'x'];
    let bits = bits.iter().zip(letters);
    let bits: String = bits
        .map(|(bit, letter)| if mode & bit == 0 { '-' } else { letter })
        .collect();
    let kind = if metadata.is_dir() { 'd' } else { '-' };
    let user = User::from_uid(Uid::from_raw(metadata.uid()));
    let user = user.ok().flatten().map(|user| user.name);
    let group = Group::from_gid(Gid::from_raw(metadata.gid()));
    let group = group.ok().flatten().map(|group| group.name);
    format!(
        "{kind}{bits} {}:{}",
        user.unwrap_or_else(|| metadata.uid().to_string()),
        group.unwrap_or_else(|| metadata.gid().to_string())
    )
}

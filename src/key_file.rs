//! The file of `identity.site_key`: read, or made when it isn't there yet.
//!
//! Owns its rights: nobody but its owner and group may read it. Two that make it at once end up with the
//! same one.

use crate::site_key::{SITE_KEY_OCTETS, SiteKey};
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// Why there is no key. The operator must act.
#[derive(Debug)]
pub enum KeyError {
    /// It cannot be read or made.
    Access { path: PathBuf, source: io::Error },
    /// It is no key.
    Malformed(PathBuf),
    /// Everybody may read it.
    TooOpen(PathBuf),
    /// The system gives no random numbers.
    NoRandomness,
}

/// Reads the key; makes one when there is no such file.
pub fn open_or_make(path: &Path) -> Result<SiteKey, KeyError> {
    match open(path) {
        Err(KeyError::Access { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            make(path)?;
            open(path)
        }
        opened => opened,
    }
}

/// Reads the key.
pub fn open(path: &Path) -> Result<SiteKey, KeyError> {
    let access = |source| KeyError::Access {
        path: path.to_owned(),
        source,
    };
    let mode = fs::metadata(path).map_err(access)?.permissions().mode();
    if mode & 0o007 != 0 {
        return Err(KeyError::TooOpen(path.to_owned()));
    }
    let text = fs::read_to_string(path).map_err(access)?;
    SiteKey::parse(&text).ok_or_else(|| KeyError::Malformed(path.to_owned()))
}

/// Written beside it and then linked to its name: it is there whole or not at all, and the first one
/// stays.
fn make(path: &Path) -> Result<(), KeyError> {
    let access = |source| KeyError::Access {
        path: path.to_owned(),
        source,
    };
    let mut octets = [0; SITE_KEY_OCTETS];
    aws_lc_rs::rand::fill(&mut octets).map_err(|_| KeyError::NoRandomness)?;
    let mut beside = path.as_os_str().to_owned();
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let nth = NEXT.fetch_add(1, Ordering::Relaxed);
    beside.push(format!(".{}.{nth}", std::process::id()));
    let beside = PathBuf::from(beside);
    // What a crash left behind under this name is in the way, and nobody's.
    _ = fs::remove_file(&beside);
    let written =
        write(&beside, &SiteKey::text(&octets)).and_then(|()| match fs::hard_link(&beside, path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            linked => linked,
        });
    // The other name is gone, or will be taken away next time.
    _ = fs::remove_file(&beside);
    written.map_err(access)?;
    let directory = path.parent().unwrap_or(Path::new("/"));
    File::open(directory)
        .and_then(|d| d.sync_all())
        .map_err(access)
}

fn write(path: &Path, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Access { path, source } => write!(
                f,
                "identity.site_key: {}: {source}; let alignd's user read it, or make it in that directory",
                path.display()
            ),
            Self::Malformed(path) => write!(
                f,
                "identity.site_key: {}: not a key; restore it from a backup or another host, or remove it: a new one \
                 is made at the next start",
                path.display()
            ),
            Self::TooOpen(path) => write!(
                f,
                "identity.site_key: {0}: anyone can read it; run chmod o= {0}",
                path.display()
            ),
            Self::NoRandomness => f.write_str(
                "identity.site_key: the system gives no random numbers; is /dev/urandom there?",
            ),
        }
    }
}

impl std::error::Error for KeyError {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::site_key::Purpose;

    fn seal(key: &SiteKey) -> [u8; 16] {
        key.seal(Purpose::ReturnPath, &["x"])
    }

    #[test]
    fn it_is_made_once_and_only_for_us() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("site.key");
        assert!(matches!(open(&path), Err(KeyError::Access { .. })));
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let path = path.clone();
                std::thread::spawn(move || seal(&open_or_make(&path).unwrap()))
            })
            .collect();
        let seals: Vec<_> = threads.into_iter().map(|t| t.join().unwrap()).collect();
        let key = seal(&open(&path).unwrap());
        assert!(seals.iter().all(|found| *found == key));
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_is_wrong_is_told_with_what_to_do() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("site.key");
        for (text, mode, expected) in [
            ("nonsense", 0o600, "not a key"),
            ("", 0o600, "not a key"),
            (&SiteKey::text(&[1; 32]), 0o604, "anyone can read it"),
        ] {
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let told = open_or_make(&path).unwrap_err().to_string();
            assert!(told.contains(expected), "{told}");
        }
        let nowhere = open_or_make(&home.path().join("no/site.key")).unwrap_err();
        assert!(nowhere.to_string().contains("No such file"), "{nowhere}");
    }
}

//! Waiting for what another process does: by looking again, within a limit, never by sleeping a fixed time.

use std::thread::sleep;
use std::time::{Duration, Instant};

/// Far beyond what a busy two-core machine needs; reached only when something is broken.
const LIMIT: Duration = Duration::from_secs(60);

/// Looks until there is something to return; panics with `what` when nothing comes.
pub fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(start.elapsed() < LIMIT, "waited {LIMIT:?} in vain: {what}");
        sleep(Duration::from_millis(5));
    }
}

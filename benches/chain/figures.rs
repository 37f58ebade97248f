//! What is measured of processes, from `/proc`, and what is made of it.

use std::fs;
use std::time::Duration;

/// Processes with all their descendants.
pub struct Processes(pub Vec<u32>);

impl Processes {
    /// CPU time of all their threads so far, those that have ended included.
    pub fn cpu(&self) -> Duration {
        let ticks = self.all().into_iter().map(|id| {
            let stat = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
            // proc(5): the name, in brackets, may hold anything; utime and stime are the 14th and 15th.
            let after = stat.rsplit_once(')').map_or("", |(_, after)| after);
            let fields = after.split_whitespace().skip(11).take(2);
            fields.filter_map(|f| f.parse::<u64>().ok()).sum::<u64>()
        });
        Duration::from_millis(ticks.sum::<u64>() * MILLISECONDS_A_TICK)
    }

    /// KiB of memory now.
    pub fn resident(&self) -> u64 {
        self.status("VmRSS:")
    }

    /// KiB of memory at most since `forget_peak`.
    pub fn peak(&self) -> u64 {
        self.status("VmHWM:")
    }

    pub fn forget_peak(&self) {
        for id in self.all() {
            // proc(5): 5 resets the peak.
            let _ = fs::write(format!("/proc/{id}/clear_refs"), "5");
        }
    }

    fn status(&self, key: &str) -> u64 {
        let of = |id: u32| {
            let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
            let line = status.lines().find_map(|line| line.strip_prefix(key));
            let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
            number.unwrap_or(0)
        };
        self.all().into_iter().map(of).sum::<u64>()
    }

    pub fn all(&self) -> Vec<u32> {
        let mut all = self.0.clone();
        let mut next = 0;
        while let Some(id) = all.get(next) {
            let tasks = fs::read_dir(format!("/proc/{id}/task"));
            for task in tasks.into_iter().flatten().flatten() {
                let children = fs::read_to_string(task.path().join("children"));
                let children = children.unwrap_or_default();
                all.extend(
                    children
                        .split_whitespace()
                        .filter_map(|c| c.parse::<u32>().ok()),
                );
            }
            next += 1;
        }
        all
    }
}

/// USER_HZ is 100 on every Linux that Rust runs on.
const MILLISECONDS_A_TICK: u64 = 10;

/// A share of the times was at most this long.
pub fn percentile(sorted: &[Duration], share: f64) -> Duration {
    let place = (sorted.len() as f64 * share) as usize;
    sorted
        .get(place.min(sorted.len().saturating_sub(1)))
        .copied()
        .unwrap_or_default()
}

pub fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

//! Unmounts the disks of a run: at its end, and those of runs that ended without doing so.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::MOUNTS;
use crate::net;

/// Killed processes let go of their files within this time.
const TRIES: u32 = 50;
const PAUSE: Duration = Duration::from_millis(100);

/// Removes what dead runs have left; returns their ids.
pub fn remove_leftovers() -> anyhow::Result<Vec<String>> {
    let mut removed = Vec::new();
    let Ok(folder) = std::fs::read_dir(MOUNTS) else { return Ok(removed) };
    for entry in folder {
        let Ok(run) = entry?.file_name().into_string() else { continue };
        if let Some(_ours_now) = net::lock(&lock_name(&run))? {
            remove(&run);
            removed.push(run);
        }
    }
    Ok(removed)
}

/// Unmounts all that the run has mounted, the innermost first. Fails silently: there is nobody left to tell.
pub fn remove(run: &str) {
    let base = Path::new(MOUNTS).join(run);
    for _ in 0..TRIES {
        let mounts = below(&base);
        if mounts.is_empty() {
            break;
        }
        for mount in mounts.iter().rev() {
            drop(Command::new("umount").arg("-q").arg(mount).output());
        }
        if !below(&base).is_empty() {
            std::thread::sleep(PAUSE);
        }
    }
    for mount in below(&base).iter().rev() {
        // Someone still uses it: it goes when they do.
        drop(Command::new("umount").arg("-q").arg("-l").arg(mount).output());
    }
    drop(std::fs::remove_dir(&base));
    net::unlock(&lock_name(run));
}

pub fn lock_name(run: &str) -> String {
    format!("{run}-disks")
}

/// Mounts at and below the folder, in the order in which they were made.
fn below(base: &Path) -> Vec<PathBuf> {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let paths = mounts.lines().filter_map(|line| line.split(' ').nth(4)).map(PathBuf::from);
    paths.filter(|path| path.starts_with(base)).collect()
}

//! Removes the namespaces of a run: at its end, and those of runs that ended without doing so.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::Context as _;
use rustix::fs::{FlockOperation, flock};
use rustix::process::{Pid, Signal, kill_process};

use super::{PREFIX, ip, names};

/// Each run holds a lock in here for as long as it lives.
const LOCKS: &str = "/run/conclave-chaos";
/// Processes that were killed get this long to go, before their namespace loses its name.
const GONE: Duration = Duration::from_millis(200);

/// Nothing, if a living run holds it.
pub fn lock(run: &str) -> anyhow::Result<Option<File>> {
    std::fs::create_dir_all(LOCKS).context("cannot keep locks: the run needs root")?;
    let file = File::create(path(run))?;
    Ok(flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok().then_some(file))
}

/// Removes what dead runs have left; returns their ids.
pub fn remove_leftovers() -> anyhow::Result<Vec<String>> {
    let mut runs: Vec<String> = names().iter().filter_map(|name| run_of(name)).collect();
    runs.sort();
    runs.dedup();
    let mut removed = Vec::new();
    for run in runs {
        if let Some(_ours_now) = lock(&run)? {
            remove(&run);
            removed.push(run);
        }
    }
    Ok(removed)
}

/// Ends what runs in the run's namespaces, and removes them. Fails silently: there is nobody left to tell.
pub fn remove(run: &str) {
    let spaces: Vec<String> =
        names().into_iter().filter(|name| run_of(name).as_deref() == Some(run)).collect();
    let own = Pid::as_raw(Some(rustix::process::getpid()));
    for space in &spaces {
        for pid in pids(space).into_iter().filter(|pid| *pid != own) {
            if let Some(pid) = Pid::from_raw(pid) {
                let _gone = kill_process(pid, Signal::KILL);
                crate::cluster::forget_clock(pid.as_raw_nonzero().get().unsigned_abs());
            }
        }
    }
    std::thread::sleep(GONE);
    for space in &spaces {
        drop(ip(&["netns", "delete", space]));
    }
    unlock(run);
}

/// Forgets the lock of a run that has left nothing.
pub fn unlock(run: &str) {
    drop(std::fs::remove_file(path(run)));
}

/// Whatever runs in a namespace of ours was started by the run.
fn pids(space: &str) -> Vec<i32> {
    let Ok(output) = Command::new("ip").args(["netns", "pids", space]).output() else { return Vec::new() };
    String::from_utf8_lossy(&output.stdout).lines().filter_map(|line| line.trim().parse().ok()).collect()
}

fn run_of(name: &str) -> Option<String> {
    let rest = name.strip_prefix(PREFIX)?.strip_prefix('-')?;
    let (run, _place) = rest.split_once('-')?;
    run.bytes().all(|byte| byte.is_ascii_digit()).then(|| run.to_owned())
}

fn path(run: &str) -> PathBuf {
    Path::new(LOCKS).join(run)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_ours_belong_to_a_run() {
        assert_eq!(run_of("chaos-12-n1").as_deref(), Some("12"));
        assert_eq!(run_of("chaos-12-hub").as_deref(), Some("12"));
        assert_eq!(run_of("chaosmonkey-12-n1"), None);
        assert_eq!(run_of("chaos-own-n1"), None);
    }
}

//! Runs a program to its end, within a time, with everything that it starts.

use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};

const POLL: Duration = Duration::from_millis(20);
/// After being asked to end, a program may take so long to clean up.
const CLEAN_UP: Duration = Duration::from_secs(30);

/// How a program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    Good,
    Bad,
    /// It was ended when its time was over.
    Overdue,
}

/// A program and all that it starts, which ends with this at the latest.
struct Group(Child);

impl Group {
    fn signal(&self, signal: Signal) {
        // The child was not waited for, so the number is still its group's.
        let _gone = kill_process_group(Pid::from_child(&self.0), signal);
    }

    /// Waits for the program to end, without taking its number from it.
    fn ends_by(&self, deadline: Instant) -> anyhow::Result<bool> {
        let program = WaitId::Pid(Pid::from_child(&self.0));
        let look = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
        while waitid(program.clone(), look)?.is_none() {
            if Instant::now() >= deadline {
                return Ok(false);
            }
            std::thread::sleep(POLL);
        }
        Ok(true)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
        drop(self.0.wait());
    }
}

/// All output goes to the file `output`.
pub fn run(mut command: Command, output: &Path, limit: Duration) -> anyhow::Result<End> {
    let file = std::fs::File::create(output)?;
    command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file).process_group(0);
    let child =
        command.spawn().with_context(|| format!("cannot start {}", command.get_program().display()))?;
    let mut group = Group(child);
    if group.ends_by(Instant::now() + limit)? {
        // What a test left behind must not disturb the next.
        group.signal(Signal::KILL);
        return Ok(if group.0.wait()?.success() { End::Good } else { End::Bad });
    }
    group.signal(Signal::TERM);
    group.ends_by(Instant::now() + CLEAN_UP)?;
    Ok(End::Overdue)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn an_end_is_good_bad_or_too_late_and_output_is_kept() {
        let output = std::env::temp_dir().join(format!("conclave-mutants-{}", std::process::id()));
        let patient = Duration::from_secs(20);
        assert_eq!(run(shell("echo seen"), &output, patient).unwrap(), End::Good);
        assert_eq!(std::fs::read_to_string(&output).unwrap(), "seen\n");
        assert_eq!(run(shell("exit 3"), &output, patient).unwrap(), End::Bad);
        let began = Instant::now();
        assert_eq!(run(shell("sleep 60"), &output, Duration::from_millis(100)).unwrap(), End::Overdue);
        assert!(began.elapsed() < CLEAN_UP);
        std::fs::remove_file(output).unwrap();
    }
}

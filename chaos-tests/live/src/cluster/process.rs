//! One server process: started in its namespace, killed, paused, and watched.

use std::fs::OpenOptions;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use rustix::process::{Pid, Signal, kill_process};

/// Longest wait for a killed process to be gone.
const GONE: Duration = Duration::from_secs(15);
const POLL: Duration = Duration::from_millis(2);

pub struct Process {
    child: Child,
    paused: bool,
}

impl Process {
    /// The command's output is appended to `log`.
    pub fn start(mut command: Command, log: &PathBuf) -> anyhow::Result<Self> {
        let output = OpenOptions::new().create(true).append(true).open(log)?;
        let child = command
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .context("cannot start a server")?;
        Ok(Self { child, paused: false })
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// SIGKILL; returns when the process is gone, and whether it was this that ended it.
    pub async fn kill(mut self) -> anyhow::Result<bool> {
        use std::os::unix::process::ExitStatusExt as _;
        self.send(Signal::KILL)?;
        let deadline = Instant::now() + GONE;
        loop {
            if let Some(status) = self.ended() {
                return Ok(status.signal() == Some(Signal::KILL.as_raw()));
            }
            anyhow::ensure!(Instant::now() < deadline, "a killed server is not gone after {GONE:?}");
            tokio::time::sleep(POLL).await;
        }
    }

    pub fn pause(&mut self) -> anyhow::Result<()> {
        self.send(Signal::STOP)?;
        self.paused = true;
        Ok(())
    }

    pub fn resume(&mut self) -> anyhow::Result<()> {
        self.paused = false;
        self.send(Signal::CONT)
    }

    pub fn is_paused(&self) -> bool {
        self.paused
    }

    /// Linux's word for it: stopped by a signal.
    pub fn is_stopped(&self) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap_or_default();
        stat.rsplit(')').next().is_some_and(|rest| rest.starts_with(" T"))
    }

    /// Whether all of its threads stand still: none is in the kernel any more.
    pub fn is_at_rest(&self) -> bool {
        let Ok(threads) = std::fs::read_dir(format!("/proc/{}/task", self.child.id())) else { return true };
        let states =
            threads.filter_map(|thread| std::fs::read_to_string(thread.ok()?.path().join("stat")).ok());
        states.into_iter().all(|stat| stat.rsplit(')').next().is_some_and(|rest| rest.starts_with(" T")))
    }

    fn send(&self, signal: Signal) -> anyhow::Result<()> {
        // Not yet waited for, so the number is still this process's, even if it has ended.
        kill_process(Pid::from_child(&self.child), signal).context("cannot signal a server")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.ended().is_none() {
            drop(self.send(Signal::KILL));
            drop(self.child.wait());
        }
        super::forget_clock(self.child.id());
    }
}

//! One server process: killed without warning, brought back with the very command line it had.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use rustix::process::{Pid, Signal, kill_process};

/// Longest wait for a process to end after a signal.
const END: Duration = Duration::from_secs(15);
/// Lines of a log that are shown when something went wrong.
const LOG_LINES: usize = 15;

pub struct Process {
    /// `None` once it has ended: its number may then belong to another process.
    running: Option<Running>,
    arguments: Vec<OsString>,
    log: PathBuf,
}

struct Running {
    pid: Pid,
    /// Only a child can be waited for; a process started by `conclave dev` is somebody else's.
    child: Option<Child>,
}

impl Process {
    /// Takes over a running process: Linux tells its command line. Its environment is not read, since a server
    /// that guards its memory hides it; what a node needs to start again stands in its flags. Only joining needs
    /// more (a token, used up by now), and a node joins once.
    pub fn adopt(pid: i32, log: &Path) -> anyhow::Result<Self> {
        let line = std::fs::read(format!("/proc/{pid}/cmdline"))
            .with_context(|| format!("process {pid} is not running"))?;
        let parts = line.split(|byte| *byte == 0).filter(|part| !part.is_empty());
        let mut arguments: Vec<OsString> = parts.map(|part| OsString::from_vec(part.to_vec())).collect();
        if let Some(at) = arguments.iter().position(|argument| argument == "--join-addr") {
            arguments.drain(at..(at + 2).min(arguments.len()));
        }
        let pid = Pid::from_raw(pid).context("a process id is never zero")?;
        Ok(Self { running: Some(Running { pid, child: None }), arguments, log: log.to_owned() })
    }

    /// Starts a process whose output is appended to `log`.
    pub fn start(arguments: Vec<OsString>, log: &Path) -> anyhow::Result<Self> {
        let running = Some(Running::start(&arguments, log)?);
        Ok(Self { running, arguments, log: log.to_owned() })
    }

    /// SIGKILL: the process gets no chance to say goodbye. Returns when it is gone.
    pub fn kill(&mut self) {
        self.end_with(Signal::KILL);
    }

    /// SIGTERM, and SIGKILL for one that does not end.
    pub fn stop(&mut self) {
        self.end_with(Signal::TERM);
        self.end_with(Signal::KILL);
    }

    /// Starts the ended process again.
    pub fn restart(&mut self) -> anyhow::Result<()> {
        anyhow::ensure!(self.running.is_none(), "the process still runs");
        self.running = Some(Running::start(&self.arguments, &self.log)?);
        Ok(())
    }

    /// Resident memory, in bytes.
    pub fn resident_bytes(&self) -> anyhow::Result<u64> {
        let running = self.running.as_ref().context("the process has ended")?;
        let status = std::fs::read_to_string(format!("/proc/{}/status", running.pid))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS line")?;
        let kibibytes: u64 = line.trim().trim_end_matches(" kB").trim().parse()?;
        Ok(kibibytes * 1024)
    }

    /// The last lines of its log, to say why it does not do what it should.
    pub fn end_of_log(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(LOG_LINES)..].join("\n")
    }

    fn end_with(&mut self, signal: Signal) {
        let Some(running) = &mut self.running else { return };
        // Fails only when the process has ended, which is what is wanted.
        let _ended = kill_process(running.pid, signal);
        let deadline = Instant::now() + END;
        while Instant::now() < deadline {
            if running.ended() {
                self.running = None;
                return;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Running {
    fn start(arguments: &[OsString], log: &Path) -> anyhow::Result<Self> {
        let output: File = OpenOptions::new().create(true).append(true).open(log)?;
        let (program, rest) = arguments.split_first().context("a command line has a program")?;
        let child = Command::new(program)
            .args(rest)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        Ok(Self { pid: Pid::from_child(&child), child: Some(child) })
    }

    fn ended(&mut self) -> bool {
        match &mut self.child {
            Some(child) => !matches!(child.try_wait(), Ok(None)),
            None => has_ended(self.pid),
        }
    }
}

/// A zombie that only waits for its parent counts as ended; one whose other threads still run may hold its locks.
fn has_ended(pid: Pid) -> bool {
    let Ok(line) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else { return true };
    let is_zombie = line.rsplit(')').next().is_some_and(|rest| rest.starts_with(" Z"));
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).map_or(0, Iterator::count);
    is_zombie && threads <= 1
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

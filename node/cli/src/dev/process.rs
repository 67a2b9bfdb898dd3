//! The server processes: start, watch, stop.
//!
//! Each has its own process group, so that an interrupt at the terminal reaches only `conclave dev`, which then stops
//! them in order.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use tokio::time::Instant;

use super::cluster_file::{ClusterFile, Node};
use crate::failure::Failure;

/// How long a server may take to end by itself.
const STOP_GRACE: Duration = Duration::from_secs(10);
/// How long the system may take to end a killed process.
const KILL_GRACE: Duration = Duration::from_secs(5);
const POLL_INTERVAL: Duration = Duration::from_millis(20);
/// How much of a log is shown when a server ends at its start, in lines and in bytes.
const LOG_TAIL_LINES: usize = 20;
const LOG_TAIL_BYTES: usize = 16 * 1024;
/// Settings of other servers that the environment may hold. A node must not join, or take a certificate, because of
/// them; tuning such as the log level passes.
const FOREIGN_SETTINGS: [&str; 12] = [
    "CONCLAVE_CONFIG",
    "CONCLAVE_NODE_NAME",
    "CONCLAVE_DATA_DIR",
    "CONCLAVE_TOKEN",
    "CONCLAVE_TLS_DISABLE",
    "CONCLAVE_TLS_CERT_FILE",
    "CONCLAVE_TLS_KEY_FILE",
    "CONCLAVE_JOIN_ADDR",
    "CONCLAVE_JOIN_TOKEN",
    "CONCLAVE_SEAL_KEY_FILE",
    "CONCLAVE_AUDIT_DIR",
    "CONCLAVE_DEV_ROOT_TOKEN",
];

/// What a node needs at its first start only.
#[derive(Default)]
pub struct FirstStart<'a> {
    pub root_token: Option<&'a str>,
    /// A member's address, and a join token of its cluster.
    pub join: Option<(&'a str, &'a str)>,
}

/// The processes that this one has started. Ends them when it is dropped, unless they were released.
#[derive(Default)]
pub struct Servers {
    running: Vec<(String, Child)>,
    released: bool,
}

impl Servers {
    /// Starts a node's server and notes its process in `node`.
    pub fn start(&mut self, node: &mut Node, first: &FirstStart<'_>) -> Result<(), Failure> {
        let fault = |error: std::io::Error| Failure::local(format!("cannot start {}: {error}", node.id));
        let program = std::env::current_exe().map_err(fault)?;
        let log = OpenOptions::new().create(true).append(true).mode(0o600).open(&node.log).map_err(fault)?;
        let mut command = Command::new(program);
        command.args(arguments(node, first)).process_group(0).stdin(Stdio::null());
        command.stdout(log.try_clone().map_err(fault)?).stderr(log);
        for name in FOREIGN_SETTINGS {
            command.env_remove(name);
        }
        // In the environment, since everybody on the machine can read a command line.
        if let Some(token) = first.root_token {
            command.env("CONCLAVE_DEV_ROOT_TOKEN", token);
        }
        if let Some((_, token)) = first.join {
            command.env("CONCLAVE_JOIN_TOKEN", token);
        }
        let child = command.spawn().map_err(fault)?;
        node.pid = Some(child.id());
        self.running.push((node.id.clone(), child));
        Ok(())
    }

    /// Fails if a server has ended, with the end of its log.
    pub fn check(&mut self, nodes: &[Node]) -> Result<(), Failure> {
        let Some((name, status)) = self.ended().into_iter().next() else { return Ok(()) };
        let log =
            nodes.iter().find(|node| node.id == name).map(|node| log_tail(&node.log)).unwrap_or_default();
        Err(Failure::refused(format!("{log}{name} ended at its start ({status})")))
    }

    /// The servers that have ended since this was last asked.
    pub fn ended(&mut self) -> Vec<(String, ExitStatus)> {
        let mut ended = Vec::new();
        self.running.retain_mut(|(name, child)| match child.try_wait() {
            Ok(Some(status)) => {
                ended.push((name.clone(), status));
                false
            }
            Ok(None) => true,
            // Not ours to wait for any more.
            Err(_) => false,
        });
        ended
    }

    pub fn is_empty(&self) -> bool {
        self.running.is_empty()
    }

    /// Lets the processes live on.
    pub fn release(&mut self) {
        self.released = true;
    }

    /// Ends all, first politely.
    pub async fn stop(&mut self) {
        for (_, child) in &self.running {
            send(child.id(), Signal::TERM);
        }
        let deadline = Instant::now() + STOP_GRACE;
        while !self.running.is_empty() && Instant::now() < deadline {
            tokio::time::sleep(POLL_INTERVAL).await;
            self.ended();
        }
        self.kill();
    }

    fn kill(&mut self) {
        for (_, child) in &mut self.running {
            // Both fail only when the process has ended already.
            let _ = child.kill();
            let _ = child.wait();
        }
        self.running.clear();
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        if !self.released {
            self.kill();
        }
    }
}

fn arguments(node: &Node, first: &FirstStart<'_>) -> Vec<String> {
    let api = node.api_addr.split_once("://").map_or(node.api_addr.as_str(), |(_, listen)| listen);
    let mut arguments = vec!["server".to_owned()];
    let mut flag = |name: &str, value: &str| arguments.extend([name.to_owned(), value.to_owned()]);
    flag("--node-name", &node.id);
    flag("--data-dir", &node.data_dir.to_string_lossy());
    flag("--api-listen", api);
    flag("--api-addr", &node.api_addr);
    flag("--cluster-listen", &node.cluster_addr);
    flag("--cluster-addr", &node.cluster_addr);
    if let Some((address, _)) = first.join {
        flag("--join-addr", address);
    }
    if node.api_addr.starts_with("http://") {
        arguments.push("--tls-disable".to_owned());
    }
    arguments
}

/// Stops every node's process, whoever started it, and returns how many ran.
pub async fn stop_all(file: &mut ClusterFile) -> usize {
    let running: Vec<_> = file.nodes.iter().filter(|node| node.running_pid().is_some()).cloned().collect();
    for (signal, grace) in [(Signal::TERM, STOP_GRACE), (Signal::KILL, KILL_GRACE)] {
        for pid in running.iter().filter_map(Node::running_pid) {
            send(pid, signal);
        }
        let deadline = Instant::now() + grace;
        while running.iter().any(|node| node.running_pid().is_some()) && Instant::now() < deadline {
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }
    for node in &mut file.nodes {
        node.pid = node.running_pid();
    }
    running.len()
}

/// Whether `pid` lives and is the server of `data_dir`. Numbers are given out again: without this, another program
/// could be stopped in the place of a server that has ended long ago.
pub fn is_server_of(pid: u32, data_dir: &Path) -> bool {
    let Some(process) = as_pid(pid) else { return false };
    if test_kill_process(process).is_err() {
        return false;
    }
    // A process that has ended but was not waited for has an empty command line.
    let Ok(line) = std::fs::read(format!("/proc/{pid}/cmdline")) else {
        // No such file system here: that the number is in use is all that can be known.
        return !Path::new("/proc/self/cmdline").exists();
    };
    let data_dir = data_dir.as_os_str().as_encoded_bytes();
    let arguments: Vec<_> = line.split(|byte| *byte == 0).collect();
    arguments.windows(2).any(|pair| pair[0] == b"--data-dir" && pair[1] == data_dir)
}

fn as_pid(pid: u32) -> Option<Pid> {
    Pid::from_raw(i32::try_from(pid).ok()?)
}

fn send(pid: u32, signal: Signal) {
    if let Some(pid) = as_pid(pid) {
        // It fails only when the process has ended already.
        let _ = kill_process(pid, signal);
    }
}

fn log_tail(path: &Path) -> String {
    let log = std::fs::read(path).unwrap_or_default();
    let tail = String::from_utf8_lossy(&log[log.len().saturating_sub(LOG_TAIL_BYTES)..]).into_owned();
    let lines: Vec<_> = tail.lines().collect();
    let mut text = String::new();
    for line in &lines[lines.len().saturating_sub(LOG_TAIL_LINES)..] {
        text.push_str(&format!("  {line}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(api_addr: &str) -> Node {
        Node {
            id: "n2".into(),
            api_addr: api_addr.into(),
            cluster_addr: "127.0.0.1:8211".into(),
            pid: None,
            data_dir: "/d/n2".into(),
            log: "/d/n2.log".into(),
        }
    }

    #[test]
    fn a_server_is_told_all_by_flags_and_no_secret() {
        let first =
            FirstStart { root_token: Some("canary-root"), join: Some(("https://m:8200", "canary-join")) };
        let line = arguments(&node("https://127.0.0.1:8210"), &first).join(" ");
        let expect = "server --node-name n2 --data-dir /d/n2 --api-listen 127.0.0.1:8210 \
            --api-addr https://127.0.0.1:8210 --cluster-listen 127.0.0.1:8211 --cluster-addr 127.0.0.1:8211 \
            --join-addr https://m:8200";
        assert_eq!(line, expect);
        let plain = arguments(&node("http://127.0.0.1:8210"), &FirstStart::default()).join(" ");
        assert!(plain.ends_with("--cluster-addr 127.0.0.1:8211 --tls-disable"), "{plain}");
    }

    /// A process with the command line of a server. Ended whatever becomes of the test.
    struct StandIn(Child);

    impl StandIn {
        fn start(data_dir: &str) -> Self {
            let script = ["-c", "while :; do sleep 1; done", "sh", "--data-dir", data_dir];
            let child =
                Command::new("sh").args(script).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
            // The command line can be read a moment after the process is there.
            assert!(soon(|| is_server_of(child.id(), Path::new(data_dir))), "{data_dir}");
            Self(child)
        }
    }

    impl Drop for StandIn {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    fn soon(condition: impl Fn() -> bool) -> bool {
        (0..250).any(|_| {
            std::thread::sleep(POLL_INTERVAL);
            condition()
        })
    }

    #[test]
    fn a_process_is_known_by_its_data_folder() {
        let mut process = StandIn::start("/d/known");
        assert!(!is_server_of(process.0.id(), Path::new("/d/other")));
        process.0.kill().unwrap();
        // Not waited for yet: it has ended all the same.
        assert!(soon(|| !is_server_of(process.0.id(), Path::new("/d/known"))));
    }

    #[tokio::test]
    async fn stopping_ends_the_processes_of_the_file_and_no_other() {
        let (mut mine, mut other) = (StandIn::start("/d/mine"), StandIn::start("/d/elsewhere"));
        let with = |process: &StandIn, dir: &str| Node {
            pid: Some(process.0.id()),
            data_dir: dir.into(),
            ..node("http://h:1")
        };
        let mut file = ClusterFile {
            nodes: vec![with(&mine, "/d/mine"), with(&other, "/d/stale")],
            ..ClusterFile::default()
        };
        assert_eq!(stop_all(&mut file).await, 1);
        assert!(file.nodes.iter().all(|node| node.pid.is_none()));
        assert!(mine.0.wait().unwrap().code().is_none());
        assert!(other.0.try_wait().unwrap().is_none());
    }

    #[test]
    fn only_the_end_of_a_log_is_shown() {
        let log = tempfile::NamedTempFile::new().unwrap();
        let lines: Vec<_> = (1..=100).map(|number| format!("line {number}")).collect();
        std::fs::write(log.path(), lines.join("\n")).unwrap();
        let tail = log_tail(log.path());
        assert_eq!(tail.lines().count(), LOG_TAIL_LINES);
        assert!(tail.ends_with("  line 100\n"));
    }
}

//! Real servers, each in its namespace: made into a cluster, broken, and mended.

mod api;
mod clocks;
mod condition;
mod crash;
mod environment;
mod found;
mod member;
mod process;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use reqwest::Method;
use serde_json::{Value, json};

use crate::disk::Disks;
use crate::net::Net;
use condition::{Condition, Spoiled};
use process::Process;

pub use api::{API_PORT, Api, Health, Probe};
pub use clocks::{Clocks, forget_clock, library};
pub use condition::minority;
pub use crash::Way;
pub use environment::Variable;

/// Port for the other nodes, in each node's namespace.
const CLUSTER_PORT: u16 = 8201;
/// Each node's audit trail, without which it answers no request.
const TRAIL: &str = "audit.log";
/// A node that is sealed this long after its start is not unsealed by its peers: someone has to come with the shares.
/// As long, it may take to join.
const PEERS_UNSEAL: Duration = Duration::from_secs(5);
/// A node that was damaged has so long to notice it and to be taken back, before somebody replaces it.
const REJOINS: Duration = Duration::from_secs(20);
/// A node that joins is left alone for so long.
const JOINING_MAX: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(100);
/// What the harness itself writes when all nodes serve again.
const HEALED: &str = "secret/data/harness/healed";
/// Longest wait until a stopped process has come back from the kernel: a sync on a busy disk takes its time.
const REST_MAX: Duration = Duration::from_secs(20);
const REST_POLL: Duration = Duration::from_millis(1);
/// Entries after which a node makes a snapshot, and entries that a node may miss without needing one: few, so that snapshots
/// are made and sent during faults.
const SNAPSHOTS: (&str, &str) = ("500", "100");
/// The same where nodes end at fail points, so that every part of it is passed every second.
const CRASH_SNAPSHOTS: (&str, &str) = ("60", "10");

/// What a cluster is given besides its network.
pub struct Needs {
    pub disks: Disks,
    pub environment: Vec<Variable>,
    pub bends_clocks: bool,
    /// How long it may take, once it was healed, until all nodes serve.
    pub heal_max: Duration,
    /// The servers have fail points.
    pub has_points: bool,
}

pub struct Cluster {
    pub net: Arc<Net>,
    program: PathBuf,
    folder: PathBuf,
    environment: Vec<Variable>,
    http: reqwest::Client,
    clocks: Option<Arc<Clocks>>,
    /// How long a cluster that was healed may take until all nodes serve.
    heal_max: Duration,
    /// Nothing while the node is down.
    processes: Vec<Mutex<Option<Process>>>,
    conditions: Vec<Mutex<Condition>>,
    /// After the processes, which use them: what is dropped first is named first.
    pub disks: Disks,
    token: String,
    shares: Vec<String>,
    /// Servers that ended although nobody killed them: node and how.
    deaths: Mutex<Vec<String>>,
    /// Whether servers look for fail points all the time.
    has_points: bool,
}

impl Cluster {
    pub fn nodes(&self) -> usize {
        self.processes.len()
    }

    pub fn token(&self) -> &str {
        &self.token
    }

    pub fn shares(&self) -> &[String] {
        &self.shares
    }

    /// The nodes' clocks, if the run bends them.
    pub fn clocks(&self) -> Option<&Arc<Clocks>> {
        self.clocks.as_ref()
    }

    pub fn heal_max(&self) -> Duration {
        self.heal_max
    }

    pub fn api(&self, node: usize) -> Api {
        Api::new(self.http.clone(), self.url(node), self.token.clone())
    }

    pub fn url(&self, node: usize) -> String {
        format!("http://{}:{API_PORT}", self.net.address(node))
    }

    pub fn log(&self, node: usize) -> PathBuf {
        self.folder.join(format!("{}.log", name(node)))
    }

    pub fn data(&self, node: usize) -> PathBuf {
        self.disks.data(node)
    }

    /// The node's audit trail.
    pub fn trail(&self, node: usize) -> PathBuf {
        self.disks.trails(node).join(TRAIL)
    }

    /// The server under test.
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// The node that says it leads; if several do, the last one asked cannot be told from the others.
    pub async fn leader(&self) -> Option<usize> {
        let asked = (0..self.nodes()).map(|node| async move { self.api(node).health().await });
        let healths = futures::future::join_all(asked).await;
        healths.iter().position(|health| *health == Health::Leads)
    }

    /// Starts the node's server, unless it runs, or a fault holds its disk and starts it later.
    pub fn start(&self, node: usize, join: Option<(&str, &str)>) -> anyhow::Result<()> {
        if self.is_taken(node) { Ok(()) } else { self.launch(node, join) }
    }

    /// For the fault that holds the node's disk.
    pub fn start_taken(&self, node: usize) -> anyhow::Result<()> {
        self.launch(node, None)
    }

    fn launch(&self, node: usize, join: Option<(&str, &str)>) -> anyhow::Result<()> {
        let mut process = self.processes[node].lock();
        if process.is_some() {
            return Ok(());
        }
        let mut command = self.net.command(node, &self.program);
        command.args(["server", "--tls-disable", "--node-name", &name(node), "--data-dir"]);
        command.arg(self.data(node));
        command.arg("--audit-dir").arg(self.disks.trails(node)).args(["--audit-file", TRAIL]);
        let address = self.net.address(node);
        command.args(["--api-listen", &format!("{address}:{API_PORT}"), "--api-addr", &self.url(node)]);
        let cluster = format!("{address}:{CLUSTER_PORT}");
        command.args(["--cluster-listen", &cluster, "--cluster-addr", &cluster]);
        let (entries, kept) = if self.has_points { CRASH_SNAPSHOTS } else { SNAPSHOTS };
        command.args(["--snapshot-after-entries", entries, "--entries-kept", kept]);
        if let Some(clocks) = &self.clocks {
            clocks.bend(&mut command, node);
        }
        for variable in self.environment.iter().filter(|variable| variable.is_for(node)) {
            command.env(&variable.name, &variable.value);
        }
        if self.has_points {
            command.env(crash::POINTS_FILE, self.points_file(node));
        }
        if let Some((member, token)) = join {
            command.env("CONCLAVE_JOIN_ADDR", member).env("CONCLAVE_JOIN_TOKEN", token);
        }
        *process = Some(Process::start(command, &self.log(node))?);
        Ok(())
    }

    /// SIGKILL. Says whether that is what ended the process.
    pub async fn kill(&self, node: usize) -> anyhow::Result<bool> {
        let process = self.processes[node].lock().take();
        match process {
            Some(process) => process.kill().await,
            None => Ok(false),
        }
    }

    /// SIGSTOP. Says whether the process stands still now.
    pub async fn pause(&self, node: usize) -> anyhow::Result<bool> {
        match self.processes[node].lock().as_mut() {
            Some(process) => process.pause()?,
            None => return Ok(false),
        }
        tokio::time::sleep(POLL).await;
        Ok(self.processes[node].lock().as_ref().is_some_and(Process::is_stopped))
    }

    /// SIGSTOP, if it runs, for a disk to be taken away from below it. The kernel may tell a process that its data was
    /// synced when the disk went away in that very moment; one that stands still tells nobody.
    pub fn halt(&self, node: usize) -> anyhow::Result<()> {
        self.processes[node].lock().as_mut().map_or(Ok(()), Process::pause)
    }

    /// After [`Cluster::halt`]: returns when the process does nothing any more, not even in the kernel.
    pub async fn rest(&self, node: usize) -> anyhow::Result<()> {
        let began = Instant::now();
        while !self.processes[node].lock().as_ref().is_none_or(Process::is_at_rest) {
            anyhow::ensure!(began.elapsed() < REST_MAX, "{} does not stand still", name(node));
            tokio::time::sleep(REST_POLL).await;
        }
        Ok(())
    }

    pub fn resume(&self, node: usize) -> anyhow::Result<()> {
        match self.processes[node].lock().as_mut() {
            Some(process) if process.is_paused() => process.resume(),
            _ => Ok(()),
        }
    }

    /// Ends every fault and waits until all nodes serve; says how long that took.
    pub async fn heal(&self) -> anyhow::Result<Duration> {
        let began = Instant::now();
        self.net.mend_all().await?;
        if let Some(clocks) = &self.clocks {
            clocks.right_all()?;
        }
        self.note_deaths();
        for node in 0..self.nodes() {
            self.resume(node)?;
            self.start(node, None)?;
        }
        let mut healths = Vec::new();
        let mut helped = vec![began; self.nodes()];
        while began.elapsed() < self.heal_max {
            healths.clear();
            for (node, helped) in helped.iter_mut().enumerate() {
                if self.is_excused(node) {
                    // What its disk did to it may end it later than the fault itself.
                    self.start(node, None)?;
                }
                let health = self.api(node).health().await;
                if self.help(node, health, helped.elapsed(), *helped > began).await {
                    *helped = Instant::now();
                }
                healths.push(health);
            }
            let leaders = healths.iter().filter(|health| **health == Health::Leads).count();
            let all_serve = leaders == 1 && healths.iter().all(|health| health.serves());
            let votes = all_serve && self.voters().await == self.nodes();
            if votes && self.tolerates().await == minority(self.nodes()) && self.commits().await {
                self.end_excuses();
                return Ok(began.elapsed());
            }
            self.note_deaths();
            tokio::time::sleep(POLL).await;
        }
        let voters = self.voters().await;
        anyhow::bail!(
            "not all nodes serve and vote {:?} after every fault has ended: {healths:?}, {voters} voters",
            self.heal_max
        )
    }

    /// Whether a write goes through. Then so has every change of the membership before it: in the middle of one, a cluster
    /// that was smaller may still need each of its nodes, and could not lose any.
    async fn commits(&self) -> bool {
        let Some(leader) = self.leader().await else { return false };
        let body = json!({"data": {"value": 0}});
        self.api(leader).call(Method::POST, HEALED, Some(&body)).await.is_ok()
    }

    /// What an operator does about a node that does not come back by itself. It is tried until it helps. Says whether
    /// anything was done: it takes its time to show, and to be disturbed would do harm.
    async fn help(&self, node: usize, health: Health, waited: Duration, again: bool) -> bool {
        let helped = match health {
            _ if self.spoiled(node) == Some(Spoiled::Untrusted) => {
                // It heals by itself if it has noticed. One that serves without a word has not.
                if self.was_taken_back(node) {
                    self.note_replaced(node);
                    return false;
                }
                if !health.serves() && waited < REJOINS {
                    return false;
                }
                self.replace(node).await
            }
            _ if waited < PEERS_UNSEAL => return false,
            Health::Sealed => self.unseal(node).await,
            // It was removed, and joining again did not go through because of another fault.
            Health::Removed | Health::NotInitialized if !again || waited >= JOINING_MAX => {
                self.join_again(node).await
            }
            _ => return false,
        };
        drop(helped);
        true
    }

    /// Gives shares until the node is unsealed.
    pub async fn unseal(&self, node: usize) -> anyhow::Result<()> {
        for share in &self.shares {
            let answer =
                self.api(node).call(Method::PUT, "sys/unseal", Some(&json!({ "key": share }))).await?;
            if answer["sealed"] == Value::Bool(false) {
                return Ok(());
            }
        }
        anyhow::bail!("{} is still sealed after all shares", name(node))
    }

    /// Ends all servers, so that nothing writes to their folders any more.
    pub async fn stop(&self) -> anyhow::Result<()> {
        for node in 0..self.nodes() {
            self.kill(node).await?;
        }
        Ok(())
    }
}

pub fn name(node: usize) -> String {
    format!("n{}", node + 1)
}

/// Version and commit, in the program's own words.
pub fn version(program: &Path) -> String {
    let output = std::process::Command::new(program).arg("--version").output();
    output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default()
}

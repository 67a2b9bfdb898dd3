//! A network of the run's own: one namespace a node, joined by a bridge in a namespace where the clients live.
//!
//! Nothing of it is in the host's namespace, so runs do not see each other and no address of the host is touched. Cuts
//! are packets dropped where they arrive, which is what a broken network looks like: nobody is told.

mod leftover;
mod pace;
pub mod probe;
mod rules;

use std::collections::BTreeMap;
use std::fs::File;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use anyhow::Context as _;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use tokio::io::AsyncWriteExt as _;

pub use leftover::{lock, remove_leftovers, unlock};
pub use rules::Cuts;

/// Where `ip netns` keeps names of namespaces.
const NAMESPACES: &str = "/run/netns";
/// First part of the name of every namespace of every run.
const PREFIX: &str = "chaos";
/// The firewall's table in each node's namespace.
const TABLE: &str = "chaos";
/// The network of each run; it exists in the run's namespaces only. The clients have the last address.
const NETWORK: [u8; 3] = [10, 213, 77];
const CLIENTS: u8 = 254;

/// The namespaces, removed when this is dropped, with whatever still runs in them.
pub struct Net {
    run: String,
    nodes: usize,
    links: tokio::sync::Mutex<Links>,
    /// Held while the run lives: who can lock it knows that this run is gone.
    _lock: Arc<File>,
}

/// What is cut now, and how many packets each fault's cuts have dropped, by the fault's id.
#[derive(Default)]
struct Links {
    cuts: BTreeMap<u64, Cuts>,
    dropped: BTreeMap<u64, u64>,
    /// Anything was done to any link since all were whole.
    touched: bool,
}

impl Net {
    pub fn new(nodes: usize) -> anyhow::Result<Self> {
        let run = std::process::id().to_string();
        let lock = Arc::new(leftover::lock(&run)?.context("another run has this process's number")?);
        let net = Self { run, nodes, links: tokio::sync::Mutex::default(), _lock: lock };
        net.build()?;
        Ok(net)
    }

    fn build(&self) -> anyhow::Result<()> {
        let hub = self.hub();
        ip(&["netns", "add", &hub])?;
        ip(&["-n", &hub, "link", "set", "lo", "up"])?;
        ip(&["-n", &hub, "link", "add", "br0", "type", "bridge"])?;
        ip(&["-n", &hub, "address", "add", &format!("{}/24", address(CLIENTS)), "dev", "br0"])?;
        ip(&["-n", &hub, "link", "set", "br0", "up"])?;
        for node in 0..self.nodes {
            let (space, port) = (self.space(node), format!("n{}", node + 1));
            ip(&["netns", "add", &space])?;
            ip(&["-n", &hub, "link", "add", &port, "type", "veth", "peer", "name", "eth0", "netns", &space])?;
            ip(&["-n", &hub, "link", "set", &port, "master", "br0", "up"])?;
            ip(&["-n", &space, "link", "set", "lo", "up"])?;
            ip(&["-n", &space, "address", "add", &format!("{}/24", self.address(node)), "dev", "eth0"])?;
            ip(&["-n", &space, "link", "set", "eth0", "up"])?;
        }
        Ok(())
    }

    /// Moves this thread, and all that it starts from now on, to where the clients live.
    pub fn enter(&self) -> anyhow::Result<()> {
        let space = File::open(Path::new(NAMESPACES).join(self.hub()))?;
        move_into_link_name_space(std::os::fd::AsFd::as_fd(&space), Some(LinkNameSpaceType::Network))
            .context("cannot enter the clients' network namespace: the run needs root")
    }

    /// The run's number, part of every name it makes.
    pub fn run(&self) -> &str {
        &self.run
    }

    pub fn nodes(&self) -> usize {
        self.nodes
    }

    pub fn address(&self, node: usize) -> Ipv4Addr {
        node_address(node)
    }

    /// A command that runs in the node's namespace, under the process number it is started with.
    pub fn command(&self, node: usize, program: &Path) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.space(node)]).arg(program);
        command
    }

    /// Adds the cuts of one fault.
    pub async fn cut(&self, fault: u64, cuts: Cuts) -> anyhow::Result<()> {
        let mut links = self.links.lock().await;
        links.touched = true;
        self.count(&mut links).await?;
        links.cuts.insert(fault, cuts);
        self.apply(&links.cuts).await
    }

    /// Takes back the cuts of one fault; says how many packets they dropped.
    pub async fn mend(&self, fault: u64) -> anyhow::Result<u64> {
        let mut links = self.links.lock().await;
        self.count(&mut links).await?;
        links.cuts.remove(&fault);
        self.apply(&links.cuts).await?;
        Ok(links.dropped.remove(&fault).unwrap_or(0))
    }

    pub async fn mend_all(&self) -> anyhow::Result<()> {
        let mut links = self.links.lock().await;
        if !links.touched {
            return Ok(());
        }
        links.cuts.clear();
        links.dropped.clear();
        for node in 0..self.nodes {
            self.quicken(node).await?;
        }
        self.apply(&links.cuts).await?;
        links.touched = false;
        Ok(())
    }

    async fn apply(&self, cuts: &BTreeMap<u64, Cuts>) -> anyhow::Result<()> {
        for node in 0..self.nodes {
            let text = rules::ruleset(TABLE, node, cuts, node_address);
            let mut command = tokio::process::Command::from(self.command(node, Path::new("nft")));
            command.args(["-f", "-"]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
            let mut child = command.spawn().context("cannot run nft")?;
            let mut input = child.stdin.take().context("nft has no standard input")?;
            input.write_all(text.as_bytes()).await?;
            drop(input);
            let output = child.wait_with_output().await?;
            let said = String::from_utf8_lossy(&output.stderr);
            anyhow::ensure!(output.status.success(), "nft refused the rules: {}", said.trim());
        }
        Ok(())
    }

    /// Notes what was dropped since the rules were last written: writing them again begins at zero.
    async fn count(&self, links: &mut Links) -> anyhow::Result<()> {
        for node in 0..self.nodes {
            let mut command = tokio::process::Command::from(self.command(node, Path::new("nft")));
            let output = command.args(["list", "ruleset"]).output().await?;
            let listing = String::from_utf8_lossy(&output.stdout);
            for fault in links.cuts.keys() {
                *links.dropped.entry(*fault).or_default() += rules::dropped(&listing, *fault);
            }
        }
        Ok(())
    }

    fn hub(&self) -> String {
        format!("{PREFIX}-{}-hub", self.run)
    }

    fn space(&self, node: usize) -> String {
        format!("{PREFIX}-{}-n{}", self.run, node + 1)
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        leftover::remove(&self.run);
    }
}

fn node_address(node: usize) -> Ipv4Addr {
    address(u8::try_from(node + 1).expect("a cluster has fewer nodes than a network addresses"))
}

fn address(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(NETWORK[0], NETWORK[1], NETWORK[2], last)
}

fn ip(arguments: &[&str]) -> anyhow::Result<()> {
    let output = Command::new("ip").args(arguments).output().context("cannot run ip: install iproute2")?;
    let said = String::from_utf8_lossy(&output.stderr);
    anyhow::ensure!(output.status.success(), "ip {}: {}", arguments.join(" "), said.trim());
    Ok(())
}

/// All namespaces by that name, whoever made them.
fn names() -> Vec<String> {
    let Ok(folder) = std::fs::read_dir(PathBuf::from(NAMESPACES)) else { return Vec::new() };
    folder.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect()
}

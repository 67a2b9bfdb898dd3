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

pub use leftover::remove_leftovers;
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
    cuts: tokio::sync::Mutex<BTreeMap<u64, Cuts>>,
    /// Held while the run lives: who can lock it knows that this run is gone.
    _lock: Arc<File>,
}

impl Net {
    pub fn new(nodes: usize) -> anyhow::Result<Self> {
        let run = std::process::id().to_string();
        let lock = Arc::new(leftover::lock(&run)?.context("another run has this process's number")?);
        let net = Self { run, nodes, cuts: tokio::sync::Mutex::default(), _lock: lock };
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
        let mut all = self.cuts.lock().await;
        all.insert(fault, cuts);
        self.apply(&all).await
    }

    /// Takes back the cuts of one fault; says how many packets were dropped in the meantime, whichever fault it was.
    pub async fn mend(&self, fault: u64) -> anyhow::Result<u64> {
        let mut all = self.cuts.lock().await;
        let mut dropped = 0;
        for node in 0..self.nodes {
            dropped += self.dropped(node).await?;
        }
        all.remove(&fault);
        self.apply(&all).await?;
        Ok(dropped)
    }

    pub async fn mend_all(&self) -> anyhow::Result<()> {
        let mut all = self.cuts.lock().await;
        all.clear();
        for node in 0..self.nodes {
            self.quicken(node).await?;
        }
        self.apply(&all).await
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

    /// Packets that the node's rules have dropped since they were last written.
    async fn dropped(&self, node: usize) -> anyhow::Result<u64> {
        let mut command = tokio::process::Command::from(self.command(node, Path::new("nft")));
        let output = command.args(["list", "ruleset"]).output().await?;
        Ok(counted(&String::from_utf8_lossy(&output.stdout)))
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

/// The sum of all packet counters in a listing of nft's.
fn counted(listing: &str) -> u64 {
    let words: Vec<&str> = listing.split_whitespace().collect();
    words.windows(2).filter(|pair| pair[0] == "packets").filter_map(|pair| pair[1].parse::<u64>().ok()).sum()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dropped_packets_are_summed_over_all_rules() {
        let listing = "ip saddr 10.0.0.1 counter packets 12 bytes 720 drop\n\
                       ip saddr 10.0.0.2 counter packets 3 bytes 180 drop";
        assert_eq!(counted(listing), 15);
    }
}

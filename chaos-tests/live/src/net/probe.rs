//! What this machine and its kernel can do. What they cannot is said, and not counted.

use std::process::{Command, Stdio};

use anyhow::Context as _;

use super::{Net, PREFIX, ip};

/// Programs the network is made with, and the Debian package of each.
const TOOLS: &[(&str, &str)] = &[("ip", "iproute2"), ("nft", "nftables"), ("tc", "iproute2")];

/// What is missing before anything can start, as one sentence.
pub fn requirements() -> anyhow::Result<()> {
    anyhow::ensure!(
        rustix::process::geteuid().is_root(),
        "the run needs root: it makes network namespaces and firewall rules in them"
    );
    for (tool, package) in TOOLS {
        let found = Command::new(tool).arg("-V").stdout(Stdio::null()).stderr(Stdio::null()).status();
        anyhow::ensure!(found.is_ok(), "the program '{tool}' is missing: apt-get install {package}");
    }
    let space = format!("{PREFIX}-{}-probe", std::process::id());
    ip(&["netns", "add", &space]).context("network namespaces cannot be made here")?;
    ip(&["netns", "delete", &space])
}

/// Sentences about what cannot be exercised here.
pub fn limits(net: &Net) -> Vec<String> {
    let mut limits = Vec::new();
    let hub = net.hub();
    let netem = ["qdisc", "add", "dev", "br0", "root", "netem", "delay", "1ms"];
    let probed = Command::new("tc").args(["-n", &hub]).args(netem).stderr(Stdio::null()).status();
    if probed.is_ok_and(|status| status.success()) {
        drop(Command::new("tc").args(["-n", &hub, "qdisc", "delete", "dev", "br0", "root"]).status());
    } else {
        limits.push("this kernel has no netem: no delayed, doubled or reordered packets".to_owned());
    }
    limits
}

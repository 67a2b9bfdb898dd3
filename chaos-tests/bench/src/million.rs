//! A cluster with very many secrets: what it costs in memory and disk, how soon a node is back, how long a takeover is.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use serde_json::json;

use crate::arguments::Arguments;
use crate::cluster::{Audit, Cluster, eventually};
use crate::failover::{self, Failover};
use crate::report::Report;
use crate::say;

/// Requests in flight while the secrets are written.
const AT_ONCE: u64 = 64;
/// Kills of the leader in the full cluster.
const KILLS: u32 = 5;

pub struct Million {
    pub secrets: u64,
    pub fill: Duration,
    /// Of the node that has most.
    pub resident_bytes: u64,
    pub disk_bytes: u64,
    /// From starting a killed node to its first linearizable read.
    pub restart: Duration,
    pub takeover: Failover,
}

pub async fn measure(arguments: &Arguments, report: &mut Report) -> anyhow::Result<()> {
    let mut cluster = Cluster::conclave(&arguments.conclave, Audit::Off).await?;
    say(format_args!("Conclave: writing {} secrets", arguments.secrets));
    let started = Instant::now();
    fill(&cluster, arguments.secrets).await?;
    let fill = started.elapsed();
    let resident_bytes = resident_bytes(&cluster)?;
    let disk_bytes = size_bytes(cluster.data_folder())? / cluster.nodes.len() as u64;
    let restart = restart_follower(&mut cluster, arguments.secrets).await?;
    let takeover = failover::kill_repeatedly(&mut cluster, KILLS).await?;
    cluster.stop();
    report.million(&Million {
        secrets: arguments.secrets,
        fill,
        resident_bytes,
        disk_bytes,
        restart,
        takeover,
    });
    Ok(())
}

async fn fill(cluster: &Cluster, secrets: u64) -> anyhow::Result<()> {
    let leader = cluster.leader().await?;
    let secret = |number| {
        let body = json!({"data": {"user": format!("user-{number}"), "password": format!("{number:064}")}});
        (format!("secret/data/{}", path_of(number)), body)
    };
    cluster.put_many(leader, AT_ONCE, secrets, secret).await.context("cannot write the secrets")
}

/// A thousand teams with their services, as such a cluster would look.
fn path_of(number: u64) -> String {
    format!("team-{}/service-{}", number % 1000, number / 1000)
}

async fn restart_follower(cluster: &mut Cluster, secrets: u64) -> anyhow::Result<Duration> {
    let leader = cluster.leader().await?;
    let follower = (leader + 1) % cluster.nodes.len();
    cluster.nodes[follower].process.kill();
    let started = Instant::now();
    cluster.nodes[follower].process.restart()?;
    let api = cluster.api(follower);
    let path = format!("secret/data/{}", path_of(secrets - 1));
    let reads = async || Ok(api.get(&path).await?.status == 200);
    eventually("the restarted node reads", reads)
        .await
        .with_context(|| format!("its log ends:\n{}", cluster.nodes[follower].process.end_of_log()))?;
    Ok(started.elapsed())
}

fn resident_bytes(cluster: &Cluster) -> anyhow::Result<u64> {
    let mut most = 0;
    for node in &cluster.nodes {
        most = most.max(node.process.resident_bytes()?);
    }
    Ok(most)
}

pub fn size_bytes(folder: &Path) -> anyhow::Result<u64> {
    let mut total = 0;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        // A file may be compacted away between listing and looking.
        let Ok(metadata) = entry.metadata() else { continue };
        total += if metadata.is_dir() { size_bytes(&entry.path())? } else { metadata.len() };
    }
    Ok(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_secret_has_its_own_path() {
        let paths: std::collections::BTreeSet<String> = (0..5_000).map(path_of).collect();
        assert_eq!(paths.len(), 5_000);
    }

    #[test]
    fn sizes_are_summed_over_folders() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("a")).unwrap();
        std::fs::write(folder.path().join("a/x"), [0; 10]).unwrap();
        std::fs::write(folder.path().join("y"), [0; 5]).unwrap();
        assert_eq!(size_bytes(folder.path()).unwrap(), 15);
    }
}

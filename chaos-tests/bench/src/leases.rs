//! A cluster with very many leases of tokens: what they cost in memory, and whether a takeover takes longer with them.
//!
//! Each is an AppRole login, one replicated transaction. Figures with none are of a cluster like it that was not filled.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use serde_json::json;

use crate::arguments::Arguments;
use crate::cluster::{Audit, Cluster};
use crate::failover::{self, Failover};
use crate::report::Report;
use crate::say;

/// Logins in flight at each node.
const TASKS_PER_NODE: u64 = 32;
/// Kills of the leader in each cluster.
const KILLS: u32 = 5;
/// The role that all log in with.
const ROLE: &str = "bench";

pub struct Leases {
    pub leases: u64,
    pub fill: Duration,
    /// Of the follower that has most: with none, and with all.
    pub resident_bytes: [u64; 2],
    pub takeover: [Failover; 2],
}

pub async fn measure(arguments: &Arguments, report: &mut Report) -> anyhow::Result<()> {
    let leases = arguments.leases;
    let empty = Cluster::conclave(&arguments.conclave, Audit::Off).await?;
    let before = failover::measure(empty, KILLS).await?;
    let mut cluster = Cluster::conclave(&arguments.conclave, Audit::Off).await?;
    prepare(&cluster).await?;
    let resident_before = resident_bytes(&cluster).await?;
    say(format_args!("Conclave: {leases} logins"));
    let started = Instant::now();
    fill(&cluster, leases).await?;
    let fill = started.elapsed();
    let counted = counted(&cluster).await?;
    anyhow::ensure!(counted == leases, "the cluster counts {counted} leases after {leases} logins");
    let resident_bytes = [resident_before, resident_bytes(&cluster).await?];
    let after = failover::kill_repeatedly(&mut cluster, KILLS).await?;
    cluster.stop();
    report.leases(&Leases { leases, fill, resident_bytes, takeover: [before, after] });
    Ok(())
}

/// One login too, so that the role's entity is there.
async fn prepare(cluster: &Cluster) -> anyhow::Result<()> {
    let api = cluster.api(cluster.leader().await?);
    api.put("sys/auth/approle", &json!({ "type": "approle" })).await?;
    let role = json!({
        "role_id": ROLE, "bind_secret_id": false, "secret_id_bound_cidrs": "127.0.0.0/8", "token_ttl": "24h",
    });
    api.put("auth/approle/role/bench", &role).await?;
    api.put("auth/approle/login", &json!({ "role_id": ROLE })).await?;
    api.put("sys/leases/revoke-prefix/auth/approle", &json!({})).await?;
    Ok(())
}

/// At all nodes at once.
async fn fill(cluster: &Cluster, leases: u64) -> anyhow::Result<()> {
    let nodes = cluster.nodes.len() as u64;
    let login = |_| ("auth/approle/login".to_owned(), json!({ "role_id": ROLE }));
    let of_node = |node: u64| leases / nodes + u64::from(node < leases % nodes);
    let all = (0..nodes).map(|node| cluster.put_many(node as usize, TASKS_PER_NODE, of_node(node), login));
    futures::future::try_join_all(all).await.context("cannot log in").map(drop)
}

async fn counted(cluster: &Cluster) -> anyhow::Result<u64> {
    let answer = cluster.api(cluster.leader().await?).get("sys/leases/count?type=all").await?.json()?;
    answer["data"]["lease_count"].as_u64().context("the leases are not counted")
}

async fn resident_bytes(cluster: &Cluster) -> anyhow::Result<u64> {
    let leader = cluster.leader().await?;
    let mut most = 0;
    for (_, node) in cluster.nodes.iter().enumerate().filter(|(node, _)| *node != leader) {
        most = most.max(node.process.resident_bytes()?);
    }
    Ok(most)
}

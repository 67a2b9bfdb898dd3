//! Reads and writes a second, at the leader and at a follower, of both systems; then the ceilings.

use anyhow::Context as _;
use serde_json::json;

use crate::arguments::Arguments;
use crate::cluster::Cluster;
use crate::load::{KEYS, Load, Rate, VALUE_BYTES, write_scripts};
use crate::report::Report;
use crate::{ceiling, say};

/// One system's figures with this many connections.
pub struct Throughput {
    pub connections: u32,
    pub read_leader: Rate,
    pub read_followers: Vec<Rate>,
    pub write_leader: Rate,
    pub write_follower: Rate,
}

pub async fn measure(arguments: &Arguments, report: &mut Report) -> anyhow::Result<()> {
    let conclave = Cluster::conclave(&arguments.conclave).await?;
    let all_ours = measure_cluster(&conclave, arguments).await?;
    // The ceiling answers with the very bytes of this cluster.
    let sample = conclave.api(0).get("secret/data/bench/0").await?;
    conclave.stop();

    let openbao = Cluster::openbao(&arguments.bao()).await?;
    let all_theirs = measure_cluster(&openbao, arguments).await?;
    openbao.stop();

    for (ours, theirs) in all_ours.iter().zip(&all_theirs) {
        let connections = ours.connections;
        say(format_args!("ceiling: a bare hyper server with the same bytes, {connections} connections"));
        let reads = ceiling::bare_http(sample.clone(), connections, arguments.seconds).await?;
        say(format_args!("ceiling: bare openraft on RocksDB with fsync, three nodes, {connections} writers"));
        let writes = ceiling::bare_raft(connections, arguments.seconds).await?;
        report.throughput(ours, theirs, &reads, writes);
    }
    Ok(())
}

async fn measure_cluster(cluster: &Cluster, arguments: &Arguments) -> anyhow::Result<Vec<Throughput>> {
    fill(cluster).await?;
    let mut measured = Vec::new();
    for &connections in &arguments.connections {
        measured.push(measure_with(cluster, connections, arguments.seconds).await?);
    }
    Ok(measured)
}

async fn measure_with(cluster: &Cluster, connections: u32, seconds: u64) -> anyhow::Result<Throughput> {
    let scripts = tempfile::tempdir()?;
    let (read, write) = write_scripts(scripts.path())?;
    let leader = cluster.leader().await?;
    let followers: Vec<usize> = (0..cluster.nodes.len()).filter(|node| *node != leader).collect();
    let run = async |node: usize, script: &std::path::Path, what: &str| {
        let load = Load {
            address: cluster.nodes[node].address.clone(),
            token: cluster.token.clone(),
            script: script.to_owned(),
            connections,
            seconds,
        };
        let rate = load.run().await?;
        say(format_args!("{}: {what}, {connections} connections: {:.0} /s", cluster.name, rate.per_second));
        anyhow::Ok(rate)
    };
    let read_leader = run(leader, &read, "read at the leader").await?;
    let mut read_followers = Vec::new();
    for follower in &followers {
        read_followers.push(run(*follower, &read, "read at a follower").await?);
    }
    let write_leader = run(leader, &write, "write at the leader").await?;
    let write_follower = run(followers[0], &write, "write at a follower").await?;
    anyhow::ensure!(
        cluster.leader().await? == leader,
        "{}: the leader changed while it was measured",
        cluster.name
    );
    Ok(Throughput { connections, read_leader, read_followers, write_leader, write_follower })
}

/// Every secret that the load reads exists before it starts.
async fn fill(cluster: &Cluster) -> anyhow::Result<()> {
    const TASKS: u32 = 16;
    say(format_args!("{}: writing {KEYS} secrets to read", cluster.name));
    let leader = cluster.leader().await?;
    let body = json!({"data": {"value": "x".repeat(VALUE_BYTES)}});
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..TASKS {
        let (api, body) = (cluster.api(leader), body.clone());
        tasks.spawn(async move {
            for key in (task..KEYS).step_by(TASKS as usize) {
                api.put(&format!("secret/data/bench/{key}"), &body).await?;
            }
            anyhow::Ok(())
        });
    }
    while let Some(done) = tasks.join_next().await {
        done?.context("cannot write the secrets to read")?;
    }
    Ok(())
}

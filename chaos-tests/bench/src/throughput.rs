//! Requests a second, at the leader and at followers, of both systems; then the ceilings.

use anyhow::Context as _;
use serde_json::json;

use crate::arguments::Arguments;
use crate::cluster::{Audit, Cluster};
use crate::cores::Cores;
use crate::load::{KEYS, Load, Rate, VALUE_BYTES, Work};
use crate::report::Report;
use crate::{ceiling, say};

/// What is asked of whom.
pub struct Figure {
    pub work: Work,
    pub at: At,
}

#[derive(Clone, Copy)]
pub enum At {
    Leader,
    Follower(usize),
}

const fn figure(work: Work, at: At) -> Figure {
    Figure { work, at }
}

/// Measured without an audit trail.
pub const SECRETS: [Figure; 5] = [
    figure(Work::Read, At::Leader),
    figure(Work::Read, At::Follower(0)),
    figure(Work::Read, At::Follower(1)),
    figure(Work::Write, At::Leader),
    figure(Work::Write, At::Follower(0)),
];

/// Measured with one.
pub const AUDITED: [Figure; 8] = [
    figure(Work::Read, At::Leader),
    figure(Work::Read, At::Follower(0)),
    figure(Work::Write, At::Leader),
    figure(Work::Write, At::Follower(0)),
    figure(Work::Lookup, At::Leader),
    figure(Work::Lookup, At::Follower(0)),
    figure(Work::Login, At::Leader),
    figure(Work::Login, At::Follower(0)),
];

/// The rates of one system with this many connections, in the order of the figures.
pub struct Throughput {
    pub connections: u32,
    pub rates: Vec<Rate>,
}

pub async fn measure(arguments: &Arguments, cores: Cores, report: &mut Report) -> anyhow::Result<()> {
    let conclave = Cluster::conclave(&arguments.conclave, Audit::Off).await?;
    let all_ours = measure_cluster(&conclave, &SECRETS, arguments, cores).await?;
    // The ceiling answers with the very bytes of this cluster.
    let sample = conclave.api(0).get("secret/data/bench/0").await?;
    conclave.stop();

    let openbao = Cluster::openbao(&arguments.bao(), Audit::Off).await?;
    let all_theirs = measure_cluster(&openbao, &SECRETS, arguments, cores).await?;
    openbao.stop();

    for (ours, theirs) in all_ours.iter().zip(&all_theirs) {
        let connections = ours.connections;
        say(format_args!("ceiling: a bare hyper server with the same bytes, {connections} connections"));
        let reads = ceiling::bare_http(sample.clone(), connections, arguments.seconds, cores).await?;
        say(format_args!("ceiling: bare openraft on RocksDB with fsync, three nodes, {connections} writers"));
        let writes = ceiling::bare_raft(connections, arguments.seconds).await?;
        report.throughput(ours, theirs, &reads, writes);
    }
    Ok(())
}

/// The same with a trail that records every request: one file a node, of both systems.
pub async fn measure_audited(arguments: &Arguments, cores: Cores, report: &mut Report) -> anyhow::Result<()> {
    let conclave = Cluster::conclave(&arguments.conclave, Audit::File).await?;
    let all_ours = measure_cluster(&conclave, &AUDITED, arguments, cores).await?;
    conclave.stop();
    let openbao = Cluster::openbao(&arguments.bao(), Audit::File).await?;
    let all_theirs = measure_cluster(&openbao, &AUDITED, arguments, cores).await?;
    openbao.stop();
    for (ours, theirs) in all_ours.iter().zip(&all_theirs) {
        report.audited(ours, theirs);
    }
    Ok(())
}

async fn measure_cluster(
    cluster: &Cluster,
    figures: &[Figure],
    arguments: &Arguments,
    cores: Cores,
) -> anyhow::Result<Vec<Throughput>> {
    fill(cluster).await?;
    let scripts = tempfile::tempdir()?;
    let app = figures.iter().any(|figure| figure.work == Work::Login);
    let app = if app { Some(cluster.app_role().await?) } else { None };
    let mut measured = Vec::new();
    for &connections in &arguments.connections {
        let mut rates = Vec::new();
        let leader = cluster.leader().await?;
        let followers: Vec<usize> = (0..cluster.nodes.len()).filter(|node| *node != leader).collect();
        for Figure { work, at } in figures {
            let node = match at {
                At::Leader => leader,
                At::Follower(number) => followers[*number],
            };
            let load = Load {
                address: cluster.nodes[node].address.clone(),
                token: cluster.token.clone(),
                script: work.script(scripts.path(), app.as_ref())?,
                connections,
                seconds: arguments.seconds,
                cores,
            };
            let rate = load.run().await?;
            let per_second = rate.per_second;
            say(format_args!(
                "{}: {work}, {at}, {connections} connections: {per_second:.0} /s",
                cluster.name
            ));
            rates.push(rate);
        }
        anyhow::ensure!(
            cluster.leader().await? == leader,
            "{}: the leader changed while it was measured",
            cluster.name
        );
        measured.push(Throughput { connections, rates });
    }
    Ok(measured)
}

impl std::fmt::Display for At {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Leader => f.write_str("at the leader"),
            Self::Follower(number) => write!(f, "at follower {}", number + 1),
        }
    }
}

/// Every secret that the load reads exists before it starts.
async fn fill(cluster: &Cluster) -> anyhow::Result<()> {
    const AT_ONCE: u64 = 16;
    say(format_args!("{}: writing {KEYS} secrets to read", cluster.name));
    let leader = cluster.leader().await?;
    let body = json!({"data": {"value": "x".repeat(VALUE_BYTES)}});
    let secret = move |key| (format!("secret/data/bench/{key}"), body.clone());
    let filled = cluster.put_many(leader, AT_ONCE, KEYS.into(), secret).await;
    filled.context("cannot write the secrets to read")
}

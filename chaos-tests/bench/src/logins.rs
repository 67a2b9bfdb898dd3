//! Very many machines log in: what do their tokens leave in memory and on disk?

use anyhow::Context as _;
use serde_json::json;

use crate::arguments::Arguments;
use crate::cluster::{Audit, Cluster};
use crate::million::size_bytes;
use crate::report::Report;
use crate::say;

/// Logins in flight.
const AT_ONCE: u64 = 64;

pub struct Logins {
    pub count: u32,
    pub memory_bytes: u64,
    pub disk_bytes: u64,
}

pub async fn measure(arguments: &Arguments, report: &mut Report) -> anyhow::Result<()> {
    let conclave = Cluster::conclave(&arguments.conclave, Audit::Off).await?;
    let ours = measure_cluster(conclave, arguments.logins).await?;
    let openbao = Cluster::openbao(&arguments.bao(), Audit::Off).await?;
    let theirs = measure_cluster(openbao, arguments.logins).await?;
    report.logins(&ours, &theirs);
    Ok(())
}

async fn measure_cluster(cluster: Cluster, count: u32) -> anyhow::Result<Logins> {
    let leader = cluster.leader().await?;
    let app = cluster.app_role().await?;
    let body = json!({"role_id": app.role_id, "secret_id": app.secret_id});
    // What a system needs for its first logins is not the logins' own.
    log_in(&cluster, leader, &body, AT_ONCE).await?;
    let node = &cluster.nodes[leader].process;
    let (memory, disk) = (node.resident_bytes()?, size_bytes(cluster.data_folder())?);
    say(format_args!("{}: {count} logins", cluster.name));
    log_in(&cluster, leader, &body, count.into()).await?;
    let logins = Logins {
        count,
        memory_bytes: node.resident_bytes()?.saturating_sub(memory),
        disk_bytes: size_bytes(cluster.data_folder())?.saturating_sub(disk) / cluster.nodes.len() as u64,
    };
    cluster.stop();
    Ok(logins)
}

async fn log_in(cluster: &Cluster, node: usize, body: &serde_json::Value, count: u64) -> anyhow::Result<()> {
    let body = body.clone();
    let login = move |_| ("auth/approle/login".to_owned(), body.clone());
    cluster.put_many(node, AT_ONCE, count, login).await.context("cannot log in")
}

//! Very many machines log in: what do their tokens leave in memory and on disk?

use anyhow::Context as _;
use serde_json::json;

use crate::arguments::Arguments;
use crate::cluster::{Audit, Cluster};
use crate::million::size_bytes;
use crate::report::Report;
use crate::say;

/// Logins in flight.
const TASKS: u32 = 64;

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
    log_in(&cluster, leader, &body, TASKS).await?;
    let node = &cluster.nodes[leader].process;
    let (memory, disk) = (node.resident_bytes()?, size_bytes(cluster.data_folder())?);
    say(format_args!("{}: {count} logins", cluster.name));
    log_in(&cluster, leader, &body, count).await?;
    let logins = Logins {
        count,
        memory_bytes: node.resident_bytes()?.saturating_sub(memory),
        disk_bytes: size_bytes(cluster.data_folder())?.saturating_sub(disk) / cluster.nodes.len() as u64,
    };
    cluster.stop();
    Ok(logins)
}

async fn log_in(cluster: &Cluster, node: usize, body: &serde_json::Value, count: u32) -> anyhow::Result<()> {
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..TASKS {
        let (api, body) = (cluster.api(node), body.clone());
        tasks.spawn(async move {
            for _ in (task..count).step_by(TASKS as usize) {
                api.put("auth/approle/login", &body).await?;
            }
            anyhow::Ok(())
        });
    }
    while let Some(done) = tasks.join_next().await {
        done?.context("cannot log in")?;
    }
    Ok(())
}

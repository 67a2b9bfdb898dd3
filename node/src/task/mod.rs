//! What no request asks for: unsealing itself, and what the leader does in the background.
//!
//! Each task is a loop of its own that survives every failure, says what it could not do, and tries again. None holds
//! state that matters: all of it can be lost with the process.

mod audit;
mod certificates;
mod leader;
mod replica;
mod unseal;

use std::sync::Arc;

use tokio::sync::watch;

use crate::service::Service;

/// Runs all tasks from the moment the node is a member until `stopping` turns true.
pub async fn run(service: Arc<Service>, mut stopping: watch::Receiver<bool>) {
    let mut joined = service.node().joined();
    tokio::select! {
        _ = stopping.wait_for(|stop| *stop) => return,
        joined = joined.wait_for(|joined| *joined) => if joined.is_err() { return },
    }
    let Some(cluster) = service.node().cluster() else { return };
    let node = Arc::clone(service.node());
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(unseal::run(Arc::clone(&node), Arc::clone(&cluster)));
    tasks.spawn(leader::run(Arc::clone(&cluster)));
    tasks.spawn(replica::run(Arc::clone(&node), Arc::clone(&cluster)));
    tasks.spawn(audit::run(Arc::clone(&service), Arc::clone(&cluster)));
    tasks.spawn(certificates::run(node, cluster));
    // Dropping the set ends the tasks, wherever they wait.
    let _ = stopping.wait_for(|stop| *stop).await;
}

//! After healing, every node serves everything: each key and each folder, at each node.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use conclave_oracle::history::{Action, Freshness, Operation, Outcome};

use crate::client::{Client, Shared, folders, keys};
use crate::cluster::{Cluster, name};

/// How long a node that serves may take until it has answered everything.
const ALL_MAX: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(200);

/// Asks for everything that may still be asked for; the answers are part of the history. Tells which node did not answer.
pub async fn everywhere(cluster: &Cluster, shared: &Arc<Shared>) -> anyhow::Result<Vec<String>> {
    let mut missing = Vec::new();
    for node in 0..cluster.nodes() {
        let mut client = Client::observer(node, shared.clone())?;
        let began = Instant::now();
        for action in everything(epochs(shared)) {
            while !matches!(client.ask(node, &action).await?, Outcome::Ok(_)) {
                if began.elapsed() > cluster.heal_max() {
                    missing.push(format!("{} does not serve everything after healing", name(node)));
                    return Ok(missing);
                }
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
    Ok(missing)
}

/// What a node shows of these epochs, without a place in the history; nothing if it does not answer in time. Each answer
/// is a client's of its own.
pub async fn observed(
    node: usize,
    shared: &Arc<Shared>,
    epochs: RangeInclusive<u64>,
) -> anyhow::Result<Option<Vec<Operation>>> {
    let began = Instant::now();
    let mut seen = Vec::new();
    for action in everything(epochs) {
        let client = Client::observer(node, shared.clone())?;
        loop {
            let operation = client.look(node, &action).await?;
            if matches!(operation.outcome, Outcome::Ok(_)) {
                seen.push(operation);
                break;
            }
            if began.elapsed() > ALL_MAX {
                return Ok(None);
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
    Ok(Some(seen))
}

fn epochs(shared: &Shared) -> RangeInclusive<u64> {
    shared.oldest_epoch.load(Ordering::Relaxed)..=shared.epoch.load(Ordering::Relaxed)
}

fn everything(epochs: RangeInclusive<u64>) -> Vec<Action> {
    let reads = keys(epochs.clone()).map(|key| Action::Read { key, freshness: Freshness::Linearizable });
    reads.chain(folders(epochs).map(|folder| Action::List { folder })).collect()
}

//! A writer as a client would be: many small writes through all nodes, retried as `bao` retries, all remembered.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::harness::Cluster;

/// As Vault's Go client: twice more, a second apart.
const RETRIES: usize = 2;
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// What a writer saw.
#[derive(Default)]
pub struct Report {
    /// Paths and values whose write was acknowledged.
    pub acknowledged: Vec<(String, String)>,
    /// Requests that failed after all retries.
    pub failed: Vec<String>,
    /// The longest time between two acknowledged writes.
    pub longest_gap: Duration,
}

/// Writes through the nodes in turn until told to stop. Every value is new.
pub async fn write_until(
    cluster: Arc<Cluster>,
    name: &str,
    nodes: Vec<usize>,
    stop: Arc<AtomicBool>,
) -> Report {
    let mut report = Report::default();
    let mut last = Instant::now();
    for round in 0_usize.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let path = format!("load/{name}/{round}");
        let value = format!("{name}-{round}");
        let body = json!({ "data": { "value": value } });
        match retry(&cluster, &nodes, round, &path, &body).await {
            Ok(()) => {
                report.longest_gap = report.longest_gap.max(last.elapsed());
                last = Instant::now();
                report.acknowledged.push((path, value));
            }
            Err(reason) => report.failed.push(format!("{path}: {reason}")),
        }
    }
    report
}

async fn retry(
    cluster: &Cluster,
    nodes: &[usize],
    round: usize,
    path: &str,
    body: &Value,
) -> Result<(), String> {
    let mut reason = String::new();
    for attempt in 0..=RETRIES {
        if attempt > 0 {
            tokio::time::sleep(RETRY_PAUSE).await;
        }
        let node = nodes[(round + attempt) % nodes.len()];
        let url = format!("secret/data/{path}");
        match cluster.try_call(node, "POST", &url, body.clone(), &[]).await {
            Ok(answer) if answer.status == 200 => return Ok(()),
            Ok(answer) => reason = format!("{} {}", answer.status, answer.text),
            Err(error) => reason = error.to_string(),
        }
    }
    Err(reason)
}

/// Every acknowledged write must be readable through `node`.
pub async fn check_all_there(cluster: &Cluster, node: usize, report: &Report) {
    assert!(!report.acknowledged.is_empty(), "nothing was written");
    for (path, value) in &report.acknowledged {
        assert_eq!(
            cluster.get(node, path).await.as_ref(),
            Some(value),
            "{path} was acknowledged and is lost"
        );
    }
}

//! The leader is killed again and again: how long are writes gone, and does a patient client notice?
//!
//! Two kinds of clients write through the surviving nodes. An eager one repeats at once and so sees the gap;
//! a patient one retries as `bao` does (twice, a second apart) and must never fail.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use http::Method;
use serde_json::json;

use crate::cluster::Cluster;
use crate::http::Api;
use crate::say;

/// Retries of `bao` and the pause before each.
const PATIENT_RETRIES: u32 = 2;
const PATIENT_PAUSE: Duration = Duration::from_secs(1);
const PATIENT_TIMEOUT: Duration = Duration::from_secs(60);
/// The eager client asks again this soon after an error, and gives one attempt this long.
const EAGER_PAUSE: Duration = Duration::from_millis(5);
const EAGER_TIMEOUT: Duration = Duration::from_secs(1);
/// Writers run this long before the kill, and after the first write that followed it.
const BEFORE: Duration = Duration::from_millis(500);
const AFTER: Duration = Duration::from_secs(1);
/// Longest time in which writes must come back.
const GONE_MAX: Duration = Duration::from_secs(60);

pub struct Failover {
    /// Of each kill, the longest time that an eager writer went without an acknowledged write.
    pub gaps: Vec<Duration>,
    /// Requests of patient clients: made, and failed.
    pub patient: u64,
    pub patient_failed: u64,
}

impl Failover {
    pub fn median(&self) -> Duration {
        let mut gaps = self.gaps.clone();
        gaps.sort();
        gaps.get(gaps.len() / 2).copied().unwrap_or_default()
    }

    pub fn longest(&self) -> Duration {
        self.gaps.iter().max().copied().unwrap_or_default()
    }
}

pub async fn measure(mut cluster: Cluster, kills: u32) -> anyhow::Result<Failover> {
    let outcome = kill_repeatedly(&mut cluster, kills).await?;
    cluster.stop();
    Ok(outcome)
}

pub async fn kill_repeatedly(cluster: &mut Cluster, kills: u32) -> anyhow::Result<Failover> {
    let mut outcome = Failover { gaps: Vec::new(), patient: 0, patient_failed: 0 };
    for kill in 1..=kills {
        let leader = cluster.leader().await?;
        let episode = Episode::start(cluster, leader);
        tokio::time::sleep(BEFORE).await;
        let killed = Instant::now();
        cluster.nodes[leader].process.kill();
        let (gap, patient, failed) = episode.finish(killed).await?;
        say(format_args!("{}: kill {kill} of {kills}: writes gone for {} ms", cluster.name, gap.as_millis()));
        outcome.gaps.push(gap);
        outcome.patient += patient;
        outcome.patient_failed += failed;
        cluster.bring_back(leader).await?;
        cluster.leader().await?;
        // A node that has just come back is not yet caught up: the next kill must not meet a cluster of two.
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
    Ok(outcome)
}

/// The writers around one kill.
struct Episode {
    stop: Arc<AtomicBool>,
    acknowledged: Arc<AtomicU64>,
    eager: Vec<tokio::task::JoinHandle<Vec<Instant>>>,
    patient: Vec<tokio::task::JoinHandle<(u64, u64)>>,
}

impl Episode {
    fn start(cluster: &Cluster, leader: usize) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let acknowledged = Arc::new(AtomicU64::new(0));
        let mut episode = Self { stop, acknowledged, eager: Vec::new(), patient: Vec::new() };
        for node in (0..cluster.nodes.len()).filter(|node| *node != leader) {
            let (stop, acknowledged) = (episode.stop.clone(), episode.acknowledged.clone());
            episode.eager.push(tokio::spawn(write_eagerly(cluster.api(node), node, stop, acknowledged)));
            episode.patient.push(tokio::spawn(write_patiently(
                cluster.api(node),
                node,
                episode.stop.clone(),
            )));
        }
        episode
    }

    /// Waits until every eager writer had a write acknowledged after `killed`, then stops all.
    async fn finish(self, killed: Instant) -> anyhow::Result<(Duration, u64, u64)> {
        let seen = self.acknowledged.load(Ordering::Relaxed);
        while self.acknowledged.load(Ordering::Relaxed) < seen + 20 {
            anyhow::ensure!(
                killed.elapsed() < GONE_MAX,
                "no writes for {GONE_MAX:?} after the leader was killed"
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        tokio::time::sleep(AFTER).await;
        self.stop.store(true, Ordering::Relaxed);
        let mut gap = Duration::ZERO;
        for writer in self.eager {
            gap = gap.max(longest_gap_after(&writer.await?, killed));
        }
        let (mut made, mut failed) = (0, 0);
        for writer in self.patient {
            let (writer_made, writer_failed) = writer.await?;
            made += writer_made;
            failed += writer_failed;
        }
        Ok((gap, made, failed))
    }
}

async fn write_eagerly(
    api: Api,
    node: usize,
    stop: Arc<AtomicBool>,
    acknowledged: Arc<AtomicU64>,
) -> Vec<Instant> {
    let mut times = Vec::new();
    let path = format!("secret/data/failover/eager-{node}");
    for count in 0_u64.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let body = json!({"data": {"count": count}});
        match api.call_within(EAGER_TIMEOUT, Method::PUT, &path, Some(&body)).await {
            Ok(answer) if answer.status.is_success() => {
                times.push(Instant::now());
                acknowledged.fetch_add(1, Ordering::Relaxed);
            }
            _ => tokio::time::sleep(EAGER_PAUSE).await,
        }
    }
    times
}

/// Returns how many requests were made, and how many failed for good.
async fn write_patiently(api: Api, node: usize, stop: Arc<AtomicBool>) -> (u64, u64) {
    let (mut made, mut failed) = (0, 0);
    let path = format!("secret/data/failover/patient-{node}");
    while !stop.load(Ordering::Relaxed) {
        made += 1;
        if !write_with_retries(&api, &path, made).await {
            failed += 1;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    (made, failed)
}

async fn write_with_retries(api: &Api, path: &str, count: u64) -> bool {
    let body = json!({"data": {"count": count}});
    for attempt in 0..=PATIENT_RETRIES {
        if attempt > 0 {
            tokio::time::sleep(PATIENT_PAUSE).await;
        }
        match api.call_within(PATIENT_TIMEOUT, Method::PUT, path, Some(&body)).await {
            Ok(answer) if answer.status.is_success() => return true,
            // `bao` repeats after 412, after 5xx except 501, and when the connection fails.
            Ok(answer)
                if answer.status == 412 || (answer.status.is_server_error() && answer.status != 501) => {}
            Ok(_) => return false,
            Err(_) => {}
        }
    }
    false
}

/// The longest time between two acknowledged writes of which the later one came after `killed`.
fn longest_gap_after(times: &[Instant], killed: Instant) -> Duration {
    let pairs = times.windows(2).filter(|pair| pair[1] > killed);
    pairs.map(|pair| pair[1] - pair[0]).max().unwrap_or(GONE_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gap_is_the_longest_pause_that_ends_after_the_kill() {
        let start = Instant::now();
        let at = |ms: u64| start + Duration::from_millis(ms);
        let times = [at(0), at(300), at(310), at(700), at(705)];
        assert_eq!(longest_gap_after(&times, at(320)), Duration::from_millis(390));
        assert_eq!(longest_gap_after(&times, at(702)), Duration::from_millis(5));
    }

    #[test]
    fn no_write_after_the_kill_is_the_worst_gap() {
        let now = Instant::now();
        assert_eq!(longest_gap_after(&[now], now), GONE_MAX);
    }

    #[test]
    fn the_median_and_the_longest_are_of_all_kills() {
        let gaps = [5, 1, 9].map(Duration::from_secs).to_vec();
        let outcome = Failover { gaps, patient: 0, patient_failed: 0 };
        assert_eq!((outcome.median().as_secs(), outcome.longest().as_secs()), (5, 9));
    }
}

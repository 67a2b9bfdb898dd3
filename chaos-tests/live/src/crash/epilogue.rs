//! Crashes that no client may live through: while a backup is restored, and while a cluster is made.
//!
//! They come when everything has been read and judged, and judge for themselves.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use conclave_faults::failpoint::Point;
use reqwest::Method;
use serde_json::{Value, json};

use super::{Deed, Plan, Stage};
use crate::cluster::{Cluster, Health};
use crate::invariant::states;

const BACKUP: &str = "sys/storage/raft/snapshot";
const KEPT: &str = "secret/data/restore/kept";
const LATER: &str = "secret/data/restore/later";
/// What a node answers while a restore is not done.
const STATUS_UNAVAILABLE: u16 = 503;
const SHARES: u64 = 3;
const THRESHOLD: u64 = 2;
const POLL: Duration = Duration::from_millis(20);
/// How often a new node is asked for its health.
const POLLS_MAX: u32 = 1500;

/// Restores and inits together may take this part of the time that crashes under load take.
const SHARE: u32 = 4;

/// Ends nodes at such points, each once at least and then as often as the others, and says what was wrong afterwards.
/// Nothing of the cluster is of use then.
pub async fn play(cluster: &Cluster, plan: &mut Plan, lasts: Duration) -> Vec<String> {
    for wanted in [Deed::Restore, Deed::Init] {
        let began = Instant::now();
        for count in 0.. {
            let level = plan.lowest(|deed| !deed.needs_quiet());
            let behind = plan.lowest(|deed| deed == wanted) < level;
            let goes_on = count < plan.count(wanted) || (behind && began.elapsed() < lasts / SHARE / 2);
            if !goes_on {
                break;
            }
            let Some((row, way)) = plan.next(|deed| deed == wanted) else { break };
            let stage = plan.stage(cluster, row, way);
            let began = Instant::now();
            let played = match wanted {
                Deed::Restore => stage.restore(count).await,
                _ => stage.init().await,
            };
            match played {
                Ok(hit) => plan.note(&stage, hit, began.elapsed(), began.elapsed()),
                Err(error) => return vec![format!("{}: {error:#}", stage.after())],
            }
        }
        if wanted == Deed::Restore {
            let states = states::compare(cluster).await;
            if !states.violations.is_empty() {
                return states.violations;
            }
        }
    }
    Vec::new()
}

impl Stage<'_> {
    async fn restore(&self, number: u64) -> anyhow::Result<bool> {
        let write = async |path: &str| {
            let body = json!({"data": {"value": number}});
            self.cluster.api(self.node).call(Method::POST, path, Some(&body)).await
        };
        drop(
            self.cluster
                .api(self.node)
                .call(Method::DELETE, &LATER.replace("/data/", "/metadata/"), None)
                .await,
        );
        write(KEPT).await?;
        let backup = self.cluster.api(self.node).download(BACKUP).await?;
        write(LATER).await?;
        self.arm().await?;
        let api = self.cluster.api(self.node);
        // It has no answer if the node ends.
        let (_lost, hit) = tokio::join!(api.upload(BACKUP, backup.clone()), self.ends());
        let hit = hit?;
        // Until it is run again, nobody tells who votes.
        self.cluster.start(self.node, None)?;
        anyhow::ensure!(self.waits_for(self.node, Health::serves).await, "the node does not come back");
        for node in 0..self.cluster.nodes() {
            let (status, value) = self.value_at(node, KEPT).await?;
            let right = status == STATUS_UNAVAILABLE || (status == 200 && value == json!(number));
            anyhow::ensure!(right, "node {node} answers {status} {value} for what is in both states");
        }
        let again = (self.node + 1) % self.cluster.nodes();
        let status = self.cluster.api(again).upload(BACKUP, backup).await?;
        anyhow::ensure!(status == 204, "restoring again is answered with {status}");
        for node in 0..self.cluster.nodes() {
            let kept = self.value_at(node, KEPT).await?;
            let later = self.value_at(node, LATER).await?;
            anyhow::ensure!(
                kept == (200, json!(number)),
                "node {node} answers {kept:?} for what was restored"
            );
            anyhow::ensure!(
                later.0 == 404,
                "node {node} answers {later:?} for what the backup does not have"
            );
        }
        self.cluster.heal().await?;
        Ok(hit)
    }

    async fn init(&self) -> anyhow::Result<bool> {
        for node in 0..self.cluster.nodes() {
            self.cluster.kill(node).await?;
        }
        self.cluster.wipe(self.node).await?;
        self.arm().await?;
        self.cluster.start(self.node, None)?;
        self.await_health(|health| health == Health::NotInitialized).await?;
        let (lost, hit) = tokio::join!(self.ask_init(), self.ends());
        let hit = hit?;
        anyhow::ensure!(lost.is_err() || !hit, "a node that ended has answered");
        self.cluster.start(self.node, None)?;
        self.await_health(|health| matches!(health, Health::NotInitialized | Health::Sealed)).await?;
        let (status, answer) = self.ask_init().await?;
        if status == 400 {
            // Its keys are lost with the answer. That may only be so where the records were committed before.
            anyhow::ensure!(self.point == Point::InitCommitted, "it says that it is initialised");
            return Ok(hit);
        }
        anyhow::ensure!(status == 200, "init again is answered with {status}");
        let shares = answer["keys_base64"].as_array().context("init gave no shares")?;
        for share in shares.iter().filter_map(Value::as_str).take(THRESHOLD as usize) {
            let body = json!({ "key": share });
            self.cluster.api(self.node).call(Method::PUT, "sys/unseal", Some(&body)).await?;
        }
        self.await_health(|health| health == Health::Leads).await?;
        Ok(hit)
    }

    async fn ask_init(&self) -> anyhow::Result<(u16, Value)> {
        let body = json!({"secret_shares": SHARES, "secret_threshold": THRESHOLD});
        self.cluster.api(self.node).ask(Method::PUT, "sys/init", Some(&body)).await
    }

    async fn await_health(&self, good: impl Fn(Health) -> bool) -> anyhow::Result<()> {
        let mut health = Health::Away;
        for _ in 0..POLLS_MAX {
            health = self.cluster.api(self.node).health().await;
            if good(health) {
                return Ok(());
            }
            tokio::time::sleep(POLL).await;
        }
        anyhow::bail!("the node stays {health:?}")
    }
}

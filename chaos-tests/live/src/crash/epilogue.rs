//! Crashes that no client may live through: while a backup is restored, and while a cluster is made.
//!
//! They come when everything has been read and judged, and judge for themselves.

use std::time::Duration;

use anyhow::Context as _;
use conclave_faults::failpoint::PointRow;
use reqwest::Method;
use serde_json::{Value, json};

use super::{Deed, Hits, Stage, deed, note};
use crate::cluster::{Cluster, Health};

const BACKUP: &str = "sys/storage/raft/snapshot";
const KEPT: &str = "secret/data/restore/kept";
const LATER: &str = "secret/data/restore/later";
/// What a node answers while a restore is not done.
const STATUS_UNAVAILABLE: u16 = 503;
const SHARES: u64 = 3;
const THRESHOLD: u64 = 2;
const POLL: Duration = Duration::from_millis(100);
/// How often a new node is asked for its health.
const POLLS_MAX: u32 = 300;

/// Ends a node at each of the points, and says what was wrong afterwards. Nothing of the cluster is of use then.
pub async fn play(cluster: &Cluster, points: &[&'static PointRow], hits: &mut Hits) -> Vec<String> {
    let mut wrong = Vec::new();
    for (number, row) in points.iter().filter(|row| deed(row.point) == Deed::Restore).enumerate() {
        let node = number % cluster.nodes();
        let stage = Stage { cluster, point: row.name, node, cut: 0, passes: 0 };
        if let Err(error) = stage.restore(number, hits).await {
            wrong.push(format!("after a crash at {}: {error:#}", row.name));
        }
    }
    for row in points.iter().filter(|row| deed(row.point) == Deed::Init) {
        let stage = Stage { cluster, point: row.name, node: 0, cut: 0, passes: 0 };
        if let Err(error) = stage.init(hits).await {
            wrong.push(format!("after a crash at {}: {error:#}", row.name));
        }
    }
    wrong
}

impl Stage<'_> {
    async fn restore(&self, number: usize, hits: &mut Hits) -> anyhow::Result<()> {
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
        self.up_armed().await;
        // It has no answer if the node ends.
        drop(self.cluster.api(self.node).upload(BACKUP, backup.clone()).await);
        let hit = self.crashes().await;
        note(hits, self, hit);
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
        Ok(())
    }

    async fn init(&self, hits: &mut Hits) -> anyhow::Result<()> {
        for node in 0..self.cluster.nodes() {
            self.cluster.kill(node).await?;
        }
        std::fs::remove_dir_all(self.cluster.data(0))?;
        self.start_armed(None);
        self.await_health(|health| health == Health::NotInitialized).await?;
        let lost = self.ask_init().await;
        let hit = self.crashes().await;
        note(hits, self, hit);
        anyhow::ensure!(lost.is_err() || !hit, "a node that ended has answered");
        self.cluster.start(0, None)?;
        self.await_health(|health| matches!(health, Health::NotInitialized | Health::Sealed)).await?;
        let (status, answer) = self.ask_init().await?;
        if status == 400 {
            // Its keys are lost with the answer. That may only be so where the records were committed before.
            anyhow::ensure!(self.point == "init-committed", "it says that it is initialised");
            return Ok(());
        }
        anyhow::ensure!(status == 200, "init again is answered with {status}");
        let shares = answer["keys_base64"].as_array().context("init gave no shares")?;
        for share in shares.iter().filter_map(Value::as_str).take(THRESHOLD as usize) {
            let body = json!({ "key": share });
            self.cluster.api(0).call(Method::PUT, "sys/unseal", Some(&body)).await?;
        }
        self.await_health(|health| health == Health::Leads).await
    }

    async fn ask_init(&self) -> anyhow::Result<(u16, Value)> {
        let body = json!({"secret_shares": SHARES, "secret_threshold": THRESHOLD});
        self.cluster.api(0).ask(Method::PUT, "sys/init", Some(&body)).await
    }

    async fn await_health(&self, good: impl Fn(Health) -> bool) -> anyhow::Result<()> {
        let mut health = Health::Away;
        for _ in 0..POLLS_MAX {
            health = self.cluster.api(0).health().await;
            if good(health) {
                return Ok(());
            }
            tokio::time::sleep(POLL).await;
        }
        anyhow::bail!("the node stays {health:?}")
    }
}

//! What leads to each point, done to a node that is to end there.

use std::time::{Duration, Instant};

use futures::StreamExt as _;
use reqwest::Method;
use serde_json::{Value, json};

use super::{Deed, Stage};
use crate::cluster::Health;
use crate::net::Cuts;

/// A node that starts may take so long to serve.
const UP_MAX: Duration = Duration::from_secs(20);
/// A deed may be repeated for so long until the node ends.
const DEED_MAX: Duration = Duration::from_secs(25);
const POLL: Duration = Duration::from_millis(50);
/// From one change of leader to the next.
const TERM: Duration = Duration::from_millis(400);
/// How long a leader is cut off: long enough for the others to elect one.
const CUT_OFF: Duration = Duration::from_millis(1500);
/// How long an answer of no interest is waited for.
const ANSWER_MAX: Duration = Duration::from_secs(3);
/// Writes of one burst, and how many are under way: few, so that each is an entry of its own.
const BURST: u64 = 200;
const BURST_AT_ONCE: usize = 4;
/// Keys that bursts write to.
const BURST_KEYS: u64 = 20;
/// Bursts that bring the log beyond what is kept behind a snapshot.
const BURSTS_TO_PURGE: u64 = 8;

impl Stage<'_> {
    /// Whether the node ended at its point. What goes wrong before is no matter; what does afterwards is an error.
    pub async fn perform(&self, deed: Deed) -> anyhow::Result<bool> {
        Ok(match deed {
            Deed::Load => {
                self.restart_armed().await;
                self.until_crash(async || tokio::time::sleep(POLL).await).await
            }
            Deed::Snapshot => {
                self.restart_armed().await;
                self.until_crash(async || self.burst(&self.others()).await).await
            }
            Deed::Election => {
                self.restart_armed().await;
                self.until_crash(async || self.move_leadership().await).await
            }
            Deed::Truncate => self.truncate().await,
            Deed::Install => self.install().await,
            Deed::Join => self.join().await,
            Deed::Admit => self.admit().await,
            Deed::Fence => {
                self.up_armed().await;
                drop(self.cluster.remove(self.node).await);
                let crashed = self.crashes().await;
                self.come_back(crashed).await?
            }
            Deed::Leave => {
                let crashed = self.ask_armed("sys/cluster/leave").await;
                self.come_back(crashed).await?
            }
            Deed::Forget => {
                self.ask("sys/cluster/leave").await;
                self.restart_armed().await;
                let crashed = self.crashes().await;
                self.come_back(crashed).await?
            }
            Deed::Rotate => self.ask_armed("sys/rotate/keyring").await,
            Deed::Seal => self.ask_armed("sys/seal").await,
            Deed::Unseal => self.unseal().await,
            // Done when no client works: see the epilogue.
            Deed::Restore | Deed::Init => false,
        })
    }

    /// After a crash on its way out, a node knows that it is out; then it joins like one that never was in.
    async fn come_back(&self, crashed: bool) -> anyhow::Result<bool> {
        if crashed {
            self.cluster.start(self.node, None)?;
            let out = |health| matches!(health, Health::Removed | Health::NotInitialized);
            anyhow::ensure!(self.waits_for(self.node, out).await, "a node that is out does not say so");
        }
        let member = self.others()[0];
        if let Some(token) = self.token(self.node, member).await {
            self.wipe(self.node).await;
            self.cluster.start(self.node, Some((&self.cluster.url(member), &token)))?;
            self.waits_for(self.node, Health::serves).await;
        }
        Ok(crashed)
    }

    pub async fn restart_armed(&self) {
        drop(self.cluster.kill(self.node).await);
        self.start_armed(None);
    }

    pub fn start_armed(&self, join: Option<(&str, &str)>) {
        self.cluster.arm(self.node, self.setting());
        drop(self.cluster.start(self.node, join));
    }

    /// Armed, and serving: the point is not passed before.
    pub async fn up_armed(&self) {
        self.restart_armed().await;
        self.waits_for(self.node, Health::serves).await;
    }

    pub async fn waits_for(&self, node: usize, good: impl Fn(Health) -> bool) -> bool {
        let began = Instant::now();
        while began.elapsed() < UP_MAX {
            if good(self.cluster.api(node).health().await) {
                return true;
            }
            tokio::time::sleep(POLL).await;
        }
        false
    }

    pub async fn crashes(&self) -> bool {
        self.cluster.crashes_within(self.node, DEED_MAX).await
    }

    async fn until_crash(&self, step: impl AsyncFn()) -> bool {
        let began = Instant::now();
        while began.elapsed() < DEED_MAX {
            if let Some(crashed) = self.cluster.has_crashed(self.node) {
                return crashed;
            }
            step().await;
        }
        self.crashes().await
    }

    fn others(&self) -> Vec<usize> {
        (0..self.cluster.nodes()).filter(|other| *other != self.node).collect()
    }

    async fn ask(&self, path: &str) {
        let asked = self.cluster.api(self.node);
        drop(tokio::time::timeout(ANSWER_MAX, asked.ask(Method::PUT, path, None)).await);
    }

    async fn ask_armed(&self, path: &str) -> bool {
        self.up_armed().await;
        self.until_crash(async || self.ask(path).await).await
    }

    /// Writes that no checker is told of, to keys of their own.
    async fn burst(&self, at: &[usize]) {
        let writes = (0..BURST).map(|number| {
            let api = self.cluster.api(at[number as usize % at.len()]);
            async move {
                let (path, body) = (
                    format!("secret/data/burst/{}", number % BURST_KEYS),
                    json!({"data": {"value": number}}),
                );
                drop(tokio::time::timeout(ANSWER_MAX, api.ask(Method::POST, &path, Some(&body))).await);
            }
        });
        futures::stream::iter(writes).buffer_unordered(BURST_AT_ONCE).for_each(async |()| {}).await;
    }

    async fn move_leadership(&self) {
        if let Some(leader) = self.cluster.leader().await {
            let asked = self.cluster.api(leader);
            drop(tokio::time::timeout(ANSWER_MAX, asked.ask(Method::PUT, "sys/step-down", None)).await);
        }
        tokio::time::sleep(TERM).await;
    }

    /// Moves the leadership until it is at the node.
    async fn lead(&self) {
        let began = Instant::now();
        while began.elapsed() < DEED_MAX && self.cluster.leader().await != Some(self.node) {
            self.move_leadership().await;
        }
    }

    async fn truncate(&self) -> bool {
        self.up_armed().await;
        self.until_crash(async || {
            self.lead().await;
            let cuts = Cuts::isolate(self.node, self.cluster.nodes());
            drop(self.cluster.net.cut(self.cut, cuts).await);
            // Clients of the node go on writing to it, and those of the others to its successor.
            tokio::time::sleep(CUT_OFF).await;
            drop(self.cluster.net.mend(self.cut).await);
            tokio::time::sleep(TERM).await;
        })
        .await
    }

    async fn install(&self) -> bool {
        drop(self.cluster.kill(self.node).await);
        for _ in 0..BURSTS_TO_PURGE {
            self.burst(&self.others()).await;
        }
        self.start_armed(None);
        self.crashes().await
    }

    /// A token from another member, for a node that was removed.
    async fn token(&self, node: usize, from: usize) -> Option<String> {
        let began = Instant::now();
        while began.elapsed() < DEED_MAX {
            if self.is_member(node, from).await == Some(false) {
                let asked = self.cluster.api(from);
                let answer = asked.call(Method::POST, "sys/cluster/join-token", None).await.ok()?;
                return answer["data"]["token"].as_str().map(str::to_owned);
            }
            drop(self.cluster.remove(node).await);
            tokio::time::sleep(POLL).await;
        }
        None
    }

    async fn is_member(&self, node: usize, from: usize) -> Option<bool> {
        let asked = self.cluster.api(from);
        let answer = asked.call(Method::GET, "sys/storage/raft/configuration", None).await.ok()?;
        let servers = answer["data"]["config"]["servers"].as_array()?;
        Some(servers.iter().any(|server| server["node_id"] == crate::cluster::name(node).as_str()))
    }

    async fn wipe(&self, node: usize) {
        drop(self.cluster.kill(node).await);
        drop(std::fs::remove_dir_all(self.cluster.data(node)));
    }

    async fn join(&self) -> bool {
        let member = self.others()[0];
        let Some(token) = self.token(self.node, member).await else { return false };
        self.wipe(self.node).await;
        let url = self.cluster.url(member);
        self.start_armed(Some((&url, &token)));
        let crashed = self.crashes().await;
        // With the same token: it must get the same place.
        drop(self.cluster.start(self.node, Some((&url, &token))));
        self.waits_for(self.node, Health::serves).await;
        crashed
    }

    async fn admit(&self) -> bool {
        self.up_armed().await;
        let newcomer = self.others()[0];
        self.lead().await;
        let Some(token) = self.token(newcomer, self.node).await else { return false };
        self.wipe(newcomer).await;
        drop(self.cluster.start(newcomer, Some((&self.cluster.url(self.node), &token))));
        let crashed = self.crashes().await;
        // The newcomer asks again, with the same token.
        drop(self.cluster.start(self.node, None));
        self.waits_for(newcomer, Health::serves).await;
        crashed
    }

    async fn unseal(&self) -> bool {
        self.ask("sys/seal").await;
        self.restart_armed().await;
        self.waits_for(self.node, |health| health == Health::Sealed).await;
        self.until_crash(async || {
            drop(self.cluster.unseal(self.node).await);
            tokio::time::sleep(POLL).await;
        })
        .await
    }

    /// One answer's value, if there is one.
    pub async fn value_at(&self, node: usize, path: &str) -> anyhow::Result<(u16, Value)> {
        let (status, body) = self.cluster.api(node).ask(Method::GET, path, None).await?;
        Ok((status, body["data"]["data"]["value"].clone()))
    }
}

//! The steps that deeds are made of: what an operator asks of nodes, and many writes.

use std::time::{Duration, Instant};

use futures::StreamExt as _;
use reqwest::Method;
use serde_json::{Value, json};

use super::Stage;
use super::deed::UP_MAX;
use crate::cluster::Health;

const POLL: Duration = Duration::from_millis(20);
/// From one change of leader to the next.
const TERM: Duration = Duration::from_millis(400);
/// How long the leadership may take to come to the node that is to have it, and a node to be removed.
const STEP_MAX: Duration = Duration::from_secs(15);
/// How long an answer of no interest is waited for.
const ANSWER_MAX: Duration = Duration::from_secs(3);
/// Writes of one burst, and how many are under way: few, so that most are an entry of their own.
const BURST: u64 = 200;
const BURST_AT_ONCE: usize = 4;
/// A burst that finds no quorum ends.
const BURST_MAX: Duration = Duration::from_secs(5);
/// Keys that bursts write to.
const BURST_KEYS: u64 = 20;

impl Stage<'_> {
    pub fn others(&self) -> Vec<usize> {
        (0..self.cluster.nodes()).filter(|other| *other != self.node).collect()
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

    pub async fn ask(&self, path: &str) {
        let asked = self.cluster.api(self.node);
        drop(tokio::time::timeout(ANSWER_MAX, asked.ask(Method::PUT, path, None)).await);
    }

    /// Writes at the other nodes, that no checker is told of, to keys of their own.
    pub async fn burst(&self) {
        self.burst_at(self.others()).await;
    }

    /// The same at certain nodes.
    pub async fn burst_at(&self, at: Vec<usize>) {
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
        let all = futures::stream::iter(writes).buffer_unordered(BURST_AT_ONCE).for_each(async |()| {});
        drop(tokio::time::timeout(BURST_MAX, all).await);
    }

    pub async fn move_leadership(&self) {
        if let Some(leader) = self.cluster.leader().await {
            let asked = self.cluster.api(leader);
            drop(tokio::time::timeout(ANSWER_MAX, asked.ask(Method::PUT, "sys/step-down", None)).await);
        }
        tokio::time::sleep(TERM).await;
    }

    /// Moves the leadership until it is at the node.
    pub async fn lead(&self) {
        let began = Instant::now();
        while began.elapsed() < STEP_MAX && self.cluster.leader().await != Some(self.node) {
            self.move_leadership().await;
        }
    }

    /// A token from another member, for a node that was removed.
    pub async fn token(&self, node: usize, from: usize) -> Option<String> {
        let began = Instant::now();
        while began.elapsed() < STEP_MAX {
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

    /// One answer's value, if there is one.
    pub async fn value_at(&self, node: usize, path: &str) -> anyhow::Result<(u16, Value)> {
        let (status, body) = self.cluster.api(node).ask(Method::GET, path, None).await?;
        Ok((status, body["data"]["data"]["value"].clone()))
    }
}

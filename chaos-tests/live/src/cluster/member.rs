//! Nodes that leave the cluster and come back as new ones.

use anyhow::Context as _;
use reqwest::Method;
use serde_json::json;

use super::{Cluster, name};

impl Cluster {
    /// Takes the node out of the cluster, by asking another one.
    pub async fn remove(&self, node: usize) -> anyhow::Result<()> {
        let other = (node + 1) % self.nodes();
        let body = json!({ "server_id": name(node) });
        self.api(other).call(Method::POST, "sys/storage/raft/remove-peer", Some(&body)).await?;
        Ok(())
    }

    /// Wipes a node that is no member any more, and lets it join like one that never was.
    pub async fn join_again(&self, node: usize) -> anyhow::Result<()> {
        let other = (node + 1) % self.nodes();
        let answer = self.api(other).call(Method::POST, "sys/cluster/join-token", None).await?;
        let token = answer["data"]["token"].as_str().context("no join token")?;
        self.kill(node).await?;
        std::fs::remove_dir_all(self.data(node))?;
        self.start(node, Some((&self.url(other), token)))
    }

    /// How many nodes vote, as far as any node says.
    pub async fn voters(&self) -> usize {
        for node in 0..self.nodes() {
            let answer = self.api(node).call(Method::GET, "sys/storage/raft/configuration", None).await;
            let Ok(answer) = answer else { continue };
            let servers = answer["data"]["config"]["servers"].as_array();
            return servers.into_iter().flatten().filter(|server| server["voter"] == true).count();
        }
        0
    }
}

//! Nodes that leave the cluster and come back as new ones.

use anyhow::Context as _;
use reqwest::Method;
use serde_json::json;

use super::{Cluster, name};

impl Cluster {
    /// Takes the node out of the cluster, by asking another one.
    pub async fn remove(&self, node: usize) -> anyhow::Result<()> {
        let other = self.other_than(node).await;
        let body = json!({ "server_id": name(node) });
        self.api(other).call(Method::POST, "sys/storage/raft/remove-peer", Some(&body)).await?;
        Ok(())
    }

    /// The node is asked itself to leave.
    pub async fn leave(&self, node: usize) -> anyhow::Result<()> {
        self.api(node).call(Method::PUT, "sys/cluster/leave", None).await?;
        Ok(())
    }

    /// Wipes a node that is no member any more, and lets it join like one that never was.
    pub async fn join_again(&self, node: usize) -> anyhow::Result<()> {
        let other = self.other_than(node).await;
        // An attempt before this one may have got as far as being admitted. Removing who is not there does nothing.
        self.remove(node).await?;
        let answer = self.api(other).call(Method::POST, "sys/cluster/join-token", None).await?;
        let token = answer["data"]["token"].as_str().context("no join token")?;
        self.kill(node).await?;
        std::fs::remove_dir_all(self.data(node))?;
        self.start(node, Some((&self.url(other), token)))
    }

    /// A node that serves, other than this one, if there is any.
    async fn other_than(&self, node: usize) -> usize {
        for other in (0..self.nodes()).filter(|other| *other != node) {
            if self.api(other).health().await.serves() {
                return other;
            }
        }
        (node + 1) % self.nodes()
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

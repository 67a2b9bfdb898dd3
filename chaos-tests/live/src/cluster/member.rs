//! Nodes that leave the cluster and come back as new ones.

use anyhow::Context as _;
use reqwest::Method;
use serde_json::{Value, json};

use super::condition::Spoiled;
use super::{Cluster, name};

impl Cluster {
    /// Takes the node out of the cluster, by asking another one; nothing to do if it is out already.
    pub async fn remove(&self, node: usize) -> anyhow::Result<()> {
        let mut failure = None;
        for other in self.others(node) {
            match self.remove_at(other, node).await {
                Ok(()) => return Ok(()),
                Err(error) => failure = Some(error),
            }
        }
        Err(failure.unwrap_or_else(|| anyhow::anyhow!("there is no other node")))
    }

    async fn remove_at(&self, other: usize, node: usize) -> anyhow::Result<()> {
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
        // An attempt before this one may have got as far as being admitted. Removing who is not there does nothing.
        self.remove(node).await?;
        let mut token = None;
        for other in self.others(node) {
            let answer = self.api(other).call(Method::POST, "sys/cluster/join-token", None).await;
            token = answer.map(|answer| (other, answer["data"]["token"].clone())).ok();
            if token.is_some() {
                break;
            }
        }
        let (other, token) = token.context("no other node gives a join token")?;
        let token = token.as_str().context("no join token")?;
        self.wipe(node).await?;
        self.start(node, Some((&self.url(other), token)))
    }

    /// What an operator does about a node that does not heal by itself: it is removed, emptied, and joins again.
    pub async fn replace(&self, node: usize) -> anyhow::Result<()> {
        self.kill(node).await?;
        self.join_again(node).await?;
        if self.spoiled(node) == Some(Spoiled::Untrusted) {
            self.note_replaced(node);
        }
        Ok(())
    }

    /// The node's process ends, and its data directory is gone.
    pub async fn wipe(&self, node: usize) -> anyhow::Result<()> {
        self.kill(node).await?;
        self.disks.wipe(node)
    }

    /// How many nodes vote, as far as any node says.
    pub async fn voters(&self) -> usize {
        for node in 0..self.nodes() {
            let Ok(members) = self.members_at(node).await else { continue };
            return members.iter().filter(|server| server["voter"] == true).count();
        }
        0
    }

    /// How many nodes may be lost, as far as any node says: fewer than votes suggest in the middle of a change.
    pub async fn tolerates(&self) -> usize {
        for node in 0..self.nodes() {
            let asked = self.api(node).call(Method::GET, "sys/storage/raft/autopilot/state", None).await;
            let Some(tolerance) = asked.ok().and_then(|answer| answer["data"]["failure_tolerance"].as_u64())
            else {
                continue;
            };
            return usize::try_from(tolerance).unwrap_or(usize::MAX);
        }
        0
    }

    async fn members_at(&self, node: usize) -> anyhow::Result<Vec<Value>> {
        let answer = self.api(node).call(Method::GET, "sys/storage/raft/configuration", None).await?;
        Ok(answer["data"]["config"]["servers"].as_array().cloned().unwrap_or_default())
    }

    fn others(&self, node: usize) -> impl Iterator<Item = usize> {
        let nodes = self.nodes();
        (1..nodes).map(move |step| (node + step) % nodes)
    }
}

//! What `conclave dev` asks of its nodes, and how it waits for them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use conclave_client::{Client, Error, Request};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::cluster_file::Node;
use super::process::Servers;
use crate::failure::Failure;

/// How long each step of a start may take.
const STEP_TIMEOUT: Duration = Duration::from_secs(60);
/// How long one question may take; a node that is starting may accept it and not answer.
const ASK_TIMEOUT: Duration = Duration::from_secs(10);
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// `sys/health`, as the status code says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    Serving,
    Sealed,
    NotInitialized,
    /// Not reachable, or not with a certificate of this cluster.
    Away,
}

/// A client of one node. The authority is read anew each time: it changes when the cluster is made.
pub fn client(node: &Node, ca_cert: &Path, token: Option<&str>) -> Result<Client, Error> {
    let mut builder =
        Client::builder().address(&node.api_addr).ca_cert(ca_cert).timeout(ASK_TIMEOUT).rounds_max(1);
    if let Some(token) = token {
        builder = builder.token(token);
    }
    builder.build()
}

/// Where a node keeps the certificate of the authority it belongs to.
pub fn authority_of(node: &Node) -> PathBuf {
    node.data_dir.join("tls").join("ca.pem")
}

pub async fn health(node: &Node, ca_cert: &Path) -> Health {
    let Ok(client) = client(node, ca_cert, None) else { return Health::Away };
    match client.send(Request::get("sys/health").any_status()).await.map(|answer| answer.status()) {
        Ok(200 | 429) => Health::Serving,
        Ok(501) => Health::NotInitialized,
        Ok(503) => Health::Sealed,
        Ok(_) | Err(_) => Health::Away,
    }
}

/// Asks until `done` says so, and watches meanwhile that no server ends.
pub async fn wait_until(
    what: &str,
    nodes: &[Node],
    servers: &mut Servers,
    mut done: impl AsyncFnMut() -> bool,
) -> Result<(), Failure> {
    let deadline = Instant::now() + STEP_TIMEOUT;
    loop {
        servers.check(nodes)?;
        if done().await {
            return Ok(());
        }
        if Instant::now() >= deadline {
            let logs: Vec<_> = nodes.iter().map(|node| node.log.display().to_string()).collect();
            let seconds = STEP_TIMEOUT.as_secs();
            return Err(Failure::refused(format!(
                "waited {seconds} s in vain until {what}; see {}",
                logs.join(", ")
            )));
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

/// Gives keys until the node is unsealed. It may be unsealed by a peer at any moment.
pub async fn unseal(client: &Client, keys: &[String]) -> Result<(), Failure> {
    for key in keys {
        let answer = client.send(Request::put("sys/unseal", json!({ "key": key })).once()).await?;
        if answer.data()["sealed"] == false {
            return Ok(());
        }
    }
    Err(Failure::refused("the node is still sealed after all unseal keys"))
}

/// How many nodes vote, as this node knows it.
pub async fn voters(client: &Client) -> usize {
    let Ok(answer) = client.send(Request::get("sys/storage/raft/configuration")).await else { return 0 };
    let servers = answer.data()["config"]["servers"].as_array().cloned().unwrap_or_default();
    servers.iter().filter(|server| server["voter"] == Value::Bool(true)).count()
}

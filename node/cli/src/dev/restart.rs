//! Starts the nodes of a cluster that was stopped, or those of them that have ended, as they were.

use std::path::Path;

use super::Dev;
use super::api::{self, Health};
use super::cluster_file::{ClusterFile, Node};
use super::found::await_members;
use super::process::{FirstStart, Servers};
use crate::failure::Failure;

pub async fn run(
    dev: &Dev,
    folder: &Path,
    mut file: ClusterFile,
    servers: &mut Servers,
) -> Result<ClusterFile, Failure> {
    check_same(dev, &file)?;
    for node in &mut file.nodes {
        if node.running_pid().is_none() {
            servers.start(node, &FirstStart::default())?;
        }
    }
    // At once, so that `--stop` finds the processes whatever happens now.
    file.save(folder)?;
    let ca_cert = file.ca_cert.clone().unwrap_or_default();
    for node in &file.nodes {
        unseal(node, &file, &ca_cert, servers).await?;
    }
    let first = file.nodes.first().ok_or_else(|| Failure::local("cluster.json names no node"))?;
    let client = api::client(first, &ca_cert, Some(&file.root_token))?;
    await_members(&file.nodes, &ca_cert, &client, servers).await?;
    Ok(file)
}

/// A cluster keeps what it was made with: flags that say otherwise are a mistake.
fn check_same(dev: &Dev, file: &ClusterFile) -> Result<(), Failure> {
    let fault = |what: &str| {
        Err(Failure::usage(format!(
            "the folder holds a cluster with another {what}: leave the flag out, or use another folder"
        )))
    };
    if dev.nodes.is_some_and(|nodes| usize::from(nodes) != file.nodes.len()) {
        return fault("number of nodes");
    }
    if dev.root_token.as_ref().is_some_and(|token| *token != file.root_token) {
        return fault("root token");
    }
    Ok(())
}

/// With the stored keys, unless a peer was quicker.
async fn unseal(
    node: &Node,
    file: &ClusterFile,
    ca_cert: &Path,
    servers: &mut Servers,
) -> Result<(), Failure> {
    let mut health = Health::Away;
    api::wait_until(&format!("{} answers", node.id), &file.nodes, servers, async || {
        health = api::health(node, ca_cert).await;
        matches!(health, Health::Serving | Health::Sealed)
    })
    .await?;
    if health == Health::Sealed {
        api::unseal(&api::client(node, ca_cert, None)?, &file.unseal_keys).await?;
    }
    Ok(())
}

//! Unseals this node by itself: with the static key of its settings, or with the help of an unsealed peer.
//!
//! A peer hands the root key to a current member over mTLS, so whoever holds a member's certificate and key file can
//! unseal that member while its peers are up. `peer_unseal = false` switches both sides off.

use std::sync::Arc;
use std::time::Duration;

use conclave_core::crypto::RootKey;
use conclave_core::seal;
use tokio::time::Instant;

use crate::cluster::Cluster;
use crate::node::Node;

/// Pause between rounds over all peers.
const PAUSE: Duration = Duration::from_millis(250);
/// How long one peer may take to answer.
const TIMEOUT: Duration = Duration::from_secs(2);

pub async fn run(node: Arc<Node>, cluster: Arc<Cluster>) {
    let mut sealed = cluster.seal.watch();
    loop {
        if sealed.wait_for(|sealed| *sealed).await.is_err() {
            return;
        }
        if !cluster.seal.stays_sealed() && !cluster.fence.is_fenced() {
            attempt(&node, &cluster).await;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn attempt(node: &Node, cluster: &Cluster) {
    let config = match cluster.view(|view| seal::load_config(view)) {
        Ok(Some((config, _))) => config,
        Ok(None) => return,
        Err(error) => return tracing::error!(%error, "the seal's configuration cannot be read"),
    };
    match cluster.view(|view| cluster.seal.unseal_by_setting(&node.config.seal, view, &config)) {
        Ok(true) => return tracing::info!("unsealed by the static key"),
        Ok(false) => {}
        Err(error) => tracing::warn!(%error, "the static key did not unseal this node"),
    }
    if !node.config.peer_unseal || !config.peer_unseal {
        return;
    }
    for member in cluster.members() {
        if member.node_id == cluster.node_id {
            continue;
        }
        let Ok(response) = cluster.peers.unseal(member.node_id, Instant::now() + TIMEOUT).await else {
            continue;
        };
        let opened = RootKey::from_bytes(&response.root_key)
            .and_then(|root_key| cluster.view(|view| cluster.seal.open(view, &config, Arc::new(root_key))));
        match opened {
            Ok(()) => return tracing::info!(peer = %member.node.name, "unsealed by a peer"),
            Err(error) => {
                tracing::warn!(peer = %member.node.name, %error, "a peer's key did not unseal this node")
            }
        }
    }
}

//! What every member does: it tells the leader its address, and compares its state with the others'.

use std::sync::Arc;
use std::time::Duration;

use conclave_proto::peer::{StatusResponse, UpdateAddressRequest};
use conclave_storage::StateHashAt;
use tokio::time::Instant;

use crate::cluster::Cluster;
use crate::node::Node;

/// Pause between rounds.
const PAUSE: Duration = Duration::from_millis(500);
/// How long a round may wait for the leader.
const TIMEOUT: Duration = Duration::from_secs(2);
/// Rounds between two comparisons of state hashes.
const COMPARE_EVERY: u64 = 20;

pub async fn run(node: Arc<Node>, cluster: Arc<Cluster>) {
    for round in 0_u64.. {
        tokio::time::sleep(PAUSE).await;
        if cluster.fence.is_fenced() || cluster.leader().is_none() {
            continue;
        }
        tell_address(&node, &cluster).await;
        if round % COMPARE_EVERY == 0 {
            compare_states(&cluster).await;
        }
    }
}

/// A node whose address changed comes back by itself: it reaches the leader, and the leader learns where it is now.
async fn tell_address(node: &Node, cluster: &Cluster) {
    let Some(known) = cluster.node(cluster.node_id) else { return };
    if known.api_addr == node.config.api_addr && known.cluster_addr == node.config.cluster_addr {
        return;
    }
    let Some(leader) = cluster.leader() else { return };
    let request = UpdateAddressRequest {
        api_addr: node.config.api_addr.clone(),
        cluster_addr: node.config.cluster_addr.clone(),
    };
    let told = if leader == cluster.node_id {
        let member = conclave_storage::types::Node {
            name: known.name,
            api_addr: request.api_addr,
            cluster_addr: request.cluster_addr,
        };
        cluster.membership.update_address(cluster.node_id, member).await.map_err(|error| error.to_string())
    } else {
        let deadline = Instant::now() + TIMEOUT;
        cluster
            .peers
            .update_address(leader, request, deadline)
            .await
            .map(drop)
            .map_err(|error| error.to_string())
    };
    match told {
        Ok(()) => tracing::info!("told the cluster this node's new address"),
        Err(error) => tracing::warn!(%error, "the cluster could not be told this node's new address"),
    }
}

/// Replicas that applied the same entries must have equal states (I2). A difference is a bug or a damaged disk.
async fn compare_states(cluster: &Cluster) {
    let Ok(ours) = cluster.reader.state_hashes() else { return };
    for member in cluster.members() {
        if member.node_id == cluster.node_id {
            continue;
        }
        let Some(theirs) = cluster.status_of(member.node_id, Instant::now() + TIMEOUT).await else {
            continue;
        };
        cluster.book.hear_progress(member.node_id, theirs.applied_index, theirs.term);
        if differ(&ours, &theirs) {
            metrics::counter!("conclave_state_hash_mismatches_total").increment(1);
            tracing::error!(
                peer = %member.node.name,
                index = theirs.hash_index,
                "this node's state differs from a peer's at the same index: one of them is damaged. Take a snapshot, \
                 find which by 'conclave operator status', wipe that node and join it again"
            );
        }
    }
    cluster.book.flush();
}

/// Whether both have a hash at one index, and not the same. A node that has just joined has none yet.
fn differ(ours: &[StateHashAt], theirs: &StatusResponse) -> bool {
    let ours = ours.iter().find(|ours| ours.index == theirs.hash_index);
    let theirs = theirs.state_hash.as_ref();
    !theirs.is_empty() && ours.is_some_and(|ours| ours.hash.as_slice() != theirs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_differ_only_where_both_have_a_hash_at_one_index() {
        let ours = [StateHashAt { index: 0, hash: [1; 32] }, StateHashAt { index: 1024, hash: [2; 32] }];
        let theirs = |hash_index, hash: &[u8]| StatusResponse {
            hash_index,
            state_hash: hash.to_vec().into(),
            ..StatusResponse::default()
        };
        assert!(!differ(&ours, &theirs(1024, &[2; 32])));
        assert!(differ(&ours, &theirs(1024, &[3; 32])));
        assert!(differ(&ours, &theirs(0, &[3; 32])));
        assert!(!differ(&ours, &theirs(2048, &[3; 32])));
        // It says index 0 because it has none, and entry 0 may have been applied here.
        assert!(!differ(&ours, &theirs(0, &[])));
    }
}

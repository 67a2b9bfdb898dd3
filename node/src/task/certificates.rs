//! Renews this node's certificate long before it ends; the leader signs.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use conclave_proto::peer::RenewCertificateRequest;
use tokio::time::Instant;

use crate::cluster::Cluster;
use crate::node::Node;

/// Pause between looks at the calendar.
const PAUSE: Duration = Duration::from_secs(60);
/// How long the leader may take to sign.
const TIMEOUT: Duration = Duration::from_secs(10);

pub async fn run(node: Arc<Node>, cluster: Arc<Cluster>) {
    loop {
        let due = node.tls.identity().renew_at().is_ok_and(|at| at <= SystemTime::now());
        if due {
            match renew(&node, &cluster).await {
                Ok(()) => tracing::info!("renewed this node's certificate"),
                Err(error) => tracing::warn!(%error, "this node's certificate could not be renewed yet"),
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn renew(node: &Node, cluster: &Arc<Cluster>) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let leader = cluster.leader().ok_or("there is no leader")?;
    let identity = node.tls.identity();
    let request = RenewCertificateRequest {
        csr_pem: identity.key().csr_pem()?,
        names: crate::node::certificate_names(&node.config),
    };
    let response = if leader == cluster.node_id {
        crate::service::peer::sign(cluster, cluster.node_id, &request)?
    } else {
        cluster.peers.renew_certificate(leader, request, Instant::now() + TIMEOUT).await?
    };
    node.adopt(identity.renewed(response.certificate_pem, response.ca_pem)?)?;
    Ok(())
}

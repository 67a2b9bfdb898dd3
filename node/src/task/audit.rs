//! Opens audit devices that were enabled, also at a node that nobody asks for anything, and notes in the replicated state
//! where this node's audit trails stand: what is noted there cannot be written anew by whoever gets at the files of one
//! node.

use std::sync::Arc;
use std::time::Duration;

use conclave_core::audit::plan_anchors;
use conclave_proto::txn::Outcome;
use tokio::time::Instant;

use crate::audit::Trail;
use crate::cluster::Cluster;
use crate::service::{Service, plan};

/// Pause between two notes: of what was changed within it, a trail's newest lines, only the lines themselves tell.
const NOTE_PAUSE: Duration = Duration::from_secs(60);
/// How often it looks for devices that were enabled or could not be opened, and tries a note again that failed.
const POLL_PAUSE: Duration = Duration::from_secs(2);

pub async fn run(service: Arc<Service>, cluster: Arc<Cluster>) {
    let trail = Arc::clone(service.node().audit());
    let mut due = Instant::now();
    loop {
        tokio::time::sleep(POLL_PAUSE).await;
        if !trail.is_lacking() {
            service.adopt_audit_devices().await;
        } else if let Ok(Some(table)) = plan::audit_devices(&cluster, None) {
            trail.adopt(table).await;
        }
        if due <= Instant::now() && note(&trail, &cluster).await {
            due = Instant::now() + NOTE_PAUSE;
        }
    }
}

/// Whether there is no more to do for now.
async fn note(trail: &Trail, cluster: &Cluster) -> bool {
    let Some(unsealed) = cluster.seal.unsealed() else { return false };
    if cluster.fence.is_fenced() || cluster.leader().is_none() {
        return false;
    }
    let heads = trail.heads();
    match cluster.plan(&unsealed, |ctx| plan_anchors(ctx, &heads)) {
        // Nothing has been recorded yet, or nothing new.
        Ok(None) => heads.iter().any(|head| head.number > 0),
        Ok(Some(txn)) => match cluster.propose(txn).await {
            Ok(Outcome::Applied { .. }) => true,
            Ok(Outcome::Conflict { .. }) => false,
            Err(error) => {
                tracing::debug!(%error, "the heads of the audit trails are not noted yet");
                false
            }
        },
        Err(error) => {
            tracing::error!(%error, "the heads of the audit trails cannot be noted");
            true
        }
    }
}

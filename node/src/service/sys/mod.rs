//! The `sys` paths, by subject. Answers have the shape that OpenBao 2.7 gives them.

pub mod admission;
pub mod audit;
pub mod host;
pub mod init;
pub mod join;
pub mod keys;
pub mod membership;
pub mod mounts;
pub mod openapi;
pub mod readmission;
pub mod registry;
pub mod snapshot;
pub mod status;
pub mod unseal;

use std::sync::Arc;

use tokio::time::Instant;

use super::Service;
use super::answer::Answer;
use super::call::Call;
use super::failure::Failure;
use super::route::{Action, Route};
use super::write::{Attempt, prove};
use crate::cluster::Cluster;

/// What the leader does to the cluster itself, once it has proven that it leads and that the caller may.
pub async fn act(
    service: &Service,
    cluster: &Arc<Cluster>,
    route: &'static Route,
    call: &Call,
) -> Result<Answer, Attempt> {
    let deadline = Instant::now() + service.node().config.request_wait;
    prove(cluster, deadline).await?;
    if !route.open {
        service.admit(cluster, call, deadline).await?;
    }
    match route.action {
        Action::AdmitNode => admission::admit(cluster, call).await,
        Action::RemovePeer => membership::remove_peer(cluster, call).await,
        Action::StepDown => membership::step_down(cluster).await,
        Action::AutopilotState => Ok(membership::autopilot_state(cluster, call).await),
        _ => Err(Failure::Unsupported.into()),
    }
}

//! What a node answers about itself: it needs no leader, and for the most part no key.

use std::sync::Arc;

use tokio::time::Instant;

use super::answer::Answer;
use super::call::Call;
use super::failure::Failure;
use super::route::{Action, Route};
use super::{Service, sys};
use crate::cluster::Cluster;

impl Service {
    pub(super) async fn here(
        self: &Arc<Self>,
        route: &'static Route,
        call: &Call,
    ) -> Result<Answer, Failure> {
        if let (Action::Init | Action::JoinCluster, Some(reason)) = (route.action, self.node.rejoining()) {
            return Err(Failure::Rejoining(reason.to_string()));
        }
        match route.action {
            Action::Health => sys::status::health(self, call),
            Action::SealStatus => Ok(sys::status::seal_status(self)),
            Action::Leader => sys::status::leader(self),
            Action::InitStatus => Ok(sys::init::status(self)),
            Action::Init => sys::init::init(self, call).await,
            Action::Unseal => sys::unseal::unseal(self, call),
            Action::JoinCluster => sys::join::join(self, call).await,
            action => {
                let cluster = self.authorized(call).await?;
                match action {
                    Action::Seal => sys::unseal::seal(&cluster),
                    Action::Leave => sys::membership::leave(self, call).await,
                    Action::ListAudit => sys::audit::list(self, &cluster, call),
                    Action::EnableAudit => sys::audit::enable(self, &cluster, call).await,
                    Action::DisableAudit => sys::audit::disable(self, &cluster, call).await,
                    Action::AuditHash => sys::audit::hash(self, &cluster, call),
                    Action::AuditAnchors => sys::audit::anchors(&cluster, call),
                    Action::HostInfo => sys::host::host_info(self, call).await,
                    Action::Metrics => sys::host::metrics(self, &cluster, call),
                    Action::SaveSnapshot => sys::snapshot::save(self, &cluster).await,
                    Action::RestoreSnapshot => sys::snapshot::restore(self, &cluster, call).await,
                    _ => Err(Failure::Unsupported),
                }
            }
        }
    }

    /// The cluster, once the caller's token has been checked against its current state.
    pub(super) async fn authorized(&self, call: &Call) -> Result<Arc<Cluster>, Failure> {
        let cluster = self.cluster()?;
        if cluster.fence.is_fenced() {
            return Err(Failure::Fenced);
        }
        if cluster.seal.is_sealed() {
            return Err(Failure::Sealed);
        }
        self.read_point(&cluster).await?;
        self.admit(&cluster, call, Instant::now() + self.node.config.request_wait).await?;
        Ok(cluster)
    }
}

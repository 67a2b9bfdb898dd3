//! What this node answers to other members, besides Raft itself. The cluster port has proven who calls, and that it is
//! a member at this moment.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use conclave_core::plan::Context;
use conclave_proto::log::Txn;
use conclave_proto::peer::{
    CheckMembershipRequest, CheckMembershipResponse, ForwardRequest, ForwardResponse, PeerAddress,
    ProposeRequest, ProposeResponse, ReadIndexRequest, ReadIndexResponse, RejoinRequest, RejoinResponse,
    RenewCertificateRequest, RenewCertificateResponse, StatusRequest, StatusResponse, UnsealRequest,
    UnsealResponse, UpdateAddressRequest, UpdateAddressResponse,
};
use conclave_storage::types::Node as Member;
use tokio::time::Instant;
use tonic::Status;

use super::Service;
use super::failure::Failure;
use super::forward::Unanswered;
use super::sys::status::seal_config;
use super::sys::{membership, readmission};
use crate::cluster::Cluster;
use crate::raft::{ClusterHandler, ProposeError};

/// How long proving a membership may take: before a peer is given the root key, and of this node itself.
const MEMBERSHIP_PROOF_TIMEOUT: Duration = Duration::from_secs(1);

/// Answers members for one node.
pub struct PeerService(pub Arc<Service>);

impl PeerService {
    fn cluster(&self) -> Result<Arc<Cluster>, Status> {
        self.0.node().cluster().ok_or_else(|| Status::unavailable("the node is starting"))
    }

    fn leading(&self) -> Result<Arc<Cluster>, Status> {
        let cluster = self.cluster()?;
        if cluster.leader() == Some(cluster.node_id) {
            Ok(cluster)
        } else {
            Err(Status::failed_precondition("this node does not lead"))
        }
    }
}

#[tonic::async_trait]
impl ClusterHandler for PeerService {
    async fn read_index(&self, _peer: u64, _request: ReadIndexRequest) -> Result<ReadIndexResponse, Status> {
        self.cluster()?.barrier.answer_read_index().await
    }

    async fn forward(&self, _peer: u64, request: ForwardRequest) -> Result<ForwardResponse, Status> {
        self.0.answer_forwarded(request).await.map_err(|unanswered| match unanswered {
            Unanswered::NotTaken => Status::failed_precondition("this node does not lead, or is sealed"),
            Unanswered::Unknown => Status::unknown("leadership was lost on the way"),
        })
    }

    async fn propose(&self, _peer: u64, request: ProposeRequest) -> Result<ProposeResponse, Status> {
        let cluster = self.leading()?;
        let values: usize = request.txns.iter().map(Txn::values).sum();
        cluster.accept(request).map_err(|error| match error {
            ProposeError::Overloaded => Status::resource_exhausted(error.to_string()),
            _ => Status::failed_precondition(error.to_string()),
        })?;
        // The leader counts how often the keys were used in the whole cluster.
        if let Some(unsealed) = cluster.seal.unsealed() {
            unsealed.barrier.count_more(values as u64);
        }
        Ok(ProposeResponse {})
    }

    async fn status(&self, _peer: u64, _request: StatusRequest) -> Result<StatusResponse, Status> {
        self.cluster()?.own_status().map_err(|error| Status::internal(error.to_string()))
    }

    async fn unseal(&self, peer: u64, _request: UnsealRequest) -> Result<UnsealResponse, Status> {
        let cluster = self.cluster()?;
        let allowed = seal_config(&cluster).is_some_and(|config| config.peer_unseal);
        if !allowed || !self.0.node().config.peer_unseal {
            return Err(Status::permission_denied("this node does not unseal its peers"));
        }
        let unsealed = self
            .cluster()?
            .seal
            .unsealed()
            .ok_or_else(|| Status::failed_precondition("this node is sealed"))?;
        // The membership that this node knows may be old: a removed node must not get the key from a member that has not
        // heard of it. Sealed nodes vote, so there is a quorum to ask.
        let proven = cluster.barrier.read_point(Instant::now() + MEMBERSHIP_PROOF_TIMEOUT).await;
        if proven.is_err() || cluster.member(peer).is_none() {
            return Err(Status::unavailable("the caller's membership could not be confirmed"));
        }
        tracing::info!(peer, "unsealing a peer");
        Ok(UnsealResponse { root_key: Bytes::copy_from_slice(unsealed.root_key.expose()) })
    }

    async fn renew_certificate(
        &self,
        peer: u64,
        request: RenewCertificateRequest,
    ) -> Result<RenewCertificateResponse, Status> {
        let cluster = self.cluster()?;
        sign(&cluster, peer, &request).map_err(|failure| match failure {
            Failure::Sealed => Status::failed_precondition("this node is sealed"),
            failure => Status::invalid_argument(failure.sentences().concat()),
        })
    }

    async fn update_address(
        &self,
        peer: u64,
        request: UpdateAddressRequest,
    ) -> Result<UpdateAddressResponse, Status> {
        let cluster = self.leading()?;
        let known = cluster.node(peer).ok_or_else(|| Status::permission_denied("not a member"))?;
        let member =
            Member { name: known.name, api_addr: request.api_addr, cluster_addr: request.cluster_addr };
        cluster
            .membership
            .update_address(peer, member)
            .await
            .map_err(|error| Status::unavailable(error.to_string()))?;
        Ok(UpdateAddressResponse {})
    }

    async fn check_membership(
        &self,
        _peer: u64,
        _request: CheckMembershipRequest,
    ) -> Result<CheckMembershipResponse, Status> {
        // Its effect on the fence is the point. The leader may have to be found first.
        let _unproven = self.cluster()?.barrier.read_point(Instant::now() + MEMBERSHIP_PROOF_TIMEOUT).await;
        Ok(CheckMembershipResponse {})
    }

    async fn rejoin(&self, peer: u64, request: RejoinRequest) -> Result<RejoinResponse, Status> {
        let cluster = self.cluster()?;
        if cluster.fence.is_fenced() {
            return Err(Status::failed_precondition("this node was removed from its cluster"));
        }
        let leader = cluster.leader();
        if leader == Some(cluster.node_id) {
            // Of its own: a caller that goes away half-way must not leave the change half made.
            let taking = tokio::spawn(async move { readmission::take_back(&cluster, peer, request).await });
            return taking.await.map_err(|error| Status::internal(error.to_string()))?;
        }
        let leader = leader
            .and_then(|id| Some(PeerAddress { node_id: id, cluster_addr: cluster.node(id)?.cluster_addr }));
        Ok(RejoinResponse { leader, ..RejoinResponse::default() })
    }
}

/// A new certificate for member `peer`, by the cluster's authority as it lies in the state.
pub fn sign(
    cluster: &Cluster,
    peer: u64,
    request: &RenewCertificateRequest,
) -> Result<RenewCertificateResponse, Failure> {
    let unsealed = cluster.seal.unsealed().ok_or(Failure::Sealed)?;
    let ca = cluster.plan(&unsealed, |ctx: &mut Context<'_>| membership::load_ca(cluster, ctx))?;
    let certificate_pem = ca
        .issue(&request.csr_pem, peer, &request.names, SystemTime::now())
        .map_err(|error| Failure::invalid(error.to_string()))?;
    Ok(RenewCertificateResponse { certificate_pem, ca_pem: ca.certificate_pem().to_owned() })
}

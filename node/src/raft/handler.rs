//! What the node answers to other nodes besides Raft itself: implemented by the node, called by the cluster port.

use conclave_proto::peer::{
    CheckMembershipRequest, CheckMembershipResponse, ForwardRequest, ForwardResponse, ProposeRequest,
    ProposeResponse, ReadIndexRequest, ReadIndexResponse, RejoinRequest, RejoinResponse,
    RenewCertificateRequest, RenewCertificateResponse, StatusRequest, StatusResponse, UnsealRequest,
    UnsealResponse, UpdateAddressRequest, UpdateAddressResponse,
};
use tonic::Status;

/// Answers the calls of members. `peer` is the caller's Raft node id, proven by its certificate; the server has
/// checked that it is a member at this moment.
///
/// `read_index` and `propose` run on Raft's runtime and must not block or compute; the others run on the API's.
///
/// The status of an error decides what the caller may do. `Unavailable`, `FailedPrecondition`, `InvalidArgument`,
/// `PermissionDenied` and `ResourceExhausted` mean that nothing was done, so that the caller may try again
/// elsewhere; any other means that it may have been done (see [`super::PeerError`]).
#[tonic::async_trait]
pub trait ClusterHandler: Send + Sync + 'static {
    /// [`super::ReadBarrier::answer_read_index`] is the whole answer.
    async fn read_index(&self, peer: u64, request: ReadIndexRequest) -> Result<ReadIndexResponse, Status>;

    async fn forward(&self, peer: u64, request: ForwardRequest) -> Result<ForwardResponse, Status>;

    async fn propose(&self, peer: u64, request: ProposeRequest) -> Result<ProposeResponse, Status>;

    async fn status(&self, peer: u64, request: StatusRequest) -> Result<StatusResponse, Status>;

    async fn unseal(&self, peer: u64, request: UnsealRequest) -> Result<UnsealResponse, Status>;

    async fn renew_certificate(
        &self,
        peer: u64,
        request: RenewCertificateRequest,
    ) -> Result<RenewCertificateResponse, Status>;

    async fn update_address(
        &self,
        peer: u64,
        request: UpdateAddressRequest,
    ) -> Result<UpdateAddressResponse, Status>;

    /// Asks the leader whether this node is still a member: its refusal fences the node. No caller is believed.
    async fn check_membership(
        &self,
        peer: u64,
        request: CheckMembershipRequest,
    ) -> Result<CheckMembershipResponse, Status>;

    /// Takes back a node that lost what it stored, if this node leads. `peer` may be no member: the handler decides.
    async fn rejoin(&self, peer: u64, request: RejoinRequest) -> Result<RejoinResponse, Status>;
}

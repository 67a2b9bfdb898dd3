//! The gRPC services of the cluster port: every call is authorised by the membership of its moment (I10).
//!
//! The caller's node id comes from its certificate and from nowhere else; a Raft message that claims to be from
//! another node is refused. Streams are checked at each message, so that a node that is removed is cut off in the
//! middle of a stream it opened before.

use std::sync::Arc;

use conclave_proto::log;
use conclave_proto::peer::cluster_server::Cluster;
use conclave_proto::peer::raft_server::Raft as RaftRpc;
use conclave_proto::peer::{
    AppendRequest, AppendResponse, CheckMembershipRequest, CheckMembershipResponse, ForwardRequest,
    ForwardResponse, ProposeRequest, ProposeResponse, ReadIndexRequest, ReadIndexResponse, RecallRequest,
    RecallResponse, RejoinRequest, RejoinResponse, RenewCertificateRequest, RenewCertificateResponse,
    SnapshotPart, SnapshotResponse, StatusRequest, StatusResponse, TransferLeaderRequest,
    TransferLeaderResponse, UnsealRequest, UnsealResponse, UpdateAddressRequest, UpdateAddressResponse,
    VoteRequest, VoteResponse,
};
use conclave_storage::SnapshotInbox;
use conclave_storage::convert::{stored_membership_from_proto, stored_membership_to_proto, vote_to_proto};
use conclave_storage::types::{Raft, StoredMembership};
use futures::StreamExt as _;
use futures::stream::BoxStream;
use parking_lot::Mutex;
use prost::Message as _;
use tonic::metadata::{BinaryMetadataValue, MetadataMap};
use tonic::{Request, Response, Status, Streaming};

use super::clock::ClusterClock;
use super::handler::ClusterHandler;
use super::lease::Promise;
use super::peer_book::PeerBook;
use super::recall::Admittance;
use super::roster::{Access, Roster};
use super::server::Caller;
use super::{recall, refusal, transfer, wire};

/// Carries the membership that the answering node knows to be committed, for a caller that was away.
const MEMBERSHIP_KEY: &str = "conclave-membership-bin";

/// Both services of one node.
#[derive(Clone)]
pub struct PeerService {
    pub raft: Raft,
    pub roster: Arc<Roster>,
    pub inbox: SnapshotInbox,
    pub promise: Promise,
    pub book: Arc<PeerBook>,
    pub admittance: Admittance,
    pub clock: Arc<ClusterClock>,
    pub handler: Arc<dyn ClusterHandler>,
}

/// The membership in an answer's metadata, if there is one that can be read.
pub fn membership_of(metadata: &MetadataMap) -> Option<StoredMembership> {
    let bytes = metadata.get_bin(MEMBERSHIP_KEY)?.to_bytes().ok()?;
    stored_membership_from_proto(log::StoredMembership::decode(bytes).ok()?).ok()
}

impl PeerService {
    /// The caller's node id, if it may speak Raft with this node.
    fn raft_caller<T>(&self, request: &Request<T>) -> Result<u64, Status> {
        let node_id = caller(request)?;
        self.takes_part()?;
        admit(&self.roster, node_id)?;
        Ok(node_id)
    }

    fn takes_part(&self) -> Result<(), Status> {
        if self.admittance.is_open() {
            return Ok(());
        }
        Err(Status::unavailable("this node has just started and asks what others know of it"))
    }

    fn free_to_vote(&self, handed_over: bool) -> Result<(), Status> {
        if self.promise.binds() && !handed_over {
            return Err(Status::unavailable("this node has just started and may have promised its vote"));
        }
        Ok(())
    }

    fn with_time(&self, answer: VoteResponse) -> VoteResponse {
        VoteResponse { time_ms: self.clock.led_ms().unwrap_or(0), ..answer }
    }

    /// The caller's node id, if it may ask this node for anything else.
    fn member<T>(&self, request: &Request<T>) -> Result<u64, Status> {
        let node_id = caller(request)?;
        self.takes_part()?;
        self.check_member(node_id)?;
        Ok(node_id)
    }

    fn check_member(&self, node_id: u64) -> Result<(), Status> {
        match self.roster.access(node_id) {
            Access::Member => Ok(()),
            Access::NothingKnown => Err(Status::unavailable("this node does not know its cluster yet")),
            Access::Refused { membership_index } => Err(refusal::not_a_member(node_id, membership_index)),
        }
    }
}

fn caller<T>(request: &Request<T>) -> Result<u64, Status> {
    // The server puts it there for every connection; without it nothing is known of the caller.
    let caller = request.extensions().get::<Caller>();
    caller.map(|caller| caller.node_id).ok_or_else(|| Status::unauthenticated("no certificate"))
}

/// A node that was just added has no membership until the leader's first append: it then takes any node of this
/// cluster, which is what its certificate proves.
fn admit(roster: &Roster, node_id: u64) -> Result<(), Status> {
    match roster.access(node_id) {
        Access::Member | Access::NothingKnown => Ok(()),
        Access::Refused { membership_index } => Err(refusal::not_a_member(node_id, membership_index)),
    }
}

/// Refuses a message that one node sends in another's name.
fn own_vote(vote: Option<&log::Vote>, caller: u64) -> Result<(), Status> {
    match vote {
        Some(vote) if vote.node_id == caller => Ok(()),
        Some(_) => Err(Status::permission_denied("a node speaks only for itself")),
        None => Err(Status::invalid_argument("the message has no vote")),
    }
}

fn malformed(error: impl std::error::Error) -> Status {
    Status::invalid_argument(error.to_string())
}

fn stopped(error: impl std::error::Error) -> Status {
    Status::unavailable(format!("raft has stopped: {error}"))
}

#[tonic::async_trait]
impl RaftRpc for PeerService {
    type AppendStream = BoxStream<'static, Result<AppendResponse, Status>>;

    async fn append(
        &self,
        request: Request<Streaming<AppendRequest>>,
    ) -> Result<Response<Self::AppendStream>, Status> {
        let caller = self.raft_caller(&request)?;
        let roster = self.roster.clone();
        // Why the input ended, told to the caller after the answers to what came before.
        let failure = Arc::new(Mutex::new(None));
        let input = {
            let failure = failure.clone();
            // Ends at the first message that is not good: skipping one would leave a gap in the log.
            request.into_inner().scan((), move |(), message| {
                let checked = message.and_then(|message| {
                    admit(&roster, caller)?;
                    own_vote(message.vote.as_ref(), caller)?;
                    wire::append_from_proto(message).map_err(malformed)
                });
                let next = checked.map_err(|status| *failure.lock() = Some(status)).ok();
                futures::future::ready(next)
            })
        };
        let answers = self.raft.stream_append(input).map(|result| match result {
            Ok(result) => Ok(wire::append_result_to_proto(&result)),
            Err(fatal) => Err(stopped(fatal)),
        });
        let last = futures::stream::once(async move { failure.lock().take().map(Err) })
            .filter_map(futures::future::ready);
        // At once, before the first message: the caller's stream opens only with this answer.
        Ok(Response::new(answers.chain(last).boxed()))
    }

    async fn vote(&self, request: Request<VoteRequest>) -> Result<Response<VoteResponse>, Status> {
        let caller = self.raft_caller(&request)?;
        own_vote(request.get_ref().vote.as_ref(), caller)?;
        let message = wire::vote_request_from_proto(request.get_ref()).map_err(malformed)?;
        // A leader that hands over has given up its lease itself.
        self.free_to_vote(message.leadership_transfer)?;
        let answer = self.raft.vote(message).await.map_err(stopped)?;
        Ok(Response::new(self.with_time(wire::vote_response_to_proto(&answer))))
    }

    async fn pre_vote(&self, request: Request<VoteRequest>) -> Result<Response<VoteResponse>, Status> {
        let caller = self.raft_caller(&request)?;
        own_vote(request.get_ref().vote.as_ref(), caller)?;
        let message = wire::vote_request_from_proto(request.get_ref()).map_err(malformed)?;
        self.free_to_vote(false)?;
        let answer = self.raft.pre_vote(message).await.map_err(stopped)?;
        Ok(Response::new(self.with_time(wire::vote_response_to_proto(&answer))))
    }

    async fn snapshot(
        &self,
        request: Request<Streaming<SnapshotPart>>,
    ) -> Result<Response<SnapshotResponse>, Status> {
        let caller = self.raft_caller(&request)?;
        let roster = self.roster.clone();
        let allowed = move || admit(&roster, caller);
        let (inbox, raft) = (self.inbox.clone(), self.raft.clone());
        let answer = transfer::receive(request.into_inner(), caller, allowed, inbox, raft).await?;
        Ok(Response::new(SnapshotResponse { vote: Some(vote_to_proto(&answer.vote)) }))
    }

    async fn transfer_leader(
        &self,
        request: Request<TransferLeaderRequest>,
    ) -> Result<Response<TransferLeaderResponse>, Status> {
        let caller = self.raft_caller(&request)?;
        own_vote(request.get_ref().from_leader.as_ref(), caller)?;
        let message = wire::transfer_from_proto(request.get_ref()).map_err(malformed)?;
        let answer = self.raft.handle_transfer_leader(message).await.map_err(stopped)?;
        Ok(Response::new(wire::transfer_response_to_proto(&answer)))
    }
}

#[tonic::async_trait]
impl Cluster for PeerService {
    type ReadIndexStream = BoxStream<'static, Result<ReadIndexResponse, Status>>;

    async fn read_index(
        &self,
        request: Request<Streaming<ReadIndexRequest>>,
    ) -> Result<Response<Self::ReadIndexStream>, Status> {
        let peer = self.member(&request)?;
        let service = self.clone();
        // The first answer that is a refusal ends the stream.
        let answers = request.into_inner().then(move |question| {
            let service = service.clone();
            async move {
                service.check_member(peer)?;
                service.handler.read_index(peer, question?).await
            }
        });
        Ok(Response::new(answers.boxed()))
    }

    async fn forward(&self, request: Request<ForwardRequest>) -> Result<Response<ForwardResponse>, Status> {
        let peer = self.member(&request)?;
        Ok(Response::new(self.handler.forward(peer, request.into_inner()).await?))
    }

    async fn propose(&self, request: Request<ProposeRequest>) -> Result<Response<ProposeResponse>, Status> {
        let peer = self.member(&request)?;
        Ok(Response::new(self.handler.propose(peer, request.into_inner()).await?))
    }

    async fn status(&self, request: Request<StatusRequest>) -> Result<Response<StatusResponse>, Status> {
        let peer = self.member(&request)?;
        let mut response = Response::new(self.handler.status(peer, request.into_inner()).await?);
        let membership = stored_membership_to_proto(&self.roster.committed()).encode_to_vec();
        response.metadata_mut().insert_bin(MEMBERSHIP_KEY, BinaryMetadataValue::from_bytes(&membership));
        Ok(response)
    }

    async fn unseal(&self, request: Request<UnsealRequest>) -> Result<Response<UnsealResponse>, Status> {
        let peer = self.member(&request)?;
        Ok(Response::new(self.handler.unseal(peer, request.into_inner()).await?))
    }

    async fn renew_certificate(
        &self,
        request: Request<RenewCertificateRequest>,
    ) -> Result<Response<RenewCertificateResponse>, Status> {
        let peer = self.member(&request)?;
        Ok(Response::new(self.handler.renew_certificate(peer, request.into_inner()).await?))
    }

    async fn update_address(
        &self,
        request: Request<UpdateAddressRequest>,
    ) -> Result<Response<UpdateAddressResponse>, Status> {
        let peer = self.member(&request)?;
        Ok(Response::new(self.handler.update_address(peer, request.into_inner()).await?))
    }

    async fn check_membership(
        &self,
        request: Request<CheckMembershipRequest>,
    ) -> Result<Response<CheckMembershipResponse>, Status> {
        let peer = self.member(&request)?;
        Ok(Response::new(self.handler.check_membership(peer, request.into_inner()).await?))
    }

    /// Answered also before this node takes part: all of a cluster may start at once.
    async fn recall(&self, request: Request<RecallRequest>) -> Result<Response<RecallResponse>, Status> {
        let caller = caller(&request)?;
        self.check_member(caller)?;
        let known = recall::answer(&self.book, &self.raft, caller, request.into_inner());
        Ok(Response::new(known.map_err(|error| Status::unavailable(error.to_string()))?))
    }

    async fn rejoin(&self, request: Request<RejoinRequest>) -> Result<Response<RejoinResponse>, Status> {
        let caller = caller(&request)?;
        self.takes_part()?;
        Ok(Response::new(self.handler.rejoin(caller, request.into_inner()).await?))
    }
}

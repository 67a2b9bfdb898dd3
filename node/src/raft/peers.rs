//! Asking another node something that is not Raft: forwarding, unsealing, certificates, status, the read index.
//!
//! Every call has a deadline, and every failure says whether the peer may have acted: a caller must never repeat
//! blindly what may have happened. What is not certain counts as "may have".

use std::future::Future;
use std::sync::Arc;

use conclave_proto::peer::cluster_client::ClusterClient;
use conclave_proto::peer::{
    CheckMembershipRequest, CheckMembershipResponse, ForwardRequest, ForwardResponse, ProposeRequest,
    ProposeResponse, ReadIndexRequest, ReadIndexResponse, RecallRequest, RecallResponse, RejoinRequest,
    RejoinResponse, RenewCertificateRequest, RenewCertificateResponse, StatusRequest, StatusResponse,
    UnsealRequest, UnsealResponse, UpdateAddressRequest, UpdateAddressResponse,
};
use conclave_storage::types::Node;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming};

use super::channel::PeerChannel;
use super::dial::{Dialer, Purpose};
use super::fence::Fence;
use super::network::{describe, is_dial_error};
use super::refusal;
use super::server::CALL_MESSAGE_BYTES_MAX;
use super::service::membership_of;

/// A call to another node failed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum PeerError {
    /// No connection: the peer has seen nothing. Safe to repeat, there or elsewhere.
    #[error("the node cannot be reached: {0}")]
    NotSent(String),
    /// The peer, or its view of the membership, said no before it did anything. Safe to repeat elsewhere.
    #[error("the node refused: {0}")]
    Refused(String),
    /// The request went out and no certain answer came back: it may have been done.
    #[error("the node did not answer: {0}")]
    Unknown(String),
}

/// Calls to members, by Raft node id. Cheap to clone.
#[derive(Clone)]
pub struct Peers {
    dialer: Dialer,
    fence: Arc<Fence>,
}

impl Peers {
    pub fn new(dialer: Dialer, fence: Arc<Fence>) -> Self {
        Self { dialer, fence }
    }

    /// Has a client's request run by the leader.
    ///
    /// # Errors
    /// [`PeerError`], as every call here.
    pub async fn forward(
        &self,
        node_id: u64,
        request: ForwardRequest,
        deadline: Instant,
    ) -> Result<ForwardResponse, PeerError> {
        let mut client = self.client(node_id, Purpose::Calls);
        Ok(self.answer(node_id, deadline, client.forward(request)).await?.into_inner())
    }

    /// Takes transactions to the leader that they are for.
    pub async fn propose(
        &self,
        node_id: u64,
        request: ProposeRequest,
        deadline: Instant,
    ) -> Result<ProposeResponse, PeerError> {
        let mut client = self.client(node_id, Purpose::Proposals);
        Ok(self.answer(node_id, deadline, client.propose(request)).await?.into_inner())
    }

    /// What a node says of itself. The membership it knows comes along, and is taken over if it is newer.
    pub async fn status(&self, node_id: u64, deadline: Instant) -> Result<StatusResponse, PeerError> {
        let mut client = self.client(node_id, Purpose::Calls);
        let response = self.answer(node_id, deadline, client.status(StatusRequest {})).await?;
        if let Some(membership) = membership_of(response.metadata()) {
            self.dialer.roster().vouch(membership);
        }
        Ok(response.into_inner())
    }

    pub async fn unseal(&self, node_id: u64, deadline: Instant) -> Result<UnsealResponse, PeerError> {
        let mut client = self.client(node_id, Purpose::Calls);
        Ok(self.answer(node_id, deadline, client.unseal(UnsealRequest {})).await?.into_inner())
    }

    pub async fn renew_certificate(
        &self,
        node_id: u64,
        request: RenewCertificateRequest,
        deadline: Instant,
    ) -> Result<RenewCertificateResponse, PeerError> {
        let mut client = self.client(node_id, Purpose::Calls);
        Ok(self.answer(node_id, deadline, client.renew_certificate(request)).await?.into_inner())
    }

    pub async fn update_address(
        &self,
        node_id: u64,
        request: UpdateAddressRequest,
        deadline: Instant,
    ) -> Result<UpdateAddressResponse, PeerError> {
        let mut client = self.client(node_id, Purpose::Calls);
        Ok(self.answer(node_id, deadline, client.update_address(request)).await?.into_inner())
    }

    /// Has a node make sure that it is still a member, wherever `address` says that it was.
    pub async fn check_membership(
        &self,
        node_id: u64,
        address: &Node,
        deadline: Instant,
    ) -> Result<CheckMembershipResponse, PeerError> {
        // It may stand in no membership any more.
        self.dialer.roster().hint(node_id, address);
        let mut client = self.client(node_id, Purpose::Calls);
        let call = client.check_membership(CheckMembershipRequest {});
        Ok(self.answer(node_id, deadline, call).await?.into_inner())
    }

    /// Says that this node has started, and asks what is known of it.
    pub async fn recall(
        &self,
        node_id: u64,
        request: RecallRequest,
        deadline: Instant,
    ) -> Result<RecallResponse, PeerError> {
        let mut client = self.client(node_id, Purpose::Calls);
        Ok(self.answer(node_id, deadline, client.recall(request)).await?.into_inner())
    }

    /// Asks to be taken back: see `rejoin`.
    pub async fn rejoin(
        &self,
        node_id: u64,
        request: RejoinRequest,
        deadline: Instant,
    ) -> Result<RejoinResponse, PeerError> {
        let mut client = self.client(node_id, Purpose::Calls);
        Ok(self.answer(node_id, deadline, client.rejoin(request)).await?.into_inner())
    }

    fn client(&self, node_id: u64, purpose: Purpose) -> ClusterClient<PeerChannel> {
        ClusterClient::new(self.dialer.channel(node_id, purpose))
            .max_decoding_message_size(CALL_MESSAGE_BYTES_MAX)
            .max_encoding_message_size(CALL_MESSAGE_BYTES_MAX)
    }

    async fn answer<T>(
        &self,
        node_id: u64,
        deadline: Instant,
        call: impl Future<Output = Result<T, Status>>,
    ) -> Result<T, PeerError> {
        let status = match tokio::time::timeout_at(deadline, call).await {
            Ok(Ok(response)) => return Ok(response),
            Ok(Err(status)) => status,
            Err(_) => return Err(PeerError::Unknown("no answer within the deadline".into())),
        };
        if let Some(membership_index) = refusal::membership_index(&status) {
            let roster = self.dialer.roster();
            self.fence.observe_refusal(node_id, membership_index, &roster.committed(), roster.leader());
        }
        Err(classify(&status))
    }
}

/// Asks the leader for its read index, over a stream that stays open from one question to the next.
pub struct ReadIndexLine {
    peers: Peers,
    open: Option<OpenLine>,
}

struct OpenLine {
    node_id: u64,
    questions: mpsc::Sender<ReadIndexRequest>,
    answers: Streaming<ReadIndexResponse>,
}

impl ReadIndexLine {
    pub fn new(peers: Peers) -> Self {
        Self { peers, open: None }
    }

    /// The read index of `node_id`, which must be the leader.
    ///
    /// # Errors
    /// [`PeerError`].
    pub async fn ask(&mut self, node_id: u64, deadline: Instant) -> Result<ReadIndexResponse, PeerError> {
        // Taken, and put back only with its answer: an answer that came late must never pass for that to a later question.
        if let Some(mut line) = self.open.take().filter(|line| line.node_id == node_id) {
            line.questions.try_send(ReadIndexRequest {}).ok();
            // A line that broke while nobody asked is no answer; the question has no effect and can be put again.
            if let Ok(answer) = self.peers.answer(node_id, deadline, line.next()).await {
                self.open = Some(line);
                return Ok(answer);
            }
        }
        let (answer, line) = self.peers.answer(node_id, deadline, self.open_with_question(node_id)).await?;
        self.open = Some(line);
        Ok(answer)
    }

    async fn open_with_question(&self, node_id: u64) -> Result<(ReadIndexResponse, OpenLine), Status> {
        let (questions, outgoing) = mpsc::channel(1);
        // Waiting already, so that it travels with the call.
        questions.try_send(ReadIndexRequest {}).ok();
        let mut client = self.peers.client(node_id, Purpose::ReadIndex);
        let answers = client.read_index(ReceiverStream::new(outgoing)).await?.into_inner();
        let mut line = OpenLine { node_id, questions, answers };
        Ok((line.next().await?, line))
    }
}

impl OpenLine {
    async fn next(&mut self) -> Result<ReadIndexResponse, Status> {
        self.answers.message().await?.ok_or_else(|| Status::unknown("the stream ended"))
    }
}

fn classify(status: &Status) -> PeerError {
    let text = describe(status);
    if is_dial_error(status) {
        return PeerError::NotSent(text);
    }
    // A status that this side made of a broken connection has a cause; one that the peer sent has none.
    let came_from_peer = std::error::Error::source(status).is_none();
    let means_not_done = matches!(
        status.code(),
        Code::Unavailable
            | Code::FailedPrecondition
            | Code::InvalidArgument
            | Code::PermissionDenied
            | Code::Unauthenticated
            | Code::Unimplemented
            | Code::ResourceExhausted
    );
    if came_from_peer && means_not_done { PeerError::Refused(text) } else { PeerError::Unknown(text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_statuses_that_rule_out_an_effect_count_as_refusals() {
        assert!(matches!(classify(&Status::unavailable("not the leader")), PeerError::Refused(_)));
        assert!(matches!(classify(&Status::permission_denied("no")), PeerError::Refused(_)));
        for status in [
            Status::unknown("?"),
            Status::internal("Missing grpc-status header"),
            Status::cancelled("gone"),
            Status::deadline_exceeded("late"),
            Status::out_of_range("answer too large"),
        ] {
            assert!(matches!(classify(&status), PeerError::Unknown(_)), "{status}");
        }
    }

    #[test]
    fn a_connection_that_broke_leaves_the_fate_open() {
        let broken = Status::from_error(Box::new(std::io::Error::other("connection reset")));
        assert!(matches!(classify(&broken), PeerError::Unknown(_)));
    }
}

//! Raft's outgoing messages: openraft's network traits over the peers' gRPC service.
//!
//! Every call has a deadline. Appends are pipelined over one stream a peer and answered in order; a stream whose
//! peer stops answering is given up, so that Raft starts again. A refusal because this node is not a member any more
//! goes to the fence.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use conclave_proto::peer;
use conclave_proto::peer::raft_client::RaftClient;
use conclave_storage::SnapshotData;
use conclave_storage::types::{
    AppendEntriesRequest, LogId, NetworkError, Node, ReplicationClosed, RpcError, Snapshot, SnapshotResponse,
    StreamAppendError, StreamAppendResult, StreamingError, TransferLeaderRequest, TransferLeaderResponse,
    TypeConfig, Unreachable, Vote, VoteRequest, VoteResponse,
};
use futures::stream::BoxStream;
use futures::{Stream, StreamExt as _};
use openraft::RPCTypes;
use openraft::network::{
    Backoff, NetBackoff, NetSnapshot, NetStreamAppend, NetTransferLeader, NetVote, RPCOption,
    RaftNetworkFactory,
};
use parking_lot::Mutex;
use tokio::time::Instant;
use tonic::{Code, Status, Streaming};

use super::answers::{Answers, Message};
use super::channel::PeerChannel;
use super::clock::ClusterClock;
use super::dial::{DialError, Dialer, Purpose};
use super::fence::Fence;
use super::lease::CommitTold;
use super::{refusal, transfer, wire};

/// Largest append message, in bytes. The log reader and the proposer keep messages far below it.
pub const APPEND_MESSAGE_BYTES_MAX: usize = 64 * 1024 * 1024;
/// How long opening an append stream may take, connection included.
const APPEND_SETUP_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a peer may leave an append unanswered before the stream is given up.
const APPEND_ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// Makes the network clients of one node.
#[derive(Clone)]
pub struct Network {
    node_id: u64,
    dialer: Dialer,
    fence: Arc<Fence>,
    told: CommitTold,
    answers: Arc<Answers>,
    clock: Arc<ClusterClock>,
}

impl Network {
    pub fn new(node_id: u64, dialer: Dialer, fence: Arc<Fence>, clock: Arc<ClusterClock>) -> Self {
        Self { node_id, dialer, fence, told: CommitTold::default(), answers: Arc::default(), clock }
    }

    /// What this node has said as the leader, and what was answered.
    pub fn heard(&self) -> (CommitTold, Arc<Answers>) {
        (self.told.clone(), self.answers.clone())
    }

    fn client(&self, target: u64, node: &Node, purpose: Purpose) -> PeerClient {
        self.dialer.roster().hint(target, node);
        let client = RaftClient::new(self.dialer.channel(target, purpose))
            .max_decoding_message_size(APPEND_MESSAGE_BYTES_MAX)
            .max_encoding_message_size(APPEND_MESSAGE_BYTES_MAX);
        PeerClient { network: self.clone(), target, client }
    }
}

impl RaftNetworkFactory<TypeConfig> for Network {
    type Network = PeerClient;

    async fn new_client(&mut self, target: u64, node: &Node) -> PeerClient {
        self.client(target, node, Purpose::Replication)
    }

    async fn new_heartbeat_client(&mut self, target: u64, node: &Node) -> PeerClient {
        self.client(target, node, Purpose::Heartbeat)
    }

    async fn new_snapshot_client(&mut self, target: u64, node: &Node) -> PeerClient {
        self.client(target, node, Purpose::Snapshot)
    }
}

/// Raft's client to one peer.
pub struct PeerClient {
    network: Network,
    target: u64,
    client: RaftClient<PeerChannel>,
}

impl PeerClient {
    /// Runs one unary call within the time that Raft gives it.
    async fn call<T>(
        &self,
        action: RPCTypes,
        option: &RPCOption,
        call: impl Future<Output = Result<tonic::Response<T>, Status>>,
    ) -> Result<T, RpcError> {
        match tokio::time::timeout(option.soft_ttl(), call).await {
            Ok(Ok(response)) => Ok(response.into_inner()),
            Ok(Err(status)) => Err(self.error(&status)),
            Err(_) => Err(self.timeout(action, option.soft_ttl())),
        }
    }

    fn error(&self, status: &Status) -> RpcError {
        if let Some(membership_index) = refusal::membership_index(status) {
            let roster = self.network.dialer.roster();
            self.network.fence.observe_refusal(
                self.target,
                membership_index,
                &roster.committed(),
                roster.leader(),
            );
        }
        let text = describe(status);
        // Raft repeats a network error at once and backs off from a peer that is unreachable: a connection that broke
        // is worth one repetition, everything else is not.
        match status.code() {
            Code::Unavailable | Code::Unknown | Code::Cancelled if !is_dial_error(status) => {
                NetworkError::from_string(text).into()
            }
            _ => Unreachable::from_string(text).into(),
        }
    }

    fn timeout(&self, action: RPCTypes, timeout: Duration) -> RpcError {
        openraft::errors::Timeout { action, id: self.network.node_id, target: self.target, timeout }.into()
    }

    /// A node that restarted and is elected before it has heard of a leader has only its wall clock, which may be wrong.
    /// Those who elect it know better.
    fn hear_time(&self, response: &peer::VoteResponse) {
        if response.time_ms > 0 {
            self.network.clock.observe(response.time_ms);
        }
    }

    fn malformed(error: impl std::error::Error) -> RpcError {
        Unreachable::from_string(format!("the peer's answer is malformed: {error}")).into()
    }
}

impl NetBackoff<TypeConfig> for PeerClient {
    /// None: as configured.
    fn backoff(&self) -> Option<Backoff> {
        None
    }
}

impl NetVote<TypeConfig> for PeerClient {
    async fn vote(&mut self, request: VoteRequest, option: RPCOption) -> Result<VoteResponse, RpcError> {
        let mut client = self.client.clone();
        let call = client.vote(wire::vote_request_to_proto(&request));
        let response = self.call(RPCTypes::Vote, &option, call).await?;
        self.hear_time(&response);
        wire::vote_response_from_proto(&response).map_err(Self::malformed)
    }

    async fn pre_vote(&mut self, request: VoteRequest, option: RPCOption) -> Result<VoteResponse, RpcError> {
        let mut client = self.client.clone();
        let call = client.pre_vote(wire::vote_request_to_proto(&request));
        let response = self.call(RPCTypes::Vote, &option, call).await?;
        self.hear_time(&response);
        wire::vote_response_from_proto(&response).map_err(Self::malformed)
    }
}

impl NetTransferLeader<TypeConfig> for PeerClient {
    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse, RpcError> {
        let mut client = self.client.clone();
        let call = client.transfer_leader(wire::transfer_to_proto(&request));
        let response = self.call(RPCTypes::TransferLeader, &option, call).await?;
        Ok(wire::transfer_response_from_proto(&request, response))
    }
}

impl NetSnapshot<TypeConfig> for PeerClient {
    type SnapshotData = SnapshotData;

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot,
        cancel: impl Future<Output = ReplicationClosed> + Send + 'static,
        option: RPCOption,
    ) -> Result<SnapshotResponse, StreamingError> {
        let parts = transfer::parts(&vote, snapshot.snapshot);
        let mut client = self.client.clone();
        let call = client.snapshot(parts);
        let answered = tokio::select! {
            closed = cancel => return Err(closed.into()),
            answered = self.call(RPCTypes::InstallSnapshot, &option, call) => answered?,
        };
        let vote = wire::required_vote(answered.vote.as_ref(), "snapshot_response.vote");
        Ok(SnapshotResponse::new(vote.map_err(Self::malformed)?))
    }
}

type AppendAnswers<'s> = BoxStream<'s, Result<StreamAppendResult, RpcError>>;

impl NetStreamAppend<TypeConfig> for PeerClient {
    fn stream_append<'s, S>(
        &'s mut self,
        input: S,
        _option: RPCOption,
    ) -> Pin<Box<dyn Future<Output = Result<AppendAnswers<'s>, RpcError>> + Send + 's>>
    where
        S: Stream<Item = AppendEntriesRequest> + Send + Unpin + 'static,
    {
        let under_way = Arc::new(Mutex::new(VecDeque::new()));
        let mut counted = {
            let under_way = under_way.clone();
            let told = self.network.told.clone();
            input.map(move |request: AppendEntriesRequest| {
                under_way.lock().push_back(Message { leader: request.vote.leader_id, sent: Instant::now() });
                told.note(request.leader_commit.as_ref().map_or(0, LogId::index));
                wire::append_to_proto(request)
            })
        };
        Box::pin(async move {
            // Raft waits between its tries inside this stream: dialling before the first request would try an
            // unreachable peer without a pause.
            let Some(first) = counted.next().await else {
                return Ok(futures::stream::empty().boxed());
            };
            let requests = futures::stream::once(std::future::ready(first)).chain(counted);
            let mut client = self.client.clone();
            // Raft itself bounds a heartbeat more tightly than this.
            let opened = tokio::time::timeout(APPEND_SETUP_TIMEOUT, client.append(requests)).await;
            let answers = match opened {
                Ok(Ok(response)) => response.into_inner(),
                Ok(Err(status)) => return Err(self.error(&status)),
                Err(_) => return Err(self.timeout(RPCTypes::AppendEntries, APPEND_SETUP_TIMEOUT)),
            };
            let session = AppendSession { peer: &*self, answers, under_way };
            let answers: AppendAnswers<'s> =
                futures::stream::unfold(Some(session), |session| async move { session?.next().await })
                    .boxed();
            Ok(answers)
        })
    }
}

/// One append stream: answers come in the order of the requests.
struct AppendSession<'s> {
    peer: &'s PeerClient,
    answers: Streaming<conclave_proto::peer::AppendResponse>,
    /// Taken from Raft and not answered yet, in their order.
    under_way: Arc<Mutex<VecDeque<Message>>>,
}

impl<'s> AppendSession<'s> {
    async fn next(mut self) -> Option<(Result<StreamAppendResult, RpcError>, Option<AppendSession<'s>>)> {
        loop {
            let is_asked = !self.under_way.lock().is_empty();
            match tokio::time::timeout(APPEND_ANSWER_TIMEOUT, self.answers.message()).await {
                Ok(Ok(Some(response))) => {
                    let answer = wire::append_result_from_proto(response).map_err(PeerClient::malformed);
                    let message = self.under_way.lock().pop_front();
                    let follows = matches!(&answer, Ok(Ok(_) | Err(StreamAppendError::Conflict(_))));
                    if let Some(message) = message.filter(|_| follows) {
                        self.peer.network.answers.note(self.peer.target, message);
                    }
                    let goes_on = answer.is_ok();
                    return Some((answer, goes_on.then_some(self)));
                }
                Ok(Ok(None)) => return None,
                Ok(Err(status)) => return Some((Err(self.peer.error(&status)), None)),
                // Silence is fine while nothing is asked; the connection itself is probed by keepalive.
                Err(_) if !is_asked => {}
                Err(_) => {
                    let error = self.peer.timeout(RPCTypes::AppendEntries, APPEND_ANSWER_TIMEOUT);
                    return Some((Err(error), None));
                }
            }
        }
    }
}

/// Whether the call failed because no connection could be made.
pub(super) fn is_dial_error(status: &Status) -> bool {
    let mut source = std::error::Error::source(status);
    while let Some(error) = source {
        if error.is::<DialError>() {
            return true;
        }
        source = error.source();
    }
    false
}

/// The status with its first cause; a transport error alone says only that there was one.
pub(super) fn describe(status: &Status) -> String {
    let mut first_cause: &dyn std::error::Error = status;
    while let Some(source) = first_cause.source() {
        first_cause = source;
    }
    let (message, cause) = (status.message(), first_cause.to_string());
    if std::error::Error::source(status).is_none() || message.contains(&cause) {
        format!("{:?}: {message}", status.code())
    } else {
        format!("{:?}: {message}: {cause}", status.code())
    }
}

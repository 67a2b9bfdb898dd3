//! What this machine could do at most: a server that does nothing but answer, and Raft that does nothing but store.
//!
//! Reads: a bare hyper server with the very bytes that Conclave answered. Writes: three openraft nodes in this
//! process on Conclave's own RocksDB store with its fsync, connected by function calls instead of a network.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, RwLock};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use bytes::Bytes;
use conclave_proto::log;
use conclave_storage::types::{
    AppendEntriesRequest, AppendEntriesResponse, Batch, Node, NodeId, Raft, RpcError, Snapshot,
    SnapshotResponse, StreamAppendResult, StreamingError, TypeConfig, Unreachable, Vote, VoteRequest,
    VoteResponse,
};
use conclave_storage::{SnapshotData, Store};
use futures::{Stream, StreamExt as _};
use http::{HeaderMap, Response, header};
use http_body_util::Full;
use hyper_util::rt::TokioIo;
use openraft::base::{BoxFuture, BoxStream};
use openraft::network::{RPCOption, RaftNetworkFactory, RaftNetworkV2};
use tokio::net::TcpListener;

use crate::cluster::eventually;
use crate::cores::Cores;
use crate::http::Answer;
use crate::load::{Load, Rate, VALUE_BYTES, Work};

/// A record as Conclave stores it: the value with its path, nonce and tag; and two key tokens.
const RECORD_BYTES: usize = VALUE_BYTES + 96;
const KEY_BYTES: usize = 48;

pub async fn bare_http(sample: Answer, connections: u32, seconds: u64, cores: Cores) -> anyhow::Result<Rate> {
    anyhow::ensure!(sample.status.is_success(), "the sample for the bare server is {}", sample.status);
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = format!("http://{}", listener.local_addr()?);
    let server = tokio::spawn(answer_everything(listener, sample));
    let scripts = tempfile::tempdir()?;
    let script = Work::Read.script(scripts.path(), None)?;
    let rate = Load { address, token: "none".into(), script, connections, seconds, cores }.run().await;
    server.abort();
    rate
}

async fn answer_everything(listener: TcpListener, sample: Answer) {
    let mut headers = sample.headers;
    // hyper writes these itself.
    for name in [header::CONTENT_LENGTH, header::DATE, header::TRANSFER_ENCODING, header::CONNECTION] {
        headers.remove(name);
    }
    let answer: Arc<(HeaderMap, Bytes)> = Arc::new((headers, sample.body));
    while let Ok((stream, _)) = listener.accept().await {
        let answer = answer.clone();
        tokio::spawn(async move {
            let service = hyper::service::service_fn(move |_| {
                let mut response = Response::new(Full::new(answer.1.clone()));
                *response.headers_mut() = answer.0.clone();
                std::future::ready(Ok::<_, Infallible>(response))
            });
            // The load closes its connections when it is done: that is no error here.
            let _closed = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

/// Committed writes a second of this many clients in this process, each waiting for its own before the next.
pub async fn bare_raft(writers: u32, seconds: u64) -> anyhow::Result<f64> {
    let folder = tempfile::tempdir()?;
    let wires = Wires::default();
    for id in 1..=3_u64 {
        let opened = Store::open(&folder.path().join(id.to_string()), &conclave_storage::Options::default())?;
        let config = openraft::Config {
            heartbeat_interval: 100,
            election_timeout_min: 500,
            election_timeout_max: 1000,
            max_payload_entries: 4096,
            snapshot_policy: openraft::SnapshotPolicy::Never,
            ..Default::default()
        };
        let raft =
            Raft::new(id, Arc::new(config.validate()?), wires.clone(), opened.log, opened.state_machine)
                .await?;
        wires.connect(id, raft);
    }
    let leader = wires.raft(1).context("node 1 was made above")?;
    let members: BTreeMap<NodeId, Node> = (1..=3).map(|id| (id, Node::default())).collect();
    leader.initialize(members).await?;
    leader.wait(Some(Duration::from_secs(10))).current_leader(1, "node 1 leads").await?;

    first_write(&leader).await?;

    let deadline = Instant::now() + Duration::from_secs(seconds);
    let mut tasks = tokio::task::JoinSet::new();
    for writer in 0..u64::from(writers) {
        tasks.spawn(write_until(deadline, writer, leader.clone()));
    }
    let mut written = 0;
    while let Some(count) = tasks.join_next().await {
        written += count??;
    }
    for id in 1..=3 {
        if let Some(raft) = wires.raft(id) {
            raft.shutdown().await?;
        }
    }
    Ok(written as f64 / seconds as f64)
}

/// A new leader refuses writes until the others have acknowledged it.
async fn first_write(leader: &Raft) -> anyhow::Result<()> {
    eventually("the first write", async || {
        leader.client_write(Batch::from(log::Batch { time_ms: 1, txns: Vec::new() })).await?;
        Ok(true)
    })
    .await
}

async fn write_until(deadline: Instant, writer: u64, leader: Raft) -> anyhow::Result<u64> {
    let mut written = 0;
    while Instant::now() < deadline {
        let mut key = vec![0; KEY_BYTES];
        key[..8].copy_from_slice(&writer.to_be_bytes());
        key[8..16].copy_from_slice(&(written % 1000_u64).to_be_bytes());
        let mut txn = log::Txn::default();
        txn.put(key, vec![7; RECORD_BYTES]);
        leader.client_write(Batch::from(log::Batch { time_ms: 1, txns: vec![txn] })).await?;
        written += 1;
    }
    Ok(written)
}

/// The three nodes' connections: each calls the other directly.
#[derive(Clone, Default)]
struct Wires(Arc<RwLock<BTreeMap<NodeId, Raft>>>);

impl Wires {
    fn connect(&self, id: NodeId, raft: Raft) {
        self.0.write().expect("no holder of the lock panics").insert(id, raft);
    }

    fn raft(&self, id: NodeId) -> Option<Raft> {
        self.0.read().expect("no holder of the lock panics").get(&id).cloned()
    }
}

struct Wire {
    wires: Wires,
    target: NodeId,
}

impl Wire {
    fn peer(&self) -> Result<Raft, Unreachable> {
        self.wires
            .raft(self.target)
            .ok_or_else(|| unreachable_peer(&std::io::Error::other("not started yet")))
    }
}

fn unreachable_peer(error: &(impl std::error::Error + 'static)) -> Unreachable {
    Unreachable::new(error)
}

impl RaftNetworkFactory<TypeConfig> for Wires {
    type Network = Wire;

    async fn new_client(&mut self, target: NodeId, _node: &Node) -> Wire {
        Wire { wires: self.clone(), target }
    }
}

impl RaftNetworkV2<TypeConfig> for Wire {
    type SnapshotData = SnapshotData;

    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest,
        _option: RPCOption,
    ) -> Result<AppendEntriesResponse, RpcError> {
        self.peer()?.append_entries(rpc).await.map_err(|error| unreachable_peer(&error).into())
    }

    fn stream_append<'s, S>(
        &'s mut self,
        input: S,
        _option: RPCOption,
    ) -> BoxFuture<'s, Result<BoxStream<'s, Result<StreamAppendResult, RpcError>>, RpcError>>
    where
        S: Stream<Item = AppendEntriesRequest> + Send + Unpin + 'static,
    {
        Box::pin(async move {
            let answers = self.peer()?.stream_append(input);
            let answers = answers.map(|answer| answer.map_err(|error| unreachable_peer(&error).into()));
            Ok(Box::pin(answers) as BoxStream<'s, _>)
        })
    }

    async fn vote(&mut self, rpc: VoteRequest, _option: RPCOption) -> Result<VoteResponse, RpcError> {
        self.peer()?.vote(rpc).await.map_err(|error| unreachable_peer(&error).into())
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot,
        _cancel: impl Future<Output = openraft::errors::ReplicationClosed> + Send + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse, StreamingError> {
        let peer = self.peer()?;
        peer.install_full_snapshot(vote, snapshot).await.map_err(|error| unreachable_peer(&error).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn three_bare_nodes_commit_writes() {
        assert!(bare_raft(8, 1).await.unwrap() > 1.0);
    }
}

//! A cluster of real nodes in one process: real TLS sockets, real storage, real time. Killing a node drops it whole.

mod authorisation;
mod consensus;
mod members;
mod older_copies;

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use conclave_proto::log::Txn;
use conclave_proto::peer::{
    CheckMembershipRequest, CheckMembershipResponse, ForwardRequest, ForwardResponse, ProposeRequest,
    ProposeResponse, ReadIndexRequest, ReadIndexResponse, RejoinRequest, RejoinResponse,
    RenewCertificateRequest, RenewCertificateResponse, StatusRequest, StatusResponse, UnsealRequest,
    UnsealResponse, UpdateAddressRequest, UpdateAddressResponse,
};
use conclave_proto::txn::Outcome;
use conclave_storage::types::{Entry, EntryPayload, LogId, Node};
use conclave_storage::{Opened, Options, StorageError, Store};
use openraft::storage::{IOFlushed, RaftLogStorage as _};
use tokio::runtime::Handle;
use tokio::time::Instant;
use tonic::Status;

use super::{
    ClusterHandler, Membership, ProposeError, Proposer, RaftNode, RaftNodeConfig, RaftOptions, ReadBarrier,
    WallClock, system_clock,
};
use crate::identity::{ClusterCa, ClusterId, Identity, LiveTls, NodeKey, PeerIdentity};

/// How long anything that must happen may take on a machine that is busy with other tests.
const PATIENCE: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(10);
/// The method of a forwarded request that is never answered.
const ENDLESS: &str = "ENDLESS";

/// Slower than in production: tests run beside each other and must not lose leaders to that.
fn options() -> RaftOptions {
    RaftOptions {
        heartbeat_ms: 100,
        election_timeout_min_ms: 400,
        election_timeout_max_ms: 800,
        ..RaftOptions::default()
    }
}

struct Cluster {
    ca: ClusterCa,
    options: RaftOptions,
    members: Vec<TestMember>,
}

/// A place for a node: its directory, its address and its identity outlive the node.
struct TestMember {
    node_id: u64,
    dir: tempfile::TempDir,
    address: SocketAddr,
    tls: Arc<LiveTls>,
    wall: WallClock,
    running: Option<Arc<RaftNode>>,
}

impl Cluster {
    /// `count` voters with the ids 1, 2, ...
    async fn start(count: u64) -> Self {
        Self::start_with(count, options()).await
    }

    async fn start_with(count: u64, options: RaftOptions) -> Self {
        let ca = ClusterCa::generate(ClusterId::random(), SystemTime::now()).unwrap();
        let mut cluster = Self { ca, options, members: Vec::new() };
        cluster.boot(1).await;
        let first = cluster.node(1);
        first.membership.initialize(cluster.info(1)).await.unwrap();
        cluster.leader().await;
        for node_id in 2..=count {
            cluster.add(node_id).await;
        }
        cluster
    }

    /// Boots a node and makes it a voter.
    async fn add(&mut self, node_id: u64) {
        self.boot(node_id).await;
        let info = self.info(node_id);
        self.change(|membership| {
            let info = info.clone();
            async move { membership.add_learner(node_id, info).await }
        })
        .await;
        self.change(|membership| async move { membership.promote(node_id).await }).await;
    }

    /// Repeats a change of the membership at whoever leads until it is made.
    async fn change<F>(&self, change: impl Fn(Membership) -> F)
    where
        F: Future<Output = Result<(), super::MembershipError>>,
    {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let leader = self.leader().await;
            match change(leader.membership.clone()).await {
                Ok(()) => return,
                Err(error) => assert!(Instant::now() < deadline, "the membership did not change: {error}"),
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Makes a place for a node and starts it.
    async fn boot(&mut self, node_id: u64) {
        let tls = LiveTls::new(self.identity(node_id)).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let dir = tempfile::tempdir().unwrap();
        self.members.push(TestMember { node_id, dir, address, tls, wall: system_clock(), running: None });
        self.run(node_id, listener).await;
        self.node(node_id).take_part();
    }

    fn identity(&self, node_id: u64) -> Identity {
        let key = NodeKey::generate().unwrap();
        let pem = self.ca.issue(&key.csr_pem().unwrap(), node_id, &[], SystemTime::now()).unwrap();
        let peer = PeerIdentity { cluster_id: self.ca.cluster_id(), node_id };
        Identity::member(format!("n{node_id}"), peer, key, pem, self.ca.certificate_pem()).unwrap()
    }

    /// Starts a killed node again, where it was.
    async fn restart(&mut self, node_id: u64) {
        let address = self.member(node_id).address;
        // The killed node's threads may still be closing it.
        let listener = eventually("the address is free", || TcpListener::bind(address).ok()).await;
        self.run(node_id, listener).await;
        self.node(node_id).take_part();
    }

    /// As [`Cluster::restart`], and asks the others first. Returns why the node must not take part.
    async fn restart_and_recall(&mut self, node_id: u64) -> Option<String> {
        let address = self.member(node_id).address;
        let listener = eventually("the address is free", || TcpListener::bind(address).ok()).await;
        self.run(node_id, listener).await;
        let reason = self.node(node_id).recall().await.unwrap();
        if reason.is_none() {
            self.node(node_id).take_part();
        }
        reason
    }

    /// Starts a killed node again at another address.
    async fn restart_elsewhere(&mut self, node_id: u64) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        self.member_mut(node_id).address = listener.local_addr().unwrap();
        self.run(node_id, listener).await;
        self.node(node_id).take_part();
    }

    async fn run(&mut self, node_id: u64, listener: TcpListener) {
        let options = self.options.clone();
        let storage = self.open(node_id).await;
        let member = self.member_mut(node_id);
        let node = Arc::new(RaftNode::start(member.config(options), storage).await.unwrap());
        let handler = TestHandler { node_id, barrier: node.barrier.clone(), proposer: node.proposer.clone() };
        node.serve(listener, Arc::new(handler)).unwrap();
        member.running = Some(node);
    }

    /// Ends a node as a crash would: nothing is finished, nobody is told.
    async fn kill(&mut self, node_id: u64) {
        let node = self.member_mut(node_id).running.take().expect("a node that runs");
        let node = Arc::into_inner(node).expect("no other handle to the node");
        drop(node);
    }

    /// Puts an entry behind the last one of a node that is down, of the same term.
    async fn append(&self, node_id: u64, payload: EntryPayload) {
        let mut log = self.open(node_id).await.log;
        let last = log.last().expect("a log");
        let entry = Entry { log_id: LogId::new(last.leader_id, last.index() + 1), payload };
        log.append([entry], IOFlushed::noop()).await.unwrap();
        let vote = log.vote().expect("a vote");
        // Returns when all before it is on disk.
        log.save_vote(&vote).await.unwrap();
    }

    async fn open(&self, node_id: u64) -> Opened {
        let data_dir = self.member(node_id).dir.path();
        eventually("the data directory is free", || match Store::open(data_dir, &Options::default()) {
            Ok(opened) => Some(opened),
            Err(StorageError::InUse { .. }) => None,
            Err(error) => panic!("the storage cannot be opened: {error}"),
        })
        .await
    }

    fn member(&self, node_id: u64) -> &TestMember {
        self.members.iter().find(|member| member.node_id == node_id).unwrap()
    }

    fn member_mut(&mut self, node_id: u64) -> &mut TestMember {
        self.members.iter_mut().find(|member| member.node_id == node_id).unwrap()
    }

    fn node(&self, node_id: u64) -> &RaftNode {
        self.member(node_id).running.as_ref().expect("a node that runs")
    }

    fn info(&self, node_id: u64) -> Node {
        let address = self.member(node_id).address;
        Node {
            name: format!("n{node_id}"),
            api_addr: format!("https://{address}"),
            cluster_addr: address.to_string(),
        }
    }

    fn running(&self) -> impl Iterator<Item = &RaftNode> {
        self.members.iter().filter_map(|member| member.running.as_deref())
    }

    /// A running node that leads and that a quorum confirms.
    async fn leader(&self) -> &RaftNode {
        let deadline = Instant::now() + PATIENCE;
        loop {
            for node in self.running() {
                if node.raft().is_leader() && node.barrier.answer_read_index().await.is_ok() {
                    return node;
                }
            }
            assert!(Instant::now() < deadline, "there is no leader");
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn follower(&self) -> &RaftNode {
        let leader = self.leader().await.node_id();
        self.running().find(|node| node.node_id() != leader).expect("more than one node")
    }

    /// Writes at whoever leads until it is acknowledged. Gives the revision.
    async fn put(&self, key: &str, value: &str) -> u64 {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let mut txn = Txn::default();
            txn.put(key.to_owned(), value.to_owned());
            match self.leader().await.proposer.propose(txn, deadline).await {
                Ok(Outcome::Applied { revision }) => return revision,
                Ok(Outcome::Conflict { .. }) => {
                    panic!("a write without preconditions conflicts with nothing")
                }
                Err(ProposeError::NotTaken | ProposeError::Unknown) => {}
                Err(error) => panic!("{error}"),
            }
            assert!(Instant::now() < deadline, "the write was not acknowledged");
            tokio::time::sleep(PAUSE).await;
        }
    }
}

impl TestMember {
    fn config(&self, options: RaftOptions) -> RaftNodeConfig {
        RaftNodeConfig {
            data_dir: self.dir.path().to_owned(),
            options,
            tls: self.tls.clone(),
            clock: self.wall.clone(),
            calls: Handle::current(),
            surroundings: None,
        }
    }
}

impl Drop for Cluster {
    /// Waits until the nodes' threads are out of RocksDB: the process must not end under them.
    fn drop(&mut self) {
        for member in &mut self.members {
            member.running.take();
            let lock = std::fs::File::open(member.dir.path().join("LOCK")).unwrap();
            let deadline = Instant::now() + PATIENCE;
            while lock.try_lock().is_err() && Instant::now() < deadline {
                std::thread::sleep(PAUSE);
            }
            assert!(
                std::thread::panicking() || Instant::now() < deadline,
                "node {} was dropped and keeps its data directory open",
                member.node_id
            );
        }
    }
}

impl RaftNode {
    /// A linearizable read at this node.
    async fn read(&self, key: &str) -> Option<String> {
        self.barrier.read_point(Instant::now() + PATIENCE).await.unwrap();
        self.read_stale(key)
    }

    fn read_stale(&self, key: &str) -> Option<String> {
        let record = self.reader().view(|view| view.get(key.as_bytes())).unwrap()?;
        Some(String::from_utf8(record.sealed.to_vec()).unwrap())
    }
}

/// Waits until `found` gives something.
async fn eventually<T>(what: &str, mut found: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = found() {
            return found;
        }
        assert!(Instant::now() < deadline, "never came true: {what}");
        tokio::time::sleep(PAUSE).await;
    }
}

/// Answers what these tests ask for: the read index, itself, and a forwarded request with its own body.
struct TestHandler {
    node_id: u64,
    barrier: ReadBarrier,
    proposer: Proposer,
}

#[tonic::async_trait]
impl ClusterHandler for TestHandler {
    async fn read_index(&self, _peer: u64, _request: ReadIndexRequest) -> Result<ReadIndexResponse, Status> {
        self.barrier.answer_read_index().await
    }

    async fn forward(&self, _peer: u64, request: ForwardRequest) -> Result<ForwardResponse, Status> {
        if request.method == ENDLESS {
            std::future::pending::<()>().await;
        }
        Ok(ForwardResponse { status: 200, body: request.body, ..Default::default() })
    }

    async fn propose(&self, _peer: u64, request: ProposeRequest) -> Result<ProposeResponse, Status> {
        let accepted = self.proposer.accept(request);
        accepted.map(|()| ProposeResponse {}).map_err(|error| Status::failed_precondition(error.to_string()))
    }

    async fn status(&self, _peer: u64, _request: StatusRequest) -> Result<StatusResponse, Status> {
        Ok(StatusResponse { node_id: self.node_id, ..Default::default() })
    }

    async fn unseal(&self, _peer: u64, _request: UnsealRequest) -> Result<UnsealResponse, Status> {
        Err(Status::failed_precondition("this node has no key"))
    }

    async fn renew_certificate(
        &self,
        _peer: u64,
        _request: RenewCertificateRequest,
    ) -> Result<RenewCertificateResponse, Status> {
        Err(Status::failed_precondition("this node has no key"))
    }

    async fn update_address(
        &self,
        _peer: u64,
        _request: UpdateAddressRequest,
    ) -> Result<UpdateAddressResponse, Status> {
        Err(Status::failed_precondition("this node does not lead"))
    }

    async fn check_membership(
        &self,
        _peer: u64,
        _request: CheckMembershipRequest,
    ) -> Result<CheckMembershipResponse, Status> {
        let _unproven = self.barrier.read_point(Instant::now() + PATIENCE).await;
        Ok(CheckMembershipResponse {})
    }

    async fn rejoin(&self, _peer: u64, _request: RejoinRequest) -> Result<RejoinResponse, Status> {
        Err(Status::failed_precondition("this node has no key"))
    }
}

//! Starts Raft on its own threads, serves the cluster port, and hands out the parts that the rest of the node uses.
//!
//! The order is: storage, Raft, the parts, and only then the port, whose handler may need the parts. Dropping the
//! node ends all of it at once, as a crash would; [`RaftNode::stop`] lets Raft finish what it is writing.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use conclave_storage::types::{Fatal, Raft, RaftMetrics};
use conclave_storage::{Opened, SnapshotInbox, StateReader};
use openraft::async_runtime::WatchReceiver as _;
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::barrier::{Grounds, ReadBarrier};
use super::channel::Surroundings;
use super::clock::{ClusterClock, WallClock};
use super::dial::Dialer;
use super::fence::{Fence, FenceError};
use super::handler::ClusterHandler;
use super::lease::{Lease, Promise};
use super::membership::Membership;
use super::network::Network;
use super::options::{RaftOptions, RaftOptionsError};
use super::peer_book::PeerBook;
use super::peers::Peers;
use super::proposer::Proposer;
use super::recall::{self, Admittance};
use super::roster::Roster;
use super::runtime::RaftRuntime;
use super::server::{self, Services};
use super::service::PeerService;
use crate::identity::{IdentityError, LiveTls};

/// How often a node makes sure of its cluster: its clock, its age for stale reads, and whether it still belongs.
const PULSE_INTERVAL: Duration = Duration::from_secs(1);
/// Least time between two rounds of asking members about a caller that this node does not know.
const INQUIRY_PAUSE: Duration = Duration::from_secs(1);
/// How long a member may take to answer such a question.
const INQUIRY_TIMEOUT: Duration = Duration::from_millis(500);

/// How long Raft's threads may take to end.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// Why Raft did not start or the port is not served.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Options(#[from] RaftOptionsError),
    #[error(transparent)]
    Identity(#[from] IdentityError),
    #[error(transparent)]
    Fence(#[from] FenceError),
    #[error("the cluster port or a thread: {0}")]
    Io(#[from] std::io::Error),
    #[error("raft: {0}")]
    Raft(String),
    /// It may have voted and acknowledged writes that it no longer knows of: it must never vote with an empty log (I12).
    #[error(
        "this node was a member and its log is gone: remove it from its cluster, empty its data directory and let it \
         join anew"
    )]
    LogLost,
}

/// What a member needs to take part.
pub struct RaftNodeConfig {
    /// Where the fence is kept.
    pub data_dir: PathBuf,
    pub options: RaftOptions,
    /// A member's: with the node id that its certificate names.
    pub tls: Arc<LiveTls>,
    pub clock: WallClock,
    /// The runtime of everything that is not Raft: calls between nodes are served there.
    pub calls: Handle,
    /// If they are not this machine's. `clock` is then not asked.
    pub surroundings: Option<Surroundings>,
}

/// A running member.
pub struct RaftNode {
    node_id: u64,
    raft: Raft,
    reader: StateReader,
    inbox: SnapshotInbox,
    roster: Arc<Roster>,
    dialer: Dialer,
    clock: Arc<ClusterClock>,
    promise: Promise,
    pub barrier: ReadBarrier,
    pub proposer: Proposer,
    pub peers: Peers,
    pub membership: Membership,
    pub fence: Arc<Fence>,
    pub book: Arc<PeerBook>,
    pub lease: Arc<Lease>,
    /// What it had stored when it started.
    own: recall::Own,
    admittance: Admittance,
    tls: Arc<LiveTls>,
    calls: Handle,
    stop: CancellationToken,
    /// Last, so that everything above is still there when its tasks end.
    runtime: Mutex<Option<RaftRuntime>>,
}

impl RaftNode {
    /// Starts Raft on `storage`. The node takes part as soon as [`RaftNode::serve`] is called as well.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start(config: RaftNodeConfig, storage: Opened) -> Result<Self, StartError> {
        let RaftNodeConfig { data_dir, options, tls, clock, calls, surroundings } = config;
        let peer = tls.peer()?;
        let node_id = peer.node_id;
        let started = Instant::now();
        let raft_config = options.config(peer.cluster_id.to_string())?;
        let fence = Arc::new(Fence::open(&data_dir, node_id)?);
        let book = Arc::new(PeerBook::open(&data_dir, node_id)?);
        let roster = Roster::new();
        let is_real = surroundings.is_none();
        let clock = surroundings.as_ref().map_or(clock, |given| given.clock.clone());
        let (runtime, dialer) = means(surroundings, options.threads, &tls, &calls, &roster)?;
        let clock = Arc::new(ClusterClock::new(clock));
        let network = Network::new(node_id, dialer.clone(), fence.clone(), clock.clone());
        let (told, answers) = network.heard();
        let own = recall::Own::of(&storage);
        let Opened { log, state_machine, reader, inbox } = storage;
        let raft = runtime
            .spawn(async move { Raft::new(node_id, raft_config, network, log, state_machine).await })
            .await
            .map_err(|error| StartError::Raft(error.to_string()))?
            .map_err(|error| StartError::Raft(error.to_string()))?;
        let at_start = raft
            .with_raft_state(|state| {
                (state.membership_state.effective().clone(), state.membership_state.committed().clone())
            })
            .await
            .map_err(|error| StartError::Raft(error.to_string()))?;
        let knows_a_membership = super::roster::log_index(&at_start.0).is_some();
        if fence.was_member() && !knows_a_membership {
            let _stopped = raft.shutdown().await;
            runtime.stop(STOP_TIMEOUT).await;
            return Err(StartError::LogLost);
        }
        let others_vote = at_start.0.membership().voter_ids().any(|voter| voter != node_id);
        let promise = Promise::since(started, others_vote.then(|| options.lease_promise()));
        let newcomer = (!fence.was_member()).then_some(node_id);
        roster.follow(raft.server_metrics(), at_start, newcomer);
        let lease = Arc::new(Lease::new(
            raft.metrics(),
            reader.clone(),
            options.read_lease(),
            told,
            answers,
            is_real,
        ));
        let peers = Peers::new(dialer.clone(), fence.clone());
        let barrier = ReadBarrier::start(
            runtime.handle(),
            Grounds {
                node_id,
                raft: raft.clone(),
                reader: reader.clone(),
                peers: peers.clone(),
                fence: fence.clone(),
                clock: clock.clone(),
                lease: lease.clone(),
            },
        );
        let proposer = Proposer::start(
            runtime.handle(),
            node_id,
            raft.clone(),
            reader.clone(),
            peers.clone(),
            clock.clone(),
            options.lease_promise(),
        );
        let node = Self {
            node_id,
            membership: Membership::new(node_id, raft.clone(), lease.clone()),
            lease,
            raft,
            reader,
            inbox,
            roster,
            dialer,
            clock,
            promise,
            barrier,
            proposer,
            peers,
            fence,
            book,
            own,
            admittance: Admittance::default(),
            tls,
            calls,
            stop: CancellationToken::new(),
            runtime: Mutex::new(Some(runtime)),
        };
        node.begin_tasks();
        Ok(node)
    }

    /// What goes on by itself until the node stops.
    fn begin_tasks(&self) {
        self.spawn(self.stop.clone().run_until_cancelled_owned(follow_membership(self.watched())));
        self.spawn(self.stop.clone().run_until_cancelled_owned(stand(
            self.watched(),
            self.promise,
            self.admittance.clone(),
        )));
        self.spawn(self.stop.clone().run_until_cancelled_owned(pulse(self.barrier.clone())));
        self.spawn(self.stop.clone().run_until_cancelled_owned(inquire(self.watched())));
    }

    /// Counts this start and asks the other members what they know of this node, which must be served. Returns why it
    /// must not take part: it has less than it had.
    ///
    /// # Errors
    /// [`StartError::Io`] if the start could not be counted.
    pub async fn recall(&self) -> Result<Option<String>, StartError> {
        let own = recall::Own { starts: self.book.count_start()?, ..self.own };
        if !self.fence.was_member() {
            return Ok(None);
        }
        let membership = self.roster.committed();
        let others = membership.membership().nodes().map(|(node_id, _)| *node_id);
        Ok(recall::ask(&self.peers, own, others.filter(|other| *other != self.node_id).collect()).await)
    }

    /// From now on the node votes, acknowledges and answers others.
    pub fn take_part(&self) {
        self.admittance.open();
    }

    /// Serves the cluster port until the node stops. Only [`RaftNode::take_part`] makes the node a part of its cluster.
    ///
    /// # Errors
    /// [`StartError::Io`] if the listener cannot be used.
    pub fn serve(
        &self,
        listener: std::net::TcpListener,
        handler: Arc<dyn ClusterHandler>,
    ) -> Result<(), StartError> {
        listener.set_nonblocking(true)?;
        let services = self.services(handler);
        let (tls, calls, stop) = (self.tls.clone(), self.calls.clone(), self.stop.clone());
        let guard = self.runtime.lock();
        let runtime = guard.as_ref().ok_or_else(|| StartError::Raft("the node is stopping".into()))?;
        let _entered = runtime.handle().enter();
        let listener = tokio::net::TcpListener::from_std(listener)?;
        runtime.spawn(server::serve(listener, tls, services, calls, stop));
        Ok(())
    }

    /// What the cluster port answers.
    pub fn services(&self, handler: Arc<dyn ClusterHandler>) -> Services {
        Services::new(PeerService {
            raft: self.raft.clone(),
            roster: self.roster.clone(),
            inbox: self.inbox.clone(),
            promise: self.promise,
            book: self.book.clone(),
            admittance: self.admittance.clone(),
            clock: self.clock.clone(),
            handler,
        })
    }

    pub fn node_id(&self) -> u64 {
        self.node_id
    }

    pub fn raft(&self) -> &Raft {
        &self.raft
    }

    pub fn reader(&self) -> &StateReader {
        &self.reader
    }

    pub fn roster(&self) -> &Arc<Roster> {
        &self.roster
    }

    /// The leader this node believes in: good for choosing whom to ask, never for answering.
    pub fn leader(&self) -> Option<u64> {
        self.roster.leader()
    }

    /// Raft's state of the moment.
    pub fn metrics(&self) -> RaftMetrics {
        self.raft.metrics().borrow_watched().clone()
    }

    /// Completes when Raft has ended, with the reason unless it was told to.
    pub fn failure(&self) -> impl Future<Output = Option<String>> + use<> {
        let mut metrics = self.raft.metrics();
        async move {
            loop {
                match &metrics.borrow_and_update().running_state {
                    Ok(()) => {}
                    Err(Fatal::Stopped) => return None,
                    Err(error) => return Some(error.to_string()),
                }
                if metrics.changed().await.is_err() {
                    return None;
                }
            }
        }
    }

    /// Waits until the leader this node believes in is not `known` any more, at most for `wait`.
    pub async fn leader_change(&self, known: Option<u64>, wait: Duration) {
        let mut metrics = self.raft.server_metrics();
        let changed = async {
            while metrics.borrow_and_update().current_leader == known {
                if metrics.changed().await.is_err() {
                    return;
                }
            }
        };
        let _unchanged = tokio::time::timeout(wait, changed).await;
    }

    /// The cluster's time as far as this node knows, Unix milliseconds; `state_ms` is that of the view it is for.
    pub fn now_ms(&self, state_ms: u64) -> u64 {
        self.clock.now_ms(state_ms)
    }

    /// Whether that time came from a leader since this node started. If not, it may be as wrong as the wall clock.
    pub fn knows_time(&self) -> bool {
        self.clock.led_ms().is_some()
    }

    /// Ends Raft in order: what is being written is finished first. The port is closed. Call it on another runtime
    /// than Raft's. The data directory is free when the last [`StateReader`] is dropped as well.
    pub async fn stop(&self) {
        self.stop.cancel();
        if let Err(error) = self.raft.shutdown().await {
            tracing::warn!(%error, "raft did not end in order");
        }
        let runtime = self.runtime.lock().take();
        if let Some(runtime) = runtime {
            runtime.stop(STOP_TIMEOUT).await;
        }
    }

    fn spawn(&self, task: impl Future<Output = Option<()>> + Send + 'static) {
        if let Some(runtime) = self.runtime.lock().as_ref() {
            runtime.spawn(task);
        }
    }

    fn watched(&self) -> Watched {
        Watched {
            node_id: self.node_id,
            raft: self.raft.clone(),
            roster: self.roster.clone(),
            dialer: self.dialer.clone(),
            peers: self.peers.clone(),
            fence: self.fence.clone(),
            book: self.book.clone(),
        }
    }
}

impl Drop for RaftNode {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// What the background tasks look at.
struct Watched {
    node_id: u64,
    raft: Raft,
    roster: Arc<Roster>,
    dialer: Dialer,
    peers: Peers,
    fence: Arc<Fence>,
    book: Arc<PeerBook>,
}

/// Where Raft runs, and its way to other nodes.
fn means(
    surroundings: Option<Surroundings>,
    threads: usize,
    tls: &Arc<LiveTls>,
    calls: &Handle,
    roster: &Arc<Roster>,
) -> Result<(RaftRuntime, Dialer), StartError> {
    if let Some(Surroundings { transport, .. }) = surroundings {
        return Ok((RaftRuntime::current(), Dialer::over(transport, roster.clone())));
    }
    let runtime = RaftRuntime::start(threads)?;
    let dialer = Dialer::new(tls.clone(), roster.clone(), runtime.handle().clone(), calls.clone());
    Ok((runtime, dialer))
}

/// Tells the fence of every membership that is committed, and forgets the connections of those who left.
async fn follow_membership(watched: Watched) {
    let mut metrics = watched.raft.server_metrics();
    loop {
        let (effective, committed) = {
            let metrics = metrics.borrow_and_update();
            (metrics.membership_config.clone(), metrics.committed_membership_config.clone())
        };
        watched.fence.observe_membership(&committed);
        watched.book.note_members(effective.membership().nodes());
        let knows = |node_id: u64| {
            [&effective, &committed].iter().any(|set| set.membership().get_node(&node_id).is_some())
        };
        if knows(watched.node_id) {
            watched.dialer.retain(knows);
        }
        if watched.fence.is_fenced() {
            // A removed node must not disturb those who stay.
            watched.raft.runtime_config().elect(false);
        }
        let mut fenced = watched.fence.watch();
        tokio::select! {
            changed = metrics.changed() => if changed.is_err() { return },
            // The sender lives in the fence, which this task holds.
            _ = fenced.changed(), if !watched.fence.is_fenced() => {}
        }
    }
}

/// Lets the node stand for election once it is free to.
async fn stand(watched: Watched, promise: Promise, admittance: Admittance) {
    promise.over().await;
    admittance.opened().await;
    watched.raft.runtime_config().elect(true);
    if watched.fence.is_fenced() {
        // Removed while it waited: see `follow_membership`.
        watched.raft.runtime_config().elect(false);
    }
}

/// Keeps the clock, the age of the state and the fence up to date when nobody reads.
async fn pulse(barrier: ReadBarrier) {
    loop {
        if barrier.age().is_none_or(|age| age >= PULSE_INTERVAL) {
            // Its effects are the point; whoever reads hears of an error itself.
            let _unproven = barrier.read_point(Instant::now() + PULSE_INTERVAL).await;
        }
        tokio::time::sleep(PULSE_INTERVAL).await;
    }
}

/// When a node calls that this one does not know, asks the members it does know whether they know it.
async fn inquire(watched: Watched) {
    loop {
        watched.roster.stranger_called().await;
        let members: Vec<u64> =
            watched.roster.committed().membership().nodes().map(|(node_id, _)| *node_id).collect();
        for node_id in members.into_iter().filter(|node_id| *node_id != watched.node_id) {
            // The answer's membership is taken over by `Peers::status`.
            let _unreachable = watched.peers.status(node_id, Instant::now() + INQUIRY_TIMEOUT).await;
        }
        tokio::time::sleep(INQUIRY_PAUSE).await;
    }
}

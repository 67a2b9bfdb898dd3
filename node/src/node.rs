//! One node: its settings, its identity, and its cluster once it belongs to one.

use std::net::TcpListener;
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

use arc_swap::ArcSwapOption;
use conclave_faults::failpoint::{Point, hit};
use conclave_faults::{failpoint, planted};
use conclave_proto::peer::RejoinResponse;
use conclave_storage::{Opened, Options, Store};
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::sync::{Mutex, watch};

use crate::audit::Trail;
use crate::cluster::{Cluster, StartError};
use crate::config::{ApiTls, Config};
use crate::durable;
use crate::fault::Faults;
use crate::http::{FileCertificate, ServeError};
use crate::identity::{Identity, IdentityStore, LiveTls};
use crate::raft::fence::FENCE_FILE;
use crate::raft::peer_book::PEER_BOOK_FILE;
use crate::raft::{ClusterHandler, Surroundings};
use crate::rejoin::{self, Loss};

/// A build that is only fit to be tested says so wherever it names itself.
pub const VERSION: &str = match (planted::BUILT_IN, failpoint::BUILT_IN) {
    (false, false) => env!("CARGO_PKG_VERSION"),
    (true, false) => concat!(env!("CARGO_PKG_VERSION"), "+planted-bugs"),
    (false, true) => concat!(env!("CARGO_PKG_VERSION"), "+fail-points"),
    (true, true) => concat!(env!("CARGO_PKG_VERSION"), "+planted-bugs+fail-points"),
};

/// Why a node that lost what it stored is not back, at first.
const NOT_ASKED_YET: &str = "its cluster has not been asked yet";

/// A running server's state, shared by all its parts.
pub struct Node {
    pub config: Config,
    pub identity: IdentityStore,
    pub tls: Arc<LiveTls>,
    /// `None` where nobody asks for figures: in a simulation.
    pub prometheus: Option<PrometheusHandle>,
    /// If they are not this machine's.
    surroundings: Option<Surroundings>,
    cluster: ArcSwapOption<Cluster>,
    /// Taken by what makes this node a member: init or join, one at a time.
    founding: Mutex<Founding>,
    /// Turns true when the node has a cluster.
    joined: watch::Sender<bool>,
    /// Who answers other nodes.
    peer_service: OnceLock<Arc<dyn ClusterHandler>>,
    /// What must be mended before this member takes part again.
    loss: parking_lot::Mutex<Option<Loss>>,
    /// Why this member does not take part, and what it waits for.
    rejoining: ArcSwapOption<String>,
    audit: Arc<Trail>,
    /// Why this node cannot go on.
    pub faults: Faults,
}

/// What a node keeps ready until it belongs to a cluster.
pub struct Founding {
    storage: Option<Opened>,
    /// Bound from the start, so that a port that is taken is told at once.
    cluster_port: Option<TcpListener>,
}

impl Node {
    pub fn open(config: Config, prometheus: PrometheusHandle) -> Result<Arc<Self>, StartError> {
        let options = Options { block_cache_bytes: config.block_cache_bytes };
        finish_leaving(&config)?;
        // The store locks the directory, so it comes before anything else that writes there.
        let (storage, loss) = rejoin::open_storage(&config.data_dir, &options)?;
        let cluster_port = bind_cluster_port(&config)?;
        let founding = Founding { storage: Some(storage), cluster_port: Some(cluster_port) };
        Self::open_with(config, founding, loss, Some(prometheus), None)
    }

    /// As [`Node::open`], with other storage and in other surroundings than this machine's: nothing is listened on, and what
    /// is lost is not asked for again.
    pub fn open_in(
        surroundings: Surroundings,
        config: Config,
        storage: Opened,
    ) -> Result<Arc<Self>, StartError> {
        let founding = Founding { storage: Some(storage), cluster_port: None };
        Self::open_with(config, founding, None, None, Some(surroundings))
    }

    fn open_with(
        config: Config,
        founding: Founding,
        loss: Option<Loss>,
        prometheus: Option<PrometheusHandle>,
        surroundings: Option<Surroundings>,
    ) -> Result<Arc<Self>, StartError> {
        let identity = IdentityStore::open(&config.data_dir)?;
        let names = certificate_names(&config);
        let own = identity.load_or_create_provisional(&config.node_name, &names, SystemTime::now())?;
        let applied = founding.storage.as_ref().map_or(0, |storage| storage.reader.applied_index());
        if own.peer().is_none() && applied > 0 {
            return Err(StartError::Orphaned(config.data_dir));
        }
        Ok(Arc::new(Self {
            tls: LiveTls::new(own)?,
            identity,
            prometheus,
            surroundings,
            cluster: ArcSwapOption::empty(),
            founding: Mutex::new(founding),
            joined: watch::Sender::new(false),
            peer_service: OnceLock::new(),
            rejoining: ArcSwapOption::from_pointee(loss.as_ref().map(|_| NOT_ASKED_YET.to_owned())),
            loss: parking_lot::Mutex::new(loss),
            faults: Faults::default(),
            audit: Trail::open(&config.audit, &config.node_name)?,
            config,
        }))
    }

    pub fn cluster(&self) -> Option<Arc<Cluster>> {
        self.cluster.load_full()
    }

    /// The audit trail.
    pub fn audit(&self) -> &Arc<Trail> {
        &self.audit
    }

    /// Tells when the node has become a member.
    pub fn joined(&self) -> watch::Receiver<bool> {
        self.joined.subscribe()
    }

    /// Says who answers other nodes. The first call counts.
    pub fn serve_peers(&self, handler: Arc<dyn ClusterHandler>) {
        let _already_set = self.peer_service.set(handler);
    }

    /// The API's TLS, by the settings.
    pub fn api_tls(&self) -> Result<Option<Arc<rustls::ServerConfig>>, StartError> {
        Ok(match &self.config.tls {
            ApiTls::Disabled => None,
            ApiTls::Cluster => Some(self.tls.api_server()?),
            ApiTls::Files { certificate, key } => {
                Some(FileCertificate::load(certificate, key)?.server_config()?)
            }
        })
    }

    /// Holds off any other attempt to found or join a cluster.
    pub async fn found(&self) -> tokio::sync::MutexGuard<'_, Founding> {
        self.founding.lock().await
    }

    /// Starts Raft under the identity that the node has by now.
    ///
    /// # Errors
    /// [`StartError::RolledBack`]: the data must be given up ([`Node::give_up_data`]). Others are the node's last word.
    pub async fn start_cluster(
        self: &Arc<Self>,
        founding: &mut Founding,
    ) -> Result<Arc<Cluster>, StartError> {
        if let Some(cluster) = self.cluster() {
            return Ok(cluster);
        }
        let storage = founding.storage.take().ok_or(StartError::Again)?;
        let peer_service = self.peer_service.get().ok_or(StartError::Again)?;
        let (surroundings, faults) = (self.surroundings.clone(), self.faults.clone());
        let cluster =
            Cluster::start(&self.config, Arc::clone(&self.tls), storage, surroundings, faults).await?;
        match &self.surroundings {
            None => {
                let cluster_port = founding.cluster_port.take().ok_or(StartError::Again)?;
                cluster.raft().serve(cluster_port, Arc::clone(peer_service))?;
            }
            Some(given) => given.transport.serve(cluster.raft().services(Arc::clone(peer_service))),
        }
        if let Some(reason) = cluster.raft().recall().await? {
            cluster.stop().await;
            return Err(StartError::RolledBack(reason));
        }
        self.cluster.store(Some(Arc::clone(&cluster)));
        cluster.raft().take_part();
        self.joined.send_replace(true);
        Ok(cluster)
    }

    /// Why this member does not take part at present, if it has lost what it stored.
    pub fn rejoining(&self) -> Option<Arc<String>> {
        self.rejoining.load_full()
    }

    /// What this member must have mended before it takes part again. Whoever takes it sees to that.
    pub fn take_loss(&self) -> Option<Loss> {
        self.loss.lock().take()
    }

    /// Strangers may read the reason: what was damaged, and where, stands in the log only.
    pub fn waits_to_rejoin(&self, reason: String) {
        self.rejoining.store(Some(Arc::new(reason)));
    }

    /// Goes on under the id that the cluster gave.
    ///
    /// # Errors
    /// [`StartError`]: the node cannot go on.
    pub async fn rejoined(self: &Arc<Self>, response: RejoinResponse) -> Result<(), StartError> {
        let mut founding = self.found().await;
        self.adopt(rejoin::identity_from(&self.tls.identity(), response)?)?;
        Loss::settle(&self.config.data_dir)?;
        self.start_cluster(&mut founding).await?;
        self.rejoining.store(None);
        Ok(())
    }

    /// Sets aside what this member stores and must not act on, and gets ready to be taken back.
    pub fn give_up_data(&self, founding: &mut Founding, reason: String) -> Result<Loss, StartError> {
        let peer = self.tls.peer()?;
        let loss = Loss::declare(&self.config.data_dir, peer.node_id, reason)?;
        let options = Options { block_cache_bytes: self.config.block_cache_bytes };
        let (storage, _) = rejoin::open_storage(&self.config.data_dir, &options)?;
        let cluster_port = bind_cluster_port(&self.config)?;
        *founding = Founding { storage: Some(storage), cluster_port: Some(cluster_port) };
        self.waits_to_rejoin(NOT_ASKED_YET.to_owned());
        Ok(loss)
    }

    /// Notes that what this member stores is damaged, so that it rejoins when it is started again. Returns whether it can.
    ///
    /// # Errors
    /// What the disk says.
    pub fn note_damage(&self, reason: String) -> Result<bool, StartError> {
        let data_dir = &self.config.data_dir;
        let Some(peer) = self.tls.identity().peer() else { return Ok(false) };
        if !rejoin::may_rejoin(data_dir, peer.node_id)? {
            return Ok(false);
        }
        Loss::declare(data_dir, peer.node_id, reason)?;
        Ok(true)
    }

    /// Makes `identity` this node's, on disk and for all new connections.
    pub fn adopt(&self, identity: Identity) -> Result<(), crate::identity::IdentityError> {
        self.identity.adopt(&identity)?;
        self.tls.replace(identity)
    }
}

fn bind_cluster_port(config: &Config) -> Result<TcpListener, ServeError> {
    let addr = config.cluster_listen;
    TcpListener::bind(addr).map_err(|source| ServeError::Bind { port: "cluster", addr, source })
}

/// Marks, in the data directory, that the node has left its cluster and is to begin anew.
const LEFT_MARKER: &str = "left-cluster";

/// Forgets the cluster that this node has just left; what is still in memory ends with the process.
pub fn forget_cluster(node: &Node) -> std::io::Result<()> {
    hit(Point::LeaveMark);
    durable::write(&node.config.data_dir.join(LEFT_MARKER), b"")?;
    hit(Point::LeaveMarked);
    node.identity.wipe().map_err(std::io::Error::other)
}

/// A node that left starts as a new one: what it had replicated must not vote in another life.
fn finish_leaving(config: &Config) -> Result<(), StartError> {
    let marker = config.data_dir.join(LEFT_MARKER);
    if !marker.exists() {
        return Ok(());
    }
    Store::erase(&config.data_dir)?;
    IdentityStore::open(&config.data_dir)?.wipe()?;
    hit(Point::LeaveErased);
    for file in [FENCE_FILE, PEER_BOOK_FILE, crate::seal::MARKER, LEFT_MARKER] {
        durable::remove(&config.data_dir.join(file)).map_err(StartError::Leaving)?;
    }
    tracing::info!("erased the data of the cluster that this node left");
    Ok(())
}

/// The names under which API clients may reach this node.
pub fn certificate_names(config: &Config) -> Vec<String> {
    let mut names = vec![config.api_host().to_owned(), "localhost".to_owned(), "127.0.0.1".to_owned()];
    if !config.api_listen.ip().is_unspecified() {
        names.push(config.api_listen.ip().to_string());
    }
    names.push(config.node_name.clone());
    names.sort();
    names.dedup();
    names.retain(|name| name.parse::<std::net::IpAddr>().is_ok() || is_dns_name(name));
    names
}

fn is_dns_name(name: &str) -> bool {
    name.split('.').all(|label| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    })
}

//! One node: its settings, its identity, and its cluster once it belongs to one.

use std::net::TcpListener;
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

use arc_swap::ArcSwapOption;
use conclave_storage::{Opened, Options, Store};
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::sync::{Mutex, watch};

use crate::cluster::{Cluster, StartError};
use crate::config::{ApiTls, Config};
use crate::http::{FileCertificate, ServeError};
use crate::identity::{Identity, IdentityStore, LiveTls};
use crate::raft::fence::FENCE_FILE;
use crate::raft::{ClusterHandler, Surroundings};

pub const VERSION: &str = env!("CARGO_PKG_VERSION");

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
        let storage = Store::open(&config.data_dir, &options)?;
        let addr = config.cluster_listen;
        let cluster_port =
            TcpListener::bind(addr).map_err(|source| ServeError::Bind { port: "cluster", addr, source })?;
        let founding = Founding { storage: Some(storage), cluster_port: Some(cluster_port) };
        Self::open_with(config, founding, Some(prometheus), None)
    }

    /// As [`Node::open`], with other storage and in other surroundings than this machine's: nothing is listened on.
    pub fn open_in(
        surroundings: Surroundings,
        config: Config,
        storage: Opened,
    ) -> Result<Arc<Self>, StartError> {
        let founding = Founding { storage: Some(storage), cluster_port: None };
        Self::open_with(config, founding, None, Some(surroundings))
    }

    fn open_with(
        config: Config,
        founding: Founding,
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
            config,
        }))
    }

    pub fn cluster(&self) -> Option<Arc<Cluster>> {
        self.cluster.load_full()
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
    pub async fn start_cluster(
        self: &Arc<Self>,
        founding: &mut Founding,
    ) -> Result<Arc<Cluster>, StartError> {
        if let Some(cluster) = self.cluster() {
            return Ok(cluster);
        }
        let storage = founding.storage.take().ok_or(StartError::Again)?;
        let peer_service = self.peer_service.get().ok_or(StartError::Again)?;
        let surroundings = self.surroundings.clone();
        let cluster = Cluster::start(&self.config, Arc::clone(&self.tls), storage, surroundings).await?;
        self.cluster.store(Some(Arc::clone(&cluster)));
        match &self.surroundings {
            None => {
                let cluster_port = founding.cluster_port.take().ok_or(StartError::Again)?;
                cluster.raft().serve(cluster_port, Arc::clone(peer_service))?;
            }
            Some(given) => given.transport.serve(cluster.raft().services(Arc::clone(peer_service))),
        }
        self.joined.send_replace(true);
        Ok(cluster)
    }

    /// Makes `identity` this node's, on disk and for all new connections.
    pub fn adopt(&self, identity: Identity) -> Result<(), crate::identity::IdentityError> {
        self.identity.adopt(&identity)?;
        self.tls.replace(identity)
    }
}

/// Marks, in the data directory, that the node has left its cluster and is to begin anew.
const LEFT_MARKER: &str = "left-cluster";

/// Forgets the cluster that this node has just left; what is still in memory ends with the process.
pub fn forget_cluster(node: &Node) -> std::io::Result<()> {
    std::fs::write(node.config.data_dir.join(LEFT_MARKER), b"")?;
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
    for file in [FENCE_FILE, crate::seal::MARKER, LEFT_MARKER] {
        match std::fs::remove_file(config.data_dir.join(file)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(StartError::Leaving(error));
            }
            _ => {}
        }
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

//! One simulated machine: a disk, a wall clock, and the server on a runtime of its own, whose time is the simulation's.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result, ensure};
use conclave_node::cluster::{Cluster, StartError};
use conclave_node::config::{ApiTls, Config, LogFormat, SealSetting};
use conclave_node::identity::{ClusterCa, Identity, NodeKey, PeerIdentity};
use conclave_node::node::Node;
use conclave_node::raft::{RaftError, ReadProof, Surroundings};
use conclave_node::service::peer::PeerService;
use conclave_node::service::{Answer, Call, Service};
use conclave_node::task;
use conclave_proto::secret::Secret;
use conclave_storage::Store;
use parking_lot::Mutex;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::disk::SimDisk;
use crate::net::Net;

/// What every simulated cluster's root token is.
pub const ROOT_TOKEN: &str = "simulated-root-token";
/// When simulated time begins, Unix milliseconds.
pub const EPOCH_MS: u64 = 1_800_000_000_000;
/// How long a server waits for a leader before it says that there is none.
const REQUEST_WAIT: Duration = Duration::from_millis(1_500);

/// A machine whose runtime is this far behind was paused.
const PAUSE_MIN: Duration = Duration::from_millis(5);

/// What all machines have in common.
pub struct Settings {
    pub snapshot_after_entries: u64,
    pub entries_kept: u64,
}

pub struct Host {
    pub node_id: u64,
    pub disk: Arc<SimDisk>,
    directory: PathBuf,
    net: Arc<Net>,
    /// What the wall clock is off by, milliseconds; added to the simulation's time, wrapping.
    wall_offset_ms: Arc<AtomicU64>,
    /// The simulation's time, as this machine's wall clock sees it pass.
    now_us: Arc<AtomicU64>,
    running: Option<Running>,
    /// How often the server was started.
    pub lives: u64,
    pub paused: bool,
    /// It lost what it had stored, by its own judgement: it must come back under another id, which is not simulated, and
    /// stays away.
    pub lost: bool,
}

struct Running {
    service: Arc<Service>,
    runtime: Runtime,
    /// The runtime's time that stands for the simulation's at `began_us`.
    base: Instant,
    began_us: u64,
    /// Why it could not start its part of the cluster.
    failed: Arc<Mutex<Option<StartError>>>,
    /// Held for the server's own tasks.
    _stop: watch::Sender<bool>,
}

/// Where an answer will be. Nobody else holds it once the server that was asked is gone.
pub type Slot = Arc<Mutex<Option<Answer>>>;

impl Host {
    pub fn new(node_id: u64, directory: PathBuf, net: Arc<Net>, disk: Arc<SimDisk>) -> Self {
        Self {
            node_id,
            disk,
            directory,
            net,
            wall_offset_ms: Arc::default(),
            now_us: Arc::default(),
            running: None,
            lives: 0,
            paused: false,
            lost: false,
        }
    }

    pub fn is_up(&self) -> bool {
        self.running.is_some()
    }

    /// Whether clients find it: its API is open once it takes part.
    pub fn serves(&self) -> bool {
        self.cluster().is_some()
    }

    /// Whether it can do anything at the moment.
    pub fn runs(&self) -> bool {
        self.is_up() && !self.paused
    }

    pub fn set_wall_offset_ms(&self, offset_ms: i64) {
        self.wall_offset_ms.store(offset_ms.cast_unsigned(), Ordering::Relaxed);
    }

    pub fn cluster(&self) -> Option<Arc<Cluster>> {
        self.running.as_ref()?.service.node().cluster()
    }

    /// Starts the server on what the disk holds. It takes part in its cluster when it has asked the others.
    ///
    /// # Errors
    /// It does not start.
    pub fn start(&mut self, settings: &Settings, now_us: u64) -> Result<()> {
        if self.lost {
            return Ok(());
        }
        let runtime = Builder::new_current_thread().enable_time().start_paused(true).build()?;
        // The server's parts hold one another until its process ends, and with them the lock; here no process ends.
        if self.lives > 0 {
            std::fs::remove_file(self.directory.join("LOCK"))?;
        }
        let (stop, stopping) = watch::channel(false);
        self.now_us.store(now_us, Ordering::Relaxed);
        let opened = {
            let _entered = runtime.enter();
            Store::open_given(&self.directory, self.disk.handle())
        };
        let opened = match opened {
            Ok(opened) => opened,
            Err(error) => return self.lose(error.into()),
        };
        let failed = Arc::new(Mutex::new(None));
        let (service, base) = runtime.block_on(async {
            let node = Node::open_in(self.surroundings(settings), self.config(settings), opened)?;
            let service = Arc::new(Service::new(Arc::clone(&node)));
            node.serve_peers(Arc::new(PeerService(Arc::clone(&service))));
            if node.tls.identity().peer().is_some() {
                let failed = Arc::clone(&failed);
                tokio::spawn(async move {
                    let mut founding = node.found().await;
                    *failed.lock() = node.start_cluster(&mut founding).await.err();
                });
            }
            tokio::spawn(task::run(Arc::clone(&service), stopping));
            anyhow::Ok((service, Instant::now()))
        })?;
        self.running = Some(Running { service, runtime, base, began_us: now_us, failed, _stop: stop });
        self.lives += 1;
        self.paused = false;
        Ok(())
    }

    /// Takes note that the server gave its data up, if that is why it did not start.
    fn lose(&mut self, error: StartError) -> Result<()> {
        let gave_up = match &error {
            StartError::Storage(storage) => storage.is_damage(),
            StartError::Raft(RaftError::LogLost) | StartError::RolledBack(_) => true,
            _ => false,
        };
        ensure!(gave_up, "node {} does not start: {error}", self.node_id);
        tracing::info!(node_id = self.node_id, %error, "lost what it had stored");
        self.lost = true;
        Ok(())
    }

    /// Ends the server at once; with `power`, what was not synced is lost.
    pub fn crash(&mut self, power: bool) {
        self.net.down(self.node_id, power);
        drop(self.running.take());
        self.paused = false;
        self.net.freeze(self.node_id, false);
        if power {
            self.disk.cut_power();
        }
    }

    /// Lets everything happen that this machine has to do until then.
    ///
    /// # Errors
    /// The server cannot start its part of the cluster.
    pub fn step(&mut self, now_us: u64) -> Result<()> {
        self.now_us.store(now_us, Ordering::Relaxed);
        if let Some(running) = self.running.as_ref().filter(|_| !self.paused) {
            let until = running.base + Duration::from_micros(now_us.saturating_sub(running.began_us));
            running.runtime.block_on(async {
                let behind = until.saturating_duration_since(Instant::now());
                if behind > PAUSE_MIN {
                    // It was paused: its clock jumps, and only then does anything run.
                    tokio::time::advance(behind - PAUSE_MIN).await;
                }
                tokio::time::sleep_until(until).await;
            });
            let failed = running.failed.lock().take();
            if let Some(error) = failed {
                self.crash(false);
                return self.lose(error);
            }
        }
        Ok(())
    }

    /// Makes the machine the member with its own id.
    ///
    /// # Errors
    /// The server does not take the identity, or does not start its cluster.
    pub fn join(&mut self, ca: &ClusterCa) -> Result<()> {
        let running = self.running.as_ref().context("the server is down")?;
        let node = running.service.node();
        let key = NodeKey::generate()?;
        let pem = ca.issue(&key.csr_pem()?, self.node_id, &[], SystemTime::now())?;
        let peer = PeerIdentity { cluster_id: ca.cluster_id(), node_id: self.node_id };
        node.adopt(Identity::member(name(self.node_id), peer, key, pem, ca.certificate_pem())?)?;
        running.runtime.block_on(async {
            let mut founding = node.found().await;
            node.start_cluster(&mut founding).await
        })?;
        Ok(())
    }

    /// Puts a request to the server, as a client's connection would.
    pub fn ask(&self, mut call: Call) -> Slot {
        let slot = Slot::default();
        if let Some(running) = &self.running {
            let (service, answered) = (Arc::clone(&running.service), Arc::clone(&slot));
            running.runtime.spawn(async move {
                let answer = service.answer(&mut call).await;
                *answered.lock() = Some(answer);
            });
        }
        slot
    }

    /// Runs something of the harness's own on the machine.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        if let Some(running) = &self.running {
            running.runtime.spawn(task);
        }
    }

    fn surroundings(&self, settings: &Settings) -> Surroundings {
        let (now_us, offset_ms) = (Arc::clone(&self.now_us), Arc::clone(&self.wall_offset_ms));
        let clock = move || {
            let true_ms = EPOCH_MS + now_us.load(Ordering::Relaxed) / 1_000;
            true_ms.wrapping_add(offset_ms.load(Ordering::Relaxed))
        };
        Surroundings {
            transport: self.net.transport(self.node_id),
            clock: Arc::new(clock),
            entries_kept: settings.entries_kept,
        }
    }

    fn config(&self, settings: &Settings) -> Config {
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        Config {
            node_name: name(self.node_id),
            data_dir: self.directory.clone(),
            api_listen: nowhere,
            api_addr: format!("http://{}", name(self.node_id)),
            cluster_listen: nowhere,
            cluster_addr: format!("{}:1", name(self.node_id)),
            tls: ApiTls::Disabled,
            join: None,
            seal: SealSetting::Static { key_file: self.directory.with_file_name("seal-key") },
            peer_unseal: true,
            request_wait: REQUEST_WAIT,
            read_proof: ReadProof::Lease,
            heartbeat_ms: None,
            election_timeout_min_ms: None,
            election_timeout_max_ms: None,
            snapshot_after_entries: Some(settings.snapshot_after_entries),
            entries_kept: Some(settings.entries_kept),
            block_cache_bytes: 0,
            audit: conclave_node::audit::Settings::default(),
            log_level: String::new(),
            log_format: LogFormat::Text,
            dev_root_token: Some(Secret::new(ROOT_TOKEN.to_owned())),
        }
    }
}

pub fn name(node_id: u64) -> String {
    format!("n{node_id}")
}

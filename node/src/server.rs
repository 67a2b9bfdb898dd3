//! Starting and stopping `conclave server`: settings, logging, runtimes, listeners, signals.

use std::ffi::OsString;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser as _;
use conclave_faults::{failpoint, planted};
use rustix::fs::Mode;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tracing_subscriber::EnvFilter;

use crate::cluster::StartError;
use crate::config::{ApiTls, Config, LogFormat, ServerArgs};
use crate::fault::Fault;
use crate::http::Listener;
use crate::metrics;
use crate::node::{Node, VERSION};
use crate::rejoin::{self, Loss};
use crate::service::peer::PeerService;
use crate::service::{Service, sys};
use crate::{recover, task};

/// Exit code for settings that cannot be used, or a node that cannot start.
const EXIT_USAGE: u8 = 2;
/// Exit code of a node that ran and could not go on, because its storage failed.
const EXIT_FAULT: u8 = 3;
/// How long handing leadership over may take when the node stops.
const HANDOVER_TIMEOUT: Duration = Duration::from_secs(3);
/// How long a node whose storage failed may take to end.
const GIVE_UP_TIMEOUT: Duration = Duration::from_secs(5);
/// How often the first join is tried again while the member cannot be reached.
const JOIN_RETRY: Duration = Duration::from_secs(1);

/// Runs a node until it is told to stop.
pub fn main(args: Vec<OsString>) -> ExitCode {
    let args = match ServerArgs::try_parse_from(std::iter::once("conclave server".into()).chain(args)) {
        Ok(args) => args,
        Err(error) => {
            // Help and version go to stdout with success; anything else is a mistake of the caller.
            let code = if error.use_stderr() { EXIT_USAGE } else { 0 };
            drop(error.print());
            return ExitCode::from(code);
        }
    };
    let run = || -> Result<(), Box<dyn std::error::Error>> {
        let config = Config::load(args)?;
        let _armed = failpoint::arm()?;
        let planted = planted::active()?;
        start_logging(&config)?;
        if let Some(bug) = planted {
            tracing::warn!(?bug, "this server has a planted bug: it loses and shows secrets");
        }
        guard_memory();
        guard_files();
        let runtime = tokio::runtime::Builder::new_multi_thread().thread_name("api").enable_all().build()?;
        let served = runtime.block_on(serve(config));
        runtime.shutdown_timeout(Duration::from_secs(1));
        Ok(served?)
    };
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(%error, "the node cannot run");
            eprintln!("conclave server: {error}");
            let failed = matches!(error.downcast_ref(), Some(StartError::Fault(_)));
            ExitCode::from(if failed { EXIT_FAULT } else { EXIT_USAGE })
        }
    }
}

/// What the node writes is ciphertext, and nobody else's to read or to copy all the same: RocksDB knows no modes of its own.
fn guard_files() {
    rustix::process::umask(Mode::RWXG | Mode::RWXO);
}

fn start_logging(config: &Config) -> Result<(), Box<dyn std::error::Error>> {
    // openraft tells every step of every election at "info"; whoever wants that names it.
    let names_openraft = config.log_level.contains("openraft");
    let filter =
        if names_openraft { config.log_level.clone() } else { format!("openraft=warn,{}", config.log_level) };
    let filter = EnvFilter::try_new(filter)?;
    let logger = tracing_subscriber::fmt().with_env_filter(filter).with_target(true).with_ansi(false);
    match config.log_format {
        LogFormat::Text => logger.init(),
        LogFormat::Json => logger.json().init(),
    }
    // A panic must reach the log like any other fault, without the arguments that a debug print would add.
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(place, "a task panicked: this is a bug");
    }));
    Ok(())
}

/// Keys live in this process's memory: it must not be dumped to disk or read by another process of the same user.
fn guard_memory() {
    use rustix::process::{DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit};
    let no_core = Rlimit { current: Some(0), maximum: Some(0) };
    if let Err(error) = setrlimit(Resource::Core, no_core) {
        tracing::warn!(%error, "core dumps could not be switched off");
    }
    // Connections, RocksDB's files and Raft share the descriptors: running out of them would stop writes.
    let all = Rlimit { current: getrlimit(Resource::Nofile).maximum, ..getrlimit(Resource::Nofile) };
    if let Err(error) = setrlimit(Resource::Nofile, all) {
        tracing::warn!(%error, "the limit of open files could not be raised");
    }
    if let Err(error) = set_dumpable_behavior(DumpableBehavior::NotDumpable) {
        tracing::warn!(%error, "the process could not be protected from being read");
    }
}

async fn serve(config: Config) -> Result<(), StartError> {
    // One provider for every TLS user in the process, the HTTP client included.
    drop(rustls::crypto::ring::default_provider().install_default());
    let recorded = metrics::install()?;
    tokio::spawn(metrics::keep_up(recorded.clone()));
    let node = Node::open(config, recorded)?;
    recover::tell(&node.config.data_dir);
    let listener = Listener::bind(node.config.api_listen, node.api_tls()?).await?;
    let service = Arc::new(Service::new(Arc::clone(&node)));
    node.serve_peers(Arc::new(PeerService(Arc::clone(&service))));
    let mut loss = node.take_loss();
    if loss.is_none() && node.tls.identity().peer().is_some() {
        let mut founding = node.found().await;
        match node.start_cluster(&mut founding).await {
            Err(StartError::RolledBack(reason)) => loss = Some(node.give_up_data(&mut founding, reason)?),
            started => drop(started?),
        }
    }
    tracing::info!(
        version = VERSION,
        name = %node.config.node_name,
        api = %node.config.api_listen,
        cluster = %node.config.cluster_listen,
        tls = !matches!(node.config.tls, ApiTls::Disabled),
        "the node is up"
    );
    let (stop, stopping) = watch::channel(false);
    tokio::spawn(join_when_told(Arc::clone(&node)));
    tokio::spawn(reopen_when_told(Arc::clone(&node)));
    let tasks = tokio::spawn(task::run(Arc::clone(&service), stopping.clone()));
    let serving = tokio::spawn(listener.serve(service, stopping));
    let rejoining = take_back(Arc::clone(&node), loss);
    let stopped_by = tokio::select! {
        () = wait_for_signal() => Ok(()),
        fault = node.faults.first() => Err(fault),
        Err(error) = rejoining => return Err(error),
    };
    if let Err(fault) = stopped_by {
        return Err(give_up(&node, fault));
    }
    tracing::info!("stopping");
    hand_over(&node).await;
    stop.send_replace(true);
    drop(serving.await);
    drop(tasks.await);
    if let Some(cluster) = node.cluster() {
        cluster.stop().await;
    }
    tracing::info!("stopped");
    Ok(())
}

async fn wait_for_signal() {
    let handler = "the signal handler can be installed";
    let mut terminate = signal(SignalKind::terminate()).expect(handler);
    let mut interrupt = signal(SignalKind::interrupt()).expect(handler);
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}

/// SIGHUP: whoever rotates an audit file says so by it. Without a device it must not end the node either.
async fn reopen_when_told(node: Arc<Node>) {
    let mut hangup = signal(SignalKind::hangup()).expect("the signal handler can be installed");
    while hangup.recv().await.is_some() {
        node.audit().reopen();
    }
}

/// Has the node taken back if it lost what it stored; ends only if that cannot be.
async fn take_back(node: Arc<Node>, loss: Option<Loss>) -> Result<std::convert::Infallible, StartError> {
    if let Some(loss) = loss {
        rejoin::run(node, loss).await?;
    }
    std::future::pending().await
}

/// Ends a node whose storage failed. Nothing is finished in order: what it would write cannot be written.
#[expect(clippy::disallowed_methods, reason = "what would be dropped may wait for the disk for ever")]
fn give_up(node: &Node, fault: Fault) -> StartError {
    // A disk that fails may hold whoever waits for it: the node must be gone for the others, whatever happens.
    std::thread::spawn(|| {
        std::thread::sleep(GIVE_UP_TIMEOUT);
        std::process::abort();
    });
    let mut sentence = fault.sentence;
    if fault.is_damage {
        match node.note_damage(sentence.clone()) {
            Ok(true) => sentence.push_str("; at its next start the node sets its data aside and rejoins"),
            Ok(false) => {}
            Err(error) => tracing::error!(%error, "the damage could not be noted"),
        }
    }
    StartError::Fault(sentence)
}

/// A leader that stops hands over first, so that no request waits for an election.
async fn hand_over(node: &Node) {
    let Some(cluster) = node.cluster() else { return };
    if cluster.leader() == Some(cluster.node_id) && cluster.members().len() > 1 {
        match tokio::time::timeout(HANDOVER_TIMEOUT, cluster.membership.transfer_leadership()).await {
            Ok(Ok(())) => tracing::info!("handed leadership over"),
            Ok(Err(error)) => tracing::warn!(%error, "leadership could not be handed over"),
            Err(_) => tracing::warn!("handing leadership over took too long"),
        }
    }
}

/// Joins the cluster that the settings name, unless the node is a member already.
async fn join_when_told(node: Arc<Node>) {
    let Some(join) = &node.config.join else { return };
    if node.rejoining().is_some() {
        // A member comes back by itself; its token is for the first time.
        return;
    }
    while node.cluster().is_none() {
        match sys::join::join_at(&node, &join.addr, join.token.expose()).await {
            Ok(()) => return,
            Err(failure) => {
                tracing::warn!(reason = %failure.sentences().concat(), "could not join the cluster yet");
                tokio::time::sleep(JOIN_RETRY).await;
            }
        }
    }
}

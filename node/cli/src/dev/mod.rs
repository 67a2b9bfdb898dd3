//! `conclave dev`: a whole cluster of real servers on this machine, for development, demonstrations and tests.
//!
//! Nothing here is special to the servers: what this does, an operator can do by hand. Its state is
//! `DIR/cluster.json`, written when the cluster is ready; a folder that has one is a cluster to start again.
//!
//! It must never signal a process that it cannot prove to be its own.

mod api;
mod cluster_file;
mod found;
mod process;
mod restart;
mod summary;

use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};

use crate::failure::Failure;
use crate::output::{Format, Report};
use cluster_file::ClusterFile;
use process::Servers;

/// In a temporary folder: that it may be removed with the cluster.
const TEMPORARY_MARK: &str = ".temporary";
/// How often a cluster that stays is looked at.
const WATCH_INTERVAL: Duration = Duration::from_millis(200);

#[derive(Args)]
pub struct Dev {
    /// How many nodes to start [default: 3]
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u16).range(1..=9))]
    nodes: Option<u16>,
    /// Where the cluster keeps its data; one that was stopped there starts again [default: a temporary folder]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// API port of the first node, 10 more for each other one, and one more for each node's cluster port; 0: free ports
    #[arg(long, value_name = "PORT", default_value_t = 8200)]
    base_port: u16,
    /// Serve the API over plain HTTP
    #[arg(long)]
    no_tls: bool,
    /// The root token to make [default: a random one]
    #[arg(long, value_name = "TOKEN")]
    root_token: Option<String>,
    /// How many unseal keys to make
    #[arg(long, value_name = "NUMBER", default_value_t = 5)]
    key_shares: u32,
    /// How many of them unseal a node
    #[arg(long, value_name = "NUMBER", default_value_t = 3)]
    key_threshold: u32,
    /// Return when the cluster is ready, and let it run
    #[arg(long)]
    detach: bool,
    /// Print cluster.json instead of a summary
    #[arg(long)]
    json: bool,
    /// Stop the cluster that runs in DIR
    #[arg(long, value_name = "DIR", conflicts_with_all = ["nodes", "dir", "no_tls", "root_token", "detach", "json"])]
    stop: Option<PathBuf>,
}

pub async fn run(dev: Dev, format: Format) -> Result<Report, Failure> {
    if let Some(dir) = &dev.stop {
        return stop(dir).await;
    }
    let folder = Folder::of(&dev)?;
    let json = dev.json || format == Format::Json;
    // Listen before anything runs: an interrupt must not leave servers behind.
    let mut interrupt = Interrupt::listen()?;
    let mut servers = Servers::default();
    let mut made = Vec::new();
    let started = tokio::select! {
        started = start(&dev, &folder, &mut servers, &mut made) => started,
        () = interrupt.received() => Err(Failure::local("interrupted: the cluster was not started")),
    };
    let file = match started {
        Ok(file) => file,
        Err(failure) => {
            servers.stop().await;
            folder.discard(&made);
            return Err(failure);
        }
    };
    let report = summary::report(folder.path(), &file, json);
    if dev.detach {
        servers.release();
        return Ok(report);
    }
    // A reader that has gone is no reason to end the cluster.
    let _ = print(&report.render(Format::Table, None)?);
    eprintln!("Running until it is interrupted (Ctrl-C).");
    stay(&folder, &mut servers, &mut interrupt).await?;
    servers.stop().await;
    folder.finish().await?;
    Ok(Report::silent())
}

/// Starts a new cluster, or the one that `folder` has, to the point where every node serves. Folders that hold nothing
/// of worth until then are named in `made`.
async fn start(
    dev: &Dev,
    folder: &Folder,
    servers: &mut Servers,
    made: &mut Vec<PathBuf>,
) -> Result<ClusterFile, Failure> {
    let file = match ClusterFile::load(folder.path())? {
        Some(file) => restart::run(dev, folder.path(), file, servers).await?,
        None => found::run(dev, folder.path(), servers, made).await?,
    };
    file.save(folder.path())?;
    Ok(file)
}

/// Until the cluster is interrupted or stopped by `--stop`. A node that ends is told of and not started again, since
/// who tries what a cluster survives ends nodes.
async fn stay(folder: &Folder, servers: &mut Servers, interrupt: &mut Interrupt) -> Result<(), Failure> {
    loop {
        tokio::select! {
            () = interrupt.received() => return Ok(()),
            () = tokio::time::sleep(WATCH_INTERVAL) => {}
        }
        for (name, status) in servers.ended() {
            eprintln!("{name} ended ({status})");
        }
        let stopped = servers.is_empty()
            && ClusterFile::load(folder.path())?
                .is_none_or(|file| file.nodes.iter().all(|node| node.pid.is_none()));
        if stopped {
            return Ok(());
        }
    }
}

fn print(text: &str) -> std::io::Result<()> {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}

async fn stop(dir: &Path) -> Result<Report, Failure> {
    let folder = Folder::existing(dir)?;
    match folder.finish().await? {
        Some((stopped, all)) => Ok(Report::done(format!("Stopped {stopped} of {all} nodes"))),
        None => Err(Failure::usage(format!("there is no cluster in {}", dir.display()))),
    }
}

/// Where a cluster lives.
struct Folder {
    path: PathBuf,
    /// Made by this run, in the system's temporary folder.
    made_now: bool,
}

impl Folder {
    fn of(dev: &Dev) -> Result<Self, Failure> {
        let Some(dir) = &dev.dir else {
            let made = tempfile::Builder::new()
                .prefix("conclave-dev-")
                .tempdir()
                .map_err(|error| Failure::local(format!("cannot make a temporary folder: {error}")))?;
            // Kept, since the cluster may outlive this process; the mark tells who removes it.
            let path = made.keep();
            std::fs::write(path.join(TEMPORARY_MARK), "")
                .map_err(|error| Failure::local(format!("cannot write to {}: {error}", path.display())))?;
            return Ok(Self { path, made_now: true });
        };
        cluster_file::make_private_folder(dir)?;
        Self::existing(dir)
    }

    fn existing(dir: &Path) -> Result<Self, Failure> {
        let path = std::fs::canonicalize(dir)
            .map_err(|error| Failure::usage(format!("cannot use the folder {}: {error}", dir.display())))?;
        Ok(Self { path, made_now: false })
    }

    fn path(&self) -> &Path {
        &self.path
    }

    /// After a start that failed: nobody has the keys of what was begun. The logs stay, unless nobody knows where.
    fn discard(self, made: &[PathBuf]) {
        let temporary = self.made_now.then_some(&self.path);
        for path in made.iter().chain(temporary) {
            // The failure that led here is what the user must hear of.
            let _ = std::fs::remove_dir_all(path);
        }
    }

    /// Stops whatever processes the folder's cluster has, and removes a temporary folder. How many ran, and of how many
    /// nodes; nothing if there is no cluster.
    async fn finish(self) -> Result<Option<(usize, usize)>, Failure> {
        let Some(mut file) = ClusterFile::load(&self.path)? else { return Ok(None) };
        let stopped = process::stop_all(&mut file).await;
        // `--stop` and the program that stays may both end a cluster: the folder may be gone by now.
        if self.path.join(TEMPORARY_MARK).exists() {
            match std::fs::remove_dir_all(&self.path) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    return Err(Failure::local(format!("cannot remove {}: {error}", self.path.display())));
                }
                _ => {}
            }
        } else {
            file.save(&self.path)?;
        }
        Ok(Some((stopped, file.nodes.len())))
    }
}

/// SIGINT and SIGTERM.
struct Interrupt {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

impl Interrupt {
    fn listen() -> Result<Self, Failure> {
        let listen = |kind| {
            signal(kind).map_err(|error| Failure::local(format!("cannot listen for signals: {error}")))
        };
        Ok(Self { interrupt: listen(SignalKind::interrupt())?, terminate: listen(SignalKind::terminate())? })
    }

    async fn received(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

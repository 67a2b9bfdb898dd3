//! `conclave operator snapshot`: a backup of the whole cluster in one file, and back.
//!
//! The file appears only when it is complete, and only its owner may read it.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use conclave_client::Client;

use crate::failure::Failure;
use crate::output::Report;

const PATH: &str = "sys/storage/raft/snapshot";
const PATH_FORCE: &str = "sys/storage/raft/snapshot-force";

#[derive(Subcommand)]
pub enum Snapshot {
    /// Write a backup to a file
    Save {
        /// The file to write; an older one is replaced
        file: PathBuf,
    },
    /// Put a backup in the place of all there is
    Restore(Restore),
}

#[derive(Args)]
pub struct Restore {
    /// Restore even a backup of another cluster, with other unseal keys
    #[arg(long)]
    force: bool,
    file: PathBuf,
}

pub async fn run(snapshot: Snapshot, client: &Client) -> Result<Report, Failure> {
    match snapshot {
        Snapshot::Save { file } => save(&file, client).await,
        Snapshot::Restore(args) => restore(args, client).await,
    }
}

async fn save(path: &Path, client: &Client) -> Result<Report, Failure> {
    let fault = |doing: &str, error: std::io::Error| {
        Failure::local(format!("cannot {doing} {}: {error}", path.display()))
    };
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    // Made with mode 0600, and removed if anything fails before the end.
    let partial = tempfile::Builder::new()
        .prefix(".snapshot-")
        .tempfile_in(folder)
        .map_err(|error| fault("write", error))?;
    let copy = partial.as_file().try_clone().map_err(|error| fault("write", error))?;
    let mut sink = tokio::fs::File::from_std(copy);
    let length_bytes = client.download(PATH, &mut sink).await?;
    if length_bytes == 0 {
        return Err(Failure::refused("the server sent an empty backup: nothing was written"));
    }
    sink.sync_all().await.map_err(|error| fault("write", error))?;
    partial.persist(path).map_err(|error| fault("write", error.error))?;
    Ok(Report::done(format!("Success! Saved a snapshot of {length_bytes} bytes to {}", path.display())))
}

async fn restore(args: Restore, client: &Client) -> Result<Report, Failure> {
    let file = tokio::fs::File::open(&args.file).await.map_err(|error| {
        let hint = if error.kind() == ErrorKind::NotFound { " (is the path right?)" } else { "" };
        Failure::usage(format!("cannot read {}: {error}{hint}", args.file.display()))
    })?;
    client.upload(if args.force { PATH_FORCE } else { PATH }, file).await?;
    Ok(Report::done(format!("Success! Restored the snapshot {}", args.file.display())))
}

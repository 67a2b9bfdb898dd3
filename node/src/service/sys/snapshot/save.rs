//! Making a backup of one consistent view, at any node.

use std::fs::File;
use std::io::{self, BufWriter, Seek as _, Write};
use std::sync::Arc;

use bytes::Bytes;
use conclave_core::crypto::{Barrier, Kind, plain_key};
use conclave_storage::StorageError;
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;

use super::format::{self, Meta};
use crate::cluster::Cluster;
use crate::service::Service;
use crate::service::answer::{Answer, Body};
use crate::service::failure::Failure;

/// Pieces of the answer that may wait for a slow client.
const PIECES_WAITING_MAX: usize = 8;
/// Bytes of one piece.
const PIECE_BYTES: usize = 64 * 1024;

/// The view is copied to a file first: a slow client must not hold a RocksDB snapshot open.
pub async fn save(service: &Service, cluster: &Arc<Cluster>) -> Result<Answer, Failure> {
    let unsealed = cluster.seal.unsealed().ok_or(Failure::Sealed)?;
    let barrier = Arc::clone(&unsealed.barrier);
    let data_dir = service.node().config.data_dir.clone();
    let reader = Arc::clone(cluster);
    let copied = tokio::task::spawn_blocking(move || copy_state(&reader, &data_dir)).await;
    let (state, meta, sha256) = copied
        .map_err(Failure::internal)?
        .map_err(|error| Failure::Internal(format!("the snapshot could not be made: {error}")))?;
    let index = meta.index;
    let (sender, pieces) = mpsc::channel(PIECES_WAITING_MAX);
    tokio::task::spawn_blocking(move || send(&barrier, &meta, state, &sha256, sender));
    let mut answer = Answer::new(200, Bytes::new());
    answer.body = Body::Stream(pieces);
    answer.content_type = "application/gzip";
    answer.attachment = Some("conclave.snap");
    answer.index = Some(index);
    Ok(answer)
}

fn copy_state(cluster: &Cluster, data_dir: &std::path::Path) -> Result<(File, Meta, [u8; 32]), CopyError> {
    let mut out =
        Counted { inner: BufWriter::new(tempfile::tempfile_in(data_dir)?), hash: Sha256::new(), bytes: 0 };
    let (index, time_ms, records) = cluster.reader.view(|view| {
        if view.get(&plain_key(Kind::RestoreMarker))?.is_some() {
            return Err(CopyError::Restoring);
        }
        let mut kept = 0;
        view.export(|key, record| {
            if super::is_one_of(key, &super::RESTORED) {
                kept += 1;
                format::write_record(&mut out, key, record.expires_at_ms, &record.sealed)?;
            }
            Ok::<(), CopyError>(())
        })?;
        Ok::<_, CopyError>((view.progress()?.index(), view.time_ms(), kept))
    })?;
    let mut file = out.inner.into_inner().map_err(|error| error.into_error())?;
    file.rewind()?;
    let meta = Meta::new(cluster.cluster_id.to_string(), index, time_ms, records, out.bytes);
    Ok((file, meta, out.hash.finalize().into()))
}

fn send(
    barrier: &Barrier,
    meta: &Meta,
    state: File,
    sha256: &[u8; 32],
    sender: mpsc::Sender<Result<Bytes, io::Error>>,
) {
    let mut out = BufWriter::with_capacity(PIECE_BYTES, Pieces(sender));
    let written = format::write(&mut out, barrier, meta, state, sha256).and_then(|()| out.flush());
    if let Err(error) = written {
        // The client sees a body that breaks off, not a shorter one that looks whole.
        tracing::warn!(%error, "a snapshot was not sent to its end");
        drop(out.get_ref().0.blocking_send(Err(error)));
    }
}

#[derive(Debug, thiserror::Error)]
enum CopyError {
    #[error("another snapshot is being restored: try again when that is done")]
    Restoring,
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// Counts and hashes what is written.
struct Counted<W> {
    inner: W,
    hash: Sha256,
    bytes: u64,
}

impl<W: Write> Write for Counted<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.hash.update(&bytes[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

struct Pieces(mpsc::Sender<Result<Bytes, io::Error>>);

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let piece = Bytes::copy_from_slice(bytes);
        self.0.blocking_send(Ok(piece)).map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

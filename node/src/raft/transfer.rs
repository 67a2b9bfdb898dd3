//! Snapshots on their way between two nodes: a header, then the files in chunks.
//!
//! The disk is read and written on threads that may block, a few chunks ahead of the network and no more. What
//! arrives is checked by the storage's writer before Raft hears of it.

use std::time::Duration;

use conclave_proto::peer::{FileChunk, SnapshotHeader, SnapshotPart, snapshot_part::Part};
use conclave_storage::convert::{snapshot_meta_to_proto, vote_to_proto};
use conclave_storage::types::{Raft, SnapshotResponse, Vote};
use conclave_storage::{SnapshotData, SnapshotInbox, SnapshotWriter, StorageError};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use super::wire;

/// Bytes of a file in one message.
const CHUNK_BYTES: usize = 512 * 1024;
/// Chunks in memory between the disk and the network.
const CHUNKS_AHEAD: usize = 4;
/// How long a sender may pause between two parts before the receiver gives up, so that another can be received.
const PART_TIMEOUT: Duration = Duration::from_secs(30);

/// The snapshot as messages. Ends early, without its last chunks, if the disk fails: the receiver then refuses it.
pub fn parts(vote: &Vote, snapshot: SnapshotData) -> ReceiverStream<SnapshotPart> {
    let (sender, receiver) = mpsc::channel(CHUNKS_AHEAD);
    let header = SnapshotHeader {
        vote: Some(vote_to_proto(vote)),
        meta: Some(snapshot_meta_to_proto(snapshot.meta(), snapshot.id())),
        files: snapshot.files().to_vec(),
    };
    tokio::spawn(async move {
        if sender.send(SnapshotPart { part: Some(Part::Header(header)) }).await.is_err() {
            return;
        }
        let mut chunks = snapshot.chunks(CHUNK_BYTES);
        loop {
            let read = conclave_storage::blocking(move || (chunks.next(), chunks)).await;
            let Ok((chunk, rest)) = read else { return };
            chunks = rest;
            let chunk = match chunk {
                Some(Ok(chunk)) => chunk,
                Some(Err(error)) => {
                    tracing::error!(%error, snapshot = snapshot.id(), "a snapshot file cannot be read");
                    return;
                }
                None => return,
            };
            let part = FileChunk { file: chunk.file, offset: chunk.offset, data: chunk.data };
            if sender.send(SnapshotPart { part: Some(Part::Chunk(part)) }).await.is_err() {
                // The receiver or Raft gave up.
                return;
            }
        }
    });
    ReceiverStream::new(receiver)
}

/// Receives a snapshot from `sender` and installs it.
///
/// `allowed` is asked before each part: a sender that is removed meanwhile is cut off.
pub async fn receive(
    mut parts: Streaming<SnapshotPart>,
    sender: u64,
    allowed: impl Fn() -> Result<(), Status>,
    inbox: SnapshotInbox,
    raft: Raft,
) -> Result<SnapshotResponse, Status> {
    let Some(SnapshotPart { part: Some(Part::Header(header)) }) = next_part(&mut parts).await? else {
        return Err(Status::invalid_argument("a snapshot starts with its header"));
    };
    let vote = wire::required_vote(header.vote.as_ref(), "snapshot.vote").map_err(invalid)?;
    if vote.leader_id.node_id != sender {
        return Err(Status::permission_denied("a snapshot comes from the leader itself"));
    }
    let meta = header.meta.ok_or_else(|| Status::invalid_argument("the snapshot has no metadata"))?;
    let writer = blocking(move || inbox.begin(meta, header.files)).await?;

    let (pieces, queue) = mpsc::channel(CHUNKS_AHEAD);
    let writing = tokio::spawn(write_all(writer, queue));
    let feeding = async {
        while let Some(part) = next_part(&mut parts).await? {
            allowed()?;
            let Some(Part::Chunk(chunk)) = part.part else {
                return Err(Status::invalid_argument("after the header there are only chunks"));
            };
            if pieces.send(Piece::Chunk(chunk)).await.is_err() {
                // The writer refused a chunk; its own error says why.
                break;
            }
        }
        Ok(())
    };
    let fed = feeding.await;
    if fed.is_ok() {
        let _writer_refused_before = pieces.send(Piece::End).await;
    }
    drop(pieces);
    let written = writing.await.map_err(|_| Status::internal("writing the snapshot failed"))?;
    fed?;
    let snapshot = written?.ok_or_else(|| Status::cancelled("the snapshot ended early"))?;
    raft.install_full_snapshot(vote, snapshot.into_snapshot())
        .await
        .map_err(|error| Status::unavailable(format!("raft has stopped: {error}")))
}

enum Piece {
    Chunk(FileChunk),
    /// The sender closed the stream in order.
    End,
}

/// Writes until the end. `None`: the sender went away before it; what was written is dropped.
async fn write_all(
    mut writer: SnapshotWriter,
    mut queue: mpsc::Receiver<Piece>,
) -> Result<Option<SnapshotData>, Status> {
    while let Some(piece) = queue.recv().await {
        match piece {
            Piece::Chunk(chunk) => {
                let write = move || writer.write(chunk.file, chunk.offset, &chunk.data).map(|()| writer);
                writer = blocking(write).await?;
            }
            Piece::End => return blocking(move || writer.finish()).await.map(Some),
        }
    }
    Ok(None)
}

async fn next_part(parts: &mut Streaming<SnapshotPart>) -> Result<Option<SnapshotPart>, Status> {
    tokio::time::timeout(PART_TIMEOUT, parts.message())
        .await
        .map_err(|_| Status::deadline_exceeded("the sender of the snapshot went silent"))?
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StorageError> + Send + 'static,
) -> Result<T, Status> {
    conclave_storage::blocking(work)
        .await
        .map_err(|_| Status::internal("receiving the snapshot failed"))?
        .map_err(storage)
}

fn storage(error: StorageError) -> Status {
    Status::failed_precondition(error.to_string())
}

fn invalid(error: impl std::error::Error) -> Status {
    Status::invalid_argument(error.to_string())
}

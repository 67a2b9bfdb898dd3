//! Raft's state machine on RocksDB.
//!
//! Entries are applied in chunks, one write batch each, not synced: after a power loss the state is older, and Raft
//! applies the log again from there. It is never newer than the log on this disk, whatever other nodes have committed. That is sound because the log is purged only up to a snapshot that is on disk.
//! Nobody is answered before the batch is in the database. After an error nothing is applied any more (I12).

use std::io;
use std::pin::Pin;
use std::sync::Arc;

use conclave_faults::failpoint::{Point, hit};
use conclave_faults::{Bug, planted};
use conclave_proto::txn::Outcome;
use futures::stream::Peekable;
use futures::{FutureExt as _, Stream, StreamExt as _};
use openraft::OptionalSend;
use openraft::storage::{ApplyResponder, EntryResponder, RaftSnapshotBuilder, RaftStateMachine};

use crate::awaited::Own;
use crate::chunk::{Chunk, ExpiryFloor};
use crate::error::StorageError;
use crate::install::StateFolder;
use crate::snapshot::{Draft, SnapshotData, SnapshotStore};
use crate::state::{Progress, SharedState, StateDb};
use crate::synced::OnDisk;
use crate::types::{LeaderId, LogId, Response, Snapshot, SnapshotMeta, StoredMembership, TypeConfig};

pub struct StateMachine {
    shared: Arc<SharedState>,
    folder: StateFolder,
    snapshots: Arc<SnapshotStore>,
    progress: Progress,
    floor: ExpiryFloor,
    on_disk: OnDisk,
    /// Why nothing may be applied any more.
    failure: Option<String>,
}

impl StateMachine {
    pub(crate) fn new(
        shared: Arc<SharedState>,
        folder: StateFolder,
        snapshots: Arc<SnapshotStore>,
        progress: Progress,
        on_disk: OnDisk,
    ) -> Self {
        Self { shared, folder, snapshots, progress, floor: ExpiryFloor::default(), on_disk, failure: None }
    }

    /// Applies this entry and all before `end` that are ready behind it, up to a chunk, and answers their proposers.
    fn apply_ready<S>(
        &mut self,
        first: EntryResponder<TypeConfig>,
        entries: &mut Peekable<S>,
        end: u64,
        begins_stream: bool,
    ) -> Result<(), StorageError>
    where
        S: Stream<Item = io::Result<EntryResponder<TypeConfig>>> + Unpin,
    {
        let state = self.shared.state();
        let mut chunk = Chunk::new(&state, self.progress, self.floor, begins_stream);
        let mut answers: Vec<(ApplyResponder<TypeConfig>, Response)> = Vec::new();
        let mut told: Vec<(LeaderId, Own, Vec<Outcome>)> = Vec::new();
        let mut next = Some(first);
        while let Some((entry, responder)) = next.take() {
            let own = self.shared.awaited.own(&entry);
            let leader = *entry.log_id.committed_leader_id();
            let mut response = chunk.apply(entry)?;
            if planted::is(Bug::ConflictToldAsDone) {
                response.outcomes.fill(Outcome::Applied { revision: response.revision });
            }
            if !own.is_empty()
                || Some(leader) != told.last().map_or(self.progress.leader(), |last| Some(last.0))
            {
                told.push((leader, own, response.outcomes.clone()));
            }
            answers.extend(responder.map(|responder| (responder, response)));
            if chunk.is_full() {
                break;
            }
            let is_next = |entry: &io::Result<EntryResponder<TypeConfig>>| {
                entry.as_ref().is_ok_and(|(entry, _)| entry.log_id.index() < end)
            };
            let ready = Pin::new(&mut *entries).next_if(is_next).now_or_never().flatten();
            next = ready.transpose().map_err(log_unreadable)?;
        }
        self.shared.announce(chunk.last_index());
        if planted::is(Bug::AppliedToldEarly) {
            self.shared.publish_applied(chunk.progress());
        }
        let applied = chunk.commit()?;
        self.progress = applied.progress;
        self.floor = applied.floor;
        if let Some(membership) = applied.membership {
            self.shared.publish_membership(membership);
        }
        self.shared.publish_applied(&self.progress);
        hit(Point::ChunkPublished);
        for (leader, own, outcomes) in told {
            self.shared.awaited.applied(leader, &own, &outcomes);
        }
        for (responder, response) in answers {
            responder.send(response);
        }
        Ok(())
    }

    fn check_running(&self) -> Result<(), StorageError> {
        self.failure.clone().map_or(Ok(()), |why| Err(StorageError::Stopped(why)))
    }

    fn fail(&mut self, error: StorageError) -> io::Error {
        let why = error.to_string();
        tracing::error!(error = %why, "the state cannot be written; this node stops");
        self.failure = Some(why);
        error.into()
    }
}

fn log_unreadable(source: io::Error) -> StorageError {
    StorageError::Io { what: "read the log to apply it".to_owned(), source }
}

impl RaftStateMachine<TypeConfig> for StateMachine {
    type SnapshotData = SnapshotData;
    type SnapshotBuilder = SnapshotBuilder;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembership), io::Error> {
        Ok((self.progress.last_applied, (*self.shared.membership()).clone()))
    }

    async fn apply<S>(&mut self, entries: S) -> Result<(), io::Error>
    where
        S: Stream<Item = Result<EntryResponder<TypeConfig>, io::Error>> + Unpin + OptionalSend,
    {
        self.check_running()?;
        let mut entries = entries.peekable();
        let mut begins_stream = true;
        while let Some(first) = entries.next().await {
            let first = first.map_err(log_unreadable).map_err(|error| self.fail(error))?;
            let end = self.on_disk.wait_for(first.0.log_id.index()).await?;
            let done = self.apply_ready(first, &mut entries, end, begins_stream);
            done.map_err(|error| self.fail(error))?;
            begins_stream = false;
            // A long replay must not keep the other tasks of this runtime from running.
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    async fn try_create_snapshot_builder(&mut self, _force: bool) -> Option<SnapshotBuilder> {
        Some(self.get_snapshot_builder().await)
    }

    /// Takes the checkpoint right here, while nothing is applied, so that it holds exactly what Raft knows of.
    async fn get_snapshot_builder(&mut self) -> SnapshotBuilder {
        let (snapshots, state) = (self.snapshots.clone(), self.shared.state());
        let draft = blocking(move || snapshots.checkpoint(state)).await;
        SnapshotBuilder { snapshots: self.snapshots.clone(), draft: Some(draft) }
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta,
        snapshot: SnapshotData,
    ) -> Result<(), io::Error> {
        self.check_running()?;
        let (folder, snapshots, meta) = (self.folder.clone(), self.snapshots.clone(), meta.clone());
        let install = move || {
            let state: Arc<StateDb> = folder.install(&snapshots, &meta, &snapshot)?;
            let (progress, membership) = (state.progress()?, state.membership()?);
            Ok((state, progress, membership))
        };
        let before = self.progress.summary;
        let (state, progress, membership) = blocking(install).await.map_err(|error| self.fail(error))?;
        hit(Point::InstallDone);
        self.progress = progress;
        if planted::is(Bug::InstallKeepsSummary) {
            self.progress.summary = before;
        }
        self.floor = ExpiryFloor::default();
        self.shared.announce(self.progress.index());
        if !planted::is(Bug::InstallKeepsState) {
            self.shared.replace(state);
        }
        self.shared.publish_membership(membership);
        self.shared.publish_applied(&self.progress);
        self.shared.awaited.skipped(self.progress.leader());
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot>, io::Error> {
        Ok(self.snapshots.current().map(SnapshotData::into_snapshot))
    }
}

/// Turns a checkpoint into a snapshot, beside the state machine.
pub struct SnapshotBuilder {
    snapshots: Arc<SnapshotStore>,
    draft: Option<Result<Draft, StorageError>>,
}

impl RaftSnapshotBuilder<TypeConfig> for SnapshotBuilder {
    type SnapshotData = SnapshotData;

    async fn build_snapshot(&mut self) -> Result<Snapshot, io::Error> {
        let draft =
            self.draft.take().ok_or_else(|| io::Error::other("a snapshot builder builds only once"))??;
        let snapshots = self.snapshots.clone();
        Ok(blocking(move || snapshots.finish(draft)).await?.into_snapshot())
    }
}

/// Runs disk work off the runtime's worker threads.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StorageError> + Send + 'static,
) -> Result<T, StorageError> {
    crate::blocking(work)
        .await
        .map_err(|error| StorageError::Stopped(format!("the storage task did not finish: {error}")))?
}

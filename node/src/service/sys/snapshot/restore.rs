//! Putting a backup back: verified as a whole, then applied through Raft in pieces.
//!
//! While the pieces go in, a mark in the state makes every node refuse requests, so that nobody sees half of it. A
//! restore that was interrupted leaves the mark: run it again. The tables that callers are checked against come last,
//! in the transaction that removes the mark, so the caller's token works until it is done.

use std::fs::File;
use std::io::{BufReader, BufWriter, Seek as _, Write as _};
use std::sync::Arc;
use std::time::Duration;

use conclave_core::crypto::{Kind, plain_key};
use conclave_core::view::View;
use conclave_faults::failpoint::{Point, hit};
use conclave_proto::log::Txn;
use conclave_proto::txn::Outcome;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::sync::mpsc;

use super::format::{self, FormatError, Record};
use super::{RESTORED, is_one_of};
use crate::cluster::Cluster;
use crate::service::Service;
use crate::service::answer::Answer;
use crate::service::call::Call;
use crate::service::failure::Failure;

/// Largest file that is taken.
const FILE_BYTES_MAX: u64 = 64 * 1024 * 1024 * 1024;
/// Bytes of records in one transaction, about.
const PIECE_BYTES: usize = 1024 * 1024;
/// How long this node may be behind what was committed.
const APPLY_TIMEOUT: Duration = Duration::from_secs(30);
/// Records that one transaction deletes.
const PIECE_DELETES: usize = 1000;
/// Entries that are made at most to drop what expired while it was brought back: 256 records each.
const EXPIRED_PIECES_MAX: usize = 64;
/// Whoever is asked for anything is first looked up there.
const TABLES: [Kind; 2] = [Kind::Mounts, Kind::Token];

pub async fn restore(service: &Service, cluster: &Arc<Cluster>, call: &Call) -> Result<Answer, Failure> {
    let upload = call
        .take_upload()
        .ok_or_else(|| Failure::invalid("the request has no body: send a snapshot file"))?;
    let file = receive(service, upload).await?;
    let unsealed = cluster.seal.unsealed().ok_or(Failure::Sealed)?;
    let data_dir = service.node().config.data_dir.clone();
    let verified = tokio::task::spawn_blocking(move || verify(file, &data_dir, &unsealed.barrier)).await;
    let state = verified.map_err(Failure::internal)?.map_err(|error| Failure::invalid(error.to_string()))?;
    tracing::warn!(request_id = %call.request_id, "restoring a snapshot");
    let restore = Restore::begin(cluster).await?;
    hit(Point::RestoreMarked);
    restore.delete_secrets().await?;
    hit(Point::RestoreDeleted);
    let (sender, mut records) = mpsc::channel(64);
    let reading = tokio::task::spawn_blocking(move || send_records(state, &sender));
    let mut piece = Txn::default();
    let mut bytes = 0;
    let mut last = Txn::default();
    while let Some(record) = records.recv().await {
        if is_one_of(&record.key, &TABLES) {
            last.put_until(record.key, record.sealed, record.expires_at_ms);
            continue;
        }
        // It would count among the others until somebody looked for it.
        if has_expired(record.expires_at_ms, cluster.glance_now(|_, now_ms| now_ms)) {
            continue;
        }
        bytes += record.sealed.len();
        piece.put_until(record.key, record.sealed, record.expires_at_ms);
        if bytes >= PIECE_BYTES {
            restore.commit(std::mem::take(&mut piece)).await?;
            bytes = 0;
        }
    }
    reading.await.map_err(Failure::internal)?.map_err(|error| {
        Failure::Internal(format!("the verified snapshot could not be read again: {error}"))
    })?;
    restore.commit(piece).await?;
    hit(Point::RestoreFinish);
    restore.finish(last).await?;
    hit(Point::RestoreFinished);
    restore.drop_expired().await;
    tracing::warn!(request_id = %call.request_id, "restored a snapshot");
    Ok(Answer::no_content())
}

/// Takes the upload to a file that has no name, so that nothing of it stays behind.
async fn receive(service: &Service, mut upload: Incoming) -> Result<File, Failure> {
    let disk =
        |error: std::io::Error| Failure::Internal(format!("the snapshot could not be stored: {error}"));
    let mut file = BufWriter::new(tempfile::tempfile_in(&service.node().config.data_dir).map_err(disk)?);
    let mut received = 0_u64;
    while let Some(frame) = upload.frame().await {
        let frame = frame.map_err(|_| Failure::invalid("the snapshot's upload ended early"))?;
        let Ok(piece) = frame.into_data() else { continue };
        received += piece.len() as u64;
        if received > FILE_BYTES_MAX {
            return Err(Failure::TooLarge("the snapshot is larger than 64 GiB".to_owned()));
        }
        file.write_all(&piece).map_err(disk)?;
    }
    let mut file = file.into_inner().map_err(|error| disk(error.into_error()))?;
    file.rewind().map_err(disk)?;
    Ok(file)
}

fn verify(
    file: File,
    data_dir: &std::path::Path,
    barrier: &conclave_core::crypto::Barrier,
) -> Result<File, FormatError> {
    let mut state = BufWriter::new(tempfile::tempfile_in(data_dir)?);
    let meta = format::read(BufReader::new(file), barrier, &mut state)?;
    let mut state = state.into_inner().map_err(|error| error.into_error())?;
    // Every record must parse before the first is touched.
    state.rewind()?;
    let mut reader = BufReader::new(&state);
    let mut records = 0;
    while format::read_record(&mut reader)?.is_some() {
        records += 1;
    }
    if records != meta.records {
        return Err(FormatError::Malformed("the number of records is not what it says".to_owned()));
    }
    state.rewind()?;
    Ok(state)
}

fn send_records(state: File, sender: &mpsc::Sender<Record>) -> Result<(), FormatError> {
    let mut reader = BufReader::new(state);
    while let Some(record) = format::read_record(&mut reader)? {
        if is_one_of(&record.key, &RESTORED) && sender.blocking_send(record).is_err() {
            break;
        }
    }
    Ok(())
}

fn has_expired(expires_at_ms: u64, now_ms: u64) -> bool {
    expires_at_ms != 0 && expires_at_ms <= now_ms
}

/// A restore under way. Every piece requires the mark as this restore set it, so that of two at once the later wins.
struct Restore<'a> {
    cluster: &'a Cluster,
    /// Revision of the mark.
    marked: u64,
}

impl<'a> Restore<'a> {
    /// Sets the mark, and touches the mount table, so that writes planned before it cannot be applied after it.
    async fn begin(cluster: &'a Cluster) -> Result<Self, Failure> {
        let mut txn = Txn::default();
        txn.put(plain_key(Kind::RestoreMarker), Vec::new());
        let key = plain_key(Kind::Mounts);
        if let Some(table) = cluster.view(|view| view.get(&key))? {
            txn.require(key.clone(), table.revision);
            txn.put(key, table.sealed);
        }
        let Outcome::Applied { revision } = cluster.propose_patiently(txn).await? else {
            return Err(Failure::Overloaded("the mounts were changed at this moment: try again".to_owned()));
        };
        let restore = Self { cluster, marked: revision };
        restore.wait_for(revision).await?;
        Ok(restore)
    }

    async fn delete_secrets(&self) -> Result<(), Failure> {
        for kind in RESTORED.into_iter().filter(|kind| !TABLES.contains(kind)) {
            let mut from = Some(plain_key(kind));
            while let Some(start) = from.take() {
                let (txn, next) = self.cluster.view(|view| deletes(view, kind, &start, PIECE_DELETES))?;
                self.commit(txn).await?;
                from = next;
            }
        }
        Ok(())
    }

    /// Replaces the tables and removes the mark, at once.
    async fn finish(&self, tables: Txn) -> Result<(), Failure> {
        let mut txn = Txn::default();
        for kind in TABLES {
            let (deleted, _) = self.cluster.view(|view| deletes(view, kind, &plain_key(kind), usize::MAX))?;
            txn.writes.extend(deleted.writes);
        }
        let now_ms = self.cluster.glance_now(|_, now_ms| now_ms);
        txn.writes
            .extend(tables.writes.into_iter().filter(|write| !has_expired(write.expires_at_ms, now_ms)));
        let mark = plain_key(Kind::RestoreMarker);
        txn.delete(mark.clone());
        match self.commit(txn).await {
            // Its fate was not known in time: the mark is gone, so it was done.
            Err(_) if self.cluster.view(|view| view.get(&mark))?.is_none() => Ok(()),
            done => done,
        }
    }

    /// What has expired since it was brought back lies where the leader looks no more: it has seen all until then.
    async fn drop_expired(&self) {
        for _ in 0..EXPIRED_PIECES_MAX {
            let now_ms = self.cluster.glance_now(|_, now_ms| now_ms);
            match self.cluster.reader.next_expiry_ms(0) {
                Ok(Some(due_ms)) if due_ms <= now_ms => {}
                _ => return,
            }
            // Applying any entry drops some. If none can be committed now, the next one that is will do.
            let Ok(Outcome::Applied { revision }) = self.cluster.propose_patiently(Txn::default()).await
            else {
                return;
            };
            if self.wait_for(revision).await.is_err() {
                return;
            }
        }
    }

    /// Commits a piece, and waits until this node sees it. A piece whose fate stays unknown ends the restore: running it
    /// again makes the same changes.
    async fn commit(&self, mut txn: Txn) -> Result<(), Failure> {
        if txn.is_empty() {
            return Ok(());
        }
        txn.require(plain_key(Kind::RestoreMarker), self.marked);
        match self.cluster.propose_patiently(txn).await? {
            Outcome::Applied { revision } => self.wait_for(revision).await,
            Outcome::Conflict { .. } => Err(Failure::Overloaded(
                "another restore began meanwhile: wait for it, or start again".to_owned(),
            )),
        }
    }

    async fn wait_for(&self, revision: u64) -> Result<(), Failure> {
        let mut applied = self.cluster.reader.applied();
        let reached = applied.wait_for(|index| *index >= revision);
        match tokio::time::timeout(APPLY_TIMEOUT, reached).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(Failure::NoQuorum { waited: APPLY_TIMEOUT }),
        }
    }
}

/// Deletes records of one kind from `from` on, and says where to go on if there may be more.
fn deletes(view: &dyn View, kind: Kind, from: &[u8], max: usize) -> Result<(Txn, Option<Vec<u8>>), Failure> {
    let mut txn = Txn::default();
    let mut cursor = view.cursor();
    let mut from = from.to_vec();
    while txn.writes.len() < max {
        let found = cursor.seek(&from)?.filter(|(key, _)| is_one_of(key, &[kind]));
        let Some((key, _)) = found else { return Ok((txn, None)) };
        from.clone_from(&key);
        from.push(0);
        txn.delete(key);
    }
    Ok((txn, Some(from)))
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::collections::BTreeSet;

    use conclave_core::view::{Cursor, Record, ViewError};

    use super::*;

    /// A view over keys, and from where it was searched.
    #[derive(Default)]
    struct Keys {
        keys: BTreeSet<Vec<u8>>,
        sought: RefCell<Vec<Vec<u8>>>,
    }

    impl View for Keys {
        fn get(&self, key: &[u8]) -> Result<Option<Record>, ViewError> {
            let record = Record { revision: 1, expires_at_ms: 0, sealed: bytes::Bytes::new() };
            Ok(self.keys.contains(key).then_some(record))
        }

        fn cursor(&self) -> Box<dyn Cursor + '_> {
            Box::new(At(self))
        }
    }

    struct At<'a>(&'a Keys);

    impl Cursor for At<'_> {
        fn seek(&mut self, from: &[u8]) -> Result<Option<(Vec<u8>, Record)>, ViewError> {
            self.0.sought.borrow_mut().push(from.to_vec());
            let found = self.0.keys.range(from.to_vec()..).next();
            Ok(found.map(|key| (key.clone(), self.0.get(key).unwrap().unwrap())))
        }
    }

    #[test]
    fn what_is_deleted_in_pieces_is_gone_through_once_and_nothing_else_is_touched() {
        const SECRETS: u8 = 7;
        let mut view = Keys::default();
        for kind in [Kind::Mounts, Kind::Token, Kind::KvV1, Kind::KvMeta] {
            view.keys.extend((0..SECRETS).map(|number| vec![kind.byte(), number]));
        }
        let before = view.keys.clone();
        let (mut from, mut deleted, mut pieces) = (Some(plain_key(Kind::KvV1)), BTreeSet::new(), 0);
        while let Some(start) = from.take() {
            let (txn, next) = deletes(&view, Kind::KvV1, &start, 3).unwrap();
            assert!(txn.writes.len() <= 3 && txn.writes.iter().all(|write| write.value.is_none()));
            deleted.extend(txn.writes.iter().map(|write| write.key.to_vec()));
            view.keys.retain(|key| !deleted.contains(key));
            (from, pieces) = (next, pieces + 1);
        }
        assert_eq!((deleted.len(), pieces), (usize::from(SECRETS), 3));
        assert!(before.difference(&view.keys).all(|key| key[0] == Kind::KvV1.byte()));
        let sought = view.sought.borrow();
        assert!(sought.is_sorted() && sought[0] == plain_key(Kind::KvV1), "it never starts again");
        assert_eq!(sought.len(), usize::from(SECRETS) + 1);
    }
}

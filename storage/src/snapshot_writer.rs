//! Receiving a snapshot from the leader into a side folder, without trusting a byte of it.
//!
//! Names, sizes, order and checksums are verified before anything can be installed; one snapshot at a time. What
//! is not finished is removed.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use conclave_faults::failpoint::{Point, hit};
use conclave_faults::{Bug, planted};
use conclave_proto::log;
use conclave_proto::peer::SnapshotFile;
use sha2::{Digest as _, Sha256};

use crate::convert::snapshot_meta_from_proto;
use crate::error::StorageError;
use crate::files::{self, Directory};
use crate::manifest::{Manifest, is_snapshot_file};
use crate::snapshot::{SnapshotData, SnapshotStore};

/// Largest chunk that is accepted, in bytes.
pub const SNAPSHOT_CHUNK_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Most files a snapshot may have; RocksDB's are about 64 MiB each.
pub const SNAPSHOT_FILES_MAX: usize = 16_384;
/// Largest snapshot that is accepted, in bytes.
pub const SNAPSHOT_BYTES_MAX: u64 = 1 << 40;
const SHA256_BYTES: usize = 32;

/// Where snapshots from the leader are received.
#[derive(Clone)]
pub struct SnapshotInbox {
    store: Arc<SnapshotStore>,
}

impl SnapshotInbox {
    pub fn new(store: Arc<SnapshotStore>) -> Self {
        Self { store }
    }

    /// Starts to receive what the header announces. Blocks on the disk.
    ///
    /// # Errors
    /// [`StorageError::Snapshot`] when the announcement is not acceptable or another snapshot is being received.
    pub fn begin(
        &self,
        meta: log::SnapshotMeta,
        files: Vec<SnapshotFile>,
    ) -> Result<SnapshotWriter, StorageError> {
        check_announcement(&files)?;
        let (meta, id) = snapshot_meta_from_proto(meta)?;
        let slot = Slot::take(self.store.clone())?;
        let directory = self.store.incoming_folder()?;
        hit(Point::IncomingBegin);
        let mut writer = SnapshotWriter {
            manifest: Manifest { meta, id, files },
            position: 0,
            open: None,
            directory,
            _slot: slot,
        };
        writer.open_next()?;
        Ok(writer)
    }
}

/// A snapshot that arrives. Dropped before [`SnapshotWriter::finish`], it leaves nothing behind.
pub struct SnapshotWriter {
    manifest: Manifest,
    /// Which file is being written, in the order of the announcement.
    position: usize,
    open: Option<OpenFile>,
    // Before the slot: the folder is gone when the next one may begin.
    directory: Directory,
    _slot: Slot,
}

struct OpenFile {
    file: File,
    hasher: Sha256,
    written: u64,
}

impl SnapshotWriter {
    /// Takes the next chunk; files and offsets must come in order and without gaps. Blocks on the disk.
    ///
    /// # Errors
    /// [`StorageError::Snapshot`] for a chunk that does not continue the last one, is too large, or completes a
    /// file whose checksum is wrong. The writer is then of no further use.
    pub fn write(&mut self, file: u32, offset: u64, data: &[u8]) -> Result<(), StorageError> {
        if data.len() > SNAPSHOT_CHUNK_BYTES_MAX {
            return Err(StorageError::snapshot("a chunk is too large"));
        }
        let Some(open) = self.open.as_mut() else {
            return Err(StorageError::snapshot("there is more data than was announced"));
        };
        if usize::try_from(file) != Ok(self.position) || offset != open.written {
            return Err(StorageError::snapshot("a chunk does not continue the one before it"));
        }
        let announced = &self.manifest.files[self.position];
        if data.len() as u64 > announced.bytes - open.written {
            return Err(StorageError::snapshot("a file is larger than was announced"));
        }
        let path = self.directory.path().join(&announced.name);
        hit(Point::IncomingChunk);
        open.file.write_all(data).map_err(StorageError::io("write", &path))?;
        hit(Point::IncomingChunkWritten);
        open.hasher.update(data);
        open.written += data.len() as u64;
        if open.written == announced.bytes {
            self.close_file()?;
            self.open_next()?;
        }
        Ok(())
    }

    /// Makes the snapshot durable and hands it over, to be given to Raft. Blocks on the disk.
    ///
    /// # Errors
    /// [`StorageError::Snapshot`] when something is missing.
    pub fn finish(self) -> Result<SnapshotData, StorageError> {
        if self.open.is_some() {
            return Err(StorageError::snapshot("it ended before all announced data had come"));
        }
        files::sync_directory(self.directory.path())?;
        hit(Point::IncomingFinish);
        self.manifest.write(self.directory.path())?;
        hit(Point::IncomingFinished);
        Ok(SnapshotData::new(self.manifest, self.directory))
    }

    /// Opens the next file that has content; those without are complete as soon as they exist.
    fn open_next(&mut self) -> Result<(), StorageError> {
        while let Some(announced) = self.manifest.files.get(self.position) {
            let path = self.directory.path().join(&announced.name);
            let file = File::create_new(&path).map_err(StorageError::io("create", &path))?;
            let empty = announced.bytes == 0;
            self.open = Some(OpenFile { file, hasher: Sha256::new(), written: 0 });
            if !empty {
                return Ok(());
            }
            self.close_file()?;
        }
        Ok(())
    }

    fn close_file(&mut self) -> Result<(), StorageError> {
        let announced = &self.manifest.files[self.position];
        let path = self.directory.path().join(&announced.name);
        let open = self.open.take().expect("only an open file is closed");
        open.file.sync_all().map_err(StorageError::io("sync", &path))?;
        hit(Point::IncomingFileSynced);
        let is_whole = open.hasher.finalize().as_slice() == announced.sha256;
        if !is_whole && !planted::is(Bug::SnapshotUnchecked) {
            return Err(StorageError::snapshot("the checksum of a file is wrong"));
        }
        self.position += 1;
        Ok(())
    }
}

fn check_announcement(files: &[SnapshotFile]) -> Result<(), StorageError> {
    if files.len() > SNAPSHOT_FILES_MAX {
        return Err(StorageError::snapshot("it has too many files"));
    }
    let mut names = BTreeSet::new();
    let mut bytes_total = 0_u64;
    for file in files {
        if !is_snapshot_file(&file.name) {
            return Err(StorageError::snapshot("a file's name is not one of a snapshot's"));
        }
        if !names.insert(&file.name) {
            return Err(StorageError::snapshot("a file's name comes twice"));
        }
        if file.sha256.len() != SHA256_BYTES {
            return Err(StorageError::snapshot("a file's checksum has the wrong length"));
        }
        bytes_total = bytes_total.saturating_add(file.bytes);
    }
    if bytes_total > SNAPSHOT_BYTES_MAX {
        return Err(StorageError::snapshot("it is too large"));
    }
    Ok(())
}

/// The right to receive; given back when dropped.
struct Slot(Arc<SnapshotStore>);

impl Slot {
    fn take(store: Arc<SnapshotStore>) -> Result<Self, StorageError> {
        if store.receiving.swap(true, Ordering::AcqRel) {
            return Err(StorageError::snapshot("another one is being received"));
        }
        Ok(Self(store))
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.receiving.store(false, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fixture {
        _directory: tempfile::TempDir,
        inbox: SnapshotInbox,
    }

    fn fixture() -> Fixture {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        let store = SnapshotStore::open(path.join("snapshots"), path.join("incoming")).unwrap();
        Fixture { _directory: directory, inbox: SnapshotInbox::new(Arc::new(store)) }
    }

    fn meta() -> log::SnapshotMeta {
        let last_membership =
            log::StoredMembership { log_id: None, membership: Some(log::Membership::default()) };
        log::SnapshotMeta {
            last_log_id: None,
            last_membership: Some(last_membership),
            snapshot_id: "x".into(),
        }
    }

    fn file(name: &str, content: &[u8]) -> SnapshotFile {
        SnapshotFile {
            name: name.into(),
            bytes: content.len() as u64,
            sha256: Sha256::digest(content).to_vec().into(),
        }
    }

    fn refused<T>(result: Result<T, StorageError>, part: &str) {
        match result {
            Err(StorageError::Snapshot(why)) if why.contains(part) => {}
            Err(other) => panic!("refused for another reason: {other}"),
            Ok(_) => panic!("not refused: {part}"),
        }
    }

    #[test]
    fn a_snapshot_arrives_in_chunks_with_empty_files_in_between() {
        let fixture = fixture();
        let files = vec![file("000001.sst", b""), file("CURRENT", b"abcd"), file("000002.log", b"")];
        let mut writer = fixture.inbox.begin(meta(), files).unwrap();
        writer.write(1, 0, b"ab").unwrap();
        writer.write(1, 2, b"cd").unwrap();
        let snapshot = writer.finish().unwrap();
        assert_eq!(snapshot.bytes_total(), 4);
        let chunks: Vec<SnapshotChunk> = snapshot.chunks(3).map(Result::unwrap).collect();
        assert!(
            chunks
                == [
                    SnapshotChunk { file: 1, offset: 0, data: "abc".into() },
                    SnapshotChunk { file: 1, offset: 3, data: "d".into() },
                ]
        );
        let path = snapshot.path().to_owned();
        drop(snapshot);
        assert!(!path.exists(), "what was received but not installed is removed");
    }

    use crate::snapshot::SnapshotChunk;

    #[test]
    fn bad_announcements_are_refused() {
        let inbox = fixture().inbox;
        refused(inbox.begin(meta(), vec![file("../CURRENT", b"")]), "name is not one");
        refused(inbox.begin(meta(), vec![file("CURRENT", b""), file("CURRENT", b"")]), "twice");
        let mut short = file("CURRENT", b"");
        short.sha256 = short.sha256.slice(..31);
        refused(inbox.begin(meta(), vec![short]), "checksum has the wrong length");
        let mut huge = file("CURRENT", b"");
        huge.bytes = SNAPSHOT_BYTES_MAX + 1;
        refused(inbox.begin(meta(), vec![huge]), "too large");
        let many = (0..=SNAPSHOT_FILES_MAX).map(|number| file(&format!("{number}.sst"), b"")).collect();
        refused(inbox.begin(meta(), many), "too many");
        assert!(inbox.begin(log::SnapshotMeta::default(), Vec::new()).is_err());
    }

    #[test]
    fn bad_content_is_refused() {
        let inbox = fixture().inbox;
        let begin = || inbox.begin(meta(), vec![file("CURRENT", b"abcd"), file("000001.sst", b"x")]).unwrap();
        refused(begin().write(1, 0, b"x"), "does not continue");
        refused(begin().write(0, 1, b"b"), "does not continue");
        refused(begin().write(0, 0, b"abcde"), "larger than was announced");
        refused(begin().write(0, 0, b"abcX"), "checksum of a file is wrong");
        refused(begin().write(0, 0, &vec![0; SNAPSHOT_CHUNK_BYTES_MAX + 1]), "chunk is too large");
        let mut early = begin();
        early.write(0, 0, b"abcd").unwrap();
        refused(early.finish(), "ended before");
        let mut late = begin();
        late.write(0, 0, b"abcd").unwrap();
        late.write(1, 0, b"x").unwrap();
        refused(late.write(2, 0, b"y"), "more data");
    }

    #[test]
    fn one_snapshot_is_received_at_a_time() {
        let inbox = fixture().inbox;
        let first = inbox.begin(meta(), vec![file("CURRENT", b"a")]).unwrap();
        refused(inbox.begin(meta(), Vec::new()), "another one");
        drop(first);
        assert!(inbox.begin(meta(), Vec::new()).is_ok());
    }
}

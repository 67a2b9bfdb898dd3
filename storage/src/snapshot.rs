//! Snapshots: a checkpoint of the state instance, with a manifest, in a folder of its own.
//!
//! A checkpoint links RocksDB's immutable files, so that building one copies next to nothing. The newest is kept;
//! an older one disappears when nobody streams it any more. A snapshot is reported only when it is on disk, and so
//! is the state it was made from: what is reported allows the log to be purged.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::Bytes;
use conclave_faults::failpoint::{Point, hit};
use conclave_faults::{Bug, planted};
use conclave_proto::peer::SnapshotFile;
use parking_lot::Mutex;
use sha2::{Digest as _, Sha256};

use crate::error::StorageError;
use crate::files::{self, Directory};
use crate::manifest::{Manifest, is_immutable, is_snapshot_file};
use crate::state::StateDb;
use crate::types::{Snapshot, SnapshotMeta, StoredMembership};

const READ_BUFFER_BYTES: usize = 1024 * 1024;
const DRAFT_SUFFIX: &str = ".tmp";

/// A complete snapshot on disk. Cheap to clone; the files stay as long as a clone lives.
#[derive(Clone)]
pub struct SnapshotData(Arc<Stored>);

struct Stored {
    manifest: Manifest,
    directory: Directory,
}

/// A piece of one file, as it goes over the network.
#[derive(Clone, PartialEq, Eq)]
pub struct SnapshotChunk {
    /// Position of the file in [`SnapshotData::files`].
    pub file: u32,
    pub offset: u64,
    pub data: Bytes,
}

impl SnapshotData {
    pub(crate) fn new(manifest: Manifest, directory: Directory) -> Self {
        Self(Arc::new(Stored { manifest, directory }))
    }

    pub fn meta(&self) -> &SnapshotMeta {
        &self.0.manifest.meta
    }

    /// Names the state it holds: two snapshots with the same id hold the same records.
    pub fn id(&self) -> &str {
        &self.0.manifest.id
    }

    pub fn files(&self) -> &[SnapshotFile] {
        &self.0.manifest.files
    }

    pub fn bytes_total(&self) -> u64 {
        self.files().iter().map(|file| file.bytes).sum()
    }

    /// Opens a file of [`SnapshotData::files`] for reading. Blocks on the disk.
    ///
    /// # Errors
    /// `NotFound` when there is no such file; whatever the disk says.
    pub fn open(&self, file: usize) -> io::Result<File> {
        let file = self.files().get(file).ok_or(io::ErrorKind::NotFound)?;
        File::open(self.path().join(&file.name))
    }

    /// All content, file by file, in chunks of at most `chunk_bytes_max` bytes. Blocks on the disk.
    pub fn chunks(
        &self,
        chunk_bytes_max: usize,
    ) -> impl Iterator<Item = io::Result<SnapshotChunk>> + Send + use<> {
        Chunks { snapshot: self.clone(), chunk_bytes_max, file: 0, offset: 0, open: None, failed: false }
    }

    /// As openraft passes it around.
    pub fn into_snapshot(self) -> Snapshot {
        Snapshot { meta: self.meta().clone(), snapshot: self }
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.directory.path()
    }

    fn retire(&self) {
        self.0.directory.retire();
    }
}

struct Chunks {
    snapshot: SnapshotData,
    chunk_bytes_max: usize,
    file: usize,
    offset: u64,
    open: Option<File>,
    failed: bool,
}

impl Iterator for Chunks {
    type Item = io::Result<SnapshotChunk>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let chunk = self.read().transpose();
        self.failed = matches!(chunk, Some(Err(_)));
        chunk
    }
}

impl Chunks {
    fn read(&mut self) -> io::Result<Option<SnapshotChunk>> {
        loop {
            let Some(file) = self.snapshot.files().get(self.file) else { return Ok(None) };
            let left = file.bytes - self.offset;
            if left == 0 {
                self.file += 1;
                self.offset = 0;
                self.open = None;
                continue;
            }
            let mut open = match self.open.take() {
                Some(open) => open,
                None => self.snapshot.open(self.file)?,
            };
            let bytes =
                usize::try_from(left).map_or(self.chunk_bytes_max, |left| left.min(self.chunk_bytes_max));
            let mut data = vec![0; bytes];
            open.read_exact(&mut data)?;
            self.open = Some(open);
            let number = u32::try_from(self.file).map_err(io::Error::other)?;
            let chunk = SnapshotChunk { file: number, offset: self.offset, data: data.into() };
            self.offset += bytes as u64;
            return Ok(Some(chunk));
        }
    }
}

/// The snapshots of one data directory, and the folders in which others arrive.
pub struct SnapshotStore {
    folder: PathBuf,
    incoming: PathBuf,
    current: Mutex<Option<SnapshotData>>,
    next_number: AtomicU64,
    /// Whether a snapshot is being received: there is room for one.
    pub(crate) receiving: AtomicBool,
}

impl SnapshotStore {
    /// Finds the newest complete snapshot and removes everything else.
    pub fn open(folder: PathBuf, incoming: PathBuf) -> Result<Self, StorageError> {
        files::create_directory(&folder)?;
        files::create_directory(&incoming)?;
        for name in files::names_in(&incoming)? {
            files::remove_directory(&incoming.join(name))?;
        }
        let mut newest: Option<(u64, Manifest)> = None;
        for name in files::names_in(&folder)? {
            let path = folder.join(&name);
            let number = name.parse::<u64>().ok();
            let manifest = if number.is_some() { Manifest::read(&path)? } else { None };
            match number.zip(manifest) {
                Some(found) if newest.as_ref().is_none_or(|(number, _)| *number < found.0) => {
                    if let Some((older, _)) = newest.replace(found) {
                        files::remove_directory(&folder.join(folder_name(older)))?;
                    }
                }
                _ => files::remove_directory(&path)?,
            }
        }
        let next_number = newest.as_ref().map_or(1, |(number, _)| number + 1);
        let current = newest.map(|(number, manifest)| {
            SnapshotData::new(manifest, Directory::kept(folder.join(folder_name(number))))
        });
        Ok(Self {
            folder,
            incoming,
            current: Mutex::new(current),
            next_number: AtomicU64::new(next_number),
            receiving: AtomicBool::new(false),
        })
    }

    pub fn current(&self) -> Option<SnapshotData> {
        self.current.lock().clone()
    }

    /// An empty folder for a snapshot that arrives; it goes away with its last user.
    pub fn incoming_folder(&self) -> Result<Directory, StorageError> {
        let path = self.incoming.join(folder_name(self.take_number()));
        files::create_directory(&path)?;
        Ok(Directory::temporary(path))
    }

    /// Takes a checkpoint of the state as it is now. Quick, but blocks on the disk; no entry may be applied meanwhile.
    pub fn checkpoint(&self, state: Arc<StateDb>) -> Result<Draft, StorageError> {
        let progress = state.progress()?;
        let mut meta =
            SnapshotMeta { last_log_id: progress.last_applied, last_membership: state.membership()? };
        if planted::is(Bug::SnapshotWithoutMembership) {
            meta.last_membership = StoredMembership::default();
        }
        if let Some(current) = self.current().filter(|current| *current.meta() == meta) {
            return Ok(Draft::Done(current));
        }
        let number = self.take_number();
        let path = self.folder.join(format!("{}{DRAFT_SUFFIX}", folder_name(number)));
        let directory = Directory::temporary(path);
        hit(Point::Checkpoint);
        state.db().checkpoint(directory.path())?;
        hit(Point::Checkpointed);
        Ok(Draft::Checkpoint { state, meta, directory, number })
    }

    /// Makes a checkpoint a snapshot: durable, with checksums. Takes as long as reading it takes.
    pub fn finish(&self, draft: Draft) -> Result<SnapshotData, StorageError> {
        let (state, meta, directory, number) = match draft {
            Draft::Done(snapshot) => return Ok(snapshot),
            Draft::Checkpoint { state, meta, directory, number } => (state, meta, directory, number),
        };
        // The log may be purged up to what is reported here: from now on the state needs none of it.
        hit(Point::SnapshotFlush);
        if !planted::is(Bug::SnapshotNotFlushed) {
            state.flush()?;
        }
        hit(Point::SnapshotFlushed);
        let manifest = Manifest { id: snapshot_id(&meta), meta, files: describe_files(directory.path())? };
        hit(Point::SnapshotDescribed);
        manifest.write(directory.path())?;
        let snapshot = self.keep(manifest, directory.path(), number)?;
        self.make_current(&snapshot);
        hit(Point::SnapshotCurrent);
        Ok(snapshot)
    }

    /// Keeps a complete snapshot that lies elsewhere, durably, without making it the current one yet.
    pub fn adopt(&self, snapshot: &SnapshotData) -> Result<SnapshotData, StorageError> {
        if let Some(current) = self.current().filter(|current| current.path() == snapshot.path()) {
            return Ok(current);
        }
        let number = self.take_number();
        let manifest = snapshot.0.manifest.clone();
        if snapshot.path().parent() == Some(&self.incoming) {
            return self.keep(manifest, snapshot.path(), number);
        }
        let draft = Directory::temporary(self.folder.join(format!("{}{DRAFT_SUFFIX}", folder_name(number))));
        materialize(snapshot, draft.path())?;
        manifest.write(draft.path())?;
        self.keep(manifest, draft.path(), number)
    }

    pub fn make_current(&self, snapshot: &SnapshotData) {
        let mut current = self.current.lock();
        match &*current {
            Some(current) if current.path() == snapshot.path() => {}
            // One that was being built while a newer one was installed.
            Some(current) if current.meta().last_log_id > snapshot.meta().last_log_id => snapshot.retire(),
            _ => {
                if let Some(older) = current.replace(snapshot.clone()) {
                    older.retire();
                }
            }
        }
    }

    fn keep(&self, manifest: Manifest, from: &Path, number: u64) -> Result<SnapshotData, StorageError> {
        let path = self.folder.join(folder_name(number));
        hit(Point::SnapshotRename);
        files::rename_durably(from, &path, &self.folder)?;
        hit(Point::SnapshotRenamed);
        Ok(SnapshotData::new(manifest, Directory::kept(path)))
    }

    fn take_number(&self) -> u64 {
        self.next_number.fetch_add(1, Ordering::Relaxed)
    }
}

/// A snapshot in the making; when it is dropped, so are its files.
pub enum Draft {
    /// The current snapshot already holds this state.
    Done(SnapshotData),
    Checkpoint {
        state: Arc<StateDb>,
        meta: SnapshotMeta,
        directory: Directory,
        number: u64,
    },
}

/// Fills a new folder with the snapshot's files, durably, so that RocksDB can open it without changing the snapshot.
pub fn materialize(snapshot: &SnapshotData, folder: &Path) -> Result<(), StorageError> {
    files::create_directory(folder)?;
    for SnapshotFile { name, .. } in snapshot.files() {
        let (from, to) = (snapshot.path().join(name), folder.join(name));
        if is_immutable(name) { files::link_or_copy(&from, &to)? } else { files::copy(&from, &to)? }
    }
    files::sync_directory(folder)
}

/// Lists the files of a fresh checkpoint with their checksums, syncs them, and removes what does not belong.
fn describe_files(folder: &Path) -> Result<Vec<SnapshotFile>, StorageError> {
    let mut names = files::names_in(folder)?;
    names.sort();
    let mut described = Vec::new();
    for name in names {
        let path = folder.join(&name);
        if !is_snapshot_file(&name) {
            fs::remove_file(&path).map_err(StorageError::io("remove", &path))?;
            continue;
        }
        files::sync_file(&path)?;
        let (bytes, sha256) = digest_file(&path)?;
        hit(Point::SnapshotFileSynced);
        described.push(SnapshotFile { name, bytes, sha256: sha256.into() });
    }
    files::sync_directory(folder)?;
    Ok(described)
}

fn digest_file(path: &Path) -> Result<(u64, Vec<u8>), StorageError> {
    let mut file = File::open(path).map_err(StorageError::io("open", path))?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; READ_BUFFER_BYTES];
    let mut bytes = 0;
    loop {
        let read = file.read(&mut buffer).map_err(StorageError::io("read", path))?;
        if read == 0 {
            return Ok((bytes, hasher.finalize().to_vec()));
        }
        hasher.update(&buffer[..read]);
        bytes += read as u64;
    }
}

fn snapshot_id(meta: &SnapshotMeta) -> String {
    match &meta.last_log_id {
        Some(id) => {
            let leader = id.committed_leader_id();
            format!("{}-{}-{}", leader.term, leader.node_id, id.index())
        }
        None => "empty".to_owned(),
    }
}

fn folder_name(number: u64) -> String {
    format!("{number:08}")
}

//! Which folder holds the state, and putting another in its place.
//!
//! A pointer file names the folder. Installing a snapshot fills a new folder, opens it, and only then moves the
//! pointer, by a rename: whenever the process dies, the pointer names a whole state. What it does not name is
//! removed at the next start.

use std::path::PathBuf;
use std::sync::Arc;

use conclave_faults::failpoint::{Point, hit};

use crate::db::Backing;
use crate::error::StorageError;
use crate::files;
use crate::snapshot::{SnapshotData, SnapshotStore, materialize};
use crate::state::StateDb;
use crate::types::SnapshotMeta;

const POINTER_NAME: &str = "ACTIVE";

/// The folder that holds one folder for each generation of the state.
#[derive(Clone)]
pub struct StateFolder {
    path: PathBuf,
    backing: Backing,
}

impl StateFolder {
    pub fn new(path: PathBuf, backing: Backing) -> Self {
        Self { path, backing }
    }

    /// Opens the active generation and removes all others; the first one is made if `create` says so.
    pub fn open(&self, create: bool) -> Result<StateDb, StorageError> {
        files::create_directory(&self.path)?;
        let generation = match self.active()? {
            Some(generation) => generation,
            None if create => {
                self.set_active(1)?;
                1
            }
            None => {
                return Err(StorageError::damaged(format!("{} is missing", self.pointer().display())));
            }
        };
        let active = folder_name(generation);
        for name in files::names_in(&self.path)? {
            if name != active && name.parse::<u64>().is_ok() {
                files::remove_directory(&self.path.join(name))?;
            }
        }
        StateDb::open(self.path.join(active), &self.backing, create)
    }

    /// Makes the snapshot the state. The caller swaps the returned instance in.
    ///
    /// # Errors
    /// [`StorageError::Snapshot`] when the snapshot does not hold what `meta` says; the state is then as before.
    pub fn install(
        &self,
        snapshots: &SnapshotStore,
        meta: &SnapshotMeta,
        snapshot: &SnapshotData,
    ) -> Result<Arc<StateDb>, StorageError> {
        if snapshot.meta() != meta {
            return Err(StorageError::snapshot("its files belong to another point of the log"));
        }
        let generation = self.active()?.map_or(1, |generation| generation + 1);
        let path = self.path.join(folder_name(generation));
        if path.exists() {
            files::remove_directory(&path)?;
        }
        hit(Point::InstallBegin);
        materialize(snapshot, &path)?;
        hit(Point::InstallFilled);
        let state = StateDb::open(path, &self.backing, false).inspect_err(|_| self.forget(generation))?;
        // Until the pointer names it, the folder goes with the instance.
        let progress = state.progress().inspect_err(|_| state.retire())?;
        if progress.last_applied != meta.last_log_id {
            state.retire();
            return Err(StorageError::snapshot("its records belong to another point of the log"));
        }
        files::sync_directory(&self.path).inspect_err(|_| state.retire())?;
        hit(Point::InstallOpened);
        let kept = snapshots.adopt(snapshot).inspect_err(|_| state.retire())?;
        hit(Point::InstallKept);
        self.set_active(generation).inspect_err(|_| state.retire())?;
        hit(Point::InstallSwitched);
        snapshots.make_current(&kept);
        Ok(Arc::new(state))
    }

    fn forget(&self, generation: u64) {
        // What cannot be removed now is removed at the next start.
        let _ = files::remove_directory(&self.path.join(folder_name(generation)));
    }

    fn active(&self) -> Result<Option<u64>, StorageError> {
        let pointer = self.pointer();
        let Some(content) = files::read_if_exists(&pointer)? else { return Ok(None) };
        let number = std::str::from_utf8(&content).ok().and_then(|text| text.trim_end().parse().ok());
        match number {
            Some(number) => Ok(Some(number)),
            None => Err(StorageError::damaged(format!("{} names no folder", pointer.display()))),
        }
    }

    fn set_active(&self, generation: u64) -> Result<(), StorageError> {
        files::write_durably(&self.pointer(), format!("{}\n", folder_name(generation)).as_bytes())
    }

    fn pointer(&self) -> PathBuf {
        self.path.join(POINTER_NAME)
    }
}

fn folder_name(generation: u64) -> String {
    format!("{generation:08}")
}

//! The few file operations whose order decides what survives a power loss: sync the content, rename, then sync
//! the folder. Nothing here knows what the files mean.

use std::fs::{self, File, TryLockError};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use conclave_faults::failpoint::{Point, hit};

use crate::error::StorageError;

/// A process that was killed holds its lock for a moment longer than its parent sees it: wait that long, in all.
const LOCK_TRIES: u32 = 40;
const LOCK_PAUSE: Duration = Duration::from_millis(50);

/// Holds a data directory for this process; released when the last user of the store is gone.
pub struct DirectoryLock(#[expect(dead_code, reason = "the open file is the lock")] File);

impl DirectoryLock {
    /// # Errors
    /// [`StorageError::InUse`] when somebody else holds it.
    pub fn take(directory: &Path) -> Result<Self, StorageError> {
        let path = directory.join("LOCK");
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(StorageError::io("open", &path))?;
        for _ in 0..LOCK_TRIES {
            match file.try_lock() {
                Ok(()) => return Ok(Self(file)),
                Err(TryLockError::WouldBlock) => std::thread::sleep(LOCK_PAUSE),
                Err(TryLockError::Error(error)) => return Err(StorageError::io("lock", &path)(error)),
            }
        }
        Err(StorageError::InUse(directory.to_owned()))
    }
}

/// A folder that can be told to disappear once nobody uses it any more.
pub struct Directory {
    path: PathBuf,
    retired: AtomicBool,
}

impl Directory {
    pub fn kept(path: PathBuf) -> Self {
        Self { path, retired: AtomicBool::new(false) }
    }

    pub fn temporary(path: PathBuf) -> Self {
        Self { path, retired: AtomicBool::new(true) }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// From now on the folder is removed with its last user.
    pub fn retire(&self) {
        self.retired.store(true, Ordering::Release);
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        if self.retired.load(Ordering::Acquire) {
            // What cannot be removed now is removed at the next start.
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

pub fn create_directory(path: &Path) -> Result<(), StorageError> {
    fs::create_dir_all(path).map_err(StorageError::io("create", path))
}

/// Makes renames, creations and removals in the folder durable.
pub fn sync_directory(path: &Path) -> Result<(), StorageError> {
    File::open(path).and_then(|folder| folder.sync_all()).map_err(StorageError::io("sync", path))
}

pub fn sync_file(path: &Path) -> Result<(), StorageError> {
    File::open(path).and_then(|file| file.sync_all()).map_err(StorageError::io("sync", path))
}

/// Replaces a small file: whatever happens, either the old or the new content is there, whole.
pub fn write_durably(path: &Path, content: &[u8]) -> Result<(), StorageError> {
    let folder = path.parent().expect("only files inside a data directory are written");
    let draft = path.with_extension("tmp");
    let mut file = File::create(&draft).map_err(StorageError::io("create", &draft))?;
    file.write_all(content).and_then(|()| file.sync_all()).map_err(StorageError::io("write", &draft))?;
    hit(Point::FileWritten);
    rename_durably(&draft, path, folder)?;
    hit(Point::FileReplaced);
    Ok(())
}

/// Renames inside `folder`, or into it, and makes that durable.
pub fn rename_durably(from: &Path, to: &Path, folder: &Path) -> Result<(), StorageError> {
    fs::rename(from, to).map_err(StorageError::io("rename to", to))?;
    hit(Point::FileRenamed);
    sync_directory(folder)
}

/// The content, or `None` when there is no such file.
pub fn read_if_exists(path: &Path) -> Result<Option<Vec<u8>>, StorageError> {
    match fs::read(path) {
        Ok(content) => Ok(Some(content)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(StorageError::io("read", path)(error)),
    }
}

/// Puts `from` at `to` without copying where the file system can, for files that never change again.
pub fn link_or_copy(from: &Path, to: &Path) -> Result<(), StorageError> {
    if fs::hard_link(from, to).is_ok() { Ok(()) } else { copy(from, to) }
}

pub fn copy(from: &Path, to: &Path) -> Result<(), StorageError> {
    fs::copy(from, to).map_err(StorageError::io("copy to", to))?;
    sync_file(to)
}

/// Names of what lies in the folder, in no order.
pub fn names_in(folder: &Path) -> Result<Vec<String>, StorageError> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(StorageError::io("list", folder))? {
        let entry = entry.map_err(StorageError::io("list", folder))?;
        // No name that this crate gives is outside UTF-8; others are nobody's business here.
        if let Ok(name) = entry.file_name().into_string() {
            names.push(name);
        }
    }
    Ok(names)
}

pub fn remove_directory(path: &Path) -> Result<(), StorageError> {
    fs::remove_dir_all(path).map_err(StorageError::io("remove", path))
}

/// Removes a file or a folder, if it is there.
pub fn remove_all(path: &Path) -> Result<(), StorageError> {
    let removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(StorageError::io("remove", path)(error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_locked_directory_is_refused_until_the_lock_is_dropped() {
        let directory = tempfile::tempdir().unwrap();
        let lock = DirectoryLock::take(directory.path()).unwrap();
        assert!(matches!(DirectoryLock::take(directory.path()), Err(StorageError::InUse(_))));
        drop(lock);
        assert!(DirectoryLock::take(directory.path()).is_ok());
    }

    #[test]
    fn a_retired_directory_goes_with_its_last_user() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("x");
        create_directory(&path).unwrap();
        let kept = Directory::kept(path.clone());
        drop(kept);
        assert!(path.exists());
        let user = std::sync::Arc::new(Directory::kept(path.clone()));
        let other = user.clone();
        user.retire();
        drop(user);
        assert!(path.exists());
        drop(other);
        assert!(!path.exists());
    }

    #[test]
    fn writing_durably_replaces_the_whole_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("POINTER");
        assert_eq!(read_if_exists(&path).unwrap(), None);
        write_durably(&path, b"long content").unwrap();
        write_durably(&path, b"short").unwrap();
        assert_eq!(read_if_exists(&path).unwrap().unwrap(), b"short");
        assert_eq!(names_in(directory.path()).unwrap(), ["POINTER"]);
    }
}

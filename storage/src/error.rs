//! Why storage says no. Every message is made for an operator: it names the directory and what to do, and never
//! a key or a value.

use std::io;
use std::path::{Path, PathBuf};

use crate::convert::ConvertError;

#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// Another process (or another handle of this one) has the directory open.
    #[error("the data directory {} is in use by another process", .0.display())]
    InUse(PathBuf),
    /// Written by a version of Conclave whose format this one does not know.
    #[error("the data directory {} has format {found}, this version of Conclave reads format {expected}", .directory.display())]
    Format { directory: PathBuf, found: String, expected: u32 },
    /// What is stored contradicts itself. The node must not vote with it: it rejoins as a learner.
    #[error(
        "the stored data is damaged: {0}; remove this node from the cluster and let it join again, empty"
    )]
    Damaged(String),
    /// A snapshot that was offered or received is not what it claims to be.
    #[error("the snapshot is refused: {0}")]
    Snapshot(String),
    /// A write failed before; nothing is written any more until the process is restarted.
    #[error("storage stopped after an error: {0}")]
    Stopped(String),
    #[error("cannot {what}: {source}")]
    Io { what: String, source: io::Error },
    #[error("RocksDB: {0}")]
    Rocks(#[from] rocksdb::Error),
    #[error(transparent)]
    Convert(#[from] ConvertError),
}

impl StorageError {
    pub(crate) fn damaged(what: impl Into<String>) -> Self {
        Self::Damaged(what.into())
    }

    pub(crate) fn snapshot(why: impl Into<String>) -> Self {
        Self::Snapshot(why.into())
    }

    /// For `map_err`: says which operation failed on which path.
    pub(crate) fn io(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let what = format!("{what} {}", path.display());
        move |source| Self::Io { what, source }
    }
}

/// openraft takes plain `io::Error`s; any of them is fatal for the node, by design (I12).
impl From<StorageError> for io::Error {
    fn from(error: StorageError) -> Self {
        let kind = match &error {
            StorageError::Io { source, .. } => source.kind(),
            StorageError::Damaged(_) | StorageError::Convert(_) | StorageError::Snapshot(_) => {
                io::ErrorKind::InvalidData
            }
            _ => io::ErrorKind::Other,
        };
        Self::new(kind, error)
    }
}

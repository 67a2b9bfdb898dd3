//! Why storage says no. Every message is made for an operator: it names the directory and what to do, and never
//! a key or a value.

use std::io;
use std::path::{Path, PathBuf};

use crate::convert::ConvertError;

/// How errors begin that tell of damage: the words of [`StorageError::Damaged`], and RocksDB's own.
const DAMAGE: [&str; 2] = ["the stored data is damaged", "Corruption: "];

/// Whether an error that is left only as text tells of damage: see [`StorageError::is_damage`].
pub fn tells_of_damage(text: &str) -> bool {
    DAMAGE.iter().any(|words| text.contains(words))
}

#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// Another process (or another handle of this one) has the directory open.
    #[error("the data directory {} is in use by another process", .0.display())]
    InUse(PathBuf),
    /// Written by a version of Conclave whose format this one does not know.
    #[error("the data directory {} has format {found}, this version of Conclave reads format {expected}", .directory.display())]
    Format { directory: PathBuf, found: String, expected: u32 },
    /// What is stored contradicts itself. The node must not vote with it: it rejoins as a learner.
    #[error("the stored data is damaged: {0}")]
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

    /// Whether what lies on the disk is not what was written there, so that trying again would not help. An error of
    /// the disk itself, such as being full, says nothing about what it holds.
    pub fn is_damage(&self) -> bool {
        match self {
            Self::Damaged(_) | Self::Convert(_) => true,
            Self::Rocks(error) => error.kind() == rocksdb::ErrorKind::Corruption,
            Self::Io { source, .. } => {
                let cause = source.get_ref().and_then(|cause| cause.downcast_ref::<Self>());
                cause.is_some_and(Self::is_damage)
            }
            _ => false,
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damage_is_told_from_an_error_of_the_disk() {
        let damaged = StorageError::damaged("a hole");
        assert!(damaged.is_damage() && tells_of_damage(&damaged.to_string()));
        let passed_on = StorageError::Io { what: "read".to_owned(), source: damaged.into() };
        assert!(passed_on.is_damage() && tells_of_damage(&passed_on.to_string()));
        for error in [
            StorageError::io("write", Path::new("x"))(io::ErrorKind::StorageFull.into()),
            StorageError::Stopped("No space left on device".to_owned()),
            StorageError::InUse(PathBuf::from("x")),
        ] {
            assert!(!error.is_damage() && !tells_of_damage(&error.to_string()), "{error}");
        }
    }
}

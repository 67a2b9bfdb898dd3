//! What log and state may be kept on in place of RocksDB: anything that keeps ordered maps of bytes and says what of them
//! is on disk. The simulation has such a disk, and loses what was not synced.
//!
//! RocksDB itself is no implementation of this: `db.rs` knows both, so that the way to RocksDB stays without indirection.

use std::collections::BTreeMap;
use std::io;
use std::ops::Bound;
use std::path::Path;
use std::sync::Arc;

use futures::future::BoxFuture;

/// Opens instances, each kept under the name of a folder.
pub trait Disk: Send + Sync {
    /// The instance at `path`, which may have been made from a checkpoint there; a new one, if `create` says so.
    ///
    /// # Errors
    /// What the disk says, and `NotFound` if there is none.
    fn open(&self, path: &Path, create: bool) -> io::Result<Arc<dyn Instance>>;
}

/// One open store of families of ordered keys.
pub trait Instance: Send + Sync {
    /// All there is now, whether it is on disk or not.
    fn content(&self) -> Content;

    /// Makes all of these changes or none; a crash may take them back, together with all later ones.
    ///
    /// # Errors
    /// What the disk says.
    fn write(&self, changes: Vec<Change>) -> io::Result<()>;

    /// Returns when what had been written when this was called is on disk.
    fn sync(&self) -> BoxFuture<'static, io::Result<()>>;

    /// As [`Instance::sync`], without letting anything else happen meanwhile.
    ///
    /// # Errors
    /// What the disk says.
    fn flush(&self) -> io::Result<()>;

    /// Puts a copy of all there is now into a new folder, in files with the names of RocksDB's.
    ///
    /// # Errors
    /// What the disk says.
    fn checkpoint(&self, folder: &Path) -> io::Result<()>;
}

/// One family at one moment.
pub type Rows = Arc<BTreeMap<Vec<u8>, Vec<u8>>>;

/// All families at one moment. Cheap to clone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Content(pub BTreeMap<String, Rows>);

/// One change of one family.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    Put {
        family: &'static str,
        key: Vec<u8>,
        value: Vec<u8>,
    },
    Delete {
        family: &'static str,
        key: Vec<u8>,
    },
    /// From the first key on, up to before the other.
    DeleteRange {
        family: &'static str,
        from: Vec<u8>,
        to: Vec<u8>,
    },
}

impl Content {
    pub fn rows(&self, family: &str) -> Rows {
        self.0.get(family).cloned().unwrap_or_default()
    }

    pub fn apply(&mut self, change: Change) {
        match change {
            Change::Put { family, key, value } => {
                self.rows_mut(family).insert(key, value);
            }
            Change::Delete { family, key } => {
                self.rows_mut(family).remove(&key);
            }
            Change::DeleteRange { family, from, to } => {
                let rows = self.rows_mut(family);
                let within = (Bound::Included(from), Bound::Excluded(to));
                let gone: Vec<Vec<u8>> = rows.range(within).map(|(key, _)| key.clone()).collect();
                for key in gone {
                    rows.remove(&key);
                }
            }
        }
    }

    fn rows_mut(&mut self, family: &str) -> &mut BTreeMap<Vec<u8>, Vec<u8>> {
        Arc::make_mut(self.0.entry(family.to_owned()).or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_made_in_order_and_leave_older_moments_alone() {
        let put = |key: &[u8]| Change::Put { family: "f", key: key.to_vec(), value: vec![1] };
        let mut content = Content::default();
        for key in [b"a", b"b", b"c"] {
            content.apply(put(key));
        }
        let before = content.clone();
        content.apply(Change::DeleteRange { family: "f", from: b"a".to_vec(), to: b"c".to_vec() });
        content.apply(Change::Delete { family: "f", key: b"c".to_vec() });
        content.apply(put(b"d"));
        assert_eq!(content.rows("f").keys().collect::<Vec<_>>(), [b"d"]);
        assert_eq!(before.rows("f").len(), 3);
        assert!(content.rows("another").is_empty());
    }
}

//! What a snapshot consists of, and the file beside it that says so.
//!
//! The manifest is written last: a snapshot folder without a good one is a leftover, not a snapshot. Its layout is
//! `[SHA-256 of the rest][protobuf]`.

use std::path::Path;

use conclave_faults::failpoint::{Point, hit};
use conclave_proto::log;
use conclave_proto::peer::SnapshotFile;
use prost::Message as _;
use sha2::{Digest as _, Sha256};

use crate::convert::{snapshot_meta_from_proto, snapshot_meta_to_proto};
use crate::error::StorageError;
use crate::files;
use crate::types::SnapshotMeta;

pub const MANIFEST_NAME: &str = "CONCLAVE-SNAPSHOT";
const MANIFEST_FORMAT: u32 = 1;
const DIGEST_BYTES: usize = 32;

#[derive(Clone, PartialEq)]
pub struct Manifest {
    pub meta: SnapshotMeta,
    pub id: String,
    /// Without the manifest itself.
    pub files: Vec<SnapshotFile>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct ManifestRecord {
    #[prost(uint32, tag = "1")]
    format: u32,
    #[prost(message, optional, tag = "2")]
    meta: Option<log::SnapshotMeta>,
    #[prost(message, repeated, tag = "3")]
    files: Vec<SnapshotFile>,
}

impl Manifest {
    pub fn encode(&self) -> Vec<u8> {
        let record = ManifestRecord {
            format: MANIFEST_FORMAT,
            meta: Some(snapshot_meta_to_proto(&self.meta, &self.id)),
            files: self.files.clone(),
        };
        let body = record.encode_to_vec();
        let mut content = Sha256::digest(&body).to_vec();
        content.extend_from_slice(&body);
        content
    }

    /// `None`: damaged, of another format, or it names a file that is none of a snapshot's.
    pub fn decode(content: &[u8]) -> Option<Self> {
        let (digest, body) = content.split_first_chunk::<DIGEST_BYTES>()?;
        if Sha256::digest(body).as_slice() != digest {
            return None;
        }
        let record = ManifestRecord::decode(body).ok()?;
        if record.format != MANIFEST_FORMAT || !record.files.iter().all(|file| is_snapshot_file(&file.name)) {
            return None;
        }
        let (meta, id) = snapshot_meta_from_proto(record.meta?).ok()?;
        Some(Self { meta, id, files: record.files })
    }

    pub fn write(&self, folder: &Path) -> Result<(), StorageError> {
        hit(Point::ManifestWrite);
        files::write_durably(&folder.join(MANIFEST_NAME), &self.encode())?;
        hit(Point::ManifestWritten);
        Ok(())
    }

    /// `None`: there is no good manifest, or a file is missing or has another size, so this is no snapshot.
    pub fn read(folder: &Path) -> Result<Option<Self>, StorageError> {
        let content = files::read_if_exists(&folder.join(MANIFEST_NAME))?;
        let Some(manifest) = content.and_then(|content| Self::decode(&content)) else { return Ok(None) };
        let complete = manifest
            .files
            .iter()
            .all(|file| folder.join(&file.name).metadata().is_ok_and(|found| found.len() == file.bytes));
        Ok(complete.then_some(manifest))
    }
}

/// Whether RocksDB gives its data files such a name. Nothing else is sent, and nothing else is accepted from
/// another node, so that a name can never lead out of the folder.
pub fn is_snapshot_file(name: &str) -> bool {
    let number =
        |text: &str| !text.is_empty() && text.len() <= 20 && text.bytes().all(|b| b.is_ascii_digit());
    match name.split_once('.') {
        Some((stem, "sst" | "log")) => number(stem),
        Some(_) => false,
        None => name == "CURRENT" || name.strip_prefix("MANIFEST-").is_some_and(number),
    }
}

/// Whether the file's content never changes once it is written, so that it can be shared by a hard link.
pub fn is_immutable(name: &str) -> bool {
    name.ends_with(".sst")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_data_files_are_accepted() {
        for name in ["000012.sst", "000010.log", "CURRENT", "MANIFEST-000005"] {
            assert!(is_snapshot_file(name), "{name}");
        }
        let hostile = [
            "",
            ".",
            "..",
            "../x",
            "/etc/passwd",
            ".sst",
            "a.sst",
            "1.sst/..",
            "1.sst.tmp",
            "MANIFEST-",
            "LOCK",
            "MANIFEST-1/2",
            "1/2.sst",
            "OPTIONS-000007",
            MANIFEST_NAME,
            "00000000000000000000000.sst",
            "1.s\0st",
        ];
        for name in hostile {
            assert!(!is_snapshot_file(name), "{name:?}");
        }
    }

    #[test]
    fn a_damaged_manifest_is_no_manifest() {
        let folder = tempfile::tempdir().unwrap();
        assert!(Manifest::read(folder.path()).unwrap().is_none());
        std::fs::write(folder.path().join("CURRENT"), "abc").unwrap();
        let file = SnapshotFile { name: "CURRENT".into(), bytes: 3, sha256: vec![1; 32].into() };
        let manifest = Manifest { meta: SnapshotMeta::default(), id: "x".into(), files: vec![file] };
        manifest.write(folder.path()).unwrap();
        assert!(Manifest::read(folder.path()).unwrap() == Some(manifest));

        let path = folder.path().join(MANIFEST_NAME);
        let good = std::fs::read(&path).unwrap();
        for position in 0..good.len() {
            let mut bad = good.clone();
            bad[position] ^= 1;
            std::fs::write(&path, &bad).unwrap();
            assert!(Manifest::read(folder.path()).unwrap().is_none(), "byte {position}");
        }
        std::fs::write(&path, &good).unwrap();
        std::fs::write(folder.path().join("CURRENT"), "ab").unwrap();
        assert!(Manifest::read(folder.path()).unwrap().is_none(), "a file has another size");
    }
}

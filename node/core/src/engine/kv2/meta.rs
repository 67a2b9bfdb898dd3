//! The metadata record of one secret: its settings, and what became of each version that is still known.
//!
//! Versions are consecutive, so the record keeps two packed lists of offsets in time and the few destroyed numbers:
//! about seven bytes a version. It never holds a value.

use std::collections::BTreeMap;
use std::fmt;

use prost::Message;
use serde::ser::{Serialize, SerializeMap, SerializeStruct, Serializer};
use zeroize::Zeroizing;

use super::super::mount::KvConfig;
use super::super::text::time_text;
use super::VERSIONS_DEFAULT;
use crate::duration;
use crate::error::Error;

#[derive(Clone, PartialEq, Message)]
#[prost(skip_debug)]
pub(in super::super) struct Meta {
    #[prost(uint64, tag = "1")]
    pub(super) created_ms: u64,
    #[prost(uint64, tag = "2")]
    pub(super) updated_ms: u64,
    /// 0: there has been none yet.
    #[prost(uint64, tag = "3")]
    pub(super) current_version: u64,
    /// As Vault shows it: 0 until versions have been dropped, then the oldest that is left.
    #[prost(uint64, tag = "4")]
    pub(super) oldest_version: u64,
    /// Counts the changes of the settings; what `metadata_cas` compares.
    #[prost(uint64, tag = "5")]
    pub(super) metadata_version: u64,
    #[prost(uint32, tag = "6")]
    pub(super) max_versions: u32,
    #[prost(bool, tag = "7")]
    pub(super) cas_required: bool,
    #[prost(bool, tag = "8")]
    pub(super) metadata_cas_required: bool,
    #[prost(int64, tag = "9")]
    pub(super) delete_version_after_s: i64,
    #[prost(btree_map = "string, string", tag = "10")]
    pub(super) custom_metadata: BTreeMap<String, String>,
    /// Of each version that is known, the last one for `current_version`: milliseconds since the secret was created.
    #[prost(uint64, repeated, tag = "11")]
    version_created_after_ms: Vec<u64>,
    /// Of each: 0 if it has no time of deletion, else 1 + milliseconds from its creation to its deletion.
    #[prost(uint64, repeated, tag = "12")]
    version_deleted_after_ms: Vec<u64>,
    /// Numbers of destroyed versions, rising.
    #[prost(uint64, repeated, tag = "13")]
    destroyed_versions: Vec<u64>,
}

/// What is known of one version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Version {
    pub(super) number: u64,
    pub(super) created_ms: u64,
    pub(super) deletion_ms: Option<u64>,
    pub(super) destroyed: bool,
}

impl Version {
    pub(super) fn is_deleted(&self, now_ms: u64) -> bool {
        self.deletion_ms.is_some_and(|deletion_ms| deletion_ms <= now_ms)
    }

    pub(super) fn is_readable(&self, now_ms: u64) -> bool {
        !self.destroyed && !self.is_deleted(now_ms)
    }

    fn deletion_text(&self) -> String {
        self.deletion_ms.map(time_text).unwrap_or_default()
    }
}

impl Meta {
    pub(in super::super) fn new(now_ms: u64) -> Self {
        Self { created_ms: now_ms, updated_ms: now_ms, ..Self::default() }
    }

    pub(super) fn from_payload(payload: &[u8]) -> Result<Self, Error> {
        let meta =
            Self::decode(payload).map_err(|_| Error::Corrupt("a metadata record is malformed".to_owned()))?;
        let versions = meta.version_created_after_ms.len();
        let consistent = versions == meta.version_deleted_after_ms.len()
            && u64::try_from(versions).is_ok_and(|versions| versions <= meta.current_version);
        if consistent {
            Ok(meta)
        } else {
            Err(Error::Corrupt("a metadata record contradicts itself".to_owned()))
        }
    }

    pub(in super::super) fn to_payload(&self) -> Zeroizing<Vec<u8>> {
        Zeroizing::new(self.encode_to_vec())
    }

    /// The number of the oldest version that is known; one more than the current if there is none.
    fn first_version(&self) -> u64 {
        self.current_version + 1 - self.version_created_after_ms.len() as u64
    }

    fn index_of(&self, number: u64) -> Option<usize> {
        let index = usize::try_from(number.checked_sub(self.first_version())?).ok()?;
        (index < self.version_created_after_ms.len()).then_some(index)
    }

    pub(super) fn version(&self, number: u64) -> Option<Version> {
        let index = self.index_of(number)?;
        let created_ms = self.created_ms.saturating_add(self.version_created_after_ms[index]);
        let deletion_ms = self.version_deleted_after_ms[index]
            .checked_sub(1)
            .map(|after_ms| created_ms.saturating_add(after_ms));
        let destroyed = self.destroyed_versions.binary_search(&number).is_ok();
        Some(Version { number, created_ms, deletion_ms, destroyed })
    }

    /// All versions that are known, oldest first.
    pub(super) fn versions(&self) -> impl Iterator<Item = Version> {
        (self.first_version()..=self.current_version).filter_map(|number| self.version(number))
    }

    /// Adds the next version and gives its number.
    pub(in super::super) fn push_version(&mut self, now_ms: u64, deletion_ms: Option<u64>) -> u64 {
        self.current_version += 1;
        self.updated_ms = now_ms;
        self.version_created_after_ms.push(now_ms.saturating_sub(self.created_ms));
        self.version_deleted_after_ms.push(0);
        self.set_deletion(self.current_version, deletion_ms);
        self.current_version
    }

    /// Marks versions as the oldest that are shown; the upgrade from KV v1 does so from the start.
    pub(in super::super) fn show_oldest(&mut self) {
        self.oldest_version = self.first_version();
    }

    pub(super) fn set_deletion(&mut self, number: u64, deletion_ms: Option<u64>) {
        let (Some(version), Some(index)) = (self.version(number), self.index_of(number)) else { return };
        self.version_deleted_after_ms[index] = deletion_ms
            .map_or(0, |deletion_ms| deletion_ms.saturating_sub(version.created_ms).saturating_add(1));
    }

    pub(super) fn destroy(&mut self, number: u64) {
        if let (Some(_), Err(place)) = (self.index_of(number), self.destroyed_versions.binary_search(&number))
        {
            self.destroyed_versions.insert(place, number);
        }
    }

    /// Forgets all but the newest `keep` versions; gives the numbers of those forgotten that still have data.
    pub(super) fn prune(&mut self, keep: u32) -> Vec<u64> {
        let surplus =
            self.version_created_after_ms.len().saturating_sub(usize::try_from(keep).unwrap_or(usize::MAX));
        if surplus == 0 {
            return Vec::new();
        }
        let forgotten = self.versions().take(surplus).filter(|version| !version.destroyed);
        let forgotten = forgotten.map(|version| version.number).collect();
        self.version_created_after_ms.drain(..surplus);
        self.version_deleted_after_ms.drain(..surplus);
        let first = self.first_version();
        self.destroyed_versions.retain(|&number| number >= first);
        self.show_oldest();
        forgotten
    }

    /// How many versions to keep: what the secret says, else its mount, else the default.
    pub(super) fn versions_to_keep(&self, config: &KvConfig) -> u32 {
        [self.max_versions, config.max_versions]
            .into_iter()
            .find(|&versions| versions > 0)
            .unwrap_or(VERSIONS_DEFAULT)
    }

    /// When a version that is made or undeleted now is to be deleted by itself. The shorter of the secret's and its
    /// mount's time wins; a negative time of the mount switches all off.
    pub(super) fn deletion_of_version_made(&self, now_ms: u64, config: &KvConfig) -> Option<u64> {
        let after_s = match (self.delete_version_after_s, config.delete_version_after_s) {
            (_, mount_s) if mount_s < 0 => return None,
            (0, 0) => return None,
            (own_s, 0) => own_s,
            (0, mount_s) => mount_s,
            (own_s, mount_s) => own_s.min(mount_s),
        };
        Some(now_ms.saturating_add(u64::try_from(after_s).ok()?.saturating_mul(1_000)))
    }

    /// Checks a caller's expectation of the current version; a new secret has version 0.
    pub(super) fn check_cas(current_version: u64, required: bool, cas: Option<i64>) -> Result<(), Error> {
        match cas {
            Some(cas) if u64::try_from(cas) == Ok(current_version) => Ok(()),
            Some(_) => Err(Error::invalid("check-and-set parameter did not match the current version")),
            None if required => Err(Error::invalid("check-and-set parameter required for this call")),
            None => Ok(()),
        }
    }

    /// `null` if there is none, as Vault answers.
    fn custom_metadata_shown(&self) -> Option<&BTreeMap<String, String>> {
        Some(&self.custom_metadata).filter(|custom_metadata| !custom_metadata.is_empty())
    }
}

impl fmt::Debug for Meta {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Meta({} versions)", self.version_created_after_ms.len())
    }
}

/// The `metadata` of one version, as reads and writes of data answer it.
pub(super) struct VersionJson<'a> {
    pub(super) meta: &'a Meta,
    pub(super) version: Version,
}

impl Serialize for VersionJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut json = serializer.serialize_struct("VersionJson", 5)?;
        json.serialize_field("created_time", &time_text(self.version.created_ms))?;
        json.serialize_field("custom_metadata", &self.meta.custom_metadata_shown())?;
        json.serialize_field("deletion_time", &self.version.deletion_text())?;
        json.serialize_field("destroyed", &self.version.destroyed)?;
        json.serialize_field("version", &self.version.number)?;
        json.end()
    }
}

/// The whole metadata of one secret, as `metadata/` answers it.
pub(super) struct MetaJson<'a>(pub(super) &'a Meta);

impl Serialize for MetaJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let meta = self.0;
        let mut json = serializer.serialize_struct("MetaJson", 11)?;
        json.serialize_field("cas_required", &meta.cas_required)?;
        json.serialize_field("created_time", &time_text(meta.created_ms))?;
        json.serialize_field("current_metadata_version", &meta.metadata_version)?;
        json.serialize_field("current_version", &meta.current_version)?;
        json.serialize_field("custom_metadata", &meta.custom_metadata_shown())?;
        json.serialize_field("delete_version_after", &duration::format_s(meta.delete_version_after_s))?;
        json.serialize_field("max_versions", &meta.max_versions)?;
        json.serialize_field("metadata_cas_required", &meta.metadata_cas_required)?;
        json.serialize_field("oldest_version", &meta.oldest_version)?;
        json.serialize_field("updated_time", &time_text(meta.updated_ms))?;
        json.serialize_field("versions", &VersionsJson(meta))?;
        json.end()
    }
}

struct VersionsJson<'a>(&'a Meta);

impl Serialize for VersionsJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut json = serializer.serialize_map(None)?;
        for version in self.0.versions() {
            json.serialize_entry(&version.number.to_string(), &VersionStateJson(version))?;
        }
        json.end()
    }
}

struct VersionStateJson(Version);

impl Serialize for VersionStateJson {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut json = serializer.serialize_struct("VersionStateJson", 3)?;
        json.serialize_field("created_time", &time_text(self.0.created_ms))?;
        json.serialize_field("deletion_time", &self.0.deletion_text())?;
        json.serialize_field("destroyed", &self.0.destroyed)?;
        json.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meta_with(versions: u64) -> Meta {
        let mut meta = Meta::new(1_000);
        for number in 1..=versions {
            assert_eq!(meta.push_version(1_000 + number * 10, None), number);
        }
        meta
    }

    #[test]
    fn a_record_comes_back_whole() {
        let mut meta = meta_with(5);
        meta.set_deletion(2, Some(9_000));
        meta.destroy(4);
        meta.destroy(4);
        meta.custom_metadata.insert("owner".to_owned(), "team".to_owned());
        let back = Meta::from_payload(&meta.to_payload()).unwrap();
        assert_eq!(back, meta);
        assert_eq!(
            back.version(2),
            Some(Version { number: 2, created_ms: 1_020, deletion_ms: Some(9_000), destroyed: false })
        );
        assert_eq!(back.version(4).map(|version| version.destroyed), Some(true));
        assert_eq!((back.version(0), back.version(6)), (None, None));
    }

    #[test]
    fn a_thousand_versions_cost_some_kilobytes() {
        let mut meta = Meta::new(1_700_000_000_000);
        for number in 1..=1_000 {
            // One version an hour.
            meta.push_version(1_700_000_000_000 + number * 3_600_000, None);
        }
        let bytes = meta.to_payload().len();
        assert!(bytes < 8_000, "{bytes}");
    }

    #[test]
    fn pruning_forgets_the_oldest_and_names_those_with_data() {
        let mut meta = meta_with(5);
        meta.destroy(1);
        assert_eq!(meta.oldest_version, 0);
        assert_eq!(meta.prune(2), [2, 3]);
        assert_eq!(meta.oldest_version, 4);
        assert_eq!(meta.versions().map(|version| version.number).collect::<Vec<_>>(), [4, 5]);
        assert!(meta.prune(2).is_empty());
        assert!(meta.destroyed_versions.is_empty());
        assert_eq!(meta.push_version(2_000, None), 6);
    }

    #[test]
    fn malformed_records_are_refused() {
        assert!(Meta::from_payload(&[0xff]).is_err());
        let mut meta = meta_with(2);
        meta.version_deleted_after_ms.pop();
        assert!(Meta::from_payload(&meta.to_payload()).is_err());
        let mut meta = meta_with(2);
        meta.current_version = 1;
        assert!(Meta::from_payload(&meta.to_payload()).is_err());
    }
}

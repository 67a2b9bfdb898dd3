//! The fields of `metadata/` requests, checked before anything is read.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::VERSIONS_MAX;
use super::meta::Meta;
use crate::error::Error;
use crate::fields;

/// Most names in a secret's custom metadata.
pub const CUSTOM_METADATA_KEYS_MAX: usize = 64;
/// Longest name in custom metadata, in bytes.
const CUSTOM_METADATA_KEY_BYTES_MAX: usize = 128;
/// Longest value in custom metadata, in bytes.
const CUSTOM_METADATA_VALUE_BYTES_MAX: usize = 512;

pub(super) const KNOWN_PARAMETERS: [&str; 7] = [
    "cas_required",
    "custom_metadata",
    "delete_version_after",
    "max_versions",
    "metadata_cas",
    "metadata_cas_required",
    "path",
];

/// What a request wants to change. `None`: leave it.
pub(super) struct Changes {
    pub(super) metadata_cas: Option<i64>,
    pub(super) cas_required: Option<bool>,
    pub(super) metadata_cas_required: Option<bool>,
    max_versions: Option<u32>,
    delete_version_after_s: Option<i64>,
    custom_metadata: Option<CustomMetadata>,
}

enum CustomMetadata {
    /// `null`: all of it goes.
    Clear,
    /// Names with their values; `None` removes the name.
    Names(BTreeMap<String, Option<String>>),
}

impl Changes {
    /// Of a whole write, where every name given needs a value.
    pub(super) fn of(body: &Map<String, Value>) -> Result<Self, Error> {
        Self::parse(body, false)
    }

    /// Of a merge patch, where `null` removes a name.
    pub(super) fn of_patch(body: &Map<String, Value>) -> Result<Self, Error> {
        Self::parse(body, true)
    }

    fn parse(body: &Map<String, Value>, null_removes: bool) -> Result<Self, Error> {
        let delete_version_after_s = fields::duration_s(body, "delete_version_after")?;
        if delete_version_after_s.is_some_and(|seconds| seconds < 0) {
            return Err(Error::invalid(
                "error converting input for field \"delete_version_after\": cannot provide negative value",
            ));
        }
        Ok(Self {
            metadata_cas: fields::integer(body, "metadata_cas")?,
            cas_required: fields::boolean(body, "cas_required")?,
            metadata_cas_required: fields::boolean(body, "metadata_cas_required")?,
            max_versions: max_versions(body)?,
            delete_version_after_s,
            custom_metadata: custom_metadata(body, null_removes)?,
        })
    }

    /// Whether nothing would change: `metadata_cas` alone is no change.
    pub(super) fn is_empty(&self) -> bool {
        self.cas_required.is_none()
            && self.metadata_cas_required.is_none()
            && self.max_versions.is_none()
            && self.delete_version_after_s.is_none()
            && self.custom_metadata.is_none()
    }

    /// Custom metadata is replaced as a whole.
    pub(super) fn set(&self, meta: &mut Meta) -> Result<(), Error> {
        if self.custom_metadata.is_some() {
            meta.custom_metadata.clear();
        }
        self.merge(meta)
    }

    /// Custom metadata is changed name by name.
    pub(super) fn merge(&self, meta: &mut Meta) -> Result<(), Error> {
        meta.cas_required = self.cas_required.unwrap_or(meta.cas_required);
        meta.metadata_cas_required = self.metadata_cas_required.unwrap_or(meta.metadata_cas_required);
        meta.max_versions = self.max_versions.unwrap_or(meta.max_versions);
        meta.delete_version_after_s = self.delete_version_after_s.unwrap_or(meta.delete_version_after_s);
        match &self.custom_metadata {
            None => {}
            Some(CustomMetadata::Clear) => meta.custom_metadata.clear(),
            Some(CustomMetadata::Names(names)) => {
                for (name, value) in names {
                    match value {
                        Some(value) => meta.custom_metadata.insert(name.clone(), value.clone()),
                        None => meta.custom_metadata.remove(name),
                    };
                }
            }
        }
        check_keys(meta.custom_metadata.len())
    }
}

/// The field `max_versions`; 0 means the next wider setting.
pub(super) fn max_versions(body: &Map<String, Value>) -> Result<Option<u32>, Error> {
    let refuse = || {
        Error::invalid(format!(
            "error converting input for field \"max_versions\": expected 0 to {VERSIONS_MAX}"
        ))
    };
    let given = fields::integer(body, "max_versions")?;
    given
        .map(|given| {
            u32::try_from(given).ok().filter(|&versions| versions <= VERSIONS_MAX).ok_or_else(refuse)
        })
        .transpose()
}

fn custom_metadata(body: &Map<String, Value>, null_removes: bool) -> Result<Option<CustomMetadata>, Error> {
    let given = match body.get("custom_metadata") {
        None => return Ok(None),
        Some(Value::Null) => return Ok(Some(CustomMetadata::Clear)),
        Some(_) => fields::object(body, "custom_metadata")?,
    };
    let mut names = BTreeMap::new();
    for (name, value) in given.into_iter().flatten() {
        check_text(name, "key", CUSTOM_METADATA_KEY_BYTES_MAX)?;
        let value = if value.is_null() && null_removes {
            None
        } else {
            let text = fields::text_of(value).ok_or_else(|| {
                Error::invalid("custom_metadata validation failed: every value must be a string")
            })?;
            check_text(&text, "value", CUSTOM_METADATA_VALUE_BYTES_MAX)?;
            Some(text)
        };
        names.insert(name.clone(), value);
    }
    check_keys(names.values().filter(|value| value.is_some()).count())?;
    Ok(Some(CustomMetadata::Names(names)))
}

fn check_keys(keys: usize) -> Result<(), Error> {
    if keys <= CUSTOM_METADATA_KEYS_MAX {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "custom_metadata validation failed: payload must contain at most {CUSTOM_METADATA_KEYS_MAX} keys, provided {keys}"
    )))
}

fn check_text(text: &str, what: &str, bytes_max: usize) -> Result<(), Error> {
    if text.is_empty() || text.len() > bytes_max {
        let bytes = text.len();
        return Err(Error::invalid(format!(
            "custom_metadata validation failed: length of a {what} is {bytes} but must be 0 < len({what}) <= {bytes_max}"
        )));
    }
    if text.chars().any(char::is_control) {
        return Err(Error::invalid(format!(
            "custom_metadata validation failed: a {what} contains unprintable characters"
        )));
    }
    Ok(())
}

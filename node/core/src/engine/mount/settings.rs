//! The settings of a mount that a request may give, for a new mount and for a change of one.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::LEASE_DEFAULT_S;
use super::record::MountRecord;
use crate::error::Error;
use crate::{duration, fields};

/// Sets what `config` of a new mount gives.
pub(super) fn apply_to_new(mount: &mut MountRecord, config: &Map<String, Value>) -> Result<(), Error> {
    if let Some(seconds) = lease_s(config, "default_lease_ttl", "unable to parse default TTL")? {
        mount.default_lease_s = seconds;
    }
    if let Some(seconds) = lease_s(config, "max_lease_ttl", "unable to parse max TTL")? {
        mount.max_lease_s = seconds;
    }
    if mount.max_lease_s > 0 && mount.default_lease_s > mount.max_lease_s {
        return Err(Error::invalid("given default lease TTL greater than given max lease TTL"));
    }
    if mount.max_lease_s == 0 && mount.default_lease_s > LEASE_DEFAULT_S {
        return Err(Error::invalid(format!(
            "given default lease TTL greater than system max lease TTL of {LEASE_DEFAULT_S}"
        )));
    }
    apply_plain(mount, config)
}

/// Sets what a `tune` request gives, except for the options.
pub(super) fn apply_to_tuned(mount: &mut MountRecord, body: &Map<String, Value>) -> Result<(), Error> {
    let default_s = lease_s(body, "default_lease_ttl", "unable to parse default TTL")?;
    let max_s = lease_s(body, "max_lease_ttl", "unable to parse max TTL")?;
    if default_s.is_some() || max_s.is_some() {
        mount.default_lease_s = default_s.unwrap_or(mount.default_lease_s);
        mount.max_lease_s = max_s.unwrap_or(mount.max_lease_s);
        let max_s = if mount.max_lease_s == 0 { LEASE_DEFAULT_S } else { mount.max_lease_s };
        let default_s = mount.default_lease_s;
        if default_s > max_s {
            return Err(Error::invalid(format!(
                "backend max lease TTL of {max_s} would be less than backend default lease TTL of {default_s}"
            )));
        }
    }
    if body.contains_key("token_type") {
        return Err(Error::invalid("'token_type' can only be modified on auth mounts"));
    }
    if let Some(description) = fields::text(body, "description")? {
        mount.description = description;
    }
    apply_plain(mount, body)
}

/// The settings that are the same in both.
fn apply_plain(mount: &mut MountRecord, given: &Map<String, Value>) -> Result<(), Error> {
    if let Some(force_no_cache) = fields::boolean(given, "force_no_cache")? {
        mount.force_no_cache = force_no_cache;
    }
    if let Some(visibility) = fields::text(given, "listing_visibility")? {
        if !matches!(visibility.as_str(), "" | "hidden" | "unauth") {
            return Err(Error::invalid("invalid listing_visibility: it is \"hidden\" or \"unauth\""));
        }
        mount.listing_visibility = visibility;
    }
    for (name, list) in [
        ("audit_non_hmac_request_keys", &mut mount.audit_non_hmac_request_keys),
        ("audit_non_hmac_response_keys", &mut mount.audit_non_hmac_response_keys),
        ("passthrough_request_headers", &mut mount.passthrough_request_headers),
        ("allowed_response_headers", &mut mount.allowed_response_headers),
    ] {
        if let Some(given) = fields::texts(given, name)? {
            *list = given;
        }
    }
    Ok(())
}

/// Options as texts; numbers count as their digits.
pub(super) fn options(body: &Map<String, Value>) -> Result<BTreeMap<String, String>, Error> {
    let given = fields::object(body, "options")?;
    given
        .into_iter()
        .flatten()
        .map(|(name, value)| {
            let value =
                fields::text_of(value).ok_or_else(|| Error::invalid("every option must be a string"))?;
            Ok((name.clone(), value))
        })
        .collect()
}

/// Seconds; `system` and 0 both mean the system's.
fn lease_s(given: &Map<String, Value>, name: &str, sentence: &str) -> Result<Option<u64>, Error> {
    let seconds = match given.get(name) {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::String(text)) if text.is_empty() => return Ok(None),
        Some(Value::String(text)) if text == "system" => 0,
        Some(value) => {
            duration::from_json_s(value).map_err(|error| Error::invalid(format!("{sentence}: {error}")))?
        }
    };
    u64::try_from(seconds).map(Some).map_err(|_| Error::invalid(format!("{sentence}: it is negative")))
}

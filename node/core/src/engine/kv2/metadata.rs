//! `metadata/` and `detailed-metadata/`: a secret's settings, its deletion as a whole, and lists.

use std::collections::BTreeMap;

use conclave_proto::path::SecretPath;
use serde::ser::{SerializeMap, Serializer};

use super::Slot;
use super::meta::{Meta, MetaJson};
use super::metadata_fields::{Changes, KNOWN_PARAMETERS};
use crate::crypto::Kind;
use crate::engine::listing::{Listing, Names, Page, keys_reply};
use crate::engine::mount::{KvConfig, Mount};
use crate::engine::text::JsonText;
use crate::engine::{nothing_listed, prefix_to_list};
use crate::error::Error;
use crate::fields;
use crate::plan::{Context, Operation, Plan, Reply, Request};

pub(super) fn read(
    context: &Context<'_>,
    mount: &Mount,
    path: &SecretPath,
    request: &Request<'_>,
) -> Result<Plan, Error> {
    let slot = Slot::load(context, mount, path)?;
    let meta = slot.meta.as_ref().ok_or(Error::NotFound)?;
    let mut reply = JsonText::of(&MetaJson(meta)).reply(200);
    reply.warnings = fields::unknown_warning(request.query.names(), &KNOWN_PARAMETERS);
    Ok(reply.into())
}

/// `POST`: sets the fields given, making the secret's metadata if there is none.
pub(super) fn write(
    context: &mut Context<'_>,
    mount: &Mount,
    path: &SecretPath,
    request: &Request<'_>,
) -> Result<Plan, Error> {
    let changes = Changes::of(request.body)?;
    if changes.is_empty() {
        return Ok(Reply::no_content().into());
    }
    let slot = Slot::load(context, mount, path)?;
    change(context, slot, &changes, Changes::set)
}

/// `PATCH`: as a merge patch, so custom metadata is changed name by name and `null` resets.
pub(super) fn patch(
    context: &mut Context<'_>,
    mount: &Mount,
    path: &SecretPath,
    request: &Request<'_>,
) -> Result<Plan, Error> {
    let changes = Changes::of_patch(request.body)?;
    let slot = Slot::load(context, mount, path)?;
    if slot.meta.is_none() {
        return Err(Error::NotFound);
    }
    if changes.is_empty() {
        return Ok(Reply::no_content().into());
    }
    change(context, slot, &changes, Changes::merge)
}

fn change(
    context: &mut Context<'_>,
    mut slot: Slot<'_>,
    changes: &Changes,
    apply: impl Fn(&Changes, &mut Meta) -> Result<(), Error>,
) -> Result<Plan, Error> {
    let config = slot.mount.kv_config();
    check_metadata_cas(slot.meta.as_ref(), config, changes.metadata_cas)?;
    let mut meta = slot.meta.take().unwrap_or_else(|| Meta::new(context.now_ms));
    apply(changes, &mut meta)?;
    meta.metadata_version += 1;
    meta.updated_ms = context.now_ms;
    let mut txn = slot.txn(context);
    slot.put_meta(context, &mut txn, &meta)?;
    let mut reply = Reply::no_content();
    reply.warnings = overruled_warnings(changes, config);
    if !reply.warnings.is_empty() {
        reply.status = 200;
    }
    Ok(Plan { txn, reply })
}

fn check_metadata_cas(meta: Option<&Meta>, config: &KvConfig, cas: Option<i64>) -> Result<(), Error> {
    let required = config.metadata_cas_required || meta.is_some_and(|meta| meta.metadata_cas_required);
    match (cas, meta) {
        (None, _) if required => {
            Err(Error::invalid("metadata check-and-set parameter required for this call"))
        }
        (None, _) | (Some(0), None) => Ok(()),
        (Some(_), None) => Err(Error::invalid("metadata_cas must be 0 when creating new metadata")),
        (Some(cas), Some(meta)) if u64::try_from(cas) == Ok(meta.metadata_version) => Ok(()),
        (Some(_), Some(_)) => {
            Err(Error::invalid("metadata check-and-set parameter does not match the current version"))
        }
    }
}

fn overruled_warnings(changes: &Changes, config: &KvConfig) -> Vec<String> {
    [
        ("cas_required", changes.cas_required, config.cas_required),
        ("metadata_cas_required", changes.metadata_cas_required, config.metadata_cas_required),
    ]
    .into_iter()
    .filter(|(_, own, of_mount)| *own == Some(false) && *of_mount)
    .map(|(name, ..)| {
        format!("\"{name}\" set to false, but is mandated by backend config. This value will be ignored.")
    })
    .collect()
}

/// Deletes the secret with all its versions, for good.
pub(super) fn delete(context: &mut Context<'_>, mount: &Mount, path: &SecretPath) -> Result<Plan, Error> {
    let slot = Slot::load(context, mount, path)?;
    let Some(meta) = &slot.meta else { return Ok(Reply::no_content().into()) };
    let mut txn = slot.txn(context);
    txn.delete(slot.address.key.clone());
    for version in meta.versions().filter(|version| !version.destroyed) {
        txn.delete(slot.version_address(context, version.number).key);
    }
    Ok(Plan { txn, reply: Reply::no_content() })
}

/// Lists or scans names; with `details` each secret's metadata as well.
pub(super) fn list(
    context: &Context<'_>,
    mount: &Mount,
    path: &str,
    request: &Request<'_>,
    details: bool,
) -> Result<Plan, Error> {
    let listing = Listing {
        kind: Kind::KvMeta,
        root: &[mount.uuid()],
        prefix: prefix_to_list(path)?,
        page: Page::of(request.query)?,
        with_payloads: details,
    };
    let scan = request.operation == Operation::Scan;
    let names = if scan { listing.descendants(context)? } else { listing.children(context)? };
    if names.is_empty() {
        return nothing_listed(scan);
    }
    let mut reply = if details { detailed_reply(&names)? } else { keys_reply(&names) };
    let known = [&KNOWN_PARAMETERS[..], &Page::PARAMETERS].concat();
    reply.warnings = fields::unknown_warning(request.query.names(), &known);
    Ok(reply.into())
}

fn detailed_reply(names: &Names) -> Result<Reply, Error> {
    let mut metas = BTreeMap::new();
    for (name, payload) in names {
        if let Some(payload) = payload {
            metas.insert(name.as_str(), Meta::from_payload(payload)?);
        }
    }
    let mut text = JsonText::with_capacity(names.len() * 512);
    text.push(b"{\"key_info\":");
    text.push_json(&Details(&metas));
    text.push(b",\"keys\":");
    text.push_json(&names.keys().collect::<Vec<_>>());
    text.push(b"}");
    Ok(text.reply(200))
}

struct Details<'a>(&'a BTreeMap<&'a str, Meta>);

impl serde::Serialize for Details<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut json = serializer.serialize_map(Some(self.0.len()))?;
        for (name, meta) in self.0 {
            json.serialize_entry(name, &MetaJson(meta))?;
        }
        json.end()
    }
}

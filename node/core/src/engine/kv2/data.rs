//! `data/`: reading a version and writing the next one. The hottest paths of the whole server.

use conclave_proto::path::SecretPath;
use serde_json::{Map, Value};

use super::Slot;
use super::meta::{Meta, VersionJson};
use crate::engine::mount::Mount;
use crate::engine::records;
use crate::engine::text::JsonText;
use crate::error::Error;
use crate::fields;
use crate::plan::{Context, Plan, Request};

/// What all methods of `data/` know: Vault describes the fields of a path once for all of them.
pub(super) const KNOWN_PARAMETERS: [&str; 4] = ["data", "options", "path", "version"];
/// What a read's answer has beside the secret, in bytes: about, because custom metadata has no fixed size.
const READ_FRAME_BYTES: usize = 256;

pub(super) fn read(
    context: &Context<'_>,
    mount: &Mount,
    path: &SecretPath,
    request: &Request<'_>,
) -> Result<Plan, Error> {
    let asked = asked_number(request)?;
    let slot = Slot::load(context, mount, path)?;
    let meta = slot.meta.as_ref().ok_or(Error::NotFound)?;
    let version = version_asked(meta, asked)?;
    let readable = version.is_readable(context.now_ms);
    let stored = if readable { Some(read_version(context, &slot, version.number)?) } else { None };
    let data: &[u8] = stored.as_ref().map_or(b"null", |stored| &stored.payload);
    let mut text = JsonText::with_capacity(data.len() + READ_FRAME_BYTES);
    text.push(b"{\"data\":");
    text.push(data);
    text.push(b",\"metadata\":");
    text.push_json(&VersionJson { meta, version });
    text.push(b"}");
    let mut reply = text.reply(if readable { 200 } else { 404 });
    reply.warnings = fields::unknown_warning(request.query.names(), &KNOWN_PARAMETERS);
    Ok(reply.into())
}

/// The number of the version that the query names; 0 and less mean the current one, as no number does.
pub(super) fn asked_number(request: &Request<'_>) -> Result<Option<u64>, Error> {
    let asked = fields::query_integer(request.query, "version")?;
    Ok(asked.and_then(|asked| u64::try_from(asked).ok()).filter(|&asked| asked > 0))
}

/// The version with this number, else the current one.
pub(super) fn version_asked(meta: &Meta, asked: Option<u64>) -> Result<super::meta::Version, Error> {
    meta.version(asked.unwrap_or(meta.current_version)).ok_or(Error::NotFound)
}

/// The JSON text of a version that the metadata says is there.
pub(super) fn read_version(
    context: &Context<'_>,
    slot: &Slot<'_>,
    number: u64,
) -> Result<records::Stored, Error> {
    records::read(context, &slot.version_address(context, number).key)?
        .ok_or_else(|| Error::Corrupt("a version that the metadata lists has no record".to_owned()))
}

pub(super) fn write(
    context: &mut Context<'_>,
    mount: &Mount,
    path: &SecretPath,
    request: &Request<'_>,
) -> Result<Plan, Error> {
    let data = data_of(request.body)?;
    let cas = cas_of(request.body)?;
    let slot = Slot::load(context, mount, path)?;
    let current_version = slot.meta.as_ref().map_or(0, |meta| meta.current_version);
    Meta::check_cas(current_version, cas_is_required(mount, slot.meta.as_ref()), cas)?;
    let mut plan = put_version(context, slot, &JsonText::of(data).into_bytes())?;
    plan.reply.warnings = body_warnings(request);
    Ok(plan)
}

/// The field `data`: an object, or `null`, which is kept as it is.
pub(super) fn data_of(body: &Map<String, Value>) -> Result<&Value, Error> {
    match body.get("data") {
        None => Err(Error::invalid("no data provided")),
        Some(data @ (Value::Object(_) | Value::Null)) => Ok(data),
        Some(_) => Err(Error::invalid("error converting input for field \"data\": expected an object")),
    }
}

/// The version that the caller believes to be the current one.
pub(super) fn cas_of(body: &Map<String, Value>) -> Result<Option<i64>, Error> {
    let Some(cas) = fields::object(body, "options")?.and_then(|options| options.get("cas")) else {
        return Ok(None);
    };
    let cas =
        fields::integer_of(cas).ok_or_else(|| Error::invalid("error parsing check-and-set parameter"))?;
    Ok(Some(cas))
}

pub(super) fn cas_is_required(mount: &Mount, meta: Option<&Meta>) -> bool {
    mount.kv_config().cas_required || meta.is_some_and(|meta| meta.cas_required)
}

pub(super) fn body_warnings(request: &Request<'_>) -> Vec<String> {
    fields::unknown_warning(request.body.keys().map(String::as_str), &KNOWN_PARAMETERS)
}

/// Adds `json_text` as the next version and drops those that are too many.
pub(super) fn put_version(
    context: &mut Context<'_>,
    mut slot: Slot<'_>,
    json_text: &[u8],
) -> Result<Plan, Error> {
    let mut meta = slot.meta.take().unwrap_or_else(|| Meta::new(context.now_ms));
    let config = slot.mount.kv_config();
    let deletion_ms = meta.deletion_of_version_made(context.now_ms, config);
    let number = meta.push_version(context.now_ms, deletion_ms);
    let dropped = meta.prune(meta.versions_to_keep(config));

    let mut txn = slot.txn(context);
    slot.put_meta(context, &mut txn, &meta)?;
    let address = slot.version_address(context, number);
    records::put(context, &mut txn, &address, json_text)?;
    for version in dropped {
        txn.delete(slot.version_address(context, version).key);
    }
    let version = meta.version(number).expect("it was pushed just now, and pruning keeps at least one");
    Ok(Plan { txn, reply: JsonText::of(&VersionJson { meta: &meta, version }).reply(200) })
}

//! What becomes of versions: soft deletion, its undoing, and destruction of the data for good.

use conclave_proto::path::SecretPath;
use serde_json::Value;

use super::meta::Meta;
use super::{Slot, VERSIONS_MAX};
use crate::engine::mount::Mount;
use crate::error::Error;
use crate::fields;
use crate::plan::{Context, Plan, Reply, Request};

/// `DELETE data/`: soft deletion of the current version.
pub(super) fn delete_current(
    context: &mut Context<'_>,
    mount: &Mount,
    path: &SecretPath,
) -> Result<Plan, Error> {
    let slot = Slot::load(context, mount, path)?;
    let current = slot.meta.as_ref().map_or(0, |meta| meta.current_version);
    soft_delete(context, slot, &[current])
}

/// `POST delete/`: soft deletion of the versions named.
pub(super) fn delete(
    context: &mut Context<'_>,
    mount: &Mount,
    path: &SecretPath,
    request: &Request<'_>,
) -> Result<Plan, Error> {
    let numbers = versions_named(request, "No version number provided")?;
    let slot = Slot::load(context, mount, path)?;
    soft_delete(context, slot, &numbers)
}

fn soft_delete(context: &mut Context<'_>, slot: Slot<'_>, numbers: &[u64]) -> Result<Plan, Error> {
    let now_ms = context.now_ms;
    change_each(context, slot, numbers, |meta, number| {
        if meta.version(number).is_some_and(|version| version.is_readable(now_ms)) {
            meta.set_deletion(number, Some(now_ms));
        }
    })
}

/// `POST undelete/`: makes versions readable again, for as long as a version made now would be.
pub(super) fn undelete(
    context: &mut Context<'_>,
    mount: &Mount,
    path: &SecretPath,
    request: &Request<'_>,
) -> Result<Plan, Error> {
    let numbers = versions_named(request, "No version number provided")?;
    let slot = Slot::load(context, mount, path)?;
    let now_ms = context.now_ms;
    change_each(context, slot, &numbers, |meta, number| {
        if meta.version(number).is_some_and(|version| !version.destroyed) {
            let deletion_ms = meta.deletion_of_version_made(now_ms, mount.kv_config());
            meta.set_deletion(number, deletion_ms);
        }
    })
}

/// `POST destroy/`: the data is gone for good, that there was a version stays known.
pub(super) fn destroy(
    context: &mut Context<'_>,
    mount: &Mount,
    path: &SecretPath,
    request: &Request<'_>,
) -> Result<Plan, Error> {
    let numbers = versions_named(request, "no version number provided")?;
    let slot = Slot::load(context, mount, path)?;
    change_each(context, slot, &numbers, Meta::destroy)
}

/// Applies `change` to each version and stores the metadata if any changed; data of versions newly destroyed goes.
fn change_each(
    context: &mut Context<'_>,
    mut slot: Slot<'_>,
    numbers: &[u64],
    change: impl Fn(&mut Meta, u64),
) -> Result<Plan, Error> {
    let Some(before) = slot.meta.take() else { return Ok(Reply::no_content().into()) };
    let mut meta = before.clone();
    for &number in numbers {
        change(&mut meta, number);
    }
    if meta == before {
        return Ok(Reply::no_content().into());
    }
    let mut txn = slot.txn(context);
    slot.put_meta(context, &mut txn, &meta)?;
    for (was, is) in before.versions().zip(meta.versions()) {
        if is.destroyed && !was.destroyed {
            txn.delete(slot.version_address(context, is.number).key);
        }
    }
    Ok(Plan { txn, reply: Reply::no_content() })
}

/// The field `versions`: a list of numbers or texts, one number, or text with commas. What cannot be a version is
/// left out, as Vault does.
fn versions_named(request: &Request<'_>, sentence_if_none: &str) -> Result<Vec<u64>, Error> {
    let refuse =
        || Error::invalid("error converting input for field \"versions\": expected a list of integers");
    let numbers: Vec<i64> = match request.body.get("versions") {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::Array(items)) => {
            items.iter().map(fields::integer_of).collect::<Option<_>>().ok_or_else(refuse)?
        }
        Some(Value::String(text)) => text
            .split(',')
            .filter(|item| !item.is_empty())
            .map(|item| fields::integer_of(&Value::String(item.trim().to_owned())))
            .collect::<Option<_>>()
            .ok_or_else(refuse)?,
        Some(one) => vec![fields::integer_of(one).ok_or_else(refuse)?],
    };
    if numbers.is_empty() {
        return Err(Error::invalid(sentence_if_none));
    }
    if numbers.len() > usize::try_from(VERSIONS_MAX).unwrap_or(usize::MAX) {
        return Err(Error::invalid(format!("at most {VERSIONS_MAX} versions can be named at once")));
    }
    Ok(numbers.into_iter().filter_map(|number| u64::try_from(number).ok()).collect())
}

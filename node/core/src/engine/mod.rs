//! The secrets engines: what a mount stores and answers, as pure plans over one view.
//!
//! ```text
//! MountTable::resolve(path) -> (mount, rest) -> policy -> Permit -> handle(context, permit, mount, request) -> Plan
//! ```
//!
//! An engine never commits, asks for the time or tells a path or value in an error. A plan names the revisions of all
//! records that it was decided from, the mount table's included, so that nothing lands in a mount that is gone (I7).

pub mod cubbyhole;
mod kv1;
mod kv2;
pub(crate) mod listing;
pub mod mount;
mod records;
#[cfg(test)]
pub(crate) mod testing;
pub mod text;

use conclave_proto::path::SecretPath;

use self::mount::Mount;
use self::records::Address;
use crate::crypto::Kind;
use crate::error::Error;
use crate::plan::{Context, Operation, Plan, Reply, Request};
use crate::policy::Permit;

pub use self::kv2::{CUSTOM_METADATA_KEYS_MAX, VERSIONS_DEFAULT, VERSIONS_MAX};
pub use self::listing::{LIST_BYTES_MAX, LIST_RECORDS_MAX};
pub use self::text::time_text;

/// Which engine serves a mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backend {
    KvV1,
    KvV2,
}

impl Backend {
    pub fn of(mount: &Mount) -> Self {
        if mount.is_versioned() { Self::KvV2 } else { Self::KvV1 }
    }

    /// Whether the engine has this operation at all; which paths have it, only [`handle`] knows.
    pub fn supports(self, operation: Operation) -> bool {
        match self {
            Self::KvV1 => operation != Operation::Patch,
            Self::KvV2 => true,
        }
    }
}

/// Whether a write to `path` would make something that is not there yet, so that policies must allow `create` and not
/// `update`. Where the engine does not tell the two apart, it updates.
///
/// # Errors
/// [`Error::View`].
pub fn creates(context: &Context<'_>, mount: &Mount, path: &str) -> Result<bool, Error> {
    let uuid = mount.uuid();
    let key = match Backend::of(mount) {
        Backend::KvV1 => {
            SecretPath::parse(path).ok().map(|path| Address::of(context.barrier, Kind::KvV1, uuid, &path).key)
        }
        // A secret is there as long as its metadata is, whatever became of its versions.
        Backend::KvV2 => path
            .strip_prefix("data/")
            .or_else(|| path.strip_prefix("metadata/"))
            .and_then(|path| SecretPath::parse(path).ok())
            .map(|path| Address::of(context.barrier, Kind::KvMeta, uuid, &path).key),
    };
    // What is no path is refused by the engine.
    let Some(key) = key else { return Ok(false) };
    Ok(context.view.stamp(&key)?.is_none())
}

/// Plans one request to a mount. `request.path` is what [`mount::MountTable::resolve`] left of the path.
///
/// # Errors
/// [`Error::Denied`]: the permit is for another operation. [`Error::Invalid`], [`Error::NotFound`],
/// [`Error::Unsupported`], [`Error::TooLarge`]: as the engine's rules say. [`Error::Corrupt`], [`Error::View`]: the
/// stored state is damaged or cannot be read.
pub fn handle(
    context: &mut Context<'_>,
    permit: &Permit,
    mount: &Mount,
    request: &Request<'_>,
) -> Result<Plan, Error> {
    if permit.operation() != request.operation {
        return Err(Error::Denied);
    }
    let backend = Backend::of(mount);
    if !backend.supports(request.operation) {
        return Err(Error::Unsupported);
    }
    if matches!(request.operation, Operation::Write | Operation::Patch) && request.path.ends_with('/') {
        return Err(Error::invalid("cannot write to a path ending in '/'"));
    }
    match backend {
        Backend::KvV1 => kv1::handle(context, mount, request),
        Backend::KvV2 => kv2::handle(context, mount, request),
    }
}

/// The path of a secret that is to be read: where none can be stored, none is found.
fn path_to_read(path: &str) -> Result<SecretPath, Error> {
    if path.is_empty() || path.ends_with('/') { Err(Error::NotFound) } else { path_to_change(path) }
}

fn path_to_change(path: &str) -> Result<SecretPath, Error> {
    SecretPath::parse(path).map_err(|error| Error::invalid(error.to_string()))
}

fn prefix_to_list(path: &str) -> Result<Option<SecretPath>, Error> {
    SecretPath::parse_prefix(path).map_err(|error| Error::invalid(error.to_string()))
}

/// An empty list is 404, an empty scan is 200 with an empty object: so OpenBao answers, and clients know it.
fn nothing_listed(scan: bool) -> Result<Plan, Error> {
    if scan {
        Ok(text::JsonText::of(&serde_json::Map::new()).reply(200).into())
    } else {
        Err(Error::NotFound)
    }
}

/// The answer to a path that the engine does not have: 404 with a warning that says how to mend it.
fn not_found_with(warning: String) -> Plan {
    Reply { warnings: vec![warning], ..Reply::empty(404) }.into()
}

//! KV v2: versioned secrets with check-and-set, soft deletion, metadata and patches.
//!
//! ```text
//! KvMeta  [mount uuid, path...]           one small record a secret: its settings and the state of each version
//! KvData  [mount uuid, path..., version]  the JSON text of one version, exactly as it is answered
//! ```
//!
//! Reading opens the two and splices the text into the answer, without parsing it; writing reads the first and seals
//! both. A version's record is never rewritten, only deleted, and always together with the secret's metadata: so the
//! metadata's revision stands for all of them.

mod config;
mod data;
mod meta;
mod metadata;
mod metadata_fields;
mod patch;
mod subkeys;
mod versions;

use conclave_faults::{Bug, planted};
use conclave_proto::log::Txn;
use conclave_proto::path::SecretPath;

pub(super) use self::meta::Meta;
pub use self::metadata_fields::CUSTOM_METADATA_KEYS_MAX;
use super::mount::Mount;
use super::records::{self, Address};
use crate::crypto::Kind;
use crate::error::Error;
use crate::plan::{Context, Operation, Plan, Request};

/// Versions kept of a secret if neither it nor its mount says otherwise.
pub const VERSIONS_DEFAULT: u32 = 10;
/// Most versions that a secret or mount can ask to keep: each costs some bytes in the secret's metadata record.
pub const VERSIONS_MAX: u32 = 10_000;

const ROOT_WARNING: &str = "Non-listing operations on the root of a K/V v2 mount are not supported.";

pub(super) fn handle(context: &mut Context<'_>, mount: &Mount, request: &Request<'_>) -> Result<Plan, Error> {
    if mount.is_upgrading() {
        return Err(Error::invalid(
            "Upgrading from non-versioned to versioned data. This backend will be unavailable for a brief period and \
             will resume service shortly.",
        ));
    }
    let (area, path) = request.path.split_once('/').unwrap_or((request.path, ""));
    let lists = matches!(request.operation, Operation::List | Operation::Scan);
    match (area, request.operation) {
        ("config", _) if path.is_empty() && !lists => config::handle(context, mount, request),
        ("metadata", Operation::List | Operation::Scan) => {
            metadata::list(context, mount, path, request, false)
        }
        ("detailed-metadata", Operation::List | Operation::Scan) => {
            metadata::list(context, mount, path, request, true)
        }
        ("data" | "metadata" | "delete" | "undelete" | "destroy" | "subkeys" | "detailed-metadata", _) => {
            // Vault's router tells the bare area (no such path) from the area with a slash (nothing there).
            if request.path == area && !lists {
                return Ok(super::not_found_with(ROOT_WARNING.to_owned()));
            }
            on_secret(context, mount, area, path, request)
        }
        _ => Ok(super::not_found_with(invalid_path_warning(request.operation))),
    }
}

fn on_secret(
    context: &mut Context<'_>,
    mount: &Mount,
    area: &str,
    path: &str,
    request: &Request<'_>,
) -> Result<Plan, Error> {
    let read = || super::path_to_read(path);
    let change = || super::path_to_change(path);
    match (area, request.operation) {
        ("data", Operation::Read) => data::read(context, mount, &read()?, request),
        ("data", Operation::Write) => data::write(context, mount, &change()?, request),
        ("data", Operation::Patch) => patch::patch(context, mount, &change()?, request),
        ("data", Operation::Delete) => versions::delete_current(context, mount, &change()?),
        ("delete", Operation::Write) => versions::delete(context, mount, &change()?, request),
        ("undelete", Operation::Write) => versions::undelete(context, mount, &change()?, request),
        ("destroy", Operation::Write) => versions::destroy(context, mount, &change()?, request),
        ("subkeys", Operation::Read) => subkeys::read(context, mount, &read()?, request),
        ("metadata", Operation::Read) => metadata::read(context, mount, &read()?, request),
        ("metadata", Operation::Write) => metadata::write(context, mount, &change()?, request),
        ("metadata", Operation::Patch) => metadata::patch(context, mount, &change()?, request),
        ("metadata", Operation::Delete) => metadata::delete(context, mount, &change()?),
        _ => Err(Error::Unsupported),
    }
}

fn invalid_path_warning(operation: Operation) -> String {
    let verb = match operation {
        Operation::Read => "get",
        Operation::Write => "put",
        Operation::Patch => "patch",
        Operation::Delete => "delete",
        Operation::List => "list",
        Operation::Scan => "scan",
    };
    format!(
        "Invalid path for a versioned K/V secrets engine. See the API docs for the appropriate API endpoints to use. \
         If using the Conclave CLI, use 'conclave kv {verb}' for this operation."
    )
}

/// One secret's metadata as the view has it, and what a plan needs to change it.
struct Slot<'a> {
    mount: &'a Mount,
    path: &'a SecretPath,
    address: Address,
    /// 0: there is none.
    revision: u64,
    meta: Option<Meta>,
}

impl<'a> Slot<'a> {
    fn load(context: &Context<'_>, mount: &'a Mount, path: &'a SecretPath) -> Result<Self, Error> {
        let address = Address::of(context.barrier, Kind::KvMeta, mount.uuid(), path);
        let stored = records::read(context, &address.key)?;
        let revision = stored.as_ref().map_or(0, |stored| stored.revision);
        let meta = stored.map(|stored| Meta::from_payload(&stored.payload)).transpose()?;
        Ok(Self { mount, path, address, revision, meta })
    }

    /// The record of one version.
    fn version_address(&self, context: &Context<'_>, version: u64) -> Address {
        Address::of_version(context.barrier, self.mount.uuid(), self.path, version)
    }

    /// A transaction that holds only while the mount and this secret's metadata stay as they were read.
    fn txn(&self, context: &Context<'_>) -> Txn {
        let mut txn = records::txn_guarded_by(context, self.mount);
        if !planted::is(Bug::MetadataUnguarded) {
            txn.require(self.address.key.clone(), self.revision);
        }
        txn
    }

    fn put_meta(&self, context: &mut Context<'_>, txn: &mut Txn, meta: &Meta) -> Result<(), Error> {
        records::put(context, txn, &self.address, &meta.to_payload())
    }
}

#[cfg(test)]
mod tests;

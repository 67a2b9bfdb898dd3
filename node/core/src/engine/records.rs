//! Where an engine's records lie and how they get in and out: one address, one sealed record.
//!
//! All records of a mount lie under its uuid, so that a mount's whole data is unreachable the moment its uuid is
//! no longer in the mount table.

use conclave_proto::log::Txn;
use conclave_proto::path::SecretPath;
use zeroize::Zeroizing;

use super::mount::Mount;
use crate::crypto::{Barrier, Kind};
use crate::error::Error;
use crate::plan::Context;

/// A record's key, and the path that is sealed with it.
pub(super) struct Address {
    pub(super) key: Vec<u8>,
    pub(super) path: String,
}

/// An opened record.
pub(super) struct Stored {
    /// What a transaction must require if it was decided from this record.
    pub(super) revision: u64,
    pub(super) payload: Zeroizing<Vec<u8>>,
}

impl Address {
    pub(super) fn of(barrier: &Barrier, kind: Kind, mount_uuid: &str, path: &SecretPath) -> Self {
        Self {
            key: barrier.key(kind, std::iter::once(mount_uuid).chain(path.segments())),
            path: format!("{mount_uuid}/{}", path.as_str()),
        }
    }

    /// Where one version of a KV v2 secret lies: the version is one more segment.
    pub(super) fn of_version(barrier: &Barrier, mount_uuid: &str, path: &SecretPath, version: u64) -> Self {
        let number = version.to_string();
        let segments =
            std::iter::once(mount_uuid).chain(path.segments()).chain(std::iter::once(number.as_str()));
        Self {
            key: barrier.key(Kind::KvData, segments),
            path: format!("{mount_uuid}/{}/{number}", path.as_str()),
        }
    }
}

pub(super) fn read(context: &Context<'_>, key: &[u8]) -> Result<Option<Stored>, Error> {
    let Some(record) = context.view.get(key)? else { return Ok(None) };
    let opened = context.barrier.open(key, &record.sealed)?;
    Ok(Some(Stored { revision: record.revision, payload: opened.payload }))
}

/// # Errors
/// [`Error::TooLarge`]: more than [`conclave_proto::wire::RECORD_BYTES_MAX`] when sealed.
pub(super) fn put(
    context: &mut Context<'_>,
    txn: &mut Txn,
    address: &Address,
    payload: &[u8],
) -> Result<(), Error> {
    let sealed = context.barrier.seal(&address.key, &address.path, payload, context.rng)?;
    txn.put(address.key.clone(), sealed);
    Ok(())
}

/// A transaction that fails if the mount is disabled, moved or set differently in between (I7).
pub(super) fn txn_guarded_by(context: &Context<'_>, mount: &Mount) -> Txn {
    let mut txn = Txn::default();
    txn.require(super::mount::MountTable::record_key(context.barrier), mount.table_revision());
    txn
}

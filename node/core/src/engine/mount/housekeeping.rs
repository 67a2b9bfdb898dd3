//! Work that a change of the mount table leaves behind, in bounded batches for the leader's background task: deleting
//! the records of disabled mounts, and turning the records of an upgraded KV v1 mount into KV v2 ones.
//!
//! ```text
//! loop: load table at a view -> next_batch -> commit -> again, until it says None
//! ```
//!
//! A batch acts on nobody's behalf, so it takes no permit; it only carries on what a permitted plan has decided and
//! stored in the table. Whatever dies in between, the next batch starts from what is there.

use conclave_proto::log::Txn;
use conclave_proto::path::SecretPath;

use super::{Mount, MountTable};
use crate::crypto::Kind;
use crate::engine::kv1::Secret;
use crate::engine::kv2::Meta;
use crate::engine::listing::right_after;
use crate::engine::records::{self, Address};
use crate::error::Error;
use crate::plan::Context;

/// Most records that one batch deletes or rewrites.
pub const BATCH_RECORDS_MAX: usize = 256;
/// A batch of rewrites ends when it has this many bytes; one record more may be in it.
pub const BATCH_BYTES_MAX: usize = 1024 * 1024;

const KINDS_OF_MOUNTS: &[Kind] = &[
    Kind::KvV1,
    Kind::KvMeta,
    Kind::KvData,
    Kind::UserpassUser,
    Kind::UserpassFailures,
    Kind::AppRole,
    Kind::AppRoleId,
    Kind::SecretId,
    Kind::SecretIdAccessor,
    Kind::AppRoleClearing,
    Kind::AwsClient,
    Kind::AwsIdentity,
    Kind::AwsRole,
    Kind::JwtConfig,
    Kind::JwtRole,
    Kind::OidcState,
    Kind::KubernetesConfig,
    Kind::KubernetesRole,
    Kind::CertRole,
    Kind::CertConfig,
    Kind::CertCrl,
];

/// The next piece of work as a transaction; `None`: all is done. A conflict is no fault: ask again at a newer view.
///
/// # Errors
/// [`Error::Corrupt`], [`Error::View`]: the stored state is damaged or cannot be read.
pub fn next_batch(context: &mut Context<'_>, table: &MountTable) -> Result<Option<Txn>, Error> {
    if let Some(uuid) = table.dropped.first() {
        return purge_batch(context, table, uuid).map(Some);
    }
    match table.iter().find(|mount| mount.is_upgrading()) {
        Some(mount) => upgrade_batch(context, table, mount).map(Some),
        None => Ok(None),
    }
}

/// Deletes some records of a mount that is gone. When there is none left, its uuid is forgotten.
fn purge_batch(context: &mut Context<'_>, table: &MountTable, uuid: &str) -> Result<Txn, Error> {
    let mut txn = Txn::default();
    let mut cursor = context.view.cursor();
    for kind in KINDS_OF_MOUNTS {
        let prefix = context.barrier.key(*kind, [uuid]);
        let mut from = prefix.clone();
        while txn.writes.len() < BATCH_RECORDS_MAX {
            let Some((key, _)) = cursor.seek(&from)?.filter(|(key, _)| key.starts_with(&prefix)) else {
                break;
            };
            from = right_after(&key);
            txn.delete(key);
        }
    }
    drop(cursor);
    if !txn.is_empty() {
        return Ok(txn);
    }
    let mut table = table.clone();
    table.dropped.retain(|dropped| dropped != uuid);
    table.into_txn(context)
}

/// Rewrites some records of an upgrading mount. When there is none left, it answers again.
///
/// No KV v1 write can slip in behind: each requires the table's revision, which setting the mount to upgrade changed.
fn upgrade_batch(context: &mut Context<'_>, table: &MountTable, mount: &Mount) -> Result<Txn, Error> {
    let prefix = context.barrier.key(Kind::KvV1, [mount.uuid()]);
    let mut txn = records::txn_guarded_by(context, mount);
    let mut from = prefix.clone();
    let mut bytes = 0;
    while bytes < BATCH_BYTES_MAX && txn.writes.len() < BATCH_RECORDS_MAX {
        let found = context.view.cursor().seek(&from)?;
        let Some((key, record)) = found.filter(|(key, _)| key.starts_with(&prefix)) else { break };
        bytes += record.sealed.len();
        txn.require(key.clone(), record.revision);
        let opened = context.barrier.open(&key, &record.sealed)?;
        let path = opened.path.split_once('/').and_then(|(_, path)| SecretPath::parse(path).ok());
        let path = path.ok_or_else(|| Error::Corrupt("a KV v1 record's path is malformed".to_owned()))?;
        upgrade_one(context, &mut txn, mount, &path, &Secret::decode(opened.payload)?)?;
        from = right_after(&key);
        txn.delete(key);
    }
    if !txn.is_empty() {
        return Ok(txn);
    }
    let mut table = table.clone();
    table.change(mount.uuid(), |mount| mount.record.upgrading = false)?;
    table.into_txn(context)
}

fn upgrade_one(
    context: &mut Context<'_>,
    txn: &mut Txn,
    mount: &Mount,
    path: &SecretPath,
    secret: &Secret,
) -> Result<(), Error> {
    let mut meta = Meta::new(context.now_ms);
    let version = meta.push_version(context.now_ms, None);
    meta.show_oldest();
    let meta_address = Address::of(context.barrier, Kind::KvMeta, mount.uuid(), path);
    records::put(context, txn, &meta_address, &meta.to_payload())?;
    let data_address = Address::of_version(context.barrier, mount.uuid(), path, version);
    records::put(context, txn, &data_address, secret.json_text())
}

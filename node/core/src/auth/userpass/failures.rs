//! Wrong passwords: counted in the replicated state, so that neither another node nor another leader begins anew.
//!
//! A name is locked out while its record says so; the record ends by itself. Names that nobody has are counted like
//! those of users, or whoever asks would learn which are which.

use conclave_faults::{Bug, planted};
use conclave_proto::log::Txn;
use serde::{Deserialize, Serialize};

use crate::crypto::{Barrier, Kind};
use crate::engine::mount::Mount;
use crate::error::Error;
use crate::plan::Context;
use crate::stored;

/// Wrong passwords in a row that lock a name out, unless the mount says otherwise.
const THRESHOLD: u64 = 5;
/// How long it is locked out, and how long a wrong password is counted, unless the mount says otherwise.
const DURATION_S: u64 = 15 * 60;
const MS_PER_S: u64 = 1_000;

#[derive(Serialize, Deserialize)]
struct Failures {
    count: u64,
}

/// What is counted against a name.
pub struct Counted {
    /// What a transaction must require that was decided from it; 0: there is no record.
    pub revision: u64,
    count: u64,
    pub is_locked: bool,
}

pub fn key(barrier: &Barrier, mount_uuid: &str, name: &str) -> Vec<u8> {
    barrier.key(Kind::UserpassFailures, [mount_uuid, name])
}

pub fn prefix(barrier: &Barrier, mount_uuid: &str) -> Vec<u8> {
    barrier.key(Kind::UserpassFailures, [mount_uuid])
}

/// What is counted against `name` now.
pub fn load(ctx: &Context<'_>, mount: &Mount, name: &str) -> Result<Counted, Error> {
    let key = key(ctx.barrier, mount.uuid(), name);
    // One that has expired may still be there, and be what a transaction finds.
    let revision = ctx.view.stamp(&key)?.map_or(0, |stamp| stamp.revision);
    let found = stored::load::<Failures>(ctx.view, ctx.barrier, &key, ctx.now_ms)?;
    let count = found.map_or(0, |found| found.value.count);
    let is_locked = !mount.lockout().disabled && count >= threshold(mount);
    Ok(Counted { revision, count, is_locked })
}

/// Counts one more.
pub fn add(
    ctx: &mut Context<'_>,
    mount: &Mount,
    name: &str,
    counted: &Counted,
    txn: &mut Txn,
) -> Result<(), Error> {
    if mount.lockout().disabled {
        return Ok(());
    }
    let count = counted.count + 1;
    let lockout = mount.lockout();
    let lasts_s = if count >= threshold(mount) { lockout.duration_s } else { lockout.counter_reset_s };
    let lasts_s = if lasts_s == 0 { DURATION_S } else { lasts_s };
    let key = key(ctx.barrier, mount.uuid(), name);
    if !planted::is(Bug::GuessUnguarded) {
        txn.require(key.clone(), counted.revision);
    }
    let expires_at_ms = ctx.now_ms.saturating_add(lasts_s * MS_PER_S);
    stored::put(ctx, txn, &key, &format!("{}/{name}", mount.uuid()), &Failures { count }, expires_at_ms)
}

/// Forgets them: the password was right.
pub fn forget(ctx: &Context<'_>, mount: &Mount, name: &str, counted: &Counted, txn: &mut Txn) {
    let key = key(ctx.barrier, mount.uuid(), name);
    // Whoever is locked out meanwhile does not come in any more.
    txn.require(key.clone(), counted.revision);
    if counted.revision > 0 {
        txn.delete(key);
    }
}

fn threshold(mount: &Mount) -> u64 {
    match mount.lockout().threshold {
        0 => THRESHOLD,
        threshold => threshold,
    }
}

//! The leader's background work: promoting learners, rotating keys, tidying mounts, dropping what has expired, and stepping
//! aside while sealed.

use std::sync::Arc;
use std::time::Duration;

use conclave_core::Error;
use conclave_core::auth::{self, token};
use conclave_core::crypto::{Kind, plain_key};
use conclave_core::engine::mount::{self, MountTable};
use conclave_core::plan::Context;
use conclave_core::seal::{self, SEALS_RESERVED_AT_ONCE};
use conclave_core::{identity, lease};
use conclave_proto::log::Txn;
use conclave_proto::txn::Outcome;
use tokio::time::Instant;

use crate::cluster::Cluster;
use crate::seal::Unsealed;
use crate::service::sys::keys::Rotation;

/// Pause between rounds.
const PAUSE: Duration = Duration::from_millis(200);
/// How long a peer may take to say whether it is sealed.
const STATUS_TIMEOUT: Duration = Duration::from_secs(1);

/// How often a round goes on with work that comes in pieces.
const PIECES_PER_ROUND_MAX: usize = 32;
/// What was written so late that it had expired already is dropped with the next entry: nobody looks for it.
const LATE_MS_MAX: u64 = 2_000;

/// Seals that this leader has reserved: under which term, and up to where.
type Reserved = Option<(u32, u64)>;

pub async fn run(cluster: Arc<Cluster>) {
    let mut reserved = None;
    let mut dropped_until_ms = 0;
    loop {
        tokio::time::sleep(PAUSE).await;
        let leads = cluster.leader() == Some(cluster.node_id);
        drop_expired(&cluster, leads, &mut dropped_until_ms).await;
        if !leads {
            // Another leader may reserve meanwhile: what this one had counts as used.
            reserved = None;
            continue;
        }
        if let Err(error) = cluster.membership.promote_ready().await {
            tracing::debug!(%error, "a learner was not promoted yet");
        }
        if cluster.seal.is_sealed() {
            // Unsealing makes a barrier that counts anew.
            reserved = None;
            step_aside(&cluster).await;
            continue;
        }
        if let Err(error) = cluster.refresh_keys() {
            tracing::error!(%error, "the keyring cannot be read");
        }
        if let Some(unsealed) = cluster.seal.unsealed() {
            reserved = keep_count(&cluster, &unsealed, reserved).await;
            rotate_when_due(&cluster, &unsealed).await;
            keep_mounts(&cluster, &unsealed).await;
            clear_away(&cluster, &unsealed, token::clear::next_batch, "clearing tokens").await;
            clear_away(&cluster, &unsealed, token::tidy::next_batch, "tidying tokens").await;
            clear_away(&cluster, &unsealed, auth::clear_approles, "clearing secret ids").await;
            clear_away(&cluster, &unsealed, identity::clear::next_batch, "clearing groups").await;
            clear_away(&cluster, &unsealed, auth::mfa::clear::next_batch, "clearing MFA secrets").await;
            for _ in 0..PIECES_PER_ROUND_MAX {
                if !clear_away(&cluster, &unsealed, lease::revoke::next_batch, "revoking leases").await {
                    break;
                }
            }
        }
    }
}

/// Applying any entry drops what has expired by then. While nobody writes, the leader does: it looks at the first of what
/// expires, and at nothing else. The others only remember from where to look.
async fn drop_expired(cluster: &Cluster, leads: bool, dropped_until_ms: &mut u64) {
    for _ in 0..PIECES_PER_ROUND_MAX {
        let now_ms = cluster.glance_now(|_, now_ms| now_ms);
        match cluster.reader.next_expiry_ms(*dropped_until_ms) {
            Ok(Some(due_ms)) if due_ms <= now_ms && !leads => return,
            Ok(Some(due_ms)) if due_ms <= now_ms => {
                if let Err(error) = cluster.propose(Txn::default()).await {
                    tracing::debug!(%error, "what has expired was not dropped yet");
                    return;
                }
            }
            Ok(_) => {
                *dropped_until_ms = now_ms.saturating_sub(LATE_MS_MAX);
                return;
            }
            Err(error) => {
                tracing::error!(%error, "what has expired cannot be found");
                return;
            }
        }
    }
}

/// A sealed leader can decide nothing: it hands leadership to a member that can.
async fn step_aside(cluster: &Cluster) {
    for member in cluster.other_voters() {
        let status = cluster.status_of(member.node_id, Instant::now() + STATUS_TIMEOUT).await;
        if status.is_some_and(|status| !status.sealed) {
            tracing::info!(to = %member.node.name, "handing leadership over, since this node is sealed");
            if let Err(error) = cluster.membership.transfer_leadership_to(member.node_id).await {
                tracing::warn!(%error, "leadership could not be handed over");
            }
            return;
        }
    }
}

/// Counts seals ahead, so that a leader that dies has counted too many rather than too few.
async fn keep_count(cluster: &Cluster, unsealed: &Unsealed, reserved: Reserved) -> Reserved {
    let term = unsealed.barrier.keyring().active_term();
    let enough = reserved.is_some_and(|(of, until)| {
        of == term && unsealed.barrier.seals_done() + SEALS_RESERVED_AT_ONCE / 2 < until
    });
    if enough {
        return reserved;
    }
    let planned = cluster.plan(unsealed, seal::plan_reservation);
    let (reservation, txn) = match planned {
        Ok(planned) => planned,
        Err(error) => {
            tracing::error!(%error, "the seals of the active key term cannot be counted");
            return reserved;
        }
    };
    match cluster.propose(txn).await {
        Ok(Outcome::Applied { .. }) => {
            unsealed.barrier.count_at_least(reservation.from);
            Some((term, reservation.until))
        }
        Ok(Outcome::Conflict { .. }) => reserved,
        Err(error) => {
            tracing::debug!(%error, "the count of seals was not stored yet");
            reserved
        }
    }
}

async fn rotate_when_due(cluster: &Cluster, unsealed: &Unsealed) {
    let planned = cluster.plan(unsealed, |ctx| {
        let (rotation, _) = Rotation::load(ctx)?;
        let keyring = unsealed.barrier.keyring();
        if !rotation.is_due(unsealed.barrier.seals_done(), keyring.active_since_ms(), ctx.now_ms) {
            return Ok(None);
        }
        let (config, _) =
            seal::load_config(ctx.view)?.ok_or_else(|| Error::Corrupt("the seal".to_owned()))?;
        tracing::info!(term = keyring.active_term() + 1, "rotating the keyring, since it is due");
        seal::plan_rotation(ctx.view, &config, &unsealed.root_key, ctx.now_ms, ctx.rng).map(Some)
    });
    commit(cluster, planned, "rotating the keyring").await;
}

/// Deletes what disabled mounts left behind and rewrites upgraded ones, a piece at a time.
async fn keep_mounts(cluster: &Cluster, unsealed: &Unsealed) {
    let planned = cluster.plan(unsealed, |ctx| {
        let mark = plain_key(Kind::RestoreMarker);
        if ctx.view.get(&mark)?.is_some() {
            return Ok(None);
        }
        let table = MountTable::load(ctx.view, ctx.barrier)?;
        let mut batch = mount::housekeeping::next_batch(ctx, &table)?;
        if let Some(txn) = &mut batch {
            // A restore that began meanwhile may bring back what this would delete.
            txn.require(mark, 0);
            txn.require(MountTable::record_key(ctx.barrier), table.revision());
        }
        Ok(batch)
    });
    commit(cluster, planned, "keeping the mounts").await;
}

/// Deletes what something that has ended left behind, a piece at a time. Whether there was anything.
async fn clear_away(
    cluster: &Cluster,
    unsealed: &Unsealed,
    next_batch: fn(&mut Context<'_>) -> Result<Option<Txn>, Error>,
    what: &'static str,
) -> bool {
    let planned = cluster.plan(unsealed, |ctx| {
        let mark = plain_key(Kind::RestoreMarker);
        if ctx.view.get(&mark)?.is_some() {
            return Ok(None);
        }
        let mut batch = next_batch(ctx)?;
        if let Some(txn) = &mut batch {
            txn.require(mark, 0);
        }
        Ok(batch)
    });
    commit(cluster, planned, what).await
}

/// Whether it was committed.
async fn commit(cluster: &Cluster, planned: Result<Option<Txn>, Error>, what: &'static str) -> bool {
    match planned {
        Ok(None) => {}
        Ok(Some(txn)) => match cluster.propose(txn).await {
            Ok(Outcome::Applied { .. }) => return true,
            // Somebody else changed it meanwhile: the next round sees that.
            Ok(Outcome::Conflict { .. }) => {}
            Err(error) => tracing::debug!(%error, what, "not committed"),
        },
        Err(error) => tracing::error!(%error, what, "background work failed"),
    }
    false
}

//! Key terms: which is active, when they rotate by themselves, and rotating now.

use std::time::Duration;

use conclave_core::Error;
use conclave_core::crypto::{Kind, SEALS_PER_TERM_MAX};
use conclave_core::duration;
use conclave_core::plan::Context;
use conclave_core::seal;
use conclave_faults::failpoint::{Point, hit};
use conclave_proto::log::Txn;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::cluster::Cluster;
use crate::seal::Unsealed;
use crate::service::failure::Failure;

/// Shortest interval between automatic rotations, as OpenBao has it.
const INTERVAL_MIN: Duration = Duration::from_secs(24 * 3600);
/// Fewest seals after which keys may rotate.
const OPERATIONS_MIN: u64 = 1_000_000;

/// When the keyring rotates by itself.
#[derive(Clone, Serialize, Deserialize)]
pub struct Rotation {
    pub enabled: bool,
    /// 0: only the number of seals counts.
    pub interval_ms: u64,
    pub max_operations: u64,
}

impl Default for Rotation {
    fn default() -> Self {
        Self { enabled: true, interval_ms: 0, max_operations: SEALS_PER_TERM_MAX }
    }
}

impl Rotation {
    /// The stored settings, with their revision.
    pub fn load(ctx: &Context<'_>) -> Result<(Self, u64), Error> {
        let key = ctx.barrier.key(Kind::RotateConfig, []);
        let Some(record) = ctx.view.get(&key)? else { return Ok((Self::default(), 0)) };
        let opened = ctx.barrier.open(&key, &record.sealed)?;
        let rotation = serde_json::from_slice(&opened.payload)
            .map_err(|_| Error::Corrupt("the record of key rotation".to_owned()))?;
        Ok((rotation, record.revision))
    }

    /// Stores these settings if nobody else has since `revision`.
    pub fn plan(&self, ctx: &mut Context<'_>, revision: u64) -> Result<Txn, Error> {
        let key = ctx.barrier.key(Kind::RotateConfig, []);
        let payload = serde_json::to_vec(self).expect("numbers serialise");
        let mut txn = Txn::default();
        txn.require(key.clone(), revision);
        txn.put(key.clone(), ctx.barrier.seal(&key, "", &payload, ctx.rng)?);
        Ok(txn)
    }

    /// Whether the active term has been used enough.
    pub fn is_due(&self, seals_done: u64, term_since_ms: u64, now_ms: u64) -> bool {
        let old = self.interval_ms > 0 && now_ms.saturating_sub(term_since_ms) >= self.interval_ms;
        self.enabled && (old || seals_done >= self.max_operations)
    }
}

pub fn status(unsealed: &Unsealed) -> Value {
    let keyring = unsealed.barrier.keyring();
    json!({
        "term": keyring.active_term(),
        "install_time": conclave_core::engine::time_text(keyring.active_since_ms()),
        "encryptions": unsealed.barrier.seals_done(),
    })
}

pub fn plan_rotation(cluster: &Cluster, unsealed: &Unsealed, ctx: &mut Context<'_>) -> Result<Txn, Failure> {
    hit(Point::RotatePropose);
    let (config, _) = seal::load_config(ctx.view)?.ok_or(Failure::NotInitialized)?;
    tracing::info!(
        term = unsealed.barrier.keyring().active_term() + 1,
        node_id = cluster.node_id,
        "rotating the keyring"
    );
    Ok(seal::plan_rotation(ctx.view, &config, &unsealed.root_key, ctx.now_ms, ctx.rng)?)
}

pub fn config(rotation: &Rotation) -> Value {
    let interval = match rotation.interval_ms {
        0 => json!(0),
        ms => json!(duration::format_s(i64::try_from(ms / 1000).unwrap_or(i64::MAX))),
    };
    json!({ "enabled": rotation.enabled, "interval": interval, "max_operations": rotation.max_operations })
}

pub fn plan_config(ctx: &mut Context<'_>, body: &Map<String, Value>) -> Result<Txn, Failure> {
    let (mut rotation, revision) = Rotation::load(ctx)?;
    if let Some(enabled) = body.get("enabled") {
        rotation.enabled =
            enabled.as_bool().ok_or_else(|| Failure::invalid("'enabled' must be true or false"))?;
    }
    if let Some(interval) = body.get("interval") {
        let interval = duration::from_json_s(interval)
            .ok()
            .and_then(|seconds| u64::try_from(seconds).ok())
            .map(Duration::from_secs)
            .ok_or_else(|| Failure::invalid("'interval' must be a duration such as 720h"))?;
        if !interval.is_zero() && interval < INTERVAL_MIN {
            return Err(Failure::invalid("interval must be greater or equal to 24h0m0s"));
        }
        rotation.interval_ms = u64::try_from(interval.as_millis()).unwrap_or(u64::MAX);
    }
    if let Some(max) = body.get("max_operations") {
        rotation.max_operations = max
            .as_u64()
            .or_else(|| max.as_str()?.parse().ok())
            .filter(|max| (OPERATIONS_MIN..=SEALS_PER_TERM_MAX).contains(max))
            .ok_or_else(|| {
                Failure::invalid(format!(
                    "max_operations must be in the range [{OPERATIONS_MIN},{SEALS_PER_TERM_MAX}]"
                ))
            })?;
    }
    Ok(rotation.plan(ctx, revision)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_rotate_by_use_and_by_age() {
        let mut rotation = Rotation { max_operations: 1000, ..Rotation::default() };
        assert!(!rotation.is_due(999, 0, u64::MAX));
        assert!(rotation.is_due(1000, 0, 0));
        rotation.interval_ms = 50;
        assert!(!rotation.is_due(0, 100, 149));
        assert!(rotation.is_due(0, 100, 150));
        rotation.enabled = false;
        assert!(!rotation.is_due(1000, 0, u64::MAX));
    }
}

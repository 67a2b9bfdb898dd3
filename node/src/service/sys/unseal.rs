//! Unsealing this node share by share, and sealing it.

use std::sync::Arc;

use conclave_core::seal::SealType;
use serde_json::Value;

use super::status::{seal_config, seal_status};
use crate::cluster::Cluster;
use crate::service::Service;
use crate::service::answer::Answer;
use crate::service::call::Call;
use crate::service::failure::Failure;

/// Shortest share in bytes; a shorter text is a slip of the keyboard and is told as such.
const SHARE_BYTES_MIN: usize = 16;

pub fn unseal(service: &Service, call: &Call) -> Result<Answer, Failure> {
    let body = call.json()?;
    let reset = body.get("reset").and_then(Value::as_bool).unwrap_or(false);
    let share = body.get("key").and_then(Value::as_str).unwrap_or_default();
    if share.is_empty() && !reset {
        return Err(Failure::invalid(
            "'key' must be specified in request body as JSON, or 'reset' set to true",
        ));
    }
    let cluster = service.cluster()?;
    let config = seal_config(&cluster).ok_or(Failure::NotInitialized)?;
    if !cluster.seal.is_sealed() {
        return if reset { Err(Failure::invalid("vault is unsealed")) } else { Ok(seal_status(service)) };
    }
    if reset {
        cluster.seal.reset();
        return Ok(seal_status(service));
    }
    if share.len() < SHARE_BYTES_MIN {
        return Err(Failure::invalid(format!(
            "invalid key: key is shorter than minimum {SHARE_BYTES_MIN} bytes"
        )));
    }
    let attempt = cluster.view(|view| cluster.seal.submit(view, &config, share))?;
    if !cluster.seal.is_sealed() {
        tracing::info!("unsealed by key shares");
    } else {
        tracing::info!(progress = attempt.progress, threshold = config.threshold(), "took a key share");
    }
    Ok(seal_status(service))
}

pub fn seal(cluster: &Arc<Cluster>) -> Result<Answer, Failure> {
    if let Some(config) = seal_config(cluster)
        && config.seal_type() == SealType::Static
        && config.shares() == 0
    {
        return Err(Failure::invalid(
            "this cluster unseals by a static key alone, so a sealed node could not be unsealed again: stop it instead",
        ));
    }
    cluster
        .seal
        .seal()
        .map_err(|error| Failure::Internal(format!("the node could not be sealed: {error}")))?;
    tracing::warn!("sealed by an operator");
    Ok(Answer::no_content())
}

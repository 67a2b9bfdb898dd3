//! Health, seal status and leader: open to all, without an envelope, about this node only.

use conclave_core::seal::{self, SealConfig};
use serde_json::{Map, Value, json};

use crate::cluster::Cluster;
use crate::node::VERSION;
use crate::service::Service;
use crate::service::answer::Answer;
use crate::service::call::Call;
use crate::service::failure::{Failure, STATUS_REMOVED};

/// The node's health as a status code, for load balancers. Each code can be overridden in the query.
pub fn health(service: &Service, call: &Call) -> Result<Answer, Failure> {
    let code = |name: &str, default: u16| match call.query.first(name) {
        None => Ok(default),
        Some(text) => match text.parse() {
            Ok(code) if (100..600).contains(&code) => Ok(code),
            _ => Err(Failure::invalid(format!("the query parameter '{name}' must be an HTTP status code"))),
        },
    };
    let standby_ok = matches!(call.query.first("standbyok"), Some("true" | "1" | ""));
    let cluster = service.node().cluster().filter(|cluster| initialized(cluster));
    let sealed = cluster.as_ref().is_none_or(|cluster| cluster.seal.is_sealed());
    let leads = cluster.as_ref().is_some_and(|cluster| cluster.leader() == Some(cluster.node_id));
    let fenced = cluster.as_ref().is_some_and(|cluster| cluster.fence.is_fenced());
    // All are checked, whichever applies: a mistyped one must show before the day it matters.
    let uninitialized = code("uninitcode", 501)?;
    let removed = code("removedcode", STATUS_REMOVED)?;
    let sealed_code = code("sealedcode", 503)?;
    let active = code("activecode", 200)?;
    let standby = code("standbycode", 429)?;
    let rejoining = service.node().rejoining();
    let status = match &cluster {
        None if rejoining.is_some() => sealed_code,
        None => uninitialized,
        Some(_) if fenced => removed,
        Some(_) if sealed => sealed_code,
        Some(_) if leads || standby_ok => active,
        Some(_) => standby,
    };
    let mut body = json!({
        "initialized": cluster.is_some() || rejoining.is_some(),
        "sealed": sealed,
        "standby": !leads,
        "performance_standby": false,
        "replication_performance_mode": "disabled",
        "replication_dr_mode": "disabled",
        "server_time_utc": crate::raft::clock::wall_clock_ms() / 1000,
        "version": VERSION,
    });
    let fields = body.as_object_mut().expect("built as an object");
    if fenced {
        fields.insert("removed_from_cluster".to_owned(), json!(true));
    }
    if let Some(reason) = rejoining {
        fields.insert("rejoining".to_owned(), json!(*reason));
    }
    if let Some(cluster) = cluster.filter(|_| !sealed) {
        name_cluster(fields, &cluster);
    }
    Ok(Answer::bare(status, &body))
}

pub fn seal_status(service: &Service) -> Answer {
    let cluster = service.node().cluster();
    let config = cluster.as_ref().and_then(|cluster| seal_config(cluster));
    let attempt = cluster.as_ref().map(|cluster| cluster.seal.attempt()).unwrap_or_default();
    let sealed = cluster.as_ref().is_none_or(|cluster| cluster.seal.is_sealed());
    let mut body = json!({
        "type": config.as_ref().map_or("shamir", |config| config.seal_type().as_str()),
        "initialized": config.is_some(),
        "sealed": sealed,
        "t": config.as_ref().map_or(0, SealConfig::threshold),
        "n": config.as_ref().map_or(0, SealConfig::shares),
        "progress": attempt.progress,
        "nonce": attempt.nonce,
        "recovery_seal": false,
        "version": VERSION,
        "migration": false,
        "storage_type": "raft",
    });
    if let (Some(cluster), Some(fields)) = (cluster.filter(|_| !sealed), body.as_object_mut()) {
        name_cluster(fields, &cluster);
    }
    Answer::bare(200, &body)
}

pub fn leader(service: &Service) -> Result<Answer, Failure> {
    let cluster = service.node().cluster().ok_or(Failure::Sealed)?;
    if cluster.fence.is_fenced() {
        return Err(Failure::Fenced);
    }
    if cluster.seal.is_sealed() {
        return Err(Failure::Sealed);
    }
    let raft = cluster.raft_metrics();
    let leader = cluster.leader();
    let mut body = json!({
        "ha_enabled": true,
        "is_self": leader == Some(cluster.node_id),
        "performance_standby": false,
        "performance_standby_last_remote_wal": 0,
        "raft_committed_index": raft.local_committed.map_or(0, |id| id.index),
        "raft_applied_index": cluster.reader.applied_index(),
    });
    if let (Some(node), Some(fields)) = (leader.and_then(|id| cluster.node(id)), body.as_object_mut()) {
        fields.insert("leader_address".to_owned(), json!(node.api_addr));
        fields.insert("leader_cluster_address".to_owned(), json!(format!("https://{}", node.cluster_addr)));
    }
    Ok(Answer::bare(200, &body))
}

/// Whether the cluster has its keys: between the start of `init` and its end it has not.
pub fn initialized(cluster: &Cluster) -> bool {
    seal_config(cluster).is_some()
}

pub fn seal_config(cluster: &Cluster) -> Option<SealConfig> {
    match cluster.view(|view| seal::load_config(view)) {
        Ok(config) => config.map(|(config, _)| config),
        Err(error) => {
            tracing::error!(%error, "the seal's configuration cannot be read");
            None
        }
    }
}

fn name_cluster(fields: &mut Map<String, Value>, cluster: &Cluster) {
    fields.insert("cluster_name".to_owned(), json!(cluster.name()));
    fields.insert("cluster_id".to_owned(), json!(cluster.uuid()));
}

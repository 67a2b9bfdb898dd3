//! Prometheus metrics: what is counted, under which names, and how it is written out.
//!
//! Labels come from closed sets (actions, operations, status classes), never from a request: a label is forever, and a
//! path or a token in one would be a leak. Gauges of Raft, RocksDB and the seal are read when somebody asks.

use std::sync::LazyLock;
use std::time::Duration;

use conclave_core::auth::token::TokenRequest;
use conclave_core::engine::mount::{Mount, MountTable};
use conclave_core::lease;
use conclave_core::plan::Operation;
use conclave_core::quota::leases::LeaseQuotas;
use metrics::{
    Counter, Histogram, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

use crate::cluster::Cluster;
use crate::service::Action;

const REQUESTS: &str = "conclave_requests_total";
const REQUEST_SECONDS: &str = "conclave_request_seconds";
const LIMITED: &str = "conclave_rate_limited_total";
const REFUSED: &str = "conclave_requests_refused_total";
const LEASES: &str = "conclave_leases";
const LEASES_REFUSED: &str = "conclave_leases_refused_total";
const QUOTA_LEASES: &str = "conclave_lease_quota_leases";
const QUOTA_LEASES_MAX: &str = "conclave_lease_quota_leases_max";
const BARRIER_SECONDS: &str = "conclave_read_barrier_seconds";

/// The label of a request that asks for nothing that exists.
pub const UNKNOWN_OPERATION: &str = "none";

/// Upper bounds of the latency buckets, in seconds.
const SECONDS: &[f64] =
    &[0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// How often samples are put into their buckets; until then each takes memory of its own.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(2);

/// Installs the recorder of this process. Called once, by the server, which also runs [`keep_up`].
pub fn install() -> Result<PrometheusHandle, metrics_exporter_prometheus::BuildError> {
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), SECONDS)?
        .install_recorder()?;
    describe_counter!(REQUESTS, "Requests answered, by operation and status class.");
    describe_histogram!(REQUEST_SECONDS, metrics::Unit::Seconds, "Time to answer a request, by operation.");
    describe_histogram!(
        BARRIER_SECONDS,
        metrics::Unit::Seconds,
        "Time a linearizable read waited for its read point."
    );
    describe_counter!(LIMITED, "Requests refused by a rate limit, by its name.");
    describe_counter!(REFUSED, "Requests refused by a bound of the node, by what it bounds.");
    describe_gauge!(LEASES, "Leases that are stored.");
    describe_counter!(LEASES_REFUSED, "Leases that a quota refused, by its name.");
    describe_gauge!(QUOTA_LEASES, "Leases that a quota counts, by its name.");
    describe_gauge!(QUOTA_LEASES_MAX, "Leases that a quota allows, by its name.");
    describe_counter!("conclave_audit_records_total", "Audit records written, by device.");
    describe_counter!(
        "conclave_audit_failures_total",
        "Audit records that a device did not take in time, by device."
    );
    describe_gauge!("conclave_audit_queue_length", "Requests that wait for an audit device.");
    describe_histogram!(
        "conclave_audit_seconds",
        metrics::Unit::Seconds,
        "Time to write a group of audit records, by device."
    );
    describe_gauge!("conclave_sealed", "1 while this node is sealed.");
    describe_gauge!("conclave_fenced", "1 once this node was removed from its cluster.");
    describe_gauge!("conclave_raft_is_leader", "1 while this node leads.");
    describe_gauge!("conclave_raft_term", "Raft term.");
    describe_gauge!("conclave_raft_last_log_index", "Index of the last log entry.");
    describe_gauge!("conclave_raft_applied_index", "Index of the last entry applied to the state.");
    describe_gauge!("conclave_raft_snapshot_index", "Last index covered by the newest snapshot.");
    describe_gauge!("conclave_raft_voters", "Voting members.");
    describe_gauge!("conclave_key_term", "Active key term.");
    describe_gauge!("conclave_key_term_seals", "Seals made under the active key term, at most.");
    Ok(handle)
}

/// Keeps the recorder's memory bounded, whether or not anybody asks for the metrics.
pub async fn keep_up(handle: PrometheusHandle) {
    loop {
        tokio::time::sleep(UPKEEP_INTERVAL).await;
        handle.run_upkeep();
    }
}

/// What one operation counts, kept at hand: finding it by its labels costs as much as a lookup in the state.
struct Operations {
    by_class: [Counter; STATUS_CLASSES.len()],
    seconds: Histogram,
}

/// Counts one answered request.
pub fn request(operation: &'static str, status: u16, elapsed: Duration) {
    static OPERATIONS: LazyLock<[Operations; OPERATION_LABELS.len()]> = LazyLock::new(|| {
        OPERATION_LABELS.map(|operation| Operations {
            by_class: STATUS_CLASSES
                .map(|class| counter!(REQUESTS, "operation" => operation, "status" => class)),
            seconds: histogram!(REQUEST_SECONDS, "operation" => operation),
        })
    });
    let Some(place) = OPERATION_LABELS.iter().position(|label| *label == operation) else { return };
    let operations = &OPERATIONS[place];
    operations.by_class[status_class(status)].increment(1);
    operations.seconds.record(elapsed.as_secs_f64());
}

/// Counts one passage of the read barrier.
pub fn barrier(elapsed: Duration) {
    static SECONDS: LazyLock<Histogram> = LazyLock::new(|| histogram!(BARRIER_SECONDS));
    SECONDS.record(elapsed.as_secs_f64());
}

/// Counts one request that a rate limit refused.
pub fn limited(quota: &str) {
    counter!(LIMITED, "quota" => quota.to_owned()).increment(1);
}

/// Counts one request that was larger, took longer or came with more others than the node allows.
pub fn refused(bound: &'static str) {
    counter!(REFUSED, "bound" => bound).increment(1);
}

/// Counts one lease that a quota refused.
pub fn lease_refused(quota: &str) {
    counter!(LEASES_REFUSED, "quota" => quota.to_owned()).increment(1);
}

/// Reads how many leases there are and may be. A quota that was deleted stays at what it was.
fn observe_leases(cluster: &Cluster) -> Result<(), conclave_core::Error> {
    let Some(unsealed) = cluster.seal.unsealed() else { return Ok(()) };
    let barrier = &unsealed.barrier;
    cluster.view(|view| {
        let table = MountTable::load(view, barrier)?;
        gauge!(LEASES).set(lease::record::count(view, barrier, "")?.unwrap_or_default() as f64);
        let (quotas, _) = LeaseQuotas::load(view, barrier)?;
        for rule in quotas.rules() {
            let uuid = table.find(&rule.path).map(Mount::uuid).unwrap_or_default();
            let count = rule.count(view, barrier, uuid)?;
            gauge!(QUOTA_LEASES, "quota" => rule.name.clone()).set(count as f64);
            gauge!(QUOTA_LEASES_MAX, "quota" => rule.name.clone()).set(rule.max_leases as f64);
        }
        Ok(())
    })
}

/// Reads the gauges of a cluster, just before they are written out.
pub fn observe(cluster: &Cluster) {
    let raft = cluster.raft_metrics();
    let applied = cluster.reader.applied_index();
    let flag = |value: bool| if value { 1.0 } else { 0.0 };
    gauge!("conclave_sealed").set(flag(cluster.seal.is_sealed()));
    gauge!("conclave_fenced").set(flag(cluster.fence.is_fenced()));
    gauge!("conclave_raft_is_leader").set(flag(raft.current_leader == Some(cluster.node_id)));
    gauge!("conclave_raft_term").set(raft.current_term as f64);
    gauge!("conclave_raft_last_log_index").set(raft.last_log_index.unwrap_or(0) as f64);
    gauge!("conclave_raft_applied_index").set(applied as f64);
    gauge!("conclave_raft_snapshot_index").set(raft.snapshot.as_ref().map_or(0, |id| id.index) as f64);
    gauge!("conclave_raft_voters").set(raft.membership_config.membership().voter_ids().count() as f64);
    if let Some(unsealed) = cluster.seal.unsealed() {
        gauge!("conclave_key_term").set(f64::from(unsealed.barrier.keyring().active_term()));
        gauge!("conclave_key_term_seals").set(unsealed.barrier.seals_done() as f64);
    }
    if let Err(error) = observe_leases(cluster) {
        tracing::warn!(%error, "the leases cannot be counted");
    }
    for (name, value) in cluster.reader.rocksdb_properties() {
        gauge!(format!("conclave_rocksdb_{}", name.replace(['.', '-'], "_"))).set(value as f64);
    }
}

/// The label of a request: an engine's operation, or the name of a `sys` action.
pub fn operation_label(action: Action, operation: Operation) -> &'static str {
    match (action, operation) {
        (Action::Secret, Operation::Read) => "secret_read",
        (Action::Secret, Operation::Write) => "secret_write",
        (Action::Secret, Operation::Patch) => "secret_patch",
        (Action::Secret, Operation::Delete) => "secret_delete",
        (Action::Secret, Operation::List | Operation::Scan) => "secret_list",
        (Action::Health | Action::Leader | Action::SealStatus, _) => "status",
        (
            Action::Token(TokenRequest::Create | TokenRequest::CreateOrphan | TokenRequest::CreateByRole),
            _,
        ) => "token_create",
        (
            Action::Token(TokenRequest::Lookup | TokenRequest::LookupSelf | TokenRequest::LookupAccessor),
            _,
        ) => "token_lookup",
        (Action::Token(TokenRequest::Renew | TokenRequest::RenewSelf | TokenRequest::RenewAccessor), _) => {
            "token_renew"
        }
        (Action::Token(TokenRequest::Accessors), _) => "token_lookup",
        (
            Action::Token(
                TokenRequest::RoleList
                | TokenRequest::RoleRead
                | TokenRequest::RoleWrite
                | TokenRequest::RoleDelete,
            ),
            _,
        ) => "token_role",
        (Action::Identity(_) | Action::Mfa(_), _) => "identity",
        (Action::Token(_), _) => "token_revoke",
        (Action::Policy(..) | Action::Rights(_) | Action::Password(_), _) => "policy",
        (Action::Auth, Operation::Write) | (Action::MfaValidate, _) => "auth_write",
        (Action::Auth, _) => "auth_read",
        (Action::Quota(_) | Action::LeaseQuota(_), _) => "quota",
        (Action::Lease(_), _) => "lease",
        _ => "sys",
    }
}

const OPERATION_LABELS: [&str; 19] = [
    "auth_write",
    "auth_read",
    "secret_read",
    "secret_write",
    "secret_patch",
    "secret_delete",
    "secret_list",
    "status",
    "token_create",
    "token_lookup",
    "token_renew",
    "token_revoke",
    "token_role",
    "identity",
    "policy",
    "quota",
    "lease",
    "sys",
    UNKNOWN_OPERATION,
];

const STATUS_CLASSES: [&str; 3] = ["2xx", "4xx", "5xx"];

/// Which of [`STATUS_CLASSES`].
fn status_class(status: u16) -> usize {
    match status {
        200..300 => 0,
        400..500 => 1,
        _ => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::routes;

    #[test]
    fn every_request_has_a_label_that_is_counted() {
        use Operation::{Delete, List, Patch, Read, Scan, Write};
        for action in routes().map(|route| route.action).chain([Action::Secret, Action::Auth]) {
            for operation in [Read, Write, Patch, Delete, List, Scan] {
                let label = operation_label(action, operation);
                assert!(OPERATION_LABELS.contains(&label), "{label}");
            }
        }
        assert!(OPERATION_LABELS.contains(&UNKNOWN_OPERATION));
    }
}

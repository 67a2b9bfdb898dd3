//! Taking back a node that lost what it had stored: the leader's side of [`crate::rejoin`].
//!
//! The caller's certificate proves that it is the node itself. Its old id is removed first, which the others must be able
//! to commit without it; then it is added as a learner under an id that nobody has had. Each step can be repeated, by
//! this leader or the next one. An operator's removal stands: it takes the node's successions with it.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use conclave_proto::log::Txn;
use conclave_proto::peer::{RejoinRequest, RejoinResponse};
use conclave_storage::types::Node as Address;
use tokio::time::Instant;
use tonic::Status;

use super::admission::{NAMES_MAX, address_is_bounded, commit};
use super::membership::load_ca;
use super::registry::Registry;
use crate::cluster::Cluster;
use crate::raft::{MembershipError, Role};
use crate::seal::Unsealed;
use crate::service::failure::Failure;
use crate::service::write::Attempt;

/// Bytes that name one loss.
const ATTEMPT_ID_BYTES: usize = 16;
/// How long proving that this node leads may take.
const PROOF_TIMEOUT: Duration = Duration::from_secs(1);
/// A node that answered this short a time ago runs, so whoever asks in its name is a copy of it, or it has only just died.
const ALIVE_MAX: Duration = Duration::from_secs(2);

/// Gives the node that is or was `caller` a new id and a place as a learner. This node leads.
///
/// # Errors
/// `PermissionDenied` for a node that was removed; `Unavailable` and `FailedPrecondition` when asking again may help.
pub async fn take_back(
    cluster: &Arc<Cluster>,
    caller: u64,
    request: RejoinRequest,
) -> Result<RejoinResponse, Status> {
    let is_bounded = request.attempt_id.len() == ATTEMPT_ID_BYTES
        && request.names.len() <= NAMES_MAX
        && [&request.api_addr, &request.cluster_addr].iter().all(|addr| address_is_bounded(addr));
    if !is_bounded {
        return Err(Status::invalid_argument("the request to rejoin is not one"));
    }
    let sealed = || Status::failed_precondition("the leader is sealed: unseal it");
    let unsealed = cluster.seal.unsealed().ok_or_else(sealed)?;
    // Neither the membership nor the register may be those of a leader of the past.
    let proven = cluster.barrier.read_point(Instant::now() + PROOF_TIMEOUT).await;
    proven.map_err(|_| Status::unavailable("the leader could not be confirmed by a majority"))?;
    let _no_other_change = cluster.admitting.lock().await;
    let granted = commit(cluster, || plan(cluster, &unsealed, caller, &request)).await.map_err(refusal)?;
    let Granted { response, name, former_ids } = granted;
    let node_id = response.node_id;
    for former in former_ids {
        cluster.membership.remove_lost(former).await.map_err(change_failed)?;
    }
    tracing::info!(former = caller, node_id, name, "taking back a node that lost its data");
    let address = Address { name, api_addr: request.api_addr, cluster_addr: request.cluster_addr };
    cluster.membership.add_learner(node_id, address).await.map_err(change_failed)?;
    Ok(response)
}

/// What a node that lost its data gets.
struct Granted {
    response: RejoinResponse,
    name: String,
    /// What it was before, and must not be any more.
    former_ids: Vec<u64>,
}

fn plan(
    cluster: &Cluster,
    unsealed: &Unsealed,
    caller: u64,
    request: &RejoinRequest,
) -> Result<(Txn, Granted), Failure> {
    cluster.plan(unsealed, |ctx| {
        let (mut registry, mut txn) = Registry::load(ctx)?;
        let present = registry.present_id(caller);
        let member = cluster.member(present);
        let name = match (&member, registry.successor_name(present)) {
            (Some(member), _) => member.node.name.clone(),
            (None, Some(name)) => name.to_owned(),
            (None, None) => return Err(Failure::Denied),
        };
        let attempt_id = hex::encode(&request.attempt_id);
        // An id under which anything was stored stands for that, and is not given again.
        let is_unused = member
            .as_ref()
            .is_none_or(|member| member.role == Role::Learner && member.last_log_index.is_none());
        let node_id = if is_unused && registry.is_for(present, &attempt_id) {
            txn = Txn::default();
            present
        } else {
            if present == cluster.node_id || member.is_some_and(|member| is_alive(member.last_contact)) {
                return Err(Failure::Overloaded(
                    "the cluster still hears of a running node with this identity".to_owned(),
                ));
            }
            let node_id = registry.succeed(present, &name, &attempt_id);
            registry.put(ctx, &mut txn)?;
            node_id
        };
        let ca = load_ca(cluster, ctx)?;
        let certificate_pem = ca
            .issue(&request.csr_pem, node_id, &request.names, SystemTime::now())
            .map_err(|error| Failure::invalid(error.to_string()))?;
        let ca_pem = ca.certificate_pem().to_owned();
        let response = RejoinResponse { node_id, certificate_pem, ca_pem, leader: None };
        Ok((txn, Granted { response, name, former_ids: registry.former_ids(node_id) }))
    })
}

fn is_alive(last_contact: Option<Duration>) -> bool {
    last_contact.is_some_and(|ago| ago < ALIVE_MAX)
}

fn refusal(attempt: Attempt) -> Status {
    match attempt {
        Attempt::NotHere | Attempt::Unknown | Attempt::Overtaken => {
            Status::unavailable("the new id could not be given in time")
        }
        Attempt::Failed(Failure::Denied) => Status::permission_denied(
            "it was removed from its cluster: empty its data directory and join it with a new token",
        ),
        Attempt::Failed(failure @ Failure::Rule(_)) => Status::invalid_argument(failure.to_string()),
        Attempt::Failed(failure) => Status::unavailable(failure.to_string()),
    }
}

fn change_failed(error: MembershipError) -> Status {
    Status::unavailable(error.to_string())
}

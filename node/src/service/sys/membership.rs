//! The cluster's nodes: inviting, listing and removing them, and moving leadership.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use conclave_core::Error;
use conclave_core::crypto::Kind;
use conclave_core::plan::{Context, Reply};
use conclave_core::seal::join_token;
use conclave_proto::log::Txn;
use conclave_proto::peer::StatusResponse;
use conclave_proto::secret::Secret;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use super::admission;
use super::registry::Registry;
use crate::cluster::Cluster;
use crate::identity::ClusterCa;
use crate::node::VERSION;
use crate::raft::{Member, MembershipError, Role};
use crate::service::Service;
use crate::service::answer::Answer;
use crate::service::call::Call;
use crate::service::failure::Failure;
use crate::service::write::Attempt;

/// How long a member may take to answer when all are asked how they are.
const STATUS_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a removed node may take to notice that it is none any more, before the removal is answered.
const FENCE_TIMEOUT: Duration = Duration::from_millis(500);
/// How long a join token lives when the caller does not say.
const JOIN_TOKEN_TTL_MS: u64 = 10 * 60 * 1000;

/// The cluster's authority, from the state.
pub fn load_ca(cluster: &Cluster, ctx: &Context<'_>) -> Result<ClusterCa, Failure> {
    #[derive(Deserialize)]
    struct Stored {
        certificate: String,
        key: String,
    }
    let missing = || Failure::Rule(Error::Corrupt("the cluster's certificate authority".to_owned()));
    let key = ctx.barrier.key(Kind::ClusterCa, []);
    let record = ctx.view.get(&key)?.ok_or_else(missing)?;
    let opened = ctx.barrier.open(&key, &record.sealed)?;
    let stored: Stored = serde_json::from_slice(&opened.payload).map_err(|_| missing())?;
    ClusterCa::from_pem(cluster.cluster_id, &stored.certificate, &Secret::new(stored.key))
        .map_err(|_| missing())
}

/// Makes a join token; the plan stores its hash.
pub fn plan_join_token(
    cluster: &Cluster,
    ctx: &mut Context<'_>,
    body: &Map<String, Value>,
) -> Result<(Txn, Value), Failure> {
    let ttl_ms = match body.get("ttl") {
        None | Some(Value::Null) => JOIN_TOKEN_TTL_MS,
        Some(ttl) => conclave_core::duration::from_json_s(ttl)
            .ok()
            .and_then(|seconds| u64::try_from(seconds).ok()?.checked_mul(1000))
            .ok_or_else(|| Failure::invalid("'ttl' must be a duration such as 10m"))?,
    };
    let replaces = match body.get("replace") {
        None | Some(Value::Null) => None,
        Some(name) => {
            let member = name.as_str().and_then(|name| cluster.find_member(name));
            let unknown = || Failure::invalid("'replace' must be the name of a member that is lost");
            Some(member.ok_or_else(unknown)?.node.name)
        }
    };
    let ca = cluster.ca_certificate_der().map_err(Failure::internal)?;
    let (token, mut txn) = join_token::plan_create(ctx, &ca, ttl_ms)?;
    let expires_ms = ctx.now_ms + ttl_ms;
    if let Some(name) = &replaces {
        let (mut registry, changed) = Registry::load(ctx)?;
        registry.replace(&token, name, ctx.now_ms, expires_ms)?;
        txn.preconditions.extend(changed.preconditions);
        registry.put(ctx, &mut txn)?;
    }
    let data = json!({
        "token": token.to_text().expose(),
        "ttl": ttl_ms / 1000,
        "expire_time": conclave_core::engine::time_text(expires_ms),
        "ca_sha256": hex::encode(token.ca_sha256()),
        "replaces": replaces,
    });
    Ok((txn, data))
}

/// Removes a member for good: it is refused by the others from then on, and answers nobody.
pub async fn remove_peer(cluster: &Arc<Cluster>, call: &Call) -> Result<Answer, Attempt> {
    let name = call.json()?.get("server_id").and_then(Value::as_str).filter(|name| !name.is_empty());
    let name = name.ok_or_else(|| Failure::invalid("no server id provided"))?;
    let _no_admission_meanwhile = cluster.admitting.lock().await;
    admission::revoke(cluster, name).await?;
    // As with Vault, removing who is not there is done already.
    let Some(member) = cluster.find_member(name) else { return Ok(Answer::no_content()) };
    let node_id = member.node_id;
    // The leader hands over first, and the next leader removes it: no write waits for an election.
    cluster.membership.remove(node_id).await.map_err(change_failed)?;
    tracing::info!(node_id, "removed a node");
    // It would notice by itself within a second, and answer stale reads until then. One that cannot be reached does.
    let told = cluster.peers.check_membership(node_id, &member.node, Instant::now() + FENCE_TIMEOUT).await;
    if let Err(error) = told {
        tracing::info!(node_id, %error, "the removed node could not be told");
    }
    Ok(Answer::no_content())
}

/// Takes this node out of its cluster and wipes its identity.
pub async fn leave(service: &Arc<Service>, call: &Call) -> Result<Answer, Failure> {
    let node = service.node();
    let cluster = service.cluster()?;
    // By the name that the membership has: the settings may say another by now.
    let own = cluster.node(cluster.node_id).ok_or(Failure::Fenced)?;
    let mut request = Call {
        operation: conclave_core::plan::Operation::Write,
        head: false,
        path: "sys/storage/raft/remove-peer".to_owned(),
        uri: "/v1/sys/storage/raft/remove-peer".to_owned(),
        query: conclave_core::plan::Query::default(),
        headers: crate::service::CallHeaders { token: call.headers.token.clone(), ..Default::default() },
        body: json!({ "server_id": own.name }).to_string().into(),
        upload: Default::default(),
        client: call.client,
        certificates: None,
        request_id: call.request_id.clone(),
        attempt: Default::default(),
        password: Default::default(),
        errands: Default::default(),
        trace: None,
    };
    let answer = Box::pin(service.answer(&mut request)).await;
    if answer.status != 204 {
        return Ok(answer);
    }
    let still_member = cluster.find_member(&own.name).is_some_and(|member| member.node_id != cluster.node_id);
    if still_member {
        return Err(Failure::Internal(
            "another node bears this node's name: remove one of them by hand".to_owned(),
        ));
    }
    // At once: this node need not hear from others what it asked for.
    cluster.fence.fence();
    crate::node::forget_cluster(node).map_err(Failure::internal)?;
    tracing::warn!("left the cluster: this node answers no request any more");
    Ok(answer)
}

/// Hands leadership to another node.
pub async fn step_down(cluster: &Arc<Cluster>) -> Result<Answer, Attempt> {
    if cluster.members().len() == 1 {
        return Err(Failure::invalid("this is the cluster's only node: nobody could take over").into());
    }
    cluster.membership.transfer_leadership().await.map_err(change_failed)?;
    Ok(Answer::no_content())
}

pub fn change_failed(error: MembershipError) -> Attempt {
    match error {
        MembershipError::NotLeader => Attempt::NotHere,
        error => Attempt::Failed(Failure::Internal(format!("the membership could not be changed: {error}"))),
    }
}

/// `sys/storage/raft/configuration`.
pub fn raft_configuration(cluster: &Cluster) -> Value {
    let server = |member: Member| {
        json!({
            "node_id": member.node.name,
            "address": member.node.cluster_addr,
            "leader": member.role == Role::Leader,
            "protocol_version": "3",
            "voter": member.role != Role::Learner,
        })
    };
    let servers: Vec<_> = cluster.members().into_iter().map(server).collect();
    json!({ "config": { "servers": servers, "index": 0 } })
}

/// `sys/ha-status`.
pub fn ha_status(cluster: &Cluster) -> Value {
    let node = |member: Member| {
        json!({
            "hostname": member.node.name,
            "api_address": member.node.api_addr,
            "cluster_address": format!("https://{}", member.node.cluster_addr),
            "active_node": member.role == Role::Leader,
            "last_echo": null,
            "version": VERSION,
            "upgrade_version": VERSION,
        })
    };
    let nodes: Vec<_> = cluster.members().into_iter().map(node).collect();
    json!({ "nodes": nodes })
}

/// `sys/cluster/members`: as `raft/configuration`, with what an operator wants to see at a glance.
pub fn members(cluster: &Cluster) -> Value {
    let describe = |member: Member| {
        json!({
            "id": member.node.name,
            "raft_id": member.node_id,
            "api_addr": member.node.api_addr,
            "cluster_addr": member.node.cluster_addr,
            "role": role_name(member.role),
        })
    };
    let members: Vec<_> = cluster.members().into_iter().map(describe).collect();
    json!({ "members": members })
}

fn role_name(role: Role) -> &'static str {
    match role {
        Role::Leader => "leader",
        Role::Voter => "voter",
        Role::Learner => "learner",
    }
}

/// `sys/storage/raft/autopilot/state`: asks every member how it is.
pub async fn autopilot_state(cluster: &Arc<Cluster>, call: &Call) -> Answer {
    let deadline = Instant::now() + STATUS_TIMEOUT;
    let asked = cluster.members().into_iter().map(|member| async move {
        let status = cluster.status_of(member.node_id, deadline).await;
        (member, status)
    });
    let mut servers = Map::new();
    let (mut voters, mut healthy_voters, mut leader) = (Vec::new(), BTreeSet::new(), None);
    for (member, status) in futures::future::join_all(asked).await {
        let name = member.node.name.clone();
        let healthy = status.is_some();
        if member.role != Role::Learner {
            voters.push(name.clone());
            healthy_voters.extend(healthy.then_some(member.node_id));
        }
        if member.role == Role::Leader {
            leader = Some(name.clone());
        }
        servers.insert(name, server_state(&member, status.as_ref()));
    }
    let data = json!({
        "healthy": healthy_voters.len() == voters.len(),
        "failure_tolerance": failure_tolerance(&cluster.membership.quorum_sets(), &healthy_voters),
        "leader": leader,
        "voters": voters,
        "servers": servers,
    });
    Answer::enveloped(&call.request_id, &Reply::json(&data), None)
}

/// How many nodes may be lost, whichever they are: in the middle of a change every set of voters needs its majority.
fn failure_tolerance(quorum_sets: &[BTreeSet<u64>], healthy: &BTreeSet<u64>) -> usize {
    let spare = |set: &BTreeSet<u64>| set.intersection(healthy).count().saturating_sub(set.len() / 2 + 1);
    quorum_sets.iter().map(spare).min().unwrap_or(0)
}

fn server_state(member: &Member, status: Option<&StatusResponse>) -> Value {
    let votes = member.role != Role::Learner;
    json!({
        "id": member.node.name,
        "name": member.node.name,
        "address": member.node.cluster_addr,
        "node_status": if status.is_some() { "alive" } else { "failed" },
        "sealed": status.map(|status| status.sealed),
        "last_contact": member.last_contact.map(|ago| format!("{}ms", ago.as_millis())),
        "last_term": status.map_or(0, |status| status.term),
        "last_index": status.map_or(0, |status| status.last_log_index),
        "healthy": status.is_some(),
        "status": if votes { role_name(member.role) } else { "non-voter" },
        "version": status.map_or("", |status| status.version.as_str()),
        "node_type": if votes { "voter" } else { "non-voter" },
    })
}

/// The DER of the first certificate in a PEM text.
pub fn certificate_der(pem: &str) -> Option<Vec<u8>> {
    CertificateDer::from_pem_slice(pem.as_bytes()).ok().map(|der| der.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_the_middle_of_a_change_no_set_of_voters_may_lose_its_majority() {
        let set = |nodes: &[u64]| nodes.iter().copied().collect::<BTreeSet<_>>();
        let healthy = set(&[1, 2, 3]);
        assert_eq!(failure_tolerance(&[set(&[1, 2, 3])], &healthy), 1);
        assert_eq!(failure_tolerance(&[set(&[1, 2, 3])], &set(&[1, 2])), 0);
        assert_eq!(
            failure_tolerance(&[set(&[1, 2]), set(&[1, 2, 3])], &healthy),
            0,
            "of two both are needed"
        );
        assert_eq!(failure_tolerance(&[set(&[1])], &set(&[])), 0);
    }
}

//! Admitting a node that holds a join token: its id, its certificate and its place as a learner.
//!
//! Repeating it is safe: the token remembers whom it let in, so a node that lost the answer asks again with the same
//! key and gets the same id. The id and the name are reserved in one transaction with the token's use.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use conclave_core::Error;
use conclave_core::plan::Context;
use conclave_core::seal::join_token::{self, Holder, JoinToken, Redemption};
use conclave_faults::failpoint::{Point, hit};
use conclave_proto::log::Txn;
use conclave_proto::txn::Outcome;
use conclave_storage::types::Node as Address;
use serde::{Deserialize, Serialize};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use tokio::time::Instant;

use super::membership::{change_failed, load_ca};
use super::registry::{Registry, name_is_taken};
use crate::cluster::Cluster;
use crate::config::is_node_name;
use crate::identity::public_key_of_request;
use crate::seal::Unsealed;
use crate::service::answer::Answer;
use crate::service::call::Call;
use crate::service::failure::Failure;
use crate::service::write::Attempt;

/// Largest request to join, in bytes: strangers send it.
const REQUEST_BYTES_MAX: usize = 64 * 1024;
/// Most names of one certificate.
pub(super) const NAMES_MAX: usize = 16;
/// Longest address of a node, in bytes.
const ADDRESS_BYTES_MAX: usize = 512;
/// How long a node that is to be replaced may take to say that it runs.
const ALIVE_TIMEOUT: Duration = Duration::from_secs(2);
/// How often a plan is made anew when another admission came in between.
const PLANS_MAX: usize = 32;

/// What a node sends that wants to join.
#[derive(Serialize, Deserialize)]
pub struct JoinRequest {
    pub token: String,
    pub csr: String,
    pub name: String,
    pub api_addr: String,
    pub cluster_addr: String,
    pub names: Vec<String>,
}

impl JoinRequest {
    /// # Errors
    /// [`Failure`]: it is no such request, or says more than there is room for.
    pub fn parse(body: &[u8]) -> Result<Self, Failure> {
        if body.len() > REQUEST_BYTES_MAX {
            return Err(Failure::TooLarge(format!(
                "a request to join has at most {REQUEST_BYTES_MAX} bytes"
            )));
        }
        let request: Self = serde_json::from_slice(body).map_err(|_| {
            Failure::invalid("a join needs token, csr, name, api_addr, cluster_addr and names")
        })?;
        if request.names.len() > NAMES_MAX {
            return Err(Failure::invalid(format!("a certificate may have at most {NAMES_MAX} names")));
        }
        if !is_node_name(&request.name) {
            return Err(Failure::invalid("'name' must be 1 to 64 letters, digits, '-', '_' or '.'"));
        }
        if ![&request.api_addr, &request.cluster_addr].iter().all(|addr| address_is_bounded(addr)) {
            return Err(Failure::invalid(format!("an address has at most {ADDRESS_BYTES_MAX} bytes")));
        }
        Ok(request)
    }

    /// The same for the same node only: whoever has its key, under its name.
    ///
    /// # Errors
    /// [`Failure`]: its certificate request cannot be read.
    pub fn holder(&self) -> Result<Holder, Failure> {
        let key = public_key_of_request(&self.csr).map_err(|error| Failure::invalid(error.to_string()))?;
        let key_sha256: [u8; 32] = Sha256::digest(key).into();
        Ok(Sha256::new().chain_update(key_sha256).chain_update(&self.name).finalize().into())
    }
}

/// What it needs to be a member.
#[derive(Serialize, Deserialize)]
pub struct JoinResponse {
    pub node_id: u64,
    pub cluster_id: String,
    pub certificate: String,
    pub ca: String,
}

pub(super) fn address_is_bounded(addr: &str) -> bool {
    addr.len() <= ADDRESS_BYTES_MAX
}

/// Admits a node that holds a join token: uses the token up, gives it an id and a certificate, and adds it as learner.
pub async fn admit(cluster: &Arc<Cluster>, call: &Call) -> Result<Answer, Attempt> {
    let request = JoinRequest::parse(&call.body)?;
    let token = JoinToken::parse(&request.token).map_err(|_| Failure::Denied)?;
    let holder = request.holder()?;
    let unsealed = cluster.seal.unsealed().ok_or(Attempt::NotHere)?;
    let replaced = lost_member(cluster, &unsealed, &token, &request).await?;
    let response = commit(cluster, || plan_admission(cluster, &unsealed, &token, holder, &request)).await?;
    let node_id = response.node_id;
    hit(Point::AdmitCommitted);
    // A removal that came first must stay one; one that comes later finds the node in the membership.
    let _no_removal_meanwhile = cluster.admitting.lock().await;
    if !cluster.plan(&unsealed, |ctx| Ok::<_, Error>(Registry::load(ctx)?.0.has(node_id)))? {
        return Err(Failure::Denied.into());
    }
    if let Some(lost) = replaced.filter(|lost| *lost != node_id) {
        cluster.membership.remove_lost(lost).await.map_err(change_failed)?;
        tracing::info!(node_id = lost, "removed a node that is replaced");
    }
    let address =
        Address { name: request.name, api_addr: request.api_addr, cluster_addr: request.cluster_addr };
    tracing::info!(node_id, name = %address.name, "admitting a node");
    cluster.membership.add_learner(node_id, address).await.map_err(change_failed)?;
    hit(Point::AdmitAdded);
    Ok(Answer::bare(200, &json!({ "data": response })))
}

/// The member whose place the holder of `token` takes, if it is one. It must be lost: it neither answers nor is it needed
/// to commit its removal.
async fn lost_member(
    cluster: &Cluster,
    unsealed: &Unsealed,
    token: &JoinToken,
    request: &JoinRequest,
) -> Result<Option<u64>, Attempt> {
    let replaces = |ctx: &mut Context<'_>| {
        let registry = Registry::load(ctx)?.0;
        Ok::<_, Error>(registry.replaced_by(token) == Some(request.name.as_str()))
    };
    if !cluster.plan(unsealed, replaces)? {
        return Ok(None);
    }
    let Some(member) = cluster.find_member(&request.name) else { return Ok(None) };
    if cluster.status_of(member.node_id, Instant::now() + ALIVE_TIMEOUT).await.is_some() {
        return Err(Failure::invalid(
            "the node that is to be replaced runs and answers: stop it, or take it out with 'conclave leave'",
        )
        .into());
    }
    cluster.membership.can_do_without(member.node_id).map_err(change_failed)?;
    Ok(Some(member.node_id))
}

/// Takes back the admission of `name`, so that neither its join token nor a loss of its data can bring it in again.
pub async fn revoke(cluster: &Arc<Cluster>, name: &str) -> Result<(), Attempt> {
    let unsealed = cluster.seal.unsealed().ok_or(Attempt::NotHere)?;
    commit(cluster, || {
        cluster.plan(&unsealed, |ctx| {
            let (mut registry, mut txn) = Registry::load(ctx)?;
            if !registry.forget(name) {
                return Ok((Txn::default(), ()));
            }
            registry.put(ctx, &mut txn)?;
            Ok((txn, ()))
        })
    })
    .await
}

/// Commits what `plan` makes, anew as long as other admissions come in between; an empty transaction is done already.
pub async fn commit<T>(
    cluster: &Cluster,
    plan: impl Fn() -> Result<(Txn, T), Failure>,
) -> Result<T, Attempt> {
    for _ in 0..PLANS_MAX {
        let (txn, result) = plan()?;
        if txn.is_empty() {
            return Ok(result);
        }
        match cluster.propose(txn).await {
            Ok(Outcome::Applied { .. }) => return Ok(result),
            Ok(Outcome::Conflict { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(Failure::Overloaded("other nodes kept joining in between: try again in a moment".into()).into())
}

fn plan_admission(
    cluster: &Cluster,
    unsealed: &Unsealed,
    token: &JoinToken,
    holder: Holder,
    request: &JoinRequest,
) -> Result<(Txn, JoinResponse), Failure> {
    cluster.plan(unsealed, |ctx| {
        let is_member = cluster.find_member(&request.name).is_some();
        let (txn, node_id) = plan_id(ctx, token, holder, &request.name, is_member)?;
        let ca = load_ca(cluster, ctx)?;
        let certificate = ca
            .issue(&request.csr, node_id, &request.names, SystemTime::now())
            .map_err(|error| Failure::invalid(error.to_string()))?;
        let (cluster_id, ca) = (cluster.cluster_id.to_string(), ca.certificate_pem().to_owned());
        Ok((txn, JoinResponse { node_id, cluster_id, certificate, ca }))
    })
}

/// The id for whoever shows `token`, and what must be committed before it is theirs.
///
/// All admissions require the register's revision, so of two under one name the second is planned again and refused.
fn plan_id(
    ctx: &mut Context<'_>,
    token: &JoinToken,
    holder: Holder,
    name: &str,
    is_member: bool,
) -> Result<(Txn, u64), Failure> {
    let (mut registry, mut txn) = Registry::load(ctx)?;
    match join_token::redeem(ctx, token, holder)? {
        Redemption::Again { node_id } if registry.has(node_id) => Ok((Txn::default(), node_id)),
        // It was removed since.
        Redemption::Again { .. } => Err(Failure::Denied),
        Redemption::First(unused) => {
            if registry.replaced_by(token) == Some(name) {
                // Nothing of the lost node opens the cluster to it any more.
                registry.forget(name);
            } else if is_member {
                return Err(name_is_taken());
            }
            let node_id = registry.admit(name, ctx.now_ms, unused.expires_at_ms())?;
            registry.put(ctx, &mut txn)?;
            unused.use_up(ctx, node_id, &mut txn)?;
            Ok((txn, node_id))
        }
    }
}

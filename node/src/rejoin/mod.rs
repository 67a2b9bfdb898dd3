//! Coming back with nothing (I12): a node that lost what it had stored asks its cluster for a new place.
//!
//! What it had acknowledged and whom it had voted for counts for its Raft id, so it must never act under that id again. It
//! proves by its certificate who it is; the leader removes the old id, gives it a new one, and the node comes back as an
//! empty learner that is promoted once it has caught up. What was there before stays in the data directory, set aside.
//! The leader's side is `service/sys/readmission.rs`.

mod loss;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use conclave_proto::peer::{RejoinRequest, RejoinResponse};
use conclave_storage::types::Node as Address;
use conclave_storage::{Opened, Options, StorageError, Store};
use tokio::runtime::Handle;
use tokio::time::Instant;

pub use loss::Loss;

use crate::cluster::StartError;
use crate::identity::{Identity, IdentityStore, PeerIdentity};
use crate::node::{Node, certificate_names};
use crate::raft::dial::Dialer;
use crate::raft::peer_book::PeerBook;
use crate::raft::{Fence, Peers, Roster};

/// Pause between rounds over all members.
const PAUSE: Duration = Duration::from_secs(1);
/// How long a member may take to answer: two changes of the membership.
const TIMEOUT: Duration = Duration::from_secs(25);

/// Opens the storage, or sets aside what cannot be used and opens an empty one. The loss, if there is one, must be mended
/// before the node takes part.
///
/// # Errors
/// As [`Store::open`]; damage only of a node that cannot rejoin by itself.
pub fn open_storage(data_dir: &Path, options: &Options) -> Result<(Opened, Option<Loss>), StartError> {
    let loss = match Loss::pending(data_dir)? {
        Some(loss) if has_another_id(data_dir, &loss)? => {
            Loss::settle(data_dir)?;
            None
        }
        Some(loss) => Some(loss),
        None => match Store::open(data_dir, options) {
            Ok(opened) if opened.log.last().is_none() && was_member(data_dir)? => {
                drop(opened);
                let gone = "this node was a member, and its log is gone";
                Some(declare(data_dir, StorageError::Damaged(gone.to_owned()))?)
            }
            Ok(opened) => return Ok((opened, None)),
            Err(error) if error.is_damage() => Some(declare(data_dir, error)?),
            Err(error) => return Err(error.into()),
        },
    };
    if let Some(loss) = &loss {
        loss.clear_away(data_dir)?;
        tracing::error!(
            reason = loss.reason(),
            kept = loss.aside(),
            "this node's data cannot be used and is set aside; the node asks its cluster to take it back, empty"
        );
    }
    Ok((Store::open(data_dir, options)?, loss))
}

fn has_another_id(data_dir: &Path, loss: &Loss) -> Result<bool, StartError> {
    let identity = IdentityStore::open(data_dir)?.load()?;
    Ok(identity.and_then(|identity| identity.peer()).is_some_and(|peer| peer.node_id != loss.node_id()))
}

/// Notes the loss of a member that others can take back.
fn declare(data_dir: &Path, error: StorageError) -> Result<Loss, StartError> {
    let identity = IdentityStore::open(data_dir)?.load()?;
    let Some(peer) = identity.and_then(|identity| identity.peer()) else { return Err(error.into()) };
    if !may_rejoin(data_dir, peer.node_id)? {
        return Err(StartError::DamagedAlone(error));
    }
    Loss::declare(data_dir, peer.node_id, error.to_string())
}

/// Whether the node has taken part before, by what it noted beside its storage.
fn was_member(data_dir: &Path) -> Result<bool, StartError> {
    let Some(identity) = IdentityStore::open(data_dir)?.load()? else { return Ok(false) };
    let Some(peer) = identity.peer() else { return Ok(false) };
    let fence = Fence::open(data_dir, peer.node_id).map_err(crate::raft::RaftError::from)?;
    Ok(fence.was_member())
}

/// Whether there is a cluster besides this node that may take it back: a removed node stays removed.
pub fn may_rejoin(data_dir: &Path, node_id: u64) -> Result<bool, StartError> {
    let fenced = Fence::open(data_dir, node_id).map_err(crate::raft::RaftError::from)?.is_fenced();
    let members = PeerBook::members_at(data_dir).map_err(StartError::Rejoining)?;
    Ok(!fenced && members.keys().any(|member| *member != node_id))
}

/// Asks until the node is taken back, and makes it a member again.
///
/// # Errors
/// What is wrong with this node itself: asking again would not help.
pub async fn run(node: Arc<Node>, loss: Loss) -> Result<(), StartError> {
    let mut told = String::new();
    loop {
        let reason = match ask_members(&node, &loss).await? {
            Ok(response) => {
                node.rejoined(response).await?;
                tracing::info!("this node is taken back, as an empty learner");
                return Ok(());
            }
            Err(reason) => reason,
        };
        if reason != told {
            tracing::warn!(reason, "this node waits to be taken back into its cluster");
            told.clone_from(&reason);
        }
        node.waits_to_rejoin(reason);
        tokio::time::sleep(PAUSE).await;
    }
}

/// Asks every member that is known, and whoever they say leads. The sentence says why none took the node back.
async fn ask_members(node: &Node, loss: &Loss) -> Result<Result<RejoinResponse, String>, StartError> {
    let data_dir = &node.config.data_dir;
    let own = node.tls.identity();
    let roster = Roster::new();
    let dialer =
        Dialer::new(Arc::clone(&node.tls), Arc::clone(&roster), Handle::current(), Handle::current());
    let fence = Fence::open(data_dir, loss.node_id()).map_err(crate::raft::RaftError::from)?;
    let peers = Peers::new(dialer, Arc::new(fence));
    let request = RejoinRequest {
        attempt_id: hex::decode(loss.attempt_id()).unwrap_or_default().into(),
        csr_pem: own.key().csr_pem()?,
        names: certificate_names(&node.config),
        api_addr: node.config.api_addr.clone(),
        cluster_addr: node.config.cluster_addr.clone(),
    };
    let members = PeerBook::members_at(data_dir).map_err(StartError::Rejoining)?;
    let mut asked = BTreeSet::from([loss.node_id()]);
    let mut waiting: Vec<(u64, Address)> = members.into_iter().collect();
    let mut reasons = Vec::new();
    while let Some((node_id, address)) = waiting.pop() {
        if !asked.insert(node_id) {
            continue;
        }
        roster.hint(node_id, &address);
        match peers.rejoin(node_id, request.clone(), Instant::now() + TIMEOUT).await {
            Ok(response) if response.node_id != 0 => return Ok(Ok(response)),
            Ok(response) => match response.leader {
                Some(leader) => {
                    let name = format!("node {}, the leader", leader.node_id);
                    let address = Address { name, cluster_addr: leader.cluster_addr, ..Address::default() };
                    waiting.push((leader.node_id, address));
                }
                None => reasons.push(format!("{} knows no leader", address.name)),
            },
            Err(error) => reasons.push(format!("{}: {error}", address.name)),
        }
    }
    Ok(Err(reasons.join("; ")))
}

/// The identity under which the node goes on.
///
/// # Errors
/// What the leader sent does not belong together.
pub fn identity_from(own: &Identity, response: RejoinResponse) -> Result<Identity, StartError> {
    let peer = own.peer().ok_or(crate::identity::IdentityError::NotMember)?;
    let peer = PeerIdentity { node_id: response.node_id, ..peer };
    Ok(Identity::member(own.name(), peer, own.key().clone(), response.certificate_pem, response.ca_pem)?)
}

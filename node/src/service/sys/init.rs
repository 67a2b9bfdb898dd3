//! Making a new cluster of this node.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use conclave_core::auth::token::plan_root_token;
use conclave_core::crypto::{Barrier, Kind};
use conclave_core::plan::Context;
use conclave_core::seal::{self, Initialized, Parameters};
use conclave_faults::failpoint::{Point, hit};
use conclave_proto::log::Txn;
use conclave_proto::secret::Secret;
use conclave_proto::txn::Outcome;
use conclave_storage::types::Node as Address;
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use super::status::initialized;
use crate::cluster::Cluster;
use crate::identity::{ClusterCa, ClusterId, Identity, NodeKey, PeerIdentity};
use crate::node::{Node, certificate_names};
use crate::raft::clock::wall_clock_ms;
use crate::service::Service;
use crate::service::answer::Answer;
use crate::service::call::Call;
use crate::service::failure::Failure;
use crate::service::sys::registry::Registry;

/// The founding node's id in the Raft group.
const FIRST_NODE_ID: u64 = 1;
/// How long a single node may take to elect itself.
const ELECTION_WAIT: Duration = Duration::from_secs(10);

pub fn status(service: &Service) -> Answer {
    let initialized = service.node().cluster().is_some_and(|cluster| initialized(&cluster));
    Answer::bare(200, &json!({ "initialized": initialized }))
}

pub async fn init(service: &Service, call: &Call) -> Result<Answer, Failure> {
    let body = call.json()?;
    let node = service.node();
    let static_key = crate::seal::static_key(&node.config.seal)?;
    let parameters = parameters(body, static_key)?;
    let peer_unseal = match body.get("peer_unseal") {
        None | Some(Value::Null) => true,
        Some(choice) => {
            choice.as_bool().ok_or_else(|| Failure::invalid("'peer_unseal' must be true or false"))?
        }
    };
    let mut founding = node.found().await;
    if node.cluster().is_some_and(|cluster| initialized(&cluster)) {
        return Err(Failure::AlreadyInitialized);
    }
    // A node that joined and has not caught up yet is not a new cluster, though it has no keys so far.
    if node.tls.identity().peer().is_some_and(|peer| peer.node_id != FIRST_NODE_ID) {
        return Err(Failure::AlreadyInitialized);
    }
    // An earlier attempt may have died after the node became a member: then its cluster is finished, not replaced.
    let cluster_id = node.tls.identity().peer().map_or_else(ClusterId::random, |peer| peer.cluster_id);
    let ca = become_first_member(node, cluster_id)?;
    hit(Point::InitIdentity);
    let cluster = node.start_cluster(&mut founding).await.map_err(Failure::internal)?;
    hit(Point::InitRaft);
    let address = Address {
        name: node.config.node_name.clone(),
        api_addr: node.config.api_addr.clone(),
        cluster_addr: node.config.cluster_addr.clone(),
    };
    cluster.membership.initialize(address).await.map_err(Failure::internal)?;
    wait_for_leadership(&cluster).await?;
    hit(Point::InitMembership);

    let mut keys = seal::initialize(&parameters, *cluster_id.as_bytes(), wall_clock_ms(), &mut rand::rng())?;
    keys.config.peer_unseal = peer_unseal;
    let (root_token, txn) = first_records(node, &cluster, &keys, &ca)?;
    hit(Point::InitRecords);
    match cluster.propose_patiently(txn).await {
        Ok(Outcome::Applied { .. }) => {}
        Ok(Outcome::Conflict { .. }) => return Err(Failure::AlreadyInitialized),
        Err(error) => {
            return Err(Failure::Internal(format!("the cluster could not be initialised: {error}")));
        }
    }
    hit(Point::InitCommitted);
    if parameters.static_key.is_some() {
        cluster.view(|view| cluster.seal.unseal_by_setting(&node.config.seal, view, &keys.config))?;
    }
    tracing::info!(shares = parameters.shares, threshold = parameters.threshold, "initialised a new cluster");
    Ok(Answer::bare(200, &answer(&keys, &root_token, parameters.static_key.is_some())))
}

/// How the cluster is to be sealed, by the body of `init` and the node's setting.
pub fn parameters(
    body: &Map<String, Value>,
    static_key: Option<seal::StaticKey>,
) -> Result<Parameters, Failure> {
    let number = |name: &str| match body.get(name) {
        None | Some(Value::Null) => Ok(0),
        Some(value) => value
            .as_i64()
            .or_else(|| value.as_str()?.parse().ok())
            .ok_or_else(|| Failure::invalid(format!("'{name}' must be a number"))),
    };
    let automatic = static_key.is_some();
    let (shares, threshold) = if automatic {
        (number("recovery_shares")?, number("recovery_threshold")?)
    } else {
        if number("recovery_shares")? > 0 || number("recovery_threshold")? > 0 {
            return Err(Failure::invalid(
                "parameters recovery_shares,recovery_threshold not applicable to seal type shamir",
            ));
        }
        (number("secret_shares")?, number("secret_threshold")?)
    };
    let wrong = |sentence: &str| Err(Failure::invalid(format!("invalid seal configuration: {sentence}")));
    match (shares, threshold) {
        (0, 0) if automatic => {}
        (..=0, _) => return wrong("shares must be at least one"),
        (256.., _) => return wrong("shares must be less than 256"),
        (shares, threshold) if threshold > shares => return wrong("threshold cannot be larger than shares"),
        (2.., ..=1) => return wrong("threshold must be greater than one for multiple shares"),
        (_, ..=0) => return wrong("threshold must be at least one"),
        _ => {}
    }
    let byte =
        |number: i64| u8::try_from(number).map_err(|_| Failure::invalid("shares must be less than 256"));
    Ok(Parameters { shares: byte(shares)?, threshold: byte(threshold)?, static_key })
}

fn become_first_member(node: &Arc<Node>, cluster_id: ClusterId) -> Result<ClusterCa, Failure> {
    let now = SystemTime::now();
    let found = || {
        let ca = ClusterCa::generate(cluster_id, now)?;
        let key = NodeKey::generate()?;
        let certificate = ca.issue(&key.csr_pem()?, FIRST_NODE_ID, &certificate_names(&node.config), now)?;
        let peer = PeerIdentity { cluster_id, node_id: FIRST_NODE_ID };
        let identity = Identity::member(
            &node.config.node_name,
            peer,
            key,
            certificate,
            ca.certificate_pem().to_owned(),
        )?;
        node.adopt(identity)?;
        Ok(ca)
    };
    found().map_err(|error: crate::identity::IdentityError| Failure::internal(error))
}

async fn wait_for_leadership(cluster: &Cluster) -> Result<(), Failure> {
    let deadline = Instant::now() + ELECTION_WAIT;
    while cluster.leader() != Some(cluster.node_id) {
        if Instant::now() >= deadline {
            return Err(Failure::Internal(
                "the new cluster's only node did not become its leader".to_owned(),
            ));
        }
        cluster.leader_change(Duration::from_millis(50)).await;
    }
    Ok(())
}

/// Everything that a cluster begins with, in one transaction.
fn first_records(
    node: &Node,
    cluster: &Cluster,
    keys: &Initialized,
    ca: &ClusterCa,
) -> Result<(Secret<String>, Txn), Failure> {
    let barrier = Barrier::new(keys.config.cluster_id, keys.keyring.clone());
    cluster.view_now(|view, now_ms| {
        let mut rng = rand::rng();
        let mut ctx = Context { view, barrier: &barrier, now_ms, rng: &mut rng };
        let fixed = node.config.dev_root_token.as_ref().map(|token| token.expose().as_str());
        let (root_token, root_txn) = plan_root_token(&mut ctx, fixed)?;
        let mut txn = keys.txn();
        txn.preconditions.extend(root_txn.preconditions);
        txn.writes.extend(root_txn.writes);
        let authority = json!({ "certificate": ca.certificate_pem(), "key": ca.key_pem().expose() });
        let payload = zeroize::Zeroizing::new(authority.to_string());
        let key = barrier.key(Kind::ClusterCa, []);
        txn.put(key.clone(), barrier.seal(&key, "", payload.as_bytes(), ctx.rng)?);
        Registry::new(FIRST_NODE_ID).put(&mut ctx, &mut txn)?;
        Ok((root_token, txn))
    })
}

fn answer(keys: &Initialized, root_token: &Secret<String>, automatic: bool) -> Value {
    let hex: Vec<_> = keys.shares.iter().map(|share| share.to_hex().expose().clone()).collect();
    let base64: Vec<_> = keys.shares.iter().map(|share| share.to_base64().expose().clone()).collect();
    let (names, other) = if automatic {
        (["recovery_keys", "recovery_keys_base64"], ["keys", "keys_base64"])
    } else {
        (["keys", "keys_base64"], ["", ""])
    };
    let mut answer = json!({ names[0]: hex, names[1]: base64, "root_token": root_token.expose() });
    if automatic && let Some(fields) = answer.as_object_mut() {
        for name in other {
            fields.insert(name.to_owned(), json!([]));
        }
    }
    answer
}

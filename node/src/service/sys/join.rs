//! Making this node a member of an existing cluster, with a join token.
//!
//! The node makes its key itself; the token pins the cluster's authority, so the credential is sent to nobody else.

use std::sync::Arc;
use std::time::Duration;

use conclave_core::seal::join_token::JoinToken;
use conclave_faults::failpoint::{Point, hit};
use serde::Deserialize;
use serde_json::{Value, json};

use super::admission::{JoinRequest, JoinResponse};
use super::membership::certificate_der;
use crate::config::ApiTls;
use crate::identity::{CaFingerprint, Identity, PeerIdentity, tls};
use crate::node::{Node, certificate_names};
use crate::service::Service;
use crate::service::answer::Answer;
use crate::service::call::Call;
use crate::service::failure::Failure;

/// How long the member may take to answer.
const JOIN_TIMEOUT: Duration = Duration::from_secs(30);

pub async fn join(service: &Service, call: &Call) -> Result<Answer, Failure> {
    let body = call.json()?;
    let text = |name: &str| body.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    if service.node().cluster().is_some() {
        // A member that is told to join again has joined: clients repeat this call.
        return Ok(Answer::bare(200, &json!({ "joined": true })));
    }
    let addr = text("leader_api_addr").ok_or_else(|| {
        Failure::invalid("'leader_api_addr' must be the URL of a member, such as https://node1:8200")
    })?;
    let token = text("token").ok_or_else(|| {
        Failure::invalid("'token' must be a join token, from 'conclave join-token' on a member")
    })?;
    join_at(service.node(), addr, token).await?;
    Ok(Answer::bare(200, &json!({ "joined": true })))
}

/// Joins through the member at `addr`. Does nothing when the node is a member already.
pub async fn join_at(node: &Arc<Node>, addr: &str, token: &str) -> Result<(), Failure> {
    let mut founding = node.found().await;
    if node.cluster().is_some() {
        return Ok(());
    }
    let parsed = JoinToken::parse(token)?;
    // The key that it has kept since it was first started: should the answer be lost, even in a crash, the member
    // knows by it that the same node asks again.
    let key = node.tls.identity().key().clone();
    let request = JoinRequest {
        token: token.trim().to_owned(),
        csr: key.csr_pem().map_err(Failure::internal)?,
        name: node.config.node_name.clone(),
        api_addr: node.config.api_addr.clone(),
        cluster_addr: node.config.cluster_addr.clone(),
        names: certificate_names(&node.config),
    };
    hit(Point::JoinAsk);
    let response = ask(addr, &parsed, &request, matches!(node.config.tls, ApiTls::Disabled)).await?;
    hit(Point::JoinAnswered);
    let ca_is_pinned = certificate_der(&response.ca).is_some_and(|der| parsed.pins(&der));
    if !ca_is_pinned {
        return Err(Failure::invalid(
            "the member at leader_api_addr is not of the cluster that made this join token",
        ));
    }
    let cluster_id = response.cluster_id.parse().map_err(Failure::internal)?;
    let peer = PeerIdentity { cluster_id, node_id: response.node_id };
    let identity = Identity::member(&node.config.node_name, peer, key, response.certificate, response.ca)
        .map_err(Failure::internal)?;
    node.adopt(identity).map_err(Failure::internal)?;
    hit(Point::JoinAdopted);
    node.start_cluster(&mut founding).await.map_err(Failure::internal)?;
    tracing::info!(node_id = response.node_id, "joined the cluster as a learner");
    Ok(())
}

async fn ask(
    addr: &str,
    token: &JoinToken,
    request: &JoinRequest,
    plain_allowed: bool,
) -> Result<JoinResponse, Failure> {
    #[derive(Deserialize)]
    struct Envelope {
        data: JoinResponse,
    }
    #[derive(Deserialize)]
    struct Refusal {
        errors: Vec<String>,
    }
    let unreachable = |error: &dyn std::fmt::Display| {
        Failure::invalid(format!("the member at leader_api_addr could not be asked: {error}"))
    };
    // Only a node that speaks plain HTTP itself may send its credential over it.
    if !addr.starts_with("https://") && !plain_allowed {
        return Err(Failure::invalid(
            "leader_api_addr must begin with https://: the join token must not be readable on the way",
        ));
    }
    let tls = tls::pinned_client(CaFingerprint::new(*token.ca_sha256())).map_err(Failure::internal)?;
    let client = reqwest::Client::builder()
        .use_preconfigured_tls(tls)
        .timeout(JOIN_TIMEOUT)
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .map_err(|error| unreachable(&error))?;
    let url = format!("{}/v1/sys/cluster/join", addr.trim_end_matches('/'));
    let response =
        client.post(url).json(request).send().await.map_err(|error| unreachable(&root_cause(&error)))?;
    let status = response.status();
    let body = response.bytes().await.map_err(|error| unreachable(&error))?;
    if !status.is_success() {
        let errors = serde_json::from_slice::<Refusal>(&body).map(|refusal| refusal.errors.join("; "));
        let sentence = errors.unwrap_or_else(|_| status.to_string());
        return Err(Failure::invalid(format!(
            "the member refused this node ({}): {sentence}. A join token lets in one node, and for a short time",
            status.as_u16()
        )));
    }
    let envelope: Envelope =
        serde_json::from_slice(&body).map_err(|_| unreachable(&"it does not answer as a member"))?;
    Ok(envelope.data)
}

/// The innermost error says what happened ("connection refused"); the outer ones only where.
fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

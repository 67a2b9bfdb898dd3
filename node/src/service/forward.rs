//! Carries a write to the leader over the cluster's own mTLS, and takes in what other nodes forward.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use conclave_proto::peer::{ForwardRequest, ForwardResponse, Header};
use conclave_proto::wire;
use tokio::time::Instant;

use super::Service;
use super::answer::{Answer, Body};
use super::body::{Body as CallBody, Budget};
use super::call::{Call, CallHeaders};
use super::failure::Failure;
use super::route;
use super::write::{Attempt, overtaken};
use crate::cluster::Cluster;
use crate::http::{
    canonical_path, check_target, idempotency_key, is_request_id, method, parse_query, wrap_ttl_s,
};
use crate::raft::peers::PeerError;

/// Retry-After as it travels in a forwarded answer, in seconds.
const HEADER_RETRY_AFTER: &str = "retry-after";
/// Bytes of the name that a node gives to one attempt to change something.
pub const ATTEMPT_ID_BYTES: usize = 16;

/// What came of carrying a request to the leader.
pub enum Forwarded {
    Answered(Answer),
    /// It was not executed there: try again, there or elsewhere.
    NotTaken,
    /// The leader was lost with the request on its way.
    Unknown,
}

impl Service {
    pub(super) async fn forward(
        &self,
        cluster: &Cluster,
        leader: u64,
        call: &Call,
        attempt: &Bytes,
        deadline: Instant,
    ) -> Forwarded {
        let request = to_wire(call, attempt);
        match cluster.peers.forward(leader, request, deadline).await {
            Ok(response) => Forwarded::Answered(from_wire(response)),
            Err(PeerError::NotSent(_) | PeerError::Refused(_)) => Forwarded::NotTaken,
            Err(PeerError::Unknown(_)) => Forwarded::Unknown,
        }
    }

    /// Executes what another node forwarded. `None`: this node does not lead, or cannot decide; nothing was done.
    pub async fn answer_forwarded(
        self: &Arc<Self>,
        request: ForwardRequest,
    ) -> Result<ForwardResponse, Unanswered> {
        let cluster = self.node.cluster().ok_or(Unanswered::NotTaken)?;
        if cluster.leader() != Some(cluster.node_id) || cluster.fence.is_fenced() {
            return Err(Unanswered::NotTaken);
        }
        let deadline = Instant::now() + self.node.config.request_wait;
        let answer = match forwarded_call(request, &self.body_budget) {
            Err(failure) => Answer::failure(&failure),
            Ok((route, call)) => match self.attempt(&cluster, route, &call, deadline).await {
                Ok(answer) => answer,
                Err(Attempt::Failed(failure)) => Answer::failure(&failure),
                Err(Attempt::Overtaken) => Answer::failure(&overtaken()),
                Err(Attempt::NotHere) => return Err(Unanswered::NotTaken),
                Err(Attempt::Unknown) => return Err(Unanswered::Unknown),
            },
        };
        Ok(answer_to_wire(answer))
    }
}

/// The other node checked the request; this one checks it again, since it is the one that acts on it.
pub fn forwarded_call(
    request: ForwardRequest,
    budget: &Arc<Budget>,
) -> Result<(&'static route::Route, Call), Failure> {
    let (raw_path, raw_query) = request.uri.split_once('?').unwrap_or((&request.uri, ""));
    let path = canonical_path(raw_path)?;
    let query = parse_query(raw_query)?;
    let operation = method::operation(&request.method)?;
    check_target(operation, &path)?;
    let route = route::find(operation, &path)?;
    if !is_request_id(&request.request_id) || request.attempt_id.len() != ATTEMPT_ID_BYTES {
        return Err(Failure::invalid("the forwarded request is not named as nodes name them"));
    }
    let mut headers = CallHeaders::default();
    let mut certificates: Option<Vec<Bytes>> = None;
    for Header { name, value } in &request.headers {
        let certificate = value;
        let value = || {
            let text = std::str::from_utf8(value);
            text.map_err(|_| Failure::invalid("a forwarded header is not text"))
        };
        match name.as_str() {
            wire::HEADER_TOKEN => headers.token = Some(value()?.to_owned().into()),
            wire::HEADER_IDEMPOTENCY_KEY => headers.idempotency_key = Some(idempotency_key(value()?)?),
            MERGE_PATCH => headers.merge_patch = true,
            CLIENT_CERTIFICATE => {
                let shown = certificates.get_or_insert_default();
                shown.extend(Some(certificate).filter(|one| !one.is_empty()).cloned());
            }
            wire::HEADER_WRAP_TTL => headers.wrap_ttl_s = wrap_ttl_s(value()?)?,
            wire::HEADER_MFA => headers.codes.add_header(value()?)?,
            _ => {}
        }
    }
    let call = Call {
        operation,
        head: false,
        path,
        query,
        headers,
        body: CallBody::received(request.body, budget)?,
        upload: Default::default(),
        client: request.client_addr.parse().ok(),
        certificates: certificates.map(Into::into),
        request_id: request.request_id,
        attempt: OnceLock::from(request.attempt_id),
        password: Default::default(),
        errands: Default::default(),
        trace: None,
        uri: request.uri,
    };
    Ok((route, call))
}

/// Why a forwarded request has no answer.
pub enum Unanswered {
    NotTaken,
    Unknown,
}

/// Stands for the content type of a merge patch.
const MERGE_PATCH: &str = "merge-patch";
/// What a client has shown in its handshake with the node that forwards, one each; an empty one says that there was a
/// handshake. No header of a client's request becomes one of these: nodes say what they have seen themselves.
const CLIENT_CERTIFICATE: &str = "client-certificate";

/// The request as it travels to the leader, which reads it with [`forwarded_call`].
pub fn to_wire(call: &Call, attempt: &Bytes) -> ForwardRequest {
    let mut headers = Vec::with_capacity(3);
    let mut push = |name: &str, value: &str| {
        headers.push(Header { name: name.to_owned(), value: Bytes::copy_from_slice(value.as_bytes()) });
    };
    if let Some(token) = &call.headers.token {
        push(wire::HEADER_TOKEN, token.expose());
    }
    if let Some(key) = &call.headers.idempotency_key {
        push(wire::HEADER_IDEMPOTENCY_KEY, key);
    }
    if let Some(ttl_s) = call.headers.wrap_ttl_s {
        push(wire::HEADER_WRAP_TTL, &ttl_s.to_string());
    }
    for code in call.headers.codes.to_headers() {
        push(wire::HEADER_MFA, &code);
    }
    if call.headers.merge_patch {
        push(MERGE_PATCH, "");
    }
    if let Some(shown) = &call.certificates {
        let one = |value: &Bytes| Header { name: CLIENT_CERTIFICATE.to_owned(), value: value.clone() };
        headers.push(one(&Bytes::new()));
        headers.extend(shown.iter().map(one));
    }
    ForwardRequest {
        method: method::method(call.operation).to_owned(),
        uri: call.uri.clone(),
        headers,
        body: call.body.bytes().clone(),
        client_addr: call.client.map(|addr| addr.to_string()).unwrap_or_default(),
        request_id: call.request_id.clone(),
        attempt_id: attempt.clone(),
    }
}

fn answer_to_wire(answer: Answer) -> ForwardResponse {
    let body = match answer.body {
        Body::Whole(bytes) => bytes,
        // Only what a node answers about itself is streamed, and that is never forwarded.
        Body::Stream(_) => Bytes::new(),
    };
    let headers = answer.retry_after.map(|pause| Header {
        name: HEADER_RETRY_AFTER.to_owned(),
        value: Bytes::from(pause.as_secs().to_string()),
    });
    ForwardResponse {
        status: u32::from(answer.status),
        headers: headers.into_iter().collect(),
        body,
        index: answer.index.unwrap_or_default(),
    }
}

fn from_wire(response: ForwardResponse) -> Answer {
    let status = u16::try_from(response.status).unwrap_or(500);
    let mut answer = Answer::new(status, response.body);
    answer.index = (response.index > 0).then_some(response.index);
    answer.retry_after = response
        .headers
        .iter()
        .find(|header| header.name == HEADER_RETRY_AFTER)
        .and_then(|header| std::str::from_utf8(&header.value).ok()?.parse().ok())
        .map(Duration::from_secs);
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> ForwardRequest {
        let header = |name: &str, value: &'static str| Header { name: name.to_owned(), value: value.into() };
        ForwardRequest {
            method: "POST".to_owned(),
            uri: "/v1/secret/data/a%20b?version=1".to_owned(),
            headers: vec![
                header(wire::HEADER_TOKEN, "s.x"),
                header(wire::HEADER_IDEMPOTENCY_KEY, "k"),
                header(wire::HEADER_WRAP_TTL, "60"),
                header(wire::HEADER_MFA, "m1:123456"),
                header(wire::HEADER_MFA, "m2"),
                header(CLIENT_CERTIFICATE, ""),
                header(CLIENT_CERTIFICATE, "leaf"),
                header(CLIENT_CERTIFICATE, "authority"),
            ],
            body: Bytes::from_static(b"{}"),
            client_addr: "10.0.0.1:5000".to_owned(),
            request_id: "r-1".to_owned(),
            attempt_id: Bytes::from_static(&[7; ATTEMPT_ID_BYTES]),
        }
    }

    fn read(request: ForwardRequest) -> Result<(&'static route::Route, Call), Failure> {
        forwarded_call(request, &Arc::default())
    }

    #[test]
    fn a_forwarded_request_is_read_as_it_was_sent() {
        let (route, call) = read(request()).unwrap();
        assert_eq!((route.action, call.path.as_str()), (route::Action::Secret, "secret/data/a b"));
        assert_eq!((call.headers.idempotency_key.as_deref(), call.headers.wrap_ttl_s), (Some("k"), Some(60)));
        assert!(to_wire(&call, &request().attempt_id) == request());
    }

    #[test]
    fn a_forwarded_request_is_held_to_what_a_client_may_send() {
        let key = |value: &[u8]| Header {
            name: wire::HEADER_IDEMPOTENCY_KEY.to_owned(),
            value: Bytes::copy_from_slice(value),
        };
        let long = [b'k'; wire::IDEMPOTENCY_KEY_BYTES_MAX + 1];
        for bad in [
            ForwardRequest { uri: "/v1/a//b".to_owned(), ..request() },
            ForwardRequest { uri: "/v1/secret/data/".to_owned(), ..request() },
            ForwardRequest { method: "TRACE".to_owned(), ..request() },
            ForwardRequest { request_id: "a\",\"data\":\"b".to_owned(), ..request() },
            ForwardRequest { attempt_id: Bytes::new(), ..request() },
            ForwardRequest { headers: vec![key(b"")], ..request() },
            ForwardRequest { headers: vec![key(&long)], ..request() },
            ForwardRequest { headers: vec![key(b"\xff")], ..request() },
        ] {
            let refusal = read(bad).map(|_| ()).unwrap_err();
            assert!((400..=405).contains(&refusal.status()), "{refusal}");
        }
    }
}

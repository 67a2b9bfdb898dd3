//! Requests as clients send them, and what their answers say, as the oracle wants it.

use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use conclave_node::http::parse_head;
use conclave_node::service::{Answer, AnswerBody, Body, Call, Consistency};
use conclave_oracle::history::{self, Action, Freshness, Outcome};
use conclave_proto::wire::{HEADER_IDEMPOTENCY_KEY, HEADER_TOKEN};
use http::{HeaderMap, HeaderValue, Method, Uri};
use serde_json::{Value, json};

use crate::host::ROOT_TOKEN;

/// As the server words them: not known, not available, removed from the cluster.
const STATUS_UNKNOWN: u16 = 504;
const STATUS_UNAVAILABLE: u16 = 503;
const STATUS_REMOVED: u16 = conclave_node::service::STATUS_REMOVED;

/// # Errors
/// The server would not take it for a request.
pub fn call(method: &Method, path: &str, headers: &[(&'static str, String)], body: &Value) -> Result<Call> {
    let uri: Uri = format!("/v1/{path}").parse()?;
    let mut map = HeaderMap::new();
    map.insert(HEADER_TOKEN, HeaderValue::from_static(ROOT_TOKEN));
    for (name, value) in headers {
        map.insert(*name, value.parse()?);
    }
    let head = parse_head(method, &uri, &map, "simulated".to_owned());
    let call = head.map_err(|failure| anyhow!("{failure}"))?;
    let bytes = if body.is_null() { Vec::new() } else { serde_json::to_vec(body)? };
    let body = Body::received(bytes.into(), &Default::default()).map_err(|failure| anyhow!("{failure}"))?;
    Ok(Call { body, ..call })
}

/// The request that an action of the oracle's is.
///
/// # Errors
/// It is none that this harness sends.
pub fn of_action(action: &Action) -> Result<Call> {
    let path = |key: &str| format!("secret/data/{key}");
    match action {
        Action::Read { key, freshness } => {
            let mut call = call(&Method::GET, &path(key), &[], &Value::Null)?;
            if let Freshness::Stale { bound_ms } = freshness {
                call.headers.consistency = Consistency::Stale { bound: Duration::from_millis(*bound_ms) };
            }
            Ok(call)
        }
        Action::Write { key, value, cas, idempotency_key } => {
            let options = cas.map_or(json!({}), |cas| json!({ "cas": cas }));
            let name = idempotency_key.clone().map(|name| (HEADER_IDEMPOTENCY_KEY, name));
            let headers: Vec<_> = name.into_iter().collect();
            call(
                &Method::PUT,
                &path(key),
                &headers,
                &json!({ "data": { "value": value }, "options": options }),
            )
        }
        Action::Delete { key } => call(&Method::DELETE, &path(key), &[], &Value::Null),
        Action::Undelete { .. }
        | Action::Destroy { .. }
        | Action::ReadVersion { .. }
        | Action::List { .. }
        | Action::Access(_) => Err(anyhow!("not sent here")),
    }
}

/// What an answer's body says.
///
/// # Errors
/// It is not JSON, or a download.
pub fn json_of(answer: &Answer) -> Result<Value> {
    match &answer.body {
        AnswerBody::Whole(bytes) if bytes.is_empty() => Ok(Value::Null),
        AnswerBody::Whole(bytes) => serde_json::from_slice(bytes).context("the answer is not JSON"),
        AnswerBody::Stream(_) => Err(anyhow!("a download")),
    }
}

/// What is known after this answer.
///
/// # Errors
/// The answer cannot be read.
pub fn outcome(action: &Action, answer: &Answer) -> Result<Outcome> {
    let body = json_of(answer)?;
    let nothing_there = body["errors"].as_array().is_none_or(Vec::is_empty);
    let done = match (answer.status, action) {
        (200..300, _) => true,
        (404, Action::Read { .. }) if nothing_there => true,
        (STATUS_UNKNOWN, _) => return Ok(Outcome::Unknown),
        (400..500 | STATUS_UNAVAILABLE | STATUS_REMOVED, _) => false,
        _ => return Ok(Outcome::Unknown),
    };
    if !done {
        return Ok(Outcome::Failed { status: answer.status });
    }
    let data = &body["data"];
    let stale_for_ms = answer.stale_for.map(|age| age.as_millis() as u64);
    let mut told = history::Answer { index: answer.index, stale_for_ms, ..history::Answer::default() };
    match action {
        Action::Read { .. } => {
            told.value = data["data"]["value"].as_u64();
            told.version = data["metadata"]["version"].as_u64();
        }
        Action::Write { .. } => told.version = data["version"].as_u64(),
        _ => {}
    }
    Ok(Outcome::Ok(told))
}

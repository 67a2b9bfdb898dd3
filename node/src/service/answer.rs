//! What the service answers: a status, a body and a few headers, in Vault's envelope where Vault has one.

use std::time::Duration;

use bytes::Bytes;
use conclave_core::plan::Reply;
use serde::Serialize;
use serde_json::Value;
use tokio::sync::mpsc;

use super::failure::Failure;
use crate::limit::Allowance;
use crate::metrics;

/// An answer, before it becomes HTTP or travels back through the node that forwarded the request.
pub struct Answer {
    pub status: u16,
    pub body: Body,
    pub content_type: &'static str,
    /// The index that the answer was made from, or at which its effect can be read.
    pub index: Option<u64>,
    /// Set on a stale answer: how old it may be.
    pub stale_for: Option<Duration>,
    pub retry_after: Option<Duration>,
    /// What the client may still ask, if it is to be told.
    pub allowance: Option<Allowance>,
    /// A download's file name.
    pub attachment: Option<&'static str>,
}

/// Whole, or made while it is sent.
pub enum Body {
    Whole(Bytes),
    Stream(mpsc::Receiver<Result<Bytes, std::io::Error>>),
}

pub const JSON: &str = "application/json";

impl Answer {
    pub fn new(status: u16, body: impl Into<Bytes>) -> Self {
        Self {
            status,
            body: Body::Whole(body.into()),
            content_type: JSON,
            index: None,
            stale_for: None,
            retry_after: None,
            allowance: None,
            attachment: None,
        }
    }

    pub fn no_content() -> Self {
        Self::new(204, Bytes::new())
    }

    /// JSON without an envelope, as health, seal-status and init answer.
    pub fn bare(status: u16, value: &impl Serialize) -> Self {
        Self::new(status, to_json(value))
    }

    pub fn failure(failure: &Failure) -> Self {
        #[derive(Serialize)]
        struct Errors {
            errors: Vec<String>,
        }
        if let Some(bound) = failure.bound() {
            metrics::refused(bound);
        }
        let mut answer = Self::bare(failure.status(), &Errors { errors: failure.sentences() });
        answer.retry_after = failure.retry_after();
        answer
    }

    /// Vault's envelope around an engine's reply.
    pub fn enveloped(request_id: &str, reply: &Reply, stale_for: Option<Duration>) -> Self {
        let says_something = reply.data.is_some()
            || reply.auth.is_some()
            || reply.wrap_info.is_some()
            || !reply.warnings.is_empty();
        if reply.status == 204 || reply.status == 202 && !says_something {
            return Self { status: reply.status, stale_for, ..Self::no_content() };
        }
        // What was laid aside is no answer to this request yet.
        let request_id = if reply.wrap_info.is_some() { "" } else { request_id };
        let data = reply.data.as_deref().map_or(&b"null"[..], Vec::as_slice);
        let mut warnings = reply.warnings.clone();
        if let Some(age) = stale_for {
            warnings.push(format!("this answer is stale: it may be up to {} ms old", age.as_millis()));
        }
        let mut body = Vec::with_capacity(data.len() + 256);
        body.extend_from_slice(b"{\"request_id\":\"");
        body.extend_from_slice(request_id.as_bytes());
        body.extend_from_slice(b"\",\"lease_id\":\"\",\"renewable\":false,\"lease_duration\":");
        body.extend_from_slice(reply.lease_duration_s.to_string().as_bytes());
        body.extend_from_slice(b",\"data\":");
        body.extend_from_slice(data);
        body.extend_from_slice(b",\"wrap_info\":");
        body.extend_from_slice(reply.wrap_info.as_deref().map_or(&b"null"[..], Vec::as_slice));
        body.extend_from_slice(b",\"warnings\":");
        if warnings.is_empty() {
            body.extend_from_slice(b"null");
        } else {
            let list = serde_json::to_vec(&warnings).expect("texts always become JSON");
            body.extend_from_slice(&list);
        }
        body.extend_from_slice(b",\"auth\":");
        body.extend_from_slice(reply.auth.as_deref().map_or(&b"null"[..], Vec::as_slice));
        body.extend_from_slice(b"}\n");
        Self { stale_for, ..Self::new(reply.status, body) }
    }

    /// The envelope of `sys` paths, where Vault repeats the fields of `data` at the top for old clients.
    pub fn doubled(request_id: &str, data: &Value, warnings: &[String]) -> Self {
        let mut top = serde_json::json!({
            "request_id": request_id, "lease_id": "", "renewable": false, "lease_duration": 0,
            "wrap_info": null, "warnings": (!warnings.is_empty()).then_some(warnings), "auth": null,
        });
        if let (Some(top), Some(fields)) = (top.as_object_mut(), data.as_object()) {
            for (name, value) in fields {
                top.entry(name).or_insert_with(|| value.clone());
            }
            top.insert("data".to_owned(), data.clone());
        }
        Self::bare(200, &top)
    }
}

fn to_json(value: &impl Serialize) -> Bytes {
    let mut text = serde_json::to_vec(value).expect("answers have string keys and serialise");
    text.push(b'\n');
    text.into()
}

//! One attempt at one node: send, read the answer within bounds, and say how it went.

use std::error::Error as _;
use std::time::Duration;

use bytes::Bytes;
use conclave_proto::wire::{HEADER_INDEX, HEADER_NODE, HEADER_STALE_FOR};
use reqwest::header::{HeaderMap, RETRY_AFTER};
use reqwest::{RequestBuilder, Response};
use serde_json::Value;

use crate::answer::Answer;
use crate::error::{Error, NodeFailure, Refusal};
use crate::retry::Outcome;

/// The largest answer that is read, in bytes.
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;

/// A failed attempt: how, and the error to tell if it was the last.
pub(crate) struct Failure {
    pub outcome: Outcome,
    pub error: Error,
}

/// What an attempt needs to know of its request.
pub(crate) struct Attempt<'a> {
    pub address: &'a str,
    pub changes: bool,
    pub any_status: bool,
    pub idempotency_key: Option<&'a str>,
    pub timeout: Duration,
}

impl Attempt<'_> {
    pub async fn run(&self, request: RequestBuilder) -> Result<Answer, Failure> {
        let response = request.timeout(self.timeout).send().await.map_err(|error| self.unanswered(error))?;
        self.read(response).await
    }

    /// Reads an answer whole; a refusal becomes a failure.
    pub async fn read(&self, mut response: Response) -> Result<Answer, Failure> {
        let status = response.status().as_u16();
        let retry_after = retry_after(response.headers());
        let mut answer = Answer {
            status,
            index: header(response.headers(), HEADER_INDEX).and_then(|text| text.parse().ok()),
            node: header(response.headers(), HEADER_NODE),
            stale_for: header(response.headers(), HEADER_STALE_FOR),
            body: Value::Null,
        };
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| self.unanswered(error))? {
            if body.len() + chunk.len() > ANSWER_BYTES_MAX {
                return Err(self.unusable(status, &format!("it is larger than {ANSWER_BYTES_MAX} bytes")));
            }
            body.extend_from_slice(&chunk);
        }
        let good = self.any_status || (200..300).contains(&status);
        match parse(body.into()) {
            Ok(value) => answer.body = value,
            Err(()) if good => return Err(self.unusable(status, "it is not JSON")),
            // A proxy's page, perhaps: the status says enough.
            Err(()) => {}
        }
        if good { Ok(answer) } else { Err(self.refused(answer, retry_after)) }
    }

    fn refused(&self, answer: Answer, retry_after: Option<Duration>) -> Failure {
        let status = answer.status;
        let refusal = Refusal {
            address: self.address.to_owned(),
            errors: answer.errors(),
            answer,
            // A node that lost its leader, or a gateway, cannot tell what became of a change.
            uncertain: self.changes && (500..600).contains(&status) && status != 501,
        };
        Failure { outcome: Outcome::Status { status, retry_after }, error: Error::Refused(Box::new(refusal)) }
    }

    fn unusable(&self, status: u16, reason: &str) -> Failure {
        Failure {
            // The node has done its work: a repeat would bring the same.
            outcome: Outcome::Status { status, retry_after: None },
            error: Error::Answer { address: self.address.to_owned(), reason: reason.to_owned() },
        }
    }

    pub fn unanswered(&self, error: reqwest::Error) -> Failure {
        let not_sent = error.is_connect() || error.is_builder();
        let address = self.address.to_owned();
        let reason = reason_of(error);
        if not_sent || !self.changes {
            let outcome = if not_sent { Outcome::NotSent } else { Outcome::Lost };
            return Failure {
                outcome,
                error: Error::Unreachable { failures: vec![NodeFailure { address, reason }] },
            };
        }
        let idempotency_key = self.idempotency_key.map(str::to_owned);
        Failure { outcome: Outcome::Lost, error: Error::Unknown { address, reason, idempotency_key } }
    }
}

/// The innermost reason of a transport error, without the URL, which holds the path.
pub(crate) fn reason_of(error: reqwest::Error) -> String {
    if error.is_timeout() {
        let doing = if error.is_connect() { "the connection" } else { "the answer" };
        return format!("{doing} took too long");
    }
    let error = error.without_url();
    let mut reason = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        reason = inner.to_string();
        source = inner.source();
    }
    reason
}

fn parse(body: Bytes) -> Result<Value, ()> {
    if body.is_empty() { Ok(Value::Null) } else { serde_json::from_slice(&body).map_err(|_| ()) }
}

fn header(headers: &HeaderMap, name: &str) -> Option<String> {
    Some(headers.get(name)?.to_str().ok()?.to_owned())
}

/// Seconds only: no server of ours sends a date.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    header(headers, RETRY_AFTER.as_str())?.parse().ok().map(Duration::from_secs)
}

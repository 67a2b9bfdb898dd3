//! A request as the service sees it: parsed, bounded and canonical, whether a client sent it or a node forwarded it.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use conclave_core::auth::PasswordDone;
use conclave_core::auth::mfa::Codes;
use conclave_core::errand::Errands;
use conclave_core::plan::{Operation, Query};
use conclave_proto::secret::Secret;
use hyper::body::Incoming;
use parking_lot::Mutex;
use serde_json::{Map, Value};

use super::body::Body;
use super::failure::Failure;
use super::recorded::Trace;

/// One request to `/v1/...`.
pub struct Call {
    pub operation: Operation,
    /// HEAD: the answer goes without its body.
    pub head: bool,
    /// Decoded and canonical, without `/v1/`; a list may end in one slash.
    pub path: String,
    /// Path and query as they came, to forward them unchanged.
    pub uri: String,
    pub query: Query,
    pub headers: CallHeaders,
    pub body: Body,
    /// A body too large for memory, not read yet.
    pub upload: Mutex<Option<Incoming>>,
    pub client: Option<SocketAddr>,
    /// What the client has shown in the TLS handshake, its own first; `None`: there was none.
    pub certificates: Option<Arc<[Bytes]>>,
    pub request_id: String,
    /// Names a write that may be repeated, so that it is applied at most once: set when it is forwarded.
    pub attempt: OnceLock<Bytes>,
    /// What came of hashing or checking this request's password: done once, however often it is planned.
    pub password: Mutex<Option<PasswordDone>>,
    /// What other servers answered for this request: each is asked once, however often it is planned.
    pub errands: Mutex<Errands>,
    /// What its audit records will tell, if there is a trail at this node and a client of this node asked.
    pub trace: Option<Trace>,
}

/// The headers that mean something.
#[derive(Default)]
pub struct CallHeaders {
    pub token: Option<Secret<String>>,
    pub consistency: Consistency,
    pub idempotency_key: Option<String>,
    pub merge_patch: bool,
    /// The answer is to be wrapped for so long, in seconds.
    pub wrap_ttl_s: Option<u64>,
    /// Of other factors, sent with a login.
    pub codes: Codes,
}

/// How fresh an answer must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Consistency {
    /// As if there were one node: the default.
    #[default]
    Linearizable,
    /// This node's own state, if it is not older than this.
    Stale { bound: Duration },
}

impl Call {
    /// The token, or the refusal of an anonymous caller.
    pub fn token(&self) -> Result<&str, Failure> {
        self.headers.token.as_ref().map(|token| token.expose().as_str()).ok_or(Failure::Denied)
    }

    /// The body as a JSON object, parsed when this is first called: check the token before.
    pub fn json(&self) -> Result<&Map<String, Value>, Failure> {
        self.body.json()
    }

    /// The body of an upload; only once.
    pub fn take_upload(&self) -> Option<Incoming> {
        self.upload.lock().take()
    }

    pub fn changes(&self) -> bool {
        self.operation.changes()
    }
}

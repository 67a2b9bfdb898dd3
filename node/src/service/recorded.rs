//! The audit records of a request: one before its effect, one before its answer (I9).
//!
//! The node that a client asked writes both, whoever decides. A request that can have no effect has nothing that a
//! record must come before, so both of its records are written together, while the answer waits.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use conclave_core::audit::{self, Answered, Asked, Caller, MountPoint, Record, Salt};
use conclave_core::engine::mount::MountTable;
use serde::Deserialize;
use tokio::time::Instant;

use super::Service;
use super::answer::{Answer, Body};
use super::call::Call;
use super::failure::Failure;
use super::plan::{self, Seen};
use super::route::{Action, Place, Route};
use crate::audit::{Trail, wall_clock_ns};
use crate::http::method;
use crate::seal::Unsealed;

/// How long the record of an act may wait for this node to know whether a token that it does not know is valid.
const LOOK_TIMEOUT: Duration = Duration::from_secs(1);
/// What stands in clear of a request that its token does not allow.
const DENIED: &str = "permission denied";

type Found = Result<&'static Route, Failure>;

/// What this node knew of a request and its caller.
#[derive(Default)]
struct Known {
    /// The keys of before the request: it may be the one that seals the node.
    unsealed: Option<Arc<Unsealed>>,
    seen: Seen,
}

/// Whether a request leaves records. Who polls a node's state needs no token, and would only fill the trail.
pub fn is_recorded(found: &Found) -> bool {
    let action = found.as_ref().ok().map(|route| route.action);
    !matches!(action, Some(Action::Health | Action::SealStatus | Action::Leader | Action::InitStatus))
}

impl Service {
    /// Answers a request, and leaves its records.
    pub(super) async fn recorded(self: &Arc<Self>, trail: &Trail, found: &Found, call: &Call) -> Answer {
        let acts = call.changes() || found.as_ref().is_ok_and(|route| route.place != Place::State);
        let mut known = self.look(call);
        if !acts {
            let arrived_ns = wall_clock_ns();
            let answer = self.decided(found, call).await;
            if known.seen.caller.is_none() {
                // Only now is this node's state as new as the cluster's.
                known = self.look(call);
            }
            let records = known.records(trail, call);
            let done = leave(
                trail,
                &records,
                known.salts(trail),
                &answer,
                known.plain(call),
                Some((arrived_ns, known.error(found, call))),
            );
            return done.await.map_or_else(|()| Answer::failure(&Failure::Unrecorded), |()| answer);
        }
        if known.is_puzzled(call) {
            self.catch_up().await;
            known = self.look(call);
        }
        let records = known.records(trail, call);
        let error = known.error(found, call);
        let asked = trail.record(|device| vec![records[device].request(wall_clock_ns(), error)]).await;
        if asked.is_err() {
            return Answer::failure(&Failure::Unrecorded);
        }
        let answer = self.decided(found, call).await;
        let done = leave(trail, &records, known.salts(trail), &answer, known.plain(call), None);
        done.await.map_or_else(|()| Answer::failure(&Failure::AnswerUnrecorded), |()| answer)
    }

    /// Leaves the records of a request that was refused before it could be understood.
    pub async fn refused(
        &self,
        request_id: &str,
        client: SocketAddr,
        asked_for: &(hyper::Method, String),
        failure: &Failure,
    ) -> Answer {
        let answer = Answer::failure(failure);
        let Some(trail) = self.node.audit() else { return answer };
        let (method, path) = asked_for;
        let known = Known { unsealed: self.unsealed(), seen: Seen::default() };
        let asked = Asked {
            id: request_id,
            operation: method::operation(method.as_str()).map_or("unknown", audit::operation_name),
            path: path.strip_prefix("/v1/").unwrap_or(path),
            client: Some(client),
            token: None,
            caller: None,
            mount: None,
            body: None,
            query: &[],
        };
        let salts = known.salts(trail);
        let records = write(trail, salts, &asked);
        let done = leave(trail, &records, salts, &answer, &[], Some((wall_clock_ns(), None))).await;
        done.map_or_else(|()| Answer::failure(&Failure::Unrecorded), |()| answer)
    }

    fn unsealed(&self) -> Option<Arc<Unsealed>> {
        self.node.cluster().and_then(|cluster| cluster.seal.unsealed())
    }

    /// What this node's own state says of the caller; nothing is decided by it.
    fn look(&self, call: &Call) -> Known {
        let Some(cluster) = self.node.cluster() else { return Known::default() };
        let Some(unsealed) = cluster.seal.unsealed() else { return Known::default() };
        let seen = plan::look(&cluster, call).unwrap_or_default();
        Known { unsealed: Some(unsealed), seen }
    }

    async fn catch_up(&self) {
        let Some(cluster) = self.node.cluster() else { return };
        if cluster.leader().is_some() {
            let _unproven = cluster.barrier.read_point(Instant::now() + LOOK_TIMEOUT).await;
        }
    }
}

impl Known {
    /// Whether the cluster may know the token, though this node does not.
    fn is_puzzled(&self, call: &Call) -> bool {
        self.unsealed.is_some() && self.seen.caller.is_none() && call.headers.token.is_some()
    }

    fn salts(&self, trail: &Trail) -> Option<&[Salt]> {
        let unsealed = self.unsealed.as_ref()?;
        Some(unsealed.caches.audit_salts.get_or_init(|| trail.salts(&unsealed.barrier)))
    }

    fn records(&self, trail: &Trail, call: &Call) -> Vec<Record> {
        let caller = self.seen.caller.as_ref().map(|(entry, allowed)| Caller {
            accessor: &entry.accessor,
            display_name: &entry.display_name,
            policies: &entry.policies,
            issued_ms: entry.created_ms,
            ttl_ms: entry.ttl_ms,
            allowed: *allowed,
        });
        // A stranger's body is not worth reading.
        let reads_body = caller.is_some() && call.changes() && call.json().is_ok();
        let asked = Asked {
            id: &call.request_id,
            operation: audit::operation_name(call.operation),
            path: &call.path,
            client: call.client,
            token: call.headers.token.as_ref().map(|token| token.expose().as_str()),
            mount: self.mount(call),
            caller,
            body: reads_body.then(|| call.body.bytes().as_ref()),
            query: &call.query.0,
        };
        write(trail, self.salts(trail), &asked)
    }

    fn mount(&self, call: &Call) -> Option<MountPoint<'_>> {
        if call.path.starts_with("auth/token/") {
            return Some(MountPoint { path: "auth/token/", engine_type: "token", ..MountPoint::default() });
        }
        let mount = self.table()?.resolve_shown(&call.path)?;
        Some(MountPoint {
            path: mount.path(),
            engine_type: mount.engine_type(),
            accessor: mount.accessor(),
            plain_request_keys: mount.audit_plain_request_keys(),
        })
    }

    /// What the mount's owner wants to read of answers.
    fn plain(&self, call: &Call) -> &[String] {
        let mount = self.table().and_then(|table| table.resolve_shown(&call.path));
        mount.map_or(&[], |mount| mount.audit_plain_response_keys())
    }

    fn table(&self) -> Option<&MountTable> {
        self.seen.mounts.as_deref()
    }

    /// Why it is already known that the request will be refused.
    fn error(&self, found: &Found, call: &Call) -> Option<&'static str> {
        let is_open = found.as_ref().is_ok_and(|route| route.open);
        let denied = match &self.seen.caller {
            Some((_, allowed)) => !allowed,
            None => self.unsealed.is_some() && !(is_open && call.headers.token.is_none()),
        };
        denied.then_some(DENIED)
    }
}

fn write(trail: &Trail, salts: Option<&[Salt]>, asked: &Asked<'_>) -> Vec<Record> {
    (0..trail.len()).map(|device| asked.write(salts.map(|salts| &salts[device]))).collect()
}

/// Leaves the record of an answer, behind that of its request if that is still to be left: with the time of its arrival,
/// and why it was known to be refused.
async fn leave(
    trail: &Trail,
    records: &[Record],
    salts: Option<&[Salt]>,
    answer: &Answer,
    plain: &[String],
    request: Option<(i128, Option<&'static str>)>,
) -> Result<(), ()> {
    let body: &[u8] = match &answer.body {
        Body::Whole(bytes) => bytes,
        // A backup is as large as the state, and sealed.
        Body::Stream(_) => &[],
    };
    let refusal = refusal(answer.status, body);
    let data = refusal.is_none().then(|| data(body)).flatten();
    let answered = Answered { status: answer.status, index: answer.index, data, refusal: refusal.as_deref() };
    let now = wall_clock_ns();
    let written = trail.record(|device| {
        let salt = salts.map(|salts| &salts[device]);
        let response = records[device].response(now, salt, plain, &answered);
        let request = request.map(|(arrived_ns, error)| records[device].request(arrived_ns, error));
        request.into_iter().chain([response]).collect()
    });
    written.await.map_err(|_| ())
}

/// The sentences of a refusal. Nothing at a path is none: it has no sentence.
fn refusal(status: u16, body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Errors {
        errors: Vec<String>,
    }
    if status < 400 {
        return None;
    }
    let Errors { errors } = serde_json::from_slice(body).ok()?;
    (!errors.is_empty()).then(|| errors.join("; "))
}

/// The data of an answer; all of it where there is no envelope.
fn data(body: &[u8]) -> Option<&[u8]> {
    let body = body.trim_ascii();
    if !body.starts_with(b"{") {
        return None;
    }
    let enveloped = audit::member(body, "request_id").is_some();
    if enveloped || audit::member(body, "errors").is_some() {
        audit::member(body, "data")
    } else {
        Some(body)
    }
}

//! The audit records of a request: one before its effect, one before its answer (I9).
//!
//! The node that a client asked writes both, whoever decides. On its way a request gathers who asked and what policy says
//! ([`Trace`]); the record of it is left just before what may have an effect: before a transaction is proposed, before the
//! leader is asked to decide, and before anything that a node does of itself. What has no effect has nothing that a record
//! must come before, so both of its records are written together, while the answer waits.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use conclave_core::audit::{self, Answered, Asked, Caller, MountPoint, Record, Salt};
use conclave_core::auth::token::{Identified, TokenEntry};
use conclave_core::engine::mount::MountTable;
use conclave_core::identity::Belonging;
use conclave_core::plan::Operation;
use parking_lot::Mutex;
use serde::Deserialize;
use tokio::time::Instant;

use super::Service;
use super::access::granting;
use super::answer::{Answer, Body};
use super::call::Call;
use super::failure::Failure;
use super::plan;
use super::route::{Action, Place, Route};
use crate::audit::{Devices, NotTaken, Salts, wall_clock_ns};
use crate::limit::TooSoon;

/// How long the record of an act may wait for this node to know whether a token that it does not know is valid.
const LOOK_TIMEOUT: Duration = Duration::from_secs(1);
/// What stands in clear of a request that its token does not allow.
const DENIED: &str = "permission denied";

type Found = Result<&'static Route, Failure>;

/// Who asked for what, as the decision found it.
#[derive(Default)]
pub struct Seen {
    pub caller: Option<Known>,
    pub mounts: Option<Arc<MountTable>>,
    /// It would make something that is not there yet.
    pub creates: bool,
    /// It needs no token: a login, or key shares. What it shows in place of one is in its body.
    pub shows_itself: bool,
}

/// Who holds the token.
pub struct Known {
    pub entry: Arc<TokenEntry>,
    pub belonging: Option<Arc<Belonging>>,
    /// The policies by which it is allowed; `None`: it is not.
    pub granted_by: Option<Vec<Arc<str>>>,
}

impl Known {
    pub fn of(caller: &Identified, call: &Call, allowed: bool, creates: bool) -> Self {
        let granted_by = allowed.then(|| granting(&caller.identity, call, creates));
        Self { entry: Arc::clone(&caller.entry), belonging: caller.belonging.clone(), granted_by }
    }
}

/// What a request gathers on its way for its records.
pub struct Trace {
    devices: Arc<Devices>,
    arrived_ns: i128,
    /// It needs no token.
    open: bool,
    /// By the keys of before the request: it may be the one that seals the node.
    salts: Option<Arc<Salts>>,
    seen: Mutex<Option<Seen>>,
    /// Set once that of the request is left.
    records: OnceLock<Vec<Record>>,
}

/// Whether a request leaves records. Who polls a node's state needs no token, and would only fill the trail.
fn is_recorded(found: &Found) -> bool {
    let action = found.as_ref().ok().map(|route| route.action);
    !matches!(action, Some(Action::Health | Action::SealStatus | Action::Leader | Action::InitStatus))
}

impl Service {
    /// What a request's records will be made of, if there is a device for them.
    pub(super) async fn trace(&self, found: &Found) -> Option<Trace> {
        if !is_recorded(found) {
            return None;
        }
        self.adopt_audit_devices().await;
        let devices = self.node.audit().devices()?;
        Some(Trace {
            salts: self.salts(&devices),
            devices,
            arrived_ns: wall_clock_ns(),
            open: found.as_ref().is_ok_and(|route| route.open),
            seen: Mutex::default(),
            records: OnceLock::new(),
        })
    }

    /// Has this node use the devices that are enabled by now.
    pub async fn adopt_audit_devices(&self) {
        let trail = self.node.audit();
        let Some(cluster) = self.node.cluster() else { return };
        match plan::audit_devices(&cluster, Some(trail.revision())) {
            Ok(None) | Err(Failure::Sealed) => {}
            Ok(Some(table)) => Box::pin(trail.adopt(table)).await,
            Err(error) => tracing::error!(%error, "the audit devices that are enabled cannot be read"),
        }
    }

    /// Answers a request, and leaves its records.
    pub(super) async fn recorded(self: &Arc<Self>, found: &Found, call: &Call, trace: &Trace) -> Answer {
        let acts = found.as_ref().is_ok_and(|route| route.place != Place::State);
        if acts && let Err(failure) = self.record_before_act(call, trace).await {
            return Answer::failure(&failure);
        }
        let answer = self.decided(found, call).await;
        let response = Response::of(&answer);
        if let Some(records) = trace.records.get() {
            let left =
                trace.leave(records, |record, salt, plain| vec![response.record(record, salt, plain)], call);
            return left.await.map_or_else(|_| Answer::failure(&Failure::AnswerUnrecorded), |()| answer);
        }
        // It has had no effect: nothing had to come before that.
        self.look(call, trace);
        let records = trace.records_of(call);
        let error = trace.error(call);
        let pair = |record: &Record, salt: Option<&Salt>, plain: &[String]| {
            vec![record.request(trace.arrived_ns, error), response.record(record, salt, plain)]
        };
        let left = trace.leave(&records, pair, call);
        left.await.map_or_else(|_| Answer::failure(&Failure::Unrecorded), |()| answer)
    }

    /// Leaves the record of a request of a client of this node, once, before what may have an effect.
    ///
    /// # Errors
    /// [`Failure::Unrecorded`].
    pub(super) async fn record_before_effect(&self, call: &Call) -> Result<(), Failure> {
        let Some(trace) = call.trace.as_ref().filter(|trace| trace.records.get().is_none()) else {
            return Ok(());
        };
        self.look(call, trace);
        let records = trace.records_of(call);
        let error = trace.error(call);
        let request =
            |record: &Record, _: Option<&Salt>, _: &[String]| vec![record.request(trace.arrived_ns, error)];
        trace.leave(&records, request, call).await.map_err(|_| Failure::Unrecorded)?;
        let _only_once = trace.records.set(records);
        Ok(())
    }

    /// The same for what this node does of itself, or the leader: nobody decides about it from the state, so this looks
    /// who asks.
    async fn record_before_act(&self, call: &Call, trace: &Trace) -> Result<(), Failure> {
        self.look(call, trace);
        if trace.is_puzzled(call) {
            self.catch_up().await;
            *trace.seen.lock() = None;
        }
        self.record_before_effect(call).await
    }

    /// Leaves the records of a request that was refused before it could be understood.
    pub async fn refused(
        &self,
        request_id: &str,
        client: SocketAddr,
        (operation, path): (&'static str, &str),
        failure: &Failure,
    ) -> Answer {
        let answer = Answer::failure(failure);
        let Some(devices) = self.node.audit().devices() else { return answer };
        let asked = Asked {
            id: request_id,
            operation,
            path,
            client: Some(client),
            token: None,
            caller: None,
            mount: None,
            body: None,
            query: &[],
        };
        let salts = self.salts(&devices);
        let salt = |device: usize| salts.as_ref().map(|salts| &salts.list()[device]);
        let (now, response) = (wall_clock_ns(), Response::of(&answer));
        let left = devices.record(|device| {
            let record = asked.write(salt(device));
            vec![record.request(now, None), response.record(&record, salt(device), &[])]
        });
        left.await.map_or_else(|_| Answer::failure(&Failure::Unrecorded), |()| answer)
    }

    /// Refuses what a rate limit does not let through, and records that if an operator wants it.
    pub(super) async fn refuse_too_soon(&self, call: &Call, too_soon: &TooSoon) -> Answer {
        let failure = Failure::TooSoon { path: call.path.clone(), retry_after: too_soon.retry_after };
        let answer = match call.client.filter(|_| too_soon.recorded) {
            Some(client) => {
                let asked_for = (audit::operation_name(call.operation), call.path.as_str());
                self.refused(&call.request_id, client, asked_for, &failure).await
            }
            None => Answer::failure(&failure),
        };
        Answer { allowance: too_soon.allowance, ..answer }
    }

    fn salts(&self, devices: &Arc<Devices>) -> Option<Arc<Salts>> {
        let unsealed = self.node.cluster()?.seal.unsealed()?;
        Some(devices.salts(&unsealed.barrier, &unsealed.caches.audit_salts))
    }

    /// What this node's own state says of the caller, unless a decision has told it.
    fn look(&self, call: &Call, trace: &Trace) {
        if trace.salts.is_none() || trace.seen.lock().is_some() {
            return;
        }
        let seen = self.node.cluster().and_then(|cluster| plan::look(&cluster, call).ok());
        *trace.seen.lock() = seen;
    }

    async fn catch_up(&self) {
        let Some(cluster) = self.node.cluster() else { return };
        if cluster.leader().is_some() {
            let _unproven = cluster.barrier.read_point(Instant::now() + LOOK_TIMEOUT).await;
        }
    }
}

impl Trace {
    /// What a decision about the request found; the last one counts.
    pub fn saw(&self, seen: Seen) {
        *self.seen.lock() = Some(seen);
    }

    /// Whether the cluster may know the token, though this node does not.
    fn is_puzzled(&self, call: &Call) -> bool {
        let is_stranger = self.seen.lock().as_ref().is_none_or(|seen| seen.caller.is_none());
        self.salts.is_some() && is_stranger && call.headers.token.is_some()
    }

    fn salt(&self, device: usize) -> Option<&Salt> {
        self.salts.as_ref().map(|salts| &salts.list()[device])
    }

    fn records_of(&self, call: &Call) -> Vec<Record> {
        let seen = self.seen.lock();
        let nothing = Seen::default();
        let seen = seen.as_ref().unwrap_or(&nothing);
        let caller = seen.caller.as_ref().map(|known| Caller {
            entry: &known.entry,
            belonging: known.belonging.as_deref(),
            granted_by: known.granted_by.as_deref(),
        });
        // A stranger's body is not worth reading.
        let reads_body = (caller.is_some() || seen.shows_itself) && call.changes() && call.json().is_ok();
        let asked = Asked {
            id: &call.request_id,
            operation: match call.operation {
                Operation::Write if seen.creates => "create",
                operation => audit::operation_name(operation),
            },
            path: &call.path,
            client: call.client,
            token: call.headers.token.as_ref().map(|token| token.expose().as_str()),
            mount: seen.mount_point(call),
            caller,
            body: reads_body.then(|| call.body.bytes().as_ref()),
            query: &call.query.0,
        };
        (0..self.devices.count()).map(|device| asked.write(self.salt(device))).collect()
    }

    /// Why it is already known that the request will be refused.
    fn error(&self, call: &Call) -> Option<&'static str> {
        let seen = self.seen.lock();
        let denied = match seen.as_ref().and_then(|seen| seen.caller.as_ref()) {
            Some(known) => known.granted_by.is_none(),
            None if seen.as_ref().is_some_and(|seen| seen.shows_itself) => false,
            None => self.salts.is_some() && !(self.open && call.headers.token.is_none()),
        };
        denied.then_some(DENIED)
    }

    /// Leaves what `lines` makes of each device's record, by its salt and what the mount's owner wants to read of answers.
    async fn leave(
        &self,
        records: &[Record],
        lines: impl Fn(&Record, Option<&Salt>, &[String]) -> Vec<Vec<u8>>,
        call: &Call,
    ) -> Result<(), NotTaken> {
        let mounts = self.seen.lock().as_ref().and_then(|seen| seen.mounts.clone());
        let mount = mounts.as_ref().and_then(|table| table.resolve_shown(&call.path));
        let plain = mount.map_or(&[][..], |mount| mount.audit_plain_response_keys());
        self.devices.record(|device| lines(&records[device], self.salt(device), plain)).await
    }
}

impl Seen {
    fn mount_point(&self, call: &Call) -> Option<MountPoint<'_>> {
        let mount = self.mounts.as_ref()?.resolve_shown(&call.path)?;
        Some(MountPoint {
            path: mount.path(),
            engine_type: mount.engine_type(),
            accessor: mount.accessor(),
            plain_request_keys: mount.audit_plain_request_keys(),
        })
    }
}

/// What an answer's record tells of it.
struct Response<'a> {
    answer: &'a Answer,
    data: Option<&'a [u8]>,
    auth: Option<&'a [u8]>,
    wrap_info: Option<&'a [u8]>,
    refusal: Option<String>,
    made_ns: i128,
}

impl<'a> Response<'a> {
    fn of(answer: &'a Answer) -> Self {
        let body: &[u8] = match &answer.body {
            Body::Whole(bytes) => bytes,
            // A backup is as large as the state, and sealed.
            Body::Stream(_) => &[],
        };
        let refusal = refusal(answer.status, body);
        let [data, auth, wrap_info] = if refusal.is_none() { contents(body) } else { [None; 3] };
        Self { answer, data, auth, wrap_info, refusal, made_ns: wall_clock_ns() }
    }

    fn record(&self, record: &Record, salt: Option<&Salt>, plain: &[String]) -> Vec<u8> {
        let answered = Answered {
            status: self.answer.status,
            index: self.answer.index,
            data: self.data,
            auth: self.auth,
            wrap_info: self.wrap_info,
            refusal: self.refusal.as_deref(),
        };
        record.response(self.made_ns, salt, plain, &answered)
    }
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

/// The data of an answer, all of it where there is no envelope; the token that it hands out, and that under which it lies.
fn contents(body: &[u8]) -> [Option<&[u8]>; 3] {
    let body = body.trim_ascii();
    if !body.starts_with(b"{") {
        return [None; 3];
    }
    let [id, errors, data, auth, wrap_info] =
        audit::members(body, ["request_id", "errors", "data", "auth", "wrap_info"]);
    if id.is_none() && errors.is_none() {
        return [Some(body), None, None];
    }
    let given = |part: Option<&'_ [u8]>| part.is_some_and(|part| part.trim_ascii() != b"null");
    [data, auth.filter(|_| given(auth)), wrap_info.filter(|_| given(wrap_info))]
}

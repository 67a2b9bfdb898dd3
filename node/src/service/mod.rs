//! The request pipeline: every request takes the same way, whichever node it came to.
//!
//! ```text
//! http -> Service::answer -> route -> the audit record before the effect, and that before the answer (recorded.rs)
//!           Here:   this node answers about itself              (here.rs, sys/)
//!           State:  read  -> read barrier -> view -> plan        (read.rs, plan.rs)
//!                   write -> view -> plan -> Raft -> answer      (write.rs, plan.rs), at whichever node was asked
//!           Leader: the leader acts on the cluster               (write.rs, sys/), forwarded once if need be (forward.rs)
//! ```
//!
//! The decision itself is pure and lives in `conclave-core`; this module brings it a view, the time and randomness, and
//! commits what it planned.

mod access;
mod answer;
mod body;
mod call;
mod failure;
mod forward;
mod here;
mod idempotency;
mod messenger;
mod order;
mod passwords;
pub mod peer;
pub mod plan;
mod quotas;
mod read;
mod recorded;
pub mod route;
pub mod sys;
mod write;

use std::sync::Arc;
use std::time::Instant;

use conclave_core::Error;
use conclave_faults::{Bug, planted};

pub use answer::{Answer, Body as AnswerBody};
pub use body::{Body, Budget, Place as BodyPlace, parse_object};
pub use call::{Call, CallHeaders, Consistency};
pub use failure::{Failure, STATUS_REMOVED};
pub use forward::{forwarded_call, to_wire};
pub use route::{Action, Place, Route, routes};

use self::messenger::Messenger;
use self::passwords::Passwords;
use crate::cluster::Cluster;
use crate::limit::{Allowance, Limits, TooSoon};
use crate::metrics;
use crate::node::Node;

/// Answers requests for one node.
pub struct Service {
    node: Arc<Node>,
    /// Keeps this node's writes to one secret in order, so that they do not conflict.
    order: order::Order,
    body_budget: Arc<Budget>,
    passwords: Passwords,
    messenger: Messenger,
    limits: Limits,
}

impl Service {
    pub fn new(node: Arc<Node>) -> Self {
        Self {
            node,
            order: order::Order::default(),
            body_budget: Arc::default(),
            passwords: Passwords::default(),
            messenger: Messenger::default(),
            limits: Limits::default(),
        }
    }

    pub fn node(&self) -> &Arc<Node> {
        &self.node
    }

    pub fn node_name(&self) -> &str {
        &self.node.config.node_name
    }

    /// The cluster, if this node takes part in one.
    ///
    /// # Errors
    /// [`Failure::NotInitialized`], [`Failure::Rejoining`].
    pub fn cluster(&self) -> Result<Arc<Cluster>, Failure> {
        self.node.cluster().ok_or_else(|| match self.node.rejoining() {
            Some(reason) => Failure::Rejoining(reason.to_string()),
            None => Failure::NotInitialized,
        })
    }

    /// The memory for bodies.
    pub fn body_budget(&self) -> &Arc<Budget> {
        &self.body_budget
    }

    /// Answers one request from a client.
    pub async fn answer(self: &Arc<Self>, call: &mut Call) -> Answer {
        let began = Instant::now();
        if planted::is(Bug::PathInLog) {
            tracing::info!(path = %call.path, "asked");
        }
        let found = route::find(call.operation, &call.path);
        let answer = match self.limit(call, began) {
            Ok(allowance) => {
                call.trace = self.trace(&found).await;
                let answer = match &call.trace {
                    None => self.decided(&found, call).await,
                    Some(trace) => Box::pin(self.recorded(&found, call, trace)).await,
                };
                Answer { allowance, ..answer }
            }
            Err(too_soon) => Box::pin(self.refuse_too_soon(call, &too_soon)).await,
        };
        let action = found.as_ref().ok().map(|route| route.action);
        let label = action
            .map_or(metrics::UNKNOWN_OPERATION, |action| metrics::operation_label(action, call.operation));
        metrics::request(label, answer.status, began.elapsed());
        tracing::debug!(
            request_id = %call.request_id,
            ?action,
            operation = ?call.operation,
            status = answer.status,
            elapsed_us = began.elapsed().as_micros() as u64,
            "answered"
        );
        answer
    }

    /// Holds a request against the rate limits, before anything is spent on it.
    fn limit(&self, call: &Call, now: Instant) -> Result<Option<Allowance>, TooSoon> {
        // A request from nowhere was made by this node itself.
        match (self.node.cluster(), call.client) {
            (Some(cluster), Some(client)) => {
                let role_of = || quotas::role_of_login(&cluster, call);
                self.limits.admit(&cluster, &call.path, role_of, client.ip(), now)
            }
            _ => Ok(None),
        }
    }

    /// The answer, as it is decided and not yet recorded.
    async fn decided(self: &Arc<Self>, found: &Result<&'static Route, Failure>, call: &Call) -> Answer {
        let route = match found {
            Ok(route) => route,
            Err(failure) => {
                return Answer::failure(&Box::pin(self.refuse_unknown(call, failure.clone())).await);
            }
        };
        self.dispatch(route, call).await.unwrap_or_else(|failure| {
            if failure.is_fault() {
                tracing::error!(request_id = %call.request_id, action = ?route.action, %failure, "a request failed");
            }
            if let Failure::Rule(Error::LeaseQuota { quota, .. }) = &failure {
                metrics::lease_refused(quota);
            }
            Answer::failure(&failure)
        })
    }

    /// What to say of a path that does not exist: strangers must not learn which do.
    async fn refuse_unknown(&self, call: &Call, failure: Failure) -> Failure {
        match self.authorized(call).await {
            Ok(_) => failure,
            Err(refusal) => refusal,
        }
    }

    async fn dispatch(self: &Arc<Self>, route: &'static Route, call: &Call) -> Result<Answer, Failure> {
        if route.place != Place::State && !route.open && call.headers.wrap_ttl_s.is_some() {
            // It is not from the state, so it cannot be laid aside there.
            return Err(plan::not_wrappable());
        }
        if route.place == Place::Here {
            return Box::pin(self.here(route, call)).await;
        }
        let cluster = self.cluster()?;
        if cluster.fence.is_fenced() {
            return Err(Failure::Fenced);
        }
        if cluster.seal.is_sealed() {
            return Err(Failure::Sealed);
        }
        match route.place {
            Place::State if !call.changes() => self.read(&cluster, route, call).await,
            _ => Box::pin(self.write(&cluster, route, call)).await,
        }
    }
}

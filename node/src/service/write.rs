//! Writes: found their way to the leader, planned there, committed through Raft, answered when applied.
//!
//! A request that arrives while there is no leader waits for one. A plan is made without asking the other nodes first:
//! what it commits names the revisions it was made from, so a stale plan cannot be applied. A decision that commits
//! nothing (an error, a repeat) has no such proof and is made again behind a read barrier.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use conclave_proto::txn::Outcome;
use tokio::time::Instant;

use super::answer::Answer;
use super::call::Call;
use super::failure::Failure;
use super::forward::{ATTEMPT_ID_BYTES, Forwarded};
use super::route::{Action, Place, Route};
use super::{Service, plan, sys};
use crate::cluster::Cluster;
use crate::raft::barrier::BarrierError;
use crate::raft::proposer::ProposeError;

/// How often a plan is made anew when another change came in between.
const PLANS_MAX: usize = 32;
/// Pause before the leader is asked again that said it is none, or that could not be reached.
const RETRY_PAUSE: Duration = Duration::from_millis(15);

/// Why the leader's own attempt has no answer.
pub enum Attempt {
    /// The answer is no.
    Failed(Failure),
    /// Nothing was done: this node does not lead, or leads but is sealed. Safe to try elsewhere.
    NotHere,
    /// It may have been done.
    Unknown,
}

impl From<Failure> for Attempt {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl From<conclave_core::Error> for Attempt {
    fn from(error: conclave_core::Error) -> Self {
        Self::Failed(error.into())
    }
}

impl Service {
    /// Takes a write to the leader, wherever that is now, and brings back its answer.
    pub(super) async fn write(
        &self,
        cluster: &Arc<Cluster>,
        route: &'static Route,
        call: &Call,
    ) -> Result<Answer, Failure> {
        let waited = self.node.config.request_wait;
        let deadline = Instant::now() + waited;
        let attempt = Bytes::copy_from_slice(&rand::random::<[u8; ATTEMPT_ID_BYTES]>());
        let mut fate_unknown = false;
        loop {
            if cluster.fence.is_fenced() {
                return Err(honest(Failure::Fenced, fate_unknown));
            }
            let outcome = match cluster.leader() {
                Some(leader) if leader == cluster.node_id => match self.attempt(cluster, route, call).await {
                    Ok(answer) => return Ok(answer),
                    Err(Attempt::Failed(failure)) => return Err(honest(failure, fate_unknown)),
                    Err(Attempt::NotHere) => Forwarded::NotTaken,
                    // Without a name that the new leader would know it by, repeating could do it twice.
                    Err(Attempt::Unknown) if call.headers.idempotency_key.is_none() => {
                        return Err(Failure::Unknown);
                    }
                    Err(Attempt::Unknown) => Forwarded::Unknown,
                },
                Some(leader) => self.forward(cluster, leader, call, &attempt, deadline).await,
                None => Forwarded::NotTaken,
            };
            match outcome {
                // A node that is too busy to decide has not decided about the first try either.
                Forwarded::Answered(answer) if fate_unknown && answer.status >= 500 => {
                    return Err(Failure::Unknown);
                }
                Forwarded::Answered(answer) => return Ok(answer),
                Forwarded::NotTaken => {}
                // The attempt has a name, so the next leader can tell whether it was made.
                Forwarded::Unknown if is_repeatable(route) => {
                    // Should this node lead next, it must know the repeat by the same name.
                    let _already_named = call.attempt.set(attempt.clone());
                    fate_unknown = true;
                }
                Forwarded::Unknown => return Err(Failure::Unknown),
            }
            if Instant::now() + RETRY_PAUSE >= deadline {
                return Err(if fate_unknown { Failure::Unknown } else { Failure::NoLeader { waited } });
            }
            cluster.leader_change(RETRY_PAUSE).await;
        }
    }

    /// Decides and commits at this node, if it leads.
    pub async fn attempt(
        &self,
        cluster: &Arc<Cluster>,
        route: &'static Route,
        call: &Call,
    ) -> Result<Answer, Attempt> {
        if cluster.seal.is_sealed() {
            return Err(Attempt::NotHere);
        }
        if route.place == Place::Leader {
            return sys::act(self, cluster, route, call).await;
        }
        let _turn = self.order.turn(&call.path).await;
        let mut proven = false;
        for _ in 0..PLANS_MAX {
            let decided = plan::decide(self, cluster, route, call, None).await;
            match decided {
                Ok(decided) if !decided.plan.txn.is_empty() => {
                    match cluster.propose(decided.plan.txn.clone()).await {
                        Ok(Outcome::Applied { revision }) => {
                            let mut answer = decided.into_answer(&call.request_id, None);
                            answer.index = Some(revision);
                            return Ok(answer);
                        }
                        Ok(Outcome::Conflict { .. }) => {}
                        Err(ProposeError::NotLeader { .. }) => return Err(Attempt::NotHere),
                        Err(ProposeError::Unknown) => return Err(Attempt::Unknown),
                        Err(ProposeError::Overloaded) => {
                            let sentence = "too many writes are waiting: try again in a moment";
                            return Err(Failure::Overloaded(sentence.to_owned()).into());
                        }
                        Err(error @ ProposeError::TooLarge) => {
                            return Err(Failure::TooLarge(error.to_string()).into());
                        }
                    }
                }
                Ok(decided) if proven => {
                    let mut answer = decided.into_answer(&call.request_id, None);
                    answer.index = Some(cluster.reader.applied_index());
                    return Ok(answer);
                }
                Err(failure) if proven => return Err(failure.into()),
                Ok(_) | Err(_) => {
                    self.prove(cluster).await?;
                    proven = true;
                }
            }
        }
        Err(Failure::Overloaded("other changes kept coming in between: try again in a moment".to_owned())
            .into())
    }

    /// Makes sure that this node's state is current, as leader.
    pub(super) async fn prove(&self, cluster: &Cluster) -> Result<(), Attempt> {
        match cluster.barrier.read_point(Instant::now() + self.node.config.request_wait).await {
            Ok(_) => Ok(()),
            Err(BarrierError::Fenced) => Err(Failure::Fenced.into()),
            Err(BarrierError::NoLeader | BarrierError::Timeout) => Err(Attempt::NotHere),
        }
    }
}

/// What to say once an earlier try may have been made: only a decision on the proven state is certain.
fn honest(failure: Failure, fate_unknown: bool) -> Failure {
    let is_decision = matches!(failure, Failure::Rule(_) | Failure::Denied | Failure::NoRoute { .. });
    if fate_unknown && !is_decision { Failure::Unknown } else { failure }
}

/// Whether the leader would know a repeat by its name. Acts on the cluster itself are idempotent by their nature,
/// but for the single-use join token.
fn is_repeatable(route: &Route) -> bool {
    route.action != Action::AdmitNode
}

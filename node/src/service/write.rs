//! Writes: planned at the node that was asked, committed by the leader through Raft, answered when this node has applied
//! them.
//!
//! A plan is made without asking the other nodes first: what it commits names the revisions it was made from, so a stale
//! plan cannot be applied. A decision that commits nothing (an error, a repeat) has no such proof and is made again
//! behind a read barrier; one by all that lies below a path is made there in the first place. A request that arrives while
//! there is no leader waits for one.
//!
//! Two kinds go to the leader whole, once, and are decided there: acts on the cluster itself, and changes whose plans keep
//! being overtaken by those of other nodes.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use conclave_core::auth::Work;
use conclave_proto::txn::Outcome;
use tokio::sync::MutexGuard;
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

/// How often a plan is made anew when another change came in between: at the leader, where it has the shortest way.
const PLANS_MAX: usize = 32;
/// At another node, before the leader is left to decide.
const PLANS_ELSEWHERE_MAX: usize = 3;
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
    /// Nothing was done: each time another change came in between.
    Overtaken,
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
    pub(super) async fn write(
        &self,
        cluster: &Arc<Cluster>,
        route: &'static Route,
        call: &Call,
    ) -> Result<Answer, Failure> {
        let waited = self.node.config.request_wait;
        let deadline = Instant::now() + waited;
        if route.place != Place::State {
            return self.decide_at_leader(cluster, route, call, deadline).await;
        }
        if !cluster.knows_time() {
            // It has just started, and what it would plan by its own clock outlives that clock's being set right.
            self.read_point(cluster).await?;
        }
        loop {
            let leads = cluster.leader() == Some(cluster.node_id);
            let plans_max = if leads { PLANS_MAX } else { PLANS_ELSEWHERE_MAX };
            match self.plan_and_commit(cluster, route, call, plans_max, deadline).await {
                Ok(answer) => return Ok(answer),
                Err(Attempt::Failed(failure)) => return Err(failure),
                Err(Attempt::Unknown) => return Err(Failure::Unknown),
                Err(Attempt::Overtaken) if call.errands.lock().has_private() => return Err(overtaken()),
                Err(Attempt::Overtaken) => {
                    return self.decide_at_leader(cluster, route, call, deadline).await;
                }
                Err(Attempt::NotHere) => {}
            }
            if cluster.fence.is_fenced() {
                return Err(Failure::Fenced);
            }
            if Instant::now() + RETRY_PAUSE >= deadline {
                return Err(Failure::NoLeader { waited });
            }
            cluster.leader_change(RETRY_PAUSE).await;
        }
    }

    /// Takes a request to the leader, wherever that is now, and brings back its answer.
    async fn decide_at_leader(
        &self,
        cluster: &Arc<Cluster>,
        route: &'static Route,
        call: &Call,
        deadline: Instant,
    ) -> Result<Answer, Failure> {
        let waited = self.node.config.request_wait;
        let attempt = Bytes::copy_from_slice(&rand::random::<[u8; ATTEMPT_ID_BYTES]>());
        let mut fate_unknown = false;
        self.record_before_effect(call).await?;
        loop {
            if cluster.fence.is_fenced() {
                return Err(honest(Failure::Fenced, fate_unknown));
            }
            let outcome = match cluster.leader() {
                Some(leader) if leader == cluster.node_id => {
                    match self.attempt(cluster, route, call, deadline).await {
                        Ok(answer) => return Ok(answer),
                        Err(Attempt::Failed(failure)) => return Err(honest(failure, fate_unknown)),
                        Err(Attempt::NotHere) => Forwarded::NotTaken,
                        Err(Attempt::Overtaken) => return Err(honest(overtaken(), fate_unknown)),
                        // Without a name that the new leader would know it by, repeating could do it twice.
                        Err(Attempt::Unknown) if call.headers.idempotency_key.is_none() => {
                            return Err(Failure::Unknown);
                        }
                        Err(Attempt::Unknown) => Forwarded::Unknown,
                    }
                }
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
                // The attempt has a name, so the next leader can tell whether it was made; what is done to the cluster
                // itself is the same when it is done again.
                Forwarded::Unknown => {
                    // Should this node lead next, it must know the repeat by the same name.
                    let _already_named = call.attempt.set(attempt.clone());
                    fate_unknown = true;
                }
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
        deadline: Instant,
    ) -> Result<Answer, Attempt> {
        if cluster.seal.is_sealed() {
            return Err(Attempt::NotHere);
        }
        if route.place == Place::Leader {
            return sys::act(self, cluster, route, call).await;
        }
        self.plan_and_commit(cluster, route, call, PLANS_MAX, deadline).await
    }

    /// Checks the caller's token and policies for what is done outside the state, and counts the use of a token that can be
    /// used only so often.
    pub(super) async fn admit(
        &self,
        cluster: &Cluster,
        call: &Call,
        deadline: Instant,
    ) -> Result<(), Failure> {
        for _ in 0..PLANS_MAX {
            let (used, verdict) = plan::authorize(cluster, call)?;
            let Some(used) = used else { return verdict };
            self.record_before_effect(call).await?;
            match cluster.propose_until(used, deadline).await {
                Ok(Outcome::Applied { .. }) => return verdict,
                Ok(Outcome::Conflict { .. }) => {}
                Err(error) => {
                    return Err(match Attempt::from(error) {
                        Attempt::Failed(failure) => failure,
                        Attempt::Unknown => Failure::Unknown,
                        _ => Failure::NoLeader { waited: self.node.config.request_wait },
                    });
                }
            }
        }
        Err(overtaken())
    }

    /// Plans on this node's state, as often as that changes meanwhile, and has the plan committed by whoever leads.
    async fn plan_and_commit(
        &self,
        cluster: &Cluster,
        route: &'static Route,
        call: &Call,
        plans_max: usize,
        deadline: Instant,
    ) -> Result<Answer, Attempt> {
        // Logins of one mount, or all who make tokens, share a path and, as a rule, change nothing in common: they wait for
        // none but their like, and only once that has come in between.
        let mut turn = None;
        if route.action == Action::Secret {
            turn = Some(self.turn(call.path.as_bytes(), deadline).await?);
        }
        let mut proven = false;
        let mut plans = 0;
        // What was asked of others for this request (a code that is taken once) is not asked again at another node.
        while plans < plans_max || (plans < PLANS_MAX && call.errands.lock().has_private()) {
            if route.decides_by_a_range() && !proven {
                prove(cluster, deadline).await?;
                proven = true;
            }
            match plan::decide(cluster, route, call, None).await {
                // What is told of the state, and not only changed, is proven to be of now.
                Ok(decided) if !decided.plan.txn.is_empty() && (proven || decided.only_changes(call)) => {
                    plans += 1;
                    self.record_before_effect(call).await?;
                    match cluster.propose_until(decided.plan.txn.clone(), deadline).await {
                        Ok(Outcome::Applied { .. }) if decided.goes_on() && Instant::now() < deadline => {
                            (plans, proven) = (0, false);
                        }
                        Ok(Outcome::Applied { revision }) => {
                            let mut answer = decided.into_answer(&call.request_id, None);
                            answer.index = Some(revision);
                            return Ok(answer);
                        }
                        Ok(Outcome::Conflict { .. }) if turn.is_none() => {
                            turn = Some(self.turn(like(call), deadline).await?);
                        }
                        Ok(Outcome::Conflict { .. }) => {}
                        Err(error) => return Err(error.into()),
                    }
                }
                Ok(decided) if proven && decided.plan.txn.is_empty() => {
                    let mut answer = decided.into_answer(&call.request_id, None);
                    answer.index = Some(cluster.reader.applied_index());
                    return Ok(answer);
                }
                Err(Failure::Undecided(work)) => {
                    // Errands have a bound of their own: one leads to the next.
                    plans += usize::from(matches!(*work, Work::Password(_)));
                    if !proven && matches!(&*work, Work::Errand(errand) if errand.is_private()) {
                        // To whom a secret is sent, and which, is what the cluster says now.
                        prove(cluster, deadline).await?;
                        proven = true;
                        continue;
                    }
                    self.work(call, *work, deadline).await?;
                }
                Err(failure) if proven => return Err(failure.into()),
                Ok(_) | Err(_) => {
                    prove(cluster, deadline).await?;
                    proven = true;
                }
            }
        }
        Err(Attempt::Overtaken)
    }

    /// Does what a decision needs to have done first.
    async fn work(&self, call: &Call, work: Work, deadline: Instant) -> Result<(), Failure> {
        match work {
            Work::Password(work) => {
                let done = self.passwords.run(work, deadline).await?;
                call.password.lock().replace(done);
            }
            Work::Errand(errand) => {
                if !call.errands.lock().has_room() {
                    return Err(Failure::internal("a request needs more errands than there may be"));
                }
                if errand.is_private() {
                    self.record_before_effect(call).await?;
                }
                let outcome = self.messenger.run(&errand, deadline).await?;
                call.errands.lock().add(errand, outcome);
            }
        }
        Ok(())
    }

    /// Waits for other writes to the same subject at this node.
    async fn turn(&self, subject: &[u8], deadline: Instant) -> Result<MutexGuard<'_, ()>, Attempt> {
        // Whoever ran out of time while others had their turn has done nothing.
        tokio::time::timeout_at(deadline, self.order.turn(subject)).await.map_err(|_| Attempt::NotHere)
    }
}

/// What requests below auth mounts have in common that change the same: their path, or, where all logins share that,
/// what they log in with.
fn like(call: &Call) -> &[u8] {
    if call.path.ends_with("/login") { &call.body } else { call.path.as_bytes() }
}

/// Makes sure that this node's state is as new as the cluster's.
pub(super) async fn prove(cluster: &Cluster, deadline: Instant) -> Result<(), Attempt> {
    match cluster.barrier.read_point(deadline).await {
        Ok(_) => Ok(()),
        Err(BarrierError::Fenced) => Err(Failure::Fenced.into()),
        Err(BarrierError::NoLeader | BarrierError::Timeout) => Err(Attempt::NotHere),
    }
}

impl From<ProposeError> for Attempt {
    fn from(error: ProposeError) -> Self {
        match error {
            ProposeError::NotTaken => Self::NotHere,
            ProposeError::Unknown => Self::Unknown,
            ProposeError::Overloaded => {
                let sentence = "too many writes are waiting: try again in a moment";
                Failure::Overloaded(sentence.to_owned()).into()
            }
            ProposeError::TooLarge => Failure::TooLarge(error.to_string()).into(),
        }
    }
}

pub(super) fn overtaken() -> Failure {
    Failure::Overloaded("other changes kept coming in between: try again in a moment".to_owned())
}

/// What to say once an earlier try may have been made: only a decision on the proven state is certain.
fn honest(failure: Failure, fate_unknown: bool) -> Failure {
    let is_decision = matches!(failure, Failure::Rule(_) | Failure::Denied | Failure::NoRoute { .. });
    if fate_unknown && !is_decision { Failure::Unknown } else { failure }
}

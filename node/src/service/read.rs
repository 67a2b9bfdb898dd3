//! Reads, at whichever node was asked: a proven read point, one view, one decision on it.

use std::sync::Arc;
use std::time::Duration;

use conclave_faults::{Bug, planted};
use tokio::time::Instant;

use super::answer::Answer;
use super::call::{Call, Consistency};
use super::failure::Failure;
use super::route::Route;
use super::{Service, plan};
use crate::cluster::Cluster;
use crate::metrics;
use crate::raft::barrier::{BarrierError, ReadPoint};

impl Service {
    pub(super) async fn read(
        &self,
        cluster: &Arc<Cluster>,
        route: &'static Route,
        call: &Call,
    ) -> Result<Answer, Failure> {
        let (index, time_ms, stale_for) = match call.headers.consistency {
            Consistency::Linearizable if planted::is(Bug::ReadWithoutBarrier) => {
                (cluster.reader.applied_index(), None, None)
            }
            Consistency::Linearizable => {
                let point = self.read_point(cluster).await?;
                (point.index, Some(point.time_ms), None)
            }
            Consistency::Stale { bound } => {
                (cluster.reader.applied_index(), None, Some(age(cluster, bound)?))
            }
        };
        let answer = match plan::decide(cluster, route, call, time_ms).await {
            // Its token can be used only so often: the use is committed before anything is told.
            Ok(decided) if !decided.plan.txn.is_empty() => {
                return Box::pin(self.write(cluster, route, call)).await;
            }
            // Another server is to be asked first.
            Err(Failure::Undecided(_)) => return Box::pin(self.write(cluster, route, call)).await,
            Ok(decided) => decided.into_answer(&call.request_id, stale_for),
            Err(failure) if failure.is_fault() => return Err(failure),
            // That there is nothing was read from the state too, and may be as old.
            Err(failure) => Answer { stale_for, ..Answer::failure(&failure) },
        };
        Ok(Answer { index: Some(index), ..answer })
    }

    /// A point from which a linearizable answer may be made; waits for a leader, within the node's bound.
    pub async fn read_point(&self, cluster: &Cluster) -> Result<ReadPoint, Failure> {
        let waited = self.node.config.request_wait;
        let began = Instant::now();
        let point = cluster.barrier.read_point(began + waited).await;
        metrics::barrier(began.elapsed());
        point.map_err(|error| match error {
            BarrierError::NoLeader => Failure::NoLeader { waited },
            BarrierError::Timeout => Failure::NoQuorum { waited },
            BarrierError::Fenced => Failure::Fenced,
        })
    }
}

/// How old this node's state may be, if that is not more than `bound`.
fn age(cluster: &Cluster, bound: Duration) -> Result<Duration, Failure> {
    let age = cluster.barrier.age();
    age.filter(|age| *age <= bound || planted::is(Bug::StaleBoundIgnored))
        .ok_or(Failure::TooStale { age, bound })
}

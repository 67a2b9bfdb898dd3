//! SIGSTOP: the node stands still and knows nothing of it. A leader that wakes up believes for a moment that it leads.

use std::time::{Duration, Instant};

use futures::FutureExt as _;
use futures::future::BoxFuture;

use super::{Aim, Fault, Noted, Scene};

/// After so long without its leader a cluster has another, on a busy machine too.
const ELECTION: Duration = Duration::from_secs(3);

#[derive(Default)]
pub struct Pause {
    leads: bool,
    /// Somebody else led when the paused leader woke up.
    followed: bool,
    met: bool,
    stopped: bool,
    began: Option<Instant>,
    lasted: Duration,
}

impl Fault for Pause {
    fn begin<'a>(&'a mut self, scene: &'a Scene<'a>) -> BoxFuture<'a, anyhow::Result<()>> {
        async move {
            self.met = scene.meets_its_aim().await;
            self.leads = self.met && scene.planned.aim == Aim::Leader;
            self.stopped = scene.cluster.pause(scene.node).await?;
            self.began = Some(Instant::now());
            Ok(())
        }
        .boxed()
    }

    fn end<'a>(&'a mut self, scene: &'a Scene<'a>) -> BoxFuture<'a, anyhow::Result<()>> {
        async move {
            // Who stands still does not answer.
            self.followed = self.leads && scene.cluster.leader().await.is_some();
            self.lasted = self.began.map_or(Duration::ZERO, |began| began.elapsed());
            scene.cluster.resume(scene.node)
        }
        .boxed()
    }

    fn exercised(&self) -> Result<(), String> {
        if !self.met {
            return Err("the node did not lead any more".to_owned());
        }
        if !self.stopped || self.lasted.is_zero() {
            return Err("the process did not stand still".to_owned());
        }
        if self.leads && !self.followed && self.lasted > ELECTION {
            return Err("nobody else led when the paused leader woke up".to_owned());
        }
        Ok(())
    }

    fn noted(&mut self) -> Noted {
        let met = self.followed.then(|| "a paused leader woke up and another led".to_owned());
        Noted { met: met.into_iter().collect(), ..Noted::default() }
    }
}

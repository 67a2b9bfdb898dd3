//! SIGSTOP: the node stands still and knows nothing of it. A leader that wakes up believes for a moment that it leads.

use std::time::{Duration, Instant};

use futures::FutureExt as _;
use futures::future::BoxFuture;

use super::{Fault, Scene};

#[derive(Default)]
pub struct Pause {
    met: bool,
    stopped: bool,
    began: Option<Instant>,
    lasted: Duration,
}

impl Fault for Pause {
    fn begin<'a>(&'a mut self, scene: &'a Scene<'a>) -> BoxFuture<'a, anyhow::Result<()>> {
        async move {
            self.met = scene.meets_its_aim().await;
            self.stopped = scene.cluster.pause(scene.node).await?;
            self.began = Some(Instant::now());
            Ok(())
        }
        .boxed()
    }

    fn end<'a>(&'a mut self, scene: &'a Scene<'a>) -> BoxFuture<'a, anyhow::Result<()>> {
        async move {
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
        Ok(())
    }
}

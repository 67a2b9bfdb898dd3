//! A node's link becomes slow: what it sends queues up and is late, and some of it is dropped.

use futures::FutureExt as _;
use futures::future::BoxFuture;

use super::{Fault, Scene};

/// Rates in kbit/s: from a bad telephone line to one on which heartbeats just fit beside the load.
const RATES: std::ops::Range<u64> = 64..1500;

#[derive(Default)]
pub struct Slow {
    met: bool,
    late: u64,
}

impl Fault for Slow {
    fn begin<'a>(&'a mut self, scene: &'a Scene<'a>) -> BoxFuture<'a, anyhow::Result<()>> {
        async move {
            self.met = scene.meets_its_aim().await;
            let rate = RATES.start + scene.random().below(RATES.end - RATES.start);
            scene.cluster.net.slow(scene.node, rate).await
        }
        .boxed()
    }

    fn end<'a>(&'a mut self, scene: &'a Scene<'a>) -> BoxFuture<'a, anyhow::Result<()>> {
        async move {
            self.late = scene.cluster.net.quicken(scene.node).await?;
            Ok(())
        }
        .boxed()
    }

    fn exercised(&self) -> Result<(), String> {
        match (self.met, self.late) {
            (false, _) => Err("the node did not lead any more".to_owned()),
            (true, 0) => Err("no packet had to wait".to_owned()),
            _ => Ok(()),
        }
    }
}

//! The leader is killed, and then whoever takes over: while others vote for it, or just after.

use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;

use super::{Fault, Scene};

/// The second kill comes up to so long after the first: during the election or just after it.
const AFTER_MAX: Duration = Duration::from_millis(1200);

#[derive(Default)]
pub struct KillTakeover {
    met: bool,
    killed: Vec<usize>,
    /// The leader before was still seen as one: nobody was about to take over.
    too_early: bool,
}

impl Fault for KillTakeover {
    fn begin<'a>(&'a mut self, scene: &'a Scene<'a>) -> BoxFuture<'a, anyhow::Result<()>> {
        async move {
            let (cluster, mut random) = (scene.cluster, scene.random());
            self.met = cluster.leader().await == Some(scene.node);
            if cluster.kill(scene.node).await? {
                self.killed.push(scene.node);
            }
            tokio::time::sleep(random.between(Duration::ZERO, AFTER_MAX)).await;
            let new = cluster.leader().await;
            self.too_early = new == Some(scene.node);
            let others = random.order(cluster.nodes()).into_iter().find(|node| *node != scene.node);
            if let Some(second) = new.or(others)
                && cluster.kill(second).await?
            {
                self.killed.push(second);
            }
            Ok(())
        }
        .boxed()
    }

    fn end<'a>(&'a mut self, scene: &'a Scene<'a>) -> BoxFuture<'a, anyhow::Result<()>> {
        async move { self.killed.iter().try_for_each(|node| scene.cluster.start(*node, None)) }.boxed()
    }

    fn exercised(&self) -> Result<(), String> {
        match (self.met, self.too_early, self.killed.len()) {
            (false, ..) => Err("the node did not lead any more".to_owned()),
            (_, true, _) => Err("the first one still led".to_owned()),
            (.., 2) => Ok(()),
            _ => Err("a process had ended already".to_owned()),
        }
    }
}

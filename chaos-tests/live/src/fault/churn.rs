//! A node is taken out of the cluster or leaves it, is wiped, and joins again under its old name.

use futures::FutureExt as _;
use futures::future::BoxFuture;

use super::{Fault, Scene};

pub struct Churn {
    /// It is asked to leave itself; else another node is asked to remove it.
    leaves: bool,
    met: bool,
    removed: bool,
    joined: bool,
}

impl Churn {
    pub fn removed() -> Self {
        Self { leaves: false, met: false, removed: false, joined: false }
    }

    pub fn leaving() -> Self {
        Self { leaves: true, ..Self::removed() }
    }
}

impl Fault for Churn {
    fn begin<'a>(&'a mut self, scene: &'a Scene<'a>) -> BoxFuture<'a, anyhow::Result<()>> {
        async move {
            self.met = scene.meets_its_aim().await;
            let (cluster, node) = (scene.cluster, scene.node);
            if !cluster.spoil(node) {
                return Ok(());
            }
            let gone = if self.leaves { cluster.leave(node).await } else { cluster.remove(node).await };
            self.removed = gone.is_ok();
            Ok(())
        }
        .boxed()
    }

    fn end<'a>(&'a mut self, scene: &'a Scene<'a>) -> BoxFuture<'a, anyhow::Result<()>> {
        async move {
            // If it cannot join now, because of another fault, healing lets it join.
            self.joined = self.removed && scene.cluster.join_again(scene.node).await.is_ok();
            Ok(())
        }
        .boxed()
    }

    fn exercised(&self) -> Result<(), String> {
        match (self.met, self.removed, self.joined) {
            (false, ..) => Err("the node did not lead any more".to_owned()),
            (_, false, _) => Err("the node was not removed".to_owned()),
            (.., false) => Err("the node could not join again at once".to_owned()),
            _ => Ok(()),
        }
    }
}

//! SIGKILL, of one node or of all at once: the process ends in the middle of whatever it does.

use futures::FutureExt as _;
use futures::future::BoxFuture;

use super::{Fault, Scene};

pub struct Kill {
    all: bool,
    met: bool,
    killed: bool,
}

impl Kill {
    pub fn one() -> Self {
        Self { all: false, met: false, killed: false }
    }

    pub fn all() -> Self {
        Self { all: true, met: false, killed: false }
    }

    fn nodes(&self, scene: &Scene<'_>) -> Vec<usize> {
        if self.all { (0..scene.cluster.nodes()).collect() } else { vec![scene.node] }
    }
}

impl Fault for Kill {
    fn begin<'a>(&'a mut self, scene: &'a Scene<'a>) -> BoxFuture<'a, anyhow::Result<()>> {
        async move {
            self.met = self.all || scene.meets_its_aim().await;
            let killed = self.nodes(scene).into_iter().map(|node| scene.cluster.kill(node));
            let killed = futures::future::try_join_all(killed).await?;
            // Of all, one may be down already: what counts is that none runs.
            self.killed = killed.iter().any(|killed| *killed);
            Ok(())
        }
        .boxed()
    }

    fn end<'a>(&'a mut self, scene: &'a Scene<'a>) -> BoxFuture<'a, anyhow::Result<()>> {
        async move { self.nodes(scene).into_iter().try_for_each(|node| scene.cluster.start(node, None)) }
            .boxed()
    }

    fn exercised(&self) -> Result<(), String> {
        match (self.met, self.killed) {
            (true, true) => Ok(()),
            (false, _) => Err("the node did not lead any more".to_owned()),
            (_, false) => Err("a process had ended already".to_owned()),
        }
    }
}

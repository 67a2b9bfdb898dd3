//! Cut links between nodes, in the shapes that real networks break in. Clients still reach every node.

use futures::FutureExt as _;
use futures::future::BoxFuture;

use super::{Fault, Kind, Scene};
use crate::net::Cuts;

pub struct Partition {
    kind: Kind,
    met: bool,
    dropped: u64,
}

impl Partition {
    pub fn new(kind: Kind) -> Self {
        Self { kind, met: false, dropped: 0 }
    }

    fn cuts(&self, scene: &Scene<'_>) -> Cuts {
        let nodes = scene.cluster.nodes();
        match self.kind {
            Kind::Mute => Cuts::mute(scene.node, nodes),
            Kind::Deafen => Cuts::deafen(scene.node, nodes),
            Kind::Bridge => {
                let others = scene.random().order(nodes).into_iter().filter(|node| *node != scene.node);
                Cuts::bridge(&std::iter::once(scene.node).chain(others).collect::<Vec<_>>())
            }
            Kind::Ring => Cuts::ring(&scene.random().order(nodes)),
            _ => Cuts::isolate(scene.node, nodes),
        }
    }
}

impl Fault for Partition {
    fn begin<'a>(&'a mut self, scene: &'a Scene<'a>) -> BoxFuture<'a, anyhow::Result<()>> {
        async move {
            self.met = scene.meets_its_aim().await;
            scene.cluster.net.cut(scene.planned.id, self.cuts(scene)).await
        }
        .boxed()
    }

    fn end<'a>(&'a mut self, scene: &'a Scene<'a>) -> BoxFuture<'a, anyhow::Result<()>> {
        async move {
            self.dropped = scene.cluster.net.mend(scene.planned.id).await?;
            Ok(())
        }
        .boxed()
    }

    fn exercised(&self) -> Result<(), String> {
        match (self.met, self.dropped) {
            (false, _) => Err("the node did not lead any more".to_owned()),
            (true, 0) => Err("no packet met the cut".to_owned()),
            _ => Ok(()),
        }
    }
}

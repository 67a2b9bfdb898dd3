//! A power cut, on one node, a minority, or all nodes at once: the process ends, and so does all that was not synced.

use futures::FutureExt as _;
use futures::future::BoxFuture;

use super::{Fault, Kind, Scene};
use crate::cluster::minority;
use crate::disk::Flush;

/// How often the file system still writes its journal, in percent.
const JOURNAL_PERCENT: u64 = 25;

pub struct PowerCut {
    kind: Kind,
    met: bool,
    wanted: usize,
    cut: Vec<usize>,
    kept: Result<(), String>,
}

impl PowerCut {
    pub fn new(kind: Kind) -> Self {
        Self { kind, met: false, wanted: 0, cut: Vec::new(), kept: Ok(()) }
    }

    /// The node it is for, and others by chance.
    fn nodes(&self, scene: &Scene<'_>) -> Vec<usize> {
        let nodes = scene.cluster.nodes();
        let count = match self.kind {
            Kind::PowerCutAll => nodes,
            Kind::PowerCutMinority => minority(nodes),
            _ => 1,
        };
        let others = scene.random().order(nodes).into_iter().filter(|node| *node != scene.node);
        std::iter::once(scene.node).chain(others).take(count).collect()
    }
}

impl Fault for PowerCut {
    fn begin<'a>(&'a mut self, scene: &'a Scene<'a>) -> BoxFuture<'a, anyhow::Result<()>> {
        async move {
            self.met = self.kind == Kind::PowerCutAll || scene.meets_its_aim().await;
            let nodes = self.nodes(scene);
            self.wanted = nodes.len();
            let cluster = scene.cluster;
            self.cut = nodes.into_iter().filter(|node| cluster.take(*node)).collect();
            let mut random = scene.random();
            let flush = if random.chance(JOURNAL_PERCENT) { Flush::Journal } else { Flush::Nothing };
            for node in &self.cut {
                cluster.excuse(*node);
                cluster.disks.sync_some(*node, random.clone()).await?;
            }
            self.cut.iter().try_for_each(|node| cluster.halt(*node))?;
            cluster.disks.cut(&self.cut, flush).await?;
            let killed = self.cut.iter().map(|node| cluster.kill(*node));
            futures::future::try_join_all(killed).await?;
            Ok(())
        }
        .boxed()
    }

    fn end<'a>(&'a mut self, scene: &'a Scene<'a>) -> BoxFuture<'a, anyhow::Result<()>> {
        async move {
            for node in &self.cut {
                scene.cluster.disks.remount(*node).await?;
                if let Err(why) = scene.cluster.disks.was_cut(*node) {
                    self.kept = Err(why);
                }
                scene.cluster.give_back(*node);
            }
            self.cut.iter().try_for_each(|node| scene.cluster.start(*node, None))
        }
        .boxed()
    }

    fn exercised(&self) -> Result<(), String> {
        match (self.met, self.cut.len() < self.wanted) {
            (false, _) => Err("the node did not lead any more".to_owned()),
            (_, true) => Err("a disk was in another fault's hands".to_owned()),
            _ => self.kept.clone(),
        }
    }
}

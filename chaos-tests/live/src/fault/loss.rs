//! Every link between nodes loses packets at random.

use futures::FutureExt as _;
use futures::future::BoxFuture;

use super::{Fault, Scene};
use crate::net::Cuts;

/// How many of a thousand packets are lost: from a bad line to one on which TCP hardly moves.
const LOST: std::ops::Range<u16> = 20..350;

#[derive(Default)]
pub struct Loss {
    dropped: u64,
}

impl Fault for Loss {
    fn begin<'a>(&'a mut self, scene: &'a Scene<'a>) -> BoxFuture<'a, anyhow::Result<()>> {
        async move {
            let span = u64::from(LOST.end - LOST.start);
            let lost = LOST.start + u16::try_from(scene.random().below(span))?;
            scene.cluster.net.cut(scene.planned.id, Cuts::loss(scene.cluster.nodes(), lost)).await
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
        if self.dropped == 0 { Err("no packet was lost".to_owned()) } else { Ok(()) }
    }
}

//! A node's disk fails while its server runs: every write and every sync is an I/O error from now on.
//!
//! It is a power cut that the process survives. What a server does with such errors must not be worse than dying of them.

use futures::FutureExt as _;
use futures::future::BoxFuture;

use super::{Fault, Scene};
use crate::disk::Flush;

/// The kernel's words for it, which the server must pass on.
const WORDS: &str = "Input/output error";

#[derive(Default)]
pub struct IoError {
    met: bool,
    taken: bool,
    logged_before: u64,
    said: bool,
    kept: Option<String>,
}

impl Fault for IoError {
    fn begin<'a>(&'a mut self, scene: &'a Scene<'a>) -> BoxFuture<'a, anyhow::Result<()>> {
        async move {
            let (cluster, node) = (scene.cluster, scene.node);
            self.met = scene.meets_its_aim().await;
            self.taken = cluster.take(node);
            if self.taken {
                cluster.excuse(node);
                self.logged_before = cluster.log_length(node);
                // Not while a sync is under way: the kernel could say of it that it went well.
                cluster.halt(node)?;
                cluster.rest(node).await?;
                cluster.disks.cut(&[node], Flush::Nothing).await?;
                cluster.resume(node)?;
            }
            Ok(())
        }
        .boxed()
    }

    fn end<'a>(&'a mut self, scene: &'a Scene<'a>) -> BoxFuture<'a, anyhow::Result<()>> {
        async move {
            let (cluster, node) = (scene.cluster, scene.node);
            if !self.taken {
                return Ok(());
            }
            cluster.kill(node).await?;
            self.said = cluster.log_since(node, self.logged_before).contains(WORDS);
            cluster.disks.remount(node).await?;
            self.kept = cluster.disks.was_cut(node).err();
            cluster.give_back(node);
            cluster.start(node, None)
        }
        .boxed()
    }

    fn exercised(&self) -> Result<(), String> {
        match (self.met, self.taken, self.said, &self.kept) {
            (false, ..) => Err("the node did not lead any more".to_owned()),
            (_, false, ..) => Err("the disk was in another fault's hands".to_owned()),
            (.., false, _) => Err("the server did not tell of an I/O error".to_owned()),
            (.., Some(why)) => Err(why.clone()),
            _ => Ok(()),
        }
    }
}

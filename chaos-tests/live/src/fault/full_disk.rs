//! A node's disk is full. Its server may stop; when there is space again, it has to come back.

use futures::FutureExt as _;
use futures::future::BoxFuture;
use reqwest::Method;

use super::{Fault, Scene};

/// The kernel's words for it, which the server must pass on.
const WORDS: &str = "No space left on device";
/// How often the server is started again on the full disk, in percent: it then has not even its log's spare space.
const RESTARTED_PERCENT: u64 = 50;

#[derive(Default)]
pub struct FullDisk {
    met: bool,
    taken: bool,
    logged_before: u64,
    said: bool,
}

impl Fault for FullDisk {
    fn begin<'a>(&'a mut self, scene: &'a Scene<'a>) -> BoxFuture<'a, anyhow::Result<()>> {
        async move {
            let (cluster, node) = (scene.cluster, scene.node);
            self.met = scene.meets_its_aim().await;
            self.taken = cluster.take(node);
            if !self.taken {
                return Ok(());
            }
            cluster.excuse(node);
            self.logged_before = cluster.log_length(node);
            cluster.disks.fill(node)?;
            cluster.give_back(node);
            if scene.random().chance(RESTARTED_PERCENT) {
                cluster.kill(node).await?;
                cluster.start(node, None)?;
            } else {
                // Making a snapshot takes space at once, where the log may have some in reserve.
                drop(cluster.api(node).ask(Method::GET, "sys/storage/raft/snapshot", None).await);
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
            cluster.disks.drain(node)?;
            self.said = cluster.log_since(node, self.logged_before).contains(WORDS);
            if self.said {
                // It has stopped, or stopped writing, until it is started again.
                cluster.kill(node).await?;
                cluster.start(node, None)?;
            }
            Ok(())
        }
        .boxed()
    }

    fn exercised(&self) -> Result<(), String> {
        match (self.met, self.taken, self.said) {
            (false, ..) => Err("the node did not lead any more".to_owned()),
            (_, false, _) => Err("the disk was in another fault's hands".to_owned()),
            (.., false) => Err("the server did not say that it had no space".to_owned()),
            _ => Ok(()),
        }
    }
}

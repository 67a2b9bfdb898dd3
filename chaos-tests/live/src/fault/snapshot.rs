//! A node joins empty, and while the snapshot comes in, it or the sender is killed, or both.

use std::path::Path;
use std::time::{Duration, Instant};

use futures::FutureExt as _;
use futures::future::BoxFuture;

use super::{Fault, Scene};

/// Where a server receives snapshots, below its data directory.
const INCOMING: &str = "incoming";
/// Longest wait until one comes.
const COMES_MAX: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(1);
/// The kill comes up to so long after the first byte: while it is received, checked or installed.
const AFTER_MAX: Duration = Duration::from_millis(80);

#[derive(Default)]
pub struct KillSnapshot {
    killed: Vec<usize>,
    undone: Option<String>,
}

impl KillSnapshot {
    async fn play(&mut self, scene: &Scene<'_>) -> Result<(), String> {
        let (cluster, node, mut random) = (scene.cluster, scene.node, scene.random());
        if !cluster.spoil(node) {
            return Err("a minority is damaged already".to_owned());
        }
        cluster.replace(node).await.map_err(|_| "the node could not join again at once".to_owned())?;
        let incoming = cluster.data(node).join(INCOMING);
        let deadline = Instant::now() + COMES_MAX;
        while !holds_something(&incoming) {
            if Instant::now() > deadline {
                return Err("no snapshot was sent".to_owned());
            }
            tokio::time::sleep(POLL).await;
        }
        tokio::time::sleep(random.between(Duration::ZERO, AFTER_MAX)).await;
        let leader = cluster.leader();
        let victims = match random.below(3) {
            0 => vec![node],
            1 => leader.await.into_iter().collect(),
            _ => leader.await.into_iter().chain([node]).collect(),
        };
        let receives = holds_something(&incoming);
        for victim in victims {
            if cluster.kill(victim).await.map_err(|error| error.to_string())? {
                self.killed.push(victim);
            }
        }
        match (receives, self.killed.is_empty()) {
            (false, _) => Err("the snapshot was there before the kill".to_owned()),
            (_, true) => Err("a process had ended already".to_owned()),
            _ => Ok(()),
        }
    }
}

impl Fault for KillSnapshot {
    fn begin<'a>(&'a mut self, scene: &'a Scene<'a>) -> BoxFuture<'a, anyhow::Result<()>> {
        async move {
            self.undone = self.play(scene).await.err();
            Ok(())
        }
        .boxed()
    }

    fn end<'a>(&'a mut self, scene: &'a Scene<'a>) -> BoxFuture<'a, anyhow::Result<()>> {
        async move { self.killed.iter().try_for_each(|node| scene.cluster.start(*node, None)) }.boxed()
    }

    fn exercised(&self) -> Result<(), String> {
        self.undone.clone().map_or(Ok(()), Err)
    }
}

fn holds_something(folder: &Path) -> bool {
    std::fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some())
}

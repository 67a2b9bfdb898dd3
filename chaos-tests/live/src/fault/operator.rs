//! What operators do while clients work: seal and unseal, rotate the key, move the leadership, save a snapshot.

use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use reqwest::Method;

use super::{Fault, Scene};
use crate::cluster::Health;

/// Longest wait until a leader that stepped down is followed by another.
const STEP_DOWN_MAX: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(50);

/// A node loses its keys, goes on replicating, and is unsealed with the shares.
#[derive(Default)]
pub struct Seal {
    met: bool,
    sealed: bool,
    unsealed: bool,
}

impl Fault for Seal {
    fn begin<'a>(&'a mut self, scene: &'a Scene<'a>) -> BoxFuture<'a, anyhow::Result<()>> {
        async move {
            self.met = scene.meets_its_aim().await;
            let api = scene.cluster.api(scene.node);
            // Another fault may keep it from answering; then it does not count.
            drop(api.ask(Method::PUT, "sys/seal", None).await);
            self.sealed = api.health().await == Health::Sealed;
            Ok(())
        }
        .boxed()
    }

    fn end<'a>(&'a mut self, scene: &'a Scene<'a>) -> BoxFuture<'a, anyhow::Result<()>> {
        async move {
            self.unsealed = scene.cluster.unseal(scene.node).await.is_ok();
            Ok(())
        }
        .boxed()
    }

    fn exercised(&self) -> Result<(), String> {
        match (self.met, self.sealed, self.unsealed) {
            (false, ..) => Err("the node did not lead any more".to_owned()),
            (_, false, _) => Err("the node was not sealed".to_owned()),
            (.., false) => Err("the node could not be unsealed at once".to_owned()),
            _ => Ok(()),
        }
    }
}

/// A command that is given once and must be taken.
pub struct Command {
    path: &'static str,
    status: Option<u16>,
}

impl Command {
    pub fn new(path: &'static str) -> Self {
        Self { path, status: None }
    }
}

impl Fault for Command {
    fn begin<'a>(&'a mut self, scene: &'a Scene<'a>) -> BoxFuture<'a, anyhow::Result<()>> {
        async move {
            let answer = scene.cluster.api(scene.node).ask(Method::PUT, self.path, None).await;
            self.status = answer.ok().map(|(status, _)| status);
            Ok(())
        }
        .boxed()
    }

    fn end<'a>(&'a mut self, _scene: &'a Scene<'a>) -> BoxFuture<'a, anyhow::Result<()>> {
        async { Ok(()) }.boxed()
    }

    fn exercised(&self) -> Result<(), String> {
        match self.status {
            Some(200..300) => Ok(()),
            Some(status) => Err(format!("{} was answered with {status}", self.path)),
            None => Err(format!("{} was not answered", self.path)),
        }
    }
}

/// The leader is asked to hand over.
#[derive(Default)]
pub struct StepDown {
    moved: bool,
}

impl Fault for StepDown {
    fn begin<'a>(&'a mut self, scene: &'a Scene<'a>) -> BoxFuture<'a, anyhow::Result<()>> {
        async move {
            let Some(before) = scene.cluster.leader().await else { return Ok(()) };
            drop(scene.cluster.api(before).ask(Method::PUT, "sys/step-down", None).await);
            let deadline = tokio::time::Instant::now() + STEP_DOWN_MAX;
            while tokio::time::Instant::now() < deadline {
                if scene.cluster.leader().await.is_some_and(|leader| leader != before) {
                    self.moved = true;
                    break;
                }
                tokio::time::sleep(POLL).await;
            }
            Ok(())
        }
        .boxed()
    }

    fn end<'a>(&'a mut self, _scene: &'a Scene<'a>) -> BoxFuture<'a, anyhow::Result<()>> {
        async { Ok(()) }.boxed()
    }

    fn exercised(&self) -> Result<(), String> {
        if self.moved { Ok(()) } else { Err("no other node led afterwards".to_owned()) }
    }
}

/// A whole snapshot is fetched.
#[derive(Default)]
pub struct SnapshotSave {
    bytes: Option<usize>,
}

impl Fault for SnapshotSave {
    fn begin<'a>(&'a mut self, scene: &'a Scene<'a>) -> BoxFuture<'a, anyhow::Result<()>> {
        async move {
            let bytes = scene.cluster.api(scene.node).download("sys/storage/raft/snapshot").await.ok();
            let bytes = bytes.map(|file| file.len());
            self.bytes = bytes;
            Ok(())
        }
        .boxed()
    }

    fn end<'a>(&'a mut self, _scene: &'a Scene<'a>) -> BoxFuture<'a, anyhow::Result<()>> {
        async { Ok(()) }.boxed()
    }

    fn exercised(&self) -> Result<(), String> {
        match self.bytes {
            Some(1..) => Ok(()),
            _ => Err("no snapshot came".to_owned()),
        }
    }
}

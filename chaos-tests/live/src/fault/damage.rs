//! A node's data is damaged, old or gone when its server starts.
//!
//! Whatever the server does then, the cluster serves and nothing is lost. Whether or not it noticed, the node is replaced
//! in the end: what has not been read yet may still be damaged.

use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;

use super::{Fault, Kind, Noted, Scene};
use crate::cluster::Health;
use crate::disk::damage::{PARTS, WAYS, Way, copy, damage, same};
use crate::random::Random;

/// How long a node goes on after a copy of its data was made, to which it goes back.
const GOES_ON_MIN: Duration = Duration::from_millis(500);
const GOES_ON_MAX: Duration = Duration::from_secs(4);
/// The server's word for data that it does not trust.
const NOTICED: &str = "cannot be used";
/// Kinds of damage that are tried until one can be done.
const TRIES: u32 = 20;

pub struct Damage {
    kind: Kind,
    met: bool,
    /// Why nothing was damaged, if so.
    undone: Option<String>,
    /// A server whose data is gone must say that it belongs to no cluster.
    came_up_empty: bool,
    /// What was damaged, and how.
    hit: Option<String>,
    logged_before: u64,
    answer: &'static str,
}

impl Damage {
    pub fn new(kind: Kind) -> Self {
        let (undone, hit) = (None, None);
        Self { kind, met: false, undone, came_up_empty: false, hit, logged_before: 0, answer: "" }
    }

    async fn spoil(&mut self, scene: &Scene<'_>) -> Result<(), String> {
        let (cluster, node) = (scene.cluster, scene.node);
        let (data, older) = (cluster.data(node), cluster.disks.older(node));
        let mut random = scene.random();
        cluster.kill(node).await.map_err(|error| error.to_string())?;
        match self.kind {
            Kind::Wipe => cluster.wipe(node).await.map_err(|error| error.to_string()),
            Kind::Rollback => {
                go_on(scene, &mut random).await?;
                if same(&data, &older) {
                    return Err("nothing was written since the copy".to_owned());
                }
                cluster.wipe(node).await.map_err(|error| error.to_string())?;
                std::fs::rename(older, data).map_err(|error| error.to_string())
            }
            _ => {
                for _ in 0..TRIES {
                    let (part, way) = (PARTS[random.index(PARTS.len())], WAYS[random.index(WAYS.len())]);
                    if way == Way::Older {
                        go_on(scene, &mut random).await?;
                    }
                    if let Some(path) = damage(&data, &older, part, way, &mut random) {
                        let name = path.strip_prefix(&data).unwrap_or(&path);
                        crate::say(format_args!("{part:?} damaged ({way:?}): {}", name.display()));
                        self.hit = Some(format!("{part:?}, {way:?}"));
                        return Ok(());
                    }
                }
                Err("there was no file to damage".to_owned())
            }
        }
    }
}

/// Copies the data of the node, which is down, lets it run for a while, and takes it down again.
async fn go_on(scene: &Scene<'_>, random: &mut Random) -> Result<(), String> {
    let (cluster, node) = (scene.cluster, scene.node);
    let (data, older) = (cluster.data(node), cluster.disks.older(node));
    drop(std::fs::remove_dir_all(&older));
    copy(&data, &older).map_err(|error| error.to_string())?;
    cluster.start_taken(node).map_err(|error| error.to_string())?;
    tokio::time::sleep(random.between(GOES_ON_MIN, GOES_ON_MAX)).await;
    cluster.kill(node).await.map_err(|error| error.to_string())?;
    Ok(())
}

impl Fault for Damage {
    fn begin<'a>(&'a mut self, scene: &'a Scene<'a>) -> BoxFuture<'a, anyhow::Result<()>> {
        async move {
            let (cluster, node) = (scene.cluster, scene.node);
            self.met = scene.meets_its_aim().await;
            if !cluster.take(node) {
                self.undone = Some("the disk was in another fault's hands".to_owned());
                return Ok(());
            }
            if cluster.spoil(node) {
                cluster.excuse(node);
                self.undone = self.spoil(scene).await.err();
            } else {
                self.undone = Some("a minority is damaged already".to_owned());
            }
            self.logged_before = cluster.log_length(node);
            cluster.give_back(node);
            cluster.start(node, None)
        }
        .boxed()
    }

    fn end<'a>(&'a mut self, scene: &'a Scene<'a>) -> BoxFuture<'a, anyhow::Result<()>> {
        async move {
            let (cluster, node) = (scene.cluster, scene.node);
            let health = cluster.api(node).health().await;
            self.came_up_empty = health == Health::NotInitialized;
            self.answer = match cluster.log_since(node, self.logged_before) {
                _ if cluster.was_taken_back(node) => "healed by itself",
                log if log.contains(NOTICED) => "noticed",
                _ if health.serves() => "did not notice, and served",
                _ => "did not notice",
            };
            if cluster.was_taken_back(node) {
                cluster.note_replaced(node);
            } else if cluster.spoiled(node).is_some() && self.answer != "noticed" {
                // If it cannot be replaced now, because of another fault, healing does it.
                drop(cluster.replace(node).await);
            }
            drop(std::fs::remove_dir_all(cluster.disks.older(node)));
            Ok(())
        }
        .boxed()
    }

    fn exercised(&self) -> Result<(), String> {
        match (self.met, &self.undone) {
            (false, _) => Err("the node did not lead any more".to_owned()),
            (_, Some(why)) => Err(why.clone()),
            _ if self.kind == Kind::Wipe && !self.came_up_empty => {
                Err("the node was not up and empty when it was replaced".to_owned())
            }
            _ => Ok(()),
        }
    }

    fn noted(&mut self) -> Noted {
        let hit = self.hit.as_ref().map(|hit| format!(" ({hit})")).unwrap_or_default();
        let met = (self.kind != Kind::Wipe && self.undone.is_none())
            .then(|| format!("a server {}{hit}", self.answer));
        Noted { met: met.into_iter().collect(), ..Noted::default() }
    }
}

//! A snapshot is saved under load, and restored under load a little later.
//!
//! A restore rewinds the state, which no register does. So the clients' work falls into eras with keys of their own. What
//! the first era did ends with a look at everything, before the restore begins. What clients write until it is over is lost
//! by design, and not judged. Then the first era's keys must show what was there when the snapshot was saved: each of
//! these answers is put into the history as a read that took as long as the saving.

use std::sync::atomic::Ordering;
use std::time::Duration;

use conclave_oracle::history::{Operation, Outcome};
use futures::FutureExt as _;
use futures::future::BoxFuture;

use super::{Fault, Noted, Scene};
use crate::invariant::serves;

const SNAPSHOT: &str = "sys/storage/raft/snapshot";
/// How often an interrupted restore is tried again.
const TRIES: u32 = 5;
const TRY_PAUSE: Duration = Duration::from_secs(1);
/// How long clients go on between the saving and the restore.
const WORK: Duration = Duration::from_secs(2);

#[derive(Default)]
pub struct Restore {
    saved: bool,
    restored: bool,
    compared: bool,
    noted: Noted,
}

impl Restore {
    async fn play(&mut self, scene: &Scene<'_>) -> anyhow::Result<()> {
        let shared = scene.shared;
        let api = scene.cluster.api(scene.node);
        let began_us = shared.recorder.now();
        let Ok(snapshot) = api.download(SNAPSHOT).await else { return Ok(()) };
        let saved_us = shared.recorder.now();
        self.saved = true;
        tokio::time::sleep(WORK).await;
        shared.gate.shut().await?;
        let missing = serves::everywhere(scene.cluster, shared).await?;
        self.noted.violations.extend(missing);
        let first = shared.oldest_epoch.load(Ordering::Relaxed)..=shared.epoch.load(Ordering::Relaxed);
        shared.begin_era(false);
        shared.gate.open();
        for _ in 0..TRIES {
            self.restored = matches!(api.upload(SNAPSHOT, snapshot.clone()).await, Ok(200..300));
            if self.restored {
                break;
            }
            tokio::time::sleep(TRY_PAUSE).await;
        }
        shared.gate.shut().await?;
        if self.restored {
            for node in 0..scene.cluster.nodes() {
                match serves::observed(node, shared, first.clone()).await? {
                    Some(seen) => {
                        for operation in seen {
                            shared.recorder.record(as_of(operation, (began_us, saved_us)))?;
                        }
                        self.compared = true;
                    }
                    None => self.noted.violations.push("a node does not serve after a restore".to_owned()),
                }
            }
        }
        shared.begin_era(true);
        shared.gate.open();
        Ok(())
    }
}

/// What was seen now, as if it had been asked when the snapshot was saved.
fn as_of(mut operation: Operation, (began_us, saved_us): (u64, u64)) -> Operation {
    (operation.invoked_us, operation.returned_us) = (began_us, saved_us);
    if let Outcome::Ok(answer) = &mut operation.outcome {
        // It counts entries of the log, which a restore does not take back.
        answer.index = None;
    }
    operation
}

impl Fault for Restore {
    fn begin<'a>(&'a mut self, scene: &'a Scene<'a>) -> BoxFuture<'a, anyhow::Result<()>> {
        self.play(scene).boxed()
    }

    fn end<'a>(&'a mut self, _scene: &'a Scene<'a>) -> BoxFuture<'a, anyhow::Result<()>> {
        async { Ok(()) }.boxed()
    }

    fn exercised(&self) -> Result<(), String> {
        match (self.saved, self.restored, self.compared) {
            (false, ..) => Err("no snapshot came".to_owned()),
            (_, false, _) => Err("the snapshot was not restored".to_owned()),
            (.., false) => Err("nobody showed what was restored".to_owned()),
            _ => Ok(()),
        }
    }

    fn noted(&mut self) -> Noted {
        std::mem::take(&mut self.noted)
    }
}

//! Nodes that end at a fail point: by themselves, or because their power is cut while they stand there.

use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::time::Duration;

use rustix::process::Signal;
use serde::Serialize;

use super::{Cluster, Process, name};
use crate::disk::Flush;
use crate::random::Random;

/// What a server that was built with fail points reads them from, at any time.
pub const POINTS_FILE: &str = "FAILPOINTS_FILE";
/// A server has looked at its file after this time.
const LOOKED: Duration = Duration::from_millis(25);
/// How often the file system writes its journal before the power is cut, and how often some files are synced, in percent.
const JOURNAL_PERCENT: u64 = 25;
const SYNC_PERCENT: u64 = 25;

/// How a node ends at a point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    /// It aborts. What it has written is there, synced or not.
    Abort,
    /// It stands still, and its disk loses what was not synced.
    PowerCut,
}

impl Way {
    /// As fail points name it.
    pub const fn action(self) -> &'static str {
        match self {
            Self::Abort => "abort",
            Self::PowerCut => "stop",
        }
    }

    pub const fn name(self) -> &'static str {
        match self {
            Self::Abort => "abort",
            Self::PowerCut => "power cut",
        }
    }
}

impl Cluster {
    /// The node has these fail points, and no others, from now on or from its next start. Returns when it has seen so, if it
    /// runs: it may have met an earlier one until then.
    pub async fn arm(&self, node: usize, points: &str) -> anyhow::Result<()> {
        let (file, draft) = (self.points_file(node), self.folder.join("points-draft"));
        std::fs::write(&draft, points)?;
        // A server that looks at it never sees half of it.
        std::fs::rename(draft, file)?;
        if self.processes[node].lock().is_some() {
            tokio::time::sleep(LOOKED).await;
        }
        Ok(())
    }

    pub(super) fn points_file(&self, node: usize) -> PathBuf {
        self.folder.join(format!("{}.points", name(node)))
    }

    /// Whether the node's process has ended at its fail point; nothing while it works. If it is to lose its power there,
    /// it does so now. Another end is noted as a death.
    pub async fn has_crashed(&self, node: usize, way: Way, random: Random) -> anyhow::Result<Option<bool>> {
        if way == Way::PowerCut && self.processes[node].lock().as_ref().is_some_and(Process::is_stopped) {
            return self.cut_power(node, random).await.map(Some);
        }
        let mut process = self.processes[node].lock();
        let Some(status) = process.as_mut().and_then(Process::ended) else { return Ok(None) };
        *process = None;
        let crashed = way == Way::Abort && status.signal() == Some(Signal::ABORT.as_raw());
        if !crashed {
            self.deaths.lock().push(format!("{} ended by itself ({status})", name(node)));
        }
        Ok(Some(crashed))
    }

    /// Whether its disk really lost what it had not synced.
    async fn cut_power(&self, node: usize, mut random: Random) -> anyhow::Result<bool> {
        self.rest(node).await?;
        let flush = if random.chance(JOURNAL_PERCENT) { Flush::Journal } else { Flush::Nothing };
        if random.chance(SYNC_PERCENT) {
            self.disks.sync_some(node, random).await?;
        }
        self.disks.cut(&[node], flush).await?;
        self.kill(node).await?;
        self.disks.remount(node).await?;
        if let Err(why) = self.disks.was_cut(node) {
            crate::say(format_args!("{}: not counted as a power cut: {why}", name(node)));
            return Ok(false);
        }
        Ok(true)
    }
}

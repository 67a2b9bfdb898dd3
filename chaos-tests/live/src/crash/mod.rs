//! Ends nodes at every fail point, in the middle of what leads there, while clients work.
//!
//! A point that is passed at boot, at a join or at a restore needs other deeds than one that every write passes:
//! [`Deed`] names them, `deed.rs` does them. A point counts as hit only if the process ended there by itself.

mod deed;
mod epilogue;
mod hits;

use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use conclave_faults::failpoint::{POINTS, Point, PointRow};

pub use epilogue::play as epilogue;
pub use hits::Hits;

use crate::cluster::Cluster;
use crate::random::Random;
use crate::say;

/// Which part of the seed's chance is the crashes'.
const PART: u64 = 2;
/// How often a point that every write passes may be passed before the node ends there.
const PASSES_MAX: u64 = 25;
/// The cluster runs undisturbed for so long between two points.
const REST: Duration = Duration::from_millis(300);

/// What leads to a point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Deed {
    /// The clients' own writes.
    Load,
    /// So many writes that a snapshot is made and the log is cut.
    Snapshot,
    /// Leadership moves.
    Election,
    /// A leader that was cut off comes back with entries that nobody else has.
    Truncate,
    /// A node was away for so long that it is sent a snapshot.
    Install,
    /// A new node joins.
    Join,
    /// A new node joins, and the leader ends.
    Admit,
    /// The node is removed.
    Fence,
    /// The node leaves.
    Leave,
    /// The node has left, and starts again.
    Forget,
    Rotate,
    Seal,
    Unseal,
    /// A backup is restored: not while clients work, since it takes back what they were told.
    Restore,
    /// A new cluster is made.
    Init,
}

/// A match, so that a new point without a deed does not compile.
fn deed(point: Point) -> Deed {
    use Point as P;
    match point {
        P::LogAppend | P::LogAppended | P::LogSync | P::LogSynced => Deed::Load,
        P::CommittedSave | P::CommittedWritten => Deed::Load,
        P::ChunkCommit | P::ChunkCommitted | P::ChunkPublished => Deed::Load,
        P::VoteSave | P::VoteWritten | P::VoteSynced => Deed::Election,
        P::TruncateBegin | P::TruncateWritten | P::TruncateSynced => Deed::Truncate,
        P::PurgeBegin | P::PurgeWritten | P::PurgeSynced => Deed::Snapshot,
        P::Checkpoint | P::Checkpointed | P::SnapshotFlush | P::SnapshotFlushed => Deed::Snapshot,
        P::SnapshotFileSynced | P::SnapshotDescribed | P::ManifestWrite | P::ManifestWritten => {
            Deed::Snapshot
        }
        P::SnapshotRename | P::SnapshotRenamed | P::SnapshotCurrent => Deed::Snapshot,
        P::FileWritten | P::FileRenamed | P::FileReplaced => Deed::Snapshot,
        P::IncomingBegin | P::IncomingChunk | P::IncomingChunkWritten => Deed::Install,
        P::IncomingFileSynced | P::IncomingFinish | P::IncomingFinished => Deed::Install,
        P::InstallBegin | P::InstallFilled | P::InstallOpened | P::InstallKept => Deed::Install,
        P::InstallSwitched | P::InstallDone => Deed::Install,
        P::FormatWrite | P::FormatWritten => Deed::Join,
        P::IdentityAdopt | P::IdentityKeyWritten | P::IdentityWritten => Deed::Join,
        P::IdentitySwitch | P::IdentitySwitched | P::IdentityAdopted => Deed::Join,
        P::JoinAsk | P::JoinAnswered | P::JoinAdopted => Deed::Join,
        P::AdmitCommitted | P::AdmitAdded => Deed::Admit,
        P::FenceSave | P::DraftWritten | P::FenceSaved => Deed::Fence,
        P::LeaveMark | P::LeaveMarked | P::IdentityWipe | P::IdentityUnlinked => Deed::Leave,
        P::EraseBegin | P::EraseHalf | P::LeaveErased => Deed::Forget,
        P::RotatePropose | P::RotateCommitted => Deed::Rotate,
        P::SealMark | P::SealMarked => Deed::Seal,
        P::UnsealMark => Deed::Unseal,
        P::RestoreMarked | P::RestoreDeleted | P::RestoreFinish | P::RestoreFinished => Deed::Restore,
        P::InitIdentity | P::InitRaft | P::InitMembership | P::InitRecords | P::InitCommitted => Deed::Init,
    }
}

/// What every crash needs.
struct Stage<'a> {
    cluster: &'a Cluster,
    point: &'static str,
    node: usize,
    /// Name of the cut that this makes, if it makes one.
    cut: u64,
    /// How often the point is passed before.
    passes: u64,
}

impl Stage<'_> {
    fn setting(&self) -> String {
        match self.passes {
            0 => format!("{}=return(abort)", self.point),
            passes => format!("{}={passes}*off->1*return(abort)", self.point),
        }
    }
}

/// The points that a run is to hit, those under load first.
pub fn points(names: &[String]) -> anyhow::Result<Vec<&'static PointRow>> {
    let all = names.iter().any(|name| name == "all");
    let known = |name: &String| name == "all" || POINTS.iter().any(|row| row.name == name);
    let unknown = names.iter().find(|name| !known(name));
    anyhow::ensure!(unknown.is_none(), "there is no fail point {}", unknown.map_or("", String::as_str));
    Ok(POINTS.iter().filter(|row| all || names.iter().any(|name| name == row.name)).collect())
}

/// Chooses, with the seed, where and when the next crash is.
pub struct Plan {
    points: Vec<&'static PointRow>,
    random: Random,
    number: u64,
    next: Vec<usize>,
}

impl Plan {
    pub fn new(points: &[&'static PointRow], seed: u64) -> Self {
        let under_load = |row: &&&PointRow| !matches!(deed(row.point), Deed::Restore | Deed::Init);
        let points = points.iter().filter(under_load).copied().collect();
        Self { points, random: Random::part(seed, PART), number: 0, next: Vec::new() }
    }

    /// Ends one node at one point, heals, and says how it went. Every point comes once before any comes again.
    pub async fn crash_one(&mut self, cluster: &Cluster, hits: &mut Hits) -> anyhow::Result<()> {
        if self.points.is_empty() {
            tokio::time::sleep(REST).await;
            return Ok(());
        }
        if self.next.is_empty() {
            self.next = self.random.order(self.points.len());
        }
        let row = self.points[self.next.pop().unwrap_or_default()];
        self.number += 1;
        let passes = if deed(row.point) == Deed::Load { self.random.below(PASSES_MAX) } else { 0 };
        let node = self.random.index(cluster.nodes());
        let stage = Stage { cluster, point: row.name, node, cut: u64::MAX - self.number, passes };
        let after = || format!("after a crash at {}", row.name);
        let hit = stage.perform(deed(row.point)).await.with_context(after)?;
        note(hits, &stage, hit);
        cluster.heal().await.with_context(after)?;
        tokio::time::sleep(REST).await;
        Ok(())
    }

    pub fn number(&self) -> u64 {
        self.number
    }
}

fn note(hits: &mut Hits, stage: &Stage<'_>, hit: bool) {
    let verdict = if hit { "hit" } else { "not reached" };
    say(format_args!("{} at {}: {verdict}", stage.point, crate::cluster::name(stage.node)));
    hits.note(stage.point, hit);
}

/// Whether the server has fail points at all.
pub fn requirements(program: &Path) -> anyhow::Result<()> {
    let version = crate::cluster::version(program);
    anyhow::ensure!(
        version.contains("fail-points"),
        "{} has no fail points: it needs the feature fail-points",
        program.display()
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_are_named_or_all_and_unknown_ones_are_refused() {
        assert_eq!(points(&["all".to_owned()]).unwrap().len(), POINTS.len());
        assert_eq!(points(&["purge".to_owned()]).unwrap()[0].point, Point::PurgeBegin);
        assert!(points(&["purge".to_owned(), "x".to_owned()]).is_err());
    }

    #[test]
    fn every_setting_is_one_that_the_server_takes() {
        for row in POINTS {
            assert_eq!(conclave_faults::failpoint::check(&format!("{}=return(abort)", row.name)), Ok(()));
        }
    }
}

//! Ends nodes at every fail point, in the middle of what leads there, while clients work: by abort, which leaves what was
//! written, and by a power cut, which takes what was not synced.
//!
//! A point that is passed at boot, at a join or at a restore needs other deeds than one that every write passes:
//! [`Deed`] names them, `deed.rs` does them. A point counts as hit only if the process ended there by itself, or stood still
//! there and its disk then lost what was not synced. Points are armed while servers run, so that a crash costs one restart.

mod deed;
mod epilogue;
mod hits;
mod plan;
mod step;

use std::path::Path;

use conclave_faults::failpoint::{POINTS, Point, PointRow};

pub use epilogue::play as epilogue;
pub use hits::Hits;
pub use plan::Plan;

use crate::cluster::{Cluster, Way};
use crate::random::Random;

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
    /// An operator seals the node, and unseals it.
    Seal,
    /// A backup is restored: not while clients work, since it takes back what they were told.
    Restore,
    /// A new cluster is made.
    Init,
}

impl Deed {
    /// No client may live through it: it takes back what they were told.
    fn needs_quiet(self) -> bool {
        matches!(self, Self::Restore | Self::Init)
    }
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
        P::SealMark | P::SealMarked | P::UnsealMark | P::UnsealMarked => Deed::Seal,
        P::RestoreMarked | P::RestoreDeleted | P::RestoreFinish | P::RestoreFinished => Deed::Restore,
        P::InitIdentity | P::InitRaft | P::InitMembership | P::InitRecords | P::InitCommitted => Deed::Init,
    }
}

/// What every crash needs.
struct Stage<'a> {
    cluster: &'a Cluster,
    point: Point,
    name: &'static str,
    way: Way,
    node: usize,
    /// Name of the cut that this makes, if it makes one.
    cut: u64,
    /// How often the point is passed before.
    passes: u64,
    /// What becomes of a disk that loses its power.
    random: Random,
}

impl Stage<'_> {
    fn setting(&self) -> String {
        setting(self.name, self.way, self.passes)
    }

    fn after(&self) -> String {
        format!("after {} at {} of {}", self.way.name(), self.name, crate::cluster::name(self.node))
    }
}

fn setting(point: &str, way: Way, passes: u64) -> String {
    match passes {
        0 => format!("{point}=return({})", way.action()),
        passes => format!("{point}={passes}*off->1*return({})", way.action()),
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
            for way in [Way::Abort, Way::PowerCut] {
                assert_eq!(conclave_faults::failpoint::check(&setting(row.name, way, 0)), Ok(()));
            }
        }
        assert_eq!(setting("purge", Way::Abort, 0), "purge=return(abort)");
        assert_eq!(setting("purge", Way::PowerCut, 7), "purge=7*off->1*return(stop)");
    }
}

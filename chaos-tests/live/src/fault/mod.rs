//! Faults: what is done to a running cluster, one file a kind.
//!
//! A fault says itself whether it happened as meant. One that did not (the node to be paused did not lead, not one packet
//! met the cut) is made and healed like any other, but not counted.

mod churn;
mod clock;
mod damage;
mod full_disk;
mod io_error;
mod kill;
mod loss;
mod operator;
mod partition;
mod pause;
mod power;
mod quorum;
mod restore;
mod slow;
mod snapshot;
mod takeover;

use std::sync::Arc;

use futures::future::BoxFuture;
use serde::Serialize;

use crate::client::Shared;
use crate::cluster::Cluster;
use crate::random::Random;

/// All kinds, as they stand in schedules and reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    Kill,
    /// SIGKILL for all nodes at once.
    KillAll,
    Pause,
    /// A node apart from all others.
    Isolate,
    /// A node hears, and is not heard.
    Mute,
    /// A node is heard, and does not hear.
    Deafen,
    /// Two halves, and one node that sees both.
    Bridge,
    /// Each node sees two neighbours only.
    Ring,
    Loss,
    /// A node's link is slow.
    Slow,
    Seal,
    Rotate,
    StepDown,
    SnapshotSave,
    /// A snapshot is restored, which takes back what was done since.
    Restore,
    /// A node is removed and joins again.
    Churn,
    /// A node leaves by itself and joins again.
    Leave,
    /// A node's wall clock is wrong.
    ClockOff,
    /// A node's wall clock runs too fast or too slow.
    ClockDrift,
    /// A node's wall clock is set again and again.
    ClockJump,
    /// A node is killed and starts again with a wrong wall clock.
    ClockBoot,
    /// There is no majority for a while.
    NoQuorum,
    /// What was not synced is lost, on one node.
    PowerCut,
    PowerCutMinority,
    /// On all nodes within the same moment.
    PowerCutAll,
    FullDisk,
    /// A disk fails below a running server.
    IoError,
    /// A file of the log, the state or a snapshot is changed, cut off, old or gone.
    Damage,
    /// A whole data directory is replaced by an older copy.
    Rollback,
    /// A whole data directory is gone.
    Wipe,
    /// A kill while a snapshot is sent.
    KillSnapshot,
    /// A kill of the leader, and of who takes over.
    KillTakeover,
}

/// Whom a fault is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Aim {
    Leader,
    Follower,
}

/// A fault of the schedule: everything about it comes from the seed.
#[derive(Debug, Clone, Serialize)]
pub struct Planned {
    /// Unique within the run.
    pub id: u64,
    pub kind: Kind,
    pub aim: Aim,
    /// From the beginning of its episode.
    pub after_ms: u64,
    pub lasts_ms: u64,
    /// For whatever else has to be chosen: which follower, how much loss.
    pub seed: u64,
}

/// What a fault needs to know when it begins.
pub struct Scene<'a> {
    pub cluster: &'a Cluster,
    pub shared: &'a Arc<Shared>,
    pub planned: &'a Planned,
    /// Whom it is for, chosen just before.
    pub node: usize,
}

impl Scene<'_> {
    pub fn random(&self) -> Random {
        Random::new(self.planned.seed)
    }

    /// Whether the node still leads: a fault that was meant for the leader must meet it.
    async fn meets_its_aim(&self) -> bool {
        match self.planned.aim {
            Aim::Leader => self.cluster.leader().await == Some(self.node),
            Aim::Follower => true,
        }
    }
}

/// What a fault saw itself.
#[derive(Debug, Default)]
pub struct Noted {
    /// What must not be.
    pub violations: Vec<String>,
    /// What it met, in a few words that are counted.
    pub met: Vec<String>,
    /// How long answers took that it asked for.
    pub waits_ms: Vec<u64>,
}

/// One fault, from its begin to its end.
pub trait Fault: Send {
    fn begin<'a>(&'a mut self, scene: &'a Scene<'a>) -> BoxFuture<'a, anyhow::Result<()>>;

    fn end<'a>(&'a mut self, scene: &'a Scene<'a>) -> BoxFuture<'a, anyhow::Result<()>>;

    /// Asked after its end: nothing if it happened as meant, else why it does not count.
    fn exercised(&self) -> Result<(), String>;

    /// Asked once, after its end.
    fn noted(&mut self) -> Noted {
        Noted::default()
    }
}

pub fn make(kind: Kind) -> Box<dyn Fault> {
    match kind {
        Kind::Kill => Box::new(kill::Kill::one()),
        Kind::KillAll => Box::new(kill::Kill::all()),
        Kind::Pause => Box::new(pause::Pause::default()),
        Kind::Isolate | Kind::Mute | Kind::Deafen | Kind::Bridge | Kind::Ring => {
            Box::new(partition::Partition::new(kind))
        }
        Kind::Loss => Box::new(loss::Loss::default()),
        Kind::Slow => Box::new(slow::Slow::default()),
        Kind::Churn => Box::new(churn::Churn::removed()),
        Kind::Leave => Box::new(churn::Churn::leaving()),
        Kind::Restore => Box::new(restore::Restore::default()),
        Kind::ClockOff | Kind::ClockDrift | Kind::ClockJump | Kind::ClockBoot => {
            Box::new(clock::Clock::new(kind))
        }
        Kind::NoQuorum => Box::new(quorum::NoQuorum::default()),
        Kind::Seal => Box::new(operator::Seal::default()),
        Kind::Rotate => Box::new(operator::Command::new("sys/rotate/keyring")),
        Kind::StepDown => Box::new(operator::StepDown::default()),
        Kind::SnapshotSave => Box::new(operator::SnapshotSave::default()),
        Kind::PowerCut | Kind::PowerCutMinority | Kind::PowerCutAll => Box::new(power::PowerCut::new(kind)),
        Kind::FullDisk => Box::new(full_disk::FullDisk::default()),
        Kind::IoError => Box::new(io_error::IoError::default()),
        Kind::Damage | Kind::Rollback | Kind::Wipe => Box::new(damage::Damage::new(kind)),
        Kind::KillSnapshot => Box::new(snapshot::KillSnapshot::default()),
        Kind::KillTakeover => Box::new(takeover::KillTakeover::default()),
    }
}

impl Kind {
    /// Smallest cluster in which it does anything.
    pub fn nodes_min(self) -> usize {
        match self {
            Self::Ring => 4,
            // With fewer, it is one node.
            Self::PowerCutMinority => 5,
            _ => 3,
        }
    }

    /// Whether it means nothing at another node.
    pub fn is_for_leaders(self) -> bool {
        self == Self::KillTakeover
    }

    /// Whether it can be made only where each node has a disk of its own.
    pub fn needs_disks(self) -> bool {
        matches!(
            self,
            Self::PowerCut | Self::PowerCutMinority | Self::PowerCutAll | Self::FullDisk | Self::IoError
        )
    }

    /// Whether it changes what a node's process does, so that two of them on one node would undo each other.
    pub fn holds_process(self) -> bool {
        match self {
            Self::Kill | Self::KillAll | Self::Pause | Self::Seal | Self::Churn | Self::Leave => true,
            Self::PowerCut | Self::PowerCutMinority | Self::PowerCutAll | Self::FullDisk | Self::IoError => {
                true
            }
            Self::Damage | Self::Rollback | Self::Wipe | Self::KillSnapshot | Self::KillTakeover => true,
            Self::ClockBoot => true,
            Self::Isolate | Self::Mute | Self::Deafen | Self::Bridge | Self::Ring => false,
            Self::Loss | Self::Slow | Self::Rotate | Self::StepDown | Self::SnapshotSave => false,
            Self::ClockOff | Self::ClockDrift | Self::ClockJump | Self::NoQuorum | Self::Restore => false,
        }
    }

    /// Whether it ends a node's process in the middle of whatever that does.
    pub fn ends_process(self) -> bool {
        let killed = matches!(self, Self::Kill | Self::KillAll | Self::KillSnapshot | Self::KillTakeover);
        let cut = matches!(self, Self::PowerCut | Self::PowerCutMinority | Self::PowerCutAll);
        killed || cut || self == Self::ClockBoot
    }

    /// Whether it bends a node's wall clock.
    pub fn bends_clock(self) -> bool {
        matches!(self, Self::ClockOff | Self::ClockDrift | Self::ClockJump | Self::ClockBoot)
    }

    /// Whether it can be made only while nothing else is done: it holds many nodes, or all clients.
    pub fn is_alone(self) -> bool {
        matches!(self, Self::NoQuorum | Self::Restore)
    }

    /// Whether it stops all nodes at once.
    fn stops_all(self) -> bool {
        matches!(self, Self::KillAll | Self::PowerCutAll)
    }

    /// Whether the two may go on at the same time.
    ///
    /// After all nodes have stopped, nothing but the wall clock of the next leader tells how long that was: if it is wrong,
    /// so is the cluster's time.
    pub fn goes_with(self, other: Self) -> bool {
        let clocks = self.bends_clock() && (other.bends_clock() || other.stops_all());
        let clocks = clocks || (other.bends_clock() && self.stops_all());
        // The same kind twice at a time tells little more than once.
        self != other && !clocks && !self.is_alone() && !other.is_alone()
    }

    /// Whether it is made at times for much longer than others.
    pub fn lasts_long(self) -> bool {
        self == Self::Pause
    }

    /// Whether a leader it hits is lost to its cluster, so that the time without writes is a failover.
    pub fn takes_leader(self) -> bool {
        let by_itself = matches!(self, Self::Kill | Self::Pause | Self::Isolate | Self::Mute | Self::Deafen);
        let by_its_disk =
            matches!(self, Self::PowerCut | Self::FullDisk | Self::IoError | Self::Damage | Self::Wipe);
        by_itself || by_its_disk
    }
}

//! Faults: what is done to a running cluster, one file a kind.
//!
//! A fault says itself whether it happened as meant. One that did not (the node to be paused did not lead, not one packet
//! met the cut) is made and healed like any other, but not counted.

mod churn;
mod kill;
mod loss;
mod operator;
mod partition;
mod pause;
mod slow;

use futures::future::BoxFuture;
use serde::Serialize;

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
    /// A node is removed and joins again.
    Churn,
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

/// One fault, from its begin to its end.
pub trait Fault: Send {
    fn begin<'a>(&'a mut self, scene: &'a Scene<'a>) -> BoxFuture<'a, anyhow::Result<()>>;

    fn end<'a>(&'a mut self, scene: &'a Scene<'a>) -> BoxFuture<'a, anyhow::Result<()>>;

    /// Asked after its end: nothing if it happened as meant, else why it does not count.
    fn exercised(&self) -> Result<(), String>;
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
        Kind::Churn => Box::new(churn::Churn::default()),
        Kind::Seal => Box::new(operator::Seal::default()),
        Kind::Rotate => Box::new(operator::Command::new("sys/rotate/keyring")),
        Kind::StepDown => Box::new(operator::StepDown::default()),
        Kind::SnapshotSave => Box::new(operator::SnapshotSave::default()),
    }
}

impl Kind {
    /// Smallest cluster in which it does anything.
    pub fn nodes_min(self) -> usize {
        match self {
            Self::Ring => 4,
            _ => 3,
        }
    }

    /// Whether it changes what a node's process does, so that two of them on one node would undo each other.
    pub fn holds_process(self) -> bool {
        matches!(self, Self::Kill | Self::KillAll | Self::Pause | Self::Seal | Self::Churn)
    }

    /// Whether a leader it hits is lost to its cluster, so that the time without writes is a failover.
    pub fn takes_leader(self) -> bool {
        matches!(self, Self::Kill | Self::Pause | Self::Isolate | Self::Mute | Self::Deafen)
    }
}

//! Nodes that end at a fail point.

use std::os::unix::process::ExitStatusExt as _;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::{Cluster, POLL, Process, name};

/// What a server reads its fail points from, if it was built with them.
pub const POINTS: &str = "FAILPOINTS";

impl Cluster {
    /// The next start of the node has these fail points, and no other start.
    pub fn arm(&self, node: usize, points: String) {
        *self.armed.lock() = Some((node, points));
    }

    /// Whether the node's process has ended as at a fail point. Another end is noted as a death.
    pub fn has_crashed(&self, node: usize) -> Option<bool> {
        let mut process = self.processes[node].lock();
        let status = process.as_mut().and_then(Process::ended)?;
        *process = None;
        let crashed = status.signal() == Some(Signal::ABORT.as_raw());
        if !crashed {
            self.deaths.lock().push(format!("{} ended by itself ({status})", name(node)));
        }
        Some(crashed)
    }

    /// Waits for that.
    pub async fn crashes_within(&self, node: usize, limit: Duration) -> bool {
        let began = Instant::now();
        loop {
            match self.has_crashed(node) {
                Some(crashed) => return crashed,
                None if began.elapsed() >= limit => return false,
                None => tokio::time::sleep(POLL).await,
            }
        }
    }
}

//! Raft's settings: the few that an operator may change, and the ones that this product must not leave at openraft's
//! defaults.
//!
//! After a leader dies, the cluster waits for its lease (`election_timeout_max_ms`) and then for a random election
//! timeout. Shorter timeouts mean a shorter gap in writes and more false elections on a busy machine.

use std::sync::Arc;
use std::time::Duration;

use openraft::{Config, SnapshotPolicy};
use serde::{Deserialize, Serialize};

/// Entries in one replication message at most; the log reader bounds the bytes.
const REPLICATION_ENTRIES_MAX: u64 = 256;
/// Entries that one purge removes at least, if so many are kept: each purge is a write, so few and large.
const PURGE_ENTRIES_MIN: u64 = 1024;
/// How long sending and installing one snapshot may take, in milliseconds.
const SNAPSHOT_TRANSFER_MS_MAX: u64 = 30 * 60 * 1000;
/// Waits between tries to reach a peer that does not answer.
const RETRY_SERIES: &str = "20ms 50ms 100ms 200ms 500ms";

/// What an operator may set. All times in milliseconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RaftOptions {
    /// How often a leader shows that it lives. A heartbeat that takes longer than this counts as failed.
    pub heartbeat_ms: u64,
    pub election_timeout_min_ms: u64,
    /// Also the leader's lease: no election starts before a silent leader's lease is over.
    pub election_timeout_max_ms: u64,
    /// A snapshot is built when the log has grown by this many entries.
    pub snapshot_after_entries: u64,
    /// Entries kept behind a snapshot, so that a node that was away for a moment needs no snapshot.
    pub entries_kept: u64,
    pub read_proof: ReadProof,
    /// Threads of Raft's own runtime.
    pub threads: usize,
}

/// How a leader proves, before it reads, that it still leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum ReadProof {
    /// By its lease, and by a quorum only when that is over.
    #[default]
    Lease,
    /// By asking a quorum each time: right also when a hypervisor stops a guest together with its clocks.
    Quorum,
}

impl Default for RaftOptions {
    fn default() -> Self {
        Self {
            heartbeat_ms: 50,
            election_timeout_min_ms: 150,
            election_timeout_max_ms: 300,
            snapshot_after_entries: 100_000,
            entries_kept: 20_000,
            read_proof: ReadProof::default(),
            threads: default_threads(),
        }
    }
}

/// Raft's tasks mostly wake each other: on few cores one thread spares them the way between two.
fn default_threads() -> usize {
    std::thread::available_parallelism().map_or(1, |cores| cores.get().div_ceil(3).min(4))
}

/// Settings that contradict each other.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the raft settings are not usable: {0}")]
pub struct RaftOptionsError(String);

impl RaftOptions {
    /// How long a leader may read after a quorum answered it; see [`super::lease`].
    pub fn read_lease(&self) -> Option<Duration> {
        let lease = Duration::from_millis(self.election_timeout_min_ms);
        (self.read_proof == ReadProof::Lease).then_some(lease)
    }

    /// How long whoever answers a leader neither votes for another node nor stands itself.
    pub fn lease_promise(&self) -> Duration {
        Duration::from_millis(self.election_timeout_max_ms)
    }

    /// openraft's settings for a cluster of this name.
    ///
    /// # Errors
    /// [`RaftOptionsError`] if a timeout is not longer than what it must outlast.
    pub fn config(&self, cluster_name: impl Into<String>) -> Result<Arc<Config>, RaftOptionsError> {
        if self.threads == 0 {
            return Err(RaftOptionsError("at least one thread is needed".into()));
        }
        if self.snapshot_after_entries == 0 {
            return Err(RaftOptionsError("a snapshot needs at least one entry".into()));
        }
        let config = Config {
            cluster_name: cluster_name.into(),
            heartbeat_interval: self.heartbeat_ms,
            election_timeout_min: self.election_timeout_min_ms,
            election_timeout_max: self.election_timeout_max_ms,
            install_snapshot_timeout: SNAPSHOT_TRANSFER_MS_MAX,
            max_payload_entries: REPLICATION_ENTRIES_MAX,
            snapshot_policy: SnapshotPolicy::LogsSinceLast(self.snapshot_after_entries),
            max_in_snapshot_log_to_keep: self.entries_kept,
            // openraft asks for more than the snapshot policy, or a node between the two is never served.
            replication_lag_threshold: self.snapshot_after_entries.saturating_add(self.entries_kept),
            purge_batch_size: self.entries_kept.clamp(1, PURGE_ENTRIES_MIN),
            backoff: RETRY_SERIES.to_owned(),
            // A node stands for election only once it is free to: `lease.rs` says when.
            enable_elect: false,
            // Without it, a node that comes back from a partition deposes a healthy leader.
            enable_pre_vote: Some(true),
            // The state machine is not fsynced: a restarted leader must be elected before it serves.
            enable_leader_restore: Some(false),
            // A leader that lost its quorum lets others try; the least that openraft accepts is twice the lease.
            quorum_loss_probe_interval: Some(self.election_timeout_max_ms.saturating_mul(3)),
            // A follower that forgot what it acknowledged is noticed when it starts (`recall`). One that nobody could
            // notice must not take the leader down as well, which is what openraft does unless it is told this.
            allow_log_reversion: Some(true),
            ..Config::default()
        };
        config.validate().map(Arc::new).map_err(|error| RaftOptionsError(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_usable_and_switch_the_safety_on() {
        let config = RaftOptions::default().config("test").unwrap();
        assert_eq!(config.enable_pre_vote, Some(true));
        assert_eq!(config.enable_leader_restore, Some(false));
        assert!(config.quorum_loss_probe_interval.is_some_and(|interval| interval >= 600));
        assert!(config.install_snapshot_timeout > 60_000);
        assert!(config.replication_lag_threshold > 100_000);
    }

    #[test]
    fn an_election_timeout_below_the_heartbeat_is_refused() {
        let options = RaftOptions { heartbeat_ms: 200, ..RaftOptions::default() };
        assert!(options.config("test").is_err());
    }

    #[test]
    fn unusable_sizes_are_refused() {
        assert!(RaftOptions { threads: 0, ..RaftOptions::default() }.config("test").is_err());
        assert!(RaftOptions { snapshot_after_entries: 0, ..RaftOptions::default() }.config("test").is_err());
    }
}

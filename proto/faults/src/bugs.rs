//! The table of planted bugs: what each breaks, and which checker has to notice.

/// What must notice a bug. The names are those of the chaos tests' checkers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Checker {
    /// The history of one key has an order in which every answer is right.
    Linearizability,
    /// No acknowledged write is lost.
    LostWrites,
    /// Of writes that expect the same version at most one wins.
    CasOnce,
    /// A repeat under an idempotency key is applied once.
    IdempotentOnce,
    /// States are equal at an equal index.
    StateHash,
    /// Neither revision nor time runs backwards.
    NeverBackwards,
    /// What has expired is gone, and nothing earlier.
    Expiry,
    /// No canary in any file, log or metric; nothing sealed opens elsewhere.
    Secrecy,
    /// A stale answer respects its own bound.
    StaleBound,
    /// A node that is removed, sealed or damaged refuses.
    Refusal,
    /// After healing every node serves everything.
    AllServed,
    /// What was taken away is refused everywhere, and what was not is honoured.
    Revocation,
    /// A token lasts for its time and no longer.
    TokenLife,
    /// Wrong passwords lock out, and nothing else does.
    Lockout,
    /// A wrapped answer is handed over once.
    Wrapping,
    /// Audit trails are whole.
    Trail,
}

impl Checker {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Linearizability => "linearizability",
            Self::LostWrites => "lost-writes",
            Self::CasOnce => "cas-once",
            Self::IdempotentOnce => "idempotent-once",
            Self::StateHash => "state-hash",
            Self::NeverBackwards => "never-backwards",
            Self::Expiry => "expiry",
            Self::Secrecy => "secrecy",
            Self::StaleBound => "stale-bound",
            Self::Refusal => "refusal",
            Self::AllServed => "all-served",
            Self::Revocation => "revocation",
            Self::TokenLife => "token-life",
            Self::Lockout => "lockout",
            Self::Wrapping => "wrapping",
            Self::Trail => "trail",
        }
    }
}

/// Where a bug must be on to be seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Everywhere.
    Cluster,
    /// On one node or some, so that the others can be compared with it.
    Node,
}

impl Scope {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cluster => "all nodes",
            Self::Node => "one node",
        }
    }
}

/// One row of the table.
#[derive(Debug, Clone, Copy)]
pub struct PlantedBug {
    pub bug: Bug,
    /// As [`crate::planted::VARIABLE`] names it.
    pub name: &'static str,
    pub scope: Scope,
    /// What it takes for the bug to do harm.
    pub needs: &'static str,
    /// What it does, and breaks.
    pub breaks: &'static str,
    /// Any of these is enough.
    pub caught_by: &'static [Checker],
}

macro_rules! bugs {
    ($($bug:ident $name:literal on $scope:ident needs $needs:literal breaks $breaks:literal caught by $($checker:ident),+;)+) => {
        /// Every bug that can be planted.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Bug {
            $(#[doc = $breaks] $bug,)+
        }

        /// All of them, by the part of the server they are in.
        pub const BUGS: &[PlantedBug] = &[$(PlantedBug {
            bug: Bug::$bug,
            name: $name,
            scope: Scope::$scope,
            needs: $needs,
            breaks: $breaks,
            caught_by: &[$(Checker::$checker),+],
        },)+];
    };
}

bugs! {
    // The log.
    AckBeforeFsync "ack-before-fsync" on Cluster
        needs "power cut on all nodes"
        breaks "The log reports an append as durable before it is synced (I6)."
        caught by LostWrites, Linearizability;
    SyncErrorIgnored "sync-error-ignored" on Cluster
        needs "EIO at a sync, then a power cut"
        breaks "A sync that failed is reported as done, and the log goes on (I12)."
        caught by LostWrites, Refusal;
    VoteUnsynced "vote-unsynced" on Cluster
        needs "power cuts during elections"
        breaks "A vote is answered before it is on disk: a node can vote twice in one term (I6)."
        caught by LostWrites, StateHash;
    VoteInTwoWrites "vote-in-two-writes" on Cluster
        needs "power cuts during elections"
        breaks "The term is synced with the candidate of the term before, the new candidate comes in a write of its own (I6)."
        caught by LostWrites, StateHash, AllServed;
    LastRecordForgotten "last-record-forgotten" on Cluster
        needs "kill of all nodes under load"
        breaks "A restarted node believes that its log ends one entry earlier than it does (I6)."
        caught by LostWrites, Linearizability;
    ReplayedRecordEmptied "replayed-record-emptied" on Node
        needs "a restart, or a follower that lags"
        breaks "Every eighth entry that is read back from disk has lost its transactions."
        caught by StateHash, LostWrites;
    WalDamageTolerated "wal-damage-tolerated" on Node
        needs "flipped bits in the log"
        breaks "Damage in the middle of the write-ahead log ends it silently: the node votes with a shortened log (I12)."
        caught by Refusal, LostWrites;
    LogHoleAccepted "log-hole-accepted" on Node
        needs "a log file that was truncated or swapped"
        breaks "A log with a hole near its end is opened as if it were whole (I12)."
        caught by Refusal, LostWrites;
    LogLossAccepted "log-loss-accepted" on Node
        needs "a log that is gone or older than the state"
        breaks "Nobody checks at start that log, state and snapshot fit together (I12)."
        caught by Refusal, LostWrites;

    // Applying.
    PreconditionsIgnored "preconditions-ignored" on Cluster
        needs "writers of one key at several nodes"
        breaks "What a decision was made from is checked when it is planned and not when it is applied (I7)."
        caught by CasOnce, Linearizability;
    ConflictToldAsDone "conflict-told-as-done" on Cluster
        needs "writers of one key at several nodes"
        breaks "A proposer is told that its transaction was applied though it conflicted (I7)."
        caught by CasOnce, LostWrites;
    RevisionsRounded "revisions-rounded" on Cluster
        needs "writers of one key at several nodes"
        breaks "Writes close to each other get one revision, so that a decision survives the change it should fall with (I7)."
        caught by CasOnce, Linearizability;
    LocalClockInApply "local-clock-in-apply" on Cluster
        needs "clocks that differ"
        breaks "Entries are applied at the node's own time and not at theirs (I2)."
        caught by StateHash, Expiry;
    TimeRunsBackwards "time-runs-backwards" on Cluster
        needs "clocks that differ, and a new leader"
        breaks "The cluster's time is that of the last entry, whatever came before (I2)."
        caught by NeverBackwards, Expiry;
    DeletesIgnored "deletes-ignored" on Node
        needs "deletes"
        breaks "Deletes are not applied on this node (I2)."
        caught by StateHash, Linearizability;
    AppliedToldEarly "applied-told-early" on Cluster
        needs "reads beside writes"
        breaks "Readers are told that entries are applied before the state has them (I4)."
        caught by Linearizability;

    // Reading.
    CacheNotUpdated "cache-not-updated" on Cluster
        needs "reads beside writes"
        breaks "A write leaves the record that was read before in the cache (I4)."
        caught by Linearizability;
    GlanceNotRepeated "glance-not-repeated" on Cluster
        needs "reads beside writes"
        breaks "A decision may mix records of two states, since nobody looks whether one came in between (I7)."
        caught by Linearizability, CasOnce;
    ExpiredServed "expired-served" on Cluster
        needs "more than 256 records that expire at once"
        breaks "A record is still answered after it has expired, until it is dropped."
        caught by Expiry;

    // Snapshots.
    SnapshotWithoutMembership "snapshot-without-membership" on Cluster
        needs "a snapshot that is installed, or a restart from one"
        breaks "A snapshot does not tell the membership at its point of the log (I6)."
        caught by AllServed, LostWrites;
    SnapshotNotFlushed "snapshot-not-flushed" on Cluster
        needs "power cut after a snapshot"
        breaks "The log is purged up to a snapshot before the state it was made from is on disk (I6)."
        caught by AllServed;
    SnapshotUnchecked "snapshot-unchecked" on Node
        needs "a damaged snapshot, sent"
        breaks "A received snapshot is installed whatever its checksums say (I12)."
        caught by Refusal, StateHash;
    InstallKeepsSummary "install-keeps-summary" on Cluster
        needs "a snapshot that is installed"
        breaks "After a snapshot is installed, time and state hash go on from before it (I2)."
        caught by StateHash, NeverBackwards;
    InstallKeepsState "install-keeps-state" on Cluster
        needs "a snapshot that is installed"
        breaks "Readers go on with the state from before the snapshot that was installed (I4)."
        caught by Linearizability, StateHash;

    // Secrets.
    ContextDropped "context-dropped" on Cluster
        needs "records swapped on disk"
        breaks "The context is left out of the AEAD: a record opens under another key or path (I1)."
        caught by Secrecy;
    NonceReused "nonce-reused" on Cluster
        needs "two writes of one value"
        breaks "Every record is sealed under the same nonce (I1)."
        caught by Secrecy;
    PathInLog "path-in-log" on Cluster
        needs "any request"
        breaks "The path of every request is written to the server's log (I1)."
        caught by Secrecy;
    MetadataUnguarded "metadata-unguarded" on Cluster
        needs "writers of one key at several nodes"
        breaks "A write of KV v2 does not name the revision of the metadata that it was planned from (I7)."
        caught by CasOnce, LostWrites;

    // Raft beside the log.
    AckBeforeQuorum "ack-before-quorum" on Cluster
        needs "a leader that dies or is cut off"
        breaks "A write is answered after a few milliseconds, committed or not (I6)."
        caught by LostWrites, Linearizability;
    UnknownToldAsFailed "unknown-told-as-failed" on Cluster
        needs "a quorum lost for longer than a request waits"
        breaks "A write whose fate is not known counts as not made, and is told so or made again (I5)."
        caught by Linearizability, CasOnce;
    LeaseNeverExpires "lease-never-expires" on Cluster
        needs "a leader that is paused or cut off"
        breaks "A leader goes on reading by its lease, however long no quorum has answered it (I4)."
        caught by Linearizability;
    AnswersUncounted "answers-uncounted" on Cluster
        needs "a leader that is paused"
        breaks "A leader takes the answer to an older message for one to its newest, so that its lease is too long (I4)."
        caught by Linearizability;
    LeaseKeptInHandover "lease-kept-in-handover" on Cluster
        needs "leadership handed over under load"
        breaks "A leader that hands over keeps its lease, though its successor is elected within it (I4)."
        caught by Linearizability;
    PromiseForgotten "promise-forgotten" on Cluster
        needs "restarts within an election timeout while a leader is paused"
        breaks "A restarted node votes at once, though its former life has promised a leader not to (I4)."
        caught by Linearizability;
    ProofForLatecomers "proof-for-latecomers" on Cluster
        needs "reads at followers beside writes"
        breaks "A proof of the read index is given to readers that came after it began (I4)."
        caught by Linearizability;
    RemovedNodeNotFenced "removed-node-not-fenced" on Cluster
        needs "removal of a node"
        breaks "A node that learns that it was removed goes on answering from its state (I10)."
        caught by Refusal, StaleBound;
    StrangersAdmitted "strangers-admitted" on Cluster
        needs "removal of a node"
        breaks "A valid certificate is enough to call a node: membership is not looked at (I10)."
        caught by Refusal;

    // The way of a request.
    ReadWithoutBarrier "read-without-barrier" on Cluster
        needs "a follower that lags"
        breaks "A linearizable read is answered from the node's own state, without a proof (I4)."
        caught by Linearizability;
    StaleBoundIgnored "stale-bound-ignored" on Cluster
        needs "a node that is cut off, and stale reads"
        breaks "A stale read is answered however old the state is."
        caught by StaleBound;
    SealedInNameOnly "sealed-in-name-only" on Cluster
        needs "a seal"
        breaks "Sealing a node is answered, but its keys stay in memory and it goes on answering (I1)."
        caught by Refusal;
    IdempotencyIgnored "idempotency-ignored" on Cluster
        needs "repeated requests"
        breaks "A repeat under an idempotency key is applied again (I5)."
        caught by IdempotentOnce;
    AttemptIgnored "attempt-ignored" on Cluster
        needs "a leader that dies with a forwarded write"
        breaks "A forwarded write that is sent again to the next leader is applied again (I5)."
        caught by IdempotentOnce, CasOnce;

    // Who may do what.
    EndedTokenRemembered "ended-token-remembered" on Cluster
        needs "tokens that are used, revoked, and used again"
        breaks "A node goes on honouring a token that it has seen, though its record is gone (I7)."
        caught by Revocation, TokenLife;
    PolicyRemembered "policy-remembered" on Cluster
        needs "a policy that is changed while tokens have it"
        breaks "What policies allow is kept once it was compiled, whatever becomes of them (I7)."
        caught by Revocation;
    RenewalAdded "renewal-added" on Cluster
        needs "tokens that are renewed and then left alone"
        breaks "A renewal is added to the time that is left, so that a token outlives what it was promised."
        caught by TokenLife;
    GuessUnguarded "guess-unguarded" on Cluster
        needs "wrong passwords for one user at several nodes at once"
        breaks "A wrong password does not name the count that it was decided from: of several at once, one is counted (I7)."
        caught by Lockout;
    UnwrapUnguarded "unwrap-unguarded" on Cluster
        needs "one wrapped answer asked for at several nodes at once"
        breaks "A wrapping token is used up without naming the record that said it was there: each who asks at once gets the answer (I7)."
        caught by Wrapping;
    TrailBegunAnew "trail-begun-anew" on Cluster
        needs "a restart"
        breaks "A node that starts begins its audit trail's chain anew, as if nothing had been written before (I9)."
        caught by Trail;
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_unique_and_can_be_typed() {
        let names: BTreeSet<&str> = BUGS.iter().map(|bug| bug.name).collect();
        assert_eq!(names.len(), BUGS.len());
        for name in names {
            assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-'), "{name}");
        }
    }
}

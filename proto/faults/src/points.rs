//! The table of fail points: every durable step, and what a crash there proves.

/// One row of the table.
#[derive(Debug, Clone, Copy)]
pub struct PointRow {
    pub point: Point,
    /// As `FAILPOINTS` names it.
    pub name: &'static str,
    /// Where the process is when it passes.
    pub at: &'static str,
    /// What a power cut there leaves of the step.
    pub leaves: Leaves,
    /// What holds after a crash there.
    pub proves: &'static str,
}

/// What is on disk, after a power cut, of the step that a point belongs to. A process that merely ends leaves all that it has
/// written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leaves {
    /// It was not begun, or nothing of it counts yet.
    Nothing,
    /// It is written and not synced.
    Perhaps,
    /// It is synced here, or committed by a majority.
    All,
}

impl Leaves {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Perhaps => "perhaps some",
            Self::All => "all",
        }
    }
}

macro_rules! points {
    ($($point:ident $name:literal at $at:literal leaves $leaves:ident proves $proves:literal;)+) => {
        /// Every point that a server passes.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Point {
            $(#[doc = $at] $point,)+
        }

        /// All of them, by the part of the server they are in.
        pub const POINTS: &[PointRow] =
            &[$(PointRow {
                point: Point::$point,
                name: $name,
                at: $at,
                leaves: Leaves::$leaves,
                proves: $proves,
            },)+];
    };
}

points! {
    // The log.
    LogAppend "log-append" at "Before entries are written to the log."
        leaves Nothing proves "what was only proposed is never acknowledged";
    LogAppended "log-appended" at "Entries are written to the log, unsynced."
        leaves Perhaps proves "an unsynced entry may come back or not, and nobody was told";
    LogSync "log-sync" at "The log thread is about to sync what was written."
        leaves Perhaps proves "a group that was not synced was not reported";
    LogSynced "log-synced" at "The log is synced, nobody was told."
        leaves All proves "a durable entry without an answer is unknown to its client, not failed";
    VoteSave "vote-save" at "Before a vote is written."
        leaves Nothing proves "a vote that was not saved was not given";
    VoteWritten "vote-written" at "A vote is written, unsynced."
        leaves Perhaps proves "term and candidate come together or not at all";
    VoteSynced "vote-synced" at "A vote is on disk, not answered."
        leaves All proves "the node does not vote for another in that term after a restart";
    TruncateBegin "truncate" at "Before entries that conflict are deleted."
        leaves Nothing proves "a follower still has its old tail and loses it later";
    TruncateWritten "truncate-written" at "The deletion is written, unsynced."
        leaves Perhaps proves "the log has its old or its new end, and no hole";
    TruncateSynced "truncate-synced" at "The deletion is on disk."
        leaves All proves "the log ends where it was cut and goes on from the leader's";
    PurgeBegin "purge" at "Before old entries are deleted."
        leaves Nothing proves "a snapshot beside the whole log is no contradiction";
    PurgeWritten "purge-written" at "The deletion of old entries is written, unsynced."
        leaves Perhaps proves "entries and the purged id go together";
    PurgeSynced "purge-synced" at "Old entries are gone from disk."
        leaves All proves "state and snapshot reach at least the purged id";
    CommittedSave "committed-save" at "Before the committed id is written."
        leaves Nothing proves "the committed id is a hint: without it the node learns it anew";
    CommittedWritten "committed-written" at "The committed id is written, unsynced."
        leaves Perhaps proves "the node replays up to it and not beyond its log";

    // The state.
    ChunkCommit "chunk-commit" at "A chunk of entries is applied in memory only."
        leaves Nothing proves "the same entries are applied again to the same state";
    ChunkCommitted "chunk-committed" at "The chunk is in the database, readers were not told."
        leaves Perhaps proves "no entry is applied twice";
    ChunkPublished "chunk-published" at "Readers were told, proposers not."
        leaves Perhaps proves "a write that others can read is unknown to its client, not failed";

    // Making a snapshot.
    Checkpoint "checkpoint" at "Before a checkpoint of the state is made."
        leaves Nothing proves "nothing depends on a snapshot that was not begun";
    Checkpointed "checkpointed" at "The checkpoint's files are there, as a draft."
        leaves Perhaps proves "a draft is removed at the next start";
    SnapshotFlush "snapshot-flush" at "Before the state itself is flushed."
        leaves Nothing proves "a snapshot is not reported before the state it stands for is on disk";
    SnapshotFlushed "snapshot-flushed" at "The state is flushed, the snapshot is still a draft."
        leaves All proves "the log is not purged for a draft";
    SnapshotFileSynced "snapshot-file-synced" at "One file of the draft is synced and hashed."
        leaves Perhaps proves "a draft with some of its files synced is no snapshot";
    SnapshotDescribed "snapshot-described" at "All files are synced, there is no manifest."
        leaves All proves "a folder without a manifest is no snapshot";
    ManifestWrite "manifest-write" at "Before a manifest is written."
        leaves Nothing proves "a manifest comes last";
    ManifestWritten "manifest-written" at "The manifest is on disk, the folder has its draft name."
        leaves All proves "a whole draft is removed, not taken for a snapshot";
    SnapshotRename "snapshot-rename" at "Before the folder gets its final name."
        leaves Nothing proves "the older snapshot still serves";
    SnapshotRenamed "snapshot-renamed" at "The folder has its final name, durably."
        leaves All proves "of two whole snapshots the newer is found at start";
    SnapshotCurrent "snapshot-current" at "The snapshot is the current one, Raft was not told."
        leaves All proves "a log that is longer than it need be does no harm";

    // Receiving and installing one.
    IncomingBegin "incoming-begin" at "A folder for an arriving snapshot was made."
        leaves Perhaps proves "what is not finished is removed at start";
    IncomingChunk "incoming-chunk" at "Before a received chunk is written."
        leaves Nothing proves "a partly received snapshot is never installed";
    IncomingChunkWritten "incoming-chunk-written" at "A received chunk is written."
        leaves Perhaps proves "the sender begins anew";
    IncomingFileSynced "incoming-file-synced" at "A received file is whole and synced."
        leaves Perhaps proves "whole files alone are no snapshot";
    IncomingFinish "incoming-finish" at "All has come, there is no manifest."
        leaves All proves "a received folder without a manifest is removed";
    IncomingFinished "incoming-finished" at "The received snapshot is whole on disk, not installed."
        leaves All proves "the state is as before, and the snapshot is sent again";
    InstallBegin "install" at "Before the files of a snapshot are put where a state is."
        leaves Nothing proves "the active state is untouched";
    InstallFilled "install-filled" at "The new state's folder is filled and synced."
        leaves All proves "a folder that the pointer does not name is removed";
    InstallOpened "install-opened" at "The new state was opened and checked."
        leaves All proves "opening it changed nothing of the old one";
    InstallKept "install-kept" at "The snapshot is kept, the pointer still names the old state."
        leaves All proves "a snapshot that is ahead of the state is no contradiction: it is installed again";
    InstallSwitched "install-switched" at "The pointer names the new state."
        leaves All proves "the node starts with the installed state";
    InstallDone "install-done" at "State and snapshot are in place, readers still have the old state."
        leaves All proves "nothing is lost that only memory knew";

    // Small files.
    FileWritten "file-written" at "A small file is synced under its draft name."
        leaves Nothing proves "the old content stands, whole";
    FileRenamed "file-renamed" at "A small file was replaced, its folder not synced."
        leaves Perhaps proves "the old or the new content stands, whole";
    FileReplaced "file-replaced" at "A small file was replaced, durably."
        leaves All proves "the new content stands";
    FormatWrite "format-write" at "A new data directory is made but for its last file."
        leaves Nothing proves "a directory that was not made completely is made anew, if nothing is in it";
    FormatWritten "format-written" at "A new data directory is complete."
        leaves All proves "it is opened as an empty one";
    EraseBegin "erase" at "Before the store of a node that left is erased."
        leaves Nothing proves "leaving is finished at the next start";
    EraseHalf "erase-half" at "The format is gone, some of the data is not."
        leaves Perhaps proves "a half erased store is never opened";

    // A node's own files.
    FenceSave "fence-save" at "Before the fence is written."
        leaves Nothing proves "a removed node is told again";
    DraftWritten "draft-written" at "A small file, such as the fence, is synced under its draft name."
        leaves Nothing proves "a small file is whole or as it was";
    FenceSaved "fence-saved" at "The fence is on disk."
        leaves All proves "a fenced node stays fenced";
    IdentityAdopt "identity-adopt" at "Before the files of a new identity are written."
        leaves Nothing proves "the old identity stands";
    IdentityKeyWritten "identity-key-written" at "The key of a new identity is written, its certificate is not."
        leaves Perhaps proves "half an identity is a leftover, and its key is removed";
    IdentityWritten "identity-written" at "All files of a new identity are synced, nothing names them."
        leaves All proves "the old identity stands, the new one is removed";
    IdentitySwitch "identity-switch" at "The link to the new identity lies beside the old."
        leaves Perhaps proves "the old identity stands";
    IdentitySwitched "identity-switched" at "The link names the new identity, its folder is not synced."
        leaves Perhaps proves "the old or the new identity stands, whole";
    IdentityAdopted "identity-adopted" at "The new identity stands, the old one's files are still there."
        leaves All proves "an old key does not stay behind";
    IdentityWipe "identity-wipe" at "Before the identity of a node that left is forgotten."
        leaves Nothing proves "leaving is finished at the next start";
    IdentityUnlinked "identity-unlinked" at "Nothing names the identity any more, its key is still there."
        leaves All proves "a key without a link is removed";
    SealMark "seal-mark" at "An operator's seal is in memory only."
        leaves Nothing proves "a seal that was not answered may be lost";
    SealMarked "seal-marked" at "An operator's seal is on disk, not answered."
        leaves All proves "the node stays sealed";
    UnsealMark "unseal-mark" at "Before the mark of an operator's seal is removed."
        leaves Nothing proves "the next start is sealed";
    UnsealMarked "unseal-marked" at "The mark of an operator's seal is gone, the unsealing is not answered."
        leaves All proves "the next start is unsealed by its peers";
    LeaveMark "leave-mark" at "A node was removed and has not noted that it left."
        leaves Nothing proves "it is fenced";
    LeaveMarked "leave-marked" at "A node has noted that it left and has its data."
        leaves All proves "the data goes at the next start";
    LeaveErased "leave-erased" at "The data of a node that left is gone, the note is still there."
        leaves All proves "erasing again does no harm";

    // Bootstrap, joining, keys, restoring.
    InitIdentity "init-identity" at "The first node has its identity, Raft was not started."
        leaves All proves "init can be repeated, and finishes the same cluster";
    InitRaft "init-raft" at "Raft of the new cluster was started, it has no membership."
        leaves Nothing proves "init can be repeated";
    InitMembership "init-membership" at "The new cluster has its member and no records."
        leaves All proves "init can be repeated, and no keys were given out";
    InitRecords "init-records" at "The first records are proposed next."
        leaves Nothing proves "keys that were not answered open nothing";
    InitCommitted "init-committed" at "The cluster has its records, the keys were not answered."
        leaves All proves "a cluster whose keys nobody got says that it is initialised";
    JoinAsk "join-ask" at "A node is about to show its join token."
        leaves Nothing proves "the token is unused";
    JoinAnswered "join-answered" at "A node was admitted and has stored nothing."
        leaves Nothing proves "it asks again with the same token and key, and gets the same id";
    JoinAdopted "join-adopted" at "A node has its identity and has not started Raft."
        leaves All proves "it starts as the member it is";
    AdmitCommitted "admit-committed" at "The leader has used up a join token, the node is in no membership."
        leaves All proves "the same node is added when it asks again";
    AdmitAdded "admit-added" at "The node is a learner, and was not answered."
        leaves All proves "asking again gives the same answer";
    RotatePropose "rotate-propose" at "A key term is about to be proposed."
        leaves Nothing proves "the old term seals on";
    RotateCommitted "rotate-committed" at "The state has a new key term, this node does not use it yet."
        leaves All proves "no node seals with a retired key, and all open with the new one";
    RestoreMarked "restore-marked" at "A restore has set its mark."
        leaves All proves "requests are refused until it is run again";
    RestoreDeleted "restore-deleted" at "A restore has deleted the secrets."
        leaves All proves "nobody reads an empty cluster as the truth";
    RestoreFinish "restore-finish" at "A restore has put all back but the tables."
        leaves All proves "running it again makes the same state";
    RestoreFinished "restore-finished" at "A restore is done, and was not answered."
        leaves All proves "the cluster serves what was restored";
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_unique_and_can_be_typed() {
        let names: BTreeSet<&str> = POINTS.iter().map(|row| row.name).collect();
        assert_eq!(names.len(), POINTS.len());
        for name in names {
            assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-'), "{name}");
        }
    }
}
